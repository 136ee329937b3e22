//! From descriptions of networks to a plugin.

use clr_kernels::Cpu;
use clr_kernels::conv2d::Algorithm;
use clr_plugin::{Description, Error, Footprint, ParameterInfo, SessionConfig};
use serde_json::{Map, Value, json};

use crate::columns::{HYPERS, metrics};
use crate::cuda::{self, CudaSession};
use crate::device::{Device, Inner, NetworkSession};
use crate::model::Model;
use crate::network::{BuildError, Network};
use crate::optimizer::LaneOptimizer;
use crate::options::Options;
use crate::session::CpuSession;

/// A plugin's family of networks.
pub trait Family: 'static {
    /// The name that specs use, such as "cifar".
    const NAME: &'static str;
    /// The plugin's own version, usually `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;
    /// Raised by any change to the networks that changes a bit of any result.
    const NUMERICS_REVISION: u32;
    /// The architectures whose metrics have `top5_accuracy` too: the share of samples whose label is among the five largest
    /// scores.
    const TOP5: &'static [&'static str] = &[];

    fn architectures() -> Vec<Architecture>;
}

/// One network of a family.
#[derive(Clone, Debug)]
pub struct Architecture {
    /// The name that specs use, such as "cifar10_full".
    pub name: &'static str,
    /// JSON Schema of its options: an object with `properties`. The engine adds its own, `convolution` and `accumulate`.
    pub options_schema: &'static str,
    /// Hyper-parameters that it was published with; a spec that says nothing gets these.
    pub published: Published,
    /// Describes the network for the input shape and class count that it finds in the [`Network`].
    pub build: fn(&mut Network, &Options) -> Result<(), BuildError>,
}

/// Hyper-parameters that an architecture was published with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Published {
    /// Momentum of stochastic gradient descent.
    pub momentum: f64,
    pub weight_decay: f64,
}

/// Makes a [`Family`] the plugin of this library: `clr_nn::export!(Cifar);`
#[macro_export]
macro_rules! export {
    ($family:ty) => {
        impl $crate::sdk::Plugin for $family {
            type Session = $crate::NetworkSession;

            fn description() -> $crate::sdk::Description {
                $crate::description::<$family>()
            }

            const HAS_SCORES: bool = true;

            const PARAMETERS: Option<$crate::sdk::ListParameters> = Some($crate::parameters::<$family>);

            fn footprint(
                config: &$crate::sdk::SessionConfig<'_>,
            ) -> Result<$crate::sdk::Footprint, $crate::sdk::Error> {
                $crate::footprint::<$family>(config)
            }

            fn session(config: &$crate::sdk::SessionConfig<'_>) -> Result<$crate::NetworkSession, $crate::sdk::Error> {
                $crate::session::<$family>(config)
            }
        }

        $crate::sdk::export!($family);
    };
}

/// Raised by any change to this crate or to the kernels that changes a bit of any result.
const ENGINE_REVISION: u32 = 3;

/// The description of a family's plugin. [`export!`] calls it.
pub fn description<F: Family>() -> Description {
    let models = F::architectures().into_iter().map(|architecture| {
        let Published { momentum, weight_decay } = architecture.published;
        clr_plugin::Model {
            name: architecture.name,
            options_schema: options_schema(&architecture),
            defaults: json!({"momentum": momentum, "weight_decay": weight_decay}).to_string(),
            hypers: HYPERS.to_vec(),
            metrics: metrics(F::TOP5.contains(&architecture.name)).to_vec(),
        }
    });
    Description {
        name: F::NAME,
        version: F::VERSION,
        numerics_revision: 1000 * ENGINE_REVISION + F::NUMERICS_REVISION,
        devices: vec!["cpu", "cuda"],
        models: models.collect(),
        optimizers: LaneOptimizer::descriptions(),
    }
}

/// The memory and the numerics of a session. [`export!`] calls it.
pub fn footprint<F: Family>(config: &SessionConfig<'_>) -> Result<Footprint, Error> {
    let device = Device::new(config)?;
    let model = model::<F>(config, device)?;
    let optimizers = optimizers(config, &model.network)?;
    if let Device::Cuda { ordinal, precision } = device {
        return cuda::footprint(config, &model, &optimizers, ordinal, precision);
    }
    // Not `Cpu::new`, which would start threads.
    let cpu = Cpu::new(1).map_err(|error| Error::device(error.to_string()))?;
    let state_count = optimizers.iter().map(|optimizer| optimizer.state_names().len()).max().unwrap_or(0);
    // Lanes take turns with as many workspaces as there are threads. Fewer lanes than that have one each.
    Ok(Footprint {
        bytes_shared: model.workspace_bytes() * config.thread_count.min(config.lanes.len()) as u64,
        bytes_per_lane: model.lane_bytes(state_count),
        numerics: cpu.isa().name().to_owned(),
    })
}

/// A session. [`export!`] calls it.
pub fn session<F: Family>(config: &SessionConfig<'_>) -> Result<NetworkSession, Error> {
    let device = Device::new(config)?;
    let model = model::<F>(config, device)?;
    let optimizers = optimizers(config, &model.network)?;
    Ok(NetworkSession(match device {
        Device::Cpu => Inner::Cpu(Box::new(CpuSession::new(config, model, optimizers)?)),
        Device::Cuda { ordinal, precision } => {
            Inner::Cuda(Box::new(CudaSession::new(config, model, optimizers, ordinal, precision)?))
        }
    }))
}

/// The parameters of a network. [`export!`] calls it.
pub fn parameters<F: Family>(config: &SessionConfig<'_>) -> Result<Vec<ParameterInfo>, Error> {
    let (network, _) = network::<F>(config)?;
    let parameters = network.parameters().iter().map(|slot| ParameterInfo {
        name: slot.name.clone(),
        value_count: slot.range.len(),
        lr_mult: slot.parameter.lr_mult,
        decay_mult: slot.parameter.decay_mult,
    });
    Ok(parameters.collect())
}

/// The network that a configuration asks for, as it runs on a device.
pub(crate) fn model<F: Family>(config: &SessionConfig<'_>, device: Device) -> Result<Model, Error> {
    let (network, accumulate) = network::<F>(config)?;
    let batch_size = config.batch_size / accumulate;
    let model = match device {
        Device::Cpu => Model::on_cpu(network, batch_size, config.thread_count),
        Device::Cuda { .. } => Model::on_gpu(network, batch_size),
    };
    let has_top5 = F::TOP5.contains(&config.model);
    Ok(Model { has_top5, ..model.accumulating(accumulate) })
}

/// The network that a configuration asks for, and of how many batches an update is.
fn network<F: Family>(config: &SessionConfig<'_>) -> Result<(Network, usize), Error> {
    let architectures = F::architectures();
    let Some(architecture) = architectures.iter().find(|architecture| architecture.name == config.model) else {
        let known: Vec<&str> = architectures.iter().map(|architecture| architecture.name).collect();
        return Err(Error::invalid(format!("unknown model `{}`: expected one of {}", config.model, known.join(", "))));
    };
    let mut given: Map<String, Value> = serde_json::from_str(config.options)
        .map_err(|error| Error::invalid(format!("the options of model {}: {error}", architecture.name)))?;
    // The device's.
    given.shift_remove("precision");
    let accumulate = accumulate(given.shift_remove("accumulate"), config.batch_size)?;
    let what = format!("the options of model {}", architecture.name);
    let options = Options::parse(&Value::Object(given).to_string(), &options_schema(architecture), &what)?;
    let algorithm = match options.text("convolution") {
        Some("direct") => Algorithm::Direct,
        _ => Algorithm::Auto,
    };
    let network = Network::new(config.dataset.input_shape(), config.dataset.class_count());
    let mut network = network.convolved_by(algorithm);
    let network = (architecture.build)(&mut network, &options).and_then(|()| network.finish());
    let network = network.map_err(|error| Error::unsupported(format!("{}: {error}", architecture.name)))?;
    Ok((network, accumulate))
}

/// In how many batches an update of `update_size` samples is computed.
fn accumulate(option: Option<Value>, update_size: usize) -> Result<usize, Error> {
    let Some(option) = option else { return Ok(1) };
    let parts = option.as_u64().and_then(|parts| usize::try_from(parts).ok());
    parts.filter(|&parts| parts > 0 && update_size.is_multiple_of(parts)).ok_or_else(|| {
        let expected = format!("expected a number of equal parts of the {update_size} samples of an update");
        Error::invalid(format!("`accumulate` is {option}: {expected}"))
    })
}

/// The schema of an architecture's options, with those that all networks have.
fn options_schema(architecture: &Architecture) -> String {
    let Ok(Value::Object(mut schema)) = serde_json::from_str(architecture.options_schema) else {
        return architecture.options_schema.to_owned(); // Reading options by it will say what is wrong.
    };
    if let Value::Object(properties) = schema.entry("properties").or_insert_with(|| json!({})) {
        let convolution = json!({
            "type": "string", "enum": ["auto", "direct"], "default": "auto",
            "description": "how the CPU computes convolutions. direct: each product by itself; auto: 3x3 and 5x5 kernels \
                by Winograd's filtering where that is faster, which rounds more",
        });
        properties.insert("convolution".to_owned(), convolution);
        let accumulate = json!({
            "type": "integer", "minimum": 1,
            "description": "batches whose gradients make one update; a spec sets it as train.accumulate",
        });
        properties.insert("accumulate".to_owned(), accumulate);
    }
    Value::Object(schema).to_string()
}

pub(crate) fn optimizers(config: &SessionConfig<'_>, network: &Network) -> Result<Vec<LaneOptimizer>, Error> {
    config.lanes.iter().map(|lane| LaneOptimizer::parse(lane.options, network)).collect()
}
