//! Containers of images that are kept: what they changed, listed, written out, and removed.

use std::process::Stdio;

use crate::images::{APP, Registry};
use crate::support::{Background, Host, Ran, binary, finish, has_program};

/// A host with a store of its own.
pub(crate) struct Place<'a> {
    host: &'a Host,
    root: String,
}

impl Place<'_> {
    pub(crate) fn of(host: &Host) -> Place<'_> {
        Place { host, root: format!("--root={}", host.directory().join("store").display()) }
    }

    pub(crate) fn verb(&self, verb: &str, arguments: &[&str]) -> Ran {
        let mut command = self.host.command(binary());
        command.arg(verb).arg(&self.root).args(arguments);
        if ["ps", "rm"].contains(&verb) {
            command.arg(format!("--state-dir={}", self.host.state().display()));
        }
        finish(command.spawn().expect("nsenter runs"), None)
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.host.run(&[&["run", &self.root, "--network=none"], arguments].concat())
    }

    /// The id of the only one.
    pub(crate) fn id(&self) -> String {
        let listed = self.verb("ps", &["-aq", "--no-trunc"]);
        assert_eq!(listed.text().lines().count(), 1, "{listed:?}");
        listed.text().to_owned()
    }

    pub(crate) fn is_empty(&self) {
        let containers = self.host.directory().join("store/containers");
        let kept = crate::support::names(&containers).into_iter().filter(|name| name != ".names");
        assert_eq!(kept.collect::<Vec<_>>(), [""; 0]);
    }
}

#[test]
fn files_are_copied_into_a_container_before_its_first_start() {
    let Some(registry) = Registry::new() else { return };
    let place = Place::of(&registry.host);
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    let directory = registry.host.directory();
    std::fs::write(directory.join("word"), "before").expect("written");
    let (from, back) =
        (directory.join("word").display().to_string(), directory.join("back").display().to_string());
    let script = "cat /word; ls -ld /";
    assert_eq!(place.verb("create", &["--network=none", "-u0", "--name=made", APP, "-c", script]).code(), 0);
    assert_eq!(place.verb("cp", &["made:/etc/name", &back]).code(), 0, "nothing has run yet");
    assert_eq!(place.verb("cp", &[&from, "made:/"]).code(), 0);
    let started = place.verb("start", &["--attach", "made"]);
    assert!(started.stdout.starts_with("beforedrwxr-xr-x"), "{started:?}");
    // And after it.
    assert_eq!(place.verb("cp", &["made:/word", &back]).code(), 0);
    assert_eq!(std::fs::read_to_string(&back).expect("it is there"), "before");
    assert_eq!(place.verb("rm", &["made"]).code(), 0);
}

#[test]
fn image_goes_with_its_last_container_where_that_is_asked_for() {
    let Some(registry) = Registry::new() else { return };
    let place = Place::of(&registry.host);
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    assert_eq!(place.run(&["--name=other", APP, "-c", "true"]).code(), 0);
    place.run(&["--rmi", "-d", APP]).refuses(125, &["--rmi", "--detach"]);
    place.run(&["--rmi", "--rm=false", APP]).refuses(125, &["--rmi", "its container stays"]);
    let kept = place.run(&["--rmi", APP, "-c", "exit 3"]);
    assert_eq!(kept.code(), 3, "{kept:?}");
    assert!(kept.stderr.contains("the image stays"), "{kept:?}");
    assert_eq!(place.verb("rm", &["other"]).code(), 0);
    let gone = place.run(&["--rmi", APP, "-c", "exit 3"]);
    assert_eq!((gone.code(), gone.stderr.as_str()), (3, ""), "{gone:?}");
    assert_eq!(place.verb("ps", &["-aq"]).text(), "");
    assert_eq!(place.verb("images", &["-q"]).text(), "");
    // Brought from an archive by the run itself.
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    let archive = registry.host.directory().join("app.tar").display().to_string();
    assert_eq!(place.verb("save", &["-o", &archive, APP]).code(), 0);
    assert_eq!(place.verb("rmi", &["-a"]).code(), 0);
    let brought = place.run(&["--rm", &format!("docker-archive:{archive}"), "-c", "exit 5"]);
    assert_eq!(brought.code(), 5, "{brought:?}");
    assert_eq!(place.verb("rmi", &["-af"]).code(), 0);
    // All at once.
    assert_eq!(place.verb("rmi", &["--all"]).stdout, "", "there are none");
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    place.verb("rmi", &["--all", APP]).refuses(125, &["all images and some of them"]);
    assert!(place.verb("rmi", &["--all"]).text().contains("Deleted: "));
    assert_eq!(place.verb("rmi", &["--ignore", APP]).code(), 0);
}

#[test]
fn container_of_an_image_starts_again_with_what_it_changed() {
    let Some(registry) = Registry::new() else { return };
    let place = Place::of(&registry.host);
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    let script = "if [ -e /began ]; then ls -ld /; exit 4; fi; echo >/began; chmod 711 /; exit 3";
    assert_eq!(place.run(&["-u0", "--name=again", APP, "-c", script]).code(), 3);
    for _ in 0..2 {
        let again = place.verb("start", &["--attach", "again"]);
        assert_eq!(again.code(), 4, "{again:?}");
        assert!(again.stdout.starts_with("drwx--x--x"), "{again:?}");
    }
    assert_eq!(place.verb("rm", &["again"]).code(), 0);
}

#[test]
fn container_of_an_image_stays_with_what_it_changed_until_it_is_removed() {
    let Some(registry) = Registry::new() else { return };
    let place = Place::of(&registry.host);
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    let script = "echo new >/new; echo c >/etc/name; rm /data/gone 2>/dev/null; rm /bin/seq; mkdir -p /d/e; \
                  rm -r /data; mkdir /data; echo x >/data/x; ln /new /linked; exit 3";
    assert_eq!(place.run(&["-u0", APP, "-c", script]).code(), 3);
    let id = place.id();
    let listed = place.verb("ps", &["-a"]);
    assert!(listed.text().contains("Exited (3) ") && listed.text().contains(APP), "{listed:?}");
    assert_eq!(place.verb("ps", &["-q"]).text(), "", "none runs");
    let used = registry.host.shell(&format!("{} system df --format=json {}", binary().display(), place.root));
    let used: serde_json::Value = serde_json::from_str(&used).expect("JSON");
    assert_eq!(
        (&used["Images"][0]["InUse"], &used["Reclaimable"]),
        (&true.into(), &0.into()),
        "it has ended"
    );
    let containers = &used["Containers"];
    assert_eq!((&containers["Total"], &containers["Active"]), (&1.into(), &0.into()));
    // Two files of a few bytes, and one more by two names.
    assert_eq!((&containers["Size"], &containers["Reclaimable"]), (&8.into(), &8.into()));
    let expected =
        "C /bin\nD /bin/seq\nA /d\nA /d/e\nC /data\nA /data/x\nC /etc\nC /etc/name\nA /linked\nA /new";
    assert_eq!(place.verb("diff", &[&id]).text(), expected, "and nothing of the mount points");
    let json: serde_json::Value =
        serde_json::from_str(place.verb("diff", &["--format=json", &id[..5]]).text()).expect("JSON");
    assert_eq!(json["deleted"], serde_json::json!(["/bin/seq"]));

    let archive = registry.host.directory().join("export.tar");
    let to_file = place.verb("export", &["-o", archive.to_str().expect("text"), &id]);
    assert_eq!(to_file.code(), 0, "{to_file:?}");
    let shown =
        registry.host.shell(&format!("tar -tvf {0}; tar -xOf {0} etc/name data/x", archive.display()));
    for part in ["new link to linked", "-rwsr-xr-x", "bin/busybox", "\nx\nc"] {
        assert!(shown.contains(part), "{part:?} in {shown}");
    }
    assert!(!shown.contains("bin/seq") && !shown.contains("hidden"), "{shown}");
    std::fs::remove_file(archive).expect("there");
    place.verb("export", &["-o", "/no/such/directory/file", &id]).refuses(125, &["/no/such/directory/file"]);
    // Whoever mistypes the id loses neither a file nor a device, and waits for no reader of a pipe.
    let directory = registry.host.directory().display().to_string();
    registry.host.shell(&format!("cd {directory}; echo old >backup.tar; mknod null c 1 3; mkfifo pipe"));
    for name in ["backup.tar", "null", "pipe"] {
        let wrong = place.verb("export", &["-o", &format!("{directory}/{name}"), "typo"]);
        wrong.refuses(125, &["find the container `typo`"]);
    }
    assert_eq!(place.verb("export", &["-o", &format!("{directory}/null"), &id]).code(), 0);
    let left = registry.host.shell(&format!(
        "cd {directory}; cat backup.tar; stat -c %F null pipe; ls -A | grep backup; rm backup.tar null pipe"
    ));
    assert_eq!(left, "old\ncharacter special file\nfifo\nbackup.tar");

    // Its image and a layer more: as if it had been built so.
    let flags = ["-m", "a note", "-a", "me", "--change", "CMD [\"-c\", \"cat /new /linked /data/x\"]"];
    let made = place.verb("commit", &[&flags[..], &[&id[..8], "made:v1"]].concat());
    assert!(made.text().starts_with("sha256:"), "{made:?}");
    assert_eq!(place.run(&["--rm", "made:v1"]).text(), "new\nnew\nx");
    assert_eq!(
        place.run(&["--rm", "made:v1", "-c", "ls /bin/seq /dev/null /data; id -u"]).stdout.lines().last(),
        Some("12")
    );
    let shown = place
        .verb("inspect", &["made:v1", "--format", "{{.Author}} {{.Config.User}} {{len .RootFS.Layers}}"]);
    assert_eq!(shown.text(), "me 12:34 3");
    assert!(place.verb("history", &["made:v1"]).text().contains("a note"));
    // Its topmost layer is what the container has changed.
    let of_image = place.verb("image", &["diff", "made:v1"]);
    assert_eq!(of_image.text(), place.verb("diff", &[&id]).text());
    let checked = registry.host.shell(&format!("{} system check {}", binary().display(), place.root));
    assert_eq!(checked, "");
    place.verb("commit", &["--change", "RUN x", &id]).refuses(125, &["--change"]);
    assert_eq!(place.verb("rmi", &["made:v1"]).code(), 0);

    let refused = place.verb("rmi", &[APP]);
    refused.refuses(1, &["the container `", "is of it", "`rabbitc rm "]);
    // A container whose record is damaged may be of any image; it hides no other.
    let damaged = registry.host.directory().join("store/containers/0dada9ed0000");
    std::fs::create_dir(&damaged).expect("made");
    std::fs::write(damaged.join("container.json"), "{").expect("written");
    let listed = place.verb("ps", &["-aq", "--no-trunc"]);
    assert!(listed.text() == id && listed.stderr.contains("0dada9ed0000/container.json"), "{listed:?}");
    place
        .verb("rmi", &[APP])
        .refuses(1, &["the container `0dada9ed0000` may be of it", "remove the directory"]);
    std::fs::remove_dir_all(damaged).expect("there");
    assert_eq!(place.verb("rm", &[&id[..6]]).text(), &id[..6]);
    place.is_empty();
    place.verb("rm", &[&id]).refuses(1, &["no container that is kept", "rabbitc ps -a"]);
    assert_eq!(place.verb("rm", &["-f", &id]).code(), 0);
    assert_eq!(place.verb("rmi", &[APP]).code(), 0);
    registry.end();
}

#[test]
fn container_that_is_not_kept_leaves_nothing_and_one_that_runs_is_not_removed() {
    let Some(registry) = Registry::new() else { return };
    let place = Place::of(&registry.host);
    assert_eq!(place.run(&["--rm", "-u0", APP, "-c", "echo x >/x"]).code(), 0);
    place.is_empty();
    // One that can't start is there to be looked at, as with docker, unless it was to be removed.
    assert_eq!(place.run(&["--rm", "--entrypoint=/missing", APP]).code(), 127);
    place.is_empty();
    assert_eq!(place.run(&["--entrypoint=/missing", APP]).code(), 127);
    assert!(place.verb("ps", &["-a"]).text().contains(" Created "));
    assert_eq!(place.verb("rm", &[&place.id()]).code(), 0);
    place.is_empty();

    let mut command = registry.host.rabbitc(&[
        "run",
        &place.root,
        "--network=none",
        "-u0",
        APP,
        "-c",
        // Not until its input ends: that does with the command.
        "echo x >/x; echo up; while :; do sleep 1; done",
    ]);
    let mut running = Background::of(command.stdin(Stdio::piped()).spawn().expect("nsenter runs"));
    let mut sign = [0u8; 3];
    running.read_exact(&mut sign);
    let id = place.id();
    assert!(place.verb("ps", &[]).text().contains(" Up "), "it is listed without `-a`, too");
    place.verb("rm", &[&id]).refuses(1, &["container is running", "rabbitc stop", "--force"]);
    assert_eq!(place.verb("diff", &[&id]).text(), "A /x");
    // It lives on without its command.
    running.signal("KILL");
    let _ = running.finish();
    assert!(place.verb("ps", &[]).text().contains(" Up "));
    assert_eq!(place.verb("diff", &[&id]).text(), "A /x");
    assert_eq!(place.verb("rm", &["-f", &id]).code(), 0);
    // What a command that was killed had on the disk for `--rm` goes with the next one.
    let mut command = registry.host.rabbitc(&[
        "run",
        &place.root,
        "--rm",
        "--network=none",
        "-u0",
        APP,
        "-c",
        "echo up; read end",
    ]);
    let mut running = Background::of(command.stdin(Stdio::piped()).spawn().expect("nsenter runs"));
    running.read_exact(&mut sign);
    running.signal("KILL");
    let _ = running.finish();
    assert_eq!(place.run(&["--rm", "-u0", APP, "-c", "true"]).code(), 0);
    place.is_empty();
    registry.end();
}

#[test]
fn directory_with_something_else_in_it_is_no_place_for_containers_and_stays_as_it_is() {
    let Some(host) = Host::new() else { return };
    let root = host.directory().join("etc");
    let foreign = root.join("containers/registries.conf.d");
    std::fs::create_dir_all(&foreign).expect("made");
    std::fs::write(foreign.join("own.conf"), "short-name-mode = \"permissive\"\n").expect("written");
    let flag = format!("--root={}", root.display());
    let rabbitc = |words: &[&str]| {
        let mut command = host.command(binary());
        finish(command.args(words).spawn().expect("nsenter runs"), None)
    };
    rabbitc(&["system", "prune", "-af", &flag]).refuses(125, &["registries.conf.d", "none of rabbitc's"]);
    let run =
        host.run(&["--rm=false", &flag, "--network=none", &host.rootfs_flag(), "--overlay", "/bin/true"]);
    run.refuses(125, &["registries.conf.d"]);
    assert!(foreign.join("own.conf").exists());
    assert_eq!(rabbitc(&["ps", "-aq", &flag]).text(), "");
    std::fs::remove_dir_all(&root).expect("removed");
    host.assert_nothing_left();
}

#[test]
fn what_nobody_needs_goes_at_once_when_somebody_says_yes() {
    let Some(registry) = Registry::new() else { return };
    let place = Place::of(&registry.host);
    let prune = |words: &[&str], answer: Option<&str>| {
        let mut command = registry.host.command(binary());
        command.args(["system", "prune", &place.root]).args(words);
        if answer.is_some() {
            command.stdin(Stdio::piped());
        }
        finish(command.spawn().expect("nsenter runs"), answer.map(|text| text.as_bytes().to_vec()))
    };
    assert_eq!(prune(&["-f", "--volumes"], None).text(), "Total reclaimed space: 0B", "where nothing is");
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    let script = "head -c 100000 /dev/zero >/more; ln /more /again";
    assert_eq!(place.run(&["-u0", "--label=keep=no", APP, "-c", script]).code(), 0);
    let id = place.id();
    let mut command = registry.host.rabbitc(&[
        "run",
        &place.root,
        "--network=none",
        "-iu0",
        APP,
        "-c",
        "echo up; read end; true",
    ]);
    let mut running = Background::of(command.stdin(Stdio::piped()).spawn().expect("nsenter runs"));
    let mut sign = [0u8; 3];
    running.read_exact(&mut sign);
    prune(&[], None).refuses(125, &["all dangling images would go, and nobody said yes", "--force"]);
    prune(&["-f", "--filter=dangling=true"], None).refuses(125, &["--filter", "until=TIME"]);
    prune(&["-f", "--filter=nope=1"], None).refuses(125, &["--filter: `nope` is not known"]);
    assert_eq!(prune(&[], Some("n\n")).text(), "");
    // What the filters do not let pass stays.
    for filter in ["--filter=label=keep=yes", "--filter=label!=keep", "--filter=until=24h"] {
        assert_eq!(prune(&["-f", filter], None).text(), "Total reclaimed space: 0B", "{filter}");
    }
    let ran = prune(&["--all", "--filter=label=keep=no"], Some("y\n"));
    assert!(
        ran.text().starts_with(&format!("Deleted Containers:\n{id}\n\nTotal reclaimed space: ")),
        "{ran:?}"
    );
    assert!(ran.text().ends_with(" 100kB"), "as `ps --size` has it, a file of two names once: {ran:?}");
    assert_ne!(place.id(), id, "the one that runs is there");
    // With a container that runs, its image stays.
    assert_eq!(prune(&["-a", "-f"], None).text(), "Total reclaimed space: 0B");
    assert_eq!(running.release().code(), 0);
    // Without a name an image goes, and with one only where all are meant.
    let ended = place.id();
    assert_eq!(prune(&["-f"], None).text().lines().nth(1), Some(ended.as_str()));
    assert_eq!(registry.rabbitc("images", &["-q"]).text().lines().count(), 1);
    // What a pull that was killed has left.
    let partial = registry.store().join("images/partial").join("0".repeat(64));
    std::fs::write(&partial, "half").expect("written");
    assert_eq!(prune(&["-f"], None).code(), 0);
    assert!(!partial.exists());
    let ran = prune(&["-a", "-f"], None);
    assert!(
        ran.text().starts_with(&format!("Deleted Images:\nuntagged: {APP}\ndeleted: sha256:")),
        "{ran:?}"
    );
    assert_eq!(registry.kept(), [""; 0]);
    place.is_empty();
    registry.end();
}

#[test]
fn directories_for_data_of_an_image_are_writable_and_no_part_of_the_changes() {
    let Some(registry) = Registry::new() else { return };
    let place = Place::of(&registry.host);
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    assert_eq!(place.run(&["-u0", APP, "-c", "echo old >/data/old; exit 0"]).code(), 0);
    let id = place.id();
    place.verb("commit", &["--change=VOLUME /data /srv/new/", &id, "made:v1"]).text();
    assert_eq!(place.verb("rm", &[&id]).code(), 0);

    // As docker's: with what the image has there, also where the root is read-only; one that is missing is made.
    let script = "cat /data/old; echo x >/data/x; echo y >/srv/new/y; rm /data/old; touch /z 2>/dev/null || echo refused; \
                  cat /data/x /srv/new/y; grep -c -e ' /data ' -e ' /srv/new ' /proc/self/mountinfo";
    let ran = place.run(&["-u0", "--read-only", "made:v1", "-c", script]);
    assert_eq!(ran.text(), "old\nrefused\nx\ny\n2", "{ran:?}");
    let id = place.id();
    assert_eq!(place.verb("diff", &[&id]).text(), "", "data is no change");
    let archive = registry.host.directory().join("export.tar");
    place.verb("export", &["-o", archive.to_str().expect("text"), &id]).text();
    let listed = registry.host.shell(&format!("tar -tf {} | grep -e data -e srv; rm {0}", archive.display()));
    assert_eq!(listed, "data/\ndata/old\nsrv/\nsrv/new/", "what the image has there");
    place.verb("commit", &[&id, "made:v2"]).text();
    let ran = place.run(&["--rm", "made:v2", "-c", "ls /data /srv/new"]);
    assert_eq!(ran.text(), "/data:\nold\n\n/srv/new:");
    assert_eq!(place.verb("rm", &[&id]).code(), 0);
    place.is_empty();

    let volume = format!("{}:/data", registry.host.rootfs().join("bin").display());
    let ran = place.run(&["--rm", "-v", &volume, "made:v1", "-c", "test -e /data/busybox && ls -A /srv/new"]);
    assert_eq!(ran.text(), "", "a person's own stands in its place");
    let script = "cat /data/old; echo x >/data/x; echo y >/srv/new/y; cat /data/x /srv/new/y; exit 0";
    let ran = place.run(&["--rm", "-u0", "--userns=auto", "--read-only", "made:v1", "-c", script]);
    assert_eq!(ran.text(), "old\nx\ny", "{ran:?}");
    let plan = registry.host.run(&["plan", &place.root, "--read-only", "made:v1"]);
    assert!(plan.text().contains("/_data` `/data`") && plan.text().contains("(the image)"), "{plan:?}");
    registry.end();
}

#[test]
fn container_is_written_out_where_the_kernel_takes_layers_by_mount_alone_and_a_missing_layer_is_named() {
    let Some(registry) = Registry::new() else { return };
    let place = Place::of(&registry.host);
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    assert_eq!(place.run(&["-u0", APP, "-c", "echo new >/new"]).code(), 0);
    let id = place.id();
    let mounts = registry.host.mount_table();
    if has_program("strace") {
        // Before 6.7 it knows no `lowerdir+`.
        let script = format!(
            "strace -f -o /dev/null -e trace=fsconfig -e inject=fsconfig:error=EINVAL:when=1 \
             {} export {} {id} | tar -xOf - new etc/name",
            binary().display(),
            place.root,
        );
        assert_eq!(registry.host.shell(&script), "two\nnew");
    }
    assert_eq!(registry.host.mount_table(), mounts, "nobody else sees it");
    let shown = place.verb("inspect", &[APP, "--format={{.GraphDriver.Data.UpperDir}}"]);
    let (layer, away) = (shown.text().to_owned(), format!("{}-away", shown.text()));
    std::fs::rename(&layer, &away).expect("there");
    place.verb("export", &[&id]).refuses(125, &[&id, &layer, "no such file"]);
    std::fs::rename(&away, &layer).expect("there");
    assert_eq!(place.verb("rm", &[&id]).code(), 0);
    assert_eq!(place.verb("rmi", &[APP]).code(), 0);
    registry.end();
}

#[test]
fn listing_shows_all_containers_that_run_and_those_that_are_kept() {
    let Some(registry) = Registry::new() else { return };
    let place = Place::of(&registry.host);
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    assert_eq!(place.verb("ps", &["--noheading"]).text(), "", "there is none");
    // One that is not kept runs, too.
    let running =
        registry.host.background(&["--network=none", "--label=a=b", "--label=c"], "sign", "read end");
    let one_line = |arguments: &[&str]| {
        let text = place.verb("ps", &[arguments, &["--noheading"]].concat()).text().to_owned();
        assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
        text
    };
    let line = one_line(&[]);
    let id = line.split(' ').next().expect("an id").to_owned();
    let root = registry.host.rootfs().display().to_string();
    assert!(
        line.contains(&root) && line.contains("\"/bin/sh -c echo up …\"") && line.contains(" Up "),
        "{line}"
    );
    let [whole] = registry.host.containers().try_into().expect("one");
    assert_eq!(whole[..12], id);
    assert_eq!(
        one_line(&["--format={{.ID}} {{.State}} {{.Labels}} {{.Names}}"]),
        format!("{id} running a=b,c= {id}")
    );
    // As docker has it: a label by its name, which is its column's title, too; and nothing of that is in JSON.
    assert_eq!(one_line(&["--format=<{{.Label \"a\"}}|{{.Label \"none\"}}>"]), "<b|>");
    let table = place.verb("ps", &["--format=table {{.ID}}\t{{.Label \"a\"}}"]);
    assert!(table.text().lines().next().is_some_and(|titles| titles.ends_with(" a")), "{table:?}");
    assert!(!one_line(&["--format=json"]).contains("\"Label\""));
    place.verb("ps", &["--format={{.Label}}"]).refuses(125, &["is given one"]);
    let pid = one_line(&["--format={{.Pid}}"]);
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid}");
    // As podman has it, before the verb and behind it; and what runs below another directory is not listed.
    let below = |directory: &str, flags: [&str; 2]| {
        let mut command = registry.host.command(binary());
        command.args(flags.map(|flag| match flag {
            "ps" => flag.to_owned(),
            flag => format!("{flag}={directory}"),
        }));
        command.args([&place.root, "-q", "--no-trunc"]);
        finish(command.spawn().expect("nsenter runs"), None).text().to_owned()
    };
    let state = registry.host.state().display().to_string();
    for flags in [["--runroot", "ps"], ["ps", "--runroot"]] {
        assert_eq!(below(&state, flags), whole, "{flags:?}");
        assert_eq!(below(&format!("{state}/other"), flags), "", "{flags:?}");
    }
    for (filter, is_shown) in [
        ("label=a", true),
        ("label=a=b", true),
        ("label=a=c", false),
        ("status=running", true),
        ("status=exited", false),
    ] {
        let shown = place.verb("ps", &["-q", "-f", filter]);
        assert_eq!(shown.text(), if is_shown { id.as_str() } else { "" }, "{filter}");
    }
    assert_eq!(running.release().code(), 0);
    assert_eq!(place.verb("ps", &["-aq"]).text(), "", "nothing of it is kept");

    assert_eq!(place.run(&["-u0", APP, "-c", "echo 1234567 >/new; exit 3"]).code(), 3);
    let kept = place.id();
    assert_eq!(place.run(&["--label=kind=second", APP, "-c", "exit 0"]).code(), 0);
    let second = place.verb("ps", &["-q", "--no-trunc", "-f", "label=kind=second", "-a"]).text().to_owned();
    assert_eq!(place.verb("ps", &["-q"]).text(), "", "none runs");
    assert_eq!(place.verb("inspect", &["--format={{.Id}}", &kept]).text(), kept);
    let cases: [(&[&str], &[&str]); 11] = [
        (&["-f", "exited=3"], &[&kept]),
        (&["--filter=status=exited", "-f", "id=nothing"], &[]),
        (&["-a", "-f", "exited=3", "-f", "exited=0", "--sort=id"], &[&kept, &second]),
        (&["-a", "-f", "ancestor=127.0.0.1:5000/team/app", "-f", "exited=0"], &[&second]),
        (&["-a", "-f", "ancestor=127.0.0.1:5000/team/app:v2"], &[]),
        (&["-a", "-f", &format!("id=^{}[0-9a-f]+$", &kept[..12])], &[&kept]),
        (&["-a", "-f", &format!("id={}", kept[..12].to_uppercase())], &[&kept]),
        (&["-a", "-f", "id=[^0-9a-f]"], &[]),
        (&["-a", "-f", "name=^[a-z]+_[a-z]+$", "--sort=id"], &[&kept, &second]),
        (&["-a", "-f", "name=[0-9]$"], &[]),
        (&["-n", "-1"], &[]),
    ];
    for (arguments, ids) in cases {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        let listed = place.verb("ps", &[arguments, &["-q", "--no-trunc"]].concat());
        assert_eq!(listed.text().lines().collect::<Vec<_>>(), ids, "{arguments:?}");
    }
    assert_eq!(place.verb("ps", &["-n", "2", "-q"]).text().lines().count(), 2);
    assert_eq!(place.verb("ps", &["-lq"]).text().lines().count(), 1);
    let sized = one_line(&["-s", "-f", "exited=3"]);
    assert!(sized.contains("8B (virtual "), "{sized}");
    let json: serde_json::Value =
        serde_json::from_str(place.verb("ps", &["-f", "exited=3", "--format=json"]).text()).expect("JSON");
    assert_eq!(
        (&json["Image"], &json["State"], &json["ID"]),
        (&APP.into(), &"exited".into(), &kept[..12].into())
    );
    place
        .verb("ps", &["-f", "colour=red"])
        .refuses(125, &["--filter: `colour` is not known", "ancestor=IMAGE"]);
    place.verb("ps", &["-f", "name=a("]).refuses(125, &["`a(` is no regular expression"]);
    place.verb("ps", &["-f", "before=zzz"]).refuses(125, &["there is no container `zzz`"]);
    place.verb("ps", &["-a", "--format={{.Colour}}"]).refuses(125, &["--format"]);
    assert_eq!(place.verb("rm", &[&kept, &second]).code(), 0);
    registry.end();
}

#[test]
fn image_of_a_container_that_has_never_run_is_its_own_with_a_layer_of_nothing() {
    let Some(registry) = Registry::new() else { return };
    let place = Place::of(&registry.host);
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    assert_eq!(place.verb("create", &["--network=none", "--name=made", APP, "-c", "exit 7"]).code(), 0);
    let committed = place.verb("commit", &["-q", "-c", "LABEL of=nothing", "made", "copy"]);
    assert_eq!(committed.code(), 0, "{committed:?}");
    // podman's fields: the whole name, and the digest of the manifest, which is the image's.
    let named = place.verb("inspect", &["--format={{.ImageName}} {{.ImageDigest}}", "made"]);
    let digest = place.verb("inspect", &["--format={{.Digest}}", APP]);
    assert_eq!(named.text(), format!("{APP} {}", digest.text()));
    assert_eq!(place.verb("create", &["--network=none", "--name=other", "copy"]).code(), 0);
    let named = place.verb("inspect", &["--format={{.ImageName}}", "other"]);
    assert_eq!(named.text(), "docker.io/library/copy:latest");
    let shown = place.verb("inspect", &["--format={{.Config.Labels.of}} {{len .RootFS.Layers}}", "copy"]);
    let layers = place.verb("inspect", &["--format={{len .RootFS.Layers}}", APP]);
    let layers: usize = layers.text().parse().expect("a number");
    assert_eq!(shown.text(), format!("nothing {}", layers + 1));
    assert_eq!(place.run(&["--rm", "copy", "-c", "exit 5"]).code(), 5);
    let tags = place.verb("history", &["--format={{.Tags}}", "copy"]);
    assert_eq!(tags.text().lines().next(), Some("[docker.io/library/copy:latest]"));
    assert_eq!(place.verb("images", &["copy", "--format={{.Labels.of}}"]).text(), "nothing");
    assert_eq!(place.verb("diff", &["-l"]).text(), "", "nothing has run in it");
    assert_eq!(
        place.verb("untag", &["copy", &format!("127.0.0.1:5000/team/app@{}", digest.text())]).code(),
        125
    );
    assert_eq!(place.verb("untag", &[APP, &format!("127.0.0.1:5000/team/app@{}", digest.text())]).code(), 0);
    assert_eq!(place.verb("rm", &["made", "other"]).code(), 0);
    registry.end();
}
