//! The kernel of the matrix product.
//!
//! It is the usual one (Goto and van de Geijn 2008): a tile of C, up to `M` rows by two vectors, stays in registers; A is
//! broadcast and B, repacked into panels as wide as the tile, streams through the first-level cache. 6 rows fill 16 registers
//! (12 sums, 2 of B, 1 of A); two multiply-adds a cycle, each of 4 cycles, need at least 8 sums in flight. So rows are cut
//! into tiles of nearly equal height: 13 rows are 5 + 4 + 4, not 6 + 6 + 1.

#![allow(unsafe_code)]

use super::Isa;
use super::fused_simd::FusedSimd;
use super::fused_simd::Portable;
#[cfg(target_arch = "x86_64")]
use super::fused_simd::{Avx2, Avx512};
use super::product::{Ahead, Block, LINE, MAX_WIDTH, Panel, Product, Rows, Start, panels, vector_len};

/// Rows of the highest tile.
const MAX_HEIGHT: usize = 8;

impl Product<'_> {
    /// Computes the product into `c`.
    ///
    /// # Panics
    /// If an offset lies outside its buffer.
    pub fn run(&self, isa: Isa, c: &mut [f32]) {
        if !self.check(vector_len(isa), c.len()) {
            return;
        }
        // SAFETY: a `Cpu` holds only instruction sets that the machine has; the offsets were checked above.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => run_avx512(self, c),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => run_avx2(self, c),
                _ => run_portable(self, c),
            }
        }
    }
}

// AVX-512 has 32 registers: 8 rows x 2 vectors need 16 sums, 2 of B, and broadcast A within the multiply-add.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn run_avx512(product: &Product<'_>, c: &mut [f32]) {
    // SAFETY: compiled with the features of `Avx512`; the rest is the caller's.
    unsafe { run::<Avx512, 8>(product, c) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2(product: &Product<'_>, c: &mut [f32]) {
    // SAFETY: compiled with the features of `Avx2`; the rest is the caller's.
    unsafe { run::<Avx2, 6>(product, c) }
}

/// [`run`] with what every target has.
unsafe fn run_portable(product: &Product<'_>, c: &mut [f32]) {
    // SAFETY: the caller's.
    unsafe { run::<Portable, 6>(product, c) }
}

/// Blocks of depth, then panels of B, then tiles of at most `M` rows.
///
/// # Safety
/// The machine has the instructions of `S`, and `Product::check` has checked the offsets and given true.
#[inline(always)]
pub(super) unsafe fn run<S: FusedSimd, const M: usize>(product: &Product<'_>, c: &mut [f32]) {
    const { assert!(M <= MAX_HEIGHT && 2 * S::LEN <= MAX_WIDTH) };
    let row_count: usize = product.rows.counts.iter().product();
    let panel_count = product.b.columns.div_ceil(2 * S::LEN);
    let mut fetch = Fetch::new(product.ahead, row_count.div_ceil(M) * panel_count * product.planes.count);
    for block in product.depth.blocks() {
        for panel in panels(S::LEN, product.b.columns) {
            // SAFETY: the caller's; the block is part of the depth.
            unsafe {
                if panel.width == S::LEN {
                    run_panel::<S, M, 1>(product, block, panel, c, &mut fetch);
                } else {
                    run_panel::<S, M, 2>(product, block, panel, c, &mut fetch);
                }
            }
        }
    }
}

/// All rows of one panel, in all planes.
#[inline(always)]
unsafe fn run_panel<S: FusedSimd, const M: usize, const N: usize>(
    product: &Product<'_>,
    block: Block,
    panel: Panel,
    c: &mut [f32],
    fetch: &mut Fetch,
) {
    let first_b = product.b.floats[product.b.depth * panel.first..].as_ptr();
    let (first_a, first_c) = (product.a.as_ptr(), c[panel.first..].as_mut_ptr());
    let walk = Walk::new(product, block, panel.width);
    let mut bias = [0.0; MAX_WIDTH];
    // A tile that is wider than C is computed here.
    let mut edge = [[0.0; MAX_WIDTH]; MAX_HEIGHT];
    let start = match product.start {
        _ if !block.is_first => Start::Sum,
        Start::Bias(values) => {
            bias[..panel.columns].copy_from_slice(&values[panel.first..][..panel.columns]);
            Start::Bias(&bias)
        }
        start => start,
    };
    let context = Context { walk, start, relu: product.relu && block.is_last, columns: panel.columns };

    let rows = &product.rows;
    let row_count: usize = rows.counts.iter().product();
    let tile_count = row_count.div_ceil(M);
    let (height, higher_tiles) = (row_count / tile_count, row_count % tile_count);
    for plane in 0..product.planes.count {
        let a = first_a.wrapping_add(plane * product.planes.a);
        let b = first_b.wrapping_add(plane * product.planes.b);
        let c = first_c.wrapping_add(plane * product.planes.c);
        let mut position = Position::default();
        for tile in 0..tile_count {
            fetch.next();
            let height = height + usize::from(tile < higher_tiles);
            let (mut a_rows, mut c_rows) = ([a; MAX_HEIGHT], [c; MAX_HEIGHT]);
            if position.index[2] + height < rows.counts[2] {
                for i in 0..M {
                    a_rows[i] = a.wrapping_add(position.a + i * rows.a_strides[2]);
                    c_rows[i] = c.wrapping_add(position.c + i * rows.c_strides[2]);
                }
                position.index[2] += height;
                position.a += height * rows.a_strides[2];
                position.c += height * rows.c_strides[2];
            } else {
                for i in 0..height {
                    a_rows[i] = a.wrapping_add(position.a);
                    c_rows[i] = c.wrapping_add(position.c);
                    position.advance(rows);
                }
            }
            // SAFETY: the caller's; the first `height` rows are rows of the product.
            unsafe {
                match height {
                    1 => context.run_tile::<S, 1, N>(&a_rows, &c_rows, b, &mut edge),
                    2 => context.run_tile::<S, 2, N>(&a_rows, &c_rows, b, &mut edge),
                    3 => context.run_tile::<S, 3, N>(&a_rows, &c_rows, b, &mut edge),
                    4 => context.run_tile::<S, 4, N>(&a_rows, &c_rows, b, &mut edge),
                    5 => context.run_tile::<S, 5, N>(&a_rows, &c_rows, b, &mut edge),
                    6 => context.run_tile::<S, 6, N>(&a_rows, &c_rows, b, &mut edge),
                    7 if M > 6 => context.run_tile::<S, 7, N>(&a_rows, &c_rows, b, &mut edge),
                    8 if M > 6 => context.run_tile::<S, 8, N>(&a_rows, &c_rows, b, &mut edge),
                    _ => unreachable!("a tile has at most {M} rows"),
                }
            }
        }
    }
}

/// Constants of all tiles of a panel.
struct Context<'a> {
    walk: Walk,
    start: Start<'a>,
    relu: bool,
    columns: usize,
}

impl Context<'_> {
    /// One tile: its first `M` rows.
    #[inline(always)]
    unsafe fn run_tile<S: FusedSimd, const M: usize, const N: usize>(
        &self,
        a_rows: &[*const f32; MAX_HEIGHT],
        c_rows: &[*mut f32; MAX_HEIGHT],
        b: *const f32,
        edge: &mut [[f32; MAX_WIDTH]; MAX_HEIGHT],
    ) {
        let a: [*const f32; M] = std::array::from_fn(|i| a_rows[i]);
        let mut c: [*mut f32; M] = std::array::from_fn(|i| c_rows[i]);
        let is_edge = self.columns < N * S::LEN;
        if is_edge {
            for (c, edge) in c.iter_mut().zip(edge.iter_mut()) {
                if matches!(self.start, Start::Sum) {
                    // SAFETY: `Product::check` checked that row and columns lie within C.
                    edge[..self.columns].copy_from_slice(unsafe { std::slice::from_raw_parts(*c, self.columns) });
                }
                *c = edge.as_mut_ptr();
            }
        }

        // SAFETY: the caller's; rows at the edge are in a buffer that is as wide as the widest panel.
        unsafe {
            let mut sums = [[S::splat(0.0); N]; M];
            match self.start {
                Start::Zero => {}
                Start::Bias(bias) => sums = [load_row::<S, N>(bias.as_ptr()); M],
                Start::Sum => {
                    for i in 0..M {
                        sums[i] = load_row::<S, N>(c[i]);
                    }
                }
            }
            sums = self.walk.sum::<S, M, N>(sums, a, b);
            for i in 0..M {
                for (n, sum) in sums[i].into_iter().enumerate() {
                    S::store(c[i].add(n * S::LEN), if self.relu { S::relu(sum) } else { sum });
                }
            }
        }

        if is_edge {
            for (edge, &c) in edge.iter().zip(&c_rows[..M]) {
                // SAFETY: `Product::check` checked that row and columns lie within C.
                unsafe { std::slice::from_raw_parts_mut(c, self.columns) }.copy_from_slice(&edge[..self.columns]);
            }
        }
    }
}

#[inline(always)]
unsafe fn load_row<S: FusedSimd, const N: usize>(from: *const f32) -> [S::Vector; N] {
    // SAFETY: the caller's pointer is valid for N vectors.
    unsafe {
        let mut row = [S::splat(0.0); N];
        for (n, vector) in row.iter_mut().enumerate() {
            *vector = S::load(from.add(n * S::LEN));
        }
        row
    }
}

/// The way through a block of the depth: offsets from a row of A and from a panel of B.
struct Walk {
    runs: usize,
    run_len: usize,
    /// Of the first element.
    a: usize,
    b: usize,
    a_step: usize,
    b_step: usize,
    /// From run to run.
    a_run: usize,
    b_run: usize,
    /// Runs until the outermost level takes a step, and how often one comes after that.
    runs_to_turn: usize,
    runs_per_turn: usize,
    /// The step's offset beyond that of a run; wraps if it leads back.
    a_turn: usize,
    b_turn: usize,
}

impl Walk {
    #[inline(always)]
    fn new(product: &Product<'_>, block: Block, width: usize) -> Self {
        let [outer, middle, inner] = product.depth.levels;
        let runs_per_turn = middle.count.max(1);
        let (turn, run) = (block.first_run / runs_per_turn, block.first_run % runs_per_turn);
        Self {
            runs: block.runs,
            run_len: block.run_len,
            a: turn * outer.a + run * middle.a + block.first * inner.a,
            b: (product.b.first + turn * outer.b + run * middle.b + block.first * inner.b) * width,
            a_step: inner.a,
            b_step: inner.b * width,
            a_run: middle.a,
            b_run: middle.b * width,
            runs_to_turn: runs_per_turn - run,
            runs_per_turn,
            a_turn: outer.a.wrapping_sub(runs_per_turn * middle.a),
            b_turn: outer.b.wrapping_sub(runs_per_turn * middle.b).wrapping_mul(width),
        }
    }

    /// The inner loop: `sums[i][..] += a[i][k] * b[k][..]` for all k of the block.
    #[inline(always)]
    unsafe fn sum<S: FusedSimd, const M: usize, const N: usize>(
        &self,
        mut sums: [[S::Vector; N]; M],
        a: [*const f32; M],
        b: *const f32,
    ) -> [[S::Vector; N]; M] {
        let (mut run_a, mut run_b, mut runs_to_turn) = (self.a, self.b, self.runs_to_turn);
        for _ in 0..self.runs {
            let mut offset = run_a;
            let mut b = b.wrapping_add(run_b);
            for _ in 0..self.run_len {
                // SAFETY: the caller's pointers are valid at every offset of the block.
                unsafe {
                    let row = load_row::<S, N>(b);
                    for i in 0..M {
                        let element = S::splat(*a[i].add(offset));
                        for n in 0..N {
                            sums[i][n] = S::mul_add(element, row[n], sums[i][n]);
                        }
                    }
                }
                offset += self.a_step;
                b = b.wrapping_add(self.b_step);
            }
            run_a += self.a_run;
            run_b += self.b_run;
            runs_to_turn -= 1;
            if runs_to_turn == 0 {
                run_a = run_a.wrapping_add(self.a_turn);
                run_b = run_b.wrapping_add(self.b_turn);
                runs_to_turn = self.runs_per_turn;
            }
        }
        sums
    }
}

/// Fetches memory into the cache, a little with each tile, so that it never waits for room among the outstanding fetches.
struct Fetch {
    ahead: [Ahead; 2],
    lines_per_tile: [usize; 2],
}

impl Fetch {
    fn new(ahead: [Ahead; 2], tile_count: usize) -> Self {
        Self { ahead, lines_per_tile: ahead.map(|ahead| ahead.lines.div_ceil(tile_count.max(1))) }
    }

    #[inline(always)]
    fn next(&mut self) {
        for (ahead, lines_per_tile) in self.ahead.iter_mut().zip(self.lines_per_tile) {
            for _ in 0..lines_per_tile.min(ahead.lines) {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: a hint, which may name any address.
                unsafe {
                    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
                    _mm_prefetch::<_MM_HINT_T1>(ahead.first.cast());
                }
                ahead.first = ahead.first.wrapping_add(LINE);
                ahead.lines -= 1;
            }
        }
    }
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
