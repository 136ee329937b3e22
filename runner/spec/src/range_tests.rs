//! `[range_test]` of a spec: how range tests are made, by which bounds of a learning rate are found.

use super::keys::RANGE_TEST;
use super::setting::{Setting, Value};
use super::source::Span;
use super::{Diagnostic, Problems};

/// How range tests are made.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeTests {
    /// `range_test.*`, defaults included.
    pub settings: Vec<Setting>,
    /// Those of `[experiment]` where there are none.
    pub seeds: Option<Vec<u64>>,
}

impl Default for RangeTests {
    fn default() -> RangeTests {
        let default = |key: &super::keys::Key| super::read::default(&format!("{}.{}", RANGE_TEST.name, key.name), key);
        RangeTests { settings: RANGE_TEST.keys.iter().filter_map(default).collect(), seeds: None }
    }
}

impl RangeTests {
    /// The setting of a key, unless it is absent.
    pub fn get(&self, key: &str) -> Option<&Setting> {
        let of_key = |setting: &&Setting| setting.path.strip_prefix("range_test.") == Some(key);
        self.settings.iter().find(of_key)
    }

    /// True if the range tests alone are to be trained.
    pub fn only(&self) -> bool {
        self.value("only") == Some(&Value::Boolean(true))
    }

    pub fn is_geometric(&self) -> bool {
        self.value("spacing").and_then(Value::text) != Some("linear")
    }

    /// How often accuracy is measured.
    pub fn evaluations(&self) -> u64 {
        if let Some(Value::Integer(count)) = self.value("evaluations") { *count as u64 } else { 1 }
    }

    /// How many trials at constant rates there are in place of a sweep, if the spec says so.
    pub fn constant(&self) -> Option<u32> {
        if let Some(Value::Integer(count)) = self.value("constant") { u32::try_from(*count).ok() } else { None }
    }

    /// A learning rate, if the spec says it.
    pub fn rate(&self, key: &str) -> Option<f64> {
        if let Some(Value::Number(rate)) = self.value(key) { Some(*rate) } else { None }
    }

    /// True if the spec says how its sweeps are made.
    pub fn is_asked(&self) -> bool {
        self.settings.iter().any(|setting| setting.key_span.is_some() && &*setting.path != "range_test.only")
    }

    fn value(&self, key: &str) -> Option<&Value> {
        Some(&self.get(key)?.values.first()?.0)
    }

    /// Reports bounds between which nothing can rise.
    pub(super) fn check(&self, problems: &mut Problems) {
        let place = |key: &str| -> Option<Span> { self.get(key)?.values.first()?.1.clone() };
        let (min, max) = (self.rate("min_lr"), self.rate("max_lr"));
        if let (Some(low), Some(high), Some(span)) = (min, max, place("min_lr"))
            && low >= high
        {
            problems.push(
                Diagnostic::new("spec::bounds", span, "`min_lr` is not below `max_lr`")
                    .also(place("max_lr").as_ref(), "of this range test")
                    .help("swap them, or raise `max_lr`"),
            );
        }
        if let (true, Some(0.0), Some(span)) = (self.is_geometric(), min, place("min_lr")) {
            problems.push(
                Diagnostic::new("spec::bounds", span, "a geometric range cannot start at 0")
                    .help("use a small number above 0, or `spacing = \"linear\"`"),
            );
        }
        if let (false, None, Some(span)) = (self.is_geometric(), max, place("spacing")) {
            problems.push(
                Diagnostic::new("spec::missing", span, "`max_lr` is missing")
                    .text("a line has no default end")
                    .help("add one at which training surely gets worse: the paper's is 0.02, for pixels from 0 to 255"),
            );
        }
    }
}
