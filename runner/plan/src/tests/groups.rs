//! Groups of parameters, as they are planned.

use expect_test::expect;

use super::*;

/// Of `sgd`, with these groups.
fn with_groups(groups: &str) -> String {
    format!("{HEAD}{FIXED}{SGD}{groups}")
}

/// The groups that the plugin is told of for the first trial.
fn told(groups: &str) -> String {
    planned(&with_groups(groups)).trials[0].optimizer.json.to_string()
}

fn id(groups: &str) -> TrialId {
    planned(&with_groups(groups)).trials[0].id
}

const NO_DECAY: &str = "[[optimizers.sgd.groups]]\nparameters = \"*.bias\"\ndecay_mult = 0\n";

#[test]
fn a_plugin_is_told_names_and_numbers() {
    // What a group does not say stays the architecture's own: conv1 and conv2 learn their biases twice as fast, conv3 does not.
    // The bias of ip1 is without decay as it is.
    let expected = expect![[
        r#"{"optimizer":"sgd","groups":[{"parameters":["conv1.bias","conv2.bias"],"lr_mult":2.0,"decay_mult":0.0},{"parameters":["conv3.bias"],"lr_mult":1.0,"decay_mult":0.0}]}"#
    ]];
    expected.assert_eq(&told(NO_DECAY));
    assert_eq!(told(""), r#"{"optimizer":"sgd"}"#);
}

#[test]
fn a_later_group_s_word_holds() {
    let slow = "[[optimizers.sgd.groups]]\nparameters = [\"conv1.*\", \"conv?.weight\"]\nlr_mult = 0.1\n";
    let first = "[[optimizers.sgd.groups]]\nparameters = \"conv1.*\"\nlr_mult = 0\n";
    let expected = expect![[
        r#"{"optimizer":"sgd","groups":[{"parameters":["conv1.weight"],"lr_mult":0.0,"decay_mult":1.0},{"parameters":["conv1.bias"],"lr_mult":0.0,"decay_mult":0.0},{"parameters":["conv2.weight","conv3.weight"],"lr_mult":0.1,"decay_mult":1.0},{"parameters":["conv2.bias"],"lr_mult":2.0,"decay_mult":0.0},{"parameters":["conv3.bias"],"lr_mult":1.0,"decay_mult":0.0}]}"#
    ]];
    expected.assert_eq(&told(&format!("{NO_DECAY}{slow}{first}")));
}

#[test]
fn ids_are_of_what_groups_come_to() {
    let all =
        "[[optimizers.sgd.groups]]\nparameters = [\"conv1.bias\", \"conv2.bias\", \"conv3.bias\"]\ndecay_mult = 0.0\n";
    assert_eq!(id(NO_DECAY), id(all), "another way to say the same");
    assert_ne!(id(NO_DECAY), id(""));
    assert_eq!(
        id("[[optimizers.sgd.groups]]\nparameters = \"conv3.*\"\nlr_mult = 1\n"),
        id(""),
        "as the architecture has it"
    );
    assert_eq!(id("groups = []\n"), id(""));
}

#[test]
fn each_group_has_columns_of_its_own() {
    let plan =
        planned(&with_groups(&format!("{NO_DECAY}[[optimizers.sgd.groups]]\nparameters = \"ip1.*\"\nlr_mult = 10\n")));
    let settings = crate::settings::of(&plan.trials[0]);
    let found: Vec<String> = settings
        .iter()
        .filter_map(|(name, value)| Some(format!("{}={value}", name.strip_prefix("optimizer.groups.")?)))
        .collect();
    assert_eq!(found, ["1.parameters=*.bias", "1.decay_mult=0", "2.parameters=ip1.*", "2.lr_mult=10"]);
    let kind = |path: &str| crate::types::of(&format!("optimizer.groups.{path}"), &facts());
    assert_eq!([kind("1.parameters"), kind("2.lr_mult")], [AxisKind::Text, AxisKind::Float]);
}

#[test]
fn a_pattern_need_match_in_one_of_the_models() {
    let architectures = HEAD.replace("\"cifar10_full\"", "[\"cifar10_full\", \"old\"]");
    let groups = "[[optimizers.sgd.groups]]\nparameters = [\"*.bias\", \"bn*\"]\ndecay_mult = 0\n";
    let plan = planned(&format!("{architectures}{FIXED}{SGD}{groups}"));
    let matched: Vec<(u64, u64)> =
        plan.trials.iter().map(|trial| (trial.optimizer.groups[0].tensors, trial.optimizer.groups[0].values)).collect();
    assert_eq!(matched, [(4, 138), (5, 170)]);
}

#[test]
fn groups_that_cannot_be() {
    check_problems(
        &format!(
            "{FIXED}{SGD}[[optimizers.sgd.groups]]\nparameters = [\"*.biass\", \"bias\"]\ndecay_mult = 0\n\
             [[optimizers.sgd.groups]]\nparameters = \"transformer.h.0.*\"\nlr_mult = 0.1\n\
             [optimizers.adagrad]\nkind = \"adagrad\"\n[[optimizers.adagrad.groups]]\nparameters = \"*\"\nlr_mult = 1\n"
        ),
        expect![[r#"
            error[spec::groups]: no parameter matches `*.biass` or `bias`
              --> a.toml:17:14
               |
            17 | parameters = ["*.biass", "bias"]
               |              ^^^^^^^^^^^^^^^^^^^
               |
               = help: did you mean `*.bias` by `*.biass`?
               = help: did you mean `*.bias` by `bias`?
               = help: `cifar10_full` has `conv1.weight`, `conv1.bias`, `conv2.weight`, `conv2.bias`, `conv3.weight`, `conv3.bias`, `ip1.weight` and `ip1.bias`

            error[spec::groups]: no parameter matches `transformer.h.0.*`
              --> a.toml:20:14
               |
            20 | parameters = "transformer.h.0.*"
               |              ^^^^^^^^^^^^^^^^^^^
               |
               = help: `cifar10_full` has `conv1.weight`, `conv1.bias`, `conv2.weight`, `conv2.bias`, `conv3.weight`, `conv3.bias`, `ip1.weight` and `ip1.bias`

            error[spec::groups]: `adagrad` takes no groups of parameters
              --> a.toml:24:22
               |
            23 | kind = "adagrad"
               |        --------- not offered by the plugin `cifar`
            24 | [[optimizers.adagrad.groups]]
               |                      ^^^^^^
               |
               = help: remove them: all parameters train alike there
        "#]],
    );
    check_problems(
        &format!(
            "{FIXED}{SGD}[[optimizers.sgd.groups]]\npattern = \"*.bias\"\nweight_decay = 0\n\
             [[optimizers.sgd.groups]]\nparameters = \"*.bias\"\n[[optimizers.sgd.groups]]\nparameters = [1, \"a b\"]\nlr_mult = -1\n\
             [[optimizers.sgd.groups]]\nparameters = \"a b\"\ndecay_mult = \"none\"\n\
             [[optimizers.sgd.groups]]\nparameters = []\ndecay_mult = 0\n\
             [optimizers.one]\nkind = \"sgd\"\n[optimizers.one.groups]\nparameters = \"*\"\nlr_mult = 1\n\
             [optimizers.two]\nkind = \"sgd\"\ngroups = [\"*.bias\"]\n"
        ),
        expect![[r#"
            error[spec::missing]: `parameters` is missing
              --> a.toml:16:1
               |
            16 | [[optimizers.sgd.groups]]
               | ^^^^^^^^^^^^^^^^^^^^^^^^^ in this table

            error[spec::key]: unknown key `pattern`
              --> a.toml:17:1
               |
            17 | pattern = "*.bias"
               | ^^^^^^^ not a key of a group of parameters
               |
               = help: write `parameters`, such as `"*.bias"`

            error[spec::key]: unknown key `weight_decay`
              --> a.toml:18:1
               |
            18 | weight_decay = 0
               | ^^^^^^^^^^^^ not a key of a group of parameters
               |
               = help: write `decay_mult`: a group has the optimizer's weight decay, times that; 0 is without

            error[spec::missing]: this group changes nothing
              --> a.toml:19:1
               |
            19 | [[optimizers.sgd.groups]]
               | ^^^^^^^^^^^^^^^^^^^^^^^^^ it has neither `lr_mult` nor `decay_mult`
               |
               = help: say what is another for these parameters, as in `{ parameters = "*.bias", decay_mult = 0 }`

            error[spec::type]: `parameters` has the wrong type
              --> a.toml:22:15
               |
            22 | parameters = [1, "a b"]
               |               ^ expected a name or a pattern such as "*.bias", found an integer

            error[spec::range]: `lr_mult` is out of range
              --> a.toml:23:11
               |
            23 | lr_mult = -1
               |           ^^ expected a number that is not negative

            error[spec::range]: `parameters` is out of range
              --> a.toml:25:14
               |
            25 | parameters = "a b"
               |              ^^^^^ expected a name or a pattern such as "*.bias", found "a b"

            error[spec::type]: `decay_mult` has the wrong type
              --> a.toml:26:14
               |
            26 | decay_mult = "none"
               |              ^^^^^^ expected a number, found "none"

            error[spec::range]: `parameters` is out of range
              --> a.toml:28:14
               |
            28 | parameters = []
               |              ^^ the list is empty
               |
               = help: name some, as in `["*.bias"]`, or remove the group

            error[spec::type]: `groups` has the wrong type
              --> a.toml:32:1
               |
            32 | [optimizers.one.groups]
               | ^^^^^^^^^^^^^^^^^^^^^^^ expected a list of tables, found a table
               |
               = help: write `[[optimizers.NAME.groups]]`, with two brackets, above the keys of each group

            error[spec::type]: `groups` has the wrong type
              --> a.toml:37:11
               |
            37 | groups = ["*.bias"]
               |           ^^^^^^^^ expected a table such as `{ parameters = "*.bias", decay_mult = 0 }`, found a string
        "#]],
    );
}
