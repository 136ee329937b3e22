//! The network engine that clr-run model plugins build on.
//!
//! A plugin crate describes its networks and is done:
//!
//! ```
//! use clr_nn::{
//!     Architecture, BuildError, Convolution, Family, Initializer, Linear, Network, Options, Parameter, Pool, Published,
//! };
//!
//! struct Tiny;
//!
//! impl Family for Tiny {
//!     const NAME: &'static str = "tiny";
//!     const VERSION: &'static str = "0.1.0";
//!     const NUMERICS_REVISION: u32 = 1;
//!
//!     fn architectures() -> Vec<Architecture> {
//!         vec![Architecture {
//!             name: "one_convolution",
//!             options_schema: r#"{"type": "object", "properties": {}}"#,
//!             published: Published { momentum: 0.9, weight_decay: 0.004 },
//!             build: one_convolution,
//!         }]
//!     }
//! }
//!
//! fn one_convolution(network: &mut Network, _options: &Options) -> Result<(), BuildError> {
//!     let weight = || Parameter::new(Initializer::Gaussian { std: 0.01 });
//!     let bias = || Some(Parameter::new(Initializer::Constant { value: 0.0 }).lr_mult(2.0));
//!     let x = network.input();
//!     let x = network.convolution("conv1", x, Convolution::new(8, 3, weight(), bias()).pad(1))?;
//!     let x = network.pool("pool1", x, Pool::max(3, 2))?;
//!     let x = network.relu(x)?;
//!     let x = network.linear("ip1", x, Linear { outputs: network.class_count(), weight: weight(), bias: bias() })?;
//!     network.logits(x)
//! }
//!
//! clr_nn::export!(Tiny);
//! ```
//!
//! From there on, each module uses only those before it:
//!
//! 1. `shape`, `initializer`, `parameter` are the words of a description, `op` what networks are made of, one operation a
//!    file.
//! 2. `network` is the graph: it checks shapes as it is described, and is a list of nodes.
//! 3. `fuse` makes one node of those that can run as one; `program` compiles the graph into a flat list of instructions, and
//!    finds memory for every value and gradient, once; a `model` is the result.
//! 4. `executor` runs programs on the CPU, `cuda/executor` on a GPU.
//! 5. `optimizer`, `lane`: what a trial has of its own, and its step on the CPU: gradients by the program, and the update.
//! 6. `session` trains lanes on the CPU, and `cuda` on a GPU; `device` chooses between them.
//! 7. `architecture` speaks the plugin ABI for a family of networks. `profile` says where the time goes.
//!
//! The arithmetic is in `clr-kernels`.

mod architecture;
mod clock;
mod columns;
mod cuda;
mod device;
mod executor;
mod fuse;
mod initializer;
mod lane;
mod model;
mod network;
mod op;
mod optimizer;
mod options;
mod parameter;
mod profile;
mod program;
mod session;
mod shape;
mod state;

pub use architecture::{Architecture, Family, Published, description, footprint, parameters, session};
/// The SDK that a plugin is made with; [`export!`] uses it.
pub use clr_plugin as sdk;
pub use device::NetworkSession;
pub use initializer::Initializer;
pub use network::{BuildError, Network, Value};
pub use op::{BatchNorm, Convolution, Linear, Lrn, LrnRegion, Pool};
pub use options::Options;
pub use parameter::Parameter;
pub use profile::{NodeTime, Profile, profile};
pub use shape::Shape;
