//! Too little room: a limit on the size of files, and a file system that fills up. With more room the run goes on.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::disturbed::{check_completes, check_stopped, in_shell};
use crate::world::{BOWL, Ran, World};

/// So many iterations that a table of metrics takes some hundred KiB.
const LONG: [&str; 2] = ["--set", "train.iterations=3000"];

/// A world with an undisturbed run in `whole`.
fn world() -> World {
    let world = World::new(BOWL);
    world.train(&[&LONG[..], &["--outputs", "whole"]].concat());
    world
}

#[test]
fn a_limit_on_the_size_of_files() {
    let world = world();
    let arguments = [&LONG[..], &["--outputs", "limited"]].concat();
    let mut refusals = 0;
    // In blocks of 512 or 1024 bytes, as the shell likes it.
    for blocks in (0..20).map(|power| 1 << power) {
        let command = world.command(&[&["spec.toml", "--data", "data"], &arguments[..]].concat());
        let script = format!("trap '' XFSZ; ulimit -f {blocks}");
        let ran = Ran::from(in_shell(&script, &command).output().expect("there is a shell"));
        if ran.code == Some(0) {
            break;
        }
        check_stopped(&ran, "limited/bowl".as_ref(), "File too large");
        check_completes(&world, &arguments, "limited/bowl", &world, &format!("files of at most {blocks} blocks"));
        fs::remove_dir_all(world.path("limited")).unwrap();
        refusals += 1;
    }
    assert!((4..20).contains(&refusals), "{refusals} refusals");
}

/// A file system in memory, until it is dropped.
struct Small(PathBuf);

impl Small {
    /// None, loudly, where this process may not mount.
    fn mount(path: PathBuf, kibibytes: u64) -> Option<Small> {
        fs::create_dir_all(&path).unwrap();
        let size = format!("size={kibibytes}k");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "clr-run-test"]).arg(&path).output();
        match output {
            Ok(output) if output.status.success() => Some(Small(path)),
            other => {
                eprintln!("SKIPPED: cannot mount a small file system here: {other:?}");
                None
            }
        }
    }

    fn grow(&self) {
        let status = Command::new("mount").args(["-o", "remount,size=64m"]).arg(&self.0).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(&self.0).status();
        if !status.as_ref().is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted: {status:?}", self.0.display());
        }
    }
}

#[test]
fn a_file_system_that_fills_up() {
    let world = world();
    let arguments = [&LONG[..], &["--outputs", "small"]].concat();
    let mut refusals = 0;
    for kibibytes in [8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096, 8192] {
        let Some(small) = Small::mount(world.path("small"), kibibytes) else { return };
        let ran = world.run(&[&["spec.toml", "--data", "data"], &arguments[..]].concat());
        if ran.code == Some(0) {
            break;
        }
        check_stopped(&ran, "small/bowl".as_ref(), "No space left on device");
        small.grow();
        check_completes(&world, &arguments, "small/bowl", &world, &format!("{kibibytes} KiB of room"));
        refusals += 1;
    }
    assert!((3..16).contains(&refusals), "{refusals} refusals");
}
