//! The order of samples: which training images the batch of a step holds, from the step alone.

use std::sync::Arc;

use clr_rng::{Philox, Stream, shuffle};
use clr_spec::{LastBatch, Order};

/// The batches of one data seed: pure in the step, so that resuming needs no state and any step may be asked for.
///
/// An epoch's permutation is a Fisher-Yates shuffle of `0..train_count` with the words of Philox stream
/// [`Stream::Shuffle`] under the data seed, the epoch as its step; a word becomes a place by the 64-bit multiply
/// ([`clr_rng::below`], whose deviation from uniform is at most `train_count / 2^32`, 1.2e-5 for CIFAR-10).
///
/// ```
/// use clr_dataset::order::Sampler;
/// use clr_spec::{LastBatch, Order};
///
/// let mut sampler = Sampler::new(Order::Shuffled, LastBatch::Keep, 5, None, 2, 1)?;
/// let (mut samples, mut epochs) = ([0; 2], [0; 2]);
/// assert_eq!(sampler.batches_per_epoch(), 3);
/// assert_eq!(sampler.fill(2, &mut samples, &mut epochs), 1); // the third batch of epoch 0 has one sample
/// assert_eq!(sampler.fill(3, &mut samples, &mut epochs), 2);
/// assert_eq!(epochs, [1, 1]);
/// # Ok::<(), clr_dataset::order::SamplerError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sampler {
    sequence: Sequence,
    last_batch: LastBatch,
    train_count: u64,
    batch_size: u64,
}

#[derive(Clone, Debug)]
enum Sequence {
    /// The permutations of the two epochs used last: a batch that wraps needs two.
    Shuffled { philox: Philox, permutations: [(u64, Vec<u32>); 2] },
    /// The same order each epoch.
    Stored(Vec<u32>),
}

/// Why there can be no batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SamplerError {
    /// Nothing to draw from, or more than indices can count.
    #[error("expected 1 to 4294967295 training images, found {0}")]
    TrainCount(u64),
    /// A batch of no samples.
    #[error("expected a batch size of at least 1, found 0")]
    BatchSize,
    /// Every epoch would be dropped whole.
    #[error(
        "a batch of {batch_size} is larger than the training set of {train_count}, so that `last_batch = \"drop\"` leaves none"
    )]
    NoWholeBatch {
        /// Samples of a batch.
        batch_size: u32,
        train_count: u64,
    },
    /// The stored order is not one of a set that large.
    #[error("the stored order has {found} of the {train_count} training images")]
    Stored {
        /// The number of indices below `train_count`.
        found: u64,
        train_count: u64,
    },
}

impl Sampler {
    /// The batches of `batch_size` from the training images `0..train_count` of the canonical order.
    ///
    /// `stored` is [`Samples::stored`](super::Samples::stored), needed for [`Order::Stored`] alone; indices from
    /// `train_count` on (a validation split) are passed over.
    ///
    /// # Errors
    ///
    /// Where no batch could be made; see [`SamplerError`].
    pub fn new(
        order: Order,
        last_batch: LastBatch,
        train_count: u64,
        stored: Option<Arc<[u32]>>,
        batch_size: u32,
        data_seed: u64,
    ) -> Result<Sampler, SamplerError> {
        if train_count == 0 || train_count > u64::from(u32::MAX) {
            return Err(SamplerError::TrainCount(train_count));
        }
        if batch_size == 0 {
            return Err(SamplerError::BatchSize);
        }
        if last_batch == LastBatch::Drop && u64::from(batch_size) > train_count {
            return Err(SamplerError::NoWholeBatch { batch_size, train_count });
        }
        let sequence = match order {
            Order::Shuffled => {
                let philox = Philox::new(data_seed, Stream::Shuffle);
                let permutations = [0, 1].map(|epoch| (epoch, permutation(&philox, epoch, train_count)));
                Sequence::Shuffled { philox, permutations }
            }
            Order::Stored => {
                let stored = stored.unwrap_or_default();
                let kept: Vec<u32> = stored.iter().copied().filter(|&index| u64::from(index) < train_count).collect();
                if kept.len() as u64 != train_count {
                    return Err(SamplerError::Stored { found: kept.len() as u64, train_count });
                }
                Sequence::Stored(kept)
            }
        };
        Ok(Sampler { sequence, last_batch, train_count, batch_size: batch_size.into() })
    }

    /// Batches that begin in an epoch, or for [`LastBatch::Wrap`] the batches after which each image was seen.
    pub fn batches_per_epoch(&self) -> u64 {
        match self.last_batch {
            LastBatch::Drop => self.train_count / self.batch_size,
            LastBatch::Keep | LastBatch::Wrap => self.train_count.div_ceil(self.batch_size),
        }
    }

    /// Writes the canonical indices of the batch of `step` (from 0) to the front of `samples`, and the epoch in which each
    /// is seen (modulo 2^32) to the front of `epochs`. Returns their number; what follows is left as it was.
    ///
    /// # Panics
    ///
    /// If `samples` or `epochs` is shorter than the batch.
    pub fn fill(&mut self, step: u64, samples: &mut [u32], epochs: &mut [u32]) -> u32 {
        // Epoch and place of the first sample. In u128: a step may be any u64.
        let (epoch, place, count) = match self.last_batch {
            LastBatch::Wrap => {
                let position = u128::from(step) * u128::from(self.batch_size);
                let (epoch, place) = (position / u128::from(self.train_count), position % u128::from(self.train_count));
                // Past 2^64 epochs they begin anew.
                (epoch as u64, place as u64, self.batch_size)
            }
            LastBatch::Drop | LastBatch::Keep => {
                let (epoch, batch) = (step / self.batches_per_epoch(), step % self.batches_per_epoch());
                let place = batch * self.batch_size;
                (epoch, place, self.batch_size.min(self.train_count - place))
            }
        };
        let count = count as usize;
        let (mut current, mut place, mut done) = (epoch, place as usize, 0);
        while done < count {
            let tail = &self.epoch(current)[place..];
            let taken = tail.len().min(count - done);
            samples[done..done + taken].copy_from_slice(&tail[..taken]);
            epochs[done..done + taken].fill(current as u32);
            (current, place, done) = (current.wrapping_add(1), 0, done + taken);
        }
        count as u32
    }

    fn epoch(&mut self, epoch: u64) -> &[u32] {
        match &mut self.sequence {
            Sequence::Stored(order) => order,
            Sequence::Shuffled { philox, permutations } => {
                // Even and odd epochs have a slot each, so that neighbours never push each other out.
                let slot = &mut permutations[(epoch % 2) as usize];
                if slot.0 != epoch {
                    *slot = (epoch, permutation(philox, epoch, self.train_count));
                }
                &slot.1
            }
        }
    }
}

fn permutation(philox: &Philox, epoch: u64, train_count: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..train_count as u32).collect();
    shuffle(&mut order, philox.words(epoch));
    order
}

#[cfg(test)]
mod tests {
    use clr_schedule::Ticks;

    use super::*;

    /// The samples of a batch, and the epoch of each.
    type Batch = (Vec<u32>, Vec<u32>);

    fn batch(sampler: &mut Sampler, step: u64) -> Batch {
        let (mut samples, mut epochs) =
            (vec![u32::MAX; sampler.batch_size as usize], vec![u32::MAX; sampler.batch_size as usize]);
        let count = sampler.fill(step, &mut samples, &mut epochs) as usize;
        (samples[..count].to_vec(), epochs[..count].to_vec())
    }

    /// The batches of steps `0..steps`.
    fn batches(mut sampler: Sampler, steps: u64) -> Vec<Batch> {
        (0..steps).map(|step| batch(&mut sampler, step)).collect()
    }

    #[track_caller]
    fn check_stored(last_batch: LastBatch, batches_per_epoch: u64, expected: &[(&[u32], &[u32])]) {
        // Of six stored images the last canonical one is held out for validation.
        let stored: Arc<[u32]> = [4, 2, 5, 0, 3, 1].into();
        let sampler = Sampler::new(Order::Stored, last_batch, 5, Some(stored), 2, 7).unwrap();
        assert_eq!(sampler.batches_per_epoch(), batches_per_epoch);
        let found = batches(sampler, expected.len() as u64);
        assert_eq!(
            found,
            expected.iter().map(|&(samples, epochs)| (samples.to_vec(), epochs.to_vec())).collect::<Vec<_>>()
        );
    }

    #[test]
    fn stored_order_is_cyclic_and_passes_over_the_validation_split() {
        check_stored(
            LastBatch::Wrap,
            3,
            &[
                (&[4, 2], &[0, 0]),
                (&[0, 3], &[0, 0]),
                (&[1, 4], &[0, 1]),
                (&[2, 0], &[1, 1]),
                (&[3, 1], &[1, 1]),
                (&[4, 2], &[2, 2]),
            ],
        );
        check_stored(
            LastBatch::Drop,
            2,
            &[(&[4, 2], &[0, 0]), (&[0, 3], &[0, 0]), (&[4, 2], &[1, 1]), (&[0, 3], &[1, 1])],
        );
        check_stored(LastBatch::Keep, 3, &[(&[4, 2], &[0, 0]), (&[0, 3], &[0, 0]), (&[1], &[0]), (&[4, 2], &[1, 1])]);
    }

    fn shuffled(last_batch: LastBatch, train_count: u64, batch_size: u32, data_seed: u64) -> Sampler {
        Sampler::new(Order::Shuffled, last_batch, train_count, None, batch_size, data_seed).unwrap()
    }

    #[test]
    fn every_epoch_is_another_permutation() {
        let epochs: Vec<Vec<u32>> =
            batches(shuffled(LastBatch::Drop, 100, 100, 3), 4).into_iter().map(|(batch, _)| batch).collect();
        for (number, epoch) in epochs.iter().enumerate() {
            let mut sorted = epoch.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..100).collect::<Vec<u32>>());
            assert!(!epochs[..number].contains(epoch));
        }
        assert_ne!(batches(shuffled(LastBatch::Drop, 100, 100, 4), 1)[0].0, epochs[0]);
    }

    #[test]
    fn wrapped_batches_are_the_epochs_one_after_the_other() {
        let flat = |batch_size: u32, steps: u64| -> Vec<u32> {
            batches(shuffled(LastBatch::Wrap, 7, batch_size, 5), steps)
                .into_iter()
                .flat_map(|(batch, _)| batch)
                .collect()
        };
        let expected = flat(1, 42);
        for batch_size in [2, 3, 6, 7, 14, 21] {
            assert_eq!(flat(batch_size, 42 / u64::from(batch_size)), expected, "batch size {batch_size}");
        }
    }

    #[test]
    fn a_step_can_be_asked_for_in_any_order() {
        for last_batch in [LastBatch::Wrap, LastBatch::Drop, LastBatch::Keep] {
            let expected = batches(shuffled(last_batch, 11, 4, 9), 40);
            let mut sampler = shuffled(last_batch, 11, 4, 9);
            for step in (0..40).rev().chain([17, 3, 39]) {
                assert_eq!(batch(&mut sampler, step), expected[step as usize]);
            }
        }
    }

    #[test]
    fn the_last_of_all_steps_has_a_batch() {
        for last_batch in [LastBatch::Wrap, LastBatch::Drop, LastBatch::Keep] {
            let (samples, _) = batch(&mut shuffled(last_batch, 3, 2, 1), u64::MAX);
            assert!(!samples.is_empty() && samples.iter().all(|&index| index < 3));
        }
    }

    /// A schedule that changes once an epoch does so with the first batch that begins in it, whatever becomes of the
    /// rest of the one before.
    #[test]
    fn a_batch_begins_in_the_epoch_that_schedules_count() {
        for last_batch in [LastBatch::Wrap, LastBatch::Drop, LastBatch::Keep] {
            for (train_count, batch_size) in [(50, 8), (97, 7), (101, 100), (64, 64), (17, 3), (12, 5), (1000, 999)] {
                let epochs = Ticks::from(last_batch.iterations_per_epoch(train_count, batch_size));
                let mut sampler = shuffled(last_batch, train_count, batch_size, 1);
                for step in 0..300 {
                    let (_, seen) = batch(&mut sampler, step);
                    let what = format!("{train_count} images in batches of {batch_size}, {last_batch:?}, step {step}");
                    assert_eq!(u64::from(seen[0]), epochs.count(step), "{what}");
                }
            }
        }
    }

    /// The sequence is part of every result: these numbers must never change.
    #[test]
    fn the_shuffle_is_what_it_was() {
        let expected =
            [(vec![2, 0, 3, 1, 5, 6, 7, 4, 9, 8], vec![0; 10]), (vec![2, 7, 4, 6, 3, 9, 0, 8, 1, 5], vec![1; 10])];
        assert_eq!(batches(shuffled(LastBatch::Drop, 10, 10, 1), 2), expected);
    }

    #[track_caller]
    fn check_error(order: Order, last_batch: LastBatch, train_count: u64, batch_size: u32, expected: SamplerError) {
        let stored: Arc<[u32]> = [1, 0].into();
        let found = Sampler::new(order, last_batch, train_count, Some(stored), batch_size, 0);
        assert_eq!(found.unwrap_err(), expected);
    }

    #[test]
    fn impossible_batches_are_refused() {
        use SamplerError::*;
        check_error(Order::Shuffled, LastBatch::Wrap, 0, 1, TrainCount(0));
        check_error(Order::Shuffled, LastBatch::Wrap, 1 << 32, 1, TrainCount(1 << 32));
        check_error(Order::Shuffled, LastBatch::Wrap, 1, 0, BatchSize);
        check_error(Order::Shuffled, LastBatch::Drop, 3, 4, NoWholeBatch { batch_size: 4, train_count: 3 });
        check_error(Order::Stored, LastBatch::Wrap, 3, 1, Stored { found: 2, train_count: 3 });
    }
}
