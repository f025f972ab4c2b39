//! Changes of codec headers on a connection, which take effect at a key frame.

use media::{Access, Fault, FaultReport, Frame, Kind, TimeDelta, Track};

use super::{AUDIO_TIMEOUT, Item, Splice};

/// Amount of media without any video after which a change no longer waits for a key frame.
const VIDEO_TIMEOUT: TimeDelta = TimeDelta::from_secs(4);

impl Splice {
    /// Defers a new header of an audio track that has begun until video can begin again too. Returns `false` if there is
    /// nothing to wait for.
    pub(super) fn defer_change(&mut self, track: &Track, out: &mut Vec<Item>) -> bool {
        let began = self.began.is_some() && !self.discontinuity_due && self.passthrough;
        let Some(state) = self.tracks.get_mut(&track.id).filter(|_| began) else { return false };
        let has_begun = state.grid.is_some();
        if track.kind() != Kind::Audio || !has_begun {
            // The packager holds video back until a key frame; frames before it cannot be decoded.
            state.awaits_key_frame |= changes_video(state.presented.is_some(), &state.track, track);
            return false;
        }
        if state.track.codec == track.codec {
            if state.pending_header.take().is_some() {
                state.timeout = AUDIO_TIMEOUT;
            }
            return false;
        }
        state.timeout = TimeDelta::ZERO;
        state.pending_header = Some(track.clone());
        out.push(Item::Fault(FaultReport::new(Fault::HeaderChange, Some(track.id))));
        true
    }

    /// Whether a frame is discarded because the header that it needs does not apply yet.
    ///
    /// A key frame applies the pending headers: all tracks continue after a discontinuity, see [`Splice::advance`].
    pub(super) fn waits_for_header(&mut self, frame: &Frame, out: &mut Vec<Item>) -> bool {
        let Some(state) = self.tracks.get_mut(&frame.track) else { return false };
        let kind = state.track.kind();
        if kind == Kind::Video && std::mem::take(&mut state.awaits_key_frame) && frame.access == Access::Dependent {
            state.awaits_key_frame = true;
            out.push(Item::Fault(FaultReport::new(Fault::HeaderChange, Some(frame.track))));
        }
        let waits = state.pending_header.is_some();
        if self.tracks.values().all(|state| state.pending_header.is_none()) {
            return false;
        }
        let applies =
            if kind == Kind::Video { frame.access != Access::Dependent } else { waits && !self.has_video(frame) };
        if applies {
            self.pause(out);
            if let Some(end) = self.end {
                self.advance(end, out);
            }
        }
        waits && !applies
    }

    /// Whether video arrives along with `frame`.
    fn has_video(&self, frame: &Frame) -> bool {
        self.tracks.values().filter(|state| state.track.kind() == Kind::Video).any(|state| {
            let at = state.offset.map(|offset| frame.dts + offset);
            state.newest.zip(at).is_some_and(|(newest, at)| at - newest < VIDEO_TIMEOUT)
        })
    }
}

fn changes_video(presented: bool, before: &Track, after: &Track) -> bool {
    presented && after.kind() == Kind::Video && before.codec != after.codec
}
