//! Max and average pooling with Caffe's rounding, and their gradients.

mod cpu;
pub mod cuda;

pub use cpu::{average_backward, average_forward, max_backward, max_forward};
pub(crate) use cpu::{max_backward_image, max_slope};

/// The shapes of a pooling with square windows. Images are NHWC.
///
/// Caffe rounds the number of windows up, where PyTorch rounds down unless `ceil_mode` is set: a 32 x 32 image pooled by
/// 3 with stride 2 becomes 16 x 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool2d {
    /// Images in the batch.
    pub batch: usize,
    /// Height of an input image.
    pub in_h: usize,
    /// Width of an input image.
    pub in_w: usize,
    /// Channels of both images.
    pub channels: usize,
    /// Height and width of a window; at most 15.
    pub size: usize,
    /// Pixels between neighbouring windows; at least 1.
    pub stride: usize,
    /// Padding on each of the four sides, less than `size`. Its pixels are never the maximum and count as zeros in an
    /// average.
    pub pad: usize,
}

impl Pool2d {
    /// Height of an output image: `ceil((in_h + 2 pad - size) / stride) + 1`, minus 1 if there is padding and the last
    /// window starts beyond the image and its upper padding; 0 if the window is larger by a stride or more.
    pub fn out_h(&self) -> usize {
        self.windows(self.in_h)
    }

    /// Width of an output image, as [`Pool2d::out_h`].
    pub fn out_w(&self) -> usize {
        self.windows(self.in_w)
    }

    /// Floats in all input images.
    pub fn input_len(&self) -> usize {
        self.batch * self.in_h * self.in_w * self.channels
    }

    /// Floats in all output images.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_h() * self.out_w() * self.channels
    }

    fn windows(&self, len: usize) -> usize {
        // ceil(a / s) + 1 = floor((a + 2s - 1) / s), kept from going below zero.
        let count = ((len + 2 * self.pad + 2 * self.stride - 1).saturating_sub(self.size)) / self.stride;
        if self.pad > 0 && count > 0 && (count - 1) * self.stride >= len + self.pad { count - 1 } else { count }
    }

    /// The window of output position (`out_y`, `out_x`).
    #[inline(always)]
    fn window(&self, out_y: usize, out_x: usize) -> Window {
        let ((y, height), (x, width)) = (self.span(out_y, self.in_h), self.span(out_x, self.in_w));
        Window { y, x, divisor: (height * width) as f32, first_y: out_y * self.stride, first_x: out_x * self.stride }
    }

    /// The pixels of window `index` that lie in the image, and how many lie in the padded image.
    #[inline(always)]
    fn span(&self, index: usize, len: usize) -> ((usize, usize), usize) {
        // In padded coordinates, where the image begins at `pad`.
        let first = index * self.stride;
        let end = (first + self.size).min(len + 2 * self.pad);
        let inside = (first.max(self.pad) - self.pad, end.min(len + self.pad).saturating_sub(self.pad));
        (inside, end - first)
    }
}

/// The place of a window on the image, clipped to it.
struct Window {
    /// First row, and the row after the last.
    y: (usize, usize),
    /// First column, and the column after the last.
    x: (usize, usize),
    /// The divisor of a sum: padding counts, what hangs over beyond the padding does not.
    divisor: f32,
    /// Top left corner in padded coordinates.
    first_y: usize,
    first_x: usize,
}

impl Window {
    /// The place of image pixel (`y`, `x`) in the unclipped window, counted row by row.
    #[inline(always)]
    fn place(&self, pool: &Pool2d, y: usize, x: usize) -> u32 {
        ((y + pool.pad - self.first_y) * pool.size + x + pool.pad - self.first_x) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, assert_gradient, goldens, on_every_cpu, values};
    use crate::{Activation, Cpu, Isa, activation};

    /// A forward pass and a backward pass, one after the other.
    fn max_passes(cpu: &Cpu, pool: &Pool2d, x: &[f32], dy: &[f32]) -> Vec<f32> {
        activated_max_passes(cpu, pool, Activation::None, x, dy)
    }

    fn activated_max_passes(cpu: &Cpu, pool: &Pool2d, activation: Activation, x: &[f32], dy: &[f32]) -> Vec<f32> {
        let (mut y, mut dx) = (vec![f32::NAN; pool.output_len()], vec![f32::NAN; pool.input_len()]);
        let (mut argmax, mut dy) = (vec![0; pool.output_len()], dy.to_vec());
        max_forward(cpu, pool, activation, x, &mut y, &mut argmax);
        max_backward(cpu, pool, activation, &y, &argmax, &mut dy, &mut dx);
        [y, dx].concat()
    }

    fn average_passes(cpu: &Cpu, pool: &Pool2d, x: &[f32], dy: &[f32]) -> Vec<f32> {
        let (mut y, mut dx) = (vec![f32::NAN; pool.output_len()], vec![f32::NAN; pool.input_len()]);
        average_forward(cpu, pool, x, &mut y);
        average_backward(cpu, pool, Activation::None, &[], dy, &mut dx);
        [y, dx].concat()
    }

    /// Fused operations have the bits of one operation after the other.
    #[test]
    fn activations_before_and_after_change_no_bit() {
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let pool = Pool2d { batch: 2, in_h: 5, in_w: 6, channels: 23, size: 3, stride: 2, pad: 0 };
        let (x, dy) = (values(1, pool.input_len()), values(2, pool.output_len()));
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            let cpu = Cpu::with_isa(1, isa).unwrap();
            for activation in [Activation::Relu, Activation::Sigmoid] {
                let (mut y, mut argmax) = (vec![f32::NAN; pool.output_len()], vec![0; pool.output_len()]);
                let (mut dy_then, mut dx) = (dy.clone(), vec![f32::NAN; pool.input_len()]);
                max_forward(&cpu, &pool, Activation::None, &x, &mut y, &mut argmax);
                activation::forward(&cpu, activation, &mut y);
                activation::backward(&cpu, activation, &y, &mut dy_then);
                max_backward(&cpu, &pool, Activation::None, &[], &argmax, &mut dy_then, &mut dx);
                let fused = activated_max_passes(&cpu, &pool, activation, &x, &dy);
                assert_eq!(bits(&fused), bits(&[y, dx].concat()), "max, then {activation:?}");

                let mut activated = x.clone();
                activation::forward(&cpu, activation, &mut activated);
                let (mut dx, mut fused) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
                average_backward(&cpu, &pool, Activation::None, &[], &dy, &mut dx);
                activation::backward(&cpu, activation, &activated, &mut dx);
                average_backward(&cpu, &pool, activation, &activated, &dy, &mut fused);
                assert_eq!(bits(&fused), bits(&dx), "{activation:?}, then average");
            }
        }
    }

    /// Both kinds by the words of Caffe's pooling_layer.cpp, one output at a time.
    fn reference(pool: &Pool2d, x: &[f64], average: bool) -> Vec<f64> {
        let (h, w, channels) = (pool.in_h as isize, pool.in_w as isize, pool.channels);
        let (size, stride, pad) = (pool.size as isize, pool.stride as isize, pool.pad as isize);
        let mut y = Vec::new();
        for n in 0..pool.batch {
            for out in 0..pool.out_h() * pool.out_w() {
                let (out_y, out_x) = ((out / pool.out_w()) as isize, (out % pool.out_w()) as isize);
                for c in 0..channels {
                    let (top, left) = (out_y * stride - pad, out_x * stride - pad);
                    let (bottom, right) = ((top + size).min(h + pad), (left + size).min(w + pad));
                    let divisor = ((bottom - top) * (right - left)) as f64;
                    let (mut sum, mut largest) = (0.0, f64::NEG_INFINITY);
                    for y in top.max(0)..bottom.min(h) {
                        for x_ in left.max(0)..right.min(w) {
                            let value = x[((n as isize * h + y) * w + x_) as usize * channels + c];
                            sum += value;
                            largest = f64::max(largest, value);
                        }
                    }
                    y.push(if average { sum / divisor } else { largest });
                }
            }
        }
        y
    }

    #[track_caller]
    fn check(pool: Pool2d) {
        let (x, dy) = (values(1, pool.input_len()), values(2, pool.output_len()));
        let exact: Vec<f64> = x.iter().copied().map(f64::from).collect();
        for average in [false, true] {
            let passes = if average { average_passes } else { max_passes };
            for (isa, result) in on_every_cpu(|cpu| passes(cpu, &pool, &x, &dy)) {
                let (y, dx) = result.split_at(pool.output_len());
                let what = format!("{pool:?} {} {isa:?}", if average { "average" } else { "max" });
                assert_close(&what, y, &reference(&pool, &exact, average), 1e-6);
                assert_gradient(&what, dx, &x, |x| {
                    reference(&pool, x, average).iter().zip(&dy).map(|(y, dy)| y * f64::from(*dy)).sum()
                });
            }
        }
    }

    #[test]
    fn passes_agree_with_the_definition_and_its_differences() {
        // More channels than a block; windows that overlap, leave gaps, hang over, and are padded.
        for (in_h, in_w, channels, size, stride, pad) in
            [(5, 6, 19, 3, 2, 0), (4, 4, 1, 2, 3, 1), (7, 3, 4, 3, 2, 1), (2, 2, 16, 3, 2, 0), (3, 3, 2, 3, 1, 1)]
        {
            check(Pool2d { batch: 2, in_h, in_w, channels, size, stride, pad });
        }
    }

    #[test]
    fn vectors_of_every_width_agree_with_the_definition() {
        // 16, 8 and 4 channels at once, and single ones. (Of 29, two values are so near that a difference changes which is
        // the largest.)
        check(Pool2d { batch: 2, in_h: 5, in_w: 6, channels: 30, size: 3, stride: 2, pad: 0 });
    }

    #[test]
    fn windows_are_counted_as_in_caffe() {
        let table = [
            // Length, size, stride, padding: windows.
            (32, 3, 2, 0, 16),
            (16, 3, 2, 0, 8),
            (8, 3, 2, 0, 4),
            (28, 3, 2, 0, 14),
            (2, 3, 2, 0, 1),
            (1, 3, 2, 0, 0),
            (55, 3, 2, 0, 27),
            (14, 5, 3, 0, 4),
            (7, 7, 1, 0, 1),
            (28, 3, 1, 1, 28),
            // The last window would start beyond the upper padding.
            (4, 2, 2, 1, 3),
            (5, 2, 2, 1, 3),
            (6, 2, 3, 1, 3),
        ];
        for (len, size, stride, pad, windows) in table {
            let pool = Pool2d { batch: 1, in_h: len, in_w: len, channels: 1, size, stride, pad };
            assert_eq!([pool.out_h(), pool.out_w()], [windows; 2], "{pool:?}");
        }
    }

    #[test]
    fn the_first_of_equals_is_chosen_and_nan_before_all() {
        const CHANNELS: usize = 29;
        let pool = Pool2d { batch: 1, in_h: 3, in_w: 6, channels: CHANNELS, size: 3, stride: 3, pad: 0 };
        let mut pixels = [0.0; 18];
        (pixels[1], pixels[2], pixels[10]) = (5.0, 5.0, f32::NAN);
        (pixels[9], pixels[11]) = (1.0, 2.0);
        let of_each_channel = |values: &[f32]| values.iter().flat_map(|value| [*value; CHANNELS]).collect::<Vec<_>>();
        let (x, dy) = (of_each_channel(&pixels), of_each_channel(&[1.0, 2.0]));
        for (isa, result) in on_every_cpu(|cpu| max_passes(cpu, &pool, &x, &dy)) {
            for channel in 0..CHANNELS {
                let result: Vec<f32> = result.iter().skip(channel).step_by(CHANNELS).copied().collect();
                assert_eq!(result[0], 5.0, "{isa:?}");
                assert!(result[1].is_nan(), "{isa:?}");
                let gradients: Vec<usize> = (0..18).filter(|&i| result[2 + i] != 0.0).collect();
                assert_eq!(gradients, [1, 10], "{isa:?}");
            }
        }
    }

    #[test]
    fn passes_agree_with_pytorch() {
        let files = [include_str!("../../goldens/max_pool.json"), include_str!("../../goldens/average_pool.json")];
        for (file, passes) in files.into_iter().zip([max_passes, average_passes]) {
            for golden in goldens(file) {
                let pool = Pool2d {
                    batch: golden.size("batch"),
                    in_h: golden.size("height"),
                    in_w: golden.size("width"),
                    channels: golden.size("channels"),
                    size: golden.size("size"),
                    stride: golden.size("stride"),
                    pad: golden.size("pad"),
                };
                for (_, result) in on_every_cpu(|cpu| passes(cpu, &pool, &golden.input("x"), &golden.input("dy"))) {
                    let (y, dx) = result.split_at(pool.output_len());
                    assert_close(&format!("{pool:?} y"), y, &golden.tensor("y"), 1e-6);
                    assert_close(&format!("{pool:?} dx"), dx, &golden.tensor("dx"), 1e-6);
                }
            }
        }
    }
}
