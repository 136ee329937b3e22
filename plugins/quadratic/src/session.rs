//! Lanes and the optimizers that move them.

use clr_plugin::{Dataset, Error, Evaluate, Lane, Role, Session, SessionConfig, Split, StepTable, Tensor};
use serde::Deserialize;

use crate::bowl::{Bowl, Options};

/// Trials that descend one bowl, each from its own start and with its own optimizer.
#[derive(Debug)]
pub struct QuadraticSession {
    bowl: Bowl,
    lanes: Vec<Trial>,
    gradient: Vec<f32>,
}

/// The state of a lane.
#[derive(Debug)]
struct Trial {
    weights: Vec<f32>,
    /// Momentum's memory; none for plain descent.
    velocity: Option<Vec<f32>>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "optimizer", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum OptimizerOptions {
    /// `w -= lr g`.
    Gd {},
    /// Caffe's form: `v = momentum v + lr (g + weight_decay w); w -= v`.
    Sgd {},
}

pub(crate) fn parse_optimizer(lane: &Lane<'_>) -> Result<OptimizerOptions, Error> {
    clr_plugin::parse_options(lane.options, "optimizer options")
}

impl QuadraticSession {
    pub(crate) fn new(config: &SessionConfig<'_>) -> Result<QuadraticSession, Error> {
        let options = Options::parse(config)?;
        let bowl = Bowl::new(&options);
        let lanes = config.lanes.iter().map(|lane| Trial::new(&bowl, lane)).collect::<Result<_, _>>()?;
        Ok(QuadraticSession { bowl, lanes, gradient: vec![0.0; options.dimension] })
    }
}

impl Trial {
    fn new(bowl: &Bowl, lane: &Lane<'_>) -> Result<Trial, Error> {
        let weights = bowl.initial(lane.init_seed);
        let velocity = match parse_optimizer(lane)? {
            OptimizerOptions::Gd {} => None,
            OptimizerOptions::Sgd {} => Some(vec![0.0; weights.len()]),
        };
        Ok(Trial { weights, velocity })
    }

    fn update(&mut self, gradient: &[f32], hypers: &[f32]) {
        let &[lr, momentum, weight_decay] = hypers else { unreachable!("the description has three hypers") };
        match &mut self.velocity {
            None => {
                for (w, g) in self.weights.iter_mut().zip(gradient) {
                    *w -= lr * g;
                }
            }
            Some(velocity) => {
                for ((w, v), g) in self.weights.iter_mut().zip(velocity).zip(gradient) {
                    *v = momentum * *v + lr * (g + weight_decay * *w);
                    *w -= *v;
                }
            }
        }
    }

    fn tensor(&mut self, tensor: usize) -> Result<&mut Vec<f32>, Error> {
        match (tensor, &mut self.velocity) {
            (0, _) => Ok(&mut self.weights),
            (1, Some(velocity)) => Ok(velocity),
            _ => Err(Error::invalid(format!("tensor {tensor}"))),
        }
    }
}

impl Session for QuadraticSession {
    fn step(&mut self, table: &mut StepTable<'_>) -> Result<(), Error> {
        for mut lane in table.lanes() {
            let trial = &mut self.lanes[lane.lane()];
            while let Some(row) = lane.next_row() {
                let samples = row.samples.iter().copied();
                let measured = self.bowl.measure(Split::Train, samples, &trial.weights, &mut self.gradient);
                let norm = self.gradient.iter().fold(0.0, |sum, g| sum + g * g).sqrt();
                trial.update(&self.gradient, row.hypers);
                lane.finish_row(&[measured.loss, measured.accuracy, norm]);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, evaluate: &mut Evaluate<'_>) -> Result<(), Error> {
        let samples = (evaluate.first..evaluate.first + evaluate.count).map(|sample| sample as u32);
        for lane in evaluate.active_lanes() {
            if evaluate.cancelled() {
                break;
            }
            let trial = &self.lanes[lane];
            let measured = self.bowl.measure(evaluate.split, samples.clone(), &trial.weights, &mut self.gradient);
            evaluate.set(lane, &[measured.loss, measured.accuracy, f32::NAN]);
        }
        Ok(())
    }

    fn reset_lane(&mut self, lane: usize, trial: &Lane<'_>, _dataset: &Dataset<'_>) -> Result<(), Error> {
        self.lanes[lane] = Trial::new(&self.bowl, trial)?;
        Ok(())
    }

    fn tensors(&self, lane: usize) -> Vec<Tensor> {
        let shape = vec![self.gradient.len()];
        let mut tensors = vec![Tensor { name: "weights".to_owned(), role: Role::Weight, shape: shape.clone() }];
        if self.lanes[lane].velocity.is_some() {
            tensors.push(Tensor { name: "weights.velocity".to_owned(), role: Role::OptimizerState, shape });
        }
        tensors
    }

    fn save(&mut self, lane: usize, tensor: usize, values: &mut [f32]) -> Result<(), Error> {
        values.copy_from_slice(self.lanes[lane].tensor(tensor)?);
        Ok(())
    }

    fn load(&mut self, lane: usize, tensor: usize, values: &[f32]) -> Result<(), Error> {
        self.lanes[lane].tensor(tensor)?.copy_from_slice(values);
        Ok(())
    }
}
