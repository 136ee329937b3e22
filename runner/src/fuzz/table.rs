//! Tables of values for schedules.

use super::Target;
use crate::gather::parse_table;

pub(super) const TABLE: Target = Target { name: "table", read, seeds };

fn read(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(values) = parse_table(text) {
        assert!(!values.is_empty() && values.iter().all(|value| value.is_finite()));
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let texts = ["0.1\n0.2\n", "iteration,lr\n0,0.1\n1,1e-3\n\n", "0.1\r\n -2.5e300 \r\n", "lr\n", "1\nnan\n"];
    texts.iter().enumerate().map(|(number, text)| (format!("{number}.csv"), text.as_bytes().to_vec())).collect()
}
