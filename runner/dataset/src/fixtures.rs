//! For tests: small sets, and writers of every format that is read.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::{ArrayRef, BinaryArray, Int64Array, StringArray, StructArray};
use arrow_schema::{DataType, Field, Schema};
use clr_rng::{Philox, Stream};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression as ParquetCompression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::cifar::Cifar;
use super::decoded::{Decoded, Growing, Split};

/// Random images. Some are equal to others, as in real sets.
pub fn random(height: u32, width: u32, channels: u32, class_count: u32, train: usize, test: usize) -> Decoded {
    let image_bytes = (height * width * channels) as usize;
    let split = |count: usize, step: u64| {
        let mut words = Philox::new(1, Stream::Dataset).words(step);
        let mut split = Growing::default();
        for number in 0..count {
            if number % 7 == 6 {
                split.images.extend_from_within((number - 3) * image_bytes..(number - 2) * image_bytes);
                split.labels.push(split.labels[number - 3]);
            } else {
                split.images.extend(words.by_ref().take(image_bytes).map(|word| word as u8));
                split.labels.push((words.next().unwrap() % class_count) as i32);
            }
        }
        Split::from(split)
    };
    let class_names = (0..class_count).map(|class| format!("class {class}")).collect();
    let (train, test) = (split(train, 0), split(test, 1));
    Decoded { height, width, channels, class_count, class_names, train, test, notes: Vec::new() }
}

/// A set in the shape of CIFAR's.
pub fn cifar(set: Cifar, train: usize, test: usize) -> Decoded {
    random(32, 32, 3, set.class_count(), train, test)
}

pub fn png(image: &[u8], height: u32, width: u32, color: png::ColorType) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    encoder.write_header().unwrap().write_image_data(image).unwrap();
    bytes
}

/// A shard of PNG images, as the hubs have it.
pub fn parquet_shard(
    path: &Path,
    columns: [&str; 2],
    images: Vec<Option<Vec<u8>>>,
    labels: ArrayRef,
    hub: Option<&str>,
) {
    let fields = [("bytes", DataType::Binary), ("path", DataType::Utf8)];
    let fields: Vec<Field> = fields.into_iter().map(|(name, data_type)| Field::new(name, data_type, true)).collect();
    let names = StringArray::from_iter_values((0..images.len()).map(|number| format!("{number}.png")));
    let bytes: BinaryArray = images.into_iter().collect();
    let structs = StructArray::new(fields.into(), vec![Arc::new(bytes), Arc::new(names)], None);
    let schema = Arc::new(Schema::new(vec![
        Field::new(columns[0], DataType::Struct(structs.fields().clone()), true),
        Field::new("other", DataType::Utf8, true),
        Field::new(columns[1], labels.data_type().clone(), true),
    ]));
    let other = StringArray::from_iter_values((0..labels.len()).map(|_| "x"));
    let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(structs), Arc::new(other), labels]).unwrap();
    let metadata = hub.map(|json| vec![KeyValue::new("huggingface".to_owned(), json.to_owned())]);
    let properties = WriterProperties::builder().set_compression(ParquetCompression::SNAPPY);
    let properties = properties.set_key_value_metadata(metadata).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), schema, Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// The set as Parquet shards, two of the training split.
pub fn parquet(folder: &Path, set: &Decoded, columns: [&str; 2]) {
    std::fs::create_dir_all(folder).unwrap();
    let color = if set.channels == 1 { png::ColorType::Grayscale } else { png::ColorType::Rgb };
    let image_bytes = (set.height * set.width * set.channels) as usize;
    let names = serde_json::to_string(&set.class_names).unwrap();
    let hub = format!(r#"{{"info": {{"features": {{"{}": {{"names": {names}}}}}}}}}"#, columns[1]);
    let write = |name: &str, images: &[u8], labels: &[i32]| {
        let images = images.chunks(image_bytes).map(|image| Some(png(image, set.height, set.width, color))).collect();
        let labels = Int64Array::from_iter_values(labels.iter().map(|&label| label.into()));
        parquet_shard(&folder.join(name), columns, images, Arc::new(labels), Some(&hub));
    };
    let half = set.train.labels.len() / 2;
    let (images, labels) = (set.train.images.split_at(half * image_bytes), set.train.labels.split_at(half));
    write("train-00000-of-00002.parquet", images.0, labels.0);
    write("train-00001-of-00002.parquet", images.1, labels.1);
    write("test-00000-of-00001.parquet", &set.test.images, &set.test.labels);
}

/// Turns an image of rows of pixels (HWC) into planes (CHW).
fn planes(image: &[u8], channels: usize) -> Vec<u8> {
    (0..channels).flat_map(|channel| image.iter().skip(channel).step_by(channels).copied()).collect()
}

/// Names and samples of the files of a CIFAR set: five training batches or one, and the test batch.
fn batches<'a>(set: &'a Decoded, kind: Cifar, suffix: &str) -> Vec<(String, &'a [u8], &'a [i32])> {
    let (count, train, test) = match kind {
        Cifar::Ten => (5, "data_batch_", "test_batch"),
        Cifar::Hundred => (1, "train", "test"),
    };
    let size = set.train.labels.len().div_ceil(count);
    let labels = set.train.labels.chunks(size);
    let mut batches: Vec<_> = set
        .train
        .images
        .chunks(size * 3072)
        .zip(labels)
        .enumerate()
        .map(|(number, (images, labels))| {
            let number = if count == 1 { String::new() } else { (number + 1).to_string() };
            (format!("{train}{number}{suffix}"), images, labels)
        })
        .collect();
    batches.push((format!("{test}{suffix}"), &set.test.images, &set.test.labels));
    batches
}

/// The set in CIFAR's binary version.
pub fn cifar_binary(folder: &Path, set: &Decoded, kind: Cifar) {
    std::fs::create_dir_all(folder).unwrap();
    for (name, images, labels) in batches(set, kind, ".bin") {
        let mut bytes = Vec::with_capacity(images.len());
        for (image, &label) in images.chunks_exact(3072).zip(labels) {
            if kind == Cifar::Hundred {
                bytes.push(label as u8 / 5); // the coarse label, which is not read
            }
            bytes.push(label as u8);
            bytes.extend(planes(image, 3));
        }
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    let meta = if kind == Cifar::Ten { "batches.meta.txt" } else { "fine_label_names.txt" };
    std::fs::write(folder.join(meta), set.class_names.join("\n") + "\n\n").unwrap();
}

/// The set in CIFAR's Python version.
pub fn cifar_python(folder: &Path, set: &Decoded, kind: Cifar) {
    std::fs::create_dir_all(folder).unwrap();
    for (name, images, labels) in batches(set, kind, "") {
        let data: Vec<u8> = images.chunks_exact(3072).flat_map(|image| planes(image, 3)).collect();
        let integers = |labels: &mut dyn Iterator<Item = i64>| Python::List(labels.map(Python::Integer).collect());
        let labels_of = |divisor: i64| integers(&mut labels.iter().map(|&label| i64::from(label) / divisor));
        let filenames = (0..labels.len()).map(|number| Python::string(&format!("a_file_s_{number:06}.png"))).collect();
        let mut items = vec![
            ("filenames", Python::List(filenames)),
            ("batch_label", Python::string("training batch 1 of 5")),
            ("data", Python::Array { rows: labels.len(), columns: 3072, bytes: data }),
        ];
        match kind {
            Cifar::Ten => items.push(("labels", labels_of(1))),
            Cifar::Hundred => items.extend([("fine_labels", labels_of(1)), ("coarse_labels", labels_of(5))]),
        }
        std::fs::write(folder.join(name), pickled(&Python::Dict(items))).unwrap();
    }
    let names = set.class_names.iter().map(|name| Python::string(name)).collect();
    let (name, key) = if kind == Cifar::Ten { ("batches.meta", "label_names") } else { ("meta", "fine_label_names") };
    std::fs::write(folder.join(name), pickled(&Python::Dict(vec![(key, Python::List(names))]))).unwrap();
}

/// The set as the four files of MNIST.
pub fn idx(folder: &Path, set: &Decoded, compressed: bool) {
    std::fs::create_dir_all(folder).unwrap();
    let write = |name: &str, dimensions: &[u32], elements: &[u8]| {
        let mut bytes = vec![0, 0, 8, dimensions.len() as u8];
        bytes.extend(dimensions.iter().flat_map(|size| size.to_be_bytes()));
        bytes.extend(elements);
        let path = folder.join(name);
        if compressed {
            std::fs::write(path.with_added_extension("gz"), gzip(&bytes)).unwrap();
        } else {
            std::fs::write(path, bytes).unwrap();
        }
    };
    for (part, split) in [("train", &set.train), ("t10k", &set.test)] {
        let count = split.labels.len() as u32;
        let labels: Vec<u8> = split.labels.iter().map(|&label| label as u8).collect();
        write(&format!("{part}-images-idx3-ubyte"), &[count, set.height, set.width], &split.images);
        write(&format!("{part}-labels-idx1-ubyte"), &[count], &labels);
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// Packs a folder, under its own name, into a `.tar.gz`.
pub fn archive(folder: &Path, path: &Path) {
    let mut archive = tar::Builder::new(GzEncoder::new(File::create(path).unwrap(), Compression::fast()));
    archive.append_dir_all(folder.file_name().unwrap(), folder).unwrap();
    archive.into_inner().unwrap().finish().unwrap();
}

/// A value of CIFAR's pickles.
pub enum Python {
    Integer(i64),
    String(Vec<u8>),
    List(Vec<Python>),
    Dict(Vec<(&'static str, Python)>),
    /// A numpy array of uint8.
    Array {
        rows: usize,
        columns: usize,
        bytes: Vec<u8>,
    },
}

impl Python {
    pub fn string(text: &str) -> Python {
        Python::String(text.as_bytes().to_vec())
    }
}

/// The bytes that Python 2's `cPickle.dump(value, file, 2)` writes.
pub fn pickled(value: &Python) -> Vec<u8> {
    let mut pickler = Pickler { out: vec![0x80, 2], memo: 0 };
    pickler.write(value);
    pickler.out.push(b'.');
    pickler.out
}

struct Pickler {
    out: Vec<u8>,
    memo: u32,
}

impl Pickler {
    fn write(&mut self, value: &Python) {
        match value {
            &Python::Integer(value) => self.integer(value),
            Python::String(bytes) => self.string(bytes),
            Python::List(items) => {
                self.op(b"]");
                // In groups of a thousand.
                for items in items.chunks(1000) {
                    self.out.push(b'(');
                    items.iter().for_each(|item| self.write(item));
                    self.out.push(b'e');
                }
            }
            Python::Dict(items) => {
                self.op(b"}");
                self.out.push(b'(');
                for (key, value) in items {
                    self.string(key.as_bytes());
                    self.write(value);
                }
                self.out.push(b'u');
            }
            Python::Array { rows, columns, bytes } => {
                self.op(b"cnumpy.core.multiarray\n_reconstruct\n");
                self.op(b"cnumpy\nndarray\n");
                self.integer(0);
                self.op(&[0x85]);
                self.string(b"b");
                self.op(&[0x87]);
                self.op(b"R");
                self.out.push(b'(');
                self.integer(1);
                self.integer(*rows as i64);
                self.integer(*columns as i64);
                self.op(&[0x86]);
                self.op(b"cnumpy\ndtype\n");
                self.string(b"u1");
                self.integer(0);
                self.integer(1);
                self.op(&[0x87]);
                self.op(b"R");
                self.out.push(b'(');
                self.integer(3);
                self.string(b"|");
                self.out.extend(b"NNN");
                self.integer(-1);
                self.integer(-1);
                self.integer(0);
                self.op(b"t");
                self.out.extend([b'b', 0x89]);
                self.string(bytes);
                self.op(b"t");
                self.out.push(b'b');
            }
        }
    }

    /// An opcode whose value goes into the memo, numbered from 1.
    fn op(&mut self, bytes: &[u8]) {
        self.out.extend(bytes);
        self.memo += 1;
        match u8::try_from(self.memo) {
            Ok(slot) => self.out.extend([b'q', slot]),
            Err(_) => {
                self.out.push(b'r');
                self.out.extend(self.memo.to_le_bytes());
            }
        }
    }

    fn integer(&mut self, value: i64) {
        if let Ok(value) = u8::try_from(value) {
            self.out.extend([b'K', value]);
        } else if let Ok(value) = u16::try_from(value) {
            self.out.push(b'M');
            self.out.extend(value.to_le_bytes());
        } else {
            self.out.push(b'J');
            self.out.extend(i32::try_from(value).unwrap().to_le_bytes());
        }
    }

    fn string(&mut self, bytes: &[u8]) {
        let mut op = match u8::try_from(bytes.len()) {
            Ok(size) => vec![b'U', size],
            Err(_) => [&b"T"[..], &(bytes.len() as u32).to_le_bytes()].concat(),
        };
        op.extend(bytes);
        self.op(&op);
    }
}
