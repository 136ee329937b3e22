//! What people learn the program from: the reference of the spec language, manual pages, and completions in a shell.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::world::{Ran, World};

#[test]
fn the_reference_is_what_the_program_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference.md");
    let printed = World::new("").run(&["schema", "--markdown"]);
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == printed.stdout,
        "the reference is not up to date; renew it with `clr-run schema --markdown > runner/docs/reference.md`"
    );
}

/// What a shell gets from `script`; nothing where the shell is not there.
fn in_shell(shell: &str, arguments: &[&str], input: &[u8]) -> Option<Output> {
    let started =
        Command::new(shell).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            eprintln!("SKIPPED: {shell}: {error}");
            return None;
        }
    };
    child.stdin.take().expect("it is a pipe").write_all(input).expect("the shell reads all");
    Some(child.wait_with_output().expect("the shell ends"))
}

#[test]
fn bash_completes_commands_options_and_their_values() {
    let script = World::new("").run(&["completions", "bash"]);
    assert_eq!(script.code, Some(0));
    let complete = |words: &str| {
        let input = format!(
            "{}\nCOMP_WORDS=({words})\nCOMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
             _clr-run clr-run \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"\necho \"${{COMPREPLY[@]}}\"\n",
            script.stdout
        );
        let output = in_shell("bash", &["--norc", "-s"], input.as_bytes())?;
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        Some(String::from_utf8(output.stdout).expect("it is text").trim().to_owned())
    };
    let Some(found) = complete("clr-run sc") else { return };
    assert_eq!(found, "schedule schema");
    assert_eq!(complete("clr-run plugin in").as_deref(), Some("info"));
    assert_eq!(complete("clr-run verify --qui").as_deref(), Some("--quick --quiet"));
    assert_eq!(complete("clr-run export --format s").as_deref(), Some("safetensors"));
    assert_eq!(complete("clr-run work").as_deref(), Some(""), "a hidden command stays hidden");
}

#[test]
fn other_shells_have_completions_too() {
    for (shell, beginning) in [("zsh", "#compdef clr-run"), ("fish", "# Print an optspec"), ("powershell", "using")] {
        let script = World::new("").run(&["completions", shell]);
        assert!(script.code == Some(0) && script.stdout.trim_start().starts_with(beginning), "{}", script.stdout);
        assert!(script.stdout.contains("schedule") && !script.stdout.contains("stdin and stdout"), "{shell}");
    }
}

#[test]
fn the_manual_page_is_one_that_man_renders() {
    let page = World::new("").run(&["man"]);
    assert_eq!(page.code, Some(0));
    for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SUBCOMMANDS", "EXTRA"] {
        assert!(page.stdout.contains(&format!(".SH {section}\n")), "{section}: {}", page.stdout);
    }
    for (program, arguments) in [("mandoc", &["-Tutf8"][..]), ("man", &["-l", "-"])] {
        let Some(output) = in_shell(program, arguments, page.stdout.as_bytes()) else { continue };
        let text = String::from_utf8_lossy(&output.stdout);
        // `man` may be a stand-in without a formatter.
        if output.status.success() && text.contains("SYNOPSIS") {
            assert!(text.contains("clr-run-schedule(1)"), "{text}");
        }
    }
}

#[test]
fn every_command_has_a_manual_page_and_the_hidden_one_has_none() {
    let world = World::new("");
    let Ran { code, stdout, .. } = world.run(&["man", "--dir", "share/man1"]);
    assert_eq!((code, stdout.as_str()), (Some(0), ""));
    let mut pages: Vec<String> = fs::read_dir(world.path("share/man1"))
        .unwrap()
        .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    pages.sort();
    assert!(
        pages.iter().any(|page| page == "clr-run.1") && pages.iter().any(|page| page == "clr-run-plan.1"),
        "{pages:?}"
    );
    assert!(pages.iter().any(|page| page == "clr-run-plugin-info.1"), "{pages:?}");
    assert!(pages.iter().all(|page| page != "clr-run-worker.1"), "{pages:?}");
    let plan = fs::read_to_string(world.path("share/man1/clr-run-plan.1")).unwrap();
    assert!(plan.contains("no\\-probe"), "{plan}");
}
