//! A running ladder: decoded media in, the continuous output of [`Continuity`], and encoders for that output.

use media::{CodecConfig, TimeDelta, Timestamp};
use slate::Continuity;
use slate::continuity::{Config, Output as ContinuityOutput, VideoContent};

use crate::api::{Output, Settings, SlateImages, Stats};
use crate::audio::outputs::AudioOutputs;
use crate::error::Error;
use crate::input::decoder::{CHANNELS, Decoded, SAMPLE_RATE};
use crate::input::inputs::Inputs;
use crate::pipeline::Notify;
use crate::probe::JoiningVideo;
use crate::source::passthrough::Passthrough;
use crate::video::output::{VideoInput, VideoOutput};
use crate::video::raw_frame::RawFrame;
use crate::video::renditions::VideoRenditions;

/// Longest time that encoded audio is held back after video joined.
const MAX_AUDIO_HOLD: TimeDelta = TimeDelta::from_secs(2);

/// Continuous output and encoders of a programme.
pub(crate) struct Transcode {
    continuity: Continuity<RawFrame>,
    video: VideoOutput,
    /// Video that joins a programme of audio, while its frame rate is not known yet.
    joining: Option<JoiningVideo>,
    audio: AudioOutputs,
    /// Time at which video joined a programme of audio; `None` once its first frame is encoded.
    ///
    /// Encoded audio is held back meanwhile, at most for [`MAX_AUDIO_HOLD`]. The packager starts a segment at the first
    /// video key frame only if no later audio has been packaged yet.
    audio_held_since: Option<TimeDelta>,
    /// The slate, in the size of the reference rendition; `None` if there is none or it cannot be decoded.
    slate: Option<RawFrame>,
    /// Frame that was presented last.
    last: Option<RawFrame>,
}

impl Transcode {
    /// Starts the continuous output.
    pub(crate) fn new(settings: &Settings, video: VideoOutput, audio: AudioOutputs, out: &mut Vec<Output>) -> Self {
        let continuity = Continuity::new(Config {
            frame_rate: video.rate,
            sample_rate: SAMPLE_RATE,
            channels: CHANNELS,
            audio_tracks: audio.count(),
            video: video.renditions.is_some(),
            slate: video.canvas.is_some(),
        });
        let (joining, audio_held_since, slate, last) = (None, None, None, None);
        let mut transcode = Self { continuity, video, joining, audio, audio_held_since, slate, last };
        transcode.begin_video(settings, out);
        transcode
    }

    /// Begins another contribution.
    pub(crate) fn begin(&mut self) {
        self.continuity.begin();
        self.joining = None;
        if let Some(passthrough) = self.passthrough() {
            passthrough.begin();
        }
    }

    /// Returns the queue of the source's frames, if they are forwarded.
    pub(crate) fn passthrough(&mut self) -> Option<&mut Passthrough> {
        self.video.passthrough()
    }

    /// Takes note of the codec header of the video frames that follow.
    pub(crate) fn set_video_header(&mut self, codec: &CodecConfig) {
        if let Some(renditions) = &mut self.video.renditions {
            renditions.set_header(codec);
        }
    }

    /// Takes the images of the slate. If they cannot be decoded, those before them remain, or else the last frame is
    /// repeated.
    pub(crate) fn set_slate(&mut self, slate: &SlateImages, out: &mut Vec<Output>) {
        match self.video.canvas.as_mut().map(|canvas| canvas.draw(slate)) {
            Some(Ok(image)) => self.slate = Some(image),
            Some(Err(error)) => out.push(Output::NoSlate(error.to_string())),
            None => {}
        }
    }

    /// Starts encoders for video that joins a programme of audio, once its frame rate is known. Does nothing for a
    /// programme that has video.
    pub(crate) fn join_video(
        &mut self,
        (pts, frame): (Timestamp, &RawFrame),
        header: Option<&CodecConfig>,
        (settings, notify): (&Settings, &Notify),
        now: TimeDelta,
        out: &mut Vec<Output>,
    ) -> Result<(), Error> {
        if self.video.renditions.is_some() {
            return Ok(());
        }
        let joining = self.joining.get_or_insert_with(|| JoiningVideo::new(now));
        if !joining.add(pts, now) {
            return Ok(());
        }
        let input = VideoInput { rate: joining.rate(header, frame), first: Some(frame), header };
        self.video = VideoOutput::new(&input, settings, notify)?;
        let rate = self.video.rate;
        self.continuity.add_video(rate, self.video.canvas.is_some());
        (self.joining, self.audio_held_since) = (None, Some(now));
        self.begin_video(settings, out);
        Ok(())
    }

    /// Announces the plan of the video's rungs, and draws the slate for them.
    fn begin_video(&mut self, settings: &Settings, out: &mut Vec<Output>) {
        if !self.video.rungs.is_empty() {
            out.push(Output::Plan(self.video.rungs.clone()));
        }
        if let Some(slate) = &settings.slate {
            self.set_slate(slate, out);
        }
    }

    /// Assigns audio tracks to the programme's audio outputs. Tracks without one are given another output, as far as
    /// there is room, and the rest are not decoded.
    pub(crate) fn assign_audio(&mut self, inputs: &mut Inputs) -> Result<(), Error> {
        for language in inputs.assign_outputs(self.audio.languages()) {
            if !self.audio.add(language)? {
                break;
            }
            self.continuity.add_audio();
        }
        inputs.assign_outputs(self.audio.languages());
        inputs.leave_out_unassigned();
        Ok(())
    }

    /// Takes a decoded item. Audio is for the output with this index, and discarded without one.
    pub(crate) fn push(&mut self, audio_output: Option<usize>, decoded: Decoded, now: TimeDelta) {
        match decoded {
            Decoded::Video { pts, frame } => self.continuity.push_video(pts, frame, now),
            Decoded::Audio { pts, samples } => {
                if let Some(output) = audio_output {
                    self.continuity.push_audio(output, pts, samples, now);
                }
            }
        }
    }

    /// Encodes what is due by the clock. Everything decoded by now has to be pushed before.
    pub(crate) fn poll(&mut self, now: TimeDelta, out: &mut Vec<Output>) -> Result<(), Error> {
        while let Some(output) = self.continuity.poll(now) {
            self.encode(output, now, out)?;
        }
        Ok(())
    }

    /// Encodes what is due by the media itself, whatever the clock says.
    pub(crate) fn poll_known(&mut self, now: TimeDelta, out: &mut Vec<Output>) -> Result<(), Error> {
        while let Some(output) = self.continuity.poll_known() {
            self.encode(output, now, out)?;
        }
        Ok(())
    }

    fn encode(
        &mut self,
        output: ContinuityOutput<RawFrame>,
        now: TimeDelta,
        out: &mut Vec<Output>,
    ) -> Result<(), Error> {
        match output {
            ContinuityOutput::Video { pts, content } => {
                let live = matches!(content, VideoContent::Live(_));
                let frame = match content {
                    VideoContent::Live(frame) | VideoContent::Repeated(frame) => Some(frame),
                    VideoContent::Slate => self.slate.clone().or_else(|| self.last.clone()),
                };
                if let (Some(frame), Some(renditions)) = (frame, &mut self.video.renditions) {
                    self.last = Some(frame.clone());
                    renditions.present(&frame, live, pts, now, out);
                }
                Ok(())
            }
            ContinuityOutput::Audio { track, pts, samples } => self.audio.encode(track, pts, samples),
        }
    }

    /// Encodes the rest of the input, and ends the encoders.
    pub(crate) fn finish(&mut self, now: TimeDelta, out: &mut Vec<Output>) -> Result<(), Error> {
        while let Some(output) = self.continuity.drain() {
            self.encode(output, now, out)?;
        }
        self.audio_held_since = None;
        if let Some(renditions) = &self.video.renditions {
            renditions.end();
        }
        self.audio.finish()
    }

    /// Returns whether everything was collected after [`Transcode::finish`].
    pub(crate) fn is_ended(&self) -> bool {
        self.video.renditions.as_ref().is_none_or(VideoRenditions::is_ended) && self.audio.is_ended()
    }

    /// Moves what is encoded to `out`.
    pub(crate) fn collect(&mut self, now: TimeDelta, out: &mut Vec<Output>) -> Result<(), Error> {
        if let Some(renditions) = &mut self.video.renditions {
            renditions.collect(out);
            if renditions.is_announced() {
                self.audio_held_since = None;
            }
        }
        if self.audio_held_since.is_some_and(|since| now - since < MAX_AUDIO_HOLD) {
            return Ok(());
        }
        self.audio.collect(out)
    }

    /// Returns the time at which [`Transcode::poll`] is due.
    pub(crate) fn wake_at(&self) -> Option<TimeDelta> {
        self.continuity.wake_at()
    }

    /// Returns the place of a time of the contribution on the output's timeline.
    pub(crate) fn output_time(&self, pts: Timestamp) -> Option<Timestamp> {
        self.continuity.output_time(pts)
    }

    /// Returns the time that the output has come to.
    pub(crate) fn position(&self) -> Option<Timestamp> {
        self.continuity.position()
    }

    /// Fills in the counters of the output and of its encoders.
    pub(crate) fn update(&self, stats: &mut Stats) {
        stats.continuity = self.continuity.stats();
        stats.rungs = self.video.rungs.len();
        if let Some(renditions) = &self.video.renditions {
            let counters = renditions.stats();
            stats.source_frames = counters.forwarded;
            stats.skipped_frames = counters.skipped;
            stats.encoders_replaced = counters.replaced;
            stats.times_shed = counters.shed;
            stats.rungs_shed = renditions.shed_count();
        }
    }
}
