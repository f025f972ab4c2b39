//! The playlists of the live window, as models.

use super::{Rendition, Segment, Window};
use crate::log::{NextPart, RenditionId};
use crate::playlist::{
    MediaPlaylist, MultivariantPlaylist, PlaylistKind, RenditionInfo, RenditionReport, SegmentInfo, Tail,
};

impl Window {
    /// The media playlist of a rendition; `None` before the frozen durations and a whole segment are known.
    pub fn media_playlist(
        &self,
        id: RenditionId,
    ) -> Option<MediaPlaylist<impl DoubleEndedIterator<Item = SegmentInfo<'_>> + Clone>> {
        let rendition = self.rendition(id)?;
        let targets = self.targets()?;
        let first = rendition.listed().next().filter(|segment| segment.is_closed())?;
        let tail = if self.has_ended() { Tail::Ended } else { self.open_tail(rendition) };
        Some(MediaPlaylist {
            rendition: id,
            kind: PlaylistKind::Live,
            targets,
            media_sequence: first.msn(),
            discontinuity_sequence: first.discontinuity_sequence(),
            segments: rendition.listed().map(Segment::info),
            tail,
        })
    }

    fn open_tail(&self, rendition: &Rendition) -> Tail {
        let hint = rendition.hint();
        let next = NextPart { rendition: rendition.id(), msn: hint.msn, index: hint.parts };
        let others = self.renditions().filter(|other| other.id() != rendition.id());
        Tail::Open { next, reports: others.map(report).collect() }
    }

    /// The multivariant playlist. It lists the renditions that have a whole segment, so it is complete only once
    /// [`Window::is_playable`].
    pub fn multivariant_playlist(&self) -> MultivariantPlaylist<'_> {
        let renditions = self.renditions().filter(|rendition| rendition.is_offered()).map(info).collect();
        MultivariantPlaylist { renditions, captions: self.has_captions() }
    }
}

fn info(rendition: &Rendition) -> RenditionInfo<'_> {
    RenditionInfo {
        id: rendition.id(),
        format: rendition.format(),
        codecs: rendition.formats().map(|format| format.codec.as_str()).collect(),
        peak_bandwidth: rendition.stats().peak_bandwidth(),
        bandwidth: rendition.stats().bandwidth(),
        average_bandwidth: rendition.stats().average_bandwidth(),
        millihertz: rendition.stats().millihertz(),
    }
}

/// Reports the progress of a rendition to the playlists of the others.
///
/// hls.js 1.7: it reads `LAST-PART=0` as if there were no parts, and waits for one that comes up to a segment later.
/// The first part of a segment is therefore reported one part later.
fn report(rendition: &Rendition) -> RenditionReport {
    let mut newest = rendition.listed().rev();
    let last = newest.next();
    let before =
        newest.next().filter(|before| last.is_some_and(|last| last.parts().len() <= 1) && before.parts().len() > 1);
    let part = before.or(last).map(|segment| (segment.msn(), (segment.parts().len() as u32).saturating_sub(1)));
    let segment = rendition.listed().rev().find(|segment| segment.is_closed()).map(Segment::msn);
    RenditionReport { rendition: rendition.id(), segment, part }
}
