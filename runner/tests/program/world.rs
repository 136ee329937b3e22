//! A folder of its own for each test, with a spec and a little data, in which the program runs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::{Arc, OnceLock};

use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

use crate::support::cargo_build;

/// Sixteen cells times two seeds, with what could make bits depend on the neighbours: seven kinds of optimizers, scheduled
/// momentum, trials that diverge, a short last batch, random crops and flips. Half a second.
pub const MIX: &str = r#"
[experiment]
name  = "mix"
seeds = [1, 2]

[model]
plugin       = "cifar"
architecture = "cifar10_quick"

[data]
dataset    = "speckles"
batch_size = 7
validation = 11
last_batch = "keep"
flip       = true
pad        = 2

[train]
iterations = 11
eval_every = 4

[policies.triangular]
kind      = "triangular"
base_lr   = 0.0005
max_lr    = 0.002
step_size = 3

[policies.one_cycle]
kind      = "one_cycle"
base_lr   = 0.0005
max_lr    = 0.002
step_size = 4

[policies.hot]
kind       = "fixed"
base_lr    = 1e20
optimizers = ["sgd", "adam"]

[optimizers.sgd]
kind     = "sgd"
momentum = { kind = "triangular", base = 0.95, max = 0.85, step_size = 3 }

[optimizers.nesterov]
kind     = "nesterov"
momentum = 0.9

[optimizers.adam]
kind = "adam"

[optimizers.adamw]
kind = "adamw"

[optimizers.rmsprop]
kind = "rmsprop"

[optimizers.adagrad]
kind = "adagrad"

[optimizers.adadelta]
kind = "adadelta"
"#;

/// Four trials of the quickest plugin, one of which diverges.
pub const BOWL: &str = r#"
[experiment]
name = "bowl"

[model]
plugin       = "quadratic"
architecture = "quadratic"
noise        = 0.5

[data]
dataset    = "speckles"
batch_size = 7

[train]
iterations = 30
eval_every = 10

[policies.triangular]
kind      = "triangular"
base_lr   = 0.01
max_lr    = 0.1
step_size = 5

[policies.hot]
kind       = "fixed"
base_lr    = 1e6
optimizers = ["gd"]

[optimizers.sgd]
kind     = "sgd"
momentum = { kind = "triangular", base = 0.95, max = 0.85, step_size = 5 }

[optimizers.gd]
kind = "gd"
"#;

/// The folder of the plugins `cifar` and `quadratic`, built in the profile of these tests.
pub fn plugins() -> &'static Path {
    static PLUGINS: OnceLock<PathBuf> = OnceLock::new();
    PLUGINS.get_or_init(|| {
        cargo_build("clr-cifar");
        cargo_build("clr-quadratic").parent().expect("a library is in a folder").to_owned()
    })
}

/// A temporary folder with `spec.toml` and `data/`.
pub struct World {
    folder: TempDir,
}

/// What a command left.
#[derive(Debug)]
pub struct Ran {
    /// None where a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// What it wrote to stderr after the warnings of the spec.
    pub fn said(&self) -> &str {
        let mut said = self.stderr.as_str();
        while said.starts_with("warning[") {
            said = said.split_once("\n\n").map_or("", |(_, rest)| rest);
        }
        said
    }
}

/// A command that goes on.
pub struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl World {
    pub fn new(spec: &str) -> World {
        let world = World { folder: tempfile::tempdir().expect("there is room for a temporary folder") };
        fs::write(world.path("spec.toml"), spec).unwrap();
        write_dataset(&world.path("data/speckles"), 12, [63, 100]);
        world
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    pub fn folder(&self) -> &TempDir {
        &self.folder
    }

    /// `clr-run` in the folder, which is also its home: nothing outside is read or written but the plugins.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clr-run"));
        command.args(arguments).current_dir(self.folder.path());
        for variable in ["CLR_DATA", "CLR_ISA", "XDG_CACHE_HOME", "XDG_DATA_HOME"] {
            command.env_remove(variable);
        }
        command.env("HOME", self.folder.path()).env("CLR_CACHE", self.path("cache")).env("CLR_PLUGIN_PATH", plugins());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().expect("the program starts"))
    }

    /// Trains `spec.toml` on the data of this folder and expects success.
    #[track_caller]
    pub fn train(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(&[&["spec.toml", "--data", "data"], arguments].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran
    }

    /// Starts to train `spec.toml`.
    pub fn start(&self, arguments: &[&str]) -> Running {
        Running::of(self.command(&[&["spec.toml", "--data", "data"], arguments].concat()))
    }

    /// Every table that must not differ between two runs, by its path in the output folder.
    #[track_caller]
    pub fn tables(&self, output: &str) -> BTreeMap<String, Vec<u8>> {
        let output = self.path(output);
        let mut tables =
            BTreeMap::from([("trials.parquet".to_owned(), fs::read(output.join("trials.parquet")).unwrap())]);
        for table in ["metrics", "evals"] {
            for file in fs::read_dir(output.join(table)).unwrap() {
                let file = file.unwrap();
                let name = format!("{table}/{}", file.file_name().to_string_lossy());
                tables.insert(name, fs::read(file.path()).unwrap());
            }
        }
        assert!(tables.len() >= 3, "{:?} lacks a table", tables.keys());
        tables
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program prints UTF-8");
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Ran {
    /// The labels of the lines of stderr that begin with `word`, such as `started`.
    pub fn labels(&self, word: &str) -> Vec<&str> {
        let lines = self.stderr.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
        lines.map(|rest| rest.split(" (").next().unwrap_or(rest).trim()).collect()
    }
}

impl Running {
    /// Starts a command.
    pub fn of(mut command: Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let stderr = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
        Running { child, stderr }
    }

    /// Waits for a line of stderr that begins with `word`. Returns all read so far.
    #[track_caller]
    pub fn wait_for(&mut self, word: &str) -> String {
        let mut seen = String::new();
        loop {
            let start = seen.len();
            let count = self.stderr.read_line(&mut seen).expect("stderr is UTF-8");
            assert!(count > 0, "the program ended before it said `{word}`:\n{seen}");
            if seen[start..].starts_with(word) {
                return seen;
            }
        }
    }

    /// The system's number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name, such as `INT`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.id().to_string()]).status();
        assert!(status.expect("there is a command `kill`").success());
    }

    /// Waits for the end. `stderr` has what was not read before.
    pub fn finish(mut self) -> Ran {
        let mut stderr = String::new();
        std::io::Read::read_to_string(&mut self.stderr, &mut stderr).expect("stderr is UTF-8");
        Ran { stderr, ..Ran::from(self.child.wait_with_output().expect("the program ends")) }
    }
}

/// A dataset as hubs have it: so many training and test images of `side` x `side`, whose brightness tells a little of the
/// class.
pub fn write_dataset(folder: &Path, side: u32, counts: [i64; 2]) {
    fs::create_dir_all(folder).unwrap();
    let mut state = 1u32;
    let mut noise = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 26) as u8
    };
    for (split, count) in ["train", "test"].into_iter().zip(counts) {
        let labels: Vec<i64> = (0..count).map(|index| index * 7 % count.min(10)).collect();
        let bytes = (side * side * 3) as usize;
        let mut pixels = |label: &i64| -> Vec<u8> { (0..bytes).map(|_| 15 * *label as u8 + noise()).collect() };
        let images = labels.iter().map(|label| png(side, &pixels(label)));
        let (images, labels) = (BinaryArray::from_iter_values(images), Int64Array::from(labels.clone()));
        let columns: [(&str, ArrayRef); 2] = [("image", Arc::new(images)), ("label", Arc::new(labels))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let file = File::create(folder.join(format!("{split}.parquet"))).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
}

fn png(side: u32, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(pixels).unwrap();
    bytes
}
