//! A check of specs whose dataset is not on this machine: what is wrong with any dataset, and nothing else.

use super::*;
use crate::facts::NoDataset;

/// [`HEAD`] with a dataset that is nowhere, and `body`.
fn absent(body: &str) -> (SourceFile, clr_spec::Spec, Vec<clr_spec::Diagnostic>, Facts) {
    let text = format!("{HEAD}{body}").replace("\"cifar10\"", "\"flowers\"");
    let source = SourceFile { name: "a.toml".to_owned(), text };
    let (spec, problems) = parse(&source, &[]);
    let mut facts = facts_for(&spec);
    let looked = "dataset `flowers` was not found; looked for\n  /data: flowers/*.parquet";
    facts.datasets.insert(DatasetQuery::named("flowers"), Err(NoDataset::Absent(looked.to_owned())));
    (source, spec, problems, facts)
}

/// Errors or warnings: what is underlined, title and text.
#[track_caller]
fn check_found(body: &str, expected: &[(&str, &str, &str)]) {
    let (source, spec, mut problems, facts) = absent(body);
    match super::super::check(&spec, &facts) {
        Ok(plan) => problems.extend(plan.warnings),
        Err(more) => problems.extend(more),
    }
    let found: Vec<(&str, &str, &str)> = problems
        .iter()
        .map(|found| (&source.text[found.span.start..found.span.end], found.title.as_str(), found.text.as_str()))
        .collect();
    assert_eq!(found, expected, "{body}");
}

fn policy(keys: &str) -> String {
    format!("{SGD}[policies.a]\n{keys}\n")
}

#[test]
fn all_that_needs_no_data_is_checked() {
    check_found(&policy("kind = \"fixed\"\nbase_lr = 0.1"), &[]);
    check_found(
        "[policies.a]\nkind = \"triangular\"\nbase_lr = 2\nmax_lr = 1\nstep_size = 5\n[policies.b]\nkind = \"fixed\"\n\
         base_lr = -1\n[optimizers.a]\nkind = \"addam\"\n[optimizers.b]\nkind = \"sgd\"\nmomentum = 1.5\n[optimizers.c]\n\
         kind = \"sgd\"\nclip_gradient = 1\n",
        &[
            ("-1", "`base_lr` is out of range", "expected a number that is not negative"),
            ("2", "`base_lr` is above `max_lr`", "this is 2"),
            ("\"addam\"", "there is no optimizer `addam`", "not in the plugin `cifar`"),
            ("1.5", "`momentum` is out of range", "expected at least 0 and below 1"),
            ("clip_gradient", "the optimizer `sgd` has no `clip_gradient`", ""),
        ],
    );
    check_found(
        &policy("kind = \"multistep\"\nbase_lr = 0.1\ngamma = 0.1\nmilestones = [20_000, 30_000]"),
        &[(
            "[20_000, 30_000]",
            "`milestones` reaches beyond the training: the last of them is not reached",
            "30,000, and the training has 25,000 iterations",
        )],
    );
}

#[test]
fn durations_in_epochs_are_compared_with_each_other() {
    let any = "however many training images there are";
    let milestones = |list: &str| {
        policy(&format!(
            "train.iterations = \"10 epochs\"\nkind = \"multistep\"\nbase_lr = 0.1\ngamma = 0.1\nmilestones = {list}"
        ))
    };
    check_found(
        &milestones("[\"5 epochs\", \"50%\"]"),
        &[("[\"5 epochs\", \"50%\"]", "`milestones` must increase", "")],
    );
    check_found(&milestones("[\"5 epochs\", \"90%\"]"), &[]);
    check_found(
        &milestones("[\"5 epochs\", \"12 epochs\"]"),
        &[(
            "[\"5 epochs\", \"12 epochs\"]",
            "`milestones` reaches beyond the training: the last of them is not reached",
            any,
        )],
    );
    check_found(
        &policy(
            "train.iterations = \"10 epochs\"\nkind = \"triangular\"\nbase_lr = 0\nmax_lr = 1\nstep_size = \"2 epochs\"",
        ),
        &[("\"2 epochs\"", "the training ends in the middle of a cycle", any)],
    );
    check_found(
        &policy(
            "train.iterations = \"8 epochs\"\nkind = \"triangular\"\nbase_lr = 0\nmax_lr = 1\nstep_size = \"2 epochs\"",
        ),
        &[],
    );
    // An epoch is an iteration at the least.
    check_found(
        &policy("train.iterations = 5\nkind = \"triangular\"\nbase_lr = 0\nmax_lr = 1\nstep_size = \"12 epochs\""),
        &[("\"12 epochs\"", "`step_size` reaches beyond the training: `max_lr` is not reached", any)],
    );
    check_found(
        &policy("kind = \"step\"\nper = \"epoch\"\nbase_lr = 1\ngamma = 0.5\nstep_size = \"1.5 epochs\""),
        &[("\"1.5 epochs\"", "`step_size` is 1.5 epochs, and this schedule changes once an epoch", "")],
    );
}

/// Each of these is wrong, or a warning, with some numbers of training images and right with others.
#[test]
fn what_a_dataset_could_mend_is_not_reported() {
    let multistep =
        |list: &str| policy(&format!("kind = \"multistep\"\nbase_lr = 0.1\ngamma = 0.1\nmilestones = {list}"));
    for list in [
        "[5000, \"1 epoch\"]",
        "[\"1 epoch\", 5000]",
        "[10, \"1 epoch\", 100]",
        "[1000, \"7 epochs\", 1200]",
        "[\"1 epoch\", 3000, \"7 epochs\"]",
        "[\"10%\", \"3 epochs\", \"11%\"]",
        "[\"400 epochs\"]",
    ] {
        check_found(&multistep(list), &[]);
    }
    for keys in [
        "kind = \"triangular\"\nbase_lr = 0\nmax_lr = 1\nstep_size = \"8 epochs\"",
        "kind = \"triangular\"\nbase_lr = 0\nmax_lr = 1\nstep_size = \"7 epochs\"",
        "kind = \"sgdr\"\nmin_lr = 0\nmax_lr = 1\nfirst_cycle = \"7 epochs\"",
        "kind = \"step\"\nper = \"epoch\"\nbase_lr = 1\ngamma = 0.5\nstep_size = 1500",
        "kind = \"decay\"\nbase_lr = 0\nmax_lr = 1\nstep_size = \"30 epochs\"",
        "train.iterations = \"3 epochs\"\nkind = \"triangular\"\nbase_lr = 0\nmax_lr = 1\nstep_size = 1000",
        "train.iterations = \"3 epochs\"\nkind = \"cosine\"\nmin_lr = 0\nmax_lr = 1\nsteps = 4000",
    ] {
        check_found(&policy(keys), &[]);
    }
    // Enough of them for any batch and split.
    let large = policy(
        "kind = \"fixed\"\nbase_lr = 1\ndata.batch_size = [64, 100_000]\ndata.validation = [0, 1_000_000]\ntrain.accumulate = [1, 8]",
    );
    check_found(&large, &[]);
    // Two steps that are one where an epoch has 500 iterations.
    check_found(
        &policy(
            "kind = \"triangular\"\nbase_lr = 0\nmax_lr = 1\nstep_size = [500, \"1 epoch\"]\ntrain.iterations = \"8 epochs\"",
        ),
        &[],
    );
}

#[test]
fn a_split_that_is_too_small_by_the_spec_is_told() {
    check_found(
        &policy("kind = \"fixed\"\nbase_lr = 0.1\ndata.validation = 20"),
        &[("20", "the validation split has 20 images", "each is 5% of its accuracy")],
    );
}

#[test]
fn groups_are_checked_as_far_as_parameters_are_known() {
    let body = format!("{FIXED}{SGD}[[optimizers.sgd.groups]]\nparameters = \"convv*\"\nlr_mult = 2\n");
    let (_, spec, _, mut facts) = absent(&body);
    let known = super::super::models_with_groups(&spec, &facts.assuming_enough());
    assert_eq!(known.len(), 1);
    let parameter = ParameterFacts { name: "conv1.weight".to_owned(), value_count: 1, lr_mult: 1.0, decay_mult: 1.0 };
    for (parameters, expected) in [(vec![parameter], Some("no parameter matches `convv*`")), (vec![], None)] {
        facts.parameters = known.iter().map(|query| (query.clone(), Ok(parameters.clone().into()))).collect();
        let found = super::super::check(&spec, &facts).map_err(|problems| problems[0].title.clone());
        assert_eq!(found.err().as_deref(), expected);
    }
}

#[test]
fn a_spec_that_no_dataset_makes_right_is_refused() {
    // Before or after 100 iterations: an epoch is not both.
    let multistep = |name: &str, list: &str| {
        format!("[policies.{name}]\nkind = \"multistep\"\nbase_lr = 0.1\ngamma = 0.1\nmilestones = {list}\n")
    };
    let body = format!("{SGD}{}{}", multistep("a", "[\"1 epoch\", 100]"), multistep("b", "[100, \"1 epoch\"]"));
    let (_, spec, _, facts) = absent(&body);
    let problems = super::super::check(&spec, &facts).unwrap_err();
    assert!(!problems.is_empty() && problems.iter().all(|problem| problem.title == "`milestones` must increase"));
    assert!(problems[0].help.iter().any(|help| help.contains("with every other number something else is wrong")));
}

#[test]
fn a_name_that_is_nearly_a_known_one_is_a_warning() {
    let (source, spec, _, mut facts) = absent(&format!("{FIXED}{SGD}").replace("flowers", "cifar"));
    facts.dataset_names.push("flower".to_owned());
    let warnings = super::super::check(&spec, &facts).unwrap().warnings;
    expect![[r#"
        warning[spec::dataset]: the dataset `flowers` is not on this machine
         --> a.toml:7:11
          |
        7 | dataset = "flowers"
          |           ^^^^^^^^^
          |
          = help: did you mean `flower`?
    "#]]
    .assert_eq(&render(&warnings, &source));
}

#[test]
fn what_was_not_checked_is_said_with_where_the_data_was_looked_for() {
    let (_, spec, _, facts) = absent(&policy("kind = \"step\"\nbase_lr = 1\ngamma = 0.1\nstep_size = \"1 epoch\""));
    expect![[r#"
        the dataset `flowers` is not on this machine, so this was not checked: whether its files can be read, its images suit the architecture and are enough for the batches and the validation split, and how durations in epochs compare with those in iterations
        dataset `flowers` was not found; looked for
          /data: flowers/*.parquet"#]].assert_eq(&super::super::unchecked(&spec, &facts).join("\n"));
    let (_, spec, _, facts) = absent(&format!("{FIXED}{SGD}"));
    assert!(!super::super::counts_epochs(&spec, &facts));
    assert!(!super::super::unchecked(&spec, &facts)[0].contains("epoch"));
}

#[test]
fn a_run_is_refused_with_where_the_data_was_looked_for() {
    let (source, spec, _, facts) = absent(&format!("{FIXED}{SGD}"));
    expect![[r#"
        error[spec::dataset]: there is no dataset `flowers` on this machine
         --> a.toml:7:11
          |
        7 | dataset = "flowers"
          |           ^^^^^^^^^ dataset `flowers` was not found; looked for
          |
          = note: /data: flowers/*.parquet
    "#]]
    .assert_eq(&render(&plan(&spec, &facts).unwrap_err(), &source));
}
