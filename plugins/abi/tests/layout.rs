//! Every size and offset of the Rust mirror is what a C compiler makes of the header, which compiles as C99 and C++17.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// Compiles one file and returns what the compiler said; none where there is no compiler.
fn compile(compiler: &str, arguments: &[&str], source: &Path, output: &Path) -> Option<()> {
    let include = concat!(env!("CARGO_MANIFEST_DIR"), "/include");
    let result = Command::new(compiler)
        .args(["-Wall", "-Wextra", "-pedantic", "-Werror", "-I", include, "-o"])
        .arg(output)
        .args(arguments)
        .arg(source)
        .output();
    let Ok(result) = result else {
        eprintln!("SKIPPED: no compiler `{compiler}` here");
        return None;
    };
    let errors = String::from_utf8_lossy(&result.stderr);
    assert!(result.status.success(), "{compiler} {arguments:?}:\n{errors}");
    assert!(errors.is_empty(), "{compiler} {arguments:?}:\n{errors}");
    Some(())
}

#[test]
fn the_mirror_has_the_layout_of_the_header() {
    let mut source = String::from("#include <stdio.h>\n#include \"clr_plugin.h\"\n");
    source.push_str("#define ALIGN(type) offsetof(struct { char first; type second; }, second)\nint main(void) {\n");
    let mut expected = String::new();
    let sizes = "(unsigned long)";
    for layout in clr_abi::layouts() {
        let name = layout.name;
        writeln!(source, "printf(\"{name} %lu %lu\\n\", {sizes}sizeof({name}), {sizes}ALIGN({name}));").unwrap();
        writeln!(expected, "{name} {} {}", layout.size, layout.align).unwrap();
        for (field, offset) in layout.fields {
            writeln!(source, "printf(\"{name}.{field} %lu\\n\", {sizes}offsetof({name}, {field}));").unwrap();
            writeln!(expected, "{name}.{field} {offset}").unwrap();
        }
    }
    let constants = [
        ("CLR_ABI_MAJOR", i64::from(clr_abi::ABI_MAJOR)),
        ("CLR_ABI_MINOR", i64::from(clr_abi::ABI_MINOR)),
        ("CLR_OK", i64::from(clr_abi::OK)),
        ("CLR_INVALID_ARGUMENT", i64::from(clr_abi::INVALID_ARGUMENT)),
        ("CLR_UNSUPPORTED", i64::from(clr_abi::UNSUPPORTED)),
        ("CLR_OUT_OF_MEMORY", i64::from(clr_abi::OUT_OF_MEMORY)),
        ("CLR_DEVICE", i64::from(clr_abi::DEVICE)),
        ("CLR_INTERNAL", i64::from(clr_abi::INTERNAL)),
        ("CLR_CANCELLED", i64::from(clr_abi::CANCELLED)),
        ("CLR_TRAIN", i64::from(clr_abi::TRAIN)),
        ("CLR_VALIDATION", i64::from(clr_abi::VALIDATION)),
        ("CLR_TEST", i64::from(clr_abi::TEST)),
        ("CLR_SPLITS", clr_abi::SPLITS as i64),
        ("CLR_WEIGHT", i64::from(clr_abi::WEIGHT)),
        ("CLR_OPTIMIZER_STATE", i64::from(clr_abi::OPTIMIZER_STATE)),
        ("CLR_BUFFER", i64::from(clr_abi::BUFFER)),
    ];
    for (name, value) in constants {
        writeln!(source, "printf(\"{name} %ld\\n\", (long){name});").unwrap();
        writeln!(expected, "{name} {value}").unwrap();
    }
    source.push_str("puts(CLR_STATE_ID);\nputs(CLR_PARAMETERS_ID);\nputs(CLR_ENSEMBLE_ID);\nreturn 0;\n}\n");
    for id in [clr_abi::STATE_ID, clr_abi::PARAMETERS_ID, clr_abi::ENSEMBLE_ID] {
        writeln!(expected, "{id}").unwrap();
    }

    let folder = tempfile::tempdir().unwrap();
    let (file, program) = (folder.path().join("layout.c"), folder.path().join("layout"));
    std::fs::write(&file, source).unwrap();
    if compile("cc", &["-std=c99"], &file, &program).is_none() {
        return;
    }
    let printed = Command::new(&program).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&printed.stdout), expected);
}

#[test]
fn the_headers_compile_as_c99_and_as_cpp17() {
    let folder = tempfile::tempdir().unwrap();
    let object = folder.path().join("headers.o");
    for (compiler, standard, name) in [("cc", "-std=c99", "headers.c"), ("c++", "-std=c++17", "headers.cpp")] {
        let file = folder.path().join(name);
        std::fs::write(&file, "#include \"clr_image.h\"\n#include \"clr_plugin.h\"\n").unwrap();
        compile(compiler, &[standard, "-c"], &file, &object);
    }
}
