//! Words of other tools are answered with ours, wherever a spec has them.

use std::collections::BTreeSet;

use clr_spec::example::{GOOD, source};
use clr_spec::foreign::{FOREIGN, Place, answer};
use clr_spec::{keys, kinds};

use super::*;

/// The diagnostics of a spec in which the word stands at the place.
fn said(word: &str, place: Place) -> Vec<String> {
    let text = match place {
        Place::Kind => GOOD.replace("kind = \"triangular\"", &format!("kind = \"{word}\"")),
        Place::ScheduleKey => GOOD.replace("step_size = 2000", &format!("step_size = 2000\n\"{word}\" = 1")),
        Place::Optimizer => GOOD.replace("kind = \"nesterov\"", &format!("kind = \"{word}\"")),
        Place::OptimizerKey => format!("{GOOD}\"{word}\" = 1\n").replace("kind = \"nesterov\"", "kind = \"rmsprop\""),
        Place::GroupKey => {
            format!("{GOOD}groups = [{{ parameters = \"*\", lr_mult = 1, \"{word}\" = 1 }}]\n")
        }
        Place::Section => GOOD.replace("[train]", &format!("[train]\n\"{word}\" = 1")),
    };
    let source = source(&text);
    let (spec, mut diagnostics) = parse(&source, &[]);
    diagnostics.extend(plan(&spec, &facts()).err().unwrap_or_default());
    diagnostics.into_iter().flat_map(|diagnostic| diagnostic.help).collect()
}

#[test]
fn every_word_of_another_tool_is_answered_with_ours() {
    for foreign in FOREIGN {
        for place in foreign.places {
            for word in foreign.words {
                let said = said(word, *place);
                assert!(said.iter().any(|help| help == foreign.answer), "`{word}`, {place:?}: {said:#?}");
            }
        }
    }
}

/// All that an answer sets in backticks and that looks like a name of ours is one.
#[test]
fn every_answer_names_what_there_is() {
    let mut ours: BTreeSet<String> =
        ["kind", "optimizers", "optimizer", "policies", "grid", "zip", "exclude", "NAME"].map(str::to_owned).into();
    for section in
        keys::OVERRIDABLE.into_iter().chain([&keys::EXPERIMENT, &keys::CHECKPOINT, &keys::LIMITS, &keys::RANGE_TEST])
    {
        ours.insert(section.name.to_owned());
        ours.extend(section.keys.iter().map(|key| key.name.to_owned()));
    }
    for kind in kinds::SCHEDULE_KINDS {
        ours.insert(kind.name.to_owned());
        for key in kind.keys.iter().chain(kinds::COMMON) {
            ours.insert(key.name.to_owned());
            ours.insert(kinds::Naming::Plain.name(key.name).to_owned());
        }
    }
    let plugin = facts().plugins["cifar"].clone().unwrap();
    ours.extend(plugin.optimizers.iter().map(|optimizer| optimizer.name.clone()));
    ours.extend(plugin.models[0].hypers.iter().cloned());
    ours.extend(["epsilon", "rms_decay", "rho", "adamw", "form"].map(str::to_owned));
    ours.extend(keys::GROUP.keys.iter().map(|key| key.name.to_owned()));
    for foreign in FOREIGN {
        let mut named = 0;
        for quoted in foreign.answer.split('`').skip(1).step_by(2) {
            // `key = "value"`: values are kinds and forms, or texts of their own.
            for name in quoted.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|name| !name.is_empty())
            {
                named += usize::from(ours.contains(name));
            }
        }
        assert!(named > 0, "{}", foreign.answer);
    }
}

#[test]
fn case_and_modules_make_no_difference() {
    let step = answer("StepLR", Place::Kind);
    assert!(step.is_some());
    assert_eq!(answer("torch.optim.lr_scheduler.step_lr", Place::Kind), step);
    assert_eq!(answer("t_0", Place::ScheduleKey), answer("T_0", Place::ScheduleKey));
    assert_eq!(answer("StepLR", Place::Optimizer), None);
    assert_eq!(answer("", Place::Kind), None);
}

#[test]
fn betas_are_no_axis_and_nesterov_is_an_optimizer() {
    let with = |kind: &str, line: &str| {
        let source = source(&format!("{GOOD}{line}\n").replace("kind = \"nesterov\"", &format!("kind = \"{kind}\"")));
        let (spec, diagnostics) = parse(&source, &[]);
        assert_eq!(diagnostics, []);
        let problems = plan(&spec, &facts()).expect_err("the word is none of ours");
        problems.into_iter().map(|problem| (problem.title, problem.help.join("; "))).collect::<Vec<_>>()
    };
    let [(title, help)] = &*with("adam", "betas = [0.9, 0.999]") else { panic!("one message") };
    assert_eq!(title, "the optimizer `adam` has no `betas`");
    assert!(help.contains("`beta1 = 0.9`") && help.contains("`beta2 = 0.999`"), "{help}");
    let [(_, help)] = &*with("sgd", "nesterov = true") else { panic!("one message") };
    assert!(help.contains("`kind = \"nesterov\"`"), "{help}");
}

/// A key that is there under another tool's name is not reported as missing too.
#[test]
fn a_word_of_another_tool_is_one_message() {
    let codes = |text: &str| -> Vec<&'static str> {
        parse(&source(text), &[]).1.into_iter().map(|diagnostic| diagnostic.code).collect()
    };
    assert_eq!(codes(&GOOD.replace("iterations = 25_000", "epochs = 10")), ["spec::key"]);
    assert_eq!(codes(&GOOD.replace("step_size = 2000", "step_size_up = 2000")), ["spec::key"]);
    assert_eq!(codes(&GOOD.replace("kind = \"triangular\"", "lr_policy = \"triangular\"")), ["spec::key"]);
}

/// Tables of a solver, at the top and in place of `kind`.
#[test]
fn tables_and_policies_without_a_kind_are_answered() {
    let helps = |text: &str| -> Vec<String> {
        parse(&source(text), &[]).1.into_iter().flat_map(|diagnostic| diagnostic.help).collect()
    };
    let solver = helps(&format!("lr_policy = \"step\"\nmax_iter = 10\n{GOOD}"));
    assert!(solver.iter().any(|help| help.contains("`[policies.NAME]`")), "{solver:?}");
    assert!(solver.iter().any(|help| help.contains("`train.iterations = 25_000`")), "{solver:?}");
    let policy = helps(&GOOD.replace("kind = \"triangular\"", "lr_policy = \"triangular\""));
    assert!(policy.iter().any(|help| help.contains("`kind = ")), "{policy:?}");
}
