//! A check of a spec whose datasets are not on this machine: the problems that it has whatever these turn out to be.
//!
//! Of a dataset, a plan asks how many training images it has, and an epoch is so many iterations by that. The spec is planned
//! for several such numbers, and what is wrong with every one of them is wrong. Numbers at which comparisons of its durations
//! turn are among them, and numbers between those: so nothing is reported that a dataset could mend.

use std::collections::BTreeSet;

use clr_spec::duration::{Duration, Unit};
use clr_spec::{DatasetQuery, Diagnostic, Setting, Spec, Value};
use clr_terminal::suggest;

use super::facts::{DatasetFacts, Facts, NoDataset};
use super::{Plan, plan};

/// Updates of an epoch in the dataset that is tried first, and in the largest. The latter is 10!, which most durations that people
/// write divide.
const UPDATES: [u64; 2] = [500, 3_628_800];

/// Numbers of training images that are tried at most. A spec without problems takes one.
const MOST_COUNTS: usize = 24;

/// Said in place of what depends on the dataset.
const ANY: &str = "however many training images there are";

/// As [`plan`], where datasets may be absent from this machine. The error has the problems that the spec has with any dataset in
/// their place, and so have the plan's warnings. Its trials and groups are as many as they will be, and an epoch of theirs is as
/// long as anything.
pub fn check(spec: &Spec, facts: &Facts) -> Result<Plan, Vec<Diagnostic>> {
    if facts.absent().next().is_none() {
        return plan(spec, facts);
    }
    let mut good: Option<Plan> = None;
    let mut bad: Vec<(u64, Vec<Diagnostic>)> = Vec::new();
    for count in training_counts(spec) {
        match plan(spec, &facts.assuming(count)) {
            Ok(plan) => match &mut good {
                Some(good) => keep_common(&mut good.warnings, &plan.warnings),
                None => good = Some(plan),
            },
            Err(problems) => bad.push((count, problems)),
        }
        if good.as_ref().is_some_and(|plan| plan.warnings.is_empty()) {
            break;
        }
    }
    if let Some(mut plan) = good {
        plan.warnings.extend(mistyped(spec, facts));
        plan.warnings.sort_by(|a, b| (&a.span, a.code).cmp(&(&b.span, b.code)));
        return Ok(plan);
    }
    let mut bad = bad.into_iter();
    let Some((count, first)) = bad.next() else { return Err(Vec::new()) };
    let mut common = first.clone();
    bad.for_each(|(_, problems)| keep_common(&mut common, &problems));
    if common.is_empty() && spec.complete {
        // Each number breaks something, though none of it always.
        let help =
            format!("so it is with {count} training images, and with every other number something else is wrong");
        return Err(first.into_iter().map(|problem| problem.help(help.clone())).collect());
    }
    Err(common)
}

/// Sentences on what [`check`] could not check, one for each dataset that is absent.
pub fn unchecked(spec: &Spec, facts: &Facts) -> Vec<String> {
    let note = |(query, looked): (&DatasetQuery, &str)| {
        let name = &query.name;
        let epochs = match counts_epochs(spec, facts) {
            true => ", and how durations in epochs compare with those in iterations",
            false => "",
        };
        format!(
            "the dataset `{name}` is not on this machine, so this was not checked: whether its files can be read, its images suit the \
             architecture and are enough for the batches and the validation split{epochs}\n{looked}"
        )
    };
    facts.absent().map(note).collect()
}

/// Whether something in a spec depends on how many iterations an epoch is.
pub fn counts_epochs(spec: &Spec, facts: &Facts) -> bool {
    let in_epochs = |value: &Value| match value {
        Value::Duration(duration) => duration.unit == Unit::Epochs,
        Value::Durations(durations) => durations.iter().any(|duration| duration.unit == Unit::Epochs),
        // Steps that fit are of so many epochs, and so are range tests.
        Value::Auto => true,
        _ => false,
    };
    let in_settings = settings(spec).any(|setting| {
        let per_epoch = |value: &Value| setting.path.ends_with(".per") && value.text() == Some("epoch");
        setting.values.iter().any(|(value, _)| in_epochs(value) || per_epoch(value))
    });
    let in_table = |wanted| matches!(facts.tables.get(wanted), Some(Ok(values)) if values.unit() == Unit::Epochs);
    in_settings || spec.tables().iter().any(in_table)
}

impl Facts {
    /// Datasets that are not on this machine, and where each was looked for.
    pub fn absent(&self) -> impl Iterator<Item = (&DatasetQuery, &str)> {
        self.datasets.iter().filter_map(|(query, found)| match found {
            Err(NoDataset::Absent(looked)) => Some((query, looked.as_str())),
            _ => None,
        })
    }

    /// These, with datasets of so many training images in place of the absent ones.
    pub(super) fn assuming(&self, train_count: u64) -> Facts {
        let mut facts = self.clone();
        for (query, _) in self.absent() {
            // As large as images may be: whether what a model sees fits into them is not known.
            let side = u32::from(u16::MAX);
            let assumed = DatasetFacts { train_count, height: side, width: side, ..ASSUMED[0].clone() };
            facts.datasets.insert(query.clone(), Ok(assumed));
        }
        facts
    }

    /// These, with a dataset that is large enough for any batch in place of each absent one.
    pub fn assuming_enough(&self) -> Facts {
        self.assuming(ENOUGH)
    }
}

/// More training images than any spec asks for.
const ENOUGH: u64 = 1 << 40;

/// Images as they may be: a plugin may not take all sizes.
pub static ASSUMED: [DatasetFacts; 4] = [assumed(32, 3), assumed(224, 3), assumed(28, 1), assumed(224, 1)];

const fn assumed(side: u32, channels: u32) -> DatasetFacts {
    DatasetFacts {
        height: side,
        width: side,
        channels,
        class_count: 10,
        train_count: ENOUGH,
        test_count: ENOUGH,
        class_counts: None,
        digest: None,
        stored_digest: None,
    }
}

fn settings(spec: &Spec) -> impl Iterator<Item = &Setting> {
    let policies = spec.policies.iter().flat_map(|policy| &policy.settings);
    spec.settings.iter().chain(policies).chain(spec.optimizers.iter().flat_map(|optimizer| &optimizer.settings))
}

/// The numbers of training images to plan for: one as it may be, the smallest of which a batch can be taken, a very large one,
/// those at which a duration in iterations is as long as one in epochs, and others between them.
fn training_counts(spec: &Spec) -> Vec<u64> {
    let values = |path: &'static str| {
        let values = settings(spec).filter(move |setting| &*setting.path == path).flat_map(|setting| &setting.values);
        values.filter_map(
            |(value, _)| if let Value::Integer(value) = value { Some((*value).max(0) as u64) } else { None },
        )
    };
    let accumulate = values("train.accumulate").max().unwrap_or(1);
    let updates: BTreeSet<u64> =
        values("data.batch_size").flat_map(|batch| [batch, batch.saturating_mul(accumulate)]).collect();
    let validation = values("data.validation").max().unwrap_or(0);
    let update = updates.last().copied().unwrap_or(1);
    let [usual, most] = UPDATES.map(|count| validation.saturating_add(update.saturating_mul(count)));
    let least = validation.saturating_add(update);

    let (iterations, epochs) = durations(spec);
    let mut turns: BTreeSet<u64> = BTreeSet::from([least]);
    for (iterations, epochs) in iterations.iter().flat_map(|count| epochs.iter().map(move |epochs| (count, epochs))) {
        for update in &updates {
            let turn = validation as f64 + *update as f64 * iterations / epochs;
            turns.extend(Some(turn as u64).filter(|turn| (least..most).contains(turn)));
        }
    }
    let turns: Vec<u64> = turns.into_iter().collect();
    let between = turns.windows(2).map(|pair| pair[0].midpoint(pair[1]));
    let mut others: Vec<u64> = turns.iter().copied().chain(between).collect();
    others.sort_unstable();
    let step = others.len().div_ceil(MOST_COUNTS).max(1);
    [usual, least, most].into_iter().chain(others.into_iter().skip(1).step_by(step)).collect()
}

/// The durations in iterations, and those in epochs, one epoch always among these.
fn durations(spec: &Spec) -> (Vec<f64>, Vec<f64>) {
    let all = |setting: &Setting| -> Vec<Duration> {
        let each = setting.values.iter().flat_map(|(value, _)| match value {
            Value::Duration(duration) => vec![*duration],
            Value::Durations(durations) => durations.to_vec(),
            _ => Vec::new(),
        });
        each.collect()
    };
    let of_training: Vec<Duration> =
        settings(spec).filter(|setting| &*setting.path == "train.iterations").flat_map(all).collect();
    let (mut iterations, mut epochs) = (Vec::new(), vec![1.0]);
    for duration in settings(spec).flat_map(all) {
        let count = duration.count.to_f64();
        match duration.unit {
            Unit::Iterations => iterations.push(count),
            Unit::Epochs => epochs.push(count),
            Unit::Training => {
                for whole in &of_training {
                    let share = count * whole.count.to_f64();
                    if whole.unit == Unit::Epochs { epochs.push(share) } else { iterations.push(share) }
                }
            }
        }
    }
    for counts in [&mut iterations, &mut epochs] {
        counts.retain(|count| *count > 0.0);
        counts.sort_by(f64::total_cmp);
        counts.dedup();
    }
    (iterations, epochs)
}

/// Keeps of `kept` what is among `others`, and of its words those that are equal there.
fn keep_common(kept: &mut Vec<Diagnostic>, others: &[Diagnostic]) {
    kept.retain_mut(|problem| {
        let is_same = |other: &&Diagnostic| {
            (other.code, &other.span, &other.title) == (problem.code, &problem.span, &problem.title)
        };
        let Some(other) = others.iter().find(is_same) else { return false };
        if problem.text != other.text {
            problem.text = ANY.to_owned();
        }
        problem.others.retain(|place| other.others.contains(place));
        problem.help.retain(|help| other.help.contains(help));
        true
    });
}

/// A warning for each absent dataset whose name is nearly a known one's.
fn mistyped(spec: &Spec, facts: &Facts) -> Vec<Diagnostic> {
    let known: Vec<&str> = facts.dataset_names.iter().map(String::as_str).collect();
    let warning = |(query, _): (&DatasetQuery, &str)| {
        let name = &*query.name;
        let meant = suggest::nearest(name, &known).filter(|meant| *meant != name)?;
        let mut places = settings(spec).filter(|setting| &*setting.path == "data.dataset").flat_map(|it| &it.values);
        let span = places.find_map(|(value, span)| span.clone().filter(|_| value.text() == Some(name)))?;
        let title = format!("the dataset `{name}` is not on this machine");
        Some(Diagnostic::warning("spec::dataset", span, title).help(format!("did you mean `{meant}`?")))
    };
    facts.absent().filter_map(warning).collect()
}
