//! What is wrong with a spec that only the world can tell, as the user sees it.

use expect_test::expect;

use super::*;

#[test]
fn what_the_world_does_not_have() {
    check_problems(
        "[policies.a]\nkind = \"fixed\"\nbase_lr = 1\noptimizers = [\"addam\"]\n[policies.table]\nkind = \"table\"\nfile = \"absent.csv\"\n\
         [optimizers.adam]\nkind = \"addam\"\n[optimizers.sgd]\nkind = \"sgd\"\nmomentun = 0.9\nlr = 0.1\nclip_gradients = 1\n\
         [optimizers.adagrad]\nkind = \"adagrad\"\nmomentum = 0.9\n[optimizers.ranges]\nkind = \"sgd\"\nmomentum = [0.9, 1.5, \"high\"]\n\
         [optimizers.constants]\nkind = \"adam\"\nepsilon = { kind = \"fixed\", base = 0.9 }\n[optimizers.ranged]\nkind = \"adam\"\nepsilon = -1\n",
        expect![[r#"
            error[spec::optimizers]: there is no optimizer `addam`
              --> a.toml:14:15
               |
            11 | [policies.a]
               | ------------ which this policy is bound to
            ...
            14 | optimizers = ["addam"]
               |               ^^^^^^^
               |
               = help: did you mean `adam`?

            error[spec::table]: this table could not be read: no such file
              --> a.toml:17:8
               |
            17 | file = "absent.csv"
               |        ^^^^^^^^^^^^
               |
               = help: a table is a CSV file, its path relative to the spec: bare numbers, one an iteration; or columns with names, `iteration`, `step` or `epoch` one of them

            error[spec::optimizer]: there is no optimizer `addam`
              --> a.toml:19:8
               |
            19 | kind = "addam"
               |        ^^^^^^^ not in the plugin `cifar`
               |
               = help: did you mean `adam`?

            error[spec::option]: the optimizer `sgd` has no `momentun`
              --> a.toml:22:1
               |
            22 | momentun = 0.9
               | ^^^^^^^^
               |
               = help: did you mean `momentum`?

            error[spec::option]: the learning rate belongs to the policy
              --> a.toml:23:1
               |
            23 | lr = 0.1
               | ^^
               |
               = help: the learning rate is `base_lr` (or `max_lr`, by the kind) of a policy, `[policies.NAME]`

            error[spec::option]: `clip_gradients` belongs to `[train]`
              --> a.toml:24:1
               |
            24 | clip_gradients = 1
               | ^^^^^^^^^^^^^^
               |
               = help: write `train.clip_gradients`

            error[spec::option]: the optimizer `adagrad` has no `momentum`
              --> a.toml:27:1
               |
            27 | momentum = 0.9
               | ^^^^^^^^
               |
               = help: expected `clip_gradients` or `weight_decay`

            error[spec::range]: `momentum` is out of range
              --> a.toml:30:18
               |
            30 | momentum = [0.9, 1.5, "high"]
               |                  ^^^ expected at least 0 and below 1

            error[spec::type]: `momentum` has the wrong type
              --> a.toml:30:23
               |
            30 | momentum = [0.9, 1.5, "high"]
               |                       ^^^^^^ expected a number or a schedule, found `high`

            error[spec::option]: `epsilon` cannot be scheduled
              --> a.toml:33:13
               |
            33 | epsilon = { kind = "fixed", base = 0.9 }
               |             ^^^^ it is a constant of `adam`
               |
               = help: `lr`, `weight_decay`, `beta1` and `beta2` can be

            error[spec::option]: `epsilon` cannot be scheduled
              --> a.toml:33:29
               |
            33 | epsilon = { kind = "fixed", base = 0.9 }
               |                             ^^^^ it is a constant of `adam`
               |
               = help: `lr`, `weight_decay`, `beta1` and `beta2` can be

            error[spec::option]: `epsilon` cannot be `-1`
              --> a.toml:36:11
               |
            36 | epsilon = -1
               |           ^^ expected above 0
        "#]],
    );
    let changed = |from: &str, to: &str, expected: Expect| {
        assert!(HEAD.contains(from));
        let source = SourceFile { name: "a.toml".to_owned(), text: format!("{HEAD}{SGD}{FIXED}").replace(from, to) };
        let (spec, diagnostics) = parse(&source, &[]);
        assert_eq!(diagnostics, []);
        expected.assert_eq(&render(&plan(&spec, &facts()).expect_err("it is wrong"), &source));
    };
    changed(
        "\"cifar\"",
        "\"cifer\"",
        expect![[r#"
            error[spec::plugin]: there is no plugin `cifer`
             --> a.toml:4:10
              |
            4 | plugin = "cifer"
              |          ^^^^^^^
              |
              = help: did you mean `cifar`?
              = help: plugins are looked for where `--plugin PATH` says, beside the executable, in `../lib/clr-run/plugins` from there, and in `CLR_PLUGIN_PATH`
        "#]],
    );
    changed(
        "\"cifar\"",
        "\"broken\"",
        expect![[r#"
            error[spec::plugin]: the plugin `broken` could not be loaded
             --> a.toml:4:10
              |
            4 | plugin = "broken"
              |          ^^^^^^^^ it is for ABI 2, this program has ABI 1
        "#]],
    );
    changed(
        "\"cifar10_full\"",
        "\"cifar10_ful\"\nwdth = 3",
        expect![[r#"
            error[spec::architecture]: there is no architecture `cifar10_ful`
             --> a.toml:5:16
              |
            5 | architecture = "cifar10_ful"
              |                ^^^^^^^^^^^^^ not in the plugin `cifar`
              |
              = help: did you mean `cifar10_full`?
        "#]],
    );
    changed(
        "\"cifar10_full\"",
        "\"cifar10_full\"\nwdth = 3\nwidth = [2.5, 1000]\npool = \"min\"\ndropout = true",
        expect![[r#"
            error[spec::option]: `cifar10_full` of the plugin `cifar` has no option `wdth`
             --> a.toml:6:1
              |
            6 | wdth = 3
              | ^^^^
              |
              = help: did you mean `width`?

            error[spec::option]: `width` cannot be `2.5`
             --> a.toml:7:10
              |
            7 | width = [2.5, 1000]
              |          ^^^ expected an integer

            error[spec::option]: `width` cannot be `1000`
             --> a.toml:7:15
              |
            7 | width = [2.5, 1000]
              |               ^^^^ expected at least 1 and at most 512

            error[spec::option]: `pool` cannot be `min`
             --> a.toml:8:8
              |
            8 | pool = "min"
              |        ^^^^^ expected `max` or `average`

            error[spec::option]: `dropout` cannot be `true`
             --> a.toml:9:11
              |
            9 | dropout = true
              |           ^^^^ expected a number
        "#]],
    );
    changed(
        "\"cifar10\"",
        "\"cifar-10\"",
        expect![[r#"
            error[spec::dataset]: there is no dataset `cifar-10`
             --> a.toml:7:11
              |
            7 | dataset = "cifar-10"
              |           ^^^^^^^^^^
              |
              = help: did you mean `cifar10`?
        "#]],
    );
    changed(
        "batch_size = 100",
        "batch_size = [100, 60_000]\nvalidation = 10_000",
        expect![[r#"
            error[spec::range]: a batch is larger than the training set
             --> a.toml:8:20
              |
            8 | batch_size = [100, 60_000]
              |                    ^^^^^^ there are 40,000 training images
              |
              = help: use a smaller batch
        "#]],
    );
    changed(
        "batch_size = 100",
        "batch_size = 100\nvalidation = 50_000",
        expect![[r#"
            error[spec::range]: the validation split leaves nothing to train on
             --> a.toml:9:14
              |
            9 | validation = 50_000
              |              ^^^^^^ `cifar10` has 50,000 training images
              |
              = help: hold out fewer
        "#]],
    );
    changed(
        "25_000",
        "\"0.0001 epochs\"\nmax_loss = 3\nstop_on_divergence = false\neval_every = \"0.0001 epochs\"",
        expect![[r#"
            error[spec::range]: `iterations` is out of range
              --> a.toml:10:14
               |
            10 | iterations = "0.0001 epochs"
               |              ^^^^^^^^^^^^^^^ this is less than one iteration

            error[spec::unused]: `max_loss` has no effect here
              --> a.toml:11:12
               |
            11 | max_loss = 3
               |            ^ nothing is stopped
            12 | stop_on_divergence = false
               |                      ----- because of this
               |
               = help: remove one of the two

            error[spec::range]: `eval_every` is out of range
              --> a.toml:13:14
               |
            13 | eval_every = "0.0001 epochs"
               |              ^^^^^^^^^^^^^^^ this is less than one iteration
        "#]],
    );
}

#[test]
fn keys_that_do_not_go_together() {
    check_problems(
        "[policies.a]\nkind = \"triangular\"\nbase_lr = 3.0\nmax_lr = 0.1\nstep_size = 10\n\
         [policies.b]\nkind = \"cosine\"\nmin_lr = 0.5\nmax_lr = 0.1\n\
         [policies.c]\nkind = \"triangular2\"\nbase_lr = [0.1, 0.3, 0.5]\nmax_lr = [0.4, 0.2]\nstep_size = 10\n\
         [policies.d]\nkind = \"one_cycle\"\nmax_lr = 1\npct_start = 0.5\n\
         [policies.e]\nkind = \"one_cycle\"\nform = \"three_phase\"\nmax_lr = 1\nbase_lr = 0.1\ndiv_factor = 3\nstep_size = 3\npct_start = 0.6\n\
         [policies.f]\nkind = \"step\"\nbase_lr = 1\ngamma = 0.1\nstep_size = \"0.0001 epochs\"\nfirst_epoch = 0\n\
         [policies.g]\nkind = \"step\"\nbase_lr = 1\ngamma = 0.1\nstep_size = \"1.5 epochs\"\nper = \"epoch\"\n\
         [policies.h]\nkind = \"range_test\"\nmin_lr = 0\nmax_lr = 1\nspacing = \"geometric\"\n\
         [policies.i]\nkind = \"multistep\"\nbase_lr = 1\ngamma = 0.1\nmilestones = [\"3 epochs\", 1000]\n\
         [optimizers.sgd]\nkind = \"sgd\"\n",
        expect![[r#"
            error[spec::bounds]: `base_lr` is above `max_lr`
              --> a.toml:13:11
               |
            13 | base_lr = 3.0
               |           ^^^ this is 3
            14 | max_lr = 0.1
               |          --- and this is 0.1
               |
               = help: swap them, or raise `max_lr`

            error[spec::bounds]: `min_lr` is above `max_lr`
              --> a.toml:18:10
               |
            18 | min_lr = 0.5
               |          ^^^ this is 0.5
            19 | max_lr = 0.1
               |          --- and this is 0.1
               |
               = help: swap them, or raise `max_lr`

            error[spec::bounds]: `base_lr` is above `max_lr`
              --> a.toml:22:17
               |
            22 | base_lr = [0.1, 0.3, 0.5]
               |                 ^^^ this is 0.3
            23 | max_lr = [0.4, 0.2]
               |                --- and this is 0.2
               |
               = help: swap them, or raise `max_lr`

            error[spec::bounds]: `base_lr` is above `max_lr`
              --> a.toml:22:22
               |
            22 | base_lr = [0.1, 0.3, 0.5]
               |                      ^^^ this is 0.5
            23 | max_lr = [0.4, 0.2]
               |           --- and this is 0.4
               |
               = help: swap them, or raise `max_lr`

            error[spec::missing]: `step_size` is missing
              --> a.toml:25:1
               |
            25 | [policies.d]
               | ^^^^^^^^^^^^
               |
               = help: Smith's form needs it; PyTorch's `form = "two_phase"` does not

            error[spec::unused]: `pct_start` has no effect here
              --> a.toml:28:13
               |
            28 | pct_start = 0.5
               |             ^^^ `form` is "smith"
               |
               = help: remove it

            error[spec::unused]: `div_factor` has no effect here
              --> a.toml:34:14
               |
            34 | div_factor = 3
               |              ^ `base_lr` says it already
               |
               = help: remove it

            error[spec::unused]: `step_size` has no effect here
              --> a.toml:35:13
               |
            35 | step_size = 3
               |             ^ `form` is "three_phase"
               |
               = help: remove it

            error[spec::range]: `pct_start` is out of range
              --> a.toml:36:13
               |
            36 | pct_start = 0.6
               |             ^^^
               |
               = help: the way down takes as long, so it is at most 0.5

            error[spec::duration]: `step_size` is less than one step
              --> a.toml:41:13
               |
            41 | step_size = "0.0001 epochs"
               |             ^^^^^^^^^^^^^^^
               |
               = help: make it longer

            error[spec::duration]: `step_size` is 1.5 epochs, and this schedule changes once an epoch
              --> a.toml:47:13
               |
            47 | step_size = "1.5 epochs"
               |             ^^^^^^^^^^^^
               |
               = help: give it in whole epochs, as in "2 epochs"

            error[spec::bounds]: a geometric range cannot start at 0
              --> a.toml:51:10
               |
            51 | min_lr = 0
               |          ^
               |
               = help: use a small number above 0

            error[spec::duration]: `milestones` must increase
              --> a.toml:58:14
               |
            58 | milestones = ["3 epochs", 1000]
               |              ^^^^^^^^^^^^^^^^^^
               |
               = help: they are compared in iterations
        "#]],
    );
}

#[test]
fn policies_and_optimizers_that_do_not_meet() {
    check_problems(
        "[policies.a]\nkind = \"fixed\"\nbase_lr = 1\noptimizer.beta2 = 0.9\n[policies.b]\nkind = \"fixed\"\nbase_lr = 1\noptimizer.beta7 = 0.9\n\
         [policies.c]\nkind = \"fixed\"\nbase_lr = 1\noptimizers = [\"sgd\", \"sgd\"]\n[optimizers.adam]\nkind = \"adam\"\n[optimizers.sgd]\nkind = \"sgd\"\n\
         [optimizers.adadelta]\nkind = \"adadelta\"\ntrain.clip_gradients = 1\n",
        expect![[r#"
            error[spec::option]: the optimizer `sgd` has no `beta2`
              --> a.toml:14:11
               |
            14 | optimizer.beta2 = 0.9
               |           ^^^^^
            ...
            25 | [optimizers.sgd]
               | ---------------- which this policy meets
               |
               = help: bind the policy to those that have it: `optimizers = ["adam"]`

            error[spec::optimizers]: no optimizer can take this policy: none has `beta7`
              --> a.toml:18:11
               |
            15 | [policies.b]
               | ------------ of this policy
            ...
            18 | optimizer.beta7 = 0.9
               |           ^^^^^
               |
               = help: did you mean `beta1`?

            error[spec::optimizers]: `sgd` is there twice
              --> a.toml:22:22
               |
            22 | optimizers = ["sgd", "sgd"]
               |                      ^^^^^
               |
               = help: remove one

            error[spec::option]: `adadelta` cannot clip gradients
              --> a.toml:29:24
               |
            28 | kind = "adadelta"
               |        ---------- not offered by the plugin `cifar`
            29 | train.clip_gradients = 1
               |                        ^
               |
               = help: remove it, or override it for this optimizer with `train.clip_gradients = 0`
        "#]],
    );
}

#[test]
fn grids_that_cannot_be() {
    check_problems(
        &format!(
            "{SGD}{TRI}max_lr = {{ linspace = [0.01, 0.1, 1000] }}\nstep_size = {{ linspace = [1000, 3000, 2001] }}\n"
        ),
        expect![[r#"
            error[spec::grid]: the grid has 2,001,000 trials
              --> a.toml:17:1
               |
            17 | step_size = { linspace = [1000, 3000, 2001] }
               | ^^^^^^^^^ the longest axis has 2,001 values
               |
               = help: at most 1,000,000 are planned, before exclusions; zip axes, or split the spec
        "#]],
    );
    check_problems(
        &format!(
            "{SGD}{TRI}max_lr = [0.01, 0.1]\nstep_size = [1, 2, 3]\n[policies.apart]\nkind = \"exp\"\nbase_lr = 1\ngamma = [0.1, 0.2]\n\
             [grid]\nzip = [[\"max_lr\", \"step_size\"], [\"gamma\", \"max_lr\"], [\"gama\", \"base_lr\"]]\nexclude = [{{ policy = \"tri\", max_lrr = 0.1 }}, {{ seed = 3 }}]\n"
        ),
        expect![[r#"
            error[spec::zip]: zipped axes have different lengths
              --> a.toml:17:1
               |
            16 | max_lr = [0.01, 0.1]
               | ------ this has 2
            17 | step_size = [1, 2, 3]
               | ^^^^^^^^^ this has 3 values
               |
               = help: give both as many values, or remove the zip

            error[spec::zip]: these axes never meet
              --> a.toml:23:33
               |
            23 | zip = [["max_lr", "step_size"], ["gamma", "max_lr"], ["gama", "base_lr"]]
               |                                 ^^^^^^^^^^^^^^^^^^^ no policy and optimizer have two of them
               |
               = help: remove the zip, or make both keys lists in one policy

            error[spec::zip]: no axis is named `gama`
              --> a.toml:23:55
               |
            23 | zip = [["max_lr", "step_size"], ["gamma", "max_lr"], ["gama", "base_lr"]]
               |                                                       ^^^^^^
               |
               = help: did you mean `gamma`?

            error[spec::zip]: no axis is named `base_lr`
              --> a.toml:23:63
               |
            23 | zip = [["max_lr", "step_size"], ["gamma", "max_lr"], ["gama", "base_lr"]]
               |                                                               ^^^^^^^^^
               |
               = help: expected `gamma`, `max_lr` or `step_size`

            error[spec::exclude]: this excludes nothing
              --> a.toml:24:12
               |
            24 | exclude = [{ policy = "tri", max_lrr = 0.1 }, { seed = 3 }]
               |            ^^^^^^^^^^^^^^^^^^-------^^^^^^^^
               |            |                 |
               |            |                 no key is named so
               |            no trial meets all of these conditions
               |
               = help: did you mean `max_lr`?

            error[spec::exclude]: this excludes nothing
              --> a.toml:24:47
               |
            24 | exclude = [{ policy = "tri", max_lrr = 0.1 }, { seed = 3 }]
               |                                               ^^^^^^^^^^^^ no trial meets all of these conditions
        "#]],
    );
    check_problems(
        &format!("{SGD}{FIXED}[grid]\nexclude = [{{ policy = \"fixed\" }}]\n"),
        expect![[r#"
            error[spec::grid]: the grid is empty
              --> a.toml:17:12
               |
            17 | exclude = [{ policy = "fixed" }]
               |            ^^^^^^^^^^^^^^^^^^^^ no cell is left
               |
               = help: exclude less
        "#]],
    );
    check_problems(
        "",
        expect![[r#"
            error[spec::missing]: tables are missing: `[policies]`, `[optimizers]`
              --> a.toml:10:19
               |
            10 | iterations = 25_000
               |                   ^ the spec ends here
        "#]],
    );
}

#[test]
fn two_cells_that_are_one_trial() {
    check_problems(
        &format!("{SGD}{FIXED}[policies.again]\nkind = \"fixed\"\nbase_lr = 1e-3\n"),
        expect![[r#"
            error[spec::duplicate]: two cells are one trial
              --> a.toml:16:1
               |
            13 | [policies.fixed]
               | ---------------- is the same as `fixed sgd seed=1`
            ...
            16 | [policies.again]
               | ^^^^^^^^^^^^^^^^ `again sgd seed=1`
               |
               = help: names are only labels: give one of them another value, or remove it
        "#]],
    );
    check_problems(
        &format!("{SGD}{FIXED}[optimizers.again]\nkind = \"sgd\"\nmomentum = 0.9\n"),
        expect![[r#"
            error[spec::duplicate]: two cells are one trial
              --> a.toml:16:1
               |
            11 | [optimizers.sgd]
               | ---------------- is the same as `fixed sgd seed=1`
            ...
            16 | [optimizers.again]
               | ^^^^^^^^^^^^^^^^^^ `fixed again seed=1`
               |
               = help: names are only labels: give one of them another value, or remove it
        "#]],
    );
    check_problems(
        &format!("{SGD}{TRI}max_lr = 0.1\nstep_size = [500, 1000, \"1 epoch\"]\n"),
        expect![[r#"
            error[spec::duplicate]: two cells are one trial
              --> a.toml:17:25
               |
            17 | step_size = [500, 1000, "1 epoch"]
               |              ---        ^^^^^^^^^ `tri sgd step_size=500 seed=1`
               |              |
               |              is the same as `tri sgd step_size=500 seed=1`
               |
               = help: names are only labels: give one of them another value, or remove it
        "#]],
    );
}

/// One unknown name does not hide what can be judged without it.
#[test]
fn an_unknown_name_hides_nothing_else() {
    let text = format!(
        "{HEAD}[policies.a]\nkind = \"triangular\"\nbase_lr = 3\nmax_lr = 1\nstep_size = \"0.0001 epochs\"\n[optimizers.b]\nkind = \"sgd\"\nmomentun = 1\n"
    );
    let problems = |from: &str, to: &str| {
        let source = SourceFile { name: "a.toml".to_owned(), text: text.replace(from, to) };
        let (spec, _) = parse(&source, &[]);
        render(&plan(&spec, &facts()).expect_err("it is wrong"), &source)
    };
    expect![[r#"
        error[spec::dataset]: there is no dataset `cifar11`
         --> a.toml:7:11
          |
        7 | dataset = "cifar11"
          |           ^^^^^^^^^
          |
          = help: did you mean `cifar10`?

        error[spec::bounds]: `base_lr` is above `max_lr`
          --> a.toml:13:11
           |
        13 | base_lr = 3
           |           ^ this is 3
        14 | max_lr = 1
           |          - and this is 1
           |
           = help: swap them, or raise `max_lr`

        error[spec::option]: the optimizer `sgd` has no `momentun`
          --> a.toml:18:1
           |
        18 | momentun = 1
           | ^^^^^^^^
           |
           = help: did you mean `momentum`?
    "#]]
    .assert_eq(&problems("\"cifar10\"", "\"cifar11\""));
    expect![[r#"
        error[spec::plugin]: there is no plugin `cifer`
         --> a.toml:4:10
          |
        4 | plugin = "cifer"
          |          ^^^^^^^
          |
          = help: did you mean `cifar`?
          = help: plugins are looked for where `--plugin PATH` says, beside the executable, in `../lib/clr-run/plugins` from there, and in `CLR_PLUGIN_PATH`

        error[spec::bounds]: `base_lr` is above `max_lr`
          --> a.toml:13:11
           |
        13 | base_lr = 3
           |           ^ this is 3
        14 | max_lr = 1
           |          - and this is 1
           |
           = help: swap them, or raise `max_lr`
    "#]]
    .assert_eq(&problems("\"cifar\"", "\"cifer\""));
}

#[test]
fn a_long_reason_stands_below_what_is_underlined() {
    let source = SourceFile { name: "a.toml".to_owned(), text: format!("{HEAD}{FIXED}{SGD}") };
    let reason =
        "dataset `cifar10` was not found; looked for\n  /data: a, b\n  /usr/share/datasets: c\nget it with `x`";
    let mut facts = facts();
    facts.datasets.insert(DatasetQuery::named("cifar10"), Err(NoDataset::Unreadable(reason.to_owned())));
    let diagnostics = plan(&parse(&source, &[]).0, &facts).unwrap_err();
    expect![[r#"
        error[spec::dataset]: the dataset `cifar10` could not be read
         --> a.toml:7:11
          |
        7 | dataset = "cifar10"
          |           ^^^^^^^^^ dataset `cifar10` was not found; looked for
          |
          = note: /data: a, b
                  /usr/share/datasets: c
                  get it with `x`
    "#]]
    .assert_eq(&render(&diagnostics, &source));
}

/// The problems of [`HEAD`] and `body`: what is underlined, title and text.
#[track_caller]
pub(super) fn check_ranges(body: &str, expected: &[(&str, &str, &str)]) {
    let source = SourceFile { name: "a.toml".to_owned(), text: format!("{HEAD}{body}") };
    let (spec, mut diagnostics) = parse(&source, &[]);
    diagnostics.extend(plan(&spec, &facts()).err().unwrap_or_default());
    let found: Vec<(&str, &str, &str)> = diagnostics
        .iter()
        .map(|found| (&source.text[found.span.start..found.span.end], found.title.as_str(), found.text.as_str()))
        .collect();
    assert_eq!(found, expected, "{body}");
}

const LEAVES_LR: &str = "`lr` leaves its range";
const LEAVES_MOMENTUM: &str = "`momentum` leaves its range";

/// A constant of an optimizer, and a policy and a momentum schedule.
pub(super) fn sgd(policy: &str, optimizer: &str) -> String {
    format!("[policies.a]\n{policy}\n[optimizers.b]\nkind = \"sgd\"\n{optimizer}\n")
}

#[test]
fn momentum_and_decay_that_cannot_be_are_refused_as_constants() {
    let fixed = "kind = \"fixed\"\nbase_lr = 0.1";
    let constant = |optimizer: &str, value: &str, name: &str, text: &str| {
        check_ranges(&sgd(fixed, optimizer), &[(value, &format!("`{name}` is out of range"), text)]);
    };
    let fraction = "expected at least 0 and below 1";
    constant("momentum = 1.1", "1.1", "momentum", fraction);
    constant("momentum = -0.5", "-0.5", "momentum", fraction);
    constant("momentum = 1", "1", "momentum", fraction);
    constant("weight_decay = -0.1", "-0.1", "weight_decay", "expected at least 0");
    constant(
        "weight_decay = 1e39",
        "1e39",
        "weight_decay",
        "expected at least 0 as float32 too, in which plugins compute",
    );
    constant(
        "momentum = 0.999999999",
        "0.999999999",
        "momentum",
        &format!("{fraction} as float32 too, in which plugins compute"),
    );
    for beta in ["beta1", "beta2"] {
        let adam = format!("[policies.a]\n{fixed}\n[optimizers.b]\nkind = \"adam\"\n{beta} = 1.0\n");
        check_ranges(&adam, &[("1.0", &format!("`{beta}` is out of range"), fraction)]);
    }
    let adam = |epsilon: &str| format!("[policies.a]\n{fixed}\n[optimizers.b]\nkind = \"adam\"\nepsilon = {epsilon}\n");
    check_ranges(&adam("0"), &[("0", "`epsilon` cannot be `0`", "expected above 0")]);
    let float32 = "expected above 0 as float32 too, in which plugins compute";
    check_ranges(&adam("1e-50"), &[("1e-50", "`epsilon` cannot be `1e-50`", float32)]);
    // A grid tells each wrong value once.
    let axis = sgd(fixed, "momentum = [0.9, 1.1, 1.2]");
    let title = "`momentum` is out of range";
    check_ranges(&axis, &[("1.1", title, fraction), ("1.2", title, fraction)]);
}

/// 25,000 iterations; the steps by hand.
#[test]
fn a_schedule_that_leaves_its_range_is_refused_with_the_step() {
    let fixed = "kind = \"fixed\"\nbase_lr = 0.1";
    let momentum = |schedule: &str| sgd(fixed, &format!("momentum = {{ {schedule} }}"));
    let fraction =
        |step: &str, value: &str| format!("at iteration {step} it is {value}; expected at least 0 and below 1");
    check_ranges(
        &momentum("kind = \"triangular\", base = 0.95, max = 1.1, step_size = 3000"),
        &[("1.1", LEAVES_MOMENTUM, &fraction("1,000", "1"))],
    );
    check_ranges(&momentum("kind = \"linear\", from = 0.5, to = 1.0"), &[]);
    check_ranges(
        &momentum("kind = \"linear\", from = 0.5, to = 1.0, steps = 24_999"),
        &[("1.0", LEAVES_MOMENTUM, &fraction("24,999", "1"))],
    );
    check_ranges(
        &momentum("kind = \"exp\", base = 0.5, gamma = 2.0"),
        &[("\"exp\"", LEAVES_MOMENTUM, &fraction("1", "1"))],
    );
    let stages = "kind = \"sequence\", stages = [{ kind = \"fixed\", base = 0.9, iterations = 100 }, { kind = \"fixed\", base = 1.5 }]";
    check_ranges(&momentum(stages), &[("1.5", LEAVES_MOMENTUM, &fraction("100", "1.5"))]);
    check_ranges(
        &momentum("kind = \"fixed\", base = -0.5"),
        &[("-0.5", "`base` is out of range", "expected a number that is not negative")],
    );

    let lr = |step: &str, value: &str| format!("at iteration {step} it is {value}; expected at least 0");
    let float32 = " as float32 too, in which plugins compute";
    check_ranges(
        &sgd("kind = \"poly\"\nbase_lr = 0.1\npower = -1\nsteps = 20_000", ""),
        &[("\"poly\"", LEAVES_LR, &lr("20,000", "infinite"))],
    );
    // 2^128 is the first power of 2 that float32 cannot hold.
    check_ranges(
        &sgd("kind = \"exp\"\nbase_lr = 1\ngamma = 2", ""),
        &[("\"exp\"", LEAVES_LR, &(lr("128", "3.402823669209385e38") + float32))],
    );
    check_ranges(
        &sgd("kind = \"exp_range\"\nbase_lr = 1\nmax_lr = 2\nstep_size = 1000\ngamma = 2", ""),
        &[("\"exp_range\"", LEAVES_LR, &(lr("128", "3.838385098868186e38") + float32))],
    );
    // Short of the end it is large and finite, which is no range's business.
    check_ranges(&sgd("kind = \"poly\"\nbase_lr = 0.1\npower = -1", ""), &[]);
    // So long that nobody could look at each step.
    let long = sgd(
        "kind = \"triangular\"\nbase_lr = 0.1\nmax_lr = 0.2\nstep_size = 10\ntrain.iterations = 1_000_000_000",
        "momentum = { kind = \"triangular\", base = 0.9, max = 0.8, step_size = 10 }",
    );
    check_ranges(&long, &[]);
}

#[test]
fn a_table_says_what_it_lacks() {
    let table = |keys: &str| sgd(&format!("kind = \"table\"\n{keys}"), "");
    check_ranges(&table("file = \"sparse.csv\""), &[]);
    check_ranges(&table("file = \"sparse.csv\"\nbetween = \"linear\""), &[]);
    check_ranges(
        &table("file = \"late.csv\""),
        &[("\"late.csv\"", "the first row of this table is for iteration 9", "")],
    );
    check_ranges(
        &table("file = \"sparse.csv\"\nbetween = \"cubic\""),
        &[("\"cubic\"", "`between` cannot be `cubic`", "expected `hold` or `linear`")],
    );
}

#[test]
fn updates_that_cannot_be_accumulated() {
    check_problems(
        &format!(
            "accumulate = [4, 501]\n{FIXED}{SGD}[policies.old]\nkind = \"fixed\"\nbase_lr = 0.1\nmodel.architecture = \"old\"\n\
             train.accumulate = 2\n[policies.option]\nkind = \"fixed\"\nbase_lr = 0.1\nmodel.accumulate = 2\n"
        ),
        expect![[r#"
            error[spec::range]: an update is larger than the training set
              --> a.toml:11:18
               |
            11 | accumulate = [4, 501]
               |                  ^^^ 501 batches of 100, and there are 50,000 training images
               |
               = help: accumulate fewer batches, or smaller ones

            error[spec::option]: `old` cannot accumulate gradients
              --> a.toml:21:20
               |
            20 | model.architecture = "old"
               |                      ----- not offered by the plugin `cifar`
            21 | train.accumulate = 2
               |                    ^
               |
               = help: remove `accumulate`, and multiply `data.batch_size` by it instead: the update is of as many images

            error[spec::option]: `accumulate` belongs to `[train]`
              --> a.toml:25:7
               |
            25 | model.accumulate = 2
               |       ^^^^^^^^^^
               |
               = help: write `train.accumulate`
        "#]],
    );
}

/// The warnings of [`HEAD`] (25,000 iterations, 500 an epoch) and `body`: what is underlined, title and text.
#[track_caller]
pub(super) fn check_warnings(body: &str, expected: &[(&str, &str, &str)]) {
    let text = format!("{HEAD}{body}");
    let warnings = planned(&text).warnings;
    let found: Vec<(&str, &str, &str)> = warnings
        .iter()
        .map(|found| (&text[found.span.start..found.span.end], found.title.as_str(), found.text.as_str()))
        .collect();
    assert_eq!(found, expected, "{body}");
}

#[test]
fn what_is_done_to_images_must_suit_them() {
    let check = |settings: &str, expected: &[(&str, &str, &str)]| {
        check_ranges(&format!("{FIXED}{settings}\n{SGD}"), expected);
    };
    check("data.input_size = 32", &[]);
    check(
        "data.input_size = 33",
        &[("33", "the model would see more than the images are", "`cifar10` has images of 32 x 32")],
    );
    check("data.input_size = 40\ndata.pad = 4", &[]);
    let padded = "`cifar10` has images of 32 x 32, and 4 of padding on each side";
    check("data.input_size = 41\ndata.pad = 4", &[("41", "the model would see more than the images are", padded)]);
    check("data.min_area = 0.5\ndata.pad = 4", &[("0.5", "areas of images are not padded", "and `pad` is 4")]);
    check("data.min_area = 1.5", &[("1.5", "`min_area` is out of range", "expected a number from 0 to 1")]);
    check("data.lighting = 0.1", &[]);
    let grey = "an image of `mnist` has 1 channel";
    check("data.lighting = 0.1\ndata.dataset = \"mnist\"", &[("0.1", "lighting is for images in colour", grey)]);
}

#[test]
fn what_lies_beyond_the_training_is_a_warning() {
    let beyond =
        |keys: &str, place: &str, title: &str, text: &str| check_warnings(&sgd(keys, ""), &[(place, title, text)]);
    let step = "kind = \"step\"\nbase_lr = 0.1\ngamma = 0.1\nstep_size = ";
    beyond(
        &format!("{step}25_000"),
        "25_000",
        "`step_size` reaches beyond the training: the value never falls",
        "25,000, and the training has 25,000 iterations",
    );
    check_warnings(&sgd(&format!("{step}24_999"), ""), &[]);
    beyond(
        "kind = \"multistep\"\nbase_lr = 0.1\ngamma = 0.1\nmilestones = [20_000, \"60 epochs\"]",
        "[20_000, \"60 epochs\"]",
        "`milestones` reaches beyond the training: the last of them is not reached",
        "30,000, and the training has 25,000 iterations",
    );
    beyond(
        "kind = \"triangular\"\nbase_lr = 0.1\nmax_lr = 0.2\nstep_size = 30_000",
        "30_000",
        "`step_size` reaches beyond the training: `max_lr` is not reached",
        "30,000, and the training has 25,000 iterations",
    );
    beyond(
        "kind = \"cosine\"\nmax_lr = 0.2\nsteps = \"100 epochs\"",
        "\"100 epochs\"",
        "`steps` reaches beyond the training: the last value is not reached",
        "50,000, and the training has 25,000 iterations",
    );
    // Epochs count from 1 here: the last of the fifty is number 50.
    let multistep = |last: u32| {
        let keys = "kind = \"multistep\"\nper = \"epoch\"\nbase_lr = 0.1\ngamma = 0.1";
        format!("{keys}\nmilestones = [\"30 epochs\", \"{last} epochs\"]")
    };
    check_warnings(&sgd(&multistep(50), ""), &[]);
    beyond(
        &multistep(51),
        "[\"30 epochs\", \"51 epochs\"]",
        "`milestones` reaches beyond the training: the last of them is not reached",
        "51, and the training has 51 epochs",
    );
    let stages = "kind = \"sequence\"\nstages = [{ kind = \"fixed\", base_lr = 0.1, iterations = 25_000 }, { kind = \"fixed\", base_lr = 0.01 }]";
    beyond(stages, "\"fixed\"", "stage 2 is never reached", "it begins at 25,000, and iterations end at 25,000");
    beyond(
        "kind = \"table\"\nfile = \"sparse.csv\"",
        "\"sparse.csv\"",
        "this table ends before the training: its last value stays",
        "its last row is for 100 of 25,000 iterations",
    );
    let momentum = "momentum = { kind = \"triangular\", base = 0.9, max = 0.8, step_size = 30_000 }";
    check_warnings(
        &sgd("kind = \"fixed\"\nbase_lr = 0.1", momentum),
        &[(
            "30_000",
            "`step_size` reaches beyond the training: `max` is not reached",
            "30,000, and the training has 25,000 iterations",
        )],
    );
}

/// Smith 2017 stops at the end of a cycle.
#[test]
fn a_training_that_ends_within_a_cycle_is_a_warning() {
    let title = "the training ends in the middle of a cycle";
    let cyclic =
        |step_size: &str| format!("kind = \"triangular\"\nbase_lr = 0.1\nmax_lr = 0.2\nstep_size = {step_size}");
    check_warnings(
        &sgd(&cyclic("2000"), ""),
        &[(
            "2000",
            title,
            "1,000 of the 4,000 iterations of the last cycle, which ends at 28,000, where the training has 25,000",
        )],
    );
    check_warnings(&sgd(&cyclic("2500"), ""), &[]);
    check_warnings(&sgd(&cyclic("2000\ncycles = 6"), ""), &[]);
    // The paper's range test is the first half of a cycle.
    check_warnings(&sgd(&cyclic("25_000"), ""), &[]);
    check_warnings(&sgd(&cyclic("\"2.5 epochs\""), ""), &[]);
    let sgdr = |first: u32| format!("kind = \"sgdr\"\nmax_lr = 0.2\nfirst_cycle = {first}\nmult = 2");
    // 1000 + 2000 + 4000 + 8000 = 15,000, and the next ends at 31,000.
    check_warnings(
        &sgd(&sgdr(1000), ""),
        &[(
            "1000",
            title,
            "10,000 of the 16,000 iterations of the last cycle, which ends at 31,000, where the training has 25,000",
        )],
    );
    check_warnings(&sgd(&format!("{}\ntrain.iterations = 15_000", sgdr(1000)), ""), &[]);
    let one_cycle = "kind = \"one_cycle\"\nmax_lr = 1\nstep_size = 13_000";
    check_warnings(
        &sgd(one_cycle, ""),
        &[(
            "13_000",
            title,
            "25,000 of the 26,000 iterations of the last cycle, which ends at 26,000, where the training has 25,000",
        )],
    );
    // The last stage begins at 22,000.
    let stages = "kind = \"sequence\"\nstages = [{ kind = \"triangular\", base_lr = 0.1, max_lr = 0.2, step_size = 2000, iterations = 22_000 }, { kind = \"triangular\", base_lr = 0.1, max_lr = 0.2, step_size = 1000 }]";
    check_warnings(
        &sgd(stages, ""),
        &[
            (
                "2000",
                "the stage ends in the middle of a cycle",
                "2,000 of the 4,000 iterations of the last cycle, which ends at 24,000, where the stage has 22,000",
            ),
            (
                "1000",
                title,
                "1,000 of the 2,000 iterations of the last cycle, which ends at 4,000, where the training has 3,000",
            ),
        ],
    );
    // 50 epochs, by the epoch: Smith 2017, Table 4, has cycles of a tenth of the training.
    check_warnings(&sgd(&cyclic("\"2.5 epochs\"\nper = \"epoch\""), ""), &[]);
    check_warnings(
        &sgd(&cyclic("\"4 epochs\"\nper = \"epoch\""), ""),
        &[("\"4 epochs\"", title, "2 of the 8 epochs of the last cycle, which ends at 56, where the training has 50")],
    );
    // Once, however many cells of the grid have it.
    let grid = sgd(&cyclic("2000"), "momentum = [0.8, 0.9]").replace("max_lr = 0.2", "max_lr = [0.2, 0.3]");
    assert_eq!(planned(&format!("{HEAD}{grid}")).warnings.len(), 1);
    let flat = "kind = \"triangular\"\nbase_lr = 0.1\nmax_lr = 0.1\nstep_size = 2500";
    check_warnings(&sgd(flat, ""), &[("0.1", "this cycle never changes its value", "it is `base_lr` too")]);
}

#[test]
fn a_split_of_a_few_images_is_a_warning() {
    let text = format!("{HEAD}{FIXED}{SGD}").replace("batch_size = 100", "batch_size = 100\nvalidation = 40");
    let warnings = planned(&text).warnings;
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert_eq!(warning.title, "the validation split has 40 images");
    assert_eq!(warning.text, "each is 2.5% of its accuracy");
    let mut facts = facts();
    if let Some(Ok(cifar)) = facts.datasets.get_mut(&DatasetQuery::named("cifar10")) {
        cifar.test_count = 20;
    }
    let source = SourceFile { name: "a.toml".to_owned(), text: format!("{HEAD}{FIXED}{SGD}") };
    let warnings = plan(&parse(&source, &[]).0, &facts).unwrap().warnings;
    expect![[r#"
        warning[spec::split]: the test set has 20 images
         --> a.toml:7:11
          |
        7 | dataset = "cifar10"
          |           ^^^^^^^^^ each is 5% of its accuracy
          |
          = help: differences of a few images between trials say nothing
    "#]]
    .assert_eq(&render(&warnings, &source));
}

#[test]
fn classes_without_images_are_a_warning() {
    let source = SourceFile { name: "a.toml".to_owned(), text: format!("{HEAD}{FIXED}{SGD}") };
    let warnings = |train: Vec<u64>, test: Vec<u64>| {
        let mut facts = facts();
        if let Some(Ok(cifar)) = facts.datasets.get_mut(&DatasetQuery::named("cifar10")) {
            cifar.class_counts = Some(ClassCounts { train, test });
        }
        let warnings = plan(&parse(&source, &[]).0, &facts).unwrap().warnings;
        warnings.iter().map(|warning| format!("{}; {}", warning.title, warning.text)).collect::<Vec<_>>()
    };
    assert_eq!(warnings(vec![5; 4], vec![1, 2, 3, 4]), Vec::<String>::new());
    let missing = [
        "1 of 4 classes have no training images; class 2: a network never learns it",
        "2 of 4 classes have no test images; class 0 and 3: nothing tells whether it is learned",
    ];
    assert_eq!(warnings(vec![5, 5, 0, 5], vec![0, 9, 9, 0]), missing);
    // A set without a test split has no classes there at all.
    assert_eq!(warnings(vec![5; 4], vec![0; 4]), Vec::<String>::new());
}

/// The specs of the repository: what is warned of is so.
#[test]
fn the_specs_of_the_repository_have_only_warnings_that_are_true() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../specs");
    let mut said = String::new();
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "toml")) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let source = SourceFile { name, text: std::fs::read_to_string(path).unwrap() };
        let mut facts = facts();
        let (spec, problems) = parse(&source, &[]);
        assert_eq!(problems, []);
        // Those of other plugins need what these have of options; CI checks them with the plugins themselves.
        if spec.plugins().iter().any(|plugin| plugin != "cifar") {
            continue;
        }
        let known = facts.datasets[&DatasetQuery::named("cifar10")].clone();
        for query in spec.datasets() {
            facts.datasets.entry(query).or_insert_with(|| known.clone());
        }
        if let Some(Ok(cifar)) = facts.plugins.get_mut("cifar") {
            let sigmoid = ModelFacts { name: "cifar10_full_sigmoid".to_owned(), ..cifar.models[0].clone() };
            cifar.models.push(sigmoid);
            let adadelta = cifar.optimizers.iter_mut().find(|optimizer| optimizer.name == "adadelta").unwrap();
            adadelta.options_schema = serde_json::json!({ "properties": { "rho": { "type": "number" } } });
        }
        match plan(&spec, &facts) {
            Ok(plan) => {
                for warning in &plan.warnings {
                    said += &format!("{}: {} ({})\n", source.name, warning.title, warning.text);
                }
            }
            Err(problems) => panic!("{}", render(&problems, &source)),
        }
    }
    expect![[r#"
        smith2017-table1-cifar10.toml: the training ends in the middle of a cycle (2,000 of the 4,000 iterations of the last cycle, which ends at 44,000, where the training has 42,000)
    "#]].assert_eq(&said);
}

#[test]
fn other_numbers_that_cannot_be_are_refused_too() {
    let over = |key: &str, value: &str, title: &str, text: &str| {
        let policy = format!("kind = \"fixed\"\nbase_lr = 0.1\n{key} = {value}");
        check_ranges(&sgd(&policy, ""), &[(value, title, text)]);
    };
    let above = "expected a number above 0";
    for value in ["-1", "0", "nan", "inf", "1e39"] {
        over("train.max_loss", value, "`max_loss` is out of range", above);
    }
    for value in ["0", "inf", "-1.0", "1e-50", "1e300"] {
        over("data.scale", value, "`scale` is out of range", above);
    }
    over("train.clip_gradients", "-1", "`clip_gradients` is out of range", "expected a number that is not negative");
    let fraction = "expected at least 0 and below 1";
    over("model.dropout", "1.0", "`dropout` cannot be `1`", fraction);
    let nearly = format!("{fraction} as float32 too, in which plugins compute");
    over("model.dropout", "0.9999999999", "`dropout` cannot be `0.9999999999`", &nearly);
    for rate in ["-0.1", "nan", "inf", "1e39"] {
        let policy = format!("kind = \"fixed\"\nbase_lr = {rate}");
        let title = "`base_lr` is out of range";
        check_ranges(&sgd(&policy, ""), &[(rate, title, "expected a number that is not negative")]);
    }
}
