//! One track of the contribution in hand, and its decoder.

use media::{Fault, FaultReport, Frame, Track, TrackId};
use tracing::debug;

use crate::error::Error;
use crate::input::decoder::{Decoded, Decoder};
use crate::pipeline::Notify;

/// Decoders in a row that may fail before they gave [`STEADY`] frames; with the next one the track is left out, until it has
/// another header or another contribution comes.
const MAX_FAILURES: u32 = 3;
const STEADY: u32 = 50;

/// A track and the decoder that it has, if there is one for it.
#[derive(Default)]
pub(crate) struct Lane {
    pub(crate) track: Option<Track>,
    decoder: Option<Decoder>,
    /// Of decoders that are gone.
    lost: Lost,
    pub(crate) replaced: u64,
    /// Nobody is to see or hear it.
    left_out: bool,
    /// Its decoders fail.
    has_failed: bool,
    failures: u32,
    /// Frames that the decoder gave.
    given: u32,
    /// What is to be reported: bounded by the headers that the track has.
    faults: Vec<FaultReport>,
}

/// Frames that are not decoded.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Lost {
    /// They are damaged, or there is no decoder for them.
    pub(crate) damaged: u64,
    /// They came before a frame that decoding may start at.
    pub(crate) early: u64,
}

impl std::ops::AddAssign for Lost {
    fn add_assign(&mut self, other: Self) {
        self.damaged += other.damaged;
        self.early += other.early;
    }
}

impl Lane {
    /// Another contribution follows.
    pub(crate) fn leave(&mut self) {
        self.track = None;
        self.drop_decoder();
        (self.left_out, self.has_failed, self.failures) = (false, false, 0);
    }

    /// A track begins, or has another header. One of another number is not heeded.
    pub(crate) fn announce(&mut self, track: Track, notify: Notify) {
        if self.track.as_ref().is_some_and(|taken| taken.id != track.id) {
            return;
        }
        if self.has_failed && self.track.as_ref().is_some_and(|known| known.codec == track.codec) {
            self.track = Some(track);
            return;
        }
        (self.has_failed, self.failures) = (false, 0);
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
            Ok(decoder) => (self.decoder, self.given) = (Some(decoder), 0),
            Err(error) => self.give_up(&error),
        }
    }

    /// A decoder failed: another one goes on at the next key frame, if any is likely to.
    fn fail(&mut self, error: &Error, notify: Notify) {
        self.replaced += 1;
        self.failures = if self.given >= STEADY { 1 } else { self.failures + 1 };
        self.drop_decoder();
        if self.failures > MAX_FAILURES {
            self.give_up(error);
        } else {
            debug!(%error, "a decoder failed and is replaced");
            self.start(notify);
        }
    }

    fn give_up(&mut self, error: &Error) {
        (self.left_out, self.has_failed) = (true, true);
        let Some(track) = &self.track else { return };
        let detail = format!("{}: {error}", track.codec.name());
        self.faults.push(FaultReport::new(Fault::DecoderFailed, Some(track.id)).with_detail(detail));
    }

    /// True while the track is left out because its decoders fail.
    pub(crate) const fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Takes what is to be reported.
    pub(crate) fn take_faults(&mut self) -> Vec<FaultReport> {
        std::mem::take(&mut self.faults)
    }

    fn drop_decoder(&mut self) {
        if let Some(decoder) = self.decoder.take() {
            self.lost += lost(&decoder);
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

    /// Decodes a frame; a decoder that failed is replaced, or the track is left out.
    pub(crate) fn feed(&mut self, frame: &Frame, notify: Notify) {
        let Some(decoder) = &mut self.decoder else {
            self.lost.damaged += u64::from(!self.left_out);
            return;
        };
        let fault = decoder.push(frame).err().or_else(|| decoder.fault());
        if let Some(error) = fault {
            self.fail(&error, notify);
        }
    }

    /// What is decoded, and the track that it is of.
    pub(crate) fn pull(&mut self) -> Option<(TrackId, Decoded)> {
        let decoder = self.decoder.as_mut()?;
        let decoded = decoder.pull()?;
        self.given = self.given.saturating_add(1);
        Some((decoder.track(), decoded))
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

    /// Frames that were not decoded so far.
    pub(crate) fn lost(&self) -> Lost {
        let mut all = self.lost;
        all += self.decoder.as_ref().map(lost).unwrap_or_default();
        all
    }
}

fn lost(decoder: &Decoder) -> Lost {
    Lost { damaged: decoder.damaged_frames(), early: decoder.skipped_frames() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use bytes::Bytes;
    use media::codec::aac;
    use media::{Access, CodecConfig, TimeDelta, Timestamp};

    use super::*;

    /// AAC whose channels are told nowhere: no decoder takes it.
    fn bad_track(sample_rate: u32) -> Track {
        let raw = if sample_rate == 48_000 { &[0x11, 0x80][..] } else { &[0x12, 0x00] };
        let config = aac::Config { raw: Bytes::from_static(raw), ..aac::Config::new(2, sample_rate, 2).unwrap() };
        Track::new(TrackId(2), CodecConfig::Aac(config))
    }

    /// Feeds frames until the lane gives up; the number of decoders that were replaced until then.
    fn exhaust(lane: &mut Lane) -> u64 {
        let (began, before, mut at) = (Instant::now(), lane.replaced, Timestamp::ZERO);
        while !lane.has_failed() {
            assert!(began.elapsed() < Duration::from_secs(20), "it tries for ever");
            let payload = Bytes::from_static(&[0x21, 0x10, 0x04]);
            lane.feed(
                &Frame { track: TrackId(2), dts: at, pts: at, access: Access::Independent, payload },
                Arc::new(|| {}),
            );
            at += TimeDelta::from_millis(21);
            // The decoder fails on a thread of its own.
            std::thread::yield_now();
        }
        lane.replaced - before
    }

    #[test]
    fn a_decoder_that_fails_at_once_is_tried_a_few_times_and_again_with_another_header() {
        gstreamer::init().unwrap();
        let (mut lane, notify) = (Lane::default(), || -> Notify { Arc::new(|| {}) });
        lane.announce(bad_track(48_000), notify());
        assert_eq!(exhaust(&mut lane), u64::from(MAX_FAILURES) + 1);
        let faults: Vec<_> = lane.take_faults().into_iter().map(|report| (report.fault, report.track)).collect();
        assert_eq!(faults, [(Fault::DecoderFailed, Some(TrackId(2)))]);
        lane.announce(bad_track(48_000), notify());
        assert!(lane.has_failed(), "the same header is no news");
        lane.announce(bad_track(44_100), notify());
        assert!(!lane.has_failed());
        exhaust(&mut lane);
        lane.leave();
        lane.announce(bad_track(44_100), notify());
        assert!(!lane.has_failed(), "another contribution");
        assert_eq!(lane.take_faults().len(), 1);
    }
}
