//! The cost of the plugin over the same loop written by hand: seconds of both in turns, on the ResNet-18 of `specs/your-model` and
//! images of CIFAR-10's shape, on one thread each. Losses must be equal to the bit.
//!
//!     cargo bench -p clr-torch --bench beside_a_loop [-- [BATCH] [STEPS] [ROUNDS]]
//!
//! The Python is that of `CLR_PYTHON`, or `python3`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use clr_plugin::{Dataset, Lane, Plugin, Session, SessionConfig, SplitData, StepTable, StepTableParts, Transform};
use clr_torch::Torch;
use serde_json::json;

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let [batch, steps, rounds] = [128, 2, 8].map({
        let mut numbers = numbers.into_iter();
        move |default| numbers.next().unwrap_or(default)
    });
    let python = std::env::var_os("CLR_PYTHON").unwrap_or_else(|| "python3".into());
    let models = format!("{FOLDER}/../../specs/your-model/models.py");
    let mut by_hand = Command::new(python)
        .args([&format!("{FOLDER}/benches/loop.py"), &models, &batch.to_string()])
        .env("OMP_NUM_THREADS", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut orders = by_hand.stdin.take().expect("it has a pipe");
    let mut answers = BufReader::new(by_hand.stdout.take().expect("it has a pipe")).lines();

    let count = 4 * batch;
    let images: Vec<u8> = (0..count * 3072).map(|i| (i * 7919 % 251) as u8).collect();
    let labels: Vec<i32> = (0..count as i32).map(|i| i % 10).collect();
    let train = SplitData { count, images: Some(&images), labels: Some(&labels) };
    let transform = Transform { mean: &[128.0; 3], scale: &[0.015625], ..Transform::default() };
    let splits = [train, SplitData::default(), SplitData::default()];
    let dataset = Dataset::new([32, 32, 3], 10, splits, transform, None).expect("a valid dataset");
    let text = std::fs::read_to_string(models).expect("the module is there");
    let options = json!({"file": {"file": "models.py", "text": text}, "function": "resnet18"}).to_string();
    let mut session = Torch::session(&SessionConfig {
        device: "cpu",
        model: "module",
        options: &options,
        dataset: &dataset,
        batch_size: batch,
        thread_count: 1,
        lanes: vec![Lane { options: r#"{"optimizer": "sgd"}"#, init_seed: 1, data_seed: 1 }],
    })
    .expect("a session");

    let mut ratios = Vec::new();
    for round in 0..=rounds {
        let first = round * steps;
        let samples: Vec<u32> =
            (first * batch..(first + steps) * batch).map(|sample| (sample % count) as u32).collect();
        let (mut metrics, mut done) = (vec![0.0; steps * 3], [0]);
        let (counts, epochs) = (vec![batch as u32; steps], vec![0; samples.len()]);
        let (first_steps, lane_steps) = ([first as u64], [steps as u32]);
        let hypers = [0.01, 0.9, 0.0005, 0.0, 0.0].repeat(steps);
        let started = Instant::now();
        let mut table = StepTable::new(StepTableParts {
            dataset: &dataset,
            step_count: steps,
            lane_count: 1,
            batch_size: batch,
            hyper_count: 5,
            metric_count: 3,
            first_steps: &first_steps,
            lane_steps: &lane_steps,
            sample_lane_count: 1,
            sample_counts: &counts,
            samples: &samples,
            epochs: &epochs,
            hypers: &hypers,
            cancel: None,
            steps_done: &mut done,
            metrics: &mut metrics,
        })
        .expect("a valid table");
        session.step(&mut table).expect("it trains");
        let plugin = started.elapsed().as_secs_f64();
        writeln!(orders, "{steps}").expect("it listens");
        let answer = answers.next().expect("it answers").expect("in text");
        let (seconds, loss) = answer.split_once(' ').expect("in two words");
        let by_hand: f64 = seconds.parse().expect("a number");
        let loss: f32 = loss.parse().expect("a number");
        assert_eq!(metrics[(steps - 1) * 3].to_bits(), loss.to_bits(), "step {}", first + steps);
        // The first round warms both up.
        if round > 0 {
            println!("plugin {plugin:.3} s, by hand {by_hand:.3} s: {:.4}", plugin / by_hand);
            ratios.push(plugin / by_hand);
        }
    }
    drop(orders);
    by_hand.wait().expect("it ends with its orders");
    ratios.sort_by(f64::total_cmp);
    let (least, median, most) = (ratios[0], ratios[ratios.len() / 2], ratios[ratios.len() - 1]);
    println!(
        "plugin / by hand, {rounds} rounds of {steps} steps: median {median:.4} ({least:.4} to {most:.4}); losses equal to the bit"
    );
}
