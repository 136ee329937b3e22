//! Whole networks against PyTorch: gradients and scores from equal weights, and 30 iterations on equal batches, with a
//! learning rate that changes at every step and batches of two sizes. `goldens/make_goldens.py` made the curves.

use clr_densenet::Densenet;
use clr_parity::{Golden, Tolerance, check, goldens};

const STEPS: usize = 30;

fn all() -> Vec<Golden> {
    goldens(include_str!("../goldens/goldens.json"))
}

#[test]
fn networks_train_as_in_pytorch() {
    for golden in all() {
        check::<Densenet>(&golden, "cpu", "direct", STEPS, Tolerance { first: 2e-5, last: 1e-2 });
    }
}

/// Winograd's filtering rounds more, so that ReLUs turn earlier.
#[test]
fn networks_begin_as_in_pytorch_by_winograds_filtering() {
    for golden in all() {
        check::<Densenet>(&golden, "cpu", "auto", 5, Tolerance { first: 1e-4, last: 1e-2 });
    }
}

/// The small ones: the emulator takes its time. The last iteration follows a smaller batch.
#[test]
fn small_networks_begin_as_in_pytorch_on_a_gpu() {
    if !clr_cuda_emulator::install_unchecked() {
        return;
    }
    let small: Vec<Golden> = all().into_iter().filter(|golden| golden.options["depth"] != 40).collect();
    assert!(!small.is_empty());
    for golden in small {
        check::<Densenet>(&golden, "cuda:0", "auto", 6, Tolerance { first: 1e-4, last: 1e-2 });
    }
}
