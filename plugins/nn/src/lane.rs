//! One trial: its weights and state, and a step forward, backward and up.

use std::mem;

use clr_kernels::norm::l2_norm;
use clr_kernels::optimizer::{self, MOST_STATES};
use clr_kernels::softmax_cross_entropy::Score;
use clr_kernels::step::Part;
use clr_kernels::{Activation, Cpu, add};

use crate::clock::{Clock, NoClock, Phase};
use crate::columns::Hypers;
use crate::executor::{Batch, Workspace, run};
use crate::model::Model;
use crate::network::Network;
use crate::op::Pass;
use crate::optimizer::LaneOptimizer;
use crate::program::Instruction;

/// A trial's own: seeds, weights, buffers and the optimizer with its state.
#[derive(Debug)]
pub(crate) struct Lane {
    pub optimizer: LaneOptimizer,
    pub init_seed: u64,
    pub data_seed: u64,
    /// All parameters, in the network's order.
    pub weights: Vec<f32>,
    /// All that layers remember.
    pub buffers: Vec<f32>,
    /// The optimizer's state for each weight; kinds that it does not keep are empty.
    pub state: [Vec<f32>; MOST_STATES],
}

/// The metrics of one update, measured before it was made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measured {
    pub score: Score,
    /// L2 norm of the loss's gradient, before decay and clipping.
    pub grad_norm: f32,
}

impl Lane {
    /// A lane at step 0.
    pub fn new(network: &Network, optimizer: LaneOptimizer, init_seed: u64, data_seed: u64) -> Lane {
        let mut weights = vec![0.0; network.parameter_len()];
        for (index, slot) in network.parameters().iter().enumerate() {
            slot.parameter.initializer.fill(&mut weights[slot.range.clone()], slot.fan_in, init_seed, index);
        }
        let mut buffers = vec![0.0; network.buffer_len()];
        for buffer in network.buffers() {
            buffers[buffer.range.clone()].fill(buffer.initial);
        }
        let state = std::array::from_fn(|index| {
            let is_kept = index < optimizer.state_names().len();
            vec![0.0; if is_kept { weights.len() } else { 0 }]
        });
        Lane { optimizer, init_seed, data_seed, weights, buffers, state }
    }

    /// One update of one batch, after `step` updates.
    #[expect(clippy::too_many_arguments, reason = "what a step reads, and who times it")]
    pub fn train(
        &mut self,
        cpu: &Cpu,
        model: &Model,
        workspace: &mut Workspace,
        batch: Batch<'_>,
        hypers: &Hypers,
        step: u64,
        clock: &mut impl Clock,
    ) -> Measured {
        let part = Part::whole(batch.labels.len());
        let score = self.differentiate(cpu, model, workspace, batch, part, step, clock);
        Measured { score, grad_norm: self.update(cpu, model, workspace, hypers, step, clock) }
    }

    /// Scores a batch of an update, and adds its share to the gradients of the parts before it. What is returned is its share
    /// too.
    #[expect(clippy::too_many_arguments, reason = "what a step reads, and who times it")]
    pub fn differentiate(
        &mut self,
        cpu: &Cpu,
        model: &Model,
        workspace: &mut Workspace,
        batch: Batch<'_>,
        part: Part,
        step: u64,
        clock: &mut impl Clock,
    ) -> Score {
        let pass = Pass { part, ..self.pass(cpu, model, batch, true, step) };
        if part.first > 0 {
            mem::swap(&mut workspace.gradients, &mut workspace.accumulated);
        }
        let score = self.run(&pass, model, &model.program.training, workspace, batch, clock);
        if part.first > 0 {
            add::accumulate(cpu, Activation::None, &workspace.accumulated, &mut workspace.gradients);
        }
        score
    }

    /// Updates the weights by the gradients of all parts of an update, and returns their norm.
    pub fn update(
        &mut self,
        cpu: &Cpu,
        model: &Model,
        workspace: &Workspace,
        hypers: &Hypers,
        step: u64,
        clock: &mut impl Clock,
    ) -> f32 {
        clock.time(Phase::Update, || {
            let grad_norm = l2_norm(cpu, &[&workspace.gradients]);
            self.update_weights(cpu, &model.network, &workspace.gradients, grad_norm, hypers, step);
            grad_norm
        })
    }

    /// Scores a batch without training on it. Leaves weights and all that is remembered as they were.
    pub fn evaluate(&mut self, cpu: &Cpu, model: &Model, workspace: &mut Workspace, batch: Batch<'_>) -> Score {
        let pass = self.pass(cpu, model, batch, false, 0);
        self.run(&pass, model, &model.program.evaluation, workspace, batch, &mut NoClock)
    }

    /// The logits of a batch, `[samples][classes]`. Leaves weights and all that is remembered as they were.
    pub fn logits<'w>(
        &mut self,
        cpu: &Cpu,
        model: &Model,
        workspace: &'w mut Workspace,
        batch: Batch<'_>,
    ) -> &'w [f32] {
        self.evaluate(cpu, model, workspace, batch);
        let place = model.program.range(model.program.logits, batch.labels.len());
        &workspace.floats[place.unwrap_or_default()]
    }

    /// Makes what normalisation remembers a plain average over this batch and those `before` it.
    pub fn average_statistics(
        &mut self,
        cpu: &Cpu,
        model: &Model,
        workspace: &mut Workspace,
        batch: Batch<'_>,
        before: u32,
    ) {
        let pass = Pass { averaged: Some(before), ..self.pass(cpu, model, batch, true, u64::from(before)) };
        let forward = &model.program.training[..model.program.forward_len];
        self.run(&pass, model, forward, workspace, batch, &mut NoClock);
    }

    fn pass<'a>(&self, cpu: &'a Cpu, model: &Model, batch: Batch<'_>, training: bool, step: u64) -> Pass<'a> {
        let batch = batch.labels.len();
        let (part, update_size) = (Part::whole(batch), model.update_size());
        Pass { cpu, batch, part, update_size, training, averaged: None, init_seed: self.init_seed, step }
    }

    /// Runs instructions of the program.
    fn run(
        &mut self,
        pass: &Pass<'_>,
        model: &Model,
        instructions: &[Instruction],
        workspace: &mut Workspace,
        batch: Batch<'_>,
        clock: &mut impl Clock,
    ) -> Score {
        let state = (&self.weights[..], &mut self.buffers[..]);
        run(pass, model, instructions, state, workspace, batch, clock)
    }

    fn update_weights(
        &mut self,
        cpu: &Cpu,
        network: &Network,
        gradients: &[f32],
        grad_norm: f32,
        hypers: &Hypers,
        step: u64,
    ) {
        let LaneOptimizer { rule, multipliers } = &self.optimizer;
        let gradient_scale = rule.gradient_scale(grad_norm);
        for (slot, mults) in network.parameters().iter().zip(multipliers) {
            let (lr, weight_decay) = (hypers.lr * mults.lr, hypers.weight_decay * mults.decay);
            let hypers = Hypers { lr, weight_decay, ..*hypers };
            let parameter = optimizer::Parameter {
                w: &mut self.weights[slot.range.clone()],
                g: &gradients[slot.range.clone()],
                // What the optimizer does not keep is empty.
                state: self.state.each_mut().map(|values| values.get_mut(slot.range.clone()).unwrap_or_default()),
            };
            rule.update(cpu, &optimizer::Step { hypers, step, gradient_scale }, parameter);
        }
    }
}

#[cfg(test)]
mod tests {
    use clr_kernels::Isa;

    use super::*;
    use crate::initializer::Initializer;
    use crate::network::{BuildError, Value};
    use crate::op::{BatchNorm, Convolution, Linear, Lrn, LrnRegion, Pool};
    use crate::parameter::Parameter;
    use crate::program::Program;

    const BATCH: usize = 6;
    const STILL: Hypers = Hypers { lr: 0.0, momentum: 0.0, weight_decay: 0.0, beta1: 0.0, beta2: 0.0 };

    type Describe = fn(&mut Network, Value) -> Result<Value, BuildError>;

    fn model(describe: Describe) -> Model {
        Model::on_cpu(network(describe), BATCH, 1)
    }

    /// The described layers between a convolution and the scores.
    fn network(describe: Describe) -> Network {
        let mut network = Network::new([7, 6, 3], 4);
        let weight = || Parameter::new(Initializer::Msra);
        let x = network.convolution("first", network.input(), Convolution::new(8, 3, weight(), None).pad(1)).unwrap();
        let x = describe(&mut network, x).unwrap();
        let bias = Some(Parameter::new(Initializer::Gaussian { std: 0.1 }));
        let x = network
            .linear("last", x, Linear { outputs: 4, weight: Parameter::new(Initializer::Xavier), bias })
            .unwrap();
        network.logits(x).unwrap();
        network.finish().unwrap()
    }

    fn lane(model: &Model) -> Lane {
        Lane::new(&model.network, LaneOptimizer::parse(r#"{"optimizer": "sgd"}"#, &model.network).unwrap(), 3, 4)
    }

    fn images() -> Vec<f32> {
        let words = clr_rng::Philox::new(1, clr_rng::Stream::Dataset).words(0);
        words.take(BATCH * 7 * 6 * 3).map(|bits| 4.0 * clr_rng::uniform(bits) - 2.0).collect()
    }

    /// The loss changes along the gradient by its squared norm: that checks all layers before the described ones too. What is
    /// fused has the bits of what is not, and what shares memory those of what does not.
    #[track_caller]
    fn check(describe: Describe) {
        let bits = |model| check_model(model).iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let gradients = bits(model(describe));
        let unfused = Model::as_it_is(network(describe), BATCH, 1);
        let apart = Program::without_sharing(&unfused.network, BATCH, 1);
        assert!(apart.float_len() > unfused.program.float_len(), "some memory is shared");
        assert!(gradients == bits(Model { program: apart, ..Model::as_it_is(network(describe), BATCH, 1) }));
        assert!(gradients == bits(unfused));
    }

    #[track_caller]
    fn check_model(model: Model) -> Vec<f32> {
        let cpu = Cpu::with_isa(1, Isa::best()).unwrap();
        let (mut lane, mut workspace) = (lane(&model), Workspace::new(&model));
        let images = images();
        let batch = Batch { images: &images, labels: &[0, 1, 2, 3, 0, 1] };
        let mut loss = |lane: &mut Lane| {
            // What the last step left behind must not matter.
            workspace.floats.fill(f32::NAN);
            workspace.scratch.fill(f32::NAN);
            let measured = lane.train(&cpu, &model, &mut workspace, batch, &STILL, 9, &mut NoClock);
            (f64::from(measured.score.loss), f64::from(measured.grad_norm), workspace.gradients.clone())
        };
        let (_, norm, gradients) = loss(&mut lane);
        let weights = lane.weights.clone();
        let mut moved = |distance: f64| {
            for ((weight, start), gradient) in lane.weights.iter_mut().zip(&weights).zip(&gradients) {
                *weight = (f64::from(*start) + distance / norm * f64::from(*gradient)) as f32;
            }
            loss(&mut lane).0
        };
        let distance = 2e-3;
        let slope = (moved(distance) - moved(-distance)) / (2.0 * distance);
        assert!((slope - norm).abs() < 3e-3 * norm, "the loss rises by {slope}, the gradient's norm is {norm}");
        gradients
    }

    #[test]
    fn gradients_are_those_of_the_loss() {
        check(|_, x| Ok(x));
        check(|network, x| network.relu(x));
        check(|network, x| {
            let x = network.relu(x)?;
            network.sigmoid(x)
        });
        check(|network, x| network.dropout("drop", x, 0.4));
        check(|network, x| {
            let x = network.sigmoid(x)?;
            let x = network.dropout("drop1", x, 0.4)?;
            network.dropout("drop2", x, 0.2)
        });
        check(|network, x| network.pool("pool", x, Pool::max(3, 2).pad(1)));
        check(|network, x| network.pool("pool", x, Pool::average(3, 2)));
        check(|network, x| {
            network.lrn("norm", x, Lrn { region: LrnRegion::AcrossChannels, size: 5, alpha: 0.5, beta: 0.75 })
        });
        check(|network, x| {
            network.lrn("norm", x, Lrn { region: LrnRegion::WithinChannel, size: 3, alpha: 0.5, beta: 0.75 })
        });
        check(|network, x| {
            let parameter = Parameter::new(Initializer::Gaussian { std: 1.0 });
            let x = network.sigmoid(x)?;
            let form = BatchNorm::Torch { momentum: 0.1, epsilon: 1e-2, weight: parameter, bias: parameter };
            network.batch_norm("bn", x, form)
        });
        check(|network, x| {
            let form = BatchNorm::Caffe { moving_average_fraction: 0.999, epsilon: 1e-2 };
            let x = network.batch_norm("bn", x, form)?;
            network.sigmoid(x)
        });
        check(|network, x| {
            let x = network.pool("pool", x, Pool::max(3, 2))?;
            let x = network.sigmoid(x)?;
            second(network, x)
        });
        check(|network, x| {
            let x = network.pool("pool", x, Pool::max(3, 2))?;
            let x = network.relu(x)?;
            second(network, x)
        });
        check(|network, x| {
            let x = second(network, x)?;
            let x = network.relu(x)?;
            network.pool("pool", x, Pool::average(3, 2))
        });
        check(|network, x| {
            let x = network.batch_norm("bn", x, TORCH)?;
            let x = network.relu(x)?;
            second(network, x)
        });
        check(|network, x| {
            let x = network.batch_norm("bn", x, TORCH)?;
            let x = network.sigmoid(x)?;
            network.pool("pool", x, Pool::average(3, 2))
        });
        check(|network, x| {
            let weight = Parameter::new(Initializer::Msra);
            let bias = Some(Parameter::new(Initializer::Gaussian { std: 0.1 }));
            network.convolution("second", x, Convolution::new(4, 3, weight, bias).groups(2).stride(2).pad(1))
        });
    }

    const GAUSSIAN: Parameter = Parameter::new(Initializer::Gaussian { std: 1.0 });
    const TORCH: BatchNorm = BatchNorm::Torch { momentum: 0.1, epsilon: 1e-2, weight: GAUSSIAN, bias: GAUSSIAN };

    /// A convolution that keeps the shape.
    fn second(network: &mut Network, x: Value) -> Result<Value, BuildError> {
        let bias = Some(Parameter::new(Initializer::Gaussian { std: 0.1 }));
        network.convolution("second", x, Convolution::new(8, 3, Parameter::new(Initializer::Msra), bias).pad(1))
    }

    #[test]
    fn values_that_are_read_more_than_once_have_the_sum_of_their_gradients() {
        // A block of ResNet: convolution, normalisation, ReLU, and the input added.
        check(|network, x| {
            let y = second(network, x)?;
            let y = network.batch_norm("bn", y, TORCH)?;
            let y = network.relu(y)?;
            let y = network.convolution("third", y, Convolution::new(8, 3, GAUSSIAN, None).pad(1))?;
            let y = network.batch_norm("bn2", y, TORCH)?;
            let y = network.add("sum", y, x)?;
            network.relu(y)
        });
        // Where the image shrinks.
        check(|network, x| {
            let y = network.convolution("second", x, Convolution::new(12, 3, GAUSSIAN, None).pad(1).stride(2))?;
            let x = network.subsample("shortcut", x, 2, 12)?;
            let y = network.add("sum", y, x)?;
            network.relu(y)
        });
        // The shortcut first, and both branches with layers of their own.
        check(|network, x| {
            let shortcut = network.convolution("shortcut", x, Convolution::new(4, 1, GAUSSIAN, None).stride(2))?;
            let y = second(network, x)?;
            let y = network.relu(y)?;
            let y = network.pool("pool", y, Pool::max(2, 2))?;
            let y = network.convolution("third", y, Convolution::new(4, 1, GAUSSIAN, None))?;
            network.add("sum", shortcut, y)
        });
        // Three readers, sums of sums, activations that change gradients in place, and a value that is added as it is.
        check(|network, x| {
            let a = network.sigmoid(x)?;
            let b = network.relu(x)?;
            let c = second(network, a)?;
            let ab = network.add("ab", a, b)?;
            let abc = network.add("abc", ab, c)?;
            let abcx = network.add("abcx", x, abc)?;
            let d = network.sigmoid(abcx)?;
            let e = network.batch_norm("bn", abcx, TORCH)?;
            let e = network.sigmoid(e)?;
            network.add("de", d, e)
        });
    }

    #[test]
    fn concatenated_values_have_their_part_of_the_gradient() {
        // An inception block: three branches of one value, side by side.
        check(|network, x| {
            let a = network.convolution("a", x, Convolution::new(3, 1, GAUSSIAN, None))?;
            let b = second(network, x)?;
            let b = network.relu(b)?;
            let c = network.pool("pool", x, Pool::max(3, 1).pad(1))?;
            let y = network.concat("block", &[a, b, c])?;
            network.sigmoid(y)
        });
        // Dense blocks: each concatenation is read by the next and by a layer; a value that is there twice.
        check(|network, x| {
            let y = network.batch_norm("bn", x, TORCH)?;
            let y = network.relu(y)?;
            let y = network.convolution("a", y, Convolution::new(3, 3, GAUSSIAN, None).pad(1))?;
            let x = network.concat("dense1", &[x, y])?;
            let y = network.sigmoid(x)?;
            let y = network.convolution("b", y, Convolution::new(2, 3, GAUSSIAN, None).pad(1))?;
            network.concat("dense2", &[x, y, y])
        });
        // The images beside what was made of them.
        check(|network, x| {
            let x = network.concat("with images", &[network.input(), x])?;
            second(network, x)
        });
    }

    const IMAGE_NET: [usize; 3] = [7, 6, 3];

    /// The network of `goldens/make_goldens.py`. `heads`: the weights of the losses of the first head and of the last; the
    /// metrics are of the one that has none.
    fn branches(auxiliary: Option<f32>, is_first_main: bool) -> Network {
        let mut network = Network::new(IMAGE_NET, 4);
        let (weight, bias) =
            (Parameter::new(Initializer::Msra), Some(Parameter::new(Initializer::Constant { value: 0.0 })));
        let mut describe = || {
            let x = network.convolution("stem", network.input(), Convolution::new(4, 3, weight, bias).pad(1))?;
            let x = network.relu(x)?;
            let a = network.convolution("a", x, Convolution::new(3, 1, weight, None))?;
            let a = network.relu(a)?;
            let b = network.convolution("b", x, Convolution::new(4, 3, weight, None).pad(1))?;
            let form = BatchNorm::Torch { momentum: 0.1, epsilon: 1e-3, weight, bias: weight };
            let b = network.batch_norm("b.bn", b, form)?;
            let b = network.relu(b)?;
            let c = network.pool("c.pool", x, Pool::max(3, 1).pad(1))?;
            let c = network.convolution("c", c, Convolution::new(2, 1, weight, None))?;
            let block = network.concat("block", &[a, b, c])?;
            let head = network.pool("head1.pool", block, Pool::average(3, 2))?;
            let head = network.linear("head1", head, Linear { outputs: 4, weight, bias })?;
            let y = network.concat("dense", &[block, x])?;
            let y = network.convolution("last.conv", y, Convolution::new(3, 3, weight, None).stride(2).pad(1))?;
            let y = network.sigmoid(y)?;
            let z = network.sigmoid(y)?;
            let y = network.add("sum", y, z)?;
            let last = network.linear("ip", y, Linear { outputs: 4, weight, bias })?;
            let (main, other) = if is_first_main { (head, last) } else { (last, head) };
            network.logits(main)?;
            auxiliary.map_or(Ok(()), |weight| network.auxiliary_loss("other", other, weight))
        };
        describe().unwrap();
        network
    }

    #[derive(serde::Deserialize)]
    struct Golden {
        images: Vec<f32>,
        labels: Vec<i32>,
        parameters: Vec<GoldenParameter>,
        loss: f64,
        auxiliary_loss: f64,
        correct: usize,
    }

    #[derive(serde::Deserialize)]
    struct GoldenParameter {
        name: String,
        values: Vec<f32>,
        gradient: Vec<f64>,
    }

    /// The metrics are those of the main head, of the gradient both have their share.
    #[test]
    fn branches_and_two_heads_have_the_losses_and_gradients_of_pytorch() {
        let golden: Golden = serde_json::from_str(include_str!("../goldens/branches.json")).unwrap();
        let Golden { images, labels, parameters, loss, auxiliary_loss, correct } = &golden;
        let batch = Batch { images, labels };
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            let cpu = Cpu::with_isa(2, isa).unwrap();
            let score = |network: Network| {
                let model = Model::on_cpu(network.finish().unwrap(), BATCH, 2);
                let (mut lane, mut workspace) = (lane(&model), Workspace::new(&model));
                for (slot, parameter) in model.network.parameters().iter().zip(parameters) {
                    assert_eq!(slot.name, parameter.name);
                    lane.weights[slot.range.clone()].copy_from_slice(&parameter.values);
                }
                let score = lane.train(&cpu, &model, &mut workspace, batch, &STILL, 0, &mut NoClock).score;
                (score, lane.evaluate(&cpu, &model, &mut workspace, batch), workspace.gradients)
            };
            let (score_of_last, evaluated, gradients) = score(branches(Some(0.3), false));
            assert!((f64::from(score_of_last.loss) - loss).abs() < 1e-6 * loss, "{score_of_last:?}");
            assert_eq!(score_of_last.correct, *correct);
            let expected: Vec<f64> =
                parameters.iter().flat_map(|parameter| parameter.gradient.iter().copied()).collect();
            let norm = expected.iter().map(|gradient| gradient * gradient).sum::<f64>().sqrt();
            for (index, (gradient, expected)) in gradients.iter().zip(&expected).enumerate() {
                let error = (f64::from(*gradient) - expected).abs();
                // Written so that a NaN fails.
                assert!(error <= 2e-6 * norm, "{isa:?}: gradient {index}: {gradient} instead of {expected}");
            }
            // The same with the heads the other way round, but that the metrics are of the first one.
            let (score_of_first, _, swapped) = score(branches(Some(1.0 / 0.3), true));
            assert!(
                (f64::from(score_of_first.loss) - auxiliary_loss).abs() < 1e-6 * auxiliary_loss,
                "{score_of_first:?}"
            );
            for (gradient, swapped) in gradients.iter().zip(swapped) {
                assert!(f64::from(gradient - 0.3 * swapped).abs() <= 2e-6 * norm, "{gradient} and {swapped}");
            }
            // Evaluation normalises by running statistics; what it measures is the last head too.
            assert!((evaluated.loss - score_of_last.loss).abs() < 2.0 && evaluated.loss != score_of_last.loss);
        }
    }

    #[test]
    fn evaluation_leaves_out_what_only_auxiliary_losses_need() {
        let model = Model::on_cpu(branches(Some(0.3), false).finish().unwrap(), BATCH, 1);
        let names = |instructions: &[Instruction]| -> Vec<String> {
            let name = |instruction: &Instruction| match *instruction {
                Instruction::Forward { node, .. } => Some(model.network.nodes()[node].name.clone()),
                _ => None,
            };
            instructions.iter().filter_map(name).collect()
        };
        let heads = ["head1.pool", "head1"];
        let (trained, evaluated) = (names(&model.program.training), names(&model.program.evaluation));
        assert!(heads.iter().all(|&head| trained.iter().any(|name| name == head)), "{trained:?}");
        let without: Vec<String> = trained.into_iter().filter(|name| !heads.contains(&&name[..])).collect();
        assert_eq!(evaluated, without);
    }

    /// Each head's loss is that of the metrics in turn; the gradient is that of the weighted sum of both.
    #[test]
    fn scores_may_have_readers_and_need_not_be_last() {
        const WEIGHT: f32 = 0.5;
        let model = |is_first_main: bool| {
            let mut network = Network::new([7, 6, 3], 4);
            let linear = Linear { outputs: 4, weight: GAUSSIAN, bias: None };
            let first = network.linear("ip1", network.input(), linear).unwrap();
            let last = network.sigmoid(first).unwrap();
            let last = network.linear("ip2", last, linear).unwrap();
            let (main, other, weight) = if is_first_main { (first, last, WEIGHT) } else { (last, first, 1.0 / WEIGHT) };
            network.logits(main).unwrap();
            network.auxiliary_loss("other", other, weight).unwrap();
            Model::on_cpu(network.finish().unwrap(), BATCH, 1)
        };
        let cpu = Cpu::with_isa(1, Isa::best()).unwrap();
        let (models, images) = ([model(true), model(false)], images());
        let batch = Batch { images: &images, labels: &[0, 1, 2, 3, 0, 1] };
        let start = lane(&models[0]).weights;
        let run = |model: &Model, gradients: &[f32], distance: f64| {
            let (mut lane, mut workspace) = (lane(model), Workspace::new(model));
            for ((weight, start), gradient) in lane.weights.iter_mut().zip(&start).zip(gradients) {
                *weight = (f64::from(*start) + distance * f64::from(*gradient)) as f32;
            }
            let score = lane.train(&cpu, model, &mut workspace, batch, &STILL, 0, &mut NoClock).score;
            (f64::from(score.loss), workspace.gradients)
        };
        let (_, gradients) = run(&models[0], &vec![0.0; start.len()], 0.0);
        let norm = gradients.iter().map(|&gradient| f64::from(gradient) * f64::from(gradient)).sum::<f64>().sqrt();
        let loss = |distance: f64| {
            let [first, last] = models.each_ref().map(|model| run(model, &gradients, distance / norm).0);
            first + f64::from(WEIGHT) * last
        };
        let slope = (loss(2e-3) - loss(-2e-3)) / 4e-3;
        assert!((slope - norm).abs() < 3e-3 * norm, "the losses rise by {slope}, the gradient's norm is {norm}");
        let (_, others) = run(&models[1], &gradients, 0.0);
        let close = |(gradient, other): (&f32, &f32)| f64::from(gradient - WEIGHT * other).abs() < 1e-6 * norm;
        assert!(gradients.iter().zip(&others).all(close), "the weights of both losses twice as large");
    }

    /// A residual block, whose branch ends in whatever `end` makes of it.
    fn block(network: &mut Network, x: Value, end: fn(&mut Network, Value) -> Result<Value, BuildError>) -> Value {
        let y = second(network, x).unwrap();
        let y = network.batch_norm("bn", y, TORCH).unwrap();
        let y = end(network, y).unwrap();
        network.add("sum", y, x).unwrap()
    }

    const SURVIVAL: f32 = 0.75;

    fn depth(network: &mut Network, y: Value) -> Result<Value, BuildError> {
        network.stochastic_depth("depth", y, SURVIVAL)
    }

    /// Score, gradients and the lane itself after a step of training by `hypers`.
    fn trained_at(describe: Describe, step: u64, hypers: &Hypers) -> (Measured, Vec<f32>, Lane, Model) {
        let cpu = Cpu::with_isa(1, Isa::best()).unwrap();
        let model = model(describe);
        let (mut lane, mut workspace) = (lane(&model), Workspace::new(&model));
        // The last layer's parameters are the same whatever stands before it.
        let last = model.network.parameters().iter().find(|slot| slot.name == "last.weight").unwrap();
        for (index, weight) in lane.weights[last.range.clone()].iter_mut().enumerate() {
            *weight = (index % 7) as f32 / 8.0 - 0.375;
        }
        lane.weights[last.range.end..].fill(0.25);
        workspace.floats.fill(f32::NAN);
        let images = images();
        let batch = Batch { images: &images, labels: &[0, 1, 2, 3, 0, 1] };
        let measured = lane.train(&cpu, &model, &mut workspace, batch, hypers, step, &mut NoClock);
        (measured, workspace.gradients, lane, model)
    }

    /// The gradients of the parameters whose name begins with one of `names`.
    fn gradients_of(names: &[&str], gradients: &[f32], model: &Model) -> Vec<u32> {
        let slots = model.network.parameters().iter();
        let slots = slots.filter(|slot| names.iter().any(|name| slot.name.starts_with(name)));
        slots.flat_map(|slot| &gradients[slot.range.clone()]).map(|gradient| gradient.to_bits()).collect()
    }

    #[test]
    fn a_branch_of_stochastic_depth_is_there_as_a_whole_or_not_at_all() {
        const SUM: Describe = |network, x| Ok(block(network, x, |_, y| Ok(y)));
        const DEPTH: Describe = |network, x| Ok(block(network, x, depth));
        let hypers = Hypers { lr: 0.5, weight_decay: 0.25, ..STILL };
        let (mut there, mut left_out) = (0, 0);
        for step in 0..24 {
            let (score, gradients, lane, model) = trained_at(DEPTH, step, &hypers);
            // Of seed 3, which the lanes of these tests have.
            let coin = clr_rng::Philox::new(3, clr_rng::Stream::Coin).word(step, 0);
            if clr_rng::uniform(coin) < 1.0 - SURVIVAL {
                left_out += 1;
                let (alone, expected, _, shortcut) = trained_at(|_, x| Ok(x), step, &hypers);
                assert_eq!(score, alone);
                let rest = ["first", "last"];
                assert_eq!(gradients_of(&rest, &gradients, &model), gradients_of(&rest, &expected, &shortcut));
                assert!(gradients_of(&["second", "bn"], &gradients, &model).iter().all(|&gradient| gradient == 0));
                // Weight decay goes on, and nothing is remembered.
                let start = self::lane(&model);
                let slot = &model.network.parameters()[1];
                assert_eq!(slot.name, "second.weight");
                for (weight, start) in lane.weights[slot.range.clone()].iter().zip(&start.weights[slot.range.clone()]) {
                    assert!((weight - (1.0 - 0.5 * 0.25) * start).abs() <= 1e-6 * start.abs());
                }
                assert_eq!(lane.buffers, start.buffers);
            } else {
                there += 1;
                let (whole, expected, trained, _) = trained_at(SUM, step, &hypers);
                assert_eq!((score, &gradients, &lane.buffers), (whole, &expected, &trained.buffers));
            }
        }
        assert!(there > 12 && left_out > 2, "{there} and {left_out}");
    }

    #[test]
    fn evaluation_scales_branches_by_their_survival() {
        let cpu = Cpu::with_isa(1, Isa::best()).unwrap();
        let images = images();
        let batch = Batch { images: &images, labels: &[0, 1, 2, 3, 0, 1] };
        let logits = |describe: Describe, scale: f32| {
            let model = model(describe);
            let (mut lane, mut workspace) = (lane(&model), Workspace::new(&model));
            let slots = model.network.parameters().iter().filter(|slot| slot.name.starts_with("bn"));
            slots.for_each(|slot| lane.weights[slot.range.clone()].iter_mut().for_each(|weight| *weight *= scale));
            lane.logits(&cpu, &model, &mut workspace, batch).to_vec()
        };
        let found = logits(|network, x| Ok(block(network, x, depth)), 1.0);
        let expected = logits(|network, x| Ok(block(network, x, |_, y| Ok(y))), SURVIVAL);
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{found} instead of {expected}");
        }
    }

    /// Each branch has a coin of its own; one within another is left out with it.
    #[test]
    fn gradients_through_stochastic_depth_are_those_of_the_loss() {
        check(|network, x| {
            let a = second(network, x)?;
            let a = network.relu(a)?;
            let a = network.stochastic_depth("a", a, 0.5)?;
            let x = network.add("sum1", a, x)?;
            let b = network.batch_norm("bn", x, TORCH)?;
            let c = network.sigmoid(b)?;
            let c = network.stochastic_depth("c", c, 0.5)?;
            let b = network.add("sum2", b, c)?;
            let b = network.relu(b)?;
            let b = network.stochastic_depth("b", b, 0.5)?;
            let x = network.add("sum3", x, b)?;
            let d = network.sigmoid(x)?;
            let d = network.stochastic_depth("d", d, 0.5)?;
            network.concat("both", &[d, x])
        });
    }

    #[test]
    fn evaluation_drops_nothing_and_leaves_the_lane_as_it_was() {
        let cpu = Cpu::with_isa(1, Isa::best()).unwrap();
        let (plain, dropping) = (model(|_, x| Ok(x)), model(|network, x| network.dropout("drop", x, 0.5)));
        let images = images();
        let batch = Batch { images: &images, labels: &[0, 1, 2, 3, 0, 1] };
        let score = |model: &Model| {
            let mut lane = lane(model);
            let before = lane.weights.clone();
            let score = lane.evaluate(&cpu, model, &mut Workspace::new(model), batch);
            assert_eq!(lane.weights, before);
            score
        };
        assert_eq!(score(&plain), score(&dropping));
        let mut lane = lane(&dropping);
        let trained = lane.train(&cpu, &dropping, &mut Workspace::new(&dropping), batch, &STILL, 0, &mut NoClock);
        assert_ne!(trained.score.loss, score(&dropping).loss);
    }

    /// In two batches of three, and, of five samples, of three and two. Dropout's masks are those of the large batch where a
    /// sample has a multiple of four values.
    #[test]
    fn accumulated_gradients_are_those_of_the_large_batch() {
        let cpu = Cpu::with_isa(1, Isa::best()).unwrap();
        let pool: Describe = |network, x| network.pool("pool", x, Pool::max(3, 2));
        let images = images();
        for describe in [pool, |network, x| network.dropout("drop", x, 0.4)] {
            for samples in [6, 5] {
                let trained = |model: &Model| {
                    let (mut lane, mut workspace) = (lane(model), Workspace::new(model));
                    let mut loss = 0.0;
                    for (part, len) in model.parts(samples) {
                        let range = part.first..part.first + len;
                        let labels = &[0, 1, 2, 3, 0, 1][range.clone()];
                        let batch = Batch { images: &images[range.start * 126..range.end * 126], labels };
                        loss += lane.differentiate(&cpu, model, &mut workspace, batch, part, 9, &mut NoClock).loss;
                    }
                    let norm = lane.update(&cpu, model, &workspace, &STILL, 9, &mut NoClock);
                    ([loss, norm], workspace.gradients)
                };
                let parted = Model::on_cpu(network(describe), 3, 1).accumulating(2);
                let (large, small) = (trained(&model(describe)), trained(&parted));
                let close = |a: f32, b: f32, size: f32| (a - b).abs() <= 1e-6 * size;
                assert!(large.0.iter().zip(small.0).all(|(&a, b)| close(a, b, a)), "{:?} {:?}", large.0, small.0);
                let norm = large.0[1];
                assert!(large.1.iter().zip(small.1).all(|(&a, b)| close(a, b, norm)), "gradients of {samples}");
            }
        }
    }

    /// Three of six samples give what three alone give.
    #[test]
    fn a_smaller_batch_is_the_mean_over_its_own_samples() {
        let cpu = Cpu::with_isa(1, Isa::best()).unwrap();
        let model = model(|network, x| network.pool("pool", x, Pool::max(3, 2)));
        let images = images();
        let mut lane = lane(&model);
        let mut workspace = Workspace::new(&model);
        let mut score = |samples: std::ops::Range<usize>| {
            let labels = &[0, 1, 2, 3, 0, 1][samples.clone()];
            let batch = Batch { images: &images[samples.start * 126..samples.end * 126], labels };
            f64::from(lane.train(&cpu, &model, &mut workspace, batch, &STILL, 0, &mut NoClock).score.loss)
        };
        let (whole, parts) = (score(0..6), (score(0..4) * 4.0 + score(4..6) * 2.0) / 6.0);
        assert!((whole - parts).abs() < 1e-6, "{whole} and {parts}");
    }
}
