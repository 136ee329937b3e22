//! What is allowed and most likely not meant: points of a schedule that lie after the end of the training, cycles that it
//! cuts, and splits too small to tell trials apart.

use clr_schedule::ratio::Ratio;
use clr_schedule::{
    Cosine, Cycle, Cyclic, Decay, Linear, MultiStep, OneCycleForm, PerEpoch, Points, Poly, RangeTest, Schedule,
    Sigmoid, Step,
};
use clr_spec::kinds::Naming;
use clr_spec::{Diagnostic, Problems};
use clr_terminal::words::{self, Number, thousands};

use super::cell::{Cell, validation_count};
use super::facts::DatasetFacts;

/// The code of warnings about schedules that reach beyond the training.
const BEYOND: &str = "spec::beyond";

/// The code of warnings about cycles that the training cuts.
const CYCLE: &str = "spec::cycle";

/// Fewer images than this tell apart two trials by more than 1% only.
const FEW_IMAGES: u64 = 100;

/// A schedule, as it was resolved, and where its keys stand.
pub struct Warner<'w, 'a, 'c> {
    pub cell: &'w Cell<'a, 'c>,
    pub naming: Naming,
    /// True if steps are epochs.
    pub per_epoch: bool,
    /// The whole that the steps are a part of: the training, or a stage.
    pub whole: &'static str,
    pub problems: &'w mut Problems,
}

impl Warner<'_, '_, '_> {
    /// Warns about the schedule below `path`, which is followed for so many steps.
    pub fn schedule(&mut self, schedule: &Schedule, path: &str, steps: u64) {
        match schedule {
            Schedule::Step(Step { step_size, .. }) if step_size.count(steps.saturating_sub(1)) == 0 => {
                self.beyond(path, "step_size", step_size.period.to_f64(), steps, "the value never falls");
            }
            Schedule::Sigmoid(Sigmoid { step_size, .. }) if *step_size >= steps => {
                self.beyond(path, "step_size", *step_size as f64, steps, "the value is not half way by then");
            }
            Schedule::MultiStep(MultiStep { milestones, .. }) => {
                if let Some(milestone) = milestones.iter().find(|milestone| **milestone >= steps) {
                    self.beyond(path, "milestones", *milestone as f64, steps, "the last of them is not reached");
                }
            }
            Schedule::Decay(Decay { step_size, .. }) if *step_size > steps => {
                self.beyond(path, "step_size", *step_size as f64, steps, "`base_lr` is not reached");
            }
            Schedule::Poly(Poly { steps: length, .. })
            | Schedule::Cosine(Cosine { steps: length, .. })
            | Schedule::Linear(Linear { steps: length, .. })
            | Schedule::RangeTest(RangeTest { steps: length, .. })
                if *length > steps =>
            {
                self.beyond(path, "steps", *length as f64, steps, "the last value is not reached");
            }
            Schedule::Cyclic(cyclic) => self.cyclic(cyclic, schedule, path, steps),
            Schedule::OneCycle(one_cycle) => match one_cycle.form {
                OneCycleForm::Smith { step_size } if step_size > steps.into() => {
                    let consequence = format!("`{}` is not reached", self.naming.name("max_lr"));
                    self.beyond(path, "step_size", step_size.to_f64(), steps, &consequence);
                }
                OneCycleForm::Smith { .. } => self.cut(schedule, path, "step_size", steps),
                _ if one_cycle.steps > steps => {
                    self.beyond(path, "steps", one_cycle.steps as f64, steps, "the last value is not reached");
                }
                _ => {}
            },
            Schedule::Sgdr(_) => self.cut(schedule, path, "first_cycle", steps),
            Schedule::Table(values) if (values.len() as u64) < steps => {
                self.table_ends(path, values.len() as f64 - 1.0, steps);
            }
            Schedule::Points(Points { points, .. }) => {
                if let Some((last, _)) = points.last().filter(|(last, _)| *last < steps as f64 - 1.0) {
                    self.table_ends(path, *last, steps);
                }
            }
            Schedule::Sequence(stages) => {
                let mut begun = 0_u64;
                // A warmup is a stage that the spec does not number.
                let warmup = self.cell.duration(&format!("{path}.warmup"));
                let first = usize::from(warmup.is_none_or(|warmup| warmup.count == Ratio::ZERO));
                for (index, stage) in stages.iter().enumerate() {
                    let stage_path = format!("{path}.stages.{}", index + first);
                    let is_named = self.cell.get(&format!("{stage_path}.kind")).is_some();
                    let is_last = index + 1 == stages.len();
                    if !is_named && matches!(stage.schedule, Schedule::OneCycle(_)) && begun + stage.steps > steps {
                        let all: u64 = stages.iter().map(|stage| stage.steps).sum();
                        self.beyond(path, "steps", all as f64, steps, "the last value is not reached");
                        break;
                    }
                    if !is_named {
                        // What a key of the policy stands for comes first, and then the policy itself.
                        if let (true, Some(left)) = (is_last, steps.checked_sub(begun).filter(|left| *left > 0)) {
                            self.schedule(&stage.schedule, path, left);
                        }
                        begun = begun.saturating_add(stage.steps);
                        continue;
                    }
                    if begun >= steps {
                        let title = format!("stage {} is never reached", index + first);
                        self.warn(
                            BEYOND,
                            &format!("{stage_path}.kind"),
                            title,
                            format!(
                                "it begins at {}, and {} end at {}",
                                thousands(begun.into()),
                                self.unit(),
                                thousands(steps.into()),
                            ),
                        );
                        break;
                    }
                    let left = steps - begun;
                    let length = format!("{stage_path}.iterations");
                    if stage.steps > left && self.cell.get(&length).is_some() {
                        self.warn(
                            BEYOND,
                            &length,
                            format!("stage {} is cut by the end of the training", index + first),
                            format!(
                                "{} of its {} {} are left",
                                thousands(left.into()),
                                thousands(stage.steps.into()),
                                self.unit(),
                            ),
                        );
                    }
                    let used = if is_last { left } else { stage.steps.min(left) };
                    let whole = self.whole;
                    self.whole = if is_last { whole } else { "stage" };
                    self.schedule(&stage.schedule, &stage_path, used);
                    self.whole = whole;
                    begun = begun.saturating_add(stage.steps);
                }
            }
            Schedule::PerEpoch(PerEpoch { iterations_per_epoch, first_epoch, inner }) => {
                let epochs = iterations_per_epoch.count(steps.saturating_sub(1)).saturating_add(1);
                // Cycles last so many epochs; a point is met by its number.
                let counted = match **inner {
                    Schedule::Cyclic(_) | Schedule::Sgdr(_) | Schedule::Sequence(_) => epochs,
                    _ => epochs.saturating_add(*first_epoch),
                };
                let per_epoch = std::mem::replace(&mut self.per_epoch, true);
                self.schedule(inner, path, counted);
                self.per_epoch = per_epoch;
            }
            _ => {}
        }
    }

    fn cyclic(&mut self, cyclic: &Cyclic, schedule: &Schedule, path: &str, steps: u64) {
        let end = steps as f64;
        if cyclic.base == cyclic.max && self.naming == Naming::LearningRate {
            let key = format!("{path}.max_lr");
            self.warn(
                "spec::flat",
                &key,
                "this cycle never changes its value".to_owned(),
                "it is `base_lr` too".to_owned(),
            );
        } else if cyclic.up > end {
            let consequence = format!("`{}` is not reached", self.naming.name("max_lr"));
            self.beyond(path, "step_size", cyclic.up, steps, &consequence);
        } else if self.naming == Naming::LearningRate && cyclic.up != end {
            // The paper's range test is half a cycle, the whole training long.
            self.cut(schedule, path, "step_size", steps);
        }
    }

    /// A point of the schedule after the last step.
    fn beyond(&mut self, path: &str, key: &str, point: f64, steps: u64, consequence: &str) {
        let name = self.naming.name(key);
        let title = format!("`{name}` reaches beyond the {}: {consequence}", self.whole);
        let text = format!("{}, and the {} has {} {}", count(point), self.whole, thousands(steps.into()), self.unit());
        self.warn(BEYOND, &format!("{path}.{name}"), title, text);
    }

    /// A training that ends within a cycle, by a step or more.
    fn cut(&mut self, schedule: &Schedule, path: &str, key: &str, steps: u64) {
        let Some(Cycle { since, length, .. }) = schedule.cycle(steps.saturating_sub(1)) else { return };
        // The last step too is over then.
        let since = since + 1.0;
        if length - since < 1.0 {
            return;
        }
        let end = steps as f64 + length - since;
        let name = self.naming.name(key);
        let unit = self.unit();
        let text = format!(
            "{} of the {} {unit} of the last cycle, which ends at {}, where the {} has {}",
            count(since),
            count(length),
            count(end),
            self.whole,
            thousands(steps.into()),
        );
        let place = self.cell.place(&format!("{path}.{name}"));
        let title = format!("the {} ends in the middle of a cycle", self.whole);
        self.problems.push(
            Diagnostic::warning(CYCLE, place, title)
                .text(text)
                .help("the rate is best low at the end: train whole cycles (Smith 2017, section 3.2)"),
        );
    }

    fn table_ends(&mut self, path: &str, last: f64, steps: u64) {
        let text = format!("its last row is for {} of {} {}", count(last), thousands(steps.into()), self.unit());
        self.warn(
            BEYOND,
            &format!("{path}.file"),
            "this table ends before the training: its last value stays".to_owned(),
            text,
        );
    }

    fn unit(&self) -> &'static str {
        if self.per_epoch { "epochs" } else { "iterations" }
    }

    fn warn(&mut self, code: &'static str, path: &str, title: String, text: String) {
        self.problems.push(Diagnostic::warning(code, self.cell.place(path), title).text(text));
    }
}

/// A number of steps, whole ones with their thousands apart.
fn count(steps: f64) -> String {
    if steps.fract() == 0.0 && (0.0..1e15).contains(&steps) {
        thousands(steps as u128)
    } else {
        Number(steps).to_string()
    }
}

/// Warns about splits that tell little, and about classes that occur in only one of training and test.
pub fn data(facts: &DatasetFacts, cell: &Cell<'_, '_>, problems: &mut Problems) {
    let validation = validation_count(cell, facts.train_count).unwrap_or(0);
    let splits = [("data.dataset", "test set", facts.test_count), ("data.validation", "validation split", validation)];
    for (path, split, count) in splits {
        if (1..FEW_IMAGES).contains(&count) {
            let share = Number((1000.0 / count as f64).round() / 10.0);
            let title = format!("the {split} has {count} images");
            problems.push(
                Diagnostic::warning("spec::split", cell.place(path), title)
                    .text(format!("each is {share}% of its accuracy"))
                    .help("differences of a few images between trials say nothing"),
            );
        }
    }
    let Some(counts) = &facts.class_counts else { return };
    for (code, counts, split, consequence) in [
        ("spec::classes", &counts.train, "training images", "a network never learns it"),
        ("spec::test_classes", &counts.test, "test images", "nothing tells whether it is learned"),
    ] {
        let absent: Vec<String> =
            counts.iter().enumerate().filter(|(_, count)| **count == 0).map(|(class, _)| class.to_string()).collect();
        // Without any images there is no such split.
        if absent.is_empty() || absent.len() == counts.len() {
            continue;
        }
        let title = format!("{} of {} classes have no {split}", absent.len(), counts.len());
        problems.push(
            Diagnostic::warning(code, cell.place("data.dataset"), title)
                .text(format!("class {}: {consequence}", words::some_of(&absent))),
        );
    }
}
