//! Owns the messages for maps of nf_tables: from a concatenation of fields, each a range, to data. Decides nothing.

use rustix::io::Errno;

use crate::kernel::*;
use crate::nftables::{NFGENMSG, Transaction, comment_userdata, nfgenmsg, nft, read_comment};
use netlink::{Batch, Socket};

/// How many elements go into one message: an answer that refuses it has a copy of it.
const PER_MESSAGE: usize = 100;

/// A map: key and data, each of fields that begin at multiples of 4 bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Map<'a> {
    pub table: &'a str,
    pub name: &'a str,
    /// The length of each field of the key.
    pub key: &'a [u32],
    /// The types of the key and of the data as `nft` numbers them: six bits a field, for its listings only.
    pub key_type: u32,
    pub data_type: u32,
    /// The length of the data.
    pub data: u32,
}

/// An element: every key from the first to the last, field by field, leads to the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    pub first: Vec<u8>,
    pub last: Vec<u8>,
    pub data: Vec<u8>,
    pub comment: String,
}

impl Transaction {
    /// Creates the map unless it exists; `number` tells it from others of the transaction.
    pub fn add_map(&mut self, map: &Map<'_>, number: u32) {
        let padded = |length: &u32| length.next_multiple_of(4);
        self.message(NFT_MSG_NEWSET, NLM_F_CREATE, |m| {
            m.put_string(NFTA_SET_TABLE, map.table);
            m.put_string(NFTA_SET_NAME, map.name);
            m.put_be32(NFTA_SET_FLAGS, NFT_SET_INTERVAL | NFT_SET_MAP | NFT_SET_CONCAT);
            m.put_be32(NFTA_SET_KEY_TYPE, map.key_type);
            m.put_be32(NFTA_SET_KEY_LEN, map.key.iter().map(padded).sum());
            m.put_be32(NFTA_SET_DATA_TYPE, map.data_type);
            m.put_be32(NFTA_SET_DATA_LEN, map.data);
            m.put_be32(NFTA_SET_ID, number);
            m.nest(NFTA_SET_DESC, |m| {
                m.nest(NFTA_SET_DESC_CONCAT, |m| {
                    for length in map.key {
                        m.nest(NFTA_LIST_ELEM, |m| m.put_be32(NFTA_SET_FIELD_LEN, *length));
                    }
                });
            });
        });
    }

    /// Adds elements; one that is there already is an error.
    pub fn add_elements(&mut self, table: &str, map: &str, elements: &[Element]) {
        self.elements(NFT_MSG_NEWSETELEM, NLM_F_CREATE | NLM_F_EXCL, table, map, elements);
    }

    /// Deletes elements by their keys; one that is not there is an error.
    pub fn delete_elements(&mut self, table: &str, map: &str, elements: &[Element]) {
        self.elements(NFT_MSG_DELSETELEM, 0, table, map, elements);
    }

    fn elements(&mut self, kind: u16, flags: u16, table: &str, map: &str, elements: &[Element]) {
        for some in elements.chunks(PER_MESSAGE) {
            self.message(kind, flags, |m| {
                m.put_string(NFTA_SET_ELEM_LIST_TABLE, table);
                m.put_string(NFTA_SET_ELEM_LIST_SET, map);
                m.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |m| {
                    for element in some {
                        m.nest(NFTA_LIST_ELEM, |m| {
                            m.nest(NFTA_SET_ELEM_KEY, |m| m.put(NFTA_DATA_VALUE, &element.first));
                            m.nest(NFTA_SET_ELEM_KEY_END, |m| m.put(NFTA_DATA_VALUE, &element.last));
                            if kind == NFT_MSG_NEWSETELEM {
                                m.nest(NFTA_SET_ELEM_DATA, |m| m.put(NFTA_DATA_VALUE, &element.data));
                                let comment =
                                    comment_userdata(NFTNL_UDATA_SET_ELEM_COMMENT, &element.comment);
                                m.put(NFTA_SET_ELEM_USERDATA, &comment);
                            }
                        });
                    }
                });
            });
        }
    }
}

/// What is in a map of a table of `family`; nothing if there is no such map.
pub(crate) fn elements(
    socket: &mut Socket,
    family: u8,
    table: &str,
    map: &str,
) -> Result<Option<Vec<Element>>, Errno> {
    let mut batch = Batch::new();
    batch.message(nft(NFT_MSG_GETSETELEM), NLM_F_DUMP, &nfgenmsg(family, 0), |m| {
        m.put_string(NFTA_SET_ELEM_LIST_TABLE, table);
        m.put_string(NFTA_SET_ELEM_LIST_SET, map);
    });
    let mut elements = Vec::new();
    let result = socket.dump(&batch, |message| {
        let Some((_, attributes)) = message.split(NFGENMSG) else { return };
        if message.kind != nft(NFT_MSG_NEWSETELEM) {
            return;
        }
        for (_, element) in attributes.find_nest(NFTA_SET_ELEM_LIST_ELEMENTS) {
            let element = netlink::AttributeIter(element);
            let value = |kind| element.find_nest(kind).find(NFTA_DATA_VALUE);
            let (Some(first), Some(data)) = (value(NFTA_SET_ELEM_KEY), value(NFTA_SET_ELEM_DATA)) else {
                continue;
            };
            elements.push(Element {
                first: first.to_vec(),
                last: value(NFTA_SET_ELEM_KEY_END).unwrap_or(first).to_vec(),
                data: data.to_vec(),
                comment: element.find(NFTA_SET_ELEM_USERDATA).and_then(read_comment).unwrap_or_default(),
            });
        }
    });
    match result {
        Ok(()) => Ok(Some(elements)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}
