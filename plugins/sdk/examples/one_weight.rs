//! A whole plugin: one weight that goes toward 1, by gradient descent.

use clr_plugin::{
    Dataset, Description, Error, Evaluate, Footprint, Lane, Model, Optimizer, Plugin, Role, Session, SessionConfig,
    StepTable, Tensor, parse_options,
};

pub struct OneWeight;
clr_plugin::export!(OneWeight);

#[derive(serde::Deserialize)]
#[serde(tag = "optimizer", rename_all = "snake_case", deny_unknown_fields)]
enum OptimizerOptions {
    Gd {},
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelOptions {
    /// The host always says it; a plugin without a choice takes only "f32".
    #[serde(default)]
    precision: Precision,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Precision {
    #[default]
    F32,
}

/// The weight of each lane.
pub struct OneWeightSession {
    weights: Vec<f32>,
}

fn start(lane: &Lane<'_>) -> Result<f32, Error> {
    let OptimizerOptions::Gd {} = parse_options(lane.options, "optimizer options")?;
    Ok(lane.init_seed as f32)
}

fn check(config: &SessionConfig<'_>) -> Result<Vec<f32>, Error> {
    let ModelOptions { precision: Precision::F32 } = parse_options(config.options, "model options")?;
    if config.device != "cpu" {
        return Err(Error::unsupported(format!("device `{}`; there is cpu", config.device)));
    }
    config.lanes.iter().map(start).collect()
}

impl Plugin for OneWeight {
    type Session = OneWeightSession;

    fn description() -> Description {
        let schema = r#"{"type": "object", "additionalProperties": false, "properties": {}}"#;
        Description {
            name: "one_weight",
            version: env!("CARGO_PKG_VERSION"),
            numerics_revision: 1,
            devices: vec!["cpu"],
            models: vec![Model {
                name: "one_weight",
                options_schema: schema.to_owned(),
                defaults: "{}".to_owned(),
                hypers: vec!["lr"],
                metrics: vec!["loss", "accuracy"],
            }],
            optimizers: vec![Optimizer { name: "gd", options_schema: schema.to_owned(), hypers: vec!["lr"] }],
        }
    }

    fn footprint(config: &SessionConfig<'_>) -> Result<Footprint, Error> {
        check(config)?;
        Ok(Footprint { bytes_shared: 0, bytes_per_lane: 4, numerics: "cpu".to_owned() })
    }

    fn session(config: &SessionConfig<'_>) -> Result<OneWeightSession, Error> {
        Ok(OneWeightSession { weights: check(config)? })
    }
}

impl Session for OneWeightSession {
    fn step(&mut self, table: &mut StepTable<'_>) -> Result<(), Error> {
        for mut lane in table.lanes() {
            let weight = &mut self.weights[lane.lane()];
            while let Some(row) = lane.next_row() {
                // row.samples, row.epochs, row.step and table.dataset().fill_batch(..) are there for real models.
                let distance = *weight - 1.0;
                *weight -= row.hypers[0] * distance;
                lane.finish_row(&[0.5 * distance * distance, 0.0]);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, evaluate: &mut Evaluate<'_>) -> Result<(), Error> {
        for lane in evaluate.active_lanes() {
            let distance = self.weights[lane] - 1.0;
            evaluate.set(lane, &[0.5 * distance * distance, 0.0]);
        }
        Ok(())
    }

    fn reset_lane(&mut self, lane: usize, trial: &Lane<'_>, _dataset: &Dataset<'_>) -> Result<(), Error> {
        self.weights[lane] = start(trial)?;
        Ok(())
    }

    fn tensors(&self, _lane: usize) -> Vec<Tensor> {
        vec![Tensor { name: "weight".to_owned(), role: Role::Weight, shape: vec![] }]
    }

    fn save(&mut self, lane: usize, _tensor: usize, values: &mut [f32]) -> Result<(), Error> {
        values[0] = self.weights[lane];
        Ok(())
    }

    fn load(&mut self, lane: usize, _tensor: usize, values: &[f32]) -> Result<(), Error> {
        self.weights[lane] = values[0];
        Ok(())
    }
}
