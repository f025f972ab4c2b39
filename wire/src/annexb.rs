//! Annex B byte streams (ITU-T H.264 and H.265): from start codes to samples of length-prefixed NAL units.
//!
//! The bytes come in pieces of any size. A payload byte is copied once, from the piece to the sample: start codes are
//! looked for in the piece, and what stands between them goes behind its length prefix at once.

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

/// What begins a NAL unit; a fourth byte in front, a zero, counts as filling of the unit before.
const START_CODE: &[u8] = &[0, 0, 1];
/// Bytes of a length prefix.
const PREFIX: usize = 4;

/// Which standard the NAL units follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    /// H.264.
    Avc,
    /// HEVC.
    Hevc,
}

/// What a NAL unit means for the access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The first of its access unit; dropped.
    Delimiter,
    /// A parameter set: it stands before the slices, and is handed out instead of kept.
    Parameters,
    /// It stands before the slices.
    Before,
    /// A slice; `first` of its picture.
    Slice { first: bool },
    /// It belongs to the access unit that it stands in.
    Within,
    /// Filler; dropped.
    Filler,
}

impl Codec {
    /// Bytes of a NAL unit that tell its role.
    const fn telling(self) -> usize {
        match self {
            Self::Avc => 2,
            Self::Hevc => 3,
        }
    }

    /// What `nal` means for the access unit that it is in, or begins.
    pub(crate) fn role(self, nal: &[u8]) -> Role {
        let byte = |n: usize| nal.get(n).copied().unwrap_or(0);
        match self {
            Self::Avc => match byte(0) & 0x1f {
                // The first field of a slice is first_mb_in_slice, whose code for 0 is one bit.
                1 | 2 | 5 => Role::Slice { first: byte(1) & 0x80 != 0 },
                6 | 13..=18 => Role::Before,
                7 | 8 => Role::Parameters,
                9 => Role::Delimiter,
                12 => Role::Filler,
                _ => Role::Within,
            },
            Self::Hevc => match byte(0) >> 1 & 0x3f {
                35 => Role::Delimiter,
                38 => Role::Filler,
                // Other layers begin nothing.
                _ if byte(0) & 1 != 0 || byte(1) >> 3 != 0 => Role::Within,
                0..=31 => Role::Slice { first: byte(2) & 0x80 != 0 },
                32..=34 => Role::Parameters,
                39 | 41..=44 | 48..=55 => Role::Before,
                _ => Role::Within,
            },
        }
    }
}

/// What comes out of an [`Assembler`].
#[derive(Debug)]
pub(crate) enum Output<'a, T> {
    /// A parameter set of the access unit to come.
    Parameters(&'a [u8]),
    /// An access unit as an MP4 sample holds it, with the time set when it began, if that was not given to one before.
    Unit(Bytes, Option<T>),
    /// An access unit that lacks its beginning or is over the limit, dropped.
    Dropped,
}

/// Puts access units together. Access unit delimiters, filler and parameter sets are left out of them.
#[derive(Clone, Debug)]
pub(crate) struct Assembler<T> {
    codec: Codec,
    finder: Finder<'static>,
    /// Bytes of memory taken at once.
    block: usize,
    /// The block before, which is free again by the time of the next one where frames are not kept.
    spare: BytesMut,
    /// Longest access unit. A longer one is dropped, up to the beginning of another.
    limit: usize,
    /// The access unit under way, each NAL unit behind its prefix; then room for those to come.
    unit: BytesMut,
    /// The NAL unit under way.
    nal: Option<Nal<T>>,
    /// Zeros at the end of what was pushed last, as far as they can begin a start code.
    zeros: usize,
    /// Time of the access unit under way.
    time: Option<T>,
    /// Time that waits for the next access unit to begin.
    pending: Option<T>,
    /// The access unit under way has a slice.
    sliced: bool,
    /// Nothing is taken before an access unit begins.
    hunting: bool,
}

#[derive(Clone, Copy, Debug)]
struct Nal<T> {
    /// Where in the unit its prefix is.
    at: usize,
    role: Option<Role>,
    /// The time that waited when it began.
    time: Option<T>,
}

impl<T: Copy> Assembler<T> {
    /// An assembler that takes memory in blocks of `block` bytes and drops access units over `limit` bytes.
    pub(crate) fn new(codec: Codec, block: usize, limit: usize) -> Self {
        Self {
            codec,
            finder: Finder::new(START_CODE),
            block,
            spare: BytesMut::new(),
            limit,
            unit: BytesMut::new(),
            nal: None,
            zeros: 0,
            time: None,
            pending: None,
            sliced: false,
            hunting: true,
        }
    }

    /// Sets the time of the first access unit that begins in what is pushed from here on.
    pub(crate) fn set_time(&mut self, time: Option<T>) {
        self.pending = time;
    }

    /// Takes the next bytes.
    pub(crate) fn push(&mut self, mut bytes: &[u8], out: &mut impl FnMut(Output<'_, T>)) {
        bytes = match (self.zeros, bytes) {
            (2.., [1, rest @ ..]) | (1.., [0, 1, rest @ ..]) => {
                self.boundary(out);
                rest
            }
            _ => bytes,
        };
        while let Some(at) = self.finder.find(bytes) {
            let (nal, rest) = bytes.split_at(at);
            self.append(nal, out);
            self.boundary(out);
            bytes = rest.get(START_CODE.len()..).unwrap_or_default();
        }
        self.append(bytes, out);
        self.note_zeros(bytes);
    }

    /// Where the first start code in `bytes` begins.
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<usize> {
        self.finder.find(bytes)
    }

    /// Takes the next bytes, within which there is no start code.
    #[inline]
    pub(crate) fn push_plain(&mut self, bytes: &[u8], out: &mut impl FnMut(Output<'_, T>)) {
        // One may have begun before them.
        if self.zeros > 0 {
            return self.push(bytes, out);
        }
        self.append(bytes, out);
        self.note_zeros(bytes);
    }

    #[inline]
    fn note_zeros(&mut self, bytes: &[u8]) {
        self.zeros = match bytes {
            [] => self.zeros,
            [0] => (self.zeros + 1).min(2),
            [.., 0, 0] => 2,
            [.., 0] => 1,
            _ => 0,
        };
    }

    /// The stream ends here: gives the access unit under way.
    pub(crate) fn flush(&mut self, out: &mut impl FnMut(Output<'_, T>)) {
        self.end_nal(out);
        self.begin_unit(self.unit.len(), None, out);
        self.reset();
    }

    /// Bytes are missing here: drops the access unit under way; true if there was one.
    pub(crate) fn lose(&mut self) -> bool {
        let lost = !self.hunting;
        self.reset();
        lost
    }

    fn reset(&mut self) {
        self.unit.clear();
        (self.nal, self.time, self.pending) = (None, None, None);
        (self.zeros, self.sliced, self.hunting) = (0, false, true);
    }

    /// A start code was met.
    fn boundary(&mut self, out: &mut impl FnMut(Output<'_, T>)) {
        self.end_nal(out);
        self.zeros = 0;
        self.room(PREFIX);
        self.nal = Some(Nal { at: self.unit.len(), role: None, time: self.pending.take() });
        self.unit.extend_from_slice(&[0; PREFIX]);
    }

    #[inline]
    fn append(&mut self, mut bytes: &[u8], out: &mut impl FnMut(Output<'_, T>)) {
        let Some(mut nal) = self.nal else { return };
        if nal.role.is_none() {
            // Which unit it belongs to is decided before more than that is taken.
            let missing = (nal.at + PREFIX + self.codec.telling()).saturating_sub(self.unit.len());
            let (head, rest) = bytes.split_at(missing.min(bytes.len()));
            self.room(head.len());
            self.unit.extend_from_slice(head);
            if head.len() < missing {
                return;
            }
            self.decide(out);
            let Some(decided) = self.nal else { return };
            (nal, bytes) = (decided, rest);
        }
        if nal.role == Some(Role::Filler) {
            return;
        }
        if self.unit.len() + bytes.len() > self.limit && self.is_over(bytes) {
            self.reset();
            out(Output::Dropped);
            return;
        }
        self.room(bytes.len());
        self.unit.extend_from_slice(bytes);
    }

    /// True if `bytes` pass the limit, a few zeros at their end aside: they may be the next start code's.
    fn is_over(&self, bytes: &[u8]) -> bool {
        let content = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        self.unit.len() + content > self.limit || self.unit.len() + bytes.len() > self.limit + START_CODE.len()
    }

    /// Makes room for `more` bytes. A unit that reaches the end of its block moves to a new one: of the units of a block
    /// at most one is copied a second time.
    #[inline]
    fn room(&mut self, more: usize) {
        if self.unit.capacity() - self.unit.len() < more {
            self.grow(more);
        }
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        if !self.unit.try_reclaim(more) {
            let wanted = self.block.max(2 * (self.unit.len() + more));
            let mut block = std::mem::take(&mut self.spare);
            if !block.try_reclaim(wanted) {
                block = BytesMut::with_capacity(wanted);
            }
            block.extend_from_slice(&self.unit);
            self.spare = std::mem::replace(&mut self.unit, block);
            self.spare.clear();
        }
    }

    /// Acts on the role of the NAL unit under way.
    fn decide(&mut self, out: &mut impl FnMut(Output<'_, T>)) {
        let Some(Nal { mut at, time, .. }) = self.nal else { return };
        let role = self.codec.role(self.unit.get(at + PREFIX..).unwrap_or_default());
        let begins = match role {
            Role::Delimiter => true,
            Role::Parameters | Role::Before => self.sliced || self.hunting,
            Role::Slice { first } => first && (self.sliced || self.hunting),
            Role::Within | Role::Filler => false,
        };
        if begins {
            self.begin_unit(at, time, out);
            at = 0;
        } else if self.pending.is_none() {
            self.pending = time;
        }
        if role == (Role::Slice { first: false }) && !self.sliced && !self.hunting {
            self.hunting = true;
            at = 0;
            out(Output::Dropped);
        }
        let drop = self.hunting || matches!(role, Role::Delimiter | Role::Filler);
        if drop {
            self.unit.truncate(at);
        }
        self.sliced |= !drop && matches!(role, Role::Slice { .. });
        self.nal = Some(Nal { at, role: Some(if drop { Role::Filler } else { role }), time: None });
    }

    /// An access unit begins at byte `at` of what is there: gives the one before, or forgets it if it has no slice.
    fn begin_unit(&mut self, at: usize, time: Option<T>, out: &mut impl FnMut(Output<'_, T>)) {
        let unit = self.unit.split_to(at.min(self.unit.len()));
        let before = std::mem::replace(&mut self.time, time);
        if self.sliced {
            out(Output::Unit(unit.freeze(), before));
        }
        (self.sliced, self.hunting) = (false, false);
    }

    /// The NAL unit under way is whole.
    fn end_nal(&mut self, out: &mut impl FnMut(Output<'_, T>)) {
        let Some(Nal { at, role, time }) = self.nal else { return };
        if role != Some(Role::Filler) {
            // Zeros at the end are filling, or begin the next start code.
            let content = self.unit.get(at + PREFIX..).unwrap_or_default();
            let len = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            if len == 0 {
                self.unit.truncate(at);
                self.pending = self.pending.or(time);
            } else {
                self.unit.truncate(at + PREFIX + len);
                if role.is_none() {
                    self.decide(out);
                }
                self.close(len, out);
            }
        }
        self.nal = None;
    }

    /// Writes the length of a whole NAL unit, or hands it out if it is a parameter set.
    fn close(&mut self, len: usize, out: &mut impl FnMut(Output<'_, T>)) {
        match self.nal {
            Some(Nal { at, role: Some(Role::Parameters), .. }) => {
                out(Output::Parameters(self.unit.get(at + PREFIX..).unwrap_or_default()));
                self.unit.truncate(at);
            }
            Some(Nal { at, role: Some(role), .. }) if role != Role::Filler => {
                // The limit keeps units far below 4 GB.
                let length = u32::try_from(len).unwrap_or(u32::MAX);
                if let Some(prefix) = self.unit.get_mut(at..at + PREFIX) {
                    prefix.copy_from_slice(&length.to_be_bytes());
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What came out: parameter sets, units with their times, the number of drops.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Got {
        sets: Vec<Vec<u8>>,
        units: Vec<(Vec<u8>, Option<u32>)>,
        dropped: u32,
    }

    impl Got {
        fn take(&mut self, output: Output<'_, u32>) {
            match output {
                Output::Parameters(set) => self.sets.push(set.to_vec()),
                Output::Unit(unit, time) => self.units.push((unit.to_vec(), time)),
                Output::Dropped => self.dropped += 1,
            }
        }
    }

    /// Pushes each piece behind its time, if it has one.
    fn run(codec: Codec, pieces: &[(Option<u32>, &[u8])]) -> Got {
        let (mut assembler, mut got) = (Assembler::new(codec, 256, 1_000), Got::default());
        for (time, piece) in pieces {
            if time.is_some() {
                assembler.set_time(*time);
            }
            assembler.push(piece, &mut |output| got.take(output));
        }
        assembler.flush(&mut |output| got.take(output));
        got
    }

    proptest! {
        #[test]
        fn pieces_known_to_be_plain_are_taken_alike(cuts in proptest::collection::vec(1_usize..12, 1..30)) {
            let (mut assembler, mut got) = (Assembler::new(Codec::Avc, 256, 1_000), Got::default());
            let mut rest = STREAM;
            for cut in cuts.into_iter().chain([STREAM.len()]) {
                let (piece, behind) = rest.split_at(cut.min(rest.len()));
                match assembler.find(piece) {
                    Some(_) => assembler.push(piece, &mut |output| got.take(output)),
                    None => assembler.push_plain(piece, &mut |output| got.take(output)),
                }
                rest = behind;
            }
            assembler.flush(&mut |output| got.take(output));
            prop_assert_eq!(got, run(Codec::Avc, &[(None, STREAM)]));
        }
    }

    const STREAM: &[u8] = &[
        0, 0, 0, 1, 0x09, 0xf0, 0, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x68, 3, 0, 0, 1, 0x06, 5, 0, 0, 1, 0x65, 0x80, 7,
        7, 0, 0, 1, 0x65, 0x40, 8, 0, 0, 0, 1, 0x0c, 0xff, 0xff, 0x80, 0, 0, 0, 1, 0x09, 0xf0, 0, 0, 1, 0x41, 0x9a, 9,
        0, 0, 3, 1, 0x80,
    ];
    const FIRST: &[u8] = &[0, 0, 0, 2, 6, 5, 0, 0, 0, 4, 0x65, 0x80, 7, 7, 0, 0, 0, 3, 0x65, 0x40, 8];
    const SECOND: &[u8] = &[0, 0, 0, 8, 0x41, 0x9a, 9, 0, 0, 3, 1, 0x80];

    #[test]
    fn any_cut_gives_the_same_units() {
        for at in 0..=STREAM.len() {
            let (head, tail) = STREAM.split_at(at);
            let got = run(Codec::Avc, &[(Some(1), head), (None, tail)]);
            assert_eq!(got.sets, [&[0x67, 1, 2][..], &[0x68, 3]], "cut at {at}");
            assert_eq!(got.units, [(FIRST.to_vec(), Some(1)), (SECOND.to_vec(), None)], "cut at {at}");
            assert_eq!(got.dropped, 0);
        }
        let single: Vec<_> = STREAM.chunks(1).map(|byte| (None, byte)).collect();
        assert_eq!(run(Codec::Avc, &single).units.len(), 2);
    }

    #[test]
    fn a_time_goes_to_the_first_unit_that_begins_behind_it() {
        let second = STREAM.len() - 16;
        for at in 1..=second {
            let (head, tail) = STREAM.split_at(at);
            let got = run(Codec::Avc, &[(Some(1), head), (Some(2), tail)]);
            let times: Vec<_> = got.units.iter().map(|unit| unit.1).collect();
            // A start code whose third byte is still to come begins behind the time.
            let expected = if at < 4 { [Some(2), None] } else { [Some(1), Some(2)] };
            assert_eq!(times, expected, "cut at {at}");
        }
    }

    #[test]
    fn without_delimiters_slices_and_headers_tell_the_pictures() {
        let stream =
            [&[0, 0, 1, 0x65, 0x80, 1][..], &[0, 0, 1, 0x41, 0x80, 2], &[0, 0, 1, 6, 9, 0, 0, 1, 0x41, 0x80, 3]];
        let got = run(Codec::Avc, &[(Some(1), stream[0]), (Some(2), stream[1]), (Some(3), stream[2])]);
        assert_eq!(got.units.iter().map(|unit| unit.1).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
        assert_eq!(got.units[2].0, [0, 0, 0, 2, 6, 9, 0, 0, 0, 3, 0x41, 0x80, 3]);
    }

    #[test]
    fn hevc_pictures_are_told_apart() {
        let stream: Vec<u8> = [
            &[0, 0, 1, 0x46, 1, 0x50][..],
            &[0, 0, 1, 0x40, 1, 1],
            &[0, 0, 1, 0x42, 1, 2],
            &[0, 0, 1, 0x44, 1, 3],
            &[0, 0, 1, 0x26, 1, 0x80, 4],
            &[0, 0, 1, 0x26, 1, 0x40, 5],
            &[0, 0, 1, 0x50, 1, 6],
            &[0, 0, 1, 0x02, 1, 0x80, 7],
        ]
        .concat();
        let got = run(Codec::Hevc, &[(Some(1), &stream)]);
        assert_eq!(got.sets, [&[0x40, 1, 1][..], &[0x42, 1, 2], &[0x44, 1, 3]]);
        let first = [0, 0, 0, 4, 0x26, 1, 0x80, 4, 0, 0, 0, 4, 0x26, 1, 0x40, 5, 0, 0, 0, 3, 0x50, 1, 6];
        assert_eq!(got.units, [(first.to_vec(), Some(1)), (vec![0, 0, 0, 4, 2, 1, 0x80, 7], None)]);
    }

    #[test]
    fn a_loss_costs_the_unit_under_way_and_what_lacks_its_beginning() {
        let (mut assembler, mut got) = (Assembler::new(Codec::Avc, 256, 1_000), Got::default());
        assembler.push(&[0, 0, 1, 0x65, 0x80, 1, 1], &mut |output| got.take(output));
        assert!(assembler.lose());
        assert!(!assembler.lose(), "nothing was under way");
        assembler.push(&[1, 1, 0, 0, 1, 0x65, 0x40, 1, 0, 0, 1, 0x41, 0x80, 2], &mut |output| got.take(output));
        assembler.flush(&mut |output| got.take(output));
        assert_eq!(got.units, [(vec![0, 0, 0, 3, 0x41, 0x80, 2], None)]);
        let got = run(Codec::Avc, &[(None, &[0, 0, 1, 9, 0xf0, 0, 0, 1, 0x65, 0x40, 1])]);
        assert_eq!((got.units.len(), got.dropped), (0, 1), "a delimiter, then a slice that is not the first");
    }

    #[test]
    fn a_unit_of_the_limit_is_taken_and_a_longer_one_dropped() {
        let stream = |len: usize| [&[0, 0, 1, 0x65, 0x80][..], &vec![5; len - 6], &[0, 0, 1, 0x41, 0x80, 2]].concat();
        let got = run(Codec::Avc, &[(None, &stream(1_000))]);
        assert_eq!((got.units.len(), got.dropped), (2, 0));
        let got = run(Codec::Avc, &[(None, &stream(1_001))]);
        assert_eq!((got.units, got.dropped), (vec![(vec![0, 0, 0, 3, 0x41, 0x80, 2], None)], 1));
    }

    #[test]
    fn units_share_their_block() {
        let (mut assembler, mut units) = (Assembler::<()>::new(Codec::Avc, 4_096, 1_000), Vec::new());
        for n in 0..4 {
            let mut nal = vec![0, 0, 1, 0x65, 0x80];
            nal.resize(500, n + 1);
            assembler.push(&nal, &mut |output| {
                if let Output::Unit(unit, _) = output {
                    units.push(unit);
                }
            });
        }
        for pair in units.windows(2) {
            assert_eq!(pair[0].as_ptr() as usize + pair[0].len(), pair[1].as_ptr() as usize, "one behind the other");
        }
    }

    proptest! {
        #[test]
        fn anything_in_any_pieces_is_the_same(
            bytes in prop::collection::vec(prop_oneof![3 => 0u8..2, 1 => any::<u8>(), 1 => Just(0x65), 1 => Just(0x80)], 0..200),
            cuts in prop::collection::vec(0usize..200, 0..8),
            hevc in any::<bool>(),
        ) {
            let codec = if hevc { Codec::Hevc } else { Codec::Avc };
            let whole = run(codec, &[(None, &bytes)]);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let mut from = 0;
            let pieces: Vec<_> = cuts.into_iter().map(|to| (None, &bytes[std::mem::replace(&mut from, to)..to])).collect();
            prop_assert_eq!(run(codec, &pieces), whole);
        }
    }
}
