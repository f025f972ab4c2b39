//! Annex B byte streams (ITU-T H.264 and H.265): from start codes to samples of length-prefixed NAL units.
//!
//! Bytes arrive in pieces of any size. A payload byte is copied once, from the piece to the sample: start codes are
//! searched in the piece, and the bytes between them are appended after their length prefix at once.

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

/// Start code of a NAL unit. A zero byte before it counts as trailing zeros of the previous unit.
const START_CODE: &[u8] = &[0, 0, 1];
/// Bytes of a length prefix.
const PREFIX: usize = 4;

/// Standard that the NAL units follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    /// H.264.
    Avc,
    /// HEVC.
    Hevc,
}

/// Role of a NAL unit within its access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Access unit delimiter, the first NAL unit of its access unit; dropped.
    Delimiter,
    /// Parameter set, which precedes the slices. Returned as [`Output::Parameters`] and not kept in the access unit.
    Parameters,
    /// Other NAL unit that precedes the slices, as SEI.
    Before,
    /// Slice; `first` if it is the first of its frame.
    Slice { first: bool },
    /// NAL unit that belongs to the current access unit wherever it appears.
    Within,
    /// Filler; dropped.
    Filler,
}

impl Codec {
    /// Returns how many bytes of a NAL unit determine its [`Role`].
    const fn role_bytes(self) -> usize {
        match self {
            Self::Avc => 2,
            Self::Hevc => 3,
        }
    }

    /// Returns the [`Role`] of `nal` in the access unit that it belongs to, or begins.
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
                // NAL units of other layers begin no access unit.
                _ if byte(0) & 1 != 0 || byte(1) >> 3 != 0 => Role::Within,
                0..=31 => Role::Slice { first: byte(2) & 0x80 != 0 },
                32..=34 => Role::Parameters,
                39 | 41..=44 | 48..=55 => Role::Before,
                _ => Role::Within,
            },
        }
    }
}

/// Output of an [`Assembler`].
#[derive(Debug)]
pub(crate) enum Output<'a, T> {
    /// A parameter set of the next access unit.
    Parameters(&'a [u8]),
    /// An access unit as an MP4 sample holds it, with the time that applied when it began. `None` if an earlier unit
    /// already got that time.
    Unit(Bytes, Option<T>),
    /// An access unit was dropped, because its beginning is missing or it exceeds the limit.
    Dropped,
}

/// Assembles access units, without access unit delimiters, filler and parameter sets.
#[derive(Clone, Debug)]
pub(crate) struct Assembler<T> {
    codec: Codec,
    finder: Finder<'static>,
    /// Size of a memory block, in bytes.
    block: usize,
    /// The previous block. If frames are not kept, it is free again by the time that the next one is needed.
    spare: BytesMut,
    /// Longest access unit. A longer one is dropped, and bytes are skipped up to the beginning of another.
    limit: usize,
    /// The current access unit, each NAL unit after its length prefix, followed by free space.
    unit: BytesMut,
    /// The current NAL unit.
    nal: Option<Nal<T>>,
    /// Number of zeros at the end of the bytes pushed last, up to the two that can begin a start code.
    zeros: usize,
    /// Time of the current access unit.
    time: Option<T>,
    /// Time for the next access unit that begins.
    pending: Option<T>,
    /// Whether the current access unit has a slice.
    sliced: bool,
    /// Whether everything is skipped until an access unit begins.
    searching: bool,
}

#[derive(Clone, Copy, Debug)]
struct Nal<T> {
    /// Offset of the length prefix in the access unit.
    at: usize,
    role: Option<Role>,
    /// [`Assembler::pending`] when the NAL unit began.
    time: Option<T>,
}

impl<T: Copy> Assembler<T> {
    /// Creates an assembler that allocates blocks of `block` bytes and drops access units longer than `limit` bytes.
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
            searching: true,
        }
    }

    /// Sets the time of the first access unit that begins in the bytes pushed from now on.
    pub(crate) fn set_time(&mut self, time: Option<T>) {
        self.pending = time;
    }

    /// Takes the next bytes, of any content.
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

    /// Returns the offset of the first start code in `bytes`.
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<usize> {
        self.finder.find(bytes)
    }

    /// Takes the next bytes, which contain no whole start code.
    #[inline]
    pub(crate) fn push_plain(&mut self, bytes: &[u8], out: &mut impl FnMut(Output<'_, T>)) {
        // A start code may have begun before these bytes.
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

    /// Ends the stream and outputs the current access unit as [`Output::Unit`].
    pub(crate) fn flush(&mut self, out: &mut impl FnMut(Output<'_, T>)) {
        self.end_nal(out);
        self.begin_unit(self.unit.len(), None, out);
        self.reset();
    }

    /// Drops the current access unit because bytes are missing; returns whether there was one.
    pub(crate) fn lose(&mut self) -> bool {
        let lost = !self.searching;
        self.reset();
        lost
    }

    fn reset(&mut self) {
        self.unit.clear();
        (self.nal, self.time, self.pending) = (None, None, None);
        (self.zeros, self.sliced, self.searching) = (0, false, true);
    }

    /// Ends the current NAL unit at a start code and begins the next one.
    fn boundary(&mut self, out: &mut impl FnMut(Output<'_, T>)) {
        self.end_nal(out);
        self.zeros = 0;
        self.reserve(PREFIX);
        self.nal = Some(Nal { at: self.unit.len(), role: None, time: self.pending.take() });
        self.unit.extend_from_slice(&[0; PREFIX]);
    }

    #[inline]
    fn append(&mut self, mut bytes: &[u8], out: &mut impl FnMut(Output<'_, T>)) {
        let Some(mut nal) = self.nal else { return };
        if nal.role.is_none() {
            // The role decides which access unit the NAL unit belongs to, so no more bytes are taken before it is
            // known.
            let missing = (nal.at + PREFIX + self.codec.role_bytes()).saturating_sub(self.unit.len());
            let (head, rest) = bytes.split_at(missing.min(bytes.len()));
            self.reserve(head.len());
            self.unit.extend_from_slice(head);
            if head.len() < missing {
                return;
            }
            self.assign_role(out);
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
        self.reserve(bytes.len());
        self.unit.extend_from_slice(bytes);
    }

    /// Returns whether `bytes` exceed the limit, except for a few zeros at their end, which may belong to the next
    /// start code.
    fn is_over(&self, bytes: &[u8]) -> bool {
        let content = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        self.unit.len() + content > self.limit || self.unit.len() + bytes.len() > self.limit + START_CODE.len()
    }

    /// Makes room for `more` bytes. An access unit that reaches the end of its block moves to a new one, so at most one
    /// access unit per block is copied a second time.
    #[inline]
    fn reserve(&mut self, more: usize) {
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

    /// Determines the [`Role`] of the current NAL unit and acts on it.
    fn assign_role(&mut self, out: &mut impl FnMut(Output<'_, T>)) {
        let Some(Nal { mut at, time, .. }) = self.nal else { return };
        let role = self.codec.role(self.unit.get(at + PREFIX..).unwrap_or_default());
        let begins = match role {
            Role::Delimiter => true,
            Role::Parameters | Role::Before => self.sliced || self.searching,
            Role::Slice { first } => first && (self.sliced || self.searching),
            Role::Within | Role::Filler => false,
        };
        if begins {
            self.begin_unit(at, time, out);
            at = 0;
        } else if self.pending.is_none() {
            self.pending = time;
        }
        if role == (Role::Slice { first: false }) && !self.sliced && !self.searching {
            self.searching = true;
            at = 0;
            out(Output::Dropped);
        }
        let drop = self.searching || matches!(role, Role::Delimiter | Role::Filler);
        if drop {
            self.unit.truncate(at);
        }
        self.sliced |= !drop && matches!(role, Role::Slice { .. });
        self.nal = Some(Nal { at, role: Some(if drop { Role::Filler } else { role }), time: None });
    }

    /// Begins an access unit at byte `at` of the buffer. Outputs the previous one, or drops it if it has no slice.
    fn begin_unit(&mut self, at: usize, time: Option<T>, out: &mut impl FnMut(Output<'_, T>)) {
        let unit = self.unit.split_to(at.min(self.unit.len()));
        let before = std::mem::replace(&mut self.time, time);
        if self.sliced {
            out(Output::Unit(unit.freeze(), before));
        }
        (self.sliced, self.searching) = (false, false);
    }

    /// Ends the current NAL unit, which is now complete.
    fn end_nal(&mut self, out: &mut impl FnMut(Output<'_, T>)) {
        let Some(Nal { at, role, time }) = self.nal else { return };
        if role != Some(Role::Filler) {
            // Trailing zeros are padding, or begin the next start code.
            let content = self.unit.get(at + PREFIX..).unwrap_or_default();
            let len = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            if len == 0 {
                self.unit.truncate(at);
                self.pending = self.pending.or(time);
            } else {
                self.unit.truncate(at + PREFIX + len);
                if role.is_none() {
                    self.assign_role(out);
                }
                self.close(len, out);
            }
        }
        self.nal = None;
    }

    /// Writes the length of a complete NAL unit, or outputs it as [`Output::Parameters`].
    fn close(&mut self, len: usize, out: &mut impl FnMut(Output<'_, T>)) {
        match self.nal {
            Some(Nal { at, role: Some(Role::Parameters), .. }) => {
                out(Output::Parameters(self.unit.get(at + PREFIX..).unwrap_or_default()));
                self.unit.truncate(at);
            }
            Some(Nal { at, role: Some(role), .. }) if role != Role::Filler => {
                // The limit keeps access units far below 4 GB.
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
mod tests;
