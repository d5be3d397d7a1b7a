//! Owns the lines of `--debug` that name the stages of a start as runc's log does, for the scripts that look for them.
//! Must tell of nothing but what has happened.

use runtime::Executed;
use runtime::host_binary::Protection;
use runtime::plan::ContainerPlan;

use crate::args::Globals;
use crate::render;

/// What this program, which enters a container, itself runs from: not the host's file as it lies there. Scripts look for
/// the whole of runc's sentences, its name among it.
pub(crate) fn tell_protected(globals: &Globals, protection: Option<Protection>) {
    if protection == Some(Protection::Overlay) {
        render::debug(globals, "runc exeseal: using overlayfs for sealed /proc/self/exe");
    }
    if protection.is_some() {
        render::debug(globals, "runc exeseal: using /proc/self/exe clone");
    }
}

/// A container's process that has its namespaces, ran its steps, and left its end of the socket to the kernel to close.
pub(super) fn tell_launched(globals: &Globals, plan: &ContainerPlan, pid: i32) {
    if !globals.debug {
        return;
    }
    render::debug(globals, &format!("nsexec container setup: process {pid} has its namespaces"));
    render::debug(globals, "child process in init(): its steps are done");
    if let Some(flags) = plan.filter_flags() {
        render::debug(globals, &format!("seccomp filter flags: {flags}"));
    }
    render::debug(globals, "init: closing the pipe to signal completion");
}

/// A program that joined a container.
pub(super) fn tell_executed(globals: &Globals, executed: &Executed) {
    if !globals.debug {
        return;
    }
    let pid = executed.pid;
    if let Some(mask) = executed.initial_affinity {
        render::debug(globals, &format!("nsexec[{pid}]: affinity: {mask:#x}"));
    }
    render::debug(globals, &format!("nsexec container setup: process {pid} joined the namespaces"));
    render::debug(globals, "child process in init(): its steps are done");
    render::debug(globals, "setns_init: about to exec");
}
