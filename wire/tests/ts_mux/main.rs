//! The muxer of transport streams: through our demuxer, through programs of others, and by its timing.
#![allow(clippy::unwrap_used, reason = "tests")]

mod changes;
mod checker;
mod material;
mod programs;
mod round_trip;

use bytes::Bytes;
use media::{Frame, Timescale, TrackId};
use wire::Item;
use wire::ts::mux::{DATAGRAM, MuxError, Muxer};
use wire::ts::{Demuxer, Limits, Stats};

/// Takes the packets of the last frame; asserts the sizes of datagrams.
fn drain(muxer: &mut Muxer, out: &mut Vec<u8>) {
    while let Some(datagram) = muxer.datagram() {
        assert_eq!(datagram.len(), DATAGRAM);
        out.extend_from_slice(&datagram);
    }
    if let Some(rest) = muxer.flush() {
        assert!(rest.len() < DATAGRAM && rest.len().is_multiple_of(188));
        out.extend_from_slice(&rest);
    }
    assert_eq!((muxer.datagram(), muxer.flush()), (None, None));
}

/// Writes the items of a demuxer.
fn write(muxer: &mut Muxer, items: &[Item]) -> Result<Vec<u8>, MuxError> {
    let mut out = Vec::new();
    for item in items {
        match item {
            Item::Track(track) => muxer.add_track(track)?,
            Item::Frame(frame) => muxer.frame(frame)?,
            Item::Metadata(metadata) => muxer.metadata(metadata)?,
            Item::VideoExpected | Item::Fault(_) => {}
        }
        drain(muxer, &mut out);
    }
    Ok(out)
}

/// Reads a whole stream; asserts that nothing in it is wrong.
fn read(bytes: &[u8]) -> Vec<Item> {
    let (mut demuxer, mut items) = (Demuxer::new(Limits::default()), Vec::new());
    demuxer.push(bytes, &mut items).unwrap();
    demuxer.finish(&mut items);
    let Stats { packets, null_packets, unknown_packets, clock_references, .. } = *demuxer.stats();
    let expected = Stats { packets, null_packets, unknown_packets, clock_references, ..Stats::default() };
    assert_eq!(*demuxer.stats(), expected);
    assert_eq!(packets, bytes.len() as u64 / 188);
    items
}

/// Returns the frames of a track as (PTS, DTS, payload), in ticks of 90 kHz.
fn frames(items: &[Item], track: TrackId) -> Vec<(i64, i64, Bytes)> {
    let ticks = |at| Timescale::NINETY_KHZ.ticks(at);
    let frames = items.iter().filter_map(|item| if let Item::Frame(frame) = item { Some(frame) } else { None });
    let frames = frames.filter(|frame| frame.track == track);
    frames.map(|Frame { pts, dts, payload, .. }| (ticks(*pts), ticks(*dts), payload.clone())).collect()
}
