//! Owns the options of `mounts[]`: which are attributes of the mount, which are propagation, and which go to the file
//! system (config.md, "Linux mount options"; mount(8)).

use sys::mount::{Attributes, attribute};

use super::mounts::propagation_flags;

/// The options of one mount.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) attributes: Attributes,
    pub(super) recursive: Attributes,
    pub(super) propagation: u64,
    pub(super) remount: bool,
    /// `tmpcopyup`: a tmpfs begins with a copy of what it covers.
    pub(super) copy_up: bool,
    /// `tmpoverlay`, of our own: a bind mount whose writes are thrown away.
    pub(super) throw_away: bool,
    pub(super) idmap: Option<sys::mount::Reach>,
    pub(super) parameters: Vec<(String, Option<String>)>,
    /// Whether any option is an attribute, also one whose name has no effect of its own.
    pub(super) names_attributes: bool,
}

/// Options that say what is so anyway, or that have no meaning for a mount.
const WITHOUT_EFFECT: [&str; 7] =
    ["defaults", "async", "nomand", "nodirsync", "loud", "noiversion", "nolazytime"];

/// One option of `mount(8)` that is an attribute of the mount: bits to set and to clear.
fn attribute_option(name: &str) -> Option<(u64, u64)> {
    Some(match name {
        "ro" => (attribute::RDONLY, 0),
        "rw" => (0, attribute::RDONLY),
        "nosuid" => (attribute::NOSUID, 0),
        "suid" => (0, attribute::NOSUID),
        "nodev" => (attribute::NODEV, 0),
        "dev" => (0, attribute::NODEV),
        "noexec" => (attribute::NOEXEC, 0),
        "exec" => (0, attribute::NOEXEC),
        "nosymfollow" => (attribute::NOSYMFOLLOW, 0),
        "symfollow" => (0, attribute::NOSYMFOLLOW),
        _ => return None,
    })
}

/// The same of access times with an `r` in front: they change what they name, in the whole tree.
fn recursive_access_times(name: &str) -> Option<(u64, u64)> {
    Some(match name {
        "nodiratime" => (attribute::NODIRATIME, 0),
        "diratime" => (0, attribute::NODIRATIME),
        "noatime" => (attribute::NOATIME, attribute::ATIME_MASK),
        "strictatime" => (attribute::STRICTATIME, attribute::ATIME_MASK),
        "relatime" | "atime" | "norelatime" | "nostrictatime" => (0, attribute::ATIME_MASK),
        _ => return None,
    })
}

fn merge(into: &mut Attributes, (set, clear): (u64, u64)) {
    into.set = (into.set & !clear) | set;
    into.clear = (into.clear & !(set & !attribute::ATIME_MASK)) | clear;
}

/// When access times are written, as `mount(8)` has it: options that clear one take back an earlier option, and where
/// none is left, the mount's own stay; where one is, all are as named.
#[derive(Debug, Default)]
struct AccessTimes {
    mode: Option<Mode>,
    nodiratime: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    No,
    Relative,
    Strict,
}

impl AccessTimes {
    fn take(&mut self, name: &str) -> bool {
        let mut clear = |mode| {
            if self.mode == Some(mode) {
                self.mode = None;
            }
        };
        match name {
            "noatime" => self.mode = Some(Mode::No),
            "relatime" => self.mode = Some(Mode::Relative),
            "strictatime" => self.mode = Some(Mode::Strict),
            "nodiratime" => self.nodiratime = true,
            "diratime" => self.nodiratime = false,
            "atime" => clear(Mode::No),
            "norelatime" => clear(Mode::Relative),
            "nostrictatime" => clear(Mode::Strict),
            _ => return false,
        }
        true
    }

    fn change(&self) -> Option<(u64, u64)> {
        if self.mode.is_none() && !self.nodiratime {
            return None;
        }
        let mode = match self.mode {
            Some(Mode::No) => attribute::NOATIME,
            Some(Mode::Strict) => attribute::STRICTATIME,
            // The bits of relatime are zero.
            Some(Mode::Relative) | None => 0,
        };
        let (set, clear) =
            if self.nodiratime { (attribute::NODIRATIME, 0) } else { (0, attribute::NODIRATIME) };
        Some((set | mode, clear | attribute::ATIME_MASK))
    }
}

pub(super) fn parse_options(options: &[String]) -> Options {
    let mut parsed = Options::default();
    let mut access_times = AccessTimes::default();
    for option in options {
        let name = option.as_str();
        let recursive = name.strip_prefix('r');
        if let Some(change) = attribute_option(name) {
            merge(&mut parsed.attributes, change);
            parsed.names_attributes = true;
        } else if access_times.take(name) {
            parsed.names_attributes = true;
        } else if let Some(change) =
            recursive.and_then(|name| attribute_option(name).or_else(|| recursive_access_times(name)))
        {
            merge(&mut parsed.recursive, change);
        } else if let Some(flags) = propagation_flags(name) {
            parsed.propagation = flags;
        } else {
            match name {
                _ if WITHOUT_EFFECT.contains(&name) => {}
                // What they say is the mount's kind.
                "bind" | "rbind" => {}
                "remount" => parsed.remount = true,
                "idmap" => parsed.idmap = Some(sys::mount::Reach::Mount),
                "ridmap" => parsed.idmap = Some(sys::mount::Reach::Tree),
                "tmpcopyup" => parsed.copy_up = true,
                "tmpoverlay" => parsed.throw_away = true,
                _ => {
                    let (key, value) = match name.split_once('=') {
                        Some((key, value)) => (key, Some(value.to_owned())),
                        None => (name, None),
                    };
                    parsed.parameters.push((key.to_owned(), value));
                }
            }
        }
    }
    if let Some(change) = access_times.change() {
        merge(&mut parsed.attributes, change);
    }
    parsed
}

#[cfg(test)]
mod tests {
    use sys::mount::propagation;

    use super::*;

    fn parsed(options: &[&str]) -> Options {
        parse_options(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn later_options_win_over_earlier_ones() {
        let parsed = parsed(&["ro", "rw", "nosuid"]);
        assert_eq!(parsed.attributes.set, attribute::NOSUID);
        assert_eq!(parsed.attributes.clear & attribute::RDONLY, attribute::RDONLY);
    }

    #[test]
    fn recursive_names_are_not_mistaken_for_propagation() {
        let parsed = parsed(&["rro", "rprivate", "rbind"]);
        assert_eq!(parsed.recursive.set, attribute::RDONLY);
        assert_eq!(parsed.propagation, propagation::PRIVATE | propagation::REC);
        assert_eq!(parsed.parameters, []);
    }

    #[test]
    fn access_times_stay_unless_an_option_names_when_they_are_written() {
        const ALL: u64 = attribute::ATIME_MASK | attribute::NODIRATIME;
        for kept in [&["bind"][..], &["atime"], &["norelatime"], &["noatime", "atime"], &["diratime"]] {
            let Attributes { set, clear, .. } = parsed(kept).attributes;
            assert_eq!((set & ALL, clear & ALL), (0, 0), "{kept:?}");
        }
        for (options, expected) in [
            (&["relatime"][..], 0),
            (&["noatime"], attribute::NOATIME),
            (&["noatime", "strictatime"], attribute::STRICTATIME),
            (&["nodiratime"], attribute::NODIRATIME),
            (&["nodiratime", "norelatime"], attribute::NODIRATIME),
            (&["nodiratime", "strictatime"], attribute::NODIRATIME | attribute::STRICTATIME),
        ] {
            let Attributes { set, clear, .. } = parsed(options).attributes;
            assert_eq!((set & ALL, (set | clear) & ALL), (expected, ALL), "{options:?}");
        }
    }
}
