//! Builds both binaries, statically linked, and puts them into `target/release`; installs nothing but a Rust target.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{self, Failure, Naming, Result};

/// Where the static binaries lie.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// `target/release/rabbitc`.
    pub rabbitc: PathBuf,
    /// `target/release/rabbitc-runtime`.
    pub runtime: PathBuf,
}

/// The longest wait for `rustup target add`: a machine without network must not hang here.
const TARGET_DOWNLOAD_LIMIT: Duration = Duration::from_secs(90);

/// Builds `rabbitc` and `rabbitc-runtime` and verifies that neither needs a dynamic loader.
pub fn build() -> Result<Binaries> {
    let built = build_static(&["rabbitc", "rabbitc-runtime"])?;
    let release = process::target_directory().join("release");
    std::fs::create_dir_all(&release).naming(format_args!("create `{}`", release.display()))?;
    let binaries = Binaries { rabbitc: release.join("rabbitc"), runtime: release.join("rabbitc-runtime") };
    replace(&built[0], &binaries.rabbitc)?;
    replace(&built[1], &binaries.runtime)?;
    Ok(binaries)
}

/// Builds packages whose binary bears the package's name, and returns the verified binaries in that order.
pub fn build_static(packages: &[&str]) -> Result<Vec<PathBuf>> {
    process::announce(&format!("building {}", packages.join(" and ")));
    let target = static_target();
    let mut cargo = process::cargo();
    cargo.args(["build", "--release", "--target", &target.triple]);
    if !std::io::stderr().is_terminal() {
        cargo.arg("--quiet");
    }
    for package in packages {
        cargo.args(["--package", package]);
    }
    if let Some(commit) = commit() {
        cargo.env("RABBITC_COMMIT", commit);
    }
    let given = std::env::var("RUSTFLAGS").unwrap_or_default();
    cargo.env("RUSTFLAGS", format!("{given} {}", target.flags).trim());
    if target.triple.ends_with("-musl") {
        with_compiler_of_the_host(&mut cargo, &target.triple);
    }
    process::run(&mut cargo)?;
    let built = process::target_directory().join(&target.triple).join("release");
    let binaries: Vec<PathBuf> = packages.iter().map(|package| built.join(package)).collect();
    for binary in &binaries {
        verify_static(binary)?;
    }
    Ok(binaries)
}

/// What crates have of C is compiled by the host's own compiler, unless somebody has chosen another: it uses nothing of the C
/// library but what every one has. Where distributions have checked forms of functions put in, musl has not those.
fn with_compiler_of_the_host(cargo: &mut Command, triple: &str) {
    let triple = triple.replace('-', "_");
    for (name, value) in [("CC", "cc"), ("CFLAGS", "-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=0")] {
        let name = format!("{name}_{triple}");
        if std::env::var_os(&name).is_none() {
            cargo.env(name, value);
        }
    }
}

/// What is checked out, where this is a clone and git is there; `-dirty` says that it was changed.
fn commit() -> Option<String> {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]);
    let said = process::read(git.current_dir(process::workspace())).ok()?;
    Some(said.trim().to_owned()).filter(|commit| !commit.is_empty())
}

struct Target {
    triple: String,
    flags: &'static str,
}

/// The addresses that every execution has to put right, as a bitmap (DT_RELR) of a kilobyte and not a table of ninety.
const PACKED: &str = "-C link-arg=-Wl,-z,pack-relative-relocs";

fn static_target() -> Target {
    let architecture = std::env::consts::ARCH;
    let musl = format!("{architecture}-unknown-linux-musl");
    if has_standard_library(&musl) {
        return Target { triple: musl, flags: PACKED };
    }
    if process::find_program("rustup").is_some() {
        process::succeeds_within(
            Command::new("rustup").args(["target", "add", &musl]).current_dir(process::workspace()),
            TARGET_DOWNLOAD_LIMIT,
        );
        if has_standard_library(&musl) {
            return Target { triple: musl, flags: PACKED };
        }
    }
    // Without an explicit target the flag would reach procedural macros too, and those must be dynamic.
    Target { triple: format!("{architecture}-unknown-linux-gnu"), flags: "-C target-feature=+crt-static" }
}

fn has_standard_library(triple: &str) -> bool {
    let asked = process::read(Command::new("rustc").args(["--print", "sysroot"]));
    asked.is_ok_and(|root| {
        let libraries = Path::new(root.trim()).join("lib/rustlib").join(triple).join("lib");
        std::fs::read_dir(libraries).is_ok_and(|mut entries| entries.next().is_some())
    })
}

/// Copies beside the destination and renames: whoever runs the old binary keeps it, nobody sees half a file.
fn replace(source: &Path, destination: &Path) -> Result<()> {
    let name = destination.file_name().expect("a binary has a name").to_string_lossy();
    let fresh = destination.with_file_name(format!(".{name}.{}", std::process::id()));
    std::fs::copy(source, &fresh).naming(format_args!("copy to `{}`", fresh.display()))?;
    std::fs::rename(&fresh, destination).naming(format_args!("rename to `{}`", destination.display()))
}

/// Refuses an ELF file that asks for a dynamic loader (a PT_INTERP header).
pub fn verify_static(binary: &Path) -> Result<()> {
    let bytes = std::fs::read(binary).naming(format_args!("read `{}`", binary.display()))?;
    match asks_for_loader(&bytes) {
        Some(false) => Ok(()),
        Some(true) => Err(Failure::new(format!("`{}` is dynamically linked", binary.display()))),
        None => Err(Failure::new(format!("`{}` is no 64 bit little-endian ELF file", binary.display()))),
    }
}

/// Field offsets are those of Elf64_Ehdr and Elf64_Phdr, elf(5).
fn asks_for_loader(bytes: &[u8]) -> Option<bool> {
    const PT_INTERP: [u8; 4] = 3u32.to_le_bytes();
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = usize::try_from(u64::from_le_bytes(bytes.get(32..40)?.try_into().ok()?)).ok()?;
    let size = usize::from(u16::from_le_bytes(bytes.get(54..56)?.try_into().ok()?));
    let count = usize::from(u16::from_le_bytes(bytes.get(56..58)?.try_into().ok()?));
    for index in 0..count {
        let at = table.checked_add(index.checked_mul(size)?)?;
        if bytes.get(at..at.checked_add(4)?)? == PT_INTERP {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(kind: u32) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64..68].copy_from_slice(&kind.to_le_bytes());
        bytes
    }

    #[test]
    fn elf_with_interpreter_asks_for_loader() {
        assert_eq!(asks_for_loader(&elf(3)), Some(true));
        assert_eq!(asks_for_loader(&elf(1)), Some(false));
    }

    #[test]
    fn truncated_or_foreign_file_is_no_elf() {
        assert_eq!(asks_for_loader(b"#!/bin/sh"), None);
        assert_eq!(asks_for_loader(&elf(3)[..64]), None);
    }
}
