//! Nothing is lost, nothing is wrong: the program is killed, its writes fail, its disk is full, its plugin breaks; and the
//! same command, run again, leaves the bytes of one undisturbed run.
//!
//! What takes long by nature (two hundred kills) is scaled by environment variables, which `kills.rs` names.
#![cfg(target_os = "linux")]

mod disturbed;
mod faults;
mod kills;
mod left_behind;
mod machine;
mod probes;
mod room;
mod sweep;
mod writes;

// Shared with the tests of the whole program, which use the rest.
#[allow(dead_code)]
#[path = "../support/libraries.rs"]
mod support;
#[allow(dead_code)]
#[path = "../program/world.rs"]
mod world;
