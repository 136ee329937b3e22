//! The tables of a report for papers and for other programs: CSV, and Markdown.

use serde_json::Value as Json;

use super::Report;
use super::reduce::Band;

/// A table's file name, without its ending, and its content.
pub type Named = (String, String);

/// `trials`, `curves`, and a table for each comparison.
pub fn csv(report: &Report) -> Vec<Named> {
    let mut found =
        vec![("trials".to_owned(), lines_of(&trials(report))), ("curves".to_owned(), lines_of(&curves(report)))];
    for comparison in report.comparisons.iter().filter(|comparison| comparison.is_object()) {
        let beside = comparison["reference"].as_str().map_or_else(|| "best".to_owned(), file_name);
        found.push((format!("beside-{beside}"), lines_of(&compared(comparison))));
    }
    found
}

/// One page with the answer and the comparisons.
pub fn markdown(report: &Report) -> Vec<Named> {
    let mut text = format!("# {}\n", report.title);
    for comparison in report.comparisons.iter().filter(|comparison| comparison.is_object()) {
        let by = comparison["by"].as_str().unwrap_or_default();
        let beside = comparison["reference"].as_str().map_or_else(|| "the best".to_owned(), str::to_owned);
        text += &format!("\n## Each {by} beside {beside}\n\n");
        for block in comparison["blocks"].as_array().into_iter().flatten() {
            text += &format!("- {}\n", block["answer"].as_str().unwrap_or_default());
        }
        let rows = compared(comparison);
        let line = |row: &[String]| {
            format!("| {} |\n", row.iter().map(|cell| cell.replace('|', "\\|")).collect::<Vec<_>>().join(" | "))
        };
        for (number, row) in rows.iter().enumerate() {
            text += &if number == 0 {
                format!("\n{}{}", line(row), line(&vec!["---".to_owned(); row.len()]))
            } else {
                line(row)
            };
        }
        for note in comparison["notes"].as_array().into_iter().flatten() {
            text += &format!("\n{}\n", note.as_str().unwrap_or_default());
        }
    }
    vec![("report".to_owned(), text)]
}

type Rows = Vec<Vec<String>>;

/// Every trial, with its axes and its numbers.
fn trials(report: &Report) -> Rows {
    let mut columns: Vec<&String> = Vec::new();
    for name in report.trials.iter().flat_map(|trial| trial.numbers.keys()) {
        if !columns.contains(&name) {
            columns.push(name);
        }
    }
    let own = ["trial", "label", "status", "iterations", "rows"].map(str::to_owned);
    let axes = report.axes.iter().map(|axis| axis.name.clone());
    let mut rows =
        vec![own.into_iter().chain(axes).chain(columns.iter().map(|name| (*name).clone())).collect::<Vec<_>>()];
    for trial in &report.trials {
        let mut row = vec![trial.id.clone(), trial.label.clone(), trial.status.clone()];
        row.extend([trial.iterations.to_string(), trial.rows.to_string()]);
        row.extend(trial.axes.iter().map(plain));
        row.extend(columns.iter().map(|name| trial.numbers.get(*name).map_or(String::new(), plain)));
        rows.push(row);
    }
    rows
}

/// The points of the curves of cells.
fn curves(report: &Report) -> Rows {
    let head = ["cell", "curve", "iteration", "mean", "least", "greatest", "n"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut add = |name: &str, curve: &str, band: &Band| {
        for place in 0..band.x.len() {
            let value = |values: &[f64]| {
                values.get(place).filter(|value| value.is_finite()).map_or(String::new(), f64::to_string)
            };
            let numbers = [value(&band.mean), value(&band.least), value(&band.greatest)];
            let mut row = vec![name.to_owned(), curve.to_owned(), band.x[place].to_string()];
            row.extend(numbers);
            row.push(band.n[place].to_string());
            rows.push(row);
        }
    };
    for (place, curves) in &report.curves.cells {
        let name = &report.cells[*place].name;
        for (split, accuracy, loss) in &curves.evaluations {
            add(name, &format!("{split} accuracy"), accuracy);
            add(name, &format!("{split} loss"), loss);
        }
        if let Some(training) = &curves.training {
            add(name, "training loss", training);
        }
    }
    rows
}

/// A row for each cell, the reference of its block first.
fn compared(comparison: &Json) -> Rows {
    let head = ["", "mean", "deviation", "n", "difference", "low", "high", "p", "verdict", "iterations_ratio"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for block in comparison["blocks"].as_array().into_iter().flatten() {
        let candidates = block["candidates"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (number, cell) in std::iter::once(&block["reference"]).chain(candidates).enumerate() {
            let verdict = if number == 0 { "reference".to_owned() } else { plain(&cell["verdict"]) };
            let difference = &cell["difference"];
            let mut row = vec![plain(&cell["name"])];
            row.extend(["mean", "deviation"].map(|key| rounded(&cell["accuracy"][key])));
            row.push(plain(if number == 0 { &cell["accuracy"]["n"] } else { &difference["n"] }));
            row.extend([&difference["mean"], &difference["interval"][0], &difference["interval"][1]].map(rounded));
            row.extend([rounded(&cell["p_corrected"]), verdict, rounded(&cell["iterations_ratio"])]);
            rows.push(row);
        }
    }
    rows
}

fn plain(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn rounded(value: &Json) -> String {
    value.as_f64().map_or(String::new(), |value| format!("{value:.6}"))
}

/// A name that any file system takes.
fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_=.".contains(c) { c } else { '_' }).collect()
}

/// As RFC 4180 has it.
fn lines_of(rows: &Rows) -> String {
    let field = |field: &String| {
        if field.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field.clone()
        }
    };
    rows.iter().map(|row| row.iter().map(field).collect::<Vec<_>>().join(",") + "\n").collect()
}
