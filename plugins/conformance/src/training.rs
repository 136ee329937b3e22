//! Ways to train that must make no difference.

use crate::driver::Setup;
use crate::history::{Bench, Run, STEPS};
use crate::refusals::refused;
use crate::report::Verdict;

type Checked = Result<(), Verdict>;

/// All trials in one session, in order and in reverse.
pub(crate) fn among_others(bench: &Bench<'_>) -> Checked {
    let mut trials = bench.all();
    for _ in 0..2 {
        let mut run = bench.start(&trials)?;
        run.advance(&vec![STEPS; trials.len()])?;
        run.check()?;
        trials.reverse();
    }
    Ok(())
}

pub(crate) fn one_by_one(bench: &Bench<'_>) -> Checked {
    let trials = bench.all();
    let mut run = bench.start(&trials)?;
    for _ in 0..STEPS {
        run.advance(&vec![1; trials.len()])?;
    }
    run.check()
}

/// Lanes go ahead in turns, with 0 to 2 steps each; those with 0 are left alone.
pub(crate) fn different_steps(bench: &Bench<'_>) -> Checked {
    let trials = bench.all();
    let mut run = bench.start(&trials)?;
    for call in 0.. {
        let left = |lane: usize| STEPS - run.positions[lane] as u32;
        let lane_steps: Vec<u32> =
            (0..trials.len()).map(|lane| ((lane + call) % 3).min(left(lane) as usize) as u32).collect();
        if (0..trials.len()).all(|lane| left(lane) == 0) {
            break;
        }
        run.advance(&lane_steps)?;
    }
    run.check()
}

pub(crate) fn shared_samples(bench: &Bench<'_>) -> Checked {
    let trials = bench.all();
    let mut run = bench.start(&trials)?;
    run.advance_shared(&vec![2; trials.len()])?;
    // Lanes may share samples and not all go on.
    let mut lane_steps = vec![STEPS - 2; trials.len()];
    lane_steps[1] = 0;
    run.advance_shared(&lane_steps)?;
    run.check()
}

pub(crate) fn two_threads(bench: &Bench<'_>) -> Checked {
    let trials = bench.all();
    for trials in [&trials[..1], &trials[..]] {
        let mut run = bench.start_as(trials, &Setup { thread_count: 2, ..bench.setup(trials) })?;
        run.advance(&vec![STEPS; trials.len()])?;
        run.check()?;
    }
    Ok(())
}

/// Numbers would depend on which thread computes them. Others than those of the session are not looked at.
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
pub(crate) fn own_threads(bench: &Bench<'_>) -> Checked {
    use clr_abi::floating_point::FloatingPoint;

    let before = crate::threads::numbers();
    let trials = bench.all();
    let mut run = bench.start_as(&trials, &Setup { thread_count: 2, ..bench.setup(&trials) })?;
    run.advance(&vec![STEPS; trials.len()])?;
    let caller = FloatingPoint::current();
    for thread in crate::threads::started_since(&before) {
        let changes = thread.changes(caller);
        if !changes.is_empty() {
            return Err(format!("one of them does not: {}", changes.join(", ")).into());
        }
    }
    Ok(())
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")))]
pub(crate) fn own_threads(_bench: &Bench<'_>) -> Checked {
    Err(Verdict::Skipped("here nobody tells how other threads compute".to_owned()))
}

pub(crate) fn two_sessions(bench: &Bench<'_>) -> Checked {
    let trials = bench.all();
    let train = |trials: &[usize]| -> Checked {
        let mut run = bench.start(trials)?;
        for _ in 0..STEPS {
            run.advance(&vec![1; trials.len()])?;
        }
        run.check()
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| train(&trials[1..3]));
        train(&trials[..1])?;
        other.join().unwrap_or_else(|_| Err("the second session's thread panicked".to_owned().into()))
    })
}

/// Evaluations of each split in between, of some lanes, in one piece and in part.
pub(crate) fn evaluation(bench: &Bench<'_>) -> Checked {
    let trials = bench.all();
    let columns = bench.model.metrics.len();
    let mut run = bench.start(&trials)?;
    for step in 0..STEPS {
        run.advance(&vec![1; trials.len()])?;
        for split in [clr_abi::TRAIN, clr_abi::VALIDATION, clr_abi::TEST] {
            let count = bench.images.labels[split as usize].len() as u64;
            let active: Vec<u8> = (0..trials.len()).map(|lane| u8::from(lane as u32 % 2 == step % 2)).collect();
            let once = run.session.evaluate(split, 0..count, &active)?;
            run.session.evaluate(split, 1..2, &vec![1; trials.len()])?;
            let again = run.session.evaluate(split, 0..count, &active)?;
            for (lane, active) in active.iter().enumerate() {
                let row = |metrics: &[f32]| -> Vec<u32> {
                    metrics[lane * columns..][..columns].iter().map(|value| value.to_bits()).collect()
                };
                if row(&once) != row(&again) {
                    return Err(format!("lane {lane}: a second evaluation of split {split} differs").into());
                }
                let is_untouched = row(&once).iter().all(|&bits| bits == crate::driver::UNTOUCHED.to_bits());
                if is_untouched == (*active == 1) {
                    return Err(format!("lane {lane}: evaluated although it was not active, or the reverse").into());
                }
            }
        }
    }
    run.check()
}

/// A lane is given another trial, with the next optimizer, while the others are on their way.
pub(crate) fn reset(bench: &Bench<'_>) -> Checked {
    let trials = bench.all();
    let mut run = bench.start(&trials[..2])?;
    run.advance(&[2, 1])?;
    run.reset(0, 2)?;
    run.advance(&[STEPS, STEPS - 1])?;
    run.check()?;
    // The same trial again, from its end.
    run.reset(0, 2)?;
    run.advance(&[STEPS, 0])?;
    run.check()
}

/// A call with the flag raised ends before its steps are done, and what is left is done by the next.
pub(crate) fn cancel(bench: &Bench<'_>) -> Checked {
    let trials = bench.all();
    let mut run = bench.start(&trials)?;
    run.advance(&vec![1; trials.len()])?;
    let lane_steps = vec![STEPS - 1; trials.len()];
    let mut table = bench.table(&run.trials, &run.positions, &lane_steps, false);
    table.cancelled = true;
    let stepped = run.session.step(&table)?;
    if !stepped.cancelled || stepped.done == lane_steps {
        return Err("the call went on to its end although the cancel flag was raised before".to_owned().into());
    }
    if stepped.done.iter().zip(&lane_steps).any(|(done, asked)| done > asked) {
        return Err(format!("lane_steps_done is {:?}, more than asked", stepped.done).into());
    }
    run.take_rows(&table, &stepped.done, &stepped.metrics)?;
    let rest: Vec<u32> = lane_steps.iter().zip(&stepped.done).map(|(asked, done)| asked - done).collect();
    run.advance(&rest)?;
    run.check()
}

/// One lane gets a learning rate of NaN: its loss is no number from then on, nothing fails, its neighbours do not notice,
/// and a reset lane is as new.
pub(crate) fn divergence(bench: &Bench<'_>) -> Checked {
    let trials = bench.all();
    let Some(lr) = bench.model.hypers.iter().position(|name| name == "lr") else {
        return Err(Verdict::Skipped("the model has no `lr`".to_owned()));
    };
    let (lanes, columns) = (trials.len(), bench.model.metrics.len());
    let Some(loss) = bench.model.metrics.iter().position(|name| name == "loss") else {
        return Err("there is no metric `loss`".to_owned().into());
    };
    let mut run: Run<'_> = bench.start(&trials)?;
    let mut table = bench.table(&run.trials, &run.positions, &vec![STEPS; lanes], false);
    for step in 0..table.step_count {
        table.hypers[step * lanes * bench.model.hypers.len() + lr] = f32::NAN;
    }
    let mut stepped = run.session.step(&table)?;
    if stepped.done != table.lane_steps {
        return Err(format!("lane_steps_done is {:?} after a NaN; divergence is data", stepped.done).into());
    }
    let last = stepped.metrics[(STEPS as usize - 1) * lanes * columns + loss];
    if last.is_finite() {
        return Err(format!("the loss is {last} after updates with a learning rate of NaN").into());
    }
    // What a diverged lane gives is not compared; it starts anew.
    for step in 0..STEPS as usize {
        let row = step * lanes * columns;
        for (column, value) in stepped.metrics[row..][..columns].iter_mut().enumerate() {
            *value = bench.references[0].rows[step][column];
        }
    }
    run.take_rows(&table, &stepped.done, &stepped.metrics)?;
    run.reset(0, 0)?;
    let mut lane_steps = vec![0; lanes];
    lane_steps[0] = STEPS;
    run.advance(&lane_steps)?;
    run.check()
}

pub(crate) fn streamed(bench: &Bench<'_>) -> Checked {
    let trials = &bench.all()[..2];
    let mut run = bench.start_as(trials, &Setup { streamed: true, ..bench.setup(trials) })?;
    run.advance(&vec![STEPS; trials.len()])?;
    run.check()
}

pub(crate) fn precision(bench: &Bench<'_>) -> Checked {
    let trials = &bench.all()[..1];
    let options = bench.options_and("precision", "f32");
    let mut run = bench.start_as(trials, &Setup { options, ..bench.setup(trials) })?;
    run.advance(&[STEPS])?;
    run.check()
}

/// Updates of several batches, by an option of the model. One that does not have it says so: silently, it would train another
/// way than was asked.
pub(crate) fn accumulated(bench: &Bench<'_>) -> Checked {
    let trials = &bench.all()[..2];
    let options = |accumulate: u32| bench.options_and("accumulate", accumulate);
    let must_refuse = |accumulate: u32| {
        let setup = Setup { options: options(accumulate), ..bench.setup(trials) };
        let what = format!("`accumulate` of {accumulate} with a batch size of {}", setup.batch_size);
        match bench.rig.footprint(&setup, &bench.images) {
            Err(failure) => refused(&failure, &format!("footprint of {what}"))?,
            Ok(_) => return Err(Verdict::from(format!("footprint accepts {what}"))),
        }
        match bench.rig.create(&setup, &bench.images) {
            Err(failure) => refused(&failure, &format!("session_create of {what}")),
            Ok(_) => Err(format!("session_create accepts {what}").into()),
        }
    };
    if !bench.model.accumulates {
        return must_refuse(bench.batch_size);
    }
    must_refuse(0)?;
    must_refuse(bench.batch_size + 1)?;
    let mut one = bench.start_as(trials, &Setup { options: options(1), ..bench.setup(trials) })?;
    one.advance(&vec![STEPS; trials.len()])?;
    one.check()?;
    // Parts of one sample, and, where updates are smaller, fewer of them.
    let parted = bench.with_options(options(bench.batch_size), trials.len())?;
    among_others(&parted)?;
    one_by_one(&parted)?;
    streamed(&parted)?;
    if bench.rig.has_state() { crate::state::continue_elsewhere(&parted) } else { Ok(()) }
}
