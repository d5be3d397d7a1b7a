//! Events: what has become of containers, images and volumes, and what becomes of them.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::life::Place;
use crate::support::{Background, Host};

/// What has happened, each in a line of a format.
fn past(place: &Place<'_>, filters: &[&str], format: &str) -> Vec<String> {
    let filters: Vec<String> = filters.iter().map(|filter| format!("--filter={filter}")).collect();
    let mut flags = vec!["--since=1h", "--stream=false", "--format", format];
    flags.extend(filters.iter().map(String::as_str));
    let ran = place.verb("events", &flags);
    assert_eq!((ran.code(), ran.stderr.as_str()), (0, ""), "{ran:?}");
    ran.text().lines().map(str::to_owned).collect()
}

fn actions(place: &Place<'_>, name: &str) -> Vec<String> {
    past(place, &[&format!("container={name}")], "{{.Action}}")
}

const WAITS: &str = "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done";

#[test]
fn life_of_a_container_is_told_in_dockers_words() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let made = place.script("run", &["-d", "--name=web", "--label=tier=front"], WAITS);
    assert_eq!(made.code(), 0, "{made:?}");
    crate::support::eventually("it is up", || place.verb("logs", &["web"]).text() == "up");
    for (verb, flags) in [
        ("pause", &["web"][..]),
        ("unpause", &["web"]),
        ("update", &["--pids-limit=100", "web"]),
        ("exec", &["web", "true"]),
        ("rename", &["web", "site"]),
        ("kill", &["-l"]),
    ] {
        let ran = place.verb(verb, flags);
        assert_eq!(ran.code(), 0, "{verb}: {ran:?}");
    }
    assert_eq!(place.verb("wait", &["site"]).text(), "137");
    assert_eq!(place.verb("start", &["site"]).code(), 0);
    crate::support::eventually("it is up", || place.verb("logs", &["site"]).text() == "up\nup");
    assert_eq!(place.verb("restart", &["site"]).code(), 0);
    assert_eq!(place.verb("rm", &["-f", "site"]).code(), 0);
    assert_eq!(
        actions(&place, made.text()),
        [
            "create",
            "start",
            "pause",
            "unpause",
            "update",
            "exec_create: true",
            "exec_start: true",
            "exec_die",
            "rename",
            "kill",
            "die",
            "start",
            "kill",
            "die",
            "stop",
            "start",
            "restart",
            "kill",
            "die",
            "destroy"
        ]
    );
    let ends = past(
        &place,
        &["event=die"],
        "{{.Actor.Attributes.exitCode}} {{.Actor.Attributes.name}} {{.Actor.Attributes.tier}}",
    );
    assert_eq!(ends, ["137 site front", "3 site front", "137 site front"]);
    let signals = past(&place, &["event=kill"], "{{.Actor.Attributes.signal}}");
    assert_eq!(signals, ["9", "15", "9"]);
    let renamed = past(&place, &["event=rename"], "{{.Actor.Attributes.oldName}} {{.Actor.Attributes.name}}");
    assert_eq!(renamed, ["/web site"]);
    let lines = past(&place, &["event=start", "label=tier=front"], "json");
    let first: Value = serde_json::from_str(&lines[0]).expect("JSON");
    assert_eq!(
        (&first["status"], &first["Type"], &first["Action"], &first["scope"]),
        (&"start".into(), &"container".into(), &"start".into(), &"local".into())
    );
    assert_eq!((first["id"].as_str(), first["Actor"]["ID"].as_str()), (Some(made.text()), Some(made.text())));
    assert_eq!(first["from"], first["Actor"]["Attributes"]["image"]);
    let nanoseconds = first["timeNano"].as_i64().expect("a number");
    assert_eq!(first["time"].as_i64(), Some(nanoseconds / 1_000_000_000));
    place.assert_nothing_left();
}

#[test]
fn container_in_the_foreground_is_told_of_also_where_it_goes_at_its_end() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    assert_eq!(place.script("run", &["--name=job"], "exit 4").code(), 4);
    assert_eq!(actions(&place, "job"), ["create", "attach", "start", "die"]);
    assert_eq!(place.script("run", &["--rm", "--name=brief"], "exit 5").code(), 5);
    assert_eq!(actions(&place, "brief"), ["create", "attach", "start", "die", "destroy"]);
    let codes = past(&place, &["event=died"], "{{.Name}} {{.ContainerExitCode}}");
    assert_eq!(codes, ["job 4", "brief 5"]);
    let rootfs = host.rootfs_flag();
    let bad = place.verb("run", &["--rm", "--name=bad", "--network=none", &rootfs, "/no/such"]);
    assert_eq!(bad.code(), 127);
    assert_eq!(actions(&place, "bad"), ["create", "destroy"]);
    let limited = place.script("run", &["-d", "--name=greedy", "--memory=16m"], "exec tail /dev/zero");
    assert_eq!(limited.code(), 0, "{limited:?}");
    place.verb("wait", &["greedy"]);
    assert_eq!(actions(&place, "greedy"), ["create", "start", "oom", "die"]);
    assert_eq!(place.verb("container prune", &["-f"]).code(), 0);
    assert_eq!(past(&place, &["event=prune"], "{{.Type}}"), ["container"]);
    place.assert_nothing_left();
}

#[test]
fn files_images_and_volumes_are_told_of() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let path = |name: &str| host.directory().join(name).display().to_string();
    host.shell(&format!("cd {}; tar -cf ../root.tar .", path("rootfs")));
    let id = place.verb("import", &["-q", &path("root.tar"), "example.org/app:v1"]);
    assert_eq!(id.code(), 0, "{id:?}");
    assert_eq!(place.verb("tag", &["example.org/app:v1", "example.org/other:v2"]).code(), 0);
    assert_eq!(place.verb("save", &["-o", &path("saved.tar"), "example.org/app:v1"]).code(), 0);
    assert_eq!(place.verb("volume create", &["data"]).code(), 0);
    let flags =
        ["-d", "--name=user", "--network=none", "-v", "data:/data:ro", "example.org/app:v1", "sleep", "1000"];
    let made = place.verb("run", &flags);
    assert_eq!(made.code(), 0, "{made:?}");
    assert_eq!(place.verb("cp", &["user:/bin/busybox", &path("copied")]).code(), 0);
    assert_eq!(place.verb("cp", &[&path("copied"), "user:/copied"]).code(), 0);
    assert_eq!(past(&place, &["event=copy"], "{{.Action}}"), ["archive-path", "extract-to-dir"]);
    assert_eq!(place.verb("rm", &["-f", "user"]).code(), 0);
    assert_eq!(place.verb("volume rm", &["data"]).code(), 0);
    assert_eq!(place.verb("volume prune", &["-f"]).code(), 0);
    assert_eq!(
        past(
            &place,
            &["type=volume"],
            "{{.Action}} {{.Actor.ID}} {{index .Actor.Attributes \"destination\"}}"
        ),
        ["create data ", "mount data /data", "unmount data ", "destroy data ", "prune"]
    );
    assert_eq!(place.verb("rmi", &["example.org/other:v2"]).code(), 0);
    assert_eq!(place.verb("rmi", &["example.org/app:v1"]).code(), 0);
    assert_eq!(place.verb("load", &["-q", "-i", &path("saved.tar")]).code(), 0);
    assert_eq!(place.verb("image prune", &["-a", "-f"]).code(), 0);
    assert_eq!(
        past(&place, &["type=image"], "{{.Action}}"),
        ["import", "tag", "save", "untag", "untag", "delete", "load", "untag", "delete", "prune"]
    );
    let named = past(&place, &["image=example.org/app"], "{{.Type}} {{.Action}}");
    for expected in ["image import", "container start", "container die", "image untag"] {
        assert!(named.iter().any(|line| line == expected), "{expected}: {named:?}");
    }
    assert!(!named.iter().any(|line| line == "image tag"), "{named:?}");
    place.assert_nothing_left();
}

#[test]
fn who_follows_sees_what_comes_and_no_more_than_was_asked_for() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    assert_eq!(place.verb("volume create", &["before"]).code(), 0);
    let mut command =
        place.command("events", &["--filter=type=volume", "--format={{.Action}} {{.Actor.ID}}"]);
    command.stdout(Stdio::piped());
    let mut child = command.spawn().expect("nsenter runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let _follower = Background::of(child);
    // It listens once it has told of one.
    let (told, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || lines.by_ref().map_while(Result::ok).for_each(|line| drop(told.send(line))));
    let mut number = 0;
    let first = loop {
        assert_eq!(place.verb("volume create", &[&format!("v{number}")]).code(), 0);
        if let Ok(line) = heard.recv_timeout(std::time::Duration::from_millis(300)) {
            break line;
        }
        number += 1;
        assert!(number < 100, "nothing is heard");
    };
    assert!(first.starts_with("create v"), "{first}");
    assert_eq!(place.verb("volume rm", &[&format!("v{number}")]).code(), 0);
    assert_eq!(place.verb("volume rm", &["before"]).code(), 0);
    let mut last = heard.recv().expect("it comes");
    while last.starts_with("create") {
        last = heard.recv().expect("it comes");
    }
    assert_eq!(last, format!("destroy v{number}"));
    assert_eq!(heard.recv().expect("it comes"), "destroy before");
    // The end that was asked for, and nothing before the beginning.
    let until = place
        .verb("events", &["--since=1h", "--until=0s", "--filter=event=destroy", "--filter=volume=before"]);
    assert!(until.text().contains(" volume destroy before (driver=local)"), "{until:?}");
    assert_eq!(place.verb("events", &["--since=-1h", "--stream=false"]).text(), "");
    place.verb("events", &["--since=yesterday"]).refuses(125, &["--since", "`yesterday`"]);
    place.verb("events", &["--filter=colour=red"]).refuses(125, &["--filter", "`colour`"]);
    // Whatever somebody else has put there.
    let log = host.directory().join("store/events/log");
    host.shell(&format!("printf 'half a line {{' >> {0}; printf '\\0\\0\\nx\\n' >> {0}", log.display()));
    assert_eq!(place.verb("volume create", &["after"]).code(), 0);
    assert_eq!(past(&place, &["volume=after"], "{{.Action}}"), ["create"]);
}
