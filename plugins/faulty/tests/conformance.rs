//! As long as nothing is asked to go wrong, the plugin passes the suite.

#[test]
fn faulty_conforms_without_faults() {
    let report = clr_conformance::run(faulty::api(), &clr_conformance::DataSize::default());
    assert!(report.passed(), "{report}");
    assert!(!report.to_string().contains("skip "), "{report}");
}
