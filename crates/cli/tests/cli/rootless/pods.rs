//! Pods of an ordinary user: what is shared belongs to the user namespace of the container that keeps it.

use super::user::User;
use crate::support::{Ran, eventually, finish, names, skip};

impl User {
    /// A verb about containers of this user.
    fn pod_verb(&self, verb: &str, arguments: &[&str]) -> Ran {
        let mut command = self.command(crate::support::binary());
        let root = format!("--root={}", self.host.directory().join("home/store").display());
        let state = format!("--runroot={}", self.host.state().display());
        command.args(verb.split(' ')).args([root, state]).args(arguments);
        finish(command.spawn().expect("nsenter runs"), None)
    }
}

#[test]
fn containers_of_a_users_pod_share_its_loopback_host_name_and_memory() {
    let Some(user) = User::new() else { return };
    if user.inside(&["--init"], "true").stderr.contains("linked dynamically") {
        skip("pods take the static program, which `cargo xtask test` has");
        return;
    }
    let made = user.pod_verb("pod create", &["--name=web", "--network=none", "--hostname=web"]);
    assert_eq!((made.code(), made.text().len()), (0, 64), "{made:?}");
    let rootfs = user.host.rootfs_flag();
    let script = |flags: &[&str], script: &str| {
        let fixed = [rootfs.as_str(), "/bin/sh", "-c", script];
        user.pod_verb("run", &[&["--pod=web"], flags, &fixed].concat())
    };
    let serves = "echo hello >/dev/shm/said; while :; do echo answer | nc -l -p 7; done";
    let ran = script(&["-d", "--name=one"], serves);
    assert_eq!(ran.code(), 0, "{ran:?}");
    eventually("it serves", || script(&["--rm"], "nc 127.0.0.1 7 </dev/null").text() == "answer");
    let ran = script(&["--rm"], "hostname; cat /dev/shm/said; id -u");
    assert_eq!(ran.text(), "web\nhello\n0", "{ran:?}");
    assert_eq!(user.pod_verb("pod stop", &["-t0", "web"]).code(), 0);
    assert_eq!(user.pod_verb("pod inspect", &["--format={{.State}}", "web"]).text(), "Exited");
    assert_eq!(user.pod_verb("pod start", &["web"]).code(), 0);
    let removed = user.pod_verb("pod rm", &["-f", "-t0", "web"]);
    assert_eq!((removed.code(), removed.stderr.as_str()), (0, ""), "{removed:?}");
    let store = user.host.directory().join("home/store");
    assert_eq!(names(&store.join("pods")), [".root"]);
    let left: Vec<String> =
        names(&store.join("containers")).into_iter().filter(|name| name != ".names").collect();
    assert_eq!(left, [""; 0]);
    user.host.assert_nothing_left();
}
