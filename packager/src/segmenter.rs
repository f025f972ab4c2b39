//! Frames in, events out: where segments and parts begin and end.
//!
//! A programme is a row of *runs*, with a break of the programme (a discontinuity) between two of them. A run begins at
//! an IDR. The frames of the very first segment are gathered until it is whole, because nobody may see a playlist before
//! that anyway, and only then is enough known to freeze the durations that hold for the whole broadcast.

mod cuts;
mod estimate;
mod lane;
mod plan;
mod run;

use std::collections::VecDeque;

use media::{Frame, Kind, LatencyMode, TimeDelta, Timescale, Timestamp, Track, WallTime};

use crate::Error;
use crate::log::{Event, Targets};
use cuts::Cuts;
use lane::{Lane, Opening, Unit};
use plan::Pace;
use run::Run;

/// Audio that waits for announced video longer than this begins without it.
const START_HOLD: TimeDelta = TimeDelta::from_secs(1);
/// First segment of a programme that is audio only.
const FIRST_AUDIO_SEGMENT: TimeDelta = TimeDelta::from_secs(1);
/// Longest first segment: a GOP that is longer is cut in the middle.
const LONGEST_FIRST_SEGMENT: TimeDelta = TimeDelta::from_millis(20_300);
/// No segment is meant to be shorter; a little less, for GOPs of half a second with jitter.
const SHORTEST_SEGMENT: TimeDelta = TimeDelta::from_millis(450);
/// The first segment is taken as whole with so many frames, whatever their times say.
const MOST_GATHERED: usize = 10_000;
/// Timelines are moved to begin here at the earliest, as `tfdt` has no sign.
const EARLIEST: TimeDelta = TimeDelta::from_secs(1);

/// How a [`Packager`] is set up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// What segments and parts aim at.
    pub mode: LatencyMode,
}

/// Turns the frames of one broadcast into its packaged log.
///
/// It takes at most one video and one audio track. Frames are on the programme's timeline, DTS never going back within a
/// track. What comes out is taken with [`Packager::poll`] after each call.
#[derive(Debug)]
pub struct Packager {
    mode: LatencyMode,
    out: Output,
    video: Option<Lane>,
    audio: Option<Lane>,
    targets: Option<Targets>,
    phase: Phase,
    run: Run,
    cuts: Cuts,
    /// Audio that video has not reached yet; bounded by the holds, after which it flows on without video.
    held: VecDeque<Unit>,
    /// A track that replaces one in mid-run takes over at its next chance to begin a segment.
    next_video: Option<Track>,
    next_audio: Option<Track>,
    next_msn: u64,
    /// Moves the programme's timeline by whole seconds, so that it is not negative.
    shift: Option<TimeDelta>,
}

/// Events that were not polled yet.
#[derive(Debug, Default)]
struct Output {
    events: VecDeque<Event>,
}

#[derive(Debug)]
enum Phase {
    /// No run: for the first IDR, or audio where there is no video. Remembers the newest video frame.
    Waiting(Option<Timestamp>),
    /// The first segment is not whole; bounded by [`LONGEST_FIRST_SEGMENT`].
    Gathering(Vec<(Kind, Unit)>),
    Running,
    Ended,
}

impl Packager {
    /// A packager for a new broadcast.
    pub fn new(config: Config) -> Self {
        Self {
            mode: config.mode,
            out: Output::default(),
            video: None,
            audio: None,
            targets: None,
            phase: Phase::Waiting(None),
            run: Run::default(),
            cuts: Cuts::default(),
            held: VecDeque::new(),
            next_video: None,
            next_audio: None,
            next_msn: 0,
            shift: None,
        }
    }

    /// Takes the next event.
    pub fn poll(&mut self) -> Option<Event> {
        self.out.events.pop_front()
    }

    /// Announces a track, or changes the one of its kind: a new codec header begins a new segment behind a
    /// discontinuity, with a new init section.
    pub fn add_track(&mut self, track: Track) -> Result<(), Error> {
        let kind = track.kind();
        let Some(lane) = self.lane(kind) else {
            let mut lane = Lane::new(track)?;
            lane.set_part_target(self.targets.and_then(|targets| targets.part));
            match kind {
                Kind::Video => self.video = Some(lane),
                Kind::Audio => self.audio = Some(lane),
            }
            self.reconsider_audio_only(kind);
            return Ok(());
        };
        let same = lane.track().codec == track.codec;
        let idle = matches!(self.phase, Phase::Waiting(_)) || !lane.active() && matches!(self.phase, Phase::Running);
        if same || idle {
            return self.lane_mut(kind).map_or(Ok(()), |lane| lane.change(track));
        }
        self.freeze_early()?;
        match kind {
            Kind::Video => self.next_video = Some(track),
            Kind::Audio => {
                self.commit_held()?;
                self.next_audio = Some(track);
            }
        }
        Ok(())
    }

    /// Takes the next frame; `arrival` is when it came in. Frames of unknown tracks are ignored.
    pub fn push(&mut self, frame: Frame, arrival: WallTime) -> Result<(), Error> {
        let Some(kind) = self.kind_of(&frame) else { return Ok(()) };
        let shift = *self.shift.get_or_insert_with(|| {
            let behind = (Timestamp::ZERO + EARLIEST - frame.dts).as_millis().max(0);
            TimeDelta::from_secs((behind + 999) / 1_000)
        });
        let unit = Unit {
            dts: frame.dts + shift,
            pts: frame.pts + shift,
            key: frame.access.is_independent(),
            payload: frame.payload,
        };
        match self.phase {
            Phase::Waiting(_) => self.wait(kind, unit, arrival),
            Phase::Gathering(_) => self.gather(kind, unit),
            Phase::Running => self.run(kind, unit, arrival),
            Phase::Ended => Ok(()),
        }
    }

    /// The programme breaks here: all renditions close their segments, and their next ones begin with a discontinuity.
    pub fn discontinuity(&mut self) -> Result<(), Error> {
        self.freeze_early()?;
        if matches!(self.phase, Phase::Running) {
            self.end_run()?;
        }
        if !matches!(self.phase, Phase::Ended) {
            self.phase = Phase::Waiting(None);
            self.held.clear();
        }
        Ok(())
    }

    /// The broadcast is over.
    pub fn end(&mut self) -> Result<(), Error> {
        if !matches!(self.phase, Phase::Ended) {
            self.discontinuity()?;
            self.phase = Phase::Ended;
            self.out.events.push_back(Event::End);
        }
        Ok(())
    }

    fn kind_of(&self, frame: &Frame) -> Option<Kind> {
        let named = [&self.next_video, &self.next_audio].into_iter().flatten();
        let tracks = named.chain([&self.video, &self.audio].into_iter().flatten().map(Lane::track));
        tracks.into_iter().find(|t| t.id == frame.track).map(Track::kind)
    }

    fn lane(&self, kind: Kind) -> Option<&Lane> {
        match kind {
            Kind::Video => self.video.as_ref(),
            Kind::Audio => self.audio.as_ref(),
        }
    }

    fn lane_mut(&mut self, kind: Kind) -> Option<&mut Lane> {
        match kind {
            Kind::Video => self.video.as_mut(),
            Kind::Audio => self.audio.as_mut(),
        }
    }

    /// Video that is announced while audio gathers alone gets its chance to lead.
    fn reconsider_audio_only(&mut self, added: Kind) {
        if added == Kind::Video
            && self.run.leader == Kind::Audio
            && let Phase::Gathering(units) = &mut self.phase
        {
            self.held = std::mem::take(units).into_iter().map(|(_, unit)| unit).collect();
            self.phase = Phase::Waiting(None);
        }
    }

    fn wait(&mut self, kind: Kind, unit: Unit, arrival: WallTime) -> Result<(), Error> {
        let Phase::Waiting(newest_video) = &mut self.phase else { return Ok(()) };
        if kind == Kind::Video {
            *newest_video = Some(unit.dts);
            if unit.key {
                self.begin_run(Kind::Video, unit.dts, unit.pts, arrival);
                let held: Vec<_> = self.held.drain(..).collect();
                for audio in held {
                    self.forward(Kind::Audio, audio, arrival)?;
                }
                self.forward(Kind::Video, unit, arrival)?;
            }
            return Ok(());
        }
        let newest_video = *newest_video;
        let newest = unit.pts;
        self.held.push_back(unit);
        while let Some((dts, pts)) = self.held.front().map(|first| (first.dts, first.pts)) {
            let overdue = newest - pts > START_HOLD;
            if self.video.is_some() && !overdue {
                break;
            }
            if overdue && newest_video.is_some_and(|video| video >= pts) {
                // Video is alive but between two IDRs: sound without pictures would be the wrong start.
                self.held.pop_front();
                continue;
            }
            self.begin_run(Kind::Audio, dts, pts, arrival.shifted(pts - newest));
            let held: Vec<_> = self.held.drain(..).collect();
            return held.into_iter().try_for_each(|audio| self.forward(Kind::Audio, audio, arrival));
        }
        Ok(())
    }

    /// Hands a frame to the phase that follows waiting.
    fn forward(&mut self, kind: Kind, unit: Unit, arrival: WallTime) -> Result<(), Error> {
        match self.phase {
            Phase::Gathering(_) => self.gather(kind, unit),
            _ => self.run(kind, unit, arrival),
        }
    }

    fn begin_run(&mut self, leader: Kind, dts: Timestamp, pts: Timestamp, wall: WallTime) {
        let first = self.targets.is_none();
        self.run = Run::new(leader, dts, pts, wall, self.next_msn, first);
        self.cuts.begin(self.next_msn, pts);
        let anchors = [(&mut self.video, dts), (&mut self.audio, pts)];
        for (lane, at) in anchors.into_iter().filter_map(|(lane, at)| Some((lane.as_mut()?, at))) {
            let leads = lane.track().kind() == leader;
            if leads || lane.announced() {
                lane.begin_run(Opening { msn: self.next_msn, at, discontinuity: !first }, (wall, at));
            }
        }
        self.phase = if first { Phase::Gathering(Vec::new()) } else { Phase::Running };
    }

    fn gather(&mut self, kind: Kind, unit: Unit) -> Result<(), Error> {
        let Phase::Gathering(units) = &mut self.phase else { return Ok(()) };
        let newest_video = units.iter().rev().find(|(k, _)| *k == Kind::Video).map(|(_, u)| u.dts);
        let elapsed = unit.pts - self.run.start_pts;
        let whole = match (self.run.leader, kind) {
            (Kind::Audio, _) => elapsed >= FIRST_AUDIO_SEGMENT,
            (Kind::Video, Kind::Video) => {
                (unit.key && newest_video.is_some() && elapsed >= SHORTEST_SEGMENT) || elapsed >= LONGEST_FIRST_SEGMENT
            }
            (Kind::Video, Kind::Audio) => newest_video.is_some_and(|video| unit.pts - video > run::AUDIO_HOLD),
        };
        units.push((kind, unit));
        if whole || units.len() >= MOST_GATHERED { self.freeze() } else { Ok(()) }
    }

    /// Freezes the durations with what there is, where the first segment cannot be awaited.
    fn freeze_early(&mut self) -> Result<(), Error> {
        if matches!(self.phase, Phase::Gathering(_)) { self.freeze() } else { Ok(()) }
    }

    fn freeze(&mut self) -> Result<(), Error> {
        let Phase::Gathering(units) = std::mem::replace(&mut self.phase, Phase::Running) else { return Ok(()) };
        let of = |kind| units.iter().filter(move |(k, _)| *k == kind).map(|(_, unit)| unit);
        let mut keys = of(Kind::Video).filter(|u| u.key).map(|u| u.pts);
        let gop = match (keys.next(), keys.next()) {
            (Some(first), Some(second)) => second - first,
            (Some(first), None) => of(Kind::Video).map(|u| u.pts - first).max().unwrap_or_default(),
            _ => plan::segment_target(self.mode),
        };
        let video = self.video.as_ref().map(|lane| pace(of(Kind::Video).map(|u| u.dts), lane.frame()));
        let audio = self.audio.as_ref().map(|lane| Pace { frame: lane.frame(), jitter: TimeDelta::ZERO });
        let paces: Vec<_> = video.into_iter().chain(audio).collect();
        let targets = plan::targets(self.mode, gop, &paces);
        for (lane, pace) in [(&mut self.video, video), (&mut self.audio, audio)] {
            if let (Some(lane), Some(pace)) = (lane, pace) {
                lane.expect(pace.frame);
                lane.set_part_target(targets.part);
            }
        }
        self.targets = Some(targets);
        self.out.events.push_back(Event::Targets(targets));
        let wall = self.run.wall;
        units.into_iter().try_for_each(|(kind, unit)| self.run(kind, unit, wall))
    }
}

/// What the frames of a track last on average, holes left out, and how far single ones are off.
fn pace(dts: impl Iterator<Item = Timestamp> + Clone, guess: TimeDelta) -> Pace {
    let mut deltas: Vec<_> =
        dts.clone().zip(dts.skip(1)).map(|(a, b)| b - a).filter(|d| *d > TimeDelta::ZERO).collect();
    deltas.sort_unstable();
    let Some(median) = deltas.get(deltas.len() / 2).copied() else {
        return Pace { frame: guess, jitter: TimeDelta::ZERO };
    };
    deltas.retain(|d| *d < median.times(3));
    let sum = deltas.iter().fold(TimeDelta::ZERO, |sum, d| sum + *d);
    let count = u32::try_from(deltas.len()).unwrap_or(u32::MAX);
    let frame = Timescale::new(1_000_000).delta(Timescale::new(1_000_000).delta_ticks(sum) / i64::from(count.max(1)));
    let jitter = deltas.iter().map(|d| (*d - frame).abs()).max().unwrap_or_default();
    Pace { frame, jitter }
}
