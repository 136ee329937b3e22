//! What the operating system and libraries give, without surprises: files that are files, text that is text, threads that may
//! be few, the memory of processes, and panics of others that stay theirs.

pub mod contain;
pub mod memory;
pub mod regular;
pub mod text;
pub mod threads;
