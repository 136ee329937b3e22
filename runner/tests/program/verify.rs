//! `clr-run verify`: a sound output is proven, and whatever is done to one is found and named.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{ArrayRef, Float32Array, RecordBatch};
use arrow_select::concat::concat_batches;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::world::{BOWL, Ran, World};

const OUTPUT: &str = "outputs/bowl";

fn quick(world: &World) -> Ran {
    world.run(&["verify", OUTPUT, "--quick"])
}

fn again(world: &World, arguments: &[&str]) -> Ran {
    world.run(&[&["verify", OUTPUT, "--data", "data", "--quiet"], arguments].concat())
}

/// The only file of a folder of the output.
pub fn only_file(world: &World, folder: &str) -> PathBuf {
    let mut files: Vec<PathBuf> =
        fs::read_dir(world.path(OUTPUT).join(folder)).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

pub fn manifest(world: &World) -> Value {
    serde_json::from_slice(&fs::read(world.path(OUTPUT).join("manifest.json")).unwrap()).unwrap()
}

pub fn write_manifest(world: &World, manifest: &Value) {
    write_manifest_of(&world.path(OUTPUT), manifest);
}

/// As earlier versions wrote it: without its own digest, and without a copy.
fn write_manifest_of(output: &Path, manifest: &Value) {
    let mut manifest = manifest.clone();
    manifest.as_object_mut().unwrap().remove("blake3");
    fs::write(output.join("manifest.json"), manifest.to_string()).unwrap();
    let _ = fs::remove_file(output.join("manifest.backup.json"));
}

/// Puts other rows into a table, and tells the manifest, as somebody would who does not want to be found out.
pub fn rewrite(world: &World, path: &Path, change: impl Fn(RecordBatch) -> RecordBatch) {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    let rows = change(concat_batches(&batches[0].schema(), &batches).unwrap());
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    let bytes = fs::read(path).unwrap();
    let name = path.strip_prefix(world.path(OUTPUT)).unwrap().to_str().unwrap().to_owned();
    let mut manifest = manifest(world);
    manifest["files"][&name] =
        json!({ "rows": rows.num_rows(), "bytes": bytes.len(), "blake3": blake3::hash(&bytes).to_hex().to_string() });
    write_manifest(world, &manifest);
}

/// The rows with row `row` repeated.
fn repeated(rows: RecordBatch, row: usize) -> RecordBatch {
    let parts = [rows.slice(0, row + 1), rows.slice(row, rows.num_rows() - row)];
    concat_batches(&rows.schema(), &parts).unwrap()
}

/// The rows with the last bit of a value of a column of f32 flipped.
pub fn altered(rows: RecordBatch, column: &str, row: usize) -> RecordBatch {
    let index = rows.schema().index_of(column).unwrap();
    let mut values: Vec<Option<f32>> = rows.column(index).as_primitive::<Float32Type>().iter().collect();
    values[row] = values[row].map(|value| f32::from_bits(value.to_bits() ^ 1));
    let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
    columns[index] = Arc::new(Float32Array::from(values));
    RecordBatch::try_new(rows.schema(), columns).unwrap()
}

#[test]
fn a_sound_output_is_proven_and_nothing_is_written() {
    let world = World::new(BOWL);
    world.train(&[]);
    let before = world.tables(OUTPUT);
    let manifest = manifest(&world);
    let ran = quick(&world);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let rows = manifest["files"].as_object().unwrap().iter().find(|(name, _)| name.starts_with("metrics/")).unwrap();
    let rows = rows.1["rows"].as_u64().unwrap();
    let sound = format!("{OUTPUT}: no problems in 6 files, with {rows} rows and 9 evaluations of 3 trials\n");
    assert_eq!(ran.stdout, sound);
    let ran = again(&world, &[]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let proof =
        format!("trained 3 trials again, and all give the stored rows, bit for bit: {rows} rows and 9 evaluations\n");
    assert_eq!(ran.stdout, sound + &proof);
    assert!(world.tables(OUTPUT) == before);
    assert_eq!(self::manifest(&world), manifest);
}

/// What `disturb` does to a finished output is a problem that `verify --quick` names in these words.
#[track_caller]
fn check_quick(disturb: impl Fn(&World), expected: &[&str]) {
    let world = World::new(BOWL);
    world.train(&[]);
    disturb(&world);
    let ran = quick(&world);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), ""), "{ran:?}");
    for part in expected {
        assert!(ran.stdout.contains(part), "no `{part}` in\n{}", ran.stdout);
    }
}

#[test]
fn damage_to_files_is_found_and_named_with_the_trials() {
    let flip = |folder: &'static str| {
        move |world: &World| {
            let path = only_file(world, folder);
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).unwrap();
        }
    };
    let named = "(hot gd seed=1, triangular gd seed=1, triangular sgd seed=1)\n";
    check_quick(flip("metrics"), &["problem: metrics/00000-", "parquet: its bytes have changed: BLAKE3 ", named]);
    check_quick(flip("evals"), &["problem: evals/00000-", "its bytes have changed", named]);
    check_quick(
        |world| fs::remove_file(only_file(world, "metrics")).unwrap(),
        &["problem: metrics/00000-", "it is missing", named],
    );
    check_quick(
        |world| {
            let path = only_file(world, "evals");
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 9]).unwrap();
        },
        &["problem: evals/00000-", "it is cut off: ", named],
    );
    check_quick(
        |world| {
            let path = only_file(world, "metrics");
            fs::copy(&path, path.with_file_name("copy.parquet")).unwrap();
        },
        &[
            "problem: metrics/copy.parquet: the manifest does not list it, and readers of the folder would take its rows",
        ],
    );
    check_quick(
        |world| fs::remove_file(world.path(OUTPUT).join("timings.parquet")).unwrap(),
        &["problem: timings.parquet: it is missing"],
    );
    for name in ["manifest.json", "plan.json", "spec.toml"] {
        check_quick(
            |world| fs::remove_file(world.path(OUTPUT).join(name)).unwrap(),
            &[&format!("problem: {name}: it is missing")],
        );
    }
    check_quick(
        |world| fs::write(world.path(OUTPUT).join("manifest.json"), "{\"format\": 1, ").unwrap(),
        &["problem: manifest.json: ", "EOF while parsing"],
    );
    check_quick(
        |world| fs::write(world.path(OUTPUT).join("plan.json"), "[]").unwrap(),
        &["problem: plan.json: it is cut off: 2 bytes instead of "],
    );
}

#[test]
fn a_bit_that_flips_in_a_part_is_found() {
    let world = World::new(BOWL);
    world.train(&["--set", "policies.triangular.max_lr=[0.1, 0.2]"]);
    // What the spec no longer covers goes back to parts.
    world.train(&[]);
    assert_eq!(quick(&world).code, Some(0));
    let parts = fs::read_dir(world.path(OUTPUT).join("parts")).unwrap().map(|part| part.unwrap().path());
    let mut parts: Vec<PathBuf> = parts.collect();
    parts.sort();
    for part in &parts {
        let whole = fs::read(part).unwrap();
        let mut bytes = whole.clone();
        bytes[whole.len() / 3] ^= 4;
        fs::write(part, &bytes).unwrap();
        let ran = quick(&world);
        let name = format!("problem: parts/{}: its bytes have changed", part.file_name().unwrap().to_str().unwrap());
        assert!(ran.code == Some(1) && ran.stdout.contains(&name), "{ran:?}");
        fs::write(part, &whole).unwrap();
    }
    assert_eq!(parts.len(), 2, "{parts:?}");
}

#[test]
fn rows_that_are_wrong_are_found_though_every_digest_is_right() {
    let rewrite_metrics = |change: &'static dyn Fn(RecordBatch) -> RecordBatch| {
        move |world: &World| rewrite(world, &only_file(world, "metrics"), change)
    };
    let rewrite_evals = |change: &'static dyn Fn(RecordBatch) -> RecordBatch| {
        move |world: &World| rewrite(world, &only_file(world, "evals"), change)
    };
    check_quick(
        rewrite_metrics(&|rows| repeated(rows, 3)),
        &["row 4: iteration 3 is there twice (triangular sgd seed=1)\n", "belong to no trial\n"],
    );
    check_quick(
        rewrite_metrics(&|rows| {
            let parts = [rows.slice(0, 40), rows.slice(42, rows.num_rows() - 42), rows.slice(0, 2)];
            concat_batches(&rows.schema(), &parts).unwrap()
        }),
        &["row 40: iterations 10 to 11 are missing (triangular gd seed=1)\n"],
    );
    check_quick(
        rewrite_metrics(&|rows| rows.slice(0, rows.num_rows() - 1)),
        &["are beyond the file's", "(hot gd seed=1)\n"],
    );
    check_quick(
        rewrite_metrics(&|rows| altered(rows, "loss", 29)),
        &["problem: manifest.json: final_train_loss is ", "and its rows amount to ", "(triangular sgd seed=1)\n"],
    );
    check_quick(
        rewrite_evals(&|rows| altered(rows, "loss", 3)),
        &["problem: manifest.json: final_test_loss is ", "(triangular sgd seed=1)\n"],
    );
    check_quick(
        rewrite_evals(&|rows| repeated(rows.clone(), 0).slice(0, rows.num_rows())),
        &["the evaluation at 0 on test is there twice (triangular sgd seed=1)\n"],
    );
    check_quick(
        |world| {
            let mut manifest = manifest(world);
            for (_, trial) in manifest["trials"].as_object_mut().unwrap() {
                for segment in trial["evals"].as_array_mut().unwrap() {
                    segment[2] = (segment[2].as_u64().unwrap() - 1).into();
                }
            }
            write_manifest(world, &manifest);
        },
        &[
            "the last evaluation, at 30, is missing (triangular gd seed=1)\n",
            "the evaluation at 0 is missing (hot gd seed=1)\n",
        ],
    );
}

#[test]
fn a_value_that_was_changed_behind_every_digest_is_found_by_training_again() {
    let world = World::new(BOWL);
    world.train(&[]);
    let metrics = only_file(&world, "metrics");
    rewrite(&world, &metrics, |rows| altered(rows, "grad_norm", 33));
    rewrite(&world, &metrics, |rows| altered(rows, "loss", 35));
    assert_eq!(quick(&world).code, Some(0), "no file shows it");
    let name = metrics.file_name().unwrap().to_str().unwrap();
    let differs = format!(" (triangular gd seed=1): metrics/{name}: iteration 3, column grad_norm: ");

    let ran = again(&world, &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let line = ran
        .stdout
        .lines()
        .find(|line| line.starts_with("differs: ") && line.contains(&differs))
        .unwrap_or_else(|| panic!("{ran:?}"));
    assert!(line.contains(" is stored, ") && line.ends_with(" was made again") && line.contains("(0x"), "{line}");
    assert!(ran.stdout.contains("trained 3 trials again, and 2 of them give the stored rows"), "{ran:?}");

    // By label, by the first digits of the id, and by rows.
    let id = manifest(&world)["trials"].as_object().unwrap().iter().next().unwrap().0.clone();
    let cases: [(&[&str], i32, &str); 6] = [
        (&["--trial", "triangular gd seed=1"], 1, "trained 1 trial again, and none gives all of its stored rows"),
        (
            &["--trial", "triangular sgd seed=1"],
            0,
            "trained 1 trial again, and it gives the stored rows, bit for bit: 30 rows and 4 evaluations",
        ),
        (&["--trial", &id[..9]], -1, "trained 1 trial again, and "),
        (
            &["--rows", "..3"],
            0,
            "trained 3 trials again, and all give the stored rows, bit for bit: 9 rows and 3 evaluations",
        ),
        (&["--rows", "4..6", "--trial", "triangular gd seed=1"], 1, "iteration 5, column loss: "),
        (&["--rows", "6..20", "--trial", "triangular gd seed=1"], 0, ": 14 rows and 2 evaluations"),
    ];
    for (arguments, code, expected) in cases {
        let ran = again(&world, arguments);
        assert!(code < 0 || ran.code == Some(code), "{arguments:?}: {ran:?}");
        assert!(ran.stdout.contains(expected), "{arguments:?}: no `{expected}` in {ran:?}");
    }
    for (arguments, expected) in [
        (&["--trial", "nobody"], "error: there is no trial `nobody`; there are "),
        (&["--rows", "7..7"], "there is no row in it"),
        (&["--rows", "7"], "expected A..B"),
    ] {
        let ran = again(&world, arguments);
        assert!(ran.code == Some(2) && ran.stderr.contains(expected), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn what_cannot_be_proven_says_why() {
    let world = World::new(BOWL);
    world.train(&[]);
    let whole = manifest(&world);
    let mut other = whole.clone();
    let (id, trial) = other["trials"].as_object_mut().unwrap().iter_mut().next().unwrap();
    trial["numerics"] = "quadratic/0 gpu".into();
    let id = id.clone();
    write_manifest(&world, &other);
    let ran = again(&world, &[]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    for part in [
        "not proven: ",
        "its rows are of quadratic/0 gpu, and this is quadratic/",
        "trained 2 trials again, and all give ",
    ] {
        assert!(ran.stdout.contains(part), "no `{part}` in {ran:?}");
    }
    let mut other = whole.clone();
    other["trials"][&id]["status"] = "failed".into();
    write_manifest(&world, &other);
    assert!(
        again(&world, &["--trial", &id])
            .stdout
            .contains("it is failed, and its rows are of an attempt that came to nothing")
    );
    write_manifest(&world, &whole);

    // Other data under the same name.
    fs::copy(world.path("data/speckles/test.parquet"), world.path("data/speckles/train.parquet")).unwrap();
    let ran = again(&world, &[]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("error: cannot plan again what outputs/bowl holds: trial `"), "{ran:?}");
    // Without --data they are looked for where the run had them.
    fs::rename(world.path("data"), world.path("elsewhere")).unwrap();
    let no_data = world.run(&["verify", OUTPUT]);
    assert!(no_data.code == Some(2) && no_data.stderr.contains("there is no dataset `speckles`"), "{no_data:?}");
}

#[test]
fn what_was_set_and_tables_of_values_are_found_again() {
    let table = "kind      = \"table\"\nfile = \"rates.csv\"";
    let spec = BOWL.replace("kind      = \"triangular\"\nbase_lr   = 0.01\nmax_lr    = 0.1\nstep_size = 5", table);
    assert!(spec != BOWL);
    let world = World::new(&spec);
    let rates: String = (0..50).map(|row| format!("{}\n", 0.01 + f64::from(row) / 1000.0)).collect();
    fs::write(world.path("rates.csv"), &rates).unwrap();
    world.train(&["--set", "train.iterations=17", "--set", "train.eval_every=5"]);
    // From another folder, and with the spec itself changed since.
    fs::write(world.path("spec.toml"), "").unwrap();
    fs::create_dir(world.path("away")).unwrap();
    let arguments = ["verify", "../outputs/bowl", "--data", "../data", "--quiet"];
    let ran = Ran::from(world.command(&arguments).current_dir(world.path("away")).output().unwrap());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("trained 3 trials again, and all give "), "{ran:?}");
    // Moved away, with the table changed since: the output has its own.
    fs::rename(world.path("outputs"), world.path("away/outputs")).unwrap();
    fs::write(world.path("rates.csv"), "0.5\n").unwrap();
    assert_eq!(world.run(&["verify", "away/outputs/bowl", "--data", "data", "--quiet"]).code, Some(0));
    // Earlier versions kept the spec as it was, and noted what was set and where its tables are.
    fs::write(world.path("away/outputs/bowl/spec.toml"), &spec).unwrap();
    fs::remove_dir_all(world.path("away/outputs/bowl/tables")).unwrap();
    fs::create_dir(world.path("home")).unwrap();
    let mut moved: Value =
        serde_json::from_slice(&fs::read(world.path("away/outputs/bowl/manifest.json")).unwrap()).unwrap();
    moved["runs"][0]["spec_folder"] = "/nowhere/at/all".into();
    moved["runs"][0]["spec_is_whole"] = false.into();
    moved["files"].as_object_mut().unwrap().retain(|name, _| name.ends_with(".parquet"));
    write_manifest_of(&world.path("away/outputs/bowl"), &moved);
    assert_eq!(world.run(&["verify", "away/outputs/bowl", "--data", "data"]).code, Some(2));
    fs::write(world.path("away/outputs/bowl/rates.csv"), &rates).unwrap();
    let ran = world.run(&["verify", "away/outputs/bowl", "--data", "data", "--quiet"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}
