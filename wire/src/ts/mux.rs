//! A writer of transport streams (ISO/IEC 13818-1): the [`Muxer`].
//!
//! Tracks, frames and metadata come in; packets of one programme go out, grouped into datagrams for SRT. A payload byte
//! is copied once, from its frame into its packets.

mod clock;
mod error;
pub(crate) mod fuzz;
mod packets;
mod pes;
mod splice;
mod stream;
mod tables;
mod wrapping;

use bytes::Bytes;
use media::{Access, Frame, Metadata, MetadataKind, TimeDelta, Timescale, Timestamp, Track, TrackId};

pub use error::MuxError;

use super::packet::PACKET;
use clock::Clock;
use packets::{Adaptation, Packets, Pid};
use stream::{Source, Stream, TrackStream};

/// Packets in a datagram: as many as fit into the payload of an SRT packet.
pub const DATAGRAM_PACKETS: usize = 7;
/// Bytes in a whole datagram: 1 316.
pub const DATAGRAM: usize = DATAGRAM_PACKETS * PACKET;
/// Usual distance of a frame's decoding time from the programme clock reference with it.
pub const DELAY: TimeDelta = TimeDelta::from_millis(500);
/// Most streams in a programme, metadata included. A further one is refused.
pub const MAX_STREAMS: usize = 32;
/// Most bytes of a video frame with start codes, parameter sets and a delimiter. A longer one is refused.
pub const MAX_VIDEO_FRAME: usize = 8 << 20;
/// Bytes that may wait to be taken before a frame is written. With more, the frame is refused.
pub const MAX_WAITING: usize = 16 << 20;

/// Longest delay: decoders keep nothing longer than 1 s (ISO/IEC 13818-1 §2.4.2.6). A longer one is shortened.
const MAX_DELAY: TimeDelta = TimeDelta::from_secs(1);
/// PIDs of elementary streams, in the order of their use. A PID is not used again before the others were.
const PIDS: std::ops::Range<u16> = 0x100..0x1000;

/// Whether the receiver knows the programme map table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MapState {
    /// No map has been written.
    Unwritten,
    /// The map has been written as it is.
    Written,
    /// The map differs from the one that was written.
    Changed,
}

/// Writes one programme.
///
/// Frames of all tracks come in the order of their decoding times. [`Muxer::datagram`] returns packets as soon as they
/// fill a datagram, and [`Muxer::flush`] the rest, so that no packet of a frame waits for the next one.
///
/// - The tables are written before each random access point of video, and every 100 ms. The version of the map changes
///   with the tracks and with their headers.
/// - The video track has the programme clock, or the first audio track if there is no video. References are at most
///   40 ms apart; those between two frames are written before the second one.
/// - Timestamps are kept, modulo 2^33 ticks of 90 kHz.
#[derive(Clone, Debug)]
pub struct Muxer {
    streams: Vec<Stream>,
    association: Pid,
    map: Pid,
    map_state: MapState,
    /// `version_number` of the map that was written last.
    version: u8,
    packets: Packets,
    clock: Clock,
    /// PID of the next stream, if it is free.
    next_pid: u16,
    late_frames: u64,
}

impl Default for Muxer {
    fn default() -> Self {
        Self::new(DELAY)
    }
}

impl Muxer {
    /// Creates a muxer of a programme without streams. Decoding times are ahead of the programme clock by `delay`, at
    /// most 1 s: the time that a decoder has to receive a frame.
    pub fn new(delay: TimeDelta) -> Self {
        let delay = delay.clamp(TimeDelta::ZERO, MAX_DELAY);
        Self {
            streams: Vec::new(),
            association: Pid::new(tables::ASSOCIATION_PID),
            map: Pid::new(tables::MAP_PID),
            map_state: MapState::Unwritten,
            version: 0,
            packets: Packets::default(),
            clock: Clock::new(Timescale::NINETY_KHZ.delta_ticks(delay)),
            next_pid: PIDS.start,
            late_frames: 0,
        }
    }

    /// Adds a track, or replaces the one with its id. A track of another codec gets another PID.
    pub fn add_track(&mut self, track: &Track) -> Result<(), MuxError> {
        let stream = TrackStream::new(track)?;
        let Some(at) = self.position(track.id) else {
            return self.add_stream(Source::Track(Box::new(stream)));
        };
        let next = self.free_pid();
        if let Some(Stream { pid, source: Source::Track(known), discontinuity }) = self.streams.get_mut(at) {
            if known.track == *track {
                return Ok(());
            }
            if std::mem::discriminant(&known.track.codec) != std::mem::discriminant(&track.codec) {
                (*pid, *discontinuity) = (Pid::new(next), false);
                self.next_pid = next + 1;
            }
            **known = stream;
        }
        self.note_change();
        Ok(())
    }

    /// Announces timed metadata of `kind`, so that the map need not change when the first of it is written.
    pub fn add_metadata(&mut self, kind: MetadataKind) -> Result<(), MuxError> {
        if self.streams.iter().any(|stream| stream.is_metadata(kind)) {
            return Ok(());
        }
        self.add_stream(Source::Metadata(kind))
    }

    /// Removes a track. Does nothing if there is none with this id.
    pub fn remove_track(&mut self, id: TrackId) {
        if let Some(at) = self.position(id) {
            self.streams.remove(at);
            self.note_change();
        }
    }

    /// Announces that the timestamps of the next frame do not continue those before it.
    ///
    /// It is not needed where the stream with the programme clock steps back by more than 300 ms, because that is a
    /// discontinuity in any case. A step forward without it is a gap in the same time base.
    pub fn discontinuity(&mut self) {
        if !self.clock.is_new() {
            self.streams.iter_mut().for_each(|stream| stream.discontinuity = true);
            self.clock.reset();
        }
    }

    /// Writes a frame of a track that was added. Nothing of the frame is written if an error is returned.
    pub fn frame(&mut self, frame: &Frame) -> Result<(), MuxError> {
        self.check_room()?;
        let at = self.position(frame.track).ok_or(MuxError::UnknownTrack(frame.track))?;
        let has_clock = self.clock_position() == Some(at);
        let Some(Stream { pid: Pid { number, .. }, source: Source::Track(stream), .. }) = self.streams.get_mut(at)
        else {
            return Err(MuxError::UnknownTrack(frame.track));
        };
        let number = *number;
        if !stream.track.codec.has_content(&frame.payload) {
            return Err(MuxError::Empty);
        }
        let changed = stream.adopt(&frame.payload);
        let is_video = stream.wrapping.is_video();
        let access_point = is_video && frame.access != Access::Dependent;
        let len = measure(stream, frame, access_point);
        if changed {
            self.note_change();
        }
        let len = len?;
        let pts = ticks(frame.pts);
        let dts = if is_video { ticks(frame.dts) } else { pts };
        if has_clock && self.clock.note_frame(number, dts) {
            self.discontinuity();
        }
        let clock = self.advance(dts, has_clock, access_point);
        self.late_frames += u64::from(self.clock.has_passed(dts));
        let Some(Stream { pid, source: Source::Track(stream), discontinuity }) = self.streams.get_mut(at) else {
            return Err(MuxError::UnknownTrack(frame.track));
        };
        let field = Adaptation {
            discontinuity: std::mem::take(discontinuity),
            random_access: access_point || (!is_video && clock.is_some()),
            clock,
        };
        let header = pes::Header::new(stream.stream_id(), pts, dts, len);
        let mut payload = self.packets.begin(pid, header.as_bytes().len() + len, field);
        payload.put(header.as_bytes());
        stream.wrapping.pieces(frame, access_point, &mut |piece| payload.put(piece))
    }

    /// Writes timed metadata. Its kind is announced first if [`Muxer::add_metadata`] did not do so.
    ///
    /// The time of an SCTE-35 event becomes [`Metadata::pts`], also if the section names another one.
    pub fn metadata(&mut self, metadata: &Metadata) -> Result<(), MuxError> {
        self.check_room()?;
        let (payload, pts) = (&metadata.payload, ticks(metadata.pts));
        let section = match metadata.kind {
            MetadataKind::Id3 if !payload.starts_with(b"ID3") => return Err(MuxError::Metadata),
            MetadataKind::Id3 if payload.len() > pes::MAX_BOUNDED => {
                return Err(MuxError::TooLong { len: payload.len(), limit: pes::MAX_BOUNDED });
            }
            MetadataKind::Id3 => None,
            MetadataKind::Scte35 => Some(splice::at(payload, pts)?),
        };
        self.add_metadata(metadata.kind)?;
        if self.map_state != MapState::Written {
            self.write_tables();
        }
        let Some(stream) = self.streams.iter_mut().find(|stream| stream.is_metadata(metadata.kind)) else {
            return Ok(());
        };
        let discontinuity = std::mem::take(&mut stream.discontinuity);
        match section {
            Some(section) => self.packets.section(&mut stream.pid, &section),
            None => {
                let header = pes::Header::new(pes::PRIVATE, pts, pts, payload.len());
                let field = Adaptation { discontinuity, ..Adaptation::default() };
                let mut packets = self.packets.begin(&mut stream.pid, header.as_bytes().len() + payload.len(), field);
                packets.put(header.as_bytes());
                packets.put(payload);
            }
        }
        Ok(())
    }

    /// Takes the next whole datagram of [`DATAGRAM`] bytes, if there is one.
    pub fn datagram(&mut self) -> Option<Bytes> {
        self.packets.take(DATAGRAM)
    }

    /// Takes all packets that are left, as a datagram of at most [`DATAGRAM`] bytes. To be called again until it returns
    /// `None`, or after [`Muxer::datagram`] has.
    pub fn flush(&mut self) -> Option<Bytes> {
        self.packets.take(self.packets.len().min(DATAGRAM))
    }

    /// Returns the number of frames that were written after the programme clock had passed their decoding times,
    /// because they came more than the delay after frames of other tracks.
    pub const fn late_frames(&self) -> u64 {
        self.late_frames
    }

    fn check_room(&self) -> Result<(), MuxError> {
        if self.packets.len() > MAX_WAITING { Err(MuxError::Full { limit: MAX_WAITING }) } else { Ok(()) }
    }

    fn add_stream(&mut self, source: Source) -> Result<(), MuxError> {
        if self.streams.len() >= MAX_STREAMS {
            return Err(MuxError::TooManyStreams { limit: MAX_STREAMS });
        }
        let pid = self.free_pid();
        self.next_pid = pid + 1;
        self.streams.push(Stream::new(Pid::new(pid), source));
        self.note_change();
        Ok(())
    }

    /// Returns a PID that no stream has.
    fn free_pid(&self) -> u16 {
        let taken = |pid: &u16| self.streams.iter().any(|stream| stream.pid.number == *pid);
        // There are far more PIDs than streams.
        (self.next_pid..PIDS.end).chain(PIDS).find(|pid| !taken(pid)).unwrap_or(PIDS.start)
    }

    fn position(&self, id: TrackId) -> Option<usize> {
        self.streams.iter().position(|stream| stream.track().is_some_and(|stream| stream.track.id == id))
    }

    /// Returns the position of the stream with the programme clock.
    fn clock_position(&self) -> Option<usize> {
        let is_video = |stream: &Stream| stream.track().is_some_and(|stream| stream.wrapping.is_video());
        let video = self.streams.iter().position(is_video);
        video.or_else(|| self.streams.iter().position(|stream| stream.track().is_some()))
    }

    /// Notes that the map must be written again before the next frame, with another version.
    fn note_change(&mut self) {
        if self.map_state == MapState::Written {
            self.map_state = MapState::Changed;
        }
        self.clock.request_tables();
    }

    /// Writes the references and tables that are due before a frame at `dts`. Returns the base of the reference that the
    /// frame itself is to carry, if its stream `has_clock`.
    fn advance(&mut self, dts: i64, has_clock: bool, access_point: bool) -> Option<u64> {
        while let Some(at) = self.clock.due(dts).filter(|at| !has_clock || *at < dts) {
            self.write_reference(at);
        }
        let own = has_clock && self.clock.advances(dts);
        if own {
            self.clock.note_reference(dts);
        }
        if access_point || self.clock.tables_due() {
            self.write_tables();
        }
        own.then(|| self.clock.base(dts))
    }

    /// Writes a reference at `dts` in a packet of its own.
    fn write_reference(&mut self, dts: i64) {
        self.clock.note_reference(dts);
        if self.clock.tables_due() {
            self.write_tables();
        }
        let clock = Some(self.clock.base(dts));
        if let Some(stream) = self.clock_position().and_then(|at| self.streams.get_mut(at)) {
            let discontinuity = std::mem::take(&mut stream.discontinuity);
            self.packets.adaptation_only(&stream.pid, Adaptation { discontinuity, random_access: false, clock });
        }
    }

    fn write_tables(&mut self) {
        if self.map_state == MapState::Changed {
            self.version = (self.version + 1) & 0x1f;
        }
        self.map_state = MapState::Written;
        let clock_pid = self.clock_position().and_then(|at| self.streams.get(at)).map(|stream| stream.pid.number);
        self.packets.section(&mut self.association, &tables::association());
        self.packets.section(&mut self.map, &tables::map(self.version, clock_pid, &self.streams));
        self.clock.note_tables();
    }
}

fn ticks(at: Timestamp) -> i64 {
    Timescale::NINETY_KHZ.ticks(at)
}

/// Returns the bytes of a frame's PES payload; an error if they exceed what the stream can hold.
fn measure(stream: &TrackStream, frame: &Frame, access_point: bool) -> Result<usize, MuxError> {
    let mut len = 0;
    stream.wrapping.pieces(frame, access_point, &mut |piece| len += piece.len())?;
    let limit = if stream.wrapping.is_video() { MAX_VIDEO_FRAME } else { pes::MAX_BOUNDED };
    if len > limit { Err(MuxError::TooLong { len, limit }) } else { Ok(len) }
}
