//! Groups of parameters: patterns over names, resolved to what each parameter's learning rate and weight decay are multiplied by.
//!
//! Groups hold in their order: each says something of the parameters that it matches, and a later one's word beats an
//! earlier one's. What none speaks of stays the architecture's own. A plugin is told names and numbers, no patterns, and of the
//! parameters alone that are then trained another way: so patterns that come to the same are the same trial.

use std::collections::BTreeSet;
use std::sync::Arc;

use clr_spec::{Diagnostic, Problems, Span, Spec, Value};
use clr_terminal::suggest;
use serde_json::{Map, Value as Json, json};

use super::{GroupBody, Offer, Resolver, SHAPING};
use crate::cell::Cell;
use crate::facts::{Facts, ModelQuery, ParameterFacts};
use crate::grid::{self, Pair};
use crate::options::Schema;
use crate::trial::ParameterGroup;

/// The groups of a cell's optimizer.
#[derive(Default)]
pub struct Groups {
    /// For the plugin; none where all is as the architecture has it.
    pub json: Option<Json>,
    /// The groups as they were asked for, to be printed.
    pub asked: Vec<ParameterGroup>,
}

/// The key, in a spec and in a plugin's schema.
pub const GROUPS: &str = "groups";

/// A pattern, where it stands, and whether any model has a parameter that it matches.
pub struct Pattern {
    text: String,
    place: Span,
    matched: bool,
    /// A model that has none, and the names that it has.
    tried: (String, Arc<[ParameterFacts]>),
}

/// Names in a message: a large network has hundreds.
const MOST_NAMES: usize = 40;

/// The models whose parameters a plan of this spec needs to know: those that meet an optimizer with groups.
pub fn models_with_groups(spec: &Spec, facts: &Facts) -> BTreeSet<ModelQuery> {
    let mut queries = BTreeSet::new();
    // What is wrong is for the plan to say.
    let mut unsaid = Problems::default();
    let pairs = grid::pairs(spec, &mut unsaid);
    let mut resolver = Resolver::new(spec, facts);
    for pair in pairs.iter().filter(|pair| has_groups(pair) && pair.cell_count() <= grid::MOST_TRIALS) {
        resolver.start_pair();
        let shaping = |path: &str| path.starts_with("model.") || path.starts_with("data.") || SHAPING.contains(&path);
        let varying: Vec<usize> = (0..pair.dimensions.len())
            .filter(|&dimension| {
                pair.dimensions[dimension].settings.iter().any(|&setting| shaping(&pair.settings[setting].path))
            })
            .collect();
        let mut choice = vec![0; pair.dimensions.len()];
        loop {
            let found = resolver.group(&Cell { pair, choice: &choice }, &mut unsaid);
            queries.extend(found.group.map(|group| group.query()));
            let next = varying.iter().rev().find(|&&dimension| {
                choice[dimension] = (choice[dimension] + 1) % pair.dimensions[dimension].length;
                choice[dimension] > 0
            });
            if next.is_none() {
                break;
            }
        }
    }
    queries
}

fn has_groups(pair: &Pair<'_>) -> bool {
    let count = pair.position("optimizer.groups").map(|position| &pair.settings[position].values[0].0);
    matches!(count, Some(Value::Stages(count)) if *count > 0)
}

impl<'f> Resolver<'f> {
    /// The groups of a cell, or `None` where something is wrong that is, or was, reported.
    pub fn groups(
        &mut self,
        cell: &Cell<'_, '_>,
        offer: Option<Offer<'f>>,
        group: Option<&GroupBody>,
        problems: &mut Problems,
    ) -> Option<Groups> {
        if !has_groups(cell.pair) {
            return Some(Groups::default());
        }
        let Some(Value::Stages(count)) = cell.get("optimizer.groups") else { return None };
        let offer = offer?;
        let kind = cell.text("optimizer.kind")?;
        let optimizer = offer.plugin.optimizers.iter().find(|optimizer| optimizer.name == kind)?;
        if Schema(&optimizer.options_schema).property(GROUPS).is_none() {
            problems.push(
                Diagnostic::new(
                    "spec::groups",
                    self.place_of_groups(cell),
                    format!("`{kind}` takes no groups of parameters"),
                )
                .also(cell.span("optimizer.kind"), format!("not offered by the plugin `{}`", offer.plugin.name))
                .help("remove them: all parameters train alike there"),
            );
            return None;
        }
        let parameters = self.parameters(cell, group?, problems)?;
        if parameters.is_empty() {
            return Some(Groups::default());
        }
        let mut own: Vec<[f64; 2]> =
            parameters.iter().map(|parameter| [parameter.lr_mult, parameter.decay_mult].map(decimal)).collect();
        let published = own.clone();
        let mut asked = Vec::new();
        for index in 1..=*count {
            let path = |key: &str| format!("optimizer.groups.{index}.{key}");
            // Parsing has said what is wrong.
            let patterns = cell.text(&path("parameters"))?;
            let [lr_mult, decay_mult] = ["lr_mult", "decay_mult"].map(|key| cell.number(&path(key)));
            let place = cell.place(&path("parameters"));
            let matching = self.matching(patterns, &place, &offer.model.name, &parameters);
            let mut group = ParameterGroup { parameters: patterns.into(), lr_mult, decay_mult, tensors: 0, values: 0 };
            for (parameter, own) in
                parameters.iter().zip(&mut own).zip(matching).filter_map(|(both, is)| is.then_some(both))
            {
                group.tensors += 1;
                group.values += parameter.value_count;
                *own = [lr_mult.unwrap_or(own[0]), decay_mult.unwrap_or(own[1])];
            }
            asked.push(group);
        }
        Some(Groups { json: for_plugin(&parameters, &published, &own), asked })
    }

    fn place_of_groups(&self, cell: &Cell<'_, '_>) -> Span {
        let setting = cell.pair.position("optimizer.groups").map(|position| cell.pair.settings[position]);
        setting.and_then(|setting| setting.key_span.clone()).unwrap_or_else(|| cell.place("optimizer.groups"))
    }

    fn parameters(
        &self,
        cell: &Cell<'_, '_>,
        group: &GroupBody,
        problems: &mut Problems,
    ) -> Option<Arc<[ParameterFacts]>> {
        let reason = match self.facts.parameters.get(&group.query()) {
            Some(Ok(parameters)) => return Some(Arc::clone(parameters)),
            Some(Err(reason)) => reason.as_str(),
            None => "the plugin was not asked for them",
        };
        let title = format!("the parameters of `{}` are not known", group.shape.architecture);
        problems.push(Diagnostic::new("spec::groups", self.place_of_groups(cell), title).text(reason));
        None
    }

    /// The parameters that one of the patterns matches.
    fn matching(&mut self, patterns: &str, place: &Span, model: &str, parameters: &Arc<[ParameterFacts]>) -> Vec<bool> {
        let mut matching = vec![false; parameters.len()];
        for text in patterns.split(", ") {
            let mut any = false;
            for (parameter, matching) in parameters.iter().zip(&mut matching) {
                let matches = is_match(text, &parameter.name);
                *matching |= matches;
                any |= matches;
            }
            match self.patterns.iter_mut().find(|known| known.text == text && known.place == *place) {
                Some(known) => known.matched |= any,
                None => self.patterns.push(Pattern {
                    text: text.to_owned(),
                    place: place.clone(),
                    matched: any,
                    tried: (model.to_owned(), Arc::clone(parameters)),
                }),
            }
        }
        matching
    }

    /// Reports patterns that match no parameter of any model that they were tried on: mistyped, most likely.
    pub fn unmatched_patterns(&self, problems: &mut Problems) {
        let mut unmatched: Vec<&Pattern> = self.patterns.iter().filter(|known| !known.matched).collect();
        while let Some(Pattern { place, tried: (model, parameters), .. }) = unmatched.first() {
            let (here, elsewhere): (Vec<&Pattern>, Vec<&Pattern>) =
                unmatched.iter().partition(|other| other.place == *place);
            let texts: Vec<&str> = here.iter().map(|pattern| pattern.text.as_str()).collect();
            let names: Vec<&str> = parameters.iter().map(|parameter| &*parameter.name).collect();
            let title = format!("no parameter matches {}", suggest::one_of(&texts));
            let mut diagnostic = Diagnostic::new("spec::groups", place.clone(), title);
            for text in texts {
                if let Some(meant) = meant(text, &names) {
                    diagnostic = diagnostic.help(format!("did you mean `{meant}` by `{text}`?"));
                }
            }
            let mut listed = suggest::all_of(&names[..names.len().min(MOST_NAMES)]);
            if names.len() > MOST_NAMES {
                listed = format!("{listed}, and {} more", names.len() - MOST_NAMES);
            }
            problems.push(diagnostic.help(format!("`{model}` has {listed}")));
            unmatched = elsewhere;
        }
    }
}

/// Names and numbers, for each pair of multipliers that some parameter has in place of its own.
fn for_plugin(parameters: &[ParameterFacts], published: &[[f64; 2]], asked: &[[f64; 2]]) -> Option<Json> {
    let mut groups: Vec<([f64; 2], Vec<&str>)> = Vec::new();
    for ((parameter, published), asked) in parameters.iter().zip(published).zip(asked) {
        // Plugins compute in float32.
        if published.map(|mult| mult as f32) == asked.map(|mult| mult as f32) {
            continue;
        }
        match groups.iter_mut().find(|(mults, _)| mults == asked) {
            Some((_, names)) => names.push(&parameter.name),
            None => groups.push((*asked, vec![&parameter.name])),
        }
    }
    let group = |([lr_mult, decay_mult], names): &([f64; 2], Vec<&str>)| {
        let group = [("parameters", json!(names)), ("lr_mult", json!(lr_mult)), ("decay_mult", json!(decay_mult))];
        Json::Object(Map::from_iter(group.map(|(key, value)| (key.to_owned(), value))))
    };
    (!groups.is_empty()).then(|| groups.iter().map(group).collect())
}

/// The number that a float32 is written as.
fn decimal(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| f64::from(number))
}

/// The pattern that was most likely meant: a name, all of a layer's, or all of a kind.
fn meant(pattern: &str, names: &[&str]) -> Option<String> {
    let around = |name: &str| names.iter().any(|known| is_match(name, known));
    for wider in [format!("*.{pattern}"), format!("{pattern}.*"), format!("{pattern}*"), format!("*{pattern}*")] {
        if around(&wider) {
            return Some(wider);
        }
    }
    let mut possible: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    for name in names {
        possible.extend(name.rsplit_once('.').map(|(_, last)| format!("*.{last}")));
        possible.extend(name.split_once('.').map(|(first, _)| format!("{first}.*")));
    }
    let possible: Vec<&str> = possible.iter().map(String::as_str).collect();
    suggest::nearest(pattern, &possible).map(str::to_owned)
}

/// True if a name is as the pattern: `*` stands for any text, also for none, and `?` for any one character.
fn is_match(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut read) = (0, 0);
    // Where the last `*` was, and how far it reaches so far.
    let mut star: Option<(usize, usize)> = None;
    while read < name.len() {
        match (pattern.get(at), star) {
            (Some('*'), _) => {
                star = Some((at, read));
                at += 1;
            }
            (Some(&wanted), _) if wanted == '?' || wanted == name[read] => (at, read) = (at + 1, read + 1),
            (_, Some((place, reach))) => {
                star = Some((place, reach + 1));
                (at, read) = (place + 1, reach + 1);
            }
            _ => return false,
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        assert!(matching.iter().all(|name| is_match(pattern, name)), "{pattern}");
        assert!(!others.iter().any(|name| is_match(pattern, name)), "{pattern}");
    }

    /// As Python's `fnmatch.fnmatchcase` has it.
    #[test]
    fn patterns_match_as_those_of_a_shell() {
        check("conv1.bias", &["conv1.bias"], &["conv1.weight", "conv1.bias.more", "xconv1.bias", ""]);
        check("*.bias", &["conv1.bias", "block1.conv2.bias", ".bias"], &["bias", "conv1.bias_", "conv1.Bias"]);
        check("bn*", &["bn", "bn1.weight", "bn10"], &["conv1.bn", "b"]);
        check("*", &["", "anything.at.all"], &[]);
        check("conv?.*", &["conv1.weight", "conv2."], &["conv.weight", "conv10.weight"]);
        check("*a*b*", &["ab", "xaxbx", "aab", "abab"], &["ba", "a", "b"]);
        check("*aab", &["aaab", "aabaab"], &["aaba", "ab"]);
        check("", &[""], &["a"]);
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_time() {
        let (pattern, name) = ("*a".repeat(2000), "a".repeat(4000) + "b");
        assert!(!is_match(&pattern, &name));
    }

    #[test]
    fn what_was_meant_is_a_name_a_layer_or_a_kind() {
        let names = ["conv1.weight", "conv1.bias", "ip1.weight", "ip1.bias"];
        let meant = |pattern| meant(pattern, &names);
        assert_eq!(meant("bias").as_deref(), Some("*.bias"));
        assert_eq!(meant("conv1").as_deref(), Some("conv1.*"));
        assert_eq!(meant("con").as_deref(), Some("con*"));
        assert_eq!(meant("*.biass").as_deref(), Some("*.bias"));
        assert_eq!(meant("conv1.wieght").as_deref(), Some("conv1.weight"));
        assert_eq!(meant("transformer.h.0.attn"), None);
    }
}
