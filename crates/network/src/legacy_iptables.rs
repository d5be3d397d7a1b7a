//! Owns the reading of iptables-legacy's filter table into the rules that the nftables side knows; judges
//! nothing. Layout: `struct ipt_entry` and `struct xt_entry_target` of `linux/netfilter_ipv4/ip_tables.h` and
//! `linux/netfilter/x_tables.h`.

use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use sys::iptables::LegacyTable;

use crate::kernel::*;
use crate::nftables::{Expression, Rule};
use netlink::{string, u16_at, u32_at};

/// `struct ipt_entry` before its matches and target.
const ENTRY: usize = 112;
/// `struct xt_entry_target` before its data.
const TARGET: usize = 32;
const STANDARD_DROP: i32 = -NF_DROP - 1;
const STANDARD_ACCEPT: i32 = -NF_ACCEPT - 1;

/// The filter table's rules; its chain on the forward hook is called `FORWARD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FilterTable {
    pub rules: Vec<Rule>,
    pub chains: Vec<String>,
    /// NF_DROP or NF_ACCEPT.
    pub forward_policy: i32,
}

/// Reads the table, which must exist: asking for it makes it.
pub(crate) fn filter_table() -> Result<FilterTable, Errno> {
    let socket = socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW))?;
    let table = sys::iptables::read_legacy_table(socket.as_fd(), "filter")
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    read(&table).ok_or(Errno::BADMSG)
}

struct Entry<'a> {
    offset: u32,
    bytes: &'a [u8],
    target: &'a [u8],
}

impl Entry<'_> {
    fn target_name(&self) -> &str {
        self.target.get(2..TARGET - 1).and_then(string).unwrap_or_default()
    }

    fn standard_verdict(&self) -> Option<i32> {
        if self.target_name().is_empty() { u32_at(self.target, TARGET).map(u32::cast_signed) } else { None }
    }
}

fn read(table: &LegacyTable) -> Option<FilterTable> {
    let entries = split(&table.entries)?;
    let forward = table.hook_entry[NF_INET_FORWARD as usize];
    let policy = table.underflow[NF_INET_FORWARD as usize];
    // First the names: jumps go to the offset of a chain's first rule, which follows the chain's ERROR entry.
    let mut starts = vec![(forward, "FORWARD".to_owned())];
    for pair in entries.windows(2) {
        if pair[0].target_name() == "ERROR" {
            starts.push((pair[1].offset, string(pair[0].target.get(TARGET..)?)?.to_owned()));
        }
    }
    let name_at = |offset| starts.iter().find(|(start, _)| *start == offset).map(|(_, name)| name.clone());
    let mut rules = Vec::new();
    let mut forward_policy = NF_ACCEPT;
    let mut chain = None;
    for entry in &entries {
        if let Some(name) = name_at(entry.offset) {
            chain = Some(name);
        } else if table.hook_entry.contains(&entry.offset) || entry.target_name() == "ERROR" {
            chain = None;
        }
        if entry.offset == policy {
            if entry.standard_verdict() == Some(STANDARD_DROP) {
                forward_policy = NF_DROP;
            }
            chain = None;
            continue;
        }
        let Some(chain) = &chain else { continue };
        let mut expressions = conditions(entry.bytes);
        expressions.push(match entry.standard_verdict() {
            Some(STANDARD_ACCEPT) => Expression::Accept,
            Some(STANDARD_DROP) => Expression::Drop,
            Some(jump) => {
                u32::try_from(jump).ok().and_then(name_at).map_or(Expression::Other, Expression::Jump)
            }
            None if entry.target_name() == "REJECT" => Expression::Reject,
            None => Expression::Other,
        });
        rules.push(Rule { chain: chain.clone(), handle: entry.offset.into(), comment: None, expressions });
    }
    Some(FilterTable { rules, chains: starts.into_iter().map(|(_, name)| name).collect(), forward_policy })
}

fn split(bytes: &[u8]) -> Option<Vec<Entry<'_>>> {
    let mut entries = Vec::new();
    let mut offset = 0;
    while offset < bytes.len() {
        let rest = bytes.get(offset..)?;
        let (target, next) = (usize::from(u16_at(rest, 88)?), usize::from(u16_at(rest, 90)?));
        let whole = rest.get(..next).filter(|whole| whole.len() >= ENTRY + TARGET)?;
        entries.push(Entry {
            offset: u32::try_from(offset).ok()?,
            bytes: whole,
            target: whole.get(target..).filter(|_| target >= ENTRY)?,
        });
        offset += next;
    }
    Some(entries)
}

/// The interfaces as nftables would have them, and anything else as one condition not understood.
fn conditions(entry: &[u8]) -> Vec<Expression> {
    // struct ipt_ip: src, dst, smsk, dmsk, iniface, outiface, iniface_mask, outiface_mask, proto, flags, invflags
    let (addresses, protocol_and_flags) = (&entry[..16], &entry[80..84]);
    let interfaces = [
        (NFT_META_IIFNAME, &entry[16..32], &entry[48..64]),
        (NFT_META_OIFNAME, &entry[32..48], &entry[64..80]),
    ];
    let has_matches = u16_at(entry, 88).is_none_or(|target| usize::from(target) != ENTRY);
    let mut conditions = Vec::new();
    for (key, name, mask) in interfaces {
        let compared = mask.iter().take_while(|&&byte| byte != 0).count();
        if compared > 0 {
            conditions.push(Expression::Meta(key));
            conditions.push(Expression::Compare(NFT_CMP_EQ, name[..compared].to_vec()));
        }
    }
    // IPT_F_GOTO (2) is no condition.
    let is_set = |bytes: &[u8]| bytes.iter().any(|&byte| byte != 0);
    let [_, _, flags, inverted] = *protocol_and_flags else { return vec![Expression::Other] };
    let goto_only = !is_set(&protocol_and_flags[..2]) && flags & !2 == 0 && inverted == 0;
    if has_matches || is_set(addresses) || !goto_only {
        conditions.push(Expression::Other);
    }
    conditions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scribbled_tables_are_refused_without_a_panic() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for length in 0..400 {
            let mut entries = vec![0; length];
            for byte in &mut entries {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                *byte = if random & 3 == 0 { (random >> 32) as u8 } else { 0 };
            }
            if length > 92 {
                entries[88..92].copy_from_slice(&[112, 0, 152, 0]);
            }
            let _ = read(&LegacyTable { hook_entry: [0; 5], underflow: [1; 5], entries });
        }
    }
}
