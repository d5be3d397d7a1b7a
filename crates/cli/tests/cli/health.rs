//! Health checks: made time and again, written down, told, and acted upon.

use std::time::Duration;

use serde_json::Value;

use crate::life::Place;
use crate::support::{Host, eventually};

const WAITS: &str = "trap 'exit 3' TERM; while :; do sleep 0.1; done";

/// Checks often, and by a file in the root: the test says by it how the container is.
const BY_FILE: [&str; 4] = [
    "--health-cmd=echo seen; test -e /well",
    "--health-interval=100ms",
    "--health-retries=2",
    "--health-timeout=20s",
];

fn started(place: &Place<'_>, name: &str, flags: &[&str], script: &str) {
    let named = format!("--name={name}");
    let ran = place.script("run", &[&["-d", named.as_str()], flags].concat(), script);
    assert_eq!((ran.code(), ran.stderr.as_str()), (0, ""), "{ran:?}");
}

fn health(place: &Place<'_>, name: &str) -> Value {
    let shown = place.verb("inspect", &["--format={{json .State.Health}}", name]);
    serde_json::from_str(shown.text()).unwrap_or_else(|_| panic!("{shown:?}"))
}

fn status(place: &Place<'_>, name: &str) -> String {
    health(place, name)["Status"].as_str().unwrap_or_default().to_owned()
}

fn ends(place: &Place<'_>, name: &str) -> Vec<String> {
    let health = health(place, name);
    health["Log"].as_array().expect("a list").iter().map(|one| one["End"].to_string()).collect()
}

fn told(place: &Place<'_>, filter: &str) -> Vec<String> {
    let filter = format!("--filter={filter}");
    let ran = place.verb("events", &["--since=1h", "--stream=false", "--format={{.Action}}", &filter]);
    ran.text().lines().map(str::to_owned).collect()
}

#[test]
fn container_becomes_healthy_and_unhealthy_and_everybody_is_told() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let well = host.rootfs().join("well");
    let slow = [&BY_FILE[..1], &["--health-interval=1h"]].concat();
    started(&place, "slow", &slow, WAITS);
    assert_eq!(status(&place, "slow"), "starting");
    assert_eq!(health(&place, "slow")["Log"], serde_json::json!([]));
    assert!(place.verb("ps", &[]).text().contains("(health: starting)"));
    std::fs::write(&well, "").expect("written");
    started(&place, "web", &BY_FILE, WAITS);
    assert_eq!(place.verb("wait", &["--condition=healthy", "web"]).text(), "-1");
    eventually("five checks are kept", || health(&place, "web")["Log"].as_array().map(Vec::len) == Some(5));
    let found = health(&place, "web");
    assert_eq!((found["Status"].as_str(), found["FailingStreak"].as_i64()), (Some("healthy"), Some(0)));
    let last = &found["Log"][4];
    assert_eq!((last["ExitCode"].as_i64(), last["Output"].as_str()), (Some(0), Some("seen\n")));
    for time in ["Start", "End"] {
        assert!(
            last[time].as_str().is_some_and(|time| time.starts_with("20") && time.ends_with('Z')),
            "{last}"
        );
    }
    let shown = place.verb("ps", &["--filter=health=healthy", "--format={{.Names}} {{.Status}}"]);
    assert!(shown.text().starts_with("web Up ") && shown.text().ends_with("(healthy)"), "{shown:?}");
    let config = place.verb("inspect", &["--format={{json .Config.Healthcheck}}", "web"]);
    assert_eq!(
        serde_json::from_str::<Value>(config.text()).expect("JSON"),
        serde_json::json!({"Test": ["CMD-SHELL", "echo seen; test -e /well"], "Interval": 100_000_000, "Retries": 2,
            "Timeout": 20_000_000_000_u64})
    );
    std::fs::remove_file(&well).expect("there");
    assert_eq!(place.verb("wait", &["--condition=unhealthy", "web"]).text(), "-1");
    let found = health(&place, "web");
    assert!(found["FailingStreak"].as_i64() >= Some(2), "{found}");
    assert_eq!(place.verb("ps", &["-q", "--filter=health=healthy"]).text(), "");
    assert!(place.verb("ps", &[]).text().contains("(unhealthy)"));
    let why = place.verb("why", &["web"]);
    for expected in [
        "`web` runs and is unhealthy: its last ",
        "with code 1",
        "health    healthy at 20",
        "check     1 at 20",
    ] {
        assert!(why.text().contains(expected), "{expected}: {why:?}");
    }
    assert_eq!(place.status("web"), "running", "nobody asked for more");
    assert_eq!(told(&place, "event=health_status"), ["health_status: healthy", "health_status: unhealthy"]);
    assert_eq!(told(&place, "event=exec_create"), [""; 0], "it is no program of a person's");
    // Started again, it is to be found out again.
    assert_eq!(place.verb("stop", &["web"]).code(), 0);
    assert_eq!(status(&place, "web"), "unhealthy", "docker's word for one that does not run");
    std::fs::write(&well, "").expect("written");
    assert_eq!(place.verb("start", &["web"]).code(), 0);
    assert_eq!(place.verb("wait", &["--condition=healthy", "web"]).code(), 0);
    std::fs::remove_file(&well).expect("there");
    started(&place, "plain", &[], WAITS);
    assert_eq!(place.verb("ps", &["--filter=health=none", "--format={{.Names}}"]).text(), "plain");
    place.verb("wait", &["--condition=healthy", "plain"]).refuses(1, &["no health check"]);
    place.assert_nothing_left();
}

#[test]
fn check_that_hangs_is_killed_with_its_children_and_what_it_wrote_is_bounded() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let hangs = "--health-cmd=echo began; sleep 1007 & sleep 1007";
    started(
        &place,
        "hangs",
        &[hangs, "--health-interval=50ms", "--health-timeout=300ms", "--health-retries=1"],
        WAITS,
    );
    assert_eq!(place.verb("wait", &["--condition=unhealthy", "hangs"]).code(), 0);
    let last = &health(&place, "hangs")["Log"][0];
    assert_eq!(last["ExitCode"].as_i64(), Some(-1));
    assert_eq!(last["Output"].as_str(), Some("Health check exceeded timeout (300ms): began\n"));
    let sleepers = || host.processes().iter().filter(|line| line.contains("sleep 1007")).count();
    for _ in 0..20 {
        assert!(sleepers() <= 3, "one check at a time, with what it started: {:?}", host.processes());
        std::thread::sleep(Duration::from_millis(20));
    }
    started(
        &place,
        "talks",
        &["--health-cmd=yes", "--health-interval=1s", "--health-timeout=200ms", "--health-retries=1"],
        WAITS,
    );
    assert_eq!(place.verb("wait", &["--condition=unhealthy", "talks"]).code(), 0);
    let output = health(&place, "talks")["Log"][0]["Output"].as_str().expect("text").to_owned();
    let written = output.strip_prefix("Health check exceeded timeout (200ms): ").expect("it says so");
    assert_eq!((written.len(), written.ends_with("y\n...")), (4096 + 3, true));
    started(
        &place,
        "lacks",
        &[r#"--health-cmd=["/no/such"]"#, "--health-interval=100ms", "--health-retries=1"],
        WAITS,
    );
    assert_eq!(place.verb("wait", &["--condition=unhealthy", "lacks"]).code(), 0);
    let last = &health(&place, "lacks")["Log"][0];
    assert_eq!(last["ExitCode"].as_i64(), Some(-1));
    assert!(last["Output"].as_str().is_some_and(|text| text.contains("/no/such")), "{last}");
    assert_eq!(place.verb("rm", &["-f", "hangs", "talks", "lacks"]).code(), 0);
    assert_eq!(sleepers(), 0, "they go with their container");
    place.assert_nothing_left();
}

#[test]
fn checks_go_on_without_the_monitor_and_stand_still_with_the_container() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    std::fs::write(host.rootfs().join("well"), "").expect("written");
    started(&place, "web", &BY_FILE, WAITS);
    assert_eq!(place.verb("wait", &["--condition=healthy", "web"]).code(), 0);
    let monitor = place.monitor("web");
    let zombies = |monitor: &str| {
        let children =
            std::fs::read_to_string(format!("/proc/{monitor}/task/{monitor}/children")).unwrap_or_default();
        let dead = |pid: &&str| {
            std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
        };
        children.split_whitespace().filter(dead).count()
    };
    assert!(zombies(&monitor) <= 1, "the one that has just ended at most");
    host.shell(&format!("kill -9 {monitor}"));
    eventually("it is dead", || !std::path::Path::new(&format!("/proc/{monitor}/exe")).exists());
    let before = ends(&place, "web");
    assert_ne!(place.monitor("web"), monitor);
    eventually("all that is kept is new", || ends(&place, "web").iter().all(|end| !before.contains(end)));
    assert_eq!(status(&place, "web"), "healthy");
    assert_eq!(place.verb("pause", &["web"]).code(), 0);
    // One may have been at it.
    std::thread::sleep(Duration::from_millis(300));
    let before = ends(&place, "web");
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(ends(&place, "web"), before);
    assert_eq!(status(&place, "web"), "healthy");
    let shown = place.verb("ps", &[]);
    assert!(shown.text().contains("(Paused)") && !shown.text().contains("(healthy)"), "{shown:?}");
    place.verb("healthcheck run", &["web"]).refuses(125, &["is paused"]);
    assert_eq!(place.verb("unpause", &["web"]).code(), 0);
    eventually("it goes on", || ends(&place, "web").iter().all(|end| !before.contains(end)));
    assert_eq!(status(&place, "web"), "healthy");
    std::fs::remove_file(host.rootfs().join("well")).expect("there");
    place.assert_nothing_left();
}

#[test]
fn unhealthy_container_is_killed_stopped_or_started_again_where_that_is_asked_for() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let check = ["--health-cmd=exit 1", "--health-interval=100ms", "--health-retries=2"];
    started(&place, "killed", &[&check[..], &["--health-on-failure=kill"]].concat(), WAITS);
    started(&place, "stopped", &[&check[..], &["--health-on-failure=stop"]].concat(), WAITS);
    started(
        &place,
        "again",
        &[&check[..], &["--health-on-failure=restart"]].concat(),
        "echo began; exec sleep 1000",
    );
    assert_eq!(place.verb("wait", &["killed"]).text(), "137");
    assert_eq!(place.verb("wait", &["stopped"]).text(), "3");
    let why = place.verb("why", &["killed"]);
    assert!(why.text().contains("`rabbitc healthcheck` of user 0 sent"), "{why:?}");
    eventually("it has begun again", || place.verb("logs", &["again"]).text().lines().count() > 1);
    assert!(
        told(&place, "container=again").contains(&"restart".to_owned()) || {
            eventually("it is told", || told(&place, "container=again").contains(&"restart".to_owned()));
            true
        }
    );
    // It does not come up: the check before the others fails.
    let startup = [
        "--health-cmd=true",
        "--health-startup-cmd=false",
        "--health-startup-interval=100ms",
        "--health-startup-retries=2",
    ];
    started(&place, "rises", &startup, "echo began; exec sleep 1000");
    eventually("it has begun again", || place.verb("logs", &["rises"]).text().lines().count() > 1);
    place
        .script("run", &["--rm", "--health-cmd=true", "--health-on-failure=restart"], "true")
        .refuses(125, &["--health-on-failure", "--rm"]);
    // A process that stops or starts one may be at it.
    assert_eq!(place.verb("rm", &["-f", "killed", "stopped"]).code(), 0);
    for name in ["again", "rises"] {
        eventually("it is removed", || place.verb("rm", &["-f", name]).code() == 0);
    }
    eventually("nobody is at it", || !host.processes().iter().any(|line| line.contains("internal-")));
    place.assert_nothing_left();
}

#[test]
fn unhealthy_container_that_takes_its_time_is_stopped_once_and_a_persons_stop_wins() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let flags = [
        "--health-cmd=false",
        "--health-interval=100ms",
        "--health-retries=1",
        "--health-on-failure=restart",
        "--stop-timeout=2",
    ];
    let deaf = "trap '' TERM; echo began; while :; do sleep 0.1; done";
    let stops = || told(&place, "container=deaf").iter().filter(|action| *action == "stop").count();
    started(&place, "deaf", &flags, deaf);
    let began = || place.verb("logs", &["deaf"]).text().lines().count();
    eventually("it has begun again", || began() == 2);
    assert_eq!(stops(), 1, "{:?}", told(&place, "container=deaf"));
    // The next one is at it by now.
    std::thread::sleep(Duration::from_millis(600));
    let at_it = host.processes().iter().filter(|line| line.contains("internal-heal")).count();
    assert_eq!(at_it, 1, "{:?}", host.processes());
    assert_eq!(place.verb("stop", &["-t=0", "deaf"]).code(), 0);
    eventually("nobody is at it", || !host.processes().iter().any(|line| line.contains("internal-")));
    assert_eq!((place.status("deaf"), began()), ("exited".to_owned(), 2), "a person has stopped it");
    assert_eq!(place.verb("start", &["deaf"]).code(), 0);
    std::thread::sleep(Duration::from_millis(600));
    let removed = place.verb("rm", &["-f", "-t=0", "deaf"]);
    assert_eq!((removed.code(), removed.stderr.as_str()), (0, ""), "{removed:?}");
    eventually("nobody is at it", || !host.processes().iter().any(|line| line.contains("internal-")));
    place.assert_nothing_left();
}

#[test]
fn check_is_made_when_a_person_asks_for_it() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let well = host.rootfs().join("well");
    started(
        &place,
        "web",
        &["--health-cmd=test -e /well", "--health-interval=disable", "--health-retries=2"],
        WAITS,
    );
    let run = |flags: &[&str]| {
        let ran = place.verb("healthcheck run", &[flags, &["web"]].concat());
        (ran.code(), ran.stdout.trim_end().to_owned())
    };
    assert_eq!(
        (run(&[]), health(&place, "web")["Status"].clone()),
        ((1, "unhealthy".to_owned()), "starting".into())
    );
    assert_eq!(run(&[]), (1, "unhealthy".to_owned()));
    assert_eq!(run(&["--ignore-result"]), (0, "unhealthy".to_owned()));
    std::fs::write(&well, "").expect("written");
    assert_eq!(run(&[]), (0, String::new()));
    assert_eq!(health(&place, "web")["Log"].as_array().map(Vec::len), Some(4), "and nobody else makes any");
    std::fs::remove_file(&well).expect("there");
    started(&place, "plain", &[], WAITS);
    place.verb("healthcheck run", &["plain"]).refuses(125, &["no health check", "--health-cmd"]);
    place.verb("healthcheck run", &["nobody"]).refuses(125, &["no such container"]);
    assert_eq!(place.verb("stop", &["web"]).code(), 0);
    place.verb("healthcheck run", &["web"]).refuses(125, &["is not running"]);
    for (flags, words) in [
        (&["--no-healthcheck", "--health-cmd=true"][..], &["--no-healthcheck conflicts"][..]),
        (&["--health-cmd=true", "--health-interval=10us"], &["--health-interval", "less than a millisecond"]),
        (&["--health-cmd=true", "--health-retries=-1"], &["--health-retries", "`-1`"]),
        (&["--health-cmd=true", "--health-on-failure=cry"], &["--health-on-failure", "`cry`"]),
        (&["--health-startup-cmd=true"], &["--health-startup-cmd"]),
        (&["--health-on-failure=kill"], &["--health-on-failure", "without a health check"]),
    ] {
        place.script("create", flags, "true").refuses(125, words);
    }
    place.assert_nothing_left();
}

#[test]
fn image_says_how_its_containers_are_checked_unless_a_person_does() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let path = |name: &str| host.directory().join(name).display().to_string();
    host.shell(&format!("cd {}; tar -cf ../root.tar .", path("rootfs")));
    let change =
        "HEALTHCHECK --interval=100ms --retries=7 --start-period=1h --start-interval=50ms CMD test -e /well";
    let made = place.verb("import", &["-q", "-c", change, &path("root.tar"), "example.org/app:v1"]);
    assert_eq!(made.code(), 0, "{made:?}");
    let run = |flags: &[&str]| {
        place.verb(
            "run",
            &[&["-d", "--network=none"], flags, &["example.org/app:v1", "sh", "-c", WAITS]].concat(),
        )
    };
    assert_eq!(run(&["--name=its"]).code(), 0);
    eventually("it is checked", || !ends(&place, "its").is_empty());
    assert_eq!(health(&place, "its")["FailingStreak"].as_i64(), Some(0), "it is within its time");
    assert_eq!(place.verb("exec", &["its", "touch", "/well"]).code(), 0);
    assert_eq!(place.verb("wait", &["--condition=healthy", "its"]).code(), 0);
    assert_eq!(place.verb("exec", &["its", "rm", "/well"]).code(), 0);
    eventually("failures count by now", || health(&place, "its")["FailingStreak"].as_i64() > Some(0));
    assert_eq!(run(&["--name=none", "--no-healthcheck"]).code(), 0);
    assert!(!place.verb("inspect", &["none"]).text().contains("\"Health\""));
    assert_eq!(run(&["--name=own", "--health-cmd=echo mine", "--health-start-period=1ms"]).code(), 0);
    assert_eq!(place.verb("wait", &["--condition=healthy", "own"]).code(), 0);
    assert_eq!(health(&place, "own")["Log"][0]["Output"].as_str(), Some("mine\n"));
    assert_eq!(place.field("own", ".Config.Healthcheck.Retries"), "7");
    // In the foreground, too, and gone at its end.
    let ran = place.verb(
        "run",
        &["--rm", "--network=none", "--name=brief", "example.org/app:v1", "sh", "-c", "sleep 1; exit 6"],
    );
    assert_eq!(ran.code(), 6, "{ran:?}");
    assert_eq!(place.verb("container exists", &["brief"]).code(), 1);
    assert_eq!(place.verb("rm", &["-af"]).code(), 0);
    assert_eq!(place.verb("rmi", &["example.org/app:v1"]).code(), 0);
    place.assert_nothing_left();
}

#[test]
fn checks_that_were_updated_are_made_from_then_on() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    started(&place, "web", &["--health-cmd=echo first", "--health-interval=100ms"], WAITS);
    eventually("it is checked", || health(&place, "web")["Status"] == "healthy");
    let update = |flags: &[&str], name: &str| place.verb("update", &[flags, &[name]].concat());
    assert_eq!(update(&["--health-cmd=echo second; false", "--health-retries=1"], "web").text(), "web");
    eventually("the new one is made, as often as the old one", || {
        let health = health(&place, "web");
        health["Status"] == "unhealthy" && health["Log"].to_string().contains("second")
    });
    let shown = place.field("web", ".Config.Healthcheck.Retries");
    assert_eq!(
        (shown.as_str(), place.field("web", ".Config.Healthcheck.Interval")),
        ("1", "100000000".into())
    );
    assert_eq!(update(&["--no-healthcheck"], "web").text(), "web");
    assert!(!place.field("web", "json .State").contains("Health"));
    update(&["--health-interval=1s"], "web")
        .refuses(1, &["update `web`: it has no health check", "--health-cmd"]);
    update(&["--no-healthcheck", "--health-retries=1"], "web").refuses(125, &["conflicts"]);
    // One that runs without a check has nobody who keeps the time; a check can be made at once nevertheless.
    started(&place, "bare", &[], WAITS);
    let ran =
        update(&["--health-cmd=test -e /well", "--health-interval=100ms", "--health-retries=1"], "bare");
    assert!(ran.code() == 0 && ran.stderr.contains("begin with its next start"), "{ran:?}");
    assert_eq!(place.verb("healthcheck run", &["bare"]).code(), 1);
    assert_eq!(place.verb("restart", &["-t0", "bare"]).code(), 0);
    eventually("it is checked by itself", || health(&place, "bare")["Status"] == "unhealthy");
    started(&place, "goes", &["--rm", "--health-cmd=true"], WAITS);
    update(&["--health-on-failure=restart"], "goes").refuses(1, &["--rm"]);
    place.assert_nothing_left();
}
