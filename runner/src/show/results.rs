//! The table that a run ends with: trials best first, and means over seeds.

use std::fmt::Write as _;

use clr_plan::Plan;
use clr_plan::names::{Names, SEEDS};
use clr_spec::Keep;
use clr_store::origins::Several;
use clr_store::summary::{self, Cell, Means, Sample, Summary};
use clr_store::{Status, TrialResult};
use clr_terminal::columns::{self, Column};
use clr_terminal::terminal::Terminal;
use clr_terminal::words::{self, thousands};

/// The table of trials, the means over seeds and where everything was written.
pub fn results(summary: &Summary, terminal: &Terminal) -> String {
    let (table, folder) = (text(&summary.plan, summary.results(), terminal), summary.folder.display());
    let rows = summary.rows();
    if rows == 0 {
        return format!("{table}no trial has ended yet; what was saved is in {folder}\n");
    }
    let (rows, size) = (words::counted(rows as usize, "row"), words::bytes(summary.bytes()));
    format!("{table}\n{rows}, {size} in {folder}\n")
}

/// A note on the weights of trials that are over: that they were not kept, and how to get them.
pub fn weights(summary: &Summary) -> Option<String> {
    let lacking = summary.without_weights();
    let plan = &summary.plan;
    let handle = Names::of(plan).handle(plan.trials[lacking.first()?.trial].id);
    let again = format!("`clr-run export {} --trial {handle}`", summary.folder.display());
    Some(match (plan.checkpointing.keep, lacking.len()) {
        (Keep::Nothing, _) => format!(
            "weights were not kept: {again} trains a trial again to get them; [checkpoint] keep = \"last\" keeps those of trials \
             to come"
        ),
        (_, count) => {
            let have = if count == 1 { "has" } else { "have" };
            let trials = words::counted(count, "finished trial");
            format!(
                "{trials} {have} no weights, from before [checkpoint] keep was set: {again} trains one again to get them"
            )
        }
    })
}

/// With more trials than this only the best are listed.
const LISTED_WHOLE: usize = 30;
const LISTED_BEST: usize = 20;

/// The table of trials, best first, and the means over seeds if there are several. Trials that have nothing to show are counted.
///
/// Best is what is best on the validation split where a trial has one, and what it then has on test stands beside it: what is
/// chosen on test flatters there.
fn text<'m>(plan: &Plan, results: impl Iterator<Item = TrialResult<'m>> + Clone, terminal: &Terminal) -> String {
    let names = Names::of(plan);
    let mut text = trials(plan, &names, results.clone(), terminal);
    text += &means(plan, &names, results, terminal);
    text
}

fn trials<'m>(
    plan: &Plan,
    names: &Names,
    results: impl Iterator<Item = TrialResult<'m>> + Clone,
    terminal: &Terminal,
) -> String {
    let ranked = summary::ranked(plan, results.clone());
    let listed = &ranked[..if ranked.len() > LISTED_WHOLE { LISTED_BEST } else { ranked.len() }];

    let trial = |result: &TrialResult<'_>| &plan.trials[result.trial];
    let column = |of: &dyn Fn(&TrialResult<'_>) -> String| -> Vec<String> { listed.iter().map(of).collect() };
    let mut columns = vec![Column::left("trial", 0, column(&|result| names.handle(trial(result).id)))];
    columns.extend(names.columns(listed.iter().map(|result| &trial(result).axes[..]), &[]));
    let validated = plan.trials.iter().filter(|trial| summary::is_validated(trial)).count();
    let best_test = column(&|it| percent(it.numbers.best_test_accuracy.map(f64::from)));
    if validated > 0 {
        let best = column(&|it| percent(it.numbers.best_validation_accuracy.map(f64::from)));
        columns.push(Column::right("best validation", 0, best));
        columns.push(Column::right("test at best", 0, best_test));
        let last = column(&|it| percent(it.numbers.final_validation_accuracy.map(f64::from)));
        columns.push(Column::right("final validation", 4, last));
    } else {
        columns.push(Column::right("best test", 0, best_test));
    }
    columns.extend([
        Column::right("final test", 2, column(&final_test)),
        Column::right("train loss", 3, column(&|it| it.numbers.final_train_loss.map_or_else(dash, short_loss))),
    ]);
    if listed.iter().any(|result| result.numbers.diverged_at.is_some()) {
        let at = |result: &TrialResult<'_>| result.numbers.diverged_at.map_or(String::new(), |at| at.to_string());
        columns.push(Column::right("diverged at", 4, column(&at)));
    }
    let not_finite = |result: &TrialResult<'_>| result.numbers.non_finite_losses.filter(|&count| count > 0);
    // Where divergence stops nothing, a trial comes to its end all the same.
    if listed.iter().any(|result| result.numbers.diverged_at.is_none() && not_finite(result).is_some()) {
        let losses = |result: &TrialResult<'_>| {
            let first = result.numbers.first_non_finite_loss.map_or(String::new(), |first| format!(" from {first}"));
            not_finite(result).map_or(String::new(), |count| format!("{count}{first}"))
        };
        columns.push(Column::right("losses not finite", 1, column(&losses)));
    }
    columns.push(Column::right("time", 5, column(&|result| result.seconds.map_or_else(dash, words::duration))));

    let mut text = String::new();
    if !listed.is_empty() {
        text += &names.common().map_or(String::new(), |common| words::wrapped(&common, terminal.width, 2) + "\n");
        text += &columns::text(&columns, terminal);
    }
    if listed.len() < ranked.len() {
        let more = thousands((ranked.len() - listed.len()) as u128);
        let _ = writeln!(text, "and {more} more, which are in trials.parquet");
    }
    if validated > 0 && !listed.is_empty() {
        let others = if validated < plan.trials.len() { ", of trials without one on test" } else { "" };
        let chosen = format!("best and order are chosen on the validation split{others}");
        let _ = writeln!(text, "{}", words::wrapped(&chosen, terminal.width, 2));
    }
    let _ = writeln!(text, "{}", words::wrapped(&counts(results.clone()), terminal.width, 2));
    if let Some(Several { by, list, switch }) = summary::mixed(plan, results.clone()).said() {
        let said = format!("trained by {by}, which are not averaged together: {list}; {switch} those of others again");
        let _ = writeln!(text, "{}", words::wrapped(&said, terminal.width, 2));
    }
    let failed = results.filter(|result| result.status.is_failure() || result.is_interrupted());
    for result in failed.clone().take(LISTED_BEST) {
        let message = result.error.unwrap_or("for no stated reason");
        let (handle, label) = (names.handle(trial(&result).id), names.words(&trial(&result).axes));
        let what = if result.is_interrupted() { "interrupted" } else { result.status.name() };
        let failure = format!("{what}: {handle} {label}: {message}");
        let _ = writeln!(text, "{}", words::wrapped(&failure, terminal.width, 2));
    }
    let more = failed.count().saturating_sub(LISTED_BEST);
    if more > 0 {
        let _ = writeln!(text, "and {} more failed", thousands(more as u128));
    }
    text
}

/// Of a trial that did not come to its end, what became of it.
fn final_test(result: &TrialResult<'_>) -> String {
    match result.status {
        Status::Finished => percent(result.numbers.final_test_accuracy.map(f64::from)),
        status => status.name().to_owned(),
    }
}

/// Losses of any size in few characters.
fn short_loss(loss: f64) -> String {
    if loss.abs() < 1e5 { format!("{loss:.4}") } else { format!("{loss:.3e}") }
}

fn counts<'m>(results: impl Iterator<Item = TrialResult<'m>> + Clone) -> String {
    let count = |status: Status| results.clone().filter(|result| result.status == status).count();
    let statuses = [Status::Finished, Status::Diverged, Status::Failed, Status::Crashed];
    let mut parts: Vec<String> = statuses
        .into_iter()
        .map(|status| (status, count(status)))
        .filter(|&(status, count)| count > 0 || status == Status::Finished)
        .map(|(status, count)| format!("{} {}", thousands(count as u128), status.name()))
        .collect();
    let left = count(Status::Unfinished);
    if left > 0 {
        parts.push(format!("{} unfinished; run the same command again to go on", thousands(left as u128)));
    }
    format!("{}: {}", words::counted(results.count(), "trial"), parts.join(", "))
}

/// Mean final accuracy of trials that differ in their seeds alone, the best first by the split that chooses; empty if none do.
fn means<'m>(
    plan: &Plan,
    names: &Names,
    results: impl Iterator<Item = TrialResult<'m>> + Clone,
    terminal: &Terminal,
) -> String {
    let Some(Means { cells, empty, has_origins }) = summary::means(plan, results) else { return String::new() };
    let listed = &cells[..if cells.len() > LISTED_WHOLE { LISTED_BEST } else { cells.len() }];
    let column = |of: &dyn Fn(&Cell) -> String| -> Vec<String> { listed.iter().map(of).collect() };
    let mut columns = names.columns(listed.iter().map(|cell| &plan.trials[cell.first].axes[..]), &SEEDS);
    if has_origins {
        columns.push(Column::left("trained by", 0, column(&|cell| cell.origin.clone())));
    }
    let deviation = |sample: &Sample| sample.deviation().map_or_else(dash, |it| format!("{:.2}", 100.0 * it));
    if listed.iter().any(|cell| cell.is_validated) {
        columns.push(Column::right("final validation", 0, column(&|cell| percent(cell.validation.mean()))));
        columns.push(Column::right("deviation", 1, column(&|cell| deviation(&cell.validation))));
    }
    columns.extend([
        Column::right("final test", 0, column(&|cell| percent(cell.test.mean()))),
        Column::right("deviation", 1, column(&|cell| deviation(&cell.test))),
        Column::right("n", 0, column(&|cell| cell.count().to_string())),
        Column::right("diverged", 2, column(&|cell| cell.diverged.to_string())),
    ]);
    let mut text = format!("\nmeans over seeds\n{}", columns::text(&columns, terminal));
    if listed.len() < cells.len() {
        let _ = writeln!(text, "and {} more", thousands((cells.len() - listed.len()) as u128));
    }
    if empty > 0 {
        let have = if empty == 1 { "has" } else { "have" };
        let _ = writeln!(text, "{} {have} no finished trial", words::counted(empty, "other cell"));
    }
    text
}

fn percent(fraction: Option<f64>) -> String {
    fraction.map_or_else(dash, |fraction| format!("{:.2}%", 100.0 * fraction))
}

fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clr_plan::example::{Grid, MANY_AXES, planned};
    use clr_plan::{DataPlan, Shape};
    use clr_store::Numbers;
    use clr_store::manifest::TrialRecord;
    use expect_test::{Expect, expect};

    use super::*;

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
        let results = records.iter().enumerate().map(|(trial, record)| record.result(trial));
        expected.assert_eq(&text(&plan, results, &Terminal::default()));
    }

    /// Trials of which some have a validation split, on which those are better that are worse on test.
    #[track_caller]
    fn check_validated(validated: &[usize], expected: Expect) {
        let mut plan = Grid { policies: &["triangular"], ..GRID }.plan();
        let shape = (*plan.trials[0].shape).clone();
        let data = DataPlan { validation_count: 10, ..shape.data.clone() };
        let with_split = Arc::new(Shape { data, ..shape });
        let mut records = records(&plan);
        for &trial in validated {
            Arc::make_mut(&mut plan.trials)[trial].shape = Arc::clone(&with_split);
            let numbers = &mut records[trial].numbers;
            numbers.final_validation_accuracy = numbers.final_test_accuracy.map(|accuracy| 0.9 - accuracy);
            numbers.best_validation_accuracy = numbers.best_test_accuracy.map(|accuracy| 1.0 - accuracy);
        }
        let results = records.iter().enumerate().map(|(trial, record)| record.result(trial));
        expected.assert_eq(&text(&plan, results, &Terminal::default()));
    }

    #[test]
    fn with_a_validation_split_trials_are_ranked_by_it_and_test_stands_beside() {
        check_validated(
            &[0, 1, 2, 3],
            expect![[r#"
            all trials: policy=triangular
            trial  optimizer  seed  best validation  test at best  final validation  final test  train loss    time
            01d5   sgd           1           99.00%         1.00%            90.00%       0.00%      1.0000    0.2s
            ef24   sgd           2           92.00%         8.00%            83.00%       7.00%      0.9300     50s
            207c   adam          1           85.00%        15.00%            76.00%      14.00%      0.8600  1m 40s
            223f   adam          2           78.00%        22.00%            69.00%      21.00%      0.7900  2m 30s
            best and order are chosen on the validation split
            4 trials: 4 finished

            means over seeds
            optimizer  final validation  deviation  final test  deviation  n  diverged
            sgd                  86.50%       4.95       3.50%       4.95  2         0
            adam                 72.50%       4.95      17.50%       4.95  2         0
        "#]],
        );
    }

    #[test]
    fn where_some_trials_have_a_validation_split_it_is_said_which_choose_on_what() {
        check_validated(
            &[0, 1],
            expect![[r#"
            all trials: policy=triangular
            trial  optimizer  seed  best validation  test at best  final validation  final test  train loss    time
            01d5   sgd           1           99.00%         1.00%            90.00%       0.00%      1.0000    0.2s
            ef24   sgd           2           92.00%         8.00%            83.00%       7.00%      0.9300     50s
            223f   adam          2                -        22.00%                 -      21.00%      0.7900  2m 30s
            207c   adam          1                -        15.00%                 -      14.00%      0.8600  1m 40s
            best and order are chosen on the validation split, of trials without one on test
            4 trials: 4 finished

            means over seeds
            optimizer  final validation  deviation  final test  deviation  n  diverged
            sgd                  86.50%       4.95       3.50%       4.95  2         0
            adam                      -          -      17.50%       4.95  2         0
        "#]],
        );
    }

    #[test]
    fn what_different_builds_of_a_plugin_trained_is_said_and_never_averaged_together() {
        let builds = |records: &mut Vec<TrialRecord>| {
            for (index, record) in records.iter_mut().enumerate() {
                record.numerics = Some("example/1 cpu".into());
                record.build = [Some("0123456789abcdef"), Some("fedcba9876543210"), None][index % 3].map(Into::into);
            }
        };
        let grid = Grid { policies: &["triangular"], optimizers: &["sgd"], seeds: &[1, 2, 3, 4, 5, 6], ..GRID };
        check(
            grid,
            builds,
            expect![[r#"
                all trials: policy=triangular  optimizer=sgd
                trial  seed  best test  final test  train loss    time
                78ba      6     36.00%      35.00%      0.6500  4m 10s
                fcfd      5     29.00%      28.00%      0.7200  3m 20s
                b694      4     22.00%      21.00%      0.7900  2m 30s
                2556      3     15.00%      14.00%      0.8600  1m 40s
                ef24      2      8.00%       7.00%      0.9300     50s
                01d5      1      1.00%       0.00%      1.0000    0.2s
                6 trials: 6 finished
                trained by different revisions or builds of a plugin, which are not averaged together: example/1 cpu 01234567 (2 trials), example/1 cpu fedcba98 (2 trials), example/1 cpu unknown (2 trials); --rerun-other-builds trains those of others again

                means over seeds
                trained by              final test  deviation  n  diverged
                example/1 cpu unknown       24.50%      14.85  2         0
                example/1 cpu fedcba98      17.50%      14.85  2         0
                example/1 cpu 01234567      10.50%      14.85  2         0
            "#]],
        );
        // Of one build there is nothing to say.
        let one = |records: &mut Vec<TrialRecord>| records.iter_mut().for_each(|it| it.build = Some("0123".into()));
        let plan = grid.plan();
        let mut records = records(&plan);
        one(&mut records);
        let results = records.iter().enumerate().map(|(trial, record)| record.result(trial));
        assert!(!text(&plan, results, &Terminal::default()).contains("build"));
    }

    #[test]
    fn what_different_instruction_sets_trained_is_said_and_never_averaged_together() {
        let numerics = |records: &mut Vec<TrialRecord>| {
            for (index, record) in records.iter_mut().enumerate() {
                record.numerics = Some(["example/1 cpu-avx2", "example/1 cpu-avx512"][index / 2].into());
                record.build = Some("0123456789abcdef".into());
            }
        };
        let grid = Grid { policies: &["triangular"], optimizers: &["sgd"], seeds: &[1, 2, 3, 4], ..GRID };
        check(
            grid,
            numerics,
            expect![[r#"
            all trials: policy=triangular  optimizer=sgd
            trial  seed  best test  final test  train loss    time
            b694      4     22.00%      21.00%      0.7900  2m 30s
            2556      3     15.00%      14.00%      0.8600  1m 40s
            ef24      2      8.00%       7.00%      0.9300     50s
            01d5      1      1.00%       0.00%      1.0000    0.2s
            4 trials: 4 finished
            trained by different instruction sets or devices, which are not averaged together: example/1 cpu-avx2 01234567 (2 trials), example/1 cpu-avx512 01234567 (2 trials); --rerun-other-numerics trains those of others again

            means over seeds
            trained by                     final test  deviation  n  diverged
            example/1 cpu-avx512 01234567      17.50%       4.95  2         0
            example/1 cpu-avx2 01234567         3.50%       4.95  2         0
        "#]],
        );
    }

    #[test]
    fn trials_are_listed_best_first_and_averaged_over_seeds() {
        check(
            GRID,
            |_| {},
            expect![[r#"
                trial  policy      optimizer  seed  best test  final test  train loss  diverged at    time
                274f   explode     adam          2     50.00%    diverged           -            6  5m 50s
                b68a   explode     adam          1     43.00%    diverged           -            6      5m
                751a   explode     sgd           2     36.00%    diverged           -            6  4m 10s
                43f3   explode     sgd           1     29.00%    diverged           -            6  3m 20s
                223f   triangular  adam          2     22.00%      21.00%      0.7900               2m 30s
                207c   triangular  adam          1     15.00%      14.00%      0.8600               1m 40s
                ef24   triangular  sgd           2      8.00%       7.00%      0.9300                  50s
                01d5   triangular  sgd           1      1.00%       0.00%      1.0000                 0.2s
                8 trials: 4 finished, 4 diverged

                means over seeds
                policy      optimizer  final test  deviation  n  diverged
                triangular  adam           17.50%       4.95  2         0
                triangular  sgd             3.50%       4.95  2         0
                explode     sgd                 -          -  0         2
                explode     adam                -          -  0         2
            "#]],
        );
    }

    #[track_caller]
    fn check_many_axes(width: usize, expected: Expect) {
        let plan = planned(MANY_AXES);
        let mut records = records(&plan);
        for (index, record) in records.iter_mut().enumerate() {
            if index % 9 == 0 {
                record.status = Status::Diverged;
                record.numbers.diverged_at = Some(1234);
            }
        }
        records.truncate(40);
        let left = TrialRecord::default();
        let all = records.iter().chain(std::iter::repeat(&left)).take(plan.trials.len());
        let text = text(&plan, all.enumerate().map(|(trial, record)| record.result(trial)), &Terminal::plain(width));
        assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
        expected.assert_eq(&text);
    }

    #[test]
    fn results_of_many_axes_fit_80_columns() {
        check_many_axes(
            80,
            expect![[r#"
                                                    step_          weight_        best    final
                trial policy      optimizer  max_lr  size momentum   decay seed   test     test
                206d  triangular2 nesterov     0.01  4000     0.85       0    3 99.00%   98.00%
                fbc2  triangular2 nesterov  0.05477  2000     0.85  0.0005    2 97.00%   96.00%
                cd7d  triangular2 nesterov     0.01  4000     0.85       0    2 92.00%   91.00%
                c649  triangular2 nesterov  0.05477  2000     0.85  0.0005    1 90.00% diverged
                c85a  triangular2 nesterov     0.01  4000     0.85       0    1 85.00%   84.00%
                d259  triangular2 nesterov  0.05477  2000     0.85       0    3 83.00%   82.00%
                5b9d  triangular2 nesterov     0.01  2000      0.9  0.0005    3 78.00%   77.00%
                8890  triangular2 nesterov  0.05477  2000     0.85       0    2 76.00%   75.00%
                bfa3  triangular2 nesterov  0.05477  4000     0.85  0.0005    1 74.00%   73.00%
                c7c7  triangular2 nesterov     0.01  2000      0.9  0.0005    2 71.00%   70.00%
                40f1  triangular2 nesterov  0.05477  2000     0.85       0    1 69.00%   68.00%
                ba28  triangular2 nesterov  0.05477  4000     0.85       0    3 67.00%   66.00%
                36e3  triangular2 nesterov     0.01  2000      0.9  0.0005    1 64.00% diverged
                79c5  triangular2 nesterov     0.01  4000      0.9  0.0005    3 62.00%   61.00%
                afd1  triangular2 nesterov  0.05477  4000     0.85       0    2 60.00%   59.00%
                cdbc  triangular2 nesterov     0.01  2000      0.9       0    3 57.00%   56.00%
                3011  triangular2 nesterov     0.01  4000      0.9  0.0005    2 55.00%   54.00%
                8ab5  triangular2 nesterov  0.05477  4000     0.85       0    1 53.00% diverged
                d07a  triangular2 nesterov     0.01  2000      0.9       0    2 50.00%   49.00%
                d064  triangular2 nesterov     0.01  4000      0.9  0.0005    1 48.00%   47.00%
                no room for: train loss, diverged at, time
                and 20 more, which are in trials.parquet
                108 trials: 35 finished, 5 diverged, 68 unfinished; run the same command again
                  to go on

                means over seeds
                                              step_          weight_  final
                policy      optimizer  max_lr  size momentum   decay   test deviation n diverged
                triangular2 nesterov     0.01  4000     0.85       0 91.00%      7.00 3        0
                triangular2 nesterov  0.05477  2000     0.85       0 75.00%      7.00 3        0
                triangular2 nesterov  0.05477  4000     0.85  0.0005 73.00%         - 1        0
                triangular2 nesterov     0.01  2000      0.9  0.0005 70.00%      7.00 3        1
                triangular2 nesterov  0.05477  2000     0.85  0.0005 62.67%     51.79 3        1
                triangular2 nesterov  0.05477  4000     0.85       0 59.00%      7.00 3        1
                triangular2 nesterov     0.01  4000      0.9  0.0005 54.00%      7.00 3        0
                triangular2 nesterov     0.01  2000      0.9       0 49.00%      7.00 3        0
                triangular2 nesterov  0.05477  2000      0.9  0.0005 38.00%      7.00 3        0
                triangular2 nesterov     0.01  4000      0.9       0 33.00%      7.00 3        1
                triangular2 nesterov     0.01  2000     0.85  0.0005 28.00%      7.00 3        0
                triangular2 nesterov  0.05477  2000      0.9       0 17.00%      7.00 3        0
                triangular2 nesterov     0.01  4000     0.85  0.0005 12.00%      7.00 3        0
                triangular2 nesterov     0.01  2000     0.85       0  7.00%      7.00 3        1
                22 other cells have no finished trial
            "#]],
        );
    }

    #[test]
    fn results_of_many_axes_have_more_room_on_200_columns() {
        check_many_axes(
            200,
            expect![[r#"
                trial  policy       optimizer   max_lr  step_size  momentum  weight_decay  seed  best test  final test  train loss  diverged at     time
                206d   triangular2  nesterov      0.01       4000      0.85             0     3     99.00%      98.00%      0.0200               11m 40s
                fbc2   triangular2  nesterov   0.05477       2000      0.85        0.0005     2     97.00%      96.00%      0.0400               23m 20s
                cd7d   triangular2  nesterov      0.01       4000      0.85             0     2     92.00%      91.00%      0.0900               10m 50s
                c649   triangular2  nesterov   0.05477       2000      0.85        0.0005     1     90.00%    diverged      0.1100         1234  22m 30s
                c85a   triangular2  nesterov      0.01       4000      0.85             0     1     85.00%      84.00%      0.1600                   10m
                d259   triangular2  nesterov   0.05477       2000      0.85             0     3     83.00%      82.00%      0.1800               21m 40s
                5b9d   triangular2  nesterov      0.01       2000       0.9        0.0005     3     78.00%      77.00%      0.2300                9m 10s
                8890   triangular2  nesterov   0.05477       2000      0.85             0     2     76.00%      75.00%      0.2500               20m 50s
                bfa3   triangular2  nesterov   0.05477       4000      0.85        0.0005     1     74.00%      73.00%      0.2700               32m 30s
                c7c7   triangular2  nesterov      0.01       2000       0.9        0.0005     2     71.00%      70.00%      0.3000                8m 20s
                40f1   triangular2  nesterov   0.05477       2000      0.85             0     1     69.00%      68.00%      0.3200                   20m
                ba28   triangular2  nesterov   0.05477       4000      0.85             0     3     67.00%      66.00%      0.3400               31m 40s
                36e3   triangular2  nesterov      0.01       2000       0.9        0.0005     1     64.00%    diverged      0.3700         1234   7m 30s
                79c5   triangular2  nesterov      0.01       4000       0.9        0.0005     3     62.00%      61.00%      0.3900               19m 10s
                afd1   triangular2  nesterov   0.05477       4000      0.85             0     2     60.00%      59.00%      0.4100               30m 50s
                cdbc   triangular2  nesterov      0.01       2000       0.9             0     3     57.00%      56.00%      0.4400                6m 40s
                3011   triangular2  nesterov      0.01       4000       0.9        0.0005     2     55.00%      54.00%      0.4600               18m 20s
                8ab5   triangular2  nesterov   0.05477       4000      0.85             0     1     53.00%    diverged      0.4800         1234      30m
                d07a   triangular2  nesterov      0.01       2000       0.9             0     2     50.00%      49.00%      0.5100                5m 50s
                d064   triangular2  nesterov      0.01       4000       0.9        0.0005     1     48.00%      47.00%      0.5300               17m 30s
                and 20 more, which are in trials.parquet
                108 trials: 35 finished, 5 diverged, 68 unfinished; run the same command again to go on

                means over seeds
                policy       optimizer   max_lr  step_size  momentum  weight_decay  final test  deviation  n  diverged
                triangular2  nesterov      0.01       4000      0.85             0      91.00%       7.00  3         0
                triangular2  nesterov   0.05477       2000      0.85             0      75.00%       7.00  3         0
                triangular2  nesterov   0.05477       4000      0.85        0.0005      73.00%          -  1         0
                triangular2  nesterov      0.01       2000       0.9        0.0005      70.00%       7.00  3         1
                triangular2  nesterov   0.05477       2000      0.85        0.0005      62.67%      51.79  3         1
                triangular2  nesterov   0.05477       4000      0.85             0      59.00%       7.00  3         1
                triangular2  nesterov      0.01       4000       0.9        0.0005      54.00%       7.00  3         0
                triangular2  nesterov      0.01       2000       0.9             0      49.00%       7.00  3         0
                triangular2  nesterov   0.05477       2000       0.9        0.0005      38.00%       7.00  3         0
                triangular2  nesterov      0.01       4000       0.9             0      33.00%       7.00  3         1
                triangular2  nesterov      0.01       2000      0.85        0.0005      28.00%       7.00  3         0
                triangular2  nesterov   0.05477       2000       0.9             0      17.00%       7.00  3         0
                triangular2  nesterov      0.01       4000      0.85        0.0005      12.00%       7.00  3         0
                triangular2  nesterov      0.01       2000      0.85             0       7.00%       7.00  3         1
                22 other cells have no finished trial
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
                all trials: seed=1
                trial  policy   optimizer  best test  final test  train loss  diverged at    time
                b68a   explode  adam          22.00%    diverged           -            6  2m 30s
                43f3   explode  sgd           15.00%    diverged           -            6  1m 40s
                4 trials: 0 finished, 2 diverged, 1 failed, 1 unfinished; run the same command again to go on
                failed: 01d5 triangular sgd: no memory
            "#]],
        );
    }

    #[test]
    fn an_interrupted_trial_is_told_with_its_reason_and_one_that_was_only_stopped_is_not() {
        let text_of = |error: Option<&str>| {
            let plan = Grid { seeds: &[1], ..GRID }.plan();
            let mut records = records(&plan);
            records[0] = TrialRecord { error: error.map(Into::into), ..TrialRecord::default() };
            let results = records.iter().enumerate().map(|(trial, record)| record.result(trial));
            text(&plan, results, &Terminal::default())
        };
        let interrupted = text_of(Some("no room"));
        assert!(interrupted.contains("interrupted: 01d5 triangular sgd: no room\n"), "{interrupted}");
        assert!(!text_of(None).contains("interrupted"));
    }

    #[test]
    fn losses_that_were_not_finite_are_counted_from_the_first() {
        let change = |records: &mut Vec<TrialRecord>| {
            let numbers = &mut records[0].numbers;
            (numbers.non_finite_losses, numbers.first_non_finite_loss) = (Some(3), Some(1));
        };
        check(
            Grid { policies: &["triangular"], seeds: &[1], ..GRID },
            change,
            expect![[r#"
            all trials: policy=triangular  seed=1
            trial  optimizer  best test  final test  train loss  losses not finite  time
            207c   adam           8.00%       7.00%      0.9300                      50s
            01d5   sgd            1.00%       0.00%      1.0000           3 from 1  0.2s
            2 trials: 2 finished
        "#]],
        );
    }

    #[test]
    fn of_an_interrupted_run_only_what_has_an_end_is_averaged() {
        check(
            GRID,
            |records| records[1..].fill(TrialRecord::default()),
            expect![[r#"
            trial  policy      optimizer  seed  best test  final test  train loss  time
            01d5   triangular  sgd           1      1.00%       0.00%      1.0000  0.2s
            8 trials: 1 finished, 7 unfinished; run the same command again to go on

            means over seeds
            policy      optimizer  final test  deviation  n  diverged
            triangular  sgd             0.00%          -  1         0
            3 other cells have no finished trial
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
                all trials: policy=triangular
                trial  optimizer  seed  best test  final test  train loss    time
                223f   adam          2          -           -      0.7900  2m 30s
                207c   adam          1          -           -      0.8600  1m 40s
                ef24   sgd           2          -           -      0.9300     50s
                01d5   sgd           1          -           -      1.0000    0.2s
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
                all trials: policy=triangular  max_lr=0.5
                trial  optimizer  seed  best test  final test  train loss     time
                5c20   sgd          14     99.00%      98.00%      0.0200  11m 40s
                19e3   adam         12     97.00%      96.00%      0.0400  23m 20s
                b8fb   sgd          13     92.00%      91.00%      0.0900  10m 50s
                cf17   adam         11     90.00%      89.00%      0.1100  22m 30s
                be35   sgd          12     85.00%      84.00%      0.1600      10m
                b06d   adam         10     83.00%      82.00%      0.1800  21m 40s
                2653   sgd          11     78.00%      77.00%      0.2300   9m 10s
                3397   adam          9     76.00%      75.00%      0.2500  20m 50s
                4273   sgd          10     71.00%      70.00%      0.3000   8m 20s
                0835   adam          8     69.00%      68.00%      0.3200      20m
                2074   sgd           9     64.00%      63.00%      0.3700   7m 30s
                7382   adam          7     62.00%      61.00%      0.3900  19m 10s
                21f0   sgd           8     57.00%      56.00%      0.4400   6m 40s
                dd3e   adam          6     55.00%      54.00%      0.4600  18m 20s
                acf6   sgd           7     50.00%      49.00%      0.5100   5m 50s
                501f   adam          5     48.00%      47.00%      0.5300  17m 30s
                21e1   sgd           6     43.00%      42.00%      0.5800       5m
                87c2   adam          4     41.00%      40.00%      0.6000  16m 40s
                b7d7   sgd           5     36.00%      35.00%      0.6500   4m 10s
                b9ab   adam          3     34.00%      33.00%      0.6700  15m 50s
                and 12 more, which are in trials.parquet
                32 trials: 32 finished

                means over seeds
                optimizer  final test  deviation   n  diverged
                sgd            46.25%      32.18  16         0
                adam           45.75%      30.26  16         0
            "#]],
        );
    }
}
