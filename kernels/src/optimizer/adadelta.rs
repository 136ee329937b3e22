//! The optimizer AdaDelta.

use super::cpu::for_each_weight;
use super::{Constant, DefaultValue, Descriptor, EPSILON, LR, Optimizer, Parameter, Range, Step, WEIGHT_DECAY};
use crate::Cpu;

/// `h = rho h + (1 - rho) g²; d = g sqrt((u + epsilon) / (h + epsilon)); u = rho u + (1 - rho) d²; w -= lr d` (Zeiler 2012).
pub(super) const ADADELTA: Descriptor = Descriptor {
    name: "adadelta",
    forms: "both forms agree but for the default of epsilon",
    hypers: &[LR, WEIGHT_DECAY],
    constants: &[
        Constant {
            default: DefaultValue::OfForm(1e-8, 1e-6),
            description: "keeps the divisor from 0; 1e-8 (caffe) or 1e-6 (torch) unless set",
            ..EPSILON
        },
        Constant {
            name: "rho",
            range: Range::Share,
            default: DefaultValue::Always(0.9),
            description: "what is kept of the mean squares at each step; Caffe's momentum",
        },
    ],
    state: &["mean_square", "mean_square_update"],
    update,
    kernel: "optimizer_adadelta",
};

fn update(cpu: &Cpu, optimizer: &Optimizer, step: &Step, parameter: Parameter<'_>) {
    let (lr, [epsilon, rho]) = (step.hypers.lr, optimizer.constants);
    for_each_weight(cpu, step, step.hypers.weight_decay, parameter, |w, g, [h, u]| {
        *h = rho * *h + (1.0 - rho) * g * g;
        let change = g * ((*u + epsilon) / (*h + epsilon)).sqrt();
        *u = rho * *u + (1.0 - rho) * change * change;
        *w -= lr * change;
    });
}
