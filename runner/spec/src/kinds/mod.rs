//! The kinds of schedules: a file each, with the kind's keys, its documentation and examples, and how it is built.
//!
//! A policy schedules the learning rate, and its keys are named for it (`base_lr`). Any other hyper-parameter takes the
//! same kinds as a table, `momentum = { kind = "triangular", base = 0.95, max = 0.85, ... }`, there without the `_lr`.
//!
//! Reading, suggestions, the JSON Schema, the reference and the columns of the tables are made from [`SCHEDULE_KINDS`].

mod cosine;
mod cycles;
mod cyclic;
mod decay;
mod exp;
mod fields;
mod fixed;
mod inv;
mod linear;
mod multistep;
mod one_cycle;
mod poly;
mod range_test;
mod sequence;
mod sgdr;
mod sigmoid;
mod step;
mod table;

use clr_schedule::ratio::Ratio;
use clr_schedule::{PerEpoch, Schedule, Ticks};
use serde_json::{Value as Json, json};

pub use fields::{Fields, Words};
pub use fixed::KIND as FIXED;
pub use range_test::KIND as RANGE_TEST;
pub use sequence::STAGE_LENGTH;

use super::keys::{Key, Kind, Range};

/// A kind of schedule.
#[derive(Clone, Copy, Debug)]
pub struct ScheduleKind {
    /// What `kind = ".."` says.
    pub name: &'static str,
    /// One line for editors.
    pub doc: &'static str,
    /// Its keys, besides [`COMMON`].
    pub keys: &'static [Key],
    /// Parts of specs, in TOML, that together use each of its keys.
    pub examples: &'static [&'static str],
    /// The schedule of such keys. `None` after reporting why, or where parsing has reported it.
    pub build: fn(&mut dyn Fields) -> Option<Schedule>,
}

/// All kinds: Caffe's, the paper's, and later ones.
pub static SCHEDULE_KINDS: &[ScheduleKind] = &[
    fixed::KIND,
    step::KIND,
    multistep::KIND,
    exp::KIND,
    inv::KIND,
    poly::KIND,
    sigmoid::KIND,
    decay::KIND,
    cyclic::TRIANGULAR,
    cyclic::TRIANGULAR2,
    cyclic::EXP_RANGE,
    one_cycle::KIND,
    cosine::KIND,
    sgdr::KIND,
    linear::KIND,
    range_test::KIND,
    table::KIND,
    sequence::KIND,
];

/// The kind named `name`.
pub fn find(name: &str) -> Option<&'static ScheduleKind> {
    SCHEDULE_KINDS.iter().find(|kind| kind.name == name)
}

/// A schedule as JSON: the kind under `kind`, and the values with all that was left to a default; a constant is its value.
pub fn json(schedule: &Schedule) -> Json {
    match schedule {
        Schedule::Constant(value) => json!(value),
        Schedule::Step(step) => step::json(step),
        Schedule::MultiStep(multistep) => multistep::json(multistep),
        Schedule::Exp(exp) => exp::json(exp),
        Schedule::Inv(inv) => inv::json(inv),
        Schedule::Poly(poly) => poly::json(poly),
        Schedule::Sigmoid(sigmoid) => sigmoid::json(sigmoid),
        Schedule::Decay(decay) => decay::json(decay),
        Schedule::Cyclic(cyclic) => cyclic::json(cyclic),
        Schedule::OneCycle(one_cycle) => one_cycle::json(one_cycle),
        Schedule::Cosine(cosine) => cosine::json(cosine),
        Schedule::Sgdr(sgdr) => sgdr::json(sgdr),
        Schedule::Linear(linear) => linear::json(linear),
        Schedule::RangeTest(range_test) => range_test::json(range_test),
        Schedule::Table(values) => table::json(values),
        Schedule::Points(points) => table::json_of_points(points),
        Schedule::Sequence(stages) => sequence::json(stages),
        Schedule::PerEpoch(PerEpoch { iterations_per_epoch, first_epoch, inner }) => json!({
            "kind": "per_epoch", "iterations_per_epoch": number(iterations_per_epoch.period),
            "ahead": ahead(*iterations_per_epoch), "first_epoch": first_epoch, "schedule": json(inner),
        }),
    }
}

/// A whole number as one, any other to the nearest float.
fn number(ratio: Ratio) -> Json {
    ratio.whole().map_or_else(|| json!(ratio.to_f64()), |whole| json!(whole))
}

/// How far the first period is at the start, where it is not at its own.
fn ahead(ticks: Ticks) -> Option<Json> {
    (ticks.ahead > Ratio::ZERO).then(|| number(ticks.ahead))
}

// Keys of several kinds.

const BASE: Key = Key::new("base_lr", Kind::Number(Range::NotNegative), "The lower bound, or the value to start from.")
    .required()
    .auto();
const MAX: Key = Key::new("max_lr", Kind::Number(Range::NotNegative), "The upper bound.").required().auto();
const MIN: Key = Key::new("min_lr", Kind::Number(Range::NotNegative), "The last and lowest value.").number(0.0);
const GAMMA: Key = Key::new("gamma", Kind::Number(Range::Positive), "The factor of each fall.").required();
const POWER: Key = Key::new("power", Kind::Number(Range::Any), "The exponent.").required();
const STEP_SIZE: Key = Key::new("step_size", Kind::Duration { zero: false }, "How long one step lasts.").required();
const STEPS: Key = Key::new(
    "steps",
    Kind::Duration { zero: false },
    "How long it takes; absent: all of the training, or of the stage.",
);

// Keys that every kind has.

/// Whether `per` says that the value changes once an epoch.
pub const IS_PER_EPOCH: Words<bool, 2> = Words([("iteration", false), ("epoch", true)]);
const PERS: &[&str] = &IS_PER_EPOCH.names();
pub const PER: Key = Key::new(
    "per",
    Kind::OneOf(PERS),
    "When the value changes: with every iteration, or once an epoch as in Torch's recipes.",
)
.text("iteration")
.no_axis();
pub const FIRST_EPOCH: Key = Key::new(
    "first_epoch",
    Kind::Integer { min: 0, max: 1 },
    "With `per = \"epoch\"`: the number of the first epoch, 1 in Torch7 (and the paper's Table 4), 0 in PyTorch.",
)
.integer(1);
pub const WARMUP: Key = Key::new(
    "warmup",
    Kind::Duration { zero: true },
    "How long the value rises to where the schedule begins, which then counts from the end of the warmup; 0 or absent: not at all.",
);
pub const WARMUP_FROM: Key = Key::new(
    "warmup_from",
    Kind::Number(Range::NotNegative),
    "Where the warmup begins; absent: at 0, or as `warmup_factor` says.",
);
pub const WARMUP_FACTOR: Key = Key::new(
    "warmup_factor",
    Kind::Number(Range::NotNegative),
    "Where the warmup begins, as a part of where it ends: PyTorch's `start_factor`.",
);
/// Whether `warmup_shape` says that the value rises by half a cosine.
pub const WARMUP_IS_COSINE: Words<bool, 2> = Words([("linear", false), ("cosine", true)]);
const WARMUP_SHAPES: &[&str] = &WARMUP_IS_COSINE.names();
pub const WARMUP_SHAPE: Key =
    Key::new("warmup_shape", Kind::OneOf(WARMUP_SHAPES), "How the value rises; absent: on a line.");

/// Keys that every kind has.
pub static COMMON: &[Key] = &[PER, FIRST_EPOCH, WARMUP, WARMUP_FROM, WARMUP_FACTOR, WARMUP_SHAPE];

/// Examples of [`COMMON`].
pub const COMMON_EXAMPLES: &[&str] = &[
    r#"[policies.stairs]
kind          = "triangular"
base_lr       = 0.001
max_lr        = 0.006
step_size     = "5 epochs"
per           = "epoch"       # the value of an epoch's first iteration holds for all of it
first_epoch   = 0"#,
    r#"[policies.warm]
kind          = "cosine"
max_lr        = 0.1
warmup        = "5 epochs"
warmup_factor = 0.01          # from 0.001; or: warmup_from = 0.001
warmup_shape  = "linear""#,
    r#"[policies.warm_from]
kind          = "cosine"
max_lr        = 0.1
warmup        = "10%"
warmup_from   = 0.001"#,
];

/// What a schedule's keys are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// In a policy: `base_lr`.
    LearningRate,
    /// In the table of another hyper-parameter: `base`.
    Plain,
}

impl Naming {
    /// The name of `key` under this naming.
    pub fn name(self, key: &str) -> &str {
        match self {
            Naming::LearningRate => key,
            Naming::Plain => key.strip_suffix("_lr").unwrap_or(key),
        }
    }

    /// The key under this naming. Only bounds of a learning rate can be measured, and any step can be fitted to the training.
    pub fn key(self, key: &Key) -> Key {
        let is_measured = key.auto && matches!(key.kind, Kind::Number(_));
        Key { name: self.name(key.name), auto: key.auto && !(is_measured && self == Naming::Plain), ..*key }
    }
}
