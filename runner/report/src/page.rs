//! The page: a template, a style sheet, the library of charts, the scripts, and the data, in one file.
//!
//! The data is JSON, deflated and in base64, so whatever names and messages hold, nothing of it is markup. The page writes it into the
//! document as text alone. The policy of the page forbids all that is not in it, and scripts without the nonce that is made
//! of its own content.

use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::Report;

/// A page is not larger, however many trials there are.
pub const MOST_BYTES: usize = 8_000_000;

const TEMPLATE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/style.css");
const ECHARTS: &str = include_str!("../assets/echarts-6.1.0/echarts.min.js");
const NOTICE: &str = include_str!("../assets/echarts-6.1.0/NOTICE");

/// The scripts, in the order in which they use each other.
const SCRIPTS: [&str; 8] = [
    include_str!("page/format.js"),
    include_str!("page/data.js"),
    include_str!("page/view.js"),
    include_str!("page/chart.js"),
    include_str!("page/curves.js"),
    include_str!("page/grid.js"),
    include_str!("page/trials.js"),
    include_str!("page/main.js"),
];

/// The report as a page of at most [`MOST_BYTES`]: where it would be larger, with fewer curves, which it says.
pub fn html(report: &Report) -> Vec<u8> {
    let page = page(report);
    if page.len() <= MOST_BYTES {
        return page;
    }
    let mut less = report.clone();
    loop {
        let curves = &mut less.curves;
        if curves.trials.is_empty() && curves.cells.is_empty() && less.events.is_empty() {
            // What is left is one row for each trial, and texts.
            return self::page(&less);
        }
        less.events.clear();
        curves.trials.truncate(curves.trials.len() / 2);
        if curves.trials.is_empty() {
            curves.cells.truncate(curves.cells.len() / 2);
        }
        let (trials, cells) = (curves.trials.len(), curves.cells.len());
        let left_out = format!(
            "so that this page stays below {} MB, it has the curves of {trials} trials and {cells} cells, and no events",
            MOST_BYTES / 1_000_000
        );
        less.left_out.truncate(report.left_out.len());
        less.left_out.push(left_out);
        let page = self::page(&less);
        if page.len() <= MOST_BYTES {
            return page;
        }
    }
}

fn page(report: &Report) -> Vec<u8> {
    let data = packed(report);
    let scripts = format!("\"use strict\";\n(() => {{\n{}\n}})();", SCRIPTS.join("\n"));
    let nonce = blake3::hash(data.as_bytes()).to_hex();
    let parts = [
        ("title", escaped(&report.title)),
        ("nonce", nonce[..32].to_owned()),
        ("style", STYLE.to_owned()),
        ("without scripts", without_scripts(report)),
        ("notice", escaped(NOTICE.trim())),
        ("data", data),
        ("echarts", ECHARTS.to_owned()),
        ("scripts", scripts),
    ];
    let mut page = String::new();
    let mut rest = TEMPLATE;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        page.push_str(before);
        page.push_str(parts.iter().find(|(part, _)| *part == name).map_or("", |(_, text)| text));
        rest = after;
    }
    page.push_str(rest);
    page.into_bytes()
}

/// The data as JSON, deflated, in base64.
fn packed(report: &Report) -> String {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    // Neither writing to memory nor these values can fail.
    let written = serde_json::to_writer(&mut encoder, report).is_ok() && encoder.flush().is_ok();
    let bytes = encoder.finish().ok().filter(|_| written).unwrap_or_default();
    STANDARD.encode(bytes)
}

/// What a reader without scripts sees: the means of cells.
fn without_scripts(report: &Report) -> String {
    let value = |trial: &super::Trial| trial.numbers.get(&report.measure).and_then(serde_json::Value::as_f64);
    let mut rows = String::new();
    for (place, cell) in report.cells.iter().enumerate().take(200) {
        let members = || report.trials.iter().filter(|trial| trial.cell == place);
        let values: Vec<f64> = members().filter_map(value).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let mean = if values.is_empty() { "-".to_owned() } else { format!("{mean:.4}") };
        let (name, n, all) = (escaped(&cell.name), values.len(), members().count());
        rows += &format!("<tr><td>{name}</td><td>{mean}</td><td>{n}</td><td>{all}</td></tr>\n");
    }
    let measure = escaped(&report.measure);
    format!("<table><tr><th>trials</th><th>mean {measure}</th><th>n</th><th>trials</th></tr>\n{rows}</table>")
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
