//! Slopes of curves, and the place of the least of them, as NumPy and PyTorch find it.

/// `numpy.gradient(values)`: half the difference of the neighbours, and at the ends the difference to the only one.
/// None of fewer than two values.
pub fn by_index(values: &[f64]) -> Option<Vec<f64>> {
    let last = values.len().checked_sub(1).filter(|last| *last > 0)?;
    let slope = |i: usize| match i {
        0 => values[1] - values[0],
        i if i == last => values[last] - values[last - 1],
        i => (values[i + 1] - values[i - 1]) / 2.0,
    };
    Some((0..values.len()).map(slope).collect())
}

/// `torch.gradient(values, spacing=[at])`: of second order at unequal distances, and at the ends of first order.
/// None of fewer than two values.
pub fn by_coordinate(values: &[f64], at: &[f64]) -> Option<Vec<f64>> {
    let last = values.len().checked_sub(1).filter(|last| *last > 0)?;
    let forward = |i: usize| (values[i + 1] - values[i]) / (at[i + 1] - at[i]);
    let slope = |i: usize| match i {
        0 => forward(0),
        i if i == last => forward(last - 1),
        i => {
            let (before, after) = (at[i] - at[i - 1], at[i + 1] - at[i]);
            let left = -after / (before * (before + after));
            let centre = (after - before) / (before * after);
            let right = before / (after * (before + after));
            left * values[i - 1] + centre * values[i] + right * values[i + 1]
        }
    };
    Some((0..values.len()).map(slope).collect())
}

/// `argmin` of NumPy and PyTorch: the first of the least values, and what is not a number is less than all.
pub fn place_of_least(values: &[f64]) -> Option<usize> {
    if let Some(place) = values.iter().position(|value| value.is_nan()) {
        return Some(place);
    }
    (0..values.len()).reduce(|least, place| if values[place] < values[least] { place } else { least })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are those of `numpy.gradient` and `torch.gradient`.
    #[test]
    fn slopes_are_numpys_and_torchs() {
        assert_eq!(by_index(&[1.0, 2.0, 4.0, 7.0]), Some(vec![1.0, 1.5, 2.5, 3.0]));
        assert_eq!(by_index(&[1.0, 2.0]), Some(vec![1.0, 1.0]));
        assert_eq!(by_index(&[1.0]), None);
        let squares = by_coordinate(&[0.0, 1.0, 9.0, 16.0], &[0.0, 1.0, 3.0, 4.0]).unwrap();
        assert_eq!(squares, [1.0, 2.0, 5.999999999999999, 7.0]);
        assert_eq!(by_coordinate(&[], &[]), None);
    }

    #[test]
    fn the_least_is_the_first_of_equals_and_what_is_no_number_before_all() {
        assert_eq!(place_of_least(&[2.0, 1.0, 1.0]), Some(1));
        assert_eq!(place_of_least(&[2.0, f64::NAN, -9.0]), Some(1));
        assert_eq!(place_of_least(&[0.0, -0.0]), Some(0));
        assert_eq!(place_of_least(&[]), None);
    }
}
