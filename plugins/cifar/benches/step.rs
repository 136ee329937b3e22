//! Milliseconds for an iteration of each network at its published batch size, on images of CIFAR-10's shape; and where they
//! go, node by node. Each time is the least over the repetitions.
//!
//!     cargo bench -p clr-cifar --bench step [-- [THREADS] [LANES] [MODEL] [auto|direct] [--nodes]]

use std::time::{Duration, Instant};

use clr_cifar::Cifar;
use clr_plugin::{Dataset, Lane, Plugin, Session, SessionConfig, SplitData, StepTable, StepTableParts, Transform};

const BATCH: usize = 100;
const STEPS: usize = 5;
const ROUNDS: u64 = 8;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let thread_count = numbers.first().copied().unwrap_or(1);
    let lane_count = numbers.get(1).copied().unwrap_or(1);
    let with_nodes = arguments.iter().any(|argument| argument == "--nodes");
    let mut ways = ["auto", "direct"].into_iter();
    let way = ways.find(|way| arguments.iter().any(|argument| argument == way)).unwrap_or("auto");
    let options = format!(r#"{{"convolution": "{way}"}}"#);
    let images: Vec<u8> = (0..BATCH * 3072).map(|i| (i * 7919 % 251) as u8).collect();
    let labels: Vec<i32> = (0..BATCH as i32).map(|i| i % 10).collect();
    let train = SplitData { count: BATCH, images: Some(&images), labels: Some(&labels) };
    let transform = Transform { mean: &[128.0; 3], ..Transform::default() };
    let splits = [train, SplitData::default(), SplitData::default()];
    let dataset = Dataset::new([32, 32, 3], 10, splits, transform, None).expect("a valid dataset");

    let models: Vec<&str> = Cifar::description().models.iter().map(|model| model.name).collect();
    let named: Vec<&str> = models.iter().copied().filter(|model| arguments.iter().any(|name| name == model)).collect();
    for model in if named.is_empty() { models } else { named } {
        let config = SessionConfig {
            device: "cpu",
            model,
            options: &options,
            dataset: &dataset,
            batch_size: BATCH,
            thread_count,
            lanes: vec![Lane { options: r#"{"optimizer": "sgd"}"#, init_seed: 1, data_seed: 1 }; lane_count],
        };
        let time = milliseconds(iteration(&config));
        println!("{model:24} {time:7.2} ms/iteration ({way}, {thread_count} threads, {lane_count} lanes)");
        if with_nodes {
            println!("{}", clr_nn::profile::<Cifar>(&config, STEPS * ROUNDS as usize).expect("a profile"));
        }
    }
}

/// The least time of an iteration of one lane.
fn iteration(config: &SessionConfig<'_>) -> Duration {
    let lane_count = config.lanes.len();
    let mut session = Cifar::session(config).expect("a session");
    let samples: Vec<u32> = (0..BATCH as u32).cycle().take(STEPS * BATCH).collect();
    let hypers = [0.001, 0.9, 0.004, 0.9, 0.999].repeat(STEPS * lane_count);
    let lane_steps = vec![STEPS as u32; lane_count];
    let mut steps_done = vec![0; lane_count];
    let mut metrics = vec![0.0; STEPS * lane_count * 3];
    let rounds = (0..=ROUNDS).map(|round| {
        let first_steps = vec![round * STEPS as u64; lane_count];
        let mut table = StepTable::new(StepTableParts {
            dataset: config.dataset,
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
        let start = Instant::now();
        session.step(&mut table).expect("steps");
        start.elapsed()
    });
    rounds.min().unwrap_or_default() / (STEPS * lane_count) as u32
}

fn milliseconds(time: Duration) -> f64 {
    1000.0 * time.as_secs_f64()
}
