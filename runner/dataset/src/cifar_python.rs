//! CIFAR's Python version: pickled dictionaries of a uint8 array (rows of 1024 red, 1024 green, 1024 blue bytes) and
//! a list of labels. Read by [`super::pickle`], which runs nothing.
//!
//! Whoever pickles them again, with Python 3, may write keys as bytes, labels as an array, and images as (n, 3, 32, 32) or
//! (n, 32, 32, 3), in any order of memory and any type of integers: all mean the same set.

use super::cifar::{CHANNELS, Cifar, IMAGE_BYTES, SIZE, Version};
use super::decoded::Growing;
use super::error::{DatasetError, Place};
use super::pickle::{self, Pickle};

pub fn version(set: Cifar) -> Version {
    let (train, test, class_names): (&[&str], _, _) = match set {
        Cifar::Ten => (
            &["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"],
            "test_batch",
            "batches.meta",
        ),
        Cifar::Hundred => (&["train"], "test", "meta"),
    };
    Version { set, train, test, class_names, append, parse_class_names: parse_names }
}

fn append(bytes: &[u8], file: &str, set: Cifar, split: &mut Growing) -> Result<(), DatasetError> {
    let pickle = parse(bytes, file)?;
    let wrong = |place, expected: &str, found: String| DatasetError::malformed(file, place, expected, found);
    let labels_key = match set {
        Cifar::Ten => "labels",
        Cifar::Hundred => "fine_labels",
    };
    let labels = field(&pickle, labels_key, file)?;
    let labels = pickle
        .integers(labels)
        .map_err(|found| wrong(Place::File, &format!("a list or an array of integers in `{labels_key}`"), found))?;
    if labels.is_empty() {
        return Err(wrong(Place::File, &format!("at least one label in `{labels_key}`"), "none".into()));
    }
    let array = pickle.byte_array(field(&pickle, "data", file)?);
    let (shape, data) =
        array.map_err(|found| wrong(Place::File, "an array of integers from 0 to 255 in `data`", found))?;
    let (count, side) = (labels.len() as u64, SIZE as u64);
    let is_planes = shape == [count, IMAGE_BYTES as u64] || shape == [count, CHANNELS as u64, side, side];
    if !is_planes && shape != [count, side, side, CHANNELS as u64] {
        let expected = format!("`data` of {} rows of {IMAGE_BYTES} bytes, as many as labels", labels.len());
        return Err(wrong(Place::File, &expected, format!("shape {shape:?}")));
    }
    split.images.reserve(data.len());
    for (number, (label, image)) in labels.into_iter().zip(data.chunks_exact(IMAGE_BYTES)).enumerate() {
        if !(0..i64::from(set.class_count())).contains(&label) {
            let expected = format!("a label in 0..{}", set.class_count());
            return Err(wrong(Place::Record(number as u64), &expected, label.to_string()));
        }
        split.labels.push(label as i32);
        if is_planes {
            split.push_planes(image, CHANNELS);
        } else {
            split.images.extend_from_slice(image);
        }
    }
    Ok(())
}

fn parse_names(bytes: &[u8], file: &str, set: Cifar) -> Result<Vec<String>, DatasetError> {
    let pickle = parse(bytes, file)?;
    let key = match set {
        Cifar::Ten => "label_names",
        Cifar::Hundred => "fine_label_names",
    };
    let names = pickle.strings(field(&pickle, key, file)?);
    let names = names
        .map_err(|found| DatasetError::malformed(file, Place::File, format!("a list of names in `{key}`"), found))?;
    if names.len() != set.class_count() as usize {
        let expected = format!("{} names in `{key}`", set.class_count());
        return Err(DatasetError::malformed(file, Place::File, expected, names.len().to_string()));
    }
    Ok(names)
}

/// The value under a key of the dictionary that a file is.
fn field(pickle: &Pickle<'_>, key: &str, file: &str) -> Result<pickle::Id, DatasetError> {
    let expected = || format!("a dictionary with the key `{key}`");
    pickle.get(key).map_err(|found| DatasetError::malformed(file, Place::File, expected(), found))
}

fn parse<'a>(bytes: &'a [u8], file: &str) -> Result<Pickle<'a>, DatasetError> {
    // What others put in the place of pickles.
    let other = match bytes {
        [b'P', b'K', 3, 4, ..] => Some("a ZIP archive, as `torch.save` and `numpy.savez` write it"),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Some("a file of `numpy.save`"),
        [0x1f, 0x8b, ..] => Some("a file compressed by gzip"),
        [0x89, b'H', b'D', b'F', ..] => Some("an HDF5 file"),
        _ => None,
    };
    if let Some(found) = other {
        return Err(DatasetError::malformed(file, Place::Byte(0), "a pickle of a dictionary", found));
    }
    pickle::parse(bytes)
        .map_err(|error| DatasetError::malformed(file, Place::Byte(error.offset as u64), error.expected, error.found))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// Written by pickles.py, beside it, with Python and numpy themselves.
    const PICKLES: &[u8] = include_bytes!("goldens/pickles.tar.gz");

    fn pickles() -> Vec<(String, Vec<u8>)> {
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(PICKLES));
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (name, bytes)
        });
        entries.collect()
    }

    /// The images of every file, as pickles.py makes them: image i has (31 i + 7 place) % 251 at each place of its planes.
    fn expected() -> Growing {
        let mut split = Growing { images: Vec::new(), labels: vec![3, 4] };
        for image in 0..2 {
            let planes: Vec<u8> = (0..IMAGE_BYTES).map(|place| ((31 * image + 7 * place) % 251) as u8).collect();
            split.push_planes(&planes, CHANNELS);
        }
        split
    }

    #[test]
    fn pickles_of_python_3_are_read_in_every_protocol_with_text_or_bytes_for_keys_and_arrays_or_lists() {
        let (pickles, expected) = (pickles(), expected());
        assert_eq!(pickles.len(), 6 * 14);
        for (name, bytes) in &pickles {
            let mut split = Growing::default();
            append(bytes, name, Cifar::Ten, &mut split).unwrap_or_else(|error| panic!("{error}"));
            assert!(split == expected, "{name}");
        }
    }

    /// numpy 1 has its functions in modules of other names.
    #[test]
    fn pickles_of_numpy_1_are_read() {
        let replaced = |bytes: &[u8]| -> Vec<u8> {
            let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
            text.replace("numpy._core.", "numpy.core.").chars().map(|c| c as u8).collect()
        };
        let mut count = 0;
        for (name, bytes) in pickles() {
            // Where names are lines, nothing says how long they are.
            if name.starts_with(['0', '1', '2', '3']) {
                let mut split = Growing::default();
                append(&replaced(&bytes), &name, Cifar::Ten, &mut split).unwrap_or_else(|error| panic!("{error}"));
                assert!(split == expected(), "{name}");
                count += 1;
            }
        }
        assert_eq!(count, 4 * 14);
    }

    /// Any of them cut off or with a byte changed is refused or read; no panic, no hang.
    #[test]
    fn damaged_pickles_do_no_harm() {
        for (name, bytes) in pickles() {
            for at in (0..200).chain(bytes.len() - 200..bytes.len()) {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << (at % 8);
                let _ = append(&changed, &name, Cifar::Ten, &mut Growing::default());
                assert!(
                    append(&bytes[..at], &name, Cifar::Ten, &mut Growing::default()).is_err(),
                    "{name}, {at} bytes"
                );
            }
        }
    }

    #[track_caller]
    fn check_error(bytes: &[u8], expected: &str) {
        let error = append(bytes, "f", Cifar::Ten, &mut Growing::default()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn what_is_there_instead_is_said() {
        check_error(b"]X\x01\0\0\0aa.", "f: expected a dictionary with the key `labels`, found a list of 1 values");
        check_error(b"}.", "f: expected a dictionary with the key `labels`, found an empty dictionary");
        check_error(
            b"(dVdata\nI1\nsVfine_labels\nI2\ns.",
            "f: expected a dictionary with the key `labels`, found the keys `data`, `fine_labels`",
        );
        let labels = "f: expected a list or an array of integers in `labels`, found";
        check_error(b"(dVlabels\nVcat\ns.", &format!("{labels} a text"));
        check_error(b"(dVlabels\n(lF1.5\nas.", &format!("{labels} a number that is no integer in a list"));
        check_error(
            b"(dVlabels\nctorch._utils\n_rebuild_tensor_v2\n(tRs.",
            &format!("{labels} a call of `torch._utils._rebuild_tensor_v2`"),
        );
        let data = "f: expected an array of integers from 0 to 255 in `data`, found";
        check_error(b"(dVlabels\n(lI1\nasVdata\n(ls.", &format!("{data} a list of 0 values"));
        // numpy.full((1, 2), 256, numpy.uint16), and numpy.zeros((1, 2), numpy.float32).
        let array = |dtype: &str, content: &str| {
            let head = "(dVlabels\n(lI1\nasVdata\ncnumpy._core.numeric\n_frombuffer\n(";
            let tail =
                "cnumpy\ndtype\n(Vdtype\nI00\nI01\ntR(I1\nI2\ntVC\ntRs.".replace("dtype\nI", &format!("{dtype}\nI"));
            format!("{head}S'{content}'\n{tail}").into_bytes()
        };
        check_error(&array("u2", r"\x00\x01\x00\x01"), &format!("{data} 256 in an array of uint16 in shape [1, 2]"));
        check_error(&array("f4", &r"\x00".repeat(8)), &format!("{data} an array of float32 in shape [1, 2]"));
        check_error(
            &array("u1", r"\x00\x01"),
            "f: expected `data` of 1 rows of 3072 bytes, as many as labels, found shape [1, 2]",
        );
        check_error(
            b"\x80\x05\x97.",
            "f, byte 2: expected an opcode of a pickle of lists, texts and numpy arrays, found opcode 0x97 (NEXT_BUFFER): an \
             array whose bytes are not in the file; pickle it without a `buffer_callback`",
        );
        check_error(
            b"PK\x03\x04",
            "f, byte 0: expected a pickle of a dictionary, found a ZIP archive, as `torch.save` and `numpy.savez` write it",
        );
    }
}
