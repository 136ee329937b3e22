//! Random areas of training images, resized to what the model sees, and random light: what `torchvision` and Krizhevsky et al.
//! (2012) do to photographs. Every draw is a function of the lane's seed, the sample and the epoch.

use clr_rng::{Philox, below};

/// Draws of an area before the central one is taken.
const TRIES: u32 = 10;

/// The aspect ratios, width by height, that an area may have: `torchvision`'s.
const RATIOS: [f64; 2] = [3.0 / 4.0, 4.0 / 3.0];

/// The number of a purpose, in the upper half of the step of `Stream::Augment`; its lower half is the epoch. 0 are flips and
/// plain crops, 1 to 10 the tries of an area.
const LIGHTING: u32 = 11;

/// Deviations of the colours of ImageNet's pixels (0 to 255) along their principal components, and these, a row each: red,
/// green, blue. (Krizhevsky et al. 2012, section 4.1; the numbers are those of fb.resnet.torch, times 255.)
const COLOUR_DEVIATIONS: [f64; 3] = [0.2175 * 255.0, 0.0188 * 255.0, 0.0045 * 255.0];
const COLOUR_COMPONENTS: [[f64; 3]; 3] =
    [[-0.5675, -0.5808, -0.5836], [0.7192, -0.0045, -0.6948], [0.4009, -0.8140, 0.4203]];

/// A rectangle of an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Area {
    pub top: usize,
    pub left: usize,
    pub height: usize,
    pub width: usize,
}

/// The four words of a purpose.
fn words(philox: &Philox, epoch: u32, sample: u32, purpose: u32) -> [u32; 4] {
    philox.block(u64::from(purpose) << 32 | u64::from(epoch), sample)
}

/// A fraction in [0, 1), exact.
fn fraction(bits: u32) -> f64 {
    f64::from(bits) / 4_294_967_296.0
}

impl Area {
    /// An area of an image of `size`, of `least` to all of its pixels, as `torchvision`'s `RandomResizedCrop` chooses it: ten
    /// tries with a share from a uniform and an aspect ratio from a log-uniform distribution, then the middle of the image.
    pub fn random(philox: &Philox, epoch: u32, sample: u32, [height, width]: [usize; 2], least: f64) -> Area {
        for attempt in 1..=TRIES {
            let [share, ratio, top, left] = words(philox, epoch, sample, attempt);
            let pixels = (height * width) as f64 * (least + (1.0 - least) * fraction(share));
            let [low, high] = RATIOS.map(libm::log);
            let ratio = libm::exp(low + (high - low) * fraction(ratio));
            let size = [pixels / ratio, pixels * ratio].map(|square| libm::sqrt(square).round_ties_even() as usize);
            let [area_height, area_width] = size;
            if (1..=height).contains(&area_height) && (1..=width).contains(&area_width) {
                return Area {
                    top: below(top, (height - area_height) as u32 + 1) as usize,
                    left: below(left, (width - area_width) as u32 + 1) as usize,
                    height: area_height,
                    width: area_width,
                };
            }
        }
        Area::central([height, width])
    }

    /// The largest area in the middle of an image whose aspect ratio is one of those that are allowed.
    fn central([height, width]: [usize; 2]) -> Area {
        let ratio = width as f64 / height as f64;
        let rounded = |size: f64| size.round_ties_even() as usize;
        let (area_height, area_width) = if ratio < RATIOS[0] {
            (rounded(width as f64 / RATIOS[0]), width)
        } else if ratio > RATIOS[1] {
            (height, rounded(height as f64 * RATIOS[1]))
        } else {
            (height, width)
        };
        let (top, left) = ((height - area_height) / 2, (width - area_width) / 2);
        Area { top, left, height: area_height, width: area_width }
    }
}

/// What is added to red, green and blue of an image, in pixel values: the principal components of ImageNet's colours, each
/// times its deviation and a number drawn from a normal distribution of this deviation.
pub(crate) fn lighting(philox: &Philox, epoch: u32, sample: u32, deviation: f64) -> [f32; 3] {
    let [a, b, c, d] = words(philox, epoch, sample, LIGHTING);
    // Box and Muller (1958): two numbers of a normal distribution from two of a uniform one, the first above 0.
    let normal = |first: u32, second: u32| {
        let radius = libm::sqrt(-2.0 * libm::log((f64::from(first) + 1.0) / 4_294_967_296.0));
        let angle = 2.0 * std::f64::consts::PI * fraction(second);
        [radius * libm::cos(angle), radius * libm::sin(angle)]
    };
    let ([first, second], [third, _]) = (normal(a, b), normal(c, d));
    let mut light = [0.0; 3];
    for ((factor, colour), component) in
        [first, second, third].into_iter().zip(COLOUR_DEVIATIONS).zip(COLOUR_COMPONENTS)
    {
        for (light, component) in light.iter_mut().zip(component) {
            *light += deviation * factor * colour * component;
        }
    }
    light.map(|light| light as f32)
}

/// The source pixels of each target pixel along one side, with their weights, which add up to 1: a triangle as wide as two
/// pixels of whichever has the larger ones. (Bilinear with antialiasing, as in Pillow and in PyTorch's `interpolate`.)
pub(crate) struct Resampling {
    /// For each target pixel, the first source pixel and how many.
    spans: Vec<(usize, usize)>,
    weights: Vec<f32>,
}

impl Resampling {
    pub fn new(source: usize, target: usize) -> Resampling {
        let scale = source as f64 / target as f64;
        let support = scale.max(1.0);
        let mut resampling = Resampling { spans: Vec::with_capacity(target), weights: Vec::new() };
        for index in 0..target {
            let centre = scale * (index as f64 + 0.5);
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(source);
            let weight = |pixel: usize| (1.0 - ((pixel as f64 - centre + 0.5) / support).abs()).max(0.0);
            let sum: f64 = (first..end).map(weight).sum();
            resampling.weights.extend((first..end).map(|pixel| (weight(pixel) / sum) as f32));
            resampling.spans.push((first, end - first));
        }
        resampling
    }

    /// For each target pixel, the first source pixel and the weights from it on.
    pub fn targets(&self) -> impl Iterator<Item = (usize, &[f32])> {
        let mut rest = &*self.weights;
        self.spans.iter().map(move |&(first, count)| (first, rest.split_off(..count).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use clr_rng::Stream;

    use super::*;

    /// `augment_goldens.py` has `torchvision`'s rule and Philox, written apart from this.
    #[test]
    fn areas_are_those_of_torchvisions_rule() {
        let golden: serde_json::Value = serde_json::from_str(include_str!("augment_goldens.json")).unwrap();
        let cases = golden["areas"].as_array().unwrap();
        assert!(cases.len() >= 100);
        let mut tried_in_vain = 0;
        for case in cases {
            let number = |name: &str| case[name].as_u64().unwrap();
            let (philox, size) = (Philox::new(number("seed"), Stream::Augment), [number("height"), number("width")]);
            let size = size.map(|side| side as usize);
            let least = case["least"].as_f64().unwrap();
            let area = Area::random(&philox, number("epoch") as u32, number("sample") as u32, size, least);
            let expected: Vec<usize> =
                case["area"].as_array().unwrap().iter().map(|value| value.as_u64().unwrap() as usize).collect();
            assert_eq!([area.top, area.left, area.height, area.width], expected[..], "{case}");
            tried_in_vain += usize::from(case["central"].as_bool().unwrap());
        }
        assert!(tried_in_vain > 0, "no case in which ten tries fail");
    }

    #[test]
    fn resampled_images_are_those_of_pytorch() {
        let golden: serde_json::Value = serde_json::from_str(include_str!("augment_goldens.json")).unwrap();
        for case in golden["resized"].as_array().unwrap() {
            let values = |name: &str| -> Vec<f64> {
                case[name].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
            };
            let (x, expected) = (values("x"), values("y"));
            let found: Vec<f64> = Resampling::new(x.len(), expected.len())
                .targets()
                .map(|(first, weights)| weights.iter().zip(&x[first..]).map(|(weight, x)| f64::from(*weight) * x).sum())
                .collect();
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-4, "{found} instead of {expected}: {} to {}", x.len(), found);
            }
        }
    }

    #[test]
    fn light_has_the_deviations_of_imagenets_colours() {
        let philox = Philox::new(5, Stream::Augment);
        const IMAGES: u32 = 20_000;
        let lights: Vec<[f32; 3]> = (0..IMAGES).map(|sample| lighting(&philox, 3, sample, 0.1)).collect();
        assert_eq!(lights[7], lighting(&philox, 3, 7, 0.1));
        assert_ne!(lights[7], lighting(&philox, 4, 7, 0.1));
        assert_eq!(lighting(&philox, 3, 7, 0.0), [0.0; 3]);
        for (one, other) in [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)] {
            let found = lights.iter().map(|light| f64::from(light[one]) * f64::from(light[other])).sum::<f64>();
            // The covariance that the components make, of which the sample's is within a few percent.
            let expected: f64 = (0..3)
                .map(|i| {
                    let deviation = 0.1 * COLOUR_DEVIATIONS[i];
                    deviation * deviation * COLOUR_COMPONENTS[i][one] * COLOUR_COMPONENTS[i][other]
                })
                .sum();
            let found = found / f64::from(IMAGES);
            assert!(
                (found - expected).abs() < 0.05 * expected.abs(),
                "{one} and {other}: {found} instead of {expected}"
            );
        }
    }
}
