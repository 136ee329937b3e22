//! The columns of the tables that the host and a session exchange: hyper-parameters in, metrics out.

/// The columns of the hyper-parameter table, in the order of [`Hypers`].
pub(crate) const HYPERS: [&str; 5] = ["lr", "momentum", "weight_decay", "beta1", "beta2"];

/// One row of the hyper-parameter table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Hypers {
    pub lr: f32,
    pub momentum: f32,
    pub weight_decay: f32,
    pub beta1: f32,
    pub beta2: f32,
}

impl From<[f32; 5]> for Hypers {
    fn from([lr, momentum, weight_decay, beta1, beta2]: [f32; 5]) -> Hypers {
        Hypers { lr, momentum, weight_decay, beta1, beta2 }
    }
}

/// The columns of the metrics table.
pub(crate) const METRICS: [&str; 3] = ["loss", "accuracy", "grad_norm"];
