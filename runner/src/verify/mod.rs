//! Verification: that an output is what its manifest says, and that training again gives the same bits.
//!
//! [`quick`] looks at files only. [`again`] trains trials again and compares row by row as the rows come.

pub mod again;

pub use again::{Wanted, again};
pub use clr_store::verify::{Checked, Problem, Recipe, Selection, VerifyError, quick, recipe, select};
