//! What the host prepares for a container, as steps of the plan: their names, by which they are known again, and their words.

use std::path::Path;

use runtime::plan::{MountPoint, Preparation};
use runtime::spec::Spec;

use crate::options::RootOptions;

pub(super) const NETWORK_PREPARATION: &str = "make the bridge and its rules";
pub(super) const POINTS_PREPARATION: &str = "make missing mount points";
pub(super) const SOURCE_POINTS_PREPARATION: &str = "make missing mount points in volumes";
pub(super) const SCRATCH_PREPARATION: &str = "make a place for the overlay";

/// What the root needs; `path` is where it is.
pub(super) fn of_root(root: &RootOptions, path: &Path) -> Preparation {
    match root {
        RootOptions::Directory(_) => Preparation {
            name: POINTS_PREPARATION,
            object: format!("in `{}`", path.display()),
            why: "a mount needs something to be mounted on; the last container removes what the first one made",
            asked_by: Some("root.path".to_owned()),
        },
        RootOptions::Host | RootOptions::Overlay(_) | RootOptions::Image(_) => Preparation {
            name: SCRATCH_PREPARATION,
            object: String::new(),
            why: "the layer that takes the container's writes is mounted there, seen by the container alone",
            asked_by: Some("root.path".to_owned()),
        },
    }
}

/// What a bridged network needs; `network` is the one that the container is connected to, in words.
pub(super) fn of_network(network: &str) -> Preparation {
    Preparation {
        name: NETWORK_PREPARATION,
        object: network.to_owned(),
        why: "a switch in the kernel to which all containers of the network are plugged",
        asked_by: Some("network".to_owned()),
    }
}

/// The mount points that volumes lack for others in them.
pub(super) fn of_volumes(points: &[MountPoint], spec: &Spec) -> Preparation {
    let source = |number: usize| spec.mounts[number].source.as_deref().unwrap_or_default().to_owned();
    let mut places: Vec<String> = Vec::new();
    for point in points {
        if let Some(number) = point.mount {
            places.push(format!("`{}` in `{}`", point.path, source(number)));
        }
    }
    Preparation {
        name: SOURCE_POINTS_PREPARATION,
        object: places.join(", "),
        why: "what is mounted inside a volume needs something to be mounted on there; it goes with the container",
        asked_by: points.iter().find_map(|point| point.mount).map(|number| format!("mounts[{number}]")),
    }
}
