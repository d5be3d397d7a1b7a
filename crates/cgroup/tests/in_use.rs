//! Groups that are there already: which are refused, and how a program gets below one. All of it needs root.

mod support;

use std::io::Write as _;
use std::process::{Command, Stdio};

use rabbitc_cgroup::{Cgroup, CgroupPath, Creation, Kind, Language, Operation, Subgroup};
use support::{gated, layout, open_gate, scratch};

#[test]
fn group_with_a_process_is_refused_and_stays() {
    let Some(layout) = layout() else { return };
    let group = scratch(&layout);
    let mut child = gated("echo ran");
    group.join(child.id() as i32).expect("the shell in the group");
    let error = Cgroup::create(&layout, group.path()).expect_err("it is somebody's");
    assert_eq!(error.kind, Kind::Busy);
    assert!(error.to_string().contains("the container's cgroup is not empty"), "{error}");
    assert!(group.processes().expect("its processes").contains(&(child.id() as i32)));
    open_gate(&mut child);
    child.wait().expect("the shell's end");
}

#[test]
fn frozen_group_is_refused_and_what_was_made_beside_it_goes() {
    let Some(layout) = layout() else { return };
    let group = scratch(&layout);
    group.freeze().expect("a frozen group");
    // As after `mkdir` in the freezer's hierarchy alone.
    let others = group.directories().filter(|(hierarchy, _)| {
        layout.v1("freezer").is_some_and(|freezer| !std::ptr::eq(freezer, *hierarchy))
    });
    let others: Vec<String> = others.map(|(_, directory)| directory).collect();
    for directory in &others {
        std::fs::remove_dir(directory).expect("an empty group");
    }
    let error = Cgroup::create(&layout, group.path()).expect_err("nobody could start in it");
    assert_eq!(error.kind, Kind::Busy);
    assert!(error.to_string().contains("the container's cgroup unexpectedly frozen"), "{error}");
    assert!(group.frozen());
    for directory in &others {
        assert!(!std::path::Path::new(directory).exists(), "{directory} is left");
    }
    group.thaw().expect("a thawed group");
}

#[test]
fn group_that_is_gone_has_nothing_frozen() {
    let Some(layout) = layout() else { return };
    let group = scratch(&layout);
    group.remove().expect("an empty group goes");
    // As when what was killed ends before it is thawed.
    group.thaw_tree().expect("nothing to thaw");
    let error = group.thaw().expect_err("there is nobody to wake");
    assert_eq!((error.kind, error.operation), (Kind::NotFound, Operation::Thaw));
}

#[test]
fn program_goes_where_subgroups_say_and_nowhere_else() {
    let Some(layout) = layout() else { return };
    let group = scratch(&layout);
    let parse = |text: &str| Subgroup::parse_all(&[text.to_owned()]).expect("legal");
    let missing = group.destination(&parse("inner")).expect_err("it is not there");
    assert_eq!((missing.kind, missing.operation), (Kind::NotFound, Operation::Join));
    let inner = CgroupPath::parse(&format!("{}/inner", group.path().as_str())).expect("a good path");
    let inner = Cgroup::create(&layout, &inner).expect("a child group");
    // The hierarchies of v1 are entered by a thread, for its child to inherit: this one stays where it is.
    let before = std::fs::read_to_string("/proc/thread-self/cgroup").expect("own groups");
    let enter = |subgroups: &[Subgroup]| -> String {
        let destination = group.destination(subgroups).expect("both groups are there");
        let output = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    let mut files = destination.files.into_iter().map(std::fs::File::from);
                    let unified = layout.unified().and_then(|_| files.next());
                    // A thread moves alone through `tasks`; on v2 the shell moves itself.
                    for mut file in files {
                        file.write_all(b"0").expect("moved");
                    }
                    let mut command = Command::new("/bin/sh");
                    command.args(["-c", "echo $$; cat /proc/self/cgroup >&2"]);
                    command.stdout(unified.map_or(Stdio::null(), Stdio::from)).stderr(Stdio::piped());
                    command.spawn().and_then(|child| child.wait_with_output()).expect("it runs")
                })
                .join()
                .expect("no panic")
        });
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let own = group.path().to_string();
    let everywhere = enter(&parse("inner"));
    let entered = everywhere.lines().filter(|line| line.ends_with(&format!("{own}/inner"))).count();
    assert_eq!(entered, layout.hierarchies().len(), "{everywhere}");
    assert!(enter(&[]).lines().all(|line| !line.ends_with("/inner")));
    if layout.v1("memory").is_some() {
        let listed = enter(&parse("memory:inner"));
        let memory = listed.lines().find(|line| line.contains(":memory:")).expect("a line");
        assert!(memory.ends_with(&format!("{own}/inner")), "{listed}");
        let pids = listed.lines().find(|line| line.contains(":pids:")).expect("a line");
        assert!(pids.ends_with(&own), "{listed}");
        let unknown = group.destination(&parse("whatever:inner")).expect_err("no such controller");
        assert!(unknown.to_string().contains("unknown controller"), "{unknown}");
    }
    assert_eq!(std::fs::read_to_string("/proc/thread-self/cgroup").expect("own groups"), before);
    inner.remove().expect("an empty group goes");
}

#[test]
fn creation_that_is_not_finished_leaves_what_was_there() {
    let Some(layout) = layout() else { return };
    let group = scratch(&layout);
    let inner = CgroupPath::parse(&format!("{}/inner", group.path().as_str())).expect("a good path");
    let present = || -> Vec<bool> {
        let of_group = group.directories();
        of_group.map(|(_, directory)| std::path::Path::new(&directory).join("inner").is_dir()).collect()
    };
    let creation = Creation::begin(&layout, &inner).expect("begun");
    let begun: Vec<bool> =
        layout.hierarchies().iter().map(|hierarchy| hierarchy.language() == Language::V2).collect();
    assert_eq!(present(), begun, "what a process can be cloned into, and no more");
    drop(creation);
    assert!(!present().contains(&true));
    // What somebody is in by then can't be removed, and is told.
    let creation = Creation::begin(&layout, &inner).expect("begun");
    let inside = group.directories().map(|(_, directory)| std::path::Path::new(&directory).join("inner"));
    let occupied: Vec<_> = inside.filter(|inner| inner.is_dir()).collect();
    occupied.iter().for_each(|inner| std::fs::create_dir(inner.join("sub")).expect("made"));
    let failed = creation.undo();
    assert_eq!(failed.len(), occupied.len());
    assert!(failed.iter().all(|error| error.operation == Operation::Remove), "{failed:?}");
    for inner in &occupied {
        std::fs::remove_dir(inner.join("sub")).expect("removed");
        std::fs::remove_dir(inner).expect("removed");
    }
    let other = Cgroup::create(&layout, &inner).expect("made by others");
    drop(Creation::begin(&layout, &inner).expect("taken over"));
    assert!(!present().contains(&false), "nothing of theirs is removed");
    other.remove().expect("removed");
}
