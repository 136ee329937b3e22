//! The key of a sample, by which the samples of a split are ordered.

use rayon::prelude::*;

/// BLAKE3 of a sample's pixels and label.
pub type Key = [u8; 32];

/// The key of each sample.
pub fn keys(images: &[u8], labels: &[i32], image_bytes: usize) -> Vec<Key> {
    images
        .par_chunks_exact(image_bytes)
        .zip(labels)
        .map(|(image, label)| *blake3::Hasher::new().update(image).update(&label.to_le_bytes()).finalize().as_bytes())
        .collect()
}
