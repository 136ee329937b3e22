//! Subsampling on the CPU.

use super::Subsample;
use crate::Cpu;

/// `y`: every so manieth pixel of `x`, and zeros in the channels that are new.
pub fn forward(cpu: &Cpu, shape: &Subsample, x: &[f32], y: &mut [f32]) {
    let (in_len, out_len) = image_lens(shape);
    assert_eq!((x.len(), y.len()), (shape.input_len(), shape.output_len()));
    cpu.for_each_chunk_mut(y, out_len, |image, y| {
        let x = &x[image * in_len..][..in_len];
        for (out_y, y) in y.chunks_exact_mut(shape.out_w() * shape.out_c).enumerate() {
            let row = &x[out_y * shape.stride * shape.in_w * shape.in_c..];
            for (pixel, y) in row.chunks_exact(shape.in_c).step_by(shape.stride).zip(y.chunks_exact_mut(shape.out_c)) {
                let (values, zeros) = y.split_at_mut(shape.in_c);
                values.copy_from_slice(pixel);
                zeros.fill(0.0);
            }
        }
    });
}

/// `dx`: the gradients of the pixels that were taken, and zeros.
pub fn backward(cpu: &Cpu, shape: &Subsample, dy: &[f32], dx: &mut [f32]) {
    let (in_len, out_len) = image_lens(shape);
    assert_eq!((dy.len(), dx.len()), (shape.output_len(), shape.input_len()));
    cpu.for_each_chunk_mut(dx, in_len, |image, dx| {
        dx.fill(0.0);
        let dy = &dy[image * out_len..][..out_len];
        for (out_y, dy) in dy.chunks_exact(shape.out_w() * shape.out_c).enumerate() {
            let row = &mut dx[out_y * shape.stride * shape.in_w * shape.in_c..];
            let pixels = row.chunks_exact_mut(shape.in_c).step_by(shape.stride);
            for (pixel, dy) in pixels.zip(dy.chunks_exact(shape.out_c)) {
                pixel.copy_from_slice(&dy[..shape.in_c]);
            }
        }
    });
}

fn image_lens(shape: &Subsample) -> (usize, usize) {
    (shape.in_h * shape.in_w * shape.in_c, shape.out_h() * shape.out_w() * shape.out_c)
}
