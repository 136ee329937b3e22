//! What the readings of several seeds say together: their median, and how sure it is.
//!
//! Each seed's curve is read by itself, as a person reads a figure of one training. A curve averaged over seeds would be smoother
//! than any training is, and become ragged later than all of them.

use super::smith::median;

/// Readings of one rate, one from each seed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Readings {
    pub count: usize,
    pub median: f64,
    pub lowest: f64,
    pub highest: f64,
    /// Of the interval that holds the median of all seeds that there could be: one of two readings that are as far from the ends,
    /// as narrow as is certain to 95 %. Of fewer than 6 readings it is all of them, and less certain.
    pub interval: [f64; 2],
    /// How often such an interval holds that median, whatever the distribution of readings.
    pub certainty: f64,
}

const CERTAIN: f64 = 0.95;

impl Readings {
    /// Of readings that are finite, one at least.
    pub fn of(mut readings: Vec<f64>) -> Option<Readings> {
        let median = median(&mut readings);
        let (lowest, highest, count) = (*readings.first()?, *readings.last()?, readings.len());
        // The interval from the k-th lowest to the k-th highest misses the median if fewer than k readings are on one side of it,
        // each of which is a toss of a coin.
        let mut missed = libm::pow(0.5, count as f64);
        let (mut place, mut term) = (0, missed);
        loop {
            term *= (count - place) as f64 / (place + 1) as f64;
            if 2 * (place + 2) > count || 1.0 - 2.0 * (missed + term) < CERTAIN {
                break;
            }
            missed += term;
            place += 1;
        }
        let interval = [readings[place], readings[count - 1 - place]];
        Some(Readings { count, median, lowest, highest, interval, certainty: 1.0 - 2.0 * missed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.binom.cdf(k - 1, n, 0.5)`, n the number of readings and k the place from the ends.
    #[test]
    fn the_interval_is_that_of_the_sign_test() {
        for (count, place, certainty) in [
            (1, 0, 0.0),
            (2, 0, 0.5),
            (3, 0, 0.75),
            (5, 0, 0.9375),
            (6, 0, 0.96875),
            (8, 0, 0.9921875),
            (9, 1, 0.9609375),
            (12, 2, 0.96142578125),
            (20, 5, 0.9586105346679688),
            (100, 39, 0.9647997997822952),
        ] {
            let readings: Vec<f64> = (0..count).rev().map(f64::from).collect();
            let found = Readings::of(readings).unwrap();
            let last = f64::from(count - 1);
            let place = f64::from(place);
            assert_eq!((found.interval, found.lowest, found.highest), ([place, last - place], 0.0, last), "{count}");
            assert_eq!(found.median, last / 2.0);
            assert!((found.certainty - certainty).abs() < 1e-12, "{count}: {}", found.certainty);
        }
    }

    #[test]
    fn no_readings_say_nothing() {
        assert_eq!(Readings::of(Vec::new()), None);
    }
}
