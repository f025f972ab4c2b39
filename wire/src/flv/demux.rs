//! From FLV tags to tracks and frames.

use bytes::Bytes;
use media::codec::{aac, avc};
use media::{Access, CodecConfig, Frame, TimeDelta, Timescale, Track, TrackId};

use super::{Audio, Packet, Tag, Video};
use crate::Item;

/// The track of all video tags.
pub const VIDEO_TRACK: TrackId = TrackId(1);
/// The track of all audio tags.
pub const AUDIO_TRACK: TrackId = TrackId(2);

/// Turns tags into tracks and frames, trusting the sequence headers only.
#[derive(Clone, Debug, Default)]
pub struct Demuxer {
    video: Option<avc::Config>,
    audio: Option<aac::Config>,
    dropped: u64,
}

impl Demuxer {
    /// A demuxer that has seen no header yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next tag. A header that says nothing new gives nothing; a frame before its header, an empty one or one
    /// of a codec that is not carried is dropped and counted.
    pub fn push(&mut self, tag: Tag) -> Option<Item> {
        match tag.packet {
            Packet::Video(Video::AvcHeader(config)) => {
                let codec = changed(&mut self.video, config)?;
                Some(Item::Track(Track::new(VIDEO_TRACK, CodecConfig::Avc(codec))))
            }
            Packet::Audio(Audio::AacHeader(config)) => {
                let codec = changed(&mut self.audio, config)?;
                Some(Item::Track(Track::new(AUDIO_TRACK, CodecConfig::Aac(codec))))
            }
            Packet::Video(Video::Avc { composition_ms, payload, .. }) => {
                // The tag's own flag lies; the NAL units do not.
                let access = self.video.as_ref().map(|config| Access::independent_if(config.is_idr(&payload)));
                self.frame(VIDEO_TRACK, tag.millis, composition_ms, access, payload)
            }
            Packet::Audio(Audio::Aac(payload)) => {
                let access = self.audio.as_ref().map(|_| Access::Independent);
                self.frame(AUDIO_TRACK, tag.millis, 0, access, payload)
            }
            Packet::Video(Video::Unsupported(_)) | Packet::Audio(Audio::Unsupported(_)) => {
                self.dropped += 1;
                None
            }
            Packet::Video(Video::AvcEnd | Video::Nothing) | Packet::Audio(Audio::Nothing) => None,
        }
    }

    /// Frames dropped so far.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// A frame `offset_ms` before its presentation; `access` is none where the track has no header yet.
    fn frame(
        &mut self,
        track: TrackId,
        millis: i64,
        offset_ms: i32,
        access: Option<Access>,
        payload: Bytes,
    ) -> Option<Item> {
        let Some(access) = access.filter(|_| !payload.is_empty()) else {
            self.dropped += 1;
            return None;
        };
        let dts = Timescale::MILLIS.timestamp(millis);
        let pts = dts + TimeDelta::from_millis(offset_ms.into());
        Some(Item::Frame(Frame { track, dts, pts, access, payload }))
    }
}

/// Keeps `new` and returns it if it differs from what was there.
fn changed<T: Clone + PartialEq>(old: &mut Option<T>, new: T) -> Option<T> {
    if old.as_ref() == Some(&new) {
        return None;
    }
    *old = Some(new.clone());
    Some(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::Kind;

    // x264, 1280x720, High profile; then a picture parameter set.
    const AVCC: [u8; 36] = [
        1, 0x64, 0x00, 0x1f, 0xff, 0xe1, 0, 25, 0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10,
        0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19, 1, 0, 0,
    ];

    fn video(millis: i64, bytes: &[u8]) -> Tag {
        Tag { millis, packet: Packet::Video(Video::parse(&Bytes::copy_from_slice(bytes)).unwrap()) }
    }

    fn audio(millis: i64, bytes: &[u8]) -> Tag {
        Tag { millis, packet: Packet::Audio(Audio::parse(&Bytes::copy_from_slice(bytes)).unwrap()) }
    }

    fn header() -> Tag {
        video(0, &[&[0x17, 0, 0, 0, 0][..], &AVCC].concat())
    }

    #[test]
    fn a_header_makes_a_track_once() {
        let mut demuxer = Demuxer::new();
        assert!(
            matches!(demuxer.push(header()), Some(Item::Track(t)) if t.id == VIDEO_TRACK && t.kind() == Kind::Video)
        );
        assert_eq!(demuxer.push(header()), None);
        assert!(matches!(demuxer.push(audio(0, &[0xaf, 0, 0x11, 0x90])), Some(Item::Track(t)) if t.id == AUDIO_TRACK));
        assert_eq!(demuxer.push(audio(0, &[0xaf, 0, 0x11, 0x90])), None);
        assert!(matches!(demuxer.push(audio(9, &[0xaf, 0, 0x12, 0x10])), Some(Item::Track(_))), "a changed header");
    }

    #[test]
    fn frames_before_their_header_are_dropped_and_counted() {
        let mut demuxer = Demuxer::new();
        assert_eq!(demuxer.push(video(0, &[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65])), None);
        assert_eq!(demuxer.push(audio(0, &[0xaf, 1, 0x21])), None);
        demuxer.push(header());
        assert_eq!(demuxer.push(audio(0, &[0xaf, 1, 0x21])), None, "the header of the other track does not count");
        assert_eq!(demuxer.push(video(0, &[0x17, 1, 0, 0, 0])), None, "an empty frame");
        assert_eq!(demuxer.dropped(), 4);
    }

    #[test]
    fn key_is_what_the_nal_units_say() {
        let mut demuxer = Demuxer::new();
        demuxer.push(header());
        let mut key = |flag: u8, nal: u8| match demuxer.push(video(40, &[flag, 1, 0, 0, 80, 0, 0, 0, 1, nal])) {
            Some(Item::Frame(frame)) => frame.access.is_independent(),
            other => panic!("{other:?}"),
        };
        assert_eq!([key(0x17, 0x65), key(0x27, 0x65), key(0x17, 0x41)], [true, true, false]);
    }

    #[test]
    fn presentation_is_decoding_and_composition_time() {
        let mut demuxer = Demuxer::new();
        demuxer.push(header());
        let Some(Item::Frame(frame)) = demuxer.push(video(1 << 33, &[0x27, 1, 0xff, 0xff, 0xd8, 0, 0, 0, 1, 0x41]))
        else {
            panic!("a frame");
        };
        assert_eq!(Timescale::MILLIS.ticks(frame.dts), 1 << 33);
        assert_eq!((frame.pts - frame.dts).as_millis(), -40);
    }
}
