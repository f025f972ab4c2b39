//! A rendition in the making: its lane, and what has not reached the lane yet. What followers have in common.

use std::collections::VecDeque;

use media::{Frame, TimeDelta, Timescale, Timestamp, Track};

use super::writer::RenditionWriter;
use crate::Error;
use crate::packager::boundary_planner::Boundary;
use crate::packager::targets::FrameTiming;
use crate::packager::{Output, Packager, Slot};

/// No more frames of a rendition are held than this, whatever their times say.
pub(in crate::packager) const MAX_QUEUED_FRAMES: usize = 1_000;
/// A follower that is later than this behind the others gets a gap in its place. Where silence can be made, that was done
/// before it came here.
const MAX_LATE: TimeDelta = TimeDelta::from_secs(6);
/// Frames of a rung are held so long for a leader that does not come; then the oldest go.
const MAX_QUEUED_TIME: TimeDelta = TimeDelta::from_secs(6);

/// A rendition's lane and what waits in front of it.
#[derive(Debug)]
pub(in crate::packager) struct RenditionInput {
    pub(in crate::packager) writer: RenditionWriter,
    /// What the leader has not reached yet; bounded by the holds.
    pub(in crate::packager) queued: VecDeque<Frame>,
    /// A track that replaces the lane's in mid-run, at its next chance to begin a segment.
    pub(in crate::packager) next_track: Option<Track>,
    /// A sound: the contribution in hand has a track for it. A rung: it was not shed.
    pub(in crate::packager) bound: bool,
    /// Something of a rung is missing: it goes on at a key frame on a cut.
    pub(in crate::packager) must_rejoin: bool,
}

impl RenditionInput {
    /// A rendition for a track that was announced.
    pub(in crate::packager) fn new(writer: RenditionWriter) -> Self {
        Self { writer, queued: VecDeque::new(), next_track: None, bound: true, must_rejoin: true }
    }

    /// The track whose frames it takes.
    pub(in crate::packager) fn track(&self) -> &Track {
        self.next_track.as_ref().unwrap_or(self.writer.track())
    }

    /// Where its frames go, if it is the follower at place `n`.
    pub(in crate::packager) fn slot(&self, n: usize) -> Slot {
        if self.writer.is_audio() { Slot::Audio(n) } else { Slot::DependentVideo(n) }
    }

    /// The contribution is over; a track of the next one may take a sound over.
    pub(in crate::packager) fn end_contribution(&mut self) {
        self.queued.clear();
        self.must_rejoin = true;
        self.bound &= !self.writer.is_audio();
    }

    /// A rung that nobody is sent to any more.
    pub(in crate::packager) fn is_shed(&self) -> bool {
        !self.bound && self.writer.rendition().is_dependent_video()
    }

    /// Learns from the frames of the first segment what they last; `usual` is what those of the leader do. None where
    /// nothing is known of them.
    pub(in crate::packager) fn learn_timing<'a>(
        &mut self,
        mut frames: impl Iterator<Item = &'a Frame> + Clone,
        usual: Option<FrameTiming>,
    ) -> Option<FrameTiming> {
        if self.writer.is_audio() {
            if let Some(frame) = frames.next() {
                self.writer.learn_from(&frame.payload);
            }
            return Some(FrameTiming { frame: self.writer.frame_duration(), jitter: TimeDelta::ZERO, audio: true });
        }
        let seen = timing(frames.map(|frame| frame.dts));
        let told = self.writer.track().codec.frame_rate().is_some() || usual.is_none();
        let header =
            told.then(|| FrameTiming { frame: self.writer.frame_duration(), jitter: TimeDelta::ZERO, audio: false });
        let timing = seen.or(header).or(usual)?;
        self.writer.set_frame_duration(timing.frame);
        Some(timing)
    }

    /// Makes a cut that it did not come to in time.
    fn skip(&mut self, boundary: Boundary, out: &mut Output) -> Result<(), Error> {
        if self.writer.is_audio() {
            return self.writer.cross(boundary, out);
        }
        self.must_rejoin = true;
        self.writer.abandon_to(boundary, out)
    }

    fn queue(&mut self, frame: Frame) {
        self.queued.push_back(frame);
        if self.writer.is_audio() {
            // Sound flows on without the leader when there is too much of it.
            return;
        }
        while let (Some(front), Some(back)) = (self.queued.front(), self.queued.back())
            && (back.dts - front.dts > MAX_QUEUED_TIME || self.queued.len() > MAX_QUEUED_FRAMES)
        {
            self.queued.pop_front();
            self.must_rejoin = true;
        }
    }
}

impl Packager {
    /// Keeps a follower's frame until the leader has come so far.
    pub(in crate::packager) fn queue(&mut self, slot: Slot, frame: Frame) {
        if let Slot::Audio(n) | Slot::DependentVideo(n) = slot
            && let Some(input) = self.dependents.get_mut(n)
        {
            input.queue(frame);
        }
    }

    /// Lets go of what the leader has reached, and of sound that waited too long for it.
    pub(in crate::packager) fn drain_ready(&mut self) -> Result<(), Error> {
        let audio_inputs = self.dependents.iter().filter(|input| input.writer.is_audio());
        let newest = audio_inputs.filter_map(|audio| audio.queued.back()).map(|frame| frame.pts).max();
        for n in 0..self.dependents.len() {
            self.apply_boundaries(n)?;
            while let Some(input) = self.dependents.get(n)
                && let Some(front) = input.queued.front()
            {
                let due = match input.slot(n) {
                    Slot::Audio(_) => {
                        input.queued.len() >= MAX_QUEUED_FRAMES
                            || self.may_release_audio(front, input.writer.frame_duration(), newest)
                    }
                    Slot::DependentVideo(_) | Slot::Video => self.period.may_release_video(front),
                };
                let queued = self.dependents.get_mut(n).filter(|_| due);
                let Some(frame) = queued.and_then(|input| input.queued.pop_front()) else { break };
                self.write(n, frame)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, n: usize, frame: Frame) -> Result<(), Error> {
        let audio = self.dependents.get(n).is_some_and(|input| input.writer.is_audio());
        if audio { self.write_audio(n, frame) } else { self.write_dependent_video(n, frame) }
    }

    /// Hands over what is held of a follower, whether the leader has reached it or not, up to the first frame that is
    /// not due; `due` is told whether it is a sound.
    pub(in crate::packager) fn write_queued(
        &mut self,
        n: usize,
        due: impl Fn(bool, &Frame) -> bool,
    ) -> Result<(), Error> {
        while let Some(input) = self.dependents.get_mut(n)
            && let Some(frame) = input.queued.pop_front_if(|frame| due(input.writer.is_audio(), frame))
        {
            self.write(n, frame)?;
        }
        Ok(())
    }

    /// Followers that stopped get gaps, so that their numbers keep up with those of the others, which are at `newest`;
    /// those that were shed get them at once.
    pub(in crate::packager) fn fill_overdue(&mut self, newest: Timestamp) -> Result<(), Error> {
        for input in self.dependents.iter_mut().filter(|input| input.writer.is_active()) {
            let shed = input.is_shed();
            let due = |boundary: &Boundary| shed || boundary.at + MAX_LATE <= newest;
            while let Some(boundary) = self.boundaries.end_of(input.writer.msn()).filter(due) {
                input.skip(boundary, &mut self.out)?;
            }
            if shed {
                input.writer.fill_gap_parts(newest, &mut self.out)?;
            }
        }
        Ok(())
    }

    /// Brings the followers that `which` names to the newest segment.
    pub(in crate::packager) fn skip_to_newest(&mut self, which: impl Fn(&RenditionInput) -> bool) -> Result<(), Error> {
        for input in self.dependents.iter_mut().filter(|input| input.writer.is_active() && which(input)) {
            while let Some(boundary) = self.boundaries.end_of(input.writer.msn()) {
                input.skip(boundary, &mut self.out)?;
            }
        }
        Ok(())
    }
}

/// What the frames of a track last on average, holes left out, and how far single ones are off.
fn timing(dts: impl Iterator<Item = Timestamp> + Clone) -> Option<FrameTiming> {
    let mut deltas: Vec<_> =
        dts.clone().zip(dts.skip(1)).map(|(a, b)| b - a).filter(|d| *d > TimeDelta::ZERO).collect();
    deltas.sort_unstable();
    let median = deltas.get(deltas.len() / 2).copied()?;
    deltas.retain(|d| *d < median.times(3));
    let sum = deltas.iter().fold(TimeDelta::ZERO, |sum, d| sum + *d);
    let count = u32::try_from(deltas.len()).unwrap_or(u32::MAX);
    let frame = Timescale::new(1_000_000).delta(Timescale::new(1_000_000).delta_ticks(sum) / i64::from(count.max(1)));
    let jitter = deltas.iter().map(|d| (*d - frame).abs()).max().unwrap_or_default();
    Some(FrameTiming { frame, jitter, audio: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use media::codec::avc;
    use media::{Access, CodecConfig, TrackId};

    use crate::log::RenditionId;

    // Baseline, 640x360.
    const RECORD: [u8; 25] = [
        0x01, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0x00, 0x0a, 0x67, 0x42, 0xc0, 0x1e, 0xda, 0x02, 0x80, 0xbf, 0xe5, 0x40,
        0x01, 0x00, 0x04, 0x68, 0xce, 0x3c, 0x80,
    ];

    fn dependent() -> RenditionInput {
        let record = Bytes::from_static(&RECORD);
        let track = Track::new(TrackId(9), CodecConfig::Avc(avc::Config::parse(record).unwrap()));
        RenditionInput::new(RenditionWriter::new(RenditionId::dependent_video(0).unwrap(), track).unwrap())
    }

    fn frame(ms: i64) -> Frame {
        let at = Timestamp::ZERO + TimeDelta::from_millis(ms);
        Frame { track: TrackId(9), dts: at, pts: at, access: Access::Dependent, payload: Bytes::new() }
    }

    #[test]
    fn a_rung_waits_for_its_leader_with_a_few_seconds_at_the_most() {
        let mut dependent = dependent();
        dependent.must_rejoin = false;
        (0..180).for_each(|n| dependent.queue(frame(n * 33)));
        assert!(dependent.queued.len() == 180 && !dependent.must_rejoin, "six seconds");
        (180..9_000).for_each(|n| dependent.queue(frame(n * 33)));
        assert_eq!(dependent.queued.len(), 182);
        assert!(dependent.must_rejoin, "something is missing now");
        let mut stuck = self::dependent();
        (0..5_000).for_each(|_| stuck.queue(frame(0)));
        assert_eq!(stuck.queued.len(), MAX_QUEUED_FRAMES);
    }
}
