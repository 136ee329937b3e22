//! Ids: a hash of all that was asked of a trial, labels left out.
//!
//! The canonical form is bytes: texts with their length, integers in little endian, floats by their bits. It starts with
//! a version, to be raised when the form changes, since every stored trial is found by its id.

use clr_spec::duration::Period;
use clr_spec::{LastBatch, Normalize, Order};
use serde_json::{Map, Value as Json};

use super::{DataPlan, Divergence, source_file};

/// Opens every canonical form.
const VERSION: &[u8] = b"clr-run trial 1\0";

/// The properties that all trials of a group share. `stored_digest` matters only where batches follow the order of the files.
pub fn shape(
    plugin: &str,
    architecture: &str,
    options: &serde_json::Map<String, serde_json::Value>,
    data: &DataPlan,
    stored_digest: Option<&str>,
) -> Vec<u8> {
    let mut out = VERSION.to_vec();
    text(plugin, &mut out);
    text(architecture, &mut out);
    self::options(options, &mut out);
    // A dataset is its content, whatever its name; where the content was not read, the name stands for it.
    match &data.digest {
        Some(digest) => tagged(b'd', digest, &mut out),
        None if data.dataset.is_as_it_is() => tagged(b'n', &data.dataset.name, &mut out),
        None => tagged(b'n', &format!("{:?}", data.dataset), &mut out),
    }
    match data.order {
        Order::Shuffled => out.push(0),
        Order::Stored => tagged(1, stored_digest.unwrap_or_default(), &mut out),
    }
    out.extend(data.batch_size.to_le_bytes());
    out.extend(data.train_count.to_le_bytes());
    out.extend(data.validation_count.to_le_bytes());
    out.push(match data.last_batch {
        LastBatch::Wrap => 0,
        LastBatch::Drop => 1,
        LastBatch::Keep => 2,
    });
    out.push(match data.normalize {
        Normalize::None => 0,
        Normalize::PixelMean => 1,
        Normalize::ChannelMean => 2,
        Normalize::ChannelStandard => 3,
    });
    out.extend(data.scale.to_bits().to_le_bytes());
    out.push(u8::from(data.flip));
    out.extend(data.pad.to_le_bytes());
    // Each behind a mark of its own, and only where it is asked for: without them an id is what it was before there were any.
    if let Some(count) = data.test_count {
        out.push(b't');
        out.extend(count.to_le_bytes());
    }
    if data.input_size > 0 {
        out.push(b'i');
        out.extend(data.input_size.to_le_bytes());
    }
    for (mark, value) in [(b'a', data.min_area), (b'l', data.lighting)] {
        if value > 0.0 {
            out.push(mark);
            out.extend(value.to_bits().to_le_bytes());
        }
    }
    out
}

/// When there are evaluations: a whole number of iterations, or what no such number is, and both parts of a fraction.
pub fn period(period: Period, out: &mut Vec<u8>) {
    let iterations = period.iterations();
    match iterations.whole() {
        Some(whole) => out.extend(whole.to_le_bytes()),
        None => {
            let fraction = [u64::MAX, iterations.numerator(), iterations.denominator()];
            fraction.iter().for_each(|part| out.extend(part.to_le_bytes()));
        }
    }
}

pub fn divergence(divergence: Divergence, out: &mut Vec<u8>) {
    out.push(u8::from(divergence.non_finite));
    out.push(u8::from(divergence.loss_above.is_some()));
    out.extend(divergence.loss_above.unwrap_or(0.0).to_bits().to_le_bytes());
}

/// A text and its length, so that no two sequences of texts have the same bytes.
pub fn text(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// Appends a canonical form: names sorted, each value with its type, numbers by their bits.
pub fn options(options: &Map<String, Json>, out: &mut Vec<u8>) {
    let mut names: Vec<&String> = options.keys().collect();
    names.sort_unstable();
    out.extend((names.len() as u64).to_le_bytes());
    for name in names {
        text(name, out);
        match &options[name] {
            Json::Bool(boolean) => out.extend([b'b', u8::from(*boolean)]),
            Json::Number(number) if number.is_f64() => {
                out.push(b'f');
                out.extend(number.as_f64().unwrap_or(f64::NAN).to_bits().to_le_bytes());
            }
            Json::String(string) => {
                out.push(b's');
                text(string, out);
            }
            Json::Object(fields) => match source_file::of(&options[name]) {
                Some((_, content)) => {
                    out.push(b't');
                    text(content, out);
                }
                None => {
                    out.push(b'o');
                    self::options(fields, out);
                }
            },
            other => {
                out.push(b'j');
                text(&other.to_string(), out);
            }
        }
    }
}

fn tagged(tag: u8, content: &str, out: &mut Vec<u8>) {
    out.push(tag);
    text(content, out);
}
