//! The program called by the name of podman, and what containers.conf says of new containers.

use std::path::PathBuf;
use std::process::Command;

use crate::life::WAITS;
use crate::support::{Host, Ran, binary, copy_program, finish};

/// The program by another name, with containers of its own.
struct Podman<'a> {
    host: &'a Host,
    program: PathBuf,
}

impl Podman<'_> {
    fn of(host: &Host) -> Podman<'_> {
        let program = host.directory().join("podman");
        copy_program(binary(), &program);
        Podman { host, program }
    }

    fn command(&self, verb: &str, arguments: &[&str], conf: Option<&str>) -> Command {
        let mut command = self.host.command("env");
        if let Some(text) = conf {
            let path = self.host.directory().join("containers.conf");
            std::fs::write(&path, text).expect("written");
            command.arg(format!("CONTAINERS_CONF={}", path.display()));
        }
        command.arg(&self.program).args(verb.split(' '));
        command.arg(format!("--root={}", self.host.directory().join("store").display()));
        command.arg(format!("--runroot={}", self.host.state().display()));
        command.args(arguments);
        command
    }

    fn verb(&self, verb: &str, arguments: &[&str]) -> Ran {
        finish(self.command(verb, arguments, None).spawn().expect("nsenter runs"), None)
    }

    /// A script on the host's root directory, without a network.
    fn script(&self, flags: &[&str], script: &str, conf: Option<&str>) -> Ran {
        let rootfs = self.host.rootfs_flag();
        let fixed = ["--network=none", rootfs.as_str(), "/bin/sh", "-c", script];
        let command = self.command("run", &[flags, &fixed].concat(), conf).spawn();
        finish(command.expect("nsenter runs"), None)
    }

    fn end(&self) {
        assert_eq!(self.verb("rm", &["-af", "-t0"]).code(), 0);
        self.host.assert_nothing_left();
    }
}

#[test]
fn by_the_name_of_podman_errors_are_podmans_sentences_and_exit_codes() {
    let Some(host) = Host::new() else { return };
    let podman = Podman::of(&host);
    let none = "Error: no container with name or ID \"none\" found: no such container\n";
    let none_to_remove = "Error: no container with ID or name \"none\" found: no such container\n";
    for (verb, arguments, code, said) in [
        ("stop", &["none"][..], 125, none),
        ("wait", &["none"], 125, none),
        ("rm", &["none"], 1, none_to_remove),
        ("container inspect", &["none"], 125, "Error: no such container \"none\"\n"),
        ("volume rm", &["none"], 1, "Error: no volume with name \"none\" found: no such volume\n"),
        ("rmi", &["none"], 1, "Error: none: image not known\n"),
        ("kill", &["-s", "0", "none"], 125, "Error: invalid signal: 0\n"),
        (
            "start",
            &["--all", "none"],
            125,
            "Error: either start all containers or the container(s) provided in the arguments\n",
        ),
    ] {
        let ran = podman.verb(verb, arguments);
        assert_eq!((ran.code(), ran.stderr.as_str()), (code, said), "{verb}: {ran:?}");
    }
    let started = podman.script(&["-d", "--name=box"], WAITS, None);
    let id = started.text();
    let busy = podman.verb("rm", &["box"]);
    let said = format!(
        "Error: cannot remove container {id} as it is running - running or paused containers cannot be removed without force: \
         container state improper\n"
    );
    assert_eq!((busy.code(), busy.stderr), (2, said));
    podman.end();
}

#[test]
fn by_the_name_of_podman_listings_events_and_copies_are_podmans() {
    let Some(host) = Host::new() else { return };
    let podman = Podman::of(&host);
    let began = podman.script(&["-d", "--name=box", "--workdir=/bin"], WAITS, None);
    assert_eq!(began.code(), 0, "{began:?}");
    let listed = podman.verb("ps", &["--no-trunc", "--format={{.Command}}"]);
    assert!(listed.text().starts_with("/bin/sh -c "), "{listed:?}");
    let all: serde_json::Value =
        serde_json::from_str(podman.verb("ps", &["--format=json"]).text()).expect("JSON");
    assert_eq!(all[0]["Names"], "box");
    let top = podman.verb("top", &["box"]);
    let heading: Vec<&str> = top.text().lines().next().expect("a heading").split_whitespace().collect();
    assert_eq!(heading, ["USER", "PID", "PPID", "%CPU", "ELAPSED", "TTY", "TIME", "COMMAND"]);
    std::fs::write(host.directory().join("file"), "here").expect("written");
    let file = host.directory().join("file");
    assert_eq!(podman.verb("cp", &[file.to_str().expect("UTF-8"), "box:got"]).code(), 0);
    assert_eq!(podman.verb("exec", &["box", "/bin/cat", "/bin/got"]).text(), "here");
    let missing = podman.verb("cp", &["box:nothing", "/tmp"]);
    assert_eq!(missing.code(), 125);
    assert!(missing.stderr.contains("could not be found on container box"), "{missing:?}");
    let paused = podman.verb("pause", &["box"]);
    assert_eq!(paused.code(), 0, "{paused:?}");
    assert_eq!(podman.verb("ps", &["--format={{.Status}}"]).text(), "Paused");
    assert_eq!(podman.verb("unpause", &["box"]).code(), 0);
    assert_eq!(podman.verb("rm", &["-f", "-t0", "box"]).code(), 0);
    let told = podman.verb("events", &["--stream=false", "--since=1h", "--format={{.Status}}"]);
    let told: Vec<&str> = told.text().lines().collect();
    assert!(told.contains(&"died") && told.contains(&"remove"), "{told:?}");
    podman.end();
}

#[test]
fn containers_take_what_containers_conf_says_and_the_command_line_says_more() {
    let Some(host) = Host::new() else { return };
    let podman = Podman::of(&host);
    let conf = "[containers]\nread_only = true\nenv = [\"SAID=file\"]\ndefault_ulimits = [\"nofile=77:77\"]\nunknown = 1\n[engine]\nx = 1\n";
    let looks = "echo $SAID; ulimit -n; touch /made 2>/dev/null && rm /made || echo refused";
    let ran = podman.script(&["--rm"], looks, Some(conf));
    assert_eq!(ran.text(), "file\n77\nrefused");
    let more = ["--rm", "--read-only=false", "-e", "SAID=flag", "--ulimit=nofile=78"];
    assert_eq!(podman.script(&more, looks, Some(conf)).text(), "flag\n78");
    let wrong = podman.script(&["--rm"], "true", Some("[containers]\nmounts = [\"type=bogus,dst=/x\"]\n"));
    let said = "Error: parsing containers.conf mounts: invalid filesystem type \"bogus\"\n";
    assert_eq!((wrong.code(), wrong.stderr.as_str()), (125, said));
    podman.end();
}

#[test]
fn pattern_of_paths_is_a_bind_for_each() {
    let Some(host) = Host::new() else { return };
    let podman = Podman::of(&host);
    let directory = host.directory().join("many");
    std::fs::create_dir(&directory).expect("made");
    for name in ["a1", "a2", "b1"] {
        std::fs::write(directory.join(name), name).expect("written");
    }
    let mount =
        |pattern: &str| format!("--mount=type=glob,src={}/{pattern},dst=/seen,ro", directory.display());
    let seen = podman.script(&["--rm", &mount("a?")], "cat /seen/*", None);
    assert_eq!(seen.text(), "a1a2");
    let none = podman.script(&["--rm", &mount("c*")], "true", None);
    let said = format!("Error: no file paths matching glob \"{}/c*\"\n", directory.display());
    assert_eq!((none.code(), none.stderr), (125, said));
    podman.end();
}

#[test]
fn what_joins_a_container_goes_with_it_where_that_is_said() {
    let Some(host) = Host::new() else { return };
    let podman = Podman::of(&host);
    let rootfs = host.rootfs_flag();
    let create = |flags: &[&str]| {
        let made = podman.verb("create", &[flags, &[rootfs.as_str(), "/bin/true"]].concat());
        made.text().to_owned()
    };
    let first = create(&["--name=first", "--network=none"]);
    let second = create(&["--network=container:first"]);
    let kept = podman.verb("rm", &["first"]);
    assert_eq!(kept.code(), 125, "{kept:?}");
    assert!(kept.stderr.contains("has dependent containers which must be removed before it"), "{kept:?}");
    let removed = podman.verb("rm", &["--depend", "first"]);
    assert_eq!(removed.text(), format!("{second}\nfirst"), "{first}: {removed:?}");
    podman.end();
}
