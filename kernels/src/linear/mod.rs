//! A fully connected layer and its gradients.

mod cpu;
pub mod cuda;

pub use cpu::{backward_input, backward_weight, forward};

/// The shapes of a fully connected layer: `x` is `[batch][inputs]`, `w` is `[inputs][outputs]`, `y` is `[batch][outputs]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Linear {
    /// Rows of `x` and `y`.
    pub batch: usize,
    /// Columns of `x`, rows of `w`.
    pub inputs: usize,
    /// Columns of `w` and `y`.
    pub outputs: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;
    use crate::testing::{assert_close, assert_gradient, goldens, on_every_cpu, values};

    /// Runs the three operations: y, dx, dw, db, one after the other. What is not written stays NaN.
    fn run(cpu: &Cpu, shape: &Linear, x: &[f32], w: &[f32], bias: Option<&[f32]>, dy: &[f32]) -> Vec<f32> {
        let nan = |len| vec![f32::NAN; len];
        let mut scratch = nan(shape.scratch_len());
        let (mut y, mut dx, mut dw, mut db) =
            (nan(dy.len()), nan(x.len()), nan(w.len()), bias.map(|bias| nan(bias.len())));
        forward(cpu, shape, x, w, bias, &mut y, &mut scratch);
        backward_input(cpu, shape, dy, w, &mut dx, &mut scratch);
        backward_weight(cpu, shape, x, dy, &mut dw, db.as_deref_mut(), &mut scratch);
        [y, dx, dw, db.unwrap_or_default()].concat()
    }

    fn inputs(shape: &Linear) -> [Vec<f32>; 4] {
        let Linear { batch, inputs, outputs } = shape;
        [values(1, batch * inputs), values(2, inputs * outputs), values(3, *outputs), values(4, batch * outputs)]
    }

    /// The sum of y x dy, whose gradient by y is dy.
    fn loss(shape: &Linear, x: &[f64], w: &[f64], bias: &[f64], dy: &[f32]) -> f64 {
        let output = |k: usize| {
            let (row, column) = (k / shape.outputs, k % shape.outputs);
            let products = (0..shape.inputs).map(|i| x[row * shape.inputs + i] * w[i * shape.outputs + column]);
            bias[column] + products.sum::<f64>()
        };
        dy.iter().enumerate().map(|(k, dy)| f64::from(*dy) * output(k)).sum()
    }

    #[test]
    fn agrees_with_the_definition() {
        for (batch, inputs_, outputs) in
            [(100, 1024, 10), (7, 64, 64), (1, 1, 1), (25, 3, 100), (48, 33, 17), (2, 700, 3), (53, 10, 31)]
        {
            let shape = Linear { batch, inputs: inputs_, outputs };
            let [x, w, bias, dy] = inputs(&shape);
            let mut y: Vec<f64> = (0..batch * outputs).map(|k| f64::from(bias[k % outputs])).collect();
            let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; outputs]);
            for k in 0..batch * outputs {
                let (row, column, dy) = (k / outputs, k % outputs, f64::from(dy[k]));
                db[column] += dy;
                for i in 0..inputs_ {
                    let (x_index, w_index) = (row * inputs_ + i, i * outputs + column);
                    y[k] += f64::from(x[x_index]) * f64::from(w[w_index]);
                    dx[x_index] += dy * f64::from(w[w_index]);
                    dw[w_index] += dy * f64::from(x[x_index]);
                }
            }
            let expected = [y, dx, dw, db].concat();
            for (isa, actual) in on_every_cpu(|cpu| run(cpu, &shape, &x, &w, Some(&bias), &dy)) {
                assert_close(&format!("{isa:?} {shape:?}"), &actual, &expected, 2e-5);
            }
            for (isa, actual) in on_every_cpu(|cpu| run(cpu, &shape, &x, &w, None, &dy)) {
                let expected: Vec<f64> = (0..dy.len()).map(|k| expected[k] - f64::from(bias[k % outputs])).collect();
                assert_close(&format!("{isa:?} {shape:?} without bias"), &actual[..dy.len()], &expected, 2e-5);
            }
        }
    }

    #[test]
    fn agrees_with_pytorch() {
        for golden in goldens(include_str!("../../goldens/linear.json")) {
            let [batch, inputs, outputs] = ["batch", "inputs", "outputs"].map(|name| golden.size(name));
            let shape = Linear { batch, inputs, outputs };
            let [x, w, bias, dy] = ["x", "w", "bias", "dy"].map(|name| golden.input(name));
            let expected = ["y", "dx", "dw", "db"].map(|name| golden.tensor(name)).concat();
            for (isa, actual) in on_every_cpu(|cpu| run(cpu, &shape, &x, &w, Some(&bias), &dy)) {
                assert_close(&format!("{isa:?} {shape:?}"), &actual, &expected, 1e-6);
            }
        }
    }

    #[test]
    fn gradients_are_the_differences_of_the_loss() {
        let shape = Linear { batch: 5, inputs: 9, outputs: 4 };
        let [x, w, bias, dy] = inputs(&shape);
        let [x64, w64, bias64] = [&x, &w, &bias].map(|v| v.iter().map(|v| f64::from(*v)).collect::<Vec<_>>());
        for (isa, actual) in on_every_cpu(|cpu| run(cpu, &shape, &x, &w, Some(&bias), &dy)) {
            let (dx, rest) = actual[dy.len()..].split_at(x.len());
            let (dw, db) = rest.split_at(w.len());
            assert_gradient(&format!("{isa:?} dx"), dx, &x, |x| loss(&shape, x, &w64, &bias64, &dy));
            assert_gradient(&format!("{isa:?} dw"), dw, &w, |w| loss(&shape, &x64, w, &bias64, &dy));
            assert_gradient(&format!("{isa:?} db"), db, &bias, |bias| loss(&shape, &x64, &w64, bias, &dy));
        }
    }
}
