//! Bodies of the fuzz targets, so that they compile with the code that they test.
//!
//! Each asserts that its input gives the same result however it is cut, and that no limit is exceeded. A crash that is
//! found becomes a unit test next to the code concerned.

use bytes::Bytes;
use media::Kind;

use crate::amf0::{self, Value};
use crate::annexb::{Assembler, Codec, Output};
use crate::error::Error;
use crate::flv::{self, Demuxer, Tag};
use crate::rtmp::chunk::{Limits, Reader};
use crate::rtmp::client;
use crate::rtmp::handshake;
use crate::rtmp::server::{Config, Event, RANDOM_LEN, Session};
use crate::srt;
pub use crate::ts::fuzz::{latm, pes, psi, ts};
pub use crate::ts::mux::fuzz::ts_mux;

/// Small limits, so that short inputs reach them.
const LIMITS: Limits = Limits { message: 600, streams: 4, pending: 1_000, block: 700 };
/// Longest input of which each cut is tried, because the work grows with its square.
const MAX_CUT: usize = 1_024;

/// Asserts that the parts of an SRT address are within their limits.
pub fn srt_target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(target) = srt::Target::parse(text) else { return };
    assert!(target.port > 0 && !target.host.is_empty() && target.host.len() < text.len());
    assert!(target.stream_id.reveal().len() <= 512 && matches!(target.key_bits, 128 | 192 | 256));
    assert!(target.passphrase.is_none_or(|passphrase| (10..=79).contains(&passphrase.reveal().len())));
}

/// Tests the server's handshake with a C0, C1 and C2 that begin with `data`.
pub fn rtmp_handshake(data: &[u8]) {
    let mut bytes = data.to_vec();
    bytes.resize(bytes.len().max(handshake::CLIENT_LEN as usize + 5), 0x33);
    let run = |parts: [&[u8]; 2]| {
        let mut server = handshake::Server::new([0x44; RANDOM_LEN]);
        let (mut out, mut done, mut left) = (Vec::new(), Ok(false), 0);
        for mut part in parts {
            if done == Ok(false) {
                done = server.read(&mut part, &mut out);
            }
            left += part.len();
        }
        (done, out, left)
    };
    let whole = run([&bytes, &[]]);
    assert!(whole.1.is_empty() || whole.1.len() as u64 == handshake::CLIENT_LEN);
    // A cut inside the opaque blocks is like any other, so only every few bytes are tried there to save time.
    for at in (0..bytes.len()).step_by(127).chain(1_530..1_545).chain(3_070..3_076) {
        let (head, tail) = bytes.split_at(at.min(bytes.len()));
        let cut = run([head, tail]);
        // After a failed handshake, the number of bytes taken before does not matter.
        assert_eq!((&cut.0, &cut.1), (&whole.0, &whole.1), "cut at {at}");
        assert!(whole.0.is_err() || cut.2 == whole.2, "cut at {at}");
    }
}

/// Tests the chunk reader.
pub fn rtmp_chunks(data: &[u8]) {
    let data = data.get(..MAX_CUT).unwrap_or(data);
    let run = |parts: [&[u8]; 2]| {
        let mut reader = Reader::new(LIMITS, 0);
        let mut messages = Vec::new();
        for mut part in parts {
            loop {
                match reader.read(&mut part) {
                    Ok(Some(message)) => {
                        assert!(message.payload.len() <= LIMITS.message);
                        messages.push(message);
                    }
                    Ok(None) => break,
                    Err(err) => return (messages, Some(err)),
                }
                assert!(reader.pending() <= LIMITS.pending);
            }
        }
        (messages, None)
    };
    every_cut(data, run);
}

/// Tests the AMF0 decoder: decoded values survive encoding, and truncated input gives an error or fewer values.
pub fn amf0(data: &[u8]) {
    let data = data.get(..MAX_CUT).unwrap_or(data);
    if let Ok(values) = amf0::decode_all(data) {
        assert!(values.iter().map(count).sum::<usize>() <= amf0::MAX_ELEMENTS);
        let mut bytes = Vec::new();
        values.iter().for_each(|value| value.encode(&mut bytes));
        let again = amf0::decode_all(&bytes);
        // Compared as text, because a NaN does not equal itself.
        assert_eq!(format!("{again:?}"), format!("{:?}", Ok::<_, Error>(&values)));
    }
    for at in 0..data.len() {
        let _ = amf0::decode_all(data.get(..at).unwrap_or_default());
    }
}

fn count(value: &Value) -> usize {
    let inner: usize = match value {
        Value::StrictArray(values) => values.iter().map(count).sum(),
        other => other.properties().iter().map(|(_, value)| count(value)).sum(),
    };
    1 + inner
}

/// Tests the demuxer with FLV tags, one for each run of bytes after a length byte, each also truncated at each byte.
pub fn flv_tags(data: &[u8]) {
    let mut demuxer = Demuxer::new();
    let mut rest = data.get(..4 * MAX_CUT).unwrap_or(data);
    while let [head, tail @ ..] = rest {
        let (body, next) = tail.split_at(tail.len().min(usize::from(head >> 1)));
        rest = next;
        let kind = if head & 1 == 0 { Kind::Video } else { Kind::Audio };
        for end in 0..=body.len() {
            let body = Bytes::copy_from_slice(body.get(..end).unwrap_or_default());
            let (mut packets, mut bytes) = (Vec::new(), 0);
            let _ = flv::read(kind, &body, |packet| packets.push(packet));
            assert!(packets.len() <= flv::MAX_TRACKS);
            for packet in packets {
                assert!(packet.kind == kind && packet.nanos < 1_000_000);
                if let flv::Body::Header(slice) | flv::Body::Frame { payload: slice, .. } = &packet.body {
                    bytes += slice.len();
                }
                let items: Vec<_> = demuxer.push(Tag { millis: i64::from(*head), packet }).collect();
                assert!(items.len() <= 4 + body.len());
            }
            assert!(bytes <= body.len(), "no byte is in two packets");
            demuxer.finish().for_each(drop);
        }
    }
}

/// Tests a session after the handshake. Every publication is accepted.
pub fn rtmp_session(data: &[u8]) {
    let data = data.get(..MAX_CUT).unwrap_or(data);
    let config = Config { before: LIMITS, after: LIMITS, window: 0, ..Config::default() };
    let mut hello = vec![3];
    hello.resize(handshake::CLIENT_LEN as usize, 0);
    let mut greeted = Session::new(config, [0; RANDOM_LEN]);
    assert_eq!((greeted.input(&hello), greeted.poll()), (Ok(()), None));
    every_cut(data, |parts| {
        let mut session = greeted.clone();
        let (mut events, mut out) = (Vec::new(), Vec::new());
        for part in parts {
            let mut result = session.input(part);
            while let Some(event) = session.poll() {
                if matches!(event, Event::Publish(_)) {
                    result = result.and_then(|()| session.accept());
                }
                events.push(event);
            }
            out.extend(session.take_output());
            if let Err(err) = result {
                return (events, out, Some(err));
            }
        }
        (events, out, None)
    });
}

/// Tests a client's session after the handshake, with a server that sends `data`.
pub fn rtmp_client(data: &[u8]) {
    let data = data.get(..MAX_CUT).unwrap_or(data);
    let Ok(mut target) = client::Target::parse("rtmp://user:password@host/app", "key") else { return };
    target.auth_query = Some("authmod=adobe&user=user".into());
    let config = client::Config { limits: LIMITS, window: 0, ..client::Config::default() };
    let mut hello = vec![3];
    hello.resize(handshake::CLIENT_LEN as usize, 0);
    let mut greeted = client::Session::new(config, target, [0; RANDOM_LEN]);
    assert_eq!((greeted.input(&hello), greeted.poll()), (Ok(()), None));
    every_cut(data, |parts| {
        let mut session = greeted.clone();
        let (mut events, mut out) = (Vec::new(), Vec::new());
        for part in parts {
            let result = session.input(part);
            events.extend(std::iter::from_fn(|| session.poll()));
            out.extend(session.take_output().concat());
            if let Err(err) = result {
                return (events, out, Some(err));
            }
        }
        assert!(events.len() <= 2 && session.output_len() == 0);
        (events, out, None)
    });
}

/// Tests an Annex B byte stream of the codec that the first byte selects.
pub fn annexb(data: &[u8]) {
    let data = data.get(..MAX_CUT).unwrap_or(data);
    let Some((head, stream)) = data.split_first() else { return };
    let codec = if head & 1 == 0 { Codec::Avc } else { Codec::Hevc };
    let run = |limit: usize, parts: [&[u8]; 2]| {
        let (mut assembler, mut out, mut dropped) = (Assembler::new(codec, 256, limit), Vec::new(), 0);
        let mut take = |output: Output<'_, u8>| match output {
            Output::Parameters(set) => out.push((set.to_vec(), None)),
            Output::Unit(unit, time) => {
                assert!(unit.len() <= limit && is_sample(&unit), "{unit:?}");
                out.push((unit.to_vec(), time));
            }
            Output::Dropped => dropped += 1,
        };
        assembler.set_time(Some(*head));
        for part in parts {
            assembler.push(part, &mut take);
        }
        assembler.flush(&mut take);
        (out, dropped)
    };
    // Among zeros, the cut decides which unit exceeds a limit. Without a limit the result does not depend on it.
    run(LIMITS.message, stream.split_at(stream.len() / 2).into());
    every_cut(stream, |parts| run(4 * MAX_CUT, parts));
}

/// Returns whether `unit` consists of NAL units with length prefixes, none empty and none with a start code in it.
fn is_sample(unit: &[u8]) -> bool {
    let mut rest = unit;
    while let Some((length, tail)) = rest.split_first_chunk() {
        let Some((nal, next)) = tail.split_at_checked(u32::from_be_bytes(*length) as usize) else { return false };
        if nal.last().is_none_or(|last| *last == 0) || memchr::memmem::find(nal, &[0, 0, 1]).is_some() {
            return false;
        }
        rest = next;
    }
    rest.is_empty() && !unit.is_empty()
}

/// Asserts that `run` returns the same for `data` as a whole and in any two pieces.
fn every_cut<T: PartialEq + std::fmt::Debug>(data: &[u8], run: impl Fn([&[u8]; 2]) -> T) {
    let whole = run([data, &[]]);
    for at in 0..data.len() {
        let (head, tail) = data.split_at(at);
        let cut = run([head, tail]);
        // The texts are equal if only a NaN differs, which does not equal itself.
        assert!(cut == whole || format!("{cut:?}") == format!("{whole:?}"), "cut at {at}: {cut:?} is not {whole:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every fuzz body.
    const BODIES: [fn(&[u8]); 12] =
        [rtmp_handshake, rtmp_chunks, amf0, flv_tags, rtmp_session, rtmp_client, ts, ts_mux, psi, pes, latm, annexb];

    #[test]
    fn every_body_takes_nothing_and_little() {
        for body in BODIES {
            body(&[]);
            body(&[3]);
            body(&[0xff; 64]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_body_takes_anything(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            for body in BODIES {
                body(&bytes);
            }
        }
    }
}
