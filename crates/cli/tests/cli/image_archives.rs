//! Archives of images: those of skopeo, podman and docker come in, and ours go out to them. And the verbs that need an image
//! and no registry.

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use crate::images::LAYOUT;
use crate::support::{Host, Ran, binary, finish, has_program, names};

/// A host with an image in OCI's layout, of two layers.
struct Place {
    host: Host,
}

const NAME: &str = "example.org/team/app:v1";

impl Place {
    fn new(programs: &[&str]) -> Option<Place> {
        let host = Host::new()?;
        if !["gzip", "tar"].iter().chain(programs).all(|program| has_program(program)) {
            return None;
        }
        let mut command = host.command("sh");
        command.args(["-c", LAYOUT]).arg(host.directory());
        assert_eq!(finish(command.spawn().expect("nsenter runs"), None).code(), 0, "the image is made");
        Some(Place { host })
    }

    fn path(&self, name: &str) -> String {
        self.host.directory().join(name).display().to_string()
    }

    fn store(&self) -> PathBuf {
        self.host.directory().join("store")
    }

    /// A verb of images, with a store of the test's own.
    fn rabbitc(&self, words: &[&str]) -> Ran {
        self.fed(words, None)
    }

    fn fed(&self, words: &[&str], input: Option<Vec<u8>>) -> Ran {
        let verbs = if words[0] == "image" { 2 } else { 1 };
        let mut command = self.host.command(binary());
        command.args(&words[..verbs]).arg(format!("--root={}", self.store().display())).args(&words[verbs..]);
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        finish(command.spawn().expect("nsenter runs"), input)
    }

    /// A program of somebody else's, which must succeed.
    fn other(&self, program: &str, words: &[&str]) -> String {
        let mut command = self.host.command(program);
        // What it keeps stays below the test's own directory.
        command.env("TMPDIR", self.host.directory());
        command.args(words);
        finish(command.spawn().expect("nsenter runs"), None).text().to_owned()
    }

    fn skopeo(&self, from: &str, to: &str) {
        self.other("skopeo", &["--insecure-policy", "copy", "--quiet", from, to]);
    }

    fn podman(&self, words: &[&str]) -> String {
        let (root, run) = (self.path("podman"), self.path("podman-run"));
        let all = ["--root", &root, "--runroot", &run, "--storage-driver=vfs", "--cgroup-manager=cgroupfs"];
        self.other("podman", &[&all[..], words].concat())
    }

    /// Loads the layout under a name; the image's id and the digest of its manifest.
    fn loaded(&self) -> (String, String) {
        let id = self.rabbitc(&["pull", &format!("oci:{}", self.path("layout"))]).text().to_owned();
        assert_eq!(self.rabbitc(&["tag", &id, NAME]).text(), "");
        let shown = self.rabbitc(&["inspect", "--format={{.Id}} {{.Digest}}", NAME]);
        let (own, digest) = shown.text().split_once(' ').expect("two");
        assert_eq!(own, id);
        (id, digest.to_owned())
    }

    fn kept(&self) -> Vec<String> {
        let images = self.store().join("images");
        ["blobs/sha256", "layers", "images", "names", "partial"]
            .into_iter()
            .flat_map(|directory| names(&images.join(directory)))
            .collect()
    }

    fn end(self) {
        let directory = self.host.directory().to_owned();
        let (podman, rest) = (self.path("podman"), directory.display().to_string());
        // Podman may have mounted its own directory on itself.
        self.host.shell(&format!("umount -l {podman}/vfs {podman} 2>/dev/null; cd {rest} && ls | grep -vx -e rootfs -e state | xargs rm -rf"));
        self.host.assert_nothing_left();
    }
}

#[test]
fn what_is_no_archive_of_images_and_what_does_not_fit_where_it_is_saved_is_said_with_its_own_remedy() {
    let Some(place) = Place::new(&[]) else { return };
    place.loaded();
    let ran = place.rabbitc(&["save", "-o", "/dev/full", NAME]);
    ran.refuses(125, &["no space left on device", "make room where `/dev/full` is"]);
    assert!(!ran.stderr.contains("--root"), "{ran:?}");
    let script = "cd $0; mkdir -p tree/a; ln -s /etc/passwd tree/a/l; tar -C tree -cf root.tar .";
    place.other("sh", &["-c", script, &place.path("")]);
    for path in [place.path("root.tar"), "/etc/passwd".to_owned()] {
        place.rabbitc(&["load", "-i", &path]).refuses(125, &["no archive of images; `rabbitc import`"]);
    }
    place.end();
}

#[test]
fn name_that_podman_gave_on_this_host_is_found_without_its_registry_where_no_other_is() {
    let Some(place) = Place::new(&[]) else { return };
    let (id, _) = place.loaded();
    assert_eq!(place.rabbitc(&["tag", &id, "localhost/built:1"]).text(), "");
    let shown = |name: &str| place.rabbitc(&["inspect", "--format={{.RepoTags}}", name]);
    assert!(shown("built:1").text().contains("localhost/built:1"));
    place.rabbitc(&["inspect", "built:2"]).refuses(1, &["no image of this name"]);
    // What comes from a registry goes before it.
    std::fs::write(place.path("root.tar"), [0; 1024]).expect("written");
    let other = place.rabbitc(&["import", &place.path("root.tar"), "docker.io/library/built:1"]);
    assert_eq!(place.rabbitc(&["inspect", "--format={{.Id}}", "built:1"]).text(), other.text());
    place.end();
}

#[test]
fn archives_of_skopeo_load_and_ours_load_there() {
    let Some(place) = Place::new(&["skopeo"]) else { return };
    let (id, digest) = place.loaded();
    let layout = format!("oci:{}", place.path("layout"));
    // In: what skopeo writes.
    for (kind, is_equal) in [("oci-archive", true), ("docker-archive", false), ("dir", true)] {
        let path = place.path("in");
        let to = if kind == "dir" {
            format!("dir:{path}")
        } else {
            format!("{kind}:{path}:example.org/in:{kind}")
        };
        place.skopeo(&layout, &to);
        assert_eq!(place.rabbitc(&["rmi", "--force", &id]).code(), 0);
        let said = place.rabbitc(&["load", "--quiet", "-i", &path]);
        let name = format!("example.org/in:{kind}");
        match kind {
            "dir" => assert_eq!(said.text(), format!("Loaded image ID: {id}")),
            _ => assert_eq!(said.text(), format!("Loaded image: {name}")),
        }
        let shown = place.rabbitc(&["inspect", "-f", "{{.Id}} {{.Digest}}", &id]).text().to_owned();
        let (own, manifest) = shown.split_once(' ').expect("two");
        assert_eq!(own, id, "{kind}");
        assert_eq!(manifest == digest, is_equal, "{kind}: {manifest}");
        place.host.shell(&format!("rm -rf {path}"));
    }
    // Out: what skopeo reads, by its own check of every digest.
    assert_eq!(place.rabbitc(&["rmi", "--force", &id]).code(), 0);
    place.loaded();
    for (format, kind, is_equal) in [
        ("oci-archive", "oci-archive", true),
        ("docker-archive", "docker-archive", false),
        ("oci-dir", "oci", true),
        ("docker-dir", "dir", true),
    ] {
        let (path, back) = (place.path("out"), place.path("back"));
        assert_eq!(place.rabbitc(&["save", "--format", format, "-o", &path, NAME]).text(), "");
        let from = if kind == "dir" { format!("dir:{path}") } else { format!("{kind}:{path}:{NAME}") };
        place.skopeo(&from, &format!("dir:{back}"));
        let manifest = std::fs::read(place.host.directory().join("back/manifest.json")).expect("written");
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
        assert_eq!(manifest["config"]["digest"], id.as_str(), "{format}");
        let raw = place.other("skopeo", &["inspect", "--format", "{{.Digest}}", &format!("dir:{back}")]);
        assert_eq!(raw == digest, is_equal, "{format}: {raw}");
        place.host.shell(&format!("rm -rf {path} {back}"));
    }
    place.end();
}

#[test]
fn archives_of_podman_load_and_ours_load_there() {
    let Some(place) = Place::new(&["podman"]) else { return };
    let (id, digest) = place.loaded();
    let digits = id.trim_start_matches("sha256:");
    for format in ["docker-archive", "oci-archive"] {
        let path = place.path("out.tar");
        assert_eq!(place.rabbitc(&["save", "--format", format, "-o", &path, NAME]).text(), "");
        let said = place.podman(&["load", "-q", "-i", &path]);
        assert_eq!(said, format!("Loaded image: {NAME}"), "{format}");
        let shown = place.podman(&["image", "inspect", "--format", "{{.Id}} {{.Digest}}", NAME]);
        let (own, manifest) = shown.split_once(' ').expect("two");
        assert_eq!(own, digits, "{format}");
        assert_eq!(manifest == digest, format == "oci-archive", "{format}: {manifest}");
        // And back, from podman's own.
        let back = place.path("back.tar");
        place.podman(&["save", "-q", "--format", format, "-o", &back, NAME]);
        assert_eq!(place.rabbitc(&["rmi", "--force", &id]).code(), 0);
        assert_eq!(place.kept(), [""; 0], "nothing of it stays");
        assert_eq!(place.rabbitc(&["load", "-q", "-i", &back]).text(), format!("Loaded image: {NAME}"));
        let again = place.rabbitc(&["inspect", "-f", "{{.Id}} {{index .RepoTags 0}}", NAME]);
        assert_eq!(again.text(), format!("{id} {NAME}"));
        place.podman(&["rmi", "--force", NAME]);
        place.host.shell(&format!("rm -rf {path} {back}"));
        if format == "docker-archive" {
            assert_eq!(place.rabbitc(&["rmi", "--force", &id]).code(), 0);
            place.loaded();
        }
    }
    place.end();
}

#[test]
fn several_images_go_through_one_archive_and_through_pipes() {
    let Some(place) = Place::new(&[]) else { return };
    let (id, _) = place.loaded();
    let tree = place.path("tree.tar");
    place.host.shell(&format!("tar -C {} -cf {tree} rootfs", place.host.directory().display()));
    let second = place.rabbitc(&["import", "-q", &tree, "example.org/second:v1"]).text().to_owned();
    assert_eq!(place.rabbitc(&["tag", NAME, "example.org/other:v2"]).code(), 0);
    for format in ["docker-archive", "oci-archive"] {
        let path = place.path("all.tar");
        let names = [NAME, "example.org/other:v2", "example.org/second:v1"];
        let words = [&["save", "--format", format, "-o", path.as_str()], &names[..]].concat();
        assert_eq!(place.rabbitc(&words).text(), "");
        let first = std::fs::read(&path).expect("written");
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(&path).expect("written").permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
        let mut command = place.host.command("sh");
        let script = format!(
            "{} save --root={} --format {format} {} >{path}.pipe",
            binary().display(),
            place.store().display(),
            names.join(" ")
        );
        command.args(["-c", &script]);
        assert_eq!(finish(command.spawn().expect("nsenter runs"), None).code(), 0);
        assert!(std::fs::read(format!("{path}.pipe")).expect("written") == first, "the same archive");
        assert_eq!(place.rabbitc(&["image", "rm", "-f", &id, &second]).code(), 0);
        place.host.shell(&format!("gzip -c {path} >{path}.gz"));
        let compressed = std::fs::read(format!("{path}.gz")).expect("written");
        let expected: String = names.iter().map(|name| format!("Loaded image: {name}\n")).collect();
        for input in [first, compressed] {
            let ran = place.fed(&["load"], Some(input));
            assert_eq!((ran.code(), ran.stdout.as_str()), (0, expected.as_str()), "{ran:?}");
        }
        assert_eq!(crate::support::names(&place.store().join("images/partial")), [""; 0]);
    }
    place.end();
}

#[test]
fn verbs_of_images_say_what_dockers_and_podmans_say() {
    let Some(place) = Place::new(&[]) else { return };
    let (id, digest) = place.loaded();
    let short = &id["sha256:".len()..][..12];
    let line = |words: &[&str]| place.rabbitc(words).text().to_owned();

    // What an image is.
    let shown: serde_json::Value = serde_json::from_str(&line(&["image", "inspect", NAME])).expect("JSON");
    let image = &shown[0];
    assert_eq!(image["Id"], id.as_str());
    assert_eq!(image["RepoTags"], serde_json::json!([NAME]));
    assert_eq!(image["RepoDigests"], serde_json::json!([format!("example.org/team/app@{digest}")]));
    assert_eq!((&image["Os"], &image["Created"]), (&"linux".into(), &"2020-02-03T04:05:06Z".into()));
    assert_eq!(image["Config"]["Env"], serde_json::json!(["PATH=/bin", "GREETING=hello"]));
    assert_eq!(image["RootFS"]["Layers"].as_array().map(Vec::len), Some(2));
    for (template, expected) in [
        ("{{json .Config.Entrypoint}}", r#"["/bin/sh"]"#),
        ("{{.Config.User}}|{{.Config.WorkingDir}}|{{.Config.Labels}}", "12:34|/etc|map[]"),
        ("<{{index .Config.Labels \"none\"}}{{index .Labels \"none\"}}>", "<>"),
        ("{{json .Config.Labels}} {{json .Config.OnBuild}} {{.Config.OnBuild}}", "null null []"),
        ("{{range .Config.Env}}{{println .}}{{end}}", "PATH=/bin\nGREETING=hello"),
        ("{{len .RootFS.Layers}} {{.Descriptor.digest}}", &format!("2 {digest}")),
    ] {
        assert_eq!(line(&["inspect", "--format", template, NAME]), expected, "{template}");
    }
    place
        .rabbitc(&["inspect", "--format", "{{.Nope}}", NAME])
        .refuses(125, &["--format: `.Nope` is no field", "RepoTags"]);
    place.rabbitc(&["inspect", "--type=volume", NAME]).refuses(125, &["--type: `volume` is not known"]);
    let ran = place.rabbitc(&["inspect", NAME, "nothing:here"]);
    ran.refuses(1, &["inspect `nothing:here`: there is no container and no image of this name or id"]);
    assert!(ran.stdout.contains(&id), "the other is shown: {ran:?}");
    assert_eq!(place.rabbitc(&["image", "exists", short]).code(), 0);
    assert_eq!(place.rabbitc(&["image", "exists", "nothing"]).code(), 1);

    // How it was made: this one says nothing of that, but has two layers.
    let rows = line(&["history", "--no-trunc", NAME]);
    assert!(rows.starts_with("IMAGE ") && rows.lines().count() == 3 && rows.contains(&id), "{rows}");
    assert_eq!(line(&["history", "-q", NAME]), format!("{short}\n<missing>"));
    let tree = line(&["image", "tree", NAME]);
    assert!(tree.contains("├── ID: ") && tree.contains(&format!("Top Layer of: [{NAME}]")), "{tree}");

    // Names.
    assert_eq!(line(&["tag", NAME, "app", "example.org/app:v2"]), "");
    assert_eq!(
        line(&["images", "--format", "{{.Repository}}:{{.Tag}}", "--sort=repository"]).lines().count(),
        3
    );
    place.rabbitc(&["tag", NAME, &format!("app@{digest}")]).refuses(125, &["has a digest"]);
    place.rabbitc(&["tag", "nothing", "app"]).refuses(125, &["name the image `nothing`"]);
    place.rabbitc(&["untag", NAME, "app:v9"]).refuses(125, &["`docker.io/library/app:v9` is no name of it"]);
    for (filters, expected) in [
        (&["reference=app"][..], 1),
        (&["reference=example.org/*/*"], 1),
        (&["reference=app", "reference=example.org/app:v*"], 2),
        (&["dangling=true"], 0),
        (&["label=none"], 0),
        (&["label!=none", "dangling=false"], 3),
        (&["until=2020-02-04"], 3),
        (&["until=2020-02-03"], 0),
        (&["before=app"], 0),
    ] {
        let flags: Vec<String> = filters.iter().map(|filter| format!("--filter={filter}")).collect();
        let words: Vec<&str> =
            ["image", "ls", "--noheading"].into_iter().chain(flags.iter().map(String::as_str)).collect();
        assert_eq!(line(&words).lines().count(), expected, "{filters:?}");
    }
    place
        .rabbitc(&["images", "--filter=color=red"])
        .refuses(125, &["--filter: `color` is not known", "dangling"]);
    assert_eq!(
        line(&["images", "app", "--format=table {{.ID}}\\t{{.CreatedAt}}"]),
        format!("IMAGE ID       CREATED AT\n{short}   2020-02-03 04:05:06 +0000 UTC")
    );
    assert_eq!(line(&["untag", "app"]), "");
    assert_eq!(line(&["images", "-q"]), short, "without a name it is still here");

    // Those without a name go when somebody says yes.
    place
        .rabbitc(&["image", "prune"])
        .refuses(125, &["all dangling images would go", "nobody said yes", "--force"]);
    assert_eq!(place.fed(&["image", "prune"], Some(b"n\n".to_vec())).text(), "");
    assert_eq!(line(&["images", "-q"]), short);
    let pruned = place.fed(&["image", "prune"], Some(b"y\n".to_vec()));
    assert!(
        pruned.text().starts_with(&format!("Deleted Images:\ndeleted: {id}\n\nTotal reclaimed space: ")),
        "{pruned:?}"
    );
    assert_eq!(place.kept(), [""; 0]);
    place.loaded();
    assert_eq!(line(&["image", "prune", "-f"]), "Total reclaimed space: 0B");
    assert!(line(&["image", "prune", "-a", "-f"]).contains(&format!("untagged: {NAME}\ndeleted: {id}")));
    assert_eq!(place.kept(), [""; 0]);
    let mut command = place.host.command(binary());
    command.args(["image", "sign"]);
    finish(command.spawn().expect("nsenter runs"), None).refuses(125, &["`sign` is none of its commands"]);
    place.end();
}

#[test]
fn root_file_system_becomes_an_image_that_runs() {
    let Some(place) = Place::new(&[]) else { return };
    place.host.shell(&format!("tar -C {} -cf {} .", place.host.rootfs().display(), place.path("root.tar")));
    let archive = std::fs::read(place.path("root.tar")).expect("made");
    let changes =
        ["-c", "ENTRYPOINT [\"/bin/echo\"]", "-c", "CMD [\"hello\"]", "--change=ENV A=b", "-m", "by hand"];
    let id = place
        .fed(&[&["import"], &changes[..], &["-", "example.org/made"]].concat(), Some(archive))
        .text()
        .to_owned();
    assert!(id.starts_with("sha256:"));
    let root = format!("--root={}", place.store().display());
    assert_eq!(place.host.run(&["run", &root, "--rm", "--network=none", "example.org/made"]).text(), "hello");
    let history = place.rabbitc(&["history", "--format={{.Comment}}", &id]);
    assert_eq!(history.text(), "by hand");
    let refused: [(&[&str], &[&str]); 6] = [
        (&["import", "/nowhere.tar"], &["open `/nowhere.tar`: no such file or directory"]),
        (&["import", "--change=RUN true", "x.tar"], &["--change: `RUN true`", "CMD"]),
        (
            &["import", "/etc/passwd"],
            &["import `/etc/passwd`: unpack a layer: ", "hint: it is to be a tar archive"],
        ),
        (&["import", "http://127.0.0.1:1/x.tar"], &["fetch `http://127.0.0.1:1/x.tar`"]),
        (&["load", "-i", "http://:1/x.tar"], &["fetch `http://:1/x.tar`"]),
        (&["import", "-"], &["there is nothing in it"]),
    ];
    for (words, parts) in refused {
        let ran = place.rabbitc(words);
        assert_eq!(ran.code(), 125, "{words:?}: {ran:?}");
        assert!(parts.iter().all(|part| ran.stderr.contains(part)), "{words:?}: {ran:?}");
    }
    assert_eq!(place.rabbitc(&["rmi", &id]).code(), 0);
    assert_eq!(place.kept(), [""; 0]);
    place.end();
}

#[test]
fn image_that_is_here_already_keeps_its_manifest() {
    let Some(place) = Place::new(&["skopeo"]) else { return };
    let (id, digest) = place.loaded();
    let path = place.path("app.tar");
    assert_eq!(place.rabbitc(&["save", "-o", &path, NAME]).code(), 0);
    assert_eq!(place.rabbitc(&["load", "-i", &path]).text(), format!("Loaded image: {NAME}"));
    let shown = place.rabbitc(&["inspect", "-f", "{{.Digest}} {{.RepoTags}}", &id]);
    assert_eq!(shown.text(), format!("{digest} [{NAME}]"), "docker's archive has no better one");
    assert_eq!(place.rabbitc(&["images", "-q"]).text().lines().count(), 1);
    // Where a worse one came first and has no name any more, it is no other image, and none is deleted with it.
    assert_eq!(place.rabbitc(&["rmi", &id]).code(), 0);
    assert_eq!(place.rabbitc(&["load", "-i", &path]).code(), 0);
    place.loaded();
    assert_eq!(place.rabbitc(&["images", "-q"]).text().lines().count(), 1);
    assert_eq!(place.rabbitc(&["images", "-q", "--filter=dangling=true"]).text(), "");
    let before = place.kept().len();
    let pruned = place.rabbitc(&["image", "prune", "-f"]);
    assert!(pruned.text().starts_with("Total reclaimed space: "), "{pruned:?}");
    assert!(place.kept().len() < before, "what it alone needed goes");
    assert_eq!(place.rabbitc(&["image", "exists", NAME]).code(), 0);
    // Else both stand for the image, and go with it.
    assert_eq!(place.rabbitc(&["rmi", &id]).code(), 0);
    assert_eq!(place.rabbitc(&["load", "-i", &path]).code(), 0);
    assert_eq!(place.rabbitc(&["tag", NAME, "example.org/other:v1"]).code(), 0);
    place.loaded();
    let shown = place.rabbitc(&["inspect", "-f", "{{.RepoTags}}", &id]);
    assert_eq!(shown.text(), format!("[example.org/other:v1 {NAME}]"));
    assert_eq!(place.rabbitc(&["rmi", "example.org/other:v1"]).text(), "Untagged: example.org/other:v1");
    assert_eq!(place.rabbitc(&["rmi", "--force", &id]).text(), format!("Untagged: {NAME}\nDeleted: {id}"));
    assert_eq!(place.kept(), [""; 0], "nothing of it stays");
    place.end();
}

#[test]
fn save_that_fails_leaves_no_file() {
    let Some(place) = Place::new(&[]) else { return };
    let (id, _) = place.loaded();
    let path = place.path("out");
    place.rabbitc(&["save", "-o", &path, "nothing"]).refuses(125, &["save the image `nothing`"]);
    place.rabbitc(&["save", "--format=oci-dir", &id]).refuses(125, &["directory", "--output"]);
    place.rabbitc(&["save", "--format=tar", "-o", &path, &id]).refuses(125, &["--format", "docker-archive"]);
    place.host.shell(&format!("mkdir -p {path}; touch {path}/x"));
    place.rabbitc(&["save", "--format=oci-dir", "-o", &path, &id]).refuses(125, &["it is not empty"]);
    place.host.shell(&format!("rm -r {path}"));
    // A layer that the disk has lost a bit of.
    let blobs = place.store().join("images/blobs/sha256");
    let largest = place.host.shell(&format!("ls -S {} | head -n1", blobs.display()));
    let mut file = std::fs::File::options().append(true).open(blobs.join(&largest)).expect("there");
    file.write_all(b"x").expect("written");
    for format in ["docker-archive", "oci-archive", "oci-dir", "docker-dir"] {
        place
            .rabbitc(&["save", "--format", format, "-o", &path, &id])
            .refuses(125, &["save the image", "hint: "]);
        assert_eq!(names(place.host.directory()), ["layout", "rootfs", "store"], "{format}");
    }
    // A directory that was there stays, as empty as it was.
    std::fs::create_dir(&path).expect("made");
    for format in ["oci-dir", "docker-dir"] {
        place.rabbitc(&["save", "--format", format, "-o", &path, &id]).refuses(125, &["save the image"]);
        assert_eq!(names(std::path::Path::new(&path)), [""; 0], "{format}");
    }
    std::fs::remove_dir(&path).expect("there");
    place.end();
}

#[test]
fn load_that_is_killed_leaves_a_store_that_works() {
    let Some(place) = Place::new(&[]) else { return };
    let (id, _) = place.loaded();
    let path = place.path("app.tar");
    assert_eq!(place.rabbitc(&["save", "-o", &path, NAME]).code(), 0);
    place.host.shell(&format!("gzip -k {path}"));
    assert_eq!(place.rabbitc(&["rmi", NAME]).code(), 0);
    for (number, milliseconds) in [1, 3, 5, 8, 12, 20, 30, 50, 80, 120].into_iter().enumerate() {
        let archive = if number % 2 == 0 { path.clone() } else { format!("{path}.gz") };
        let mut command = place.host.command(binary());
        command.args(["load", "-i", &archive]).arg(format!("--root={}", place.store().display()));
        let mut child = command.spawn().expect("nsenter runs");
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        // It may have ended.
        let _ = child.kill();
        child.wait().expect("waited for");
        let ran = place.rabbitc(&["load", "-i", &archive]);
        assert_eq!(ran.text(), format!("Loaded image: {NAME}"), "after {milliseconds} ms: {ran:?}");
        assert_eq!(place.rabbitc(&["rmi", &id]).code(), 0);
        assert_eq!(place.kept(), [""; 0], "after {milliseconds} ms");
    }
    place.end();
}

#[test]
fn archive_comes_from_another_host_and_layers_go_out_without_compression() {
    let Some(place) = Place::new(&["file"]) else { return };
    let (id, _) = place.loaded();
    let archive = place.path("plain.tar");
    let words = ["save", "--uncompressed", "--format=oci-archive", "-o", &archive, NAME];
    assert_eq!(place.rabbitc(&words).text(), "");
    let kinds = place.host.shell(&format!(
        "mkdir {archive}.d; tar -C {archive}.d -xf {archive}; file {archive}.d/blobs/sha256/*"
    ));
    assert_eq!(kinds.matches("POSIX tar archive").count(), 2, "{kinds}");
    assert!(!kinds.contains("gzip"), "{kinds}");
    place
        .rabbitc(&["save", "--uncompressed", "--format=docker-dir", "-o", &archive, NAME])
        .refuses(125, &["--uncompressed"]);
    assert_eq!(place.rabbitc(&["rmi", "-f", &id]).code(), 0);
    let mut server = place.host.command("busybox");
    server.args(["httpd", "-f", "-p", "127.0.0.1:8089", "-h", &place.host.directory().display().to_string()]);
    let mut server = server.spawn().expect("nsenter runs");
    let load = || place.rabbitc(&["load", "-q", "-i", "http://127.0.0.1:8089/plain.tar"]);
    crate::support::eventually("it is served", || load().code() == 0);
    assert_eq!(load().text(), format!("Loaded image: {NAME}"));
    assert_eq!(place.rabbitc(&["inspect", "--format={{.Id}}", NAME]).text(), id, "the image is the same");
    place.host.shell(&format!("tar -C {} -cf {archive} rootfs", place.host.directory().display()));
    let imported = place.rabbitc(&["import", "-q", "http://127.0.0.1:8089/plain.tar", "example.org/made"]);
    let note = place.rabbitc(&["history", "--format={{.Comment}}", imported.text()]);
    assert_eq!(note.text(), "Imported from http://127.0.0.1:8089/plain.tar");
    place.rabbitc(&["load", "-i", "http://127.0.0.1:8089/none.tar"]).refuses(125, &["fetch `http"]);
    server.kill().expect("it runs");
    server.wait().expect("it ends");
    place.end();
}
