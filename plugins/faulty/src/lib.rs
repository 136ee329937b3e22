//! A plugin that goes wrong on demand. It is for the tests of `clr-run`, and for nobody else.
//!
//! It is the plugin `quadratic`, with optimizer options that name a fault, the place and the step: one trial breaks the
//! session that its healthy neighbours share. Nothing goes wrong unless the environment variable `CLR_FAULTS` names a
//! folder, in which each fault that strikes is counted, so that it may pass on a retry (`fault_times`) and a test can
//! see that it struck. One spec thus makes both the disturbed run and the undisturbed one.
//!
//! ```toml
//! [optimizers.guilty]
//! kind       = "sgd"
//! fault      = "segfault"
//! fault_step = 12
//! ```
//!
//! A plugin that is asked what it is has no options yet: the variable `CLR_FAULT_IN_DESCRIBE` names a fault then.
//!
//! `fault.rs` has the options, `strike.rs` the faults, `session.rs` the lanes around those of `quadratic`.

// The files of `quadratic`, since its crate cannot be linked into another plugin: both export `clr_plugin_api`.
#[path = "../../quadratic/src/bowl.rs"]
mod bowl;
#[path = "../../quadratic/src/session.rs"]
mod quadratic;

mod fault;
mod session;
mod strike;

use clr_plugin::{Description, Error, Footprint, Model, Optimizer, Plugin, SessionConfig};

use crate::session::FaultySession;

pub struct Faulty;

clr_plugin::export!(Faulty);

const MODEL_SCHEMA: &str = r#"{
  "type": "object",
  "description": "The model of the plugin quadratic",
  "additionalProperties": false,
  "properties": {
    "dimension": {"type": "integer", "minimum": 1, "maximum": 65536, "default": 8, "description": "Number of weights"},
    "noise": {"type": "number", "minimum": 0, "default": 0, "description": "Each sample has an optimum of its own, off by up to so much in each coordinate"},
    "precision": {"type": "string", "enum": ["f32"], "default": "f32"}
  }
}"#;

impl Plugin for Faulty {
    type Session = FaultySession;

    fn description() -> Description {
        strike::before_describing();
        let optimizer = |name, hypers| Optimizer { name, options_schema: fault::SCHEMA.to_owned(), hypers };
        Description {
            name: "faulty",
            version: env!("CARGO_PKG_VERSION"),
            numerics_revision: 1,
            devices: vec!["cpu"],
            models: vec![Model {
                name: "quadratic",
                options_schema: MODEL_SCHEMA.to_owned(),
                defaults: r#"{"momentum": 0.9, "weight_decay": 0}"#.to_owned(),
                hypers: vec!["lr", "momentum", "weight_decay"],
                metrics: vec!["loss", "accuracy", "grad_norm"],
            }],
            optimizers: vec![optimizer("gd", vec!["lr"]), optimizer("sgd", vec!["lr", "momentum", "weight_decay"])],
        }
    }

    fn footprint(config: &SessionConfig<'_>) -> Result<Footprint, Error> {
        let options = bowl::Options::parse(config)?;
        for lane in &config.lanes {
            session::check_and_strike(lane)?;
        }
        let vector = 4 * options.dimension as u64;
        Ok(Footprint { bytes_shared: 2 * vector, bytes_per_lane: 2 * vector, numerics: "cpu".to_owned() })
    }

    fn session(config: &SessionConfig<'_>) -> Result<FaultySession, Error> {
        FaultySession::new(config)
    }
}
