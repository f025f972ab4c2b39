//! The end of a broadcast: each rendition ends with its own last frame, and no gap follows that a player would wait for.

use media::{TimeDelta, Timestamp};

use super::lane::Lane;
use super::{Packager, Phase};
use crate::Error;
use crate::log::Event;

/// Renditions whose ends are further apart do not end together: one of them had stopped before.
const APART: TimeDelta = TimeDelta::from_millis(500);

impl Packager {
    /// Publishes what is left of the open parts; true if parts are offered. [`Packager::end`] is to follow a moment later,
    /// because hls.js 1.7 never asks for a part that it learns of together with the end of the playlist, and then waits for
    /// it. No frame may come in between.
    pub fn last_parts(&mut self) -> Result<bool, Error> {
        self.freeze_early()?;
        if self.parts.is_none() || !matches!(self.phase, Phase::Running) {
            return Ok(false);
        }
        self.take_all_held()?;
        self.even_out();
        for feed in self.video.iter_mut().chain(&mut self.followers).filter(|feed| feed.lane.active()) {
            feed.lane.flush(&mut self.out)?;
        }
        Ok(true)
    }

    /// The broadcast is over.
    pub fn end(&mut self) -> Result<(), Error> {
        if matches!(self.phase, Phase::Ended) {
            return Ok(());
        }
        self.freeze_early()?;
        if matches!(self.phase, Phase::Running) {
            self.take_all_held()?;
            self.close_all()?;
        }
        self.phase = Phase::Ended;
        self.out.events.push_back(Event::End);
        Ok(())
    }

    /// Closes the last segment of each rendition. One that has come as far as the others gets no segment that it has no
    /// frame for: a gap would follow its last frame.
    fn close_all(&mut self) -> Result<(), Error> {
        let filled = self.lanes().filter(|lane| lane.active() && lane.has_content());
        let end = filled.map(|lane| lane.shown(lane.end())).max();
        let near = |lane: &Lane| end.is_some_and(|end| end - lane.shown(lane.end()) < APART);
        self.skip_to_newest(|feed| !(feed.lane.is_sound() && near(&feed.lane)))?;
        for feed in self.video.iter_mut().chain(&mut self.followers).filter(|feed| feed.lane.active()) {
            let lane = &mut feed.lane;
            match end {
                _ if lane.has_content() && !lane.stands() => lane.end_segment(lane.end(), true, &mut self.out)?,
                Some(end) if lane.stands() || !near(lane) => {
                    lane.end_segment(lane.decoded(end), true, &mut self.out)?;
                }
                _ => {}
            }
            lane.rest(&mut self.out);
        }
        Ok(())
    }

    /// Leaves out the last frames that nobody has seen where half of the part they are in would be beyond the end of the
    /// other kind: hls.js and others take a stream for whole when they have picture and sound of the middle of each last part.
    fn even_out(&mut self) {
        let sound = self.followers.iter().map(|feed| &feed.lane).filter(|lane| lane.is_sound() && lane.active());
        let Some(heard) = sound.map(Lane::end).max() else { return };
        let Some(video) = self.video.as_mut().map(|feed| &mut feed.lane).filter(|lane| lane.active()) else { return };
        let seen = |lane: &Lane| lane.shown(lane.end());
        let near = |one: Timestamp, other: Timestamp| (one - other).abs() < APART;
        if !near(heard, seen(video)) {
            return;
        }
        video.leave_out_beyond(heard);
        let seen = seen(video);
        let sounds =
            self.followers.iter_mut().map(|feed| &mut feed.lane).filter(|lane| lane.is_sound() && lane.active());
        sounds.filter(|lane| near(lane.end(), seen)).for_each(|lane| lane.leave_out_beyond(seen));
    }
}
