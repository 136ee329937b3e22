//! What commands print: about an output that they opened, about plugins and data, and the bar of a download.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value};

use crate::columns::{self, Column};
use crate::dataset::fetch::Progress;
use crate::dataset::transforms::statistics;
use crate::dataset::{self, Dataset, search};
use crate::ensemble::Evaluated;
use crate::host::{PluginInfo, SearchPath};
use crate::plan::{Names, Plan};
use crate::spec::Limits;
use crate::store::{Status, TrialResult};
use crate::terminal::Terminal;
use crate::verify::again::Proof;
use crate::verify::{Checked, Selection};
use crate::words::{self, counted, thousands};
use crate::worker::{Isolation, Known};

/// `clr-run verify --quick`: the problems of an output's files, then a count.
pub fn checked(folder: &Path, checked: &Checked) -> String {
    let mut out = String::new();
    for problem in &checked.problems {
        let _ = writeln!(out, "problem: {problem}");
    }
    for note in &checked.notes {
        let _ = writeln!(out, "note: {note}");
    }
    let problems = match checked.problems.len() {
        0 => "no problems".to_owned(),
        count => counted(count, "problem"),
    };
    let _ = writeln!(
        out,
        "{}: {problems} in {}, with {} and {} of {}",
        folder.display(),
        counted(checked.files, "file"),
        counted(checked.rows as usize, "row"),
        counted(checked.evaluations as usize, "evaluation"),
        counted(checked.trials, "trial"),
    );
    out
}

/// `clr-run verify`: what differs, what cannot be proven, and what is.
pub fn proof(plan: &Plan, selection: &Selection, proof: &Proof) -> String {
    let names = Names::of(plan);
    let called = |label: &str| {
        let trial = plan.trials.iter().find(|trial| *trial.label == *label);
        trial.map_or(label.to_owned(), |trial| format!("{} ({label})", names.handle(trial.id)))
    };
    let mut out = String::new();
    for (label, what) in &proof.differences {
        let _ = writeln!(out, "differs: {}: {what}", called(label));
    }
    for (label, why) in &selection.unproven {
        let _ = writeln!(out, "not proven: {}: {why}", called(label));
    }
    let (trained, proven) = (selection.trials.len(), proof.proven);
    let trials = counted(trained, "trial");
    let found = match () {
        () if trained == 0 => "no trial could be trained again".to_owned(),
        () if proven == trained && trained == 1 => "trained 1 trial again, and it gives".to_owned(),
        () if proven == trained => format!("trained {trials} again, and all give"),
        () if proven == 1 => format!("trained {trials} again, and 1 of them gives"),
        () if proven == 0 => format!("trained {trials} again, and none gives"),
        () => format!("trained {trials} again, and {} of them give", thousands(proven as u128)),
    };
    let _ = match proven {
        0 if trained == 0 => writeln!(out, "{found}"),
        0 => writeln!(out, "{found} all of its stored rows"),
        _ => writeln!(
            out,
            "{found} the stored rows, bit for bit: {} and {}",
            counted(proof.rows as usize, "row"),
            counted(proof.evaluations as usize, "evaluation")
        ),
    };
    if proof.stopped > 0 {
        let were = if proof.stopped == 1 { "was" } else { "were" };
        let _ = writeln!(out, "{} {were} stopped before the end", counted(proof.stopped, "trial"));
    }
    out
}

/// `clr-run SPEC.toml`, where no trial is left that would be run.
pub fn nothing_to_run<'m>(results: impl Iterator<Item = TrialResult<'m>> + Clone) -> String {
    let count = |is: fn(Status) -> bool| results.clone().filter(|result| is(result.status)).count();
    let (all, over, failed) = (count(|_| true), count(Status::is_done), count(Status::is_failure));
    match (all, failed) {
        (1, 0) => "the trial is finished already; nothing to run\n".to_owned(),
        (_, 0) => format!("all {all} trials are finished already; nothing to run\n"),
        _ => {
            let them = if failed == 1 { "it" } else { "them" };
            format!(
                "nothing to run: of {}, {over} finished and {failed} failed before; --retry-failed runs {them} again, from \
                 the last checkpoint\n",
                counted(all, "trial")
            )
        }
    }
}

/// The line after a run in which the machine interrupted `count` trials.
pub fn interrupted(count: usize) -> String {
    let trials = crate::words::counted(count, "trial");
    format!(
        "error: the machine, not the spec, interrupted {trials} (see above): nothing is held against them, and the same \
         command goes on with them\n"
    )
}

/// `clr-run plugin list`: one line a plugin, and one for each of its models.
pub fn plugins(search: &SearchPath, isolation: &Isolation, terminal: &Terminal) -> String {
    let mut out = String::new();
    for found in search.list() {
        match Known::find(search, &found.name, isolation, Limits::default()) {
            Ok(plugin) => {
                let info = plugin.info();
                let _ = writeln!(out, "{} {}  {}", terminal.bold(&info.name), info.version, info.path.display());
                for model in &info.models {
                    let _ = writeln!(out, "  {}", model.name);
                }
            }
            Err(error) => {
                let error = format!("{}  {error}", found.name);
                let _ = writeln!(out, "{}", words::wrapped(&error, terminal.width, 2));
            }
        }
    }
    if out.is_empty() {
        "no plugins found; `--plugin PATH` and CLR_PLUGIN_PATH say where to look\n".into()
    } else {
        out
    }
}

/// `clr-run plugin info`: everything that the plugin says of itself.
pub fn plugin(info: &PluginInfo, terminal: &Terminal) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{} {}, ABI {}.{}, numerics {}",
        info.name, info.version, info.abi.0, info.abi.1, info.numerics_revision
    );
    let _ = writeln!(out, "{}\nblake3 {}\ndevices: {}", info.path.display(), info.digest, info.devices.join(", "));
    let of_models: Vec<&Map<String, Value>> = info.models.iter().map(|model| &model.options_schema).collect();
    let of_optimizers: Vec<&Map<String, Value>> = info.optimizers.iter().map(|it| &it.options_schema).collect();
    let [common_of_models, common_of_optimizers] = [&of_models, &of_optimizers].map(|schemas| common(schemas));
    for model in &info.models {
        let _ = writeln!(out, "\n{}", terminal.bold(&format!("model {}", model.name)));
        let _ = writeln!(out, "  metrics: {}", model.metrics.join(", "));
        if !model.defaults.is_empty() {
            let defaults: Vec<String> =
                model.defaults.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            let published = format!("  published with: {}", defaults.join(", "));
            let _ = writeln!(out, "{}", words::wrapped(&published, terminal.width, 6));
        }
        options(
            properties(&model.options_schema).filter(|option| !common_of_models.contains(option)),
            terminal,
            &mut out,
        );
    }
    of_all("model", &common_of_models, terminal, &mut out);
    for optimizer in &info.optimizers {
        let _ = writeln!(out, "\n{}", terminal.bold(&format!("optimizer {}", optimizer.name)));
        let _ = writeln!(out, "  may be scheduled: {}", optimizer.hypers.join(", "));
        let own = properties(&optimizer.options_schema).filter(|option| !common_of_optimizers.contains(option));
        options(own, terminal, &mut out);
    }
    of_all("optimizer", &common_of_optimizers, terminal, &mut out);
    out
}

/// An option: its name and its JSON Schema.
type Property<'a> = (&'a String, &'a Value);

fn properties(schema: &Map<String, Value>) -> impl Iterator<Item = Property<'_>> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

/// The options that all of several schemas have alike.
fn common<'a>(schemas: &[&'a Map<String, Value>]) -> Vec<Property<'a>> {
    match schemas {
        [first, rest @ ..] if !rest.is_empty() => properties(first)
            .filter(|option| rest.iter().all(|other| properties(other).any(|of_other| of_other == *option)))
            .collect(),
        _ => Vec::new(),
    }
}

/// The options that all models have, or all optimizers, if there are any.
fn of_all(kind: &str, common: &[Property<'_>], terminal: &Terminal, out: &mut String) {
    if !common.is_empty() {
        let _ = writeln!(out, "\n{}", terminal.bold(&format!("every {kind} has also")));
        options(common.iter().copied(), terminal, out);
    }
}

/// One line an option of a JSON Schema: name, type or choices, default, description.
fn options<'a>(properties: impl Iterator<Item = Property<'a>>, terminal: &Terminal, out: &mut String) {
    for (name, property) in properties {
        let text = |key: &str| property.get(key).and_then(Value::as_str);
        let choices = property.get("enum").and_then(Value::as_array);
        let kind = choices.map_or_else(
            || text("type").unwrap_or("any").to_owned(),
            |choices| choices.iter().map(Value::to_string).collect::<Vec<_>>().join(" | "),
        );
        let default = property.get("default").map(|default| format!(", default {default}")).unwrap_or_default();
        let description = text("description").map(|text| format!("  {text}")).unwrap_or_default();
        let option = format!("  {name}: {kind}{default}{description}");
        let _ = writeln!(out, "{}", words::wrapped(&option, terminal.width, 6));
    }
}

/// `clr-run data list`: the sets known by name, and where each was found.
pub fn datasets(roots: &[PathBuf], terminal: &Terminal) -> String {
    let mut out = String::new();
    for known in dataset::well_known() {
        let place = match search::find(known.name, roots) {
            Ok(source) => source.to_string(),
            Err(_) => format!("not here; `clr-run data fetch {}` downloads it", known.name),
        };
        let (train, test) = (known.train_count, known.test_count);
        let (train, test) = (thousands(u128::from(train)), thousands(u128::from(test)));
        let about = format!("{:14} {}", known.name, known.about);
        let size = format!("{train} + {test} images of {}x{}x{}", known.height, known.width, known.channels);
        let rest = format!("{:14} {size}; {place}", "");
        for line in [about, rest] {
            let _ = writeln!(out, "{}", words::wrapped(&line, terminal.width, 15));
        }
    }
    out
}

/// `clr-run data info`: sizes, digest and statistics.
pub fn dataset(dataset: &Dataset, terminal: &Terminal) -> String {
    let statistics = statistics(dataset, dataset.train.count());
    let list = |values: &[f32]| values.iter().map(|value| format!("{value:.2}")).collect::<Vec<_>>().join(" ");
    let mut out = String::new();
    let _ = writeln!(out, "{}: {}", dataset.name, dataset.source);
    let _ = writeln!(out, "  images     {}x{}x{}, uint8", dataset.height, dataset.width, dataset.channels);
    let _ = writeln!(out, "  train      {}", counted(dataset.train.count(), "image"));
    let _ = writeln!(out, "  test       {}", counted(dataset.test.count(), "image"));
    let names = if dataset.class_names.is_empty() { "" } else { ": " };
    let classes = format!("  classes    {}{names}{}", dataset.class_count, dataset.class_names.join(", "));
    let _ = writeln!(out, "{}", words::wrapped(&classes, terminal.width, 13));
    let _ = writeln!(out, "  mean       {}", list(&statistics.channel_mean));
    let _ = writeln!(out, "  deviation  {}", list(&statistics.channel_deviation));
    let _ = writeln!(out, "  digest     {}", dataset.digest);
    out
}

/// The progress of a download, on standard error.
pub struct DownloadBar {
    bar: ProgressBar,
    file: String,
}

impl DownloadBar {
    /// Hidden where standard error is no terminal.
    pub fn new(is_terminal: bool) -> DownloadBar {
        let target = if is_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        let template = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        DownloadBar { bar, file: String::new() }
    }

    /// As the download calls it.
    pub fn show(&mut self, progress: Progress<'_>) {
        if self.file != progress.file {
            self.file = progress.file.to_owned();
            self.bar.set_message(self.file.clone());
            self.bar.reset();
        }
        if let Some(total) = progress.total {
            self.bar.set_length(total);
        }
        self.bar.set_position(progress.received);
    }

    /// All files are there.
    pub fn finish(self) {
        self.bar.finish();
    }
}

/// The states of one trial: each alone and, for an `ensemble`, together.
pub fn evaluated(evaluated: &Evaluated, ensemble: bool, terminal: &Terminal) -> String {
    let percent = |accuracy: f64| format!("{:.2}", 100.0 * accuracy);
    let members = evaluated.members.iter();
    let mut columns = vec![
        Column::right("iteration", 0, members.clone().map(|member| thousands(member.iteration.into()))),
        Column::right("alone", 0, members.clone().map(|member| percent(member.alone))),
    ];
    if ensemble {
        columns.push(Column::right("with all later", 0, members.map(|member| percent(member.with_later))));
    }
    let Evaluated { handle, trial, split, .. } = evaluated;
    let heading = format!("{handle} ({trial}): accuracy on {split} in %");
    let mut text = words::wrapped(&heading, terminal.width, 2) + "\n" + &columns::text(&columns, terminal);
    if let Some(accuracy) = evaluated.averaged_weights.filter(|_| evaluated.members.len() > 1) {
        let states = counted(evaluated.members.len(), "state");
        let averaged = format!(
            "averaged weights of the {states}, with the statistics of batch normalisation computed anew: {}\n",
            percent(accuracy)
        );
        text += &words::wrapped(&averaged, terminal.width, 2);
    }
    text
}
