//! The grid crossed, policies outermost and seeds innermost, and the trials put into groups.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use clr_spec::{Diagnostic, Optimizer, Origin, Policy, Problems, Span, Spanned, Spec};
use clr_terminal::words::thousands;

use super::cell::Cell;
use super::columns::{self, Column};
use super::exclusions::{self, Exclusions};
use super::facts::Facts;
use super::grid::{self, MOST_TRIALS, Pair};
use super::resolve::{Body, Resolver};
use super::seeding::{Seeding, seedings};
use super::{AxisValue, Group, Plan, Shape, SharedText, Trial, TrialId};
use super::{range_tests, settings};

/// Crosses the grid and resolves every cell. Pure: `facts` is all that it knows of the world.
///
/// Where the spec asks for its range tests alone, these are the plan: those of the cells of its grid, each once.
///
/// The error has every problem that was found, in the order of the spec's text. Where the spec is not
/// [`complete`](Spec::complete) it is always an error, with only what [`clr_spec::parse`] could not know: possibly nothing.
pub fn plan(spec: &Spec, facts: &Facts) -> Result<Plan, Vec<Diagnostic>> {
    let mut problems = Problems::default();
    let only_tests = spec.range_test.only();
    let with_seeds = only_tests.then(|| range_tests::with_seeds(spec));
    let spec = with_seeds.as_ref().unwrap_or(spec);
    let mut pairs = grid::pairs(spec, &mut problems);
    if only_tests {
        pairs.retain(|pair| range_tests::has_test(spec, pair.policy));
    }
    let sweeps: Vec<Policy> = pairs.iter().filter(|_| only_tests).map(|pair| range_tests::policy(spec, pair)).collect();
    let tests: Vec<Pair<'_>> =
        pairs.iter().zip(&sweeps).map(|(pair, sweep)| Pair::new(spec, sweep, pair.optimizer)).collect();
    let trained = if only_tests { &tests } else { &pairs };
    if let Some(diagnostic) = too_many(spec, &pairs) {
        problems.push(diagnostic);
        return Err(problems.into_sorted());
    }

    let mut resolver = Resolver::new(spec, facts);
    if pairs.is_empty() {
        check_shared(spec, &mut resolver, &mut problems);
    }
    let columns = columns::candidates(trained, facts);
    let mut builder = Builder {
        columns: &columns,
        seedings: seedings(spec),
        trials: Vec::new(),
        cells: Vec::new(),
        by_id: HashMap::new(),
        shared_texts: HashMap::new(),
    };
    let mut used = vec![false; spec.exclude.len()];
    for (pair_index, pair) in pairs.iter().enumerate() {
        resolver.start_pair();
        let exclusions = Exclusions::new(pair, &spec.exclude);
        let mut choice = vec![0; pair.dimensions.len()];
        loop {
            let cell = Cell { pair, choice: &choice };
            let excluded: Vec<Option<usize>> =
                builder.seedings.iter().map(|seeding| exclusions.find(&cell, &seeding.named)).collect();
            excluded.iter().flatten().for_each(|exclusion| used[*exclusion] = true);
            // A cell of which all trials are excluded may be impossible: that is a reason to exclude it.
            let is_left = excluded.contains(&None);
            let test = tests.get(pair_index);
            let choices = test.map(|test| range_tests::choices(test, &cell));
            let choices = choices.as_deref().unwrap_or(std::slice::from_ref(&choice));
            for choice in choices.iter().filter(|_| is_left) {
                let cell = Cell { pair: test.unwrap_or(pair), choice };
                let body = resolver.body(&cell, &mut problems);
                let seedings = (0..excluded.len()).filter(|seeding| excluded[*seeding].is_none());
                for seeding in seedings {
                    if let (Some(body), true) = (&body, problems.is_empty() && spec.complete)
                        && !(only_tests && builder.has(body, seeding))
                    {
                        builder.push(trained, pair_index, &cell, body, seeding, &mut problems);
                    }
                }
            }
            if !advance(&mut choice, pair) {
                break;
            }
        }
    }

    if spec.complete {
        resolver.unmatched_patterns(&mut problems);
        if !only_tests {
            exclusions::unused_exclusions(&spec.exclude, &used, &pairs, &mut problems);
        }
        if problems.is_empty() && builder.trials.is_empty() {
            let span = spec.exclude.first().map_or(Span::spec(0..0), |exclusion| exclusion.span.clone());
            problems.push(
                Diagnostic::new("spec::grid", span, "the grid is empty").text("no cell is left").help("exclude less"),
            );
        }
    }
    if !problems.is_empty() || !spec.complete {
        return Err(problems.into_sorted());
    }
    let mut trials = builder.trials;
    let axes = columns::finish(columns::fixed(spec), &columns, &mut trials);
    let settings = settings::columns(&trials, facts);
    let groups = groups(&trials);
    let (limits, checkpointing) = (spec.limits, spec.checkpointing);
    // A sweep in place of a policy makes nonsense of what else is scheduled over the training, and that was not asked for.
    let warnings = if only_tests { Vec::new() } else { problems.take_warnings() };
    let name = if only_tests { range_tests::name_of(&spec.name) } else { spec.name.clone() };
    let range_tests = resolver.measurements;
    let trials = trials.into();
    Ok(Plan { name, axes, settings, trials, groups, range_tests, limits, checkpointing, warnings })
}

fn too_many(spec: &Spec, pairs: &[Pair<'_>]) -> Option<Diagnostic> {
    let cells = pairs.iter().fold(0u128, |sum, pair| sum.saturating_add(pair.cell_count()));
    let count = cells.saturating_mul(spec.seeds.count() as u128);
    if count <= MOST_TRIALS {
        return None;
    }
    // The longest axis is the likeliest mistake.
    let axes = pairs.iter().flat_map(|pair| pair.settings.iter().filter(|setting| setting.axis));
    let longest = axes.max_by_key(|setting| setting.values.len());
    let span = longest.and_then(|setting| setting.key_span.clone()).unwrap_or(Span::spec(0..0));
    let mut diagnostic = Diagnostic::new("spec::grid", span, format!("the grid has {} trials", thousands(count)))
        .help("at most 1,000,000 are planned, before exclusions; zip axes, or split the spec");
    if let Some(longest) = longest {
        diagnostic =
            diagnostic.text(format!("the longest axis has {} values", thousands(longest.values.len() as u128)));
    }
    Some(diagnostic)
}

/// Without a policy or an optimizer there is no cell, but what the shared sections name can still be judged.
fn check_shared(spec: &Spec, resolver: &mut Resolver<'_>, problems: &mut Problems) {
    let nowhere = Span { origin: Origin::Spec, start: 0, end: 0 };
    let policy =
        Policy { name: Spanned { value: "".into(), span: nowhere.clone() }, optimizers: None, settings: Vec::new() };
    let optimizer = Optimizer { name: Spanned { value: "".into(), span: nowhere }, settings: Vec::new() };
    let pair = Pair::new(spec, &policy, &optimizer);
    let choice = vec![0; pair.dimensions.len()];
    resolver.group(&Cell { pair: &pair, choice: &choice }, problems);
}

/// The number of one of a pair's cells, in the order of [`advance`]. There are fewer than [`MOST_TRIALS`].
#[derive(Clone, Copy, Debug)]
struct CellNumber(usize);

impl CellNumber {
    fn of(choice: &[usize], pair: &Pair<'_>) -> CellNumber {
        let digits = choice.iter().zip(&pair.dimensions);
        CellNumber(digits.fold(0, |number, (choice, dimension)| number * dimension.length + choice))
    }

    fn choice(self, pair: &Pair<'_>) -> Vec<usize> {
        let mut rest = self.0;
        let mut choice: Vec<usize> = Vec::with_capacity(pair.dimensions.len());
        for dimension in pair.dimensions.iter().rev() {
            choice.push(rest % dimension.length);
            rest /= dimension.length;
        }
        choice.reverse();
        choice
    }
}

/// The next cell, the last dimension fastest; false after the last.
fn advance(choice: &mut [usize], pair: &Pair<'_>) -> bool {
    for (choice, dimension) in choice.iter_mut().zip(&pair.dimensions).rev() {
        *choice += 1;
        if *choice < dimension.length {
            return true;
        }
        *choice = 0;
    }
    false
}

struct Builder<'b> {
    columns: &'b [Column],
    seedings: Vec<Seeding>,
    trials: Vec<Trial>,
    /// The pair and the cell of each trial, to explain duplicates.
    cells: Vec<(usize, CellNumber)>,
    by_id: HashMap<TrialId, usize>,
    shared_texts: HashMap<String, SharedText>,
}

impl Builder<'_> {
    /// True if there is such a trial already.
    fn has(&self, body: &Body, seeding: usize) -> bool {
        self.by_id.contains_key(&self.seedings[seeding].id(&body.canonical))
    }

    fn push(
        &mut self,
        pairs: &[Pair<'_>],
        pair_index: usize,
        cell: &Cell<'_, '_>,
        body: &Body,
        seeding: usize,
        problems: &mut Problems,
    ) {
        let seeding = &self.seedings[seeding];
        let id = seeding.id(&body.canonical);

        let pair = &pairs[pair_index];
        let texts = &mut self.shared_texts;
        let mut shared = |text: &str| match texts.get(text) {
            Some(shared) => shared.clone(),
            None => texts.entry(text.to_owned()).or_insert_with(|| text.into()).clone(),
        };
        let mut axes = Vec::with_capacity(2 + seeding.named.len() + self.columns.len());
        axes.push(Some(AxisValue::Text(shared(&pair.policy.name.value))));
        axes.push(Some(AxisValue::Text(shared(&pair.optimizer.name.value))));
        axes.extend(seeding.named.iter().map(|(_, seed)| Some(AxisValue::Integer(*seed as i64))));
        let mut label = format!("{} {}", pair.policy.name.value, pair.optimizer.name.value);
        for column in self.columns {
            let value = column.value(cell, body);
            if let (Some(value), true) = (&value, column.varies(pair)) {
                let _ = write!(label, " {}={value}", column.name);
            }
            axes.push(match value {
                Some(AxisValue::Text(text)) => Some(AxisValue::Text(shared(&text))),
                value => value,
            });
        }
        for (name, seed) in &seeding.named {
            let _ = write!(label, " {name}={seed}");
        }

        if let Some(&first) = self.by_id.get(&id) {
            problems.push(self.duplicate(pairs, first, pair_index, cell, &label));
            return;
        }
        self.by_id.insert(id, self.trials.len());
        self.cells.push((pair_index, CellNumber::of(cell.choice, pair)));
        self.trials.push(Trial {
            id,
            label: label.into(),
            axes,
            shape: Arc::clone(&body.group.shape),
            optimizer: Arc::clone(&body.optimizer),
            init_seed: seeding.init,
            data_seed: seeding.data,
            iterations: body.iterations,
            eval_every: body.eval_every,
            divergence: body.divergence,
            lr: body.lr.clone(),
        });
    }

    /// Two cells that come to the same trial, pointed at where they differ.
    fn duplicate(
        &self,
        pairs: &[Pair<'_>],
        first: usize,
        pair_index: usize,
        cell: &Cell<'_, '_>,
        label: &str,
    ) -> Diagnostic {
        let (first_pair_index, first_number) = self.cells[first];
        let (a, b) = (&pairs[first_pair_index], &pairs[pair_index]);
        let first_choice = first_number.choice(a);
        let first_cell = Cell { pair: a, choice: &first_choice };
        let (earlier, later) = if a.policy.name != b.policy.name {
            (Some(a.policy.name.span.clone()), Some(b.policy.name.span.clone()))
        } else if a.optimizer.name != b.optimizer.name {
            (Some(a.optimizer.name.span.clone()), Some(b.optimizer.name.span.clone()))
        } else {
            let differing = (0..a.settings.len()).find(|setting| first_cell.at(*setting) != cell.at(*setting));
            let span_in = |cell: &Cell<'_, '_>| cell.at(differing?)?.1.clone();
            (span_in(&first_cell), span_in(cell))
        };
        let place = later.unwrap_or_else(|| b.policy.name.span.clone());
        Diagnostic::new("spec::duplicate", place, "two cells are one trial")
            .text(format!("`{label}`"))
            .also(earlier.as_ref(), format!("is the same as `{}`", self.trials[first].label))
            .help("names are only labels: give one of them another value, or remove it")
    }
}

/// Trials of equal shape; within a group those of one data seed side by side, in the order of its first trial.
fn groups(trials: &[Trial]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut by_shape: HashMap<*const Shape, usize> = HashMap::new();
    for (index, trial) in trials.iter().enumerate() {
        // Equal shapes are one allocation: the resolver sees to it.
        let group = *by_shape.entry(Arc::as_ptr(&trial.shape)).or_insert_with(|| {
            groups.push(Group { shape: Arc::clone(&trial.shape), trials: Vec::new() });
            groups.len() - 1
        });
        groups[group].trials.push(index);
    }
    for group in &mut groups {
        let mut rank: HashMap<u64, usize> = HashMap::new();
        for &index in &group.trials {
            let next = rank.len();
            rank.entry(trials[index].data_seed).or_insert(next);
        }
        group.trials.sort_by_key(|&index| (rank[&trials[index].data_seed], index));
        group.trials.shrink_to_fit();
    }
    groups
}
