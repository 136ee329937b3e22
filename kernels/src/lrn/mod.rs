//! Local response normalisation, across channels and within a channel, and its gradient.

mod cpu;
pub mod cuda;

pub use cpu::{backward, forward};

/// The shapes and constants of `y = x (k + alpha / n Σ x²)^-beta`. Images are NHWC.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lrn {
    /// Images in the batch.
    pub batch: usize,
    /// Height of an image.
    pub height: usize,
    /// Width of an image.
    pub width: usize,
    /// Channels of an image.
    pub channels: usize,
    /// The neighbours that the sum is taken over.
    pub region: Region,
    /// Channels, or pixels on a side, of the window around each value; odd.
    pub size: usize,
    /// The weight of the mean square.
    pub alpha: f32,
    /// The exponent. 0.75 is fast.
    pub beta: f32,
    /// The constant beside the mean square; 1 in Caffe's files.
    pub k: f32,
}

/// The neighbours of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// The same pixel in `size` neighbouring channels (Krizhevsky et al. 2012); n is `size`.
    AcrossChannels,
    /// `size` x `size` pixels of the same channel; n is `size`², also at the borders, where zeros are added.
    WithinChannel,
}

/// How many chunks a batch is cut into, each with scratch memory of its own.
const CHUNKS: usize = 16;

impl Lrn {
    /// Floats in all images.
    pub fn input_len(&self) -> usize {
        self.batch * self.image_len()
    }

    /// Floats of scratch memory that each of the two operations needs at most.
    pub fn scratch_len(&self) -> usize {
        CHUNKS.min(self.batch) * self.scratch_len_per_chunk()
    }

    fn image_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// An image, a line and a padded line.
    fn scratch_len_per_chunk(&self) -> usize {
        self.image_len() + self.line_len() + self.padded_line_len()
    }

    /// Floats of what a window moves along: a row of pixels, or the channels of one pixel.
    fn line_len(&self) -> usize {
        match self.region {
            Region::AcrossChannels => self.channels,
            Region::WithinChannel => self.width * self.channels,
        }
    }

    /// A line with a margin at either end.
    fn padded_line_len(&self) -> usize {
        self.line_len() + 2 * self.margin()
    }

    /// Floats by which a window reaches over the end of a line.
    fn margin(&self) -> usize {
        self.size / 2 * self.step()
    }

    /// Floats between neighbours within a line.
    fn step(&self) -> usize {
        match self.region {
            Region::AcrossChannels => 1,
            Region::WithinChannel => self.channels,
        }
    }

    fn alpha_over_n(&self) -> f32 {
        match self.region {
            Region::AcrossChannels => self.alpha / self.size as f32,
            Region::WithinChannel => self.alpha / (self.size * self.size) as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;
    use crate::testing::{assert_close, assert_gradient, goldens, on_every_cpu, values};

    fn passes(cpu: &Cpu, lrn: &Lrn, x: &[f32], dy: &[f32]) -> Vec<f32> {
        let (mut y, mut dx) = (vec![f32::NAN; lrn.input_len()], vec![f32::NAN; lrn.input_len()]);
        // More than is needed, as from a network whose largest layer is another.
        let mut scratch = vec![f32::NAN; lrn.scratch_len() + 7];
        forward(cpu, lrn, x, &mut y, &mut scratch);
        backward(cpu, lrn, x, dy, &mut dx, &mut scratch);
        [y, dx].concat()
    }

    /// One value at a time.
    fn reference(lrn: &Lrn, x: &[f64]) -> Vec<f64> {
        let [height, width, channels, reach] =
            [lrn.height, lrn.width, lrn.channels, lrn.size / 2].map(|len| len as isize);
        let at = |n: isize, y: isize, x_: isize, c: isize| {
            let inside = (0..height).contains(&y) && (0..width).contains(&x_) && (0..channels).contains(&c);
            if inside { x[(((n * height + y) * width + x_) * channels + c) as usize] } else { 0.0 }
        };
        let square = |value: f64| value * value;
        (0..x.len() as isize)
            .map(|i| {
                let (c, x_, y, n) =
                    (i % channels, i / channels % width, i / channels / width % height, i / channels / width / height);
                let (sum, count) = match lrn.region {
                    Region::AcrossChannels => {
                        ((-reach..=reach).map(|d| square(at(n, y, x_, c + d))).sum::<f64>(), lrn.size)
                    }
                    Region::WithinChannel => {
                        let row = |dy| (-reach..=reach).map(|dx| square(at(n, y + dy, x_ + dx, c))).sum::<f64>();
                        ((-reach..=reach).map(row).sum(), lrn.size * lrn.size)
                    }
                };
                let s = f64::from(lrn.k) + f64::from(lrn.alpha) * sum / count as f64;
                x[i as usize] * libm::pow(s, -f64::from(lrn.beta))
            })
            .collect()
    }

    #[test]
    fn passes_agree_with_the_definition_and_its_differences() {
        for (region, batch, [height, width, channels], size, beta) in [
            (Region::AcrossChannels, 2, [2, 3, 9], 5, 0.75),
            (Region::AcrossChannels, 1, [1, 2, 2], 5, 0.4),
            (Region::AcrossChannels, 1, [1, 2, 37], 3, 0.75),
            (Region::WithinChannel, 19, [3, 2, 1], 3, 0.75),
            (Region::WithinChannel, 1, [4, 5, 7], 3, 0.75),
            (Region::WithinChannel, 2, [2, 1, 2], 5, 1.5),
        ] {
            let lrn = Lrn { batch, height, width, channels, region, size, alpha: 0.9, beta, k: 1.5 };
            let (x, dy) = (values(1, lrn.input_len()), values(2, lrn.input_len()));
            let exact: Vec<f64> = x.iter().copied().map(f64::from).collect();
            for (isa, result) in on_every_cpu(|cpu| passes(cpu, &lrn, &x, &dy)) {
                let (y, dx) = result.split_at(lrn.input_len());
                assert_close(&format!("{lrn:?} {isa:?}"), y, &reference(&lrn, &exact), 1e-6);
                assert_gradient(&format!("{lrn:?} {isa:?}"), dx, &x, |x| {
                    reference(&lrn, x).iter().zip(&dy).map(|(y, dy)| y * f64::from(*dy)).sum()
                });
            }
        }
    }

    #[test]
    fn passes_agree_with_pytorch() {
        for golden in goldens(include_str!("../../goldens/lrn.json")) {
            let lrn = Lrn {
                batch: golden.size("batch"),
                height: golden.size("height"),
                width: golden.size("width"),
                channels: golden.size("channels"),
                region: if golden.size("within") == 1 { Region::WithinChannel } else { Region::AcrossChannels },
                size: golden.size("size"),
                alpha: golden.input("alpha")[0],
                beta: golden.input("beta")[0],
                k: 1.0,
            };
            for (_, result) in on_every_cpu(|cpu| passes(cpu, &lrn, &golden.input("x"), &golden.input("dy"))) {
                let (y, dx) = result.split_at(lrn.input_len());
                assert_close(&format!("{lrn:?} y"), y, &golden.tensor("y"), 1e-6);
                assert_close(&format!("{lrn:?} dx"), dx, &golden.tensor("dx"), 1e-6);
            }
        }
    }
}
