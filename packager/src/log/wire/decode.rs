//! Bytes to entries.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use media::{Kind, Language, LatencyMode, TimeDelta, Timescale, Timestamp, VideoRange, WallTime};

use super::{MAX_BYTES, MAX_NUMBER, MAX_SECS, Problem, VERSION, WireError, kind};
use crate::log::{
    Entry, Event, Format, Init, NextPart, Part, Payload, RenditionId, RenditionRole, RenditionStats, SegmentEnd,
    Targets,
};

/// The scale of durations and positions.
const FLICKS: Timescale = Timescale::new(705_600_000);
/// Ids of renditions are below this: one reference rendition, then audio and dependent ones.
const MAX_RENDITIONS: u32 = 1 + RenditionId::MAX_AUDIO + RenditionId::MAX_DEPENDENT_VIDEO;
/// Largest distance from the Unix epoch in milliseconds: the year 9999 and back.
const MAX_WALL: u64 = 253_402_300_799_999;
/// Largest target duration in seconds.
const MAX_TARGET_SECS: u32 = 3_600;
/// Largest count of bits, bit rate or frame rate: far more than any broadcast has, and far from overflow.
const MAX_COUNT: u64 = 1 << 60;

/// Reads one whole entry. Init sections and parts share the given bytes.
pub fn decode(bytes: Bytes) -> Result<Entry, WireError> {
    let mut input = Input { len: bytes.len(), rest: bytes };
    input.one_of("version", &[(VERSION, ())])?;
    let at = input.at();
    let kind = input.u8("kind")?;
    let seq = input.number("seq")?;
    let event = match kind {
        kind::START => Event::Start {
            broadcast: input.text("broadcast")?,
            mode: input
                .one_of("mode", &[(0, LatencyMode::Standard), (1, LatencyMode::Reduced), (2, LatencyMode::Low)])?,
            started_at: input.wall("start")?,
        },
        kind::TARGETS => Event::Targets(input.targets()?),
        kind::INIT => Event::Init(Arc::new(input.init()?)),
        kind::PART => Event::Part(Arc::new(input.part()?)),
        kind::SEGMENT => Event::Segment(input.segment()?),
        kind::NEXT => {
            let (rendition, msn) = (input.rendition()?, input.number("segment")?);
            Event::Next(NextPart { rendition, msn, index: input.u32("index")? })
        }
        kind::WITHDRAWN => Event::Withdrawn(input.rendition()?),
        kind::CAPTIONS => Event::Captions,
        kind::END => Event::End,
        _ => return Err(WireError { at, field: "kind", problem: Problem::Invalid }),
    };
    match input.rest.is_empty() {
        true => Ok(Entry { seq, event }),
        false => Err(WireError { at: input.at(), field: "entry", problem: Problem::Trailing }),
    }
}

/// The bytes that were not read yet.
struct Input {
    rest: Bytes,
    /// Length of the whole entry.
    len: usize,
}

impl Input {
    fn at(&self) -> usize {
        self.len - self.rest.len()
    }

    fn bytes(&mut self, field: &'static str, len: usize) -> Result<Bytes, WireError> {
        if self.rest.len() < len {
            return Err(WireError { at: self.at(), field, problem: Problem::Truncated });
        }
        Ok(self.rest.split_to(len))
    }

    fn u8(&mut self, field: &'static str) -> Result<u8, WireError> {
        Ok(self.bytes(field, 1)?.get_u8())
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, WireError> {
        Ok(self.bytes(field, 4)?.get_u32())
    }

    /// Reads a value and has it checked; `None` refuses it at the byte where it began.
    fn checked<T, U>(
        &mut self,
        field: &'static str,
        problem: Problem,
        read: impl FnOnce(&mut Self) -> Result<T, WireError>,
        check: impl FnOnce(T) -> Option<U>,
    ) -> Result<U, WireError> {
        let at = self.at();
        check(read(self)?).ok_or(WireError { at, field, problem })
    }

    fn one_of<T: Copy>(&mut self, field: &'static str, values: &[(u8, T)]) -> Result<T, WireError> {
        let find = |byte| values.iter().find(|(value, _)| *value == byte).map(|(_, meaning)| *meaning);
        self.checked(field, Problem::Invalid, |input| input.u8(field), find)
    }

    fn flag(&mut self, field: &'static str) -> Result<bool, WireError> {
        self.one_of(field, &[(0, false), (1, true)])
    }

    fn option<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, WireError>,
    ) -> Result<Option<T>, WireError> {
        if self.flag(field)? { read(self).map(Some) } else { Ok(None) }
    }

    fn u64_up_to(&mut self, field: &'static str, max: u64) -> Result<u64, WireError> {
        let read = |input: &mut Self| Ok(input.bytes(field, 8)?.get_u64());
        self.checked(field, Problem::OutOfBounds, read, |number| (number <= max).then_some(number))
    }

    fn number(&mut self, field: &'static str) -> Result<u64, WireError> {
        self.u64_up_to(field, MAX_NUMBER)
    }

    fn count(&mut self, field: &'static str) -> Result<u64, WireError> {
        self.u64_up_to(field, MAX_COUNT)
    }

    fn i64(&mut self, field: &'static str) -> Result<i64, WireError> {
        Ok(self.bytes(field, 8)?.get_i64())
    }

    /// Reads a duration of one segment, part or stall.
    fn duration(&mut self, field: &'static str) -> Result<TimeDelta, WireError> {
        let max = TimeDelta::from_secs(MAX_SECS);
        let fits = |flicks| Some(FLICKS.delta(flicks)).filter(|delta| (TimeDelta::ZERO..=max).contains(delta));
        self.checked(field, Problem::OutOfBounds, |input| input.i64(field), fits)
    }

    /// Reads a total duration.
    fn total(&mut self, field: &'static str) -> Result<TimeDelta, WireError> {
        let fits = |flicks| (flicks >= 0).then(|| FLICKS.delta(flicks));
        self.checked(field, Problem::OutOfBounds, |input| input.i64(field), fits)
    }

    fn position(&mut self, field: &'static str) -> Result<Timestamp, WireError> {
        Ok(FLICKS.timestamp(self.i64(field)?))
    }

    fn wall(&mut self, field: &'static str) -> Result<WallTime, WireError> {
        let fits = |millis: i64| (millis.unsigned_abs() <= MAX_WALL).then(|| WallTime::from_unix_millis(millis));
        self.checked(field, Problem::OutOfBounds, |input| input.i64(field), fits)
    }

    fn rendition(&mut self) -> Result<RenditionId, WireError> {
        let known = |id| (id < MAX_RENDITIONS).then_some(RenditionId(id));
        self.checked("rendition", Problem::OutOfBounds, |input| input.u32("rendition"), known)
    }

    fn text<T: std::str::FromStr>(&mut self, field: &'static str) -> Result<T, WireError> {
        let read = |input: &mut Self| {
            let len = input.u8(field)?;
            input.bytes(field, len.into())
        };
        self.checked(field, Problem::Invalid, read, |text| std::str::from_utf8(&text).ok()?.parse().ok())
    }

    /// Reads the media at the end of an entry.
    fn media(&mut self, field: &'static str) -> Result<Bytes, WireError> {
        let fits = |len| (len <= MAX_BYTES).then_some(len as usize);
        let len = self.checked(field, Problem::OutOfBounds, |input| input.u32(field), fits)?;
        self.bytes(field, len)
    }

    fn targets(&mut self) -> Result<Targets, WireError> {
        let secs = |secs| (secs <= MAX_TARGET_SECS).then_some(secs);
        Ok(Targets {
            segment_secs: self.checked("target duration", Problem::OutOfBounds, |i| i.u32("target duration"), secs)?,
            part: self.option("part target", |input| input.duration("part target"))?,
            part_grid: self.option("part grid", |input| input.duration("part grid"))?,
            max_stall: self.duration("longest stall")?,
        })
    }

    fn init(&mut self) -> Result<Init, WireError> {
        let (rendition, number) = (self.rendition()?, self.u32("init number")?);
        let format = self.format()?;
        Ok(Init { rendition, number, format, bytes: self.media("init section")? })
    }

    fn format(&mut self) -> Result<Format, WireError> {
        use RenditionRole::{Audio, Dependent, Reference};
        use VideoRange::{Hlg, Pq, Sdr};
        let language = |code: Bytes| {
            let language = Language::new(code.as_ref().try_into().ok()?)?;
            (language.as_str().as_bytes() == code).then_some(language)
        };
        Ok(Format {
            kind: self.one_of("kind of media", &[(0, Kind::Video), (1, Kind::Audio)])?,
            role: self.one_of("role", &[(0, Reference), (1, Dependent), (2, Audio)])?,
            codec: self.text("codec")?,
            resolution: self.option("resolution", |i| Ok((i.u32("width")?, i.u32("height")?)))?,
            range: self.option("range", |input| input.one_of("range", &[(0, Sdr), (1, Hlg), (2, Pq)]))?,
            channels: self.option("channels", |input| input.u8("channels"))?,
            language: self.option("language", |input| {
                input.checked("language", Problem::Invalid, |input| input.bytes("language", 3), language)
            })?,
            place: self.u32("place")?,
            tier: self.u8("tier")?,
        })
    }

    fn part(&mut self) -> Result<Part, WireError> {
        Ok(Part {
            rendition: self.rendition()?,
            msn: self.number("segment")?,
            index: self.u32("index")?,
            init: self.u32("init number")?,
            start: self.position("start")?,
            duration: self.duration("duration")?,
            independent: self.flag("independent")?,
            discontinuity: self.flag("discontinuity")?,
            discontinuity_sequence: self.number("discontinuity sequence")?,
            wall: self.wall("wall time")?,
            frames: self.u32("frames")?,
            data: Payload::new([self.media("media")?]),
        })
    }

    fn segment(&mut self) -> Result<SegmentEnd, WireError> {
        Ok(SegmentEnd {
            rendition: self.rendition()?,
            msn: self.number("segment")?,
            duration: self.duration("duration")?,
            millihertz: self.option("frame rate", |input| input.u32("frame rate"))?,
            first_listed: self.number("first listed segment")?,
            playable: self.flag("playable")?,
            stats: RenditionStats {
                bits: self.count("bits")?,
                duration: self.total("total duration")?,
                peak: self.count("peak")?,
                frames: self.count("frames")?,
                frames_duration: self.total("duration of frames")?,
                steady_millihertz: self.u32("steady frame rate")?,
            },
        })
    }
}
