//! The OCI runtime's command line. Owns the process: its arguments, its messages, its exit code; whatever happens to
//! containers, the `runtime` crate does.

mod args;
mod commands;
mod log;
mod render;

use std::process::ExitCode;

use runtime::{Error, host_binary};

use crate::args::Start;
use crate::commands::Failure;

#[global_allocator]
static ALLOCATOR: sys::allocator::Allocator = sys::allocator::Allocator::new();

/// The verbs of which a process in a container is this program until it executes the container's.
const ENTERING: [&str; 4] = ["run", "create", "start", "exec"];

fn main() -> ExitCode {
    // An ignored SIGCHLD, which every parent can hand down, would throw exit statuses away.
    sys::signal::keep_children();
    // Before the command line is read, as it would be read a second time after: it may be another's argument that is a verb.
    let protected = match std::env::args_os().any(|word| ENTERING.iter().any(|verb| word == *verb)) {
        true => host_binary::protect(c"rabbitc-runtime", std::env::args_os(), std::env::vars_os()).map(Some),
        false => Ok(None),
    };
    let mut parser = lexopt::Parser::from_env();
    let (globals, verb) = match args::globals(&mut parser) {
        Ok(Start::Verb(globals, verb)) => (globals, verb),
        Ok(Start::Print(text)) => return render::print(&text),
        Err(error) => return render::fail(&args::Globals::default(), "", &error, 1),
    };
    if let Some(path) = &globals.log
        && let Err(error) = log::open(path)
    {
        // Whoever names one reads there, and nowhere else, why a container did not start.
        let error = Error::at_path("open the log", path, error)
            .from_field("--log")
            .with_hint("name a file in a directory that is there, or leave `--log` out");
        return render::fail(&args::Globals::default(), &verb, &error, 1);
    }
    if ENTERING.contains(&verb.as_str()) {
        match protected {
            Ok(protection) => commands::tell_protected(&globals, protection),
            Err(error) => return render::fail(&globals, &verb, &error, 1),
        }
    }
    match commands::run(&verb, parser, &globals) {
        Ok(code) => ExitCode::from(code),
        Err(Failure::Failed { error, code }) => render::fail(&globals, &verb, &error, code),
        Err(Failure::Help) => ExitCode::SUCCESS,
    }
}
