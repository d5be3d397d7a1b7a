//! Images and registries that mean harm, met by the program as it is: with its confined process, its store and its client. What
//! every kind of entry, document and answer comes to is held beside the code; here, that nothing is written outside, that the
//! store is as it was, and that it takes neither long nor much memory.

mod made;

#[path = "../../../../image/tests/registry/liar.rs"]
#[expect(dead_code, reason = "the client's own tests need more of it")]
mod liar;

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};

use self::liar::{Liar, Reply, Seen};
use self::made::{Archive, Image, digest};
use crate::support::{Host, Ran, binary, finish, has_program, names};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The most memory of the command, in kilobytes, whatever is sent to it.
const MOST_MEMORY: u64 = 64 << 10;
/// The longest that it takes to see through it where nothing is to be waited for.
const LONGEST: Duration = Duration::from_secs(20);

/// A host, and on it a file outside of all images.
struct Place {
    host: Host,
    untouched: (u64, i64, i64),
}

impl Place {
    fn new() -> Option<Place> {
        let host = Host::new()?;
        if !["sha256sum", "gzip", "tar"].into_iter().all(has_program) {
            return None;
        }
        std::fs::create_dir(host.directory().join("beside")).expect("made");
        std::fs::write(host.directory().join("beside/file"), "untouched").expect("written");
        let mut place = Place { host, untouched: (0, 0, 0) };
        place.untouched = place.outside();
        Some(place)
    }

    fn beside(&self) -> String {
        self.host.directory().join("beside").display().to_string()
    }

    /// What the file outside is, to its last change.
    fn outside(&self) -> (u64, i64, i64) {
        assert_eq!(names(&self.host.directory().join("beside")), ["file"], "something was made outside");
        let file = self.host.directory().join("beside/file");
        assert_eq!(std::fs::read_to_string(&file).expect("there"), "untouched");
        let found = std::fs::symlink_metadata(file).expect("there");
        (found.ino(), found.ctime(), found.ctime_nsec())
    }

    fn store(&self) -> PathBuf {
        self.host.directory().join("store")
    }

    /// A verb with the test's store, which takes no more memory and time than it may.
    fn rabbitc(&self, words: &[&str]) -> Ran {
        let begun = Instant::now();
        let mut command = self.host.command(binary());
        command.arg(words[0]).arg(format!("--root={}", self.store().display())).args(&words[1..]);
        let child = command.spawn().expect("nsenter runs");
        let status = format!("/proc/{}/status", child.id());
        // The pid stays through nsenter and env.
        let watch = std::thread::spawn(move || {
            let mut most = 0;
            while let Ok(text) = std::fs::read_to_string(&status) {
                let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let Some(line) = line else { break };
                most = line.trim().trim_end_matches(" kB").parse::<u64>().expect("kilobytes");
                std::thread::sleep(Duration::from_millis(2));
            }
            most
        });
        let ran = finish(child, None);
        let most = watch.join().expect("no panic");
        assert!(most < MOST_MEMORY, "{words:?} took {most} kB");
        assert!(begun.elapsed() < LONGEST, "{words:?} took {:?}", begun.elapsed());
        ran
    }

    /// A pull that must fail for this reason: the store is as it was, and so is the host.
    fn refuses(&self, what: &str, words: &[&str], reason: &str) {
        let ran = self.rabbitc(&[&["pull"], words].concat());
        assert_eq!(ran.code(), 125, "{what}: {ran:?}");
        assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains(reason), "{what}: {ran:?}");
        assert_eq!(self.kept(), [""; 0], "{what}");
        assert_eq!(self.outside(), self.untouched, "{what}");
    }

    fn kept(&self) -> Vec<String> {
        let images = self.store().join("images");
        ["blobs/sha256", "layers", "images", "names", "partial"]
            .into_iter()
            .flat_map(|directory| names(&images.join(directory)))
            .collect()
    }

    /// Writes an image in OCI's layout; where it is, for `pull`.
    fn layout(&self, image: &Image) -> String {
        let path = self.host.directory().join("layout");
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(path.join("blobs/sha256")).expect("made");
        std::fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).expect("written");
        for (digest, bytes) in &image.blobs {
            std::fs::write(path.join("blobs/sha256").join(&digest["sha256:".len()..]), bytes)
                .expect("written");
        }
        let index = json!({"schemaVersion": 2, "manifests": [image.top]}).to_string();
        std::fs::write(path.join("index.json"), index).expect("written");
        format!("oci:{}", path.display())
    }

    fn end(self) {
        let directory = self.host.directory().display().to_string();
        self.host.shell(&format!("cd {directory}; rm -rf store layout beside"));
        self.host.assert_nothing_left();
    }
}

#[test]
fn layers_that_reach_out_are_refused_or_stay_within_and_the_store_is_as_it_was() {
    let Some(place) = Place::new() else { return };
    let (beside, new) = (place.beside(), Archive::default);
    let file = format!("{beside}/file");
    let refused: Vec<(&str, Vec<Vec<u8>>, &str)> = vec![
        ("upwards", vec![new().file("../../../../beside/file", "x").ended()], "leads upwards"),
        ("upwards within", vec![new().file("a/../../../../../beside/x", "x").ended()], "leads upwards"),
        ("a whiteout upwards", vec![new().file("../.wh.beside", "").ended()], "leads upwards"),
        ("a whiteout of no name", vec![new().file("a/.wh...", "").ended()], "whiteout of no name"),
        ("a hard link upwards", vec![new().hard("mine", "../../../../beside/file").ended()], "mine"),
        ("an absolute hard link", vec![new().hard("mine", &file).ended()], "mine"),
        (
            "a hard link through a link",
            vec![new().link("out", &beside).hard("mine", "out/file").ended()],
            "mine",
        ),
        (
            "a hard link to what another layer has",
            vec![new().file("file", "x").ended(), new().hard("mine", "file").ended()],
            "mine",
        ),
        (
            "the second layer is hostile",
            vec![new().file("a", "x").ended(), new().file("../x", "").ended()],
            "upwards",
        ),
        (
            "holes without end",
            vec![
                new()
                    .with(&[
                        ("GNU.sparse.major", "0"),
                        ("GNU.sparse.minor", "1"),
                        ("GNU.sparse.map", "0,1"),
                        ("GNU.sparse.size", "4611686018427387904"),
                    ])
                    .file("hole", "x")
                    .ended(),
            ],
            "hole",
        ),
        ("cut off amid a file", vec![new().file("a", &"x".repeat(4096)).0[..2048].to_vec()], "cut off"),
        ("no archive", vec![b"no archive at all".repeat(100)], "unpack"),
    ];
    for (what, archives, reason) in refused {
        let from = place.layout(&Image::of(&archives));
        place.refuses(what, &[&from], reason);
    }
    // A small archive that grows without end behind its own end.
    let zeros = vec![0u8; 64 << 20];
    let mut gzip =
        Command::new("gzip").arg("-9").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("runs");
    let mut pipe = gzip.stdin.take().expect("piped");
    let feeder = std::thread::spawn(move || pipe.write_all(&zeros).expect("it reads"));
    let member = gzip.wait_with_output().expect("it ends").stdout;
    feeder.join().expect("no panic");
    let bomb = Image::with(
        vec![(member.repeat(64), "application/vnd.oci.image.layer.v1.tar+gzip")],
        &[digest(b"whatever it is")],
    );
    place.refuses("a bomb", &[&place.layout(&bomb)], "unpack");

    // What is legal, and leads nowhere outside: in one layer, and from one layer to the next.
    let within: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("through a link", vec![new().link("out", &beside).file("out/file", "x").file("out/x", "x").ended()]),
        ("over a link", vec![new().link("file", &file).file("file", "x").ended()]),
        ("absolute", vec![new().file(&file, "x").file("/etc/passwd", "x").ended()]),
        (
            "from layer to layer",
            vec![
                new().link("out", &beside).ended(),
                new().file("out/file", "x").ended(),
                new().file("out/.wh.file", "").file("out/.wh..wh..opq", "").ended(),
            ],
        ),
        (
            "whiteouts through links",
            vec![new().link("out", &beside).file("out/.wh.file", "").file("out/.wh..wh..opq", "").ended()],
        ),
    ];
    for (what, archives) in within {
        let from = place.layout(&Image::of(&archives));
        let ran = place.rabbitc(&["pull", "-q", &from]);
        let id = ran.text().to_owned();
        assert_eq!(place.outside(), place.untouched, "{what}");
        assert_eq!(place.rabbitc(&["rmi", "--force", &id]).code(), 0, "{what}");
        assert_eq!((place.kept(), place.outside()), (Vec::new(), place.untouched), "{what}");
    }
    place.end();
}

#[test]
fn what_a_hostile_image_brings_is_of_no_use_to_its_container() {
    let Some(place) = Place::new() else { return };
    let tar = Command::new("tar").arg("-C").arg(place.host.rootfs()).args(["-cf", "-", "."]).output();
    let redirected = Archive::default()
        .with(&[("SCHILY.xattr.trusted.overlay.redirect", "/etc")])
        .entry(b'5', "elsewhere/", "", (0, 0), b"")
        .with(&[("SCHILY.xattr.user.overlay.redirect", "/etc")])
        .entry(b'5', "elsewhere2/", "", (0, 0), b"")
        .with(&[("SCHILY.xattr.trusted.overlay.metacopy", "x")])
        .file("copied", "own")
        .link("out", &place.beside())
        .node("memory", (1, 1))
        .node("null", (1, 3))
        .entry(b'4', "disk", "", (8, 0), b"");
    let through = Archive::default().file("out/file", "overwritten").ended();
    let image = Image::of(&[tar.expect("it runs").stdout, redirected.ended(), through]);
    let from = place.layout(&image);
    let id = place.rabbitc(&["pull", "-q", &from]).text().to_owned();
    let root = format!("--root={}", place.store().display());
    let script = "ls /elsewhere /elsewhere2; cat /copied; echo; for node in memory null disk; do cat /$node; done; \
                  cat /out/file";
    let ran = place.host.run(&["run", &root, "--rm", "--network=none", &id, script]);
    assert_eq!(ran.stdout, "/elsewhere:\n\n/elsewhere2:\nown\noverwritten", "{ran:?}");
    assert_eq!(ran.stderr.matches("Operation not permitted").count(), 2, "{ran:?}");
    assert_eq!(place.rabbitc(&["rmi", &id]).code(), 0);
    assert_eq!((place.kept(), place.outside()), (Vec::new(), place.untouched));
    place.end();
}

#[test]
fn documents_that_lie_or_mean_two_things_are_refused() {
    let Some(place) = Place::new() else { return };
    let archive = Archive::default().file("a", "x").ended();
    let good = || Image::of(std::slice::from_ref(&archive));
    let manifest = |fields: Value| {
        let mut image = good();
        let mut all = json!({"config": image.config, "layers": image.layers});
        all.as_object_mut().expect("fields").extend(fields.as_object().expect("fields").clone());
        image.manifest(&all);
        image
    };
    let described = |key: &str, value: Value| {
        let mut image = good();
        image.top[key] = value;
        image
    };
    let index = |manifests: Value| {
        let mut image = good();
        let text = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string();
        image.top = image.put(INDEX, text.into_bytes());
        image
    };
    let mut huge = good();
    let text = [&huge.blobs[huge.top["digest"].as_str().expect("text")][..], &vec![b' '; 5 << 20]].concat();
    huge.top = huge.put(MANIFEST, text);
    let inner = index(json!([good().top]));
    let mut circle = inner.clone();
    let platform = json!({"os": "linux", "architecture": std::env::consts::ARCH.replace("x86_64", "amd64").replace("aarch64", "arm64")});
    let mut to_inner = inner.top.clone();
    to_inner["platform"] = platform;
    let text = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [to_inner]}).to_string();
    circle.top = circle.put(INDEX, text.into_bytes());
    let (missing, elsewhere) = (json!(digest(b"nowhere")), json!(["http://127.0.0.1:1/layer"]));
    let cases: Vec<(&str, Image, &str)> = vec![
        (
            "a digest that is a path",
            described("digest", json!("sha256:../../../../beside/file")),
            "hexadecimal",
        ),
        (
            "a layer's digest that is a path",
            good().described("digest", json!("sha256:../../../beside/file")),
            "hexadecimal",
        ),
        ("no digest", good().described("digest", json!("beside")), "digest"),
        ("a size that is too large", good().described("size", json!(archive.len() + 1)), "ended after"),
        ("a size that is too small", good().described("size", json!(archive.len() - 1)), "goes on behind"),
        ("a negative size", good().described("size", json!(-1)), "-1"),
        ("a size beyond all", good().described("size", json!(u64::MAX)), "are the most"),
        ("other bytes", good().holding(&vec![b'x'; archive.len()]), "not what its digest says"),
        ("half a layer", good().holding(&archive[..700]), "ended after"),
        (
            "another layer",
            good().holding(&Archive::default().file("a", "y").ended()),
            "not what its digest says",
        ),
        (
            "a layer that is elsewhere",
            good().described("digest", missing).described("urls", elsewhere),
            "has no file",
        ),
        ("a huge manifest", huge, "MiB"),
        ("an index of an index", circle, "no manifest that names a platform"),
        ("a manifest that is an index, too", manifest(json!({"manifests": []})), "several kinds"),
        ("a manifest of schema 1, too", manifest(json!({"fsLayers": []})), "several kinds"),
        ("a manifest that is called an index", manifest(json!({"mediaType": INDEX})), "says that it is"),
        ("schema 1", manifest(json!({"schemaVersion": 1})), "schema 1"),
        (
            "more layers than digests of layers",
            manifest(json!({"layers": [good().layers[0], good().layers[0]]})),
            "layers",
        ),
        (
            "another type of layer",
            good().described("mediaType", json!("application/wasm")),
            "application/wasm",
        ),
    ];
    for (what, image, reason) in cases {
        let from = place.layout(&image);
        place.refuses(what, &[&from], reason);
    }
    place.end();
}

/// A liar on the network of the host.
fn start(host: &Host, answer: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Liar {
    let namespace = std::fs::File::open(format!("/proc/{}/ns/net", host.pid())).expect("the holder lives");
    let started = std::thread::spawn(move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may");
        Liar::start(answer)
    });
    started.join().expect("it listens")
}

/// What a registry answers that has the image: by its manifest, or by a blob.
fn served(image: &Image, seen: &Seen) -> Reply {
    let of = |digest: &str| image.blobs.get(digest).cloned();
    let last = seen.path.rsplit('/').next().unwrap_or_default();
    match seen.path.contains("/manifests/") {
        _ if seen.path == "/v2/" => Reply::new(200, "{}"),
        true => match of(image.top["digest"].as_str().expect("text")) {
            Some(bytes) => Reply::new(200, bytes).with("Content-Type", MANIFEST),
            None => Reply::new(404, ""),
        },
        false => of(last).map_or_else(|| Reply::new(404, ""), |bytes| Reply::range(seen, &bytes)),
    }
}

#[test]
fn registries_that_lie_are_seen_through_and_leave_nothing() {
    let Some(place) = Place::new() else { return };
    let host = &place.host;
    let archive = Archive::default().file("a", &"x".repeat(100_000)).ended();
    let good = Image::of(std::slice::from_ref(&archive));
    let is_layer = {
        let path = format!("/blobs/{}", good.layers[0]["digest"].as_str().expect("text"));
        move |seen: &Seen| seen.path.ends_with(&path)
    };
    let name = |liar: &Liar| format!("{}/team/app:v1", liar.host());

    // First of all, the truth.
    let image = good.clone();
    let honest = start(host, move |seen, _| served(&image, seen));
    assert_eq!(place.rabbitc(&["pull", &name(&honest)]).code(), 0);
    assert_eq!(place.rabbitc(&["rmi", &name(&honest)]).code(), 0);

    type Lie = Box<dyn Fn(&Seen, usize) -> Reply + Send + Sync>;
    let blob = |lie: fn(Vec<u8>) -> Reply| -> Lie {
        let (image, is_layer, archive) = (good.clone(), is_layer.clone(), archive.clone());
        Box::new(move |seen, _| if is_layer(seen) { lie(archive.clone()) } else { served(&image, seen) })
    };
    let always = |lie: fn(&Seen) -> Reply| -> Lie { Box::new(move |seen, _| lie(seen)) };
    let lies: Vec<(&str, Lie, &str)> = vec![
        (
            "other bytes",
            blob(|mut bytes| {
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                Reply::new(200, bytes)
            }),
            "not what its digest says",
        ),
        ("fewer bytes", blob(|bytes| Reply::new(200, &bytes[..5_000])), "the registry has 5000"),
        ("more bytes", blob(|bytes| Reply::new(200, [bytes, vec![0; 9]].concat())), "the registry has"),
        ("a layer without end", blob(|bytes| Reply::new(200, bytes).endless()), "there are more"),
        ("a page for people", blob(|_| Reply::new(200, "<html>please pay</html>")), "the registry has"),
        ("a refusal", blob(|_| Reply::new(403, "{}")), "403"),
        ("a manifest without end", always(|_| Reply::new(200, "x".repeat(10_000)).endless()), "KiB"),
        ("a circle", always(|seen| Reply::redirect(seen.path.clone())), "more than 10"),
        (
            "credentials for ever",
            always(|_| Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"more\"")),
            "401",
        ),
        ("a way to a file", always(|_| Reply::redirect("file:///etc/passwd")), "file:///etc/passwd"),
    ];
    for (what, lie, reason) in lies {
        let liar = start(host, lie);
        place.refuses(what, &["--creds=me:secret", &name(&liar)], reason);
    }

    // By its digest it is that or nothing.
    let image = good.clone();
    let liar = start(host, move |seen, _| served(&image, seen));
    let pinned = format!("{}/team/app@{}", liar.host(), digest(b"another"));
    place.refuses("another digest", &[&pinned], "sha256:");

    // Who is sent elsewhere goes there without credentials; and addresses in a manifest are nobody's business.
    let image = good.clone();
    let elsewhere = start(host, move |seen, _| served(&image, seen));
    let (to, image, from) = (elsewhere.host(), good.clone(), is_layer.clone());
    let liar = start(host, move |seen, _| match seen.authorization() {
        None => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"r\""),
        Some(_) if from(seen) => Reply::redirect(format!("http://{to}{}", seen.path)),
        Some(_) => served(&image, seen),
    });
    assert_eq!(place.rabbitc(&["pull", "--creds=me:secret", &name(&liar)]).code(), 0);
    assert!(
        !elsewhere.seen().is_empty() && elsewhere.seen().iter().all(|seen| seen.authorization().is_none())
    );
    assert_eq!(place.rabbitc(&["rmi", &name(&liar)]).code(), 0);

    let before = elsewhere.seen().len();
    let address = format!("http://{}{}", elsewhere.host(), "/v2/team/app/blobs/layer");
    let image = good.clone().described("urls", json!([address]));
    let liar =
        start(host, move |seen, _| if is_layer(seen) { Reply::new(404, "") } else { served(&image, seen) });
    place.refuses("a layer that is elsewhere", &[&name(&liar)], "404");
    assert_eq!(elsewhere.seen().len(), before, "nobody went there");
    place.end();
}

#[test]
fn registry_that_is_busy_or_breaks_off_is_asked_for_the_rest() {
    let Some(place) = Place::new() else { return };
    let archive = Archive::default().file("a", &"x".repeat(100_000)).ended();
    let image = Image::of(std::slice::from_ref(&archive));
    let path = format!("/blobs/{}", image.layers[0]["digest"].as_str().expect("text"));
    let (of_layer, busy) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let liar = start(&place.host, move |seen, _| {
        if seen.path.contains("/manifests/") && busy.fetch_add(1, Ordering::Relaxed) == 0 {
            return Reply::new(503, "");
        }
        match seen.path.ends_with(&path) {
            true if of_layer.fetch_add(1, Ordering::Relaxed) < 2 => served(&image, seen).cut(40_000),
            _ => served(&image, seen),
        }
    });
    let name = format!("{}/team/app:v1", liar.host());
    assert_eq!(place.rabbitc(&["pull", &name]).code(), 0);
    let ranges: Vec<String> =
        liar.seen().iter().filter_map(|seen| seen.header("range")).map(str::to_owned).collect();
    assert_eq!(ranges, ["bytes=40000-", "bytes=80000-"]);
    assert_eq!(place.rabbitc(&["rmi", &name]).code(), 0);
    assert_eq!(place.kept(), [""; 0]);
    place.end();
}
