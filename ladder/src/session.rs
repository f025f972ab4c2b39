//! All that a ladder does, without its thread: inputs, their metadata, and the encoders once it is known what for.

use media::{Fault, FaultReport, Frame, Kind, TimeDelta, Track};

use crate::api::{Output, Settings, Stats};
use crate::audio::outputs::AudioOutputs;
use crate::clock::Clock;
use crate::error::Error;
use crate::inbox::Message;
use crate::input::decoder::Decoded;
use crate::input::inputs::Inputs;
use crate::metadata_queue::MetadataQueue;
use crate::pipeline::Notify;
use crate::probe::Probe;
use crate::transcode::Transcode;
use crate::video::output::{VideoInput, VideoOutput};

/// A ladder at work: [`Inputs`], a [`Probe`], and then a [`Transcode`].
pub(crate) struct Session {
    settings: Settings,
    clock: Clock,
    notify: Notify,
    inputs: Inputs,
    metadata: MetadataQueue,
    phase: Phase,
    /// Whether the contribution has ended and none follows.
    is_ending: bool,
    /// Refused frames that [`Session::report`] has reported.
    reported_refused: u64,
}

enum Phase {
    /// Too little is known of the programme to start encoders.
    Probing(Probe),
    Running(Box<Transcode>),
}

impl Session {
    /// Returns a ladder without input. `notify` is called on other threads when something was decoded or encoded.
    pub(crate) fn new(settings: Settings, clock: Clock, notify: Notify) -> Self {
        Self {
            settings,
            clock,
            inputs: Inputs::new(notify.clone()),
            notify,
            metadata: MetadataQueue::default(),
            phase: Phase::Probing(Probe::default()),
            is_ending: false,
            reported_refused: 0,
        }
    }

    /// Returns whether [`Message::End`] has come.
    pub(crate) const fn is_ending(&self) -> bool {
        self.is_ending
    }

    /// Returns whether the decoder of a frame can take it now.
    pub(crate) fn has_room(&mut self, frame: &Frame) -> bool {
        self.inputs.has_room(frame)
    }

    /// Handles a message. For a frame, [`Session::has_room`] has to be true.
    pub(crate) fn handle(&mut self, message: Message, out: &mut Vec<Output>) -> Result<(), Error> {
        match message {
            Message::Begin => self.begin(out),
            Message::Track(track) => self.announce(track)?,
            Message::Frame(frame) => self.push(&frame),
            Message::VideoExpected => {
                if let Phase::Probing(probe) = &mut self.phase {
                    probe.expect_video(self.inputs.video_header().is_none());
                }
            }
            Message::Metadata(metadata) => self.metadata.push(metadata),
            Message::SlateImages(slate) => {
                if let Phase::Running(transcode) = &mut self.phase {
                    transcode.set_slate(&slate, out);
                }
                self.settings.slate = self.settings.slate.take().map(|_| slate);
            }
            Message::Gone => self.inputs.end(),
            Message::End => self.is_ending = true,
        }
        Ok(())
    }

    fn begin(&mut self, out: &mut Vec<Output>) {
        self.inputs.begin();
        if let Phase::Running(transcode) = &mut self.phase {
            self.metadata.flush(|pts| transcode.output_time(pts), out);
            transcode.begin();
        } else {
            self.metadata = MetadataQueue::default();
            self.phase = Phase::Probing(Probe::default());
        }
    }

    fn announce(&mut self, track: Track) -> Result<(), Error> {
        let kind = track.kind();
        self.inputs.announce(track);
        match (kind, &mut self.phase) {
            (Kind::Video, Phase::Probing(probe)) => probe.announce_video(self.clock.now()),
            (Kind::Video, Phase::Running(transcode)) => {
                if let Some(codec) = self.inputs.video_header() {
                    transcode.set_video_header(codec);
                }
            }
            (Kind::Audio, Phase::Probing(_)) => {}
            (Kind::Audio, Phase::Running(transcode)) => transcode.assign_audio(&mut self.inputs)?,
        }
        Ok(())
    }

    fn push(&mut self, frame: &Frame) {
        if self.inputs.is_video(frame) {
            match &mut self.phase {
                Phase::Running(transcode) => {
                    if let Some(passthrough) = transcode.passthrough() {
                        passthrough.push(frame);
                    }
                }
                Phase::Probing(probe) if self.settings.source => probe.push_coded(frame.clone()),
                Phase::Probing(_) => {}
            }
        }
        self.inputs.push(frame);
    }

    /// Passes what is decoded to the [`Probe`] or the [`Transcode`]. Each video frame is presented before the next one
    /// is taken.
    pub(crate) fn collect_decoded(&mut self, out: &mut Vec<Output>) -> Result<(), Error> {
        loop {
            let decoded = self.inputs.pull();
            if decoded.is_empty() {
                return Ok(());
            }
            let now = self.clock.now();
            for (track, decoded) in decoded {
                match &mut self.phase {
                    Phase::Running(transcode) => {
                        if let Decoded::Video { pts, frame } = &decoded {
                            let header = self.inputs.video_header();
                            transcode.join_video((*pts, frame), header, (&self.settings, &self.notify), now, out)?;
                        }
                        transcode.push(self.inputs.output_of(track), decoded, now);
                        transcode.poll_known(now, out)?;
                    }
                    Phase::Probing(probe) => probe.push_decoded(now, track, decoded),
                }
            }
            self.start_if_ready(out)?;
        }
    }

    /// Starts the encoders as soon as the [`Probe`] knows enough of the programme.
    pub(crate) fn start_if_ready(&mut self, out: &mut Vec<Output>) -> Result<(), Error> {
        let now = self.clock.now();
        let Phase::Probing(probe) = &mut self.phase else { return Ok(()) };
        let header = self.inputs.video_header();
        if !probe.is_ready(header.is_some(), now, self.is_ending) {
            return Ok(());
        }
        let first = probe.first_frame();
        let input = VideoInput { rate: probe.rate(header, first.as_ref()), first: first.as_ref(), header };
        let (decoded, coded) = std::mem::take(probe).take();
        let audio = AudioOutputs::start(&self.inputs.languages(), &self.settings, &self.notify)?;
        let video = VideoOutput::new(&input, &self.settings, &self.notify)?;
        let mut transcode = Transcode::new(&self.settings, video, audio, out);
        transcode.assign_audio(&mut self.inputs)?;
        if let Some(passthrough) = transcode.passthrough() {
            coded.iter().for_each(|frame| passthrough.push(frame));
        }
        for (at, track, decoded) in decoded {
            transcode.push(self.inputs.output_of(track), decoded, at);
            // At the time of the start, not at that of the item: they come all at once, which is no overload.
            transcode.poll_known(now, out)?;
        }
        self.phase = Phase::Running(Box::new(transcode));
        Ok(())
    }

    /// Encodes what is due now, and moves what is encoded to `out`.
    pub(crate) fn poll(&mut self, out: &mut Vec<Output>) -> Result<(), Error> {
        self.collect_decoded(out)?;
        self.start_if_ready(out)?;
        let now = self.clock.now();
        if let Phase::Running(transcode) = &mut self.phase {
            transcode.poll(now, out)?;
            self.metadata.release(|pts| transcode.output_time(pts), transcode.position(), out);
            transcode.collect(now, out)?;
        }
        Ok(())
    }

    /// Returns the time at which [`Session::poll`] is due; `None` if only other events matter.
    pub(crate) fn wake_at(&self) -> Option<TimeDelta> {
        match &self.phase {
            Phase::Running(transcode) => transcode.wake_at(),
            Phase::Probing(_) => None,
        }
    }

    /// Ends the decoders: what they hold back can be collected.
    pub(crate) fn end_input(&self) {
        self.inputs.end();
    }

    /// Returns whether everything decoded was collected after [`Session::end_input`].
    pub(crate) fn is_input_ended(&mut self) -> bool {
        self.inputs.is_ended()
    }

    /// Encodes the rest of the input, and ends the encoders.
    pub(crate) fn finish(&mut self, out: &mut Vec<Output>) -> Result<(), Error> {
        self.start_if_ready(out)?;
        if let Phase::Running(transcode) = &mut self.phase {
            transcode.finish(self.clock.now(), out)?;
            self.metadata.flush(|pts| transcode.output_time(pts), out);
        }
        Ok(())
    }

    /// Moves what is encoded to `out`. Returns whether that was the last of it, after [`Session::finish`].
    pub(crate) fn collect_rest(&mut self, out: &mut Vec<Output>) -> Result<bool, Error> {
        let Phase::Running(transcode) = &mut self.phase else { return Ok(true) };
        transcode.collect(self.clock.now(), out)?;
        Ok(transcode.is_ended())
    }

    /// Reports what was dropped since the last call, and which tracks are left out. `refused` is the number of frames
    /// that the inbox has refused so far.
    pub(crate) fn report(&mut self, refused: u64, out: &mut Vec<Output>) {
        let behind = refused - std::mem::replace(&mut self.reported_refused, refused);
        if behind > 0 {
            out.push(Output::Fault(FaultReport::new(Fault::DecodingBehind, None).times(behind)));
        }
        out.extend(self.inputs.take_faults().into_iter().map(Output::Fault));
    }

    /// Returns the counters so far.
    pub(crate) fn stats(&self) -> Stats {
        let undecoded = self.inputs.undecoded();
        let mut stats = Stats {
            bad_frames: undecoded.damaged + undecoded.early,
            decoders_replaced: self.inputs.replaced(),
            ..Stats::default()
        };
        if let Phase::Running(transcode) = &self.phase {
            transcode.update(&mut stats);
        }
        stats
    }
}
