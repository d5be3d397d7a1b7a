//! From what file the program runs when it enters a container, as `--debug` tells it.

mod support;

use std::process::Command;

use support::{Bundle, errors, root_only};

const OVERLAY: &str = "runc exeseal: using overlayfs for sealed /proc/self/exe";
const ANY: &str = "runc exeseal: using /proc/self/exe clone";

/// What a script says in a mount namespace of its own, in which a tmpfs lies at `/mnt`; nothing where overlays can't be.
fn told(name: &str, script: &str) -> Option<String> {
    let bundle = Bundle::new(name, &["true"]);
    let set_up = "set -e; mount -t tmpfs none /mnt; mkdir /mnt/program /mnt/other /mnt/root; \
                  cp \"$1\" /mnt/program/runtime; \
                  mount -t overlay -o ro,lowerdir=/mnt/program:/mnt/other none /mnt/root || exit 9; umount /mnt/root";
    let script = format!("{set_up}; set +e; {script}");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation=private", "sh", "-c", &script, "sh", support::BINARY]);
    let output = command.arg(&bundle.path).output().expect("unshare runs");
    if output.status.code() == Some(9) {
        println!("skipped: no overlay can be mounted here");
        return None;
    }
    Some(errors(&output).to_owned())
}

/// Of a container that is not there: who enters one is protected before anybody looks.
const START: &str = "--debug --root /mnt/state start missing";

#[test]
fn program_runs_from_an_overlay_and_says_so() {
    root_only!();
    let Some(said) = told("overlay", &format!("/mnt/program/runtime {START}")) else { return };
    assert!(said.contains(OVERLAY) && said.contains(ANY), "{said}");
    // Names that mean something in the list of layers.
    let awkward = "/mnt/a:b\\\\c";
    let script = format!("mv /mnt/program '{awkward}'; '{awkward}/runtime' {START}");
    let Some(said) = told("overlay-name", &script) else { return };
    assert!(said.contains(OVERLAY), "{said}");
}

/// The directory below shows another file than the one that runs.
#[test]
fn program_that_is_bound_over_another_runs_from_a_mount_of_itself() {
    root_only!();
    let script = format!(
        "echo 'echo another >&2' >/mnt/other/runtime; chmod 755 /mnt/other/runtime; \
         mount --bind /mnt/program/runtime /mnt/other/runtime; /mnt/other/runtime {START}"
    );
    let Some(said) = told("bound-over", &script) else { return };
    assert!(!said.contains(OVERLAY) && said.contains(ANY), "{said}");
}

/// A container's root may be such an overlay, and the program lie in it: that root is no protection, as it may have a
/// layer to write to. Without a `/dev` there is no other overlay to run from.
#[test]
fn program_at_the_root_of_a_read_only_overlay_does_not_count_as_protected() {
    root_only!();
    let script = format!(
        "mkdir /mnt/program/proc /mnt/upper /mnt/work /mnt/other/mnt; \
         for each in usr lib lib64 bin; do test -e /$each && mkdir /mnt/other/$each; done; \
         mount -t overlay -o ro,lowerdir=/mnt/program:/mnt/other,upperdir=/mnt/upper,workdir=/mnt/work none /mnt/root; \
         for each in usr lib lib64 bin proc; do test -e /$each && mount --rbind /$each /mnt/root/$each; done; \
         chroot /mnt/root /runtime {START}"
    );
    let Some(said) = told("at-the-root", &script) else { return };
    assert!(!said.contains(OVERLAY) && said.contains(ANY), "{said}");
}
