//! `clr-run export --format excerpt`: an output without its rows of metrics is still one that can be read and proven.

use std::fs;

use crate::verify::{altered, manifest, only_file, rewrite, write_manifest};
use crate::world::{BOWL, Ran, World};

const OUTPUT: &str = "outputs/bowl";
const EXCERPT: &str = "kept/bowl";

fn export(world: &World) -> Ran {
    world.run(&["export", OUTPUT, "--format", "excerpt", "--out", EXCERPT])
}

#[test]
fn an_excerpt_is_read_and_proven_without_rows_of_metrics() {
    let world = World::new(BOWL);
    world.train(&[]);
    let ran = export(&world);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    assert!(ran.stdout.starts_with("3 trials with 9 evaluations in kept/bowl: "), "{ran:?}");
    assert!(!world.path(EXCERPT).join("metrics").exists());
    let [kept, whole] = [EXCERPT, OUTPUT].map(|folder| fs::read(world.path(folder).join("trials.parquet")).unwrap());
    assert!(kept == whole);

    let ran = world.run(&["verify", EXCERPT, "--data", "data", "--quiet"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let expected = "note: this is an excerpt, without the rows of metrics: training again compares the evaluations\n\
                    kept/bowl: no problems in 5 files, with 0 rows and 9 evaluations of 3 trials\n\
                    trained 3 trials again, and all give the stored rows, bit for bit: 0 rows and 9 evaluations\n";
    assert_eq!(ran.stdout, expected);

    let whole = world.run(&["compare", OUTPUT, "--json"]).stdout;
    assert_eq!(world.run(&["compare", EXCERPT, "--json"]).stdout.replace(EXCERPT, OUTPUT), whole);
    let ran = world.run(&["status", EXCERPT]);
    assert!(ran.code == Some(0) && !ran.stdout.contains("missing"), "{ran:?}");
}

#[test]
fn an_excerpt_tells_nothing_of_the_folders_of_the_machine() {
    let world = World::new(BOWL);
    world.train(&[]);
    export(&world);
    let folder = world.path("").display().to_string();
    for file in ["manifest.json", "manifest.backup.json", "plan.json", "spec.toml"] {
        let text = fs::read_to_string(world.path(EXCERPT).join(file)).unwrap();
        assert!(!text.contains(folder.trim_end_matches('/')), "{file}: {text}");
    }
}

#[test]
fn another_evaluation_in_an_excerpt_is_found_by_training_again() {
    let world = World::new(BOWL);
    world.train(&[]);
    rewrite(&world, &only_file(&world, "evals"), |rows| altered(rows, "loss", 3));
    assert_eq!(export(&world).code, Some(0));
    let ran = world.run(&["verify", EXCERPT, "--data", "data", "--quiet"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("differs: ") && ran.stdout.contains("column loss"), "{ran:?}");
}

#[test]
fn an_excerpt_is_replaced_by_the_next_one_and_by_nothing_else() {
    let world = World::new(BOWL);
    world.train(&[]);
    assert_eq!(export(&world).code, Some(0));
    world.train(&["--set", "experiment.seeds=[1, 2]"]);
    let ran = export(&world);
    assert!(ran.stdout.starts_with("6 trials with 18 evaluations"), "{ran:?}");
    let ran = world.run(&["verify", EXCERPT, "--quick"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");

    let ran = world.run(&["export", EXCERPT, "--format", "excerpt", "--out", "other"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("it is one already"), "{ran:?}");
    let ran = world.run(&["export", OUTPUT, "--format", "excerpt", "--out", "data"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("is no earlier excerpt"), "{ran:?}");
    let ran = world.run(&["export", EXCERPT, "--format", "csv", "--out", "rows.csv"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("leaves out the rows of metrics"), "{ran:?}");
}

#[test]
fn nothing_is_trained_into_an_excerpt() {
    let world = World::new(BOWL);
    world.train(&[]);
    assert_eq!(export(&world).code, Some(0));
    let bytes = || fs::read(world.path(EXCERPT).join("manifest.json")).unwrap();
    let before = bytes();
    let run =
        |more: &[&str]| world.run(&[&["spec.toml", "--outputs", "kept", "--data", "data", "--quiet"], more].concat());
    let ran = run(&["--set", "experiment.seeds=[1, 2]"]);
    assert!(ran.code != Some(0) && ran.stderr.contains("is an excerpt"), "{ran:?}");
    assert!(bytes() == before);
}

#[test]
fn an_excerpt_has_the_spec_and_the_plan_where_the_manifest_does_not_list_them() {
    let world = World::new(BOWL);
    world.train(&[]);
    let mut manifest = manifest(&world);
    for file in ["spec.toml", "plan.json"] {
        manifest["files"].as_object_mut().unwrap().remove(file).unwrap();
    }
    write_manifest(&world, &manifest);
    assert_eq!(export(&world).code, Some(0));
    let ran = world.run(&["verify", EXCERPT, "--quick"]);
    assert!(ran.code == Some(0) && ran.stdout.contains("no problems in 5 files"), "{ran:?}");
}
