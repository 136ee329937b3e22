//! The smallest real plugin: a quadratic bowl, whose path under gradient descent is known in closed form.
//!
//! `bowl.rs` is the model, `session.rs` the optimizers and the lanes; `../quadratic-c/quadratic.c` is the same in one C
//! file and gives the same bits. Of the dataset it uses the number of images and the samples' indices, never a pixel.

mod bowl;
mod session;

use clr_plugin::{Description, Error, Footprint, Model, Optimizer, Plugin, SessionConfig};

use crate::bowl::Options;
use crate::session::QuadraticSession;

pub struct Quadratic;

clr_plugin::export!(Quadratic);

const OPTIONS_SCHEMA: &str = r#"{
  "type": "object",
  "description": "loss = 1/2 (w - 1)' A (w - 1) with A diagonal; accuracy = share of coordinates near their optimum",
  "additionalProperties": false,
  "properties": {
    "dimension": {"type": "integer", "minimum": 1, "maximum": 65536, "default": 8, "description": "Number of weights"},
    "condition": {"type": "number", "minimum": 1, "default": 10, "description": "Largest eigenvalue of A; the smallest is 1, the others are evenly spaced"},
    "noise": {"type": "number", "minimum": 0, "default": 0, "description": "Each sample has an optimum of its own, off by up to so much in each coordinate"},
    "tolerance": {"type": "number", "minimum": 0, "default": 0.1, "description": "A coordinate counts as accurate within so much of its optimum"},
    "precision": {"type": "string", "enum": ["f32"], "default": "f32"}
  }
}"#;

const OPTIMIZER_SCHEMA: &str = r#"{"type": "object", "additionalProperties": false, "properties": {}}"#;

impl Plugin for Quadratic {
    type Session = QuadraticSession;

    fn description() -> Description {
        Description {
            name: "quadratic",
            version: env!("CARGO_PKG_VERSION"),
            numerics_revision: 1,
            devices: vec!["cpu"],
            models: vec![Model {
                name: "quadratic",
                options_schema: OPTIONS_SCHEMA.to_owned(),
                defaults: r#"{"momentum": 0.9, "weight_decay": 0}"#.to_owned(),
                hypers: vec!["lr", "momentum", "weight_decay"],
                metrics: vec!["loss", "accuracy", "grad_norm"],
            }],
            optimizers: vec![
                Optimizer { name: "gd", options_schema: OPTIMIZER_SCHEMA.to_owned(), hypers: vec!["lr"] },
                Optimizer {
                    name: "sgd",
                    options_schema: OPTIMIZER_SCHEMA.to_owned(),
                    hypers: vec!["lr", "momentum", "weight_decay"],
                },
            ],
        }
    }

    fn footprint(config: &SessionConfig<'_>) -> Result<Footprint, Error> {
        let options = Options::parse(config)?;
        for lane in &config.lanes {
            session::parse_optimizer(lane)?;
        }
        let vector = 4 * options.dimension as u64;
        Ok(Footprint { bytes_shared: 2 * vector, bytes_per_lane: 2 * vector, numerics: "cpu".to_owned() })
    }

    fn session(config: &SessionConfig<'_>) -> Result<QuadraticSession, Error> {
        QuadraticSession::new(config)
    }
}
