//! One side of a convolution, height or width: which taps meet the image and not the padding around it.

use std::ops::Range;

/// Position i meets, by tap t, the source at `first + i * step + t - before`, if that lies in `0..len`.
#[derive(Clone, Copy)]
pub(super) struct Side {
    /// Positions of the target.
    pub positions: usize,
    /// Kernel positions, or those of them that take part.
    pub taps: usize,
    pub first: usize,
    pub step: usize,
    pub before: usize,
    /// Positions of the source.
    pub len: usize,
}

/// Neighbouring positions that meet the same taps.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub positions: Range<usize>,
    pub taps: Range<usize>,
    /// The source of the first position by its first tap; 0 if it has none.
    pub source: usize,
}

impl Side {
    /// The segments, in order.
    pub fn segments(self) -> impl Iterator<Item = Segment> {
        let mut first = 0;
        std::iter::from_fn(move || {
            if first == self.positions {
                return None;
            }
            let taps = self.taps_of(first);
            let meets_the_same = |position: &usize| self.taps_of(*position) == taps;
            let end = first + 1 + (first + 1..self.positions).take_while(meets_the_same).count();
            let source = if taps.is_empty() { 0 } else { self.source(first, taps.start) };
            let segment = Segment { positions: first..end, taps, source };
            first = end;
            Some(segment)
        })
    }

    /// The taps by which a position meets the source.
    fn taps_of(&self, position: usize) -> Range<usize> {
        inside(self.taps, (self.first + position * self.step, 1), self.before, self.len)
    }

    /// The positions that meet the source by this tap.
    pub fn positions_of(&self, tap: usize) -> Range<usize> {
        inside(self.positions, (self.first + tap, self.step), self.before, self.len)
    }

    /// The source of a position by a tap, if there is one.
    pub fn source(&self, position: usize, tap: usize) -> usize {
        self.first + position * self.step + tap - self.before
    }
}

/// The indices `i` of `0..count` at which `first + i * step - before` lies in `0..len`.
fn inside(count: usize, (first, step): (usize, usize), before: usize, len: usize) -> Range<usize> {
    let start = before.saturating_sub(first).div_ceil(step).min(count);
    let end = (len + before).saturating_sub(first).div_ceil(step).min(count);
    start..end.max(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(side: Side) {
        let meets = |position: usize, tap: usize| {
            let source = (side.first + position * side.step + tap).checked_sub(side.before);
            source.filter(|source| *source < side.len)
        };
        let mut next = 0;
        for Segment { positions, taps, source } in side.segments() {
            assert_eq!(positions.start, next);
            next = positions.end;
            for position in positions.clone() {
                let expected: Vec<usize> = (0..side.taps).filter(|tap| meets(position, *tap).is_some()).collect();
                assert_eq!(taps.clone().collect::<Vec<_>>(), expected);
            }
            assert_eq!(source, if taps.is_empty() { 0 } else { meets(positions.start, taps.start).unwrap() });
        }
        assert_eq!(next, side.positions);
        for tap in 0..side.taps {
            let expected: Vec<usize> = (0..side.positions).filter(|position| meets(*position, tap).is_some()).collect();
            assert_eq!(side.positions_of(tap).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn segments_agree_with_the_definition() {
        let side = |positions, taps, first, step, before, len| Side { positions, taps, first, step, before, len };
        check(side(8, 5, 0, 1, 2, 8));
        check(side(4, 3, 0, 2, 1, 8));
        check(side(3, 3, 0, 2, 3, 2));
        check(side(5, 1, 0, 1, 2, 3));
        check(side(6, 2, 1, 1, 1, 4));
        check(side(6, 0, 1, 1, 0, 4));
        check(side(0, 3, 0, 1, 1, 4));
    }

    #[test]
    fn each_edge_position_is_a_segment() {
        let side = Side { positions: 8, taps: 5, first: 0, step: 1, before: 2, len: 8 };
        let expected = [(0..1, 2..5, 0), (1..2, 1..5, 0), (2..6, 0..5, 0), (6..7, 0..4, 4), (7..8, 0..3, 5)];
        let segments: Vec<_> = side.segments().collect();
        assert_eq!(segments, expected.map(|(positions, taps, source)| Segment { positions, taps, source }));
    }
}
