//! The plugin passes the suite that any plugin must pass, within this process.

use clr_conformance::DataSize;

#[test]
fn resnet_conforms() {
    let size = DataSize { height: 8, width: 8, channels: 3, class_count: 5, batch_size: 4 };
    let report = clr_conformance::run(clr_resnet::api(), &size);
    assert!(report.passed(), "{report}");
    assert!(!report.to_string().contains("skip "), "{report}");
    println!("{report}");
}
