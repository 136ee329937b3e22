//! Loads a library and refuses what this host cannot work with.
#![allow(unsafe_code)]

use std::collections::HashSet;
use std::ffi::c_void;
use std::path::Path;
use std::sync::Arc;

use clr_abi::floating_point::kept;
use clr_system::regular;

use super::config::{BorrowedConfig, SessionConfig};
use super::describe;
use super::info::{ParameterInfo, PluginInfo};
use super::raw;
use super::{Footprint, HostError};

/// Longer files are no libraries: one with all kernels of a GPU's vendor has some gigabytes.
const LARGEST_LIBRARY: u64 = 1 << 34;

/// A loaded plugin. It stays loaded for the life of the process: threads, thread-locals and handlers of a library that is
/// gone would crash us.
#[derive(Clone, Debug)]
pub struct Plugin {
    inner: Arc<Inner>,
    left_by_loading: Option<Arc<str>>,
}

#[derive(Debug)]
struct Inner {
    info: PluginInfo,
    api: &'static clr_abi::Api,
    functions: Functions,
}

/// The table's functions, each known to be there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Functions {
    pub(super) footprint: unsafe extern "C" fn(
        *const clr_abi::SessionConfig,
        *mut clr_abi::Footprint,
        *mut clr_abi::Error,
    ) -> clr_abi::Status,
    pub(super) session_create: unsafe extern "C" fn(
        *const clr_abi::SessionConfig,
        *mut *mut clr_abi::Session,
        *mut clr_abi::Error,
    ) -> clr_abi::Status,
    pub(super) session_step:
        unsafe extern "C" fn(*mut clr_abi::Session, *mut clr_abi::Step, *mut clr_abi::Error) -> clr_abi::Status,
    pub(super) session_evaluate:
        unsafe extern "C" fn(*mut clr_abi::Session, *const clr_abi::Evaluate, *mut clr_abi::Error) -> clr_abi::Status,
    pub(super) session_lane_reset:
        unsafe extern "C" fn(*mut clr_abi::Session, u32, *const clr_abi::Lane, *mut clr_abi::Error) -> clr_abi::Status,
    pub(super) session_destroy: unsafe extern "C" fn(*mut clr_abi::Session),
    pub(super) state: Option<StateFunctions>,
    parameters: Option<ParametersFunction>,
    pub(super) ensemble: Option<EnsembleFunctions>,
}

/// The functions of `clr.ensemble/1`.
#[derive(Clone, Copy, Debug)]
pub(super) struct EnsembleFunctions {
    pub(super) scores:
        unsafe extern "C" fn(*mut clr_abi::Session, *const clr_abi::Scores, *mut clr_abi::Error) -> clr_abi::Status,
    pub(super) average_statistics:
        unsafe extern "C" fn(*mut clr_abi::Session, u32, *const u32, u64, *mut clr_abi::Error) -> clr_abi::Status,
}

/// The function of `clr.parameters/1`.
type ParametersFunction = unsafe extern "C" fn(
    *const clr_abi::SessionConfig,
    *mut c_void,
    Option<clr_abi::TakeParameter>,
    *mut clr_abi::Error,
) -> clr_abi::Status;

/// The functions of `clr.state/1`.
#[derive(Clone, Copy, Debug)]
pub(super) struct StateFunctions {
    pub(super) tensors: unsafe extern "C" fn(
        *mut clr_abi::Session,
        u32,
        *mut *const clr_abi::Tensor,
        *mut u32,
        *mut clr_abi::Error,
    ) -> clr_abi::Status,
    pub(super) save:
        unsafe extern "C" fn(*mut clr_abi::Session, u32, u32, *mut f32, *mut clr_abi::Error) -> clr_abi::Status,
    pub(super) load:
        unsafe extern "C" fn(*mut clr_abi::Session, u32, u32, *const f32, *mut clr_abi::Error) -> clr_abi::Status,
}

impl Plugin {
    /// Loads a library, which runs its initialisers, and checks what it says of itself.
    pub fn load(path: &Path) -> Result<Plugin, HostError> {
        Plugin::load_if(path, |_| Ok(()))
    }

    /// As [`Plugin::load`], of a file that must have this digest: BLAKE3, in hexadecimal. No other is loaded.
    pub fn load_pinned(path: &Path, digest: &str) -> Result<Plugin, HostError> {
        Plugin::load_if(path, |found| {
            if found == digest {
                return Ok(());
            }
            Err(format!("its BLAKE3 digest is {found}, and it is pinned to {digest}"))
        })
    }

    /// Loads a library if its digest is accepted.
    pub fn load_if(path: &Path, accept: impl FnOnce(&str) -> Result<(), String>) -> Result<Plugin, HostError> {
        let failed = |message: String| HostError::Load { path: path.to_owned(), message };
        // With a separator in it, so that the system's own search path is not searched.
        let absolute = std::path::absolute(path).map_err(|error| failed(error.to_string()))?;
        let digest = digest(&absolute).map_err(|error| failed(error.to_string()))?;
        accept(&digest).map_err(|problem| HostError::Refused { path: path.to_owned(), problems: vec![problem] })?;
        // SAFETY: the user named this library, or put it where plugins are.
        let (library, left) = kept(|| unsafe { libloading::Library::new(&absolute) });
        let library = library.map_err(|error| failed(error.to_string()))?;
        if let Some(left) = &left {
            // Compilers' fast-math libraries do that, and it is undone.
            tracing::warn!(path = %path.display(), left, "loading a plugin");
        }
        let refused = |problem: &str| HostError::Refused { path: path.to_owned(), problems: vec![problem.to_owned()] };
        // SAFETY: the symbol of that name has that type, by the ABI.
        let entry = unsafe { library.get::<clr_abi::Entry>(clr_abi::ENTRY) }
            .map_err(|_| refused("no symbol `clr_plugin_api`: it is not a clr-run plugin"))?;
        // SAFETY: the entry takes nothing and may be called at any time.
        let api = unsafe { entry() };
        std::mem::forget(library);
        // SAFETY: the table is valid for the life of the process, by the ABI.
        let plugin = unsafe { Plugin::new(api, absolute, digest) }?;
        Ok(Plugin { left_by_loading: left.map(Into::into), ..plugin })
    }

    /// The changes by loading the library that would have concerned all later computations of this thread, had the host not
    /// restored them.
    pub fn left_by_loading(&self) -> Option<&str> {
        self.left_by_loading.as_deref()
    }

    /// # Safety
    /// `api` is null or a plugin's table.
    pub unsafe fn new(api: *const clr_abi::Api, path: std::path::PathBuf, digest: String) -> Result<Plugin, HostError> {
        let refused = |problems: Vec<String>| HostError::Refused { path: path.clone(), problems };
        // SAFETY: the caller's.
        let api = unsafe { check_table(api) }.map_err(|problem| refused(vec![problem]))?;
        // SAFETY: the caller's.
        let (describe, functions) = unsafe { functions(api) }.map_err(refused)?;
        let mut plugin = raw::sized::<clr_abi::Plugin>();
        let mut error = clr_abi::Error::new();
        // SAFETY: both structs are as the header says.
        let (status, left) = kept(|| unsafe { describe(&raw mut plugin, &raw mut error) });
        if status != clr_abi::OK {
            let name = clr_abi::status_name(status).unwrap_or("an unknown status");
            return Err(refused(vec![format!("describe: {} ({name})", error.text())]));
        }
        if let Some(left) = left {
            return Err(refused(vec![format!("describe: {left}")]));
        }
        // SAFETY: as filled by the plugin.
        let described = unsafe { describe::read(&plugin) }.map_err(refused)?;
        let info = PluginInfo {
            name: described.name,
            version: described.version,
            numerics_revision: described.numerics_revision,
            abi: (api.abi_major, api.abi_minor),
            path,
            digest,
            devices: described.devices,
            has_state: functions.state.is_some(),
            models: described.models,
            optimizers: described.optimizers,
        };
        Ok(Plugin { inner: Arc::new(Inner { info, api, functions }), left_by_loading: None })
    }

    pub fn info(&self) -> &PluginInfo {
        &self.inner.info
    }

    /// The table of functions, for the conformance suite.
    pub fn api(&self) -> &'static clr_abi::Api {
        self.inner.api
    }

    /// A configuration in C, if this plugin knows all that it says; its images too, for a session.
    pub(super) fn borrowed(
        &self,
        function: &'static str,
        config: &SessionConfig,
        needs_images: bool,
    ) -> Result<BorrowedConfig, HostError> {
        let (major, minor) = self.info().abi;
        if minor < config.dataset.transform.abi_minor() {
            let message = format!(
                "it was built for plugin ABI {major}.{minor}, which has neither random areas of images nor lighting: build it anew"
            );
            return Err(self.argument(function, message));
        }
        BorrowedConfig::new(config, needs_images).map_err(|message| self.argument(function, message))
    }

    /// The resources that a session of this configuration would use, or the errors that it would meet. The data may be sizes
    /// only.
    pub fn footprint(&self, config: &SessionConfig) -> Result<Footprint, HostError> {
        let function = "footprint";
        let borrowed = self.borrowed(function, config, false)?;
        let mut footprint = raw::sized::<clr_abi::Footprint>();
        let mut error = clr_abi::Error::new();
        // SAFETY: all structs are as the header says and live through the call.
        let call = || unsafe { (self.functions().footprint)(borrowed.raw(), &raw mut footprint, &raw mut error) };
        let (status, left) = kept(call);
        self.check(function, status, &error)?;
        self.check_left(function, left)?;
        let size = footprint.numerics_size as usize;
        let Some(bytes) = footprint.numerics.get(..size) else {
            return Err(self.answer(function, format!("numerics has {size} bytes, more than there is room for")));
        };
        let bytes: Vec<u8> = bytes.iter().map(|&byte| byte as u8).collect();
        let numerics = String::from_utf8(bytes).ok().filter(|text| !text.is_empty() && text.is_ascii());
        let Some(numerics) = numerics else {
            return Err(self.answer(function, "numerics is not a text of ASCII".to_owned()));
        };
        Ok(Footprint { bytes_shared: footprint.bytes_shared, bytes_per_lane: footprint.bytes_per_lane, numerics })
    }

    /// The parameters of the model that a configuration describes, of which only the model, its options and the data's sizes
    /// matter.
    pub fn parameters(&self, config: &SessionConfig) -> Result<Vec<ParameterInfo>, HostError> {
        let function = "clr.parameters/1 parameters";
        let Some(list) = self.functions().parameters else {
            return Err(self.answer(function, "the plugin does not list its models' parameters".to_owned()));
        };
        let borrowed = self.borrowed(function, config, false)?;
        let mut taken: Result<Vec<ParameterInfo>, String> = Ok(Vec::new());
        let mut error = clr_abi::Error::new();
        let context = (&raw mut taken).cast::<c_void>();
        // SAFETY: all structs are as the header says and live through the call; `take_parameter` gets the context that it
        // expects, in this thread.
        let call = || unsafe { list(borrowed.raw(), context, Some(take_parameter), &raw mut error) };
        let (status, left) = kept(call);
        self.check(function, status, &error)?;
        self.check_left(function, left)?;
        let parameters = taken.map_err(|problem| self.answer(function, problem))?;
        let mut names = HashSet::new();
        match parameters.iter().find(|parameter| parameter.name.is_empty() || !names.insert(&parameter.name)) {
            Some(wrong) => Err(self.answer(function, format!("a name is empty or there twice: {:?}", wrong.name))),
            None => Ok(parameters),
        }
    }

    pub(super) fn functions(&self) -> &Functions {
        &self.inner.functions
    }

    /// An error unless the status is CLR_OK.
    pub(super) fn check(
        &self,
        function: &'static str,
        status: clr_abi::Status,
        error: &clr_abi::Error,
    ) -> Result<(), HostError> {
        if status == clr_abi::OK {
            return Ok(());
        }
        let text = error.text();
        let message = if text.is_empty() { "no message".to_owned() } else { text };
        Err(HostError::Call { plugin: self.info().name.clone(), function, status, message })
    }

    /// An error where a call left something changed that is not its own.
    pub(super) fn check_left(&self, function: &'static str, left: Option<String>) -> Result<(), HostError> {
        left.map_or(Ok(()), |left| Err(self.answer(function, left)))
    }

    pub(super) fn answer(&self, function: &'static str, message: String) -> HostError {
        HostError::Answer { plugin: self.info().name.clone(), function, message }
    }

    pub(super) fn argument(&self, function: &'static str, message: String) -> HostError {
        HostError::Argument { plugin: self.info().name.clone(), function, message }
    }
}

/// The BLAKE3 hash of a library's file, in hexadecimal.
pub(super) fn digest(path: &Path) -> std::io::Result<String> {
    regular::digest(path, LARGEST_LIBRARY)
}

/// Checks the version before anything else is looked at: that part of the table is the same in every major.
///
/// # Safety
/// `api` is null or a plugin's table.
unsafe fn check_table(api: *const clr_abi::Api) -> Result<&'static clr_abi::Api, String> {
    if api.is_null() || !api.is_aligned() {
        return Err("`clr_plugin_api` returned no table".to_owned());
    }
    // SAFETY: not null, aligned, and its first field is a usize.
    let size = unsafe { api.cast::<usize>().read() };
    if size < std::mem::offset_of!(clr_abi::Api, describe) {
        return Err(format!("the table's struct_size is {size}"));
    }
    // SAFETY: the struct reaches beyond both fields.
    let (major, minor) = unsafe { ((&raw const (*api).abi_major).read(), (&raw const (*api).abi_minor).read()) };
    if major != clr_abi::ABI_MAJOR {
        return Err(format!(
            "it was built for plugin ABI {major}.{minor}, this clr-run speaks {}.{}: build both from the same release",
            clr_abi::ABI_MAJOR,
            clr_abi::ABI_MINOR
        ));
    }
    if size < size_of::<clr_abi::Api>() {
        return Err(format!("the table's struct_size is {size}, expected at least {}", size_of::<clr_abi::Api>()));
    }
    // SAFETY: as large as it needs to be, and static by the ABI.
    Ok(unsafe { &*api })
}

type Describe = unsafe extern "C" fn(*mut clr_abi::Plugin, *mut clr_abi::Error) -> clr_abi::Status;

/// The functions of a table; else which are missing.
///
/// # Safety
/// The table is a plugin's.
unsafe fn functions(api: &clr_abi::Api) -> Result<(Describe, Functions), Vec<String>> {
    let (
        Some(describe),
        Some(footprint),
        Some(session_create),
        Some(session_step),
        Some(session_evaluate),
        Some(session_lane_reset),
        Some(session_destroy),
        Some(extension),
    ) = (
        api.describe,
        api.footprint,
        api.session_create,
        api.session_step,
        api.session_evaluate,
        api.session_lane_reset,
        api.session_destroy,
        api.extension,
    )
    else {
        let missing = [
            ("describe", api.describe.is_none()),
            ("footprint", api.footprint.is_none()),
            ("session_create", api.session_create.is_none()),
            ("session_step", api.session_step.is_none()),
            ("session_evaluate", api.session_evaluate.is_none()),
            ("session_lane_reset", api.session_lane_reset.is_none()),
            ("session_destroy", api.session_destroy.is_none()),
            ("extension", api.extension.is_none()),
        ];
        return Err(missing.iter().filter(|(_, none)| *none).map(|(name, _)| format!("{name} is null")).collect());
    };
    // SAFETY: the text lives through the call.
    let table = unsafe { extension(clr_abi::Str::new(clr_abi::STATE_ID)) }.cast::<clr_abi::StateApi>();
    // SAFETY: the extension of that name has that type, by the ABI.
    let state = unsafe { state_functions(table) }.map_err(|problem| vec![problem])?;
    // SAFETY: as above.
    let table = unsafe { extension(clr_abi::Str::new(clr_abi::PARAMETERS_ID)) }.cast::<clr_abi::ParametersApi>();
    // SAFETY: as above.
    let parameters = unsafe { parameters_function(table) }.map_err(|problem| vec![problem])?;
    // SAFETY: as above.
    let table = unsafe { extension(clr_abi::Str::new(clr_abi::ENSEMBLE_ID)) }.cast::<clr_abi::EnsembleApi>();
    // SAFETY: as above.
    let ensemble = unsafe { ensemble_functions(table) }.map_err(|problem| vec![problem])?;
    let functions = Functions {
        ensemble,
        parameters,
        footprint,
        session_create,
        session_step,
        session_evaluate,
        session_lane_reset,
        session_destroy,
        state,
    };
    Ok((describe, functions))
}

/// # Safety
/// `table` is null or a plugin's.
unsafe fn parameters_function(table: *const clr_abi::ParametersApi) -> Result<Option<ParametersFunction>, String> {
    if table.is_null() {
        return Ok(None);
    }
    let id = clr_abi::PARAMETERS_ID;
    // SAFETY: the caller's; one struct, whose size is checked.
    let tables = unsafe { raw::structs(table, 1, id) }?;
    match tables.first().and_then(|table| table.parameters) {
        Some(parameters) => Ok(Some(parameters)),
        None => Err(format!("{id}: a function is null")),
    }
}

/// # Safety
/// `table` is null or a plugin's.
unsafe fn ensemble_functions(table: *const clr_abi::EnsembleApi) -> Result<Option<EnsembleFunctions>, String> {
    if table.is_null() {
        return Ok(None);
    }
    let id = clr_abi::ENSEMBLE_ID;
    // SAFETY: the caller's; one struct, whose size is checked.
    let tables = unsafe { raw::structs(table, 1, id) }?;
    match tables.first().map(|table| (table.scores, table.average_statistics)) {
        Some((Some(scores), Some(average_statistics))) => Ok(Some(EnsembleFunctions { scores, average_statistics })),
        _ => Err(format!("{id}: a function is null")),
    }
}

/// More parameters than this are taken for garbage.
const MOST_PARAMETERS: usize = 1 << 20;

/// Takes what a plugin tells of one parameter.
///
/// # Safety
/// `context` is the result that [`Plugin::parameters`] passes, which nobody else uses meanwhile; `parameter` is null or points to
/// a struct as the header says.
unsafe extern "C" fn take_parameter(context: *mut c_void, parameter: *const clr_abi::Parameter) {
    // SAFETY: the caller's.
    let taken = unsafe { &mut *context.cast::<Result<Vec<ParameterInfo>, String>>() };
    let Ok(parameters) = taken else { return };
    let what = format!("parameters[{}]", parameters.len());
    // SAFETY: the caller's; one struct, whose size is checked.
    let read = unsafe { raw::structs(parameter, 1, &what) };
    let read = read.and_then(|read| read.first().copied().ok_or_else(|| format!("{what} is not there")));
    let info = read.and_then(|parameter| {
        // SAFETY: the caller's.
        let name = unsafe { raw::text(parameter.name, &format!("{what}.name")) }?;
        let clr_abi::Parameter { value_count, lr_mult, decay_mult, .. } = parameter;
        Ok(ParameterInfo { name, value_count, lr_mult, decay_mult })
    });
    match info {
        Ok(info) if parameters.len() < MOST_PARAMETERS => parameters.push(info),
        Ok(_) => *taken = Err(format!("more than {MOST_PARAMETERS} parameters")),
        Err(problem) => *taken = Err(problem),
    }
}

/// # Safety
/// `table` is null or a plugin's.
unsafe fn state_functions(table: *const clr_abi::StateApi) -> Result<Option<StateFunctions>, String> {
    if table.is_null() {
        return Ok(None);
    }
    let id = clr_abi::STATE_ID;
    // SAFETY: the caller's; one struct, whose size is checked.
    let tables = unsafe { raw::structs(table, 1, id) }?;
    match tables.first().map(|table| (table.tensors, table.save, table.load)) {
        Some((Some(tensors), Some(save), Some(load))) => Ok(Some(StateFunctions { tensors, save, load })),
        _ => Err(format!("{id}: a function is null")),
    }
}
