//! `top`, `stats` and `port`, and the limits of `update`.

use super::{Scene, with_accounts, without_accounts};
use crate::life::Place;
use crate::support::{Host, finish, has_controller, has_program, skip};

#[test]
fn top_shows_dockers_columns_or_those_that_are_named() {
    let Some(host) = Host::new() else { return };
    if !has_program("ps") {
        return;
    }
    with_accounts(&host);
    let scene = Scene::of(host, &[]);
    let docker = scene.verb("top", &[&scene.id]);
    assert!(docker.text().starts_with("UID                 PID                 PPID"), "{docker:?}");
    assert!(docker.text().contains("/bin/sh -c"), "{docker:?}");
    let own = scene.verb("top", &[&scene.id, "-eo", "pid,comm"]);
    assert_eq!(own.text().lines().count(), 2, "its own processes alone: {own:?}");
    scene.verb("exec", &["-d", "-u", "alice", &scene.id, "sleep", "1000"]).text();
    let named = scene.verb("top", &[&scene.id, "user", "ppid", "comm,args"]);
    let lines: Vec<Vec<&str>> = named.text().lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["USER", "PPID", "COMMAND", "COMMAND"]);
    assert_eq!(lines[1][..3], ["root", "0", "sh"]);
    assert_eq!(lines[2], ["alice", "0", "sleep", "sleep", "1000"]);
    scene.verb("top", &[&scene.id, "-o", "comm"]).refuses(1, &["couldn't find PID field"]);
    // One that says nothing of what is wrong with its options.
    let script = "printf '#!/bin/sh\nexit 3\n' >$0/ps; chmod 755 $0/ps";
    let mut writer = scene.host.command("sh");
    writer.args(["-c", script]).arg(scene.host.directory());
    finish(writer.spawn().expect("nsenter runs"), None).text();
    let mut silent = scene.command("top", &[&scene.id, "-Z9"]);
    let path = std::env::var("PATH").unwrap_or_default();
    silent.env("PATH", format!("{}:{path}", scene.host.directory().display()));
    let silent = finish(silent.spawn().expect("nsenter runs"), None);
    silent.refuses(1, &["ps(1) says nothing with `-Z9`, and ended with exit status: 3"]);
    without_accounts(&scene.host);
    scene.end();
}

#[test]
fn stats_shows_what_a_container_uses_in_dockers_columns() {
    let Some(scene) = Scene::new(&["--memory=64m"]) else { return };
    let table = scene.verb("stats", &["--no-stream", &scene.id]);
    let lines: Vec<&str> = table.text().lines().collect();
    assert_eq!(
        lines[0].split("  ").filter(|title| !title.is_empty()).map(str::trim).collect::<Vec<_>>(),
        ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"]
    );
    assert!(lines[1].starts_with(&scene.id[..12]) && lines[1].ends_with('1'), "{table:?}");
    if has_controller("memory", "memory") {
        assert!(lines[1].contains(" / 64MiB"), "{table:?}");
    }
    let json = scene.verb("stats", &["--no-stream", "--format=json"]);
    let row: serde_json::Value = serde_json::from_str(json.text()).expect("JSON");
    assert_eq!(row["Container"], scene.id.as_str());
    assert_eq!(scene.verb("stats", &["--no-stream", "--format={{.PIDs}} {{.NetIO}}"]).text(), "1 0B / 0B");
    scene.end();
}

#[test]
fn stats_go_on_without_one_that_has_gone_and_end_with_the_last() {
    let Some(scene) = Scene::new(&[]) else { return };
    let mut stats = scene.begin("stats", &["--no-reset", &scene.id]);
    stats.read_exact(&mut [0; 1]);
    scene.end();
    let seen = stats.finish();
    assert_eq!((seen.code(), seen.stderr.as_str()), (0, ""), "{seen:?}");
}

#[test]
fn port_tells_where_each_port_is_published_also_those_that_were_chosen() {
    let Some(host) = Host::new() else { return };
    let mut running =
        host.background(&["-p", "8080:80", "-p", "127.0.0.1:53:53/udp", "-p", "90"], "up", "read -r end");
    let id = host.containers().remove(0);
    let place = Place::of(&host);
    let port = |arguments: &[&str]| place.verb("port", &[&[id.as_str()], arguments].concat());
    assert_eq!(port(&["80"]).text(), "0.0.0.0:8080");
    assert_eq!(port(&["53/udp"]).text(), "127.0.0.1:53");
    port(&["53"]).refuses(1, &["no public port '53/tcp' published"]);
    let chosen = port(&["90"]).text().to_owned();
    assert_eq!(
        port(&[]).text(),
        format!("53/udp -> 127.0.0.1:53\n80/tcp -> 0.0.0.0:8080\n90/tcp -> {chosen}")
    );
    assert!(place.verb("ps", &[]).text().contains(&format!("{chosen}->90/tcp")), "ps knows it, too");
    running.write(b"\n");
    running.release();
    host.assert_nothing_left();
}

#[test]
fn update_changes_what_it_names() {
    let Some(host) = Host::new() else { return };
    if !has_controller("pids", "pids") || !has_controller("memory", "memory") {
        skip("no controllers of pids and memory");
        return;
    }
    let scene = Scene::of(host, &["--memory=64m", "--pids-limit=50"]);
    assert_eq!(scene.verb("update", &["--memory=96m", &scene.id]).text(), scene.id);
    let usage = || scene.verb("stats", &["--no-stream", "--format={{.MemUsage}}"]).text().to_owned();
    assert!(usage().ends_with(" / 96MiB"), "{}", usage());
    scene.verb("update", &["--pids-limit=3", &scene.id]).text();
    let forked = scene.exec(&["sh", "-c", "for i in 1 2 3 4; do sleep 1 & done; wait"]);
    assert!(forked.stderr.contains("fork"), "{forked:?}");
    assert!(usage().ends_with(" / 96MiB"), "the other limit stays");
    scene.verb("update", &[&scene.id]).refuses(125, &["one or more flags"]);
    scene.verb("update", &["--ulimit=nofile=4", &scene.id]).refuses(125, &["--ulimit"]);
    scene.end();
}
