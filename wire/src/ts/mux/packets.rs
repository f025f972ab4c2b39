//! Packets: payloads of known length, cut into pieces of 184 bytes with their headers and adaptation fields.

use bytes::{BufMut, Bytes, BytesMut};

use super::super::packet::{FULL, PACKET, SYNC};

/// Bytes of an adaptation field with a programme clock reference, its length byte included.
const WITH_CLOCK: usize = 8;
/// Bytes of an adaptation field with flags only, its length byte included.
const WITH_FLAGS: usize = 2;
/// Bytes of memory allocated at once, which the next frames share; freed with the last datagram in it.
const BLOCK: usize = 64 << 10;
/// Padding byte of adaptation fields and sections.
const STUFFING: u8 = 0xff;
/// Mask of the continuity counter.
const COUNTER_MASK: u8 = 0x0f;

/// A PID with its continuity counter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pid {
    /// Number of the PID.
    pub(super) number: u16,
    /// Counter of the next packet with a payload.
    counter: u8,
}

/// Content of an adaptation field (ISO/IEC 13818-1 §2.4.3.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Adaptation {
    /// `discontinuity_indicator`.
    pub(super) discontinuity: bool,
    /// `random_access_indicator`.
    pub(super) random_access: bool,
    /// Base of the programme clock reference, in ticks of 90 kHz modulo 2^33.
    pub(super) clock: Option<u64>,
}

/// The packets written and not yet taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Packets {
    bytes: BytesMut,
}

/// A payload that is being written. Its length is known, so each packet is filled exactly.
pub(super) struct Payload<'a> {
    out: &'a mut BytesMut,
    pid: &'a mut Pid,
    /// Adaptation field of the first packet; `None` once that packet has begun.
    first: Option<Adaptation>,
    /// Payload bytes of the packets that have not begun.
    left: usize,
    /// Payload bytes still missing in the current packet.
    room: usize,
}

impl Pid {
    /// Creates a PID of which nothing has been written.
    pub(super) const fn new(number: u16) -> Self {
        Self { number, counter: 0 }
    }

    /// Returns the counter for a packet with a payload.
    const fn count(&mut self) -> u8 {
        let counter = self.counter;
        self.counter = (counter + 1) & COUNTER_MASK;
        counter
    }

    /// Returns the counter of the last packet with a payload.
    const fn last(&self) -> u8 {
        self.counter.wrapping_sub(1) & COUNTER_MASK
    }
}

impl Adaptation {
    /// Returns the bytes that the field needs, its length byte included.
    const fn len(&self) -> usize {
        match (self.clock, self.discontinuity || self.random_access) {
            (Some(_), _) => WITH_CLOCK,
            (None, true) => WITH_FLAGS,
            (None, false) => 0,
        }
    }

    /// Writes the field with a total of `size` bytes.
    fn write(&self, size: usize, out: &mut BytesMut) {
        let Some(length) = size.checked_sub(1) else { return };
        // At most 183.
        out.put_u8(length as u8);
        if length == 0 {
            return;
        }
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.put_u8(flag(self.discontinuity, 0x80) | flag(self.random_access, 0x40) | flag(self.clock.is_some(), 0x10));
        if let Some(base) = self.clock {
            // 33 bits of 90 kHz, 6 reserved, an extension of 9 bits that is always zero.
            let [_, _, clock @ ..] = (base << 15 | 0x7e00).to_be_bytes();
            out.put_slice(&clock);
        }
        out.put_bytes(STUFFING, size - self.len().max(WITH_FLAGS));
    }
}

impl Packets {
    /// Returns the number of bytes written and not yet taken.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes `len` bytes from the front; `None` if there are fewer, or none.
    pub(super) fn take(&mut self, len: usize) -> Option<Bytes> {
        (0 < len && len <= self.bytes.len()).then(|| self.bytes.split_to(len).freeze())
    }

    /// Begins a payload of `len` bytes, which must be put next.
    pub(super) fn begin<'a>(&'a mut self, pid: &'a mut Pid, len: usize, first: Adaptation) -> Payload<'a> {
        // Written bytes are not moved by growth while a payload is written.
        let size = (len + first.len()).div_ceil(FULL) * PACKET;
        if self.bytes.capacity() - self.bytes.len() < size {
            self.bytes.reserve(size.max(BLOCK));
        }
        Payload { out: &mut self.bytes, pid, first: Some(first), left: len, room: 0 }
    }

    /// Writes a packet that has only an adaptation field. The counter does not count it (§2.4.3.3).
    pub(super) fn adaptation_only(&mut self, pid: &Pid, field: Adaptation) {
        header(&mut self.bytes, pid.number, false, 0x20 | pid.last());
        field.write(FULL, &mut self.bytes);
    }

    /// Writes a section (§2.4.4), with padding up to the end of its last packet.
    pub(super) fn section(&mut self, pid: &mut Pid, section: &[u8]) {
        // The pointer field is zero: the section begins at once.
        let len = (1 + section.len()).next_multiple_of(FULL);
        let mut payload = self.begin(pid, len, Adaptation::default());
        payload.put(&[0]);
        payload.put(section);
        payload.put([STUFFING; FULL].get(..len - 1 - section.len()).unwrap_or_default());
    }
}

impl Payload<'_> {
    /// Writes the next bytes. Bytes beyond the declared length are dropped.
    pub(super) fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.room == 0 {
                if self.left == 0 {
                    return;
                }
                self.packet();
            }
            let (taken, rest) = bytes.split_at(bytes.len().min(self.room));
            self.out.extend_from_slice(taken);
            self.room -= taken.len();
            bytes = rest;
        }
    }

    /// Begins a packet.
    fn packet(&mut self) {
        let start = self.first.is_some();
        let field = self.first.take().unwrap_or_default();
        self.room = self.left.min(FULL - field.len());
        self.left -= self.room;
        let size = FULL - self.room;
        let form = if size > 0 { 0x30 } else { 0x10 };
        header(self.out, self.pid.number, start, form | self.pid.count());
        field.write(size, self.out);
    }
}

/// Writes the header of a packet. `form` is its last byte: which parts follow, and the counter.
fn header(out: &mut BytesMut, pid: u16, start: bool, form: u8) {
    let [high, low] = pid.to_be_bytes();
    out.put_slice(&[SYNC, high | if start { 0x40 } else { 0 }, low, form]);
}

#[cfg(test)]
mod tests {
    use super::super::super::packet::Packet;
    use super::*;

    fn parsed(packets: &mut Packets) -> Vec<[u8; PACKET]> {
        assert_eq!(packets.len() % PACKET, 0);
        std::iter::from_fn(|| packets.take(PACKET)).map(|packet| packet[..].try_into().unwrap()).collect()
    }

    #[test]
    fn any_length_fills_whole_packets() {
        let fields = [
            Adaptation::default(),
            Adaptation { random_access: true, ..Adaptation::default() },
            Adaptation { clock: Some((1 << 33) - 1), discontinuity: true, random_access: false },
        ];
        for (len, field) in (1..600).flat_map(|len| fields.map(|field| (len, field))) {
            let content: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let (mut packets, mut pid) = (Packets::default(), Pid::new(0x1abc));
            let mut payload = packets.begin(&mut pid, len, field);
            let (head, tail) = content.split_at(len / 3);
            payload.put(head);
            payload.put(tail);
            payload.put(&[9; 3]);
            let written = parsed(&mut packets);
            assert_eq!(written.len(), (len + field.len()).div_ceil(FULL), "{len}");
            let mut got = Vec::new();
            for (n, bytes) in written.iter().enumerate() {
                let packet = Packet::parse(bytes).unwrap();
                assert_eq!((bytes[0], packet.pid, packet.start), (SYNC, 0x1abc, n == 0));
                assert_eq!(usize::from(packet.counter), n & 15);
                assert_eq!(packet.discontinuity, n == 0 && field.discontinuity);
                assert_eq!(packet.pcr, field.clock.filter(|_| n == 0).map(|base| base * 300));
                got.extend_from_slice(packet.payload.unwrap());
            }
            assert_eq!(got, content, "{len}");
        }
    }

    #[test]
    fn a_clock_alone_does_not_count() {
        let (mut packets, mut pid) = (Packets::default(), Pid::new(0x100));
        let field = Adaptation { clock: Some(90_000), ..Adaptation::default() };
        packets.adaptation_only(&pid, field);
        packets.begin(&mut pid, 1, Adaptation::default()).put(&[1]);
        packets.adaptation_only(&pid, field);
        let counters: Vec<u8> = parsed(&mut packets).iter().map(|packet| packet[3]).collect();
        assert_eq!(counters, [0x2f, 0x30, 0x20]);
    }

    #[test]
    fn sections_are_padded() {
        for len in [3, 182, 183, 184, 400] {
            let (mut packets, mut pid) = (Packets::default(), Pid::new(0));
            packets.section(&mut pid, &vec![7; len]);
            let written = parsed(&mut packets).concat();
            assert_eq!(written.len(), (len + 1).div_ceil(FULL) * PACKET);
            let count = written.iter().filter(|byte| **byte == STUFFING).count();
            assert_eq!(count, (len + 1).next_multiple_of(FULL) - len - 1);
        }
    }
}
