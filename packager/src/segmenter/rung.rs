//! Rungs: other renditions of the leader's pictures. Their encoders make key frames where the leader's does, so they are
//! cut exactly where it was. One that comes late, lags or is shed has gaps, and the leader never notices.

use media::{Access, Kind, Track};

use super::feed::Feed;
use super::lane::{Lane, Opening, Unit};
use super::{Packager, Phase, Slot};
use crate::Error;
use crate::log::{Event, RenditionId};

impl Packager {
    /// Announces rung `rung`, brings it back, or changes its header: another rendition of the video track's pictures. It
    /// begins, or goes on, at its next key frame where the video track was cut, with a new init section if the header
    /// says something else. Its frames are told by the id of its track. Tracks of sound and rungs beyond
    /// [`RenditionId::MAX_DEPENDENT_VIDEO`] are ignored.
    pub fn add_rendition(&mut self, rung: u32, track: Track) -> Result<(), Error> {
        let Some(id) = RenditionId::dependent_video(rung).filter(|_| track.kind() == Kind::Video) else {
            return Ok(());
        };
        let Some((n, feed)) = self.rung(id) else {
            self.followers.push(self.new_feed(id, track)?);
            return Ok(());
        };
        feed.bound = true;
        feed.next = None;
        if feed.lane.describes(&track) {
            return feed.lane.change(track);
        }
        // What is held was made with the old header; the encoder begins anew.
        feed.held.clear();
        feed.away = true;
        if feed.lane.active() && feed.lane.has_content() {
            feed.next = Some(track);
        } else {
            feed.lane.change(track)?;
        }
        self.forget_gathered(n);
        Ok(())
    }

    /// Sheds a rung: its playlist goes on with gaps, and no multivariant playlist lists it until
    /// [`Packager::add_rendition`] brings it back. What it had published stays.
    pub fn drop_rendition(&mut self, rung: u32) -> Result<(), Error> {
        let Some((n, feed)) =
            RenditionId::dependent_video(rung).and_then(|id| self.rung(id)).filter(|(_, feed)| feed.bound)
        else {
            return Ok(());
        };
        feed.bound = false;
        feed.away = true;
        feed.next = None;
        feed.held.clear();
        if let Some(feed) = self.followers.get_mut(n).filter(|feed| feed.lane.announced()) {
            feed.lane.flush(&mut self.out)?;
            self.out.events.push_back(Event::Withdrawn(feed.lane.rendition()));
        }
        self.forget_gathered(n);
        Ok(())
    }

    fn rung(&mut self, id: RenditionId) -> Option<(usize, &mut Feed)> {
        self.followers.iter_mut().enumerate().find(|(_, feed)| feed.lane.rendition() == id)
    }

    fn forget_gathered(&mut self, n: usize) {
        if let Phase::Gathering(units) = &mut self.phase {
            units.retain(|(slot, _)| *slot != Slot::Rung(n));
        }
    }

    pub(super) fn commit_rung(&mut self, n: usize, unit: Unit) -> Result<(), Error> {
        if !self.join_rung(n, &unit)? {
            return Ok(());
        }
        let Some(feed) = self.followers.get_mut(n) else { return Ok(()) };
        feed.lane.follow(&unit, &self.cuts, &mut self.out)?;
        let msn = feed.lane.msn();
        let outlook = self.outlook(msn);
        let Some(feed) = self.followers.get_mut(n) else { return Ok(()) };
        feed.lane.foresee(outlook);
        feed.lane.resume(&unit, &mut self.out)?;
        feed.lane.push(unit, &mut self.out)
    }

    /// True if the rung takes part; one that was away does from a key frame on that begins a segment.
    fn join_rung(&mut self, n: usize, unit: &Unit) -> Result<bool, Error> {
        let led = self.leader().is_some_and(Lane::active);
        let Some(Feed { lane, away, next, .. }) = self.followers.get_mut(n) else { return Ok(false) };
        if lane.active() && !*away {
            return Ok(true);
        }
        if unit.access == Access::Dependent || !led {
            return Ok(false);
        }
        let edge = lane.edge(unit);
        let Some((msn, start)) = self.cuts.beginning(edge, lane.slack()) else { return Ok(false) };
        if !lane.active() {
            let opening = Opening { msn, at: edge, discontinuity: start.discontinuity };
            lane.begin_run(opening, (self.run.wall, self.run.start_pts), edge - unit.dts);
        } else if msn < lane.msn() || msn == lane.msn() && lane.has_content() {
            // Gaps stand there already.
            return Ok(false);
        }
        while let Some(cut) = self.cuts.after(lane.msn()).filter(|_| lane.msn() < msn) {
            lane.miss(cut, &mut self.out)?;
        }
        if let Some(track) = next.take() {
            lane.change(track)?;
        }
        lane.restart();
        lane.forget_events_before(edge);
        *away = false;
        Ok(true)
    }
}
