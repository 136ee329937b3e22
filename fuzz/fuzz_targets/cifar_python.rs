#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| clr_fuzz_inputs::run("cifar_python", bytes));
