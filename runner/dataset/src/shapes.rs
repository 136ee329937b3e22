//! `shapes`: a built-in set of drawn shapes, so that everything can be tried without a download.
//!
//! 32x32 colour images in ten classes. Only the shape tells a class: place, size, angle, colours, background, clutter
//! and noise are drawn at random. All is integer arithmetic on Philox's words, so the bits are the same everywhere.

use clr_rng::{Philox, Stream, below};
use rayon::prelude::*;

use super::decoded::{Decoded, Split};

/// Rows and columns of an image.
pub(super) const SIZE: u32 = 32;
/// Training images, equally many of each class.
pub(super) const TRAIN_COUNT: u64 = 5_000;
/// Test images, equally many of each class.
pub(super) const TEST_COUNT: u64 = 1_000;
/// The names of the classes, by label.
pub(super) const CLASS_NAMES: [&str; 10] =
    ["disc", "ring", "square", "frame", "triangle", "cross", "bar", "half-disc", "pair", "corner"];

/// There is one set: another seed, or another number below, would be another set and another digest.
const SEED: u64 = 2017;
const CHANNELS: usize = 3;
const IMAGE_BYTES: usize = (SIZE * SIZE) as usize * CHANNELS;
/// Shapes are drawn at twice the size and averaged, which softens their edges.
const SIDE: i32 = 2 * SIZE as i32;
/// Coordinates are in 1/32 of a point of that larger image.
const UNIT: i32 = 32;
/// Each value gets the sum of two draws from `0..NOISE`, less what that sum is on average.
const NOISE: u32 = 20;
/// Small marks beneath the shape.
const CLUTTER: usize = 3;
/// A shape is turned by at most so many 64ths, to either side.
const LARGEST_TURN: i32 = 4;

/// Intensities of red, green and blue.
type Colour = [i32; CHANNELS];

#[derive(Clone, Copy)]
enum Shape {
    Disc,
    Ring,
    Square,
    Frame,
    Triangle,
    Cross,
    Bar,
    HalfDisc,
    Pair,
    Corner,
}

/// By label, as [`CLASS_NAMES`].
const SHAPES: [Shape; 10] = [
    Shape::Disc,
    Shape::Ring,
    Shape::Square,
    Shape::Frame,
    Shape::Triangle,
    Shape::Cross,
    Shape::Bar,
    Shape::HalfDisc,
    Shape::Pair,
    Shape::Corner,
];

/// Draws the whole set. Image `i` is step `i` of the random stream, the test set after the training set.
pub(super) fn generate() -> Decoded {
    let philox = Philox::new(SEED, Stream::Dataset);
    let label = |step: u64| (step % SHAPES.len() as u64) as usize;
    let split = |first: u64, count: u64| {
        let mut images = vec![0; count as usize * IMAGE_BYTES];
        images.par_chunks_exact_mut(IMAGE_BYTES).enumerate().for_each(|(number, image)| {
            let step = first + number as u64;
            draw(SHAPES[label(step)], &mut philox.words(step), image);
        });
        Split { images: images.into(), labels: (first..first + count).map(|step| label(step) as i32).collect() }
    };
    Decoded {
        height: SIZE,
        width: SIZE,
        channels: CHANNELS as u32,
        class_count: SHAPES.len() as u32,
        class_names: CLASS_NAMES.map(str::to_owned).to_vec(),
        train: split(0, TRAIN_COUNT),
        test: split(TRAIN_COUNT, TEST_COUNT),
        notes: Vec::new(),
    }
}

fn draw(shape: Shape, words: &mut impl Iterator<Item = u32>, image: &mut [u8]) {
    // An image takes some 1,100 words of the 2^34 that a step has.
    let mut word = || words.next().unwrap_or(0);
    let mut between = |low: i32, high: i32| low + below(word(), (high - low + 1) as u32) as i32;

    let background = [0; CHANNELS].map(|_| between(0, 140));
    let slopes = [0; CHANNELS].map(|_| [between(-1, 1), between(-1, 1)]);
    let mut points: Vec<Colour> = (0..SIDE * SIDE)
        .map(|point| {
            let (column, row) = (point % SIDE - SIDE / 2, point / SIDE - SIDE / 2);
            std::array::from_fn(|channel| background[channel] + slopes[channel][0] * column + slopes[channel][1] * row)
        })
        .collect();
    for _ in 0..CLUTTER {
        let mark = Figure {
            shape: [Shape::Disc, Shape::Square, Shape::Triangle, Shape::Bar][between(0, 3) as usize],
            centre: [0; 2].map(|_| between(0, SIDE * UNIT)),
            radius: between(2 * UNIT, 6 * UNIT),
            turn: turn(between(0, 63)),
            colour: [0; CHANNELS].map(|_| between(0, 255)),
        };
        mark.paint(&mut points);
    }
    let radius = between(10 * UNIT, 22 * UNIT);
    let reach = SIDE * UNIT / 2 - radius * 3 / 4;
    let figure = Figure {
        shape,
        centre: [0; 2].map(|_| SIDE * UNIT / 2 + between(-reach, reach)),
        radius,
        turn: turn(between(-LARGEST_TURN, LARGEST_TURN)),
        // Brighter than what is beneath, in every channel by enough to be seen through the noise.
        colour: background.map(|value| value + between(40, 115)),
    };
    figure.paint(&mut points);

    for (number, pixel) in image.chunks_exact_mut(CHANNELS).enumerate() {
        let (column, row) = (number % SIZE as usize, number / SIZE as usize);
        let first = 2 * row * SIDE as usize + 2 * column;
        let parts = [first, first + 1, first + SIDE as usize, first + SIDE as usize + 1];
        // Six draws of five bits each.
        let mut bits = word();
        let mut noise = || {
            let draw = ((bits & 31) * NOISE) >> 5;
            bits >>= 5;
            draw as i32
        };
        for (channel, value) in pixel.iter_mut().enumerate() {
            let sum: i32 = parts.iter().map(|&part| points[part][channel]).sum();
            *value = ((sum >> 2) + noise() + noise() - (NOISE as i32 - 1)).clamp(0, 255) as u8;
        }
    }
}

/// A shape somewhere in the image.
struct Figure {
    shape: Shape,
    /// Its column and row.
    centre: [i32; 2],
    /// Half of its size.
    radius: i32,
    /// Cosine and sine of its angle, in 1/4096.
    turn: [i32; 2],
    colour: Colour,
}

impl Figure {
    /// Colours the points whose middle it covers.
    fn paint(&self, points: &mut [Colour]) {
        let reach = self.radius * REACH / 256;
        let around =
            self.centre.map(|at| ((at - reach) / UNIT).clamp(0, SIDE)..((at + reach) / UNIT + 1).clamp(0, SIDE));
        for row in around[1].clone() {
            for column in around[0].clone() {
                let (x, y) = (column * UNIT + UNIT / 2 - self.centre[0], row * UNIT + UNIT / 2 - self.centre[1]);
                // Into the shape's own frame, where the radius is 256. x and y are below 2^12 and so is a cosine.
                let [cos, sin] = self.turn;
                let u = ((x * cos + y * sin) >> 12) * 256 / self.radius;
                let v = ((y * cos - x * sin) >> 12) * 256 / self.radius;
                if self.shape.covers(u, v) {
                    points[(row * SIDE + column) as usize] = self.colour;
                }
            }
        }
    }
}

/// No shape reaches further from its centre than this, in its own frame.
const REACH: i32 = 300;

impl Shape {
    /// True if it covers the point (u, v) of its own frame: its radius is 256, its middle at 0.
    fn covers(self, u: i32, v: i32) -> bool {
        let (across, along) = (u.abs(), v.abs());
        let (near, far) = (across.min(along), across.max(along));
        match self {
            Shape::Disc => u * u + v * v <= 215 * 215,
            Shape::Ring => (125 * 125..=235 * 235).contains(&(u * u + v * v)),
            Shape::Square => far <= 185,
            Shape::Frame => (105..=205).contains(&far),
            // Corners at (0, 256) and (+-222, -128).
            Shape::Triangle => v >= -128 && 384 * across + 222 * v <= 222 * 256,
            Shape::Cross => near <= 70 && far <= 235,
            Shape::Bar => across <= 75 && along <= 250,
            Shape::HalfDisc => v >= -100 && u * u + (v + 100) * (v + 100) <= 250 * 250,
            Shape::Pair => u * u + (along - 140) * (along - 140) <= 105 * 105,
            Shape::Corner => (-200..=-70).contains(&u) && along <= 200 || (-200..=-70).contains(&v) && across <= 200,
        }
    }
}

/// Cosine and sine of `angle` 64ths of a turn, in 1/4096.
fn turn(angle: i32) -> [i32; 2] {
    const QUARTER: [i32; 17] =
        [4096, 4076, 4017, 3920, 3784, 3612, 3406, 3166, 2896, 2598, 2276, 1931, 1567, 1189, 799, 401, 0];
    let (quarters, part) = (angle.div_euclid(16), angle.rem_euclid(16) as usize);
    let (cos, sin) = (QUARTER[part], QUARTER[16 - part]);
    match quarters.rem_euclid(4) {
        0 => [cos, sin],
        1 => [-sin, cos],
        2 => [-cos, -sin],
        _ => [sin, -cos],
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    #[test]
    fn every_class_is_there_equally_often() {
        let set = generate();
        for (split, count) in [(&set.train, TRAIN_COUNT), (&set.test, TEST_COUNT)] {
            assert_eq!(split.images.len(), split.labels.len() * IMAGE_BYTES);
            for label in 0..SHAPES.len() as i32 {
                assert_eq!(split.labels.iter().filter(|&&other| other == label).count() as u64, count / 10);
            }
        }
    }

    #[test]
    fn turns_are_on_the_circle() {
        for angle in -64..128 {
            let [cos, sin] = turn(angle);
            let (x, y) = (libm::cos(f64::from(angle) * TAU / 64.0), libm::sin(f64::from(angle) * TAU / 64.0));
            assert!(
                (f64::from(cos) - 4096.0 * x).abs() < 0.51 && (f64::from(sin) - 4096.0 * y).abs() < 0.51,
                "{angle}"
            );
        }
    }

    /// Each shape as a picture: what the set is about, to look at and to keep.
    #[test]
    fn shapes_look_as_they_did() {
        let picture = |shape: Shape| -> String {
            let row =
                |v: i32| (-4..=4).map(|u| if shape.covers(64 * u, 64 * v) { '#' } else { '.' }).collect::<String>();
            (-4..=4).map(|v| row(v) + "\n").collect()
        };
        let all: String =
            SHAPES.iter().zip(CLASS_NAMES).map(|(&shape, name)| format!("{name}\n{}", picture(shape))).collect();
        expect_test::expect![[r#"
            disc
            .........
            ...###...
            ..#####..
            .#######.
            .#######.
            .#######.
            ..#####..
            ...###...
            .........
            ring
            .........
            ..#####..
            .#######.
            .##...##.
            .##...##.
            .##...##.
            .#######.
            ..#####..
            .........
            square
            .........
            .........
            ..#####..
            ..#####..
            ..#####..
            ..#####..
            ..#####..
            .........
            .........
            frame
            .........
            .#######.
            .#######.
            .##...##.
            .##...##.
            .##...##.
            .#######.
            .#######.
            .........
            triangle
            .........
            .........
            .#######.
            ..#####..
            ..#####..
            ...###...
            ...###...
            ....#....
            ....#....
            cross
            .........
            ...###...
            ...###...
            .#######.
            .#######.
            .#######.
            ...###...
            ...###...
            .........
            bar
            .........
            ...###...
            ...###...
            ...###...
            ...###...
            ...###...
            ...###...
            ...###...
            .........
            half-disc
            .........
            .........
            .........
            .#######.
            .#######.
            ..#####..
            ...###...
            .........
            .........
            pair
            .........
            ...###...
            ...###...
            ...###...
            .........
            ...###...
            ...###...
            ...###...
            .........
            corner
            .........
            .#######.
            .#######.
            .##......
            .##......
            .##......
            .##......
            .##......
            .........
        "#]]
        .assert_eq(&all);
    }

    /// No shape may be cut off by the box that [`Figure::paint`] looks at.
    #[test]
    fn no_shape_reaches_beyond_its_box() {
        for shape in SHAPES {
            for (u, v) in (-400i32..400).flat_map(|u| (-400..400).map(move |v| (u, v))) {
                assert!(!shape.covers(u, v) || u * u + v * v <= (REACH - 4) * (REACH - 4), "({u}, {v})");
            }
        }
    }
}
