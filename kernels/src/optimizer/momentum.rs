//! Stochastic gradient descent with momentum, plain and Nesterov's.

use super::cpu::for_each_weight;
use super::{Descriptor, Form, LR, MOMENTUM, Optimizer, Parameter, Step, WEIGHT_DECAY};
use crate::Cpu;
use crate::step::Hypers;

/// Caffe's form: `v = momentum v + lr g; w -= v`. Torch's: `v = momentum v + g; w -= lr v`.
///
/// Where the learning rate changes, the two train differently: Caffe's momentum keeps the rates that its gradients came with.
pub(super) const SGD: Descriptor = Descriptor {
    name: "sgd",
    forms: "caffe: v = momentum v + lr g, w -= v; torch: v = momentum v + g, w -= lr v",
    hypers: &[LR, MOMENTUM, WEIGHT_DECAY],
    constants: &[],
    state: &["momentum"],
    update: sgd,
    kernel: "optimizer_sgd",
};

/// Caffe's form: `v' = momentum v + lr g; w -= (1 + momentum) v' - momentum v`. Torch's: `v = momentum v + g; w -= lr (g +
/// momentum v)`. (Sutskever et al. 2013.)
pub(super) const NESTEROV: Descriptor = Descriptor {
    name: "nesterov",
    forms: "caffe: v' = momentum v + lr g, w -= (1 + momentum) v' - momentum v; torch: v = momentum v + g, \
        w -= lr (g + momentum v)",
    hypers: &[LR, MOMENTUM, WEIGHT_DECAY],
    constants: &[],
    state: &["momentum"],
    update: nesterov,
    kernel: "optimizer_nesterov",
};

fn sgd(cpu: &Cpu, optimizer: &Optimizer, step: &Step, parameter: Parameter<'_>) {
    let Hypers { lr, momentum, weight_decay, .. } = step.hypers;
    match optimizer.form {
        Form::Caffe => for_each_weight(cpu, step, weight_decay, parameter, |w, g, [v]| {
            *v = momentum * *v + lr * g;
            *w -= *v;
        }),
        Form::Torch => for_each_weight(cpu, step, weight_decay, parameter, |w, g, [v]| {
            *v = momentum * *v + g;
            *w -= lr * *v;
        }),
    }
}

fn nesterov(cpu: &Cpu, optimizer: &Optimizer, step: &Step, parameter: Parameter<'_>) {
    let Hypers { lr, momentum, weight_decay, .. } = step.hypers;
    match optimizer.form {
        Form::Caffe => for_each_weight(cpu, step, weight_decay, parameter, |w, g, [v]| {
            let before = *v;
            *v = momentum * before + lr * g;
            *w -= (1.0 + momentum) * *v - momentum * before;
        }),
        Form::Torch => for_each_weight(cpu, step, weight_decay, parameter, |w, g, [v]| {
            *v = momentum * *v + g;
            *w -= lr * (g + momentum * *v);
        }),
    }
}
