//! AppArmor and SELinux on this host: which is on, AppArmor's profile of ours, the SELinux categories of a container.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::container::{Effects, Notice};
use crate::error::{Error, Result, io_text};
use crate::options::{LabelOptions, SecurityOptions};
use crate::paths::EnginePaths;
use crate::user_namespace::leases::RangeLease;
use runtime::subordinate_ids::Range;

/// Our AppArmor profile's name. The number counts its versions: one that an older rabbitc has loaded has another name,
/// and stays for that one's containers.
pub(crate) const PROFILE: &str = "rabbitc-default-2";

/// What it says: files, capabilities and networks are others' to restrict. What no filter of system calls can see is
/// refused here: sockets of families without a namespace on every ABI, mounts, and other programs' processes. Signals come
/// from rabbitc itself as well, also where that runs by the profile that allows it user namespaces ([`runtime::caller`]).
const PROFILE_TEXT: &str = "\
profile rabbitc-default-2 flags=(attach_disconnected,mediate_deleted) {
  file,
  capability,
  network,
  deny network alg,
  deny network vsock,
  signal (receive) peer=unconfined,
  signal (receive) peer=rabbitc,
  signal (receive) peer=rabbitc-runtime,
  signal (send, receive) peer=rabbitc-default-2,
  ptrace (trace, read, tracedby, readby) peer=rabbitc-default-2,
  unix,
  umount,
  deny mount,
  deny /proc/sysrq-trigger rwklx,
  deny /proc/kcore rwklx,
  deny /proc/mem rwklx,
  deny /proc/kmem rwklx,
  deny /sys/firmware/** rwklx,
  deny /sys/kernel/security/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
}
";

/// What is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Modules {
    pub(crate) apparmor: bool,
    /// Whether our profile is loaded.
    pub(crate) own_profile: bool,
    pub(crate) selinux: bool,
}

/// Two SELinux categories that no other running container has together, the lower one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Categories(pub(crate) u16, pub(crate) u16);

impl Modules {
    /// Looks; where AppArmor is on, sees that our profile is loaded, if it will be used.
    pub(crate) fn find(options: &SecurityOptions, effects: Effects, notices: &mut Vec<Notice>) -> Modules {
        let enabled = std::fs::read("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
        let mut modules = Modules {
            apparmor: enabled.starts_with(b"Y"),
            own_profile: false,
            selinux: runtime::plan::has_selinux(),
        };
        // Without root not every mount of a container can be labelled; who names a label means it all the same.
        let root = rustix::process::geteuid().is_root();
        modules.selinux &= root || options.label != LabelOptions::default();
        if modules.apparmor && options.apparmor.is_none() && !options.privileged {
            modules.own_profile = is_loaded() || (effects == Effects::Allowed && load(notices));
        }
        modules
    }
}

/// Whether the kernel has our profile. Only root may see; others go without, as they could not load it either.
fn is_loaded() -> bool {
    let profiles = std::fs::read_to_string("/sys/kernel/security/apparmor/profiles").unwrap_or_default();
    profiles.lines().any(|line| line.split(' ').next() == Some(PROFILE))
}

/// Gives our profile to the kernel by AppArmor's own compiler.
fn load(notices: &mut Vec<Notice>) -> bool {
    if !rustix::process::geteuid().is_root() {
        return false;
    }
    let failed = match compile(&["--replace"]) {
        Ok(()) => return true,
        Err(reason) => reason,
    };
    notices.push(Notice {
        what: format!("AppArmor is on, and this container runs without a profile of it: {failed}"),
        remedy: Some(
            "install `apparmor_parser` (package `apparmor`), or say so with `--security-opt apparmor=unconfined`"
                .to_owned(),
        ),
    });
    false
}

/// Runs `apparmor_parser` over our profile; says why where that fails.
fn compile(arguments: &[&str]) -> std::result::Result<(), String> {
    let places = ["/usr/sbin/apparmor_parser", "/sbin/apparmor_parser"];
    let Some(program) = places.into_iter().find(|path| Path::new(path).exists()) else {
        return Err("`apparmor_parser` is not installed".to_owned());
    };
    let run = || -> std::io::Result<std::process::Output> {
        let mut command = Command::new(program);
        command.args(["--quiet", "--skip-cache"]).args(arguments).env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(PROFILE_TEXT.as_bytes())?;
        }
        child.wait_with_output()
    };
    match run() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(format!("`{program}`: {}", text.lines().next().unwrap_or("it failed")))
        }
        Err(error) => Err(format!("`{program}`: {}", io_text(&error))),
    }
}

/// How many pairs there are of 1024 categories, as many as the usual policies have.
const PAIRS: u32 = 1024 * 1023 / 2;

/// Leases a pair of categories, from a random one on: a volume that is labelled for one container alone should not
/// open to the next.
pub(crate) fn lease_categories(
    paths: &EnginePaths,
    holder: &str,
) -> Result<Option<(Categories, RangeLease)>> {
    let bytes = sys::random::bytes().map_err(|error| Error::system("choose SELinux categories", error))?;
    let first = u32::from_ne_bytes(bytes) % PAIRS;
    let pool = [Range { first, count: PAIRS - first }, Range { first: 0, count: first.max(1) }];
    let lease = RangeLease::take(&paths.labels(), &pool, 1, holder)?;
    Ok(lease.map(|lease| (pair(lease.range.first), lease)))
}

/// The pair with this number: (0,1), (0,2), (1,2), (0,3), …
fn pair(number: u32) -> Categories {
    let mut second = 1;
    let mut before = 0;
    while before + second <= number {
        before += second;
        second += 1;
    }
    Categories((number - before) as u16, second as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_another_pair_and_the_last_one_is_legal() {
        let first: Vec<Categories> = (0..4).map(pair).collect();
        assert_eq!(first, [Categories(0, 1), Categories(0, 2), Categories(1, 2), Categories(0, 3)]);
        assert_eq!(pair(PAIRS - 1), Categories(1022, 1023));
    }

    #[test]
    fn categories_are_nobody_elses_while_they_are_held() {
        let base = std::env::temp_dir().join(format!("rabbitc-labels-{}", std::process::id()));
        let paths = EnginePaths::below(&base);
        let take = || lease_categories(&paths, "x").expect("possible").expect("some are free");
        let held = [take(), take(), take()];
        assert!(held[0].0 != held[1].0 && held[1].0 != held[2].0 && held[0].0 != held[2].0);
        drop(held);
        std::fs::remove_dir_all(base).expect("removed");
    }

    #[test]
    fn profile_is_one_that_apparmors_compiler_takes() {
        if !Path::new("/usr/sbin/apparmor_parser").exists() {
            println!("skipped: no `apparmor_parser` on this machine");
            return;
        }
        // Compiled and not loaded: this works on kernels without AppArmor.
        assert_eq!(compile(&["--skip-kernel-load", "--skip-read-cache"]), Ok(()));
    }
}
