//! Groups of parameters: multipliers in place of the architecture's own.

use serde_json::json;

use crate::driver::{Listed, Setup};
use crate::history::{Bench, STEPS};
use crate::refusals::refused;
use crate::report::Verdict;

type Checked = Result<(), Verdict>;

/// Parameters are those of the state; groups do what they say, in their own lane alone; and what is no group is refused.
pub(crate) fn groups(bench: &Bench<'_>) -> Checked {
    let offered = &bench.rig.offer().optimizers;
    let takes = |trial: &usize| {
        let name = &bench.trials[*trial].optimizer;
        offered.iter().any(|optimizer| optimizer.name == *name && optimizer.takes_groups)
    };
    let (with, without): (Vec<usize>, Vec<usize>) = bench.all().into_iter().partition(takes);
    for trial in without {
        must_refuse(bench, trial, &json!([]), "groups, which the optimizer's options_schema does not have,")?;
    }
    let Some(&first) = with.first() else { return Ok(()) };
    let Some(parameters) = bench.rig.parameters(&bench.setup(&[first]), &bench.images)? else {
        return Err("an optimizer takes groups, and there is no clr.parameters/1 to list what they may be of"
            .to_owned()
            .into());
    };
    check_list(bench, first, &parameters)?;
    for trial in with {
        let unknown = json!([{ "parameters": ["no.such.parameter"], "lr_mult": 1, "decay_mult": 1 }]);
        must_refuse(bench, trial, &unknown, "a group of an unknown parameter")?;
        let twice = &parameters[0].name;
        let twice = json!([{ "parameters": [twice, twice], "lr_mult": 1, "decay_mult": 1 }]);
        must_refuse(bench, trial, &twice, "a parameter that is in two groups")?;
        freezes(bench, trial, &parameters)?;
    }
    keeps_its_own(bench, first, &parameters)
}

/// The weights of the state, in any order.
fn check_list(bench: &Bench<'_>, trial: usize, parameters: &[Listed]) -> Checked {
    if parameters.is_empty() || parameters.iter().any(|listed| listed.mults.iter().any(|mult| !mult.is_finite())) {
        return Err(format!("the parameters are {parameters:?}").into());
    }
    if !bench.rig.has_state() {
        return Ok(());
    }
    let tensors = bench.start(&[trial])?.session.tensors(0)?;
    let weights = tensors.iter().filter(|tensor| tensor.role == clr_abi::WEIGHT);
    let mut weights: Vec<(&str, u64)> =
        weights.map(|tensor| (&tensor.name[..], tensor.shape.iter().product())).collect();
    let mut listed: Vec<(&str, u64)> = parameters.iter().map(|listed| (&listed.name[..], listed.value_count)).collect();
    weights.sort_unstable();
    listed.sort_unstable();
    if weights != listed {
        return Err(format!("clr.parameters/1 lists {listed:?}, and the weights of clr.state/1 are {weights:?}").into());
    }
    Ok(())
}

/// The trial with groups.
fn grouped(bench: &Bench<'_>, trials: &[usize], groups: &serde_json::Value) -> Setup {
    let mut setup = bench.setup(trials);
    let options = &mut setup.trials[0].options;
    *options = options.replacen('{', &format!("{{\"groups\": {groups}, "), 1);
    setup
}

fn must_refuse(bench: &Bench<'_>, trial: usize, groups: &serde_json::Value, what: &str) -> Checked {
    let setup = grouped(bench, &[trial], groups);
    match bench.rig.footprint(&setup, &bench.images) {
        Err(failure) => refused(&failure, &format!("footprint of {what}"))?,
        Ok(_) => return Err(format!("footprint accepts {what}").into()),
    }
    match bench.rig.create(&setup, &bench.images) {
        Err(failure) => refused(&failure, &format!("session_create of {what}")),
        Ok(_) => Err(format!("session_create accepts {what}").into()),
    }
}

/// Groups that say what the architecture says change no bit.
fn keeps_its_own(bench: &Bench<'_>, trial: usize, parameters: &[Listed]) -> Checked {
    let own = |listed: &Listed| json!({ "parameters": [listed.name], "lr_mult": listed.mults[0], "decay_mult": listed.mults[1] });
    let groups = parameters.iter().map(own).collect();
    let mut run = bench.start_as(&[trial], &grouped(bench, &[trial], &groups))?;
    run.advance(&[STEPS])?;
    run.check()
}

/// With a learning rate of 0 weights stay as they are, and the lane beside that trains as ever.
fn freezes(bench: &Bench<'_>, trial: usize, parameters: &[Listed]) -> Checked {
    let names: Vec<&str> = parameters.iter().map(|listed| &listed.name[..]).collect();
    let groups = json!([{ "parameters": names, "lr_mult": 0, "decay_mult": 1 }]);
    let trials = [trial, trial];
    let mut run = bench.start_as(&trials, &grouped(bench, &trials, &groups))?;
    let bits = |rows: &[Vec<f32>]| -> Vec<u32> { rows.concat().iter().map(|value| value.to_bits()).collect() };
    let weights = |run: &mut crate::history::Run<'_>| -> Result<Vec<u32>, Verdict> {
        if !bench.rig.has_state() {
            return Ok(Vec::new());
        }
        let tensors = run.session.tensors(0)?;
        let state = run.session.save(0)?;
        let weights = tensors.iter().zip(state).filter(|(tensor, _)| tensor.role == clr_abi::WEIGHT);
        Ok(bits(&weights.map(|(_, values)| values).collect::<Vec<_>>()))
    };
    let before = weights(&mut run)?;
    run.advance(&[STEPS; 2])?;
    let optimizer = &bench.trials[trial].optimizer;
    if weights(&mut run)? != before {
        return Err(format!("{optimizer}: weights whose learning rate is multiplied by 0 have moved").into());
    }
    if bits(&run.rows[1]) != bits(&bench.references[trial].rows) {
        return Err(format!("{optimizer}: a lane trains another way beside one with groups").into());
    }
    Ok(())
}
