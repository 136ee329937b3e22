//! What training needs besides the plan: plugins, and data as they take it.

use std::collections::BTreeMap;

use clr_dataset::Dataset;
use clr_dataset::order::SamplerError;
use clr_host::{Footprint, HostError, Lane, SessionConfig};
use clr_plan::{Plan, Shape, Trial};
use clr_spec::DatasetQuery;
use clr_worker::Known;

use super::feed::Feed;
use super::layout::Layout;

/// The plugins and datasets of a plan's trials.
pub struct Resources {
    plugins: BTreeMap<String, Known>,
    /// One for each distinct way in which a dataset is fed.
    feeds: Vec<Feed>,
}

impl Resources {
    /// Prepares the data of every group.
    ///
    /// # Errors
    ///
    /// Where no batch could be made of a group's training images.
    ///
    /// # Panics
    ///
    /// If the plan was made from other plugins or datasets than these.
    pub fn new(
        plan: &Plan,
        plugins: BTreeMap<String, Known>,
        datasets: &BTreeMap<DatasetQuery, Dataset>,
    ) -> Result<Resources, SamplerError> {
        let mut feeds: Vec<Feed> = Vec::new();
        for group in &plan.groups {
            let data = &group.shape.data;
            if !feeds.iter().any(|feed| feed.plan == *data) {
                feeds.push(Feed::new(&datasets[&data.dataset], data)?);
            }
        }
        Ok(Resources { plugins, feeds })
    }

    /// The plugins in use, by the name in the spec.
    pub fn plugins(&self) -> &BTreeMap<String, Known> {
        &self.plugins
    }

    /// The plugin of a group's shape.
    pub fn plugin(&self, shape: &Shape) -> &Known {
        &self.plugins[&shape.plugin]
    }

    /// The data of a group's shape.
    pub fn feed(&self, shape: &Shape) -> &Feed {
        let found = self.feeds.iter().find(|feed| feed.plan == shape.data);
        found.expect("a feed was made for every group of the plan")
    }

    /// The memory and threads that a session with one lane takes, of each group of the plan.
    ///
    /// # Errors
    ///
    /// A plugin's objection to the configuration: an image size that its pooling does not allow, say. How it died.
    pub fn footprints(&self, plan: &Plan, layout: &Layout) -> Result<Vec<Footprint>, HostError> {
        let mut footprints = vec![None; plan.groups.len()];
        for (name, plugin) in &self.plugins {
            let is_its = |&index: &usize| plan.groups[index].shape.plugin == *name;
            let groups: Vec<usize> = (0..plan.groups.len()).filter(is_its).collect();
            let config = |&index: &usize| {
                self.session_config(plan, &one_of_each_optimizer(plan, index), layout, &layout.devices[0])
            };
            let configs: Vec<SessionConfig> = groups.iter().map(config).collect();
            for (group, footprint) in groups.into_iter().zip(plugin.footprints(&configs)?) {
                footprints[group] = Some(footprint);
            }
        }
        Ok(footprints.into_iter().map(|footprint| footprint.expect("each group has a plugin")).collect())
    }

    /// The configuration of a session on one of the layout's devices, whose lanes hold `trials`, which are of one group.
    pub fn session_config(&self, plan: &Plan, trials: &[usize], layout: &Layout, device: &str) -> SessionConfig {
        let shape = &plan.trials[trials[0]].shape;
        SessionConfig {
            device: device.to_owned(),
            model: shape.architecture.clone(),
            model_json: shape.model_json.clone(),
            dataset: self.feed(shape).data.clone(),
            batch_size: shape.data.update_size(),
            thread_count: layout.threads_per_session,
            lanes: trials.iter().map(|&trial| lane(&plan.trials[trial])).collect(),
        }
    }
}

/// A trial for each kind of optimizer in a group: what a lane takes may depend on it.
fn one_of_each_optimizer(plan: &Plan, group: usize) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    for &trial in &plan.groups[group].trials {
        let kind = &plan.trials[trial].optimizer.kind;
        if !found.iter().any(|&other| plan.trials[other].optimizer.kind == *kind) {
            found.push(trial);
        }
    }
    found
}

/// A trial as the plugin sees it.
pub fn lane(trial: &Trial) -> Lane {
    Lane { options_json: trial.optimizer.json.clone(), init_seed: trial.init_seed, data_seed: trial.data_seed }
}
