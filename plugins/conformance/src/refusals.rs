//! Hosts of other ages, and requests that must be refused with a status and a message.

use crate::driver::{Failure, Rig, Setup};
use crate::history::{Bench, STEPS};
use crate::inputs::Trial;
use crate::report::Verdict;

type Checked = Result<(), Verdict>;

/// A newer host's struct is larger; one that is too small is refused.
pub(crate) fn describe_sizes(rig: &Rig) -> Verdict {
    match rig.describe(64, None) {
        Ok(Ok(offer)) if offer == *rig.offer() => {}
        Ok(Ok(_)) => return Verdict::Failed("a newer host gets another description".to_owned()),
        Ok(Err(failure)) => return Verdict::Failed(format!("a newer host is refused: {failure}")),
        Err(problem) => return Verdict::Failed(format!("of a newer host: {problem}")),
    }
    match rig.describe(0, Some(size_of::<usize>())) {
        Ok(Err(failure)) => refused(&failure, "a struct with nothing but its size").into(),
        Ok(Ok(_)) => Verdict::Failed("a struct with nothing but its size was filled".to_owned()),
        Err(problem) => Verdict::Failed(problem),
    }
}

pub(crate) fn destroy_null(rig: &Rig) -> Verdict {
    rig.destroy_null();
    Verdict::Passed
}

/// It answers, the same without images, and names the path of the numerics.
pub(crate) fn footprint(bench: &Bench<'_>) -> Checked {
    let setup = bench.setup(&bench.all());
    let (shared, per_lane, numerics) = bench.rig.footprint(&setup, &bench.images)?;
    if per_lane == 0 || numerics.is_empty() {
        return Err(format!("{shared} bytes shared, {per_lane} for each lane, numerics {numerics:?}").into());
    }
    if !numerics.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("numerics is {numerics:?}, expected a word such as \"cpu-avx2\"").into());
    }
    let one = bench.rig.footprint(&bench.setup(&[0]), &bench.images)?;
    if one.2 != numerics {
        return Err(format!("numerics is {numerics:?}, and {:?} for one lane", one.2).into());
    }
    Ok(())
}

/// Every struct has 64 bytes more, which stay as they are.
pub(crate) fn newer_host(bench: &Bench<'_>) -> Checked {
    let trials = bench.all();
    for streamed in [false, true] {
        let setup = Setup { appended: 64, streamed, ..bench.setup(&trials) };
        bench.rig.footprint(&setup, &bench.images)?;
        let mut run = bench.start_as(&trials, &setup)?;
        run.advance(&vec![2; trials.len()])?;
        run.reset(0, 1)?;
        let mut lane_steps = vec![STEPS - 2; trials.len()];
        lane_steps[0] = STEPS;
        run.advance(&lane_steps)?;
        run.check()?;
    }
    Ok(())
}

/// Each is refused by footprint and by session_create.
pub(crate) fn malformed_configs(bench: &Bench<'_>) -> Checked {
    let good = bench.setup(&[0]);
    let lane = |options: &str| vec![Trial { options: options.to_owned(), ..good.trials[0].clone() }];
    let unknown_constant = with_unknown_constant(&good.trials[0]);
    let cases = [
        ("model options that are not JSON", Setup { options: "{".to_owned(), ..good.clone() }),
        ("model options that are a list", Setup { options: "[]".to_owned(), ..good.clone() }),
        ("no model options", Setup { options: String::new(), ..good.clone() }),
        ("an unknown model option", Setup { options: bench.options_and("no_such_option", 1), ..good.clone() }),
        ("an unknown precision", Setup { options: bench.options_and("precision", "f7"), ..good.clone() }),
        ("an unknown model", Setup { model: "no_such_model".to_owned(), ..good.clone() }),
        ("an empty model", Setup { model: String::new(), ..good.clone() }),
        ("an unknown device", Setup { device: "abacus".to_owned(), ..good.clone() }),
        ("lane options that are not JSON", Setup { trials: lane("{\"optimizer\": "), ..good.clone() }),
        ("lane options without an optimizer", Setup { trials: lane("{}"), ..good.clone() }),
        ("an unknown optimizer", Setup { trials: lane("{\"optimizer\": \"no_such_optimizer\"}"), ..good.clone() }),
        ("an unknown optimizer constant", Setup { trials: lane(&unknown_constant), ..good.clone() }),
        ("no lanes", Setup { trials: Vec::new(), ..good.clone() }),
        ("a batch size of 0", Setup { batch_size: 0, ..good.clone() }),
        ("no threads", Setup { thread_count: 0, ..good.clone() }),
        ("a config with nothing but its size", Setup { config_size: Some(size_of::<usize>()), ..good.clone() }),
        ("a lane with nothing but its size", Setup { lane_size: Some(size_of::<usize>()), ..good.clone() }),
    ];
    for (what, setup) in cases {
        match bench.rig.footprint(&setup, &bench.images) {
            Err(failure) => refused(&failure, &format!("footprint of {what}"))?,
            Ok(_) => return Err(format!("footprint accepts {what}").into()),
        }
        match bench.rig.create(&setup, &bench.images) {
            Err(failure) => refused(&failure, &format!("session_create of {what}"))?,
            Ok(_) => return Err(format!("session_create accepts {what}").into()),
        }
    }
    Ok(())
}

fn with_unknown_constant(trial: &Trial) -> String {
    trial.options.replacen('{', "{\"no_such_constant\": 1, ", 1)
}

/// The lane goes on as it was.
pub(crate) fn malformed_resets(bench: &Bench<'_>) -> Checked {
    let mut run = bench.start(&[0, 1])?;
    run.advance(&[2, 2])?;
    let unknown_constant = with_unknown_constant(&bench.trials[2]);
    for options in ["", "{", "{}", "{\"optimizer\": \"no_such_optimizer\"}", &unknown_constant] {
        let trial = Trial { options: options.to_owned(), ..bench.trials[2].clone() };
        match run.session.reset(1, &trial) {
            Err(failure) => refused(&failure, &format!("a reset with options {options:?}"))?,
            Ok(()) => return Err(format!("a reset accepts the options {options:?}").into()),
        }
    }
    match run.session.reset(2, &bench.trials[2]) {
        Err(failure) => refused(&failure, "a reset of lane 2 of 2")?,
        Ok(()) => return Err("a reset of lane 2 of 2 is accepted".to_owned().into()),
    }
    run.advance(&[STEPS - 2, STEPS - 2])?;
    run.check()
}

/// That a refusal has a fitting status and a message.
pub(crate) fn refused(failure: &Failure, what: &str) -> Checked {
    if ![clr_abi::INVALID_ARGUMENT, clr_abi::UNSUPPORTED].contains(&failure.status) {
        return Err(format!("{what}: {failure}, expected CLR_INVALID_ARGUMENT or CLR_UNSUPPORTED").into());
    }
    if failure.message.trim().is_empty() {
        return Err(format!("{what}: refused without a message").into());
    }
    if failure.message.contains('\u{FFFD}') {
        return Err(format!("{what}: the message is not UTF-8: {:?}", failure.message).into());
    }
    Ok(())
}
