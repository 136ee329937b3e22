//! How a thread computes with floats: its rounding, and whether subnormal numbers count as zero.
//!
//! By the header a call leaves that as it found it. What it leaves changed would be in the numbers of whoever computes next
//! on that thread, and on threads that are started from it.
#![allow(unsafe_code)]

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use std::arch::asm;

/// The floating-point environment of a thread, without the flags that computing raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloatingPoint {
    /// MXCSR, or FPCR; 0 where it is not known how to ask.
    control: u64,
    /// The control word of the x87 unit.
    x87: u16,
}

/// Of MXCSR: all but the flags in its lowest six bits.
#[cfg(target_arch = "x86_64")]
const KEPT: u32 = !0x3F;

impl FloatingPoint {
    pub fn current() -> FloatingPoint {
        #[cfg(target_arch = "x86_64")]
        {
            let (mut mxcsr, mut x87) = (0u32, 0u16);
            // SAFETY: both instructions store a register, into four and into two bytes that are ours.
            unsafe {
                asm!("stmxcsr [{}]", in(reg) &raw mut mxcsr, options(nostack, preserves_flags));
                asm!("fnstcw [{}]", in(reg) &raw mut x87, options(nostack, preserves_flags));
            }
            FloatingPoint::of_mxcsr(mxcsr, x87)
        }
        #[cfg(target_arch = "aarch64")]
        {
            let control: u64;
            // SAFETY: reads a register.
            unsafe { asm!("mrs {}, fpcr", out(reg) control, options(nomem, nostack, preserves_flags)) };
            FloatingPoint { control, x87: 0 }
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        FloatingPoint { control: 0, x87: 0 }
    }

    /// From what the registers hold.
    #[cfg(target_arch = "x86_64")]
    pub fn of_mxcsr(mxcsr: u32, x87: u16) -> FloatingPoint {
        FloatingPoint { control: u64::from(mxcsr & KEPT), x87 }
    }

    /// Makes it that of this thread.
    pub fn restore(self) {
        #[cfg(target_arch = "x86_64")]
        {
            let (mxcsr, x87) = (self.control as u32, self.x87);
            // SAFETY: both instructions load a register with what it held before, the flags aside, which are cleared.
            unsafe {
                asm!("ldmxcsr [{}]", in(reg) &raw const mxcsr, options(nostack, preserves_flags));
                asm!("fldcw [{}]", in(reg) &raw const x87, options(nostack, preserves_flags));
            }
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: writes what was read from that register.
        unsafe {
            asm!("msr fpcr, {}", in(reg) self.control, options(nomem, nostack, preserves_flags));
        }
    }

    /// The differences to `before`, in words; empty where there are none.
    pub fn changes(self, before: FloatingPoint) -> Vec<String> {
        let mut changes = Vec::new();
        if self == before {
            return changes;
        }
        #[cfg(target_arch = "x86_64")]
        {
            let changed = |bits: u64| (self.control ^ before.control) & bits != 0;
            if changed(0x6000) {
                changes.push(format!("it rounds {}", ROUNDING[(self.control >> 13 & 3) as usize]));
            }
            for (bit, what) in [(0x8000, "results"), (0x40, "operands")] {
                if changed(bit) {
                    let how = if self.control & bit != 0 { "count as zero" } else { "count" };
                    changes.push(format!("subnormal {what} {how}"));
                }
            }
            if changed(0x1F80) {
                changes.push("other floating-point exceptions are signals".to_owned());
            }
            if self.x87 != before.x87 {
                changes.push(format!("the x87 unit's control word is {:#06x}", self.x87));
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            let changed = |bits: u64| (self.control ^ before.control) & bits != 0;
            if changed(3 << 22) {
                // In another order than on x86.
                changes.push(format!("it rounds {}", ROUNDING[[0, 2, 1, 3][(self.control >> 22 & 3) as usize]]));
            }
            if changed(1 << 24 | 1 << 19) {
                let how = if self.control & (1 << 24 | 1 << 19) != 0 { "count as zero" } else { "count" };
                changes.push(format!("subnormal numbers {how}"));
            }
        }
        if changes.is_empty() {
            changes.push(format!("the floating-point control register is {:#x}", self.control));
        }
        changes
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const ROUNDING: [&str; 4] = ["to nearest", "down", "up", "toward zero"];

/// Makes a call into foreign code. Whatever that leaves changed is restored, and returned in words.
pub fn kept<T>(call: impl FnOnce() -> T) -> (T, Option<String>) {
    let before = FloatingPoint::current();
    let result = call();
    let changes = FloatingPoint::current().changes(before);
    if changes.is_empty() {
        return (result, None);
    }
    before.restore();
    (result, Some(format!("it left the floating-point environment changed: {}", changes.join(", "))))
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use std::hint::black_box;

    use super::*;

    /// The words for a call that sets MXCSR so; afterwards all is as before.
    #[track_caller]
    fn check(set: u32, expected: Option<&str>) {
        let third = || black_box(1.0f32) / black_box(3.0);
        let before = (FloatingPoint::current(), third().to_bits());
        let (_, said) = kept(|| {
            let x87 = FloatingPoint::current().x87;
            FloatingPoint { control: u64::from(set), x87 }.restore();
            third()
        });
        assert_eq!(said.as_deref(), expected);
        assert_eq!((FloatingPoint::current(), third().to_bits()), before);
    }

    #[test]
    fn what_a_call_leaves_changed_is_said_and_undone() {
        let changed = "it left the floating-point environment changed: ";
        // The values of Intel's manual, volume 1, section 10.2.3; 0x1F80 is that of a new process.
        check(0x1F80, None);
        // Flags of what was computed.
        check(0x1FBF, None);
        check(0x7F80, Some(&format!("{changed}it rounds toward zero")));
        check(0x3F80, Some(&format!("{changed}it rounds down")));
        check(0x5F80, Some(&format!("{changed}it rounds up")));
        check(0x9F80, Some(&format!("{changed}subnormal results count as zero")));
        check(0x9FC0, Some(&format!("{changed}subnormal results count as zero, subnormal operands count as zero")));
        check(0x1F00, Some(&format!("{changed}other floating-point exceptions are signals")));
    }

    #[test]
    fn a_rounding_that_stays_would_be_in_the_next_numbers() {
        let quotient = |control| {
            let before = FloatingPoint::current();
            FloatingPoint { control, x87: before.x87 }.restore();
            let quotient = black_box(2.0f32) / black_box(3.0);
            before.restore();
            quotient.to_bits()
        };
        // 2/3 lies between 0x3f2aaaaa and 0x3f2aaaab, nearer to the latter.
        assert_eq!([0x1F80, 0x7F80].map(quotient), [0x3f2a_aaab, 0x3f2a_aaaa]);
    }
}
