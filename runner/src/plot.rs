//! Schedules for people: what `clr-run schedule SPEC` prints, a table of values or plots for the terminal.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;

use clr_plan::{AxisValue, Plan, Trial, names};
use clr_schedule::Schedule;
use textplots::{Chart, Plot as _, Shape};

/// Writes every scheduled value as CSV: `trial,label,policy,optimizer,iteration` and a column for each hyper-parameter
/// that some trial schedules, empty for trials that do not.
///
/// Of each trial, every `every`-th iteration from 0 on and the last one. Floats are printed so that reading them gives
/// the same bits.
pub fn csv(plan: &Plan, every: u64, out: &mut impl io::Write) -> io::Result<()> {
    let mut hypers: Vec<&str> = Vec::new();
    for (name, _) in plan.trials.iter().flat_map(Trial::schedules) {
        if !hypers.contains(&name) {
            hypers.push(name);
        }
    }

    let mut out = csv::Writer::from_writer(out);
    out.write_record(["trial", "label", "policy", "optimizer", "iteration"].iter().chain(&hypers))?;
    for trial in plan.trials.iter() {
        let Some(last) = trial.iterations.checked_sub(1) else { continue };
        let id = trial.id.to_string();
        let own = [&id, &*trial.label, axis(plan, trial, "policy"), axis(plan, trial, "optimizer")];
        let columns: Vec<Option<&Schedule>> = hypers.iter().map(|name| schedule_of(trial, name)).collect();
        let mut step = 0;
        loop {
            own.iter().try_for_each(|field| out.write_field(field))?;
            out.write_field(step.to_string())?;
            for schedule in &columns {
                out.write_field(schedule.map_or(String::new(), |schedule| format!("{:?}", schedule.at(step))))?;
            }
            out.write_record(None::<&[u8]>)?;
            if step == last {
                break;
            }
            step = step.saturating_add(every.max(1)).min(last);
        }
    }
    out.flush()
}

/// Draws the hyper-parameter `hyper` over the iterations, once for each distinct course it takes, at most `limit` of
/// them, `width` characters wide (40 at least). The title of a plot is what its trials' labels have in common.
pub fn plot(plan: &Plan, hyper: &str, width: usize, limit: usize) -> String {
    let courses = distinct(plan, hyper);
    if courses.is_empty() {
        return format!("no trial schedules `{hyper}`\n");
    }
    let mut text = String::new();
    for course in courses.iter().take(limit) {
        let title = common_words(&course.labels);
        // Writing to a string cannot fail.
        let _ = match course.labels.len() {
            1 => writeln!(text, "{title}"),
            count => writeln!(text, "{title} ({count} trials)"),
        };
        text.push_str(&draw(course, hyper, width));
        text.push('\n');
    }
    if courses.len() > limit {
        let (more, all) = (courses.len() - limit, courses.len());
        let _ = writeln!(text, "and {more} more that differ in `{hyper}`; --limit {all} plots all");
    }
    text
}

/// A schedule over so many iterations, and the labels of the trials that follow it.
struct Course<'a> {
    schedule: &'a Schedule,
    iterations: u64,
    labels: Vec<String>,
}

/// In order of first appearance.
fn distinct<'a>(plan: &'a Plan, hyper: &str) -> Vec<Course<'a>> {
    let mut courses: Vec<Course<'a>> = Vec::new();
    let mut seen = HashMap::new();
    for trial in plan.trials.iter().filter(|trial| trial.iterations > 0) {
        let Some(schedule) = schedule_of(trial, hyper) else { continue };
        let mut key = trial.iterations.to_le_bytes().to_vec();
        schedule.canonical(&mut key);
        let index = *seen.entry(key).or_insert_with(|| {
            courses.push(Course { schedule, iterations: trial.iterations, labels: Vec::new() });
            courses.len() - 1
        });
        courses[index].labels.push(names::short(&trial.label));
    }
    courses
}

/// Rows of characters in a plot, each four dots high.
const ROWS: usize = 8;

/// More iterations than this are sampled: enough to see every iteration of the paper's CIFAR-10 runs.
const MOST_SAMPLES: u64 = 1 << 17;

fn draw(course: &Course<'_>, hyper: &str, width: usize) -> String {
    let last = course.iterations - 1;
    let samples = course.iterations.min(MOST_SAMPLES);
    let values: Vec<f64> = (0..samples)
        .map(|sample| {
            let step = u128::from(sample) * u128::from(last) / u128::from((samples - 1).max(1));
            course.schedule.at(step as u64)
        })
        .collect();
    curve(&values, hyper, ["0", &last.to_string()], &[], width)
}

/// A mark below a curve: the place of a value, and a text.
pub type Mark<'a> = (usize, &'a str);

/// Draws `values`, the first and the last of which are at the `ends` of the axis below them, `width` characters wide (40 at
/// least). What is not finite is left out.
pub fn curve(values: &[f64], name: &str, ends: [&str; 2], marks: &[Mark<'_>], width: usize) -> String {
    let finite = values.iter().copied().filter(|value| value.is_finite());
    let (low, high) =
        finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return format!("  `{name}` is never finite\n");
    }
    let (low, high) = scale(low, high);

    let (top, bottom) = (short(high), short(low));
    let margin = top.len().max(bottom.len()).max(name.len()).max(5) + 1;
    // A character is two dots wide; the plotting library wants 32 dots at least, the longest number of iterations 40.
    let columns = width.saturating_sub(margin + 2).clamp(24, 500);
    let dots = 2 * columns - 1;
    let points = envelope(values, dots, |value| (value - low) / (high - low));
    let shape = Shape::Lines(&points);
    let mut chart = Chart::new_with_y_range(dots as u32, (4 * ROWS - 1) as u32, 0.0, dots as f32, 0.0, 1.0);
    let chart = chart.lineplot(&shape);
    chart.figures();

    let frame = chart.frame();
    let mut rows = frame.lines();
    let mut text = String::new();
    for row in 0..ROWS {
        let (label, axis) = match row {
            0 => (top.as_str(), '┤'),
            row if row == ROWS - 1 => (bottom.as_str(), '┤'),
            _ => ("", '│'),
        };
        let line = rows.next().unwrap_or("").trim_end_matches([' ', '\u{2800}']);
        let _ = writeln!(text, "{label:>margin$} {axis}{line}");
    }
    let [start, end] = ends;
    let _ = writeln!(text, "{name:>margin$} └{}", "─".repeat(columns));
    let _ = writeln!(text, "{:>margin$}  {start}{end:>rest$}", "", rest = columns.saturating_sub(start.len()));
    for (place, label) in marks {
        let column = place * (columns - 1) / (values.len().saturating_sub(1)).max(1);
        // On the other side of the arrow where there is no room for it.
        let line = match column + 2 + label.len() > columns {
            true => format!("{label:>before$} ↑", before = column.saturating_sub(1)),
            false => format!("{:>column$}↑ {label}", ""),
        };
        let _ = writeln!(text, "{:>margin$}  {line}", "");
    }
    text
}

/// The lowest and highest value in each column of dots, in the order in which they come: drawn as one line, this
/// shows every peak however many iterations share a column. `unit` maps values to [0, 1].
fn envelope(values: &[f64], dots: usize, unit: impl Fn(f64) -> f64) -> Vec<(f32, f32)> {
    let mut points = Vec::with_capacity(2 * dots);
    let mut index = 0;
    let column_of = |index: usize| match values.len() {
        1 => 0,
        count => index * dots / (count - 1),
    };
    while index < values.len() {
        let column = column_of(index);
        let (mut low, mut high) = ((index, f64::INFINITY), (index, f64::NEG_INFINITY));
        while index < values.len() && column_of(index) == column {
            let value = values[index];
            if value.is_finite() && value < low.1 {
                low = (index, value);
            }
            if value.is_finite() && value > high.1 {
                high = (index, value);
            }
            index += 1;
        }
        if low.1 <= high.1 {
            let (first, second) = if low.0 <= high.0 { (low.1, high.1) } else { (high.1, low.1) };
            points.extend([first, second].map(|value| (column as f32, unit(value) as f32)));
        }
    }
    // One iteration alone is drawn as a line, so that it is seen.
    if values.len() == 1 {
        points.extend(points.first().map(|&(_, y)| (dots as f32, y)));
    }
    points
}

/// The range of the vertical axis: from zero, unless that would waste more than half of it.
fn scale(low: f64, high: f64) -> (f64, f64) {
    if low == high {
        return match low {
            0.0 => (0.0, 1.0),
            value => (value.min(0.0), value.max(0.0)),
        };
    }
    if low >= 0.0 && low <= high / 2.0 { (0.0, high) } else { (low, high) }
}

/// The value with three significant digits.
fn short(value: f64) -> String {
    let scientific = format!("{value:.2e}");
    let rounded: f64 = scientific.parse().unwrap_or(value);
    if rounded == 0.0 || (1e-4..1e6).contains(&rounded.abs()) { format!("{rounded}") } else { format!("{rounded:e}") }
}

/// The words of the first label that all others have too; all of them if there is none.
fn common_words(labels: &[String]) -> String {
    let Some((first, others)) = labels.split_first() else { return String::new() };
    let mut words: Vec<&str> = first.split_whitespace().collect();
    for label in others {
        let has: Vec<&str> = label.split_whitespace().collect();
        words.retain(|word| has.contains(word));
    }
    if words.is_empty() { first.clone() } else { words.join(" ") }
}

fn schedule_of<'a>(trial: &'a Trial, hyper: &str) -> Option<&'a Schedule> {
    trial.schedules().find(|(name, _)| *name == hyper).map(|(_, schedule)| schedule)
}

/// The text of an axis of `trial`, empty where it has none.
fn axis<'a>(plan: &Plan, trial: &'a Trial, name: &str) -> &'a str {
    let index = plan.axes.iter().position(|axis| axis.name == name);
    match index.and_then(|index| trial.axes.get(index)) {
        Some(Some(AxisValue::Text(text))) => text,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clr_plan::example::{planned_of, shape};
    use clr_plan::{Axis, AxisKind, Divergence, TrialOptimizer};
    use clr_schedule::{Amplitude, Cyclic, Linear, Points};
    use clr_spec::duration::Period;
    use clr_spec::table::{self, Values};
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    /// Policy, optimizer, iterations and schedules of a trial, that of the learning rate first.
    type Row<'a> = (&'a str, &'a str, u64, &'a [(&'a str, Schedule)]);

    fn plan(trials: &[Row<'_>]) -> Plan {
        let shape = Arc::new(shape());
        let trial = |index: usize, &(policy, optimizer, iterations, schedules): &Row<'_>| Trial {
            id: format!("{index:032x}").parse().unwrap(),
            label: format!("{policy} {optimizer}").into(),
            axes: [policy, optimizer].map(|name| Some(AxisValue::Text(name.into()))).to_vec(),
            shape: shape.clone(),
            optimizer: Arc::new(TrialOptimizer {
                kind: optimizer.into(),
                json: "{}".into(),
                hypers: schedules[1..].iter().map(|(name, schedule)| ((*name).into(), schedule.clone())).collect(),
                hypers_before_lr: 0,
                groups: [].into(),
            }),
            init_seed: 1,
            data_seed: 1,
            iterations,
            eval_every: Period::NEVER,
            divergence: Divergence { non_finite: true, loss_above: None },
            lr: schedules[0].1.clone(),
        };
        let text = |name: &str| Axis { name: name.into(), kind: AxisKind::Text };
        Plan {
            range_tests: Vec::new(),
            name: "test".into(),
            axes: vec![text("policy"), text("optimizer")],
            settings: Vec::new(),
            trials: trials.iter().enumerate().map(|(index, row)| trial(index, row)).collect(),
            groups: Vec::new(),
            limits: Default::default(),
            checkpointing: Default::default(),
            warnings: Vec::new(),
        }
    }

    #[track_caller]
    fn check_csv(plan: &Plan, every: u64, expected: Expect) {
        let mut out = Vec::new();
        csv(plan, every, &mut out).unwrap();
        expected.assert_eq(&String::from_utf8(out).unwrap());
    }

    #[test]
    fn csv_has_every_so_many_iterations_and_the_last() {
        let lr = Schedule::Linear(Linear { from: 0.1, to: 0.3, steps: 5 });
        let momentum = Schedule::Constant(0.9);
        let plan = plan(&[
            ("warm", "sgd", 5, &[("lr", lr.clone()), ("momentum", momentum)]),
            ("a, \"b\"", "adam", 1, &[("lr", lr.clone()), ("beta1", Schedule::Constant(1e-7))]),
            ("never", "adam", 0, &[("lr", lr)]),
        ]);
        check_csv(
            &plan,
            3,
            expect![[r#"
            trial,label,policy,optimizer,iteration,lr,momentum,beta1
            00000000000000000000000000000000,warm sgd,warm,sgd,0,0.1,0.9,
            00000000000000000000000000000000,warm sgd,warm,sgd,3,0.21999999999999997,0.9,
            00000000000000000000000000000000,warm sgd,warm,sgd,4,0.26,0.9,
            00000000000000000000000000000001,"a, ""b"" adam","a, ""b""",adam,0,0.1,,1e-7
        "#]],
        );
        check_csv(
            &plan,
            0,
            expect![[r#"
            trial,label,policy,optimizer,iteration,lr,momentum,beta1
            00000000000000000000000000000000,warm sgd,warm,sgd,0,0.1,0.9,
            00000000000000000000000000000000,warm sgd,warm,sgd,1,0.14,0.9,
            00000000000000000000000000000000,warm sgd,warm,sgd,2,0.18,0.9,
            00000000000000000000000000000000,warm sgd,warm,sgd,3,0.21999999999999997,0.9,
            00000000000000000000000000000000,warm sgd,warm,sgd,4,0.26,0.9,
            00000000000000000000000000000001,"a, ""b"" adam","a, ""b""",adam,0,0.1,,1e-7
        "#]],
        );
    }

    #[track_caller]
    fn check_plot(plan: &Plan, limit: usize, expected: Expect) {
        expected.assert_eq(&plot(plan, "lr", 60, limit));
    }

    #[test]
    fn equal_courses_share_a_plot_titled_by_what_their_labels_share() {
        let lr = [("lr", Schedule::Cyclic(Cyclic::new(0.001, 0.006, 2000.0)))];
        let plan = plan(&[("triangular", "sgd", 12_000, &lr), ("triangular", "adam", 12_000, &lr)]);
        check_plot(
            &plan,
            10,
            expect![[r#"
            triangular (2 trials)
             0.006 ┤       ⣠⠟⣆              ⢠⠞⢦              ⢀⡞⢧⡀
                   │      ⡴⠃ ⠈⢧⡀           ⣰⠋ ⠈⢳⡀           ⣠⠏  ⠳⡄
                   │    ⢀⡞⠁    ⠳⡄        ⢀⡼⠁    ⠹⣄         ⡴⠃    ⠙⣆
                   │   ⣠⠏       ⠙⣆      ⢠⠞       ⠘⢦      ⢀⡞⠁      ⠈⢧⡀
                   │  ⡴⠃         ⠈⢧⡀   ⣰⠋         ⠈⢳⡀   ⣠⠏          ⠳⡄
                   │⢀⡞⠁            ⠳⡄⢀⡼⠁            ⠹⣄ ⡴⠃            ⠙⣆
                   │⠏               ⠙⠞               ⠘⠞⠁              ⠈⠧
                 0 ┤
                lr └────────────────────────────────────────────────────
                    0                                              11999

        "#]],
        );
    }

    #[test]
    fn courses_of_another_length_or_schedule_have_plots_of_their_own() {
        let constant = [("lr", Schedule::Constant(0.001))];
        let dip = Cyclic { amplitude: Amplitude::HalfPerCycle, ..Cyclic::new(0.95, 0.85, 100.0) };
        let plan = plan(&[
            ("fixed", "sgd", 100, &constant),
            ("fixed", "adam", 1, &constant),
            ("dip", "sgd", 400, &[("lr", Schedule::Cyclic(dip))]),
            ("nothing", "sgd", 10, &[("lr", Schedule::Table([].into()))]),
            ("zero", "sgd", 10, &[("lr", Schedule::Constant(0.0))]),
        ]);
        check_plot(
            &plan,
            4,
            expect![[r#"
            fixed sgd
             0.001 ┤⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉
                   │
                   │
                   │
                   │
                   │
                   │
                 0 ┤
                lr └────────────────────────────────────────────────────
                    0                                                 99

            fixed adam
             0.001 ┤⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉
                   │
                   │
                   │
                   │
                   │
                   │
                 0 ┤
                lr └────────────────────────────────────────────────────
                    0                                                  0

            dip sgd
              0.95 ┤⠳⡄                      ⣠⠞⠓⠤⣀                   ⢀⡠⠖⠋
                   │ ⠘⢦⡀                  ⢀⡔⠁   ⠈⠙⠦⣄⡀            ⣀⡤⠚⠉
                   │   ⠑⣄                ⡰⠋         ⠙⠲⢄⡀      ⣠⠴⠚⠁
                   │    ⠈⠳⡀            ⣠⠞              ⠉⠓⢦⣀⡠⠖⠋
                   │      ⠘⢦⡀        ⢀⡜⠁
                   │        ⠙⣄      ⡰⠋
                   │         ⠈⠳⡀  ⣠⠎⠁
              0.85 ┤           ⠙⢦⡔⠁
                lr └────────────────────────────────────────────────────
                    0                                                399

            nothing sgd
              `lr` is never finite

            and 1 more that differ in `lr`; --limit 5 plots all
        "#]],
        );
    }

    #[test]
    fn marks_stand_below_their_values_and_their_texts_where_there_is_room() {
        let values: Vec<f64> = (0..=10).map(f64::from).collect();
        let text = curve(&values, "accuracy", ["0", "0.02"], &[(2, "base_lr"), (9, "max_lr")], 40);
        let below: Vec<&str> = text.lines().skip(ROWS).collect();
        let expected = [
            " accuracy └─────────────────────────────",
            "           0                        0.02",
            "                ↑ base_lr",
            "                             max_lr ↑",
        ];
        assert_eq!(below, expected);
    }

    #[test]
    fn a_hyper_that_nobody_has_is_said_so() {
        let plan = plan(&[("fixed", "sgd", 100, &[("lr", Schedule::Constant(0.9))])]);
        assert_eq!(plot(&plan, "momentum", 80, 10), "no trial schedules `momentum`\n");
    }

    /// Cycles far narrower than a column of dots fill it from bound to bound: the peaks are not lost between samples.
    #[test]
    fn narrow_cycles_keep_their_peaks() {
        let narrow = Schedule::Cyclic(Cyclic::new(0.25, 1.0, 10.0));
        let values: Vec<f64> = (0..100_000).map(|step| narrow.at(step)).collect();
        let points = envelope(&values, 99, |value| value);
        assert_eq!(points.len(), 200);
        for column in points.chunks(2).take(99) {
            assert_eq!(column[0].0, column[1].0);
            assert_eq!((column[0].1.min(column[1].1), column[0].1.max(column[1].1)), (0.25, 1.0));
        }
    }

    /// `clr-run schedule --csv`, all of it and every tenth row, read by the same program.
    #[test]
    fn what_schedule_prints_as_csv_reads_back_bit_for_bit() {
        let cyclic = "kind = \"exp_range\"\nbase_lr = 0.001\nmax_lr = 0.006\nstep_size = 77\ngamma = 0.999\n\
                      optimizer.momentum = { kind = \"cosine\", max = 0.95, min = 0.85 }\ntrain.iterations = 1003";
        let plan = planned_of(&format!("[policies.a]\n{cyclic}\n[optimizers.sgd]\nkind = \"sgd\"\n"));
        for (hyper, every) in [("lr", 1), ("lr", 10), ("momentum", 1), ("momentum", 10)] {
            let mut text = Vec::new();
            csv(&plan, every, &mut text).unwrap();
            let text = String::from_utf8(text).unwrap();
            let (_, original) = plan.trials[0].schedules().find(|(name, _)| *name == hyper).unwrap();
            let schedule = match table::parse(&text, hyper, None).unwrap() {
                Values::EachStep(values) => Schedule::Table(values),
                Values::From { rows, .. } => Schedule::Points(Points { points: rows, linear: false }),
            };
            for step in (0..1003).filter(|step| step % every == 0 || *step == 1002) {
                assert_eq!(
                    schedule.at(step).to_bits(),
                    original.at(step).to_bits(),
                    "{hyper} at {step} of every {every}"
                );
            }
            assert_eq!(schedule.at(15).to_bits(), original.at(if every == 1 { 15 } else { 10 }).to_bits());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn anything_can_be_drawn(
            values in prop::collection::vec(any::<f64>(), 0..300),
            iterations in prop_oneof![0..300_u64, Just(u64::MAX)],
            width in prop_oneof![0..200_usize, Just(usize::MAX)],
        ) {
            let plan = plan(&[("any", "sgd", iterations, &[("lr", Schedule::Table(values.into()))])]);
            let text = plot(&plan, "lr", width, 1);
            prop_assert!(text.lines().all(|line| line.chars().count() <= width.clamp(40, 600)), "{}", text);
        }
    }
}
