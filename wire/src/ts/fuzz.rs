//! Bodies of the fuzz targets `ts`, `psi`, `pes` and `latm`; see [`crate::fuzz`].

use media::Timestamp;

use super::audio::{AudioFramer, Output};
use super::framing::Format;
use super::pes::{self, Piece};
use super::psi::{self, Assembler};
use super::{Demuxer, Limits, Stats, VIDEO_TRACK, metadata};
use crate::{Item, latm as aac};

/// Small limits, so that short inputs reach them.
const LIMITS: Limits =
    Limits { unsynced: 4_096, pids: 5, tracks: 3, section: 200, pes: 700, unit: 500, metadata: 100, block: 512 };
/// Longest input, because the work grows with its square.
const MAX_LEN: usize = 8 * 188;
/// Distance between cuts. The first one differs for each length; cuts around the beginnings of packets are also tried.
const STEP: usize = 61;
/// Longest run of LATM elements, each of which is cut at each byte.
const MAX_ELEMENTS: usize = 256;

/// Tests the whole demuxer.
pub fn ts(data: &[u8]) {
    let data = data.get(..MAX_LEN).unwrap_or(data);
    let run = |parts: [&[u8]; 2]| -> (Vec<Item>, Stats) {
        let (mut demuxer, mut items) = (Demuxer::new(LIMITS), Vec::new());
        for part in parts {
            if demuxer.push(part, &mut items).is_err() {
                break;
            }
        }
        demuxer.finish(&mut items);
        (items, *demuxer.stats())
    };
    let whole = run([data, &[]]);
    for item in &whole.0 {
        match item {
            Item::Track(track) => assert!((1..=LIMITS.tracks as u32).contains(&track.id.0)),
            Item::Frame(frame) => {
                assert!(!frame.payload.is_empty());
                assert!(frame.track != VIDEO_TRACK || frame.payload.len() <= LIMITS.unit);
            }
            Item::Metadata(metadata) => assert!(metadata.payload.len() <= LIMITS.section),
            Item::VideoExpected => {}
            Item::Fault(report) => assert!(report.count > 0),
        }
    }
    for at in (0..data.len()).filter(|at| at % STEP == data.len() % STEP || at % 188 < 3) {
        assert_eq!(run([data.get(..at).unwrap_or_default(), data.get(at..).unwrap_or_default()]), whole, "cut at {at}");
    }
}

/// Tests sections, with one payload for each run of bytes after a length byte, and the tables in them.
pub fn psi(data: &[u8]) {
    let (mut assembler, mut sections) = (Assembler::default(), Vec::new());
    let mut rest = data.get(..MAX_LEN).unwrap_or(data);
    while let [head, tail @ ..] = rest {
        let (payload, next) = tail.split_at(tail.len().min(usize::from(head >> 1)));
        rest = next;
        assembler.push(payload, head & 1 == 1, LIMITS.section, &mut |section| sections.push(section.to_vec()));
    }
    sections.push(data.to_vec());
    for section in &sections {
        let audio_piece = psi::checked(section);
        assert_eq!(audio_piece.is_some(), section.len() >= 4 && psi::crc32(section) == 0);
        let _ = (psi::first_programme(section), metadata::splice_time(section));
        if let Some(map) = psi::map(section, 1) {
            assert!(map.streams.len() <= section.len() / 5 && map.streams.iter().all(|entry| entry.pid < 0x2000));
        }
    }
}

/// Tests a PES packet, cut between transport packets at each byte.
pub fn pes(data: &[u8]) {
    let data = data.get(..MAX_LEN).unwrap_or(data);
    let run = |parts: [&[u8]; 2]| {
        let (mut reader, mut bytes, mut marks) = (pes::Reader::default(), Vec::new(), Vec::new());
        let mut take = |piece: Piece<'_>| match piece {
            Piece::Data(data) => bytes.extend_from_slice(data),
            Piece::Begin(stamp) => marks.push(Some(stamp)),
            Piece::End | Piece::Broken => marks.push(None),
        };
        for (part, start) in parts.into_iter().zip([true, false]) {
            reader.push(part, start, LIMITS.pes, &mut take);
        }
        reader.finish(&mut take);
        assert!(bytes.len() <= LIMITS.pes);
        // The cut decides how much of a packet over the limit was output.
        (if data.len() > LIMITS.pes { Vec::new() } else { bytes }, marks)
    };
    let whole = run([data, &[]]);
    for at in 0..data.len() {
        assert_eq!(run([data.get(..at).unwrap_or_default(), data.get(at..).unwrap_or_default()]), whole, "cut at {at}");
    }
}

/// Tests LATM elements, one for each run of bytes after a length byte: each truncated at each byte, and all in LOAS
/// frames cut anywhere.
pub fn latm(data: &[u8]) {
    let (mut reader, mut loas) = (aac::Reader::default(), Vec::new());
    let mut rest = data.get(..MAX_ELEMENTS).unwrap_or(data);
    while let [length, tail @ ..] = rest {
        let (element, next) = tail.split_at(tail.len().min(usize::from(*length)));
        rest = next;
        loas.extend([0x56, 0xe0, element.len() as u8]);
        loas.extend_from_slice(element);
        let read = |reader: &mut aac::Reader, element: &[u8]| {
            let mut frames = Vec::new();
            let done = reader.read(element, &mut |frame| frames.push(frame)).is_ok();
            assert!(frames.iter().map(|frame| frame.len()).sum::<usize>() <= element.len());
            assert!(frames.is_empty() || reader.config().is_some());
            (frames, done)
        };
        let before = reader.clone();
        let (whole, all) = read(&mut reader, element);
        for end in 0..element.len() {
            let (frames, done) = read(&mut before.clone(), element.get(..end).unwrap_or_default());
            assert!(whole.starts_with(&frames) && (all || !done), "cut off at {end}");
        }
    }
    let run = |parts: [&[u8]; 2]| {
        let (mut framer, mut configs, mut frames, mut dropped) =
            (AudioFramer::new(Format::Loas, 512), Vec::new(), Vec::new(), 0);
        let mut take = |output: Output| match output {
            Output::Config(config) => configs.push((frames.len(), config)),
            Output::Frame(payload, pts) => frames.push((payload, pts)),
            Output::Dropped => dropped += 1,
        };
        framer.begin(Some(Timestamp::ZERO));
        parts.into_iter().for_each(|part| framer.push(part, &mut take));
        framer.end(&mut take);
        (configs, frames, dropped)
    };
    let whole = run([&loas, &[]]);
    for at in 0..loas.len() {
        let (head, tail) = loas.split_at(at);
        assert_eq!(run([head, tail]), whole, "cut at {at}");
    }
}
