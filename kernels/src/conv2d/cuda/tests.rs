//! All kernels on the emulated device, under its checker, with the shapes of the CPU's tests.

use super::*;
use crate::conv2d::tests::{CASES, Case, definition, geometry};
use crate::testing::values;

const PRECISIONS: [Precision; 3] = [Precision::Float32, Precision::Tf32, Precision::Bf16];

/// Shapes that need what those of the CPU's tests do not: several blocks, slices and parts in each direction.
const CUDA_CASES: [Case; 6] = [
    // More taps than a block has rows.
    (1, (11, 9, 32), 8, (11, 9), 1, 4, 1),
    // Several images, then parts of one, in a tile; more than 32 channels of a group on both sides.
    (5, (6, 6, 40), 72, (3, 3), 1, 1, 1),
    (1, (18, 40, 8), 36, (1, 1), 1, 0, 1),
    (1, (20, 17, 3), 8, (5, 5), 1, 2, 1),
    // Channels that cannot be read in runs of four; a stride that leaves phases without taps and padding.
    (2, (6, 5, 9), 35, (3, 2), 1, 1, 1),
    (1, (9, 10, 18), 34, (2, 3), 4, 1, 2),
];

/// A few shapes, wide and narrow, for what does not depend on the shape.
const FEW_CASES: [Case; 4] = [
    (3, (9, 9, 3), 32, (5, 5), 1, 2, 1),
    (2, (4, 4, 32), 64, (5, 5), 1, 2, 1),
    (2, (8, 8, 16), 32, (3, 3), 2, 1, 1),
    (2, (6, 6, 8), 12, (5, 5), 1, 2, 2),
];

/// The arrays of one lane.
struct Lane {
    x: Vec<f32>,
    w: Vec<f32>,
    bias: Vec<f32>,
    dy: Vec<f32>,
}

/// `y`, `dx`, `dw`, `db`.
type Outputs = [Vec<f32>; 4];

impl Lane {
    fn new(g: &Conv2d, lane: u64) -> Lane {
        let values = |seed, len| values(4 * lane + seed, len);
        let (x, w) = (values(1, g.input_len()), values(2, g.weight_len()));
        Lane { x, w, bias: values(3, g.out_c), dy: values(4, g.output_len()) }
    }
}

/// How tensors lie in their buffers, and what is fused.
#[derive(Clone, Copy)]
struct Setup {
    precision: Precision,
    relu: bool,
    bias: bool,
    /// All lanes read the first one's x.
    shared_x: bool,
    /// Floats before each tensor.
    offset: usize,
    shared_bytes: usize,
}

impl Setup {
    fn new(precision: Precision) -> Setup {
        Setup { precision, relu: false, bias: true, shared_x: false, offset: 0, shared_bytes: MAX_SHARED_BYTES }
    }
}

/// The emulated device, if there is a compiler to build it.
fn device() -> Option<Gpu> {
    clr_cuda_emulator::install().then(|| Gpu::open(0).unwrap())
}

/// Runs the three passes of all lanes at once. Outputs and scratch memory start as NaN, so that what is not written
/// shows.
fn run(gpu: &Gpu, g: &Conv2d, setup: Setup, lanes: &[Lane]) -> Vec<Outputs> {
    let Setup { precision, relu, bias, shared_x, offset, shared_bytes } = setup;
    let upload = |len: usize, of: &dyn Fn(usize) -> Option<Vec<f32>>| {
        let mut floats = vec![f32::NAN; lanes.len() * (offset + len)];
        for (k, floats) in floats.chunks_exact_mut((offset + len).max(1)).enumerate() {
            if let Some(values) = of(k) {
                floats[offset..].copy_from_slice(&values);
            }
        }
        gpu.alloc_from(&floats).unwrap()
    };
    let conv = Conv2dKernels::within(g, precision, shared_bytes).unwrap();
    let lens = [g.output_len(), g.input_len(), g.weight_len(), g.out_c];
    let x = upload(g.input_len(), &|k| Some(lanes[k].x.clone()));
    let w = upload(g.weight_len(), &|k| Some(lanes[k].w.clone()));
    let b = upload(g.out_c, &|k| Some(lanes[k].bias.clone()));
    let dy = upload(g.output_len(), &|k| Some(lanes[k].dy.clone()));
    let [y, dx, dw, db] = lens.map(|len| upload(len, &|_| None));
    let scratch = upload(conv.scratch_len(), &|_| None);

    let view = |buffer, len: usize| Lanes { buffer, offset, stride: offset + len };
    let mut x_view = view(&x, g.input_len());
    if shared_x {
        x_view.stride = 0;
    }
    let [y_view, dx_view, dw_view, db_view] = [(&y, 0), (&dx, 1), (&dw, 2), (&db, 3)].map(|(b, i)| view(b, lens[i]));
    let (w_view, dy_view) = (view(&w, g.weight_len()), view(&dy, g.output_len()));
    let epilogue = LaneEpilogue { bias: bias.then(|| view(&b, g.out_c)), relu };
    conv.forward(gpu, lanes.len(), x_view, w_view, epilogue, y_view).unwrap();
    let dy = LaneOutputGradient { dy: dy_view, relu_y: relu.then_some(y_view) };
    conv.backward_input(gpu, lanes.len(), dy, w_view, dx_view).unwrap();
    let gradients = LaneWeightGradients { dw: dw_view, db: bias.then_some(db_view) };
    conv.backward_weight(gpu, lanes.len(), x_view, dy, gradients, view(&scratch, conv.scratch_len())).unwrap();

    let download = |k: usize, buffer, len: usize| {
        let mut floats = vec![0.0; len];
        gpu.download(buffer, k * (offset + len) + offset, &mut floats).unwrap();
        floats
    };
    (0..lanes.len())
        .map(|k| [(&y, 0), (&dx, 1), (&dw, 2), (&db, 3)].map(|(buffer, i)| download(k, buffer, lens[i])))
        .collect()
}

/// A factor as tensor cores see it.
fn rounded(precision: Precision, values: &[f32]) -> Vec<f32> {
    let round = |value: &f32| {
        let bits = value.to_bits();
        f32::from_bits(match precision {
            Precision::Float32 => bits,
            // To nearest, halves away from zero.
            Precision::Tf32 => (bits + 0x1000) & !0x1fff,
            // To nearest, halves to even.
            Precision::Bf16 => (bits + 0x7fff + (bits >> 16 & 1)) & !0xffff,
        })
    };
    values.iter().map(round).collect()
}

/// Checks a lane against the definition in f64.
///
/// With factors that are rounded already, products are exact in float32 (two TF32 factors have 22 bits), and what is
/// left is the error of a float32 sum of n terms: at most n 2^-23 of the sum of absolute values, in any order and even
/// if the tensor cores truncate. With the factors as they were, each product adds up to 2 u + u^2 of itself, u being
/// 2^-11 for TF32 and 2^-8 for bfloat16.
#[track_caller]
fn check(what: &str, g: &Conv2d, setup: Setup, lane: &Lane, actual: &Outputs) {
    let precision = setup.precision;
    let bias = if setup.bias { lane.bias.clone() } else { vec![0.0; g.out_c] };
    let mut dy = lane.dy.clone();
    if setup.relu {
        dy.iter_mut().zip(&actual[0]).filter(|(_, y)| **y <= 0.0).for_each(|(dy, _)| *dy = 0.0);
    }
    let absolute = |values: &[f32]| values.iter().map(|value| value.abs()).collect::<Vec<_>>();
    let size = definition(g, &absolute(&lane.x), &absolute(&lane.w), &absolute(&bias), &absolute(&dy));
    let exact = definition(g, &lane.x, &lane.w, &bias, &dy);
    let [x, w, rounded_dy] = [&lane.x, &lane.w, &dy].map(|values| rounded(precision, values));
    let mut expected = definition(g, &x, &w, &bias, &rounded_dy);
    // The bias gradient is a sum, not a product: nothing is rounded.
    expected[3].clone_from(&exact[3]);
    let unit = match precision {
        Precision::Float32 => 0.0,
        Precision::Tf32 => 1.0 / 2048.0,
        Precision::Bf16 => 1.0 / 256.0,
    };
    let taps = g.kernel_h * g.kernel_w;
    let pixels = g.batch * g.out_h() * g.out_w();
    let terms = [taps * g.in_c / g.groups + 1, taps * g.out_c / g.groups, pixels, pixels];
    for (i, name) in ["y", "dx", "dw", "db"].into_iter().enumerate() {
        if name == "db" && !setup.bias {
            assert!(actual[i].iter().all(|value| value.is_nan()), "{what}: db is written");
            continue;
        }
        assert_eq!(actual[i].len(), expected[i].len(), "{what}: {name}");
        for (at, actual) in actual[i].iter().enumerate() {
            let (mut expected, mut exact) = (expected[i][at], exact[i][at]);
            if name == "y" && setup.relu {
                (expected, exact) = (expected.max(0.0), exact.max(0.0));
            }
            let sum = (terms[i] as f64 + 1.0) * f64::from(f32::EPSILON) * size[i][at];
            let error = (f64::from(*actual) - expected).abs();
            assert!(error <= sum, "{what} {name}[{at}]: {actual} instead of {expected}, {error} and not {sum}");
            let error = (f64::from(*actual) - exact).abs();
            let bound = sum + (2.0 * unit + unit * unit) * (size[i][at] + sum);
            assert!(error <= bound, "{what} {name}[{at}]: {actual} instead of {exact} exactly");
        }
    }
}

/// The lanes' results, checked, with `count` lanes.
fn checked(gpu: &Gpu, case: Case, setup: Setup, count: u64) -> Vec<Outputs> {
    let g = geometry(case);
    let mut lanes: Vec<Lane> = (0..count).map(|lane| Lane::new(&g, lane)).collect();
    let outputs = run(gpu, &g, setup, &lanes);
    for (k, actual) in outputs.iter().enumerate() {
        if setup.shared_x {
            lanes[k].x = lanes[0].x.clone();
        }
        check(&format!("{:?} {case:?} lane {k}", setup.precision), &g, setup, &lanes[k], actual);
    }
    outputs
}

#[track_caller]
fn check_lanes(precision: Precision) {
    let Some(gpu) = device() else { return };
    for case in CASES.into_iter().chain(CUDA_CASES) {
        let setup = Setup::new(precision);
        let bits = |outputs: &Outputs| outputs.concat().iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let (one, three) = (checked(&gpu, case, setup, 1), checked(&gpu, case, setup, 3));
        assert_eq!(bits(&one[0]), bits(&three[0]), "{precision:?} {case:?}: one lane and three");
    }
}

#[test]
fn float32_agrees_with_the_definition_and_lanes_do_not_depend_on_each_other() {
    check_lanes(Precision::Float32);
}

#[test]
fn tf32_agrees_with_the_definition_and_lanes_do_not_depend_on_each_other() {
    check_lanes(Precision::Tf32);
}

#[test]
fn bf16_agrees_with_the_definition_and_lanes_do_not_depend_on_each_other() {
    check_lanes(Precision::Bf16);
}

#[track_caller]
fn check_setup(setup: impl Fn(Setup) -> Setup) {
    let Some(gpu) = device() else { return };
    for precision in PRECISIONS {
        for case in FEW_CASES {
            checked(&gpu, case, setup(Setup::new(precision)), 2);
        }
    }
}

#[test]
fn relu_is_fused() {
    check_setup(|setup| Setup { relu: true, ..setup });
}

#[test]
fn without_bias_sums_start_from_zero() {
    check_setup(|setup| Setup { bias: false, ..setup });
}

#[test]
fn lanes_share_images_and_lie_anywhere() {
    check_setup(|setup| Setup { shared_x: true, relu: true, offset: 3, ..setup });
}

/// With little shared memory, patches are staged by rows of the kernel, and weight gradients cut into blocks of taps.
#[test]
fn large_kernels_are_cut_into_slices() {
    let g = geometry(FEW_CASES[1]);
    let plan = |shared_bytes| Conv2dKernels::within(&g, Precision::Tf32, shared_bytes).unwrap();
    assert_ne!(plan(MAX_SHARED_BYTES).forward, plan(11 << 10).forward);
    check_setup(|setup| Setup { shared_bytes: 11 << 10, ..setup });
}

#[test]
fn a_kernel_beyond_the_image_gives_no_output_and_no_gradient() {
    let Some(gpu) = device() else { return };
    let g = geometry((2, (3, 3, 2), 4, (5, 5), 1, 0, 1));
    let [y, dx, dw, db] = &run(&gpu, &g, Setup::new(Precision::Float32), &[Lane::new(&g, 0)])[0];
    assert!(y.is_empty());
    assert_eq!([dx, dw, db].map(|gradient| gradient.iter().all(|value| *value == 0.0)), [true; 3]);
}

#[test]
fn what_is_too_large_is_an_error() {
    let rows = |case| Conv2dKernels::new(&geometry(case), Precision::Float32).err().map(|error| error.to_string());
    assert_eq!(rows((1, (3, 1200, 8), 8, (1, 1200), 1, 0, 1)), None);
    assert_eq!(
        rows((1, (3, 9000, 8), 8, (1, 9000), 1, 0, 1)).unwrap(),
        "GPU: planning a convolution: a 1x9000 kernel over 8 channels on 1 images of 3x9000 is too large"
    );
    assert!(rows((1 << 31, (3, 3, 8), 8, (3, 3), 1, 1, 1)).is_some());
}

/// How the layers of cifar10_quick are cut at a batch of 100: for forward, input gradient and weight gradient, bytes of
/// shared memory, and blocks of a lane. Three blocks of 67 KiB fit on a multiprocessor of an H100.
#[test]
fn plans_of_cifar10_quick() {
    #[track_caller]
    fn check((image, out_c): ((usize, usize, usize), usize), precision: Precision, expected: [(usize, [usize; 2]); 3]) {
        let g = geometry((100, image, out_c, (5, 5), 1, 2, 1));
        let conv = Conv2dKernels::new(&g, precision).unwrap();
        let (forward, backward_input, backward_weight) = (conv.forward, conv.backward_input, conv.backward_weight);
        let actual = [
            (forward.shared_bytes, forward.blocks),
            (backward_input.shared_bytes, backward_input.blocks),
            (backward_weight.shared_bytes, backward_weight.blocks),
        ];
        assert_eq!(actual, expected, "{precision:?} {image:?}");
    }
    let [first, second, third] = [((32, 32, 3), 32), ((16, 16, 32), 32), ((8, 8, 32), 64)];
    for precision in [Precision::Float32, Precision::Tf32] {
        check(first, precision, [(14_616, [400, 1]), (67_016, [400, 1]), (23_872, [16, 1])]);
        check(second, precision, [(67_016, [100, 1]), (67_016, [100, 1]), (44_032, [16, 2])]);
        check(third, precision, [(55_496, [25, 2]), (55_496, [25, 1]), (48_640, [8, 4])]);
    }
    check(first, Precision::Bf16, [(10_520, [400, 1]), (37_320, [400, 1]), (13_632, [16, 1])]);
    check(second, Precision::Bf16, [(37_320, [100, 1]), (37_320, [100, 1]), (22_272, [16, 2])]);
    check(third, Precision::Bf16, [(51_400, [25, 2]), (51_400, [25, 1]), (24_576, [8, 4])]);
}
