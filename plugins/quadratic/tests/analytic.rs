//! The path of gradient descent against its closed form, `w_n - 1 = (1 - lr a)^n (w_0 - 1)`, and momentum against a
//! recurrence in f64.

use clr_plugin::{
    Dataset, Evaluate, Lane, Plugin, Session, SessionConfig, Split, SplitData, StepTable, StepTableParts, Transform,
};
use clr_quadratic::Quadratic;

const STEPS: usize = 100;
const DIMENSION: usize = 6;
/// Evenly from 1 to the condition number.
const EIGENVALUES: [f64; DIMENSION] = [1.0, 3.0, 5.0, 7.0, 9.0, 11.0];

struct Path {
    start: Vec<f64>,
    end: Vec<f64>,
    /// loss, accuracy, grad_norm of each step.
    rows: Vec<[f64; 3]>,
    evaluation: Vec<f32>,
}

fn descend(optimizer: &str, options: &str, hypers: [f32; 3]) -> Path {
    let split = SplitData { count: 9, images: None, labels: None };
    let dataset = Dataset::new([1, 1, 1], 1, [split, split, split], Transform::default(), None).unwrap();
    let options = format!("{{\"dimension\": {DIMENSION}, \"condition\": 11, {options}}}");
    let lane = format!("{{\"optimizer\": \"{optimizer}\"}}");
    let mut session = Quadratic::session(&SessionConfig {
        device: "cpu",
        model: "quadratic",
        options: &options,
        dataset: &dataset,
        batch_size: 3,
        thread_count: 1,
        lanes: vec![Lane { options: &lane, init_seed: 5, data_seed: 5 }],
    })
    .unwrap();
    let mut weights = || {
        let mut values = [0.0; DIMENSION];
        session.save(0, 0, &mut values).unwrap();
        values.map(f64::from).to_vec()
    };
    let start = weights();
    let samples: Vec<u32> = (0..3 * STEPS as u32).map(|sample| sample % 9).collect();
    let (hypers, mut steps_done, mut metrics) = (hypers.repeat(STEPS), [0], vec![0.0; 3 * STEPS]);
    let mut table = StepTable::new(StepTableParts {
        dataset: &dataset,
        step_count: STEPS,
        lane_count: 1,
        batch_size: 3,
        hyper_count: 3,
        metric_count: 3,
        first_steps: &[0],
        lane_steps: &[STEPS as u32],
        sample_lane_count: 1,
        sample_counts: &[3; STEPS],
        samples: &samples,
        epochs: &[0; 3 * STEPS],
        hypers: &hypers,
        cancel: None,
        steps_done: &mut steps_done,
        metrics: &mut metrics,
    })
    .unwrap();
    session.step(&mut table).unwrap();
    let mut evaluation = vec![0.0; 3];
    let mut evaluate = Evaluate::new(&dataset, Split::Test, 0..9, &[true], None, &mut evaluation).unwrap();
    session.evaluate(&mut evaluate).unwrap();
    let mut end = [0.0; DIMENSION];
    session.save(0, 0, &mut end).unwrap();
    let rows = metrics.chunks_exact(3).map(|row| [0, 1, 2].map(|column: usize| f64::from(row[column]))).collect();
    Path { start, end: end.map(f64::from).to_vec(), rows, evaluation }
}

#[track_caller]
fn close(found: f64, expected: f64, what: &str) {
    assert!((found - expected).abs() <= 1e-5 * (1.0 + expected.abs()), "{what}: {found}, expected {expected}");
}

fn loss(weights: &[f64]) -> f64 {
    EIGENVALUES.iter().zip(weights).map(|(a, w)| 0.5 * a * (w - 1.0) * (w - 1.0)).sum()
}

#[test]
fn gradient_descent_follows_the_closed_form() {
    // Below 2 / 11 it converges, above it diverges.
    for lr in [0.01_f32, 0.1, 0.17, 0.2] {
        let path = descend("gd", "\"noise\": 0", [lr, 0.0, 0.0]);
        for step in 0..STEPS {
            let weights: Vec<f64> = EIGENVALUES
                .iter()
                .zip(&path.start)
                .map(|(a, w)| {
                    let factor: f64 = std::iter::repeat_n(1.0 - f64::from(lr) * a, step).product();
                    1.0 + factor * (w - 1.0)
                })
                .collect();
            let norm: f64 = EIGENVALUES.iter().zip(&weights).map(|(a, w)| (a * (w - 1.0)) * (a * (w - 1.0))).sum();
            let near = weights.iter().filter(|&&w| (w - 1.0).abs() <= 0.1).count();
            let [found_loss, accuracy, found_norm] = path.rows[step];
            // f32 weights near 1 are exact to 6e-8, and diverging ones lose a bit each few steps.
            let tolerance = 1e-4 * (1.0 + loss(&weights));
            assert!((found_loss - loss(&weights)).abs() < tolerance, "lr {lr}, step {step}: loss {found_loss}");
            assert!(
                (found_norm - norm.sqrt()).abs() < 1e-3 * (1.0 + norm.sqrt()),
                "lr {lr}, step {step}: {found_norm}"
            );
            // A coordinate may cross the tolerance by rounding.
            assert!((accuracy * DIMENSION as f64 - near as f64).abs() <= 1.0, "lr {lr}, step {step}: {accuracy}");
        }
        assert_eq!(lr > 2.0 / 11.0, path.rows[STEPS - 1][0] > path.rows[0][0], "lr {lr}");
    }
}

#[test]
fn sgd_is_caffe_s_momentum() {
    let [lr, momentum, decay] = [0.02_f32, 0.9, 0.01];
    let path = descend("sgd", "\"noise\": 0", [lr, momentum, decay]);
    let (mut weights, mut velocity) = (path.start.clone(), vec![0.0; DIMENSION]);
    for row in &path.rows {
        close(row[0], loss(&weights), "loss");
        for ((w, v), a) in weights.iter_mut().zip(&mut velocity).zip(EIGENVALUES) {
            *v = f64::from(momentum) * *v + f64::from(lr) * (a * (*w - 1.0) + f64::from(decay) * *w);
            *w -= *v;
        }
    }
    for (found, expected) in path.end.iter().zip(&weights) {
        close(*found, *expected, "weight");
    }
}

#[test]
fn noise_belongs_to_the_samples() {
    // Fast enough that after all steps only the cycle of batches is left: 0.85^100 is 9e-8.
    let quiet = descend("gd", "\"noise\": 0", [0.15, 0.0, 0.0]);
    let noisy = descend("gd", "\"noise\": 0.5", [0.15, 0.0, 0.0]);
    assert_eq!(quiet.start, noisy.start);
    assert_ne!(quiet.end, noisy.end);
    // Batches of 3 of 9 samples come again after 3 steps, and with them their noise.
    for step in STEPS - 3..STEPS {
        close(noisy.rows[step][0], noisy.rows[step - 3][0], "loss three steps before");
    }
    assert!(noisy.rows[STEPS - 1][0] != noisy.rows[STEPS - 2][0], "batches differ");
    assert!(noisy.evaluation[0] > quiet.evaluation[0], "no weights fit all samples");
    assert!(quiet.evaluation[2].is_nan(), "an evaluation has no gradient");
}
