//! Which machine the kernel shows the program, and which nodes its memory comes from: `linux.personality` and
//! `linux.memoryPolicy`. Both are attributes of a process that it hands on, so `exec` sets them as well.

use crate::error::{Error, Result};
use crate::init::step::{InitAction, Step};
use crate::plan::{init_step, number_list};
use crate::spec::{Linux, MemoryPolicy, Personality};

/// The steps for both.
pub(crate) fn plan_machine(linux: &Linux, steps: &mut Vec<Step>) -> Result<()> {
    if let Some(personality) = &linux.personality {
        let action = InitAction::Personality { persona: persona(personality)? };
        steps.push(init_step(action, "linux.personality"));
    }
    if let Some(policy) = &linux.memory_policy {
        steps.push(init_step(memory_policy(policy)?, "linux.memoryPolicy"));
    }
    Ok(())
}

/// Execution domains (personality(2)), by their names in the specification.
const DOMAINS: [(&str, u64); 2] = [("LINUX", 0), ("LINUX32", 8)];

fn persona(personality: &Personality) -> Result<u64> {
    let Personality { domain, flags } = personality;
    if !flags.is_empty() {
        return Err(Error::invalid("linux.personality.flags", "none is defined".to_owned()));
    }
    let found = DOMAINS.iter().find(|(name, _)| name == domain);
    found.map(|(_, persona)| *persona).ok_or_else(|| {
        Error::invalid("linux.personality.domain", format!("`{domain}` is not a domain"))
            .with_hint("choose one of LINUX, LINUX32")
    })
}

/// What a mode wants of the list of nodes (set_mempolicy(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nodes {
    None,
    Some,
    Any,
}

/// Modes with their numbers (linux/mempolicy.h).
const MODES: [(&str, u32, Nodes); 7] = [
    ("MPOL_DEFAULT", 0, Nodes::None),
    ("MPOL_PREFERRED", 1, Nodes::Any),
    ("MPOL_BIND", 2, Nodes::Some),
    ("MPOL_INTERLEAVE", 3, Nodes::Some),
    ("MPOL_LOCAL", 4, Nodes::None),
    ("MPOL_PREFERRED_MANY", 5, Nodes::Some),
    ("MPOL_WEIGHTED_INTERLEAVE", 6, Nodes::Some),
];

const STATIC: u32 = 1 << 15;
const RELATIVE: u32 = 1 << 14;

/// Flags of a mode with their bits (linux/mempolicy.h).
const FLAGS: [(&str, u32); 3] = [
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ("MPOL_F_RELATIVE_NODES", RELATIVE),
    ("MPOL_F_STATIC_NODES", STATIC),
];

/// Names of the modes of `linux.memoryPolicy`.
pub fn memory_policy_modes() -> impl Iterator<Item = &'static str> {
    MODES.iter().map(|(name, ..)| *name)
}

/// Names of the flags of `linux.memoryPolicy`.
pub fn memory_policy_flags() -> impl Iterator<Item = &'static str> {
    FLAGS.iter().map(|(name, _)| *name)
}

/// No kernel is built for more nodes (`MAX_NUMNODES`, of which the logarithm is at most 10).
const MOST_NODES: usize = 1024;

fn memory_policy(policy: &MemoryPolicy) -> Result<InitAction> {
    let wrong = |field: &str, reason: String| Error::invalid(format!("linux.memoryPolicy{field}"), reason);
    let MemoryPolicy { mode, nodes: list, flags } = policy;
    let Some((_, mut number, wanted)) = MODES.iter().find(|(name, ..)| name == mode).copied() else {
        let names = memory_policy_modes().collect::<Vec<_>>().join(", ");
        let reason = format!("invalid memory policy mode `{mode}`");
        return Err(wrong(".mode", reason).with_hint(format!("choose one of {names}")));
    };
    let has_flags = !flags.is_empty();
    for (index, flag) in flags.iter().enumerate() {
        let Some((_, bit)) = FLAGS.iter().find(|(name, _)| name == flag) else {
            let names = memory_policy_flags().collect::<Vec<_>>().join(", ");
            let reason = format!("invalid memory policy flag `{flag}`");
            return Err(wrong(&format!(".flags[{index}]"), reason).with_hint(format!("choose among {names}")));
        };
        number |= bit;
    }
    if number & STATIC != 0 && number & RELATIVE != 0 {
        let reason = "nodes can't be both static and relative".to_owned();
        return Err(wrong(".flags", reason).with_hint("leave one of the flags out"));
    }
    let nodes = node_set(list)?;
    let count: u32 = nodes.iter().map(|word| word.count_ones()).sum();
    match wanted {
        Nodes::None if count > 0 => {
            let reason = format!("`{mode}` mode requires 0 nodes but got {count}");
            return Err(wrong(".nodes", reason).with_hint("leave the nodes out, or choose another mode"));
        }
        Nodes::Some if count == 0 => {
            let reason = format!("`{mode}` mode requires at least 1 node but got 0");
            return Err(wrong(".nodes", reason).with_hint("list nodes, as `0` or `0-3,7`"));
        }
        _ if count == 0 && has_flags => {
            let reason = format!("`{mode}` without nodes takes no flags");
            return Err(wrong(".flags", reason).with_hint("leave the flags out, or list nodes"));
        }
        _ => {}
    }
    Ok(InitAction::MemoryPolicy { mode: number as i32, nodes, text: describe(mode, list) })
}

fn describe(mode: &str, list: &str) -> String {
    if list.is_empty() { mode.to_owned() } else { format!("{mode} of nodes {list}") }
}

/// The bits of a list such as `0-3,7`.
fn node_set(list: &str) -> Result<Vec<u64>> {
    let mut words = Vec::new();
    if list.trim().is_empty() {
        return Ok(words);
    }
    let wrong = |part: &str| {
        let reason = format!("invalid memory policy nodes: `{part}` is no node or range of nodes");
        Error::invalid("linux.memoryPolicy.nodes", reason)
            .with_hint(format!("write a list such as `0-3,7`, of numbers below {MOST_NODES}"))
    };
    for node in number_list::ranges(list, MOST_NODES).map_err(wrong)?.into_iter().flatten() {
        if words.len() <= node / 64 {
            words.resize(node / 64 + 1, 0);
        }
        words[node / 64] |= 1u64 << (node % 64);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(mode: &str, nodes: &str, flags: &[&str]) -> Result<(i32, Vec<u64>)> {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        match memory_policy(&MemoryPolicy { mode: mode.to_owned(), nodes: nodes.to_owned(), flags })? {
            InitAction::MemoryPolicy { mode, nodes, .. } => Ok((mode, nodes)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn policy_becomes_the_numbers_of_set_mempolicy() {
        assert_eq!(policy("MPOL_DEFAULT", "", &[]).expect("legal"), (0, vec![]));
        assert_eq!(policy("MPOL_LOCAL", "", &[]).expect("legal"), (4, vec![]));
        assert_eq!(policy("MPOL_INTERLEAVE", "0-3,7", &[]).expect("legal"), (3, vec![0x8f]));
        let balanced = policy("MPOL_BIND", "64", &["MPOL_F_NUMA_BALANCING", "MPOL_F_STATIC_NODES"]);
        assert_eq!(balanced.expect("legal"), (2 | 1 << 13 | 1 << 15, vec![0, 1]));
        assert_eq!(policy("MPOL_WEIGHTED_INTERLEAVE", "1", &[]).expect("legal"), (6, vec![2]));
        assert_eq!(policy("MPOL_PREFERRED", "", &[]).expect("legal"), (1, vec![]), "the local node");
    }

    #[test]
    fn policy_that_the_kernel_would_refuse_is_refused_with_its_field() {
        for (mode, nodes, flags, field) in [
            ("", "", &[][..], ".mode: invalid memory policy mode"),
            ("BIND", "0", &[], ".mode: invalid memory policy mode"),
            ("MPOL_DEFAULT", "0-7", &[], ".nodes: `MPOL_DEFAULT` mode requires 0 nodes but got 8"),
            ("MPOL_BIND", "", &[], ".nodes: `MPOL_BIND` mode requires at least 1 node"),
            ("MPOL_BIND", "0-9876543210", &[], ".nodes: invalid memory policy node"),
            ("MPOL_BIND", "1024", &[], ".nodes: invalid memory policy node"),
            ("MPOL_BIND", "3-1", &[], ".nodes: invalid memory policy node"),
            ("MPOL_BIND", "0,", &[], ".nodes: invalid memory policy node"),
            ("MPOL_BIND", "+1", &[], ".nodes: invalid memory policy node"),
            ("MPOL_BIND", "0", &["bad"], ".flags[0]: invalid memory policy flag `bad`"),
            ("MPOL_BIND", "0", &["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"], ".flags: "),
            ("MPOL_PREFERRED", "", &["MPOL_F_STATIC_NODES"], ".flags: "),
        ] {
            let error = policy(mode, nodes, flags).expect_err(field).to_string();
            assert!(error.starts_with(&format!("linux.memoryPolicy{field}")), "{error}");
        }
    }

    #[test]
    fn personality_is_a_domain_without_flags() {
        let of = |domain: &str, flags: &[&str]| {
            let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
            persona(&Personality { domain: domain.to_owned(), flags })
        };
        assert_eq!((of("LINUX", &[]).expect("legal"), of("LINUX32", &[]).expect("legal")), (0, 8));
        let error = of("linux32", &[]).expect_err("refused").to_string();
        assert!(error.starts_with("linux.personality.domain: "), "{error}");
        let error = of("LINUX", &["X"]).expect_err("refused").to_string();
        assert!(error.starts_with("linux.personality.flags: "), "{error}");
    }
}
