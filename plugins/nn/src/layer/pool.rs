//! Max and average pooling.

use clr_kernels::pool::{self, Pool2d};

use super::{Backward, Forward, KeptLen, Layer, Pass};
use crate::network::Shape;

/// A pooling with square windows and Caffe's rounding: see [`Pool2d`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    kind: PoolKind,
    size: usize,
    stride: usize,
    pad: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PoolKind {
    Max,
    Average,
}

#[derive(Debug)]
pub(crate) struct PoolLayer {
    kind: PoolKind,
    /// For a batch of 1.
    geometry: Pool2d,
}

impl Pool {
    /// The largest value of each window of `size` x `size`, one every `stride` pixels.
    pub fn max(size: usize, stride: usize) -> Pool {
        Pool { kind: PoolKind::Max, size, stride, pad: 0 }
    }

    /// The mean of each window.
    pub fn average(size: usize, stride: usize) -> Pool {
        Pool { kind: PoolKind::Average, size, stride, pad: 0 }
    }

    /// Sets the padding.
    #[must_use]
    pub fn pad(self, pad: usize) -> Pool {
        Pool { pad, ..self }
    }
}

impl PoolLayer {
    pub fn new(pool: Pool, input: Shape) -> Result<PoolLayer, String> {
        let Pool { kind, size, stride, pad } = pool;
        // The choice among a window's pixels is kept in a byte.
        if size == 0 || size > 15 || stride == 0 || pad >= size {
            return Err(format!(
                "a window of {size}, stride {stride}, padding {pad}: expected a window of 1 to 15, a stride of at least 1, and \
                 less padding than window"
            ));
        }
        let geometry =
            Pool2d { batch: 1, in_h: input.height, in_w: input.width, channels: input.channels, size, stride, pad };
        if geometry.output_len() == 0 {
            return Err(format!("the image is too small for pooling by {size} with stride {stride}"));
        }
        Ok(PoolLayer { kind, geometry })
    }

    fn geometry(&self, batch: usize) -> Pool2d {
        Pool2d { batch, ..self.geometry }
    }
}

impl Layer for PoolLayer {
    fn output_shape(&self) -> Shape {
        Shape { height: self.geometry.out_h(), width: self.geometry.out_w(), channels: self.geometry.channels }
    }

    fn backward_reads_input(&self) -> bool {
        false
    }

    fn kept_len(&self, batch: usize) -> KeptLen {
        match self.kind {
            PoolKind::Max => KeptLen { bytes: self.geometry(batch).output_len(), floats: 0 },
            PoolKind::Average => KeptLen::default(),
        }
    }

    fn forward(&self, pass: &Pass<'_>, Forward { x, y, kept, .. }: Forward<'_>) {
        let geometry = self.geometry(pass.batch);
        match self.kind {
            PoolKind::Max => pool::max_forward(pass.cpu, &geometry, x, y, &mut kept.bytes[..geometry.output_len()]),
            PoolKind::Average => pool::average_forward(pass.cpu, &geometry, x, y),
        }
    }

    fn backward(&self, pass: &Pass<'_>, Backward { dy, dx, kept, .. }: Backward<'_>) {
        let Some(dx) = dx else { return };
        let geometry = self.geometry(pass.batch);
        match self.kind {
            PoolKind::Max => pool::max_backward(pass.cpu, &geometry, &kept.bytes[..geometry.output_len()], dy, dx),
            PoolKind::Average => pool::average_backward(pass.cpu, &geometry, dy, dx),
        }
    }
}
