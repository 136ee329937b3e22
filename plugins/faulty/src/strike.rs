//! The deeds of the faults, and how often they were done.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::path::Path;
use std::process::{self, Command, Stdio};
use std::thread;
use std::time::Duration;

use clr_plugin::{Error, Status};

use crate::fault::{Fault, Kind};

/// Lets the fault happen, unless it has happened often enough. `seed` is the lane's, and names its counter.
///
/// Returns whether the answer of this call is to be wrong (NaN, or a size), or the error that the fault consists of, if it returns at all.
pub fn strike(fault: &Fault, seed: u64) -> Result<bool, Error> {
    let Some(folder) = std::env::var_os("CLR_FAULTS") else { return Ok(false) };
    let counted = count(Path::new(&folder), fault, seed);
    let count = counted.map_err(|error| Error::internal(format!("CLR_FAULTS: {}: {error}", folder.display())))?;
    if fault.times > 0 && count > fault.times {
        return Ok(false);
    }
    match fault.kind {
        Kind::None => {}
        Kind::Segfault => segfault(),
        Kind::Abort => process::abort(),
        Kind::Exit => process::exit(fault.exit_code),
        Kind::Killed => killed(),
        Kind::SignalGroup => signal_group(),
        Kind::Rounding => round_toward_zero(),
        Kind::Fork => start(Path::new(&folder), "exec sleep 3600"),
        Kind::Daemon => start(Path::new(&folder), "setsid sh -c \"$STAY\" & exec true"),
        Kind::Hang => hang(),
        Kind::Slow => thread::sleep(Duration::from_millis(fault.slow_ms)),
        Kind::Leak => leak(fault.leak_mib),
        Kind::OutOfMemory => return Err(Error::out_of_memory("out of memory on demand")),
        Kind::Device => return Err(Error::device("the device failed on demand")),
        Kind::Error => return Err(Error::internal("failed on demand")),
        Kind::Panic => panic!("panicked on demand"),
        Kind::Print => print(),
        Kind::Scribble => scribble(),
        Kind::Nan | Kind::WrongSize => return Ok(true),
        // A status that the header does not have.
        Kind::BreakRules => return Err(Error { status: Status::Host(77), message: "unheard of".to_owned() }),
    }
    Ok(false)
}

/// Lets the fault happen that the environment asks for, if any.
pub fn before_describing() {
    match std::env::var("CLR_FAULT_IN_DESCRIBE").as_deref() {
        Ok("segfault") => segfault(),
        Ok("abort") => process::abort(),
        Ok("exit") => process::exit(Fault::default().exit_code),
        Ok("hang") => hang(),
        Ok(other) => panic!("`{other}` is no fault of a description"),
        Err(_) => {}
    }
}

/// Adds one to the fault's counter and returns it. The counter is the size of a file, written before the fault strikes:
/// afterwards there may be nobody left to write it.
fn count(folder: &Path, fault: &Fault, seed: u64) -> io::Result<u64> {
    fs::create_dir_all(folder)?;
    let name = format!("{:?}-in-{:?}-{}-seed-{seed}", fault.kind, fault.place, fault.step).to_lowercase();
    let mut file = File::options().create(true).append(true).open(folder.join(name))?;
    file.write_all(b"x")?;
    Ok(file.metadata()?.len())
}

fn segfault() -> ! {
    // SAFETY: none. Nothing is mapped at so low an address, so the process ends here, which is what was asked for.
    unsafe { std::ptr::without_provenance_mut::<u64>(8).write_volatile(0) };
    unreachable!("the write above ends the process")
}

fn hang() -> ! {
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

fn killed() -> ! {
    let sent = Command::new("kill").args(["-s", "KILL", &process::id().to_string()]).status();
    unreachable!("a killed process goes on: {sent:?}")
}

#[cfg(target_arch = "x86_64")]
fn round_toward_zero() {
    let control = 0x7F80u32;
    // SAFETY: none. The compiler may assume that nobody does this, which is the fault.
    unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack, preserves_flags)) };
}

#[cfg(target_arch = "aarch64")]
fn round_toward_zero() {
    // SAFETY: none. The compiler may assume that nobody does this, which is the fault.
    unsafe { std::arch::asm!("msr fpcr, {}", in(reg) 3u64 << 22, options(nomem, nostack, preserves_flags)) };
}

fn signal_group() {
    // The command is in the group too, so it does not say how it went.
    let _ = Command::new("kill").args(["-s", "TERM", "0"]).status();
}

/// Starts a process that stays for an hour, directly or as `script` has it, and returns once its number is in a file beside
/// the folder, whose extension is `started`.
fn start(folder: &Path, script: &str) {
    let path = folder.with_extension("started");
    let length = || fs::metadata(&path).map_or(0, |file| file.len());
    let before = length();
    let note = format!("echo $$ >> '{}'", path.display());
    let script = if script.contains("STAY") { script.to_owned() } else { format!("{note}; {script}") };
    let stay = format!("{note}; exec sleep 3600");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).env("STAY", stay).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Nobody waits for it: that it is left behind is the fault.
    drop(command.spawn().expect("there is a shell"));
    while length() == before {
        thread::sleep(Duration::from_millis(1));
    }
}

fn leak(mebibytes: u64) {
    for _ in 0..mebibytes {
        // Ones, since pages that were never written to take no memory; and the compiler may not leave them out.
        black_box(Box::leak(vec![1u8; 1 << 20].into_boxed_slice()));
        thread::sleep(Duration::from_millis(1));
    }
}

/// Text, binary and a line without an end on both streams. Errors are nobody's concern: the stream may be closed.
fn print() {
    let garbage = garbage();
    let _ = io::stdout().write_all(&garbage).and_then(|()| io::stdout().flush());
    let _ = io::stderr().write_all(&garbage);
}

/// Garbage into whatever this process has open for writing. Descriptors of a worker's own are small numbers; greater ones
/// may have been left open by who started the tests, and are spared.
fn scribble() {
    let garbage = garbage();
    for descriptor in 0..64 {
        // SAFETY: nothing is read through the descriptor, and it is not closed. It belongs to somebody else; writing to
        // it all the same is the fault.
        let mut file = ManuallyDrop::new(unsafe { File::from_raw_fd(descriptor) });
        let _ = file.write_all(&garbage);
    }
}

/// 4 KiB of all byte values, with words and line ends among them.
fn garbage() -> Vec<u8> {
    let mut state = 1u32;
    let noise = std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    b"garbage on demand\n".iter().copied().chain(noise).take(4096).collect()
}
