//! Verbs that act on containers that run, one file for each kind of them; and the host with a container that they act on.

mod copy;
mod ends;
mod exec;
mod looks;

use std::process::{Command, Stdio};

use crate::life::Place;
use crate::support::{Background, Host, Ran, binary, finish, names};

/// A host with a container that runs until its input ends.
struct Scene {
    host: Host,
    running: Background,
    id: String,
}

impl Scene {
    /// On the host's root directory, without a network.
    fn new(flags: &[&str]) -> Option<Scene> {
        Host::new().map(|host| Scene::of(host, flags))
    }

    fn of(host: Host, flags: &[&str]) -> Scene {
        let (running, id) = container(&host, flags);
        Scene { host, running, id }
    }

    /// The same with an overlay, so that nothing that is copied into it stays.
    fn throw_away(flags: &[&str]) -> Option<Scene> {
        Host::new().map(|host| Scene::throw_away_of(host, flags))
    }

    fn throw_away_of(host: Host, flags: &[&str]) -> Scene {
        let mut command =
            host.script(&[&["--network=none", "--overlay"], flags].concat(), "echo up; read -r end");
        let mut running = Background::of(command.stdin(Stdio::piped()).spawn().expect("nsenter runs"));
        running.read_exact(&mut [0; 3]);
        let id = host.containers().remove(0);
        Scene { host, running, id }
    }

    fn command(&self, verb: &str, arguments: &[&str]) -> Command {
        Place::of(&self.host).command(verb, arguments)
    }

    fn verb(&self, verb: &str, arguments: &[&str]) -> Ran {
        Place::of(&self.host).verb(verb, arguments)
    }

    /// Starts the verb, and leaves it to run.
    fn begin(&self, verb: &str, arguments: &[&str]) -> Background {
        Background::of(self.command(verb, arguments).spawn().expect("nsenter runs"))
    }

    /// Another program in the container.
    fn exec(&self, words: &[&str]) -> Ran {
        self.verb("exec", &[&[self.id.as_str()], words].concat())
    }

    /// Runs a script with `cp_`, `inside` and `$C` for the container.
    fn copying(&self, script: &str) -> Ran {
        copying(&self.host, &self.id, script)
    }

    /// Ends the container's input, which must be its end; nothing may be left.
    fn end(self) -> Ran {
        let ran = self.running.release();
        self.host.assert_nothing_left();
        ran
    }
}

/// A container that runs until its input ends, and its id.
fn container(host: &Host, flags: &[&str]) -> (Background, String) {
    let all = [&["--network=none"], flags].concat();
    let before = host.containers();
    let running = host.background(&all, "up", "read -r end");
    let id = host.containers().into_iter().find(|id| !before.contains(id));
    (running, id.expect("it is recorded"))
}

/// Where the containers of a host are, for a shell.
fn places(host: &Host) -> String {
    format!("--runroot={} --root={}", host.state().display(), host.directory().join("store").display())
}

/// Runs a script of the host's shell with `cp_`, `inside` and `$C` for a container, in a directory of its own.
fn copying(host: &Host, id: &str, script: &str) -> Ran {
    let mut command = host.command("sh");
    let (places, binary) = (places(host), binary());
    let cp = format!("cp_() {{ {} cp {places} \"$@\"; }}; C={id}; ", binary.display());
    let inside = format!("inside() {{ {} exec {places} -u 0 $C \"$@\"; }}; ", binary.display());
    let work = host.directory().join("work");
    std::fs::create_dir_all(&work).expect("made");
    command.args(["-c", &format!("{cp}{inside}cd {}; {script}", work.display())]);
    finish(command.spawn().expect("nsenter runs"), None)
}

/// Accounts in the root directory of a host.
const ACCOUNTS: &str = "mkdir -p \"$0/etc\"; echo 'root:x:0:0::/root:/bin/sh
alice:x:1000:1001::/home/alice:/bin/sh' >\"$0/etc/passwd\"; echo 'alice:x:1001:
staff:x:50:alice
audio:x:29:' >\"$0/etc/group\"";

fn with_accounts(host: &Host) {
    host.set_up(&ACCOUNTS.replace("$0", &host.rootfs().display().to_string()));
}

fn without_accounts(host: &Host) {
    std::fs::remove_dir_all(host.rootfs().join("etc")).expect("it is there");
}

#[test]
fn containers_that_are_not_there_or_not_up_are_refused_in_dockers_words() {
    let Some(scene) = Scene::new(&[]) else { return };
    for of in ["exec", "kill", "pause", "unpause", "top", "port", "wait"] {
        let words: &[&str] = if of == "exec" { &["nosuch", "true"] } else { &["nosuch"] };
        scene.verb(of, words).refuses(1, &["no such container"]);
    }
    for of in ["exec", "kill", "pause", "unpause", "top", "wait"] {
        scene.verb(of, &[]).refuses(125, &["needs the name or id"]);
    }
    scene.verb("port", &[&scene.id, "80/icmp"]).refuses(125, &["is no port"]);
    scene.verb("cp", &["a", "b"]).refuses(125, &["must specify at least one container source"]);
    scene.verb("exec", &[&scene.id]).refuses(125, &["must provide a non-empty command"]);
    scene.verb("exec", &["--bogus", &scene.id, "true"]).refuses(125, &["no flag `--bogus`"]);
    assert_eq!(scene.verb("pause", &[&scene.id]).text(), scene.id);
    scene.verb("exec", &[&scene.id, "true"]).refuses(1, &["is paused, unpause the container before exec"]);
    scene.verb("pause", &[&scene.id]).refuses(1, &["is already paused"]);
    assert_eq!(scene.verb("unpause", &[&scene.id]).text(), scene.id);
    scene.verb("unpause", &[&scene.id]).refuses(1, &["is not paused"]);
    scene.end();
}

#[test]
fn one_that_is_kept_is_waited_for_by_its_record_and_runs_nothing_more() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let ran = place.script("run", &["--overlay", "--rm=false"], "exit 5");
    assert_eq!(ran.code(), 5);
    let kept = names(&host.directory().join("store/containers"));
    let id = kept.into_iter().find(|name| !name.starts_with('.')).expect("one");
    assert_eq!(place.verb("wait", &[&id, &id[..6]]).text(), "5\n5");
    for of in ["kill", "pause", "top"] {
        place.verb(of, &[&id]).refuses(1, &["is not running"]);
    }
    place.verb("exec", &[&id, "true"]).refuses(1, &["is not running"]);
    assert!(place.verb("stats", &["-a", "--no-stream"]).text().contains("0B / 0B"));
    assert_eq!(
        place.verb("stats", &["--no-stream"]).text().lines().count(),
        1,
        "it is not among those that run"
    );
    host.assert_nothing_left();
}
