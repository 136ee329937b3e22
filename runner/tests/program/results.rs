//! What a run leaves in its tables.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::world::{BOWL, MIX, World};

/// A value of a table, floats as bits.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Null,
    Text(String),
    Integer(i64),
    Boolean(bool),
    F32(u32),
    F64(u64),
}

/// All rows of a Parquet file, or of a folder of them in the order of their names: pairs of column and value.
pub fn read(path: &Path) -> Vec<Vec<(String, Cell)>> {
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        files = fs::read_dir(path).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
    }
    let mut rows = Vec::new();
    for file in files {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap().build().unwrap();
        for batch in reader {
            let batch = batch.unwrap();
            let schema = batch.schema();
            rows.extend((0..batch.num_rows()).map(|row| {
                let cells = schema.fields().iter().zip(batch.columns());
                cells.map(|(field, column)| (field.name().clone(), cell(column, row))).collect::<Vec<_>>()
            }));
        }
    }
    rows
}

fn cell(column: &ArrayRef, row: usize) -> Cell {
    if column.is_null(row) {
        return Cell::Null;
    }
    match column.data_type() {
        DataType::Utf8 => Cell::Text(column.as_string::<i32>().value(row).to_owned()),
        DataType::Dictionary(..) => {
            let dictionary = column.as_dictionary::<Int32Type>();
            let key = dictionary.keys().value(row) as usize;
            Cell::Text(dictionary.values().as_string::<i32>().value(key).to_owned())
        }
        DataType::Int64 => Cell::Integer(column.as_primitive::<Int64Type>().value(row)),
        DataType::Boolean => Cell::Boolean(column.as_boolean().value(row)),
        DataType::Float32 => Cell::F32(column.as_primitive::<Float32Type>().value(row).to_bits()),
        DataType::Float64 => Cell::F64(column.as_primitive::<Float64Type>().value(row).to_bits()),
        other => panic!("no column of the tables is of type {other}"),
    }
}

fn get<'a>(row: &'a [(String, Cell)], column: &str) -> &'a Cell {
    &row.iter().find(|(name, _)| name == column).unwrap_or_else(|| panic!("no column `{column}`")).1
}

fn text(row: &[(String, Cell)], column: &str) -> String {
    let Cell::Text(text) = get(row, column) else { panic!("`{column}` is no text in {row:?}") };
    text.clone()
}

#[test]
fn a_trial_that_diverges_keeps_the_rows_up_to_the_break_and_stores_no_nan() {
    let world = World::new(MIX);
    let ran = world.train(&[]);
    assert!(ran.stdout.contains("32 trials: 28 finished, 4 diverged"), "{}", ran.stdout);
    let metrics = read(&world.path("outputs/mix/metrics"));
    let trials = read(&world.path("outputs/mix/trials.parquet"));
    let mut lengths: BTreeMap<String, i64> = BTreeMap::new();
    for row in &metrics {
        let Cell::Integer(iteration) = *get(row, "iteration") else { panic!("{row:?}") };
        let length = lengths.entry(text(row, "trial")).or_default();
        assert_eq!(iteration, *length);
        *length += 1;
        for (column, value) in row {
            let finite = match value {
                Cell::F32(bits) => f32::from_bits(*bits).is_finite(),
                Cell::F64(bits) => f64::from_bits(*bits).is_finite(),
                _ => true,
            };
            assert!(finite, "{column} is {value:?}");
        }
        if *get(row, "diverged") == Cell::Boolean(false) {
            assert!(["loss", "accuracy", "grad_norm"].iter().all(|metric| *get(row, metric) != Cell::Null), "{row:?}");
        }
    }
    assert_eq!(trials.len(), 32);
    for trial in &trials {
        let length = lengths[&text(trial, "trial")];
        assert_eq!(*get(trial, "rows"), Cell::Integer(length));
        if text(trial, "policy") == "hot" {
            assert_eq!(text(trial, "status"), "diverged");
            assert!((1..11).contains(&length));
            assert_eq!(*get(trial, "diverged_at"), Cell::Integer(length - 1));
            assert_eq!(*get(trial, "final_test_accuracy"), Cell::Null);
            let last = metrics.iter().rfind(|row| get(row, "trial") == get(trial, "trial")).unwrap();
            assert_eq!((get(last, "loss"), get(last, "diverged")), (&Cell::Null, &Cell::Boolean(true)));
        } else {
            assert_eq!((text(trial, "status"), length), ("finished".to_owned(), 11));
        }
    }
}

#[test]
fn evaluations_are_at_the_start_on_schedule_and_at_the_end_of_both_splits() {
    let world = World::new(MIX);
    world.train(&[]);
    let mut places: BTreeMap<(String, String, String), Vec<i64>> = BTreeMap::new();
    for row in read(&world.path("outputs/mix/evals")) {
        let Cell::Integer(iteration) = *get(&row, "iteration") else { panic!("{row:?}") };
        places.entry((text(&row, "policy"), text(&row, "trial"), text(&row, "split"))).or_default().push(iteration);
    }
    assert_eq!(places.len(), 2 * 32);
    for ((policy, _, split), iterations) in places {
        let expected: &[i64] = if policy == "hot" { &[0] } else { &[0, 4, 8, 11] };
        assert_eq!(iterations, expected, "{policy} {split}");
    }
}

#[test]
fn an_evaluation_has_the_rates_of_the_last_update_before_it() {
    let world = World::new(MIX);
    world.train(&[]);
    let mut trained = BTreeMap::new();
    for row in read(&world.path("outputs/mix/metrics")) {
        let Cell::Integer(iteration) = *get(&row, "iteration") else { panic!("{row:?}") };
        trained.insert((text(&row, "trial"), iteration), ["lr", "momentum", "beta1"].map(|it| get(&row, it).clone()));
    }
    let evals = read(&world.path("outputs/mix/evals"));
    for row in &evals {
        let Cell::Integer(iteration) = *get(row, "iteration") else { panic!("{row:?}") };
        let update = (text(row, "trial"), iteration.max(1) - 1);
        assert_eq!(["lr", "momentum", "beta1"].map(|it| get(row, it).clone()), trained[&update], "{row:?}");
    }
    assert!(!evals.is_empty());
}

#[test]
fn the_schedules_in_the_csv_are_those_that_were_trained_with() {
    let world = World::new(BOWL);
    let spec = ["spec.toml", "--data", "data", "--set", "train.stop_on_divergence=false"];
    assert_eq!(world.run(&spec).code, Some(0));
    let mut trained = BTreeMap::new();
    for row in read(&world.path("outputs/bowl/metrics")) {
        let Cell::Integer(iteration) = *get(&row, "iteration") else { panic!("{row:?}") };
        let values = ["lr", "momentum"].map(|hyper| get(&row, hyper).clone());
        trained.insert((text(&row, "trial"), iteration), values);
    }
    let csv = world.run(&[&["schedule"], &spec[..], &["--csv"]].concat());
    assert_eq!((csv.code, csv.stderr.as_str()), (Some(0), ""));
    let mut lines = csv.stdout.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let column = |name: &str| header.iter().position(|column| *column == name).unwrap();
    let mut printed = BTreeMap::new();
    for line in lines {
        let value = |name| match line[column(name)] {
            "" => Cell::Null,
            number => Cell::F64(number.parse::<f64>().unwrap().to_bits()),
        };
        let key = (line[column("trial")].to_owned(), line[column("iteration")].parse().unwrap());
        printed.insert(key, ["lr", "momentum"].map(value));
    }
    assert_eq!(printed.len(), 3 * 30);
    assert_eq!(printed, trained);
}
