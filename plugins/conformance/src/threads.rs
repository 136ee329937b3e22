//! How the threads that a plugin has started compute with floats.
//!
//! A thread's registers are its own. But a signal handler is shown those of the thread that it interrupts, so each is sent a
//! signal, one after the other. A thread that takes none says nothing.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clr_abi::floating_point::FloatingPoint;

/// By default this one does nothing, so one that is taken late does no harm.
const ASKING: i32 = libc::SIGURG;

/// How long a thread may take to answer; a thread that is asleep is woken for it.
const PATIENCE: Duration = Duration::from_millis(200);

/// The last answer: the thread's number, and its MXCSR. 0 for none.
static ANSWER: AtomicU64 = AtomicU64::new(0);

/// And the control word of its x87 unit.
static X87: AtomicU64 = AtomicU64::new(0);

/// The numbers of all threads of this process. Empty where nobody tells.
pub(crate) fn numbers() -> BTreeSet<i32> {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return BTreeSet::new() };
    threads.filter_map(|thread| thread.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Of the threads that were not there `before`.
pub(crate) fn started_since(before: &BTreeSet<i32>) -> Vec<FloatingPoint> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let started: Vec<i32> = numbers().difference(before).copied().collect();
    let mut earlier = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: both structs are actions, and the handler does what a handler may: it stores into atomics.
    unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        action.sa_sigaction = answer as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        if libc::sigaction(ASKING, &raw const action, earlier.as_mut_ptr()) != 0 {
            return Vec::new();
        }
    }
    let answers = started.into_iter().filter_map(ask).collect();
    // SAFETY: what was there before.
    unsafe { libc::sigaction(ASKING, earlier.as_ptr(), std::ptr::null_mut()) };
    answers
}

fn ask(thread: i32) -> Option<FloatingPoint> {
    ANSWER.store(0, Ordering::SeqCst);
    // SAFETY: a signal to a thread of this process, which is handled. An error says that the thread is gone.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, ASKING) };
    let asked = Instant::now();
    while sent == 0 && asked.elapsed() < PATIENCE {
        let answer = ANSWER.load(Ordering::SeqCst);
        if (answer >> 32) as i32 == thread {
            return Some(FloatingPoint::of_mxcsr(answer as u32, X87.load(Ordering::SeqCst) as u16));
        }
        std::thread::sleep(Duration::from_micros(50));
    }
    None
}

extern "C" fn answer(_signal: i32, _info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the system passes the context of the thread that was interrupted, in which these registers are, if any.
    unsafe {
        let registers = (*context.cast::<libc::ucontext_t>()).uc_mcontext.fpregs;
        if registers.is_null() {
            return;
        }
        X87.store(u64::from((*registers).cwd), Ordering::SeqCst);
        let thread = libc::syscall(libc::SYS_gettid) as u64;
        ANSWER.store(thread << 32 | u64::from((*registers).mxcsr), Ordering::SeqCst);
    }
}
