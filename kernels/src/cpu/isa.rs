//! Instruction sets, chosen at run time.

#![allow(unsafe_code)]

use super::CpuError;

/// The instruction set that kernels use. Bits are promised per set: a fused multiply-add rounds once, a separate one
/// twice, and wider vectors sum in another order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512F: vectors of 16.
    Avx512,
    /// AVX2 and FMA: vectors of 8.
    Avx2,
    /// The default of the target: arrays of 4, separate multiply and add.
    Portable,
}

impl Isa {
    /// All of them, best first.
    pub const ALL: [Self; 3] = [Self::Avx512, Self::Avx2, Self::Portable];

    /// The best that this machine has.
    pub fn best() -> Self {
        Self::ALL.into_iter().find(|isa| isa.is_available()).unwrap_or(Self::Portable)
    }

    /// True if this machine has it.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            // AVX-512 kernels may use the narrower instructions too; every processor with AVX-512F has them.
            Self::Avx512 => is_x86_feature_detected!("avx512f") && Self::Avx2.is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512 | Self::Avx2 => false,
            Self::Portable => true,
        }
    }

    /// The name in a trial's numerics: `cpu-avx512`, `cpu-avx2` or `cpu-portable`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "cpu-avx512",
            Self::Avx2 => "cpu-avx2",
            Self::Portable => "cpu-portable",
        }
    }

    /// The name in `CLR_ISA`: `avx512`, `avx2` or `portable`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }

    /// The instruction set that `CLR_ISA` names.
    ///
    /// # Errors
    /// [`CpuError::UnknownIsa`].
    pub fn parse(key: &str) -> Result<Self, CpuError> {
        Self::ALL.into_iter().find(|isa| isa.key() == key).ok_or_else(|| CpuError::UnknownIsa { name: key.to_owned() })
    }

    /// Runs `f` compiled for this instruction set, so that the plain loops in it (and in what is inlined into it) use
    /// its vectors.
    ///
    /// Write `isa.vectorize(#[inline(always)] || ...)`: a large closure that is not inlined keeps the portable vectors.
    ///
    /// For element-wise work. Bits stay those of the portable code: the compiler neither reorders nor contracts float
    /// arithmetic.
    #[inline]
    pub fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx512f,avx2,fma")]
            fn with_avx512<R>(f: impl FnOnce() -> R) -> R {
                f()
            }
            #[target_feature(enable = "avx2,fma")]
            fn with_avx2<R>(f: impl FnOnce() -> R) -> R {
                f()
            }
            if self != Self::Portable && self.is_available() {
                // SAFETY: this machine has the features, as checked on the line above (a cached load).
                return unsafe {
                    match self {
                        Self::Avx512 => with_avx512(f),
                        _ => with_avx2(f),
                    }
                };
            }
        }
        f()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectorized_loops_keep_the_portable_bits() {
        let x: Vec<f32> = (0..1001).map(|i| (i as f32 * 0.37).sqrt() - 9.0).collect();
        let update = |w: &mut [f32]| w.iter_mut().zip(&x).for_each(|(w, x)| *w = *w * 0.9 + x * 0.1);
        let run = |isa: Isa| {
            let mut w = vec![1.7; x.len()];
            isa.vectorize(|| update(&mut w));
            w.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            assert_eq!(run(isa), run(Isa::Portable), "{isa:?}");
        }
    }
}
