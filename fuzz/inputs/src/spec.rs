//! Specs, and arguments of `--set` after the spec, each behind a zero byte: parsed, planned, and all that is wrong shown.

use clr_plan::example::facts;
use clr_plan::plan;
use clr_run::plot;
use clr_spec::{SourceFile, Spec, parse, render, render_for};
use clr_terminal::terminal::Terminal;

use super::Target;

pub(super) const SPEC: Target = Target { name: "spec", read, seeds };

/// Grids of more trials than this take long because they are asked to, and are not planned here.
const MOST_TRIALS: f64 = 2000.0;

fn read(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let mut texts = text.split('\0').map(str::to_owned);
    let source = SourceFile { name: "spec.toml".to_owned(), text: texts.next().unwrap_or_default() };
    let sets: Vec<String> = texts.take(3).collect();
    let (spec, mut problems) = parse(&source, &sets);
    assert_eq!(spec.complete, problems.is_empty());
    if most_trials(&spec) > MOST_TRIALS {
        return;
    }
    match plan(&spec, &facts()) {
        Ok(plan) => {
            assert!(problems.is_empty(), "a plan was made of a wrong spec");
            use_plan(&plan);
        }
        Err(more) => problems.extend(more),
    }
    for diagnostic in &problems {
        let shown = render(std::slice::from_ref(diagnostic), &source);
        assert!(shown.starts_with(&format!("error[{}]: ", diagnostic.code)), "{shown}");
    }
    render_for(&problems, &source, Some(80), true);
}

/// No fewer trials than the spec asks for: the product of its axes.
fn most_trials(spec: &Spec) -> f64 {
    let product = |settings: &[clr_spec::Setting]| -> f64 {
        settings.iter().map(|setting| setting.values.len().max(1) as f64).product()
    };
    let policies: f64 = spec.policies.iter().map(|policy| product(&policy.settings)).sum();
    let optimizers: f64 = spec.optimizers.iter().map(|optimizer| product(&optimizer.settings)).sum();
    product(&spec.settings) * policies.max(1.0) * optimizers.max(1.0) * spec.seeds.count() as f64
}

fn use_plan(plan: &clr_plan::Plan) {
    for terminal in [Terminal::default(), Terminal { width: Some(40), ..Terminal::default() }] {
        clr_run::show::plan(plan, &clr_plan::json::Estimates::default(), true, &terminal);
    }
    let written = clr_plan::json::write_json(plan, &clr_plan::json::Estimates::default(), &mut std::io::sink());
    assert!(written.is_ok());
    for trial in plan.trials.iter() {
        for (name, schedule) in trial.schedules() {
            for step in [0, 1, trial.iterations / 2, trial.iterations - 1] {
                let value = schedule.at(step);
                assert!(!value.is_nan(), "{} of `{}` at {step} is {value}", name, trial.label);
            }
        }
    }
    if plan.trials.iter().map(|trial| trial.iterations).sum::<u64>() < 10_000 {
        plot::plot(plan, "lr", 80, 8);
        let _ = plot::csv(plan, 7, &mut std::io::sink());
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let head = "[experiment]\nname = \"a\"\nseeds = [1, 2]\n[model]\nplugin = \"cifar\"\narchitecture = \"cifar10_full\"\n\
                [data]\ndataset = \"cifar10\"\nbatch_size = 100\n[train]\niterations = 1_000\n";
    let optimizers = "[optimizers.sgd]\nkind = \"sgd\"\nmomentum = 0.9\n[optimizers.adam]\nkind = \"adam\"\n";
    let policies = [
        ("fixed", "base_lr = [0.1, 0.01]"),
        ("step", "base_lr = 0.1\ngamma = 0.1\nstep_size = 100"),
        ("multistep", "base_lr = 0.1\ngamma = 0.1\nmilestones = { each = [[10, 20], [\"1 epochs\"]] }"),
        ("exp", "base_lr = 0.1\ngamma = 0.999"),
        ("inv", "base_lr = 0.1\ngamma = 0.999\npower = 0.75"),
        ("poly", "base_lr = 0.1\npower = 0.5\nsteps = 500"),
        ("sigmoid", "base_lr = 0.1\ngamma = -0.01\nstep_size = 500"),
        ("decay", "base_lr = 0.1\nmax_lr = 0.5\nstep_size = \"0.5 epochs\""),
        (
            "triangular",
            "base_lr = 0.1\nmax_lr = { linspace = [0.5, 1, 3] }\nstep_size = 20\ncycles = 2.5\nwindow = \"hann\"",
        ),
        ("triangular2", "base_lr = 0.1\nmax_lr = 0.5\nstep_size = 20\nstep_size_down = 30\noptimizers = [\"sgd\"]"),
        ("exp_range", "base_lr = 0.1\nmax_lr = 0.5\nstep_size = 20\ngamma = 0.99\ndecline = \"amplitude\""),
        (
            "one_cycle",
            "max_lr = 0.5\nform = \"two_phase\"\nanneal = \"cosine\"\noptimizer.momentum = { kind = \"triangular\", base = 0.95, max = 0.85, step_size = 10 }",
        ),
        ("cosine", "max_lr = 0.5\nmin_lr = 0.1\ntrain.iterations = 70"),
        ("sgdr", "max_lr = 0.5\nfirst_cycle = 10\nmult = 2\nper = \"epoch\""),
        ("linear", "from_lr = 0.5\nto_lr = 0.1"),
        ("range_test", "min_lr = 0.001\nmax_lr = 0.5\nspacing = \"geometric\""),
        ("table", "file = \"lr.csv\""),
        (
            "sequence",
            "stages = [{ kind = \"fixed\", base_lr = 0.1, iterations = 5 }, { kind = \"exp\", base_lr = 0.1, gamma = 0.5 }]",
        ),
    ];
    let mut seeds: Vec<(String, Vec<u8>)> = policies
        .into_iter()
        .map(|(kind, keys)| {
            let spec = format!("{head}[policies.p]\nkind = \"{kind}\"\n{keys}\n{optimizers}");
            (format!("{kind}.toml"), spec.into_bytes())
        })
        .collect();
    let grid = "[policies.p]\nkind = \"fixed\"\nbase_lr = [0.1, 0.2]\noptimizer.momentum = [0.8, 0.9]\noptimizers = \"sgd\"\n\
                [grid]\nzip = [[\"policy.base_lr\", \"optimizer.momentum\"]]\nexclude = [{ policy = \"p\", seed = 2 }]\n";
    seeds.push(("grid.toml".to_owned(), format!("{head}{optimizers}{grid}").into_bytes()));
    let set = "[policies.p]\nkind = \"fixed\"\nbase_lr = 0.1\n";
    let set = format!("{head}{optimizers}{set}\0train.iterations=7\0policies.p.base_lr=[1, 2]\0data.flip=true");
    seeds.push(("set.toml".to_owned(), set.into_bytes()));
    seeds.push((
        "broken.toml".to_owned(),
        b"[experiment]\nname = \"a\nseeds = 99999999999999999999\n[[model]]\n= 1\n".to_vec(),
    ));
    seeds
}
