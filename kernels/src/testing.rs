//! Helpers of the tests of all operations.

use bytemuck::{Pod, bytes_of, bytes_of_mut};
use clr_rng::{Philox, Stream, uniform};

use crate::cuda::{Buffer, Gpu, Lanes};
use crate::{Cpu, Isa};

/// `len` values in [-1, 1), the same for equal seeds.
pub(crate) fn values(seed: u64, len: usize) -> Vec<f32> {
    Philox::new(seed, Stream::Dataset).words(0).take(len).map(|bits| 2.0 * uniform(bits) - 1.0).collect()
}

/// Runs `compute` on every instruction set of this machine, with 1, 2 and 3 threads; asserts that threads change no bit and
/// gives the results by instruction set. On a machine without AVX-512, `kernels/avx512-under-bochs` runs these tests with it.
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

/// An emulated GPU that checks every access of every kernel. None, with a word on stderr, where no C++ compiler can build it.
pub(crate) fn gpu() -> Option<Gpu> {
    clr_cuda_emulator::install().then(|| Gpu::open(0).unwrap())
}

/// K tensors of one length on a GPU, one after the other with gaps between them.
pub(crate) struct Tensors<T> {
    buffer: Buffer<T>,
    lanes: usize,
    len: usize,
    stride: usize,
}

/// The placing of tensors: at multiples of 4 values, if their length is one, or at odd places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placing {
    Aligned,
    Odd,
}

impl Placing {
    pub const BOTH: [Placing; 2] = [Placing::Aligned, Placing::Odd];
}

impl<T: Pod + PartialEq> Tensors<T> {
    pub fn new(gpu: &Gpu, placing: Placing, tensors: &[Vec<T>]) -> Tensors<T> {
        let len = tensors[0].len();
        let stride = match placing {
            Placing::Aligned => len.next_multiple_of(4) + 4,
            Placing::Odd => len.next_multiple_of(2) + 1,
        };
        let mut values = vec![Self::gap(); stride * tensors.len()];
        for (lane, tensor) in tensors.iter().enumerate() {
            values[lane * stride..][..len].copy_from_slice(tensor);
        }
        Tensors { buffer: gpu.alloc_from(&values).unwrap(), lanes: tensors.len(), len, stride }
    }

    /// Tensors that nothing was written to yet.
    pub fn unwritten(gpu: &Gpu, placing: Placing, lanes: usize, len: usize) -> Tensors<T> {
        Tensors::new(gpu, placing, &vec![vec![Self::gap(); len]; lanes])
    }

    pub fn lanes(&self) -> Lanes<'_, T> {
        self.buffer.lanes(self.stride)
    }

    /// The tensors; asserts that nothing was written between them.
    #[track_caller]
    pub fn read(&self, gpu: &Gpu) -> Vec<Vec<T>> {
        let mut values = vec![Self::gap(); self.buffer.len()];
        gpu.download(&self.buffer, 0, &mut values).unwrap();
        let gap = Self::gap();
        let whole = values.chunks(self.stride).take(self.lanes);
        whole
            .map(|lane| {
                let (tensor, rest) = lane.split_at(self.len);
                assert!(rest.iter().all(|value| bytes_of(value) == bytes_of(&gap)), "written beyond the end");
                tensor.to_vec()
            })
            .collect()
    }

    /// NaN, or another value that nobody expects.
    fn gap() -> T {
        let mut gap = T::zeroed();
        bytes_of_mut(&mut gap).fill(0xff);
        gap
    }
}

/// Runs `compute` for lanes 0 to 2 at once, and for each alone, all placed in either way, and asserts that a lane's bits do not
/// depend on its neighbours. `compute` is given the numbers of the lanes and gives the results of each. Gives the results by
/// lane and placing.
#[track_caller]
pub(crate) fn on_the_gpu(compute: impl Fn(&Gpu, Placing, &[u64]) -> Vec<Vec<f32>>) -> Vec<(u64, Placing, Vec<f32>)> {
    let Some(gpu) = gpu() else { return Vec::new() };
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let mut results = Vec::new();
    for placing in Placing::BOTH {
        let together = compute(&gpu, placing, &[0, 1, 2]);
        assert_eq!(together.len(), 3);
        for (lane, result) in (0..).zip(together) {
            let alone = compute(&gpu, placing, &[lane]);
            assert_eq!(bits(&result), bits(&alone[0]), "lane {lane}, {placing:?}: among others and alone");
            results.push((lane, placing, result));
        }
    }
    results
}

/// For each lane, its parts one after the other.
pub(crate) fn join<const N: usize>(parts: [Vec<Vec<f32>>; N]) -> Vec<Vec<f32>> {
    (0..parts[0].len()).map(|lane| parts.iter().flat_map(|part| part[lane].iter().copied()).collect()).collect()
}

/// Different values for each lane.
pub(crate) fn lane_values(lanes: &[u64], seed: u64, len: usize) -> Vec<Vec<f32>> {
    lanes.iter().map(|lane| values(1000 * lane + seed, len)).collect()
}

/// A CPU's results in f64, for comparison.
pub(crate) fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
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

    /// A setting of PyTorch's that is true or false; true where the file says nothing of it.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.tensors.get(name).is_none_or(|value| value.as_bool().unwrap())
    }

    #[track_caller]
    pub(crate) fn text(&self, name: &str) -> String {
        self.tensors[name].as_str().unwrap().to_owned()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }
}
