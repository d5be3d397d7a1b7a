//! Checks of config.json as a whole, before anything is planned: what is wrong, and what this version can't do.

use std::path::Path;

use crate::error::{Error, Result};
use crate::root_directory::RootDirectory;
use crate::spec::{Linux, NamespaceKind, Spec};

pub(super) fn version(version: &str) -> Result<()> {
    let mut parts = version.split(['.', '-', '+']);
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok());
    match (number(parts.next()), number(parts.next()), number(parts.next())) {
        (Some(1), Some(_), Some(_)) => Ok(()),
        (Some(_), Some(_), Some(_)) => {
            Err(Error::invalid("ociVersion", format!("`{version}` is not a version 1 of the specification")))
        }
        _ => Err(Error::invalid(
            "ociVersion",
            format!("`{version}` is not a version such as `{}`", crate::spec::VERSION),
        )),
    }
}

/// Opens the root directory that config.json names.
pub(super) fn root_directory(spec: &Spec, bundle: &Path) -> Result<RootDirectory> {
    let Some(root) = &spec.root else {
        return Err(Error::invalid("root", "is missing".to_owned()));
    };
    if root.path.as_os_str().is_empty() {
        return Err(Error::invalid("root.path", "is empty".to_owned()));
    }
    let path = bundle.join(&root.path);
    RootDirectory::open(&path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotADirectory && path.exists() {
            let hint = "a root file system is a directory tree; unpack an archive or mount an image first";
            let reason = format!("`{}` is not a directory", path.display());
            return Error::invalid("root.path", reason).with_hint(hint);
        }
        Error::at_path("open the root file system", &path, error).from_field("root.path")
    })
}

/// A container's record and state are JSON (runtime.md, "State"), which can only name what is text.
pub(super) fn path_is_text(path: &Path, field: &str) -> Result<()> {
    if path.to_str().is_some() {
        return Ok(());
    }
    let reason =
        format!("`{}` is not UTF-8, and a container's state, in JSON, has to name it", path.display());
    Err(Error::invalid(field, reason).with_hint("give the directory another name"))
}

/// A mount namespace that is the caller's.
pub(super) fn shared_mounts(linux: &Linux) -> Result<()> {
    let hidden = [("linux.maskedPaths", &linux.masked_paths), ("linux.readonlyPaths", &linux.readonly_paths)];
    for (field, paths) in hidden {
        if !paths.is_empty() {
            let reason =
                "without a mount namespace of its own they would be hidden from the host too".to_owned();
            let hint = format!("list `{{\"type\": \"mount\"}}` in linux.namespaces, or empty `{field}`");
            return Err(Error::invalid(field, reason).with_hint(hint));
        }
    }
    Ok(())
}

/// Offsets for clocks that there are, in a time namespace that is made.
pub(super) fn time_offsets(linux: &Linux) -> Result<()> {
    let time = linux
        .namespaces
        .iter()
        .any(|namespace| namespace.kind == NamespaceKind::Time && namespace.path.is_none());
    for (clock, offset) in &linux.time_offsets {
        let field = format!("linux.timeOffsets.{clock}");
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return Err(Error::invalid(field, "is no clock that can be shifted".to_owned())
                .with_hint("a time namespace shifts `monotonic` and `boottime` (time_namespaces(7))"));
        }
        if offset.nanosecs >= 1_000_000_000 {
            let reason = format!("{} is a whole second or more", offset.nanosecs);
            return Err(Error::invalid(format!("{field}.nanosecs"), reason));
        }
    }
    if !linux.time_offsets.is_empty() && !time {
        return Err(Error::invalid("linux.timeOffsets", "needs a new time namespace".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn path_that_json_cannot_hold_is_refused_with_its_field() {
        let path = Path::new(OsStr::from_bytes(b"/srv/caf\xe9"));
        let error = path_is_text(path, "bundle").expect_err("Latin-1 is not UTF-8");
        assert!(error.to_string().starts_with("bundle: "), "{error}");
        path_is_text(Path::new("/srv/caf\u{e9}"), "bundle").expect("UTF-8 is text");
    }
}
