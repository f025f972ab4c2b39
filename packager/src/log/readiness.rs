//! Whether players may start.

use super::RenditionRole;

/// Whole segments that the first playlist lists. Players of whole segments begin with the first one and see a new one
/// listed only when it is whole. With the first segment alone their buffer would run empty before the next one comes,
/// and again if a short first segment is followed by longer ones.
pub(crate) const FIRST_LISTED: usize = 2;
/// Dependent renditions are waited for until the reference rendition has so many segments, because players that start
/// without one may never discover it.
const MAX_SEGMENTS_WITHOUT: usize = 3;

/// The state of one rendition that [`can_start`] depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readiness {
    pub(crate) role: RenditionRole,
    /// Whole segments so far.
    pub(crate) segments: usize,
    pub(crate) withdrawn: bool,
}

/// Whether every rendition that is waited for has so many whole segments.
pub(crate) fn can_start(renditions: impl Iterator<Item = Readiness> + Clone, segments: usize) -> bool {
    let reference = renditions.clone().find(|r| r.role == RenditionRole::Reference);
    let overdue = reference.is_some_and(|reference| reference.segments >= MAX_SEGMENTS_WITHOUT);
    let waived = |r: &Readiness| r.withdrawn || r.role == RenditionRole::Dependent && overdue;
    let mut renditions = renditions.peekable();
    renditions.peek().is_some() && renditions.all(|r| r.segments >= segments || waived(&r))
}
