//! Which link of a path refuses an ordinary user something.

use super::user::{UID, User};
use crate::support::{binary, finish};

#[test]
fn link_of_a_path_that_refuses_is_named_with_its_mode_its_owner_and_the_user() {
    let Some(user) = User::new() else { return };
    let place = user.host.directory().join("of-root");
    let shown = place.display();
    user.host.set_up(&format!(
        "mkdir -p {shown}/private/deep; echo A=1 >{shown}/private/deep/file; echo A=1 >{shown}/secret; chmod 755 {shown}; \
         chmod 700 {shown}/private; chmod 600 {shown}/secret; ln -s private/deep {shown}/link"
    ));
    let rabbitc = |arguments: &[&str]| {
        let mut command = user.command(binary());
        command.args(arguments);
        finish(command.spawn().expect("nsenter runs"), None)
    };
    // Also where a link leads there.
    for file in ["private/deep/file", "link/file"] {
        let file = format!("--env-file={shown}/{file}");
        let ran = rabbitc(&["run", &user.state_flag(), &user.host.rootfs_flag(), &file, "/bin/true"]);
        let directory = format!("`{shown}/private`: its mode is 0700 and its owner 0:0");
        ran.refuses(125, &["permission denied", &directory, &format!("user {UID} in group"), "search it"]);
        ran.refuses(125, &[&format!("chmod o+x {shown}/private")]);
    }
    let file = format!("--env-file={shown}/secret");
    let ran = rabbitc(&["run", &user.state_flag(), &user.host.rootfs_flag(), &file, "/bin/true"]);
    ran.refuses(125, &[&format!("`{shown}/secret`: its mode is 0600 and its owner 0:0"), "read it"]);
    // What can't be made, as the directory may not be changed.
    let explain = format!("--explain=text:{shown}/new");
    let ran = rabbitc(&["run", &user.state_flag(), &user.host.rootfs_flag(), &explain, "/bin/true"]);
    ran.refuses(125, &[&format!("`{shown}`: its mode is 0755"), "may not change what is in it"]);
    let volume = format!("--volume={shown}/private/deep:/x");
    let ran = rabbitc(&["run", &user.state_flag(), &user.host.rootfs_flag(), &volume, "/bin/true"]);
    ran.refuses(125, &[&format!("`{shown}/private`: its mode is 0700")]);
    user.host.set_up(&format!("rm -r {shown}"));
    user.host.assert_nothing_left();
}

#[test]
fn mount_that_is_read_only_is_named() {
    let Some(user) = User::new() else { return };
    let place = user.host.directory().join("sealed");
    let shown = place.display();
    user.host.set_up(&format!(
        "mkdir {shown}; mount -t tmpfs -o mode=777 tmpfs {shown}; mount -o remount,ro {shown}"
    ));
    let explain = format!("--explain=text:{shown}/new");
    let mut command = user.command(binary());
    command.args(["run", &user.state_flag(), &user.host.rootfs_flag(), &explain, "/bin/true"]);
    let ran = finish(command.spawn().expect("nsenter runs"), None);
    ran.refuses(125, &["read-only", &format!("it lies on `{shown}`, which is mounted read-only")]);
    user.host.set_up(&format!("umount {shown}; rmdir {shown}"));
    user.host.assert_nothing_left();
}
