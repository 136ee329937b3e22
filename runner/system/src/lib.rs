//! What the operating system and libraries give, without surprises: files that are files, text that is text, threads that may
//! be few, the memory of processes, and panics of others that stay theirs.

// Public to the rest of the program: where a name says it all, it needs no sentence.
#![allow(missing_docs)]

pub mod contain;
pub mod memory;
pub mod regular;
pub mod text;
pub mod threads;
