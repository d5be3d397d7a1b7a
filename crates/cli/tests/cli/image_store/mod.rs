//! The store of images under damage, kills, a full disk and many commands at once.

mod kills;
mod power_cuts;

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
    assert!(lines[1].starts_with("Images          1       0") && lines[1].ends_with("(100%)"), "{used:?}");
    assert!(lines[2].starts_with("Containers      0       0") && lines[6].starts_with(APP), "{used:?}");
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
