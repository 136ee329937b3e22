//! `plan.json` as readers of an output need it. What is else in it is skipped, which is quick: the plan of ten thousand trials
//! is 10 MB.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fmt, io};

use clr_plan::{Axis, AxisKind, AxisValue, Bounds, TrialId};
use clr_schedule::RangeTest;
use clr_schedule::ratio::Ratio;
use clr_system::regular::{self, LARGEST_RECORD};
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value as Json};

/// The name of the file.
pub const NAME: &str = "plan.json";

#[derive(Debug, Default, Deserialize)]
pub struct PlanFile {
    #[serde(default)]
    pub axes: Vec<PlannedAxis>,
    #[serde(default)]
    pub trials: Vec<PlannedTrial>,
    #[serde(default)]
    pub groups: Vec<PlannedGroup>,
    #[serde(default)]
    pub range_tests: Vec<PlannedRangeTest>,
}

/// A range test that bounds were taken from.
#[derive(Debug, Deserialize)]
pub struct PlannedRangeTest {
    pub trials: Vec<TrialId>,
    pub base_lr: Option<f64>,
    pub max_lr: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub struct PlannedAxis {
    pub name: String,
    #[serde(default)]
    pub kind: String,
}

#[derive(Debug, Deserialize)]
pub struct PlannedTrial {
    pub id: TrialId,
    pub label: String,
    /// Index into [`PlanFile::groups`].
    pub group: Option<usize>,
    /// Of the initial weights, and of the order and the changes of the images.
    #[serde(default)]
    pub init_seed: u64,
    #[serde(default)]
    pub data_seed: u64,
    pub iterations: u64,
    /// In iterations, 0 for never: a whole number, or a fraction as text.
    #[serde(deserialize_with = "ratio")]
    pub eval_every: Ratio,
    /// By name of the axis.
    #[serde(default)]
    pub axes: Map<String, Json>,
    #[serde(default)]
    pub schedules: PlannedSchedules,
}

/// Of the hyper-parameters' schedules, that of the learning rate alone.
#[derive(Debug, Default, Deserialize)]
pub struct PlannedSchedules {
    #[serde(default, deserialize_with = "planned_rate")]
    pub lr: PlannedRate,
}

/// A schedule of the learning rate, where it shows which rates are good.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum PlannedRate {
    RangeTest(RangeTest),
    Constant(f64),
    /// Another kind, whose values, if they are a table, are many.
    #[default]
    Other,
}

#[derive(Debug, Deserialize)]
pub struct PlannedGroup {
    pub shape: PlannedShape,
}

#[derive(Debug, Deserialize)]
pub struct PlannedShape {
    #[serde(default)]
    pub plugin: String,
    pub data: PlannedData,
}

#[derive(Debug, Deserialize)]
pub struct PlannedData {
    pub batch_size: u64,
    /// Outputs of earlier versions do not say.
    #[serde(default = "one")]
    pub accumulate: u64,
    pub train_count: u64,
    #[serde(default)]
    pub validation_count: u64,
    /// None for all.
    #[serde(default)]
    pub test_count: Option<u64>,
    #[serde(default)]
    pub last_batch: String,
}

impl PlanFile {
    /// That of the output `folder`.
    ///
    /// # Errors
    ///
    /// Where it is missing or cannot be read. What is not a plan is [`io::ErrorKind::InvalidData`].
    pub fn read(folder: &Path) -> io::Result<PlanFile> {
        let bytes = regular::read(&folder.join(NAME), LARGEST_RECORD)?;
        serde_json::from_slice(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

impl PlanFile {
    /// What the range tests showed that bounds were taken from, in the form in which a plan is made of it.
    pub fn bounds(&self) -> BTreeMap<TrialId, Result<Bounds, String>> {
        let of_test = |test: &PlannedRangeTest| {
            let bounds = test.base_lr.zip(test.max_lr).map(|(base, max)| Bounds { base, max });
            bounds.map(|bounds| test.trials.iter().map(move |trial| (*trial, Ok(bounds))).collect::<Vec<_>>())
        };
        self.range_tests.iter().filter_map(of_test).flatten().collect()
    }
}

impl PlannedAxis {
    /// The axis as a plan has it.
    pub fn axis(&self) -> Axis {
        let kind = match self.kind.as_str() {
            "integer" => AxisKind::Integer,
            "float" => AxisKind::Float,
            "boolean" => AxisKind::Boolean,
            _ => AxisKind::Text,
        };
        Axis { name: self.name.clone(), kind }
    }
}

impl PlannedTrial {
    /// The trial's value of an axis.
    pub fn value(&self, axis: &Axis) -> Option<AxisValue> {
        let value = self.axes.get(&axis.name)?;
        match axis.kind {
            AxisKind::Integer => value.as_i64().map(AxisValue::Integer),
            AxisKind::Float => value.as_f64().map(AxisValue::Float),
            AxisKind::Boolean => value.as_bool().map(AxisValue::Boolean),
            AxisKind::Text => value.as_str().map(|text| AxisValue::Text(text.into())),
        }
    }
}

fn ratio<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Ratio, D::Error> {
    let value = Json::deserialize(deserializer)?;
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.parse().map_err(|error| D::Error::custom(format_args!("`{value}`: {error}")))
}

/// A schedule is a number, or an object with its `kind`.
fn planned_rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PlannedRate, D::Error> {
    struct OfSchedule;

    impl<'de> Visitor<'de> for OfSchedule {
        type Value = PlannedRate;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a schedule")
        }

        fn visit_f64<E>(self, rate: f64) -> Result<PlannedRate, E> {
            Ok(PlannedRate::Constant(rate))
        }

        fn visit_u64<E>(self, rate: u64) -> Result<PlannedRate, E> {
            Ok(PlannedRate::Constant(rate as f64))
        }

        fn visit_i64<E>(self, rate: i64) -> Result<PlannedRate, E> {
            Ok(PlannedRate::Constant(rate as f64))
        }

        fn visit_unit<E>(self) -> Result<PlannedRate, E> {
            Ok(PlannedRate::Other)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PlannedRate, A::Error> {
            let mut fields = Map::new();
            while let Some(key) = map.next_key::<String>()? {
                match key.as_str() {
                    "kind" | "min" | "max" | "steps" | "spacing" => drop(fields.insert(key, map.next_value()?)),
                    _ => drop(map.next_value::<IgnoredAny>()?),
                }
            }
            let text = |key: &str| fields.get(key).and_then(Json::as_str);
            let number = |key: &str| fields.get(key).and_then(Json::as_f64);
            let range_test = || {
                let geometric = text("spacing")? == "geometric";
                let steps = fields.get("steps")?.as_u64()?;
                let range_test = RangeTest { min: number("min")?, max: number("max")?, steps, geometric };
                (text("kind")? == "range_test").then_some(range_test)
            };
            Ok(range_test().map_or(PlannedRate::Other, PlannedRate::RangeTest))
        }
    }

    deserializer.deserialize_any(OfSchedule)
}

fn one() -> u64 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(schedule: &str, expected: PlannedRate) {
        let text = format!("{{\"lr\": {schedule}, \"momentum\": 0.9}}");
        let schedules: PlannedSchedules = serde_json::from_str(&text).unwrap();
        assert_eq!(schedules.lr, expected, "{schedule}");
    }

    #[test]
    fn a_range_test_is_told_from_other_schedules() {
        let range_test = RangeTest { min: 0.0, max: 0.02, steps: 4000, geometric: false };
        let linear = r#"{"kind": "range_test", "min": 0.0, "max": 0.02, "steps": 4000, "spacing": "linear"}"#;
        check(linear, PlannedRate::RangeTest(range_test));
        let geometric = RangeTest { geometric: true, ..range_test };
        check(&linear.replace("\"linear\"", "\"geometric\""), PlannedRate::RangeTest(geometric));
        for (number, rate) in [("1000000.0", 1e6), ("1", 1.0), ("-1", -1.0)] {
            check(number, PlannedRate::Constant(rate));
        }
        for other in [
            "null",
            r#"{"kind": "cosine", "max": 0.1, "min": 0.0, "steps": 100}"#,
            r#"{"kind": "sequence", "stages": [{"steps": 5, "schedule": {"kind": "range_test"}}], "steps": [1, 2]}"#,
            r#"{"kind": "range_test", "min": "low", "max": 0.02, "steps": 4000, "spacing": "linear"}"#,
            r#"{"kind": "range_test"}"#,
        ] {
            check(other, PlannedRate::Other);
        }
        assert_eq!(serde_json::from_str::<PlannedSchedules>("{}").unwrap().lr, PlannedRate::Other);
    }
}
