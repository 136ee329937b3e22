//! Workers, and sessions in them, as the supervisor sees them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clr_host::{
    CallSizes, Completion, Data, Death, Function, HostError, Lane, PluginInfo, Session, SessionConfig, Split, StepCall,
    TensorInfo, check_sizes, check_tensor,
};
use clr_plan::DataPlan;
use clr_spec::Limits;

use super::Launch;
use super::message::{DataSource, Open, Reply, Request, encode, transform_arrays};
use super::process::{Call, Process};

/// Opening a dataset may mean to decode all of it.
const TIME_TO_OPEN_DATA: Duration = Duration::from_secs(1800);

/// A process that can hold one session at a time.
#[derive(Debug)]
pub struct Worker {
    /// None after its death.
    process: Option<Process>,
    limits: Limits,
    folder: PathBuf,
    roots: Vec<PathBuf>,
    cache: Option<PathBuf>,
    checked: Vec<String>,
    /// The dataset that the worker has open.
    data: Option<(DataSource, Arc<Data>)>,
}

/// K trials that train together in a worker.
#[derive(Debug)]
pub struct RemoteSession<'w> {
    worker: &'w mut Worker,
    plugin: String,
    sizes: CallSizes,
    tensors: Vec<Option<Vec<TensorInfo>>>,
}

impl Worker {
    /// Starts a process.
    ///
    /// # Errors
    ///
    /// [`Death::NotStarted`].
    pub fn start(launch: &Launch, limits: Limits) -> Result<Worker, Death> {
        let Launch { folder, roots, cache, checked, .. } = launch.clone();
        Ok(Worker { process: Some(Process::start(launch)?), limits, folder, roots, cache, checked, data: None })
    }

    /// True if it can hold another session.
    pub fn is_alive(&self) -> bool {
        self.process.is_some()
    }

    /// The system's number of the process; none after its death.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Opens a session, like [`clr_host::Plugin::session`]. The worker loads the plugin from the same file and opens
    /// the dataset of `data` by its name; both must have the digests that this process found.
    pub fn open(
        &mut self,
        plugin: &PluginInfo,
        config: &SessionConfig,
        data: &DataPlan,
    ) -> Result<RemoteSession<'_>, HostError> {
        let function = "session_create";
        let argument = |message| HostError::Argument { plugin: plugin.name.clone(), function, message };
        let Some(model) = plugin.model(&config.model) else {
            return Err(argument(format!("there is no model `{}`", config.model)));
        };
        let sizes = CallSizes::new(model, config);
        if config.dataset.loader.is_some() {
            return Err(argument("images that are streamed cannot be sent to a worker".to_owned()));
        }
        if let Some(process) = &mut self.process {
            process.forget_words();
            process.limit_memory(self.limits.memory.map(|bytes| bytes.saturating_mul(sizes.lane_count as u64)));
        }
        let source = DataSource {
            query: data.dataset.clone(),
            folder: self.folder.as_path().into(),
            digest: data.digest.clone(),
            roots: self.roots.iter().map(|root| root.as_path().into()).collect(),
            cache: self.cache.as_deref().map(Into::into),
            checked: self.checked.clone(),
            counts: sizes.split_counts,
            transform: (&config.dataset.transform).into(),
        };
        let tensors = vec![None; sizes.lane_count];
        let mut session = RemoteSession { worker: self, plugin: plugin.name.clone(), sizes, tensors };
        let is_open = session.worker.data.as_ref().is_some_and(|(open, data)| {
            // The values last: mean images are large, and almost always the very same.
            *open == source && (Arc::ptr_eq(data, &config.dataset) || data.transform == config.dataset.transform)
        });
        if !is_open {
            session.worker.data = None;
            let arrays = transform_arrays(&config.dataset.transform);
            session.ask_within(TIME_TO_OPEN_DATA, function, &Request::Data(source.clone()), &arrays)?;
            session.worker.data = Some((source, config.dataset.clone()));
        }
        session.ask_done(function, &Request::Open(Open::new(plugin, config)), &[])?;
        Ok(session)
    }
}

impl Session for RemoteSession<'_> {
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
        self.sizes.check_step(call, steps_done, metrics).map_err(|message| self.argument(function, message))?;
        let StepCall { step_count, first_steps, lane_steps, shared_samples, .. } = *call;
        let arrays: [&[u8]; 6] = [
            bytemuck::cast_slice(first_steps),
            bytemuck::cast_slice(lane_steps),
            bytemuck::cast_slice(call.sample_counts),
            bytemuck::cast_slice(call.samples),
            bytemuck::cast_slice(call.epochs),
            bytemuck::cast_slice(call.hypers),
        ];
        let filled: &mut [&mut [u8]] = &mut [bytemuck::cast_slice_mut(steps_done), bytemuck::cast_slice_mut(metrics)];
        let request = Request::Step { step_count, shared_samples };
        let completion = self.ask_run(function, &request, &arrays, filled, cancel)?;
        match completion.check_steps(steps_done, lane_steps) {
            Ok(()) => Ok(completion),
            Err(problem) => Err(self.died(function, Death::Garbled(problem))),
        }
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
        let checked = self.sizes.check_evaluate(split, first, count, active, metrics);
        checked.map_err(|message| self.argument(function, message))?;
        let request = Request::Evaluate { split: split.into(), first, count, active: active.to_vec() };
        let completion = self.ask_run(function, &request, &[], &mut [bytemuck::cast_slice_mut(metrics)], cancel)?;
        Ok(completion)
    }

    fn reset_lane(&mut self, lane: usize, trial: &Lane) -> Result<(), HostError> {
        let function = "session_lane_reset";
        let number = self.sizes.check_lane(lane).map_err(|message| self.argument(function, message))?;
        self.ask_done(function, &Request::ResetLane { lane: number, trial: trial.into() }, &[])?;
        self.tensors[lane] = None;
        Ok(())
    }

    fn tensors(&mut self, lane: usize) -> Result<&[TensorInfo], HostError> {
        let function = "clr.state/1 tensors";
        let number = self.sizes.check_lane(lane).map_err(|message| self.argument(function, message))?;
        if self.tensors[lane].is_none() {
            match self.ask(function, &Request::Tensors { lane: number }, &[], &mut [], None)? {
                // `host` has checked this in the worker too, where a plugin may have changed it since.
                Reply::Tensors(tensors) => match check_sizes(&tensors) {
                    Ok(()) => self.tensors[lane] = Some(tensors),
                    Err(problem) => return Err(self.died(function, Death::Garbled(problem))),
                },
                other => return Err(self.out_of_turn(function, &other)),
            }
        }
        Ok(self.tensors[lane].as_deref().unwrap_or_default())
    }

    fn save(&mut self, lane: usize, tensor: usize, values: &mut [f32]) -> Result<(), HostError> {
        let function = "clr.state/1 save";
        let (lane, tensor) = self.check_tensor(function, lane, tensor, values.len())?;
        let filled: &mut [&mut [u8]] = &mut [bytemuck::cast_slice_mut(values)];
        match self.ask(function, &Request::Save { lane, tensor }, &[], filled, None)? {
            Reply::Saved => Ok(()),
            other => Err(self.out_of_turn(function, &other)),
        }
    }

    fn load(&mut self, lane: usize, tensor: usize, values: &[f32]) -> Result<(), HostError> {
        let function = "clr.state/1 load";
        let (lane, tensor) = self.check_tensor(function, lane, tensor, values.len())?;
        self.ask_done(function, &Request::Load { lane, tensor }, &[bytemuck::cast_slice(values)])
    }
}

impl RemoteSession<'_> {
    fn check_tensor(
        &mut self,
        function: Function,
        lane: usize,
        tensor: usize,
        value_count: usize,
    ) -> Result<(u32, u32), HostError> {
        let checked = check_tensor(self.tensors(lane)?, tensor, value_count);
        Ok((lane as u32, checked.map_err(|message| self.argument(function, message))?))
    }

    fn ask_run(
        &mut self,
        function: Function,
        request: &Request,
        arrays: &[&[u8]],
        filled: &mut [&mut [u8]],
        cancel: &AtomicBool,
    ) -> Result<Completion, HostError> {
        match self.ask(function, request, arrays, filled, Some(cancel))? {
            Reply::Ran { cancelled: false } => Ok(Completion::Complete),
            Reply::Ran { cancelled: true } if cancel.load(Ordering::Relaxed) => Ok(Completion::Cancelled),
            other => Err(self.out_of_turn(function, &other)),
        }
    }

    fn ask_done(&mut self, function: Function, request: &Request, arrays: &[&[u8]]) -> Result<(), HostError> {
        match self.ask(function, request, arrays, &mut [], None)? {
            Reply::Done => Ok(()),
            other => Err(self.out_of_turn(function, &other)),
        }
    }

    fn ask_within(
        &mut self,
        limit: Duration,
        function: Function,
        request: &Request,
        arrays: &[&[u8]],
    ) -> Result<(), HostError> {
        match self.ask_for(limit, function, request, arrays, &mut [], None)? {
            Reply::Done => Ok(()),
            other => Err(self.out_of_turn(function, &other)),
        }
    }

    fn ask(
        &mut self,
        function: Function,
        request: &Request,
        arrays: &[&[u8]],
        filled: &mut [&mut [u8]],
        cancel: Option<&AtomicBool>,
    ) -> Result<Reply, HostError> {
        self.ask_for(self.worker.limits.call, function, request, arrays, filled, cancel)
    }

    fn ask_for(
        &mut self,
        limit: Duration,
        function: Function,
        request: &Request,
        arrays: &[&[u8]],
        filled: &mut [&mut [u8]],
        cancel: Option<&AtomicBool>,
    ) -> Result<Reply, HostError> {
        let request = encode(request).map_err(|message| self.argument(function, message))?;
        let Some(process) = &mut self.worker.process else {
            return Err(HostError::Broken { plugin: self.plugin.clone(), function });
        };
        match process.ask(Call { request: &request, arrays, filled, cancel, limit }) {
            Ok(Reply::Failed(error)) => Err(error),
            Ok(reply) => Ok(reply),
            Err(death) => Err(self.died(function, death)),
        }
    }

    fn out_of_turn(&mut self, function: Function, reply: &Reply) -> HostError {
        self.died(function, Death::Garbled(format!("{reply:?}, out of turn")))
    }

    fn died(&mut self, function: Function, death: Death) -> HostError {
        let (death, stderr) = match self.worker.process.take() {
            Some(mut process) => process.bury(death),
            None => (death, String::new()),
        };
        HostError::Died { plugin: self.plugin.clone(), function, death, stderr }
    }

    fn argument(&self, function: Function, message: String) -> HostError {
        HostError::Argument { plugin: self.plugin.clone(), function, message }
    }
}

impl Drop for RemoteSession<'_> {
    fn drop(&mut self) {
        if self.worker.is_alive() {
            // A worker that cannot end a session is ended itself; the session's results are unaffected.
            let _ = self.ask_done("session_create", &Request::Close, &[]);
        }
    }
}
