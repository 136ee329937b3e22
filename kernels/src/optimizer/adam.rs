//! Adam, and AdamW with its decoupled weight decay.

use super::cpu::for_each_weight;
use super::{BETA1, BETA2, Descriptor, EPSILON, Form, LR, Optimizer, Parameter, Step, WEIGHT_DECAY};
use crate::Cpu;
use crate::step::Hypers;

/// `m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g²` (Kingma and Ba 2015). With t counting updates from 1,
/// Caffe's form: `w -= lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt v + epsilon)`; Torch's:
/// `w -= lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + epsilon)`.
pub(super) const ADAM: Descriptor = Descriptor {
    name: "adam",
    forms: FORMS,
    hypers: &[LR, WEIGHT_DECAY, BETA1, BETA2],
    constants: &[EPSILON],
    state: &["first_moment", "second_moment"],
    update: adam,
    kernel: "optimizer_adam",
};

/// Adam after `w -= lr weight_decay w`: the decay does not pass through m and v (Loshchilov and Hutter 2019).
pub(super) const ADAMW: Descriptor = Descriptor { name: "adamw", update: adamw, kernel: "optimizer_adamw", ..ADAM };

const FORMS: &str =
    "where epsilon is added: caffe: to the square root before its correction for having started at 0; torch: after it";

fn adam(cpu: &Cpu, optimizer: &Optimizer, step: &Step, parameter: Parameter<'_>) {
    let moments = Moments::new(optimizer, step);
    for_each_weight(cpu, step, step.hypers.weight_decay, parameter, |w, g, [m, v]| {
        moments.average(g, m, v);
        *w -= moments.change(*m, *v);
    });
}

fn adamw(cpu: &Cpu, optimizer: &Optimizer, step: &Step, parameter: Parameter<'_>) {
    let (moments, keep) = (Moments::new(optimizer, step), 1.0 - step.hypers.lr * step.hypers.weight_decay);
    for_each_weight(cpu, step, 0.0, parameter, |w, g, [m, v]| {
        moments.average(g, m, v);
        *w = keep * *w - moments.change(*m, *v);
    });
}

/// The moments of Adam and its relatives, with their hyper-parameters.
#[derive(Clone, Copy)]
pub(super) struct Moments {
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    /// Factor of m: the learning rate and the corrections for having started at 0.
    m_scale: f32,
    /// Factor of `sqrt v`.
    v_scale: f32,
}

impl Moments {
    pub fn new(optimizer: &Optimizer, step: &Step) -> Moments {
        let Hypers { lr, beta1, beta2, .. } = step.hypers;
        let (updates, lr) = ((step.step + 1) as f64, f64::from(lr));
        let correction_m = 1.0 - libm::pow(f64::from(beta1), updates);
        let correction_v = (1.0 - libm::pow(f64::from(beta2), updates)).sqrt();
        let (m_scale, v_scale) = match optimizer.form {
            Form::Caffe => (lr * correction_v / correction_m, 1.0),
            Form::Torch => (lr / correction_m, 1.0 / correction_v),
        };
        let [epsilon, _] = optimizer.constants;
        Moments { beta1, beta2, epsilon, m_scale: m_scale as f32, v_scale: v_scale as f32 }
    }

    /// Takes a gradient into both moments.
    #[inline(always)]
    pub fn average(self, g: f32, m: &mut f32, v: &mut f32) {
        *m = self.beta1 * *m + (1.0 - self.beta1) * g;
        *v = self.beta2 * *v + (1.0 - self.beta2) * g * g;
    }

    /// The amount that is subtracted from a weight.
    #[inline(always)]
    pub fn change(self, m: f32, v: f32) -> f32 {
        self.m_scale * m / (v.sqrt() * self.v_scale + self.epsilon)
    }
}
