//! Whatever happens to a file of an output, the same command ends with the bytes that were there, having trained no more
//! than the trials whose rows or states were in that file, and says what it did.

use std::collections::BTreeSet;
use std::io;
use std::sync::LazyLock;

use clr_event::work::Work;
use clr_plan::TrialId;
use clr_spec::Keep;

use super::resuming::{go_on, kept, plan, saving_events, undisturbed};
use super::*;
use crate::StoreError;
use crate::damage::survey;
use crate::manifest::Manifest;
use crate::schema::Table;

/// Harm to a file: the words for it, and a function of its path.
type Harm = (&'static str, fn(&Path));

const HARMS: [Harm; 7] = [
    ("it is cut off", |path| cut(path, 1)),
    ("its bytes have changed", |path| flip(path, 1, 4)),
    ("its bytes have changed", |path| flip(path, 1, 2)),
    ("its bytes have changed", |path| flip(path, 3, 4)),
    ("it is too long", |path| fs::write(path, vec![b'x'; 1 << 20]).unwrap()),
    ("it is missing", |path| fs::remove_file(path).unwrap()),
    ("it is no file", |path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
        fs::write(path.join("mine.txt"), "mine").unwrap();
    }),
];

fn cut(path: &Path, bytes: u64) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - bytes).unwrap();
}

/// Flips a bit in the byte at that part of the file.
fn flip(path: &Path, part: usize, of: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.len() * part / of;
    bytes[at] ^= 4;
    fs::write(path, bytes).unwrap();
}

/// Every file of a folder and of its folders, by its path in it.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for directory in ["", "parts", "metrics", "evals", "checkpoints", "tables"] {
        for name in super::super::files::names(&folder.join(directory)).unwrap_or_default() {
            let path = folder.join(directory).join(&name);
            if path.is_file() && !name.starts_with('.') {
                let name = format!("{directory}/{name}").trim_start_matches('/').to_owned();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

/// A copy of an output, which may be harmed.
fn copy(files: &BTreeMap<String, Vec<u8>>) -> tempfile::TempDir {
    let outputs = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = outputs.path().join("example").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    outputs
}

/// The trials that have rows in a file, or a state, by index.
fn owners(manifest: &Manifest, plan: &Plan, file: &str) -> Vec<usize> {
    let is_of = |id: &TrialId| {
        let known = manifest.trials.get(id);
        let saved = manifest.unfinished.get(id);
        let has_rows = [Table::Metrics, Table::Evals].iter().any(|&table| {
            let known = known.map_or(&[][..], |record| record.segments(table));
            let saved = saved.map_or(&[][..], |record| record.segments(table));
            known.iter().chain(saved).any(|segment| *segment.0 == *file)
        });
        has_rows || manifest.checkpoints_of(*id).contains(file)
    };
    (0..plan.trials.len()).filter(|&index| is_of(&plan.trials[index].id)).collect()
}

fn kind(name: &str) -> &str {
    match name.split_once('/') {
        Some(("parts", _)) => name.split('-').next().unwrap(),
        Some((folder, _)) => folder,
        None => name,
    }
}

/// Harms the first file of each kind in each way. Its trials are trained from their beginning, others as they were to be.
#[track_caller]
fn check_each(whole: &BTreeMap<String, Vec<u8>>, plan: &Plan, expected: &BTreeMap<String, Vec<u8>>) {
    let sound = copy(whole);
    let manifest = Manifest::load(&sound.path().join("example")).unwrap().unwrap();
    let left: BTreeSet<usize> = open(sound.path(), plan, SMALL).unfinished().iter().map(|work| work.trial).collect();
    let mut kinds = BTreeSet::new();
    for name in whole.keys().filter(|name| kinds.insert(kind(name))) {
        let owners = owners(&manifest, plan, name);
        for (what, harm) in HARMS {
            let outputs = copy(whole);
            let folder = outputs.path().join("example");
            harm(&folder.join(name));
            let at = format!("{name}, {what}");
            let store = open(outputs.path(), plan, SMALL);
            let notes = store.notes().join("\n");
            // Of the manifest itself, it may be told what its text lacks.
            let is_said = notes.lines().any(|note| {
                note.starts_with(&format!("{name}: ")) && (note.contains(what) || name.starts_with("manifest."))
            });
            assert!(is_said, "{at}: {notes}");
            let again: BTreeSet<usize> = store.unfinished().iter().map(|work| work.trial).collect();
            assert_eq!(again, left.iter().chain(&owners).copied().collect(), "{at}: {notes}");
            for work in store.unfinished().iter().filter(|work| owners.contains(&work.trial)) {
                assert_eq!(work.step(), 0, "{at}: {notes}");
                assert!(notes.contains(&format!("({})", plan.trials[work.trial].label)), "{at}: {notes}");
            }
            drop(store);
            go_on(outputs.path(), plan, 7).unwrap();
            assert_equal_tables(&kept(outputs.path()), expected);
            let store = open(outputs.path(), plan, SMALL);
            assert_eq!((store.is_writing(), store.notes()), (false, &[][..]), "{at}: it is mended");
            let is_aside = what != "it is missing";
            assert_eq!(folder.join("damaged").is_dir(), is_aside, "{at}");
        }
    }
}

#[test]
fn each_file_of_a_finished_output_may_be_damaged_in_any_way_and_only_its_trials_are_trained_again() {
    let plan = plan(Keep::Best);
    let outputs = tempfile::tempdir().unwrap();
    go_on(outputs.path(), &plan, 7).unwrap();
    let whole = files(&outputs.path().join("example"));
    for kind in
        ["metrics/", "evals/", "checkpoints/", "tables/", "manifest.", "plan.json", "spec.toml", "trials.", "timings."]
    {
        assert!(whole.keys().any(|name| name.starts_with(kind)), "no {kind} in {:?}", whole.keys());
    }
    check_each(&whole, &plan, &kept(outputs.path()));
}

/// The output of a killed run: a trial that is done and one that was saved, both in parts.
#[test]
fn each_file_of_a_run_that_was_cut_off_may_be_damaged_in_any_way() {
    let plan = plan(Keep::Last);
    let outputs = tempfile::tempdir().unwrap();
    let mut store = open(outputs.path(), &plan, SMALL);
    record(&mut store, &saving_events(&plan, &Work::new(1), 3));
    store.commit().unwrap();
    let events = saving_events(&plan, &Work::new(0), 3);
    let saved = |event: &Event| matches!(event, Event::Saved { checkpoint, .. } if checkpoint.step == 7);
    record(&mut store, &events[..=events.iter().position(saved).unwrap()]);
    store.commit().unwrap();
    // The copy is as new as after the half minute in which it may lag.
    store.back_up().unwrap();
    drop(store);
    let whole = files(&outputs.path().join("example"));
    for kind in ["parts/metrics-", "parts/evals-", "checkpoints/"] {
        assert!(whole.keys().any(|name| name.starts_with(kind)), "no {kind} in {:?}", whole.keys());
    }
    check_each(&whole, &plan, &undisturbed(&plan));
}

/// Eight trials over five files of metrics.
static GRID_OUTPUT: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
    let outputs = tempfile::tempdir().unwrap();
    run(outputs.path(), &GRID.plan(), SMALL);
    files(&outputs.path().join("example"))
});

#[test]
fn damage_is_found_before_a_wider_grid_is_trained() {
    let wide = Grid { seeds: &[1, 2, 3], ..GRID }.plan();
    let expected = fresh_tables(&wide);
    for name in GRID_OUTPUT.keys().filter(|name| name.starts_with("metrics/")) {
        let outputs = copy(&GRID_OUTPUT);
        let folder = outputs.path().join("example");
        let manifest = Manifest::load(&folder).unwrap().unwrap();
        flip(&folder.join(name), 1, 3);
        let store = open(outputs.path(), &wide, SMALL);
        let new = (0..wide.trials.len()).filter(|&index| !manifest.trials.contains_key(&wide.trials[index].id));
        let lost = owners(&manifest, &wide, name);
        assert!((1..=4).contains(&lost.len()), "{lost:?}");
        let expected_again: BTreeSet<usize> = new.chain(lost).collect();
        assert_eq!(unfinished(&store), expected_again.into_iter().collect::<Vec<_>>());
        drop(store);
        run(outputs.path(), &wide, SMALL);
        assert_equal_tables(&tables(outputs.path()), &expected);
    }
}

#[test]
fn damage_to_rows_that_the_spec_does_not_cover_is_said_and_costs_nothing_else() {
    let outputs = copy(&GRID_OUTPUT);
    let narrow = Grid { policies: &["explode"], ..GRID }.plan();
    run(outputs.path(), &narrow, SMALL);
    let part = outputs.path().join("example/parts").join(&listing(outputs.path(), "parts")[0]);
    cut(&part, 1);
    let store = open(outputs.path(), &narrow, SMALL);
    let notes = store.notes().join("\n");
    assert!(
        notes.contains("trials that are not in the spec are lost with it: ") && notes.contains("(triangular sgd"),
        "{notes}"
    );
    assert_eq!(unfinished(&store), Vec::<usize>::new());
    drop(store);
    run(outputs.path(), &narrow, SMALL);
    assert_equal_tables(&tables(outputs.path()), &fresh_tables(&narrow));
    run(outputs.path(), &GRID.plan(), SMALL);
    assert_equal_tables(&tables(outputs.path()), &fresh_tables(&GRID.plan()));
}

#[test]
fn folders_that_are_gone_or_are_files_are_made_again() {
    let expected = fresh_tables(&GRID.plan());
    for name in ["metrics", "evals", "parts", "checkpoints", "tables", ".lock"] {
        for is_file in [false, true] {
            let outputs = copy(&GRID_OUTPUT);
            let path = outputs.path().join("example").join(name);
            let _ = fs::remove_dir_all(&path);
            match (is_file, name) {
                (true, ".lock") => fs::create_dir(&path).unwrap(),
                (true, _) => fs::write(&path, "in the way").unwrap(),
                (false, _) => {}
            }
            // Something to write, so that the lock is needed.
            fs::remove_file(outputs.path().join("example/trials.parquet")).unwrap();
            run(outputs.path(), &GRID.plan(), SMALL);
            assert_equal_tables(&tables(outputs.path()), &expected);
        }
    }
}

#[test]
fn without_a_manifest_and_its_copy_all_is_trained_again_and_nothing_is_thrown_away() {
    let harms: [fn(&Path); 3] =
        [|path| cut(path, 30), |path| drop(fs::remove_file(path)), |path| fs::write(path, [0; 400]).unwrap()];
    for harm in harms {
        let outputs = copy(&GRID_OUTPUT);
        let folder = outputs.path().join("example");
        ["manifest.json", "manifest.backup.json"].iter().for_each(|name| harm(&folder.join(name)));
        let store = open(outputs.path(), &GRID.plan(), SMALL);
        let notes = store.notes().join("\n");
        assert!(notes.contains("nothing is known of what was trained here, and all is trained again"), "{notes}");
        assert_eq!(store.unfinished().len(), 8);
        drop(store);
        run(outputs.path(), &GRID.plan(), SMALL);
        assert_equal_tables(&tables(outputs.path()), &fresh_tables(&GRID.plan()));
        for (name, bytes) in GRID_OUTPUT.iter().filter(|(name, _)| name.starts_with("metrics/")) {
            assert!(fs::read(folder.join("damaged").join(name)).unwrap() == *bytes, "{name}");
        }
    }
}

#[test]
fn outputs_of_earlier_versions_have_no_digest_and_no_copy_and_are_read() {
    let outputs = copy(&GRID_OUTPUT);
    let folder = outputs.path().join("example");
    edit_manifest(&folder, |_| {});
    let store = open(outputs.path(), &GRID.plan(), SMALL);
    assert_eq!((store.is_writing(), store.notes()), (false, &[][..]));
    drop(store);
    // The first command that writes adds both.
    let wide = Grid { seeds: &[1, 2, 3], ..GRID }.plan();
    run(outputs.path(), &wide, SMALL);
    assert_equal_tables(&tables(outputs.path()), &fresh_tables(&wide));
    let [manifest, copy] = ["manifest.json", "manifest.backup.json"].map(|name| fs::read(folder.join(name)).unwrap());
    assert!(manifest == copy);
    let message = |bytes: &str| {
        fs::write(folder.join("manifest.json"), bytes).unwrap();
        open_error(outputs.path(), &wide)
    };
    let newer = message(r#"{"format": 99}"#);
    assert!(newer.contains("format 99, and this program knows formats 1 to 2"), "{newer}");
}

/// A store that has not looked at its folder yet.
fn open_unseen(outputs: &Path, plan: &Plan) -> Store {
    Store::unopened(outputs, plan, &info("example/1 cpu"), SMALL).unwrap()
}

fn open_error(outputs: &Path, plan: &Plan) -> String {
    let opened: Result<Store, StoreError> = Store::open_with(outputs, plan, info("example/1 cpu"), SMALL);
    opened.err().expect("an error").to_string()
}

/// A manifest that was changed by hand, and by someone who knew how: it is not believed, and does no harm.
#[track_caller]
fn check_lie(change: impl Fn(&mut serde_json::Value), expected: &str) {
    let outputs = copy(&GRID_OUTPUT);
    edit_manifest(&outputs.path().join("example"), change);
    let store = open(outputs.path(), &GRID.plan(), SMALL);
    let notes = store.notes().join("\n");
    assert!(notes.contains(expected), "no `{expected}` in {notes}");
    drop(store);
    run(outputs.path(), &GRID.plan(), SMALL);
    assert_equal_tables(&tables(outputs.path()), &fresh_tables(&GRID.plan()));
}

#[test]
fn manifests_that_lie_are_not_believed() {
    fn files(manifest: &mut serde_json::Value) -> &mut serde_json::Map<String, serde_json::Value> {
        manifest["files"].as_object_mut().unwrap()
    }
    fn first_trial(manifest: &mut serde_json::Value) -> &mut serde_json::Value {
        manifest["trials"].as_object_mut().unwrap().values_mut().find(|it| it["numbers"]["rows"] == 12).unwrap()
    }
    let list = |name: &'static str| {
        move |manifest: &mut serde_json::Value| {
            let entry = serde_json::json!({ "rows": 12, "bytes": 4, "blake3": "" });
            files(manifest).insert(name.to_owned(), entry);
        }
    };
    for name in ["../other.parquet", "/etc/passwd", "metrics/../../x", "a/b/c", "", "metrics/"] {
        check_lie(list(name), &format!("it lists `{name}`, which is no file of this folder"));
    }
    // The next part would replace one that counts.
    check_lie(list("parts/metrics-000007.parquet"), "and it lists `parts/metrics-000007.parquet`");
    check_lie(|manifest| manifest["next_part"] = u64::MAX.into(), "the next part is 18446744073709551615");
    check_lie(
        |manifest| files(manifest).values_mut().for_each(|entry| entry["rows"] = u64::MAX.into()),
        "has 18446744073709551615 rows, more than there can be",
    );
    check_lie(|manifest| first_trial(manifest)["metrics"][0][2] = u64::MAX.into(), "which it does not list");
    check_lie(|manifest| first_trial(manifest)["numbers"]["rows"] = 11.into(), "has 12 rows instead of 11");
    check_lie(|manifest| first_trial(manifest)["metrics"] = serde_json::json!([]), "has 0 rows instead of 12");
    check_lie(
        |manifest| {
            let trial = first_trial(manifest);
            trial["numbers"]["rows"] = 0.into();
            trial["metrics"] = serde_json::json!([]);
        },
        "it has 0 rows instead of 12",
    );
    check_lie(|manifest| first_trial(manifest)["status"] = "diverged".into(), "it is diverged and diverged at None");
    check_lie(
        |manifest| {
            let segments = first_trial(manifest)["metrics"].clone();
            let trials = manifest["trials"].as_object_mut().unwrap();
            let second =
                trials.values_mut().find(|trial| trial["numbers"]["rows"] == 12 && trial["metrics"] != segments);
            second.unwrap()["metrics"] = segments;
        },
        "belongs to trial",
    );
    check_lie(|manifest| *manifest = serde_json::json!({}), "it has no `format`");
}

/// A table of which the manifest has length and digest, and which holds something else.
#[test]
fn files_that_do_not_fit_the_manifest_do_not_count() {
    let other = tempfile::tempdir().unwrap();
    run(other.path(), &GRID.plan(), Limits { tables: Cut { file_rows: 8, ..SMALL.tables }, ..SMALL });
    let folder = other.path().join("example");
    let shorter = fs::read(folder.join("metrics").join(&listing(other.path(), "metrics")[0])).unwrap();
    let name = GRID_OUTPUT.keys().find(|name| name.starts_with("metrics/")).unwrap();
    let check = |bytes: &[u8], expected: &str| {
        check_lie(
            |manifest| {
                let entry = &mut manifest["files"][name];
                entry["bytes"] = bytes.len().into();
                entry["blake3"] = blake3::hash(bytes).to_hex().to_string().into();
            },
            &format!("{name}: it is "),
        );
        let outputs = copy(&GRID_OUTPUT);
        let folder = outputs.path().join("example");
        fs::write(folder.join(name), bytes).unwrap();
        edit_manifest(&folder, |manifest| {
            let entry = &mut manifest["files"][name];
            entry["bytes"] = bytes.len().into();
            entry["blake3"] = blake3::hash(bytes).to_hex().to_string().into();
        });
        let notes = open(outputs.path(), &GRID.plan(), SMALL).notes().join("\n");
        assert!(notes.contains(expected), "no `{expected}` in {notes}");
        run(outputs.path(), &GRID.plan(), SMALL);
        assert_equal_tables(&tables(outputs.path()), &fresh_tables(&GRID.plan()));
    };
    check(b"PAR1", "its footer cannot be read: ");
    check(&shorter, "its footer tells of 8 rows, the manifest of 16");
}

/// The message about a harmed output that cannot be written: an error, or a note beside the results.
#[track_caller]
fn check_read_only(plan: &Plan, harm: impl Fn(&Path), expected: Result<&str, &str>) {
    let outputs = copy(&GRID_OUTPUT);
    harm(&outputs.path().join("example"));
    let mut store = open_unseen(outputs.path(), plan);
    let damage = store.look(false).unwrap().unwrap().damage;
    let opened = store.only_read(damage, io::ErrorKind::PermissionDenied.into());
    let found = opened.map(|store| store.notes().join("\n")).map_err(|error| error.to_string());
    let is_said = match (&found, expected) {
        (Ok(found), Ok(expected)) => found.contains(expected),
        (Err(found), Err(expected)) => found.contains(expected),
        _ => false,
    };
    assert!(is_said, "{expected:?}: {found:?}");
}

#[test]
fn of_an_output_that_is_damaged_and_cannot_be_written_it_is_said() {
    let plan = GRID.plan();
    let metrics = GRID_OUTPUT.keys().find(|name| name.starts_with("metrics/")).unwrap();
    check_read_only(&plan, |_| {}, Ok(""));
    let error = "it cannot be mended, since the folder cannot be written: make it writable, or run a copy of it";
    check_read_only(&plan, |folder| cut(&folder.join(metrics), 1), Err(error));
    check_read_only(&plan, |folder| flip(&folder.join(metrics), 1, 2), Err("its bytes have changed"));
    for name in ["trials.parquet", "manifest.json", "manifest.backup.json", "plan.json", "spec.toml"] {
        check_read_only(&plan, |folder| cut(&folder.join(name), 1), Ok("cannot be written, so it is left as it is"));
    }
    let wide = Grid { seeds: &[1, 2, 3], ..GRID }.plan();
    check_read_only(&wide, |_| {}, Err("cannot be written, and 4 of its trials are left to run"));
}

/// With nothing to train, so many bytes are read and no more; of what is beyond, lengths and footers are known.
#[test]
fn how_much_is_read_where_nothing_is_trained_has_a_bound() {
    let outputs = copy(&GRID_OUTPUT);
    let folder = outputs.path().join("example");
    let manifest = Manifest::load(&folder).unwrap().unwrap();
    let mut sizes: Vec<(u64, &String)> = manifest.files.iter().map(|(name, entry)| (entry.bytes, name)).collect();
    sizes.sort();
    let all: u64 = sizes.iter().map(|(bytes, _)| bytes).sum();
    let largest = sizes.pop().unwrap().1;
    flip(&folder.join(largest), 1, 8);
    let found = |digested| survey(&folder, &manifest, digested).unwrap().len();
    assert_eq!([None, Some(0), Some(all - 1), Some(all)].map(found), [0, 0, 0, 1]);
    let footer = folder.join(largest);
    fs::write(&footer, vec![0; fs::metadata(&footer).unwrap().len() as usize]).unwrap();
    assert_eq!([None, Some(0)].map(found), [0, 1]);
}

/// `cargo test --release -p clr-run --lib -- --ignored --nocapture cost_of_looking`
#[test]
#[ignore = "measures time"]
fn cost_of_looking_at_all_files() {
    let outputs = tempfile::tempdir().unwrap();
    let mut manifest = Manifest::new("example");
    let bytes: Vec<u8> = (0..100u32 << 20).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let entry = super::super::files::FileEntry::of(&bytes);
    for number in 0..20 {
        let name = format!("metrics-{number}");
        fs::write(outputs.path().join(&name), &bytes).unwrap();
        manifest.files.insert(name, entry.clone());
    }
    for digested in [None, Some(256 << 20), Some(u64::MAX)] {
        let start = std::time::Instant::now();
        let damage = survey(outputs.path(), &manifest, digested).unwrap();
        eprintln!("2.1 GB in 20 files, digests of {digested:?} bytes: {:?}, {} damaged", start.elapsed(), damage.len());
    }
}
