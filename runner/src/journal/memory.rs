//! How much memory a command and its workers take.

use std::fs;

use crate::worker::memory::own_bytes;

/// Bytes that this process and its children have of their own: what they share with files, such as datasets, is counted
/// nowhere. None where there is no `/proc`.
pub fn of_this_process_and_children() -> Option<u64> {
    let own = own_bytes(std::process::id())?;
    Some(children().into_iter().filter_map(own_bytes).fold(own, u64::saturating_add))
}

/// A child is listed with the thread that started it.
fn children() -> Vec<u32> {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_written_to_counts() {
        let Some(before) = of_this_process_and_children() else {
            eprintln!("SKIPPED: there is no /proc here");
            return;
        };
        let block = std::hint::black_box(vec![1_u8; 256 << 20]);
        let after = of_this_process_and_children().unwrap();
        assert!(after >= before + (128 << 20), "{before} {after}");
        drop(block);
    }
}
