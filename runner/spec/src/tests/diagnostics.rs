//! Every kind of problem that the text alone has, as the user sees it.

use expect_test::{Expect, expect};

use super::*;

#[track_caller]
fn check(text: &str, expected: Expect) {
    check_with(text, &[], expected);
}

#[track_caller]
fn check_with(text: &str, sets: &[&str], expected: Expect) {
    let source = source(text);
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let (spec, diagnostics) = parse(&source, &sets);
    assert_eq!(spec.complete, diagnostics.is_empty());
    expected.assert_eq(&render(&diagnostics, &source));
}

/// [`GOOD`] with one part replaced.
#[track_caller]
fn check_changed(from: &str, to: &str, expected: Expect) {
    assert!(GOOD.contains(from), "nothing to replace");
    check(&GOOD.replacen(from, to, 1), expected);
}

/// On a terminal of 50 columns.
#[test]
fn sentences_are_broken_between_words_at_the_width_of_the_terminal() {
    let text = GOOD.replace("25_000", "25_000\neval_every = \"one eopch\"\nstop_on_divergences = true");
    let source = source(&text);
    let (_, diagnostics) = parse(&source, &["policies.tri.step_size_up=4".to_owned()]);
    let rendered = render_for(&diagnostics, &source, Some(50), false);
    for line in rendered.lines() {
        assert!(line.chars().count() <= 50, "{line}");
    }
    expect![[r#"
        error[spec::type]: `eval_every` has the wrong type
          --> a.toml:15:14
           |
        15 | eval_every = "one eopch"
           |              ^^^^^^^^^^^
           |
           = note: expected a number of iterations, or a
                   string such as "2 epochs" or "10%",
                   found "one eopch"

        error[spec::key]: unknown key
                          `stop_on_divergences`
          --> a.toml:16:1
           |
        16 | stop_on_divergences = true
           | ^^^^^^^^^^^^^^^^^^^ not a key of [train]
           |
           = help: did you mean `stop_on_divergence`?

        error[spec::key]: unknown key `step_size_up`
         --> command line:1:20
          |
        1 | --set policies.tri.step_size_up=4
          |                    ^^^^^^^^^^^^
          |
          = note: not a key of a schedule of kind
                  `triangular`
          = help: write `step_size` in a policy: from
                  `base_lr` to `max_lr`, half a cycle
    "#]]
    .assert_eq(&rendered);
}

#[test]
fn a_good_spec_has_no_problems() {
    check(GOOD, expect![[""]]);
    check_with(
        GOOD,
        &[
            "train.iterations=100",
            "data.dataset=cifar100",
            "policies.tri.step_size=2 epochs",
            "optimizers.nesterov.momentum = [0.9, 0.95]",
        ],
        expect![[""]],
    );
}

#[test]
fn an_empty_file_lacks_everything() {
    check(
        "",
        expect![[r#"
            error[spec::missing]: tables are missing: `[experiment]`, `[model]`, `[data]`, `[train]`, `[policies]`, `[optimizers]`
             --> a.toml:1:1
              |
            1 |
              | ^ the spec ends here
        "#]],
    );
}

#[test]
fn a_mistyped_key_is_one_problem_not_two() {
    check(
        r#"
[experimnt]
name = "a"

[model]
plugin = "cifar"
architektur = "cifar10_full"

[data]
dataset = "cifar10"
batchsize = 100

[train]
iterations = 100

[policies.tri]
kind = "triangular"
base_lr = 0.1
maxlr = 0.2
stepsize = 10

[optimizers.sgd]
kin = "sgd"
"#,
        expect![[r#"
            error[spec::key]: unknown table `experimnt`
             --> a.toml:2:2
              |
            2 | [experimnt]
              |  ^^^^^^^^^ not a table of a spec
              |
              = help: did you mean `experiment`?

            error[spec::key]: unknown key `architektur`
             --> a.toml:7:1
              |
            7 | architektur = "cifar10_full"
              | ^^^^^^^^^^^ not a key of [model]
              |
              = help: did you mean `architecture`?

            error[spec::key]: unknown key `batchsize`
              --> a.toml:11:1
               |
            11 | batchsize = 100
               | ^^^^^^^^^ not a key of [data]
               |
               = help: write `data.batch_size`

            error[spec::key]: unknown key `maxlr`
              --> a.toml:19:1
               |
            19 | maxlr = 0.2
               | ^^^^^ not a key of a schedule of kind `triangular`
               |
               = help: did you mean `max_lr`?

            error[spec::key]: unknown key `stepsize`
              --> a.toml:20:1
               |
            20 | stepsize = 10
               | ^^^^^^^^ not a key of a schedule of kind `triangular`
               |
               = help: write `step_size` in a policy: from `base_lr` to `max_lr`, half a cycle

            error[spec::key]: unknown key `kin`
              --> a.toml:23:1
               |
            23 | kin = "sgd"
               | ^^^ not a key of an optimizer
               |
               = help: did you mean `kind`?
        "#]],
    );
}

/// Nesting is bounded where it is read, whatever way it is written, so that nothing runs out of stack.
#[test]
fn what_is_nested_too_deep_is_refused() {
    let deep = 50_000;
    let texts = [
        format!("{}a = 1\n", "a.".repeat(deep)),
        format!("[{}a]\n", "a.".repeat(deep)),
        format!("[grid]\nexclude = [{{ {}a = 1 }}]\n", "a.".repeat(deep)),
        format!("a = {}", "[".repeat(deep)),
        format!("a = {}1{}\n", "[".repeat(deep), "]".repeat(deep)),
        format!("a = {}", "{ a = ".repeat(deep)),
        "[a]\n".repeat(1000),
    ];
    for text in texts {
        let source = source(&text);
        let (_, diagnostics) = parse(&source, &[text.trim_end().to_owned(), format!("train.{text}")]);
        assert!(!diagnostics.is_empty());
        render(&diagnostics[..diagnostics.len().min(2)], &source);
    }
}

#[test]
fn of_very_many_problems_the_first_are_shown() {
    let source = source(&format!("{GOOD}{}", "[]\n".repeat(102)));
    let (_, diagnostics) = parse(&source, &[]);
    assert_eq!(diagnostics.len(), 102);
    let shown = render(&diagnostics, &source);
    assert_eq!(shown.matches("error[spec::syntax]").count(), 100);
    assert!(shown.ends_with("\n\nand 2 more problems\n"), "{shown}");
}

#[test]
fn many_problems_are_reported_at_once() {
    check(
        r#"
[experiment]
name = "a/b"
seeds = [1, 1, -2]
sead = 3

[modell]

[model]
plugin = "cifar"

[data]
dataset = 3
batch_size = 0
order = "shufled"
flip = "yes"

[train]
iterations = "10 epoch s"
eval_every = -1

[policies.tri]
kind = "triangular"
base_lr = -0.1
max_lrr = [0.005, 0.006]
step_size = []
gamma = 0.9

[policies.typo]
kind = "triangualr"

[policies.none]
optimizers = []
base_lr = 0.1

[optimizers.adam]
beta2 = 0.999
momentum = { kind = "fixed", base_lr = 0.9 }
"#,
        expect![[r#"
            error[spec::range]: this name cannot be a folder's
             --> a.toml:3:8
              |
            3 | name = "a/b"
              |        ^^^^^ expected letters, digits, `.`, `_` and `-`, at most 100, the first a letter or digit

            error[spec::range]: `seeds` is no list of seeds
             --> a.toml:4:13
              |
            4 | seeds = [1, 1, -2]
              |             ^ the seed 1 is there twice

            error[spec::range]: `seeds` is no list of seeds
             --> a.toml:4:16
              |
            4 | seeds = [1, 1, -2]
              |                ^^ expected a seed that is not negative

            error[spec::key]: unknown key `sead`
             --> a.toml:5:1
              |
            5 | sead = 3
              | ^^^^ not a key of [experiment]
              |
              = help: expected `name`, `seeds`, `init_seeds` or `data_seeds`

            error[spec::key]: unknown table `modell`
             --> a.toml:7:2
              |
            7 | [modell]
              |  ^^^^^^ not a table of a spec
              |
              = help: did you mean `model`?

            error[spec::missing]: `architecture` is missing
             --> a.toml:9:1
              |
            9 | [model]
              | ^^^^^^^ in this table

            error[spec::type]: `dataset` has the wrong type
              --> a.toml:13:11
               |
            13 | dataset = 3
               |           ^ expected a string, found an integer

            error[spec::range]: `batch_size` is out of range
              --> a.toml:14:14
               |
            14 | batch_size = 0
               |              ^ expected from 1 to 1048576

            error[spec::range]: `order` cannot be `shufled`
              --> a.toml:15:9
               |
            15 | order = "shufled"
               |         ^^^^^^^^^ expected `shuffled` or `stored`
               |
               = help: did you mean `shuffled`?

            error[spec::type]: `flip` has the wrong type
              --> a.toml:16:8
               |
            16 | flip = "yes"
               |        ^^^^^ expected `true` or `false`, found "yes"

            error[spec::type]: `iterations` has the wrong type
              --> a.toml:19:14
               |
            19 | iterations = "10 epoch s"
               |              ^^^^^^^^^^^^ expected a number of iterations, or a string such as "2 epochs" or "10%", found "10 epoch s"

            error[spec::range]: `eval_every` is out of range
              --> a.toml:20:14
               |
            20 | eval_every = -1
               |              ^^ expected no less than 0

            error[spec::range]: `base_lr` is out of range
              --> a.toml:24:11
               |
            24 | base_lr = -0.1
               |           ^^^^ expected a number that is not negative

            error[spec::key]: unknown key `max_lrr`
              --> a.toml:25:1
               |
            25 | max_lrr = [0.005, 0.006]
               | ^^^^^^^ not a key of a schedule of kind `triangular`
               |
               = help: did you mean `max_lr`?

            error[spec::axis]: an empty list leaves no cell of the grid
              --> a.toml:26:13
               |
            26 | step_size = []
               |             ^^ there is no value to take
               |
               = help: give at least one value, or remove the key

            error[spec::key]: unknown key `gamma`
              --> a.toml:27:1
               |
            27 | gamma = 0.9
               | ^^^^^ not a key of a schedule of kind `triangular`
               |
               = help: write `peak_factor` for the peaks of `sgdr`, `triangular` and `one_cycle`; `gamma` is of kinds that fall all the time, such as `step` and `exp_range`
               = help: `gamma` is a key of `step`, `multistep`, `exp`, `inv`, `sigmoid` and `exp_range`

            error[spec::kind]: there is no kind `triangualr`
              --> a.toml:30:8
               |
            30 | kind = "triangualr"
               |        ^^^^^^^^^^^^
               |
               = help: did you mean `triangular`?

            error[spec::missing]: the `kind` is missing
              --> a.toml:32:1
               |
            32 | [policies.none]
               | ^^^^^^^^^^^^^^^ what kind of schedule is this?
               |
               = help: add `kind = ".."`, one of `fixed`, `step`, `multistep`, `exp`, `inv`, `poly`, `sigmoid`, `decay`, `triangular`, `triangular2`, `exp_range`, `one_cycle`, `cosine`, `sgdr`, `linear`, `range_test`, `table` or `sequence`

            error[spec::optimizers]: no optimizer can take this policy
              --> a.toml:33:14
               |
            33 | optimizers = []
               |              ^^ the list is empty
               |
               = help: name some, or remove the key to meet all

            error[spec::missing]: `kind` is missing
              --> a.toml:36:1
               |
            36 | [optimizers.adam]
               | ^^^^^^^^^^^^^^^^^ in this table

            error[spec::missing]: `base` is missing
              --> a.toml:38:1
               |
            38 | momentum = { kind = "fixed", base_lr = 0.9 }
               | ^^^^^^^^ in this table

            error[spec::key]: unknown key `base_lr`
              --> a.toml:38:30
               |
            38 | momentum = { kind = "fixed", base_lr = 0.9 }
               |                              ^^^^^^^ not a key of a schedule of kind `fixed`
               |
               = help: expected `base`, `per`, `first_epoch`, `warmup`, `warmup_from`, `warmup_factor` or `warmup_shape`
        "#]],
    );
}

#[test]
fn a_list_is_an_axis_only_where_it_can_be() {
    check_changed(
        "name = \"good\"",
        "name = [\"a\", \"b\"]",
        expect![[r#"
            error[spec::type]: `name` has the wrong type
             --> a.toml:2:8
              |
            2 | name = ["a", "b"]
              |        ^^^^^^^^^^ expected a string, found a list
        "#]],
    );
    check_changed(
        "kind = \"triangular\"",
        "kind = [\"triangular\", \"triangular2\"]",
        expect![[r#"
            error[spec::type]: `kind` has the wrong type
              --> a.toml:17:8
               |
            17 | kind = ["triangular", "triangular2"]
               |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ expected a string, found a list
        "#]],
    );
    check_changed(
        "step_size = 2000",
        "step_size = { each = [2000, 3000] }",
        expect![[r#"
            error[spec::axis]: `step_size` takes one value
              --> a.toml:20:13
               |
            20 | step_size = { each = [2000, 3000] }
               |             ^^^^^^^^^^^^^^^^^^^^^^^ `each` is for keys whose value is itself a list
               |
               = help: a plain list makes an axis here
        "#]],
    );
    check_changed(
        "step_size = 2000",
        "step_size = { linspace = [1, 2] }",
        expect![[r#"
            error[spec::axis]: `linspace` takes three numbers
              --> a.toml:20:26
               |
            20 | step_size = { linspace = [1, 2] }
               |                          ^^^^^^ there are 2
               |
               = help: write `{ linspace = [first, last, count] }`; first and last are values
        "#]],
    );
    check_changed(
        "max_lr = [0.005, 0.006]",
        "max_lr = { logspace = [0, 0.1, 1.5], base = 2 }",
        expect![[r#"
            error[spec::axis]: `logspace` takes three numbers
              --> a.toml:19:24
               |
            19 | max_lr = { logspace = [0, 0.1, 1.5], base = 2 }
               |                        ^ expected a number above 0
               |
               = help: write `{ logspace = [first, last, count] }`; first and last are values

            error[spec::axis]: `logspace` takes three numbers
              --> a.toml:19:32
               |
            19 | max_lr = { logspace = [0, 0.1, 1.5], base = 2 }
               |                                ^^^ expected a count from 2 to 100,000
               |
               = help: write `{ logspace = [first, last, count] }`; first and last are values

            error[spec::key]: unknown key `base`
              --> a.toml:19:38
               |
            19 | max_lr = { logspace = [0, 0.1, 1.5], base = 2 }
               |                                      ^^^^ not a key of an axis by `logspace`
               |
               = help: expected `logspace`
        "#]],
    );
    check_changed(
        "max_lr = [0.005, 0.006]",
        "max_lr = [0.005, \"high\", -1]",
        expect![[r#"
            error[spec::type]: `max_lr` has the wrong type
              --> a.toml:19:18
               |
            19 | max_lr = [0.005, "high", -1]
               |                  ^^^^^^ expected a number, or "auto", found "high"

            error[spec::range]: `max_lr` is out of range
              --> a.toml:19:26
               |
            19 | max_lr = [0.005, "high", -1]
               |                          ^^ expected a number that is not negative
        "#]],
    );
}

#[test]
fn lists_of_lists() {
    let multistep = |milestones: &str| {
        format!(
            "kind = \"multistep\"\nbase_lr = 0.1\ngamma = 0.1\nmilestones = {milestones}\n\n[policies.other]\nkind = \"triangular\""
        )
    };
    check_changed("kind = \"triangular\"", &multistep("[100, \"2 epochs\"]"), expect![[""]]);
    check_changed("kind = \"triangular\"", &multistep("{ each = [[100, 200], [300]] }"), expect![[""]]);
    check_changed(
        "kind = \"triangular\"",
        &multistep("[200, 100]"),
        expect![[r#"
            error[spec::range]: `milestones` must increase
              --> a.toml:20:20
               |
            20 | milestones = [200, 100]
               |               ---  ^^^ this is not after
               |               |
               |               this
        "#]],
    );
    check_changed(
        "kind = \"triangular\"",
        &multistep("100"),
        expect![[r#"
            error[spec::type]: `milestones` has the wrong type
              --> a.toml:20:14
               |
            20 | milestones = 100
               |              ^^^ expected a list such as `[16_000, 22_000]`; an axis of lists is `{ each = [[..], [..]] }`, found an integer
        "#]],
    );
}

#[test]
fn stages() {
    let sequence =
        |stages: &str| format!("kind = \"sequence\"\nstages = {stages}\n\n[policies.other]\nkind = \"triangular\"");
    check_changed(
        "kind = \"triangular\"",
        &sequence(
            "[{ kind = \"fixed\", base_lr = 0.1 }, { kind = \"sequence\" }, { kind = \"fixed\", iteration = 3 }]",
        ),
        expect![[r#"
            error[spec::missing]: this stage has no end
              --> a.toml:18:11
               |
            18 | stages = [{ kind = "fixed", base_lr = 0.1 }, { kind = "sequence" }, { kind = "fixed", iteration = 3 }]
               |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
               |
               = help: add `iterations`; only the last stage may leave it out

            error[spec::missing]: this stage has no end
              --> a.toml:18:46
               |
            18 | stages = [{ kind = "fixed", base_lr = 0.1 }, { kind = "sequence" }, { kind = "fixed", iteration = 3 }]
               |                                              ^^^^^^^^^^^^^^^^^^^^^
               |
               = help: add `iterations`; only the last stage may leave it out

            error[spec::kind]: a stage cannot be a sequence itself
              --> a.toml:18:55
               |
            18 | stages = [{ kind = "fixed", base_lr = 0.1 }, { kind = "sequence" }, { kind = "fixed", iteration = 3 }]
               |                                                       ^^^^^^^^^^
               |
               = help: put its stages into this list

            error[spec::missing]: `base_lr` is missing
              --> a.toml:18:69
               |
            18 | stages = [{ kind = "fixed", base_lr = 0.1 }, { kind = "sequence" }, { kind = "fixed", iteration = 3 }]
               |                                                                     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ in this table

            error[spec::key]: unknown key `iteration`
              --> a.toml:18:87
               |
            18 | stages = [{ kind = "fixed", base_lr = 0.1 }, { kind = "sequence" }, { kind = "fixed", iteration = 3 }]
               |                                                                                       ^^^^^^^^^ not a key of a schedule of kind `fixed`
               |
               = help: did you mean `iterations`?
        "#]],
    );
    check_changed(
        "kind = \"triangular\"",
        &sequence("3"),
        expect![[r#"
            error[spec::type]: `stages` has the wrong type
              --> a.toml:18:10
               |
            18 | stages = 3
               |          ^ expected a list of tables such as `[{ kind = "..", iterations = 16_000 }, ..]`, found an integer
        "#]],
    );
}

#[test]
fn syntax_errors_hide_nothing_else() {
    check(
        "[experiment]\nname = \"x\nseeds = 0\n[data]\nbatch_size = 0\n",
        expect![[r#"
            error[spec::syntax]: this string is not closed
             --> a.toml:2:10
              |
            2 | name = "x
              |          ^ invalid basic string, expected `"`

            error[spec::range]: `seeds` is no list of seeds
             --> a.toml:3:9
              |
            3 | seeds = 0
              |         ^ expected a list of seeds, or how many: from 1 to 1,000,000

            error[spec::range]: `batch_size` is out of range
             --> a.toml:5:14
              |
            5 | batch_size = 0
              |              ^ expected from 1 to 1048576
        "#]],
    );
    check_changed(
        "[policies.tri]",
        "[policies.tri]\nkind = \"fixed\"\nbase_lr = 1\n\n[policies.tri]",
        expect![[r#"
            error[spec::duplicate]: `tri` is there twice
              --> a.toml:20:11
               |
            16 | [policies.tri]
               | -------------- the first
            ...
            20 | [policies.tri]
               |           ^^^ the second
               |
               = help: rename or remove one of them
        "#]],
    );
    check_changed(
        "batch_size = 100",
        "batch_size = 99999999999999999999",
        expect![[r#"
            error[spec::range]: this integer has more than 63 bits
              --> a.toml:11:14
               |
            11 | batch_size = 99999999999999999999
               |              ^^^^^^^^^^^^^^^^^^^^
               |
               = help: use a smaller one
        "#]],
    );
    check_changed(
        "batch_size = 100",
        "batch_size = 1979-05-27",
        expect![[r#"
            error[spec::type]: `batch_size` has the wrong type
              --> a.toml:11:14
               |
            11 | batch_size = 1979-05-27
               |              ^^^^^^^^^^ expected an integer, found a date-time
        "#]],
    );
}

#[test]
fn the_command_line_is_strict() {
    check_with(
        GOOD,
        &[
            "train.iterations",
            "train..iterations=3",
            "trian.iterations=3",
            "train=3",
            "train.iteration=3",
            "train.iterations=-5",
            "train.eval_every=[1, 2",
            "policies.trii.max_lr=3",
            "policies.tri=3",
            "optimizers.nesterov.momentum=",
            "data.order=sorted",
        ],
        expect![[r#"
            error[spec::set]: this sets nothing
             --> command line:1:7
              |
            1 | --set train.iterations
              |       ^^^^^^^^^^^^^^^^
              |
              = help: write `--set KEY=VALUE`, as in `--set train.iterations=100`

            error[spec::set]: this is no key
             --> command line:1:7
              |
            1 | --set train..iterations=3
              |       ^^^^^^^^^^^^^^^^^
              |
              = help: write the table and the key with dots between, as in `train.iterations`

            error[spec::set]: there is no table `trian`
             --> command line:1:7
              |
            1 | --set trian.iterations=3
              |       ^^^^^
              |
              = help: did you mean `train`?

            error[spec::set]: this names a table, not a key
             --> command line:1:7
              |
            1 | --set train=3
              |       ^^^^^
              |
              = help: write `train.KEY=VALUE`

            error[spec::key]: unknown key `iteration`
             --> command line:1:13
              |
            1 | --set train.iteration=3
              |             ^^^^^^^^^ not a key of [train]
              |
              = help: did you mean `iterations`?

            error[spec::range]: `iterations` is out of range
             --> command line:1:24
              |
            1 | --set train.iterations=-5
              |                        ^^ expected more than 0

            error[spec::syntax]: this is not a TOML value
             --> command line:1:29
              |
            1 | --set train.eval_every=[1, 2
              |                             ^ unclosed array, expected `]`

            error[spec::set]: the spec has no `[policies.trii]`
             --> command line:1:16
              |
            1 | --set policies.trii.max_lr=3
              |                ^^^^
              |
              = help: did you mean `tri`?

            error[spec::set]: this names a table, not a key
             --> command line:1:16
              |
            1 | --set policies.tri=3
              |                ^^^
              |
              = help: write `policies.NAME.KEY=VALUE`

            error[spec::syntax]: this is not a TOML value
             --> command line:1:36
              |
            1 | --set optimizers.nesterov.momentum=
              |                                    ^ string values must be quoted, expected literal string

            error[spec::range]: `order` cannot be `sorted`
             --> command line:1:18
              |
            1 | --set data.order=sorted
              |                  ^^^^^^ expected `shuffled` or `stored`
              |
              = help: did you mean `stored`?
        "#]],
    );
}

#[test]
fn grid_forms() {
    check(
        &format!(
            "{GOOD}\n[grid]\nzip = [[\"max_lr\"], 3]\nexclude = [{{ }}, {{ policy = 1979-05-27 }}, \"tri\"]\nzipp = 1\n"
        ),
        expect![[r#"
            error[spec::zip]: a zip needs two axes or more
              --> a.toml:26:8
               |
            26 | zip = [["max_lr"], 3]
               |        ^^^^^^^^^^
               |
               = help: add the axis that moves with it

            error[spec::type]: `zip` has the wrong type
              --> a.toml:26:20
               |
            26 | zip = [["max_lr"], 3]
               |                    ^ expected a list of lists of keys, `[["policy.max_lr", "policy.step_size"]]`, found an integer

            error[spec::exclude]: this excludes every cell
              --> a.toml:27:12
               |
            27 | exclude = [{ }, { policy = 1979-05-27 }, "tri"]
               |            ^^^
               |
               = help: say which cells, as in `{ policy = "long" }`

            error[spec::type]: `policy` has the wrong type
              --> a.toml:27:28
               |
            27 | exclude = [{ }, { policy = 1979-05-27 }, "tri"]
               |                            ^^^^^^^^^^ expected a number, a string or a boolean, found a date-time

            error[spec::type]: `exclude` has the wrong type
              --> a.toml:27:42
               |
            27 | exclude = [{ }, { policy = 1979-05-27 }, "tri"]
               |                                          ^^^^^ expected a list of tables of keys and values, `[{ policy = "long", seed = [2, 3] }]`, found a string

            error[spec::key]: unknown key `zipp`
              --> a.toml:28:1
               |
            28 | zipp = 1
               | ^^^^ not a key of [grid]
               |
               = help: did you mean `zip`?
        "#]],
    );
}

#[test]
fn seeds_apart() {
    check_changed(
        "seeds = [1, 2]",
        "seeds = 3\ninit_seeds = [1]\ndata_seeds = [2]",
        expect![[r#"
            error[spec::seeds]: `seeds` decides nothing here
             --> a.toml:3:1
              |
            3 | seeds = 3
              | ^^^^^ `init_seeds` and `data_seeds` are both set apart
              |
              = help: remove it
        "#]],
    );
    check_changed(
        "seeds = [1, 2]",
        "seeds = []",
        expect![[r#"
            error[spec::axis]: an empty list leaves no cell of the grid
             --> a.toml:3:9
              |
            3 | seeds = []
              |         ^^ there is no seed to take
              |
              = help: give at least one seed, or remove the key
        "#]],
    );
    check_changed(
        "seeds = [1, 2]",
        "seeds = 0",
        expect![[r#"
            error[spec::range]: `seeds` is no list of seeds
             --> a.toml:3:9
              |
            3 | seeds = 0
              |         ^ expected a list of seeds, or how many: from 1 to 1,000,000
        "#]],
    );
}

#[test]
fn limits_without_units_or_sense_are_reported() {
    check(
        &format!(
            "{GOOD}[limits]\ntime = 3600\nmemory = \"4 gigabytes\"\ncall = \"0 s\"\non_error = \"abort\"\nmemmory = \"1 GB\"\n"
        ),
        expect![[r#"
            error[spec::type]: `time` has the wrong type
              --> a.toml:25:8
               |
            25 | time = 3600
               |        ^^^^ expected a time such as "90 s", "10 min" or "2 h", found an integer

            error[spec::type]: `memory` has the wrong type
              --> a.toml:26:10
               |
            26 | memory = "4 gigabytes"
               |          ^^^^^^^^^^^^^ expected a size such as "512 MiB" or "4 GB", found "4 gigabytes"

            error[spec::range]: `call` is out of range
              --> a.toml:27:8
               |
            27 | call = "0 s"
               |        ^^^^^ expected more than 0

            error[spec::range]: `on_error` cannot be `abort`
              --> a.toml:28:12
               |
            28 | on_error = "abort"
               |            ^^^^^^^ expected `continue` or `stop`
               |
               = help: expected `continue` or `stop`

            error[spec::key]: unknown key `memmory`
              --> a.toml:29:1
               |
            29 | memmory = "1 GB"
               | ^^^^^^^ not a key of [limits]
               |
               = help: did you mean `memory`?
        "#]],
    );
    check(
        &format!("{GOOD}[limits]\ntime = [\"1 h\", \"2 h\"]\n"),
        expect![[r#"
        error[spec::axis]: `time` cannot be an axis
          --> a.toml:25:8
           |
        25 | time = ["1 h", "2 h"]
           |        ^^^^^^^^^^^^^^ one value is expected here, not a list
    "#]],
    );
}

#[test]
fn checkpoints_without_units_or_sense_are_reported() {
    check(
        &format!("{GOOD}[checkpoint]\nevery = 30\nkeep = \"all\"\n"),
        expect![[r#"
            error[spec::type]: `every` has the wrong type
              --> a.toml:25:9
               |
            25 | every = 30
               |         ^^ expected a time such as "30 s" or "5 min", or "500 iterations", "1 epoch" or "10%", or "never", found an integer

            error[spec::range]: `keep` cannot be `all`
              --> a.toml:26:8
               |
            26 | keep = "all"
               |        ^^^^^ expected `nothing`, `last`, `best` or `cycles`
               |
               = help: expected `nothing`, `last`, `best` or `cycles`
        "#]],
    );
    for every in ["0 s", "-1 s", "0 iterations", "0 epochs", "1e300 days", "sometimes", ""] {
        let (_, diagnostics) = parse(&source(&format!("{GOOD}[checkpoint]\nevery = \"{every}\"\n")), &[]);
        assert_eq!(diagnostics.len(), 1, "{every}");
    }
}

#[test]
fn items_of_lists_are_set_by_their_numbers() {
    let text = format!(
        "{GOOD}[policies.seq]\nkind = \"sequence\"\nstages = [{{ kind = \"fixed\", base_lr = 1, iterations = 10 }}, {{ kind = \"fixed\", base_lr = 2 }}]\n\
         [optimizers.grouped]\nkind = \"sgd\"\n[[optimizers.grouped.groups]]\nparameters = \"*.bias\"\nlr_mult = 2\n"
    );
    let source = SourceFile { name: "a.toml".to_owned(), text: text.clone() };
    let set = |set: &str| {
        let (spec, problems) = parse(&source, &[set.to_owned()]);
        assert_eq!(render(&problems, &source), "", "{set}");
        let settings =
            spec.policies.iter().flat_map(|it| &it.settings).chain(spec.optimizers.iter().flat_map(|it| &it.settings));
        settings.map(|setting| (setting.path.to_string(), setting.values[0].0.clone())).collect::<Vec<_>>()
    };
    let has = |argument: &str, path: &str, number: f64| {
        assert!(set(argument).contains(&(path.to_owned(), Value::Number(number))), "{argument}: {:?}", set(argument));
    };
    has("optimizers.grouped.groups.1.lr_mult=3", "optimizer.groups.1.lr_mult", 3.0);
    has("optimizers.grouped.groups.1.decay_mult=0", "optimizer.groups.1.decay_mult", 0.0);
    has("policies.seq.stages.2.base_lr=0.5", "policy.stages.2.base_lr", 0.5);
    check_with(
        &text,
        &[
            "optimizers.grouped.groups.0.lr_mult=3",
            "optimizers.grouped.groups.2.lr_mult=3",
            "optimizers.grouped.groups.lr_mult=3",
            "policies.seq.stages.3.base_lr=0.5",
            "policies.seq.stages.base_lr=0.5",
        ],
        expect![[r#"
            error[spec::set]: `groups` is a list, and its items are counted from 1
             --> command line:1:33
              |
            1 | --set optimizers.grouped.groups.0.lr_mult=3
              |                                 ^
              |
              = help: write `groups.1` for its only item

            error[spec::set]: `groups` has no item 2
             --> command line:1:33
              |
            1 | --set optimizers.grouped.groups.2.lr_mult=3
              |                                 ^
              |
              = help: write `groups.1` for its only item

            error[spec::set]: `groups` is a list, and its items are counted from 1
             --> command line:1:33
              |
            1 | --set optimizers.grouped.groups.lr_mult=3
              |                                 ^^^^^^^
              |
              = help: write `groups.1.lr_mult` for its only item

            error[spec::set]: `stages` has no item 3
             --> command line:1:27
              |
            1 | --set policies.seq.stages.3.base_lr=0.5
              |                           ^
              |
              = help: write `stages.1` for the first of its 2 items

            error[spec::set]: `stages` is a list, and its items are counted from 1
             --> command line:1:27
              |
            1 | --set policies.seq.stages.base_lr=0.5
              |                           ^^^^^^^
              |
              = help: write `stages.1.base_lr` for the first of its 2 items
        "#]],
    );
}
