//! The source as one more rendition, where its codec is not that of the ladder.
//!
//! No encoder fills the gaps of this rendition, so it is absent while the contribution is.

use media::{CodecConfig, FrameRate, LatencyMode, TickGrid, TimeDelta, Timestamp, Track, TrackId};

use crate::api::Output;
use crate::plan::{EncoderParams, Rung};
use crate::source::passthrough::{Passthrough, TickSource};

/// Longest time for which an image that is repeated still counts as presented, so that the rendition stays present.
const MAX_REPEAT: TimeDelta = TimeDelta::from_millis(500);

/// The contribution's own frames as one more rung.
pub(crate) struct SourceRendition {
    pub(crate) passthrough: Passthrough,
    index: usize,
    rung: Rung,
    track: Track,
    presence: Presence,
    /// Tick before which the frames end. The end is reported once an encoded rendition has reached this tick.
    ends_at: Option<Timestamp>,
}

/// Presence of the rendition, as far as it was reported.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// No frame was forwarded yet, and the track was not announced.
    Unannounced,
    Present,
    Absent,
}

impl SourceRendition {
    /// Returns rung `index` for a source with this header.
    ///
    /// `None` if the source is H.264, because [`Passthrough`] then takes the place of the reference rendition; if its
    /// `rate` is not that of the `reference` rendition; and in [`LatencyMode::Low`].
    pub(crate) fn new(
        index: usize,
        reference: &Rung,
        rate: FrameRate,
        header: &CodecConfig,
        params: &EncoderParams,
    ) -> Option<Self> {
        let supported = matches!(header, CodecConfig::Hevc(_) | CodecConfig::Av1(_) | CodecConfig::Vp9(_));
        // In low latency mode a player has too little media buffered to change to another codec when the source leaves.
        if !supported || reference.rate != rate || params.mode == LatencyMode::Low {
            return None;
        }
        let (width, height) = header.display_size()?;
        let id = TrackId(u32::try_from(index).ok()?);
        let rung = Rung { name: "source".to_owned(), width, height, ..reference.clone() };
        // No bound on its bit rate: players see what it needs, and may choose another rendition.
        let passthrough = Passthrough::new(id, params.ticks, params.mode, u32::MAX);
        let track = Track::new(id, header.clone());
        Some(Self { passthrough, index, rung, track, presence: Presence::Unannounced, ends_at: None })
    }

    /// Returns whether frames with this header belong to the rendition.
    pub(crate) fn matches(&self, codec: &CodecConfig) -> bool {
        self.track.codec == *codec
    }

    /// Decides what the rendition has on the tick at `at`, where the image with this PTS is presented; see
    /// [`Passthrough::select`].
    pub(crate) fn select(
        &mut self,
        image: Option<Timestamp>,
        live: bool,
        at: Timestamp,
        ticks: TickGrid,
    ) -> TickSource {
        let newest = self.passthrough.newest();
        let repeated = |pts: Timestamp| newest.is_some_and(|(newest, since)| pts == newest && at - since < MAX_REPEAT);
        let source = self.passthrough.select(image.filter(|pts| live || repeated(*pts)), at, ticks);
        if let TickSource::Encoder { begins } = source {
            self.passthrough.cancel_newest();
            self.ends_at = self.ends_at.or(begins.then_some(at));
        }
        source
    }

    /// Moves frames to `out`, and reports whether the rendition is present. `position` is the newest PTS that left an
    /// encoder.
    pub(crate) fn collect(&mut self, position: Timestamp, out: &mut Vec<Output>) {
        while let Some(frame) = self.passthrough.pull() {
            if self.ends_at.is_some_and(|end| frame.pts >= end) {
                self.leave(out);
            }
            match std::mem::replace(&mut self.presence, Presence::Present) {
                Presence::Present => {}
                Presence::Absent => out.push(Output::Restored { rung: self.index }),
                Presence::Unannounced => {
                    let (rung, track) = (self.rung.clone(), self.track.clone());
                    out.push(Output::Rung { n: self.index, rung, track });
                }
            }
            out.push(Output::Frame(frame));
        }
        if self.ends_at.is_some_and(|end| position >= end) {
            self.leave(out);
        }
    }

    fn leave(&mut self, out: &mut Vec<Output>) {
        self.ends_at = None;
        if self.presence == Presence::Present {
            self.presence = Presence::Absent;
            out.push(Output::Absent { rung: self.index });
        }
    }
}
