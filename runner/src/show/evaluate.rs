//! What `clr-run evaluate` prints.

use clr_terminal::columns::{self, Column};
use clr_terminal::terminal::Terminal;
use clr_terminal::words::{self, counted, thousands};

use crate::ensemble::Evaluated;

/// The states of one trial: each alone and, for an `ensemble`, together.
pub fn evaluated(evaluated: &Evaluated, ensemble: bool, terminal: &Terminal) -> String {
    let percent = |accuracy: f64| format!("{:.2}", 100.0 * accuracy);
    let members = evaluated.members.iter();
    let mut columns = vec![
        Column::right("iteration", 0, members.clone().map(|member| thousands(member.iteration.into()))),
        Column::right("alone", 0, members.clone().map(|member| percent(member.alone))),
    ];
    if ensemble {
        columns.push(Column::right("with all later", 0, members.map(|member| percent(member.with_later))));
    }
    let Evaluated { handle, trial, split, .. } = evaluated;
    let heading = format!("{handle} ({trial}): accuracy on {split} in %");
    let mut text = words::wrapped(&heading, terminal.width, 2) + "\n" + &columns::text(&columns, terminal);
    if let Some(accuracy) = evaluated.averaged_weights.filter(|_| evaluated.members.len() > 1) {
        let states = counted(evaluated.members.len(), "state");
        let averaged = format!(
            "averaged weights of the {states}, with the statistics of batch normalisation computed anew: {}\n",
            percent(accuracy)
        );
        text += &words::wrapped(&averaged, terminal.width, 2);
    }
    text
}
