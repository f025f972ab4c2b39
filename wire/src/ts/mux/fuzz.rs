//! Body of the fuzz target `ts_mux`; see [`crate::fuzz`].

use bytes::Bytes;
use media::codec::{aac, avc, opus};
use media::{Access, CodecConfig, Frame, Metadata, MetadataKind, Timescale, Timestamp, Track, TrackId};

use super::super::{Demuxer, FIRST_AUDIO_TRACK, Limits, Stats, VIDEO_TRACK};
use super::clock::wrapped;
use super::{DATAGRAM, Muxer, PACKET};
use crate::Item;

/// Longest input.
const MAX_LEN: usize = 16 << 10;
/// Parameter sets of x264: 1280x720, High profile.
const SPS: &[u8] = &[
    0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00,
    0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19,
];
const PPS: [&[u8]; 2] = [&[0x68, 0xeb, 0xe3, 0xcb], &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0]];
/// Track with Opus.
const OPUS_TRACK: TrackId = TrackId(3);

/// A muxer with what was written so far.
struct Session {
    muxer: Muxer,
    bytes: Vec<u8>,
    frames: Vec<Frame>,
    tags: Vec<Metadata>,
    now: Timestamp,
}

/// Tests the muxer with operations, each in three bytes and the bytes that it takes: valid frames are read again, and
/// invalid ones leave a valid stream.
pub fn ts_mux(data: &[u8]) {
    let mut rest = data.get(..MAX_LEN).unwrap_or(data);
    let (mut valid, mut any) = (Session::new(), Session::new());
    while let [op, len, step, tail @ ..] = rest {
        let (bytes, next) = tail.split_at(tail.len().min(usize::from(*len) * usize::from(op >> 4 & 3)));
        rest = next;
        // The first seconds, or any time.
        valid.now += Timescale::NINETY_KHZ.delta(i64::from(*step) << 6);
        match op & 7 {
            0 | 1 => valid.video(bytes, op & 8 != 0),
            2 => valid.audio(FIRST_AUDIO_TRACK, 0x21, bytes),
            3 => valid.audio(OPUS_TRACK, 0xfc, bytes),
            4 => valid.tag(bytes),
            5 => valid.jump(bytes),
            6 => valid.add(&video_track(usize::from(op >> 3 & 1))),
            _ => any.anything(*step, bytes),
        }
        if op & 0x80 != 0 {
            valid.drain();
        }
    }
    valid.check();
    any.drain();
    read(&any.bytes);
}

fn video_track(pps: usize) -> Option<Track> {
    let pps = Bytes::from_static(PPS.get(pps)?);
    let config = avc::Config::from_parameter_sets(&[Bytes::from_static(SPS)], &[pps]).ok()?;
    Some(Track::new(VIDEO_TRACK, CodecConfig::Avc(config)))
}

fn audio_track(id: TrackId) -> Option<Track> {
    let codec = match id {
        OPUS_TRACK => CodecConfig::Opus(opus::Config::new(2).ok()?),
        _ => CodecConfig::Aac(aac::Config::new(2, 48_000, 2).ok()?),
    };
    Some(Track::new(id, codec))
}

impl Session {
    fn new() -> Self {
        let mut session = Self {
            muxer: Muxer::default(),
            bytes: Vec::new(),
            frames: Vec::new(),
            tags: Vec::new(),
            now: Timestamp::ZERO,
        };
        [video_track(0), audio_track(FIRST_AUDIO_TRACK), audio_track(OPUS_TRACK)].iter().for_each(|t| session.add(t));
        session
    }

    fn add(&mut self, track: &Option<Track>) {
        assert!(track.as_ref().is_some_and(|track| self.muxer.add_track(track).is_ok()));
    }

    fn frame(&mut self, track: TrackId, pts: Timestamp, access: Access, payload: Vec<u8>) {
        let frame = Frame { track, dts: self.now, pts, access, payload: payload.into() };
        assert_eq!(self.muxer.frame(&frame), Ok(()));
        self.frames.push(frame);
    }

    /// Writes a frame of one slice. The first one can be decoded, or the demuxer would drop it.
    fn video(&mut self, bytes: &[u8], key: bool) {
        let key = key || self.frames.iter().all(|frame| frame.track != VIDEO_TRACK);
        let mut nal = vec![if key { 0x65 } else { 0x41 }, 0x88];
        for byte in bytes {
            // No start code arises.
            nal.push(if nal.ends_with(&[0, 0]) && *byte < 4 { 4 } else { *byte });
        }
        nal.push(0x80);
        let payload = [&(nal.len() as u32).to_be_bytes(), &nal[..]].concat();
        let pts = self.now + Timescale::NINETY_KHZ.delta(bytes.len() as i64);
        self.frame(VIDEO_TRACK, pts, Access::independent_if(key), payload);
    }

    fn audio(&mut self, track: TrackId, first: u8, bytes: &[u8]) {
        self.frame(track, self.now, Access::Independent, [&[first], bytes].concat());
    }

    fn tag(&mut self, bytes: &[u8]) {
        // The size in the tag is zero, so the demuxer does not wait for more of it.
        let payload = [b"ID3\x04\0\0\0\0\0\0", bytes].concat().into();
        let tag = Metadata { kind: MetadataKind::Id3, pts: self.now, payload };
        assert_eq!(self.muxer.metadata(&tag), Ok(()));
        self.tags.push(tag);
    }

    fn jump(&mut self, bytes: &[u8]) {
        let ticks = bytes.iter().take(5).fold(0i64, |ticks, byte| ticks << 8 | i64::from(*byte));
        self.now = Timescale::NINETY_KHZ.timestamp(ticks - (1 << 20));
        self.muxer.discontinuity();
    }

    /// Writes a frame or a section with any content.
    fn anything(&mut self, kind: u8, bytes: &[u8]) {
        let ticks = bytes.iter().take(6).fold(0i64, |ticks, byte| ticks << 8 | i64::from(*byte));
        let (dts, payload) = (Timescale::NINETY_KHZ.timestamp(ticks), Bytes::copy_from_slice(bytes));
        let access = if kind & 0x80 != 0 { Access::Open } else { Access::Dependent };
        let _ = match kind & 7 {
            0..4 => self.muxer.frame(&Frame { track: TrackId(u32::from(kind & 3)), dts, pts: dts, access, payload }),
            4 => self.muxer.metadata(&Metadata { kind: MetadataKind::Scte35, pts: dts, payload }),
            5 => self.muxer.metadata(&Metadata { kind: MetadataKind::Id3, pts: dts, payload }),
            6 => audio_track(TrackId(u32::from(kind))).map_or(Ok(()), |track| self.muxer.add_track(&track)),
            _ => {
                self.muxer.remove_track(TrackId(u32::from(kind >> 3)));
                Ok(())
            }
        };
    }

    fn drain(&mut self) {
        while let Some(datagram) = self.muxer.datagram() {
            assert_eq!(datagram.len(), DATAGRAM);
            self.bytes.extend_from_slice(&datagram);
        }
        if let Some(datagram) = self.muxer.flush() {
            assert!(datagram.len() < DATAGRAM && datagram.len().is_multiple_of(PACKET));
            self.bytes.extend_from_slice(&datagram);
        }
    }

    /// Asserts that what was written is read.
    fn check(mut self) {
        self.drain();
        let items = read(&self.bytes);
        let same = |a: Timestamp, b: Timestamp| wrapped(super::ticks(a)) == wrapped(super::ticks(b));
        for track in [VIDEO_TRACK, FIRST_AUDIO_TRACK, OPUS_TRACK] {
            let found = items.iter().filter_map(|item| if let Item::Frame(frame) = item { Some(frame) } else { None });
            let found: Vec<_> = found.filter(|frame| frame.track == track).collect();
            let written: Vec<_> = self.frames.iter().filter(|frame| frame.track == track).collect();
            assert_eq!(found.len(), written.len(), "{track:?}");
            for (found, written) in found.iter().zip(written) {
                assert!(same(found.dts, written.dts) && same(found.pts, written.pts), "{found:?} is not {written:?}");
                assert_eq!(found.access, written.access);
                // Parameter sets that changed come first.
                assert!(found.payload.ends_with(&written.payload), "{found:?} is not {written:?}");
            }
        }
        let found = items.iter().filter_map(|item| if let Item::Metadata(tag) = item { Some(tag) } else { None });
        let found: Vec<_> = found.collect();
        assert_eq!(found.len(), self.tags.len());
        for (found, written) in found.iter().zip(&self.tags) {
            assert!(same(found.pts, written.pts) && found.payload == written.payload);
        }
    }
}

/// Reads a stream; asserts that its packets and tables are right.
fn read(bytes: &[u8]) -> Vec<Item> {
    let (mut demuxer, mut items) = (Demuxer::new(Limits::default()), Vec::new());
    assert!(demuxer.push(bytes, &mut items).is_ok());
    demuxer.finish(&mut items);
    let Stats { damaged_packets, duplicates, continuity_errors, resyncs, bad_crc, wrong_lengths, .. } =
        *demuxer.stats();
    assert_eq!([damaged_packets, duplicates, continuity_errors, resyncs, bad_crc, wrong_lengths], [0; 6]);
    items
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn operations_are_read_as_written(bytes in prop::collection::vec(any::<u8>(), 0..9_000)) {
            super::ts_mux(&bytes);
        }
    }
}
