//! SIGKILL to the command, to a worker of it, or to both, at moments drawn from a seed, and started again each time.
//!
//! `CLR_CRASH_KILLS` says how often (20), `CLR_CRASH_SEED` from which seed (1), `CLR_CRASH_ITERATIONS` how long the trials
//! are (200). With 200 kills it takes about eight minutes:
//!
//! ```sh
//! CLR_CRASH_KILLS=200 cargo test --release -p clr-run --test crash -- --nocapture kills
//! ```

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::disturbed::check_tables_are_whole;
use crate::world::World;

/// Twelve trials with optimizers that remember, a schedule of momentum, augmentation and evaluations: about 25 seconds of
/// one core.
const GRID: &str = r#"
[experiment]
name  = "grid"
seeds = [1, 2]

[model]
plugin       = "cifar"
architecture = "cifar10_quick"

[data]
dataset    = "shapes"
batch_size = 4
validation = 50
flip       = true
pad        = 2

[train]
iterations = 200
eval_every = 90

[policies.triangular]
kind      = "triangular"
base_lr   = 0.0005
max_lr    = 0.002
step_size = 60

[policies.one_cycle]
kind      = "one_cycle"
base_lr   = 0.0005
max_lr    = 0.002
step_size = 80

[optimizers.sgd]
kind     = "sgd"
momentum = { kind = "triangular", base = 0.95, max = 0.85, step_size = 60 }

[optimizers.adam]
kind = "adam"

[optimizers.rmsprop]
kind = "rmsprop"
"#;

const JOBS: u32 = 2;

/// A run that is longer than this gets on. By default a first checkpoint is taken after two seconds.
const GETS_ON_AFTER: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug)]
enum Target {
    Supervisor,
    Worker,
    Both,
}

#[test]
fn kills_at_any_moment_lose_nothing() {
    let variable = |name, default| env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (kills, seed) = (variable("CLR_CRASH_KILLS", 20), variable("CLR_CRASH_SEED", 1));
    let length = variable("CLR_CRASH_ITERATIONS", 200);
    eprintln!("CLR_CRASH_KILLS={kills} CLR_CRASH_SEED={seed} CLR_CRASH_ITERATIONS={length}");
    let iterations = format!("train.iterations={length}");
    let world = World::new(GRID);
    let arguments = |outputs| ["spec.toml", "--jobs", "2", "--set", iterations.as_str(), "--outputs", outputs];
    let whole = world.run(&arguments("whole"));
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let whole = world.tables("whole/grid");

    let mut random = Random(seed);
    let (mut completed, mut checked) = (0, 0);
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut life = Life::begin(&world, &arguments("killed"), 12 * length);
    let mut kill = 0;
    while kill < kills {
        let target = [Target::Supervisor, Target::Worker, Target::Both][random.below(3) as usize];
        // Half of the moments come in the first two seconds, before a checkpoint is due, and half after the run got on.
        let must_get_on = random.below(2) == 1;
        let delay = Duration::from_millis(random.below(2000));
        if (must_get_on && life.ends_before_it_gets_on()) || life.ends_within(delay) {
            life.check_completed(&world, &whole);
            completed += 1;
            life = Life::begin(&world, &arguments("killed"), 12 * length);
            continue;
        }
        kill += 1;
        if life.has_trained_long_enough() {
            life.check_got_on();
            checked += 1;
        }
        *counts.entry(format!("{target:?}")).or_default() += 1;
        if life.kill(target) {
            check_tables_are_whole(&world.path("killed/grid"));
            life = Life::begin(&world, &arguments("killed"), 12 * length);
        }
    }
    assert!(life.ends_within(Duration::from_secs(600)), "no end: {}", life.said());
    life.check_completed(&world, &whole);
    eprintln!("{kills} kills {counts:?}; {} runs completed, and {checked} times it got on in time", completed + 1);
}

/// One command from its start to its death.
struct Life {
    child: Child,
    log: PathBuf,
    output: PathBuf,
    /// Rows that there are in the end.
    all: u64,
    /// When training last began, and what was recorded and computed by then.
    began: Option<Instant>,
    recorded: u64,
    computed: Duration,
}

impl Life {
    fn begin(world: &World, arguments: &[&str], all: u64) -> Life {
        let log = world.path("killed.log");
        let mut command = world.command(arguments);
        command.stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        let output = world.path("killed/grid");
        let recorded = recorded(&output);
        let child = command.spawn().unwrap();
        Life { child, log, output, all, began: None, recorded, computed: Duration::ZERO }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits. Returns whether the command came to its end.
    fn ends_within(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            if self.child.try_wait().unwrap().is_some() {
                return true;
            }
            if self.began.is_none() && !self.said().is_empty() {
                self.began = Some(Instant::now());
                self.computed = computed(self.child.id());
            }
            if Instant::now() >= until {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the run has trained for [`GETS_ON_AFTER`]. Returns whether the command came to its end before.
    fn ends_before_it_gets_on(&mut self) -> bool {
        while !self.has_trained_long_enough() {
            if self.ends_within(Duration::from_millis(20)) {
                return true;
            }
        }
        false
    }

    /// Whether the run has trained for [`GETS_ON_AFTER`] since it was last disturbed. Where others use the machine too,
    /// that takes longer by the clock: so the processor's time must have passed as well.
    fn has_trained_long_enough(&self) -> bool {
        self.began.is_some_and(|began| {
            let computed = computed(self.child.id()).saturating_sub(self.computed);
            began.elapsed() > GETS_ON_AFTER && computed > JOBS * GETS_ON_AFTER
        })
    }

    /// Expects the end to be a good one, with the bytes of the undisturbed run, and makes room for another.
    #[track_caller]
    fn check_completed(&mut self, world: &World, whole: &BTreeMap<String, Vec<u8>>) {
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.said());
        assert!(world.tables("killed/grid") == *whole, "other bytes");
        fs::remove_dir_all(world.path("killed")).unwrap();
    }

    /// More must be recorded than when the run was last disturbed, unless there is no more.
    #[track_caller]
    fn check_got_on(&self) {
        let now = recorded(&self.output);
        assert!(now > self.recorded || now == self.all, "still {now} rows: {}", self.said());
    }

    /// Kills. Returns whether the command itself is dead; its workers then end too.
    fn kill(&mut self, target: Target) -> bool {
        let workers = children(self.child.id());
        if !matches!(target, Target::Supervisor) && !workers.is_empty() {
            for worker in &workers {
                // It may have ended in the meantime.
                let _ = Command::new("kill").args(["-s", "KILL", &worker.to_string()]).stderr(Stdio::null()).status();
                if matches!(target, Target::Worker) {
                    self.began = Some(Instant::now());
                    self.recorded = recorded(&self.output);
                    self.computed = computed(self.child.id());
                    return false;
                }
            }
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while workers.iter().any(|&worker| is_alive(worker)) {
            assert!(Instant::now() < until, "a worker outlives its command");
            thread::sleep(Duration::from_millis(5));
        }
        true
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        // Of use only where an assertion failed: the command shall not go on.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Rows of metrics that a restart keeps: of trials that are over, and of others up to their last checkpoints.
fn recorded(output: &Path) -> u64 {
    let Ok(text) = fs::read_to_string(output.join("manifest.json")) else { return 0 };
    let manifest: Value = serde_json::from_str(&text).expect("the manifest is replaced as a whole");
    let records = ["trials", "unfinished"].into_iter().filter_map(|kind| manifest[kind].as_object());
    let segments = records.flatten().filter_map(|(_, trial)| trial["metrics"].as_array()).flatten();
    segments.map(|segment| segment[2].as_u64().expect("a count of rows")).sum()
}

/// The fields of `/proc/PID/stat` after the program's name.
fn stat(process: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

fn is_alive(process: u32) -> bool {
    stat(process).is_some_and(|fields| fields[0] != "Z")
}

pub fn children(process: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    processes.filter(|&child| stat(child).is_some_and(|fields| fields[1] == process.to_string())).collect()
}

/// The processor's time that a command and its workers took, those included that have ended.
fn computed(process: u32) -> Duration {
    let ticks = |process| {
        // utime, stime, and both of children that were waited for; a tick is 10 ms on every Linux of today.
        let fields = stat(process).unwrap_or_default();
        fields.get(11..15).unwrap_or_default().iter().map(|field| field.parse::<u64>().unwrap_or(0)).sum::<u64>()
    };
    let own = ticks(process);
    Duration::from_millis(10 * children(process).into_iter().map(ticks).fold(own, |sum, ticks| sum + ticks))
}

/// Numerical Recipes' generator: all that moments need.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}
