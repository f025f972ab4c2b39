//! Events of a live stream for subscribers.

use media::Fault;
use media::id::SimulcastTargetId;

use super::simulcast::SimulcastEvent;

/// An event of a live stream, as webhooks name it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The live stream was created.
    Created,
    /// Settings of the live stream changed.
    Updated,
    /// An encoder connected.
    Connected,
    /// The broadcast has its first media.
    Recording,
    /// The broadcast can be played.
    Active,
    /// The encoder left.
    Disconnected,
    /// The broadcast ended.
    Idle,
    /// Encoders are accepted again.
    Enabled,
    /// Encoders are refused.
    Disabled,
    /// The live stream was deleted.
    Deleted,
    /// A problem occurred that does not end the broadcast.
    Warning(Warning),
    /// A [`SimulcastEvent`] of a target of the live stream.
    SimulcastTarget(SimulcastTargetId, SimulcastEvent),
}

impl Event {
    /// Returns the problem that this event reports, if any.
    pub const fn warning(&self) -> Option<Warning> {
        match self {
            Self::Warning(warning) => Some(*warning),
            _ => None,
        }
    }

    /// Returns the simulcast target that this event is about, if any.
    pub const fn simulcast_target(&self) -> Option<&SimulcastTargetId> {
        match self {
            Self::SimulcastTarget(id, _) => Some(id),
            _ => None,
        }
    }

    /// Returns the type of the event in a webhook.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Created => "video.live_stream.created",
            Self::Updated => "video.live_stream.updated",
            Self::Connected => "video.live_stream.connected",
            Self::Recording => "video.live_stream.recording",
            Self::Active => "video.live_stream.active",
            Self::Disconnected => "video.live_stream.disconnected",
            Self::Idle => "video.live_stream.idle",
            Self::Enabled => "video.live_stream.enabled",
            Self::Disabled => "video.live_stream.disabled",
            Self::Deleted => "video.live_stream.deleted",
            Self::Warning(_) => "video.live_stream.warning",
            Self::SimulcastTarget(_, event) => event.as_str(),
        }
    }
}

/// A problem that does not end the broadcast.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Warning {
    /// An encoder was disconnected, because its key frames are too far apart.
    LongGop,
    /// An encoder was disconnected, because its media cannot be packaged.
    Unpackageable,
    /// The slate image could not be fetched or decoded, so the server's default image is shown.
    SlateUnavailable,
    /// The gaps of a passthrough programme cannot be filled, or not in all of its codecs.
    SlateNotMade,
    /// The machine is overloaded, and a rendition is shed until it is not.
    Overloaded,
    /// The encoders of a rendition fail, and the rendition is dropped for a while.
    EncoderFailed,
    /// Media from the encoder was repaired or discarded.
    Media(Fault),
}

impl Warning {
    /// Returns the `type` of the warning in the event.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::LongGop => "keyframe_interval_too_long",
            Self::Unpackageable => "media_not_supported",
            Self::SlateUnavailable => "reconnect_slate_unavailable",
            Self::SlateNotMade => "reconnect_slate_not_made",
            Self::Overloaded => "rendition_shed",
            Self::EncoderFailed => "rendition_failed",
            Self::Media(fault) => fault.label(),
        }
    }

    /// Returns the `message` of the warning in the event: the problem and its remedy.
    pub const fn message(self) -> &'static str {
        match self {
            Self::LongGop => {
                "The encoder was disconnected because its key frames are more than 20 s apart. Set its key frame \
                 interval to 2 s."
            }
            Self::Unpackageable => "The encoder was disconnected because its media cannot be packaged.",
            Self::SlateUnavailable => {
                "The image at reconnect_slate_url could not be used, so the default image is shown. It must be a PNG \
                 or JPEG of at most 10 MB at a public address."
            }
            Self::SlateNotMade => {
                "The server could not encode the slate, or its silent audio, in the codecs of this live stream, so \
                 gaps remain where it is missing. `weir check` lists the available encoders. With video_quality plus \
                 or premium these are not needed."
            }
            Self::Overloaded => {
                "The server is overloaded with encoding, so a rendition is dropped until it is not. It needs more \
                 processors, or fewer live streams of plus and premium quality."
            }
            Self::EncoderFailed => {
                "The server's encoders of a rendition failed one after another, so the rendition is dropped for a \
                 while. The log has the reason."
            }
            Self::Media(fault) => fault.message(),
        }
    }
}
