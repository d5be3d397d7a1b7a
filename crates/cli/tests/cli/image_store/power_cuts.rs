//! The order of what is named and removed and of what is on the disk: what a power cut leaves is the old or the new.

use super::*;

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
