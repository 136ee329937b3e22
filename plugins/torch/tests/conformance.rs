//! The plugin passes the suite that any plugin must pass, within this process.

use clr_conformance::{DataSize, Outcome};

#[test]
fn torch_conforms() {
    if !has_torch() {
        return;
    }
    let size = DataSize { height: 8, width: 9, channels: 3, class_count: 5, batch_size: 4 };
    let report = clr_conformance::run(clr_torch::api(), &size);
    assert!(report.passed(), "{report}");
    // A model of a package that is not there is skipped, and nothing else.
    let skipped: Vec<&str> = report
        .checks
        .iter()
        .filter(|check| matches!(check.outcome, Outcome::Skipped(_)))
        .map(|check| &*check.name)
        .collect();
    assert!(skipped.iter().all(|name| name.starts_with("torchvision") || name.starts_with("timm")), "{report}");
    println!("{report}");
}

/// False, loudly, where the Python of these tests has no torch.
fn has_torch() -> bool {
    let python = std::env::var_os("CLR_PYTHON").unwrap_or_else(|| "python3".into());
    let has = std::process::Command::new(&python).args(["-c", "import torch"]).output();
    let has = has.is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("SKIPPED: {python:?} has no torch; CLR_PYTHON names another Python");
    }
    has
}
