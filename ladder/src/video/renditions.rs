//! The rungs of a running ladder: pictures scaled from one rung to the next, and an encoder for each.

use gstreamer_video as video;
use media::{CodecConfig, LatencyMode, TimeDelta, Timestamp, Track, TrackId};
use tracing::{info, warn};

use crate::error::Error;
use crate::ladder::Output;
use crate::pipeline::{Leaving, Notify};
use crate::plan::Rung;
use crate::source::parameter_sets::{Beside, Style};
use crate::source::passthrough::{Cue, Source};
use crate::source::rendition::Own;
use crate::video::captions::Captions;
use crate::video::encoder::{Coding, Encoded, Encoder, EncoderInfo, SOFTWARE, Ticks};
use crate::video::overload::{Decision, Overload};
use crate::video::raw_frame::{RawFrame, Scaler, colours};

/// Pictures that wait for one encoder last no longer than this. At the bound pictures are left out, but for key frames,
/// which all rungs have at the same time.
const MAX_WAIT: TimeDelta = TimeDelta::from_millis(700);
/// Players in `low` have not much more than this in hand.
const MAX_WAIT_LOW: TimeDelta = TimeDelta::from_millis(300);
/// Not yet while an encoder begins: the pictures of which the rate was told come at once.
const FIRST_PICTURES: u32 = 30;
/// So few may wait whatever they last: where pictures come slowly, two are long already.
const FEW: usize = 4;
/// Encoders that fail one after another without a frame in between.
const MAX_FAILURES: u32 = 3;

/// What the rungs did, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) source: u64,
    pub(crate) skipped: u64,
    pub(crate) replaced: u64,
    pub(crate) shed: u64,
}

pub(crate) struct Rungs {
    rungs: Vec<Step>,
    coding: Coding,
    overload: Overload,
    /// Given up since the last tick because their encoders failed.
    failed: Vec<usize>,
    leaving: Leaving,
    found: Vec<EncoderInfo>,
    notify: Notify,
    /// The next picture is a key frame in every rung.
    key_next: bool,
    /// The contribution's picture that was shown last.
    shown: Option<Timestamp>,
    /// The leader has announced its track.
    led: bool,
    counts: Counts,
    top: Option<Top>,
    own: Option<Own>,
    /// The newest frame that came out of the leader.
    led_to: Timestamp,
}

/// The source in the place of the leader, and the encoder that stands in for it.
pub(crate) struct Top {
    pub(crate) source: Source,
    pub(crate) beside: Beside,
}

struct Step {
    plan: Rung,
    scaler: Scaler,
    /// The last picture that was scaled, and what came of it: a held picture is scaled once.
    scaled: Option<(RawFrame, RawFrame)>,
    /// Those of pictures that it has not shown yet.
    captions: Captions,
    encoder: Option<Encoder>,
    state: State,
    failures: u32,
    /// Pictures that its encoder was given, as far as that counts.
    given: u32,
    info: video::VideoInfo,
    style: Option<Style>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Running,
    /// It begins with the next key frame.
    Starting,
    Shed,
}

impl Rungs {
    /// Scalers for `plan`; the encoders begin with the first picture. The source takes the leader's place where its
    /// pictures are as the leader's would be, or is `own` rung.
    pub(crate) fn new(
        plan: Vec<Rung>,
        coding: Coding,
        like: Option<&RawFrame>,
        found: Vec<EncoderInfo>,
        top: Option<Top>,
        own: Option<Own>,
        notify: Notify,
    ) -> Result<Self, Error> {
        let colours = colours(like.map(RawFrame::info));
        let overload = Overload::new(plan.len());
        let step = |plan: Rung| {
            let scaler = Scaler::new(plan.width, plan.height, &colours)?;
            let info = scaler.info().clone();
            let state = State::Starting;
            let captions = Captions::default();
            Ok(Step {
                plan,
                scaler,
                scaled: None,
                captions,
                encoder: None,
                state,
                failures: 0,
                given: 0,
                info,
                style: None,
            })
        };
        let mut rungs = plan.into_iter().map(step).collect::<Result<Vec<_>, Error>>()?;
        let leader = rungs.first_mut().filter(|leader| like.is_some_and(|like| leader.scaler.fits(like.info())));
        let top = leader.zip(top).map(|(leader, top)| {
            leader.style = Some(top.beside.style());
            top
        });
        let counts = Counts::default();
        let (failed, leaving) = (Vec::new(), Leaving::default());
        Ok(Self {
            rungs,
            coding,
            overload,
            failed,
            leaving,
            found,
            notify,
            key_next: true,
            shown: None,
            led: false,
            counts,
            top,
            own,
            led_to: Timestamp::ZERO,
        })
    }

    /// The source that is passed on.
    pub(crate) fn source(&mut self) -> Option<&mut Source> {
        let top = self.top.as_mut().map(|top| &mut top.source);
        top.or_else(|| self.own.as_mut().map(|own| &mut own.source))
    }

    /// The source's frames have this header from here on.
    pub(crate) fn header(&mut self, codec: &CodecConfig) {
        let beside = self.top.as_ref().map(|top| top.beside.suits(codec));
        let suits = beside.or_else(|| self.own.as_ref().map(|own| own.suits(codec))).unwrap_or(false);
        self.source().into_iter().for_each(|source| source.header(suits));
    }

    /// Whether something came out.
    pub(crate) const fn is_led(&self) -> bool {
        self.led
    }

    pub(crate) const fn counts(&self) -> Counts {
        self.counts
    }

    /// Rungs that are given up.
    pub(crate) fn shed(&self) -> usize {
        self.rungs.iter().filter(|step| step.state == State::Shed).count()
    }

    /// Shows a picture on the tick at `pts`, in every rung that has this tick; a `live` one is the contribution's of this
    /// moment.
    pub(crate) fn show(
        &mut self,
        picture: &RawFrame,
        live: bool,
        pts: Timestamp,
        now: TimeDelta,
        out: &mut Vec<Output>,
    ) {
        // What waits now has waited since the tick before.
        self.judge(now, out);
        if self.key_next && self.rungs.iter().all(|step| step.encoder.is_none()) {
            self.coding.ticks.origin = pts;
        }
        let tick = self.coding.ticks.index(pts);
        let regular = self.key_next || tick.rem_euclid(i64::from(self.coding.gop)) == 0;
        let ticks = self.coding.ticks;
        let top = self.top.as_mut().map(|top| top.source.show(picture.pts().filter(|_| live), pts, ticks));
        let cue = top.or_else(|| self.own.as_mut().map(|own| own.show(picture, live, pts, ticks)));
        let key = match cue {
            None => regular,
            Some(Cue::Source { key }) => key,
            Some(Cue::Encode { begins }) => regular || begins,
        };
        self.key_next &= !key;
        let last = self.rungs.iter().rposition(|step| step.state != State::Shed).unwrap_or(0);
        let captions = self.captions(picture, live);
        let mut above = picture.clone();
        let mut broken = None;
        for (n, step) in self.rungs.iter_mut().enumerate().take(last + 1) {
            let sourced = n == 0 && self.top.is_some() && matches!(cue, Some(Cue::Source { .. }));
            if sourced && step.state == State::Running {
                continue;
            }
            step.captions.add(&captions);
            if !key && tick.rem_euclid(i64::from(step.plan.divisor)) != 0 {
                continue;
            }
            let shown = step.scale(&above).and_then(|scaled| {
                above = scaled;
                // What stands in for the source begins early: its header is needed, and it is there at once.
                step.show(n, &above, pts, key || sourced, &self.coding, &self.found, &self.notify)
            });
            match shown {
                Ok(true) => {}
                Ok(false) => {
                    self.counts.skipped += 1;
                    if let Some(top) = self.top.as_mut().filter(|_| n == 0) {
                        top.source.left_out();
                    }
                }
                Err(error) => broken = Some((n, error)),
            }
        }
        if let Some((n, error)) = broken {
            self.replace(n, &error);
        }
    }

    /// Captions that were not shown yet: one picture may be shown on several ticks.
    fn captions(&mut self, picture: &RawFrame, live: bool) -> Captions {
        let new = picture.pts().filter(|pts| live && self.shown != Some(*pts));
        self.shown = new.or(self.shown);
        new.map_or_else(Captions::default, |_| picture.captions())
    }

    /// Takes what is encoded, and replaces encoders that failed. The leader is heard first.
    pub(crate) fn collect(&mut self, out: &mut Vec<Output>) {
        let mut encoded = Vec::new();
        for n in 0..self.rungs.len() {
            if n > 0 && !self.led {
                return;
            }
            let Some(step) = self.rungs.get_mut(n) else { continue };
            let Some(encoder) = &mut step.encoder else { continue };
            let pulled = encoder.pull(&mut encoded);
            let fault = pulled.err().or_else(|| encoder.fault());
            if !encoded.is_empty() {
                (step.failures, self.led) = (0, true);
            }
            if n == 0 && self.top.is_some() {
                self.lead(std::mem::take(&mut encoded), out);
            } else {
                let rung = &step.plan;
                let led_to = &mut self.led_to;
                out.extend(encoded.drain(..).map(|encoded| match encoded {
                    Encoded::Track(track) => Output::Rung { n, rung: rung.clone(), track },
                    Encoded::Frame(frame) => {
                        *led_to = frame.pts.max(*led_to);
                        Output::Frame(frame)
                    }
                }));
            }
            if let Some(error) = fault {
                self.replace(n, &error);
            }
        }
        if let Some(own) = self.own.as_mut().filter(|_| self.led) {
            own.collect(self.led_to, out);
            self.counts.source = own.source.passed();
        }
    }

    /// Nothing follows: what the encoders hold back comes out.
    pub(crate) fn end(&self) {
        self.rungs.iter().filter_map(|step| step.encoder.as_ref()).for_each(Encoder::end);
    }

    /// Whether all came out after [`Self::end`], and was collected.
    pub(crate) fn is_ended(&self) -> bool {
        self.rungs.iter().filter_map(|step| step.encoder.as_ref()).all(Encoder::is_ended)
    }

    /// The leader's track and frames, the source's and what was encoded in its place.
    fn lead(&mut self, encoded: Vec<Encoded>, out: &mut Vec<Output>) {
        let (Some(Step { plan, style, .. }), Some(top)) = (self.rungs.first_mut(), &mut self.top) else { return };
        for encoded in encoded {
            match encoded {
                Encoded::Track(track) => {
                    let joined = top.beside.join(&track.codec);
                    if joined.is_none() {
                        warn!("the source cannot be passed on beside what is encoded: all is encoded");
                        (*style, self.key_next) = (None, true);
                    }
                    let codec = joined.unwrap_or(track.codec);
                    out.push(Output::Rung { n: 0, rung: plan.clone(), track: Track { codec, ..track } });
                }
                Encoded::Frame(frame) if style.is_none() => out.push(Output::Frame(frame)),
                Encoded::Frame(frame) => top.source.encoded(frame),
            }
        }
        if style.is_none() {
            self.top = None;
        } else if self.led {
            out.extend(std::iter::from_fn(|| top.source.pull()).map(Output::Frame));
            self.counts.source = top.source.passed();
        }
    }

    /// Gives up a rung or takes one back, by how long pictures wait.
    fn judge(&mut self, now: TimeDelta, out: &mut Vec<Output>) {
        for rung in self.failed.drain(..) {
            self.overload.fail(rung, now);
            self.counts.shed += 1;
            out.push(Output::Shed { rung, failed: true });
        }
        let wait = self.rungs.iter().map(Step::wait).max().unwrap_or_default();
        match self.overload.judge(wait, now) {
            Some(Decision::Shed(rung)) => {
                if let Some(step) = self.rungs.get_mut(rung) {
                    step.state = State::Shed;
                    step.leave(&mut self.leaving);
                    self.counts.shed += 1;
                    out.push(Output::Shed { rung, failed: false });
                }
            }
            Some(Decision::Restore(rung)) => {
                if let Some(step) = self.rungs.get_mut(rung) {
                    step.state = State::Starting;
                    out.push(Output::Restored { rung });
                }
            }
            None => {}
        }
    }

    /// Another encoder for a rung whose own one failed: software where it was hardware. All rungs have a key frame then.
    fn replace(&mut self, n: usize, error: &Error) {
        warn!(rung = n, %error, "an encoder failed and is replaced");
        let Some(step) = self.rungs.get_mut(n) else { return };
        step.leave(&mut self.leaving);
        if let Some(top) = self.top.as_mut().filter(|_| n == 0) {
            top.source.lost();
        }
        step.failures += 1;
        self.counts.replaced += 1;
        if self.found.iter().any(|found| found.hardware) {
            info!("hardware encoders are no longer used for this broadcast");
            self.found.retain(|found| !found.hardware);
        }
        step.state = State::Starting;
        if step.failures >= MAX_FAILURES && n > 0 {
            // One that never works is not started again with every picture. It is tried once when it gets another chance.
            step.state = State::Shed;
            self.failed.push(n);
        }
        self.key_next = true;
    }
}

impl Step {
    fn scale(&mut self, picture: &RawFrame) -> Result<RawFrame, Error> {
        if let Some((from, scaled)) = &self.scaled
            && from.is(picture)
        {
            return Ok(scaled.clone());
        }
        let scaled = self.scaler.scale(picture)?;
        self.scaled = Some((picture.clone(), scaled.clone()));
        Ok(scaled)
    }

    /// Gives the picture to the encoder; false where it is left out.
    #[allow(clippy::too_many_arguments, reason = "the pieces of one ladder, borrowed apart")]
    fn show(
        &mut self,
        n: usize,
        picture: &RawFrame,
        pts: Timestamp,
        key: bool,
        coding: &Coding,
        found: &[EncoderInfo],
        notify: &Notify,
    ) -> Result<bool, Error> {
        match (self.state, key) {
            (State::Shed, _) | (State::Starting, false) => {
                self.captions.clear();
                return Ok(true);
            }
            (State::Starting, true) => {
                let name = found.first().map_or(SOFTWARE, |found| found.element);
                let id = TrackId(u32::try_from(n).unwrap_or(u32::MAX));
                self.encoder =
                    Some(Encoder::start(name, &self.plan, id, coding, self.style, &self.info, notify.clone())?);
                (self.state, self.given) = (State::Running, 0);
            }
            (State::Running, _) => {}
        }
        let low = coding.mode == LatencyMode::Low && self.given >= FIRST_PICTURES;
        let most = if low { MAX_WAIT_LOW } else { MAX_WAIT };
        if self.queued() > FEW && self.wait() >= most && !key {
            return Ok(false);
        }
        let Some(encoder) = &mut self.encoder else { return Ok(true) };
        self.given = self.given.saturating_add(1);
        encoder.push(picture, &self.captions.take(), pts, key).map(|()| true)
    }

    /// Its encoder goes, with what it has not encoded.
    fn leave(&mut self, leaving: &mut Leaving) {
        self.scaled = None;
        self.captions.clear();
        if let Some(encoder) = self.encoder.take() {
            encoder.leave(leaving);
        }
    }

    /// Pictures that wait for the encoder.
    fn queued(&self) -> usize {
        self.encoder.as_ref().map_or(0, Encoder::queued)
    }

    /// How long they last.
    fn wait(&self) -> TimeDelta {
        self.plan.rate.span(i64::try_from(self.queued()).unwrap_or(i64::MAX))
    }
}

/// The leader's frames, and key frames every `seconds`, where all rungs have a frame.
pub(crate) fn key_frames(plan: &[Rung], ticks: Ticks, seconds: u32) -> u32 {
    let divisor = plan.iter().map(|rung| rung.divisor).max().unwrap_or(1).max(1);
    (ticks.rate.frames_in(seconds) / divisor).max(1) * divisor
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use gstreamer as gst;
    use media::LatencyMode;

    use super::*;
    use crate::plan::{Input, Level, plan};
    use crate::rate::Rate;

    const RATE: Rate = Rate { frames: 30, seconds: 1 };
    const TICKS: Ticks = Ticks { origin: Timestamp::ZERO, rate: RATE };

    /// Rungs for pictures of this size, with hardware that starts like an encoder, and what it gives is no H.264.
    fn rungs(width: u32, height: u32) -> Rungs {
        gst::init().unwrap();
        let input = Input { width, height, rate: RATE, bitrate: None, worth: 1.0 };
        let coding = Coding { level: Level::Plus, mode: LatencyMode::Low, ticks: TICKS, gop: 30, longest_gop: 30 };
        let found = [("identity", true), (SOFTWARE, false)];
        let found = found.map(|(element, hardware)| EncoderInfo { element, name: "an encoder", hardware });
        let plan = plan(&input, Level::Plus, 1_080);
        Rungs::new(plan, coding, None, found.to_vec(), None, None, Arc::new(|| {})).unwrap()
    }

    /// Shows pictures, one in ten milliseconds, until it is enough; the clock stands still, so that nothing is ever too slow.
    fn run(rungs: &mut Rungs, out: &mut Vec<Output>, enough: impl Fn(&[Output]) -> bool) {
        let size = (rungs.rungs[0].plan.width, rungs.rungs[0].plan.height);
        let info = video::VideoInfo::builder(video::VideoFormat::I420, size.0, size.1).build().unwrap();
        let began = Instant::now();
        for tick in 0.. {
            let picture = RawFrame::new(gst::Buffer::with_size(info.size()).unwrap(), info.clone());
            rungs.show(&picture, true, TICKS.at(tick), TimeDelta::ZERO, out);
            rungs.collect(out);
            if enough(out) {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "it does not come to that: {:?}", rungs.counts());
            sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn hardware_that_fails_at_run_time_is_replaced_by_software() {
        let (mut rungs, mut out) = (rungs(320, 180), Vec::new());
        run(&mut rungs, &mut out, |out| out.iter().filter(|output| matches!(output, Output::Frame(_))).count() >= 10);
        let counts = rungs.counts();
        assert!((1..u64::from(MAX_FAILURES)).contains(&counts.replaced), "{counts:?}");
        assert!(rungs.found.iter().all(|found| !found.hardware));
        // What follows begins with a key frame, behind a header of its own.
        assert!(
            matches!(&out[..], [Output::Rung { n: 0, .. }, Output::Frame(first), ..] if first.access.is_independent())
        );
    }

    #[test]
    fn a_rung_whose_encoders_fail_is_given_up_and_gets_another_chance() {
        let (mut rungs, mut out) = (rungs(640, 360), Vec::new());
        rungs.found.retain(|found| !found.hardware);
        rungs.rungs[1].style = Some(Style { set_id: 0, profile: "no-such-profile", level: 31 });
        run(&mut rungs, &mut out, |out| out.iter().any(|output| matches!(output, Output::Shed { rung: 1, .. })));
        assert!(out.contains(&Output::Shed { rung: 1, failed: true }));
        assert_eq!((rungs.shed(), rungs.counts().replaced, rungs.counts().shed), (1, u64::from(MAX_FAILURES), 1));
        // Once more, and it works.
        rungs.rungs[1].style = None;
        while rungs.rungs[0].wait() > TimeDelta::ZERO {
            sleep(Duration::from_millis(1));
        }
        [0, 20].into_iter().for_each(|now| rungs.judge(TimeDelta::from_secs(now), &mut out));
        let of_rung = |output: &Output| matches!(output, Output::Frame(frame) if frame.track == TrackId(1));
        run(&mut rungs, &mut out, |out| out.iter().any(of_rung));
        assert_eq!(rungs.shed(), 0);
        let back = out.iter().position(|output| *output == Output::Restored { rung: 1 });
        assert!(back.is_some_and(|back| matches!(out.get(back..), Some(out) if out.iter().any(of_rung))));
    }
}
