//! The store of images under damage, kills, a full disk and many commands at once.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::images::{APP, Registry};
use crate::support::{Background, Ran, binary, finish, has_program, names};

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

/// A verb, which may be of two words, with the test's store.
fn command(registry: &Registry, verb: &str, arguments: &[&str]) -> Command {
    let mut command = registry.host.command(binary());
    command.args(verb.split(' ')).arg(format!("--root={}", registry.store().display())).args(arguments);
    command
}

fn begin(registry: &Registry, verb: &str, arguments: &[&str]) -> Child {
    let mut command = command(registry, verb, arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("nsenter runs")
}

fn does(registry: &Registry, verb: &str, arguments: &[&str]) -> Ran {
    finish(command(registry, verb, arguments).spawn().expect("nsenter runs"), None)
}

fn system(registry: &Registry, verb: &str, arguments: &[&str]) -> Ran {
    does(registry, &format!("system {verb}"), arguments)
}

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
    let harms: [(Harm<'_>, &str); 12] = [
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
        (
            &|| {
                let mode = std::fs::Permissions::from_mode(0o777);
                std::fs::set_permissions(tree(1, ""), mode).expect("set");
            },
            "its root: its kind or mode was another",
        ),
        (&|| write(layers(&registry)[0].join("layer.json"), "{"), "what is known of it is missing"),
        (
            &|| {
                let images = registry.store().join("images/images");
                let mut listed = std::fs::read_dir(images).expect("listed");
                write(listed.next().expect("one").expect("listed").path(), "");
            },
            "document images/",
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
    std::fs::remove_file(&path).expect("there");
    assert_eq!(system(&registry, "check", &["--quick"]).code(), 0, "nor does it look for files");
    let help = system(&registry, "check", &["--help"]);
    let words: Vec<&str> = help.text().split_whitespace().collect();
    assert!(words.join(" ").contains("no file in a layer is looked at"), "{help:?}");
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
    assert!(lines[1].starts_with("Images       1       0") && lines[1].ends_with("(100%)"), "{used:?}");
    assert!(lines[2].starts_with("Containers   0       0") && lines[5].starts_with(APP), "{used:?}");
    registry.end();
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

/// Ten images, each of the layer with busybox and three of ten small ones, so that each of these is in three images.
const OVERLAPPING: &str = r#"set -e; cd "$0"; mkdir -p many/blobs/sha256 base; cp -r rootfs/bin base
blob() { size=$(wc -c <"$1"); digest=sha256:$(sha256sum <"$1" | cut -d' ' -f1); mv "$1" many/blobs/sha256/${digest#sha256:}; }
described() { echo "{\"mediaType\": \"application/vnd.oci.image.$1\", \"digest\": \"$digest\", \"size\": $size"; }
layer() { tar -C $1 --owner=0 --group=0 -cf layer.tar .; sha256sum <layer.tar | cut -d' ' -f1 >$2.id; gzip -n layer.tar
    blob layer.tar.gz; echo "$(described layer.v1.tar+gzip)}" >$2.layer; rm -r $1; }
layer base base
for n in 0 1 2 3 4 5 6 7 8 9; do mkdir own; head -c 200000 /dev/urandom >own/file$n; layer own $n; done
machine=$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')
for n in 0 1 2 3 4 5 6 7 8 9; do
    ids= layers=
    for part in base $n $(((n + 1) % 10)) $(((n + 2) % 10)); do
        ids="$ids,\"sha256:$(cat $part.id)\"" layers="$layers,$(cat $part.layer)"
    done
    echo "{\"architecture\": \"$machine\", \"os\": \"linux\", \"config\": {\"Env\": [\"PATH=/bin\", \"N=$n\"], \"Cmd\": [\"ls\", \"/\"]},
        \"rootfs\": {\"type\": \"layers\", \"diff_ids\": [${ids#,}]}}" >config; blob config; config="$(described config.v1+json)}"
    echo "{\"schemaVersion\": 2, \"mediaType\": \"application/vnd.oci.image.manifest.v1+json\", \"config\": $config,
        \"layers\": [${layers#,}]}" >manifest; blob manifest
    manifests="$manifests,$(described manifest.v1+json), \"annotations\": {\"org.opencontainers.image.ref.name\": \"image$n\"}}"
done
echo "{\"schemaVersion\": 2, \"manifests\": [${manifests#,}]}" >many/index.json
echo '{"imageLayoutVersion": "1.0.0"}' >many/oci-layout; rm *.id *.layer
for n in 0 1 2 3 4 5 6 7 8 9; do
    skopeo --insecure-policy copy --quiet --dest-tls-verify=false oci:many:image$n docker://127.0.0.1:5000/many/image$n:v1
done; rm -r many"#;

#[test]
fn ten_pulls_of_overlapping_images_at_once_fetch_each_blob_once() {
    let Some(registry) = Registry::new() else { return };
    let mut script = registry.host.command("sh");
    let ran = finish(
        script.args(["-c", OVERLAPPING]).arg(registry.host.directory()).spawn().expect("nsenter runs"),
        None,
    );
    assert_eq!(ran.code(), 0, "{ran:?}");
    let names: Vec<String> = (0..10).map(|number| format!("127.0.0.1:5000/many/image{number}:v1")).collect();
    let log = || std::fs::read_to_string(registry.host.directory().join("registry.log")).expect("read");
    let before = log().len();
    let pulls: Vec<Child> = names.iter().map(|name| begin(&registry, "pull", &[name])).collect();
    for mut pull in pulls {
        assert!(pull.wait().expect("waited for").success());
    }
    let text = log();
    let blob = |line: &str| -> Option<String> {
        let (_, rest) = line.split_once("\"GET /v2/many/")?;
        Some(rest.split_once("/blobs/")?.1[..71].to_owned())
    };
    let mut fetched: Vec<String> = text[before..].lines().filter_map(blob).collect();
    assert_eq!(fetched.len(), 21, "eleven layers and ten configurations: {fetched:?}");
    fetched.sort_unstable();
    fetched.dedup();
    assert_eq!(fetched.len(), 21, "none of them twice");
    assert_eq!(registry.rabbitc("images", &["--format={{.Tag}}"]).text().lines().count(), 10);
    is_clean(&registry);
    assert_eq!(registry.run(&[&names[9]]).stdout.matches("file").count(), 3);
    registry.end();
}

/// What a power cut leaves is what was on the disk by then: so nothing has its name before it was written there, and what says that
/// an image is there comes last.
#[test]
fn nothing_has_its_name_before_it_is_on_the_disk_and_one_sync_does_for_many_layers() {
    let Some(registry) = Registry::new() else { return };
    if !has_program("strace") {
        return;
    }
    let mut script = registry.host.command("sh");
    let ran = finish(
        script.args(["-c", OVERLAPPING]).arg(registry.host.directory()).spawn().expect("nsenter runs"),
        None,
    );
    assert_eq!(ran.code(), 0, "{ran:?}");
    let trace = registry.host.directory().join("trace");
    let mut strace = registry.host.command("strace");
    strace.args([
        "-f",
        "-y",
        "-qq",
        "-e",
        "trace=open,openat,rename,syncfs,fsync,fdatasync",
        "-e",
        "signal=none",
        "-o",
    ]);
    strace.arg(&trace).arg(binary()).arg("pull").arg(format!("--root={}", registry.store().display()));
    let ran = finish(strace.arg("127.0.0.1:5000/many/image3:v1").spawn().expect("nsenter runs"), None);
    assert_eq!(ran.code(), 0, "{ran:?}");
    let text = std::fs::read_to_string(&trace).expect("written");
    std::fs::remove_file(&trace).expect("there");

    // Which syncs have ended, and when each thing was begun.
    let mut begun: BTreeMap<String, usize> = BTreeMap::new();
    let (mut syncs, mut file_syncs, mut named) = (0, BTreeMap::<String, usize>::new(), Vec::new());
    let mut synced = BTreeMap::new();
    for line in text.lines() {
        let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
        let quoted: Vec<&str> = call.split('"').skip(1).step_by(2).collect();
        // As it is called below `partial`.
        let draft = |path: &str| {
            path.split_once("/partial/")
                .map(|(_, rest)| rest.split('/').next().unwrap_or_default().to_owned())
        };
        if call.starts_with("open") && (call.contains("O_CREAT") || call.contains("O_WRONLY")) {
            if let Some(draft) = quoted.first().and_then(|path| draft(path)) {
                begun.insert(draft, syncs);
            }
        } else if call.starts_with("syncfs(") && call.ends_with("= 0") || call.contains("syncfs resumed") {
            syncs += 1;
        } else if call.starts_with("fsync(") || call.starts_with("fdatasync(") {
            let path = call.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
            if let Some(draft) = draft(&path) {
                synced.insert(draft, syncs);
            }
            *file_syncs.entry(path).or_default() += 1;
        } else if call.starts_with("rename(") {
            let [from, to] = quoted[..] else { panic!("{line}") };
            named.push(to.to_owned());
            let Some(draft) = draft(from) else { continue };
            if to.contains("/layers/") {
                assert!(
                    begun[&draft] < syncs,
                    "a layer has its name before it is on the disk: {line}\n{text}"
                );
            } else if to.contains("/blobs/") {
                let is_synced = begun[&draft] < syncs || synced.contains_key(&draft);
                assert!(is_synced, "a blob has its name before it is on the disk: {line}\n{text}");
            }
        }
        if call.starts_with("rename(") && quoted.last().is_some_and(|to| to.contains("/images/images/")) {
            for directory in ["layers", "blobs/sha256"] {
                let path = registry.store().join("images").join(directory).display().to_string();
                assert!(
                    file_syncs.contains_key(&path),
                    "the names in `{directory}` are not on the disk\n{text}"
                );
            }
        }
    }
    let of = |part: &str| named.iter().filter(|path| path.contains(part)).count();
    assert_eq!((of("/layers/"), of("/blobs/"), of("/images/images/")), (4, 6, 1), "{named:?}");
    assert!((1..4).contains(&syncs), "{syncs} for four layers");
    let last = named.iter().position(|path| path.contains("/images/images/"));
    assert!(named.iter().rposition(|path| path.contains("/layers/")) < last, "{named:?}");
    registry.end();
}

/// What a verb renames, unlinks and writes to disk, a call a line.
fn traced(registry: &Registry, verb: &str, arguments: &[&str]) -> Vec<String> {
    let trace = registry.host.directory().join("trace");
    let mut strace = registry.host.command("strace");
    strace.args(["-f", "-y", "-qq", "-e", "trace=rename,unlink,fsync", "-e", "signal=none", "-o"]);
    strace.arg(&trace).arg(binary()).args(verb.split(' '));
    strace.arg(format!("--root={}", registry.store().display())).args(arguments);
    let ran = finish(strace.spawn().expect("nsenter runs"), None);
    assert_eq!(ran.code(), 0, "{ran:?}");
    let text = std::fs::read_to_string(&trace).expect("written");
    std::fs::remove_file(&trace).expect("there");
    let call = |line: &str| line.split_once(' ').map_or("", |(_, call)| call.trim_start()).to_owned();
    text.lines().map(call).collect()
}

/// The numbers of the calls that are of this kind and name something in this directory of the store, or that itself.
fn calls_in(calls: &[String], call: &str, directory: &str) -> Vec<usize> {
    let ends = [format!("/images/{directory}/"), format!("/images/{directory}>")];
    let is_meant = |line: &String| line.starts_with(call) && ends.iter().any(|end| line.contains(end));
    (0..calls.len()).filter(|&number| is_meant(&calls[number])).collect()
}

/// After a power cut, too, a list has what it lists.
#[test]
fn list_is_kept_after_the_names_of_its_blobs_are_on_the_disk() {
    let Some(registry) = Registry::new() else { return };
    if !has_program("strace") {
        return;
    }
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    // The second one's index is that of the first.
    for (verb, arguments) in [
        ("manifest create", &["one"][..]),
        ("manifest create", &["two"]),
        ("manifest add", &["two", &format!("containers-storage:{APP}")]),
    ] {
        let calls = traced(&registry, verb, arguments);
        let [listed] = calls_in(&calls, "rename(", "lists")[..] else { panic!("{calls:?}") };
        let named = calls_in(&calls, "rename(", "blobs/sha256").last().map_or(0, |last| last + 1);
        let synced = calls_in(&calls, "fsync(", "blobs/sha256");
        assert!(synced.iter().any(|&synced| named <= synced && synced < listed), "{verb}: {calls:?}");
    }
    registry.end();
}

/// After a power cut, too, what is there has all that it refers to.
#[test]
fn nothing_goes_before_it_is_on_the_disk_that_nothing_refers_to_it() {
    let Some(registry) = Registry::new() else { return };
    if !has_program("strace") {
        return;
    }
    assert_eq!(registry.rabbitc("pull", &[APP]).code(), 0);
    assert_eq!(does(&registry, "manifest create", &["list"]).code(), 0);
    for (verb, arguments, forgotten) in
        [("manifest rm", ["list"], &["lists"][..]), ("rmi", [APP], &["images", "names"])]
    {
        let calls = traced(&registry, verb, &arguments);
        let blobs = calls_in(&calls, "unlink(", "blobs/sha256");
        let removed = *blobs.iter().chain(&calls_in(&calls, "rename(", "layers")).min().expect("some");
        for directory in forgotten {
            let forgotten = *calls_in(&calls, "unlink(", directory).last().expect("one");
            let synced = calls_in(&calls, "fsync(", directory);
            assert!(
                synced.iter().any(|&synced| forgotten < synced && synced < removed),
                "{verb}, {directory}: {calls:?}"
            );
        }
    }
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
