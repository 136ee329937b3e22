//! What a worker writes into its pipe: its own answers, or whatever a plugin in it has put there.

use std::path::Path;

use clr_host::{Death, HostError, Lane, Role, TensorInfo, Transform};
use clr_worker::frame::{Decoder, Encoder, Kind};
use clr_worker::message::{
    DataSource, FilePath, LaneText, Open, PROTOCOL, Receiving, Reply, Request, SplitName, decode, encode,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Target;

pub(super) const FRAMES: Target = Target { name: "worker_frames", read: read_frames, seeds: seeds_of_frames };
pub(super) const REPLIES: Target = Target { name: "worker_replies", read: read_replies, seeds: seeds_of_replies };
pub(super) const REQUESTS: Target = Target { name: "worker_requests", read: read_requests, seeds: seeds_of_requests };

const KINDS: [Kind; 3] = [Kind::Message, Kind::Continuation, Kind::Cancel];

/// A pipe's bytes after a first byte that says in how large pieces they come.
fn read_frames(bytes: &[u8]) {
    let Some((&size, bytes)) = bytes.split_first() else { return };
    let (frames, is_sound) = frames_of(bytes, usize::from(size) + 1);
    assert_eq!((frames.clone(), is_sound), frames_of(bytes, usize::MAX));
    let mut encoder = Encoder::default();
    let again: Vec<u8> = frames.iter().flat_map(|(kind, payload)| encoder.frame(*kind, &[payload]).to_vec()).collect();
    assert!(bytes.starts_with(&again), "frames that were not there");
}

/// All frames of a pipe's bytes, and whether nothing was wrong.
fn frames_of(bytes: &[u8], size: usize) -> (Vec<(Kind, Vec<u8>)>, bool) {
    let (mut decoder, mut found) = (Decoder::default(), Vec::new());
    for piece in bytes.chunks(size) {
        decoder.push(piece);
        loop {
            match decoder.frame() {
                Ok(Some((kind, payload))) => found.push((kind, payload.to_vec())),
                Ok(None) => break,
                Err(_) => return (found, false),
            }
        }
    }
    (found, true)
}

/// The lengths of two arrays that a reply shall fill, and payloads of frames with sound headers, which no mutation of
/// bytes would hit upon: a checksum is in each.
fn read_replies(mut bytes: &[u8]) {
    let mut lengths = [0; 2];
    for length in &mut lengths {
        let Some((&byte, rest)) = bytes.split_first() else { return };
        (*length, bytes) = (usize::from(byte), rest);
    }
    let [mut first, mut second] = lengths.map(|length| vec![0; length]);
    let arrays: &mut [&mut [u8]] = &mut [&mut first, &mut second];
    let mut receiving = Receiving::new(arrays);
    while let Some(([kind, low, high], rest)) = bytes.split_first_chunk() {
        let kind = KINDS[usize::from(*kind) % KINDS.len()];
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (payload, rest) = rest.split_at(length);
        bytes = rest;
        match receiving.take(kind, payload) {
            Ok(None) => {}
            Ok(Some(reply)) => {
                comes_back(&reply);
                if let Reply::Failed(error) = &reply {
                    assert!(!error.to_string().is_empty());
                }
                return;
            }
            Err(_) => return,
        }
    }
}

fn read_requests(bytes: &[u8]) {
    // A length before it that fits, which no mutation of bytes would hit upon.
    let message = [&(bytes.len() as u32).to_ne_bytes(), bytes].concat();
    if let Ok(Some((request, length))) = decode::<Request>(&message) {
        assert_eq!(length, message.len());
        comes_back(&request);
    }
}

/// Values may be no numbers, so bytes are compared.
#[track_caller]
fn comes_back<M: Serialize + DeserializeOwned>(message: &M) {
    let bytes = encode(message).expect("a message that was read is not too long");
    let (again, length) = decode::<M>(&bytes).expect("a message of ours").expect("a whole message");
    assert_eq!(length, bytes.len());
    assert_eq!(encode(&again), Ok(bytes));
}

fn seeds_of_frames() -> Vec<(String, Vec<u8>)> {
    let mut encoder = Encoder::default();
    let hello = encode(&hello()).expect("a short message");
    let mut bytes = vec![6];
    bytes.extend(encoder.frame(Kind::Message, &[&hello]));
    bytes.extend(encoder.frame(Kind::Continuation, &[b"", b"more"]));
    bytes.extend(encoder.frame(Kind::Cancel, &[]));
    let printed = [&bytes[..], b"epoch 1: loss 2.3\n"].concat();
    vec![("three".to_owned(), bytes), ("printed".to_owned(), printed)]
}

fn hello() -> Reply {
    Reply::Hello { protocol: PROTOCOL, version: "0.1.0".to_owned() }
}

fn seeds_of_replies() -> Vec<(String, Vec<u8>)> {
    let tensor = TensorInfo { name: "w".to_owned(), role: Role::Weight, shape: vec![2, 3], element_count: 6 };
    let (plugin, function) = ("cifar".to_owned(), "session_step");
    let failed = HostError::Call { plugin: plugin.clone(), function, status: 3, message: "no memory".to_owned() };
    let died = HostError::Died { plugin, function, death: Death::Signal(11), stderr: "Oh no".to_owned() };
    let replies = [
        ("hello", hello(), [0, 0]),
        ("done", Reply::Done, [0, 0]),
        ("ran", Reply::Ran { cancelled: true }, [8, 32]),
        ("tensors", Reply::Tensors(vec![tensor]), [0, 0]),
        ("saved", Reply::Saved, [24, 0]),
        ("failed", Reply::Failed(failed), [8, 32]),
        ("died", Reply::Failed(died), [0, 0]),
    ];
    let seed = |(name, reply, [first, second]): (&str, Reply, [u8; 2])| {
        let mut bytes = vec![first, second];
        let arrays = vec![7; usize::from(first) + usize::from(second)];
        let message = encode(&reply).expect("a short message");
        for (kind, payload) in [(Kind::Message, message), (Kind::Continuation, arrays)] {
            bytes.push(kind as u8);
            bytes.extend((payload.len() as u16).to_le_bytes());
            bytes.extend(payload);
        }
        (name.to_owned(), bytes)
    };
    replies.into_iter().map(seed).collect()
}

fn seeds_of_requests() -> Vec<(String, Vec<u8>)> {
    let path = |path: &str| FilePath::from(Path::new(path));
    let lane = LaneText::from(&Lane { options_json: "{}".into(), init_seed: 1, data_seed: u64::MAX });
    let (mean, scale) = (vec![0.5; 3], vec![f32::NAN]);
    let transform = Transform { mean, scale, pad: 4, crop: Some([32, 32]), flip: true, ..Transform::default() };
    let data = DataSource {
        query: clr_spec::DatasetQuery::named("cifar10"),
        folder: Path::new("/specs").into(),
        digest: Some("0123".repeat(16)),
        roots: vec![path("data"), path("more")],
        cache: Some(path("cache")),
        checked: vec!["1 2 3".to_owned()],
        counts: [45_000, 5_000, 10_000],
        transform: (&transform).into(),
    };
    let open = Open {
        plugin: path("libclr_cifar.so"),
        plugin_digest: "0123".repeat(16),
        device: "cuda:0".to_owned(),
        model: "quick".to_owned(),
        model_json: r#"{"precision": "f32"}"#.to_owned(),
        batch_size: 100,
        thread_count: 2,
        lanes: vec![lane.clone(), lane.clone()],
    };
    let active = vec![true, false];
    let requests = [
        ("data", Request::Data(data)),
        ("open", Request::Open(open)),
        ("step", Request::Step { step_count: 100, shared_samples: true }),
        ("evaluate", Request::Evaluate { split: SplitName::Test, first: 0, count: 10_000, active }),
        ("reset", Request::ResetLane { lane: 1, trial: lane }),
        ("tensors", Request::Tensors { lane: 0 }),
        ("save", Request::Save { lane: 0, tensor: 300 }),
        ("load", Request::Load { lane: 0, tensor: u32::MAX }),
        ("close", Request::Close),
    ];
    // Without the length, which the target puts before them.
    let seed =
        |(name, request): (&str, Request)| (name.to_owned(), encode(&request).expect("a short message").split_off(4));
    requests.into_iter().map(seed).collect()
}
