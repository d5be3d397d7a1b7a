//! Pods: what containers of one share, how a pod lives and ends, and that nothing is left of it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::life::{Place, WAITS};
use crate::support::{Host, Ran, binary, eventually, has_controller, names, skip};

/// A host, if the program under test can keep namespaces in a container.
fn host() -> Option<Host> {
    let host = Host::new()?;
    let ran = host.run(&[&host.rootfs_flag(), "--network=none", "--init", "/bin/true"]);
    if ran.stderr.contains("linked dynamically") {
        skip("pods take the static program, which `cargo xtask test` has");
        return None;
    }
    Some(host)
}

/// Makes a pod, and answers its id.
fn create(place: &Place<'_>, flags: &[&str]) -> String {
    let made = place.verb("pod create", flags);
    assert_eq!((made.code(), made.text().len(), made.stderr.as_str()), (0, 64, ""), "{made:?}");
    made.text().to_owned()
}

/// One of podman's fields of a pod.
fn field(place: &Place<'_>, pod: &str, field: &str) -> String {
    let shown = place.verb("pod inspect", &["--format", &format!("{{{{{field}}}}}"), pod]);
    assert_eq!(shown.code(), 0, "{shown:?}");
    shown.text().to_owned()
}

/// `run` or `create` of a shell's script in a pod.
fn script(place: &Place<'_>, host: &Host, verb: &str, flags: &[&str], script: &str) -> Ran {
    let rootfs = host.rootfs_flag();
    place.verb(verb, &[flags, &[rootfs.as_str(), "/bin/sh", "-c", script]].concat())
}

/// The groups of a pod, in all hierarchies.
fn groups(id: &str) -> Vec<PathBuf> {
    Host::groups_of(&format!("pod-{id}"))
}

fn assert_nothing_left(place: &Place<'_>, host: &Host) {
    let removed = place.verb("pod rm", &["-af", "-t0"]);
    assert_eq!((removed.code(), removed.stderr.as_str()), (0, ""), "{removed:?}");
    let pods: Vec<String> = names(&host.directory().join("store/pods"));
    assert_eq!(pods, [".root"], "{pods:?}");
    assert_eq!(names(&host.directory().join("store/pods/.root")), [""; 0]);
    place.assert_nothing_left();
}

#[test]
fn containers_of_a_pod_share_its_network_host_name_and_memory_and_nothing_else() {
    let Some(host) = host() else { return };
    let place = Place::of(&host);
    let id = create(&place, &["--name=web", "--hostname=web.example"]);
    assert_eq!(field(&place, "web", ".State"), "Created");
    let serves = "echo hello >/dev/shm/said; while :; do echo answer | nc -l -p 7; done";
    assert_eq!(script(&place, &host, "run", &["-d", "--pod=web", "--name=one"], serves).code(), 0);
    eventually("it serves", || {
        let asked = script(&place, &host, "run", &["--rm", "--pod", &id[..7]], "nc 127.0.0.1 7 </dev/null");
        asked.text() == "answer"
    });
    let looks = "hostname; cat /dev/shm/said; cat /proc/1/comm; ls /sys/class/net";
    let ran = script(&place, &host, "run", &["--rm", "--pod=web"], looks);
    assert_eq!(ran.text(), "web.example\nhello\nsh\neth0\nlo", "{ran:?}");
    let kinds = ["net", "ipc", "uts", "pid", "mnt", "cgroup"];
    let of = |name: &str| {
        let pid = place.field(name, ".State.Pid");
        kinds.map(|kind| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("it runs"))
    };
    assert_eq!(script(&place, &host, "run", &["-d", "--pod=web", "--name=two"], WAITS).code(), 0);
    let same = of("one").into_iter().zip(of("two")).map(|(one, two)| one == two).collect::<Vec<_>>();
    assert_eq!(same, [true, true, true, false, false, false]);
    assert_eq!(field(&place, "web", ".SharedNamespaces"), "[ipc net uts]");
    let shown = place.verb("ps", &["--format={{.NET}} {{.IPC}} {{.UTS}}", "--filter=pod=web"]);
    let numbers: Vec<&str> = shown.text().lines().collect();
    assert!(
        numbers.len() == 3 && numbers.iter().all(|one| *one == numbers[0] && one.len() > 20),
        "{shown:?}"
    );
    let shown = place.verb("ps", &["--ns", "--filter=pod=web"]);
    assert!(
        shown.text().contains(&format!(" {} ", numbers[0].split(' ').next().unwrap_or("?"))),
        "{shown:?}"
    );
    let listed = place.verb("ps", &["--format={{.Names}} {{.Pod}} {{.PodName}}", "--filter=pod=web"]);
    let own = |name: &str| format!("{name} {} web", &id[..12]);
    assert_eq!(listed.text(), [own("two"), own("one"), own(&format!("{}-infra", &id[..12]))].join("\n"));
    assert_nothing_left(&place, &host);
}

#[test]
fn pod_may_share_processes_and_its_view_of_groups_too() {
    let Some(host) = host() else { return };
    let place = Place::of(&host);
    create(&place, &["--name=all", "--share=+pid,cgroup", "--share-parent=false"]);
    assert_eq!(script(&place, &host, "run", &["-d", "--pod=all", "--name=one"], WAITS).code(), 0);
    // What loses its parent is reaped by what keeps the namespaces.
    let looks = "(sleep 0.1 &); sleep 0.5; cat /proc/1/comm; grep -l '^State:.Z' /proc/[0-9]*/status; grep -cs . /proc/[0-9]*/comm | wc -l";
    let ran = script(&place, &host, "run", &["--rm", "--pod=all"], looks);
    let lines: Vec<&str> = ran.text().lines().collect();
    assert_eq!(lines[0], "rabbitc-pod", "{ran:?}");
    assert_eq!(lines.len(), 2, "nobody is a zombie: {ran:?}");
    assert!(lines[1].parse::<u32>().expect("a number") >= 4, "{ran:?}");
    let of = |name: &str| std::fs::read_link(format!("/proc/{}/ns/cgroup", place.field(name, ".State.Pid")));
    let infra = field(&place, "all", ".InfraContainerID");
    assert_eq!(of("one").expect("it runs"), of(&infra).expect("it runs"));
    assert_nothing_left(&place, &host);
}

#[test]
fn published_ports_are_the_pods_and_lead_to_whichever_container_listens() {
    let Some(host) = host() else { return };
    let place = Place::of(&host);
    create(&place, &["--name=web", "-p=47080:80", "--add-host=db:10.0.0.7", "--dns=9.9.9.9"]);
    let serves = "while :; do echo served | nc -l -p 80; done";
    assert_eq!(script(&place, &host, "run", &["-d", "--pod=web", "--name=one"], serves).code(), 0);
    eventually("it answers", || host.shell("busybox nc 127.0.0.1 47080 </dev/null || true") == "served");
    let ports = place.verb("ps", &["--filter=name=one", "--format={{.Ports}}"]);
    assert_eq!(ports.text(), "0.0.0.0:47080->80/tcp");
    let files =
        script(&place, &host, "run", &["--rm", "--pod=web"], "grep db /etc/hosts; cat /etc/resolv.conf");
    assert!(
        files.text().contains("10.0.0.7\tdb") && files.text().contains("nameserver 9.9.9.9"),
        "{files:?}"
    );
    assert_nothing_left(&place, &host);
}

#[test]
fn containers_of_a_pod_find_one_another_and_the_pod_by_their_names() {
    let Some(host) = host() else { return };
    let place = Place::of(&host);
    create(&place, &["--name=web", "--ip=172.19.0.9", "--infra-name=keeps"]);
    for name in ["one", "two"] {
        assert_eq!(script(&place, &host, "run", &["-d", "--pod=web", "--name", name], WAITS).code(), 0);
    }
    let names = |name: &str| {
        let hosts = place.verb("exec", &[name, "cat", "/etc/hosts"]);
        let own = |line: &&str| ["web", "one", "two", "three"].iter().any(|word| line.contains(word));
        hosts.text().lines().filter(own).map(str::to_owned).collect::<Vec<_>>()
    };
    // That one was there before the other one is told to it.
    let both = ["172.19.0.9\tweb keeps", "127.0.1.1\tweb", "127.0.0.1\tone", "127.0.0.1\ttwo"];
    assert_eq!(
        (names("one"), names("two")),
        (both.map(str::to_owned).into(), both.map(str::to_owned).into())
    );
    let ran = script(&place, &host, "run", &["--rm", "--pod=web", "--name=three"], "cat /etc/hosts");
    assert!(ran.text().ends_with("127.0.0.1\tone\n127.0.0.1\ttwo\n127.0.0.1\tthree"), "{ran:?}");
    // Who has ended is named until the others start again.
    assert_eq!(names("one").len(), 5);
    assert_eq!(place.verb("restart", &["-t0", "one"]).code(), 0);
    assert_eq!(names("one"), both);
    // Without a network in common they are not at one another's loopback.
    create(&place, &["--name=apart", "--share=ipc"]);
    let ran = script(&place, &host, "run", &["--rm", "--pod=apart", "--name=four"], "cat /etc/hosts");
    assert!(!ran.text().contains("four") && ran.code() == 0, "{ran:?}");
    assert_nothing_left(&place, &host);
}

#[test]
fn address_stays_where_the_pod_is_stopped_and_started_and_restarted() {
    let Some(host) = host() else { return };
    let place = Place::of(&host);
    create(&place, &["--name=web", "--ip=172.19.0.9"]);
    assert_eq!(script(&place, &host, "run", &["-d", "--pod=web", "--name=one"], WAITS).code(), 0);
    let address = || {
        let infra = field(&place, "web", ".InfraContainerID");
        place.field(&infra, ".NetworkSettings.IPAddress")
    };
    let states = || (field(&place, "web", ".State"), place.status("one"));
    assert_eq!((address(), states()), ("172.19.0.9".into(), ("Running".into(), "running".into())));
    assert_eq!(place.verb("pod stop", &["web"]).text(), "web");
    assert_eq!(states(), ("Exited".into(), "exited".into()));
    assert_eq!(place.verb("pod start", &["web"]).text(), "web");
    assert_eq!((address(), states()), ("172.19.0.9".into(), ("Running".into(), "running".into())));
    assert_eq!(place.verb("pod restart", &["web"]).code(), 0);
    assert_eq!((address(), states()), ("172.19.0.9".into(), ("Running".into(), "running".into())));
    assert_nothing_left(&place, &host);
}

#[test]
fn state_of_a_pod_follows_its_containers() {
    let Some(host) = host() else { return };
    let place = Place::of(&host);
    create(&place, &["--name=web"]);
    let state = || field(&place, "web", ".State");
    assert_eq!(script(&place, &host, "create", &["--pod=web", "--name=one"], WAITS).code(), 0);
    assert_eq!(state(), "Created");
    // A container brings what it shares.
    assert_eq!(place.verb("start", &["one"]).code(), 0);
    assert_eq!(state(), "Running");
    assert_eq!(place.verb("stop", &["one"]).code(), 0);
    assert_eq!(state(), "Degraded");
    assert_eq!(place.verb("pod start", &["web"]).code(), 0);
    assert_eq!(place.verb("pod pause", &["web"]).code(), 0);
    assert_eq!((state(), place.status("one")), ("Paused".into(), "paused".into()));
    assert_eq!(place.verb("pod unpause", &["web"]).code(), 0);
    assert_eq!(state(), "Running");
    assert_eq!(place.verb("pod kill", &["web"]).code(), 0);
    eventually("all have ended", || state() == "Exited");
    let listed =
        place.verb("pod ps", &["--filter=status=exited", "--format={{.Name}} {{.NumberOfContainers}}"]);
    assert_eq!(listed.text(), "web 2");
    let json: serde_json::Value =
        serde_json::from_str(&place.verb("pod ps", &["--format=json"]).stdout).expect("JSON");
    assert_eq!((&json[0]["Name"], &json[0]["Containers"][1]["Names"]), (&"web".into(), &"one".into()));
    let pruned = place.verb("pod prune", &["-f"]);
    assert_eq!((pruned.code(), pruned.text().len()), (0, 64));
    assert_eq!(place.verb("pod exists", &["web"]).code(), 1);
    assert_nothing_left(&place, &host);
}

#[test]
fn exit_policy_stops_the_pod_with_its_last_container() {
    let Some(host) = host() else { return };
    let place = Place::of(&host);
    create(&place, &["--name=ends", "--exit-policy=stop"]);
    assert_eq!(script(&place, &host, "run", &["-d", "--pod=ends", "--name=one"], WAITS).code(), 0);
    assert_eq!(script(&place, &host, "run", &["--rm", "--pod=ends"], "exit 3").code(), 3);
    assert_eq!(field(&place, "ends", ".State"), "Running", "one of them goes on");
    assert_eq!(place.verb("stop", &["one"]).code(), 0);
    assert_eq!(field(&place, "ends", ".State"), "Exited");
    create(&place, &["--name=goes-on"]);
    assert_eq!(script(&place, &host, "run", &["--pod=goes-on"], "exit 0").code(), 0);
    assert_eq!(field(&place, "goes-on", ".State"), "Degraded");
    assert_nothing_left(&place, &host);
}

#[test]
fn group_of_a_pod_keeps_its_limits_and_goes_with_the_last_container() {
    let Some(host) = host() else { return };
    if !has_controller("pids", "pids") {
        return skip("this host has no cgroup controller `pids`");
    }
    let place = Place::of(&host);
    for infra in ["--infra=true", "--infra=false"] {
        let id = create(&place, &["--name=web", "--pids-limit=40", infra]);
        assert_eq!(groups(&id), [""; 0].map(PathBuf::from));
        assert_eq!(script(&place, &host, "run", &["-d", "--pod=web", "--name=one"], WAITS).code(), 0);
        let limit = || {
            let files = groups(&id).into_iter().map(|group| group.join("pids.max"));
            files.filter_map(|file| std::fs::read_to_string(file).ok()).next().unwrap_or_default()
        };
        assert_eq!(limit(), "40\n");
        let own = place.field("one", ".Id");
        assert!(
            Host::groups_of(&own)
                .iter()
                .all(|group| group.parent().is_some_and(|it| groups(&id).contains(&it.into())))
        );
        assert_eq!(place.verb("pod stop", &["-t0", "web"]).code(), 0);
        assert_eq!(groups(&id), [""; 0].map(PathBuf::from), "nobody is in it");
        assert_eq!(place.verb("pod start", &["web"]).code(), 0);
        assert_eq!(limit(), "40\n");
        assert_eq!(place.verb("pod rm", &["-f", "-t0", "web"]).text(), id);
        assert_eq!(groups(&id), [""; 0].map(PathBuf::from));
    }
    place.assert_nothing_left();
}

#[test]
fn what_is_the_pods_is_refused_of_its_containers_with_a_hint() {
    let Some(host) = host() else { return };
    let place = Place::of(&host);
    create(&place, &["--name=web"]);
    for (flag, part) in [
        ("-p=80:80", "--publish"),
        ("--network=host", "--network"),
        ("--hostname=other", "cannot set hostname when joining the pod UTS namespace"),
        ("--dns=9.9.9.9", "--dns"),
        ("--add-host=db:10.0.0.7", "--add-host"),
        ("--cgroup-parent=/other", "--cgroup-parent"),
    ] {
        let refused = script(&place, &host, "run", &["--pod=web", flag], "true");
        refused.refuses(125, &[part, "rabbitc pod create"]);
    }
    script(&place, &host, "run", &["--pod=nosuch"], "true").refuses(125, &["no such pod", "rabbitc pod ps"]);
    place.verb("pod create", &["--name=web"]).refuses(125, &["in use by pod", "rabbitc pod rm web"]);
    script(&place, &host, "create", &["--name=web"], "true").refuses(125, &["in use by pod"]);
    place.verb("pod create", &["--share=bogus"]).refuses(125, &["invalid kernel namespace to share: bogus"]);
    place.verb("pod create", &["--infra=false", "-p=80:80"]).refuses(125, &["--publish", "infra container"]);
    place.verb("pod rm", &["nosuch"]).refuses(1, &["no such pod"]);
    // What keeps the namespaces goes with its pod alone.
    let infra = field(&place, "web", ".InfraContainerID");
    for flags in [&[infra.as_str()][..], &["-f", infra.as_str()]] {
        place
            .verb("rm", flags)
            .refuses(125, &["cannot be removed without removing the pod", "rabbitc pod rm web"]);
    }
    assert_eq!(place.verb("rm", &["-af"]).code(), 0);
    assert_eq!(field(&place, "web", ".NumContainers"), "1");
    assert_eq!(place.verb("rm", &["-f", "--depend", &infra]).text(), infra);
    assert_eq!(place.verb("pod exists", &["web"]).code(), 1);
    place.assert_nothing_left();
}

#[test]
fn container_may_bring_a_pod_of_its_own() {
    let Some(host) = host() else { return };
    let place = Place::of(&host);
    let ran = script(&place, &host, "run", &["--rm", "--pod=new:fresh"], "hostname");
    assert_eq!((ran.code(), ran.text()), (0, "fresh"), "{ran:?}");
    let ran = script(&place, &host, "run", &["--rm", "--pod=new:named", "--hostname=other"], "hostname");
    assert_eq!((ran.code(), ran.text()), (0, "other"), "{ran:?}");
    // Of one that can't be made nothing stays.
    let refused = script(&place, &host, "create", &["--pod=new:gone", "--name=fresh"], "true");
    refused.refuses(125, &["in use by pod"]);
    assert_eq!(place.verb("pod exists", &["gone"]).code(), 1);
    let file = host.directory().join("pod-id");
    let file = file.to_str().expect("text");
    let id = create(&place, &["--replace", "--name=named", "--pod-id-file", file]);
    assert_eq!(std::fs::read_to_string(file).expect("written"), id);
    let ran = script(&place, &host, "run", &["--rm", "--pod-id-file", file], "hostname");
    assert_eq!(ran.text(), "named", "{ran:?}");
    assert_eq!(place.verb("pod rm", &["-f", "--pod-id-file", file]).text(), id);
    assert!(!std::path::Path::new(file).exists(), "it named nobody any more");
    assert_nothing_left(&place, &host);
}

#[test]
fn processes_logs_and_use_of_a_pod_are_those_of_its_containers() {
    let Some(host) = host() else { return };
    let place = Place::of(&host);
    create(&place, &["--name=web", "--label=tier=front"]);
    for name in ["one", "two"] {
        let says = format!("echo said by {name}; {WAITS}");
        assert_eq!(script(&place, &host, "run", &["-d", "--pod=web", "--name", name], &says).code(), 0);
    }
    eventually("both have written", || {
        let logs = place.verb("pod logs", &["--names", "web"]);
        logs.text() == "one said by one\none up\ntwo said by two\ntwo up"
    });
    let logs = place.verb("pod logs", &["-c=two", "--tail=1", "web"]);
    assert_eq!(logs.text(), format!("{} up", &place.field("two", ".Id")[..12]));
    let top = place.verb("pod top", &["web", "pid", "comm"]);
    let count = |word: &str| top.text().lines().filter(|line| line.ends_with(word)).count();
    assert_eq!((count("rabbitc-pod"), count("sh")), (1, 2), "{top:?}");
    let stats = place.verb("pod stats", &["--no-stream", "--format={{.Name}}", "web"]);
    assert_eq!(stats.text().lines().count(), 3, "{stats:?}");
    for (filter, count) in [
        ("label=tier=front", 1),
        ("label=tier=back", 0),
        ("name=^we", 1),
        ("ctr-names=two", 1),
        ("ctr-number=3", 1),
        ("status=degraded", 0),
    ] {
        let listed = place.verb("pod ps", &["-q", "--filter", filter]);
        assert_eq!(listed.text().lines().count(), count, "{filter} {listed:?}");
    }
    assert_nothing_left(&place, &host);
}

#[test]
fn life_of_a_pod_is_told_in_podmans_words() {
    let Some(host) = host() else { return };
    let place = Place::of(&host);
    let past = |flags: &[&str]| {
        let ran = place.verb("events", &[&["--since=1h", "--stream=false"][..], flags].concat());
        assert_eq!((ran.code(), ran.stderr.as_str()), (0, ""), "{ran:?}");
        ran.text().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let id = create(&place, &["--name=web", "--label=tier=front"]);
    // One that nobody gets is told by nobody.
    place.verb("pod create", &["--name=web"]).refuses(125, &["in use by pod"]);
    assert_eq!(script(&place, &host, "create", &["--pod=web", "--name=one"], WAITS).code(), 0);
    for verb in ["start", "pause", "unpause", "restart", "kill"] {
        assert_eq!(place.verb(&format!("pod {verb}"), &["web"]).code(), 0, "{verb}");
    }
    eventually("all have ended", || field(&place, "web", ".State") == "Exited");
    assert_eq!(place.verb("pod rm", &["web"]).code(), 0);
    let words = ["create", "start", "pause", "unpause", "stop", "start", "kill", "remove"];
    assert_eq!(past(&["--filter=type=pod", "--format={{.Action}}"]), words);
    assert_eq!(
        past(&["--filter=pod=web", "--filter=event=remove"])[0].split_once(' ').map(|(_, what)| what),
        Some(format!("pod remove {id} (name=web, tier=front)").as_str())
    );
    // Of its containers it is told whose they are.
    let own = past(&["--filter=container=one", "--filter=label=podId", "--format={{.Status}} {{.PodID}}"]);
    assert_eq!((own.first(), own.last()), (Some(&format!("create {id}")), Some(&format!("destroy {id}"))));
    // The last container of one with this policy stops it.
    create(&place, &["--name=ends", "--exit-policy=stop"]);
    assert_eq!(script(&place, &host, "run", &["--pod=ends"], "exit 0").code(), 0);
    eventually("it is told", || past(&["--filter=pod=ends", "--format={{.Action}}"]) == ["create", "stop"]);
    assert_nothing_left(&place, &host);
}

#[test]
fn pod_is_whole_or_gone_whenever_a_command_is_killed() {
    let Some(host) = host() else { return };
    let place = Place::of(&host);
    let rootfs = host.rootfs_flag();
    let (mut made, mut removed) = (0, 0);
    let begun = Instant::now();
    create(&place, &["--name=web"]);
    let (making, begun) = (begun.elapsed(), Instant::now());
    assert_eq!(place.verb("pod rm", &["-f", "-t0", "web"]).code(), 0);
    let removing = begun.elapsed();
    for step in 0..24u32 {
        // Somewhere on its way.
        let kill_after = |mut command: std::process::Command, after: Duration| {
            let mut child = command.spawn().expect("nsenter runs");
            std::thread::sleep(after);
            let _ = child.kill();
            // And whoever it has started.
            let pid = host.shell(&format!(
                "pgrep -f '^{}.*{}' || true",
                binary().display(),
                host.directory().display()
            ));
            for pid in pid.lines() {
                host.shell(&format!("kill -9 {pid} 2>/dev/null || true"));
            }
            child.wait().expect("it has ended");
        };
        kill_after(place.command("pod create", &["--name=web"]), making * step / 20);
        let exists = place.verb("pod exists", &["web"]).code() == 0;
        made += u32::from(exists);
        // Its name is free, or it is there and of use.
        if !exists {
            create(&place, &["--name=web"]);
        }
        let ran = place.verb("run", &["-d", "--pod=web", "--name=one", &rootfs, "/bin/sleep", "100"]);
        assert_eq!(ran.code(), 0, "{ran:?}");
        kill_after(place.command("pod rm", &["-f", "-t0", "web"]), removing * step / 12);
        removed += u32::from(place.verb("pod exists", &["web"]).code() == 1);
        let gone = place.verb("pod rm", &["-f", "-t0", "web"]);
        assert_eq!((gone.code(), gone.stderr.as_str()), (0, ""), "{gone:?}");
        assert_eq!(place.verb("ps", &["-aq"]).text(), "", "step {step}");
    }
    assert!(made < 24 && removed < 24, "none was killed on its way: {made} made, {removed} removed");
    assert_nothing_left(&place, &host);
}

#[test]
fn removed_pod_ends_what_runs_in_it_and_a_killed_monitor_is_no_loss() {
    let Some(host) = host() else { return };
    let place = Place::of(&host);
    create(&place, &["--name=web", "-p=47081:81"]);
    assert_eq!(
        script(&place, &host, "run", &["-d", "--pod=web", "--name=one", "--restart=always"], WAITS).code(),
        0
    );
    let behind: Vec<String> =
        host.processes().into_iter().filter(|line| line.contains("internal-monitor")).collect();
    assert_eq!(behind.len(), 2, "{behind:?}");
    for line in &behind {
        host.shell(&format!("kill -9 {}", line.split(' ').nth(1).expect("a pid")));
    }
    assert_eq!(field(&place, "web", ".State"), "Running", "the next command stands behind both");
    let refused = place.verb("pod rm", &["web"]);
    refused.refuses(125, &["not all containers could be removed", "as it is running", "--force"]);
    let start = Instant::now();
    assert_eq!(place.verb("pod rm", &["-f", "-t0", "web"]).code(), 0);
    assert!(start.elapsed() < Duration::from_secs(8), "nobody is waited for");
    assert_nothing_left(&place, &host);
}
