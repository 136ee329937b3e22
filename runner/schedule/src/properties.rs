//! What holds for every schedule, whatever its fields; and what holds for every schedule that makes sense.

use proptest::prelude::*;

use super::ratio::Ratio;
use super::*;

/// Any float at all: zeros, infinities, subnormal ones and NaN too; ordinary ones often.
fn any_float() -> impl Strategy<Value = f64> {
    prop_oneof![proptest::num::f64::ANY, -2.0..100.0_f64, Just(0.0), Just(1.0), Just(f64::NAN), Just(f64::INFINITY)]
}

/// Any integer, the smallest and the largest often.
fn any_integer() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0..100_u64, Just(0), Just(u64::MAX)]
}

/// Any fraction, whole ones often.
fn any_ratio() -> impl Strategy<Value = Ratio> {
    let fraction = (any_integer(), any_integer()).prop_map(|(n, d)| Ratio::new(n.into(), d.max(1).into()));
    prop_oneof![any_integer().prop_map(Ratio::from), fraction.prop_map(|ratio| ratio.unwrap_or(Ratio::ZERO))]
}

fn any_ticks() -> impl Strategy<Value = Ticks> {
    let ahead = prop_oneof![Just(Ratio::ZERO), any_ratio()];
    (any_ratio(), ahead).prop_map(|(period, ahead)| Ticks { period, ahead })
}

fn any_window() -> impl Strategy<Value = Window> {
    prop_oneof![Just(Window::Linear), Just(Window::Welch), Just(Window::Hann)]
}

fn any_amplitude() -> impl Strategy<Value = Amplitude> {
    prop_oneof![Just(Amplitude::Constant), Just(Amplitude::HalfPerCycle), Just(Amplitude::OneOverCycle)]
}

fn any_peak() -> impl Strategy<Value = Peak> {
    prop_oneof![Just(Peak::Constant), any_float().prop_map(Peak::Factor), any_float().prop_map(Peak::AmplitudeFactor),]
}

pub(super) fn any_cyclic() -> impl Strategy<Value = Schedule> {
    let decline = prop_oneof![
        Just(None),
        any_float().prop_map(|gamma| Some(Decline::Boundaries { gamma })),
        any_float().prop_map(|gamma| Some(Decline::Amplitude { gamma })),
    ];
    let bounds = (any_float(), any_float(), any_float(), any_float());
    let mult = prop_oneof![Just(1.0), any_float()];
    let amplitude = prop_oneof![any_amplitude(), any_float().prop_map(Amplitude::Factor)];
    (bounds, any_window(), mult, amplitude, decline, prop::option::of(any_float())).prop_map(
        |((base, max, up, down), window, mult, amplitude, decline, cycles)| {
            Schedule::Cyclic(Cyclic { base, max, up, down, window, mult, amplitude, decline, cycles })
        },
    )
}

pub(super) fn any_sgdr() -> impl Strategy<Value = Schedule> {
    (any_float(), any_float(), any_ratio(), any_ratio(), any_peak())
        .prop_map(|(max, min, first_cycle, mult, peak)| Schedule::Sgdr(Sgdr { max, min, first_cycle, mult, peak }))
}

fn any_one_cycle() -> impl Strategy<Value = Schedule> {
    let form = prop_oneof![
        any_float().prop_map(|pct_start| OneCycleForm::TwoPhase { pct_start }),
        any_float().prop_map(|pct_start| OneCycleForm::ThreePhase { pct_start }),
        any_float().prop_map(|pct_start| OneCycleForm::Fraction { pct_start }),
        any_ratio().prop_map(|step_size| OneCycleForm::Smith { step_size }),
    ];
    (any_float(), any_float(), any_float(), any_integer(), form, any::<bool>()).prop_map(
        |(initial, max, last, steps, form, cosine)| {
            Schedule::OneCycle(OneCycle { initial, max, last, steps, form, cosine })
        },
    )
}

/// Any schedule that the types allow, sensible or not.
pub(super) fn any_schedule() -> impl Strategy<Value = Schedule> {
    let float = any_float;
    let leaf = prop_oneof![
        float().prop_map(Schedule::Constant),
        (float(), float(), any_ticks()).prop_map(|(base, gamma, step_size)| Schedule::Step(Step {
            base,
            gamma,
            step_size
        })),
        (float(), float(), prop::collection::vec(any_integer(), 0..5))
            .prop_map(|(base, gamma, milestones)| Schedule::MultiStep(MultiStep { base, gamma, milestones })),
        (float(), float()).prop_map(|(base, gamma)| Schedule::Exp(Exp { base, gamma })),
        (float(), float(), float()).prop_map(|(base, gamma, power)| Schedule::Inv(Inv { base, gamma, power })),
        (float(), float(), any_integer()).prop_map(|(base, power, steps)| Schedule::Poly(Poly { base, power, steps })),
        (float(), float(), any_integer()).prop_map(|(base, gamma, step_size)| Schedule::Sigmoid(Sigmoid {
            base,
            gamma,
            step_size
        })),
        (float(), float(), any_integer()).prop_map(|(base, max, step_size)| Schedule::Decay(Decay {
            base,
            max,
            step_size
        })),
        any_cyclic(),
        any_one_cycle(),
        (float(), float(), any_integer()).prop_map(|(max, min, steps)| Schedule::Cosine(Cosine { max, min, steps })),
        any_sgdr(),
        (float(), float(), any_integer()).prop_map(|(from, to, steps)| Schedule::Linear(Linear { from, to, steps })),
        (float(), float(), any_integer(), any::<bool>())
            .prop_map(|(min, max, steps, geometric)| Schedule::RangeTest(RangeTest { min, max, steps, geometric })),
        prop::collection::vec(float(), 0..5).prop_map(|values| Schedule::Table(values.into())),
        (prop::collection::vec((float(), float()), 0..5), any::<bool>())
            .prop_map(|(points, linear)| Schedule::Points(Points { points: points.into(), linear })),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        let stage = (any_integer(), inner.clone()).prop_map(|(steps, schedule)| Stage { steps, schedule });
        prop_oneof![
            prop::collection::vec(stage, 0..4).prop_map(Schedule::Sequence),
            (any_ticks(), any_integer(), inner).prop_map(|(iterations_per_epoch, first_epoch, inner)| {
                Schedule::PerEpoch(PerEpoch { iterations_per_epoch, first_epoch, inner: Box::new(inner) })
            }),
        ]
    })
}

/// Two ordinary bounds, either of which may be the larger (a learning rate's or a momentum's).
fn bounds() -> impl Strategy<Value = (f64, f64)> {
    (1e-6..1.0_f64, 1e-6..1.0_f64)
}

/// A cyclic schedule with whole step sizes and without decline.
fn whole_cyclic() -> impl Strategy<Value = Cyclic> {
    (bounds(), 1..5000_u32, 1..5000_u32, any_window(), any_amplitude()).prop_map(
        |((base, max), up, down, window, amplitude)| {
            let (up, down) = (f64::from(up), f64::from(down));
            Cyclic { base, max, up, down, window, mult: 1.0, amplitude, decline: None, cycles: None }
        },
    )
}

fn is_between(value: f64, one: f64, other: f64) -> bool {
    one.min(other) <= value && value <= one.max(other)
}

proptest! {
    /// Debug builds trap overflow, so this would see one; a hang would never end.
    #[test]
    fn every_schedule_has_a_value_at_every_step(schedule in any_schedule(), step in any_integer()) {
        let value = schedule.at(step);
        prop_assert_eq!(value.to_bits(), schedule.at(step).to_bits());
    }

    #[test]
    fn cyclic_starts_at_base_and_stays_in_bounds(cyclic in whole_cyclic(), step in any_integer(), gamma in 0.9..=1.0_f64) {
        prop_assert_eq!(cyclic.at(0), cyclic.base);
        prop_assert!(is_between(cyclic.at(step), cyclic.base, cyclic.max));
        let amplitude = Cyclic { decline: Some(Decline::Amplitude { gamma }), ..cyclic.clone() };
        prop_assert!(is_between(amplitude.at(step), cyclic.base, cyclic.max));
        let boundaries = Cyclic { decline: Some(Decline::Boundaries { gamma }), ..cyclic.clone() };
        let declined = libm::pow(gamma, step as f64);
        prop_assert!(is_between(boundaries.at(step), declined * cyclic.base, declined * cyclic.max));
    }

    #[test]
    fn whole_cycles_repeat_exactly(cyclic in whole_cyclic(), cycle in 0..1_000_000_u64, offset in any::<prop::sample::Index>()) {
        let period = (cyclic.up + cyclic.down) as u64;
        let offset = offset.index(period as usize) as u64;
        prop_assert_eq!(cyclic.at(cycle * period), cyclic.base);
        if cyclic.amplitude == Amplitude::Constant {
            prop_assert_eq!(cyclic.at(cycle * period + cyclic.up as u64), cyclic.max);
            prop_assert_eq!(cyclic.at(cycle * period + offset), cyclic.at(offset));
        }
    }

    /// Real step sizes: no jump at the end of a cycle, wherever rounding puts it. The steepest window, Hann's, climbs
    /// pi / 2 times the amplitude over `up`, and Welch's twice.
    #[test]
    fn cyclic_is_continuous(
        cyclic in whole_cyclic(), up in 1.0..50.0_f64, down in 1.0..50.0_f64, step in 0..100_000_u64,
    ) {
        let cyclic = Cyclic { up, down, ..cyclic };
        let jump = (cyclic.at(step + 1) - cyclic.at(step)).abs();
        let steepest = 2.0 * (cyclic.max - cyclic.base).abs() / up.min(down);
        prop_assert!(jump <= steepest * (1.0 + 1e-9), "{jump} > {steepest}");
    }

    #[test]
    fn cyclic_holds_what_its_last_cycle_ended_with(cyclic in whole_cyclic(), cycles in 0..20_u32, after in any_integer()) {
        let end = u64::from(cycles) * (cyclic.up + cyclic.down) as u64;
        let finite = Cyclic { cycles: Some(f64::from(cycles)), ..cyclic.clone() };
        prop_assert_eq!(finite.at(end.saturating_add(after)), cyclic.base);
        if let Some(before) = end.checked_sub(1) {
            prop_assert_eq!(finite.at(before), cyclic.at(before));
        }
    }

    #[test]
    fn one_cycle_meets_its_three_values(
        (initial, max) in bounds(), last in 1e-9..1.0_f64, steps in 10..10_000_u64, pct_start in 0.1..0.5_f64,
        cosine: bool, form in 0..3_usize, after in any_integer(),
    ) {
        let form = [
            OneCycleForm::TwoPhase { pct_start },
            OneCycleForm::ThreePhase { pct_start },
            OneCycleForm::Fraction { pct_start },
        ][form];
        let one_cycle = OneCycle { initial, max, last, steps, form, cosine };
        if pct_start * steps as f64 > 1.0 {
            prop_assert_eq!(one_cycle.at(0), initial);
        }
        let end = if matches!(form, OneCycleForm::Fraction { .. }) { steps } else { steps - 1 };
        prop_assert_eq!(one_cycle.at(end.saturating_add(after)), last);
        let (low, high) = (initial.min(max).min(last), initial.max(max).max(last));
        for step in 0..steps {
            prop_assert!(is_between(one_cycle.at(step), low, high));
        }
    }

    #[test]
    fn smith_one_cycle_never_falls_below_its_floor(max in 0.01..10.0_f64, step_size in 1..5000_u64, step in 0..20_000_u64) {
        let initial = max / 12.0;
        let last = initial / 1000.0;
        let form = OneCycleForm::Smith { step_size: step_size.into() };
        let smith = OneCycle { initial, max, last, steps: 0, form, cosine: false };
        prop_assert_eq!(smith.at(0), initial);
        prop_assert_eq!(smith.at(step_size), max);
        prop_assert!(is_between(smith.at(step), last, max));
        prop_assert!(step < 2 * step_size || smith.at(step) == last);
        prop_assert!(step < step_size || smith.at(step + 1) <= smith.at(step));
    }

    /// Finite schedules: monotone from the first value to the last, which stays.
    #[test]
    fn falling_schedules_fall_and_stay((one, other) in bounds(), steps in 1..5000_u64, step in 0..10_000_u64) {
        let (low, high) = (one.min(other), one.max(other));
        for schedule in [
            Schedule::Linear(Linear { from: high, to: low, steps }),
            Schedule::Decay(Decay { base: low, max: high, step_size: steps }),
            Schedule::Cosine(Cosine { max: high, min: low, steps }),
            Schedule::RangeTest(RangeTest { min: high, max: low, steps, geometric: false }),
            Schedule::RangeTest(RangeTest { min: high, max: low, steps, geometric: true }),
        ] {
            prop_assert_eq!(schedule.at(0), high);
            prop_assert!(schedule.at(step + 1) <= schedule.at(step) * (1.0 + 1e-15), "{:?}", schedule);
            prop_assert_eq!(schedule.at(steps.saturating_add(step)), low);
        }
    }

    #[test]
    fn sgdr_agrees_with_counting(first_cycle in 1..50_u64, mult in 1..4_u64, steps in 1..2000_u64) {
        let sgdr = Schedule::Sgdr(Sgdr::new(1.0, 0.01, first_cycle, mult));
        let (mut since_restart, mut length) = (0, first_cycle);
        for step in 0..steps {
            let expected = Schedule::Cosine(Cosine { max: 1.0, min: 0.01, steps: length }).at(since_restart);
            prop_assert_eq!(sgdr.at(step), expected, "step {}", step);
            since_restart += 1;
            if since_restart == length {
                (since_restart, length) = (0, length * mult);
            }
        }
    }

    /// Ends in exact fractions: 1 + mult + mult^2 + ... first cycles.
    #[test]
    fn sgdr_restarts_where_exact_fractions_say(first in 1..40_u64, longer in 1..12_u64, shorter in 1..12_u64) {
        let mult = Ratio::new(longer.into(), shorter.into()).unwrap();
        let sgdr = Schedule::Sgdr(Sgdr { mult, ..Sgdr::new(1.0, 0.5, first, 1) });
        prop_assert_eq!(sgdr.cycle(0).map(|cycle| cycle.end), Some(first));
        let (mut end, mut length) = (Ratio::from(first), Ratio::from(first));
        let mut after = 0;
        for index in 1..8 {
            // Several cycles of less than a step may end at once.
            if end.ceil() > after {
                prop_assert_eq!(sgdr.next_cycle_end(after), Some(end.ceil()));
            }
            after = end.ceil();
            let began_now = sgdr.cycle(after).is_none_or(|cycle| cycle.index >= f64::from(index) && cycle.since < 1.0);
            prop_assert!(began_now, "{:?} at {}", sgdr.cycle(after), after);
            length = length.times(mult).unwrap();
            end = end.plus(length).unwrap();
        }
    }

    /// What `next_cycle_end` says is where stepping shows another cycle, whatever the factor.
    #[test]
    fn cycles_end_where_stepping_shows_it(
        first in 1.0..60.0_f64, mult in 0.3..3.0_f64, rational in any::<bool>(), steps in 1..500_u64,
    ) {
        let mult = if rational { (mult * 4.0).round() / 4.0 } else { mult };
        let cyclic = Cyclic { mult, up: first, down: first, ..Cyclic::new(0.0, 1.0, 1.0) };
        let sgdr = Sgdr { mult: Ratio::of_float(mult).unwrap(), ..Sgdr::new(1.0, 0.0, first as u64, 1) };
        for schedule in [Schedule::Cyclic(cyclic), Schedule::Sgdr(sgdr)] {
            let index = |step| schedule.cycle(step).map(|cycle| cycle.index);
            let mut next = schedule.next_cycle_end(0);
            for step in 1..steps {
                if index(step) != index(step - 1) {
                    prop_assert_eq!(next, Some(step), "{:?}", schedule);
                    next = schedule.next_cycle_end(step);
                }
                prop_assert!(next.is_none_or(|next| next > step), "{:?} at {}", schedule, step);
            }
        }
    }

    /// Factors that leave nothing of a peak, or make it infinite, over a thousand million steps.
    #[test]
    fn peaks_of_any_factor_stay_in_their_range_or_are_found_outside(
        (one, other) in bounds(), factor in prop_oneof![Just(1e-300), Just(1e300), 0.01..100.0_f64, 0.9999..1.0001_f64],
        mult in prop_oneof![Just(1.0), 0.2..5.0_f64], length in 1..2000_u32, step in prop_oneof![0..5000_u64, 0..1_000_000_000_u64],
        welch: bool,
    ) {
        let (low, high) = (one.min(other), one.max(other));
        let length = f64::from(length);
        let window = if welch { Window::Welch } else { Window::Linear };
        let amplitude = Amplitude::Factor(factor);
        let cyclic = Cyclic { window, mult, amplitude, ..Cyclic::new(low, high, length) };
        let sgdr = |peak| Sgdr { mult: Ratio::of_float(mult).unwrap(), peak, ..Sgdr::new(high, low, length as u64, 1) };
        for schedule in [
            Schedule::Cyclic(cyclic),
            Schedule::Sgdr(sgdr(Peak::Factor(factor))),
            Schedule::Sgdr(sgdr(Peak::AmplitudeFactor(factor))),
        ] {
            let value = schedule.at(step);
            prop_assert!(value >= low, "{:?}: {}", schedule, value);
            prop_assert!(factor > 1.0 || value <= high, "{:?}: {}", schedule, value);
            if !value.is_finite() {
                prop_assert!(schedule.first_outside(step + 1, f64::is_finite).is_some(), "{:?}", schedule);
            }
        }
    }

    /// Caffe keeps a counter, advances it by at most one an update, and reads it after that.
    #[test]
    fn multistep_agrees_with_caffes_counter(milestones in prop::collection::vec(0..60_u64, 0..6)) {
        let schedule = Schedule::MultiStep(MultiStep { base: 1.0, gamma: 0.5, milestones: milestones.clone() });
        let mut counter = 0;
        let mut expected = 1.0;
        for step in 0..80 {
            if counter < milestones.len() && step >= milestones[counter] {
                counter += 1;
                expected *= 0.5;
            }
            prop_assert_eq!(schedule.at(step), expected, "step {}", step);
        }
    }

    #[test]
    fn each_stage_of_a_sequence_is_as_if_alone(
        schedules in prop::collection::vec(any_schedule(), 1..4), steps in prop::collection::vec(0..50_u64, 3),
        offset in 0..50_u64,
    ) {
        let stages = schedules.iter().zip(&steps).map(|(schedule, &steps)| Stage { steps, schedule: schedule.clone() });
        let sequence = Schedule::Sequence(stages.collect());
        let mut start = 0;
        for (index, schedule) in schedules.iter().enumerate() {
            if offset < steps[index] || index + 1 == schedules.len() {
                prop_assert_eq!(sequence.at(start + offset).to_bits(), schedule.at(offset).to_bits());
            }
            start += steps[index];
        }
    }
}
