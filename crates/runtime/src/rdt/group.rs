//! One group: made or found, given its schemata, joined, and removed.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, mkdirat, openat, unlinkat};
use rustix::io::Errno;

use super::{DIRECTORY, Membership, Resctrl, directory_of, matching, read_at};
use crate::error::{Error, ErrorKind, Result};

/// What a config asks for, with the group that is its place.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) membership: Membership,
    pub(crate) missing: Missing,
    /// Lines that a group which is there already must have, each with its field.
    pub(crate) expected: Vec<(&'static str, String)>,
    /// What is written, a list a call: a call that names a resource twice is refused by the kernel.
    pub(crate) writes: Vec<Vec<String>>,
}

/// What to do about a group that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Make,
    Refuse,
}

/// A group with a container in the making, which takes back what it made.
#[derive(Debug)]
pub(crate) struct Group {
    resctrl: Resctrl,
    membership: Membership,
    directory: OwnedFd,
    made: bool,
    monitor: Option<OwnedFd>,
}

impl Group {
    /// Makes or finds it and writes its schemata; what fails leaves nothing.
    pub(crate) fn make(wanted: &Wanted) -> Result<Group> {
        let resctrl = Resctrl::at(&wanted.membership.mount)?.ok_or_else(|| {
            let reason = "the resctrl file system is no longer mounted";
            Error::new(ErrorKind::System, format!("open `{}`", wanted.membership.mount.display()), reason)
        })?;
        // Who makes groups holds this lock, by resctrl.rst: another one's is seen whole, and its schemata with it.
        crate::sync::retry(|| flock(resctrl.directory(), FlockOperation::LockExclusive))
            .map_err(|error| Error::at_path("lock", resctrl.path(), error))?;
        let mut group = Group::find_or_make(resctrl, wanted)?;
        let made = group.write_schemata(wanted).and_then(|()| group.make_monitor());
        if let Err(mut error) = made {
            error.rollback = group.undo();
            return Err(error);
        }
        // Best effort: it goes with the descriptor.
        let _ = flock(group.resctrl.directory(), FlockOperation::Unlock);
        Ok(group)
    }

    fn find_or_make(resctrl: Resctrl, wanted: &Wanted) -> Result<Group> {
        let membership = wanted.membership.clone();
        let name = directory_of(&membership.group);
        let path = resctrl.path_of(&membership.group);
        let made = match wanted.missing {
            Missing::Refuse => false,
            Missing::Make if name == "." => false,
            Missing::Make => match mkdirat(resctrl.directory(), name, Mode::from_raw_mode(0o755)) {
                Ok(()) => true,
                // Its record would have it removed: it is not the one that was missing when this was planned.
                Err(Errno::EXIST) if membership.own => {
                    return Err(Error::at_path("make the group", &path, Errno::EXIST));
                }
                Err(Errno::EXIST) => false,
                Err(error) => return Err(resctrl.explain(Error::at_path("make the group", &path, error))),
            },
        };
        match openat(resctrl.directory(), name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(directory) => Ok(Group { resctrl, membership, directory, made, monitor: None }),
            Err(error) => Err(Error::at_path("open the group", &path, error)),
        }
    }

    fn write_schemata(&self, wanted: &Wanted) -> Result<()> {
        if !self.made && !wanted.expected.is_empty() {
            let path = self.resctrl.path_of(&self.membership.group).join("schemata");
            let found = read_at(self.directory.as_fd(), "schemata")
                .map_err(|error| Error::at_path("read", &path, error))?;
            let granularity = read_at(self.resctrl.directory(), "info/MB/bandwidth_gran").ok();
            let granularity = granularity.and_then(|text| text.trim().parse().ok());
            for (field, line) in &wanted.expected {
                if !matching::holds(&found, line, granularity) {
                    let reason = format!(
                        "`{line}` differs from what the group `{}` has: `{}`",
                        self.membership.group,
                        found.split_whitespace().collect::<Vec<_>>().join(" ")
                    );
                    let hint = "a group that is there already is shared: name another `closID`, or leave \
                                the schema out";
                    return Err(Error::invalid(*field, reason).with_hint(hint));
                }
            }
        }
        wanted.writes.iter().try_for_each(|lines| self.write_lines(lines))
    }

    /// Writes lines of schemata, all in one call, as the kernel takes all or none of a call's.
    pub(crate) fn write_lines(&self, lines: &[String]) -> Result<()> {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.write(self.directory.as_fd(), "schemata", &text).map_err(|error| {
            let path = self.resctrl.path_of(&self.membership.group).join("schemata");
            self.resctrl.explain(Error::at_path("write to", &path, error))
        })
    }

    fn make_monitor(&mut self) -> Result<()> {
        let Some(name) = &self.membership.monitor else { return Ok(()) };
        let name = format!("mon_groups/{name}");
        let path = self.resctrl.path_of(&self.membership.group).join(&name);
        let made = mkdirat(&self.directory, name.as_str(), Mode::from_raw_mode(0o755));
        made.map_err(|error| self.resctrl.explain(Error::at_path("make the group", &path, error)))?;
        let opened = openat(&self.directory, name.as_str(), DIRECTORY | OFlags::NOFOLLOW, Mode::empty());
        let opened = opened.map_err(|error| {
            // Best effort: it was made a moment ago, and nobody is in it.
            let _ = unlinkat(&self.directory, name.as_str(), AtFlags::REMOVEDIR);
            Error::at_path("open the group", &path, error)
        })?;
        self.monitor = Some(opened);
        Ok(())
    }

    /// That of a container that lives; nothing where it is gone.
    pub(crate) fn of(membership: &Membership) -> Result<Option<Group>> {
        let Some(resctrl) = Resctrl::at(&membership.mount)? else { return Ok(None) };
        Group::open(resctrl, membership)
    }

    fn open(resctrl: Resctrl, membership: &Membership) -> Result<Option<Group>> {
        let flags = DIRECTORY | OFlags::NOFOLLOW;
        let name = directory_of(&membership.group);
        let directory = match openat(resctrl.directory(), name, flags, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => {
                let path = resctrl.path_of(&membership.group);
                return Err(Error::at_path("open the group", &path, error));
            }
        };
        let monitor = membership
            .monitor
            .as_ref()
            .and_then(|name| openat(&directory, format!("mon_groups/{name}"), flags, Mode::empty()).ok());
        Ok(Some(Group { resctrl, membership: membership.clone(), directory, made: false, monitor }))
    }

    /// Puts a process into it; what that forks from then on is in it too.
    pub(crate) fn join(&self, pid: i32) -> Result<()> {
        // A group that only counts takes members of the one it lies in.
        for directory in [Some(&self.directory), self.monitor.as_ref()].into_iter().flatten() {
            self.write(directory.as_fd(), "tasks", &pid.to_string()).map_err(|error| {
                let path = self.resctrl.path_of(&self.membership.group).join("tasks");
                self.resctrl.explain(Error::at_path(&format!("write {pid} to"), &path, error))
            })?;
        }
        Ok(())
    }

    fn write(&self, directory: std::os::fd::BorrowedFd<'_>, name: &str, text: &str) -> std::io::Result<()> {
        let file = openat(directory, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        std::io::Write::write_all(&mut std::fs::File::from(file), text.as_bytes())
    }

    /// Takes back what this made, and returns what could not be.
    pub(crate) fn undo(self) -> Vec<Error> {
        // By its name others may have come into a shared one meanwhile.
        let inhabited = || !read_at(self.directory.as_fd(), "tasks").unwrap_or_default().trim().is_empty();
        let own = self.made && (self.membership.own || !inhabited());
        let monitor = self.membership.monitor.filter(|_| self.monitor.is_some());
        let membership = Membership { own, monitor, ..self.membership };
        remove_from(&self.resctrl, &membership).err().into_iter().collect()
    }
}

/// Removes what a container had for itself, once its processes are gone.
pub(crate) fn remove(membership: &Membership) -> Result<()> {
    // With an unmount all groups go.
    match Resctrl::at(&membership.mount)? {
        Some(resctrl) => remove_from(&resctrl, membership),
        None => Ok(()),
    }
}

fn remove_from(resctrl: &Resctrl, membership: &Membership) -> Result<()> {
    let group = directory_of(&membership.group);
    let monitor = membership.monitor.as_ref().map(|name| format!("{group}/mon_groups/{name}"));
    let own = membership.own.then(|| group.to_owned());
    for name in [monitor, own].into_iter().flatten() {
        match unlinkat(resctrl.directory(), name.as_str(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => {
                let error = Error::at_path("remove the group", &resctrl.path().join(&name), error);
                return Err(resctrl.explain(error));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    /// A directory in the place of the mount; what the kernel makes in a group with it, [`fill`] makes.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let path = std::env::temp_dir().join(format!("rabbitc-resctrl-{name}-{}", std::process::id()));
            std::fs::create_dir_all(path.join("info/MB")).expect("a scratch directory");
            std::fs::write(path.join("info/MB/bandwidth_gran"), "10\n").expect("written");
            fill(&path);
            Place(path)
        }

        fn resctrl(&self) -> Resctrl {
            Resctrl::open(&self.0).expect("opened").expect("there")
        }

        fn read(&self, name: &str) -> String {
            std::fs::read_to_string(self.0.join(name)).expect(name)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).expect("removed");
        }
    }

    fn fill(group: &Path) {
        std::fs::create_dir_all(group.join("mon_groups")).expect("made");
        std::fs::write(group.join("schemata"), "    MB:0=100;1=100\n    L3:0=7ff;1=7ff\n").expect("written");
        std::fs::write(group.join("tasks"), "").expect("written");
    }

    /// A directory of the kernel's goes with what the kernel made in it.
    fn empty(group: &Path) {
        for name in ["schemata", "tasks"] {
            let _ = std::fs::remove_file(group.join(name));
        }
        let _ = std::fs::remove_dir(group.join("mon_groups"));
    }

    fn wanted(group: &str, own: bool) -> Wanted {
        let membership = Membership { mount: PathBuf::new(), group: group.to_owned(), own, monitor: None };
        Wanted { membership, missing: Missing::Make, expected: Vec::new(), writes: Vec::new() }
    }

    #[test]
    fn own_group_is_made_given_its_schemata_joined_and_removed() {
        let place = Place::new("own");
        let mut wanted = wanted("web", true);
        wanted.membership.monitor = Some("web".to_owned());
        wanted.writes = vec![vec!["L3:0=f".to_owned(), "MB:0=20".to_owned()]];
        let mut group = Group::find_or_make(place.resctrl(), &wanted).expect("made");
        let directory = place.0.join("web");
        fill(&directory);
        group.write_schemata(&wanted).expect("written");
        assert!(place.read("web/schemata").starts_with("L3:0=f\nMB:0=20\n"), "in one call, in this order");
        group.make_monitor().expect("made");
        let monitor = directory.join("mon_groups/web");
        std::fs::write(monitor.join("tasks"), "").expect("written");
        group.join(42).expect("joined");
        assert_eq!(
            (place.read("web/tasks"), place.read("web/mon_groups/web/tasks")),
            ("42".into(), "42".into())
        );
        assert_eq!(place.read("tasks"), "");
        let again = Group::open(place.resctrl(), &wanted.membership).expect("opened").expect("there");
        again.join(43).expect("joined");
        assert_eq!(
            (place.read("web/tasks"), place.read("web/mon_groups/web/tasks")),
            ("43".into(), "43".into())
        );
        empty(&monitor);
        remove_from(&place.resctrl(), &Membership { own: false, ..wanted.membership.clone() })
            .expect("removed");
        assert!(!monitor.exists() && directory.exists(), "only what counted for it");
        empty(&directory);
        remove_from(&place.resctrl(), &wanted.membership).expect("removed");
        assert!(!directory.exists());
        remove_from(&place.resctrl(), &wanted.membership).expect("nothing to remove is no failure");
        assert!(Group::open(place.resctrl(), &wanted.membership).expect("looked").is_none());
    }

    #[test]
    fn group_that_appeared_meanwhile_is_not_taken_for_its_own() {
        let place = Place::new("meanwhile");
        std::fs::create_dir(place.0.join("web")).expect("made");
        let error = Group::find_or_make(place.resctrl(), &wanted("web", true)).expect_err("it is another's");
        assert!(error.to_string().contains("web"), "{error}");
        Group::find_or_make(place.resctrl(), &wanted("web", false)).expect("shared");
    }

    #[test]
    fn shared_group_must_be_there_or_is_made_with_its_schemata() {
        let place = Place::new("shared");
        let refused = Wanted { missing: Missing::Refuse, ..wanted("gold", false) };
        let error = Group::find_or_make(place.resctrl(), &refused).expect_err("there is none");
        assert_eq!(error.errno, Some(2), "{error}");
        assert!(!place.0.join("gold").exists());
        Group::find_or_make(place.resctrl(), &wanted("gold", false)).expect("made");
        fill(&place.0.join("gold"));
        Group::find_or_make(place.resctrl(), &refused).expect("found");
    }

    #[test]
    fn schema_that_differs_from_a_shared_groups_is_refused_and_nothing_is_written() {
        let place = Place::new("differs");
        fill(&{
            std::fs::create_dir(place.0.join("gold")).expect("made");
            place.0.join("gold")
        });
        let with = |line: &str| Wanted {
            expected: vec![("linux.intelRdt.l3CacheSchema", line.to_owned())],
            writes: vec![vec![line.to_owned()]],
            ..wanted("gold", false)
        };
        let before = place.read("gold/schemata");
        let differs = with("L3:0=f");
        let group = Group::find_or_make(place.resctrl(), &differs).expect("found");
        let error = group.write_schemata(&differs).expect_err("it differs");
        assert_eq!(error.operation, "linux.intelRdt.l3CacheSchema");
        assert_eq!(place.read("gold/schemata"), before);
        assert!(group.undo().is_empty());
        assert!(place.0.join("gold").exists(), "who did not make it does not remove it");
        let same = with("L3:0=7ff");
        let group = Group::find_or_make(place.resctrl(), &same).expect("found");
        group.write_schemata(&same).expect("the same is fine");
        let rounded = with("MB:1=95");
        std::fs::write(place.0.join("gold/schemata"), &before).expect("as before");
        let group = Group::find_or_make(place.resctrl(), &rounded).expect("found");
        group.write_schemata(&rounded).expect("the kernel rounds it so");
    }

    #[test]
    fn failed_start_takes_back_what_it_made_and_no_group_that_others_came_into() {
        let place = Place::new("undo");
        for own in [true, false] {
            let group = Group::find_or_make(place.resctrl(), &wanted("web", own)).expect("made");
            assert!(group.undo().is_empty());
            assert!(!place.0.join("web").exists());
        }
        let group = Group::find_or_make(place.resctrl(), &wanted("web", false)).expect("made");
        std::fs::write(place.0.join("web/tasks"), "17\n").expect("somebody came");
        assert!(group.undo().is_empty());
        assert!(place.0.join("web").exists());
    }

    #[test]
    fn default_group_is_joined_and_never_removed() {
        let place = Place::new("default");
        let group = Group::find_or_make(place.resctrl(), &wanted("/", false)).expect("it is always there");
        group.join(3).expect("joined");
        assert_eq!(place.read("tasks"), "3");
        assert!(group.undo().is_empty());
        assert!(place.0.exists());
    }

    #[test]
    fn link_in_the_place_of_a_group_is_not_followed() {
        let place = Place::new("link");
        std::os::unix::fs::symlink("/proc", place.0.join("web")).expect("a link");
        assert!(Group::find_or_make(place.resctrl(), &wanted("web", false)).is_err());
    }

    #[test]
    fn kernels_own_words_are_passed_on() {
        let place = Place::new("words");
        std::fs::write(place.0.join("info/last_cmd_status"), "Invalid CBM\n").expect("written");
        let group = Group::find_or_make(place.resctrl(), &wanted("web", true)).expect("made");
        let writes = Wanted { writes: vec![vec!["L3:0=5".to_owned()]], ..wanted("web", true) };
        let error = group.write_schemata(&writes).expect_err("no such file here");
        assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("Invalid CBM")), "{error}");
    }
}
