//! The columns of the tables that the host and a session exchange: hyper-parameters in, metrics out.

pub(crate) use clr_kernels::step::Hypers;

/// Names of the hyper-parameters.
pub(crate) const HYPERS: [&str; Hypers::NAMES.len()] = Hypers::NAMES;

/// The columns of the metrics table.
pub(crate) const METRICS: [&str; 3] = ["loss", "accuracy", "grad_norm"];
