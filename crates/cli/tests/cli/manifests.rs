//! Lists of images for several machines: made here, of what is here and of what registries have, and read by skopeo and podman.

use serde_json::Value;

use crate::images::{APP, Registry};
use crate::support::{Ran, binary, finish, has_program};

const LIST: &str = "127.0.0.1:5000/team/list:v1";
const ARM: &str = "127.0.0.1:5000/arm/app:v1";

/// A verb behind another one.
fn behind(registry: &Registry, words: &[&str]) -> Ran {
    let mut command = registry.host.command(binary());
    command.args(&words[..2]).arg(format!("--root={}", registry.store().display())).args(&words[2..]);
    finish(command.spawn().expect("nsenter runs"), None)
}

fn manifest(registry: &Registry, verb: &str, arguments: &[&str]) -> Ran {
    behind(registry, &[&["manifest", verb], arguments].concat())
}

fn inspected(registry: &Registry, name: &str) -> Value {
    serde_json::from_str(manifest(registry, "inspect", &[name]).text()).expect("JSON")
}

/// The text of what a registry has by a name, as skopeo reads it, and its digest.
fn raw(registry: &Registry, name: &str) -> (Value, String) {
    let directory = registry.host.directory().display();
    let text = registry.host.shell(&format!(
        "cd {directory}; skopeo inspect --raw --tls-verify=false docker://{name} >raw; sha256sum <raw; cat raw; rm raw"
    ));
    let (digest, text) = text.split_once("  -\n").expect("a digest");
    (serde_json::from_str(text).expect("JSON"), format!("sha256:{digest}"))
}

/// An image for another machine in the registry, and nothing of it here.
fn foreign(registry: &Registry) {
    let directory = registry.host.directory().display();
    registry
        .host
        .shell(&format!("cd {directory}; mkdir -p arm; echo arm >arm/file; tar -C arm -cf arm.tar ."));
    let archive = format!("{directory}/arm.tar");
    registry.rabbitc("import", &["--arch=arm64", &archive, ARM]).text();
    registry.rabbitc("push", &[ARM]).text();
    registry.rabbitc("rmi", &[ARM]).text();
    registry.host.shell(&format!("cd {directory}; rm -r arm arm.tar"));
}

fn blobs(registry: &Registry) -> usize {
    registry.kept().iter().filter(|path| path.starts_with("blobs/")).count()
}

/// How often the registry was sent a blob.
fn uploads(registry: &Registry) -> usize {
    let log = std::fs::read_to_string(registry.host.directory().join("registry.log")).expect("its log");
    log.lines().filter(|line| line.contains("\"PATCH /v2/")).count()
}

#[test]
fn list_of_images_here_and_elsewhere_is_pushed_and_others_read_it_by_the_printed_digest() {
    let Some(registry) = Registry::new() else { return };
    let host = &registry.host;
    let app = registry.rabbitc("pull", &["-q", APP]).text().to_owned();
    foreign(&registry);
    let before = blobs(&registry);
    let id = manifest(&registry, "create", &[LIST, APP]).text().to_owned();
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let added = manifest(&registry, "add", &["--annotation=a=b", "--os-version=7", LIST, ARM]);
    assert_eq!(added.text(), id, "an id stays");
    assert_eq!(blobs(&registry), before + 2, "an index, and the other image's manifest alone");
    manifest(&registry, "annotate", &["--variant=v8", "--annotation=c=d", LIST, ARM]).text();
    manifest(&registry, "annotate", &["--os-features=x,y", LIST, &app]).text();
    let index = inspected(&registry, LIST);
    let entries = index["manifests"].as_array().expect("a list");
    assert_eq!((entries[0]["digest"].as_str(), entries.len()), (Some(app.as_str()), 2));
    assert_eq!(entries[0]["platform"]["os.features"], serde_json::json!(["x", "y"]));
    let platform =
        serde_json::json!({"architecture": "arm64", "os": "linux", "os.version": "7", "variant": "v8"});
    assert_eq!(
        (&entries[1]["platform"], &entries[1]["annotations"]),
        (&platform, &serde_json::json!({"a": "b", "c": "d"}))
    );

    // It is among the images, whole, and what it refers to stays.
    let listed =
        registry.rabbitc("images", &["--digests", "--no-trunc", "--format={{.Repository}}:{{.Tag}} {{.ID}}"]);
    assert!(listed.text().lines().any(|line| line == format!("{LIST} sha256:{id}")), "{listed:?}");
    assert_eq!(
        manifest(&registry, "inspect", &[&id[..12]]).text(),
        manifest(&registry, "inspect", &[LIST]).text()
    );
    assert!(behind(&registry, &["image", "prune", "-f"]).text().contains("reclaimed space: 0B"));
    assert_eq!(behind(&registry, &["system", "check"]).text(), "");
    assert_eq!(registry.run(&["--pull=never", LIST]).stdout, "two\nhello\n/etc\n12\n34\n");

    // All is in that registry already: what the other repositories have is taken from there.
    let sent = uploads(&registry);
    let file = host.directory().join("digest");
    let pushed = manifest(&registry, "push", &[&format!("--digestfile={}", file.display()), LIST]);
    let digest = pushed.text().to_owned();
    assert_eq!(std::fs::read_to_string(&file).expect("written"), digest);
    std::fs::remove_file(file).expect("there");
    assert_eq!(uploads(&registry), sent, "nothing was sent twice");
    assert_eq!(raw(&registry, LIST), (index.clone(), digest.clone()));
    // By another name the registry is another one, and is brought all of it.
    let copy = "localhost:5000/copy/list:v2";
    assert_eq!(manifest(&registry, "push", &["-q", LIST, &format!("docker://{copy}")]).text(), digest);
    assert_eq!(uploads(&registry), sent + 5, "three blobs from here, two from the other registry");
    let arm = host.shell(&format!(
        "skopeo --override-arch=arm64 inspect --tls-verify=false --format '{{{{.Architecture}}}} {{{{len .Layers}}}}' \
         docker://{copy}"
    ));
    assert_eq!(arm, "arm64 1");
    if has_program("podman") {
        let directory = host.directory().display();
        let read = host.shell(&format!(
            "cd {directory}; printf '[[registry]]\\nlocation=\"localhost:5000\"\\ninsecure=true\\n' >insecure.conf
             CONTAINERS_REGISTRIES_CONF=$PWD/insecure.conf podman --root=$PWD/podman --runroot=$PWD/podman-run \
                 --storage-driver=vfs manifest inspect {copy}
             umount -l podman/vfs podman 2>/dev/null; rm -rf podman podman-run insecure.conf"
        ));
        let read: Value = serde_json::from_str(&read).expect("JSON");
        assert_eq!(read["manifests"][1]["digest"], index["manifests"][1]["digest"]);
    }

    // Whoever pulls it has this machine's image, by the list's digest too.
    assert!(registry.rabbitc("pull", &[copy]).text().contains(&digest));
    let pinned = format!("localhost:5000/copy/list@{digest}");
    assert_eq!(registry.run(&["--pull=never", &pinned]).stdout, "two\nhello\n/etc\n12\n34\n");
    registry.rabbitc("push", &[copy]).text();
    assert_eq!(
        registry.run(&["--pull=never", &pinned]).stdout,
        "two\nhello\n/etc\n12\n34\n",
        "also once it is pushed"
    );
    registry.rabbitc("rmi", &[copy]).text();

    // Without its images here it can be pushed still, of what it has kept.
    registry.rabbitc("rmi", &[APP]).text();
    manifest(&registry, "push", &["--format=v2s2", "--purge", LIST, "127.0.0.1:5000/of/docker:v1"]).text();
    let (docker, _) = raw(&registry, "127.0.0.1:5000/of/docker:v1");
    assert!(docker["mediaType"].as_str().is_some_and(|kind| kind.contains("manifest.list.v2")), "{docker}");
    let is_dockers = |entry: &Value| entry["mediaType"].as_str().is_some_and(|kind| kind.contains("docker"));
    assert!(docker["manifests"].as_array().expect("a list").iter().all(is_dockers), "{docker}");
    assert_eq!(manifest(&registry, "exists", &[LIST]).code(), 1);
    assert_eq!(registry.kept(), [""; 0], "nothing of it stays");
    registry.end();
}

#[test]
fn list_is_made_amended_changed_and_removed_as_podmans() {
    let Some(registry) = Registry::new() else { return };
    registry.rabbitc("pull", &[APP]).text();
    foreign(&registry);
    // An image that stands for several machines, in the registry alone.
    manifest(&registry, "create", &[LIST, APP, ARM]).text();
    manifest(&registry, "push", &["--rm", LIST]).text();
    let id = manifest(&registry, "create", &["mine"]).text().to_owned();
    assert_eq!(inspected(&registry, "mine")["manifests"], serde_json::json!([]));
    manifest(&registry, "create", &["mine"])
        .refuses(125, &["there is a list `docker.io/library/mine:latest`", "--amend"]);
    assert_eq!(manifest(&registry, "create", &["--amend", "--all", "mine", LIST]).text(), id);
    assert_eq!(inspected(&registry, "mine")["manifests"].as_array().map(Vec::len), Some(2));
    // One of them: that for this machine, or for another.
    manifest(&registry, "create", &["one", &format!("docker://{LIST}")]).text();
    manifest(&registry, "add", &["--arch=arm64", "other", LIST]).refuses(125, &["there is no list"]);
    manifest(&registry, "create", &["other"]).text();
    manifest(&registry, "add", &["--arch=arm64", "other", LIST]).text();
    let entry = |name: &str| inspected(&registry, name)["manifests"][0].clone();
    assert_ne!(entry("one")["platform"]["architecture"], "arm64");
    assert_eq!(entry("other")["platform"]["architecture"], "arm64");
    registry.run(&["--pull=never", "other"]).refuses(125, &["there is none for `linux/", "manifest add"]);
    manifest(&registry, "add", &["--arch=s390x", "other", LIST])
        .refuses(125, &["`linux/s390x`", "`--arch`, `--os`"]);
    // What a registry has is shown, too.
    assert_eq!(inspected(&registry, LIST)["manifests"].as_array().map(Vec::len), Some(2));

    let digest = entry("other")["digest"].as_str().expect("one").to_owned();
    assert_eq!(manifest(&registry, "remove", &["mine", &digest]).text(), id);
    manifest(&registry, "remove", &["mine", &digest])
        .refuses(125, &["the list has no such image", "manifest inspect"]);
    manifest(&registry, "annotate", &["--index", "--annotation=about=all", "mine"]).text();
    assert_eq!(inspected(&registry, "mine")["annotations"]["about"], "all");
    assert_eq!(manifest(&registry, "exists", &["mine"]).code(), 0);
    manifest(&registry, "exists", &[APP]).refuses(125, &["it is an image, and no list"]);
    let cases: [(&str, &[&str], i32, &[&str]); 9] = [
        ("create", &[APP], 125, &["an image has the name", "rabbitc untag"]),
        ("rm", &[APP], 1, &["it is an image, and no list of images", "rabbitc rmi"]),
        ("rm", &["none"], 1, &["there is no list of this name or id"]),
        ("add", &["mine", "oci:/x"], 125, &["a list takes no `oci:`", "rabbitc pull"]),
        ("add", &["mine", "containers-storage:none"], 125, &["there is no such image here"]),
        ("add", &["--annotation=x", "mine", APP], 125, &["--annotation: `x` is none"]),
        (
            "create",
            &["--creds=a:b", "x", APP, "localhost:5000/x"],
            125,
            &["--creds", "in several registries"],
        ),
        ("annotate", &["mine", "none", "--arch=x"], 125, &["the list has no such image"]),
        ("push", &["mine", "dir:/x"], 125, &["rabbitc has no `dir:`"]),
    ];
    for (verb, arguments, code, parts) in cases {
        manifest(&registry, verb, arguments).refuses(code, parts);
    }
    registry
        .rabbitc("push", &["mine"])
        .refuses(125, &["it is a list of images", "rabbitc manifest push mine"]);
    registry
        .rabbitc("history", &["mine"])
        .refuses(125, &["it is a list of images", "rabbitc manifest inspect mine"]);
    // One that can't be filled is not there.
    manifest(&registry, "create", &["bad", "127.0.0.1:5000/team/app:none"]).refuses(125, &["404"]);
    assert_eq!(manifest(&registry, "exists", &["bad"]).code(), 1);
    // One that was there stays with what it has.
    manifest(&registry, "create", &["--amend", "mine", "127.0.0.1:5000/team/app:none"])
        .refuses(125, &["404"]);
    assert_eq!(inspected(&registry, "mine")["annotations"]["about"], "all");
    // The name of a list is no image's.
    registry.rabbitc("tag", &[APP, "mine"]).refuses(125, &["a list of images has this name", "manifest rm"]);

    assert_eq!(
        manifest(&registry, "rm", &["mine"]).text(),
        format!("Untagged: docker.io/library/mine:latest\nDeleted: sha256:{id}")
    );
    registry.rabbitc("rmi", &["one"]).text();
    // One whose index is damaged is named, and removed.
    manifest(&registry, "create", &["--annotation=a=b", "damaged"]).text();
    let listed = registry.rabbitc("images", &["--digests", "damaged", "--format={{.Digest}}"]);
    let blob = listed.text().trim_start_matches("sha256:").to_owned();
    std::fs::write(registry.store().join("images/blobs/sha256").join(blob), "{}").expect("written");
    let checked = behind(&registry, &["system", "check", "--repair"]);
    assert!(
        checked.code() == 1 && checked.stdout.contains("(docker.io/library/damaged:latest)"),
        "{checked:?}"
    );
    assert!(checked.stderr.contains("rabbitc manifest rm"), "{checked:?}");
    assert_eq!(behind(&registry, &["image", "prune", "-f"]).code(), 0);
    manifest(&registry, "rm", &["damaged"]).text();
    let pruned = behind(&registry, &["image", "prune", "-af"]);
    assert!(pruned.text().contains("untagged: docker.io/library/other:latest"), "{pruned:?}");
    assert_eq!(registry.kept(), [""; 0]);
    registry.end();
}
