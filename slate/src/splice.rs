//! The timestamp splice: contributions in, one timeline out.

use std::collections::BTreeMap;

use media::{CodecConfig, Frame, TimeDelta, Timestamp, Track, TrackId};

use crate::audio::{Grid, Place};

/// Where a programme begins. It is not zero, so that a track which starts a little before the first frame still fits.
const ORIGIN: TimeDelta = TimeDelta::from_secs(10);
/// A frame this far from the programme's end is a jump of the contribution's clock, not a gap of its media.
const JUMP: TimeDelta = TimeDelta::from_secs(10);
/// A clock that goes back further than this has jumped; less is disorder, and the frame is moved up.
const BACKWARD: TimeDelta = TimeDelta::from_secs(1);

/// A picture is taken to last no longer than this when the next contribution is laid behind it.
const LONGEST_PICTURE: TimeDelta = TimeDelta::from_millis(100);

/// One step of the programme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A track begins or changes.
    Track(Track),
    /// A frame on the programme's timeline.
    Frame(Frame),
    /// The programme breaks here: another contribution follows.
    Discontinuity,
}

/// What was made good, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repairs {
    /// Jumps of a contribution's clock.
    pub jumps: u64,
    /// Audio frames of silence put into holes.
    pub silent_frames: u64,
    /// Audio frames dropped because their time was filled.
    pub dropped_frames: u64,
    /// Video frames whose decode time did not grow.
    pub reordered_frames: u64,
}

/// Lays the frames of one contribution after another on the programme's timeline.
#[derive(Debug, Default)]
pub struct Splice {
    lanes: BTreeMap<TrackId, Lane>,
    /// The end of the longest track so far; `None` before the first frame.
    end: Option<Timestamp>,
    /// Where the contribution in hand began: its tracks have nothing to say of earlier times.
    floor: Option<Timestamp>,
    /// The newest offset that any lane of this contribution took; the others join it when they jump too.
    offset: Option<TimeDelta>,
    /// A contribution came before and its successor has not sent a frame yet.
    broken: bool,
    repairs: Repairs,
}

#[derive(Debug)]
struct Lane {
    track: Track,
    /// Programme time less contribution time; `None` until this contribution's first frame.
    offset: Option<TimeDelta>,
    last: Option<Timestamp>,
    grid: Option<Grid>,
}

impl Splice {
    /// A programme with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was made good so far.
    pub const fn repairs(&self) -> Repairs {
        self.repairs
    }

    /// Another contribution follows; its clock has nothing to do with the last one's.
    pub fn begin(&mut self) {
        self.lanes.clear();
        self.offset = None;
        self.floor = self.end;
        self.broken = self.end.is_some();
    }

    /// A track begins, or comes back with another header.
    pub fn track(&mut self, track: Track, out: &mut Vec<Item>) {
        self.announce_break(out);
        let lane = self.lanes.entry(track.id).or_insert_with(|| Lane {
            track: track.clone(),
            offset: None,
            last: self.floor,
            grid: None,
        });
        if lane.track != track {
            lane.grid = None;
            lane.track = track.clone();
        }
        out.push(Item::Track(track));
    }

    /// Lays a frame on the timeline. A frame of a track that was not announced is ignored.
    pub fn frame(&mut self, frame: Frame, out: &mut Vec<Item>) {
        let end = self.end.unwrap_or(Timestamp::ZERO + ORIGIN);
        let Some(lane) = self.lanes.get_mut(&frame.track) else { return };
        let offset = lane.settle(&frame, end, &mut self.offset, &mut self.repairs);
        let at = frame.dts + offset;
        let floor = lane.last.unwrap_or(at);
        let lane_end = match &lane.track.codec {
            CodecConfig::Aac(config) => {
                let grid = lane.grid.get_or_insert_with(|| Grid::new(config, at.max(floor)));
                let next = grid.fill(frame, at, &mut self.repairs, out);
                lane.last = Some(next);
                next
            }
            _ => {
                let dts = at.max(floor);
                self.repairs.reordered_frames += u64::from(dts != at);
                out.push(Item::Frame(Frame { dts, pts: frame.pts + offset, ..frame }));
                lane.last = Some(dts);
                // The picture lasts about as long as the one before it.
                dts + (dts - floor).min(LONGEST_PICTURE)
            }
        };
        self.end = Some(end.max(lane_end));
    }

    fn announce_break(&mut self, out: &mut Vec<Item>) {
        if std::mem::take(&mut self.broken) {
            out.push(Item::Discontinuity);
        }
    }
}

impl Lane {
    /// The offset that fits `frame`: the one in force, or a new one if the contribution's clock has jumped.
    fn settle(
        &mut self,
        frame: &Frame,
        end: Timestamp,
        shared: &mut Option<TimeDelta>,
        repairs: &mut Repairs,
    ) -> TimeDelta {
        let last = self.last;
        let fits = |offset: &TimeDelta| {
            let at = frame.dts + *offset;
            (at - end).abs() <= JUMP && last.is_none_or(|last| at >= last - BACKWARD)
        };
        let first = self.offset.is_none();
        let offset = self.offset.filter(fits).or_else(|| shared.filter(fits)).unwrap_or_else(|| {
            // The clock starts anew: this frame continues the programme where it stands.
            repairs.jumps += u64::from(!first);
            let offset = end - frame.dts;
            *shared = Some(offset);
            offset
        });
        // The audio grid keeps its place, so that sound runs on without overlap.
        self.offset = Some(offset);
        offset
    }
}

impl Grid {
    /// Puts `frame` in its place and silence before it where frames are missing; gives the end of the track.
    fn fill(&mut self, frame: Frame, at: Timestamp, repairs: &mut Repairs, out: &mut Vec<Item>) -> Timestamp {
        match self.place(at) {
            Place::Drop => repairs.dropped_frames += 1,
            Place::After(missing) => {
                for _ in 0..missing {
                    let dts = self.advance();
                    let payload = self.silence().unwrap_or_else(|| frame.payload.clone());
                    out.push(Item::Frame(Frame { dts, pts: dts, payload, ..frame }));
                }
                repairs.silent_frames += u64::from(missing);
                let dts = self.advance();
                out.push(Item::Frame(Frame { dts, pts: dts, ..frame }));
            }
        }
        self.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use media::codec::{aac, avc};
    use media::{Access, Timescale};

    const VIDEO: TrackId = TrackId(1);
    const AUDIO: TrackId = TrackId(2);

    fn ms(n: i64) -> Timestamp {
        Timescale::MILLIS.timestamp(n)
    }

    fn video() -> Track {
        // x264, baseline, 320x240.
        const SPS: &[u8] = &[
            0x67, 0x42, 0xc0, 0x0d, 0xd9, 0x01, 0x41, 0xfb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03,
            0x03, 0x20, 0xf1, 0x42, 0xa4, 0x80,
        ];
        const PPS: &[u8] = &[0x68, 0xcb, 0x83, 0xcb, 0x20];
        let config = avc::Config::from_parameter_sets(&[Bytes::from_static(SPS)], &[Bytes::from_static(PPS)]);
        Track::new(VIDEO, CodecConfig::Avc(config.unwrap()))
    }

    fn audio() -> Track {
        let config = aac::Config::parse(Bytes::from_static(&[0x11, 0x90])).unwrap();
        Track::new(AUDIO, CodecConfig::Aac(config))
    }

    fn frame(track: TrackId, at: i64) -> Frame {
        Frame { track, dts: ms(at), pts: ms(at + 40), access: Access::Independent, payload: Bytes::from_static(b"x") }
    }

    /// Programme times in ms of the frames of `track` that come out when `times` go in.
    fn run(splice: &mut Splice, frames: impl IntoIterator<Item = Frame>) -> Vec<(TrackId, i64)> {
        let mut out = Vec::new();
        frames.into_iter().for_each(|f| splice.frame(f, &mut out));
        out.iter()
            .filter_map(|item| match item {
                Item::Frame(f) => Some((f.track, Timescale::MILLIS.ticks(f.dts))),
                _ => None,
            })
            .collect()
    }

    fn started() -> Splice {
        let mut splice = Splice::new();
        splice.begin();
        splice.track(video(), &mut Vec::new());
        splice.track(audio(), &mut Vec::new());
        splice
    }

    #[test]
    fn a_programme_starts_at_its_origin_and_keeps_offsets_between_tracks() {
        let frames = [frame(VIDEO, 90_000), frame(AUDIO, 89_900), frame(VIDEO, 90_033)];
        assert_eq!(run(&mut started(), frames), [(VIDEO, 10_000), (AUDIO, 9_900), (VIDEO, 10_033)]);
    }

    #[test]
    fn the_next_contribution_goes_on_behind_a_discontinuity() {
        let mut splice = started();
        run(&mut splice, [frame(VIDEO, 0), frame(VIDEO, 5_000)]);
        splice.begin();
        let mut out = Vec::new();
        splice.track(video(), &mut out);
        assert_eq!(out, [Item::Discontinuity, Item::Track(video())]);
        assert_eq!(
            run(&mut splice, [frame(VIDEO, 777_000), frame(VIDEO, 777_040)]),
            [(VIDEO, 15_100), (VIDEO, 15_140)]
        );
        splice.track(audio(), &mut out);
        let early = [frame(AUDIO, 776_990), frame(AUDIO, 777_011)];
        assert_eq!(run(&mut splice, early), [(AUDIO, 15_100), (AUDIO, 15_121)]);
    }

    #[test]
    fn both_tracks_follow_one_jump_in_sync() {
        let mut splice = started();
        run(&mut splice, [frame(VIDEO, 0), frame(AUDIO, 0)]);
        let jumped = [frame(VIDEO, 500_000), frame(AUDIO, 21), frame(AUDIO, 500_043)];
        assert_eq!(run(&mut splice, jumped), [(VIDEO, 10_021), (AUDIO, 10_021), (AUDIO, 10_043)]);
        assert_eq!(splice.repairs().jumps, 1);
    }

    #[test]
    fn decode_time_never_goes_back() {
        let mut splice = started();
        let out = run(&mut splice, [frame(VIDEO, 0), frame(VIDEO, 40), frame(VIDEO, 20), frame(VIDEO, 80)]);
        assert_eq!(out.iter().map(|(_, at)| *at).collect::<Vec<_>>(), [10_000, 10_040, 10_040, 10_080]);
        let out = run(&mut splice, [frame(VIDEO, -50_000), frame(VIDEO, -49_960)]);
        assert_eq!(out.iter().map(|(_, at)| *at).collect::<Vec<_>>(), [10_120, 10_160]);
    }

    #[test]
    fn a_hole_in_the_sound_is_silent() {
        let mut splice = started();
        let mut out = Vec::new();
        for at in [0, 21, 43, 192, 213] {
            splice.frame(frame(AUDIO, at), &mut out);
        }
        let frames: Vec<_> = out.iter().filter_map(|i| if let Item::Frame(f) = i { Some(f) } else { None }).collect();
        assert_eq!(splice.repairs().silent_frames, 6);
        assert_eq!(frames.len(), 11);
        let scale = Timescale::new(48_000);
        assert!(frames.windows(2).all(|w| w[1].dts - w[0].dts == scale.delta(1_024)));
        assert_eq!(frames[3].payload.as_ref(), [0x21, 0x10, 0x04, 0x60, 0x8c, 0x1c]);
        assert_eq!(frames[9].payload.as_ref(), b"x");
    }

    #[test]
    fn a_frame_without_a_track_is_ignored() {
        assert_eq!(run(&mut started(), [frame(TrackId(9), 0)]), []);
    }
}
