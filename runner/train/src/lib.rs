//! Training: a plan's unfinished trials to a stream of events.
//!
//! [`run`] keeps every CPU thread busy: each [`slot`] is a thread that opens a session, in a worker process or in this one
//! ([`engine`]), and drives it ([`lanes`]), refilling a lane with the next trial of the group as soon as its trial is over.
//! Slots take trials from one [`queue`], so none idles while trials are left. Events come back over a channel to the calling
//! thread, which alone shows and stores them. [`trouble`] says when a failure is a trial's and when the machine's.

mod call;
pub mod device;
mod engine;
mod feed;
mod lanes;
mod pace;
mod queue;
mod slot;
mod state;
mod trouble;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{io, thread};

use clr_dataset::Dataset;
use clr_dataset::order::SamplerError;
use clr_event::Event;
use clr_event::work::Work;
use clr_host::{Footprint, HostError, SessionConfig};
use clr_plan::{Plan, Shape};
pub use clr_worker::Isolation;
use clr_worker::Known;
use clr_worker::gpu::GpuInfo;
use crossbeam_channel::RecvTimeoutError;
pub use engine::Engine;
pub use feed::Feed;
use queue::Queue;
use slot::Slot;
use trouble::{Failure, TRIES, Trouble};

/// The plugins and datasets of a plan's trials.
pub struct Resources {
    plugins: BTreeMap<String, Known>,
    /// One for each distinct way in which a dataset is fed.
    feeds: Vec<Feed>,
}

impl Resources {
    /// Prepares the data of every group.
    ///
    /// # Errors
    ///
    /// Where no batch could be made of a group's training images.
    ///
    /// # Panics
    ///
    /// If the plan was made from other plugins or datasets than these.
    pub fn new(
        plan: &Plan,
        plugins: BTreeMap<String, Known>,
        datasets: &BTreeMap<String, Dataset>,
    ) -> Result<Resources, SamplerError> {
        let mut feeds: Vec<Feed> = Vec::new();
        for group in &plan.groups {
            let data = &group.shape.data;
            if !feeds.iter().any(|feed| feed.plan == *data) {
                feeds.push(Feed::new(&datasets[&data.dataset], data)?);
            }
        }
        Ok(Resources { plugins, feeds })
    }

    /// The plugins in use, by the name in the spec.
    pub fn plugins(&self) -> &BTreeMap<String, Known> {
        &self.plugins
    }

    /// The plugin of a group's shape.
    pub fn plugin(&self, shape: &Shape) -> &Known {
        &self.plugins[&shape.plugin]
    }

    /// The data of a group's shape.
    pub fn feed(&self, shape: &Shape) -> &Feed {
        let found = self.feeds.iter().find(|feed| feed.plan == shape.data);
        found.expect("a feed was made for every group of the plan")
    }

    /// The memory and threads that a session with one lane takes, of each group of the plan.
    ///
    /// # Errors
    ///
    /// A plugin's objection to the configuration: an image size that its pooling does not allow, say. How it died.
    pub fn footprints(&self, plan: &Plan, layout: &Layout) -> Result<Vec<Footprint>, HostError> {
        let mut footprints = vec![None; plan.groups.len()];
        for (name, plugin) in &self.plugins {
            let is_its = |&index: &usize| plan.groups[index].shape.plugin == *name;
            let groups: Vec<usize> = (0..plan.groups.len()).filter(is_its).collect();
            let config = |&index: &usize| {
                self.session_config(plan, &one_of_each_optimizer(plan, index), layout, &layout.devices[0])
            };
            let configs: Vec<SessionConfig> = groups.iter().map(config).collect();
            for (group, footprint) in groups.into_iter().zip(plugin.footprints(&configs)?) {
                footprints[group] = Some(footprint);
            }
        }
        Ok(footprints.into_iter().map(|footprint| footprint.expect("each group has a plugin")).collect())
    }

    /// The configuration of a session on one of the layout's devices, whose lanes hold `trials`, which are of one group.
    pub fn session_config(&self, plan: &Plan, trials: &[usize], layout: &Layout, device: &str) -> SessionConfig {
        let shape = &plan.trials[trials[0]].shape;
        SessionConfig {
            device: device.to_owned(),
            model: shape.architecture.clone(),
            model_json: shape.model_json.clone(),
            dataset: self.feed(shape).data.clone(),
            batch_size: shape.data.update_size(),
            thread_count: layout.threads_per_session,
            lanes: trials.iter().map(|&trial| lanes::lane(&plan.trials[trial])).collect(),
        }
    }
}

/// A trial for each kind of optimizer in a group: what a lane takes may depend on it.
fn one_of_each_optimizer(plan: &Plan, group: usize) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    for &trial in &plan.groups[group].trials {
        let kind = &plan.trials[trial].optimizer.kind;
        if !found.iter().any(|&other| plan.trials[other].optimizer.kind == *kind) {
            found.push(trial);
        }
    }
    found
}

/// How to spread trials over the machine. None of it changes a trial's numbers.
#[derive(Clone, Debug)]
pub struct Layout {
    /// One for each session that runs at once, as plugins name it: "cpu", or "cuda:0" and so on.
    pub devices: Vec<String>,
    /// Threads of each session.
    pub threads_per_session: u32,
    /// Trials that share a session at once, of each group of the plan: one where there is no entry.
    pub lanes: Vec<usize>,
    /// At most so many steps go into one call of a plugin, however fast it is.
    pub steps_per_call: u64,
    pub isolation: Isolation,
}

/// Memory of a GPU that the driver takes for a process, and that is left to others that come later.
const DRIVER_BYTES: u64 = 1 << 30;

/// Rows of a call are held in memory until it returns.
const STEPS_PER_CALL: u64 = 4096;

impl Layout {
    /// For a CPU: one lane a session, one session a thread while there are trials enough, and more threads for each
    /// session where there are fewer trials than threads.
    pub fn cpu(jobs: usize, trial_count: usize) -> Layout {
        let slots = jobs.min(trial_count).max(1);
        Layout {
            devices: vec!["cpu".to_owned(); slots],
            threads_per_session: (jobs / slots).max(1) as u32,
            lanes: Vec::new(),
            steps_per_call: STEPS_PER_CALL,
            isolation: Isolation::None,
        }
    }

    /// One session for each GPU, with the trials of a group spread over all GPUs, as many at once as fit by `footprints`.
    /// `trial_counts` are the trials to train of each group.
    ///
    /// # Panics
    ///
    /// Without a GPU.
    pub fn gpus(gpus: &[GpuInfo], jobs: usize, footprints: &[Footprint], trial_counts: &[usize]) -> Layout {
        let free = gpus.iter().map(|gpu| gpu.free).min().expect("a layout has a device");
        let room = free.saturating_sub(DRIVER_BYTES);
        let lanes = footprints.iter().zip(trial_counts).map(|(footprint, &count)| {
            let fitting = room.saturating_sub(footprint.bytes_shared) / footprint.bytes_per_lane.max(1);
            usize::try_from(fitting).unwrap_or(usize::MAX).min(count.div_ceil(gpus.len())).max(1)
        });
        Layout {
            devices: gpus.iter().map(GpuInfo::device).collect(),
            threads_per_session: (jobs / gpus.len()).max(1) as u32,
            lanes: lanes.collect(),
            steps_per_call: STEPS_PER_CALL,
            isolation: Isolation::None,
        }
    }

    /// As this one, with at most so many lanes in a session, if given.
    pub fn with_lanes(self, most: Option<u32>) -> Layout {
        let most = most.map_or(usize::MAX, |most| (most as usize).max(1));
        Layout { lanes: self.lanes.into_iter().map(|lanes| lanes.min(most)).collect(), ..self }
    }

    /// As this one, with one session at once.
    pub fn with_one_slot(&self) -> Layout {
        Layout { devices: self.devices[..1].to_vec(), ..self.clone() }
    }

    /// Sessions that run at once.
    pub fn slots(&self) -> usize {
        self.devices.len()
    }
}

/// Trains `unfinished` and hands every event to `on_event` in the calling thread.
///
/// Raising `cancel` ends every trial in flight after its current step as stopped; so does an error of `on_event`, which is
/// returned, and with `on_error = "stop"` a trial that failed or crashed.
pub fn run<E: Send>(
    plan: &Plan,
    unfinished: Vec<Work>,
    resources: &Resources,
    layout: &Layout,
    cancel: &AtomicBool,
    mut on_event: impl FnMut(Event) -> Result<(), E> + Send,
) -> Result<(), E> {
    run_with_pauses(plan, unfinished, resources, layout, cancel, |event| event.map_or(Ok(()), &mut on_event))
}

/// Events that come one after the other leave no pause; where none comes for so long, there is one.
const PAUSE: Duration = Duration::from_millis(250);

/// As [`run`], and calls `on_event` with none whenever nothing happened for a moment: what waits for company until then,
/// such as a commit, need not wait for a call of ten minutes to return.
pub fn run_with_pauses<E: Send>(
    plan: &Plan,
    unfinished: Vec<Work>,
    resources: &Resources,
    layout: &Layout,
    cancel: &AtomicBool,
    mut on_event: impl FnMut(Option<Event>) -> Result<(), E> + Send,
) -> Result<(), E> {
    let queue = Queue::new(plan, unfinished);
    // Bounded, so that a slow disk holds training back instead of filling memory.
    let (sender, receiver) = crossbeam_channel::bounded::<Event>(64 * layout.slots());
    let mut result = Ok(());
    thread::scope(|scope| {
        let mut trouble = Trouble::default();
        loop {
            // One thread is enough to get on. Slots take from one queue, so none waits for those that did not begin.
            let mut started: Vec<io::Result<()>> = Vec::new();
            for (index, device) in layout.devices.iter().enumerate() {
                let slot = Slot::new(plan, &queue, resources, layout, device, cancel, sender.clone());
                let thread = thread::Builder::new().name(format!("clr-slot-{index}"));
                started.push(thread.spawn_scoped(scope, move || slot.run()).map(drop));
            }
            let Some(error) = started.iter().find_map(|started| started.as_ref().err()) else { break };
            tracing::warn!(%error, "no thread could be started");
            if started.iter().any(Result::is_ok) || cancel.load(Ordering::Relaxed) {
                break;
            }
            trouble = trouble.after(Failure::WITHOUT_A_WORD);
            if trouble.tries >= TRIES {
                let message = format!("no thread could be started: {error}; tried {} times", trouble.tries);
                for event in queue.interrupt_first(&message) {
                    // Nobody else sends, and there is room for two.
                    let _ = sender.send(event);
                }
                break;
            }
            thread::sleep(trouble.wait());
        }
        drop(sender);
        loop {
            let event = match receiver.recv_timeout(PAUSE) {
                Ok(event) => Some(event),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if result.is_ok() {
                result = on_event(event);
                if result.is_err() {
                    cancel.store(true, Ordering::Relaxed);
                }
            }
        }
    });
    result
}
