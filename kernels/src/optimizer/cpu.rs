//! The loop over a parameter that the updates on the CPU have in common.

use super::{Parameter, Step};
use crate::{Cpu, ELEMENTS_PER_CHUNK};

/// Calls `update(w, g, state)` for each weight, on all threads: the gradient scaled and with `weight_decay` times the weight
/// added to it, which is the derivative of a penalty of `weight_decay / 2 Σ w²`; and the first `N` values of the state.
#[inline(always)]
pub(super) fn for_each_weight<const N: usize>(
    cpu: &Cpu,
    step: &Step,
    weight_decay: f32,
    parameter: Parameter<'_>,
    update: impl Fn(&mut f32, f32, [&mut f32; N]) + Copy + Sync,
) {
    let Parameter { w, g, state } = parameter;
    let mut state = state.into_iter();
    let state = [(); N].map(|()| state.next().expect("as much state as there may be"));
    assert!(g.len() == w.len() && state.iter().all(|values| values.len() == w.len()));
    let prepared = (step.gradient_scale, weight_decay);
    for_each_in_pieces(cpu, prepared, w, g, state, update);
}

fn for_each_in_pieces<const N: usize>(
    cpu: &Cpu,
    prepared @ (gradient_scale, weight_decay): (f32, f32),
    w: &mut [f32],
    g: &[f32],
    state: [&mut [f32]; N],
    update: impl Fn(&mut f32, f32, [&mut f32; N]) + Copy + Sync,
) {
    let len = w.len();
    if len <= ELEMENTS_PER_CHUNK {
        return cpu.isa().vectorize(
            #[inline(always)]
            || {
                // Cut to one length, so that the compiler sees that no index is out of bounds.
                let (w, g, state) = (&mut w[..len], &g[..len], state.map(|values| &mut values[..len]));
                let mut state = state;
                for i in 0..len {
                    let g = gradient_scale * g[i] + weight_decay * w[i];
                    update(&mut w[i], g, state.each_mut().map(|values| &mut values[i]));
                }
            },
        );
    }
    let middle = (len / 2).next_multiple_of(ELEMENTS_PER_CHUNK);
    let ((w_low, w_high), (g_low, g_high)) = (w.split_at_mut(middle), g.split_at(middle));
    let halves = state.map(|values| values.split_at_mut(middle));
    let (mut low, mut high) = ([const { None }; N], [const { None }; N]);
    for (index, (first, second)) in halves.into_iter().enumerate() {
        (low[index], high[index]) = (Some(first), Some(second));
    }
    let [low, high] = [low, high].map(|half| half.map(Option::unwrap_or_default));
    cpu.join(
        || for_each_in_pieces(cpu, prepared, w_low, g_low, low, update),
        || for_each_in_pieces(cpu, prepared, w_high, g_high, high, update),
    );
}
