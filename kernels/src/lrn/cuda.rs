//! Local response normalisation on a GPU. It needs no scratch memory.

#![allow(unsafe_code)]

use std::mem::size_of;

use super::{Lrn, Region};
use crate::cuda::{Gpu, GpuError, Lanes, count, mirror, width};

const THREADS: usize = 256;

/// Pixels on a side of the tile of a block of [`backward`], at most.
const TILE_SIDE: usize = 16;

/// Values that a tile has about: enough to keep all threads busy, few enough for several blocks to share a multiprocessor.
const TILE_VALUES: usize = 2048;

/// Shared memory that every block has without asking.
const SHARED_BYTES: usize = 48 << 10;

mirror! {
    /// Mirrors `lrn::Constants` in lrn.cu.
    struct Constants = "lrn::Constants" {
        k: f32,
        factor: f32,
        beta: f32,
        slope: f32,
    }
}

mirror! {
    /// Mirrors `lrn::Within` in lrn.cu.
    struct Within = "lrn::Within" {
        height: u32,
        width: u32,
        channels: u32,
        groups: u32,
        reach: u32,
        tile_h: u32,
        tile_w: u32,
        tile_channels: u32,
        tiles_y: u32,
        tiles_x: u32,
        tiles_channels: u32,
        floats: u32,
    }
}

mirror! {
    /// Mirrors `lrn::Across` in lrn.cu.
    struct Across = "lrn::Across" {
        pixels: u32,
        channels: u32,
        reach: u32,
        tile_pixels: u32,
        tile_channels: u32,
        tiles_channels: u32,
    }
}

/// As [`super::forward`], in each lane.
///
/// # Errors
/// What the driver says.
pub fn forward(gpu: &Gpu, lanes: usize, lrn: &Lrn, x: Lanes<'_>, y: Lanes<'_>) -> Result<(), GpuError> {
    let len = lrn.input_len();
    let launch = match lrn.region {
        Region::WithinChannel => {
            let shape = lrn.within(width(lrn.channels, [x.is_aligned(), y.is_aligned()]));
            gpu.launch("lrn_within_forward", lanes).threads_for(shape.groups as usize, THREADS).value("shape", shape)
        }
        Region::AcrossChannels => {
            gpu.launch("lrn_across_forward", lanes).threads_for(len, THREADS).value("shape", lrn.across())
        }
    };
    // SAFETY: the arguments of `lrn_within_forward` and of `lrn_across_forward`, which differ in the shape.
    unsafe { launch.value("constants", lrn.constants()).read("x", x, len).write("y", y, len).run() }
}

/// As [`super::backward`], in each lane. `dx` is neither `x` nor `dy`: a tile reads what lies around it.
///
/// # Errors
/// What the driver says; among it, that a window is too large for shared memory.
pub fn backward(
    gpu: &Gpu,
    lanes: usize,
    lrn: &Lrn,
    x: Lanes<'_>,
    dy: Lanes<'_>,
    dx: Lanes<'_>,
) -> Result<(), GpuError> {
    let len = lrn.input_len();
    let launch = match lrn.region {
        Region::WithinChannel => {
            let shape = lrn.within(width(lrn.channels, [x.is_aligned(), dy.is_aligned(), dx.is_aligned()]));
            let blocks = lrn.batch * (shape.tiles_y * shape.tiles_x * shape.tiles_channels) as usize;
            let launch =
                gpu.launch("lrn_within_backward", lanes).blocks([blocks, lanes, 1]).shared_bytes(shape.shared_bytes());
            launch.threads(THREADS).value("shape", shape)
        }
        Region::AcrossChannels => {
            let shape = lrn.across();
            let blocks = shape.pixels.div_ceil(shape.tile_pixels) as usize * shape.tiles_channels as usize;
            let launch =
                gpu.launch("lrn_across_backward", lanes).blocks([blocks, lanes, 1]).shared_bytes(shape.shared_bytes());
            launch.threads(THREADS).value("shape", shape)
        }
    };
    let launch = launch.value("constants", lrn.constants()).read("x", x, len).read("dy", dy, len);
    // SAFETY: the arguments of `lrn_within_backward` and of `lrn_across_backward`, which differ in the shape.
    unsafe { launch.write("dx", dx, len).run() }
}

impl Lrn {
    fn constants(&self) -> Constants {
        let factor = self.alpha_over_n();
        Constants { k: self.k, factor, beta: self.beta, slope: 2.0 * self.beta * factor }
    }

    fn within(&self, floats: usize) -> Within {
        let (tile_h, tile_w) = (self.height.min(TILE_SIDE), self.width.min(TILE_SIDE));
        let channels = self.channels / floats;
        let tile_channels = TILE_VALUES.div_ceil(tile_h * tile_w * floats).next_power_of_two().min(channels);
        let mut shape = Within {
            height: count(self.height),
            width: count(self.width),
            channels: count(channels),
            groups: count(self.input_len() / floats),
            reach: count(self.size / 2),
            tile_h: count(tile_h),
            tile_w: count(tile_w),
            tile_channels: count(tile_channels),
            tiles_y: count(self.height.div_ceil(tile_h)),
            tiles_x: count(self.width.div_ceil(tile_w)),
            tiles_channels: 0,
            floats: floats as u32,
        };
        while shape.shared_bytes() > SHARED_BYTES && shape.tile_channels > 1 {
            shape.tile_channels = shape.tile_channels.div_ceil(2);
        }
        shape.tiles_channels = shape.channels.div_ceil(shape.tile_channels);
        shape
    }

    fn across(&self) -> Across {
        let pixels = self.batch * self.height * self.width;
        let tile_channels = self.channels.min(TILE_VALUES);
        Across {
            pixels: count(pixels),
            channels: count(self.channels),
            reach: count(self.size / 2),
            tile_pixels: count((TILE_VALUES / tile_channels).clamp(1, pixels.max(1))),
            tile_channels: count(tile_channels),
            tiles_channels: count(self.channels.div_ceil(tile_channels)),
        }
    }
}

impl Within {
    /// Products of a tile and its margin, and scaled gradients of the tile.
    fn shared_bytes(&self) -> usize {
        let [height, width, reach] = [self.tile_h, self.tile_w, self.reach].map(|len| len as usize);
        let pixels = (height + 2 * reach) * (width + 2 * reach) + height * width;
        pixels * self.tile_channels as usize * self.floats as usize * size_of::<f32>()
    }
}

impl Across {
    /// Products of a tile and of the channels beside it.
    fn shared_bytes(&self) -> usize {
        self.tile_pixels as usize * (self.tile_channels as usize + 2 * self.reach as usize) * size_of::<f32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;
    use crate::testing::{Tensors, assert_close, join, lane_values, on_the_gpu, values, widened};

    #[track_caller]
    fn check(lrn: &Lrn) {
        let (cpu, len) = (Cpu::new(1).unwrap(), lrn.input_len());
        for (lane, placing, result) in on_the_gpu(|gpu, placing, lanes| {
            let [x, dy] = [1, 2].map(|seed| Tensors::new(gpu, placing, &lane_values(lanes, seed, len)));
            let [y, dx] = [(); 2].map(|()| Tensors::unwritten(gpu, placing, lanes.len(), len));
            forward(gpu, lanes.len(), lrn, x.lanes(), y.lanes()).unwrap();
            backward(gpu, lanes.len(), lrn, x.lanes(), dy.lanes(), dx.lanes()).unwrap();
            join([y.read(gpu), dx.read(gpu)])
        }) {
            let [x, dy] = [1, 2].map(|seed| values(1000 * lane + seed, len));
            let [mut y, mut dx] = [(); 2].map(|()| vec![f32::NAN; len]);
            let mut scratch = vec![0.0; lrn.scratch_len()];
            crate::lrn::forward(&cpu, lrn, &x, &mut y, &mut scratch);
            crate::lrn::backward(&cpu, lrn, &x, &dy, &mut dx, &mut scratch);
            assert_close(&format!("{lrn:?} {placing:?}"), &result, &widened(&[y, dx].concat()), 2e-6);
        }
    }

    #[test]
    fn passes_are_those_of_the_cpu() {
        // The last ones have several tiles along each side.
        for (region, batch, [height, width, channels], size, beta) in [
            (Region::AcrossChannels, 2, [2, 3, 9], 5, 0.75),
            (Region::AcrossChannels, 1, [1, 2, 2], 5, 0.4),
            (Region::WithinChannel, 3, [3, 2, 1], 3, 0.75),
            (Region::WithinChannel, 1, [4, 5, 12], 3, 0.75),
            (Region::WithinChannel, 2, [2, 1, 2], 5, 1.5),
            (Region::AcrossChannels, 1, [3, 7, 130], 5, 0.75),
            (Region::AcrossChannels, 1, [1, 2, 2500], 3, 0.75),
            (Region::WithinChannel, 1, [18, 19, 20], 3, 0.75),
        ] {
            check(&Lrn { batch, height, width, channels, region, size, alpha: 0.9, beta, k: 1.5 });
        }
    }
}
