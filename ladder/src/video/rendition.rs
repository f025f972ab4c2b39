//! One video rendition: a scaler, and the encoder that it feeds.

use media::{LatencyMode, TimeDelta, Timestamp, TrackId};

use crate::error::Error;
use crate::pipeline::{EncoderOutput, EncoderReaper, Notify};
use crate::plan::{EncoderParams, Rung};
use crate::source::parameter_sets::EncoderConstraints;
use crate::video::captions::Captions;
use crate::video::encoder::{Encoder, EncoderInfo, EncoderSpec, SOFTWARE};
use crate::video::raw_frame::RawFrame;
use crate::video::scaler::Scaler;

/// Longest time that frames wait for one encoder. At the bound frames are skipped, except key frames, which all
/// renditions have at the same time.
const MAX_WAIT: TimeDelta = TimeDelta::from_millis(700);
/// The same bound in [`LatencyMode::Low`], where players have little more than this buffered.
const MAX_WAIT_LOW: TimeDelta = TimeDelta::from_millis(300);
/// Frames of a new encoder before [`MAX_WAIT_LOW`] applies, because the frames that the frame rate was estimated with
/// come all at once.
const FIRST_FRAMES: u32 = 30;
/// Frames that may wait whatever their duration, because two frames of a slow video exceed any bound.
const FEW: usize = 4;
/// Encoders that fail one after another, without a frame in between, before the rendition is dropped.
pub(super) const MAX_FAILURES: u32 = 3;

/// Context that an [`Encoder`] is started in, common to all renditions of a ladder.
pub(crate) struct EncoderContext<'a> {
    pub(crate) params: &'a EncoderParams,
    /// Encoders of this machine, the preferred one first.
    pub(crate) available: &'a [EncoderInfo],
    pub(crate) notify: &'a Notify,
}

/// Fate of a frame in [`VideoRendition::encode`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Submission {
    /// The encoder took the frame, or the rendition has no encoder now.
    Accepted,
    /// The frame is left out, because too many wait for the encoder.
    Skipped,
}

/// A [`Rung`] with its [`Scaler`] and its [`Encoder`].
pub(crate) struct VideoRendition {
    pub(crate) rung: Rung,
    track: TrackId,
    scaler: Scaler,
    /// The last frame that was scaled, and the result: a repeated frame is scaled once.
    scaled: Option<(RawFrame, RawFrame)>,
    /// Captions of frames that the rendition skipped.
    captions: Captions,
    state: State,
    /// Encoders that failed since the last encoded frame.
    failures: u32,
    /// Frames that the encoder was given, saturating.
    submitted: u32,
    /// Constraints on the encoder, where its frames share a track with the source's.
    pub(crate) constraints: Option<EncoderConstraints>,
}

enum State {
    Running(Box<Encoder>),
    /// An encoder starts with the next key frame.
    Starting,
    /// Dropped by the overload control, or because its encoders fail.
    Shed,
}

impl VideoRendition {
    /// Returns a rendition whose encoder starts with the next key frame.
    pub(crate) fn new(rung: Rung, track: TrackId, scaler: Scaler) -> Self {
        Self {
            rung,
            track,
            scaler,
            scaled: None,
            captions: Captions::default(),
            state: State::Starting,
            failures: 0,
            submitted: 0,
            constraints: None,
        }
    }

    /// Returns whether it is not encoded, until [`VideoRendition::restore`].
    pub(crate) const fn is_shed(&self) -> bool {
        matches!(self.state, State::Shed)
    }

    /// Returns the encoder, if one is running.
    pub(crate) fn encoder(&self) -> Option<&Encoder> {
        if let State::Running(encoder) = &self.state { Some(encoder) } else { None }
    }

    /// Returns whether frames like this one need no scaling.
    pub(crate) fn fits(&self, frame: &RawFrame) -> bool {
        self.scaler.fits(frame.info())
    }

    /// Keeps captions for the next frame that is encoded.
    pub(crate) fn add_captions(&mut self, captions: &Captions) {
        self.captions.add(captions);
    }

    /// Returns whether this rendition has a frame on a tick.
    pub(crate) fn has_tick(&self, index: i64) -> bool {
        index.rem_euclid(i64::from(self.rung.divisor)) == 0
    }

    /// Scales a frame to this rendition's size; see [`Scaler::scale`].
    pub(crate) fn scale(&mut self, frame: &RawFrame) -> Result<RawFrame, Error> {
        if let Some((from, scaled)) = &self.scaled
            && from.is(frame)
        {
            return Ok(scaled.clone());
        }
        let scaled = self.scaler.scale(frame)?;
        self.scaled = Some((frame.clone(), scaled.clone()));
        Ok(scaled)
    }

    /// Gives a scaled frame to the encoder. A key frame starts one, if it is due.
    pub(crate) fn encode(
        &mut self,
        frame: &RawFrame,
        pts: Timestamp,
        key: bool,
        context: &EncoderContext<'_>,
    ) -> Result<Submission, Error> {
        match (&self.state, key) {
            (State::Shed, _) | (State::Starting, false) => {
                self.captions.clear();
                return Ok(Submission::Accepted);
            }
            (State::Starting, true) => {
                self.state = State::Running(Box::new(self.start_encoder(context)?));
                self.submitted = 0;
            }
            (State::Running(_), _) => {}
        }
        let low = context.params.mode == LatencyMode::Low && self.submitted >= FIRST_FRAMES;
        let max = if low { MAX_WAIT_LOW } else { MAX_WAIT };
        if self.queued() > FEW && self.wait() >= max && !key {
            return Ok(Submission::Skipped);
        }
        let State::Running(encoder) = &mut self.state else { return Ok(Submission::Accepted) };
        self.submitted = self.submitted.saturating_add(1);
        encoder.push(frame, &self.captions.take(), pts, key)?;
        Ok(Submission::Accepted)
    }

    fn start_encoder(&self, context: &EncoderContext<'_>) -> Result<Encoder, Error> {
        let element = context.available.first().map_or(SOFTWARE, |info| info.element);
        let spec = EncoderSpec {
            rung: &self.rung,
            track: self.track,
            constraints: self.constraints,
            input: self.scaler.info(),
        };
        Encoder::start(element, &spec, context.params, context.notify.clone())
    }

    /// Moves encoded frames to `out`. Returns the error that stopped the encoder, if one did.
    pub(crate) fn pull(&mut self, out: &mut Vec<EncoderOutput>) -> Option<Error> {
        let State::Running(encoder) = &mut self.state else { return None };
        let pulled = encoder.pull(out);
        let fault = pulled.err().or_else(|| encoder.fault());
        if !out.is_empty() {
            self.failures = 0;
        }
        fault
    }

    /// Drops the rendition, until [`VideoRendition::restore`].
    pub(crate) fn shed(&mut self, reaper: &mut EncoderReaper) {
        self.stop_encoder(reaper);
        self.state = State::Shed;
    }

    /// Restores the rendition; its encoder starts with the next key frame.
    pub(crate) fn restore(&mut self) {
        self.state = State::Starting;
    }

    /// Ends an encoder that failed, so that another one starts with the next key frame. Returns false if too many
    /// failed and `may_shed` is set: the rendition is then dropped, because an encoder that never works is not to be
    /// started again with every frame.
    pub(crate) fn replace_encoder(&mut self, may_shed: bool, reaper: &mut EncoderReaper) -> bool {
        self.stop_encoder(reaper);
        self.failures += 1;
        let exhausted = may_shed && self.failures >= MAX_FAILURES;
        self.state = if exhausted { State::Shed } else { State::Starting };
        !exhausted
    }

    /// Ends the encoder, and discards what it has not encoded.
    fn stop_encoder(&mut self, reaper: &mut EncoderReaper) {
        self.scaled = None;
        self.captions.clear();
        if let State::Running(encoder) = std::mem::replace(&mut self.state, State::Starting) {
            encoder.retire(reaper);
        }
    }

    /// Returns the number of frames that wait for the encoder.
    fn queued(&self) -> usize {
        self.encoder().map_or(0, Encoder::queued)
    }

    /// Returns the duration of the frames that wait for the encoder.
    pub(crate) fn wait(&self) -> TimeDelta {
        self.rung.rate.span(i64::try_from(self.queued()).unwrap_or(i64::MAX))
    }
}
