//! The functions of the ABI, written once for every plugin: [`crate::export!`] puts them in a table.
#![allow(unsafe_code)]

use std::any::Any;
use std::ffi::c_void;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, Once, PoisonError};

pub use crate::described::Described;
use crate::ffi::{read_array, read_sized, slice, slice_mut, text, write_error};
use crate::handle::{Handle, HostLoader, dataset, split};
use crate::{Error, Evaluate, Lane, Plugin, Scores, Session, SessionConfig, Split, Status, StepTable, StepTableParts};

/// A plugin as [`crate::export!`] sees it: with its description, made once.
pub trait Exported: Plugin {
    /// The description and its form in C.
    fn described() -> &'static Described;
}

/// Makes a type that implements [`Plugin`] the plugin of this library: defines the exported symbol `clr_plugin_api`, and
/// `api()`, the same table for tests within the process.
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        impl $crate::entry::Exported for $plugin {
            fn described() -> &'static $crate::entry::Described {
                static DESCRIBED: ::std::sync::OnceLock<$crate::entry::Described> = ::std::sync::OnceLock::new();
                DESCRIBED.get_or_init(|| $crate::entry::Described::new(<$plugin as $crate::Plugin>::description()))
            }
        }

        /// The plugin's table of functions.
        pub fn api() -> &'static $crate::abi::Api {
            static API: $crate::abi::Api = $crate::entry::api::<$plugin>();
            &API
        }

        /// The one symbol that the host looks for.
        #[allow(unsafe_code)]
        // SAFETY: the name belongs to the ABI; a library holds one plugin.
        #[unsafe(no_mangle)]
        pub extern "C" fn clr_plugin_api() -> *const $crate::abi::Api {
            $crate::entry::keep_panics_quiet();
            api()
        }
    };
}

/// The table of a plugin.
pub const fn api<P: Exported>() -> clr_abi::Api {
    clr_abi::Api {
        struct_size: size_of::<clr_abi::Api>(),
        abi_major: clr_abi::ABI_MAJOR,
        abi_minor: clr_abi::ABI_MINOR,
        describe: Some(describe::<P>),
        footprint: Some(footprint::<P>),
        session_create: Some(session_create::<P>),
        session_step: Some(session_step::<P>),
        session_evaluate: Some(session_evaluate::<P>),
        session_lane_reset: Some(session_lane_reset::<P>),
        session_destroy: Some(session_destroy::<P>),
        extension: Some(extension::<P>),
    }
}

unsafe extern "C" fn describe<P: Exported>(
    plugin: *mut clr_abi::Plugin,
    error: *mut clr_abi::Error,
) -> clr_abi::Status {
    guard(error, || {
        // SAFETY: the host passes a struct that begins with its size.
        unsafe { read_sized(plugin, "plugin") }?;
        let table = P::described().table();
        // SAFETY: checked to be at least so large; the host's struct_size stays.
        unsafe { write_fields(plugin, &table) };
        Ok(())
    })
}

unsafe extern "C" fn footprint<P: Exported>(
    config: *const clr_abi::SessionConfig,
    target: *mut clr_abi::Footprint,
    error: *mut clr_abi::Error,
) -> clr_abi::Status {
    guard(error, || {
        // SAFETY: the host passes structs that begin with their sizes.
        let (raw, _) = unsafe { (read_sized(config, "config")?, read_sized(target, "footprint")?) };
        // SAFETY: as above, for what the structs point to.
        let footprint = unsafe { with_config::<P, _>(&raw, false, |config, _| P::footprint(config)) }?;
        let numerics = footprint.numerics.as_bytes();
        if numerics.len() > clr_abi::NUMERICS_CAPACITY {
            return Err(Error::internal(format!("numerics is too long: {}", footprint.numerics)));
        }
        let mut value = clr_abi::Footprint {
            struct_size: size_of::<clr_abi::Footprint>(),
            bytes_shared: footprint.bytes_shared,
            bytes_per_lane: footprint.bytes_per_lane,
            numerics_size: numerics.len() as u32,
            numerics: [0; clr_abi::NUMERICS_CAPACITY],
        };
        for (target, &byte) in value.numerics.iter_mut().zip(numerics) {
            *target = byte as _;
        }
        // SAFETY: checked to be at least so large; the host's struct_size stays.
        unsafe { write_fields(target, &value) };
        Ok(())
    })
}

unsafe extern "C" fn session_create<P: Exported>(
    config: *const clr_abi::SessionConfig,
    target: *mut *mut clr_abi::Session,
    error: *mut clr_abi::Error,
) -> clr_abi::Status {
    guard(error, || {
        crate::ffi::check_pointer(target, "session")?;
        // SAFETY: the host passes a struct that begins with its size.
        let raw = unsafe { read_sized(config, "config") }?;
        // SAFETY: as above, for what the struct points to; the dataset stays until session_destroy.
        let handle = unsafe {
            with_config::<P, _>(&raw, true, |config, loader| {
                let session = P::session(config)?;
                let model = P::described().model(config.model)?;
                Handle::new(session, &raw, loader, [model.hypers.len(), model.metrics.len()])
            })
        }?;
        // SAFETY: checked above; the host takes the session over.
        unsafe { target.write(Box::into_raw(Box::new(handle)).cast()) };
        Ok(())
    })
}

/// Reads a configuration and lends it.
///
/// # Safety
/// `raw` and what it points to are as the header says.
unsafe fn with_config<P: Exported, T>(
    raw: &clr_abi::SessionConfig,
    needs_images: bool,
    then: impl FnOnce(&SessionConfig<'_>, Option<Box<HostLoader>>) -> Result<T, Error>,
) -> Result<T, Error> {
    if raw.lane_count == 0 || raw.batch_size == 0 || raw.thread_count == 0 {
        let (lanes, batch, threads) = (raw.lane_count, raw.batch_size, raw.thread_count);
        return Err(Error::invalid(format!("{lanes} lanes, batches of {batch}, {threads} threads: none may be 0")));
    }
    // SAFETY: the caller's.
    let (device, model, options) =
        unsafe { (text(raw.device, "device")?, text(raw.model, "model")?, text(raw.options, "options")?) };
    let described = P::described();
    described.model(model)?;
    crate::parse_options::<serde_json::Map<String, serde_json::Value>>(options, "model options")?;
    // SAFETY: the caller's.
    let raw_lanes = unsafe { read_array(raw.lanes, raw.lane_count as usize, "lanes") }?;
    let mut lanes = Vec::with_capacity(raw_lanes.len());
    for lane in raw_lanes {
        // SAFETY: the caller's.
        lanes.push(unsafe { read_lane::<P>(&lane) }?);
    }
    // SAFETY: the caller's.
    let loader = unsafe { HostLoader::new(raw.dataset) }?;
    // SAFETY: the caller's; the dataset lives as long as this call, and the loader too.
    let dataset = unsafe { dataset(raw.dataset, loader.as_deref(), needs_images) }?;
    let config = SessionConfig {
        device,
        model,
        options,
        dataset: &dataset,
        batch_size: raw.batch_size as usize,
        thread_count: raw.thread_count as usize,
        lanes,
    };
    then(&config, loader.clone())
}

/// # Safety
/// The lane's options are as the header says.
unsafe fn read_lane<'a, P: Exported>(raw: &clr_abi::Lane) -> Result<Lane<'a>, Error> {
    // SAFETY: the caller's.
    let options = unsafe { text(raw.options, "lane options") }?;
    P::described().check_lane(options)?;
    Ok(Lane { options, init_seed: raw.init_seed, data_seed: raw.data_seed })
}

unsafe extern "C" fn session_step<P: Exported>(
    session: *mut clr_abi::Session,
    step: *mut clr_abi::Step,
    error: *mut clr_abi::Error,
) -> clr_abi::Status {
    // SAFETY: the host passes a session of this plugin, to one call at a time, and tables as the header says.
    unsafe {
        guard_session::<P>(session, error, |handle| {
            let raw = read_sized(step, "step")?;
            let [hyper_count, metric_count] = handle.column_counts;
            let (steps, lanes, batch) = (raw.step_count as usize, handle.lane_count, handle.batch_size);
            let sample_lanes = raw.sample_lane_count as usize;
            let rows = product(&[steps, lanes])?;
            let batches = product(&[steps, sample_lanes])?;
            let samples = product(&[batches, batch])?;
            let mut table = StepTable::new(StepTableParts {
                dataset: &handle.dataset,
                step_count: steps,
                lane_count: lanes,
                batch_size: batch,
                hyper_count,
                metric_count,
                first_steps: slice(raw.first_steps, lanes, "first_steps")?,
                lane_steps: slice(raw.lane_steps, lanes, "lane_steps")?,
                sample_lane_count: sample_lanes,
                sample_counts: slice(raw.sample_counts, batches, "sample_counts")?,
                samples: slice(raw.samples, samples, "samples")?,
                epochs: slice(raw.epochs, samples, "epochs")?,
                hypers: slice(raw.hypers, product(&[rows, hyper_count])?, "hypers")?,
                cancel: cancel_flag(raw.cancel),
                steps_done: slice_mut(raw.lane_steps_done, lanes, "lane_steps_done")?,
                metrics: slice_mut(raw.metrics, product(&[rows, metric_count])?, "metrics")?,
            })?;
            handle.session.step(&mut table)?;
            match (table.is_complete(), table.cancelled()) {
                (true, _) => Ok(clr_abi::OK),
                (false, true) => Ok(clr_abi::CANCELLED),
                (false, false) => Err(Error::internal("the plugin returned before all steps were done")),
            }
        })
    }
}

unsafe extern "C" fn session_evaluate<P: Exported>(
    session: *mut clr_abi::Session,
    evaluate: *const clr_abi::Evaluate,
    error: *mut clr_abi::Error,
) -> clr_abi::Status {
    // SAFETY: the host passes a session of this plugin, to one call at a time, and tables as the header says.
    unsafe {
        guard_session::<P>(session, error, |handle| {
            let raw = read_sized(evaluate, "evaluate")?;
            let [_, metric_count] = handle.column_counts;
            let split = split(raw.split)?;
            let samples = sample_range(raw.first, raw.count)?;
            let active = slice(raw.active, handle.lane_count, "active")?;
            let active: Vec<bool> = active.iter().map(|&active| active != 0).collect();
            let metrics = slice_mut(raw.metrics, product(&[handle.lane_count, metric_count])?, "metrics")?;
            let cancel = cancel_flag(raw.cancel);
            let mut evaluate = Evaluate::new(&handle.dataset, split, samples, &active, cancel, metrics)?;
            handle.session.evaluate(&mut evaluate)?;
            match (evaluate.is_complete(), evaluate.cancelled()) {
                (true, _) => Ok(clr_abi::OK),
                (false, true) => Ok(clr_abi::CANCELLED),
                (false, false) => Err(Error::internal("the plugin did not measure every active lane")),
            }
        })
    }
}

unsafe extern "C" fn session_lane_reset<P: Exported>(
    session: *mut clr_abi::Session,
    lane: u32,
    trial: *const clr_abi::Lane,
    error: *mut clr_abi::Error,
) -> clr_abi::Status {
    // SAFETY: the host passes a session of this plugin, to one call at a time, and a struct as the header says.
    unsafe {
        guard_session::<P>(session, error, |handle| {
            let lane = handle.lane(lane)?;
            let trial = read_lane::<P>(&read_sized(trial, "trial")?)?;
            handle.session.reset_lane(lane, &trial, &handle.dataset)?;
            handle.tensors[lane] = None;
            Ok(clr_abi::OK)
        })
    }
}

unsafe extern "C" fn session_destroy<P: Exported>(session: *mut clr_abi::Session) {
    if session.is_null() {
        return;
    }
    // There is nobody to tell of a panic in a destructor.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: made by session_create from a box, and ended once.
        drop(unsafe { Box::from_raw(session.cast::<Handle<P::Session>>()) });
    }));
}

unsafe extern "C" fn extension<P: Exported>(id: clr_abi::Str) -> *const c_void {
    // SAFETY: the host passes a text as the header says.
    match unsafe { text(id, "id") } {
        Ok(clr_abi::STATE_ID) => {
            let table: &'static clr_abi::StateApi = const { &state_api::<P>() };
            std::ptr::from_ref(table).cast()
        }
        Ok(clr_abi::PARAMETERS_ID) if P::PARAMETERS.is_some() => {
            let table: &'static clr_abi::ParametersApi = const { &parameters_api::<P>() };
            std::ptr::from_ref(table).cast()
        }
        Ok(clr_abi::ENSEMBLE_ID) if P::HAS_SCORES => {
            let table: &'static clr_abi::EnsembleApi = const { &ensemble_api::<P>() };
            std::ptr::from_ref(table).cast()
        }
        _ => std::ptr::null(),
    }
}

const fn state_api<P: Exported>() -> clr_abi::StateApi {
    clr_abi::StateApi {
        struct_size: size_of::<clr_abi::StateApi>(),
        tensors: Some(tensors::<P>),
        save: Some(save::<P>),
        load: Some(load::<P>),
    }
}

const fn parameters_api<P: Exported>() -> clr_abi::ParametersApi {
    clr_abi::ParametersApi { struct_size: size_of::<clr_abi::ParametersApi>(), parameters: Some(parameters::<P>) }
}

const fn ensemble_api<P: Exported>() -> clr_abi::EnsembleApi {
    clr_abi::EnsembleApi {
        struct_size: size_of::<clr_abi::EnsembleApi>(),
        scores: Some(scores::<P>),
        average_statistics: Some(average_statistics::<P>),
    }
}

unsafe extern "C" fn scores<P: Exported>(
    session: *mut clr_abi::Session,
    scores: *const clr_abi::Scores,
    error: *mut clr_abi::Error,
) -> clr_abi::Status {
    // SAFETY: the host passes a session of this plugin, to one call at a time, and a table as the header says.
    unsafe {
        guard_session::<P>(session, error, |handle| {
            let raw = read_sized(scores, "scores")?;
            let (lane, split) = (handle.lane(raw.lane)?, split(raw.split)?);
            let samples = sample_range(raw.first, raw.count)?;
            let logits = slice_mut(raw.logits, product(&[samples.len(), handle.dataset.class_count()])?, "logits")?;
            let cancel = cancel_flag(raw.cancel);
            let mut scores = Scores::new(&handle.dataset, split, samples, lane, cancel, logits)?;
            handle.session.scores(&mut scores)?;
            match (scores.is_complete(), scores.cancelled()) {
                (true, _) => Ok(clr_abi::OK),
                (false, true) => Ok(clr_abi::CANCELLED),
                (false, false) => Err(Error::internal("the plugin did not score every sample")),
            }
        })
    }
}

unsafe extern "C" fn average_statistics<P: Exported>(
    session: *mut clr_abi::Session,
    lane: u32,
    samples: *const u32,
    sample_count: u64,
    error: *mut clr_abi::Error,
) -> clr_abi::Status {
    // SAFETY: the host passes a session of this plugin, to one call at a time, and as many samples as it says.
    unsafe {
        guard_session::<P>(session, error, |handle| {
            let lane = handle.lane(lane)?;
            let count = usize::try_from(sample_count).map_err(|_| Error::invalid("too many samples"))?;
            let samples = slice(samples, count, "samples")?;
            let total = handle.dataset.count(Split::Train) as u64;
            if let Some(sample) = samples.iter().find(|&&sample| u64::from(sample) >= total) {
                return Err(Error::invalid(format!("sample {sample} of a train split of {total}")));
            }
            handle.session.average_statistics(lane, samples, &handle.dataset)?;
            Ok(clr_abi::OK)
        })
    }
}

unsafe extern "C" fn parameters<P: Exported>(
    config: *const clr_abi::SessionConfig,
    context: *mut c_void,
    take: Option<clr_abi::TakeParameter>,
    error: *mut clr_abi::Error,
) -> clr_abi::Status {
    guard(error, || {
        let (Some(list), Some(take)) = (P::PARAMETERS, take) else {
            return Err(Error::invalid("there is nothing to list parameters with"));
        };
        // SAFETY: the host passes a struct that begins with its size.
        let raw = unsafe { read_sized(config, "config") }?;
        // SAFETY: as above, for what the struct points to.
        let parameters = unsafe { with_config::<P, _>(&raw, false, |config, _| list(config)) }?;
        for parameter in &parameters {
            let raw = clr_abi::Parameter {
                struct_size: size_of::<clr_abi::Parameter>(),
                name: clr_abi::Str::new(&parameter.name),
                value_count: parameter.value_count as u64,
                lr_mult: parameter.lr_mult,
                decay_mult: parameter.decay_mult,
            };
            // SAFETY: the host's function with its own context, and a struct that lives through the call.
            unsafe { take(context, &raw const raw) };
        }
        Ok(())
    })
}

unsafe extern "C" fn tensors<P: Exported>(
    session: *mut clr_abi::Session,
    lane: u32,
    target: *mut *const clr_abi::Tensor,
    count: *mut u32,
    error: *mut clr_abi::Error,
) -> clr_abi::Status {
    // SAFETY: the host passes a session of this plugin, to one call at a time, and two places to write to.
    unsafe {
        guard_session::<P>(session, error, |handle| {
            crate::ffi::check_pointer(target, "tensors")?;
            crate::ffi::check_pointer(count, "tensor_count")?;
            let table = handle.tensor_table(lane)?;
            target.write(table.raw().as_ptr());
            count.write(table.raw().len() as u32);
            Ok(clr_abi::OK)
        })
    }
}

unsafe extern "C" fn save<P: Exported>(
    session: *mut clr_abi::Session,
    lane: u32,
    tensor: u32,
    values: *mut f32,
    error: *mut clr_abi::Error,
) -> clr_abi::Status {
    // SAFETY: the host passes a session of this plugin, to one call at a time, and as many values as the tensor has.
    unsafe {
        guard_session::<P>(session, error, |handle| {
            let count = handle.tensor_table(lane)?.element_count(tensor)?;
            let values = slice_mut(values, count, "values")?;
            handle.session.save(lane as usize, tensor as usize, values)?;
            Ok(clr_abi::OK)
        })
    }
}

unsafe extern "C" fn load<P: Exported>(
    session: *mut clr_abi::Session,
    lane: u32,
    tensor: u32,
    values: *const f32,
    error: *mut clr_abi::Error,
) -> clr_abi::Status {
    // SAFETY: the host passes a session of this plugin, to one call at a time, and as many values as the tensor has.
    unsafe {
        guard_session::<P>(session, error, |handle| {
            let count = handle.tensor_table(lane)?.element_count(tensor)?;
            let values = slice(values, count, "values")?;
            handle.session.load(lane as usize, tensor as usize, values)?;
            Ok(clr_abi::OK)
        })
    }
}

/// Runs `call`; turns its error, or its panic, into a status and a message.
fn guard(error: *mut clr_abi::Error, call: impl FnOnce() -> Result<(), Error>) -> clr_abi::Status {
    let result = catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| Err(panic_error(&*payload)));
    match result {
        Ok(()) => clr_abi::OK,
        // SAFETY: the host passes an error as the header says.
        Err(failure) => unsafe { write_error(error, &failure) },
    }
}

/// As [`guard`], for a call on a session, which is used no more after an error that may have left it half changed.
///
/// # Safety
/// `session` is null or a session of this plugin on which no other call runs.
unsafe fn guard_session<P: Exported>(
    session: *mut clr_abi::Session,
    error: *mut clr_abi::Error,
    call: impl FnOnce(&mut Handle<P::Session>) -> Result<clr_abi::Status, Error>,
) -> clr_abi::Status {
    let mut status = clr_abi::OK;
    let failed = guard(error, || {
        crate::ffi::check_pointer(session.cast::<Handle<P::Session>>(), "session")?;
        // SAFETY: the caller's.
        let handle = unsafe { &mut *session.cast::<Handle<P::Session>>() };
        if handle.broken {
            return Err(Error::internal("an earlier call on this session failed"));
        }
        // Set beforehand, so that a panic leaves it so.
        handle.broken = true;
        let result = call(handle);
        handle.broken = match &result {
            Ok(_) => false,
            Err(error) => !matches!(error.status, Status::InvalidArgument | Status::Unsupported),
        };
        status = result?;
        Ok(())
    });
    if failed == clr_abi::OK { status } else { failed }
}

/// Copies all fields but the first, `struct_size`, which is the host's.
///
/// # Safety
/// `target` points to a struct of at least the size of `T`, a `repr(C)` struct that begins with a `usize`.
unsafe fn write_fields<T: Copy>(target: *mut T, value: &T) {
    let source = std::ptr::from_ref(value).cast::<u8>();
    let first = size_of::<usize>();
    // SAFETY: both have the size of T and do not overlap.
    unsafe { target.cast::<u8>().add(first).copy_from_nonoverlapping(source.add(first), size_of::<T>() - first) };
}

/// # Safety
/// `flag` is null or points to a byte of 0 or 1 that is there for the length of the call.
unsafe fn cancel_flag<'a>(flag: *const u8) -> Option<&'a AtomicBool> {
    if flag.is_null() {
        return None;
    }
    // SAFETY: AtomicBool has the size of a byte; the plugin only loads from it.
    Some(unsafe { AtomicBool::from_ptr(flag.cast_mut().cast::<bool>()) })
}

fn sample_range(first: u64, count: u64) -> Result<Range<usize>, Error> {
    let end = first.checked_add(count).and_then(|end| usize::try_from(end).ok());
    // What is not beyond the end fits too.
    end.map(|end| first as usize..end).ok_or_else(|| Error::invalid(format!("{count} samples from {first}")))
}

fn product(factors: &[usize]) -> Result<usize, Error> {
    factors
        .iter()
        .try_fold(1usize, |product, &factor| product.checked_mul(factor))
        .ok_or_else(|| Error::invalid("a table is too large"))
}

/// The last panic of this library: text and place.
static LAST_PANIC: Mutex<Option<(String, String)>> = Mutex::new(None);

/// A panic becomes an error's message, so it is not printed as well. The hook is this library's own: a plugin has its own
/// copy of the standard library. [`export!`] installs it in the exported symbol only, and not in tests within a process.
pub fn keep_panics_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let place = info.location().map_or_else(String::new, |location| format!(" at {location}"));
            *LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner) = Some((panic_text(info.payload()), place));
        }));
    });
}

fn panic_error(payload: &(dyn Any + Send)) -> Error {
    let text = panic_text(payload);
    let last = LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner).take();
    let place = last.filter(|(last, _)| *last == text).map_or_else(String::new, |(_, place)| place);
    Error::internal(format!("panicked{place}: {text}"))
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (None, Some(text)) => text.clone(),
        (None, None) => "a value that is no text".to_owned(),
    }
}
