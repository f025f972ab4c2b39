//! The audio renditions of a run: each waits for video, is cut where video was cut, and holds nobody up.

use media::{Frame, Kind, TimeDelta, Timestamp, Track};

use super::boundary_planner::Boundary;
use super::rendition::{RenditionInput, RenditionWriter, SegmentStart};
use super::{Packager, targets};
use crate::Error;

/// So much audio without a picture in between means in any case that video stalls: audio flows on, so far behind.
pub(super) const AUDIO_HOLD: TimeDelta = TimeDelta::from_secs(2);
/// The same where parts are offered, if pictures and sound came closer together so far: players have little in hand.
pub(super) const AUDIO_HOLD_WITH_PARTS: TimeDelta = TimeDelta::from_millis(500);
/// Audio leaves video the first word, also where its frames last longer.
const DEPENDENT_ROUNDING: TimeDelta = TimeDelta::from_millis(380);

/// The rendition that goes on with `track`: the one it has already; else, of those that the contribution has no track
/// for, one in its language or the first. None where a new one is due.
pub(super) fn input_for(dependents: &[RenditionInput], track: &Track) -> Option<usize> {
    let bound = audio_inputs(dependents).find(|(_, audio)| audio.bound && audio.track().id == track.id);
    let free = || audio_inputs(dependents).filter(|(_, audio)| !audio.bound);
    let same = || free().find(|(_, audio)| audio.track().language == track.language);
    bound.or_else(same).or_else(|| free().next()).map(|(n, _)| n)
}

/// Of the sound that is held, what is to be heard first: its rendition, DTS and PTS.
pub(super) fn oldest_queued(dependents: &[RenditionInput]) -> Option<(usize, Timestamp, Timestamp)> {
    let fronts = audio_inputs(dependents).filter_map(|(n, audio)| Some((n, audio.queued.front()?)));
    fronts.min_by_key(|(_, frame)| frame.pts).map(|(n, frame)| (n, frame.dts, frame.pts))
}

fn audio_inputs(dependents: &[RenditionInput]) -> impl Iterator<Item = (usize, &RenditionInput)> {
    dependents.iter().enumerate().filter(|(_, input)| input.writer.is_audio())
}

impl Packager {
    pub(super) fn write_audio(&mut self, n: usize, frame: Frame) -> Result<(), Error> {
        let Some(writer) = self.dependent(n) else { return Ok(()) };
        let (lasts, pts, active) = (writer.frame_duration(), frame.pts, writer.is_active());
        if pts + lasts <= self.period.start_dts || !(active || self.join_audio(n, pts, lasts)) {
            return Ok(());
        }
        let Some(RenditionInput { writer, .. }) = self.dependents.get_mut(n) else { return Ok(()) };
        writer.cross_before(&frame, &self.boundaries, &mut self.out)?;
        if writer.msn() == self.boundaries.newest_msn() {
            self.end_segment_by_audio(n, pts, lasts)?;
        }
        self.period.newest_audio = self.period.newest_audio.max(Some(pts));
        if let Some(RenditionInput { writer, .. }) = self.dependents.get_mut(n) {
            writer.push(frame, &mut self.out)?;
        }
        self.apply_boundaries(n)?;
        if self.period.reference_kind == Kind::Audio { self.fill_overdue(pts) } else { Ok(()) }
    }

    /// Sound that appears late begins with a segment, so that it is aligned from its first one on.
    fn join_audio(&mut self, n: usize, pts: Timestamp, frame: TimeDelta) -> bool {
        let msn = self.boundaries.newest_msn();
        let since = pts - self.boundaries.newest_start_time();
        let begins = msn == self.period.first_msn || (TimeDelta::ZERO..frame).contains(&since);
        if let Some(RenditionInput { writer, .. }) = self.dependents.get_mut(n).filter(|_| begins) {
            let start = SegmentStart {
                msn,
                at: self.boundaries.newest_start_time(),
                discontinuity: self.boundaries.newest_is_discontinuous(),
            };
            writer.begin_period(start, (self.period.wall, self.period.start_pts), TimeDelta::ZERO);
        }
        begins
    }

    /// Cuts where sound leads, where it changes, and where stalled video lets its segment grow too long.
    fn end_segment_by_audio(&mut self, n: usize, pts: Timestamp, frame: TimeDelta) -> Result<(), Error> {
        if let Some(track) = self.dependents.get_mut(n).and_then(|audio| audio.next_track.take()) {
            self.split_gap(pts);
            if let Some(RenditionInput { writer, .. }) = self.dependents.get_mut(n) {
                writer.cross_all(&self.boundaries, &mut self.out)?;
            }
            self.end_audio_segment(n, pts, true)?;
            return self.dependents.get_mut(n).map_or(Ok(()), |audio| audio.writer.change_track(track));
        }
        let leads = self.period.reference_kind == Kind::Audio;
        let limit = self.max_length(if leads { super::boundary_planner::ROUNDING } else { DEPENDENT_ROUNDING });
        while let Some(writer) = self.dependent(n) {
            let start = writer.segment_start().min(self.boundaries.newest_start_time());
            if pts + frame - start <= limit {
                break;
            }
            self.end_audio_segment(n, pts.min(start + limit), false)?;
        }
        let first = self.is_at_first_segment();
        let target = if first { super::FIRST_AUDIO_SEGMENT } else { targets::segment_target(self.config.mode) };
        if leads && pts - self.boundaries.newest_start_time() >= target {
            self.end_audio_segment(n, pts, false)
        } else {
            Ok(())
        }
    }

    fn end_audio_segment(&mut self, n: usize, at: Timestamp, discontinuity: bool) -> Result<(), Error> {
        self.boundaries.push(Boundary { at, discontinuity, key_frame: false });
        if let Some(RenditionInput { writer, .. }) = self.dependents.get_mut(n) {
            writer.end_segment(at, discontinuity, &mut self.out)?;
        }
        self.advance_stalled_video(at)
    }

    /// Ends a segment of sound as soon as its last frame is there; with pictures only the next one tells.
    pub(super) fn apply_boundaries(&mut self, n: usize) -> Result<(), Error> {
        let Some(RenditionInput { writer, .. }) = self.dependents.get_mut(n) else { return Ok(()) };
        if !writer.is_audio() || !writer.is_active() || !writer.has_content() {
            return Ok(());
        }
        match self.boundaries.end_of(writer.msn()).filter(|boundary| writer.end() >= boundary.at) {
            Some(boundary) => writer.end_segment(boundary.at, boundary.discontinuity, &mut self.out),
            None => Ok(()),
        }
    }

    fn dependent(&self, n: usize) -> Option<&RenditionWriter> {
        self.dependents.get(n).map(|input| &input.writer)
    }
}
