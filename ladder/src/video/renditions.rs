//! The video renditions of a running ladder: frames scaled from one rung to the next, and an encoder for each.

use media::{CodecConfig, TimeDelta, Timestamp, Track, TrackId};
use tracing::{info, warn};

use crate::api::Output;
use crate::error::Error;
use crate::pipeline::{EncoderOutput, EncoderReaper, Notify};
use crate::plan::{EncoderParams, Rung};
use crate::source::parameter_sets::SharedParameterSets;
use crate::source::passthrough::{Passthrough, TickSource};
use crate::source::rendition::SourceRendition;
use crate::video::captions::Captions;
use crate::video::colorimetry::output_colorimetry;
use crate::video::encoder::{Encoder, EncoderInfo};
use crate::video::overload::{Decision, Overload};
use crate::video::raw_frame::RawFrame;
use crate::video::rendition::{EncoderContext, Submission, VideoRendition};
use crate::video::scaler::Scaler;

/// Counters of the renditions, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    /// Frames of the source that were forwarded.
    pub(crate) forwarded: u64,
    /// Frames that were not encoded, because too many waited for the encoder.
    pub(crate) skipped: u64,
    /// Encoders that failed and were replaced.
    pub(crate) replaced: u64,
    /// Times that a rendition was dropped.
    pub(crate) shed: u64,
}

/// Use of the contribution's own frames, if [`Settings::source`](crate::api::Settings::source) allows any.
pub(crate) enum SourceUse {
    /// No frame is forwarded: everything is encoded.
    Encoded,
    /// Frames of H.264 take the place of the reference rendition's.
    Top(PassthroughTop),
    /// Frames of another codec are one more rendition.
    Rendition(SourceRendition),
}

/// The source in place of the reference rendition, and the parameter sets that it shares with the encoder for its gaps.
pub(crate) struct PassthroughTop {
    pub(crate) passthrough: Passthrough,
    pub(crate) parameter_sets: SharedParameterSets,
}

/// Parts of [`VideoRenditions`].
pub(crate) struct Setup<'a> {
    /// The rungs, that of the reference rendition first.
    pub(crate) plan: Vec<Rung>,
    pub(crate) params: EncoderParams,
    /// The first decoded frame, if there is one: the output has its colours.
    pub(crate) first: Option<&'a RawFrame>,
    /// Encoders of this machine, the preferred one first.
    pub(crate) available: Vec<EncoderInfo>,
    pub(crate) source: SourceUse,
}

/// All video renditions of a programme.
pub(crate) struct VideoRenditions {
    renditions: Vec<VideoRendition>,
    params: EncoderParams,
    overload: Overload,
    /// Renditions dropped since the last tick because their encoders failed, for [`Overload::fail`].
    failed: Vec<usize>,
    reaper: EncoderReaper,
    available: Vec<EncoderInfo>,
    notify: Notify,
    /// Whether all renditions need a key frame: on the next tick or, while the source is forwarded, with its next IDR
    /// frame.
    key_next: bool,
    /// PTS of the contribution's frame that was presented last.
    presented: Option<Timestamp>,
    /// Whether the reference rendition has announced its track.
    announced: bool,
    stats: Stats,
    source: SourceUse,
    /// Newest PTS that left any encoder, for [`SourceRendition::collect`].
    newest_encoded: Timestamp,
}

/// One tick of the output, as all renditions encode it.
struct Tick {
    pts: Timestamp,
    index: i64,
    /// Whether all renditions have a key frame.
    key: bool,
    /// Whether the reference rendition has a frame of the source, by [`SourceUse::Top`].
    is_forwarded: bool,
}

impl VideoRenditions {
    /// Returns renditions whose encoders start with the first frame. A source meant as [`SourceUse::Top`] is encoded
    /// instead if its raw frames do not have the size and colours of the reference rendition.
    pub(crate) fn new(setup: Setup<'_>, notify: Notify) -> Result<Self, Error> {
        let Setup { plan, params, first, available, mut source } = setup;
        let colorimetry = output_colorimetry(first.map(RawFrame::info));
        let overload = Overload::new(plan.len());
        let rendition = |(n, rung): (usize, Rung)| {
            let scaler = Scaler::new(rung.width, rung.height, &colorimetry)?;
            Ok(VideoRendition::new(rung, track(n), scaler))
        };
        let mut renditions = plan.into_iter().enumerate().map(rendition).collect::<Result<Vec<_>, Error>>()?;
        if let SourceUse::Top(top) = &source {
            match renditions.first_mut().filter(|reference| first.is_some_and(|first| reference.fits(first))) {
                Some(reference) => reference.constraints = Some(top.parameter_sets.constraints()),
                None => source = SourceUse::Encoded,
            }
        }
        Ok(Self {
            renditions,
            params,
            overload,
            failed: Vec::new(),
            reaper: EncoderReaper::default(),
            available,
            notify,
            key_next: true,
            presented: None,
            announced: false,
            stats: Stats::default(),
            source,
            newest_encoded: Timestamp::ZERO,
        })
    }

    /// Returns the queue of the source's frames, if they are forwarded.
    pub(crate) const fn passthrough(&mut self) -> Option<&mut Passthrough> {
        match &mut self.source {
            SourceUse::Encoded => None,
            SourceUse::Top(top) => Some(&mut top.passthrough),
            SourceUse::Rendition(rendition) => Some(&mut rendition.passthrough),
        }
    }

    /// Takes note of the header of the source's frames that follow; see [`Passthrough::set_header`].
    pub(crate) fn set_header(&mut self, codec: &CodecConfig) {
        match &mut self.source {
            SourceUse::Encoded => {}
            SourceUse::Top(top) => top.passthrough.set_header(top.parameter_sets.matches(codec)),
            SourceUse::Rendition(rendition) => {
                let matches = rendition.matches(codec);
                rendition.passthrough.set_header(matches);
            }
        }
    }

    /// Returns whether the reference rendition has announced its track.
    pub(crate) const fn is_announced(&self) -> bool {
        self.announced
    }

    /// Returns the counters so far.
    pub(crate) const fn stats(&self) -> Stats {
        self.stats
    }

    /// Returns the number of renditions that are dropped now.
    pub(crate) fn shed_count(&self) -> usize {
        self.renditions.iter().filter(|rendition| rendition.is_shed()).count()
    }

    /// Presents a frame on the tick at `pts`, in every rendition that has this tick. `live` is false for a repeated
    /// frame and for the slate.
    pub(crate) fn present(
        &mut self,
        frame: &RawFrame,
        live: bool,
        pts: Timestamp,
        now: TimeDelta,
        out: &mut Vec<Output>,
    ) {
        // The load is judged before this frame is queued, so that all frames that wait now have waited since the
        // previous tick.
        self.judge(now, out);
        if self.key_next && self.renditions.iter().all(|rendition| rendition.encoder().is_none()) {
            // No encoder runs: GOPs are counted from this frame.
            self.params.ticks.origin = pts;
        }
        let source = self.select_source(frame, live, pts);
        let tick = self.tick(pts, source);
        let captions = self.new_captions(frame, live);
        if let Some((n, error)) = self.encode(frame, &captions, &tick) {
            self.replace_encoder(n, &error);
        }
    }

    /// Decides whether the tick has a frame of the source; `None` if no frames are forwarded.
    fn select_source(&mut self, frame: &RawFrame, live: bool, pts: Timestamp) -> Option<TickSource> {
        let ticks = self.params.ticks;
        match &mut self.source {
            SourceUse::Encoded => None,
            SourceUse::Top(top) => Some(top.passthrough.select(frame.pts().filter(|_| live), pts, ticks)),
            SourceUse::Rendition(rendition) => Some(rendition.select(frame.pts(), live, pts, ticks)),
        }
    }

    /// Decides whether the tick is a key frame: where the source has its IDR frames, or else at regular intervals.
    fn tick(&mut self, pts: Timestamp, source: Option<TickSource>) -> Tick {
        let index = self.params.ticks.index(pts);
        let regular = self.key_next || index.rem_euclid(i64::from(self.params.gop)) == 0;
        let key = match source {
            None => regular,
            Some(TickSource::Passthrough { key }) => key,
            Some(TickSource::Encoder { begins }) => regular || begins,
        };
        self.key_next &= !key;
        let forwarded = matches!(source, Some(TickSource::Passthrough { .. }));
        Tick { pts, index, key, is_forwarded: forwarded && matches!(self.source, SourceUse::Top(_)) }
    }

    /// Returns the [`Captions`] of a frame at its first tick, because one frame may be presented on several ticks.
    fn new_captions(&mut self, frame: &RawFrame, live: bool) -> Captions {
        let new = frame.pts().filter(|pts| live && self.presented != Some(*pts));
        self.presented = new.or(self.presented);
        new.map_or_else(Captions::default, |_| frame.captions())
    }

    /// Scales a frame for one rendition after another, each from the next larger one, and gives it to their encoders.
    /// Returns the last rendition that failed.
    fn encode(&mut self, frame: &RawFrame, captions: &Captions, tick: &Tick) -> Option<(usize, Error)> {
        let smallest = self.renditions.iter().rposition(|rendition| !rendition.is_shed()).unwrap_or(0);
        let context = EncoderContext { params: &self.params, available: &self.available, notify: &self.notify };
        let mut above = frame.clone();
        let mut failed = None;
        for (n, rendition) in self.renditions.iter_mut().enumerate().take(smallest + 1) {
            let is_forwarded = n == 0 && tick.is_forwarded;
            if is_forwarded && rendition.encoder().is_some() {
                continue;
            }
            rendition.add_captions(captions);
            if !tick.key && !rendition.has_tick(tick.index) {
                continue;
            }
            let submission = rendition.scale(&above).and_then(|scaled| {
                above = scaled;
                // The encoder for the source's gaps starts before the first gap: the track needs its header.
                rendition.encode(&above, tick.pts, tick.key || is_forwarded, &context)
            });
            match submission {
                Ok(Submission::Accepted) => {}
                Ok(Submission::Skipped) => {
                    self.stats.skipped += 1;
                    if let (0, SourceUse::Top(top)) = (n, &mut self.source) {
                        top.passthrough.cancel_newest();
                    }
                }
                Err(error) => failed = Some((n, error)),
            }
        }
        failed
    }

    /// Moves encoded frames to `out`, and replaces encoders that failed. The track of the reference rendition is
    /// announced before all others.
    pub(crate) fn collect(&mut self, out: &mut Vec<Output>) {
        for n in 0..self.renditions.len() {
            if n > 0 && !self.announced {
                return;
            }
            if let Some(error) = self.collect_rendition(n, out) {
                self.replace_encoder(n, &error);
            }
        }
        if let SourceUse::Rendition(source) = &mut self.source
            && self.announced
        {
            source.collect(self.newest_encoded, out);
            self.stats.forwarded = source.passthrough.forwarded();
        }
    }

    /// Moves the encoded frames of rendition `n` to `out`. Returns the error that stopped its encoder, if one did.
    fn collect_rendition(&mut self, n: usize, out: &mut Vec<Output>) -> Option<Error> {
        let rendition = self.renditions.get_mut(n)?;
        rendition.encoder()?;
        let mut encoded = Vec::new();
        let fault = rendition.pull(&mut encoded);
        self.announced |= !encoded.is_empty();
        if n == 0 && matches!(self.source, SourceUse::Top(_)) {
            self.collect_top(encoded, out);
            return fault;
        }
        let rung = &rendition.rung;
        let newest = &mut self.newest_encoded;
        out.extend(encoded.into_iter().map(|encoded| match encoded {
            EncoderOutput::Track(track) => Output::Rung { n, rung: rung.clone(), track },
            EncoderOutput::Frame(frame) => {
                *newest = frame.pts.max(*newest);
                Output::Frame(frame)
            }
        }));
        fault
    }

    /// Moves the track and the frames of the top rendition to `out`: the source's, and those encoded for its gaps.
    fn collect_top(&mut self, encoded: Vec<EncoderOutput>, out: &mut Vec<Output>) {
        let (Some(reference), SourceUse::Top(top)) = (self.renditions.first_mut(), &mut self.source) else { return };
        for encoded in encoded {
            match encoded {
                EncoderOutput::Track(track) => {
                    let joined = top.parameter_sets.join(&track.codec);
                    if joined.is_none() {
                        warn!("the source and the encoder cannot share a track: the source is encoded");
                        reference.constraints = None;
                        self.key_next = true;
                    }
                    let codec = joined.unwrap_or(track.codec);
                    out.push(Output::Rung { n: 0, rung: reference.rung.clone(), track: Track { codec, ..track } });
                }
                EncoderOutput::Frame(frame) if reference.constraints.is_none() => out.push(Output::Frame(frame)),
                EncoderOutput::Frame(frame) => top.passthrough.fill(frame),
            }
        }
        if reference.constraints.is_none() {
            self.source = SourceUse::Encoded;
        } else if self.announced {
            out.extend(std::iter::from_fn(|| top.passthrough.pull()).map(Output::Frame));
            self.stats.forwarded = top.passthrough.forwarded();
        }
    }

    /// Ends the encoders: the frames that they hold back can be collected.
    pub(crate) fn end(&self) {
        self.renditions.iter().filter_map(VideoRendition::encoder).for_each(Encoder::end);
    }

    /// Returns whether all frames were collected after [`VideoRenditions::end`].
    pub(crate) fn is_ended(&self) -> bool {
        self.renditions.iter().filter_map(VideoRendition::encoder).all(Encoder::is_ended)
    }

    /// Drops a rendition or restores one, as [`Overload::judge`] decides by the time that frames wait for the encoders.
    fn judge(&mut self, now: TimeDelta, out: &mut Vec<Output>) {
        for rung in self.failed.drain(..) {
            self.overload.fail(rung, now);
            self.stats.shed += 1;
            out.push(Output::Shed { rung, failed: true });
        }
        let wait = self.renditions.iter().map(VideoRendition::wait).max().unwrap_or_default();
        match self.overload.judge(wait, now) {
            Some(Decision::Shed(rung)) => {
                if let Some(rendition) = self.renditions.get_mut(rung) {
                    rendition.shed(&mut self.reaper);
                    self.stats.shed += 1;
                    out.push(Output::Shed { rung, failed: false });
                }
            }
            Some(Decision::Restore(rung)) => {
                if let Some(rendition) = self.renditions.get_mut(rung) {
                    rendition.restore();
                    out.push(Output::Restored { rung });
                }
            }
            None => {}
        }
    }

    /// Replaces an encoder that failed. Encoders that start from now on are software encoders, in all renditions. The
    /// next tick has a key frame in all of them.
    fn replace_encoder(&mut self, n: usize, error: &Error) {
        warn!(rung = n, %error, "an encoder failed and is replaced");
        let Some(rendition) = self.renditions.get_mut(n) else { return };
        if !rendition.replace_encoder(n > 0, &mut self.reaper) {
            self.failed.push(n);
        }
        if let (0, SourceUse::Top(top)) = (n, &mut self.source) {
            top.passthrough.cancel_reserved();
        }
        self.stats.replaced += 1;
        if self.available.iter().any(|encoder| encoder.hardware) {
            info!("hardware encoders are no longer used for this broadcast");
            self.available.retain(|encoder| !encoder.hardware);
        }
        self.key_next = true;
    }
}

/// Returns the id of the track of rendition `n`.
fn track(n: usize) -> TrackId {
    TrackId(u32::try_from(n).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
