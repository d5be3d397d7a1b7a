//! Everything that .ci/run runs, in order of price; a failed check does not stop the others.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::process::{self, Failure, Result};
use crate::tally::{Checked, Tally};
use crate::{docs, graph, test};

/// Runs all checks, prints the closing line, returns the exit status.
pub fn ci() -> Result<u8> {
    let mut tally = Tally::default();
    let held = |result: Result<()>| result.map(|()| Checked::Held);
    tally.check("rustfmt and clippy are installed", || held(components()));
    tally.check("formatting", || {
        held(process::run(process::cargo().args(["fmt", "--all", "--check", "--", "--files-with-diff"])))
    });
    tally.check("crate graph", || held(graph::check()));
    tally.check("clippy", || {
        let mut clippy = process::cargo();
        clippy.args([
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ]);
        held(process::run(&mut clippy))
    });
    tally.check("rustdoc", || {
        let mut doc = process::cargo();
        doc.args(["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items", "--locked"]);
        held(process::run(doc.env("RUSTDOCFLAGS", "-D warnings")))
    });
    tally.check("generated pages", || held(docs::check()));
    dependencies(&mut tally);
    if let Err(failure) = test::run(&[], &mut tally) {
        println!("FAILED: tests: {failure}");
        tally.failed += 1;
    }
    Ok(u8::from(!tally.close()))
}

/// Toolchains of the minimal profile come without them.
fn components() -> Result<()> {
    let works = |tool: &str| {
        process::output(process::cargo().args([tool, "--version"]))
            .is_ok_and(|output| output.status.success())
    };
    if works("fmt") && works("clippy") {
        return Ok(());
    }
    process::run(Command::new("rustup").args(["component", "add", "rustfmt", "clippy"]))
}

/// cargo-deny: licences, bans and sources always; advisories where their database can be reached.
fn dependencies(tally: &mut Tally) {
    let deny = match cargo_deny() {
        Ok(deny) => deny,
        Err(failure) => {
            println!("skipped: dependencies (2 checks): {failure}");
            tally.skipped += 2;
            return;
        }
    };
    let check = |what: &[&str]| {
        let mut command = Command::new(&deny);
        command.current_dir(process::workspace()).args(["--color", "never", "check"]).args(what);
        process::output(&mut command)
    };
    tally.check("licences, bans and sources of dependencies", || {
        let output = check(&["--hide-inclusion-graph", "licenses", "bans", "sources"])?;
        if output.status.success() {
            return Ok(Checked::Held);
        }
        Err(Failure::new(String::from_utf8_lossy(&output.stderr).into_owned()))
    });
    tally.check("security advisories of dependencies", || {
        let output = check(&["advisories"])?;
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.success() {
            true => Ok(Checked::Held),
            false if said.contains("failed to fetch advisory database") => {
                Ok(Checked::Skipped("the advisory database cannot be reached".into()))
            }
            false => Err(Failure::new(said.into_owned())),
        }
    });
}

/// Where cargo-deny is: installed by the user, or built once into `target/tools`.
fn cargo_deny() -> Result<PathBuf> {
    const LIMIT: Duration = Duration::from_secs(600);
    if let Some(found) = process::find_program("cargo-deny") {
        return Ok(found);
    }
    let tools = process::target_directory().join("tools");
    let binary = tools.join("bin/cargo-deny");
    if binary.is_file() {
        return Ok(binary);
    }
    eprintln!("building cargo-deny into `{}`", tools.display());
    let build = tools.join("build");
    let mut install = process::cargo();
    // It runs for a second; an optimised build of it would take minutes.
    install.args(["install", "--quiet", "--locked", "--debug", "cargo-deny", "--root"]).arg(&tools);
    install.env("CARGO_TARGET_DIR", &build).env("CARGO_PROFILE_DEV_DEBUG", "0");
    let installed = process::succeeds_within(&mut install, LIMIT);
    // Best effort: it is only disk space.
    let _ = std::fs::remove_dir_all(&build);
    if installed {
        return Ok(binary);
    }
    Err(Failure::new("cargo-deny is not installed, and `cargo install cargo-deny` did not succeed"))
}
