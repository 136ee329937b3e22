use super::*;
use crate::testing::{assert_close, assert_gradient, goldens, on_every_cpu, values};
use crate::{Activation, Cpu, activation};

/// batch, (in_h, in_w, in_c), out_c, (kernel_h, kernel_w), stride, pad, groups
pub(super) type Case = (usize, (usize, usize, usize), usize, (usize, usize), usize, usize, usize);

pub(super) const CASES: [Case; 26] = [
    // The layers of cifar10_quick and cifar10_full, on smaller images.
    (3, (9, 9, 3), 32, (5, 5), 1, 2, 1),
    (9, (5, 5, 32), 32, (5, 5), 1, 2, 1),
    (2, (4, 4, 32), 64, (5, 5), 1, 2, 1),
    // A residual network: 3x3, with stride, and the 1x1 of a shortcut.
    (2, (8, 8, 16), 16, (3, 3), 1, 1, 1),
    (2, (8, 8, 16), 32, (3, 3), 2, 1, 1),
    (3, (8, 8, 16), 32, (1, 1), 2, 0, 1),
    (2, (5, 7, 12), 10, (1, 1), 1, 0, 1),
    // AlexNet and GoogLeNet: large kernels and strides, groups.
    (1, (23, 23, 3), 20, (11, 11), 4, 0, 1),
    (1, (15, 15, 3), 18, (7, 7), 2, 3, 1),
    (2, (6, 6, 8), 12, (5, 5), 1, 2, 2),
    (2, (6, 6, 12), 24, (3, 3), 2, 1, 4),
    (2, (5, 5, 6), 6, (3, 3), 1, 1, 6),
    // Shapes at the edges: one pixel, one channel, a kernel as large as the image, oblong kernels and images.
    (1, (1, 1, 1), 1, (1, 1), 1, 0, 1),
    (20, (1, 1, 5), 7, (1, 1), 1, 0, 1),
    (17, (4, 4, 2), 3, (4, 4), 1, 0, 1),
    (2, (3, 8, 2), 33, (3, 1), 1, 0, 1),
    (2, (7, 2, 3), 17, (1, 2), 2, 1, 1),
    // Rows and columns that no position of the kernel reaches; a stride beyond the kernel; more padding than kernel.
    (2, (8, 8, 3), 4, (3, 3), 3, 0, 1),
    (2, (7, 7, 3), 5, (2, 2), 4, 0, 1),
    (2, (3, 3, 2), 3, (1, 1), 1, 2, 1),
    (2, (4, 3, 2), 3, (2, 2), 3, 3, 1),
    // Runs longer than a block of depth: 3 x 128 and 5 x 80; more than a vector of columns.
    (1, (3, 3, 128), 40, (3, 3), 1, 1, 1),
    (1, (4, 5, 80), 9, (5, 5), 1, 2, 1),
    // More pixels than are taken at once.
    (2, (15, 14, 2), 5, (3, 3), 1, 1, 1),
    (2, (33, 29, 2), 4, (3, 3), 2, 1, 2),
    // A batch that fills parts and tasks unevenly.
    (100, (3, 3, 2), 4, (3, 3), 1, 1, 1),
];

pub(super) fn geometry((batch, (in_h, in_w, in_c), out_c, (kernel_h, kernel_w), stride, pad, groups): Case) -> Conv2d {
    Conv2d { batch, in_h, in_w, in_c, out_c, kernel_h, kernel_w, stride, pad, groups, algorithm: Algorithm::Auto }
}

/// Calls `visit(x, w, y)` with the three offsets of every multiplication of the convolution.
fn for_each_multiplication(g: &Conv2d, mut visit: impl FnMut(usize, usize, usize)) {
    let (group_in, group_out) = (g.in_c / g.groups, g.out_c / g.groups);
    for y in 0..g.output_len() {
        let (pixel, out_channel) = (y / g.out_c, y % g.out_c);
        let (image, out_row, out_column) =
            (pixel / g.out_w() / g.out_h(), pixel / g.out_w() % g.out_h(), pixel % g.out_w());
        for (row, column) in (0..g.kernel_h).flat_map(|row| (0..g.kernel_w).map(move |column| (row, column))) {
            let in_row = (out_row * g.stride + row).wrapping_sub(g.pad);
            let in_column = (out_column * g.stride + column).wrapping_sub(g.pad);
            if in_row >= g.in_h || in_column >= g.in_w {
                continue;
            }
            for channel in 0..group_in {
                let in_channel = out_channel / group_out * group_in + channel;
                let x = ((image * g.in_h + in_row) * g.in_w + in_column) * g.in_c + in_channel;
                let w = ((row * g.kernel_w + column) * group_in + channel) * g.out_c + out_channel;
                visit(x, w, y);
            }
        }
    }
}

/// y, dx, dw, db in f64.
pub(super) fn definition(g: &Conv2d, x: &[f32], w: &[f32], bias: &[f32], dy: &[f32]) -> [Vec<f64>; 4] {
    let mut y: Vec<f64> = (0..g.output_len()).map(|i| f64::from(bias[i % g.out_c])).collect();
    let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; bias.len()]);
    for_each_multiplication(g, |i, j, k| {
        y[k] += f64::from(x[i]) * f64::from(w[j]);
        dx[i] += f64::from(dy[k]) * f64::from(w[j]);
        dw[j] += f64::from(dy[k]) * f64::from(x[i]);
    });
    for (k, dy) in dy.iter().enumerate() {
        db[k % g.out_c] += f64::from(*dy);
    }
    [y, dx, dw, db]
}

/// Runs the three operations: y, dx, dw, db, one after the other. All outputs and scratch memory start as NaN, so that
/// what is not written shows.
fn run(cpu: &Cpu, g: &Conv2d, x: &[f32], w: &[f32], bias: Option<&[f32]>, dy: &[f32]) -> Vec<f32> {
    let nan = |len| vec![f32::NAN; len];
    let mut scratch = nan(g.scratch_len(cpu.thread_count()));
    let (mut y, mut dx, mut dw, mut db) =
        (nan(g.output_len()), nan(g.input_len()), nan(g.weight_len()), bias.map(|bias| nan(bias.len())));
    forward(cpu, g, x, w, Epilogue { bias, relu: false }, &mut y, &mut scratch);
    let dy = OutputGradient { dy, relu_y: None };
    scratch.fill(f32::NAN);
    backward_input(cpu, g, dy, w, &mut dx, &mut scratch);
    scratch.fill(f32::NAN);
    backward_weight(cpu, g, x, dy, &mut dw, db.as_deref_mut(), &mut scratch);
    [y, dx, dw, db.unwrap_or_default()].concat()
}

#[test]
fn the_direct_method_agrees_with_the_definition() {
    for case in CASES {
        let g = Conv2d { algorithm: Algorithm::Direct, ..geometry(case) };
        let (x, w, bias, dy) =
            (values(1, g.input_len()), values(2, g.weight_len()), values(3, g.out_c), values(4, g.output_len()));
        let expected = definition(&g, &x, &w, &bias, &dy).concat();
        for (isa, actual) in on_every_cpu(|cpu| run(cpu, &g, &x, &w, Some(&bias), &dy)) {
            assert_close(&format!("{isa:?} {case:?}"), &actual, &expected, 2e-5);
        }
    }
}

/// Shapes for which [`Algorithm::Auto`] is Winograd's.
const WINOGRAD_CASES: [Case; 12] = [
    (3, (8, 8, 16), 16, (3, 3), 1, 1, 1),
    (2, (8, 8, 32), 64, (5, 5), 1, 2, 1),
    (2, (16, 12, 16), 48, (5, 5), 1, 2, 1),
    (1, (7, 7, 48), 32, (3, 3), 1, 1, 1),
    // Tiles that the image does not fill; no padding, and more than half a kernel.
    (2, (9, 13, 16), 32, (3, 3), 1, 0, 1),
    (2, (8, 15, 32), 16, (3, 3), 1, 2, 1),
    (1, (11, 12, 16), 16, (5, 5), 1, 0, 1),
    (1, (5, 13, 16), 16, (5, 5), 1, 3, 1),
    // Groups, on images that fill two thirds of their tiles.
    (2, (13, 13, 64), 32, (3, 3), 1, 1, 2),
    (1, (8, 7, 32), 96, (5, 5), 1, 2, 2),
    (3, (4, 8, 48), 48, (3, 3), 1, 1, 3),
    // Parts, tasks and tiles at once that the batch fills unevenly.
    (35, (8, 8, 16), 16, (3, 3), 1, 1, 1),
];

#[test]
fn winograd_agrees_with_the_definition() {
    for case in WINOGRAD_CASES {
        let g = geometry(case);
        assert!(winograd::is_chosen(&g) && !winograd::is_chosen(&Conv2d { algorithm: Algorithm::Direct, ..g }));
        // Relative to the root mean square: some values are sums that cancel.
        let tolerance = if g.kernel_h == 3 { 1.5e-5 } else { 4e-5 };
        let (x, w, bias, dy) =
            (values(1, g.input_len()), values(2, g.weight_len()), values(3, g.out_c), values(4, g.output_len()));
        let expected = definition(&g, &x, &w, &bias, &dy);
        for (isa, actual) in on_every_cpu(|cpu| run(cpu, &g, &x, &w, Some(&bias), &dy)) {
            let mut rest = actual.as_slice();
            for (name, expected) in ["y", "dx", "dw", "db"].into_iter().zip(&expected) {
                let actual = rest.split_off(..expected.len()).unwrap();
                let size = (expected.iter().map(|value| value * value).sum::<f64>() / expected.len() as f64).sqrt();
                for (i, (actual, expected)) in actual.iter().zip(expected).enumerate() {
                    let error = (f64::from(*actual) - expected).abs() / size;
                    assert!(error <= tolerance, "{isa:?} {case:?} {name}[{i}]: {actual} instead of {expected}");
                }
            }
        }
    }
}

#[test]
fn winograd_is_for_shapes_that_fill_its_tiles() {
    for (case, expected) in [
        ((1, (32, 32, 3), 32, (5, 5), 1, 2, 1), false),
        ((1, (32, 32, 16), 24, (3, 3), 1, 1, 1), false),
        ((1, (32, 32, 16), 16, (3, 3), 2, 1, 1), false),
        ((1, (32, 32, 32), 32, (3, 3), 1, 1, 2), true),
        ((1, (32, 32, 32), 48, (3, 3), 1, 1, 2), false),
        ((1, (13, 13, 16), 16, (3, 3), 1, 1, 1), true),
        ((1, (6, 6, 16), 16, (3, 3), 1, 1, 1), false),
        ((1, (32, 32, 16), 16, (7, 7), 1, 3, 1), false),
        ((1, (32, 32, 16), 16, (3, 5), 1, 1, 1), false),
        ((1, (5, 5, 16), 16, (3, 3), 1, 1, 1), false),
        ((1, (4, 4, 16), 16, (3, 3), 1, 1, 1), true),
        ((1, (7, 7, 16), 16, (3, 3), 1, 1, 1), true),
    ] {
        assert_eq!(winograd::is_chosen(&geometry(case)), expected, "{case:?}");
    }
}

#[test]
fn agrees_with_pytorch() {
    for golden in goldens(include_str!("../../goldens/conv2d.json")) {
        let size = |name| golden.size(name);
        let g = Conv2d {
            batch: size("batch"),
            in_h: size("in_h"),
            in_w: size("in_w"),
            in_c: size("in_c"),
            out_c: size("out_c"),
            kernel_h: size("kernel_h"),
            kernel_w: size("kernel_w"),
            stride: size("stride"),
            pad: size("pad"),
            groups: size("groups"),
            algorithm: Algorithm::Auto,
        };
        let [x, w, bias, dy] = ["x", "w", "bias", "dy"].map(|name| golden.input(name));
        let expected = ["y", "dx", "dw", "db"].map(|name| golden.tensor(name)).concat();
        for algorithm in [Algorithm::Direct, Algorithm::Auto] {
            let g = Conv2d { algorithm, ..g };
            let tolerance = if winograd::is_chosen(&g) { 2e-5 } else { 1e-6 };
            for (isa, actual) in on_every_cpu(|cpu| run(cpu, &g, &x, &w, Some(&bias), &dy)) {
                assert_close(&format!("{isa:?} {g:?}"), &actual, &expected, tolerance);
            }
        }
    }
}

#[test]
fn gradients_are_the_differences_of_the_loss() {
    for case in [(2, (5, 4, 2), 3, (3, 3), 1, 1, 1), (1, (7, 6, 4), 4, (3, 2), 2, 1, 2)] {
        let g = geometry(case);
        let (x, w, bias, dy) =
            (values(1, g.input_len()), values(2, g.weight_len()), values(3, g.out_c), values(4, g.output_len()));
        // The loss is the sum of y x dy, so that its gradient by y is dy.
        let loss = |x: &[f64], w: &[f64], bias: &[f64]| {
            let mut sum: f64 = dy.iter().enumerate().map(|(k, dy)| f64::from(*dy) * bias[k % g.out_c]).sum();
            for_each_multiplication(&g, |i, j, k| sum += x[i] * w[j] * f64::from(dy[k]));
            sum
        };
        let [x64, w64, bias64] = [&x, &w, &bias].map(|v| v.iter().map(|v| f64::from(*v)).collect::<Vec<_>>());
        for (isa, actual) in on_every_cpu(|cpu| run(cpu, &g, &x, &w, Some(&bias), &dy)) {
            let (dx, rest) = actual[g.output_len()..].split_at(g.input_len());
            let (dw, db) = rest.split_at(g.weight_len());
            assert_gradient(&format!("{isa:?} dx"), dx, &x, |x| loss(x, &w64, &bias64));
            assert_gradient(&format!("{isa:?} dw"), dw, &w, |w| loss(&x64, w, &bias64));
            assert_gradient(&format!("{isa:?} db"), db, &bias, |bias| loss(&x64, &w64, bias));
        }
    }
}

#[test]
fn without_bias_y_starts_from_zero() {
    let g = geometry((2, (4, 4, 2), 3, (3, 3), 1, 1, 1));
    let (x, w, dy) = (values(1, g.input_len()), values(2, g.weight_len()), values(3, g.output_len()));
    for ((_, without), (_, zero)) in std::iter::zip(
        on_every_cpu(|cpu| run(cpu, &g, &x, &w, None, &dy)),
        on_every_cpu(|cpu| run(cpu, &g, &x, &w, Some(&[0.0; 3]), &dy)),
    ) {
        assert_eq!(without, zero[..without.len()]);
    }
}

#[test]
fn relu_in_the_epilogue_is_relu_after_it() {
    for case in CASES.into_iter().chain(WINOGRAD_CASES) {
        let g = geometry(case);
        let (x, w, bias, dy) =
            (values(1, g.input_len()), values(2, g.weight_len()), values(3, g.out_c), values(4, g.output_len()));
        let passes = |cpu: &Cpu, fused: bool| {
            let nan = |len| vec![f32::NAN; len];
            let (mut y, mut dx, mut dw, mut db) =
                (nan(g.output_len()), nan(g.input_len()), nan(g.weight_len()), nan(g.out_c));
            let mut scratch = nan(g.scratch_len(cpu.thread_count()));
            forward(cpu, &g, &x, &w, Epilogue { bias: Some(&bias), relu: fused }, &mut y, &mut scratch);
            let mut masked = dy.clone();
            if !fused {
                activation::forward(cpu, Activation::Relu, &mut y);
                activation::backward(cpu, Activation::Relu, &y, &mut masked);
            }
            let dy = OutputGradient { dy: &masked, relu_y: fused.then_some(&y) };
            scratch.fill(f32::NAN);
            backward_input(cpu, &g, dy, &w, &mut dx, &mut scratch);
            scratch.fill(f32::NAN);
            backward_weight(cpu, &g, &x, dy, &mut dw, Some(&mut db), &mut scratch);
            [y, dx, dw, db].concat()
        };
        let apart = on_every_cpu(|cpu| passes(cpu, false));
        for ((isa, fused), (_, apart)) in on_every_cpu(|cpu| passes(cpu, true)).into_iter().zip(apart) {
            assert_eq!(fused, apart, "{isa:?} {case:?}");
        }
    }
}

#[test]
fn a_kernel_beyond_the_image_gives_no_output_and_no_gradient() {
    let g = geometry((2, (3, 3, 2), 4, (5, 5), 1, 0, 1));
    assert_eq!((g.out_h(), g.out_w(), g.output_len()), (0, 0, 0));
    let (x, w) = (values(1, g.input_len()), values(2, g.weight_len()));
    for (isa, actual) in on_every_cpu(|cpu| run(cpu, &g, &x, &w, Some(&[1.0; 4]), &[])) {
        assert_eq!(actual, vec![0.0; g.input_len() + g.weight_len() + 4], "{isa:?}");
    }
}

#[test]
fn sizes_round_down() {
    for (in_h, kernel_h, stride, pad, expected) in
        [(32, 5, 1, 2, 32), (227, 11, 4, 0, 55), (224, 7, 2, 3, 112), (8, 3, 3, 0, 2), (3, 3, 1, 0, 1), (2, 3, 1, 0, 0)]
    {
        assert_eq!(geometry((1, (in_h, 9, 1), 1, (kernel_h, 1), stride, pad, 1)).out_h(), expected);
    }
}

#[test]
fn flops_count_each_weight_at_each_output() {
    assert_eq!(geometry((100, (32, 32, 3), 32, (5, 5), 1, 2, 1)).flops(), 2 * 100 * 32 * 32 * 32 * 75);
    assert_eq!(geometry((1, (6, 6, 8), 12, (5, 5), 1, 2, 2)).flops(), 2 * 36 * 12 * 100);
}
