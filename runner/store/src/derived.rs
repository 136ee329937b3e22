//! Columns that follow from other columns and from the plan: made here for new rows, and for rows of earlier versions when they
//! are read again, so that a table has one meaning whichever version wrote its rows.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{ArrayRef, BooleanArray, Float64Array, new_null_array};
use arrow_schema::DataType;
use clr_plan::{DataPlan, Trial};

use super::schema::{Columns, Table};

/// Columns before the hyper-parameters: `iteration` and `epoch`.
const BEFORE: usize = 2;

/// Iterations that see an image of one epoch, at the most.
pub fn rows_per_epoch(data: &DataPlan) -> usize {
    usize::try_from(data.iterations_per_epoch().ceil()).unwrap_or(usize::MAX)
}

/// Fills in what follows from the other `values` of rows of `trial`: all value columns of `table`, in order.
pub fn complete(trial: &Trial, columns: &Columns, table: Table, values: &mut [ArrayRef]) {
    match table {
        Table::Metrics => mark_too_large(trial, columns, values),
        Table::Evals => fill_in_force(trial, columns, values),
    }
}

/// The hyper-parameters in force at an evaluation: those of the last update before it, or before the first update those of
/// the first.
fn fill_in_force(trial: &Trial, columns: &Columns, values: &mut [ArrayRef]) {
    let Some(iterations) = values.first().and_then(|column| column.as_primitive_opt::<Int64Type>()).cloned() else {
        return;
    };
    for (column, name) in values.iter_mut().skip(BEFORE).zip(&columns.hypers) {
        *column = match trial.schedules().find(|(known, _)| known == name) {
            Some((_, schedule)) => {
                let at = |&iteration: &i64| schedule.at(u64::try_from(iteration - 1).unwrap_or(0));
                Arc::new(Float64Array::from_iter_values(iterations.values().iter().map(at)))
            }
            None => new_null_array(&DataType::Float64, iterations.len()),
        };
    }
}

/// Marks the rows whose loss exceeds what the trial may have as diverged, besides those that are marked already.
fn mark_too_large(trial: &Trial, columns: &Columns, values: &mut [ArrayRef]) {
    let loss = columns.metrics.iter().position(|name| name == "loss").map(|loss| BEFORE + columns.hypers.len() + loss);
    let (Some(limit), Some(loss), Some((diverged, others))) =
        (trial.divergence.loss_above, loss, values.split_last_mut())
    else {
        return;
    };
    let losses = others.get(loss).and_then(|column| column.as_primitive_opt::<Float32Type>());
    let (Some(losses), Some(marks)) = (losses, diverged.as_boolean_opt()) else { return };
    let marks = losses
        .iter()
        .zip(marks)
        .map(|(loss, mark)| Some(mark.unwrap_or(false) || loss.is_some_and(|loss| f64::from(loss) > limit)));
    *diverged = Arc::new(marks.collect::<BooleanArray>());
}
