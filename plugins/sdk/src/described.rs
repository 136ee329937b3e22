//! A description as the host reads it: arrays that live as long as the process.
#![allow(unsafe_code)]

use crate::{Description, Error, Model};

/// A plugin's description and its form in C, whose pointers point into the description and into leaked arrays.
#[derive(Debug)]
pub struct Described {
    description: Description,
    table: Table,
}

#[derive(Clone, Copy, Debug)]
struct Table(clr_abi::Plugin);

// SAFETY: what the pointers point to is never written after it was made, and never freed.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

impl Described {
    /// Lays the description out. Leaks the arrays: once for each plugin of a process.
    pub fn new(description: Description) -> Described {
        let description_ref: &'static Description = Box::leak(Box::new(description.clone()));
        let models = description_ref.models.iter().map(|model| clr_abi::Model {
            struct_size: size_of::<clr_abi::Model>(),
            name: clr_abi::Str::new(model.name),
            options_schema: clr_abi::Str::new(&model.options_schema),
            defaults: clr_abi::Str::new(&model.defaults),
            hypers: leak(model.hypers.iter().map(|name| clr_abi::Str::new(name))),
            hyper_count: model.hypers.len() as u32,
            metric_count: model.metrics.len() as u32,
            metrics: leak(model.metrics.iter().map(|name| clr_abi::Str::new(name))),
        });
        let optimizers = description_ref.optimizers.iter().map(|optimizer| clr_abi::Optimizer {
            struct_size: size_of::<clr_abi::Optimizer>(),
            name: clr_abi::Str::new(optimizer.name),
            options_schema: clr_abi::Str::new(&optimizer.options_schema),
            hypers: leak(optimizer.hypers.iter().map(|name| clr_abi::Str::new(name))),
            hyper_count: optimizer.hypers.len() as u32,
        });
        let table = Table(clr_abi::Plugin {
            struct_size: size_of::<clr_abi::Plugin>(),
            name: clr_abi::Str::new(description_ref.name),
            version: clr_abi::Str::new(description_ref.version),
            models: leak(models),
            optimizers: leak(optimizers),
            devices: leak(description_ref.devices.iter().map(|name| clr_abi::Str::new(name))),
            model_count: description_ref.models.len() as u32,
            optimizer_count: description_ref.optimizers.len() as u32,
            device_count: description_ref.devices.len() as u32,
            numerics_revision: description_ref.numerics_revision,
        });
        Described { description, table }
    }

    pub(crate) fn table(&self) -> clr_abi::Plugin {
        self.table.0
    }

    pub(crate) fn model(&self, name: &str) -> Result<&Model, Error> {
        self.description.models.iter().find(|model| model.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.description.models.iter().map(|model| model.name).collect();
            Error::invalid(format!("unknown model `{name}`; there is {}", names.join(", ")))
        })
    }

    /// That a lane's options are a JSON object which names one of the optimizers.
    pub(crate) fn check_lane(&self, options: &str) -> Result<(), Error> {
        let options: serde_json::Map<String, serde_json::Value> = crate::parse_options(options, "lane options")?;
        let Some(name) = options.get("optimizer").and_then(serde_json::Value::as_str) else {
            return Err(Error::invalid("lane options: no string `optimizer`"));
        };
        if self.description.optimizers.iter().any(|optimizer| optimizer.name == name) {
            return Ok(());
        }
        let names: Vec<&str> = self.description.optimizers.iter().map(|optimizer| optimizer.name).collect();
        Err(Error::invalid(format!("unknown optimizer `{name}`; there is {}", names.join(", "))))
    }
}

fn leak<T>(items: impl Iterator<Item = T>) -> *const T {
    Box::leak(items.collect::<Box<[T]>>()).as_ptr()
}
