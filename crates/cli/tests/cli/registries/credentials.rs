//! Whoever has told docker or podman has told rabbitc: names and passwords where those and their programs keep them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Guarded, PASSWORDS, digest_in, home};
use crate::images::{APP, Registry};
use crate::support::{Ran, binary, finish, has_program};

const NAME: &str = "127.0.0.1:5443/team/app:v1";

/// What docker writes: `rabbit:carrot` in base64.
const OF_DOCKER: &str = r#"{"auths": {"127.0.0.1:5443": {"auth": "cmFiYml0OmNhcnJvdA=="}}}"#;

/// A program that keeps passwords (docker-credential-helpers).
const KEEPER: &str = r#"#!/bin/sh
[ "$1" = get ] && echo "{\"ServerURL\": \"$(cat)\", \"Username\": \"rabbit\", \"Secret\": \"carrot\"}""#;

#[test]
fn credentials_are_found_where_docker_podman_and_their_programs_keep_them() {
    let Some(registry) = Registry::new() else { return };
    if !has_program("podman") {
        return;
    }
    let guarded = Guarded::start(&registry, "", PASSWORDS);
    let home = home(&registry);
    let at = |name: &str| home.join(name).display().to_string();
    let path = format!("{}:{}", at("bin"), std::env::var("PATH").expect("set"));
    // A verb by somebody with these variables.
    let run = |program: &Path, variables: &[(&str, &str)], words: &[&str]| -> Ran {
        let mut command = registry.host.command(program);
        for name in ["XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE"] {
            command.env_remove(name);
        }
        command.env("HOME", &home).env("PATH", &path).envs(variables.iter().copied()).args(words);
        finish(command.spawn().expect("nsenter runs"), None)
    };
    let root = format!("--root={}", registry.store().display());
    // Sent, fetched and fetched by its digest; and nothing of it without them.
    let is_known = |variables: &[(&str, &str)], what: &str| {
        let rabbitc = |words: &[&str]| run(&binary(), variables, words);
        let pushed = digest_in(rabbitc(&["push", &root, APP, NAME]).text()).to_owned();
        assert_eq!(rabbitc(&["pull", &root, "-q", NAME]).text(), pushed, "{what}");
        rabbitc(&["rmi", &root, NAME]).text();
        let pinned = format!("127.0.0.1:5443/team/app@{pushed}");
        assert_eq!(rabbitc(&["pull", &root, "-q", &pinned]).text(), pushed, "{what}");
        rabbitc(&["rmi", &root, &pinned]).text();
        let ran = run(&binary(), &[("HOME", "/nonexistent")], &["pull", &root, NAME]);
        ran.refuses(125, &["401"]);
    };
    let write = |name: &str, text: &str| {
        let file = home.join(name);
        std::fs::create_dir_all(file.parent().expect("it has one")).expect("made");
        std::fs::write(&file, text).expect("written");
    };
    registry.rabbitc("pull", &[APP]).text();
    run(&binary(), &[], &["push", &root, APP, NAME]).refuses(125, &["401", "rabbitc login"]);

    write(".docker/config.json", OF_DOCKER);
    is_known(&[], "docker's own file");
    std::fs::rename(home.join(".docker"), home.join("docker")).expect("there");
    is_known(&[("DOCKER_CONFIG", &at("docker"))], "docker's own elsewhere");
    is_known(&[("REGISTRY_AUTH_FILE", &at("docker/config.json"))], "a file for all");

    std::fs::create_dir(home.join("run")).expect("made");
    let session = at("run");
    let of_session = [("XDG_RUNTIME_DIR", session.as_str())];
    let login = ["login", "--tls-verify=false", "-urabbit", "-pcarrot", "127.0.0.1:5443"];
    run(Path::new("podman"), &of_session, &login).text();
    assert!(home.join("run/containers/auth.json").exists(), "where podman has it");
    is_known(&of_session, "podman's file of a session");
    write(".config/containers/auth.json", OF_DOCKER);
    is_known(&[], "podman's file that stays");
    std::fs::remove_file(home.join(".config/containers/auth.json")).expect("there");

    write("bin/docker-credential-keeper", KEEPER);
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(home.join("bin/docker-credential-keeper"), executable).expect("set");
    for text in [r#"{"credsStore": "keeper"}"#, r#"{"credHelpers": {"127.0.0.1:5443": "keeper"}}"#] {
        write(".docker/config.json", text);
        is_known(&[], text);
    }
    guarded.end();
    registry.end();
}
