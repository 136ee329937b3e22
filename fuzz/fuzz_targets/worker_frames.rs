#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| clr_run::fuzz::run("worker_frames", bytes));
