//! Outside input of every kind, as functions of bytes: libFuzzer calls them with bytes that it makes up (`fuzz/` at the
//! root of the repository says how), and a test with those of `fuzz/seeds`, among them every input that was once found to
//! do harm.
//!
//! A target passes when it returns, whatever it made of the input: nothing may panic, hang, or allocate far more than
//! the input's size. What holds for good input besides is asserted in each target.

use std::sync::Once;

use clr_system::contain::is_containing;

mod checkpoint;
mod dataset;
mod memory;
mod plugin;
mod spec;
mod store;
mod table;
mod target;
mod worker;

pub use target::Target;

/// All of them.
pub static TARGETS: &[Target] = &[
    spec::SPEC,
    table::TABLE,
    dataset::CIFAR_BINARY,
    dataset::CIFAR_PYTHON,
    dataset::ARCHIVE,
    dataset::IDX,
    dataset::PARQUET_IMAGES,
    dataset::CACHE,
    store::MANIFEST,
    store::PART,
    checkpoint::CHECKPOINT,
    worker::FRAMES,
    worker::REPLIES,
    worker::REQUESTS,
    plugin::DESCRIPTION,
    plugin::SESSION,
];

/// Memory that any input may take, in bytes: tables, caches and codecs of fixed size.
const FIXED: usize = 64 << 20;

/// Memory that each byte of input may take: what deflate makes of it at its best, 1032 bytes, and a copy.
const PER_BYTE: usize = 2 * 1032;

/// Reads `bytes` with the target of that name.
///
/// # Panics
///
/// If the input does harm, or there is no such target.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    expect_caught_panics();
    on_this_thread();
    let peak = memory::peak_of(|| (target.read)(bytes));
    let allowed = FIXED + bytes.len().saturating_mul(PER_BYTE);
    assert!(peak <= allowed, "{name}: {peak} bytes of memory for {} bytes of input", bytes.len());
}

/// libFuzzer's own hook ends the process at any panic, also one that is caught.
fn expect_caught_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !is_containing() {
                before(panic);
            }
        }));
    });
}

/// Makes rayon work on the thread that asks, so that a run is the same each time and its memory is counted.
fn on_this_thread() {
    thread_local! {
        static POOL: Option<rayon::ThreadPool> =
            rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build().ok();
    }
    POOL.with(|pool| assert!(pool.is_some(), "a pool of this thread alone"));
}
