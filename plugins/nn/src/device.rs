//! A session on the device that it was asked for.

use clr_kernels::cuda::Precision;
use clr_plugin::{Dataset, Error, Evaluate, Lane, Scores, Session, SessionConfig, StepTable, Tensor};
use serde_json::{Map, Value};

use crate::cuda::{CudaSession, precision_name};
use crate::session::CpuSession;

/// K networks of one architecture that train side by side, on the CPU or on a GPU.
#[derive(Debug)]
pub struct NetworkSession(pub(crate) Inner);

#[derive(Debug)]
pub(crate) enum Inner {
    Cpu(Box<CpuSession>),
    Cuda(Box<CudaSession>),
}

/// A device, and how it computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    Cpu,
    /// The GPU of this number.
    Cuda {
        ordinal: usize,
        precision: Precision,
    },
}

impl Device {
    /// The device that a configuration asks for.
    ///
    /// # Errors
    /// That it is none, or cannot compute in the precision that the options ask for.
    pub fn new(config: &SessionConfig<'_>) -> Result<Device, Error> {
        // What else is wrong with the options, whoever reads the rest of them says.
        let options: Map<String, Value> = serde_json::from_str(config.options).unwrap_or_default();
        let precision = options.get("precision").map_or(Some(Precision::Float32), |name| {
            let all = [Precision::Float32, Precision::Tf32, Precision::Bf16];
            all.into_iter().find(|precision| name == precision_name(*precision))
        });
        let asked = || options.get("precision").unwrap_or(&Value::Null);
        if config.device == "cpu" {
            return match precision {
                Some(Precision::Float32) => Ok(Device::Cpu),
                _ => Err(Error::unsupported(format!("precision {}: the CPU computes in \"f32\"", asked()))),
            };
        }
        let ordinal = config.device.strip_prefix("cuda:").and_then(|ordinal| ordinal.parse().ok());
        let Some(ordinal) = ordinal else {
            return Err(Error::unsupported(format!("device {}: expected cpu, or cuda:0 and so on", config.device)));
        };
        let Some(precision) = precision else {
            let expected = "a GPU computes in \"f32\", \"tf32\" or \"bf16\"";
            return Err(Error::unsupported(format!("precision {}: {expected}", asked())));
        };
        Ok(Device::Cuda { ordinal, precision })
    }
}

impl NetworkSession {
    fn session(&self) -> &dyn Session {
        match &self.0 {
            Inner::Cpu(session) => &**session,
            Inner::Cuda(session) => &**session,
        }
    }

    fn session_mut(&mut self) -> &mut dyn Session {
        match &mut self.0 {
            Inner::Cpu(session) => &mut **session,
            Inner::Cuda(session) => &mut **session,
        }
    }
}

impl Session for NetworkSession {
    fn step(&mut self, table: &mut StepTable<'_>) -> Result<(), Error> {
        self.session_mut().step(table)
    }

    fn evaluate(&mut self, evaluate: &mut Evaluate<'_>) -> Result<(), Error> {
        self.session_mut().evaluate(evaluate)
    }

    fn reset_lane(&mut self, lane: usize, trial: &Lane<'_>, dataset: &Dataset<'_>) -> Result<(), Error> {
        self.session_mut().reset_lane(lane, trial, dataset)
    }

    fn tensors(&self, lane: usize) -> Vec<Tensor> {
        self.session().tensors(lane)
    }

    fn save(&mut self, lane: usize, tensor: usize, values: &mut [f32]) -> Result<(), Error> {
        self.session_mut().save(lane, tensor, values)
    }

    fn load(&mut self, lane: usize, tensor: usize, values: &[f32]) -> Result<(), Error> {
        self.session_mut().load(lane, tensor, values)
    }

    fn scores(&mut self, scores: &mut Scores<'_>) -> Result<(), Error> {
        self.session_mut().scores(scores)
    }

    fn average_statistics(&mut self, lane: usize, samples: &[u32], dataset: &Dataset<'_>) -> Result<(), Error> {
        self.session_mut().average_statistics(lane, samples, dataset)
    }
}
