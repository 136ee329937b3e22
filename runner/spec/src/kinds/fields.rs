//! What a kind of schedule is built from: the values of its keys, with durations in steps.

use clr_schedule::ratio::Ratio;
use clr_schedule::{Schedule, Stage, Ticks};

use super::Naming;
use crate::keys::Key;
use crate::{Diagnostic, Span};

/// The keys of one schedule in one cell of the grid. `None` is a key that is absent, or wrong: then that is reported.
pub trait Fields {
    /// What keys are called here.
    fn naming(&self) -> Naming;
    /// Whether the key has a value.
    fn has(&self, key: &Key) -> bool;
    /// Whether the value is `"auto"`.
    fn is_auto(&self, key: &Key) -> bool;
    fn number(&self, key: &Key) -> Option<f64>;
    fn integer(&self, key: &Key) -> Option<i64>;
    fn word(&self, key: &Key) -> Option<&str>;
    /// Two bounds of a learning rate, the lower one first; another hyper-parameter may have them the other way round.
    fn bounds(&mut self, lower: &Key, upper: &Key) -> Option<(f64, f64)>;

    /// How many steps the schedule is followed for: the training, or a stage.
    fn step_count(&self) -> u64;
    /// The same time, exactly.
    fn length(&self) -> Ratio;
    /// The step at which so much time is over; `None` where 64 bits do not hold it.
    fn step_after(&self, time: Ratio) -> Option<u64>;
    /// As [`Fields::step_after`], of a time that no fraction of 64 bits holds.
    fn step_after_float(&self, time: f64) -> u64;

    /// A duration in steps, which may have a fraction.
    fn time(&mut self, key: &Key) -> Option<Ratio>;
    /// A duration in steps; in a schedule that changes once an epoch, in whole ones.
    fn time_of_points(&mut self, key: &Key) -> Option<Ratio>;
    /// Points that come again after every such duration.
    fn ticks(&mut self, key: &Key) -> Option<Ticks>;
    /// The step at which a duration from the start of the schedule is over.
    fn point(&mut self, key: &Key) -> Option<u64>;
    /// The steps of a list of increasing durations.
    fn points(&mut self, key: &Key) -> Option<Vec<u64>>;
    /// The schedules of a list of stages.
    fn stages(&mut self, key: &Key) -> Option<Vec<Stage>>;
    /// The values of a column of a CSV file, between which a value is held or on a line.
    fn table(&mut self, file: &Key, column: &Key, linear: bool) -> Option<Schedule>;

    /// Where the value of a key stands, or else the policy.
    fn place(&self, key: &Key) -> Span;
    fn report(&mut self, problem: Diagnostic);
    /// Reports the keys that are set though they have no effect.
    fn refuse(&mut self, keys: &[&Key], reason: &str);
    /// Reports a number that 64 bits do not hold exactly.
    fn too_fine(&mut self, key: &Key);

    /// The steps of a key, by default all.
    fn steps(&mut self, key: &Key) -> Option<u64> {
        if self.has(key) { self.point(key) } else { Some(self.step_count()) }
    }

    /// A number exactly as it is written, by default 1.
    fn factor(&mut self, key: &Key) -> Option<Ratio> {
        let factor = Ratio::of_float(self.number(key).unwrap_or(1.0));
        if factor.is_none() {
            self.too_fine(key);
        }
        factor
    }
}

/// The words that a key takes, and what each of them means.
#[derive(Clone, Copy, Debug)]
pub struct Words<T: 'static, const N: usize>(pub [(&'static str, T); N]);

impl<T: Copy + PartialEq, const N: usize> Words<T, N> {
    /// The words alone, for the definition of the key.
    pub const fn names(&self) -> [&'static str; N] {
        let mut names = [""; N];
        let mut index = 0;
        while index < N {
            names[index] = self.0[index].0;
            index += 1;
        }
        names
    }

    /// What the key's word means; the first meaning if it is absent.
    pub fn of(&self, key: &Key, fields: &dyn Fields) -> T {
        let word = fields.word(key);
        let found = self.0.iter().find(|(name, _)| Some(*name) == word);
        found.unwrap_or(&self.0[0]).1
    }

    /// The word for a meaning.
    pub fn name(&self, meaning: T) -> &'static str {
        self.0.iter().find(|(_, known)| *known == meaning).map_or("", |(name, _)| name)
    }
}
