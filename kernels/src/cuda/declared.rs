//! Declarations of the kernels' source, for tests: the arguments of each kernel, the fields of each struct; and what the compiler
//! made of them. Every launch of a test is held against it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

type Declaration = (String, String);

/// The kernels and structs of all files.
#[derive(Default)]
struct Declared {
    kernels: HashMap<String, Vec<Declaration>>,
    structs: HashMap<String, Vec<Declaration>>,
    /// Bytes of the arguments of each kernel in the PTX.
    compiled: HashMap<String, Vec<usize>>,
}

static DECLARED: LazyLock<Declared> = LazyLock::new(|| {
    let mut files = Vec::new();
    for folder in ["cuda", "src"] {
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut files);
    }
    let ptx = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda/kernels.compute_80.ptx"));
    Declared::read(&files, &ptx.expect("the PTX"))
});

/// Asserts that `given`, types, names and bytes of a launch's arguments, are those that the kernel declares, in its order.
#[track_caller]
pub(super) fn check_launch(kernel: &str, given: &[(String, &'static str, usize)]) {
    let declared = DECLARED.kernels.get(kernel).unwrap_or_else(|| panic!("no source declares `{kernel}`"));
    let named: Vec<Declaration> = given.iter().map(|(kind, name, _)| (kind.clone(), (*name).to_owned())).collect();
    assert_eq!(&named, declared, "the arguments of `{kernel}`, as given and as declared");
    let bytes: Vec<usize> = given.iter().map(|(_, _, bytes)| *bytes).collect();
    assert_eq!(Some(&bytes), DECLARED.compiled.get(kernel), "bytes of the arguments of `{kernel}`");
}

/// Asserts that a struct's fields are those that the source declares, in its order.
#[track_caller]
pub(super) fn check_struct(name: &str, fields: &[(&str, &str)]) {
    let declared = DECLARED.structs.get(name).unwrap_or_else(|| panic!("no source declares `{name}`"));
    let fields: Vec<Declaration> = fields.iter().map(|(kind, name)| ((*kind).to_owned(), (*name).to_owned())).collect();
    assert_eq!(&fields, declared, "the fields of `{name}`, here and as declared");
}

fn collect(folder: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let extension = path.extension().unwrap_or_default();
        if path.is_dir() {
            collect(&path, files);
        } else if extension == "cu" || extension == "cuh" {
            files.push(fs::read_to_string(path).unwrap());
        }
    }
}

impl Declared {
    fn read(files: &[String], ptx: &str) -> Declared {
        let files: Vec<String> = files.iter().map(|text| plain(text)).collect();
        let mut declared = Declared { compiled: compiled(ptx), ..Declared::default() };
        for text in &files {
            declared.add_structs(text);
            for part in text.split("__global__ void __launch_bounds__(").skip(1) {
                let (_bounds, rest) = part.split_at(closing(part));
                let (name, arguments) = rest[1..].split_once('(').unwrap();
                let arguments = declarations(arguments[..closing(arguments)].split(','));
                let macro_name = text[..offset(text, part)].rsplit_once("#define ").filter(|_| name.trim() == "NAME");
                match macro_name.map(|(_, definition)| definition.split('(').next().unwrap()) {
                    None => drop(declared.kernels.insert(name.trim().to_owned(), arguments)),
                    Some(macro_name) => {
                        let call = format!("\n{macro_name}(");
                        for call in files.iter().flat_map(|text| text.split(&call).skip(1)) {
                            let name = call.split(',').next().unwrap().to_owned();
                            declared.kernels.insert(name, arguments.clone());
                        }
                    }
                }
            }
        }
        declared
    }

    fn add_structs(&mut self, text: &str) {
        let namespace = text.split_once("\nnamespace ").map(|(_, rest)| rest.split(' ').next().unwrap());
        for part in text.split("\nstruct ").skip(1) {
            let Some((name, body)) = part.split_once(" {") else { continue };
            let body = body.split("\n};").next().unwrap();
            let fields = declarations(body.split(';').map(str::trim).filter(|field| !field.is_empty()));
            let name = namespace.map_or(name.to_owned(), |namespace| format!("{namespace}::{name}"));
            self.structs.insert(name, fields);
        }
    }
}

/// Without comments, and with macros on one line.
fn plain(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ")
}

/// The place of the bracket that closes the one open at the beginning.
fn closing(text: &str) -> usize {
    let mut depth = 1;
    let close = text.find(|character| {
        depth += match character {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth == 0
    });
    close.unwrap()
}

/// The place of `part` in `text`, which it is a slice of.
fn offset(text: &str, part: &str) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
}

/// `const u32 rows, columns` and the like, cut at commas or semicolons.
fn declarations<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<Declaration> {
    let mut found: Vec<Declaration> = Vec::new();
    for text in texts.flat_map(|text| text.split(',')) {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (kind, name) = match text.rsplit_once(' ') {
            Some((kind, name)) => (kind.to_owned(), name),
            // A further field of the type before.
            None => (found.last().map_or(String::new(), |(kind, _)| kind.clone()), &text[..]),
        };
        // A number that the kernel promises not to change is a number.
        let kind = if kind.ends_with('*') { kind } else { kind.strip_prefix("const ").unwrap_or(&kind).to_owned() };
        found.push(match name.split_once('[') {
            Some((name, len)) => (format!("{kind}[{len}"), name.to_owned()),
            None => (kind, name.to_owned()),
        });
    }
    found
}

/// Bytes of the arguments of each kernel: `.param .u32 name`, or `.param .align 8 .b8 name[16]`.
fn compiled(ptx: &str) -> HashMap<String, Vec<usize>> {
    let entries = ptx.split(".visible .entry ").skip(1).map(|entry| {
        let (name, rest) = entry.split_once('(').unwrap();
        let arguments = rest.split(')').next().unwrap().split(".param ").skip(1);
        let bytes = arguments.map(|argument| {
            let array = argument.split_once('[').and_then(|(_, len)| len.split(']').next()?.parse().ok());
            let number = || if argument.starts_with(".u64") || argument.starts_with(".f64") { 8 } else { 4 };
            array.unwrap_or_else(number)
        });
        (name.to_owned(), bytes.collect())
    });
    entries.collect()
}

#[test]
fn the_source_declares_what_was_compiled() {
    let names = |names: Vec<&String>| names.into_iter().cloned().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(names(DECLARED.kernels.keys().collect()), names(DECLARED.compiled.keys().collect()));
    for (kernel, arguments) in &DECLARED.kernels {
        assert_eq!(arguments.len(), DECLARED.compiled[kernel].len(), "{kernel}");
    }
}

#[test]
fn declarations_are_read_from_kernels_and_structs_and_macros() {
    let text = "
        namespace pool {\nstruct Shape {\n    u32 rows, columns; // Both.\n    float scale[2];\n};\n}
        extern \"C\" __global__ void __launch_bounds__((2 * 4), 1)
            plain(const pool::Shape shape, u32 len, const float* from, Lanes<const float> x) {}
        #define MAKE(NAME, TYPE) \\\n extern \"C\" __global__ void __launch_bounds__(8) \\\n NAME(u32 len) {}\nMAKE(made, u8)\n";
    let ptx = ".visible .entry plain(\n.param .align 4 .b8 plain_param_0[16],\n.param .u32 b,\n.param .u64 c,\n)";
    let declared = Declared::read(&[text.replace("        ", "")], ptx);
    let texts = |list: &[Declaration]| list.iter().map(|(kind, name)| format!("{kind} {name}")).collect::<Vec<_>>();
    let plain = ["pool::Shape shape", "u32 len", "const float* from", "Lanes<const float> x"];
    assert_eq!(texts(&declared.kernels["plain"]), plain);
    assert_eq!(texts(&declared.kernels["made"]), ["u32 len"]);
    assert_eq!(texts(&declared.structs["pool::Shape"]), ["u32 rows", "u32 columns", "float[2] scale"]);
    assert_eq!(declared.compiled["plain"], [16, 4, 8]);
}
