//! The trials of a report, the cells and groups that they belong to, and their settings.

use std::collections::HashMap;

use clr_plan::{AxisValue, Names, TrialId};
use clr_report::{Cell, Report, Setting, Trial};
use clr_store::Numbers;
use clr_store::origins::origin;
use clr_store::result::choosing_split;
use clr_terminal::words;
use serde_json::{Map, Value as Json};

use super::MESSAGE_CHARACTERS;
use crate::compare::trials::{Trial as Found, Trials};

/// A longer value of a setting, such as a schedule of many stages, is shown up to here.
const SETTING_CHARACTERS: usize = 300;

/// Adds all trials, in the order of their outputs' plans.
pub fn add(report: &mut Report, together: &Trials, names: &Names, owners: &HashMap<TrialId, usize>) {
    let all_are_validated = together.trials.iter().all(|trial| trial.trial.is_validated);
    report.split = choosing_split(all_are_validated && !together.trials.is_empty()).name().to_owned();

    let axis = |name: &str| together.axes.iter().position(|axis| axis.name == name);
    let (policy, optimizer) = (axis("policy"), axis("optimizer"));
    let of_axis = |trial: &Found, axis: Option<usize>| {
        axis.and_then(|axis| trial.values[axis].as_ref()).map_or_else(String::new, ToString::to_string)
    };
    let mut errors = Distinct::default();
    let mut groups = Distinct::default();
    let mut settings = SettingColumns::default();
    let mut cell_of = vec![0; together.trials.len()];
    for (place, members) in together.cells().into_iter().enumerate() {
        let first = &together.trials[members[0]];
        let mut values = first.values.clone();
        (0..values.len()).filter(|&axis| together.is_seed(axis)).for_each(|axis| values[axis] = None);
        let name = names.words(&values);
        let name = if name.is_empty() { of_axis(first, policy) } else { name };
        let name = if name.is_empty() { "all trials".to_owned() } else { name };
        report.cells.push(Cell { name, policy: of_axis(first, policy), optimizer: of_axis(first, optimizer) });
        members.iter().for_each(|&member| cell_of[member] = place);
    }
    for (place, found) in together.trials.iter().enumerate() {
        let trial = &found.trial;
        let (policy, optimizer) = (of_axis(found, policy), of_axis(found, optimizer));
        let group = groups.place(&format!("{policy}\n{optimizer}"));
        if group == report.groups.len() {
            let name =
                [&*policy, &*optimizer].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
            let name = if name.is_empty() { "all trials".to_owned() } else { name };
            report.groups.push(Cell { name, policy, optimizer });
        }
        let error = trial.error.as_deref().map(|error| errors.place(words::start(error, MESSAGE_CHARACTERS)));
        report.trials.push(Trial {
            handle: names.handle(trial.id),
            id: trial.id.to_string(),
            label: trial.label.clone(),
            output: owners.get(&trial.id).copied().unwrap_or_default(),
            cell: cell_of[place],
            group,
            axes: found.values.iter().map(|value| value.as_ref().map_or(Json::Null, axis_value)).collect(),
            status: trial.status.name().to_owned(),
            iterations: trial.iterations,
            rows: if trial.status.has_rows() { trial.numbers.rows } else { trial.saved },
            numbers: numbers(&trial.numbers),
            seconds: trial.seconds,
            attempts: trial.attempts,
            started: trial.started.map(|started| format!("{started:.0}")),
            error,
            origin: origin(&trial.plugin, trial.numerics.as_deref(), trial.build.as_deref()),
            settings: settings.add(found.settings.iter()),
        });
    }
    report.errors = errors.texts;
    report.settings = settings.columns.into_iter().map(|(key, values)| Setting { key, values: values.texts }).collect();
    report.measure = measure(report);
}

/// What trials are ranked by: the final accuracy on the split that chooses, or for want of it a loss.
fn measure(report: &Report) -> String {
    let split = &report.split;
    let possible = [format!("final_{split}_accuracy"), format!("final_{split}_loss"), "final_train_loss".to_owned()];
    let is_there = |name: &&String| report.trials.iter().any(|trial| trial.numbers.contains_key(*name));
    possible.iter().find(is_there).unwrap_or(&possible[0]).clone()
}

/// Those that are known.
fn numbers(numbers: &Numbers) -> Map<String, Json> {
    let Ok(Json::Object(mut map)) = serde_json::to_value(numbers) else { return Map::new() };
    map.retain(|name, value| !value.is_null() && name != "rows");
    // Measured as f32: in their own few digits.
    for (name, value) in &mut map {
        if name.ends_with("accuracy") || (name.ends_with("loss") && name != "final_train_loss") {
            let short = value.as_f64().and_then(|value| (value as f32).to_string().parse::<f64>().ok());
            *value = short.map_or(Json::Null, Json::from);
        }
    }
    map
}

fn axis_value(value: &AxisValue) -> Json {
    match value {
        AxisValue::Text(text) => Json::from(&**text),
        AxisValue::Integer(integer) => Json::from(*integer),
        AxisValue::Float(float) => Json::from(*float),
        AxisValue::Boolean(boolean) => Json::from(*boolean),
    }
}

/// Texts, each once, by their places.
#[derive(Default)]
struct Distinct {
    texts: Vec<String>,
    places: HashMap<String, usize>,
}

impl Distinct {
    fn place(&mut self, text: &str) -> usize {
        match self.places.get(text) {
            Some(place) => *place,
            None => {
                self.places.insert(text.to_owned(), self.texts.len());
                self.texts.push(text.to_owned());
                self.texts.len() - 1
            }
        }
    }
}

/// The settings of all trials: of each key its values, in the order in which they come.
#[derive(Default)]
struct SettingColumns {
    columns: Vec<(String, Distinct)>,
    places: HashMap<String, usize>,
}

impl SettingColumns {
    /// Adds those of a trial. Returns, for each key so far, one more than the place of its value, or 0.
    fn add<'s>(&mut self, settings: impl Iterator<Item = (&'s String, &'s String)>) -> Vec<usize> {
        let mut own = vec![0; self.columns.len()];
        for (key, value) in settings {
            let place = match self.places.get(key) {
                Some(place) => *place,
                None => {
                    self.places.insert(key.clone(), self.columns.len());
                    self.columns.push((key.clone(), Distinct::default()));
                    own.push(0);
                    self.columns.len() - 1
                }
            };
            own[place] = 1 + self.columns[place].1.place(words::start(value, SETTING_CHARACTERS));
        }
        own
    }
}
