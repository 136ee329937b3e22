//! What `clr-run plan` prints.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use clr_plan::json::{Estimates, row_count};
use clr_plan::{AxisValue, Names, ParameterGroup, Plan, Shape, Trial, TrialOptimizer, describe};
use clr_terminal::columns::{self, Column};
use clr_terminal::terminal::Terminal;
use clr_terminal::words::{self, Number, thousands};
use serde_json::Value as Json;
use unicode_width::UnicodeWidthStr;

use super::bounds_taken;

#[cfg(test)]
mod tests;

/// Significant digits of numbers: as many as an overview has room for.
const DIGITS: usize = 4;

/// On a terminal, a plan of more trials than this lists only the first of them.
const LISTED_WHOLE: usize = 30;
const LISTED_FIRST: usize = 20;

/// The plan in short: what each policy and each optimizer is, the trials by what tells them apart, the groups, and what all of it
/// takes. Of many trials a terminal gets the first, unless `all_trials` are asked for; a file gets all.
pub fn plan(plan: &Plan, estimates: &Estimates, all_trials: bool, terminal: &Terminal) -> String {
    let mut out = overview(plan, terminal);
    let names = Names::of(plan);
    let count = plan.trials.len();
    let listed = if all_trials || terminal.width.is_none() || count <= LISTED_WHOLE { count } else { LISTED_FIRST };
    let trials = &plan.trials[..listed];
    let mut columns = vec![Column::left("trial", 0, trials.iter().map(|trial| names.handle(trial.id)))];
    columns.extend(names.columns(trials.iter().map(|trial| &trial.axes[..]), &[]));
    let _ = write!(out, "\n{}", columns::text(&columns, terminal));
    if listed < count {
        let _ = writeln!(out, "and {} more; --trials lists all", thousands((count - listed) as u128));
    }
    if !plan.range_tests.is_empty() {
        out.push('\n');
        bounds_taken(plan).lines().for_each(|line| out += &(words::wrapped(line, terminal.width, 2) + "\n"));
        if !plan.is_measured() {
            let until = "until then, the ends of their sweeps stand for these bounds above, and the ids are not those that \
                         the trials will have";
            out += &(words::wrapped(until, terminal.width, 2) + "\n");
        }
    }
    out.push_str(&groups_of_parameters(plan, terminal));
    out.push('\n');
    for (index, group) in plan.groups.iter().enumerate() {
        let shape = &group.shape;
        let number = if plan.groups.len() > 1 { format!("group {}: ", index + 1) } else { String::new() };
        let trials = words::counted(group.trials.len(), "trial");
        let options = constants(&shape.model_json, None);
        let model = format!("{number}{trials} of {} {}: {options}", shape.plugin, shape.architecture);
        let _ = writeln!(out, "{}", words::wrapped(&model, terminal.width, 2));
        let _ =
            writeln!(out, "{}", words::wrapped(&format!("  on {}", describe::data(&shape.data)), terminal.width, 4));
    }
    out + &taken(plan, estimates)
}

/// What the range tests take that come before a plan.
pub fn range_tests_ahead(tests: &Plan, estimates: &Estimates) -> String {
    format!(
        "\nbefore that, {} for the bounds:\n{}",
        words::counted(tests.trials.len(), "range test"),
        taken(tests, estimates)
    )
}

/// The lines about the files, the memory and the time of a run.
fn taken(plan: &Plan, estimates: &Estimates) -> String {
    let mut out = format!("{} of metrics", words::counted(row_count(plan) as usize, "row"));
    if let Some(bytes) = estimates.bytes_written {
        let _ = write!(out, ", about {}", words::bytes(bytes));
    }
    out.push('\n');
    if let Some(bytes) = estimates.bytes_per_trial {
        let shared =
            estimates.bytes_shared.map(|shared| format!(", and {} shared", words::bytes(shared))).unwrap_or_default();
        let _ = writeln!(out, "{} of memory for each trial in flight{shared}", words::bytes(bytes));
    }
    if let Some(seconds) = estimates.seconds {
        let _ = writeln!(out, "takes about {}", words::duration(seconds));
    }
    out
}

/// A property of a trial, such as its learning rate, for people; none where it has none.
type Property<'a> = (String, Box<dyn Fn(&Trial) -> Option<String> + 'a>);

/// A line for all trials, one for each policy and one for each optimizer.
fn overview(plan: &Plan, terminal: &Terminal) -> String {
    let mut lines = vec![words::counted(plan.trials.len(), "trial")];
    let by = |name: &str| -> Vec<(String, Vec<&Trial>)> {
        let axis = plan.axes.iter().position(|axis| axis.name == name);
        let mut found: Vec<(String, Vec<&Trial>)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for trial in plan.trials.iter() {
            let value = axis.and_then(|axis| trial.axes.get(axis)?.as_ref()).map_or(String::new(), ToString::to_string);
            let place = *places.entry(value.clone()).or_insert_with(|| {
                found.push((value, Vec::new()));
                found.len() - 1
            });
            found[place].1.push(trial);
        }
        found
    };
    let (policies, optimizers) = (by("policy"), by("optimizer"));
    let mut of_all: Vec<String> = Vec::new();
    let mut of_policies: Vec<Vec<String>> = vec![Vec::new(); policies.len()];
    let mut of_optimizers: Vec<Vec<String>> = vec![Vec::new(); optimizers.len()];
    for (name, property) in properties(plan) {
        let values = |trials: &[&Trial]| -> Vec<String> {
            let mut values: Vec<String> = trials.iter().filter_map(|trial| property(trial)).collect();
            let mut seen = HashSet::new();
            values.retain(|value| seen.insert(value.clone()));
            values
        };
        let all = plan.trials.iter().map(&property);
        let is_equal = all.clone().all(|value| value.is_some() && Some(value) == all.clone().next());
        if is_equal && name != "lr" {
            of_all.extend(plan.trials.first().and_then(&property).map(|value| named(&name, &value)));
            continue;
        }
        let follows = |sets: &[(String, Vec<&Trial>)]| sets.iter().all(|(_, trials)| values(trials).len() < 2);
        let is_policy_s = matches!(&*name, "lr" | "iterations") || (follows(&policies) && !follows(&optimizers));
        let (sets, lines) = if is_policy_s { (&policies, &mut of_policies) } else { (&optimizers, &mut of_optimizers) };
        for ((_, trials), line) in sets.iter().zip(lines) {
            let values = values(trials);
            line.extend((!values.is_empty()).then(|| named(&name, &merged(&values))));
        }
    }
    if !of_all.is_empty() {
        lines.push(format!("all trials: {}", of_all.join("  ")));
    }
    for (kind, sets, properties) in [("policy", &policies, of_policies), ("optimizer", &optimizers, of_optimizers)] {
        let width = sets.iter().map(|(name, _)| name.width()).max().unwrap_or(0).min(20);
        for ((name, _), properties) in sets.iter().zip(properties) {
            lines.push(format!("{kind} {name:<width$}  {}", properties.join("  ")));
        }
    }
    lines.iter().map(|line| words::wrapped(line.trim_end(), terminal.width, 4) + "\n").collect()
}

/// `lr=0.01`, or what the value says by itself.
fn named(name: &str, value: &str) -> String {
    if name.is_empty() { value.to_owned() } else { format!("{name}={value}") }
}

fn properties(plan: &Plan) -> Vec<Property<'_>> {
    let mut hypers: Vec<&str> = vec!["lr"];
    for (name, _) in plan.trials.iter().flat_map(Trial::schedules) {
        if !hypers.contains(&name) {
            hypers.push(name);
        }
    }
    let mut properties: Vec<Property<'_>> = Vec::new();
    for name in hypers {
        let value = move |trial: &Trial| {
            let schedule = trial.schedules().find(|(own, _)| *own == name).map(|(_, schedule)| schedule)?;
            Some(describe::schedule(schedule, DIGITS))
        };
        properties.push((name.to_owned(), Box::new(value)));
    }
    properties.push(("iterations".to_owned(), Box::new(|trial: &Trial| Some(trial.iterations.to_string()))));
    let evaluated = |trial: &Trial| {
        (trial.eval_every.next(0) < trial.iterations)
            .then(|| Number(trial.eval_every.iterations().to_f64()).to_string())
    };
    properties.push(("eval_every".to_owned(), Box::new(evaluated)));
    let axis = plan.axes.iter().position(|axis| axis.name == "optimizer");
    let constants = move |trial: &Trial| {
        let name = axis.and_then(|axis| trial.axes.get(axis)?.as_ref()).map(ToString::to_string);
        let constants = constants(&trial.optimizer.json, name.as_deref());
        (!constants.is_empty()).then_some(constants)
    };
    properties.push((String::new(), Box::new(constants)));
    properties
}

/// Each group of parameters of each optimizer, and how much of each model it is of.
fn groups_of_parameters(plan: &Plan, terminal: &Terminal) -> String {
    struct Line<'a> {
        /// The optimizer's name and the model's.
        owner: [String; 2],
        number: usize,
        group: &'a ParameterGroup,
        /// The multipliers of all trials.
        mults: [Vec<Option<f64>>; 2],
    }
    let mut lines: Vec<Line<'_>> = Vec::new();
    let mut last: Option<(&Arc<TrialOptimizer>, &Arc<Shape>)> = None;
    let optimizer = plan.axes.iter().position(|axis| axis.name == "optimizer");
    for trial in plan.trials.iter().filter(|trial| !trial.optimizer.groups.is_empty()) {
        // Neighbours share them.
        if last.is_some_and(|(known, shape)| Arc::ptr_eq(known, &trial.optimizer) && Arc::ptr_eq(shape, &trial.shape)) {
            continue;
        }
        last = Some((&trial.optimizer, &trial.shape));
        let name = optimizer.and_then(|index| trial.axes[index].as_ref()).map(AxisValue::to_string);
        let owner = [name.unwrap_or_default(), trial.shape.architecture.clone()];
        for (number, group) in trial.optimizer.groups.iter().enumerate() {
            let same = |line: &&mut Line<'_>| {
                let ParameterGroup { parameters, tensors, values, .. } = line.group;
                (&line.owner, line.number) == (&owner, number)
                    && (parameters, *tensors, *values) == (&group.parameters, group.tensors, group.values)
            };
            let mults = [group.lr_mult, group.decay_mult];
            match lines.iter_mut().find(same) {
                Some(line) => {
                    for (known, mult) in line.mults.iter_mut().zip(mults).filter(|(known, mult)| !known.contains(mult))
                    {
                        known.push(mult);
                    }
                }
                None => {
                    lines.push(Line { owner: owner.clone(), number, group, mults: mults.map(|mult| vec![mult]) });
                }
            }
        }
    }
    let mut out = String::new();
    for (index, Line { owner: [optimizer, model], group, mults, .. }) in lines.iter().enumerate() {
        if index == 0 || lines[index - 1].owner != lines[index].owner {
            let _ = writeln!(out, "\nparameters of {optimizer}, {model}:");
        }
        let ParameterGroup { parameters, tensors, values, .. } = group;
        let count = |count: u64, noun| words::counted(usize::try_from(count).unwrap_or(usize::MAX), noun);
        let mut line = format!("  {parameters}: {} of {}", count(*tensors, "tensor"), count(*values, "value"));
        for (name, mults) in ["lr", "weight decay"].into_iter().zip(mults) {
            let mults: Vec<String> = mults.iter().flatten().map(|mult| Number(*mult).to_string()).collect();
            if !mults.is_empty() {
                let _ = write!(line, ", {name} times {}", mults.join(" or "));
            }
        }
        out.push_str(&words::wrapped(&line, terminal.width, 4));
        out.push('\n');
    }
    out
}

/// `form=caffe epsilon=1e-8` of a JSON object, without the kind of an optimizer that is `called` so.
fn constants(json: &str, called: Option<&str>) -> String {
    let Ok(Json::Object(fields)) = serde_json::from_str::<Json>(json) else { return json.to_owned() };
    // Groups of parameters are shown apart.
    let says_nothing = |name: &str, value: &Json| (name == "optimizer" && value.as_str() == called) || name == "groups";
    let fields = fields.iter().filter(|(name, value)| !says_nothing(name, value));
    fields.map(|(name, value)| format!("{name}={}", describe::value(value, DIGITS))).collect::<Vec<_>>().join(" ")
}

/// More values than this are not listed.
const MERGED: usize = 4;

/// Several texts in one: `triangular(base=0.001 max=0.01|0.3)`.
fn merged(texts: &[String]) -> String {
    let words: Vec<Vec<&str>> = texts.iter().map(|text| text.split(' ').collect()).collect();
    let first = words.first().map_or(&[][..], Vec::as_slice);
    let key = |word: &str| word.rsplit_once('=').map_or(String::new(), |(key, _)| key.to_owned());
    let is_alike = words.iter().all(|words| {
        words.len() == first.len()
            && words.iter().zip(first).all(|(a, b)| a == b || key(a) == key(b) && a.contains('='))
    });
    if !is_alike {
        let between = if texts.iter().any(|text| text.contains(' ')) { " | " } else { "|" };
        return listed(texts.iter().map(String::as_str), between);
    }
    let mut out = Vec::new();
    for (place, word) in first.iter().enumerate() {
        let mut values: Vec<&str> = Vec::new();
        for words in &words {
            if !values.contains(&words[place]) {
                values.push(words[place]);
            }
        }
        let key = key(word);
        if values.len() == 1 {
            out.push((*word).to_owned());
        } else if key.is_empty() {
            out.push(listed(values.into_iter(), "|"));
        } else {
            let end = if values.iter().all(|value| value.ends_with(')')) { ")" } else { "" };
            let bare = values.iter().map(|value| value[key.len() + 1..].trim_end_matches(end));
            out.push(format!("{key}={}{end}", listed(bare, "|")));
        }
    }
    out.join(" ")
}

fn listed<'a>(values: impl ExactSizeIterator<Item = &'a str>, between: &str) -> String {
    let more = values.len().saturating_sub(MERGED);
    let mut shown: Vec<String> = values.take(MERGED).map(str::to_owned).collect();
    shown.extend((more > 0).then(|| format!("{more} more")));
    shown.join(between)
}
