//! A training step asks for no memory: all of it is found when the session is made.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use clr_cifar::Cifar;
use clr_plugin::{Dataset, Lane, Plugin, Session, SessionConfig, SplitData, StepTable, StepTableParts, Transform};

/// The system's allocator, counted.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes every call on to the system's allocator.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BATCH: usize = 4;

/// Allocations during a call of so many steps.
fn allocations(session: &mut impl Session, dataset: &Dataset<'_>, steps: usize) -> usize {
    let samples: Vec<u32> = (0..BATCH as u32).cycle().take(steps * BATCH).collect();
    let mut metrics = vec![0.0; steps * 3];
    let mut steps_done = [0];
    let (lane_steps, sample_counts) = ([steps as u32], vec![BATCH as u32; steps]);
    let epochs = vec![0; steps * BATCH];
    let hypers = [0.001, 0.9, 0.004, 0.9, 0.999].repeat(steps);
    let mut table = StepTable::new(StepTableParts {
        dataset,
        step_count: steps,
        lane_count: 1,
        batch_size: BATCH,
        hyper_count: 5,
        metric_count: 3,
        first_steps: &[0],
        lane_steps: &lane_steps,
        sample_lane_count: 1,
        sample_counts: &sample_counts,
        samples: &samples,
        epochs: &epochs,
        hypers: &hypers,
        cancel: None,
        steps_done: &mut steps_done,
        metrics: &mut metrics,
    })
    .unwrap();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    session.step(&mut table).unwrap();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

/// A call makes a few lists of its own, the same few for any number of steps. One test alone: another in the same process
/// would allocate in between.
#[test]
fn steps_allocate_nothing() {
    let images: Vec<u8> = (0..BATCH * 3072).map(|i| (i * 7919 % 251) as u8).collect();
    let train = SplitData { count: BATCH, images: Some(&images), labels: Some(&[0, 1, 2, 3]) };
    let transform = Transform { mean: &[128.0; 3], pad: 4, flip: true, crop: Some([32, 32]), ..Transform::default() };
    let splits = [train, SplitData::default(), SplitData::default()];
    let dataset = Dataset::new([32, 32, 3], 10, splits, transform, None).unwrap();
    for model in Cifar::description().models {
        for (optimizer, model_options) in [("sgd", "{}"), ("adam", "{}"), ("sgd", r#"{"accumulate": 2}"#)] {
            let options = format!(r#"{{"optimizer": "{optimizer}"}}"#);
            let config = SessionConfig {
                device: "cpu",
                model: model.name,
                options: model_options,
                dataset: &dataset,
                batch_size: BATCH,
                thread_count: 1,
                lanes: vec![Lane { options: &options, init_seed: 1, data_seed: 1 }],
            };
            let mut session = Cifar::session(&config).unwrap();
            let one = allocations(&mut session, &dataset, 1);
            let many = allocations(&mut session, &dataset, 6);
            assert_eq!(one, many, "{} {model_options} with {optimizer}: a call of one step and one of six", model.name);
        }
    }
}
