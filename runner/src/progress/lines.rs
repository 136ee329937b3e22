//! Progress for logs and pipes: plain lines, few enough to read.

use std::io::Write;
use std::time::{Duration, Instant};

use clr_event::{Event, Outcome};
use clr_terminal::terminal::Terminal;
use clr_terminal::words::{self, thousands};

use super::board::Board;

/// The least time between two lines that say how far the run is.
const EVERY: Duration = Duration::from_secs(10);

pub(crate) struct Lines {
    output: Box<dyn Write + Send>,
    start: Instant,
    printed: Instant,
}

impl Lines {
    pub(crate) fn new(board: &Board, output: Box<dyn Write + Send>) -> Lines {
        let now = Instant::now();
        let mut lines = Lines { output, start: now, printed: now };
        let (trials, iterations) = (board.total_trials, board.total_iterations as usize);
        lines.print(&format!("{}, {} to do", words::counted(trials, "trial"), words::counted(iterations, "iteration")));
        lines
    }

    pub(crate) fn show(&mut self, board: &Board, event: &Event) {
        if let Some(line) = event_line(board, event) {
            self.print(&line);
        } else if self.printed.elapsed() >= EVERY {
            self.printed = Instant::now();
            self.print(&run_line(board, self.start.elapsed()));
        }
    }

    /// A broken pipe must not end a run, and there is nowhere else to say so.
    fn print(&mut self, line: &str) {
        let _ = writeln!(self.output, "{}", words::wrapped(line, Terminal::stderr().width, 2));
    }
}

/// The line for a trial that starts or ends.
fn event_line(board: &Board, event: &Event) -> Option<String> {
    match event {
        Event::Started { trial, .. } => Some(format!("started   {} ({})", board.label(*trial), board.handle(*trial))),
        Event::Ended { trial, outcome, elapsed } => {
            let label = board.label(*trial);
            let what = match outcome {
                Outcome::Finished => format!("finished  {label}"),
                Outcome::Diverged { iteration } => format!("diverged  {label} at iteration {iteration}"),
                Outcome::Failed { message } => format!("failed    {label}: {}", first_line(message)),
                Outcome::Crashed { message } => format!("crashed   {label}: {}", first_line(message)),
                Outcome::Interrupted { message } => format!("interrupted {label}: {}", first_line(message)),
                Outcome::Stopped => format!("stopped   {label}"),
            };
            let (handle, elapsed) = (board.handle(*trial), words::duration(elapsed.as_secs_f64()));
            Some(format!("{what} ({handle}, {elapsed}; {})", board.status_text()))
        }
        Event::Retried { trials, message } => {
            let labels: Vec<&str> = trials.iter().map(|&trial| board.label(trial)).collect();
            Some(format!("retried   {}: {}", labels.join(", "), first_line(message)))
        }
        Event::Rows(_) | Event::Evaluated(_) | Event::Saved { .. } => None,
    }
}

/// Of a message with a traceback, which the end of the run shows whole.
fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

/// The line for the run.
fn run_line(board: &Board, elapsed: Duration) -> String {
    let (done, total) = (board.done_iterations, board.total_iterations);
    let rate = done as f64 / elapsed.as_secs_f64().max(1e-3);
    let percent = 100.0 * done as f64 / total.max(1) as f64;
    let left = if done > 0 { words::duration((total - done.min(total)) as f64 / rate) } else { "?".to_owned() };
    let status = board.status_text();
    let (done, total) = (thousands(u128::from(done)), thousands(u128::from(total)));
    format!("{percent:.0}%  {done}/{total} iterations  {}  {left} left  {status}", words::rate(rate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::tests::{events, plan};
    use expect_test::expect;

    #[test]
    fn a_run_reads_as_lines() {
        let plan = plan();
        let mut board = Board::new(&plan, &[0, 1]);
        let mut text = String::new();
        for event in events() {
            board.apply(&event);
            text += &event_line(&board, &event).unwrap_or_else(|| run_line(&board, Duration::from_secs(2)));
            text.push('\n');
        }
        expect![[r#"
            started   fixed sgd seed=1 (6dcc)
            started   exp sgd seed=1 (c458)
            25%  5/20 iterations  2.5/s  6.0s left  0/2 trials
            50%  10/20 iterations  5.0/s  2.0s left  0/2 trials
            50%  10/20 iterations  5.0/s  2.0s left  0/2 trials, best 50.00% by c458 at iteration 5
            75%  15/20 iterations  7.5/s  0.7s left  0/2 trials, best 50.00% by c458 at iteration 5
            finished  fixed sgd seed=1 (6dcc, 1.5s; 1/2 trials, best 50.00% by c458 at iteration 5)
            diverged  exp sgd seed=1 at iteration 4 (c458, 1.5s; 2/2 trials, best 50.00% by c458 at iteration 5)
        "#]]
        .assert_eq(&text);
    }
}
