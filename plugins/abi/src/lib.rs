//! The C ABI between clr-run and its model plugins: `include/clr_plugin.h`, mirrored.
//!
//! The header is the source of truth and the documentation; `tests/layout.rs` compares every size and offset with what a
//! C compiler makes of it. Pointers that a plugin must not leave null are still `Option` here where they are functions:
//! the other side is not trusted to keep its word. Each item is documented where it is defined, in the header.

use std::ffi::{c_char, c_void};

pub mod floating_point;

/// The text of `clr_plugin.h`.
pub const HEADER: &str = include_str!("../include/clr_plugin.h");
/// The text of `clr_image.h`, the transform of images for plugins in C.
pub const IMAGE_HEADER: &str = include_str!("../include/clr_image.h");

pub const ABI_MAJOR: u32 = 1;
pub const ABI_MINOR: u32 = 1;

/// The name of the only exported symbol, terminated.
pub const ENTRY: &[u8] = b"clr_plugin_api\0";

pub type Entry = unsafe extern "C" fn() -> *const Api;

pub type Status = i32;
pub const OK: Status = 0;
pub const INVALID_ARGUMENT: Status = 1;
pub const UNSUPPORTED: Status = 2;
pub const OUT_OF_MEMORY: Status = 3;
pub const DEVICE: Status = 4;
pub const INTERNAL: Status = 5;
pub const CANCELLED: Status = 6;

/// The header's name of a status.
pub fn status_name(status: Status) -> Option<&'static str> {
    Some(match status {
        OK => "CLR_OK",
        INVALID_ARGUMENT => "CLR_INVALID_ARGUMENT",
        UNSUPPORTED => "CLR_UNSUPPORTED",
        OUT_OF_MEMORY => "CLR_OUT_OF_MEMORY",
        DEVICE => "CLR_DEVICE",
        INTERNAL => "CLR_INTERNAL",
        CANCELLED => "CLR_CANCELLED",
        _ => return None,
    })
}

pub const TRAIN: u32 = 0;
pub const VALIDATION: u32 = 1;
pub const TEST: u32 = 2;
pub const SPLITS: usize = 3;

pub const WEIGHT: i32 = 1;
pub const OPTIMIZER_STATE: i32 = 2;
pub const BUFFER: i32 = 3;

pub const MESSAGE_CAPACITY: usize = 1024;
pub const NUMERICS_CAPACITY: usize = 60;
pub const MAX_RANK: usize = 6;

pub const STATE_ID: &str = "clr.state/1";
pub const PARAMETERS_ID: &str = "clr.parameters/1";
pub const ENSEMBLE_ID: &str = "clr.ensemble/1";

/// A session of a plugin: only ever pointed at.
#[repr(C)]
#[derive(Debug)]
pub struct Session {
    _opaque: [u8; 0],
}

/// The size and alignment that the C compiler must give a struct.
pub struct Layout {
    /// The name of the type in C.
    pub name: &'static str,
    pub size: usize,
    pub align: usize,
    /// Names (the same in C) and offsets.
    pub fields: Vec<(&'static str, usize)>,
}

/// Defines each struct in `repr(C)`, and [`layouts`] of them all.
macro_rules! mirror {
    ($($(#[$attribute:meta])* $name:ident = $c_name:literal { $($field:ident: $type:ty,)* })*) => {
        $(
            #[repr(C)]
            #[derive(Clone, Copy, Debug)]
            $(#[$attribute])*
            pub struct $name { $(pub $field: $type,)* }
        )*

        /// Size, alignment and offsets of every struct of the ABI.
        pub fn layouts() -> Vec<Layout> {
            vec![$(Layout {
                name: $c_name,
                size: size_of::<$name>(),
                align: align_of::<$name>(),
                fields: vec![$((stringify!($field), std::mem::offset_of!($name, $field)),)*],
            },)*]
        }
    };
}

mirror! {
    Str = "clr_str" {
        data: *const c_char,
        size: usize,
    }
    Error = "clr_error" {
        struct_size: usize,
        message_size: u32,
        message: [c_char; MESSAGE_CAPACITY],
    }
    Transform = "clr_transform" {
        struct_size: usize,
        mean: *const f32,
        mean_count: u64,
        scale: *const f32,
        scale_count: u64,
        pad: u32,
        crop_height: u32,
        crop_width: u32,
        flip: u32,
        min_area: f32,
        lighting: f32,
    }
    Split = "clr_split" {
        count: u64,
        images: *const u8,
        labels: *const i32,
    }
    Load = "clr_load" {
        struct_size: usize,
        split: u32,
        sample_count: u32,
        samples: *const u32,
        epochs: *const u32,
        data_seed: u64,
        images: *mut u8,
        labels: *mut i32,
    }
    Dataset = "clr_dataset" {
        struct_size: usize,
        height: u32,
        width: u32,
        channels: u32,
        class_count: u32,
        splits: [Split; SPLITS],
        transform: *const Transform,
        load_context: *mut c_void,
        load: Option<LoadFunction>,
    }
    Model = "clr_model" {
        struct_size: usize,
        name: Str,
        options_schema: Str,
        defaults: Str,
        hypers: *const Str,
        hyper_count: u32,
        metric_count: u32,
        metrics: *const Str,
    }
    Optimizer = "clr_optimizer" {
        struct_size: usize,
        name: Str,
        options_schema: Str,
        hypers: *const Str,
        hyper_count: u32,
    }
    Plugin = "clr_plugin" {
        struct_size: usize,
        name: Str,
        version: Str,
        models: *const Model,
        optimizers: *const Optimizer,
        devices: *const Str,
        model_count: u32,
        optimizer_count: u32,
        device_count: u32,
        numerics_revision: u32,
    }
    Lane = "clr_lane" {
        struct_size: usize,
        options: Str,
        init_seed: u64,
        data_seed: u64,
    }
    SessionConfig = "clr_session_config" {
        struct_size: usize,
        device: Str,
        model: Str,
        options: Str,
        dataset: *const Dataset,
        lanes: *const Lane,
        lane_count: u32,
        batch_size: u32,
        thread_count: u32,
        reserved: u32,
    }
    Footprint = "clr_footprint" {
        struct_size: usize,
        bytes_shared: u64,
        bytes_per_lane: u64,
        numerics_size: u32,
        numerics: [c_char; NUMERICS_CAPACITY],
    }
    Step = "clr_step" {
        struct_size: usize,
        step_count: u32,
        sample_lane_count: u32,
        first_steps: *const u64,
        lane_steps: *const u32,
        sample_counts: *const u32,
        samples: *const u32,
        epochs: *const u32,
        hypers: *const f32,
        cancel: *const u8,
        lane_steps_done: *mut u32,
        metrics: *mut f32,
    }
    Evaluate = "clr_evaluate" {
        struct_size: usize,
        split: u32,
        reserved: u32,
        first: u64,
        count: u64,
        active: *const u8,
        cancel: *const u8,
        metrics: *mut f32,
    }
    Api = "clr_api" {
        struct_size: usize,
        abi_major: u32,
        abi_minor: u32,
        describe: Option<unsafe extern "C" fn(plugin: *mut Plugin, error: *mut Error) -> Status>,
        footprint: Option<
            unsafe extern "C" fn(config: *const SessionConfig, footprint: *mut Footprint, error: *mut Error) -> Status,
        >,
        session_create: Option<
            unsafe extern "C" fn(config: *const SessionConfig, session: *mut *mut Session, error: *mut Error) -> Status,
        >,
        session_step:
            Option<unsafe extern "C" fn(session: *mut Session, step: *mut Step, error: *mut Error) -> Status>,
        session_evaluate: Option<
            unsafe extern "C" fn(session: *mut Session, evaluate: *const Evaluate, error: *mut Error) -> Status,
        >,
        session_lane_reset: Option<
            unsafe extern "C" fn(session: *mut Session, lane: u32, trial: *const Lane, error: *mut Error) -> Status,
        >,
        session_destroy: Option<unsafe extern "C" fn(session: *mut Session)>,
        extension: Option<unsafe extern "C" fn(id: Str) -> *const c_void>,
    }
    Tensor = "clr_tensor" {
        struct_size: usize,
        name: Str,
        role: i32,
        rank: u32,
        shape: [u64; MAX_RANK],
    }
    Parameter = "clr_parameter" {
        struct_size: usize,
        name: Str,
        value_count: u64,
        lr_mult: f32,
        decay_mult: f32,
    }
    ParametersApi = "clr_parameters_api" {
        struct_size: usize,
        parameters: Option<
            unsafe extern "C" fn(
                config: *const SessionConfig,
                context: *mut c_void,
                take: Option<TakeParameter>,
                error: *mut Error,
            ) -> Status,
        >,
    }
    Scores = "clr_scores" {
        struct_size: usize,
        lane: u32,
        split: u32,
        first: u64,
        count: u64,
        cancel: *const u8,
        logits: *mut f32,
    }
    EnsembleApi = "clr_ensemble_api" {
        struct_size: usize,
        scores: Option<unsafe extern "C" fn(session: *mut Session, scores: *const Scores, error: *mut Error) -> Status>,
        average_statistics: Option<
            unsafe extern "C" fn(
                session: *mut Session,
                lane: u32,
                samples: *const u32,
                sample_count: u64,
                error: *mut Error,
            ) -> Status,
        >,
    }
    StateApi = "clr_state_api" {
        struct_size: usize,
        tensors: Option<
            unsafe extern "C" fn(
                session: *mut Session,
                lane: u32,
                tensors: *mut *const Tensor,
                tensor_count: *mut u32,
                error: *mut Error,
            ) -> Status,
        >,
        save: Option<
            unsafe extern "C" fn(
                session: *mut Session,
                lane: u32,
                tensor: u32,
                values: *mut f32,
                error: *mut Error,
            ) -> Status,
        >,
        load: Option<
            unsafe extern "C" fn(
                session: *mut Session,
                lane: u32,
                tensor: u32,
                values: *const f32,
                error: *mut Error,
            ) -> Status,
        >,
    }
}

/// Takes what is said of one parameter.
pub type TakeParameter = unsafe extern "C" fn(context: *mut c_void, parameter: *const Parameter);

/// Fills a batch of streamed images.
pub type LoadFunction = unsafe extern "C" fn(load_context: *mut c_void, load: *const Load, error: *mut Error) -> Status;

impl Str {
    /// Borrows a text: valid as long as that is.
    pub fn new(text: &str) -> Str {
        Str { data: text.as_ptr().cast(), size: text.len() }
    }

    pub const EMPTY: Str = Str { data: std::ptr::null(), size: 0 };
}

impl Error {
    /// As the caller of a function passes it.
    pub fn new() -> Error {
        Error { struct_size: size_of::<Error>(), message_size: 0, message: [0; MESSAGE_CAPACITY] }
    }

    /// The message, with what is not UTF-8 replaced.
    pub fn text(&self) -> String {
        let size = (self.message_size as usize).min(MESSAGE_CAPACITY);
        let bytes: Vec<u8> = self.message[..size].iter().map(|&byte| byte as u8).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Default for Error {
    fn default() -> Error {
        Error::new()
    }
}
