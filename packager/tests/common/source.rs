//! Synthetic frames: GOPs, frame rates, reordering and millisecond clocks of all kinds.

use bytes::Bytes;
use media::codec::{aac, avc};
use media::{
    Access, CodecConfig, Frame, Language, LatencyMode, TimeDelta, Timescale, Timestamp, Track, TrackId, WallTime,
};
use packager::log::{Event, LogWriter};
use packager::{Config, Packager};

pub const VIDEO: TrackId = TrackId(1);
pub const AUDIO: TrackId = TrackId(2);

/// The `n`th audio track, from 0.
pub fn audio_id(n: u32) -> TrackId {
    TrackId(AUDIO.0 + n)
}

/// 2026-11-21T08:00:00Z.
pub const EPOCH: i64 = 1_795_248_000_000;

// x264, 1280x720 at 30 frames a second, High profile, level 3.1.
const SPS: [u8; 25] = [
    0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00,
    0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19,
];

pub fn video_track() -> Track {
    let mut record = vec![1, SPS[1], SPS[2], SPS[3], 0xff, 0xe1, 0, SPS.len() as u8];
    record.extend_from_slice(&SPS);
    record.extend_from_slice(&[1, 0, 4, 0x68, 0xeb, 0xe3, 0xcb]);
    Track::new(VIDEO, CodecConfig::Avc(avc::Config::parse(record.into()).unwrap()))
}

/// The same video with another picture parameter set.
pub fn other_video_track() -> Track {
    let CodecConfig::Avc(avc) = video_track().codec else { unreachable!() };
    let mut record = avc.record.to_vec();
    *record.last_mut().unwrap() ^= 1;
    Track::new(VIDEO, CodecConfig::Avc(avc::Config::parse(record.into()).unwrap()))
}

pub fn audio_track(rate: u32) -> Track {
    let asc: &[u8] = match rate {
        48_000 => &[0x11, 0x90],
        44_100 => &[0x12, 0x10],
        22_050 => &[0x13, 0x90],
        _ => panic!("no configuration for {rate} Hz"),
    };
    Track::new(AUDIO, CodecConfig::Aac(aac::Config::parse(Bytes::copy_from_slice(asc)).unwrap()))
}

/// The track of a dependent rendition.
pub fn dependent_id(n: u32) -> TrackId {
    TrackId(100 + n)
}

/// A dependent rendition of another size, Baseline without a frame rate.
pub fn dependent_track(n: u32, width: u32, height: u32) -> Track {
    // Parameter set 0, frame numbers of four bits, frames in decoding order, one reference.
    let mut bits: String = [0, 0, 2, 1].map(exp_golomb).concat();
    let blocks = |side: u32| side.div_ceil(16);
    bits += "0";
    bits += &exp_golomb(blocks(width) - 1);
    bits += &exp_golomb(blocks(height) - 1);
    bits += "111";
    for crop in [0, blocks(width) * 16 - width, 0, blocks(height) * 16 - height] {
        bits += &exp_golomb(crop / 2);
    }
    bits += "01";
    let mut sps = vec![0x67, 66, 0xc0, 30];
    for byte in bits.as_bytes().chunks(8) {
        let byte = format!("{:0<8}", std::str::from_utf8(byte).unwrap());
        sps.push(u8::from_str_radix(&byte, 2).unwrap());
    }
    let mut record = vec![1, sps[1], sps[2], sps[3], 0xff, 0xe1, 0, sps.len() as u8];
    record.extend_from_slice(&sps);
    record.extend_from_slice(&[1, 0, 4, 0x68, 0xce, 0x3c, 0x80]);
    let avc = avc::Config::parse(record.into()).unwrap();
    assert_eq!((avc.sps.width, avc.sps.height), (width, height));
    Track::new(dependent_id(n), CodecConfig::Avc(avc))
}

fn exp_golomb(value: u32) -> String {
    let code = format!("{:b}", value + 1);
    "0".repeat(code.len() - 1) + &code
}

/// The same frames in a dependent rendition, each `more` bytes larger.
pub fn on_dependent(n: u32, more: usize, frames: &[Frame]) -> Vec<Frame> {
    let coded = |frame: &Frame| [frame.payload.as_ref(), &vec![b'r'; more]].concat().into();
    frames.iter().map(|frame| Frame { track: dependent_id(n), payload: coded(frame), ..frame.clone() }).collect()
}

/// Another audio track with a language.
pub fn audio_track_in(n: u32, rate: u32, language: &[u8; 3]) -> Track {
    Track { id: audio_id(n), language: Language::new(*language), ..audio_track(rate) }
}

/// A synthetic video stream.
#[derive(Clone)]
pub struct Video {
    /// Frames in `per` seconds.
    pub frames: u32,
    pub per: u32,
    /// GOP lengths in milliseconds, used in turn.
    pub gops: Vec<i64>,
    /// Two B-frames between P-frames, when set.
    pub reorder: bool,
    /// All GOPs but the first are open: B-frames that need the GOP before are presented before the I-frame. With `reorder`, at 1,
    /// 4, 7 frames and so on from the start.
    pub open: bool,
    /// Timestamps in whole milliseconds, as RTMP has them.
    pub millis: bool,
    pub start: i64,
    pub length: i64,
}

impl Default for Video {
    fn default() -> Self {
        Self {
            frames: 30,
            per: 1,
            gops: vec![1_000],
            reorder: false,
            open: false,
            millis: true,
            start: 0,
            length: 20_000,
        }
    }
}

impl Video {
    pub fn make(&self) -> Vec<Frame> {
        let scale = Timescale::new(self.frames);
        let step = i64::from(self.per);
        let mut out = Vec::new();
        let mut gops = self.gops.iter().cycle();
        let mut next_key = TimeDelta::ZERO;
        let mut since_key = 0;
        for n in 0.. {
            let at = scale.delta(n * step);
            if at >= TimeDelta::from_millis(self.length) {
                break;
            }
            // Half a millisecond: a GOP of whole frames is meant even where rounding says otherwise.
            let key = at + TimeDelta::from_millis(1) > next_key;
            if key {
                next_key += TimeDelta::from_millis(*gops.next().unwrap());
                since_key = 0;
            }
            // Decode order I P B B P B B: P is presented three later than the DTS grid, B one earlier than its place.
            let open = key && self.open && n > 0;
            let presented = match (self.reorder, since_key % 3) {
                (false, _) => n,
                (true, _) if open => {
                    since_key = 1;
                    n + 3
                }
                (true, _) if key => n + 1,
                (true, 1) => n + 3,
                (true, _) => n,
            };
            since_key += 1;
            out.push(Frame {
                track: VIDEO,
                dts: self.stamp(scale.delta(n * step)),
                pts: self.stamp(scale.delta(presented * step)),
                access: if open { Access::Open } else { Access::independent_if(key) },
                payload: payload(b'v', n),
            });
        }
        out
    }

    fn stamp(&self, at: TimeDelta) -> Timestamp {
        let at = Timestamp::ZERO + TimeDelta::from_millis(self.start) + at;
        if self.millis { Timescale::MILLIS.timestamp(Timescale::MILLIS.ticks(at)) } else { at }
    }
}

/// An audio stream on its grid.
pub fn audio(rate: u32, start: i64, length: i64) -> Vec<Frame> {
    let scale = Timescale::new(rate);
    let first = scale.ticks(Timestamp::ZERO + TimeDelta::from_millis(start));
    let frames = TimeDelta::from_millis(length).whole(scale.delta(1_024));
    let frame = |n| {
        let at = scale.timestamp(first + n * 1_024);
        Frame { track: AUDIO, dts: at, pts: at, access: Access::Independent, payload: payload(b'a', n) }
    };
    (0..frames).map(frame).collect()
}

/// The same frames in another audio track.
pub fn on_track(n: u32, frames: Vec<Frame>) -> Vec<Frame> {
    frames.into_iter().map(|frame| Frame { track: audio_id(n), ..frame }).collect()
}

fn payload(kind: u8, n: i64) -> Bytes {
    let mut bytes = vec![kind; 9 + (n % 7) as usize];
    bytes[1..9].copy_from_slice(&n.to_be_bytes());
    bytes.into()
}

/// Interleaves by decode time, as a good encoder does.
pub fn mux(streams: impl IntoIterator<Item = Vec<Frame>>) -> Vec<Frame> {
    let mut all: Vec<_> = streams.into_iter().flatten().collect();
    all.sort_by_key(|f| f.dts);
    all
}

/// A packager, the frames it was given, and its events.
pub struct Fed {
    pub packager: Packager,
    /// Completes the events, as readers get them.
    pub log: LogWriter,
    pub events: Vec<Event>,
    pub pushed: Vec<Frame>,
}

impl Fed {
    pub fn new(mode: LatencyMode, tracks: &[Track]) -> Self {
        let mut packager = Packager::new(Config { mode, ..Config::default() });
        tracks.iter().for_each(|t| packager.add_track(t.clone()).unwrap());
        Self { packager, log: LogWriter::new(), events: Vec::new(), pushed: Vec::new() }
    }

    /// Pushes the frames as if each arrived at its decode time.
    pub fn push(&mut self, frames: Vec<Frame>) -> &mut Self {
        for frame in frames {
            let arrival = WallTime::from_unix_millis(EPOCH).shifted(frame.dts - Timestamp::ZERO);
            self.pushed.push(frame.clone());
            self.packager.push(frame, arrival).unwrap();
            self.drain();
        }
        self
    }

    pub fn discontinuity(&mut self) -> &mut Self {
        self.packager.discontinuity().unwrap();
        self.drain();
        self
    }

    pub fn add_track(&mut self, track: Track) -> &mut Self {
        self.packager.add_track(track).unwrap();
        self.drain();
        self
    }

    pub fn add_rendition(&mut self, dependent: u32, track: Track) -> &mut Self {
        self.packager.add_rendition(dependent, track).unwrap();
        self.drain();
        self
    }

    pub fn drop_rendition(&mut self, dependent: u32) -> &mut Self {
        self.packager.drop_rendition(dependent).unwrap();
        self.drain();
        self
    }

    pub fn end(&mut self) -> &mut Self {
        self.packager.end().unwrap();
        self.drain();
        self
    }

    fn drain(&mut self) {
        while let Some(event) = self.packager.poll() {
            self.events.push(self.log.append(event).event);
        }
    }
}

/// Packages a whole broadcast of up to one video and one audio stream.
pub fn package(mode: LatencyMode, video: Option<&Video>, audio_rate: Option<u32>) -> Fed {
    let tracks: Vec<_> = video.map(|_| video_track()).into_iter().chain(audio_rate.map(audio_track)).collect();
    let length = video.map_or(20_000, |v| v.length);
    let audio = audio_rate.map(|rate| audio(rate, 0, length)).unwrap_or_default();
    let mut fed = Fed::new(mode, &tracks);
    fed.push(mux([video.map(Video::make).unwrap_or_default(), audio])).end();
    fed
}
