//! Writes what an independent program needs to repeat the start of a trial: initial weights, batches, and our losses.
//!
//! ```text
//! cargo run --release -p clr-run --example parity -- specs/parity-5000.toml FOLDER 100
//! python plugins/cifar/parity/torch_cifar.py losses --dump FOLDER --iterations 100
//! ```
//!
//! FOLDER gets, little-endian and without headers: `NAME.f32` for every tensor of the lane's initial state (convolution
//! weights HWIO, linear weights [inputs][outputs], inputs as HWC), `images.f32` [iterations][batch][H][W][C] after
//! normalisation, `labels.i32` [iterations][batch], and `losses.f32` [iterations].

use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, anyhow};
use clr_dataset::places;
use clr_event::Event;
use clr_event::work::Work;
use clr_host::{SearchPath, Session, Split};
use clr_plan::{Group, Plan, Trial, plan};
use clr_run::gather::{Data, Search, gather};
use clr_spec::SourceFile;
use clr_spec::duration::Period;
use clr_train::{Isolation, Layout, Resources};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [spec_path, folder, iterations] = arguments.as_slice() else {
        return Err(anyhow!("usage: parity SPEC FOLDER ITERATIONS"));
    };
    let (folder, iterations) = (Path::new(folder), iterations.parse::<u64>()?);
    std::fs::create_dir_all(folder)?;

    // The executable is in target/release/examples, the plugins are one folder up.
    let plugins = std::env::current_exe()?.ancestors().nth(2).context("no folder above the executable's")?.to_owned();
    let search = Search {
        plugins: SearchPath::from_environment(&[plugins], &[]),
        data: places::roots(None),
        cache: places::cache_dir(),
    };
    let source = SourceFile { name: spec_path.clone(), text: std::fs::read_to_string(spec_path)? };
    let (spec, problems) = clr_spec::parse(&source, &[]);
    let gathered =
        gather(&spec, Path::new(spec_path).parent().unwrap_or(Path::new("")), &search, &Isolation::None, Data::Open);
    let whole =
        plan(&spec, &gathered.facts).map_err(|more| anyhow!(clr_spec::render(&[problems, more].concat(), &source)))?;
    let plan = first_trial(&whole, iterations);
    let resources = Resources::new(&plan, gathered.plugins, &gathered.datasets)?;
    let layout = Layout::cpu(1, 1);

    let trial = &plan.trials[0];
    let mut session = resources.plugin(&trial.shape).session(resources.session_config(&plan, &[0], &layout, "cpu"))?;
    let tensors: Vec<_> =
        session.tensors(0)?.iter().map(|tensor| (tensor.name.clone(), tensor.element_count)).collect();
    for (index, (name, count)) in tensors.into_iter().enumerate() {
        let mut values = vec![0.0f32; count];
        session.save(0, index, &mut values)?;
        write(&folder.join(format!("{name}.f32")), values.iter().flat_map(|value| value.to_le_bytes()))?;
    }

    let feed = resources.feed(&trial.shape);
    let mut sampler = feed.sampler(trial.data_seed);
    let batch = trial.shape.data.batch_size as usize;
    let (mut samples, mut epochs) = (vec![0; batch], vec![0; batch]);
    let train = &feed.data.splits[Split::Train as usize];
    let (pixels, classes) = train.images.as_ref().zip(train.labels.as_ref()).context("the images are not resident")?;
    let mean = &feed.data.transform.mean;
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for step in 0..iterations {
        sampler.fill(step, &mut samples, &mut epochs);
        for &sample in &samples {
            let image = &pixels.bytes()[sample as usize * mean.len()..][..mean.len()];
            images.extend(image.iter().zip(mean).flat_map(|(&pixel, mean)| (f32::from(pixel) - mean).to_le_bytes()));
            labels.extend(classes[sample as usize].to_le_bytes());
        }
    }
    write(&folder.join("images.f32"), images)?;
    write(&folder.join("labels.i32"), labels)?;

    let mut losses = Vec::new();
    let loss = trial.shape.metric("loss").context("the model reports no loss")?;
    clr_train::run(&plan, vec![Work::new(0)], &resources, &layout, &AtomicBool::new(false), |event| {
        if let Event::Rows(rows) = event {
            losses.extend(rows.metrics[loss].iter().flat_map(|loss| loss.to_le_bytes()));
        }
        Ok::<(), anyhow::Error>(())
    })?;
    write(&folder.join("losses.f32"), losses)
}

/// The plan of the first trial alone, cut off after so many iterations and without evaluations in between.
fn first_trial(plan: &Plan, iterations: u64) -> Plan {
    let trial = Trial { iterations, eval_every: Period::NEVER, ..plan.trials[0].clone() };
    let group = Group { shape: trial.shape.clone(), trials: vec![0] };
    Plan { trials: [trial].into(), groups: vec![group], ..plan.clone() }
}

fn write(path: &Path, bytes: impl IntoIterator<Item = u8>) -> anyhow::Result<()> {
    std::fs::write(path, bytes.into_iter().collect::<Vec<u8>>()).with_context(|| path.display().to_string())
}
