//! Training: a plan's unfinished trials to a stream of events.
//!
//! [`run`] keeps every CPU thread busy: each [`slot`] is a thread that opens a session, in a worker process or in this one, and
//! drives it ([`lanes`]), refilling a lane with the next trial of the group as soon as its trial is over.
//! Slots take trials from one [`queue`], so none idles while trials are left. Events come back over a channel to the calling
//! thread, which alone shows and stores them. [`trouble`] says when a failure is a trial's and when the machine's.

mod call;
pub mod device;
mod evaluation;
mod feed;
mod lanes;
mod layout;
mod pace;
mod queue;
mod resources;
mod slot;
pub mod state;
mod trouble;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{io, thread};

use clr_event::Event;
use clr_event::work::Work;
use clr_plan::Plan;
pub use clr_worker::Isolation;
use crossbeam_channel::RecvTimeoutError;
pub use feed::Feed;
pub use layout::Layout;
use queue::Queue;
pub use resources::Resources;
use slot::Slot;
use trouble::{Failure, TRIES, Trouble};

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
