//! Tables of values for schedules, and after a zero byte the column that is asked for.

use clr_spec::table::{Values, parse};

use super::Target;

pub(super) const TABLE: Target = Target { name: "table", read, seeds };

fn read(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let (text, column) = text.split_once('\0').map_or((text, None), |(text, column)| (text, Some(column)));
    match parse(text, "lr", column) {
        Ok(Values::EachStep(values)) => assert!(!values.is_empty() && values.iter().all(|value| value.is_finite())),
        Ok(Values::From { rows, .. }) => {
            assert!(!rows.is_empty() && rows.iter().all(|(position, value)| *position >= 0.0 && value.is_finite()));
            assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
        Err(_) => {}
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let texts = [
        "0.1\n0.2\n",
        "iteration,lr\n0,0.1\n1,1e-3\n\n",
        "0.1\r\n -2.5e300 \r\n",
        "lr\n",
        "1\nnan\n",
        "\u{feff}Wall time;Step;Value\r\n1.5;0;0,1\r\n",
        "trial,epoch,\"a \"\"b\"\"\"\nx,0,1\nx,1.5,2\ny,0,1\n\0a \"b\"",
    ];
    texts.iter().enumerate().map(|(number, text)| (format!("{number}.csv"), text.as_bytes().to_vec())).collect()
}
