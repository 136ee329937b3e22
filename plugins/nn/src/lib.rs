//! The network engine that clr-run model plugins build on.
//!
//! A plugin crate describes its networks and is done:
//!
//! ```
//! use clr_nn::{
//!     Architecture, BuildError, Convolution, Family, Filler, Linear, Network, Options, Parameter, Pool, Published,
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
//!     let weight = || Parameter::new(Filler::Gaussian { deviation: 0.01 });
//!     let bias = || Some(Parameter::new(Filler::Constant { value: 0.0 }).lr_mult(2.0));
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
//! From there on: `network` checks shapes as the description is built and gives a list of nodes; `fuse` makes one of
//! those that can run as one; `plan` finds memory for every activation and gradient, once; `lane` runs forward, backward and update; `session` speaks the plugin ABI.
//! `cuda` is the same as `lane` and `session` for a GPU, and `device` chooses between them.
//! Layers are in `layer`, one a file; the arithmetic is in `clr-kernels`.

mod architecture;
mod cuda;
mod device;
mod filler;
mod fuse;
mod lane;
mod layer;
mod network;
mod optimizer;
mod options;
mod plan;
mod profile;
mod session;
mod state;

pub use architecture::{Architecture, Family, Published, description, footprint, parameters, session};
/// What a plugin is made with; [`export!`] uses it.
pub use clr_plugin as sdk;
pub use device::NetworkSession;
pub use filler::Filler;
pub use layer::{BatchNorm, Convolution, Linear, Lrn, LrnRegion, Pool};
pub use network::{BuildError, Network, Parameter, Shape, Value};
pub use options::Options;
pub use profile::{NodeTime, Profile, profile};
