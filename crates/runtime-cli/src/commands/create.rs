//! `create`: makes a container whose program waits to be started.

use lexopt::Parser;
use runtime::plan::Start;

use super::{Outcome, launching};
use crate::args::Globals;

pub(super) const USAGE: &str = "\
Make a container from a bundle; its program waits until `start`.

Usage: rabbitc-runtime create [OPTIONS] ID

Options:
  -b, --bundle DIR           the bundle [.]
      --pid-file FILE        write the pid of the container's init to FILE
      --console-socket PATH  send the terminal's other end to this socket
      --pidfd-socket PATH    send a descriptor of the container's init to this socket
      --preserve-fds N       hand down N descriptors, from 3 on
      --no-new-keyring       keep the caller's session keyring
      --no-pivot             move the root onto `/` instead of pivot_root, on a host whose root is a ramdisk
  -f, --config FILE          this in the place of the bundle's config.json
";

pub(super) fn run(parser: Parser, globals: &Globals) -> Outcome {
    let arguments = launching::parse(parser, "create")?;
    launching::bring_up(globals, &arguments, Start::AtGate)?;
    Ok(0)
}
