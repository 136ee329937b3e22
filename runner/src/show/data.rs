//! What `clr-run data` prints.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clr_dataset::fetch::Progress;
use clr_dataset::transforms::statistics;
use clr_dataset::{Dataset, Survey, search};
use clr_spec::DatasetQuery;
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

/// `clr-run data info`: sizes, classes, digest and statistics.
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
    let counts = [&dataset.train, &dataset.test].map(|samples| samples.class_counts(dataset.class_count));
    per_class(&mut out, &counts, &dataset.class_names, terminal);
    let _ = writeln!(out, "  mean       {}", list(&statistics.channel_mean));
    let _ = writeln!(out, "  deviation  {}", list(&statistics.channel_deviation));
    let _ = writeln!(out, "  digest     {}", dataset.digest);
    for remark in &dataset.remarks {
        let _ = writeln!(out, "{}", words::wrapped(&format!("  note       {remark}"), terminal.width, 13));
    }
    out
}

/// How many images the classes have: one line where all have as many, else each with those that it has in training and test.
fn per_class(out: &mut String, [train, test]: &[Vec<u64>; 2], names: &[String], terminal: &Terminal) {
    let equal = |counts: &[u64]| counts.iter().all(|count| Some(count) == counts.first());
    let line = if equal(train) && equal(test) {
        let [train, test] = [train, test].map(|counts| counts.first().copied().unwrap_or(0));
        format!("  per class  {} in training, {} in test", thousands(train.into()), thousands(test.into()))
    } else {
        let class = |(number, (train, test)): (usize, (&u64, &u64))| {
            let name = names.get(number).cloned().unwrap_or_else(|| number.to_string());
            format!("{name} {}+{}", thousands(u128::from(*train)), thousands(u128::from(*test)))
        };
        let classes: Vec<String> = train.iter().zip(test).enumerate().map(class).collect();
        format!("  per class  {} (training + test)", classes.join(", "))
    };
    let _ = writeln!(out, "{}", words::wrapped(&line, terminal.width, 13));
}

/// Sizes that are listed, the most frequent first.
const SIZES: usize = 8;

/// `clr-run data info` of images of different sizes, which no network takes as they are.
pub fn survey(name: &str, source: &search::Source, survey: &Survey, terminal: &Terminal) -> String {
    let [train, test] = survey.class_counts.each_ref().map(|counts| counts.iter().sum::<u64>());
    let mut sizes: Vec<(&(u32, u32), &u64)> = survey.sizes.iter().collect();
    sizes.sort_by_key(|(size, count)| (std::cmp::Reverse(**count), **size));
    let shown: Vec<String> =
        sizes.iter().take(SIZES).map(|((height, width), count)| format!("{height}x{width} ({count})")).collect();
    let more = sizes.len().saturating_sub(SIZES);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let sides = || survey.sizes.keys().map(|&(height, width)| height.min(width));
    let (least, most) = (sides().min().unwrap_or(0), sides().max().unwrap_or(0));
    let mut out = String::new();
    let _ = writeln!(out, "{name}: {source}");
    let line = format!("  images     {} different sizes, height x width: {}{more}", sizes.len(), shown.join(", "));
    let _ = writeln!(out, "{}", words::wrapped(&line, terminal.width, 13));
    let _ = writeln!(out, "  sides      the shorter one is {least} to {most}");
    let _ = writeln!(out, "  train      {}", counted(train as usize, "image"));
    let _ = writeln!(out, "  test       {}", counted(test as usize, "image"));
    let names = if survey.class_names.is_empty() { "" } else { ": " };
    let classes = format!("  classes    {}{names}{}", survey.class_counts[0].len(), survey.class_names.join(", "));
    let _ = writeln!(out, "{}", words::wrapped(&classes, terminal.width, 13));
    per_class(&mut out, &survey.class_counts, &survey.class_names, terminal);
    let hint = "  note       a network takes images of one size: `resize` and `crop` in `[data]` (here --resize N --crop N) make it, \
                and then there are means, deviations and a contact sheet";
    let _ = writeln!(out, "{}", words::wrapped(hint, terminal.width, 13));
    out
}

/// `clr-run data prepare`: what was made, and what a spec has to say to use it.
pub fn prepared(query: &DatasetQuery, dataset: &Dataset, bytes: u64, file: &Path) -> String {
    let (train, test) = (dataset.train.count(), dataset.test.count());
    let sizes =
        clr_dataset::decoded::sizes(train, test, dataset.height, dataset.width, dataset.channels, dataset.class_count);
    let mut out = String::new();
    let _ = writeln!(out, "{sizes}, {} in {}", words::bytes(bytes), file.display());
    let _ = writeln!(out, "\n[data]\ndataset = {:?}", query.name);
    for (key, side) in [("resize", query.fit.resize), ("crop", query.fit.crop)] {
        if let Some(side) = side {
            let _ = writeln!(out, "{key:<7} = {side}");
        }
    }
    if query.fit.exif_orientation {
        let _ = writeln!(out, "exif_orientation = true");
    }
    if let Some(share) = query.test_share {
        let _ = writeln!(out, "test_share = {}", f64::from(share) / 1e6);
    }
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
