//! What a trial is known by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The identity of a trial: 128 bits of a hash of all that was asked, labels left out. In print, 32 hexadecimal digits.
///
/// ```
/// use clr_plan::TrialId;
///
/// let id: TrialId = "00112233445566778899aabbccddeeff".parse()?;
/// assert_eq!(id.to_string(), "00112233445566778899aabbccddeeff");
/// # Ok::<(), clr_plan::NoTrialId>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrialId([u8; 16]);

/// The error of a text that is no trial's id: anything but 32 hexadecimal digits, the letters among them small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not 32 hexadecimal digits, as a trial's id is")]
pub struct NoTrialId;

impl TrialId {
    /// The id of what has this canonical form: the first half of its BLAKE3 hash.
    pub fn of(canonical: &[u8]) -> TrialId {
        let mut id = [0; 16];
        id.copy_from_slice(&blake3::hash(canonical).as_bytes()[..16]);
        TrialId(id)
    }
}

impl fmt::Display for TrialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:032x}", u128::from_be_bytes(self.0)))
    }
}

impl fmt::Debug for TrialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TrialId {
    type Err = NoTrialId;

    fn from_str(text: &str) -> Result<TrialId, NoTrialId> {
        let id = u128::from_str_radix(text, 16).map(|bits| TrialId(bits.to_be_bytes())).map_err(|_| NoTrialId)?;
        if id.to_string() == text { Ok(id) } else { Err(NoTrialId) }
    }
}

impl Serialize for TrialId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TrialId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TrialId, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format_args!("`{text}`: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_32_small_digits_is_no_id() {
        for text in ["", "0", &"0".repeat(31), &"0".repeat(33), &"A".repeat(32), &format!("+{}", "0".repeat(31))] {
            assert_eq!(text.parse::<TrialId>(), Err(NoTrialId), "{text}");
        }
        let id: TrialId = "0123456789abcdef0123456789abcdef".parse().unwrap();
        assert_eq!(serde_json::from_str::<TrialId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
    }
}
