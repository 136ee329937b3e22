//! Residual networks, as a clr-run plugin: those of CIFAR (He et al. 2016) and of stochastic depth (Huang et al. 2016), which
//! Smith (2017) trained in Table 4; those of super-convergence (Smith and Topin 2017); and those of ImageNet.
//!
//! Layers have the names that torchvision gives them, or the authors' files of Caffe, so that weights are found where their
//! users look for them.

mod cifar;
mod imagenet;
mod layers;
mod stochastic_depth;
mod super_convergence;

use clr_nn::{Architecture, BuildError, Family, Network, Options, Published};
use imagenet::Blocks::{Basic, Bottleneck};

/// The family of networks.
#[derive(Debug)]
pub struct Resnet;

impl Family for Resnet {
    const NAME: &'static str = "resnet";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const NUMERICS_REVISION: u32 = 1;

    fn architectures() -> Vec<Architecture> {
        [
            ("cifar_resnet", cifar::OPTIONS, cifar::build as Build),
            ("stochastic_depth", stochastic_depth::OPTIONS, stochastic_depth::build),
            ("super_convergence", super_convergence::OPTIONS, super_convergence::build),
            ("resnet18", imagenet::OPTIONS, |network, options| imagenet::build(network, options, Basic, [2, 2, 2, 2])),
            ("resnet34", imagenet::OPTIONS, |network, options| imagenet::build(network, options, Basic, [3, 4, 6, 3])),
            ("resnet50", imagenet::OPTIONS, |network, options| {
                imagenet::build(network, options, Bottleneck, [3, 4, 6, 3])
            }),
        ]
        .map(|(name, options_schema, build)| Architecture {
            name,
            options_schema,
            published: Published { momentum: 0.9, weight_decay: 1e-4 },
            build,
        })
        .to_vec()
    }
}

clr_nn::export!(Resnet);

type Build = fn(&mut Network, &Options) -> Result<(), BuildError>;
