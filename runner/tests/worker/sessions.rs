//! A session in a worker and one in this process: equal calls, equal bits.

use std::sync::atomic::AtomicBool;

use clr_host::{Completion, HostError, Lane, Session, Split, StepCall};
use clr_train::Layout;

use crate::prepared::Prepared;
use crate::world::{BOWL, MIX};

/// Everything that `session` answers to some calls of every kind, as bits.
fn exercise(session: &mut dyn Session, prepared: &Prepared) -> Vec<u32> {
    let lanes = session.lane_count();
    let mut answers = Vec::new();
    for (round, shared) in [(0, false), (1, true), (2, false)] {
        answers.extend(step(session, prepared, 5 * round, shared).into_iter().map(f32::to_bits));
        let active: Vec<bool> = (0..lanes).map(|lane| lane != 1).collect();
        let mut metrics = vec![0.0; lanes * prepared.shape().metrics.len()];
        let cancel = AtomicBool::new(false);
        let completion = session.evaluate(Split::Test, 3, 11, &active, &mut metrics, &cancel).unwrap();
        assert_eq!(completion, Completion::Complete);
        answers.extend(metrics.into_iter().map(f32::to_bits));
        for lane in 0..lanes {
            answers.extend(state(session, lane).into_iter().flatten().map(f32::to_bits));
        }
        for (tensor, values) in state(session, lanes - 1).iter().enumerate() {
            let halves: Vec<f32> = values.iter().map(|value| value / 2.0).collect();
            session.load(lanes - 1, tensor, &halves).unwrap();
        }
        let trial = &prepared.plan.trials[prepared.plan.groups[0].trials[1]];
        let trial = Lane { options_json: trial.optimizer.json.clone(), init_seed: 7, data_seed: round };
        session.reset_lane(1, &trial).unwrap();
    }
    answers
}

fn state(session: &mut dyn Session, lane: usize) -> Vec<Vec<f32>> {
    let sizes: Vec<usize> = session.tensors(lane).unwrap().iter().map(|tensor| tensor.element_count).collect();
    assert!(!sizes.is_empty());
    let mut tensors: Vec<Vec<f32>> = sizes.iter().map(|&size| vec![0.0; size]).collect();
    for (tensor, values) in tensors.iter_mut().enumerate() {
        session.save(lane, tensor, values).unwrap();
    }
    tensors
}

/// Five steps, one less in each lane.
fn step(session: &mut dyn Session, prepared: &Prepared, first_step: u64, shared: bool) -> Vec<f32> {
    let (lanes, steps, shape) = (session.lane_count(), 5, prepared.shape());
    let batches = steps * if shared { 1 } else { lanes };
    let batch_size = shape.data.batch_size as usize;
    let samples: Vec<u32> =
        (0..batches * batch_size).map(|at| (at * 13 % shape.data.train_count as usize) as u32).collect();
    let hypers: Vec<f32> = (0..steps * lanes * shape.hypers.len()).map(|at| 0.001 + (at % 5) as f32 / 1000.0).collect();
    let lane_steps: Vec<u32> = (0..lanes).map(|lane| (steps - lane) as u32).collect();
    let call = StepCall {
        step_count: steps as u32,
        first_steps: &vec![first_step; lanes],
        lane_steps: &lane_steps,
        shared_samples: shared,
        sample_counts: &vec![batch_size as u32; batches],
        samples: &samples,
        epochs: &vec![3; batches * batch_size],
        hypers: &hypers,
    };
    let (mut done, mut metrics) = (vec![0; lanes], vec![0.0; steps * lanes * shape.metrics.len()]);
    let cancel = AtomicBool::new(false);
    assert_eq!(session.step(&call, &mut done, &mut metrics, &cancel).unwrap(), Completion::Complete);
    assert_eq!(done, lane_steps);
    metrics
}

#[track_caller]
fn check_equal_bits(spec: &str) {
    let prepared = Prepared::new(spec);
    let expected = exercise(&mut prepared.here(3), &prepared);
    let mut worker = prepared.worker();
    for attempt in ["first", "second", "third"] {
        let mut session = prepared.there(&mut worker, 3).unwrap();
        assert!(exercise(&mut session, &prepared) == expected, "the {attempt} session of a worker has other bits");
    }
}

#[test]
fn a_worker_gives_the_bits_of_this_process() {
    check_equal_bits(BOWL);
    check_equal_bits(MIX);
}

#[test]
fn a_run_in_workers_gives_the_bits_of_this_process() {
    let prepared = Prepared::new(BOWL);
    let plain = Layout { threads_per_session: 1, ..Layout::cpu(1, 1) };
    let expected = prepared.train(&plain, false);
    assert_eq!(expected.len(), 3);
    for layout in [
        plain.clone(),
        Layout { devices: vec!["cpu".to_owned(); 2], ..plain.clone() },
        Layout { lanes: vec![3], ..plain },
    ] {
        assert_eq!(prepared.train(&layout, true), expected, "{layout:?}");
    }
}

#[test]
fn an_error_of_the_plugin_comes_through_and_costs_no_worker() {
    let prepared = Prepared::new(BOWL);
    let mut worker = prepared.worker();
    let mut config = prepared.config(2);
    config.model_json = r#"{"dimension": 0}"#.to_owned();
    let here = prepared.resources.plugin(prepared.shape()).session(config.clone()).unwrap_err();
    let there = worker.open(prepared.plugin(), &config, &prepared.shape().data).unwrap_err();
    assert!(here.is_refusal() && matches!(here, HostError::Call { .. }), "{here}");
    assert_eq!(there, here);
    assert!(worker.is_alive());
    prepared.there(&mut worker, 2).unwrap();
}

#[test]
fn what_no_session_allows_is_not_sent() {
    let prepared = Prepared::new(BOWL);
    let mut worker = prepared.worker();
    let mut session = prepared.there(&mut worker, 2).unwrap();
    let mut here = prepared.here(2);
    let cancel = AtomicBool::new(false);
    for session in [&mut session as &mut dyn Session, &mut here] {
        let problems = [
            session.evaluate(Split::Test, 0, 101, &[true, true], &mut [0.0; 6], &cancel).unwrap_err(),
            session.evaluate(Split::Test, 0, 20, &[true], &mut [0.0; 6], &cancel).unwrap_err(),
            session.save(2, 0, &mut []).unwrap_err(),
            session.save(0, 99, &mut []).unwrap_err(),
            session.load(0, 0, &[1.0]).unwrap_err(),
        ];
        for problem in problems {
            assert!(matches!(problem, HostError::Argument { .. }), "{problem}");
        }
    }
    drop((session, here));
    exercise(&mut prepared.there(&mut worker, 2).unwrap(), &prepared);
}

#[test]
fn a_plugin_or_a_dataset_that_has_changed_is_refused() {
    let prepared = Prepared::new(BOWL);
    let mut worker = prepared.worker();
    let mut plugin = prepared.plugin().clone();
    plugin.digest = "0".repeat(64);
    let problem = worker.open(&plugin, &prepared.config(1), &prepared.shape().data).unwrap_err();
    assert!(problem.to_string().contains("its file has changed since the run began"), "{problem}");
    let mut data = prepared.shape().data.clone();
    data.digest = Some("0".repeat(64));
    let problem = worker.open(prepared.plugin(), &prepared.config(1), &data).unwrap_err();
    assert!(problem.to_string().starts_with("the dataset `speckles` could not be opened again: its digest is"));
    prepared.there(&mut worker, 1).unwrap();
}
