//! Containers that live on: made, started, stopped, found again.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Host, Ran, binary, eventually, finish, has_program, names};

/// A host with containers of its own.
pub struct Place<'a> {
    host: &'a Host,
    root: String,
    state: String,
}

impl Place<'_> {
    pub fn of(host: &Host) -> Place<'_> {
        Place {
            host,
            root: format!("--root={}", host.directory().join("store").display()),
            state: format!("--runroot={}", host.state().display()),
        }
    }

    pub fn command(&self, verb: &str, arguments: &[&str]) -> std::process::Command {
        let mut command = self.host.command(binary());
        command.args(verb.split(' ')).arg(&self.root).arg(&self.state).args(arguments);
        command
    }

    pub fn verb(&self, verb: &str, arguments: &[&str]) -> Ran {
        finish(self.command(verb, arguments).spawn().expect("nsenter runs"), None)
    }

    /// `run` or `create` of a shell's script, on the host's root directory, without a network.
    pub fn script(&self, verb: &str, flags: &[&str], script: &str) -> Ran {
        let rootfs = self.host.rootfs_flag();
        let fixed = ["--network=none", rootfs.as_str(), "/bin/sh", "-c", script];
        self.verb(verb, &[flags, &fixed].concat())
    }

    /// How a container is, by one of docker's fields.
    pub fn field(&self, name: &str, field: &str) -> String {
        let shown = self.verb("inspect", &["--format", &format!("{{{{{field}}}}}"), name]);
        assert_eq!(shown.code(), 0, "{shown:?}");
        shown.text().to_owned()
    }

    pub fn status(&self, name: &str) -> String {
        self.field(name, ".State.Status")
    }

    pub fn directory(&self, name: &str) -> std::path::PathBuf {
        self.host.directory().join("store/containers").join(self.field(name, ".Id"))
    }

    /// The process behind a container: who has its directory locked.
    pub fn monitor(&self, name: &str) -> String {
        let id = self.field(name, ".Id");
        let lines = self.host.processes();
        let found = lines.iter().find(|line| line.contains("internal-monitor") && line.contains(&id));
        let words = found.unwrap_or_else(|| panic!("somebody stands behind it: {lines:?}"));
        words.split(' ').nth(1).expect("a pid").to_owned()
    }

    /// Nothing is kept, and nothing runs.
    pub fn assert_nothing_left(&self) {
        let removed = self.verb("rm", &["-af"]);
        assert_eq!(removed.code(), 0, "{removed:?}");
        let containers = self.host.directory().join("store/containers");
        let kept: Vec<String> = names(&containers).into_iter().filter(|name| name != ".names").collect();
        let inside: Vec<_> = kept.iter().map(|id| names(&containers.join(id))).collect();
        assert!(kept.is_empty(), "{kept:?}: {inside:?} {removed:?}");
        assert_eq!(names(&containers.join(".names")), [""; 0]);
        self.host.assert_nothing_left();
    }
}

/// A script that runs until it is told to end, and says so.
pub const WAITS: &str = "trap 'echo told; exit 3' TERM; echo up; while :; do sleep 0.1; done";

#[test]
fn container_outlives_its_command_and_is_stopped_started_and_removed() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let made = place.script("run", &["-d", "--name=web"], WAITS);
    assert_eq!((made.code(), made.text().len(), made.stderr.as_str()), (0, 64, ""), "{made:?}");
    assert_eq!((place.status("web"), place.field("web", ".Name")), ("running".into(), "/web".into()));
    assert_eq!(
        place.verb("ps", &["--format", "{{.Names}} {{.ID}}"]).text(),
        format!("web {}", &made.text()[..12])
    );
    eventually("it is up", || place.verb("logs", &["web"]).text() == "up");
    // By its name, its id, and the beginning of that.
    for called in ["web", "/web", made.text(), &made.text()[..7]] {
        assert_eq!(place.field(called, ".Id"), made.text());
    }
    assert_eq!(place.verb("start", &["web"]).text(), "web", "it runs already, and that is fine");
    let refused = place.verb("rm", &["web"]);
    refused.refuses(1, &["container is running", "rabbitc stop web", "--force"]);
    assert_eq!(place.verb("stop", &["web"]).text(), "web");
    assert_eq!((place.status("web"), place.field("web", ".State.ExitCode")), ("exited".into(), "3".into()));
    assert!(place.verb("ps", &["-a"]).text().contains("Exited (3) "));
    assert_eq!(place.verb("stop", &["web"]).code(), 0, "it does not run, and that is fine");
    assert_eq!(place.verb("start", &["web"]).code(), 0);
    eventually("it is up again", || place.verb("logs", &["web"]).text() == "up\ntold\nup");
    assert_eq!(place.verb("restart", &["web"]).code(), 0);
    assert_eq!(place.status("web"), "running");
    assert_eq!(place.verb("rm", &["-f", "web"]).text(), "web");
    place.verb("start", &["web"]).refuses(1, &["web"]);
    place.assert_nothing_left();
}

#[test]
fn container_that_does_not_heed_its_signal_is_killed_when_its_time_is_up() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let deaf = "trap '' TERM; while :; do sleep 0.1; done";
    assert_eq!(place.script("run", &["-d", "--name=deaf"], deaf).code(), 0);
    let start = Instant::now();
    assert_eq!(place.verb("stop", &["-t1", "deaf"]).code(), 0);
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(place.field("deaf", ".State.ExitCode"), "137");
    place.assert_nothing_left();
}

#[test]
fn foreground_container_that_is_kept_has_a_log_and_its_exit_code_and_can_be_started_again() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let ran = place.script("run", &["--name=job"], "echo out; echo err >&2; exit 7");
    assert_eq!((ran.code(), ran.stdout.as_str(), ran.stderr.as_str()), (7, "out\n", "err\n"));
    let logs = place.verb("logs", &["job"]);
    assert_eq!((logs.stdout.as_str(), logs.stderr.as_str()), ("out\n", "err\n"));
    let again = place.verb("start", &["--attach", "job"]);
    assert_eq!((again.code(), again.stdout.as_str()), (7, "out\n"));
    assert_eq!(place.verb("logs", &["--tail=1", "job"]).stderr, "err\n");
    // What is written to it comes, with its end.
    let rootfs = host.rootfs_flag();
    let mut cat = place.command("run", &["-i", "--name=cat", "--network=none", &rootfs, "cat"]);
    let ran = finish(cat.stdin(Stdio::piped()).spawn().expect("nsenter runs"), Some(b"typed\n".to_vec()));
    assert_eq!((ran.code(), ran.stdout.as_str()), (0, "typed\n"), "{ran:?}");
    place.assert_nothing_left();
}

#[test]
fn container_lives_on_without_its_monitor_and_the_next_command_gives_it_another() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let counts = "i=0; while [ $i -lt 30 ]; do echo $i; i=$((i+1)); sleep 0.1; done; exit 9";
    assert_eq!(place.script("run", &["-d", "--name=counts"], counts).code(), 0);
    assert_eq!(place.script("run", &["-d", "--name=timed", "--timeout=4"], WAITS).code(), 0);
    let (first, other) = (place.monitor("counts"), place.monitor("timed"));
    host.shell(&format!("kill -9 {first} {other}"));
    eventually("it is dead", || !std::path::Path::new(&format!("/proc/{first}/status")).exists());
    eventually("so is the other", || !std::path::Path::new(&format!("/proc/{other}/status")).exists());
    assert!(place.verb("ps", &[]).text().contains("Up "));
    assert_ne!(place.monitor("counts"), first);
    let waited = place.verb("wait", &["counts"]);
    // The kernel tells it, where it can.
    assert_eq!(waited.text(), "9", "{waited:?}");
    assert_eq!(place.field("counts", ".State.ExitCode"), "9");
    let expected: Vec<String> = (0..30).map(|number| number.to_string()).collect();
    assert_eq!(place.verb("logs", &["counts"]).text(), expected.join("\n"), "not a line is lost");
    assert_eq!(place.verb("wait", &["timed"]).text(), "137", "its time goes on");
    assert!(
        place.verb("why", &["timed"]).text().contains("--timeout"),
        "{:?}",
        place.verb("why", &["timed"])
    );
    place.assert_nothing_left();
}

#[test]
fn end_that_nobody_saw_is_not_made_up() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    assert_eq!(place.script("run", &["-d", "--name=gone"], WAITS).code(), 0);
    let pid = place.field("gone", ".State.Pid");
    host.shell(&format!("kill -9 {} {pid}", place.monitor("gone")));
    // Whoever looks while it is dying is told by the kernel.
    eventually("it is dead", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
    eventually("it is found out", || place.status("gone") == "exited");
    assert_eq!(place.verb("inspect", &["--format", "{{json .State.ExitCode}}", "gone"]).text(), "null");
    assert!(place.verb("ps", &["-a"]).text().contains("Exited (unknown)"));
    assert_eq!(place.verb("start", &["gone"]).code(), 0);
    assert_eq!(place.status("gone"), "running");
    place.assert_nothing_left();
}

#[test]
fn restart_policy_is_kept_until_somebody_stops_it() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    assert_eq!(
        place.script("run", &["-d", "--name=few", "--restart=on-failure:2"], "echo began; exit 5").code(),
        0
    );
    eventually("it gave up", || place.status("few") == "exited");
    assert_eq!(place.verb("logs", &["few"]).text(), "began\nbegan\nbegan");
    assert_eq!(
        (place.field("few", ".RestartCount"), place.field("few", ".State.ExitCode")),
        ("2".into(), "5".into())
    );
    let done = place.script("run", &["-d", "--name=done", "--restart=on-failure"], "exit 0");
    assert_eq!(done.code(), 0);
    eventually("it is done", || place.status("done") == "exited");
    assert_eq!(place.field("done", ".RestartCount"), "0");
    assert_eq!(place.script("run", &["-d", "--name=ever", "--restart=always"], "echo began").code(), 0);
    eventually("it came back", || place.verb("logs", &["ever"]).text().lines().count() > 1);
    assert_eq!(place.verb("stop", &["ever"]).code(), 0);
    assert_eq!(place.status("ever"), "exited");
    let count = place.verb("logs", &["ever"]).text().lines().count();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(place.verb("logs", &["ever"]).text().lines().count(), count, "it stays as it is");
    place.script("run", &["-d", "--rm", "--restart=always"], "true").refuses(125, &["--restart", "--rm"]);
    place.assert_nothing_left();
}

#[test]
fn name_is_one_containers_until_that_is_gone() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let first = place.script("create", &["--name=one"], "true");
    assert_eq!((first.code(), place.status("one")), (0, "created".into()), "{first:?}");
    place
        .script("create", &["--name=one"], "true")
        .refuses(125, &["\"/one\" is already in use", first.text()]);
    place.script("run", &["--rm", "--name=one"], "true").refuses(125, &["\"/one\" is already in use"]);
    place.script("create", &["--name=-one"], "true").refuses(125, &["--name", "`-one`"]);
    assert_eq!(place.verb("rename", &["one", "two"]).code(), 0);
    assert_eq!(place.field("two", ".Name"), "/two");
    assert_eq!(place.script("create", &["--name=one"], "true").code(), 0, "it is free now");
    place.verb("rename", &["one", "two"]).refuses(125, &["\"/two\" is already in use"]);
    place.verb("rename", &["one", "two/2"]).refuses(125, &["error: rename `one`: `two/2` is no name"]);
    let replaced = place.script("create", &["--name=two", "--replace"], "true");
    assert_ne!(replaced.text(), first.text());
    // Half a removal: whoever died before it gave the name back.
    std::fs::remove_dir_all(place.directory("two")).expect("there");
    assert_eq!(place.script("create", &["--name=two"], "true").code(), 0);
    assert_eq!(place.verb("container exists", &["two"]).code(), 0);
    assert_eq!(place.verb("container exists", &["three"]).code(), 1);
    assert_eq!(place.verb("start", &["-a", "two"]).code(), 0);
    let pruned = place.verb("container prune", &["-f"]);
    assert!(pruned.text().starts_with("Deleted Containers:\n"), "{pruned:?}");
    place.assert_nothing_left();
}

#[test]
fn start_that_fails_tells_why_and_leaves_what_can_be_looked_at() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let rootfs = host.rootfs_flag();
    let bad = place.verb("run", &["-d", "--name=bad", "--network=none", &rootfs, "/no/such"]);
    bad.refuses(127, &["execute `/no/such`", "no such file", "hint:"]);
    assert_eq!(place.status("bad"), "created");
    assert!(place.field("bad", ".State.Error").contains("/no/such"));
    place.verb("start", &["bad"]).refuses(127, &["/no/such"]);
    let gone = place.verb("run", &["--rm", "-d", "--network=none", &rootfs, "/no/such"]);
    assert_eq!(gone.code(), 127);
    assert_eq!(place.verb("ps", &["-aq"]).text().lines().count(), 1, "the other one goes by itself");
    place.assert_nothing_left();
}

#[test]
fn detached_container_keeps_its_address_and_ports_from_others_until_it_ends() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let rootfs = host.rootfs_flag();
    std::fs::write(host.rootfs().join("bin/page"), "served").expect("written");
    let serve = "exec /bin/busybox httpd -f -p 80 -h /bin";
    let flags = ["-d", "--name=server", "-p", "8080:80", "-p", "90", &rootfs, "/bin/sh", "-c", serve];
    let made = place.verb("run", &flags);
    assert_eq!(made.code(), 0, "{made:?}");
    let address = place.field("server", ".NetworkSettings.IPAddress");
    assert_eq!(address, "172.19.0.2");
    let ports = place.verb("inspect", &["--format={{json .NetworkSettings.Ports}}", "server"]);
    let ports: serde_json::Value = serde_json::from_str(ports.text()).expect("JSON");
    assert_eq!(ports["80/tcp"], serde_json::json!([{"HostIp": "0.0.0.0", "HostPort": "8080"}]));
    let chosen = ports["90/tcp"][0]["HostPort"].as_str().and_then(|port| port.parse::<u16>().ok());
    assert!(chosen > Some(0), "nobody named it: {ports}");
    let ask = || {
        host.shell(
            "printf 'GET /page HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 2 127.0.0.1 8080 2>/dev/null | tail -n1",
        )
    };
    eventually("it answers", || ask() == "served");
    let taken = place.verb("run", &["-d", "-p", "8080:80", &rootfs, "true"]);
    taken.refuses(125, &["8080"]);
    let other = host.inside(&[], "ip -o -4 addr show dev eth0");
    assert!(other.text().contains("172.19.0.3"), "{other:?}");
    // Without its monitor all of that holds, and after the next command, too.
    host.shell(&format!("kill -9 {}", place.monitor("server")));
    let other = host.inside(&[], "ip -o -4 addr show dev eth0");
    assert!(other.text().contains("172.19.0.3"), "{other:?}");
    eventually("it still answers", || ask() == "served");
    assert_eq!(place.verb("ps", &["-q"]).text().len(), 12);
    place.verb("run", &["-d", "-p", "8080:80", &rootfs, "true"]).refuses(125, &["8080"]);
    assert_eq!(place.verb("stop", &["-t0", "server"]).code(), 0);
    assert_eq!(ask(), "");
    let next = place.verb(
        "run",
        &["--name=next", "-p", "8080:80", &rootfs, "/bin/sh", "-c", "ip -o -4 addr show dev eth0"],
    );
    assert!(next.code() == 0 && next.text().contains("172.19.0.2"), "{next:?}");
    place.assert_nothing_left();
}

#[test]
fn why_tells_who_ended_a_container_and_what_it_wrote_last() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let says = |name: &str, parts: &[&str]| {
        let said = place.verb("why", &[name]);
        for part in parts {
            assert!(said.code() == 0 && said.stdout.contains(part), "{part:?} in {said:?}");
        }
    };
    assert_eq!(place.script("run", &["--name=own"], "echo first; echo last words >&2; exit 4").code(), 4);
    says("own", &["`own` has ended by itself, with code 4", "stderr | last words", "lasted"]);
    assert_eq!(place.script("run", &["-d", "--name=told"], "sleep 1000").code(), 0);
    says("told", &["`told` runs"]);
    assert_eq!(place.verb("stop", &["-t0", "told"]).code(), 0);
    says("told", &["ended by SIGKILL: `rabbitc stop` of user 0 sent SIGKILL"]);
    assert_eq!(place.script("run", &["-d", "--name=shot"], "sleep 1000").code(), 0);
    host.shell(&format!("kill -9 {}", place.field("shot", ".State.Pid")));
    eventually("it has ended", || place.status("shot") == "exited");
    says("shot", &["ended by SIGKILL, which nobody sent through rabbitc", "dmesg"]);
    assert_eq!(place.script("create", &["--name=new"], "true").code(), 0);
    says("new", &["`new` was never started", "rabbitc start new"]);
    let rootfs = host.rootfs_flag();
    assert_eq!(place.verb("run", &["--name=bad", "--network=none", &rootfs, "/no/such"]).code(), 127);
    says("bad", &["`bad` did not start: execute `/no/such`"]);
    let greedy = [
        "--name=greedy",
        "--memory=16m",
        "--network=none",
        &rootfs,
        "/bin/sh",
        "-c",
        "x=a; while :; do x=$x$x; done",
    ];
    assert_eq!(place.verb("run", &greedy).code(), 137);
    says("greedy", &["ran out of memory", "limit 16.0 MiB", "--memory"]);
    assert_eq!(place.field("greedy", ".State.OOMKilled"), "true");
    let json = place.verb("why", &["--format=json", "own"]);
    let json: serde_json::Value = serde_json::from_str(json.text()).expect("JSON");
    assert_eq!(json["output"][1]["line"], "last words");
    place.assert_nothing_left();
}

#[test]
fn containers_are_started_and_stopped_by_filters_files_and_as_the_last_one() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let file = host.directory().join("id");
    let cidfile = format!("--cidfile={}", file.display());
    assert_eq!(place.script("create", &["--name=ever", "--restart=always"], WAITS).code(), 0);
    assert_eq!(place.script("create", &["--name=once", &cidfile], WAITS).code(), 0);
    place.verb("start", &["--all", "once"]).refuses(125, &["either start all containers or"]);
    place
        .verb("start", &["--filter=restart-policy=some"])
        .refuses(125, &["restart policy", "unless-stopped"]);
    assert_eq!(place.verb("start", &["--filter=restart-policy=on-failure", "ever"]).text(), "");
    let started = place.verb("start", &["--filter=restart-policy=always", "ever", "once"]);
    assert_eq!((started.text(), place.status("once")), ("ever", "created".to_owned()), "{started:?}");
    let id = place.field("once", ".ID");
    assert_eq!(place.verb("start", &["--latest"]).text(), id);
    assert_eq!(place.verb("inspect", &["--latest", "--format={{.Name}}"]).text(), "/once");
    place.verb("stop", &["--cidfile=/no/such/file"]).refuses(125, &["/no/such/file"]);
    assert_eq!(place.verb("stop", &["--ignore", "--cidfile=/no/such/file"]).stdout, "");
    assert_eq!(place.verb("stop", &[&cidfile]).text(), id);
    assert_eq!(place.verb("stop", &["--filter=name=ever"]).code(), 0);
    // One that hears nothing is killed, and that is said.
    assert_eq!(
        place.script("run", &["-d", "--name=deaf"], "trap '' TERM; while :; do sleep 0.1; done").code(),
        0
    );
    let stopped = place.verb("stop", &["-t1", "deaf"]);
    assert!(
        stopped.stderr.contains("failed to stop container deaf in 1 seconds, resorting to SIGKILL"),
        "{stopped:?}"
    );
    place.assert_nothing_left();
}

#[test]
fn end_is_an_end_for_who_waits_also_where_the_container_starts_again() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    assert_eq!(
        place.script("run", &["-d", "--name=ever", "--restart=always"], "sleep 0.3; exit 6").code(),
        0
    );
    assert_eq!(place.verb("wait", &["ever"]).text(), "6");
    place.assert_nothing_left();
}

#[test]
fn lines_of_several_containers_say_whose_they_are() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    for name in ["one", "two"] {
        assert_eq!(place.script("run", &[&format!("--name={name}")], "echo line; echo more").code(), 0);
    }
    let ids = ["one", "two"].map(|name| place.field(name, ".Id")[..12].to_owned());
    let shown = place.verb("logs", &["one", "two"]);
    let [one, two] = &ids;
    assert_eq!(shown.text(), format!("{one} line\n{one} more\n{two} line\n{two} more"));
    assert_eq!(place.verb("logs", &["--names", "one"]).text(), "one line\none more");
    // As `date --iso-8601=ns` writes it, and a moment that is to come.
    assert_eq!(place.verb("logs", &["--since=2020-01-01T00:00:00,5+00:00", "one"]).text(), "line\nmore");
    assert_eq!(place.verb("logs", &["--since", "-1h", "one"]).text(), "");
    // Whoever sees nothing of a container learns what it is called.
    let silent = place.script("run", &["--attach=stdin", "--name=silent"], "echo unseen");
    assert_eq!(silent.text(), place.field("silent", ".Id"));
    place.assert_nothing_left();
}

#[test]
fn field_that_a_container_has_not_is_refused() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    assert_eq!(place.script("create", &["--name=one", "--label=a=b"], "true").code(), 0);
    place
        .verb("inspect", &["--format={{.State.Nope}}", "one"])
        .refuses(125, &["`.Nope` is no field", "Status"]);
    assert_eq!(place.field("one", ".Config.Labels.a"), "b");
    assert!(place.field("one", ".HostConfig.LogConfig.Path").ends_with("/log"));
    assert_eq!(place.field("one", ".HostConfig.LogConfig.Size"), "10.49MB");
    assert_eq!(
        (place.field("one", ".State.ConmonPid"), place.field("one", ".State.StoppedByUser")),
        ("0".into(), "false".into())
    );
    let file = host.directory().join("behind");
    let written = format!("--conmon-pidfile={}", file.display());
    let ran = place.script("run", &["-d", "--name=two", "--stop-timeout=7", &written], WAITS);
    assert_eq!((ran.code(), ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert_eq!(place.field("two", ".State.ConmonPid"), place.monitor("two"));
    assert_eq!(std::fs::read_to_string(&file).expect("written"), place.monitor("two"));
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(place.field("two", ".Config.StopTimeout"), "7");
    assert_eq!(place.verb("stop", &["two"]).code(), 0);
    assert_eq!(place.field("two", ".State.StoppedByUser"), "true");
    place.assert_nothing_left();
}

#[test]
fn output_goes_where_it_is_said_before_the_verb() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let file = host.directory().join("out").display().to_string();
    let rootfs = host.rootfs_flag();
    let run = |flags: &[&str], verb: &str| {
        let fixed = [verb, &place.root, &place.state, "--network=none", &rootfs, "/bin/echo", "said"];
        let mut command = host.command(binary());
        finish(command.args(flags).args(fixed).spawn().expect("nsenter runs"), None)
    };
    assert_eq!(run(&["--noout"], "run").stdout, "");
    assert_eq!(run(&["--out", &file], "run").stdout, "");
    assert_eq!(std::fs::read_to_string(&file).expect("it was written"), "said\n");
    assert_eq!(run(&["--out", &file], "create").stdout, "");
    assert_eq!(std::fs::read_to_string(&file).expect("it was written").trim().len(), 64);
    place.assert_nothing_left();
}

#[test]
fn namespaces_of_a_container_are_joined_by_its_name() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let made = place.script("run", &["-d", "--name=donor"], WAITS);
    let rootfs = host.rootfs_flag();
    for (flag, file, field) in [
        ("--ipc", "ipc", "IpcMode"),
        ("--pid", "pid", "PidMode"),
        ("--network", "net", "NetworkMode"),
        ("--uts", "uts", "UTSMode"),
    ] {
        let own = place.verb("exec", &["donor", "readlink", &format!("/proc/self/ns/{file}")]);
        let joined = format!("{flag}=container:donor");
        let none = if flag == "--network" { &[][..] } else { &["--network=none"][..] };
        let script = format!("readlink /proc/self/ns/{file}");
        let fixed = ["--name=other", &joined, &rootfs, "/bin/sh", "-c", &script];
        let ran = place.verb("run", &[none, &fixed].concat());
        assert_eq!(ran.text(), own.text(), "{flag}: {ran:?}");
        assert_eq!(
            place.field("other", &format!(".HostConfig.{field}")),
            format!("container:{}", made.text())
        );
        assert_eq!(place.verb("rm", &["other"]).code(), 0);
    }
    place.assert_nothing_left();
}

#[test]
fn start_of_a_container_that_has_lost_its_monitor_takes_it_over_and_the_pauses_of_one_that_fails_grow() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    // No other command looks at it before: `start` finds by itself that nobody stands behind one that runs.
    let made = place.script("run", &["-d", "--name=lost"], WAITS);
    let (pid, monitor) = (place.field("lost", ".State.Pid"), place.monitor("lost"));
    let root = place.root.trim_start_matches("--root=").to_owned();
    let state = host.state().display().to_string();
    host.shell(&format!("kill -9 {monitor}"));
    eventually("it is dead", || !std::path::Path::new(&format!("/proc/{monitor}/status")).exists());
    let program = binary().display().to_string();
    host.shell(&format!(
        "{program} internal-start {} {root} {state} </dev/null >/dev/null 2>&1 &",
        made.text()
    ));
    eventually("it has another", || host.processes().iter().any(|line| line.contains("parentage=adopted")));
    assert_eq!(place.field("lost", ".State.Pid"), pid, "it is the same one");
    assert_eq!(place.status("lost"), "running");
    let failing = place.script("run", &["-d", "--name=failing", "--restart=always"], "exit 5");
    assert_eq!(failing.code(), 0, "{failing:?}");
    let count = || place.field("failing", ".RestartCount").parse::<u32>().expect("a number");
    eventually("it has come back", || count() > 2);
    let record = std::fs::read(place.directory("failing").join("container.json")).expect("there");
    let record: serde_json::Value = serde_json::from_slice(&record).expect("JSON");
    assert!(record["short_lives"].as_u64() > Some(2), "each pause is longer than the last: {record}");
    place.assert_nothing_left();
}

#[test]
fn log_in_the_systems_journal_is_read_back() {
    const PROGRAM: &str = "/lib/systemd/systemd-journald";
    if !std::path::Path::new(PROGRAM).exists() || !crate::support::has_program("journalctl") {
        return crate::support::skip("no systemd-journald on this machine");
    }
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    host.set_up("mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/journal /run/log/journal");
    let mut journal = host.command(PROGRAM).spawn().expect("nsenter runs");
    eventually("the journal listens", || host.shell("ls /run/systemd/journal").contains("socket"));
    let flags = ["-d", "--name=told", "--log-driver=journald"];
    assert_eq!(
        place.script("run", &flags, "echo one; sleep 0.1; echo two >&2; sleep 0.1; printf three").code(),
        0
    );
    assert_eq!(place.verb("wait", &["told"]).text(), "0");
    let logs = place.verb("logs", &["told"]);
    assert_eq!((logs.text(), logs.stderr.as_str()), ("one\nthree", "two\n"), "{logs:?}");
    assert_eq!(place.verb("logs", &["--tail=1", "told"]).text(), "three");
    let followed = place.verb("logs", &["-f", "--tail=2", "told"]);
    assert_eq!((followed.text(), followed.stderr.as_str()), ("three", "two\n"), "nobody writes any more");
    assert_eq!(place.verb("logs", &["--since", "-1h", "told"]).text(), "");
    assert_eq!(place.verb("logs", &["--until=1h", "told"]).text(), "");
    let timed = place.verb("logs", &["--timestamps", "--tail=1", "told"]);
    assert!(timed.text().starts_with("20") && timed.text().ends_with("Z three"), "{timed:?}");
    // One that runs is followed until it ends.
    assert_eq!(place.script("run", &["-d", "--name=runs", "--log-driver=journald"], WAITS).code(), 0);
    let following = place.command("logs", &["--follow", "runs"]).spawn().expect("nsenter runs");
    eventually("it is up", || place.verb("logs", &["runs"]).text() == "up");
    assert_eq!(place.verb("stop", &["runs"]).code(), 0);
    assert_eq!(finish(following, None).text(), "up\ntold");
    journal.kill().expect("it runs");
    journal.wait().expect("it ends");
    place.verb("start", &["told"]).refuses(125, &["--log-driver: ", "`/run/systemd/journal/socket`"]);
    host.set_up("umount --lazy /run");
    place.assert_nothing_left();
}

#[test]
fn container_that_joins_one_that_does_not_run_is_made_and_starts_after_it() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let rootfs = host.rootfs_flag();
    assert_eq!(place.script("create", &["--name=donor"], WAITS).code(), 0);
    let words =
        ["--name=guest", "--network=container:donor", &rootfs, "/bin/sh", "-c", "readlink /proc/self/ns/net"];
    assert_eq!(place.verb("create", &words).code(), 0);
    assert_ne!(place.verb("start", &["-a", "guest"]).code(), 0, "nobody is there whom it could join");
    place.verb("create", &["--network=container:nobody", &rootfs]).refuses(125, &["--network"]);
    assert_eq!(place.verb("start", &["donor"]).code(), 0);
    let joined = place.verb("start", &["-a", "guest"]);
    assert_eq!(joined.text(), place.verb("exec", &["donor", "readlink", "/proc/self/ns/net"]).text());
    // Whoever was told to have it for himself shares it with nobody.
    assert_eq!(place.script("run", &["-d", "--name=alone", "--ipc=private"], WAITS).code(), 0);
    let words = ["--network=none", "--ipc=container:alone", &rootfs, "/bin/true"];
    place.verb("run", &words).refuses(125, &["--ipc", "is not allowed: non-shareable IPC"]);
    place.assert_nothing_left();
}

/// Whoever has read the id finds the container after a loss of power, under its name; and a start does not wait for that.
#[test]
fn container_is_on_the_disk_with_its_name_before_its_id_is_told_and_starts_meanwhile() {
    let Some(host) = Host::new() else { return };
    if !has_program("strace") {
        return;
    }
    let place = Place::of(&host);
    let containers = host.directory().join("store/containers");
    for (verb, flags) in [("create", &[][..]), ("run", &["-d"])] {
        let trace = host.directory().join("trace");
        let mut strace = host.command("strace");
        strace.args(["-f", "-y", "-e", "trace=fsync,write", "-o"]).arg(&trace).arg(binary());
        let rootfs = host.rootfs_flag();
        strace.arg(verb).args([&place.root, &place.state]).args(flags);
        // It ends soon, as strace goes with the last of all.
        strace.args(["--name", verb, "--network=none", &rootfs, "/bin/true"]);
        let ran = finish(strace.spawn().expect("nsenter runs"), None);
        let id = ran.text().to_owned();
        let text = std::fs::read_to_string(&trace).expect("traced");
        std::fs::remove_file(&trace).expect("there");
        let told = text
            .lines()
            .position(|line| line.contains("write(1<") && line.contains(&id[..24]))
            .expect("told");
        let before: Vec<&str> = text.lines().take(told).filter(|line| line.contains("fsync(")).collect();
        let directory = containers.join(&id);
        for path in
            [directory.join("container.json"), directory, containers.join(".names"), containers.clone()]
        {
            let synced = format!("<{}>", path.display());
            assert!(before.iter().any(|line| line.contains(&synced)), "{verb}: {synced}: {before:#?}");
        }
        assert_eq!(place.verb("rm", &["-f", verb]).code(), 0);
    }
    place.assert_nothing_left();
}

#[test]
fn container_whose_state_directory_was_cleaned_up_is_signalled_stopped_and_removed() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let waits = "trap 'exit 3' TERM; trap 'echo heard' USR1; while :; do sleep 0.1; done";
    for name in ["stopped", "killed", "removed", "ended", "orphan"] {
        // What an overlay writes needs no record of mount points.
        let flags = ["-d", "--overlay", &format!("--name={name}")];
        assert_eq!(place.script("run", &flags, waits).code(), 0);
    }
    let monitor = place.monitor("orphan");
    let pid = place.field("ended", ".State.Pid");
    let clean_up = || std::fs::remove_dir_all(host.state()).expect("removed");
    clean_up();
    let began = Instant::now();
    assert_eq!(place.verb("stop", &["stopped"]).code(), 0);
    assert_eq!(place.field("stopped", ".State.ExitCode"), "3", "it was asked");
    clean_up();
    assert_eq!(place.verb("kill", &["-s", "USR1", "killed"]).code(), 0);
    eventually("it has heard", || place.verb("logs", &["killed"]).text() == "heard");
    clean_up();
    assert_eq!(place.verb("kill", &["killed"]).code(), 0);
    assert_eq!(place.verb("wait", &["killed"]).text(), "137");
    clean_up();
    let removed = place.verb("rm", &["-f", "-t=0", "removed"]);
    assert_eq!((removed.code(), removed.stderr.as_str()), (0, ""), "{removed:?}");
    clean_up();
    // By itself, and nobody has looked since.
    host.shell(&format!("kill {pid}"));
    assert_eq!(place.verb("wait", &["ended"]).text(), "3");
    clean_up();
    host.shell(&format!("kill -9 {monitor}"));
    eventually("it is dead", || !std::path::Path::new(&format!("/proc/{monitor}/exe")).exists());
    assert_eq!(place.status("orphan"), "running");
    assert_eq!(place.verb("stop", &["orphan"]).code(), 0);
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    place.assert_nothing_left();
}
