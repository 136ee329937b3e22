//! The lanes of `quadratic`, each with its fault.

use std::sync::atomic::Ordering;

use clr_plugin::{Dataset, Error, Evaluate, Lane, Session, SessionConfig, StepTable, StepTableParts, Tensor};

use crate::fault::{Fault, Place};
use crate::quadratic::{QuadraticSession, parse_optimizer};
use crate::strike::strike;

/// Trials that descend one bowl, some of which go wrong.
#[derive(Debug)]
pub struct FaultySession {
    quadratic: QuadraticSession,
    lanes: Vec<FaultyLane>,
}

#[derive(Debug)]
struct FaultyLane {
    fault: Fault,
    seed: u64,
    /// Updates made, as far as this session has seen.
    step: u64,
}

/// Refuses options that are wrong, and goes wrong where that is asked for.
pub fn check_and_strike(lane: &Lane<'_>) -> Result<(), Error> {
    let (fault, options) = Fault::split(lane)?;
    parse_optimizer(&Lane { options: &options, ..*lane })?;
    FaultyLane { fault, seed: lane.init_seed, step: 0 }.strike(Place::Footprint, 0).map(drop)
}

impl FaultyLane {
    fn strike(&self, place: Place, step: u64) -> Result<bool, Error> {
        if !self.fault.is_due(place, step) {
            return Ok(false);
        }
        strike(&self.fault, self.seed)
    }
}

impl FaultySession {
    pub(crate) fn new(config: &SessionConfig<'_>) -> Result<FaultySession, Error> {
        let split: Vec<(Fault, String)> = config.lanes.iter().map(Fault::split).collect::<Result<_, _>>()?;
        let plain = config.lanes.iter().zip(&split).map(|(lane, (_, options))| Lane { options, ..*lane }).collect();
        let quadratic = QuadraticSession::new(&SessionConfig { lanes: plain, ..config.clone() })?;
        let lanes = split.into_iter().zip(&config.lanes);
        let lanes: Vec<FaultyLane> =
            lanes.map(|((fault, _), lane)| FaultyLane { fault, seed: lane.init_seed, step: 0 }).collect();
        for lane in &lanes {
            lane.strike(Place::Start, 0)?;
        }
        Ok(FaultySession { quadratic, lanes })
    }
}

impl Session for FaultySession {
    fn step(&mut self, table: &mut StepTable<'_>) -> Result<(), Error> {
        // One step of all lanes at a time, so that a fault finds its neighbours in the middle of the call.
        let &StepTableParts {
            dataset,
            step_count,
            lane_count,
            batch_size,
            hyper_count,
            metric_count,
            first_steps,
            lane_steps,
            sample_lane_count,
            sample_counts,
            samples,
            epochs,
            hypers,
            cancel,
            ..
        } = table.parts();
        let mut metrics = vec![0.0; lane_count * metric_count];
        let mut steps_done = vec![0; lane_count];
        let mut cursors = table.lanes();
        for step in 0..step_count {
            if cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
                break;
            }
            let active = |lane: usize| (step as u32) < lane_steps[lane];
            let mut nan = vec![false; lane_count];
            for (lane, faulty) in self.lanes.iter_mut().enumerate().filter(|(lane, _)| active(*lane)) {
                faulty.step = first_steps[lane] + step as u64;
                nan[lane] = faulty.strike(Place::Step, faulty.step)?;
                faulty.step += 1;
            }
            let batches = step * sample_lane_count..(step + 1) * sample_lane_count;
            let images = batches.start * batch_size..batches.end * batch_size;
            self.quadratic.step(&mut StepTable::new(StepTableParts {
                dataset,
                step_count: 1,
                lane_count,
                batch_size,
                hyper_count,
                metric_count,
                first_steps: &first_steps.iter().map(|first| first + step as u64).collect::<Vec<_>>(),
                lane_steps: &(0..lane_count).map(|lane| u32::from(active(lane))).collect::<Vec<_>>(),
                sample_lane_count,
                sample_counts: &sample_counts[batches],
                samples: &samples[images.clone()],
                epochs: &epochs[images],
                hypers: &hypers[step * lane_count * hyper_count..][..lane_count * hyper_count],
                cancel: None,
                steps_done: &mut steps_done,
                metrics: &mut metrics,
            })?)?;
            for cursor in cursors.iter_mut().filter(|cursor| active(cursor.lane())) {
                let row = &mut metrics[cursor.lane() * metric_count..][..metric_count];
                if nan[cursor.lane()] {
                    row.fill(f32::NAN);
                }
                cursor.finish_row(row);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, evaluate: &mut Evaluate<'_>) -> Result<(), Error> {
        let mut nan = Vec::new();
        for lane in evaluate.active_lanes() {
            if self.lanes[lane].strike(Place::Evaluate, self.lanes[lane].step)? {
                nan.push(lane);
            }
        }
        self.quadratic.evaluate(evaluate)?;
        for lane in nan {
            evaluate.set(lane, &[f32::NAN; 3]);
        }
        Ok(())
    }

    fn reset_lane(&mut self, lane: usize, trial: &Lane<'_>, dataset: &Dataset<'_>) -> Result<(), Error> {
        let (fault, options) = Fault::split(trial)?;
        self.quadratic.reset_lane(lane, &Lane { options: &options, ..*trial }, dataset)?;
        self.lanes[lane] = FaultyLane { fault, seed: trial.init_seed, step: 0 };
        self.lanes[lane].strike(Place::Start, 0)?;
        Ok(())
    }

    fn tensors(&self, lane: usize) -> Vec<Tensor> {
        let mut tensors = self.quadratic.tensors(lane);
        // The call has no place for an error.
        let is_wrong = self.lanes[lane].strike(Place::Tensors, 0).unwrap_or_else(|error| panic!("{}", error.message));
        if is_wrong {
            tensors[0].shape = vec![1 << 20, 1 << 20];
        }
        tensors
    }

    fn save(&mut self, lane: usize, tensor: usize, values: &mut [f32]) -> Result<(), Error> {
        self.quadratic.save(lane, tensor, values)?;
        if tensor == 0 && self.lanes[lane].strike(Place::Save, self.lanes[lane].step)? {
            values.fill(f32::NAN);
        }
        Ok(())
    }

    fn load(&mut self, lane: usize, tensor: usize, values: &[f32]) -> Result<(), Error> {
        if tensor == 0 {
            self.lanes[lane].strike(Place::Load, self.lanes[lane].step)?;
        }
        self.quadratic.load(lane, tensor, values)
    }
}
