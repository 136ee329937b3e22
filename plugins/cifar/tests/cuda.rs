//! The networks on an emulated GPU. Without the checker, which has watched each of their kernels in tests of its own.

use clr_conformance::DataSize;

/// As on the CPU: images as small as the poolings allow, 8 x 8.
#[test]
fn cifar_conforms_on_a_gpu() {
    if !clr_cuda_emulator::install_unchecked() {
        return;
    }
    let size = DataSize { height: 8, width: 9, channels: 3, class_count: 5, batch_size: 4 };
    let report = clr_conformance::run_on("cuda:0", clr_cifar::api(), &size);
    assert!(report.passed(), "{report}");
    assert!(!report.to_string().contains("skip "), "{report}");
    println!("{report}");
}
