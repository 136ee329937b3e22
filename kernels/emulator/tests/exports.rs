//! The test driver has no function that a driver of R530 lacks: our code cannot come to need one unnoticed.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use clr_cuda_emulator::{Flavour, environment};

/// What tests call to change settings: the one name that no real driver has.
const OWN: &str = "cuda_emulator_set";

#[test]
fn the_driver_exports_what_r530_has() {
    let known: BTreeSet<&str> = include_str!("../driver/r530_functions.txt").lines().collect();
    let Some(exported) = exported() else { return };
    assert!(exported.contains(OWN) && exported.contains("cuLaunchKernel"), "nm lists {exported:?}");
    let newer: Vec<&String> = exported.iter().filter(|name| !known.contains(name.as_str()) && *name != OWN).collect();
    assert!(newer.is_empty(), "no driver of R530 has {newer:?}");
}

/// Names by which a program can find functions of the driver. None without a C++ compiler or `nm`.
fn exported() -> Option<BTreeSet<String>> {
    let variables = environment(Flavour::Unchecked)?;
    let folder = variables.iter().find(|(name, _)| name == "LD_LIBRARY_PATH").map(|(_, folder)| folder)?;
    let driver = Path::new(folder).join("libcuda.so");
    let Ok(listed) = Command::new("nm").args(["--dynamic", "--defined-only", "--format=posix"]).arg(driver).output()
    else {
        eprintln!("SKIPPED: `nm` does not start");
        return None;
    };
    assert!(listed.status.success(), "{listed:?}");
    let lines = String::from_utf8(listed.stdout).expect("names are ASCII");
    // What the runtime offers to compiled kernels is C++, and mangled.
    let names = lines.lines().filter_map(|line| line.split_whitespace().next());
    Some(names.filter(|name| name.starts_with("cu")).map(str::to_owned).collect())
}

/// The bindings that our code is compiled with are of the same age as the list.
#[test]
fn cudarc_is_bound_to_cuda_12_1() {
    assert_eq!(cudarc::driver::sys::CUDA_VERSION, 12010);
}
