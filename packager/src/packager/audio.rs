//! The audio renditions of a period: each waits for video, ends its segments where video does, and delays no other
//! rendition.

use media::{Frame, Kind, TimeDelta, Timestamp, Track};

use super::Packager;
use super::boundary_planner::{Boundary, DEPENDENT_ROUNDING, ROUNDING};
use super::rendition::{RenditionInput, RenditionWriter, SegmentStart};
use crate::Error;

/// Returns the index of the rendition that goes on with `track`: the one that has the track already; otherwise, of the
/// renditions for which the contribution has no track, one in the same language or else the first. `None` if a new
/// rendition is needed.
pub(super) fn input_for(dependents: &[RenditionInput], track: &Track) -> Option<usize> {
    let same_track = inputs(dependents).find(|(_, audio)| audio.is_assigned && audio.track().id == track.id);
    let free = || inputs(dependents).filter(|(_, audio)| !audio.is_assigned);
    let same_language = || free().find(|(_, audio)| audio.track().language == track.language);
    same_track.or_else(same_language).or_else(|| free().next()).map(|(n, _)| n)
}

/// Returns the rendition, DTS and PTS of the queued audio frame that is presented first.
pub(super) fn oldest_queued(dependents: &[RenditionInput]) -> Option<(usize, Timestamp, Timestamp)> {
    let fronts = inputs(dependents).filter_map(|(n, audio)| Some((n, audio.queued.front()?)));
    fronts.min_by_key(|(_, frame)| frame.pts).map(|(n, frame)| (n, frame.dts, frame.pts))
}

fn inputs(dependents: &[RenditionInput]) -> impl Iterator<Item = (usize, &RenditionInput)> {
    dependents.iter().enumerate().filter(|(_, input)| input.writer.is_audio())
}

impl Packager {
    /// Writes a frame of audio rendition `n`, and ends segments before it.
    pub(super) fn write_audio(&mut self, n: usize, frame: Frame) -> Result<(), Error> {
        let Some(writer) = self.dependent(n) else { return Ok(()) };
        let (lasts, pts, is_active) = (writer.frame_duration(), frame.pts, writer.is_active());
        let is_before_start = pts + lasts <= self.planner.period.start.dts;
        if is_before_start || !(is_active || self.join_audio(n, pts, lasts)) {
            return Ok(());
        }
        let Some(RenditionInput { writer, .. }) = self.dependents.get_mut(n) else { return Ok(()) };
        writer.cross_before(&frame, &self.planner.boundaries, &mut self.out)?;
        if writer.msn() == self.planner.boundaries.newest_msn() {
            self.end_segment_by_audio(n, pts, lasts)?;
        }
        self.planner.period.newest_audio = self.planner.period.newest_audio.max(Some(pts));
        if let Some(RenditionInput { writer, .. }) = self.dependents.get_mut(n) {
            writer.push(frame, &mut self.out)?;
        }
        self.apply_boundaries(n)?;
        if self.planner.period.reference_kind == Kind::Audio { self.fill_overdue(pts) } else { Ok(()) }
    }

    /// Lets late audio join the period. It begins with a segment, so that it is aligned from its first segment on. Returns
    /// false if it cannot join at `pts`.
    fn join_audio(&mut self, n: usize, pts: Timestamp, lasts: TimeDelta) -> bool {
        let boundaries = &self.planner.boundaries;
        let period = &self.planner.period.start;
        let (msn, at) = (boundaries.newest_msn(), boundaries.newest_start());
        let begins = msn == period.msn || (TimeDelta::ZERO..lasts).contains(&(pts - at));
        if let Some(RenditionInput { writer, .. }) = self.dependents.get_mut(n).filter(|_| begins) {
            let start = SegmentStart { msn, at, discontinuity: boundaries.newest_is_discontinuous() };
            writer.begin_period(start, (period.wall, period.pts), TimeDelta::ZERO);
        }
        begins
    }

    /// Ends segments where audio decides the boundaries, where its track changes, and where stalled video lets the audio
    /// segment grow too long.
    fn end_segment_by_audio(&mut self, n: usize, pts: Timestamp, lasts: TimeDelta) -> Result<(), Error> {
        if let Some(track) = self.dependents.get_mut(n).and_then(|audio| audio.next_track.take()) {
            self.planner.split_gap(pts);
            if let Some(RenditionInput { writer, .. }) = self.dependents.get_mut(n) {
                writer.cross_all(&self.planner.boundaries, &mut self.out)?;
            }
            self.end_audio_segment(n, pts, true)?;
            return self.dependents.get_mut(n).map_or(Ok(()), |audio| audio.writer.change_track(track));
        }
        let decides = self.planner.period.reference_kind == Kind::Audio;
        let limit = self.planner.max_length(if decides { ROUNDING } else { DEPENDENT_ROUNDING });
        while let Some(writer) = self.dependent(n)
            && let Some(end) = self.planner.overlong_audio_end(pts, lasts, writer.segment_start(), limit)
        {
            self.end_audio_segment(n, end, false)?;
        }
        if self.planner.audio_ends_at(pts) { self.end_audio_segment(n, pts, false) } else { Ok(()) }
    }

    fn end_audio_segment(&mut self, n: usize, at: Timestamp, discontinuity: bool) -> Result<(), Error> {
        self.planner.boundaries.push(Boundary { at, discontinuity, key_frame: false });
        if let Some(RenditionInput { writer, .. }) = self.dependents.get_mut(n) {
            writer.end_segment(at, discontinuity, &mut self.out)?;
        }
        self.advance_stalled_video(at)
    }

    /// Ends a segment of audio rendition `n` as soon as its last frame is written. For video only the next frame shows
    /// that it was the last.
    pub(super) fn apply_boundaries(&mut self, n: usize) -> Result<(), Error> {
        let Some(RenditionInput { writer, .. }) = self.dependents.get_mut(n) else { return Ok(()) };
        if !writer.is_audio() || !writer.is_active() || !writer.has_content() {
            return Ok(());
        }
        match self.planner.boundaries.end_of(writer.msn()).filter(|boundary| writer.end() >= boundary.at) {
            Some(boundary) => writer.end_segment(boundary.at, boundary.discontinuity, &mut self.out),
            None => Ok(()),
        }
    }

    fn dependent(&self, n: usize) -> Option<&RenditionWriter> {
        self.dependents.get(n).map(|input| &input.writer)
    }
}
