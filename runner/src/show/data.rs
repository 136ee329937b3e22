//! What `clr-run data` prints.

use std::fmt::Write as _;
use std::path::PathBuf;

use clr_dataset::fetch::Progress;
use clr_dataset::transforms::statistics;
use clr_dataset::{Dataset, search};
use clr_terminal::terminal::Terminal;
use clr_terminal::words::{self, counted, thousands};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// `clr-run data list`: the sets known by name, and where each was found.
pub fn datasets(roots: &[PathBuf], terminal: &Terminal) -> String {
    let mut out = String::new();
    for known in clr_dataset::well_known() {
        let place = match search::find(known.name, roots) {
            Ok(source) => source.to_string(),
            Err(_) => format!("not here; `clr-run data fetch {}` downloads it", known.name),
        };
        let (train, test) = (known.train_count, known.test_count);
        let (train, test) = (thousands(u128::from(train)), thousands(u128::from(test)));
        let about = format!("{:14} {}", known.name, known.about);
        let size = format!("{train} + {test} images of {}x{}x{}", known.height, known.width, known.channels);
        let rest = format!("{:14} {size}; {place}", "");
        for line in [about, rest] {
            let _ = writeln!(out, "{}", words::wrapped(&line, terminal.width, 15));
        }
    }
    out
}

/// `clr-run data info`: sizes, digest and statistics.
pub fn dataset(dataset: &Dataset, terminal: &Terminal) -> String {
    let statistics = statistics(dataset, dataset.train.count());
    let list = |values: &[f32]| values.iter().map(|value| format!("{value:.2}")).collect::<Vec<_>>().join(" ");
    let mut out = String::new();
    let _ = writeln!(out, "{}: {}", dataset.name, dataset.source);
    let _ = writeln!(out, "  images     {}x{}x{}, uint8", dataset.height, dataset.width, dataset.channels);
    let _ = writeln!(out, "  train      {}", counted(dataset.train.count(), "image"));
    let _ = writeln!(out, "  test       {}", counted(dataset.test.count(), "image"));
    let names = if dataset.class_names.is_empty() { "" } else { ": " };
    let classes = format!("  classes    {}{names}{}", dataset.class_count, dataset.class_names.join(", "));
    let _ = writeln!(out, "{}", words::wrapped(&classes, terminal.width, 13));
    let _ = writeln!(out, "  mean       {}", list(&statistics.channel_mean));
    let _ = writeln!(out, "  deviation  {}", list(&statistics.channel_deviation));
    let _ = writeln!(out, "  digest     {}", dataset.digest);
    out
}

/// The progress of a download, on standard error.
pub struct DownloadBar {
    bar: ProgressBar,
    file: String,
}

impl DownloadBar {
    /// Hidden where standard error is no terminal.
    pub fn new(is_terminal: bool) -> DownloadBar {
        let target = if is_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        let template = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        DownloadBar { bar, file: String::new() }
    }

    /// As the download calls it.
    pub fn show(&mut self, progress: Progress<'_>) {
        if self.file != progress.file {
            self.file = progress.file.to_owned();
            self.bar.set_message(self.file.clone());
            self.bar.reset();
        }
        if let Some(total) = progress.total {
            self.bar.set_length(total);
        }
        self.bar.set_position(progress.received);
    }

    /// All files are there.
    pub fn finish(self) {
        self.bar.finish();
    }
}
