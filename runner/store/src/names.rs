//! The names of an output's files and folders, and the version of their format.

use clr_plan::TrialId;

/// Version of the folder's layout: of the manifest and of what the tables' columns mean.
///
/// 2: a column's type follows from its key, and not from its values; evaluations have the hyper-parameters in force; rows
/// above `max_loss` are marked, and rows that are not finite counted; rows of trials that failed are kept;
/// each trial knows the build of its plugin.
pub const FORMAT: u32 = 2;

/// The oldest version that is read. Whatever writes a folder brings it to [`FORMAT`].
pub const OLDEST_FORMAT: u32 = 1;

/// The folder of checkpoints.
pub const CHECKPOINTS: &str = "checkpoints";

/// The folder of the rows of trials that failed.
pub const FAILED: &str = "failed";

pub const SPEC: &str = "spec.toml";

/// The plan that the spec resolved to.
pub const PLAN: &str = "plan.json";

/// The folder of the files of `table` schedules.
pub const TABLES: &str = "tables";

/// The folder of what is damaged.
pub const ASIDE: &str = "damaged";

/// True if a file is of what was asked or what it resolved to: each command writes all of them.
pub fn is_of_recipe(file: &str) -> bool {
    file == SPEC || file == PLAN || file.strip_prefix(TABLES).is_some_and(|rest| rest.starts_with('/'))
}

/// The path in the output folder of a trial's checkpoint.
pub fn checkpoint_path(id: TrialId, step: u64, blake3: &str) -> String {
    format!("{CHECKPOINTS}/{id}-{step}-{:.12}.safetensors", blake3)
}

/// True if a path is that of a checkpoint, by its form.
pub fn is_checkpoint(path: &str) -> bool {
    let name = path.strip_prefix(CHECKPOINTS).and_then(|path| path.strip_prefix('/'));
    let parts: Vec<&str> = name.and_then(|name| name.strip_suffix(".safetensors")).unwrap_or("").split('-').collect();
    let all = |text: &str, radix| !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
    matches!(parts[..], [id, step, digest] if all(id, 16) && all(step, 10) && all(digest, 16))
}

/// A label as the name of a file or a folder on every system.
pub fn file_name_of(label: &str) -> String {
    label.chars().map(|c| if c.is_ascii_alphanumeric() || "._=-".contains(c) { c } else { '_' }).collect()
}

/// True if a path is that of a table of one row per trial, which each command that trains writes anew.
pub fn is_summary(path: &str) -> bool {
    ["trials.parquet", "timings.parquet"].contains(&path)
}

/// True if a path has the form of a part or of a compacted file. What a user put beside them is left alone.
pub fn is_ours(path: &str) -> bool {
    let digits = |text: &str, radix| !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
    let Some((directory, name)) = path.strip_suffix(".parquet").and_then(|path| path.split_once('/')) else {
        return false;
    };
    match (directory, name.split_once('-')) {
        ("parts", Some(("metrics" | "evals", number))) => digits(number, 10),
        ("metrics" | "evals", Some((index, digest))) => digits(index, 10) && digits(digest, 16),
        (FAILED, Some(("metrics" | "evals", rest))) => {
            rest.split_once('-').is_some_and(|(index, digest)| digits(index, 10) && digits(digest, 16))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: bool) {
        assert_eq!(is_checkpoint(text), expected, "{text}");
    }

    #[test]
    fn paths_are_known_by_their_form() {
        check(&checkpoint_path(TrialId::of(b"a trial"), 1200, &"0123456789abcdef".repeat(4)), true);
        check("checkpoints/00ff-1200.safetensors", false);
        check("checkpoints/00ff-1200-12.npz", false);
        check("checkpoints/mine.safetensors", false);
        check("checkpoints/../00ff-1200-12.safetensors", false);
        check("checkpoints/00ff--12.safetensors", false);
        check("parts/00ff-1200-12.safetensors", false);
        check("checkpoints-00ff-1200-12.safetensors", false);
    }
}
