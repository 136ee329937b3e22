//! What the tests of all operations share.

use clr_rng::{Philox, Stream, uniform};

use crate::{Cpu, Isa};

/// `len` values in [-1, 1), the same for equal seeds.
pub(crate) fn values(seed: u64, len: usize) -> Vec<f32> {
    Philox::new(seed, Stream::Dataset).words(0).take(len).map(|bits| 2.0 * uniform(bits) - 1.0).collect()
}

/// Runs `compute` on every instruction set of this machine, with 1, 2 and 3 threads; asserts that threads change no bit and
/// gives the results by instruction set.
#[track_caller]
pub(crate) fn on_every_cpu(compute: impl Fn(&Cpu) -> Vec<f32>) -> Vec<(Isa, Vec<f32>)> {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let isas = Isa::ALL.into_iter().filter(|isa| isa.is_available());
    isas.map(|isa| {
        let [one, two, three] = [1, 2, 3].map(|threads| compute(&Cpu::with_isa(threads, isa).unwrap()));
        assert_eq!(bits(&one), bits(&two), "{isa:?}: one thread and two");
        assert_eq!(bits(&one), bits(&three), "{isa:?}: one thread and three");
        (isa, one)
    })
    .collect()
}

/// Asserts that all values agree within `tolerance x max(1, |expected|)`.
#[track_caller]
pub(crate) fn assert_close(what: &str, actual: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}: length");
    for (i, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(*actual) - expected).abs();
        // Written so that a NaN fails.
        assert!(error <= tolerance * expected.abs().max(1.0), "{what}[{i}]: {actual} instead of {expected}");
    }
}

/// Asserts that `gradient` is the derivative of `loss` at `at`, by central differences in f64.
#[track_caller]
pub(crate) fn assert_gradient(what: &str, gradient: &[f32], at: &[f32], loss: impl Fn(&[f64]) -> f64) {
    let mut point: Vec<f64> = at.iter().map(|value| f64::from(*value)).collect();
    let expected: Vec<f64> = (0..at.len())
        .map(|i| {
            let (value, step) = (point[i], 1e-4);
            point[i] = value + step;
            let above = loss(&point);
            point[i] = value - step;
            let below = loss(&point);
            point[i] = value;
            (above - below) / (2.0 * step)
        })
        .collect();
    assert_close(what, gradient, &expected, 1e-5);
}

/// The cases of `goldens/NAME.json`, which `goldens/make_goldens.py` made with PyTorch.
pub(crate) fn goldens(text: &str) -> Vec<Golden> {
    serde_json::from_str(text).unwrap()
}

/// One case: shapes, tensors and scalars by name.
#[derive(serde::Deserialize)]
pub(crate) struct Golden {
    shape: std::collections::BTreeMap<String, usize>,
    #[serde(flatten)]
    tensors: std::collections::BTreeMap<String, serde_json::Value>,
}

impl Golden {
    #[track_caller]
    pub(crate) fn size(&self, name: &str) -> usize {
        self.shape[name]
    }

    /// A tensor as PyTorch has it; a scalar is a tensor of one element.
    #[track_caller]
    pub(crate) fn tensor(&self, name: &str) -> Vec<f64> {
        match &self.tensors[name] {
            serde_json::Value::Array(values) => values.iter().map(|value| value.as_f64().unwrap()).collect(),
            scalar => vec![scalar.as_f64().unwrap()],
        }
    }

    /// An input, exact in f32.
    #[track_caller]
    pub(crate) fn input(&self, name: &str) -> Vec<f32> {
        self.tensor(name).into_iter().map(|value| value as f32).collect()
    }

    #[track_caller]
    pub(crate) fn text(&self, name: &str) -> String {
        self.tensors[name].as_str().unwrap().to_owned()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }
}
