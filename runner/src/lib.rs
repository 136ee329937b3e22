//! `clr-run` as a library: what the program does with the stages of a run, which are crates beside it.
//!
//! A spec says what is asked; [`gather`] finds what it names, the plan resolves it, training gives events, and
//! [`progress`] shows them while the store keeps them. [`commands`] has a file for each command.

pub mod arguments;
pub mod cli;
pub mod commands;
pub mod compare;
pub mod console;
pub mod ensemble;
pub mod estimate;
pub mod gather;
pub mod logs;
pub mod manual;
pub mod plot;
pub mod progress;
pub mod range_test;
pub mod ready;
pub mod recipe;
pub mod report;
pub mod show;
pub mod signals;
pub mod status;
pub mod verify;
