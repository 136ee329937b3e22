//! Reads the committed inputs with the targets.

use std::any::Any;
use std::collections::BTreeSet;
use std::fs;
use std::panic::{catch_unwind, set_hook};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clr_fuzz_inputs::{TARGETS, Target, run};
use clr_rng::{Philox, Stream};

fn folder(target: &Target) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../seeds")).join(target.name)
}

#[test]
fn committed_inputs_do_no_harm() {
    for target in TARGETS {
        let mut files: Vec<PathBuf> = fs::read_dir(folder(target))
            .unwrap_or_else(|error| panic!("{}: {error}", folder(target).display()))
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        assert!(!files.is_empty(), "{} has no inputs", target.name);
        for file in files {
            // Shown where the test fails.
            eprintln!("{}", file.display());
            run(target.name, &fs::read(&file).unwrap());
        }
    }
}

/// Writes the good inputs anew: after a format of our own has changed.
///
/// `cargo test --release -p clr-fuzz-inputs write_seeds -- --ignored`
#[test]
#[ignore = "writes fuzz/seeds"]
fn write_seeds() {
    for target in TARGETS {
        fs::create_dir_all(folder(target)).unwrap();
        for (name, bytes) in (target.seeds)() {
            fs::write(folder(target).join(name), bytes).unwrap();
        }
    }
}

/// Mutates the committed inputs at random: where there is no nightly Rust for libFuzzer, which does it better. What does
/// harm is written to `fuzz/artifacts` and listed.
///
/// `CLR_FUZZ="spec 60" cargo test --release -p clr-fuzz-inputs mutate -- --ignored --nocapture`
#[test]
#[ignore = "runs for as long as CLR_FUZZ says"]
fn mutate() {
    let asked = std::env::var("CLR_FUZZ").expect("CLR_FUZZ is set, to a target and seconds");
    let (name, seconds) = asked.split_once(' ').expect("CLR_FUZZ is a target and seconds");
    let seconds = Duration::from_secs(seconds.parse().unwrap());
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    let files = fs::read_dir(folder(target)).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let inputs: Vec<Vec<u8>> = files.collect();
    let artifacts = folder(target).join("../../artifacts").join(target.name);
    let mut draw = Draw(Philox::new(seconds.as_secs(), Stream::Dataset).words(0));
    // What panics is told at the end of this, once.
    set_hook(Box::new(|_| {}));
    let (begin, mut runs, mut found, mut slowest) = (Instant::now(), 0u64, BTreeSet::new(), Duration::ZERO);
    while begin.elapsed() < seconds {
        let input = draw.mutated(&inputs);
        let start = Instant::now();
        let result = catch_unwind(|| run(target.name, &input));
        runs += 1;
        slowest = slowest.max(start.elapsed());
        let text = |panic: &(dyn Any + Send)| {
            panic.downcast_ref::<String>().cloned().or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        };
        let harm = match result {
            Err(panic) => text(&*panic).unwrap_or_default(),
            Ok(()) if start.elapsed() > Duration::from_secs(5) => "slow".to_owned(),
            Ok(()) => continue,
        };
        // One example of each kind: digits differ from input to input.
        if found.insert(harm.chars().filter(|c| c.is_alphabetic()).take(60).collect::<String>()) {
            let path = artifacts.join(&blake3::hash(&input).to_hex()[..16]);
            fs::create_dir_all(&artifacts).unwrap();
            fs::write(&path, &input).unwrap();
            eprintln!("{}: {harm}", path.display());
        }
    }
    eprintln!("{}: {runs} inputs in {seconds:?}, the slowest in {slowest:?}, {} do harm", target.name, found.len());
    assert!(found.is_empty());
}

struct Draw<I>(I);

impl<I: Iterator<Item = u32>> Draw<I> {
    fn below(&mut self, bound: usize) -> usize {
        clr_rng::below(self.0.next().unwrap(), bound.max(1) as u32) as usize
    }

    /// One of the inputs with one to eight changes.
    fn mutated(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut input = inputs[self.below(inputs.len())].clone();
        for _ in 0..1 << self.below(4) {
            let at = self.below(input.len());
            let most = 1 << self.below(8);
            let length = self.below(most).min(input.len() - at);
            match self.below(8) {
                _ if input.is_empty() => input.push(self.below(256) as u8),
                0 => input[at] ^= 1 << self.below(8),
                1 => input[at] = [0, 1, 0x7f, 0x80, 0xff, b'9', b'-', b'"'][self.below(8)],
                2 => drop(input.drain(at..at + length)),
                3 => drop(input.splice(at..at, input[at..at + length].to_vec())),
                4 => input.truncate(at),
                // A piece of another input.
                5 => {
                    let other = &inputs[self.below(inputs.len())];
                    let from = self.below(other.len());
                    let piece = other[from..(from + length).min(other.len())].to_vec();
                    input.splice(at..at, piece);
                }
                6 => {
                    let number: u64 = [0, 1, 255, 65_535, 1 << 31, u32::MAX.into(), 1 << 63, u64::MAX][self.below(8)];
                    let bytes = if self.below(2) == 0 { number.to_le_bytes() } else { number.to_be_bytes() };
                    let width = [1, 2, 4, 8][self.below(4)].min(input.len() - at);
                    input[at..at + width].copy_from_slice(&bytes[..width]);
                }
                _ => {
                    let texts = ["nan", "-1", "1e999", "18446744073709551615", "[]", "{}", "\\u0000", "\n", "é", "[["];
                    input.splice(at..at + length, texts[self.below(texts.len())].bytes());
                }
            }
        }
        input
    }
}
