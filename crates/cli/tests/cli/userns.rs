//! `--userns` and its kin, as root: whose ids a container has, and whose its files are.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use crate::support::{Host, eventually, names};

/// The first id outside and how many, of the only line of a map.
fn line(text: &str) -> (u32, u32, u32) {
    let numbers: Vec<u32> =
        text.split_ascii_whitespace().map(|word| word.parse().expect("a number")).collect();
    let [inside, outside, count] = numbers[..] else { panic!("one line: {text}") };
    (inside, outside, count)
}

fn owner(path: impl AsRef<Path>) -> (u32, u32) {
    let found = std::fs::symlink_metadata(path).expect("it is there");
    (found.uid(), found.gid())
}

const MAPS: &str = "cat /proc/self/uid_map; cat /proc/self/gid_map";

#[test]
fn root_inside_is_nobody_outside_and_its_files_are_roots() {
    let Some(host) = Host::new() else { return };
    let etc = host.rootfs().join("bin/owned");
    std::fs::write(&etc, "x").expect("written");
    chown(&etc, Some(1000), Some(1000)).expect("its owner");
    let script = format!(
        "{MAPS}; stat -c '%u:%g' / /bin/owned /etc/hosts /dev/shm /bin/busybox; echo x > /made; mkdir /dir; \
         echo y > /his; chown 1000:1000 /his; cat /etc/hostname > /dev/null; head -c 1 /dev/zero > /dev/null; \
         stat -c '%u:%g' /made /his"
    );
    let ran = host.inside(&["--userns=auto"], &script);
    let lines: Vec<&str> = ran.text().lines().map(str::trim).collect();
    let (inside, outside, count) = line(lines[0]);
    assert_eq!((inside, count), (0, 65_536));
    assert!(outside >= 65_536, "no user of the host's: {outside}");
    assert_eq!(lines[0], lines[1], "groups are the same numbers");
    assert_eq!(lines[2..], ["0:0", "1000:1000", "0:0", "0:0", "0:0", "0:0", "1000:1000"]);
    assert_eq!(owner(host.rootfs().join("made")), (0, 0), "unshifted on the disk");
    assert_eq!(owner(host.rootfs().join("dir")), (0, 0));
    assert_eq!(owner(host.rootfs().join("his")), (1000, 1000));
    for name in ["made", "his"] {
        std::fs::remove_file(host.rootfs().join(name)).expect("removed");
    }
    std::fs::remove_dir(host.rootfs().join("dir")).expect("removed");
    std::fs::remove_file(etc).expect("removed");
    host.assert_nothing_left();
}

/// The users, real to file system, of the processes in the container's own namespace.
fn users_of(host: &Host, id: &str) -> Vec<u32> {
    let state = host.state().join("containers").join(id).join("state.json");
    let text = std::fs::read_to_string(state).expect("a record");
    let at = text.find("\"pid\":").expect("a pid") + "\"pid\":".len();
    let pid: String = text[at..].trim_start().chars().take_while(char::is_ascii_digit).collect();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:")).expect("users");
    users.split_ascii_whitespace().map(|word| word.parse().expect("a number")).collect()
}

#[test]
fn ranges_of_running_containers_do_not_overlap_and_come_free_with_them() {
    let Some(host) = Host::new() else { return };
    let mut first = host.background(&["--userns=auto", "--network=none"], "one", "read end");
    let [id] = &host.containers()[..] else { panic!("one runs") };
    let lease = names(&host.state().join("user-ids"));
    let [range] = &lease[..] else { panic!("one lease: {lease:?}") };
    let (begin, count) = range.split_once('-').expect("first and count");
    let begin: u32 = begin.parse().expect("a number");
    assert_eq!(count, "65536");
    assert_eq!(users_of(&host, id), [begin; 4], "the host sees the first of its ids");

    let second = host.inside(&["--userns=auto", "--network=none"], "cat /proc/self/uid_map");
    assert_eq!(line(second.text()).1, begin + 65_536);
    let small = host.inside(&["--userns=auto:size=1000", "--network=none"], "cat /proc/self/uid_map");
    assert_eq!(line(small.text()), (0, begin + 65_536, 1000));

    // A killed command frees its range by dying.
    first.signal("KILL");
    first.finish();
    eventually("the container dies with its command", || host.processes().is_empty());
    let third = host.inside(&["--userns=auto", "--network=none"], "cat /proc/self/uid_map");
    assert_eq!(line(third.text()).1, begin);
    host.assert_nothing_left();
}

#[test]
fn ranges_come_from_the_hosts_files_and_their_end_is_told() {
    let Some(host) = Host::new() else { return };
    let directory = host.directory().display().to_string();
    let file = "root:900000:70000\\ncontainers:3000000:100000\\n";
    // On this test's own mounts; the machine may have no such files.
    host.set_up(&format!(
        "cp -a /etc {directory}/etc; printf '{file}' > {directory}/etc/subuid; printf '{file}' > {directory}/etc/subgid; \
         mount --bind {directory}/etc /etc"
    ));
    let map = |ran: crate::support::Ran| line(ran.text());
    assert_eq!(
        map(host.inside(&["--userns=auto", "-n", "x"], "cat /proc/self/uid_map")),
        (0, 3_000_000, 65_536)
    );
    let named = host.inside(&["--subuidname=root", "--network=none"], "cat /proc/self/gid_map");
    assert_eq!(map(named), (0, 900_000, 70_000));
    let first = host.background(&["--userns=auto", "--network=none"], "one", "read end");
    let second = host.inside(&["--userns=auto"], "true");
    second.refuses(125, &["--userns=auto", "running containers have all 65536", "`containers`"]);
    let small = host.inside(&["--userns=auto:size=20000", "--network=none"], "cat /proc/self/uid_map");
    assert_eq!(map(small), (0, 3_065_536, 20_000));
    host.inside(&["--userns=auto:size=200000"], "true").refuses(125, &["has no 200000 in one piece"]);
    assert_eq!(first.release().code(), 0);
    host.set_up("umount /etc");
    std::fs::remove_dir_all(host.directory().join("etc")).expect("removed");
    host.assert_nothing_left();
}

#[test]
fn ids_can_be_mapped_by_hand() {
    let Some(host) = Host::new() else { return };
    let flags = ["--uidmap=0:500000:1000", "--uidmap=1000:1000:1", "--gidmap=0:600000:10", "--network=none"];
    let ran =
        host.inside(&flags, &format!("{MAPS}; echo x > /made; chown 1000:9 /made; stat -c '%u:%g' /dev/pts"));
    let words: Vec<Vec<&str>> =
        ran.text().lines().map(|line| line.split_ascii_whitespace().collect()).collect();
    let expected =
        [vec!["0", "500000", "1000"], vec!["1000", "1000", "1"], vec!["0", "600000", "10"], vec!["0:0"]];
    assert_eq!(words, expected);
    // The root directory is shown as on the disk, so what is written there is, too.
    assert_eq!(owner(host.rootfs().join("made")), (1000, 9));
    std::fs::remove_file(host.rootfs().join("made")).expect("removed");
    // Without the group of terminals.
    let ran = host.inside(&["--uidmap=0:500000:1", "--network=none"], "id -u; touch /made");
    assert_eq!(ran.text(), "0");
    assert_eq!(owner(host.rootfs().join("made")), (0, 0));
    std::fs::remove_file(host.rootfs().join("made")).expect("removed");
    let forced =
        host.inside(&["--userns=auto:size=10,uidmapping=5:0:1", "--network=none"], "cat /proc/self/uid_map");
    let words: Vec<&str> = forced.text().split_ascii_whitespace().collect();
    assert_eq!(
        (words[0], words[2], &words[3..6], words[6], words[8]),
        ("0", "5", &["5", "0", "1"][..], "6", "4")
    );
    host.assert_nothing_left();
}

#[test]
fn overlays_show_the_shifted_root_and_keep_writes_off_it() {
    let Some(host) = Host::new() else { return };
    let file = host.rootfs().join("bin/owned");
    std::fs::write(&file, "x\n").expect("written");
    chown(&file, Some(1000), Some(1000)).expect("its owner");
    let script = "stat -c '%u:%g' / /bin/owned; echo y >> /bin/owned; stat -c '%u:%g' /bin/owned; cat /bin/owned; \
                  echo z > /new; stat -c '%u:%g' /new; rm /bin/owned; mkdir /bin/owned; stat -c '%u:%g' /bin/owned";
    let ran = host.inside(&["--userns=auto", "--overlay", "--network=none"], script);
    assert_eq!(ran.text(), "0:0\n1000:1000\n1000:1000\nx\ny\n0:0\n0:0");
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "x\n");
    std::fs::remove_file(&file).expect("removed");
    host.assert_nothing_left();
}

#[test]
fn hosts_root_is_shown_shifted_to_a_container_that_is_nobody() {
    let Some(host) = Host::new() else { return };
    let secret = host.directory().join("secret");
    std::fs::write(&secret, "secret\n").expect("written");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    let script = format!(
        "stat -c '%u:%g' / /etc /etc/passwd; echo x > /etc/rabbitc-userns && stat -c '%u:%g' /etc/rabbitc-userns; \
         cat /proc/self/uid_map; cat {}",
        secret.display()
    );
    let ran = host.run(&["--userns=auto", "--network=none", "--", "/bin/sh", "-c", &script]);
    let lines: Vec<&str> = ran.text().lines().collect();
    assert_eq!(lines[..4], ["0:0"; 4]);
    assert!(line(lines[4]).1 >= 65_536);
    assert_eq!(lines[5], "secret", "what root may read there, root may read inside: the warning says so");
    assert!(ran.stderr.contains("secrets"), "{ran:?}");
    assert!(!Path::new("/etc/rabbitc-userns").exists());
    host.assert_nothing_left();
}

#[test]
fn user_namespace_of_another_container_can_be_joined() {
    let Some(host) = Host::new() else { return };
    let first = host.background(&["--userns=auto"], "one", "read end");
    let [id] = &host.containers()[..] else { panic!("one runs") };
    let record =
        std::fs::read_to_string(host.state().join("containers").join(id).join("state.json")).expect("there");
    let at = record.find("\"pid\":").expect("a pid") + "\"pid\":".len();
    let pid: String = record[at..].trim_start().chars().take_while(char::is_ascii_digit).collect();
    let namespace = format!("/proc/{pid}/ns/user");
    let expected = std::fs::read_link(&namespace).expect("it runs").display().to_string();
    let map = std::fs::read_to_string(format!("/proc/{pid}/uid_map")).expect("it runs");
    for flag in [format!("--userns=container:{id}"), format!("--userns=ns:{namespace}")] {
        // A network of its own as well, below those users: it is attached when the namespace is there.
        let script = "cat /proc/self/uid_map; readlink /proc/self/ns/user; stat -c '%u' / /etc/hosts; \
                      ip -oneline addr show eth0 | grep -c 'inet '; echo x > /made";
        let ran = host.inside(&[&flag], script);
        let expected = format!("{}\n{expected}\n0\n0\n1", map.trim_end());
        assert_eq!(ran.stdout.trim_end(), expected, "{flag}: {ran:?}");
        assert_eq!(owner(host.rootfs().join("made")), (0, 0));
        std::fs::remove_file(host.rootfs().join("made")).expect("removed");
    }
    assert_eq!(first.release().code(), 0);
    let gone = host.inside(&[&format!("--userns=container:{id}")], "true");
    gone.refuses(125, &["--userns: find the container", "no container runs"]);
    // That of the host is none of its own.
    let own = format!("--userns=ns:/proc/{}/ns/user", host.pid());
    let ran = host.inside(&[&own, "--network=none"], "cat /proc/self/uid_map");
    assert_eq!(line(ran.text()), (0, 0, u32::MAX));
    host.assert_nothing_left();
}

#[test]
fn ids_of_a_joined_namespace_are_nobody_elses_while_anybody_is_in_it() {
    let Some(host) = Host::new() else { return };
    let auto = &["--userns=auto", "--network=none"];
    let first = host.background(auto, "one", "read end");
    let [id] = &host.containers()[..] else { panic!("one runs") };
    let leased = || names(&host.state().join("user-ids"));
    let of_the_first = leased();
    let joiner = format!("--userns=container:{}", &id[..6]);
    let second = host.background(&[&joiner, "--network=none"], "two", "cat /proc/self/uid_map; read end");
    assert_eq!(first.release().code(), 0);
    assert_eq!(leased(), of_the_first, "the second is in them");
    let third = host.inside(auto, "cat /proc/self/uid_map");
    let second = second.release();
    assert_eq!(second.code(), 0, "{second:?}");
    assert_ne!(line(third.text()).1, line(second.text()).1);
    assert!(leased().is_empty());
    host.assert_nothing_left();
}

#[test]
fn hosts_network_can_be_shared_with_other_users() {
    let Some(host) = Host::new() else { return };
    let ran = host.inside(
        &["--userns=auto", "--network=host"],
        "ls /sys/class/net; touch /sys/x 2>&1; id -u; ip link set lo down",
    );
    assert_ne!(ran.code(), 0, "no right over the host's network");
    assert!(
        ran.stdout.contains("lo\n") && ran.stdout.contains("Read-only") && ran.stdout.ends_with("0\n"),
        "{ran:?}"
    );
    assert!(host.shell("ip link show lo").contains("UP"));
    host.assert_nothing_left();
}

#[test]
fn other_namespaces_of_the_host_can_be_shared_with_other_users() {
    let Some(host) = Host::new() else { return };
    let kinds =
        [("--pid=host", "pid"), ("--ipc=host", "ipc"), ("--uts=host", "uts"), ("--cgroupns=host", "cgroup")];
    for (flag, kind) in kinds {
        let script =
            format!("id -u; readlink /proc/self/ns/{kind}; ls -d /proc/1 /sys/kernel /sys/fs/cgroup");
        let ran = host.inside(&["--userns=auto", "--network=none", flag], &script);
        let namespace = host.shell(&format!("readlink /proc/self/ns/{kind}"));
        let expected = format!("0\n{namespace}\n/proc/1\n/sys/fs/cgroup\n/sys/kernel");
        assert_eq!(ran.text(), expected, "{flag}: {ran:?}");
    }
    host.assert_nothing_left();
}

#[test]
fn what_can_not_be_is_refused_with_its_flag() {
    let Some(host) = Host::new() else { return };
    for (flags, part) in [
        (&["--userns=keep-id:uid=7"][..], "is about"),
        (&["--userns=nomap"], "`nomap` is about"),
        (&["--userns=private"], "needs maps"),
        (&["--userns=automatic"], "`automatic` is not known"),
        (&["--userns=container:none"], "no container runs"),
        (&["--userns=auto", "--uidmap=0:1:1"], "others are given"),
    ] {
        host.inside(flags, "true").refuses(125, &["--userns", part]);
    }
    host.inside(&["--uidmap=0:x:1"], "true").refuses(125, &["--uidmap", "`0:x:1`"]);
    host.inside(&["--subuidname=nobody-at-all"], "true")
        .refuses(125, &["--subuidname", "grants `nobody-at-all` no ids"]);
    host.inside(&["--uidmap=0:100:10", "--uidmap=5:200:10"], "true").refuses(125, &["overlaps"]);
    host.inside(&["--userns=ns:/proc/self/ns/net"], "true").refuses(125, &[]);
    host.assert_nothing_left();
}

#[test]
fn root_on_a_file_system_that_can_not_show_other_owners_is_refused_by_name() {
    let Some(host) = Host::new() else { return };
    let place = host.directory().join("ram");
    std::fs::create_dir(&place).expect("made");
    host.set_up(&format!(
        "mount -t ramfs none {0}; cp -a {1}/. {0}",
        place.display(),
        host.rootfs().display()
    ));
    let root = format!("--rootfs={}", place.display());
    let ran = host.run(&[&root, "--userns=auto", "--network=none", "--cmd=/bin/true"]);
    ran.refuses(125, &["map the owners of", "`ramfs`, can't show other owners", "asked for by: --userns"]);
    host.set_up(&format!("umount {}", place.display()));
    std::fs::remove_dir(&place).expect("removed");
    host.assert_nothing_left();
}

#[test]
fn plan_and_timeline_name_the_steps_and_their_flags() {
    let Some(host) = Host::new() else { return };
    let ran = host.run(&["plan", &host.rootfs_flag(), "--userns=auto"]);
    for part in [
        "map the owners of a tree of mounts",
        "write the id maps",
        "become root of the user namespace",
        "--userns",
    ] {
        assert!(ran.text().contains(part), "no {part:?} in {}", ran.text());
    }
    assert!(!host.state().exists(), "a plan leases nothing");
    let ran = host.inside(&["--userns=auto", "--network=none", "--explain"], "true");
    let step = ran.stderr.lines().position(|line| line.contains("map the owners")).expect("the step");
    assert!(
        ran.stderr.lines().nth(step + 1).expect("its reason").contains("asked for by: --userns"),
        "{}",
        ran.stderr
    );
    // What is not asked for is not there.
    let ran = host.run(&["plan", &host.rootfs_flag()]);
    assert!(!ran.text().contains("owners") && !ran.text().contains("id maps"), "{}", ran.text());
    host.assert_nothing_left();
}

#[test]
fn volumes_have_the_owners_that_they_have_on_the_host() {
    let Some(host) = Host::new() else { return };
    let volume = host.directory().join("volume");
    std::fs::create_dir_all(volume.join("below")).expect("made");
    let file = volume.join("file");
    std::fs::write(&file, "x\n").expect("written");
    for path in [&volume, &file] {
        chown(path, Some(1000), Some(1000)).expect("its owner");
    }
    host.set_up(&format!("mount -t tmpfs none {0}/below; touch {0}/below/there", volume.display()));
    let flag = |options: &str| format!("--volume={}:/data{options}", volume.display());
    for (options, expected) in [("", "1000\n1000\n0\n0"), (":idmap", "1000\n1000\n0\n0")] {
        let script =
            "stat -c %u /data /data/file /data/below/there; echo x > /data/made; stat -c %u /data/made";
        let ran = host.inside(&["--userns=auto", "--network=none", &flag(options)], script);
        assert_eq!(ran.text(), expected, "{options}");
        assert_eq!(owner(volume.join("made")), (0, 0), "unshifted");
        std::fs::remove_file(volume.join("made")).expect("removed");
    }
    // A user of its own that is the same on the host.
    let script = "id -u; echo y >> /data/file; cat /data/file";
    let ran = host.inside(&["--userns=auto", "--network=none", "--user=1000", &flag("")], script);
    assert_eq!(ran.text(), "1000\nx\ny");
    let ran = host.inside(
        &["--userns=auto", "--network=none", &flag(":ro")],
        "echo z > /data/made || stat -c %u /data",
    );
    assert_eq!(ran.text(), "1000", "read-only");
    let ran = host.inside(
        &["--userns=auto", "--network=none", &flag(":O")],
        "echo z > /data/made; stat -c %u /data /data/made",
    );
    assert_eq!(ran.text(), "1000\n0", "thrown away");
    assert!(!volume.join("made").exists());
    // `U` gives the files to who looks like their owner inside.
    let ran = host.inside(&["--userns=auto", "--network=none", &flag(":U")], "stat -c %u /data/file");
    assert_eq!((ran.text(), owner(&file)), ("0", (0, 0)));
    let one = format!("--volume={}:/one", file.display());
    let ran = host.inside(&["--userns=auto", "--network=none", &one], "stat -c %u /one; cat /one");
    assert_eq!(ran.text(), "0\nx\ny", "a file alone");
    let device = ["--userns=auto", "--network=none", "--volume=/dev/zero:/nothing", "--device=/dev/full"];
    let ran = host.inside(&device, "head -c 2 /nothing | wc -c; echo x 2>/dev/null > /dev/full || echo full");
    assert_eq!(ran.text(), "2\nfull");
    let ran = host.inside(&["--network=none", &flag(":idmap")], "true");
    ran.refuses(125, &["--volume", "map of the container's user namespace, and it has none"]);
    host.set_up(&format!("umount {}/below", volume.display()));
    std::fs::remove_dir_all(&volume).expect("removed");
    host.assert_nothing_left();
}

#[test]
fn user_that_is_not_mapped_is_refused_with_a_remedy() {
    let Some(host) = Host::new() else { return };
    let ran = host.inside(&["--userns=auto:size=10", "--network=none", "--user=1000"], "true");
    ran.refuses(125, &["--user: user 1000 does not exist", "which has 0-9", "--userns=auto:size=N"]);
    let refused = |flags: &[&str], parts: &[&str]| {
        let mut all = vec!["--network=none"];
        all.extend(flags);
        host.inside(&all, "true").refuses(125, parts);
    };
    refused(&["--uidmap=1:1:1"], &["--uidmap, --gidmap: user 0 does not exist", "which has 1"]);
    refused(&["--userns=auto:size=10", "--user=1:77"], &["--user: group 77 does not exist"]);
    refused(
        &["--userns=auto:size=10", "--group-add=5", "--group-add=78"],
        &["--group-add: group 78 does not"],
    );
    host.assert_nothing_left();
}

#[test]
fn root_that_keeps_its_ids_has_a_user_namespace_in_which_everybody_is_who_he_was() {
    let Some(host) = Host::new() else { return };
    let script = format!("{MAPS}; id -u; readlink /proc/self/ns/user; touch /made");
    let ran = host.inside(&["--userns=keep-id", "--network=none"], &script);
    let lines: Vec<&str> = ran.text().lines().map(str::trim).collect();
    assert_eq!((line(lines[0]), line(lines[1])), ((0, 0, u32::MAX), (0, 0, u32::MAX)));
    assert_eq!(lines[2], "0");
    assert_ne!(lines[3], host.shell("readlink /proc/self/ns/user"));
    assert_eq!(owner(host.rootfs().join("made")), (0, 0));
    std::fs::remove_file(host.rootfs().join("made")).expect("removed");
    host.assert_nothing_left();
}
