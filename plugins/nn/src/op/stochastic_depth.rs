//! Stochastic depth: a branch that a coin leaves out of whole batches.

use clr_kernels::add::{self, Term};
use clr_kernels::coin::Coin;
use clr_kernels::cuda::GpuError;
use clr_kernels::{Activation, activation};
use clr_rng::{Philox, Stream};

use super::{Backward, Forward, GpuBackward, GpuForward, GpuPass, Pass, Passes, Uses};

/// In training, a coin multiplies the branch by 1 or 0; evaluation multiplies it by how likely it is there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct StochasticDepth {
    pub coin: Coin,
}

/// More than a network has. Parts of an update have coins of their own, so many words apart.
const MOST_BLOCKS: u64 = 4096;

impl StochasticDepth {
    /// Of the coin with this number among those of the network.
    pub fn new(number: usize, survival: f32) -> Result<StochasticDepth, String> {
        if !(survival > 0.0 && survival <= 1.0) {
            return Err(format!("a survival of {survival}: expected a number above 0, and at most 1"));
        }
        Ok(StochasticDepth { coin: Coin { block: number as u64, death_rate: 1.0 - survival } })
    }

    /// The coin of the part of an update that begins with sample `first`.
    pub fn coin_of_part(self, first: usize) -> Coin {
        Coin { block: self.coin.block + MOST_BLOCKS * first as u64, ..self.coin }
    }

    /// What the branch is multiplied by. Where statistics are averaged for evaluation, that is as there.
    pub fn scale(self, pass: &Pass<'_>) -> f32 {
        if pass.training && pass.averaged.is_none() {
            self.coin_of_part(pass.part.first).flip(&Philox::new(pass.init_seed, Stream::Coin), pass.step)
        } else {
            self.coin.survival()
        }
    }
}

impl Passes for StochasticDepth {
    fn uses(&self) -> Uses {
        Uses { in_place: true, ..Uses::default() }
    }

    fn forward(&self, pass: &Pass<'_>, Forward { x, y, .. }: Forward<'_>) {
        let scale = self.scale(pass);
        if x.is_empty() {
            add::scale_in_place(pass.cpu, scale, y);
        } else {
            add::scale(pass.cpu, Term { values: x, scale }, y);
        }
    }

    fn backward(&self, pass: &Pass<'_>, Backward { dy, dx, .. }: Backward<'_>) {
        if let Some(dx) = dx {
            add::scale(pass.cpu, Term { values: dy, scale: self.scale(pass) }, dx);
        }
    }

    fn forward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuForward<'_>) -> Result<(), GpuError> {
        let GpuForward { x, y, len, .. } = tensors;
        match pass.scales {
            Some(scales) => add::cuda::scale(pass.gpu, pass.lanes, scales, len, x, y),
            None => activation::cuda::forward(pass.gpu, pass.lanes, Activation::None, len, x, y),
        }
    }

    fn backward_on_gpu(&self, pass: &GpuPass<'_>, tensors: GpuBackward<'_>) -> Result<(), GpuError> {
        let GpuBackward { dy, dx, len, .. } = tensors;
        let (Some(scales), Some(dx)) = (pass.scales, dx) else { return Ok(()) };
        add::cuda::scale(pass.gpu, pass.lanes, scales, len, dy, dx)
    }
}
