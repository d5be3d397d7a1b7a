//! The OCI runtime's command line. Owns the process: its arguments, its messages, its exit code; whatever happens to
//! containers, the `runtime` crate does.

mod args;
mod commands;
mod log;
mod render;

use std::process::ExitCode;

use runtime::Error;

use crate::args::Start;
use crate::commands::Failure;

#[global_allocator]
static ALLOCATOR: sys::allocator::Allocator = sys::allocator::Allocator::new();

fn main() -> ExitCode {
    let mut parser = lexopt::Parser::from_env();
    let (globals, verb) = match args::globals(&mut parser) {
        Ok(Start::Verb(globals, verb)) => (globals, verb),
        Ok(Start::Print(text)) => return render::print(&text),
        Err(error) => return render::fail(&args::Globals::default(), &error, 1),
    };
    if let Some(path) = &globals.log
        && let Err(error) = log::open(path)
    {
        // Whoever names one reads there, and nowhere else, why a container did not start.
        let error = Error::at_path("open the log", path, error)
            .from_field("--log")
            .with_hint("name a file in a directory that is there, or leave `--log` out");
        return render::fail(&args::Globals::default(), &error, 1);
    }
    if matches!(verb.as_str(), "run" | "create" | "start" | "exec") {
        // These have a process in a container that is this program until it executes the container's.
        let protected =
            runtime::host_binary::protect(c"rabbitc-runtime", std::env::args_os(), std::env::vars_os());
        if let Err(error) = protected {
            return render::fail(&globals, &error, 1);
        }
    }
    // An ignored SIGCHLD, which every parent can hand down, would throw exit statuses away.
    sys::signal::reset_dispositions();
    match commands::run(&verb, parser, &globals) {
        Ok(code) => ExitCode::from(code),
        Err(Failure::Failed { error, code }) => render::fail(&globals, &error, code),
        Err(Failure::Help) => ExitCode::SUCCESS,
    }
}
