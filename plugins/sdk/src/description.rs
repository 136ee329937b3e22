//! The description of a plugin, before any session exists.

/// The offer of a plugin. Cheap to make: no device, no file.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The name that specs use, such as "cifar".
    pub name: &'static str,
    /// The plugin's own version, such as "0.1.0".
    pub version: &'static str,
    /// Raised by any change that changes a bit of any result.
    pub numerics_revision: u32,
    /// Kinds of device that it was built for: "cpu", "cuda".
    pub devices: Vec<&'static str>,
    /// Architectures, each with its options.
    pub models: Vec<Model>,
    /// Every optimizer works with every model.
    pub optimizers: Vec<Optimizer>,
}

/// An architecture that specs can name.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The name that specs use, such as "cifar10_full".
    pub name: &'static str,
    /// JSON Schema of the options in a spec's `[model]`: types, defaults, docs.
    pub options_schema: String,
    /// A JSON object: hyper-parameters and optimizer constants that the architecture was published with, such as
    /// `{"weight_decay": 0.004}`. A spec that says nothing gets these.
    pub defaults: String,
    /// Columns that may be scheduled, such as "lr", "momentum", "weight_decay": those of all optimizers together.
    pub hypers: Vec<&'static str>,
    /// Columns per iteration; "loss" and "accuracy" are among them.
    pub metrics: Vec<&'static str>,
}

/// An optimizer that specs can name.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimizer {
    /// The name that specs use, such as "nesterov".
    pub name: &'static str,
    /// JSON Schema of its constants: what is set once for a trial and cannot be scheduled.
    pub options_schema: String,
    /// The hyper-parameter columns that it reads, a subset of every model's. The rest are ignored.
    pub hypers: Vec<&'static str>,
}

/// A parameter of a model: a tensor that is trained ([`crate::Role::Weight`]).
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterInfo {
    /// That of its tensor.
    pub name: String,
    /// How many values it has.
    pub value_count: usize,
    /// The architecture's multiplier of its learning rate; usually 1.
    pub lr_mult: f32,
    /// And its weight decay; usually 1.
    pub decay_mult: f32,
}

/// The memory and the numerics of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Memory of the device, whatever the number of lanes.
    pub bytes_shared: u64,
    /// Memory of the device for each lane, enough for the hungriest lane of the configuration.
    pub bytes_per_lane: u64,
    /// The numerics that decide the bits besides the revision: backend and instruction-set path or GPU generation, such
    /// as "cpu-avx2" or "cuda-sm90". At most 60 bytes.
    pub numerics: String,
}
