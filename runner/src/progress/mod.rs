//! Progress: events to the terminal, on stderr. Results go to stdout and are not printed here.

mod bars;
mod board;
mod lines;
#[cfg(test)]
mod tests;

use clr_event::Event;
use clr_plan::Plan;
use clr_terminal::terminal::Terminal;

use self::bars::Bars;
use self::board::Board;
use self::lines::Lines;

/// Shows how far a run has got.
pub struct Progress {
    board: Board,
    display: Display,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A bar for the run and a line for each trial in flight, redrawn in place.
    Bars,
    /// A line when a trial starts or ends, and one every few seconds.
    Lines,
    Quiet,
}

enum Display {
    Bars(Bars),
    Lines(Lines),
    Quiet,
}

impl Style {
    /// Bars where stderr is a terminal that can redraw lines; lines where it is a file, a pipe or a dumb terminal, or `shared`
    /// with logs, which would go through the bars.
    pub fn for_stderr(quiet: bool, shared: bool) -> Style {
        match quiet {
            true => Style::Quiet,
            false if Terminal::stderr().redraws && !shared => Style::Bars,
            false => Style::Lines,
        }
    }
}

impl Progress {
    /// Progress through the trials `unfinished` of `plan`.
    pub fn new(plan: &Plan, unfinished: &[usize], style: Style) -> Progress {
        let board = Board::new(plan, unfinished);
        let display = match style {
            Style::Bars => Display::Bars(Bars::new(&board)),
            Style::Lines => Display::Lines(Lines::new(&board, Box::new(std::io::stderr()))),
            Style::Quiet => Display::Quiet,
        };
        Progress { board, display }
    }

    /// Takes note of an event. Cheap: what is on the screen changes a few times a second at most.
    pub fn show(&mut self, event: &Event) {
        self.board.apply(event);
        match &mut self.display {
            Display::Bars(bars) => bars.show(&self.board, event),
            Display::Lines(lines) => lines.show(&self.board, event),
            Display::Quiet => {}
        }
    }

    /// Clears the bars; lines stay.
    pub fn finish(self) {
        if let Display::Bars(bars) = self.display {
            bars.finish();
        }
    }
}
