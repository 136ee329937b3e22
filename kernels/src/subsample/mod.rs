//! Every so manieth pixel, with channels of zeros behind its own: the shortcut of a residual network where the image shrinks
//! and the channels grow (He et al. 2016, option A; zeros come last in fb.resnet.torch).

mod cpu;
pub mod cuda;

pub use cpu::{backward, forward};

/// The shapes. Images are NHWC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subsample {
    /// Images in the batch.
    pub batch: usize,
    /// Height of an input image.
    pub in_h: usize,
    /// Width of an input image.
    pub in_w: usize,
    /// Channels of an input image.
    pub in_c: usize,
    /// Channels of an output image, at least as many. Those that are new come last.
    pub out_c: usize,
    /// Pixels between neighbouring outputs; at least 1. The first is the first.
    pub stride: usize,
}

impl Subsample {
    /// Height of an output image: `ceil(in_h / stride)`.
    pub fn out_h(&self) -> usize {
        self.in_h.div_ceil(self.stride)
    }

    /// Width of an output image, as [`Subsample::out_h`].
    pub fn out_w(&self) -> usize {
        self.in_w.div_ceil(self.stride)
    }

    /// Floats in all input images.
    pub fn input_len(&self) -> usize {
        self.batch * self.in_h * self.in_w * self.in_c
    }

    /// Floats in all output images.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_h() * self.out_w() * self.out_c
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{on_every_cpu, values};

    #[track_caller]
    fn check(shape: Subsample) {
        let (x, dy) = (values(1, shape.input_len()), values(2, shape.output_len()));
        let (mut y, mut dx) = (vec![0.0; dy.len()], vec![0.0; x.len()]);
        for n in 0..shape.batch {
            for (out_y, out_x, c) in (0..shape.out_h()).flat_map(|out_y| {
                (0..shape.out_w()).flat_map(move |out_x| (0..shape.in_c).map(move |c| (out_y, out_x, c)))
            }) {
                let from =
                    ((n * shape.in_h + out_y * shape.stride) * shape.in_w + out_x * shape.stride) * shape.in_c + c;
                let to = ((n * shape.out_h() + out_y) * shape.out_w() + out_x) * shape.out_c + c;
                (y[to], dx[from]) = (x[from], dy[to]);
            }
        }
        for (isa, result) in on_every_cpu(|cpu| {
            let (mut y, mut dx) = (vec![f32::NAN; dy.len()], vec![f32::NAN; x.len()]);
            forward(cpu, &shape, &x, &mut y);
            backward(cpu, &shape, &dy, &mut dx);
            [y, dx].concat()
        }) {
            assert_eq!(result, [&y[..], &dx].concat(), "{shape:?} {isa:?}");
        }
    }

    #[test]
    fn pixels_are_taken_and_their_gradients_put_back() {
        check(Subsample { batch: 2, in_h: 4, in_w: 6, in_c: 3, out_c: 6, stride: 2 });
        check(Subsample { batch: 1, in_h: 5, in_w: 5, in_c: 2, out_c: 2, stride: 3 });
        check(Subsample { batch: 3, in_h: 2, in_w: 1, in_c: 1, out_c: 4, stride: 1 });
    }
}
