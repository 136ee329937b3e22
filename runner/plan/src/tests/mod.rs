//! Plans of small specs, with facts made by hand.

mod cycles;
mod durations;
mod foreign;
mod groups;
mod mutated;
mod problems;
mod range_tests;
mod reference;
mod table;
mod tables_and_files;
mod without_data;

use clr_spec::{DatasetQuery, SourceFile, parse, render};
use std::sync::Arc;

use expect_test::{Expect, expect};

use super::example::{HEAD, facts, facts_for, planned};
use super::*;

const SGD: &str = "[optimizers.sgd]\nkind = \"sgd\"\n";
const FIXED: &str = "[policies.fixed]\nkind = \"fixed\"\nbase_lr = 0.001\n";

/// The plan of [`HEAD`] and `body` with every value of every trial.
#[track_caller]
fn check(body: &str, expected: Expect) {
    expected.assert_eq(&table::text(&planned(&format!("{HEAD}{body}"))));
}

/// All problems of [`HEAD`] and `body`, those of parsing first.
#[track_caller]
fn check_problems(body: &str, expected: Expect) {
    let source = SourceFile { name: "a.toml".to_owned(), text: format!("{HEAD}{body}") };
    let (spec, mut diagnostics) = parse(&source, &[]);
    match plan(&spec, &facts_for(&spec)) {
        Ok(_) => assert_eq!(diagnostics, [], "a plan was made of a wrong spec"),
        Err(more) => diagnostics.extend(more),
    }
    expected.assert_eq(&render(&diagnostics, &source));
}

#[test]
fn the_example_of_the_design() {
    check(
        r#"
[policies.triangular2]
kind      = "triangular2"
base_lr   = 0.001
max_lr    = [0.005, 0.006]
step_size = 2000
[policies.exp_range]
kind      = "exp_range"
base_lr   = 0.001
max_lr    = 0.006
step_size = 2000
gamma     = 0.99994
[policies.adam_long]
kind       = "triangular"
optimizers = ["adam"]
base_lr    = 0.0005
max_lr     = 0.002
step_size  = 2000
train.iterations = 70_000
[optimizers.nesterov]
kind     = "nesterov"
momentum = 0.9
[optimizers.adam]
kind = "adam"
"#,
        expect![[r#"
            7 trials
             policy        optimizer   seed   iterations   base_lr   max_lr   lr                                                             momentum   beta1   beta2   optimizer constants                   id
            ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
             triangular2   nesterov       1        25000     0.001    0.005   triangular2(base=0.001 max=0.005 step_size=2000)               0.9                        {"optimizer":"nesterov"}              a4652434
             triangular2   nesterov       1        25000     0.001    0.006   triangular2(base=0.001 max=0.006 step_size=2000)               0.9                        {"optimizer":"nesterov"}              b26520d5
             triangular2   adam           1        25000     0.001    0.005   triangular2(base=0.001 max=0.005 step_size=2000)                          0.9     0.999   {"optimizer":"adam","epsilon":1e-8}   bb6181d0
             triangular2   adam           1        25000     0.001    0.006   triangular2(base=0.001 max=0.006 step_size=2000)                          0.9     0.999   {"optimizer":"adam","epsilon":1e-8}   215a0314
             exp_range     nesterov       1        25000     0.001    0.006   exp_range(base=0.001 max=0.006 step_size=2000 gamma=0.99994)   0.9                        {"optimizer":"nesterov"}              6c8cb8a3
             exp_range     adam           1        25000     0.001    0.006   exp_range(base=0.001 max=0.006 step_size=2000 gamma=0.99994)              0.9     0.999   {"optimizer":"adam","epsilon":1e-8}   5eca3dc6
             adam_long     adam           1        70000    0.0005    0.002   triangular(base=0.0005 max=0.002 step_size=2000)                          0.9     0.999   {"optimizer":"adam","epsilon":1e-8}   428d5053
            weight_decay: 0.004

            7 trials of cifar cifar10_full {"width":32,"pool":"max","dropout":0.0,"precision":"f32"}
              on cifar10: 50,000 images, batches of 100, shuffled, wrap, pixel_mean
            220,000 rows of metrics
        "#]],
    );
}

/// Smith 2017, Table 3, unstaged: bounds by optimizer, and 25,000 or 70,000 iterations by row.
#[test]
fn table_3_of_the_paper() {
    let bounds = [
        ("nesterov", 0.001, 0.006),
        ("adam", 0.0005, 0.002),
        ("rmsprop", 0.0001, 0.0003),
        ("adagrad", 0.003, 0.035),
        ("adadelta", 0.01, 0.1),
    ];
    let mut text = String::new();
    for (name, base, max) in bounds {
        let iterations = if ["adam", "rmsprop"].contains(&name) { "[25_000, 70_000]" } else { "25_000" };
        text += &format!(
            "[policies.fixed_{name}]\nkind = \"fixed\"\noptimizers = [\"{name}\"]\nbase_lr = {base}\ntrain.iterations = 70_000\n\
             [policies.triangular_{name}]\nkind = \"triangular\"\noptimizers = [\"{name}\"]\nbase_lr = {base}\nmax_lr = {max}\nstep_size = 2000\n\
             train.iterations = {iterations}\n[optimizers.{name}]\nkind = \"{name}\"\n"
        );
    }
    check(
        &text,
        expect![[r#"
            12 trials
             policy                optimizer   seed   iterations   base_lr   max_lr   lr                                                  momentum   beta1   beta2   optimizer constants                        id
            ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
             fixed_nesterov        nesterov       1        70000     0.001            0.001                                               0.9                        {"optimizer":"nesterov"}                   2052b78f
             triangular_nesterov   nesterov       1        25000     0.001    0.006   triangular(base=0.001 max=0.006 step_size=2000)     0.9                        {"optimizer":"nesterov"}                   53648675
             fixed_adam            adam           1        70000    0.0005            0.0005                                                         0.9     0.999   {"optimizer":"adam","epsilon":1e-8}        cf3d747d
             triangular_adam       adam           1        25000    0.0005    0.002   triangular(base=0.0005 max=0.002 step_size=2000)               0.9     0.999   {"optimizer":"adam","epsilon":1e-8}        73453c30
             triangular_adam       adam           1        70000    0.0005    0.002   triangular(base=0.0005 max=0.002 step_size=2000)               0.9     0.999   {"optimizer":"adam","epsilon":1e-8}        428d5053
             fixed_rmsprop         rmsprop        1        70000    0.0001            0.0001                                                                         {"optimizer":"rmsprop","rms_decay":0.98}   659d0fcf
             triangular_rmsprop    rmsprop        1        25000    0.0001   0.0003   triangular(base=0.0001 max=0.0003 step_size=2000)                              {"optimizer":"rmsprop","rms_decay":0.98}   a90ebad4
             triangular_rmsprop    rmsprop        1        70000    0.0001   0.0003   triangular(base=0.0001 max=0.0003 step_size=2000)                              {"optimizer":"rmsprop","rms_decay":0.98}   5ac7c710
             fixed_adagrad         adagrad        1        70000     0.003            0.003                                                                          {"optimizer":"adagrad"}                    dcc0804e
             triangular_adagrad    adagrad        1        25000     0.003    0.035   triangular(base=0.003 max=0.035 step_size=2000)                                {"optimizer":"adagrad"}                    d6bfc73f
             fixed_adadelta        adadelta       1        70000      0.01            0.01                                                                           {"optimizer":"adadelta","decay":0.95}      7a4606ef
             triangular_adadelta   adadelta       1        25000      0.01      0.1   triangular(base=0.01 max=0.1 step_size=2000)                                   {"optimizer":"adadelta","decay":0.95}      86e55066
            weight_decay: 0.004

            12 trials of cifar cifar10_full {"width":32,"pool":"max","dropout":0.0,"precision":"f32"}
              on cifar10: 50,000 images, batches of 100, shuffled, wrap, pixel_mean
            615,000 rows of metrics
        "#]],
    );
}

/// A triangular policy with some axes.
const TRI: &str = "[policies.tri]\nkind = \"triangular\"\nbase_lr = 0.001\n";

#[test]
fn axes_zip_and_exclude() {
    check(
        &format!(
            "{SGD}train.clip_gradients = [0, 5]\n{TRI}max_lr = [0.005, 0.006, 0.007]\nstep_size = [\"2 epochs\", \"4 epochs\", 3000]\n\
             [grid]\nzip = [[\"policy.max_lr\", \"step_size\"]]\nexclude = [{{ max_lr = 0.006, clip_gradients = 5 }}, {{ policy = \"tri\", step_size = 3000, train.clip_gradients = 0 }}]\n"
        ),
        expect![[r#"
            4 trials
             policy   optimizer   seed   clip_gradients   max_lr   step_size   lr                                                optimizer constants                        id
            ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
             tri      sgd            1                0    0.005        1000   triangular(base=0.001 max=0.005 step_size=1000)   {"optimizer":"sgd"}                        998ece0f
             tri      sgd            1                0    0.006        2000   triangular(base=0.001 max=0.006 step_size=2000)   {"optimizer":"sgd"}                        c53d4dc0
             tri      sgd            1                5    0.005        1000   triangular(base=0.001 max=0.005 step_size=1000)   {"optimizer":"sgd","clip_gradients":5.0}   a7a30bcd
             tri      sgd            1                5    0.007        3000   triangular(base=0.001 max=0.007 step_size=3000)   {"optimizer":"sgd","clip_gradients":5.0}   288ace84
            momentum: 0.9
            weight_decay: 0.004
            iterations: 25000

            4 trials of cifar cifar10_full {"width":32,"pool":"max","dropout":0.0,"precision":"f32"}
              on cifar10: 50,000 images, batches of 100, shuffled, wrap, pixel_mean
            100,000 rows of metrics
        "#]],
    );
}

#[test]
fn each_linspace_logspace() {
    check(
        &format!(
            "{SGD}momentum = {{ linspace = [0.8, 0.9, 3] }}\n[policies.drop]\nkind = \"multistep\"\nbase_lr = {{ logspace = [0.001, 0.1, 3] }}\ngamma = 0.1\n\
             milestones = {{ each = [[\"20 epochs\", 15_000], [20_000]] }}\n"
        ),
        expect![[r#"
            18 trials
             policy   optimizer   seed   base_lr   milestones           optimizer.momentum   lr                                                          id
            ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
             drop     sgd            1     0.001   [20 epochs, 15000]                  0.8   multistep(base=0.001 gamma=0.1 milestones=[10000, 15000])   4f64babf
             drop     sgd            1     0.001   [20 epochs, 15000]   0.8500000000000001   multistep(base=0.001 gamma=0.1 milestones=[10000, 15000])   afd086f5
             drop     sgd            1     0.001   [20 epochs, 15000]                  0.9   multistep(base=0.001 gamma=0.1 milestones=[10000, 15000])   777f777e
             drop     sgd            1     0.001   [20000]                             0.8   multistep(base=0.001 gamma=0.1 milestones=[20000])          e6459dbd
             drop     sgd            1     0.001   [20000]              0.8500000000000001   multistep(base=0.001 gamma=0.1 milestones=[20000])          31fc529f
             drop     sgd            1     0.001   [20000]                             0.9   multistep(base=0.001 gamma=0.1 milestones=[20000])          07ef41bd
             drop     sgd            1      0.01   [20 epochs, 15000]                  0.8   multistep(base=0.01 gamma=0.1 milestones=[10000, 15000])    f5810f2b
             drop     sgd            1      0.01   [20 epochs, 15000]   0.8500000000000001   multistep(base=0.01 gamma=0.1 milestones=[10000, 15000])    820a0b56
             drop     sgd            1      0.01   [20 epochs, 15000]                  0.9   multistep(base=0.01 gamma=0.1 milestones=[10000, 15000])    ecbd0302
             drop     sgd            1      0.01   [20000]                             0.8   multistep(base=0.01 gamma=0.1 milestones=[20000])           51f2e8c6
             drop     sgd            1      0.01   [20000]              0.8500000000000001   multistep(base=0.01 gamma=0.1 milestones=[20000])           a426e79f
             drop     sgd            1      0.01   [20000]                             0.9   multistep(base=0.01 gamma=0.1 milestones=[20000])           bda475b7
             drop     sgd            1       0.1   [20 epochs, 15000]                  0.8   multistep(base=0.1 gamma=0.1 milestones=[10000, 15000])     fb42bc5b
             drop     sgd            1       0.1   [20 epochs, 15000]   0.8500000000000001   multistep(base=0.1 gamma=0.1 milestones=[10000, 15000])     3ada83d0
             drop     sgd            1       0.1   [20 epochs, 15000]                  0.9   multistep(base=0.1 gamma=0.1 milestones=[10000, 15000])     76ff0099
             drop     sgd            1       0.1   [20000]                             0.8   multistep(base=0.1 gamma=0.1 milestones=[20000])            ab6a8e92
             drop     sgd            1       0.1   [20000]              0.8500000000000001   multistep(base=0.1 gamma=0.1 milestones=[20000])            de840737
             drop     sgd            1       0.1   [20000]                             0.9   multistep(base=0.1 gamma=0.1 milestones=[20000])            9d375515
            weight_decay: 0.004
            iterations: 25000
            optimizer constants: {"optimizer":"sgd"}

            18 trials of cifar cifar10_full {"width":32,"pool":"max","dropout":0.0,"precision":"f32"}
              on cifar10: 50,000 images, batches of 100, shuffled, wrap, pixel_mean
            450,000 rows of metrics
        "#]],
    );
}

#[test]
fn overrides() {
    check(
        &format!(
            "{FIXED}[policies.wide]\nkind = \"fixed\"\nbase_lr = 0.01\nmodel.width = [64, 128]\noptimizer.momentum = 0.5\ndata.batch_size = 200\n\
             [optimizers.plain]\nkind = \"sgd\"\ndata.batch_size = 50\nmodel.pool = \"average\"\n\
             [optimizers.cycled]\nkind = \"sgd\"\nweight_decay = 0\nmomentum = {{ kind = \"triangular\", base = [0.95, 0.9], max = 0.85, step_size = \"5 epochs\" }}\n"
        ),
        expect![[r#"
            7 trials
             policy   optimizer   seed   pool      width   batch_size   base_lr   optimizer.weight_decay   momentum.base   optimizer.momentum   momentum                                        id
            ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
             fixed    plain          1   average      32           50     0.001                    0.004                                  0.9   0.9                                             a5f77d23
             fixed    cycled         1   max          32          100     0.001                        0            0.95                        triangular(base=0.95 max=0.85 step_size=2500)   4e6365c5
             fixed    cycled         1   max          32          100     0.001                        0             0.9                        triangular(base=0.9 max=0.85 step_size=2500)    2a4fa494
             wide     plain          1   average      64          200      0.01                    0.004                                  0.5   0.5                                             9928e060
             wide     plain          1   average     128          200      0.01                    0.004                                  0.5   0.5                                             f0d46e2b
             wide     cycled         1   max          64          200      0.01                        0                                  0.5   0.5                                             f564a6bb
             wide     cycled         1   max         128          200      0.01                        0                                  0.5   0.5                                             aa2fc923
            iterations: 25000
            optimizer constants: {"optimizer":"sgd"}

            group 1: 1 trial of cifar cifar10_full {"width":32,"pool":"average","dropout":0.0,"precision":"f32"}
              on cifar10: 50,000 images, batches of 50, shuffled, wrap, pixel_mean
            group 2: 2 trials of cifar cifar10_full {"width":32,"pool":"max","dropout":0.0,"precision":"f32"}
              on cifar10: 50,000 images, batches of 100, shuffled, wrap, pixel_mean
            group 3: 1 trial of cifar cifar10_full {"width":64,"pool":"average","dropout":0.0,"precision":"f32"}
              on cifar10: 50,000 images, batches of 200, shuffled, wrap, pixel_mean
            group 4: 1 trial of cifar cifar10_full {"width":128,"pool":"average","dropout":0.0,"precision":"f32"}
              on cifar10: 50,000 images, batches of 200, shuffled, wrap, pixel_mean
            group 5: 1 trial of cifar cifar10_full {"width":64,"pool":"max","dropout":0.0,"precision":"f32"}
              on cifar10: 50,000 images, batches of 200, shuffled, wrap, pixel_mean
            group 6: 1 trial of cifar cifar10_full {"width":128,"pool":"max","dropout":0.0,"precision":"f32"}
              on cifar10: 50,000 images, batches of 200, shuffled, wrap, pixel_mean
            175,000 rows of metrics
        "#]],
    );
}

#[test]
fn every_kind_of_policy() {
    let bounds = "base_lr = 0.001\nmax_lr = 0.006\n";
    let mut text = SGD.to_owned();
    for (name, keys) in [
        ("fixed", "base_lr = 0.001".to_owned()),
        ("step", "base_lr = 0.001\ngamma = 0.1\nstep_size = \"10 epochs\"".to_owned()),
        ("multistep", "base_lr = 0.1\ngamma = 0.1\nmilestones = [\"81 epochs\", \"122 epochs\"]\nper = \"epoch\"".to_owned()),
        ("exp", "base_lr = 0.001\ngamma = 0.99994".to_owned()),
        ("inv", "base_lr = 0.001\ngamma = 0.1\npower = 0.75".to_owned()),
        ("poly", "base_lr = 0.001\npower = 0.5".to_owned()),
        ("sigmoid", "base_lr = 0.001\ngamma = -0.1\nstep_size = 500".to_owned()),
        ("decay", format!("{bounds}step_size = 4000")),
        ("triangular", format!("{bounds}step_size = \"8.2 epochs\"\nper = \"epoch\"\namplitude = \"one_over_cycle\"\nwindow = \"hann\"")),
        ("triangular2", format!("{bounds}step_size = \"2.0001 epochs\"\nstep_size_down = 500\ncycles = 2.5")),
        ("exp_range", format!("{bounds}step_size = 2000\ngamma = 0.99994")),
        ("one_cycle", format!("{bounds}step_size = 11_500\nfinal_div_factor = 100")),
        ("cosine", "max_lr = 0.1".to_owned()),
        ("sgdr", "max_lr = 0.1\nmin_lr = 0.001\nfirst_cycle = \"1 epoch\"\nmult = 2".to_owned()),
        ("linear", "from_lr = 0.1\nto_lr = 0".to_owned()),
        ("range_test", "min_lr = 1e-7\nmax_lr = 10\nspacing = \"geometric\"\nsteps = 100".to_owned()),
        ("table", "file = \"lr.csv\"".to_owned()),
        (
            "sequence",
            "stages = [{ kind = \"triangular2\", base_lr = 0.001, max_lr = 0.005, step_size = 2000, iterations = 16_000 }, \
             { kind = \"poly\", base_lr = 1e-4, power = 1 }]"
                .to_owned(),
        ),
    ] {
        text += &format!("[policies.{name}]\nkind = \"{name}\"\n{keys}\n");
    }
    for form in ["two_phase", "three_phase", "fastai"] {
        text += &format!("[policies.{form}]\nkind = \"one_cycle\"\nform = \"{form}\"\nmax_lr = 0.1\n");
    }
    assert_eq!(text.matches("[policies.").count(), clr_spec::kinds::SCHEDULE_KINDS.len() + 3, "every kind is here");
    check(
        &text,
        expect![[r#"
            21 trials
             policy        optimizer   seed   base_lr   per         gamma     step_size   power   max_lr   window   form          min_lr   lr                                                                                                                                                                 id
            ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
             fixed         sgd            1     0.001   iteration                                                                          0.001                                                                                                                                                              d45faf76
             step          sgd            1     0.001   iteration       0.1        5000                                                    step(base=0.001 gamma=0.1 step_size=5000)                                                                                                                          922fcc96
             multistep     sgd            1       0.1   epoch           0.1                                                                per_epoch(iterations_per_epoch=500 first_epoch=1 schedule=multistep(base=0.1 gamma=0.1 milestones=[81, 122]))                                                      a2ffe715
             exp           sgd            1     0.001   iteration   0.99994                                                                exp(base=0.001 gamma=0.99994)                                                                                                                                      5430ddf0
             inv           sgd            1     0.001   iteration       0.1                0.75                                            inv(base=0.001 gamma=0.1 power=0.75)                                                                                                                               fe05a8b2
             poly          sgd            1     0.001   iteration                           0.5                                            poly(base=0.001 power=0.5 steps=25000)                                                                                                                             8a2ec8e0
             sigmoid       sgd            1     0.001   iteration      -0.1         500                                                    sigmoid(base=0.001 gamma=-0.1 step_size=500)                                                                                                                       20ab8c53
             decay         sgd            1     0.001   iteration                  4000            0.006                                   decay(base=0.001 max=0.006 step_size=4000)                                                                                                                         ee77be50
             triangular    sgd            1     0.001   epoch                      4100            0.006   hann                            per_epoch(iterations_per_epoch=500 first_epoch=1 schedule=triangular(base=0.001 max=0.006 step_size=8.2 window=hann amplitude=one_over_cycle))                     5a8dd1c3
             triangular2   sgd            1     0.001   iteration               1000.05            0.006   linear                          triangular2(base=0.001 max=0.006 step_size=1000.05 step_size_down=500 cycles=2.5)                                                                                  e83d7959
             exp_range     sgd            1     0.001   iteration   0.99994        2000            0.006   linear                          exp_range(base=0.001 max=0.006 step_size=2000 gamma=0.99994)                                                                                                       e23ef5b0
             one_cycle     sgd            1     0.001   iteration                 11500            0.006            smith                  one_cycle(form=smith initial=0.001 max=0.006 last=0.00001 steps=25000 step_size=11500 anneal=linear)                                                               e14ee755
             cosine        sgd            1             iteration                                    0.1                               0   cosine(max=0.1 min=0 steps=25000)                                                                                                                                  a80660fc
             sgdr          sgd            1             iteration                                    0.1                           0.001   sgdr(max=0.1 min=0.001 first_cycle=500 mult=2)                                                                                                                     bade6877
             linear        sgd            1             iteration                                                                          linear(from=0.1 to=0 steps=25000)                                                                                                                                  d67a387c
             range_test    sgd            1             iteration                                     10                            1e-7   range_test(min=1e-7 max=10 steps=100 spacing=geometric)                                                                                                            ee1c0536
             table         sgd            1             iteration                                                                          table(values=[0.1, 0.2])                                                                                                                                           787534af
             sequence      sgd            1             iteration                                                                          sequence(stages=[stage(steps=16000 schedule=triangular2(base=0.001 max=0.005 step_size=2000)), stage(steps=9000 schedule=poly(base=0.0001 power=1 steps=9000))])   792aa7a2
             two_phase     sgd            1             iteration                                    0.1            two_phase              one_cycle(form=two_phase initial=0.004 max=0.1 last=4e-7 steps=25000 pct_start=0.3 anneal=cosine)                                                                  56bd3f6c
             three_phase   sgd            1             iteration                                    0.1            three_phase            one_cycle(form=three_phase initial=0.004 max=0.1 last=4e-7 steps=25000 pct_start=0.3 anneal=cosine)                                                                e36f7ce4
             fastai        sgd            1             iteration                                    0.1            fastai                 one_cycle(form=fastai initial=0.004 max=0.1 last=1e-6 steps=25000 pct_start=0.25 anneal=cosine)                                                                    821069df
            momentum: 0.9
            weight_decay: 0.004
            iterations: 25000
            optimizer constants: {"optimizer":"sgd"}

            21 trials of cifar cifar10_full {"width":32,"pool":"max","dropout":0.0,"precision":"f32"}
              on cifar10: 50,000 images, batches of 100, shuffled, wrap, pixel_mean
            525,000 rows of metrics
        "#]],
    );
}

#[test]
fn seeds_apart_are_columns_of_their_own() {
    let text = format!("{HEAD}{SGD}{FIXED}")
        .replace("name = \"test\"", "name = \"test\"\nseeds = [7, 8]\ninit_seeds = [1, 2]");
    let plan = planned(&text);
    let labels: Vec<&str> = plan.trials.iter().map(|trial| &*trial.label).collect();
    assert_eq!(
        labels,
        [
            "fixed sgd seed=7 init_seed=1",
            "fixed sgd seed=7 init_seed=2",
            "fixed sgd seed=8 init_seed=1",
            "fixed sgd seed=8 init_seed=2"
        ]
    );
    let seeds: Vec<_> = plan.trials.iter().map(|trial| (trial.init_seed, trial.data_seed)).collect();
    assert_eq!(seeds, [(1, 7), (2, 7), (1, 8), (2, 8)]);
}

/// Lanes of a session that see the same images share work, so one data seed's trials are side by side.
#[test]
fn groups_have_equal_shapes_and_keep_data_seeds_together() {
    let text = format!(
        "{HEAD}{SGD}{FIXED}[policies.other]\nkind = \"fixed\"\nbase_lr = 1\n[policies.big]\nkind = \"fixed\"\nbase_lr = 1\ndata.batch_size = 200\n"
    );
    let plan = planned(&text.replace("name = \"test\"", "name = \"test\"\nseeds = [5, 6]"));
    let groups: Vec<Vec<(u64, usize)>> = plan
        .groups
        .iter()
        .map(|group| group.trials.iter().map(|&trial| (plan.trials[trial].data_seed, trial)).collect())
        .collect();
    assert_eq!(groups, [vec![(5, 0), (5, 2), (6, 1), (6, 3)], vec![(5, 4), (6, 5)]]);
}

/// The ids of stored trials: a change here orphans every result that anyone has.
#[test]
fn ids_are_stable_and_free_of_labels() {
    let id = |text: &str| planned(text).trials[0].id.to_string();
    let text = format!("{HEAD}{SGD}{FIXED}");
    assert_eq!(id(&text), "d45faf763d116029fd3080524a1f2c7f");
    for (same, with) in [
        ("name = \"test\"", "name = \"other\""),
        ("[policies.fixed]", "[policies.renamed]"),
        ("[optimizers.sgd]", "[optimizers.renamed]"),
        ("25_000", "\"50 epochs\""),
        ("kind = \"sgd\"", "kind = \"sgd\"\nmomentum = 0.9\nweight_decay = 4e-3"),
        ("batch_size = 100", "batch_size = 100\nflip = false"),
        ("batch_size = 100", "batch_size = 100\ninput_size = 0\nmin_area = 0\nlighting = 0"),
        ("architecture = \"cifar10_full\"", "architecture = \"cifar10_full\"\ndropout = 0"),
    ] {
        assert!(text.contains(same));
        assert_eq!(id(&text.replace(same, with)), id(&text), "{with}");
    }
    for (other, with) in [
        ("0.001", "0.0010000000000000002"),
        ("cifar10\"", "mnist\""),
        ("25_000", "25_001"),
        ("kind = \"sgd\"", "kind = \"nesterov\""),
        ("batch_size = 100", "batch_size = 100\nflip = true"),
        ("batch_size = 100", "batch_size = 100\ninput_size = 24"),
        ("batch_size = 100", "batch_size = 100\nmin_area = 0.1"),
        ("batch_size = 100", "batch_size = 100\nlighting = 0.1"),
        ("batch_size = 100", "batch_size = 100\norder = \"stored\""),
        ("architecture = \"cifar10_full\"", "architecture = \"cifar10_full\"\ndropout = 0.5"),
        ("name = \"test\"", "name = \"test\"\nseeds = [2]"),
        ("25_000", "25_000\nmax_loss = 10"),
        ("25_000", "25_000\neval_every = 500"),
        ("25_000", "25_000\nclip_gradients = 1"),
    ] {
        assert!(text.contains(other));
        assert_ne!(id(&text.replace(other, with)), id(&text), "{with}");
    }
}

/// A dataset is its content: the name matters only until the content is known.
#[test]
fn a_digest_takes_the_place_of_a_datasets_name() {
    let id = |dataset: &str, digest: Option<&str>| {
        let text = format!("{HEAD}{SGD}{FIXED}").replace("\"cifar10\"", &format!("{dataset:?}"));
        let (spec, _) = parse(&SourceFile { name: String::new(), text }, &[]);
        let mut facts = facts();
        let mut known = facts.datasets[&DatasetQuery::named("cifar10")].clone().expect("it is known");
        known.digest = digest.map(str::to_owned);
        facts.datasets.insert(DatasetQuery::named(dataset), Ok(known));
        plan(&spec, &facts).expect("it is a good spec").trials[0].id
    };
    assert_eq!(id("cifar10", Some("aa")), id("renamed", Some("aa")));
    assert_ne!(id("cifar10", Some("aa")), id("cifar10", Some("ab")));
    assert_ne!(id("cifar10", None), id("renamed", None));
}

/// An impossible cell may be excluded.
#[test]
fn excluded_cells_are_not_judged() {
    let plan = planned(&format!(
        "{HEAD}{SGD}{TRI}max_lr = [0.0005, 0.1]\nstep_size = 500\n[grid]\nexclude = [{{ max_lr = 0.0005 }}]\n"
    ));
    assert_eq!(plan.trials.len(), 1);
}

/// A setting that all trials have in common costs no memory of its own.
#[test]
fn large_grids_are_small() {
    let plan = planned(&format!(
        "{HEAD}{SGD}{TRI}max_lr = {{ linspace = [0.01, 0.1, 100] }}\nstep_size = {{ linspace = [1000, 1099, 100] }}\n"
    ));
    assert_eq!((plan.trials.len(), plan.groups.len()), (10_000, 1));
    let trial = &plan.trials[9_999];
    assert!(Arc::ptr_eq(&trial.optimizer, &plan.trials[0].optimizer));
    let bytes = size_of::<Trial>() + trial.label.len() + trial.axes.capacity() * size_of::<Option<AxisValue>>();
    assert!(bytes < 400, "{bytes}");
}

#[test]
fn json_has_every_resolved_value() {
    let plan = planned(&format!("{HEAD}{SGD}{FIXED}"));
    let mut written = Vec::new();
    json::write_json(&plan, &json::Estimates::default(), &mut written).unwrap();
    let written = String::from_utf8(written).unwrap();
    expect![[r#"
        {
          "name": "test",
          "axes": [
            {
              "name": "policy",
              "kind": "text"
            },
            {
              "name": "optimizer",
              "kind": "text"
            },
            {
              "name": "seed",
              "kind": "integer"
            }
          ],
          "trials": [
            {
              "id": "d45faf763d116029fd3080524a1f2c7f",
              "label": "fixed sgd seed=1",
              "axes": {
                "policy": "fixed",
                "optimizer": "sgd",
                "seed": 1
              },
              "group": 0,
              "optimizer": {
                "optimizer": "sgd"
              },
              "parameter_groups": [],
              "schedules": {
                "lr": 0.001,
                "momentum": 0.9,
                "weight_decay": 0.004
              },
              "init_seed": 1,
              "data_seed": 1,
              "iterations": 25000,
              "eval_every": 0,
              "stop_on_divergence": true,
              "max_loss": null
            }
          ],
          "groups": [
            {
              "shape": {
                "plugin": "cifar",
                "architecture": "cifar10_full",
                "options": {
                  "width": 32,
                  "pool": "max",
                  "dropout": 0.0,
                  "precision": "f32"
                },
                "hypers": [
                  "lr",
                  "momentum",
                  "weight_decay",
                  "beta1",
                  "beta2"
                ],
                "metrics": [
                  "loss",
                  "accuracy",
                  "grad_norm"
                ],
                "data": {
                  "dataset": "cifar10",
                  "digest": null,
                  "batch_size": 100,
                  "accumulate": 1,
                  "train_count": 50000,
                  "validation_count": 0,
                  "order": "shuffled",
                  "last_batch": "wrap",
                  "normalize": "pixel_mean",
                  "scale": 1.0,
                  "flip": false,
                  "pad": 0
                }
              },
              "trials": [
                0
              ]
            }
          ],
          "rows": 25000,
          "estimates": {
            "seconds": null,
            "bytes_per_trial": null,
            "bytes_shared": null,
            "bytes_written": null
          }
        }
    "#]]
    .assert_eq(&written);
}

/// Rows by iteration and by epoch (500 iterations here), held or on a line.
#[test]
fn a_table_holds_or_interpolates_between_its_rows() {
    let values = |keys: &str, steps: &[u64]| -> Vec<f64> {
        let plan = planned(&format!("{HEAD}[policies.a]\nkind = \"table\"\n{keys}\n{SGD}"));
        steps.iter().map(|step| plan.trials[0].lr.at(*step)).collect()
    };
    assert_eq!(values("file = \"lr.csv\"", &[0, 1, 2]), [0.1, 0.2, 0.2]);
    assert_eq!(values("file = \"sparse.csv\"", &[0, 9, 10, 99, 100, 24_999]), [0.1, 0.1, 0.2, 0.2, 0.4, 0.4]);
    let linear = values("file = \"sparse.csv\"\nbetween = \"linear\"", &[0, 5, 10, 55, 100, 24_999]);
    assert_eq!(linear, [0.1, 0.15000000000000002, 0.2, 0.30000000000000004, 0.4, 0.4]);
    // 1.501 epochs are 750.5 iterations.
    assert_eq!(values("file = \"epochs.csv\"", &[0, 499, 500, 750, 751]), [0.1, 0.1, 0.2, 0.2, 0.4]);
    let per_epoch = values("file = \"epochs.csv\"\nper = \"epoch\"\nfirst_epoch = 0", &[0, 499, 500, 999, 1000]);
    assert_eq!(per_epoch, [0.1, 0.1, 0.2, 0.2, 0.4]);
}

#[test]
fn an_iteration_is_an_update_of_several_batches() {
    let text = |more: &str| {
        let head = HEAD.replace("batch_size = 100", "batch_size = 25").replace("25_000", "\"2 epochs\"");
        planned(&format!("{head}{more}eval_every = \"1 epoch\"\n{FIXED}{SGD}"))
    };
    let (plain, one, four) = (text(""), text("accumulate = 1\n"), text("accumulate = 4\n"));
    // 50,000 images: 2,000 batches of 25, or 500 updates of four of them, an epoch.
    let lengths = |plan: &Plan| (plan.trials[0].iterations, plan.trials[0].eval_every);
    assert_eq!([lengths(&plain), lengths(&four)], [(4000, 2000.into()), (1000, 500.into())]);
    let data = |plan: &Plan| (plan.trials[0].shape.data.batch_size, plan.trials[0].shape.data.update_size());
    assert_eq!([data(&plain), data(&four)], [(25, 25), (25, 100)]);
    assert_eq!(plain.trials[0].id, one.trials[0].id, "one batch is what there was before");
    assert_ne!(plain.trials[0].id, four.trials[0].id);
    assert_eq!(plain.trials[0].shape.model_json, one.trials[0].shape.model_json);
    let model: serde_json::Value = serde_json::from_str(&four.trials[0].shape.model_json).unwrap();
    assert_eq!(model["accumulate"], 4);
}

#[test]
fn accumulate_is_an_axis_whose_values_train_in_groups_of_their_own() {
    let plan = planned(&format!("{HEAD}accumulate = [1, 4]\n{FIXED}{SGD}"));
    assert_eq!(
        plan.axes.iter().map(|axis| &axis.name[..]).collect::<Vec<_>>(),
        ["policy", "optimizer", "seed", "accumulate"]
    );
    let sizes: Vec<u32> = plan.groups.iter().map(|group| group.shape.data.update_size()).collect();
    assert_eq!(sizes, [100, 400]);
}

#[test]
fn a_share_held_out_for_validation_is_the_trial_that_its_number_is() {
    let id = |validation: &str| {
        let text =
            format!("{HEAD}\n").replace("batch_size = 100", &format!("batch_size = 100\nvalidation = {validation}"));
        let plan =
            planned(&format!("{text}[policies.p]\nkind = \"fixed\"\nbase_lr = 0.1\n[optimizers.o]\nkind = \"sgd\"\n"));
        (plan.trials[0].id, plan.trials[0].shape.data.validation_count)
    };
    assert_eq!(id("0.1"), id("5000"));
    assert_eq!(id("0.1").1, 5000);
    assert_ne!(id("0.1").0, id("0").0);
}

#[test]
fn how_images_are_brought_to_one_size_is_a_setting_where_it_is_said_and_only_there() {
    let names = |data: &str| -> Vec<String> {
        let text = HEAD.replace("dataset = \"cifar10\"", data);
        let plan =
            planned(&format!("{text}[policies.p]\nkind = \"fixed\"\nbase_lr = 0.1\n[optimizers.o]\nkind = \"sgd\"\n"));
        let columns = plan.settings.iter().map(|column| column.name.clone());
        columns.filter(|name| name.starts_with("data.")).collect()
    };
    assert!(names("dataset = \"cifar10\"").is_empty());
    let all = "dataset = \"./flowers\"\nresize = 40\ncrop = 32\nexif_orientation = true\ntest_share = 0.25";
    assert_eq!(names(all), ["data.resize", "data.crop", "data.exif_orientation", "data.test_share"]);
}
