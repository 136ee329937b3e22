//! `one_cycle`, in the forms of Smith, PyTorch and fastai, once or several times.

use clr_schedule::ratio::Ratio;
use clr_schedule::{OneCycle, OneCycleForm, Schedule, Stage, cycle_start};
use clr_terminal::words::Number;
use serde_json::{Value as Json, json};

use super::cycles::MULT;
use super::{Fields, MAX, Naming, ScheduleKind, Words, number};
use crate::Diagnostic;
use crate::duration::PROBLEM;
use crate::keys::{Key, Kind, Range};

/// Whose one-cycle policy it is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Smith,
    TwoPhase,
    ThreePhase,
    Fastai,
}

const FORMS: Words<Form, 4> = Words([
    ("smith", Form::Smith),
    ("two_phase", Form::TwoPhase),
    ("three_phase", Form::ThreePhase),
    ("fastai", Form::Fastai),
]);
const FORM_NAMES: &[&str] = &FORMS.names();
const FORM: Key =
    Key::new("form", Kind::OneOf(FORM_NAMES), "Smith's Caffe code, PyTorch's two or three phases, or fastai's.")
        .text("smith")
        .no_axis();
const BASE: Key =
    Key::new("base_lr", Kind::Number(Range::NotNegative), "The first value; absent: max_lr / div_factor.").auto();
const DIV_FACTOR: Key = Key::new(
    "div_factor",
    Kind::Number(Range::Positive),
    "max_lr / first value, where base_lr is absent; absent: 25, in Smith's form 10.",
);
const FINAL_DIV_FACTOR: Key = Key::new(
    "final_div_factor",
    Kind::Number(Range::Positive),
    "First value / last value; absent: 1,000 (Smith), 10,000 (PyTorch), or such that the last is max_lr / 100,000 (fastai).",
);
const STEP_SIZE: Key = Key::new(
    "step_size",
    Kind::Duration { zero: false },
    "Smith's form, which needs it: half a cycle, the cycle being a little shorter than the training.",
);
const PCT_START: Key = Key::new(
    "pct_start",
    Kind::Number(Range::Fraction),
    "The other forms: the fraction of the steps on the way up; absent: 0.3, in fastai's form 0.25.",
);
const IS_COSINE: Words<bool, 2> = Words([("linear", false), ("cosine", true)]);
const ANNEALS: &[&str] = &IS_COSINE.names();
const ANNEAL: Key = Key::new("anneal", Kind::OneOf(ANNEALS), "The other forms: how phases are joined; absent: cosine.");
const STEPS: Key = Key::new(
    "steps",
    Kind::Duration { zero: false },
    "The other forms: how long it takes; absent: all of the training, or of the stage.",
);
const CYCLES: Key = Key::new(
    "cycles",
    Kind::Integer { min: 1, max: 100 },
    "How many cycles share the time, one after another; absent: one.",
);
const PEAK_FACTOR: Key = Key::new(
    "peak_factor",
    Kind::Number(Range::Positive),
    "With `cycles`: what `max_lr` is multiplied by from cycle to cycle; absent: 1.",
);

pub const KIND: ScheduleKind = ScheduleKind {
    name: "one_cycle",
    doc: "One cycle, then far below its start. (Smith 2018)",
    keys: &[
        FORM,
        MAX,
        BASE,
        DIV_FACTOR,
        FINAL_DIV_FACTOR,
        STEP_SIZE,
        PCT_START,
        ANNEAL,
        STEPS,
        CYCLES,
        MULT,
        PEAK_FACTOR,
    ],
    examples: &[
        r#"[policies.super_convergence]   # Smith's form
kind             = "one_cycle"
base_lr          = 0.1          # or div_factor = 30
max_lr           = 3.0
step_size        = "20 epochs"
final_div_factor = 1000"#,
        r#"[policies.pytorch]             # torch.optim.lr_scheduler.OneCycleLR
kind             = "one_cycle"
form             = "two_phase"
max_lr           = 0.1
div_factor       = 25
final_div_factor = 10_000
pct_start        = 0.3
anneal           = "cosine"
steps            = 25_000"#,
        r#"[policies.three_times]
kind        = "one_cycle"
form        = "two_phase"
max_lr      = 0.1
cycles      = 3
mult        = 2              # a seventh of the training, two and four sevenths
peak_factor = 0.5            # 0.1, 0.05, 0.025"#,
    ],
    build,
};

fn build(fields: &mut dyn Fields) -> Option<Schedule> {
    let form = FORMS.of(&FORM, fields);
    if fields.has(&BASE) {
        fields.bounds(&BASE, &MAX)?;
        fields.refuse(&[&DIV_FACTOR], "`base_lr` says it already");
    }
    let reason = format!("`form` is \"{}\"", FORMS.name(form));
    match form {
        Form::Smith => fields.refuse(&[&PCT_START, &ANNEAL, &STEPS], &reason),
        _ => fields.refuse(&[&STEP_SIZE], &reason),
    }
    let max = fields.number(&MAX)?;
    let (base, final_div_factor) = (fields.number(&BASE), fields.number(&FINAL_DIV_FACTOR));
    let div_factor = fields.number(&DIV_FACTOR).unwrap_or(if form == Form::Smith { 10.0 } else { 25.0 });
    let cosine = form != Form::Smith && (!fields.has(&ANNEAL) || IS_COSINE.of(&ANNEAL, fields));
    let cycle = |max: f64, steps, phases| {
        let initial = base.unwrap_or(max / div_factor);
        let last = match (final_div_factor, form) {
            (Some(factor), _) => initial / factor,
            (None, Form::Smith) => initial / 1e3,
            (None, Form::Fastai) => max / 1e5,
            (None, Form::TwoPhase | Form::ThreePhase) => initial / 1e4,
        };
        OneCycle { initial, max, last, steps, form: phases, cosine }
    };
    let steps = fields.steps(&STEPS)?;
    let mut phases = phases(fields, form)?;
    let Some(count) = fields.integer(&CYCLES) else {
        fields.refuse(&[&MULT, &PEAK_FACTOR], "without `cycles` there is one");
        return Some(Schedule::OneCycle(cycle(max, steps, phases)));
    };

    let mult = fields.factor(&MULT)?;
    let lengths = lengths(fields, count as u32, mult)?;
    let peak_factor = fields.number(&PEAK_FACTOR).unwrap_or(1.0);
    let mut stages = Vec::new();
    for (steps, index) in lengths.into_iter().zip(0..) {
        let peak = times_power(max, peak_factor, index);
        if let Some(base) = base.filter(|base| *base > peak && fields.naming() == Naming::LearningRate) {
            let title = "`peak_factor` brings `max_lr` below `base_lr`";
            let text = format!("in cycle {} they are {} and {}", index + 1, Number(peak), Number(base));
            let help = "lower `base_lr`, or leave it to `div_factor`, which follows the peak";
            let problem = Diagnostic::new("spec::bounds", fields.place(&PEAK_FACTOR), title);
            fields.report(problem.text(text).help(help));
            return None;
        }
        stages.push(Stage { steps, schedule: Schedule::OneCycle(cycle(peak, steps, phases)) });
        if let OneCycleForm::Smith { step_size } = &mut phases {
            let float = || Ratio::of_float(step_size.to_f64() * mult.to_f64());
            *step_size = step_size.times(mult).or_else(float)?;
        }
    }
    Some(if stages.len() == 1 { stages.remove(0).schedule } else { Schedule::Sequence(stages) })
}

/// Where the phases of a cycle lie.
fn phases(fields: &mut dyn Fields, form: Form) -> Option<OneCycleForm> {
    let pct_start = fields.number(&PCT_START).unwrap_or(if form == Form::Fastai { 0.25 } else { 0.3 });
    let problem = match form {
        Form::Smith if !fields.has(&STEP_SIZE) => {
            Diagnostic::new("spec::missing", fields.place(&FORM), "`step_size` is missing")
                .help("Smith's form needs it; PyTorch's `form = \"two_phase\"` does not")
        }
        Form::ThreePhase if pct_start > 0.5 => {
            Diagnostic::new("spec::range", fields.place(&PCT_START), "`pct_start` is out of range")
                .help("the way down takes as long, so it is at most 0.5")
        }
        Form::Smith => return Some(OneCycleForm::Smith { step_size: fields.time_of_points(&STEP_SIZE)? }),
        Form::TwoPhase => return Some(OneCycleForm::TwoPhase { pct_start }),
        Form::ThreePhase => return Some(OneCycleForm::ThreePhase { pct_start }),
        Form::Fastai => return Some(OneCycleForm::Fraction { pct_start }),
    };
    fields.report(problem);
    None
}

/// The steps of so many cycles that share the time, each `mult` times as long as the one before. As everywhere their
/// ends are exact, and fall on steps by being rounded up.
fn lengths(fields: &mut dyn Fields, count: u32, mult: Ratio) -> Option<Vec<u64>> {
    let total = if fields.has(&STEPS) { fields.time_of_points(&STEPS)? } else { fields.length() };
    let (exact_mult, mult) = (mult, mult.to_f64());
    let parts = |index: u32| cycle_start(1.0, mult, f64::from(index));
    let first = total.to_f64() / parts(count);
    let shortest = first.min(first * libm::pow(mult, f64::from(count - 1)));
    if shortest < 1.0 {
        let (key, help) = if total >= Ratio::from(u64::from(count)) {
            (&MULT, "bring it nearer to 1, or lower `cycles`")
        } else {
            (&CYCLES, "lower it")
        };
        let title = format!("`{}` makes cycles shorter than one step", key.name);
        let text = format!("the shortest of {count} would be {}", Number(shortest));
        let problem = Diagnostic::new(PROBLEM, fields.place(key), title);
        fields.report(problem.text(text).help(help));
        return None;
    }
    let mut begun = 0;
    let lengths = (1..=count).map(|index| {
        let exact = share(exact_mult, index, count).and_then(|share| fields.step_after(total.times(share)?));
        let float = || fields.step_after_float(total.to_f64() * (parts(index) / parts(count)));
        let end = exact.unwrap_or_else(float);
        let steps = end.saturating_sub(begun);
        begun = end;
        steps
    });
    Some(lengths.collect())
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

pub fn json(one_cycle: &OneCycle) -> Json {
    let (form, pct_start, step_size) = match one_cycle.form {
        OneCycleForm::Smith { step_size } => (Form::Smith, None, Some(number(step_size))),
        OneCycleForm::TwoPhase { pct_start } => (Form::TwoPhase, Some(pct_start), None),
        OneCycleForm::ThreePhase { pct_start } => (Form::ThreePhase, Some(pct_start), None),
        OneCycleForm::Fraction { pct_start } => (Form::Fastai, Some(pct_start), None),
    };
    json!({
        "kind": KIND.name, "form": FORMS.name(form), "initial": one_cycle.initial, "max": one_cycle.max, "last": one_cycle.last,
        "steps": one_cycle.steps, "pct_start": pct_start, "step_size": step_size, "anneal": IS_COSINE.name(one_cycle.cosine),
    })
}
