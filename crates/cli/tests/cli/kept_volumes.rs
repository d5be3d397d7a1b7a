//! Volumes: made by name or for a container, filled with what the root has there, shared, and gone when nobody needs them.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Stdio;

use crate::images::{APP, Registry};
use crate::support::{Background, Host, Ran, binary, eventually, finish, names};

/// A host with a store, and a root directory that has data of several owners.
struct Place {
    host: Host,
}

impl Place {
    fn new() -> Option<Place> {
        let host = Host::new()?;
        host.set_up(&format!(
            "cd {}; cp -a rootfs image; mkdir -p image/data/deep; echo first >image/data/file; ln image/data/file image/data/same; \
             ln -s file image/data/link; echo secret >image/data/deep/secret; chown 12:34 image/data image/data/deep/secret; \
             chmod 600 image/data/deep/secret; chmod 2750 image/data; touch -d @1000000000 image/data/file",
            host.directory().display()
        ));
        Some(Place { host })
    }

    fn root(&self) -> String {
        root_of(&self.host)
    }

    fn volumes(&self) -> PathBuf {
        self.host.directory().join("store/volumes")
    }

    /// What is in a volume.
    fn data(&self, name: &str) -> PathBuf {
        self.volumes().join(name).join("_data")
    }

    fn verb(&self, words: &[&str]) -> Ran {
        verb(&self.host, words)
    }

    /// A verb of a container on a copy of the root.
    fn on_copy(&self, verb: &str, flags: &[&str]) -> std::process::Command {
        let rootfs = format!("--rootfs={}", self.host.directory().join("image").display());
        let fixed = [verb, &self.root(), "--network=none", "--overlay", &rootfs];
        self.host.rabbitc(&[&fixed[..], flags].concat())
    }

    fn command(&self, flags: &[&str], script: &str) -> std::process::Command {
        self.on_copy("run", &[flags, &["--", "/bin/sh", "-c", script]].concat())
    }

    /// A container on a copy of the root.
    fn run(&self, flags: &[&str], script: &str) -> Ran {
        finish(self.command(flags, script).spawn().expect("nsenter runs"), None)
    }

    /// One that says `up` and waits for the end of its input.
    fn background(&self, flags: &[&str]) -> Background {
        let mut command = self.command(flags, "echo up; cat; exit 0");
        command.stdin(Stdio::piped());
        let mut background = Background::of(command.spawn().expect("nsenter runs"));
        let mut sign = [0; 3];
        background.read_exact(&mut sign);
        assert_eq!(&sign, b"up\n");
        background
    }

    fn end(self) {
        self.host.shell(&format!("cd {}; rm -rf store image", self.host.directory().display()));
        self.host.assert_nothing_left();
    }
}

fn root_of(host: &Host) -> String {
    format!("--root={}", host.directory().join("store").display())
}

/// `rabbitc volume …`, or another verb with the same store.
fn verb(host: &Host, words: &[&str]) -> Ran {
    let mut command = host.command(binary());
    command.args(words).arg(root_of(host));
    let takes_it = ["volume", "system", "rm", "ps", "start", "stop", "restart", "inspect", "wait"];
    if takes_it.contains(&words[0]) && !["create", "ls"].contains(words.get(1).unwrap_or(&"")) {
        command.arg(format!("--runroot={}", host.state().display()));
    }
    finish(command.spawn().expect("nsenter runs"), None)
}

#[test]
fn volumes_are_made_listed_shown_and_removed_as_docker_does() {
    let Some(place) = Place::new() else { return };
    let create = ["volume", "create", "--label", "for=test", "--label=plain", "first"];
    assert_eq!(place.verb(&create).text(), "first");
    assert_eq!(place.verb(&["volume", "create", "first"]).text(), "first", "there is one already");
    let name = place.verb(&["volume", "create"]).text().to_owned();
    assert!(name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    let listed = place.verb(&["volume", "ls"]);
    assert!(listed.text().starts_with("DRIVER   VOLUME NAME\nlocal    "), "{listed:?}");
    for (filter, found) in [
        ("name=irs", "first"),
        ("label=for=test", "first"),
        ("label=plain", "first"),
        ("label!=for", &name),
        ("label=for=other", ""),
        ("anonymous=true", &name),
        ("driver=local", &format!("{}\n{}", name.as_str().min("first"), name.as_str().max("first"))),
        ("dangling=false", ""),
        ("until=1h", ""),
    ] {
        assert_eq!(place.verb(&["volume", "ls", "-q", "--filter", filter]).text(), found, "{filter}");
    }
    place.verb(&["volume", "ls", "--filter=color=red"]).refuses(125, &["--filter", "`color` is not known"]);
    let format = "--format={{.Name}} {{.Label \"for\"}} {{.Driver}} {{.Scope}}";
    assert_eq!(place.verb(&["volume", "ls", "--filter=name=first", format]).text(), "first test local local");
    let json = place.verb(&["volume", "ls", "--filter=name=first", "--format=json"]);
    let json: serde_json::Value = serde_json::from_str(json.text()).expect("JSON");
    assert_eq!(json["Mountpoint"], place.data("first").to_str().expect("text"));
    assert_eq!((&json["Labels"], &json["Links"]), (&"for=test,plain=".into(), &"N/A".into()));

    let shown = place.verb(&["volume", "inspect", "first"]);
    let shown: serde_json::Value = serde_json::from_str(shown.text()).expect("JSON");
    assert_eq!(shown[0]["Labels"], serde_json::json!({"for": "test", "plain": ""}));
    assert_eq!((&shown[0]["Options"], &shown[0]["Scope"]), (&serde_json::Value::Null, &"local".into()));
    assert_eq!(
        place.verb(&["volume", "inspect", "-f", "{{.Mountpoint}}", "first"]).text(),
        json["Mountpoint"]
    );
    let missing = place.verb(&["volume", "inspect", "none"]);
    assert!(missing.code() == 1 && missing.stdout.trim() == "[]", "{missing:?}");
    assert_eq!(place.verb(&["volume", "exists", "first"]).code(), 0);
    assert_eq!(place.verb(&["volume", "exists", "none"]).code(), 1);

    for (flags, parts) in [
        (&["a/b"][..], &["`a/b` is no name of a volume"][..]),
        (&["-d", "nfs", "x"], &["--driver", "`nfs`"]),
        (&["-o", "colour=red", "x"], &["--opt colour"]),
        (&["-o", "type=tmpfs", "x"], &["--opt device", "missing"]),
        (&["--label", "=x", "x"], &["--label"]),
    ] {
        place.verb(&[&["volume", "create"], flags].concat()).refuses(125, parts);
    }
    let differs = place.verb(&["volume", "create", "-o", "device=/tmp", "-o", "o=bind", "first"]);
    assert!(differs.text() == "first" && differs.stderr.contains("with other options"), "{differs:?}");

    place.verb(&["volume", "rm", "none"]).refuses(1, &["`none`", "no such volume"]);
    place.verb(&["volume", "rm", "../store"]).refuses(1, &["no such volume"]);
    assert_eq!(place.verb(&["volume", "rm", "-f", "none", "first"]).text(), "none\nfirst");
    place.verb(&["volume", "prune"]).refuses(125, &["anonymous", "--force"]);
    let pruned = place.verb(&["volume", "prune", "-f"]);
    assert_eq!(pruned.text(), format!("Deleted Volumes:\n{name}\n\nTotal reclaimed space: 0B"));
    assert_eq!(names(&place.volumes()), [""; 0]);
    place.end();
}

#[test]
fn volume_begins_with_what_the_root_has_there_and_keeps_what_containers_write() {
    let Some(place) = Place::new() else { return };
    let look = "cd /data; stat -c '%n %u:%g %a %h' . file link deep/secret; readlink link; cat file deep/secret; \
                stat -c %Y file; exit 0";
    let expected = ". 12:34 2750 3\nfile 0:0 644 2\nlink 0:0 777 1\ndeep/secret 12:34 600 1\nfile\nfirst\nsecret\n1000000000";
    // As what is there without a volume, stat aside.
    let script = look.replace("stat ", "busybox stat ");
    assert_eq!(place.run(&["-v", "one:/data"], &script).text(), expected);
    assert!(
        place.data("one").join("same").exists() && place.data("one").metadata().expect("there").uid() == 12
    );
    assert_eq!(place.run(&["-v", "one:/data"], "echo second >>/data/file; rm /data/link; exit 0").code(), 0);
    let ran = place
        .run(&["--mount=source=one,target=/other,readonly"], "cat /other/file; ls /other; touch /other/x");
    assert_eq!(ran.stdout, "first\nsecond\ndeep\nfile\nsame\n", "what was removed does not come again");
    assert!(ran.code() == 1 && ran.stderr.contains("Read-only"), "{ran:?}");

    // Another place of the root is not mixed with it, and a file is no content.
    assert_eq!(place.run(&["-v", "one:/bin/none"], "ls /bin/none").text(), "deep\nfile\nsame");
    for nothing in [
        "--volume=two:/data:nocopy",
        "--mount=type=volume,src=three,dst=/data,volume-nocopy",
        "--volume=four:/nowhere",
    ] {
        assert_eq!(
            place.run(&[nothing], "ls -A /data /nowhere 2>/dev/null | grep -v :").stdout.trim(),
            match nothing {
                "--volume=four:/nowhere" => "deep\nfile\nlink\nsame",
                _ => "",
            }
        );
    }
    assert_eq!(place.data("four").metadata().expect("there").permissions().mode() & 0o7777, 0o755);
    // One that is still empty is filled when it is asked for.
    assert_eq!(place.run(&["-v", "two:/data/deep"], "cat /data/deep/secret").text(), "secret");
    // The inner one of two covers what the outer one has there.
    let nested = place
        .run(&["-v", "inner:/data/deep", "-v", "outer:/data"], "ls /data /data/deep; echo x >/data/deep/x");
    assert_eq!(nested.text(), "/data:\ndeep\nfile\nlink\nsame\n\n/data/deep:\nsecret");
    assert_eq!(names(&place.data("inner")), ["secret", "x"]);
    assert_eq!(names(&place.data("outer").join("deep")), ["secret"]);
    // A copy of the host's root is no image: nothing of the host comes into a volume.
    let root = place.root();
    let ran = place.host.run(&[
        "run",
        &root,
        "--network=none",
        "-v",
        "plain:/etc/ssl",
        "--",
        "/bin/ls",
        "-A",
        "/etc/ssl",
    ]);
    assert_eq!(ran.text(), "");
    place.end();
}

#[test]
fn volume_of_the_containers_own_goes_with_it_and_one_that_was_named_stays() {
    let Some(registry) = Registry::new() else { return };
    let host = &registry.host;
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    let root = root_of(host);
    let run = |words: &[&str]| host.run(&[&["run", &root, "--network=none", "-u0"], words].concat());
    let volumes = || names(&host.directory().join("store/volumes"));
    let changes = ["-u0", APP, "-c", "echo old >/data/old; exit 0"];
    assert_eq!(run(&changes[1..]).code(), 0);
    let id = registry.rabbitc("ps", &["-aq", "--no-trunc"]).text().to_owned();
    registry.rabbitc("commit", &["--change=VOLUME /data /srv/new", &id, "made:v1"]).text();
    assert_eq!(verb(host, &["rm", &id]).code(), 0);

    // Of the image, and one without a name: three in all.
    let script = "cat /data/old; echo x >/srv/new/x; echo y >/own/y; exit 0";
    assert_eq!(run(&["--rm", "-v", "/own", "made:v1", "-c", script]).text(), "old");
    assert_eq!(volumes(), [""; 0]);
    let ran = run(&["-v", "/own", "-v", "named:/data", "made:v1", "-c", script]);
    assert_eq!(ran.text(), "old", "{ran:?}");
    let id = registry.rabbitc("ps", &["-aq", "--no-trunc"]).text().to_owned();
    assert_eq!(volumes().len(), 3);
    let own = verb(host, &["volume", "ls", "-q", "--filter=anonymous=true"]);
    let first = own.text().lines().next().expect("two").to_owned();
    verb(host, &["volume", "rm", &first]).refuses(1, &[&format!("volume is in use - [{id}]"), "rabbitc rm"]);
    assert_eq!(verb(host, &["volume", "ls", "-q", "--filter=dangling=true"]).text(), "");
    assert_eq!(verb(host, &["volume", "prune", "-fa"]).text(), "Total reclaimed space: 0B");
    let used: serde_json::Value =
        serde_json::from_str(verb(host, &["system", "df", "--format=json"]).text()).expect("JSON");
    let sizes: Vec<u64> = used["Volumes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["Size"].as_u64().expect("a number"))
        .collect();
    assert_eq!((sizes.iter().sum::<u64>(), &used["Volumes"][0]["Links"]), (8, &1.into()));
    assert!(verb(host, &["system", "df", "-v"]).text().contains("\nLocal Volumes   3       3        8B "));
    // Without `-v` they stay, as with docker.
    assert_eq!(verb(host, &["rm", &id]).code(), 0);
    assert_eq!(volumes().len(), 3);
    let pruned = verb(host, &["system", "prune", "-f", "--volumes"]);
    assert!(pruned.text().contains("Deleted Volumes:\n") && pruned.text().contains(&first), "{pruned:?}");
    assert_eq!(volumes(), ["named"]);
    assert_eq!(run(&["-v", "named:/d", "made:v1", "-c", "cat /d/old"]).text(), "old");
    let id = registry.rabbitc("ps", &["-aq", "--no-trunc"]).text().to_owned();
    assert_eq!(volumes().len(), 3, "and the image's two");
    assert_eq!(verb(host, &["rm", "-v", &id]).code(), 0);
    assert_eq!(volumes(), ["named"]);
    assert_eq!(verb(host, &["volume", "rm", "named"]).text(), "named");
    registry.end();
}

#[test]
fn volume_of_a_container_that_runs_is_not_removed_and_others_get_it_from_there() {
    let Some(place) = Place::new() else { return };
    let running = place.background(&["-v", "shared:/data", "-v", "/own", "--tmpfs", "/tmp"]);
    let id = place.host.containers()[0].clone();
    place.verb(&["volume", "rm", "shared"]).refuses(1, &[&format!("volume is in use - [{id}]")]);
    assert_eq!(place.verb(&["volume", "prune", "-fa"]).text(), "Total reclaimed space: 0B");
    let from = |options: &str| format!("--volumes-from={}{options}", &id[..6]);
    let script = "cat /data/file; echo x >/own/x; ls /own; touch /data/x; ls /data | grep x";
    assert_eq!(place.run(&[&from("")], script).text(), "first\nx\nx");
    let ran = place.run(&[&from(":ro"), "-v", "other:/own"], "ls /own; touch /data/y");
    assert!(ran.stdout.is_empty() && ran.stderr.contains("Read-only"), "{ran:?}");
    place.run(&["--volumes-from=none"], "true").refuses(125, &["--volumes-from", "`none`"]);
    place.run(&[&from(":rx")], "true").refuses(125, &["--volumes-from", "`rx`"]);
    // It goes with the last one.
    assert_eq!(names(&place.volumes()).len(), 3);
    assert_eq!(running.release().code(), 0);
    assert_eq!(names(&place.volumes()), ["other", "shared"]);
    place.end();
}

#[test]
fn ids_in_a_volume_are_those_that_containers_see_whatever_they_are_on_the_host() {
    let Some(place) = Place::new() else { return };
    let look = "busybox stat -c %u:%g /data /data/deep/secret /data/new 2>/dev/null; exit 0";
    let flags = ["-v", "ids:/data", "--userns=auto"];
    assert_eq!(place.run(&flags, look).text(), "12:34\n12:34");
    assert_eq!(place.data("ids").metadata().expect("there").uid(), 12, "of no container's own ids");
    let holder = place.background(&["--userns=auto"]);
    assert_eq!(place.run(&flags, "echo x >/data/new; exit 0").code(), 0);
    assert_eq!(
        place.run(&flags, look).text(),
        "12:34\n12:34\n0:34",
        "other ids, and the group of the directory"
    );
    assert_eq!(place.run(&flags[..2], look).text(), "12:34\n12:34\n0:34");
    assert_eq!(holder.release().code(), 0);
    place.end();
}

#[test]
fn directory_of_a_volume_is_shown_alone_and_no_link_in_it_leads_out() {
    let Some(place) = Place::new() else { return };
    assert_eq!(
        place.run(&["-v", "sub:/data"], "ln -s /etc /data/out; ln -s ../../../../.. /data/up; exit 0").code(),
        0
    );
    let mount = |path: &str| format!("--mount=type=volume,source=sub,target=/part,volume-subpath={path}");
    assert_eq!(place.run(&[&mount("deep")], "ls /part; echo x >/part/x").text(), "secret");
    assert_eq!(names(&place.data("sub").join("deep")), ["secret", "x"]);
    for (path, part) in [("out", "symbolic link"), ("up/etc", "symbolic link"), ("none", "no such file")] {
        place.run(&[&mount(path)], "true").refuses(125, &["--mount", part, "in the volume"]);
    }
    place.run(&[&mount("../x")], "true").refuses(125, &["leads out of the volume"]);
    place.end();
}

#[test]
fn volume_can_be_a_directory_of_the_host_or_memory_that_containers_share() {
    let Some(place) = Place::new() else { return };
    let outside = place.host.directory().join("image/data");
    let device = format!("--opt=device={}", outside.display());
    place.verb(&["volume", "create", "--opt=type=none", &device, "--opt=o=bind,ro", "bound"]).text();
    let ran = place.run(&["-v", "bound:/b"], "cat /b/file; touch /b/x");
    assert!(ran.stdout == "first\n" && ran.stderr.contains("Read-only"), "{ran:?}");
    place
        .verb(&[
            "volume",
            "create",
            "--opt=type=tmpfs",
            "--opt=device=tmpfs",
            "--opt=o=size=1m,uid=7",
            "memory",
        ])
        .text();
    let first = place.background(&["-v", "memory:/m"]);
    assert_eq!(place.run(&["-v", "memory:/m"], "echo x >/m/x; busybox stat -c %u /m").text(), "7");
    assert_eq!(place.run(&["-v", "memory:/m"], "cat /m/x; exit 0").text(), "x");
    assert!(place.host.mount_table().contains("/volumes/memory/_data "));
    place.verb(&["volume", "rm", "memory"]).refuses(1, &["volume is in use"]);
    assert_eq!(first.release().code(), 0);
    assert!(!place.host.mount_table().contains("/volumes/memory/_data "), "nobody has it any more");
    assert_eq!(place.run(&["-v", "memory:/m"], "ls /m").text(), "");
    assert_eq!(place.verb(&["volume", "rm", "memory", "bound"]).text(), "memory\nbound");
    assert!(outside.join("file").exists(), "the host's own stays");
    place.end();
}

#[test]
fn start_that_fails_and_commands_that_are_killed_leave_no_volume_half_made() {
    let Some(place) = Place::new() else { return };
    // Refused when the plan is made, and by the program that is not there.
    place.run(&["-v", "new:/data", "--volume=/no/such/thing:/x"], "true").refuses(125, &["/no/such/thing"]);
    let does = |verb: &str, program: &[&str]| {
        let flags = [&["-v", "new:/data", "-v", "/x"][..], program].concat();
        finish(place.on_copy(verb, &flags).spawn().expect("nsenter runs"), None)
    };
    let ran = does("run", &["--", "/none"]);
    assert_eq!(ran.code(), 127, "{ran:?}");
    assert_eq!(names(&place.volumes()), [""; 0]);
    let plan = does("plan", &[]);
    assert!(plan.text().contains("/volumes/new/_data` `/data`"), "{plan:?}");
    assert_eq!(names(&place.volumes()), [""; 0], "a plan touches nothing");

    place.host.set_up(&format!(
        "cd {}/image; mkdir many; for i in $(seq 400); do echo $i >many/$i; done",
        place.host.directory().display()
    ));
    let count = |name: &str| names(&place.data(name)).len();
    for round in 0..12u64 {
        let mut child = place.command(&["-v", "killed:/many"], "true").spawn().expect("nsenter runs");
        std::thread::sleep(std::time::Duration::from_millis(4 * round));
        let _ = child.kill();
        child.wait().expect("it ends");
        eventually("the container has gone", || {
            place.run(&[], "true");
            place.host.containers().is_empty()
        });
        // Whatever there is of it by now, the next one has all.
        assert_eq!(place.run(&["-v", "killed:/many"], "ls /many | wc -l").text(), "400", "after {round}");
        assert_eq!(count("killed"), 400);
        assert_eq!(names(&place.volumes().join("killed")), ["_data", "lock", "volume.json"]);
        assert_eq!(place.verb(&["volume", "rm", "killed"]).text(), "killed");
        place.verb(&["volume", "prune", "-fa"]).text();
    }
    place.end();
}

#[test]
fn containers_that_start_at_once_with_a_new_volume_all_find_it_whole() {
    let Some(place) = Place::new() else { return };
    let script = "ls /data | wc -l; exit 0";
    for _ in 0..3 {
        let commands = (0..8).map(|_| place.command(&["-v", "same:/data", "-v", "/own"], script));
        let children: Vec<_> = commands.map(|mut command| command.spawn().expect("nsenter runs")).collect();
        for child in children {
            assert_eq!(finish(child, None).text(), "4");
        }
        assert_eq!(names(&place.volumes()), ["same"]);
        assert_eq!(place.verb(&["volume", "rm", "same"]).text(), "same");
    }
    place.end();
}

#[test]
fn container_that_lives_on_has_its_volumes_from_when_it_is_made_and_they_are_filled_once() {
    let Some(place) = Place::new() else { return };
    let script = "cat /data/file; rm -r /data/* 2>/dev/null; echo x >/own/x; exit 0";
    let flags = ["--name=lives", "-v", "named:/data", "-v", "/own", "/bin/sh", "-c", script];
    assert_eq!(finish(place.on_copy("create", &flags).spawn().expect("nsenter runs"), None).code(), 0);
    assert_eq!(names(&place.volumes()).len(), 2);
    place.verb(&["volume", "rm", "named"]).refuses(1, &["volume is in use - ["]);
    let format = "--format={{range .Mounts}}{{.Type}} {{.Destination}} {{.Driver}};{{end}}";
    assert_eq!(place.verb(&["inspect", format, "lives"]).text(), "volume /data local;volume /own local;");
    for _ in 0..2 {
        assert_eq!(names(&place.data("named")), [""; 0]);
        assert_eq!(place.verb(&["start", "lives"]).text(), "lives");
        assert_eq!(place.verb(&["wait", "lives"]).text(), "0");
    }
    let logged = verb(&place.host, &["logs", "lives"]);
    assert_eq!(logged.stdout, "first\n", "what it has emptied stays empty: {logged:?}");
    assert_eq!(place.run(&["--volumes-from=lives"], "cat /own/x").text(), "x");
    assert_eq!(place.verb(&["rm", "-v", "lives"]).text(), "lives");
    assert_eq!(names(&place.volumes()), ["named"]);
    place.end();
}

#[test]
fn own_volume_goes_with_a_container_that_lives_on_and_with_one_whose_command_is_killed() {
    let Some(place) = Place::new() else { return };
    assert_eq!(
        place
            .run(&["-d", "--rm", "--name=passing", "-v", "/own", "-v", "named:/n"], "cat /own/x; sleep 100")
            .code(),
        0
    );
    assert_eq!(names(&place.volumes()).len(), 2);
    assert_eq!(place.verb(&["stop", "-t", "0", "passing"]).text(), "passing");
    eventually("it has gone", || names(&place.volumes()) == ["named"]);
    let mut running = place.background(&["--rm", "-v", "/own", "-v", "named:/n"]);
    assert_eq!(names(&place.volumes()).len(), 2);
    running.signal("KILL");
    drop(running);
    eventually("the next command has removed it", || {
        assert_eq!(place.run(&["--rm"], "true").code(), 0);
        names(&place.volumes()) == ["named"]
    });
    place.end();
}

#[test]
fn containers_go_with_a_volume_where_that_is_asked_for() {
    let Some(place) = Place::new() else { return };
    for name in ["one", "two"] {
        let volume = format!("--volume={name}:/n");
        assert_eq!(place.run(&["-d", &format!("--name={name}"), &volume], "sleep 100").code(), 0);
    }
    let by = |filter: &str| place.verb(&["ps", "-a", "--format={{.Names}}", "-f", filter]).text().to_owned();
    assert_eq!(by("volume=one"), "one");
    assert_eq!(by("volume=/n").lines().count(), 2);
    assert_eq!(by("volume=/no"), "");
    assert_eq!(by("network=none").lines().count(), 0, "they have none");
    place.verb(&["volume", "rm", "-f", "one"]).refuses(1, &["volume is in use"]);
    assert_eq!(place.verb(&["volume", "rm", "-f", "-t", "0", "one"]).text(), "one");
    assert_eq!(by("status=running"), "two");
    assert_eq!(place.verb(&["volume", "rm", "-f", "-a", "-t0"]).text(), "two");
    assert_eq!(by("status=running"), "");
    assert_eq!(names(&place.volumes()), [""; 0]);
    place.end();
}

#[test]
fn volume_is_written_out_and_brought_in_elsewhere() {
    let Some(place) = Place::new() else { return };
    let archive = place.host.directory().join("v.tar").display().to_string();
    assert_eq!(place.run(&["-v=one:/data"], "echo new >/data/new").code(), 0);
    let written = place.verb(&["volume", "export", "-o", &archive, "one"]);
    assert_eq!(written.code(), 0, "{written:?}");
    assert_eq!(place.verb(&["volume", "create", "two"]).code(), 0);
    let brought = place.verb(&["volume", "import", "two", &archive]);
    assert_eq!(brought.code(), 0, "{brought:?}");
    let shown = |name: &str| {
        place.host.shell(&format!("cd {}; stat -c '%n %u %g %a' * deep/*", place.data(name).display()))
    };
    assert_eq!(shown("two"), shown("one"), "owners and modes, too");
    assert_eq!(place.verb(&["volume", "mount", "two"]).text(), place.data("two").display().to_string());
    assert_eq!(place.verb(&["volume", "unmount", "two"]).text(), "two");
    place.verb(&["volume", "export", "none"]).refuses(125, &["there is no such volume"]);
    place.verb(&["volume", "import", "two", "/no/such"]).refuses(125, &["/no/such"]);
    assert_eq!(place.verb(&["volume", "create", "-o=type=tmpfs", "-o=device=tmpfs", "memory"]).code(), 0);
    place
        .verb(&["volume", "export", "-o", &archive, "memory"])
        .refuses(125, &["mounted for its containers alone"]);
    place.host.shell(&format!("rm {archive}"));
    place.end();
}

#[test]
fn files_are_copied_into_volumes_and_directories_of_one_that_does_not_run() {
    let Some(place) = Place::new() else { return };
    let shared = place.host.directory().join("shared");
    std::fs::create_dir(&shared).expect("made");
    let flags = ["--name=made", "--volume=outer:/v", "--volume=inner:/v/in"];
    let bind = format!("--volume={}:/v/host", shared.display());
    let fixed = format!("--volume={}:/fixed:ro", shared.display());
    let words = [&flags[..], &[&bind, &fixed, "--", "/bin/cat", "/v/in/word", "/v/host/word"]].concat();
    let made = finish(place.on_copy("create", &words).spawn().expect("nsenter runs"), None);
    assert_eq!(made.code(), 0, "{made:?}");
    let word = place.host.directory().join("word");
    std::fs::write(&word, "said").expect("written");
    let word = word.display().to_string();
    let copy = |from: &str, to: &str| {
        let mut command = place.host.command(binary());
        command.args(["cp", &place.root(), &format!("--runroot={}", place.host.state().display()), from, to]);
        finish(command.spawn().expect("nsenter runs"), None)
    };
    assert_eq!(copy(&word, "made:/v/in").code(), 0);
    assert_eq!(std::fs::read_to_string(place.data("inner").join("word")).expect("it is there"), "said");
    assert_eq!(names(&place.data("outer")), [""; 0], "only the inner one has it");
    assert_eq!(copy(&word, "made:/v/host/").code(), 0);
    assert_eq!(names(&shared), ["word"]);
    copy(&word, "made:/fixed").refuses(1, &["/fixed", "is read-only"]);
    // And out of them: a volume is a directory of its place's name.
    let out = place.host.directory().join("out");
    std::fs::create_dir(&out).expect("made");
    assert_eq!(copy("made:/v/in", &out.display().to_string()).code(), 0);
    assert_eq!(std::fs::read_to_string(out.join("in/word")).expect("it is there"), "said");
    assert_eq!(copy("made:/v/in/.", &out.display().to_string()).code(), 0);
    assert_eq!(std::fs::read_to_string(out.join("word")).expect("it is there"), "said");
    assert_eq!(copy("made:/v/in/none", &out.display().to_string()).code(), 1);
    let started = verb(&place.host, &["start", "-a", "made"]);
    assert_eq!(started.stdout, "saidsaid", "{started:?}");
    assert_eq!(place.verb(&["rm", "made"]).code(), 0);
    place.host.shell(&format!("rm -r {} {} {word}", shared.display(), out.display()));
    place.end();
}
