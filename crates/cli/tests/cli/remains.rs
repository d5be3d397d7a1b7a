//! Many starts at once, starts that fail at each step, and the same through the library: nothing is left.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use engine::{
    EnginePaths, FileOptions, LimitOptions, NetworkMode, NetworkOptions, ProcessOptions, RootOptions,
    RunOptions,
};

use crate::support::{Host, PATIENCE, finish, has_program};

#[test]
fn fifty_starts_at_once_all_succeed_and_leave_nothing() {
    let Some(host) = Host::new() else { return };
    let script = "ip -o -4 addr show dev eth0 | grep -o 'inet [0-9.]*'; sleep 0.2";
    let children: Vec<_> = (0..50).map(|_| host.script(&[], script).spawn().expect("nsenter runs")).collect();
    let mut addresses = std::collections::BTreeSet::new();
    for child in children {
        let ran = finish(child, None);
        assert_eq!((ran.code(), ran.stderr.as_str()), (0, ""), "{ran:?}");
        addresses.insert(ran.stdout.trim().to_owned());
    }
    assert!(addresses.contains("inet 172.19.0.2"), "{addresses:?}");
    host.assert_nothing_left();
}

#[test]
fn fifty_starts_on_the_hosts_root_and_on_overlays_all_succeed() {
    let Some(host) = Host::new() else { return };
    let rootfs = host.rootfs_flag();
    let children: Vec<_> = (0..50)
        .map(|number| {
            let overlay = ["--overlay", rootfs.as_str(), "--network=none"];
            let flags = if number % 2 == 0 { &overlay[..] } else { &overlay[2..] };
            let mut command = host.rabbitc(flags);
            command.args(["--", "/bin/true"]);
            command.spawn().expect("nsenter runs")
        })
        .collect();
    for child in children {
        let ran = finish(child, None);
        assert_eq!(ran.code(), 0, "{ran:?}");
    }
    host.assert_nothing_left();
}

/// Moves the calling thread into the network of `host`. Its mounts stay those of the tests: the library makes none.
fn enter(host: &Host) {
    let network = std::fs::File::open(format!("/proc/{}/ns/net", host.pid())).expect("the holder lives");
    sys::namespace::join(network.as_fd(), sys::clone::flags::NEWNET).expect("root may join it");
}

fn options(host: &Host) -> RunOptions {
    RunOptions {
        files: FileOptions { root: RootOptions::Directory(host.rootfs()), ..FileOptions::default() },
        process: ProcessOptions { command: vec!["/bin/true".to_owned()], ..ProcessOptions::default() },
        ..RunOptions::default()
    }
}

/// One container through the library, from this thread.
fn run_in_library(options: &RunOptions, paths: &EnginePaths) -> i32 {
    let null = std::fs::File::open("/dev/null").expect("it is there");
    let prepared = engine::prepare(options, None, paths).expect("legal");
    let (signals, mask) = sys::signal::SignalDescriptor::block_and_open().expect("a signal descriptor");
    let running = prepared.start(Default::default()).expect("it starts");
    let finished = running.supervise(&signals, null.as_fd(), null.as_fd()).expect("supervised");
    mask.restore();
    assert!(finished.remains.is_empty(), "{:?}", finished.remains);
    finished.exit.code()
}

/// Whoever may write to the directory that a root lies in must not have another one written to, such as the host's.
#[test]
fn root_that_is_replaced_after_the_check_is_noticed_and_nothing_is_made_in_the_other() {
    let Some(host) = Host::new() else { return };
    let paths = EnginePaths::below(host.state());
    let (rootfs, moved) = (host.directory().join("mine"), host.directory().join("moved"));
    let other = host.directory().join("other");
    std::fs::rename(host.rootfs(), &rootfs).expect("renamed");
    std::fs::create_dir_all(other.join("bin")).expect("made");
    crate::support::copy_program("/bin/busybox", &other.join("bin/true"));
    for overlay in [false, true] {
        let root = match overlay {
            true => RootOptions::Overlay(rootfs.clone()),
            false => RootOptions::Directory(rootfs.clone()),
        };
        let files = FileOptions { root, ..FileOptions::default() };
        let network = NetworkOptions { mode: NetworkMode::None, ..NetworkOptions::default() };
        let asked = RunOptions { files, network, ..options(&host) };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                enter(&host);
                let prepared = engine::prepare(&asked, None, &paths).expect("legal");
                std::fs::rename(&rootfs, &moved).expect("renamed");
                std::os::unix::fs::symlink(&other, &rootfs).expect("a link in its place");
                let error = prepared.start(Default::default()).expect_err("another directory");
                assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("replaced")), "{error:?}");
                assert!(error.rollback.is_empty(), "{error:?}");
            });
        });
        assert_eq!(std::fs::read_dir(&other).expect("there").count(), 1);
        std::fs::remove_file(&rootfs).expect("removed");
        std::fs::rename(&moved, &rootfs).expect("renamed");
    }
    std::fs::rename(&rootfs, host.rootfs()).expect("renamed");
    // It was not at its place when they were to be removed.
    for name in ["dev", "etc", "proc", "run", "sys"] {
        let _ = std::fs::remove_dir_all(host.rootfs().join(name));
    }
    host.assert_nothing_left();
}

#[test]
fn library_starts_fifty_containers_from_a_process_with_sixteen_busy_threads() {
    let Some(host) = Host::new() else { return };
    let paths = EnginePaths::below(host.state());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            // What a child between clone and exec must not stumble over: locks of the allocator and of the
            // environment, held by others at that moment.
            scope.spawn(|| {
                let mut kept = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    kept.push(format!("{:?}", std::env::var_os("PATH")).into_bytes());
                    if kept.len() > 200 {
                        kept.clear();
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
            });
        }
        let starters: Vec<_> = (0..5)
            .map(|_| {
                scope.spawn(|| {
                    enter(&host);
                    (0..10).map(|_| run_in_library(&options(&host), &paths)).collect::<Vec<i32>>()
                })
            })
            .collect();
        let codes: Vec<i32> = starters
            .into_iter()
            .flat_map(|thread| {
                thread.join().unwrap_or_else(|panic| {
                    done.store(true, Ordering::Relaxed);
                    std::panic::resume_unwind(panic)
                })
            })
            .collect();
        done.store(true, Ordering::Relaxed);
        assert_eq!(codes, [0; 50]);
    });
    tidy(&host, paths);
    host.assert_nothing_left();
}

fn tidy(host: &Host, paths: EnginePaths) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(host);
            engine::tidy_networks(&paths, Duration::from_secs(30)).expect("the network goes");
        });
        thread.join().expect("no panic");
    });
}

/// A child that another test is about to execute has copies of this process's descriptors until then, and so of the
/// sockets that hold ports.
fn prepare_soon(options: &RunOptions, paths: &EnginePaths) -> engine::Prepared {
    let end = Instant::now() + PATIENCE;
    loop {
        match engine::prepare(options, None, paths) {
            Err(error) if error.to_string().contains("is taken by process") && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(5));
            }
            prepared => return prepared.expect("legal"),
        }
    }
}

fn fail_every_step(options: RunOptions, host: &Host) {
    let paths = EnginePaths::below(host.state());
    let steps = engine::plan(&options, &paths).expect("it can be planned");
    let number = steps.len();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(host);
            for step in 1..=number {
                let prepared = prepare_soon(&options, &paths);
                let launch = runtime_options(step);
                let error = match prepared.start(launch) {
                    Err(error) => error,
                    Ok(running) => {
                        let null = std::fs::File::open("/dev/null").expect("it is there");
                        let (signals, mask) =
                            sys::signal::SignalDescriptor::block_and_open().expect("a descriptor");
                        let finished = running.supervise(&signals, null.as_fd(), null.as_fd());
                        mask.restore();
                        panic!("step {step} was to fail: {:?}: {finished:?}", steps[step - 1]);
                    }
                };
                let text = error.to_string();
                assert!(text.contains("injected failure"), "step {step}: {text}");
                let failed = error.step.as_ref().map(|failed| (failed.number, failed.total));
                assert_eq!(failed, Some((step, number)), "{text}");
                assert!(error.rollback.is_empty(), "step {step}: {:?}", error.rollback);
                assert!(host.containers().is_empty(), "step {step}");
                let left = crate::support::names(&host.rootfs());
                assert_eq!(left, ["bin"], "step {step}");
            }
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
    tidy(host, paths);
    host.assert_nothing_left();
}

fn runtime_options(step: usize) -> engine::LaunchOptions {
    engine::LaunchOptions { fail_at_step: Some(step), ..Default::default() }
}

#[test]
fn start_that_fails_at_any_step_leaves_nothing() {
    let Some(host) = Host::new() else { return };
    let limits = LimitOptions { memory: Some(64 << 20), pids_limit: Some(50), ..LimitOptions::default() };
    let options = RunOptions { limits, ..options(&host) };
    fail_every_step(options, &host);
}

#[test]
fn start_with_published_ports_that_fails_at_any_step_leaves_nothing() {
    let Some(host) = Host::new() else { return };
    let ports = ["8080:80", "53:53/udp", "9000-9009:9000-9009"];
    let publish = ports.map(|text| engine::parse_publish("--publish", text).expect("legal")).to_vec();
    let network = engine::NetworkOptions { publish, ..engine::NetworkOptions::default() };
    fail_every_step(RunOptions { network, ..options(&host) }, &host);
}

#[test]
fn start_on_an_overlay_that_fails_at_any_step_leaves_nothing() {
    let Some(host) = Host::new() else { return };
    let files =
        FileOptions { root: RootOptions::Overlay(host.rootfs()), read_only: true, ..FileOptions::default() };
    let options = RunOptions { files, ..options(&host) };
    fail_every_step(options, &host);
}

#[test]
fn init_killed_at_any_moment_is_an_error_that_leaves_nothing() {
    let Some(host) = Host::new() else { return };
    if !has_program("strace") {
        return;
    }
    // Between the clone and the program, as the kernel's out-of-memory killer might do it.
    for call in
        ["move_mount", "fsopen", "pivot_root", "capset", "seccomp", "execveat", "execve", "sethostname"]
    {
        for nth in [1, 3] {
            let mut command = host.command("strace");
            let inject = format!("inject={call}:signal=KILL:when={nth}");
            command.args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject]);
            command.arg(crate::support::binary()).arg(format!("--state-dir={}", host.state().display()));
            command.args([&host.rootfs_flag(), "--cmd=/bin/true"]);
            finish(command.spawn().expect("strace runs"), None);
            assert!(host.containers().is_empty(), "{call} {nth}");
            assert!(host.run(&[&host.rootfs_flag(), "--cmd=/bin/true"]).code() == 0);
        }
    }
    host.assert_nothing_left();
}

#[test]
fn state_directory_of_another_boot_or_person_is_no_obstacle() {
    let Some(host) = Host::new() else { return };
    let state = host.state();
    std::fs::create_dir_all(state.join("containers/,new-4194305-0")).expect("made");
    std::fs::create_dir_all(state.join("roots/1-2")).expect("made");
    let namespace = host.shell("readlink /proc/self/ns/net | tr -cd 0-9");
    for namespace in ["1", namespace.as_str()] {
        let network = state.join("network").join(namespace).join("lab0");
        std::fs::create_dir_all(network.join("leases")).expect("made");
        std::fs::write(network.join("subnet"), "172.20.0.1/16\n").expect("written");
    }
    assert_eq!(host.inside(&["-n", "lab0"], "ip -o -4 addr show dev eth0").code(), 0);
    assert_eq!(host.inside(&[], "ip -o -4 addr show dev eth0").code(), 0);
    host.assert_nothing_left();
}
