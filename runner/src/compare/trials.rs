//! The trials of one output or of several, under axes that tell all of them apart.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use clr_plan::names::SEEDS;
use clr_plan::{Axis, AxisKind, AxisValue, TrialId};
use clr_store::reader::{Output, OutputTrial, Settings};

/// The axis of the output, where nothing else tells trials apart.
pub const OUTPUT: &str = "output";

/// Trials to be compared.
#[derive(Clone, Debug, Default)]
pub struct Trials {
    pub axes: Vec<Axis>,
    pub trials: Vec<Trial>,
    /// How many trials were in several outputs. Those of the first that has them finished are taken.
    pub repeated: usize,
}

/// A trial, and what tells it apart.
#[derive(Clone, Debug)]
pub struct Trial {
    /// One for each axis.
    pub values: Vec<Option<AxisValue>>,
    pub settings: Settings,
    pub trial: OutputTrial,
}

impl Trial {
    /// Trials of one shape and equal seeds start from the same weights and see the same batches.
    pub fn seeds(&self) -> (u64, u64) {
        (self.trial.init_seed, self.trial.data_seed)
    }
}

impl Trials {
    /// Those of outputs, each with the settings of its trials, in their order.
    pub fn of(outputs: Vec<(Output, Vec<Settings>)>) -> Trials {
        let mut axes: Vec<Axis> = Vec::new();
        for axis in outputs.iter().flat_map(|(output, _)| &output.axes) {
            if !axes.iter().any(|known| known.name == axis.name) {
                axes.push(axis.clone());
            }
        }
        let is_one = outputs.len() == 1;
        let mut found = Trials { axes, ..Trials::default() };
        let mut folders: Vec<String> = Vec::new();
        let mut places: HashMap<TrialId, usize> = HashMap::new();
        for (output, settings) in outputs {
            let own: Vec<Option<usize>> =
                found.axes.iter().map(|axis| output.axes.iter().position(|own| own.name == axis.name)).collect();
            let folder = output.folder.display().to_string();
            for (trial, settings) in output.trials.into_iter().zip(settings) {
                let value = |(axis, own): (&Axis, &Option<usize>)| match own {
                    Some(own) => trial.axes.get(*own).cloned().flatten(),
                    None => set(&settings, axis),
                };
                let values: Vec<Option<AxisValue>> = found.axes.iter().zip(&own).map(value).collect();
                let Some(&place) = places.get(&trial.id) else {
                    places.insert(trial.id, found.trials.len());
                    folders.push(folder.clone());
                    found.trials.push(Trial { values, settings, trial });
                    continue;
                };
                // It is one trial, and each output may know values of axes that the other has not.
                found.repeated += 1;
                let known = &mut found.trials[place];
                known.values.iter_mut().zip(values).for_each(|(known, value)| *known = known.take().or(value));
                if trial.status.is_done() && !known.trial.status.is_done() {
                    known.trial = trial;
                    folders[place].clone_from(&folder);
                }
            }
        }
        if !is_one {
            found.tell_apart(&folders);
        }
        found
    }

    /// Adds the axes that outputs have not, since in each of them all trials agree: settings that differ between trials that
    /// are else one cell and, where more than settings of their model, data and optimizer does, their folders.
    fn tell_apart(&mut self, folders: &[String]) {
        let mut differing: BTreeSet<&str> = BTreeSet::new();
        let cells = self.cells();
        for cell in &cells {
            let mut values: BTreeMap<&str, &str> = BTreeMap::new();
            for (key, value) in cell.iter().flat_map(|&trial| &self.trials[trial].settings) {
                if *values.entry(key).or_insert(value) != value {
                    differing.insert(key);
                }
            }
        }
        let is_whole =
            |key: &&&str| !key.starts_with("schedule.") && !["iterations", "parameter_groups"].contains(*key);
        let keys: Vec<String> = differing.iter().filter(is_whole).map(|key| (*key).to_owned()).collect();
        for key in keys {
            for trial in &mut self.trials {
                let value = trial.settings.get(&key).map(|value| AxisValue::Text(value.as_str().into()));
                trial.values.push(value);
            }
            self.axes.push(Axis { name: key, kind: AxisKind::Text });
        }
        let is_ambiguous = |cell: &Vec<usize>| {
            let seeds: BTreeSet<(u64, u64)> = cell.iter().map(|&trial| self.trials[trial].seeds()).collect();
            let mut others = cell.iter().map(|&trial| &self.trials[trial].settings);
            let first = others.next();
            seeds.len() < cell.len() || others.any(|settings| Some(settings) != first)
        };
        if self.cells().iter().any(is_ambiguous) {
            for (trial, folder) in self.trials.iter_mut().zip(folders) {
                trial.values.push(Some(AxisValue::Text(folder.as_str().into())));
            }
            self.axes.push(Axis { name: OUTPUT.to_owned(), kind: AxisKind::Text });
        }
    }

    /// The trials that differ in their seeds alone, in the order of the first of each.
    pub fn cells(&self) -> Vec<Vec<usize>> {
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut cells: Vec<Vec<usize>> = Vec::new();
        for (index, trial) in self.trials.iter().enumerate() {
            let place = *places.entry(self.key(&trial.values, |_| true)).or_insert(cells.len());
            if place == cells.len() {
                cells.push(Vec::new());
            }
            cells[place].push(index);
        }
        cells
    }

    /// The values of some axes, seeds never among them, as what equal ones have in common.
    pub fn key(&self, values: &[Option<AxisValue>], takes: impl Fn(usize) -> bool) -> String {
        let of = |(index, value): (usize, &Option<AxisValue>)| {
            (takes(index) && !self.is_seed(index)).then(|| format!("{value:?}\n"))
        };
        values.iter().enumerate().filter_map(of).collect()
    }

    pub fn is_seed(&self, axis: usize) -> bool {
        SEEDS.contains(&self.axes[axis].name.as_str())
    }
}

/// The value of an axis of another output, where here all trials agree in that key.
fn set(settings: &Settings, axis: &Axis) -> Option<AxisValue> {
    let keys = ["", "model.", "optimizer."].map(|section| format!("{section}{}", axis.name));
    let text = keys.iter().find_map(|key| settings.get(key)).filter(|text| *text != "null")?;
    match axis.kind {
        AxisKind::Text => Some(AxisValue::Text(text.as_str().into())),
        AxisKind::Integer => text.parse().ok().map(AxisValue::Integer),
        AxisKind::Float => text.parse().ok().map(AxisValue::Float),
        AxisKind::Boolean => text.parse().ok().map(AxisValue::Boolean),
    }
}
