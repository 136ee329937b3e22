//! The rules against their originals, by what `goldens/make_goldens.py` had these suggest.

use std::collections::HashMap;

use proptest::strategy::Strategy;

use super::*;

const GOLDENS: &str = include_str!("goldens/goldens.csv");

/// A curve, and by kind of line what the originals made of it. What they do not suggest is none.
struct Case {
    name: &'static str,
    lines: HashMap<&'static str, Vec<Option<f64>>>,
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in GOLDENS.lines() {
        let mut fields = line.split(',');
        let (name, kind) = (fields.next().unwrap(), fields.next().unwrap());
        let values = fields.map(|value| (value != "none").then(|| value.parse().expect("a number"))).collect();
        match cases.last_mut().filter(|case| case.name == name) {
            Some(case) => drop(case.lines.insert(kind, values)),
            None => cases.push(Case { name, lines: HashMap::from([(kind, values)]) }),
        }
    }
    cases
}

impl Case {
    fn numbers(&self, kind: &str) -> Vec<f64> {
        self.lines[kind].iter().map(|value| value.unwrap()).collect()
    }

    /// What a tool suggests on the whole, with its smoothing and stop. The golden sweeps of fastai are all geometric to it.
    fn suggested(&self, rules: &[Rule]) -> Vec<Option<f64>> {
        let (lrs, losses) = (self.numbers("lrs"), self.numbers("losses"));
        let planned = self.numbers("planned")[0] as usize;
        let sweep = Sweep { lrs: &lrs, losses: &losses, planned, spacing: Spacing::Geometric };
        rules.iter().map(|rule| rule.suggest(&sweep).ok().map(|suggestion| suggestion.lr)).collect()
    }
}

/// fastai's rules, in the order of the goldens.
const OF_FASTAI: [Rule; 4] = [Rule::Valley, Rule::Slide, Rule::Minimum, Rule::Steep];

/// A loss that never changes, once smoothed, differs by rounding alone: the least of it is a matter of the last bit.
const UP_TO_ROUNDING: &str = "flat";

#[test]
fn each_rule_alone_chooses_what_its_original_chooses() {
    for case in cases() {
        let (lrs, losses) = (case.numbers("lrs"), case.numbers("losses"));
        let rules = [fastai::valley, fastai::slide, fastai::minimum, fastai::steep];
        let found: Vec<Option<f64>> = rules.iter().map(|rule| rule(&lrs, &losses)).collect();
        for (place, (found, expected)) in found.iter().zip(&case.lines["alone"]).enumerate() {
            assert_eq!(found, expected, "{}: {}", case.name, OF_FASTAI[place].name());
        }
    }
}

#[test]
fn losses_are_smoothed_and_cut_off_as_each_tool_does() {
    for case in cases() {
        let (losses, planned) = (case.numbers("losses"), case.numbers("planned")[0] as usize);
        let recorded = [
            ("fastai_smoothed", fastai::recorded(&losses, planned)),
            ("torch_lr_finder_smoothed", torch_lr_finder::recorded(&losses)),
            ("lightning_smoothed", lightning::recorded(&losses)),
        ];
        for (kind, found) in recorded {
            let expected = case.numbers(kind);
            assert_eq!(found.losses.len(), expected.len(), "{}: {kind}", case.name);
            for (place, (found, expected)) in found.losses.iter().zip(&expected).enumerate() {
                let is_near =
                    (found - expected).abs() <= 1e-12 * expected.abs() || found.to_bits() == expected.to_bits();
                let is_equal = is_near || (found.is_nan() && expected.is_nan());
                assert!(is_equal, "{}: {kind} at {place}: {found}, expected {expected}", case.name);
            }
        }
    }
}

#[test]
fn on_raw_losses_each_tool_suggests_what_it_would_have() {
    for case in cases().iter().filter(|case| case.name != UP_TO_ROUNDING) {
        assert_eq!(case.suggested(&OF_FASTAI), case.lines["fastai"], "{}", case.name);
        assert_eq!(case.suggested(&[Rule::TorchLrFinder]), case.lines["torch_lr_finder"], "{}", case.name);
        assert_eq!(case.suggested(&[Rule::Lightning]), case.lines["lightning"], "{}", case.name);
    }
}

/// The suggestions of the original functions on the points that they see, without smoothing.
#[test]
fn without_smoothing_the_typical_curve_has_the_known_suggestions() {
    let cases = cases();
    let typical = cases.iter().find(|case| case.name == "typical").unwrap();
    let (lrs, losses) = (typical.numbers("lrs"), typical.numbers("losses"));
    let seen = |rule: fn(&[f64], &[f64]) -> Option<f64>, end: usize| rule(&lrs[10..end], &losses[10..end]).unwrap();
    let found = [
        seen(fastai::valley, 95),
        seen(fastai::slide, 95),
        seen(fastai::minimum, 95),
        seen(fastai::steep, 95),
        seen(torch_lr_finder::steepest, 95),
        seen(lightning::steepest, 99),
    ];
    let expected = [
        8.317637711026709e-4,
        1.0e-3,
        5.754399373371566e-3,
        3.63078054770101e-3,
        3.63078054770101e-3,
        1.096478196143185e-6,
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-15 * expected, "{found}, expected {expected}");
    }
}

/// Training ends at the first loss that is not a number; the tools go on to the end. What they suggest is the same.
#[test]
fn a_sweep_that_ended_by_diverging_has_the_suggestions_of_one_that_went_on() {
    let cases = cases();
    let whole = cases.iter().find(|case| case.name == "to_nan").unwrap();
    let (lrs, losses) = (whole.numbers("lrs"), whole.numbers("losses"));
    let end = losses.iter().position(|loss| loss.is_nan()).unwrap() + 1;
    let sweep =
        |end: usize| Sweep { lrs: &lrs[..end], losses: &losses[..end], planned: 100, spacing: Spacing::Geometric };
    for rule in Rule::ALL {
        assert_eq!(rule.suggest(&sweep(end)), rule.suggest(&sweep(100)), "{}", rule.name());
    }
}

#[test]
fn a_linear_sweep_has_no_answer_to_rules_of_steps_and_logarithms() {
    let cases = cases();
    let linear = cases.iter().find(|case| case.name == "linear").unwrap();
    let (lrs, losses) = (linear.numbers("lrs"), linear.numbers("losses"));
    let sweep = Sweep { lrs: &lrs, losses: &losses, planned: 120, spacing: Spacing::Linear };
    for rule in [Rule::Valley, Rule::Slide, Rule::Steep] {
        assert_eq!(rule.suggest(&sweep), Err(NoSuggestion::NeedsGeometric));
    }
    let suggested = |rule: Rule| Some(rule.suggest(&sweep).unwrap().lr);
    assert_eq!(suggested(Rule::Minimum), linear.lines["fastai"][2]);
    assert_eq!(suggested(Rule::TorchLrFinder), linear.lines["torch_lr_finder"][0]);
    assert_eq!(suggested(Rule::Lightning), linear.lines["lightning"][0]);
}

/// fastai's search for the longest descent compares all pairs.
fn valley_of_fastai(lrs: &[f64], losses: &[f64]) -> Option<f64> {
    let n = losses.len();
    let (mut start, mut end) = (0_isize, 0_usize);
    let mut lengths = vec![1_isize; n];
    for i in 1..n {
        for j in 0..i {
            if losses[i] < losses[j] && lengths[i] < lengths[j] + 1 {
                lengths[i] = lengths[j] + 1;
            }
            if lengths[end] < lengths[i] {
                end = i;
                start = end as isize - lengths[end];
            }
        }
    }
    let sections = (end as isize - start) as f64 / 3.0;
    let place = start + sections as isize + (sections / 2.0) as isize;
    let place = if place < 0 { place + n as isize } else { place };
    lrs.get(usize::try_from(place).ok()?).copied()
}

proptest::proptest! {
    #[test]
    fn the_quick_search_for_a_valley_finds_what_comparing_all_pairs_finds(
        losses in proptest::collection::vec(
            proptest::prop_oneof![9 => (0..12_i32).prop_map(f64::from), 1 => proptest::strategy::Just(f64::NAN)], 0..40),
    ) {
        let lrs: Vec<f64> = (0..losses.len()).map(|place| place as f64).collect();
        proptest::prop_assert_eq!(fastai::valley(&lrs, &losses), valley_of_fastai(&lrs, &losses));
    }

    #[test]
    fn no_curve_breaks_a_rule(
        losses in proptest::collection::vec(proptest::num::f64::ANY, 0..60),
        planned in 0..80_usize,
        is_linear in proptest::bool::ANY,
    ) {
        let lrs: Vec<f64> = (0..losses.len()).map(|place| place as f64 / 10.0).collect();
        let spacing = if is_linear { Spacing::Linear } else { Spacing::Geometric };
        let sweep = Sweep { lrs: &lrs, losses: &losses, planned, spacing };
        for rule in Rule::ALL {
            if let Ok(suggestion) = rule.suggest(&sweep) {
                proptest::prop_assert!(lrs.iter().any(|lr| [*lr, lr / 10.0].contains(&suggestion.lr)));
            }
        }
        for measure in [smith::Measure::Accuracy, smith::Measure::Loss] {
            if let Ok(pair) = smith::pair(measure, &lrs, &losses) {
                proptest::prop_assert!(pair.base < pair.max && lrs.contains(&pair.base) && lrs.contains(&pair.max));
            }
        }
    }
}
