//! Errors of decoding and encoding.

/// An error of decoding or encoding.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// GStreamer cannot be used at all.
    #[error("GStreamer does not start: {0}")]
    Start(String),
    /// No GStreamer element does what is needed, because a plugin is not installed.
    #[error("no GStreamer element for {0}")]
    Missing(String),
    /// An element refuses its input or its settings.
    #[error("{place}: {reason}")]
    Refused {
        /// Step that was tried.
        place: &'static str,
        /// Message of GStreamer.
        reason: String,
    },
    /// A running pipeline failed.
    #[error("{element} failed: {reason}")]
    Failed {
        /// Element that failed.
        element: String,
        /// Message of GStreamer.
        reason: String,
    },
    /// An encoder wrote a codec header that cannot be parsed.
    #[error("codec header from an encoder: {0}")]
    Header(#[from] media::codec::HeaderError),
    /// The loudness of the audio cannot be measured.
    #[error("loudness: {0}")]
    Loudness(String),
    /// The slate's image is neither PNG nor JPEG, or too large.
    #[error("slate image: {0}")]
    Slate(&'static str),
    /// An encoder makes no clip of the slate.
    #[error("slate clip: {0}")]
    Clip(&'static str),
}

impl Error {
    /// Returns an adapter for `map_err`: GStreamer refused the step `place`.
    pub(crate) fn refused(place: &'static str) -> impl FnOnce(gstreamer::glib::BoolError) -> Self {
        move |error| Self::Refused { place, reason: error.to_string() }
    }
}
