//! The optimizer of a cell: its constants, and a schedule for each hyper-parameter that it reads.

use std::collections::HashMap;
use std::sync::Arc;

use clr_schedule::{Outside, Schedule};
use clr_spec::duration;
use clr_spec::foreign::{self, Place};
use clr_spec::kinds::Naming;
use clr_spec::{Diagnostic, Optimizer, Problems, Setting, Value};
use clr_terminal::suggest;
use clr_terminal::words::{Number, thousands};
use serde_json::{Map, Value as Json};

use super::groups::GROUPS;
use super::{Offer, Resolver};
use crate::cell::Cell;
use crate::facts::OptimizerFacts;
use crate::options::{Bounds, Schema};
use crate::schedules::{self, Clock, Known};
use crate::warnings::Warner;

/// The optimizer of a cell's trials, and how its hyper-parameters change.
pub struct Updates {
    /// As the plugin knows it.
    pub kind: Arc<str>,
    /// With defaults filled in, in the order of the plugin's schema.
    pub constants: Map<String, Json>,
    /// For each hyper-parameter that the optimizer reads, in the model's order.
    pub schedules: Vec<(Arc<str>, Schedule)>,
}

impl<'f> Resolver<'f> {
    /// The optimizer, or `None` where something is wrong that is, or was, reported.
    ///
    /// Where the architecture or the clock is not known, for a reason already reported, what can be judged without is.
    pub fn updates(
        &mut self,
        cell: &Cell<'_, '_>,
        offer: Option<Offer<'f>>,
        clock: Option<Clock>,
        problems: &mut Problems,
    ) -> Option<Updates> {
        let Some((offer, optimizer)) = offer.and_then(|offer| Some((offer, self.optimizer(cell, offer, problems)?)))
        else {
            self.schedule(cell, "policy", Naming::LearningRate, None, problems);
            return None;
        };
        let constants = self.constants(cell, offer, optimizer, problems);
        let schedules = self.schedules(cell, offer, optimizer, clock, problems);
        Some(Updates { kind: self.shared(&optimizer.name), constants: constants?, schedules: schedules? })
    }

    /// One schedule. Without a clock nothing comes of it but problems that are there however long an epoch is.
    fn schedule(
        &self,
        cell: &Cell<'_, '_>,
        path: &str,
        naming: Naming,
        clock: Option<Clock>,
        problems: &mut Problems,
    ) -> Option<Schedule> {
        let known = Known { facts: self.facts, bounds: self.taken.map(|taken| taken.bounds) };
        if let Some(clock) = clock {
            return schedules::schedule(cell, path, naming, clock, known, problems);
        }
        let some_clock = Clock::new(1000.into(), 1_000_000_000.into());
        let mut found = Problems::default();
        schedules::schedule(cell, path, naming, some_clock, known, &mut found);
        for problem in found.into_sorted().into_iter().filter(|problem| problem.code != duration::PROBLEM) {
            problems.push(problem);
        }
        None
    }

    fn optimizer(&self, cell: &Cell<'_, '_>, offer: Offer<'f>, problems: &mut Problems) -> Option<&'f OptimizerFacts> {
        let kind = cell.text("optimizer.kind")?;
        let optimizers = &offer.plugin.optimizers;
        let found = optimizers.iter().find(|optimizer| optimizer.name == kind);
        if found.is_none() {
            problems.push(
                Diagnostic::new(
                    "spec::optimizer",
                    cell.place("optimizer.kind"),
                    format!("there is no optimizer `{kind}`"),
                )
                .text(format!("not in the plugin `{}`", offer.plugin.name))
                .help(foreign::help(
                    kind,
                    Place::Optimizer,
                    optimizers.iter().map(|optimizer| optimizer.name.as_str()),
                )),
            );
        }
        found
    }

    /// The optimizer's constants: its options but the hyper-parameters, which have schedules.
    fn constants(
        &self,
        cell: &Cell<'_, '_>,
        offer: Offer<'f>,
        optimizer: &'f OptimizerFacts,
        problems: &mut Problems,
    ) -> Option<Map<String, Json>> {
        const CLIP: &str = "clip_gradients";
        let schema = Schema(&optimizer.options_schema);
        let hypers = offer.hypers_of(optimizer);
        let mut own: Vec<&str> = vec!["optimizer", "kind", CLIP, GROUPS];
        own.extend(&hypers);
        let mut given = HashMap::new();
        let mut good = true;
        for (position, setting) in cell.pair.settings.iter().enumerate() {
            let Some(name) = setting.path.strip_prefix("optimizer.").map(|rest| rest.split('.').next().unwrap_or(rest))
            else {
                continue;
            };
            if name == "kind" || name == GROUPS || (hypers.contains(&name) && name != "lr") {
                continue;
            }
            let property = schema.property(name).filter(|_| !own.contains(&name));
            match property {
                Some(_) if setting.path.matches('.').count() > 1 => {
                    good = false;
                    if let Some(span) = &setting.key_span {
                        let title = format!("`{name}` cannot be scheduled");
                        problems.push(
                            Diagnostic::new("spec::option", span.clone(), title)
                                .text(format!("it is a constant of `{}`", optimizer.name))
                                .help(format!("{} can be", suggest::all_of(&hypers))),
                        );
                    }
                }
                Some(property) => match self.check_option(cell, position, name, property, problems) {
                    Some(json) => drop(given.insert(name, json)),
                    None => good = false,
                },
                None => {
                    good = false;
                    self.no_such_option(cell, setting, name, offer, optimizer, problems);
                }
            }
        }
        let constants = self
            .filled(schema, given, &offer.model.defaults, &own, cell.pair.optimizer.name.span.clone(), problems)
            .filter(|_| good);
        let clip = cell.number("train.clip_gradients")?;
        if clip > 0.0 {
            if schema.property(CLIP).is_none() {
                problems.push(
                    Diagnostic::new(
                        "spec::option",
                        cell.place("train.clip_gradients"),
                        format!("`{}` cannot clip gradients", optimizer.name),
                    )
                    .also(cell.span("optimizer.kind"), format!("not offered by the plugin `{}`", offer.plugin.name))
                    .help("remove it, or override it for this optimizer with `train.clip_gradients = 0`"),
                );
                return None;
            }
            let mut constants = constants?;
            constants.insert(CLIP.to_owned(), Json::from(clip));
            return Some(constants);
        }
        constants
    }

    /// A key that the optimizer does not have, which is often a policy's word meant for another one.
    fn no_such_option(
        &self,
        cell: &Cell<'_, '_>,
        setting: &Setting,
        name: &str,
        offer: Offer<'f>,
        optimizer: &OptimizerFacts,
        problems: &mut Problems,
    ) {
        let Some(span) = &setting.key_span else { return };
        let schema = Schema(&optimizer.options_schema);
        let hypers = offer.hypers_of(optimizer);
        if name == "lr" {
            problems.push(
                Diagnostic::new("spec::option", span.clone(), "the learning rate belongs to the policy")
                    .help(foreign::answer(name, Place::OptimizerKey).unwrap_or_default()),
            );
            return;
        }
        if name == "clip_gradients" {
            problems.push(
                Diagnostic::new("spec::option", span.clone(), "`clip_gradients` belongs to `[train]`")
                    .help("write `train.clip_gradients`"),
            );
            return;
        }
        let names = schema
            .properties()
            .map(|(name, _)| name)
            .chain(hypers.iter().copied().filter(|name| schema.property(name).is_none()))
            .filter(|name| *name != "lr");
        let diagnostic = Diagnostic::new(
            "spec::option",
            span.clone(),
            format!("the optimizer `{}` has no `{name}`", optimizer.name),
        );
        let policy = cell.pair.policy;
        if !policy.settings.iter().any(|own| own.key_span == setting.key_span) {
            problems.push(diagnostic.help(foreign::help(name, Place::OptimizerKey, names)));
            return;
        }
        let takes = |optimizer: &&Optimizer| {
            let kind = optimizer
                .settings
                .iter()
                .find(|setting| &*setting.path == "optimizer.kind")
                .map(|setting| &setting.values[0].0);
            let facts =
                offer.plugin.optimizers.iter().find(|facts| kind == Some(&Value::Text(facts.name.as_str().into())));
            facts.is_some_and(|facts| {
                Schema(&facts.options_schema).property(name).is_some() || offer.hypers_of(facts).contains(&name)
            })
        };
        let able: Vec<String> = self
            .spec
            .optimizers
            .iter()
            .filter(takes)
            .map(|optimizer| format!("\"{}\"", optimizer.name.value))
            .collect();
        problems.push(if able.is_empty() {
            Diagnostic::new(
                "spec::optimizers",
                span.clone(),
                format!("no optimizer can take this policy: none has `{name}`"),
            )
            .also(Some(&policy.name.span), "of this policy")
            .help(foreign::help(name, Place::OptimizerKey, names))
        } else {
            diagnostic
                .also(Some(&cell.pair.optimizer.name.span), "which this policy meets")
                .help(format!("bind the policy to those that have it: `optimizers = [{}]`", able.join(", ")))
        });
    }

    fn schedules(
        &mut self,
        cell: &Cell<'_, '_>,
        offer: Offer<'f>,
        optimizer: &'f OptimizerFacts,
        clock: Option<Clock>,
        problems: &mut Problems,
    ) -> Option<Vec<(Arc<str>, Schedule)>> {
        let hypers = offer.hypers_of(optimizer);
        if !hypers.contains(&"lr") {
            problems.push(
                Diagnostic::new(
                    "spec::optimizers",
                    cell.pair.policy.name.span.clone(),
                    format!("no policy goes with the optimizer `{}`", optimizer.name),
                )
                .text("there is no learning rate to schedule")
                .also(Some(&cell.pair.optimizer.name.span), "this optimizer reads none"),
            );
            return None;
        }
        let mut schedules = Vec::new();
        for name in hypers {
            let path = format!("optimizer.{name}");
            let bounds = Bounds::of_hyper(name, Schema(&optimizer.options_schema));
            let (path, naming) =
                if name == "lr" { ("policy", Naming::LearningRate) } else { (path.as_str(), Naming::Plain) };
            let schedule = if cell.get(&format!("{path}.kind")).is_some() {
                let schedule = self.schedule(cell, path, naming, clock, problems);
                schedule.zip(clock).and_then(|(schedule, clock)| {
                    Warner { cell, naming, per_epoch: false, whole: "training", problems }.schedule(
                        &schedule,
                        path,
                        clock.steps,
                    );
                    stays_within(&schedule, bounds, cell, name, path, clock.steps, problems).then_some(schedule)
                })
            } else {
                self.constant_hyper(cell, name, path, offer, optimizer, problems).map(Schedule::Constant)
            };
            schedules.push((self.shared(name), schedule));
        }
        // All are read before giving up, so that each wrong one is reported.
        schedules.into_iter().map(|(name, schedule)| Some((name, schedule?))).collect()
    }

    /// As written, else as the architecture was published, else the optimizer's own default.
    fn constant_hyper(
        &self,
        cell: &Cell<'_, '_>,
        name: &str,
        path: &str,
        offer: Offer<'f>,
        optimizer: &OptimizerFacts,
        problems: &mut Problems,
    ) -> Option<f64> {
        let schema = Schema(&optimizer.options_schema);
        let property = schema.property(name);
        if let Some(value) = cell.get(path) {
            let number = cell.number(path);
            match (number, number.map(|number| Bounds::of_hyper(name, schema).check(number))) {
                (Some(number), Some(Ok(()))) => return Some(number),
                (_, Some(Err(expected))) => problems.push(
                    Diagnostic::new("spec::range", cell.place(path), format!("`{name}` is out of range"))
                        .text(expected),
                ),
                _ => problems.push(
                    Diagnostic::new("spec::type", cell.place(path), format!("`{name}` has the wrong type"))
                        .text(format!("expected a number or a schedule, found `{value}`")),
                ),
            }
            return None;
        }
        let default = offer.model.defaults.get(name).copied();
        let default = default.or_else(|| property?.get("default")?.as_f64());
        if default.is_none() && self.spec.complete {
            problems.push(
                Diagnostic::new("spec::missing", cell.pair.optimizer.name.span.clone(), format!("`{name}` is missing"))
                    .text(format!("neither `{}` nor `{}` has a default for it", optimizer.name, offer.model.name)),
            );
        }
        default
    }
}

/// Checks that every value of a schedule is within the bounds; reports the first that is not, at the number that is to blame
/// where one of the schedule's own is outside, else at its kind.
fn stays_within(
    schedule: &Schedule,
    bounds: Bounds,
    cell: &Cell<'_, '_>,
    name: &str,
    path: &str,
    steps: u64,
    problems: &mut Problems,
) -> bool {
    let Some(Outside { step, value }) = schedule.first_outside(steps, |value| bounds.contains(value)) else {
        return true;
    };
    let values = ["base", "max", "min", "from", "to"];
    let is_to_blame = |setting: &&&Setting| {
        let key = setting.path.strip_prefix(path).and_then(|rest| rest.rsplit('.').next()).unwrap_or_default();
        values.contains(&key.strip_suffix("_lr").unwrap_or(key))
            && cell.number(&setting.path).is_some_and(|number| !bounds.contains(number))
    };
    let below = |setting: &&&Setting| setting.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    let blamed = cell.pair.settings.iter().filter(below).find(is_to_blame);
    let place = cell.place(&blamed.map_or(format!("{path}.kind"), |setting| setting.path.to_string()));
    let number = match value {
        value if value.is_nan() => "not a number".to_owned(),
        value if value.is_infinite() => "infinite".to_owned(),
        value => Number(value).to_string(),
    };
    let expected = bounds.check(value).err().unwrap_or_default();
    let text = match step {
        Some(step) => format!("at iteration {} it is {number}; {expected}", thousands(step.into())),
        None => format!("it comes as near as can be to {number}; {expected}"),
    };
    problems.push(Diagnostic::new("spec::range", place, format!("`{name}` leaves its range")).text(text));
    false
}
