//! A convolution and the max pooling of its output, some images at a time: what lies between the two stays in the cache and is
//! never stored. For a convolution that needs no gradient of its input, as the first of a network.

use super::{Conv2d, Epilogue, direct, winograd};
use crate::pool::{self, Pool2d, max_slope};
use crate::{Activation, Cpu};

/// Images of each thread that are convolved before they are pooled.
const IMAGES_AT_ONCE: usize = 2;

/// A convolution, the max pooling of what it makes, and an activation of what that makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PooledConv2d {
    convolution: Conv2d,
    pool: Pool2d,
    activation: Activation,
}

/// The arrays of [`PooledConv2d::forward`].
#[derive(Debug)]
pub struct PooledForward<'a> {
    /// The input of the convolution.
    pub x: &'a [f32],
    /// The weights of the convolution.
    pub w: &'a [f32],
    /// `[out_c]`.
    pub bias: Option<&'a [f32]>,
    /// The output of the pooling.
    pub y: &'a mut [f32],
    /// As long as `y`: see [`pool::max_forward`].
    pub argmax: &'a mut [u8],
    /// At least [`PooledConv2d::scratch_len`] floats.
    pub scratch: &'a mut [f32],
}

/// The arrays of [`PooledConv2d::backward_weight`].
#[derive(Debug)]
pub struct PooledBackward<'a> {
    /// The input of the convolution.
    pub x: &'a [f32],
    /// The pooling's output: read for the sigmoid alone; else it may be empty.
    pub y: &'a [f32],
    /// The output of the forward pass.
    pub argmax: &'a [u8],
    /// The gradient of `y`, which the sigmoid's slope is multiplied into.
    pub dy: &'a mut [f32],
    /// The gradient of the weights.
    pub dw: &'a mut [f32],
    /// `[out_c]`: the gradient of the bias, if there is one.
    pub db: Option<&'a mut [f32]>,
    /// At least [`PooledConv2d::scratch_len`] floats.
    pub scratch: &'a mut [f32],
}

impl PooledConv2d {
    /// Both as one, if the convolution is of those that can be: its gradient must be computed by the direct method.
    ///
    /// # Panics
    /// If the images that the convolution makes are not those that are pooled.
    pub fn new(convolution: Conv2d, pool: Pool2d, activation: Activation) -> Option<PooledConv2d> {
        let made = (convolution.batch, convolution.out_h(), convolution.out_w(), convolution.out_c);
        assert_eq!(made, (pool.batch, pool.in_h, pool.in_w, pool.channels), "images made and images pooled");
        (!winograd::is_chosen(&convolution)).then_some(PooledConv2d { convolution, pool, activation })
    }

    /// The same of `batch` images.
    #[must_use]
    pub fn of(&self, batch: usize) -> PooledConv2d {
        let PooledConv2d { convolution, pool, activation } = *self;
        PooledConv2d { convolution: Conv2d { batch, ..convolution }, pool: Pool2d { batch, ..pool }, activation }
    }

    /// The pooling of the convolution's output.
    pub fn pool(&self) -> Pool2d {
        self.pool
    }

    /// The activation of the pooling's output.
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// Floats of scratch memory that suffice for both operations on so many threads, on any instruction set.
    pub fn scratch_len(&self, thread_count: usize) -> usize {
        let some = self.of(self.images_at_once(thread_count)).convolution;
        let forward = some.output_len() + some.scratch_len(thread_count);
        let gradient = direct::Gradient::Pooled { pool: &self.pool, argmax: &[], dy: &[] };
        forward.max(direct::weight_scratch_len(&self.convolution, gradient, thread_count))
    }

    /// As [`conv2d::forward`](super::forward), then [`pool::max_forward`], to the bit.
    ///
    /// # Panics
    /// If a slice does not have the length that the shapes say.
    pub fn forward(&self, cpu: &Cpu, arrays: PooledForward<'_>) {
        let PooledForward { x, w, bias, y, argmax, scratch } = arrays;
        self.check(x, w, y.len(), argmax);
        let epilogue = Epilogue { bias, ..Epilogue::default() };
        let batch = self.convolution.batch;
        let (x_len, y_len) = (x.len() / batch.max(1), y.len() / batch.max(1));
        let at_once = self.images_at_once(cpu.thread_count());
        for first in (0..batch).step_by(at_once) {
            let count = at_once.min(batch - first);
            let PooledConv2d { convolution, pool, activation } = self.of(count);
            let (between, scratch) = scratch.split_at_mut(convolution.output_len());
            super::forward(cpu, &convolution, &x[first * x_len..][..count * x_len], w, epilogue, between, scratch);
            let pooled = first * y_len..(first + count) * y_len;
            pool::max_forward(cpu, &pool, activation, between, &mut y[pooled.clone()], &mut argmax[pooled]);
        }
    }

    /// As [`pool::max_backward`], then [`conv2d::backward_weight`](super::backward_weight), to the bit.
    ///
    /// # Panics
    /// If a slice does not have the length that the shapes say.
    pub fn backward_weight(&self, cpu: &Cpu, arrays: PooledBackward<'_>) {
        let PooledBackward { x, y, argmax, dy, dw, db, scratch } = arrays;
        let PooledConv2d { convolution, pool, activation } = self;
        self.check(x, dw, dy.len(), argmax);
        if dy.is_empty() {
            dw.fill(0.0);
            return db.into_iter().for_each(|db| db.fill(0.0));
        }
        max_slope(cpu, pool, *activation, y, dy);
        let gradient = direct::Gradient::Pooled { pool, argmax, dy };
        direct::backward_weight(cpu, convolution, x, gradient, dw, db, scratch);
    }

    fn images_at_once(&self, thread_count: usize) -> usize {
        (IMAGES_AT_ONCE * thread_count).min(self.convolution.batch).max(1)
    }

    fn check(&self, x: &[f32], w: &[f32], pooled_len: usize, argmax: &[u8]) {
        self.convolution.check(x.len(), w.len(), self.convolution.output_len());
        assert_eq!([pooled_len, argmax.len()], [self.pool.output_len(); 2], "pooled pixels of {:?}", self.pool);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv2d::{self, Algorithm, OutputGradient};
    use crate::pool::{Divisor, Rounding};
    use crate::testing::{on_every_cpu, values};

    const CONVOLUTION: Conv2d = Conv2d {
        batch: 5,
        in_h: 9,
        in_w: 12,
        in_c: 3,
        out_c: 20,
        kernel_h: 5,
        kernel_w: 5,
        stride: 1,
        pad: 2,
        groups: 1,
        algorithm: Algorithm::Auto,
    };

    fn pool_of(convolution: &Conv2d, size: usize, stride: usize, pad: usize) -> Pool2d {
        let &Conv2d { batch, out_c: channels, .. } = convolution;
        let (in_h, in_w) = (convolution.out_h(), convolution.out_w());
        let (rounding, divisor) = (Rounding::Up, Divisor::WithPadding);
        Pool2d { batch, in_h, in_w, channels, size, stride, pad, rounding, divisor }
    }

    /// y, choices, dw and db of a convolution and its pooling, as one or one after the other.
    fn passes(cpu: &Cpu, convolution: &Conv2d, pool: &Pool2d, activation: Activation, as_one: bool) -> Vec<f32> {
        let (x, w, bias) =
            (values(1, convolution.input_len()), values(2, convolution.weight_len()), values(3, convolution.out_c));
        let (mut dy, nan) = (values(4, pool.output_len()), |len| vec![f32::NAN; len]);
        let (mut y, mut argmax) = (nan(pool.output_len()), vec![0; pool.output_len()]);
        let (mut dw, mut db) = (nan(w.len()), nan(bias.len()));
        if as_one {
            let pooled = PooledConv2d::new(*convolution, *pool, activation).unwrap();
            let mut scratch = nan(pooled.scratch_len(cpu.thread_count()));
            let (y_, choice_, scratch_) = (&mut y[..], &mut argmax[..], &mut scratch[..]);
            let arrays = PooledForward { x: &x, w: &w, bias: Some(&bias), y: y_, argmax: choice_, scratch: scratch_ };
            pooled.forward(cpu, arrays);
            scratch.fill(f32::NAN);
            let (db_, scratch_) = (Some(&mut db[..]), &mut scratch[..]);
            let arrays =
                PooledBackward { x: &x, y: &y, argmax: &argmax, dy: &mut dy, dw: &mut dw, db: db_, scratch: scratch_ };
            pooled.backward_weight(cpu, arrays);
        } else {
            let mut scratch = nan(convolution.scratch_len(cpu.thread_count()));
            let (mut made, mut gradient) = (nan(convolution.output_len()), nan(convolution.output_len()));
            let epilogue = Epilogue { bias: Some(&bias), ..Epilogue::default() };
            conv2d::forward(cpu, convolution, &x, &w, epilogue, &mut made, &mut scratch);
            pool::max_forward(cpu, pool, activation, &made, &mut y, &mut argmax);
            pool::max_backward(cpu, pool, activation, &y, &argmax, &mut dy, &mut gradient);
            let gradient = OutputGradient { dy: &gradient, relu_y: None };
            conv2d::backward_weight(cpu, convolution, &x, gradient, &mut dw, Some(&mut db), &mut scratch);
        }
        [y, argmax.into_iter().map(f32::from).collect(), dw, db].concat()
    }

    #[test]
    fn as_one_they_have_the_bits_of_one_after_the_other() {
        for (convolution, [size, stride, pad]) in [
            (CONVOLUTION, [3, 2, 0]),
            (CONVOLUTION, [2, 2, 1]),
            (Conv2d { batch: 1, pad: 0, in_c: 4, groups: 2, ..CONVOLUTION }, [3, 1, 1]),
            (Conv2d { batch: 17, stride: 2, kernel_w: 3, ..CONVOLUTION }, [3, 2, 0]),
        ] {
            let pool = pool_of(&convolution, size, stride, pad);
            for activation in [Activation::None, Activation::Relu, Activation::Sigmoid] {
                let apart = on_every_cpu(|cpu| passes(cpu, &convolution, &pool, activation, false));
                let as_one = on_every_cpu(|cpu| passes(cpu, &convolution, &pool, activation, true));
                for ((isa, as_one), (_, apart)) in as_one.into_iter().zip(apart) {
                    assert_eq!(as_one, apart, "{isa:?} {convolution:?} {pool:?} {activation:?}");
                }
            }
        }
    }

    #[test]
    fn what_winograd_would_compute_is_not_one_with_its_pooling() {
        let convolution = Conv2d { in_h: 8, in_w: 8, in_c: 16, out_c: 16, ..CONVOLUTION };
        let new = |algorithm| {
            let convolution = Conv2d { algorithm, ..convolution };
            PooledConv2d::new(convolution, pool_of(&convolution, 3, 2, 0), Activation::None).is_some()
        };
        assert_eq!([Algorithm::Auto, Algorithm::Direct].map(new), [false, true]);
    }
}
