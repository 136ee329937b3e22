//! The statistics of a comparison: Student's t of paired differences, and Holm's correction for many of them. All pure.
//!
//! Student's distribution is an incomplete beta function, which is forty lines here. The crates that have it (`statrs`,
//! `special`) bring linear algebra and random numbers or no quantile; so it is here, and equal to SciPy's in the tests.
//!
//! - Paired t: of differences d1..dn with mean m and sample deviation s (with n - 1), t = m / (s / sqrt(n)) has Student's
//!   distribution with n - 1 degrees of freedom where there is no difference; the 95% interval of the mean is
//!   m +- t(0.975, n - 1) s / sqrt(n). (Student 1908; `scipy.stats.ttest_rel`.)
//! - The two-sided probability of |T| > t with v degrees of freedom is I(v / (v + t^2); v / 2, 1 / 2), with the regularised
//!   incomplete beta function I. (Abramowitz and Stegun 26.7.1 and 26.5.27.)
//! - Holm 1979: the k-th smallest of m probabilities, from k = 0, is multiplied by m - k, and none is below one before it.
//!   (`statsmodels.stats.multitest.multipletests(method = "holm")`.)

use serde::Serialize;

/// How sure an interval is.
pub const CONFIDENCE: f64 = 0.95;

/// The mean of a sample, and how far it may be off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Mean {
    pub n: usize,
    /// None of no values.
    pub mean: Option<f64>,
    /// The sample's standard deviation, with n - 1; none below two values.
    pub deviation: Option<f64>,
    /// The 95% interval of the mean; none below two values, or where they do not differ.
    pub interval: Option<[f64; 2]>,
}

impl Mean {
    /// Of values, of which those that are not finite are left out. Values that are within `resolution` of each other do not
    /// differ: what is between them is rounding.
    pub fn of(values: impl IntoIterator<Item = f64>, resolution: f64) -> Mean {
        let values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        let n = values.len();
        if n == 0 {
            return Mean::default();
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        let deviation = Some((squares / (n - 1) as f64).sqrt()).filter(|deviation| deviation.is_finite());
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let interval = deviation.filter(|_| most - least > resolution).map(|deviation| {
            let half = quantile(1.0 - CONFIDENCE, (n - 1) as f64) * deviation / (n as f64).sqrt();
            [mean - half, mean + half]
        });
        Mean { n, mean: Some(mean), deviation, interval }
    }

    /// The mean over its standard error; none where there is no interval.
    pub fn t(&self) -> Option<f64> {
        self.interval?;
        Some(self.mean? / (self.deviation? / (self.n as f64).sqrt()))
    }

    /// The probability of a t at least so far from 0 on either side, if the true mean were 0.
    pub fn p(&self) -> Option<f64> {
        Some(beyond(self.t()?, (self.n - 1) as f64))
    }
}

/// The probability that a value of Student's distribution is at least as far from 0 as `t`.
pub fn beyond(t: f64, freedom: f64) -> f64 {
    let square = t * t;
    if square.is_infinite() {
        return 0.0;
    }
    let sum = freedom + square;
    incomplete_beta(freedom / sum, square / sum, freedom / 2.0, 0.5)
}

/// The t, not below 0, that is surpassed on both sides together with this probability: `scipy.stats.t.ppf(1 - p / 2, v)`.
pub fn quantile(probability: f64, freedom: f64) -> f64 {
    let mut high = 1.0;
    while beyond(high, freedom) > probability && high < f64::MAX / 4.0 {
        high *= 2.0;
    }
    // The probability falls with t, so halving finds it to the last bit.
    let mut low = 0.0;
    loop {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            return high;
        }
        if beyond(middle, freedom) > probability { low = middle } else { high = middle }
    }
}

/// The regularised incomplete beta function I(x; a, b); `rest` is 1 - x, which keeps its digits where x is near 1.
fn incomplete_beta(x: f64, rest: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if rest <= 0.0 {
        return 1.0;
    }
    let of_gammas = libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b);
    let factor = libm::exp(of_gammas + a * libm::log(x) + b * libm::log(rest));
    // The fraction converges quickly on this side of the mean.
    if x < (a + 1.0) / (a + b + 2.0) { factor * fraction(x, a, b) / a } else { 1.0 - factor * fraction(rest, b, a) / b }
}

/// The continued fraction of the incomplete beta function, by Lentz's method. (Abramowitz and Stegun 26.5.8.)
fn fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let safe = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / safe(1.0 - (a + b) * x / (a + 1.0));
    let mut value = d;
    // About sqrt(max(a, b)) steps; a million seeds take hundreds.
    for step in 1..10_000 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / safe(1.0 + term * d);
            c = safe(1.0 + term / c);
            change = c * d;
            value *= change;
        }
        if (change - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    value
}

/// Probabilities of one family, corrected by Holm so that, if nothing differs, one below 0.05 among them is found by chance
/// in one of twenty families at most.
pub fn holm(probabilities: &[f64]) -> Vec<f64> {
    let count = probabilities.len();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
    let mut corrected = vec![1.0; count];
    let mut before = 0.0_f64;
    for (rank, index) in order.into_iter().enumerate() {
        before = before.max((probabilities[index] * (count - rank) as f64).min(1.0));
        corrected[index] = before;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value as Json;

    /// Made by `goldens/make_goldens.py`.
    fn goldens() -> Json {
        serde_json::from_str(include_str!("goldens/statistics.json")).unwrap()
    }

    fn numbers(json: &Json) -> Vec<f64> {
        json.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    }

    #[track_caller]
    fn check_near(found: f64, expected: f64, what: &str) {
        let error = (found - expected).abs();
        assert!(error <= 1e-10 * expected.abs() || error < 1e-300, "{what}: {found:e} instead of {expected:e}");
    }

    #[test]
    fn probabilities_and_quantiles_of_student_are_those_of_scipy() {
        let goldens = goldens();
        let cases = goldens["student"].as_array().unwrap();
        assert!(cases.len() > 100);
        for case in cases.iter().map(numbers) {
            let [freedom, t, p] = case[..] else { panic!("{case:?}") };
            check_near(beyond(t, freedom), p, &format!("beyond {t} with {freedom}"));
            check_near(beyond(-t, freedom), p, &format!("beyond -{t} with {freedom}"));
        }
        for case in goldens["quantiles"].as_array().unwrap().iter().map(numbers) {
            let [freedom, p, t] = case[..] else { panic!("{case:?}") };
            check_near(quantile(p, freedom), t, &format!("quantile of {p} with {freedom}"));
        }
    }

    #[test]
    fn paired_differences_have_the_t_the_p_and_the_interval_of_scipy() {
        for case in goldens()["paired"].as_array().unwrap() {
            let (a, b) = (numbers(&case["a"]), numbers(&case["b"]));
            let found = Mean::of(a.iter().zip(&b).map(|(a, b)| a - b), 0.0);
            check_near(found.mean.unwrap(), case["mean"].as_f64().unwrap(), "mean");
            check_near(found.t().unwrap(), case["t"].as_f64().unwrap(), "t");
            check_near(found.p().unwrap(), case["p"].as_f64().unwrap(), "p");
            let interval = numbers(&case["interval"]);
            let size = interval[1] - interval[0];
            for (found, expected) in found.interval.unwrap().iter().zip(&interval) {
                assert!((found - expected).abs() < 1e-10 * size, "{found} instead of {expected}");
            }
        }
    }

    #[test]
    fn many_comparisons_are_corrected_as_statsmodels_does_by_holm() {
        for case in goldens()["holm"].as_array().unwrap() {
            let found = holm(&numbers(&case["p"]));
            let expected = numbers(&case["corrected"]);
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                check_near(*found, *expected, &format!("{case}"));
            }
        }
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn few_equal_or_broken_values_give_no_test_and_no_panic() {
        let of = |values: &[f64]| Mean::of(values.iter().copied(), 1e-7);
        assert_eq!(of(&[]), Mean::default());
        assert_eq!(of(&[f64::NAN, f64::INFINITY]), Mean::default());
        assert_eq!(of(&[0.5, f64::NAN]), Mean { n: 1, mean: Some(0.5), ..Mean::default() });
        let equal = of(&[0.25, 0.25, 0.25]);
        assert_eq!(equal, Mean { n: 3, mean: Some(0.25), deviation: Some(0.0), interval: None });
        // Only rounding is between them.
        let rounded = of(&[f64::from(0.81_f32 - 0.80_f32), f64::from(0.71_f32 - 0.70_f32)]);
        assert_eq!((rounded.t(), rounded.p(), rounded.interval), (None, None, None));
        assert_eq!(of(&[f64::MAX, -f64::MAX]).p(), None);
        let two = of(&[0.0, 1.0]);
        assert!(two.interval.unwrap()[0] < -5.0 && two.p().is_some_and(|p| (p - 0.5).abs() < 1e-12), "{two:?}");
        assert!(beyond(f64::NAN, 3.0).is_nan() && beyond(0.0, 3.0) == 1.0 && beyond(f64::INFINITY, 3.0) == 0.0);
    }
}
