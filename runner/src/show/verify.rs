//! What `clr-run verify` prints.

use std::fmt::Write as _;
use std::path::Path;

use clr_plan::{Names, Plan};
use clr_terminal::words::{counted, thousands};

use crate::verify::again::Proof;
use crate::verify::{Checked, Selection};

/// `clr-run verify --quick`: the problems of an output's files, then a count.
pub fn checked(folder: &Path, checked: &Checked) -> String {
    let mut out = String::new();
    for problem in &checked.problems {
        let _ = writeln!(out, "problem: {problem}");
    }
    for note in &checked.notes {
        let _ = writeln!(out, "note: {note}");
    }
    let problems = match checked.problems.len() {
        0 => "no problems".to_owned(),
        count => counted(count, "problem"),
    };
    let _ = writeln!(
        out,
        "{}: {problems} in {}, with {} and {} of {}",
        folder.display(),
        counted(checked.files, "file"),
        counted(checked.rows as usize, "row"),
        counted(checked.evaluations as usize, "evaluation"),
        counted(checked.trials, "trial"),
    );
    out
}

/// `clr-run verify`: what differs, what cannot be proven, and what is.
pub fn proof(plan: &Plan, selection: &Selection, proof: &Proof) -> String {
    let names = Names::of(plan);
    let called = |label: &str| {
        let trial = plan.trials.iter().find(|trial| *trial.label == *label);
        trial.map_or(label.to_owned(), |trial| format!("{} ({label})", names.handle(trial.id)))
    };
    let mut out = String::new();
    for (label, what) in &proof.differences {
        let _ = writeln!(out, "differs: {}: {what}", called(label));
    }
    for (label, why) in &selection.unproven {
        let _ = writeln!(out, "not proven: {}: {why}", called(label));
    }
    let (trained, proven) = (selection.trials.len(), proof.proven);
    let trials = counted(trained, "trial");
    let found = match () {
        () if trained == 0 => "no trial could be trained again".to_owned(),
        () if proven == trained && trained == 1 => "trained 1 trial again, and it gives".to_owned(),
        () if proven == trained => format!("trained {trials} again, and all give"),
        () if proven == 1 => format!("trained {trials} again, and 1 of them gives"),
        () if proven == 0 => format!("trained {trials} again, and none gives"),
        () => format!("trained {trials} again, and {} of them give", thousands(proven as u128)),
    };
    let _ = match proven {
        0 if trained == 0 => writeln!(out, "{found}"),
        0 => writeln!(out, "{found} all of its stored rows"),
        _ => writeln!(
            out,
            "{found} the stored rows, bit for bit: {} and {}",
            counted(proof.rows as usize, "row"),
            counted(proof.evaluations as usize, "evaluation")
        ),
    };
    if proof.stopped > 0 {
        let were = if proof.stopped == 1 { "was" } else { "were" };
        let _ = writeln!(out, "{} {were} stopped before the end", counted(proof.stopped, "trial"));
    }
    out
}
