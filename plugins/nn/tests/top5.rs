//! Top-5 accuracy, a metric of the models that declare it.

use clr_nn::sdk::{
    Dataset, Evaluate, Lane, Session, SessionConfig, Split, SplitData, StepTable, StepTableParts, Transform,
};
use clr_nn::{
    Architecture, BuildError, Family, Initializer, Linear, Network, Options, Parameter, Published, description, session,
};

struct Zeros;

impl Family for Zeros {
    const NAME: &'static str = "zeros";
    const VERSION: &'static str = "0";
    const NUMERICS_REVISION: u32 = 1;
    const TOP5: &'static [&'static str] = &["with_top5"];

    fn architectures() -> Vec<Architecture> {
        let (options_schema, published) = (r#"{"type": "object"}"#, Published { momentum: 0.0, weight_decay: 0.0 });
        ["with_top5", "without"].map(|name| Architecture { name, options_schema, published, build }).to_vec()
    }
}

/// All scores are 0 until the network is trained: the lower class comes first.
fn build(network: &mut Network, _options: &Options) -> Result<(), BuildError> {
    let weight = Parameter::new(Initializer::Constant { value: 0.0 });
    let x = network.linear("ip1", network.input(), Linear { outputs: network.class_count(), weight, bias: None })?;
    network.logits(x)
}

const TRAIN: [i32; 8] = [0, 3, 4, 5, 6, 0, 1, 6];
const TEST: [i32; 5] = [6, 4, 0, 5, 5];

/// The metrics of a step and of an evaluation before it, and how many columns each has.
fn measured(device: &str, model: &str, options: &str) -> [Vec<f32>; 2] {
    let images: [u8; 8] = std::array::from_fn(|image| image as u8);
    let split = |labels: &'static [i32]| SplitData {
        count: labels.len(),
        images: Some(&images[..labels.len()]),
        labels: Some(labels),
    };
    let splits = [split(&TRAIN), SplitData::default(), split(&TEST)];
    let dataset = Dataset::new([1, 1, 1], 7, splits, Transform::default(), None).unwrap();
    let batch_size = TRAIN.len();
    let lanes = vec![Lane { options: r#"{"optimizer": "sgd"}"#, init_seed: 1, data_seed: 1 }];
    let config = SessionConfig { device, model, options, dataset: &dataset, batch_size, thread_count: 1, lanes };
    let mut session = session::<Zeros>(&config).unwrap();
    let described = description::<Zeros>().models.into_iter().find(|described| described.name == model).unwrap();
    let metric_count = described.metrics.len();
    let [mut row, mut evaluation] = [(); 2].map(|()| vec![9.0; metric_count]);
    let request = Evaluate::new(&dataset, Split::Test, 0..TEST.len(), &[true], None, &mut evaluation);
    session.evaluate(&mut request.unwrap()).unwrap();
    let (sample_counts, mut steps_done) = ([batch_size as u32], [0]);
    let table = StepTable::new(StepTableParts {
        dataset: &dataset,
        step_count: 1,
        lane_count: 1,
        batch_size,
        hyper_count: 5,
        metric_count,
        first_steps: &[0],
        lane_steps: &[1],
        sample_lane_count: 1,
        sample_counts: &sample_counts,
        samples: &[0, 1, 2, 3, 4, 5, 6, 7],
        epochs: &[0; 8],
        hypers: &[0.1, 0.0, 0.0, 0.9, 0.999],
        cancel: None,
        steps_done: &mut steps_done,
        metrics: &mut row,
    });
    session.step(&mut table.unwrap()).unwrap();
    [row, evaluation]
}

#[test]
fn the_share_of_labels_among_the_five_largest_scores_is_measured_where_it_is_declared() {
    let devices = if clr_cuda_emulator::install() { &["cpu", "cuda:0"][..] } else { &["cpu"] };
    for device in devices {
        for options in ["{}", r#"{"accumulate": 4}"#] {
            let [row, evaluation] = measured(device, "with_top5", options);
            // Of 8 labels, 2 are class 0 and 5 are below class 5; of 5, 1 and 2.
            assert_eq!([row.len(), evaluation.len()], [4; 2], "{device}");
            assert_eq!([row[1], row[3]], [2.0 / 8.0, 5.0 / 8.0], "{device} {options}");
            assert_eq!([evaluation[1], evaluation[3]], [1.0 / 5.0, 2.0 / 5.0], "{device} {options}");
            let [plain_row, plain_evaluation] = measured(device, "without", options);
            assert_eq!(plain_row, row[..3], "{device} {options}");
            assert_eq!(plain_evaluation[..2], evaluation[..2], "{device} {options}");
            assert_eq!(plain_evaluation.len(), 3);
        }
    }
}
