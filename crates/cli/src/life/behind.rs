//! The internal verbs of the process behind a container: `internal-start`, `internal-end`, `internal-adopt`; and those of what looks after its
//! health, `internal-check` and `internal-heal`.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;

use engine::{ADOPT, BEGIN, Begun, CHECK, END, Ended, EnginePaths, HEAL, Result, Standing};

use crate::given::Given;
use crate::images::print;
use crate::manner::start_code;
use crate::render;
use crate::run::tidy_later;

/// Whether a first word is one of them.
pub(crate) fn is_behind_verb(verb: Option<&OsStr>) -> bool {
    verb.is_some_and(|verb| [BEGIN, END, ADOPT, CHECK, HEAL].iter().any(|one| verb == *one))
}

/// Does what the verb says; becomes the monitor of the container if that runs then.
pub(crate) fn stand(arguments: &[OsString]) -> ExitCode {
    let Some((verb, arguments)) = arguments.split_first() else { return ExitCode::from(crate::FAILED) };
    match verb.to_str() {
        Some(BEGIN) => begin(arguments),
        Some(CHECK) => check(arguments),
        Some(HEAL) => done(engine::heal(arguments)),
        Some(END) => finish(engine::end(arguments).map(Some), arguments),
        _ => finish(engine::adopt(arguments), arguments),
    }
}

fn begin(arguments: &[OsString]) -> ExitCode {
    match engine::begin(arguments) {
        Ok(Begun::Before) => ExitCode::SUCCESS,
        Ok(Begun::Now(standing)) => {
            standing.notices.iter().for_each(render::notice);
            let published = standing.chosen_ports.iter();
            published.for_each(|port| render::information(&format!("published {port}")));
            become_monitor(*standing)
        }
        Err(failed) => {
            render::failed_start(&failed.error, &Given::earlier(failed.flags));
            start_code(&failed.error)
        }
    }
}

/// Tells the monitor when the next check is due.
fn check(arguments: &[OsString]) -> ExitCode {
    done(engine::check(arguments).and_then(|next| match next {
        Some(next) => print(&format!("{}\n", next.as_millis())),
        None => print("never\n"),
    }))
}

fn done(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            render::error(&error);
            ExitCode::from(crate::FAILED)
        }
    }
}

fn finish(ended: Result<Option<Ended>>, arguments: &[OsString]) -> ExitCode {
    match ended {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(Ended::Over { remains })) => {
            remains.iter().for_each(render::error);
            if let Some(base) = arguments.get(2) {
                tidy_later(&EnginePaths::below(PathBuf::from(base)), None);
            }
            if remains.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(crate::FAILED) }
        }
        Ok(Some(Ended::Again(standing))) => become_monitor(*standing),
        Err(error) => {
            render::error(&error);
            ExitCode::from(crate::FAILED)
        }
    }
}

fn become_monitor(standing: Standing) -> ExitCode {
    // Returns only where it could not.
    render::error(&standing.stand());
    ExitCode::from(crate::FAILED)
}
