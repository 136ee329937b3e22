//! A session on the CPU: K lanes, driven through the plugin ABI.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use clr_kernels::Cpu;
use clr_plugin::{
    Augment, Dataset, Error, Evaluate, LaneSteps, Scores, Session, SessionConfig, Split, StepTable, Tensor,
};

use crate::clock::NoClock;
use crate::columns::{HYPERS, Hypers, MetricsRow};
use crate::executor::{Batch, Workspace};
use crate::lane::Lane;
use crate::model::Model;
use crate::optimizer::LaneOptimizer;
use crate::state::{self, Storage};

/// K networks of one architecture that train side by side.
///
/// While there are lanes enough for all threads, a lane is one thread's work; the rest of the lanes share the threads
/// within their operations. Neither changes a bit.
#[derive(Debug)]
pub(crate) struct CpuSession {
    model: Model,
    lanes: Vec<Lane>,
    threads: Cpu,
    /// For a lane that is one thread's work.
    one_thread: Cpu,
    workspaces: Mutex<Vec<Workspace>>,
}

impl CpuSession {
    pub(crate) fn new(
        config: &SessionConfig<'_>,
        model: Model,
        optimizers: Vec<LaneOptimizer>,
    ) -> Result<CpuSession, Error> {
        let cpu = |thread_count| Cpu::new(thread_count).map_err(|error| Error::device(error.to_string()));
        let lanes = config
            .lanes
            .iter()
            .zip(optimizers)
            .map(|(lane, optimizer)| Lane::new(&model.network, optimizer, lane.init_seed, lane.data_seed));
        let lanes = lanes.collect();
        let workspaces = (0..config.thread_count.min(config.lanes.len())).map(|_| Workspace::new(&model)).collect();
        Ok(CpuSession {
            lanes,
            threads: cpu(config.thread_count)?,
            one_thread: cpu(1)?,
            workspaces: Mutex::new(workspaces),
            model,
        })
    }

    /// Calls `work` for each of the lanes that `inputs` names, on all threads. The first error by order of lanes is
    /// returned.
    fn for_each_lane<I: Send>(
        &mut self,
        inputs: Vec<(usize, I)>,
        work: impl Fn(&Cpu, &Model, &mut Lane, &mut Workspace, I) -> Result<(), Error> + Sync,
    ) -> Result<(), Error> {
        let CpuSession { model, lanes, threads, one_thread, workspaces } = self;
        let workspaces = &*workspaces;
        let mut inputs = inputs.into_iter().peekable();
        let mut tasks: Vec<Task<'_, I>> = Vec::new();
        for (index, lane) in lanes.iter_mut().enumerate() {
            if let Some((_, input)) = inputs.next_if(|(lane, _)| *lane == index) {
                tasks.push(Task { lane, input: Some(input), result: Ok(()) });
            }
        }
        let run = |cpu: &Cpu, task: &mut Task<'_, I>| {
            let Some(input) = task.input.take() else { return };
            // At most as many tasks run at once as there are workspaces: those of the first round never wait in the middle,
            // and those of the second are fewer than the threads.
            let workspace = workspaces.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut workspace = workspace.unwrap_or_else(|| Workspace::new(model));
            task.result = work(cpu, model, task.lane, &mut workspace, input);
            workspaces.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
        };
        let whole_rounds = tasks.len() - tasks.len() % threads.thread_count();
        let (first, rest) = tasks.split_at_mut(whole_rounds);
        threads.for_each_mut(first, |_, task| run(one_thread, task));
        threads.for_each_mut(rest, |_, task| run(threads, task));
        tasks.into_iter().try_for_each(|task| task.result)
    }
}

/// The work of a call on one lane.
struct Task<'a, I> {
    lane: &'a mut Lane,
    input: Option<I>,
    result: Result<(), Error>,
}

impl Session for CpuSession {
    fn step(&mut self, table: &mut StepTable<'_>) -> Result<(), Error> {
        let dataset = table.dataset();
        let inputs = table.lanes().into_iter().map(|steps| (steps.lane(), steps)).collect();
        self.for_each_lane(inputs, |cpu, model, lane, workspace, steps| {
            train(cpu, model, lane, workspace, steps, dataset)
        })
    }

    fn evaluate(&mut self, evaluate: &mut Evaluate<'_>) -> Result<(), Error> {
        let mut results = vec![MetricsRow::default(); self.lanes.len()];
        {
            let request = &*evaluate;
            let rows = results.iter_mut().enumerate();
            let inputs = rows.filter(|(lane, _)| request.active.get(*lane) == Some(&true)).collect();
            self.for_each_lane(inputs, |cpu, model, lane, workspace, row| {
                *row = measure(cpu, model, lane, workspace, request)?;
                Ok(())
            })?;
        }
        if !evaluate.cancelled() {
            for lane in evaluate.active_lanes() {
                evaluate.set(lane, &results[lane][..self.model.metric_count()]);
            }
        }
        Ok(())
    }

    fn reset_lane(&mut self, lane: usize, trial: &clr_plugin::Lane<'_>, _dataset: &Dataset<'_>) -> Result<(), Error> {
        let optimizer = LaneOptimizer::parse(trial.options, &self.model.network)?;
        self.lanes[lane] = Lane::new(&self.model.network, optimizer, trial.init_seed, trial.data_seed);
        Ok(())
    }

    fn tensors(&self, lane: usize) -> Vec<Tensor> {
        state::tensors(&self.model.network, &self.lanes[lane].optimizer)
    }

    fn save(&mut self, lane: usize, tensor: usize, values: &mut [f32]) -> Result<(), Error> {
        values.copy_from_slice(self.tensor(lane, tensor)?);
        Ok(())
    }

    fn load(&mut self, lane: usize, tensor: usize, values: &[f32]) -> Result<(), Error> {
        self.tensor(lane, tensor)?.copy_from_slice(values);
        Ok(())
    }

    fn scores(&mut self, scores: &mut Scores<'_>) -> Result<(), Error> {
        let Range { start, end } = scores.first..scores.first + scores.count;
        self.alone(scores.lane, |cpu, model, lane, workspace| {
            for first in (start..end).step_by(model.batch_size) {
                if scores.cancelled() {
                    break;
                }
                let indices: Vec<u32> =
                    (first..end.min(first + model.batch_size)).map(|sample| sample as u32).collect();
                with_batch(model, workspace, scores.dataset, scores.split, &indices, None, |workspace, batch| {
                    scores.push(lane.logits(cpu, model, workspace, batch));
                })?;
            }
            Ok(())
        })
    }

    fn average_statistics(&mut self, lane: usize, samples: &[u32], dataset: &Dataset<'_>) -> Result<(), Error> {
        self.alone(lane, |cpu, model, lane, workspace| {
            let epochs = vec![0; model.batch_size];
            for (before, batch) in samples.chunks(model.batch_size).enumerate() {
                let augment = Augment { data_seed: lane.data_seed, epochs: &epochs[..batch.len()] };
                with_batch(model, workspace, dataset, Split::Train, batch, Some(augment), |workspace, batch| {
                    lane.average_statistics(cpu, model, workspace, batch, before as u32);
                })?;
            }
            Ok(())
        })
    }
}

impl CpuSession {
    /// Calls `work` for one lane, on all threads.
    fn alone(
        &mut self,
        lane: usize,
        work: impl FnOnce(&Cpu, &Model, &mut Lane, &mut Workspace) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let CpuSession { model, lanes, threads, workspaces, .. } = self;
        let workspaces = workspaces.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(workspace) = workspaces.first_mut() else { return Err(Error::internal("a session of no lanes")) };
        work(threads, model, &mut lanes[lane], workspace)
    }

    /// The values of tensor number `tensor` in the list of [`Session::tensors`].
    fn tensor(&mut self, lane: usize, tensor: usize) -> Result<&mut [f32], Error> {
        let lane_state = &mut self.lanes[lane];
        let found = state::place(&self.model.network, &lane_state.optimizer, tensor).and_then(|place| {
            let values = match place.storage {
                Storage::Weights => &mut lane_state.weights,
                Storage::Optimizer(index) => lane_state.state.get_mut(index)?,
                Storage::Buffers => &mut lane_state.buffers,
            };
            values.get_mut(place.range)
        });
        found.ok_or_else(|| Error::invalid(format!("no tensor {tensor} in lane {lane}")))
    }
}

/// Makes a lane's steps of one call.
fn train(
    cpu: &Cpu,
    model: &Model,
    lane: &mut Lane,
    workspace: &mut Workspace,
    mut steps: LaneSteps<'_>,
    dataset: &Dataset<'_>,
) -> Result<(), Error> {
    while let Some(row) = steps.next_row() {
        let hypers: [f32; HYPERS.len()] =
            row.hypers.try_into().map_err(|_| Error::internal("a row of hyper-parameters of another length"))?;
        let (mut loss, mut correct, mut top5) = (0.0, 0, 0);
        for (part, len) in model.parts(row.samples.len()) {
            let range = part.first..part.first + len;
            let augment = Augment { data_seed: lane.data_seed, epochs: &row.epochs[range.clone()] };
            let samples = &row.samples[range];
            let score = with_batch(model, workspace, dataset, Split::Train, samples, Some(augment), {
                |workspace, batch| lane.differentiate(cpu, model, workspace, batch, part, row.step, &mut NoClock)
            })?;
            loss += f64::from(score.loss);
            (correct, top5) = (correct + score.correct, top5 + score.top5);
        }
        let grad_norm = lane.update(cpu, model, workspace, &Hypers::from(hypers), row.step, &mut NoClock);
        let share = |count: usize| count as f32 / row.samples.len() as f32;
        let metrics: MetricsRow = [loss as f32, share(correct), grad_norm, share(top5)];
        steps.finish_row(&metrics[..model.metric_count()]);
    }
    Ok(())
}

/// Mean loss and accuracies of a lane over the samples that are asked for, batch by batch.
fn measure(
    cpu: &Cpu,
    model: &Model,
    lane: &mut Lane,
    workspace: &mut Workspace,
    request: &Evaluate<'_>,
) -> Result<MetricsRow, Error> {
    let samples = request.first..request.first + request.count;
    let (mut loss, mut correct, mut top5) = (0.0_f64, 0_usize, 0_usize);
    let mut indices = Vec::with_capacity(model.batch_size);
    for first in samples.clone().step_by(model.batch_size) {
        if request.cancelled() {
            break;
        }
        indices.clear();
        indices.extend((first..samples.end.min(first + model.batch_size)).map(|sample| sample as u32));
        let score = with_batch(model, workspace, request.dataset, request.split, &indices, None, {
            |workspace, batch| lane.evaluate(cpu, model, workspace, batch)
        })?;
        loss += f64::from(score.loss) * indices.len() as f64;
        (correct, top5) = (correct + score.correct, top5 + score.top5);
    }
    let mean = |sum: f64| (sum / request.count as f64) as f32;
    // There is no gradient here.
    Ok([mean(loss), mean(correct as f64), f32::NAN, mean(top5 as f64)])
}

/// Fills the workspace's batch and calls `work` with it.
fn with_batch<T>(
    model: &Model,
    workspace: &mut Workspace,
    dataset: &Dataset<'_>,
    split: Split,
    samples: &[u32],
    augment: Option<Augment<'_>>,
    work: impl FnOnce(&mut Workspace, Batch<'_>) -> T,
) -> Result<T, Error> {
    // Taken out while the rest of the workspace is in use.
    let mut images = std::mem::take(&mut workspace.images);
    let mut labels = std::mem::take(&mut workspace.labels);
    let image_len = images.len() / model.batch_size;
    let batch_images = &mut images[..samples.len() * image_len];
    let batch_labels = &mut labels[..samples.len()];
    let filled = dataset.fill_batch(split, samples, augment, batch_images, batch_labels);
    // Labels that stream in were checked by nobody yet.
    let unknown = batch_labels.iter().find(|&&label| label < 0 || label as usize >= model.network.class_count());
    let result = match (filled, unknown) {
        (Err(error), _) => Err(error),
        (Ok(()), Some(label)) => {
            Err(Error::invalid(format!("label {label} in a dataset of {} classes", model.network.class_count())))
        }
        (Ok(()), None) => Ok(work(workspace, Batch { images: batch_images, labels: batch_labels })),
    };
    workspace.images = images;
    workspace.labels = labels;
    result
}
