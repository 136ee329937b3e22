//! The fully connected layer on the CPU: three products.

use super::Linear;
use crate::cpu::{Ahead, Cpu, Depth, Level, Packed, Planes, Product, Rows, Start, add_rows, pack, packed_len};

/// Rows of a result that one task computes: a multiple of every tile's height. Every element is summed in one go, so no bit
/// depends on it.
const TASK_ROWS: usize = 24;

/// Depth to sum at once: 320 x 16 floats are 20 KiB of a first-level cache of 32.
const BLOCK: usize = 320;

/// `y = x w + bias`. Without bias, `y = x w`.
///
/// # Panics
/// If a slice does not have the length that `shape` says.
pub fn forward(
    cpu: &Cpu,
    shape: &Linear,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
    scratch: &mut [f32],
) {
    let &Linear { inputs, outputs, .. } = shape;
    shape.check(x.len(), w.len(), y.len());
    let packed = &mut scratch[..packed_len(inputs, outputs)];
    let packed = pack(cpu.isa(), packed, w, (inputs, outputs), 1, |input| input * outputs);
    let start = bias.map_or(Start::Zero, Start::Bias);
    product_of_rows(cpu, (x, inputs, 1), packed, (y, outputs), start);
}

/// `dx = dy w^T`. Overwrites `dx`.
///
/// # Panics
/// If a slice does not have the length that `shape` says.
pub fn backward_input(cpu: &Cpu, shape: &Linear, dy: &[f32], w: &[f32], dx: &mut [f32], scratch: &mut [f32]) {
    let &Linear { inputs, outputs, .. } = shape;
    shape.check(dx.len(), w.len(), dy.len());
    let packed = &mut scratch[..packed_len(outputs, inputs)];
    let packed = pack(cpu.isa(), packed, w, (outputs, inputs), outputs, |output| output);
    product_of_rows(cpu, (dy, outputs, 1), packed, (dx, inputs), Start::Zero);
}

/// `dw = x^T dy` and `db`, the column sums of `dy`, both summed over the batch in order. Overwrites both.
///
/// # Panics
/// If a slice does not have the length that `shape` says.
pub fn backward_weight(
    cpu: &Cpu,
    shape: &Linear,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    scratch: &mut [f32],
) {
    let &Linear { batch, inputs, outputs } = shape;
    shape.check(x.len(), dw.len(), dy.len());
    let packed = &mut scratch[..packed_len(batch, outputs)];
    let packed = pack(cpu.isa(), packed, dy, (batch, outputs), 1, |row| row * outputs);
    product_of_rows(cpu, (x, 1, inputs), packed, (dw, outputs), Start::Zero);
    if let Some(db) = db {
        db.fill(0.0);
        add_rows(cpu.isa(), dy, db);
    }
}

/// `c = start + a b` with rows of `c` spread over tasks.
///
/// Row i of `a` begins at `i * row_stride`, its elements are `step` apart.
fn product_of_rows(
    cpu: &Cpu,
    (a, row_stride, step): (&[f32], usize, usize),
    b: Packed<'_>,
    (c, columns): (&mut [f32], usize),
    start: Start<'_>,
) {
    cpu.for_each_chunk_mut(c, TASK_ROWS * columns, |task, c| {
        let product = Product {
            rows: Rows { counts: [1, 1, c.len() / columns], a_strides: [0, 0, row_stride], c_strides: [0, 0, columns] },
            depth: Depth::new([Level::ONCE, Level::ONCE, Level { count: b.depth, a: step, b: 1 }], BLOCK),
            a: a.get(task * TASK_ROWS * row_stride..).unwrap_or_default(),
            b,
            start,
            relu: false,
            planes: Planes::ONE,
            ahead: [Ahead::NONE; 2],
        };
        product.run(cpu.isa(), c);
    });
}

impl Linear {
    /// Floats of scratch memory that suffice for each of the three operations, on any instruction set.
    pub fn scratch_len(&self) -> usize {
        let &Self { batch, inputs, outputs } = self;
        packed_len(inputs, outputs).max(packed_len(outputs, inputs)).max(packed_len(batch, outputs))
    }

    fn check(&self, input_len: usize, weight_len: usize, output_len: usize) {
        assert!(self.inputs > 0 && self.outputs > 0, "a size of 0 in {self:?}");
        assert_eq!(input_len, self.batch * self.inputs, "floats of input for {self:?}");
        assert_eq!(weight_len, self.inputs * self.outputs, "floats of weights for {self:?}");
        assert_eq!(output_len, self.batch * self.outputs, "floats of output for {self:?}");
    }
}
