//! The CPU as a device: one pool of threads and one instruction set.

mod fused_simd;
mod isa;
mod product;
mod simd;
mod sum;
mod tile;
pub(crate) mod winograd;

pub use isa::Isa;
pub(crate) use product::{Ahead, Depth, Level, Packed, Planes, Product, Rows, Start, for_each_panel, pack, packed_len};
pub(crate) use simd::{Simd, Task, for_each_block, vector_len};
pub(crate) use sum::{add_rows, sum_partials};

use std::fmt;
use std::sync::{Mutex, PoisonError};

use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

/// A fixed number of threads and the instruction set that every kernel on them uses.
///
/// Work is handed out in items that are independent of each other, so results never depend on the number of threads.
/// Calls nest: lanes outside, chunks of a batch inside.
///
/// ```
/// use clr_kernels::Cpu;
///
/// let cpu = Cpu::new(2)?;
/// let mut squares = [0; 10];
/// cpu.for_each_chunk_mut(&mut squares, 3, |chunk_index, chunk| {
///     for (i, square) in chunk.iter_mut().enumerate() {
///         *square = (3 * chunk_index + i).pow(2);
///     }
/// });
/// assert_eq!(squares, [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]);
/// # Ok::<(), clr_kernels::CpuError>(())
/// ```
#[derive(Debug)]
pub struct Cpu {
    /// None when there is one thread: work then runs as plain loops in the calling thread.
    pool: Option<rayon::ThreadPool>,
    isa: Isa,
}

impl Cpu {
    /// `thread_count` threads and the best instruction set of this machine, or the one that `CLR_ISA` names
    /// (`avx512`, `avx2` or `portable`).
    ///
    /// # Errors
    /// `thread_count` is 0, threads cannot be started, or `CLR_ISA` names no instruction set or one that this machine
    /// lacks.
    pub fn new(thread_count: usize) -> Result<Self, CpuError> {
        let isa = match std::env::var_os("CLR_ISA") {
            Some(name) if !name.is_empty() => Isa::parse(&name.to_string_lossy())?,
            _ => Isa::best(),
        };
        Self::with_isa(thread_count, isa)
    }

    /// `thread_count` threads and the instruction set `isa`.
    ///
    /// # Errors
    /// As [`Cpu::new`].
    pub fn with_isa(thread_count: usize, isa: Isa) -> Result<Self, CpuError> {
        if !isa.is_available() {
            return Err(CpuError::MissingIsa { isa });
        }
        let pool = match thread_count {
            0 => return Err(CpuError::NoThreads),
            1 => None,
            _ => Some(
                rayon::ThreadPoolBuilder::new()
                    .num_threads(thread_count)
                    .thread_name(|index| format!("clr-cpu-{index}"))
                    .build()
                    .map_err(|error| CpuError::Threads { thread_count, message: error.to_string() })?,
            ),
        };
        Ok(Self { pool, isa })
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The number of threads that work is spread over.
    pub fn thread_count(&self) -> usize {
        self.pool.as_ref().map_or(1, rayon::ThreadPool::current_num_threads)
    }

    /// Calls `f(i)` for every `i` in `0..count`, in any order, possibly at once.
    pub fn for_each(&self, count: usize, f: impl Fn(usize) + Sync) {
        match &self.pool {
            Some(pool) if count > 1 => {
                pool.install(|| (0..count).into_par_iter().with_max_len(1).for_each(&f));
            }
            _ => (0..count).for_each(f),
        }
    }

    /// Calls `f(i, item)` for every item. Used for lanes.
    pub fn for_each_mut<T: Send>(&self, items: &mut [T], f: impl Fn(usize, &mut T) + Sync) {
        self.for_each_chunk_mut(items, 1, |i, item| f(i, &mut item[0]));
    }

    /// Calls `f(i, chunk)` for every run of `chunk_len` items; the last may be shorter.
    ///
    /// # Panics
    /// If `chunk_len` is 0 and there are items.
    pub fn for_each_chunk_mut<T: Send>(&self, items: &mut [T], chunk_len: usize, f: impl Fn(usize, &mut [T]) + Sync) {
        if items.is_empty() {
            return;
        }
        match &self.pool {
            Some(pool) if items.len() > chunk_len => {
                pool.install(|| {
                    items.par_chunks_mut(chunk_len).with_max_len(1).enumerate().for_each(|(i, chunk)| f(i, chunk));
                });
            }
            _ => items.chunks_mut(chunk_len).enumerate().for_each(|(i, chunk)| f(i, chunk)),
        }
    }

    /// Calls `f(i, left_chunk, right_chunk)` for the i-th run of `left_len` items of `left` and of `right_len` items of
    /// `right`, until either is used up.
    ///
    /// # Panics
    /// If `left_len` or `right_len` is 0 and there are items.
    pub fn for_each_chunk_pair_mut<T: Send, U: Send>(
        &self,
        (left, left_len): (&mut [T], usize),
        (right, right_len): (&mut [U], usize),
        f: impl Fn(usize, &mut [T], &mut [U]) + Sync,
    ) {
        if left.is_empty() || right.is_empty() {
            return;
        }
        match &self.pool {
            Some(pool) if left.len() > left_len => pool.install(|| {
                left.par_chunks_mut(left_len)
                    .with_max_len(1)
                    .zip(right.par_chunks_mut(right_len))
                    .enumerate()
                    .for_each(|(i, (left, right))| f(i, left, right));
            }),
            _ => left
                .chunks_mut(left_len)
                .zip(right.chunks_mut(right_len))
                .enumerate()
                .for_each(|(i, (left, right))| f(i, left, right)),
        }
    }

    /// Calls `f(i, chunk, scratch)` for every run of `chunk_len` items, as [`Cpu::for_each_chunk_mut`] does. Each thread has
    /// `scratch_len` floats of `scratch` of its own, in which the last call left what it liked; where there is scratch memory
    /// for some of the threads only, no more of them work.
    ///
    /// # Panics
    /// If `chunk_len` or `scratch_len` is 0 and there are items, or `scratch` is shorter than `scratch_len`.
    pub fn for_each_chunk_mut_with<T: Send>(
        &self,
        (items, chunk_len): (&mut [T], usize),
        (scratch, scratch_len): (&mut [f32], usize),
        f: impl Fn(usize, &mut [T], &mut [f32]) + Sync,
    ) {
        if items.is_empty() {
            return;
        }
        assert!(
            scratch.len() >= scratch_len,
            "{} floats of scratch memory where one thread takes {scratch_len}",
            scratch.len()
        );
        let used = (scratch.len() / scratch_len).min(self.thread_count()) * scratch_len;
        let chunks = Mutex::new(items.chunks_mut(chunk_len).enumerate());
        self.for_each_chunk_mut(&mut scratch[..used], scratch_len, |_, scratch| {
            // A statement of its own, so that the lock is free while `f` runs.
            let next = || chunks.lock().unwrap_or_else(PoisonError::into_inner).next();
            while let Some((i, chunk)) = next() {
                f(i, chunk, scratch);
            }
        });
    }

    /// Runs both, possibly at once.
    pub fn join<A: Send, B: Send>(&self, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
        match &self.pool {
            Some(pool) => pool.install(|| rayon::join(a, b)),
            None => (a(), b()),
        }
    }
}

/// Why there is no such [`Cpu`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CpuError {
    /// A thread count of zero.
    NoThreads,
    /// The system refused the threads.
    Threads {
        /// How many were asked for.
        thread_count: usize,
        /// The system's message for people.
        message: String,
    },
    /// No instruction set has this name.
    UnknownIsa {
        /// The name, as given.
        name: String,
    },
    /// This machine lacks the instruction set.
    MissingIsa {
        /// The instruction set that was asked for.
        isa: Isa,
    },
}

impl fmt::Display for CpuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoThreads => write!(f, "a thread count of 0; at least 1 is needed"),
            Self::Threads { thread_count, message } => write!(f, "cannot start {thread_count} threads: {message}"),
            Self::UnknownIsa { name } => {
                write!(f, "unknown instruction set `{name}` (CLR_ISA); expected `avx512`, `avx2` or `portable`")
            }
            Self::MissingIsa { isa } => {
                write!(f, "this machine lacks `{}` (CLR_ISA); its best is `{}`", isa.name(), Isa::best().name())
            }
        }
    }
}

impl std::error::Error for CpuError {}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn every_item_is_visited_once_by_any_number_of_threads() {
        for thread_count in 1..4 {
            let cpu = Cpu::with_isa(thread_count, Isa::Portable).unwrap();
            assert_eq!(cpu.thread_count(), thread_count);
            for count in [0, 1, 2, 7, 64] {
                let visits: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                cpu.for_each(count, |i| {
                    visits[i].fetch_add(1, Ordering::Relaxed);
                });
                assert!(visits.iter().all(|visit| visit.load(Ordering::Relaxed) == 1));

                let mut items = vec![0; count];
                cpu.for_each_mut(&mut items, |i, item| *item += i);
                assert_eq!(items, (0..count).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn calls_nest() {
        let cpu = Cpu::with_isa(2, Isa::Portable).unwrap();
        let mut lanes = vec![vec![0; 10]; 3];
        cpu.for_each_mut(&mut lanes, |lane, items| {
            cpu.for_each_chunk_mut(items, 4, |chunk, items| items.fill(10 * lane + chunk));
        });
        let expected: Vec<Vec<usize>> =
            (0..3).map(|lane| [0, 0, 0, 0, 1, 1, 1, 1, 2, 2].map(|chunk| 10 * lane + chunk).to_vec()).collect();
        assert_eq!(lanes, expected);
    }

    #[test]
    fn pairs_of_chunks_run_to_the_end_of_the_shorter() {
        for thread_count in 1..3 {
            let cpu = Cpu::with_isa(thread_count, Isa::Portable).unwrap();
            let (mut left, mut right) = ([0; 7], [0; 4]);
            let lens = Mutex::new(Vec::new());
            cpu.for_each_chunk_pair_mut((&mut left, 3), (&mut right, 2), |i, left, right| {
                lens.lock().unwrap().push((i, left.len(), right.len()));
            });
            let mut lens = lens.into_inner().unwrap();
            lens.sort();
            assert_eq!(lens, [(0, 3, 2), (1, 3, 2)]);
        }
    }

    #[test]
    fn join_returns_both() {
        for thread_count in 1..3 {
            assert_eq!(Cpu::with_isa(thread_count, Isa::Portable).unwrap().join(|| 1, || 2), (1, 2));
        }
    }

    #[test]
    fn a_cpu_that_cannot_be_is_an_error() {
        assert_eq!(Cpu::with_isa(0, Isa::Portable).unwrap_err(), CpuError::NoThreads);
        let message = Isa::parse("sse9").unwrap_err().to_string();
        assert_eq!(message, "unknown instruction set `sse9` (CLR_ISA); expected `avx512`, `avx2` or `portable`");
        for isa in Isa::ALL {
            assert_eq!(Cpu::with_isa(1, isa).is_ok(), isa.is_available());
            assert_eq!(Isa::parse(isa.key()).unwrap(), isa);
        }
    }
}
