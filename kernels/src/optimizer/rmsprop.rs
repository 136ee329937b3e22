//! The optimizer RMSProp.

use super::cpu::for_each_weight;
use super::{Constant, DefaultValue, Descriptor, EPSILON, LR, Optimizer, Parameter, Range, Step, WEIGHT_DECAY};
use crate::Cpu;

/// `h = rms_decay h + (1 - rms_decay) g²; w -= lr g / (sqrt h + epsilon)` (Tieleman and Hinton 2012).
pub(super) const RMSPROP: Descriptor = Descriptor {
    name: "rmsprop",
    forms: "both forms agree but for the default of epsilon",
    hypers: &[LR, WEIGHT_DECAY],
    constants: &[
        EPSILON,
        Constant {
            name: "rms_decay",
            range: Range::Share,
            default: DefaultValue::Always(0.99),
            description: "what is kept of the mean square at each step",
        },
    ],
    state: &["mean_square"],
    update,
    kernel: "optimizer_rmsprop",
};

fn update(cpu: &Cpu, optimizer: &Optimizer, step: &Step, parameter: Parameter<'_>) {
    let (lr, [epsilon, decay]) = (step.hypers.lr, optimizer.constants);
    for_each_weight(cpu, step, step.hypers.weight_decay, parameter, |w, g, [h]| {
        *h = decay * *h + (1.0 - decay) * g * g;
        *w -= lr * g / (h.sqrt() + epsilon);
    });
}
