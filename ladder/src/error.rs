//! What can go wrong in a ladder.

/// An error of decoding or encoding.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// GStreamer cannot be used at all.
    #[error("GStreamer does not start: {0}")]
    Start(String),
    /// No element of GStreamer does what is needed: a plugin is not installed.
    #[error("no GStreamer element for {0}")]
    Missing(String),
    /// An element refuses what it is given.
    #[error("{place}: {reason}")]
    Refused {
        /// What was tried.
        place: &'static str,
        /// GStreamer's own words.
        reason: String,
    },
    /// A pipeline stopped by itself.
    #[error("{element} failed: {reason}")]
    Failed {
        /// The element that stopped it.
        element: String,
        /// GStreamer's own words.
        reason: String,
    },
    /// An encoder wrote a header that cannot be read.
    #[error("encoder's header: {0}")]
    Header(#[from] media::codec::HeaderError),
    /// The loudness of the sound cannot be measured.
    #[error("loudness: {0}")]
    Loudness(String),
    /// The slate's picture is no PNG or JPEG, or too large.
    #[error("slate picture: {0}")]
    Slate(&'static str),
    /// An encoder makes no clip of it.
    #[error("slate clip: {0}")]
    Clip(&'static str),
}

impl Error {
    /// GStreamer refused `place`.
    pub(crate) fn refused(place: &'static str) -> impl FnOnce(gstreamer::glib::BoolError) -> Self {
        move |error| Self::Refused { place, reason: error.to_string() }
    }
}
