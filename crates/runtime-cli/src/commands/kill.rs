//! `kill`: sends a signal to a container's init, or to all of its processes.

use lexopt::{Arg, Parser, ValueExt};
use runtime::lifecycle::{self, Target};
use runtime::{Error, Signal};

use super::{Failure, Outcome};
use crate::args::{self, Globals};

pub(super) const USAGE: &str = "\
Send a signal to a container: a name with or without SIG, or a number; 0 only looks whether it runs.

Usage: rabbitc-runtime kill [OPTIONS] ID [SIGNAL]

Options:
  -a, --all  to all of its processes, also when its init has ended
";

pub(super) fn run(mut parser: Parser, globals: &Globals) -> Outcome {
    let mut id = None;
    let mut signal = None;
    let mut target = Target::Init;
    while let Some(argument) = parser.next().map_err(args::wrong)? {
        match argument {
            Arg::Long("all") | Arg::Short('a') => {
                target = if args::switch(&mut parser)? { Target::All } else { Target::Init };
            }
            Arg::Long("help") | Arg::Short('h') => return Err(Failure::Help),
            Arg::Value(value) if id.is_some() => {
                if signal.is_some() {
                    let reason = format!("`{}` is one argument too many", value.to_string_lossy());
                    return Err(Error::invalid("read the arguments", reason).into());
                }
                signal = Some(parse_signal(&value.string().map_err(args::wrong)?)?);
            }
            Arg::Value(value) => args::take_id(&mut id, value)?,
            // `kill ID -9`, as one writes it for kill(1).
            Arg::Short(digit) if id.is_some() && signal.is_none() && digit.is_ascii_digit() => {
                let rest = parser.optional_value().map(|rest| rest.to_string_lossy().into_owned());
                signal = Some(parse_signal(&format!("{digit}{}", rest.unwrap_or_default()))?);
            }
            other => return Err(args::unexpected(other).into()),
        }
    }
    let id = args::need_id(id, "kill")?;
    lifecycle::kill(&globals.state(), &id, signal.unwrap_or(Signal::TERM), target)?;
    Ok(0)
}

/// As kill(2), with 0 for a look whether there is somebody.
fn parse_signal(text: &str) -> Result<Signal, Error> {
    if text == "0" { Ok(Signal::NONE) } else { Signal::parse(text) }
}
