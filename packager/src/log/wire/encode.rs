//! Entries to bytes.

use bytes::{BufMut, Bytes, BytesMut};
use media::{Kind, LatencyMode, TimeDelta, Timestamp, VideoRange, WallTime};

use super::{VERSION, kind};
use crate::log::{Entry, Event, Format, Init, Part, Payload, RenditionRole, RenditionStats, SegmentEnd, Targets};

/// Room for the fields of every kind of entry but `CODECS` parameters of unusual length.
const HEADER_CAPACITY: usize = 160;

/// Writes an entry. The result shares the bytes of the media with it, after a header of its own.
pub fn encode(entry: &Entry) -> Payload {
    let mut out = BytesMut::with_capacity(HEADER_CAPACITY);
    out.put_u8(VERSION);
    out.put_u8(kind_of(&entry.event));
    out.put_u64(entry.seq);
    let media = fields(&entry.event, &mut out);
    let mut pieces = Vec::with_capacity(1 + media.len());
    pieces.push(out.freeze());
    pieces.extend_from_slice(media);
    Payload::new(pieces)
}

fn kind_of(event: &Event) -> u8 {
    match event {
        Event::Start { .. } => kind::START,
        Event::Targets(_) => kind::TARGETS,
        Event::Init(_) => kind::INIT,
        Event::Part(_) => kind::PART,
        Event::Segment(_) => kind::SEGMENT,
        Event::Next(_) => kind::NEXT,
        Event::Withdrawn(_) => kind::WITHDRAWN,
        Event::Captions => kind::CAPTIONS,
        Event::End => kind::END,
    }
}

/// Writes the fields of an event and returns the pieces that follow them.
fn fields<'a>(event: &'a Event, out: &mut BytesMut) -> &'a [Bytes] {
    match event {
        Event::Start { broadcast, mode, started_at } => {
            text(broadcast.as_str(), out);
            out.put_u8(match mode {
                LatencyMode::Standard => 0,
                LatencyMode::Reduced => 1,
                LatencyMode::Low => 2,
            });
            wall(*started_at, out);
        }
        Event::Targets(targets) => put_targets(targets, out),
        Event::Init(init) => return put_init(init, out),
        Event::Part(part) => return put_part(part, out),
        Event::Segment(end) => put_segment(end, out),
        Event::Next(next) => {
            out.put_u32(next.rendition.0);
            out.put_u64(next.msn);
            out.put_u32(next.index);
        }
        Event::Withdrawn(rendition) => out.put_u32(rendition.0),
        Event::Captions | Event::End => {}
    }
    &[]
}

fn put_targets(targets: &Targets, out: &mut BytesMut) {
    out.put_u32(targets.segment_secs);
    option(targets.part, out, delta);
    option(targets.part_grid, out, delta);
    delta(targets.max_stall, out);
}

fn put_init<'a>(init: &'a Init, out: &mut BytesMut) -> &'a [Bytes] {
    out.put_u32(init.rendition.0);
    out.put_u32(init.number);
    put_format(&init.format, out);
    out.put_u32(length(init.bytes.len() as u64));
    std::slice::from_ref(&init.bytes)
}

fn put_format(format: &Format, out: &mut BytesMut) {
    out.put_u8(match format.kind {
        Kind::Video => 0,
        Kind::Audio => 1,
    });
    out.put_u8(match format.role {
        RenditionRole::Reference => 0,
        RenditionRole::Dependent => 1,
        RenditionRole::Audio => 2,
    });
    text(&format.codec, out);
    option(format.resolution, out, |(width, height), out| {
        out.put_u32(width);
        out.put_u32(height);
    });
    option(format.range, out, |range, out| {
        out.put_u8(match range {
            VideoRange::Sdr => 0,
            VideoRange::Hlg => 1,
            VideoRange::Pq => 2,
        });
    });
    option(format.channels, out, |channels, out| out.put_u8(channels));
    option(format.language, out, |language, out| out.put_slice(language.as_str().as_bytes()));
    out.put_u32(format.place);
    out.put_u8(format.tier);
}

fn put_part<'a>(part: &'a Part, out: &mut BytesMut) -> &'a [Bytes] {
    out.put_u32(part.rendition.0);
    out.put_u64(part.msn);
    out.put_u32(part.index);
    out.put_u32(part.init);
    position(part.start, out);
    delta(part.duration, out);
    flag(part.independent, out);
    flag(part.discontinuity, out);
    out.put_u64(part.discontinuity_sequence);
    wall(part.wall, out);
    out.put_u32(part.frames);
    out.put_u32(length(part.data.len()));
    part.data.pieces()
}

fn put_segment(end: &SegmentEnd, out: &mut BytesMut) {
    out.put_u32(end.rendition.0);
    out.put_u64(end.msn);
    delta(end.duration, out);
    option(end.millihertz, out, |millihertz, out| out.put_u32(millihertz));
    out.put_u64(end.first_listed);
    flag(end.playable, out);
    let RenditionStats { bits, duration, peak, frames, frames_duration, steady_millihertz } = end.stats;
    out.put_u64(bits);
    delta(duration, out);
    out.put_u64(peak);
    out.put_u64(frames);
    delta(frames_duration, out);
    out.put_u32(steady_millihertz);
}

fn option<T>(value: Option<T>, out: &mut BytesMut, put: impl FnOnce(T, &mut BytesMut)) {
    flag(value.is_some(), out);
    if let Some(value) = value {
        put(value, out);
    }
}

fn flag(value: bool, out: &mut BytesMut) {
    out.put_u8(value.into());
}

/// Writes a text of at most 255 bytes; ids and `CODECS` parameters are far shorter.
fn text(text: &str, out: &mut BytesMut) {
    let bytes = text.as_bytes();
    let len = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    out.put_u8(len);
    out.put_slice(bytes.get(..usize::from(len)).unwrap_or_default());
}

fn delta(delta: TimeDelta, out: &mut BytesMut) {
    out.put_i64(delta.flicks());
}

fn position(at: Timestamp, out: &mut BytesMut) {
    out.put_i64(at.flicks());
}

fn wall(at: WallTime, out: &mut BytesMut) {
    out.put_i64(at.unix_millis());
}

fn length(len: u64) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
