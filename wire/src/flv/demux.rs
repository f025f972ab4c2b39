//! Converts FLV tags to tracks and frames.

use bytes::Bytes;
use media::codec::av1;
use media::{Fault, FaultReport, Frame, Kind, TimeDelta, Timescale, Track, TrackId};

use super::output::{Output, Stamp};
use super::track::{Reason, TrackState, Unsupported};
use super::{Body, Codec, Packet, Tag};
use crate::Item;

/// Track id of all video tags.
pub const VIDEO_TRACK: TrackId = TrackId(1);
/// Most audio tracks; further ones are unsupported.
const MAX_AUDIO: usize = 8;
/// Most tracks with a [`TrackState`]; tags of further ones are dropped.
const MAX_TRACK_STATES: usize = 64;
/// Most reports of unsupported tracks, so that no encoder fills the log.
const MAX_REPORTS: u32 = 32;
/// Most items that wait for the decision about a first frame. With more, the frame counts as complete.
const MAX_QUEUED: usize = 64;
/// Media time in milliseconds without a supported track after which the contribution counts as unsupported.
const UNSUPPORTED_AFTER_MS: i64 = 5_000;
/// Timescale of ModEx.
const NANOS: Timescale = Timescale::new(1_000_000_000);

/// Returns the track id of audio tags with this track number, which is 0 outside multitrack messages.
pub const fn audio_track(number: u8) -> TrackId {
    TrackId(2 + number as u32)
}

/// Turns tags into tracks and frames. Only the sequence headers and the frames count, not the tags' flags.
#[derive(Clone, Debug, Default)]
pub struct Demuxer {
    tracks: Vec<TrackState>,
    dropped: u64,
    reported: u32,
    last_reported: Option<Unsupported>,
    /// Times of the first and the last tag, in milliseconds.
    span: Option<(i64, i64)>,
    /// Items that arrived after a first frame that is still undecided, in order; bounded by [`MAX_QUEUED`].
    queued: Vec<Item>,
}

impl Demuxer {
    /// Creates a demuxer that has seen no header yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next tag and returns its tracks and frames, and reports of what was repaired or dropped.
    ///
    /// A header that repeats the previous one yields nothing. An empty frame, a frame before its header and a frame of
    /// an unsupported track are dropped and counted. A frame that is split over several tags is returned when the next
    /// one begins.
    pub fn push(&mut self, tag: Tag) -> impl Iterator<Item = Item> + use<> {
        let Tag { millis, packet } = tag;
        self.span = Some((self.span.map_or(millis, |(first, _)| first), millis));
        let is_frame = matches!(packet.body, Body::Frame { .. });
        let (kind, track, codec) = (packet.kind, packet.track, packet.codec);
        let (mut out, mut items) = (Vec::new(), Vec::new());
        let taken = self.packet(millis, packet, &mut out);
        let taken = self.emit((kind, track), out, &mut items).and(taken);
        if let Err(reason) = taken {
            self.dropped += u64::from(is_frame);
            self.report_unsupported(Unsupported { kind, track, codec, reason }, &mut items);
        }
        self.in_order(items).into_iter()
    }

    /// Returns the items in order of arrival. A first frame that waits for the next message delays those that follow
    /// it.
    fn in_order(&mut self, mut items: Vec<Item>) -> Vec<Item> {
        if self.tracks.iter().any(TrackState::is_undecided) {
            self.queued.append(&mut items);
            if self.queued.len() <= MAX_QUEUED {
                return Vec::new();
            }
            self.tracks.iter_mut().for_each(TrackState::decide);
            return self.finish().collect();
        }
        if !self.queued.is_empty() {
            // The delayed frame is the first that this message yields.
            let frame = items.iter().position(|item| matches!(item, Item::Frame(_)));
            let at = frame.map_or(0, |at| at + 1);
            items.splice(at..at, self.queued.drain(..));
        }
        items
    }

    /// Ends the stream and returns the frames that were waiting for more data.
    pub fn finish(&mut self) -> impl Iterator<Item = Item> + use<> {
        let mut items = Vec::new();
        for n in 0..self.tracks.len() {
            let Some(track_state) = self.tracks.get_mut(n) else { continue };
            let (name, mut out) = ((track_state.kind, track_state.number), Vec::new());
            track_state.flush(&mut out);
            // Nothing of an unsupported track is waiting.
            let _ = self.emit(name, out, &mut items);
        }
        items.append(&mut self.queued);
        items.into_iter()
    }

    /// Returns the number of dropped frames.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Returns the track that was last found to be unsupported, and why.
    pub const fn unsupported(&self) -> Option<&Unsupported> {
        self.last_reported.as_ref()
    }

    /// Returns why the contribution as a whole is unsupported: none of its tracks was supported for a while.
    pub fn unsupported_reason(&self) -> Option<&Unsupported> {
        let (first, last) = self.span?;
        let waited = last.saturating_sub(first) >= UNSUPPORTED_AFTER_MS
            && !self.tracks.iter().any(|track_state| track_state.admitted);
        self.last_reported.as_ref().filter(|_| waited)
    }

    /// Passes a packet to its [`TrackState`].
    fn packet(&mut self, millis: i64, packet: Packet, out: &mut Vec<Output>) -> Result<(), Reason> {
        let Packet { kind, track: number, codec, nanos, body } = packet;
        let Some(track_state) = self.track_state(kind, number) else { return Ok(()) };
        match body {
            Body::Header(header) => track_state.header(codec, &header, out),
            Body::TransportHeader => Err(track_state.transport_header(codec)),
            Body::Frame { composition_ms, payload } => {
                let dts = Timescale::MILLIS.timestamp(millis) + NANOS.delta(nanos.into());
                let stamp = Stamp { dts, pts: dts + TimeDelta::from_millis(composition_ms.into()) };
                track_state.frame(codec, stamp, sample(codec, payload), out)
            }
        }
    }

    /// Converts the outputs of a track to items.
    fn emit(&mut self, (kind, number): (Kind, u8), out: Vec<Output>, items: &mut Vec<Item>) -> Result<(), Reason> {
        let id = if kind == Kind::Video { VIDEO_TRACK } else { audio_track(number) };
        let report = |fault, detail: &str| {
            let report = FaultReport::new(fault, Some(id));
            Item::Fault(if detail.is_empty() { report } else { report.with_detail(detail) })
        };
        let mut refused = Ok(());
        for output in out {
            match output {
                Output::Config(config) => match self.admit(kind, number) {
                    Ok(()) => items.push(Item::Track(Track::new(id, config))),
                    Err(reason) => refused = Err(reason),
                },
                Output::Frame(Stamp { dts, pts }, access, payload) if self.is_admitted(kind, number) => {
                    items.push(Item::Frame(Frame { track: id, dts, pts, access, payload }));
                }
                // The first frame is counted together with the reason.
                Output::Frame(..) => self.dropped += u64::from(refused.is_ok()),
                Output::VideoExpected if number == 0 => items.push(Item::VideoExpected),
                Output::VideoExpected => {}
                Output::Repaired(fault, detail) => items.push(report(fault, detail)),
                Output::Dropped(why) => {
                    self.dropped += 1;
                    items.extend(why.map(|(fault, detail)| report(fault, detail)));
                }
            }
        }
        refused
    }

    /// Returns the state of a track; `None` if there are too many tracks.
    fn track_state(&mut self, kind: Kind, number: u8) -> Option<&mut TrackState> {
        let found = self.tracks.iter().position(|track_state| track_state.is(kind, number));
        if found.is_none() {
            if self.tracks.len() == MAX_TRACK_STATES {
                return None;
            }
            self.tracks.push(TrackState::new(kind, number));
        }
        match found {
            Some(at) => self.tracks.get_mut(at),
            None => self.tracks.last_mut(),
        }
    }

    fn is_admitted(&self, kind: Kind, number: u8) -> bool {
        self.tracks.iter().any(|track_state| track_state.admitted && track_state.is(kind, number))
    }

    /// Admits a supported track, if the limits allow another one.
    fn admit(&mut self, kind: Kind, number: u8) -> Result<(), Reason> {
        let others = self
            .tracks
            .iter()
            .filter(|track_state| track_state.admitted && track_state.kind == kind && track_state.number != number);
        match (kind, others.count()) {
            (Kind::Video, 1..) => return Err(Reason::SecondVideo),
            (Kind::Audio, MAX_AUDIO..) => return Err(Reason::TooManyAudio(MAX_AUDIO)),
            _ => {}
        }
        if let Some(track_state) = self.track_state(kind, number) {
            track_state.admitted = true;
        }
        Ok(())
    }

    /// Reports why a track is unsupported, unless that was reported before.
    fn report_unsupported(&mut self, unsupported: Unsupported, items: &mut Vec<Item>) {
        if self.reported == MAX_REPORTS {
            return;
        }
        let Some(track_state) = self.track_state(unsupported.kind, unsupported.track) else { return };
        if track_state.mark_reported(&unsupported) {
            return;
        }
        self.reported += 1;
        let id = if unsupported.kind == Kind::Video { VIDEO_TRACK } else { audio_track(unsupported.track) };
        items.push(Item::Fault(FaultReport::new(Fault::TrackLeftOut, Some(id)).with_detail(unsupported.to_string())));
        self.last_reported = Some(unsupported);
    }
}

/// Returns a frame as an MP4 sample holds it.
fn sample(codec: Codec, payload: Bytes) -> Bytes {
    if codec == Codec::Av1 { av1::without_delimiters(payload) } else { payload }
}

#[cfg(test)]
mod tests;
