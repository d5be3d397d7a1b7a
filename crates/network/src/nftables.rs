//! Owns the nf_tables messages: chains and rules as this crate writes and reads them; decides nothing.

use rustix::io::Errno;

use crate::kernel::*;
use netlink::{AttributeIter, Attributes, Batch, Message, Socket, string};

pub(crate) const NFGENMSG: usize = 4;

pub(crate) fn nft(message: u16) -> u16 {
    NFNL_SUBSYS_NFTABLES << 8 | message
}

/// `struct nfgenmsg`: family, version 0, resource id in network byte order.
pub(crate) fn nfgenmsg(family: u8, resource: u16) -> [u8; NFGENMSG] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

/// A transaction under construction: everything in it happens, or nothing.
pub(crate) struct Transaction {
    batch: Batch,
    family: u8,
}

/// Names a chain in its table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChainName<'a> {
    pub table: &'a str,
    pub chain: &'a str,
}

/// Where a base chain hangs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BaseChain<'a> {
    pub kind: &'a str,
    pub hook: u32,
    pub priority: i32,
}

/// What a rule wants of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Member {
    Yes,
    No,
}

impl Transaction {
    /// Starts a transaction on tables of `family`. With a generation, it is refused with ERESTART if the
    /// ruleset has changed since that was read.
    pub fn new(family: u8, generation: Option<u32>) -> Self {
        let mut batch = Batch::new();
        let fixed = nfgenmsg(NFPROTO_UNSPEC, NFNL_SUBSYS_NFTABLES);
        batch.message(NFNL_MSG_BATCH_BEGIN, 0, &fixed, |m| {
            if let Some(generation) = generation {
                m.put_be32(NFNL_BATCH_GENID, generation);
            }
        });
        Self { batch, family }
    }

    pub(crate) fn message(&mut self, kind: u16, flags: u16, attributes: impl FnOnce(&mut Attributes<'_>)) {
        self.batch.message(nft(kind), flags, &nfgenmsg(self.family, 0), attributes);
    }

    /// Creates the table unless it exists.
    pub fn add_table(&mut self, table: &str) {
        self.message(NFT_MSG_NEWTABLE, NLM_F_CREATE, |m| m.put_string(NFTA_TABLE_NAME, table));
    }

    /// Creates the base chain unless it exists; its policy is accept.
    pub fn add_base_chain(&mut self, name: ChainName<'_>, base: BaseChain<'_>) {
        self.message(NFT_MSG_NEWCHAIN, NLM_F_CREATE, |m| {
            m.put_string(NFTA_CHAIN_TABLE, name.table);
            m.put_string(NFTA_CHAIN_NAME, name.chain);
            m.nest(NFTA_CHAIN_HOOK, |m| {
                m.put_be32(NFTA_HOOK_HOOKNUM, base.hook);
                m.put_be32(NFTA_HOOK_PRIORITY, base.priority.cast_unsigned());
            });
            m.put_be32(NFTA_CHAIN_POLICY, NF_ACCEPT.cast_unsigned());
            m.put_string(NFTA_CHAIN_TYPE, base.kind);
        });
    }

    /// Creates a chain that others jump to, unless it exists.
    pub fn add_chain(&mut self, name: ChainName<'_>) {
        self.message(NFT_MSG_NEWCHAIN, NLM_F_CREATE, |m| {
            m.put_string(NFTA_CHAIN_TABLE, name.table);
            m.put_string(NFTA_CHAIN_NAME, name.chain);
        });
    }

    /// Appends a rule; the comment is what `nft list` shows and what we know the rule by.
    pub fn add_rule(
        &mut self,
        name: ChainName<'_>,
        comment: &str,
        expressions: impl FnOnce(&mut Expressions<'_, '_>),
    ) {
        self.rule(NLM_F_CREATE | NLM_F_APPEND, name, comment, expressions);
    }

    fn rule(
        &mut self,
        flags: u16,
        name: ChainName<'_>,
        comment: &str,
        expressions: impl FnOnce(&mut Expressions<'_, '_>),
    ) {
        self.message(NFT_MSG_NEWRULE, flags, |m| {
            m.put_string(NFTA_RULE_TABLE, name.table);
            m.put_string(NFTA_RULE_CHAIN, name.chain);
            m.nest(NFTA_RULE_EXPRESSIONS, |m| expressions(&mut Expressions { list: m }));
            m.put(NFTA_RULE_USERDATA, &comment_userdata(NFTNL_UDATA_RULE_COMMENT, comment));
        });
    }

    /// Puts a rule before all others of its chain.
    pub fn insert_rule(
        &mut self,
        name: ChainName<'_>,
        comment: &str,
        expressions: impl FnOnce(&mut Expressions<'_, '_>),
    ) {
        self.rule(NLM_F_CREATE, name, comment, expressions);
    }

    /// Deletes one rule.
    pub fn delete_rule(&mut self, name: ChainName<'_>, handle: u64) {
        self.message(NFT_MSG_DELRULE, 0, |m| {
            m.put_string(NFTA_RULE_TABLE, name.table);
            m.put_string(NFTA_RULE_CHAIN, name.chain);
            m.put(NFTA_RULE_HANDLE, &handle.to_be_bytes());
        });
    }

    /// Deletes the table with all in it.
    pub fn delete_table(&mut self, table: &str) {
        self.message(NFT_MSG_DELTABLE, 0, |m| m.put_string(NFTA_TABLE_NAME, table));
    }

    /// Commits. The last change asks for the acknowledgement, which comes after the commit: kernels before
    /// 6.10 do not acknowledge the batch's end.
    pub fn commit(mut self, socket: &mut Socket) -> Result<(), Errno> {
        self.batch.acknowledge_last();
        let fixed = nfgenmsg(NFPROTO_UNSPEC, NFNL_SUBSYS_NFTABLES);
        self.batch.message(NFNL_MSG_BATCH_END, 0, &fixed, |_| ());
        socket.transact(&self.batch)
    }
}

/// User data that holds a comment.
pub(crate) fn comment_userdata(kind: u8, comment: &str) -> Vec<u8> {
    let length = u8::try_from(comment.len() + 1).expect("comments are some names and addresses");
    let mut userdata = vec![kind, length];
    userdata.extend_from_slice(comment.as_bytes());
    userdata.push(0);
    userdata
}

/// Writes the expressions of a rule, in the order in which they run; they work on register 1 where none is named.
pub(crate) struct Expressions<'a, 'b> {
    list: &'a mut Attributes<'b>,
}

impl Expressions<'_, '_> {
    fn add(&mut self, name: &str, data: impl FnOnce(&mut Attributes<'_>)) {
        self.list.nest(NFTA_LIST_ELEM, |m| {
            m.put_string(NFTA_EXPR_NAME, name);
            m.nest(NFTA_EXPR_DATA, data);
        });
    }

    /// Loads a fact about the packet.
    pub fn load_meta(&mut self, key: u32) {
        self.load_meta_into(NFT_REG_1, key);
    }

    /// Loads a fact about the packet into this register.
    pub fn load_meta_into(&mut self, register: u32, key: u32) {
        self.add("meta", |m| {
            m.put_be32(NFTA_META_KEY, key);
            m.put_be32(NFTA_META_DREG, register);
        });
    }

    /// Loads bytes of the network header.
    pub fn load_network_header(&mut self, offset: u32, length: u32) {
        self.load_header_into(NFT_REG_1, NFT_PAYLOAD_NETWORK_HEADER, offset, length);
    }

    /// Loads bytes of a header into this register; a packet without that header leaves the rule.
    pub fn load_header_into(&mut self, register: u32, base: u32, offset: u32, length: u32) {
        self.add("payload", |m| {
            m.put_be32(NFTA_PAYLOAD_DREG, register);
            m.put_be32(NFTA_PAYLOAD_BASE, base);
            m.put_be32(NFTA_PAYLOAD_OFFSET, offset);
            m.put_be32(NFTA_PAYLOAD_LEN, length);
        });
    }

    /// Loads what the destination is to this host: `RTN_LOCAL` for its own addresses.
    pub fn load_destination_type(&mut self) {
        self.add("fib", |m| {
            m.put_be32(NFTA_FIB_DREG, NFT_REG_1);
            m.put_be32(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
            m.put_be32(NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
        });
    }

    /// Loads the connection's status bits.
    pub fn load_connection_status(&mut self) {
        self.add("ct", |m| {
            m.put_be32(NFTA_CT_KEY, NFT_CT_STATUS);
            m.put_be32(NFTA_CT_DREG, NFT_REG_1);
        });
    }

    /// Puts what the map has for the key that begins in register 1 in its place, or leaves the rule.
    pub fn look_up(&mut self, map: &str) {
        self.add("lookup", |m| {
            m.put_string(NFTA_LOOKUP_SET, map);
            m.put_be32(NFTA_LOOKUP_SREG, NFT_REG_1);
            m.put_be32(NFTA_LOOKUP_DREG, NFT_REG_1);
        });
    }

    /// Goes on if what begins in register 1 is in the set, or with [`Member::No`] if it is not.
    pub fn require_in_set(&mut self, set: &str, member: Member) {
        self.add("lookup", |m| {
            m.put_string(NFTA_LOOKUP_SET, set);
            m.put_be32(NFTA_LOOKUP_SREG, NFT_REG_1);
            if member == Member::No {
                m.put_be32(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
            }
        });
    }

    /// Redirects the connection to the address that begins in register 1, and to the port in `port`.
    pub fn redirect(&mut self, family: u8, port: Option<u32>) {
        self.add("nat", |m| {
            m.put_be32(NFTA_NAT_TYPE, NFT_NAT_DNAT);
            m.put_be32(NFTA_NAT_FAMILY, family.into());
            m.put_be32(NFTA_NAT_REG_ADDR_MIN, NFT_REG_1);
            if let Some(register) = port {
                m.put_be32(NFTA_NAT_REG_PROTO_MIN, register);
            }
        });
    }

    /// Goes on in another chain of the table, and comes back from it.
    pub fn jump(&mut self, chain: &str) {
        self.verdict(NFT_JUMP, Some(chain));
    }

    /// Leaves the chain.
    pub fn leave(&mut self) {
        self.verdict(NFT_RETURN, None);
    }

    /// Lets the packet through this chain and those that led here.
    pub fn accept(&mut self) {
        self.verdict(NF_ACCEPT, None);
    }

    /// Counts packets.
    pub fn count(&mut self) {
        self.add("counter", |_| ());
    }

    /// Ends the packet.
    pub fn drop(&mut self) {
        self.verdict(NF_DROP, None);
    }

    fn verdict(&mut self, code: i32, chain: Option<&str>) {
        self.add("immediate", |m| {
            m.put_be32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
            m.nest(NFTA_IMMEDIATE_DATA, |m| {
                m.nest(NFTA_DATA_VERDICT, |m| {
                    m.put_be32(NFTA_VERDICT_CODE, code.cast_unsigned());
                    if let Some(chain) = chain {
                        m.put_string(NFTA_VERDICT_CHAIN, chain);
                    }
                });
            });
        });
    }

    /// Keeps the bits of the mask.
    pub fn mask(&mut self, mask: &[u8]) {
        let length = u32::try_from(mask.len()).expect("a register has 16 bytes");
        self.add("bitwise", |m| {
            m.put_be32(NFTA_BITWISE_SREG, NFT_REG_1);
            m.put_be32(NFTA_BITWISE_DREG, NFT_REG_1);
            m.put_be32(NFTA_BITWISE_LEN, length);
            m.nest(NFTA_BITWISE_MASK, |m| m.put(NFTA_DATA_VALUE, mask));
            m.nest(NFTA_BITWISE_XOR, |m| m.put(NFTA_DATA_VALUE, &vec![0; mask.len()]));
        });
    }

    /// Goes on if the register compares so.
    pub fn compare(&mut self, operation: u32, value: &[u8]) {
        self.add("cmp", |m| {
            m.put_be32(NFTA_CMP_SREG, NFT_REG_1);
            m.put_be32(NFTA_CMP_OP, operation);
            m.nest(NFTA_CMP_DATA, |m| m.put(NFTA_DATA_VALUE, value));
        });
    }

    /// Gives the connection the address of the interface that it leaves by.
    pub fn masquerade(&mut self) {
        self.add("masq", |_| ());
    }
}

/// The ruleset's generation: changes with every transaction.
pub(crate) fn generation(socket: &mut Socket) -> Result<u32, Errno> {
    let mut batch = Batch::new();
    batch.message(nft(NFT_MSG_GETGEN), NLM_F_ACK, &nfgenmsg(NFPROTO_UNSPEC, 0), |_| ());
    let mut generation = None;
    let failures = socket.exchange(&batch, |message| {
        if message.kind == nft(NFT_MSG_NEWGEN)
            && let Some((_, attributes)) = message.split(NFGENMSG)
        {
            generation = attributes.find_be32(NFTA_GEN_ID);
        }
    })?;
    match failures.first() {
        Some(failure) => Err(failure.errno),
        None => generation.ok_or(Errno::BADMSG),
    }
}

/// A base or other chain as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    pub family: u8,
    pub table: String,
    pub name: String,
    /// Set for base chains.
    pub hook: Option<u32>,
    /// `filter`, `nat` or `route`, for base chains.
    pub kind: Option<String>,
    /// NF_DROP or NF_ACCEPT, for base chains.
    pub policy: Option<i32>,
}

/// Every chain of every family.
pub(crate) fn chains(socket: &mut Socket) -> Result<Vec<Chain>, Errno> {
    let mut batch = Batch::new();
    batch.message(nft(NFT_MSG_GETCHAIN), NLM_F_DUMP, &nfgenmsg(NFPROTO_UNSPEC, 0), |_| ());
    let mut chains = Vec::new();
    socket.dump(&batch, |message| chains.extend(read_chain(&message)))?;
    Ok(chains)
}

fn read_chain(message: &Message<'_>) -> Option<Chain> {
    if message.kind != nft(NFT_MSG_NEWCHAIN) {
        return None;
    }
    let (fixed, attributes) = message.split(NFGENMSG)?;
    Some(Chain {
        family: fixed[0],
        table: attributes.find_string(NFTA_CHAIN_TABLE)?.to_owned(),
        name: attributes.find_string(NFTA_CHAIN_NAME)?.to_owned(),
        hook: attributes.find_nest(NFTA_CHAIN_HOOK).find_be32(NFTA_HOOK_HOOKNUM),
        kind: attributes.find_string(NFTA_CHAIN_TYPE).map(str::to_owned),
        policy: attributes.find_be32(NFTA_CHAIN_POLICY).map(u32::cast_signed),
    })
}

/// A rule, with what this crate understands of its expressions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub chain: String,
    pub handle: u64,
    pub comment: Option<String>,
    pub expressions: Vec<Expression>,
}

/// One expression of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expression {
    /// `meta`: loads this key.
    Meta(u32),
    /// `ct`: loads the connection's status bits.
    ConnectionStatus,
    /// `bitwise`: keeps these bits.
    Mask(Vec<u8>),
    /// `cmp`: this operation and value.
    Compare(u32, Vec<u8>),
    Accept,
    Drop,
    /// `reject`, by its own expression or as an iptables target.
    Reject,
    /// Jump or goto.
    Jump(String),
    /// Counters, limits of logs: the packet goes on to the next expression.
    Transparent,
    /// Anything else; most of these are conditions.
    Other,
}

/// The rules of one table, or of one chain of it, in order. A table that does not exist has none.
pub(crate) fn rules(
    socket: &mut Socket,
    family: u8,
    table: &str,
    chain: Option<&str>,
) -> Result<Vec<Rule>, Errno> {
    let mut batch = Batch::new();
    batch.message(nft(NFT_MSG_GETRULE), NLM_F_DUMP, &nfgenmsg(family, 0), |m| {
        m.put_string(NFTA_RULE_TABLE, table);
        if let Some(chain) = chain {
            m.put_string(NFTA_RULE_CHAIN, chain);
        }
    });
    let mut rules = Vec::new();
    match socket.dump(&batch, |message| rules.extend(read_rule(&message))) {
        Ok(()) | Err(Errno::NOENT) => Ok(rules),
        Err(errno) => Err(errno),
    }
}

fn read_rule(message: &Message<'_>) -> Option<Rule> {
    if message.kind != nft(NFT_MSG_NEWRULE) {
        return None;
    }
    let (_, attributes) = message.split(NFGENMSG)?;
    Some(Rule {
        chain: attributes.find_string(NFTA_RULE_CHAIN)?.to_owned(),
        handle: u64::from_be_bytes(attributes.find(NFTA_RULE_HANDLE)?.try_into().ok()?),
        comment: attributes.find(NFTA_RULE_USERDATA).and_then(read_comment),
        expressions: attributes
            .find_nest(NFTA_RULE_EXPRESSIONS)
            .map(|(_, expression)| read_expression(AttributeIter(expression)))
            .collect(),
    })
}

pub(crate) fn read_comment(mut userdata: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = userdata {
        let value = rest.get(..usize::from(*length))?;
        if *kind == NFTNL_UDATA_RULE_COMMENT {
            return string(value).map(str::to_owned);
        }
        userdata = &rest[value.len()..];
    }
    None
}

fn read_expression(expression: AttributeIter<'_>) -> Expression {
    let data = expression.find_nest(NFTA_EXPR_DATA);
    match expression.find_string(NFTA_EXPR_NAME) {
        Some("meta") => data.find_be32(NFTA_META_KEY).map_or(Expression::Other, Expression::Meta),
        Some("ct") if data.find_be32(NFTA_CT_KEY) == Some(NFT_CT_STATUS) => Expression::ConnectionStatus,
        Some("bitwise") => {
            let mask = data.find_nest(NFTA_BITWISE_MASK).find(NFTA_DATA_VALUE).unwrap_or_default();
            Expression::Mask(mask.to_vec())
        }
        Some("cmp") => {
            let value = data.find_nest(NFTA_CMP_DATA).find(NFTA_DATA_VALUE).unwrap_or_default();
            let operation = data.find_be32(NFTA_CMP_OP).unwrap_or(u32::MAX);
            Expression::Compare(operation, value.to_vec())
        }
        Some("immediate") => {
            let verdict = data.find_nest(NFTA_IMMEDIATE_DATA).find_nest(NFTA_DATA_VERDICT);
            match verdict.find_be32(NFTA_VERDICT_CODE).map(u32::cast_signed) {
                Some(NF_ACCEPT) => Expression::Accept,
                Some(NF_DROP) => Expression::Drop,
                _ => match verdict.find_string(NFTA_VERDICT_CHAIN) {
                    Some(chain) => Expression::Jump(chain.to_owned()),
                    None => Expression::Other,
                },
            }
        }
        Some("reject") => Expression::Reject,
        Some("target") if data.find_string(NFTA_TARGET_NAME) == Some("REJECT") => Expression::Reject,
        Some("counter" | "log") => Expression::Transparent,
        _ => Expression::Other,
    }
}
