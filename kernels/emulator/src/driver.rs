//! Loads the test driver into this process, and sets it up.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use crate::builder::{BuildError, Built, Flavour, build, shipped_files};

/// Makes the shipped kernels run under the checker: `cudarc` finds emulated devices from now on.
///
/// Builds what is stale first. The first call of this process decides between [`install`] and [`install_unchecked`];
/// call it before anything looks for a GPU.
///
/// # Returns
/// False, with a line on stderr, where there is no C++ compiler: the test should return.
///
/// # Panics
/// If a kernel does not compile, or the other flavour is installed.
pub fn install() -> bool {
    install_shipped(Flavour::Checked)
}

/// As [`install`], but without the checker: 2 to 30 times as fast, for tests that train a network.
pub fn install_unchecked() -> bool {
    install_shipped(Flavour::Unchecked)
}

fn install_shipped(flavour: Flavour) -> bool {
    match shipped_files() {
        Ok(files) => install_files(&files, flavour),
        Err(error) => panic!("the list of kernels: {error}"),
    }
}

/// As [`install`], with the kernels of other `.cu` files. Modules that are loaded from now on run them.
pub fn install_files(files: &[PathBuf], flavour: Flavour) -> bool {
    match build(files, flavour) {
        Ok(built) => {
            load(&built, flavour);
            true
        }
        Err(error @ BuildError::NoCompiler(_)) => {
            eprintln!("SKIPPED: {error}");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

/// The variables that make a program started by a test use the emulator: `LD_LIBRARY_PATH` and the emulator's own.
///
/// None, with a line on stderr, where there is no C++ compiler.
pub fn environment(flavour: Flavour) -> Option<Vec<(String, String)>> {
    let built = match shipped_files().and_then(|files| build(&files, flavour)) {
        Ok(built) => built,
        Err(error @ BuildError::NoCompiler(_)) => {
            eprintln!("SKIPPED: {error}");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    let folder = built.driver.parent().unwrap_or(&built.driver).display().to_string();
    let check = u8::from(flavour == Flavour::Checked).to_string();
    Some(vec![
        ("LD_LIBRARY_PATH".into(), folder),
        ("CUDA_EMULATOR_KERNELS".into(), built.kernels.display().to_string()),
        ("CUDA_EMULATOR_CHECK".into(), check),
    ])
}

/// Something about the driver that a test may choose. It holds for the whole process: tests that change one belong into
/// a file of their own, or behind a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting<'a> {
    /// How many devices there are: 1.
    Devices(u32),
    /// The memory of each device in MiB: 8192.
    MemoryMib(u64),
    /// As `cuDriverGetVersion` gives it: 12010 for CUDA 12.1.
    DriverVersion(u32),
    /// Major and minor in one number: 90.
    ComputeCapability(u32),
    /// In which order warps and their lanes run.
    Order(Order),
    /// Whether every call fails after a kernel failed, as on a GPU: no.
    StickyErrors(bool),
    /// Makes one call fail: the `call`-th from now (1 is the next) of `function` (`*` is any) gives `result`, a
    /// `CUresult`.
    Fail {
        /// The driver function, `cuMemAllocAsync`.
        function: &'a str,
        /// Which call, from 1.
        call: u32,
        /// The error it gives: 2 is out of memory.
        result: u32,
    },
    /// Takes back a [`Setting::Fail`] that has not come true.
    FailNothing,
}

/// The order in which the warps of a block run, and the lanes of a warp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the first.
    Forward,
    /// From the last.
    Reverse,
}

/// Changes a setting of the driver.
///
/// # Panics
/// If nothing is installed.
pub fn set(setting: Setting<'_>) {
    let (key, value) = match setting {
        Setting::Devices(count) => ("devices", count.to_string()),
        Setting::MemoryMib(size) => ("memory_mib", size.to_string()),
        Setting::DriverVersion(version) => ("driver_version", version.to_string()),
        Setting::ComputeCapability(version) => ("compute_capability", version.to_string()),
        Setting::Order(Order::Forward) => ("order", "forward".into()),
        Setting::Order(Order::Reverse) => ("order", "reverse".into()),
        Setting::StickyErrors(sticky) => ("sticky_errors", u8::from(sticky).to_string()),
        Setting::Fail { function, call, result } => ("fail", format!("{function}:{call}:{result}")),
        Setting::FailNothing => ("fail", String::new()),
    };
    let installed = INSTALLED.get().expect("the emulator is not installed");
    installed.set(key, &value);
}

/// The driver in this process.
struct Installed {
    set: unsafe extern "C" fn(*const c_char, *const c_char) -> c_int,
    flavour: Flavour,
}

static INSTALLED: OnceLock<Installed> = OnceLock::new();

impl Installed {
    fn set(&self, key: &str, value: &str) {
        let [key, value] = [key, value].map(|text| CString::new(text).expect("settings have no zero byte"));
        // SAFETY: the driver's function reads two strings that end with zero, under its own lock; it stays loaded.
        let result = unsafe { (self.set)(key.as_ptr(), value.as_ptr()) };
        assert_eq!(result, 0, "the driver has no setting {key:?}");
    }
}

fn load(built: &Built, flavour: Flavour) {
    static LOADING: Mutex<()> = Mutex::new(());
    let _guard = LOADING.lock();
    let installed = INSTALLED.get_or_init(|| {
        // Loaded under its name, so that cudarc's search for `libcuda.so` ends here.
        // SAFETY: the library was built from this crate's sources; its initialisers only register its own state.
        let library = unsafe { Library::open(Some(&built.driver), RTLD_NOW | RTLD_GLOBAL) };
        let library = library.unwrap_or_else(|error| panic!("{}: {error}", built.driver.display()));
        // SAFETY: the signature is that of `cuda_emulator_set` in driver/settings.cpp.
        let set = unsafe { library.get(b"cuda_emulator_set") }.map(|symbol| *symbol);
        let set = set.unwrap_or_else(|error| panic!("{}: {error}", built.driver.display()));
        std::mem::forget(library);
        let installed = Installed { set, flavour };
        installed.set("check", if flavour == Flavour::Checked { "1" } else { "0" });
        installed
    });
    assert_eq!(installed.flavour, flavour, "one process runs either checked or unchecked kernels");
    installed.set("kernels", &built.kernels.display().to_string());
}
