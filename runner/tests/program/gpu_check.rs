//! `kernels/gpu-check` on the emulated GPU, with the smallest settings: what it finds there is what it would say of a real
//! one. Its conformance step is what the tests of the plugin `cifar` do.

use std::path::{Path, PathBuf};
use std::process::Command;

use clr_cuda_emulator::{Flavour, environment};

use crate::world::{BOWL, Ran, World, plugins};

/// A folder as it is given to a machine without Rust: the program and its plugins.
struct Given {
    world: World,
    emulator: Vec<(String, String)>,
}

impl Given {
    /// None, with a line on stderr, without Python or a C++ compiler.
    fn new() -> Option<Given> {
        let python = Command::new("python3").args(["-c", "import sys; sys.exit(sys.version_info < (3, 9))"]).status();
        if !python.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: there is no Python 3.9");
            return None;
        }
        let given = Given { world: World::new(BOWL), emulator: environment(Flavour::Unchecked)? };
        let folder = given.world.path("built");
        std::fs::create_dir(&folder).unwrap();
        for file in [Path::new(env!("CARGO_BIN_EXE_clr-run")), &plugins().join("libclr_cifar.so")] {
            std::fs::copy(file, folder.join(file.file_name().unwrap())).unwrap();
        }
        Some(given)
    }

    fn run(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Ran {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../kernels/gpu-check");
        let mut command = Command::new("python3");
        command.arg(script).args(["built", "--quick", "--data", "data", "--dataset", "speckles"]).args(arguments);
        command.current_dir(self.world.folder()).env("CLR_CACHE", self.world.path("cache"));
        command.envs(self.emulator.iter().cloned()).envs(settings.iter().copied());
        Ran::from(command.output().expect("Python starts"))
    }

    /// Puts a script that stands for a tool of NVIDIA's where it is looked for; gives the `PATH` to find it. It runs the
    /// program that its arguments name, and then `after`, for which `$log` is what came after `--log-file`.
    fn tool(&self, name: &str, after: &str) -> String {
        let folder = self.world.path(&format!("tools-{}", after.len()));
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join(name);
        let skip = "until [ -x \"$1\" ]; do if [ \"$1\" = --log-file ]; then log=$2; fi; shift; done";
        std::fs::write(&file, format!("#!/bin/sh\n{skip}\n\"$@\" || exit\n{after}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&file, mode).unwrap();
        format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default())
    }
}

#[test]
fn on_a_gpu_that_computes_as_the_cpu_does_all_checks_pass() {
    let Some(given) = Given::new() else { return };
    let steps = ["--only", "hardware", "training", "lanes", "speed", "paper"];
    let ran = given.run(&steps, &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for expected in [
        "| hardware | machine | passed | CUDA emulator, 8.0 GiB",
        "| training | cifar10_quick, quick | passed | largest relative difference of losses",
        "| lanes | cifar10_quick bf16 shared images, quick | passed |",
        "| lanes | cifar10_quick bf16 own images, quick | passed |",
        "| cifar10_quick | f32 | 2 |",
        "| triangular_adadelta | adadelta | 2 | 67.3 |",
    ] {
        assert!(ran.stdout.contains(expected), "{expected} is not in\n{}", ran.stdout);
    }
    let again = given.run(&steps, &[]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(
        !again.stdout.contains("PASSED") && again.stdout.contains("| passed |"),
        "nothing is done twice: {again:?}"
    );
}

#[test]
fn what_is_wrong_fails() {
    let Some(given) = Given::new() else { return };
    let none = given.run(&["--only", "hardware", "training"], &[("CUDA_EMULATOR_DEVICES", "0")]);
    assert_eq!(none.code, Some(2), "{none:?}");
    assert!(none.stdout.contains("clr-run cannot use cuda:0: error: --device: no GPU 0"), "{none:?}");
    let none = given.run(&["--only", "conformance"], &[("CUDA_EMULATOR_DEVICES", "0")]);
    assert_eq!(none.code, Some(1), "{none:?}");
    assert!(none.stdout.contains("FAIL  cifar10_full: trials alone: "), "{none:?}");
    assert!(none.stdout.contains("no GPU 0: the NVIDIA driver finds none"), "{none:?}");
    // The third graph that a worker launches fails.
    let launch = ("CUDA_EMULATOR_FAIL", "cuGraphLaunch:3:719");
    let failed = given.run(&["--only", "lanes", "--match", "shared"], &[launch]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stdout.contains("| lanes | cifar10_quick bf16 shared images, quick | failed |"), "{failed:?}");
}

#[test]
fn what_a_sanitizer_says_is_believed() {
    let Some(given) = Given::new() else { return };
    let only = ["--only", "sanitizer", "--match", "memcheck"];
    let found = given.tool("compute-sanitizer", "echo '========= ERROR SUMMARY: 3 errors'\nexit 99");
    let failed = given.run(&only, &[("PATH", &found)]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stdout.contains("ERROR SUMMARY: 3 errors"), "{failed:?}");
    let clean = given.tool("compute-sanitizer", "echo '========= ERROR SUMMARY: 0 errors'");
    let passed = given.run(&only, &[("PATH", &clean)]);
    assert_eq!(passed.code, Some(0), "what failed is done again: {passed:?}");
    assert!(passed.stdout.contains("| sanitizer | memcheck, quick | passed | 0 errors |"), "{passed:?}");
}

/// As `ncu --csv --page raw` prints launches: two of an evaluation, and three iterations.
const LAUNCHES: &str = r#"==PROF== Connected to process 1
"ID","Process ID","Kernel Name","gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed","gpu__time_duration.sum","sm__throughput.avg.pct_of_peak_sustained_elapsed"
"","","","%","ns","%"
"0","1","correlate","90","90,000","90"
"1","1","correlate","90","90,000","90"
"2","1","optimizer_update","90","90,000","90"
"3","1","correlate","10","1,000","40"
"4","1","correlate","20","3,000","60"
"5","1","optimizer_update","80","500","5"
"6","1","correlate","10","2,000","40"
"7","1","correlate","20","4,000","60"
"8","1","optimizer_update","80","500","5"
"#;

#[test]
fn time_is_told_by_kernel() {
    let Some(given) = Given::new() else { return };
    let path = given.tool("ncu", &format!("cat > \"$log\" <<'END'\n{LAUNCHES}END"));
    let ran = given.run(&["--only", "kernels"], &[("PATH", &path)]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for expected in [
        "Kernels of an iteration of cifar10_quick bf16 K=2, quick: 6 us, one by one (n = 2):",
        "| correlate | 2 | 5.0 | 91% | 54% | 17% |",
        "| optimizer_update | 1 | 0.5 | 9% | 5% | 80% |",
    ] {
        assert!(ran.stdout.contains(expected), "{expected} is not in\n{}", ran.stdout);
    }
}
