//! From the keys of a schedule to a [`Schedule`], durations resolved and bounds checked.

use std::sync::Arc;

use clr_schedule::ratio::Ratio;
use clr_schedule::{Cosine, Linear, PerEpoch, Points, Schedule, Stage, Ticks};
use clr_spec::duration::{self, Duration, Unit};
use clr_spec::keys::Key;
use clr_spec::kinds::{
    self, FIRST_EPOCH, Fields, IS_PER_EPOCH, Naming, PER, STAGE_LENGTH, WARMUP, WARMUP_FACTOR, WARMUP_FROM,
    WARMUP_IS_COSINE, WARMUP_SHAPE,
};
use clr_spec::table::Values;
use clr_spec::{Diagnostic, Problems, Span, TableColumn, Value};
use clr_terminal::words::Number;

use super::Bounds;
use super::cell::Cell;
use super::facts::Facts;

/// How time passes for the schedule that is read: that of the training, or of a stage.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Its steps: iterations, or epochs that begin in it.
    pub steps: u64,
    /// True if a step is an epoch, not an iteration.
    per_epoch: bool,
    /// How many iterations an epoch is.
    epoch: Ratio,
    /// How many iterations the whole training is, whatever the stage.
    training: Ratio,
    /// When it begins, in steps since they began to be counted: step 0 is the first that is not before.
    start: Ratio,
    /// When it ends, in the same.
    end: Ratio,
}

impl Clock {
    /// That of a training of so many iterations.
    pub fn new(epoch: Ratio, training: Ratio) -> Clock {
        Clock { steps: training.ceil(), per_epoch: false, epoch, training, start: Ratio::ZERO, end: training }
    }

    /// A duration in steps; `None` where that takes more than 64 bits.
    pub fn time(&self, duration: Duration) -> Option<Ratio> {
        match duration.unit {
            Unit::Epochs if self.per_epoch => Some(duration.count),
            _ if self.per_epoch => duration.in_iterations(self.epoch, self.training)?.over(self.epoch),
            _ => duration.in_iterations(self.epoch, self.training),
        }
    }

    /// The step, counted from this clock's start, at which so much time is over.
    fn point(&self, time: Ratio) -> Option<u64> {
        Some(self.start.plus(time)?.ceil() - self.start.ceil())
    }

    /// How long it runs, exactly.
    fn length(&self) -> Ratio {
        self.end.minus(self.start).filter(|length| *length > Ratio::ZERO).unwrap_or(self.steps.into())
    }

    /// That of a stage of so many steps which begins after so much time, and ends after so much or else with this clock.
    fn stage(&self, after: Ratio, steps: u64, until: Option<Ratio>) -> Option<Clock> {
        let end = until.map_or(Some(self.end), |until| self.start.plus(until))?;
        Some(Clock { steps, start: self.start.plus(after)?, end, ..*self })
    }

    /// The steps at which epochs begin, counted from this clock's start, and the clock whose steps they are.
    fn epochs(&self) -> Option<(Ticks, Clock)> {
        let ticks = Ticks { period: self.epoch, ahead: Ratio::from(self.start.ceil()).minus(self.start)? };
        let steps = ticks.count(self.steps.saturating_sub(1)) + 1;
        Some((ticks, Clock { steps, per_epoch: true, start: Ratio::ZERO, end: steps.into(), ..*self }))
    }
}

/// What schedules are read from besides the cell.
#[derive(Clone, Copy)]
pub struct Known<'r> {
    pub facts: &'r Facts,
    /// What is taken for bounds that are `"auto"`.
    pub bounds: Option<Bounds>,
}

/// Reads the schedule whose keys stand below `prefix`. `None` after reporting why, or where parsing has reported it.
pub fn schedule(
    cell: &Cell<'_, '_>,
    prefix: &str,
    naming: Naming,
    clock: Clock,
    known: Known<'_>,
    problems: &mut Problems,
) -> Option<Schedule> {
    let mut reader = Reader { cell, prefix, naming, clock, first_epoch: 0, known, problems };
    // A stage of a sequence that changes once an epoch does so already.
    let first_epoch = reader.integer(&FIRST_EPOCH).unwrap_or(0) as u64;
    reader.first_epoch = first_epoch;
    if !IS_PER_EPOCH.of(&PER, &reader) || clock.per_epoch {
        let schedule = reader.warmed_up()?;
        reader.refuse(&[&FIRST_EPOCH], "it goes with `per = \"epoch\"`");
        return Some(schedule);
    }
    let (iterations_per_epoch, epochs) = clock.epochs()?;
    reader.clock = epochs;
    let inner = Box::new(reader.warmed_up()?);
    Some(Schedule::PerEpoch(PerEpoch { iterations_per_epoch, first_epoch, inner }))
}

/// The error of a duration whose exact value in iterations 64 bits do not hold.
pub fn too_fine(name: &str, place: Span) -> Diagnostic {
    let title = format!("`{name}` has too many digits");
    Diagnostic::new(duration::PROBLEM, place, title).text("durations are counted exactly").help("round it")
}

struct Reader<'r, 'a, 'c> {
    cell: &'r Cell<'a, 'c>,
    prefix: &'r str,
    naming: Naming,
    clock: Clock,
    /// The number of the first epoch, where steps are epochs.
    first_epoch: u64,
    known: Known<'r>,
    problems: &'r mut Problems,
}

impl Reader<'_, '_, '_> {
    /// The schedule after its warmup, if it has one: the sequence of both.
    fn warmed_up(&mut self) -> Option<Schedule> {
        let path = self.path(&WARMUP);
        let Some(warmup) = self.cell.duration(&path).filter(|warmup| warmup.count > Ratio::ZERO) else {
            if !self.has(&WARMUP) {
                self.refuse(&[&WARMUP_FROM, &WARMUP_FACTOR, &WARMUP_SHAPE], "there is no `warmup`");
            }
            return self.read();
        };
        if self.has(&WARMUP_FROM) {
            self.refuse(&[&WARMUP_FACTOR], "`warmup_from` says it already");
        }
        let whole = self.clock;
        let end = self.end_of_stage(Ratio::ZERO, warmup, &path, &WARMUP);
        if let Some((steps, end)) = end {
            self.clock = whole.stage(end, whole.steps.saturating_sub(steps).max(1), None)?;
        }
        let then = self.read();
        let rest = std::mem::replace(&mut self.clock, whole).steps;
        let ((steps, _), then) = (end?, then?);

        let to = then.at(0);
        let from = self.number(&WARMUP_FROM).or_else(|| Some(self.number(&WARMUP_FACTOR)? * to)).unwrap_or(0.0);
        let rise = match WARMUP_IS_COSINE.of(&WARMUP_SHAPE, self) {
            true => Schedule::Cosine(Cosine { max: from, min: to, steps }),
            false => Schedule::Linear(Linear { from, to, steps }),
        };
        let mut stages = vec![Stage { steps, schedule: rise }];
        match then {
            Schedule::Sequence(others) => stages.extend(others),
            schedule => stages.push(Stage { steps: rest, schedule }),
        }
        Some(Schedule::Sequence(stages))
    }

    fn read(&mut self) -> Option<Schedule> {
        let kind = kinds::find(self.cell.text(&format!("{}.kind", self.prefix))?)?;
        (kind.build)(self)
    }

    /// The path of a key in the cell.
    fn path(&self, key: &Key) -> String {
        format!("{}.{}", self.prefix, self.naming.name(key.name))
    }

    /// The step at which so much time is over.
    fn point_of(&mut self, duration: Duration, path: &str, key: &Key) -> Option<u64> {
        let time = self.time_of_points_of(duration, path, key)?;
        self.or_too_fine(self.clock.point(time), path, key.name)
    }

    /// The step at which a stage ends that begins after the time `start`, and that time.
    fn end_of_stage(&mut self, start: Ratio, duration: Duration, path: &str, key: &Key) -> Option<(u64, Ratio)> {
        let time = self.time_of_points_of(duration, path, key)?;
        let end = start.plus(time).and_then(|end| Some((self.clock.point(end)?, end)));
        self.or_too_fine(end, path, key.name)
    }

    /// A duration in steps, at least one.
    fn time_of(&mut self, duration: Duration, path: &str, key: &Key) -> Option<Ratio> {
        let time = self.or_too_fine(self.clock.time(duration), path, key.name)?;
        if time < Ratio::from(1) {
            let title = format!("`{}` is less than one step", self.naming.name(key.name));
            self.report(Diagnostic::new(duration::PROBLEM, self.cell.place(path), title).help("make it longer"));
            return None;
        }
        Some(time)
    }

    /// As [`Reader::time_of`]. A schedule that changes once an epoch takes whole epochs: the next whole one may be hundreds
    /// of iterations away. Who asks for a share of the training asks for no number of epochs, and gets the next.
    fn time_of_points_of(&mut self, duration: Duration, path: &str, key: &Key) -> Option<Ratio> {
        if let (true, Some(time)) = (self.clock.per_epoch, self.clock.time(duration))
            && time.whole().is_none()
            && duration.unit != Unit::Training
        {
            let (name, epochs) = (self.naming.name(key.name), Number(time.to_f64()));
            let title = format!("`{name}` is {epochs} epochs, and this schedule changes once an epoch");
            let problem = Diagnostic::new(duration::PROBLEM, self.cell.place(path), title);
            self.report(problem.help("give it in whole epochs, as in \"2 epochs\""));
            return None;
        }
        self.time_of(duration, path, key)
    }

    /// Half a cycle, such that whole cycles fill the time: those whose halves are nearest to 4 epochs, but 3 at least where each
    /// half then still has 2. "It often is good to set stepsize equal to 2 - 10 times the number of iterations in an epoch", 8
    /// being only slightly better than 2, and "set training to run for at least 3 cycles". (Smith 2017, 3.2.)
    fn step_of_whole_cycles(&self) -> Option<Ratio> {
        let length = self.clock.length();
        let epoch = self.clock.time(Duration { count: 1.into(), unit: Unit::Epochs })?;
        let epochs = length.to_f64() / epoch.to_f64();
        let nearest = (epochs / 8.0).round();
        let cycles = if nearest < 3.0 { (epochs / 4.0).floor().clamp(1.0, 3.0) } else { nearest };
        length.over(Ratio::from(2 * cycles as u64)).filter(|step| *step >= Ratio::from(1))
    }

    fn or_too_fine<T>(&mut self, value: Option<T>, path: &str, name: &str) -> Option<T> {
        if value.is_none() {
            self.problems.push(too_fine(self.naming.name(name), self.cell.place(path)));
        }
        value
    }
}

impl Fields for Reader<'_, '_, '_> {
    fn naming(&self) -> Naming {
        self.naming
    }

    fn has(&self, key: &Key) -> bool {
        self.cell.get(&self.path(key)).is_some()
    }

    fn is_auto(&self, key: &Key) -> bool {
        self.cell.get(&self.path(key)) == Some(&Value::Auto)
    }

    fn number(&self, key: &Key) -> Option<f64> {
        match self.known.bounds {
            Some(Bounds { max, .. }) if self.is_auto(key) && key.name == "max_lr" => Some(max),
            Some(Bounds { base, .. }) if self.is_auto(key) => Some(base),
            _ => self.cell.number(&self.path(key)),
        }
    }

    fn integer(&self, key: &Key) -> Option<i64> {
        self.cell.integer(&self.path(key))
    }

    fn word(&self, key: &Key) -> Option<&str> {
        self.cell.text(&self.path(key))
    }

    /// Other hyper-parameters may fall first: momentum does, while the learning rate rises. (Smith 2018.)
    fn bounds(&mut self, lower: &Key, upper: &Key) -> Option<(f64, f64)> {
        let (low, high) = (self.number(lower)?, self.number(upper)?);
        if low <= high || self.naming == Naming::Plain {
            return Some((low, high));
        }
        let (low_text, high_text) = (format!("this is {}", Number(low)), format!("and this is {}", Number(high)));
        let (lower_name, upper_name) = (lower.name, upper.name);
        let diagnostic = |span, text: &str| {
            Diagnostic::new("spec::bounds", span, format!("`{lower_name}` is above `{upper_name}`"))
                .text(text)
                .help(format!("swap them, or raise `{upper_name}`"))
        };
        let problem = match self.cell.span(&self.path(lower)) {
            Some(span) => diagnostic(span.clone(), &low_text).also(self.cell.span(&self.path(upper)), high_text),
            None => {
                let text = format!("this is {}, `{lower_name}` {}", Number(high), Number(low));
                diagnostic(self.place(upper), &text)
            }
        };
        self.report(problem);
        None
    }

    fn step_count(&self) -> u64 {
        self.clock.steps
    }

    fn length(&self) -> Ratio {
        self.clock.length()
    }

    fn step_after(&self, time: Ratio) -> Option<u64> {
        self.clock.point(time)
    }

    fn step_after_float(&self, time: f64) -> u64 {
        ((self.clock.start.to_f64() + time).ceil() as u64).saturating_sub(self.clock.start.ceil())
    }

    fn time(&mut self, key: &Key) -> Option<Ratio> {
        let path = self.path(key);
        if self.is_auto(key) {
            let step = self.step_of_whole_cycles();
            return self.or_too_fine(step, &path, key.name);
        }
        self.time_of(self.cell.duration(&path)?, &path, key)
    }

    fn time_of_points(&mut self, key: &Key) -> Option<Ratio> {
        let path = self.path(key);
        self.time_of_points_of(self.cell.duration(&path)?, &path, key)
    }

    fn ticks(&mut self, key: &Key) -> Option<Ticks> {
        let period = self.time_of_points(key)?;
        let ahead = Ratio::from(self.clock.start.ceil()).minus(self.clock.start)?;
        Some(Ticks { period, ahead })
    }

    fn point(&mut self, key: &Key) -> Option<u64> {
        let path = self.path(key);
        self.point_of(self.cell.duration(&path)?, &path, key)
    }

    fn points(&mut self, key: &Key) -> Option<Vec<u64>> {
        let path = self.path(key);
        let Value::Durations(durations) = self.cell.get(&path)? else { return None };
        let points: Vec<u64> =
            durations.iter().map(|duration| self.point_of(*duration, &path, key)).collect::<Option<_>>()?;
        if points.windows(2).any(|pair| pair[0] >= pair[1]) {
            let title = format!("`{}` must increase", key.name);
            let problem = Diagnostic::new(duration::PROBLEM, self.place(key), title);
            self.report(problem.help("they are compared in iterations"));
            return None;
        }
        Some(points)
    }

    fn stages(&mut self, key: &Key) -> Option<Vec<Stage>> {
        let path = self.path(key);
        let Value::Stages(count) = *self.cell.get(&path)? else { return None };
        let mut stages = Vec::new();
        let (mut begun, mut start) = (0, Ratio::ZERO);
        for number in 1..=count {
            let prefix = format!("{path}.{number}");
            let length = format!("{prefix}.{}", STAGE_LENGTH.name);
            let (end, until) = match self.cell.duration(&length) {
                Some(duration) => {
                    self.end_of_stage(start, duration, &length, &STAGE_LENGTH).map(|(end, until)| (end, Some(until)))?
                }
                None if number == count => (self.clock.steps.max(begun + 1), None),
                None => return None,
            };
            let steps = end - begun;
            let clock = self.clock.stage(start, steps, until)?;
            (begun, start) = (end, until.unwrap_or(start));
            let inner = schedule(self.cell, &prefix, self.naming, clock, self.known, self.problems);
            stages.push((steps, inner));
        }
        // All stages are read before giving up, so that each wrong one is reported.
        stages.into_iter().map(|(steps, schedule)| Some(Stage { steps, schedule: schedule? })).collect()
    }

    fn table(&mut self, file: &Key, column: &Key, linear: bool) -> Option<Schedule> {
        let wanted = TableColumn::new(self.word(file)?, self.prefix, self.word(column));
        let (unit, rows) = match self.known.facts.tables.get(&wanted) {
            Some(Ok(Values::EachStep(values))) => return Some(Schedule::Table(Arc::clone(values))),
            Some(Ok(Values::From { unit, rows })) => (*unit, rows),
            other => {
                let reason = other.and_then(|read| read.as_ref().err());
                let title = match reason {
                    Some(reason) => format!("this table could not be read: {reason}"),
                    None => "this table was not read".to_owned(),
                };
                let help = "a table is a CSV file, its path relative to the spec: bare numbers, one an iteration; or columns \
                            with names, `iteration`, `step` or `epoch` one of them";
                self.report(Diagnostic::new("spec::table", self.place(file), title).help(help));
                return None;
            }
        };
        let own_unit = if self.clock.per_epoch { Unit::Epochs } else { Unit::Iterations };
        let points: Arc<[(f64, f64)]> = if unit == own_unit {
            Arc::clone(rows)
        } else {
            let step_of = |count| self.clock.time(Duration { count: Ratio::of_float(count)?, unit });
            let points = rows.iter().map(|(count, value)| Some((step_of(*count)?.to_f64(), *value)));
            let points = points.collect();
            self.or_too_fine(points, &self.path(file), "epoch")?
        };
        let first = points.first().map_or(0.0, |(step, _)| *step);
        let begins = if self.clock.per_epoch { self.first_epoch } else { 0 };
        if first > begins as f64 {
            let row = Number(rows.first().map_or(0.0, |(row, _)| *row));
            let own = if unit == Unit::Epochs { "epoch" } else { "iteration" };
            let title = format!("the first row of this table is for {own} {row}");
            let unit = if self.clock.per_epoch { "epoch" } else { "iteration" };
            let problem = Diagnostic::new("spec::table", self.place(file), title);
            self.report(problem.help(format!("add a row for {unit} {begins}, where the schedule begins")));
            return None;
        }
        Some(Schedule::Points(Points { points, linear }))
    }

    fn place(&self, key: &Key) -> Span {
        self.cell.place(&self.path(key))
    }

    fn report(&mut self, problem: Diagnostic) {
        self.problems.push(problem);
    }

    fn refuse(&mut self, keys: &[&Key], reason: &str) {
        for key in keys {
            if let Some(span) = self.cell.span(&self.path(key)) {
                let title = format!("`{}` has no effect here", key.name);
                self.report(Diagnostic::new("spec::unused", span.clone(), title).text(reason).help("remove it"));
            }
        }
    }

    fn too_fine(&mut self, key: &Key) {
        self.problems.push(too_fine(self.naming.name(key.name), self.place(key)));
    }
}
