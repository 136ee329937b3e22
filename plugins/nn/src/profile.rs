//! A profile: the time of each part of a training step.

use std::fmt;
use std::time::{Duration, Instant};

use clr_kernels::Cpu;
use clr_plugin::{Augment, Error, SessionConfig, Split};

use crate::architecture::{Family, model, optimizers};
use crate::clock::{Clock, Phase};
use crate::columns::{HYPERS, Hypers};
use crate::device::Device;
use crate::executor::{Batch, Workspace};
use crate::lane::Lane;
use crate::model::Model;
use crate::program::Instruction;

/// The time of each part of a training step of one lane, on all threads: each the least over the steps that were made. Prints
/// as a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The network's nodes, as they run.
    pub nodes: Vec<NodeTime>,
    /// Making a batch of floats from the dataset's bytes.
    pub batch: Duration,
    /// Softmax, cross-entropy and their gradient.
    pub loss: Duration,
    /// The gradient's norm and the update of all parameters.
    pub update: Duration,
    /// A whole step, its batch included.
    pub step: Duration,
    /// Bytes that lanes of one thread share, and bytes of each lane.
    pub bytes: [u64; 2],
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |time: Duration| 1e3 * time.as_secs_f64();
        let mut line = |name: &str, forward, backward| {
            writeln!(f, "    {name:36} {:7.2} forward {:7.2} backward", milliseconds(forward), milliseconds(backward))
        };
        let (mut forward, mut backward) = (Duration::ZERO, Duration::ZERO);
        for node in &self.nodes {
            line(&node.name, node.forward, node.backward)?;
            (forward, backward) = (forward + node.forward, backward + node.backward);
        }
        line("all nodes", forward, backward)?;
        let [batch, loss, update, step] = [self.batch, self.loss, self.update, self.step].map(milliseconds);
        let [shared, lane] = self.bytes.map(|bytes| bytes as f64 / f64::from(1 << 20));
        writeln!(f, "    batch {batch:.2}, loss {loss:.2}, norm and update {update:.2}, a step in all {step:.2}")?;
        write!(f, "    {shared:.1} MiB for each thread, {lane:.1} MiB for each lane")
    }
}

/// The time of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeTime {
    /// Its layer's name, and what runs fused with it.
    pub name: String,
    /// In the forward pass.
    pub forward: Duration,
    /// In the backward pass.
    pub backward: Duration,
}

/// The least time of each instruction of a training step, and of the update.
struct Stopwatch {
    instructions: Vec<Duration>,
    update: Duration,
}

impl Clock for Stopwatch {
    fn time<R>(&mut self, phase: Phase, run: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = run();
        let least = match phase {
            Phase::Instruction(index) => &mut self.instructions[index],
            Phase::Update => &mut self.update,
        };
        *least = start.elapsed().min(*least);
        result
    }
}

impl Stopwatch {
    /// The times of the nodes, and of the loss.
    fn by_node(&self, model: &Model) -> (Vec<NodeTime>, Duration) {
        let zero = Duration::ZERO;
        let nodes = model.network.nodes().iter();
        let mut nodes: Vec<_> =
            nodes.map(|node| NodeTime { name: node.name.clone(), forward: zero, backward: zero }).collect();
        let mut loss = zero;
        for (instruction, &time) in model.program.training.iter().zip(&self.instructions) {
            match *instruction {
                Instruction::Forward { node, .. } => nodes[node].forward += time,
                Instruction::Score { .. } => loss += time,
                Instruction::Backward { node, .. }
                | Instruction::Copy { node, .. }
                | Instruction::Accumulate { node, .. } => nodes[node].backward += time,
            }
        }
        (nodes, loss)
    }
}

/// Makes `steps` training steps of the configuration's first lane on the first batch of its dataset, and times them.
///
/// # Errors
/// As for a session of the configuration; or the dataset's train split is smaller than a batch.
pub fn profile<F: Family>(config: &SessionConfig<'_>, steps: usize) -> Result<Profile, Error> {
    if Device::new(config)? != Device::Cpu {
        return Err(Error::unsupported(format!("device {}: profiles are of the CPU", config.device)));
    }
    let model = model::<F>(config, Device::Cpu)?;
    let optimizer = optimizers(config, &model.network)?
        .into_iter()
        .next()
        .ok_or_else(|| Error::invalid("a session of no lanes"))?;
    let cpu = Cpu::new(config.thread_count).map_err(|error| Error::device(error.to_string()))?;
    let state_count = optimizer.state_names().len();
    let mut lane = Lane::new(&model.network, optimizer, config.lanes[0].init_seed, config.lanes[0].data_seed);
    let mut workspace = Workspace::new(&model);
    let never = if steps == 0 { Duration::ZERO } else { Duration::MAX };
    let mut stopwatch = Stopwatch { instructions: vec![never; model.program.training.len()], update: never };
    let [mut batch_time, mut step_time] = [never; 2];
    let samples: Vec<u32> = (0..model.batch_size as u32).collect();
    let epochs = vec![0; samples.len()];
    let (mut images, mut labels) = (workspace.images.clone(), workspace.labels.clone());
    for step in 0..steps as u64 {
        let start = Instant::now();
        let augment = Augment { data_seed: lane.data_seed, epochs: &epochs };
        config.dataset.fill_batch(Split::Train, &samples, Some(augment), &mut images, &mut labels)?;
        batch_time = start.elapsed().min(batch_time);
        // Plain values: a learning rate that leaves the network where it is.
        let hypers = Hypers::from([1e-6; HYPERS.len()]);
        let batch = Batch { images: &images, labels: &labels };
        lane.train(&cpu, &model, &mut workspace, batch, &hypers, step, &mut stopwatch);
        step_time = start.elapsed().min(step_time);
    }
    let (nodes, loss) = stopwatch.by_node(&model);
    let bytes = [model.workspace_bytes(), model.lane_bytes(state_count)];
    Ok(Profile { nodes, batch: batch_time, loss, update: stopwatch.update, step: step_time, bytes })
}
