//! Whole networks against PyTorch: gradients and scores from equal weights, and 30 iterations on equal batches, with a
//! learning rate that changes at every step and batches of two sizes. `goldens/make_goldens.py` made the curves.

use clr_alexnet::Alexnet;
use clr_parity::{Golden, Tolerance, check, goldens};

const STEPS: usize = 30;

fn all() -> Vec<Golden> {
    goldens(include_str!("../goldens/goldens.json"))
}

#[test]
fn networks_train_as_in_pytorch() {
    for golden in all() {
        check::<Alexnet>(&golden, "cpu", "direct", STEPS, Tolerance { first: 2e-5, last: 1e-2 });
    }
}

/// Winograd's filtering, of all but the first convolution, rounds more, so that a ReLU turns in the first batch: the gradient of
/// the weights before it changes by 2e-3.
#[test]
fn networks_begin_as_in_pytorch_by_winograds_filtering() {
    for golden in all() {
        check::<Alexnet>(&golden, "cpu", "auto", 5, Tolerance { first: 5e-3, last: 1e-2 });
    }
}

/// One of them and its first iteration: the emulator takes its time.
#[test]
fn alexnet_begins_as_in_pytorch_on_a_gpu() {
    if !clr_cuda_emulator::install_unchecked() {
        return;
    }
    let small = all().into_iter().find(|golden| golden.size < 64).expect("one of smaller images");
    check::<Alexnet>(&small, "cuda:0", "auto", 1, Tolerance { first: 1e-4, last: 1e-2 });
}
