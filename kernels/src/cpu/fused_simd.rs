//! Vectors of f32, one implementation per instruction set.

#![allow(unsafe_code)]

/// The operations that a matrix product is made of.
///
/// # Safety
/// Implementations may use instructions beyond the target's default: call the methods only where [`super::Isa`] says that
/// the machine has them, from a function compiled with the features, into which they are inlined. Pointers need no
/// alignment, and are valid for `LEN` floats.
pub(crate) unsafe trait FusedSimd {
    /// A vector of `LEN` floats.
    type Vector: Copy;
    const LEN: usize;

    unsafe fn splat(value: f32) -> Self::Vector;
    unsafe fn load(from: *const f32) -> Self::Vector;
    unsafe fn store(to: *mut f32, vector: Self::Vector);
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn sub(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn mul(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b + c`, rounded as the instruction set does.
    unsafe fn mul_add(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// `max(value, 0)`; NaN and -0 stay.
    unsafe fn relu(value: Self::Vector) -> Self::Vector;
}

/// Vectors of 4, which every 64-bit target has; multiplies and adds separately, so that all targets agree.
pub(crate) type Portable = Plain<4>;

/// Arrays, left to the compiler to put into registers.
pub(crate) struct Plain<const LEN: usize>;

// SAFETY: uses no instruction beyond the target's default.
unsafe impl<const LEN: usize> FusedSimd for Plain<LEN> {
    type Vector = [f32; LEN];
    const LEN: usize = LEN;

    #[inline(always)]
    unsafe fn splat(value: f32) -> [f32; LEN] {
        [value; LEN]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> [f32; LEN] {
        // SAFETY: the caller's pointer is valid for as many floats, and unaligned reads need no more.
        unsafe { from.cast::<[f32; LEN]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, vector: [f32; LEN]) {
        // SAFETY: as for `load`.
        unsafe { to.cast::<[f32; LEN]>().write_unaligned(vector) }
    }

    #[inline(always)]
    unsafe fn add(a: [f32; LEN], b: [f32; LEN]) -> [f32; LEN] {
        std::array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    unsafe fn sub(a: [f32; LEN], b: [f32; LEN]) -> [f32; LEN] {
        std::array::from_fn(|i| a[i] - b[i])
    }

    #[inline(always)]
    unsafe fn mul(a: [f32; LEN], b: [f32; LEN]) -> [f32; LEN] {
        std::array::from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    unsafe fn mul_add(a: [f32; LEN], b: [f32; LEN], c: [f32; LEN]) -> [f32; LEN] {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    unsafe fn relu(value: [f32; LEN]) -> [f32; LEN] {
        value.map(|value| if value < 0.0 { 0.0 } else { value })
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256, __m512, _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_max_ps, _mm256_mul_ps, _mm256_set1_ps,
        _mm256_storeu_ps, _mm256_sub_ps, _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_max_ps, _mm512_mul_ps,
        _mm512_set1_ps, _mm512_storeu_ps, _mm512_sub_ps,
    };

    use super::FusedSimd;

    pub(crate) struct Avx2;

    pub(crate) struct Avx512;

    macro_rules! implement {
        ($name:ident, $vector:ty, $len:literal, $splat:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident, $mul_add:ident, $max:ident) => {
            // SAFETY: the methods pass the trait's conditions on to the intrinsics, which have the same.
            unsafe impl FusedSimd for $name {
                type Vector = $vector;
                const LEN: usize = $len;

                #[inline(always)]
                unsafe fn splat(value: f32) -> $vector {
                    // SAFETY: the caller vouches for the instruction set.
                    unsafe { $splat(value) }
                }

                #[inline(always)]
                unsafe fn load(from: *const f32) -> $vector {
                    // SAFETY: the caller vouches for the instruction set and the pointer.
                    unsafe { $load(from) }
                }

                #[inline(always)]
                unsafe fn store(to: *mut f32, vector: $vector) {
                    // SAFETY: the caller vouches for the instruction set and the pointer.
                    unsafe { $store(to, vector) }
                }

                #[inline(always)]
                unsafe fn add(a: $vector, b: $vector) -> $vector {
                    // SAFETY: the caller vouches for the instruction set.
                    unsafe { $add(a, b) }
                }

                #[inline(always)]
                unsafe fn sub(a: $vector, b: $vector) -> $vector {
                    // SAFETY: the caller vouches for the instruction set.
                    unsafe { $sub(a, b) }
                }

                #[inline(always)]
                unsafe fn mul(a: $vector, b: $vector) -> $vector {
                    // SAFETY: the caller vouches for the instruction set.
                    unsafe { $mul(a, b) }
                }

                #[inline(always)]
                unsafe fn mul_add(a: $vector, b: $vector, c: $vector) -> $vector {
                    // SAFETY: the caller vouches for the instruction set.
                    unsafe { $mul_add(a, b, c) }
                }

                #[inline(always)]
                unsafe fn relu(value: $vector) -> $vector {
                    // The instruction gives its second operand where the two are equal or one is NaN.
                    // SAFETY: the caller vouches for the instruction set.
                    unsafe { $max($splat(0.0), value) }
                }
            }
        };
    }

    implement!(
        Avx2,
        __m256,
        8,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_add_ps,
        _mm256_sub_ps,
        _mm256_mul_ps,
        _mm256_fmadd_ps,
        _mm256_max_ps
    );
    implement!(
        Avx512,
        __m512,
        16,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_add_ps,
        _mm512_sub_ps,
        _mm512_mul_ps,
        _mm512_fmadd_ps,
        _mm512_max_ps
    );
}
