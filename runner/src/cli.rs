//! The command line as types.

use std::ops::Range;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use clr_host::Pin;
use clr_train::device::Wanted;

// Headings in the help of commands.
const DEVICE: &str = "Device";
const LOGS: &str = "Logs";
const SWEEP: &str = "Sweep";
const WHERE: &str = "Data and plugins";

/// Train every cell of a grid of learning-rate policies and optimizers from one TOML file, and write Parquet.
#[derive(Debug, Parser)]
#[command(
    name = "clr-run",
    version,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
#[command(
    after_help = "Exit codes: 0 all trials ended; 1 some trial failed, or results could not be written; 2 bad input or nothing that could run; \
                        130 and 143 stopped by SIGINT and SIGTERM.\n\nTables are as wide as the terminal; in a file or a pipe, as wide as they need to be. COLUMNS=100 sets a width, \
                        NO_COLOR=1 turns colours off."
)]
pub struct Cli {
    /// None: run a spec.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Of no meaning where there is a command.
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub log: LogArgs,
}

#[derive(Args, Clone, Debug)]
pub struct LogArgs {
    /// Log what is opened, loaded, written and how long it takes: error, warn, info, debug or trace, or by module, such as
    /// `info,clr_store=debug`.
    #[arg(long, global = true, value_name = "FILTER", help_heading = LOGS)]
    pub log: Option<String>,
    /// Log to the end of this file instead of standard error; `--log info` if it does not say what.
    #[arg(long, global = true, value_name = "PATH", help_heading = LOGS)]
    pub log_file: Option<PathBuf>,
}

impl LogArgs {
    /// The filter of logs, if any are asked for.
    pub fn filter(&self) -> Option<&str> {
        self.log.as_deref().or_else(|| self.log_file.as_ref().map(|_| "info"))
    }

    /// True if logs would go through a display on standard error.
    pub fn is_on_stderr(&self) -> bool {
        self.log.is_some() && self.log_file.is_none()
    }
}

/// `clr-run SPEC.toml`: train what has no finished rows yet.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The experiment, a TOML file.
    // Always there: an `Option` only for clap, which would else ask for it of subcommands too.
    #[arg(value_name = "SPEC", required = true)]
    pub path: Option<PathBuf>,
    #[command(flatten)]
    pub train: TrainArgs,
}

/// How to train a spec.
#[derive(Args, Clone, Debug)]
pub struct TrainArgs {
    /// How to read it.
    #[command(flatten)]
    pub spec: SpecArgs,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Run finished trials again whose numbers came from other arithmetic (plugin revision, instruction set, GPU).
    #[arg(long)]
    pub rerun_other_numerics: bool,
    /// Run finished trials again that another build of the plugin trained, or an unknown one: another file, whatever revision
    /// it says that it is. Unfinished ones start over.
    #[arg(long)]
    pub rerun_other_builds: bool,
    /// Run trials again that failed or crashed; they go on from their last checkpoint.
    #[arg(long)]
    pub retry_failed: bool,
    /// Write no report.html beside the results.
    #[arg(long)]
    pub no_report: bool,
    /// Print no progress, only the results.
    #[arg(long, short)]
    pub quiet: bool,
}

/// How to read a spec, and where to find what it names.
#[derive(Args, Clone, Debug)]
pub struct SpecArgs {
    /// Override a key, such as `train.iterations=100` or `policies.fixed.base_lr=[0.1,0.2]`. Repeatable.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Take warnings for errors: nothing is done where the spec has any.
    #[arg(long)]
    pub deny_warnings: bool,
    /// The folder for results; each run gets a folder of its experiment's name in it. Bounds that are "auto" are taken from there
    /// once they are measured.
    #[arg(long, value_name = "DIR", default_value = "outputs")]
    pub outputs: PathBuf,
    #[command(flatten)]
    pub search: SearchArgs,
    #[command(flatten)]
    pub isolation: IsolationArgs,
}

impl SpecArgs {
    /// Those of the spec's range tests alone, made as `sets` say.
    pub fn of_range_tests(&self, sets: &[String]) -> SpecArgs {
        let only = ["range_test.only=true".to_owned()];
        SpecArgs { sets: [&self.sets, sets, &only].concat(), ..self.clone() }
    }
}

#[derive(Args, Clone, Debug, Default)]
pub struct SearchArgs {
    /// A folder that holds datasets. Also CLR_DATA.
    #[arg(long, value_name = "DIR", help_heading = WHERE)]
    pub data: Option<PathBuf>,
    /// More such folders, searched after all others.
    #[arg(skip)]
    pub more_data: Vec<PathBuf>,
    /// A plugin's file, or a folder of plugins, searched before all others. Repeatable. Also CLR_PLUGIN_PATH.
    #[arg(long = "plugin", value_name = "PATH", help_heading = WHERE)]
    pub plugins: Vec<PathBuf>,
    /// Take no other file for a plugin than the one with this BLAKE3 digest, which `clr-run plugin info` prints and the
    /// manifest of a run records. Repeatable.
    #[arg(long = "plugin-digest", value_name = "NAME=HEX", help_heading = WHERE)]
    pub plugin_digests: Vec<Pin>,
}

#[derive(Args, Clone, Copy, Debug)]
pub struct IsolationArgs {
    /// Compute in worker processes, so that a plugin that crashes costs no more than its trial, or in this process.
    #[arg(long, value_enum, default_value_t = Isolation::Process, help_heading = WHERE)]
    pub isolation: Isolation,
}

/// On what to train.
#[derive(Args, Clone, Debug)]
pub struct DeviceArgs {
    /// Compute on `auto` (all GPUs that can be used, else the CPU), `cpu`, `cuda` (all GPUs), `cuda:0` or `cuda:0,1`.
    #[arg(long, value_name = "DEVICE", default_value = "auto", help_heading = DEVICE)]
    pub device: Wanted,
    /// How many CPU threads to use in all. Default: all cores.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096), help_heading = DEVICE)]
    pub jobs: Option<u32>,
    /// How many trials to train at once on each GPU, at most. Default: as many as fit into its memory. Changes no numbers.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..), help_heading = DEVICE)]
    pub lanes: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Isolation {
    /// A worker process for each of the sessions that run at once.
    Process,
    /// Nothing: for debuggers and profilers. `memory` and `call` of `[limits]` do not hold.
    None,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Report every problem of a spec without running it. Needs no data: a note says what could not be checked without.
    Check(CheckArgs),
    /// Show the trials that a spec resolves to, and what they will take.
    Plan(PlanArgs),
    /// Show every scheduled value without training: a plot, or CSV.
    Schedule(ScheduleArgs),
    /// Show what runs in an output, what is left, how fast it goes and what failed. From any terminal, at any time.
    Status(StatusArgs),
    /// Tell which policy is better, and whether that is beyond noise: differences paired by seed, with intervals, and how soon
    /// each reaches the same accuracy.
    Compare(CompareArgs),
    /// Write a page that shows what came of a run: which policy is best, curves, every trial, what failed. It opens in any browser,
    /// without network. Every run writes one at its end.
    Report(ReportArgs),
    /// Check an output's files, then train its trials again and prove the stored rows bit for bit.
    Verify(VerifyArgs),
    /// List, describe and check plugins.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// List, describe and download datasets.
    #[command(subcommand)]
    Data(DataCommand),
    /// Write a trial's weights, or its rows as CSV, for Python and others. A trial whose weights were not kept is trained again.
    Export(ExportArgs),
    /// Measure the states that `keep = "cycles"` kept: each alone, together as an ensemble, and with averaged weights.
    Evaluate(EvaluateArgs),
    /// Train while the learning rate rises, and tell the bounds of a cyclical policy, and what fastai, torch-lr-finder and
    /// Lightning would suggest. Or read it from an output, without training.
    RangeTest(RangeTestArgs),
    /// Print the JSON Schema of specs, for editors, or the reference of the spec language, for people.
    Schema(SchemaArgs),
    /// Print a script with which a shell completes commands and options.
    Completions {
        /// The shell to complete words in.
        shell: Shell,
    },
    /// Print the manual page, or write the pages of all commands.
    Man {
        /// Write the pages of all commands into this folder instead, such as ~/.local/share/man/man1.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Hold a plugin's session for the clr-run at the other end of stdin and stdout.
    #[command(hide = true)]
    Worker,
}

#[derive(Args, Debug)]
pub struct SchemaArgs {
    /// Print the reference of the spec language as Markdown: every table and key with its values, default and an example.
    #[arg(long)]
    pub markdown: bool,
}

#[derive(Args, Debug)]
pub struct CheckArgs {
    /// The experiment, a TOML file.
    #[arg(value_name = "SPEC")]
    pub path: PathBuf,
    /// How to read it.
    #[command(flatten)]
    pub spec: SpecArgs,
}

#[derive(Args, Debug)]
pub struct PlanArgs {
    /// The experiment, a TOML file.
    #[arg(value_name = "SPEC")]
    pub path: PathBuf,
    /// How to read it.
    #[command(flatten)]
    pub spec: SpecArgs,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// List every trial, however many. A file or a pipe gets all anyway.
    #[arg(long)]
    pub trials: bool,
    /// Print JSON with every resolved value.
    #[arg(long)]
    pub json: bool,
    /// Leave out the time estimate, which trains each group for a moment.
    #[arg(long)]
    pub no_probe: bool,
}

#[derive(Args, Debug)]
pub struct ScheduleArgs {
    /// The experiment, a TOML file.
    #[arg(value_name = "SPEC")]
    pub path: PathBuf,
    /// How to read it.
    #[command(flatten)]
    pub spec: SpecArgs,
    /// The hyper-parameter to plot.
    #[arg(long, value_name = "NAME", default_value = "lr")]
    pub hyper: String,
    /// Plot at most so many different schedules.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub limit: usize,
    /// Print CSV: one row a trial and iteration.
    #[arg(long)]
    pub csv: bool,
    /// With --csv: print only every N-th iteration.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub every: u64,
}

#[derive(Args, Debug)]
pub struct ExportArgs {
    /// The folder of a run, such as outputs/NAME.
    #[arg(value_name = "OUTPUT")]
    pub output: PathBuf,
    /// The trial, by the first digits of its id, as every table shows them, or by its label. May be left out if there is one.
    #[arg(long, value_name = "ID|LABEL")]
    pub trial: Option<String>,
    /// The file's format. Those of rows have the rows of all trials without `--trial`.
    #[arg(long, value_enum, default_value_t = ExportFormat::Safetensors)]
    pub format: ExportFormat,
    /// The rows to write as text.
    #[arg(long, value_enum, default_value_t = ExportRows::Metrics)]
    pub rows: ExportRows,
    /// With `tensorboard`: only every N-th iteration. TensorBoard itself shows 1,000 points of a curve at most.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub every: u64,
    /// The weights at the trial's best evaluation, instead of those that were kept, or the last.
    #[arg(long)]
    pub best: bool,
    /// The file to write, or the folder of an excerpt. Default: one in the current folder, named after the trial or the output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// How to train again.
    #[command(flatten)]
    pub again: AgainArgs,
}

#[derive(Args, Debug)]
pub struct AgainArgs {
    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub search: SearchArgs,
    #[command(flatten)]
    pub isolation: IsolationArgs,
    /// Print no progress, only the results.
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Args, Debug)]
pub struct RangeTestArgs {
    /// The experiment, a TOML file. Each model and optimizer of its grid is trained with each seed while the learning rate rises.
    #[arg(value_name = "SPEC", required_unless_present = "from", conflicts_with = "from")]
    pub path: Option<PathBuf>,
    /// Train nothing, but read the range tests of this output, a folder of a run such as outputs/NAME: those of policies of
    /// `kind = "range_test"`, or of `clr-run range-test SPEC`. It may still be going on.
    #[arg(long, value_name = "OUTPUT")]
    pub from: Option<PathBuf>,
    #[command(flatten)]
    pub sweep: SweepArgs,
    #[command(flatten)]
    pub train: TrainArgs,
    /// Print JSON with the curves and what each seed says.
    #[arg(long)]
    pub json: bool,
}

/// How to sweep, in place of what `[range_test]` of the spec says.
#[derive(Args, Debug)]
pub struct SweepArgs {
    /// The first learning rate. Default: by the optimizer, 1e-5 or so; 0 on a line.
    #[arg(long, value_name = "RATE", help_heading = SWEEP, conflicts_with = "from")]
    pub min_lr: Option<f64>,
    /// The last learning rate, which may be too high. Default: by the optimizer, 1 or so; a line has none.
    #[arg(long, value_name = "RATE", help_heading = SWEEP, conflicts_with = "from")]
    pub max_lr: Option<f64>,
    /// Whether each iteration multiplies the rate or adds to it. The paper's is linear, that of fastai exponential.
    #[arg(long, value_enum, value_name = "MODE", visible_alias = "spacing", help_heading = SWEEP, conflicts_with = "from")]
    pub mode: Option<SweepMode>,
    /// How many iterations it takes.
    #[arg(long, value_name = "N", help_heading = SWEEP, conflicts_with_all = ["from", "epochs"], value_parser = clap::value_parser!(u64).range(1..))]
    pub iterations: Option<u64>,
    /// How many epochs it takes. Default: 8, or as long as the spec trains, if that is shorter.
    #[arg(long, value_name = "E", help_heading = SWEEP, conflicts_with = "from")]
    pub epochs: Option<f64>,
    /// Train so many short trials at constant rates in place of each sweep: the same question without the confound of time.
    /// Without a number, 21.
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "21", help_heading = SWEEP, conflicts_with = "from")]
    pub constant: Option<u64>,
    /// How often accuracy is measured on the way. Default: 40 times.
    #[arg(long, value_name = "N", help_heading = SWEEP, conflicts_with = "from")]
    pub evaluations: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SweepMode {
    /// Each iteration adds to the rate.
    Linear,
    /// Each iteration multiplies the rate.
    #[value(alias = "geometric")]
    Exponential,
}

impl SweepArgs {
    /// The same as arguments of `--set`.
    pub fn sets(&self) -> Vec<String> {
        let mode = self.mode.map(|mode| match mode {
            SweepMode::Linear => "linear".to_owned(),
            SweepMode::Exponential => "geometric".to_owned(),
        });
        let length = self.iterations.map(|count| count.to_string());
        let length = length.or_else(|| self.epochs.map(|epochs| format!("\"{epochs} epochs\"")));
        let values = [
            ("min_lr", self.min_lr.map(|rate| rate.to_string())),
            ("max_lr", self.max_lr.map(|rate| rate.to_string())),
            ("spacing", mode),
            ("iterations", length),
            ("constant", self.constant.map(|count| count.to_string())),
            ("evaluations", self.evaluations.map(|count| count.to_string())),
        ];
        values.into_iter().filter_map(|(key, value)| Some(format!("range_test.{key}={}", value?))).collect()
    }
}

#[derive(Args, Debug)]
pub struct EvaluateArgs {
    /// The folder of a run, such as outputs/NAME.
    #[arg(value_name = "OUTPUT")]
    pub output: PathBuf,
    /// Only this trial: the first digits of its id, as every table shows them, or its label. Repeatable. Default: all that
    /// have kept states.
    #[arg(long = "trial", value_name = "ID|LABEL")]
    pub trials: Vec<String>,
    /// Let the states vote together (snapshot ensemble), and average their weights (SWA).
    #[arg(long)]
    pub ensemble: bool,
    /// Take only the last N states of each trial.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub last: Option<u32>,
    /// The images to measure on.
    #[arg(long, value_enum, default_value_t = EvaluateSplit::Test)]
    pub split: EvaluateSplit,
    /// How many CPU threads to use in all. Default: all cores.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096), help_heading = DEVICE)]
    pub jobs: Option<u32>,
    #[command(flatten)]
    pub search: SearchArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Images that no trial is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EvaluateSplit {
    /// The images held out of the training set.
    Validation,
    /// The test set.
    Test,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// For safetensors.numpy, safetensors.torch and others.
    Safetensors,
    /// For numpy.load.
    Npz,
    /// Not weights but the rows of metrics, as text.
    Csv,
    /// The same rows, each an object of JSON in a line of its own.
    Jsonl,
    /// The same rows for TensorBoard: a folder of event files, one for each trial.
    Tensorboard,
    /// Not weights but a copy of the output without its rows of metrics, small enough to be kept beside a spec. `status`,
    /// `compare` and `verify` read it.
    Excerpt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportRows {
    /// One for each trial and iteration.
    Metrics,
    /// One for each trial and evaluation.
    Evals,
}

#[derive(Args, Debug)]
pub struct StatusArgs {
    /// The folder of a run, such as outputs/NAME.
    #[arg(value_name = "OUTPUT")]
    pub output: PathBuf,
    /// List every trial.
    #[arg(long)]
    pub trials: bool,
    /// Print JSON with everything, every trial included.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct ReportArgs {
    /// The folder of a run, such as outputs/NAME, or of several, whose trials are taken together. Runs may still be going on.
    #[arg(value_name = "OUTPUT", required = true)]
    pub outputs: Vec<PathBuf>,
    /// A page for browsers, or tables for papers and other programs.
    #[arg(long, value_enum, default_value_t = ReportFormat::Html)]
    pub format: ReportFormat,
    /// The file to write, or the folder for tables. Default: report.html in the output's folder, or the folder
    /// report in it; of several outputs, in the current folder.
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// One page that needs nothing else.
    Html,
    /// Trials, comparisons and the points of curves.
    Csv,
    /// The answers and the comparisons.
    Md,
}

#[derive(Args, Debug)]
pub struct CompareArgs {
    /// The folder of a run, such as outputs/NAME, or of several, whose trials are taken together.
    #[arg(value_name = "OUTPUT", required = true)]
    pub outputs: Vec<PathBuf>,
    /// What to compare: an axis of the grid, such as `policy`, `optimizer`, `max_lr` or `batch_size`, or `output`. Default:
    /// `policy`, or `optimizer` where there is one policy.
    #[arg(long, value_name = "AXIS")]
    pub by: Option<String>,
    /// What to compare with: a value of that axis, such as the name of a policy. Default: the policy `fixed`, or the best.
    #[arg(long, value_name = "LABEL")]
    pub reference: Option<String>,
    /// The images to measure on. Default: those held out of the training set, where all trials have such, else the test set.
    #[arg(long, value_enum)]
    pub split: Option<EvaluateSplit>,
    /// The accuracy to reach, such as 0.8 or 80%, for which iterations are counted. Default: the reference's mean final accuracy.
    #[arg(long, value_name = "ACCURACY", value_parser = accuracy)]
    pub target: Option<f64>,
    /// Print JSON with every number, of every trial too.
    #[arg(long)]
    pub json: bool,
}

/// `0.8` or `80%`, as a fraction.
fn accuracy(text: &str) -> Result<f64, String> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let number: f64 = number.trim().parse().map_err(|_| format!("`{text}` is no accuracy, such as 0.8 or 80%"))?;
    match number / unit {
        fraction if (0.0..=1.0).contains(&fraction) => Ok(fraction),
        _ if unit == 1.0 && (1.0..=100.0).contains(&number) => {
            Err(format!("an accuracy is a fraction, or a percentage: did you mean {number}%?"))
        }
        _ => Err("an accuracy is from 0 to 1, or from 0% to 100%".to_owned()),
    }
}

#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// The folder of a run, such as outputs/NAME.
    #[arg(value_name = "OUTPUT")]
    pub output: PathBuf,
    /// Check files only: digests, row counts, gaps and duplicates, evaluations. Needs no data and no plugins.
    #[arg(long, conflicts_with_all = ["trials", "rows"])]
    pub quick: bool,
    /// Train only this trial: the first digits of its id, as every table shows them, or its label. Repeatable. Default: all that
    /// are done.
    #[arg(long = "trial", value_name = "ID|LABEL")]
    pub trials: Vec<String>,
    /// Compare only the rows from A to before B of each trial; later ones are not trained. `A..` and `..B` too.
    #[arg(long, value_name = "A..B", value_parser = rows)]
    pub rows: Option<Range<u64>>,
    /// How to train again.
    #[command(flatten)]
    pub again: AgainArgs,
}

/// `A..B`, `A..` or `..B`.
fn rows(text: &str) -> Result<Range<u64>, String> {
    let (start, end) = text.split_once("..").ok_or("expected A..B, such as 0..1000")?;
    let number = |text: &str, default| match text {
        "" => Ok(default),
        text => text.parse().map_err(|_| format!("`{text}` is no number of a row")),
    };
    let range = number(start, 0)?..number(end, u64::MAX)?;
    if range.is_empty() { Err("there is no row in it".to_owned()) } else { Ok(range) }
}

#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Every plugin that can be found, with its models.
    List {
        #[command(flatten)]
        search: SearchArgs,
        #[command(flatten)]
        isolation: IsolationArgs,
    },
    /// The models, optimizers and options of one plugin.
    Info {
        /// The plugin's name, or the path of its library.
        name: String,
        #[command(flatten)]
        search: SearchArgs,
        #[command(flatten)]
        isolation: IsolationArgs,
    },
    /// Run the conformance suite on a plugin.
    Check {
        /// The plugin's name, or the path of its library.
        #[arg(value_name = "NAME|PATH")]
        path: PathBuf,
        #[command(flatten)]
        search: SearchArgs,
        /// Compute on this device: `cpu`, or a GPU such as `cuda:0`.
        #[arg(long, value_name = "DEVICE", default_value = "cpu")]
        device: String,
        /// Height and width of the random images that it is tried on.
        #[arg(long, value_name = "PIXELS", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024))]
        side: u32,
    },
}

/// The keys of `[data]` that say what becomes of a dataset's images.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct FitArgs {
    /// The shorter side that images are resized to (`data.resize`).
    #[arg(long, value_name = "N", value_parser = side())]
    pub resize: Option<u32>,
    /// The side of the square that is cut from their middle (`data.crop`).
    #[arg(long, value_name = "N", value_parser = side())]
    pub crop: Option<u32>,
    /// Turn images as their EXIF data says (`data.exif_orientation`).
    #[arg(long)]
    pub exif_orientation: bool,
    /// The share that becomes the test set of a dataset without one (`data.test_share`).
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub test_share: Option<u32>,
}

/// A side of images, as in a spec.
fn side() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=4096)
}

/// A share in millionths.
fn share(text: &str) -> Result<u32, String> {
    let share: f64 = text.parse().map_err(|_| "expected a number between 0 and 1".to_owned())?;
    let millionths = (share * 1e6).round();
    if (1.0..1e6).contains(&millionths) {
        Ok(millionths as u32)
    } else {
        Err("expected a number between 0 and 1".to_owned())
    }
}

#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Every dataset known by name, and whether it is here.
    List {
        #[command(flatten)]
        search: SearchArgs,
    },
    /// Counts, classes, sizes, digest and statistics of one dataset.
    Info {
        /// The dataset's name, or a path: a folder of folders of images, Parquet, .npz, a CSV file of paths and labels, .tar
        /// shards.
        name: String,
        /// Write a contact sheet: a row of training images for each class.
        #[arg(long, value_name = "FILE")]
        png: Option<PathBuf>,
        #[command(flatten)]
        fit: FitArgs,
        #[command(flatten)]
        search: SearchArgs,
    },
    /// Decode a dataset into the cache, its images brought to one size, so that a run begins at once.
    Prepare {
        /// The dataset's name, or a path.
        name: String,
        /// `--resize N --crop N`: squares of this side.
        #[arg(long, value_name = "N", conflicts_with_all = ["resize", "crop"], value_parser = side())]
        size: Option<u32>,
        #[command(flatten)]
        fit: FitArgs,
        #[command(flatten)]
        search: SearchArgs,
    },
    /// Download a published dataset.
    Fetch {
        /// cifar10, cifar100, mnist or fashion-mnist.
        name: String,
        #[command(flatten)]
        search: SearchArgs,
    },
}
