//! A root file system, and what runs in it, against the host: each test is named after what is tried
//! (docs/security.md). More of them, with what only a configuration can ask for, are with `rabbitc-runtime`.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::life::Place;
use crate::support::{Host, Ran, names};

/// A directory of the host that attacks aim at.
fn victim(host: &Host) -> PathBuf {
    let path = host.directory().join("victim");
    std::fs::create_dir_all(&path).expect("made");
    std::fs::write(path.join("file"), "of the host\n").expect("written");
    path
}

fn assert_untouched(victim: &Path, what: &str, ran: &Ran) {
    assert_eq!(names(victim), ["file"], "{what}: {ran:?}");
    let text = std::fs::read_to_string(victim.join("file")).expect("there");
    assert_eq!(text, "of the host\n", "{what}: {ran:?}");
    assert!(!ran.stdout.contains("of the host"), "{what}: {ran:?}");
}

/// Removes what a test put into the root, so that what is left is rabbitc's.
fn clear(host: &Host) {
    for name in names(&host.rootfs()).iter().filter(|name| *name != "bin") {
        let path = host.rootfs().join(name);
        let removed = if path.is_dir() && !path.is_symlink() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        removed.expect("removed");
    }
}

/// What lies on top of the root is where `..` leads from there, whatever the container's own root is.
#[test]
fn nothing_of_the_host_lies_on_top_of_the_root() {
    let Some(host) = Host::new() else { return };
    for flags in [&[][..], &["--overlay"], &["--userns=auto"], &["--overlay", "--userns=auto"]] {
        let flags = [&["--network=none"], flags].concat();
        let ran = host.inside(&flags, "echo $(ls /) = $(ls /..); grep -c ' / / ' /proc/self/mountinfo");
        let lines: Vec<&str> = ran.stdout.lines().collect();
        let (own, above) = lines[0].split_once(" = ").expect("both are listed");
        assert_eq!(own, above, "{flags:?}");
        assert!(lines[1] <= "1", "{flags:?}: one mount at most is the root, from its own root on: {ran:?}");
    }
    host.assert_nothing_left();
}

/// CVE-2019-5736: what enters a container is a file that nobody can write to, not even once it runs no more.
#[test]
fn host_binary_runs_from_where_it_can_not_be_written_and_stays_as_it_is() {
    let Some(host) = Host::new() else { return };
    let before = std::fs::read(crate::support::binary()).expect("read");
    // The program is the host's binary, by way of a script: whatever it does there, it does it from that file.
    let hostile = host.rootfs().join("bin/hostile");
    std::fs::write(&hostile, "#!/proc/self/exe --version\n").expect("written");
    std::fs::set_permissions(&hostile, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("its mode");
    for _ in 0..20 {
        host.run(&[&host.rootfs_flag(), "--network=none", "--cmd=/bin/hostile"]);
    }
    // ETXTBSY protects it as long as it runs; what counts is what is behind that.
    let mut container = host.background(&["--network=none"], "up", "read end");
    let name = crate::support::binary();
    let name = name.file_name().expect("has one").to_string_lossy().into_owned();
    let running = std::fs::read_dir("/proc").expect("procfs").flatten().filter(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains(&*host.directory().to_string_lossy())
            && line.split('\0').next().is_some_and(|one| one.ends_with(&name))
    });
    let mut looked_at = 0;
    for process in running {
        let exe = process.path().join("exe");
        let held = std::fs::File::open(&exe).expect("it runs");
        let found = rustix::fs::fstatvfs(&held).expect("a file system");
        let sealed = rustix::fs::fcntl_get_seals(&held)
            .is_ok_and(|seals| seals.contains(rustix::fs::SealFlags::WRITE));
        assert!(sealed || found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY), "{}", exe.display());
        looked_at += 1;
    }
    assert!(looked_at > 0, "the command of process {} was found", container.pid());
    assert_eq!(container.release().code(), 0);
    assert!(
        std::fs::read(crate::support::binary()).expect("read") == before,
        "the host's binary was written to"
    );
    std::fs::remove_file(hostile).expect("removed");
}

/// CVE-2021-30465, CVE-2019-19921: every name that rabbitc mounts on or writes to, as a link to the host.
#[test]
fn names_of_the_root_that_are_links_lead_nowhere_outside() {
    let Some(host) = Host::new() else { return };
    let victim = victim(&host);
    let file = victim.join("file");
    let tries = [
        "proc",
        "sys",
        "dev",
        "etc",
        "etc/hosts",
        "etc/hostname",
        "etc/resolv.conf",
        "dev/null",
        "dev/console",
        "dev/pts",
        "dev/shm",
        "dev/mqueue",
        "sys/fs",
        "sys/fs/cgroup",
        "tmp",
    ];
    for name in tries {
        let aim = if name.starts_with("etc/") || name == "dev/null" || name == "dev/console" {
            &file
        } else {
            &victim
        };
        for way in [
            aim.display().to_string(),
            format!("../../../../../../../..{}", aim.display()),
            format!("/proc/self/root{}", aim.display()),
            "/proc/self/exe".to_owned(),
            "/proc/sys/kernel/core_pattern".to_owned(),
            format!("/{name}"),
        ] {
            let path = host.rootfs().join(name);
            std::fs::create_dir_all(path.parent().expect("has one")).expect("made");
            symlink(&way, &path).expect("a link");
            let script = "echo taken >/etc/hosts; echo taken >/dev/null; echo taken >/dev/console; exit 0";
            let ran = host.inside(&["--network=host"], script);
            assert_untouched(&victim, &format!("`/{name}` -> `{way}`"), &ran);
            assert!([0, 125].contains(&ran.code()), "`/{name}` -> `{way}`: {ran:?}");
            clear(&host);
        }
    }
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").expect("read");
    assert!(!pattern.contains("taken"));
    host.assert_nothing_left();
}

/// CVE-2024-9676: rabbitc writes files of its own over what the image has there, of whatever kind.
#[test]
fn special_files_for_hosts_and_resolvers_hold_nobody_up() {
    let Some(host) = Host::new() else { return };
    for kind in ["p", "c 4 0", "b 254 0"] {
        for name in ["etc/hosts", "etc/hostname", "etc/resolv.conf"] {
            host.set_up(&format!("mkdir -p {0}/etc && mknod {0}/{name} {kind}", host.rootfs().display()));
            let ran = host.inside(&["--network=host"], &format!("cat /{name}; echo read"));
            assert!(ran.text().ends_with("read"), "{kind} at {name}: {ran:?}");
            clear(&host);
        }
        for name in ["proc", "sys", "dev", "etc"] {
            host.set_up(&format!("mknod {}/{name} {kind}", host.rootfs().display()));
            let ran = host.inside(&["--network=host"], "exit 0");
            assert_eq!(ran.code(), 125, "{kind} at {name}: {ran:?}");
            clear(&host);
        }
    }
    host.assert_nothing_left();
}

/// CVE-2021-30465, CVE-2025-31133, CVE-2025-52881: somebody exchanges names of the root while containers start on it.
#[test]
fn names_exchanged_through_hundreds_of_starts_open_nothing_of_the_host() {
    let Some(host) = Host::new() else { return };
    let victim = victim(&host);
    let binary = std::fs::read(crate::support::binary()).expect("read");
    let mounts = host.mount_table();
    let root = host.rootfs();
    for directory in [
        "proc",
        "decoy/sys",
        "decoy/bus",
        "decoy/fs",
        "decoy/irq",
        "etc",
        "other",
        "dev",
        "dummy",
        "sys",
        "fake/fs/cgroup",
    ] {
        std::fs::create_dir_all(root.join(directory)).expect("made");
    }
    for file in
        ["decoy/kcore", "decoy/keys", "decoy/timer_list", "decoy/sysrq-trigger", "etc/hosts", "other/hosts"]
    {
        std::fs::write(root.join(file), "").expect("written");
    }
    for link in ["proc-link", "etc-link", "dev-link"] {
        symlink(&victim, root.join(link)).expect("a link");
    }
    symlink(victim.join("file"), root.join("hosts-link")).expect("a link");
    let script = "for proc in proc decoy proc-link; do \
                  for file in sys/kernel/core_pattern sys/vm/drop_caches; do \
                  ( : >>/$proc/$file ) 2>/dev/null && echo open: $proc/$file; done; \
                  for file in kcore keys timer_list; do \
                  if test -s /$proc/$file || head -c 1 /$proc/$file 2>/dev/null | grep -q .; then \
                  echo shown: $proc/$file; fi; done; done; echo ran";
    let mut ran = 0;
    for pairs in [
        &[("proc", "decoy"), ("dev", "dummy"), ("sys", "fake")][..],
        &[("proc", "proc-link"), ("dev", "dev-link"), ("etc", "etc-link")],
        &[("proc", "decoy"), ("etc/hosts", "hosts-link"), ("etc", "other")],
    ] {
        let racer = Racer::new(&root, pairs);
        for number in 0..100 {
            let one = host.inside(&["--network=host"], script);
            assert!(
                !one.stdout.contains("open:") && !one.stdout.contains("shown:"),
                "{pairs:?}, {number}: {one:?}"
            );
            assert!([0, 125, 126, 127].contains(&one.code()), "{pairs:?}, {number}: {one:?}");
            ran += usize::from(one.stdout.contains("ran"));
            if number % 10 == 0 {
                assert_untouched(&victim, &format!("{pairs:?}"), &one);
                assert_eq!(host.mount_table(), mounts, "{pairs:?}, {number}");
            }
        }
        assert!(racer.end() > 300, "the racer was there");
    }
    assert!(ran > 15, "some containers ran: {ran}");
    assert!(
        std::fs::read(crate::support::binary()).expect("read") == binary,
        "the host's binary was written to"
    );
    clear(&host);
    host.assert_nothing_left();
}

/// CVE-2021-30465, CVE-2024-45310: volumes whose destinations, or whose own content, lead elsewhere, at rest and while
/// names are exchanged; and owners that are changed in a volume that somebody else writes to.
#[test]
fn volumes_through_links_and_exchanged_names_reach_nothing_outside() {
    use std::os::unix::fs::MetadataExt;
    let Some(host) = Host::new() else { return };
    let victim = victim(&host);
    let (outer, inner) = (host.directory().join("outer"), host.directory().join("inner"));
    for directory in [outer.join("below"), outer.join("other"), inner.clone()] {
        std::fs::create_dir_all(&directory).expect("made");
    }
    std::fs::write(outer.join("below/file"), "of the volume\n").expect("written");
    std::fs::write(inner.join("mine"), "of the volume\n").expect("written");
    symlink(&victim, outer.join("link")).expect("a link");
    symlink(victim.join("file"), outer.join("file-link")).expect("a link");
    std::fs::write(outer.join("file"), "of the volume\n").expect("written");
    let owner = || std::fs::metadata(victim.join("file")).expect("there").uid();
    let volume = |source: &Path, rest: &str| format!("--volume={}:{rest}", source.display());
    // At rest: every way of a link.
    for way in [
        victim.display().to_string(),
        format!("../../../../../../..{}", victim.display()),
        format!("/proc/self/root{}", victim.display()),
        "/proc/self/cwd".to_owned(),
        "/proc/sys".to_owned(),
        "/data".to_owned(),
    ] {
        symlink(&way, host.rootfs().join("data")).expect("a link");
        for place in ["/data", "/data/deep/er", "/data/file"] {
            let ran = host.inside(&["--network=host", &volume(&inner, place)], "exit 0");
            assert!([0, 125].contains(&ran.code()), "`{way}`, {place}: {ran:?}");
            assert_untouched(&victim, &format!("`{way}`, {place}"), &ran);
        }
        clear(&host);
    }
    // In a race: the place of the volume, a place in a volume, and what is in one whose owners change.
    std::fs::create_dir_all(host.rootfs().join("data/place")).expect("made");
    std::fs::create_dir_all(host.rootfs().join("data-decoy/place")).expect("made");
    symlink(&victim, host.rootfs().join("data-link")).expect("a link");
    let racers = [
        Racer::new(
            &host.rootfs(),
            &[("data", "data-link"), ("data/place", "data-link"), ("data", "data-decoy")],
        ),
        Racer::new(&outer, &[("below", "link"), ("file", "file-link"), ("below", "other")]),
    ];
    for number in 0..60 {
        let flags = [
            "--network=host".to_owned(),
            "--user=12345:12345".to_owned(),
            volume(&inner, "/data/place"),
            volume(&outer, "/v:U"),
            volume(&inner, "/v/below/place"),
        ];
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let ran = host.inside(&flags, "cat /v/below/file /v/link/file /data/place/file 2>/dev/null; exit 0");
        assert!([0, 125, 126, 127].contains(&ran.code()), "{number}: {ran:?}");
        assert_untouched(&victim, &format!("start {number}"), &ran);
        assert_eq!(owner(), 0, "start {number}: the owner of a file of the host changed: {ran:?}");
    }
    assert!(racers.map(Racer::end).into_iter().sum::<usize>() > 100, "the racers were there");
    assert_eq!(std::fs::metadata(&victim).expect("there").uid(), 0);
    clear(&host);
    host.assert_nothing_left();
}

/// Exchanges pairs of names as fast as it goes, until it is dropped.
struct Racer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

impl Racer {
    fn new(root: &Path, pairs: &[(&str, &str)]) -> Racer {
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let pairs: Vec<_> = pairs.iter().map(|(one, other)| (root.join(one), root.join(other))).collect();
        let thread = std::thread::spawn(move || {
            let mut exchanged = 0;
            while !ended.load(Ordering::Relaxed) {
                for (one, other) in &pairs {
                    exchanged +=
                        usize::from(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok());
                }
            }
            exchanged
        });
        Racer { stop, thread: Some(thread) }
    }

    /// Ends it; says how often it exchanged.
    fn end(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("ended once").join().expect("it does not panic")
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// CVE-2022-0492, CVE-2023-25809: the cgroup file systems inside.
#[test]
fn cgroup_files_inside_are_no_way_out() {
    let Some(host) = Host::new() else { return };
    let script = "for file in cgroup.procs tasks notify_on_release memory.limit_in_bytes memory.max pids.max devices.allow \
                  cgroup.subtree_control cgroup.kill; do for at in /sys/fs/cgroup /sys/fs/cgroup/*; do \
                  ( echo 1 >$at/$file ) 2>/dev/null && echo written: $at/$file; done; done; \
                  mkdir /sys/fs/cgroup/own /sys/fs/cgroup/*/own 2>/dev/null && echo made; \
                  busybox find /sys/fs/cgroup -name release_agent; ls -d /sys/fs/cgroup/rabbitc* /sys/fs/cgroup/*/rabbitc* 2>/dev/null; \
                  mkdir /c; for kind in memory devices pids rdma; do mount -t cgroup -o $kind x /c 2>/dev/null && echo mounted: $kind; \
                  unshare -UrmC mount -t cgroup -o $kind x /c 2>/dev/null && echo unshared: $kind; done; \
                  mount -o remount,rw /sys/fs/cgroup 2>/dev/null && echo remounted; exit 0";
    let ran = host.inside(&["--network=none"], script);
    assert_eq!(ran.text(), "", "{ran:?}");
    clear(&host);
    host.assert_nothing_left();
}

/// CVE-2022-1227: what stands first in the caller's PATH, or is preloaded into it, is the caller's business; that
/// rabbitc runs a program at all for a container would be ours.
#[test]
fn no_program_is_run_for_a_container_whatever_the_path_says() {
    let Some(host) = Host::new() else { return };
    let fakes = host.directory().join("fakes");
    std::fs::create_dir(&fakes).expect("made");
    let mark = host.directory().join("run");
    let fake = format!("#!/bin/sh\necho $0 >>{}\n", mark.display());
    for name in [
        "ip",
        "iptables",
        "iptables-legacy",
        "ip6tables",
        "nft",
        "brctl",
        "mount",
        "umount",
        "nsenter",
        "modprobe",
        "systemctl",
        "sysctl",
        "runc",
        "crun",
        "conntrack",
        "newuidmap",
        "tar",
        "sh",
    ] {
        for directory in [fakes.clone(), host.rootfs().join("bin")] {
            let path = directory.join(name);
            if !path.exists() {
                std::fs::write(&path, &fake).expect("written");
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                std::fs::set_permissions(&path, mode).expect("its mode");
            }
        }
    }
    let path = format!("{}:{}", fakes.display(), host.rootfs().join("bin").display());
    let mut command = host.command("env");
    command.arg(format!("PATH={path}")).arg(crate::support::binary());
    command.arg(format!("--state-dir={}", host.state().display())).arg(host.rootfs_flag());
    command.args(["--memory=64m", "--", "/bin/cat", "/etc/hostname"]);
    let ran = crate::support::finish(command.spawn().expect("nsenter runs"), None);
    assert_eq!(ran.text(), "rabbitc", "{ran:?}");
    host.assert_nothing_left();
    assert!(!mark.exists(), "{:?}", std::fs::read_to_string(&mark));
}

/// CVE-2020-15257: with the host's network a container sees the host's abstract sockets; none of them is ours.
#[test]
fn no_abstract_socket_is_ours_while_a_container_runs() {
    let Some(host) = Host::new() else { return };
    // This host's network is the test's own, so any socket there would be.
    let abstracts = || host.shell("grep -c ' @' /proc/net/unix; true");
    let before = abstracts();
    for flags in [&["--network=host"][..], &[]] {
        let container = host.background(flags, "up", "read end");
        assert_eq!(abstracts(), before, "{flags:?}");
        assert_eq!(container.release().code(), 0);
    }
    host.assert_nothing_left();
}

#[test]
fn name_of_a_container_is_no_path_whatever_makes_it() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    // So that the directory of the names is there.
    assert_eq!(place.script("create", &["--name=other"], "true").code(), 0);
    let victim = victim(&host);
    let store = names(&host.directory().join("store"));
    let long = "x".repeat(300);
    let tries = [
        "../../../victim/file",
        "../../images/link",
        "/../../../victim/file",
        ".",
        "..",
        ".other",
        "b d/x",
        "bad name",
        "-x",
        "\u{fc}n\u{ef}",
        "x",
        &long,
    ];
    for name in tries {
        let name = format!("--name={name}");
        for (verb, how) in [("run", "--rm"), ("run", "-d"), ("run", "--rm=false"), ("create", "--rm")] {
            let ran = place.script(verb, &[how, &name], "true");
            ran.refuses(125, &["--name", "names have two letters at least"]);
            assert_untouched(&victim, &name, &ran);
        }
        // Nor is an image fetched first.
        place.verb("run", &["--rm", &name, "localhost:1/no/image"]).refuses(125, &["--name"]);
    }
    assert_eq!(names(&host.directory().join("store")), store);
    assert_eq!(names(&host.directory().join("store/containers/.names")), ["other"]);
    assert_eq!(
        place.script("run", &["--rm", "--name=/slash"], "echo ran").text(),
        "ran",
        "as docker shows it"
    );
    place.assert_nothing_left();
}
