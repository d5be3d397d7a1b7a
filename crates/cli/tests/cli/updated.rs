//! What `rabbitc update` changes of containers that live on, beyond this run.

use crate::life::Place;
use crate::support::{Host, eventually, has_controller, skip};

fn field(place: &Place<'_>, name: &str, field: &str) -> String {
    place.verb("inspect", &["--format", &format!("{{{{{field}}}}}"), name]).text().to_owned()
}

fn has_controllers() -> bool {
    let has = has_controller("pids", "pids") && has_controller("memory", "memory");
    if !has {
        skip("no controllers of pids and memory");
    }
    has
}

#[test]
fn limits_that_were_updated_hold_after_a_restart_and_show_in_inspect() {
    let Some(host) = Host::new() else { return };
    if !has_controllers() {
        return;
    }
    let place = Place::of(&host);
    let flags = ["-d", "--name=web", "--memory=64m", "--pids-limit=50"];
    assert_eq!(place.script("run", &flags, "sleep 100").code(), 0);
    let limit = |place: &Place<'_>| {
        let shown = place.verb("stats", &["--no-stream", "--format={{.MemUsage}}", "web"]);
        shown.text().split(" / ").nth(1).unwrap_or_default().to_owned()
    };
    assert_eq!(limit(&place), "64MiB");
    assert_eq!(place.verb("update", &["--memory=96m", "web"]).text(), "web");
    let memory = || field(&place, "web", ".HostConfig.Memory");
    assert_eq!((limit(&place), memory()), ("96MiB".to_owned(), (96 << 20).to_string()));
    assert_eq!(place.verb("restart", &["-t0", "web"]).code(), 0);
    assert_eq!(limit(&place), "96MiB", "a restart does not bring the old limit back");
    assert_eq!(field(&place, "web", ".HostConfig.PidsLimit"), "50", "what was not named stays");
    // Of one that does not run, for its next start.
    assert_eq!(place.verb("stop", &["-t0", "web"]).code(), 0);
    assert_eq!(place.verb("update", &["--memory=80m", "--pids-limit=40", "web"]).text(), "web");
    assert_eq!(
        (memory(), field(&place, "web", ".HostConfig.PidsLimit")),
        ((80 << 20).to_string(), "40".into())
    );
    assert_eq!(place.verb("start", &["web"]).code(), 0);
    assert_eq!(limit(&place), "80MiB");
    let explained = place.verb("explain", &["web"]);
    assert!(explained.text().contains("asked for by: --memory, --pids-limit"), "{explained:?}");
    place.assert_nothing_left();
}

#[test]
fn limit_that_contradicts_another_is_refused_and_nothing_changes() {
    let Some(host) = Host::new() else { return };
    if !has_controllers() {
        return;
    }
    let place = Place::of(&host);
    let flags = ["--name=web", "--memory=64m", "--memory-reservation=60m"];
    assert_eq!(place.script("create", &flags, "sleep 100").code(), 0);
    let refused = place.verb("update", &["--memory=32m", "--pids-limit=9", "web"]);
    assert_ne!(refused.code(), 0);
    assert!(refused.stderr.contains("--memory-reservation"), "{refused:?}");
    assert_eq!(field(&place, "web", ".HostConfig.Memory"), (64 << 20).to_string());
    assert_eq!(field(&place, "web", "json .HostConfig.PidsLimit"), "null");
    place.assert_nothing_left();
}

#[test]
fn restart_policy_that_was_updated_counts_at_the_next_end() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let waits = "while [ ! -e /bin/../end-of-it ]; do sleep 0.05; done; exit 4";
    assert_eq!(place.script("run", &["-d", "--name=once", "--restart=always"], waits).code(), 0);
    assert_eq!(field(&place, "once", ".HostConfig.RestartPolicy.Name"), "always");
    assert_eq!(place.verb("update", &["--restart=no", "once"]).text(), "once");
    assert_eq!(field(&place, "once", ".HostConfig.RestartPolicy.Name"), "no");
    let sign = host.rootfs().join("end-of-it");
    std::fs::write(&sign, "").expect("a file");
    eventually("it stays as it is", || place.status("once") == "exited");
    assert_eq!(field(&place, "once", ".RestartCount"), "0");
    std::fs::remove_file(&sign).expect("it is there");
    // And the other way round.
    assert_eq!(place.verb("start", &["once"]).code(), 0);
    assert_eq!(place.verb("update", &["--restart=on-failure:2", "once"]).text(), "once");
    assert_eq!(field(&place, "once", ".HostConfig.RestartPolicy.MaximumRetryCount"), "2");
    std::fs::write(&sign, "").expect("a file");
    eventually("it was tried twice more", || {
        place.status("once") == "exited" && field(&place, "once", ".RestartCount") == "2"
    });
    std::fs::remove_file(&sign).expect("it is there");
    place.verb("update", &["--restart=sometimes", "once"]).refuses(125, &["--restart", "sometimes"]);
    // One that goes with its end is not to come back.
    assert_eq!(place.script("run", &["-d", "--rm", "--name=goes"], "sleep 100").code(), 0);
    let refused = place.verb("update", &["--restart=always", "goes"]);
    assert!(refused.code() != 0 && refused.stderr.contains("--rm"), "{refused:?}");
    place.assert_nothing_left();
}
