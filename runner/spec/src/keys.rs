//! Every key of a spec, defined once: names, types, ranges, defaults, documentation and examples.
//!
//! Reading, "did you mean", defaults, grid axes, the JSON Schema for editors and the reference for people
//! (`docs/reference.md`) all come from these tables. The kinds of schedules are in [`super::kinds`].

/// One key of a table.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// The type of the value.
    pub kind: Kind,
    /// Used where the key is absent; `None` where absence has a meaning of its own.
    pub default: Option<Default>,
    /// True if a table without it is in error.
    pub required: bool,
    /// True if a list of values makes a grid axis.
    pub axis: bool,
    /// True if `"auto"` is a value too: a range test, or the length of the training, then says what is taken.
    pub auto: bool,
    /// A sentence or two for editors and for the reference.
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
        min: i64,
        max: i64,
    },
    /// An integer or a float.
    Number(Range),
    /// How many: an integer that is not negative, or a share between 0 and 1.
    CountOrShare,
    Boolean,
    /// A number of iterations, or a string that says its unit: `"500 iterations"`, `"2 epochs"`, `"10%"` of the training.
    Duration {
        /// True if 0 is allowed.
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
    /// A name or a pattern of names, or a list of them.
    Names,
    /// A list of seeds, or how many there are: `3` is `[1, 2, 3]`.
    Seeds,
    /// A list of lists of keys: axes that move together.
    Axes,
    /// A list of tables of keys and values: cells of the grid.
    Cells,
}

/// The numbers that are allowed; infinite ones never are.
#[derive(Clone, Copy, Debug)]
pub enum Range {
    /// Any finite number.
    Any,
    /// At least 0.
    NotNegative,
    Positive,
    /// From 0 to 1, both included.
    Fraction,
    /// Between 0 and 1.
    Share,
}

/// A default as it would be written.
#[derive(Clone, Copy, Debug)]
pub enum Default {
    Text(&'static str),
    /// An integer; of iterations, where the key is a duration.
    Integer(i64),
    Number(f64),
    Boolean(bool),
}

impl Key {
    pub(super) const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Key {
        Key { name, kind, default: None, required: false, axis: true, auto: false, doc }
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

    /// `"auto"` is a value too.
    pub(super) const fn auto(mut self) -> Key {
        self.auto = true;
        self
    }

    /// A list of values is no axis here, since what is read next depends on the value.
    pub(super) const fn no_axis(mut self) -> Key {
        self.axis = false;
        self
    }
}

impl Range {
    /// True if `value` is in the range, also as float32, in which plugins compute: 1e39 is infinite there, and 1e-50 is 0.
    pub fn contains(self, value: f64) -> bool {
        (value as f32).is_finite()
            && match self {
                Range::Any => true,
                Range::NotNegative => value >= 0.0,
                Range::Positive => value as f32 > 0.0,
                Range::Fraction => (0.0..=1.0).contains(&value),
                // Below half a millionth nothing is left of it.
                Range::Share => (1e-6..=1.0 - 1e-6).contains(&value),
            }
    }

    /// As in "expected a number above 0".
    pub fn describe(self) -> &'static str {
        match self {
            Range::Any => "a finite number",
            Range::NotNegative => "a number that is not negative",
            Range::Positive => "a number above 0",
            Range::Fraction => "a number from 0 to 1",
            Range::Share => "a number between 0 and 1",
        }
    }
}

/// A table of a spec and its keys.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// As in its header, without brackets.
    pub name: &'static str,
    /// A sentence or two for editors and for the reference.
    pub doc: &'static str,
    /// The keys that every such table may have.
    pub keys: &'static [Key],
    /// True where a plugin may define more keys.
    pub open: bool,
    /// Parts of specs, in TOML, that together use each of the keys.
    pub examples: &'static [&'static str],
}

pub static MODEL: Section = Section {
    name: "model",
    doc: "The network to train. Its other keys are options of the architecture, which `clr-run plugin info NAME` lists.",
    keys: &[
        Key::new("plugin", Kind::Text, "The plugin that has the architecture; `clr-run plugin list` shows all.")
            .required(),
        Key::new("architecture", Kind::Text, "One of the plugin's models.").required(),
    ],
    open: true,
    examples: &[
        "[model]\nplugin       = \"cifar\"\narchitecture = [\"cifar10_quick\", \"cifar10_full\"]   # an axis of the grid",
    ],
};

pub static DATA: Section = Section {
    name: "data",
    doc: "The images to train on, and how they are fed.",
    keys: &[
        Key::new(
            "dataset",
            Kind::Text,
            "A dataset that `clr-run data list` shows, a folder of your own in a data folder (`--data`), or a path relative to \
             the spec, with a slash: a folder of folders of images, Parquet, .npz, a CSV file of paths and labels, .tar shards.",
        )
        .required(),
        Key::new(
            "resize",
            Kind::Integer { min: 1, max: 4096 },
            "The shorter side that every image is resized to, the other in proportion, with antialiased bilinear \
             interpolation (torchvision's `Resize`). If absent, images keep their sizes.",
        ),
        Key::new(
            "crop",
            Kind::Integer { min: 1, max: 4096 },
            "The side of the square that is cut from the middle of every image, after `resize` (torchvision's `CenterCrop`).",
        ),
        Key::new(
            "exif_orientation",
            Kind::Boolean,
            "Turns images as their EXIF data says, before `resize`. torchvision's `ImageFolder` does not.",
        )
        .boolean(false),
        Key::new(
            "test_share",
            Kind::Number(Range::Share),
            "The share of images of each class that become the test set of a dataset that has none. If absent, 0.2 of such a \
             dataset.",
        ),
        Key::new(
            "batch_size",
            Kind::Integer { min: 1, max: 1 << 20 },
            "The images that are computed at once. An update is of `train.accumulate` times as many.",
        )
        .required(),
        Key::new(
            "validation",
            Kind::CountOrShare,
            "The training images that are held out: a number, or a share such as 0.1. The best iteration is then chosen on them, \
             not on the test set.",
        )
        .integer(0),
        Key::new(
            "test",
            Kind::Integer { min: 1, max: 1 << 40 },
            "The number of test images to evaluate on: the first in the order of a hash, so always the same, and of all \
             classes. If absent, all.",
        ),
        Key::new(
            "order",
            Kind::OneOf(&["shuffled", "stored"]),
            "The order of images: a new permutation each epoch, or the file's own order, as Caffe reads it.",
        )
        .text("shuffled"),
        Key::new(
            "last_batch",
            Kind::OneOf(&["wrap", "drop", "keep"]),
            "What happens at the end of an epoch: batches run on into the next epoch, the rest is dropped, or the last \
             batch is smaller.",
        )
        .text("wrap"),
        Key::new(
            "normalize",
            Kind::OneOf(&["none", "pixel_mean", "channel_mean", "channel_standard"]),
            "What is done to pixels, which are 0 to 255: nothing, the mean image is subtracted, the mean of each channel \
             is subtracted, or each channel is also divided by its standard deviation. All are of the training images.",
        )
        .text("pixel_mean"),
        Key::new(
            "scale",
            Kind::Number(Range::Positive),
            "A factor of all pixels after `normalize`. 1 keeps Caffe's 0 to 255.",
        )
        .number(1.0),
        Key::new("flip", Kind::Boolean, "Random horizontal flips of training images.").boolean(false),
        Key::new(
            "pad",
            Kind::Integer { min: 0, max: 1024 },
            "The pixels of zero padding on each side before a random crop back to the image's size. 0 is no crop.",
        )
        .integer(0),
        Key::new(
            "input_size",
            Kind::Integer { min: 0, max: 1 << 15 },
            "The height and width of what the model sees of each image, padding included: at a random place in training, in \
             the middle in evaluation. A mean image is subtracted as it is there. 0 is the size of the stored images.",
        )
        .integer(0),
        Key::new(
            "min_area",
            Kind::Number(Range::Fraction),
            "Above 0, a training image is a random area of the stored one, of this share of its pixels to all of them and an \
             aspect ratio of 3:4 to 4:3, resized to `input_size`: torchvision's `RandomResizedCrop`. Evaluation sees a plain crop.",
        )
        .number(0.0),
        Key::new(
            "lighting",
            Kind::Number(Range::NotNegative),
            "The deviation of random light that training images have: along the principal components of ImageNet's colours, \
             as AlexNet was trained (0.1). It needs images in colour.",
        )
        .number(0.0),
    ],
    open: false,
    examples: &[
        r#"[data]
dataset    = "cifar10"
batch_size = 100
validation = 5000
test       = 2000
order      = "shuffled"
last_batch = "drop"
normalize  = "channel_standard"
scale      = 1.0
flip       = true
pad        = 4"#,
        r#"[data]
dataset          = "./flowers"   # flowers/rose/1.jpg, flowers/tulip/2.png, ..
resize           = 72
crop             = 64
exif_orientation = true
test_share       = 0.2
validation       = 0.1
batch_size       = 32"#,
        r#"[data]
dataset    = "cifar10"
batch_size = 100
normalize  = "channel_standard"
input_size = 28
min_area   = 0.08
lighting   = 0.1
flip       = true"#,
    ],
};

pub static TRAIN: Section = Section {
    name: "train",
    doc: "How long to train, and when to evaluate and to stop.",
    keys: &[
        Key::new("iterations", Kind::Duration { zero: false }, "The updates to make: 25_000, or \"10 epochs\".").required(),
        Key::new(
            "eval_every",
            Kind::Duration { zero: true },
            "The time between evaluations. There is one before the first and one after the last update, and with 0 no other.",
        )
        .integer(0),
        Key::new(
            "precision",
            Kind::OneOf(&["f32", "tf32", "bf16"]),
            "What the factors of products are rounded to: float32 is not rounded; the others have fewer bits, for a GPU's \
             tensor cores, and exist on GPUs only.",
        )
        .text("f32"),
        Key::new(
            "accumulate",
            Kind::Integer { min: 1, max: 1024 },
            "The batches whose gradients make one update, which is one iteration: as one large batch, in the memory of a \
             small one.",
        )
        .integer(1),
        Key::new(
            "clip_gradients",
            Kind::Number(Range::NotNegative),
            "The largest gradient (L2 norm over all parameters). Longer ones are scaled down to it. 0 is no clipping.",
        )
        .number(0.0),
        Key::new(
            "stop_on_divergence",
            Kind::Boolean,
            "Ends a trial when its loss is not finite or exceeds `max_loss`.",
        )
        .boolean(true),
        Key::new(
            "max_loss",
            Kind::Number(Range::Positive),
            "A loss above this counts as diverged. If absent, only one that is not finite does.",
        ),
    ],
    open: false,
    examples: &[r#"[train]
iterations         = 25_000
eval_every         = "1 epoch"
precision          = "f32"
accumulate         = 4
clip_gradients     = 5.0
stop_on_divergence = true
max_loss           = 100"#],
};

/// The sections whose keys policies and optimizers may override.
pub static OVERRIDABLE: [&Section; 3] = [&MODEL, &DATA, &TRAIN];

pub static EXPERIMENT: Section = Section {
    name: "experiment",
    doc: "The name of the run, and its seeds.",
    keys: &[
        Key::new(
            "name",
            Kind::Text,
            "The name of the run's folder under the outputs: letters, digits, `.`, `_` and `-`, at most 100 characters.",
        )
        .required()
        .no_axis(),
        Key::new(
            "seeds",
            Kind::Seeds,
            "Seeds of initial weights and batches: each makes a trial of every cell. `[1, 2, 3]`, or how many: `3`. If absent: `[1]`.",
        ),
        Key::new("init_seeds", Kind::Seeds, "Seeds of the initial weights alone, set apart from `seeds`."),
        Key::new("data_seeds", Kind::Seeds, "Seeds of the batches alone, set apart from `seeds`."),
    ],
    open: false,
    examples: &[
        "[experiment]\nname  = \"lr-study\"\nseeds = [1, 2, 3]        # or 3",
        "[experiment]\nname       = \"same-weights\"\ninit_seeds = [7]      # one set of initial weights,\ndata_seeds = 5        # five orders of batches",
    ],
};

/// `[grid]`, which is read by [`super::grid`].
pub static GRID: Section = Section {
    name: "grid",
    doc: "The cells of the grid, where they are not all combinations of policies, optimizers, axes and seeds.",
    keys: &[
        Key::new("zip", Kind::Axes, "Axes that move together, which therefore have equally many values.").no_axis(),
        Key::new("exclude", Kind::Cells, "Cells to leave out: those that have the values of all keys of a table.")
            .no_axis(),
    ],
    open: false,
    examples: &[r#"[experiment]
name  = "some-cells"
seeds = 3

[policies.triangular]
kind      = "triangular"
base_lr   = 0.001
max_lr    = [0.005, 0.006]
step_size = [2000, 4000]

[grid]
zip     = [["policy.max_lr", "policy.step_size"]]      # 0.005 with 2000, 0.006 with 4000
exclude = [{ policy = "triangular", optimizer = "adam", max_lr = 0.006 }, { optimizer = "adam", seed = [2, 3] }]"#],
};

/// `[checkpoint]`. Nothing in it changes a trial's numbers, and so none of it is part of a trial's id.
pub static CHECKPOINT: Section = Section {
    name: "checkpoint",
    doc: "How often trials are saved while they train, and what is kept of them. Changes no numbers and no trial's id.",
    keys: &[
        Key::new(
            "every",
            Kind::Interval,
            "How often trials are saved: \"5 min\" (sooner at first; later where that would take over 0.5% of the time), \
             \"500 iterations\", \"1 epoch\", \"10%\", or \"never\".",
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
    examples: &["[checkpoint]\nevery = \"1 epoch\"\nkeep  = \"best\""],
};

/// `[limits]`. Nothing in it changes a trial's numbers, and so none of it is part of a trial's id.
pub static LIMITS: Section = Section {
    name: "limits",
    doc: "What a trial may take, and what becomes of the run when one fails. Changes no numbers and no trial's id.",
    keys: &[
        Key::new("time", Kind::Seconds, "The wall time of a trial. One that takes longer fails. If absent, any time is allowed.")
            .no_axis(),
        Key::new(
            "memory",
            Kind::Bytes,
            "The memory of the process that trains a trial, beside the dataset (Linux). A trial that takes more crashes. If \
             absent, any amount is allowed.",
        )
        .no_axis(),
        Key::new(
            "call",
            Kind::Seconds,
            "The longest call of a plugin. One that takes longer is taken to hang. An evaluation of a whole split is one call.",
        )
        .text("10 min")
        .no_axis(),
        Key::new(
            "on_error",
            Kind::OneOf(&["continue", "stop"]),
            "What happens when a trial fails or crashes: the others go on, or the run stops as at Ctrl-C.",
        )
        .text("continue")
        .no_axis(),
    ],
    open: false,
    examples: &["[limits]\ntime     = \"2 h\"\nmemory   = \"4 GiB\"\ncall     = \"20 min\"\non_error = \"stop\""],
};

/// `[range_test]`, which is read by [`super::range_test`]. What is in it decides no trial but those of range tests.
pub static RANGE_TEST: Section = Section {
    name: "range_test",
    doc: "How a range test is made: for `clr-run range-test SPEC`, and for bounds that are \"auto\". A trial trains while its \
          learning rate rises from `min_lr` to `max_lr`, everything but the policy being as the spec says.",
    keys: &[
        Key::new(
            "min_lr",
            Kind::Number(Range::NotNegative),
            "The first rate. If absent: 0 on a line; else 1e-5, of Adam, AMSGrad and RMSProp 1e-6, of AdaDelta 1e-3; and no more \
             than a thousandth of `max_lr`.",
        )
        .no_axis(),
        Key::new(
            "max_lr",
            Kind::Number(Range::Positive),
            "The last rate. It may be too high, since divergence ends a trial and is part of the answer. If absent: 1, of Adam, \
             AMSGrad and RMSProp 0.1, of AdaDelta 100; a line has no default.",
        )
        .no_axis(),
        Key::new(
            "spacing",
            Kind::OneOf(&["geometric", "linear"]),
            "Whether each iteration multiplies the rate, or adds to it, as in the paper.",
        )
        .text("geometric")
        .no_axis(),
        Key::new(
            "iterations",
            Kind::Duration { zero: false },
            "How long a range test takes. If absent: 8 epochs, as in the paper, or as long as the spec trains, if that is shorter.",
        )
        .no_axis(),
        Key::new(
            "evaluations",
            Kind::Integer { min: 8, max: 10_000 },
            "How often accuracy is measured on the way: on the validation split, or else on 2,000 images of the test set at most, \
             unless `data.test` says how many.",
        )
        .integer(40)
        .no_axis(),
        Key::new(
            "constant",
            Kind::Integer { min: 8, max: 1000 },
            "So many short trials at constant rates in place of each sweep: the same question without the confound of time. \
             Each is 1 epoch long, unless `iterations` says more.",
        )
        .no_axis(),
        Key::new("seeds", Kind::Seeds, "Seeds of range tests. If absent, those of `[experiment]`."),
        Key::new(
            "only",
            Kind::Boolean,
            "Train the range tests alone, into the output `NAME-range-test`: what `clr-run range-test SPEC` sets.",
        )
        .boolean(false)
        .no_axis(),
    ],
    open: false,
    examples: &[r#"[range_test]
min_lr      = 0.0
max_lr      = 0.02
spacing     = "linear"
iterations  = "8 epochs"
evaluations = 40
seeds       = [1, 2, 3]
constant    = 21             # or no such key, for a sweep
only        = false

[policies.measured]
kind      = "triangular2"
base_lr   = "auto"           # where accuracy starts to rise
max_lr    = "auto"           # where it slows, becomes ragged or falls
step_size = "auto"           # whole cycles, of about 8 epochs each"#],
};

/// `[policies.NAME]`, apart from the keys of its kind, which are in [`super::kinds`].
pub static POLICY: Section = Section {
    name: "policies.NAME",
    doc: "A learning-rate policy, named by you. It has the keys of its kind of schedule besides, and may override keys of \
          `[model]`, `[data]`, `[train]` and of its optimizers.",
    keys: &[
        Key::new("kind", Kind::Text, "The kind of schedule.").required().no_axis(),
        Key::new("optimizers", Kind::Names, "The optimizers that this policy meets. If absent, all.").no_axis(),
    ],
    open: false,
    examples: &[r#"[policies.long]
kind             = "triangular2"
optimizers       = ["adam"]      # this policy meets only these
base_lr          = 0.0005
max_lr           = [0.002, 0.004]
step_size        = "8 epochs"
train.iterations = 70_000        # overrides: of other tables,
optimizer.beta2  = 0.99          # and of the optimizers that it meets"#],
};

/// `[optimizers.NAME]`; more keys come from the plugin.
pub static OPTIMIZER: Section = Section {
    name: "optimizers.NAME",
    doc: "An optimizer, named by you. Its hyper-parameters and constants come from the plugin, whose `clr-run plugin info NAME` \
          lists them. A hyper-parameter takes a value, an axis, or a schedule. Overrides keys of `[model]`, `[data]` and `[train]`.",
    keys: &[Key::new("kind", Kind::Text, "One of the plugin's optimizers, such as \"nesterov\" or \"adam\".")
        .required()
        .no_axis()],
    open: true,
    examples: &[r#"[optimizers.nesterov]
kind         = "nesterov"
momentum     = { kind = "triangular", base = 0.95, max = 0.85, step_size = 2000 }   # a schedule
weight_decay = [0.0, 0.004]                                                        # an axis"#],
};

pub static GROUP: Section = Section {
    name: "optimizers.NAME.groups",
    doc: "Parameters with a learning rate and a weight decay of their own. Where several groups match one, the last holds.",
    keys: &[
        Key::new(
            "parameters",
            Kind::Names,
            "The names of the parameters, or patterns in which `*` is any text and `?` any character.",
        )
        .required()
        .no_axis(),
        Key::new(
            "lr_mult",
            Kind::Number(Range::NotNegative),
            "The factor of their learning rate, in place of the architecture's own. 0 freezes them.",
        ),
        Key::new(
            "decay_mult",
            Kind::Number(Range::NotNegative),
            "The factor of their weight decay, in place of the architecture's own. 0 is no decay.",
        ),
    ],
    open: false,
    examples: &[r#"[optimizers.nesterov]
kind     = "nesterov"
momentum = 0.9

[[optimizers.nesterov.groups]]
parameters = ["*.bias", "ip1.*"]
decay_mult = 0

[[optimizers.nesterov.groups]]
parameters = "conv1.*"
lr_mult    = [0.1, 1]"#],
};
