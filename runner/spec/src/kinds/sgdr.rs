//! `sgdr`: cosine annealing with warm restarts. (Loshchilov and Hutter 2017)

use clr_schedule::{Peak, Schedule, Sgdr};
use serde_json::{Value as Json, json};

use super::cycles::{self, refuse_short};
use super::{MAX, MIN, ScheduleKind, Words, number};
use crate::keys::{Key, Kind, Range};

const FIRST_CYCLE: Key =
    Key::new("first_cycle", Kind::Duration { zero: false }, "How long the first cycle lasts.").required();
const MULT: Key = Key {
    doc: "How many times as long each cycle is as the one before, such as 2, 1.5 or 0.5.",
    ..cycles::MULT.number(1.0)
};
const PEAK_FACTOR: Key = Key::new(
    "peak_factor",
    Kind::Number(Range::Positive),
    "What the peak is multiplied by at each restart; absent: 1.",
);
const OF_AMPLITUDE: Words<bool, 2> = Words([("peak", false), ("amplitude", true)]);
const PEAK_FACTORS: &[&str] = &OF_AMPLITUDE.names();
const PEAK_FACTOR_OF: Key = Key::new(
    "peak_factor_of",
    Kind::OneOf(PEAK_FACTORS),
    "What `peak_factor` multiplies: the peak (timm), or what it has above `min_lr` (Keras); absent: the peak.",
);

pub const KIND: ScheduleKind = ScheduleKind {
    name: "sgdr",
    doc: "Cosine with warm restarts. (Loshchilov and Hutter 2017)",
    keys: &[MAX, MIN, FIRST_CYCLE, MULT, PEAK_FACTOR, PEAK_FACTOR_OF],
    examples: &[
        r#"[policies.sgdr]
kind        = "sgdr"
max_lr      = 0.05
min_lr      = 0.0
first_cycle = 3500
mult        = 2          # 3500, 7000, 14_000; or 1.5, or 0.5"#,
        r#"[policies.lower_restarts]
kind           = "sgdr"
max_lr         = 0.05
min_lr         = 0.001
first_cycle    = "10 epochs"
peak_factor    = 0.8            # 0.05, 0.0402, .. : 0.001 + 0.049 * 0.8^c
peak_factor_of = "amplitude""#,
    ],
    build: |fields| {
        let (min, max) = fields.bounds(&MIN, &MAX)?;
        if !fields.has(&PEAK_FACTOR) {
            fields.refuse(&[&PEAK_FACTOR_OF], "there is no `peak_factor`");
        }
        let peak = match fields.number(&PEAK_FACTOR) {
            None | Some(1.0) => Peak::Constant,
            // Above 0 the peak and the amplitude are the same.
            Some(factor) if OF_AMPLITUDE.of(&PEAK_FACTOR_OF, fields) && min != 0.0 => Peak::AmplitudeFactor(factor),
            Some(factor) => Peak::Factor(factor),
        };
        let (first_cycle, mult) = (fields.time_of_points(&FIRST_CYCLE), fields.factor(&MULT));
        let sgdr = Sgdr { max, min, first_cycle: first_cycle?, mult: mult?, peak };
        let last = sgdr.index(fields.step_count().saturating_sub(1));
        refuse_short(fields, &FIRST_CYCLE, sgdr.first_cycle.to_f64(), sgdr.mult.to_f64(), last)?;
        Some(Schedule::Sgdr(sgdr))
    },
};

pub fn json(sgdr: &Sgdr) -> Json {
    let Sgdr { max, min, first_cycle, mult, peak } = sgdr;
    let mut json = json!({
        "kind": KIND.name, "max": max, "min": min, "first_cycle": number(*first_cycle), "mult": number(*mult),
    });
    if let Peak::Factor(factor) | Peak::AmplitudeFactor(factor) = peak {
        json["peak_factor"] = json!(factor);
        json["peak_factor_of"] = json!(OF_AMPLITUDE.name(matches!(peak, Peak::AmplitudeFactor(_))));
    }
    json
}
