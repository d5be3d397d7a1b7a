//! The process that does it, confined. It is this test's own program, executed again with one test and a wish in its environment.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use super::*;

const WISH: &str = "RABBITC_UNPACK_WISH";
const TREE: &str = "RABBITC_UNPACK_TREE";

/// Not a test of its own: what the others execute. The archive is its standard input, the answer its standard error.
#[test]
fn process() {
    let Ok(wish) = std::env::var(WISH) else { return };
    let tree = File::open(std::env::var_os(TREE).expect("given with the wish")).expect("there");
    let standard = |number| sys::fd::adopt(number).expect("open");
    let code = match &wish[..] {
        "serve" => i32::from(serve(standard(0), tree.into(), standard(2), &OPTIONS).is_err()),
        attempt => attempt_after(attempt, standard(0), tree.into(), standard(2)),
    };
    sys::process::exit_now(code);
}

/// Confines this process and tries something; 0 if that was refused, 1 if it worked.
fn attempt_after(attempt: &str, archive: OwnedFd, tree: OwnedFd, answer: OwnedFd) -> i32 {
    use crate::unpack::serve::{confine, keep_only};
    // Open from before, as a careless parent would leave it.
    let host = File::open("/").expect("there");
    let [_archive, tree, _answer] = keep_only([archive, tree, answer]).expect("kept");
    let confined = confine(tree, &OPTIONS).expect("confined");
    let worked = match attempt {
        "execute" => sys::exec::execve(
            c"/bin/true",
            &sys::exec::CStringArray::new(Vec::new()),
            &sys::exec::CStringArray::new(Vec::new()),
            None,
        )
        .raw_os_error()
        .is_none(),
        "connect" => {
            rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None)
                .is_ok()
        }
        "mount" => sys::mount::change(c"/", sys::mount::propagation::PRIVATE).is_ok(),
        "unshare" => sys::namespace::unshare(sys::clone::flags::NEWUSER).is_ok(),
        "signal" => {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).is_ok()
        }
        // The descriptor from before is closed: the number is free or another file's.
        "descriptor" => {
            rustix::fs::openat(&host, "etc", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).is_ok()
        }
        "look" => File::open("/etc/passwd").is_ok() || File::open("/proc/self/status").is_ok(),
        "upwards" => {
            let flags = rustix::fs::OFlags::PATH;
            let up = rustix::fs::openat(&confined, "../../..", flags, rustix::fs::Mode::empty())
                .expect("the root's own");
            rustix::fs::fstat(up).expect("open").st_ino != rustix::fs::fstat(&confined).expect("open").st_ino
        }
        "device" => {
            let kind = rustix::fs::FileType::CharacterDevice;
            let mode = rustix::fs::Mode::RUSR;
            let made = rustix::fs::mknodat(&confined, "null", kind, mode, rustix::fs::makedev(1, 3));
            made.is_ok() && File::open("/null").is_ok()
        }
        "capabilities" => {
            let sets = rustix::thread::capabilities(None);
            // `capget` is refused as well.
            sets.is_ok()
        }
        other => panic!("no attempt is called {other}"),
    };
    std::mem::forget(host);
    i32::from(worked)
}

fn start(place: &Place, wish: &str) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "unpack::tests::served::process", "--test-threads=1", "--nocapture"])
        .env(WISH, wish)
        .env(TREE, place.tree())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started")
}

fn unpack_in_process(place: &Place, archive: &[u8]) -> Result<Unpacked> {
    let before = std::fs::symlink_metadata(place.path.join("beside/file")).expect("there");
    let mut child = start(place, "serve");
    let (mut input, output) = (child.stdin.take().expect("piped"), child.stderr.take().expect("piped"));
    // It may have an answer before it has read all.
    let _ = input.write_all(archive);
    drop(input);
    let unpacked = answer(output, "unpack it");
    child.wait().expect("our own child");
    place.is_as_before(&before);
    unpacked
}

#[test]
fn confined_process_unpacks_what_a_layer_may_have() {
    if !is_root() {
        return;
    }
    let place = Place::new("served");
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut archive = Builder::default();
    archive
        .directory("etc")
        .file("etc/file", &"content ".repeat(10_000))
        .hard("again", "etc/file")
        .link("link", "/etc")
        .file("link/through", "x")
        .file("etc/.wh.gone", "")
        .file("opaque/.wh..wh..opq", "")
        .node(b'6', "pipe", (0, 0))
        .node(b'3', "null", (1, 3))
        .directory("replaced/deep/er")
        .file("replaced", "file")
        .pax(&[("SCHILY.xattr.security.capability", &capability)])
        .entry(&Fields { name: b"bin", mode: 0o4755, owner: (1000, 1000), ..Fields::default() }, b"program")
        .pax(&[("GNU.sparse.size", b"1048576"), ("GNU.sparse.map", b"4096,3")])
        .file("sparse", "one");
    let bytes = archive.ended();
    // With the longest window that is taken, for which there must be memory.
    let mut zstd = zstd::stream::Encoder::new(Vec::new(), 3).expect("made");
    zstd.window_log(27).expect("set");
    zstd.write_all(&bytes).expect("in memory");
    let unpacked = unpack_in_process(&place, &zstd.finish().expect("in memory")).expect("unpacked");
    assert_eq!((unpacked.diff_id, unpacked.size), (Digest::of(&bytes), bytes.len() as u64));
    assert_eq!((place.read("again").len(), place.read("etc/through")), (80_000, "x".into()));
    let program = place.found("bin");
    assert_eq!((program.uid(), program.mode() & 0o7777), (1000, 0o4755));
    assert_eq!(place.attribute("bin", "security.capability").as_deref(), Some(&capability[..]));
    assert_eq!(place.attribute("opaque", "trusted.overlay.opaque").as_deref(), Some(&b"y"[..]));
    assert_eq!(place.found("etc/gone").rdev(), 0);
    assert_eq!(place.found("etc").mtime(), 1_700_000_000);
    assert_eq!(place.read("sparse").len(), 1 << 20);
}

#[test]
fn confined_process_tells_what_is_wrong_with_an_entry() {
    if !is_root() {
        return;
    }
    let place = Place::new("served-error");
    let mut archive = Builder::default();
    // More than a pipe holds follows: the parent finds nobody reading.
    archive.file("fine", "x").file("../beside/\x1b[2J", "x").file("more", &"x".repeat(1 << 20));
    let error = unpack_in_process(&place, &archive.ended()).expect_err("refused");
    assert_eq!(error.to_string(), "unpack `../beside/\\u{1b}[2J`: its path leads upwards");
    assert_eq!(error.kind, Kind::Corrupt);
    assert_eq!(place.read("fine"), "x");
}

#[test]
fn nothing_but_unpacking_is_left_to_the_confined_process() {
    if !is_root() {
        return;
    }
    for deadly in ["execute", "connect", "mount", "unshare"] {
        let status = start(&Place::new("attempt"), deadly).wait_with_output().expect("our own child").status;
        assert_eq!(status.signal(), Some(rustix::process::Signal::SYS.as_raw()), "{deadly}: {status}");
    }
    for refused in ["signal", "descriptor", "look", "upwards", "device", "capabilities"] {
        let output = start(&Place::new("attempt"), refused).wait_with_output().expect("our own child");
        assert_eq!(output.status.code(), Some(0), "{refused}: {output:?}");
    }
}

#[test]
fn process_that_ends_without_an_answer_is_an_error() {
    let (reading, writing) = std::io::pipe().expect("made");
    drop(writing);
    let error = answer(reading, "unpack it").expect_err("nothing was said");
    assert!(error.to_string().contains("ended without an answer"), "{error}");
    for said in ["{", "null", "{\"Unpacked\":{}}", "{\"Failed\":{}}"] {
        let (reading, mut writing) = std::io::pipe().expect("made");
        writing.write_all(said.as_bytes()).expect("written");
        drop(writing);
        assert!(answer(reading, "unpack it").is_err(), "{said}");
    }
}
