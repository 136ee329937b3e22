//! Training trials of an output again, with progress: what `verify` and `export` have in common.

use std::path::Path;

use clr_event::Event;
use clr_train::Layout;

use super::Program;
use crate::cli::AgainArgs;
use crate::progress::{Progress, Style};
use crate::ready::{Planned, Ready};
use crate::recipe;
use crate::verify::again::Proof;
use crate::verify::{self, Checked, Selection, Wanted};

/// Trials of an output, ready to be trained again.
pub struct Again {
    pub ready: Ready,
    pub selection: Selection,
    /// Of the selected trials.
    layout: Layout,
}

impl Again {
    /// Plans again from an output's own recipe, and selects the trials that are `asked` for.
    pub fn new(output: &Path, asked: &[String], checked: &Checked, args: &AgainArgs) -> anyhow::Result<Again> {
        let ready = Planned::of_output(output, &args.search, args.isolation)?.ready(&args.device)?;
        let numerics = recipe::numerics(&ready.plan, &ready.resources, &ready.layout)?;
        let selection = verify::select(output, &ready.plan, &numerics, checked, asked)?;
        let layout = ready.layout_of(&selection.trials)?;
        Ok(Again { ready, selection, layout })
    }

    /// Trains and compares.
    pub fn train(
        &self,
        output: &Path,
        wanted: Wanted,
        program: &Program,
        is_quiet: bool,
        mut watch: impl FnMut(&Event) + Send,
    ) -> anyhow::Result<Proof> {
        let Again { ready: Ready { plan, resources, .. }, selection, layout } = self;
        let signals = program.signals()?;
        signals.begin_run();
        let style = Style::for_stderr(is_quiet, program.log.is_on_stderr());
        let mut progress = Progress::new(plan, &selection.trials, style);
        let proof = verify::again(output, plan, selection, wanted, resources, layout, signals.cancel(), |event| {
            progress.show(event);
            watch(event);
        });
        progress.finish();
        Ok(proof?)
    }
}
