//! Fields of `mounts`, `maskedPaths` and `rootfsPropagation` whose effect only a container shows.

mod support;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::{Bundle, errors, id_map, root_only, text};

fn with_mounts(bundle: &Bundle, mounts: &[Value]) {
    bundle.edit(|config| config["mounts"].as_array_mut().expect("a list").extend(mounts.iter().cloned()));
}

fn bind(source: &Path, destination: &str, options: &[&str]) -> Value {
    json!({ "source": source, "destination": destination, "type": "bind", "options": options })
}

fn tmpfs(destination: &str, options: &[&str]) -> Value {
    json!({ "source": "tmpfs", "destination": destination, "type": "tmpfs", "options": options })
}

#[test]
fn tmpfs_has_the_mode_of_the_directory_that_it_covers_unless_an_option_says_another() {
    root_only!();
    let bundle = Bundle::hostile("tmpfs-mode", &[]);
    for name in ["inherits", "says"] {
        std::fs::create_dir(bundle.rootfs(name)).expect("made");
        let mode = std::fs::Permissions::from_mode(0o710);
        std::fs::set_permissions(bundle.rootfs(name), mode).expect("its mode");
    }
    with_mounts(&bundle, &[tmpfs("/inherits", &[]), tmpfs("/says", &["mode=1500"]), tmpfs("/new/one", &[])]);
    let output = bundle.script("busybox stat -c %a /inherits /says /new/one; cat /proc/self/mounts");
    let text = text(&output);
    assert!(text.starts_with("710\n1500\n1777\n"), "{output:?}");
    let line = text.lines().find(|line| line.starts_with("tmpfs /inherits ")).expect("mounted");
    assert!(line.contains("mode=710"), "{line}");
    bundle.assert_clean("after the run");
}

#[test]
fn copy_of_what_is_covered_has_its_mode_and_one_of_nothing_is_open_to_all() {
    root_only!();
    let bundle = Bundle::hostile("tmpfs-copy-mode", &[]);
    std::fs::create_dir(bundle.rootfs("old")).expect("made");
    std::fs::set_permissions(bundle.rootfs("old"), std::fs::Permissions::from_mode(0o700)).expect("its mode");
    let copy = ["tmpcopyup"];
    with_mounts(
        &bundle,
        &[tmpfs("/old", &copy), tmpfs("/new", &copy), tmpfs("/said", &["tmpcopyup", "mode=711"])],
    );
    let output = bundle.script("busybox stat -c %a /old /new /said");
    assert_eq!(text(&output), "700\n1777\n711\n", "{output:?}");
    bundle.assert_clean("after the run");
}

/// A program on a bind mount at /v that no right but root's executes: `/v/closed/true`, and `/v/plain` that nobody may.
fn volume(bundle: &Bundle) -> std::path::PathBuf {
    let source = bundle.path.join("volume");
    std::fs::create_dir_all(source.join("closed")).expect("made");
    for (name, mode) in [("closed/true", 0o755), ("plain", 0o644)] {
        std::fs::copy("/bin/busybox", source.join(name)).expect("copied");
        std::fs::set_permissions(source.join(name), std::fs::Permissions::from_mode(mode)).expect("its mode");
    }
    std::fs::set_permissions(source.join("closed"), std::fs::Permissions::from_mode(0o700))
        .expect("its mode");
    source
}

#[test]
fn program_on_a_bind_mount_is_refused_by_what_refuses_it_there() {
    root_only!();
    let bundle = Bundle::new("refused-on-a-mount", &[]);
    let source = volume(&bundle);
    with_mounts(&bundle, &[bind(&source, "/v", &["bind"]), bind(&source, "/n", &["bind", "noexec"])]);
    let told = |output: &std::process::Output, parts: &[&str]| {
        let said = errors(output);
        assert!(!output.status.success() && !said.contains("its modes permit it"), "{said}");
        for part in parts {
            assert!(said.contains(part), "lacks {part}: {said}");
        }
    };
    let chmod = format!("`chmod +x {}/plain`", source.display());
    let closed = ["`/v/closed`: its mode is 0700 and its owner 0:0, so user 7 in group 0 may not search it"];
    for (program, user, parts) in [
        ("/v/plain", 0, &["`/v/plain`: its mode is 0644", &chmod][..]),
        ("/v/closed/true", 7, &closed),
        ("/n/closed/true", 0, &["it lies on `/n`, which is mounted noexec"]),
    ] {
        bundle.edit(|config| {
            config["process"]["args"] = json!([program]);
            config["process"]["user"] = json!({ "uid": user, "gid": 0 });
            if user != 0 {
                config["process"]["capabilities"] = json!({});
            }
        });
        told(&bundle.run_to_its_end(), parts);
    }
    // Its interpreter is looked for after the start alone.
    bundle.write_program("script", "#!/v/plain\n");
    bundle.edit(|config| {
        config["process"]["args"] = json!(["/bin/script"]);
        config["process"]["user"] = json!({ "uid": 0, "gid": 0 });
    });
    assert!(bundle.create().status.success());
    let log = bundle.path.join("log");
    let output = bundle.runtime(&["--log", &log.display().to_string(), "start", &bundle.id]);
    assert!(!output.status.success(), "{output:?}");
    let logged = std::fs::read_to_string(&log).expect("a log");
    assert!(logged.contains("its interpreter `/v/plain`: its mode is 0644"), "{logged}");
    bundle.succeed(&["delete", "--force", &bundle.id]);
    bundle.assert_clean("after the refusals");
    // In a container that runs, what is mounted there is seen as well.
    bundle.edit(|config| config["process"]["user"] = json!({ "uid": 0, "gid": 0 }));
    bundle.start_script("sleep 100");
    told(
        &bundle.runtime(&["exec", &bundle.id, "/v/plain"]),
        &["`/v/plain`: its mode is 0644", "`chmod +x` it"],
    );
    told(&bundle.runtime(&["exec", "--user", "7", &bundle.id, "/v/closed/true"]), &closed);
    told(
        &bundle.runtime(&["exec", &bundle.id, "/n/closed/true"]),
        &["`/n/closed/true` lies on is mounted noexec"],
    );
}

#[test]
fn place_that_can_not_be_made_is_told_with_what_is_in_the_way() {
    root_only!();
    let bundle = Bundle::new("no-place", &[]);
    symlink("busybox", bundle.rootfs("bin/linked")).expect("a link");
    let mut usual = Vec::new();
    bundle.edit(|config| usual = config["mounts"].as_array().expect("a list").clone());
    for (mount, parts) in [
        (tmpfs("/bin/busybox/x", &[]), ["`/bin/busybox` is a file", "another destination"]),
        (
            bind(&bundle.path, "/bin/linked/x/y", &["bind"]),
            ["`/bin/linked` is a file", "another destination"],
        ),
        (bind(&bundle.path, "/bin/linked", &["bind"]), ["`/bin/linked` is a file", "another destination"]),
        (tmpfs("/bin/busybox", &[]), ["`/bin/busybox` is a file", "is a directory"]),
        (
            bind(&bundle.rootfs("bin/busybox"), "/bin", &["bind"]),
            ["`/bin` is a directory", "a file goes onto a file"],
        ),
        (tmpfs("/sys/kernel/no/such", &[]), ["it can't be made in `/sys`", "another destination"]),
        (
            bind(&bundle.path, "/dev/pts/no", &["bind"]),
            ["it can't be made in `/dev/pts`", "another destination"],
        ),
    ] {
        bundle.edit(|config| config["mounts"] = usual.iter().chain([&mount]).cloned().collect());
        let said = errors(&bundle.script("true"));
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }
    bundle.assert_clean("after the refusals");
}

#[test]
fn owner_outside_of_the_user_namespace_is_told_as_what_refuses_a_program() {
    root_only!();
    let bundle = Bundle::new("refused-by-owner", &[]);
    bundle.give_users();
    let source = volume(&bundle);
    with_mounts(&bundle, &[bind(&source, "/v", &["bind"])]);
    let mapped = bind(&source, "/i", &["bind", "idmap"]);
    for (program, user, parts) in [
        // Root inside has no right over what belongs to root of the host.
        ("/v/closed/true", 0, &["`/v/closed`: its mode is 0700", "0:0 on the host", "does not map"][..]),
        ("/i/closed/true", 7, &["`/i/closed`: its mode is 0700 and its owner 0:0, so user 7"]),
        ("/i/plain", 0, &["`/i/plain`: its mode is 0644, so nobody"]),
    ] {
        bundle.edit(|config| {
            config["process"]["args"] = json!([program]);
            config["process"]["user"] = json!({ "uid": user, "gid": 0 });
            let mounts = config["mounts"].as_array_mut().expect("a list");
            mounts.retain(|mount| *mount != mapped);
            mounts.extend(program.starts_with("/i").then(|| mapped.clone()));
        });
        let output = bundle.run_to_its_end();
        let said = errors(&output);
        // A file system without maps of owners refuses `idmap` itself.
        if said.contains("owners of this file system") {
            println!("skipped: needs a file system with mapped owners");
            continue;
        }
        for part in parts {
            assert!(said.contains(part), "lacks {part}: {said}");
        }
    }
    bundle.edit(|config| {
        let mounts = config["mounts"].as_array_mut().expect("a list");
        mounts.retain(|mount| mount["destination"] != "/i");
        config["process"]["user"] = json!({ "uid": 0, "gid": 0 });
    });
    bundle.start_script("sleep 100");
    let refused = bundle.runtime(&["exec", &bundle.id, "/v/closed/true"]);
    assert!(errors(&refused).contains("whom the user namespace does not map"), "{refused:?}");
}

#[test]
fn read_only_file_system_is_closed_only_after_it_is_filled() {
    root_only!();
    let bundle = Bundle::hostile("late-close", &[]);
    bundle.edit(|config| {
        for mount in config["mounts"].as_array_mut().expect("a list") {
            if mount["destination"] == "/dev" {
                mount["options"].as_array_mut().expect("a list").push(json!("ro"));
            }
        }
    });
    with_mounts(&bundle, &[tmpfs("/outer", &["ro"]), tmpfs("/outer/inner", &[])]);
    let output = bundle.script(
        "test -c /dev/null && test -d /dev/pts && touch /outer/inner/file; touch /dev/new; touch /outer/new; \
         grep -E '^tmpfs /(dev|outer) ' /proc/self/mounts",
    );
    let text = text(&output);
    let flags: Vec<&str> = text.lines().collect();
    assert_eq!(flags.len(), 2, "{output:?}");
    assert!(flags.iter().all(|line| line.contains(" ro,")), "{flags:?}");
    assert_eq!(errors(&output).matches("Read-only file system").count(), 2, "{output:?}");
}

/// CVE-2019-19921, CVE-2023-27561.
#[test]
fn procfs_is_mounted_on_no_link_dangling_or_not() {
    root_only!();
    for (name, link) in [("proc", "/elsewhere"), ("proc", "/bin"), ("sys", "/elsewhere")] {
        let bundle = Bundle::new("ordinary", &["true"]);
        symlink(link, bundle.rootfs(name)).expect("a link");
        let output = bundle.run_to_its_end();
        assert!(!output.status.success(), "{output:?}");
        assert!(errors(&output).contains("must be mounted on ordinary directory"), "{output:?}");
        bundle.assert_clean(name);
    }
}

#[test]
fn bind_mount_behind_dangling_links_lies_where_they_lead() {
    root_only!();
    let bundle = Bundle::hostile("dangling", &[]);
    std::fs::create_dir(bundle.rootfs("etc")).expect("made");
    symlink("/tmp/foo/bar", bundle.rootfs("jump")).expect("a link");
    symlink("/jump/baz/hosts", bundle.rootfs("etc/hosts")).expect("a link");
    let file = bundle.path.join("file");
    std::fs::write(&file, "shown\n").expect("written");
    with_mounts(&bundle, &[bind(&file, "/etc/hosts", &["bind"])]);
    let output = bundle
        .script("cat /etc/hosts /tmp/foo/bar/baz/hosts; grep -c ' /tmp/foo/bar/baz/hosts ' /proc/mounts");
    assert_eq!(text(&output), "shown\nshown\n1\n", "{output:?}");
}

/// The tree that a source shows is that of the container's mounts so far, with whatever owners are asked for.
#[test]
fn source_in_the_root_shows_the_mounts_that_were_made_before() {
    root_only!();
    for users in [false, true] {
        for owners in [false, true] {
            let what = format!("users {users}, owners {owners}");
            let bundle = Bundle::hostile("inside", &[]);
            let outer = bundle.path.join("outer");
            std::fs::create_dir_all(outer.join("deep")).expect("made");
            std::fs::create_dir(bundle.path.join("inner")).expect("made");
            std::fs::write(bundle.path.join("inner/file"), "inner\n").expect("written");
            // Nobody in a user namespace gets to the sources by their paths.
            let closed = std::fs::Permissions::from_mode(0o711);
            std::fs::set_permissions(&bundle.path, closed).expect("its mode");
            for name in ["tree", "copy"] {
                std::fs::create_dir(bundle.rootfs(name)).expect("made");
            }
            if users {
                bundle.give_users();
            }
            let mut last =
                bind(&bundle.rootfs("tree"), &bundle.rootfs("copy").display().to_string(), &["rbind"]);
            if owners {
                last["uidMappings"] = id_map(0, 100_000, 65_536);
                last["gidMappings"] = id_map(0, 100_000, 65_536);
            }
            let inner = bind(&bundle.path.join("inner"), "/tree/deep", &["bind"]);
            with_mounts(&bundle, &[bind(&outer, "/tree", &["bind"]), inner, last]);
            let output = bundle.script("cat /copy/deep/file && busybox stat -c %u /tree /copy");
            let (plain, mapped) = match (users, owners) {
                (false, false) => (0, 0),
                (false, true) => (0, 100_000),
                // Root of the host is nobody there, but for a mount whose map has it.
                (true, false) => (65_534, 65_534),
                (true, true) => (65_534, 0),
            };
            assert_eq!(text(&output), format!("inner\n{plain}\n{mapped}\n"), "{what}: {output:?}");
            bundle.assert_clean(&what);
        }
    }
}

/// Runs the bundle in a mount namespace of its own where `flags` are those of the mount at `volume`.
fn flags_inside(bundle: &Bundle, flags: &str) -> std::process::Output {
    let volume = bundle.path.join("volume");
    let script = format!(
        "mount -t tmpfs tmpfs {0} && mount --bind -o remount,strictatime {0} && mount --bind -o remount,{flags} {0} && \
         exec {1} --root {2} run --bundle {3} {4}",
        volume.display(),
        support::BINARY,
        bundle.path.join("state").display(),
        bundle.path.display(),
        bundle.id,
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
    support::finish(command)
}

#[test]
fn flags_of_the_hosts_mount_stay_until_an_option_names_any() {
    root_only!();
    for (users, flags, options, has, lacks) in [
        (false, "ro,noexec", &["bind"][..], &["ro", "noexec"][..], &[][..]),
        (false, "ro,noexec", &["bind", "dev"], &["rw"], &["noexec"]),
        (false, "ro", &["bind", "nosuid"], &["rw", "nosuid"], &[]),
        (false, "noatime", &["bind", "atime"], &["noatime"], &[]),
        (false, "noatime", &["bind", "relatime"], &["relatime"], &["noatime"]),
        (true, "ro,noexec", &["bind", "nosuid"], &["ro", "noexec", "nosuid"], &["rw"]),
        (true, "nosuid,nosymfollow", &["bind", "ro"], &["ro", "nosuid"], &["nosymfollow"]),
    ] {
        let bundle = Bundle::hostile("flags", &[]);
        std::fs::create_dir(bundle.path.join("volume")).expect("made");
        if users {
            bundle.give_users();
        }
        with_mounts(&bundle, &[bind(&bundle.path.join("volume"), "/volume", options)]);
        bundle.edit(|config| config["process"]["args"] = json!(["grep", " /volume ", "/proc/self/mounts"]));
        let output = flags_inside(&bundle, flags);
        let line = text(&output);
        let found: Vec<&str> = line.split(' ').nth(3).unwrap_or_default().split(',').collect();
        let what = format!("{flags} with {options:?}: {output:?}");
        assert!(has.iter().all(|flag| found.contains(flag)), "{what}");
        assert!(!lacks.iter().any(|flag| found.contains(flag)), "{what}");
    }
}

#[test]
fn read_only_mount_keeps_locked_flags_whoever_makes_it() {
    root_only!();
    // Where the users of the namespace can't get, the parent makes the mount, without locks.
    for mode in [0o700, 0o755] {
        let bundle = Bundle::hostile("locked", &["true"]);
        std::fs::create_dir(bundle.path.join("volume")).expect("made");
        bundle.give_users();
        let closed = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&bundle.path, closed).expect("its mode");
        with_mounts(&bundle, &[bind(&bundle.path.join("volume"), "/volume", &["bind", "rw", "nodev"])]);
        let output = flags_inside(&bundle, "ro");
        assert!(!output.status.success(), "{mode:o}: {output:?}");
        let said = errors(&output);
        let sentence = "unable to start container process: error during container init: error mounting";
        assert!(said.contains(sentence) && said.contains("operation not permitted"), "{mode:o}: {said}");
        bundle.assert_clean("after the refusal");
    }
}

/// config-linux.md, "Rootfs Mount Propagation": a new group of peers.
#[test]
fn shared_root_is_no_slave_of_the_hosts() {
    root_only!();
    let bundle = Bundle::hostile("shared-root", &["cat", "/proc/self/mountinfo"]);
    bundle.edit(|config| config["linux"]["rootfsPropagation"] = json!("shared"));
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "shared", support::BINARY, "--root"]);
    command.arg(bundle.path.join("state")).args(["run", "--bundle"]).arg(&bundle.path).arg(&bundle.id);
    let output = support::finish(command);
    let table = text(&output);
    let root = table.lines().find(|line| line.split(' ').nth(4) == Some("/")).expect("a root");
    assert!(root.contains(" shared:") && !root.contains("master:"), "{root}");
}

#[test]
fn shared_mount_of_a_user_namespace_has_no_peer_on_the_host() {
    root_only!();
    let bundle = Bundle::hostile("shared-users", &[]);
    let volume = bundle.path.join("volume");
    std::fs::create_dir_all(volume.join("inner")).expect("made");
    bundle.give_users();
    with_mounts(&bundle, &[bind(&volume, "/volume", &["bind", "shared"])]);
    let output = bundle.script("grep ' /volume ' /proc/self/mountinfo");
    assert!(text(&output).contains(" shared:") && !text(&output).contains("master:"), "{output:?}");
}

#[test]
fn relative_paths_are_hidden_from_the_root_on_whatever_the_working_directory_is() {
    root_only!();
    let bundle = Bundle::hostile("relative-paths", &[]);
    std::fs::create_dir_all(bundle.rootfs("work/closed")).expect("made");
    for name in ["secret", "work/secret"] {
        std::fs::write(bundle.rootfs(name), "seen\n").expect("written");
    }
    std::fs::create_dir(bundle.rootfs("closed")).expect("made");
    bundle.edit(|config| {
        config["root"]["readonly"] = json!(false);
        config["process"]["cwd"] = json!("/work");
        config["linux"]["maskedPaths"] = json!(["secret"]);
        config["linux"]["readonlyPaths"] = json!(["closed", "not/there"]);
    });
    let output = bundle.script("cat /secret secret; touch closed/here && echo wrote; touch /closed/here");
    assert_eq!(text(&output), "seen\nwrote\n", "{output:?}");
    assert_eq!(errors(&output), "touch: /closed/here: Read-only file system\n", "{output:?}");
    bundle.edit(|config| config["linux"]["readonlyPaths"] = json!([""]));
    let refused = bundle.script("true");
    assert!(errors(&refused).contains("linux.readonlyPaths[0]: is empty"), "{refused:?}");
    bundle.assert_clean("after the runs");
}
