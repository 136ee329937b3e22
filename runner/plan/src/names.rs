//! What people call trials: a handle, which is the first digits of an id, and what tells them apart, as words or as columns.
//!
//! What all trials have in common is said once. What follows from a trial's policy or from its optimizer, such as a `base_lr`
//! that each policy has another of, says nothing that the policy's name does not. Numbers are shortened, and never so far that
//! two look alike. All this is for people: files have labels, whole ids and whole numbers.

use std::collections::{HashMap, HashSet};
use std::fmt::{Display, Write};

use clr_terminal::columns::{Align, Column};
use clr_terminal::suggest;
use clr_terminal::words;

use super::{Axis, AxisKind, AxisValue, Plan};

/// A handle has so many digits, and more where those do not tell all trials apart.
const FEWEST_DIGITS: usize = 4;

/// Axes over which means are taken. They come last.
pub const SEEDS: [&str; 3] = ["seed", "init_seed", "data_seed"];

/// The names of the trials of a plan or an output.
#[derive(Clone, Debug, Default)]
pub struct Names {
    digits: usize,
    shown: Vec<Shown>,
    common: Vec<(String, String)>,
}

/// An axis that tells trials apart.
#[derive(Clone, Debug)]
struct Shown {
    /// The position of the axis.
    index: usize,
    /// Without its section, where that leaves no doubt.
    name: String,
    is_number: bool,
    /// Significant digits that tell its numbers apart.
    digits: usize,
}

impl Names {
    /// Of the trials of a plan.
    pub fn of(plan: &Plan) -> Names {
        Names::new(&plan.axes, plan.trials.iter().map(|trial| (trial.id, &trial.axes[..])))
    }

    /// Of trials with these ids and values of `axes`.
    pub fn new<'a, I: Display>(axes: &[Axis], trials: impl Iterator<Item = (I, &'a [Option<AxisValue>])>) -> Names {
        let (ids, rows): (Vec<String>, Vec<&[Option<AxisValue>]>) =
            trials.map(|(id, values)| (id.to_string(), values)).unzip();
        let mut names = Names { digits: digits(ids), ..Names::default() };
        let value = |row: &'a [Option<AxisValue>], axis: usize| row.get(axis).and_then(Option::as_ref);
        // For each row which of the values of an axis it has.
        let numbered = |name: &str| -> Option<Vec<usize>> {
            let axis = axes.iter().position(|axis| axis.name == name)?;
            let mut seen: HashMap<String, usize> = HashMap::new();
            let key = |row: &&[Option<AxisValue>]| row.get(axis).map_or(String::new(), |value| format!("{value:?}"));
            let number = |key: String| {
                let next = seen.len();
                *seen.entry(key).or_insert(next)
            };
            Some(rows.iter().map(key).map(number).collect())
        };
        let tellers: Vec<Vec<usize>> = ["policy", "optimizer"].into_iter().filter_map(numbered).collect();
        // Whether trials of equal numbers agree in an axis.
        let follows = |axis: usize, numbers: &Vec<usize>| {
            let mut firsts: HashMap<usize, Option<&AxisValue>> = HashMap::new();
            let mut agrees = |(row, &number): (&&'a [Option<AxisValue>], &usize)| {
                *firsts.entry(number).or_insert(value(row, axis)) == value(row, axis)
            };
            rows.iter().zip(numbers).all(&mut agrees)
        };
        let is_seed = |axis: &usize| SEEDS.contains(&axes[*axis].name.as_str());
        let (mut order, seeds): (Vec<usize>, Vec<usize>) = (0..axes.len()).partition(|axis| !is_seed(axis));
        order.extend(seeds);
        for index in order {
            let Axis { name, kind } = &axes[index];
            let first = rows.first().and_then(|row| value(row, index));
            if rows.iter().all(|row| value(row, index) == first) {
                names.common.extend(first.map(|value| (name.clone(), text(value, FULL))));
                continue;
            }
            let is_named = matches!(name.as_str(), "policy" | "optimizer");
            if !is_named && !is_seed(&index) && tellers.iter().any(|numbers| follows(index, numbers)) {
                continue;
            }
            let floats = rows.iter().filter_map(|row| match value(row, index) {
                Some(AxisValue::Float(float)) => Some(*float),
                _ => None,
            });
            let is_number = matches!(kind, AxisKind::Integer | AxisKind::Float);
            names.shown.push(Shown { index, name: name.clone(), is_number, digits: words::telling_digits(floats) });
        }
        names.shorten();
        names
    }

    /// `momentum` for `optimizer.momentum`, where nothing else is called so.
    fn shorten(&mut self) {
        let mut uses: HashMap<String, usize> = HashMap::new();
        let all = self.shown.iter().map(|shown| &shown.name).chain(self.common.iter().map(|(name, _)| name));
        all.for_each(|name| *uses.entry(last(name).to_owned()).or_default() += 1);
        let names = self.shown.iter_mut().map(|shown| &mut shown.name);
        for name in names.chain(self.common.iter_mut().map(|(name, _)| name)) {
            if uses[last(name)] == 1 {
                *name = last(name).to_owned();
            }
        }
    }

    /// The first digits of an id, which is a [`super::TrialId`] or its text.
    pub fn handle(&self, id: impl Display) -> String {
        let mut id = id.to_string();
        id.truncate(id.floor_char_boundary(self.digits.max(FEWEST_DIGITS)));
        id
    }

    /// `triangular nesterov max_lr=0.006 seed=2`, without what all trials have in common.
    pub fn words(&self, values: &[Option<AxisValue>]) -> String {
        let mut out = String::new();
        for shown in &self.shown {
            let Some(value) = values.get(shown.index).and_then(Option::as_ref) else { continue };
            if !out.is_empty() {
                out.push(' ');
            }
            // A text speaks for itself.
            if !matches!(value, AxisValue::Text(_)) {
                let _ = write!(out, "{}=", shown.name);
            }
            out.push_str(&text(value, shown.digits));
        }
        out
    }

    /// A column for each axis in which trials differ, without those that are `left_out`.
    pub fn columns<'a>(
        &self,
        rows: impl Iterator<Item = &'a [Option<AxisValue>]> + Clone,
        left_out: &[&str],
    ) -> Vec<Column> {
        let shown = self.shown.iter().filter(|shown| !left_out.contains(&shown.name.as_str()));
        let column = |shown: &Shown| {
            let cell = |row: &[Option<AxisValue>]| {
                row.get(shown.index).and_then(Option::as_ref).map_or(String::new(), |value| text(value, shown.digits))
            };
            Column {
                header: shown.name.clone(),
                align: if shown.is_number { Align::Right } else { Align::Left },
                rank: u8::from(!matches!(shown.name.as_str(), "policy" | "optimizer")),
                cells: rows.clone().map(cell).collect(),
            }
        };
        shown.map(column).collect()
    }

    /// `all trials: seed=1 iterations=400`; nothing where there is one trial or they have nothing in common.
    pub fn common(&self) -> Option<String> {
        let words: Vec<String> = self.common.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (!words.is_empty()).then(|| format!("all trials: {}", words.join("  ")))
    }
}

/// Significant digits of a number: all, and a few.
const FULL: usize = 17;
const SHORT: usize = 4;

fn text(value: &AxisValue, digits: usize) -> String {
    match value {
        AxisValue::Float(float) => words::shortened(*float, digits),
        other => other.to_string(),
    }
}

/// So many digits tell ids apart.
fn digits(mut ids: Vec<String>) -> usize {
    ids.sort_unstable();
    ids.dedup();
    let common = |pair: &[String]| pair[0].bytes().zip(pair[1].bytes()).take_while(|(a, b)| a == b).count();
    ids.windows(2).map(|pair| common(pair) + 1).fold(FEWEST_DIGITS, usize::max)
}

/// Why no trial, or not one alone, is meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTrial {
    /// None has this label, or an id that begins so.
    #[error("there is no trial `{asked}`; {help}")]
    None {
        /// As it was asked for.
        asked: String,
        /// The names that there are.
        help: String,
    },
    /// None was named, and there is not exactly one.
    #[error(
        "which trial? `--trial` takes a label or the first digits of an id: {list}; `clr-run status OUTPUT --trials` lists all"
    )]
    Unnamed { list: String },
    /// Several have an id that begins so, or this label.
    #[error("`{asked}` may be any of {count} trials; give more of the id: {list}")]
    Many {
        /// As it was asked for.
        asked: String,
        count: usize,
        list: String,
    },
}

/// The one trial that is meant by its label, its id or the first digits of its id: its place in `trials`.
///
/// # Errors
///
/// Where there is none, or several are meant.
pub fn find<'a, I: Display>(asked: &str, trials: impl Iterator<Item = (I, &'a str)>) -> Result<usize, NoTrial> {
    let trials: Vec<(String, &str)> = trials.map(|(id, label)| (id.to_string(), label)).collect();
    let places = |is_meant: &dyn Fn(&(String, &str)) -> bool| -> Vec<usize> {
        trials.iter().enumerate().filter(|(_, trial)| is_meant(trial)).map(|(place, _)| place).collect()
    };
    let lower = asked.to_ascii_lowercase();
    let mut found = places(&|(id, label)| *id == lower || *label == asked);
    if found.is_empty() && !asked.is_empty() {
        found = places(&|(id, _)| id.starts_with(&lower));
    }
    let list = |places: &[usize]| some_of(&trials, places);
    match found[..] {
        [one] => Ok(one),
        [] => {
            let asked_words: HashSet<&str> = asked.split_whitespace().collect();
            let similar = places(&|(_, label)| {
                !asked_words.is_empty() && asked_words.is_subset(&label.split_whitespace().collect())
            });
            let labels: Vec<&str> = trials.iter().map(|(_, label)| *label).collect();
            let nearest = suggest::nearest(asked, &labels).and_then(|label| labels.iter().position(|it| *it == label));
            let help = match (&similar[..], nearest) {
                ([], None) if trials.is_empty() => "there is none at all yet".to_owned(),
                ([one], _) => format!("did you mean {}?", list(&[*one])),
                ([], Some(one)) => format!("did you mean {}?", list(&[one])),
                ([], None) => format!("there are {}", list(&(0..trials.len()).collect::<Vec<_>>())),
                (several, _) => format!("did you mean one of {}?", list(several)),
            };
            Err(NoTrial::None { asked: asked.to_owned(), help })
        }
        _ => Err(NoTrial::Many { asked: asked.to_owned(), count: found.len(), list: list(&found) }),
    }
}

/// The place of the only trial, where none is named.
///
/// # Errors
///
/// Where there is not exactly one.
pub fn only<'a, I: Display>(trials: impl Iterator<Item = (I, &'a str)>) -> Result<usize, NoTrial> {
    let trials: Vec<(String, &str)> = trials.map(|(id, label)| (id.to_string(), label)).collect();
    match trials.len() {
        1 => Ok(0),
        count => Err(NoTrial::Unnamed { list: some_of(&trials, &(0..count).collect::<Vec<_>>()) }),
    }
}

/// `4f2a (triangular sgd seed=1), 77aa (exp sgd seed=1) and 3 more`
fn some_of(trials: &[(String, &str)], places: &[usize]) -> String {
    let digits = digits(trials.iter().map(|(id, _)| id.clone()).collect());
    let named = |&place: &usize| format!("{} ({})", words::start(&trials[place].0, digits), short(trials[place].1));
    words::some_of(&places.iter().map(named).collect::<Vec<_>>())
}

/// A label for people: `momentum=0.05477` for `optimizer.momentum=0.05477225575051661`.
pub fn short(label: &str) -> String {
    let word = |word: &str| match word.split_once('=') {
        Some((name, value)) => {
            // A seed is a name, and never shortened.
            let number: Option<f64> = value.parse().ok().filter(|_| value.contains(['.', 'e']));
            let value = number.map_or(value.to_owned(), |number| words::shortened(number, SHORT));
            format!("{}={value}", last(name))
        }
        None => word.to_owned(),
    };
    label.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// The key itself, without its section.
fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_has_as_many_digits_as_tell_trials_apart_and_four_at_least() {
        for (ids, expected) in [
            (&["00112233", "ff112233"][..], 4),
            (&["00112233", "00113344", "00113355"], 7),
            (&["00112233"], 4),
            (&[], 4),
        ] {
            assert_eq!(digits(ids.iter().map(|id| (*id).to_owned()).collect()), expected, "{ids:?}");
        }
    }

    #[test]
    fn a_trial_is_found_by_label_id_and_first_digits() {
        let trials = [("00112233", "triangular sgd seed=1"), ("00114455", "triangular sgd seed=2"), ("aa", "exp gd")];
        let find = |asked: &str| find(asked, trials.into_iter()).map_err(|error| error.to_string());
        for (asked, place) in
            [("exp gd", 2), ("aa", 2), ("AA", 2), ("a", 2), ("001122", 0), ("triangular sgd seed=2", 1)]
        {
            assert_eq!(find(asked), Ok(place), "{asked}");
        }
        let refused = [
            (
                "0011",
                "`0011` may be any of 2 trials; give more of the id: 00112 (triangular sgd seed=1) and 00114 (triangular sgd \
                 seed=2)",
            ),
            ("exp", "there is no trial `exp`; did you mean aa (exp gd)?"),
            ("exp dg", "there is no trial `exp dg`; did you mean aa (exp gd)?"),
            (
                "sgd triangular",
                "there is no trial `sgd triangular`; did you mean one of 00112 (triangular sgd seed=1) and 00114 (triangular \
                 sgd seed=2)?",
            ),
            (
                "",
                "there is no trial ``; there are 00112 (triangular sgd seed=1), 00114 (triangular sgd seed=2) and aa (exp gd)",
            ),
        ];
        for (asked, message) in refused {
            assert_eq!(find(asked), Err(message.to_owned()), "{asked}");
        }
    }

    #[test]
    fn labels_in_messages_are_short() {
        let label = "triangular sgd max_lr=0.05477225575051661 optimizer.momentum=0.85 init_seed=123456789";
        assert_eq!(short(label), "triangular sgd max_lr=0.05477 momentum=0.85 init_seed=123456789");
    }

    #[test]
    fn what_tells_trials_apart_is_said_and_nothing_else() {
        let axis = |name: &str, kind| Axis { name: name.to_owned(), kind };
        let axes = [
            axis("policy", AxisKind::Text),
            axis("optimizer", AxisKind::Text),
            axis("seed", AxisKind::Integer),
            axis("base_lr", AxisKind::Float),
            axis("max_lr", AxisKind::Float),
            axis("optimizer.momentum", AxisKind::Float),
            axis("condition", AxisKind::Integer),
        ];
        let row = |policy: &str, seed: i64, base: f64, max: Option<f64>, momentum: f64| {
            let text = |text: &str| Some(AxisValue::Text(text.into()));
            let floats = [Some(base), max, Some(momentum)].map(|value| value.map(AxisValue::Float));
            let mut row = vec![text(policy), text("sgd"), Some(AxisValue::Integer(seed))];
            row.extend(floats);
            row.push(Some(AxisValue::Integer(10)));
            row
        };
        let rows = [
            row("triangular", 1, 0.001, Some(0.054_772_255_750_516_61), 0.9),
            row("triangular", 2, 0.001, Some(0.054_772_255_750_516_61), 0.95),
            row("triangular", 1, 0.001, Some(0.3), 0.9),
            row("fixed", 1, 0.02, None, 0.9),
        ];
        let names = Names::new(&axes, (1..).zip(rows.iter().map(Vec::as_slice)));
        assert_eq!(names.common().as_deref(), Some("all trials: optimizer=sgd  condition=10"));
        let words: Vec<String> = rows.iter().map(|row| names.words(row)).collect();
        let expected = [
            "triangular max_lr=0.05477 momentum=0.9 seed=1",
            "triangular max_lr=0.05477 momentum=0.95 seed=2",
            "triangular max_lr=0.3 momentum=0.9 seed=1",
            "fixed momentum=0.9 seed=1",
        ];
        assert_eq!(words, expected);
        let columns = names.columns(rows.iter().map(Vec::as_slice), &["seed"]);
        let headers: Vec<&str> = columns.iter().map(|column| column.header.as_str()).collect();
        assert_eq!(headers, ["policy", "max_lr", "momentum"]);
        assert_eq!(columns[1].cells, ["0.05477", "0.05477", "0.3", ""]);
    }
}
