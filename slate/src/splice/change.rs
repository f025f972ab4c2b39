//! Codec headers that change on the connection take effect at a key frame.

use media::{Access, Fault, FaultReport, Frame, Kind, TimeDelta, Track};

use super::{AUDIO_TIMEOUT, Item, Splice};

/// A change waits for a key frame of video no longer than this much media without any video.
const VIDEO_TIMEOUT: TimeDelta = TimeDelta::from_secs(4);

impl Splice {
    /// Keeps the new header of audio that plays until video can begin again too. `false` if there is nothing to wait for.
    pub(super) fn defer_change(&mut self, track: &Track, out: &mut Vec<Item>) -> bool {
        let began = self.began.is_some() && !self.broken && self.stands_in;
        let Some(lane) = self.lanes.get_mut(&track.id).filter(|_| began) else { return false };
        let plays = lane.grid.is_some();
        if track.kind() != Kind::Audio || !plays {
            // Video waits in the packager; what comes before its key frame cannot be decoded.
            lane.awaits_key_frame |= plays_video(lane.shown.is_some(), &lane.track, track);
            return false;
        }
        if lane.track.codec == track.codec {
            if lane.next.take().is_some() {
                lane.patience = AUDIO_TIMEOUT;
            }
            return false;
        }
        lane.patience = TimeDelta::ZERO;
        lane.next = Some(track.clone());
        out.push(Item::Fault(FaultReport::new(Fault::HeaderChange, Some(track.id))));
        true
    }

    /// True if a frame goes nowhere because the header that it needs does not hold yet. A key frame lets it hold: all
    /// tracks go on after a discontinuity.
    pub(super) fn change_at(&mut self, frame: &Frame, out: &mut Vec<Item>) -> bool {
        let Some(lane) = self.lanes.get_mut(&frame.track) else { return false };
        let kind = lane.track.kind();
        if kind == Kind::Video && std::mem::take(&mut lane.awaits_key_frame) && frame.access == Access::Dependent {
            lane.awaits_key_frame = true;
            out.push(Item::Fault(FaultReport::new(Fault::HeaderChange, Some(frame.track))));
        }
        let waits = lane.next.is_some();
        if self.lanes.values().all(|lane| lane.next.is_none()) {
            return false;
        }
        let ends =
            if kind == Kind::Video { frame.access != Access::Dependent } else { waits && !self.has_video(frame) };
        if ends {
            self.pause(out);
            if let Some(end) = self.end {
                self.advance(end, out);
            }
        }
        waits && !ends
    }

    /// True while video comes along with `frame`.
    fn has_video(&self, frame: &Frame) -> bool {
        self.lanes.values().filter(|lane| lane.track.kind() == Kind::Video).any(|lane| {
            let at = lane.offset.map(|offset| frame.dts + offset);
            lane.newest.zip(at).is_some_and(|(newest, at)| at - newest < VIDEO_TIMEOUT)
        })
    }
}

fn plays_video(shown: bool, before: &Track, after: &Track) -> bool {
    shown && after.kind() == Kind::Video && before.codec != after.codec
}
