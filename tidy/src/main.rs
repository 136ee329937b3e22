//! `cargo run -p clr-tidy`: the crates of the repository, each above those that it uses, and the modules within each.

use std::path::Path;
use std::process::ExitCode;

use clr_tidy::{Graph, workspace};

fn main() -> std::io::Result<ExitCode> {
    let crates = workspace(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))?;
    let mut all = Graph::default();
    for one in &crates {
        all.node(&one.name);
        one.uses.iter().for_each(|used| all.add(&one.name, used, ""));
    }
    println!("crates\n{all}");
    let mut is_sound = true;
    for one in &crates {
        println!("{}\n{}", one.name, one.modules);
        if let Some(ring) = one.modules.ring() {
            println!("  a ring:\n{}", one.modules.explained(&ring));
            is_sound = false;
        }
    }
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
