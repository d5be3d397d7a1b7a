//! `update`: changes the limits of a container that lives.

use std::path::Path;

use lexopt::{Arg, Parser};
use runtime::bundle::{read_json, read_json_from_stdin};
use runtime::rdt::{self, Schemata};
use runtime::spec::{Cpu, Memory, Pids, Resources};
use runtime::{Error, limits};

use super::{Failure, Outcome};
use crate::args::{self, Globals};
use crate::render;

pub(super) const USAGE: &str = "\
Change the limits of a container. What is not named stays as it is.

Usage: rabbitc-runtime update [OPTIONS] ID

Options:
  -r, --resources FILE       a JSON document of the form of linux.resources; - is standard input
  --blkio-weight N           10 to 1000
  --cpu-period MICROSECONDS  length of a period
  --cpu-quota MICROSECONDS   processor time within a period; -1 is no limit
  --cpu-burst MICROSECONDS   unused time that may be saved
  --cpu-share N              weight against the neighbours
  --cpu-rt-period MICROSECONDS, --cpu-rt-runtime MICROSECONDS
                             real-time tasks (cgroup v1)
  --cpu-idle N               1: run only when nobody else wants to
  --cpuset-cpus LIST, --cpuset-mems LIST
                             processors and memory nodes, such as 0-2,7
  --memory SIZE, --memory-reservation SIZE, --memory-swap SIZE
                             bytes, or with k, m, g behind; -1 is no limit
  --kernel-memory SIZE, --kernel-memory-tcp SIZE
                             without effect; no kernel has them any more
  --pids-limit N             tasks; -1 is no limit, 0 is 1
  --l3-cache-schema SCHEMA, --mem-bw-schema SCHEMA
                             lines for the container's group of resctrl (Intel RDT)
";

pub(super) fn run(mut parser: Parser, globals: &Globals) -> Outcome {
    let mut id = None;
    let mut file = None;
    let mut typed = Resources::default();
    let mut schemata = Schemata::default();
    while let Some(argument) = parser.next().map_err(args::wrong)? {
        match argument {
            Arg::Long("resources") | Arg::Short('r') => file = Some(args::path(&mut parser)?),
            Arg::Long("help") | Arg::Short('h') => return Err(Failure::Help),
            Arg::Long("l3-cache-schema") => schemata.l3_cache = Some(args::text(&mut parser)?),
            Arg::Long("mem-bw-schema") => schemata.memory_bandwidth = Some(args::text(&mut parser)?),
            Arg::Long(name) => {
                let name = name.to_owned();
                limit(&mut typed, &name, &mut parser)?;
            }
            Arg::Value(value) => args::take_id(&mut id, value)?,
            other => return Err(args::unexpected(other).into()),
        }
    }
    let id = args::need_id(id, "update")?;
    let resources = match file {
        // As runc has it: the document replaces the options.
        Some(file) => read(&file)?,
        None => typed,
    };
    let schemata = rdt::prepare(&globals.state(), &id, &schemata)?;
    for warning in limits::update(&globals.state(), &id, &resources)? {
        render::warn(globals, &warning.to_string());
    }
    schemata.write()?;
    Ok(0)
}

/// Sets the limit that option `name` stands for.
fn limit(resources: &mut Resources, name: &str, parser: &mut Parser) -> Result<(), Error> {
    let value = Value { option: format!("--{name}"), text: args::text(parser)? };
    match name {
        "blkio-weight" => {
            resources.block_io.get_or_insert_default().weight = Some(value.whole()?);
        }
        "pids-limit" => resources.pids = Some(Pids { limit: Some(value.whole()?) }),
        _ if name.starts_with("cpu") => cpu(resources.cpu.get_or_insert_default(), name, value)?,
        _ => memory(resources.memory.get_or_insert_default(), name, value)?,
    }
    Ok(())
}

fn cpu(cpu: &mut Cpu, name: &str, value: Value) -> Result<(), Error> {
    match name {
        "cpu-period" => cpu.period = Some(value.whole()?),
        "cpu-quota" => cpu.quota = Some(value.whole()?),
        "cpu-burst" => cpu.burst = Some(value.whole()?),
        "cpu-share" => cpu.shares = Some(value.whole()?),
        "cpu-rt-period" => cpu.realtime_period = Some(value.whole()?),
        "cpu-rt-runtime" => cpu.realtime_runtime = Some(value.whole()?),
        "cpu-idle" => cpu.idle = Some(value.whole()?),
        "cpuset-cpus" => cpu.cpus = Some(value.text),
        "cpuset-mems" => cpu.mems = Some(value.text),
        _ => return Err(value.unexpected()),
    }
    Ok(())
}

fn memory(memory: &mut Memory, name: &str, value: Value) -> Result<(), Error> {
    match name {
        "memory" => memory.limit = Some(value.size()?),
        "memory-reservation" => memory.reservation = Some(value.size()?),
        "memory-swap" => memory.swap = Some(value.size()?),
        "kernel-memory" => memory.kernel = Some(value.size()?),
        "kernel-memory-tcp" => memory.kernel_tcp = Some(value.size()?),
        _ => return Err(value.unexpected()),
    }
    Ok(())
}

/// What was typed behind an option.
struct Value {
    option: String,
    text: String,
}

impl Value {
    fn whole<Number: std::str::FromStr>(&self) -> Result<Number, Error> {
        self.text
            .parse()
            .map_err(|_| Error::invalid(&self.option, format!("`{}` is not a number that fits", self.text)))
    }

    fn size(&self) -> Result<i64, Error> {
        limits::parse_size(&self.text).ok_or_else(|| {
            let error = Error::invalid(&self.option, format!("`{}` is not a size", self.text));
            error.with_hint("write bytes, or a number with k, m or g behind it; -1 is no limit")
        })
    }

    fn unexpected(&self) -> Error {
        args::unexpected(Arg::Long(&self.option[2..]))
    }
}

/// A document of the form of `linux.resources`.
fn read(file: &Path) -> Result<Resources, Error> {
    if file != Path::new("-") {
        return read_json(file);
    }
    read_json_from_stdin()
}
