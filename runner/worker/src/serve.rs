//! The worker's own side: holds a session and answers for it until the pipe closes.

use clr_host::{Completion, HostError, Images, LocalSession, Plugin, Session, SplitData, StepCall, Transform};
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::frame::{Decoder, Encoder, Kind};
use super::message::{
    DataSource, Filling, Open, PROTOCOL, Reply, Request, TransformSizes, decode, encode, write_frames,
};
use super::{inherited, orphaned};
use crate::gpu;

/// Exit code of a worker that does not understand its supervisor.
const MISUNDERSTOOD: i32 = 70;

/// No array of a call has more elements; `train` stays far below.
const MOST_ELEMENTS: usize = 1 << 30;

/// Serves the process that holds the other ends of stdin and stdout, until that ends.
///
/// # Errors
///
/// Where stdin is not a supervisor's pipe, or the system refuses what a worker needs.
pub fn serve() -> io::Result<std::convert::Infallible> {
    if io::stdin().is_terminal() {
        return Err(io::Error::other("clr-run starts its workers itself: give it a spec instead"));
    }
    inherited::close()?;
    orphaned::watch()?;
    let (requests, replies) = take_pipes()?;
    let cancel = Arc::new(AtomicBool::new(false));
    let (sender, frames) = sync_channel(4);
    let raised = cancel.clone();
    let reader = std::thread::Builder::new().name("clr-requests".to_owned());
    reader.spawn(move || read_requests(requests, &raised, &sender))?;

    let mut replies = Replies { pipe: replies, encoder: Encoder::default() };
    replies.send(&Reply::Hello { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned() }, &[]);
    let (plugins, data, session) = (Vec::new(), None, None);
    let mut served = Served { frames: Frames { receiver: frames }, replies, cancel, plugins, data, session };
    loop {
        let (request, rest) = served.frames.request();
        if let Err(error) = served.answer(request, &rest) {
            served.replies.send(&Reply::Failed(error), &[]);
        }
    }
}

/// The plugin, data and session that a worker holds.
struct Served {
    frames: Frames,
    replies: Replies,
    cancel: Arc<AtomicBool>,
    /// All that were ever loaded: libraries are not unloaded.
    plugins: Vec<Plugin>,
    data: Option<Arc<clr_host::Data>>,
    session: Option<LocalSession>,
}

impl Served {
    /// Does what it is asked and says so; an error is for the caller to send. `rest` is what came with the request.
    fn answer(&mut self, request: Request, rest: &[u8]) -> Result<(), HostError> {
        match request {
            Request::Describe { plugin, plugin_digest } => {
                let plugin = self.plugin(plugin.into(), &plugin_digest)?;
                let text = serde_json::to_string(plugin.info());
                let text = text.unwrap_or_else(|error| misunderstood(&format!("a description: {error}")));
                self.replies.send(&Reply::Described(text), &[]);
                Ok(())
            }
            Request::Footprint(open, sizes) => {
                let transform = self.transform(&sizes.transform, rest);
                let plugin = self.plugin(open.plugin.clone().into(), &open.plugin_digest)?;
                let footprint = plugin.footprint(&open.config(Arc::new(sizes.data(transform))))?;
                self.replies.send(&Reply::Footprint(footprint), &[]);
                Ok(())
            }
            Request::Parameters(open, sizes) => {
                let transform = self.transform(&sizes.transform, rest);
                let plugin = self.plugin(open.plugin.clone().into(), &open.plugin_digest)?;
                let parameters = plugin.parameters(&open.config(Arc::new(sizes.data(transform))))?;
                self.replies.send(&Reply::Parameters(parameters), &[]);
                Ok(())
            }
            Request::Gpus(ordinals) => {
                self.replies.send(&Reply::Gpus(gpu::gpus(&ordinals)), &[]);
                Ok(())
            }
            Request::Data(source) => {
                (self.session, self.data) = (None, None);
                let transform = self.transform(&source.transform, rest);
                self.data = Some(Arc::new(open_data(&source, transform)?));
                self.done()
            }
            Request::Open(open) => self.open(open),
            Request::Step { step_count, shared_samples } => self.step(step_count, shared_samples, rest),
            Request::Evaluate { split, first, count, active } => {
                let session = open_session(&mut self.session);
                let mut metrics = vec![f32::NAN; active.len() * session.sizes().metric_count];
                let completion = session.evaluate(split.into(), first, count, &active, &mut metrics, &self.cancel)?;
                self.replies.send(&ran(completion), &[bytemuck::cast_slice(&metrics)]);
                Ok(())
            }
            Request::ResetLane { lane, trial } => {
                open_session(&mut self.session).reset_lane(lane as usize, &trial.into())?;
                self.done()
            }
            Request::Tensors { lane } => {
                let tensors = open_session(&mut self.session).tensors(lane as usize)?;
                self.replies.send(&Reply::Tensors(tensors.to_vec()), &[]);
                Ok(())
            }
            Request::Save { lane, tensor } => {
                let (lane, tensor) = (lane as usize, tensor as usize);
                let session = open_session(&mut self.session);
                let mut values = vec![0.0; element_count(session, lane, tensor)?];
                session.save(lane, tensor, &mut values)?;
                self.replies.send(&Reply::Saved, &[bytemuck::cast_slice(&values)]);
                Ok(())
            }
            Request::Load { lane, tensor } => {
                let (lane, tensor) = (lane as usize, tensor as usize);
                let session = open_session(&mut self.session);
                let mut values = vec![0.0f32; element_count(session, lane, tensor)?];
                self.frames.arrays(rest, &mut [bytemuck::cast_slice_mut(&mut values)]);
                session.load(lane, tensor, &values)?;
                self.done()
            }
            Request::Close => {
                self.session = None;
                self.done()
            }
        }
    }

    /// The transform whose arrays come with the request at hand.
    fn transform(&self, sizes: &TransformSizes, rest: &[u8]) -> Transform {
        let mut transform = sizes.unfilled(MOST_ELEMENTS).unwrap_or_else(|problem| misunderstood(&problem));
        let Transform { mean, scale, .. } = &mut transform;
        self.frames.arrays(rest, &mut [bytemuck::cast_slice_mut(mean), bytemuck::cast_slice_mut(scale)]);
        transform
    }

    /// The plugin of a file, if that has the digest.
    fn plugin(&mut self, path: PathBuf, digest: &str) -> Result<Plugin, HostError> {
        let known = |plugin: &&Plugin| plugin.info().path == path && plugin.info().digest == digest;
        if let Some(plugin) = self.plugins.iter().find(known) {
            return Ok(plugin.clone());
        }
        orphaned::note_plugin();
        // Before a line of it runs: what the supervisor planned with, and the user may have pinned, was another.
        let changed = || "its file has changed since the run began: start the run again".to_owned();
        let plugin = Plugin::load_if(&path, |found| (found == digest).then_some(()).ok_or_else(changed))?;
        self.plugins.push(plugin.clone());
        Ok(plugin)
    }

    fn open(&mut self, open: Open) -> Result<(), HostError> {
        self.session = None;
        let plugin = self.plugin(open.plugin.clone().into(), &open.plugin_digest)?;
        let Some(dataset) = self.data.clone() else { misunderstood("a session before its dataset") };
        self.session = Some(plugin.session(open.config(dataset))?);
        self.done()
    }

    fn step(&mut self, step_count: u32, shared_samples: bool, rest: &[u8]) -> Result<(), HostError> {
        let session = open_session(&mut self.session);
        let sizes = session.sizes();
        let elements = sizes.of_step(step_count as usize, shared_samples);
        if elements.iter().any(|&count| count > MOST_ELEMENTS) {
            misunderstood(&format!("a call of {step_count} steps"));
        }
        let [batch_count, sample_count, hyper_count, metric_count] = elements;
        let mut first_steps = vec![0u64; sizes.lane_count];
        let mut lane_steps = vec![0u32; sizes.lane_count];
        let mut sample_counts = vec![0u32; batch_count];
        let [mut samples, mut epochs] = [vec![0u32; sample_count], vec![0u32; sample_count]];
        let mut hypers = vec![0f32; hyper_count];
        self.frames.arrays(
            rest,
            &mut [
                bytemuck::cast_slice_mut(&mut first_steps),
                bytemuck::cast_slice_mut(&mut lane_steps),
                bytemuck::cast_slice_mut(&mut sample_counts),
                bytemuck::cast_slice_mut(&mut samples),
                bytemuck::cast_slice_mut(&mut epochs),
                bytemuck::cast_slice_mut(&mut hypers),
            ],
        );
        let mut steps_done = vec![0u32; sizes.lane_count];
        let mut metrics = vec![f32::NAN; metric_count];
        let call = StepCall {
            step_count,
            first_steps: &first_steps,
            lane_steps: &lane_steps,
            shared_samples,
            sample_counts: &sample_counts,
            samples: &samples,
            epochs: &epochs,
            hypers: &hypers,
        };
        let completion = session.step(&call, &mut steps_done, &mut metrics, &self.cancel)?;
        self.replies.send(&ran(completion), &[bytemuck::cast_slice(&steps_done), bytemuck::cast_slice(&metrics)]);
        Ok(())
    }

    fn done(&mut self) -> Result<(), HostError> {
        self.replies.send(&Reply::Done, &[]);
        Ok(())
    }
}

fn ran(completion: Completion) -> Reply {
    Reply::Ran { cancelled: completion == Completion::Cancelled }
}

fn open_session(session: &mut Option<LocalSession>) -> &mut LocalSession {
    session.as_mut().unwrap_or_else(|| misunderstood("a call before its session"))
}

fn element_count(session: &mut LocalSession, lane: usize, tensor: usize) -> Result<usize, HostError> {
    match session.tensors(lane)?.get(tensor) {
        Some(tensor) => Ok(tensor.element_count),
        None => misunderstood(&format!("there is no tensor {tensor}")),
    }
}

/// Opens the dataset and takes it apart as the supervisor did.
fn open_data(source: &DataSource, transform: Transform) -> Result<clr_host::Data, HostError> {
    let name = &source.query.name;
    let failed = |problem: String| HostError::Data { dataset: name.clone(), problem };
    let roots: Vec<PathBuf> = source.roots.iter().cloned().map(Into::into).collect();
    let cache: Option<PathBuf> = source.cache.clone().map(Into::into);
    let check = clr_dataset::Check::Unless(&source.checked);
    let folder: PathBuf = source.folder.clone().into();
    let places = clr_dataset::Places { folder: &folder, roots: &roots, cache: cache.as_deref() };
    let dataset = clr_dataset::open_query(&source.query, places, check).map_err(|error| failed(error.to_string()))?;
    if let Some(digest) = &source.digest
        && *digest != dataset.digest
    {
        return Err(failed(format!("its digest is {}, and was {digest} when the run began", dataset.digest)));
    }
    let [train, validation, test] = source.counts;
    let all = dataset.train.count();
    let train_count = usize::try_from(train).unwrap_or(usize::MAX).min(all);
    let splits = [dataset.train.slice(0..train_count), dataset.train.slice(train_count..all), dataset.test];
    let counts = [0, 1, 2].map(|split: usize| splits[split].count() as u64);
    if counts != [train, validation, test] {
        return Err(failed(format!("it has {counts:?} images, and had {:?} when the run began", source.counts)));
    }
    Ok(clr_host::Data {
        height: dataset.height,
        width: dataset.width,
        channels: dataset.channels,
        class_count: dataset.class_count,
        splits: splits.map(|samples| SplitData {
            count: samples.count() as u64,
            images: Images::new(Arc::new(samples.images.clone()), 0..samples.images.len()),
            labels: Some(samples.labels),
        }),
        transform,
        loader: None,
    })
}

/// Takes the pipes away from where a plugin would print or read: stdout then goes where stderr goes, and stdin is empty.
fn take_pipes() -> io::Result<(File, File)> {
    let requests = rustix::io::fcntl_dupfd_cloexec(io::stdin().as_fd(), 3)?;
    let replies = rustix::io::fcntl_dupfd_cloexec(io::stdout().as_fd(), 3)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    rustix::stdio::dup2_stdout(io::stderr().as_fd())?;
    Ok((requests.into(), replies.into()))
}

/// Reads while the plugin computes, so that a cancel is heard, and the end of the pipe.
fn read_requests(mut pipe: File, cancel: &AtomicBool, frames: &SyncSender<(Kind, Vec<u8>)>) {
    let mut decoder = Decoder::default();
    let mut chunk = vec![0; 1 << 16];
    loop {
        match pipe.read(&mut chunk) {
            Ok(0) => orphaned::end(),
            Ok(count) => decoder.push(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => orphaned::end(),
        }
        loop {
            match decoder.frame() {
                Ok(Some((Kind::Cancel, _))) => cancel.store(true, Ordering::Relaxed),
                Ok(Some((kind, payload))) => {
                    if kind == Kind::Message {
                        // What was to be cancelled is over.
                        cancel.store(false, Ordering::Relaxed);
                    }
                    if frames.send((kind, payload.to_vec())).is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => misunderstood(&error.to_string()),
            }
        }
    }
}

/// The frames that come through the pipe.
struct Frames {
    receiver: Receiver<(Kind, Vec<u8>)>,
}

impl Frames {
    /// The next request, and the part of its arrays that came with it.
    fn request(&self) -> (Request, Vec<u8>) {
        let mut bytes = self.payload(Kind::Message);
        loop {
            match decode(&bytes) {
                Ok(Some((request, length))) => return (request, bytes.split_off(length)),
                Ok(None) => bytes.extend(self.payload(Kind::Continuation)),
                Err(problem) => misunderstood(&problem),
            }
        }
    }

    /// Of the next frame, which must be of this kind.
    fn payload(&self, expected: Kind) -> Vec<u8> {
        match self.receiver.recv() {
            Ok((kind, payload)) if kind == expected => payload,
            Ok((kind, _)) => misunderstood(&format!("a frame of kind {kind:?}, out of turn")),
            Err(_) => misunderstood("the thread that reads requests has ended"),
        }
    }

    /// Fills the arrays of the request at hand.
    fn arrays(&self, rest: &[u8], arrays: &mut [&mut [u8]]) {
        let mut filling = Filling::new(arrays);
        let mut result = filling.take(rest);
        while result.is_ok() && !filling.is_done() {
            result = filling.take(&self.payload(Kind::Continuation));
        }
        if let Err(problem) = result {
            misunderstood(&problem);
        }
    }
}

struct Replies {
    pipe: File,
    encoder: Encoder,
}

impl Replies {
    fn send(&mut self, reply: &Reply, arrays: &[&[u8]]) {
        let message = encode(reply).unwrap_or_else(|problem| misunderstood(&problem));
        let pipe = &mut self.pipe;
        if write_frames(&mut self.encoder, &message, arrays, |frame| pipe.write_all(frame)).is_err() {
            // Nobody listens any more.
            orphaned::end();
        }
    }
}

fn misunderstood(problem: &str) -> ! {
    // Nobody may listen any more.
    let _ = writeln!(io::stderr(), "clr-run worker: {problem}");
    // At once, whatever the other threads do.
    signal_hook::low_level::exit(MISUNDERSTOOD)
}
