//! The curves of a report, reduced while the rows are read: those of cells, of groups of cells, and of some trials.

use std::collections::{BTreeMap, HashMap, HashSet};

use clr_host::Split;
use clr_plan::TrialId;
use clr_report::reduce::{self, Band, Bins, Extremes, Points};
use clr_report::{CellCurves, Report, TrialCurves};
use clr_store::reader::{RowColumn, Rows};
use clr_terminal::words::counted;
use serde_json::Value as Json;

use super::{Source, thousands};
use crate::compare::trials::Trials;

/// At most so many cells and trials have curves.
const MOST_CELLS: usize = 150;
const MOST_TRIALS: usize = 250;

/// Points of a curve of several trials, and bins of a curve of one, each of which keeps two rows.
const BAND_POINTS: u64 = 200;
const TRIAL_BINS: u64 = 250;

/// The column that cells have a curve of.
const LOSS: &str = "loss";
const LR: &str = "lr";

/// Reads the rows of all trials. Returns of each output the files that could not be read, and why.
pub fn add(
    report: &mut Report,
    together: &Trials,
    sources: &[Source],
    places: &HashMap<TrialId, usize>,
    owners: &HashMap<TrialId, usize>,
) -> Vec<BTreeMap<String, String>> {
    let order = by_rank(report);
    let cells = first_of(order.iter().map(|&trial| report.trials[trial].cell), MOST_CELLS);
    let trials = first_of(order.iter().copied(), MOST_TRIALS);
    let mut building = Building::new(report, &cells, &trials);

    let mut unreadable = Vec::new();
    for (number, source) in sources.iter().enumerate() {
        let stored = &source.stored.trials;
        let is_owned = |index: usize| stored.get(index).is_some_and(|trial| owners.get(&trial.id) == Some(&number));
        let found = source.reader.metrics(is_owned, |index, rows| {
            if let Some(&place) = stored.get(index).and_then(|trial| places.get(&trial.id)) {
                building.add(report, place, rows);
            }
        });
        unreadable.push(found);
    }
    building.end_trial();
    let Building { cells: of_cells, groups: of_groups, trials: mut of_trials, metrics, hypers, .. } = building;
    (report.curves.metrics, report.curves.hypers) = (metrics, hypers);

    let evaluated = |members: &[usize]| evaluations_of(together, members);
    for (place, together_bins) in of_cells {
        let members = members(report, |trial| report.trials[trial].cell == place);
        report.curves.cells.push((place, together_bins.curves(evaluated(&members))));
    }
    if report.groups.len() < report.cells.len() {
        for (place, together_bins) in of_groups {
            let members = members(report, |trial| report.trials[trial].group == place);
            report.curves.groups.push((place, together_bins.curves(evaluated(&members))));
        }
    }
    for &place in &trials {
        let mut curves = of_trials.remove(&place).map(TrialBins::curves).unwrap_or_default();
        curves.evaluations = trial_evaluations(together, place);
        if curves != TrialCurves::default() {
            report.curves.trials.push((place, curves));
        }
    }
    note(report, cells.len(), trials.len());
    unreadable
}

fn members(report: &Report, is_member: impl Fn(usize) -> bool) -> Vec<usize> {
    (0..report.trials.len()).filter(|&trial| is_member(trial)).collect()
}

/// All trials, in the order in which curves are given to them: of each group the best, the worst, the one in the middle, and then
/// on from the best; what has rows and no result comes before what has neither.
fn by_rank(report: &Report) -> Vec<usize> {
    let lower_is_better = report.measure.ends_with("loss");
    let value = |trial: usize| {
        let value = report.trials[trial].numbers.get(&report.measure).and_then(Json::as_f64);
        value.map(|value| if lower_is_better { -value } else { value })
    };
    let rank = |trial: usize| (value(trial).unwrap_or(f64::NEG_INFINITY), report.trials[trial].rows > 0);
    let mut groups: Vec<Vec<usize>> = vec![Vec::new(); report.groups.len()];
    (0..report.trials.len()).for_each(|trial| groups[report.trials[trial].group].push(trial));
    for group in &mut groups {
        group.sort_by(|&a, &b| rank(b).0.total_cmp(&rank(a).0).then(rank(b).1.cmp(&rank(a).1)));
        let with_results = group.iter().filter(|&&trial| value(trial).is_some()).count();
        if with_results > 3 {
            let worst = group.remove(with_results - 1);
            group.insert(1, worst);
            let middle = group.remove(with_results / 2);
            group.insert(2, middle);
        }
    }
    let longest = groups.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|place| groups.iter().filter_map(move |group| group.get(place).copied())).collect()
}

/// The first of the places, each once, so many at most.
fn first_of(places: impl Iterator<Item = usize>, most: usize) -> Vec<usize> {
    let mut seen = HashSet::new();
    places.filter(|&place| seen.insert(place)).take(most).collect()
}

/// What was left out.
fn note(report: &mut Report, cells: usize, trials: usize) {
    let all = (report.cells.len(), report.trials.len());
    if cells < all.0 {
        let text = format!(
            "{} of {} have curves of their own: of each policy and optimizer the best, the worst and the middle one, then on from the best",
            thousands(cells as u64),
            counted(all.0, "cell")
        );
        report.left_out.push(text);
    }
    if trials < all.1 {
        let text = format!(
            "{} of {} have curves of their own, chosen likewise; the numbers of all are here",
            thousands(trials as u64),
            counted(all.1, "trial")
        );
        report.left_out.push(text);
    }
    let longest = report.trials.iter().map(|trial| trial.iterations).max().unwrap_or(0);
    let bin = reduce::bin(longest, TRIAL_BINS);
    if bin > 1 {
        let text = format!(
            "of up to {} rows a trial, its curves show two of every {}: those with the least and the greatest value",
            thousands(longest),
            thousands(bin)
        );
        report.left_out.push(text);
    }
    let bin = reduce::bin(longest, BAND_POINTS);
    if bin > 1 {
        let text = format!(
            "curves of training loss over several trials show means of up to {} iterations; a band is from the least to the greatest mean of a trial",
            thousands(bin)
        );
        report.left_out.push(text);
    }
}

/// Evaluations by split: accuracy, and loss.
fn evaluations_of(together: &Trials, members: &[usize]) -> Vec<(String, Band, Band)> {
    let mut found = Vec::new();
    for split in [Split::Validation, Split::Test, Split::Train] {
        let of_trials: Vec<[Points; 2]> = members.iter().map(|&trial| points(together, trial, split)).collect();
        let of = |which: usize| {
            let curves: Vec<&Points> = of_trials.iter().map(|both| &both[which]).collect();
            Band::of(&curves, BAND_POINTS as usize)
        };
        let (accuracy, loss) = (of(0), of(1));
        if !accuracy.x.is_empty() {
            found.push((split.name().to_owned(), accuracy, loss));
        }
    }
    found
}

fn trial_evaluations(together: &Trials, trial: usize) -> Vec<(String, Points, Points)> {
    let mut found = Vec::new();
    for split in [Split::Validation, Split::Test, Split::Train] {
        let [accuracy, loss] = points(together, trial, split);
        if !accuracy.x.is_empty() {
            let reduced = |points: Points| {
                let mut extremes = Extremes::new(reduce::bin(points.x.len() as u64, TRIAL_BINS));
                // By number, not by iteration: evaluations are few, and far apart.
                (0..).zip(&points.y).for_each(|(number, &y)| extremes.add(number, y));
                let kept = extremes.all_points();
                Points { x: kept.x.iter().map(|&number| points.x[number as usize]).collect(), y: kept.y }
            };
            found.push((split.name().to_owned(), reduced(accuracy), reduced(loss)));
        }
    }
    found
}

/// Accuracies and losses of a trial's evaluations on a split, by iteration.
fn points(together: &Trials, trial: usize, split: Split) -> [Points; 2] {
    let all = together.trials[trial].trial.evaluations.as_deref().unwrap_or_default();
    let mut of_split: Vec<_> = all.iter().filter(|evaluation| evaluation.split == split).collect();
    of_split.sort_by_key(|evaluation| evaluation.iteration);
    of_split.dedup_by_key(|evaluation| evaluation.iteration);
    let mut points = [Points::default(), Points::default()];
    for evaluation in of_split {
        points[0].push(evaluation.iteration, f64::from(evaluation.accuracy));
        points[1].push(evaluation.iteration, f64::from(evaluation.loss));
    }
    points
}

/// The curves that are built while the rows come, trial by trial.
struct Building {
    /// Those of cells that are shown, in their order, and of all groups.
    cells: Vec<(usize, CellBins)>,
    groups: Vec<(usize, CellBins)>,
    trials: HashMap<usize, TrialBins>,
    place_of_cell: HashMap<usize, usize>,
    metrics: Vec<String>,
    hypers: Vec<String>,
    current: Option<Current>,
}

/// The trial whose rows come.
struct Current {
    trial: usize,
    /// Its place in [`Building::cells`], if its cell is shown.
    cell: Option<usize>,
    group: usize,
    of_cell: [Bins; 2],
    of_group: [Bins; 2],
    /// Its learning rate, row by row, for the first trial of a cell.
    lr: Option<Extremes>,
}

/// Curves of trials that are taken together.
struct CellBins {
    bin: u64,
    loss: Band,
    lr: Band,
    /// The learning rate of the first trial, or of a longer one.
    one_lr: Option<Points>,
    is_one_schedule: bool,
}

impl CellBins {
    fn curves(self, evaluations: Vec<(String, Band, Band)>) -> CellCurves {
        let is_there = |band: &Band| band.n.iter().any(|&n| n > 0);
        CellCurves {
            evaluations,
            training: is_there(&self.loss).then_some(self.loss),
            bin: self.bin,
            lr: self.one_lr.filter(|_| self.is_one_schedule),
            lr_band: (!self.is_one_schedule && is_there(&self.lr)).then_some(self.lr),
        }
    }
}

/// Curves of one trial.
#[derive(Default)]
struct TrialBins {
    bin: u64,
    metrics: Vec<(String, Extremes)>,
    hypers: Vec<(String, Extremes)>,
}

impl TrialBins {
    fn curves(self) -> TrialCurves {
        let points = |all: Vec<(String, Extremes)>| all.into_iter().map(|(name, it)| (name, it.points())).collect();
        TrialCurves {
            evaluations: Vec::new(),
            metrics: points(self.metrics),
            hypers: points(self.hypers),
            bin: self.bin,
        }
    }
}

impl Building {
    fn new(report: &Report, cells: &[usize], trials: &[usize]) -> Building {
        let longest = |is_member: &dyn Fn(usize) -> bool| {
            let members = report.trials.iter().enumerate().filter(|(place, _)| is_member(*place));
            members.map(|(_, trial)| trial.iterations).max().unwrap_or(0)
        };
        let of = |iterations: u64, is_one_schedule: bool| CellBins {
            bin: reduce::bin(iterations, BAND_POINTS),
            loss: Band::default(),
            lr: Band::default(),
            one_lr: None,
            is_one_schedule,
        };
        let mut of_cells: HashMap<usize, u64> = HashMap::new();
        for trial in &report.trials {
            let longest = of_cells.entry(trial.cell).or_default();
            *longest = (*longest).max(trial.iterations);
        }
        let is_group = |group: usize| move |place: usize| report.trials[place].group == group;
        Building {
            cells: cells.iter().map(|&cell| (cell, of(of_cells.get(&cell).copied().unwrap_or(0), true))).collect(),
            groups: (0..report.groups.len()).map(|group| (group, of(longest(&is_group(group)), false))).collect(),
            trials: trials.iter().map(|&trial| (trial, TrialBins::default())).collect(),
            place_of_cell: cells.iter().enumerate().map(|(place, &cell)| (cell, place)).collect(),
            metrics: Vec::new(),
            hypers: Vec::new(),
            current: None,
        }
    }

    /// Takes the next rows of trial number `trial`.
    fn add(&mut self, report: &Report, trial: usize, rows: &Rows<'_>) {
        if self.current.as_ref().is_none_or(|current| current.trial != trial) {
            self.end_trial();
            self.begin(report, trial);
        }
        let Some(current) = &mut self.current else { return };
        let mut of_trial = self.trials.get_mut(&trial);
        if let Some(bins) = &mut of_trial
            && bins.bin == 0
        {
            bins.bin = reduce::bin(report.trials[trial].iterations, TRIAL_BINS);
        }
        for (number, column) in rows.columns() {
            let (name, known, is_hyper) = match column {
                RowColumn::Metric(name) => (name, &mut self.metrics, false),
                RowColumn::Hyper(name) => (name, &mut self.hypers, true),
            };
            if !known.iter().any(|it| it == name) {
                known.push(name.to_owned());
            }
            let of_cell = match (name, is_hyper) {
                (LOSS, false) => Some(0),
                (LR, true) => Some(1),
                _ => None,
            };
            if let Some(which) = of_cell {
                let (cell, group) = (&mut current.of_cell[which], &mut current.of_group[which]);
                let mut lr = current.lr.as_mut().filter(|_| is_hyper);
                rows.each(number, |iteration, value| {
                    cell.add(iteration, value);
                    group.add(iteration, value);
                    if let Some(lr) = &mut lr {
                        lr.add(iteration, value);
                    }
                });
            }
            if let Some(bins) = &mut of_trial {
                let bin = bins.bin;
                let kept = if is_hyper { &mut bins.hypers } else { &mut bins.metrics };
                let place = kept.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                    kept.push((name.to_owned(), Extremes::new(bin)));
                    kept.len() - 1
                });
                rows.each(number, |iteration, value| kept[place].1.add(iteration, value));
            }
        }
    }

    fn begin(&mut self, report: &Report, trial: usize) {
        let (cell, group) = (report.trials[trial].cell, report.trials[trial].group);
        let cell = self.place_of_cell.get(&cell).copied();
        let bins = |bin: u64| [Bins::new(bin), Bins::new(bin)];
        let of_cell = cell.map(|place| &self.cells[place].1);
        let bin = of_cell.map_or(u64::MAX, |cell| cell.bin);
        let is_longer = |cell: &CellBins| {
            cell.one_lr.as_ref().is_none_or(|lr| lr.x.last().is_none_or(|&last| last + 1 < report.trials[trial].rows))
        };
        let lr = of_cell.filter(|cell| is_longer(cell)).map(|cell| Extremes::new(cell.bin));
        let of_group = bins(self.groups[group].1.bin);
        self.current = Some(Current { trial, cell, group, of_cell: bins(bin), of_group, lr });
    }

    /// What is known of a trial once it has no more rows.
    fn end_trial(&mut self) {
        let Some(Current { cell, group, of_cell, of_group, lr, .. }) = self.current.take() else { return };
        if let Some(place) = cell {
            let cell = &mut self.cells[place].1;
            cell.loss.add_bins(&of_cell[0]);
            cell.lr.add_bins(&of_cell[1]);
            cell.one_lr = lr.map(Extremes::points).filter(|it| !it.x.is_empty()).or(cell.one_lr.take());
        }
        let group = &mut self.groups[group].1;
        group.loss.add_bins(&of_group[0]);
        group.lr.add_bins(&of_group[1]);
    }
}
