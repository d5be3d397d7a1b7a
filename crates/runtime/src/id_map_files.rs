//! Which users and groups outside stand behind those inside a new user namespace, and who may say so
//! (user_namespaces(7)).
//!
//! Root writes the kernel's files itself, and so does everybody who maps nothing but itself. For more, an
//! unprivileged user needs newuidmap(1) and newgidmap(1), which grant what `/etc/subuid` and `/etc/subgid` grant.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, ErrorKind, Result};
use crate::plan::IdMaps;
use crate::subordinate_ids::{self, Owner, Range};

/// Where set-user-ID programs are; the environment has no say in which one is trusted with that.
const DIRECTORIES: [&str; 5] = ["/usr/bin", "/bin", "/usr/sbin", "/usr/local/bin", "/run/wrappers/bin"];

/// Ids of users or ids of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdKind {
    /// Users: `uid_map`, newuidmap, `/etc/subuid`.
    User,
    /// Groups: `gid_map`, newgidmap, `/etc/subgid`.
    Group,
}

impl IdKind {
    /// The program that lets an unprivileged user map more than itself.
    pub fn program(self) -> &'static str {
        match self {
            IdKind::User => "newuidmap",
            IdKind::Group => "newgidmap",
        }
    }

    fn file(self) -> &'static str {
        match self {
            IdKind::User => "uid_map",
            IdKind::Group => "gid_map",
        }
    }

    fn ranges(self) -> &'static str {
        match self {
            IdKind::User => subordinate_ids::USERS,
            IdKind::Group => subordinate_ids::GROUPS,
        }
    }

    fn own_id(self) -> u32 {
        match self {
            IdKind::User => rustix::process::geteuid().as_raw(),
            IdKind::Group => rustix::process::getegid().as_raw(),
        }
    }
}

/// Where newuidmap or newgidmap is, if it is installed.
pub fn mapping_program(kind: IdKind) -> Option<PathBuf> {
    let paths = DIRECTORIES.iter().map(|directory| Path::new(directory).join(kind.program()));
    paths.into_iter().find(|path| path.exists())
}

/// Whether processes inside may change their supplementary groups. Whoever maps nothing but its own group must give
/// that up for itself, as a group can also be there to deny something.
pub(crate) fn allow_groups(maps: &IdMaps) -> bool {
    rustix::process::geteuid().is_root() || !maps_itself_alone(IdKind::Group, &maps.gid)
}

/// The extents of a map: first id inside, first id outside, count.
pub(crate) fn extents(map: &str) -> impl Iterator<Item = (u32, u32, u32)> {
    map.lines().filter_map(|line| {
        let mut numbers = line.split_ascii_whitespace().filter_map(|word| word.parse().ok());
        Some((numbers.next()?, numbers.next()?, numbers.next()?))
    })
}

fn maps_itself_alone(kind: IdKind, map: &str) -> bool {
    let mut all = extents(map);
    matches!((all.next(), all.next()), (Some((_, outside, 1)), None) if outside == kind.own_id())
}

/// Whether the caller writes this map itself.
fn writes_itself(kind: IdKind, map: &str) -> bool {
    rustix::process::geteuid().is_root() || maps_itself_alone(kind, map)
}

/// Gives process `pid`, a child in a new user namespace, its maps.
pub(crate) fn write(pid: i32, maps: &IdMaps) -> Result<()> {
    // Of groups first: once root is mapped, nothing that follows is more than a formality.
    for (kind, map) in [(IdKind::Group, &maps.gid), (IdKind::User, &maps.uid)] {
        if writes_itself(kind, map) {
            if kind == IdKind::Group && !rustix::process::geteuid().is_root() {
                // Without it an unprivileged user may not write a group map.
                write_file(pid, "setgroups", "deny")?;
            }
            write_file(pid, kind.file(), map).map_err(|error| {
                error.with_hint("every id outside must be one that the caller may use itself")
            })?;
        } else {
            run_program(pid, kind, map)?;
        }
    }
    Ok(())
}

fn write_file(pid: i32, name: &str, text: &str) -> Result<()> {
    let path = PathBuf::from(format!("/proc/{pid}/{name}"));
    std::fs::write(&path, text).map_err(|error| Error::at_path("write", &path, error))
}

fn run_program(pid: i32, kind: IdKind, map: &str) -> Result<()> {
    let name = kind.program();
    let Some(path) = mapping_program(kind) else {
        let error = Error::new(ErrorKind::Unsupported, format!("run `{name}`"), "it is not installed");
        return Err(error.with_hint("install it (package `uidmap`, or `shadow-utils`), or map only yourself"));
    };
    let mut command = Command::new(&path);
    command.arg(pid.to_string()).args(map.split_ascii_whitespace());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).env_clear().current_dir("/");
    let output = command.output().map_err(|error| Error::at_path("run", &path, error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().trim_start_matches(&format!("{name}: ")).replace('\n', "; ");
    let mut shown = map.trim_end().replace('\n', ", ");
    if shown.is_empty() {
        shown = "nothing".to_owned();
    }
    let reason = if said.is_empty() { output.status.to_string() } else { said };
    let operation = format!("map `{shown}` (inside, outside, count) with `{name}`");
    let hint = match reason.contains("determine your user name") {
        // Numbers alone are no users for it, whatever lines they have.
        true => {
            let uid = rustix::process::geteuid().as_raw();
            format!("it takes users that have a name: as root, `useradd --uid {uid} NAME`")
        }
        false => why_refused(kind, &path),
    };
    Err(Error::new(ErrorKind::Permission, operation, reason).with_hint(hint))
}

/// What keeps the program from doing it, as far as that can be seen.
fn why_refused(kind: IdKind, path: &Path) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if status.lines().any(|line| line.strip_prefix("NoNewPrivs:").is_some_and(|value| value.trim() == "1")) {
        return format!(
            "`{}` is set-user-ID root, and no_new_privs is set for this process, so that has no effect; start it \
             from a process without",
            path.display()
        );
    }
    let set_user_id = std::fs::metadata(path)
        .is_ok_and(|found| found.permissions().mode() & 0o4000 != 0 && found.uid() == 0);
    if !set_user_id && !has_file_capabilities(path) {
        return format!(
            "`{0}` is neither set-user-ID root nor has file capabilities: as root, `chmod u+s {0}`, or install it \
             again",
            path.display()
        );
    }
    let (own, file) = (kind.own_id(), kind.ranges());
    let caller = Owner::of(rustix::process::geteuid().as_raw());
    let granted = subordinate_ids::read(Path::new(file), &caller).unwrap_or_default();
    let granted: Vec<String> = granted.iter().map(shown).collect();
    if granted.is_empty() {
        return format!("every range must lie in the caller's lines of `{file}`, and none of its is there");
    }
    format!(
        "every range outside must lie in the caller's lines of `{file}`, which are {}; or it is {own} alone, the caller \
         itself",
        granted.join(", ")
    )
}

fn shown(range: &Range) -> String {
    format!("{}-{} ({} ids)", range.first, range.last(), range.count)
}

fn has_file_capabilities(path: &Path) -> bool {
    let mut value = [0u8; 64];
    rustix::fs::getxattr(path, c"security.capability", &mut value).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_of_one_id_is_oneself_and_more_is_not() {
        let own = IdKind::Group.own_id();
        assert!(maps_itself_alone(IdKind::Group, &format!("0 {own} 1\n")));
        assert!(!maps_itself_alone(IdKind::Group, &format!("0 {own} 2\n")));
        assert!(!maps_itself_alone(IdKind::Group, &format!("0 {own} 1\n1 100000 1\n")));
        assert!(!maps_itself_alone(IdKind::Group, ""));
    }
}
