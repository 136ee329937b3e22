//! Parts of a dataset.

/// A part of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// The samples that updates are computed from.
    Train,
    /// Training images held out; "best" is chosen on them.
    Validation,
    /// The samples that results are measured on.
    Test,
}

impl Split {
    /// In the order in which they are counted.
    pub const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

    /// As in the column `split` of tables.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        }
    }

    /// The split of that name.
    pub fn named(name: &str) -> Option<Split> {
        Split::ALL.into_iter().find(|split| split.name() == name)
    }
}
