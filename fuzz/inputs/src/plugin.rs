//! A plugin inside this process whose answers come from outside bytes. It lies about everything but where its memory is,
//! which no host can check.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::{c_char, c_void};
use std::ptr::null;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clr_abi::{Status, Str};
use clr_host::{
    Completion, Data, HostError, Images, Lane, Plugin, Session, SessionConfig, Split, SplitData, StepCall, Transform,
};
use clr_plan::{example, plan};
use clr_run::gather::plugin_facts;
use clr_run::show;
use clr_spec::{SourceFile, parse};
use clr_terminal::terminal::Terminal;

use super::Target;

pub(super) const DESCRIPTION: Target =
    Target { name: "plugin_description", read: read_description, seeds: || random_seeds(6, 600) };
pub(super) const SESSION: Target = Target { name: "plugin_session", read: drive, seeds: || random_seeds(6, 400) };

/// What the plugin will say, and what it said: kept until the next input, as a plugin's memory is.
#[derive(Default)]
struct Answers {
    bytes: Vec<u8>,
    at: usize,
    said: Vec<Box<[u64]>>,
}

thread_local! {
    static ANSWERS: RefCell<Answers> = RefCell::default();
}

fn begin(bytes: &[u8]) {
    ANSWERS.with_borrow_mut(|answers| *answers = Answers { bytes: bytes.to_vec(), ..Answers::default() });
}

/// The next `N` bytes of the input; zeros after its end.
fn take<const N: usize>() -> [u8; N] {
    ANSWERS.with_borrow_mut(|answers| {
        let mut taken = [0; N];
        for byte in &mut taken {
            *byte = answers.bytes.get(answers.at).copied().unwrap_or(0);
            answers.at += 1;
        }
        taken
    })
}

fn byte() -> u8 {
    take::<1>()[0]
}

fn word() -> u32 {
    u32::from_le_bytes(take())
}

/// True for about one input byte in sixteen: most answers are good, so that the next ones are asked for.
fn lies() -> bool {
    byte() & 15 == 15
}

/// Memory that stays until the next input, aligned for any struct.
fn keep(bytes: &[u8]) -> *mut u8 {
    ANSWERS.with_borrow_mut(|answers| {
        let mut words = vec![0u64; bytes.len().div_ceil(8) + 1].into_boxed_slice();
        for (word, chunk) in words.iter_mut().zip(bytes.chunks(8)) {
            let mut padded = [0; 8];
            padded[..chunk.len()].copy_from_slice(chunk);
            *word = u64::from_ne_bytes(padded);
        }
        let pointer = words.as_mut_ptr().cast::<u8>();
        answers.said.push(words);
        pointer
    })
}

/// A text: often the one that is expected.
fn text(expected: &str) -> Str {
    if !lies() {
        return Str { data: keep(expected.as_bytes()).cast::<c_char>(), size: expected.len() };
    }
    match byte() % 4 {
        0 => Str { data: null(), size: word() as usize },
        1 => Str { data: keep(b"x").cast::<c_char>(), size: usize::MAX - usize::from(byte()) },
        _ => {
            let size = usize::from(byte());
            let bytes: Vec<u8> = (0..size).map(|_| byte()).collect();
            Str { data: keep(&bytes).cast::<c_char>(), size }
        }
    }
}

/// An array of structs and its length. Lies about the length only where nothing can be read.
fn array<T: Copy>(elements: &[T]) -> (*const T, u32) {
    let count = elements.len() as u32;
    let size = size_of::<T>();
    let are_structs = size > size_of::<Str>();
    // Structs of a later minor version are longer.
    let longer = if are_structs && lies() { size + 8 * usize::from(byte()) } else { size };
    let mut stride = longer;
    let mut bytes = Vec::new();
    for (index, element) in elements.iter().enumerate() {
        // SAFETY: an element is `size` bytes that may be read; padding, if any, is copied by no one's leave but C's.
        let source = unsafe { std::slice::from_raw_parts(std::ptr::from_ref(element).cast::<u8>(), size) };
        let mut element = source.to_vec();
        if longer > size && !lies() {
            element[..8].copy_from_slice(&longer.to_ne_bytes());
        }
        if are_structs && index == 0 {
            // The host steps by the size that the first struct says it has, so the next ones are there.
            let said = element.first_chunk().map_or(size, |said| usize::from_ne_bytes(*said));
            stride = said.max(size);
        }
        element.resize(stride, 0);
        bytes.extend(element);
    }
    let pointer = keep(&bytes).cast::<T>().cast_const();
    if !lies() {
        return (pointer, count);
    }
    match byte() % 4 {
        0 => (null(), word()),
        1 => (pointer, word().max((1 << 20) + 1)),
        2 => (pointer.wrapping_byte_add(1), count),
        _ => (pointer, count.saturating_sub(1)),
    }
}

fn texts(expected: &[&str]) -> (*const Str, u32) {
    let texts: Vec<Str> = expected.iter().map(|expected| text(expected)).collect();
    array(&texts)
}

/// The size that a struct says it has.
fn size_of_struct<T>() -> usize {
    if lies() { usize::from(byte()) } else { size_of::<T>() }
}

/// A status, with a message where it is none of success.
fn status(error: *mut clr_abi::Error) -> Status {
    if !lies() {
        return clr_abi::OK;
    }
    // SAFETY: the host gives a place for the error.
    let error = unsafe { &mut *error };
    error.message_size = if lies() { word() } else { 8 };
    error.message[..8].copy_from_slice(&take::<8>().map(|byte| byte as c_char));
    if lies() { word() as Status } else { Status::from(byte() % 8) }
}

const SCHEMA: &str = r#"{"type": "object", "properties": {
    "width": {"type": "integer", "minimum": 1, "default": 32},
    "pool": {"enum": ["max", "average"], "default": "max"}}, "required": ["width"]}"#;

unsafe extern "C" fn describe(plugin: *mut clr_abi::Plugin, error: *mut clr_abi::Error) -> Status {
    let (hypers, hyper_count) = texts(&["lr", "momentum", "weight_decay"]);
    let (metrics, metric_count) = texts(&["loss", "accuracy"]);
    let model = |name| clr_abi::Model {
        struct_size: size_of_struct::<clr_abi::Model>(),
        name: text(name),
        options_schema: text(SCHEMA),
        defaults: text(r#"{"momentum": 0.9, "weight_decay": 0.004}"#),
        hypers,
        hyper_count,
        metric_count,
        metrics,
    };
    let (models, model_count) = array(&[model("cifar10_full"), model("quick")]);
    let (used, used_count) = texts(&["lr", "momentum"]);
    let optimizer = |name| clr_abi::Optimizer {
        struct_size: size_of_struct::<clr_abi::Optimizer>(),
        name: text(name),
        options_schema: text(
            r#"{"properties": {"epsilon": {"type": "number", "default": 1e-8, "exclusiveMinimum": 0}}}"#,
        ),
        hypers: used,
        hyper_count: used_count,
    };
    let (optimizers, optimizer_count) = array(&[optimizer("sgd"), optimizer("adam")]);
    let (devices, device_count) = texts(&["cpu"]);
    // SAFETY: the host gives a place for the description.
    unsafe {
        *plugin = clr_abi::Plugin {
            struct_size: size_of_struct::<clr_abi::Plugin>(),
            name: text("cifar"),
            version: text("1.0"),
            models,
            optimizers,
            devices,
            model_count,
            optimizer_count,
            device_count,
            numerics_revision: word(),
        };
    }
    status(error)
}

/// An honest description, for sessions.
unsafe extern "C" fn describe_well(plugin: *mut clr_abi::Plugin, error: *mut clr_abi::Error) -> Status {
    let answers = ANSWERS.take();
    begin(&[]);
    // SAFETY: the caller's.
    let status = unsafe { describe(plugin, error) };
    // What was said must outlive the description only.
    ANSWERS.with_borrow_mut(|said| said.bytes = answers.bytes);
    ANSWERS.with_borrow_mut(|said| said.at = answers.at);
    status
}

/// What the plugin knows of a session: enough to write within the tables.
struct State {
    lanes: usize,
}

unsafe extern "C" fn footprint(
    _config: *const clr_abi::SessionConfig,
    footprint: *mut clr_abi::Footprint,
    error: *mut clr_abi::Error,
) -> Status {
    // SAFETY: the host gives a place for the footprint.
    let footprint = unsafe { &mut *footprint };
    footprint.bytes_shared = u64::from_le_bytes(take());
    footprint.bytes_per_lane = u64::from_le_bytes(take());
    footprint.numerics = take().map(|byte| byte as c_char);
    footprint.numerics_size = if lies() { word() } else { u32::from(byte() % 61) };
    status(error)
}

unsafe extern "C" fn session_create(
    config: *const clr_abi::SessionConfig,
    session: *mut *mut clr_abi::Session,
    error: *mut clr_abi::Error,
) -> Status {
    let status = status(error);
    if status == clr_abi::OK && !lies() {
        // SAFETY: the host gives a configuration and a place for the session.
        unsafe { *session = Box::into_raw(Box::new(State { lanes: (*config).lane_count as usize })).cast() };
    }
    status
}

unsafe extern "C" fn session_step(
    session: *mut clr_abi::Session,
    step: *mut clr_abi::Step,
    error: *mut clr_abi::Error,
) -> Status {
    // SAFETY: the session is one of ours; tables have the sizes that the header says.
    let (lanes, step) = unsafe { ((*session.cast::<State>()).lanes, &mut *step) };
    for lane in 0..lanes {
        // SAFETY: as above.
        unsafe { *step.lane_steps_done.add(lane) = if lies() { word() } else { *step.lane_steps.add(lane) } };
    }
    for value in 0..step.step_count as usize * lanes * METRICS {
        // SAFETY: as above.
        unsafe { *step.metrics.add(value) = f32::from_bits(word()) };
    }
    status(error)
}

unsafe extern "C" fn session_evaluate(
    session: *mut clr_abi::Session,
    evaluate: *const clr_abi::Evaluate,
    error: *mut clr_abi::Error,
) -> Status {
    // SAFETY: as for a step.
    let (lanes, evaluate) = unsafe { ((*session.cast::<State>()).lanes, &*evaluate) };
    for value in 0..lanes * METRICS {
        // SAFETY: as above.
        unsafe { *evaluate.metrics.add(value) = f32::from_bits(word()) };
    }
    status(error)
}

unsafe extern "C" fn session_lane_reset(
    _session: *mut clr_abi::Session,
    _lane: u32,
    _trial: *const clr_abi::Lane,
    error: *mut clr_abi::Error,
) -> Status {
    status(error)
}

unsafe extern "C" fn session_destroy(session: *mut clr_abi::Session) {
    // SAFETY: made by `session_create`, and used no more.
    drop(unsafe { Box::from_raw(session.cast::<State>()) });
}

unsafe extern "C" fn tensors(
    _session: *mut clr_abi::Session,
    _lane: u32,
    table: *mut *const clr_abi::Tensor,
    count: *mut u32,
    error: *mut clr_abi::Error,
) -> Status {
    let tensor = |name| {
        let mut shape = [1; clr_abi::MAX_RANK];
        shape[0] = u64::from(byte());
        if lies() {
            shape[1] = u64::from_le_bytes(take());
        }
        clr_abi::Tensor {
            struct_size: size_of_struct::<clr_abi::Tensor>(),
            name: text(name),
            role: if lies() { word() as i32 } else { clr_abi::WEIGHT },
            rank: if lies() { word() } else { 2 },
            shape,
        }
    };
    let (pointer, length) = array(&[tensor("weight"), tensor("momentum")]);
    // SAFETY: the host gives places for both.
    unsafe { (*table, *count) = (pointer, length) };
    status(error)
}

unsafe extern "C" fn save(
    _session: *mut clr_abi::Session,
    _lane: u32,
    _tensor: u32,
    values: *mut f32,
    error: *mut clr_abi::Error,
) -> Status {
    // SAFETY: a tensor that is saved has one element at least, as the driver below sees to.
    unsafe { *values = f32::from_bits(word()) };
    status(error)
}

unsafe extern "C" fn load(
    _session: *mut clr_abi::Session,
    _lane: u32,
    _tensor: u32,
    _values: *const f32,
    error: *mut clr_abi::Error,
) -> Status {
    status(error)
}

unsafe extern "C" fn extension(_id: Str) -> *const c_void {
    static STATE: clr_abi::StateApi = clr_abi::StateApi {
        struct_size: size_of::<clr_abi::StateApi>(),
        tensors: Some(tensors),
        save: Some(save),
        load: Some(load),
    };
    (&raw const STATE).cast()
}

const fn api(describe: unsafe extern "C" fn(*mut clr_abi::Plugin, *mut clr_abi::Error) -> Status) -> clr_abi::Api {
    clr_abi::Api {
        struct_size: size_of::<clr_abi::Api>(),
        abi_major: clr_abi::ABI_MAJOR,
        abi_minor: clr_abi::ABI_MINOR,
        describe: Some(describe),
        footprint: Some(footprint),
        session_create: Some(session_create),
        session_step: Some(session_step),
        session_evaluate: Some(session_evaluate),
        session_lane_reset: Some(session_lane_reset),
        session_destroy: Some(session_destroy),
        extension: Some(extension),
    }
}

fn plugin(api: &'static clr_abi::Api) -> Result<Plugin, HostError> {
    // SAFETY: the tables above are as the header says.
    unsafe { Plugin::new(api, "fuzzed.so".into(), String::new()) }
}

/// What a plugin says of itself: refused, or good enough to plan with.
fn read_description(bytes: &[u8]) {
    static API: clr_abi::Api = api(describe);
    begin(bytes);
    let Ok(plugin) = plugin(&API) else { return };
    let info = plugin.info();
    show::plugin(info, &Terminal::default());
    assert!(!info.models.is_empty() && !info.optimizers.is_empty());
    let mut facts = example::facts();
    facts.plugins.insert("cifar".to_owned(), Ok(plugin_facts(info)));
    let text = format!(
        "[experiment]\nname = \"a\"\n[model]\nplugin = \"cifar\"\narchitecture = {:?}\nwidth = [3, 4]\n\
         [data]\ndataset = \"cifar10\"\nbatch_size = 100\n[train]\niterations = 10\n\
         [policies.p]\nkind = \"fixed\"\nbase_lr = 0.1\n[optimizers.o]\nkind = {:?}\nmomentum = [0.5, 0.6]\nepsilon = 0.1\n",
        info.models[0].name, info.optimizers[0].name
    );
    let (spec, problems) = parse(&SourceFile { name: String::new(), text }, &[]);
    assert_eq!(problems, []);
    let _ = plan(&spec, &facts);
}

const LANES: usize = 2;
const BATCH: usize = 3;
const HYPERS: usize = 3;
const METRICS: usize = 2;

/// Calls a session's functions in an order that the bytes say, and holds its answers to the rules.
fn drive(bytes: &[u8]) {
    static API: clr_abi::Api = api(describe_well);
    begin(bytes);
    let plugin = plugin(&API).expect("a plugin that describes itself well");
    let config = config();
    if let Ok(footprint) = plugin.footprint(&config) {
        assert!(!footprint.numerics.is_empty() && footprint.numerics.is_ascii());
    }
    let Ok(mut session) = plugin.session(config) else { return };
    let mut broken = false;
    for _ in 0..8 {
        let result = match byte() % 5 {
            0 | 1 => step(&mut session),
            2 => evaluate(&mut session),
            3 => session.reset_lane(usize::from(byte() % 3), &lane()),
            _ => copy_tensors(&mut session, usize::from(byte() % 3)),
        };
        let is_refusal = matches!(result, Err(HostError::Broken { .. }));
        assert_eq!(broken, is_refusal, "{result:?}");
        broken |= result.is_err_and(|error| leaves_broken(&error));
    }
}

/// Whether a session must not be used after this.
fn leaves_broken(error: &HostError) -> bool {
    match error {
        HostError::Call { status, .. } => ![clr_abi::INVALID_ARGUMENT, clr_abi::UNSUPPORTED].contains(status),
        HostError::Answer { .. } | HostError::Broken { .. } => true,
        _ => false,
    }
}

fn step(session: &mut dyn Session) -> Result<(), HostError> {
    const STEPS: usize = 2;
    let lane_steps = [u32::from(byte() % 3), u32::from(byte() % 3)];
    let call = StepCall {
        step_count: STEPS as u32,
        first_steps: &[0; LANES],
        lane_steps: &lane_steps,
        shared_samples: true,
        sample_counts: &[BATCH as u32; STEPS],
        samples: &[0; STEPS * BATCH],
        epochs: &[0; STEPS * BATCH],
        hypers: &[0.1; STEPS * LANES * HYPERS],
    };
    let (mut done, mut metrics) = ([0; LANES], [0.0; STEPS * LANES * METRICS]);
    let cancelled = byte() & 1 == 1;
    let completion = session.step(&call, &mut done, &mut metrics, &AtomicBool::new(cancelled))?;
    for lane in 0..LANES {
        assert!(done[lane] <= lane_steps[lane]);
        assert!(done[lane] == lane_steps[lane] || (completion == Completion::Cancelled && cancelled));
        for row in done[lane] as usize..STEPS {
            let values = &metrics[(row * LANES + lane) * METRICS..][..METRICS];
            assert!(values.iter().all(|value| value.is_nan()), "a row of a step that was not made");
        }
    }
    Ok(())
}

fn evaluate(session: &mut dyn Session) -> Result<(), HostError> {
    let active = [byte() & 1 == 1, byte() & 1 == 1];
    let mut metrics = [0.0; LANES * METRICS];
    let cancelled = AtomicBool::new(byte() & 1 == 1);
    let completion = session.evaluate(Split::Test, 0, u64::from(byte() % 4), &active, &mut metrics, &cancelled)?;
    for (lane, values) in metrics.chunks(METRICS).enumerate() {
        let measured = active[lane] && completion == Completion::Complete;
        assert!(measured || values.iter().all(|value| value.is_nan()), "metrics of a lane that was not measured");
    }
    Ok(())
}

fn copy_tensors(session: &mut dyn Session, lane: usize) -> Result<(), HostError> {
    let tensors = session.tensors(lane)?.to_vec();
    for (index, tensor) in tensors.iter().enumerate() {
        assert_eq!(tensor.element_count as u128, tensor.shape.iter().map(|&size| u128::from(size)).product());
        if (1..=1 << 16).contains(&tensor.element_count) {
            let mut values = vec![0.0; tensor.element_count];
            session.save(lane, index, &mut values)?;
            session.load(lane, index, &values)?;
        }
    }
    Ok(())
}

fn lane() -> Lane {
    Lane { options_json: r#"{"optimizer": "sgd"}"#.into(), init_seed: 1, data_seed: 1 }
}

fn config() -> SessionConfig {
    let split = |count: usize| SplitData {
        count: count as u64,
        images: Images::new(Arc::new(vec![0u8; count]), 0..count),
        labels: Some(vec![0; count].into()),
    };
    SessionConfig {
        device: "cpu".to_owned(),
        model: "quick".to_owned(),
        model_json: "{}".to_owned(),
        dataset: Arc::new(Data {
            height: 1,
            width: 1,
            channels: 1,
            class_count: 1,
            splits: [split(3), SplitData::default(), split(3)],
            transform: Transform::default(),
            loader: None,
        }),
        batch_size: BATCH as u32,
        thread_count: 1,
        lanes: vec![lane(), lane()],
    }
}

/// Bytes at random, each time the same: an answer of almost every kind is in them.
fn random_seeds(count: u64, size: usize) -> Vec<(String, Vec<u8>)> {
    let mut seeds = vec![("honest".to_owned(), vec![0; 1])];
    seeds.extend((0..count).map(|number| {
        let words = clr_rng::Philox::new(number, clr_rng::Stream::Dataset).words(0);
        (format!("random_{number}"), words.take(size).map(|word| word as u8).collect())
    }));
    seeds
}
