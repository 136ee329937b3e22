//! What `clr-run range-test` prints.

use std::fmt::Write as _;

use clr_finder::smith::{End, Measure, Pair, median};
use clr_finder::{NoSuggestion, Readings};
use clr_terminal::columns::{self, Column};
use clr_terminal::terminal::Terminal;
use clr_terminal::words::{self, counted, rounded, thousands};

use crate::plot;
use crate::range_test::{Report, RuleFound, Test};

/// Digits of learning rates.
const DIGITS: usize = 3;

/// The width of a plot that goes into a file.
const PLOT_WIDTH: usize = 80;

/// The range tests of an output: of each its curve, the bounds that the paper would read from it, and the rules of tools.
pub fn range_tests(report: &Report, terminal: &Terminal) -> String {
    let mut out = report.tests.iter().map(|test| one(test, terminal)).collect::<Vec<_>>().join("\n");
    let mut notes = Vec::new();
    if report.others > 0 {
        let are = if report.others == 1 { "is no range test and is" } else { "are no range tests and are" };
        notes.push(format!("{} of this output {are} left out", counted(report.others, "trial")));
    }
    notes.extend(report.unreadable.iter().map(|(file, why)| format!("not read: {file}: {why}")));
    if !notes.is_empty() {
        out.push('\n');
    }
    for note in notes {
        out += &(words::wrapped(&note, terminal.width, 2) + "\n");
    }
    out
}

fn one(test: &Test, terminal: &Terminal) -> String {
    let mut out = String::new();
    let mut line = |text: &str| out.push_str(&(words::wrapped(text, terminal.width, 2) + "\n"));
    let Test { name, min_lr, max_lr, spacing, iterations, .. } = test;
    let (min, max, iterations) = (words::Number(*min_lr), words::Number(*max_lr), thousands(u128::from(*iterations)));
    let trials: usize = test.trials.iter().map(|trial| trial.ids.len()).sum();
    line(&terminal.bold(&match test.trials.first() {
        Some(seed) if test.is_constant() => format!(
            "{name}: {} constant learning rates from {min} to {max}, {iterations} iterations each, {}",
            seed.ids.len(),
            counted(trials, "trial")
        ),
        _ => format!(
            "{name}: learning rates from {min} to {max}, {spacing}, {iterations} iterations, {}",
            counted(trials, "trial")
        ),
    }));
    states(test).iter().for_each(|state| line(state));
    out.push('\n');
    if test.curve.value.iter().any(|value| value.is_finite()) {
        out += &drawn(test, terminal);
        out.push('\n');
    }
    out += &verdict(test, terminal);
    out.push('\n');
    out += &table(test, terminal);
    let without = test.rules.iter().filter(|rule| rule.has_none_since(NoSuggestion::NeedsGeometric));
    let names: Vec<&str> = without.map(|rule| rule.rule).collect();
    if !names.is_empty() {
        let names = words::some_of(&names);
        let text = format!(
            "{names} measure by steps of a geometric sweep, which this one is not: `spacing = \"geometric\"` makes one.\n"
        );
        out += &words::wrapped(&text, terminal.width, 2);
    }
    out
}

/// What became of the trials, where that is to be known.
fn states(test: &Test) -> Vec<String> {
    let mut lines = Vec::new();
    let diverged: Vec<f64> = test.trials.iter().filter_map(|trial| trial.diverged_at_lr).collect();
    if !diverged.is_empty() {
        let of = if test.trials.len() > 1 {
            format!("{} of {}", diverged.len(), test.trials.len())
        } else {
            "it".to_owned()
        };
        lines.push(format!("{of} diverged, at a rate of {}", interval(&diverged)));
    }
    let unfinished: Vec<_> =
        test.trials.iter().filter(|trial| matches!(trial.status, "unfinished" | "failed" | "crashed")).collect();
    if !unfinished.is_empty() {
        let rows = unfinished
            .iter()
            .map(|trial| format!("{} {} after {}", trial.trial, trial.status, counted(trial.rows as usize, "row")));
        let rows: Vec<String> = rows.collect();
        let left_out = if unfinished.iter().all(|trial| !trial.counts) { ": left out of medians" } else { "" };
        lines.push(format!("not over: {}{left_out}", words::some_of(&rows)));
    }
    lines
}

/// The curve, with the bounds below it.
fn drawn(test: &Test, terminal: &Terminal) -> String {
    let place = |lr: f64| test.curve.lr.iter().rposition(|at| *at <= lr).unwrap_or(0);
    let marks = test.pair.0.as_ref().ok().map(|bounds| {
        [(bounds.base.median, "base_lr"), (bounds.max.median, "max_lr")]
            .map(|(lr, name)| (place(lr), format!("{name} {}", rounded(lr, DIGITS))))
    });
    let marks: Vec<plot::Mark<'_>> = marks.iter().flatten().map(|(place, label)| (*place, label.as_str())).collect();
    let end = |lr: Option<&f64>| lr.map_or(String::new(), |lr| rounded(*lr, DIGITS));
    let [start, end] = [end(test.curve.lr.first()), end(test.curve.lr.last())];
    // What explodes would leave all else on one line.
    let cap = match (test.measure, test.curve.value.first()) {
        (Measure::Loss, Some(first)) if *first > 0.0 => 2.0 * first,
        _ => f64::INFINITY,
    };
    let drawn: Vec<f64> = test.curve.value.iter().map(|value| if *value > cap { cap } else { *value }).collect();
    plot::curve(&drawn, test.measure.name(), [&start, &end], &marks, terminal.width.unwrap_or(PLOT_WIDTH))
}

/// The bounds, or why there are none.
fn verdict(test: &Test, terminal: &Terminal) -> String {
    let curve = match (test.measure, test.split, test.images) {
        (Measure::Accuracy, Some(split), Some(images)) => {
            format!("accuracy on {} images of the {split} split", thousands(u128::from(images)))
        }
        (Measure::Accuracy, Some(split), None) => format!("accuracy on the {split} split"),
        _ => "the loss of batches".to_owned(),
    };
    let bounds = match &test.pair.0 {
        Ok(bounds) => bounds,
        Err(why) => return words::wrapped(&format!("no bounds from {curve}: {why}\n"), terminal.width, 2),
    };
    let (base, max) = (rounded(bounds.base.median, DIGITS), rounded(bounds.max.median, DIGITS));
    let (rises, falls) = match test.measure {
        Measure::Accuracy => ("rise", "falls"),
        Measure::Loss => ("fall", "rises"),
    };
    let how = match bounds.end {
        End::Slows => format!("slows at {max}"),
        End::Ragged => format!("becomes ragged beyond {max}"),
        End::Falls => format!("{falls} beyond {max}"),
        End::Diverges => format!("is lost beyond {max}, where training diverges"),
        End::Rises => format!("goes on to {max}, the highest rate"),
    };
    let trials = bounds.base.count;
    let median = if trials > 1 { format!(" (the median of {trials} trials)") } else { String::new() };
    let mut out =
        words::wrapped(&format!("{curve} starts to {rises} at {base} and {how}{median}:\n"), terminal.width, 2);
    let between = |readings: &Readings| match readings.interval {
        _ if trials == 1 => String::new(),
        [low, high] => format!("   ({} to {})", rounded(low, DIGITS), rounded(high, DIGITS)),
    };
    let width = if trials > 1 { base.len().max(max.len()) } else { 0 };
    let _ = write!(out, "\n  base_lr = {base:width$}{}\n", between(&bounds.base));
    let _ = writeln!(out, "  max_lr  = {max:width$}{}", between(&bounds.max));
    let mut note = |text: &str| out.push_str(&("\n".to_owned() + &words::wrapped(text, terminal.width, 2) + "\n"));
    if trials > 1 {
        let certain = (100.0 * bounds.base.certainty).floor();
        let more = if trials < 6 { "; of 6 seeds it would be 96 %" } else { "" };
        note(&format!("In parentheses is where the median of all seeds is, which is certain to {certain} %{more}."));
    }
    if test.measure == Measure::Loss {
        note("There are fewer than 8 evaluations, which would show better than losses: `eval_every` in `[train]`.");
    }
    if bounds.end == End::Rises {
        note("`max_lr` may be higher: let the range test reach higher rates.");
    }
    if bounds.rises_at_once {
        let lower = if test.min_lr > 0.0 { "start at a lower rate, or " } else { "" };
        note(&format!("`base_lr` may be lower: let the range test {lower}evaluate more often."));
    }
    out
}

/// A line of the table: a rule, what it is of, what it gives, what it gives for each trial, where its tool stops.
struct Row {
    rule: &'static str,
    of: &'static str,
    lr: Option<f64>,
    of_trials: Vec<f64>,
    stops_at: Option<f64>,
}

fn table(test: &Test, terminal: &Terminal) -> String {
    let counting = || test.trials.iter().filter(|trial| trial.counts);
    let bounds = test.pair.0.as_ref().ok();
    let bound = |rule: &'static str, lr: Option<f64>, of: fn(&Pair) -> f64| Row {
        rule,
        of: "Smith",
        lr,
        of_trials: counting().filter_map(|trial| trial.pair.pair()).map(|pair| of(&pair)).collect(),
        stops_at: None,
    };
    let mut rows = vec![
        bound("base_lr", bounds.map(|bounds| bounds.base.median), |pair| pair.base),
        bound("max_lr", bounds.map(|bounds| bounds.max.median), |pair| pair.max),
        bound("max_lr / 3", bounds.map(|bounds| bounds.max.median / 3.0), |pair| pair.rule_of_thumb()[0]),
    ];
    for rule in &test.rules {
        let of_trials = || rule.suggestions.iter().zip(&test.trials).filter(|(_, trial)| trial.counts);
        let mut stops: Vec<f64> = of_trials().filter_map(|(suggestion, _)| suggestion.stops_at_lr).collect();
        rows.push(Row {
            rule: rule.rule,
            of: rule.tool,
            lr: rule.median,
            of_trials: of_trials().filter_map(|(suggestion, _)| suggestion.lr).collect(),
            stops_at: (!stops.is_empty()).then(|| median(&mut stops)),
        });
    }
    let rate = |lr: Option<f64>| lr.map_or("-".to_owned(), |lr| rounded(lr, DIGITS));
    let cells = |of: &dyn Fn(&Row) -> String| -> Vec<String> { rows.iter().map(of).collect() };
    let mut columns = vec![
        Column::left("rule", 0, cells(&|row| row.rule.to_owned())),
        Column::left("of", 1, cells(&|row| row.of.to_owned())),
        Column::right("learning rate", 0, cells(&|row| rate(row.lr))),
    ];
    let all = counting().count();
    if all > 1 {
        columns.extend([
            Column::right("lowest", 0, cells(&|row| rate(row.of_trials.iter().copied().reduce(f64::min)))),
            Column::right("highest", 0, cells(&|row| rate(row.of_trials.iter().copied().reduce(f64::max)))),
            Column::right("trials", 0, cells(&|row| format!("{} of {all}", row.of_trials.len()))),
        ]);
    }
    if rows.iter().any(|row| row.stops_at.is_some()) {
        columns.push(Column::right("stops at", 2, cells(&|row| rate(row.stops_at))));
    }
    columns::text(&columns, terminal)
}

impl RuleFound {
    fn has_none_since(&self, why: NoSuggestion) -> bool {
        self.suggestions.iter().any(|suggestion| suggestion.why_none == Some(why))
    }
}

fn interval(lrs: &[f64]) -> String {
    let (low, high) = (lrs.iter().copied().fold(f64::INFINITY, f64::min), lrs.iter().copied().fold(0.0, f64::max));
    let [low, high] = [low, high].map(|lr| rounded(lr, DIGITS));
    if low == high { low } else { format!("{low} to {high}") }
}
