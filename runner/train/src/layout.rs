//! How trials are spread over a machine.

use clr_host::Footprint;
use clr_worker::Isolation;
use clr_worker::gpu::GpuInfo;

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
