//! Cycles that change from one to the next: their lengths against exact fractions, computed with Python's.

use super::problems::{check_ranges, check_warnings, sgd};
use super::*;
use clr_schedule::{OneCycleForm, Schedule};

/// The one trial of a policy, on 5,000 images in batches of 32: an epoch is 156.25 iterations.
fn trial(iterations: &str, policy: &str) -> Trial {
    let text = HEAD.replace("batch_size = 100", "batch_size = 32").replace("25_000", iterations);
    let source = SourceFile { name: "a.toml".to_owned(), text: format!("{text}{SGD}[policies.one]\n{policy}\n") };
    let (spec, diagnostics) = parse(&source, &[]);
    assert_eq!(render(&diagnostics, &source), "");
    let mut facts = facts();
    facts.datasets.get_mut(&DatasetQuery::named("cifar10")).unwrap().as_mut().unwrap().train_count = 5000;
    match plan(&spec, &facts) {
        Ok(plan) => plan.trials[0].clone(),
        Err(diagnostics) => panic!("{}", render(&diagnostics, &source)),
    }
}

#[track_caller]
fn check_ends(iterations: &str, policy: &str, expected: &[u64]) {
    let lr = trial(iterations, policy).lr;
    let mut after = 0;
    for &end in expected {
        assert_eq!(lr.next_cycle_end(after), Some(end), "{policy}, after {after}");
        assert_eq!(lr.next_cycle_end(end - 1), Some(end), "{policy}, before {end}");
        after = end;
    }
}

/// first * (1 + mult + mult^2 + ..), rounded up.
#[test]
fn restarts_by_any_factor_fall_where_exact_fractions_say() {
    let sgdr =
        |first: &str, mult: &str| format!("kind = \"sgdr\"\nmax_lr = 1\nfirst_cycle = \"{first}\"\nmult = {mult}");
    check_ends("25_000", &sgdr("1 epoch", "1.5"), &[157, 391, 743, 1270, 2061, 3248, 5027, 7697]);
    check_ends("1246", &sgdr("4 epochs", "0.5"), &[625, 938, 1094, 1172, 1211, 1231, 1241, 1246]);
    let tenths = [
        157, 329, 518, 726, 954, 1206, 1483, 1787, 2122, 2491, 2896, 3342, 3832, 4372, 4965, 5618, 6336, 7125, 7994,
        8950, 10001, 11157, 12429, 13828, 15367, 17060, 18922, 20971, 23224, 25703, 28429, 31428, 34727, 38356, 42348,
        46739, 51569, 56882, 62727, 69156,
    ];
    check_ends("70_000", &sgdr("1 epoch", "1.1"), &tenths);
}

/// total * (1 + .. + mult^(c - 1)) / (1 + .. + mult^(n - 1)), rounded up.
#[test]
fn repeated_one_cycles_share_the_time_as_exact_fractions_say() {
    let cycles = |cycles: u32, mult: &str| {
        format!("kind = \"one_cycle\"\nform = \"two_phase\"\nmax_lr = 1\ncycles = {cycles}\nmult = {mult}")
    };
    check_ends("\"10 epochs\"", &cycles(3, "1"), &[521, 1042, 1563]);
    check_ends("\"10 epochs\"", &cycles(5, "1.5"), &[119, 297, 563, 963, 1563]);
    check_ends("1000", &cycles(4, "0.5"), &[534, 800, 934, 1000]);
    check_ends(
        "25_000",
        &cycles(25, "1.01"),
        &[
            886, 1780, 2683, 3595, 4516, 5446, 6386, 7335, 8293, 9261, 10239, 11227, 12224, 13231, 14249, 15277, 16315,
            17363, 18422, 19491, 20571, 21662, 22764, 23877, 25000,
        ],
    );
}

/// No fraction of 64 bits holds 100 x 1.01^24: the step size of Smith's form is then the nearest float.
#[test]
fn many_cycles_by_a_fine_factor_are_no_error() {
    let lr = trial("25_000", "kind = \"one_cycle\"\nmax_lr = 1\nstep_size = 400\ncycles = 25\nmult = 1.01").lr;
    let Schedule::Sequence(stages) = &lr else { panic!("{lr:?}") };
    let Schedule::OneCycle(last) = &stages[24].schedule else { panic!("{lr:?}") };
    let OneCycleForm::Smith { step_size } = last.form else { panic!("{last:?}") };
    // 400 * 1.01^24, by Python's fractions.
    assert!((step_size.to_f64() - 507.8938594127658).abs() < 1e-9, "{}", step_size.to_f64());
}

#[test]
fn a_repeated_one_cycle_is_the_sequence_written_by_hand() {
    let id = |iterations: &str, policy: &str| trial(iterations, policy).id;
    let repeated = |keys: &str| format!("kind = \"one_cycle\"\nmax_lr = 0.1\n{keys}");
    let sequence = |stages: [&str; 3]| {
        let stages = stages.map(|keys| format!("{{ kind = \"one_cycle\", {keys} }}"));
        format!("kind = \"sequence\"\nstages = [{}]", stages.join(", "))
    };
    assert_eq!(
        id("\"10 epochs\"", &repeated("form = \"two_phase\"\ncycles = 3\nsteps = \"9 epochs\"\npeak_factor = 0.1")),
        id(
            "\"10 epochs\"",
            &sequence([
                "form = \"two_phase\", max_lr = 0.1, iterations = \"3 epochs\"",
                "form = \"two_phase\", max_lr = 0.01, iterations = \"3 epochs\"",
                "form = \"two_phase\", max_lr = 0.001, iterations = \"3 epochs\"",
            ])
        )
    );
    assert_eq!(
        id("700", &repeated("base_lr = 0.01\nstep_size = 45\ncycles = 3\nmult = 2\npeak_factor = 0.7")),
        id(
            "700",
            &sequence([
                "base_lr = 0.01, max_lr = 0.1, step_size = 45, iterations = 100",
                "base_lr = 0.01, max_lr = 0.07, step_size = 90, iterations = 200",
                "base_lr = 0.01, max_lr = 0.049, step_size = 180, iterations = 400",
            ])
        )
    );
    let once = repeated("form = \"fastai\"");
    assert_eq!(id("700", &format!("{once}\ncycles = 1\npeak_factor = 0.7\nmult = 3")), id("700", &once));
    let after_warmup = |policy: &str| id("700", &format!("{policy}\nform = \"fastai\"\nwarmup = 100"));
    let by_hand = sequence([
        "form = \"fastai\", max_lr = 0.1, iterations = 200",
        "form = \"fastai\", max_lr = 0.1, iterations = 200",
        "form = \"fastai\", max_lr = 0.1, iterations = 200",
    ]);
    let warmup = "stages = [{ kind = \"linear\", from_lr = 0, to_lr = 0.004, iterations = 100 }, ";
    assert_eq!(after_warmup(&repeated("cycles = 3")), id("700", &by_hand.replace("stages = [", warmup)));
}

#[test]
fn what_is_the_same_by_another_name_is_one_trial() {
    let id = |policy: &str| trial("25_000", policy).id;
    let cyclic = |kind: &str, keys: &str| {
        id(&format!("kind = \"{kind}\"\nbase_lr = 0.001\nmax_lr = 0.006\nstep_size = 2000\n{keys}"))
    };
    assert_eq!(cyclic("triangular", "peak_factor = 0.5"), cyclic("triangular2", ""));
    assert_eq!(cyclic("triangular", "peak_factor = 1\nmult = 1.0"), cyclic("triangular", ""));
    assert_ne!(cyclic("triangular", "peak_factor = 0.6"), cyclic("triangular", ""));
    assert_ne!(cyclic("exp_range", "gamma = 0.9999\nmult = 2"), cyclic("exp_range", "gamma = 0.9999"));
    let sgdr = |keys: &str| id(&format!("kind = \"sgdr\"\nmax_lr = 0.1\nfirst_cycle = 1000\n{keys}"));
    assert_eq!(sgdr("mult = 2.0\npeak_factor = 1"), sgdr("mult = 2"));
    assert_eq!(sgdr("peak_factor = 0.9\npeak_factor_of = \"amplitude\""), sgdr("peak_factor = 0.9"));
    let lifted = |of: &str| sgdr(&format!("min_lr = 0.01\npeak_factor = 0.9\npeak_factor_of = \"{of}\""));
    assert_ne!(lifted("amplitude"), lifted("peak"));
}

#[test]
fn cycles_shorter_than_a_step_are_refused_at_the_key_that_makes_them() {
    let refused = |keys: &str, place: &str, title: &str, text: &str| {
        check_ranges(&sgd(keys, ""), &[(place, title, text)]);
    };
    let by_mult = "`mult` makes cycles shorter than one step";
    let sgdr = "kind = \"sgdr\"\nmax_lr = 1\nfirst_cycle = 1000\nmult = ";
    // 1000 / 2^10 is 0.98; all of them are over after 2,000 iterations, and those of 0.96 after 25,000.
    refused(&format!("{sgdr}0.5"), "0.5", by_mult, "the `first_cycle` of cycle 11 would be 0.9765625");
    refused(&format!("{sgdr}1e-30"), "1e-30", "`mult` has too many digits", "durations are counted exactly");
    check_warnings(&sgd(&format!("{sgdr}0.5\ntrain.iterations = 1999"), ""), &[]);
    check_warnings(&sgd(&format!("{sgdr}0.9605\ntrain.iterations = 1000"), ""), &[]);
    let cyclic = "kind = \"triangular\"\nbase_lr = 0\nmax_lr = 1\nstep_size = 1000\nmult = 0.5";
    refused(cyclic, "0.5", by_mult, "the `step_size` of cycle 11 would be 0.9765625");
    check_warnings(&sgd(&format!("{cyclic}\ncycles = 10"), ""), &[]);
    let repeated = |keys: &str| format!("kind = \"one_cycle\"\nform = \"two_phase\"\nmax_lr = 1\n{keys}");
    refused(&repeated("cycles = 3\nmult = 0.001"), "0.001", by_mult, "the shortest of 3 would be 0.024975000024975");
    refused(
        &repeated("cycles = 30\nsteps = 15"),
        "30",
        "`cycles` makes cycles shorter than one step",
        "the shortest of 30 would be 0.5",
    );
}

#[test]
fn keys_of_cycles_that_say_nothing_or_contradict_are_refused() {
    let unused = |keys: &str, place: &str, key: &str, reason: &str| {
        check_ranges(&sgd(keys, ""), &[(place, &format!("`{key}` has no effect here"), reason)]);
    };
    let one_cycle = "kind = \"one_cycle\"\nform = \"fastai\"\nmax_lr = 1\n";
    unused(&format!("{one_cycle}mult = 3"), "3", "mult", "without `cycles` there is one");
    let sgdr = "kind = \"sgdr\"\nmax_lr = 1\nfirst_cycle = 1000\n";
    let of = "\"amplitude\"";
    unused(&format!("{sgdr}peak_factor_of = {of}"), of, "peak_factor_of", "there is no `peak_factor`");
    let cyclic = "kind = \"triangular\"\nbase_lr = 0\nmax_lr = 1\nstep_size = 1250\namplitude = \"one_over_cycle\"\n";
    unused(&format!("{cyclic}peak_factor = 0.7"), "0.7", "peak_factor", "`amplitude` says it already");
    let title = "`peak_factor` brings `max_lr` below `base_lr`";
    let below = format!("{one_cycle}base_lr = 0.5\ncycles = 3\npeak_factor = 0.6");
    check_ranges(&sgd(&below, ""), &[("0.6", title, "in cycle 3 they are 0.36 and 0.5")]);
}

#[test]
fn peaks_that_grow_out_of_all_bounds_are_found() {
    let grows = |policy: &str, text: &str| {
        check_ranges(&sgd(policy, ""), &[(&policy[7..policy.find('\n').unwrap()], "`lr` leaves its range", text)]);
    };
    // 2^128 is the first peak above what float32 holds, at 10 + 128 x 20.
    grows(
        "kind = \"triangular\"\nbase_lr = 0\nmax_lr = 1\nstep_size = 10\npeak_factor = 2",
        "at iteration 2,570 it is 3.402823669209385e38; expected at least 0 as float32 too, in which plugins compute",
    );
    grows(
        "kind = \"sgdr\"\nmax_lr = 1\nfirst_cycle = 100\npeak_factor = 1e20",
        "at iteration 200 it is 1e40; expected at least 0 as float32 too, in which plugins compute",
    );
    let nothing = trial("25_000", "kind = \"sgdr\"\nmax_lr = 1\nfirst_cycle = 100\npeak_factor = 1e-30").lr;
    assert_eq!((nothing.at(24_900), nothing.at(24_999)), (0.0, 0.0));
}

#[test]
fn a_training_that_cuts_a_cycle_of_any_factor_is_a_warning() {
    let title = "the training ends in the middle of a cycle";
    check_warnings(
        &sgd("kind = \"sgdr\"\nmax_lr = 1\nfirst_cycle = 1000\nmult = 1.5", ""),
        &[(
            "1000",
            title,
            "4218.75 of the 11390.625 iterations of the last cycle, which ends at 32171.875, where the training has 25,000",
        )],
    );
    let cyclic = "kind = \"triangular\"\nbase_lr = 0\nmax_lr = 1\nstep_size = 1000\nmult = 3";
    // 2000 + 6000 + 18000 = 26,000.
    check_warnings(
        &sgd(cyclic, ""),
        &[(
            "1000",
            title,
            "17,000 of the 18,000 iterations of the last cycle, which ends at 26,000, where the training has 25,000",
        )],
    );
    check_warnings(&sgd(&format!("{cyclic}\ntrain.iterations = 26_000"), ""), &[]);
    check_warnings(
        &sgd("kind = \"one_cycle\"\nform = \"fastai\"\nmax_lr = 1\ncycles = 3\nsteps = 30_000", ""),
        &[(
            "30_000",
            "`steps` reaches beyond the training: the last value is not reached",
            "30,000, and the training has 25,000 iterations",
        )],
    );
}
