//! Where the way to each target begins: at the mount of ours that it lies in, and not at the root.
//!
//! The root file system may belong to others at the same time: another container on the same directory, or whoever
//! fills it. They can rename `/proc` away between the mount of procfs there and the mask of `/proc/kcore`, which then
//! would cover a file of theirs and leave the real one open (the class of CVE-2021-30465 and CVE-2023-27561). From
//! the descriptor of the mount itself there is no way that they could bend.

use crate::error::{Error, Result};
use crate::init::step::{ANCHORS, Action, Anchor, InitAction, Step, Target};

/// A mount that later targets may lie in.
struct Kept {
    path: Vec<u8>,
    step: usize,
    slot: Option<usize>,
}

/// Gives every target of `steps` its anchor.
pub(crate) fn anchor(steps: &mut [Step]) -> Result<()> {
    let mut kept: Vec<Kept> = Vec::new();
    let mut slots: Vec<(usize, usize)> = Vec::new();
    for (index, step) in steps.iter_mut().enumerate() {
        let Action::Init(action) = &mut step.action else { continue };
        // What is mounted on a mount itself covers it, and is found from above.
        let covers = matches!(action, InitAction::Mount(_) | InitAction::Bind(_));
        for target in targets(action) {
            let Some(mount) = deepest(&mut kept, target.path.as_bytes(), covers) else { continue };
            let slot = match mount.slot {
                Some(slot) => slot,
                None => {
                    slots.push((mount.step, slots.len()));
                    *mount.slot.insert(slots.len() - 1)
                }
            };
            target.anchor = Some(Anchor { slot, skipped: mount.path.len() + 1 });
        }
        let (target, fresh) = match action {
            // Made by the kernel: nobody has put a link into it.
            InitAction::Mount(mount) => (&mount.target, true),
            // The host's own, where a configuration shares them.
            InitAction::Bind(bind) => {
                (&bind.target, matches!(bind.target.path.as_bytes(), b"proc" | b"sys" | b"dev"))
            }
            _ => continue,
        };
        let path = target.path.as_bytes();
        kept.retain(|earlier| rest(&earlier.path, path).is_none());
        if fresh {
            kept.push(Kept { path: path.to_owned(), step: index, slot: None });
        }
    }
    if slots.len() > ANCHORS {
        let reason = format!("more than {ANCHORS} file systems have other mounts in them");
        return Err(Error::invalid("mounts", reason));
    }
    for (step, slot) in slots {
        if let Action::Init(InitAction::Mount(mount)) = &mut steps[step].action {
            mount.target.kept_at = Some(slot);
        } else if let Action::Init(InitAction::Bind(bind)) = &mut steps[step].action {
            bind.target.kept_at = Some(slot);
        }
    }
    Ok(())
}

/// What of `path` lies below `top`; empty where they are the same.
fn rest<'a>(path: &'a [u8], top: &[u8]) -> Option<&'a [u8]> {
    let rest = path.strip_prefix(top)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b"/") }
}

fn deepest<'a>(kept: &'a mut [Kept], path: &[u8], covers: bool) -> Option<&'a mut Kept> {
    let lies_in =
        |mount: &&mut Kept| rest(path, &mount.path).is_some_and(|rest| !(covers && rest.is_empty()));
    kept.iter_mut().filter(lies_in).max_by_key(|mount| mount.path.len())
}

/// The places that a step looks up inside the container.
pub(super) fn targets(action: &mut InitAction) -> Vec<&mut Target> {
    match action {
        InitAction::Mount(mount) => vec![&mut mount.target],
        InitAction::Bind(bind) => vec![&mut bind.target],
        InitAction::MemoryFiles { files, .. } => files.iter_mut().map(|file| &mut file.target).collect(),
        InitAction::SetAttributes { target, .. } | InitAction::NullStreams { target, .. } => vec![target],
        InitAction::Devices { devices } => devices.iter_mut().map(|device| &mut device.target).collect(),
        InitAction::Links { links } => links.iter_mut().map(|link| &mut link.target).collect(),
        InitAction::Console { terminals, target, .. } => {
            std::iter::once(terminals).chain(target.as_mut()).collect()
        }
        InitAction::Mask { targets } | InitAction::ReadOnlyPaths { targets } => targets.iter_mut().collect(),
        InitAction::Sysctls { directory, .. } => vec![directory],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::step::{FileSystem, MountPlan, TargetKind};
    use crate::plan::always;

    fn target(path: &str) -> Target {
        Target::parse(path, TargetKind::Directory, "test").expect("legal")
    }

    fn mount(path: &str) -> Step {
        let kind = FileSystem {
            file_system: c"tmpfs".into(),
            source: c"tmpfs".into(),
            parameters: Vec::new(),
            copy_up: None,
            inherits_mode: false,
            on_ordinary: false,
        };
        always(InitAction::Mount(MountPlan {
            kind,
            target: target(path),
            attributes: sys::mount::Attributes::default(),
            recursive: sys::mount::Attributes::default(),
            propagation: 0,
        }))
    }

    fn mask(path: &str) -> Step {
        always(InitAction::Mask { targets: vec![target(path)] })
    }

    /// Where the last step's only target begins: the step that is kept there, and the way from it.
    fn way(mut steps: Vec<Step>) -> Option<(usize, String)> {
        anchor(&mut steps).expect("anchored");
        let kept = |step: &mut Step| {
            let Action::Init(action) = &mut step.action else { return None };
            targets(action).first().and_then(|target| target.kept_at)
        };
        let Action::Init(action) = &mut steps.last_mut().expect("one").action else { return None };
        let target = targets(action).remove(0);
        let anchor = target.anchor?;
        let rest = target.path_from(&anchor).to_string_lossy().into_owned();
        let step = steps.iter_mut().position(|step| kept(step) == Some(anchor.slot)).expect("it is kept");
        Some((step, rest))
    }

    #[test]
    fn target_begins_at_the_deepest_mount_that_it_lies_in() {
        let steps = || vec![mount("/sys"), mount("/sys/fs/cgroup"), mount("/dev")];
        let with = |path: &str| {
            let mut steps = steps();
            steps.push(mask(path));
            way(steps)
        };
        assert_eq!(with("/sys/fs/cgroup/x/y"), Some((1, "x/y".to_owned())));
        assert_eq!(with("/sys/firmware"), Some((0, "firmware".to_owned())));
        assert_eq!(with("/dev"), Some((2, ".".to_owned())));
        assert_eq!(with("/system"), None);
    }

    #[test]
    fn mount_that_another_covers_is_no_beginning() {
        assert_eq!(way(vec![mount("/a/b"), mount("/a"), mask("/a/b/c")]), Some((1, "b/c".to_owned())));
        assert_eq!(way(vec![mount("/a"), mount("/a")]), None, "one on the other is found from above");
    }
}
