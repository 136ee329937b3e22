//! The whole program: the built executable, real plugins, real files.

mod command_line;
mod compare;
mod damage;
mod devices;
mod ensembles;
mod equal_bytes;
mod excerpts;
mod export;
mod gpu_check;
mod interruption;
mod large_images;
mod manual;
mod no_gpu;
#[cfg(unix)]
mod not_files;
mod plugins_in_c;
mod range_tests;
mod rebuilt;
mod report;
mod results;
mod resuming;
mod status;
#[path = "../support/libraries.rs"]
mod support;
mod torch_modules;
mod two_outputs;
mod updates;
mod verify;
mod world;
