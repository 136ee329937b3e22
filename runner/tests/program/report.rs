//! `clr-run report`: what the page holds, against the tables, and of outputs in any state. How it looks and behaves in a browser
//! is tried by `runner/report/tests/browser.py`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::DeflateDecoder;
use serde_json::Value;

use crate::compare::SEEDS;
use crate::results::{Cell, read};
use crate::world::{BOWL, World};

/// The data in a page.
#[track_caller]
fn data(page: &Path) -> Value {
    let page = fs::read_to_string(page).unwrap();
    let text = page.split_once("id=\"data\">").and_then(|(_, rest)| rest.split_once('<')).expect("a page has data").0;
    let mut json = String::new();
    DeflateDecoder::new(&STANDARD.decode(text).unwrap()[..]).read_to_string(&mut json).unwrap();
    serde_json::from_str(&json).unwrap()
}

/// The x of points, each of which is stored as its distance from the one before.
fn xs(points: &Value) -> Vec<u64> {
    let steps = points["x"].as_array().unwrap().iter().map(|step| step.as_u64().unwrap());
    steps
        .scan(0, |at, step| {
            *at += step;
            Some(*at)
        })
        .collect()
}

fn rows(world: &World, below: &str) -> Vec<BTreeMap<String, Cell>> {
    read(&world.path(below)).into_iter().map(|row| row.into_iter().collect()).collect()
}

#[track_caller]
fn check_near(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap_or_else(|| panic!("{found} is no number"));
    // The page has six digits of what it draws.
    assert!((found - expected).abs() <= 1e-5 * expected.abs(), "{found} instead of {expected}");
}

#[test]
fn a_report_has_the_numbers_of_the_tables() {
    let world = World::new(SEEDS);
    world.train(&[]);
    let page = world.path("outputs/seeds/report.html");
    let data = data(&page);
    let trials = data["trials"].as_array().unwrap();
    let stored = rows(&world, "outputs/seeds/trials.parquet");
    assert_eq!((trials.len(), stored.len()), (9, 9));
    for (trial, stored) in trials.iter().zip(&stored) {
        let text = |name: &str| match &stored[name] {
            Cell::Text(text) => text.clone(),
            other => panic!("{name} is {other:?}"),
        };
        assert_eq!(trial["id"], text("trial"));
        assert_eq!(trial["status"], text("status"));
        match &stored["final_test_accuracy"] {
            Cell::F32(bits) => {
                let found = trial["numbers"]["final_test_accuracy"].as_f64().unwrap();
                assert_eq!((found as f32).to_bits(), *bits, "{trial}");
            }
            none => assert_eq!((none, &trial["numbers"]["final_test_accuracy"]), (&Cell::Null, &Value::Null)),
        }
    }
    let diverged = trials.iter().find(|trial| trial["status"] == "diverged").unwrap();
    assert!(diverged["numbers"]["diverged_at"].is_u64(), "{diverged}");

    // Means over seeds of evaluations, and of training loss.
    let name = |place: &Value| data["cells"][place.as_u64().unwrap() as usize]["name"].as_str().unwrap().to_owned();
    let cells = data["curves"]["cells"].as_array().unwrap();
    let of = |policy: &str| &cells.iter().find(|cell| name(&cell[0]) == policy).unwrap()[1];
    for (table, points, column) in [
        ("evals", &of("triangular")["evaluations"][0][1], "accuracy"),
        ("evals", &of("triangular")["evaluations"][0][2], "loss"),
        ("metrics", &of("fixed")["training"], "loss"),
    ] {
        let policy = if table == "evals" { "triangular" } else { "fixed" };
        let mut expected: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for row in rows(&world, &format!("outputs/seeds/{table}")) {
            let (Cell::Integer(iteration), Cell::F32(bits)) = (&row["iteration"], &row[column]) else { continue };
            if row["policy"] == Cell::Text(policy.to_owned()) {
                expected.entry(*iteration as u64).or_default().push(f64::from(f32::from_bits(*bits)));
            }
        }
        assert_eq!(xs(points), expected.keys().copied().collect::<Vec<_>>());
        for (place, values) in expected.values().enumerate() {
            assert_eq!((values.len(), points["n"][place].as_u64()), (3, Some(3)));
            check_near(&points["mean"][place], values.iter().sum::<f64>() / 3.0);
            check_near(&points["least"][place], values.iter().copied().fold(f64::INFINITY, f64::min));
            check_near(&points["greatest"][place], values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        }
    }
    // Every row of a short trial, and the learning rate of each.
    let (place, curves) = (&data["curves"]["trials"][0][0], &data["curves"]["trials"][0][1]);
    let id = trials[place.as_u64().unwrap() as usize]["id"].as_str().unwrap().to_owned();
    let of_trial = rows(&world, "outputs/seeds/metrics");
    let of_trial: Vec<_> = of_trial.iter().filter(|row| row["trial"] == Cell::Text(id.clone())).collect();
    let loss = curves["metrics"].as_array().unwrap().iter().find(|it| it[0] == "loss").unwrap();
    assert_eq!(xs(&loss[1]).len(), of_trial.len());
    for (row, y) in of_trial.iter().zip(loss[1]["y"].as_array().unwrap()) {
        let Cell::F32(bits) = row["loss"] else { panic!("{row:?}") };
        check_near(y, f64::from(f32::from_bits(bits)));
    }

    // The verdicts of `clr-run compare`.
    let compared = world.run(&["compare", "outputs/seeds", "--json"]);
    let compared: Value = serde_json::from_str(&compared.stdout).unwrap();
    let beside_fixed = &data["comparisons"][1];
    assert_eq!(beside_fixed["reference"], "fixed");
    assert_eq!(beside_fixed["blocks"][0]["answer"], compared["blocks"][0]["answer"]);
    for key in ["difference", "p_corrected", "verdict", "iterations_ratio"] {
        assert_eq!(
            beside_fixed["blocks"][0]["candidates"][0][key], compared["blocks"][0]["candidates"][0][key],
            "{key}"
        );
    }
    let besides_best = &data["comparisons"][0];
    assert_eq!((&besides_best["reference"], &besides_best["by"]), (&Value::Null, &"policy".into()));

    let again = world.run(&["report", "outputs/seeds", "--out", "again.html"]);
    assert_eq!((again.code, again.stderr.as_str()), (Some(0), ""), "{again:?}");
    assert!(again.stdout.starts_with("9 trials in again.html, "), "{again:?}");
    assert_eq!(fs::read(world.path("again.html")).unwrap(), fs::read(page).unwrap(), "the same output, the same page");
}

#[test]
fn a_page_loads_nothing_and_what_names_hold_is_never_markup() {
    let evil = "</script><img src=x onerror=alert(1)>";
    let spec =
        BOWL.replace("[policies.hot]", "[policies.\"a&b'<b>\"]").replace("[optimizers.gd]", "[optimizers.\"x<i>\"]");
    let world = World::new(&spec.replace("optimizers = [\"gd\"]", "optimizers = [\"x<i>\"]"));
    world.train(&["--no-report"]);
    let output = "outputs/bowl";
    let spec = fs::read_to_string(world.path(output).join("spec.toml")).unwrap();
    fs::write(world.path(output).join("spec.toml"), format!("# {evil}\n{spec}")).unwrap();
    let ran = world.run(&["report", output, "--out", "page.html"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let page = fs::read_to_string(world.path("page.html")).unwrap();
    assert!(data(&world.path("page.html"))["outputs"][0]["spec"].as_str().unwrap().contains(evil));
    assert!(!page.contains("onerror=alert"));
    let policy = page.split_once("http-equiv=\"Content-Security-Policy\" content=\"").unwrap().1;
    let policy = policy.split_once('"').unwrap().0;
    assert!(policy.starts_with("default-src 'none'; script-src 'nonce-"), "{policy}");
    assert!(!policy.contains("http") && !policy.contains("unsafe-eval"), "{policy}");
    let (head, _) = page.split_once("<script nonce").unwrap();
    for outside in ["src=\"", "@import", "url("] {
        assert!(!head.contains(outside), "{outside}");
    }
    assert_eq!(page.matches("</script>").count(), 3);
    assert!(!page.contains("<b>") && page.contains("a&amp;b&#39;&lt;b&gt;"), "names are escaped where scripts are off");
}

#[test]
fn a_run_writes_a_report_unless_told_not_to_and_never_fails_for_it() {
    let world = World::new(BOWL);
    let ran = world.train(&["--no-report"]);
    let page = world.path("outputs/bowl/report.html");
    assert!(!page.exists(), "{ran:?}");
    fs::create_dir_all(page.join("in the way")).unwrap();
    let ran = world.train(&["--set", "experiment.seeds=[1, 2]"]);
    assert!(ran.stderr.contains("note: report.html could not be written, and the results are: "), "{ran:?}");
    fs::remove_dir_all(&page).unwrap();
    world.train(&["--set", "experiment.seeds=[1, 2, 3]"]);
    assert_eq!(data(&page)["trials"].as_array().unwrap().len(), 9);
    let quick = world.run(&["verify", "outputs/bowl", "--quick"]);
    assert_eq!(quick.code, Some(0), "a report is no damage: {quick:?}");
}

#[test]
fn a_report_of_a_damaged_or_partial_output_says_what_is_missing() {
    let world = World::new(SEEDS);
    world.train(&["--no-report"]);
    let output = world.path("outputs/seeds");
    let page = world.path("page.html");
    let report = |what: &str| -> Value {
        let ran = world.run(&["report", "outputs/seeds", "--out", "page.html"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{what}: {ran:?}");
        data(&page)
    };
    let missing = |data: &Value| {
        let missing = data["outputs"][0]["missing"].as_array().unwrap();
        missing.iter().map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let whole = report("whole");
    assert_eq!((missing(&whole).len(), &whole["outputs"][0]["state"]), (0, &"done".into()));

    let metrics = fs::read_dir(output.join("metrics")).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&metrics).unwrap();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    for (what, broken) in [("changed", flipped), ("cut off", bytes[..bytes.len() / 2].to_vec()), ("empty", Vec::new())]
    {
        fs::write(&metrics, broken).unwrap();
        let data = report(what);
        let missing = missing(&data);
        let name = metrics.file_name().unwrap().to_str().unwrap();
        assert!(
            missing.iter().any(|text| text.contains(name) && text.contains("its rows are left out")),
            "{missing:?}"
        );
        assert_eq!(data["trials"], whole["trials"], "{what}: results are in the manifest");
        assert_eq!(data["curves"]["cells"][0][1]["training"], Value::Null, "{what}");
        assert_ne!(data["curves"]["cells"][0][1]["evaluations"], Value::Null, "{what}");
    }
    fs::write(&metrics, bytes).unwrap();

    let plan = fs::read(output.join("plan.json")).unwrap();
    fs::write(output.join("plan.json"), &plan[..plan.len() / 2]).unwrap();
    let data_of = report("half a plan");
    assert!(missing(&data_of).iter().any(|text| text.contains("plan.json")), "{:?}", missing(&data_of));
    let cells: Vec<&str> =
        data_of["cells"].as_array().unwrap().iter().map(|cell| cell["name"].as_str().unwrap()).collect();
    assert_eq!(cells, ["fixed gd", "hot gd", "triangular gd"], "labels tell cells apart");
    assert_eq!(data_of["curves"]["cells"].as_array().unwrap().len(), 3);
    fs::write(output.join("plan.json"), &plan).unwrap();

    for name in ["manifest.json", "manifest.backup.json"] {
        fs::rename(output.join(name), world.path(name)).unwrap();
    }
    let data_of = report("no manifest");
    assert!(missing(&data_of).iter().any(|text| text.contains("manifest.json")), "{:?}", missing(&data_of));
    assert!(data_of["trials"].as_array().unwrap().iter().all(|trial| trial["status"] == "unfinished"));
    fs::remove_file(output.join("plan.json")).unwrap();
    let ran = world.run(&["report", "outputs/seeds", "--out", "page.html"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
}

#[test]
fn a_report_of_a_run_that_goes_on_or_was_stopped_has_what_there_is() {
    let world = World::new(&BOWL.replace("iterations = 30", "iterations = 300000"));
    let mut running = world.start(&["--set", "policies.hot.base_lr=0.001", "--jobs", "1"]);
    running.wait_for("started");
    let ran = world.run(&["report", "outputs/bowl", "--out", "running.html"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let found = data(&world.path("running.html"));
    assert_eq!(found["outputs"][0]["state"], "running");
    assert!(found["outputs"][0]["as_of"].is_string());
    assert_eq!(found["trials"].as_array().unwrap().len(), 3);
    running.signal("INT");
    running.finish();
    let stopped = data(&world.path("outputs/bowl/report.html"));
    assert_eq!(stopped["outputs"][0]["state"], "stopped");
    let rows = stopped["trials"].as_array().unwrap().iter().map(|trial| trial["rows"].as_u64().unwrap());
    assert!(rows.sum::<u64>() > 0, "{}", stopped["trials"]);
    assert!(!stopped["curves"]["trials"].as_array().unwrap().is_empty());
}

#[test]
fn several_outputs_are_one_report() {
    let world = World::new(SEEDS);
    world.train(&["--set", "experiment.name=a", "--set", "grid.exclude=[{ policy = \"hot\" }]"]);
    world.train(&["--set", "experiment.name=b", "--set", "train.iterations=60"]);
    let ran = world.run(&["report", "outputs/a", "outputs/b", "outputs/a"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let data = data(&world.path("report.html"));
    assert_eq!((data["outputs"].as_array().unwrap().len(), data["trials"].as_array().unwrap().len()), (2, 15));
    let of_b = data["trials"].as_array().unwrap().iter().filter(|trial| trial["output"] == 1).count();
    assert_eq!(of_b, 9);
    assert_eq!(data["cells"].as_array().unwrap().len(), 5, "a longer training is another cell: {}", data["cells"]);
}

#[test]
fn tables_for_papers_have_what_the_page_has() {
    let world = World::new(SEEDS);
    world.train(&[]);
    let page = data(&world.path("outputs/seeds/report.html"));
    for (format, files) in
        [("csv", &["trials.csv", "curves.csv", "beside-best.csv", "beside-fixed.csv"][..]), ("md", &["report.md"])]
    {
        let ran = world.run(&["report", "outputs/seeds", "--format", format]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
        for file in files {
            assert!(world.path("outputs/seeds/report").join(file).is_file(), "{file}: {ran:?}");
        }
    }
    let read = |file: &str| fs::read_to_string(world.path("outputs/seeds/report").join(file)).unwrap();
    let mut trials = csv::Reader::from_path(world.path("outputs/seeds/report/trials.csv")).unwrap();
    let heads = trials.headers().unwrap().clone();
    let column = |name: &str| heads.iter().position(|head| head == name).unwrap();
    let (id, accuracy) = (column("trial"), column("final_test_accuracy"));
    let rows: Vec<csv::StringRecord> = trials.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 9);
    for (row, trial) in rows.iter().zip(page["trials"].as_array().unwrap()) {
        assert_eq!(row[id], *trial["id"].as_str().unwrap());
        assert_eq!(row[accuracy].parse().ok(), trial["numbers"]["final_test_accuracy"].as_f64());
    }
    let mut curves = csv::Reader::from_path(world.path("outputs/seeds/report/curves.csv")).unwrap();
    let of_page = |cell: &Value| cell["evaluations"][0][1]["x"].as_array().unwrap().len();
    let expected: usize = page["curves"]["cells"].as_array().unwrap().iter().map(|cell| of_page(&cell[1])).sum();
    let found = curves.records().filter(|row| &row.as_ref().unwrap()[1] == "test accuracy").count();
    assert_eq!(found, expected);

    let answer = page["comparisons"][1]["blocks"][0]["answer"].as_str().unwrap();
    let text = read("report.md");
    assert!(text.contains(&format!("- {answer}\n")) && text.contains("\n| fixed | "), "{text}");
}
