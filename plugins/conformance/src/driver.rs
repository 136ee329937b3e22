//! Makes the calls of the ABI: a host of its own, which can also be newer than any that is.
#![allow(unsafe_code)]

use std::ffi::c_void;

use clr_abi::{Api, Status};

use crate::inputs::{Images, Trial};
use crate::offer::{Offer, read_array, read_offer, read_text};
use crate::padded::{Padded, zeroed};
use crate::surroundings::Surroundings;

/// Marks what a plugin should not touch: a NaN that no computation gives.
pub(crate) const UNTOUCHED: f32 = f32::from_bits(0x7FC0_DEAD);

/// A plugin and what it offers.
#[derive(Debug)]
pub(crate) struct Rig {
    offer: Offer,
    functions: Functions,
}

type Create =
    unsafe extern "C" fn(*const clr_abi::SessionConfig, *mut *mut clr_abi::Session, *mut clr_abi::Error) -> Status;

#[derive(Clone, Copy, Debug)]
struct Functions {
    describe: unsafe extern "C" fn(*mut clr_abi::Plugin, *mut clr_abi::Error) -> Status,
    footprint:
        unsafe extern "C" fn(*const clr_abi::SessionConfig, *mut clr_abi::Footprint, *mut clr_abi::Error) -> Status,
    create: Create,
    step: unsafe extern "C" fn(*mut clr_abi::Session, *mut clr_abi::Step, *mut clr_abi::Error) -> Status,
    evaluate: unsafe extern "C" fn(*mut clr_abi::Session, *const clr_abi::Evaluate, *mut clr_abi::Error) -> Status,
    reset: unsafe extern "C" fn(*mut clr_abi::Session, u32, *const clr_abi::Lane, *mut clr_abi::Error) -> Status,
    destroy: unsafe extern "C" fn(*mut clr_abi::Session),
    state: Option<clr_abi::StateApi>,
    parameters: Option<clr_abi::ParametersApi>,
}

/// The status of a call that broke a rule, whose own status says nothing.
const BROKEN: Status = -1;

/// A status other than CLR_OK.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    pub(crate) message: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match clr_abi::status_name(self.status) {
            Some(name) => write!(formatter, "{name}: {}", self.message),
            None if self.status == BROKEN => write!(formatter, "{}", self.message),
            None => write!(formatter, "unknown status {}: {}", self.status, self.message),
        }
    }
}

impl From<Failure> for crate::report::Outcome {
    fn from(failure: Failure) -> Self {
        crate::report::Outcome::Failed(failure.to_string())
    }
}

/// The configuration of a session, malformed where a check wants it so.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) device: String,
    pub(crate) model: String,
    pub(crate) options: String,
    pub(crate) trials: Vec<Trial>,
    pub(crate) batch_size: u32,
    pub(crate) thread_count: u32,
    pub(crate) streamed: bool,
    /// Bytes that a newer host has appended to each struct; a multiple of 8.
    pub(crate) appended: usize,
    /// Claim that the configuration, or each lane, has only so many bytes.
    pub(crate) config_size: Option<usize>,
    pub(crate) lane_size: Option<usize>,
}

/// The tables of one call: see `clr_step`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) step_count: usize,
    pub(crate) sample_lane_count: usize,
    pub(crate) first_steps: Vec<u64>,
    pub(crate) lane_steps: Vec<u32>,
    pub(crate) sample_counts: Vec<u32>,
    pub(crate) samples: Vec<u32>,
    pub(crate) epochs: Vec<u32>,
    pub(crate) hypers: Vec<f32>,
    pub(crate) cancelled: bool,
}

/// The results of a call of step.
#[derive(Clone, Debug)]
pub(crate) struct Stepped {
    pub(crate) cancelled: bool,
    pub(crate) done: Vec<u32>,
    pub(crate) metrics: Vec<f32>,
}

/// A tensor's name, role and number of values.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TensorShape {
    pub(crate) name: String,
    pub(crate) role: i32,
    pub(crate) shape: Vec<u64>,
}

/// A parameter as a plugin lists it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) value_count: u64,
    /// Of the learning rate and of the weight decay.
    pub(crate) mults: [f32; 2],
}

impl Rig {
    /// Reads the table and the description.
    pub(crate) fn new(api: &Api) -> Result<Rig, String> {
        if api.abi_major != clr_abi::ABI_MAJOR || api.struct_size < size_of::<Api>() {
            return Err(format!("a table of ABI {}.{} with {} bytes", api.abi_major, api.abi_minor, api.struct_size));
        }
        let (Some(describe), Some(footprint), Some(create), Some(step), Some(evaluate), Some(reset), Some(destroy)) = (
            api.describe,
            api.footprint,
            api.session_create,
            api.session_step,
            api.session_evaluate,
            api.session_lane_reset,
            api.session_destroy,
        ) else {
            return Err("a function of the table is null".to_owned());
        };
        let Some(extension) = api.extension else { return Err("extension is null".to_owned()) };
        // SAFETY: the texts live through the calls.
        let (state, parameters, unknown) = unsafe {
            let state = extension(clr_abi::Str::new(clr_abi::STATE_ID)).cast::<clr_abi::StateApi>();
            let parameters = extension(clr_abi::Str::new(clr_abi::PARAMETERS_ID)).cast::<clr_abi::ParametersApi>();
            (
                state.as_ref().copied(),
                parameters.as_ref().copied(),
                extension(clr_abi::Str::new("clr.conformance-knows-no-such/1")),
            )
        };
        if !unknown.is_null() {
            return Err("extension gives a table for an id that it cannot know".to_owned());
        }
        let functions = Functions { describe, footprint, create, step, evaluate, reset, destroy, state, parameters };
        let mut rig = Rig { offer: Offer { name: String::new(), models: vec![], optimizers: vec![] }, functions };
        rig.offer = rig.describe(0, None)?.map_err(|failure| failure.to_string())?;
        if rig.describe(0, None)?.as_ref() != Ok(&rig.offer) {
            return Err("a second description differs from the first".to_owned());
        }
        Ok(rig)
    }

    pub(crate) fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Calls describe as a host with `appended` more bytes, or one that claims `size`. The outer error is a description
    /// that makes no sense.
    pub(crate) fn describe(&self, appended: usize, size: Option<usize>) -> Result<Result<Offer, Failure>, String> {
        let mut plugin = Padded::new(vec![zeroed::<clr_abi::Plugin>()], appended);
        if let Some(size) = size {
            plugin.claim_size(size);
        }
        let claimed = plugin.claimed_size();
        let mut error = Padded::new(vec![clr_abi::Error::new()], appended);
        // SAFETY: both structs are as the header says.
        let call = || unsafe { (self.functions.describe)(plugin.pointer(), error.pointer()) };
        let status = Surroundings::kept("describe", call)?;
        if !plugin.is_intact() || !error.is_intact() || plugin.claimed_size() != claimed {
            return Err("describe wrote to fields that it cannot know, or changed struct_size".to_owned());
        }
        if status != clr_abi::OK {
            return Ok(Err(failure(status, &error.get(0))));
        }
        // SAFETY: as filled by the plugin.
        unsafe { read_offer(&plugin.get(0)) }.map(Ok)
    }

    /// Bytes shared and for each lane, and the numerics.
    pub(crate) fn footprint(&self, setup: &Setup, images: &Images) -> Result<(u64, u64, String), Failure> {
        let mut config = RawSetup::new(setup, images, false);
        let mut footprint = Padded::new(vec![zeroed::<clr_abi::Footprint>()], setup.appended);
        let mut error = Padded::new(vec![clr_abi::Error::new()], setup.appended);
        // SAFETY: all structs are as the header says.
        let call = || unsafe { (self.functions.footprint)(config.pointer(), footprint.pointer(), error.pointer()) };
        let status = kept("footprint", call)?;
        check_status(status, &error)?;
        let value = footprint.get(0);
        let size = (value.numerics_size as usize).min(value.numerics.len());
        let bytes: Vec<u8> = value.numerics[..size].iter().map(|&byte| byte as u8).collect();
        if !footprint.is_intact() || size != value.numerics_size as usize {
            return Err(broken("footprint wrote beyond its struct, or too long a text"));
        }
        let numerics = String::from_utf8(bytes).map_err(|_| broken("footprint's numerics is not UTF-8"))?;
        Ok((value.bytes_shared, value.bytes_per_lane, numerics))
    }

    pub(crate) fn create<'b>(&'b self, setup: &Setup, images: &'b Images) -> Result<Session<'b>, Failure> {
        let mut config = RawSetup::new(setup, images, true);
        let marker = std::ptr::without_provenance_mut::<clr_abi::Session>(0xDEAD);
        let mut session = marker;
        let mut error = Padded::new(vec![clr_abi::Error::new()], setup.appended);
        // SAFETY: all structs are as the header says; the dataset is kept with the session.
        let call = || unsafe { (self.functions.create)(config.pointer(), &raw mut session, error.pointer()) };
        let status = kept("session_create", call)?;
        if let Err(failure) = check_status(status, &error) {
            if session != marker {
                return Err(broken("session_create failed but wrote a session"));
            }
            return Err(failure);
        }
        let Some(model) = self.offer.models.iter().find(|model| model.name == setup.model) else {
            return Err(broken("a session of a model that the plugin does not have"));
        };
        if session.is_null() || session == marker {
            return Err(broken("session_create succeeded without a session"));
        }
        Ok(Session {
            pointer: session,
            functions: self.functions,
            lane_count: setup.trials.len(),
            metric_count: model.metrics.len(),
            appended: setup.appended,
            _config: config,
        })
    }

    /// The parameters that the plugin lists; none without clr.parameters/1.
    pub(crate) fn parameters(&self, setup: &Setup, images: &Images) -> Result<Option<Vec<Listed>>, Failure> {
        let Some(list) = self.functions.parameters.and_then(|table| table.parameters) else { return Ok(None) };
        let mut config = RawSetup::new(setup, images, false);
        let mut error = Padded::new(vec![clr_abi::Error::new()], setup.appended);
        let mut listed: Result<Vec<Listed>, String> = Ok(Vec::new());
        let context = (&raw mut listed).cast::<c_void>();
        // SAFETY: all structs are as the header says; `take` gets what it expects.
        let call = || unsafe { list(config.pointer(), context, Some(take), error.pointer()) };
        let status = kept("clr.parameters/1 parameters", call)?;
        check_status(status, &error)?;
        listed.map(Some).map_err(|problem| broken(&problem))
    }

    pub(crate) fn has_state(&self) -> bool {
        self.functions.state.is_some()
    }

    pub(crate) fn destroy_null(&self) {
        // SAFETY: the header allows null.
        unsafe { (self.functions.destroy)(std::ptr::null_mut()) };
    }
}

/// A session, ended when it is dropped.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    pointer: *mut clr_abi::Session,
    functions: Functions,
    lane_count: usize,
    metric_count: usize,
    appended: usize,
    /// The configuration that the session borrows.
    _config: RawSetup<'a>,
}

// SAFETY: a session may be called from any thread, one call at a time.
unsafe impl Send for Session<'_> {}

impl Session<'_> {
    pub(crate) fn step(&mut self, table: &Table) -> Result<Stepped, Failure> {
        let mut metrics = vec![UNTOUCHED; table.step_count * self.lane_count * self.metric_count];
        let mut done = vec![0; self.lane_count];
        let cancel = u8::from(table.cancelled);
        let raw = clr_abi::Step {
            struct_size: 0,
            step_count: table.step_count as u32,
            sample_lane_count: table.sample_lane_count as u32,
            first_steps: table.first_steps.as_ptr(),
            lane_steps: table.lane_steps.as_ptr(),
            sample_counts: table.sample_counts.as_ptr(),
            samples: table.samples.as_ptr(),
            epochs: table.epochs.as_ptr(),
            hypers: table.hypers.as_ptr(),
            cancel: &raw const cancel,
            lane_steps_done: done.as_mut_ptr(),
            metrics: metrics.as_mut_ptr(),
        };
        let mut step = Padded::new(vec![raw], self.appended);
        let mut error = Padded::new(vec![clr_abi::Error::new()], self.appended);
        // SAFETY: the tables have the sizes that the header states; the session is ours.
        let call = || unsafe { (self.functions.step)(self.pointer, step.pointer(), error.pointer()) };
        let status = kept("session_step", call)?;
        if !step.is_intact() {
            return Err(broken("session_step wrote beyond its struct"));
        }
        if status != clr_abi::CANCELLED {
            check_status(status, &error)?;
        }
        Ok(Stepped { cancelled: status == clr_abi::CANCELLED, done, metrics })
    }

    pub(crate) fn evaluate(
        &mut self,
        split: u32,
        samples: std::ops::Range<u64>,
        active: &[u8],
    ) -> Result<Vec<f32>, Failure> {
        let mut metrics = vec![UNTOUCHED; self.lane_count * self.metric_count];
        let raw = clr_abi::Evaluate {
            struct_size: 0,
            split,
            reserved: 0,
            first: samples.start,
            count: samples.end - samples.start,
            active: active.as_ptr(),
            cancel: std::ptr::null(),
            metrics: metrics.as_mut_ptr(),
        };
        let mut evaluate = Padded::new(vec![raw], self.appended);
        let mut error = Padded::new(vec![clr_abi::Error::new()], self.appended);
        // SAFETY: the tables have the sizes that the header states; the session is ours.
        let call = || unsafe { (self.functions.evaluate)(self.pointer, evaluate.pointer(), error.pointer()) };
        let status = kept("session_evaluate", call)?;
        check_status(status, &error)?;
        Ok(metrics)
    }

    pub(crate) fn reset(&mut self, lane: usize, trial: &Trial) -> Result<(), Failure> {
        let mut raw = Padded::new(vec![raw_lane(trial)], self.appended);
        let mut error = Padded::new(vec![clr_abi::Error::new()], self.appended);
        // SAFETY: the struct and its text live through the call; the session is ours.
        let call = || unsafe { (self.functions.reset)(self.pointer, lane as u32, raw.pointer(), error.pointer()) };
        let status = kept("session_lane_reset", call)?;
        check_status(status, &error)
    }

    pub(crate) fn tensors(&mut self, lane: usize) -> Result<Vec<TensorShape>, Failure> {
        let Some(tensors) = self.functions.state.and_then(|state| state.tensors) else {
            return Err(broken("clr.state/1 has no tensors"));
        };
        let (mut table, mut count) = (std::ptr::null::<clr_abi::Tensor>(), 0);
        let mut error = Padded::new(vec![clr_abi::Error::new()], self.appended);
        // SAFETY: both places live through the call; the session is ours.
        let call = || unsafe { tensors(self.pointer, lane as u32, &raw mut table, &raw mut count, error.pointer()) };
        let status = kept("clr.state/1 tensors", call)?;
        check_status(status, &error)?;
        // SAFETY: as filled by the plugin.
        unsafe { read_array(table, count, "tensors") }
            .and_then(|tensors| {
                tensors
                    .iter()
                    .map(|tensor| {
                        let shape = tensor.shape.get(..tensor.rank as usize).ok_or("a tensor has too many axes")?;
                        // SAFETY: as filled by the plugin.
                        let name = unsafe { read_text(tensor.name, "a tensor's name") }?;
                        Ok(TensorShape { name, role: tensor.role, shape: shape.to_vec() })
                    })
                    .collect()
            })
            .map_err(|problem| broken(&problem))
    }

    /// All tensors of a lane.
    pub(crate) fn save(&mut self, lane: usize) -> Result<Vec<Vec<f32>>, Failure> {
        let Some(save) = self.functions.state.and_then(|state| state.save) else {
            return Err(broken("clr.state/1 has no save"));
        };
        let mut all = Vec::new();
        for (index, tensor) in self.tensors(lane)?.iter().enumerate() {
            let mut values = vec![UNTOUCHED; tensor.shape.iter().product::<u64>() as usize];
            let mut error = Padded::new(vec![clr_abi::Error::new()], self.appended);
            // SAFETY: there are as many values as the tensor has; the session is ours.
            let call =
                || unsafe { save(self.pointer, lane as u32, index as u32, values.as_mut_ptr(), error.pointer()) };
            let status = kept("clr.state/1 save", call)?;
            check_status(status, &error)?;
            all.push(values);
        }
        Ok(all)
    }

    pub(crate) fn load(&mut self, lane: usize, all: &[Vec<f32>]) -> Result<(), Failure> {
        let Some(load) = self.functions.state.and_then(|state| state.load) else {
            return Err(broken("clr.state/1 has no load"));
        };
        let tensors = self.tensors(lane)?;
        let counts = tensors.iter().map(|tensor| tensor.shape.iter().product::<u64>() as usize);
        if !counts.eq(all.iter().map(Vec::len)) {
            return Err(broken("a lane of the same trial has other tensors"));
        }
        for (index, values) in all.iter().enumerate() {
            let mut error = Padded::new(vec![clr_abi::Error::new()], self.appended);
            // SAFETY: there are as many values as the tensor has; the session is ours.
            let call = || unsafe { load(self.pointer, lane as u32, index as u32, values.as_ptr(), error.pointer()) };
            let status = kept("clr.state/1 load", call)?;
            check_status(status, &error)?;
        }
        Ok(())
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // SAFETY: the session is ours and used no more.
        unsafe { (self.functions.destroy)(self.pointer) };
    }
}

/// A configuration in C, with what it points to.
#[derive(Debug)]
struct RawSetup<'a> {
    config: Padded<clr_abi::SessionConfig>,
    _dataset: Padded<clr_abi::Dataset>,
    _transform: Padded<clr_abi::Transform>,
    _lanes: Padded<clr_abi::Lane>,
    _setup: Box<Setup>,
    _images: &'a Images,
}

impl<'a> RawSetup<'a> {
    fn new(setup: &Setup, images: &'a Images, with_images: bool) -> RawSetup<'a> {
        let setup = Box::new(setup.clone());
        let mut transform = Padded::new(
            vec![clr_abi::Transform {
                struct_size: 0,
                mean: images.mean.as_ptr(),
                mean_count: images.mean.len() as u64,
                scale: images.scale.as_ptr(),
                scale_count: images.scale.len() as u64,
                pad: images.pad,
                crop_height: 0,
                crop_width: 0,
                flip: 1,
                min_area: 0.0,
                lighting: 0.0,
            }],
            setup.appended,
        );
        let resident = with_images && !setup.streamed;
        let splits = [0, 1, 2].map(|split: usize| clr_abi::Split {
            count: images.labels[split].len() as u64,
            images: if resident { images.pixels[split].as_ptr() } else { std::ptr::null() },
            labels: if resident { images.labels[split].as_ptr() } else { std::ptr::null() },
        });
        let mut dataset = Padded::new(
            vec![clr_abi::Dataset {
                struct_size: 0,
                height: images.height,
                width: images.width,
                channels: images.channels,
                class_count: images.class_count,
                splits,
                transform: transform.pointer(),
                load_context: std::ptr::from_ref(images).cast_mut().cast::<c_void>(),
                load: setup.streamed.then_some(load as clr_abi::LoadFunction),
            }],
            setup.appended,
        );
        let mut lanes = Padded::new(setup.trials.iter().map(raw_lane).collect(), setup.appended);
        if let Some(size) = setup.lane_size {
            lanes.claim_size(size);
        }
        let mut config = Padded::new(
            vec![clr_abi::SessionConfig {
                struct_size: 0,
                device: clr_abi::Str::new(&setup.device),
                model: clr_abi::Str::new(&setup.model),
                options: clr_abi::Str::new(&setup.options),
                dataset: dataset.pointer(),
                lanes: lanes.pointer(),
                lane_count: setup.trials.len() as u32,
                batch_size: setup.batch_size,
                thread_count: setup.thread_count,
                reserved: 0,
            }],
            setup.appended,
        );
        if let Some(size) = setup.config_size {
            config.claim_size(size);
        }
        RawSetup { config, _dataset: dataset, _transform: transform, _lanes: lanes, _setup: setup, _images: images }
    }

    fn pointer(&mut self) -> *const clr_abi::SessionConfig {
        self.config.pointer()
    }
}

fn raw_lane(trial: &Trial) -> clr_abi::Lane {
    clr_abi::Lane {
        struct_size: 0,
        options: clr_abi::Str::new(&trial.options),
        init_seed: trial.init_seed,
        data_seed: trial.data_seed,
    }
}

unsafe extern "C" fn take(context: *mut c_void, parameter: *const clr_abi::Parameter) {
    // SAFETY: the context is what `Rig::parameters` passes; the struct is as the header says.
    let (listed, read) = unsafe {
        let listed = &mut *context.cast::<Result<Vec<Listed>, String>>();
        let read = read_array(parameter, 1, "a parameter").and_then(|read| {
            let parameter = read[0];
            let name = read_text(parameter.name, "a parameter's name")?;
            let mults = [parameter.lr_mult, parameter.decay_mult];
            Ok(Listed { name, value_count: parameter.value_count, mults })
        });
        (listed, read)
    };
    match (listed.as_mut(), read) {
        (Ok(parameters), Ok(parameter)) => parameters.push(parameter),
        (Ok(_), Err(problem)) => *listed = Err(problem),
        (Err(_), _) => {}
    }
}

/// `clr_dataset.load` of streamed images: copies from those that are in memory.
unsafe extern "C" fn load(context: *mut c_void, load: *const clr_abi::Load, _error: *mut clr_abi::Error) -> Status {
    // SAFETY: the context is the images that outlive every session; the request is as the header says.
    unsafe {
        let (images, load) = (&*context.cast::<Images>(), &*load);
        let size = images.image_size();
        let Some(labels) = images.labels.get(load.split as usize) else { return clr_abi::INVALID_ARGUMENT };
        for index in 0..load.sample_count as usize {
            let sample = load.samples.add(index).read() as usize;
            let Some(&label) = labels.get(sample) else { return clr_abi::INVALID_ARGUMENT };
            let pixels = images.pixels[load.split as usize].as_ptr().add(sample * size);
            load.images.add(index * size).copy_from_nonoverlapping(pixels, size);
            load.labels.add(index).write(label);
        }
    }
    clr_abi::OK
}

fn check_status(status: Status, error: &Padded<clr_abi::Error>) -> Result<(), Failure> {
    if !error.is_intact() {
        return Err(broken("a call wrote beyond its error"));
    }
    if status == clr_abi::OK { Ok(()) } else { Err(failure(status, &error.get(0))) }
}

/// Makes a call, which is to leave everything as it found it.
fn kept<T>(function: &str, call: impl FnOnce() -> T) -> Result<T, Failure> {
    Surroundings::kept(function, call).map_err(|problem| broken(&problem))
}

fn failure(status: Status, error: &clr_abi::Error) -> Failure {
    Failure { status, message: error.text() }
}

/// A rule of the ABI that was broken, as a failure of its own kind.
fn broken(problem: &str) -> Failure {
    Failure { status: BROKEN, message: problem.to_owned() }
}
