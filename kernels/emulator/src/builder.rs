//! Builds the test driver and the kernels with the host's C++ compiler, where they are not built yet.
//!
//! Results lie in the folder `cuda-emulator` of Cargo's target folder, under names that contain a hash of everything
//! they were made from: what is there is up to date, and two processes never write the same file.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::kernel_list::kernels;

/// How kernels are compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// Every memory access goes through the checker.
    Checked,
    /// Optimised, for tests that train a network: 2 to 30 times as fast, and blind.
    Unchecked,
}

/// Why the emulator could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No C++ compiler answers; the tests that need one are skipped.
    #[error("no C++ compiler: `{0}` does not start (set CXX to another)")]
    NoCompiler(String),
    /// The compiler refused a file.
    #[error("{command}\n{output}")]
    Compiler {
        /// What was run.
        command: String,
        /// What the compiler said.
        output: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// The two libraries that a test needs.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    pub(crate) driver: PathBuf,
    pub(crate) kernels: PathBuf,
}

/// The `.cu` files that `kernels/cuda/kernels.cu` includes: those that are shipped.
pub(crate) fn shipped_files() -> Result<Vec<PathBuf>, BuildError> {
    let list = kernels_folder().join("cuda/kernels.cu");
    let text = read(&list)?;
    let includes = text.lines().filter_map(|line| line.trim().strip_prefix("#include \"")?.strip_suffix('"'));
    Ok(includes.filter(|name| name.ends_with(".cu")).map(|name| kernels_folder().join("cuda").join(name)).collect())
}

/// Builds the driver, and `files` into a library of kernels.
pub(crate) fn build(files: &[PathBuf], flavour: Flavour) -> Result<Built, BuildError> {
    let folder = output_folder();
    fs::create_dir_all(&folder).map_err(|source| BuildError::File { path: folder.clone(), source })?;
    let compiler = Compiler::find()?;
    let lock_path = folder.join("lock");
    let lock = fs::File::create(&lock_path).map_err(|source| BuildError::File { path: lock_path.clone(), source })?;
    lock.lock().map_err(|source| BuildError::File { path: lock_path, source })?;
    let driver = build_driver(&compiler, &folder)?;
    let kernels = build_kernels(&compiler, &folder, &driver, files, flavour)?;
    Ok(Built { driver, kernels })
}

/// `libcuda.so` with the runtime in it, in a folder of its own: its name is what programs look for.
fn build_driver(compiler: &Compiler, folder: &Path) -> Result<PathBuf, BuildError> {
    let mut flags = vec!["-std=c++20", "-O3", "-g1", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off"];
    flags.extend(instruction_set());
    let mut key = compiler.key(&flags);
    let sources = [files_of("runtime", "cpp")?, files_of("driver", "cpp")?].concat();
    let headers = [files_of("runtime", "hpp")?, files_of("driver", "hpp")?].concat();
    hash_files(&mut key, &[&sources[..], &headers[..]].concat())?;
    let home = folder.join(format!("driver-{:016x}", key.finish()));
    let library = home.join("libcuda.so");
    if library.is_file() {
        return Ok(library);
    }
    fs::create_dir_all(&home).map_err(|source| BuildError::File { path: home.clone(), source })?;
    let objects = in_parallel(&sources, |source| {
        let object = home.join(source.with_extension("o").file_name().unwrap_or_default());
        let arguments = flags.iter().map(OsString::from);
        compiler.run(arguments.chain(["-c".into(), source.into(), "-o".into(), object.clone().into()]))?;
        Ok(object)
    })?;
    // The name by which it is found when it is loaded already: the first that cudarc tries.
    let arguments = ["-shared", "-Wl,-soname,libcuda.so", "-Wl,--no-undefined"].map(OsString::from);
    let partial = home.join("libcuda.so.partial");
    let output = [OsString::from("-ldl"), "-o".into(), partial.clone().into()];
    compiler.run(arguments.into_iter().chain(objects.iter().map(OsString::from)).chain(output))?;
    finish(&partial, library)
}

/// The library of all kernels in `files`, each file compiled on its own.
fn build_kernels(
    compiler: &Compiler,
    folder: &Path,
    driver: &Path,
    files: &[PathBuf],
    flavour: Flavour,
) -> Result<PathBuf, BuildError> {
    let flags = kernel_flags(flavour);
    let flag_names: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut common = compiler.key(&flag_names);
    hash_files(&mut common, &[files_of("runtime", "hpp")?, headers_of_kernels(files)?].concat())?;
    driver.hash(&mut common);
    let mut all = common.clone();
    hash_files(&mut all, files)?;
    let library = folder.join(format!("kernels-{:016x}.so", all.finish()));
    if library.is_file() {
        return Ok(library);
    }
    let objects = in_parallel(files, |file| {
        let mut key = common.clone();
        hash_files(&mut key, std::slice::from_ref(file))?;
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let object = folder.join(format!("{stem}-{:016x}.o", key.finish()));
        if !object.is_file() {
            compile_kernels(compiler, &flags, file, &object)?;
        }
        Ok(object)
    })?;
    let partial = library.with_extension("partial");
    let output = [driver.into(), OsString::from("-o"), partial.clone().into()];
    let arguments = ["-shared", "-Wl,--no-undefined"].map(OsString::from);
    compiler.run(arguments.into_iter().chain(objects.iter().map(OsString::from)).chain(output))?;
    finish(&partial, library)
}

fn kernel_flags(flavour: Flavour) -> Vec<String> {
    let runtime = emulator_folder().join("runtime");
    let mut flags: Vec<String> =
        ["-std=c++20", "-fPIC", "-fno-exceptions", "-fno-strict-aliasing", "-ffp-contract=off"]
            .map(String::from)
            .into();
    flags.extend(["-Wno-unknown-pragmas", "-Werror=return-type", "-Werror=uninitialized"].map(String::from));
    for folder in [runtime.clone(), kernels_folder().join("cuda")] {
        flags.push(format!("-I{}", folder.display()));
    }
    flags.extend(["-include".into(), runtime.join("language.hpp").display().to_string()]);
    match flavour {
        // Vector loads would hide which element was out of bounds. The order of shared variables is kept, so that the
        // gaps of `language.hpp` lie between them.
        Flavour::Checked => flags.extend(
            [
                "-O2",
                "-g1",
                "-fno-tree-vectorize",
                "-fno-toplevel-reorder",
                "-fsanitize=thread,alignment,bounds",
                "-DCUDA_EMULATOR_CHECKED",
            ]
            .map(String::from),
        ),
        Flavour::Unchecked => {
            flags.push("-O3".into());
            flags.extend(instruction_set().map(String::from));
        }
    }
    flags
}

/// Wider vectors where this machine has them. They change no bits: products and sums are not contracted.
fn instruction_set() -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        return Some("-march=x86-64-v3");
    }
    None
}

/// Compiles one `.cu` file, with a descriptor of each kernel appended.
fn compile_kernels(compiler: &Compiler, flags: &[String], file: &Path, object: &Path) -> Result<(), BuildError> {
    let flags: Vec<OsString> = flags.iter().map(OsString::from).collect();
    let list = ["-E", "-DCUDA_EMULATOR_LIST_KERNELS", "-x", "c++"].map(OsString::from);
    let preprocessed = compiler.run(flags.iter().cloned().chain(list).chain([file.into()]))?;
    let mut unit = format!("#include \"{}\"\n", file.display());
    for kernel in kernels(&preprocessed) {
        let separator = if kernel.launch_bounds.is_empty() { "" } else { ", " };
        unit += &format!("CUDA_EMULATOR_EXPORT({}{separator}{})\n", kernel.name, kernel.launch_bounds);
    }
    let source = object.with_extension("cpp");
    fs::write(&source, unit).map_err(|error| BuildError::File { path: source.clone(), source: error })?;
    let partial = object.with_extension("partial");
    let arguments = [OsString::from("-c"), source.into(), "-o".into(), partial.clone().into()];
    compiler.run(flags.into_iter().chain(arguments))?;
    finish(&partial, object.to_owned()).map(|_| ())
}

/// The C++ compiler of this machine.
struct Compiler {
    command: OsString,
    version: String,
}

impl Compiler {
    fn find() -> Result<Self, BuildError> {
        let command = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
        match Command::new(&command).arg("--version").output() {
            Ok(output) if output.status.success() => {
                Ok(Self { command, version: String::from_utf8_lossy(&output.stdout).into_owned() })
            }
            _ => Err(BuildError::NoCompiler(command.to_string_lossy().into_owned())),
        }
    }

    /// A hash of the compiler and its flags, to be continued with sources.
    fn key(&self, flags: &[&str]) -> DefaultHasher {
        let mut key = DefaultHasher::new();
        (&self.command, &self.version, flags).hash(&mut key);
        key
    }

    /// Runs the compiler; gives what it printed.
    fn run(&self, arguments: impl Iterator<Item = OsString>) -> Result<String, BuildError> {
        let mut command = Command::new(&self.command);
        command.args(arguments);
        let output =
            command.output().map_err(|source| BuildError::File { path: PathBuf::from(&self.command), source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(BuildError::Compiler {
            command: format!("{command:?}"),
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// Applies `work` to each item on a few threads; the results are in the order of the items.
fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, BuildError> + Sync,
) -> Result<Vec<R>, BuildError> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<Result<R, BuildError>>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(items.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < items.len())
                {
                    let result = work(&items[index]);
                    if let Ok(mut slot) = results[index].lock() {
                        *slot = Some(result);
                    }
                }
            });
        }
    });
    results.into_iter().filter_map(|slot| slot.into_inner().ok().flatten()).collect()
}

/// Gives a finished file its name.
fn finish(partial: &Path, path: PathBuf) -> Result<PathBuf, BuildError> {
    fs::rename(partial, &path).map_err(|source| BuildError::File { path: path.clone(), source })?;
    Ok(path)
}

fn read(path: &Path) -> Result<String, BuildError> {
    fs::read_to_string(path).map_err(|source| BuildError::File { path: path.to_owned(), source })
}

fn hash_files(hasher: &mut DefaultHasher, files: &[PathBuf]) -> Result<(), BuildError> {
    for file in files {
        (file, read(file)?).hash(hasher);
    }
    Ok(())
}

/// The files of a folder of this crate with one extension, sorted.
fn files_of(folder: &str, extension: &str) -> Result<Vec<PathBuf>, BuildError> {
    files_in(&emulator_folder().join(folder), extension)
}

/// `device.cuh`, and the headers beside the files.
fn headers_of_kernels(files: &[PathBuf]) -> Result<Vec<PathBuf>, BuildError> {
    let beside = files.iter().filter_map(|file| file.parent());
    let folders: BTreeSet<PathBuf> = beside.map(Path::to_owned).chain([kernels_folder().join("cuda")]).collect();
    let headers: Result<Vec<_>, _> = folders.iter().map(|folder| files_in(folder, "cuh")).collect();
    Ok(headers?.concat())
}

fn files_in(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, BuildError> {
    let error = |source| BuildError::File { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(error)? {
        let path = entry.map_err(error)?.path();
        if path.extension() == Some(OsStr::new(extension)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// `kernels/emulator`.
fn emulator_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `kernels`.
fn kernels_folder() -> &'static Path {
    emulator_folder().parent().unwrap_or(emulator_folder())
}

/// `target/PROFILE/cuda-emulator` for a program in `target/PROFILE/deps`; else a folder for temporary files.
fn output_folder() -> PathBuf {
    let profile = std::env::current_exe().ok().and_then(|program| {
        let deps = program.parent()?;
        (deps.file_name() == Some(OsStr::new("deps"))).then(|| deps.parent().map(Path::to_owned))?
    });
    profile.unwrap_or_else(std::env::temp_dir).join("cuda-emulator")
}
