//! A plan with every value of every trial, for tests.

use std::fmt::Write as _;

use clr_terminal::words::thousands;

use crate::json::row_count;
use crate::{AxisKind, AxisValue, Plan, Trial, describe};

/// Every trial with every value that differs, then what all share, the groups and the rows to be written.
pub fn text(plan: &Plan) -> String {
    let mut out = trial_table(plan);
    out.push('\n');
    for (index, group) in plan.groups.iter().enumerate() {
        let shape = &group.shape;
        let number = if plan.groups.len() > 1 { format!("group {}: ", index + 1) } else { String::new() };
        let trials = clr_terminal::words::counted(group.trials.len(), "trial");
        let _ = writeln!(out, "{number}{trials} of {} {} {}", shape.plugin, shape.architecture, shape.model_json);
        let _ = writeln!(out, "  on {}", describe::data(&shape.data));
    }
    let _ = writeln!(out, "{} rows of metrics", thousands(u128::from(row_count(plan))));
    out
}

fn trial_table(plan: &Plan) -> String {
    let mut hypers: Vec<&str> = Vec::new();
    for (name, _) in plan.trials.iter().flat_map(Trial::schedules) {
        if !hypers.contains(&name) {
            hypers.push(name);
        }
    }
    let mut header: Vec<String> = plan.axes.iter().map(|axis| axis.name.clone()).collect();
    header.extend(hypers.iter().map(|name| name.to_string()));
    header.extend(["iterations", "optimizer constants", "id"].map(str::to_owned));
    let rows: Vec<Vec<String>> = plan.trials.iter().map(|trial| row(trial, &hypers)).collect();
    // A column in which all trials agree says nothing here; it is said once, below the table. One that repeats another
    // says nothing at all.
    let axis_count = plan.axes.len();
    let id = header.len() - 1;
    let differs = |column: usize| rows.iter().any(|row| row[column] != rows[0][column]);
    let repeats = |column: usize| (0..column).any(|other| rows.iter().all(|row| row[column] == row[other]));
    let (shown, common): (Vec<usize>, Vec<usize>) = (0..header.len())
        .filter(|&column| column < axis_count || column == id || !differs(column) || !repeats(column))
        .partition(|&column| column < axis_count || column == id || differs(column));

    let is_number =
        |column: usize| column < axis_count && matches!(plan.axes[column].kind, AxisKind::Integer | AxisKind::Float);
    let width = |column: usize| rows.iter().chain([&header]).map(|row| row[column].chars().count()).max().unwrap_or(0);
    let line = |row: &Vec<String>, is_header: bool| {
        let cell = |&column: &usize| match (is_number(column) && !is_header, width(column)) {
            (true, width) => format!(" {:>width$} ", row[column]),
            (false, width) => format!(" {:<width$} ", row[column]),
        };
        let cells: Vec<String> = shown.iter().map(cell).collect();
        cells.join(" ").trim_end().to_owned()
    };
    let rule = "─".repeat(shown.iter().map(|&column| width(column) + 3).sum::<usize>().saturating_sub(1));
    let lines = [line(&header, true), rule].into_iter().chain(rows.iter().map(|row| line(row, false)));
    let table = lines.collect::<Vec<_>>().join("\n");
    let mut out = format!("{} trials\n{table}\n", thousands(plan.trials.len() as u128));
    if let Some(first) = rows.first() {
        for column in common.into_iter().filter(|&column| !first[column].is_empty()) {
            let _ = writeln!(out, "{}: {}", header[column], first[column]);
        }
    }
    out
}

fn row(trial: &Trial, hypers: &[&str]) -> Vec<String> {
    let mut row: Vec<String> =
        trial.axes.iter().map(|value| value.as_ref().map_or(String::new(), AxisValue::to_string)).collect();
    row.extend(hypers.iter().map(|name| {
        let schedule = trial.schedules().find(|(own, _)| own == name);
        schedule.map_or(String::new(), |(_, schedule)| describe::schedule(schedule, 17))
    }));
    row.push(trial.iterations.to_string());
    row.push(trial.optimizer.json.to_string());
    row.push(format!("{:.8}", trial.id));
    row
}
