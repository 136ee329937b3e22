//! The table that a run ends with: trials best first, and means over seeds.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::files::FileEntry;
use super::manifest::Manifest;
use super::result::{Status, TrialResult};
use crate::plan::{AxisValue, Plan, Trial};
use crate::words;

/// What a run left.
#[derive(Clone, Debug)]
pub struct Summary {
    folder: PathBuf,
    plan: Plan,
    manifest: Manifest,
}

impl Summary {
    pub(crate) fn new(folder: PathBuf, plan: Plan, manifest: Manifest) -> Summary {
        Summary { folder, plan, manifest }
    }

    /// What became of every trial of the plan, in its order.
    pub fn results(&self) -> impl Iterator<Item = TrialResult<'_>> + Clone {
        self.manifest.results(&self.plan.trials, 0)
    }

    /// How many trials have this status.
    pub fn count(&self, status: Status) -> usize {
        self.results().filter(|result| result.status == status).count()
    }

    /// Size of the tables.
    pub fn bytes(&self) -> u64 {
        let of_tables = |(name, _): &(&String, &FileEntry)| name.ends_with(".parquet") && !name.starts_with("parts/");
        self.manifest.files.iter().filter(of_tables).map(|(_, entry)| entry.bytes).sum()
    }

    /// The table of trials, the means over seeds and where everything was written.
    pub fn text(&self) -> String {
        let rows: u64 = self.results().map(|result| result.numbers.rows).sum();
        let (table, megabytes) = (text(&self.plan, self.results()), self.bytes() as f64 / 1e6);
        format!("{table}\n{rows} rows, {megabytes:.1} MB in {}\n", self.folder.display())
    }
}

/// With more trials than this only the best are listed.
const LISTED_WHOLE: usize = 30;
const LISTED_BEST: usize = 20;

/// The table of trials, best first, and the means over seeds if there are several.
pub fn text<'m>(plan: &Plan, results: impl Iterator<Item = TrialResult<'m>> + Clone) -> String {
    let mut ranked: Vec<TrialResult<'_>> = results.clone().collect();
    ranked.sort_by(compare);
    let listed = if ranked.len() > LISTED_WHOLE { LISTED_BEST } else { ranked.len() };

    let mut table = new_table(["trial", "best test", "final test", "train loss", "status", "time"]);
    for result in &ranked[..listed] {
        let numbers = result.numbers;
        table.add_row([
            plan.trials[result.trial].label.to_string(),
            percent(numbers.best_test_accuracy.map(f64::from)),
            percent(numbers.final_test_accuracy.map(f64::from)),
            numbers.final_train_loss.map_or_else(dash, |loss| format!("{loss:.4}")),
            status_text(result),
            result.seconds.map_or_else(dash, words::duration),
        ]);
    }
    let mut text = trimmed(&table);
    if listed < ranked.len() {
        let _ = writeln!(text, "... and {} more", ranked.len() - listed);
    }
    let _ = writeln!(text, "{}", counts(&ranked));
    for result in ranked.iter().filter(|result| result.status.is_failure()).take(LISTED_BEST) {
        let message = result.error.unwrap_or("for no stated reason");
        let _ = writeln!(text, "{}: {}: {message}", result.status.name(), plan.trials[result.trial].label);
    }
    text + &means(plan, results)
}

/// Trials with results first; among them the higher best, then final test accuracy, then the lower loss.
fn compare(a: &TrialResult<'_>, b: &TrialResult<'_>) -> Ordering {
    let key = |result: &TrialResult<'_>| {
        let numbers = result.numbers;
        let or_worst = |value: Option<f64>| value.unwrap_or(f64::NEG_INFINITY);
        let values = [
            or_worst(numbers.best_test_accuracy.map(f64::from)),
            or_worst(numbers.final_test_accuracy.map(f64::from)),
            or_worst(numbers.final_train_loss.map(|loss| -loss)),
        ];
        (result.status.is_done(), values)
    };
    let (a, b) = (key(a), key(b));
    b.0.cmp(&a.0).then_with(|| b.1.partial_cmp(&a.1).unwrap_or(Ordering::Equal))
}

fn counts(results: &[TrialResult<'_>]) -> String {
    let statuses = [Status::Finished, Status::Diverged, Status::Failed, Status::Crashed, Status::Unfinished];
    let counts = statuses.map(|status| (status, results.iter().filter(|result| result.status == status).count()));
    let parts: Vec<String> = counts
        .into_iter()
        .filter(|&(status, count)| count > 0 || status == Status::Finished)
        .map(|(status, count)| format!("{count} {}", status.name()))
        .collect();
    let trials = if results.len() == 1 { "trial" } else { "trials" };
    format!("{} {trials}: {}", results.len(), parts.join(", "))
}

/// Axes over which means are taken.
const SEEDS: [&str; 3] = ["seed", "init_seed", "data_seed"];

/// Mean final test accuracy of trials that differ in their seeds alone; empty if none do.
fn means<'m>(plan: &Plan, results: impl Iterator<Item = TrialResult<'m>>) -> String {
    let seeds: Vec<bool> = plan.axes.iter().map(|axis| SEEDS.contains(&axis.name.as_str())).collect();
    let has_seeds_of = |a: &Trial, b: &Trial| (0..seeds.len()).all(|axis| !seeds[axis] || a.axes[axis] == b.axes[axis]);
    if plan.trials.iter().all(|trial| has_seeds_of(trial, &plan.trials[0])) {
        return String::new();
    }
    let mut cells: BTreeMap<String, Cell> = BTreeMap::new();
    for (order, result) in results.enumerate() {
        let cell = cells.entry(cell_label(plan, result.trial, &seeds)).or_insert_with(|| Cell::new(order));
        cell.trials += 1;
        cell.diverged += usize::from(result.status == Status::Diverged);
        cell.accuracies.extend(result.numbers.final_test_accuracy.map(f64::from));
    }
    let nothing_to_tell = cells.values().all(|cell| cell.trials < 2 || cell.accuracies.is_empty());
    if nothing_to_tell {
        return String::new();
    }
    let mut cells: Vec<(String, Cell)> = cells.into_iter().collect();
    cells.sort_by(|(_, a), (_, b)| {
        let by_mean = b.mean().partial_cmp(&a.mean()).unwrap_or(Ordering::Equal);
        by_mean.then(a.order.cmp(&b.order))
    });
    let listed = if cells.len() > LISTED_WHOLE { LISTED_BEST } else { cells.len() };
    let mut table = new_table(["mean over seeds", "final test", "deviation", "n", "diverged"]);
    for (label, cell) in &cells[..listed] {
        table.add_row([
            label.clone(),
            percent(cell.mean()),
            cell.deviation().map_or_else(dash, |deviation| format!("{:.2}", 100.0 * deviation)),
            cell.accuracies.len().to_string(),
            cell.diverged.to_string(),
        ]);
    }
    let mut text = format!("\n{}", trimmed(&table));
    if listed < cells.len() {
        let _ = writeln!(text, "... and {} more", cells.len() - listed);
    }
    text
}

/// Trials that differ in their seeds alone.
struct Cell {
    order: usize,
    trials: usize,
    diverged: usize,
    accuracies: Vec<f64>,
}

impl Cell {
    fn new(order: usize) -> Cell {
        Cell { order, trials: 0, diverged: 0, accuracies: Vec::new() }
    }

    fn mean(&self) -> Option<f64> {
        let count = self.accuracies.len();
        (count > 0).then(|| self.accuracies.iter().sum::<f64>() / count as f64)
    }

    /// The sample's standard deviation, with n - 1.
    fn deviation(&self) -> Option<f64> {
        let mean = self.mean().filter(|_| self.accuracies.len() > 1)?;
        let squares: f64 = self.accuracies.iter().map(|accuracy| (accuracy - mean) * (accuracy - mean)).sum();
        Some((squares / (self.accuracies.len() - 1) as f64).sqrt())
    }
}

/// `triangular2 nesterov max_lr=0.006`: the axes but the seeds; text speaks for itself.
fn cell_label(plan: &Plan, trial: usize, seeds: &[bool]) -> String {
    let axes = plan.axes.iter().zip(&plan.trials[trial].axes).zip(seeds);
    let words: Vec<String> = axes
        .filter(|&(_, &is_seed)| !is_seed)
        .filter_map(|((axis, value), _)| {
            Some(match value.as_ref()? {
                AxisValue::Text(text) => text.to_string(),
                AxisValue::Integer(integer) => format!("{}={integer}", axis.name),
                AxisValue::Float(float) => format!("{}={float}", axis.name),
                AxisValue::Boolean(boolean) => format!("{}={boolean}", axis.name),
            })
        })
        .collect();
    if words.is_empty() { "all".to_owned() } else { words.join(" ") }
}

fn new_table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((2 * u16::from(index > 0), 0));
        column.set_cell_alignment(if index > 0 { CellAlignment::Right } else { CellAlignment::Left });
    }
    table
}

/// The table without the spaces at the ends of its lines.
fn trimmed(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn status_text(result: &TrialResult<'_>) -> String {
    match result.numbers.diverged_at {
        Some(iteration) => format!("diverged at {iteration}"),
        None => result.status.name().to_owned(),
    }
}

fn percent(fraction: Option<f64>) -> String {
    fraction.map_or_else(dash, |fraction| format!("{:.2}%", 100.0 * fraction))
}

fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::example::Grid;
    use crate::store::manifest::TrialRecord;
    use crate::store::result::Numbers;
    use expect_test::{Expect, expect};

    const GRID: Grid<'static> = Grid {
        policies: &["triangular", "explode"],
        optimizers: &["sgd", "adam"],
        seeds: &[1, 2],
        max_lrs: &[],
        iterations: 12,
    };

    /// A result for each trial, its accuracy drawn from its index; trials of `explode` diverged.
    fn records(plan: &Plan) -> Vec<TrialRecord> {
        let result = |index: usize| {
            let diverged = plan.trials[index].label.starts_with("explode");
            let accuracy = (index * 7 % 100) as f32 / 100.0;
            TrialRecord {
                status: if diverged { Status::Diverged } else { Status::Finished },
                seconds: Some(50.0 * index as f64 + 0.25),
                numbers: Numbers {
                    rows: 12,
                    diverged_at: diverged.then_some(6),
                    final_train_loss: (!diverged).then_some(1.0 - f64::from(accuracy)),
                    final_test_accuracy: (!diverged).then_some(accuracy),
                    best_test_accuracy: Some(accuracy + 0.01),
                    ..Numbers::default()
                },
                ..TrialRecord::default()
            }
        };
        (0..plan.trials.len()).map(result).collect()
    }

    #[track_caller]
    fn check(grid: Grid<'_>, change: impl Fn(&mut Vec<TrialRecord>), expected: Expect) {
        let plan = grid.plan();
        let mut records = records(&plan);
        change(&mut records);
        expected.assert_eq(&text(&plan, records.iter().enumerate().map(|(trial, record)| record.result(trial))));
    }

    #[test]
    fn trials_are_listed_best_first_and_averaged_over_seeds() {
        check(
            GRID,
            |_| {},
            expect![[r#"
            trial                   best test  final test  train loss         status    time
            explode adam seed=2        50.00%           -           -  diverged at 6  5m 50s
            explode adam seed=1        43.00%           -           -  diverged at 6      5m
            explode sgd seed=2         36.00%           -           -  diverged at 6  4m 10s
            explode sgd seed=1         29.00%           -           -  diverged at 6  3m 20s
            triangular adam seed=2     22.00%      21.00%      0.7900       finished  2m 30s
            triangular adam seed=1     15.00%      14.00%      0.8600       finished  1m 40s
            triangular sgd seed=2       8.00%       7.00%      0.9300       finished     50s
            triangular sgd seed=1       1.00%       0.00%      1.0000       finished    0.2s
            8 trials: 4 finished, 4 diverged

            mean over seeds  final test  deviation  n  diverged
            triangular adam      17.50%       4.95  2         0
            triangular sgd        3.50%       4.95  2         0
            explode sgd               -          -  0         2
            explode adam              -          -  0         2
        "#]],
        );
    }

    #[test]
    fn failed_and_unfinished_trials_come_last() {
        let change = |records: &mut Vec<TrialRecord>| {
            records[0] = TrialRecord {
                status: Status::Failed,
                error: Some("no memory".into()),
                numbers: Numbers::default(),
                ..records[0].clone()
            };
            records[1] = TrialRecord {
                status: Status::Unfinished,
                seconds: None,
                numbers: Numbers::default(),
                ..records[1].clone()
            };
        };
        check(
            Grid { seeds: &[1], ..GRID },
            change,
            expect![[r#"
            trial                   best test  final test  train loss         status    time
            explode adam seed=1        22.00%           -           -  diverged at 6  2m 30s
            explode sgd seed=1         15.00%           -           -  diverged at 6  1m 40s
            triangular sgd seed=1           -           -           -         failed    0.2s
            triangular adam seed=1          -           -           -     unfinished       -
            4 trials: 0 finished, 2 diverged, 1 failed, 1 unfinished
            failed: triangular sgd seed=1: no memory
        "#]],
        );
    }

    #[test]
    fn without_accuracy_the_lower_loss_is_better() {
        let change = |records: &mut Vec<TrialRecord>| {
            for record in records {
                record.numbers.best_test_accuracy = None;
                record.numbers.final_test_accuracy = None;
            }
        };
        check(
            Grid { policies: &["triangular"], ..GRID },
            change,
            expect![[r#"
            trial                   best test  final test  train loss    status    time
            triangular adam seed=2          -           -      0.7900  finished  2m 30s
            triangular adam seed=1          -           -      0.8600  finished  1m 40s
            triangular sgd seed=2           -           -      0.9300  finished     50s
            triangular sgd seed=1           -           -      1.0000  finished    0.2s
            4 trials: 4 finished
        "#]],
        );
    }

    #[test]
    fn of_many_trials_the_best_twenty_are_listed() {
        let seeds: Vec<i64> = (0..16).collect();
        check(
            Grid { policies: &["triangular"], max_lrs: &[0.5], seeds: &seeds, ..GRID },
            |_| {},
            expect![[r#"
            trial                               best test  final test  train loss    status     time
            triangular sgd seed=14 max_lr=0.5      99.00%      98.00%      0.0200  finished  11m 40s
            triangular adam seed=12 max_lr=0.5     97.00%      96.00%      0.0400  finished  23m 20s
            triangular sgd seed=13 max_lr=0.5      92.00%      91.00%      0.0900  finished  10m 50s
            triangular adam seed=11 max_lr=0.5     90.00%      89.00%      0.1100  finished  22m 30s
            triangular sgd seed=12 max_lr=0.5      85.00%      84.00%      0.1600  finished      10m
            triangular adam seed=10 max_lr=0.5     83.00%      82.00%      0.1800  finished  21m 40s
            triangular sgd seed=11 max_lr=0.5      78.00%      77.00%      0.2300  finished   9m 10s
            triangular adam seed=9 max_lr=0.5      76.00%      75.00%      0.2500  finished  20m 50s
            triangular sgd seed=10 max_lr=0.5      71.00%      70.00%      0.3000  finished   8m 20s
            triangular adam seed=8 max_lr=0.5      69.00%      68.00%      0.3200  finished      20m
            triangular sgd seed=9 max_lr=0.5       64.00%      63.00%      0.3700  finished   7m 30s
            triangular adam seed=7 max_lr=0.5      62.00%      61.00%      0.3900  finished  19m 10s
            triangular sgd seed=8 max_lr=0.5       57.00%      56.00%      0.4400  finished   6m 40s
            triangular adam seed=6 max_lr=0.5      55.00%      54.00%      0.4600  finished  18m 20s
            triangular sgd seed=7 max_lr=0.5       50.00%      49.00%      0.5100  finished   5m 50s
            triangular adam seed=5 max_lr=0.5      48.00%      47.00%      0.5300  finished  17m 30s
            triangular sgd seed=6 max_lr=0.5       43.00%      42.00%      0.5800  finished       5m
            triangular adam seed=4 max_lr=0.5      41.00%      40.00%      0.6000  finished  16m 40s
            triangular sgd seed=5 max_lr=0.5       36.00%      35.00%      0.6500  finished   4m 10s
            triangular adam seed=3 max_lr=0.5      34.00%      33.00%      0.6700  finished  15m 50s
            ... and 12 more
            32 trials: 32 finished

            mean over seeds             final test  deviation   n  diverged
            triangular max_lr=0.5 sgd       46.25%      32.18  16         0
            triangular max_lr=0.5 adam      45.75%      30.26  16         0
        "#]],
        );
    }
}
