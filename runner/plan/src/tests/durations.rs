//! Durations against points that Python's fractions give: `durations/make_goldens.py`.

use super::*;

const GOLDENS: &str = include_str!("durations/goldens.csv");

/// A line of the goldens: a dataset and how it is fed, a number of epochs, and where multiples of them fall.
struct Golden<'a> {
    images: u64,
    batch_size: &'a str,
    last_batch: &'a str,
    epochs: &'a str,
    points: Vec<u64>,
}

fn goldens() -> impl Iterator<Item = Golden<'static>> {
    GOLDENS.lines().map(|line| {
        let fields: Vec<&str> = line.split(',').collect();
        let &[images, batch_size, last_batch, epochs, ..] = fields.as_slice() else { panic!("{line}") };
        let number = |field: &str| field.parse().expect("a number");
        let points = fields[4..].iter().map(|field| number(field)).collect();
        Golden { images: number(images), batch_size, last_batch, epochs, points }
    })
}

impl Golden<'_> {
    /// The one trial of a policy.
    fn trial(&self, iterations: &str, eval_every: &str, policy: &str) -> Trial {
        let Golden { images, batch_size, last_batch, .. } = self;
        let text = HEAD
            .replace("batch_size = 100", &format!("batch_size = {batch_size}\nlast_batch = \"{last_batch}\""))
            .replace("25_000", &format!("{iterations}\neval_every = {eval_every}"));
        let text = format!("{text}{SGD}[policies.one]\n{policy}\n");
        let source = SourceFile { name: "a.toml".to_owned(), text };
        let (spec, diagnostics) = parse(&source, &[]);
        assert_eq!(render(&diagnostics, &source), "");
        let mut facts = facts();
        facts.datasets.get_mut(&DatasetQuery::named("cifar10")).unwrap().as_mut().unwrap().train_count = *images;
        match plan(&spec, &facts) {
            Ok(plan) => plan.trials[0].clone(),
            Err(diagnostics) => panic!("{}", render(&diagnostics, &source)),
        }
    }

    /// Checks that a policy, whose values only fall or only rise, changes at the points and nowhere between.
    #[track_caller]
    fn check_changes(&self, policy: &str) {
        let lr = self.trial(&(self.points[5] + 10).to_string(), "0", policy).lr;
        let mut before = lr.at(0);
        for &point in &self.points {
            assert_eq!(lr.at(point - 1), before, "{self}: just before {point} of {policy}");
            assert_ne!(lr.at(point), before, "{self}: at {point} of {policy}");
            before = lr.at(point);
        }
    }
}

const STEP: &str = "kind = \"step\"\nbase_lr = 1\ngamma = 0.5\n";
const MULTISTEP: &str = "kind = \"multistep\"\nbase_lr = 1\ngamma = 0.5\n";
const FLAT: &str = "kind = \"fixed\"\nbase_lr = 1";

#[test]
fn a_training_of_epochs_ends_with_the_iteration_that_completes_them() {
    for golden in goldens() {
        let trial = golden.trial(&format!("\"{} epochs\"", golden.epochs), "0", FLAT);
        assert_eq!(trial.iterations, golden.points[0], "{golden}");
    }
}

#[test]
fn evaluations_come_after_whole_multiples_of_the_exact_period_and_never_twice_at_the_end() {
    for golden in goldens() {
        let trial = golden.trial("1_000_000", &format!("\"{} epochs\"", golden.epochs), FLAT);
        let mut points = Vec::new();
        for _ in 0..6 {
            points.push(trial.eval_every.next(points.last().copied().unwrap_or(0)));
        }
        assert_eq!(points, golden.points, "{golden}");
        assert!(points.iter().all(|&point| trial.eval_every.is_due(point)));
        // A training of as many epochs ends where the last of them is due.
        let iterations =
            trial.period(clr_spec::duration::Duration::parse(&format!("{} epochs", golden.epochs)).unwrap());
        assert_eq!(iterations, trial.eval_every);
    }
}

#[test]
fn milestones_fall_on_the_first_iteration_of_which_the_epochs_are_behind() {
    for golden in goldens() {
        let multiples: Vec<String> = (1..=6).map(|k| golden.multiple(k)).collect();
        let milestones = format!("milestones = [{}]", multiples.join(", "));
        golden.check_changes(&format!("{MULTISTEP}{milestones}"));
        if golden.whole() {
            let by_epoch = format!("{MULTISTEP}{milestones}\nper = \"epoch\"\nfirst_epoch = 0");
            golden.check_changes(&by_epoch);
        }
    }
}

#[test]
fn drops_after_every_so_many_epochs_do_not_drift() {
    for golden in goldens() {
        let step_size = format!("step_size = {}", golden.multiple(1));
        golden.check_changes(&format!("{STEP}{step_size}"));
        if golden.whole() {
            let by_epoch = format!("{STEP}{step_size}\nper = \"epoch\"\nfirst_epoch = 0");
            golden.check_changes(&by_epoch);
        }
    }
}

#[test]
fn stages_begin_and_end_at_rounded_points_and_never_drift() {
    for golden in goldens() {
        let length = golden.multiple(1);
        let stage = |number: u64| format!("{{ kind = \"fixed\", base_lr = {number}, iterations = {length} }}");
        let stages: Vec<String> = (1..=7).map(stage).collect();
        let policy = format!("kind = \"sequence\"\nstages = [{}]", stages.join(", "));
        golden.check_changes(&policy);
        // What happens within a stage is counted from the exact time at which it begins.
        let epochs = golden.epochs;
        let within = [
            format!("kind = \"multistep\", base_lr = 2, gamma = 0.5, milestones = [{length}]"),
            format!("kind = \"step\", base_lr = 2, gamma = 0.5, step_size = {length}"),
        ];
        for second in within {
            let policy = format!(
                "kind = \"sequence\"\nstages = [{{ kind = \"fixed\", base_lr = 1, iterations = \"{epochs} epochs\" }}, {{ {second} }}]"
            );
            let lr = golden.trial("10_000_000", "0", &policy).lr;
            let [first, drop] = [golden.points[0], golden.points[1]];
            let around = [first - 1, first, drop - 1, drop].map(|step| lr.at(step));
            assert_eq!(around, [1.0, 2.0, 2.0, 1.0], "{golden}: {second}");
        }
    }
}

/// A stage that changes once an epoch does so where epochs begin, wherever it begins itself.
#[test]
fn epochs_of_a_stage_begin_where_epochs_begin() {
    let golden = Golden { images: 5000, batch_size: "32", last_batch: "wrap", epochs: "5", points: vec![] };
    let policy = "kind = \"sequence\"\nstages = [\
        { kind = \"linear\", from_lr = 0, to_lr = 1, iterations = \"5 epochs\" }, \
        { kind = \"step\", base_lr = 1, gamma = 0.5, step_size = \"1 epoch\", per = \"epoch\", first_epoch = 0 }]";
    let lr = golden.trial("5000", "0", policy).lr;
    let changes: Vec<u64> = (783..2000).filter(|&step| lr.at(step) != lr.at(step - 1)).collect();
    // ceil(k * 625 / 4), k from 6 on; 782 is where the stage begins.
    assert_eq!(changes, [938, 1094, 1250, 1407, 1563, 1719, 1875]);
}

#[test]
fn what_64_bits_do_not_count_exactly_is_refused_at_its_place() {
    check_problems(
        &format!("{SGD}{MULTI}milestones = [1, \"1.000000000000000001 epochs\"]\ndata.validation = 1\n"),
        expect![[r#"
            error[spec::duration]: `milestones` has too many digits
              --> a.toml:17:14
               |
            17 | milestones = [1, "1.000000000000000001 epochs"]
               |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ durations are counted exactly
               |
               = help: round it
        "#]],
    );
}

const MULTI: &str = "[policies.multi]\nkind = \"multistep\"\nbase_lr = 1\ngamma = 0.5\n";

impl Golden<'_> {
    fn whole(&self) -> bool {
        !self.epochs.contains('.')
    }

    /// So many times the epochs, in decimals.
    fn multiple(&self, times: u64) -> String {
        let decimals = self.epochs.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        let digits: u64 = self.epochs.replace('.', "").parse().expect("digits");
        let product = format!("{:0>width$}", digits * times, width = decimals + 1);
        let (whole, part) = product.split_at(product.len() - decimals);
        if part.is_empty() { format!("\"{whole} epochs\"") } else { format!("\"{whole}.{part} epochs\"") }
    }
}

impl std::fmt::Display for Golden<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Golden { images, batch_size, last_batch, epochs, .. } = self;
        write!(f, "{images} images in batches of {batch_size}, {last_batch}, {epochs} epochs")
    }
}

/// A tenth of "10 epochs" is one epoch, however many iterations those are.
#[test]
fn a_share_is_a_part_of_the_exact_length_of_the_training() {
    let golden = Golden { images: 5000, batch_size: "32", last_batch: "wrap", epochs: "1", points: vec![] };
    let milestones = |list: &str| golden.trial("\"10 epochs\"", "0", &format!("{MULTISTEP}milestones = [{list}]"));
    assert_eq!(milestones("\"10%\", \"50%\"").id, milestones("\"1 epoch\", \"5 epochs\"").id);
    let evaluated = |every: &str| golden.trial("\"10 epochs\"", every, FLAT).id;
    assert_eq!(evaluated("\"10%\""), evaluated("\"1 epoch\""));
}

#[test]
fn a_warmup_is_the_sequence_that_it_stands_for() {
    let golden = Golden { images: 5000, batch_size: "32", last_batch: "wrap", epochs: "1", points: vec![] };
    let id = |policy: &str| golden.trial("\"90 epochs\"", "0", policy).id;
    let sequence = |stages: &str| format!("kind = \"sequence\"\nstages = [{stages}]");
    assert_eq!(
        id("kind = \"cosine\"\nmax_lr = 0.1\nwarmup = \"5 epochs\""),
        id(&sequence(
            "{ kind = \"linear\", from_lr = 0, to_lr = 0.1, iterations = \"5 epochs\" }, { kind = \"cosine\", max_lr = 0.1 }"
        ))
    );
    assert_eq!(
        id(&format!("{MULTISTEP}milestones = [\"30 epochs\"]\nwarmup = \"5 epochs\"\nwarmup_factor = 0.25")),
        id(&sequence(
            "{ kind = \"linear\", from_lr = 0.25, to_lr = 1, iterations = \"5 epochs\" }, \
             { kind = \"multistep\", base_lr = 1, gamma = 0.5, milestones = [\"30 epochs\"] }"
        ))
    );
    assert_eq!(id(&format!("{FLAT}\nwarmup = 0")), id(FLAT));
}

/// Values of `SequentialLR([LinearLR(start_factor=0.25, total_iters=8), CosineAnnealingLR(T_max=24)], milestones=[8])` on a
/// rate of 0.5, printed by PyTorch 2.15.
#[test]
fn a_warmup_has_the_values_of_sequential_lr() {
    let golden = Golden { images: 5000, batch_size: "32", last_batch: "wrap", epochs: "1", points: vec![] };
    let policy = "kind = \"cosine\"\nmax_lr = 0.5\nwarmup = \"25%\"\nwarmup_factor = 0.25";
    let lr = golden.trial("32", "0", policy).lr;
    let expected = [
        (0, 0.125),
        (1, 0.171875),
        (6, 0.40624999999999994),
        (7, 0.45312499999999994),
        (8, 0.5),
        (9, 0.4978612153434526),
        (16, 0.375),
        (20, 0.25),
        (31, 0.0021387846565474045),
    ];
    for (step, value) in expected {
        assert!((lr.at(step) - value).abs() < 1e-15, "step {step}: {}", lr.at(step));
    }
}
