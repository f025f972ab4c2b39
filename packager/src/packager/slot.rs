//! Addresses of renditions inside the packager.

/// Rendition that a frame goes to. Dependent renditions are named by their index in the packager's list of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Slot {
    /// The reference video.
    Video,
    /// An audio rendition.
    Audio(usize),
    /// Another rendition of the same video.
    DependentVideo(usize),
}
