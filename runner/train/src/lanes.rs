//! One session's life: K lanes, each training a trial, refilled from the queue when a trial is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clr_dataset::order::Sampler;
use clr_event::checkpoint::Checkpoint;
use clr_event::work::Work;
use clr_event::{Evaluation, Event, Outcome, Rows};
use clr_host::{Completion, HostError, Session, Split};
use clr_plan::{Divergence, Plan, Shape, Trial};
use clr_spec::duration::Period;
use clr_spec::{Every, Keep};
use clr_terminal::words;
use crossbeam_channel::Sender;

use super::call::Tables;
use super::evaluation;
use super::feed::Feed;
use super::pace::{Pace, Standing};
use super::queue::Queue;
use super::state;

/// A session that failed, and what its lanes held. Nothing was sent about it: the slot decides what becomes of them.
#[derive(Debug)]
pub struct FailedSession {
    pub error: HostError,
    /// In the order of the lanes.
    pub in_flight: Vec<Work>,
}

/// A call covers about this much time: short enough for a lively display and a prompt Ctrl-C, long enough that the
/// boundary costs nothing.
const SECONDS_PER_CALL: f64 = 0.2;

/// Drives a session until its group has no trials left.
pub struct Driver<'a> {
    plan: &'a Plan,
    group: usize,
    shape: &'a Shape,
    feed: &'a Feed,
    session: Box<dyn Session + 'a>,
    queue: Option<&'a Queue>,
    advances: &'a AtomicU64,
    cancel: &'a AtomicBool,
    events: &'a Sender<Event>,
    lanes: Vec<Option<InFlight<'a>>>,
    tables: Tables,
    /// Measured on the last call.
    seconds_per_step: Option<f64>,
    /// The plugin can save and load a lane.
    has_state: bool,
    pace: Pace,
}

/// A trial that is being trained.
struct InFlight<'a> {
    index: usize,
    trial: &'a Trial,
    sampler: Sampler,
    /// When it is saved, where that goes by updates.
    save_every: Period,
    /// True if the states at the ends of cycles are kept.
    keeps_cycles: bool,
    step: u64,
    /// The state that the trial would go on from.
    checkpoint: Option<Arc<Checkpoint>>,
    /// When that was taken, in this lane.
    saved: Option<Instant>,
    /// True if its start was sent.
    is_announced: bool,
    /// Rows that were sent: more than `step` where the trial goes over steps again.
    sent_rows: u64,
    /// The step of the last evaluation that was sent.
    sent_evaluation: Option<u64>,
    /// Wall time of earlier attempts.
    before: Duration,
    started: Instant,
    /// Of earlier sessions of this run, and of this one.
    calls: u64,
}

impl<'a> Driver<'a> {
    /// For a session of `plan.groups[group]`. `has_state`: the plugin can save and load a lane. `advances` counts the calls
    /// that bring a trial further.
    #[expect(clippy::too_many_arguments, reason = "a driver is where all that a run consists of meets")]
    pub fn new(
        plan: &'a Plan,
        group: usize,
        feed: &'a Feed,
        session: Box<dyn Session + 'a>,
        has_state: bool,
        queue: Option<&'a Queue>,
        advances: &'a AtomicU64,
        cancel: &'a AtomicBool,
        events: &'a Sender<Event>,
    ) -> Driver<'a> {
        let shape = &*plan.groups[group].shape;
        let tables = Tables::new(shape);
        let (lanes, seconds_per_step) = (Vec::new(), None);
        let pace = Pace::new(plan.checkpointing.every);
        Driver {
            plan,
            group,
            shape,
            feed,
            session,
            queue,
            advances,
            cancel,
            events,
            lanes,
            tables,
            seconds_per_step,
            has_state,
            pace,
        }
    }

    /// Trains `work`, whose trials the session's lanes already hold in this order, and then all that the queue has left
    /// for the group (nothing, where there is no queue), at most `steps_per_call` steps at a time. Cancelled, it saves
    /// the trials in flight and ends them as stopped.
    pub fn drive(mut self, work: Vec<Work>, steps_per_call: u64) -> Result<(), FailedSession> {
        self.lanes = work.into_iter().map(|work| Some(self.in_flight(work))).collect();
        let trained = self.train(steps_per_call).and_then(|()| self.save_all());
        if let Err(error) = trained {
            let in_flight = self.lanes.into_iter().flatten().map(InFlight::into_work).collect();
            return Err(FailedSession { error, in_flight });
        }
        for lane in 0..self.lanes.len() {
            self.end(lane, Outcome::Stopped);
        }
        Ok(())
    }

    /// Returns with lanes still in flight only when cancelled.
    fn train(&mut self, steps_per_call: u64) -> Result<(), HostError> {
        for lane in 0..self.lanes.len() {
            self.begin(lane)?;
        }
        loop {
            self.refill()?;
            if self.lanes.iter().all(Option::is_none) || self.cancel.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.evaluate_where_due()?;
            if !self.cancel.load(Ordering::Relaxed) && !self.end_finished()? && !self.end_overdue() {
                self.step(steps_per_call)?;
                self.save_cycle_ends()?;
                self.save_where_due()?;
            }
        }
    }

    fn in_flight(&self, work: Work) -> InFlight<'a> {
        let trial = &self.plan.trials[work.trial];
        InFlight {
            index: work.trial,
            trial,
            sampler: self.feed.sampler(trial.data_seed),
            save_every: match self.plan.checkpointing.every {
                Every::Training(every) => trial.period(every),
                Every::Time(_) | Every::Never => Period::NEVER,
            },
            keeps_cycles: self.plan.checkpointing.keep == Keep::Cycles && self.has_state,
            step: work.step(),
            checkpoint: work.checkpoint,
            saved: None,
            is_announced: work.started,
            sent_rows: work.sent_rows,
            sent_evaluation: work.sent_evaluation,
            before: work.elapsed,
            started: Instant::now(),
            calls: work.calls,
        }
    }

    /// Puts into a lane, which holds its trial at step 0, what the trial goes on from.
    fn begin(&mut self, lane: usize) -> Result<(), HostError> {
        let Some(in_flight) = &mut self.lanes[lane] else { return Ok(()) };
        if let Some(checkpoint) = &in_flight.checkpoint
            && (checkpoint.step > in_flight.trial.iterations || !state::load(&mut *self.session, lane, checkpoint)?)
        {
            in_flight.start_over();
        }
        if !in_flight.is_announced {
            in_flight.is_announced = true;
            let started = Event::Started { trial: in_flight.index, step: in_flight.step };
            self.send(started);
        }
        Ok(())
    }

    fn end(&mut self, lane: usize, outcome: Outcome) {
        if outcome.stops_the_run(&self.plan.limits) {
            self.cancel.store(true, Ordering::Relaxed);
        }
        if let Some(done) = self.lanes[lane].take() {
            self.send(Event::Ended { trial: done.index, outcome, elapsed: done.elapsed() });
        }
    }

    fn refill(&mut self) -> Result<(), HostError> {
        for lane in 0..self.lanes.len() {
            if self.lanes[lane].is_some() || self.cancel.load(Ordering::Relaxed) {
                continue;
            }
            let Some(work) = self.queue.and_then(|queue| queue.take(self.group)) else { return Ok(()) };
            let trial = &self.plan.trials[work.trial];
            self.lanes[lane] = Some(self.in_flight(work));
            self.session.reset_lane(lane, &super::resources::lane(trial))?;
            self.begin(lane)?;
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
        let mut evaluations = Vec::new();
        for (split, count) in [(Split::Validation, self.feed.validation_count), (Split::Test, self.feed.test_count)] {
            if count == 0 {
                continue;
            }
            let mut metrics = vec![f32::NAN; self.lanes.len() * self.shape.metrics.len()];
            let session = &mut *self.session;
            let done = evaluation::evaluate(session, &self.feed.data, (split, count), &due, &mut metrics, self.cancel)?;
            if done == Completion::Cancelled {
                return Ok(());
            }
            for (lane, row) in metrics.chunks_exact(self.shape.metrics.len()).enumerate() {
                if let (true, Some(in_flight)) = (due[lane], &self.lanes[lane]) {
                    let value = |name: &str| self.shape.metric(name).map_or(f32::NAN, |column| row[column]);
                    evaluations.push(Evaluation {
                        trial: in_flight.index,
                        iteration: in_flight.step,
                        split,
                        loss: value("loss"),
                        accuracy: value("accuracy"),
                    });
                }
            }
        }
        // Any of these may turn out to be the best. Taken before an evaluation is sent: whoever has that has this too.
        let mut checkpoints = Vec::new();
        if self.plan.checkpointing.keep == Keep::Best && self.has_state {
            for lane in (0..self.lanes.len()).filter(|&lane| due[lane]) {
                let step = self.lanes[lane].as_ref().map(|in_flight| in_flight.step);
                checkpoints.push((lane, self.take(lane, step)?));
            }
        }
        for in_flight in self.lanes.iter_mut().zip(due).filter(|(_, due)| *due).flat_map(|(lane, _)| lane) {
            in_flight.sent_evaluation = Some(in_flight.step);
        }
        evaluations.into_iter().for_each(|evaluation| self.send(Event::Evaluated(evaluation)));
        checkpoints.into_iter().for_each(|(lane, checkpoint)| self.hand_on(lane, checkpoint));
        Ok(())
    }

    /// Ends the trials whose iterations are done; says whether there were any.
    fn end_finished(&mut self) -> Result<bool, HostError> {
        let mut any = false;
        for lane in 0..self.lanes.len() {
            if self.lanes[lane].as_ref().is_some_and(|in_flight| in_flight.step >= in_flight.trial.iterations) {
                if matches!(self.plan.checkpointing.keep, Keep::Last | Keep::Cycles) {
                    self.save(lane)?;
                }
                self.end(lane, Outcome::Finished);
                any = true;
            }
        }
        Ok(any)
    }

    /// Ends the trials that have taken longer than a trial may; says whether there were any.
    fn end_overdue(&mut self) -> bool {
        let Some(limit) = self.plan.limits.time else { return false };
        let is_overdue = |lane: &Option<InFlight<'_>>| lane.as_ref().is_some_and(|it| it.elapsed() > limit);
        let overdue: Vec<usize> = (0..self.lanes.len()).filter(|&lane| is_overdue(&self.lanes[lane])).collect();
        for &lane in &overdue {
            let message = format!("took longer than {} (`time` in `[limits]`)", words::duration(limit.as_secs_f64()));
            self.end(lane, Outcome::Failed { message });
        }
        !overdue.is_empty()
    }

    /// Saves the trials that stand at the end of a cycle, where those states are to be kept.
    fn save_cycle_ends(&mut self) -> Result<(), HostError> {
        let at_end = |lane: &InFlight<'_>| lane.keeps_cycles && lane.trial.is_cycle_end(lane.step);
        let due: Vec<usize> =
            (0..self.lanes.len()).filter(|&lane| self.lanes[lane].as_ref().is_some_and(at_end)).collect();
        due.into_iter().try_for_each(|lane| self.save(lane))
    }

    fn save_where_due(&mut self) -> Result<(), HostError> {
        let count = self.lanes.iter().flatten().count();
        let is_due = |lane: &InFlight<'_>| self.pace.is_due(lane.standing(), count);
        let due = |lane: &usize| self.lanes[*lane].as_ref().is_some_and(is_due);
        let due: Vec<usize> = (0..self.lanes.len()).filter(due).collect();
        due.into_iter().try_for_each(|lane| self.save(lane))
    }

    fn save_all(&mut self) -> Result<(), HostError> {
        match self.plan.checkpointing.every {
            Every::Never => Ok(()),
            Every::Time(_) | Every::Training(_) => (0..self.lanes.len()).try_for_each(|lane| self.save(lane)),
        }
    }

    /// Takes a checkpoint and hands it on, unless it would be the last one again, or the trial has not begun.
    fn save(&mut self, lane: usize) -> Result<(), HostError> {
        let Some(in_flight) = &self.lanes[lane] else { return Ok(()) };
        let step = in_flight.step;
        // More may have been sent already, where the trial goes over steps again.
        let evaluated = in_flight.sent_evaluation.map(|sent| sent.min(step));
        let is_last = |last: &Arc<Checkpoint>| (last.step, last.evaluated) == (step, evaluated);
        if !self.has_state || step == 0 || in_flight.checkpoint.as_ref().is_some_and(is_last) {
            return Ok(());
        }
        let checkpoint = self.take(lane, evaluated)?;
        self.hand_on(lane, checkpoint);
        Ok(())
    }

    fn take(&mut self, lane: usize, evaluated: Option<u64>) -> Result<Arc<Checkpoint>, HostError> {
        let started = Instant::now();
        let tensors = state::save(&mut *self.session, lane)?;
        self.pace.note_cost(started.elapsed());
        let (trial_id, step) = self.lanes[lane].as_ref().map(|it| (it.trial.id, it.step)).expect("a lane with a trial");
        Ok(Arc::new(Checkpoint { trial_id, step, evaluated, tensors }))
    }

    fn hand_on(&mut self, lane: usize, checkpoint: Arc<Checkpoint>) {
        let Some(in_flight) = &mut self.lanes[lane] else { return };
        in_flight.checkpoint = Some(checkpoint.clone());
        in_flight.saved = Some(Instant::now());
        let saved = Event::Saved { trial: in_flight.index, checkpoint, elapsed: in_flight.elapsed() };
        self.send(saved);
    }

    /// One call: all lanes advance by as many steps as lie before the nearest evaluation, checkpoint or end of any.
    fn step(&mut self, steps_per_call: u64) -> Result<(), HostError> {
        let boundary = self.lanes.iter().flatten().map(InFlight::steps_to_boundary).min().unwrap_or(1);
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
                self.tables.hypers(lane, in_flight.step, in_flight.trial)
            }));
        }

        let started = Instant::now();
        self.tables.call(&mut *self.session, shared, self.cancel)?;
        let seconds = started.elapsed().as_secs_f64();
        self.seconds_per_step = Some(seconds / step_count as f64);
        tracing::debug!(lanes = self.lanes.iter().flatten().count(), steps = step_count, seconds, "called");

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
            in_flight.calls += 1;
            self.advances.fetch_add(1, Ordering::Relaxed);
            let broken = breaking_row(&rows, self.shape, &in_flight.trial.divergence);
            rows.truncate(broken.map_or(rows.count, |row| row + 1));
            let end = rows.first_iteration + rows.count as u64;
            rows.skip(in_flight.sent_rows.saturating_sub(rows.first_iteration) as usize);
            in_flight.sent_rows = in_flight.sent_rows.max(end);
            if rows.count > 0 {
                self.send(Event::Rows(rows));
            }
            if broken.is_some() {
                self.end(lane, Outcome::Diverged { iteration: end - 1 });
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
    fn elapsed(&self) -> Duration {
        self.before + self.started.elapsed()
    }

    fn into_work(self) -> Work {
        Work {
            trial: self.index,
            started: self.is_announced,
            sent_rows: self.sent_rows,
            sent_evaluation: self.sent_evaluation,
            elapsed: self.elapsed(),
            reached: self.step,
            calls: self.calls,
            checkpoint: self.checkpoint,
        }
    }

    /// Forgets a checkpoint that does not fit. What was sent in this run stays sent.
    fn start_over(&mut self) {
        (self.step, self.checkpoint) = (0, None);
        if !self.is_announced {
            (self.sent_rows, self.sent_evaluation) = (0, None);
        }
    }

    fn standing(&self) -> Standing {
        Standing {
            step: self.step,
            every: self.save_every,
            saved_step: self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.step),
            age: self.started.elapsed(),
            since_saved: self.saved.map(|saved| saved.elapsed()),
        }
    }

    fn evaluation_is_due(&self) -> bool {
        let on_schedule = self.trial.eval_every.is_due(self.step);
        let is_sent = self.sent_evaluation >= Some(self.step);
        !is_sent && (self.step == 0 || self.step >= self.trial.iterations || on_schedule)
    }

    fn steps_to_boundary(&self) -> u64 {
        let mut next = self.trial.eval_every.next(self.step).min(self.save_every.next(self.step));
        if self.keeps_cycles {
            next = next.min(self.trial.lr.next_cycle_end(self.step).unwrap_or(u64::MAX));
        }
        next.min(self.trial.iterations) - self.step
    }
}

/// The first row that breaks the divergence rule.
fn breaking_row(rows: &Rows, shape: &Shape, rule: &Divergence) -> Option<usize> {
    let loss = shape.metric("loss")?;
    rows.metrics[loss][..rows.count].iter().position(|&loss| {
        rule.non_finite && !loss.is_finite() || rule.loss_above.is_some_and(|limit| f64::from(loss) > limit)
    })
}
