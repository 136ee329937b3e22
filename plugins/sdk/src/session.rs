//! The two traits of a plugin, and what a session is made from.

use serde::de::DeserializeOwned;

use crate::{Dataset, Description, Error, Evaluate, Footprint, ParameterInfo, Scores, StepTable};

/// A family of models and optimizers. Implement it on a unit struct and pass that to [`crate::export!`].
pub trait Plugin: 'static {
    /// The sessions that [`Plugin::session`] makes.
    type Session: Session;

    /// Lists the parameters of the model that a configuration describes, in order: for plugins with optimizers that have
    /// `groups` among their options (see [`Lane::options`]). They depend on the model, its options and the dataset's sizes alone.
    const PARAMETERS: Option<ListParameters> = None;

    /// True if its sessions have [`Session::scores`] and [`Session::average_statistics`].
    const HAS_SCORES: bool = false;

    /// The offer of the plugin. Called once.
    fn description() -> Description;

    /// The memory and the numerics of what [`Plugin::session`] would make; the same errors for the same configurations. Allocates nothing big and reads
    /// no pixel: the splits of the dataset have counts but may lack images.
    fn footprint(config: &SessionConfig<'_>) -> Result<Footprint, Error>;

    /// A session with every lane at step 0.
    fn session(config: &SessionConfig<'_>) -> Result<Self::Session, Error>;
}

/// The function of [`Plugin::PARAMETERS`].
pub type ListParameters = fn(&SessionConfig<'_>) -> Result<Vec<ParameterInfo>, Error>;

/// K trials that train together. Calls come one at a time, from any thread.
pub trait Session: Send + 'static {
    /// Trains: for each lane, as many rows as [`StepTable::lane_steps`] asks, each an update and a row of metrics.
    ///
    /// Returning `Ok` before all rows are done is right only when the host has cancelled, between two steps of a lane.
    /// After an error other than `InvalidArgument` and `Unsupported` the session is only dropped.
    fn step(&mut self, table: &mut StepTable<'_>) -> Result<(), Error>;

    /// Measures the active lanes on samples of a split, as they come: without augmentation, dropout and the like.
    /// Changes nothing that a later step can see. Metrics that have no meaning here (grad_norm) are NaN.
    fn evaluate(&mut self, evaluate: &mut Evaluate<'_>) -> Result<(), Error>;

    /// Starts another trial in a lane at step 0, as [`Plugin::session`] would have. On an error the lane is as it was.
    fn reset_lane(&mut self, lane: usize, trial: &Lane<'_>, dataset: &Dataset<'_>) -> Result<(), Error>;

    /// The named tensors that are a lane's whole state, in an order and with names that depend on the model and the
    /// lane's optimizer alone. Called after creation and after each reset.
    fn tensors(&self, lane: usize) -> Vec<Tensor>;

    /// Copies a tensor out, bit for bit. `values` has as many elements as the tensor.
    fn save(&mut self, lane: usize, tensor: usize, values: &mut [f32]) -> Result<(), Error>;

    /// Copies a tensor in, bit for bit. The next step sees it.
    fn load(&mut self, lane: usize, tensor: usize, values: &[f32]) -> Result<(), Error>;

    /// Writes what a lane says of samples, as [`Session::evaluate`] sees them. Changes nothing that a later step can see. Only
    /// asked of plugins with [`Plugin::HAS_SCORES`].
    fn scores(&mut self, scores: &mut Scores<'_>) -> Result<(), Error> {
        let _ = scores;
        Err(Error::unsupported("this session has no scores of single samples"))
    }

    /// Replaces what normalisation remembers of its inputs by plain averages over these training samples, batch by batch,
    /// augmented as in epoch 0: what is remembered does not fit weights that were averaged. (Izmailov et al. 2018, section 3.2.)
    /// Only asked of plugins with [`Plugin::HAS_SCORES`].
    fn average_statistics(&mut self, lane: usize, samples: &[u32], dataset: &Dataset<'_>) -> Result<(), Error> {
        let _ = (lane, samples, dataset);
        Err(Error::unsupported("this session cannot average statistics"))
    }
}

/// The configuration of a session. Borrowed: copy what is kept.
#[derive(Clone, Debug)]
pub struct SessionConfig<'a> {
    /// "cpu", or "cuda:0" and so on.
    pub device: &'a str,
    /// The name of one of the description's models.
    pub model: &'a str,
    /// JSON object: the `[model]` options, and `precision` ("f32" where it is absent).
    pub options: &'a str,
    /// Its splits live as long as the session; each call that needs it passes it again.
    pub dataset: &'a Dataset<'a>,
    /// Samples of a full batch; at least 1.
    pub batch_size: usize,
    /// Compute on at most so many threads at once; at least 1.
    pub thread_count: usize,
    /// The K trials; at least 1.
    pub lanes: Vec<Lane<'a>>,
}

/// One trial of a session.
#[derive(Clone, Copy, Debug)]
pub struct Lane<'a> {
    /// JSON object: `"optimizer"`, the name of one of the description's optimizers, and that optimizer's constants. Where its
    /// schema has the property `groups` also that: a list of `{"parameters": [names], "lr_mult": 0.1, "decay_mult": 0}`, each
    /// parameter in one at most, with multipliers in place of the architecture's own.
    pub options: &'a str,
    /// Decides initial weights and dropout.
    pub init_seed: u64,
    /// Decides augmentation. The order of samples is the host's.
    pub data_seed: u64,
}

/// A named part of a lane's state: float32, row major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Such as "conv1.weight"; the same for every K, lane and device.
    pub name: String,
    /// The tensor's role in the model.
    pub role: Role,
    /// At most six axes.
    pub shape: Vec<usize>,
}

impl Tensor {
    /// How many values it has: the product of its shape.
    pub fn element_count(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The role of a tensor in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Trained by the optimizer.
    Weight,
    /// Kept by the optimizer, such as momentum.
    OptimizerState,
    /// Kept by the model, such as running means.
    Buffer,
}

/// Reads options, with an error that says whose they are (`what`, such as "model options").
pub fn parse_options<T: DeserializeOwned>(json: &str, what: &str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|error| Error::invalid(format!("{what}: {error}")))
}
