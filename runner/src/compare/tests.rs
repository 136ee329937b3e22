//! Comparisons of trials made by hand.

use clr_event::Evaluation;
use clr_plan::{Axis, AxisKind, AxisValue, TrialId};
use clr_store::reader::{Output, OutputTrial, Settings};
use clr_store::{Numbers, Status};
use clr_terminal::terminal::Terminal;
use expect_test::{Expect, expect};

use super::*;
use crate::show;

/// A trial as it is made: policy, optimizer, `max_lr`, seed and final accuracy.
type Made = (&'static str, &'static str, Option<f64>, u64, f32);

/// An output of trials that finished, each changed by `change`.
fn output(
    folder: &str,
    made: &[Made],
    change: impl Fn(&Made, &mut OutputTrial, &mut Settings),
) -> (Output, Vec<Settings>) {
    let axis = |name: &str, kind| Axis { name: name.to_owned(), kind };
    let axes = vec![
        axis("policy", AxisKind::Text),
        axis("optimizer", AxisKind::Text),
        axis("seed", AxisKind::Integer),
        axis("max_lr", AxisKind::Float),
    ];
    let (mut trials, mut all_settings) = (Vec::new(), Vec::new());
    for made in made {
        let &(policy, optimizer, max_lr, seed, accuracy) = made;
        let text = |text: &str| Some(AxisValue::Text(text.into()));
        let schedule = format!("{policy} {max_lr:?}");
        let mut settings: Settings =
            [("batch_size", "100"), ("iterations", "40"), ("model.width", "8"), ("schedule.lr", &*schedule)]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into();
        settings.insert("optimizer.optimizer".to_owned(), optimizer.to_owned());
        // One evaluation in ten iterations, each a quarter of the way to the end.
        let evaluation = |quarter: u64| Evaluation {
            trial: trials.len(),
            iteration: 10 * quarter,
            split: Split::Test,
            loss: 1.0,
            accuracy: accuracy * quarter as f32 / 4.0,
        };
        let mut trial = OutputTrial {
            id: TrialId::of(format!("{policy} {optimizer} {max_lr:?} {seed}").as_bytes()),
            label: String::new(),
            axes: vec![
                text(policy),
                text(optimizer),
                Some(AxisValue::Integer(seed as i64)),
                max_lr.map(AxisValue::Float),
            ],
            init_seed: seed,
            data_seed: seed,
            plugin: "example".to_owned(),
            is_validated: false,
            iterations: 40,
            status: Status::Finished,
            error: None,
            seconds: None,
            attempts: 1,
            started: None,
            saved: 0,
            numerics: Some("example/1 cpu-avx2".to_owned()),
            build: Some("0123456789abcdef".to_owned()),
            numbers: Numbers { final_test_accuracy: Some(accuracy), ..Numbers::default() },
            evaluations: Some((0..=4).map(evaluation).collect()),
        };
        change(made, &mut trial, &mut settings);
        trials.push(trial);
        all_settings.push(settings);
    }
    (Output { folder: folder.into(), axes, trials, unreadable: BTreeMap::new() }, all_settings)
}

fn compared(made: &[Made], asked: &Asked) -> Comparison {
    changed(made, asked, |_, _, _| {})
}

#[track_caller]
fn changed(made: &[Made], asked: &Asked, change: impl Fn(&Made, &mut OutputTrial, &mut Settings)) -> Comparison {
    compare(&Trials::of(vec![output("outputs/a", made, change)]), asked).unwrap()
}

/// The one candidate that there is.
#[track_caller]
fn only(comparison: &Comparison) -> &Candidate {
    let [Block { candidates, .. }] = &comparison.blocks[..] else { panic!("{comparison:?}") };
    let [candidate] = &candidates[..] else { panic!("{candidates:?}") };
    candidate
}

#[track_caller]
fn check_note(comparison: &Comparison, part: &str) {
    assert!(comparison.notes.iter().any(|note| note.contains(part)), "{:#?}", comparison.notes);
}

const GRID: [Made; 15] = [
    ("fixed", "sgd", None, 1, 0.50),
    ("fixed", "sgd", None, 2, 0.52),
    ("fixed", "sgd", None, 3, 0.51),
    ("triangular", "sgd", Some(0.1), 1, 0.62),
    ("triangular", "sgd", Some(0.1), 2, 0.63),
    ("triangular", "sgd", Some(0.1), 3, 0.625),
    ("triangular", "sgd", Some(0.2), 1, 0.49),
    ("triangular", "sgd", Some(0.2), 2, 0.53),
    ("triangular", "sgd", Some(0.2), 3, 0.51),
    ("fixed", "adam", None, 1, 0.70),
    ("fixed", "adam", None, 2, 0.72),
    ("fixed", "adam", None, 3, 0.71),
    ("adam_long", "adam", None, 1, 0.60),
    ("adam_long", "adam", None, 2, 0.64),
    ("adam_long", "adam", None, 3, 0.61),
];

#[track_caller]
fn check_text(comparison: &Comparison, expected: Expect) {
    let text = show::comparison(comparison, &Terminal::plain(80));
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    expected.assert_eq(&text);
}

#[test]
fn policies_are_compared_with_fixed_for_each_optimizer_and_fit_80_columns() {
    check_text(
        &compared(&GRID, &Asked::default()),
        expect![[r#"
            final accuracy on test, beside policy fixed: differences in percentage points,
              paired by seed, with 95% intervals
            policy     optimizer max_lr   mean difference     95% interval n     p verdict
            fixed      sgd              51.00%                             3       reference
            triangular sgd          0.1 62.50%     +11.50 +10.26 to +12.74 3 0.002 better
            triangular sgd          0.2 51.00%      +0.00   -2.48 to +2.48 3 1.000 undecided
            fixed      adam             71.00%                             3       reference
            adam_long  adam             61.67%      -9.33  -12.20 to -6.46 3 0.010 worse

            iterations until accuracy on test is first the target or more; means are of the
              trials that reach it, and the ratio is to the reference
            policy     optimizer max_lr target reached by mean from to 95% interval ratio
            fixed      sgd              51.00% 2 of 3       40      40            -
            triangular sgd          0.1 51.00% 3 of 3       40      40            -  1.00
            triangular sgd          0.2 51.00% 2 of 3       40      40            -  1.00
            fixed      adam             71.00% 2 of 3       40      40            -
            adam_long  adam             71.00% 0 of 3        -       -            -     -

            sgd: triangular max_lr=0.1 is better than fixed: +11.50 points (+10.26 to +12.74
              over 3 seeds, p = 0.002)
            adam: fixed is better than adam_long, which has -9.33 points (-12.20 to -6.46
              over 3 seeds, p = 0.010)

            15 trials: 15 finished
            with 3 seeds a mean difference shows only where it is more than 2.5 times the
              spread of the differences; with 5 seeds 1.2 times, with 10 seeds 0.7
            p is corrected for 3 comparisons by Holm's method, and the verdict is by p; each
              interval stands by itself
        "#]],
    );
}

#[test]
fn without_a_reference_others_are_compared_with_the_best_and_it_is_said_that_luck_is_in_it() {
    let asked = Asked { by: Some("optimizer".to_owned()), ..Asked::default() };
    let comparison = compared(&GRID, &asked);
    assert_eq!(comparison.reference, None);
    let block = &comparison.blocks[0];
    assert_eq!((block.reference.level.as_str(), block.candidates[0].cell.level.as_str()), ("adam", "sgd"));
    check_note(&comparison, "a part of its lead may be luck");
    check_note(
        &comparison,
        "in no comparison, where there is not another optimizer that is else set alike: triangular sgd",
    );
}

#[test]
fn the_best_cell_of_the_reference_is_the_reference() {
    let asked = Asked { reference: Some("triangular".to_owned()), ..Asked::default() };
    let comparison = compared(&GRID[..9], &asked);
    let candidate = only(&comparison);
    assert_eq!(comparison.blocks[0].reference.axes["max_lr"], 0.1);
    assert_eq!((candidate.cell.level.as_str(), candidate.losses, candidate.wins), ("fixed", 3, 0));
    check_note(&comparison, "triangular max_lr=0.1 is the best of 2 cells with this policy");
}

#[test]
fn one_seed_gives_a_difference_and_no_verdict() {
    let comparison = compared(&[GRID[0], GRID[3]], &Asked::default());
    let candidate = only(&comparison);
    assert_eq!((candidate.verdict, candidate.p, candidate.difference.interval), (Verdict::OneSeed, None, None));
    assert!((candidate.difference.mean.unwrap() - 0.12).abs() < 1e-7);
    assert_eq!(comparison.tests, 0);
    check_note(&comparison, "with 1 seed nothing can be said about noise: train more");
}

#[test]
fn the_answer_is_a_sentence_for_every_kind_of_result() {
    let answers = |made: &[Made], reference: Option<&str>| -> Vec<String> {
        let by = reference.is_none().then(|| "max_lr".to_owned());
        let asked = Asked { by, reference: reference.map(str::to_owned), ..Asked::default() };
        compared(made, &asked).blocks.into_iter().map(|block| block.answer).collect()
    };
    let fixed = Some("fixed");
    assert_eq!(
        answers(&GRID, fixed),
        [
            "sgd: triangular max_lr=0.1 is better than fixed: +11.50 points (+10.26 to +12.74 over 3 seeds, p = 0.002)",
            "adam: fixed is better than adam_long, which has -9.33 points (-12.20 to -6.46 over 3 seeds, p = 0.010)",
        ]
    );
    let undecided = "nothing is shown to be better than fixed: triangular has +0.00 points (-2.48 to +2.48 over 3 seeds, p = 1.000)";
    assert_eq!(answers(&[&GRID[..3], &GRID[6..9]].concat(), fixed), [undecided]);
    let one = "triangular is +12.00 points from fixed in 1 seed, which tells nothing of noise";
    assert_eq!(answers(&[GRID[0], GRID[3]], fixed), [one]);
    assert_eq!(answers(&[GRID[0], GRID[4]], fixed), ["no seed has finished both with fixed and with another"]);
    assert_eq!(
        answers(&GRID[3..9], None),
        ["max_lr=0.1 is better than max_lr=0.2, which has -11.50 points (-15.23 to -7.77 over 3 seeds, p = 0.006)"]
    );
}

#[test]
fn equal_values_and_equal_differences_are_called_so_and_tested_by_nothing() {
    let made = |other: [f32; 3]| {
        let base = [0.5, 0.625, 0.75];
        let of = |policy: &'static str, values: [f32; 3]| {
            [0, 1, 2].map(|seed| (policy, "sgd", None, seed as u64, values[seed]))
        };
        [of("fixed", base), of("triangular", other)].concat()
    };
    let of = |other: [f32; 3]| compared(&made(other), &Asked::default());
    let (equal, same) = (of([0.5, 0.625, 0.75]), of([0.6, 0.725, 0.85]));
    assert_eq!((only(&equal).verdict, only(&equal).p, only(&equal).ties), (Verdict::Equal, None, 3));
    assert_eq!((only(&same).verdict, only(&same).p, only(&same).wins), (Verdict::NoSpread, None, 3));
    check_note(&same, "1 comparison with the same difference in every seed");
    // Equal mean, unequal values.
    let zero = of([0.625, 0.5, 0.75]);
    assert_eq!((only(&zero).verdict, only(&zero).p), (Verdict::Undecided, Some(1.0)));
}

#[test]
fn what_is_in_no_pair_is_counted_with_the_reason() {
    let made = [
        [("fixed", "sgd", None, 1, 0.5), ("fixed", "sgd", None, 2, 0.625), ("fixed", "sgd", None, 3, 0.75)].as_slice(),
        &[1, 2, 3, 4, 5, 6].map(|seed| ("triangular", "sgd", None, seed, 0.75)),
    ]
    .concat();
    let comparison = changed(&made, &Asked::default(), |made, trial, _| match (made.0, made.3) {
        ("fixed", 3) => trial.numbers.final_test_accuracy = None,
        ("triangular", 2) => trial.status = Status::Diverged,
        ("triangular", 4) => trial.status = Status::Unfinished,
        ("triangular", 5) => trial.status = Status::Failed,
        _ => {}
    });
    let candidate = only(&comparison);
    assert_eq!((candidate.difference.n, candidate.verdict), (1, Verdict::OneSeed));
    check_note(&comparison, "fixed: 1 of 3 trials is in no pair: 1 finished without an accuracy that is a number");
    check_note(
        &comparison,
        "triangular: 5 of 6 trials are in no pair: 1 diverged, 1 failed, 1 unfinished, 2 without a partner of the same seed",
    );
    check_note(&comparison, "trials that diverged are in no mean");
    let Counts { trials, finished, diverged, failed, crashed, unfinished } = comparison.counts;
    assert_eq!([trials, finished, diverged, failed, crashed, unfinished], [9, 6, 1, 1, 0, 1]);
    // None left at all.
    let none = changed(&made, &Asked::default(), |_, trial, _| trial.status = Status::Diverged);
    assert_eq!((only(&none).verdict, none.blocks[0].target), (Verdict::NoPair, None));
    show::comparison(&none, &Terminal::plain(80));
}

#[test]
fn iterations_to_the_target_are_those_of_the_first_evaluation_that_has_it() {
    // Evaluations at 10, 20, 30 and 40 have a quarter, a half, three quarters and all of the final accuracy.
    let made = [
        ("fixed", "sgd", None, 1, 0.5),
        ("fixed", "sgd", None, 2, 0.5),
        ("fixed", "sgd", None, 3, 0.25),
        ("triangular", "sgd", None, 1, 1.0),
        ("triangular", "sgd", None, 2, 0.6),
        ("triangular", "sgd", None, 3, 0.3),
    ];
    let asked = Asked { target: Some(0.5), ..Asked::default() };
    let comparison = changed(&made, &asked, |made, trial, _| {
        // It goes on, and what it has not reached yet it may.
        if (made.0, made.3) == ("triangular", 3) {
            trial.status = Status::Unfinished;
        }
    });
    let (reference, candidate) = (&comparison.blocks[0].reference.iterations, only(&comparison));
    assert_eq!((reference.reached, reference.not_reached, reference.unknown), (2, 1, 0));
    assert_eq!((reference.mean.mean, reference.least, reference.most), (Some(40.0), Some(40), Some(40)));
    let found = &candidate.cell.iterations;
    assert_eq!((found.reached, found.not_reached, found.unknown), (2, 0, 1));
    assert_eq!((found.mean.mean, found.least, found.most), (Some(30.0), Some(20), Some(40)));
    assert_eq!((candidate.iterations_ratio, candidate.iterations_difference.mean), (Some(0.75), Some(-10.0)));

    let default = changed(&made, &Asked::default(), |_, trial, _| trial.evaluations = None);
    let mean = (0.5 + 0.5 + 0.25) / 3.0;
    assert!((default.blocks[0].target.unwrap() - mean).abs() < 1e-12);
    let found = &only(&default).cell.iterations;
    assert_eq!((found.reached, found.not_reached, found.unknown), (0, 0, 3));
}

#[test]
fn the_validation_split_chooses_where_all_trials_have_it() {
    let validated = |made: &Made, trial: &mut OutputTrial| {
        trial.is_validated = true;
        trial.numbers.final_validation_accuracy = Some(1.0 - made.4);
    };
    let comparison = changed(&GRID[..6], &Asked::default(), |made, trial, _| validated(made, trial));
    assert_eq!((comparison.split, only(&comparison).verdict), (Split::Validation, Verdict::Worse));
    let on_test = Asked { split: Some(Split::Test), ..Asked::default() };
    let comparison = changed(&GRID[..6], &on_test, |made, trial, _| validated(made, trial));
    assert_eq!((comparison.split, only(&comparison).verdict), (Split::Test, Verdict::Better));
    let some = changed(&GRID[..6], &Asked::default(), |made, trial, _| {
        if made.0 == "fixed" {
            validated(made, trial);
        }
    });
    assert_eq!(some.split, Split::Test);
}

#[test]
fn trials_that_were_not_computed_alike_are_said() {
    let comparison = changed(&GRID[..6], &Asked::default(), |made, trial, _| {
        if (made.0, made.3) == ("fixed", 1) {
            trial.numerics = Some("example/1 cpu-avx512".to_owned());
        }
    });
    assert_eq!(only(&comparison).pairs_of_different_origins, 1);
    check_note(
        &comparison,
        "trained by different instruction sets or devices: example/1 cpu-avx2 01234567 (5 trials), example/1 cpu-avx512 \
         01234567 (1 trial); in 1 of 3 pairs the two are not alike; --rerun-other-numerics trains those of others again",
    );
}

#[test]
fn what_differs_besides_the_compared_axis_is_said() {
    let comparison = changed(&GRID[..6], &Asked::default(), |made, _, settings| {
        if made.0 == "triangular" {
            settings.insert("iterations".to_owned(), "20".to_owned());
        }
    });
    check_note(&comparison, "more than policy differs from the reference: triangular has iterations 20 and not 40");
    assert!(compared(&GRID[..6], &Asked::default()).notes.iter().all(|note| !note.contains("more than policy")));
}

#[test]
fn several_outputs_are_taken_together_and_a_trial_in_two_of_them_counts_once() {
    let a = output("outputs/a", &GRID[..3], |_, _, _| {});
    let b = output("outputs/b", &GRID[..6], |_, trial, _| trial.status = Status::Finished);
    let together = compare(&Trials::of(vec![a, b]), &Asked::default()).unwrap();
    assert_eq!((together.counts.trials, only(&together).difference.n), (6, 3));
    check_note(&together, "3 trials in several outputs: each counts once");
    assert_eq!(together.blocks[0].candidates[0].p, only(&compared(&GRID[..6], &Asked::default())).p);
}

#[test]
fn what_sets_the_trials_of_two_outputs_apart_becomes_an_axis() {
    let other = |key: &'static str, value: &'static str| {
        output("outputs/b", &GRID[..6], move |made, trial, settings| {
            trial.id = TrialId::of(format!("{made:?} {key}").as_bytes());
            settings.insert(key.to_owned(), value.to_owned());
        })
    };
    let with = |other| Trials::of(vec![output("outputs/a", &GRID[..6], |_, _, _| {}), other]);
    // A setting of the model is an axis, in which the compared are alike.
    let widths = compare(&with(other("model.width", "16")), &Asked::default()).unwrap();
    assert_eq!(widths.blocks.len(), 2);
    assert_eq!(widths.blocks[1].reference.axes["model.width"], "16");
    let by_width = Asked { by: Some("width".to_owned()), ..Asked::default() };
    assert_eq!(compare(&with(other("model.width", "16")), &by_width).unwrap().by, "model.width");
    // Two policies of one name are told apart by their outputs.
    let schedules = with(other("schedule.lr", "another"));
    assert_eq!(schedules.axes.last().unwrap().name, OUTPUT);
    assert_eq!(compare(&schedules, &Asked::default()).unwrap().blocks.len(), 2);
    let by_output = Asked { by: Some(OUTPUT.to_owned()), ..Asked::default() };
    assert_eq!(compare(&schedules, &by_output).unwrap().by, OUTPUT);
}

#[test]
fn where_there_is_nothing_to_compare_it_is_said_what_there_is() {
    let refused = |made: &[Made], by: Option<&str>, reference: Option<&str>| {
        let asked = Asked { by: by.map(str::to_owned), reference: reference.map(str::to_owned), ..Asked::default() };
        compare(&Trials::of(vec![output("outputs/a", made, |_, _, _| {})]), &asked).unwrap_err().to_string()
    };
    assert_eq!(refused(&[], None, None), "there are no trials to compare");
    assert_eq!(refused(&GRID[..3], None, None), "the trials differ in their seeds alone: there is nothing to compare");
    assert_eq!(refused(&GRID, Some("polcy"), None), "there is no axis `polcy` to compare by; did you mean `policy`?");
    assert_eq!(
        refused(&GRID[..6], Some("optimizer"), None),
        "all trials have the same optimizer; they differ in `policy` and `max_lr`"
    );
    assert_eq!(refused(&GRID, None, Some("fixd")), "no trial has policy `fixd`; did you mean `fixed`?");
    assert_eq!(
        refused(&[GRID[0], GRID[12]], None, None),
        "no cell has policy=fixed beside another that is else set alike; --by and --reference choose others"
    );
    assert_eq!(
        refused(&[GRID[0], GRID[12]], Some("optimizer"), None),
        "no two cells differ in optimizer alone; --by chooses another axis"
    );
    assert!(refused(&GRID, Some("seed"), None).starts_with("there is no axis `seed` to compare by"));
}
