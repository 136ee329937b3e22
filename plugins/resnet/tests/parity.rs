//! Whole networks against PyTorch: gradients and scores from equal weights, and 30 iterations on equal batches, with a
//! learning rate that changes at every step and batches of two sizes. `goldens/make_goldens.py` made the curves.

use clr_parity::{Golden, Tolerance, check, goldens};
use clr_resnet::Resnet;

const STEPS: usize = 30;

fn all() -> Vec<Golden> {
    goldens(include_str!("../goldens/goldens.json"))
}

/// PyTorch's own float32 is off by 2e-2 in the gradients of ResNet-50, some of whose ReLUs it turns.
fn tolerance(golden: &Golden, first: f64) -> Tolerance {
    Tolerance { first: if golden.model == "resnet50" { 5e-2 } else { first }, last: 1e-2 }
}

#[test]
fn networks_train_as_in_pytorch() {
    for golden in all() {
        check::<Resnet>(&golden, "cpu", "direct", STEPS, tolerance(&golden, 2e-5));
    }
}

/// Winograd's filtering rounds more, so that ReLUs turn earlier.
#[test]
fn networks_begin_as_in_pytorch_by_winograds_filtering() {
    for golden in all() {
        check::<Resnet>(&golden, "cpu", "auto", 5, tolerance(&golden, 1e-4));
    }
}

/// The small ones: the emulator takes its time. The last iteration follows a smaller batch.
#[test]
fn small_networks_begin_as_in_pytorch_on_a_gpu() {
    if !clr_cuda_emulator::install_unchecked() {
        return;
    }
    let small: Vec<Golden> = all()
        .into_iter()
        .filter(|golden| golden.size < 9 || golden.model == "cifar_resnet" && golden.size < 16)
        .collect();
    assert_eq!(small.len(), 3);
    for golden in small {
        check::<Resnet>(&golden, "cuda:0", "auto", 6, Tolerance { first: 1e-4, last: 1e-2 });
    }
}
