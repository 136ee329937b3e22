//! A plugin from the header and one C file, outside the workspace; and one that fails.

use std::fs;
use std::process::Command;

use expect_test::expect;

use crate::results::{Cell, read};
use crate::support::{faulty, workspace};
use crate::world::{BOWL, World};

#[test]
fn a_plugin_built_from_the_header_alone_passes_the_suite_and_trains_like_the_one_in_rust() {
    let world = World::new(BOWL);
    let home = world.path("home of the plugin");
    fs::create_dir(&home).unwrap();
    for file in ["quadratic-c/quadratic.c", "abi/include/clr_plugin.h", "abi/include/clr_image.h"] {
        let from = workspace().join("plugins").join(file);
        fs::copy(&from, home.join(from.file_name().unwrap())).unwrap();
    }
    // The README's command.
    let arguments = "-std=c99 -O2 -ffp-contract=off -shared -fPIC -I. quadratic.c -lm -o libclr_quadratic_c.so";
    let Ok(compiled) = Command::new("cc").args(arguments.split(' ')).current_dir(&home).output() else {
        eprintln!("SKIPPED: no compiler `cc` here");
        return;
    };
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));

    let library = "home of the plugin/libclr_quadratic_c.so";
    let check = world.run(&["plugin", "check", library]);
    assert_eq!((check.code, check.stderr.as_str()), (Some(0), ""), "{}", check.stdout);

    world.train(&["--outputs", "rust"]);
    let in_c = ["--plugin", library, "--set", "model.plugin=\"quadratic_c\"", "--outputs", "c"];
    world.train(&in_c);
    for table in ["metrics", "evals"] {
        let rows = |outputs: &str| -> Vec<Vec<(String, Cell)>> {
            let rows = read(&world.path(&format!("{outputs}/bowl/{table}")));
            rows.into_iter().map(|row| row.into_iter().filter(|(column, _)| column != "trial").collect()).collect()
        };
        let rust = rows("rust");
        assert!(!rust.is_empty());
        assert_eq!(rust, rows("c"), "{table}");
    }
}

#[test]
fn a_trial_that_the_plugin_fails_is_reported_and_the_exit_code_is_1() {
    let world = World::new(
        &BOWL
            .replace("noise        = 0.5", "")
            .replace("\"quadratic\"\narch", "\"faulty\"\narch")
            .replace("architecture = \"quadratic\"", "architecture = \"model\"")
            .replace("kind = \"gd\"", "kind = \"adam\"")
            .replace("momentum = {", "# {"),
    );
    let Some(library) = faulty("DEVICE_FAILS", world.folder()) else { return };
    let library = library.to_str().unwrap();
    let ran = world.run(&["spec.toml", "--data", "data", "--plugin", library, "--jobs", "1"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let stdout: Vec<&str> =
        ran.stdout.lines().filter(|line| line.starts_with("failed: ") || line.contains(" trials")).collect();
    expect![[r#"
        3 trials: 0 finished, 3 failed
        failed: 629d triangular sgd: plugin `faulty`: session_step: the device is on fire (CLR_DEVICE)
        failed: 0ea1 triangular gd: plugin `faulty`: session_step: the device is on fire (CLR_DEVICE)
        failed: 30e1 hot gd: plugin `faulty`: session_step: the device is on fire (CLR_DEVICE)
    "#]]
    .assert_eq(&(stdout.join("\n") + "\n"));

    // What failed stays failed until it is to be tried again.
    let arguments = ["spec.toml", "--data", "data", "--plugin", library, "--jobs", "1", "--retry-failed"];
    for (arguments, started) in [(&arguments[..7], 0), (&arguments[..], 3)] {
        let again = world.run(arguments);
        assert_eq!((again.code, again.labels("started").len()), (Some(1), started), "{again:?}");
    }
}

#[test]
fn plugin_check_of_what_breaks_the_rules_exits_with_1_and_of_no_plugin_with_2() {
    let world = World::new(BOWL);
    let Some(library) = faulty("TOO_FEW_STEPS", world.folder()) else { return };
    let check = world.run(&["plugin", "check", library.to_str().unwrap()]);
    assert_eq!((check.code, check.stderr.as_str()), (Some(1), ""), "{check:?}");
    let check = world.run(&["plugin", "check", "spec.toml"]);
    assert_eq!((check.code, check.stdout.as_str()), (Some(2), ""), "{check:?}");
    assert!(check.stderr.starts_with("error: no plugin `spec.toml`: spec.toml is a spec"), "{check:?}");
}
