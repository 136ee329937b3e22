//! The values in the tables.

use std::sync::Arc;

use arrow_array::types::{Float32Type, Float64Type, Int64Type};
use arrow_array::{Array, RecordBatch, cast::AsArray};
use arrow_schema::DataType;
use arrow_select::concat::concat_batches;
use clr_event::example::DIVERGED_AT;
use clr_event::{Outcome, Rows};
use clr_plan::{Axis, AxisKind, AxisValue, Divergence};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::super::schema::text_type;
use super::*;

/// All rows of the Parquet files in a folder of the output whose names start so, in order of name.
pub(super) fn read(outputs: &Path, directory: &str, prefix: &str) -> RecordBatch {
    let mut batches = Vec::new();
    for name in listing(outputs, directory).into_iter().filter(|n| n.starts_with(prefix) && n.ends_with(".parquet")) {
        let file = fs::File::open(outputs.join("example").join(directory).join(name)).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        batches.extend(reader.map(Result::unwrap));
    }
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

/// A text column's values.
pub(super) fn texts<'b>(batch: &'b RecordBatch, name: &str) -> Vec<Option<&'b str>> {
    let column = batch.column_by_name(name).unwrap().as_dictionary::<arrow_array::types::Int32Type>();
    column.downcast_dict::<arrow_array::StringArray>().unwrap().into_iter().collect()
}

pub(super) fn floats(batch: &RecordBatch, name: &str) -> Vec<Option<f64>> {
    batch.column_by_name(name).unwrap().as_primitive::<Float64Type>().iter().collect()
}

fn singles(batch: &RecordBatch, name: &str) -> Vec<Option<f32>> {
    batch.column_by_name(name).unwrap().as_primitive::<Float32Type>().iter().collect()
}

fn integers(batch: &RecordBatch, name: &str) -> Vec<Option<i64>> {
    batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().iter().collect()
}

#[test]
fn metrics_hold_what_the_events_said() {
    let plan = GRID.plan();
    let outputs = tempfile::tempdir().unwrap();
    run(outputs.path(), &plan, SMALL);
    let batch = read(outputs.path(), "metrics", "");
    let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    let expected = [
        "trial",
        "policy",
        "optimizer",
        "seed",
        "iteration",
        "epoch",
        "lr",
        "momentum",
        "beta1",
        "loss",
        "accuracy",
        "diverged",
    ];
    assert_eq!(names, expected);

    let mut row = 0;
    for (index, trial) in plan.trials.iter().enumerate() {
        for event in events(&plan, index, 100) {
            let Event::Rows(rows) = event else { continue };
            for i in 0..rows.count {
                let iteration = rows.first_iteration + i as u64;
                let at = |values: Vec<Option<f64>>| values[row];
                assert_eq!(texts(&batch, "trial")[row], Some(&*trial.id.to_string()));
                assert_eq!(texts(&batch, "optimizer")[row], Some(&*trial.optimizer.kind));
                assert_eq!(integers(&batch, "seed")[row], Some(trial.init_seed as i64));
                assert_eq!(integers(&batch, "iteration")[row], Some(iteration as i64));
                // Batches of 10 from 40 images.
                assert_eq!(at(floats(&batch, "epoch")), Some(iteration as f64 / 4.0));
                assert_eq!(at(floats(&batch, "lr")), Some(rows.hypers[0][i]));
                let is_sgd = &*trial.optimizer.kind == "sgd";
                assert_eq!(at(floats(&batch, "momentum")), is_sgd.then_some(0.9));
                assert_eq!(at(floats(&batch, "beta1")), (!is_sgd).then_some(0.9));
                let loss = rows.metrics[0][i];
                assert_eq!(singles(&batch, "loss")[row], loss.is_finite().then_some(loss));
                assert_eq!(batch.column_by_name("diverged").unwrap().as_boolean().value(row), loss.is_nan());
                row += 1;
            }
        }
    }
    assert_eq!(row, batch.num_rows());
}

#[test]
fn what_is_not_finite_is_null_and_marked() {
    let plan = Grid { policies: &["explode"], optimizers: &["sgd"], seeds: &[1], ..GRID }.plan();
    let outputs = tempfile::tempdir().unwrap();
    let summary = run(outputs.path(), &plan, SMALL);
    let metrics = read(outputs.path(), "metrics", "");
    let losses = singles(&metrics, "loss");
    assert_eq!(losses.len() as u64, DIVERGED_AT + 1);
    assert_eq!(losses.iter().filter(|loss| loss.is_none()).count(), 1);
    assert_eq!(losses.last(), Some(&None));
    let diverged = metrics.column_by_name("diverged").unwrap().as_boolean();
    assert_eq!((diverged.true_count(), diverged.value(DIVERGED_AT as usize)), (1, true));

    let numbers = result(&summary, 0).numbers;
    assert_eq!((numbers.diverged_at, numbers.final_test_accuracy, numbers.final_train_loss), (Some(6), None, None));
    assert!(numbers.best_test_accuracy.is_some());
    let evals = read(outputs.path(), "evals", "");
    assert_eq!(integers(&evals, "iteration"), [Some(0), Some(4)]);
}

#[test]
fn a_row_is_marked_whatever_metric_is_not_finite() {
    let plan = Grid { policies: &["triangular"], optimizers: &["sgd"], seeds: &[1], iterations: 3, ..GRID }.plan();
    let outputs = tempfile::tempdir().unwrap();
    let mut store = open(outputs.path(), &plan, SMALL);
    let mut events = events(&plan, 0, 100);
    for event in &mut events {
        match event {
            Event::Rows(rows) => rows.metrics[1] = vec![0.5, f32::INFINITY, f32::NAN],
            Event::Evaluated(evaluation) => evaluation.loss = f32::INFINITY,
            _ => {}
        }
    }
    record(&mut store, &events);
    store.finish().unwrap();
    let metrics = read(outputs.path(), "metrics", "");
    assert_eq!(singles(&metrics, "accuracy"), [Some(0.5), None, None]);
    assert!(singles(&metrics, "loss").iter().all(Option::is_some));
    let marks: Vec<bool> = metrics.column_by_name("diverged").unwrap().as_boolean().values().iter().collect();
    assert_eq!(marks, [false, true, true]);
    let evals = read(outputs.path(), "evals", "");
    assert_eq!(singles(&evals, "loss"), [None, None]);
    assert_eq!(evals.column_by_name("diverged").unwrap().as_boolean().true_count(), 2);
}

#[test]
fn trials_hold_settings_outcomes_and_numbers() {
    let plan = Grid { optimizers: &["sgd"], seeds: &[1], ..GRID }.plan();
    let outputs = tempfile::tempdir().unwrap();
    run(outputs.path(), &plan, SMALL);
    let trials = read(outputs.path(), "", "trials");
    assert_eq!(texts(&trials, "status"), [Some("finished"), Some("diverged")]);
    assert_eq!(texts(&trials, "numerics"), [Some("example/1 cpu"); 2]);
    assert_eq!(texts(&trials, "precision"), [Some("f32"); 2]);
    assert_eq!(texts(&trials, "normalize"), [Some("pixel_mean"); 2]);
    assert_eq!(integers(&trials, "batch_size"), [Some(10); 2]);
    assert_eq!(integers(&trials, "rows"), [Some(12), Some(7)]);
    assert_eq!(integers(&trials, "diverged_at"), [None, Some(6)]);
    // The last epoch is 4 rows of 10 images.
    let losses = singles(&read(outputs.path(), "metrics", ""), "loss");
    let mean = losses[8..12].iter().flatten().map(|&loss| f64::from(loss)).sum::<f64>() / 4.0;
    assert_eq!(floats(&trials, "final_train_loss"), [Some(mean), None]);

    let missing = |name: &str| trials.column_by_name(name).unwrap().null_count();
    let schema = trials.schema();
    let settings = schema.fields().iter().map(|field| field.name()).take_while(|name| *name != "status");
    let absent: Vec<&String> = settings.filter(|name| missing(name) > 0).collect();
    assert_eq!(absent, ["max_loss"]);
    assert_eq!(texts(&trials, "policy.kind"), [Some("linear"); 2]);
    assert_eq!(floats(&trials, "policy.from_lr"), [Some(0.1); 2]);
    assert_eq!(floats(&trials, "optimizer.momentum"), [Some(0.9); 2]);
    assert_eq!(texts(&trials, "best_split"), [Some("test"); 2]);
    assert_eq!((missing("error"), missing("best_test_accuracy"), missing("final_test_accuracy")), (2, 0, 1));

    let timings = read(outputs.path(), "", "timings");
    assert_eq!(floats(&timings, "seconds"), [Some(1.234); 2]);
    assert_eq!(integers(&timings, "attempts"), [Some(1); 2]);
    assert_eq!(timings.column_by_name("started").unwrap().null_count(), 0);
}

#[test]
fn an_axis_gives_way_to_a_column_and_shares_a_setting() {
    let mut plan = Grid { policies: &["triangular"], optimizers: &["sgd"], ..GRID }.plan();
    for (name, kind) in [("momentum", AxisKind::Float), ("batch_size", AxisKind::Integer), ("loss", AxisKind::Boolean)]
    {
        plan.axes.push(Axis { name: name.to_owned(), kind });
    }
    Arc::make_mut(&mut plan.trials)[0].axes.extend([Some(AxisValue::Integer(1)), None, Some(AxisValue::Boolean(true))]);
    Arc::make_mut(&mut plan.trials)[1].axes.extend([None, Some(AxisValue::Integer(10)), None]);
    let outputs = tempfile::tempdir().unwrap();
    run(outputs.path(), &plan, SMALL);

    let metrics = read(outputs.path(), "metrics", "");
    assert_eq!((floats(&metrics, "momentum")[0], floats(&metrics, "axis_momentum")[0]), (Some(0.9), Some(1.0)));
    assert_eq!((integers(&metrics, "batch_size")[0], integers(&metrics, "batch_size")[12]), (None, Some(10)));
    let trials = read(outputs.path(), "", "trials");
    assert_eq!(integers(&trials, "batch_size"), [Some(10); 2]);
    assert_eq!(trials.column_by_name("axis_loss").unwrap().data_type(), &DataType::Boolean);
    let names: Vec<_> = trials.schema().fields().iter().filter(|field| field.name() == "batch_size").cloned().collect();
    assert_eq!(names.len(), 1);
    assert_eq!(trials.schema().field_with_name("policy").unwrap().data_type(), &text_type());
}

/// Runs the first trial of a plan, with these losses and no other metric that is not finite.
fn run_losses(plan: &Plan, losses: &[f32], outcome: Outcome) -> (tempfile::TempDir, Summary) {
    let outputs = tempfile::tempdir().unwrap();
    let mut store = open(outputs.path(), plan, SMALL);
    let rows = Rows {
        trial: 0,
        first_iteration: 0,
        count: losses.len(),
        hypers: vec![vec![0.1; losses.len()]; 2],
        metrics: vec![losses.to_vec(), vec![0.5; losses.len()]],
    };
    let ended = Event::Ended { trial: 0, outcome, elapsed: Duration::from_secs(1) };
    record(&mut store, &[Event::Started { trial: 0, step: 0 }, Event::Rows(rows), ended]);
    let summary = store.finish().unwrap();
    (outputs, summary)
}

fn plan_of_one(iterations: u64, divergence: Divergence) -> Plan {
    let mut plan = Grid { policies: &["triangular"], optimizers: &["sgd"], seeds: &[1], iterations, ..GRID }.plan();
    Arc::make_mut(&mut plan.trials)[0].divergence = divergence;
    plan
}

#[test]
fn the_row_that_ends_a_trial_by_max_loss_is_marked_as_diverged() {
    let plan = plan_of_one(9, Divergence { non_finite: true, loss_above: Some(2.0) });
    let (outputs, summary) = run_losses(&plan, &[1.0, 2.0, 2.5], Outcome::Diverged { iteration: 2 });
    let metrics = read(outputs.path(), "metrics", "");
    let marks: Vec<bool> = metrics.column_by_name("diverged").unwrap().as_boolean().values().iter().collect();
    assert_eq!(marks, [false, false, true]);
    assert_eq!(singles(&metrics, "loss")[2], Some(2.5));
    let numbers = result(&summary, 0).numbers;
    assert_eq!((numbers.diverged_at, numbers.non_finite_losses), (Some(2), Some(0)));
}

#[test]
fn losses_that_are_not_finite_are_counted_where_divergence_stops_nothing() {
    let plan = plan_of_one(5, Divergence { non_finite: false, loss_above: None });
    let losses = [1.0, f32::NAN, 3.0, f32::INFINITY, f32::NAN];
    let (outputs, summary) = run_losses(&plan, &losses, Outcome::Finished);
    let trials = read(outputs.path(), "", "trials");
    assert_eq!(texts(&trials, "status"), [Some("finished")]);
    assert_eq!(integers(&trials, "non_finite_losses"), [Some(3)]);
    assert_eq!(integers(&trials, "first_non_finite_loss"), [Some(1)]);
    let numbers = result(&summary, 0).numbers;
    assert_eq!((numbers.non_finite_losses, numbers.first_non_finite_loss), (Some(3), Some(1)));
}

#[test]
fn evaluations_have_the_hyper_parameters_of_the_last_update_before() {
    let plan = GRID.plan();
    let outputs = tempfile::tempdir().unwrap();
    run(outputs.path(), &plan, SMALL);
    let evals = read(outputs.path(), "evals", "");
    let (ids, iterations) = (texts(&evals, "trial"), integers(&evals, "iteration"));
    for (row, &lr) in floats(&evals, "lr").iter().enumerate() {
        let trial = plan.trials.iter().find(|trial| Some(&*trial.id.to_string()) == ids[row]).unwrap();
        let update = iterations[row].unwrap().max(1) as u64 - 1;
        assert_eq!(lr, Some(trial.lr.at(update)));
        let is_sgd = &*trial.optimizer.kind == "sgd";
        assert_eq!(floats(&evals, "momentum")[row], is_sgd.then_some(0.9));
        assert_eq!(floats(&evals, "beta1")[row], (!is_sgd).then_some(0.9));
    }
    assert_eq!(evals.num_rows(), 4 * 4 + 4 * 2);
}

/// A plan has none. Should one come, null would say that the optimizer does not use it.
#[test]
fn a_hyper_parameter_that_is_not_finite_is_stored_as_it_is() {
    let plan = Grid { policies: &["triangular"], optimizers: &["sgd"], seeds: &[1], ..GRID }.plan();
    let outputs = tempfile::tempdir().unwrap();
    let mut store = open(outputs.path(), &plan, SMALL);
    let mut events = events(&plan, 0, 5);
    for event in &mut events {
        if let Event::Rows(rows) = event {
            rows.hypers[0].fill(f64::INFINITY);
            rows.hypers[1].fill(f64::NAN);
        }
    }
    record(&mut store, &events);
    store.finish().unwrap();
    let batch = read(outputs.path(), "metrics", "");
    assert!(batch.num_rows() > 0);
    assert!(floats(&batch, "lr").into_iter().all(|lr| lr == Some(f64::INFINITY)));
    assert!(floats(&batch, "momentum").into_iter().all(|momentum| momentum.is_some_and(f64::is_nan)));
}
