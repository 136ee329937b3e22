//! The plugin passes the suite that any plugin must pass, within this process.

use clr_conformance::DataSize;

/// Images as small as the poolings allow, to be quick: 8 x 8.
#[test]
fn cifar_conforms() {
    let size = DataSize { height: 8, width: 9, channels: 3, class_count: 5, batch_size: 4 };
    let report = clr_conformance::run(clr_cifar::api(), &size);
    assert!(report.passed(), "{report}");
    assert!(!report.to_string().contains("skip "), "{report}");
    println!("{report}");
}
