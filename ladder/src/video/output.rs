//! The video of a running ladder: its renditions, and the canvas of the slate.

use media::{CodecConfig, FrameRate, LatencyMode, TickGrid, Timestamp};

use crate::api::Settings;
use crate::error::Error;
use crate::pipeline::Notify;
use crate::plan::{EncoderParams, Input, REFERENCE_TRACK, Rung, codec_efficiency, gop_frames, plan};
use crate::source::parameter_sets::SharedParameterSets;
use crate::source::passthrough::Passthrough;
use crate::source::rendition::SourceRendition;
use crate::video::colorimetry::output_colorimetry;
use crate::video::encoder::encoders;
use crate::video::raw_frame::RawFrame;
use crate::video::renditions::{PassthroughTop, Setup, SourceUse, VideoRenditions};
use crate::video::slate_image::Canvas;

/// Bit rate of a source that is forwarded, as a multiple of what the reference rendition would be encoded with.
const MAX_BITRATE_FACTOR: u32 = 3;
/// Longest GOP of the encoders, in seconds, where the source decides on key frames. A source with longer GOPs is not
/// forwarded.
const MAX_GOP_SECS: u32 = 5;

/// Properties of the contribution's video, by the time the encoders start.
pub(crate) struct VideoInput<'a> {
    pub(crate) rate: FrameRate,
    /// First decoded frame, if there is one.
    pub(crate) first: Option<&'a RawFrame>,
    /// Codec header of the track, if there is one.
    pub(crate) header: Option<&'a CodecConfig>,
}

impl VideoInput<'_> {
    /// Returns the size that is presented, with square pixels; `None` for audio alone.
    fn size(&self) -> Option<(u32, u32)> {
        self.first.map(RawFrame::display_size).or_else(|| self.header.and_then(CodecConfig::display_size))
    }
}

/// The video of a programme.
pub(crate) struct VideoOutput {
    /// Frame rate of the reference rendition.
    pub(crate) rate: FrameRate,
    /// `None` for a programme of audio alone.
    pub(crate) renditions: Option<VideoRenditions>,
    /// Rungs of the renditions, the reference rendition first.
    pub(crate) rungs: Vec<Rung>,
    /// Canvas of the slate, if there is a slate and video.
    pub(crate) canvas: Option<Canvas>,
}

impl VideoOutput {
    /// Starts renditions for this input, as [`plan`] plans them.
    pub(crate) fn new(input: &VideoInput<'_>, settings: &Settings, notify: &Notify) -> Result<Self, Error> {
        let plan = rungs(input, settings);
        let Some(reference) = plan.first() else {
            return Ok(Self { rate: input.rate, renditions: None, rungs: Vec::new(), canvas: None });
        };
        let rate = reference.rate;
        let colorimetry = output_colorimetry(input.first.map(RawFrame::info));
        let canvas = settings.slate.as_ref().map(|_| Canvas::new(reference, &colorimetry)).transpose()?;
        let seconds = if settings.mode == LatencyMode::Low { 1 } else { 2 };
        let gop = gop_frames(&plan, rate, seconds);
        let ticks = TickGrid { origin: Timestamp::ZERO, rate };
        let mut params = EncoderParams { level: settings.level, mode: settings.mode, ticks, gop, max_gop: gop };
        let source = if settings.source { source_use(input, &plan, &params) } else { SourceUse::Encoded };
        if !matches!(source, SourceUse::Encoded) {
            params.max_gop = gop_frames(&plan, rate, MAX_GOP_SECS);
        }
        let mut available = encoders()?;
        available.retain(|encoder| settings.hardware || !encoder.hardware);
        let rungs = plan.clone();
        let setup = Setup { plan, params, first: input.first, available, source };
        let renditions = Some(VideoRenditions::new(setup, notify.clone())?);
        Ok(Self { rate, renditions, rungs, canvas })
    }

    /// Returns the queue of the source's frames, if they are forwarded.
    pub(crate) fn passthrough(&mut self) -> Option<&mut Passthrough> {
        self.renditions.as_mut().and_then(VideoRenditions::passthrough)
    }
}

/// Plans the rungs for an input; none for audio alone.
fn rungs(input: &VideoInput<'_>, settings: &Settings) -> Vec<Rung> {
    let Some((width, height)) = input.size() else { return Vec::new() };
    let codec_efficiency = input.header.map_or(1.0, codec_efficiency);
    let input = Input { width, height, rate: input.rate, bitrate: None, codec_efficiency };
    plan(&input, settings.level, settings.max_height)
}

/// Decides whether the source is forwarded, and as which rendition.
fn source_use(input: &VideoInput<'_>, plan: &[Rung], params: &EncoderParams) -> SourceUse {
    let (Some(header), Some(reference)) = (input.header, plan.first()) else { return SourceUse::Encoded };
    if let Some(parameter_sets) = SharedParameterSets::new(header).filter(|_| reference.rate == input.rate) {
        let max_bits = reference.bitrate.saturating_mul(MAX_BITRATE_FACTOR);
        let passthrough = Passthrough::new(REFERENCE_TRACK, params.ticks, params.mode, max_bits);
        return SourceUse::Top(PassthroughTop { passthrough, parameter_sets });
    }
    SourceRendition::new(plan.len(), reference, input.rate, header, params)
        .map_or(SourceUse::Encoded, SourceUse::Rendition)
}
