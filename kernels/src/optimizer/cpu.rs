//! Optimizers on the CPU.

use super::{Adam, Form, Preparation, Rule};
use crate::{Cpu, ELEMENTS_PER_CHUNK};

/// Updates the weights `w` and the rule's `state` from the gradient `g`. A rule that keeps one value for each weight
/// leaves the second slice alone; it may be empty.
pub fn update(cpu: &Cpu, rule: &Rule, preparation: Preparation, w: &mut [f32], g: &[f32], state: [&mut [f32]; 2]) {
    let [first, second] = state;
    assert_eq!((g.len(), first.len()), (w.len(), w.len()));
    assert!(rule.state_count() < 2 || second.len() == w.len());
    if w.len() <= ELEMENTS_PER_CHUNK {
        cpu.isa().vectorize(
            #[inline(always)]
            || update_chunk(rule, preparation, w, g, first, second),
        );
        return;
    }
    let middle = (w.len() / 2).next_multiple_of(ELEMENTS_PER_CHUNK);
    let ((w_low, w_high), (g_low, g_high)) = (w.split_at_mut(middle), g.split_at(middle));
    let (first_low, first_high) = first.split_at_mut(middle);
    let (second_low, second_high) = second.split_at_mut(middle.min(second.len()));
    cpu.join(
        || update(cpu, rule, preparation, w_low, g_low, [first_low, second_low]),
        || update(cpu, rule, preparation, w_high, g_high, [first_high, second_high]),
    );
}

#[inline(always)]
fn update_chunk(
    rule: &Rule,
    preparation: Preparation,
    w: &mut [f32],
    g: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    let Preparation { gradient_scale, weight_decay } = preparation;
    let prepare = |g: f32, w: f32| gradient_scale * g + weight_decay * w;
    match *rule {
        Rule::Sgd { form: Form::Caffe, lr, momentum } => for_each_1(w, g, first, |w, g, v| {
            *v = momentum * *v + lr * prepare(g, *w);
            *w -= *v;
        }),
        Rule::Sgd { form: Form::Torch, lr, momentum } => for_each_1(w, g, first, |w, g, v| {
            *v = momentum * *v + prepare(g, *w);
            *w -= lr * *v;
        }),
        Rule::Nesterov { form: Form::Caffe, lr, momentum } => for_each_1(w, g, first, |w, g, v| {
            let before = *v;
            *v = momentum * before + lr * prepare(g, *w);
            *w -= (1.0 + momentum) * *v - momentum * before;
        }),
        Rule::Nesterov { form: Form::Torch, lr, momentum } => for_each_1(w, g, first, |w, g, v| {
            let g = prepare(g, *w);
            *v = momentum * *v + g;
            *w -= lr * (g + momentum * *v);
        }),
        Rule::Adam(adam) => {
            let scales = adam.scales();
            for_each_2(w, g, first, second, |w, g, m, v| *w -= adam.change(scales, prepare(g, *w), m, v));
        }
        Rule::AdamW { adam, decoupled_decay } => {
            let scales = adam.scales();
            let keep = 1.0 - adam.lr * decoupled_decay;
            for_each_2(w, g, first, second, |w, g, m, v| {
                let g = prepare(g, *w);
                *w = keep * *w - adam.change(scales, g, m, v);
            });
        }
        Rule::RmsProp { lr, decay, epsilon } => for_each_1(w, g, first, |w, g, h| {
            let g = prepare(g, *w);
            *h = decay * *h + (1.0 - decay) * g * g;
            *w -= lr * g / (h.sqrt() + epsilon);
        }),
        Rule::AdaGrad { lr, epsilon } => for_each_1(w, g, first, |w, g, h| {
            let g = prepare(g, *w);
            *h += g * g;
            *w -= lr * g / (h.sqrt() + epsilon);
        }),
        Rule::AdaDelta { lr, rho, epsilon } => for_each_2(w, g, first, second, |w, g, h, u| {
            let g = prepare(g, *w);
            *h = rho * *h + (1.0 - rho) * g * g;
            let change = g * ((*u + epsilon) / (*h + epsilon)).sqrt();
            *u = rho * *u + (1.0 - rho) * change * change;
            *w -= lr * change;
        }),
    }
}

#[inline(always)]
fn for_each_1(w: &mut [f32], g: &[f32], state: &mut [f32], f: impl Fn(&mut f32, f32, &mut f32)) {
    for ((w, &g), state) in w.iter_mut().zip(g).zip(state) {
        f(w, g, state);
    }
}

#[inline(always)]
fn for_each_2(
    w: &mut [f32],
    g: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    f: impl Fn(&mut f32, f32, &mut f32, &mut f32),
) {
    for (((w, &g), first), second) in w.iter_mut().zip(g).zip(first).zip(second) {
        f(w, g, first, second);
    }
}

impl Adam {
    /// What m and `sqrt v` are multiplied by: the learning rate and the corrections of both for having started at 0.
    fn scales(&self) -> (f32, f32) {
        let updates = (self.step + 1) as f64;
        let correction_m = 1.0 - libm::pow(f64::from(self.beta1), updates);
        let correction_v = (1.0 - libm::pow(f64::from(self.beta2), updates)).sqrt();
        let lr = f64::from(self.lr);
        match self.form {
            Form::Caffe => ((lr * correction_v / correction_m) as f32, 1.0),
            Form::Torch => ((lr / correction_m) as f32, (1.0 / correction_v) as f32),
        }
    }

    /// What is subtracted from the weight.
    #[inline(always)]
    fn change(&self, (m_scale, v_scale): (f32, f32), g: f32, m: &mut f32, v: &mut f32) -> f32 {
        *m = self.beta1 * *m + (1.0 - self.beta1) * g;
        *v = self.beta2 * *v + (1.0 - self.beta2) * g * g;
        m_scale * *m / (v.sqrt() * v_scale + self.epsilon)
    }
}
