//! `rabbitc explain`: the start of a container that is kept, told afterwards, and two of them side by side.

use serde_json::Value;

use crate::life::Place;
use crate::support::{Host, eventually};

fn document(place: &Place<'_>, arguments: &[&str]) -> Value {
    let shown = place.verb("explain", arguments);
    serde_json::from_str(shown.text()).unwrap_or_else(|error| panic!("{error}: {shown:?}"))
}

fn step<'a>(document: &'a Value, name: &str) -> &'a Value {
    let mut steps = document["steps"].as_array().expect("a list").iter();
    steps.find(|step| step["name"] == name).unwrap_or_else(|| panic!("no {name:?} in {document}"))
}

#[test]
fn last_start_of_a_container_is_explained_afterwards_in_the_forms_of_a_run() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let ran = place.script("run", &["-d", "--name=web", "--memory=64m", "-h", "burrow"], "sleep 100");
    assert_eq!(ran.code(), 0, "{ran:?}");
    // At once: what is about to be written is waited for.
    let text = place.verb("explain", &["web"]);
    for part in ["`web` started at 2", "pivot_root", "`burrow`", "asked for by: --memory", "--hostname", "%"]
    {
        assert!(text.text().contains(part), "no {part:?} in {text:?}");
    }
    let first = document(&place, &["--format=json", "web"]);
    assert_eq!((first["container"].as_str(), first["name"].as_str()), (Some(ran.text()), Some("web")));
    let steps = first["steps"].as_array().expect("a list");
    assert!(steps.len() > 30 && first["totalNanoseconds"].as_u64() > Some(0), "{first}");
    for (index, step) in steps.iter().enumerate() {
        assert_eq!(step["number"].as_u64(), Some(index as u64 + 1), "each step ran: {step}");
        assert!(step["startNanoseconds"].as_u64() <= step["endNanoseconds"].as_u64(), "{step}");
        assert!(step["why"].as_str().is_some_and(|why| why.len() > 20), "{step}");
    }
    assert_eq!(step(&first, "write limits into the cgroup")["askedBy"], "--memory");
    assert!(place.verb("explain", &["--format=svg", "web"]).text().starts_with("<svg "));
    // It is that of the last start, and stays when the container ends.
    assert_eq!(place.verb("restart", &["-t0", "web"]).code(), 0);
    let second = document(&place, &["--format=json", "web"]);
    assert!(second["began"].as_str() > first["began"].as_str(), "{second}");
    assert_eq!(place.verb("stop", &["-t0", "web"]).code(), 0);
    assert_eq!(document(&place, &["--format=json", "web"]), second);
    place.assert_nothing_left();
}

#[test]
fn start_by_the_command_itself_and_by_a_restart_policy_leaves_a_record_too() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let ran = place.script("run", &["--name=own", "--overlay", "--rm=false", "--explain=json"], "true");
    let of_the_run: Value = serde_json::from_str(&ran.stderr).expect("JSON");
    let kept = document(&place, &["--format=json", "own"]);
    assert_eq!(kept["totalNanoseconds"], of_the_run["totalNanoseconds"]);
    let ran = place.script("run", &["-d", "--name=again", "--restart=on-failure:1"], "exit 3");
    assert_eq!(ran.code(), 0, "{ran:?}");
    eventually("it gave up", || place.status("again") == "exited");
    let began = document(&place, &["--format=json", "again"])["began"].clone();
    let started = place.verb("inspect", &["--format={{.State.StartedAt}}", "again"]);
    assert!(began.as_str() >= Some(started.text()), "it is the second start: {began} {started:?}");
    place.assert_nothing_left();
}

#[test]
fn start_that_failed_is_explained_up_to_its_step_with_the_error() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let made = place.script("create", &["--name=bad", "--workdir=/bin/sh"], "true");
    assert_eq!(made.code(), 0, "{made:?}");
    place.verb("explain", &["bad"]).refuses(125, &["never started"]);
    assert_eq!(place.verb("start", &["bad"]).code(), 125);
    let text = place.verb("explain", &["bad"]);
    for part in [
        "`bad` did not start",
        "failed",
        "chdir to the working directory",
        "--workdir",
        "\nerror: ",
        "hint: ",
    ] {
        assert!(text.text().contains(part), "no {part:?} in {text:?}");
    }
    let shown = document(&place, &["--format=json", "bad"]);
    assert_eq!(step(&shown, "chdir to the working directory")["failed"], true);
    assert!(shown["failure"]["error"].as_str().is_some_and(|error| error.contains("/bin/sh")), "{shown}");
    // Refused before there was a step.
    let source = host.directory().join("soon-gone");
    std::fs::create_dir(&source).expect("a directory");
    let volume = format!("--volume={}:/x", source.display());
    let made = place.script("create", &["--name=early", &volume], "true");
    assert_eq!(made.code(), 0, "{made:?}");
    std::fs::remove_dir(&source).expect("it is empty");
    assert_eq!(place.verb("start", &["early"]).code(), 125);
    let text = place.verb("explain", &["early"]);
    assert!(text.text().contains("before the first step") && text.text().contains("soon-gone"), "{text:?}");
    assert_eq!(document(&place, &["--format=json", "early"])["steps"].as_array().map(Vec::len), Some(0));
    place.verb("explain", &["--format=svg", "early"]).refuses(125, &["before the first step"]);
    assert!(place.verb("why", &["bad"]).text().contains("rabbitc explain bad"));
    place.assert_nothing_left();
}

#[test]
fn two_starts_are_compared_step_by_step() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    for (name, flags) in [("one", &["--memory=64m"][..]), ("two", &["--tmpfs=/extra", "--hostname=x"])] {
        let name = format!("--name={name}");
        let ran = place.script("run", &[&["-d", name.as_str()], flags].concat(), "sleep 100");
        assert_eq!(ran.code(), 0, "{ran:?}");
    }
    let compared = document(&place, &["--compare", "--format=json", "one", "two"]);
    assert_eq!((compared["a"]["name"].as_str(), compared["b"]["name"].as_str()), (Some("one"), Some("two")));
    let rows = compared["steps"].as_array().expect("a list");
    let both = step(&compared, "pivot_root");
    let took = |side: &str| both[side]["tookNanoseconds"].as_i64().expect("a number");
    assert_eq!(both["differenceNanoseconds"].as_i64(), Some(took("b") - took("a")));
    let group = step(&compared, "create the cgroup");
    assert_eq!(group["isSameObject"], true, "ids make no difference: {group}");
    let only_second = rows.iter().find(|row| row["b"]["object"] == "`/extra`").expect("the mount");
    assert!(only_second["a"].is_null() && only_second["differenceNanoseconds"].is_null(), "{only_second}");
    let name = step(&compared, "set the host name");
    assert_eq!(name["isSameObject"], false, "{name}");
    // Each step of either is there once.
    for (letter, container) in [("a", "one"), ("b", "two")] {
        let alone = document(&place, &["--format=json", container]);
        let mut numbers: Vec<u64> = rows.iter().filter_map(|row| row[letter]["number"].as_u64()).collect();
        numbers.sort_unstable();
        let steps = alone["steps"].as_array().expect("a list").len() as u64;
        assert_eq!(numbers, (1..=steps).collect::<Vec<_>>());
    }
    let text = place.verb("explain", &["--compare", "one", "two"]);
    for part in ["A  `one`", "B  `two`", "B took ", "B: `x`", "mount `tmpfs` `/extra`"] {
        assert!(text.text().contains(part), "no {part:?} in {text:?}");
    }
    place.verb("explain", &["--compare", "one"]).refuses(125, &["two containers"]);
    place.verb("explain", &["one", "two"]).refuses(125, &["one container", "--compare"]);
    place.verb("explain", &["--compare", "--format=svg", "one", "two"]).refuses(125, &["--format", "json"]);
    place.assert_nothing_left();
}
