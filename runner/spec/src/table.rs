//! Tables of values for schedules: the text of a CSV file to the values of one column, by step.
//!
//! Nothing is guessed. A file is one column of bare numbers, a value a step; or it has a header, a column that says at
//! which step a row begins to hold, and one with the values. Everything else is refused, with the line.

use std::sync::Arc;

use clr_terminal::suggest::all_of;

use crate::duration::Unit;

/// The values of one column.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// One for each step, from the first on.
    EachStep(Arc<[f64]>),
    /// Each from its position on, which increases from row to row.
    From {
        /// The unit of positions.
        unit: Unit,
        /// Pairs of a position and a value.
        rows: Arc<[(f64, f64)]>,
    },
}

impl Values {
    /// What a row's position counts.
    pub fn unit(&self) -> Unit {
        match self {
            Values::EachStep(_) => Unit::Iterations,
            Values::From { unit, .. } => *unit,
        }
    }
}

/// Columns that say where a row belongs, the first that is there being the one.
const POSITIONS: [(&str, Unit); 3] =
    [("iteration", Unit::Iterations), ("step", Unit::Iterations), ("epoch", Unit::Epochs)];

/// The column in which `clr-run schedule --csv` and exports of this program name the trial of a row.
const TRIAL: &str = "trial";

/// Longer lists of columns are cut.
const MOST_NAMED: usize = 12;

/// Reads the column `column`, or else the one named after the hyper-parameter, or `value`.
pub fn parse(text: &str, hyper: &str, column: Option<&str>) -> Result<Values, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .comment(Some(b'#'))
        .delimiter(delimiter(text))
        .from_reader(text.as_bytes());
    let mut record = csv::StringRecord::new();
    let mut layout: Option<Layout> = None;
    let mut rows = Rows::default();
    while reader.read_record(&mut record).map_err(|error| error.to_string())? {
        let line = record.position().map_or(0, csv::Position::line);
        if record.iter().all(str::is_empty) {
            continue;
        }
        let layout = match &mut layout {
            Some(layout) => layout,
            layout => {
                let (found, is_header) = Layout::of(&record, hyper, column, line)?;
                let layout = layout.insert(found);
                if is_header {
                    continue;
                }
                layout
            }
        };
        rows.push(&record, layout, line)?;
    }
    let Some(layout) = layout else { return Err("there are no values in it".to_owned()) };
    rows.finish(&layout)
}

/// The separator of fields: the one that the first line has most of. A decimal comma does not count beside another separator.
fn delimiter(text: &str) -> u8 {
    let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#')).unwrap_or_default();
    [b';', b'\t'].into_iter().find(|separator| first.contains(char::from(*separator))).unwrap_or(b',')
}

/// The columns of a record.
struct Layout {
    field_count: usize,
    /// None: a row for each step.
    position: Option<(usize, String, Unit)>,
    value: (usize, String),
    trial: Option<usize>,
}

impl Layout {
    /// From the first record, and whether that is a header.
    fn of(record: &csv::StringRecord, hyper: &str, wanted: Option<&str>, line: u64) -> Result<(Layout, bool), String> {
        let is_header = record.iter().any(|field| field.parse::<f64>().is_err() && decimal_comma(field).is_none());
        let field_count = record.len();
        if !is_header {
            if let Some(wanted) = wanted {
                return Err(format!("line {line}: `column` asks for `{wanted}`, and the columns have no names"));
            }
            if field_count > 1 {
                return Err(format!(
                    "line {line}: {field_count} columns and no names: begin with a line such as `iteration,{hyper}`"
                ));
            }
            let value = (0, "the value".to_owned());
            return Ok((Layout { field_count, position: None, value, trial: None }, false));
        }
        let names: Vec<&str> = record.iter().collect();
        let find = |name: &str| -> Result<Option<usize>, String> {
            let mut found = (0..names.len()).filter(|index| names[*index].eq_ignore_ascii_case(name));
            match (found.next(), found.next()) {
                (_, Some(_)) => Err(format!("line {line}: two columns are named `{name}`")),
                (first, None) => Ok(first),
            }
        };
        let shown = || {
            let named: Vec<&str> = names.iter().copied().filter(|name| !name.is_empty()).take(MOST_NAMED).collect();
            format!("the columns are {}{}", all_of(&named), if names.len() > MOST_NAMED { " and others" } else { "" })
        };
        let value = match wanted {
            Some(wanted) => {
                find(wanted)?.ok_or_else(|| format!("line {line}: no column is named `{wanted}`: {}", shown()))?
            }
            None => match (find(hyper)?, find("value")?) {
                (Some(index), _) | (None, Some(index)) => index,
                (None, None) => {
                    return Err(format!(
                        "line {line}: no column is named `{hyper}` or `value`: {}; say which it is with `column = \"..\"`",
                        shown()
                    ));
                }
            },
        };
        let mut position = None;
        for (name, unit) in POSITIONS {
            if position.is_none() {
                position = find(name)?.filter(|index| *index != value).map(|index| (index, name.to_owned(), unit));
            }
        }
        if position.is_none() && field_count > 1 {
            return Err(format!(
                "line {line}: no column is named `iteration`, `step` or `epoch`, so which row is for when is not said: {}",
                shown()
            ));
        }
        let value = (value, format!("`{}`", names[value]));
        Ok((Layout { field_count, position, value, trial: find(TRIAL)? }, true))
    }
}

/// Rows read so far: of the first trial that has values, and of the one at hand.
#[derive(Default)]
struct Rows {
    first: Option<(String, Vec<(f64, f64)>)>,
    trial: String,
    rows: Vec<(f64, f64)>,
    empty_at: Option<u64>,
}

impl Rows {
    fn push(&mut self, record: &csv::StringRecord, layout: &Layout, line: u64) -> Result<(), String> {
        if record.len() != layout.field_count {
            let count = layout.field_count;
            let has = if record.len() == 1 { "1 field".to_owned() } else { format!("{} fields", record.len()) };
            return Err(format!("line {line}: {has}, where the first line has {count}"));
        }
        if let Some(trial) = layout.trial
            && record[trial] != *self.trial
        {
            self.end_trial(layout)?;
            self.trial = record[trial].to_owned();
        }
        let (index, name) = &layout.value;
        if record[*index].is_empty() && layout.trial.is_some() {
            // The trial does not use it, or a value is missing.
            self.empty_at.get_or_insert(line);
            return Ok(());
        }
        let value = number(&record[*index], name, line)?;
        let position = match &layout.position {
            None => self.rows.len() as f64,
            Some((index, name, unit)) => {
                let position = number(&record[*index], &format!("`{name}`"), line)?;
                let whole = position.fract() == 0.0 && position < 9e15;
                if position < 0.0 || (*unit == Unit::Iterations && !whole) {
                    return Err(format!("line {line}: the {name} cannot be {}", &record[*index]));
                }
                match self.rows.last() {
                    Some((before, _)) if *before == position => {
                        return Err(format!("line {line}: the {name} {position} is there twice"));
                    }
                    Some((before, _)) if *before > position => {
                        return Err(format!("line {line}: the {name} {position} comes after {before}: sort the rows"));
                    }
                    _ => position,
                }
            }
        };
        self.rows.push((position, value));
        Ok(())
    }

    fn end_trial(&mut self, layout: &Layout) -> Result<(), String> {
        let rows = std::mem::take(&mut self.rows);
        let name = &layout.value.1;
        match (self.empty_at.take(), &self.first) {
            (_, _) if rows.is_empty() => {}
            (Some(line), _) => return Err(format!("line {line}: {name} is empty")),
            (None, None) => self.first = Some((self.trial.clone(), rows)),
            (None, Some((_, first))) if *first == rows => {}
            (None, Some((trial, _))) => {
                let other = &self.trial;
                return Err(format!(
                    "the trials `{trial}` and `{other}` have different values of {name}: keep the rows of one of them"
                ));
            }
        }
        Ok(())
    }

    fn finish(mut self, layout: &Layout) -> Result<Values, String> {
        self.end_trial(layout)?;
        let Some((_, rows)) = self.first else { return Err("there are no values in it".to_owned()) };
        let unit = layout.position.as_ref().map_or(Unit::Iterations, |(_, _, unit)| *unit);
        let each_step = unit == Unit::Iterations && rows.iter().enumerate().all(|(step, row)| row.0 == step as f64);
        if each_step {
            return Ok(Values::EachStep(rows.into_iter().map(|(_, value)| value).collect()));
        }
        Ok(Values::From { unit, rows: rows.into() })
    }
}

fn number(field: &str, name: &str, line: u64) -> Result<f64, String> {
    let shown: String = field.chars().take(40).collect();
    match field.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        Ok(_) => Err(format!("line {line}: {name} is `{shown}`, which is not a finite number")),
        Err(_) if field.is_empty() => Err(format!("line {line}: {name} is empty")),
        Err(_) => Err(match decimal_comma(field) {
            Some(meant) => format!("line {line}: {name} is `{shown}`, with a decimal comma: write {meant}"),
            None => format!("line {line}: {name} is `{shown}`, which is no number"),
        }),
    }
}

/// The number that a field would be with a decimal point, if it is one with a comma.
fn decimal_comma(field: &str) -> Option<String> {
    let meant = field.replacen(',', ".", 1);
    (field.contains(',') && meant.parse::<f64>().is_ok()).then_some(meant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&[f64], &str>) {
        let expected = expected.map(|values| Values::EachStep(values.into())).map_err(str::to_owned);
        assert_eq!(parse(text, "lr", None), expected, "{text}");
    }

    #[track_caller]
    fn check_rows(text: &str, unit: Unit, rows: &[(f64, f64)]) {
        assert_eq!(parse(text, "lr", None), Ok(Values::From { unit, rows: rows.into() }), "{text}");
    }

    #[test]
    fn one_column_of_bare_numbers_is_a_value_an_iteration() {
        check("0.1\n0.2\n", Ok(&[0.1, 0.2]));
        check("lr\n0.1\n1e-3\n\n", Ok(&[0.1, 1e-3]));
        check("\u{feff}Value\r\n0.1\r\n.2\r\n", Ok(&[0.1, 0.2]));
        check("# lr\n0.1\n", Ok(&[0.1]));
        check("0.1\n\n0.2", Ok(&[0.1, 0.2]));
    }

    #[test]
    fn columns_are_found_by_their_names_in_any_order_and_case() {
        check("iteration,lr\n0,0.1\n1,1e-3\n", Ok(&[0.1, 1e-3]));
        check("lr,loss,STEP\n0.1,5,0\n0.2,4,1\n", Ok(&[0.1, 0.2]));
        check("\"lr\";\"note; with a separator\";\"iteration\"\n0.1;\"a\";0\n", Ok(&[0.1]));
        check("iteration\tepoch\tvalue\n0\t0\t0.1\n1\t0.5\t0.3\n", Ok(&[0.1, 0.3]));
        // TensorBoard's export, and Keras's CSVLogger.
        let tensorboard = "Wall time,Step,Value\n1700000000.1,0,0.001\n1700000009.9,10,0.002\n1700000019.9,20,0.003\n";
        check_rows(tensorboard, Unit::Iterations, &[(0.0, 0.001), (10.0, 0.002), (20.0, 0.003)]);
        check_rows("epoch,accuracy,lr\n0,0.5,0.1\n1.5,0.6,0.01\n", Unit::Epochs, &[(0.0, 0.1), (1.5, 0.01)]);
        assert_eq!(parse("step,a\n0,7\n", "lr", Some("A")), Ok(Values::EachStep([7.0].into())));
    }

    #[test]
    fn trials_of_one_file_must_agree() {
        check("trial,iteration,lr\na,0,1\na,1,2\nb,0,1\nb,1,2\nc,0,\n", Ok(&[1.0, 2.0]));
        check(
            "trial,iteration,lr\na,0,1\nb,0,2\n",
            Err("the trials `a` and `b` have different values of `lr`: keep the rows of one of them"),
        );
        check("trial,iteration,lr\na,0,1\na,1,\n", Err("line 3: `lr` is empty"));
    }

    #[test]
    fn everything_else_is_refused_with_its_line() {
        check("", Err("there are no values in it"));
        check("lr\n", Err("there are no values in it"));
        check("0.1\nx\n", Err("line 2: the value is `x`, which is no number"));
        check("0.1\nnan\n", Err("line 2: the value is `nan`, which is not a finite number"));
        check("iteration,lr\n0,inf\n", Err("line 2: `lr` is `inf`, which is not a finite number"));
        check("0,1\n0,2\n", Err("line 1: 2 columns and no names: begin with a line such as `iteration,lr`"));
        check("iteration;lr\n0;0,1\n", Err("line 2: `lr` is `0,1`, with a decimal comma: write 0.1"));
        check("iteration,lr\n0,0,1\n", Err("line 2: 3 fields, where the first line has 2"));
        check("iteration,lr\n0,1\n1\n", Err("line 3: 1 field, where the first line has 2"));
        check("iteration,lr\n0,\n", Err("line 2: `lr` is empty"));
        check("iteration,lr\n0,1\n0,1\n", Err("line 3: the iteration 0 is there twice"));
        check("step,lr\n0,1\n5,1\n4,1\n", Err("line 4: the step 4 comes after 5: sort the rows"));
        check("step,lr\n0.5,1\n", Err("line 2: the step cannot be 0.5"));
        check("step,lr\n-1,1\n", Err("line 2: the step cannot be -1"));
        check("lr,LR,step\n1,1,0\n", Err("line 1: two columns are named `lr`"));
        check(
            "time,lr\n0,1\n",
            Err(
                "line 1: no column is named `iteration`, `step` or `epoch`, so which row is for when is not said: the columns are `time` and `lr`",
            ),
        );
        check(
            "step,loss\n0,1\n",
            Err(
                "line 1: no column is named `lr` or `value`: the columns are `step` and `loss`; say which it is with `column = \"..\"`",
            ),
        );
        let no_column = "line 1: no column is named `rate`: the columns are `step` and `lr`";
        assert_eq!(parse("step,lr\n0,1\n", "lr", Some("rate")), Err(no_column.to_owned()));
        let no_names = "line 1: `column` asks for `rate`, and the columns have no names";
        assert_eq!(parse("0\n", "lr", Some("rate")), Err(no_names.to_owned()));
    }
}
