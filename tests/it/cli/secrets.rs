//! Secrets on the command line: a value comes from a file or standard input, and never back.

use std::io::Write;
use std::process::Stdio;

use super::program::{Dev, program};

const VALUE: &str = "hunter2-hunter2";

#[test]
fn a_secret_is_put_listed_used_and_deleted() {
    let mut dev = Dev::start(&[]);
    dev.file("value.txt", &format!("{VALUE}\n"));
    let put = dev.run(&["secret", "put", "TOKEN", "--file", "value.txt"]);
    assert_eq!((put.code, put.out.as_str()), (0, "secret TOKEN stored, version 1\n"), "{put:?}");
    assert!(put.err.contains("{{ secrets.TOKEN }}"), "{put:?}");
    let again = dev.run(&["secret", "put", "TOKEN", "--file", "value.txt", "-o", "json"]).json();
    assert_eq!(again["version"], 1, "the line break at its end is left out, as before: {again:#}");
    dev.file("definitions.yaml", "actions:\n  - name: tell\n    action_type: system_notification\n    handler: notification.inbox\n    event_patterns: [a.b]\n    config:\n      to: me\n      text: 'key {{ secrets.TOKEN }}'\n");
    let applied = dev.run(&["apply", "-f", "definitions.yaml"]);
    assert_eq!(applied.code, 0, "{applied:?}");

    // From standard input, over a restart that a crash made necessary.
    dev.kill_and_restart();
    let mut command = program(std::path::Path::new("/"));
    command.args(["secret", "put", "TOKEN", "--overlap", "1h", "--url", &dev.url()]);
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all(b"second-second\r\n").unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("may be used until"), "{output:?}");
    let emitted = dev.run(&["emit", "a.b", "--wait"]);
    assert_eq!(emitted.code, 0, "{emitted:?}");
    let listed = dev.run(&["execution", "list", "-o", "json"]).json();
    assert_eq!(listed[0]["status"], "completed");

    let shown = dev.run(&["secret", "show", "TOKEN", "-o", "json"]).json();
    assert_eq!((&shown["version"], &shown["used_by"][0]), (&2.into(), &"tell".into()), "{shown:#}");
    let listed = dev.run(&["secrets", "ls"]);
    assert!(listed.out.contains("TOKEN"), "{listed:?}");
    let keys = dev.run(&["secret", "keys", "-o", "json"]).json();
    assert_eq!(
        (&keys[0]["is_current"], &keys[0]["wrapped"]),
        (&true.into(), &2.into()),
        "{keys:#}"
    );
    let rewrapped = dev.run(&["secret", "rewrap"]);
    assert_eq!((rewrapped.code, rewrapped.out.as_str()), (0, "0 wrapped anew, 0 left\n"));
    let unsure = dev.run(&["secret", "delete", "TOKEN"]);
    assert_eq!(unsure.code, 2);
    assert!(unsure.err.contains("which tell need"), "{unsure:?}");
    let deleted = dev.run(&["secret", "delete", "TOKEN", "--yes"]);
    assert_eq!(deleted.out, "secret TOKEN deleted\n", "{deleted:?}");
    for said in [put, applied, emitted, deleted, rewrapped] {
        assert!(!format!("{said:?}").contains("hunter2"), "{said:?}");
    }
}

#[test]
fn what_cannot_be_a_value_is_refused_without_being_repeated() {
    let dev = Dev::ephemeral();
    let empty = dev.run(&["secret", "put", "TOKEN"]);
    assert_eq!(empty.code, 2);
    assert!(empty.err.contains("must not be empty"), "{empty:?}");
    dev.file("long.txt", &VALUE.repeat(2_000));
    let long = dev.run(&["secret", "put", "TOKEN", "--file", "long.txt"]);
    assert_eq!(long.code, 2);
    assert!(long.err.contains("16384 bytes") && !long.err.contains("hunter2"), "{long:?}");
    let argument = dev.run(&["secret", "put", "TOKEN", "value"]);
    assert_eq!(argument.code, 2, "a value is no argument: {argument:?}");
    let name = dev.run(&["secret", "show", "nothing"]);
    assert_eq!(name.code, 5, "{name:?}");
}

#[test]
fn dev_makes_a_key_beside_its_data_and_says_so() {
    let mut dev = Dev::start(&[]);
    assert!(dev.has(".actions/actions.db.key"));
    let banner = dev.read_until(|line| line.contains("secrets "));
    assert!(banner.last().unwrap().contains("actions.db.key is their key"), "{banner:?}");
    dev.signal("TERM");
    let told = dev.complaints();
    assert!(told.contains("a master key for stored secrets was made"), "{told}");
    assert!(told.contains("without this file they are lost"), "{told}");
}
