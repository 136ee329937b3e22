//! The fully connected layer on a GPU: three products, of which the backward pass does two in one launch.

#![allow(unsafe_code)]

use super::Linear;
use crate::cuda::{Gpu, GpuError, Lanes, count, mirror};

const THREADS: usize = 128;
const WARPS: usize = THREADS / 32;

/// The tile of a product that a warp computes.
const ROWS: usize = 16;
const COLUMNS: usize = 32;

/// A depth from which on the warps of a block share it.
const DEEP: usize = 256;

mirror! {
    /// Mirrors `linear::Product` in linear.cu.
    struct Product = "linear::Product" {
        rows: u32,
        columns: u32,
        depth: u32,
        a_row: u32,
        a_depth: u32,
        b_depth: u32,
        b_column: u32,
        c_row: u32,
        c_column: u32,
        row_blocks: u32,
        column_blocks: u32,
        split: u32,
    }
}

/// As [`super::forward`], in each lane.
///
/// # Errors
/// What the driver says.
///
/// # Panics
/// If a size is 0 or a buffer is too short.
pub fn forward(
    gpu: &Gpu,
    lanes: usize,
    shape: &Linear,
    x: Lanes<'_>,
    w: Lanes<'_>,
    bias: Option<Lanes<'_>>,
    y: Lanes<'_>,
) -> Result<(), GpuError> {
    let &Linear { batch, inputs, outputs } = shape;
    let product = Product::new([batch, outputs, inputs], [inputs, 1], [outputs, 1], [outputs, 1], 0);
    let launch = gpu.launch("linear_forward", lanes).blocks([product.blocks(), lanes, 1]).threads(THREADS);
    let launch = launch.value("product", product).read("x", x, batch * inputs).read("w", w, inputs * outputs);
    let launch = launch.read_optional("bias", bias, outputs).write("y", y, batch * outputs);
    // SAFETY: the arguments of `linear_forward`.
    unsafe { launch.run() }
}

/// The arrays of [`backward`].
#[derive(Clone, Copy, Debug)]
pub struct Backward<'a> {
    /// `[batch][inputs]`.
    pub x: Lanes<'a>,
    /// `[inputs][outputs]`.
    pub w: Lanes<'a>,
    /// `[batch][outputs]`: the gradient of the output.
    pub dy: Lanes<'a>,
    /// `[inputs][outputs]`: the gradient of `w`.
    pub dw: Lanes<'a>,
    /// `[outputs]`: the gradient of the bias, if there is one.
    pub db: Option<Lanes<'a>>,
    /// `[batch][inputs]`: the gradient of the input, where it is asked for.
    pub dx: Option<Lanes<'a>>,
}

/// As [`super::backward_weight`] and, where `dx` is asked for, [`super::backward_input`], in each lane.
///
/// # Errors
/// What the driver says.
///
/// # Panics
/// If a size is 0 or a buffer is too short.
pub fn backward(gpu: &Gpu, lanes: usize, shape: &Linear, arrays: &Backward<'_>) -> Result<(), GpuError> {
    let (&Linear { batch, inputs, outputs }, &Backward { x, w, dy, dw, db, dx }) = (shape, arrays);
    // The transpose of dw, so that the many inputs are columns; a column of ones gives db.
    let weight = Product::new([outputs, inputs, batch], [1, outputs], [inputs, 1], [1, outputs], 1);
    let input = Product::new([batch, inputs, outputs], [outputs, 1], [1, outputs], [inputs, 1], 0);
    let blocks = weight.blocks() + if dx.is_some() { input.blocks() } else { 0 };
    let launch = gpu.launch("linear_backward", lanes).blocks([blocks, lanes, 1]).threads(THREADS);
    let launch = launch.value("weight_product", weight).value("input_product", input);
    let launch = launch.read("x", x, batch * inputs).read("w", w, inputs * outputs).read("dy", dy, batch * outputs);
    let launch = launch.write("dw", dw, inputs * outputs).write_optional("db", db, outputs);
    // SAFETY: the arguments of `linear_backward`.
    unsafe { launch.write_optional("dx", dx, batch * inputs).run() }
}

impl Product {
    /// Of [rows, columns, depth], with the strides of `a` along [rows, depth], of `b` along [depth, columns] and of `c` along
    /// [rows, columns], and so many columns of ones.
    fn new(
        [rows, columns, depth]: [usize; 3],
        [a_row, a_depth]: [usize; 2],
        [b_depth, b_column]: [usize; 2],
        [c_row, c_column]: [usize; 2],
        ones: usize,
    ) -> Product {
        assert!(rows > 0 && columns > 0 && depth > 0, "a product of {rows} x {columns} x {depth}");
        let split = if depth >= DEEP { WARPS } else { 1 };
        let block_columns = COLUMNS * WARPS / split;
        Product {
            rows: count(rows),
            columns: count(columns),
            depth: count(depth),
            a_row: count(a_row),
            a_depth: count(a_depth),
            b_depth: count(b_depth),
            b_column: count(b_column),
            c_row: count(c_row),
            c_column: count(c_column),
            row_blocks: count(rows.div_ceil(ROWS)),
            column_blocks: count((columns + ones).div_ceil(block_columns)),
            split: split as u32,
        }
    }

    fn blocks(&self) -> usize {
        self.row_blocks as usize * self.column_blocks as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;
    use crate::testing::{Tensors, assert_close, join, lane_values, on_the_gpu, values, widened};

    fn lens(shape: &Linear) -> [usize; 4] {
        let Linear { batch, inputs, outputs } = shape;
        [batch * inputs, inputs * outputs, *outputs, batch * outputs]
    }

    #[track_caller]
    fn check(shape: &Linear) {
        let (cpu, [x_len, w_len, bias_len, y_len]) = (Cpu::new(1).unwrap(), lens(shape));
        for (lane, placing, result) in on_the_gpu(|gpu, placing, lanes| {
            let count = lanes.len();
            let [x, w, bias, dy] = [(1, x_len), (2, w_len), (3, bias_len), (4, y_len)]
                .map(|(seed, len)| Tensors::new(gpu, placing, &lane_values(lanes, seed, len)));
            let [y, plain, dx, dw, db, dw_alone] =
                [y_len, y_len, x_len, w_len, bias_len, w_len].map(|len| Tensors::unwritten(gpu, placing, count, len));
            let (x, w, dy) = (x.lanes(), w.lanes(), dy.lanes());
            forward(gpu, count, shape, x, w, Some(bias.lanes()), y.lanes()).unwrap();
            forward(gpu, count, shape, x, w, None, plain.lanes()).unwrap();
            let all = Backward { x, w, dy, dw: dw.lanes(), db: Some(db.lanes()), dx: Some(dx.lanes()) };
            backward(gpu, count, shape, &all).unwrap();
            backward(gpu, count, shape, &Backward { dw: dw_alone.lanes(), db: None, dx: None, ..all }).unwrap();
            assert_eq!(dw.read(gpu), dw_alone.read(gpu), "with and without the others");
            join([y.read(gpu), plain.read(gpu), dx.read(gpu), dw.read(gpu), db.read(gpu)])
        }) {
            let [x, w, bias, dy] =
                [(1, x_len), (2, w_len), (3, bias_len), (4, y_len)].map(|(seed, len)| values(1000 * lane + seed, len));
            let [mut y, mut plain, mut dx, mut dw, mut db] =
                [y_len, y_len, x_len, w_len, bias_len].map(|len| vec![f32::NAN; len]);
            let mut scratch = vec![0.0; shape.scratch_len()];
            crate::linear::forward(&cpu, shape, &x, &w, Some(&bias), &mut y, &mut scratch);
            crate::linear::forward(&cpu, shape, &x, &w, None, &mut plain, &mut scratch);
            crate::linear::backward_input(&cpu, shape, &dy, &w, &mut dx, &mut scratch);
            crate::linear::backward_weight(&cpu, shape, &x, &dy, &mut dw, Some(&mut db), &mut scratch);
            let expected = widened(&[y, plain, dx, dw, db].concat());
            assert_close(&format!("{shape:?} {placing:?}"), &result, &expected, 2e-5);
        }
    }

    #[test]
    fn products_are_those_of_the_cpu() {
        // Among them depths that warps share, and products of several blocks along each side.
        for (batch, inputs, outputs) in [(20, 300, 10), (7, 64, 64), (1, 1, 1), (5, 3, 140), (17, 33, 17), (260, 40, 3)]
        {
            check(&Linear { batch, inputs, outputs });
        }
    }
}
