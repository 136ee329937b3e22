//! What `clr-run compare` prints.

use std::fmt::Write as _;

use clr_plan::names::SEEDS;
use clr_terminal::columns::{self, Column};
use clr_terminal::terminal::Terminal;
use clr_terminal::words::{self, counted, thousands};

use crate::compare::{Candidate, Cell, Comparison};

/// More rows than this are not shown in a terminal.
const LISTED: usize = 40;

/// A row of both tables: a cell, and how it stands beside its reference, if it is none.
struct Row<'a> {
    cell: &'a Cell,
    target: Option<f64>,
    candidate: Option<&'a Candidate>,
}

/// Accuracies beside the reference's, how soon they are reached, and what is to be known of both.
pub fn comparison(comparison: &Comparison, terminal: &Terminal) -> String {
    let Comparison { by, reference, split, counts, blocks, names, .. } = comparison;
    let rows = blocks.iter().flat_map(|block| {
        let target = block.target;
        let reference = Row { cell: &block.reference, target, candidate: None };
        let others = block.candidates.iter().map(move |it| Row { cell: &it.cell, target, candidate: Some(it) });
        std::iter::once(reference).chain(others)
    });
    let rows: Vec<Row<'_>> = rows.collect();
    let listed = &rows[..if terminal.width.is_some() { rows.len().min(LISTED) } else { rows.len() }];

    let beside = match reference {
        Some(reference) => format!("{by} {reference}"),
        None => format!("the best {by}"),
    };
    let mut text = names.common().map_or(String::new(), |common| words::wrapped(&common, terminal.width, 2) + "\n");
    let heading = format!(
        "final accuracy on {}, beside {beside}: differences in percentage points, paired by seed, with 95% intervals",
        split.name()
    );
    let _ = writeln!(text, "{}", words::wrapped(&heading, terminal.width, 2));
    let axes = || names.columns(listed.iter().map(|row| &row.cell.values[..]), &SEEDS);
    let mut columns = axes();
    columns.extend(differences(listed));
    text += &columns::text(&columns, terminal);

    if rows.iter().any(|row| row.target.is_some()) {
        let targets: Vec<String> = blocks.iter().map(|block| percent(block.target)).collect();
        let is_one = targets.iter().all(|target| *target == targets[0]);
        let what = if is_one { targets[0].clone() } else { "the target".to_owned() };
        let heading = format!(
            "iterations until accuracy on {} is first {what} or more; means are of the trials that reach it, and the ratio is to the \
             reference",
            split.name()
        );
        let _ = writeln!(text, "\n{}", words::wrapped(&heading, terminal.width, 2));
        let mut columns = axes();
        if !is_one {
            columns.push(Column::right("target", 1, listed.iter().map(|row| percent(row.target))));
        }
        columns.extend(iterations(listed));
        text += &columns::text(&columns, terminal);
    }
    if listed.len() < rows.len() {
        let more = thousands((rows.len() - listed.len()) as u128);
        let _ = writeln!(text, "and {more} more in each table; --json has all");
    }
    text.push('\n');
    for block in &blocks[..if terminal.width.is_some() { blocks.len().min(LISTED) } else { blocks.len() }] {
        let _ = writeln!(text, "{}", words::wrapped(&block.answer, terminal.width, 2));
    }
    text.push('\n');
    let statuses = [
        (counts.finished, "finished"),
        (counts.diverged, "diverged"),
        (counts.failed, "failed"),
        (counts.crashed, "crashed"),
        (counts.unfinished, "unfinished"),
    ];
    let statuses: Vec<String> = statuses
        .into_iter()
        .filter(|&(count, name)| count > 0 || name == "finished")
        .map(|(count, name)| format!("{} {name}", thousands(count as u128)))
        .collect();
    let _ = writeln!(text, "{}: {}", counted(counts.trials, "trial"), statuses.join(", "));
    let notes = &comparison.notes;
    for note in &notes[..if terminal.width.is_some() { notes.len().min(LISTED) } else { notes.len() }] {
        let _ = writeln!(text, "{}", words::wrapped(note, terminal.width, 2));
    }
    if terminal.width.is_some() && notes.len() > LISTED {
        let _ = writeln!(text, "and {} more notes; --json has all", thousands((notes.len() - LISTED) as u128));
    }
    text
}

/// Mean accuracies and their differences.
fn differences(rows: &[Row<'_>]) -> Vec<Column> {
    let beside = |of: &dyn Fn(&Candidate) -> String, else_: &str| -> Vec<String> {
        rows.iter().map(|row| row.candidate.map_or(else_.to_owned(), of)).collect()
    };
    let points = |difference: f64| format!("{:+.2}", 100.0 * difference);
    let interval = |[low, high]: [f64; 2]| format!("{} to {}", points(low), points(high));
    vec![
        Column::right("mean", 0, rows.iter().map(|row| percent(row.cell.accuracy.mean))),
        Column::right("difference", 0, beside(&|it| it.difference.mean.map_or_else(dash, points), "")),
        Column::right("95% interval", 0, beside(&|it| it.difference.interval.map_or_else(dash, interval), "")),
        Column::right(
            "n",
            0,
            rows.iter()
                .map(|row| row.candidate.map_or(row.cell.accuracy.n, |candidate| candidate.difference.n).to_string()),
        ),
        Column::right("p", 1, beside(&|it| it.p_corrected.map_or_else(dash, probability), "")),
        Column::left("verdict", 0, beside(&|it| it.verdict.words().to_owned(), "reference")),
    ]
}

/// How soon the target is reached.
fn iterations(rows: &[Row<'_>]) -> Vec<Column> {
    let column = |of: &dyn Fn(&Row<'_>) -> String| -> Vec<String> { rows.iter().map(of).collect() };
    let whole = |number: f64| match number.max(0.0) {
        // Of few iterations a mean is no whole number.
        few if few < 100.0 && few.fract() != 0.0 => format!("{few:.1}"),
        many => thousands(many.round() as u128),
    };
    let spread = |row: &Row<'_>| match (row.cell.iterations.least, row.cell.iterations.most) {
        (Some(least), Some(most)) if least == most => whole(least as f64),
        (Some(least), Some(most)) => format!("{} to {}", whole(least as f64), whole(most as f64)),
        _ => dash(),
    };
    let reached = |row: &Row<'_>| {
        let it = &row.cell.iterations;
        let unknown = if it.unknown > 0 { format!(", {} open", it.unknown) } else { String::new() };
        format!("{} of {}{unknown}", it.reached, it.reached + it.not_reached)
    };
    let interval = |row: &Row<'_>| match row.cell.iterations.mean.interval {
        Some([low, high]) => format!("{} to {}", whole(low), whole(high)),
        None => dash(),
    };
    let ratio = |row: &Row<'_>| match row.candidate {
        Some(candidate) => candidate.iterations_ratio.map_or_else(dash, |ratio| format!("{ratio:.2}")),
        None => String::new(),
    };
    vec![
        Column::left("reached by", 0, column(&reached)),
        Column::right("mean", 0, column(&|row| row.cell.iterations.mean.mean.map_or_else(dash, whole))),
        Column::right("from to", 2, column(&spread)),
        Column::right("95% interval", 3, column(&interval)),
        Column::right("ratio", 0, column(&ratio)),
    ]
}

fn percent(fraction: Option<f64>) -> String {
    fraction.map_or_else(dash, |fraction| format!("{:.2}%", 100.0 * fraction))
}

/// In few characters, and never as 0.
fn probability(p: f64) -> String {
    if p < 0.001 { "<0.001".to_owned() } else { format!("{p:.3}") }
}

fn dash() -> String {
    "-".to_owned()
}
