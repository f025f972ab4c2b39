//! The thread of a ladder: decoders, the continuous output, encoders.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::{CodecConfig, Fault, FaultReport, Frame, Kind, LatencyMode, TimeDelta, Timestamp, TrackId};
use slate::Continuity;
use slate::continuity::{Config, Output as Step, VideoContent};
use tracing::warn;

use crate::audio::outputs::Voices;
use crate::error::Error;
use crate::inbox::{Inbox, Message};
use crate::input::audio_inputs::Sounds;
use crate::input::decoder::{CHANNELS, Decoded, SAMPLE_RATE};
use crate::input::track_decoder::{Lane, Lost};
use crate::ladder::{Ladder, Output, Settings, Sink, SlateImages, Stats};
use crate::metadata_queue::Told;
use crate::pipeline::Notify;
use crate::plan::{Input, Rung, plan, worth};
use crate::rate::{Estimator, Rate};
use crate::source::parameter_sets::Beside;
use crate::source::passthrough::Source;
use crate::source::rendition::Own;
use crate::video::encoder::{Coding, Ticks, encoders};
use crate::video::raw_frame::{RawFrame, colours};
use crate::video::renditions::{Rungs, Top, key_frames};
use crate::video::slate_image::Canvas;

/// The thread looks around at least this often.
const MAX_SLEEP: Duration = Duration::from_millis(500);
/// How soon it looks again whether a decoder has room.
const ROOM_SLEEP: Duration = Duration::from_millis(5);
/// Pictures that come slowly do not hold the start up for longer than this after the first.
const SETTLE: TimeDelta = TimeDelta::from_millis(1_500);
/// A programme of sound waits this long for a track of pictures, and for a picture of a track that there is.
const NO_TRACK: TimeDelta = TimeDelta::from_secs(1);
const NO_PICTURE: TimeDelta = TimeDelta::from_secs(4);
/// And so long for the codec header of video that is on its way: longer than the longest GOP.
const NO_HEADER: TimeDelta = TimeDelta::from_secs(21);
/// Where pictures join, sound waits so long for the first of them to be encoded.
const MAX_HELD: TimeDelta = TimeDelta::from_secs(2);
/// Sound that waits for the first pictures; older blocks go at the bound.
const MAX_EARLY: usize = 2_000;
/// Frames of a source that wait for them; at the bound all go, and the source comes in at a later key frame.
const MAX_CODED: usize = 300;
/// A source of more than so many times the bit rate that the leader would be encoded with is not passed on.
const MAX_BITS: u32 = 3;
/// A source's key frames are no further apart than this, or it is not passed on.
const MAX_GOP_SECS: u32 = 5;

pub(crate) struct Work {
    settings: Settings,
    inbox: Arc<Inbox>,
    output: Sink,
    notify: Notify,
    began: Instant,
    backlog: VecDeque<Message>,
    video: Lane,
    sounds: Sounds,
    told: Told,
    stage: Stage,
    /// Nothing follows what was taken.
    ending: bool,
    figures: Stats,
    /// Frames that were reported as not decoded, and as refused.
    reported: (Lost, u64),
    out: Vec<Output>,
}

enum Stage {
    /// Nothing is known of the programme, or not enough.
    Waiting {
        estimator: Estimator,
        early: VecDeque<(TimeDelta, TrackId, Decoded)>,
        /// The frames of the pictures, where they may be passed on.
        coded: VecDeque<Frame>,
        since: Option<TimeDelta>,
        /// Video is on its way whose codec header has not come.
        expected: bool,
    },
    Running(Box<Running>),
}

struct Running {
    continuity: Continuity<RawFrame>,
    pictures: Pictures,
    /// Pictures that come to a programme without any.
    joining: Option<Joining>,
    voices: Voices,
    /// Since when the voices wait for pictures that joined: who cuts by pictures has to know the first of them before
    /// the sound behind it.
    held: Option<TimeDelta>,
    slate: Option<RawFrame>,
    /// What the leader showed last.
    last: Option<RawFrame>,
}

/// What is made of pictures; no rungs where there are none.
struct Pictures {
    rate: Rate,
    rungs: Option<Rungs>,
    rung_count: usize,
    canvas: Option<Canvas>,
}

/// What is known of pictures that join.
struct Joining {
    estimator: Estimator,
    since: TimeDelta,
}

impl Work {
    pub(crate) fn new(settings: Settings, inbox: Arc<Inbox>, output: Sink) -> Result<Self, Error> {
        let bell = inbox.clone();
        // Fails here and now where the plugins are missing.
        crate::pipeline::element(crate::video::encoder::SOFTWARE, &[])?;
        Ok(Self {
            settings,
            inbox,
            output,
            notify: Arc::new(move || bell.ring()),
            began: Instant::now(),
            backlog: VecDeque::new(),
            video: Lane::default(),
            sounds: Sounds::default(),
            told: Told::default(),
            stage: Stage::waiting(),
            ending: false,
            figures: Stats::default(),
            reported: (Lost::default(), 0),
            out: Vec::new(),
        })
    }

    pub(crate) fn run(mut self) {
        loop {
            let blocked = !self.backlog.is_empty();
            let sleep = self.sleep(blocked);
            let inbox = self.inbox.clone();
            if !inbox.wait(sleep, blocked, &mut self.backlog) {
                return;
            }
            let mut done = self.step();
            if self.ending && done.is_ok() {
                done = self.finish();
            }
            if let Err(error) = &done {
                warn!(%error, "the ladder stops");
                self.out.push(Output::Stopped(error.to_string()));
            }
            self.give_out();
            if self.ending || done.is_err() {
                return;
            }
        }
    }

    fn give_out(&mut self) {
        if !self.out.is_empty() {
            (self.output)(&mut self.out);
            self.out.clear();
        }
    }

    /// What is inside comes out: of the decoders, then of the encoders. Ends without it when it is told to.
    fn finish(&mut self) -> Result<(), Error> {
        self.video.end();
        self.sounds.end();
        while !(self.video.is_ended() && self.sounds.is_ended()) {
            if !self.wait_on() {
                return Ok(());
            }
            self.collect_decoded()?;
        }
        self.start_if_known()?;
        let now = self.now();
        if let Stage::Running(running) = &mut self.stage {
            running.finish(now, &mut self.out)?;
            self.told.flush(|pts| running.continuity.date(pts), &mut self.out);
        }
        while let Stage::Running(running) = &mut self.stage {
            running.collect(now, &mut self.out)?;
            if running.is_ended() {
                break;
            }
            self.give_out();
            if !self.wait_on() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Waits until something comes out somewhere; false when it is over.
    fn wait_on(&mut self) -> bool {
        self.inbox.wait(MAX_SLEEP, true, &mut self.backlog)
    }

    fn now(&self) -> TimeDelta {
        let micros = i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX);
        media::Timescale::new(1_000_000).delta(micros)
    }

    fn sleep(&self, blocked: bool) -> Duration {
        let due = match &self.stage {
            Stage::Running(running) => running.continuity.wake_at(),
            Stage::Waiting { .. } => None,
        };
        let until = due.map_or(MAX_SLEEP, |due| {
            let micros = media::Timescale::new(1_000_000).delta_ticks(due - self.now());
            Duration::from_micros(u64::try_from(micros).unwrap_or(0)).max(Duration::from_micros(200))
        });
        until.min(if blocked { ROOM_SLEEP } else { MAX_SLEEP })
    }

    fn step(&mut self) -> Result<(), Error> {
        self.collect_decoded()?;
        while let Some(message) = self.backlog.pop_front() {
            if let Message::Frame(frame) = &message
                && !self.lane(frame.track).is_none_or(Lane::has_room)
            {
                self.backlog.push_front(message);
                break;
            }
            self.take(message)?;
        }
        self.collect_decoded()?;
        self.start_if_known()?;
        let now = self.now();
        if let Stage::Running(running) = &mut self.stage {
            running.poll(now, &mut self.out)?;
            self.told.release(|pts| running.continuity.date(pts), running.continuity.position(), &mut self.out);
            running.collect(now, &mut self.out)?;
        }
        self.tell_figures();
        self.report();
        Ok(())
    }

    fn lost(&self) -> Lost {
        let mut lost = self.video.lost();
        lost += self.sounds.lost();
        lost
    }

    /// Reports what was dropped since the last time, and which tracks are left out.
    fn report(&mut self) {
        let (lost, refused) = (self.lost(), self.inbox.stats().refused_frames);
        let (lost_before, refused_before) = std::mem::replace(&mut self.reported, (lost, refused));
        let counted = [
            (Fault::DamagedFrames, lost.damaged - lost_before.damaged),
            (Fault::FramesBeforeKeyFrame, lost.early - lost_before.early),
            (Fault::DecodingBehind, refused - refused_before),
        ];
        let counted = counted.into_iter().filter(|(_, count)| *count > 0);
        let counted = counted.map(|(fault, count)| FaultReport::new(fault, None).times(count));
        let left_out = self.video.take_faults().into_iter().chain(self.sounds.take_faults());
        self.out.extend(counted.chain(left_out).map(Output::Fault));
    }

    fn lane(&mut self, track: TrackId) -> Option<&mut Lane> {
        let mut lanes = std::iter::once(&mut self.video).chain(self.sounds.lanes_mut());
        lanes.find(|lane| lane.track.as_ref().is_some_and(|found| found.id == track))
    }

    fn take(&mut self, message: Message) -> Result<(), Error> {
        match message {
            Message::Begin => {
                self.video.leave();
                self.sounds.leave();
                if let Stage::Running(running) = &mut self.stage {
                    self.told.flush(|pts| running.continuity.date(pts), &mut self.out);
                    running.continuity.begin();
                    running.joining = None;
                    if let Some(source) = running.source() {
                        source.begin();
                    }
                } else {
                    self.told = Told::default();
                    self.stage = Stage::waiting();
                }
            }
            Message::Track(track) => {
                let notify = self.notify.clone();
                if track.kind() == Kind::Video {
                    self.video.announce(track, notify);
                    self.note_header();
                    let now = self.now();
                    if let Stage::Waiting { since: Some(since), expected, .. } = &mut self.stage
                        && std::mem::take(expected)
                    {
                        *since = now;
                    }
                    return Ok(());
                }
                self.sounds.announce(track, notify);
                if let Stage::Running(running) = &mut self.stage {
                    running.find_voices(&mut self.sounds)?;
                }
            }
            Message::Frame(frame) => {
                self.note_frame(&frame);
                let notify = self.notify.clone();
                if let Some(lane) = self.lane(frame.track) {
                    lane.feed(&frame, notify);
                }
            }
            Message::VideoExpected => {
                if let Stage::Waiting { expected, .. } = &mut self.stage {
                    *expected = self.video.track.is_none();
                }
            }
            Message::Metadata(metadata) => self.told.push(metadata),
            Message::SlateImages(slate) => {
                if let Stage::Running(running) = &mut self.stage {
                    running.show_slate(&slate, &mut self.out);
                }
                self.settings.slate = self.settings.slate.take().map(|_| slate);
            }
            Message::Gone => {
                self.video.end();
                self.sounds.end();
            }
            Message::End => self.ending = true,
        }
        Ok(())
    }

    /// The source may have another header.
    fn note_header(&mut self) {
        let Some(track) = &self.video.track else { return };
        if let Stage::Running(running) = &mut self.stage
            && let Some(rungs) = &mut running.pictures.rungs
        {
            rungs.header(&track.codec);
        }
    }

    /// The source's own frame, for where its picture is shown.
    fn note_frame(&mut self, frame: &Frame) {
        if self.video.track.as_ref().is_none_or(|track| track.id != frame.track) {
            return;
        }
        match &mut self.stage {
            Stage::Running(running) => running.source().into_iter().for_each(|source| source.frame(frame)),
            Stage::Waiting { coded, .. } if self.settings.source => {
                if coded.len() >= MAX_CODED {
                    coded.clear();
                }
                coded.push_back(frame.clone());
            }
            Stage::Waiting { .. } => {}
        }
    }

    /// Takes what is decoded. Each picture is shown before the next one is taken.
    fn collect_decoded(&mut self) -> Result<(), Error> {
        loop {
            let all: Vec<_> = self.sounds.lanes_mut().chain([&mut self.video]).filter_map(Lane::pull).collect();
            if all.is_empty() {
                return Ok(());
            }
            let now = self.now();
            for (track, decoded) in all {
                if let Decoded::Video { pts, picture } = &decoded {
                    self.join(*pts, picture, now)?;
                }
                match &mut self.stage {
                    Stage::Running(running) => {
                        running.give(self.sounds.voice(track), decoded, now);
                        running.poll_known(now, &mut self.out)?;
                    }
                    Stage::Waiting { estimator, early, since, .. } => {
                        if let Decoded::Video { pts, .. } = &decoded {
                            estimator.add(*pts);
                        }
                        since.get_or_insert(now);
                        if early.len() >= MAX_EARLY {
                            early.pop_front();
                        }
                        early.push_back((now, track, decoded));
                    }
                }
            }
            self.start_if_known()?;
        }
    }

    /// Starts the encoders as soon as it is known what for.
    fn start_if_known(&mut self) -> Result<(), Error> {
        let now = self.now();
        let Stage::Waiting { estimator, early, since: Some(since), expected, .. } = &mut self.stage else {
            return Ok(());
        };
        if *expected && now - *since < NO_HEADER {
            // The programme begins with the first picture: of the audio before it no more is needed than of a track's.
            while early.pop_front_if(|(at, ..)| now - *at > NO_PICTURE).is_some() {}
        }
        let first = early.iter().find_map(|(at, _, decoded)| match decoded {
            Decoded::Video { picture, .. } => Some((*at, picture.clone())),
            Decoded::Audio { .. } => None,
        });
        let header = self.video.track.as_ref().map(|track| track.codec.clone());
        let ready = match (&first, &header) {
            _ if self.ending => true,
            (Some((at, _)), _) => estimator.is_settled() || now - *at >= SETTLE,
            (None, Some(_)) => now - *since >= NO_PICTURE,
            (None, None) => now - *since >= if *expected { NO_HEADER } else { NO_TRACK },
        };
        if !ready {
            return Ok(());
        }
        let rate = estimator.rate(claimed_rate(header.as_ref(), first.as_ref().map(|(_, picture)| picture)));
        let stage = std::mem::replace(&mut self.stage, Stage::waiting());
        let Stage::Waiting { early, coded, .. } = stage else { return Ok(()) };
        let first = first.map(|(_, picture)| picture);
        let voices = Voices::start(&self.sounds.languages(), &self.settings, &self.notify)?;
        let pictures = Pictures::new(&self.settings, rate, first.as_ref(), header, &self.notify)?;
        let mut running = Running::start(&self.settings, pictures, voices, &mut self.out);
        running.find_voices(&mut self.sounds)?;
        if let Some(source) = running.source() {
            coded.iter().for_each(|frame| source.frame(frame));
        }
        for (at, track, decoded) in early {
            running.give(self.sounds.voice(track), decoded, at);
            // They come all at once, which is no overload.
            running.poll_known(now, &mut self.out)?;
        }
        self.figures.rungs = running.pictures.rung_count;
        self.stage = Stage::Running(Box::new(running));
        Ok(())
    }

    /// A picture of a programme that began without any: once their rate is known, there are rungs for them.
    fn join(&mut self, pts: Timestamp, picture: &RawFrame, now: TimeDelta) -> Result<(), Error> {
        let Stage::Running(running) = &mut self.stage else { return Ok(()) };
        if running.pictures.rungs.is_some() {
            return Ok(());
        }
        let joining = running.joining.get_or_insert_with(|| Joining { estimator: Estimator::default(), since: now });
        joining.estimator.add(pts);
        if !joining.estimator.is_settled() && now - joining.since < SETTLE {
            return Ok(());
        }
        let header = self.video.track.as_ref().map(|track| track.codec.clone());
        let rate = joining.estimator.rate(claimed_rate(header.as_ref(), Some(picture)));
        let pictures = Pictures::new(&self.settings, rate, Some(picture), header, &self.notify)?;
        running.add_video(&self.settings, pictures, now, &mut self.out);
        self.figures.rungs = running.pictures.rung_count;
        Ok(())
    }

    fn tell_figures(&mut self) {
        let mut figures = self.figures;
        let lost = self.lost();
        figures.bad_frames = lost.damaged + lost.early;
        figures.decoders_replaced = self.video.replaced + self.sounds.replaced();
        if let Stage::Running(running) = &self.stage {
            figures.continuity = running.continuity.stats();
            if let Some(rungs) = &running.pictures.rungs {
                let counts = rungs.counts();
                figures.source_frames = counts.source;
                figures.skipped_frames = counts.skipped;
                figures.encoders_replaced = counts.replaced;
                figures.times_shed = counts.shed;
                figures.rungs_shed = rungs.shed();
            }
        }
        if figures != self.figures {
            self.figures = figures;
            self.inbox.set_figures(figures);
        }
    }
}

impl Stage {
    fn waiting() -> Self {
        let (estimator, early, coded) = (Estimator::default(), VecDeque::new(), VecDeque::new());
        Self::Waiting { estimator, early, coded, since: None, expected: false }
    }
}

impl Pictures {
    /// Rungs for pictures like the first one, or of a header that there is no picture of; none for neither.
    fn new(
        settings: &Settings,
        rate: Rate,
        first: Option<&RawFrame>,
        header: Option<CodecConfig>,
        notify: &Notify,
    ) -> Result<Self, Error> {
        let size = first.map(RawFrame::display_size).or_else(|| header.as_ref().and_then(CodecConfig::display_size));
        let plan = size.map_or_else(Vec::new, |(width, height)| {
            let worth = header.as_ref().map_or(1.0, worth);
            plan(&Input { width, height, rate, bitrate: None, worth }, settings.level, settings.max_height)
        });
        let ticks = Ticks { origin: Timestamp::ZERO, rate: plan.first().map_or(rate, |leader| leader.rate) };
        let leader = plan.first().filter(|_| settings.slate.is_some());
        let canvas = leader.map(|leader| Canvas::new(leader, &colours(first.map(RawFrame::info)))).transpose()?;
        let seconds = if settings.mode == LatencyMode::Low { 1 } else { 2 };
        let gop = key_frames(&plan, ticks, seconds);
        let mut coding = Coding { level: settings.level, mode: settings.mode, ticks, gop, longest_gop: gop };
        let passed = header.as_ref().filter(|_| settings.source).zip(plan.first());
        let top = passed.and_then(|(header, leader)| top(&coding, leader, rate, header));
        let own = passed.and_then(|(header, leader)| Own::new(plan.len(), leader, rate, header, &coding));
        if top.is_some() || own.is_some() {
            coding.longest_gop = key_frames(&plan, ticks, MAX_GOP_SECS);
        }
        let rung_count = plan.len();
        let rungs = if plan.is_empty() {
            None
        } else {
            let mut found = encoders()?;
            found.retain(|found| settings.hardware || !found.hardware);
            Some(Rungs::new(plan, coding, first, found, top, own, notify.clone())?)
        };
        Ok(Self { rate: ticks.rate, rungs, rung_count, canvas })
    }
}

impl Running {
    fn start(settings: &Settings, pictures: Pictures, voices: Voices, out: &mut Vec<Output>) -> Self {
        let continuity = Continuity::new(Config {
            fps: (pictures.rate.frames, pictures.rate.seconds),
            sample_rate: SAMPLE_RATE,
            channels: CHANNELS,
            sounds: voices.count(),
            picture: pictures.rungs.is_some(),
            slate: pictures.canvas.is_some(),
        });
        let (joining, held) = (None, None);
        let mut running = Self { continuity, pictures, joining, voices, held, slate: None, last: None };
        if let Some(slate) = &settings.slate {
            running.show_slate(slate, out);
        }
        running
    }

    /// Pictures join a programme that had none.
    fn add_video(&mut self, settings: &Settings, pictures: Pictures, now: TimeDelta, out: &mut Vec<Output>) {
        let rate = pictures.rate;
        self.continuity.add_video((rate.frames, rate.seconds), pictures.canvas.is_some());
        (self.pictures, self.joining, self.held) = (pictures, None, Some(now));
        if let Some(slate) = &settings.slate {
            self.show_slate(slate, out);
        }
    }

    /// The source that is passed on.
    fn source(&mut self) -> Option<&mut Source> {
        self.pictures.rungs.as_mut().and_then(Rungs::source)
    }

    /// Takes the pictures of the slate; where they cannot be shown, those before them are, or the last live one.
    fn show_slate(&mut self, slate: &SlateImages, out: &mut Vec<Output>) {
        match self.pictures.canvas.as_mut().map(|canvas| canvas.draw(slate)) {
            Some(Ok(picture)) => self.slate = Some(picture),
            Some(Err(error)) => out.push(Output::NoSlate(error.to_string())),
            None => {}
        }
    }

    /// Tracks of sound find the sounds of the programme that they are for. Those that it does not have yet join it, as far
    /// as there is room.
    fn find_voices(&mut self, sounds: &mut Sounds) -> Result<(), Error> {
        for language in sounds.find_voices(self.voices.languages()) {
            if !self.voices.add(language)? {
                break;
            }
            self.continuity.add_audio();
        }
        sounds.find_voices(self.voices.languages());
        sounds.drop_voiceless();
        Ok(())
    }

    /// Takes what is decoded; sound is for `voice`, and left out where there is none.
    fn give(&mut self, voice: Option<usize>, decoded: Decoded, now: TimeDelta) {
        match decoded {
            Decoded::Video { pts, picture } => self.continuity.picture(pts, picture, now),
            Decoded::Audio { pts, samples } => {
                if let Some(voice) = voice {
                    self.continuity.sound(voice, pts, samples, now);
                }
            }
        }
    }

    /// Encodes what is due by the clock; whatever is decoded by now must be in.
    fn poll(&mut self, now: TimeDelta, out: &mut Vec<Output>) -> Result<(), Error> {
        while let Some(step) = self.continuity.poll(now) {
            self.encode(step, now, out)?;
        }
        Ok(())
    }

    /// Encodes what is due by the media itself.
    fn poll_known(&mut self, now: TimeDelta, out: &mut Vec<Output>) -> Result<(), Error> {
        while let Some(step) = self.continuity.poll_known() {
            self.encode(step, now, out)?;
        }
        Ok(())
    }

    fn encode(&mut self, step: Step<RawFrame>, now: TimeDelta, out: &mut Vec<Output>) -> Result<(), Error> {
        match step {
            Step::Video { pts, show } => {
                let live = matches!(show, VideoContent::Live(_));
                let picture = match show {
                    VideoContent::Live(picture) | VideoContent::Repeated(picture) => Some(picture),
                    VideoContent::Slate => self.slate.clone().or_else(|| self.last.clone()),
                };
                if let (Some(picture), Some(rungs)) = (picture, &mut self.pictures.rungs) {
                    self.last = Some(picture.clone());
                    rungs.show(&picture, live, pts, now, out);
                }
                Ok(())
            }
            Step::Audio { sound, pts, samples } => self.voices.encode(sound, pts, samples),
        }
    }

    /// Encodes what came to its end; nothing follows.
    fn finish(&mut self, now: TimeDelta, out: &mut Vec<Output>) -> Result<(), Error> {
        while let Some(step) = self.continuity.drain() {
            self.encode(step, now, out)?;
        }
        self.held = None;
        if let Some(rungs) = &self.pictures.rungs {
            rungs.end();
        }
        self.voices.finish()
    }

    fn is_ended(&self) -> bool {
        self.pictures.rungs.as_ref().is_none_or(Rungs::is_ended) && self.voices.is_ended()
    }

    fn collect(&mut self, now: TimeDelta, out: &mut Vec<Output>) -> Result<(), Error> {
        if let Some(rungs) = &mut self.pictures.rungs {
            rungs.collect(out);
            if rungs.is_led() {
                self.held = None;
            }
        }
        if self.held.is_some_and(|held| now - held < MAX_HELD) {
            return Ok(());
        }
        self.voices.collect(out)
    }
}

/// The rate that a contribution says that its pictures have.
fn claimed_rate(header: Option<&CodecConfig>, picture: Option<&RawFrame>) -> Option<Rate> {
    let told = header.and_then(CodecConfig::frame_rate).map(|(frames, seconds)| Rate::new(frames, seconds));
    told.or_else(|| picture?.claimed_rate())
}

/// A source with this header, in the place of `leader`; none where it cannot be passed on.
fn top(coding: &Coding, leader: &Rung, rate: Rate, header: &CodecConfig) -> Option<Top> {
    let beside = Beside::new(header).filter(|_| leader.rate == rate)?;
    let most_bits = leader.bitrate.saturating_mul(MAX_BITS);
    Some(Top { source: Source::new(Ladder::REFERENCE, coding.ticks, coding.mode, most_bits), beside })
}
