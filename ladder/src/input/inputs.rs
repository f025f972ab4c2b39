//! All tracks of the current contribution.

use media::{CodecConfig, Fault, FaultReport, Frame, Kind, Language, Track, TrackId};

use super::audio_inputs::AudioInputs;
use super::decoder::Decoded;
use super::track_decoder::{TrackDecoder, Undecoded};
use crate::pipeline::Notify;

/// The video track and the audio tracks of a contribution, with their decoders.
pub(crate) struct Inputs {
    video: TrackDecoder,
    audio: AudioInputs,
    notify: Notify,
    /// Frames that [`Inputs::take_faults`] has reported.
    reported: Undecoded,
}

impl Inputs {
    /// Returns inputs without a track. `notify` is called on other threads when something was decoded.
    pub(crate) fn new(notify: Notify) -> Self {
        Self { video: TrackDecoder::default(), audio: AudioInputs::default(), notify, reported: Undecoded::default() }
    }

    /// Begins another contribution: its predecessor's tracks are dropped.
    pub(crate) fn begin(&mut self) {
        self.video.reset();
        self.audio.reset();
    }

    /// Adds a track, or takes note of its new header.
    pub(crate) fn announce(&mut self, track: Track) {
        let notify = self.notify.clone();
        match track.kind() {
            Kind::Video => self.video.announce(track, notify),
            Kind::Audio => self.audio.announce(track, notify),
        }
    }

    /// Returns the codec header of the video track, if there is one.
    pub(crate) fn video_header(&self) -> Option<&CodecConfig> {
        self.video.track.as_ref().map(|track| &track.codec)
    }

    /// Returns whether a frame belongs to the video track.
    pub(crate) fn is_video(&self, frame: &Frame) -> bool {
        self.video.has_id(frame.track)
    }

    /// Returns the languages of the audio tracks, in their order.
    pub(crate) fn languages(&self) -> Vec<Option<Language>> {
        self.audio.languages()
    }

    /// Assigns audio tracks to the outputs with these languages; see [`AudioInputs::assign_outputs`].
    pub(crate) fn assign_outputs(&mut self, outputs: impl Iterator<Item = Option<Language>>) -> Vec<Option<Language>> {
        self.audio.assign_outputs(outputs)
    }

    /// Stops decoding audio tracks that no output has room for.
    pub(crate) fn leave_out_unassigned(&mut self) {
        self.audio.leave_out_unassigned();
    }

    /// Returns the audio output that a track is assigned to.
    pub(crate) fn output_of(&self, track: TrackId) -> Option<usize> {
        self.audio.output_of(track)
    }

    /// Returns whether the decoder of a frame can take it now.
    pub(crate) fn has_room(&mut self, frame: &Frame) -> bool {
        self.decoder(frame.track).is_none_or(TrackDecoder::has_room)
    }

    /// Decodes a frame. Frames of unknown tracks are ignored.
    pub(crate) fn push(&mut self, frame: &Frame) {
        let notify = self.notify.clone();
        if let Some(decoder) = self.decoder(frame.track) {
            decoder.push(frame, notify);
        }
    }

    /// Returns what is decoded: at most one item of each track, that of the video last.
    pub(crate) fn pull(&mut self) -> Vec<(TrackId, Decoded)> {
        self.audio.decoders_mut().chain([&mut self.video]).filter_map(TrackDecoder::pull).collect()
    }

    /// Ends the decoders: what they hold back can be pulled.
    pub(crate) fn end(&self) {
        self.video.end();
        self.audio.end();
    }

    /// Returns whether everything was pulled after [`Inputs::end`].
    pub(crate) fn is_ended(&mut self) -> bool {
        self.video.is_ended() && self.audio.is_ended()
    }

    /// Returns the number of frames that were not decoded so far.
    pub(crate) fn undecoded(&self) -> Undecoded {
        let mut undecoded = self.video.undecoded();
        undecoded += self.audio.undecoded();
        undecoded
    }

    /// Returns the number of decoders that failed and were replaced.
    pub(crate) fn replaced(&self) -> u64 {
        self.video.replaced + self.audio.replaced()
    }

    /// Returns reports on frames that were not decoded since the last call, and on tracks that are left out.
    pub(crate) fn take_faults(&mut self) -> Vec<FaultReport> {
        let undecoded = self.undecoded();
        let before = std::mem::replace(&mut self.reported, undecoded);
        let counts = [
            (Fault::DamagedFrames, undecoded.damaged - before.damaged),
            (Fault::FramesBeforeKeyFrame, undecoded.early - before.early),
        ];
        let counts = counts.into_iter().filter(|(_, count)| *count > 0);
        let mut faults: Vec<_> = counts.map(|(fault, count)| FaultReport::new(fault, None).times(count)).collect();
        faults.extend(self.video.take_faults());
        faults.extend(self.audio.take_faults());
        faults
    }

    fn decoder(&mut self, track: TrackId) -> Option<&mut TrackDecoder> {
        let mut decoders = std::iter::once(&mut self.video).chain(self.audio.decoders_mut());
        decoders.find(|decoder| decoder.has_id(track))
    }
}
