//! Messages there and back, and what is no message.

use std::time::Duration;

use clr_host::{Data, Death, Footprint, HostError, Lane, ParameterInfo, Role, SplitData, TensorInfo, Transform};
use clr_spec::DatasetQuery;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frame::{Decoder, Encoder, MOST};
use super::message::{
    DataSource, Filling, LONGEST, Open, Receiving, Reply, Request, SplitName, TransformSizes, decode, encode,
    transform_arrays, write_frames,
};
use crate::gpu::GpuInfo;

fn requests() -> Vec<Request> {
    let lane = Lane { options_json: r#"{"optimizer": "sgd"}"#.into(), init_seed: u64::MAX, data_seed: 2 };
    let path = std::path::Path::new("/plugins/libclr_bowl.so");
    let open = Open {
        plugin: path.into(),
        plugin_digest: "cd34".into(),
        device: "cpu".into(),
        model: "bowl".into(),
        model_json: "{}".into(),
        batch_size: 100,
        thread_count: 2,
        lanes: vec![(&lane).into(); 3],
    };
    let split = SplitData { count: 5, ..SplitData::default() };
    let (splits, transform) = ([split.clone(), SplitData::default(), split], Transform::default());
    let data = Data { height: 2, width: 3, channels: 1, class_count: 10, splits, transform, loader: None };
    vec![
        Request::Describe { plugin: path.into(), plugin_digest: "cd34".into() },
        Request::Footprint(open.clone(), (&data).into()),
        Request::Parameters(open.clone(), (&data).into()),
        Request::Gpus(vec![0, 3]),
        Request::Data(DataSource {
            query: DatasetQuery { test_share: Some(200_000), ..DatasetQuery::named("cifar10") },
            folder: path.into(),
            digest: Some("ab12".into()),
            roots: vec![path.into()],
            cache: Some(path.into()),
            checked: vec!["66 1 2 3.4 5.6".into()],
            counts: [45_000, 5_000, 10_000],
            transform: (&Transform { mean: vec![0.1; 2], pad: 4, flip: true, ..Transform::default() }).into(),
        }),
        Request::Open(open),
        Request::Step { step_count: 4096, shared_samples: true },
        Request::Evaluate { split: SplitName::Test, first: 0, count: 10_000, active: vec![true, false] },
        Request::ResetLane { lane: 1, trial: (&lane).into() },
        Request::Tensors { lane: 0 },
        Request::Save { lane: 0, tensor: 1 },
        Request::Load { lane: 0, tensor: 1 },
        Request::Close,
    ]
}

fn errors() -> Vec<HostError> {
    let (plugin, function) = ("bowl".to_owned(), "session_step");
    let died = |death| HostError::Died { plugin: "bowl".into(), function, death, stderr: "abort".into() };
    vec![
        HostError::NotFound { name: "x".into(), available: vec!["y".into()], searched: vec!["/plugins".into()] },
        HostError::Load { path: "/p.so".into(), message: "no ELF".into() },
        HostError::Refused { path: "/p.so".into(), problems: vec!["a".into(), "b".into()] },
        HostError::Call { plugin: plugin.clone(), function, status: 3, message: "no memory".into() },
        HostError::Answer { plugin: plugin.clone(), function: "footprint", message: "x".into() },
        HostError::Argument { plugin: plugin.clone(), function: "session_create", message: "x".into() },
        HostError::Broken { plugin, function: "clr.state/1 tensors" },
        HostError::Data { dataset: "cifar10".into(), problem: "gone".into() },
        died(Death::Signal(11)),
        died(Death::Exit(1)),
        died(Death::Hung(Duration::from_millis(1500))),
        died(Death::Memory { used: 2, limit: 1 }),
        died(Death::Garbled("x".into())),
        died(Death::NotStarted("x".into())),
    ]
}

fn replies() -> Vec<Reply> {
    let tensor = TensorInfo { name: "conv1.w".into(), role: Role::Weight, shape: vec![32, 75], element_count: 2400 };
    let buffer = TensorInfo { name: "mean".into(), role: Role::Buffer, shape: vec![], element_count: 1 };
    let state = TensorInfo { role: Role::OptimizerState, ..tensor.clone() };
    let mut replies = vec![
        Reply::Hello { protocol: 1, version: "0.1.0".into() },
        Reply::Done,
        Reply::Ran { cancelled: true },
        Reply::Tensors(vec![tensor, buffer, state]),
        Reply::Saved,
        Reply::Described(r#"{"name": "bowl"}"#.into()),
        Reply::Footprint(Footprint { bytes_shared: 1, bytes_per_lane: 2, numerics: "cpu-avx2".into() }),
        Reply::Gpus(Ok(vec![GpuInfo { ordinal: 3, name: "NVIDIA H100".into(), free: 1 << 36, total: 1 << 37 }])),
        Reply::Gpus(Err("no NVIDIA driver".into())),
        Reply::Parameters(vec![ParameterInfo {
            name: "conv1.bias".into(),
            value_count: 32,
            lr_mult: 2.0,
            decay_mult: 0.0,
        }]),
    ];
    replies.extend(errors().into_iter().map(Reply::Failed));
    replies
}

#[track_caller]
fn check_round_trip<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(message: &T) {
    let bytes = encode(message).unwrap();
    let with_array = [&bytes[..], b"array"].concat();
    for bytes_so_far in [&bytes, &with_array] {
        let (back, length) = decode::<T>(bytes_so_far).unwrap().unwrap();
        assert_eq!((&back, length), (message, bytes.len()));
    }
    for end in 0..bytes.len() {
        assert_eq!(decode::<T>(&bytes[..end]), Ok(None), "{end} of {} bytes of {message:?}", bytes.len());
    }
}

/// The one message that `bytes` are.
fn whole<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    decode::<T>(bytes)?.map(|(message, _)| message).ok_or_else(|| "a part of a message".to_owned())
}

/// Bytes as a message, whatever they are.
fn prefixed(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_ne_bytes(), bytes].concat()
}

#[test]
fn messages_come_back_as_they_were_and_a_part_of_one_is_none() {
    requests().iter().for_each(check_round_trip);
    replies().iter().for_each(check_round_trip);
}

#[test]
fn an_error_says_in_the_supervisor_what_it_said_in_the_worker() {
    for error in errors() {
        let bytes = encode(&error).unwrap();
        assert_eq!(whole::<HostError>(&bytes).unwrap().to_string(), error.to_string());
    }
}

#[test]
fn a_path_need_not_be_text() {
    use std::os::unix::ffi::OsStrExt;
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(b"/data/\xff\xfe"));
    let bytes = encode(&super::message::FilePath::from(path)).unwrap();
    let back: super::message::FilePath = whole(&bytes).unwrap();
    assert_eq!(std::path::PathBuf::from(back), path);
    // In an error it is for people to read.
    let bytes = encode(&HostError::Load { path: path.into(), message: "x".into() }).unwrap();
    let back: HostError = whole(&bytes).unwrap();
    assert_eq!(back, HostError::Load { path: "/data/\u{fffd}\u{fffd}".into(), message: "x".into() });
}

/// Bytes that are no message are an error and nothing else: no panic, and no memory for lengths that they claim.
#[test]
fn garbage_is_an_error() {
    for first in 0..=u8::MAX {
        for fill in [0, 1, 0x7f, 0x80, 0xff] {
            let mut garbage = vec![fill; 64];
            garbage[0] = first;
            for bytes in [prefixed(&garbage), garbage] {
                let _ = decode::<Reply>(&bytes);
                let _ = decode::<Request>(&bytes);
            }
        }
        if (13..0x80).contains(&first) {
            assert!(decode::<Request>(&prefixed(&[first, 0, 0])).is_err(), "there is no request {first}");
        }
    }
    // A list of tensors that claims 2^63 of them.
    let claim = [3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    assert!(decode::<Reply>(&prefixed(&claim)).is_err());
    // A message that claims to be longer than any, and one with something behind it.
    assert!(decode::<Reply>(&u32::MAX.to_ne_bytes()).unwrap_err().ends_with("more than 67108864"));
    assert_eq!(decode::<Reply>(&prefixed(&[1, 1])).unwrap_err(), "a message with 1 bytes too many");
    let unknown = HostError::Broken { plugin: "p".into(), function: "session_step" };
    let mut bytes = encode(&unknown).unwrap();
    *bytes.last_mut().unwrap() = b'q';
    let problem = whole::<HostError>(&bytes).unwrap_err();
    assert!(problem.starts_with("a message that cannot be read"), "{problem}");
}

/// Writes a message with arrays as frames and reads it back, with arrays of the given lengths.
fn carry_reply(reply: &Reply, arrays: &[&[u8]], lengths: &[usize]) -> Result<(Vec<Vec<u8>>, Option<Reply>), String> {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    let message = encode(reply).unwrap();
    let Ok(()) = write_frames(&mut encoder, &message, arrays, |frame| {
        decoder.push(frame);
        Ok::<(), std::convert::Infallible>(())
    });
    let mut filled: Vec<Vec<u8>> = lengths.iter().map(|&length| vec![0; length]).collect();
    let mut targets: Vec<&mut [u8]> = filled.iter_mut().map(Vec::as_mut_slice).collect();
    let (mut receiving, mut reply) = (Receiving::new(&mut targets), None);
    while let Some((kind, payload)) = decoder.frame().map_err(|error| error.to_string())? {
        assert_eq!(reply, None, "more frames than it takes");
        reply = receiving.take(kind, payload)?;
    }
    Ok((filled, reply))
}

fn carry(arrays: &[&[u8]], lengths: &[usize]) -> Result<(Vec<Vec<u8>>, bool), String> {
    let (filled, reply) = carry_reply(&Reply::Saved, arrays, lengths)?;
    assert!(reply.as_ref().is_none_or(|reply| *reply == Reply::Saved));
    Ok((filled, reply.is_some()))
}

/// Descriptions, lists of tensors and words of errors grow with a plugin, so they may take more than a frame.
#[test]
fn a_message_of_any_length_comes_through() {
    let tensor = |index| TensorInfo { name: format!("t{index}"), role: Role::Weight, shape: vec![1], element_count: 1 };
    let long = "x".repeat(3 * MOST + 5);
    let replies = [
        Reply::Tensors((0..100_000).map(tensor).collect()),
        Reply::Described(long.clone()),
        Reply::Failed(HostError::Load { path: "/p.so".into(), message: long }),
    ];
    for reply in replies {
        assert!(encode(&reply).unwrap().len() > MOST);
        assert!(carry_reply(&reply, &[], &[]) == Ok((Vec::new(), Some(reply))));
    }
    // A message that ends where a frame does, and one whose length is cut in two.
    for length in MOST - 12..MOST {
        let reply = Reply::Described("x".repeat(length));
        assert!(carry_reply(&reply, &[], &[]) == Ok((Vec::new(), Some(reply))), "{length}");
    }
}

/// A mean image has a value for each byte of an image: it comes as an array, and the message does not grow with it.
#[test]
fn no_message_grows_with_images() {
    let lengths = [12, 3 * 296 * 296, 3 * 1024 * 1024].map(|length: usize| {
        let mean: Vec<f32> = (0..length).map(|at| at as f32 / 7.0).collect();
        let (scale, crop) = (vec![0.5; 3], Some([7, 9]));
        let transform = Transform { mean, scale, pad: 4, crop, flip: true, min_area: 0.08, lighting: 0.1 };
        let [mean, scale] = transform_arrays(&transform);
        assert_eq!((mean.len(), scale.len()), (4 * length, 12));
        let mut back = TransformSizes::from(&transform).unfilled(length).unwrap();
        let Transform { mean: mean_back, scale: scale_back, .. } = &mut back;
        let filled: &mut [&mut [u8]] = &mut [bytemuck::cast_slice_mut(mean_back), bytemuck::cast_slice_mut(scale_back)];
        Filling::new(filled).take(&[mean, scale].concat()).unwrap();
        assert!(back == transform, "other values");
        encode(&TransformSizes::from(&transform)).unwrap().len()
    });
    assert!(lengths.iter().all(|&length| length < 32), "{lengths:?}");
    let sizes = TransformSizes::from(&Transform { mean: vec![0.0; 9], ..Transform::default() });
    assert_eq!(sizes.unfilled(8).unwrap_err(), "a transform with 9 values");
}

#[test]
fn a_message_that_is_too_long_is_refused() {
    let described = Reply::Described("x".repeat(LONGEST));
    assert!(encode(&described).unwrap_err().contains("more than 67108864"));
}

#[track_caller]
fn check_carried(lengths: &[usize]) {
    let arrays: Vec<Vec<u8>> =
        lengths.iter().enumerate().map(|(salt, &length)| (0..length).map(|i| (i * 7 + salt) as u8).collect()).collect();
    let slices: Vec<&[u8]> = arrays.iter().map(Vec::as_slice).collect();
    assert!(carry(&slices, lengths) == Ok((arrays, true)), "arrays of {lengths:?} bytes");
}

#[test]
fn arrays_of_any_length_come_through() {
    check_carried(&[]);
    check_carried(&[0, 0]);
    check_carried(&[0, 4, 0, 8, 0]);
    check_carried(&[MOST - 1]);
    check_carried(&[MOST]);
    check_carried(&[12, 2 * MOST, 4]);
    check_carried(&[MOST / 2, 3 * MOST + 5]);
}

#[test]
fn arrays_of_other_lengths_are_seen() {
    assert_eq!(carry(&[&[1, 2, 3]], &[2]).unwrap_err(), "1 bytes too many");
    assert_eq!(carry(&[&[1, 2, 3]], &[]).unwrap_err(), "3 bytes too many");
    assert_eq!(carry(&[&[1, 2]], &[1, 2]).map(|(_, done)| done), Ok(false));
}
