//! Owns the bytes of the few D-Bus messages that systemd is asked with: writing calls, reading what comes back.
//! Must not know sockets or units. After the D-Bus specification, "Message Protocol" and "Marshaling".

/// Longest message that is read, in bytes: a hundred times what systemd sends here. The specification allows more.
pub(crate) const LONGEST: usize = 1 << 20;

/// Bytes of a header up to the length of its fields: enough to know how long the message is.
pub(crate) const FIXED: usize = 16;

// Kinds of messages.
const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

// Codes of header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// Writes values, little endian, each aligned to its size.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn align(&mut self, boundary: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(boundary), 0);
    }

    /// A value of as many bytes as its alignment: `y`, `n`, `q`, `i`, `u`, `x`, `t`, `d`, little endian.
    pub(crate) fn fixed(&mut self, bytes: &[u8]) {
        self.align(bytes.len());
        self.bytes.extend(bytes);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.fixed(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.fixed(&value.to_le_bytes());
    }

    /// `b`.
    pub(crate) fn boolean(&mut self, value: bool) {
        self.u32(u32::from(value));
    }

    /// `s` and `o`.
    pub(crate) fn string(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    /// `g`.
    pub(crate) fn signature(&mut self, text: &str) {
        self.bytes.push(text.len() as u8);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    /// `a…`, whose elements are aligned to `boundary`; the padding before the first does not count.
    pub(crate) fn array(&mut self, boundary: usize, elements: impl FnOnce(&mut Writer)) {
        self.u32(0);
        let length_at = self.bytes.len() - 4;
        self.align(boundary);
        let start = self.bytes.len();
        elements(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// `(…)`: its members follow.
    pub(crate) fn structure(&mut self, members: impl FnOnce(&mut Writer)) {
        self.align(8);
        members(self);
    }

    /// `v`.
    pub(crate) fn variant(&mut self, signature: &str, value: impl FnOnce(&mut Writer)) {
        self.signature(signature);
        value(self);
    }
}

/// A method call.
pub(crate) struct Call<'a> {
    pub(crate) destination: &'a str,
    pub(crate) path: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) member: &'a str,
    /// Types of the body.
    pub(crate) signature: &'a str,
    pub(crate) body: Writer,
}

impl Call<'_> {
    pub(crate) fn encode(&self, serial: u32) -> Vec<u8> {
        let mut message = Writer { bytes: vec![b'l', METHOD_CALL, 0, 1] };
        message.u32(self.body.bytes.len() as u32);
        message.u32(serial);
        message.array(8, |fields| {
            let mut field = |code: u8, signature: &str, text: &str| {
                fields.structure(|field| {
                    field.bytes.push(code);
                    field.variant(signature, |value| match signature {
                        "g" => value.signature(text),
                        _ => value.string(text),
                    });
                });
            };
            field(PATH, "o", self.path);
            field(INTERFACE, "s", self.interface);
            field(MEMBER, "s", self.member);
            field(DESTINATION, "s", self.destination);
            if !self.signature.is_empty() {
                field(SIGNATURE, "g", self.signature);
            }
        });
        message.align(8);
        message.bytes.extend(&self.body.bytes);
        message.bytes
    }
}

/// Reads values; nothing where the bytes end or make no sense.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn align(&mut self, boundary: usize) {
        self.at = self.at.next_multiple_of(boundary);
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.align(4);
        let bytes = self.take(4)?.try_into().ok()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// `s` and `o`.
    pub(crate) fn string(&mut self) -> Option<&'a str> {
        let length = self.u32()? as usize;
        let text = self.take(length)?;
        self.take(1)?;
        std::str::from_utf8(text).ok()
    }

    /// `v` that holds a string.
    pub(crate) fn text_variant(&mut self) -> Option<&'a str> {
        (self.signature()? == "s").then(|| self.string())?
    }

    fn signature(&mut self) -> Option<&'a str> {
        let length = usize::from(*self.take(1)?.first()?);
        let text = self.take(length)?;
        self.take(1)?;
        std::str::from_utf8(text).ok()
    }
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// The answer to call `serial`.
    Return { serial: u32 },
    /// The refusal of call `serial`.
    Error { serial: u32, name: String },
    /// Something happened.
    Signal { member: String },
    /// A call to us; nobody has a reason to.
    Other,
}

/// How long the message is whose first [`FIXED`] bytes are these; nothing when they begin none, or one too long.
pub(crate) fn length(fixed: &[u8; FIXED]) -> Option<usize> {
    let big_endian = endianness(fixed[0])?;
    let mut reader = Reader { bytes: fixed, at: 4, big_endian };
    let body = reader.u32()? as usize;
    reader.u32()?;
    let fields = reader.u32()? as usize;
    let whole = FIXED.checked_add(fields)?.checked_next_multiple_of(8)?.checked_add(body)?;
    (whole <= LONGEST).then_some(whole)
}

fn endianness(byte: u8) -> Option<bool> {
    match byte {
        b'l' => Some(false),
        b'B' => Some(true),
        _ => None,
    }
}

/// A whole message and its body.
pub(crate) fn decode(bytes: &[u8]) -> Option<(Message, Reader<'_>)> {
    let big_endian = endianness(*bytes.first()?)?;
    let kind = *bytes.get(1)?;
    let mut reader = Reader { bytes, at: 12, big_endian };
    let fields_end = FIXED.checked_add(reader.u32()? as usize)?;
    let (mut member, mut error, mut reply) = (None, None, None);
    while reader.at < fields_end {
        reader.align(8);
        let code = *reader.take(1)?.first()?;
        match (code, reader.signature()?) {
            (MEMBER, "s") => member = Some(reader.string()?.to_owned()),
            (ERROR_NAME, "s") => error = Some(reader.string()?.to_owned()),
            (REPLY_SERIAL, "u") => reply = Some(reader.u32()?),
            (_, "s" | "o") => drop(reader.string()?),
            (_, "g") => drop(reader.signature()?),
            (_, "u") => drop(reader.u32()?),
            _ => return None,
        }
    }
    let message = match kind {
        METHOD_RETURN => Message::Return { serial: reply? },
        ERROR => Message::Error { serial: reply?, name: error? },
        SIGNAL => Message::Signal { member: member? },
        _ => Message::Other,
    };
    reader.at = fields_end.next_multiple_of(8);
    Some((message, reader))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Vec<u8> {
        let mut body = Writer::default();
        body.string("a");
        body.array(8, |list| list.structure(|entry| entry.variant("t", |value| value.u64(7))));
        let call =
            Call { destination: "d.e", path: "/p", interface: "i.f", member: "Do", signature: "sa(v)", body };
        call.encode(3)
    }

    #[test]
    fn call_is_laid_out_as_the_specification_says() {
        let bytes = call();
        assert_eq!(&bytes[..4], [b'l', 1, 0, 1]);
        // Length of the body: a string of 6 bytes, padding to 8, the array's length at 8, its element at 16: the
        // signature takes 3 bytes, the number is at 24.
        assert_eq!(bytes[4..8], 32_u32.to_le_bytes());
        assert_eq!(bytes[8..12], 3_u32.to_le_bytes());
        let whole = length(bytes[..FIXED].try_into().expect("sixteen bytes")).expect("a length");
        assert_eq!(whole, bytes.len());
        let body = &bytes[bytes.len() - 32..];
        assert_eq!(body[..6], *b"\x01\0\0\0a\0");
        assert_eq!(body[8..12], 16_u32.to_le_bytes());
        assert_eq!(body[16..19], *b"\x01t\0");
        assert_eq!(body[24..], 7_u64.to_le_bytes());
    }

    /// A signal with a body of one number and two strings, as systemd's `JobRemoved` has.
    fn signal() -> Vec<u8> {
        let mut bytes = call();
        bytes[1] = SIGNAL;
        bytes
    }

    #[test]
    fn signal_is_read_with_its_body() {
        let bytes = signal();
        let (message, mut body) = decode(&bytes).expect("a message");
        assert_eq!(message, Message::Signal { member: "Do".to_owned() });
        assert_eq!(body.string(), Some("a"));
        assert_eq!(body.u32(), Some(16));
    }

    #[test]
    fn cut_and_scribbled_messages_end_without_a_panic() {
        let bytes = signal();
        for end in 0..bytes.len() {
            if let Some((_, mut body)) = decode(&bytes[..end]) {
                while body.string().is_some() {}
            }
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] = value;
                let _ = length(bytes[..FIXED].try_into().expect("sixteen bytes"));
                if let Some((_, mut body)) = decode(&bytes) {
                    while body.string().is_some() {}
                }
            }
        }
    }

    #[test]
    fn message_that_claims_too_much_is_refused() {
        let mut fixed: [u8; FIXED] = signal()[..FIXED].try_into().expect("sixteen bytes");
        fixed[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(length(&fixed), None);
        fixed[0] = b'x';
        assert_eq!(length(&fixed), None);
    }
}
