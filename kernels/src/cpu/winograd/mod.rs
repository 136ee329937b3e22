//! The transforms of Winograd's minimal filtering (Winograd 1980; Lavin and Gray 2016).
//!
//! `F(m, r)` gives m outputs of a correlation with r taps by t = m + r - 1 multiplications instead of m r: data d of length t
//! and taps g are polynomials, evaluated at t points, multiplied point by point, and interpolated:
//! `y = A^T [(G g) * (B^T d)]`. In two dimensions each matrix is applied to columns and to rows.

#![allow(unsafe_code)]

mod line;

use std::mem::MaybeUninit;
use std::ops::Range;

use super::Isa;
#[cfg(target_arch = "x86_64")]
use super::fused_simd::{Avx2, Avx512};
use super::fused_simd::{FusedSimd, Portable};
use super::product::vector_len;
pub(crate) use line::{EightPoints, Points, SixPoints};
use line::{MAX_TILE, data, outputs, taps};

/// The place of a tile in memory: element (row, column) of it begins at `first + row * row_stride + column * column_stride`.
/// Elements outside `rows` and `columns` are zero when read and are not written.
pub(crate) struct Patch {
    pub first: isize,
    pub rows: Range<usize>,
    pub columns: Range<usize>,
}

/// The strides of all tiles of a buffer.
#[derive(Clone, Copy)]
pub(crate) struct Strides {
    pub row: isize,
    pub column: isize,
}

/// Tiles by points: plane after plane, one of each point, `[tile][width]` in each, of which some channels are used.
#[derive(Clone, Copy)]
pub(crate) struct Planes {
    /// Offset from plane to plane.
    pub stride: usize,
    /// Offset from tile to tile.
    pub width: usize,
}

/// A transform to the points.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transform {
    Data,
    /// `G g G^T` of so many taps.
    Taps(usize),
}

/// The end of [`from_points`]: bias and ReLU, before a value is stored.
#[derive(Clone, Copy)]
pub(crate) struct Finish<'a> {
    pub bias: Option<&'a [f32]>,
    pub relu: bool,
}

/// Transforms tiles of `source` to the points. `channels` is a multiple of the vector's length; the first of them begins at each element of a
/// patch. `zeros` is as long.
///
/// # Panics
/// If a patch or a tile lies outside its buffer.
pub(crate) fn to_points<P: Points>(
    isa: Isa,
    transform: Transform,
    (source, strides, zeros): (&[f32], Strides, &[f32]),
    tiles: impl ExactSizeIterator<Item = Patch>,
    channels: usize,
    (target, planes): (&mut [f32], Planes),
) {
    assert!(channels.is_multiple_of(vector_len(isa)) && channels <= zeros.len() && channels <= planes.width);
    let last = (P::TILE * P::TILE - 1) * planes.stride + tiles.len().saturating_sub(1) * planes.width + channels;
    assert!(tiles.len() == 0 || last <= target.len(), "the planes are too short");
    let size = if let Transform::Taps(taps) = transform { taps } else { P::TILE };
    assert!(size <= P::TILE);
    for (i, patch) in tiles.enumerate() {
        let mut elements = [zeros.as_ptr(); MAX_TILE * MAX_TILE];
        if !patch.rows.is_empty() && !patch.columns.is_empty() {
            patch.check(strides, size, channels, source.len());
            for row in patch.rows {
                for column in patch.columns.clone() {
                    let offset = patch.first + row as isize * strides.row + column as isize * strides.column;
                    elements[column * size + row] = source.as_ptr().wrapping_offset(offset);
                }
            }
        }
        let tile = TileToPoints {
            transform,
            elements: &elements,
            points: P::TILE,
            channels,
            target: target[i * planes.width..].as_mut_ptr(),
            stride: planes.stride,
        };
        // SAFETY: a `Cpu` holds only instruction sets that the machine has; elements and target were checked above.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => to_points_avx512::<P>(&tile),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => to_points_avx2::<P>(&tile),
                _ => tile_to_points::<Portable, P>(&tile),
            }
        }
    }
}

/// Transforms tiles back, to `outputs` x `outputs` values each.
///
/// # Panics
/// If a patch or a tile lies outside its buffer.
pub(crate) fn from_points<P: Points>(
    isa: Isa,
    outputs: usize,
    (source, planes): (&[f32], Planes),
    tiles: impl ExactSizeIterator<Item = Patch>,
    channels: usize,
    (target, strides): (&mut [f32], Strides),
    finish: Finish<'_>,
) {
    assert!(channels.is_multiple_of(vector_len(isa)) && channels <= planes.width && outputs <= 5);
    assert!(finish.bias.is_none_or(|bias| bias.len() == channels), "the bias has one value per channel");
    let last = (P::TILE * P::TILE - 1) * planes.stride + tiles.len().saturating_sub(1) * planes.width + channels;
    assert!(tiles.len() == 0 || last <= source.len(), "the planes are too short");
    for (i, patch) in tiles.enumerate() {
        if patch.rows.is_empty() || patch.columns.is_empty() {
            continue;
        }
        patch.check(strides, outputs, channels, target.len());
        let tile = TileFromPoints {
            outputs,
            points: P::TILE,
            source: source[i * planes.width..].as_ptr(),
            stride: planes.stride,
            patch: &patch,
            channels,
            target: target.as_mut_ptr(),
            strides,
            finish,
        };
        // SAFETY: a `Cpu` holds only instruction sets that the machine has; source and patch were checked above.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => from_points_avx512::<P>(&tile),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => from_points_avx2::<P>(&tile),
                _ => tile_from_points::<Portable, P>(&tile),
            }
        }
    }
}

impl Patch {
    /// Asserts that the elements which are used lie inside a buffer of `len` floats.
    fn check(&self, strides: Strides, size: usize, channels: usize, len: usize) {
        assert!(self.rows.end <= size && self.columns.end <= size, "a patch is larger than its tile");
        let [top, bottom] = [self.rows.start, self.rows.end - 1].map(|row| row as isize * strides.row);
        let [left, right] = [self.columns.start, self.columns.end - 1].map(|column| column as isize * strides.column);
        let (first, last) =
            (self.first + top.min(bottom) + left.min(right), self.first + top.max(bottom) + left.max(right));
        assert!(first >= 0 && last as usize + channels <= len, "a patch lies outside its buffer");
    }
}

macro_rules! for_isa {
    ($simd:ty, $features:literal, $to:ident, $from:ident) => {
        /// [`tile_to_points`] with these instructions.
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $features)]
        unsafe fn $to<P: Points>(tile: &TileToPoints<'_>) {
            // SAFETY: compiled with the features; the rest is the caller's.
            unsafe { tile_to_points::<$simd, P>(tile) }
        }

        /// [`tile_from_points`] with these instructions.
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $features)]
        unsafe fn $from<P: Points>(tile: &TileFromPoints<'_>) {
            // SAFETY: compiled with the features; the rest is the caller's.
            unsafe { tile_from_points::<$simd, P>(tile) }
        }
    };
}

for_isa!(Avx512, "avx512f,avx2,fma", to_points_avx512, from_points_avx512);
for_isa!(Avx2, "avx2,fma", to_points_avx2, from_points_avx2);

struct TileToPoints<'a> {
    transform: Transform,
    /// Column after column, as many as the transform takes.
    elements: &'a [*const f32; MAX_TILE * MAX_TILE],
    /// Points of a side. A variable, so that the compiler leaves loops over lines as they are: unrolled, they need more
    /// registers than there are.
    points: usize,
    channels: usize,
    target: *mut f32,
    /// From plane to plane.
    stride: usize,
}

struct TileFromPoints<'a> {
    outputs: usize,
    points: usize,
    source: *const f32,
    /// From plane to plane.
    stride: usize,
    patch: &'a Patch,
    channels: usize,
    target: *mut f32,
    strides: Strides,
    finish: Finish<'a>,
}

/// # Safety
/// The machine has the instructions of `S`; `channels`, a multiple of the vector's length, floats are readable at the
/// elements that the transform takes, and writable at the target in each plane.
#[inline(always)]
unsafe fn tile_to_points<S: FusedSimd, P: Points>(tile: &TileToPoints<'_>) {
    // SAFETY: the caller's.
    unsafe {
        match tile.transform {
            Transform::Data => channels_to_points::<S, P, 0>(tile),
            Transform::Taps(3) => channels_to_points::<S, P, 3>(tile),
            Transform::Taps(4) => channels_to_points::<S, P, 4>(tile),
            Transform::Taps(5) => channels_to_points::<S, P, 5>(tile),
            Transform::Taps(taps) => unreachable!("no transform has {taps} taps"),
        }
    }
}

/// The lines of a tile between the two passes.
type Lines<S> = [MaybeUninit<<S as FusedSimd>::Vector>; MAX_TILE * MAX_TILE];

/// All channels. `TAPS` is 0 for data.
#[inline(always)]
unsafe fn channels_to_points<S: FusedSimd, P: Points, const TAPS: usize>(tile: &TileToPoints<'_>) {
    let &TileToPoints { elements, points, channels, target, stride, .. } = tile;
    let (size, columns) = if TAPS == 0 { (P::TILE, points) } else { (TAPS, TAPS) };
    let mut between: Lines<S> = [const { MaybeUninit::uninit() }; MAX_TILE * MAX_TILE];
    let between = between.as_mut_ptr().cast::<S::Vector>();
    // SAFETY: the caller's; the first pass writes what the second reads.
    unsafe {
        for channel in (0..channels).step_by(S::LEN) {
            let mut line = [S::splat(0.0); MAX_TILE];
            for column in 0..columns {
                let elements = &elements[column * size..][..size];
                for (value, element) in line.iter_mut().zip(elements) {
                    *value = S::load(element.add(channel));
                }
                let transformed = if TAPS == 0 { data::<S, P>(&line) } else { taps::<S, P, TAPS>(&line) };
                for (point, value) in transformed.into_iter().enumerate().take(P::TILE) {
                    between.add(column * P::TILE + point).write(value);
                }
            }
            let mut target = target.add(channel);
            for row in 0..points {
                for (column, value) in line.iter_mut().enumerate().take(size) {
                    *value = between.add(column * P::TILE + row).read();
                }
                let transformed = if TAPS == 0 { data::<S, P>(&line) } else { taps::<S, P, TAPS>(&line) };
                for (point, value) in transformed.into_iter().enumerate().take(P::TILE) {
                    S::store(target.wrapping_add(point * stride), value);
                }
                target = target.wrapping_add(P::TILE * stride);
            }
        }
    }
}

/// # Safety
/// The machine has the instructions of `S`; `channels`, a multiple of the vector's length, floats are readable at the source
/// in each plane, and writable at those elements of the patch that it has.
#[inline(always)]
unsafe fn tile_from_points<S: FusedSimd, P: Points>(tile: &TileFromPoints<'_>) {
    // SAFETY: the caller's.
    unsafe {
        match tile.outputs {
            3 => channels_from_points::<S, P, 3>(tile),
            4 => channels_from_points::<S, P, 4>(tile),
            5 => channels_from_points::<S, P, 5>(tile),
            outputs => unreachable!("no transform has {outputs} outputs"),
        }
    }
}

#[inline(always)]
unsafe fn channels_from_points<S: FusedSimd, P: Points, const OUTPUTS: usize>(tile: &TileFromPoints<'_>) {
    let TileFromPoints { points, source, stride, patch, channels, target, strides, finish, .. } = *tile;
    let mut between: Lines<S> = [const { MaybeUninit::uninit() }; MAX_TILE * MAX_TILE];
    let between = between.as_mut_ptr().cast::<S::Vector>();
    // SAFETY: the caller's; the first pass writes what the second reads.
    unsafe {
        for channel in (0..channels).step_by(S::LEN) {
            let mut line = [S::splat(0.0); MAX_TILE];
            let mut column_source = source.add(channel);
            for column in 0..points {
                for (point, value) in line.iter_mut().enumerate().take(P::TILE) {
                    *value = S::load(column_source.wrapping_add(point * P::TILE * stride));
                }
                for (row, value) in outputs::<S, P, OUTPUTS>(&line).into_iter().enumerate() {
                    between.add(row * P::TILE + column).write(value);
                }
                column_source = column_source.wrapping_add(stride);
            }
            let bias = finish.bias.map_or(S::splat(0.0), |bias| S::load(bias.as_ptr().add(channel)));
            for row in patch.rows.clone() {
                for (column, value) in line.iter_mut().enumerate().take(P::TILE) {
                    *value = between.add(row * P::TILE + column).read();
                }
                let target = target.wrapping_offset(patch.first + row as isize * strides.row).wrapping_add(channel);
                for (column, value) in outputs::<S, P, OUTPUTS>(&line).into_iter().enumerate() {
                    let value = S::add(value, bias);
                    let value = if finish.relu { S::relu(value) } else { value };
                    if patch.columns.contains(&column) {
                        S::store(target.wrapping_offset(column as isize * strides.column), value);
                    }
                }
            }
        }
    }
}
