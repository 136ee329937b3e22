//! Errors of a machine without a driver. In a process of its own: elsewhere the emulated driver is loaded.

use clr_kernels::cuda::{Gpu, GpuError};
use clr_nn::sdk::{Dataset, Lane, SessionConfig, SplitData, Status, Transform};
use clr_nn::{Architecture, BuildError, Family, Initializer, Linear, Network, Options, Parameter, Published};

struct Scores;

impl Family for Scores {
    const NAME: &'static str = "scores";
    const VERSION: &'static str = "0";
    const NUMERICS_REVISION: u32 = 1;

    fn architectures() -> Vec<Architecture> {
        let (options_schema, published) = (r#"{"type": "object"}"#, Published { momentum: 0.9, weight_decay: 0.0 });
        vec![Architecture { name: "scores", options_schema, published, build }]
    }
}

fn build(network: &mut Network, _options: &Options) -> Result<(), BuildError> {
    let linear = Linear { outputs: network.class_count(), weight: Parameter::new(Initializer::Msra), bias: None };
    let x = network.linear("ip1", network.input(), linear)?;
    network.logits(x)
}

#[test]
fn a_gpu_is_missed_by_name_and_the_cpu_is_not_affected() {
    if Gpu::count() != Err(GpuError::NoDriver) {
        eprintln!("SKIPPED: this machine has a driver");
        return;
    }
    let train = SplitData { count: 2, images: Some(&[1, 2]), labels: Some(&[0, 1]) };
    let splits = [train, SplitData::default(), SplitData::default()];
    let dataset = Dataset::new([1, 1, 1], 2, splits, Transform::default(), None).unwrap();
    let config = |device| SessionConfig {
        device,
        model: "scores",
        options: "{}",
        dataset: &dataset,
        batch_size: 2,
        thread_count: 1,
        lanes: vec![Lane { options: r#"{"optimizer": "sgd"}"#, init_seed: 1, data_seed: 1 }],
    };
    let missing = "no NVIDIA driver: its library (libcuda.so.1) was not found";
    let on_gpu = config("cuda:0");
    let refusals = [
        clr_nn::footprint::<Scores>(&on_gpu).map(drop).unwrap_err(),
        clr_nn::session::<Scores>(&on_gpu).map(drop).unwrap_err(),
    ];
    for refusal in refusals {
        assert_eq!((refusal.status, &refusal.message[..]), (Status::Device, missing));
    }
    assert!(clr_nn::session::<Scores>(&config("cpu")).is_ok());
}
