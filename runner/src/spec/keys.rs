//! Every key of a spec, defined once: names, types, ranges, defaults and one line of documentation.
//!
//! Reading, "did you mean", defaults, grid axes and the JSON Schema for editors all come from these tables.
//! The kinds of policies are in [`super::kinds`].

/// One key of a table.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// The type of the value.
    pub kind: Kind,
    /// Used where the key is absent; `None` where absence has a meaning of its own.
    pub default: Option<Default>,
    /// Whether the table is in error without it.
    pub required: bool,
    /// Whether a list of values makes a grid axis.
    pub axis: bool,
    /// One line for editors and `clr-run schema`.
    pub doc: &'static str,
}

/// The type of a key's value.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Any string that is not empty.
    Text,
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// An integer, both bounds included.
    Integer {
        /// The least.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// An integer or a float.
    Number(Range),
    /// `true` or `false`.
    Boolean,
    /// A number of iterations, or a string that says its unit: `"500 iterations"`, `"2 epochs"`, `"10%"` of the training.
    Duration {
        /// Whether it may be nothing.
        zero: bool,
    },
    /// A list of increasing durations.
    Durations,
    /// Wall time, a string that says its unit: `"90 s"`, `"10 min"`, `"2 h"`. Read as a number of seconds.
    Seconds,
    /// How often something is done: a time, a number of iterations or epochs, or `"never"`. Read as its text.
    Interval,
    /// Memory, a string that says its unit: `"512 MiB"`, `"4 GB"`. Read as a number of bytes.
    Bytes,
    /// A list of tables, each a schedule with a length.
    Stages,
}

/// Which numbers are allowed; never infinite ones.
#[derive(Clone, Copy, Debug)]
pub enum Range {
    /// All.
    Any,
    /// 0 and above.
    NotNegative,
    /// Above 0.
    Positive,
    /// From 0 to 1, both included.
    Fraction,
}

/// A default as it would be written.
#[derive(Clone, Copy, Debug)]
pub enum Default {
    /// A string.
    Text(&'static str),
    /// An integer; of iterations, where the key is a duration.
    Integer(i64),
    /// A float.
    Number(f64),
    /// A flag.
    Boolean(bool),
}

impl Key {
    pub(super) const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Key {
        Key { name, kind, default: None, required: false, axis: true, doc }
    }

    pub(super) const fn required(mut self) -> Key {
        self.required = true;
        self
    }

    pub(super) const fn text(mut self, default: &'static str) -> Key {
        self.default = Some(Default::Text(default));
        self
    }

    pub(super) const fn integer(mut self, default: i64) -> Key {
        self.default = Some(Default::Integer(default));
        self
    }

    pub(super) const fn number(mut self, default: f64) -> Key {
        self.default = Some(Default::Number(default));
        self
    }

    pub(super) const fn boolean(mut self, default: bool) -> Key {
        self.default = Some(Default::Boolean(default));
        self
    }

    /// A list of values is no axis here, since what is read next depends on the value.
    pub(super) const fn no_axis(mut self) -> Key {
        self.axis = false;
        self
    }
}

impl Range {
    /// Whether `value` is in the range, also as float32, in which plugins compute: 1e39 is infinite there, and 1e-50 is 0.
    pub fn contains(self, value: f64) -> bool {
        (value as f32).is_finite()
            && match self {
                Range::Any => true,
                Range::NotNegative => value >= 0.0,
                Range::Positive => value as f32 > 0.0,
                Range::Fraction => (0.0..=1.0).contains(&value),
            }
    }

    /// As in "expected a number above 0".
    pub fn describe(self) -> &'static str {
        match self {
            Range::Any => "a finite number",
            Range::NotNegative => "a number that is not negative",
            Range::Positive => "a number above 0",
            Range::Fraction => "a number from 0 to 1",
        }
    }
}

/// A table whose keys are fixed.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// The table's name.
    pub name: &'static str,
    /// One line for editors.
    pub doc: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
    /// Whether a plugin may define more keys.
    pub open: bool,
}

/// `[model]`.
pub static MODEL: Section = Section {
    name: "model",
    doc: "What to train. Other keys are options of the architecture; `clr-run plugin info NAME` lists them.",
    keys: &[
        Key::new("plugin", Kind::Text, "The plugin that has the architecture.").required(),
        Key::new("architecture", Kind::Text, "One of the plugin's models.").required(),
    ],
    open: true,
};

/// `[data]`.
pub static DATA: Section = Section {
    name: "data",
    doc: "What to train on, and how images are fed.",
    keys: &[
        Key::new("dataset", Kind::Text, "A dataset's name; `clr-run data list` has them all.").required(),
        Key::new(
            "batch_size",
            Kind::Integer { min: 1, max: 1 << 20 },
            "Images that are computed at once; an iteration has so many times `train.accumulate`.",
        )
        .required(),
        Key::new(
            "validation",
            Kind::Integer { min: 0, max: 1 << 40 },
            "Training images held out; \"best\" is then chosen on them.",
        )
        .integer(0),
        Key::new(
            "order",
            Kind::OneOf(&["shuffled", "stored"]),
            "A new permutation each epoch, or the file's own order as Caffe reads it.",
        )
        .text("shuffled"),
        Key::new(
            "last_batch",
            Kind::OneOf(&["wrap", "drop", "keep"]),
            "At the end of an epoch: batches run on over it, the rest is dropped, or is a smaller batch.",
        )
        .text("wrap"),
        Key::new(
            "normalize",
            Kind::OneOf(&["none", "pixel_mean", "channel_mean", "channel_standard"]),
            "What is subtracted from, and divided into, the pixels.",
        )
        .text("pixel_mean"),
        Key::new(
            "scale",
            Kind::Number(Range::Positive),
            "Multiplies after the mean was subtracted; 1 keeps Caffe's 0 to 255.",
        )
        .number(1.0),
        Key::new("flip", Kind::Boolean, "Random horizontal flips.").boolean(false),
        Key::new(
            "pad",
            Kind::Integer { min: 0, max: 1024 },
            "Zero padding before a random crop back to size; 0 is no crop.",
        )
        .integer(0),
    ],
    open: false,
};

/// `[train]`.
pub static TRAIN: Section = Section {
    name: "train",
    doc: "How long to train, and when to evaluate and to stop.",
    keys: &[
        Key::new("iterations", Kind::Duration { zero: false }, "Updates to make: 25_000, or \"10 epochs\".").required(),
        Key::new(
            "eval_every",
            Kind::Duration { zero: true },
            "An evaluation after every so many updates; 0 for only the first and the last.",
        )
        .integer(0),
        Key::new(
            "precision",
            Kind::OneOf(&["f32", "tf32", "bf16"]),
            "What factors of products are rounded to: not at all, or, on a GPU, to fewer bits for its tensor cores.",
        )
        .text("f32"),
        Key::new(
            "accumulate",
            Kind::Integer { min: 1, max: 1024 },
            "Batches whose gradients make one update, which is one iteration: as one large batch, in the memory of a small one.",
        )
        .integer(1),
        Key::new(
            "clip_gradients",
            Kind::Number(Range::NotNegative),
            "Gradients longer than this (L2 norm over all parameters) are scaled down to it; 0 is never.",
        )
        .number(0.0),
        Key::new(
            "stop_on_divergence",
            Kind::Boolean,
            "Whether a trial ends when its loss is not finite or exceeds `max_loss`.",
        )
        .boolean(true),
        Key::new(
            "max_loss",
            Kind::Number(Range::Positive),
            "A loss above this counts as diverged; absent: only one that is not finite.",
        ),
    ],
    open: false,
};

/// The sections whose keys policies and optimizers may override.
pub static OVERRIDABLE: [&Section; 3] = [&MODEL, &DATA, &TRAIN];

/// `[experiment]`.
pub static EXPERIMENT: Section = Section {
    name: "experiment",
    doc: "The name of the run, and its seeds.",
    keys: &[
        Key::new("name", Kind::Text, "The folder under the outputs; letters, digits, `.`, `_` and `-`.")
            .required()
            .no_axis(),
        Key::new(
            "seeds",
            Kind::Integer { min: 0, max: i64::MAX },
            "Each seed is a trial of every cell: `[1, 2, 3]`; or how many: `3`. Decides initial weights and batches. Default: `[1]`.",
        ),
        Key::new(
            "init_seeds",
            Kind::Integer { min: 0, max: i64::MAX },
            "Seeds of the initial weights alone, set apart from `seeds`.",
        ),
        Key::new(
            "data_seeds",
            Kind::Integer { min: 0, max: i64::MAX },
            "Seeds of the batches alone, set apart from `seeds`.",
        ),
    ],
    open: false,
};

/// `[grid]`; its two keys are lists of lists and of tables, read by [`super::grid`].
pub static GRID: Section = Section {
    name: "grid",
    doc: "Which cells of the grid there are, where not all.",
    keys: &[
        Key::new("zip", Kind::Text, "Axes that move together: `zip = [[\"policy.max_lr\", \"policy.step_size\"]]`.").no_axis(),
        Key::new("exclude", Kind::Text, "Cells to leave out, by the values of any keys: `exclude = [{ policy = \"long\", optimizer = \"adam\", seed = [2, 3] }]`.").no_axis(),
    ],
    open: false,
};

/// `[checkpoint]`. Nothing in it changes a trial's numbers, and so none of it is part of a trial's id.
pub static CHECKPOINT: Section = Section {
    name: "checkpoint",
    doc: "How often trials are saved while they train, and what is kept of them.",
    keys: &[
        Key::new(
            "every",
            Kind::Interval,
            "How often trials are saved: \"5 min\" (sooner at first; later where that would take over 0.5% of the time), \"500 iterations\", \"1 epoch\", \"10%\", or \"never\".",
        )
        .text("30 s")
        .no_axis(),
        Key::new(
            "keep",
            Kind::OneOf(&["nothing", "last", "best", "cycles"]),
            "What is kept of a trial that is over, for `clr-run export`: its last state, that of its best evaluation, or those at \
             the end of each cycle of the learning rate, for `clr-run evaluate`.",
        )
        .text("nothing")
        .no_axis(),
    ],
    open: false,
};

/// `[limits]`. Nothing in it changes a trial's numbers, and so none of it is part of a trial's id.
pub static LIMITS: Section = Section {
    name: "limits",
    doc: "What a trial may take, and what becomes of the run when one fails.",
    keys: &[
        Key::new("time", Kind::Seconds, "Wall time of a trial; one that takes longer fails. Absent: any.").no_axis(),
        Key::new(
            "memory",
            Kind::Bytes,
            "Memory of a trial, of the process that trains it; on Linux. One that takes more crashes. Absent: any.",
        )
        .no_axis(),
        Key::new(
            "call",
            Kind::Seconds,
            "A plugin's call that takes longer is taken to hang. An evaluation of a whole split is one call.",
        )
        .text("10 min")
        .no_axis(),
        Key::new(
            "on_error",
            Kind::OneOf(&["continue", "stop"]),
            "When a trial fails or crashes: go on with the others, or stop the run as Ctrl-C would.",
        )
        .text("continue")
        .no_axis(),
    ],
    open: false,
};

/// Keys of `[policies.NAME]` that every kind has, besides those of [`super::kinds`].
pub static POLICY: &[Key] = &[
    Key::new("kind", Kind::Text, "The formula.").required().no_axis(),
    Key::new("optimizers", Kind::Text, "The optimizers that this policy meets; absent: all.").no_axis(),
];

/// Keys of `[optimizers.NAME]`; more come from the plugin.
pub static OPTIMIZER: &[Key] =
    &[Key::new("kind", Kind::Text, "One of the plugin's optimizers, such as \"nesterov\" or \"adam\".")
        .required()
        .no_axis()];

/// Keys of `[[optimizers.NAME.groups]]`.
pub static GROUP: &[Key] = &[
    Key::new(
        "parameters",
        Kind::Text,
        "Which: a name, or a pattern in which `*` is any text and `?` any letter, or a list of them: `[\"*.bias\", \"bn*\"]`.",
    )
    .required()
    .no_axis(),
    Key::new(
        "lr_mult",
        Kind::Number(Range::NotNegative),
        "What the learning rate of these is multiplied by, in place of the architecture's own; 0 freezes them.",
    ),
    Key::new(
        "decay_mult",
        Kind::Number(Range::NotNegative),
        "What the weight decay of these is multiplied by, in place of the architecture's own; 0 is without decay.",
    ),
];
