//! Concatenation of channels: values of one height and width, side by side in every pixel of one value.
//!
//! One call moves one of the values, a [`Slice`] of the concatenation, and leaves the others as they are. [`Slice::each`] says
//! where all of them lie.

mod cpu;
pub mod cuda;

pub use cpu::{accumulate, backward, forward};

/// One of the values of a concatenation, and its place there. Images are NHWC, so a pixel has all channels as neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slice {
    /// Pixels of all images of the batch.
    pub pixels: usize,
    /// Channels of the value.
    pub channels: usize,
    /// Channels of the values before it in a pixel of the concatenation.
    pub first: usize,
    /// Channels of the concatenation.
    pub of: usize,
}

impl Slice {
    /// Values of so many channels each, one after the other.
    ///
    /// ```
    /// use clr_kernels::concat::Slice;
    ///
    /// let slices: Vec<Slice> = Slice::each(2 * 7 * 7, &[64, 128, 32]).collect();
    /// assert_eq!(slices[1], Slice { pixels: 98, channels: 128, first: 64, of: 224 });
    /// ```
    pub fn each(pixels: usize, channels: &[usize]) -> impl Iterator<Item = Slice> {
        let of = channels.iter().sum();
        channels.iter().scan(0, move |end, &channels| {
            *end += channels;
            Some(Slice { pixels, channels, first: *end - channels, of })
        })
    }

    /// Floats of the value.
    pub fn len(&self) -> usize {
        self.pixels * self.channels
    }

    /// True if the value has no floats.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Floats of the concatenation.
    pub fn whole_len(&self) -> usize {
        self.pixels * self.of
    }

    #[track_caller]
    fn check(&self) {
        assert!(self.first + self.channels <= self.of, "a slice that ends beyond the last channel: {self:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{on_every_cpu, values};

    /// Channels of one float, of whole vectors, and of vectors of every width and single floats.
    const SHAPES: [(usize, &[usize]); 5] =
        [(1, &[1]), (3, &[4, 8]), (98, &[16, 64, 32, 32]), (515, &[3, 29, 1, 12]), (20, &[12, 0, 5])];

    #[test]
    fn values_stand_side_by_side_in_every_pixel() {
        for (pixels, channels) in SHAPES {
            let slices: Vec<Slice> = Slice::each(pixels, channels).collect();
            let inputs: Vec<Vec<f32>> = slices.iter().zip(1..).map(|(slice, seed)| values(seed, slice.len())).collect();
            let expected: Vec<f32> = (0..pixels)
                .flat_map(|pixel| {
                    let pixels = inputs.iter().zip(channels);
                    pixels.flat_map(move |(input, &channels)| &input[pixel * channels..][..channels])
                })
                .copied()
                .collect();
            for (isa, y) in on_every_cpu(|cpu| {
                let mut y = vec![f32::NAN; slices[0].whole_len()];
                for (slice, x) in slices.iter().zip(&inputs) {
                    forward(cpu, slice, x, &mut y);
                }
                y
            }) {
                assert_eq!(y, expected, "{pixels} pixels of {channels:?} {isa:?}");
            }
        }
    }

    #[test]
    fn gradients_are_the_slices_or_are_added() {
        for (pixels, channels) in SHAPES {
            for (slice, seed) in Slice::each(pixels, channels).zip(2..) {
                let (dy, before) = (values(1, slice.whole_len()), values(seed, slice.len()));
                let sliced: Vec<f32> = dy
                    .chunks_exact(slice.of)
                    .flat_map(|pixel| &pixel[slice.first..slice.first + slice.channels])
                    .copied()
                    .collect();
                let added: Vec<f32> = before.iter().zip(&sliced).map(|(before, dy)| before + dy).collect();
                for (isa, result) in on_every_cpu(|cpu| {
                    let (mut dx, mut sum) = (vec![f32::NAN; slice.len()], before.clone());
                    backward(cpu, &slice, &dy, &mut dx);
                    accumulate(cpu, &slice, &dy, &mut sum);
                    [dx, sum].concat()
                }) {
                    assert_eq!(result, [&sliced[..], &added].concat(), "{slice:?} {isa:?}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "a slice that ends beyond the last channel")]
    fn a_slice_beyond_the_last_channel_is_refused() {
        let cpu = crate::Cpu::with_isa(1, crate::Isa::Portable).unwrap();
        forward(&cpu, &Slice { pixels: 2, channels: 3, first: 2, of: 4 }, &[0.0; 6], &mut [0.0; 8]);
    }
}
