//! Images and labels, and what is done to each image on its way to a model.
//!
//! Every plugin and device sees the same pixels: the transform's arithmetic and its random draws are defined here, once,
//! and `clr_image.h` gives the same bits to plugins in C.

use clr_rng::{Philox, Stream, below};

use crate::Error;
use crate::augment::{Area, Resampling, lighting};

/// The images of a run: up to three splits of equal image size, resident in memory or streamed in batches.
#[derive(Clone, Debug)]
pub struct Dataset<'a> {
    stored_shape: [usize; 3],
    class_count: usize,
    splits: [SplitData<'a>; 3],
    transform: Transform<'a>,
    loader: Option<&'a dyn Loader>,
}

/// A part of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// The images that steps train on.
    Train = 0,
    /// Training images held out.
    Validation = 1,
    /// The images that the result is measured on.
    Test = 2,
}

/// One split. An absent split has count 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct SplitData<'a> {
    /// Images of the split.
    pub count: usize,
    /// `[count][height][width][channels]`; none where images are streamed, or not there yet (in a footprint).
    pub images: Option<&'a [u8]>,
    /// `[count]`, each in `0..class_count`; none as for images.
    pub labels: Option<&'a [i32]>,
}

/// The transform of each image: `(pixel - mean) * scale` in f32, then, in training, a random flip; then zeros of width
/// `pad` around it and a crop, random in training and central in evaluation. Where `min_area` is set, a training image is
/// a random area of the stored one, resized to the crop, and then flipped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transform<'a> {
    /// Empty (0), `[channels]`, or `[height][width][channels]` of the stored image.
    pub mean: &'a [f32],
    /// Empty (1), `[1]` or `[channels]`.
    pub scale: &'a [f32],
    /// Zeros added on each side, after mean and scale.
    pub pad: usize,
    /// Height and width of the crop, and so of what the model sees; none: those of the stored image.
    pub crop: Option<[usize; 2]>,
    /// True if training flips every other image, left to right, at random.
    pub flip: bool,
    /// The least share of the stored image that a training image is an area of, as in `torchvision`'s `RandomResizedCrop`; at
    /// most 1. With 0, training images are plain crops.
    pub min_area: f32,
    /// The deviation of the random light that training images of three channels are given (Krizhevsky et al. 2012), at
    /// least 0.
    pub lighting: f32,
}

/// Says that a batch is for training, and keys its random draws.
#[derive(Clone, Copy, Debug)]
pub struct Augment<'a> {
    /// The lane's seed, which keys its draws.
    pub data_seed: u64,
    /// The epoch in which each sample is seen.
    pub epochs: &'a [u32],
}

/// A source of streamed images. Several threads may load at once.
pub trait Loader: Sync + std::fmt::Debug {
    /// Fills stored images and labels of `samples`, decoded and at the dataset's stored size. What is random about them
    /// is keyed by `augment`; without it, nothing is.
    fn load(
        &self,
        split: Split,
        samples: &[u32],
        augment: Option<Augment<'_>>,
        images: &mut [u8],
        labels: &mut [i32],
    ) -> Result<(), Error>;
}

impl<'a> Dataset<'a> {
    /// Checks and makes a dataset. `stored_shape` is height, width and channels. With a `loader` the splits have counts
    /// only; without one and without images nothing can be filled, but sizes can be asked.
    pub fn new(
        stored_shape: [usize; 3],
        class_count: usize,
        splits: [SplitData<'a>; 3],
        transform: Transform<'a>,
        loader: Option<&'a dyn Loader>,
    ) -> Result<Dataset<'a>, Error> {
        let [height, width, channels] = stored_shape;
        let size = height.checked_mul(width).and_then(|size| size.checked_mul(channels)).filter(|&size| size > 0);
        let Some(size) = size else {
            return Err(Error::invalid(format!("images of {height} x {width} x {channels}")));
        };
        if class_count == 0 {
            return Err(Error::invalid("a dataset of 0 classes"));
        }
        if height.max(width).max(transform.pad) > usize::from(u16::MAX) {
            return Err(Error::invalid(format!(
                "images of {height} x {width}, padded by {}: too large",
                transform.pad
            )));
        }
        if ![0, channels, size].contains(&transform.mean.len()) {
            let count = transform.mean.len();
            return Err(Error::invalid(format!("a mean of {count} values for {height} x {width} x {channels}")));
        }
        if ![0, 1, channels].contains(&transform.scale.len()) {
            let count = transform.scale.len();
            return Err(Error::invalid(format!("a scale of {count} values for {channels} channels")));
        }
        let [crop_height, crop_width] = transform.crop.unwrap_or([height, width]);
        let [padded_height, padded_width] = [height + 2 * transform.pad, width + 2 * transform.pad];
        if crop_height == 0 || crop_width == 0 || crop_height > padded_height || crop_width > padded_width {
            return Err(Error::invalid(format!(
                "a crop of {crop_height} x {crop_width} from images of {padded_height} x {padded_width}, padding included"
            )));
        }
        let Transform { pad, min_area, lighting, .. } = transform;
        if !(0.0..=1.0).contains(&min_area) || (min_area > 0.0 && pad > 0) {
            return Err(Error::invalid(format!("areas of at least {min_area} of an image padded by {pad}")));
        }
        if !(lighting >= 0.0 && lighting.is_finite()) || (lighting > 0.0 && channels != 3) {
            return Err(Error::invalid(format!("lighting of {lighting} for {channels} channels")));
        }
        for split in &splits {
            let images = split.images.map_or(Some(split.count.saturating_mul(size)), |images| Some(images.len()));
            if images != split.count.checked_mul(size) || split.labels.is_some_and(|labels| labels.len() != split.count)
            {
                return Err(Error::invalid(format!("images or labels are not those of {} samples", split.count)));
            }
            for &label in split.labels.unwrap_or_default() {
                if !usize::try_from(label).is_ok_and(|label| label < class_count) {
                    return Err(Error::invalid(format!("label {label} in a dataset of {class_count} classes")));
                }
            }
        }
        Ok(Dataset { stored_shape, class_count, splits, transform, loader })
    }

    /// Height, width and channels of what the model sees.
    pub fn input_shape(&self) -> [usize; 3] {
        let [height, width, channels] = self.stored_shape;
        let [height, width] = self.transform.crop.unwrap_or([height, width]);
        [height, width, channels]
    }

    /// Height, width and channels of the images as they are stored or streamed.
    pub fn stored_shape(&self) -> [usize; 3] {
        self.stored_shape
    }

    /// Labels are below this.
    pub fn class_count(&self) -> usize {
        self.class_count
    }

    /// How many images a split has.
    pub fn count(&self, split: Split) -> usize {
        self.splits[split as usize].count
    }

    /// A split as it is stored.
    pub fn split(&self, split: Split) -> &SplitData<'a> {
        &self.splits[split as usize]
    }

    /// True if images come in batches from a loader.
    pub fn is_streamed(&self) -> bool {
        self.loader.is_some()
    }

    /// The transform of each image. [`Dataset::fill_batch`] applies it; a device may do the same itself, unless
    /// [`Dataset::is_made_by_host`].
    pub fn transform(&self) -> &Transform<'a> {
        &self.transform
    }

    /// True if batches must come from [`Dataset::fill_batch`]: images are streamed, or what is done to them takes arithmetic that
    /// differs between devices.
    pub fn is_made_by_host(&self) -> bool {
        self.is_streamed() || self.transform.min_area > 0.0 || self.transform.lighting > 0.0
    }

    /// True if training changes images at random.
    pub fn is_random(&self) -> bool {
        let Transform { flip, min_area, lighting, .. } = self.transform;
        flip || self.spare() != [0, 0] || min_area > 0.0 || lighting > 0.0
    }

    /// Fills a batch as the model sees it: `images` is `[samples][height][width][channels]` of
    /// [`Dataset::input_shape`], `labels` is `[samples]`. With `augment` it is a training batch; without, flips are left
    /// out and crops are central.
    pub fn fill_batch(
        &self,
        split: Split,
        samples: &[u32],
        augment: Option<Augment<'_>>,
        images: &mut [f32],
        labels: &mut [i32],
    ) -> Result<(), Error> {
        let input_size: usize = self.input_shape().iter().product();
        let stored_size: usize = self.stored_shape.iter().product();
        let SplitData { count, images: resident, labels: resident_labels } = *self.split(split);
        if images.len() != samples.len() * input_size || labels.len() != samples.len() {
            return Err(Error::internal(format!("buffers do not fit a batch of {} samples", samples.len())));
        }
        if augment.is_some_and(|augment| augment.epochs.len() != samples.len()) {
            return Err(Error::internal(format!("epochs do not fit a batch of {} samples", samples.len())));
        }
        if let Some(sample) = samples.iter().find(|&&sample| sample as usize >= count) {
            return Err(Error::invalid(format!("sample {sample} of a split of {count}")));
        }
        let streamed;
        let (source, by_sample) = match (self.loader, resident, resident_labels) {
            (Some(loader), _, _) => {
                let mut bytes = vec![0; samples.len() * stored_size];
                loader.load(split, samples, augment, &mut bytes, labels)?;
                streamed = bytes;
                (streamed.as_slice(), false)
            }
            (None, Some(images), Some(all)) => {
                for (label, &sample) in labels.iter_mut().zip(samples) {
                    *label = all[sample as usize];
                }
                (images, true)
            }
            _ => return Err(Error::invalid("the dataset has no images")),
        };
        for (index, (&sample, output)) in samples.iter().zip(images.chunks_exact_mut(input_size)).enumerate() {
            let position = if by_sample { sample as usize } else { index };
            let image = &source[position * stored_size..][..stored_size];
            match augment {
                Some(Augment { data_seed, epochs }) => {
                    self.place_randomly(image, data_seed, sample, epochs[index], output);
                }
                None => self.place(image, self.central_placement(), [0.0; 3], output),
            }
        }
        Ok(())
    }

    /// A training image.
    fn place_randomly(&self, image: &[u8], data_seed: u64, sample: u32, epoch: u32, output: &mut [f32]) {
        let philox = Philox::new(data_seed, Stream::Augment);
        let words = philox.block(u64::from(epoch), sample);
        let Transform { flip, min_area, lighting: deviation, .. } = self.transform;
        let flip = flip && words[0] >> 31 == 1;
        let light = match deviation > 0.0 {
            true => lighting(&philox, epoch, sample, f64::from(deviation)),
            false => [0.0; 3],
        };
        if min_area > 0.0 {
            let [height, width, _] = self.stored_shape;
            let area = Area::random(&philox, epoch, sample, [height, width], f64::from(min_area));
            return self.resize(image, area, flip, light, output);
        }
        let [spare_height, spare_width] = self.spare();
        let (top, left) = (below(words[1], spare_height as u32 + 1), below(words[2], spare_width as u32 + 1));
        self.place(image, Placement { flip, top: top as usize, left: left as usize }, light, output);
    }

    fn central_placement(&self) -> Placement {
        let [spare_height, spare_width] = self.spare();
        Placement { flip: false, top: spare_height / 2, left: spare_width / 2 }
    }

    /// By how much the padded image is larger than the crop.
    fn spare(&self) -> [usize; 2] {
        let [height, width, _] = self.stored_shape;
        let [crop_height, crop_width, _] = self.input_shape();
        [height + 2 * self.transform.pad - crop_height, width + 2 * self.transform.pad - crop_width]
    }

    /// An area of the image, resized to what the model sees: first each row, then columns. The mean image is resized with it.
    fn resize(&self, image: &[u8], area: Area, flip: bool, light: [f32; 3], output: &mut [f32]) {
        let [_, width, channels] = self.stored_shape;
        let [crop_height, crop_width, _] = self.input_shape();
        let Transform { mean, scale, .. } = self.transform;
        let has_mean_image = mean.len() == image.len();
        let columns = Resampling::new(area.width, crop_width);
        let mut rows = vec![0.0; area.height * crop_width * channels];
        for (y, row) in rows.chunks_exact_mut(crop_width * channels).enumerate() {
            let first = ((area.top + y) * width + area.left) * channels;
            let len = area.width * channels;
            let mut source: Vec<f32> = image[first..][..len].iter().copied().map(f32::from).collect();
            if has_mean_image {
                zip_with(&mut source, &mean[first..][..len], |value, mean| value - mean);
            }
            for ((first, weights), values) in columns.targets().zip(row.chunks_exact_mut(channels)) {
                for (pixel, &weight) in source[first * channels..].chunks_exact(channels).zip(weights) {
                    zip_with(values, pixel, |sum, value| sum + weight * value);
                }
            }
        }
        let lines = output.chunks_exact_mut(crop_width * channels);
        for ((first, weights), line) in Resampling::new(area.height, crop_height).targets().zip(lines) {
            line.fill(0.0);
            for (row, &weight) in rows[first * line.len()..].chunks_exact(line.len()).zip(weights) {
                zip_with(line, row, |sum, value| sum + weight * value);
            }
            if flip {
                let pixels = crop_width / 2;
                let (left, right) = line.split_at_mut(pixels * channels);
                let right = right.rchunks_exact_mut(channels);
                left.chunks_exact_mut(channels).zip(right).for_each(|(left, right)| left.swap_with_slice(right));
            }
            if !mean.is_empty() && !has_mean_image {
                by_channel(line, mean, |value, mean| value - mean);
            }
            finish(line, light, scale);
        }
    }

    fn place(&self, image: &[u8], placement: Placement, light: [f32; 3], output: &mut [f32]) {
        let [height, width, channels] = self.stored_shape;
        let [_, crop_width, _] = self.input_shape();
        let Transform { mean, scale, pad, .. } = self.transform;
        let Placement { flip, top, left } = placement;
        for (y, row) in output.chunks_exact_mut(crop_width * channels).enumerate() {
            let Some(source_y) = (y + top).checked_sub(pad).filter(|&y| y < height) else {
                row.fill(0.0);
                continue;
            };
            // Columns of the row that the image covers; the others are padding.
            let first = pad.saturating_sub(left).min(crop_width);
            let end = (width + pad).saturating_sub(left).clamp(first, crop_width);
            if first == end {
                row.fill(0.0);
                continue;
            }
            let (before, rest) = row.split_at_mut(first * channels);
            let (values, after) = rest.split_at_mut((end - first) * channels);
            before.fill(0.0);
            after.fill(0.0);
            let source_x = if flip { width + pad - left - end } else { left + first - pad };
            let offset = (source_y * width + source_x) * channels;
            let pixels = &image[offset..][..values.len()];
            if flip {
                let pairs = values.chunks_exact_mut(channels).zip(pixels.chunks_exact(channels).rev());
                pairs.for_each(|(values, pixel)| widen(pixel, values));
            } else {
                widen(pixels, values);
            }
            if mean.len() == image.len() {
                let mean = &mean[offset..][..values.len()];
                if flip {
                    let pairs = values.chunks_exact_mut(channels).zip(mean.chunks_exact(channels).rev());
                    pairs.for_each(|(values, mean)| zip_with(values, mean, |value, mean| value - mean));
                } else {
                    zip_with(values, mean, |value, mean| value - mean);
                }
            } else if !mean.is_empty() {
                by_channel(values, mean, |value, mean| value - mean);
            }
            finish(values, light, scale);
        }
    }
}

/// Light and scale.
fn finish(values: &mut [f32], light: [f32; 3], scale: &[f32]) {
    if light != [0.0; 3] {
        by_channel(values, &light, |value, light| value + light);
    }
    match *scale {
        [] => {}
        [scale] => values.iter_mut().for_each(|value| *value *= scale),
        _ => by_channel(values, scale, |value, scale| value * scale),
    }
}

fn widen(pixels: &[u8], values: &mut [f32]) {
    for (value, &pixel) in values.iter_mut().zip(pixels) {
        *value = f32::from(pixel);
    }
}

fn zip_with(values: &mut [f32], others: &[f32], f: impl Fn(f32, f32) -> f32) {
    for (value, &other) in values.iter_mut().zip(others) {
        *value = f(*value, other);
    }
}

/// Applies `f` to each value and the constant of its channel. The usual three channels go four pixels at a time, a number
/// known to the compiler.
fn by_channel(values: &mut [f32], constants: &[f32], f: impl Fn(f32, f32) -> f32) {
    if let [red, green, blue] = *constants {
        let constants = [red, green, blue, red, green, blue, red, green, blue, red, green, blue];
        let (blocks, rest) = values.as_chunks_mut::<12>();
        for block in blocks {
            zip_with(block, &constants, &f);
        }
        zip_with(rest, &constants, &f);
        return;
    }
    for values in values.chunks_exact_mut(constants.len()) {
        zip_with(values, constants, &f);
    }
}

/// The place of the crop in the padded image, and whether that was flipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Placement {
    flip: bool,
    top: usize,
    left: usize,
}
