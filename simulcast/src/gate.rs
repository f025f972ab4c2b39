//! Start of a publication: at a key frame, with audio from there on.

use media::{Access, Frame, Kind, Timestamp, Track, TrackId};

/// Decides which frames can be sent after a start, or after frames were dropped.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Video tracks that have begun, with the presentation time of their first key frame.
    begun: Vec<(TrackId, Timestamp)>,
    /// Decoding time of the first frame; `None` before it.
    start: Option<Timestamp>,
}

impl Gate {
    /// Returns whether `frame` can be sent to a target that has received only frames which were admitted before.
    ///
    /// A programme without video starts at any frame.
    pub(crate) fn admits(&mut self, frame: &Frame, tracks: &[Track]) -> bool {
        let Some(track) = tracks.iter().find(|track| track.id == frame.track) else { return false };
        if track.kind() == Kind::Video {
            return self.admits_video(frame);
        }
        let has_video = tracks.iter().any(|track| track.kind() == Kind::Video);
        match self.start {
            Some(start) => frame.dts >= start,
            None if has_video => false,
            None => {
                self.start = Some(frame.dts);
                true
            }
        }
    }

    /// Returns whether frames of this time follow the first one that was admitted.
    pub(crate) fn is_past_start(&self, time: Timestamp) -> bool {
        self.start.is_some_and(|start| time >= start)
    }

    fn admits_video(&mut self, frame: &Frame) -> bool {
        let is_key = frame.access != Access::Dependent;
        match self.begun.iter().find(|(id, _)| *id == frame.track) {
            // The leading frames of an open GOP cannot be decoded without the GOP before it.
            Some((_, key)) => is_key || frame.pts >= *key,
            None if is_key => {
                self.begun.push((frame.track, frame.pts));
                self.start.get_or_insert(frame.dts);
                true
            }
            None => false,
        }
    }
}
