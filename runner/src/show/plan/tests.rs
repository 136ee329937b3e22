//! What `clr-run plan` prints, on terminals of two widths.

use clr_plan::example::{HEAD, MANY_AXES, planned};
use clr_plan::json::Estimates;
use clr_terminal::terminal::Terminal;
use expect_test::{Expect, expect};

#[track_caller]
fn check(terminal: &Terminal, all_trials: bool, expected: Expect) {
    let plan = planned(MANY_AXES);
    let estimates = Estimates { seconds: Some(4000.0), bytes_written: Some(23_000_000), ..Estimates::default() };
    let text = super::plan(&plan, &estimates, all_trials, terminal);
    let width = terminal.width.unwrap_or(usize::MAX);
    assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
    expected.assert_eq(&text);
}

#[test]
fn a_plan_fits_80_columns() {
    check(
        &Terminal::plain(80),
        false,
        expect![[r#"
            108 trials
            all trials: eval_every=500
            policy triangular2  lr=triangular2(base=0.001 max=0.01|0.05477|0.3
                step_size=2000|4000)  iterations=25000
            policy one_cycle    lr=one_cycle(form=smith initial=0.001 max=0.02 last=1e-6
                steps=25000 step_size=11000 anneal=linear)  iterations=25000
            policy long         lr=0.0005  iterations=70000
            optimizer nesterov  momentum=0.85|0.9  weight_decay=0|0.0005
            optimizer adam      weight_decay=0.004  beta1=0.9  beta2=0.999  epsilon=1e-8

            trial  policy       optimizer  max_lr  step_size  momentum  weight_decay  seed
            0d41   triangular2  nesterov     0.01       2000      0.85             0     1
            5714   triangular2  nesterov     0.01       2000      0.85             0     2
            3643   triangular2  nesterov     0.01       2000      0.85             0     3
            efdf   triangular2  nesterov     0.01       2000      0.85        0.0005     1
            97f9   triangular2  nesterov     0.01       2000      0.85        0.0005     2
            e633   triangular2  nesterov     0.01       2000      0.85        0.0005     3
            fc76   triangular2  nesterov     0.01       2000       0.9             0     1
            d07a   triangular2  nesterov     0.01       2000       0.9             0     2
            cdbc   triangular2  nesterov     0.01       2000       0.9             0     3
            36e3   triangular2  nesterov     0.01       2000       0.9        0.0005     1
            c7c7   triangular2  nesterov     0.01       2000       0.9        0.0005     2
            5b9d   triangular2  nesterov     0.01       2000       0.9        0.0005     3
            c85a   triangular2  nesterov     0.01       4000      0.85             0     1
            cd7d   triangular2  nesterov     0.01       4000      0.85             0     2
            206d   triangular2  nesterov     0.01       4000      0.85             0     3
            4dec   triangular2  nesterov     0.01       4000      0.85        0.0005     1
            dd55   triangular2  nesterov     0.01       4000      0.85        0.0005     2
            e7a5   triangular2  nesterov     0.01       4000      0.85        0.0005     3
            724e   triangular2  nesterov     0.01       4000       0.9             0     1
            621e   triangular2  nesterov     0.01       4000       0.9             0     2
            and 88 more; --trials lists all

            108 trials of cifar cifar10_full: width=32 pool=max dropout=0 precision=f32
              on cifar10: 50,000 images, batches of 100, shuffled, wrap, pixel_mean
            2,835,000 rows of metrics, about 21.9 MiB
            takes about 1h 6m 40s
        "#]],
    );
}

#[test]
fn a_plan_has_more_room_on_200_columns() {
    check(
        &Terminal::plain(200),
        false,
        expect![[r#"
            108 trials
            all trials: eval_every=500
            policy triangular2  lr=triangular2(base=0.001 max=0.01|0.05477|0.3 step_size=2000|4000)  iterations=25000
            policy one_cycle    lr=one_cycle(form=smith initial=0.001 max=0.02 last=1e-6 steps=25000 step_size=11000 anneal=linear)  iterations=25000
            policy long         lr=0.0005  iterations=70000
            optimizer nesterov  momentum=0.85|0.9  weight_decay=0|0.0005
            optimizer adam      weight_decay=0.004  beta1=0.9  beta2=0.999  epsilon=1e-8

            trial  policy       optimizer  max_lr  step_size  momentum  weight_decay  seed
            0d41   triangular2  nesterov     0.01       2000      0.85             0     1
            5714   triangular2  nesterov     0.01       2000      0.85             0     2
            3643   triangular2  nesterov     0.01       2000      0.85             0     3
            efdf   triangular2  nesterov     0.01       2000      0.85        0.0005     1
            97f9   triangular2  nesterov     0.01       2000      0.85        0.0005     2
            e633   triangular2  nesterov     0.01       2000      0.85        0.0005     3
            fc76   triangular2  nesterov     0.01       2000       0.9             0     1
            d07a   triangular2  nesterov     0.01       2000       0.9             0     2
            cdbc   triangular2  nesterov     0.01       2000       0.9             0     3
            36e3   triangular2  nesterov     0.01       2000       0.9        0.0005     1
            c7c7   triangular2  nesterov     0.01       2000       0.9        0.0005     2
            5b9d   triangular2  nesterov     0.01       2000       0.9        0.0005     3
            c85a   triangular2  nesterov     0.01       4000      0.85             0     1
            cd7d   triangular2  nesterov     0.01       4000      0.85             0     2
            206d   triangular2  nesterov     0.01       4000      0.85             0     3
            4dec   triangular2  nesterov     0.01       4000      0.85        0.0005     1
            dd55   triangular2  nesterov     0.01       4000      0.85        0.0005     2
            e7a5   triangular2  nesterov     0.01       4000      0.85        0.0005     3
            724e   triangular2  nesterov     0.01       4000       0.9             0     1
            621e   triangular2  nesterov     0.01       4000       0.9             0     2
            and 88 more; --trials lists all

            108 trials of cifar cifar10_full: width=32 pool=max dropout=0 precision=f32
              on cifar10: 50,000 images, batches of 100, shuffled, wrap, pixel_mean
            2,835,000 rows of metrics, about 21.9 MiB
            takes about 1h 6m 40s
        "#]],
    );
}

#[test]
fn a_file_gets_every_trial_of_a_plan() {
    let plan = planned(MANY_AXES);
    let lines = |all_trials, terminal: &Terminal| {
        super::plan(&plan, &Estimates::default(), all_trials, terminal).lines().count()
    };
    let whole = lines(true, &Terminal::plain(200));
    assert_eq!(
        (lines(false, &Terminal::default()), lines(false, &Terminal::plain(200)) + plan.trials.len() - 21),
        (whole, whole)
    );
}

#[test]
fn multipliers_are_axes_and_a_policy_has_groups_of_its_own() {
    let body = format!(
        "{HEAD}[policies.fixed]\nkind = \"fixed\"\nbase_lr = 0.001\n[optimizers.sgd]\nkind = \"sgd\"\n\
         [[optimizers.sgd.groups]]\nparameters = \"*.bias\"\ndecay_mult = 0\nlr_mult = [0.1, 1]\n\
         [policies.frozen]\nkind = \"fixed\"\nbase_lr = 0.001\n\
         [[policies.frozen.optimizer.groups]]\nparameters = \"conv1.*, conv2.*\"\nlr_mult = 0\n"
    );
    let plan = planned(&body);
    let text = super::plan(&plan, &Estimates::default(), false, &Terminal::plain(80));
    expect![[r#"
        3 trials
        all trials: momentum=0.9  weight_decay=0.004  iterations=25000
        policy fixed   lr=0.001
        policy frozen  lr=0.001
        optimizer sgd

        trial  policy  lr_mult
        60fc   fixed       0.1
        2a77   fixed         1
        fda0   frozen        0

        parameters of sgd, cifar10_full:
          *.bias: 4 tensors of 138 values, lr times 0.1 or 1, weight decay times 0
          conv1.*, conv2.*: 4 tensors of 28,064 values, lr times 0

        3 trials of cifar cifar10_full: width=32 pool=max dropout=0 precision=f32
          on cifar10: 50,000 images, batches of 100, shuffled, wrap, pixel_mean
        75,000 rows of metrics
    "#]]
    .assert_eq(&text);
}
