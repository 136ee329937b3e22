//! Plugins: find, load and check them, and drive their sessions safely. The only module that knows the ABI.
//!
//! A plugin is not trusted to keep its word: what it says of itself is checked when it is loaded, and each answer when it
//! comes. What cannot be checked is that its pointers point somewhere.
//!
//! - `discovery.rs` finds libraries, `library.rs` loads one and refuses what it cannot work with;
//! - `info.rs` is what a plugin offers, `describe.rs` reads and checks it;
//! - `data.rs` is the dataset that a session borrows, `stream.rs` the way back for images that come in batches;
//! - `config.rs` is what a session is made from, `session.rs` has its calls, `call.rs` their tables, `local.rs` makes them in this
//!   process; `error.rs` is what can go wrong, `death.rs` how a process that held a session ended.

mod call;
mod config;
mod data;
mod death;
mod describe;
mod discovery;
mod error;
mod info;
mod library;
mod local;
mod raw;
mod session;
mod split;
mod stream;

pub use call::{CallSizes, Completion, StepCall};
pub use config::{Lane, SessionConfig};
pub use data::{Data, Images, SplitData, Transform};
pub use death::Death;
pub use discovery::{Found, Pin, SearchPath};
pub use error::{Blame, Function, HostError};
pub use info::{Footprint, MOST_STATE_VALUES, ModelInfo, OptimizerInfo, ParameterInfo, PluginInfo, Role, TensorInfo};
pub use info::{check_sizes, check_tensor};
pub use library::Plugin;
pub use local::LocalSession;
pub use session::Session;
pub use split::Split;
pub use stream::{LoadRequest, Loader};
