//! One track of the current contribution, and its decoder.

use media::{Fault, FaultReport, Frame, Track, TrackId};
use tracing::debug;

use crate::error::Error;
use crate::input::decoder::{Decoded, Decoder};
use crate::pipeline::Notify;

/// Decoders in a row that may fail before they gave [`STEADY`] frames. With the next one the track is left out, until
/// it has another header or another contribution begins.
const MAX_FAILURES: u32 = 3;
/// Frames after which a decoder that fails counts as the first one again.
const STEADY: u32 = 50;

/// A track, and its decoder if there is one for it.
#[derive(Default)]
pub(crate) struct TrackDecoder {
    pub(crate) track: Option<Track>,
    decoder: Option<Decoder>,
    /// Frames of decoders that are gone.
    undecoded: Undecoded,
    /// Decoders that failed and were replaced.
    pub(crate) replaced: u64,
    usage: Usage,
    failures: u32,
    /// Frames that the current decoder gave, saturating.
    given: u32,
    /// Reports to be taken: at most one for each header of the track.
    faults: Vec<FaultReport>,
}

/// Use that is made of a track.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Usage {
    #[default]
    Decoded,
    /// No audio output has room for the track.
    LeftOut,
    /// More than [`MAX_FAILURES`] of its decoders failed.
    Failed,
}

/// Number of frames that were not decoded.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Undecoded {
    /// Damaged frames, and frames without a decoder.
    pub(crate) damaged: u64,
    /// Frames before the first one that decoding may start at.
    pub(crate) early: u64,
}

impl std::ops::AddAssign for Undecoded {
    fn add_assign(&mut self, other: Self) {
        self.damaged += other.damaged;
        self.early += other.early;
    }
}

impl TrackDecoder {
    /// Drops the track, because another contribution begins.
    pub(crate) fn reset(&mut self) {
        self.track = None;
        self.drop_decoder();
        (self.usage, self.failures) = (Usage::Decoded, 0);
    }

    /// Returns whether the track has this id.
    pub(crate) fn has_id(&self, id: TrackId) -> bool {
        self.track.as_ref().is_some_and(|track| track.id == id)
    }

    /// Takes the track, or its new header. A track with another id is ignored.
    pub(crate) fn announce(&mut self, track: Track, notify: Notify) {
        if self.track.as_ref().is_some_and(|taken| taken.id != track.id) {
            return;
        }
        if self.has_failed() && self.track.as_ref().is_some_and(|known| known.codec == track.codec) {
            self.track = Some(track);
            return;
        }
        (self.usage, self.failures) = (Usage::Decoded, 0);
        let kept = self.decoder.as_mut().is_some_and(|decoder| matches!(decoder.reconfigure(&track.codec), Ok(true)));
        self.track = Some(track);
        if !kept {
            self.drop_decoder();
            self.start(notify);
        }
    }

    fn start(&mut self, notify: Notify) {
        let Some(track) = &self.track else { return };
        match Decoder::start(track, notify) {
            Ok(decoder) => (self.decoder, self.given) = (Some(decoder), 0),
            Err(error) => self.leave_out_failed(&error),
        }
    }

    /// Replaces a decoder that failed, so that decoding resumes at the next key frame. Too many failures leave the
    /// track out.
    fn replace(&mut self, error: &Error, notify: Notify) {
        self.replaced += 1;
        self.failures = if self.given >= STEADY { 1 } else { self.failures + 1 };
        self.drop_decoder();
        if self.failures > MAX_FAILURES {
            self.leave_out_failed(error);
        } else {
            debug!(%error, "a decoder failed and is replaced");
            self.start(notify);
        }
    }

    fn leave_out_failed(&mut self, error: &Error) {
        self.usage = Usage::Failed;
        let Some(track) = &self.track else { return };
        let detail = format!("{}: {error}", track.codec.name());
        self.faults.push(FaultReport::new(Fault::DecoderFailed, Some(track.id)).with_detail(detail));
    }

    /// Returns true while the track is left out because its decoders fail.
    pub(crate) fn has_failed(&self) -> bool {
        self.usage == Usage::Failed
    }

    /// Takes the reports of [`Fault::DecoderFailed`].
    pub(crate) fn take_faults(&mut self) -> Vec<FaultReport> {
        std::mem::take(&mut self.faults)
    }

    fn drop_decoder(&mut self) {
        if let Some(decoder) = self.decoder.take() {
            self.undecoded += undecoded(&decoder);
        }
    }

    /// Stops decoding the track, until [`TrackDecoder::reset`] or another header. Returns false if it is left out
    /// already.
    pub(crate) fn leave_out(&mut self) -> bool {
        self.drop_decoder();
        let was_decoded = self.usage == Usage::Decoded;
        if was_decoded {
            self.usage = Usage::LeftOut;
        }
        was_decoded
    }

    /// Returns whether the decoder can take another frame now.
    pub(crate) fn has_room(&mut self) -> bool {
        self.decoder.as_ref().is_none_or(Decoder::has_room)
    }

    /// Decodes a frame. A decoder that failed is replaced, or the track is left out.
    pub(crate) fn push(&mut self, frame: &Frame, notify: Notify) {
        let Some(decoder) = &mut self.decoder else {
            self.undecoded.damaged += u64::from(self.usage == Usage::Decoded);
            return;
        };
        let fault = decoder.push(frame).err().or_else(|| decoder.fault());
        if let Some(error) = fault {
            self.replace(&error, notify);
        }
    }

    /// Returns the next decoded item, and the id of its track.
    pub(crate) fn pull(&mut self) -> Option<(TrackId, Decoded)> {
        let decoder = self.decoder.as_mut()?;
        let decoded = decoder.pull()?;
        self.given = self.given.saturating_add(1);
        Some((decoder.track(), decoded))
    }

    /// Ends the decoder: what it holds back can be pulled.
    pub(crate) fn end(&self) {
        if let Some(decoder) = &self.decoder {
            decoder.end();
        }
    }

    /// Returns whether everything was pulled after [`TrackDecoder::end`]. A decoder that failed gives nothing more.
    pub(crate) fn is_ended(&mut self) -> bool {
        self.decoder.as_mut().is_none_or(|decoder| decoder.is_ended() || decoder.fault().is_some())
    }

    /// Returns the number of frames that were not decoded so far.
    pub(crate) fn undecoded(&self) -> Undecoded {
        let mut all = self.undecoded;
        all += self.decoder.as_ref().map(undecoded).unwrap_or_default();
        all
    }
}

fn undecoded(decoder: &Decoder) -> Undecoded {
    Undecoded { damaged: decoder.damaged_frames(), early: decoder.skipped_frames() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use bytes::Bytes;
    use media::codec::aac;
    use media::{Access, CodecConfig, TimeDelta, Timestamp};

    use super::*;

    /// AAC whose header has no channel layout: no decoder takes it.
    fn bad_track(sample_rate: u32) -> Track {
        let raw = if sample_rate == 48_000 { &[0x11, 0x80][..] } else { &[0x12, 0x00] };
        let config = aac::Config { raw: Bytes::from_static(raw), ..aac::Config::new(2, sample_rate, 2).unwrap() };
        Track::new(TrackId(2), CodecConfig::Aac(config))
    }

    /// Pushes frames until the track is left out. Returns the number of decoders that were replaced until then.
    fn exhaust(decoder: &mut TrackDecoder) -> u64 {
        let (began, before, mut at) = (Instant::now(), decoder.replaced, Timestamp::ZERO);
        while !decoder.has_failed() {
            assert!(began.elapsed() < Duration::from_secs(20), "it tries without end");
            let payload = Bytes::from_static(&[0x21, 0x10, 0x04]);
            decoder.push(
                &Frame { track: TrackId(2), dts: at, pts: at, access: Access::Independent, payload },
                Arc::new(|| {}),
            );
            at += TimeDelta::from_millis(21);
            // The decoder fails on a thread of its own.
            std::thread::yield_now();
        }
        decoder.replaced - before
    }

    #[test]
    fn decoder_that_keeps_failing_is_retried_a_few_times_and_again_with_another_header() {
        gstreamer::init().unwrap();
        let (mut decoder, notify) = (TrackDecoder::default(), || -> Notify { Arc::new(|| {}) });
        decoder.announce(bad_track(48_000), notify());
        assert_eq!(exhaust(&mut decoder), u64::from(MAX_FAILURES) + 1);
        let faults: Vec<_> = decoder.take_faults().into_iter().map(|report| (report.fault, report.track)).collect();
        assert_eq!(faults, [(Fault::DecoderFailed, Some(TrackId(2)))]);
        decoder.announce(bad_track(48_000), notify());
        assert!(decoder.has_failed(), "the same header changes nothing");
        decoder.announce(bad_track(44_100), notify());
        assert!(!decoder.has_failed());
        exhaust(&mut decoder);
        decoder.reset();
        decoder.announce(bad_track(44_100), notify());
        assert!(!decoder.has_failed(), "another contribution");
        assert_eq!(decoder.take_faults().len(), 1);
    }
}
