//! What is closed once everything is mounted: file systems that had to be writable while they were filled, paths that are
//! hidden, and paths that become read-only.

use std::collections::BTreeSet;

use sys::mount::attribute;

use super::{anchor, init_step};
use crate::error::{Error, Result};
use crate::init::step::{Action, InitAction, Step, Target, TargetKind};
use crate::spec::Spec;

/// Makes new file systems read-only only after the last step that makes mount points, nodes or links in them.
pub(super) fn close_late(steps: &mut Vec<Step>) -> Result<()> {
    let mut closings = Vec::new();
    for index in 0..steps.len() {
        let (before, after) = steps.split_at_mut(index + 1);
        let Some(Step { action: Action::Init(InitAction::Mount(mount)), asked_by }) = before.last_mut()
        else {
            continue;
        };
        if mount.kind.file_system.as_c_str() != c"tmpfs" || mount.attributes.set & attribute::RDONLY == 0 {
            continue;
        }
        let place = mount.target.path.to_string_lossy().into_owned();
        let lies_in = |target: &mut Target| {
            let path = target.path.to_string_lossy();
            path.strip_prefix(place.as_str()).is_some_and(|rest| rest.starts_with('/'))
        };
        let is_filled = after.iter_mut().any(|step| match &mut step.action {
            Action::Init(action) => anchor::targets(action).into_iter().any(lies_in),
            Action::Host(_) => false,
        });
        if !is_filled {
            continue;
        }
        mount.attributes.set &= !attribute::RDONLY;
        let target = Target::parse(&place, TargetKind::Directory, "mounts")?;
        let action = InitAction::SetAttributes { target, set: attribute::RDONLY, clear: 0 };
        closings.push(Step { action: Action::Init(action), asked_by: asked_by.clone() });
    }
    steps.extend(closings);
    Ok(())
}

/// The mask and read-only steps. A path that is listed twice is hidden once. The specification wants paths absolute
/// (config-linux.md, "Masked Paths"); as with runc, crun and youki, others begin at the root.
pub(super) fn plan_hidden(spec: &Spec, steps: &mut Vec<Step>) -> Result<()> {
    let Some(linux) = &spec.linux else { return Ok(()) };
    let targets = |paths: &[String], field: &str| -> Result<Vec<Target>> {
        let mut seen = BTreeSet::new();
        let mut found = Vec::with_capacity(paths.len());
        for (index, path) in paths.iter().enumerate() {
            let field = format!("{field}[{index}]");
            if path.is_empty() {
                return Err(Error::invalid(field, "is empty".to_owned()));
            }
            let target = Target::parse(path, TargetKind::File, &field)?;
            if seen.insert(target.path.clone()) {
                found.push(target);
            }
        }
        Ok(found)
    };
    let read_only = targets(&linux.readonly_paths, "linux.readonlyPaths")?;
    if !read_only.is_empty() {
        steps.push(init_step(InitAction::ReadOnlyPaths { targets: read_only }, "linux.readonlyPaths"));
    }
    let masked = targets(&linux.masked_paths, "linux.maskedPaths")?;
    if !masked.is_empty() {
        steps.push(init_step(InitAction::Mask { targets: masked }, "linux.maskedPaths"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Linux;

    #[test]
    fn path_that_is_listed_twice_is_hidden_once() {
        let paths =
            ["/proc/kcore", "/sys/firmware", "//proc/./kcore", "/proc/kcore"].map(str::to_owned).to_vec();
        let linux = Linux { masked_paths: paths.clone(), readonly_paths: paths, ..Linux::default() };
        let mut steps = Vec::new();
        plan_hidden(&Spec { linux: Some(linux), ..Spec::default() }, &mut steps).expect("legal");
        for step in &steps {
            let Action::Init(InitAction::Mask { targets } | InitAction::ReadOnlyPaths { targets }) =
                &step.action
            else {
                panic!("{step:?}");
            };
            let paths: Vec<_> = targets.iter().map(|target| target.path.to_string_lossy()).collect();
            assert_eq!(paths, ["proc/kcore", "sys/firmware"]);
        }
        assert_eq!(steps.len(), 2);
    }

    #[test]
    fn relative_path_is_hidden_from_the_root_on_and_an_empty_one_refused() {
        let linux = Linux { masked_paths: vec!["a/./b".to_owned(), "/c".to_owned()], ..Linux::default() };
        let mut steps = Vec::new();
        plan_hidden(&Spec { linux: Some(linux), ..Spec::default() }, &mut steps).expect("taken");
        let Action::Init(InitAction::Mask { targets }) = &steps[0].action else { panic!("{steps:?}") };
        assert_eq!(targets[0].path.as_c_str(), c"a/b");
        for (path, reason) in [("", "is empty"), ("a/../../b", "contains `..`")] {
            let linux = Linux { readonly_paths: vec![path.to_owned()], ..Linux::default() };
            let refused = plan_hidden(&Spec { linux: Some(linux), ..Spec::default() }, &mut Vec::new());
            let refused = refused.expect_err("refused").to_string();
            assert!(refused.contains("linux.readonlyPaths[0]") && refused.contains(reason), "{refused}");
        }
    }
}
