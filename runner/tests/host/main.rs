//! Plugins as dynamic libraries, through the host: those that keep the rules, in Rust and in C, and those that do not.

mod faults;
mod libraries;
mod sessions;
#[path = "../support/libraries.rs"]
mod support;
