//! Errors as JSON, with codes that scripts decide by.

use serde_json::Value;

use crate::life::Place;
use crate::support::{Host, Ran, binary, finish};

/// The command with `--log-format json`; what it says must be objects, one a line.
fn said(place: &Place<'_>, verb: &str, arguments: &[&str]) -> (Ran, Vec<Value>) {
    let own = place.command(verb, arguments);
    let words: Vec<String> = own.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let program = binary().display().to_string();
    let at = words.iter().position(|word| *word == program).expect("it is started by its path");
    let mut command = std::process::Command::new(own.get_program());
    command.args(&words[..=at]).arg("--log-format=json").args(&words[at + 1..]);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    let ran = finish(command.stderr(std::process::Stdio::piped()).spawn().expect("nsenter runs"), None);
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let messages = ran.stderr.lines().map(parse).collect();
    (ran, messages)
}

fn error(place: &Place<'_>, verb: &str, arguments: &[&str]) -> Value {
    let (ran, messages) = said(place, verb, arguments);
    assert_ne!(ran.code(), 0, "{ran:?}");
    let mut errors = messages.into_iter().filter(|message| message["level"] == "error");
    let error = errors.next().unwrap_or_else(|| panic!("one says why: {ran:?}"));
    for key in ["msg", "operation", "reason", "time"] {
        assert!(error[key].is_string(), "no {key} in {error}");
    }
    let whole = format!("{}: {}", error["operation"], error["reason"]).replace("\": \"", ": ");
    assert_eq!(error["msg"].to_string(), whole);
    error
}

#[test]
fn errors_come_as_json_with_the_code_of_what_is_wrong() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    assert_eq!(place.script("run", &["-d", "--name=web"], "sleep 100").code(), 0);
    let none = error(&place, "stop", &["none"]);
    assert_eq!((&none["code"], &none["object"]), (&"not-found".into(), &"none".into()), "{none}");
    let rootfs = host.rootfs_flag();
    let taken = error(&place, "run", &["-d", "--name=web", &rootfs, "/bin/true"]);
    assert_eq!(taken["code"], "name-in-use");
    assert_eq!(error(&place, "rm", &["web"])["code"], "wrong-status");
    assert_eq!(error(&place, "pod rm", &["none"])["code"], "not-found");
    assert_eq!(error(&place, "pod create", &["--infra=false", "--name=web"])["code"], "name-in-use");
    let flag = error(&place, "ps", &["--no-such-flag"]);
    assert_eq!(flag["code"], "invalid");
    assert!(flag["hint"].is_string(), "{flag}");
    let gone = error(&place, "import", &["/no/such/file", "x"]);
    assert_eq!((&gone["code"], &gone["path"]), (&"path-not-found".into(), &"/no/such/file".into()), "{gone}");
    assert_eq!(gone["errno"], 2);
    assert_eq!(place.verb("volume create", &["data"]).code(), 0);
    let script = ["-d", "--name=user", "--volume=data:/data", &rootfs, "/bin/sleep", "100"];
    assert_eq!(place.verb("run", &script).code(), 0);
    assert_eq!(error(&place, "volume rm", &["data"])["code"], "in-use");
    place.assert_nothing_left();
    assert_eq!(place.verb("volume rm", &["data"]).code(), 0);
}

/// It is another process that starts it.
#[test]
fn start_that_fails_says_so_in_the_same_form_with_its_step() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let rootfs = host.rootfs_flag();
    for flags in [&["-d"][..], &["--rm"]] {
        let arguments = [flags, &["--network=none", "--workdir=/bin/sh", &rootfs, "/bin/true"]].concat();
        let failed = error(&place, "run", &arguments);
        assert_eq!(failed["step"]["askedBy"], "--workdir", "{failed}");
        assert!(failed["step"]["number"].as_u64() <= failed["step"]["total"].as_u64(), "{failed}");
        let missing = error(&place, "run", &[flags, &["--network=none", &rootfs, "/bin/none"]].concat());
        assert_eq!(missing["code"], "program-not-found", "{missing}");
    }
    let (ran, messages) = said(&place, "run", &["--rm", "-p", "80", &rootfs, "/bin/true"]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert!(messages.iter().any(|message| message["level"] == "info"), "the chosen port: {ran:?}");
    let refused = place.verb("--log-format", &["xml", "ps"]);
    refused.refuses(125, &["--log-format"]);
    place.assert_nothing_left();
}
