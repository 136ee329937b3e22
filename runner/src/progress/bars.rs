//! Progress on a terminal: a bar for the run, and below it a line for each trial in flight.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clr_event::Event;
use clr_terminal::columns;
use clr_terminal::terminal::Terminal;
use clr_terminal::words;
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use super::board::Board;

/// Lines for trials in flight; a GPU may have hundreds, a terminal has 24 rows.
const LANE_LINES: usize = 12;

/// How often texts are made anew; the library limits how often they are drawn.
const REFRESH: Duration = Duration::from_millis(100);

/// Of a terminal that does not say.
const USUAL_WIDTH: usize = 80;

const RUN: &str = "{wide_bar} {percent:>3}%  {human_pos}/{human_len} iterations  {rate}  {eta} left";
const STATUS: &str = "{msg}";
const LANE: &str = "  {msg}";

pub(crate) struct Bars {
    screen: MultiProgress,
    run: ProgressBar,
    status: ProgressBar,
    lanes: BTreeMap<usize, ProgressBar>,
    refreshed: Instant,
}

impl Bars {
    pub(crate) fn new(board: &Board) -> Bars {
        let screen = MultiProgress::new();
        let run = screen.add(ProgressBar::new(board.total_iterations).with_style(style(RUN)));
        let status = screen.add(ProgressBar::new_spinner().with_style(style(STATUS)));
        status.set_message(board.status_text());
        Bars { screen, run, status, lanes: BTreeMap::new(), refreshed: Instant::now() }
    }

    pub(crate) fn show(&mut self, board: &Board, event: &Event) {
        match event {
            Event::Ended { trial, .. } => {
                if let Some(line) = self.lanes.remove(trial) {
                    line.finish_and_clear();
                    self.screen.remove(&line);
                }
            }
            _ if self.refreshed.elapsed() < REFRESH => return,
            _ => {}
        }
        self.refreshed = Instant::now();
        self.refresh(board);
    }

    fn refresh(&mut self, board: &Board) {
        // Asked again each time: people resize their windows.
        let width = Terminal::stderr().width.unwrap_or(USUAL_WIDTH);
        self.run.set_length(board.total_iterations);
        self.run.set_position(board.done_iterations);
        for (&trial, lane) in &board.lanes {
            if !self.lanes.contains_key(&trial) && self.lanes.len() < LANE_LINES {
                let line = self.screen.add(ProgressBar::new_spinner().with_style(style(LANE)));
                self.lanes.insert(trial, line);
            }
            if let Some(line) = self.lanes.get(&trial) {
                // After the two spaces of the template; what is longer would be wrapped.
                line.set_message(columns::cut(&board.lane_text(trial, lane), width - 2));
            }
        }
        let hidden = board.lanes.len() - self.lanes.len();
        let more = if hidden > 0 { format!(", {hidden} more in flight") } else { String::new() };
        let best = board.best_words().map_or(String::new(), |words| format!(" ({words})"));
        self.status.set_message(columns::cut(&(board.status_text() + &more + &best), width));
    }

    pub(crate) fn finish(self) {
        for line in self.lanes.values().chain([&self.status, &self.run]) {
            line.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // A template that does not parse is replaced by the library's own: better a plain bar than no run.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("rate", |state: &ProgressState, output: &mut dyn std::fmt::Write| {
        let _ = write!(output, "{}", words::rate(state.per_sec()));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::tests::{events, plan};

    #[test]
    fn templates_parse() {
        for template in [RUN, STATUS, LANE] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn each_trial_in_flight_has_a_line() {
        let mut board = Board::new(&plan(), &[0, 1]);
        let mut bars = Bars::new(&board);
        bars.screen.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        let lines: Vec<usize> = events()
            .iter()
            .map(|event| {
                board.apply(event);
                bars.show(&board, event);
                bars.refresh(&board);
                bars.lanes.len()
            })
            .collect();
        assert_eq!(lines, [1, 2, 2, 2, 2, 2, 1, 0]);
        assert_eq!((bars.run.position(), bars.run.length()), (15, Some(15)));
        let handle = board.handle(1);
        assert_eq!(bars.status.message(), format!("2/2 trials, best 50.00% by {handle} at iteration 5 (exp)"));
    }

    #[test]
    fn the_lines_of_trials_in_flight_are_in_columns_and_fit_80_columns() {
        let mut board = Board::new(&plan(), &[0, 1]);
        events().iter().take(6).for_each(|event| board.apply(event));
        let lines = |width| -> String {
            board.lanes.iter().map(|(&trial, lane)| columns::cut(&board.lane_text(trial, lane), width) + "\n").collect()
        };
        expect_test::expect![[r#"
            6dcc  10/10  loss 1.5000     lr 0.0123    fixed
            c458   5/10  loss 1.0000     lr 0.0123    exp
        "#]]
        .assert_eq(&lines(80));
        expect_test::expect![[r#"
            6dcc  10/10  loss 1.5000     lr 0.0123 …
            c458   5/10  loss 1.0000     lr 0.0123 …
        "#]]
        .assert_eq(&lines(40));
    }
}
