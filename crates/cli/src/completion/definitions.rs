//! Every verb with the definition of its arguments: what completion and man pages are made of. The command line itself reads a verb
//! by its own definition alone, and never makes all of them.

use clap::{Command, CommandFactory};

use super::CompletionArguments;
use crate::args::{PlanArguments, RunArguments};
use crate::containers;
use crate::events::EventsArguments;
use crate::images;
use crate::kept;
use crate::life;
use crate::networks::NetworkVerbs;
use crate::pods::PodArguments;
use crate::secrets::SecretArguments;
use crate::system::{InfoArguments, SystemArguments};
use crate::volumes::VolumeArguments;

/// A verb.
pub(crate) struct Definition {
    /// As it is typed; those behind `image` alone have two words.
    pub(crate) verb: &'static str,
    /// What it takes.
    pub(crate) command: fn() -> Command,
}

const fn verb(verb: &'static str, command: fn() -> Command) -> Definition {
    Definition { verb, command }
}

/// All of them, in the order of their names.
pub(crate) const ALL: &[Definition] = &[
    verb("attach", life::AttachArguments::command),
    verb("commit", kept::CommitArguments::command),
    verb("completion", CompletionArguments::command),
    verb("container", life::GroupArguments::command),
    verb("cp", containers::CopyArguments::command),
    verb("create", RunArguments::command),
    verb("diff", kept::ChangesArguments::command),
    verb("events", EventsArguments::command),
    verb("exec", containers::ExecArguments::command),
    verb("explain", life::ExplainArguments::command),
    verb("export", kept::ExportArguments::command),
    verb("healthcheck", containers::HealthArguments::command),
    verb("history", images::HistoryArguments::command),
    verb("image", images::GroupArguments::command),
    verb("image diff", images::DiffArguments::command),
    verb("image exists", images::ExistsArguments::command),
    verb("image mount", images::MountArguments::command),
    verb("image prune", images::PruneArguments::command),
    verb("image tree", images::TreeArguments::command),
    verb("image unmount", images::UnmountArguments::command),
    verb("images", images::ListArguments::command),
    verb("import", images::ImportArguments::command),
    verb("info", InfoArguments::command),
    verb("inspect", images::InspectArguments::command),
    verb("kill", containers::KillArguments::command),
    verb("load", images::LoadArguments::command),
    verb("login", images::LoginArguments::command),
    verb("logout", images::LogoutArguments::command),
    verb("logs", life::LogsArguments::command),
    verb("manifest", images::ManifestArguments::command),
    verb("network", NetworkVerbs::command),
    verb("pause", containers::PauseArguments::command),
    verb("plan", PlanArguments::command),
    verb("pod", PodArguments::command),
    verb("port", containers::PortArguments::command),
    verb("ports", containers::PortsArguments::command),
    verb("ps", kept::ListArguments::command),
    verb("pull", images::PullArguments::command),
    verb("push", images::PushArguments::command),
    verb("rename", life::RenameArguments::command),
    verb("restart", life::RestartArguments::command),
    verb("rm", kept::RemoveArguments::command),
    verb("rmi", images::RemoveArguments::command),
    verb("run", RunArguments::command),
    verb("save", images::SaveArguments::command),
    verb("search", images::SearchArguments::command),
    verb("secret", SecretArguments::command),
    verb("start", life::StartArguments::command),
    verb("stats", containers::StatsArguments::command),
    verb("stop", life::StopArguments::command),
    verb("system", SystemArguments::command),
    verb("tag", images::TagArguments::command),
    verb("top", containers::TopArguments::command),
    verb("unpause", containers::UnpauseArguments::command),
    verb("untag", images::UntagArguments::command),
    verb("update", containers::UpdateArguments::command),
    verb("volume", VolumeArguments::command),
    verb("wait", containers::WaitArguments::command),
    verb("why", life::WhyArguments::command),
];

/// The definition of a verb.
pub(crate) fn find(verb: &str) -> Option<&'static Definition> {
    ALL.iter().find(|one| one.verb == verb)
}

/// The definition of what was typed, of one word or two, where that is a verb; and of how many it is.
pub(crate) fn typed(words: &[&str]) -> Option<(&'static Definition, usize)> {
    let second = words.get(1).copied().unwrap_or_default();
    let behind = match *words.first()? {
        "image" => Some(images::behind_image(second)),
        "container" => match second {
            "ls" | "list" => Some("ps"),
            "container" => None,
            verb if is_of_containers(verb) => Some(verb),
            _ => None,
        },
        _ => None,
    };
    match behind.and_then(find) {
        Some(found) => Some((found, 2)),
        None => find(words.first()?).map(|found| (found, 1)),
    }
}

/// Words behind `image` and `container`, which have no commands of their own in their definitions.
pub(crate) fn behind(group: &str) -> Vec<&'static str> {
    let own = ALL.iter().map(|one| one.verb);
    match group {
        "image" => {
            let alone = own.clone().filter(|verb| !images::behind_image(verb).is_empty());
            let with_two = own.filter_map(|verb| verb.strip_prefix("image "));
            alone.filter(|verb| *verb != "diff").chain(with_two).chain(["ls", "rm"]).collect()
        }
        "container" => own.filter(|verb| is_of_containers(verb)).chain(["ls"]).collect(),
        _ => Vec::new(),
    }
}

fn is_of_containers(verb: &str) -> bool {
    let verbs = kept::VERBS.iter().chain(&containers::VERBS).chain(&life::VERBS);
    verb != "container" && verbs.chain(&["run", "create", "inspect"]).any(|one| *one == verb)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_of_the_command_line_has_its_definition_here_under_its_own_name() {
        let verbs = images::VERBS.iter().chain(&containers::VERBS).chain(&life::VERBS).chain(&kept::VERBS);
        for verb in verbs.chain(&[
            "run",
            "create",
            "plan",
            "info",
            "events",
            "system",
            "volume",
            "network",
            "secret",
            "pod",
            "completion",
        ]) {
            assert!(find(verb).is_some(), "{verb}");
        }
        for Definition { verb, command } in ALL {
            let command = command();
            let name = command.get_name();
            let has_flags_of_run = matches!(*verb, "run" | "create");
            assert!(has_flags_of_run || name == format!("rabbitc {verb}"), "{verb}: {name}");
            assert!(command.get_about().is_some(), "{verb} says what it does");
        }
        assert!(ALL.is_sorted_by_key(|one| one.verb), "they are in order");
    }
}
