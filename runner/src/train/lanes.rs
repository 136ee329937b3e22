//! One session's life: K lanes, each training a trial, refilled from the queue when a trial is over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam_channel::Sender;

use super::call::Tables;
use super::feed::Feed;
use super::queue::Queue;
use crate::dataset::order::Sampler;
use crate::event::{Evaluation, Event, Outcome, Rows, Split};
use crate::host::{self, Completion, HostError, Session};
use crate::plan::{Divergence, Plan, Shape, Trial};

/// A call covers about this much time: short enough for a lively display and a prompt Ctrl-C, long enough that the
/// boundary costs nothing.
const SECONDS_PER_CALL: f64 = 0.2;

/// Drives a session until its group has no trials left.
pub struct Driver<'a> {
    plan: &'a Plan,
    group: usize,
    shape: &'a Shape,
    feed: &'a Feed,
    session: Session,
    queue: &'a Queue,
    cancel: &'a AtomicBool,
    events: &'a Sender<Event>,
    lanes: Vec<Option<InFlight<'a>>>,
    tables: Tables,
    /// Measured on the last call.
    seconds_per_step: Option<f64>,
}

/// A trial that is being trained.
struct InFlight<'a> {
    index: usize,
    trial: &'a Trial,
    sampler: Sampler,
    /// Updates made.
    step: u64,
    /// The step of the last evaluation.
    evaluated: Option<u64>,
    started: Instant,
}

/// A trial as the plugin sees it.
pub fn lane(trial: &Trial) -> host::Lane {
    host::Lane { options_json: trial.optimizer_json.clone(), init_seed: trial.init_seed, data_seed: trial.data_seed }
}

impl<'a> Driver<'a> {
    /// For a session of `plan.groups[group]`.
    pub fn new(
        plan: &'a Plan,
        group: usize,
        feed: &'a Feed,
        session: Session,
        queue: &'a Queue,
        cancel: &'a AtomicBool,
        events: &'a Sender<Event>,
    ) -> Driver<'a> {
        let shape = &*plan.groups[group].shape;
        let tables = Tables::new(shape);
        let (lanes, seconds_per_step) = (Vec::new(), None);
        Driver { plan, group, shape, feed, session, queue, cancel, events, lanes, tables, seconds_per_step }
    }

    /// Trains `trials`, which the session's lanes already hold in this order, and then all that the queue has left for
    /// the group, at most `steps_per_call` steps at a time. An error of the plugin fails the trials in flight; those
    /// still queued are left to other sessions.
    pub fn drive(mut self, trials: Vec<usize>, steps_per_call: u64) {
        self.lanes = trials.into_iter().map(|trial| Some(self.begin(trial))).collect();
        let outcome = match self.train(steps_per_call) {
            Ok(()) => Outcome::Stopped,
            Err(error) => Outcome::Failed { message: error.to_string() },
        };
        for lane in 0..self.lanes.len() {
            self.end(lane, outcome.clone());
        }
    }

    /// Returns with lanes still in flight only when cancelled.
    fn train(&mut self, steps_per_call: u64) -> Result<(), HostError> {
        loop {
            self.refill()?;
            if self.lanes.iter().all(Option::is_none) || self.cancel.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.evaluate_where_due()?;
            if !self.cancel.load(Ordering::Relaxed) && !self.end_finished() {
                self.step(steps_per_call)?;
            }
        }
    }

    fn begin(&self, index: usize) -> InFlight<'a> {
        let trial = &self.plan.trials[index];
        self.send(Event::Started { trial: index });
        let sampler = self.feed.sampler(trial.data_seed);
        InFlight { index, trial, sampler, step: 0, evaluated: None, started: Instant::now() }
    }

    fn end(&mut self, lane: usize, outcome: Outcome) {
        if let Some(done) = self.lanes[lane].take() {
            self.send(Event::Ended { trial: done.index, outcome, elapsed: done.started.elapsed() });
        }
    }

    fn refill(&mut self) -> Result<(), HostError> {
        for lane in 0..self.lanes.len() {
            if self.lanes[lane].is_some() || self.cancel.load(Ordering::Relaxed) {
                continue;
            }
            let Some(trial) = self.queue.take(self.group) else { return Ok(()) };
            self.lanes[lane] = Some(self.begin(trial));
            self.session.reset_lane(lane, &self::lane(&self.plan.trials[trial]))?;
        }
        Ok(())
    }

    /// Evaluates the lanes that stand at a multiple of `eval_every`, at the start or at the end.
    fn evaluate_where_due(&mut self) -> Result<(), HostError> {
        let due: Vec<bool> =
            self.lanes.iter().map(|lane| lane.as_ref().is_some_and(InFlight::evaluation_is_due)).collect();
        if !due.contains(&true) {
            return Ok(());
        }
        for (split, count) in [(Split::Validation, self.feed.validation_count), (Split::Test, self.feed.test_count)] {
            if count == 0 {
                continue;
            }
            let mut metrics = vec![f32::NAN; self.lanes.len() * self.shape.metrics.len()];
            if self.session.evaluate(split, 0, count, &due, &mut metrics, self.cancel)? == Completion::Cancelled {
                return Ok(());
            }
            for (lane, row) in metrics.chunks_exact(self.shape.metrics.len()).enumerate() {
                if let (true, Some(in_flight)) = (due[lane], &self.lanes[lane]) {
                    let value = |name: &str| self.shape.metric(name).map_or(f32::NAN, |column| row[column]);
                    self.send(Event::Evaluated(Evaluation {
                        trial: in_flight.index,
                        iteration: in_flight.step,
                        split,
                        loss: value("loss"),
                        accuracy: value("accuracy"),
                    }));
                }
            }
        }
        for (lane, _) in self.lanes.iter_mut().zip(due).filter(|(_, due)| *due) {
            lane.iter_mut().for_each(|in_flight| in_flight.evaluated = Some(in_flight.step));
        }
        Ok(())
    }

    /// Ends the trials whose iterations are done; says whether there were any.
    fn end_finished(&mut self) -> bool {
        let mut any = false;
        for lane in 0..self.lanes.len() {
            if self.lanes[lane].as_ref().is_some_and(|in_flight| in_flight.step >= in_flight.trial.iterations) {
                self.end(lane, Outcome::Finished);
                any = true;
            }
        }
        any
    }

    /// One call: all lanes advance by as many steps as lie before the nearest evaluation or end of any.
    fn step(&mut self, steps_per_call: u64) -> Result<(), HostError> {
        let in_flight = self.lanes.iter().flatten();
        let boundary = in_flight.map(InFlight::steps_to_boundary).min().unwrap_or(1);
        let affordable = self.seconds_per_step.map_or(1.0, |seconds| SECONDS_PER_CALL / seconds.max(1e-9));
        let step_count =
            boundary.min((affordable as u64).clamp(1, steps_per_call.max(1))).min(self.tables.most_steps());

        self.tables.clear(self.lanes.len(), step_count as usize);
        let mut columns: Vec<Option<Vec<Vec<f64>>>> = Vec::with_capacity(self.lanes.len());
        let shared = self.lanes_see_the_same_samples();
        let mut shared_is_filled = false;
        for (lane, in_flight) in self.lanes.iter_mut().enumerate() {
            columns.push(in_flight.as_mut().map(|in_flight| {
                if !(shared && shared_is_filled) {
                    self.tables.samples(if shared { None } else { Some(lane) }, in_flight.step, &mut in_flight.sampler);
                    shared_is_filled = shared;
                }
                self.tables.hypers(lane, in_flight.step, &in_flight.trial.schedules)
            }));
        }

        let started = Instant::now();
        self.tables.call(&mut self.session, shared, self.cancel)?;
        self.seconds_per_step = Some(started.elapsed().as_secs_f64() / step_count as f64);

        for (lane, columns) in columns.into_iter().enumerate() {
            let Some((in_flight, hypers)) = self.lanes[lane].as_mut().zip(columns) else { continue };
            let metrics = self.tables.metrics(lane);
            let mut rows = Rows {
                trial: in_flight.index,
                first_iteration: in_flight.step,
                count: self.tables.steps_done(lane),
                hypers,
                metrics,
            };
            in_flight.step += rows.count as u64;
            let broken = breaking_row(&rows, self.shape, &in_flight.trial.divergence);
            rows.truncate(broken.map_or(rows.count, |row| row + 1));
            let last = (rows.first_iteration + rows.count as u64).saturating_sub(1);
            if rows.count > 0 {
                self.send(Event::Rows(rows));
            }
            if broken.is_some() {
                self.end(lane, Outcome::Diverged { iteration: last });
            }
        }
        Ok(())
    }

    /// Trials of one data seed at one step read the same images: a device can share the first layer's work.
    fn lanes_see_the_same_samples(&self) -> bool {
        let mut keys = self.lanes.iter().flatten().map(|in_flight| (in_flight.step, in_flight.trial.data_seed));
        keys.next().is_none_or(|first| keys.all(|key| key == first))
    }

    fn send(&self, event: Event) {
        // The receiver outlives every driver.
        let _ = self.events.send(event);
    }
}

impl InFlight<'_> {
    fn evaluation_is_due(&self) -> bool {
        let every = self.trial.eval_every;
        let on_schedule = every > 0 && self.step.is_multiple_of(every);
        self.evaluated != Some(self.step) && (self.step == 0 || self.step >= self.trial.iterations || on_schedule)
    }

    fn steps_to_boundary(&self) -> u64 {
        let to_end = self.trial.iterations - self.step;
        let every = self.trial.eval_every;
        if every == 0 { to_end } else { to_end.min(every - self.step % every) }
    }
}

/// The first row that breaks the divergence rule.
fn breaking_row(rows: &Rows, shape: &Shape, rule: &Divergence) -> Option<usize> {
    let loss = shape.metric("loss")?;
    rows.metrics[loss][..rows.count].iter().position(|&loss| {
        rule.non_finite && !loss.is_finite() || rule.loss_above.is_some_and(|limit| f64::from(loss) > limit)
    })
}
