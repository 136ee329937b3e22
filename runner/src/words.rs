//! Numbers as people read them: durations, bytes, counted things.

use jiff::SignedDuration;

/// `0.7s`, `42s`, `3h 5m 12s`.
///
/// ```
/// assert_eq!([0.74, 9.0, 42.4, 11_112.0].map(clr_run::words::duration), ["0.7s", "9.0s", "42s", "3h 5m 12s"]);
/// ```
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 9.95 {
        return format!("{seconds:.1}s");
    }
    format!("{:#}", SignedDuration::from_secs(seconds.round() as i64))
}

/// `512 B`, `1.5 MiB`.
pub fn bytes(bytes: u64) -> String {
    let (mut amount, mut unit) = (bytes as f64, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if amount < 1024.0 {
            break;
        }
        (amount, unit) = (amount / 1024.0, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{amount:.1} {unit}") }
}

/// `1 trial`, `2 trials`.
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
