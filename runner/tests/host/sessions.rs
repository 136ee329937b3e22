//! Real plugins, loaded: the suite, equal bits from Rust and C, and the host's own part.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use clr_host::{
    Completion, Data, HostError, Images, Lane, LoadRequest, Loader, Plugin, Session, SessionConfig, Split, SplitData,
    StepCall, Transform,
};
use tempfile::tempdir;

use crate::libraries::{one_weight, quadratic_c};
use crate::support::{cargo_build, cc};

const BATCH: u32 = 2;
const TRAIN: u64 = 7;

/// Images of 2 x 2 x 1, all black.
pub fn data() -> Data {
    let split = |count: usize| SplitData {
        count: count as u64,
        images: Images::new(Arc::new(vec![0u8; count * 4]), 0..count * 4),
        labels: Some((0..count as i32).collect()),
    };
    Data {
        height: 2,
        width: 2,
        channels: 1,
        class_count: 10,
        splits: [split(TRAIN as usize), SplitData::default(), split(5)],
        transform: Transform::default(),
        loader: None,
    }
}

pub fn config(model: &str, lanes: &[&str]) -> SessionConfig {
    SessionConfig {
        device: "cpu".to_owned(),
        model: model.to_owned(),
        model_json: "{}".to_owned(),
        dataset: Arc::new(data()),
        batch_size: BATCH,
        thread_count: 1,
        lanes: lanes
            .iter()
            .enumerate()
            .map(|(index, options)| Lane { options_json: (*options).into(), init_seed: 1 + index as u64, data_seed: 1 })
            .collect(),
    }
}

/// Tables of a call in which all lanes start at step 0.
pub struct Call {
    step_count: u32,
    first_steps: Vec<u64>,
    lane_steps: Vec<u32>,
    sample_counts: Vec<u32>,
    pub samples: Vec<u32>,
    epochs: Vec<u32>,
    hypers: Vec<f32>,
}

impl Call {
    pub fn new(step_count: u32, lanes: usize, hypers: usize) -> Call {
        let steps = step_count as usize;
        let batches = steps * lanes;
        Call {
            step_count,
            first_steps: vec![0; lanes],
            lane_steps: vec![step_count; lanes],
            sample_counts: vec![BATCH; batches],
            samples: (0..batches as u32 * BATCH).map(|sample| sample % TRAIN as u32).collect(),
            epochs: vec![0; batches * BATCH as usize],
            // lr 0.01, 0.02, ...; momentum 0.9 and weight decay 0.9, where there are any.
            hypers: (0..batches)
                .flat_map(|row| {
                    (0..hypers).map(move |hyper| if hyper == 0 { 0.01 * (1 + row % 7) as f32 } else { 0.9 })
                })
                .collect(),
        }
    }

    pub fn as_call(&self) -> StepCall<'_> {
        StepCall {
            step_count: self.step_count,
            first_steps: &self.first_steps,
            lane_steps: &self.lane_steps,
            shared_samples: false,
            sample_counts: &self.sample_counts,
            samples: &self.samples,
            epochs: &self.epochs,
            hypers: &self.hypers,
        }
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    // Which NaN it is does not matter.
    values.iter().map(|value| if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() }).collect()
}

#[track_caller]
fn check_suite(plugin: &Plugin) {
    let report = clr_conformance::run(plugin.api(), &clr_conformance::DataSize::default());
    assert!(report.passed(), "{report}");
}

#[test]
fn quadratic_is_loaded_and_conforms() {
    let path = cargo_build("clr-quadratic");
    let plugin = Plugin::load(&path).unwrap();
    let info = plugin.info();
    assert_eq!((info.name.as_str(), info.abi, info.has_state), ("quadratic", (1, 1), true));
    assert_eq!(info.digest, blake3::hash(&std::fs::read(&path).unwrap()).to_hex().to_string());
    assert_eq!(info.model("quadratic").unwrap().metrics, ["loss", "accuracy", "grad_norm"]);
    assert_eq!(info.optimizer("gd").unwrap().hypers, ["lr"]);
    check_suite(&plugin);
}

#[test]
fn the_sdk_s_example_conforms() {
    check_suite(&Plugin::load(&one_weight()).unwrap());
}

#[test]
fn the_same_in_c_conforms_and_gives_the_same_bits() {
    let folder = tempdir().unwrap();
    let Some(path) = quadratic_c(&folder) else { return };
    let plugins = [Plugin::load(&cargo_build("clr-quadratic")).unwrap(), Plugin::load(&path).unwrap()];
    check_suite(&plugins[1]);
    for options in ["{}", r#"{"dimension": 21, "condition": 33.3, "noise": 0.7, "tolerance": 0.5}"#] {
        let [rust, c] = [0, 1].map(|index: usize| {
            let mut config = config("quadratic", &[r#"{"optimizer": "gd"}"#, r#"{"optimizer": "sgd"}"#]);
            config.model_json = options.to_owned();
            let mut session = plugins[index].session(config).unwrap();
            let call = Call::new(60, 2, 3);
            let (mut done, mut metrics, mut evaluation) = ([0; 2], vec![0.0; 60 * 2 * 3], vec![0.0; 6]);
            let never = AtomicBool::new(false);
            session.step(&call.as_call(), &mut done, &mut metrics, &never).unwrap();
            session.evaluate(Split::Test, 1, 4, &[true, true], &mut evaluation, &never).unwrap();
            let mut state = Vec::new();
            for (lane, tensor) in [(0, 0), (1, 0), (1, 1)] {
                let mut values = vec![0.0; session.tensors(lane).unwrap()[tensor].element_count];
                session.save(lane, tensor, &mut values).unwrap();
                state.push(bits(&values));
            }
            (bits(&metrics), bits(&evaluation), state)
        });
        assert_eq!(rust, c, "{options}");
    }
}

#[test]
fn a_cancelled_call_says_how_far_each_lane_came() {
    let plugin = Plugin::load(&cargo_build("clr-quadratic")).unwrap();
    let mut session = plugin.session(config("quadratic", &[r#"{"optimizer": "gd"}"#; 2])).unwrap();
    let call = Call::new(3, 2, 3);
    let (mut done, mut metrics) = ([9; 2], vec![0.0; 18]);
    let completion = session.step(&call.as_call(), &mut done, &mut metrics, &AtomicBool::new(true)).unwrap();
    assert_eq!((completion, done), (Completion::Cancelled, [0, 0]));
    assert!(metrics.iter().all(|value| value.is_nan()), "{metrics:?}");
    let completion = session.step(&call.as_call(), &mut done, &mut metrics, &AtomicBool::new(false)).unwrap();
    assert_eq!((completion, done), (Completion::Complete, [3, 3]));
    assert!(metrics.iter().all(|value| value.is_finite()), "{metrics:?}");
}

#[test]
fn the_plugin_s_own_words_reach_the_user() {
    let plugin = Plugin::load(&cargo_build("clr-quadratic")).unwrap();
    let message = |change: fn(&mut SessionConfig)| {
        let mut config = config("quadratic", &[r#"{"optimizer": "gd"}"#]);
        change(&mut config);
        plugin.footprint(&config).unwrap_err().to_string()
    };
    expect_test::expect![[r#"
        plugin `quadratic`: footprint: dimension is 0, expected 1 to 65536 (CLR_INVALID_ARGUMENT)
        plugin `quadratic`: footprint: model options: unknown field `dimensions`, expected one of `dimension`, `condition`, `noise`, `tolerance`, `precision` at line 1 column 13 (CLR_INVALID_ARGUMENT)
        plugin `quadratic`: footprint: device `cuda:0`; there is cpu (CLR_UNSUPPORTED)
        plugin `quadratic`: footprint: unknown optimizer `adam`; there is gd, sgd (CLR_INVALID_ARGUMENT)
        plugin `quadratic`: footprint: optimizer options: unknown field `beta1`, there are no fields (CLR_INVALID_ARGUMENT)"#]].assert_eq(
        &[
            message(|config| config.model_json = r#"{"dimension": 0}"#.to_owned()),
            message(|config| config.model_json = r#"{"dimensions": 3}"#.to_owned()),
            message(|config| config.device = "cuda:0".to_owned()),
            message(|config| config.lanes[0].options_json = r#"{"optimizer": "adam"}"#.into()),
            message(|config| config.lanes[0].options_json = r#"{"optimizer": "gd", "beta1": 0.9}"#.into()),
        ]
        .join("\n"),
    );
}

#[test]
fn a_footprint_needs_sizes_only_and_a_session_images() {
    let plugin = Plugin::load(&cargo_build("clr-quadratic")).unwrap();
    let mut config = config("quadratic", &[r#"{"optimizer": "gd"}"#]);
    let mut sizes = data();
    for split in &mut sizes.splits {
        (split.images, split.labels) = (None, None);
    }
    config.dataset = Arc::new(sizes);
    assert_eq!(plugin.footprint(&config).unwrap().numerics, "cpu");
    let error = plugin.session(config).unwrap_err().to_string();
    assert_eq!(error, "plugin `quadratic`: session_create: not called: the train split: no images");
}

/// Fails for one sample.
#[derive(Debug, Default)]
struct Flaky {
    requests: Mutex<Vec<(Split, Vec<u32>)>>,
}

impl Loader for Flaky {
    fn load(&self, request: &LoadRequest<'_>, images: &mut [u8], labels: &mut [i32]) -> Result<(), String> {
        assert_eq!((images.len(), labels.len()), (request.samples.len() * 4, request.samples.len()));
        self.requests.lock().unwrap().push((request.split, request.samples.to_vec()));
        if request.samples.contains(&3) { Err("sample 3 is unreadable".to_owned()) } else { Ok(()) }
    }
}

#[test]
fn streamed_batches_come_from_the_loader_and_its_errors_come_back() {
    let folder = tempdir().unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/host/reader.c");
    let Some(path) = cc(source.as_ref(), &[], &folder, "reader") else { return };
    let plugin = Plugin::load(&path).unwrap();
    let mut streamed = data();
    for split in &mut streamed.splits {
        (split.images, split.labels) = (None, None);
    }
    let loader = Arc::new(Flaky::default());
    streamed.loader = Some(Arc::clone(&loader) as Arc<dyn Loader>);
    let config = SessionConfig { dataset: Arc::new(streamed), ..config("reader", &["{}"]) };
    let mut session = plugin.session(config).unwrap();
    let call = Call::new(2, 1, 1);
    let never = AtomicBool::new(false);
    let error = session.step(&call.as_call(), &mut [0], &mut [0.0; 4], &never).unwrap_err();
    assert_eq!(*loader.requests.lock().unwrap(), [(Split::Train, vec![0, 1]), (Split::Train, vec![2, 3])]);
    assert_eq!(
        error.to_string(),
        "plugin `reader`: session_step: sample 3 is unreadable (streamed images could not be read)"
    );
    let broken = session.step(&call.as_call(), &mut [0], &mut [0.0; 4], &never);
    assert!(matches!(broken, Err(HostError::Broken { .. })), "{broken:?}");
}
