//! What breaks the rules is refused, with a message that says who, what and where.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clr_host::{HostError, Plugin, SearchPath, Session};
use expect_test::{Expect, expect};
use tempfile::tempdir;

use crate::libraries::no_plugin;
use crate::sessions::{Call, config};
use crate::support::faulty;

/// Loads a faulty plugin and asks all of it: the first error, with the folder cut out.
#[track_caller]
fn check(fault: &str, expected: Expect) {
    let folder = tempdir().unwrap();
    let Some(path) = faulty(fault, &folder) else { return };
    let message = match Plugin::load(&path).and_then(|plugin| exercise(&plugin)) {
        Ok(()) => "no error".to_owned(),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&message.replace(&format!("{}/", path.parent().unwrap().display()), ""));
}

fn exercise(plugin: &Plugin) -> Result<(), HostError> {
    let config = config("model", &["{\"optimizer\": \"sgd\"}"; 2]);
    plugin.footprint(&config)?;
    let mut session = plugin.session(config)?;
    if plugin.info().has_state {
        session.tensors(0)?;
    }
    let call = Call::new(2, 2, 1);
    let (mut done, mut metrics) = ([0; 2], vec![0.0; 2 * 2 * 2]);
    let first = session.step(&call.as_call(), &mut done, &mut metrics, &AtomicBool::new(false));
    if first.is_err() {
        // Whatever it was, it has left the lanes in an unknown state.
        let second = session.step(&call.as_call(), &mut done, &mut metrics, &AtomicBool::new(false));
        assert!(matches!(second, Err(HostError::Broken { .. })), "{second:?}");
    }
    first.map(|_| ())
}

#[test]
fn a_plugin_that_keeps_the_rules_is_not_refused() {
    check("NONE", expect!["no error"]);
}

#[test]
fn another_abi_is_refused_with_both_versions() {
    check(
        "OTHER_MAJOR",
        expect![
            "refused the plugin libclr_faulty_other_major.so: it was built for plugin ABI 2.3, this clr-run speaks 1.1: build both from the same release"
        ],
    );
}

#[test]
fn a_bad_table_is_refused() {
    check("NO_TABLE", expect!["refused the plugin libclr_faulty_no_table.so: `clr_plugin_api` returned no table"]);
    check(
        "SMALL_TABLE",
        expect!["refused the plugin libclr_faulty_small_table.so: the table's struct_size is 40, expected at least 80"],
    );
    check(
        "NULL_FUNCTIONS",
        expect!["refused the plugin libclr_faulty_null_functions.so: session_step is null; extension is null"],
    );
}

#[test]
fn a_bad_description_is_refused_with_all_its_problems() {
    check(
        "DESCRIBE_FAILS",
        expect!["refused the plugin libclr_faulty_describe_fails.so: describe: no idea who I am (CLR_INTERNAL)"],
    );
    check(
        "NOT_UTF8_ERROR",
        expect!["refused the plugin libclr_faulty_not_utf8_error.so: describe: broken � text (CLR_INTERNAL)"],
    );
    check(
        "BAD_TEXTS",
        expect![
            "refused the plugin libclr_faulty_bad_texts.so: version is null but has 1 bytes; models[0].name is not UTF-8: invalid utf-8 sequence of 1 bytes from index 1; models[0].options_schema is not a JSON object: EOF while parsing a value at line 1 column 9; models[0].defaults is not a JSON object: invalid type: sequence, expected a map at line 1 column 0"
        ],
    );
    check(
        "BAD_NAMES",
        expect![
            "refused the plugin libclr_faulty_bad_names.so: devices: there are none; optimizers: `adam` is there twice; optimizer `adam`: hypers: `lr` is there twice; optimizer `adam`: hypers: \"a b\" is not a name of letters, digits, `_` and `-`; model `model`: metrics have no `accuracy`; optimizer `adam` reads `a b`, which model `model` does not have"
        ],
    );
    check("NULL_LIST", expect!["refused the plugin libclr_faulty_null_list.so: optimizers has 2 elements at 0x0"]);
}

#[test]
fn bad_answers_are_not_believed() {
    check(
        "LONG_NUMERICS",
        expect![
            "plugin `faulty`: footprint: broke the rules of the ABI: numerics has 1000 bytes, more than there is room for"
        ],
    );
    check(
        "NULL_SESSION",
        expect!["plugin `faulty`: session_create: broke the rules of the ABI: no session, and no error"],
    );
    check(
        "BAD_TENSORS",
        expect![
            "plugin `faulty`: clr.state/1 tensors: broke the rules of the ABI: tensor `weight` has 9 axes, more than 6"
        ],
    );
    check(
        "TOO_MANY_STEPS",
        expect!["plugin `faulty`: session_step: broke the rules of the ABI: lane 0 made 3 of 2 steps, with Complete"],
    );
    check(
        "TOO_FEW_STEPS",
        expect!["plugin `faulty`: session_step: broke the rules of the ABI: lane 0 made 1 of 2 steps, with Complete"],
    );
    check(
        "CANCELS_UNASKED",
        expect!["plugin `faulty`: session_step: broke the rules of the ABI: CLR_CANCELLED, but nobody has cancelled"],
    );
    check("UNKNOWN_STATUS", expect!["plugin `faulty`: session_step: what now (unknown status 77)"]);
    check("DEVICE_FAILS", expect!["plugin `faulty`: session_step: the device is on fire (CLR_DEVICE)"]);
}

#[test]
fn what_is_no_plugin_is_refused() {
    let folder = tempdir().unwrap();
    let text = folder.path().join("libclr_text.so");
    std::fs::write(&text, "not a library").unwrap();
    let shown = |error: HostError| error.to_string().replace(&format!("{}/", folder.path().display()), "");
    let message = shown(Plugin::load(&text).unwrap_err());
    assert!(message.starts_with("cannot load the plugin libclr_text.so: "), "{message}");
    let message = shown(Plugin::load(&folder.path().join("missing.so")).unwrap_err());
    assert!(message.starts_with("cannot load the plugin missing.so: No such file"), "{message}");
    if let Some(library) = no_plugin(&folder) {
        expect!["refused the plugin libclr_no_plugin.so: no symbol `clr_plugin_api`: it is not a clr-run plugin"]
            .assert_eq(&shown(Plugin::load(&library).unwrap_err()));
    }
}

#[test]
fn a_file_with_another_plugin_s_name_is_refused() {
    let folder = tempdir().unwrap();
    let Some(path) = faulty("NONE", &folder) else { return };
    let renamed = folder.path().join("libclr_cifar.so");
    std::fs::copy(&path, &renamed).unwrap();
    let error = SearchPath::new([folder.path().to_owned()]).load("cifar").unwrap_err().to_string();
    assert!(error.ends_with("libclr_cifar.so: the file is that of plugin `cifar`, but it says `faulty`"), "{error}");
    // A file that was named is asked for its name.
    let plugin = SearchPath::new([renamed]).load("faulty").unwrap();
    assert_eq!(plugin.info().name, "faulty");
}

#[test]
fn malformed_calls_do_not_reach_the_plugin() {
    let folder = tempdir().unwrap();
    let Some(path) = faulty("NONE", &folder) else { return };
    let plugin = Plugin::load(&path).unwrap();
    let good = config("model", &["{}"; 2]);
    let mut data = (*good.dataset).clone();
    data.splits[0].labels = Some(Arc::from([0, 1, 2, 3, 4, 5, 99]));
    let problem = |result: Result<(), HostError>| result.unwrap_err().to_string();
    expect![[r#"
        plugin `faulty`: session_create: not called: 0 lanes, batches of 2, 1 threads
        plugin `faulty`: session_create: not called: there is no model `modle`
        plugin `faulty`: session_create: not called: the train split: label 99; there are 10 classes
        plugin `faulty`: session_step: not called: sample 7 of a train split of 7
        plugin `faulty`: session_step: not called: first_steps has 1 elements, expected 2"#]]
    .assert_eq(
        &[
            problem(plugin.session(clr_host::SessionConfig { lanes: Vec::new(), ..good.clone() }).map(|_| ())),
            problem(plugin.session(config("modle", &["{}"])).map(|_| ())),
            problem(plugin.session(clr_host::SessionConfig { dataset: Arc::new(data), ..good.clone() }).map(|_| ())),
            {
                let mut session = plugin.session(good.clone()).unwrap();
                let mut call = Call::new(2, 2, 1);
                call.samples[1] = 7;
                let (mut done, mut metrics) = ([0; 2], vec![0.0; 8]);
                let never = AtomicBool::new(false);
                let sample = problem(session.step(&call.as_call(), &mut done, &mut metrics, &never).map(|_| ()));
                let short =
                    problem(session.step(&Call::new(2, 1, 1).as_call(), &mut done, &mut metrics, &never).map(|_| ()));
                format!("{sample}\n{short}")
            },
        ]
        .join("\n"),
    );
}
