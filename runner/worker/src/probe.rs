//! Plugins before they have a session: what they say of themselves, and what a session would take.
//!
//! To load a library is to run it, so a worker does that too, one each time that something is asked: a plugin that crashes
//! or hangs when it is asked costs an error that says so, and not the command.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use clr_host::{Blame, Death, Footprint, Function, HostError, ParameterInfo, PluginInfo, SearchPath, SessionConfig};
use clr_spec::Limits;

use super::message::{DataSizes, Open, Reply, Request, encode, transform_arrays};
use super::process::{Call, Process};
use super::{Isolation, Launch, patience};
use crate::gpu::{self, GpuInfo};

/// Neither question is one to compute for: a minute is for libraries on slow disks.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many workers in a row are asked, where the plugin's own crashes end them.
const CRASHES: u32 = 3;

/// A plugin that is known by its own word.
#[derive(Clone, Debug)]
pub enum Known {
    /// Loaded into this process.
    Here(clr_host::Plugin),
    /// Asked by a worker.
    There {
        info: Box<PluginInfo>,
        /// How to ask again.
        launch: Launch,
        /// Of these a call's time and the memory hold.
        limits: Limits,
    },
}

impl Known {
    /// Finds the plugin of that name and asks what it is, where `isolation` says.
    ///
    /// # Errors
    ///
    /// As [`SearchPath::load`], and [`HostError::Died`].
    pub fn find(search: &SearchPath, name: &str, isolation: &Isolation, limits: Limits) -> Result<Known, HostError> {
        match isolation {
            Isolation::None => search.load(name).map(Known::Here),
            Isolation::Process(launch) => {
                let ask = |path: &Path, digest: &str| persistently(|| describe(launch, limits, path, digest));
                let info = search.find(name, ask, |info| info)?;
                Ok(Known::There { info: Box::new(info), launch: launch.clone(), limits })
            }
        }
    }

    /// As [`Known::find`], of a file.
    ///
    /// # Errors
    ///
    /// As [`Known::find`].
    pub fn of_file(path: &Path, isolation: &Isolation, limits: Limits) -> Result<Known, HostError> {
        match isolation {
            Isolation::None => clr_host::Plugin::load(path).map(Known::Here),
            Isolation::Process(launch) => {
                let ask = |path: &Path, digest: &str| persistently(|| describe(launch, limits, path, digest));
                let info = SearchPath::ask(path, ask)?;
                Ok(Known::There { info: Box::new(info), launch: launch.clone(), limits })
            }
        }
    }

    pub fn info(&self) -> &PluginInfo {
        match self {
            Known::Here(plugin) => plugin.info(),
            Known::There { info, .. } => info,
        }
    }

    /// The memory and threads that a session of each configuration would use, or the first error that one would meet.
    pub fn footprints(&self, configs: &[SessionConfig]) -> Result<Vec<Footprint>, HostError> {
        self.ask_each(configs, "footprint", clr_host::Plugin::footprint, Request::Footprint, |reply| match reply {
            Reply::Footprint(footprint) => Ok(footprint),
            other => Err(other),
        })
    }

    /// The parameters of each configuration's model, by its options and the sizes of its data alone.
    pub fn parameters(&self, configs: &[SessionConfig]) -> Result<Vec<Vec<ParameterInfo>>, HostError> {
        let function = "clr.parameters/1 parameters";
        self.ask_each(configs, function, clr_host::Plugin::parameters, Request::Parameters, |reply| match reply {
            Reply::Parameters(parameters) => Ok(parameters),
            other => Err(other),
        })
    }

    /// Asks the same of each configuration, here or all of one worker. `answer` takes the reply that belongs to `request`.
    fn ask_each<T>(
        &self,
        configs: &[SessionConfig],
        function: Function,
        here: impl Fn(&clr_host::Plugin, &SessionConfig) -> Result<T, HostError>,
        request: impl Fn(Open, DataSizes) -> Request,
        answer: impl Fn(Reply) -> Result<T, Reply>,
    ) -> Result<Vec<T>, HostError> {
        match self {
            Known::Here(plugin) => configs.iter().map(|config| here(plugin, config)).collect(),
            Known::There { .. } if configs.is_empty() => Ok(Vec::new()),
            Known::There { info, launch, limits } => persistently(|| {
                let mut asking = Asking::new(launch, *limits, info.name.clone(), function)?;
                let ask = |config: &SessionConfig| {
                    let request = request(Open::new(info, config), (&*config.dataset).into());
                    let reply = asking.ask(&request, &transform_arrays(&config.dataset.transform))?;
                    answer(reply).map_err(|other| asking.out_of_turn(&other))
                };
                configs.iter().map(ask).collect()
            }),
        }
    }

    /// A session in this process, into which the plugin is loaded.
    pub fn session(&self, config: SessionConfig) -> Result<clr_host::LocalSession, HostError> {
        match self {
            Known::Here(plugin) => plugin.session(config),
            Known::There { info, .. } => clr_host::Plugin::load_pinned(&info.path, &info.digest)?.session(config),
        }
    }
}

/// The GPUs of these numbers, or all that can be used where none is given, asked for where `isolation` says.
///
/// # Errors
///
/// Why there is none, or one cannot be used.
pub fn gpus(isolation: &Isolation, limits: Limits, ordinals: &[u32]) -> Result<Vec<GpuInfo>, String> {
    let Isolation::Process(launch) = isolation else { return gpu::gpus(ordinals) };
    let asked = persistently(|| {
        let mut asking = Asking::new(launch, limits, "cuda".to_owned(), "devices")?;
        match asking.ask(&Request::Gpus(ordinals.to_vec()), &[])? {
            Reply::Gpus(found) => Ok(found),
            other => Err(asking.out_of_turn(&other)),
        }
    });
    asked.unwrap_or_else(|error| Err(format!("the NVIDIA driver could not be asked: {error}")))
}

/// The answer of the first worker that lives to give it, or what is said of the last one. A machine that kills workers or
/// has no room for them is given time.
fn persistently<T>(question: impl Fn() -> Result<T, HostError>) -> Result<T, HostError> {
    let (mut crashes, mut tries) = (0, 0);
    loop {
        let error = match question() {
            Err(error @ HostError::Died { .. }) => error,
            answer => return answer,
        };
        match (error.blame(), &error) {
            (Blame::Plugin, HostError::Died { death: Death::Signal(_), .. }) => crashes += 1,
            (Blame::Plugin, _) => return Err(error),
            (Blame::Unclear | Blame::Machine, _) => {
                tries += 1;
                if tries < patience::QUESTIONS {
                    tracing::warn!(%error, "a worker could not be asked; trying again");
                    sleep(patience::wait(tries));
                }
            }
        }
        if crashes == CRASHES || tries == patience::QUESTIONS {
            return Err(error);
        }
    }
}

/// The description that the plugin in a file gives of itself, if the file has the digest.
fn describe(launch: &Launch, limits: Limits, path: &Path, digest: &str) -> Result<PluginInfo, HostError> {
    let load_error = |error: std::io::Error| HostError::Load { path: path.to_owned(), message: error.to_string() };
    let absolute = std::path::absolute(path).map_err(load_error)?;
    let mut asking = Asking::new(launch, limits, path.display().to_string(), "describe")?;
    let request = Request::Describe { plugin: absolute.as_path().into(), plugin_digest: digest.to_owned() };
    match asking.ask(&request, &[])? {
        Reply::Described(text) => match serde_json::from_str::<PluginInfo>(&text) {
            Ok(info) => Ok(PluginInfo { path: absolute, digest: digest.to_owned(), ..info }),
            Err(error) => Err(asking.died(Death::Garbled(error.to_string()))),
        },
        other => Err(asking.out_of_turn(&other)),
    }
}

/// A worker that is asked a few things of one plugin.
struct Asking {
    process: Process,
    plugin: String,
    function: Function,
    limit: Duration,
}

impl Asking {
    fn new(launch: &Launch, limits: Limits, plugin: String, function: Function) -> Result<Asking, HostError> {
        let mut process = match Process::start(launch) {
            Ok(process) => process,
            Err(death) => return Err(HostError::Died { plugin, function, death, stderr: String::new() }),
        };
        process.limit_memory(limits.memory);
        Ok(Asking { process, plugin, function, limit: limits.call.min(PATIENCE) })
    }

    fn ask(&mut self, request: &Request, arrays: &[&[u8]]) -> Result<Reply, HostError> {
        let encoded = encode(request);
        let request = encoded.map_err(|message| HostError::Argument {
            plugin: self.plugin.clone(),
            function: self.function,
            message,
        })?;
        let call = Call { request: &request, arrays, filled: &mut [], cancel: None, limit: self.limit };
        match self.process.ask(call) {
            Ok(Reply::Failed(error)) => Err(error),
            Ok(reply) => Ok(reply),
            Err(death) => Err(self.died(death)),
        }
    }

    fn out_of_turn(&mut self, reply: &Reply) -> HostError {
        self.died(Death::Garbled(format!("{reply:?}, out of turn")))
    }

    fn died(&mut self, death: Death) -> HostError {
        let (death, stderr) = self.process.bury(death);
        HostError::Died { plugin: self.plugin.clone(), function: self.function, death, stderr }
    }
}
