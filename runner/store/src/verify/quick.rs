//! `clr-run verify --quick`: the files of an output against its manifest, and its rows against themselves.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Component, Path};

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use clr_event::Evaluation;
use clr_host::Split;
use clr_plan::TrialId;
use clr_spec::duration::Period;
use clr_system::contain::contain;

use clr_terminal::words;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::VerifyError;
use super::found::{Checked, Problem};
use super::rows::{self, Content, Stretch};
use crate::journal;
use crate::looks::look_again;
use crate::manifest::{BACKUP, Manifest, NAME as MANIFEST, Segment, TrialRecord, UnfinishedRecord};
use crate::names::FAILED;
use crate::plan_file::{self, PlanFile, PlannedTrial};
use crate::result::NonFinite;
use crate::schema::Table;
use crate::sound::{self, Depth};
use crate::source::{open_table, project};
use crate::{Status, swap};

/// Checks the files of the output `folder`. Takes no lock and writes nothing.
///
/// # Errors
///
/// Where there is no output, or the manifest cannot be read at all.
pub fn quick(folder: &Path) -> Result<Checked, VerifyError> {
    Ok(look_again(folder, || check(folder), |checked| checked.problems.is_empty())?.found)
}

fn check(folder: &Path) -> Result<Checked, VerifyError> {
    let mut checked = Checked::default();
    let manifest = match Manifest::parse(folder) {
        Ok(Some(manifest)) => manifest,
        Ok(None) => {
            if !["spec.toml", "plan.json"].iter().any(|name| folder.join(name).exists()) {
                return Err(VerifyError::NoOutput { folder: folder.to_owned() });
            }
            checked.problems.push(Problem::of_file(MANIFEST, "it is missing, so no row of the output counts"));
            return Ok(checked);
        }
        Err(error) => {
            checked.problems.push(Problem::of_file(MANIFEST, words::chain(&error)));
            return Ok(checked);
        }
    };
    checked.problems.extend(manifest.backup_problem(folder).map(|what| Problem::of_file(BACKUP, what)));
    // What is wrong with a file that the manifest lists is said of all of them alike.
    let is_listed = |name: &str| manifest.files.contains_key(name);
    let plan = read_plan(folder).unwrap_or_else(|what| {
        if !is_listed("plan.json") {
            checked.problems.push(Problem::of_file("plan.json", what));
        }
        Planned::default()
    });
    if !is_listed("spec.toml") && !folder.join("spec.toml").exists() {
        checked.problems.push(Problem::of_file("spec.toml", "it is missing"));
    }
    let claims = claims(&manifest);
    let mut check = Check { folder, manifest: &manifest, plan: &plan, claims, checked };
    check.files();
    for directory in [Table::Metrics.name(), Table::Evals.name(), FAILED] {
        check.unlisted(directory);
    }
    check.trials();
    check.table_of_trials("trials.parquet");
    check.table_of_trials("timings.parquet");
    let mut checked = check.checked;
    if manifest.is_excerpt() {
        let what = "this is an excerpt, without the rows of metrics: training again compares the evaluations";
        checked.notes.push(what.to_owned());
    }
    if journal::read_heartbeat(folder).is_some_and(|beat| beat.holder.lives() == Some(true)) {
        checked.notes.push("a command is writing this output; what it has not committed is not looked at".to_owned());
    }
    Ok(checked)
}

/// The ids and labels of the output's plan, in its order.
///
/// # Errors
///
/// Where `plan.json` cannot be read.
pub(super) fn planned_ids(folder: &Path) -> Result<Vec<(TrialId, String)>, String> {
    let plan = PlanFile::read(folder);
    let plan = plan.map_err(|error| format!("{}: {error}", folder.join(plan_file::NAME).display()))?;
    Ok(plan.trials.into_iter().map(|trial| (trial.id, trial.label)).collect())
}

/// The plan's trials by id, with what they share.
#[derive(Default)]
struct Planned {
    order: Vec<TrialId>,
    trials: HashMap<TrialId, Asked>,
}

/// The part of a trial's settings that can be seen in its rows.
struct Asked {
    label: String,
    iterations: u64,
    eval_every: Period,
    /// The rows of the last epoch, of which the mean loss is taken. In older outputs with `last_batch = "drop"` it is
    /// that of one row more, the second number.
    windows: Option<[usize; 2]>,
}

fn read_plan(folder: &Path) -> Result<Planned, String> {
    let plan = PlanFile::read(folder).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "it is missing".to_owned(),
        _ => error.to_string(),
    })?;
    let groups = plan.groups;
    let windows = |group: Option<usize>| {
        let data = &groups.get(group?)?.shape.data;
        let update_size = data.batch_size.saturating_mul(data.accumulate).max(1);
        let all = data.train_count.div_ceil(update_size);
        let rows = if data.last_batch == "drop" { data.train_count / update_size } else { all };
        Some([usize::try_from(rows.max(1)).ok()?, usize::try_from(all.max(1)).ok()?])
    };
    let order = plan.trials.iter().map(|trial| trial.id).collect();
    let asked = |trial: PlannedTrial| {
        let PlannedTrial { id, label, group, iterations, eval_every, .. } = trial;
        (id, Asked { label, iterations, eval_every: Period::new(eval_every), windows: windows(group) })
    };
    Ok(Planned { order, trials: plan.trials.into_iter().map(asked).collect() })
}

struct Check<'a> {
    folder: &'a Path,
    manifest: &'a Manifest,
    plan: &'a Planned,
    claims: Vec<Claim<'a>>,
    checked: Checked,
}

/// Of a stretch of rows: which of the claims it is of, in which table, and which of the claim's segments.
type Place = (usize, Table, usize);

/// Rows that the manifest gives to a trial. A trial that is being run again has two: of what is done, and of what was saved.
struct Claim<'a> {
    id: TrialId,
    kind: Kind<'a>,
}

enum Kind<'a> {
    Known(&'a TrialRecord),
    Saved(&'a UnfinishedRecord),
}

impl<'a> Claim<'a> {
    fn segments(&self, table: Table) -> &'a [Segment] {
        match self.kind {
            Kind::Known(record) => record.segments(table),
            Kind::Saved(record) => record.segments(table),
        }
    }
}

fn claims(manifest: &Manifest) -> Vec<Claim<'_>> {
    let known = manifest.trials.iter().map(|(&id, record)| Claim { id, kind: Kind::Known(record) });
    let saved = manifest.unfinished.iter().map(|(&id, record)| Claim { id, kind: Kind::Saved(record) });
    known.chain(saved).collect()
}

impl<'a> Check<'a> {
    fn label(&self, id: TrialId) -> String {
        self.plan.trials.get(&id).map_or_else(|| id.to_string(), |asked| asked.label.clone())
    }

    /// Every file that the manifest lists.
    fn files(&mut self) {
        let mut owners: HashMap<&str, BTreeSet<String>> = HashMap::new();
        let mut checkpoints: Vec<(String, String)> = Vec::new();
        for claim in &self.claims {
            let label = self.label(claim.id);
            for segment in claim.segments(Table::Metrics).iter().chain(claim.segments(Table::Evals)) {
                owners.entry(&segment.0).or_default().insert(label.clone());
            }
            let of_trial = self.manifest.checkpoints_of(claim.id);
            checkpoints.extend(of_trial.into_iter().map(|path| (label.clone(), path)));
        }
        for (label, path) in &checkpoints {
            owners.entry(path).or_default().insert(label.clone());
        }
        for (name, entry) in &self.manifest.files {
            self.checked.files += usize::from(!entry.left_out);
            let is_within = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
            let sound = match is_within {
                true => sound::check(&swap::locate(self.folder, name), entry, Depth::Digest)
                    .map_err(|unsound| unsound.to_string()),
                false => Err("it is not below the output, and is left alone".to_owned()),
            };
            if let Err(what) = sound {
                let trials = owners.get(name.as_str()).into_iter().flatten().cloned().collect();
                self.checked.problems.push(Problem { file: name.clone(), trials, what });
                self.checked.damaged.insert(name.clone());
            }
        }
        let unlisted = checkpoints.iter().filter(|(_, path)| !self.manifest.files.contains_key(path));
        let problem = |(label, path): &(String, String)| {
            Problem::of_trial(path, label, "the trial goes on from it, and the manifest does not list it")
        };
        let problems: BTreeSet<Problem> = unlisted.map(problem).collect();
        self.checked.problems.extend(problems);
    }

    /// Files beside those of the manifest, which readers of a folder would take for results.
    fn unlisted(&mut self, directory: &str) {
        let Ok(entries) = fs::read_dir(self.folder.join(directory)) else { return };
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        for name in names.into_iter().filter(|name| name.ends_with(".parquet")) {
            let path = format!("{directory}/{name}");
            if !self.manifest.files.contains_key(&path) {
                let what = "the manifest does not list it, and readers of the folder would take its rows for results; \
                            delete it, or run the spec again, which removes what a killed command left";
                self.checked.problems.push(Problem::of_file(&path, what));
            }
        }
    }

    fn trials(&mut self) {
        let mut contents = BTreeMap::new();
        for table in [Table::Metrics, Table::Evals] {
            self.read_table(table, &mut contents);
        }
        let claims = std::mem::take(&mut self.claims);
        for (index, claim) in claims.iter().enumerate() {
            let label = self.label(claim.id);
            let problems = self.trial(index, claim, &contents);
            let problems = problems.into_iter().map(|(file, what)| Problem::of_trial(&file, &label, what));
            self.checked.problems.extend(problems);
            if let Kind::Known(record) = claim.kind
                && record.status.is_done()
            {
                self.checked.trials += 1;
                let metrics = if self.manifest.leaves_out(&record.metrics) { &[][..] } else { &record.metrics };
                let count = |segments: &[Segment]| segments.iter().fold(0, |sum: u64, it| sum.saturating_add(it.2));
                self.checked.rows = self.checked.rows.saturating_add(count(metrics));
                self.checked.evaluations = self.checked.evaluations.saturating_add(count(&record.evals));
            }
        }
    }

    /// Reads the rows that the manifest gives to trials, file by file, into `contents`: by claim, table and segment.
    fn read_table(&mut self, table: Table, contents: &mut BTreeMap<(usize, Table, usize), Content>) {
        let mut by_file: BTreeMap<&'a str, Vec<(u64, u64, usize, usize)>> = BTreeMap::new();
        for (claim, claimed) in self.claims.iter().enumerate() {
            for (index, segment) in claimed.segments(table).iter().enumerate() {
                by_file.entry(&segment.0).or_default().push((segment.1, segment.2, claim, index));
            }
        }
        for (file, mut segments) in by_file {
            if self.checked.damaged.contains(file) {
                continue;
            }
            let Some(entry) = self.manifest.files.get(file) else {
                let what = "trials have rows in it, and the manifest does not list it";
                let trials = segments.iter().map(|&(_, _, claim, _)| self.label(self.claims[claim].id)).collect();
                self.checked.problems.push(Problem { file: file.to_owned(), trials, what: what.to_owned() });
                self.checked.damaged.insert(file.to_owned());
                continue;
            };
            if entry.left_out {
                continue;
            }
            segments.sort_unstable();
            let mut end = 0;
            let mut last: Option<TrialId> = None;
            // A trial that failed has its rows, and the first of them once more as those that it may go on from.
            let mut readings: [(Vec<Stretch>, Vec<Place>); 2] = Default::default();
            for (first, count, claim, index) in segments {
                let id = self.claims[claim].id;
                let label = self.label(id);
                let mut problem = |what: String| self.checked.problems.push(Problem::of_trial(file, &label, what));
                let again = first < end && last == Some(id) && readings[1].0.last().is_none_or(|it| it.end() <= first);
                if first < end && !again {
                    problem(format!("its rows from {first} on are another trial's too"));
                    continue;
                }
                if first.saturating_add(count) > entry.rows {
                    problem(format!(
                        "its rows {first}..{} are beyond the file's {}",
                        first.saturating_add(count),
                        entry.rows
                    ));
                    continue;
                }
                // Parts keep rows of trials that were cut off; the tables have no row that is nobody's.
                if first > end && !file.starts_with("parts/") {
                    let what = format!("rows {end}..{first} belong to no trial");
                    self.checked.problems.push(Problem::of_file(file, what));
                }
                let asked = self.plan.trials.get(&id);
                let window = asked.and_then(|asked| asked.windows).map_or(0, |[_, most]| most);
                let (stretches, places) = &mut readings[usize::from(again)];
                stretches.push(Stretch { trial: id.to_string(), first, count, window });
                places.push((claim, table, index));
                (end, last) = (end.max(first + count), Some(id));
            }
            if end < entry.rows && !file.starts_with("parts/") {
                let what = format!("rows {end}..{} belong to no trial", entry.rows);
                self.checked.problems.push(Problem::of_file(file, what));
            }
            for (stretches, places) in readings.into_iter().filter(|(stretches, _)| !stretches.is_empty()) {
                let read = contain(|| rows::read(&swap::locate(self.folder, file), table, &stretches));
                match read.unwrap_or_else(sound::unreadable) {
                    Ok(read) => contents.extend(places.into_iter().zip(read)),
                    Err(problem) => {
                        self.checked.problems.push(Problem::of_file(file, format!("it cannot be read: {problem}")));
                        self.checked.damaged.insert(file.to_owned());
                        break;
                    }
                }
            }
        }
    }

    /// The problems of one trial's rows: pairs of file and problem.
    fn trial(
        &self,
        index: usize,
        claim: &Claim<'a>,
        contents: &BTreeMap<(usize, Table, usize), Content>,
    ) -> Vec<(String, String)> {
        let leaves_out = |table: Table| self.manifest.leaves_out(claim.segments(table));
        let is_whole = [Table::Metrics, Table::Evals].into_iter().filter(|&table| !leaves_out(table)).all(|table| {
            (0..claim.segments(table).len()).all(|segment| contents.contains_key(&(index, table, segment)))
        });
        // What is wrong with a file was said of the file.
        if !is_whole {
            return Vec::new();
        }
        let of = |table: Table| {
            let segments = claim.segments(table).iter().enumerate().filter(move |_| !leaves_out(table));
            segments.map(move |(number, segment)| (&*segment.0, &contents[&(index, table, number)]))
        };
        let mut problems = Vec::new();
        let mut last = -1;
        let mut losses = Vec::new();
        let mut non_finite = NonFinite::default();
        for (file, content) in of(Table::Metrics) {
            let joint = content.iterations.and_then(|(first, _)| rows::out_of_order(last, first));
            problems.extend(joint.or_else(|| content.problem.clone()).map(|what| (file.to_owned(), what)));
            last = content.iterations.map_or(last, |(_, end)| end);
            losses.extend(&content.losses);
            non_finite.count += content.non_finite.count;
            non_finite.first = non_finite.first.or(content.non_finite.first);
        }
        let mut evaluations: Vec<Evaluation> = Vec::new();
        for (file, content) in of(Table::Evals) {
            problems.extend(content.problem.clone().map(|what| (file.to_owned(), what)));
            evaluations.extend(&content.evaluations);
        }
        // Where rows are wrong, what follows from them is too.
        if !problems.is_empty() {
            return problems;
        }
        let asked = self.plan.trials.get(&claim.id);
        let place = |table: Table| claim.segments(table).last().map_or(MANIFEST, |segment| &segment.0).to_owned();
        let has_metrics = !leaves_out(Table::Metrics);
        let rows = match claim.kind {
            Kind::Known(record) if !has_metrics => record.numbers.rows,
            _ => u64::try_from(last.saturating_add(1)).unwrap_or(0),
        };
        let record = match claim.kind {
            Kind::Known(record) if record.status.is_done() => record,
            Kind::Known(record) if record.status.is_failure() => {
                if rows != record.numbers.rows {
                    let what = format!("it has {rows} rows instead of {}", record.numbers.rows);
                    problems.push((place(Table::Metrics), what));
                }
                return problems;
            }
            Kind::Known(_) => return problems,
            Kind::Saved(record) => {
                if rows != record.step {
                    let what = format!("it has {rows} rows, and was saved at {}", record.step);
                    problems.push((place(Table::Metrics), what));
                }
                return problems;
            }
        };
        let whole = match (record.status, record.numbers.diverged_at, asked) {
            (Status::Diverged, Some(iteration), _) => Some(iteration.saturating_add(1)),
            (_, _, Some(asked)) => Some(asked.iterations),
            _ => None,
        };
        if rows != record.numbers.rows || whole.is_some_and(|whole| whole != rows) {
            let expected = whole.unwrap_or(record.numbers.rows);
            problems.push((place(Table::Metrics), format!("it has {rows} rows instead of {expected}")));
        }
        if let Some(what) = evaluations_problem(&evaluations, record, asked.map(|asked| asked.eval_every)) {
            problems.push((place(Table::Evals), what));
        }
        if problems.is_empty() {
            let windows = asked.and_then(|asked| asked.windows);
            let metrics = has_metrics.then_some(Losses { last: &losses, windows, non_finite });
            problems.extend(numbers_problem(record, metrics, &evaluations).map(|what| (MANIFEST.to_owned(), what)));
        }
        problems
    }

    /// `trials.parquet` and `timings.parquet`: the plan's trials in its order. Their digests were checked with the others.
    fn table_of_trials(&mut self, name: &str) {
        let is_listed = self.manifest.files.contains_key(name);
        if !is_listed || self.checked.damaged.contains(name) || self.plan.order.is_empty() {
            return;
        }
        let found = contain(|| ids(&self.folder.join(name), self.plan.order.len()));
        let found = match found.unwrap_or_else(sound::unreadable) {
            Ok(found) => found,
            Err(problem) => {
                self.checked.problems.push(Problem::of_file(name, format!("it cannot be read: {problem}")));
                return;
            }
        };
        // A command that was cut off has written the plan, and not yet this.
        if self.manifest.runs.last().is_some_and(|run| run.ended.is_none()) {
            return;
        }
        let expected: Vec<String> = self.plan.order.iter().map(TrialId::to_string).collect();
        if let Some(row) = (0..found.len().max(expected.len())).find(|&row| found.get(row) != expected.get(row)) {
            let label = |id: &String| id.parse().map_or_else(|_| id.clone(), |id| self.label(id));
            let is = |ids: &[String]| ids.get(row).map_or("none".to_owned(), label);
            let what = format!("row {row} is of trial {} instead of {}", is(&found), is(&expected));
            self.checked.problems.push(Problem::of_file(name, what));
        }
    }
}

/// The column `trial` of a small table, up to where it has more than `most` rows.
fn ids(path: &Path, most: usize) -> Result<Vec<String>, String> {
    let vetted = open_table(path).map_err(|fault| fault.to_string())?;
    let column = vetted.metadata.schema().index_of("trial").map_err(|error| error.to_string())?;
    let projection = project(&vetted, [column]).map_err(|fault| fault.to_string())?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(vetted.file, vetted.metadata);
    let reader = builder.with_projection(projection).build().map_err(|error| error.to_string())?;
    let mut ids = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|error| error.to_string())?;
        let column = batch.column(0).as_dictionary_opt::<Int32Type>().ok_or("`trial` is no text")?;
        ids.extend((0..column.len()).map(|row| rows::text_at(column, row).unwrap_or_default().to_owned()));
        if ids.len() > most {
            break;
        }
    }
    Ok(ids)
}

/// Every evaluation once, at 0, on schedule and at the end, on the same splits each time.
fn evaluations_problem(found: &[Evaluation], record: &TrialRecord, eval_every: Option<Period>) -> Option<String> {
    let mut at: BTreeMap<u64, Vec<Split>> = BTreeMap::new();
    let mut last = 0;
    for evaluation in found {
        let splits = at.entry(evaluation.iteration).or_default();
        let split = evaluation.split.name();
        if splits.contains(&evaluation.split) {
            return Some(format!("the evaluation at {} on {split} is there twice", evaluation.iteration));
        }
        if evaluation.iteration < last {
            return Some(format!("the evaluation at {} comes after that at {last}", evaluation.iteration));
        }
        splits.push(evaluation.split);
        last = evaluation.iteration;
    }
    let Some(splits) = at.get(&0).cloned() else { return Some("the evaluation at 0 is missing".to_owned()) };
    let rows = record.numbers.rows;
    // A diverged trial ends with the row that broke the rule, and has no last evaluation.
    let end = if record.status == Status::Diverged { rows.saturating_sub(1) } else { rows };
    if record.status != Status::Diverged && !at.contains_key(&rows) {
        return Some(format!("the last evaluation, at {rows}, is missing"));
    }
    if let Some(every) = eval_every {
        let mut due = std::iter::successors(Some(every.next(0)), |&last| Some(every.next(last)));
        if let Some(missing) = due.by_ref().take_while(|&due| due <= end).find(|due| !at.contains_key(due)) {
            return Some(format!("the evaluation at {missing} is missing"));
        }
    }
    let partial = at.iter().find(|(_, found)| **found != splits)?;
    Some(format!("the evaluation at {} is not on the splits of the first", partial.0))
}

/// The losses of a trial's rows of metrics.
struct Losses<'a> {
    last: &'a [f32],
    /// As of what was asked.
    windows: Option<[usize; 2]>,
    non_finite: NonFinite,
}

/// The numbers in the manifest must be those that the rows amount to. An excerpt leaves the rows of metrics out.
fn numbers_problem(record: &TrialRecord, metrics: Option<Losses<'_>>, evaluations: &[Evaluation]) -> Option<String> {
    let mut again = record.numbers;
    again.set_evaluations(evaluations, again.diverged_at.is_none().then_some(again.rows));
    if let Some(Losses { last: losses, windows, non_finite }) = metrics {
        let stored = record.numbers.final_train_loss;
        again.final_train_loss = windows.map_or(stored, |windows| {
            let [exact, older] = windows.map(|window| mean(&losses[losses.len().saturating_sub(window)..]));
            if older == stored { older } else { exact }
        });
        // Not counted in trials of earlier versions, nor in models without loss.
        if record.numbers.non_finite_losses.is_some() {
            again.set_non_finite(non_finite);
        }
    }
    if again == record.numbers {
        return None;
    }
    let (Ok(serde_json::Value::Object(stored)), Ok(serde_json::Value::Object(again))) =
        (serde_json::to_value(record.numbers), serde_json::to_value(again))
    else {
        return None;
    };
    let (name, value) = stored.iter().find(|(name, value)| again.get(*name) != Some(*value))?;
    Some(format!("{name} is {value}, and its rows amount to {}", again.get(name)?))
}

/// As the store computes it: summed in order, none where one is not finite.
fn mean(losses: &[f32]) -> Option<f64> {
    let sum: f64 = losses.iter().map(|&loss| f64::from(loss)).sum();
    (!losses.is_empty() && sum.is_finite()).then(|| sum / losses.len() as f64)
}
