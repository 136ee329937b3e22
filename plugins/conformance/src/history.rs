//! The inputs of each trial, and its results when it ran alone: a trial's history is a function of the trial and the
//! step, however the steps are cut into calls.

use crate::driver::{Rig, Session, Setup, Table, UNTOUCHED};
use crate::inputs::{DataSize, Images, Trial};
use crate::offer::{OfferedModel, OfferedOptimizer};
use crate::report::Verdict;

/// Updates that each trial makes. The third has a partial batch, and so has no full epoch behind it.
pub(crate) const STEPS: u32 = 4;

/// The results of a trial that is alone in its session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reference {
    /// Metrics of each step.
    pub(crate) rows: Vec<Vec<f32>>,
    /// Metrics on the test split after the last step.
    pub(crate) evaluation: Vec<f32>,
    /// Tensors after the last step; none without clr.state/1.
    pub(crate) state: Option<Vec<Vec<f32>>>,
}

/// A model with trials to run.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    pub(crate) rig: &'a Rig,
    pub(crate) device: &'a str,
    pub(crate) model: &'a OfferedModel,
    pub(crate) options: String,
    pub(crate) images: Images,
    pub(crate) batch_size: u32,
    pub(crate) trials: Vec<Trial>,
    pub(crate) references: Vec<Reference>,
}

impl<'a> Bench<'a> {
    /// Runs each trial alone: one of each optimizer with the first model, three with the others. One of the others may be
    /// well-formed and not supported here, where it needs a package that is not installed: then it is skipped.
    pub(crate) fn new(rig: &'a Rig, device: &'a str, model: usize, size: &DataSize) -> Result<Bench<'a>, Verdict> {
        let optimizers = &rig.offer().optimizers;
        let count = if model == 0 { optimizers.len().max(3) } else { 3 };
        let trials = (0..count).map(|index| {
            let OfferedOptimizer { name, example, .. } = &optimizers[index % optimizers.len()];
            let mut options = example.clone();
            options.insert("optimizer".to_owned(), name.as_str().into());
            Trial {
                options: serde_json::Value::Object(options).to_string(),
                optimizer: name.clone(),
                init_seed: 100 + index as u64,
                // The first two share theirs, as paired trials do.
                data_seed: 200 + (index / 2) as u64,
            }
        });
        let mut bench = Bench {
            rig,
            device,
            model: &rig.offer().models[model],
            options: serde_json::Value::Object(rig.offer().models[model].example.clone()).to_string(),
            images: Images::new(size),
            batch_size: size.batch_size.max(2),
            trials: trials.collect(),
            references: Vec::new(),
        };
        if model > 0
            && let Err(failure) = rig.create(&bench.setup(&[0]), &bench.images)
            && failure.status == clr_abi::UNSUPPORTED
        {
            return Err(Verdict::Skipped(failure.message));
        }
        bench.refer()?;
        Ok(bench)
    }

    /// The model's options with one more.
    pub(crate) fn options_and(&self, name: &str, value: impl Into<serde_json::Value>) -> String {
        let mut options = self.model.example.clone();
        options.insert(name.to_owned(), value.into());
        serde_json::Value::Object(options).to_string()
    }

    /// The first `count` trials with other options of the model.
    pub(crate) fn with_options(&self, options: String, count: usize) -> Result<Bench<'a>, Verdict> {
        let &Bench { rig, device, model, ref images, batch_size, ref trials, .. } = self;
        let (images, trials, references) = (images.clone(), trials[..count].to_vec(), Vec::new());
        let mut bench = Bench { rig, device, model, options, images, batch_size, trials, references };
        bench.refer()?;
        Ok(bench)
    }

    fn refer(&mut self) -> Result<(), Verdict> {
        let references = (0..self.trials.len()).map(|trial| self.reference(trial));
        self.references = references.collect::<Result<_, _>>()?;
        Ok(())
    }

    fn reference(&self, trial: usize) -> Result<Reference, Verdict> {
        let mut run = self.start(&[trial])?;
        run.advance(&[STEPS])?;
        Ok(Reference {
            rows: run.rows.remove(0),
            evaluation: run.evaluate()?.remove(0),
            state: if self.rig.has_state() { Some(run.session.save(0)?) } else { None },
        })
    }

    /// That numbers are there and plausible.
    pub(crate) fn sanity(&self) -> Verdict {
        for (trial, reference) in self.trials.iter().zip(&self.references) {
            for (metric, name) in self.model.metrics.iter().enumerate() {
                let first = reference.rows[0][metric];
                let last = reference.evaluation[metric];
                for (value, what) in [(first, "step 0"), (last, "an evaluation")] {
                    let problem = format!("{}: {name} of {what} is {value}", trial.optimizer);
                    match name.as_str() {
                        "loss" if !value.is_finite() => return Verdict::Failed(problem),
                        "accuracy" if !(0.0..=1.0).contains(&value) => return Verdict::Failed(problem),
                        _ => {}
                    }
                }
            }
        }
        Verdict::Passed
    }

    pub(crate) fn setup(&self, trials: &[usize]) -> Setup {
        Setup {
            device: self.device.to_owned(),
            model: self.model.name.clone(),
            options: self.options.clone(),
            trials: trials.iter().map(|&trial| self.trials[trial].clone()).collect(),
            batch_size: self.batch_size,
            thread_count: 1,
            streamed: false,
            appended: 0,
            config_size: None,
            lane_size: None,
        }
    }

    /// All trials, in order.
    pub(crate) fn all(&self) -> Vec<usize> {
        (0..self.trials.len()).collect()
    }

    pub(crate) fn start(&self, trials: &[usize]) -> Result<Run<'_>, Verdict> {
        self.start_as(trials, &self.setup(trials))
    }

    /// As `start`, with another setup for the same trials.
    pub(crate) fn start_as(&self, trials: &[usize], setup: &Setup) -> Result<Run<'_>, Verdict> {
        let session = self.rig.create(setup, &self.images)?;
        let lanes = trials.len();
        Ok(Run {
            bench: self,
            session,
            trials: trials.to_vec(),
            positions: vec![0; lanes],
            first_rows: vec![0; lanes],
            rows: vec![Vec::new(); lanes],
        })
    }

    /// The hypers of a trial at a step.
    pub(crate) fn hypers(&self, trial: usize, step: u64) -> impl Iterator<Item = f32> + '_ {
        self.model.hypers.iter().map(move |name| {
            let published = self.model.defaults.get(name).and_then(serde_json::Value::as_f64);
            match (name.as_str(), published) {
                ("lr", _) => 0.01 * (1.0 + 0.25 * step as f32) * (1.0 + 0.1 * trial as f32),
                (_, Some(value)) => value as f32,
                ("weight_decay", None) => 0.001,
                ("momentum" | "beta1", None) => 0.9,
                ("beta2", None) => 0.99,
                (_, None) => 0.5,
            }
        })
    }

    /// Samples of the batch at a step; the same for all trials, as for paired ones.
    fn sample_count(&self, step: u64) -> u32 {
        if step % 3 == 2 { self.batch_size - 1 } else { self.batch_size }
    }

    /// Index and epoch of a sample of the batch at a step.
    fn sample(&self, step: u64, index: u32) -> (u32, u32) {
        let train_count = self.images.labels[0].len() as u64;
        let position = step * u64::from(self.batch_size) + u64::from(index);
        // A permutation, other than the identity: 3 and 7 have no common divisor.
        ((position * 3 % train_count) as u32, (position / train_count) as u32)
    }

    /// The tables of a call: lane k runs `trials[k]` from `positions[k]`. What `lane_steps` excludes is nonsense.
    pub(crate) fn table(&self, trials: &[usize], positions: &[u64], lane_steps: &[u32], shared: bool) -> Table {
        let lanes = trials.len();
        let step_count = lane_steps.iter().copied().max().unwrap_or(0).max(1) as usize;
        let sample_lane_count = if shared { 1 } else { lanes };
        let mut table = Table {
            step_count,
            sample_lane_count,
            first_steps: positions.to_vec(),
            lane_steps: lane_steps.to_vec(),
            ..Table::default()
        };
        for step in 0..step_count {
            for lane in 0..sample_lane_count {
                let position = positions[lane] + step as u64;
                let is_read = shared || step < lane_steps[lane] as usize;
                let count = if is_read { self.sample_count(position) } else { 0 };
                table.sample_counts.push(count);
                for index in 0..self.batch_size {
                    let (sample, epoch) =
                        if index < count { self.sample(position, index) } else { (u32::MAX, u32::MAX) };
                    table.samples.push(sample);
                    table.epochs.push(epoch);
                }
            }
            for lane in 0..lanes {
                if step < lane_steps[lane] as usize {
                    table.hypers.extend(self.hypers(trials[lane], positions[lane] + step as u64));
                } else {
                    table.hypers.extend(self.model.hypers.iter().map(|_| f32::NAN));
                }
            }
        }
        table
    }
}

/// Trials that run in the lanes of a session.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) bench: &'a Bench<'a>,
    pub(crate) session: Session<'a>,
    pub(crate) trials: Vec<usize>,
    /// Updates that each lane has behind it.
    pub(crate) positions: Vec<u64>,
    /// The step of the first of `rows`.
    pub(crate) first_rows: Vec<usize>,
    /// Metrics of each lane's steps.
    pub(crate) rows: Vec<Vec<Vec<f32>>>,
}

impl Run<'_> {
    pub(crate) fn advance(&mut self, lane_steps: &[u32]) -> Result<(), Verdict> {
        let table = self.bench.table(&self.trials, &self.positions, lane_steps, false);
        self.call(&table)
    }

    /// One call with the samples of lane 0 for all.
    pub(crate) fn advance_shared(&mut self, lane_steps: &[u32]) -> Result<(), Verdict> {
        let table = self.bench.table(&self.trials, &self.positions, lane_steps, true);
        self.call(&table)
    }

    fn call(&mut self, table: &Table) -> Result<(), Verdict> {
        let stepped = self.session.step(table)?;
        if stepped.cancelled || stepped.done != table.lane_steps {
            let (asked, done) = (&table.lane_steps, stepped.done);
            return Err(format!("asked for {asked:?} steps, lane_steps_done is {done:?}").into());
        }
        self.take_rows(table, &stepped.done, &stepped.metrics)
    }

    /// Notes the metrics of steps done, and that no others were written.
    pub(crate) fn take_rows(&mut self, table: &Table, done: &[u32], metrics: &[f32]) -> Result<(), Verdict> {
        let (lanes, columns) = (self.trials.len(), self.bench.model.metrics.len());
        for (index, row) in metrics.chunks_exact(columns).enumerate() {
            let (step, lane) = (index / lanes, index % lanes);
            let untouched = |value: &f32| value.to_bits() == UNTOUCHED.to_bits();
            if step < done[lane] as usize {
                if row.iter().any(untouched) {
                    return Err(format!("lane {lane}: a metric of step {step} of the call was not written").into());
                }
                self.rows[lane].push(row.to_vec());
            } else if !row.iter().all(untouched) {
                let asked = table.lane_steps[lane];
                return Err(format!("lane {lane}: metrics of step {step} were written; asked for {asked} steps").into());
            }
        }
        for (position, &done) in self.positions.iter_mut().zip(done) {
            *position += u64::from(done);
        }
        Ok(())
    }

    /// Puts another trial into a lane.
    pub(crate) fn reset(&mut self, lane: usize, trial: usize) -> Result<(), Verdict> {
        self.session.reset(lane, &self.bench.trials[trial])?;
        self.trials[lane] = trial;
        self.positions[lane] = 0;
        self.first_rows[lane] = 0;
        self.rows[lane].clear();
        Ok(())
    }

    /// Metrics of each lane on the whole test split.
    pub(crate) fn evaluate(&mut self) -> Result<Vec<Vec<f32>>, Verdict> {
        let count = self.bench.images.labels[2].len() as u64;
        let metrics = self.session.evaluate(clr_abi::TEST, 0..count, &vec![1; self.trials.len()])?;
        Ok(metrics.chunks_exact(self.bench.model.metrics.len()).map(<[f32]>::to_vec).collect())
    }

    /// That each lane's rows, and, where it has made all steps, its evaluation and state are those of its trial alone.
    pub(crate) fn check(&mut self) -> Result<(), Verdict> {
        let evaluations = self.evaluate()?;
        for (lane, &trial) in self.trials.iter().enumerate() {
            let reference = &self.bench.references[trial];
            let what = format!("{} in lane {lane} of {}", self.bench.trials[trial].optimizer, self.trials.len());
            for (index, row) in self.rows[lane].iter().enumerate() {
                let step = self.first_rows[lane] + index;
                self.compare(&format!("{what}, step {step}"), row, &reference.rows[step])?;
            }
            if self.positions[lane] == u64::from(STEPS) {
                self.compare(&format!("{what}, evaluation"), &evaluations[lane], &reference.evaluation)?;
                if let Some(expected) = &reference.state {
                    let state = self.session.save(lane)?;
                    if !state
                        .iter()
                        .flatten()
                        .map(|value| value.to_bits())
                        .eq(expected.iter().flatten().map(|value| value.to_bits()))
                    {
                        return Err(
                            format!("{what}: its state after the last step differs from the trial's alone").into()
                        );
                    }
                }
            }
        }
        Ok(())
    }

    fn compare(&self, what: &str, found: &[f32], expected: &[f32]) -> Result<(), Verdict> {
        for ((name, &found), &expected) in self.bench.model.metrics.iter().zip(found).zip(expected) {
            // Which NaN it is does not matter.
            if found.to_bits() != expected.to_bits() && !(found.is_nan() && expected.is_nan()) {
                return Err(format!(
                    "{what}: {name} is {found:e}; of the trial alone, in one call, it is {expected:e}"
                )
                .into());
            }
        }
        Ok(())
    }
}
