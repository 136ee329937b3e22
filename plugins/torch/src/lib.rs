//! PyTorch modules as a plugin: a `torch.nn.Module` from a file of the user's, or from torchvision or timm, trained by torch.
//!
//! The library starts a Python with torch as a child of its process, and a copy of that for each trial. Images come through shared
//! memory, transformed as for every other plugin; what Python is asked to do, and what it answers, goes through sockets. All that
//! Python does is in `clr_torch.py`, which is part of the library.
//!
//! - `options.rs`: what a spec may ask, and the schemas that say so;
//! - `python.rs` and `channel.rs`: processes, and messages to them;
//! - `lane.rs` and `session.rs`: trials.
//!
//! Python goes where the worker goes, even if that is killed: it asks the system to be killed with it.

mod channel;
mod lane;
mod options;
mod python;
mod session;

use clr_plugin::{Description, Error, Footprint, ListParameters, ParameterInfo, Plugin, SessionConfig};

use crate::lane::Setting;
use crate::options::LaneOptions;
use crate::session::TorchSession;

pub struct Torch;

clr_plugin::export!(Torch);

impl Plugin for Torch {
    type Session = TorchSession;

    const PARAMETERS: Option<ListParameters> = Some(parameters);

    const HAS_SCORES: bool = true;

    fn description() -> Description {
        Description {
            name: "torch",
            version: env!("CARGO_PKG_VERSION"),
            numerics_revision: 1,
            devices: vec!["cpu", "cuda"],
            models: options::models(),
            optimizers: options::optimizers(),
        }
    }

    fn footprint(config: &SessionConfig<'_>) -> Result<Footprint, Error> {
        let answer = probe(config)?;
        let numerics = answer["numerics"].as_str().unwrap_or_default().to_owned();
        let bytes_per_lane = BYTES_OF_PYTHON + answer["bytes_per_lane"].as_u64().unwrap_or(0);
        Ok(Footprint { bytes_shared: BYTES_OF_PYTHON, bytes_per_lane, numerics })
    }

    fn session(config: &SessionConfig<'_>) -> Result<TorchSession, Error> {
        TorchSession::new(config)
    }
}

/// About what a Python with torch takes that shares its libraries with others.
const BYTES_OF_PYTHON: u64 = 200 << 20;

fn probe(config: &SessionConfig<'_>) -> Result<serde_json::Value, Error> {
    let lanes = config.lanes.iter().map(|lane| LaneOptions::parse(lane.options));
    let lanes = lanes.collect::<Result<Vec<_>, _>>()?;
    Setting::new(config)?.probe(&lanes)
}

/// What the model trains, by name.
fn parameters(config: &SessionConfig<'_>) -> Result<Vec<ParameterInfo>, Error> {
    let listed: Vec<(String, usize)> = serde_json::from_value(probe(config)?["parameters"].take())
        .map_err(|error| Error::internal(format!("Python's list of parameters: {error}")))?;
    let info = |(name, value_count)| ParameterInfo { name, value_count, lr_mult: 1.0, decay_mult: 1.0 };
    Ok(listed.into_iter().map(info).collect())
}
