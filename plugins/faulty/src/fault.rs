//! Faults by kind, place and time: the optimizer options of a lane.

use clr_plugin::{Error, Lane};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    #[serde(rename = "fault")]
    pub kind: Kind,
    #[serde(rename = "fault_in")]
    pub place: Place,
    #[serde(rename = "fault_step")]
    pub step: u64,
    /// How often it strikes; 0: whenever it is met.
    #[serde(rename = "fault_times")]
    pub times: u64,
    pub exit_code: i32,
    pub leak_mib: u64,
    pub slow_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    None,
    Segfault,
    Abort,
    Exit,
    /// SIGKILL, as the kernel sends it when memory is out.
    Killed,
    /// SIGTERM to the process group, as `kill 0` in a script sends it.
    SignalGroup,
    /// Rounding toward zero, for all that the thread computes from then on.
    Rounding,
    /// A process that stays, whose number goes into the folder of the counters.
    Fork,
    /// The same, in a session of its own and without a parent.
    Daemon,
    Hang,
    Slow,
    Leak,
    OutOfMemory,
    Device,
    Error,
    Panic,
    Print,
    Scribble,
    Nan,
    BreakRules,
    /// The lane's first tensor is said to be larger than any memory.
    WrongSize,
}

/// The call in which it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// When the plugin is asked what a session would take.
    Footprint,
    /// When the lane is made or reset.
    Start,
    Step,
    Evaluate,
    /// When the lane's tensors are listed, which is once a session.
    Tensors,
    Save,
    Load,
}

impl Default for Fault {
    fn default() -> Fault {
        Fault { kind: Kind::None, place: Place::Step, step: 0, times: 0, exit_code: 3, leak_mib: 1024, slow_ms: 10 }
    }
}

/// The options above, as the description has them.
pub const SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "fault": {"type": "string", "default": "none", "description": "What goes wrong, where the environment has CLR_FAULTS",
      "enum": ["none", "segfault", "abort", "exit", "killed", "signal_group", "rounding", "fork", "daemon", "hang", "slow",
               "leak", "out_of_memory", "device", "error", "panic", "print", "scribble", "nan", "break_rules", "wrong_size"]},
    "fault_in": {"type": "string", "default": "step", "description": "In which call; `wrong_size` in `tensors` only",
      "enum": ["footprint", "start", "step", "evaluate", "tensors", "save", "load"]},
    "fault_step": {"type": "integer", "minimum": 0, "default": 0, "description": "At the step after so many; for `slow` and in other calls, from there on; of no meaning in `footprint`, `start`, `tensors` and `load`"},
    "fault_times": {"type": "integer", "minimum": 0, "default": 0, "description": "How often in all; 0: always"},
    "exit_code": {"type": "integer", "minimum": 0, "maximum": 255, "default": 3, "description": "Of `exit`"},
    "leak_mib": {"type": "integer", "minimum": 1, "maximum": 65536, "default": 1024, "description": "`leak` takes so much, 1 MiB a millisecond"},
    "slow_ms": {"type": "integer", "minimum": 1, "maximum": 3600000, "default": 10, "description": "`slow` adds so much to each step"}
  }
}"#;

const KEYS: [&str; 7] = ["fault", "fault_in", "fault_step", "fault_times", "exit_code", "leak_mib", "slow_ms"];

impl Fault {
    /// Takes the fault out of a lane's options. Returns it and the other options, which are those of `quadratic`.
    pub fn split(lane: &Lane<'_>) -> Result<(Fault, String), Error> {
        let what = "optimizer options";
        let mut options: Map<String, Value> = clr_plugin::parse_options(lane.options, what)?;
        let own: Map<String, Value> =
            KEYS.iter().filter_map(|key| Some(((*key).to_owned(), options.remove(*key)?))).collect();
        let fault = clr_plugin::parse_options(&Value::Object(own).to_string(), what)?;
        Ok((fault, Value::Object(options).to_string()))
    }

    /// True if the fault is due in a call of this kind that begins with the lane at `step`.
    pub fn is_due(&self, place: Place, step: u64) -> bool {
        if self.kind == Kind::None || self.place != place {
            return false;
        }
        match place {
            Place::Footprint | Place::Start | Place::Tensors | Place::Load => true,
            Place::Step if self.kind != Kind::Slow => step == self.step,
            _ => step >= self.step,
        }
    }
}
