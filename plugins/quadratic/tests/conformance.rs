//! The plugin passes the suite, within this process.

#[test]
fn quadratic_conforms() {
    let report = clr_conformance::run(clr_quadratic::api(), &clr_conformance::DataSize::default());
    assert!(report.passed(), "{report}");
    // Nothing is left out but what the plugin does not have, and it has everything.
    assert!(!report.to_string().contains("skip "), "{report}");
}
