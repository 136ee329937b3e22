//! Vectors of f32 as values, for operations on the channels of a pixel.
//!
//! The compiler makes vectors of a plain loop over a long slice by itself ([`Isa::vectorize`](super::Isa::vectorize)), but not
//! of short blocks whose sums stay in registers over a loop of taps or rows: it takes them apart into single floats. (Max
//! pooling and batch normalisation ran at a third of their speed.) So these say what they mean.
//!
//! The crate `pulp` has tokens like these, with masks for the channels that are left over, and would bring NEON. By its
//! documentation its trait is sealed and knows no floats as bytes, in which max pooling keeps the argmax: a second way beside it
//! would have to stay. So this one does.
//!
//! A [`Simd`] is a token: to have one is to know that the machine has the instructions, so its methods are safe. They work
//! element by element, without fused multiply-adds: bits are the same for all.

#![allow(unsafe_code)]

use super::Isa;

/// A number of floats that instructions work on at once.
pub(crate) trait Simd: Copy {
    type Floats: Copy;
    type Mask: Copy;
    /// A shorter vector, for what is left over; of a single one, itself.
    type Half: Simd;
    const LEN: usize;

    fn half(self) -> Self::Half;
    fn splat(self, value: f32) -> Self::Floats;
    /// The first `LEN` of a slice. Panics if there are fewer.
    fn load(self, from: &[f32]) -> Self::Floats;
    /// Over the first `LEN` of a slice. Panics if there are fewer.
    fn store(self, to: &mut [f32], floats: Self::Floats);
    /// Floats that are integers from 0 to 255, as bytes.
    fn store_bytes(self, to: &mut [u8], floats: Self::Floats);
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a > b`; false where either is NaN.
    fn greater(self, a: Self::Floats, b: Self::Floats) -> Self::Mask;
    /// `a > b`, or `a` is NaN.
    fn greater_or_nan(self, a: Self::Floats, b: Self::Floats) -> Self::Mask;
    /// True if each of the first `LEN` bytes is `value`.
    fn equal_bytes(self, bytes: &[u8], value: u8) -> Self::Mask;
    /// `a` where the mask says so, else `b`.
    fn select(self, mask: Self::Mask, a: Self::Floats, b: Self::Floats) -> Self::Floats;
}

/// Work that is compiled for each instruction set.
pub(crate) trait Task {
    fn run<S: Simd>(self, simd: S);
}

impl Isa {
    /// Runs a task with the vectors of this instruction set. Its `run` and all that it calls must be `#[inline(always)]`.
    #[inline]
    pub(crate) fn run(self, task: impl Task) {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx512f,avx2,fma")]
            fn with_avx512(task: impl Task) {
                task.run(x86::Avx512(()));
            }
            #[target_feature(enable = "avx2,fma")]
            fn with_avx2(task: impl Task) {
                task.run(x86::Avx2(()));
            }
            if self != Self::Portable && self.is_available() {
                // SAFETY: this machine has the features, as checked on the line above (a cached load).
                return unsafe {
                    match self {
                        Self::Avx512 => with_avx512(task),
                        _ => with_avx2(task),
                    }
                };
            }
        }
        task.run(Plain::<4>);
    }
}

/// Calls `$function(simd, ..)` for blocks of channels: as many at once as a vector holds, then fewer.
macro_rules! for_each_block {
    ($simd:ident, $channel:ident in $channels:expr, $function:ident($($argument:expr),* $(,)?)) => {{
        let mut $channel = 0;
        $crate::cpu::for_each_block!(@with $simd, $channel, $channels, $function($($argument),*));
        if $channel < $channels {
            let simd = $simd.half();
            $crate::cpu::for_each_block!(@with simd, $channel, $channels, $function($($argument),*));
            let simd = simd.half();
            $crate::cpu::for_each_block!(@with simd, $channel, $channels, $function($($argument),*));
            let simd = simd.half();
            $crate::cpu::for_each_block!(@with simd, $channel, $channels, $function($($argument),*));
        }
    }};
    (@with $simd:ident, $channel:ident, $channels:expr, $function:ident($($argument:expr),*)) => {
        while $channel + $crate::cpu::vector_len($simd) <= $channels {
            $function($simd, $($argument),*);
            $channel += $crate::cpu::vector_len($simd);
        }
    };
}

pub(crate) use for_each_block;

/// `S::LEN`, where the type has no name.
#[inline(always)]
pub(crate) fn vector_len<S: Simd>(_simd: S) -> usize {
    S::LEN
}

/// Arrays, for any machine and for what is left over.
#[derive(Clone, Copy)]
pub(crate) struct Plain<const LEN: usize>;

macro_rules! implement_plain {
    ($len:literal, $half:literal) => {
        impl Simd for Plain<$len> {
            type Floats = [f32; $len];
            type Mask = [bool; $len];
            type Half = Plain<$half>;
            const LEN: usize = $len;

            #[inline(always)]
            fn half(self) -> Plain<$half> {
                Plain
            }

            #[inline(always)]
            fn splat(self, value: f32) -> [f32; $len] {
                [value; $len]
            }

            #[inline(always)]
            fn load(self, from: &[f32]) -> [f32; $len] {
                std::array::from_fn(|i| from[i])
            }

            #[inline(always)]
            fn store(self, to: &mut [f32], floats: [f32; $len]) {
                to[..$len].copy_from_slice(&floats);
            }

            #[inline(always)]
            fn store_bytes(self, to: &mut [u8], floats: [f32; $len]) {
                to[..$len].copy_from_slice(&floats.map(|float| float as u8));
            }

            #[inline(always)]
            fn add(self, a: [f32; $len], b: [f32; $len]) -> [f32; $len] {
                std::array::from_fn(|i| a[i] + b[i])
            }

            #[inline(always)]
            fn sub(self, a: [f32; $len], b: [f32; $len]) -> [f32; $len] {
                std::array::from_fn(|i| a[i] - b[i])
            }

            #[inline(always)]
            fn mul(self, a: [f32; $len], b: [f32; $len]) -> [f32; $len] {
                std::array::from_fn(|i| a[i] * b[i])
            }

            #[inline(always)]
            fn greater(self, a: [f32; $len], b: [f32; $len]) -> [bool; $len] {
                std::array::from_fn(|i| a[i] > b[i])
            }

            #[inline(always)]
            fn greater_or_nan(self, a: [f32; $len], b: [f32; $len]) -> [bool; $len] {
                std::array::from_fn(|i| a[i] > b[i] || a[i].is_nan())
            }

            #[inline(always)]
            fn equal_bytes(self, bytes: &[u8], value: u8) -> [bool; $len] {
                std::array::from_fn(|i| bytes[i] == value)
            }

            #[inline(always)]
            fn select(self, mask: [bool; $len], a: [f32; $len], b: [f32; $len]) -> [f32; $len] {
                std::array::from_fn(|i| if mask[i] { a[i] } else { b[i] })
            }
        }
    };
}

implement_plain!(4, 1);
implement_plain!(1, 1);

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256, __m512, __mmask16, _CMP_GT_OQ, _CMP_UNORD_Q, _mm_loadl_epi64, _mm_loadu_si128, _mm_packs_epi32,
        _mm_packus_epi16, _mm_storel_epi64, _mm_storeu_si128, _mm256_add_ps, _mm256_blendv_ps, _mm256_castsi256_ps,
        _mm256_castsi256_si128, _mm256_cmp_ps, _mm256_cmpeq_epi32, _mm256_cvtepu8_epi32, _mm256_cvtps_epi32,
        _mm256_extracti128_si256, _mm256_loadu_ps, _mm256_mul_ps, _mm256_or_ps, _mm256_set1_epi32, _mm256_set1_ps,
        _mm256_storeu_ps, _mm256_sub_ps, _mm512_add_ps, _mm512_cmp_ps_mask, _mm512_cmpeq_epi32_mask,
        _mm512_cvtepi32_epi8, _mm512_cvtepu8_epi32, _mm512_cvtps_epi32, _mm512_loadu_ps, _mm512_mask_blend_ps,
        _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_storeu_ps, _mm512_sub_ps,
    };

    use super::{Plain, Simd};

    /// AVX2. Made by `Isa::run` alone, where the machine has it.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(pub(super) ());

    /// AVX-512F and AVX2. Made by `Isa::run` alone, where the machine has them.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(pub(super) ());

    impl Simd for Avx2 {
        type Floats = __m256;
        type Mask = __m256;
        type Half = Plain<4>;
        const LEN: usize = 8;

        #[inline(always)]
        fn half(self) -> Plain<4> {
            Plain
        }

        #[inline(always)]
        fn splat(self, value: f32) -> __m256 {
            // SAFETY: the token says that the machine has AVX2.
            unsafe { _mm256_set1_ps(value) }
        }

        #[inline(always)]
        fn load(self, from: &[f32]) -> __m256 {
            // SAFETY: as above; the slice has 8 floats.
            unsafe { _mm256_loadu_ps(from[..8].as_ptr()) }
        }

        #[inline(always)]
        fn store(self, to: &mut [f32], floats: __m256) {
            // SAFETY: as above; the slice has 8 floats.
            unsafe { _mm256_storeu_ps(to[..8].as_mut_ptr(), floats) }
        }

        #[inline(always)]
        fn store_bytes(self, to: &mut [u8], floats: __m256) {
            // SAFETY: as above; the slice has 8 bytes.
            unsafe {
                let integers = _mm256_cvtps_epi32(floats);
                let (low, high) = (_mm256_castsi256_si128(integers), _mm256_extracti128_si256::<1>(integers));
                let words = _mm_packs_epi32(low, high);
                _mm_storel_epi64(to[..8].as_mut_ptr().cast(), _mm_packus_epi16(words, words));
            }
        }

        #[inline(always)]
        fn add(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: the token says that the machine has AVX2.
            unsafe { _mm256_add_ps(a, b) }
        }

        #[inline(always)]
        fn sub(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: as above.
            unsafe { _mm256_sub_ps(a, b) }
        }

        #[inline(always)]
        fn mul(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: as above.
            unsafe { _mm256_mul_ps(a, b) }
        }

        #[inline(always)]
        fn greater(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: as above.
            unsafe { _mm256_cmp_ps::<_CMP_GT_OQ>(a, b) }
        }

        #[inline(always)]
        fn greater_or_nan(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: as above.
            unsafe { _mm256_or_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(a, b), _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a)) }
        }

        #[inline(always)]
        fn equal_bytes(self, bytes: &[u8], value: u8) -> __m256 {
            // SAFETY: as above; the slice has 8 bytes.
            unsafe {
                let integers = _mm256_cvtepu8_epi32(_mm_loadl_epi64(bytes[..8].as_ptr().cast()));
                _mm256_castsi256_ps(_mm256_cmpeq_epi32(integers, _mm256_set1_epi32(i32::from(value))))
            }
        }

        #[inline(always)]
        fn select(self, mask: __m256, a: __m256, b: __m256) -> __m256 {
            // SAFETY: as above.
            unsafe { _mm256_blendv_ps(b, a, mask) }
        }
    }

    impl Simd for Avx512 {
        type Floats = __m512;
        type Mask = __mmask16;
        type Half = Avx2;
        const LEN: usize = 16;

        #[inline(always)]
        fn half(self) -> Avx2 {
            Avx2(())
        }

        #[inline(always)]
        fn splat(self, value: f32) -> __m512 {
            // SAFETY: the token says that the machine has AVX-512F.
            unsafe { _mm512_set1_ps(value) }
        }

        #[inline(always)]
        fn load(self, from: &[f32]) -> __m512 {
            // SAFETY: as above; the slice has 16 floats.
            unsafe { _mm512_loadu_ps(from[..16].as_ptr()) }
        }

        #[inline(always)]
        fn store(self, to: &mut [f32], floats: __m512) {
            // SAFETY: as above; the slice has 16 floats.
            unsafe { _mm512_storeu_ps(to[..16].as_mut_ptr(), floats) }
        }

        #[inline(always)]
        fn store_bytes(self, to: &mut [u8], floats: __m512) {
            // SAFETY: as above; the slice has 16 bytes.
            unsafe {
                let bytes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(floats));
                _mm_storeu_si128(to[..16].as_mut_ptr().cast(), bytes);
            }
        }

        #[inline(always)]
        fn add(self, a: __m512, b: __m512) -> __m512 {
            // SAFETY: the token says that the machine has AVX-512F.
            unsafe { _mm512_add_ps(a, b) }
        }

        #[inline(always)]
        fn sub(self, a: __m512, b: __m512) -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_sub_ps(a, b) }
        }

        #[inline(always)]
        fn mul(self, a: __m512, b: __m512) -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_mul_ps(a, b) }
        }

        #[inline(always)]
        fn greater(self, a: __m512, b: __m512) -> __mmask16 {
            // SAFETY: as above.
            unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b) }
        }

        #[inline(always)]
        fn greater_or_nan(self, a: __m512, b: __m512) -> __mmask16 {
            // SAFETY: as above.
            unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b) | _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a) }
        }

        #[inline(always)]
        fn equal_bytes(self, bytes: &[u8], value: u8) -> __mmask16 {
            // SAFETY: as above; the slice has 16 bytes.
            unsafe {
                let integers = _mm512_cvtepu8_epi32(_mm_loadu_si128(bytes[..16].as_ptr().cast()));
                _mm512_cmpeq_epi32_mask(integers, _mm512_set1_epi32(i32::from(value)))
            }
        }

        #[inline(always)]
        fn select(self, mask: __mmask16, a: __m512, b: __m512) -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_mask_blend_ps(mask, b, a) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every operation on blocks of 23 channels: vectors of 16 or 8, of 4 and of 1.
    struct Operations<'a> {
        a: &'a [f32],
        b: &'a [f32],
        bytes: &'a [u8],
        results: &'a mut [Vec<f32>; 7],
        stored: &'a mut [u8],
    }

    impl Task for Operations<'_> {
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            let Operations { a, b, bytes, results, stored } = self;
            for_each_block!(simd, channel in a.len(), block(channel, a, b, bytes, results, stored));
        }
    }

    #[inline(always)]
    fn block<S: Simd>(
        simd: S,
        channel: usize,
        a: &[f32],
        b: &[f32],
        bytes: &[u8],
        results: &mut [Vec<f32>; 7],
        stored: &mut [u8],
    ) {
        let (a, b) = (simd.load(&a[channel..]), simd.load(&b[channel..]));
        let (one, zero) = (simd.splat(1.0), simd.splat(0.0));
        let masks = [simd.greater(a, b), simd.greater_or_nan(a, b), simd.equal_bytes(&bytes[channel..], 7)];
        let [greater, greater_or_nan, equal] = masks.map(|mask| simd.select(mask, one, zero));
        let floats = [simd.add(a, b), simd.sub(a, b), simd.mul(a, b), greater, greater_or_nan, equal, a];
        for (result, floats) in results.iter_mut().zip(floats) {
            simd.store(&mut result[channel..], floats);
        }
        let seven = simd.select(masks[2], simd.splat(200.0), simd.splat(3.0));
        simd.store_bytes(&mut stored[channel..], seven);
    }

    #[test]
    fn every_instruction_set_does_as_its_name_says() {
        let values = |seed: usize| (0..23).map(move |i| ((i * seed + 3) % 11) as f32 * 0.3 - 1.0);
        let (mut a, b): (Vec<f32>, Vec<f32>) = (values(7).collect(), values(5).collect());
        let mut b = b;
        (a[3], b[9], a[21]) = (f32::NAN, f32::NAN, f32::INFINITY);
        let bytes: Vec<u8> = (0..23).map(|i| 5 + i % 4).collect();
        let zip = |f: fn(f32, f32) -> f32| a.iter().zip(&b).map(|(a, b)| f(*a, *b)).collect::<Vec<_>>();
        let equal: Vec<f32> = bytes.iter().map(|byte| f32::from(*byte == 7)).collect();
        let expected = [
            zip(|a, b| a + b),
            zip(|a, b| a - b),
            zip(|a, b| a * b),
            zip(|a, b| f32::from(a > b)),
            zip(|a, b| f32::from(a > b || a.is_nan())),
            equal,
            a.clone(),
        ];
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            let (mut results, mut stored) = ([(); 7].map(|()| vec![0.0; 23]), [0; 23]);
            isa.run(Operations { a: &a, b: &b, bytes: &bytes, results: &mut results, stored: &mut stored });
            assert_eq!(format!("{results:?}"), format!("{expected:?}"), "{isa:?}");
            assert!(stored.iter().zip(&bytes).all(|(stored, byte)| *stored == if *byte == 7 { 200 } else { 3 }));
        }
    }
}
