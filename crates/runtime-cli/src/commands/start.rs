//! `start`: opens the gate at which a created container waits.

use std::os::fd::AsFd;

use lexopt::Parser;
use runtime::lifecycle;

use super::activation::{Messenger, Until};
use super::{Outcome, only_id};
use crate::args::Globals;

pub(super) const USAGE: &str = "\
Let the program of a created container begin.

Usage: rabbitc-runtime start ID
";

pub(super) fn run(parser: Parser, globals: &Globals) -> Outcome {
    let (root, id) = (globals.state(), only_id(parser, "start")?);
    // Before the program can say anything.
    let messenger = Messenger::open(&root, &id)?;
    lifecycle::start(&root, &id)?;
    if let Some(messenger) = messenger {
        let record = lifecycle::view(&root, &id)?.record;
        if let Some(pidfd) = lifecycle::init(&record) {
            messenger.carry(pidfd.as_fd(), Until::Ready { main: record.pid });
        }
    }
    Ok(0)
}
