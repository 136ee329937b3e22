//! Milliseconds for an iteration of each network at its published batch size, on images of CIFAR-10's shape.
//!
//!     cargo bench -p clr-cifar [-- THREADS LANES]

use std::time::Instant;

use clr_cifar::Cifar;
use clr_plugin::{Dataset, Lane, Plugin, Session, SessionConfig, SplitData, StepTable, StepTableParts, Transform};

const BATCH: usize = 100;
const STEPS: usize = 10;

fn main() {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let thread_count = arguments.first().copied().unwrap_or(1);
    let lane_count = arguments.get(1).copied().unwrap_or(1);
    let images: Vec<u8> = (0..BATCH * 3072).map(|i| (i * 7919 % 251) as u8).collect();
    let labels: Vec<i32> = (0..BATCH as i32).map(|i| i % 10).collect();
    let train = SplitData { count: BATCH, images: Some(&images), labels: Some(&labels) };
    let transform = Transform { mean: &[128.0; 3], ..Transform::default() };
    let splits = [train, SplitData::default(), SplitData::default()];
    let dataset = Dataset::new([32, 32, 3], 10, splits, transform, None).expect("a valid dataset");
    let samples: Vec<u32> = (0..BATCH as u32).cycle().take(STEPS * BATCH).collect();

    for model in Cifar::description().models {
        let config = SessionConfig {
            device: "cpu",
            model: model.name,
            options: "{}",
            dataset: &dataset,
            batch_size: BATCH,
            thread_count,
            lanes: vec![Lane { options: r#"{"optimizer": "sgd"}"#, init_seed: 1, data_seed: 1 }; lane_count],
        };
        let mut session = Cifar::session(&config).expect("a session");
        let hypers = [0.001, 0.9, 0.004, 0.9, 0.999].repeat(STEPS * lane_count);
        let lane_steps = vec![STEPS as u32; lane_count];
        let mut steps_done = vec![0; lane_count];
        let mut metrics = vec![0.0; STEPS * lane_count * 3];
        let mut run = |first_step: u64| {
            let first_steps = vec![first_step; lane_count];
            let mut table = StepTable::new(StepTableParts {
                dataset: &dataset,
                step_count: STEPS,
                lane_count,
                batch_size: BATCH,
                hyper_count: 5,
                metric_count: 3,
                first_steps: &first_steps,
                lane_steps: &lane_steps,
                sample_lane_count: 1,
                sample_counts: &[BATCH as u32; STEPS],
                samples: &samples,
                epochs: &[0; STEPS * BATCH],
                hypers: &hypers,
                cancel: None,
                steps_done: &mut steps_done,
                metrics: &mut metrics,
            })
            .expect("a valid table");
            session.step(&mut table).expect("steps");
        };
        run(0);
        let start = Instant::now();
        let rounds = 3;
        for round in 1..=rounds {
            run(round * STEPS as u64);
        }
        let iterations = rounds as usize * STEPS * lane_count;
        let milliseconds = 1000.0 * start.elapsed().as_secs_f64() / iterations as f64;
        println!("{:24} {milliseconds:7.1} ms/iteration ({thread_count} threads, {lane_count} lanes)", model.name);
    }
}
