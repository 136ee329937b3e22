//! The kinds of schedules and their keys.
//!
//! A policy schedules the learning rate, and its keys are named for it (`base_lr`). Any other hyper-parameter takes the
//! same kinds as a table, `momentum = { kind = "triangular", base = 0.95, max = 0.85, ... }`, there without the `_lr`.

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
}

const BASE: Key =
    Key::new("base_lr", Kind::Number(Range::NotNegative), "The lower bound, or the value to start from.").required();
const MAX: Key = Key::new("max_lr", Kind::Number(Range::NotNegative), "The upper bound.").required();
const MIN: Key = Key::new("min_lr", Kind::Number(Range::NotNegative), "The last and lowest value.").number(0.0);
const GAMMA: Key = Key::new("gamma", Kind::Number(Range::Positive), "The factor of each fall.").required();
const POWER: Key = Key::new("power", Kind::Number(Range::Any), "The exponent.").required();
const STEP_SIZE: Key = Key::new("step_size", Kind::Duration { zero: false }, "How long one step lasts.").required();
const HALF_CYCLE: Key = Key::new(
    "step_size",
    Kind::Duration { zero: false },
    "From `base_lr` to `max_lr`: half a cycle. The paper advises 2 to 10 epochs.",
)
.required();
const DOWN: Key = Key::new(
    "step_size_down",
    Kind::Duration { zero: false },
    "From `max_lr` back to `base_lr`; absent: as long as `step_size`.",
);
const WINDOW: Key =
    Key::new("window", Kind::OneOf(&["linear", "welch", "hann"]), "The shape of a cycle.").text("linear");
const MULT: Key = Key::new(
    "mult",
    Kind::Number(Range::Positive),
    "How many times as long each cycle is as the one before, such as 2, 1.5 or 0.5; absent: 1.",
);
const PEAK_FACTOR: Key = Key::new(
    "peak_factor",
    Kind::Number(Range::Positive),
    "What `max_lr - base_lr` is multiplied by from cycle to cycle: 0.5 is `triangular2`; absent: 1.",
);
const CYCLES: Key = Key::new(
    "cycles",
    Kind::Number(Range::Positive),
    "After so many cycles the value stays at `base_lr`; absent: never.",
);
const STEPS: Key = Key::new(
    "steps",
    Kind::Duration { zero: false },
    "How long it takes; absent: all of the training, or of the stage.",
);

/// Keys that every kind has.
pub static COMMON: &[Key] = &[
    Key::new(
        "per",
        Kind::OneOf(&["iteration", "epoch"]),
        "When the value changes: with every iteration, or once an epoch as in Torch's recipes.",
    )
    .text("iteration")
    .no_axis(),
    Key::new(
        "first_epoch",
        Kind::Integer { min: 0, max: 1 },
        "With `per = \"epoch\"`: the number of the first epoch, 1 in Torch7 (and the paper's Table 4), 0 in PyTorch.",
    )
    .integer(1),
    Key::new(
        "warmup",
        Kind::Duration { zero: true },
        "How long the value rises to where the schedule begins, which then counts from the end of the warmup; 0 or absent: not at all.",
    ),
    Key::new(
        "warmup_from",
        Kind::Number(Range::NotNegative),
        "Where the warmup begins; absent: at 0, or as `warmup_factor` says.",
    ),
    Key::new(
        "warmup_factor",
        Kind::Number(Range::NotNegative),
        "Where the warmup begins, as a part of where it ends: PyTorch's `start_factor`.",
    ),
    Key::new("warmup_shape", Kind::OneOf(&["linear", "cosine"]), "How the value rises; absent: on a line."),
];

/// The length of a stage of a `sequence`.
pub static STAGE_LENGTH: Key = Key::new(
    "iterations",
    Kind::Duration { zero: false },
    "How long the stage lasts; the last stage may leave it out.",
);

/// All kinds, in the order of DESIGN section 4.
pub static SCHEDULE_KINDS: &[ScheduleKind] = &[
    ScheduleKind { name: "fixed", doc: "The same value at every step. (Caffe)", keys: &[BASE] },
    ScheduleKind {
        name: "step",
        doc: "base_lr * gamma^floor(step / step_size). (Caffe)",
        keys: &[BASE, GAMMA, STEP_SIZE],
    },
    ScheduleKind {
        name: "multistep",
        doc: "base_lr * gamma^(milestones reached). (Caffe)",
        keys: &[BASE, GAMMA, Key::new("milestones", Kind::Durations, "When the value falls.").required()],
    },
    ScheduleKind { name: "exp", doc: "base_lr * gamma^step. (Caffe)", keys: &[BASE, GAMMA] },
    ScheduleKind { name: "inv", doc: "base_lr * (1 + gamma * step)^-power. (Caffe)", keys: &[BASE, GAMMA, POWER] },
    ScheduleKind { name: "poly", doc: "base_lr * (1 - step / steps)^power. (Caffe)", keys: &[BASE, POWER, STEPS] },
    ScheduleKind {
        name: "sigmoid",
        doc: "base_lr / (1 + exp(-gamma * (step - step_size))). (Caffe)",
        keys: &[
            BASE,
            Key::new("gamma", Kind::Number(Range::Any), "The steepness; below 0 the value falls.").required(),
            STEP_SIZE,
        ],
    },
    ScheduleKind {
        name: "decay",
        doc: "From max_lr to base_lr over step_size, then base_lr. (Smith 2017, 4.1.1)",
        keys: &[BASE, MAX, STEP_SIZE],
    },
    ScheduleKind {
        name: "triangular",
        doc: "Between base_lr and max_lr and back, again and again. (Smith 2017, 3)",
        keys: &[
            BASE,
            MAX,
            HALF_CYCLE,
            DOWN,
            WINDOW,
            Key::new(
                "amplitude",
                Kind::OneOf(&["constant", "half_per_cycle", "one_over_cycle"]),
                "What becomes of max_lr - base_lr from cycle to cycle.",
            )
            .text("constant"),
            PEAK_FACTOR,
            MULT,
            CYCLES,
        ],
    },
    ScheduleKind {
        name: "triangular2",
        doc: "As triangular, max_lr - base_lr halved after each cycle. (Smith 2017, 3)",
        keys: &[BASE, MAX, HALF_CYCLE, DOWN, WINDOW, MULT, CYCLES],
    },
    ScheduleKind {
        name: "exp_range",
        doc: "As triangular, declining by gamma^step. (Smith 2017, 3)",
        keys: &[
            BASE,
            MAX,
            HALF_CYCLE,
            DOWN,
            WINDOW,
            GAMMA,
            Key::new(
                "decline",
                Kind::OneOf(&["boundaries", "amplitude"]),
                "What declines: both boundaries (the paper), or only max_lr - base_lr (Keras, PyTorch).",
            )
            .text("boundaries"),
            MULT,
            CYCLES,
        ],
    },
    ScheduleKind {
        name: "one_cycle",
        doc: "One cycle, then far below its start. (Smith 2018)",
        keys: &[
            Key::new(
                "form",
                Kind::OneOf(&["smith", "two_phase", "three_phase", "fastai"]),
                "Smith's Caffe code, PyTorch's two or three phases, or fastai's.",
            )
            .text("smith")
            .no_axis(),
            MAX,
            Key::new("base_lr", Kind::Number(Range::NotNegative), "The first value; absent: max_lr / div_factor."),
            Key::new(
                "div_factor",
                Kind::Number(Range::Positive),
                "max_lr / first value, where base_lr is absent; absent: 25, in Smith's form 10.",
            ),
            Key::new(
                "final_div_factor",
                Kind::Number(Range::Positive),
                "First value / last value; absent: 1,000 (Smith), 10,000 (PyTorch), or such that the last is max_lr / 100,000 (fastai).",
            ),
            Key::new(
                "step_size",
                Kind::Duration { zero: false },
                "Smith's form, which needs it: half a cycle, the cycle being a little shorter than the training.",
            ),
            Key::new(
                "pct_start",
                Kind::Number(Range::Fraction),
                "The other forms: the fraction of the steps on the way up; absent: 0.3, in fastai's form 0.25.",
            ),
            Key::new(
                "anneal",
                Kind::OneOf(&["linear", "cosine"]),
                "The other forms: how phases are joined; absent: cosine.",
            ),
            Key::new(
                "steps",
                Kind::Duration { zero: false },
                "The other forms: how long it takes; absent: all of the training, or of the stage.",
            ),
            Key::new(
                "cycles",
                Kind::Integer { min: 1, max: 100 },
                "How many cycles share the time, one after another; absent: one.",
            ),
            MULT,
            Key::new(
                "peak_factor",
                Kind::Number(Range::Positive),
                "With `cycles`: what `max_lr` is multiplied by from cycle to cycle; absent: 1.",
            ),
        ],
    },
    ScheduleKind { name: "cosine", doc: "Half a cosine from max_lr to min_lr, then min_lr.", keys: &[MAX, MIN, STEPS] },
    ScheduleKind {
        name: "sgdr",
        doc: "Cosine with warm restarts. (Loshchilov and Hutter 2017)",
        keys: &[
            MAX,
            MIN,
            Key::new("first_cycle", Kind::Duration { zero: false }, "How long the first cycle lasts.").required(),
            Key::new(
                "mult",
                Kind::Number(Range::Positive),
                "How many times as long each cycle is as the one before, such as 2, 1.5 or 0.5.",
            )
            .number(1.0),
            Key::new(
                "peak_factor",
                Kind::Number(Range::Positive),
                "What the peak is multiplied by at each restart; absent: 1.",
            ),
            Key::new(
                "peak_factor_of",
                Kind::OneOf(&["peak", "amplitude"]),
                "What `peak_factor` multiplies: the peak (timm), or what it has above `min_lr` (Keras); absent: the peak.",
            ),
        ],
    },
    ScheduleKind {
        name: "linear",
        doc: "A line from from_lr to to_lr, then to_lr.",
        keys: &[
            Key::new("from_lr", Kind::Number(Range::NotNegative), "The first value.").required(),
            Key::new("to_lr", Kind::Number(Range::NotNegative), "The last value.").required(),
            STEPS,
        ],
    },
    ScheduleKind {
        name: "range_test",
        doc: "From min_lr to max_lr over the whole training, to see where it learns and where it diverges. (Smith 2017, 3.3)",
        keys: &[
            Key::new("min_lr", Kind::Number(Range::NotNegative), "The first value.").required(),
            Key::new("max_lr", Kind::Number(Range::NotNegative), "The value after the last step.").required(),
            STEPS,
            Key::new("spacing", Kind::OneOf(&["linear", "geometric"]), "Whether each step adds or multiplies.")
                .text("linear"),
        ],
    },
    ScheduleKind {
        name: "table",
        doc: "Values from a file; the last one stays.",
        keys: &[
            Key::new(
                "file",
                Kind::Text,
                "A CSV file, its path relative to the spec: bare numbers, one an iteration, or columns with names, one of them `iteration`, `step` or `epoch`.",
            )
            .required(),
            Key::new(
                "column",
                Kind::Text,
                "The column with the values; absent: the one named after the hyper-parameter (`lr`), or `value`.",
            ),
            Key::new(
                "between",
                Kind::OneOf(&["hold", "linear"]),
                "Between two rows: the value of the first, or a line from one to the other.",
            )
            .text("hold"),
        ],
    },
    ScheduleKind {
        name: "sequence",
        doc: "Stages in a row, each counting from its own start.",
        keys: &[Key::new(
            "stages",
            Kind::Stages,
            "`[{ kind = \"..\", iterations = 16_000, .. }, ..]`; the last one goes on to the end.",
        )
        .required()
        .no_axis()],
    },
];

/// The kind named `name`.
pub fn find(name: &str) -> Option<&'static ScheduleKind> {
    SCHEDULE_KINDS.iter().find(|kind| kind.name == name)
}

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
}
