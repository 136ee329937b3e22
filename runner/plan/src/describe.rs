//! Parts of a plan in a few words: `triangular(base=0.001 max=0.006 step_size=2000)`.

use std::fmt::Write as _;

use clr_schedule::Schedule;
use clr_spec::kinds;
use clr_terminal::words::{self, Number, thousands};
use serde_json::{Map, Value as Json};

use super::json::{last_batch_name, normalize_name, order_name};
use super::{DataPlan, source_file};

/// One line: the kind and its values, numbers with so many significant digits.
pub fn schedule(schedule: &Schedule, digits: usize) -> String {
    value(&kinds::json(schedule), digits)
}

/// A value of a JSON document in one line, such as an option.
pub fn value(json: &Json, digits: usize) -> String {
    let value_of = |json: &Json| value(json, digits);
    if let Some((name, _)) = source_file::of(json) {
        return name.to_owned();
    }
    match json {
        Json::Number(number) => number.as_f64().map_or(number.to_string(), |number| words::shortened(number, digits)),
        Json::String(text) => text.clone(),
        Json::Array(items) if items.len() > 8 => format!("{} values", items.len()),
        Json::Array(items) => format!("[{}]", items.iter().map(&value_of).collect::<Vec<_>>().join(", ")),
        Json::Object(fields) => {
            let kind = fields.get("kind").and_then(Json::as_str).unwrap_or_default();
            let fields = fields.iter().filter(|(name, value)| !goes_without_saying(fields, name, value));
            let fields: Vec<String> = fields.map(|(name, value)| format!("{name}={}", value_of(value))).collect();
            format!("{kind}({})", fields.join(" "))
        }
        other => other.to_string(),
    }
}

/// The kind itself, and what a spec would have by default.
fn goes_without_saying(fields: &Map<String, Json>, name: &str, value: &Json) -> bool {
    match (name, value) {
        ("kind", _) | (_, Json::Null) => true,
        ("window", Json::String(window)) => window == "linear",
        ("amplitude", Json::String(amplitude)) => {
            amplitude == "constant" || fields.get("kind").is_some_and(|kind| kind == "triangular2")
        }
        ("decline", Json::String(decline)) => decline == "boundaries",
        ("peak_factor_of", Json::String(of)) => of == "peak",
        ("step_size_down", down) => Some(down) == fields.get("step_size"),
        _ => false,
    }
}

/// The samples of a trial: which, how many at a time, and what is done to them.
pub fn data(data: &DataPlan) -> String {
    let mut line = format!("{}: {} images", data.dataset.name, thousands(u128::from(data.train_count)));
    if data.validation_count > 0 {
        let _ = write!(line, " and {} for validation", thousands(u128::from(data.validation_count)));
    }
    if let Some(count) = data.test_count {
        let _ = write!(line, ", tested on {}", thousands(u128::from(count)));
    }
    if data.accumulate > 1 {
        let _ = write!(line, ", updates of {} batches of {}", data.accumulate, data.batch_size);
    } else {
        let _ = write!(line, ", batches of {}", data.batch_size);
    }
    let _ = write!(
        line,
        ", {}, {}, {}",
        order_name(data.order),
        last_batch_name(data.last_batch),
        normalize_name(data.normalize)
    );
    if data.scale != 1.0 {
        let _ = write!(line, ", scale {}", Number(data.scale));
    }
    if data.flip {
        line.push_str(", flipped at random");
    }
    if data.pad > 0 {
        let _ = write!(line, ", cropped from a padding of {}", data.pad);
    }
    if data.min_area > 0.0 {
        let _ = write!(line, ", areas of at least {}", Number(data.min_area));
    }
    if data.input_size > 0 {
        let _ = write!(line, ", {0} x {0} pixels", data.input_size);
    }
    if data.lighting > 0.0 {
        let _ = write!(line, ", lighting {}", Number(data.lighting));
    }
    line
}
