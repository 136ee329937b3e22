//! The optimizers, one a file: each is one [`Descriptor`] of all that is known of it, from its name to its update.
//!
//! Adding one is a file here with its descriptor and its update on the CPU, a line in [`ALL`], and a file with its kernel, which
//! `kernels/cuda/kernels.cu` includes. Nothing else tells optimizers apart: plugins declare to the host what [`ALL`] says.

mod adadelta;
mod adagrad;
mod adam;
mod amsgrad;
mod cpu;
pub mod cuda;
mod momentum;
mod rmsprop;

use crate::Cpu;
use crate::step::Hypers;

/// All optimizers, in the order in which they are shown.
pub const ALL: &[&Descriptor] = &[
    &momentum::SGD,
    &momentum::NESTEROV,
    &adam::ADAM,
    &adam::ADAMW,
    &amsgrad::AMSGRAD,
    &rmsprop::RMSPROP,
    &adagrad::ADAGRAD,
    &adadelta::ADADELTA,
];

/// All that is known of an optimizer.
#[derive(Debug)]
pub struct Descriptor {
    /// The name that specs use.
    pub name: &'static str,
    /// How Caffe's form and Torch's differ.
    pub forms: &'static str,
    /// Hyper-parameters that it reads, which may change at every step.
    pub hypers: &'static [Hyper],
    /// Numbers that stay the same, at most [`MOST_CONSTANTS`].
    pub constants: &'static [Constant],
    /// Names of the tensors that it keeps for each parameter, of its shape and 0 at first: 1 to [`MOST_STATES`].
    pub state: &'static [&'static str],
    /// Updates a parameter on the CPU.
    update: fn(&Cpu, &Optimizer, &Step, Parameter<'_>),
    /// Updates all parameters on a GPU; see `optimizer.cuh`.
    kernel: &'static str,
}

/// Tensors that an optimizer keeps for each parameter, at most.
pub const MOST_STATES: usize = 3;

/// Constants of an optimizer, at most.
pub const MOST_CONSTANTS: usize = 2;

/// A hyper-parameter: a column of the step table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyper {
    /// The name of its column, one of [`Hypers::NAMES`].
    pub name: &'static str,
    /// The values that a schedule may give it.
    pub range: Range,
    /// Its value where neither a spec nor an architecture says another.
    pub default: Option<f64>,
}

/// A number that stays the same for a whole trial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constant {
    /// The name that specs use.
    pub name: &'static str,
    /// The values that it may have.
    pub range: Range,
    /// Its value where a spec says none.
    pub default: DefaultValue,
    /// One line for people.
    pub description: &'static str,
}

/// The default of a [`Constant`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DefaultValue {
    /// The same in both forms.
    Always(f64),
    /// In Caffe's form, and in Torch's: no JSON Schema can say that, so the schema has no default.
    OfForm(f64, f64),
}

/// The values that a number may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// Zero, or any number above it.
    NotNegative,
    /// Any number above zero.
    Positive,
    /// From 0 to 1, without 1: the share that is kept of an average.
    Share,
}

const LR: Hyper = Hyper { name: "lr", range: Range::NotNegative, default: None };
const MOMENTUM: Hyper = Hyper { name: "momentum", range: Range::Share, default: None };
const WEIGHT_DECAY: Hyper = Hyper { name: "weight_decay", range: Range::NotNegative, default: None };
// The defaults of Kingma and Ba (2015), which Caffe and PyTorch took over.
const BETA1: Hyper = Hyper { name: "beta1", range: Range::Share, default: Some(0.9) };
const BETA2: Hyper = Hyper { name: "beta2", range: Range::Share, default: Some(0.999) };

/// 1e-8, as Caffe's `delta` is unless a solver says otherwise.
const EPSILON: Constant = Constant {
    name: "epsilon",
    range: Range::Positive,
    default: DefaultValue::OfForm(1e-8, 1e-8),
    description: "keeps the divisor from 0; 1e-8 unless set",
};

/// A formula has two authors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Caffe's form, which Smith's tables were made with.
    Caffe,
    /// Torch's and PyTorch's form.
    Torch,
}

/// A trial's optimizer: a descriptor, with what stays the same for the whole trial.
#[derive(Clone, Copy, Debug)]
pub struct Optimizer {
    descriptor: &'static Descriptor,
    form: Form,
    /// In the descriptor's order; the rest is 0.
    constants: [f32; MOST_CONSTANTS],
    max_grad_norm: f32,
}

/// The hyper-parameters of one update of one parameter, times the parameter's multipliers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The row of the step table, its learning rate and weight decay multiplied.
    pub hypers: Hypers,
    /// Updates before this one.
    pub step: u64,
    /// 1, or less where gradients are clipped: see [`Optimizer::gradient_scale`].
    pub gradient_scale: f32,
}

/// A parameter, its gradient and the optimizer's state, all of one length.
#[derive(Debug)]
pub struct Parameter<'a> {
    /// The weights, which are updated in place.
    pub w: &'a mut [f32],
    /// The gradient of the loss.
    pub g: &'a [f32],
    /// In the order of [`Descriptor::state`]; those that it has no name for are not looked at and may be empty.
    pub state: [&'a mut [f32]; MOST_STATES],
}

impl Optimizer {
    /// An optimizer with the constants that `constant` knows by name, and the defaults of the others. Gradients of a norm above
    /// `max_grad_norm` are scaled down to it; 0: none are.
    pub fn new(
        descriptor: &'static Descriptor,
        form: Form,
        max_grad_norm: f32,
        constant: impl Fn(&str) -> Option<f64>,
    ) -> Optimizer {
        let mut constants = [0.0; MOST_CONSTANTS];
        for (value, known) in constants.iter_mut().zip(descriptor.constants) {
            *value = constant(known.name).unwrap_or_else(|| known.default.of(form)) as f32;
        }
        Optimizer { descriptor, form, constants, max_grad_norm }
    }

    /// The descriptor of its kind.
    pub fn descriptor(&self) -> &'static Descriptor {
        self.descriptor
    }

    /// The factor of all gradients, given the L2 norm of all of them together.
    pub fn gradient_scale(&self, grad_norm: f32) -> f32 {
        let is_too_long = self.max_grad_norm > 0.0 && grad_norm > self.max_grad_norm;
        if is_too_long { self.max_grad_norm / grad_norm } else { 1.0 }
    }

    /// Updates a parameter and the state that is kept for it.
    ///
    /// # Panics
    /// If lengths differ.
    pub fn update(&self, cpu: &Cpu, step: &Step, parameter: Parameter<'_>) {
        (self.descriptor.update)(cpu, self, step, parameter);
    }
}

impl PartialEq for Optimizer {
    fn eq(&self, other: &Optimizer) -> bool {
        let settings = |it: &Optimizer| (it.descriptor.name, it.form, it.constants, it.max_grad_norm);
        settings(self) == settings(other)
    }
}

impl DefaultValue {
    fn of(self, form: Form) -> f64 {
        match (self, form) {
            (DefaultValue::Always(value), _) | (DefaultValue::OfForm(value, _), Form::Caffe) => value,
            (DefaultValue::OfForm(_, value), Form::Torch) => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, goldens, on_every_cpu, values};

    const HYPERS: Hypers = Hypers { lr: 0.1, momentum: 0.9, weight_decay: 0.1, beta1: 0.8, beta2: 0.95 };

    fn optimizer(name: &str, form: Form) -> Optimizer {
        let descriptor = ALL.iter().find(|descriptor| descriptor.name == name).unwrap();
        Optimizer::new(descriptor, form, 0.0, |constant| match constant {
            "epsilon" => Some(0.05),
            "rms_decay" => Some(0.7),
            "rho" => Some(0.6),
            _ => None,
        })
    }

    #[test]
    fn steps_agree_with_pytorch_and_caffe() {
        let goldens = goldens(include_str!("../../goldens/optimizer.json"));
        let names: std::collections::BTreeSet<String> = goldens.iter().map(|golden| golden.text("rule")).collect();
        assert_eq!(names.len(), ALL.len());
        for golden in goldens {
            let form = if golden.size("caffe") == 1 { Form::Caffe } else { Form::Torch };
            let name = golden.text("rule");
            let optimizer = optimizer(&name, form);
            let gradients = golden.input("gradients");
            for (_, results) in on_every_cpu(|cpu| {
                let mut w = golden.input("w");
                let mut state = [(); MOST_STATES].map(|()| vec![0.0; w.len()]);
                let mut results = Vec::new();
                let steps = [0.1, 0.3, 0.2, 0.05, 0.4].into_iter().zip(gradients.chunks_exact(6));
                for (step, (lr, g)) in (0..).zip(steps) {
                    let step = Step { hypers: Hypers { lr, ..HYPERS }, step, gradient_scale: 1.0 };
                    let state = state.each_mut().map(|values| &mut values[..]);
                    optimizer.update(cpu, &step, Parameter { w: &mut w, g, state });
                    results.extend(&w);
                }
                results
            }) {
                assert_close(&format!("{name} {form:?}"), &results, &golden.tensor("results"), 2e-6);
            }
        }
    }

    /// More than two chunks: the pieces do what one piece does.
    #[test]
    fn long_parameters_are_updated_in_pieces() {
        let (len, adam) = (40_003, optimizer("adam", Form::Caffe));
        let (w, g) = (values(1, len), values(2, len));
        for (_, results) in on_every_cpu(|cpu| {
            let (mut w, mut first, mut second) = (w.clone(), vec![0.0; len], vec![0.0; len]);
            let step = Step { hypers: Hypers { weight_decay: 0.0, ..HYPERS }, step: 0, gradient_scale: 1.0 };
            let state = [&mut first[..], &mut second, &mut []];
            adam.update(cpu, &step, Parameter { w: &mut w, g: &g, state });
            [w, first, second].concat()
        }) {
            let (updated, first) = (&results[..len], &results[len..2 * len]);
            // After one step m is (1 - beta1) g, and the weight has moved by nearly lr against the sign of g.
            assert_close("m", first, &g.iter().map(|g| 0.2 * f64::from(*g)).collect::<Vec<_>>(), 1e-6);
            assert!(updated.iter().zip(&w).zip(&g).all(|((updated, w), g)| (w - updated) * g >= 0.0));
        }
    }

    #[test]
    fn gradients_are_scaled_before_weight_decay() {
        let sgd = optimizer("sgd", Form::Caffe);
        for (_, w) in on_every_cpu(|cpu| {
            let (mut w, mut v) = (vec![2.0], vec![0.0]);
            let hypers = Hypers { weight_decay: 0.25, ..HYPERS };
            let state = [&mut v[..], &mut [], &mut []];
            let step = Step { hypers, step: 0, gradient_scale: 0.5 };
            sgd.update(cpu, &step, Parameter { w: &mut w, g: &[4.0], state });
            w
        }) {
            assert_close("w", &w, &[2.0 - 0.1 * (0.5 * 4.0 + 0.25 * 2.0)], 1e-7);
        }
    }

    #[test]
    fn gradients_are_scaled_down_to_the_limit_only() {
        let scale = |limit, norm| Optimizer::new(ALL[0], Form::Caffe, limit, |_| None).gradient_scale(norm);
        assert_eq!([scale(0.0, 5.0), scale(2.5, 5.0), scale(5.0, 5.0), scale(5.0, 1.0)], [1.0, 0.5, 1.0, 1.0]);
        assert_eq!(scale(5.0, f32::NAN), 1.0);
    }

    #[test]
    fn descriptors_are_whole() {
        for descriptor in ALL {
            let Descriptor { name, hypers, constants, state, kernel, .. } = descriptor;
            assert!(hypers.iter().all(|hyper| Hypers::NAMES.contains(&hyper.name)), "{name}");
            assert!(constants.len() <= MOST_CONSTANTS && (1..=MOST_STATES).contains(&state.len()), "{name}");
            assert_eq!(ALL.iter().filter(|other| other.name == *name || other.kernel == *kernel).count(), 1, "{name}");
        }
    }
}
