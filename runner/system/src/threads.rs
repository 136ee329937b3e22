//! Threads for parallel iterators. Where rayon is left to start its own, a system that has none to give is a panic.

use rayon::{ThreadPool, ThreadPoolBuilder};

/// Does `work`, whose parallel iterators use as many threads as there are processors, or as many as the system gives, be it
/// this one alone. They end with the work: where threads are few, they are needed elsewhere.
pub fn install<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    match start(std::thread::available_parallelism().map_or(1, usize::from), with_threads) {
        Some(pool) => pool.install(work),
        None => {
            // From now on this thread is a pool of its own, unless it is in one already.
            if let Err(error) =
                ThreadPoolBuilder::new().num_threads(1).use_current_thread().build().map(std::mem::forget)
            {
                tracing::debug!(%error, "this thread works alone already");
            }
            work()
        }
    }
}

fn with_threads(count: usize) -> Option<ThreadPool> {
    let pool = ThreadPoolBuilder::new().num_threads(count).thread_name(|index| format!("clr-decode-{index}")).build();
    pool.inspect_err(|error| tracing::warn!(count, %error, "threads could not be started")).ok()
}

/// Half as many where so many cannot be had.
fn start<P>(mut count: usize, build: impl Fn(usize) -> Option<P>) -> Option<P> {
    while count > 0 {
        if let Some(pool) = build(count) {
            return Some(pool);
        }
        count /= 2;
    }
    None
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;

    #[test]
    fn a_system_that_has_few_threads_to_give_is_asked_for_fewer() {
        let with_at_most = |most| start(16, |count| (count <= most).then_some(count));
        assert_eq!([64, 16, 9, 3, 1, 0].map(with_at_most), [Some(16), Some(16), Some(8), Some(2), Some(1), None]);
    }

    #[test]
    fn parallel_work_is_done_also_by_one_thread_alone() {
        let sum = || (0..1000u64).into_par_iter().sum::<u64>();
        assert_eq!(install(sum), 499_500);
        let alone = std::thread::spawn(move || {
            std::mem::forget(ThreadPoolBuilder::new().num_threads(1).use_current_thread().build().unwrap());
            sum()
        });
        assert_eq!(alone.join().unwrap(), 499_500);
    }
}
