//! How exactly products are computed.

/// How the factors of products are rounded where a kernel can use tensor cores. Sums are float32 in each case, and so is all
/// that lies in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Not at all: 24 bits, without tensor cores.
    #[default]
    Float32,
    /// To TF32: 11 bits, so a relative error of up to 2^-11 in each factor.
    Tf32,
    /// To bfloat16: 8 bits, so a relative error of up to 2^-8 in each factor, at half the cost of TF32.
    Bf16,
}
