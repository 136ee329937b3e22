//! A plugin that is built anew under its old revision: what it trained is told apart from what the old one did.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::results::{Cell, read};
use crate::support::{cc, workspace};
use crate::world::{BOWL, Ran, World};

/// Builds of the bowl in C: as it is, with its optimum elsewhere, and with bytes at its end that no loader reads. None, loudly,
/// without a compiler.
fn builds(world: &World) -> Option<[PathBuf; 3]> {
    let source = fs::read_to_string(workspace().join("plugins/quadratic-c/quadratic.c")).unwrap();
    let moved = source.replace("(1.0f + ", "(1.5f + ");
    assert_ne!(source, moved);
    let [first, other] = [("first", &source), ("other", &moved)].map(|(name, text)| {
        fs::create_dir(world.path(name)).unwrap();
        let file = world.path(&format!("{name}/quadratic.c"));
        fs::write(&file, text).unwrap();
        let built = cc(&file, &[], world.folder(), "quadratic_c")?;
        let library = world.path(name).join(built.file_name().unwrap());
        fs::rename(built, &library).unwrap();
        Some(library)
    });
    let (first, other) = (first?, other?);
    fs::create_dir(world.path("longer")).unwrap();
    let longer = world.path("longer").join(first.file_name().unwrap());
    fs::write(&longer, [fs::read(&first).unwrap(), b"\nbuilt on another day\n".to_vec()].concat()).unwrap();
    Some([first, other, longer])
}

#[test]
fn new_seeds_of_a_rebuilt_plugin_are_said_not_averaged_with_the_old_and_trained_again_when_asked() {
    let world = World::new(&BOWL.replace("\"quadratic\"\narch", "\"quadratic_c\"\narch"));
    let Some([first, other, longer]) = builds(&world) else { return };
    let train = |build: &PathBuf, seeds: &str, more: &[&str]| -> Ran {
        let seeds = format!("experiment.seeds={seeds}");
        world.train(&[&["--plugin", build.to_str().unwrap(), "--set", &seeds], more].concat())
    };
    let means = |ran: &Ran| -> Vec<String> {
        let (_, table) = ran.stdout.split_once("means over seeds\n").expect("there are several seeds");
        table.lines().skip(1).take_while(|line| !line.is_empty()).map(str::to_owned).collect()
    };
    let builds = || -> BTreeSet<String> {
        let trials = read(&world.path("outputs/bowl/trials.parquet"));
        let build = |(column, cell): (String, Cell)| (column == "plugin_digest").then(|| format!("{cell:?}"));
        trials.into_iter().flatten().filter_map(build).collect()
    };

    let before = train(&first, "[1, 2]", &[]);
    assert!(!before.stdout.contains("trained by"), "{before:?}");
    for build in [&other, &longer] {
        let widened = train(build, "[1, 2, 3, 4]", &["--outputs", build.parent().unwrap().to_str().unwrap()]);
        assert!(!widened.stdout.contains("trained by"), "all by one build: {widened:?}");
    }

    // The old trials are kept, and it is said.
    let widened = train(&other, "[1, 2, 3, 4]", &[]);
    assert_eq!(widened.labels("started").len(), 6, "{widened:?}");
    let note = "6 trials here were trained by another build of `quadratic_c` (now ";
    assert!(widened.stderr.replace("\n  ", " ").contains(note), "{widened:?}");
    let said = widened.stdout.replace("\n  ", " ");
    assert!(
        said.contains("trained by different revisions or builds of a plugin, which are not averaged together"),
        "{said}"
    );
    let rows = means(&widened);
    assert_eq!(rows.len(), 6, "three cells by two builds: {rows:?}");
    assert_eq!(builds().len(), 2);

    // The same command goes on saying so, though nothing is trained, and also for a build that computes the same.
    let again = train(&longer, "[1, 2, 3, 4]", &[]);
    assert_eq!(again.labels("started").len(), 0, "{again:?}");
    assert!(again.stderr.replace("\n  ", " ").contains("12 trials here were trained by another build"), "{again:?}");
    assert_eq!(means(&again), rows);

    // Asked to, it trains what is of others again, and then all is as if they had never been.
    let refused = train(&other, "[1, 2, 3, 4]", &["--rerun-other-builds"]);
    assert_eq!(refused.labels("started").len(), 6, "{refused:?}");
    assert!(!refused.stdout.contains("trained by"), "{refused:?}");
    assert_eq!((means(&refused).len(), builds().len()), (3, 1));
    let other_outputs = format!("{}/bowl", other.parent().unwrap().file_name().unwrap().to_str().unwrap());
    let (mut found, mut whole) = (world.tables("outputs/bowl"), world.tables(&other_outputs));
    // Attempts are counted there.
    for tables in [&mut found, &mut whole] {
        tables.remove("trials.parquet");
    }
    assert!(found == whole, "other bytes");
}
