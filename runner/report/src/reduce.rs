//! Curves of fewer points: what is left out lies between what is kept.
//!
//! A curve of one trial keeps of each bin of iterations the row with the least value and that with the greatest ([`Extremes`]), so
//! no spike is lost and every point is a row. A curve of several trials keeps of each bin the mean over trials of each trial's
//! mean, and the least and the greatest of these ([`Bins`], [`Band`]).

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

/// Points of a curve, by rising x. What was not finite is a gap.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Points {
    pub x: Vec<u64>,
    pub y: Vec<f64>,
}

impl Points {
    pub fn push(&mut self, x: u64, y: f64) {
        self.x.push(x);
        self.y.push(y);
    }
}

impl Serialize for Points {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut points = serializer.serialize_struct("Points", 2)?;
        points.serialize_field("x", &steps(&self.x))?;
        points.serialize_field("y", &self.y.iter().map(|&y| rounded(y)).collect::<Vec<_>>())?;
        points.end()
    }
}

/// The first x, then the difference of each to the one before: small numbers, which compress well.
fn steps(x: &[u64]) -> Vec<u64> {
    let before = std::iter::once(0).chain(x.iter().copied());
    x.iter().zip(before).map(|(&x, before)| x.saturating_sub(before)).collect()
}

/// To six significant digits, which are more than a picture shows; none where it is not finite.
fn rounded(value: f64) -> Option<f64> {
    let text = format!("{value:.5e}");
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// The bins of so many rows, of which there are `most` at most: the iterations of each.
pub fn bin(rows: u64, most: u64) -> u64 {
    rows.div_ceil(most.max(1)).max(1)
}

/// Of each bin of iterations, the rows with the least and the greatest value, and the first and the last row of all.
#[derive(Clone, Debug)]
pub struct Extremes {
    bin: u64,
    points: Points,
    /// Of the bin that is being filled.
    open: Option<Open>,
    last: Option<(u64, f64)>,
}

#[derive(Clone, Debug)]
struct Open {
    number: u64,
    least: Option<(u64, f64)>,
    greatest: Option<(u64, f64)>,
    /// The first that is not finite.
    gap: Option<u64>,
}

impl Extremes {
    /// With bins of so many iterations.
    pub fn new(bin: u64) -> Extremes {
        Extremes { bin: bin.max(1), points: Points::default(), open: None, last: None }
    }

    /// Takes the next row.
    pub fn add(&mut self, iteration: u64, value: f64) {
        let number = iteration / self.bin;
        if self.open.as_ref().is_some_and(|open| open.number != number) {
            self.close();
        }
        if self.last.is_none() {
            self.points.push(iteration, value);
        }
        self.last = Some((iteration, value));
        let open = self.open.get_or_insert(Open { number, least: None, greatest: None, gap: None });
        if !value.is_finite() {
            open.gap.get_or_insert(iteration);
            return;
        }
        if open.least.is_none_or(|(_, least)| value < least) {
            open.least = Some((iteration, value));
        }
        if open.greatest.is_none_or(|(_, greatest)| value > greatest) {
            open.greatest = Some((iteration, value));
        }
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let gap = open.gap.map(|iteration| (iteration, f64::NAN));
        let mut kept: Vec<(u64, f64)> = [open.least, open.greatest, gap].into_iter().flatten().collect();
        kept.sort_by_key(|&(iteration, _)| iteration);
        for (iteration, value) in kept {
            if self.points.x.last().is_none_or(|&last| last < iteration) {
                self.points.push(iteration, value);
            }
        }
    }

    /// The points of all rows that came. Of what never changes, the ends say all.
    pub fn points(self) -> Points {
        let Points { x, y } = self.all_points();
        match (&x[..], &y[..]) {
            ([first, .., last], [value, ..]) if y.iter().all(|y| y == value) => {
                Points { x: vec![*first, *last], y: vec![*value; 2] }
            }
            _ => Points { x, y },
        }
    }

    /// The same, where what never changes has its points too.
    pub fn all_points(mut self) -> Points {
        self.close();
        if let Some((iteration, value)) = self.last
            && self.points.x.last().is_some_and(|&last| last < iteration)
        {
            self.points.push(iteration, value);
        }
        self.points
    }
}

/// The means of one trial's rows in bins.
#[derive(Clone, Debug)]
pub struct Bins {
    bin: u64,
    /// Sum and number of rows.
    sums: Vec<(f64, u64)>,
}

impl Bins {
    /// With bins of so many iterations.
    pub fn new(bin: u64) -> Bins {
        Bins { bin: bin.max(1), sums: Vec::new() }
    }

    pub fn add(&mut self, iteration: u64, value: f64) {
        let place = usize::try_from(iteration / self.bin).unwrap_or(usize::MAX);
        // Rows come in order: each is in the last bin or begins the next.
        if place >= self.sums.len() {
            self.sums.resize(place.min(self.sums.len() + (1 << 16)) + 1, (0.0, 0));
        }
        if let Some((sum, count)) = self.sums.get_mut(place) {
            *sum += value;
            *count += 1;
        }
    }
}

/// Of several trials: at each x the mean, the least and the greatest value, and of how many trials.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Band {
    pub x: Vec<u64>,
    pub mean: Vec<f64>,
    pub least: Vec<f64>,
    pub greatest: Vec<f64>,
    pub n: Vec<u64>,
}

impl Band {
    /// Adds the means of one trial. All have bins of the same length; a point stands at the first iteration of its bin.
    pub fn add_bins(&mut self, bins: &Bins) {
        for (place, &(sum, count)) in bins.sums.iter().enumerate() {
            self.add(place, place as u64 * bins.bin, if count == 0 { f64::NAN } else { sum / count as f64 });
        }
    }

    /// Adds the value of a trial at the x of this place; the places before must be there.
    fn add(&mut self, place: usize, x: u64, value: f64) {
        if place >= self.x.len() {
            self.x.push(x);
            self.mean.push(f64::NAN);
            self.least.push(f64::NAN);
            self.greatest.push(f64::NAN);
            self.n.push(0);
        }
        if value.is_finite() {
            let n = &mut self.n[place];
            *n += 1;
            let mean = self.mean[place];
            self.mean[place] = if *n == 1 { value } else { mean + (value - mean) / *n as f64 };
            self.least[place] = self.least[place].min(value);
            self.greatest[place] = self.greatest[place].max(value);
        }
    }

    /// Of curves whose points need not be at the same x: one for each x that some have. Of more than `most`, some that
    /// follow each other are one, at the last of their x.
    pub fn of(curves: &[&Points], most: usize) -> Band {
        let mut all: Vec<u64> = curves.iter().flat_map(|curve| curve.x.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        let together = all.len().div_ceil(most.max(1)).max(1);
        // The first, which is of the untrained network, stands alone.
        let place = |x: u64| all.partition_point(|&known| known < x).div_ceil(together);
        let last = |place: usize| all[(place * together).min(all.len() - 1)];
        let mut band = Band::default();
        let places = all.last().map_or(0, |&x| place(x) + 1);
        (0..places).for_each(|place| band.add(place, last(place), f64::NAN));
        for curve in curves {
            let mut sums = vec![(0.0, 0_u64); places];
            for (&x, &y) in curve.x.iter().zip(&curve.y) {
                let (sum, count) = &mut sums[place(x)];
                (*sum, *count) = (*sum + y, *count + 1);
            }
            for (place, (sum, count)) in sums.into_iter().enumerate().filter(|(_, (_, count))| *count > 0) {
                band.add(place, last(place), sum / count as f64);
            }
        }
        band
    }

    /// Of one trial, where all of three curves would be the same.
    fn is_of_one(&self) -> bool {
        self.n.iter().all(|&n| n <= 1)
    }
}

impl Serialize for Band {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rounded = |values: &[f64]| values.iter().map(|&value| rounded(value)).collect::<Vec<_>>();
        let is_of_one = self.is_of_one();
        let mut band = serializer.serialize_struct("Band", if is_of_one { 3 } else { 5 })?;
        band.serialize_field("x", &steps(&self.x))?;
        band.serialize_field("mean", &rounded(&self.mean))?;
        if !is_of_one {
            band.serialize_field("least", &rounded(&self.least))?;
            band.serialize_field("greatest", &rounded(&self.greatest))?;
        }
        band.serialize_field("n", &self.n)?;
        band.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reduced(bin: u64, values: &[f64]) -> Vec<(u64, f64)> {
        let mut extremes = Extremes::new(bin);
        (0..).zip(values).for_each(|(iteration, &value)| extremes.add(iteration, value));
        let points = extremes.points();
        points.x.into_iter().zip(points.y).collect()
    }

    #[test]
    fn every_point_is_a_row_and_no_spike_is_lost() {
        let values: Vec<f64> = (0..10_000_u32).map(|row| f64::from(row.wrapping_mul(2_654_435_761) >> 8)).collect();
        let points = reduced(bin(10_000, 250), &values);
        assert!(points.len() <= 502, "{}", points.len());
        for &(x, y) in &points {
            assert_eq!(values[x as usize], y);
        }
        for (number, rows) in values.chunks(40).enumerate() {
            let of_bin = points.iter().filter(|(x, _)| *x / 40 == number as u64).map(|(_, y)| *y);
            let (least, greatest) = of_bin.fold((f64::MAX, f64::MIN), |(a, b), y| (a.min(y), b.max(y)));
            let expected = rows.iter().fold((f64::MAX, f64::MIN), |(a, b), &y| (a.min(y), b.max(y)));
            assert_eq!((least, greatest), expected, "bin {number}");
        }
        assert_eq!((points[0].0, points[points.len() - 1].0), (0, 9999));
    }

    #[test]
    fn few_rows_are_all_kept_and_a_constant_by_its_ends() {
        assert_eq!(reduced(1, &[3.0, 1.0, 2.0]), [(0, 3.0), (1, 1.0), (2, 2.0)]);
        assert_eq!(reduced(2, &[0.9; 100]), [(0, 0.9), (99, 0.9)]);
        assert_eq!(reduced(5, &[]), []);
        assert_eq!([bin(0, 250), bin(250, 250), bin(251, 250), bin(u64::MAX, 0)], [1, 1, 2, u64::MAX]);
    }

    #[test]
    fn what_is_not_finite_is_a_gap_and_hides_nothing_beside_it() {
        let points = reduced(4, &[1.0, f64::NAN, 5.0, 2.0, f64::INFINITY, f64::NAN, 7.0, 7.5]);
        let gaps: Vec<u64> = points.iter().filter(|(_, y)| y.is_nan()).map(|(x, _)| *x).collect();
        assert_eq!(gaps, [1, 4]);
        let finite: Vec<(u64, f64)> = points.into_iter().filter(|(_, y)| y.is_finite()).collect();
        assert_eq!(finite, [(0, 1.0), (2, 5.0), (6, 7.0), (7, 7.5)]);
    }

    #[test]
    fn a_band_has_the_mean_of_the_trials_that_have_a_value_and_their_number() {
        let mut band = Band::default();
        for values in [&[1.0, 3.0, 5.0, 7.0][..], &[2.0, 4.0, f64::NAN, 9.0], &[6.0, 8.0]] {
            let mut bins = Bins::new(2);
            (0..).zip(values).for_each(|(iteration, &value)| bins.add(iteration, value));
            band.add_bins(&bins);
        }
        assert_eq!(band.x, [0, 2]);
        // Means of bins: 2, 3 and 7; 6, none and none.
        assert_eq!((band.mean[0], band.least[0], band.greatest[0]), (4.0, 2.0, 7.0));
        assert_eq!((band.mean[1], band.least[1], band.greatest[1]), (6.0, 6.0, 6.0));
        assert_eq!(band.n, [3, 1]);
    }

    #[test]
    fn evaluations_at_different_iterations_are_one_band() {
        let points = |pairs: &[(u64, f64)]| Points {
            x: pairs.iter().map(|pair| pair.0).collect(),
            y: pairs.iter().map(|pair| pair.1).collect(),
        };
        let (a, b) = (points(&[(0, 0.1), (10, 0.5), (20, 0.7)]), points(&[(0, 0.3), (10, 0.7)]));
        let band = Band::of(&[&a, &b], 100);
        assert_eq!((band.x, band.n), (vec![0, 10, 20], vec![2, 2, 1]));
        assert_eq!(band.mean.iter().map(|mean| (mean * 10.0).round()).collect::<Vec<_>>(), [2.0, 6.0, 7.0]);
        assert_eq!((band.least[1], band.greatest[1]), (0.5, 0.7));
        // Five points in three: the first alone, then two and two.
        let long = points(&[(0, 1.0), (1, 2.0), (2, 4.0), (3, 6.0), (4, 8.0)]);
        let band = Band::of(&[&long], 3);
        assert_eq!((band.x, band.mean), (vec![0, 2, 4], vec![1.0, 3.0, 7.0]));
        assert_eq!(Band::of(&[], 3), Band::default());
    }

    #[test]
    fn numbers_are_written_short_and_what_is_none_as_null() {
        let points = Points { x: vec![0, 10, 25], y: vec![f64::from(0.8123_f32), f64::NAN, 1234567.891] };
        let json = serde_json::to_string(&points).unwrap();
        assert_eq!(json, r#"{"x":[0,10,15],"y":[0.8123,null,1234570.0]}"#);
    }
}
