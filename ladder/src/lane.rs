//! One track of the contribution in hand, and its decoder.

use media::{Frame, Track, TrackId};
use tracing::warn;

use crate::decoder::{Decoded, Decoder};
use crate::pipe::Notify;

/// A track and the decoder that it has, if there is one for it.
#[derive(Default)]
pub(crate) struct Lane {
    pub(crate) track: Option<Track>,
    decoder: Option<Decoder>,
    /// Bad frames of decoders that are gone.
    bad: u64,
    pub(crate) replaced: u64,
    /// Nobody is to see or hear it.
    left_out: bool,
}

impl Lane {
    /// Another contribution follows.
    pub(crate) fn leave(&mut self) {
        self.track = None;
        self.drop_decoder();
    }

    /// A track begins, or has another header. One of another number is not heeded.
    pub(crate) fn announce(&mut self, track: Track, notify: Notify) {
        if self.track.as_ref().is_some_and(|taken| taken.id != track.id) {
            return;
        }
        let kept = self.decoder.as_mut().is_some_and(|decoder| matches!(decoder.reconfigure(&track.codec), Ok(true)));
        (self.track, self.left_out) = (Some(track), false);
        if !kept {
            self.drop_decoder();
            self.start(notify);
        }
    }

    fn start(&mut self, notify: Notify) {
        let Some(track) = &self.track else { return };
        match Decoder::start(track, notify) {
            Ok(decoder) => self.decoder = Some(decoder),
            Err(error) => warn!(codec = track.codec.name(), %error, "no decoder for a track"),
        }
    }

    fn drop_decoder(&mut self) {
        if let Some(decoder) = self.decoder.take() {
            self.bad += decoder.bad_frames();
        }
    }

    /// The track is not decoded any further; false where that is so already.
    pub(crate) fn leave_out(&mut self) -> bool {
        self.drop_decoder();
        !std::mem::replace(&mut self.left_out, true)
    }

    pub(crate) fn has_room(&mut self) -> bool {
        self.decoder.as_ref().is_none_or(Decoder::has_room)
    }

    /// Decodes a frame; a decoder that failed is replaced, and goes on at the next key frame.
    pub(crate) fn feed(&mut self, frame: &Frame, notify: Notify) {
        let Some(decoder) = &mut self.decoder else {
            self.bad += u64::from(!self.left_out);
            return;
        };
        let fault = decoder.push(frame).err().or_else(|| decoder.fault());
        if let Some(error) = fault {
            warn!(%error, "a decoder failed and is replaced");
            self.replaced += 1;
            self.drop_decoder();
            self.start(notify);
        }
    }

    /// What is decoded, and the track that it is of.
    pub(crate) fn pull(&mut self) -> Option<(TrackId, Decoded)> {
        let decoder = self.decoder.as_mut()?;
        Some((decoder.track(), decoder.pull()?))
    }

    /// Nothing follows: what the decoder holds back comes out.
    pub(crate) fn end(&self) {
        if let Some(decoder) = &self.decoder {
            decoder.end();
        }
    }

    /// Whether all came out after [`Self::end`], and was pulled; of a decoder that failed nothing comes.
    pub(crate) fn is_ended(&mut self) -> bool {
        self.decoder.as_mut().is_none_or(|decoder| decoder.is_ended() || decoder.fault().is_some())
    }

    pub(crate) fn bad_frames(&self) -> u64 {
        self.bad + self.decoder.as_ref().map_or(0, Decoder::bad_frames)
    }
}
