//! The grid: which policy meets which optimizer, and along which axes their settings vary.

use std::collections::HashMap;

use clr_spec::{Diagnostic, Optimizer, Policy, Problems, Setting, Spanned, Spec};
use clr_terminal::suggest;

/// More trials than this are refused before any is built: nobody means them, and they would fill the memory.
pub const MOST_TRIALS: u128 = 1_000_000;

/// The order of a cell's settings, and so of the axes from the slowest to the fastest; within a section, the text's.
pub const SECTIONS: [&str; 5] = ["model.", "data.", "train.", "policy.", "optimizer."];

/// A policy and an optimizer, with all settings that hold for the two.
pub struct Pair<'a> {
    pub policy: &'a Policy,
    pub optimizer: &'a Optimizer,
    /// Every path once: the policy's word beats the optimizer's, which beats that of the shared sections.
    pub settings: Vec<&'a Setting>,
    /// For each of `settings`, the dimension along which it varies.
    pub dimension_of: Vec<Option<usize>>,
    /// From the slowest to the fastest.
    pub dimensions: Vec<Dimension>,
    index: HashMap<&'a str, usize>,
}

/// One axis, or several that are zipped.
pub struct Dimension {
    pub settings: Vec<usize>,
    /// How many values each of them has.
    pub length: usize,
}

impl<'a> Pair<'a> {
    /// Merges the settings, each axis a dimension of its own.
    pub fn new(spec: &'a Spec, policy: &'a Policy, optimizer: &'a Optimizer) -> Pair<'a> {
        let mut settings: Vec<&Setting> = spec.settings.iter().collect();
        for overriding in [&optimizer.settings, &policy.settings] {
            // A value replaces a schedule with all its keys, and a schedule the value.
            let replaced = |path: &str| overriding.iter().any(|new| same_key(path, &new.path));
            let kept: Vec<Option<&Setting>> =
                settings.iter().map(|old| (!replaced(&old.path)).then_some(*old)).collect();
            // What overrides a key stands in its place, so that the order of axes is the order of keys.
            let mut placed = vec![false; overriding.len()];
            let mut merged: Vec<&Setting> = Vec::with_capacity(settings.len() + overriding.len());
            for (old, kept) in settings.iter().zip(kept) {
                if let Some(kept) = kept {
                    merged.push(kept);
                    continue;
                }
                for (new, placed) in overriding.iter().zip(&mut placed) {
                    if !*placed && same_key(&old.path, &new.path) {
                        merged.push(new);
                        *placed = true;
                    }
                }
            }
            merged.extend(overriding.iter().zip(&placed).filter(|(_, placed)| !**placed).map(|(new, _)| new));
            settings = merged;
        }
        let rank = |setting: &&Setting| SECTIONS.iter().position(|section| setting.path.starts_with(section));
        settings.sort_by_key(rank);
        let index = settings.iter().enumerate().map(|(index, setting)| (&*setting.path, index)).collect();
        let mut pair = Pair {
            policy,
            optimizer,
            dimension_of: vec![None; settings.len()],
            settings,
            dimensions: Vec::new(),
            index,
        };
        for index in 0..pair.settings.len() {
            if pair.settings[index].axis {
                pair.dimension_of[index] = Some(pair.dimensions.len());
                pair.dimensions.push(Dimension { settings: vec![index], length: pair.settings[index].values.len() });
            }
        }
        pair
    }

    /// The position in [`Pair::settings`] of a path.
    pub fn position(&self, path: &str) -> Option<usize> {
        self.index.get(path).copied()
    }

    /// The number of cells, before exclusions and seeds.
    pub fn cell_count(&self) -> u128 {
        self.dimensions.iter().fold(1u128, |product, dimension| product.saturating_mul(dimension.length as u128))
    }

    /// The settings that `name` means: a path, or the last keys of paths.
    pub fn matching(&self, name: &str) -> Vec<usize> {
        match self.position(name) {
            Some(position) => vec![position],
            None => (0..self.settings.len())
                .filter(|index| self.settings[*index].path.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')))
                .collect(),
        }
    }
}

/// True if two paths belong to one key, as `optimizer.momentum` and `optimizer.momentum.kind` do.
fn same_key(a: &str, b: &str) -> bool {
    key_of(a) == key_of(b)
}

/// Section and key, without what is nested below. In a table of a model's options each key is one by itself.
fn key_of(path: &str) -> &str {
    if path.starts_with("model.") {
        return path;
    }
    path.match_indices('.').nth(1).map_or(path, |(end, _)| &path[..end])
}

/// All pairs in the spec's order, with zips applied.
pub fn pairs<'a>(spec: &'a Spec, problems: &mut Problems) -> Vec<Pair<'a>> {
    let mut pairs = Vec::new();
    for policy in &spec.policies {
        for optimizer in optimizers_of(spec, policy, problems) {
            pairs.push(Pair::new(spec, policy, optimizer));
        }
    }
    for zip in &spec.zip {
        let mut met = false;
        for pair in &mut pairs {
            met |= apply_zip(pair, &zip.axes, problems);
        }
        let known = |axis: &Spanned<String>| {
            pairs.iter().any(|pair| pair.matching(&axis.value).iter().any(|index| pair.settings[*index].axis))
        };
        let unknown: Vec<&Spanned<String>> = zip.axes.iter().filter(|axis| !known(axis)).collect();
        for axis in &unknown {
            let axes = axis_names(&pairs, &axis.value);
            problems.push(
                Diagnostic::new("spec::zip", axis.span.clone(), format!("no axis is named `{}`", axis.value))
                    .help(suggest::help(&axis.value, axes)),
            );
        }
        if !met && unknown.is_empty() && spec.complete {
            problems.push(
                Diagnostic::new("spec::zip", zip.span.clone(), "these axes never meet")
                    .text("no policy and optimizer have two of them")
                    .help("remove the zip, or make both keys lists in one policy"),
            );
        }
    }
    pairs
}

/// The axes that `mistyped` may mean: with their sections where it has one.
pub fn axis_names<'a>(pairs: &[Pair<'a>], mistyped: &str) -> Vec<&'a str> {
    let name =
        |path: &'a str| if mistyped.contains('.') { path } else { path.split_once('.').map_or(path, |(_, key)| key) };
    let mut paths: Vec<&str> = pairs
        .iter()
        .flat_map(|pair| pair.settings.iter().filter(|setting| setting.axis).map(|setting| name(&setting.path)))
        .collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

fn optimizers_of<'a>(spec: &'a Spec, policy: &'a Policy, problems: &mut Problems) -> Vec<&'a Optimizer> {
    let Some(names) = &policy.optimizers else { return spec.optimizers.iter().collect() };
    let mut taken: Vec<&Optimizer> = Vec::new();
    for name in &names.value {
        match spec.optimizers.iter().find(|optimizer| *optimizer.name.value == *name.value) {
            Some(optimizer) if taken.iter().any(|other| other.name == optimizer.name) => problems.push(
                Diagnostic::new("spec::optimizers", name.span.clone(), format!("`{}` is there twice", name.value))
                    .help("remove one"),
            ),
            Some(optimizer) => taken.push(optimizer),
            None => problems.push(
                Diagnostic::new(
                    "spec::optimizers",
                    name.span.clone(),
                    format!("there is no optimizer `{}`", name.value),
                )
                .also(Some(&policy.name.span), "which this policy is bound to")
                .help(suggest::help(&name.value, spec.optimizers.iter().map(|optimizer| &*optimizer.name.value))),
            ),
        }
    }
    // The spec's order of optimizers, whatever the order in which the policy names them.
    taken.sort_by_key(|optimizer| spec.optimizers.iter().position(|other| other.name == optimizer.name));
    taken
}

/// Makes one dimension of those of the axes that the pair has. Whether there were two.
fn apply_zip(pair: &mut Pair<'_>, axes: &[Spanned<String>], problems: &mut Problems) -> bool {
    let mut members: Vec<usize> =
        axes.iter().flat_map(|axis| pair.matching(&axis.value)).filter(|index| pair.settings[*index].axis).collect();
    members.sort_unstable();
    members.dedup();
    let Some((first, rest)) = members.split_first().filter(|(_, rest)| !rest.is_empty()) else { return false };
    for other in rest {
        let (a, b) = (pair.settings[*first], pair.settings[*other]);
        if a.values.len() == b.values.len() {
            continue;
        }
        if let Some(span) = &b.key_span {
            problems.push(
                Diagnostic::new("spec::zip", span.clone(), "zipped axes have different lengths")
                    .text(format!("this has {} values", b.values.len()))
                    .also(a.key_span.as_ref(), format!("this has {}", a.values.len()))
                    .help("give both as many values, or remove the zip"),
            );
        }
        return true;
    }
    // The dimension stands where the first of its axes stood.
    let target = pair.dimension_of[*first];
    let absorbed: Vec<usize> =
        rest.iter().filter_map(|index| pair.dimension_of[*index]).filter(|d| Some(*d) != target).collect();
    if let Some(target) = target {
        for index in rest {
            if pair.dimension_of[*index] != Some(target) {
                pair.dimension_of[*index] = Some(target);
                pair.dimensions[target].settings.push(*index);
            }
        }
    }
    let mut new_index = Vec::new();
    let mut kept = 0;
    for dimension in 0..pair.dimensions.len() {
        new_index.push(kept);
        kept += usize::from(!absorbed.contains(&dimension));
    }
    let mut dimension = 0;
    pair.dimensions.retain(|_| {
        dimension += 1;
        !absorbed.contains(&(dimension - 1))
    });
    for of in pair.dimension_of.iter_mut().flatten() {
        *of = new_index[*of];
    }
    true
}
