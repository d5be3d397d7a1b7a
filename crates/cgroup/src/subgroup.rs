//! Owns joining a group below a container's: which ones are asked for, and the files by which a process moves itself
//! there. Must not make any.

use std::os::fd::OwnedFd;

use rustix::fs::OFlags;

use crate::error::{Error, Kind, Operation};
use crate::files;
use crate::group::{Cgroup, open_to_join};
use crate::layout::{Hierarchy, Language, Layout, Version};
use crate::path::CgroupPath;

/// A group below a container's, for some hierarchies or for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subgroup {
    /// v1 controllers; none for all hierarchies.
    controllers: Vec<String>,
    /// Relative to the container's group; empty for that itself.
    path: String,
}

impl Subgroup {
    /// Reads `PATH`, alone, or any number of `CONTROLLER[,CONTROLLER…]:PATH`, each controller once. A leading slash is
    /// the container's own group, and no path leads out of it.
    pub fn parse_all(arguments: &[String]) -> Result<Vec<Subgroup>, Error> {
        let mut all: Vec<Subgroup> = Vec::new();
        for argument in arguments {
            let refuse = |detail: String| {
                let argument = argument.escape_debug().to_string();
                Err(Error::plain(Operation::ParsePath, argument, Kind::Invalid, detail))
            };
            let (controllers, path) = match argument.split_once(':') {
                Some((controllers, path)) => (controllers.split(',').map(str::to_owned).collect(), path),
                None if arguments.len() > 1 => {
                    return refuse(
                        "one of several needs its controllers in front: `CONTROLLER:PATH`".to_owned(),
                    );
                }
                None => (Vec::new(), argument.as_str()),
            };
            for (index, controller) in controllers.iter().enumerate() {
                let again = controllers[..index].contains(controller)
                    || all.iter().any(|earlier| earlier.controllers.contains(controller));
                match controller.as_str() {
                    "" => return refuse("has an empty name of a controller".to_owned()),
                    _ if again => {
                        return refuse(format!("names the controller `{controller}` a second time"));
                    }
                    _ => {}
                }
            }
            let relative = path.trim_start_matches('/');
            if !relative.is_empty() && CgroupPath::parse(relative).is_err() {
                return refuse(
                    "is a bad sub cgroup path: it may lead down from the container's group only".to_owned(),
                );
            }
            all.push(Subgroup { controllers, path: relative.to_owned() });
        }
        Ok(all)
    }
}

/// Where a new process is to be.
#[derive(Debug)]
pub struct Destination {
    /// The directory in the unified hierarchy, for `CLONE_INTO_CGROUP`: an `O_PATH` descriptor.
    pub unified: Option<OwnedFd>,
    /// As [`Cgroup::self_join_descriptors`], the unified hierarchy first.
    pub files: Vec<OwnedFd>,
}

impl Cgroup {
    /// The group that process `pid` is in now, on a host with cgroup v2 alone; nothing for the root, and on others.
    pub fn of_process(layout: &Layout, pid: i32) -> Result<Option<Cgroup>, Error> {
        if layout.version() != Version::V2 {
            return Ok(None);
        }
        let place = format!("/proc/{pid}/cgroup");
        let text = std::fs::read_to_string(&place).map_err(|error| {
            let errno = rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO);
            Error::kernel(Operation::Read, place, errno)
        })?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
        match CgroupPath::parse(path) {
            Ok(path) => Cgroup::open(layout, &path).map(Some),
            // The root, or a group outside of what this process sees.
            Err(_) => Ok(None),
        }
    }

    /// Whether it can hold no process itself, as it hands controllers down to child groups (v2).
    pub fn is_divided(&self) -> bool {
        let (Some(directory), Some(unified)) = (&self.unified, self.layout.unified()) else { return false };
        // Without a child group nobody could have handed anything down: its own processes stood in the way.
        let childless = rustix::fs::fstat(directory).is_ok_and(|found| found.st_nlink <= 2);
        !childless
            && files::read(unified, self.path.as_str(), "cgroup.subtree_control")
                .is_ok_and(|handed| !handed.trim().is_empty())
    }

    /// Opens what a process needs to be in `subgroups`, and in the group itself where they name nothing.
    pub fn destination(&self, subgroups: &[Subgroup]) -> Result<Destination, Error> {
        for controller in subgroups.iter().flat_map(|one| &one.controllers) {
            if !self.layout.hierarchies().iter().any(|hierarchy| of_controller(hierarchy, controller)) {
                let detail = format!("unknown controller `{controller}`: no v1 hierarchy has it");
                return Err(Error::plain(Operation::Join, self.path.to_string(), Kind::Invalid, detail));
            }
        }
        let mut destination = Destination { unified: None, files: Vec::new() };
        for hierarchy in self.layout.hierarchies() {
            let asked = subgroups.iter().find(|one| {
                one.controllers.is_empty()
                    || one.controllers.iter().any(|name| of_controller(hierarchy, name))
            });
            let path = match asked.map(|one| one.path.as_str()).filter(|path| !path.is_empty()) {
                Some(below) => format!("{}/{below}", self.path.as_str()),
                None => self.path.as_str().to_owned(),
            };
            if hierarchy.language() == Language::V2 {
                let directory = files::open(hierarchy, &path, "", OFlags::PATH | OFlags::DIRECTORY)
                    .map_err(|errno| Error::kernel(Operation::Join, hierarchy.display(&path, ""), errno))?;
                destination.unified = Some(directory);
            }
            destination.files.push(open_to_join(hierarchy, &path)?);
        }
        Ok(destination)
    }
}

fn of_controller(hierarchy: &Hierarchy, controller: &str) -> bool {
    hierarchy.language() == Language::V1 && hierarchy.has(controller)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Vec<Subgroup>, Error> {
        Subgroup::parse_all(&arguments.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn one_path_is_for_all_and_each_controller_has_one() {
        assert_eq!(parse(&["/"]).expect("legal"), [Subgroup { controllers: vec![], path: String::new() }]);
        let several = parse(&["memory:a", "cpu,cpuacct:/b/c"]).expect("legal");
        assert_eq!(several[1].controllers, ["cpu", "cpuacct"]);
        assert_eq!(several[1].path, "b/c");
    }

    #[test]
    fn way_out_of_the_containers_group_is_refused() {
        for arguments in [
            &[".."][..],
            &["a/../.."],
            &["cpu:../x"],
            &["a//b"],
            &["a", "b"],
            &["cpu:a", "cpu:b"],
            &["cpu,:a"],
            &["cpu,cpu:a"],
            &[":a"],
            &["a\nb"],
        ] {
            assert!(parse(arguments).is_err(), "{arguments:?}");
        }
    }
}
