//! The optimizer AdaGrad.

use super::cpu::for_each_weight;
use super::{Constant, DefaultValue, Descriptor, EPSILON, LR, Optimizer, Parameter, Step, WEIGHT_DECAY};
use crate::Cpu;

/// `h += g²; w -= lr g / (sqrt h + epsilon)` (Duchi et al. 2011).
pub(super) const ADAGRAD: Descriptor = Descriptor {
    name: "adagrad",
    forms: "both forms agree but for the default of epsilon",
    hypers: &[LR, WEIGHT_DECAY],
    constants: &[Constant {
        default: DefaultValue::OfForm(1e-8, 1e-10),
        description: "keeps the divisor from 0; 1e-8 (caffe) or 1e-10 (torch) unless set",
        ..EPSILON
    }],
    state: &["square_sum"],
    update,
    kernel: "optimizer_adagrad",
};

fn update(cpu: &Cpu, optimizer: &Optimizer, step: &Step, parameter: Parameter<'_>) {
    let (lr, [epsilon, _]) = (step.hypers.lr, optimizer.constants);
    for_each_weight(cpu, step, step.hypers.weight_decay, parameter, |w, g, [h]| {
        *h += g * g;
        *w -= lr * g / (h.sqrt() + epsilon);
    });
}
