//! `triangular`, `triangular2` and `exp_range`: cyclical learning rates. (Smith 2017)

use clr_schedule::ratio::Ratio;
use clr_schedule::{Amplitude, Cyclic, Decline, Schedule, Window};
use serde_json::{Value as Json, json};

use super::cycles::{MULT, refuse_short};
use super::{BASE, Fields, GAMMA, MAX, ScheduleKind, Words};
use crate::keys::{Key, Kind, Range};

const STEP_SIZE: Key = Key::new(
    "step_size",
    Kind::Duration { zero: false },
    "From `base_lr` to `max_lr`: half a cycle. The paper advises 2 to 10 epochs. \"auto\" takes whole cycles of about 8 epochs, \
     the last of which ends with the training, or with the stage.",
)
.required()
.auto();
const DOWN: Key = Key::new(
    "step_size_down",
    Kind::Duration { zero: false },
    "From `max_lr` back to `base_lr`; absent: as long as `step_size`.",
);
const SHAPES: Words<Window, 3> = Words([("linear", Window::Linear), ("welch", Window::Welch), ("hann", Window::Hann)]);
const WINDOWS: &[&str] = &SHAPES.names();
const WINDOW: Key = Key::new("window", Kind::OneOf(WINDOWS), "The shape of a cycle.").text("linear");
const SCALES: Words<Amplitude, 3> = Words([
    ("constant", Amplitude::Constant),
    ("half_per_cycle", Amplitude::HalfPerCycle),
    ("one_over_cycle", Amplitude::OneOverCycle),
]);
const AMPLITUDES: &[&str] = &SCALES.names();
const AMPLITUDE: Key =
    Key::new("amplitude", Kind::OneOf(AMPLITUDES), "What becomes of max_lr - base_lr from cycle to cycle.")
        .text("constant");
const PEAK_FACTOR: Key = Key::new(
    "peak_factor",
    Kind::Number(Range::Positive),
    "What `max_lr - base_lr` is multiplied by from cycle to cycle: 0.5 is `triangular2`; absent: 1.",
);
const CYCLES: Key = Key::new(
    "cycles",
    Kind::Number(Range::Positive),
    "After so many cycles the value stays at `base_lr`; absent: never.",
);
const OF_AMPLITUDE: Words<bool, 2> = Words([("boundaries", false), ("amplitude", true)]);
const DECLINES: &[&str] = &OF_AMPLITUDE.names();
const DECLINE: Key = Key::new(
    "decline",
    Kind::OneOf(DECLINES),
    "What declines: both boundaries (the paper), or only max_lr - base_lr (Keras, PyTorch).",
)
.text("boundaries");

pub const TRIANGULAR: ScheduleKind = ScheduleKind {
    name: "triangular",
    doc: "Between base_lr and max_lr and back, again and again. (Smith 2017, 3)",
    keys: &[BASE, MAX, STEP_SIZE, DOWN, WINDOW, AMPLITUDE, PEAK_FACTOR, MULT, CYCLES],
    examples: &[
        r#"[policies.triangular]
kind           = "triangular"
base_lr        = 0.001
max_lr         = 0.006
step_size      = 2000          # up
step_size_down = 3000          # and down: a cycle of 5000
window         = "hann"
amplitude      = "one_over_cycle"
cycles         = 5             # 25,000 iterations"#,
        r#"[policies.longer_and_lower]
kind        = "triangular"
base_lr     = 0.001
max_lr      = 0.006
step_size   = 1000
mult        = 1.5              # cycles of 2000, 3000, 4500, ..
peak_factor = 0.7              # peaks at 0.006, 0.0045, 0.00345, .."#,
    ],
    build: |fields| {
        let amplitude = SCALES.of(&AMPLITUDE, fields);
        build(fields, amplitude, None)
    },
};

pub const TRIANGULAR2: ScheduleKind = ScheduleKind {
    name: "triangular2",
    doc: "As triangular, max_lr - base_lr halved after each cycle. (Smith 2017, 3)",
    keys: &[BASE, MAX, STEP_SIZE, DOWN, WINDOW, MULT, CYCLES],
    examples: &[r#"[policies.triangular2]
kind           = "triangular2"
base_lr        = 0.001
max_lr         = 0.006
step_size      = 500
step_size_down = 500
window         = "linear"
mult           = 2             # 1000, 2000, 4000, 8000
cycles         = 4"#],
    build: |fields| build(fields, Amplitude::HalfPerCycle, None),
};

pub const EXP_RANGE: ScheduleKind = ScheduleKind {
    name: "exp_range",
    doc: "As triangular, declining by gamma^step. (Smith 2017, 3)",
    keys: &[BASE, MAX, STEP_SIZE, DOWN, WINDOW, GAMMA, DECLINE, MULT, CYCLES],
    examples: &[r#"[policies.exp_range]
kind           = "exp_range"
base_lr        = 0.001
max_lr         = 0.006
step_size      = 2500
step_size_down = 2500
gamma          = 0.99994
decline        = "amplitude"   # base_lr stays, as in PyTorch
window         = "linear"
mult           = 1             # all cycles are as long
cycles         = 5"#],
    build: |fields| {
        let decline = fields.number(&GAMMA).map(|gamma| match OF_AMPLITUDE.of(&DECLINE, fields) {
            true => Decline::Amplitude { gamma },
            false => Decline::Boundaries { gamma },
        });
        build(fields, Amplitude::Constant, Some(decline))
    },
};

/// The schedule, of an amplitude that the kind or its keys say, and a decline; `Some(None)` where that is wrong.
fn build(fields: &mut dyn Fields, amplitude: Amplitude, decline: Option<Option<Decline>>) -> Option<Schedule> {
    let bounds = fields.bounds(&BASE, &MAX);
    if fields.is_auto(&STEP_SIZE) {
        fields.refuse(&[&DOWN, &MULT, &CYCLES], "`step_size` is \"auto\": all cycles are alike, and fill the training");
    }
    let up = fields.time(&STEP_SIZE).map(Ratio::to_f64);
    let down = if fields.has(&DOWN) { fields.time(&DOWN).map(Ratio::to_f64) } else { up };
    let ((base, max), up, down) = (bounds?, up?, down?);
    let decline = decline.map_or(Some(None), |decline| decline.map(Some))?;
    let amplitude = match fields.number(&PEAK_FACTOR) {
        Some(_) if amplitude != Amplitude::Constant => {
            fields.refuse(&[&PEAK_FACTOR], "`amplitude` says it already");
            amplitude
        }
        None | Some(1.0) => amplitude,
        // One trial, whatever it is called.
        Some(0.5) => Amplitude::HalfPerCycle,
        Some(factor) => Amplitude::Factor(factor),
    };
    let (mult, cycles) = (fields.number(&MULT).unwrap_or(1.0), fields.number(&CYCLES));
    let window = SHAPES.of(&WINDOW, fields);
    let cyclic = Cyclic { base, max, up, down, window, mult, amplitude, decline, cycles };
    let last = cyclic.index(fields.step_count().saturating_sub(1));
    refuse_short(fields, &STEP_SIZE, up.min(down), mult, last)?;
    Some(Schedule::Cyclic(cyclic))
}

pub fn json(cyclic: &Cyclic) -> Json {
    let kind = match (cyclic.decline, cyclic.amplitude) {
        (Some(_), _) => EXP_RANGE,
        (None, Amplitude::HalfPerCycle) => TRIANGULAR2,
        _ => TRIANGULAR,
    };
    let (of_amplitude, gamma) = match cyclic.decline {
        Some(Decline::Boundaries { gamma }) => (Some(false), Some(gamma)),
        Some(Decline::Amplitude { gamma }) => (Some(true), Some(gamma)),
        None => (None, None),
    };
    // With a factor of its own a spec says nothing else of the amplitude.
    let (amplitude, peak_factor) = match cyclic.amplitude {
        Amplitude::Factor(factor) => (Amplitude::Constant, Some(factor)),
        amplitude => (amplitude, None),
    };
    let mut json = json!({
        "kind": kind.name, "base": cyclic.base, "max": cyclic.max, "step_size": cyclic.up, "step_size_down": cyclic.down,
        "window": SHAPES.name(cyclic.window), "amplitude": SCALES.name(amplitude),
        "decline": of_amplitude.map(|of_amplitude| OF_AMPLITUDE.name(of_amplitude)), "gamma": gamma, "cycles": cyclic.cycles,
    });
    if peak_factor.is_some() {
        json["peak_factor"] = json!(peak_factor);
    }
    if cyclic.mult != 1.0 {
        json["mult"] = json!(cyclic.mult);
    }
    json
}
