//! One update of a parameter by each of the optimizers, in one pass over its values.

mod cpu;
pub mod cuda;

pub use cpu::update;

/// A rule with its hyper-parameters at one step. With w a weight, g its gradient (weight decay included), m, v, h and u
/// state that starts at 0:
///
/// | rule | Caffe's form | Torch's form |
/// |---|---|---|
/// | SGD | `v = momentum v + lr g; w -= v` | `v = momentum v + g; w -= lr v` |
/// | Nesterov | `v' = momentum v + lr g; w -= (1 + momentum) v' - momentum v` | `v = momentum v + g; w -= lr (g + momentum v)` |
/// | Adam | `w -= lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt v + epsilon)` | `w -= lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + epsilon)` |
///
/// Where the learning rate changes, the two forms of SGD and Nesterov train differently: Caffe's momentum keeps the rates
/// that its gradients came with. Adam (Kingma and Ba 2015): `m = beta1 m + (1 - beta1) g`, `v = beta2 v + (1 - beta2) g²`,
/// t counts updates from 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Stochastic gradient descent with momentum. State: v.
    Sgd {
        /// Where the learning rate stands.
        form: Form,
        /// Learning rate.
        lr: f32,
        /// What is kept of v.
        momentum: f32,
    },
    /// Nesterov's accelerated gradient. State: v.
    Nesterov {
        /// Where the learning rate stands.
        form: Form,
        /// Learning rate.
        lr: f32,
        /// What is kept of v.
        momentum: f32,
    },
    /// Adam. State: m, v.
    Adam(Adam),
    /// Adam with `w -= lr decoupled_decay w` before it (Loshchilov and Hutter 2019). State: m, v.
    AdamW {
        /// The rule that follows.
        adam: Adam,
        /// Weight decay that does not pass through m and v.
        decoupled_decay: f32,
    },
    /// `h = decay h + (1 - decay) g²; w -= lr g / (sqrt h + epsilon)` (Tieleman and Hinton 2012). State: h.
    RmsProp {
        /// Learning rate.
        lr: f32,
        /// What is kept of h.
        decay: f32,
        /// Keeps the divisor from 0.
        epsilon: f32,
    },
    /// `h += g²; w -= lr g / (sqrt h + epsilon)` (Duchi et al. 2011). State: h.
    AdaGrad {
        /// Learning rate.
        lr: f32,
        /// Keeps the divisor from 0.
        epsilon: f32,
    },
    /// `h = rho h + (1 - rho) g²; d = g sqrt((u + epsilon) / (h + epsilon)); u = rho u + (1 - rho) d²; w -= lr d`
    /// (Zeiler 2012). State: h, u.
    AdaDelta {
        /// Learning rate.
        lr: f32,
        /// What is kept of h and u.
        rho: f32,
        /// Keeps the divisor from 0, and starts the process.
        epsilon: f32,
    },
}

/// Adam's hyper-parameters at one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Where epsilon stands: beside `sqrt v` (Caffe) or beside the corrected `sqrt v` (Torch).
    pub form: Form,
    /// Learning rate.
    pub lr: f32,
    /// What is kept of m.
    pub beta1: f32,
    /// What is kept of v.
    pub beta2: f32,
    /// Keeps the divisor from 0.
    pub epsilon: f32,
    /// Updates before this one.
    pub step: u64,
}

/// Whose formula.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Caffe's, which Smith's tables were made with.
    Caffe,
    /// Torch's and PyTorch's.
    Torch,
}

/// What is done to a gradient before the rule sees it: `g = gradient_scale g + weight_decay w`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preparation {
    /// 1, or less where the gradient is clipped.
    pub gradient_scale: f32,
    /// The derivative of an L2 penalty of `weight_decay / 2 Σ w²`.
    pub weight_decay: f32,
}

impl Rule {
    /// How many values the rule keeps for each weight: 1 or 2.
    pub fn state_count(&self) -> usize {
        match self {
            Rule::Sgd { .. } | Rule::Nesterov { .. } | Rule::RmsProp { .. } | Rule::AdaGrad { .. } => 1,
            Rule::Adam(_) | Rule::AdamW { .. } | Rule::AdaDelta { .. } => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, goldens, on_every_cpu, values};

    const PLAIN: Preparation = Preparation { gradient_scale: 1.0, weight_decay: 0.0 };

    /// A rule with the constants that `make_goldens_layers.py` has.
    fn rule(name: &str, form: Form, lr: f32, step: u64) -> Rule {
        let (momentum, epsilon) = (0.9, 0.05);
        let adam = Adam { form, lr, beta1: 0.8, beta2: 0.95, epsilon, step };
        match name {
            "sgd" => Rule::Sgd { form, lr, momentum },
            "nesterov" => Rule::Nesterov { form, lr, momentum },
            "adam" => Rule::Adam(adam),
            "adamw" => Rule::AdamW { adam, decoupled_decay: 0.1 },
            "rmsprop" => Rule::RmsProp { lr, decay: 0.7, epsilon },
            "adagrad" => Rule::AdaGrad { lr, epsilon },
            "adadelta" => Rule::AdaDelta { lr, rho: 0.6, epsilon },
            _ => panic!("no rule {name}"),
        }
    }

    #[test]
    fn steps_agree_with_pytorch_and_caffe() {
        let goldens = goldens(include_str!("../../goldens/optimizer.json"));
        assert_eq!(goldens.len(), 13);
        for golden in goldens {
            let form = if golden.size("caffe") == 1 { Form::Caffe } else { Form::Torch };
            let name = golden.text("rule");
            let gradients = golden.input("gradients");
            let weight_decay = if name == "adamw" { 0.0 } else { 0.1 };
            for (_, results) in on_every_cpu(|cpu| {
                let mut w = golden.input("w");
                let (mut first, mut second) = (vec![0.0; w.len()], vec![0.0; w.len()]);
                let mut results = Vec::new();
                for (step, (lr, g)) in [0.1, 0.3, 0.2, 0.05, 0.4].into_iter().zip(gradients.chunks_exact(6)).enumerate()
                {
                    let preparation = Preparation { gradient_scale: 1.0, weight_decay };
                    let state = [&mut first[..], &mut second[..]];
                    update(cpu, &rule(&name, form, lr, step as u64), preparation, &mut w, g, state);
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
        let (len, rule) = (40_003, rule("adam", Form::Caffe, 0.1, 0));
        let (w, g) = (values(1, len), values(2, len));
        for (_, results) in on_every_cpu(|cpu| {
            let (mut w, mut first, mut second) = (w.clone(), vec![0.0; len], vec![0.0; len]);
            update(cpu, &rule, PLAIN, &mut w, &g, [&mut first, &mut second]);
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
        for (_, w) in on_every_cpu(|cpu| {
            let (mut w, mut v) = (vec![2.0], vec![0.0]);
            let preparation = Preparation { gradient_scale: 0.5, weight_decay: 0.25 };
            let rule = Rule::Sgd { form: Form::Caffe, lr: 0.1, momentum: 0.9 };
            update(cpu, &rule, preparation, &mut w, &[4.0], [&mut v, &mut []]);
            w
        }) {
            assert_close("w", &w, &[2.0 - 0.1 * (0.5 * 4.0 + 0.25 * 2.0)], 1e-7);
        }
    }
}
