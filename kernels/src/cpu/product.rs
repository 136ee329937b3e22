//! The matrix product that convolution and the fully connected layer are written in.
//!
//! `C[i][j] = start + sum over k of A[i][k] B[k][j]`, where A is never laid out as a matrix: row i and depth k are offsets
//! into a buffer, each with strides of its own. In padded NHWC memory a row of the kernel is contiguous, so a convolution
//! is this product as it stands, and so are both its gradients.
//!
//! The kernel is the usual one (Goto and van de Geijn 2008): a tile of C, `M` rows by two vectors, stays in registers; A is
//! broadcast and B, repacked into panels as wide as the tile, streams through the first-level cache. 6 rows fill 16 registers
//! (12 sums, 2 of B, 1 of A); two multiply-adds a cycle, each of 4 cycles, need at least 8 sums in flight.

#![allow(unsafe_code)]

use super::Isa;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Portable, Simd};

/// One product `C = start + A B`, or `C += A B`.
pub(crate) struct Product<'a> {
    /// Where the rows of A begin, and where the rows of C.
    pub rows: Rows,
    /// Where the elements of a row of A are.
    pub depth: Depth,
    /// The buffer behind A.
    pub a: &'a [f32],
    /// B as [`pack`] wrote it.
    pub b: &'a [f32],
    /// Columns of B and C.
    pub columns: usize,
    /// What C holds before the sum.
    pub start: Start<'a>,
}

/// Three nested counts, and the offset in A and in C that a step of each adds. Row i of the product is the i-th combination,
/// the last count running fastest.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    pub counts: [usize; 3],
    pub a_strides: [usize; 3],
    pub c_strides: [usize; 3],
}

/// Two nested counts, `runs` of `run_len` elements each, and the offset in A that a step of each adds.
#[derive(Clone, Copy)]
pub(crate) struct Depth {
    pub runs: usize,
    pub run_len: usize,
    pub run_stride: usize,
    pub step: usize,
    /// Depth that is summed in one go. So much of a panel of B should stay in the first-level cache while all rows of A
    /// pass by. No bit depends on it: sums that wait in C are exact.
    pub block: usize,
}

/// What C holds before the sum.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a> {
    Zero,
    /// `bias[j]` in every row.
    Bias(&'a [f32]),
    /// C itself: the product is added to it.
    Sum,
}

/// Floats that B takes when packed for any instruction set: columns are padded to whole vectors.
pub(crate) const fn packed_len(depth: usize, columns: usize) -> usize {
    depth * columns.next_multiple_of(16)
}

/// Packs B: `B[k][j]` is `source[offset(k) + j * column_stride]`.
///
/// Panel after panel, each `[depth][width]`, the last padded with zeros.
pub(crate) fn pack(
    isa: Isa,
    packed: &mut [f32],
    source: &[f32],
    (depth, columns): (usize, usize),
    column_stride: usize,
    offset: impl Fn(usize) -> usize,
) {
    pack_panels(lanes(isa), packed, source, (depth, columns), column_stride, offset);
}

fn pack_panels(
    lanes: usize,
    packed: &mut [f32],
    source: &[f32],
    (depth, columns): (usize, usize),
    column_stride: usize,
    offset: impl Fn(usize) -> usize,
) {
    for panel in panels(lanes, columns) {
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

impl Product<'_> {
    /// Computes the product into `c`.
    ///
    /// # Panics
    /// If an offset lies outside its buffer.
    pub fn run(&self, isa: Isa, c: &mut [f32]) {
        if !self.check(lanes(isa), c.len()) {
            return;
        }
        // SAFETY: a `Cpu` holds only instruction sets that the machine has; the offsets were checked above.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => run_avx512(self, c),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => run_avx2(self, c),
                _ => run::<Portable, 6>(self, c),
            }
        }
    }

    /// Asserts that every offset lies inside its buffer. False if C has no elements.
    fn check(&self, lanes: usize, c_len: usize) -> bool {
        let Self { rows, depth, columns, .. } = self;
        if rows.counts.contains(&0) || *columns == 0 {
            return false;
        }
        assert!(self.b.len() >= depth.runs * depth.run_len * columns.next_multiple_of(lanes), "B is too short");
        assert!(last_offset(&rows.counts, &rows.c_strides) + columns <= c_len, "C is too short");
        if let Start::Bias(bias) = self.start {
            assert_eq!(bias.len(), *columns, "the bias has one value per column");
        }
        if depth.runs > 0 && depth.run_len > 0 {
            let last = last_offset(&rows.counts, &rows.a_strides)
                + last_offset(&[depth.runs, depth.run_len], &[depth.run_stride, depth.step]);
            assert!(last < self.a.len(), "A is too short");
        }
        true
    }
}

fn lanes(isa: Isa) -> usize {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => Avx512::LANES,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => Avx2::LANES,
        _ => Portable::LANES,
    }
}

/// The columns that a tile covers: two vectors, or one where that is enough for the last of them.
struct Panel {
    first: usize,
    columns: usize,
    width: usize,
}

#[inline(always)]
fn panels(lanes: usize, columns: usize) -> impl Iterator<Item = Panel> {
    (0..columns).step_by(2 * lanes).map(move |first| {
        let columns = (columns - first).min(2 * lanes);
        Panel { first, columns, width: if columns > lanes { 2 * lanes } else { lanes } }
    })
}

/// The largest offset that counts and strides reach.
fn last_offset(counts: &[usize], strides: &[usize]) -> usize {
    counts.iter().zip(strides).map(|(count, stride)| (count - 1) * stride).sum()
}

// AVX-512 has 32 registers: 8 rows x 2 vectors need 16 sums, 2 of B, and broadcast A within the multiply-add.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
fn run_avx512(product: &Product<'_>, c: &mut [f32]) {
    // SAFETY: compiled with the features of `Avx512`; `Product::run` checked the offsets.
    unsafe { run::<Avx512, 8>(product, c) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2(product: &Product<'_>, c: &mut [f32]) {
    // SAFETY: compiled with the features of `Avx2`; `Product::run` checked the offsets.
    unsafe { run::<Avx2, 6>(product, c) }
}

/// Blocks of depth, then panels of B, then tiles of `M` rows.
#[inline(always)]
unsafe fn run<S: Simd, const M: usize>(product: &Product<'_>, c: &mut [f32]) {
    let Depth { runs, run_len, block, .. } = product.depth;
    if runs * run_len == 0 {
        // Nothing to sum: one block of no depth writes the start.
        // SAFETY: the caller's.
        return unsafe { run_block::<S, M>(product, Block::default(), c) };
    }
    let runs_at_once = (block / run_len).clamp(1, runs);
    let run_part = if runs_at_once > 1 { run_len } else { run_len.min(block.max(1)) };
    for first_run in (0..runs).step_by(runs_at_once) {
        for first in (0..run_len).step_by(run_part) {
            let block = Block {
                first_run,
                first,
                runs: runs_at_once.min(runs - first_run),
                run_len: run_part.min(run_len - first),
            };
            // SAFETY: the caller's; the block is part of the depth.
            unsafe { run_block::<S, M>(product, block, c) };
        }
    }
}

/// A part of the depth: some elements of each of some runs.
#[derive(Clone, Copy, Default)]
struct Block {
    first_run: usize,
    runs: usize,
    first: usize,
    run_len: usize,
}

#[inline(always)]
unsafe fn run_block<S: Simd, const M: usize>(product: &Product<'_>, block: Block, c: &mut [f32]) {
    for panel in panels(S::LANES, product.columns) {
        // SAFETY: the caller's.
        unsafe {
            if panel.width == S::LANES {
                run_panel::<S, M, 1>(product, block, panel, c);
            } else {
                run_panel::<S, M, 2>(product, block, panel, c);
            }
        }
    }
}

/// All rows of one panel.
#[inline(always)]
unsafe fn run_panel<S: Simd, const M: usize, const N: usize>(
    product: &Product<'_>,
    block: Block,
    panel: Panel,
    c: &mut [f32],
) {
    let Depth { runs, run_len, run_stride, step, .. } = product.depth;
    // Depth before this block. A block of part of a run holds one run, so its elements lie together in B.
    let depth_before = block.first_run * run_len + block.first;
    let b = product.b[runs * run_len * panel.first + depth_before * panel.width..].as_ptr();
    let a = product.a.as_ptr().wrapping_add(block.first_run * run_stride + block.first * step);
    let c = c[panel.first..].as_mut_ptr();

    // A tile at the edge of C is computed whole, in this buffer.
    let mut edge = [[0.0_f32; 32]; 8];
    let mut bias = [0.0_f32; 32];
    let start = match product.start {
        _ if depth_before > 0 => Start::Sum,
        Start::Bias(values) => {
            bias[..panel.columns].copy_from_slice(&values[panel.first..][..panel.columns]);
            Start::Bias(&bias)
        }
        start => start,
    };

    let row_count: usize = product.rows.counts.iter().product();
    let mut position = Position::default();
    for first_row in (0..row_count).step_by(M) {
        let rows = (row_count - first_row).min(M);
        let (mut a_rows, mut c_rows) = ([a; M], [c; M]);
        for i in 0..M {
            a_rows[i] = a.wrapping_add(position.a);
            c_rows[i] = c.wrapping_add(position.c);
            // Rows past the end repeat the last: what they give stays in the edge buffer.
            if i + 1 < rows || rows == M {
                position.advance(&product.rows);
            }
        }
        let whole = rows == M && panel.columns == panel.width;
        let mut tile_rows = c_rows;
        if !whole {
            for ((tile_row, edge), &c_row) in tile_rows.iter_mut().zip(&mut edge).zip(&c_rows[..rows]) {
                if matches!(start, Start::Sum) {
                    // SAFETY: `Product::run` checked that row and columns lie within C.
                    edge[..panel.columns].copy_from_slice(unsafe { std::slice::from_raw_parts(c_row, panel.columns) });
                }
                *tile_row = edge.as_mut_ptr();
            }
            // Rows past the end repeat the last one here too.
            let last = tile_rows[rows - 1];
            tile_rows[rows..].fill(last);
        }

        // SAFETY: `Product::run` checked the offsets in A, the length of B and the whole rows of C; rows at the edge are in
        // a buffer that is as wide as the widest panel.
        unsafe {
            let mut sums = [[S::splat(0.0); N]; M];
            match start {
                Start::Zero => {}
                Start::Bias(bias) => sums = [load_row::<S, N>(bias.as_ptr()); M],
                Start::Sum => {
                    for i in 0..M {
                        sums[i] = load_row::<S, N>(tile_rows[i]);
                    }
                }
            }
            let sums = tile::<S, M, N>(sums, a_rows, block, run_stride, step, b);
            for i in 0..M {
                for (n, sum) in sums[i].iter().enumerate() {
                    S::store(tile_rows[i].add(n * S::LANES), *sum);
                }
            }
        }

        if !whole {
            for (edge, &c_row) in edge.iter().zip(&c_rows[..rows]) {
                // SAFETY: `Product::run` checked that row and columns lie within C.
                unsafe { std::slice::from_raw_parts_mut(c_row, panel.columns) }.copy_from_slice(&edge[..panel.columns]);
            }
        }
    }
}

#[inline(always)]
unsafe fn load_row<S: Simd, const N: usize>(from: *const f32) -> [S::Vector; N] {
    // SAFETY: the caller's pointer is valid for N vectors.
    unsafe {
        let mut row = [S::splat(0.0); N];
        for (n, vector) in row.iter_mut().enumerate() {
            *vector = S::load(from.add(n * S::LANES));
        }
        row
    }
}

/// The inner loop: `sums[i][..] += a[i][k] * b[k][..]` for all k of the block.
#[inline(always)]
unsafe fn tile<S: Simd, const M: usize, const N: usize>(
    mut sums: [[S::Vector; N]; M],
    a: [*const f32; M],
    block: Block,
    run_stride: usize,
    step: usize,
    mut b: *const f32,
) -> [[S::Vector; N]; M] {
    for run in 0..block.runs {
        let mut offset = run * run_stride;
        for _ in 0..block.run_len {
            // SAFETY: the caller's pointers are valid at every offset of the block.
            unsafe {
                let row = load_row::<S, N>(b);
                for i in 0..M {
                    let element = S::splat(*a[i].add(offset));
                    for n in 0..N {
                        sums[i][n] = S::mul_add(element, row[n], sums[i][n]);
                    }
                }
                b = b.add(N * S::LANES);
            }
            offset += step;
        }
    }
    sums
}

/// A row of the product: its place in the three counts, and where it begins in A and C.
#[derive(Clone, Copy, Default)]
struct Position {
    index: [usize; 3],
    a: usize,
    c: usize,
}

impl Position {
    /// Moves to the next row. After the last, wraps to an offset that is not used.
    #[inline(always)]
    fn advance(&mut self, rows: &Rows) {
        for level in (0..3).rev() {
            self.index[level] += 1;
            self.a = self.a.wrapping_add(rows.a_strides[level]);
            self.c = self.c.wrapping_add(rows.c_strides[level]);
            if self.index[level] < rows.counts[level] {
                return;
            }
            self.index[level] = 0;
            self.a = self.a.wrapping_sub(rows.counts[level] * rows.a_strides[level]);
            self.c = self.c.wrapping_sub(rows.counts[level] * rows.c_strides[level]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::simd::Plain;
    use super::*;

    /// The kernel of AVX-512 has the widest tile. Here it runs with arrays, so that machines without AVX-512 test its shape.
    fn run_wide(product: &Product<'_>, c: &mut [f32]) {
        if product.check(16, c.len()) {
            // SAFETY: arrays need no instruction set; the offsets were checked above.
            unsafe { run::<Plain<16>, 8>(product, c) }
        }
    }

    #[track_caller]
    fn check(counts: [usize; 3], (runs, run_len): (usize, usize), columns: usize, block: usize) {
        // Small integers: sums are exact in any order. Gaps in A and C of 1 element after each row and of 2 after each run.
        let integers =
            |seed: usize, len: usize| -> Vec<f32> { (0..len).map(|i| ((i * 7 + seed) % 11) as f32 - 5.0).collect() };
        let step = 2;
        let run_stride = run_len * step + 2;
        let a_strides = [counts[1] * counts[2] * 5, counts[2] * 5, 5];
        let c_row = columns + 1;
        let c_strides = [counts[1] * counts[2] * c_row, counts[2] * c_row, c_row];
        let row_count: usize = counts.iter().product();
        let a = integers(1, row_count * 5 + runs * run_stride);
        let (b, bias, before) =
            (integers(2, runs * run_len * columns), integers(3, columns), integers(4, row_count * c_row));

        type Run<'a> = &'a dyn Fn(&Product<'_>, &mut [f32]);
        let mut kernels: Vec<(usize, Run<'_>)> = vec![(16, &run_wide)];
        let isas: Vec<Isa> = Isa::ALL.into_iter().filter(|isa| isa.is_available()).collect();
        let runs_of: Vec<_> =
            isas.iter().map(|&isa| move |product: &Product<'_>, c: &mut [f32]| product.run(isa, c)).collect();
        kernels.extend(isas.iter().zip(&runs_of).map(|(&isa, run)| (lanes(isa), run as Run<'_>)));

        for (start, from_bias, from_sum) in
            [(Start::Zero, 0.0, 0.0), (Start::Bias(&bias), 1.0, 0.0), (Start::Sum, 0.0, 1.0)]
        {
            let mut expected = before.clone();
            for row in 0..row_count {
                for j in 0..columns {
                    let products = (0..runs * run_len)
                        .map(|k| a[row * 5 + k / run_len * run_stride + k % run_len * step] * b[k * columns + j]);
                    let element = &mut expected[row * c_row + j];
                    *element = products.sum::<f32>() + from_bias * bias[j] + from_sum * *element;
                }
            }
            for (lanes, run) in &kernels {
                let mut packed = vec![f32::NAN; packed_len(runs * run_len, columns)];
                pack_panels(*lanes, &mut packed, &b, (runs * run_len, columns), 1, |k| k * columns);
                let rows = Rows { counts, a_strides, c_strides };
                let depth = Depth { runs, run_len, run_stride, step, block };
                let mut c = before.clone();
                run(&Product { rows, depth, a: &a, b: &packed, columns, start }, &mut c);
                assert_eq!(c, expected, "{counts:?} {runs}x{run_len} {columns} columns, block {block}, {lanes} lanes");
            }
        }
    }

    #[test]
    fn agrees_with_the_definition_at_every_edge() {
        for counts in [[1, 1, 1], [1, 1, 5], [1, 1, 6], [2, 3, 4], [1, 8, 2], [5, 1, 3], [1, 0, 3]] {
            for columns in [1, 3, 4, 5, 8, 9, 16, 17, 31, 32, 33, 64, 70] {
                check(counts, (3, 4), columns, 100);
            }
        }
    }

    #[test]
    fn blocks_of_depth_change_nothing() {
        for block in [0, 1, 2, 3, 5, 8, 100] {
            for depth in [(1, 1), (3, 4), (4, 3), (1, 12), (7, 1), (0, 4), (4, 0)] {
                check([1, 2, 5], depth, 18, block);
            }
        }
    }

    #[test]
    #[should_panic(expected = "A is too short")]
    fn offsets_outside_a_panic() {
        let (a, b) = ([0.0; 11], [0.0; 64]);
        let rows = Rows { counts: [1, 1, 3], a_strides: [0, 0, 4], c_strides: [0, 0, 1] };
        let depth = Depth { runs: 1, run_len: 4, run_stride: 0, step: 1, block: 4 };
        Product { rows, depth, a: &a, b: &b, columns: 1, start: Start::Zero }.run(Isa::Portable, &mut [0.0; 3]);
    }

    #[test]
    #[should_panic(expected = "C is too short")]
    fn offsets_outside_c_panic() {
        let (a, b) = ([0.0; 12], [0.0; 64]);
        let rows = Rows { counts: [1, 1, 3], a_strides: [0, 0, 4], c_strides: [0, 0, 2] };
        let depth = Depth { runs: 1, run_len: 4, run_stride: 0, step: 1, block: 4 };
        Product { rows, depth, a: &a, b: &b, columns: 2, start: Start::Zero }.run(Isa::Portable, &mut [0.0; 5]);
    }
}
