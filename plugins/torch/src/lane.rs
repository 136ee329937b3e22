//! One trial: its process, the memory that it shares with this one, and what it is asked.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use clr_plugin::{Augment, Dataset, Error, Role, SessionConfig, Split, Status, Tensor};
use serde_json::{Value, json};

use crate::channel::{self, Answer, Failure, Silence};
use crate::options::{HYPERS, LaneOptions, ModelOptions};
use crate::python::{Process, Python};

/// What all lanes of a session have in common.
#[derive(Clone, Debug)]
pub struct Setting {
    python: Arc<Python>,
    /// For Python: everything but the lane.
    message: Value,
    batch_size: usize,
    /// Height, width and channels of an image.
    shape: [usize; 3],
}

impl Setting {
    /// Reads a configuration and starts the Python that it asks for.
    pub fn new(config: &SessionConfig<'_>) -> Result<Setting, Error> {
        let is_gpu = config.device.strip_prefix("cuda:").is_some_and(|number| number.parse::<u32>().is_ok());
        if config.device != "cpu" && !is_gpu {
            return Err(Error::invalid(format!("unknown device `{}`: expected `cpu` or `cuda:0`", config.device)));
        }
        let options = ModelOptions::parse(config.model, config.options, config.batch_size)?;
        let shape = config.dataset.input_shape();
        let [height, width, channels] = shape;
        let message = json!({
            "device": config.device,
            "model": config.model,
            "options": options,
            "class_count": config.dataset.class_count(),
            "image_shape": [channels, height, width],
            "batch_size": config.batch_size,
            "labels_at": labels_at(config.batch_size, shape),
        });
        let python = Python::of(&crate::python::interpreter(options.python.as_deref()))?;
        Ok(Setting { python, message, batch_size: config.batch_size, shape })
    }

    /// What a session with these lanes would take, or what is wrong with one of them.
    pub fn probe(&self, lanes: &[LaneOptions]) -> Result<Value, Error> {
        let mut message = self.message.clone();
        message["ask"] = json!("probe");
        message["lanes"] = json!(lanes);
        let mut process = self.python.copy(&memory(0)?)?;
        match channel::ask(&mut process.channel, &message, &[]) {
            Ok(answer) => Ok(answer.message),
            Err(silence) => Err(error_of(silence, &mut process)),
        }
    }
}

/// Where in the memory of a batch its labels begin: after the images, at an address that any processor likes.
fn labels_at(batch_size: usize, shape: [usize; 3]) -> usize {
    (batch_size * shape.iter().product::<usize>() * size_of::<f32>()).next_multiple_of(64)
}

/// A lane of a session.
#[derive(Debug)]
pub struct LaneProcess {
    process: Process,
    /// A batch: images as [N, C, H, W], then labels.
    memory: File,
    setting: Setting,
    hypers: &'static [&'static str],
    data_seed: u64,
    pub tensors: Vec<Tensor>,
    /// A batch as the host's transform gives it, and as torch takes it.
    images: [Vec<f32>; 2],
    labels: Vec<i32>,
}

impl LaneProcess {
    /// Starts a trial at step 0.
    pub fn start(setting: &Setting, lane: &clr_plugin::Lane<'_>) -> Result<LaneProcess, Error> {
        let options = LaneOptions::parse(lane.options)?;
        let labels_at = labels_at(setting.batch_size, setting.shape);
        let memory = memory(labels_at + setting.batch_size * size_of::<i64>())?;
        let mut message = setting.message.clone();
        message["ask"] = json!("start");
        message["lane"] = json!(options);
        message["init_seed"] = json!(lane.init_seed);
        let mut process = setting.python.copy(&memory)?;
        let answer = channel::ask(&mut process.channel, &message, &[]);
        let answer = answer.map_err(|silence| error_of(silence, &mut process))?;
        let tensors: Vec<(String, String, Vec<usize>)> = serde_json::from_value(answer.message["tensors"].clone())
            .map_err(|error| Error::internal(format!("Python's list of tensors: {error}")))?;
        let role = |role: &str| match role {
            "weight" => Role::Weight,
            "buffer" => Role::Buffer,
            _ => Role::OptimizerState,
        };
        let tensors =
            tensors.into_iter().map(|(name, word, shape)| Tensor { name, role: role(&word), shape }).collect();
        Ok(LaneProcess {
            process,
            memory,
            setting: setting.clone(),
            hypers: options.hypers,
            data_seed: lane.data_seed,
            tensors,
            images: [Vec::new(), Vec::new()],
            labels: Vec::new(),
        })
    }

    /// An update on training samples. Returns the metrics.
    pub fn step(&mut self, row: clr_plugin::Row<'_>, dataset: &Dataset<'_>) -> Result<Vec<f32>, Error> {
        let augment = Augment { data_seed: self.data_seed, epochs: row.epochs };
        self.put_batch(dataset, Split::Train, row.samples, Some(augment))?;
        let read = HYPERS.iter().zip(row.hypers).filter(|(name, _)| self.hypers.contains(name));
        // The shortest decimal that is this float32: 0.9 for 0.9, as a spec and a loop written by hand have it.
        let hypers: serde_json::Map<String, Value> =
            read.map(|(name, value)| ((*name).to_owned(), json!(value.to_string()))).collect();
        let message = json!({"ask": "step", "step": row.step, "count": row.samples.len(), "hypers": hypers});
        let metrics = self.ask(&message, &[]).and_then(|answer| numbers(&answer))?;
        Ok(metrics.into_iter().map(|metric| metric as f32).collect())
    }

    /// The sum of the losses of samples, and how many of them are right.
    pub fn evaluate(&mut self, dataset: &Dataset<'_>, split: Split, samples: &[u32]) -> Result<[f64; 2], Error> {
        self.put_batch(dataset, split, samples, None)?;
        let message = json!({"ask": "evaluate", "first": samples[0], "count": samples.len()});
        let metrics = self.ask(&message, &[]).and_then(|answer| numbers(&answer))?;
        metrics.try_into().map_err(|_| Error::internal("Python's answer has other metrics than were asked for"))
    }

    /// Logits of samples.
    pub fn scores(&mut self, dataset: &Dataset<'_>, split: Split, samples: &[u32]) -> Result<Vec<f32>, Error> {
        self.put_batch(dataset, split, samples, None)?;
        let answer = self.ask(&json!({"ask": "scores", "first": samples[0], "count": samples.len()}), &[])?;
        let mut scores = vec![0.0; samples.len() * dataset.class_count()];
        fill(&mut scores, &answer.payload)?;
        Ok(scores)
    }

    /// Averages what normalisation remembers over training samples, a batch at a time.
    pub fn average_statistics(&mut self, dataset: &Dataset<'_>, samples: &[u32]) -> Result<(), Error> {
        let batches = samples.chunks(self.setting.batch_size);
        let last = batches.len().saturating_sub(1);
        for (index, batch) in batches.enumerate() {
            let augment = Augment { data_seed: self.data_seed, epochs: &vec![0; batch.len()] };
            self.put_batch(dataset, Split::Train, batch, Some(augment))?;
            let message =
                json!({"ask": "average_statistics", "first": index, "count": batch.len(), "is_last": index == last});
            self.ask(&message, &[])?;
        }
        Ok(())
    }

    pub fn save(&mut self, tensor: usize, values: &mut [f32]) -> Result<(), Error> {
        let answer = self.ask(&json!({"ask": "save", "tensor": tensor}), &[])?;
        fill(values, &answer.payload)
    }

    pub fn load(&mut self, tensor: usize, values: &[f32]) -> Result<(), Error> {
        self.ask(&json!({"ask": "load", "tensor": tensor}), bytemuck::cast_slice(values)).map(drop)
    }

    /// Writes a batch into the shared memory.
    fn put_batch(
        &mut self,
        dataset: &Dataset<'_>,
        split: Split,
        samples: &[u32],
        augment: Option<Augment<'_>>,
    ) -> Result<(), Error> {
        let [height, width, channels] = self.setting.shape;
        let (area, size) = (height * width, height * width * channels);
        let [interleaved, planar] = &mut self.images;
        for images in [&mut *interleaved, &mut *planar] {
            images.resize(samples.len() * size, 0.0);
        }
        self.labels.resize(samples.len(), 0);
        dataset.fill_batch(split, samples, augment, interleaved, &mut self.labels)?;
        for (image, planes) in interleaved.chunks_exact(size).zip(planar.chunks_exact_mut(size)) {
            for (channel, plane) in planes.chunks_exact_mut(area).enumerate() {
                for (value, pixel) in plane.iter_mut().zip(image.chunks_exact(channels)) {
                    *value = pixel[channel];
                }
            }
        }
        let labels: Vec<i64> = self.labels.iter().map(|&label| label.into()).collect();
        let labels_at = labels_at(self.setting.batch_size, self.setting.shape) as u64;
        let written = self.memory.write_all_at(bytemuck::cast_slice(planar), 0);
        let written = written.and_then(|()| self.memory.write_all_at(bytemuck::cast_slice(&labels), labels_at));
        written.map_err(|error| Error::out_of_memory(format!("the memory of a batch: {error}")))
    }

    fn ask(&mut self, message: &Value, payload: &[u8]) -> Result<Answer, Error> {
        channel::ask(&mut self.process.channel, message, payload)
            .map_err(|silence| error_of(silence, &mut self.process))
    }
}

/// Memory that two processes can share: a file that has no name.
fn memory(size: usize) -> Result<File, Error> {
    let failed = |error: std::io::Error| Error::out_of_memory(format!("the memory of a batch: {error}"));
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let file = rustix::fs::memfd_create("clr-torch batch", rustix::fs::MemfdFlags::CLOEXEC)
        .map(File::from)
        .map_err(|error| failed(error.into()))?;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let file = tempfile::tempfile().map_err(failed)?;
    file.set_len(size as u64).map_err(failed)?;
    Ok(file)
}

fn numbers(answer: &Answer) -> Result<Vec<f64>, Error> {
    let texts = answer.message["metrics"].as_array().map(Vec::as_slice).unwrap_or_default();
    let number = |text: &Value| text.as_str().and_then(|text| text.parse().ok());
    let numbers: Option<Vec<f64>> = texts.iter().map(number).collect();
    numbers.ok_or_else(|| Error::internal(format!("Python's metrics are {}", answer.message["metrics"])))
}

/// Copies float32 values out of an answer, bit by bit.
fn fill(values: &mut [f32], payload: &[u8]) -> Result<(), Error> {
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(values);
    if bytes.len() != payload.len() {
        let (found, expected) = (payload.len(), bytes.len());
        return Err(Error::internal(format!(
            "Python gives {found} bytes where there were {expected} at the start: tensors of a module, and its scores, keep their shapes"
        )));
    }
    bytes.copy_from_slice(payload);
    Ok(())
}

/// The error that stands for a missing answer.
fn error_of(silence: Silence, process: &mut Process) -> Error {
    match silence {
        Silence::Said(Failure { error, message }) => {
            let status = match error.as_str() {
                "invalid" => Status::InvalidArgument,
                "unsupported" => Status::Unsupported,
                "memory" => Status::OutOfMemory,
                "device" => Status::Device,
                _ => Status::Internal,
            };
            Error { status, message }
        }
        Silence::Ended(error) => {
            let Some(ending) = process.end() else { return Error::internal(format!("Python is gone: {error}")) };
            let said =
                if ending.words.is_empty() { String::new() } else { format!("; it last said: {}", ending.words) };
            match ending.code {
                // As the system does it when memory runs out.
                -9 => Error::out_of_memory(format!("Python was killed by signal 9{said}")),
                code if code < 0 => Error::internal(format!("Python was killed by signal {}{said}", -code)),
                code => Error::internal(format!("Python ended with code {code}{said}")),
            }
        }
    }
}
