//! From the keys of a schedule to a [`Schedule`], durations resolved and bounds checked.

use std::sync::Arc;

use clr_schedule::ratio::Ratio;
use clr_schedule::{
    Amplitude, Cyclic, Decline, OneCycle, OneCycleForm, Peak, Schedule, Sgdr, Stage, Ticks, Window, cycle_start,
};
use clr_spec::duration::{Duration, Unit};
use clr_spec::kinds::Naming;
use clr_spec::table::Values;
use clr_spec::{Diagnostic, Problems, Span, TableColumn};
use clr_terminal::words::Number;

use super::cell::Cell;
use super::facts::Facts;

/// The code of problems that depend on how long an epoch is.
pub const DURATION: &str = "spec::duration";

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

/// Reads the schedule whose keys stand below `prefix`. `None` after reporting why, or where parsing has reported it.
pub fn schedule(
    cell: &Cell<'_, '_>,
    prefix: &str,
    naming: Naming,
    clock: Clock,
    facts: &Facts,
    problems: &mut Problems,
) -> Option<Schedule> {
    let asks_epochs = cell.text(&format!("{prefix}.per")) == Some("epoch");
    // A stage of a sequence that changes once an epoch does so already.
    let first_epoch = cell.integer(&format!("{prefix}.first_epoch")).unwrap_or(0) as u64;
    let mut reader = Reader { cell, prefix, naming, clock, first_epoch, facts, problems };
    if !asks_epochs || clock.per_epoch {
        let schedule = reader.warmed_up()?;
        reader.refuse(&["first_epoch"], "it goes with `per = \"epoch\"`");
        return Some(schedule);
    }
    let (iterations_per_epoch, epochs) = clock.epochs()?;
    reader.clock = epochs;
    let inner = Box::new(reader.warmed_up()?);
    Some(Schedule::PerEpoch { iterations_per_epoch, first_epoch, inner })
}

/// The error of a duration whose exact value in iterations 64 bits do not hold.
pub fn too_fine(name: &str, place: Span) -> Diagnostic {
    let title = format!("`{name}` has too many digits");
    Diagnostic::new(DURATION, place, title).text("durations are counted exactly").help("round it")
}

/// What part of the time so many of all cycles take, each `mult` times as long as the one before; `None` where it does not
/// fit.
fn share(mult: Ratio, index: u32, count: u32) -> Option<Ratio> {
    let [longer, shorter] = [mult.numerator(), mult.denominator()].map(u128::from);
    if longer == shorter {
        return Ratio::new(index.into(), count.into());
    }
    let grown = |index: u32| Some(longer.checked_pow(index)?.abs_diff(shorter.checked_pow(index)?));
    Ratio::new(grown(index)?.checked_mul(shorter.checked_pow(count - index)?)?, grown(count)?)
}

/// `value * factor^power`, as one would write it: the float nearest to the product of the decimals, where it fits.
fn times_power(value: f64, factor: f64, power: u32) -> f64 {
    let exact = || {
        let factor = Ratio::of_float(factor)?;
        (0..power).try_fold(Ratio::of_float(value)?, |product, _| product.times(factor)).map(Ratio::to_f64)
    };
    exact().unwrap_or_else(|| value * libm::pow(factor, f64::from(power)))
}

struct Reader<'r, 'a, 'c> {
    cell: &'r Cell<'a, 'c>,
    prefix: &'r str,
    naming: Naming,
    clock: Clock,
    /// The number of the first epoch, where steps are epochs.
    first_epoch: u64,
    facts: &'r Facts,
    problems: &'r mut Problems,
}

impl Reader<'_, '_, '_> {
    /// The schedule after its warmup, if it has one: the sequence of both.
    fn warmed_up(&mut self) -> Option<Schedule> {
        let path = self.path("warmup");
        let Some(warmup) = self.cell.duration(&path).filter(|warmup| warmup.count > Ratio::ZERO) else {
            if !self.has("warmup") {
                self.refuse(&["warmup_from", "warmup_factor", "warmup_shape"], "there is no `warmup`");
            }
            return self.read();
        };
        if self.has("warmup_from") {
            self.refuse(&["warmup_factor"], "`warmup_from` says it already");
        }
        let whole = self.clock;
        let end = self.end_of_stage(Ratio::ZERO, warmup, &path, "warmup");
        if let Some((steps, end)) = end {
            self.clock = whole.stage(end, whole.steps.saturating_sub(steps).max(1), None)?;
        }
        let then = self.read();
        let rest = std::mem::replace(&mut self.clock, whole).steps;
        let ((steps, _), then) = (end?, then?);

        let to = then.at(0);
        let from = self.number("warmup_from").or_else(|| Some(self.number("warmup_factor")? * to)).unwrap_or(0.0);
        let rise = match self.cell.text(&self.path("warmup_shape")) {
            Some("cosine") => Schedule::Cosine { max: from, min: to, steps },
            _ => Schedule::Linear { from, to, steps },
        };
        let mut stages = vec![Stage { steps, schedule: rise }];
        match then {
            Schedule::Sequence(others) => stages.extend(others),
            schedule => stages.push(Stage { steps: rest, schedule }),
        }
        Some(Schedule::Sequence(stages))
    }

    fn read(&mut self) -> Option<Schedule> {
        let kind = self.cell.text(&self.path("kind"))?;
        Some(match kind {
            "fixed" => Schedule::Constant(self.number("base_lr")?),
            "step" => Schedule::Step {
                base: self.number("base_lr")?,
                gamma: self.number("gamma")?,
                step_size: self.ticks("step_size")?,
            },
            "multistep" => Schedule::MultiStep {
                base: self.number("base_lr")?,
                gamma: self.number("gamma")?,
                milestones: self.milestones()?,
            },
            "exp" => Schedule::Exp { base: self.number("base_lr")?, gamma: self.number("gamma")? },
            "inv" => Schedule::Inv {
                base: self.number("base_lr")?,
                gamma: self.number("gamma")?,
                power: self.number("power")?,
            },
            "poly" => {
                Schedule::Poly { base: self.number("base_lr")?, power: self.number("power")?, steps: self.steps()? }
            }
            "sigmoid" => Schedule::Sigmoid {
                base: self.number("base_lr")?,
                gamma: self.number("gamma")?,
                step_size: self.whole("step_size")?,
            },
            "decay" => {
                let (base, max) = self.bounds("base_lr", "max_lr")?;
                Schedule::Decay { base, max, step_size: self.whole("step_size")? }
            }
            "triangular" | "triangular2" | "exp_range" => Schedule::Cyclic(self.cyclic(kind)?),
            "one_cycle" => self.one_cycle()?,
            "cosine" => {
                let (min, max) = self.bounds("min_lr", "max_lr")?;
                Schedule::Cosine { max, min, steps: self.steps()? }
            }
            "sgdr" => Schedule::Sgdr(self.sgdr()?),
            "linear" => {
                Schedule::Linear { from: self.number("from_lr")?, to: self.number("to_lr")?, steps: self.steps()? }
            }
            "range_test" => {
                let (min, max) = self.bounds("min_lr", "max_lr")?;
                let geometric = self.cell.text(&self.path("spacing"))? == "geometric";
                if geometric && min == 0.0 {
                    self.problem(
                        "spec::bounds",
                        "min_lr",
                        "a geometric range cannot start at 0",
                        "use a small number above 0",
                    );
                    return None;
                }
                Schedule::RangeTest { min, max, steps: self.steps()?, geometric }
            }
            "table" => self.table()?,
            "sequence" => Schedule::Sequence(self.stages()?),
            // A kind that `spec` knows and this match does not is a defect of this program, found by a test.
            _ => return None,
        })
    }

    fn cyclic(&mut self, kind: &str) -> Option<Cyclic> {
        let bounds = self.bounds("base_lr", "max_lr");
        let up = self.real("step_size");
        let down = if self.has("step_size_down") { self.real("step_size_down") } else { up };
        let ((base, max), up, down) = (bounds?, up?, down?);
        let window = match self.cell.text(&self.path("window"))? {
            "welch" => Window::Welch,
            "hann" => Window::Hann,
            _ => Window::Linear,
        };
        let amplitude = match (kind, self.cell.text(&self.path("amplitude"))) {
            ("triangular2", _) | (_, Some("half_per_cycle")) => Amplitude::HalfPerCycle,
            (_, Some("one_over_cycle")) => Amplitude::OneOverCycle,
            _ => Amplitude::Constant,
        };
        let decline = match (kind, self.cell.text(&self.path("decline"))) {
            ("exp_range", Some("amplitude")) => Some(Decline::Amplitude { gamma: self.number("gamma")? }),
            ("exp_range", _) => Some(Decline::Boundaries { gamma: self.number("gamma")? }),
            _ => None,
        };
        let amplitude = match self.number("peak_factor") {
            Some(_) if amplitude != Amplitude::Constant => {
                self.refuse(&["peak_factor"], "`amplitude` says it already");
                amplitude
            }
            None | Some(1.0) => amplitude,
            // One trial, whatever it is called.
            Some(0.5) => Amplitude::HalfPerCycle,
            Some(factor) => Amplitude::Factor(factor),
        };
        let (mult, cycles) = (self.number("mult").unwrap_or(1.0), self.number("cycles"));
        let cyclic = Cyclic { base, max, up, down, window, mult, amplitude, decline, cycles };
        self.refuse_short_cycles("step_size", up.min(down), mult, cyclic.index(self.clock.steps.saturating_sub(1)))?;
        Some(cyclic)
    }

    fn sgdr(&mut self) -> Option<Sgdr> {
        let (min, max) = self.bounds("min_lr", "max_lr")?;
        if !self.has("peak_factor") {
            self.refuse(&["peak_factor_of"], "there is no `peak_factor`");
        }
        let peak = match self.number("peak_factor") {
            None | Some(1.0) => Peak::Constant,
            // Above 0 the peak and the amplitude are the same.
            Some(factor) if self.cell.text(&self.path("peak_factor_of")) == Some("amplitude") && min != 0.0 => {
                Peak::AmplitudeFactor(factor)
            }
            Some(factor) => Peak::Factor(factor),
        };
        let (first_cycle, mult) = (self.exact("first_cycle"), self.mult());
        let sgdr = Sgdr { max, min, first_cycle: first_cycle?, mult: mult?, peak };
        let index = sgdr.index(self.clock.steps.saturating_sub(1));
        self.refuse_short_cycles("first_cycle", sgdr.first_cycle.to_f64(), sgdr.mult.to_f64(), index)?;
        Some(sgdr)
    }

    /// By how much each cycle is longer than the one before, exactly as it is written.
    fn mult(&mut self) -> Option<Ratio> {
        let mult = Ratio::of_float(self.number("mult").unwrap_or(1.0));
        self.or_too_fine(mult, &self.path("mult"), "mult")
    }

    /// Refuses cycles that become shorter than a step before the end: what lasts `first` steps in the first of them does
    /// not last one in that with this index.
    fn refuse_short_cycles(&mut self, name: &str, first: f64, mult: f64, last: f64) -> Option<()> {
        let length = |index: f64| first * libm::pow(mult, index);
        if length(last) >= 1.0 {
            return Some(());
        }
        let mut index = (-libm::log(first) / libm::log(mult)).floor().max(1.0);
        while length(index) >= 1.0 {
            index += 1.0;
        }
        let (name, place) = (self.naming.name(name), self.cell.place(&self.path("mult")));
        let text = format!("the `{name}` of cycle {} would be {}", Number(index + 1.0), Number(length(index)));
        let title = "`mult` makes cycles shorter than one step";
        let help = format!("raise `mult` or `{name}`");
        self.problems.push(Diagnostic::new(DURATION, place, title).text(text).help(help));
        None
    }

    fn one_cycle(&mut self) -> Option<Schedule> {
        let form = self.cell.text(&self.path("form"))?;
        let smith = form == "smith";
        if self.has("base_lr") {
            self.bounds("base_lr", "max_lr")?;
            self.refuse(&["div_factor"], "`base_lr` says it already");
        }
        if smith {
            self.refuse(&["pct_start", "anneal", "steps"], "`form` is \"smith\"");
        } else {
            self.refuse(&["step_size"], &format!("`form` is \"{form}\""));
        }
        let max = self.number("max_lr")?;
        let div_factor = self.number("div_factor").unwrap_or(if smith { 10.0 } else { 25.0 });
        let (base, final_div_factor) = (self.number("base_lr"), self.number("final_div_factor"));
        let fastai = form == "fastai";
        let pct_start = self.number("pct_start").unwrap_or(if form == "fastai" { 0.25 } else { 0.3 });
        let steps = self.steps()?;
        let form = match form {
            "smith" if !self.has("step_size") => {
                let help = "Smith's form needs it; PyTorch's `form = \"two_phase\"` does not";
                self.problem("spec::missing", "form", "`step_size` is missing", help);
                return None;
            }
            "smith" => OneCycleForm::Smith { step_size: self.exact("step_size")? },
            "two_phase" => OneCycleForm::TwoPhase { pct_start },
            "fastai" => OneCycleForm::Fraction { pct_start },
            _ if pct_start > 0.5 => {
                self.problem(
                    "spec::range",
                    "pct_start",
                    "`pct_start` is out of range",
                    "the way down takes as long, so it is at most 0.5",
                );
                return None;
            }
            _ => OneCycleForm::ThreePhase { pct_start },
        };
        let cosine = !smith && self.cell.text(&self.path("anneal")) != Some("linear");
        let cycle = |max: f64, steps, form| {
            let initial = base.unwrap_or(max / div_factor);
            let last = match final_div_factor {
                Some(factor) => initial / factor,
                None if smith => initial / 1e3,
                None if fastai => max / 1e5,
                None => initial / 1e4,
            };
            OneCycle { initial, max, last, steps, form, cosine }
        };
        let Some(count) = self.cell.integer(&self.path("cycles")) else {
            self.refuse(&["mult", "peak_factor"], "without `cycles` there is one");
            return Some(Schedule::OneCycle(cycle(max, steps, form)));
        };
        let mult = self.mult()?;
        let lengths = self.lengths_of_cycles(count as u32, mult)?;
        let peak_factor = self.number("peak_factor").unwrap_or(1.0);
        let mut stages = Vec::new();
        let mut form = form;
        for (steps, index) in lengths.into_iter().zip(0..) {
            let peak = times_power(max, peak_factor, index);
            if let Some(base) = base.filter(|base| *base > peak && self.naming == Naming::LearningRate) {
                let place = self.cell.place(&self.path("peak_factor"));
                let text = format!("in cycle {} they are {} and {}", index + 1, Number(peak), Number(base));
                self.problems.push(
                    Diagnostic::new("spec::bounds", place, "`peak_factor` brings `max_lr` below `base_lr`")
                        .text(text)
                        .help("lower `base_lr`, or leave it to `div_factor`, which follows the peak"),
                );
                return None;
            }
            stages.push(Stage { steps, schedule: Schedule::OneCycle(cycle(peak, steps, form)) });
            if let OneCycleForm::Smith { step_size } = form {
                let longer = self.or_too_fine(step_size.times(mult), &self.path("mult"), "mult")?;
                form = OneCycleForm::Smith { step_size: longer };
            }
        }
        Some(if stages.len() == 1 { stages.remove(0).schedule } else { Schedule::Sequence(stages) })
    }

    /// The steps of so many cycles that share the time, each `mult` times as long as the one before. As everywhere their
    /// ends are exact, and fall on steps by being rounded up.
    fn lengths_of_cycles(&mut self, count: u32, mult: Ratio) -> Option<Vec<u64>> {
        let total = if self.has("steps") { self.exact("steps")? } else { self.clock.length() };
        let (exact_mult, mult) = (mult, mult.to_f64());
        let parts = |index: u32| cycle_start(1.0, mult, f64::from(index));
        let first = total.to_f64() / parts(count);
        let shortest = first.min(first * libm::pow(mult, f64::from(count - 1)));
        if shortest < 1.0 {
            let name = if total >= Ratio::from(u64::from(count)) { "mult" } else { "cycles" };
            let text = format!("the shortest of {count} would be {}", Number(shortest));
            let place = self.cell.place(&self.path(name));
            let title = format!("`{name}` makes cycles shorter than one step");
            let help = if name == "mult" { "bring it nearer to 1, or lower `cycles`" } else { "lower it" };
            self.problems.push(Diagnostic::new(DURATION, place, title).text(text).help(help));
            return None;
        }
        let clock = self.clock;
        let mut begun = 0;
        let lengths = (1..=count).map(|index| {
            let exact = share(exact_mult, index, count).and_then(|share| clock.point(total.times(share)?));
            let end = exact.unwrap_or_else(|| {
                let end = clock.start.to_f64() + total.to_f64() * (parts(index) / parts(count));
                (end.ceil() as u64).saturating_sub(clock.start.ceil())
            });
            let steps = end.saturating_sub(begun);
            begun = end;
            steps
        });
        Some(lengths.collect())
    }

    fn stages(&mut self) -> Option<Vec<Stage>> {
        let clr_spec::Value::Stages(count) = *self.cell.get(&self.path("stages"))? else { return None };
        let mut stages = Vec::new();
        let (mut begun, mut start) = (0, Ratio::ZERO);
        for number in 1..=count {
            let prefix = format!("{}.{}", self.path("stages"), number);
            let length = format!("{prefix}.iterations");
            let (end, until) = match self.cell.duration(&length) {
                Some(duration) => {
                    self.end_of_stage(start, duration, &length, "iterations").map(|(end, until)| (end, Some(until)))?
                }
                None if number == count => (self.clock.steps.max(begun + 1), None),
                None => return None,
            };
            let steps = end - begun;
            let clock = self.clock.stage(start, steps, until)?;
            (begun, start) = (end, until.unwrap_or(start));
            let inner = schedule(self.cell, &prefix, self.naming, clock, self.facts, self.problems);
            stages.push((steps, inner));
        }
        // All stages are read before giving up, so that each wrong one is reported.
        stages.into_iter().map(|(steps, schedule)| Some(Stage { steps, schedule: schedule? })).collect()
    }

    fn table(&mut self) -> Option<Schedule> {
        let file = self.cell.text(&self.path("file"))?;
        let wanted = TableColumn::new(file, self.prefix, self.cell.text(&self.path("column")));
        let linear = self.cell.text(&self.path("between")) == Some("linear");
        let (unit, rows) = match self.facts.tables.get(&wanted) {
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
                self.problem("spec::table", "file", &title, help);
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
            self.or_too_fine(points, &self.path("file"), "epoch")?
        };
        let first = points.first().map_or(0.0, |(step, _)| *step);
        let begins = if self.clock.per_epoch { self.first_epoch } else { 0 };
        if first > begins as f64 {
            let row = Number(rows.first().map_or(0.0, |(row, _)| *row));
            let own = if unit == Unit::Epochs { "epoch" } else { "iteration" };
            let title = format!("the first row of this table is for {own} {row}");
            let unit = if self.clock.per_epoch { "epoch" } else { "iteration" };
            self.problem(
                "spec::table",
                "file",
                &title,
                &format!("add a row for {unit} {begins}, where the schedule begins"),
            );
            return None;
        }
        Some(Schedule::Points { points, linear })
    }

    fn milestones(&mut self) -> Option<Vec<u64>> {
        let path = self.path("milestones");
        let clr_spec::Value::Durations(durations) = self.cell.get(&path)? else { return None };
        let milestones: Vec<u64> =
            durations.iter().map(|duration| self.point(*duration, &path, "milestones")).collect::<Option<_>>()?;
        if milestones.windows(2).any(|pair| pair[0] >= pair[1]) {
            self.problem(DURATION, "milestones", "`milestones` must increase", "they are compared in iterations");
            return None;
        }
        Some(milestones)
    }

    /// The path of a key by its name in a policy.
    fn path(&self, name: &str) -> String {
        format!("{}.{}", self.prefix, self.naming.name(name))
    }

    fn has(&self, name: &str) -> bool {
        self.cell.get(&self.path(name)).is_some()
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.cell.number(&self.path(name))
    }

    /// Two bounds of a learning rate, the lower one first. Other hyper-parameters may fall first: momentum does, while
    /// the learning rate rises. (Smith 2018.)
    fn bounds(&mut self, lower: &str, upper: &str) -> Option<(f64, f64)> {
        let (low, high) = (self.number(lower)?, self.number(upper)?);
        if low <= high || self.naming == Naming::Plain {
            return Some((low, high));
        }
        let (low_path, high_path) = (self.path(lower), self.path(upper));
        let (low_text, high_text) = (format!("this is {}", Number(low)), format!("and this is {}", Number(high)));
        let diagnostic = |span, text: &str| {
            Diagnostic::new("spec::bounds", span, format!("`{lower}` is above `{upper}`"))
                .text(text)
                .help(format!("swap them, or raise `{upper}`"))
        };
        match self.cell.span(&low_path) {
            Some(span) => {
                self.problems.push(diagnostic(span.clone(), &low_text).also(self.cell.span(&high_path), high_text))
            }
            None => self.problems.push(diagnostic(
                self.cell.place(&high_path),
                &format!("this is {}, `{lower}` {}", Number(high), Number(low)),
            )),
        }
        None
    }

    fn steps(&mut self) -> Option<u64> {
        if self.has("steps") { self.whole("steps") } else { Some(self.clock.steps) }
    }

    /// A duration in steps to the nearest float, which may have a fraction.
    fn real(&mut self, name: &str) -> Option<f64> {
        let path = self.path(name);
        self.time(self.cell.duration(&path)?, &path, name).map(Ratio::to_f64)
    }

    /// A duration in steps, which may have a fraction, but for those that count epochs in a schedule that changes once
    /// an epoch.
    fn exact(&mut self, name: &str) -> Option<Ratio> {
        let path = self.path(name);
        self.time_of_points(self.cell.duration(&path)?, &path, name)
    }

    /// Points that come again after every such duration.
    fn ticks(&mut self, name: &str) -> Option<Ticks> {
        let period = self.exact(name)?;
        let ahead = Ratio::from(self.clock.start.ceil()).minus(self.clock.start)?;
        Some(Ticks { period, ahead })
    }

    /// A duration from the start of the schedule, in whole steps.
    fn whole(&mut self, name: &str) -> Option<u64> {
        let path = self.path(name);
        self.point(self.cell.duration(&path)?, &path, name)
    }

    /// The step at which so much time is over.
    fn point(&mut self, duration: Duration, path: &str, name: &str) -> Option<u64> {
        let time = self.time_of_points(duration, path, name)?;
        self.or_too_fine(self.clock.point(time), path, name)
    }

    /// The step at which a stage ends that begins after the time `start`, and that time.
    fn end_of_stage(&mut self, start: Ratio, duration: Duration, path: &str, name: &str) -> Option<(u64, Ratio)> {
        let time = self.time_of_points(duration, path, name)?;
        let end = start.plus(time).and_then(|end| Some((self.clock.point(end)?, end)));
        self.or_too_fine(end, path, name)
    }

    /// A duration in steps, at least one.
    fn time(&mut self, duration: Duration, path: &str, name: &str) -> Option<Ratio> {
        let time = self.or_too_fine(self.clock.time(duration), path, name)?;
        if time < Ratio::from(1) {
            let title = format!("`{}` is less than one step", self.naming.name(name));
            self.problems.push(Diagnostic::new(DURATION, self.cell.place(path), title).help("make it longer"));
            return None;
        }
        Some(time)
    }

    /// As [`Reader::time`]. A schedule that changes once an epoch takes whole epochs: the next whole one may be hundreds
    /// of iterations away. Who asks for a share of the training asks for no number of epochs, and gets the next.
    fn time_of_points(&mut self, duration: Duration, path: &str, name: &str) -> Option<Ratio> {
        if let (true, Some(time)) = (self.clock.per_epoch, self.clock.time(duration))
            && time.whole().is_none()
            && duration.unit != Unit::Training
        {
            let name = self.naming.name(name);
            let epochs = Number(time.to_f64());
            let title = format!("`{name}` is {epochs} epochs, and this schedule changes once an epoch");
            self.problems.push(
                Diagnostic::new(DURATION, self.cell.place(path), title)
                    .help("give it in whole epochs, as in \"2 epochs\""),
            );
            return None;
        }
        self.time(duration, path, name)
    }

    fn or_too_fine<T>(&mut self, value: Option<T>, path: &str, name: &str) -> Option<T> {
        if value.is_none() {
            self.problems.push(too_fine(self.naming.name(name), self.cell.place(path)));
        }
        value
    }

    fn refuse(&mut self, names: &[&str], reason: &str) {
        for name in names {
            if let Some(span) = self.cell.span(&self.path(name)) {
                self.problems.push(
                    Diagnostic::new("spec::unused", span.clone(), format!("`{name}` has no effect here"))
                        .text(reason)
                        .help("remove it"),
                );
            }
        }
    }

    fn problem(&mut self, code: &'static str, name: &str, title: &str, help: &str) {
        let place = self.cell.place(&self.path(name));
        self.problems.push(Diagnostic::new(code, place, title).help(help));
    }
}
