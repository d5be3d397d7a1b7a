//! Users and groups by the root's own /etc/passwd and /etc/group. The files are hostile: they are opened inside the
//! root, must be regular and small, and a line that is none is passed over.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;

use runtime::layers::Layers;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::options::{Identity, ProcessOptions, Source, UserOption};

/// Who the program is, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// All groups, its own first.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

impl Account {
    /// Root, as every container has it that asks for nobody else.
    pub(crate) fn root() -> Account {
        Account { uid: 0, gid: 0, groups: vec![0], home: "/root".to_owned() }
    }
}

/// No honest file of accounts is longer.
const LONGEST: u64 = 1 << 20;

/// Looks up who `options` mean, in the files of a root directory, or of several shown as one; `root` is not asked for where
/// numbers alone were given and nothing else is to be found out.
pub(crate) fn look_up(root: &dyn Fn() -> Result<Layers>, options: &ProcessOptions) -> Result<Account> {
    let mut files = Files { root, opened: None };
    let home_is_given = options.environment.iter().any(|entry| entry.starts_with("HOME="));
    let mut account = match &options.user {
        None => Account::root(),
        Some(UserOption { user: Identity::Id(uid), group: Some(Identity::Id(gid)) }) if home_is_given => {
            Account { uid: *uid, gid: *gid, groups: Vec::new(), home: String::new() }
        }
        Some(asked) => {
            files.user(asked, options.user_origin()).map_err(|error| match options.user_source {
                Source::Flag => error,
                // Nobody can add a line to its files.
                Source::Image => error.with_hint("say who it is by numbers, with `--user UID:GID`"),
            })?
        }
    };
    // A program that changes its group must not lose the old one by that: a file may shut its own group out
    // (CVE-2022-36109, CVE-2022-2989).
    account.groups.retain(|group| *group != account.gid);
    account.groups.insert(0, account.gid);
    for group in &options.groups {
        let gid = files.group("--group-add", group)?;
        if !account.groups.contains(&gid) {
            account.groups.push(gid);
        }
    }
    Ok(account)
}

/// Names of all users and groups in the files of a root, by their numbers; none where a file can't be read. Of several names of one
/// number, the first.
pub(crate) fn names(root: &Layers) -> (BTreeMap<u32, String>, BTreeMap<u32, String>) {
    let (mut users, mut groups) = (BTreeMap::new(), BTreeMap::new());
    // Numbers say it as well.
    let text = |path| read_inside(root, "names", path).ok().flatten().unwrap_or_default();
    for user in text("/etc/passwd").split(|byte| *byte == b'\n').filter_map(User::parse) {
        users.entry(user.uid).or_insert(user.name);
    }
    for group in text("/etc/group").split(|byte| *byte == b'\n').filter_map(Group::parse) {
        groups.entry(group.gid).or_insert_with(|| group.name.to_owned());
    }
    (users, groups)
}

struct Files<'a> {
    root: &'a dyn Fn() -> Result<Layers>,
    /// The root directory, and the text of /etc/group where it was read.
    opened: Option<(Layers, Option<Vec<u8>>)>,
}

impl Files<'_> {
    /// As docker does: the group of a user is the one in passwd unless one is given, and then the user is in no others.
    fn user(&mut self, asked: &UserOption, origin: &str) -> Result<Account> {
        let passwd = self.read(origin, "/etc/passwd")?;
        let mut users =
            passwd.iter().flat_map(|text| text.split(|byte| *byte == b'\n')).filter_map(User::parse);
        let found = match &asked.user {
            // Never by name: a root may call its root `1000`.
            Identity::Id(uid) => users.find(|user| user.uid == *uid),
            Identity::Name(name) => users.find(|user| user.name == *name),
        };
        let uid = match (&asked.user, &found) {
            (Identity::Id(uid), _) => *uid,
            (Identity::Name(_), Some(user)) => user.uid,
            (Identity::Name(name), None) => {
                return Err(unknown(origin, "user", name, "/etc/passwd", passwd.is_some()));
            }
        };
        let mut groups = Vec::new();
        let gid = match (&asked.group, &found) {
            (Some(group), _) => self.group(origin, group)?,
            (None, Some(user)) => {
                for group in self.groups(origin)?.split(|byte| *byte == b'\n').filter_map(Group::parse) {
                    if group.members.split(',').any(|member| member == user.name)
                        && !groups.contains(&group.gid)
                    {
                        groups.push(group.gid);
                    }
                }
                user.gid
            }
            (None, None) => 0,
        };
        let home = found.map(|user| user.home).filter(|home| home.starts_with('/'));
        Ok(Account { uid, gid, groups, home: home.unwrap_or_else(|| "/".to_owned()) })
    }

    fn group(&mut self, flag: &str, asked: &Identity) -> Result<u32> {
        let name = match asked {
            Identity::Id(gid) => return Ok(*gid),
            Identity::Name(name) => name,
        };
        let text = self.groups(flag)?;
        let there = !text.is_empty();
        let found =
            text.split(|byte| *byte == b'\n').filter_map(Group::parse).find(|group| group.name == *name);
        found.map(|group| group.gid).ok_or_else(|| unknown(flag, "group", name, "/etc/group", there))
    }

    /// The text of /etc/group; none where there is no such file.
    fn groups(&mut self, flag: &str) -> Result<Vec<u8>> {
        if let Some((_, Some(text))) = &self.opened {
            return Ok(text.clone());
        }
        let text = self.read(flag, "/etc/group")?.unwrap_or_default();
        if let Some((_, kept)) = &mut self.opened {
            *kept = Some(text.clone());
        }
        Ok(text)
    }

    fn read(&mut self, flag: &str, path: &str) -> Result<Option<Vec<u8>>> {
        let (root, _) = match &mut self.opened {
            Some(opened) => opened,
            none => none.insert(((self.root)()?, None)),
        };
        read_inside(root, flag, path)
    }
}

/// Reads a small regular file inside `root`; `None` where there is none.
fn read_inside(root: &Layers, flag: &str, path: &str) -> Result<Option<Vec<u8>>> {
    let operation = || format!("{flag}: read `{path}` in the root file system");
    let system = |error: std::io::Error| Error::system(operation(), error);
    // Only its place at first: opening a device or a FIFO does something to it already.
    let place = match root.find(path) {
        Ok(place) => place,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(system(error.into())),
    };
    let status = rustix::fs::fstat(&place).map_err(|error| system(error.into()))?;
    let refused = |reason: String| {
        let error = Error::invalid(operation(), reason);
        error.with_hint(
            "give the user by its numbers, `--user UID:GID`, or mend the file in the root file system",
        )
    };
    let kind = match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile => None,
        FileType::Directory => Some("a directory"),
        FileType::Fifo => Some("a FIFO"),
        FileType::Socket => Some("a socket"),
        FileType::CharacterDevice | FileType::BlockDevice => Some("a device"),
        _ => Some("something else"),
    };
    if let Some(kind) = kind {
        return Err(refused(format!("it is {kind} and no regular file")));
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, format!("/proc/self/fd/{}", place.as_raw_fd()), flags, Mode::empty())
        .map_err(|error| system(error.into()))?;
    let mut text = Vec::new();
    File::from(file).take(LONGEST + 1).read_to_end(&mut text).map_err(system)?;
    if text.len() as u64 > LONGEST {
        return Err(refused("it is longer than 1 MiB".to_owned()));
    }
    Ok(Some(text))
}

fn unknown(flag: &str, what: &str, name: &str, file: &str, exists: bool) -> Error {
    let reason = if exists {
        format!("there is no {what} `{name}` in `{file}` of the root file system")
    } else {
        format!("there is no {what} `{name}`, as the root file system has no `{file}`")
    };
    Error::invalid(flag, reason).with_hint(format!("add it there, or give the {what} by its number"))
}

/// A line of passwd(5).
struct User {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

impl User {
    fn parse(line: &[u8]) -> Option<User> {
        let text = std::str::from_utf8(line).ok().filter(|text| !text.contains('\0'))?;
        let fields: Vec<&str> = text.split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields[..] else { return None };
        Some(User { name: name.to_owned(), uid: number(uid)?, gid: number(gid)?, home: home.to_owned() })
    }
}

/// A line of group(5).
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl Group<'_> {
    fn parse(line: &[u8]) -> Option<Group<'_>> {
        let text = std::str::from_utf8(line).ok()?;
        let mut fields = text.split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, number(fields.next()?)?);
        Some(Group { name, gid, members: fields.next().unwrap_or_default().trim_end() })
    }
}

/// An id in digits alone; the one above the highest is the kernel's `none`.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::parse_user;

    /// A root directory with these files, removed at the end.
    struct Root(std::path::PathBuf);

    impl Root {
        fn new(name: &str, passwd: &[u8], group: &[u8]) -> Root {
            let directory =
                std::env::temp_dir().join(format!("rabbitc-accounts-{name}-{}", std::process::id()));
            std::fs::create_dir_all(directory.join("etc")).expect("made");
            std::fs::write(directory.join("etc/passwd"), passwd).expect("written");
            std::fs::write(directory.join("etc/group"), group).expect("written");
            Root(directory)
        }

        fn layers(&self) -> Result<Layers> {
            Layers::open([self.0.as_path()])
        }

        fn find(&self, user: &str) -> Result<Account> {
            let user = Some(parse_user("--user", user)?);
            look_up(&|| self.layers(), &ProcessOptions { user, ..ProcessOptions::default() })
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1001:Alice,,,:/home/alice:/bin/sh\n\
        1234:x:0:0::/root:\n\nbroken\nwide:x:4294967296:0::/:\nnone:x:4294967295:0::/:\nodd:x:7:8:\xff:/:\n\
        homeless:x:9:9::relative:/bin/sh\nalice:x:0:0::/root:\n";
    const GROUP: &[u8] =
        b"root:x:0:\nstaff:x:50:alice,bob\naudio:x:29:bob\nvideo:x:44:bob,alice\nalice:x:1001:\n";

    #[test]
    fn users_have_the_numbers_groups_and_home_of_the_roots_own_files() {
        let root = Root::new("users", PASSWD, GROUP);
        let account = |uid, gid, groups: &[u32], home: &str| Account {
            uid,
            gid,
            groups: groups.to_vec(),
            home: home.to_owned(),
        };
        for (user, found) in [
            ("alice", account(1000, 1001, &[1001, 50, 44], "/home/alice")),
            ("1000", account(1000, 1001, &[1001, 50, 44], "/home/alice")),
            ("alice:audio", account(1000, 29, &[29], "/home/alice")),
            ("alice:7", account(1000, 7, &[7], "/home/alice")),
            ("1234", account(1234, 0, &[0], "/")),
            ("77:78", account(77, 78, &[78], "/")),
            ("homeless", account(9, 9, &[9], "/")),
            ("0", account(0, 0, &[0], "/root")),
        ] {
            assert_eq!(root.find(user).expect(user), found, "{user}");
        }
        for user in ["bob", "wide", "none", "odd", "broken", "alice:nobody"] {
            let error = root.find(user).expect_err("refused");
            assert!(error.to_string().contains("there is no") && error.hint.is_some(), "{error}");
        }
    }

    #[test]
    fn user_of_an_image_that_is_not_there_is_named_as_the_images() {
        let root = Root::new("image", PASSWD, GROUP);
        let user = Some(parse_user("the image's user", "nobody-here").expect("legal"));
        let options = ProcessOptions { user, user_source: Source::Image, ..ProcessOptions::default() };
        let error = look_up(&|| root.layers(), &options).expect_err("unknown");
        assert!(error.to_string().starts_with("the image's user: there is no user `nobody-here`"), "{error}");
        assert!(error.hint.is_some_and(|hint| hint.contains("--user UID:GID")));
    }

    #[test]
    fn files_that_are_none_are_refused_by_name() {
        let root = Root::new("none", &vec![b'\n'; (1 << 20) + 1], b"");
        assert!(root.find("1:1").expect_err("long").to_string().contains("longer than 1 MiB"));
        let passwd = root.0.join("etc/passwd");
        std::fs::remove_file(&passwd).expect("removed");
        assert_eq!(root.find("1:1").expect("no file is no user").home, "/");
        assert!(root.find("alice").expect_err("none").to_string().contains("has no `/etc/passwd`"));
        rustix::fs::mknodat(CWD, &passwd, FileType::Fifo, Mode::RWXU, 0).expect("made");
        assert!(root.find("1:1").expect_err("a FIFO").to_string().contains("a FIFO"));
        std::fs::remove_file(&passwd).expect("removed");
        // A link out of the root is followed inside alone.
        std::os::unix::fs::symlink("/../../../../etc/passwd", &passwd).expect("linked");
        assert!(root.find("root").is_err(), "a loop inside");
        std::fs::remove_file(&passwd).expect("removed");
        std::os::unix::fs::symlink("/proc/self/fd/0", &passwd).expect("linked");
        assert!(root.find("root").is_err());
    }
}
