//! Reads what a plugin says of itself.
#![allow(unsafe_code)]

/// The part of a description that the checks need.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Offer {
    pub(crate) name: String,
    pub(crate) models: Vec<OfferedModel>,
    pub(crate) optimizers: Vec<OfferedOptimizer>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OfferedModel {
    pub(crate) name: String,
    /// True if its options have `accumulate`.
    pub(crate) accumulates: bool,
    /// Options that it can be made with, as its schema says: none, unless some are required.
    pub(crate) example: serde_json::Map<String, serde_json::Value>,
    pub(crate) defaults: serde_json::Map<String, serde_json::Value>,
    pub(crate) hypers: Vec<String>,
    pub(crate) metrics: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OfferedOptimizer {
    pub(crate) name: String,
    /// True if its options have `groups`.
    pub(crate) takes_groups: bool,
    /// As of a model.
    pub(crate) example: serde_json::Map<String, serde_json::Value>,
    pub(crate) hypers: Vec<String>,
}

/// # Safety
/// Pointers that are not null point to what the header says; so for the functions below.
pub(crate) unsafe fn read_offer(plugin: &clr_abi::Plugin) -> Result<Offer, String> {
    // SAFETY: the caller's, throughout.
    unsafe {
        let mut models = Vec::new();
        for model in read_array(plugin.models, plugin.model_count, "models")? {
            let name = read_name(model.name, "a model's name")?;
            let schema = read_object(model.options_schema, &format!("model {name}: options_schema"))?;
            models.push(OfferedModel {
                accumulates: has_property(&schema, "accumulate"),
                example: example(&schema),
                defaults: read_object(model.defaults, &format!("model {name}: defaults"))?,
                hypers: read_names(model.hypers, model.hyper_count, &format!("model {name}: hypers"))?,
                metrics: read_names(model.metrics, model.metric_count, &format!("model {name}: metrics"))?,
                name,
            });
        }
        let mut optimizers = Vec::new();
        for optimizer in read_array(plugin.optimizers, plugin.optimizer_count, "optimizers")? {
            let name = read_name(optimizer.name, "an optimizer's name")?;
            let schema = read_object(optimizer.options_schema, &format!("optimizer {name}: options_schema"))?;
            let hypers = read_names(optimizer.hypers, optimizer.hyper_count, &format!("optimizer {name}: hypers"))?;
            optimizers.push(OfferedOptimizer {
                takes_groups: has_property(&schema, "groups"),
                example: example(&schema),
                name,
                hypers,
            });
        }
        let name = read_name(plugin.name, "the plugin's name")?;
        read_name(plugin.version, "the plugin's version")?;
        if read_names(plugin.devices, plugin.device_count, "devices")?.is_empty() {
            return Err("there are no devices".to_owned());
        }
        let offer = Offer { name, models, optimizers };
        offer.check()?;
        Ok(offer)
    }
}

fn has_property(schema: &serde_json::Map<String, serde_json::Value>, name: &str) -> bool {
    schema.get("properties").is_some_and(|properties| properties.get(name).is_some())
}

/// The first of JSON Schema's `examples`.
fn example(schema: &serde_json::Map<String, serde_json::Value>) -> serde_json::Map<String, serde_json::Value> {
    let first = schema.get("examples").and_then(|examples| examples.get(0)?.as_object());
    first.cloned().unwrap_or_default()
}

impl Offer {
    fn check(&self) -> Result<(), String> {
        if self.models.is_empty() || self.optimizers.is_empty() {
            return Err("there are no models or no optimizers".to_owned());
        }
        unique(self.models.iter().map(|model| &model.name), "models")?;
        unique(self.optimizers.iter().map(|optimizer| &optimizer.name), "optimizers")?;
        for model in &self.models {
            for metric in ["loss", "accuracy"] {
                if !model.metrics.iter().any(|name| name == metric) {
                    return Err(format!("model {} has no metric {metric}", model.name));
                }
            }
            for optimizer in &self.optimizers {
                if let Some(hyper) = optimizer.hypers.iter().find(|hyper| !model.hypers.contains(hyper)) {
                    return Err(format!("optimizer {} reads {hyper}, not a hyper of {}", optimizer.name, model.name));
                }
            }
        }
        Ok(())
    }
}

fn unique<'a>(names: impl Iterator<Item = &'a String>, what: &str) -> Result<(), String> {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(format!("{what}: {name} is there twice"));
        }
    }
    Ok(())
}

pub(crate) unsafe fn read_text(text: clr_abi::Str, what: &str) -> Result<String, String> {
    if text.size == 0 {
        return Ok(String::new());
    }
    if text.data.is_null() {
        return Err(format!("{what} is null"));
    }
    // SAFETY: the caller's.
    let bytes = unsafe { std::slice::from_raw_parts(text.data.cast::<u8>(), text.size) };
    String::from_utf8(bytes.to_vec()).map_err(|_| format!("{what} is not UTF-8"))
}

unsafe fn read_name(text: clr_abi::Str, what: &str) -> Result<String, String> {
    // SAFETY: the caller's.
    let name = unsafe { read_text(text, what) }?;
    if name.is_empty() { Err(format!("{what} is empty")) } else { Ok(name) }
}

unsafe fn read_names(pointer: *const clr_abi::Str, count: u32, what: &str) -> Result<Vec<String>, String> {
    if count > 0 && pointer.is_null() {
        return Err(format!("{what} is null"));
    }
    // SAFETY: the caller's.
    let names: Vec<String> = (0..count as usize)
        .map(|index| unsafe { read_name(pointer.add(index).read(), what) })
        .collect::<Result<_, _>>()?;
    unique(names.iter(), what)?;
    Ok(names)
}

unsafe fn read_object(text: clr_abi::Str, what: &str) -> Result<serde_json::Map<String, serde_json::Value>, String> {
    // SAFETY: the caller's.
    let text = unsafe { read_text(text, what) }?;
    serde_json::from_str(&text).map_err(|error| format!("{what} is not a JSON object: {error}"))
}

pub(crate) unsafe fn read_array<T: Copy>(pointer: *const T, count: u32, what: &str) -> Result<Vec<T>, String> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(format!("{what} is null or not aligned"));
    }
    // SAFETY: the caller's; the first field is the size.
    let stride = unsafe { pointer.cast::<usize>().read() };
    if stride < size_of::<T>() || !stride.is_multiple_of(align_of::<T>()) {
        return Err(format!("{what} has a struct_size of {stride}, expected at least {}", size_of::<T>()));
    }
    // SAFETY: the caller's.
    Ok((0..count as usize).map(|index| unsafe { pointer.byte_add(index * stride).read() }).collect())
}
