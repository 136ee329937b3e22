//! In every crate of the repository, modules look down.

use std::path::Path;

use clr_tidy::workspace;

/// Crates whose modules are one thing in many files, and why.
const ONE_THING: [(&str, &str); 1] =
    [("clr-schedule", "a sequence of schedules is a schedule too, and each kind is a file")];

#[test]
fn no_modules_use_each_other_in_a_ring() {
    let crates = workspace(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap();
    assert!(crates.len() > 20 && crates.iter().any(|one| one.name == "clr-nn"), "crates are found: {crates:?}");
    let rings = crates.iter().filter_map(|one| {
        let ring = one.modules.ring().filter(|_| ONE_THING.iter().all(|(name, _)| *name != one.name))?;
        Some(format!("{}, in a ring:\n{}", one.name, one.modules.explained(&ring)))
    });
    let rings: Vec<String> = rings.collect();
    assert!(rings.is_empty(), "\n{}", rings.join("\n"));
    for (name, reason) in ONE_THING {
        let has_a_ring = crates.iter().any(|one| one.name == name && one.modules.ring().is_some());
        assert!(has_a_ring, "{name} has no ring any more, and is no exception: {reason}");
    }
}
