//! The transport packet (ISO/IEC 13818-1 §2.4.3): its header and adaptation field.

/// Bytes per packet.
pub(super) const PACKET: usize = 188;
/// First byte of each packet.
pub(super) const SYNC: u8 = 0x47;
/// PID of packets that only fill the line.
pub(super) const NULL_PID: u16 = 0x1fff;
/// Number of PIDs.
pub(super) const PIDS: usize = 0x2000;

/// Bytes of the header, without an adaptation field.
const HEAD: usize = 4;
/// Payload bytes of a packet without an adaptation field.
pub(super) const FULL: usize = PACKET - HEAD;

/// Returns the PID of a packet.
pub(super) const fn pid([_, high, low, ..]: &[u8; PACKET]) -> u16 {
    (*high as u16 & 0x1f) << 8 | *low as u16
}

/// Returns the continuity counter of a packet.
pub(super) const fn counter([_, _, _, flags, ..]: &[u8; PACKET]) -> u8 {
    *flags & 0x0f
}

/// Returns the bytes after the header.
pub(super) fn body(packet: &[u8; PACKET]) -> &[u8; FULL] {
    let [_, _, _, _, body @ ..] = packet;
    body
}

/// Returns whether a packet consists of payload that continues the previous packet of `pid`.
#[inline]
pub(super) fn continues([sync, high, low, flags, ..]: &[u8; PACKET], pid: u16, counter: u8) -> bool {
    let [wanted_high, wanted_low] = pid.to_be_bytes();
    [*sync, *high, *low, *flags] == [SYNC, wanted_high, wanted_low, 0x10 | counter]
}

/// A parsed packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    /// Stream within the multiplex.
    pub(super) pid: u16,
    /// Whether an earlier receiver could not correct the packet.
    pub(super) damaged: bool,
    /// Whether a section or a PES packet begins in the payload.
    pub(super) start: bool,
    /// Whether the payload is encrypted.
    pub(super) scrambled: bool,
    /// Continuity counter: four bits that count the packets of the PID with a payload.
    pub(super) counter: u8,
    /// Whether the counter or the clock does not continue from the previous value.
    pub(super) discontinuity: bool,
    /// The programme clock reference, in ticks of 27 MHz.
    pub(super) pcr: Option<u64>,
    /// The payload; `None` if the packet has only an adaptation field.
    pub(super) payload: Option<&'a [u8]>,
}

impl<'a> Packet<'a> {
    /// Parses `bytes`; `None` if the adaptation field is longer than the packet, or the form of the packet is reserved.
    #[inline]
    pub(super) fn parse(bytes: &'a [u8; PACKET]) -> Option<Self> {
        let [_, high, _, flags, body @ ..] = bytes;
        let mut packet = Self {
            pid: pid(bytes),
            damaged: high & 0x80 != 0,
            start: high & 0x40 != 0,
            scrambled: flags & 0xc0 != 0,
            counter: counter(bytes),
            discontinuity: false,
            pcr: None,
            payload: None,
        };
        match flags >> 4 & 3 {
            1 => packet.payload = Some(body),
            0 => return None,
            form => {
                let (length, rest) = body.split_first()?;
                let (field, payload) = rest.split_at_checked(usize::from(*length))?;
                packet.adaptation(field);
                packet.payload = (form == 3).then_some(payload);
            }
        }
        Some(packet)
    }

    fn adaptation(&mut self, field: &[u8]) {
        let Some((flags, rest)) = field.split_first() else { return };
        self.discontinuity = flags & 0x80 != 0;
        if let (true, Some(clock)) = (flags & 0x10 != 0, rest.first_chunk::<6>()) {
            let bits = clock.iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
            // 33 bits of 90 kHz, 6 reserved, 9 bits of 27 MHz.
            self.pcr = Some((bits >> 15) * 300 + (bits & 0x1ff));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(head: &[u8]) -> [u8; PACKET] {
        let mut bytes = [0xff; PACKET];
        bytes[..head.len()].copy_from_slice(head);
        bytes
    }

    #[test]
    fn takes_the_header_apart() {
        let bytes = packet(&[SYNC, 0x41, 0x02, 0x17, 9]);
        let parsed = Packet::parse(&bytes).unwrap();
        assert_eq!((parsed.pid, parsed.start, parsed.counter), (0x102, true, 7));
        assert_eq!((parsed.damaged, parsed.scrambled, parsed.discontinuity, parsed.pcr), (false, false, false, None));
        assert_eq!(parsed.payload.unwrap().len(), 184);
        assert!(Packet::parse(&packet(&[SYNC, 0x80, 0, 0xd0])).is_some_and(|p| p.damaged && p.scrambled));
    }

    #[test]
    fn the_adaptation_field_gives_the_clock() {
        let bytes = packet(&[SYNC, 0, 0x20, 0x32, 7, 0x90, 0xff, 0xff, 0xff, 0xff, 0xff, 0x2b, 1]);
        let parsed = Packet::parse(&bytes).unwrap();
        assert!(parsed.discontinuity);
        assert_eq!(parsed.pcr, Some(((1 << 33) - 1) * 300 + 299));
        assert_eq!(parsed.payload.unwrap().len(), 176);
        let bytes = packet(&[SYNC, 0, 0x20, 0x22, 183]);
        assert_eq!(Packet::parse(&bytes).unwrap().payload, None);
        let bytes = packet(&[SYNC, 0, 0x20, 0x32, 0]);
        assert_eq!(Packet::parse(&bytes).unwrap().payload.unwrap().len(), 183);
    }

    #[test]
    fn packets_that_do_not_fit_are_refused() {
        assert_eq!(Packet::parse(&packet(&[SYNC, 0, 0x20, 0x32, 184])), None);
        assert_eq!(Packet::parse(&packet(&[SYNC, 0, 0x20, 0x02])), None, "neither field nor payload");
    }
}
