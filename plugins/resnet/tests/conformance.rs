//! The plugin passes the suite that any plugin must pass, within this process.

use clr_conformance::DataSize;

/// The first model: the others are as large as those of ImageNet are.
#[test]
fn resnet_conforms() {
    let size = DataSize { height: 8, width: 8, channels: 3, class_count: 5, batch_size: 4 };
    let report = clr_conformance::run_of("cpu", clr_resnet::api(), &size, |model| model == "cifar_resnet");
    assert!(report.passed(), "{report}");
    assert!(!report.to_string().contains("skip "), "{report}");
    println!("{report}");
}
