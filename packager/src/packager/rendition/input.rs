//! A rendition's writer, and the frames that have not reached it yet.

use std::collections::VecDeque;

use media::{Frame, TimeDelta, Timescale, Timestamp, Track};

use super::writer::RenditionWriter;
use crate::Error;
use crate::packager::boundary_planner::Boundary;
use crate::packager::output::Output;
use crate::packager::slot::Slot;
use crate::packager::targets::FrameTiming;

/// Most frames of a rendition that are queued, whatever their timestamps say.
pub(crate) const MAX_QUEUED_FRAMES: usize = 1_000;
/// Longest time for which frames of a dependent video rendition are queued while the reference does not arrive. After
/// that, the oldest are discarded.
const MAX_QUEUED_TIME: TimeDelta = TimeDelta::from_secs(6);

/// A [`RenditionWriter`] and the frames that wait for it.
#[derive(Debug)]
pub(crate) struct RenditionInput {
    pub(crate) writer: RenditionWriter,
    /// Frames that the reference rendition has not reached; at most [`MAX_QUEUED_FRAMES`] of them.
    pub(crate) queued: VecDeque<Frame>,
    /// Track that replaces the writer's within the period, as soon as it can begin a segment.
    pub(crate) next_track: Option<Track>,
    /// Audio: the current contribution has a track for the rendition. Dependent video: the rendition was not dropped.
    pub(crate) is_assigned: bool,
    /// Whether frames of a dependent video rendition are missing, so that it goes on at a key frame at a boundary.
    pub(crate) must_rejoin: bool,
}

impl RenditionInput {
    /// Creates a rendition for a track that was announced.
    pub(crate) fn new(writer: RenditionWriter) -> Self {
        Self { writer, queued: VecDeque::new(), next_track: None, is_assigned: true, must_rejoin: true }
    }

    /// Returns the track whose frames the rendition takes.
    pub(crate) fn track(&self) -> &Track {
        self.next_track.as_ref().unwrap_or(self.writer.track())
    }

    /// Returns the address of the rendition, if it is the dependent rendition at index `n`.
    pub(crate) fn slot(&self, n: usize) -> Slot {
        if self.writer.is_audio() { Slot::Audio(n) } else { Slot::DependentVideo(n) }
    }

    /// Discards queued frames, because their contribution is over. A track of the next contribution may take over an audio
    /// rendition.
    pub(crate) fn end_contribution(&mut self) {
        self.queued.clear();
        self.must_rejoin = true;
        self.is_assigned &= !self.writer.is_audio();
    }

    /// Returns true for a dependent video rendition that was dropped and not restored.
    pub(crate) fn is_dropped(&self) -> bool {
        !self.is_assigned && self.writer.is_dependent_video()
    }

    /// Learns the frame duration from the frames of the first segment. `reference` is the timing of the reference
    /// rendition, for a rendition without frames. Returns `None` if nothing is known about the rendition's frames.
    pub(crate) fn learn_timing<'a>(
        &mut self,
        mut frames: impl Iterator<Item = &'a Frame> + Clone,
        reference: Option<FrameTiming>,
    ) -> Option<FrameTiming> {
        if self.writer.is_audio() {
            if let Some(frame) = frames.next() {
                self.writer.learn_audio_frame(&frame.payload);
            }
            return Some(FrameTiming::exact(self.writer.frame_duration(), true));
        }
        let measured = measure(frames.map(|frame| frame.dts));
        let is_in_header = self.writer.track().codec.frame_rate().is_some() || reference.is_none();
        let header = is_in_header.then(|| FrameTiming::exact(self.writer.frame_duration(), false));
        let timing = measured.or(header).or(reference)?;
        self.writer.set_frame_duration(timing.frame);
        Some(timing)
    }

    /// Crosses a boundary that the rendition's frames did not reach in time.
    pub(crate) fn skip(&mut self, boundary: Boundary, out: &mut Output) -> Result<(), Error> {
        if self.writer.is_audio() {
            return self.writer.cross(boundary, out);
        }
        self.must_rejoin = true;
        self.writer.abandon_to(boundary, out)
    }

    /// Queues a frame. Too much audio is written without waiting for the reference; too much video is discarded from the
    /// front.
    pub(crate) fn queue(&mut self, frame: Frame) {
        self.queued.push_back(frame);
        if self.writer.is_audio() {
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

/// Measures the average duration of a track's frames, without gaps, and the largest deviation of a single frame.
fn measure(dts: impl Iterator<Item = Timestamp> + Clone) -> Option<FrameTiming> {
    let mut deltas: Vec<_> =
        dts.clone().zip(dts.skip(1)).map(|(a, b)| b - a).filter(|d| *d > TimeDelta::ZERO).collect();
    deltas.sort_unstable();
    let median = deltas.get(deltas.len() / 2).copied()?;
    deltas.retain(|d| *d < median.times(3));
    let sum = deltas.iter().fold(TimeDelta::ZERO, |sum, d| sum + *d);
    let count = u32::try_from(deltas.len()).unwrap_or(u32::MAX);
    let frame = Timescale::new(1_000_000).delta(Timescale::new(1_000_000).delta_ticks(sum) / i64::from(count.max(1)));
    let jitter = deltas.iter().map(|d| (*d - frame).abs()).max().unwrap_or_default();
    Some(FrameTiming { frame, jitter, is_audio: false })
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

    fn dependent_video() -> RenditionInput {
        let record = Bytes::from_static(&RECORD);
        let track = Track::new(TrackId(9), CodecConfig::Avc(avc::Config::parse(record).unwrap()));
        RenditionInput::new(RenditionWriter::new(RenditionId::dependent_video(0).unwrap(), track).unwrap())
    }

    fn frame(ms: i64) -> Frame {
        let at = Timestamp::ZERO + TimeDelta::from_millis(ms);
        Frame { track: TrackId(9), dts: at, pts: at, access: Access::Dependent, payload: Bytes::new() }
    }

    #[test]
    fn dependent_video_waits_a_few_seconds_at_most() {
        let mut input = dependent_video();
        input.must_rejoin = false;
        (0..180).for_each(|n| input.queue(frame(n * 33)));
        assert!(input.queued.len() == 180 && !input.must_rejoin, "six seconds");
        (180..9_000).for_each(|n| input.queue(frame(n * 33)));
        assert_eq!(input.queued.len(), 182);
        assert!(input.must_rejoin, "frames are missing now");
        let mut stuck = dependent_video();
        (0..5_000).for_each(|_| stuck.queue(frame(0)));
        assert_eq!(stuck.queued.len(), MAX_QUEUED_FRAMES);
    }
}
