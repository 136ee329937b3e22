//! The matrix product that convolution and the fully connected layer are written in.
//!
//! `C[i][j] = start + sum over k of A[i][k] B[k][j]`, or ReLU of that, where A is never laid out as a matrix: row i
//! and depth k are offsets into a buffer, each with strides of its own. In NHWC memory a row of the kernel meets one
//! contiguous run of floats, so a convolution is a few of these products as it stands, and so are both its gradients.

#![allow(unsafe_code)]

use super::Isa;
#[cfg(target_arch = "x86_64")]
use super::fused_simd::{Avx2, Avx512};
use super::fused_simd::{FusedSimd, Portable};
use super::sum::add_rows;

/// Columns of the widest panel: two vectors of AVX-512.
pub(super) const MAX_WIDTH: usize = 32;

/// One product `C = start + A B`, or `C += A B`.
pub(crate) struct Product<'a> {
    /// The rows of A and of C.
    pub rows: Rows,
    /// The elements of a row of A, and the rows of B that they meet.
    pub depth: Depth,
    /// The buffer behind A.
    pub a: &'a [f32],
    /// B as [`pack`] wrote it.
    pub b: Packed<'a>,
    /// The values of C before the sum.
    pub start: Start<'a>,
    /// True if negative elements of C become zero at the end.
    pub relu: bool,
    /// Products of the same shape that lie behind this one.
    pub planes: Planes,
    /// Memory that is read or written soon after: it is fetched into the cache meanwhile.
    pub ahead: [Ahead; 2],
}

/// Memory to fetch into the cache. A hint: it may name any address.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    pub(super) first: *const f32,
    pub(super) lines: usize,
}

/// Floats of a cache line.
pub(super) const LINE: usize = 16;

impl Ahead {
    pub const NONE: Self = Self { first: std::ptr::null(), lines: 0 };

    /// This memory, or as much of it as exists.
    pub fn of(memory: &[f32], first: usize, len: usize) -> Self {
        let memory = memory.get(first..).unwrap_or_default();
        Self { first: memory.as_ptr(), lines: memory.len().min(len).div_ceil(LINE) }
    }

    /// Part `part` of `count`.
    pub fn part(self, part: usize, count: usize) -> Self {
        let lines = self.lines.div_ceil(count.max(1));
        let skipped = self.lines.min(part * lines);
        Self { first: self.first.wrapping_add(skipped * LINE), lines: lines.min(self.lines - skipped) }
    }
}

/// How many products there are, and the offset from one to the next in A, in the packed floats of B, and in C.
#[derive(Clone, Copy)]
pub(crate) struct Planes {
    pub count: usize,
    pub a: usize,
    pub b: usize,
    pub c: usize,
}

impl Planes {
    pub const ONE: Self = Self { count: 1, a: 0, b: 0, c: 0 };
}

/// Three nested counts, and the offset in A and in C that a step of each adds. Row i of the product is the i-th combination,
/// the last count running fastest.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    pub counts: [usize; 3],
    pub a_strides: [usize; 3],
    pub c_strides: [usize; 3],
}

/// Three nested levels of the sum, the last running fastest.
#[derive(Clone, Copy)]
pub(crate) struct Depth {
    pub(super) levels: [Level; 3],
    pub(super) block: usize,
}

/// One level: how many steps it takes, and what each adds to the offset in A and to the row of B.
#[derive(Clone, Copy)]
pub(crate) struct Level {
    pub count: usize,
    pub a: usize,
    pub b: usize,
}

/// B, packed: `depth` rows of `columns` elements.
#[derive(Clone, Copy)]
pub(crate) struct Packed<'a> {
    pub floats: &'a [f32],
    pub depth: usize,
    pub columns: usize,
    /// The row that offset 0 means.
    pub first: usize,
}

/// The values of C before the sum.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a> {
    Zero,
    /// `bias[j]` in every row.
    Bias(&'a [f32]),
    /// C itself: the product is added to it.
    Sum,
}

impl Level {
    /// A level that takes one step.
    pub const ONCE: Self = Self { count: 1, a: 0, b: 0 };
}

impl Depth {
    /// A sum over three nested levels. About `block` elements are summed in one go: so much of a panel of B should stay in
    /// the first-level cache while all rows of A pass by. No bit depends on it: sums that wait in C are exact.
    pub fn new(levels: [Level; 3], block: usize) -> Self {
        // The innermost loop is the long one: levels that continue each other become one.
        let mut merged = [Level::ONCE; 3];
        let mut free = 3;
        for level in levels.into_iter().rev().filter(|level| level.count != 1) {
            let inner = merged.get(free).copied().unwrap_or(Level::ONCE);
            if free < 3 && (level.a, level.b) == (inner.count * inner.a, inner.count * inner.b) {
                merged[free].count *= level.count;
            } else {
                free -= 1;
                merged[free] = level;
            }
        }
        Self { levels: merged, block }
    }

    fn is_empty(&self) -> bool {
        self.levels.iter().any(|level| level.count == 0)
    }

    /// The largest offset in A, and the last row of B.
    fn last(&self) -> (usize, usize) {
        let last =
            |stride: fn(&Level) -> usize| self.levels.iter().map(|level| (level.count - 1) * stride(level)).sum();
        (last(|level| level.a), last(|level| level.b))
    }

    /// The parts that are summed one after the other. Where there is nothing to sum, one part of no elements.
    #[inline(always)]
    pub(super) fn blocks(&self) -> impl Iterator<Item = Block> {
        let [outer, middle, inner] = self.levels;
        let (runs, run_len) = if self.is_empty() { (1, 0) } else { (outer.count * middle.count, inner.count) };
        let runs_at_once = (self.block / run_len.max(1)).clamp(1, runs);
        let run_part = if runs_at_once > 1 { run_len } else { run_len.min(self.block.max(1)) };
        (0..runs).step_by(runs_at_once).flat_map(move |first_run| {
            (0..run_len.max(1)).step_by(run_part.max(1)).map(move |first| Block {
                first_run,
                first,
                runs: runs_at_once.min(runs - first_run),
                run_len: run_part.min(run_len - first),
                is_first: (first_run, first) == (0, 0),
                is_last: first_run + runs_at_once >= runs && first + run_part >= run_len,
            })
        })
    }
}

/// A part of the depth: some elements of each of some runs. A run is the innermost level.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub first_run: usize,
    pub runs: usize,
    pub first: usize,
    pub run_len: usize,
    pub is_first: bool,
    pub is_last: bool,
}

/// Floats that B takes when packed for any instruction set: columns are padded to whole vectors.
pub(crate) const fn packed_len(depth: usize, columns: usize) -> usize {
    depth * columns.next_multiple_of(16)
}

/// Packs B: `B[k][j]` is `source[offset(k) + j * column_stride]`.
///
/// Panel after panel, each `[depth][width]`, the last padded with zeros.
pub(crate) fn pack<'a>(
    isa: Isa,
    packed: &'a mut [f32],
    source: &[f32],
    (depth, columns): (usize, usize),
    column_stride: usize,
    offset: impl Fn(usize) -> usize,
) -> Packed<'a> {
    pack_panels(vector_len(isa), packed, source, (depth, columns), column_stride, offset);
    Packed { floats: packed, depth, columns, first: 0 }
}

fn pack_panels(
    vector_len: usize,
    packed: &mut [f32],
    source: &[f32],
    (depth, columns): (usize, usize),
    column_stride: usize,
    offset: impl Fn(usize) -> usize,
) {
    for panel in panels(vector_len, columns) {
        let target = packed[depth * panel.first..][..depth * panel.width].chunks_exact_mut(panel.width);
        for (k, row) in target.enumerate() {
            let source = &source[offset(k) + panel.first * column_stride..];
            if column_stride == 1 && panel.columns == panel.width {
                // Copies of a fixed size compile to vector moves; a call of memcpy for 64 bytes costs more than the copy.
                for (row, source) in row.chunks_exact_mut(4).zip(source.chunks_exact(4)) {
                    row.copy_from_slice(source);
                }
            } else {
                row[panel.columns..].fill(0.0);
                for (j, element) in row[..panel.columns].iter_mut().enumerate() {
                    *element = source[j * column_stride];
                }
            }
        }
    }
}

impl<'a> Packed<'a> {
    /// B where it lies, if that is how [`pack`] would lay it out: one panel without padding. B[k][j] is
    /// `source[k * row_stride + j]`.
    pub fn in_place(isa: Isa, source: &'a [f32], (depth, columns): (usize, usize), row_stride: usize) -> Option<Self> {
        let mut panels = panels(vector_len(isa), columns);
        let fills_a_panel = panels.next().is_some_and(|panel| panel.width == columns) && panels.next().is_none();
        (fills_a_panel && row_stride == columns).then_some(Self { floats: source, depth, columns, first: 0 })
    }

    /// `sums[j] +=` the sum of column j, in the order of [`add_rows`].
    pub fn add_columns(&self, isa: Isa, sums: &mut [f32]) {
        for panel in panels(vector_len(isa), self.columns) {
            let mut padded = [0.0; MAX_WIDTH];
            let rows = &self.floats[self.depth * panel.first..][..self.depth * panel.width];
            add_rows(isa, rows, &mut padded[..panel.width]);
            for (sum, value) in sums[panel.first..][..panel.columns].iter_mut().zip(padded) {
                *sum += value;
            }
        }
    }
}

impl Product<'_> {
    /// Asserts that every offset lies inside its buffer. False if C has no elements.
    pub(super) fn check(&self, vector_len: usize, c_len: usize) -> bool {
        let Self { rows, depth, b, planes, .. } = self;
        if rows.counts.contains(&0) || b.columns == 0 || planes.count == 0 {
            return false;
        }
        let [plane_a, plane_b, plane_c] = [planes.a, planes.b, planes.c].map(|stride| (planes.count - 1) * stride);
        assert!(plane_c + last_offset(&rows.counts, &rows.c_strides) + b.columns <= c_len, "C is too short");
        if let Start::Bias(bias) = self.start {
            assert_eq!(bias.len(), b.columns, "the bias has one value per column");
        }
        if !depth.is_empty() {
            let (last_a, last_b) = depth.last();
            assert!(plane_a + last_offset(&rows.counts, &rows.a_strides) + last_a < self.a.len(), "A is too short");
            assert!(b.first + last_b < b.depth, "B has too few rows");
            assert!(b.floats.len() >= plane_b + b.depth * b.columns.next_multiple_of(vector_len), "B is too short");
        }
        true
    }
}

/// Floats of a vector.
pub(super) fn vector_len(isa: Isa) -> usize {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => Avx512::LEN,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => Avx2::LEN,
        _ => Portable::LEN,
    }
}

/// The columns that a tile covers: two vectors, or one where that is enough for the last of them.
pub(super) struct Panel {
    pub first: usize,
    pub columns: usize,
    pub width: usize,
}

#[inline(always)]
pub(super) fn panels(vector_len: usize, columns: usize) -> impl Iterator<Item = Panel> {
    (0..columns).step_by(2 * vector_len).map(move |first| {
        let columns = (columns - first).min(2 * vector_len);
        Panel { first, columns, width: if columns > vector_len { 2 * vector_len } else { vector_len } }
    })
}

/// Calls `visit` with the first column of each panel of B, its columns, and these padded to whole vectors.
pub(crate) fn for_each_panel(isa: Isa, columns: usize, mut visit: impl FnMut(usize, usize, usize)) {
    panels(vector_len(isa), columns).for_each(|panel| visit(panel.first, panel.columns, panel.width));
}

/// The largest offset that counts and strides reach.
fn last_offset(counts: &[usize], strides: &[usize]) -> usize {
    counts.iter().zip(strides).map(|(count, stride)| (count - 1) * stride).sum()
}

#[cfg(test)]
mod tests {
    use super::super::fused_simd::Plain;
    use super::super::tile;
    use super::*;

    /// The kernel of AVX-512 has the widest tile. Here it runs with arrays, so that machines without AVX-512 test its shape.
    fn run_wide(product: &Product<'_>, c: &mut [f32]) {
        if product.check(16, c.len()) {
            // SAFETY: arrays need no instruction set; the offsets were checked above.
            unsafe { tile::run::<Plain<16>, 8>(product, c) }
        }
    }

    #[track_caller]
    fn check(counts: [usize; 3], depth_counts: [usize; 3], columns: usize, block: usize) {
        // Small integers: sums are exact in any order. Gaps in A after each element, run and row, in C after each row, and
        // a row of B that is not used after each two.
        let integers =
            |seed: usize, len: usize| -> Vec<f32> { (0..len).map(|i| ((i * 7 + seed) % 11) as f32 - 5.0).collect() };
        let [outer, middle, inner] = depth_counts;
        let levels = [
            Level { count: outer, a: middle * (inner * 2 + 1) + 3, b: 3 * middle * inner },
            Level { count: middle, a: inner * 2 + 1, b: inner },
            Level { count: inner, a: 2, b: 1 },
        ];
        let a_strides = [counts[1] * counts[2] * 5, counts[2] * 5, 5];
        let c_row = columns + 1;
        let c_strides = [counts[1] * counts[2] * c_row, counts[2] * c_row, c_row];
        let row_count: usize = counts.iter().product();
        let b_depth = 3 * outer * middle * inner;
        let a = integers(1, row_count * 5 + outer * levels[0].a);
        let (b, bias, before) = (integers(2, b_depth * columns), integers(3, columns), integers(4, row_count * c_row));

        type Run<'a> = &'a dyn Fn(&Product<'_>, &mut [f32]);
        let mut kernels: Vec<(usize, Run<'_>)> = vec![(16, &run_wide)];
        let isas: Vec<Isa> = Isa::ALL.into_iter().filter(|isa| isa.is_available()).collect();
        let runs_of: Vec<_> =
            isas.iter().map(|&isa| move |product: &Product<'_>, c: &mut [f32]| product.run(isa, c)).collect();
        kernels.extend(isas.iter().zip(&runs_of).map(|(&isa, run)| (vector_len(isa), run as Run<'_>)));

        for (start, from_bias, from_sum, relu) in [
            (Start::Zero, 0.0, 0.0, false),
            (Start::Bias(&bias), 1.0, 0.0, false),
            (Start::Sum, 0.0, 1.0, false),
            (Start::Bias(&bias), 1.0, 0.0, true),
        ] {
            let mut expected = before.clone();
            for row in 0..row_count {
                for j in 0..columns {
                    let products = (0..outer * middle * inner).map(|k| {
                        let steps = [k / inner / middle, k / inner % middle, k % inner];
                        let offset = |stride: fn(&Level) -> usize| -> usize {
                            steps.iter().zip(&levels).map(|(step, level)| step * stride(level)).sum()
                        };
                        a[row * 5 + offset(|level| level.a)] * b[offset(|level| level.b) * columns + j]
                    });
                    let element = &mut expected[row * c_row + j];
                    *element = products.sum::<f32>() + from_bias * bias[j] + from_sum * *element;
                    if relu {
                        *element = element.max(0.0);
                    }
                }
            }
            for (vector_len, run) in &kernels {
                let mut packed = vec![f32::NAN; packed_len(b_depth, columns)];
                pack_panels(*vector_len, &mut packed, &b, (b_depth, columns), 1, |k| k * columns);
                let rows = Rows { counts, a_strides, c_strides };
                let (depth, b) =
                    (Depth::new(levels, block), Packed { floats: &packed, depth: b_depth, columns, first: 0 });
                let mut c = before.clone();
                run(
                    &Product { rows, depth, a: &a, b, start, relu, planes: Planes::ONE, ahead: [Ahead::NONE; 2] },
                    &mut c,
                );
                assert_eq!(
                    c, expected,
                    "{counts:?} {depth_counts:?} {columns} columns, block {block}, vectors of {vector_len}"
                );
            }
        }
    }

    #[test]
    fn agrees_with_the_definition_at_every_edge() {
        // Every height of a tile, and rows that take several.
        let single = [[1, 1, 1], [1, 1, 2], [1, 3, 1], [2, 1, 2], [1, 1, 5], [1, 1, 6], [1, 7, 1], [1, 2, 4]];
        let several = [[3, 3, 1], [2, 3, 4], [5, 1, 3], [1, 0, 3]];
        for counts in single.into_iter().chain(several) {
            for columns in [1, 3, 4, 5, 8, 9, 16, 17, 31, 32, 33, 64, 70] {
                check(counts, [1, 3, 4], columns, 100);
            }
        }
    }

    #[test]
    fn blocks_of_depth_change_nothing() {
        for block in [0, 1, 2, 3, 5, 8, 100] {
            for depth in [[1, 1, 1], [1, 3, 4], [1, 4, 3], [1, 1, 12], [7, 1, 1], [2, 3, 2], [0, 4, 1], [4, 0, 1]] {
                check([1, 2, 5], depth, 18, block);
            }
        }
    }

    #[test]
    fn what_is_ahead_is_cut_into_lines() {
        let memory = [0.0; 100];
        let lines = |first, len| Ahead::of(&memory, first, len).lines;
        assert_eq!([lines(0, 100), lines(0, 32), lines(90, 100), lines(100, 1), lines(200, 1)], [7, 2, 1, 0, 0]);
        let parts = [0, 1, 2, 3].map(|part| Ahead::of(&memory, 0, 100).part(part, 3).lines);
        assert_eq!(parts, [3, 3, 1, 0]);
        assert_eq!(Ahead::of(&memory, 0, 100).part(1, 3).first, memory[48..].as_ptr());
    }

    #[test]
    fn planes_are_products_of_their_own() {
        let integers = |len: usize| -> Vec<f32> { (0..len).map(|i| ((i * 7) % 11) as f32 - 5.0).collect() };
        let (rows, depth, columns) = (13, 3, 20);
        let rows_at = Rows { counts: [1, 1, rows], a_strides: [0, 0, depth], c_strides: [0, 0, columns] };
        let (a, source) = (integers(2 * rows * depth), integers(2 * depth * columns));
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            let plane = packed_len(depth, columns);
            let mut b = vec![f32::NAN; 2 * plane];
            for (b, source) in b.chunks_exact_mut(plane).zip(source.chunks_exact(depth * columns)) {
                pack(isa, b, source, (depth, columns), 1, |k| k * columns);
            }
            let product = |first: usize, planes: Planes| Product {
                rows: rows_at,
                depth: Depth::new([Level::ONCE, Level::ONCE, Level { count: depth, a: 1, b: 1 }], depth),
                a: &a[first * rows * depth..],
                b: Packed { floats: &b[first * plane..], depth, columns, first: 0 },
                start: Start::Zero,
                relu: false,
                planes,
                ahead: [Ahead::of(&a, 0, a.len()), Ahead::of(&source, 9, source.len())],
            };
            let (mut together, mut apart) = (vec![0.0; 2 * rows * columns], vec![0.0; 2 * rows * columns]);
            product(0, Planes { count: 2, a: rows * depth, b: plane, c: rows * columns }).run(isa, &mut together);
            for (i, c) in apart.chunks_exact_mut(rows * columns).enumerate() {
                product(i, Planes::ONE).run(isa, c);
            }
            assert_eq!(together, apart, "{isa:?}");
        }
    }

    #[test]
    fn levels_that_continue_each_other_become_one() {
        let level = |count, a, b| Level { count, a, b };
        let counts = |levels| Depth::new(levels, 1).levels.map(|level| level.count);
        assert_eq!(counts([level(2, 12, 12), level(3, 4, 4), level(4, 1, 1)]), [1, 1, 24]);
        assert_eq!(counts([level(2, 13, 12), level(3, 4, 4), level(4, 1, 1)]), [1, 2, 12]);
        assert_eq!(counts([level(2, 12, 12), level(3, 4, 5), level(4, 1, 1)]), [2, 3, 4]);
        assert_eq!(counts([level(5, 7, 9), Level::ONCE, Level::ONCE]), [1, 1, 5]);
        assert_eq!(counts([Level::ONCE; 3]), [1, 1, 1]);
    }

    #[test]
    fn columns_are_added_up() {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            for columns in [1, 4, 7, 16, 40] {
                let mut memory = vec![f32::NAN; packed_len(3, columns)];
                let source: Vec<f32> = (0..3 * columns).map(|i| i as f32).collect();
                let mut sums = vec![0.5; columns];
                pack(isa, &mut memory, &source, (3, columns), 1, |k| k * columns).add_columns(isa, &mut sums);
                let expected: Vec<f32> = (0..columns).map(|j| (3 * (columns + j)) as f32 + 0.5).collect();
                assert_eq!(sums, expected, "{isa:?}");
            }
        }
    }

    #[track_caller]
    fn run(a_len: usize, b_depth: usize, c_len: usize) {
        let (a, b) = (vec![0.0; a_len], [0.0; 64]);
        let rows = Rows { counts: [1, 1, 3], a_strides: [0, 0, 4], c_strides: [0, 0, 2] };
        let depth = Depth::new([Level::ONCE, Level::ONCE, Level { count: 4, a: 1, b: 1 }], 4);
        let b = Packed { floats: &b, depth: b_depth, columns: 2, first: 0 };
        let product = Product {
            rows,
            depth,
            a: &a,
            b,
            start: Start::Zero,
            relu: false,
            planes: Planes::ONE,
            ahead: [Ahead::NONE; 2],
        };
        product.run(Isa::Portable, &mut vec![0.0; c_len]);
    }

    #[test]
    fn offsets_inside_run() {
        run(12, 4, 6);
    }

    #[test]
    #[should_panic(expected = "A is too short")]
    fn offsets_outside_a_panic() {
        run(11, 4, 6);
    }

    #[test]
    #[should_panic(expected = "B has too few rows")]
    fn rows_outside_b_panic() {
        run(12, 3, 6);
    }

    #[test]
    #[should_panic(expected = "B is too short")]
    fn a_packed_b_of_another_size_panics() {
        run(12, 17, 6);
    }

    #[test]
    #[should_panic(expected = "C is too short")]
    fn offsets_outside_c_panic() {
        run(12, 4, 5);
    }
}
