//! What a report shows, read from outputs: finished, running, partial or damaged. No lock is taken; what is missing is said.

mod curves;
mod trials;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clr_plan::{Axis, AxisKind, Names, TrialId};
use clr_report::{Event, Output, Report, Run};
use clr_store::StoreError;
use clr_store::journal::{self, Record};
use clr_store::looks::look_again;
use clr_store::manifest::RunRecord;
use clr_store::names::SPEC;
use clr_store::reader::{self, Output as Stored, Reader, Settings};
use clr_system::regular::{self, LARGEST_RECORD};
use clr_terminal::words;
use jiff::Timestamp;
use serde_json::Value as Json;

use crate::compare::trials::Trials;
use crate::compare::{Asked, Block, Comparison, compare};
use crate::range_test;
use crate::status::{self, State};

/// The name of the page in an output's folder.
pub const NAME: &str = "report.html";

/// The name of the folder of tables in it.
pub const FOLDER: &str = "report";

/// A longer message is shown up to here.
const MESSAGE_CHARACTERS: usize = 4000;

/// More events of trials are left out.
const MOST_EVENTS: usize = 50_000;

/// A longer spec is shown up to here.
const SPEC_CHARACTERS: usize = 200_000;

/// An output as it was read.
struct Source {
    folder: PathBuf,
    reader: Reader,
    stored: Stored,
    settings: Vec<Settings>,
    status: Option<status::Report>,
}

/// Reads the outputs of `folders`.
///
/// # Errors
///
/// Where one of them is no output.
pub fn read(folders: &[PathBuf]) -> Result<Report, StoreError> {
    Ok(look(folders, folders)?.0)
}

/// The report of `all`, and whether every file was readable. Where one was not and the manifest of one of `folders` has changed
/// meanwhile, it is read again.
fn look(folders: &[PathBuf], all: &[PathBuf]) -> Result<(Report, bool), StoreError> {
    match folders {
        [] => gather(all),
        [first, rest @ ..] => Ok(look_again(first, || look(rest, all), |(_, is_whole)| *is_whole)?.found),
    }
}

fn gather(folders: &[PathBuf]) -> Result<(Report, bool), StoreError> {
    let sources: Vec<Source> = folders.iter().map(|folder| source(folder)).collect::<Result<_, _>>()?;
    let together = Trials::of(sources.iter().map(|it| (it.stored.clone(), it.settings.clone())).collect());
    let names = Names::new(&together.axes, together.trials.iter().map(|trial| (trial.trial.id, &trial.values[..])));
    let places: HashMap<TrialId, usize> =
        together.trials.iter().enumerate().map(|(place, trial)| (trial.trial.id, place)).collect();
    let owners = owners(&sources);

    let mut report = Report {
        title: title(&sources),
        program: concat!("clr-run ", env!("CARGO_PKG_VERSION")).to_owned(),
        axes: axes(&together, &names),
        common: names.common(),
        ..Report::default()
    };
    trials::add(&mut report, &together, &names, &owners);
    for source in &sources {
        for trial in source.status.iter().flat_map(|status| &status.trials) {
            let place = trial.trial.parse().ok().and_then(|id: TrialId| places.get(&id));
            if trial.status == status::TrialStatus::Running
                && let Some(shown) = place.and_then(|&place| report.trials.get_mut(place))
            {
                shown.status = "running".to_owned();
                shown.rows = trial.step;
            }
        }
    }
    report.comparisons = comparisons(&together, &names);
    let unreadable = curves::add(&mut report, &together, &sources, &places, &owners);
    for (number, source) in sources.iter().enumerate() {
        let mut missing: Vec<String> = source.reader.notes().to_vec();
        let status = source.status.as_ref();
        missing.extend(status.into_iter().flat_map(|status| status.damage.iter().cloned()));
        missing.extend(status.into_iter().flat_map(|status| status.notes.iter().cloned()));
        let files = source.stored.unreadable.values().chain(unreadable[number].values());
        missing.extend(files.map(|why| format!("{why}; its rows are left out")));
        missing.dedup();
        report.outputs.push(output(source, &together, missing));
        add_events(&mut report, source, number, &places);
    }
    report.range_tests = sources.iter().filter_map(|source| range_tests(&source.folder)).collect();
    let is_whole = unreadable.iter().all(|files| files.is_empty())
        && sources.iter().all(|source| source.stored.unreadable.is_empty());
    Ok((report, is_whole))
}

fn source(folder: &Path) -> Result<Source, StoreError> {
    let reader = Reader::lenient(folder)?;
    let stored = reader.output();
    // A plan that cannot be read is noted by the reader.
    let mut settings = reader::settings(folder).unwrap_or_default();
    settings.resize_with(stored.trials.len(), Settings::new);
    let status = status::read(folder).ok();
    Ok(Source { folder: folder.to_owned(), reader, stored, settings, status })
}

/// The output from which each trial is taken: the first that has it finished, else the first.
fn owners(sources: &[Source]) -> HashMap<TrialId, usize> {
    let mut owners: HashMap<TrialId, (usize, bool)> = HashMap::new();
    for (number, source) in sources.iter().enumerate() {
        for trial in &source.stored.trials {
            let is_done = trial.status.is_done();
            let owner = owners.entry(trial.id).or_insert((number, is_done));
            if is_done && !owner.1 {
                *owner = (number, true);
            }
        }
    }
    owners.into_iter().map(|(id, (number, _))| (id, number)).collect()
}

fn title(sources: &[Source]) -> String {
    let name = |source: &Source| match source.reader.name() {
        "" => source.folder.file_name().map_or_else(|| "report".into(), |name| name.to_string_lossy().into_owned()),
        name => name.to_owned(),
    };
    words::some_of(&sources.iter().map(name).collect::<Vec<_>>())
}

fn axes(together: &Trials, names: &Names) -> Vec<clr_report::Axis> {
    let rows = || together.trials.iter().map(|trial| &trial.values[..]);
    let shown = names.columns(rows().take(0), &[]);
    let axis = |(place, axis): (usize, &Axis)| {
        let label = shown
            .iter()
            .find(|column| column.header == axis.name || axis.name.rsplit('.').next() == Some(column.header.as_str()));
        clr_report::Axis {
            name: axis.name.clone(),
            label: label.map_or_else(|| axis.name.clone(), |column| column.header.clone()),
            is_number: matches!(axis.kind, AxisKind::Integer | AxisKind::Float),
            is_seed: together.is_seed(place),
            is_shown: label.is_some(),
        }
    };
    together.axes.iter().enumerate().map(axis).collect()
}

/// Beside the best of each block, and beside the reference that `clr-run compare` takes.
fn comparisons(together: &Trials, names: &Names) -> Vec<Json> {
    let asked = [true, false].map(|beside_best| Asked { beside_best, ..Asked::default() });
    let compared = asked.iter().map(|asked| match compare(together, asked) {
        Ok(comparison) => named(comparison, names),
        Err(why) => Json::from(why.to_string()),
    });
    let mut compared: Vec<Json> = compared.collect();
    // Without a policy `fixed`, both are beside the best.
    compared.dedup();
    compared
}

/// A comparison with the names of its cells, and without the numbers of their trials, which are among the trials.
fn named(mut comparison: Comparison, names: &Names) -> Json {
    let cells = |block: &mut Block| {
        block.reference.members.clear();
        block.candidates.iter_mut().for_each(|candidate| candidate.cell.members.clear());
        let all = std::iter::once(&block.reference).chain(block.candidates.iter().map(|candidate| &candidate.cell));
        all.map(|cell| names.words(&cell.values)).collect::<Vec<String>>()
    };
    let called: Vec<Vec<String>> = comparison.blocks.iter_mut().map(cells).collect();
    let mut json = serde_json::to_value(&comparison).unwrap_or_default();
    for (block, called) in called.into_iter().enumerate() {
        for (place, name) in called.into_iter().enumerate() {
            let block = &mut json["blocks"][block];
            let cell = if place == 0 { &mut block["reference"] } else { &mut block["candidates"][place - 1] };
            cell["name"] = Json::from(name);
        }
    }
    json
}

fn output(source: &Source, together: &Trials, missing: Vec<String>) -> Output {
    let state = source.status.as_ref().map(|status| status.state);
    let spec = regular::read(&source.folder.join(SPEC), LARGEST_RECORD).ok();
    let spec = spec.map(|bytes| words::start(&String::from_utf8_lossy(&bytes), SPEC_CHARACTERS).to_owned());
    let own = |(place, axis): (usize, &Axis)| source.stored.axes.iter().any(|it| it.name == axis.name).then_some(place);
    Output {
        folder: source.folder.display().to_string(),
        name: source.reader.name().to_owned(),
        state: state.map_or("unknown", State::name).to_owned(),
        as_of: (state == Some(State::Running)).then(|| format!("{:.0}", Timestamp::now())),
        missing,
        spec,
        runs: source.reader.runs().iter().map(run).collect(),
        axes: together.axes.iter().enumerate().filter_map(own).collect(),
    }
}

fn run(record: &RunRecord) -> Run {
    let RunRecord { started, ended, info } = record;
    Run {
        started: format!("{started:.0}"),
        ended: ended.map(|ended| format!("{ended:.0}")),
        command: info.command.join(" "),
        folder: info.directory.clone(),
        devices: info.devices.clone(),
        threads: info.jobs,
        versions: info.versions.clone().into_iter().collect(),
        numerics: info.numerics.iter().cloned().collect(),
    }
}

/// What happened to the trials that are taken from output `number`.
fn add_events(report: &mut Report, source: &Source, number: usize, places: &HashMap<TrialId, usize>) {
    let mut left_out = 0_usize;
    let place = |report: &Report, id: &str| -> Option<usize> {
        let place = *places.get(&id.parse().ok()?)?;
        (report.trials[place].output == number).then_some(place)
    };
    // That it cannot be read is among what is missing.
    let _ = journal::read(&source.folder, |line| {
        let time = line.time.into_owned();
        let found: Vec<(Option<usize>, String)> = match line.record {
            Record::Started { trial, attempt, step, .. } => {
                vec![(place(report, &trial), format!("attempt {attempt} began at iteration {}", thousands(step)))]
            }
            Record::Ended { trial, step, outcome, message, seconds, .. } => {
                let message =
                    message.map_or_else(String::new, |it| format!(": {}", words::start(&it, MESSAGE_CHARACTERS)));
                let (outcome, step, took) = (outcome.name(), thousands(step), words::duration(seconds));
                vec![(place(report, &trial), format!("{outcome} after iteration {step} and {took}{message}"))]
            }
            Record::Retried { trials, message, .. } => {
                let what =
                    format!("its session failed and it is tried again: {}", words::start(&message, MESSAGE_CHARACTERS));
                trials.iter().map(|trial| (place(report, trial), what.clone())).collect()
            }
            _ => Vec::new(),
        };
        for (place, what) in found {
            let Some(place) = place else { continue };
            if report.events.len() < MOST_EVENTS {
                report.events.push((place, Event { time: time.clone(), what }));
            } else {
                left_out += 1;
            }
        }
    });
    if left_out > 0 {
        report.left_out.push(format!("{} later events of trials are not in this page", thousands(left_out as u64)));
    }
}

fn range_tests(folder: &Path) -> Option<Json> {
    serde_json::to_value(range_test::read(folder).ok()?).ok()
}

fn thousands(count: u64) -> String {
    words::thousands(u128::from(count))
}
