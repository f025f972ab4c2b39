//! Sound: frames cut out of PES packets wherever those cut them, each with its own time.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use media::codec::{HeaderError, aac};
use media::{CodecConfig, TimeDelta, Timescale, Timestamp};

use super::framing::{Format, Look, is_partial};
use crate::latm;

/// Bytes of memory taken at once, at most: four seconds of usual sound.
const BLOCK: usize = 64 << 10;
/// Longest access unit: the longest of E-AC-3 and eight channels of Opus fit. What claims to be longer is none.
const MAX_UNIT: usize = 32 << 10;
/// Times of PES packets that wait for a frame to begin; one more takes the place of the last.
const MAX_MARKS: usize = 32;
/// Frames in a row without a usable configuration after which the stream is taken for unusable. Those that have a program
/// config element repeat it more often.
const PATIENCE: u32 = 50;

/// What comes out of a [`Splitter`].
#[derive(Debug)]
pub(super) enum Output {
    /// The frames that follow have another configuration.
    Config(CodecConfig),
    /// A frame and its time.
    Frame(Bytes, Timestamp),
    /// So many frames were damaged, of a form that is not carried, or without a time.
    Dropped,
}

/// Cuts the sound of one stream into frames.
#[derive(Clone, Debug)]
pub(super) struct Splitter {
    format: Format,
    latm: latm::Reader,
    bytes: BytesMut,
    /// Memory taken at once.
    block: usize,
    /// Bytes of the stream in front of `bytes`.
    gone: u64,
    /// Where in the stream PES packets with a time begin.
    marks: VecDeque<(u64, Timestamp)>,
    /// The time after the last frame.
    next: Option<Timestamp>,
    /// What the last frame had in common with those before, while frames follow one another.
    identity: Option<u64>,
    config: Option<CodecConfig>,
    /// The frame that `config` was made for, and how many sync frames it has.
    shape: Option<(u64, usize)>,
    /// Frames in a row that have no usable configuration, and why.
    unusable: (u32, Option<HeaderError>),
}

/// A whole access unit at the front of the bytes.
struct Whole {
    head: usize,
    size: usize,
    identity: u64,
    /// Sync frames in it.
    count: usize,
}

impl Splitter {
    /// A splitter that takes memory in blocks of `block` bytes at most.
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

    /// A PES packet begins.
    pub(super) fn begin(&mut self, pts: Option<Timestamp>) {
        let Some(pts) = pts else { return };
        if self.marks.len() >= MAX_MARKS {
            self.marks.pop_back();
        }
        self.marks.push_back((self.gone + self.bytes.len() as u64, pts));
    }

    /// Takes bytes of the PES packet.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut impl FnMut(Output)) {
        if self.bytes.capacity() - self.bytes.len() < bytes.len() && !self.bytes.try_reclaim(bytes.len()) {
            // At most one frame is not whole; it moves along.
            let mut block = BytesMut::with_capacity(self.block.max(2 * (self.bytes.len() + bytes.len())));
            block.extend_from_slice(&self.bytes);
            self.bytes = block;
        }
        self.bytes.extend_from_slice(bytes);
        self.drain(false, out);
    }

    /// The PES packet ends.
    pub(super) fn end(&mut self, out: &mut impl FnMut(Output)) {
        self.drain(true, out);
    }

    /// Why nothing of the stream can be carried, once so many frames came that none is to be expected.
    pub(super) fn unusable(&self) -> Option<&HeaderError> {
        self.unusable.1.as_ref().filter(|_| self.unusable.0 >= PATIENCE)
    }

    /// The configuration in force.
    pub(super) const fn config(&self) -> Option<&CodecConfig> {
        self.config.as_ref()
    }

    /// Bytes are missing here: drops the frame under way; true if there was one.
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

    /// The access unit at the front: none if it is not whole yet or not yet to be trusted, an error if there is none.
    ///
    /// A frame is trusted if it is like the one before, if another like it follows, or if its PES packet ends with it.
    fn front(&self, ended: bool) -> Option<Result<Whole, ()>> {
        let first = match self.format.look(&self.bytes) {
            Look::Frame(shape) if shape.size <= MAX_UNIT && !shape.joins => shape,
            Look::Short if self.bytes.len() < MAX_UNIT => return None,
            _ => return Some(Err(())),
        };
        let known = self.identity == Some(first.identity);
        let mut whole = Whole { head: first.head, size: first.size, identity: first.identity, count: 1 };
        let mut samples = first.samples;
        loop {
            let rest = self.bytes.get(whole.size..)?;
            let partial = is_partial(first.identity, samples);
            match self.format.look(rest) {
                // All but E-AC-3 end where their own header says.
                _ if known && !first.is_enhanced() => return Some(Ok(whole)),
                Look::Frame(next) if next.joins || (partial && next.identity == first.identity) => {
                    samples += next.samples;
                    (whole.size, whole.count) = (whole.size + next.size, whole.count + 1);
                    if whole.size > MAX_UNIT {
                        return Some(Err(()));
                    }
                }
                Look::Frame(next) if known || next.identity == first.identity => return Some(Ok(whole)),
                Look::Short if rest.is_empty() && ended && !partial => return Some(Ok(whole)),
                Look::Short => return None,
                Look::Wrong if known && !partial => return Some(Ok(whole)),
                _ => return Some(Err(())),
            }
        }
    }

    /// Goes to the next byte that may begin a frame.
    fn skip(&mut self, out: &mut impl FnMut(Output)) {
        if self.identity.take().is_some() {
            out(Output::Dropped);
        }
        let from = self.bytes.get(1..).unwrap_or_default();
        let gone = memchr::memchr(self.format.sync(), from).map_or(self.bytes.len(), |at| at + 1);
        self.bytes.advance(gone);
        self.gone += gone as u64;
    }

    /// Takes a whole access unit off the front.
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
        // A frame may be the first of its shape to tell its channels.
        if self.config.is_none() || self.shape != Some((whole.identity, whole.count)) {
            match self.format.config(&unit) {
                Ok(Some(config)) => {
                    let early = std::mem::take(&mut self.unusable).0;
                    (0..early.min(PATIENCE)).for_each(|_| out(Output::Dropped));
                    self.set_config(config, out);
                }
                Ok(None) => self.config = None,
                // Frames of a form that is not carried.
                Err(error) => (self.config, self.unusable) = (None, (self.unusable.0.saturating_add(1), Some(error))),
            }
            self.shape = Some((whole.identity, whole.count));
        }
        if self.unusable.1.is_some() {
            // They are reported with the reason, or counted when the configuration comes after all.
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
