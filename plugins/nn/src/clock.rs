//! How the passes are timed, if they are.

/// One timed piece of a training step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// By its place among those that are run.
    Instruction(usize),
    Update,
}

/// A stopwatch for the phases of a step.
pub(crate) trait Clock {
    fn time<R>(&mut self, phase: Phase, run: impl FnOnce() -> R) -> R;
}

/// A stopwatch that is not looked at: it costs nothing.
pub(crate) struct NoClock;

impl Clock for NoClock {
    #[inline]
    fn time<R>(&mut self, _phase: Phase, run: impl FnOnce() -> R) -> R {
        run()
    }
}
