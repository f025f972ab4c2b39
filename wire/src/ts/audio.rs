//! Splits PES packets into audio frames, wherever the packets cut them, each with its own timestamp.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use media::codec::{HeaderError, aac};
use media::{CodecConfig, TimeDelta, Timescale, Timestamp};

use super::framing::{Format, Probe, is_partial};
use crate::latm;

/// Most bytes of memory allocated at once: four seconds of common audio.
const BLOCK: usize = 64 << 10;
/// Longest access unit: enough for E-AC-3, and for eight channels of Opus. A header that claims more is not a frame's.
const MAX_UNIT: usize = 32 << 10;
/// Most timestamps of PES packets that wait for a frame to begin; a further one replaces the last.
const MAX_MARKS: usize = 32;
/// Consecutive frames without a usable configuration after which the stream counts as unusable. Streams that need a
/// program config element repeat it more often than that.
const MAX_UNUSABLE_FRAMES: u32 = 50;

/// Output of an [`AudioFramer`].
#[derive(Debug)]
pub(super) enum Output {
    /// Configuration of the frames that follow.
    Config(CodecConfig),
    /// A frame and its timestamp.
    Frame(Bytes, Timestamp),
    /// A frame was damaged, in an unsupported form, or without a timestamp.
    Dropped,
}

/// Splits the audio of one stream into frames.
#[derive(Clone, Debug)]
pub(super) struct AudioFramer {
    format: Format,
    latm: latm::Reader,
    bytes: BytesMut,
    /// Bytes of memory allocated at once.
    block: usize,
    /// Number of bytes of the stream before `bytes`.
    gone: u64,
    /// Positions in the stream where PES packets with a timestamp begin.
    marks: VecDeque<(u64, Timestamp)>,
    /// End time of the last frame.
    next: Option<Timestamp>,
    /// [`Shape::identity`](super::framing::Shape::identity) of the last frame, while frames follow one another.
    identity: Option<u64>,
    config: Option<CodecConfig>,
    /// Identity and number of sync frames of the frame that `config` was made from.
    shape: Option<(u64, usize)>,
    /// Number of consecutive frames without a usable configuration, and the reason.
    unusable: (u32, Option<HeaderError>),
}

/// A complete access unit at the front of the bytes.
struct Whole {
    head: usize,
    size: usize,
    identity: u64,
    /// Number of sync frames in it.
    count: usize,
}

impl AudioFramer {
    /// Creates a framer that allocates blocks of at most `block` bytes.
    pub(super) fn new(format: Format, block: usize) -> Self {
        Self {
            format,
            latm: latm::Reader::default(),
            bytes: BytesMut::new(),
            block: block.min(BLOCK),
            gone: 0,
            marks: VecDeque::new(),
            next: None,
            identity: None,
            config: None,
            shape: None,
            unusable: (0, None),
        }
    }

    /// Begins a PES packet.
    pub(super) fn begin(&mut self, pts: Option<Timestamp>) {
        let Some(pts) = pts else { return };
        if self.marks.len() >= MAX_MARKS {
            self.marks.pop_back();
        }
        self.marks.push_back((self.gone + self.bytes.len() as u64, pts));
    }

    /// Takes payload of the PES packet.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut impl FnMut(Output)) {
        if self.bytes.capacity() - self.bytes.len() < bytes.len() && !self.bytes.try_reclaim(bytes.len()) {
            // At most one incomplete frame moves to the new block.
            let mut block = BytesMut::with_capacity(self.block.max(2 * (self.bytes.len() + bytes.len())));
            block.extend_from_slice(&self.bytes);
            self.bytes = block;
        }
        self.bytes.extend_from_slice(bytes);
        self.drain(false, out);
    }

    /// Ends the PES packet.
    pub(super) fn end(&mut self, out: &mut impl FnMut(Output)) {
        self.drain(true, out);
    }

    /// Returns why the stream cannot be used, once [`MAX_UNUSABLE_FRAMES`] have arrived.
    pub(super) fn unusable(&self) -> Option<&HeaderError> {
        self.unusable.1.as_ref().filter(|_| self.unusable.0 >= MAX_UNUSABLE_FRAMES)
    }

    /// Returns the [`CodecConfig`] in force.
    pub(super) const fn config(&self) -> Option<&CodecConfig> {
        self.config.as_ref()
    }

    /// Drops the current frame because bytes are missing; returns whether there was one.
    pub(super) fn lose(&mut self) -> bool {
        let lost = !self.bytes.is_empty();
        self.gone += self.bytes.len() as u64;
        self.bytes.clear();
        self.marks.clear();
        (self.identity, self.next) = (None, None);
        lost
    }

    fn drain(&mut self, ended: bool, out: &mut impl FnMut(Output)) {
        while !self.bytes.is_empty() {
            match self.front(ended) {
                Some(Ok(whole)) => self.frame(&whole, out),
                Some(Err(())) => self.skip(out),
                None => return,
            }
        }
    }

    /// Returns the access unit at the front: `None` if it is incomplete or not yet confirmed, an error if there is
    /// none.
    ///
    /// A frame is confirmed if it has the identity of the previous one, if another frame of its identity follows, or if
    /// its PES packet ends with it.
    fn front(&self, ended: bool) -> Option<Result<Whole, ()>> {
        let first = match self.format.probe(&self.bytes) {
            Probe::Frame(shape) if shape.size <= MAX_UNIT && !shape.joins => shape,
            Probe::Short if self.bytes.len() < MAX_UNIT => return None,
            _ => return Some(Err(())),
        };
        let known = self.identity == Some(first.identity);
        let mut whole = Whole { head: first.head, size: first.size, identity: first.identity, count: 1 };
        let mut samples = first.samples;
        loop {
            let rest = self.bytes.get(whole.size..)?;
            let partial = is_partial(first.identity, samples);
            match self.format.probe(rest) {
                // Except for E-AC-3, the frame's own header gives its end.
                _ if known && !first.is_enhanced() => return Some(Ok(whole)),
                Probe::Frame(next) if next.joins || (partial && next.identity == first.identity) => {
                    samples += next.samples;
                    (whole.size, whole.count) = (whole.size + next.size, whole.count + 1);
                    if whole.size > MAX_UNIT {
                        return Some(Err(()));
                    }
                }
                Probe::Frame(next) if known || next.identity == first.identity => return Some(Ok(whole)),
                Probe::Short if rest.is_empty() && ended && !partial => return Some(Ok(whole)),
                Probe::Short => return None,
                Probe::Wrong if known && !partial => return Some(Ok(whole)),
                _ => return Some(Err(())),
            }
        }
    }

    /// Skips to the next byte that may begin a frame.
    fn skip(&mut self, out: &mut impl FnMut(Output)) {
        if self.identity.take().is_some() {
            out(Output::Dropped);
        }
        let from = self.bytes.get(1..).unwrap_or_default();
        let gone = memchr::memchr(self.format.sync(), from).map_or(self.bytes.len(), |at| at + 1);
        self.bytes.advance(gone);
        self.gone += gone as u64;
    }

    /// Removes a complete access unit from the front.
    fn frame(&mut self, whole: &Whole, out: &mut impl FnMut(Output)) {
        while let Some((_, pts)) = self.marks.pop_front_if(|(at, _)| *at <= self.gone) {
            self.next = Some(pts);
        }
        let unit = self.bytes.split_to(whole.size).freeze();
        self.gone += whole.size as u64;
        self.identity = Some(whole.identity);
        let frame = unit.slice(whole.head.min(unit.len())..);
        if self.format == Format::Loas {
            self.loas(&frame, out);
            return;
        }
        // A frame of a new shape may be the first that signals its channels.
        if self.config.is_none() || self.shape != Some((whole.identity, whole.count)) {
            match self.format.config(&unit) {
                Ok(Some(config)) => {
                    let early = std::mem::take(&mut self.unusable).0;
                    (0..early.min(MAX_UNUSABLE_FRAMES)).for_each(|_| out(Output::Dropped));
                    self.set_config(config, out);
                }
                Ok(None) => self.config = None,
                // Frames in an unsupported form.
                Err(error) => (self.config, self.unusable) = (None, (self.unusable.0.saturating_add(1), Some(error))),
            }
            self.shape = Some((whole.identity, whole.count));
        }
        if self.unusable.1.is_some() {
            // They are reported with the reason, or counted if the configuration arrives after all.
            return;
        }
        let frame = if self.format == Format::Adts { aac::without_program_config(frame) } else { frame };
        self.emit(frame, out);
    }

    fn loas(&mut self, element: &Bytes, out: &mut impl FnMut(Output)) {
        let mut frames = Vec::new();
        if self.latm.read(element, &mut |frame| frames.push(frame)).is_err() {
            out(Output::Dropped);
            return;
        }
        if let Some(config) = self.latm.config() {
            let config = CodecConfig::Aac(config.clone());
            self.set_config(config, out);
        }
        frames.into_iter().for_each(|frame| self.emit(frame, out));
    }

    fn set_config(&mut self, config: CodecConfig, out: &mut impl FnMut(Output)) {
        if self.config.as_ref() != Some(&config) {
            self.config = Some(config.clone());
            out(Output::Config(config));
        }
    }

    fn emit(&mut self, frame: Bytes, out: &mut impl FnMut(Output)) {
        let samples = self.config.as_ref().and_then(|config| config.packet_samples(&frame));
        let rate = self.config.as_ref().and_then(CodecConfig::sample_rate);
        let (Some(samples), Some(rate), Some(pts)) = (samples, rate, self.next) else {
            out(Output::Dropped);
            return;
        };
        let duration: TimeDelta = Timescale::new(rate).delta(samples.into());
        self.next = Some(pts + duration);
        out(Output::Frame(frame, pts));
    }
}
