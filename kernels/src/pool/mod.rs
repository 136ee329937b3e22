//! Max and average pooling, and their gradients, as Caffe and as PyTorch count windows and padding.

mod cpu;
pub mod cuda;

pub use cpu::{average_backward, average_forward, max_backward, max_forward};
pub(crate) use cpu::{max_backward_image, max_slope};

/// The shapes of a pooling with square windows. Images are NHWC.
///
/// Caffe rounds the number of windows up, where PyTorch rounds down unless `ceil_mode` is set: a 32 x 32 image pooled by
/// 3 with stride 2 becomes 16 x 16 or 15 x 15. In both, averages count padding unless they are told not to.
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
    /// Height and width of a window. That of max pooling is at most [`Pool2d::LARGEST_MAX`]; averages may be of any size.
    pub size: usize,
    /// Pixels between neighbouring windows; at least 1.
    pub stride: usize,
    /// Padding on each of the four sides, less than `size`. Its pixels are never the maximum.
    pub pad: usize,
    /// What becomes of a last window that the image does not fill.
    pub rounding: Rounding,
    /// What an average divides its sum by.
    pub divisor: Divisor,
}

/// What becomes of a last window that the image with its padding does not fill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// It hangs over: Caffe's rule, and that of PyTorch with `ceil_mode`.
    #[default]
    Up,
    /// It is left out: PyTorch's rule without `ceil_mode`.
    Down,
}

/// What the sum of a window's pixels is divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Divisor {
    /// Pixels of the image and of its padding, as in Caffe, and in PyTorch unless it is told otherwise. What hangs over beyond
    /// the padding does not count.
    #[default]
    WithPadding,
    /// Pixels of the image alone: PyTorch's `count_include_pad = False`.
    ImageAlone,
}

impl Pool2d {
    /// The largest window of max pooling: the places in it are kept as bytes.
    pub const LARGEST_MAX: usize = 15;

    /// The pooling of whole images: one window, of any height and width.
    pub fn global(batch: usize, in_h: usize, in_w: usize, channels: usize) -> Pool2d {
        let size = in_h.max(in_w).max(1);
        let (rounding, divisor) = (Rounding::Up, Divisor::WithPadding);
        Pool2d { batch, in_h, in_w, channels, size, stride: size, pad: 0, rounding, divisor }
    }

    /// Height of an output image: `(in_h + 2 pad - size) / stride + 1`, with the quotient rounded up or down. Of a quotient
    /// that was rounded up, the last window is left out if it starts beyond the image and its upper padding. 0 if the window is
    /// too large.
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
        let padded = len + 2 * self.pad;
        if self.rounding == Rounding::Down {
            return padded.checked_sub(self.size).map_or(0, |rest| rest / self.stride + 1);
        }
        // ceil(a / s) + 1 = floor((a + 2s - 1) / s), kept from going below zero.
        let count = (padded + 2 * self.stride - 1).saturating_sub(self.size) / self.stride;
        // Caffe leaves such a window out only where there is padding; without, it would be the mean of nothing.
        if count > 0 && (count - 1) * self.stride >= len + self.pad { count - 1 } else { count }
    }

    /// True if the rows of a window are summed apart and then added up. One sum of so many values would lose digits.
    fn sums_rows(&self) -> bool {
        self.size > Self::LARGEST_MAX
    }

    /// The window of output position (`out_y`, `out_x`).
    #[inline(always)]
    fn window(&self, out_y: usize, out_x: usize) -> Window {
        let ((y, height), (x, width)) = (self.span(out_y, self.in_h), self.span(out_x, self.in_w));
        Window { y, x, divisor: (height * width) as f32, first_y: out_y * self.stride, first_x: out_x * self.stride }
    }

    /// The pixels of window `index` that lie in the image, and how many count.
    #[inline(always)]
    fn span(&self, index: usize, len: usize) -> ((usize, usize), usize) {
        // In padded coordinates, where the image begins at `pad`.
        let first = index * self.stride;
        let end = (first + self.size).min(len + 2 * self.pad);
        let inside = (first.max(self.pad) - self.pad, end.min(len + self.pad).saturating_sub(self.pad));
        match self.divisor {
            Divisor::WithPadding => (inside, end - first),
            Divisor::ImageAlone => (inside, inside.1 - inside.0),
        }
    }
}

/// The place of a window on the image, clipped to it.
struct Window {
    /// First row, and the row after the last.
    y: (usize, usize),
    /// First column, and the column after the last.
    x: (usize, usize),
    /// The divisor of a sum.
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

    /// A pooling as Caffe has it.
    pub fn caffe(
        (batch, in_h, in_w, channels): (usize, usize, usize, usize),
        (size, stride, pad): (usize, usize, usize),
    ) -> Pool2d {
        let (rounding, divisor) = (Rounding::Up, Divisor::WithPadding);
        Pool2d { batch, in_h, in_w, channels, size, stride, pad, rounding, divisor }
    }

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
        let pool = caffe((2, 5, 6, 23), (3, 2, 0));
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

    /// Both kinds by the words of Caffe's pooling_layer.cpp, one output at a time; PyTorch's other divisor likewise.
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
                    let divisor = match pool.divisor {
                        Divisor::WithPadding => ((bottom - top) * (right - left)) as f64,
                        Divisor::ImageAlone => ((bottom.min(h) - top.max(0)) * (right.min(w) - left.max(0))) as f64,
                    };
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
        let is_both = pool.size <= Pool2d::LARGEST_MAX;
        for average in [false, true].into_iter().filter(|average| *average || is_both) {
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
            check(caffe((2, in_h, in_w, channels), (size, stride, pad)));
        }
    }

    #[test]
    fn roundings_and_divisors_agree_with_the_definition_and_its_differences() {
        for (in_h, in_w, channels, size, stride, pad) in
            [(6, 5, 3, 3, 2, 1), (7, 7, 2, 3, 2, 0), (5, 6, 5, 3, 1, 1), (6, 6, 1, 5, 3, 2), (5, 4, 2, 2, 3, 1)]
        {
            for (rounding, divisor) in [
                (Rounding::Down, Divisor::WithPadding),
                (Rounding::Down, Divisor::ImageAlone),
                (Rounding::Up, Divisor::ImageAlone),
            ] {
                check(Pool2d { rounding, divisor, ..caffe((2, in_h, in_w, channels), (size, stride, pad)) });
            }
        }
    }

    #[test]
    fn windows_of_any_size_are_averaged() {
        check(caffe((1, 17, 18, 2), (16, 3, 2)));
        check(Pool2d { divisor: Divisor::ImageAlone, ..caffe((1, 17, 17, 1), (17, 5, 8)) });
        for (in_h, in_w) in [(8, 8), (7, 5), (3, 19), (1, 1), (20, 2)] {
            let pool = Pool2d::global(2, in_h, in_w, 5);
            assert_eq!((pool.out_h(), pool.out_w(), pool.output_len()), (1, 1, 10));
            check(pool);
        }
    }

    /// A sum of so many values in a row loses digits: 0.1 added 65,536 times in f32 is 1.2e-3 off, relatively.
    #[test]
    fn the_mean_of_a_large_image_is_exact_to_six_digits() {
        let pool = Pool2d::global(1, 256, 256, 3);
        for (isa, mean) in on_every_cpu(|cpu| {
            let mut y = vec![f32::NAN; 3];
            average_forward(cpu, &pool, &vec![0.1; pool.input_len()], &mut y);
            y
        }) {
            assert_close(&format!("{isa:?}"), &mean, &[f64::from(0.1_f32); 3], 1e-6);
        }
    }

    #[test]
    fn vectors_of_every_width_agree_with_the_definition() {
        // 16, 8 and 4 channels at once, and single ones. (Of 29, two values are so near that a difference changes which is
        // the largest.)
        check(caffe((2, 5, 6, 30), (3, 2, 0)));
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
            let pool = caffe((1, len, len, 1), (size, stride, pad));
            assert_eq!([pool.out_h(), pool.out_w()], [windows; 2], "{pool:?}");
        }
    }

    #[test]
    fn windows_are_counted_as_in_pytorch() {
        let table = [
            // Length, size, stride, padding: windows rounded down and up, of torch.nn.functional.max_pool2d.
            (32, 3, 2, 0, 15, 16),
            (112, 3, 2, 1, 56, 57),
            (28, 3, 1, 1, 28, 28),
            (14, 5, 3, 0, 4, 4),
            (55, 3, 2, 0, 27, 27),
            (7, 7, 1, 0, 1, 1),
            (6, 2, 3, 1, 3, 3),
            // A window that would start beyond the image, without padding.
            (5, 1, 3, 0, 2, 2),
            (3, 2, 4, 0, 1, 1),
        ];
        for (len, size, stride, pad, down, up) in table {
            let pool = caffe((1, len, len, 1), (size, stride, pad));
            let windows = [Rounding::Down, Rounding::Up].map(|rounding| Pool2d { rounding, ..pool }.out_h());
            assert_eq!(windows, [down, up], "{pool:?}");
        }
        let too_large = Pool2d { rounding: Rounding::Down, ..caffe((1, 2, 2, 1), (3, 2, 0)) };
        assert_eq!(too_large.output_len(), 0);
    }

    #[test]
    fn the_first_of_equals_is_chosen_and_nan_before_all() {
        const CHANNELS: usize = 29;
        let pool = caffe((1, 3, 6, CHANNELS), (3, 3, 0));
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
        type Passes = fn(&Cpu, &Pool2d, &[f32], &[f32]) -> Vec<f32>;
        let files: [(&str, Passes); 4] = [
            (include_str!("../../goldens/max_pool.json"), max_passes),
            (include_str!("../../goldens/max_pool_forms.json"), max_passes),
            (include_str!("../../goldens/average_pool.json"), average_passes),
            (include_str!("../../goldens/average_pool_forms.json"), average_passes),
        ];
        for (file, passes) in files {
            for golden in goldens(file) {
                let image = ["batch", "height", "width", "channels"].map(|name| golden.size(name));
                let window = ["size", "stride", "pad"].map(|name| golden.size(name));
                let pool = caffe(image.into(), window.into());
                let rounding = if golden.is("ceil_mode") { Rounding::Up } else { Rounding::Down };
                let divisor = match golden.is("count_include_pad") {
                    true => Divisor::WithPadding,
                    false => Divisor::ImageAlone,
                };
                let pool = Pool2d { rounding, divisor, ..pool };
                for (_, result) in on_every_cpu(|cpu| passes(cpu, &pool, &golden.input("x"), &golden.input("dy"))) {
                    let (y, dx) = result.split_at(pool.output_len());
                    assert_close(&format!("{pool:?} y"), y, &golden.tensor("y"), 1e-6);
                    assert_close(&format!("{pool:?} dx"), dx, &golden.tensor("dx"), 1e-6);
                }
            }
        }
    }
}
