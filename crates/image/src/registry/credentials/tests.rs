use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::program::CredentialProgram;
use super::*;
use crate::registry::scratch::Scratch;

fn password(username: &str, password: &str) -> Option<Credentials> {
    Some(Credentials::Password { username: username.to_owned(), password: password.to_owned() })
}

fn places(scratch: &Scratch, text: &str) -> Places {
    let file = scratch.write("config.json", text);
    let path = std::env::join_paths([scratch.path(), Path::new("/bin")]).expect("no colon");
    Places {
        read: vec![scratch.path().join("absent.json"), file.clone()],
        written: file,
        named: Naming::Usual,
        environment: vec![("PATH".into(), path)],
    }
}

fn program(scratch: &Scratch, name: &str, body: &str) {
    let path = scratch.write(&format!("docker-credential-{name}"), &format!("#!/bin/sh\n{body}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("own file");
}

#[test]
fn entry_for_the_most_of_the_name_is_taken() {
    let scratch = Scratch::new();
    // a:all, a:user, a:app in base64.
    let places = places(
        &scratch,
        r#"{"auths": {
            "quay.example": {"auth": "YTphbGw="},
            "quay.example/user": {"auth": "YTp1c2Vy"},
            "quay.example/user/app": {"auth": "YTphcHA="},
            "https://old.example/v1/": {"auth": "YTphbGw="},
            "localhost:5000": {"username": "a", "password": "plain"},
            "token.example": {"auth": "YTo=", "identitytoken": "it"},
            "whole.example": {"registrytoken": "rt"},
            "empty.example": {},
            "wrong.example": {"auth": "%%%"}
        }, "more": 1}"#,
    );
    let found = |registry: &str, repository: &str| places.look_up(registry, repository).expect("legal");
    assert_eq!(found("quay.example", "user/app"), password("a", "app"));
    assert_eq!(found("quay.example", "user/app/part"), password("a", "app"));
    assert_eq!(found("quay.example", "user/application"), password("a", "user"));
    assert_eq!(found("quay.example", "users/app"), password("a", "all"));
    assert_eq!(found("quay.example:5000", "user/app"), None);
    assert_eq!(found("old.example", "v1/app"), password("a", "all"));
    assert_eq!(found("localhost:5000", "app"), password("a", "plain"));
    assert_eq!(found("token.example", "app"), Some(Credentials::IdentityToken("it".to_owned())));
    assert_eq!(found("whole.example", "app"), Some(Credentials::RegistryToken("rt".to_owned())));
    assert_eq!(found("empty.example", "app"), None);
    let error = places.look_up("wrong.example", "app").expect_err("no base64");
    assert!(error.to_string().contains("`wrong.example`"), "{error}");
}

#[test]
fn docker_hub_is_one_registry_by_all_its_names() {
    for key in ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"] {
        let scratch = Scratch::new();
        let places = places(&scratch, &format!(r#"{{"auths": {{"{key}": {{"auth": "YTphbGw="}}}}}}"#));
        for registry in ["docker.io", "registry-1.docker.io"] {
            assert_eq!(
                places.look_up(registry, "library/app").expect("legal"),
                password("a", "all"),
                "{key}"
            );
        }
    }
}

#[test]
fn first_file_that_has_an_entry_counts() {
    let scratch = Scratch::new();
    let mut places = places(&scratch, r#"{"auths": {"a.example": {"auth": "YTphbGw="}}}"#);
    places.read.insert(0, scratch.write("empty.json", "\n"));
    places.read.insert(1, scratch.write("other.json", r#"{"auths": {"a.example": {"auth": "YTphcHA="}}}"#));
    assert_eq!(places.look_up("a.example", "app").expect("legal"), password("a", "app"));
    places.read.insert(0, scratch.write("broken.json", r#"{"auths": {"a.example": {"auth": "SECRET"#));
    let error = places.look_up("a.example", "app").expect_err("half a file");
    assert!(error.reason.contains("line 1") && !error.reason.contains("SECRET"), "{error}");
}

#[test]
fn files_are_where_docker_and_podman_have_them() {
    let environment = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect::<Vec<_>>()
    };
    let usual =
        environment(&[("HOME", "/home/a"), ("XDG_RUNTIME_DIR", "/run/user/7"), ("DOCKER_CONFIG", "")]);
    let found = Places::find(None, &usual);
    let expected = [
        "/home/a/.docker/config.json",
        "/run/user/7/containers/auth.json",
        "/home/a/.config/containers/auth.json",
    ];
    assert_eq!(found.read, expected.map(PathBuf::from));
    let moved = environment(&[("HOME", "/home/a"), ("DOCKER_CONFIG", "/d"), ("REGISTRY_AUTH_FILE", "/r")]);
    assert_eq!(Places::find(None, &moved).read, [PathBuf::from("/r")]);
    let found = Places::find(Some(Path::new("/f")), &moved);
    assert_eq!((found.read, found.named), (vec![PathBuf::from("/f")], Naming::Explicit));
    assert_eq!(Places::find(None, &moved[..2]).written, PathBuf::from("/d/config.json"));
    let error = Places::find(Some(Path::new("/nonexistent/f")), &[]).look_up("a.example", "b");
    assert_eq!(error.expect_err("named and absent").kind, Kind::NotFound);
}

#[test]
fn login_keeps_what_it_does_not_know_and_is_for_the_owner_alone() {
    let scratch = Scratch::new();
    let mut places = places(
        &scratch,
        r#"{"auths": {"https://a.example/v1/": {"auth": "YTphbGw="}, "a.example/user": {"auth": "YTp1c2Vy"}},
            "psFormat": "table", "credHelpers": {"b.example": "absent"}}"#,
    );
    places.log_in("a.example", "me", "it:is").expect("writable");
    assert_eq!(places.look_up("a.example", "app").expect("legal"), password("me", "it:is"));
    assert_eq!(places.look_up("a.example", "user/app").expect("legal"), password("a", "user"));
    let text = fs::read_to_string(&places.written).expect("own file");
    assert!(text.contains("psFormat") && text.contains("credHelpers") && !text.contains("v1"), "{text}");
    assert_eq!(fs::metadata(&places.written).expect("own file").permissions().mode() & 0o777, 0o600);

    places.log_in("docker.io", "me", "hub").expect("writable");
    assert!(fs::read_to_string(&places.written).expect("own file").contains("https://index.docker.io/v1/"));
    assert!(places.log_out("index.docker.io").expect("writable"));
    assert_eq!(places.look_up("docker.io", "library/app").expect("legal"), None);
    assert!(!places.log_out("docker.io").expect("nothing to do"));
    assert_eq!(places.log_in("a.example", "m:e", "x").expect_err("two colons").kind, Kind::Invalid);

    let link = scratch.path().join("link.json");
    std::os::unix::fs::symlink(&places.written, &link).expect("own directory");
    places.written = link.clone();
    places.log_in("c.example", "me", "linked").expect("writable");
    assert!(fs::symlink_metadata(&link).expect("own link").is_symlink());
    assert_eq!(places.look_up("c.example", "app").expect("legal"), password("me", "linked"));
    places.written = scratch.path().join("new/deep/config.json");
    places.log_in("d.example", "me", "new").expect("writable");
    let left = fs::read_dir(scratch.path().join("new/deep")).expect("was made").count();
    assert_eq!(left, 1, "nothing but the file");
}

#[test]
fn logins_at_once_are_all_kept() {
    let scratch = Scratch::new();
    let places = places(&scratch, r#"{"credHelpers": {"a.example": "slow"}}"#);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let places = &places;
            scope.spawn(move || places.log_in(&format!("{number}.example"), "me", "x").expect("writable"));
        }
    });
    for number in 0..8 {
        let found = places.look_up(&format!("{number}.example"), "app").expect("legal");
        assert_eq!(found, password("me", "x"), "{number}");
    }
    // While a program asks somebody for a passphrase, somebody else logs in.
    scratch.write(
        "other.json",
        r#"{"credHelpers": {"a.example": "slow"}, "auths": {"b.example": {"auth": "YTphbGw="}}}"#,
    );
    program(&scratch, "slow", r#"cat "${0%/*}/other.json" >"${0%/*}/config.json""#);
    places.log_in("a.example", "me", "x").expect("the program takes it");
    assert_eq!(places.look_up("b.example", "app").expect("legal"), password("a", "all"));
}

#[test]
fn program_is_asked_before_the_file() {
    let scratch = Scratch::new();
    let places = places(
        &scratch,
        r#"{"auths": {"a.example": {"auth": "YTphbGw="}, "b.example": {"auth": "YTphbGw="}},
            "credsStore": "all", "credHelpers": {"b.example": "one", "docker.io": "one"}}"#,
    );
    program(&scratch, "all", "echo credentials not found in native keychain; exit 1");
    program(
        &scratch,
        "one",
        r#"read -r key; printf '{"ServerURL":"%s","Username":"%s","Secret":"s"}' "$key" "$1 $key""#,
    );
    let found = |registry: &str| places.look_up(registry, "app").expect("both are there");
    assert_eq!(found("a.example"), password("a", "all"), "the file, as the program has nothing");
    assert_eq!(found("b.example"), password("get b.example", "s"));
    assert_eq!(found("docker.io"), password("get https://index.docker.io/v1/", "s"));
    program(&scratch, "one", r#"cat >"$0.input"; printf '{"Username":"<token>","Secret":"it"}'"#);
    assert_eq!(found("b.example"), Some(Credentials::IdentityToken("it".to_owned())));
    places.log_in("b.example", "me", "secret").expect("the program takes it");
    let given =
        fs::read_to_string(scratch.path().join("docker-credential-one.input")).expect("it wrote that");
    assert!(given.contains("\"Secret\":\"secret\""), "{given}");
    assert!(!fs::read_to_string(&places.written).expect("own file").contains("c2VjcmV0"));
}

#[test]
fn program_that_fails_hangs_or_never_ends_its_answer_is_an_error() {
    let scratch = Scratch::new();
    let places = places(
        &scratch,
        r#"{"credHelpers": {"a.example": "bad", "b.example": "../bad", "c.example": "absent"}}"#,
    );
    let refused = |registry: &str| places.look_up(registry, "app").expect_err("no credentials");
    program(&scratch, "bad", "echo 'locked\x1b'; exit 1");
    let error = refused("a.example");
    assert!(error.reason.contains(r"locked\u{1b}"), "{error}");
    program(&scratch, "bad", "echo not json");
    assert_eq!(refused("a.example").kind, Kind::Corrupt);
    program(&scratch, "bad", "yes");
    assert_eq!(refused("a.example").kind, Kind::TooMuch);
    assert_eq!(refused("b.example").kind, Kind::Invalid);
    let error = refused("c.example");
    assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("config.json")), "{error:?}");

    program(&scratch, "bad", "sleep 1000 & sleep 1000");
    let file = scratch.path().join("config.json");
    let hanging = CredentialProgram::find("bad", &file, &places.environment).expect("is there");
    let begun = Instant::now();
    let error = hanging.within(Duration::from_millis(200)).get("a.example").expect_err("hangs");
    assert_eq!(error.kind, Kind::TooMuch);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?}", password("a", "s3cret"));
    assert!(!shown.contains("s3cret"), "{shown}");
}
