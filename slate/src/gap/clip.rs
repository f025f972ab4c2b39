//! The slate clip of a programme: its format, the request to make it, and the result.

use bytes::Bytes;
use media::{CodecConfig, FrameRate, Track};

use crate::filler::{LoopedVideo, SilentAudio};

/// Images of the slate, each PNG or JPEG. The one that fits the shape of the video is presented.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlateImages {
    /// Image for video that is at least as wide as high.
    pub landscape: Bytes,
    /// Image for video that is higher than wide.
    pub portrait: Bytes,
}

/// Format of a clip's video, which has to match the programme.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClipSpec {
    /// Codec.
    pub codec: VideoCodec,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Shape of a pixel, as width to height.
    pub pixel_aspect: (u16, u16),
    /// Frame rate.
    pub rate: FrameRate,
}

/// Video codec of a clip.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VideoCodec {
    /// H.264.
    Avc,
    /// HEVC.
    Hevc,
    /// AV1.
    Av1,
    /// VP9.
    Vp9,
}

/// Request to make a slate clip, from [`GapPolicy::clip_request`](super::GapPolicy::clip_request).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClipRequest {
    /// Video to encode, unless it is already made.
    pub video: Option<VideoRequest>,
    /// Audio tracks without a built-in silent frame, whose silence has to be encoded.
    pub silence: Vec<Track>,
}

/// Video part of a [`ClipRequest`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VideoRequest {
    /// Format of the video.
    pub spec: ClipSpec,
    /// Images to present.
    pub images: SlateImages,
    /// Length of the loop, which is one GOP.
    pub seconds: u32,
}

/// Answer to a [`ClipRequest`].
#[derive(Clone, Debug)]
pub struct ClipResult<E> {
    /// The video, if it was requested.
    pub video: Option<Result<LoopedVideo, ClipError<E>>>,
    /// The silence of each requested track.
    pub silence: Vec<(Track, Result<SilentAudio, ClipError<E>>)>,
}

/// Reason why a part of a clip could not be made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClipError<E> {
    /// The images cannot be presented. Others may work.
    #[error("{0}")]
    Image(E),
    /// This machine cannot encode it.
    #[error("{0}")]
    Encoder(E),
}

impl ClipSpec {
    /// Returns the format that matches a video track with this frame rate; `None` for audio, and if the size is not known.
    pub fn of(codec: &CodecConfig, rate: FrameRate) -> Option<Self> {
        let kind = match codec {
            CodecConfig::Avc(_) => VideoCodec::Avc,
            CodecConfig::Hevc(_) => VideoCodec::Hevc,
            CodecConfig::Av1(_) => VideoCodec::Av1,
            CodecConfig::Vp9(_) => VideoCodec::Vp9,
            _ => return None,
        };
        let (size, pixel_aspect) = (codec.resolution()?, codec.pixel_aspect().unwrap_or((1, 1)));
        Some(Self { codec: kind, size, pixel_aspect, rate })
    }
}
