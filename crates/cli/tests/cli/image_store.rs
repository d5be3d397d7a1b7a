//! The store of images under damage, kills, a full disk and many commands at once.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::images::{APP, Registry};
use crate::support::{Background, binary, finish};

/// The layers of the store, the one with busybox first.
fn layers(registry: &Registry) -> [PathBuf; 2] {
    let layers = registry.store().join("images/layers");
    let found = std::fs::read_dir(&layers).expect("listed").map(|entry| entry.expect("listed").path());
    let (with, without): (Vec<_>, Vec<_>) = found.partition(|path| path.join("tree/bin/busybox").exists());
    [with[0].clone(), without[0].clone()]
}

fn blob(registry: &Registry, is_meant: impl Fn(&[u8]) -> bool) -> PathBuf {
    let blobs = registry.store().join("images/blobs/sha256");
    let mut paths = std::fs::read_dir(&blobs).expect("listed").map(|entry| entry.expect("listed").path());
    paths.find(|path| is_meant(&std::fs::read(path).expect("read"))).expect("there")
}

fn begin(registry: &Registry, verb: &str, arguments: &[&str]) -> Child {
    let mut command = registry.host.command(binary());
    command.arg(verb).arg(format!("--root={}", registry.store().display())).args(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("nsenter runs")
}

fn system(registry: &Registry, verb: &str, arguments: &[&str]) -> crate::support::Ran {
    let root = format!("--root={}", registry.store().display());
    let mut command = registry.host.command(binary());
    command.args(["system", verb, &root]).args(arguments);
    finish(command.spawn().expect("nsenter runs"), None)
}

fn is_clean(registry: &Registry) {
    let ran = system(registry, "check", &[]);
    assert_eq!((ran.code(), ran.stdout.as_str()), (0, ""), "{ran:?}");
}

#[test]
fn damage_of_every_kind_is_seen_named_and_repaired() {
    let Some(registry) = Registry::new() else { return };
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    is_clean(&registry);
    let tree = |layer: usize, path: &str| layers(&registry)[layer].join("tree").join(path);
    let is_gzip = |bytes: &[u8]| bytes.starts_with(&[0x1f, 0x8b]);
    let is_long_gzip = |bytes: &[u8]| is_gzip(bytes) && bytes.len() > 100_000;
    let write = |path: PathBuf, text: &str| {
        let time = std::fs::metadata(&path).expect("there").modified().expect("known");
        std::fs::write(&path, text).expect("written");
        let file = std::fs::File::options().write(true).open(path).expect("opened");
        file.set_modified(time).expect("set");
    };
    type Harm<'a> = &'a dyn Fn();
    let harms: [(Harm<'_>, &str); 9] = [
        (&|| write(tree(1, "etc/name"), "owt\n"), "layer sha256:"),
        (&|| std::fs::write(tree(1, "etc/more"), "").expect("written"), "`etc/more`: it was not there"),
        (&|| std::fs::remove_file(tree(0, "data/gone")).expect("removed"), "`data/gone`: it is missing"),
        (
            &|| {
                let mode = std::fs::Permissions::from_mode(0o755);
                std::fs::set_permissions(tree(0, "bin/busybox"), mode).expect("set");
            },
            "`bin/busybox`: its kind or mode was another",
        ),
        (
            &|| {
                let removed = rustix::fs::removexattr(tree(1, "data"), "trusted.overlay.opaque");
                removed.expect("removed");
            },
            "`data`: its extended attributes were others",
        ),
        (&|| std::fs::remove_dir_all(&layers(&registry)[0]).expect("removed"), "it is missing"),
        (
            &|| {
                let path = blob(&registry, is_long_gzip);
                std::fs::File::options().write(true).open(path).expect("opened").set_len(1000).expect("cut");
            },
            "it has 1000 bytes, and had",
        ),
        (
            &|| {
                let path = blob(&registry, is_long_gzip);
                let mut bytes = std::fs::read(&path).expect("read");
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                std::fs::write(path, bytes).expect("written");
            },
            "its bytes are not what its digest says",
        ),
        (
            &|| {
                std::fs::remove_file(blob(&registry, |bytes| bytes.starts_with(b"{\"architecture\"")))
                    .expect("removed")
            },
            "it is missing",
        ),
    ];
    for (harm, words) in harms {
        harm();
        let ran = system(&registry, "check", &[]);
        assert_eq!(ran.code(), 1, "{words}: {ran:?}");
        assert!(ran.stdout.contains(words) && ran.stdout.contains(APP), "{words}: {ran:?}");
        assert!(ran.stderr.contains("--repair"), "{ran:?}");
        let ran = system(&registry, "check", &["--repair"]);
        assert_eq!(ran.code(), 0, "{words}: {ran:?}");
        assert!(ran.stdout.starts_with("repaired: "), "{words}: {ran:?}");
        is_clean(&registry);
    }
    assert_eq!(registry.run(&[APP]).stdout, "two\nhello\n/etc\n12\n34\n");

    // By sizes only a part of it shows; and a layer is made again of its blob, without the registry.
    let registry = registry.without_server();
    let path = layers(&registry)[1].join("tree/etc/name");
    std::fs::write(&path, "owt\n").expect("written");
    assert_eq!(system(&registry, "check", &["--quick"]).code(), 0);
    assert_eq!(system(&registry, "check", &["--repair"]).code(), 0);
    is_clean(&registry);
    std::fs::remove_file(blob(&registry, is_long_gzip)).expect("removed");
    let ran = system(&registry, "check", &["--quick", "--repair"]);
    assert_eq!(ran.code(), 1, "{ran:?}");
    assert!(ran.stderr.contains("can't be reached") && ran.stdout.contains("damaged: blob"), "{ran:?}");
    registry.end();
}

#[test]
fn image_of_a_running_container_is_not_repaired_below_it() {
    let Some(registry) = Registry::new() else { return };
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    let root = format!("--root={}", registry.store().display());
    let arguments = ["run", &root, "--rm", "--network=none", "-u0", APP, "-c", "echo up; read end"];
    let mut command = registry.host.rabbitc(&arguments);
    let mut running = Background::of(command.stdin(Stdio::piped()).spawn().expect("nsenter runs"));
    let mut sign = [0u8; 3];
    running.read_exact(&mut sign);
    let path = layers(&registry)[1].join("tree/etc/more");
    std::fs::write(&path, "").expect("written");
    let ran = system(&registry, "check", &["--repair"]);
    assert_eq!(ran.code(), 1, "{ran:?}");
    assert!(ran.stderr.contains("a running container is of it") && path.exists(), "{ran:?}");
    let used = system(&registry, "df", &["--format=json"]);
    let used: serde_json::Value = serde_json::from_str(used.text()).expect("JSON");
    assert_eq!((&used["Images"][0]["InUse"], &used["Reclaimable"]), (&true.into(), &0.into()));
    running.release();
    assert_eq!(system(&registry, "check", &["--repair"]).code(), 0);
    is_clean(&registry);
    let used = system(&registry, "df", &["-v"]);
    let lines: Vec<&str> = used.text().lines().collect();
    assert!(lines[1].starts_with("Images   1       0") && lines[1].ends_with("(100%)"), "{used:?}");
    assert!(lines[4].starts_with(APP), "{used:?}");
    registry.end();
}

#[test]
fn kills_at_any_moment_leave_a_store_that_is_clean_and_works() {
    let Some(registry) = Registry::new() else { return };
    registry.push("v2");
    let second = APP.replace("v1", "v2");
    let random = |most: u64| {
        let mut bytes = [0; 8];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).expect("random");
        u64::from_ne_bytes(bytes) % most
    };
    for round in 0..25 {
        let mut running = vec![
            begin(&registry, "pull", &[APP]),
            begin(&registry, "pull", &[&second]),
            begin(&registry, "rmi", &["--force", APP]),
            begin(&registry, "pull", &[APP]),
            begin(&registry, "rmi", &["--force", &second]),
        ];
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(random(25)));
            let chosen = random(running.len() as u64) as usize;
            let mut child = running.swap_remove(chosen);
            // It may have ended.
            let _ = child.kill();
            child.wait().expect("waited for");
        }
        for mut child in running {
            child.wait().expect("waited for");
        }
        let ran = system(&registry, "check", &[]);
        assert_eq!((ran.code(), ran.stdout.as_str()), (0, ""), "round {round}: {ran:?}");
        assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0, "round {round}");
        assert_eq!(registry.run(&[APP]).stdout, "two\nhello\n/etc\n12\n34\n", "round {round}");
        is_clean(&registry);
        registry.rabbitc("rmi", &["--force", APP, &second]);
        assert_eq!(registry.kept(), [""; 0], "round {round}");
    }
    registry.end();
}

#[test]
fn full_disk_is_said_and_gives_its_room_back() {
    let Some(mut registry) = Registry::new() else { return };
    let place = registry.store();
    registry.host.set_up(&format!("mkdir {0}; mount -t tmpfs -o size=1500k none {0}", place.display()));
    registry.host.accept_mounts();
    let free = || registry.host.shell(&format!("df --output=used {} | tail -1", place.display()));
    let kept =
        || registry.host.shell(&format!("find {} -type f | wc -l", place.join("images/blobs").display()));
    for _ in 0..3 {
        let ran = registry.rabbitc("pull", &[APP]);
        ran.refuses(125, &["no space left"]);
        assert_eq!(kept().trim(), "0");
        assert!(free().trim().parse::<u64>().expect("kilobytes") < 100, "{}", free());
    }
    registry.host.set_up(&format!("mount -o remount,size=100m {}", place.display()));
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    assert_eq!(registry.run(&[APP]).stdout, "two\nhello\n/etc\n12\n34\n");
    registry.host.set_up(&format!("umount {}", place.display()));
    registry.host.accept_mounts();
    registry.end();
}

#[test]
fn ten_pulls_at_once_fetch_each_blob_once() {
    let Some(registry) = Registry::new() else { return };
    let names: Vec<String> = (0..10).map(|number| APP.replace("v1", &format!("t{number}"))).collect();
    for number in 0..10 {
        registry.push(&format!("t{number}"));
    }
    let log = || std::fs::read_to_string(registry.host.directory().join("registry.log")).expect("read");
    let before = log().len();
    let pulls: Vec<Child> = names.iter().map(|name| begin(&registry, "pull", &[name])).collect();
    for mut pull in pulls {
        assert!(pull.wait().expect("waited for").success());
    }
    let text = log();
    let mut fetched: Vec<&str> = text[before..]
        .lines()
        .filter_map(|line| line.split_once("\"GET /v2/team/app/blobs/").map(|(_, rest)| &rest[..71]))
        .collect();
    fetched.sort_unstable();
    assert_eq!(fetched.len(), 3, "two layers and a configuration: {fetched:?}");
    fetched.dedup();
    assert_eq!(fetched.len(), 3);
    assert_eq!(registry.rabbitc("images", &["--format={{.Tag}}"]).text().lines().count(), 10);
    is_clean(&registry);
    registry.end();
}

/// Everything of the store is its owner's alone.
#[test]
fn store_is_closed_to_others() {
    let Some(registry) = Registry::new() else { return };
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    let images = registry.store().join("images");
    for path in ["", "blobs", "blobs/sha256", "layers", "images", "names", "partial"] {
        assert_eq!(mode(&images.join(path)), 0o700, "{path}");
    }
    registry.end();
}
