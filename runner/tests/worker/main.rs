//! Sessions in worker processes: the same bits as in this process, and no harm from what happens to the worker.

mod deaths;
mod policy;
mod prepared;
mod sessions;
#[expect(dead_code, reason = "only a part of it is needed here")]
#[path = "../support/libraries.rs"]
mod support;
#[expect(dead_code, reason = "only a part of it is needed here")]
#[path = "../program/world.rs"]
mod world;
