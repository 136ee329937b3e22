//! What is to be known of a comparison besides its numbers: an answer in words, and what the numbers cannot tell.

use std::collections::BTreeMap;

use clr_plan::Names;
use clr_store::origins::{Mixed, Several};
use clr_terminal::words;

use super::cell::Cell;
use super::statistics::{Mean, quantile};
use super::trials::Trials;
use super::{Block, Candidate, SIGNIFICANT, Verdict, trial_origin};

/// What a block says, in a sentence. `own` are the compared axis and those that belong to it.
pub fn answer(block: &Block, own: &[bool], has_reference: bool, names: &Names) -> String {
    let words = |cell: &Cell, is_own: bool| {
        let kept = cell.values.iter().zip(own).map(|(value, &own)| value.clone().filter(|_| own == is_own));
        names.words(&kept.collect::<Vec<_>>())
    };
    let short = |cell: &Cell| Some(words(cell, true)).filter(|it| !it.is_empty()).unwrap_or_else(|| cell.level.clone());
    let reference = short(&block.reference);
    let with = |verdict: Verdict| block.candidates.iter().filter(move |candidate| candidate.verdict == verdict);
    let is_of_noise = |candidate: &&Candidate| candidate.p.is_some();
    let size = |candidate: &Candidate| {
        let Mean { n, mean, interval, .. } = candidate.difference;
        let points = |difference: f64| format!("{:+.2}", 100.0 * difference);
        let (mean, seeds) = (mean.map_or_else(String::new, points), words::counted(n, "seed"));
        match (interval, candidate.p_corrected) {
            (Some([low, high]), Some(p)) => {
                let p = if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {p:.3}") };
                format!("{mean} points ({} to {} over {seeds}, {p})", points(low), points(high))
            }
            _ => format!("{mean} points (the same in {seeds})"),
        }
    };
    let paired = || block.candidates.iter().filter(|candidate| candidate.verdict != Verdict::NoPair);
    let (better, worse, all) = (with(Verdict::Better).count(), with(Verdict::Worse).count(), paired().count());
    let said = match (with(Verdict::Better).next(), paired().next()) {
        (_, None) => format!("no seed has finished both with {reference} and with another"),
        (Some(best), _) => {
            let more = match better {
                1 => String::new(),
                2 => ", and 1 other is better too".to_owned(),
                _ => format!(", and {} others are better too", better - 1),
            };
            format!("{} is better than {reference}: {}{more}", short(&best.cell), size(best))
        }
        (None, Some(top)) if paired().all(|candidate| candidate.verdict == Verdict::OneSeed) => {
            let by = 100.0 * top.difference.mean.unwrap_or_default();
            format!("{} is {by:+.2} points from {reference} in 1 seed, which tells nothing of noise", short(&top.cell))
        }
        (None, Some(top)) if worse == all && all == 1 => {
            format!("{reference} is better than {}, which has {}", short(&top.cell), size(top))
        }
        (None, Some(_)) if worse == all => format!("{reference} is better than each of {all} others"),
        (None, Some(top)) => {
            // Of those that noise was measured of, the nearest to be better.
            let top = paired().find(is_of_noise).unwrap_or(top);
            let beside = format!("{} has {}", short(&top.cell), size(top));
            match has_reference {
                true => format!("nothing is shown to be better than {reference}: {beside}"),
                false => {
                    let others = if all == 1 { "the other".to_owned() } else { format!("{worse} of {all} others") };
                    let not = if worse == 0 { "not " } else { "" };
                    let others = if worse == 0 && all > 1 { "any other".to_owned() } else { others };
                    format!("{reference} has the highest mean, and is {not}shown to be better than {others}: {beside}")
                }
            }
        }
    };
    match words(&block.reference, false) {
        block if block.is_empty() => said,
        block => format!("{block}: {said}"),
    }
}

/// A cell as people call it.
fn called(names: &Names, cell: &Cell) -> String {
    let words = names.words(&cell.values);
    if words.is_empty() { cell.level.clone() } else { words }
}

/// What is to be known besides the numbers.
#[derive(Default)]
pub struct Notes {
    said: Vec<String>,
    /// Cells with nothing to be compared with.
    alone: Vec<String>,
}

impl Notes {
    /// All that was added.
    pub fn said(self) -> Vec<String> {
        self.said
    }

    /// The reference was chosen from so many cells.
    pub fn add_best_of(&mut self, cells: usize, reference: &Cell, by: &str, names: &Names) {
        let cells = words::counted(cells, "cell");
        self.said.push(format!("the reference {} is the best of {cells} with this {by}", called(names, reference)));
    }

    /// A cell has nothing that it could be compared with.
    pub fn add_alone(&mut self, cell: &Cell, names: &Names) {
        self.alone.push(called(names, cell));
    }

    /// What the results of all blocks give to say.
    pub fn add_results(
        &mut self,
        trials: &Trials,
        blocks: &[Block],
        by: &str,
        reference: Option<&str>,
        tests: usize,
        names: &Names,
    ) {
        let candidates = || blocks.iter().flat_map(|block| &block.candidates);
        self.of_seeds(candidates());
        if tests > 1 {
            self.said.push(format!(
                "p is corrected for {tests} comparisons by Holm's method, and the verdict is by p; each interval stands by itself"
            ));
        }
        if reference.is_none() {
            self.said.push(
                "the reference is the best by the same numbers, so a part of its lead may be luck; --reference names another"
                    .to_owned(),
            );
        }
        let no_spread = candidates().filter(|candidate| candidate.verdict == Verdict::NoSpread).count();
        if no_spread > 0 {
            let differ = words::counted(no_spread, "comparison");
            self.said.push(format!(
                "{differ} with the same difference in every seed: without spread there is no noise to measure it by, and no test. \
                 Does the seed decide anything there?"
            ));
        }
        let has_lost = |cell: &Cell| cell.diverged > 0 && cell.accuracy.n > 0;
        if candidates().any(|candidate| has_lost(&candidate.cell))
            || blocks.iter().any(|block| has_lost(&block.reference))
        {
            self.said.push(
                "trials that diverged are in no mean: what diverges with some seeds is worse than its mean says"
                    .to_owned(),
            );
        }
        for block in blocks {
            self.of_cell(&block.reference, None, names);
            for candidate in &block.candidates {
                self.of_cell(&candidate.cell, Some(&candidate.difference), names);
            }
        }
        if !self.alone.is_empty() {
            let beside =
                reference.map_or_else(|| format!("another {by}"), |reference| format!("{by} {reference} and another"));
            let alone = words::some_of(&self.alone);
            self.said.push(format!("in no comparison, where there is not {beside} that is else set alike: {alone}"));
        }
        self.of_others(blocks, by, names);
        self.of_origins(trials, candidates());
        if trials.repeated > 0 {
            let repeated = words::counted(trials.repeated, "trial");
            self.said.push(format!("{repeated} in several outputs: each counts once"));
        }
    }

    /// What so many seeds can tell.
    fn of_seeds<'a>(&mut self, candidates: impl Iterator<Item = &'a Candidate> + Clone) {
        let with_one = candidates.clone().filter(|candidate| candidate.verdict == Verdict::OneSeed).count();
        if with_one > 0 {
            let all = candidates.clone().all(|candidate| candidate.difference.n <= 1);
            let of = if all { String::new() } else { format!(" ({})", words::counted(with_one, "comparison")) };
            self.said.push(format!(
                "with 1 seed nothing can be said about noise{of}: train more, such as `seeds = [1, 2, 3, 4, 5]` in [experiment]"
            ));
        }
        let fewest = candidates.filter(|candidate| candidate.p.is_some()).map(|candidate| candidate.difference.n).min();
        if let Some(n @ 2..=4) = fewest {
            let times = |n: usize| quantile(SIGNIFICANT, (n - 1) as f64) / (n as f64).sqrt();
            self.said.push(format!(
                "with {n} seeds a mean difference shows only where it is more than {:.1} times the spread of the differences; with \
                 5 seeds {:.1} times, with 10 seeds {:.1}",
                times(n),
                times(5),
                times(10)
            ));
        }
    }

    /// Trials of a cell that are in no pair, and why.
    fn of_cell(&mut self, cell: &Cell, difference: Option<&Mean>, names: &Names) {
        let mut why = cell.without_accuracy();
        let paired = difference.map_or(cell.accuracy.n, |difference| difference.n);
        if cell.accuracy.n > paired {
            why.push(format!("{} without a partner of the same seed", cell.accuracy.n - paired));
        }
        if !why.is_empty() {
            let (missing, all) = (cell.trials - paired, words::counted(cell.trials, "trial"));
            let are = if missing == 1 { "is" } else { "are" };
            self.said.push(format!("{}: {missing} of {all} {are} in no pair: {}", called(names, cell), why.join(", ")));
        }
    }

    /// Differences besides the one that is compared.
    fn of_others(&mut self, blocks: &[Block], by: &str, names: &Names) {
        let mut said: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for block in blocks {
            for candidate in block.candidates.iter().filter(|candidate| !candidate.also_differs_in.is_empty()) {
                let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
                let pairs = candidate.also_differs_in.iter();
                let pairs: Vec<String> = pairs
                    .map(|(key, [here, there])| format!("{key} {} and not {}", value(here), value(there)))
                    .collect();
                said.entry(words::some_of(&pairs)).or_default().push(called(names, &candidate.cell));
            }
        }
        for (what, cells) in said {
            let have = if cells.len() == 1 { "has" } else { "have" };
            self.said
                .push(format!("more than {by} differs from the reference: {} {have} {what}", words::some_of(&cells)));
        }
    }

    /// What was not computed alike.
    fn of_origins<'a>(&mut self, trials: &Trials, candidates: impl Iterator<Item = &'a Candidate> + Clone) {
        let done = (0..trials.trials.len()).filter(|&index| trials.trials[index].trial.status.is_done());
        let mixed = Mixed::of(done.map(|index| (&*trials.trials[index].trial.plugin, trial_origin(trials, index))));
        if let Some(Several { by, list, switch }) = mixed.said() {
            let pairs: usize = candidates.clone().map(|candidate| candidate.difference.n).sum();
            let different: usize = candidates.map(|candidate| candidate.pairs_of_different_origins).sum();
            self.said.push(format!(
                "trained by {by}: {list}; in {different} of {} the two are not alike; {switch} those of others again",
                words::counted(pairs, "pair")
            ));
        }
    }
}
