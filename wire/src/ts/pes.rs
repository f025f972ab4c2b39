//! PES packets (ISO/IEC 13818-1 §2.4.3.6), assembled from the payloads of one PID.

/// Bytes of a packet up to `PES_packet_length`, inclusive.
const PREFIX: usize = 6;
/// Bytes of a packet up to `PES_header_data_length`, inclusive; the optional fields of the header follow.
const HEAD: usize = 9;
/// Byte with which multiplexers fill up the last transport packet after the end of a PES packet.
const STUFFING: u8 = 0xff;

/// Timestamps of a PES packet, in ticks of 90 kHz modulo 2^33.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Presentation time.
    pub(super) pts: u64,
    /// Decoding time.
    pub(super) dts: u64,
}

/// Output of a [`Reader`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A packet begins, with its timestamps if it has any.
    Begin(Option<Stamp>),
    /// Payload of the packet.
    Data(&'a [u8]),
    /// The packet is complete, or as long as it declares. If it is longer, more [`Self::Data`] follows, and another
    /// end.
    End,
    /// The packet is incomplete, invalid, encrypted, or over the limit. Its output so far must not be used.
    Broken,
}

/// Parses PES packets.
#[derive(Clone, Debug, Default)]
pub(super) struct Reader {
    state: State,
    /// Bytes of an incomplete PES header.
    header: Vec<u8>,
    /// Number of packets with a wrong declared length.
    wrong_lengths: u64,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Waiting for a packet to begin.
    #[default]
    Idle,
    /// Within the PES header.
    Header,
    /// Within the payload: bytes still to come, if the packet declares its length, and bytes taken.
    Body { left: Option<usize>, taken: usize },
    /// After the declared length. `taken` bytes of payload were taken, and no more should follow.
    Full { taken: usize },
}

/// Result of [`header`].
enum Header {
    /// More bytes are needed.
    Short,
    /// No PES header.
    Wrong,
    /// A packet without media, such as padding.
    Other,
    /// Length of the header in bytes, declared length of the payload (`None` if the packet is of unbounded length), and
    /// timestamps.
    Media { length: usize, payload: Option<Length>, stamp: Option<Stamp> },
}

/// Payload bytes that a [`Header`] declares.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    Bytes(usize),
    /// The packet would end within its header.
    Wrong,
}

impl Length {
    const fn bytes(self) -> Option<usize> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Wrong => None,
        }
    }
}

impl Reader {
    /// Takes the payload of a transport packet; `start` is its `payload_unit_start_indicator`. A PES packet with more
    /// than `limit` bytes of payload is broken off.
    pub(super) fn push(&mut self, payload: &[u8], start: bool, limit: usize, out: &mut impl FnMut(Piece<'_>)) {
        if start {
            self.finish(out);
            self.state = State::Header;
        }
        match self.state {
            State::Idle => {}
            State::Header if self.header.is_empty() => self.begin(payload, limit, out),
            State::Header => {
                let mut header = std::mem::take(&mut self.header);
                header.extend_from_slice(payload);
                self.begin(&header, limit, out);
            }
            State::Body { left, taken } => self.body(payload, left, taken, limit, out),
            State::Full { taken } => self.beyond(payload, taken, limit, out),
        }
    }

    /// Returns the number of packets longer or shorter than their `PES_packet_length`, with the beginning of the next
    /// packet as the true end of a packet.
    pub(super) const fn wrong_lengths(&self) -> u64 {
        self.wrong_lengths
    }

    /// Counts `bytes` of payload that the caller takes from the transport packets itself. Returns false and counts
    /// nothing if [`Self::push`] must take them instead: if they would complete the packet or exceed `limit`, or if no
    /// payload is expected.
    pub(super) fn advance(&mut self, bytes: usize, limit: usize) -> bool {
        match &mut self.state {
            State::Body { left, taken } if *taken + bytes <= limit && left.is_none_or(|left| bytes < left) => {
                *taken += bytes;
                *left = left.map(|left| left - bytes);
                true
            }
            _ => false,
        }
    }

    /// Ends the current packet, if there is one that has not ended, with [`Piece::End`] or [`Piece::Broken`].
    pub(super) fn finish(&mut self, out: &mut impl FnMut(Piece<'_>)) {
        match std::mem::take(&mut self.state) {
            State::Idle | State::Full { .. } => {}
            State::Body { left, .. } => {
                self.wrong_lengths += u64::from(left.is_some());
                out(Piece::End);
            }
            State::Header => out(Piece::Broken),
        }
        self.header.clear();
    }

    /// Returns whether the current packet declares no length, or one that is not trusted because another was
    /// wrong.
    pub(super) const fn is_unbounded(&self) -> bool {
        match self.state {
            State::Body { left, .. } => left.is_none() || self.wrong_lengths > 0,
            State::Idle | State::Header | State::Full { .. } => false,
        }
    }

    /// Returns whether the current packet is shorter than it declares, provided that declared lengths are trusted.
    pub(super) const fn is_short(&self) -> bool {
        matches!(self.state, State::Header | State::Body { left: Some(_), .. }) && self.wrong_lengths == 0
    }

    /// Drops everything until a packet begins, because bytes are missing. Outputs nothing for the current packet.
    pub(super) fn lose(&mut self) {
        self.state = State::Idle;
        self.header.clear();
    }

    /// Takes all bytes of a packet so far, while its header is incomplete.
    fn begin(&mut self, bytes: &[u8], limit: usize, out: &mut impl FnMut(Piece<'_>)) {
        match header(bytes) {
            // The buffer stays below 264 bytes, at which the longest header is complete.
            Header::Short => self.header.extend_from_slice(bytes),
            Header::Other => self.state = State::Idle,
            Header::Wrong => {
                self.state = State::Idle;
                out(Piece::Broken);
            }
            Header::Media { length, payload, stamp } => {
                self.wrong_lengths += u64::from(payload == Some(Length::Wrong));
                let payload = payload.and_then(Length::bytes);
                out(Piece::Begin(stamp));
                self.body(bytes.get(length..).unwrap_or_default(), payload, 0, limit, out);
            }
        }
    }

    /// Takes payload, of which `left` bytes are still to come, if that is known, after `taken` bytes.
    fn body(&mut self, bytes: &[u8], left: Option<usize>, taken: usize, limit: usize, out: &mut impl FnMut(Piece<'_>)) {
        let (bytes, beyond) = bytes.split_at(left.unwrap_or(bytes.len()).min(bytes.len()));
        let taken = taken + bytes.len();
        if taken > limit {
            self.state = State::Idle;
            out(Piece::Broken);
            return;
        }
        out(Piece::Data(bytes));
        let left = left.map(|left| left - bytes.len());
        self.state = State::Body { left, taken };
        if left == Some(0) {
            self.state = State::Full { taken };
            out(Piece::End);
            self.beyond(beyond, taken, limit, out);
        }
    }

    /// Takes bytes after the declared length: stuffing, or the rest of a packet that is longer than it declares. Only
    /// the beginning of another packet truly ends this one.
    fn beyond(&mut self, bytes: &[u8], taken: usize, limit: usize, out: &mut impl FnMut(Piece<'_>)) {
        if bytes.iter().any(|byte| *byte != STUFFING) {
            self.wrong_lengths += 1;
            self.body(bytes, None, taken, limit, out);
        }
    }
}

fn header(bytes: &[u8]) -> Header {
    let [0, 0, 1, stream, high, low, rest @ ..] = bytes else {
        let wrong = bytes.iter().zip([0, 0, 1]).any(|(byte, expected)| *byte != expected);
        return if wrong { Header::Wrong } else { Header::Short };
    };
    // Stream ids of maps, padding, directories and the like: such packets have no timestamps and no media.
    if matches!(stream, 0xbc | 0xbe | 0xbf | 0xf0..=0xf2 | 0xf8 | 0xff) {
        return Header::Other;
    }
    let [marker, flags, length, fields @ ..] = rest else { return Header::Short };
    if marker & 0xf0 != 0x80 {
        return Header::Wrong;
    }
    let length = usize::from(*length);
    let Some(fields) = fields.get(..length) else { return Header::Short };
    let payload = match usize::from(u16::from_be_bytes([*high, *low])) {
        0 => None,
        total => Some(total.checked_sub(HEAD - PREFIX + length).map_or(Length::Wrong, Length::Bytes)),
    };
    let stamp = match (flags >> 6, fields) {
        (2, [a, b, c, d, e, ..]) => {
            let pts = time([*a, *b, *c, *d, *e]);
            Some(Stamp { pts, dts: pts })
        }
        (3, [a, b, c, d, e, f, g, h, i, j, ..]) => {
            Some(Stamp { pts: time([*a, *b, *c, *d, *e]), dts: time([*f, *g, *h, *i, *j]) })
        }
        _ => None,
    };
    Header::Media { length: HEAD + length, payload, stamp }
}

/// Reads a timestamp: 33 bits with marker bits between them.
fn time([a, b, c, d, e]: [u8; 5]) -> u64 {
    let [a, b, c, d, e] = [a, b, c, d, e].map(u64::from);
    (a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Collected output, with adjacent payload joined.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Got(Vec<String>);

    impl Got {
        fn take(&mut self, piece: Piece<'_>) {
            match (piece, self.0.last_mut()) {
                (Piece::Data(bytes), Some(last)) if last.starts_with("data") => {
                    bytes.iter().for_each(|byte| last.push_str(&format!(" {byte}")));
                }
                (Piece::Data(bytes), _) => {
                    self.0.push(bytes.iter().fold("data".to_owned(), |text, byte| format!("{text} {byte}")));
                }
                (Piece::Begin(Some(Stamp { pts, dts })), _) => self.0.push(format!("begin {pts} {dts}")),
                (other, _) => self.0.push(format!("{other:?}")),
            }
        }
    }

    fn run(payloads: &[(&[u8], bool)]) -> Vec<String> {
        let (mut reader, mut got) = (Reader::default(), Got::default());
        for (payload, start) in payloads {
            reader.push(payload, *start, 10, &mut |piece| got.take(piece));
        }
        reader.finish(&mut |piece| got.take(piece));
        got.0
    }

    /// PTS 2^33 - 1, DTS 1; five bytes of payload.
    const BOUNDED: [u8; 24] =
        [0, 0, 1, 0xe0, 0, 18, 0x80, 0xc0, 10, 0x3f, 0xff, 0xff, 0xff, 0xff, 0x11, 0, 1, 0, 3, 1, 2, 3, 4, 5];

    #[test]
    fn any_cut_gives_the_same_packet() {
        let whole = ["begin 8589934591 1", "data 1 2 3 4 5", "End"];
        for at in 0..BOUNDED.len() {
            let (head, tail) = BOUNDED.split_at(at);
            assert_eq!(run(&[(head, true), (&[tail, &[0xff; 3]].concat(), false)]), whole, "cut at {at}");
        }
        assert_eq!(run(&[(&BOUNDED, false)]), Vec::<String>::new(), "joined in the middle");
    }

    #[test]
    fn an_unbounded_packet_ends_where_the_next_begins() {
        let mut open = BOUNDED;
        open[5] = 0;
        let got = run(&[(&open, true), (&[6], false), (&BOUNDED, true)]);
        assert_eq!(got[1..4], ["data 1 2 3 4 5 6", "End", "begin 8589934591 1"]);
    }

    #[test]
    fn the_next_packet_ends_one_whatever_its_length_says() {
        let whole = ["begin 8589934591 1", "data 1 2 3 4 5", "End", "begin 8589934591 1"];
        for length in [0, 19, 21, 255] {
            let mut wrong = BOUNDED;
            wrong[5] = length;
            for at in 6..BOUNDED.len() {
                let (head, tail) = wrong.split_at(at);
                assert_eq!(run(&[(head, true), (tail, false), (&BOUNDED, true)])[..4], whole, "length {length}, {at}");
            }
        }
        for length in [1, 2, 12] {
            // Shorter than the header itself.
            let mut wrong = BOUNDED;
            wrong[5] = length;
            assert_eq!(run(&[(&wrong, true), (&BOUNDED, true)])[..4], whole, "length {length}");
        }
        let mut short = BOUNDED;
        short[5] = 15;
        let got = run(&[(&short, true), (&BOUNDED, true)]);
        assert_eq!(got[..5], ["begin 8589934591 1", "data 1 2", "End", "data 3 4 5", "End"]);
        let got = run(&[(&short[..21], true), (&short[21..], false), (&BOUNDED, true)]);
        assert_eq!(got[..5], ["begin 8589934591 1", "data 1 2", "End", "data 3 4 5", "End"]);
        let counted = |packets: &[&[u8]]| {
            let mut reader = Reader::default();
            packets.iter().for_each(|packet| reader.push(packet, true, 10, &mut |_| {}));
            reader.finish(&mut |_| {});
            reader.wrong_lengths()
        };
        let long = [&BOUNDED[..], &[6]].concat();
        assert_eq!(counted(&[&BOUNDED, &[&BOUNDED[..], &[0xff; 9]].concat()]), 0);
        assert_eq!(counted(&[&BOUNDED[..22], &short, &long]), 3);
    }

    #[test]
    fn a_truncated_or_too_long_packet_is_broken() {
        assert_eq!(run(&[(&BOUNDED[..7], true)]), ["Broken"]);
        assert_eq!(run(&[(&[0, 0, 2, 1], true)]), ["Broken"]);
        let mut open = BOUNDED;
        open[5] = 0;
        assert_eq!(run(&[(&open, true), (&[0; 5], false), (&[0], false)]).last().unwrap(), "Broken");
        assert_eq!(run(&[(&[0, 0, 1, 0xbe, 0, 9, 1, 2], true)]), Vec::<String>::new(), "padding");
    }
}
