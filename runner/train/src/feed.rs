//! A dataset as the trials of a group see it: splits, transform and the order of samples.

use std::sync::Arc;

use clr_dataset::order::{Sampler, SamplerError};
use clr_dataset::transforms::{Transform, statistics};
use clr_dataset::{Dataset, Samples};
use clr_plan::DataPlan;
use clr_spec::Order;

/// A dataset as sessions borrow it, and the sizes that samplers need.
#[derive(Debug)]
pub struct Feed {
    /// As the plugin sees it.
    pub data: Arc<clr_host::Data>,
    /// Training images held out.
    pub validation_count: u64,
    /// Test images that are evaluated on.
    pub test_count: u64,
    stored: Arc<[u32]>,
    pub(super) plan: DataPlan,
}

impl Feed {
    /// Takes the validation split off the training images and computes the transform from those that remain.
    ///
    /// # Errors
    ///
    /// Where no batch could be made of the training images.
    pub fn new(dataset: &Dataset, plan: &DataPlan) -> Result<Feed, SamplerError> {
        let all = dataset.train.count();
        let train_count = (plan.train_count as usize).min(all);
        let train = dataset.train.slice(0..train_count);
        let validation = dataset.train.slice(train_count..all);
        let transform = Transform::new(plan.normalize, plan.scale, &statistics(dataset, train_count));
        let stored = train.stored.clone();
        let data = clr_host::Data {
            height: dataset.height,
            width: dataset.width,
            channels: dataset.channels,
            class_count: dataset.class_count,
            splits: [split(&train), split(&validation), split(&dataset.test)],
            transform: clr_host::Transform {
                mean: transform.mean,
                scale: transform.scale,
                pad: plan.pad,
                crop: (plan.input_size > 0).then_some([plan.input_size; 2]),
                flip: plan.flip,
                min_area: plan.min_area as f32,
                lighting: plan.lighting as f32,
            },
            loader: None,
        };
        let feed = Feed {
            data: Arc::new(data),
            validation_count: validation.count() as u64,
            test_count: plan.test_count.unwrap_or(u64::MAX).min(dataset.test.count() as u64),
            stored,
            plan: plan.clone(),
        };
        feed.try_sampler(0)?;
        Ok(feed)
    }

    /// The batches of a data seed.
    pub fn sampler(&self, data_seed: u64) -> Sampler {
        self.try_sampler(data_seed).expect("whether there can be batches does not depend on the seed")
    }

    fn try_sampler(&self, data_seed: u64) -> Result<Sampler, SamplerError> {
        let stored = (self.plan.order == Order::Stored).then(|| self.stored.clone());
        let DataPlan { order, last_batch, train_count, .. } = self.plan;
        Sampler::new(order, last_batch, train_count, stored, self.plan.update_size(), data_seed)
    }
}

fn split(samples: &Samples) -> clr_host::SplitData {
    let images = clr_host::Images::new(Arc::new(samples.images.clone()), 0..samples.images.len());
    clr_host::SplitData { count: samples.count() as u64, images, labels: Some(samples.labels.clone()) }
}
