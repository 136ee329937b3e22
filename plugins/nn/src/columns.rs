//! The columns of the tables that the host and a session exchange: hyper-parameters in, metrics out.

pub(crate) use clr_kernels::step::Hypers;

/// Names of the hyper-parameters.
pub(crate) const HYPERS: [&str; Hypers::NAMES.len()] = Hypers::NAMES;

/// The columns of the metrics table, of which the last is there for models that declare it.
const METRICS: [&str; 4] = ["loss", "accuracy", "grad_norm", "top5_accuracy"];

/// The place of the last among them.
pub(crate) const TOP5: usize = 3;

/// The values of a row of the metrics table.
pub(crate) type MetricsRow = [f32; METRICS.len()];

/// The columns of a model that measures top-5 accuracy, or not.
pub(crate) fn metrics(has_top5: bool) -> &'static [&'static str] {
    if has_top5 { &METRICS } else { &METRICS[..TOP5] }
}
