//! A reader of ISO BMFF, independent of the packager, for the boxes that the tests check.

/// One `moof`. Times are in the track's timescale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub decode_time: u64,
    pub duration: u64,
    pub samples: u32,
    /// True if decoding may start with its first sample.
    pub independent: bool,
}

/// Returns the type and the body of each child of a box body.
fn boxes(bytes: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let size = u32_at(rest, 0) as usize;
        assert!(size >= 8 && size <= rest.len(), "box of {size} bytes in {} bytes", rest.len());
        found.push((&rest[4..8], &rest[8..size]));
        rest = &rest[size..];
    }
    found
}

fn child<'a>(bytes: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |body, kind| {
        boxes(body).into_iter().find(|(found, _)| *found == kind.as_slice()).map(|(_, body)| body)
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Returns the timescale of the only track of an init section.
pub(crate) fn timescale(init: &[u8]) -> u32 {
    let mdhd = child(init, &[b"moov", b"trak", b"mdia", b"mdhd"]).expect("an init section has an mdhd");
    if mdhd[0] == 1 { u32_at(mdhd, 20) } else { u32_at(mdhd, 12) }
}

/// An event message (`emsg`), which carries timed metadata.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EventMessage {
    pub id: u32,
    /// Presentation time, in seconds.
    pub at: f64,
}

/// Returns the event messages of a part or segment, in order.
pub(crate) fn event_messages(bytes: &[u8]) -> Vec<EventMessage> {
    let events = boxes(bytes).into_iter().filter(|(kind, _)| *kind == b"emsg").map(|(_, event)| event);
    let parse = |event: &[u8]| {
        assert_eq!(event[0], 1, "version 1, with a time on the presentation timeline");
        EventMessage { id: u32_at(event, 20), at: u64_at(event, 8) as f64 / f64::from(u32_at(event, 4)) }
    };
    events.map(parse).collect()
}

/// Returns the fragments of a part or segment, in order.
pub(crate) fn fragments(bytes: &[u8]) -> Vec<Fragment> {
    let moofs = boxes(bytes).into_iter().filter(|(kind, _)| *kind == b"moof");
    moofs.map(|(_, moof)| fragment(moof)).collect()
}

fn fragment(moof: &[u8]) -> Fragment {
    let traf = child(moof, &[b"traf"]).expect("a moof has a traf");
    let tfhd = child(traf, &[b"tfhd"]).expect("a traf has a tfhd");
    let tfdt = child(traf, &[b"tfdt"]).expect("a traf has a tfdt");
    let decode_time = if tfdt[0] == 1 { u64_at(tfdt, 4) } else { u64::from(u32_at(tfdt, 4)) };
    let default_duration = default_duration(tfhd);
    // A fragment without samples has a duration of its own (`duration-is-empty`).
    let empty = u32_at(tfhd, 0) & 0x01_0000 != 0;
    let (mut duration, mut samples) = (if empty { default_duration.map_or(0, u64::from) } else { 0 }, 0);
    let first = child(traf, &[b"trun"]).and_then(|trun| first_flags(trun, default_flags(tfhd)));
    for (_, trun) in boxes(traf).into_iter().filter(|(kind, _)| *kind == b"trun") {
        let durations = durations(trun, default_duration);
        samples += u32::try_from(durations.len()).expect("few samples");
        duration += durations.iter().map(|one| u64::from(*one)).sum::<u64>();
    }
    let independent = samples > 0 && first.is_none_or(|flags| flags & NON_SYNC == 0);
    Fragment { decode_time, duration, samples, independent }
}

/// `sample_is_non_sync_sample`.
const NON_SYNC: u32 = 0x1_0000;

/// Returns the default flags of samples.
fn default_flags(tfhd: &[u8]) -> Option<u32> {
    let flags = u32_at(tfhd, 0) & 0x00ff_ffff;
    let before = [(0x1, 8), (0x2, 4), (0x8, 4), (0x10, 4)];
    let at = 8 + before.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, width)| width).sum::<usize>();
    (flags & 0x20 != 0).then(|| u32_at(tfhd, at))
}

/// Returns the flags of the first sample.
fn first_flags(trun: &[u8], default: Option<u32>) -> Option<u32> {
    let flags = u32_at(trun, 0) & 0x00ff_ffff;
    let start = 8 + if flags & 0x1 != 0 { 4 } else { 0 };
    if flags & 0x4 != 0 {
        return Some(u32_at(trun, start));
    }
    let before = [0x100, 0x200].iter().filter(|bit| flags & **bit != 0).count() * 4;
    if flags & 0x400 != 0 { Some(u32_at(trun, start + before)) } else { default }
}

/// Returns the codec of the only track of an init section as CODECS has it; for codecs other than AVC, the sample entry
/// alone.
pub(crate) fn codec(init: &[u8]) -> String {
    let stsd =
        child(init, &[b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"]).expect("an init section has an stsd");
    let (kind, body) = boxes(&stsd[8..])[0];
    let name = String::from_utf8_lossy(kind).into_owned();
    let avcc = (name == "avc1").then(|| child(&body[78..], &[b"avcC"]).expect("a record"));
    avcc.map_or(name, |avcc| format!("avc1.{:02X}{:02X}{:02X}", avcc[1], avcc[2], avcc[3]))
}

/// Returns the default sample duration of a `tfhd`.
fn default_duration(tfhd: &[u8]) -> Option<u32> {
    let flags = u32_at(tfhd, 0) & 0x00ff_ffff;
    // base_data_offset and sample_description_index precede it if they are present.
    let at = 8 + if flags & 0x1 != 0 { 8 } else { 0 } + if flags & 0x2 != 0 { 4 } else { 0 };
    (flags & 0x8 != 0).then(|| u32_at(tfhd, at))
}

fn durations(trun: &[u8], default: Option<u32>) -> Vec<u32> {
    let flags = u32_at(trun, 0) & 0x00ff_ffff;
    let count = u32_at(trun, 4) as usize;
    let start = 8 + if flags & 0x1 != 0 { 4 } else { 0 } + if flags & 0x4 != 0 { 4 } else { 0 };
    let width = [0x100, 0x200, 0x400, 0x800].iter().filter(|bit| flags & **bit != 0).count() * 4;
    let own = |index: usize| u32_at(trun, start + index * width);
    let any = |index: usize| if flags & 0x100 != 0 { own(index) } else { default.expect("a duration for the sample") };
    (0..count).map(any).collect()
}
