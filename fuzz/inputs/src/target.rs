//! What a target is.

/// One kind of input.
#[derive(Clone, Copy)]
pub struct Target {
    /// Of its binary in `fuzz/fuzz_targets` and of its folder in `fuzz/seeds`.
    pub name: &'static str,
    /// Reads the bytes as the program would.
    pub read: fn(&[u8]),
    /// Small good inputs to start from, by name.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
}
