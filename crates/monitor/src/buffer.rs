//! Owns a queue of bytes of fixed size between a reader and a writer of different speed. Must not grow.

/// Bytes that were read and are not yet written.
pub(crate) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(crate) fn with_size(size: usize) -> Buffer {
        Buffer { bytes: vec![0; size].into_boxed_slice(), start: 0, end: 0 }
    }

    /// Where to read into: all the room there is.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        &mut self.bytes[self.end..]
    }

    /// How many bytes still fit.
    pub(crate) fn room_left(&self) -> usize {
        self.bytes.len() - (self.end - self.start)
    }

    /// Tells that the first `count` bytes of [`Buffer::room`] have been filled.
    pub(crate) fn filled(&mut self, count: usize) {
        self.end += count;
        debug_assert!(self.end <= self.bytes.len());
    }

    /// Adds one byte where there is room for it.
    pub(crate) fn push(&mut self, byte: u8) {
        if let Some(place) = self.room().first_mut() {
            *place = byte;
            self.filled(1);
        }
    }

    /// What waits to be written.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Forgets the first `count` bytes, as they are written.
    pub(crate) fn written(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end);
    }

    pub(crate) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_the_order_they_came_and_room_is_reused() {
        let mut buffer = Buffer::with_size(4);
        buffer.room()[..3].copy_from_slice(b"abc");
        buffer.filled(3);
        buffer.written(2);
        assert_eq!(buffer.pending(), b"c");
        assert_eq!(buffer.room_left(), 3);
        buffer.push(b'd');
        buffer.room()[..2].copy_from_slice(b"ef");
        buffer.filled(2);
        assert_eq!(buffer.pending(), b"cdef");
        assert_eq!(buffer.room_left(), 0);
        buffer.push(b'g');
        assert_eq!(buffer.pending(), b"cdef");
    }
}
