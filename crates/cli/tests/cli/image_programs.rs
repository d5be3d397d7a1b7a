//! Images go to docker, podman and buildah and come back: by archives and by a registry, with ids and digests that stay what
//! they are.

use std::process::Stdio;

use crate::images::{APP, Registry};
use crate::support::{Background, Ran, binary, eventually, finish, has_program};

/// A host with a registry, and the programs of others with stores of their own there.
struct Place {
    registry: Registry,
    docker: Option<Background>,
}

/// Whose program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Other {
    Docker,
    Podman,
    Buildah,
}

/// A root file system of which others make images, beside the directory of the host.
const NAME: &str = "127.0.0.1:5000/made/by:them";

impl Place {
    fn new(other: Other) -> Option<Place> {
        let registry = Registry::new()?;
        let programs: &[&str] = match other {
            Other::Docker => &["dockerd", "docker", "containerd"],
            Other::Podman => &["podman"],
            Other::Buildah => &["buildah"],
        };
        if !programs.iter().all(|program| has_program(program)) {
            return None;
        }
        let mut place = Place { registry, docker: None };
        if other == Other::Docker {
            place.start_docker();
        }
        let (root, directory) = (place.registry.host.rootfs(), place.path(""));
        place.registry.host.shell(&format!("tar -C {} -cf {directory}/tree.tar .", root.display()));
        Some(place)
    }

    fn path(&self, name: &str) -> String {
        self.registry.host.directory().join(name).display().to_string()
    }

    /// Docker's daemon, which needs no containers for this: with mounts of its own, and nothing of the host's.
    fn start_docker(&mut self) {
        let of = |name: &str| format!("--{name}={}", self.path(&format!("docker/{name}")));
        let (data, exec, pid) = (of("data-root"), of("exec-root"), of("pidfile"));
        self.registry
            .host
            .shell(&format!("cd {}; mkdir docker; echo '{{}}' >docker/daemon.json", self.path("")));
        let configuration = format!("--config-file={}", self.path("docker/daemon.json"));
        let address = self.docker_address();
        let mut command = self.registry.host.command("unshare");
        command.args(["--mount", "--propagation=private", "dockerd", &configuration, &data, &exec, &pid]);
        command.args(["--host", &address, "--bridge=none", "--iptables=false", "--ip6tables=false"]);
        command.args(["--storage-driver=vfs"]).stdin(Stdio::piped()).stdout(Stdio::null());
        command.stderr(std::fs::File::create(self.path("docker/log")).expect("made"));
        self.docker = Some(Background::of(command.spawn().expect("nsenter runs")));
        eventually("docker's daemon answers", || self.ran(Other::Docker, &["version"]).code() == 0);
    }

    fn docker_address(&self) -> String {
        format!("unix://{}", self.path("docker/socket"))
    }

    fn ran(&self, other: Other, words: &[&str]) -> Ran {
        let (root, run) = (self.path("theirs"), self.path("theirs-run"));
        let storage = ["--root", &root, "--runroot", &run, "--storage-driver=vfs"];
        let mut command = match other {
            Other::Docker => self.registry.host.command("docker"),
            Other::Podman => self.registry.host.command("podman"),
            Other::Buildah => self.registry.host.command("buildah"),
        };
        // What they keep stays below the test's own directory.
        command.env("TMPDIR", self.path("")).env("HOME", self.path("home"));
        command.env_remove("XDG_RUNTIME_DIR").env_remove("XDG_CONFIG_HOME");
        match other {
            Other::Docker => command.env("DOCKER_HOST", self.docker_address()),
            Other::Podman => command.args(storage).arg("--cgroup-manager=cgroupfs"),
            Other::Buildah => command.args(storage),
        };
        finish(command.args(words).spawn().expect("nsenter runs"), None)
    }

    /// A command of theirs, which must succeed.
    fn other(&self, other: Other, words: &[&str]) -> String {
        self.ran(other, words).text().to_owned()
    }

    fn rabbitc(&self, verb: &str, words: &[&str]) -> String {
        self.registry.rabbitc(verb, words).text().to_owned()
    }

    /// The id of an image here and the digest of its manifest.
    fn here(&self, name: &str) -> (String, String) {
        let shown = self.rabbitc("inspect", &["--format={{.Id}} {{.Digest}}", name]);
        let (id, digest) = shown.split_once(' ').expect("two");
        (id.to_owned(), digest.to_owned())
    }

    /// The id of an image there, and the digest that it came with.
    fn there(&self, other: Other, name: &str) -> (String, String) {
        let shown = match other {
            Other::Docker => {
                self.other(other, &["image", "inspect", "--format={{.Id}} {{json .RepoDigests}}", name])
            }
            Other::Podman => self.other(other, &["image", "inspect", "--format={{.Id}} {{.Digest}}", name]),
            Other::Buildah => {
                let format = "--format={{.FromImageID}} {{.FromImageDigest}}";
                self.other(other, &["inspect", "--type=image", format, name])
            }
        };
        let (id, rest) = shown.split_once(' ').expect("two");
        let id = format!("sha256:{}", id.trim_start_matches("sha256:"));
        let digest = rest.find("sha256:").map_or("", |at| &rest[at..at + 71]);
        (id, digest.to_owned())
    }

    /// Makes an image of theirs, that is called [`NAME`]: what it prints is `theirs`.
    fn make(&self, other: Other) {
        let tree = self.path("tree.tar");
        match other {
            Other::Docker | Other::Podman => {
                let changes = ["--change=CMD [\"/bin/echo\", \"theirs\"]", "--change=ENV A=b"];
                self.other(other, &[&["import"], &changes[..], &[&tree, NAME]].concat());
            }
            Other::Buildah => {
                let from = self.other(other, &["from", "scratch"]);
                self.other(other, &["add", "--quiet", &from, &tree, "/"]);
                self.other(other, &["config", "--cmd", "[\"/bin/echo\", \"theirs\"]", "--env", "A=b", &from]);
                self.other(other, &["commit", "--quiet", "--rm", &from, NAME]);
            }
        }
    }

    /// Everything of theirs is removed.
    fn end(mut self) {
        if let Some(mut docker) = self.docker.take() {
            docker.signal("TERM");
            docker.finish();
        }
        let directory = self.path("");
        let (theirs, more) = (self.path("theirs"), "docker home tree.tar");
        // Podman may have mounted its own directory on itself.
        self.registry.host.shell(&format!(
            "umount -l {theirs}/vfs {theirs} 2>/dev/null; cd {directory} && rm -rf theirs theirs-run {more}"
        ));
        self.registry.end();
    }

    /// Pushed from here and pulled there, and the other way round, and back again: nothing changes on the way.
    fn exchanges_by_a_registry(&self, other: Other) {
        let insecure: &[&str] = if other == Other::Docker { &[] } else { &["--tls-verify=false"] };
        const OURS: &str = "127.0.0.1:5000/ours:v1";
        self.rabbitc("pull", &[APP]);
        let ours = self.here(APP);
        self.rabbitc("push", &[APP, OURS]);
        self.other(other, &[&["pull", "--quiet"], insecure, &[OURS]].concat());
        assert_eq!(self.there(other, OURS), ours, "{other:?} has what was pushed");

        self.make(other);
        self.other(other, &[&["push"], insecure, &[NAME]].concat());
        let (id, _) = self.there(other, NAME);
        let pulled = self.rabbitc("pull", &["--quiet", NAME]);
        assert_eq!(self.here(NAME), (id.clone(), pulled.clone()), "{other:?}'s is here as it is there");
        assert_eq!(self.registry.run(&[NAME]).text(), "theirs");
        // Back to the registry by another name, and from there to them: it is the one that they have.
        const BACK: &str = "localhost:5000/back:v1";
        self.rabbitc("push", &[NAME, BACK]);
        self.other(other, &[&["rmi", "--force"][..], &[NAME]].concat());
        self.other(other, &[&["pull", "--quiet"], insecure, &[BACK]].concat());
        assert_eq!(self.there(other, BACK), (id, pulled.clone()), "{other:?}");
        // And once more by its digest.
        let pinned = format!("localhost:5000/back@{pulled}");
        self.rabbitc("rmi", &["--force", NAME]);
        assert_eq!(self.rabbitc("pull", &["--quiet", &pinned]), pulled);
        self.rabbitc("rmi", &[&pinned]);
        self.rabbitc("rmi", &[APP]);
        assert_eq!(self.registry.kept(), [""; 0]);
    }
}

#[test]
fn docker_and_rabbitc_exchange_images_by_archives() {
    let Some(place) = Place::new(Other::Docker) else { return };
    place.rabbitc("pull", &[APP]);
    let (id, _) = place.here(APP);
    let (archive, back) = (place.path("ours.tar"), place.path("back.tar"));
    place.rabbitc("save", &["-o", &archive, APP]);
    assert_eq!(
        place.other(Other::Docker, &["load", "--quiet", "-i", &archive]),
        format!("Loaded image: {APP}")
    );
    assert_eq!(place.there(Other::Docker, APP).0, id);
    // What docker writes of it, and of one of its own, in one archive.
    place.make(Other::Docker);
    let (theirs, _) = place.there(Other::Docker, NAME);
    place.other(Other::Docker, &["save", "-o", &back, APP, NAME]);
    place.rabbitc("rmi", &[APP]);
    assert_eq!(place.registry.kept(), [""; 0]);
    let said = place.rabbitc("load", &["-i", &back]);
    let mut lines: Vec<&str> = said.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, [format!("Loaded image: {NAME}"), format!("Loaded image: {APP}")]);
    assert_eq!((place.here(APP).0, place.here(NAME).0), (id.clone(), theirs.clone()));
    assert_eq!(place.registry.run(&[NAME]).text(), "theirs");
    assert_eq!(place.registry.run(&[APP]).stdout, "two\nhello\n/etc\n12\n34\n");
    // Both of ours in one archive, through a pipe.
    place.other(Other::Docker, &["rmi", "--force", APP, NAME]);
    let script = format!(
        "{} save --root={} {APP} {NAME} | docker --host={} load",
        binary().display(),
        place.registry.store().display(),
        place.docker_address()
    );
    let said = place.registry.host.shell(&script);
    assert!(said.contains(NAME) && said.contains(APP), "{said}");
    assert_eq!((place.there(Other::Docker, APP).0, place.there(Other::Docker, NAME).0), (id, theirs));
    place.registry.host.shell(&format!("rm {archive} {back}"));
    place.end();
}

#[test]
fn buildah_and_rabbitc_exchange_images_by_archives() {
    let Some(place) = Place::new(Other::Buildah) else { return };
    let other = Other::Buildah;
    place.make(other);
    let (id, digest) = place.there(other, NAME);
    for (kind, format, is_equal) in [
        ("oci-archive", "oci-archive", true),
        ("docker-archive", "docker-archive", false),
        ("oci", "oci-dir", true),
    ] {
        let (theirs, ours) = (place.path("theirs-out"), place.path("ours-out"));
        // Layers are compressed on the way to a layout, and its manifest is another one than that of buildah's store.
        let file = place.path("digest");
        let flags = ["push", "--quiet", "--digestfile", &file, NAME];
        place.other(other, &[&flags[..], &[&format!("{kind}:{theirs}:{NAME}")]].concat());
        let written = std::fs::read_to_string(&file).expect("written");
        let said = place.rabbitc("load", &["-i", &theirs]);
        assert_eq!(said, format!("Loaded image: {NAME}"), "{kind}");
        let (own, manifest) = place.here(NAME);
        assert_eq!(own, id, "{kind}");
        assert_eq!(
            manifest == written,
            is_equal,
            "{kind}: {manifest}, and buildah wrote {written} of {digest}"
        );
        assert_eq!(place.registry.run(&[NAME]).text(), "theirs", "{kind}");
        place.rabbitc("save", &["--format", format, "-o", &ours, NAME]);
        place.other(other, &["rmi", "--force", NAME]);
        place.other(other, &["pull", "--quiet", &format!("{kind}:{ours}")]);
        let (again, came) = place.there(other, &id[7..]);
        assert_eq!(again, id, "{kind}");
        assert_eq!(came == manifest, is_equal, "{kind}: {came}");
        place.rabbitc("rmi", &["--force", &id]);
        assert_eq!(place.registry.kept(), [""; 0], "{kind}");
        place.other(other, &["tag", &id[7..], NAME]);
        place.registry.host.shell(&format!("rm -rf {theirs} {ours} {file}"));
    }
    place.end();
}

#[test]
fn docker_and_rabbitc_exchange_images_by_a_registry() {
    let Some(place) = Place::new(Other::Docker) else { return };
    place.exchanges_by_a_registry(Other::Docker);
    place.end();
}

#[test]
fn podman_and_rabbitc_exchange_images_by_a_registry() {
    let Some(place) = Place::new(Other::Podman) else { return };
    place.exchanges_by_a_registry(Other::Podman);
    place.end();
}

#[test]
fn buildah_and_rabbitc_exchange_images_by_a_registry() {
    let Some(place) = Place::new(Other::Buildah) else { return };
    place.exchanges_by_a_registry(Other::Buildah);
    place.end();
}
