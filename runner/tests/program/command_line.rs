//! The commands, their exit codes, and what goes to which stream.

use std::fs;
use std::process::Stdio;

use expect_test::{Expect, expect};
use serde_json::Value;

use crate::world::{BOWL, MIX, Ran, World, plugins};

/// Bad input: exit code 2, nothing on stdout, and this on stderr.
#[track_caller]
fn check_refused(ran: &Ran, expected: &Expect) {
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
    expected.assert_eq(&ran.stderr);
}

/// Runs `spec` with `arguments` after the path.
#[track_caller]
fn check_bad_input(spec: &str, arguments: &[&str], expected: &Expect) {
    let world = World::new(spec);
    let ran = world.run(&[&["spec.toml", "--data", "data"], arguments].concat());
    let stderr = ran.stderr.replace(&world.path("").display().to_string(), "HOME/");
    check_refused(&Ran { stderr, ..ran }, expected);
    assert!(!world.path("outputs").exists(), "bad input leaves no folder");
}

#[test]
fn five_mistakes_are_reported_at_once() {
    let spec = BOWL
        .replace("dataset    = \"speckles\"", "dataset    = \"minst\"")
        .replace("step_size = 5\n\n", "stepsize  = 5\n\n")
        .replace("base_lr   = 0.01", "base_lr   = 0.5")
        .replace("iterations = 30", "iterations = \"thirty\"")
        .replace("kind = \"gd\"", "kind = \"adma\"");
    check_bad_input(
        &spec,
        &[],
        &expect![[r#"
            error[spec::dataset]: there is no dataset `minst` on this machine
              --> spec.toml:11:14
               |
            11 | dataset    = "minst"
               |              ^^^^^^^ dataset `minst` was not found; looked for
               |
               = note: data: minst/*.parquet, minst/data/*.parquet, minst/plain_text/*.parquet, minst/minst/*.parquet
                       HOME/.local/share/clr-run: minst/*.parquet, minst/data/*.parquet, minst/plain_text/*.parquet, minst/minst/*.parquet
                       /usr/share/datasets: minst/*.parquet, minst/data/*.parquet, minst/plain_text/*.parquet, minst/minst/*.parquet
                       known by name are cifar10, cifar100, mnist, fashion-mnist, shapes; any other name is a folder of images or of Parquet shards below `--data` or CLR_DATA, and what has a slash is a path: `./minst` is beside the spec
               = help: did you mean `mnist`?

            error[spec::type]: `iterations` has the wrong type
              --> spec.toml:15:14
               |
            15 | iterations = "thirty"
               |              ^^^^^^^^ expected a number of iterations, or a string such as "2 epochs" or "10%", found "thirty"

            error[spec::bounds]: `base_lr` is above `max_lr`
              --> spec.toml:20:13
               |
            20 | base_lr   = 0.5
               |             ^^^ this is 0.5
            21 | max_lr    = 0.1
               |             --- and this is 0.1
               |
               = help: swap them, or raise `max_lr`

            error[spec::key]: unknown key `stepsize`
              --> spec.toml:22:1
               |
            22 | stepsize  = 5
               | ^^^^^^^^ not a key of a schedule of kind `triangular`
               |
               = help: write `step_size` in a policy: from `base_lr` to `max_lr`, half a cycle

            error[spec::optimizer]: there is no optimizer `adma`
              --> spec.toml:34:8
               |
            34 | kind = "adma"
               |        ^^^^^^ not in the plugin `quadratic`
               |
               = help: expected `gd` or `sgd`
        "#]],
    );
}

/// As `cargo install` leaves it, which installs no libraries, and as the wheel of the Python package does.
#[test]
fn an_installed_program_finds_its_plugins_in_lib_beside_bin_or_says_how_to_get_them() {
    let world = World::new(BOWL);
    let [bin, lib] = ["prefix/bin", "prefix/lib/clr-run/plugins"].map(|folder| world.path(folder));
    [&bin, &lib].into_iter().for_each(|folder| fs::create_dir_all(folder).unwrap());
    let program = bin.join("clr-run");
    fs::copy(env!("CARGO_BIN_EXE_clr-run"), &program).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(&program);
        command.args(arguments).current_dir(world.folder().path()).env_remove("CLR_PLUGIN_PATH");
        command.env("HOME", world.folder().path()).env("CLR_CACHE", world.path("cache"));
        Ran::from(command.output().unwrap())
    };
    let check = ["check", "spec.toml", "--data", "data"];
    check_refused(
        &run(&check),
        &expect![[r#"
            error[spec::plugin]: there is no plugin `quadratic`
             --> spec.toml:6:16
              |
            6 | plugin       = "quadratic"
              |                ^^^^^^^^^^^
              |
              = help: plugins are looked for where `--plugin PATH` says, beside the executable, in `../lib/clr-run/plugins` from there, and in `CLR_PLUGIN_PATH`
              = help: no plugin at all was found: `cargo install` installs the program alone; `cargo build --release` builds the plugins, and `--plugin target/release`, or a copy of `target/release/libclr_*` in one of these places, lets it find them
        "#]],
    );
    assert!(run(&["plugin", "list"]).stdout.contains("prefix/lib/clr-run/plugins\nno plugin at all was found"));

    for library in fs::read_dir(plugins()).unwrap().map(|entry| entry.unwrap()) {
        if library.file_name().to_str().is_some_and(|name| name.starts_with("libclr_quadratic.")) {
            fs::copy(library.path(), lib.join(library.file_name())).unwrap();
        }
    }
    assert_eq!(run(&check).code, Some(0));
    let ran = run(&["spec.toml", "--data", "data", "--set", "train.iterations=2"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn bad_input_is_refused_with_a_message_and_exit_code_2() {
    check_bad_input(
        "[experiment]\nname = \n",
        &[],
        &expect![[r#"
            error[spec::syntax]: this is not TOML
             --> spec.toml:2:8
              |
            2 | name = 
              |        ^ string values must be quoted, expected literal string
        "#]],
    );
    check_bad_input(
        &BOWL.replace("plugin       = \"quadratic\"", "plugin       = \"quadratc\""),
        &[],
        &expect![[r#"
            error[spec::plugin]: there is no plugin `quadratc`
             --> spec.toml:6:16
              |
            6 | plugin       = "quadratc"
              |                ^^^^^^^^^^
              |
              = help: did you mean `quadratic`?
              = help: plugins are looked for where `--plugin PATH` says, beside the executable, in `../lib/clr-run/plugins` from there, and in `CLR_PLUGIN_PATH`
        "#]],
    );
    check_bad_input(
        BOWL,
        &["--set", "train.iteration=5"],
        &expect![[r#"
            error[spec::key]: unknown key `iteration`
             --> command line:1:13
              |
            1 | --set train.iteration=5
              |             ^^^^^^^^^ not a key of [train]
              |
              = help: did you mean `iterations`?
        "#]],
    );
    check_bad_input(
        BOWL,
        &["--set", "train.iterations"],
        &expect![[r#"
            error[spec::set]: this sets nothing
             --> command line:1:7
              |
            1 | --set train.iterations
              |       ^^^^^^^^^^^^^^^^
              |
              = help: write `--set KEY=VALUE`, as in `--set train.iterations=100`
        "#]],
    );
    check_bad_input(
        BOWL,
        &["--set", "data.batch_size=64"],
        &expect![[r#"
            error[spec::range]: a batch is larger than the training set
             --> command line:1:23
              |
            1 | --set data.batch_size=64
              |                       ^^ there are 63 training images
              |
              = help: use a smaller batch
        "#]],
    );
}

#[test]
fn missing_files_are_refused_with_exit_code_2() {
    let world = World::new(BOWL);
    check_refused(
        &world.run(&["nowhere.toml"]),
        &expect![[r#"
        error: there is no file nowhere.toml
    "#]],
    );
    let no_data = world.run(&["spec.toml", "--data", "nowhere", "--set", "data.dataset=\"mnist\""]);
    assert_eq!((no_data.code, no_data.stdout.as_str()), (Some(2), ""), "{no_data:?}");
    assert!(no_data.stderr.contains("clr-run data fetch mnist"), "{no_data:?}");
    let no_plugin = world.run(&["plugin", "info", "nothing"]);
    assert_eq!((no_plugin.code, no_plugin.stdout.as_str()), (Some(2), ""));
    assert!(no_plugin.stderr.starts_with("error: no plugin `nothing`: found "), "{no_plugin:?}");
    assert!(no_plugin.stderr.contains("cifar, ") && no_plugin.stderr.contains("quadratic"), "{no_plugin:?}");
    for arguments in [&[][..], &["spec.toml", "--jobs", "0"], &["spec.toml", "--frobnicate"]] {
        let ran = world.run(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
    }
}

#[test]
fn check_needs_no_data_of_ones_own_either() {
    let world = World::new(&BOWL.replace("\"speckles\"", "\"flowers\""));
    for arguments in [&["check", "spec.toml"][..], &["check", "spec.toml", "--deny-warnings"]] {
        let check = world.run(&[arguments, &["--data", "data"]].concat());
        assert_eq!(check.code, Some(0), "{check:?}");
        assert_eq!(check.stdout, "spec.toml: no problems without the data; 3 trials in 1 group\n");
        assert_eq!(check.stderr.matches("note: ").count(), 1, "{check:?}");
        for said in ["note: the dataset `flowers` is not on this machine", "was not checked", "data: flowers/*.parquet"]
        {
            assert!(check.stderr.contains(said), "no `{said}` in {check:?}");
        }
    }
    // What is wrong is wrong with any data.
    let wrong = world.run(&["check", "spec.toml", "--set", "policies.triangular.base_lr=2"]);
    assert_eq!((wrong.code, wrong.stdout.as_str()), (Some(2), ""), "{wrong:?}");
    assert!(wrong.stderr.contains("`base_lr` is above `max_lr`"), "{wrong:?}");
    let plot = world.run(&["schedule", "spec.toml", "--csv"]);
    assert_eq!((plot.code, plot.stdout.lines().count()), (Some(0), 1 + 3 * 30), "{plot:?}");
    // Values at iterations need to know how many an epoch is, and a run all of the data.
    let epochs = ["--set", "train.iterations=\"3 epochs\""];
    for arguments in [&[&["schedule", "spec.toml"][..], &epochs].concat()[..], &["plan", "spec.toml"], &["spec.toml"]] {
        let refused = world.run(&[arguments, &["--data", "data"]].concat());
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{refused:?}");
        for said in ["there is no dataset `flowers` on this machine", "data: flowers/*.parquet"] {
            assert!(refused.stderr.contains(said), "no `{said}` in {refused:?}");
        }
    }
    // A name that can be none is wrong on every machine. A path is not: what it leads to may be on another.
    let name = world.run(&["check", "spec.toml", "--set", "data.dataset=\"red flowers\""]);
    assert_eq!(name.code, Some(2), "{name:?}");
    assert!(name.stderr.contains("`red flowers` cannot be a dataset's name"), "{name:?}");
    let path = world.run(&["check", "spec.toml", "--set", "data.dataset=\"./flowers\""]);
    assert_eq!(path.code, Some(0), "{path:?}");
    assert!(path.stderr.contains("the dataset `./flowers` is not on this machine"), "{path:?}");
}

#[test]
fn check_needs_no_data() {
    let world = World::new(&BOWL.replace("\"speckles\"", "\"cifar10\""));
    let check = world.run(&["check", "spec.toml"]);
    assert_eq!(check.code, Some(0), "{check:?}");
    assert_eq!(check.stdout, "spec.toml: no problems; 3 trials in 1 group\n");
    assert_eq!(check.stderr.matches("note: ").count(), 1, "{check:?}");
    assert!(check.stderr.contains("`cifar10` is not on this machine: its published sizes were taken"), "{check:?}");
    let run = world.run(&["spec.toml"]);
    assert_eq!(run.code, Some(2), "{run:?}");
}

#[test]
fn plan_shows_the_trials_and_what_they_take() {
    let world = World::new(BOWL);
    let text = world.run(&["plan", "spec.toml", "--data", "data"]);
    assert_eq!((text.code, text.stderr.as_str()), (Some(0), ""), "{text:?}");
    for part in ["3 trials", "90 rows of metrics, about ", "of memory for each trial in flight", "\ntakes about "] {
        assert!(text.stdout.contains(part), "no `{part}` in {}", text.stdout);
    }
    let json = world.run(&["plan", "spec.toml", "--data", "data", "--json", "--no-probe"]);
    let plan: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(plan["trials"].as_array().unwrap().len(), 3);
    let labels: Vec<&str> = plan["trials"].as_array().unwrap().iter().filter_map(|it| it["label"].as_str()).collect();
    assert_eq!(labels, ["triangular sgd seed=1", "triangular gd seed=1", "hot gd seed=1"]);
    assert!(!world.path("outputs").exists(), "a plan writes nothing");
}

#[test]
fn schema_is_json_and_has_the_policies() {
    let world = World::new(BOWL);
    let ran = world.run(&["schema"]);
    let schema: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(schema["properties"]["policies"].is_object(), "{schema:#}");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
}

#[test]
fn plugins_and_datasets_are_listed_and_described() {
    let world = World::new(BOWL);
    let outputs: [(&[&str], &[&str]); 5] = [
        (&["plugin", "list"], &["cifar 0.1.0 ", "\n  cifar10_full_sigmoid_bn\n", "\nquadratic 0.1.0 "]),
        (
            &["plugin", "info", "cifar"],
            &["model cifar10_quick", "optimizer adadelta", "clip_gradients: number, default 0"],
        ),
        (&["data", "list"], &["not here; `clr-run data fetch cifar10`", "the built-in generator"]),
        (
            &["data", "info", "shapes"],
            &["train      5,000 images\n", "test       1,000 images\n", "classes    10: disc, ring"],
        ),
        (
            &["data", "info", "speckles", "--data", "data"],
            &["12x12x3", "train      63 images\n", "test       100 images\n"],
        ),
    ];
    for (arguments, parts) in outputs {
        let ran = world.run(arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
        for part in parts {
            assert!(ran.stdout.contains(part), "{arguments:?}: no `{part}` in {}", ran.stdout);
        }
    }
    let plugin = crate::world::plugins().join(format!(
        "{}clr_quadratic{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    ));
    let check = world.run(&["plugin", "check", plugin.to_str().unwrap()]);
    assert_eq!((check.code, check.stderr.as_str()), (Some(0), ""), "{}", check.stdout);
}

#[test]
fn what_is_a_little_off_is_understood_or_explained() {
    let world = World::new(BOWL);
    world.train(&[]);
    let plugin = |name: &str| {
        let file = format!("{}clr_{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        crate::world::plugins().join(file).to_str().unwrap().to_owned()
    };
    let (library, missing) = (plugin("quadratic"), plugin("missing"));
    let understood: [(&[&str], &str); 9] = [
        (&["--data", "data", "check", "spec.toml"], "spec.toml: no problems; 3 trials in 1 group"),
        (&["plugin", "check", "quadratic"], "quadratic"),
        (&["plugin", "info", &library], "model quadratic"),
        (&["status", "spec.toml"], "outputs/bowl: done"),
        (&["status", "bowl"], "outputs/bowl: done"),
        (&["status", "outputs"], "outputs/bowl: done"),
        (&["status", "outputs/bowl/manifest.json"], "outputs/bowl: done"),
        (&["verify", "spec.toml", "--quick"], "outputs/bowl: no problems"),
        (&["export", "bowl", "--trial", "hot gd seed=1", "--format", "csv"], " of `hot gd seed=1` in "),
    ];
    for (arguments, expected) in understood {
        let ran = world.run(arguments);
        assert!(ran.code == Some(0) && ran.stdout.contains(expected), "{arguments:?}: {ran:?}");
    }
    let explained: [(&[&str], &str); 14] = [
        (&["chek", "spec.toml"], "did you mean `clr-run check spec.toml`?"),
        (&["spec.toml", "check"], "did you mean `clr-run check spec.toml`?"),
        (&["run", "spec.toml"], "without one: `clr-run spec.toml`"),
        (&["plugin", "quadratic"], "did you mean `clr-run plugin info quadratic`?"),
        (&["plugin", "check", "quadratc"], "there is no file and no plugin `quadratc`; did you mean `quadratic`?"),
        (&["plugin", "check", "spec.toml"], "spec.toml is a spec; `clr-run check spec.toml`"),
        (&["plugin", "info", "cifar10_quick"], "it is a model of `cifar`; `clr-run plugin info cifar`"),
        (&["plugin", "info", "mnist"], "mnist is a dataset; `clr-run data info mnist`"),
        (&["plugin", "info", &missing], "no plugin"),
        (&["data", "info", "cifar"], "cifar is a plugin; `clr-run plugin info cifar`"),
        (&["outputs/bowl"], "outputs/bowl is the folder of a run, not a spec; its spec is outputs/bowl/spec.toml"),
        (&["check", &library], "is a library, not a spec; `clr-run plugin info "),
        (&["plan", "."], ". is a folder, and a spec is a TOML file; it has ./spec.toml"),
        (&["status", "nowhere"], "nothing of that name is here; there are outputs/bowl"),
    ];
    for (arguments, expected) in explained {
        let ran = world.run(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains(expected), "{arguments:?}: {ran:?}");
    }
    fs::write(world.path("new.toml"), BOWL.replace("\"bowl\"", "\"new\"")).unwrap();
    let ran = world.run(&["verify", "new.toml"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("`clr-run new.toml` makes it"), "{ran:?}");
}

#[test]
fn a_plugin_in_the_current_directory_is_not_found() {
    let world = World::new(BOWL);
    let name = format!("{}clr_here{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    fs::write(world.path(&name), "no library").unwrap();
    assert!(!world.run(&["plugin", "list"]).stdout.contains("here"));
    let named = world.run(&["plugin", "list", "--plugin", "."]);
    assert!(named.stdout.contains("here  cannot load the plugin"), "{named:?}");
}

#[test]
fn a_pinned_plugin_is_no_other() {
    let world = World::new(BOWL);
    let info = world.run(&["plugin", "info", "quadratic"]);
    let digest = info.stdout.lines().find_map(|line| line.strip_prefix("blake3 ")).unwrap().to_owned();
    let check = |pin: &str| world.run(&["check", "spec.toml", "--data", "data", "--plugin-digest", pin]);
    let same = check(&format!("quadratic={digest}"));
    assert_eq!(same.code, Some(0), "{same:?}");

    let other = "0".repeat(64);
    let refused = check(&format!("quadratic={other}"));
    assert_eq!(refused.code, Some(2));
    for part in ["libclr_quadratic", &digest, &other] {
        assert!(refused.stderr.contains(part), "{part} is not in {}", refused.stderr);
    }
    let unused = check(&format!("quadratc={digest}"));
    assert_eq!(unused.stderr, "error: --plugin-digest pins `quadratc`, a plugin that the spec does not use\n");
    assert_eq!(check("quadratic=12").code, Some(2));
}

#[test]
fn a_finished_spec_runs_nothing_and_a_widened_one_what_is_new() {
    let world = World::new(BOWL);
    let first = world.train(&[]);
    assert_eq!(first.labels("started").len(), 3, "{first:?}");
    let before = world.tables("outputs/bowl");

    let again = world.train(&[]);
    assert_eq!(again.stderr, "all 3 trials are finished already; nothing to run\n");
    assert_eq!(again.stdout, first.stdout);
    assert!(world.tables("outputs/bowl") == before);

    let wider = world.train(&["--jobs", "1", "--set", "policies.triangular.max_lr=[0.1, 0.2]"]);
    assert_eq!(wider.labels("started"), ["triangular sgd max_lr=0.2 seed=1", "triangular gd max_lr=0.2 seed=1"]);
    assert!(wider.stdout.contains("5 trials: 4 finished, 1 diverged"), "{}", wider.stdout);
    world.train(&["--outputs", "fresh", "--set", "policies.triangular.max_lr=[0.1, 0.2]"]);
    assert!(world.tables("outputs/bowl") == world.tables("fresh/bowl"), "as if it had always been so wide");

    // And narrowed again: the first tables' bytes, without training.
    let narrow = world.train(&[]);
    let note =
        "note: 2 trials of this output are no longer in the spec; they are kept for when the spec has them again: ";
    let (notes, rest) = narrow.stderr.split_once('\n').unwrap();
    assert!(notes.starts_with(note) && notes.contains("(triangular sgd max_lr=0.2 seed=1)"), "{notes}");
    assert_eq!(rest, "all 3 trials are finished already; nothing to run\n");
    assert!(world.tables("outputs/bowl") == before);
}

#[test]
fn results_of_other_arithmetic_are_kept_unless_asked() {
    let world = World::new(MIX);
    let few = ["spec.toml", "--data", "data", "--jobs", "2", "--set", "experiment.seeds=[1]", "--set"];
    let few = [&few[..], &["grid.exclude=[{policy=[\"hot\",\"one_cycle\"]}]"]].concat();
    let train = |isa: Option<&str>, arguments: &[&str]| -> Ran {
        let mut command = world.command(&[&few[..], arguments].concat());
        command.envs(isa.map(|isa| ("CLR_ISA", isa)));
        let ran = Ran::from(command.output().unwrap());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran
    };
    train(Some("portable"), &["--outputs", "portable"]);
    train(None, &[]);
    if world.tables("portable/mix") == world.tables("outputs/mix") {
        eprintln!("SKIPPED: the portable instructions are the only ones of this processor");
        return;
    }
    assert_eq!(train(Some("portable"), &[]).labels("started").len(), 0);
    assert_eq!(train(Some("portable"), &["--rerun-other-numerics"]).labels("started").len(), 7);
    assert!(world.tables("portable/mix") == world.tables("outputs/mix"));
    assert_eq!(train(Some("portable"), &["--rerun-other-numerics"]).labels("started").len(), 0);
}

#[test]
fn results_go_to_stdout_progress_to_stderr_and_quiet_prints_no_progress() {
    let world = World::new(BOWL);
    let ran = world.train(&[]);
    assert!(ran.stdout.contains("3 trials: 2 finished, 1 diverged") && !ran.stdout.contains("started"), "{ran:?}");
    assert!(ran.stderr.contains("started") && !ran.stderr.contains("best test"), "{ran:?}");
    let quiet = world.train(&["--quiet", "--outputs", "quiet"]);
    assert_eq!(quiet.stderr, "");
    assert!(quiet.stdout.contains("3 trials: 2 finished, 1 diverged"), "{quiet:?}");
    let nothing = world.train(&["--quiet", "--outputs", "quiet"]);
    assert_eq!((nothing.stdout, nothing.stderr.as_str()), (quiet.stdout, ""));
}

#[test]
fn nobody_needs_to_read_what_is_printed() {
    let world = World::new(BOWL);
    // The second is a run with nothing to do.
    for arguments in [&["spec.toml"][..], &["spec.toml"], &["spec.toml", "--set", "x.y=1"], &["check", "spec.toml"]] {
        let mut command = world.command(&[arguments, &["--data", "data"]].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        let expected = if arguments.len() == 3 { 2 } else { 0 };
        assert_eq!(child.wait().unwrap().code(), Some(expected), "{arguments:?}");
    }
    assert!(world.path("outputs/bowl/trials.parquet").exists());
}

#[test]
fn logs_say_what_is_opened_loaded_and_written_where_they_are_asked_for() {
    let world = World::new(BOWL);
    let ran = world.train(&["--log", "debug", "--isolation", "none"]);
    for part in [
        "spec read",
        "plugin found",
        "dataset opened",
        "planned",
        "store opened",
        "session opened",
        "sealed",
        "compacted",
    ] {
        assert!(ran.stderr.contains(part), "no `{part}` in {}", ran.stderr);
    }
    let plan = world.run(&["plan", "spec.toml", "--data", "data", "--no-probe", "--log", "off,clr_run::gather=info"]);
    assert_eq!(plan.code, Some(0), "{plan:?}");
    assert!(plan.stderr.contains("dataset opened") && !plan.stderr.contains("planned"), "{plan:?}");

    let quiet = world.train(&["--log-file", "log.txt"]);
    assert_eq!(quiet.stderr, "all 3 trials are finished already; nothing to run\n");
    assert!(fs::read_to_string(world.path("log.txt")).unwrap().contains("nothing to write"));
    for (arguments, expected) in [
        (["--log", "loud"], "error: --log loud: expected a level "),
        (["--log-file", "nowhere/log.txt"], "error: --log-file nowhere/log.txt: No such file or directory"),
    ] {
        let ran = world.run(&[&["check", "spec.toml"], &arguments[..]].concat());
        assert!(ran.code == Some(2) && ran.stderr.starts_with(expected), "{ran:?}");
    }
}
