//! The timeline of a start, and the plan that touches nothing.

use serde_json::Value;

use crate::images::{APP, Registry};
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
fn steps_name_the_flags_that_were_given_and_no_others() {
    let Some(host) = Host::new() else { return };
    let rootfs = host.rootfs_flag();
    let origins = |ran: &crate::support::Ran| -> std::collections::BTreeSet<String> {
        let asked = ran.stderr.split('\n').filter_map(|line| line.split_once("asked for by: "));
        asked.map(|(_, origin)| origin.to_owned()).collect()
    };
    let all = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
    let ran = host.run(&[&rootfs, "--explain", "--network=none", "--hostname=", "--cmd=/bin/true"]);
    assert_eq!(origins(&ran), all(&["--cmd", "--network", "--rootfs", "default"]), "{ran:?}");
    let limits = ["--oom-score-adj=5", "-m", "64m", "--pids-limit=50"];
    let rights = ["--security-opt=seccomp=builtin", "--cap-add=sys_time", "-v", "/bin:/more:ro", "-u", "7:7"];
    let mut arguments = vec![rootfs.as_str(), "--explain", "--network=none"];
    arguments.extend(limits.iter().chain(&rights).chain(&["/bin/true"]));
    let ran = host.run(&arguments);
    let expected = [
        "--cap-add",
        "--memory, --pids-limit",
        "--network",
        "--oom-score-adj",
        "--rootfs",
        "--security-opt seccomp",
        "--user",
        "--volume /bin:/more:ro",
        "default",
        "the words of the command line",
    ];
    assert_eq!(origins(&ran), all(&expected), "{ran:?}");
    // A failure, and the plan, say the same.
    let ran = host.run(&[&rootfs, "--network=none", "--workdir=/bin/sh", "/bin/true"]);
    ran.refuses(125, &["asked for by: --workdir\n"]);
    let plan = host.run(&["plan", &rootfs, "--shm-size=1m"]);
    assert!(plan.text().lines().all(|line| {
        ["(default)", "(--rootfs)", "(--shm-size)"].iter().any(|origin| line.ends_with(origin))
    }));
    assert_eq!(plan.text().matches("(--shm-size)").count(), 1, "{plan:?}");
    host.assert_nothing_left();
}

#[test]
fn machines_and_pages_are_told_the_flags_and_objects_as_well() {
    let Some(host) = Host::new() else { return };
    let (rootfs, volume) = (host.rootfs_flag(), format!("--volume={}:/more:ro", host.directory().display()));
    let limits = ["--memory=64m", "--pids-limit=50", "--hostname=a", "--network=none", "--workdir=/bin"];
    let flags = [&[rootfs.as_str(), &volume][..], &limits].concat();
    let program = ["--", "/bin/true"];
    let asked = |steps: &Value| -> std::collections::BTreeMap<String, Value> {
        let steps = steps.as_array().expect("a list").iter();
        steps
            .map(|step| (step["name"].as_str().expect("a name").to_owned(), step["askedBy"].clone()))
            .collect()
    };
    let plan = host.run(&[&["plan", "--format=json"], &flags[..], &program].concat());
    let ran = host.run(&[&["--explain=json"], &flags[..], &program].concat());
    let plan: Value = serde_json::from_str(plan.text()).expect("JSON");
    let timeline: Value = serde_json::from_str(&ran.stderr).expect("JSON");
    for steps in [&plan, &timeline["steps"]] {
        let asked = asked(steps);
        assert_eq!(asked["write limits into the cgroup"], "--memory, --pids-limit");
        assert_eq!(asked["set the host name"], "--hostname");
        assert_eq!(asked["chdir to the working directory"], "--workdir");
        assert_eq!(asked["find the program"], "the words of the command line");
        assert_eq!(asked["make all mounts private"], Value::Null, "nobody asked for it");
        for origin in asked.values().filter_map(Value::as_str) {
            let is_flag = origin.starts_with("--") || origin == "the words of the command line";
            assert!(is_flag, "{origin} is a field of the config");
        }
    }
    let page = host.run(&[&["plan", "--format=markdown"], &flags[..], &program].concat());
    let source = format!("| bind `{}` | `/more` | {} |", host.directory().display(), &volume[2..]);
    let source = source.replacen(" volume=", " --volume ", 1);
    for part in ["# The start of this container", &source, "| memory 67108864", "| --memory, --pids-limit |"]
    {
        assert!(page.text().contains(part), "no {part:?} in {page:?}");
    }
    assert!(!page.text().contains("xtask") && !page.text().contains("DIRECTORY"), "{page:?}");
    host.assert_nothing_left();
}

#[test]
fn what_an_image_says_is_asked_for_by_the_image() {
    let Some(registry) = Registry::new() else { return };
    let asked = |flags: &[&str]| -> std::collections::BTreeMap<String, String> {
        let ran = registry.run(&[flags, &["--explain=json", APP]].concat());
        let line = ran.stderr.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{ran:?}"));
        let document: Value = serde_json::from_str(line).expect("JSON");
        let steps = document["steps"].as_array().expect("a list").iter();
        let text = |step: &Value, key: &str| step[key].as_str().unwrap_or_default().to_owned();
        steps.map(|step| (text(step, "name"), text(step, "askedBy"))).collect()
    };
    let steps = [
        "mount an overlay as root",
        "chdir to the working directory",
        "find the program",
        "change user and group",
    ];
    let all = asked(&[]);
    assert_eq!(steps.map(|step| all[step].as_str()), ["the image"; 4]);
    let all = asked(&["--user=7", "--workdir=/", "--entrypoint=/bin/true"]);
    assert_eq!(steps.map(|step| all[step].as_str()), ["the image", "--workdir", "--entrypoint", "--user"]);
    registry.end();
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
    // By a process of its own: what another test has just forked would hold a copy of ours open for writing (ETXTBSY).
    let copied = std::process::Command::new("cp").arg(crate::support::binary()).arg(&program).status();
    assert!(copied.expect("cp runs").success(), "copied to where anybody can read it");
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

/// Reads a document with a parser of the distribution's, and prints what a test wants to know of it: one line for each
/// step, with its number, its words and its tooltip; then what the picture refers to.
const READ_PICTURE: &str = r#"
import sys, xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
space = "{http://www.w3.org/2000/svg}"
assert root.tag == space + "svg", root.tag
names = {element.tag.removeprefix(space) for element in root.iter()}
for group in root.iter(space + "g"):
    words = " ".join("".join(text.itertext()) for text in group.iter(space + "text"))
    assert any(bar.get("class") != "band" for bar in group.iter(space + "rect")), words
    print(group.get("id"), words, group.find(space + "title").text.replace("\n", " | "), sep="\t")
print("elements", " ".join(sorted(names)), sep="\t")
print("refers", [value for element in root.iter() for name, value in element.attrib.items() if "href" in name or "url(" in value], sep="\t")
"#;

/// The lines that [`READ_PICTURE`] prints of the file.
fn read_picture(host: &Host, file: &std::path::Path) -> Vec<Vec<String>> {
    let mut command = host.command("python3");
    command.args(["-c", READ_PICTURE]).arg(file);
    let ran = finish(command.spawn().expect("nsenter runs"), None);
    ran.text().lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

#[test]
fn picture_is_well_formed_stands_by_itself_and_shows_every_step() {
    let Some(host) = Host::new() else { return };
    if !crate::support::has_program("python3") {
        return;
    }
    let (picture, json) = (host.directory().join("start.svg"), host.directory().join("start.json"));
    let flags =
        ["svg", "json"].map(|form| format!("--explain={form}:{}/start.{form}", host.directory().display()));
    // Words that XML would take for its own, and that no terminal should get.
    let words = "/bin/echo <&>\"' \u{1b}[31m";
    let ran = host.run(&[&host.rootfs_flag(), &flags[0], "--hostname=a-b", "--", "/bin/echo", words]);
    assert_eq!((ran.code(), ran.stderr.as_str()), (0, ""), "a file takes it, and nothing else does");
    let ran = host.run(&[&host.rootfs_flag(), &flags[1], "--hostname=a-b", "--", "/bin/echo", words]);
    assert_eq!((ran.code(), ran.stderr.as_str()), (0, ""));
    let text = std::fs::read_to_string(json).expect("written");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let mut lines = read_picture(&host, &picture);
    let refers = lines.pop().expect("a line");
    assert_eq!(refers, ["refers", "[]"], "nothing from elsewhere");
    let elements = lines.pop().expect("a line");
    assert_eq!(elements, ["elements", "g path rect style svg text title tspan"], "no script, no image");
    let steps = document["steps"].as_array().expect("a list");
    assert_eq!(lines.len(), steps.len());
    for step in steps {
        let id = format!("step-{}", step["number"]);
        let line = lines.iter().find(|line| line[0] == id).unwrap_or_else(|| panic!("no {id}"));
        let words = |key: &str| step[key].as_str().unwrap_or_default().to_owned();
        let (name, why) = (words("name"), words("why"));
        // Names with this container's id in them differ from one start to the next.
        let name = name.split(" `/").next().unwrap_or_default();
        assert!(line[1].contains(name) && line[1].contains(&words("side")), "{line:?}");
        assert!(
            line[2].contains(name) && line[2].contains(&why) && line[2].contains("asked for by: "),
            "{line:?}"
        );
        assert!(line[2].contains("took ") && line[2].contains(" ms"), "{line:?}");
    }
    let style = std::fs::read_to_string(&picture).expect("written");
    assert!(style.contains("prefers-color-scheme:dark") && !style.contains("@import"));
    // Without a file it goes where the other forms go.
    let ran = host.run(&[&host.rootfs_flag(), "--explain=svg", "--cmd=/bin/echo out"]);
    assert_eq!(ran.text(), "out");
    assert!(ran.stderr.starts_with("<svg ") && ran.stderr.ends_with("</svg>\n"), "{}", ran.stderr);
}

#[test]
fn start_that_fails_is_explained_up_to_the_step_that_did() {
    let Some(host) = Host::new() else { return };
    let rootfs = host.rootfs_flag();
    let json = |flags: &[&str]| -> (Value, Value) {
        let mut arguments = vec![rootfs.as_str(), "--explain=json"];
        arguments.extend(flags);
        let ran = host.run(&arguments);
        assert!(ran.stderr.starts_with("error: "), "{ran:?}");
        let last = ran.stderr.lines().last().expect("a line");
        let document: Value = serde_json::from_str(last).expect("JSON");
        let mut failed: Vec<Value> = document["steps"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|step| step["failed"] == true)
            .cloned()
            .collect();
        assert_eq!(failed.len(), 1, "{document}");
        (failed.remove(0), document)
    };
    // In the container: the program is looked for, and never executed.
    let (failed, document) = json(&["--cmd=/bin/missing"]);
    assert_eq!(failed["name"], "find the program");
    let names: Vec<&str> = document["steps"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|step| step["name"].as_str())
        .collect();
    assert!(names.contains(&"pivot_root") && !names.contains(&"execute the program"), "{names:?}");
    // On the host: a subnet that another network has.
    host.set_up(
        "ip link add other type bridge && ip addr add 10.77.0.1/24 dev other && ip link set other up",
    );
    let (failed, document) = json(&["-i", "10.77.0.1/16", "--cmd=/bin/true"]);
    assert_eq!((&failed["side"], &failed["name"]), (&"host".into(), &"make the bridge and its rules".into()));
    assert!(document["steps"].as_array().expect("a list").len() < 10);
    host.set_up("ip link del other");
    let ran = host.run(&[&rootfs, "--explain", "--cmd=/bin/missing"]);
    for part in ["until step", "failed: find the program", "clone the init process"] {
        assert!(ran.stderr.contains(part), "no {part:?} in {}", ran.stderr);
    }
    if crate::support::has_program("python3") {
        let file = host.directory().join("failed.svg");
        host.run(&[&rootfs, &format!("--explain=svg:{}", file.display()), "--cmd=/bin/missing"]);
        let lines = read_picture(&host, &file);
        assert!(
            lines
                .iter()
                .any(|line| line.get(1).is_some_and(|words| words.contains("failed: find the program")))
        );
    }
    // What is refused before a step has none to show.
    let ran = host.run(&["--rootfs=/no/such", "--explain=json"]);
    assert!(!ran.stderr.contains("totalNanoseconds"), "{ran:?}");
    host.assert_nothing_left();
}

#[test]
fn form_and_file_of_the_explanation_are_checked_before_the_start() {
    let Some(host) = Host::new() else { return };
    let rootfs = host.rootfs_flag();
    host.run(&[&rootfs, "--explain=svg:/no/such/file.svg", "--cmd=/bin/touch /ran"])
        .refuses(125, &["--explain", "/no/such/file.svg"]);
    for form in ["--explain=png", "--explain=svg:", "--explain="] {
        let ran = host.run(&[&rootfs, form, "--cmd=/bin/touch /ran"]);
        assert_eq!(ran.code(), 125, "{ran:?}");
        assert!(ran.stderr.contains("--explain"), "{ran:?}");
    }
    assert!(!host.rootfs().join("ran").exists());
    host.assert_nothing_left();
}
