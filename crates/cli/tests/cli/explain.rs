//! The timeline of a start, and the plan that touches nothing.

use serde_json::Value;

use crate::support::{Host, finish, names};

#[test]
fn explain_shows_each_step_with_its_object_reason_and_share() {
    let Some(host) = Host::new() else { return };
    let ran = host.run(&[&host.rootfs_flag(), "--explain", "-h", "burrow", "--cmd=/bin/echo out"]);
    assert_eq!(ran.text(), "out", "the timeline is not mixed into the program's output");
    for part in [
        "clone",
        "pivot_root",
        "mount `proc`",
        "`burrow`",
        "--hostname",
        "--rootfs",
        "--cmd",
        "seccomp",
        "%",
        "asked for by",
    ] {
        assert!(ran.stderr.contains(part), "no {part:?} in {}", ran.stderr);
    }
    assert_eq!(host.inside(&["--explain"], "exit 4").code(), 4);
}

#[test]
fn explain_for_machines_is_whole_and_adds_up() {
    let Some(host) = Host::new() else { return };
    let ran = host.run(&[&host.rootfs_flag(), "--explain=json", "--cmd=/bin/true"]);
    assert_eq!(ran.code(), 0);
    let document: Value = serde_json::from_str(&ran.stderr).expect("one JSON document");
    let total = document["totalNanoseconds"].as_u64().expect("a number");
    let steps = document["steps"].as_array().expect("a list");
    assert!(steps.len() > 30, "{}", steps.len());
    let mut busy = std::collections::BTreeMap::<String, u64>::new();
    let mut ended = std::collections::BTreeMap::<String, u64>::new();
    for (index, step) in steps.iter().enumerate() {
        let text = |key: &str| step[key].as_str().unwrap_or_default().to_owned();
        assert_eq!(step["number"].as_u64(), Some(index as u64 + 1), "each step ran: {step}");
        assert!(!text("name").is_empty() && text("why").len() > 20, "{step}");
        let side = text("side");
        assert!(["host", "container"].contains(&side.as_str()), "{step}");
        let (start, end) = (
            step["startNanoseconds"].as_u64().expect("number"),
            step["endNanoseconds"].as_u64().expect("number"),
        );
        assert!(start <= end && end <= total, "{step}");
        let before = ended.insert(side.clone(), end).unwrap_or(0);
        assert!(before <= start || side == "host", "steps of one side follow each other: {step}");
        *busy.entry(side).or_default() += end - start;
    }
    for (side, sum) in busy {
        assert!(sum > 0 && sum <= total, "{side}: {sum} of {total}");
    }
}

#[test]
fn plan_touches_nothing() {
    let Some(host) = Host::new() else { return };
    let before = (host.shell("ip -o link; ip -o addr"), host.mount_table(), names(&host.rootfs()));
    let rootfs = host.rootfs_flag();
    let text = host.run(&["plan", &rootfs, "--memory=64m", "--cmd=/bin/true"]);
    assert!(text.text().contains("pivot_root"), "{text:?}");
    let ran = host.run(&["plan", &rootfs, "--format=json"]);
    let steps: Value = serde_json::from_str(ran.text()).expect("JSON");
    assert!(
        steps
            .as_array()
            .expect("a list")
            .iter()
            .all(|step| step["why"].as_str().is_some_and(|why| !why.is_empty()))
    );
    assert!(host.run(&["plan", &rootfs, "--format=markdown"]).text().starts_with("# "));
    assert!(host.run(&["plan", "--overlay", &rootfs]).text().contains("overlay"));
    assert!(!host.run(&["plan"]).text().is_empty(), "the host's root can be planned as well");
    assert!(!host.state().exists(), "not even the state directory was made");
    assert_eq!((host.shell("ip -o link; ip -o addr"), host.mount_table(), names(&host.rootfs())), before);
    host.assert_nothing_left();
}

#[test]
fn plan_needs_no_rights_and_refuses_what_run_refuses() {
    let Some(host) = Host::new() else { return };
    let (program, rootfs) = (host.directory().join("rabbitc"), host.rootfs_flag());
    std::fs::copy(crate::support::binary(), &program).expect("copied to where anybody can read it");
    let mut command = host.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&program);
    command.args(["plan", &rootfs, "--cmd=/bin/true"]);
    let ran = finish(command.spawn().expect("setpriv runs"), None);
    assert!(ran.text().contains("pivot_root"), "{ran:?}");
    host.run(&["plan", "--rootfs=/no/such"]).refuses(125, &["/no/such"]);
    host.run(&["plan", &rootfs, "-t", "10.0.0.1"]).refuses(125, &["10.0.0.1"]);
}

#[test]
fn plan_and_timeline_list_the_same_steps() {
    let Some(host) = Host::new() else { return };
    let rootfs = host.rootfs_flag();
    let planned: Value =
        serde_json::from_str(host.run(&["plan", &rootfs, "--format=json", "--cmd=/bin/true"]).text())
            .expect("JSON");
    let ran: Value = serde_json::from_str(&host.run(&[&rootfs, "--explain=json", "--cmd=/bin/true"]).stderr)
        .expect("JSON");
    let names = |steps: &Value| -> Vec<String> {
        steps
            .as_array()
            .expect("a list")
            .iter()
            .map(|step| {
                step["name"].as_str().unwrap_or_default().split(" `/").next().unwrap_or_default().to_owned()
            })
            .collect()
    };
    assert_eq!(names(&planned), names(&ran["steps"]));
}
