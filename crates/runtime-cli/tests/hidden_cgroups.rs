//! Commands that act on a container's cgroup where that can't be seen: they say so instead of doing nothing.

mod support;

use std::process::Command;

use support::{Bundle, errors, root_only};

#[test]
fn commands_that_need_the_cgroup_fail_where_it_is_hidden() {
    root_only!();
    let bundle = Bundle::new("hidden", &["sleep", "1000"]);
    let id = bundle.id.as_str();
    assert!(bundle.create().status.success());
    bundle.succeed(&["start", id]);
    for arguments in
        [&["pause", id][..], &["kill", "--all", id, "TERM"], &["ps", id], &["delete", "--force", id]]
    {
        // In a mount namespace of its own.
        let runtime = bundle.command(arguments);
        let mut hidden = Command::new("unshare");
        hidden.args(["--mount", "--propagation=private", "sh", "-c"]);
        hidden.arg("mount -t tmpfs none /sys/fs/cgroup && exec \"$0\" \"$@\"");
        hidden.arg(runtime.get_program()).args(runtime.get_args());
        let output = hidden.output().expect("it runs");
        assert!(!output.status.success(), "{arguments:?}: {output:?}");
        assert!(errors(&output).contains("cgroup"), "{arguments:?}: {output:?}");
    }
    // Killed it is, and its record is still there for whoever sees the group.
    bundle.succeed(&["delete", "--force", id]);
    bundle.assert_clean("after the removal");
}
