//! `kernels/cuda/compile.py` refuses what must not be shipped. Needs Python and, once, the network.
//!
//! `CLR_NVRTC` is the folder with the compiler, as for `--cache`; without it one below Cargo's target folder is used.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Compiles a text; none, with a line on stderr, where the compiler cannot be had.
fn compile(name: &str, text: &str, arguments: &[&str]) -> Option<Output> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let cache = std::env::var_os("CLR_NVRTC").map_or_else(|| folder.join("nvrtc"), PathBuf::from);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cuda/compile.py");
    let python = std::env::var_os("CLR_PYTHON").unwrap_or_else(|| "python3".into());
    let source = folder.join(name);
    std::fs::write(&source, text).unwrap();
    let mut command = Command::new(python);
    command
        .arg(script)
        .arg("--cache")
        .arg(cache)
        .arg("--source")
        .arg(source)
        .arg("--output")
        .arg(folder)
        .args(arguments);
    match command.output() {
        Ok(output) if output.status.code() == Some(3) => {
            eprintln!("SKIPPED: NVRTC cannot be had: {}", String::from_utf8_lossy(&output.stderr));
            None
        }
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("SKIPPED: no Python: {error}");
            None
        }
    }
}

/// Keeps 200 floats of each thread alive at once, with 32 registers to a thread.
fn spilling() -> String {
    let lines: [String; 3] = [
        (0..200).map(|i| format!("    float v{i} = x[threadIdx.x + {i} * n];\n")).collect(),
        "    __syncthreads();\n".into(),
        (0..200).map(|i| format!("    x[threadIdx.x + {i} * n] = v{i} * v{};\n", (i * 7 + 3) % 200)).collect(),
    ];
    let head = "extern \"C\" __global__ void __launch_bounds__(1024, 2) planted_spill(float* x, int n) {\n";
    format!("{head}{}}}\n", lines.concat())
}

#[test]
fn errors_spills_and_stale_files_fail() {
    let text = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let good = "#include \"device.cuh\"\nextern \"C\" __global__ void good(float* x) { x[0] = 1.0f; }\n";
    let Some(output) = compile("planted_good.cu", good, &[]) else { return };
    assert!(output.status.success(), "{}", text(&output));
    let output = compile("planted_good.cu", good, &["--check"]).unwrap();
    assert!(output.status.success(), "{}", text(&output));

    let changed = good.replace("1.0f", "2.0f");
    let output = compile("planted_good.cu", &changed, &["--check"]).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("stale: planted_good.compute_80.ptx, planted_good.sm_90.cubin"),
        "{}",
        text(&output)
    );

    let output = compile("planted_error.cu", &good.replace("x[0]", "y[0]"), &[]).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("planted_error.cu(2)"), "{}", text(&output));
    assert!(text(&output).contains("\"y\" is undefined"), "{}", text(&output));

    let output = compile("planted_spill.cu", &spilling(), &[]).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("sm_80: registers spill in `planted_spill`"), "{}", text(&output));
}
