//! What keeps a mount from its place: a file above it, or something of the other kind there. Must not touch either.

use crate::init::step::{Action, InitAction, Target, TargetKind};
use crate::mounted::{End, Mounted, names_forward, shown};
use crate::plan::ContainerPlan;

/// What keeps a mount from its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// This path above it leads to a file, and nothing lies below one.
    FileAbove(String),
    /// Something of this kind is there, and what is to be mounted is of the other: a file goes onto a file alone.
    OtherKind(TargetKind),
}

/// A mount that can't be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockedMount {
    /// What asked for it, as in [`crate::StepDescription`].
    pub asked_by: Option<String>,
    /// Its place inside.
    pub destination: String,
    /// What is in the way.
    pub obstacle: Obstacle,
}

impl ContainerPlan {
    /// The mounts that something is in the way of, as far as that shows from here, in the order in which they would be made.
    /// It walks to the place of every mount, which takes as long as some of the mounts themselves.
    pub fn blocked_mounts(&self) -> Vec<BlockedMount> {
        let mut mounted = Mounted::default();
        let mut blocked = Vec::new();
        for step in &self.steps {
            let Action::Init(action) = &step.action else { continue };
            if let Some(target) = place(action)
                && let Some(obstacle) = mounted.obstacle(target)
            {
                let destination = shown(&names_forward(target.path.to_bytes()));
                blocked.push(BlockedMount { asked_by: step.asked_by.clone(), destination, obstacle });
            }
            mounted.add(&self.steps, action);
        }
        blocked
    }
}

/// Where an action mounts something of a kind that is known: of what lies among the container's own mounts it is not.
fn place(action: &InitAction) -> Option<&Target> {
    match action {
        InitAction::Mount(mount) => Some(&mount.target),
        InitAction::Bind(mount) if mount.kind.inside.is_none() => Some(&mount.target),
        _ => None,
    }
}

impl Mounted<'_> {
    /// What is in the way of something that is to be mounted next.
    pub(crate) fn obstacle(&self, target: &Target) -> Option<Obstacle> {
        let path = target.path.to_bytes();
        if let Some(file) = self.file_above(path) {
            return Some(Obstacle::FileAbove(file));
        }
        let End::Found(_, seen) = self.walk::<()>(path, |_, _| None) else { return None };
        let found = if seen.kind.is_dir() { TargetKind::Directory } else { TargetKind::File };
        (found != target.kind).then_some(Obstacle::OtherKind(found))
    }

    /// The part of a path, without the last name, that is no directory.
    fn file_above(&self, path: &[u8]) -> Option<String> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        let file = ends.map(|end| &path[..end]).find(|above| {
            let end = self.walk::<()>(above, |_, _| None);
            matches!(end, End::Found(_, seen) if !seen.kind.is_dir())
        });
        file.map(|file| shown(&names_forward(file)))
    }
}
