//! The optimizer AMSGrad.

use super::adam::{ADAM, Moments};
use super::cpu::for_each_weight;
use super::{Descriptor, Optimizer, Parameter, Step};
use crate::Cpu;

/// Adam with the largest second moment so far in place of the present one, `u = max(u, v)` (Reddi et al. 2018): the step that
/// the learning rate is divided into never grows, so that a large rate at the top of a cycle meets no small divisor.
pub(super) const AMSGRAD: Descriptor = Descriptor {
    name: "amsgrad",
    state: &["first_moment", "second_moment", "largest_second_moment"],
    update,
    kernel: "optimizer_amsgrad",
    ..ADAM
};

fn update(cpu: &Cpu, optimizer: &Optimizer, step: &Step, parameter: Parameter<'_>) {
    let moments = Moments::new(optimizer, step);
    for_each_weight(cpu, step, step.hypers.weight_decay, parameter, |w, g, [m, v, u]| {
        moments.average(g, m, v);
        // A moment that is not a number stays, so that divergence shows.
        *u = if *u > *v { *u } else { *v };
        *w -= moments.change(*m, *u);
    });
}
