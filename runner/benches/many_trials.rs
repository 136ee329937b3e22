//! What ten thousand short trials cost, of which one in a hundred fails: time and memory a trial, beside the same trials in
//! one process; what a failure costs; cut off in the middle and resumed; tried again; listed.
//!
//! ```sh
//! cargo bench -p clr-run --bench many_trials -- [--trials N]
//! ```
//!
//! Trials are ten iterations of a bowl of eight dimensions, so nearly all that is measured is overhead. Half of those that
//! fail report an error, half crash their worker, three times each. Takes about three minutes; prints a table.

#[allow(dead_code)]
#[path = "../tests/support/libraries.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// `FIRST`, `ERRORS`, `DEATHS` and `LAST` are how many trials are of each policy.
const SPEC: &str = r#"
[experiment]
name = "many"

[model]
plugin       = "faulty"
architecture = "quadratic"

[data]
dataset    = "shapes"
batch_size = 10

[train]
iterations = 10

[policies]
first  = { kind = "fixed", base_lr = { linspace = [0.01, 0.02, FIRST] }, optimizers = ["sgd"] }
errors = { kind = "fixed", base_lr = { linspace = [0.03, 0.04, ERRORS] }, optimizers = ["error"] }
deaths = { kind = "fixed", base_lr = { linspace = [0.05, 0.06, DEATHS] }, optimizers = ["segfault"] }
last   = { kind = "fixed", base_lr = { linspace = [0.07, 0.08, LAST] }, optimizers = ["sgd"] }

[optimizers]
sgd      = { kind = "sgd" }
error    = { kind = "sgd", fault = "error", fault_step = 5 }
segfault = { kind = "sgd", fault = "segfault", fault_step = 5 }
"#;

/// A bench's folder and how it runs the program in it.
struct Bench {
    folder: TempDir,
    plugin: PathBuf,
}

/// What a command took.
#[derive(Clone, Copy, Debug)]
struct Taken {
    status: ExitStatus,
    /// Seconds by the clock.
    clock: f64,
    /// Seconds of the processor, workers included.
    processor: f64,
    /// The most memory that the command itself had, without workers: bytes. 0 where there is no /proc.
    memory: u64,
}

fn main() {
    // `cargo bench` adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let trials: usize = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => 10_000,
        ["--trials", count] => count.parse().expect("--trials takes a number"),
        _ => panic!("usage: many_trials [--trials N]"),
    };
    assert!(trials >= 1000, "--trials: at least 1000, to have some that fail");
    let folder = tempfile::tempdir().expect("there is room for a temporary folder");
    let bench = Bench { folder, plugin: support::cargo_build_target(&["-p", "clr-faulty"], "faulty") };
    let per_kind = trials / 200;
    bench.write_spec("many", trials, per_kind);
    bench.write_spec("more", 3 * trials, 3 * per_kind);
    bench.write_spec("most", 6 * trials, 6 * per_kind);

    let here = bench.run("many", "here", false, &["--isolation", "none"]);
    let healthy = bench.run("many", "healthy", false, &[]);
    let faulty = bench.run("many", "faulty", true, &[]);
    let [more, most] = ["more", "most"].map(|spec| bench.run(spec, spec, true, &[]));
    assert_eq!([here, healthy].map(|it| it.status.code()), [Some(0); 2]);
    assert_eq!([faulty, more, most].map(|it| it.status.code()), [Some(1); 3]);
    assert!(bench.tables("healthy") == bench.tables("here"), "in workers there are other bytes");

    let cut = bench.cut("many", "cut", faulty.clock / 2.0);
    assert_eq!(cut.status.code(), Some(130), "the run was stopped in the middle");
    let resumed = bench.run("many", "cut", true, &[]);
    assert_eq!(resumed.status.code(), Some(1));
    assert!(bench.tables("cut") == bench.tables("faulty"), "resumed, there are other bytes");
    let nothing = bench.run("many", "cut", true, &[]);
    let status = bench.status("cut");
    let retried = bench.run("many", "cut", false, &["--retry-failed"]);
    assert_eq!(retried.status.code(), Some(0));
    assert!(bench.tables("cut") == bench.tables("here"), "tried again, there are other bytes");

    println!(
        "| {trials} trials x 10 iterations | clock, s | processor, s | processor, ms a trial | peak memory, MiB |"
    );
    println!("|---|---|---|---|---|");
    let line = |what: &str, taken: Taken, count: usize| {
        let Taken { clock, processor, memory, .. } = taken;
        let (each, memory) = (1e3 * processor / count as f64, memory as f64 / f64::from(1 << 20));
        println!("| {what} | {clock:.2} | {processor:.2} | {each:.2} | {memory:.0} |");
    };
    let failing = 2 * per_kind;
    line("in one process, none failing (`--isolation none`)", here, trials);
    line("under workers, none failing", healthy, trials);
    line(&format!("under workers, {failing} failing"), faulty, trials);
    line("the same, stopped by Ctrl-C in the middle", cut, trials);
    line("resumed", resumed, trials);
    line(&format!("`--retry-failed` of {failing}, which pass"), retried, failing);
    line("the same command with nothing left to run", nothing, trials);
    line("`clr-run status --trials`", status, trials);
    let of_failures = (faulty.processor - healthy.processor) / failing as f64;
    println!("\na trial that fails costs {:.1} ms more than one that does not", 1e3 * of_failures);
    // Of 10,000 trials, the tables' buffers are not full yet: one group of rows, one dictionary of ids.
    for (many, count, few, of) in [(more, 3, faulty, 1), (most, 6, more, 3)] {
        let grown = many.memory.saturating_sub(few.memory) as f64 / ((count - of) * trials) as f64;
        println!("a trial more takes {grown:.0} bytes of memory ({} trials beside {})", count * trials, of * trials);
    }
}

impl Bench {
    fn write_spec(&self, name: &str, trials: usize, per_kind: usize) {
        let half = (trials - 2 * per_kind) / 2;
        let mut text = SPEC.to_owned();
        for (word, count) in [("FIRST", half), ("ERRORS", per_kind), ("DEATHS", per_kind)] {
            text = text.replace(word, &count.to_string());
        }
        let text = text.replace("LAST", &(trials - 2 * per_kind - half).to_string());
        fs::write(self.path(&format!("{name}.toml")), text).expect("a temporary folder can be written to");
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clr-run"));
        command.args(arguments).current_dir(self.folder.path()).env("HOME", self.folder.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn spec_command(&self, spec: &str, outputs: &str, faults: bool, more: &[&str]) -> Command {
        let (spec, plugin) = (format!("{spec}.toml"), self.plugin.to_str().expect("a path of text"));
        let mut command = self.command(&[&spec, "--outputs", outputs, "--plugin", plugin]);
        command.args(more);
        if faults {
            command.env("CLR_FAULTS", self.path(&format!("{outputs}-strikes")));
        }
        command
    }

    fn run(&self, spec: &str, outputs: &str, faults: bool, more: &[&str]) -> Taken {
        wait_for(self.spec_command(spec, outputs, faults, more), None)
    }

    /// Stops a run as Ctrl-C would, after so many seconds.
    fn cut(&self, spec: &str, outputs: &str, after: f64) -> Taken {
        wait_for(self.spec_command(spec, outputs, true, &[]), Some(Duration::from_secs_f64(after)))
    }

    fn status(&self, outputs: &str) -> Taken {
        wait_for(self.command(&["status", "--trials", &format!("{outputs}/many")]), None)
    }

    /// The bytes of the tables that may not differ.
    fn tables(&self, outputs: &str) -> Vec<(String, Vec<u8>)> {
        let mut tables = Vec::new();
        for folder in ["", "metrics", "evals"] {
            let folder = self.path(&format!("{outputs}/many/{folder}"));
            for path in fs::read_dir(&folder).expect("an output folder").map(|file| file.expect("a file").path()) {
                if path.extension().is_some_and(|it| it == "parquet") && !path.ends_with("timings.parquet") {
                    tables.push((path.display().to_string().replace(outputs, ""), fs::read(&path).expect("a table")));
                }
            }
        }
        tables.sort();
        tables
    }
}

fn wait_for(mut command: Command, interrupt_after: Option<Duration>) -> Taken {
    let before = children_processor_seconds();
    let started = Instant::now();
    let mut child = command.spawn().expect("clr-run starts");
    let (mut memory, mut interrupt_after) = (0, interrupt_after);
    let status = loop {
        if let Some(status) = child.try_wait().expect("the command is ours") {
            break status;
        }
        memory = memory.max(peak_memory(&child));
        if interrupt_after.take_if(|after| started.elapsed() >= *after).is_some() {
            let sent = Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status();
            assert!(sent.is_ok_and(|sent| sent.success()), "the command still runs");
        }
        sleep(Duration::from_millis(2));
    };
    let clock = started.elapsed().as_secs_f64();
    Taken { status, clock, processor: children_processor_seconds() - before, memory }
}

/// Of the process itself; it never falls.
fn peak_memory(child: &Child) -> u64 {
    let status = fs::read_to_string(Path::new("/proc").join(child.id().to_string()).join("status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// Of all that were waited for, and theirs; 0 where there is no /proc.
fn children_processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    // cutime and cstime, in ticks of 10 ms.
    fields.skip(13).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
