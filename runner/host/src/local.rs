//! A session in this process.
#![allow(unsafe_code)]

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;

use clr_abi::floating_point::kept;

use super::call::{CallSizes, Completion, StepCall};
use super::config::{BorrowedConfig, Lane, SessionConfig};
use super::info::{Role, TensorInfo, check_sizes, check_tensor};
use super::library::{EnsembleFunctions, Plugin, StateFunctions};
use super::session::Session;
use super::{HostError, raw};
use crate::Split;

/// K trials that train together in a plugin of this process. Ends with the plugin's `session_destroy` when it is dropped.
#[derive(Debug)]
pub struct LocalSession {
    pointer: *mut clr_abi::Session,
    plugin: Plugin,
    sizes: CallSizes,
    tensors: Vec<Option<Vec<TensorInfo>>>,
    is_broken: bool,
    /// After `pointer` is destroyed, what it borrows goes.
    borrowed: BorrowedConfig,
}

// SAFETY: a session may be called from any thread, one call at a time: each call takes `&mut self`.
unsafe impl Send for LocalSession {}

impl Plugin {
    /// A session with every lane at step 0.
    pub fn session(&self, config: SessionConfig) -> Result<LocalSession, HostError> {
        LocalSession::new(self.clone(), config)
    }
}

impl LocalSession {
    fn new(plugin: Plugin, config: SessionConfig) -> Result<LocalSession, HostError> {
        let function = "session_create";
        let Some(model) = plugin.info().model(&config.model) else {
            return Err(plugin.argument(function, format!("there is no model `{}`", config.model)));
        };
        let sizes = CallSizes::new(model, &config);
        let borrowed = plugin.borrowed(function, &config, true)?;
        let mut pointer = std::ptr::null_mut();
        let mut error = clr_abi::Error::new();
        // SAFETY: all structs are as the header says; the dataset lives as long as the session.
        let make = || unsafe { (plugin.functions().session_create)(borrowed.raw(), &raw mut pointer, &raw mut error) };
        let (status, left) = kept(make);
        plugin.check(function, status, &error)?;
        if pointer.is_null() {
            return Err(plugin.answer(function, "no session, and no error".to_owned()));
        }
        plugin.check_left(function, left)?;
        Ok(LocalSession { pointer, plugin, sizes, tensors: vec![None; sizes.lane_count], is_broken: false, borrowed })
    }

    /// Writes what a lane says of `count` samples of a split: `logits` is `[count][classes]`, and the softmax of a row are the
    /// probabilities of the classes. An error where the plugin has no `clr.ensemble/1`.
    pub fn scores(
        &mut self,
        lane: usize,
        split: Split,
        first: u64,
        count: u64,
        logits: &mut [f32],
        cancel: &AtomicBool,
    ) -> Result<Completion, HostError> {
        let function = "clr.ensemble/1 scores";
        self.check_usable(function)?;
        let ensemble = self.ensemble(function)?;
        let number = self.argument(function, self.sizes.check_lane(lane))?;
        let classes = self.borrowed.data.class_count;
        self.argument(function, self.sizes.check_samples(split, first, count))?;
        if u64::try_from(logits.len()).ok() != count.checked_mul(u64::from(classes)) {
            let message = format!("{} logits for {count} samples of {classes} classes", logits.len());
            return Err(self.plugin.argument(function, message));
        }
        logits.fill(f32::NAN);
        let mut scores = raw::sized::<clr_abi::Scores>();
        scores.lane = number;
        scores.split = split as u32;
        scores.first = first;
        scores.count = count;
        scores.cancel = cancel.as_ptr().cast();
        scores.logits = logits.as_mut_ptr();
        let mut error = clr_abi::Error::new();
        // SAFETY: there is room for as many logits as the header states, as checked; the session is ours.
        let (status, left) = kept(|| unsafe { (ensemble.scores)(self.pointer, &raw const scores, &raw mut error) });
        self.finish(function, status, &error, left, cancel)
    }

    /// Makes what normalisation remembers in a lane a plain average over these training samples: for weights that were averaged.
    /// An error where the plugin has no `clr.ensemble/1`.
    pub fn average_statistics(&mut self, lane: usize, samples: &[u32]) -> Result<(), HostError> {
        let function = "clr.ensemble/1 average_statistics";
        self.check_usable(function)?;
        let ensemble = self.ensemble(function)?;
        let number = self.argument(function, self.sizes.check_lane(lane))?;
        self.argument(function, self.sizes.check_train_samples(samples))?;
        let mut error = clr_abi::Error::new();
        // SAFETY: there are as many samples as is said; the session is ours.
        let (status, left) = kept(|| unsafe {
            let count = samples.len() as u64;
            (ensemble.average_statistics)(self.pointer, number, samples.as_ptr(), count, &raw mut error)
        });
        self.finish_plain(function, status, &error, left)
    }

    fn ensemble(&self, function: &'static str) -> Result<EnsembleFunctions, HostError> {
        let ensemble = self.plugin.functions().ensemble;
        ensemble.ok_or_else(|| self.plugin.argument(function, "the plugin does not have it".to_owned()))
    }

    fn check_usable(&self, function: &'static str) -> Result<(), HostError> {
        if self.is_broken {
            return Err(HostError::Broken { plugin: self.plugin.info().name.clone(), function });
        }
        Ok(())
    }

    fn state(&self, function: &'static str) -> Result<StateFunctions, HostError> {
        let state = self.plugin.functions().state;
        state.ok_or_else(|| self.plugin.argument(function, "the plugin does not have it".to_owned()))
    }

    fn check_tensor(
        &mut self,
        function: &'static str,
        lane: usize,
        tensor: usize,
        value_count: usize,
    ) -> Result<(StateFunctions, u32, u32), HostError> {
        let checked = check_tensor(self.tensors(lane)?, tensor, value_count);
        Ok((self.state(function)?, lane as u32, self.argument(function, checked)?))
    }

    /// What a check of a call's arguments gives, or what is wrong with them.
    fn argument<T>(&self, function: &'static str, checked: Result<T, String>) -> Result<T, HostError> {
        checked.map_err(|message| self.plugin.argument(function, message))
    }

    /// Judges the status of a call that may be cancelled.
    fn finish(
        &mut self,
        function: &'static str,
        status: clr_abi::Status,
        error: &clr_abi::Error,
        left: Option<String>,
        cancel: &AtomicBool,
    ) -> Result<Completion, HostError> {
        if status != clr_abi::CANCELLED {
            self.finish_plain(function, status, error, left)?;
            return Ok(Completion::Complete);
        }
        self.check_left(function, left)?;
        if !cancel.load(std::sync::atomic::Ordering::Relaxed) {
            self.is_broken = true;
            return Err(self.plugin.answer(function, "CLR_CANCELLED, but nobody has cancelled".to_owned()));
        }
        Ok(Completion::Cancelled)
    }

    fn finish_plain(
        &mut self,
        function: &'static str,
        status: clr_abi::Status,
        error: &clr_abi::Error,
        left: Option<String>,
    ) -> Result<(), HostError> {
        self.is_broken = ![clr_abi::OK, clr_abi::INVALID_ARGUMENT, clr_abi::UNSUPPORTED].contains(&status);
        self.plugin.check(function, status, error)?;
        self.check_left(function, left)
    }

    /// Lanes that were computed after one had changed the rounding, say, have numbers that are not theirs.
    fn check_left(&mut self, function: &'static str, left: Option<String>) -> Result<(), HostError> {
        self.is_broken |= left.is_some();
        self.plugin.check_left(function, left)
    }
}

impl Session for LocalSession {
    fn sizes(&self) -> CallSizes {
        self.sizes
    }

    fn step(
        &mut self,
        call: &StepCall<'_>,
        steps_done: &mut [u32],
        metrics: &mut [f32],
        cancel: &AtomicBool,
    ) -> Result<Completion, HostError> {
        let function = "session_step";
        self.check_usable(function)?;
        let checked = self.sizes.check_step(call, steps_done, metrics).and_then(|()| self.sizes.check_batches(call));
        self.argument(function, checked)?;
        steps_done.fill(0);
        metrics.fill(f32::NAN);
        let mut step = raw::sized::<clr_abi::Step>();
        step.step_count = call.step_count;
        step.sample_lane_count = if call.shared_samples { 1 } else { self.sizes.lane_count as u32 };
        step.first_steps = call.first_steps.as_ptr();
        step.lane_steps = call.lane_steps.as_ptr();
        step.sample_counts = call.sample_counts.as_ptr();
        step.samples = call.samples.as_ptr();
        step.epochs = call.epochs.as_ptr();
        step.hypers = call.hypers.as_ptr();
        step.cancel = cancel.as_ptr().cast();
        step.lane_steps_done = steps_done.as_mut_ptr();
        step.metrics = metrics.as_mut_ptr();
        let mut error = clr_abi::Error::new();
        // SAFETY: the tables have the sizes that the header states, as checked; the session is ours.
        let make = || unsafe { (self.plugin.functions().session_step)(self.pointer, &raw mut step, &raw mut error) };
        let (status, left) = kept(make);
        let completion = self.finish(function, status, &error, left, cancel)?;
        if let Err(message) = completion.check_steps(steps_done, call.lane_steps) {
            self.is_broken = true;
            return Err(self.plugin.answer(function, message));
        }
        for (lane, &done) in steps_done.iter().enumerate() {
            // Whatever it wrote there: no step, no metrics.
            for step in done as usize..call.step_count as usize {
                let row = step * self.sizes.lane_count + lane;
                metrics[row * self.sizes.metric_count..][..self.sizes.metric_count].fill(f32::NAN);
            }
        }
        Ok(completion)
    }

    fn evaluate(
        &mut self,
        split: Split,
        first: u64,
        count: u64,
        active: &[bool],
        metrics: &mut [f32],
        cancel: &AtomicBool,
    ) -> Result<Completion, HostError> {
        let function = "session_evaluate";
        self.check_usable(function)?;
        self.argument(function, self.sizes.check_evaluate(split, first, count, active, metrics))?;
        metrics.fill(f32::NAN);
        let mut evaluate = raw::sized::<clr_abi::Evaluate>();
        evaluate.split = split as u32;
        evaluate.first = first;
        evaluate.count = count;
        evaluate.active = active.as_ptr().cast();
        evaluate.cancel = cancel.as_ptr().cast();
        evaluate.metrics = metrics.as_mut_ptr();
        let mut error = clr_abi::Error::new();
        // SAFETY: the tables have the sizes that the header states, as checked; the session is ours.
        let make =
            || unsafe { (self.plugin.functions().session_evaluate)(self.pointer, &raw const evaluate, &raw mut error) };
        let (status, left) = kept(make);
        let completion = self.finish(function, status, &error, left, cancel)?;
        for (lane, &is_active) in active.iter().enumerate() {
            if !is_active || completion == Completion::Cancelled {
                metrics[lane * self.sizes.metric_count..][..self.sizes.metric_count].fill(f32::NAN);
            }
        }
        Ok(completion)
    }

    fn reset_lane(&mut self, lane: usize, trial: &Lane) -> Result<(), HostError> {
        let function = "session_lane_reset";
        self.check_usable(function)?;
        let number = self.argument(function, self.sizes.check_lane(lane))?;
        let mut raw_lane = raw::sized::<clr_abi::Lane>();
        raw_lane.options = clr_abi::Str::new(&trial.options_json);
        raw_lane.init_seed = trial.init_seed;
        raw_lane.data_seed = trial.data_seed;
        let mut error = clr_abi::Error::new();
        // SAFETY: the struct and its text live through the call; the session is ours.
        let (status, left) = kept(|| unsafe {
            (self.plugin.functions().session_lane_reset)(self.pointer, number, &raw const raw_lane, &raw mut error)
        });
        self.finish_plain(function, status, &error, left)?;
        self.tensors[lane] = None;
        Ok(())
    }

    fn tensors(&mut self, lane: usize) -> Result<&[TensorInfo], HostError> {
        let function = "clr.state/1 tensors";
        self.check_usable(function)?;
        let state = self.state(function)?;
        let number = self.argument(function, self.sizes.check_lane(lane))?;
        if self.tensors[lane].is_none() {
            let (mut table, mut count) = (std::ptr::null(), 0);
            let mut error = clr_abi::Error::new();
            // SAFETY: both places live through the call; the session is ours.
            let make =
                || unsafe { (state.tensors)(self.pointer, number, &raw mut table, &raw mut count, &raw mut error) };
            let (status, left) = kept(make);
            self.finish_plain(function, status, &error, left)?;
            // SAFETY: as filled by the plugin.
            let tensors = unsafe { read_tensors(table, count) }.map_err(|message| {
                self.is_broken = true;
                self.plugin.answer(function, message)
            })?;
            self.tensors[lane] = Some(tensors);
        }
        Ok(self.tensors[lane].as_deref().unwrap_or_default())
    }

    fn save(&mut self, lane: usize, tensor: usize, values: &mut [f32]) -> Result<(), HostError> {
        let function = "clr.state/1 save";
        let (state, lane, tensor) = self.check_tensor(function, lane, tensor, values.len())?;
        let mut error = clr_abi::Error::new();
        // SAFETY: there are as many values as the tensor has; the session is ours.
        let make = || unsafe { (state.save)(self.pointer, lane, tensor, values.as_mut_ptr(), &raw mut error) };
        let (status, left) = kept(make);
        self.finish_plain(function, status, &error, left)
    }

    fn load(&mut self, lane: usize, tensor: usize, values: &[f32]) -> Result<(), HostError> {
        let function = "clr.state/1 load";
        let (state, lane, tensor) = self.check_tensor(function, lane, tensor, values.len())?;
        let mut error = clr_abi::Error::new();
        // SAFETY: there are as many values as the tensor has; the session is ours.
        let make = || unsafe { (state.load)(self.pointer, lane, tensor, values.as_ptr(), &raw mut error) };
        let (status, left) = kept(make);
        self.finish_plain(function, status, &error, left)
    }
}

impl Drop for LocalSession {
    fn drop(&mut self) {
        // SAFETY: the session is ours and used no more; what it borrows is dropped after.
        let (_, left) = kept(|| unsafe { (self.plugin.functions().session_destroy)(self.pointer) });
        if let Some(left) = left {
            tracing::warn!(plugin = self.plugin.info().name, left, "session_destroy");
        }
    }
}

/// # Safety
/// If `table` is not null, it points to `count` tensors as the header says.
unsafe fn read_tensors(table: *const clr_abi::Tensor, count: u32) -> Result<Vec<TensorInfo>, String> {
    // SAFETY: the caller's.
    let raw_tensors = unsafe { raw::structs(table, count, "tensors") }?;
    let mut names = HashSet::new();
    let mut tensors = Vec::with_capacity(raw_tensors.len());
    for (index, tensor) in raw_tensors.iter().enumerate() {
        // SAFETY: the caller's.
        let name = unsafe { raw::text(tensor.name, &format!("tensors[{index}].name")) }?;
        if name.is_empty() || !names.insert(name.clone()) {
            return Err(format!("tensors[{index}]: the name {name:?} is empty or there twice"));
        }
        let role = match tensor.role {
            clr_abi::WEIGHT => Role::Weight,
            clr_abi::OPTIMIZER_STATE => Role::OptimizerState,
            clr_abi::BUFFER => Role::Buffer,
            other => return Err(format!("tensor `{name}` has the unknown role {other}")),
        };
        let Some(shape) = tensor.shape.get(..tensor.rank as usize) else {
            return Err(format!("tensor `{name}` has {} axes, more than {}", tensor.rank, clr_abi::MAX_RANK));
        };
        // Where the product is more than can be counted, it is more than is allowed.
        let product = shape.iter().try_fold(1u64, |product, &size| product.checked_mul(size));
        let element_count = product.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
        tensors.push(TensorInfo { name, role, shape: shape.to_vec(), element_count });
    }
    check_sizes(&tensors)?;
    Ok(tensors)
}
