//! Evaluations of whole splits, cut into calls: a split may have any size, and no call takes as long as all of it.

use std::sync::atomic::AtomicBool;

use clr_host::{Completion, Data, HostError, Session, Split};

/// Bytes of the images of a call. A split of CIFAR, MNIST or Tiny ImageNet is one call, whose metrics are the plugin's own;
/// of a larger one they are the means of its calls. How a split is cut depends on nothing else, so neither do its metrics.
const BYTES_PER_CALL: u64 = 256 << 20;

/// Measures the active lanes on the first `count` samples of a split. `metrics` is as [`Session::evaluate`] has it.
pub fn evaluate(
    session: &mut dyn Session,
    data: &Data,
    (split, count): (Split, u64),
    active: &[bool],
    metrics: &mut [f32],
    cancel: &AtomicBool,
) -> Result<Completion, HostError> {
    let image_bytes = u64::from(data.height) * u64::from(data.width) * u64::from(data.channels);
    let per_call = (BYTES_PER_CALL / image_bytes.max(1)).max(1);
    if count <= per_call {
        return session.evaluate(split, 0, count, active, metrics, cancel);
    }
    let mut sums = vec![0.0; metrics.len()];
    let mut first = 0;
    while first < count {
        let now = per_call.min(count - first);
        if session.evaluate(split, first, now, active, metrics, cancel)? == Completion::Cancelled {
            metrics.fill(f32::NAN);
            return Ok(Completion::Cancelled);
        }
        for (sum, mean) in sums.iter_mut().zip(metrics.iter()) {
            *sum += f64::from(*mean) * now as f64;
        }
        first += now;
    }
    for (metric, sum) in metrics.iter_mut().zip(sums) {
        *metric = (sum / count as f64) as f32;
    }
    Ok(Completion::Complete)
}

#[cfg(test)]
mod tests {
    use clr_host::{CallSizes, Lane, SplitData, StepCall, TensorInfo, Transform};

    use super::*;

    /// The metric of an image is its number, in the first lane; it knows which calls there were.
    #[derive(Debug, Default)]
    struct Counting {
        calls: Vec<(u64, u64)>,
        cancelled_at: Option<usize>,
    }

    impl Session for Counting {
        fn sizes(&self) -> CallSizes {
            unreachable!("it is not asked for")
        }

        fn step(
            &mut self,
            _: &StepCall<'_>,
            _: &mut [u32],
            _: &mut [f32],
            _: &AtomicBool,
        ) -> Result<Completion, HostError> {
            unreachable!("it does not train")
        }

        fn evaluate(
            &mut self,
            _: Split,
            first: u64,
            count: u64,
            _: &[bool],
            metrics: &mut [f32],
            _: &AtomicBool,
        ) -> Result<Completion, HostError> {
            self.calls.push((first, count));
            if self.cancelled_at == Some(self.calls.len()) {
                return Ok(Completion::Cancelled);
            }
            let numbers = first..first + count;
            metrics[0] = (numbers.sum::<u64>() as f64 / count as f64) as f32;
            metrics[1] = f32::NAN;
            Ok(Completion::Complete)
        }

        fn reset_lane(&mut self, _: usize, _: &Lane) -> Result<(), HostError> {
            unreachable!("it has one trial")
        }

        fn tensors(&mut self, _: usize) -> Result<&[TensorInfo], HostError> {
            unreachable!("it has no state")
        }

        fn save(&mut self, _: usize, _: usize, _: &mut [f32]) -> Result<(), HostError> {
            unreachable!("it has no state")
        }

        fn load(&mut self, _: usize, _: usize, _: &[f32]) -> Result<(), HostError> {
            unreachable!("it has no state")
        }
    }

    fn run(side: u32, count: u64, mut session: Counting) -> (Completion, [f32; 2], Vec<(u64, u64)>) {
        let splits = [(); 3].map(|()| SplitData { count, ..SplitData::default() });
        let transform = Transform::default();
        let data = Data { height: side, width: side, channels: 3, class_count: 2, splits, transform, loader: None };
        let mut metrics = [0.0; 2];
        let cancel = AtomicBool::new(false);
        let done = evaluate(&mut session, &data, (Split::Test, count), &[true, false], &mut metrics, &cancel).unwrap();
        (done, metrics, session.calls)
    }

    #[test]
    fn splits_of_small_images_are_one_call() {
        assert_eq!(run(32, 50_000, Counting::default()).2, [(0, 50_000)]);
        assert_eq!(run(64, 10_000, Counting::default()).2, [(0, 10_000)]);
    }

    #[test]
    fn the_validation_set_of_imagenet_is_cut_into_calls_whose_means_make_its_own() {
        let (done, metrics, calls) = run(224, 50_000, Counting::default());
        assert_eq!((done, calls.len()), (Completion::Complete, 29));
        let ends: Vec<u64> = calls.iter().map(|(first, count)| first + count).collect();
        let begins: Vec<u64> = calls.iter().map(|(first, _)| *first).collect();
        assert_eq!((begins[0], &begins[1..], ends[28]), (0, &ends[..28], 50_000));
        // The mean of 0 to 49,999; a lane that is left out stays so.
        assert_eq!(metrics[0], 24_999.5);
        assert!(metrics[1].is_nan());
    }

    #[test]
    fn an_evaluation_that_is_cancelled_between_its_calls_has_no_metrics() {
        let session = Counting { cancelled_at: Some(3), ..Counting::default() };
        let (done, metrics, calls) = run(224, 50_000, session);
        assert_eq!((done, calls.len()), (Completion::Cancelled, 3));
        assert!(metrics.iter().all(|metric| metric.is_nan()));
    }
}
