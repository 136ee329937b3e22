//! The canonical bytes of a schedule: what a trial's id is made from.
//!
//! The form is stable: changing it would change the id of every trial that was ever run. New variants take new tags.
//!
//! Each value is its tag (one byte, listed below) and its fields in the order of their declaration: f64 as the
//! little-endian bytes of its bits, u64 as little-endian bytes, a flag as 0 or 1, an option as 0 or as 1 and its value,
//! a list as its length (u64) and its items, a fraction as both its parts (u64). Periods and lengths were whole numbers
//! once: where they are, a value has the tag and the form that it had then. No value is a prefix of another, so no two share their bytes.

use super::{Schedule, Ticks};
use crate::ratio::Ratio;

impl Schedule {
    /// Appends the canonical bytes: equal for equal schedules (floats compared by their bits), different for any two
    /// others, the same on every machine and in every version of the program.
    pub fn canonical(&self, out: &mut Vec<u8>) {
        self.formula().canonical(out);
    }
}

pub(super) fn float(value: f64, out: &mut Vec<u8>) {
    out.extend(value.to_bits().to_le_bytes());
}

pub(super) fn floats(values: &[f64], out: &mut Vec<u8>) {
    values.iter().for_each(|&value| float(value, out));
}

pub(super) fn integer(value: u64, out: &mut Vec<u8>) {
    out.extend(value.to_le_bytes());
}

/// Of a whole number the number alone: the tag says which it is.
pub(super) fn ratio(value: Ratio, out: &mut Vec<u8>) {
    integer(value.numerator(), out);
    if value.whole().is_none() {
        integer(value.denominator(), out);
    }
}

pub(super) fn both_parts(value: Ratio, out: &mut Vec<u8>) {
    integer(value.numerator(), out);
    integer(value.denominator(), out);
}

pub(super) fn ticks(value: Ticks, out: &mut Vec<u8>) {
    match value.whole() {
        Some(whole) => integer(whole, out),
        None => {
            both_parts(value.period, out);
            both_parts(value.ahead, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::properties::any_schedule;
    use crate::*;

    fn bytes(schedule: &Schedule) -> Vec<u8> {
        let mut out = Vec::new();
        schedule.canonical(&mut out);
        out
    }

    /// Reads back what `canonical` writes: that it can be done proves that no two schedules share their bytes.
    struct Reader<'a>(&'a [u8]);

    impl Reader<'_> {
        fn byte(&mut self) -> u8 {
            let (&first, rest) = self.0.split_first().expect("a byte");
            self.0 = rest;
            first
        }

        fn integer(&mut self) -> u64 {
            u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
        }

        fn ratio(&mut self) -> Ratio {
            Ratio::new(self.integer().into(), self.integer().into()).expect("a fraction")
        }

        fn ticks(&mut self) -> Ticks {
            Ticks { period: self.ratio(), ahead: self.ratio() }
        }

        fn float(&mut self) -> f64 {
            f64::from_bits(self.integer())
        }

        fn schedule(&mut self) -> Schedule {
            match self.byte() {
                0 => Schedule::Constant(self.float()),
                1 => Schedule::Step(Step { base: self.float(), gamma: self.float(), step_size: self.integer().into() }),
                18 => Schedule::Step(Step { base: self.float(), gamma: self.float(), step_size: self.ticks() }),
                2 => {
                    let (base, gamma) = (self.float(), self.float());
                    let milestones = (0..self.integer()).map(|_| self.integer()).collect();
                    Schedule::MultiStep(MultiStep { base, gamma, milestones })
                }
                3 => Schedule::Exp(Exp { base: self.float(), gamma: self.float() }),
                4 => Schedule::Inv(Inv { base: self.float(), gamma: self.float(), power: self.float() }),
                5 => Schedule::Poly(Poly { base: self.float(), power: self.float(), steps: self.integer() }),
                6 => Schedule::Sigmoid(Sigmoid { base: self.float(), gamma: self.float(), step_size: self.integer() }),
                7 => Schedule::Decay(Decay { base: self.float(), max: self.float(), step_size: self.integer() }),
                8 => Schedule::Cyclic(self.cyclic()),
                21 => {
                    let cyclic = self.cyclic();
                    Schedule::Cyclic(Cyclic { mult: self.float(), ..cyclic })
                }
                9 => Schedule::OneCycle(self.one_cycle()),
                10 => Schedule::Cosine(Cosine { max: self.float(), min: self.float(), steps: self.integer() }),
                11 => Schedule::Sgdr(Sgdr::new(self.float(), self.float(), self.integer(), self.integer())),
                19 => {
                    let (max, min, first_cycle) = (self.float(), self.float(), self.ratio());
                    Schedule::Sgdr(Sgdr { first_cycle, ..Sgdr::new(max, min, 1, self.integer()) })
                }
                22 => Schedule::Sgdr(Sgdr {
                    max: self.float(),
                    min: self.float(),
                    first_cycle: self.ratio(),
                    mult: self.ratio(),
                    peak: match self.byte() {
                        0 => Peak::Constant,
                        1 => Peak::Factor(self.float()),
                        _ => Peak::AmplitudeFactor(self.float()),
                    },
                }),
                12 => Schedule::Linear(Linear { from: self.float(), to: self.float(), steps: self.integer() }),
                13 => Schedule::RangeTest(RangeTest {
                    min: self.float(),
                    max: self.float(),
                    steps: self.integer(),
                    geometric: self.byte() == 1,
                }),
                14 => Schedule::Table((0..self.integer()).map(|_| self.float()).collect()),
                15 => {
                    let stage_count = self.integer();
                    let stages = (0..stage_count).map(|_| Stage { steps: self.integer(), schedule: self.schedule() });
                    Schedule::Sequence(stages.collect())
                }
                16 => Schedule::PerEpoch(PerEpoch {
                    iterations_per_epoch: self.integer().into(),
                    first_epoch: self.integer(),
                    inner: Box::new(self.schedule()),
                }),
                20 => Schedule::PerEpoch(PerEpoch {
                    iterations_per_epoch: self.ticks(),
                    first_epoch: self.integer(),
                    inner: Box::new(self.schedule()),
                }),
                17 => Schedule::Points(Points {
                    points: (0..self.integer()).map(|_| (self.float(), self.float())).collect(),
                    linear: self.byte() == 1,
                }),
                tag => panic!("unknown tag {tag}"),
            }
        }

        fn cyclic(&mut self) -> Cyclic {
            Cyclic {
                base: self.float(),
                max: self.float(),
                up: self.float(),
                down: self.float(),
                window: [Window::Linear, Window::Welch, Window::Hann][usize::from(self.byte())],
                mult: 1.0,
                amplitude: match self.byte() {
                    0 => Amplitude::Constant,
                    1 => Amplitude::HalfPerCycle,
                    2 => Amplitude::OneOverCycle,
                    _ => Amplitude::Factor(self.float()),
                },
                decline: (self.byte() == 1).then(|| match self.byte() {
                    0 => Decline::Boundaries { gamma: self.float() },
                    _ => Decline::Amplitude { gamma: self.float() },
                }),
                cycles: (self.byte() == 1).then(|| self.float()),
            }
        }

        fn one_cycle(&mut self) -> OneCycle {
            OneCycle {
                initial: self.float(),
                max: self.float(),
                last: self.float(),
                steps: self.integer(),
                form: match self.byte() {
                    0 | 5 => OneCycleForm::TwoPhase { pct_start: self.float() },
                    1 => OneCycleForm::ThreePhase { pct_start: self.float() },
                    2 => OneCycleForm::Smith { step_size: self.integer().into() },
                    4 => OneCycleForm::Smith { step_size: self.ratio() },
                    _ => OneCycleForm::Fraction { pct_start: self.float() },
                },
                cosine: self.byte() == 1,
            }
        }
    }

    proptest! {
        #[test]
        fn bytes_can_be_read_back(schedule in any_schedule()) {
            let bytes = bytes(&schedule);
            let mut reader = Reader(&bytes);
            let read = reader.schedule();
            prop_assert!(reader.0.is_empty());
            // As text, since a NaN is not equal to itself.
            prop_assert_eq!(format!("{read:?}"), format!("{schedule:?}"));
        }
    }

    /// These bytes are in the ids of stored trials: if this test fails, the code is wrong and not the test.
    #[test]
    fn bytes_are_stable() {
        #[track_caller]
        fn check(schedule: Schedule, expected: &str) {
            let hex: String = bytes(&schedule).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected.replace([' ', '\n'], ""));
        }

        // 1.0 is 3ff0000000000000, 2.0 is 4000000000000000, 0.5 is 3fe0000000000000; all little-endian below.
        check(Schedule::Constant(1.0), "00 000000000000f03f");
        check(Schedule::Constant(-0.0), "00 0000000000000080");
        check(
            Schedule::Step(Step { base: 1.0, gamma: 0.5, step_size: 258.into() }),
            "01 000000000000f03f 000000000000e03f 0201000000000000",
        );
        check(
            Schedule::MultiStep(MultiStep { base: 1.0, gamma: 0.5, milestones: vec![3, 4] }),
            "02 000000000000f03f 000000000000e03f 0200000000000000 0300000000000000 0400000000000000",
        );
        check(Schedule::Exp(Exp { base: 1.0, gamma: 0.5 }), "03 000000000000f03f 000000000000e03f");
        check(
            Schedule::Inv(Inv { base: 1.0, gamma: 0.5, power: 2.0 }),
            "04 000000000000f03f 000000000000e03f 0000000000000040",
        );
        check(
            Schedule::Poly(Poly { base: 1.0, power: 2.0, steps: 9 }),
            "05 000000000000f03f 0000000000000040 0900000000000000",
        );
        check(
            Schedule::Sigmoid(Sigmoid { base: 1.0, gamma: 0.5, step_size: 9 }),
            "06 000000000000f03f 000000000000e03f 0900000000000000",
        );
        check(
            Schedule::Decay(Decay { base: 1.0, max: 2.0, step_size: 9 }),
            "07 000000000000f03f 0000000000000040 0900000000000000",
        );
        let cyclic = Cyclic {
            base: 1.0,
            max: 2.0,
            up: 1.0,
            down: 2.0,
            window: Window::Linear,
            mult: 1.0,
            amplitude: Amplitude::HalfPerCycle,
            decline: None,
            cycles: None,
        };
        check(
            Schedule::Cyclic(cyclic.clone()),
            "08 000000000000f03f 0000000000000040 000000000000f03f 0000000000000040 00 01 00 00",
        );
        check(
            Schedule::Cyclic(Cyclic {
                window: Window::Hann,
                decline: Some(Decline::Amplitude { gamma: 0.5 }),
                cycles: Some(2.0),
                ..cyclic
            }),
            "08 000000000000f03f 0000000000000040 000000000000f03f 0000000000000040
             02 01 01 01 000000000000e03f 01 0000000000000040",
        );
        let form = OneCycleForm::TwoPhase { pct_start: 0.5 };
        let one_cycle = OneCycle { initial: 1.0, max: 2.0, last: 0.5, steps: 9, form, cosine: true };
        check(
            Schedule::OneCycle(one_cycle.clone()),
            "09 000000000000f03f 0000000000000040 000000000000e03f 0900000000000000 00 000000000000e03f 01",
        );
        check(
            Schedule::OneCycle(OneCycle { form: OneCycleForm::TwoPhase { pct_start: 1.0 }, ..one_cycle.clone() }),
            "09 000000000000f03f 0000000000000040 000000000000e03f 0900000000000000 05 000000000000f03f 01",
        );
        check(
            Schedule::OneCycle(OneCycle {
                form: OneCycleForm::Smith { step_size: 4.into() },
                cosine: false,
                ..one_cycle
            }),
            "09 000000000000f03f 0000000000000040 000000000000e03f 0900000000000000 02 0400000000000000 00",
        );
        check(
            Schedule::Cosine(Cosine { max: 2.0, min: 1.0, steps: 9 }),
            "0a 0000000000000040 000000000000f03f 0900000000000000",
        );
        check(
            Schedule::Sgdr(Sgdr::new(2.0, 1.0, 9, 2)),
            "0b 0000000000000040 000000000000f03f 0900000000000000 0200000000000000",
        );
        check(
            Schedule::Linear(Linear { from: 1.0, to: 2.0, steps: 9 }),
            "0c 000000000000f03f 0000000000000040 0900000000000000",
        );
        check(
            Schedule::RangeTest(RangeTest { min: 1.0, max: 2.0, steps: 9, geometric: true }),
            "0d 000000000000f03f 0000000000000040 0900000000000000 01",
        );
        check(Schedule::Table([1.0, 2.0].into()), "0e 0200000000000000 000000000000f03f 0000000000000040");
        check(
            Schedule::Points(Points { points: [(2.0, 1.0)].into(), linear: true }),
            "11 0100000000000000 0000000000000040 000000000000f03f 01",
        );
        let stage = Stage { steps: 9, schedule: Schedule::Constant(1.0) };
        check(Schedule::Sequence(vec![stage]), "0f 0100000000000000 0900000000000000 00 000000000000f03f");
        check(
            Schedule::PerEpoch(PerEpoch {
                iterations_per_epoch: 9.into(),
                first_epoch: 1,
                inner: Box::new(Schedule::Constant(1.0)),
            }),
            "10 0900000000000000 0100000000000000 00 000000000000f03f",
        );

        let fraction = Ratio::new(9, 4).unwrap();
        let later = Ticks { period: 9.into(), ahead: Ratio::new(1, 2).unwrap() };
        check(
            Schedule::Step(Step { base: 1.0, gamma: 0.5, step_size: fraction.into() }),
            "12 000000000000f03f 000000000000e03f 0900000000000000 0400000000000000 0000000000000000 0100000000000000",
        );
        check(
            Schedule::Sgdr(Sgdr { first_cycle: fraction, ..Sgdr::new(2.0, 1.0, 1, 2) }),
            "13 0000000000000040 000000000000f03f 0900000000000000 0400000000000000 0200000000000000",
        );
        check(
            Schedule::PerEpoch(PerEpoch {
                iterations_per_epoch: later,
                first_epoch: 1,
                inner: Box::new(Schedule::Constant(1.0)),
            }),
            "14 0900000000000000 0100000000000000 0100000000000000 0200000000000000
             0100000000000000 00 000000000000f03f",
        );
        let form = OneCycleForm::Smith { step_size: fraction };
        check(
            Schedule::OneCycle(OneCycle { initial: 1.0, max: 2.0, last: 0.5, steps: 9, form, cosine: false }),
            "09 000000000000f03f 0000000000000040 000000000000e03f 0900000000000000
             04 0900000000000000 0400000000000000 00",
        );

        let quarter = |amplitude| Cyclic { amplitude, ..Cyclic::new(1.0, 2.0, 2.0) };
        check(
            Schedule::Cyclic(quarter(Amplitude::Factor(0.5))),
            "08 000000000000f03f 0000000000000040 0000000000000040 0000000000000040 00 03 000000000000e03f 00 00",
        );
        check(
            Schedule::Cyclic(Cyclic { mult: 0.5, ..quarter(Amplitude::Constant) }),
            "15 000000000000f03f 0000000000000040 0000000000000040 0000000000000040 00 00 00 00 000000000000e03f",
        );
        let sgdr = Sgdr { mult: Ratio::new(3, 2).unwrap(), ..Sgdr::new(2.0, 1.0, 9, 1) };
        check(
            Schedule::Sgdr(sgdr),
            "16 0000000000000040 000000000000f03f 0900000000000000 0100000000000000 0300000000000000 0200000000000000 00",
        );
        for (tag, peak) in [("01", Peak::Factor(0.5)), ("02", Peak::AmplitudeFactor(0.5))] {
            check(
                Schedule::Sgdr(Sgdr { peak, ..Sgdr::new(2.0, 1.0, 9, 2) }),
                &format!(
                    "16 0000000000000040 000000000000f03f 0900000000000000 0100000000000000
                     0200000000000000 0100000000000000 {tag} 000000000000e03f"
                ),
            );
        }
    }
}
