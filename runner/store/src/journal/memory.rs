//! How much memory a command and its workers take.

use clr_system::memory::{children, own_bytes};

/// Bytes that this process and its children have of their own: what they share with files, such as datasets, is counted
/// nowhere. None where there is no `/proc`.
pub fn of_this_process_and_children() -> Option<u64> {
    let own = own_bytes(std::process::id())?;
    Some(children().into_iter().filter_map(own_bytes).fold(own, u64::saturating_add))
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
