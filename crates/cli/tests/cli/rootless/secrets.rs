//! Secrets of an ordinary user: kept beside the user's images, and the container's own inside, whatever its ids are.

use super::user::{UID, User};
use crate::support::{Ran, finish};

impl User {
    fn secret_verb(&self, verb: &str, arguments: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(crate::support::binary());
        let root = format!("--root={}", self.host.directory().join("home/store").display());
        let state = format!("--runroot={}", self.host.state().display());
        command.args(verb.split(' ')).args([root, state]).args(arguments);
        command.stdin(std::process::Stdio::piped());
        finish(command.spawn().expect("nsenter runs"), Some(input.to_vec()))
    }
}

#[test]
fn secret_of_a_user_belongs_to_whom_it_is_given_inside() {
    let Some(user) = User::new() else { return };
    let id = user.secret_verb("secret create", &["key", "-"], b"value").text().to_owned();
    let path = user.host.directory().join("home/store/secrets").join(format!("{id}.json"));
    let shown = user.host.shell(&format!("stat -c '%u %a' {0} $(dirname {0})", path.display()));
    assert_eq!(shown, format!("{UID} 600\n{UID} 700"));
    let rootfs = user.host.rootfs_flag();
    let run = |flags: &[&str], script: &str| {
        let fixed = ["--rm", "--network=none"];
        user.secret_verb("run", &[&fixed[..], flags, &[&rootfs, "/bin/sh", "-c", script]].concat(), b"")
    };
    let look = "busybox stat -c %u:%g:%a /run/secrets/key; cat /run/secrets/key";
    assert_eq!(run(&["--secret=key"], look).text(), "0:0:444\nvalue");
    let flags = ["--overlay", "--secret=key,uid=5,gid=6,mode=0400", "--secret=key,type=env,target=KEY"];
    assert_eq!(run(&flags, &format!("{look}; echo $KEY")).text(), "5:6:400\nvaluevalue");
    run(&["--secret=key,uid=70000"], look)
        .refuses(125, &["--secret key,uid=70000", "user 70000 does not exist"]);
    // On the host's own root, which is put together from pieces.
    let on_host = ["--rm", "--network=none", "--secret=key", "--", "cat", "/run/secrets/key"];
    let ran = user.secret_verb("run", &on_host, b"");
    assert_eq!((ran.code(), ran.stdout.as_str()), (0, "value"), "{ran:?}");
    assert_eq!(user.secret_verb("secret rm", &["--all"], b"").text(), id);
    user.host.assert_nothing_left();
}
