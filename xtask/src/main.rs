//! What a developer or CI runs: build, test, demo, bench, soak, torture, guest, graph, man, docs, ci. Reads the arguments, calls one
//! task, prints its failure; everything else is in the module of that task's name.

mod bench;
mod build;
mod cgroup_view;
mod ci;
mod demo;
mod docs;
mod graph;
mod guest;
mod man;
mod packages;
mod private_apt;
mod process;
mod remains;
mod rootfs;
mod soak;
mod tally;
mod test;
mod torture;
mod unpacked;

use std::ffi::OsString;
use std::process::ExitCode;

use process::{Failure, Result};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  build                     static binaries into target/release
  test [FILTER…]            installs what the tests need and runs all of them
  demo                      shows what rabbitc does, step by step
  bench [--rounds N] [--only start|life|adds|throughput|networks|images|everyday] [--runtimes newest|installed] [--format json]
                            start latency against crun, runc, podman and the bare kernel, and images
                            and everyday verbs against podman, docker and containerd
  soak [--containers N]     thousands of containers, after which there must be no more of anything than before
  torture [--megabytes N]   a gigabyte of numbered lines through each driver of logs: none may be lost or torn
  guest prepare             makes the user-mode Linux guest with cgroup v2
  guest run [--systemd] COMMAND…
                            runs a shell command in it, in /host (this directory)
  guest test                the small suite that CI runs in it
  graph                     checks the arrows between the crates, and where unsafe code is
  man                       writes the man pages into target/man
  docs [--check]            writes the generated pages, or says which are stale
  ci                        everything that .ci/run runs
";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match dispatch(&arguments) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[OsString]) -> Result<u8> {
    let Some((command, rest)) = arguments.split_first() else {
        eprint!("{USAGE}");
        return Ok(2);
    };
    match (command.to_str().unwrap_or_default(), rest) {
        (name, words) if asks_for_help(name, words) => {
            print!("{USAGE}");
            Ok(0)
        }
        ("build", []) => {
            let built = build::build()?;
            println!("{}\n{}", built.rabbitc.display(), built.runtime.display());
            Ok(0)
        }
        ("test", filters) => test::command(filters),
        ("demo", []) => demo::demo().map(|()| 0),
        ("bench", options) => bench::command(options).map(|()| 0),
        ("soak", options) => soak::command(options).map(|()| 0),
        ("torture", options) => torture::command(options).map(|()| 0),
        ("guest", words) => guest::command(words),
        ("graph", []) => graph::check().map(|()| 0),
        ("man", []) => man::write().map(|()| 0),
        ("docs", []) => docs::write().map(|()| 0),
        ("docs", [flag]) if flag == "--check" => docs::check().map(|()| 0),
        ("ci", []) => ci::ci(),
        // The part of bench that runs inside its private view of cgroups and network.
        ("bench-inside", options) => bench::inside(options).map(|()| 0),
        // Likewise that of soak.
        ("soak-inside", options) => soak::inside(options).map(|()| 0),
        ("torture-inside", options) => torture::inside(options).map(|()| 0),
        // The server of bench's throughput.
        ("bench-serve", words) => {
            bench::throughput::serve(words.first().and_then(|word| word.to_str())).map(|()| 0)
        }
        ("build" | "demo" | "graph" | "man" | "docs" | "ci", [word, ..]) => {
            Err(Failure::new(format!("no such option: `{}`", word.to_string_lossy()))
                .hint("`cargo xtask help` lists them"))
        }
        _ => Err(Failure::new(format!("no such command: `{}`", command.to_string_lossy()))
            .hint("`cargo xtask help` lists them")),
    }
}

/// Asked for anywhere, so that nobody who looks first starts an hour of work. Behind `guest run` stands a command of the
/// guest's, with options of its own.
fn asks_for_help(command: &str, words: &[OsString]) -> bool {
    let is_help = |word: &OsString| word == "--help" || word == "-h";
    let own = match (command, words) {
        ("help" | "--help" | "-h", _) => return true,
        ("guest", [verb, rest @ ..]) if verb == "run" => &rest[..rest.len().min(1)],
        _ => words,
    };
    own.iter().any(is_help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> bool {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        asks_for_help(words[0].to_str().expect("text"), &words[1..])
    }

    #[test]
    fn help_is_asked_for_with_any_command() {
        for line in
            ["help", "-h", "demo --help", "test --help", "test some_filter -h", "bench --rounds 3 --help"]
        {
            assert!(asked(line), "{line}");
        }
        assert!(!asked("test help"));
    }

    #[test]
    fn option_of_the_guests_command_is_not_ours() {
        assert!(asked("guest run --help"));
        assert!(!asked("guest run ls --help"));
    }
}
