//! What `checkpoint` and `restore` have in common: where criu is looked for, and the options that both have.

use std::ffi::CString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use lexopt::Parser;
use runtime::checkpoint::{CgroupMode, Common, Criu};
use runtime::{Error, Result};

use crate::args;

/// Options as typed.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    images: Option<PathBuf>,
    work: Option<PathBuf>,
    tcp_established: bool,
    external_unix_sockets: bool,
    shell_job: bool,
    file_locks: bool,
    auto_dedup: bool,
    lazy_pages: bool,
    cgroup_mode: CgroupMode,
    empty_namespaces: u32,
}

impl Arguments {
    /// Takes the option if it is one of these.
    pub(super) fn take(&mut self, name: &str, parser: &mut Parser) -> Result<bool> {
        match name {
            "image-path" => self.images = Some(args::path(parser)?),
            "work-path" => self.work = Some(args::path(parser)?).filter(|path| !path.as_os_str().is_empty()),
            "tcp-established" => self.tcp_established = args::switch(parser)?,
            "ext-unix-sk" => self.external_unix_sockets = args::switch(parser)?,
            "shell-job" => self.shell_job = args::switch(parser)?,
            "file-locks" => self.file_locks = args::switch(parser)?,
            "auto-dedup" => self.auto_dedup = args::switch(parser)?,
            "lazy-pages" => self.lazy_pages = args::switch(parser)?,
            "manage-cgroups-mode" => {
                let text = args::text(parser)?;
                self.cgroup_mode = CgroupMode::parse(&text).ok_or_else(|| {
                    let reason = format!("`{text}` is none of soft, full, strict and ignore");
                    Error::invalid("--manage-cgroups-mode", reason)
                })?;
            }
            "empty-ns" => match args::text(parser)?.as_str() {
                "network" => self.empty_namespaces |= sys::clone::flags::NEWNET as u32,
                other => {
                    let reason = format!("`{other}` can't be left empty; `network` can");
                    return Err(Error::invalid("--empty-ns", reason));
                }
            },
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The directory of the images as it was named, else `checkpoint` here.
    pub(super) fn images(&self) -> Result<PathBuf> {
        let asked = self.images.clone().filter(|path| !path.as_os_str().is_empty());
        absolute("--image-path", &asked.unwrap_or_else(|| PathBuf::from("checkpoint")))
    }

    /// Whether memory comes later.
    pub(super) fn lazy_pages(&self) -> bool {
        self.lazy_pages
    }

    pub(super) fn common(&self) -> Result<Common> {
        Ok(Common {
            criu: criu(),
            images: self.images()?,
            work: self.work.as_deref().map(|path| absolute("--work-path", path)).transpose()?,
            tcp_established: self.tcp_established,
            external_unix_sockets: self.external_unix_sockets,
            shell_job: self.shell_job,
            file_locks: self.file_locks,
            auto_dedup: self.auto_dedup,
            lazy_pages: self.lazy_pages,
            cgroup_mode: self.cgroup_mode,
            empty_namespaces: self.empty_namespaces,
        })
    }
}

fn absolute(option: &str, path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Error::at_path(option, path, error))
}

/// criu by `PATH`, with this process's environment.
fn criu() -> Criu {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        let mut text = name.into_vec();
        text.push(b'=');
        text.extend_from_slice(value.as_bytes());
        CString::new(text).ok()
    });
    Criu { directories: std::env::split_paths(&path).collect(), environment: variables.collect() }
}
