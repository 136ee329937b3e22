//! The shape of an image.

/// The size of one sample of a value; rows, then columns, then channels in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub height: usize,
    pub width: usize,
    /// Values of a pixel.
    pub channels: usize,
}

impl Shape {
    /// Values of one sample.
    pub fn len(self) -> usize {
        self.height * self.width * self.channels
    }

    /// True if there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}
