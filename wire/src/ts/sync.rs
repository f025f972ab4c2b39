//! Packet synchronization: finds the packets, follows them over any cut of the input, and finds them again after a
//! loss.

use std::slice::from_ref;

use super::packet::{PACKET, SYNC};

/// Distances between sync bytes: plain, with a 4-byte time code in front (M2TS), with 16 bytes of Reed-Solomon code.
const STRIDES: [usize; 3] = [188, 192, 204];
/// Largest of [`STRIDES`].
const MAX_STRIDE: usize = 204;
/// Equidistant sync bytes that make a grid.
const LOCK: usize = 5;
/// Bytes that suffice to decide whether a grid begins at the first of them.
const WINDOW: usize = MAX_STRIDE * (LOCK - 1) + 1;

/// Output of [`Sync::push`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Found<'a> {
    /// Adjacent packets, each with its sync byte first.
    Packets(&'a [[u8; PACKET]]),
    /// The grid was lost: the next packets do not continue the previous ones.
    Lost,
}

/// Splits bytes into packets.
#[derive(Clone, Debug, Default)]
pub(super) struct Sync {
    /// Distance between packets; 0 while the grid is unknown.
    stride: usize,
    /// The packet that the input cut, while the grid is known; otherwise all bytes that may be part of a grid.
    held: Vec<u8>,
    /// Bytes after the packet that belong to no packet and are still to come.
    skip: usize,
    /// Bytes skipped since the grid was last known.
    passed: usize,
}

impl Sync {
    /// Returns the number of bytes skipped since the grid was last known.
    pub(super) const fn passed(&self) -> usize {
        self.passed
    }

    /// Returns the distance between packets, once it is known.
    pub(super) fn stride(&self) -> Option<usize> {
        (self.stride > 0).then_some(self.stride)
    }

    /// Takes all of `input` and passes its packets to `out`.
    pub(super) fn push(&mut self, mut input: &[u8], out: &mut impl FnMut(Found<'_>)) {
        loop {
            input = if self.stride == 0 { self.search(input, out) } else { self.follow(input, out) };
            if input.is_empty() {
                return;
            }
        }
    }

    /// Ends the input: outputs packets of a grid that is too short for [`Sync::push`] to trust.
    pub(super) fn finish(&mut self, out: &mut impl FnMut(Found<'_>)) {
        if self.stride > 0 {
            return;
        }
        let held = std::mem::take(&mut self.held);
        let Some((at, stride)) = short_grid(&held) else { return };
        for chunk in held.get(at..).unwrap_or_default().chunks(stride) {
            if let Some(packet) = chunk.first_chunk() {
                out(Found::Packets(from_ref(packet)));
            }
        }
    }

    /// Collects bytes until a grid is found; returns the input after the collected bytes.
    fn search<'a>(&mut self, input: &'a [u8], out: &mut impl FnMut(Found<'_>)) -> &'a [u8] {
        // A few bytes at a time, because the rest is followed in place once the grid is known.
        let (taken, rest) = input.split_at(input.len().min((2 * WINDOW).saturating_sub(self.held.len()).max(1)));
        self.held.extend_from_slice(taken);
        while self.stride == 0 && self.held.len() >= WINDOW {
            let Some((at, stride)) = grid(&self.held) else {
                // No grid begins at a byte that has a whole window after it.
                let gone = self.held.len() + 1 - WINDOW;
                self.held.drain(..gone);
                self.passed = self.passed.saturating_add(gone);
                break;
            };
            let held = std::mem::take(&mut self.held);
            (self.stride, self.skip, self.passed) = (stride, 0, 0);
            let mut left = held.get(at..).unwrap_or_default();
            while !left.is_empty() && self.stride > 0 {
                left = self.follow(left, out);
            }
            self.held.extend_from_slice(left);
        }
        rest
    }

    /// Takes plain packets that are complete in the input, as most are.
    fn plain_packets<'a>(&self, input: &'a [u8], out: &mut impl FnMut(Found<'_>)) -> &'a [u8] {
        if self.stride != PACKET {
            return input;
        }
        let (packets, _) = input.as_chunks::<PACKET>();
        let row = packets.iter().take_while(|[first, ..]| *first == SYNC).count();
        let (row, _) = packets.split_at(row);
        if !row.is_empty() {
            out(Found::Packets(row));
        }
        input.get(row.len() * PACKET..).unwrap_or_default()
    }

    /// Follows the grid; returns the rest of the input where the grid ends.
    fn follow<'a>(&mut self, mut input: &'a [u8], out: &mut impl FnMut(Found<'_>)) -> &'a [u8] {
        loop {
            let (skipped, rest) = input.split_at(input.len().min(self.skip));
            self.skip -= skipped.len();
            input = if self.held.is_empty() { self.plain_packets(rest, out) } else { rest };
            let Some(first) = self.held.first().or(input.first()) else { return input };
            if *first != SYNC {
                self.stride = 0;
                out(Found::Lost);
                return input;
            }
            if self.held.is_empty() {
                if let Some((packet, rest)) = input.split_first_chunk() {
                    out(Found::Packets(from_ref(packet)));
                    input = rest;
                } else {
                    self.held.extend_from_slice(input);
                    return &[];
                }
            } else {
                let (taken, rest) = input.split_at(input.len().min(PACKET - self.held.len()));
                self.held.extend_from_slice(taken);
                input = rest;
                let Some(packet) = self.held.first_chunk() else { return input };
                out(Found::Packets(from_ref(packet)));
                self.held.clear();
            }
            self.skip = self.stride - PACKET;
        }
    }
}

/// Returns the first offset in `bytes`, with a window after it, at which a grid begins, and its stride.
fn grid(bytes: &[u8]) -> Option<(usize, usize)> {
    let last = (bytes.len() + 1).saturating_sub(WINDOW);
    memchr::memchr_iter(SYNC, bytes.get(..last)?).find_map(|at| {
        let row = |stride: &usize| {
            bytes.get(at..).unwrap_or_default().iter().step_by(*stride).take(LOCK).all(|byte| *byte == SYNC)
        };
        Some((at, STRIDES.into_iter().find(row)?))
    })
}

/// Returns the first offset in `bytes` from which sync bytes are equidistant up to the end, at least one packet, and
/// the stride.
fn short_grid(bytes: &[u8]) -> Option<(usize, usize)> {
    let last = (bytes.len() + 1).saturating_sub(PACKET);
    memchr::memchr_iter(SYNC, bytes.get(..last)?).find_map(|at| {
        let row =
            |stride: &usize| bytes.get(at..).unwrap_or_default().iter().step_by(*stride).all(|byte| *byte == SYNC);
        Some((at, STRIDES.into_iter().find(row)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns `count` packets numbered in their second byte, each `stride` long with `lead` bytes in front.
    fn stream(stride: usize, lead: usize, count: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        for n in 0..count {
            bytes.extend(std::iter::repeat_n(0xee, lead));
            bytes.extend([SYNC, n]);
            bytes.extend(std::iter::repeat_n(0xaa, PACKET - 2));
            bytes.extend(std::iter::repeat_n(0xcc, stride - lead - PACKET));
        }
        bytes
    }

    /// Returns the numbers of the packets found; 255 for a lost grid.
    fn found(parts: &[&[u8]]) -> Vec<u8> {
        let (mut sync, mut numbers) = (Sync::default(), Vec::new());
        let mut out = |found: Found<'_>| match found {
            Found::Packets(packets) => numbers.extend(packets.iter().map(|packet| packet[1])),
            Found::Lost => numbers.push(255),
        };
        for part in parts {
            sync.push(part, &mut out);
            assert!(sync.held.len() <= 2 * WINDOW);
        }
        sync.finish(&mut out);
        numbers
    }

    #[test]
    fn every_stride_at_every_cut() {
        for (stride, lead) in [(188, 0), (192, 4), (204, 0)] {
            let bytes = [&[0x47, 1, 2, 0x47][..], &stream(stride, lead, 9)].concat();
            for at in 0..=bytes.len() {
                let (head, tail) = bytes.split_at(at);
                assert_eq!(found(&[head, tail]), (0..9).collect::<Vec<u8>>(), "stride {stride}, cut at {at}");
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(found(&single), (0..9).collect::<Vec<u8>>(), "stride {stride}, byte by byte");
        }
    }

    #[test]
    fn a_lost_grid_is_found_again() {
        let mut bytes = stream(188, 0, 20);
        bytes.splice(188 * 8..188 * 8 + 50, []);
        let expected: Vec<u8> = (0..8).chain([255]).chain(9..20).collect();
        assert_eq!(found(&[&bytes]), expected);
        let at = bytes.len() - 6 * 188;
        bytes[at] = 0;
        let expected: Vec<u8> = (0..8).chain([255]).chain(9..14).chain([255]).chain(15..20).collect();
        assert_eq!(found(&[&bytes]), expected, "one bad sync byte costs one packet");
    }

    #[test]
    fn a_short_stream_is_taken_at_its_end() {
        assert_eq!(found(&[&stream(188, 0, 3)]), [0, 1, 2]);
        assert_eq!(found(&[&stream(192, 4, 2)]), [0, 1]);
        assert!(found(&[&[SYNC; 100]]).is_empty());
    }

    #[test]
    fn other_bytes_are_skipped() {
        let mut sync = Sync::default();
        for _ in 0..100 {
            sync.push(&[0x55; 1_000], &mut |found| panic!("{found:?}"));
        }
        assert!(sync.passed() > 98_000 && sync.stride().is_none());
    }
}
