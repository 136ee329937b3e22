//! A session: its lanes, each a process of its own.

use std::sync::{Mutex, PoisonError};

use clr_plugin::{Dataset, Error, Evaluate, Lane, Scores, Session, SessionConfig, StepTable, Tensor};

use crate::lane::{LaneProcess, Setting};

/// Trials that train side by side.
#[derive(Debug)]
pub struct TorchSession {
    lanes: Vec<LaneProcess>,
    setting: Setting,
    batch_size: usize,
    thread_count: usize,
}

impl TorchSession {
    pub fn new(config: &SessionConfig<'_>) -> Result<TorchSession, Error> {
        let setting = Setting::new(config)?;
        let places: Vec<Mutex<Option<LaneProcess>>> = config.lanes.iter().map(|_| Mutex::new(None)).collect();
        in_turns(config.thread_count, config.lanes.iter().zip(&places), |(lane, place)| {
            let started = LaneProcess::start(&setting, lane)?;
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(started);
            Ok(())
        })?;
        let lanes = places.into_iter().filter_map(|place| place.into_inner().unwrap_or_else(PoisonError::into_inner));
        let (batch_size, thread_count) = (config.batch_size, config.thread_count);
        Ok(TorchSession { lanes: lanes.collect(), setting, batch_size, thread_count })
    }
}

impl Session for TorchSession {
    fn step(&mut self, table: &mut StepTable<'_>) -> Result<(), Error> {
        let dataset = table.dataset();
        let mut processes: Vec<Option<&mut LaneProcess>> = self.lanes.iter_mut().map(Some).collect();
        let lanes = table.lanes().into_iter().filter_map(|rows| Some((processes[rows.lane()].take()?, rows)));
        in_turns(self.thread_count, lanes, |(process, mut rows)| {
            while let Some(row) = rows.next_row() {
                let metrics = process.step(row, dataset)?;
                rows.finish_row(&metrics);
            }
            Ok(())
        })
    }

    fn evaluate(&mut self, evaluate: &mut Evaluate<'_>) -> Result<(), Error> {
        let samples: Vec<u32> = (evaluate.first..evaluate.first + evaluate.count).map(|sample| sample as u32).collect();
        let (batch_size, measured) = (self.batch_size, Mutex::new(Vec::new()));
        let active = evaluate.active;
        let lanes = self.lanes.iter_mut().enumerate().filter(|(lane, _)| active[*lane]);
        in_turns(self.thread_count, lanes, |(lane, process)| {
            let (mut loss, mut right) = (0.0, 0.0);
            for batch in samples.chunks(batch_size) {
                if evaluate.cancelled() {
                    return Ok(());
                }
                let [batch_loss, batch_right] = process.evaluate(evaluate.dataset, evaluate.split, batch)?;
                loss += batch_loss;
                right += batch_right;
            }
            let count = samples.len() as f64;
            let metrics = [(loss / count) as f32, (right / count) as f32, f32::NAN];
            measured.lock().unwrap_or_else(PoisonError::into_inner).push((lane, metrics));
            Ok(())
        })?;
        for (lane, metrics) in measured.into_inner().unwrap_or_else(PoisonError::into_inner) {
            evaluate.set(lane, &metrics);
        }
        Ok(())
    }

    fn reset_lane(&mut self, lane: usize, trial: &Lane<'_>, _dataset: &Dataset<'_>) -> Result<(), Error> {
        self.lanes[lane] = LaneProcess::start(&self.setting, trial)?;
        Ok(())
    }

    fn tensors(&self, lane: usize) -> Vec<Tensor> {
        self.lanes[lane].tensors.clone()
    }

    fn save(&mut self, lane: usize, tensor: usize, values: &mut [f32]) -> Result<(), Error> {
        self.lanes[lane].save(tensor, values)
    }

    fn load(&mut self, lane: usize, tensor: usize, values: &[f32]) -> Result<(), Error> {
        self.lanes[lane].load(tensor, values)
    }

    fn scores(&mut self, scores: &mut Scores<'_>) -> Result<(), Error> {
        let samples: Vec<u32> = (scores.first..scores.first + scores.count).map(|sample| sample as u32).collect();
        for batch in samples.chunks(self.batch_size) {
            if scores.cancelled() {
                return Ok(());
            }
            let logits = self.lanes[scores.lane].scores(scores.dataset, scores.split, batch)?;
            scores.push(&logits);
        }
        Ok(())
    }

    fn average_statistics(&mut self, lane: usize, samples: &[u32], dataset: &Dataset<'_>) -> Result<(), Error> {
        self.lanes[lane].average_statistics(dataset, samples)
    }
}

/// Does the work for each item, on at most so many threads at once. Returns the first error; what others do then is finished.
fn in_turns<T: Send>(
    thread_count: usize,
    items: impl Iterator<Item = T>,
    work: impl Fn(T) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let items: Vec<T> = items.collect();
    let threads = thread_count.min(items.len());
    if threads <= 1 {
        return items.into_iter().try_for_each(work);
    }
    let queue = Mutex::new(items.into_iter());
    let turns = || -> Result<(), Error> {
        loop {
            let item = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(item) = item else { return Ok(()) };
            work(item)?;
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(turns)).collect();
        let own = turns();
        let others = others
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(Error::internal("a thread of the session panicked"))));
        others.fold(own, Result::and)
    })
}
