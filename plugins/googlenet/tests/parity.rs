//! Whole networks against PyTorch: gradients and scores from equal weights, and 30 iterations on equal batches, with a
//! learning rate that changes at every step and batches of two sizes. `goldens/make_goldens.py` made the curves.

use clr_googlenet::Googlenet;
use clr_parity::{Golden, Tolerance, check, goldens};

const STEPS: usize = 30;

/// Among so many ReLUs and max poolings rounding decides one or the other, which is a hundredth of a small layer's gradient; later
/// PyTorch's own float32 is off by 1.5e-2.
const TOLERANCE: Tolerance = Tolerance { first: 2e-2, last: 5e-2 };

fn all() -> Vec<Golden> {
    goldens(include_str!("../goldens/goldens.json"))
}

#[test]
fn networks_train_as_in_pytorch() {
    for golden in all() {
        check::<Googlenet>(&golden, "cpu", "direct", STEPS, TOLERANCE);
    }
}

/// Winograd's filtering rounds more, so that ReLUs turn earlier.
#[test]
fn networks_begin_as_in_pytorch_by_winograds_filtering() {
    for golden in all() {
        check::<Googlenet>(&golden, "cpu", "auto", 5, TOLERANCE);
    }
}

/// Its first iteration: the emulator takes its time.
#[test]
fn googlenet_begins_as_in_pytorch_on_a_gpu() {
    if !clr_cuda_emulator::install_unchecked() {
        return;
    }
    check::<Googlenet>(&all()[0], "cuda:0", "auto", 1, TOLERANCE);
}
