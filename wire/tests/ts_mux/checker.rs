//! Rules of ISO/IEC 13818-1 for the packets of a whole stream, read without any code of the crate.

use std::collections::BTreeMap;

use media::TimeDelta;
use wire::ts::mux::Muxer;

use crate::material;

const WRAP: i64 = 1 << 33;
const CLOCK_PID: u16 = 0x100;
const MAP_PID: u16 = 0x1000;

/// A packet taken apart.
#[derive(Debug, Default)]
struct Packet<'a> {
    pid: u16,
    start: bool,
    counter: u8,
    discontinuity: bool,
    random_access: bool,
    /// Ticks of 27 MHz.
    clock: Option<i64>,
    payload: Option<&'a [u8]>,
}

fn parse(bytes: &[u8]) -> Packet<'_> {
    assert_eq!((bytes.len(), bytes[0], bytes[1] & 0xa0, bytes[3] & 0xc0), (188, 0x47, 0, 0));
    let mut packet = Packet {
        pid: u16::from_be_bytes([bytes[1] & 0x1f, bytes[2]]),
        start: bytes[1] & 0x40 != 0,
        counter: bytes[3] & 15,
        ..Packet::default()
    };
    let mut at = 4;
    if bytes[3] & 0x20 != 0 {
        let field = &bytes[5..][..usize::from(bytes[4])];
        at += 1 + field.len();
        if let Some(flags) = field.first() {
            (packet.discontinuity, packet.random_access) = (flags & 0x80 != 0, flags & 0x40 != 0);
            let stuffing = if flags & 0x10 != 0 {
                let bits = field[1..7].iter().fold(0i64, |n, byte| n << 8 | i64::from(*byte));
                assert_eq!(bits >> 9 & 0x3f, 0x3f, "reserved bits");
                packet.clock = Some((bits >> 15) * 300 + (bits & 0x1ff));
                7
            } else {
                1
            };
            assert!(field[stuffing..].iter().all(|byte| *byte == 0xff), "stuffing");
        }
    }
    packet.payload = (bytes[3] & 0x10 != 0).then(|| &bytes[at..]);
    assert!(packet.payload.is_none_or(|payload| !payload.is_empty()));
    packet
}

/// Returns PTS and DTS at the beginning of a PES packet; asserts the form of its header.
fn times(pes: &[u8]) -> (i64, i64) {
    assert_eq!((&pes[..3], pes[6] & 0xf0), (&[0, 0, 1][..], 0x80));
    let time = |at: usize, mark: u8| {
        let bytes = &pes[at..at + 5];
        assert_eq!((bytes[0] >> 4, bytes[0] & 1, bytes[2] & 1, bytes[4] & 1), (mark, 1, 1, 1));
        let [a, b, c, d, e] = [bytes[0] >> 1 & 7, bytes[1], bytes[2] >> 1, bytes[3], bytes[4] >> 1].map(i64::from);
        a << 30 | b << 22 | c << 15 | d << 7 | e
    };
    match pes[7] {
        0x80 => (time(9, 2), time(9, 2)),
        0xc0 => (time(9, 3), time(14, 1)),
        other => panic!("flags {other:x}"),
    }
}

/// Measurements of a stream.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Longest distance between programme clock references, and between tables, in ticks of 90 kHz.
    pub(crate) clock_interval: i64,
    pub(crate) table_interval: i64,
    /// Packets with `discontinuity_indicator`.
    pub(crate) discontinuities: usize,
    /// Access points of video.
    pub(crate) access_points: usize,
    /// Least and most ticks from a reference to the next decoding time.
    pub(crate) lead: Option<(i64, i64)>,
    /// Versions of the map, each once for each run.
    pub(crate) versions: Vec<u8>,
    /// Packets of each PID.
    pub(crate) packets: BTreeMap<u16, usize>,
}

fn distance(from: i64, to: i64) -> i64 {
    let way = (to - from).rem_euclid(WRAP);
    if way < WRAP / 2 { way } else { way - WRAP }
}

/// Checks the stream; intervals are not measured across a discontinuity.
pub(crate) fn check(bytes: &[u8]) -> Report {
    let packets: Vec<_> = bytes.chunks(188).map(parse).collect();
    let mut report = Report::default();
    let mut counters = BTreeMap::new();
    let (mut clock, mut tables, mut waiting) = (None, None, [false; 2]);
    for packet in &packets {
        *report.packets.entry(packet.pid).or_default() += 1;
        report.discontinuities += usize::from(packet.discontinuity);
        let step = u8::from(packet.payload.is_some());
        let before = counters.insert(packet.pid, packet.counter);
        assert!(before.is_none_or(|last: u8| packet.counter == (last + step) & 15), "{packet:?} after {before:?}");
        match (packet.pid, packet.payload) {
            (0, _) => waiting[0] = true,
            (MAP_PID, Some(payload)) => {
                waiting[1] = waiting[0];
                let version = payload[6] >> 1 & 0x1f;
                if report.versions.last() != Some(&version) {
                    report.versions.push(version);
                }
            }
            (_, Some(payload)) if packet.start && payload.starts_with(&[0, 0, 1]) => {
                let (pts, dts) = times(payload);
                if packet.random_access && payload[3] == 0xe0 {
                    assert_eq!(waiting, [true; 2], "tables right before an access point");
                    report.access_points += 1;
                }
                let now = packet.clock.map(|ticks| ticks / 300).or(clock).expect("a reference before any frame");
                let lead = distance(now, dts);
                let (least, most) = report.lead.unwrap_or((lead, lead));
                report.lead = Some((least.min(lead), most.max(lead)));
                assert!(distance(dts, pts) >= 0);
            }
            _ => {}
        }
        if let Some(ticks) = packet.clock.map(|ticks| ticks / 300) {
            assert_eq!(packet.pid, CLOCK_PID);
            if let Some(last) = clock.filter(|_| !packet.discontinuity) {
                let way = distance(last, ticks);
                assert!(way > 0, "the clock runs forward");
                report.clock_interval = report.clock_interval.max(way);
            }
            clock = Some(ticks);
            // Tables have the time of the reference after them.
            if waiting == [true; 2] {
                let last = tables.replace(ticks).filter(|_| !packet.discontinuity);
                report.table_interval = report.table_interval.max(last.map_or(0, |last| distance(last, ticks)));
                waiting = [false; 2];
            } else if packet.discontinuity {
                panic!("tables after a discontinuity");
            }
        }
    }
    report
}

#[test]
fn a_real_clip_keeps_all_intervals() {
    let items = material::avc_aac();
    for delay in [0, 200, 500, 1_000, 2_000] {
        let mut muxer = Muxer::new(TimeDelta::from_millis(delay));
        let bytes = crate::write(&mut muxer, &items).unwrap();
        let report = check(&bytes);
        assert!(report.clock_interval <= 3_600 && report.table_interval <= 9_000, "{report:?}");
        assert_eq!((report.access_points, report.discontinuities, &report.versions[..]), (5, 0, &[0][..]));
        let delay = delay.min(1_000) * 90;
        let (least, most) = report.lead.unwrap();
        assert!(least == delay && most <= delay + 3_600, "{report:?}");
        assert_eq!(muxer.late_frames(), 0);
    }
}

#[test]
fn every_frame_rate_keeps_the_intervals() {
    for (step, audio) in
        [(1_500, 0), (3_003, 0), (3_754, 0), (3_754, 1), (5_750, 0), (6_000, 1), (18_000, 0), (89_000, 1)]
    {
        let mut muxer = Muxer::default();
        let (mut bytes, mut audio_at) = (Vec::new(), 0);
        muxer.add_track(&material::avc()).unwrap();
        muxer.add_track(&material::aac(wire::ts::FIRST_AUDIO_TRACK, b"und")).unwrap();
        for n in 0..100 {
            let dts = n * step;
            while audio > 0 && audio_at < dts {
                muxer.frame(&material::audio(audio_at, 300)).unwrap();
                audio_at += 1_920;
            }
            muxer.frame(&material::video(n % 30 == 0, dts + 2 * step, dts, 2_000)).unwrap();
            crate::drain(&mut muxer, &mut bytes);
        }
        let report = check(&bytes);
        assert!(report.clock_interval <= 3_600 && report.table_interval <= 9_000, "{step}: {report:?}");
        assert_eq!(report.lead.unwrap().0, 45_000, "{step}");
    }
}

#[test]
fn a_programme_without_video_has_its_clock_with_audio() {
    let (mut muxer, mut bytes) = (Muxer::default(), Vec::new());
    muxer.add_track(&material::aac(wire::ts::FIRST_AUDIO_TRACK, b"eng")).unwrap();
    for n in 0..500 {
        muxer.frame(&material::audio(n * 1_920, 371)).unwrap();
        crate::drain(&mut muxer, &mut bytes);
    }
    let report = check(&bytes);
    assert!(report.clock_interval == 1_920 && report.table_interval <= 9_000, "{report:?}");
    assert_eq!(report.lead, Some((45_000, 45_000)));
}
