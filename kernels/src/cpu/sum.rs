//! Sums in a fixed order.

use super::{Cpu, Isa};

/// Floats that one task adds up; small enough for its temporaries to lie on the stack.
const BLOCK: usize = 512;

/// `sum[i] = the sum of partials[k * stride + i]` over the `count` partials, halves first: `(p0 + p1) + (p2 + p3)`.
///
/// # Panics
/// If `count` is 0 or a partial does not reach as far as `sum`.
pub(crate) fn sum_partials(cpu: &Cpu, partials: &[f32], stride: usize, count: usize, sum: &mut [f32]) {
    cpu.for_each_chunk_mut(sum, BLOCK, |i, sum| sum_block(&partials[i * BLOCK..], stride, count, sum));
}

/// `sums[j] += the sum over i of rows[i][j]`: four sums of every fourth row, added in order. The same on every instruction
/// set.
pub(crate) fn add_rows(isa: Isa, rows: &[f32], sums: &mut [f32]) {
    isa.vectorize(
        #[inline(always)]
        || {
            let row_len = sums.len();
            let (blocks, rest) = sums.as_chunks_mut::<16>();
            for (i, sums) in blocks.iter_mut().enumerate() {
                add_columns(rows, row_len, i * 16, sums);
            }
            for (j, sum) in rest.iter_mut().enumerate() {
                add_columns(rows, row_len, row_len / 16 * 16 + j, std::array::from_mut(sum));
            }
        },
    );
}

/// `N` columns of [`add_rows`]. One sum per column would wait for each addition to finish before the next.
#[inline(always)]
fn add_columns<const N: usize>(rows: &[f32], row_len: usize, first: usize, sums: &mut [f32; N]) {
    let mut partial = [[0.0; N]; 4];
    let mut add = |row: &[f32], k: usize| {
        for (sum, value) in partial[k].iter_mut().zip(&row[first..][..N]) {
            *sum += value;
        }
    };
    let groups = rows.chunks_exact(4 * row_len);
    let rest = groups.remainder();
    for group in groups {
        for k in 0..4 {
            add(&group[k * row_len..], k);
        }
    }
    for (k, row) in rest.chunks_exact(row_len).enumerate() {
        add(row, k);
    }
    for partial in partial {
        for (sum, value) in sums.iter_mut().zip(partial) {
            *sum += value;
        }
    }
}

fn sum_block(partials: &[f32], stride: usize, count: usize, sum: &mut [f32]) {
    if count == 1 {
        return sum.copy_from_slice(&partials[..sum.len()]);
    }
    let left = count.div_ceil(2);
    sum_block(partials, stride, left, sum);
    let mut right = [0.0; BLOCK];
    let right = &mut right[..sum.len()];
    sum_block(&partials[left * stride..], stride, count - left, right);
    for (sum, right) in sum.iter_mut().zip(right) {
        *sum += *right;
    }
}
