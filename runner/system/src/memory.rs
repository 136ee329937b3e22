//! How much memory a process has of its own, and what children this one has.

use std::fmt::Display;
use std::fs;

/// Resident bytes that are not shared with files: a dataset's mapped pages do not count. None where nobody tells.
pub fn own_bytes(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/statm")).ok()?;
    own_pages(&text)?.checked_mul(rustix::param::page_size() as u64)
}

/// As [`own_bytes`], of a process and of all that it has started.
pub fn bytes_with_children(process: u32) -> Option<u64> {
    let own = own_bytes(process)?;
    let children = children_of(process).into_iter().filter_map(bytes_with_children);
    Some(children.fold(own, u64::saturating_add))
}

/// `statm` is "size resident shared text lib data dt", in pages.
fn own_pages(statm: &str) -> Option<u64> {
    let mut fields = statm.split_ascii_whitespace().skip(1).map(str::parse::<u64>);
    let (resident, shared) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some(resident.saturating_sub(shared))
}

/// The processes that this one has started, or that were handed to it. A child is listed with the thread that started it.
/// None where nobody tells.
pub fn children() -> Vec<u32> {
    children_of("self")
}

fn children_of(process: impl Display) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_files_do_not_count() {
        assert_eq!(own_pages("25000 1500 400 300 0 900 0\n"), Some(1100));
        for garbage in ["", "1", "1 2", "1 2 x"] {
            assert_eq!(own_pages(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn what_a_process_has_started_counts_with_it() {
        let mut parent = std::process::Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().unwrap();
        let child = loop {
            match (children_of(parent.id()).first(), own_bytes(parent.id())) {
                (Some(&child), _) if own_bytes(child).is_some_and(|bytes| bytes > 0) => break Some(child),
                (_, Some(_)) => std::thread::sleep(std::time::Duration::from_millis(1)),
                (_, None) => break None,
            }
        };
        let (all, own) = (bytes_with_children(parent.id()), own_bytes(parent.id()));
        parent.kill().and_then(|()| parent.wait()).unwrap();
        match (child, all, own) {
            (Some(child), Some(all), Some(own)) => {
                assert!(all > own, "{all} {own}");
                std::process::Command::new("kill").arg(child.to_string()).status().unwrap();
            }
            _ => eprintln!("SKIPPED: no /proc here"),
        }
    }

    #[test]
    fn this_process_has_some() {
        match own_bytes(std::process::id()) {
            Some(bytes) => assert!(bytes > 1 << 16, "{bytes}"),
            None => eprintln!("SKIPPED: no /proc here"),
        }
    }
}
