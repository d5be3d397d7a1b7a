//! Owns the messages for sets of nf_tables whose members are single values. Decides nothing.

use crate::kernel::*;
use crate::nftables::{NFGENMSG, Transaction, nfgenmsg, nft};
use netlink::{Attributes, Batch, Socket};

/// A set of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Set<'a> {
    pub table: &'a str,
    pub name: &'a str,
    /// The type of a member as `nft` numbers it: six bits a field, for its listings only.
    pub key_type: u32,
    /// A member's length.
    pub length: u32,
}

impl Transaction {
    /// Creates the set unless it exists; `number` tells it from others of the transaction.
    pub fn add_set(&mut self, set: &Set<'_>, number: u32) {
        self.message(NFT_MSG_NEWSET, NLM_F_CREATE, |m| {
            m.put_string(NFTA_SET_TABLE, set.table);
            m.put_string(NFTA_SET_NAME, set.name);
            m.put_be32(NFTA_SET_FLAGS, 0);
            m.put_be32(NFTA_SET_KEY_TYPE, set.key_type);
            m.put_be32(NFTA_SET_KEY_LEN, set.length);
            m.put_be32(NFTA_SET_ID, number);
            // Without it `nft` reads single names backwards.
            let host_byte_order = 1_u32.to_ne_bytes();
            let userdata = [&[NFTNL_UDATA_SET_KEYBYTEORDER, 4], &host_byte_order[..]].concat();
            m.put(NFTA_SET_USERDATA, &userdata);
        });
    }

    /// Adds a member, unless it is one.
    pub fn add_member(&mut self, set: &Set<'_>, member: &[u8]) {
        self.message(NFT_MSG_NEWSETELEM, NLM_F_CREATE, |m| put_member(m, set, member));
    }

    /// Deletes a member; one that is not there is an error.
    pub fn delete_member(&mut self, set: &Set<'_>, member: &[u8]) {
        self.message(NFT_MSG_DELSETELEM, 0, |m| put_member(m, set, member));
    }
}

fn put_member(attributes: &mut Attributes<'_>, set: &Set<'_>, member: &[u8]) {
    attributes.put_string(NFTA_SET_ELEM_LIST_TABLE, set.table);
    attributes.put_string(NFTA_SET_ELEM_LIST_SET, set.name);
    attributes.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |m| {
        m.nest(NFTA_LIST_ELEM, |m| {
            m.nest(NFTA_SET_ELEM_KEY, |m| m.put(NFTA_DATA_VALUE, member));
        });
    });
}

/// Whether all of these are members, of a table of `family`: one request for each, sent at once.
pub(crate) fn are_members(socket: &mut Socket, family: u8, members: &[(&Set<'_>, &[u8])]) -> bool {
    let mut batch = Batch::new();
    for (set, member) in members {
        batch.message(nft(NFT_MSG_GETSETELEM), 0, &nfgenmsg(family, 0), |m| put_member(m, set, member));
    }
    let mut found = 0;
    let asked = socket.query(&batch, |message| {
        let is_element = message.kind == nft(NFT_MSG_NEWSETELEM) && message.split(NFGENMSG).is_some();
        found += usize::from(is_element);
    });
    asked.is_ok() && found == members.len()
}
