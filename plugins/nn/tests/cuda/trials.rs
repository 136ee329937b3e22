//! The trials of the tests: trials on random images, a few steps of some of them at a time.

use clr_nn::NetworkSession;
use clr_nn::sdk::{
    Dataset, Error, Evaluate, Footprint, Lane, Loader, Session, SessionConfig, Split, SplitData, StepTable,
    StepTableParts, Transform,
};

use crate::networks::Tiny;

/// Samples of a full batch.
pub const BATCH: usize = 4;
/// Images of the train split: the last batch of an epoch has 2.
pub const TRAIN: usize = 22;
/// And of the test split: the last batch of an evaluation has 3.
pub const TEST: usize = 11;
const CLASSES: usize = 5;
const STORED: [usize; 3] = [8, 9, 3];

#[derive(Debug)]
pub struct Images {
    bytes: [Vec<u8>; 2],
    labels: [Vec<i32>; 2],
}

/// An optimizer, its policy of learning rates, and what keys all that is random.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    pub optimizer: &'static str,
    pub base_lr: f32,
    pub max_lr: f32,
    pub init_seed: u64,
    pub data_seed: u64,
}

/// Trials with optimizers of every form, and policies of their own.
pub const TRIALS: [Trial; 3] = [
    Trial { optimizer: r#"{"optimizer": "sgd"}"#, base_lr: 0.002, max_lr: 0.02, init_seed: 11, data_seed: 21 },
    Trial {
        optimizer: r#"{"optimizer": "adam", "form": "torch"}"#,
        base_lr: 0.0005,
        max_lr: 0.002,
        init_seed: 12,
        data_seed: 22,
    },
    Trial {
        optimizer: r#"{"optimizer": "nesterov", "clip_gradients": 1.5}"#,
        base_lr: 0.01,
        max_lr: 0.01,
        init_seed: 13,
        data_seed: 23,
    },
];

impl Images {
    pub fn new() -> Images {
        let bytes = |count: usize, seed: usize| {
            let len = count * STORED.iter().product::<usize>();
            (0..len).map(|index| ((index + seed) * 7919 % 251) as u8).collect()
        };
        let labels = |count: usize| (0..count).map(|sample| (sample * 3 % CLASSES) as i32).collect();
        Images { bytes: [bytes(TRAIN, 1), bytes(TEST, 77)], labels: [labels(TRAIN), labels(TEST)] }
    }

    /// In memory: padded, cropped and flipped at random.
    pub fn dataset(&self) -> Dataset<'_> {
        let split = |index: usize, count| SplitData {
            count,
            images: Some(&self.bytes[index]),
            labels: Some(&self.labels[index]),
        };
        self.dataset_of([split(0, TRAIN), SplitData::default(), split(1, TEST)], None)
    }

    /// The same, from a loader.
    pub fn streamed(&self) -> Dataset<'_> {
        let split = |count| SplitData { count, images: None, labels: None };
        self.dataset_of([split(TRAIN), SplitData::default(), split(TEST)], Some(self))
    }

    fn dataset_of<'a>(&'a self, splits: [SplitData<'a>; 3], loader: Option<&'a dyn Loader>) -> Dataset<'a> {
        let transform = Transform {
            mean: &[120.0, 128.0, 136.0],
            scale: &[1.0 / 64.0],
            pad: 1,
            crop: Some([8, 8]),
            flip: true,
            ..Transform::default()
        };
        Dataset::new(STORED, CLASSES, splits, transform, loader).unwrap()
    }
}

impl Loader for Images {
    fn load(
        &self,
        split: Split,
        samples: &[u32],
        _augment: Option<clr_nn::sdk::Augment<'_>>,
        images: &mut [u8],
        labels: &mut [i32],
    ) -> Result<(), Error> {
        let index = usize::from(split == Split::Test);
        let len = STORED.iter().product::<usize>();
        for ((&sample, image), label) in samples.iter().zip(images.chunks_exact_mut(len)).zip(labels) {
            image.copy_from_slice(&self.bytes[index][sample as usize * len..][..len]);
            *label = self.labels[index][sample as usize];
        }
        Ok(())
    }
}

/// The configuration of a session.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    pub device: &'a str,
    pub model: &'a str,
    pub options: &'a str,
    pub dataset: &'a Dataset<'a>,
}

impl<'a> Setup<'a> {
    /// On the emulated GPU, in float32.
    pub fn new(model: &'a str, dataset: &'a Dataset<'a>) -> Setup<'a> {
        Setup { device: "cuda:0", model, options: "{}", dataset }
    }

    fn with_config<T>(self, trials: &[Trial], work: impl FnOnce(&SessionConfig<'_>) -> T) -> T {
        let Setup { device, model, options, dataset } = self;
        let lanes = trials.iter().map(Trial::lane).collect();
        work(&SessionConfig { device, model, options, dataset, batch_size: BATCH, thread_count: 1, lanes })
    }

    pub fn footprint(self, trials: &[Trial]) -> Result<Footprint, Error> {
        self.with_config(trials, clr_nn::footprint::<Tiny>)
    }

    pub fn start(self, trials: &[Trial]) -> Result<Run<'a>, Error> {
        let session = self.with_config(trials, clr_nn::session::<Tiny>)?;
        let lanes = trials.iter().map(|&trial| Progress { trial, step: 0, rows: Vec::new() }).collect();
        Ok(Run { session, dataset: self.dataset, lanes })
    }
}

/// A session, and what its lanes have measured.
#[derive(Debug)]
pub struct Run<'a> {
    pub session: NetworkSession,
    dataset: &'a Dataset<'a>,
    pub lanes: Vec<Progress>,
}

#[derive(Debug)]
pub struct Progress {
    pub trial: Trial,
    pub step: u64,
    /// Loss, accuracy and the gradient's norm.
    pub rows: Vec<[f32; 3]>,
}

impl Trial {
    fn lane(&self) -> Lane<'static> {
        Lane { options: self.optimizer, init_seed: self.init_seed, data_seed: self.data_seed }
    }

    /// Samples and epochs of a batch: the last one of an epoch is small.
    fn batch(&self, step: u64) -> Vec<(u32, u32)> {
        let batches = TRAIN.div_ceil(BATCH) as u64;
        let (epoch, first) = ((step / batches) as usize, (step % batches) as usize * BATCH);
        let places = first..TRAIN.min(first + BATCH);
        // 7 has no divisor in common with the number of images.
        let sample = |place: usize| ((7 * place + epoch + self.data_seed as usize) % TRAIN) as u32;
        places.map(|place| (sample(place), epoch as u32)).collect()
    }

    fn hypers(&self, step: u64) -> [f32; 5] {
        let share = (step % 8) as f32 / 4.0;
        let share = if share > 1.0 { 2.0 - share } else { share };
        [self.base_lr + share * (self.max_lr - self.base_lr), 0.9, 0.004, 0.9, 0.99]
    }
}

impl Run<'_> {
    /// Trains each lane for so many steps, in one call. Where all lanes see the same samples, the table has them once.
    pub fn advance(&mut self, lane_steps: &[u32]) -> Result<(), Error> {
        let lane_count = self.lanes.len();
        let step_count = lane_steps.iter().copied().max().unwrap_or(0) as usize;
        let seed = self.lanes[0].trial.data_seed;
        let share = self.lanes.iter().all(|lane| lane.trial.data_seed == seed && lane.step == self.lanes[0].step);
        let sample_lane_count = if share { 1 } else { lane_count };
        let (mut sample_counts, mut samples, mut epochs, mut hypers) = (vec![], vec![], vec![], vec![]);
        for step in 0..step_count as u64 {
            for lane in &self.lanes {
                hypers.extend(lane.trial.hypers(lane.step + step));
            }
            for lane in &self.lanes[..sample_lane_count] {
                let batch = lane.trial.batch(lane.step + step);
                sample_counts.push(batch.len() as u32);
                // What lies beyond a batch means nothing.
                let padded = batch.iter().copied().chain(std::iter::repeat((u32::MAX, 9))).take(BATCH);
                samples.extend(padded.clone().map(|(sample, _)| sample));
                epochs.extend(padded.map(|(_, epoch)| epoch));
            }
        }
        let first_steps: Vec<u64> = self.lanes.iter().map(|lane| lane.step).collect();
        let mut steps_done = vec![0; lane_count];
        let mut metrics = vec![0.0; step_count * lane_count * 3];
        let mut table = StepTable::new(StepTableParts {
            dataset: self.dataset,
            step_count,
            lane_count,
            batch_size: BATCH,
            hyper_count: 5,
            metric_count: 3,
            first_steps: &first_steps,
            lane_steps,
            sample_lane_count,
            sample_counts: &sample_counts,
            samples: &samples,
            epochs: &epochs,
            hypers: &hypers,
            cancel: None,
            steps_done: &mut steps_done,
            metrics: &mut metrics,
        })?;
        self.session.step(&mut table)?;
        assert_eq!(steps_done, lane_steps);
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let rows = metrics.as_chunks::<3>().0.iter().skip(index).step_by(lane_count);
            lane.rows.extend(rows.take(lane_steps[index] as usize));
            lane.step += u64::from(lane_steps[index]);
        }
        Ok(())
    }

    /// Loss and accuracy of each lane on the test split.
    pub fn evaluate(&mut self) -> Vec<[f32; 3]> {
        let (active, mut metrics) = (vec![true; self.lanes.len()], vec![0.0; 3 * self.lanes.len()]);
        let mut evaluate = Evaluate::new(self.dataset, Split::Test, 0..TEST, &active, None, &mut metrics).unwrap();
        self.session.evaluate(&mut evaluate).unwrap();
        metrics.as_chunks::<3>().0.to_vec()
    }

    /// Starts another trial in a lane.
    pub fn reset(&mut self, lane: usize, trial: Trial) -> Result<(), Error> {
        self.session.reset_lane(lane, &trial.lane(), self.dataset)?;
        self.lanes[lane] = Progress { trial, step: 0, rows: Vec::new() };
        Ok(())
    }

    /// The values of a lane's tensors.
    pub fn save(&mut self, lane: usize) -> Vec<Vec<f32>> {
        let tensors = self.session.tensors(lane);
        let mut save = |(index, len)| {
            let mut values = vec![0.0; len];
            self.session.save(lane, index, &mut values).unwrap();
            values
        };
        tensors.iter().map(clr_nn::sdk::Tensor::element_count).enumerate().map(&mut save).collect()
    }

    /// Puts a lane where another was after `step` steps.
    pub fn load(&mut self, lane: usize, step: u64, tensors: &[Vec<f32>]) {
        for (index, values) in tensors.iter().enumerate() {
            self.session.load(lane, index, values).unwrap();
        }
        self.lanes[lane].step = step;
    }
}
