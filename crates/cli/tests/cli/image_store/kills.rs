//! Commands that are killed and disks that are full: the store is clean, and the same command works.

use super::*;

fn random(most: u64) -> u64 {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).expect("random");
    u64::from_ne_bytes(bytes) % most
}

/// Kills some of them at random moments, and waits for the others.
fn kill_some(mut running: Vec<Child>, kills: usize, longest: u64) {
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(random(longest)));
        let chosen = random(running.len() as u64) as usize;
        let mut child = running.swap_remove(chosen);
        // It may have ended.
        let _ = child.kill();
        child.wait().expect("waited for");
    }
    for mut child in running {
        child.wait().expect("waited for");
    }
}

#[test]
fn kills_at_any_moment_leave_a_store_that_is_clean_and_works() {
    let Some(registry) = Registry::new() else { return };
    registry.push("v2");
    let second = APP.replace("v1", "v2");
    for round in 0..25 {
        let running = vec![
            begin(&registry, "pull", &[APP]),
            begin(&registry, "pull", &[&second]),
            begin(&registry, "rmi", &["--force", APP]),
            begin(&registry, "pull", &[APP]),
            begin(&registry, "rmi", &["--force", &second]),
        ];
        kill_some(running, 3, 25);
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

/// A container of the image that is kept, and has a file of its own; its id.
fn keep_a_container(registry: &Registry, script: &str) -> String {
    let root = format!("--root={}", registry.store().display());
    let ran = registry.host.run(&["run", &root, "--network=none", "-u0", APP, "-c", script]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    does(registry, "ps", &["-aq", "--no-trunc"]).text().to_owned()
}

#[test]
fn kills_of_load_import_commit_and_prune_leave_a_store_that_is_clean_and_works() {
    let Some(registry) = Registry::new() else { return };
    let path = |name: &str| registry.host.directory().join(name).display().to_string();
    let (archive, compressed, tree) = (path("app.tar"), path("app.tar.gz"), path("tree.tar"));
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    assert_eq!(registry.rabbitc("tag", &[APP, "loaded:v1"]).code(), 0);
    assert_eq!(registry.rabbitc("save", &["--format=oci-archive", "-o", &archive, "loaded:v1"]).code(), 0);
    registry
        .host
        .shell(&format!("gzip -k {archive}; tar -C {} -cf {tree} .", registry.host.rootfs().display()));
    let id =
        keep_a_container(&registry, "echo x >/new; dd if=/dev/urandom of=/more bs=1k count=300 2>/dev/null");
    let verbs: [(&str, &[&str]); 8] = [
        ("load", &["-q", "-i", &archive]),
        ("commit", &[&id, "made:v1"]),
        ("image prune", &["--all", "--force"]),
        ("load", &["-q", "-i", &compressed]),
        ("import", &["-q", &tree, "imported:v1"]),
        ("commit", &[&id, "made:v2"]),
        ("image prune", &["--force"]),
        ("pull", &["-q", APP]),
    ];
    for round in 0..10 {
        let running = verbs.iter().map(|(verb, arguments)| begin(&registry, verb, arguments)).collect();
        kill_some(running, 5, 30);
        let ran = system(&registry, "check", &[]);
        assert_eq!((ran.code(), ran.stdout.as_str()), (0, ""), "round {round}: {ran:?}");
        for (verb, arguments) in verbs {
            let ran = does(&registry, verb, arguments);
            assert_eq!(ran.code(), 0, "round {round}: {verb} {arguments:?}: {ran:?}");
        }
        assert_eq!(does(&registry, "rmi", &["--force", "made:v1", "made:v2", "imported:v1"]).code(), 0);
        is_clean(&registry);
    }
    assert_eq!(does(&registry, "rm", &[&id]).code(), 0);
    assert_eq!(does(&registry, "image prune", &["--all", "--force"]).code(), 0);
    assert_eq!(registry.kept(), [""; 0]);
    registry.host.shell(&format!("rm {archive} {compressed} {tree}"));
    registry.end();
}

/// A store on a disk of its own, which is as large as a test says.
struct Disk {
    registry: Registry,
}

impl Disk {
    fn new() -> Option<Disk> {
        let mut registry = Registry::new()?;
        let place = registry.store().display().to_string();
        registry.host.set_up(&format!("mkdir {place}; mount -t tmpfs -o size=100m none {place}"));
        registry.host.accept_mounts();
        Some(Disk { registry })
    }

    /// `size=` or `nr_inodes=`.
    fn limit(&self, option: &str) {
        self.registry.host.set_up(&format!("mount -o remount,{option} {}", self.registry.store().display()));
    }

    /// Kilobytes, or files.
    fn used(&self, of: &str) -> u64 {
        let place = self.registry.store().display().to_string();
        let said = self.registry.host.shell(&format!("df --output={of} {place} | tail -1"));
        said.trim().parse().expect("a number")
    }

    /// What the store has of its own accord: names of all blobs, layers, images and names, and nothing that is under way.
    fn kept(&self) -> Vec<String> {
        let images = self.inside("images");
        ["blobs/sha256", "layers", "images", "names", "partial"]
            .into_iter()
            .flat_map(|directory| {
                let names = names(&images.join(directory));
                names.into_iter().map(move |name| format!("{directory}/{name}"))
            })
            .collect()
    }

    /// A place in the store, which is mounted on the test's host alone.
    fn inside(&self, name: &str) -> PathBuf {
        let (pid, store) = (self.registry.host.pid(), self.registry.store());
        PathBuf::from(format!("/proc/{pid}/root{}", store.display())).join(name)
    }

    fn end(mut self) {
        let place = self.registry.store().display().to_string();
        self.registry.host.set_up(&format!("umount {place}"));
        self.registry.host.accept_mounts();
        self.registry.end();
    }

    /// A verb on a disk that is full sooner and later: whenever that is, the store is as it was, and so is the room on it. Once there
    /// is enough, the verb does it.
    fn fills(&self, verb: &str, arguments: &[&str], sizes: &[u64]) {
        let before = self.kept();
        for (option, field, amounts) in [("size", "used", sizes), ("nr_inodes", "iused", &[2, 12, 30])] {
            let used = self.used(field);
            let mut refusals = 0;
            for more in amounts {
                self.limit(&format!("{option}={}{}", used + more, if option == "size" { "k" } else { "" }));
                let ran = does(&self.registry, verb, arguments);
                self.limit("size=100m,nr_inodes=100000");
                if ran.code() == 0 {
                    break;
                }
                refusals += 1;
                assert_eq!(ran.code(), 125, "{verb}, {option} {more}: {ran:?}");
                assert!(ran.stderr.contains("no space left"), "{verb}, {option} {more}: {ran:?}");
                assert_eq!(self.kept(), before, "{verb}, {option} {more}");
                let now = self.used(field);
                assert!(now <= used + 16, "{verb}, {option} {more}: {used} were used, and now {now}");
                assert_eq!(system(&self.registry, "check", &["--quick"]).text(), "", "{verb}");
            }
            assert!(refusals > 0, "{verb}: {option} was never too small");
            let ran = does(&self.registry, verb, arguments);
            assert_eq!(ran.code(), 0, "{verb}: {ran:?}");
            is_clean(&self.registry);
            does(&self.registry, "rmi", &["--force", "loaded:v1", "made:v1", "imported:v1"]).text();
            if verb == "pull" {
                does(&self.registry, "rmi", &["--force", APP]).text();
            }
            // A second commit took the name of the first, if there was room for that.
            does(&self.registry, "image prune", &["--force"]).text();
            assert_eq!(self.kept(), before, "{verb}");
        }
    }
}

#[test]
fn disk_that_is_full_at_any_moment_is_said_and_the_store_is_as_it_was() {
    let Some(disk) = Disk::new() else { return };
    let registry = &disk.registry;
    let path = |name: &str| registry.host.directory().join(name).display().to_string();
    let (archive, compressed, tree) = (path("app.tar"), path("app.tar.gz"), path("tree.tar"));
    // The store is made before the disk is full.
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    assert_eq!(registry.rabbitc("tag", &[APP, "loaded:v1"]).code(), 0);
    assert_eq!(registry.rabbitc("save", &["-o", &archive, "loaded:v1"]).code(), 0);
    registry
        .host
        .shell(&format!("gzip -k {archive}; tar -C {} -cf {tree} .", registry.host.rootfs().display()));
    assert_eq!(registry.rabbitc("rmi", &["--force", APP, "loaded:v1"]).code(), 0);
    let sizes = [4, 300, 1100, 1800, 2500];
    disk.fills("pull", &["-q", APP], &sizes);
    disk.fills("load", &["-q", "-i", &archive], &sizes);
    disk.fills("load", &["-q", "-i", &compressed], &sizes);
    disk.fills("import", &["-q", &tree, "imported:v1"], &sizes);
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    let id = keep_a_container(registry, "dd if=/dev/urandom of=/more bs=1k count=600 2>/dev/null");
    disk.fills("commit", &[&id, "made:v1"], &[4, 300, 900, 1500]);

    // On a disk that has not a byte left, what is there still runs without a word, and can be removed.
    let used = disk.used("used");
    disk.limit(&format!("size={used}k"));
    assert_eq!(does(registry, "rm", &[&id]).text(), id);
    registry
        .host
        .shell(&format!("dd if=/dev/zero of={}/fill bs=1k 2>/dev/null || true", registry.store().display()));
    assert_eq!(does(registry, "rmi", &[APP]).code(), 0);
    assert_eq!(disk.kept(), [""; 0]);
    disk.limit("size=100m");
    // What a command that was killed has left goes from a disk that has no file left for a note about it.
    std::fs::create_dir_all(disk.inside("images/partial/dead.layer/tree")).expect("made");
    disk.limit(&format!("nr_inodes={}", disk.used("iused")));
    assert_eq!(does(registry, "image prune", &["--all", "--force"]).code(), 0);
    assert_eq!(disk.kept(), [""; 0]);
    registry.host.shell(&format!("rm {archive} {compressed} {tree}"));
    disk.end();
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
