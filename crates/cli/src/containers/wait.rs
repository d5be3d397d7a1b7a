//! `rabbitc wait`: until containers have ended.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use engine::{Error, ErrorKind, Result, WaitCondition, Waited};

use super::targets::{each, named_of};
use super::{containers, mistaken, nameless, refused};
use crate::life::PlaceArguments;

/// Waits until containers have ended, one after the other, and prints the exit code of each.
#[derive(Debug, Parser)]
#[command(name = "rabbitc wait", max_term_width = 100)]
pub(crate) struct WaitArguments {
    /// Their ids, the beginnings of these, or their names
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
    /// What to wait for: `stopped`, `running`, `paused`, `removed`, `healthy` or `unhealthy`; of several, for one. What is no end prints -1
    #[arg(long, value_name = "CONDITION", value_delimiter = ',', default_value = "stopped")]
    condition: Vec<String>,
    /// How often to look at what the kernel gives no sign of: milliseconds, or `2s` [default: 250ms]
    #[arg(short, long, value_name = "TIME", default_value = "250ms", hide_default_value = true)]
    interval: String,
    /// One that is not there prints -1
    #[arg(long)]
    ignore: bool,
    /// The one that was made last
    #[arg(short, long)]
    latest: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

pub(super) fn wait(arguments: &WaitArguments) -> ExitCode {
    let asked = arguments.condition.iter().map(|one| one.parse()).collect::<Result<Vec<WaitCondition>>>();
    let asked = asked.and_then(|conditions| Ok((conditions, interval(&arguments.interval)?)));
    let (conditions, interval) = match asked {
        Ok(asked) => asked,
        Err(error) => return mistaken(&error),
    };
    if arguments.containers.is_empty() && !arguments.latest {
        return mistaken(&nameless("wait"));
    }
    let containers = match containers(&arguments.place) {
        Ok(containers) => containers,
        Err(error) => return refused(&error),
    };
    let named = named_of(&containers, &arguments.containers, arguments.latest.into());
    each(named, |_, found| {
        let code = match found.and_then(|found| containers.wait(found, &conditions, interval)) {
            Ok(Waited::Ended(code)) => code,
            Ok(Waited::Reached) => -1,
            Err(error) if arguments.ignore && error.kind == ErrorKind::NotFound => -1,
            Err(error) => return Err(error),
        };
        Ok(code.to_string())
    })
}

/// Podman's form: milliseconds, or a number with its unit.
fn interval(text: &str) -> Result<Duration> {
    let digits = text.find(|one: char| !one.is_ascii_digit() && one != '.').unwrap_or(text.len());
    let unit = match &text[digits..] {
        "" | "ms" => Some(1e-3),
        "us" | "µs" => Some(1e-6),
        "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    };
    let number = text[..digits].parse::<f64>().ok();
    let length = number.zip(unit).and_then(|(number, unit)| Duration::try_from_secs_f64(number * unit).ok());
    length.filter(|length| !length.is_zero()).ok_or_else(|| {
        let error = Error::invalid("--interval", format!("`{}` is no length of time", text.escape_debug()));
        error.with_hint("write milliseconds, or a number with its unit, such as `2s`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_milliseconds_or_have_a_unit() {
        for (text, milliseconds) in [("250ms", 250), ("100", 100), ("2s", 2000), ("1.5s", 1500)] {
            assert_eq!(interval(text).expect(text).as_millis(), milliseconds);
        }
        for text in ["", "s", "1x", "-1s", "0"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }
}
