//! Video: access units with their times, and the header from their parameter sets.

use bytes::Bytes;
use media::codec::{HeaderError, avc, hevc, nal};
use media::{Access, CodecConfig, TimeDelta, Timestamp};

use super::packet::{self, PACKET};
use crate::annexb::{self, Assembler, Codec};

/// Most bytes of parameter sets kept for one access unit; further ones are dropped.
const MAX_SETS: usize = 16 << 10;
/// Plausible frame rates of a header, in frames per second; others are mistakes.
const RATES: std::ops::RangeInclusive<u64> = 1..=300;
/// Frame duration if nothing is known.
const DEFAULT_FRAME_DURATION: TimeDelta = TimeDelta::from_millis(40);
/// Longest frame duration used for a missing timestamp.
const MAX_FRAME_DURATION: TimeDelta = TimeDelta::from_secs(1);

/// Decoding and presentation time of an access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    /// Decoding time.
    pub(super) dts: Timestamp,
    /// Presentation time.
    pub(super) pts: Timestamp,
}

/// Output of a [`VideoFramer`].
#[derive(Debug)]
pub(super) enum Output {
    /// Header of the frames that follow.
    Config(CodecConfig),
    /// An access unit.
    Frame { payload: Bytes, times: Times, access: Access },
    /// An access unit was incomplete, too long or without a time.
    Dropped,
    /// An access unit arrived before its parameter sets.
    Early,
}

/// Assembles the access units of one stream.
#[derive(Clone, Debug)]
pub(super) struct VideoFramer {
    assembler: Assembler<Times>,
    header: Header,
    timing: FrameTiming,
}

impl VideoFramer {
    /// Creates a framer that allocates blocks of `block` bytes and drops access units longer than `limit` bytes.
    pub(super) fn new(codec: Codec, block: usize, limit: usize) -> Self {
        Self {
            assembler: Assembler::new(codec, block, limit),
            header: Header { codec, sets: Vec::new(), seen: Vec::new(), config: None },
            timing: FrameTiming::default(),
        }
    }

    /// Begins a PES packet with these [`Times`].
    pub(super) fn begin(&mut self, times: Option<Times>) {
        self.assembler.set_time(times);
    }

    /// Takes payload of the PES packet.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut impl FnMut(Output)) {
        let Self { assembler, header, timing } = self;
        assembler.push(bytes, &mut |output| take(header, timing, output, out));
    }

    /// Takes a run of packets that consist of payload.
    pub(super) fn push_run(&mut self, packets: &[[u8; PACKET]], out: &mut impl FnMut(Output)) {
        let Self { assembler, header, timing } = self;
        push_run(assembler, packets, &mut |output| take(header, timing, output, out));
    }

    /// Ends the stream and outputs the current access unit.
    pub(super) fn flush(&mut self, out: &mut impl FnMut(Output)) {
        let Self { assembler, header, timing } = self;
        assembler.flush(&mut |output| take(header, timing, output, out));
    }

    /// Drops the current access unit because bytes are missing; returns whether there was one.
    pub(super) fn lose(&mut self) -> bool {
        self.assembler.lose()
    }

    /// Returns the [`CodecConfig`] in force.
    pub(super) const fn config(&self) -> Option<&CodecConfig> {
        self.header.config.as_ref()
    }
}

fn push_run<T: Copy>(
    assembler: &mut Assembler<T>,
    mut packets: &[[u8; PACKET]],
    out: &mut impl FnMut(annexb::Output<'_, T>),
) {
    while !packets.is_empty() {
        // Packets are searched with their headers. These contain no part of a start code: neither their first byte nor
        // their last is in any, and only two are left.
        let next = assembler.find(packets.as_flattened()).map_or(packets.len(), |at| at / PACKET);
        let (plain, others) = packets.split_at(next);
        plain.iter().for_each(|packet| assembler.push_plain(packet::body(packet), out));
        packets = others.split_first().map_or(&[], |(packet, tail)| {
            assembler.push(packet::body(packet), out);
            tail
        });
    }
}

fn take(
    header: &mut Header,
    timing: &mut FrameTiming,
    output: annexb::Output<'_, Times>,
    out: &mut impl FnMut(Output),
) {
    match output {
        annexb::Output::Parameters(set) => header.collect(set),
        annexb::Output::Dropped => out(Output::Dropped),
        annexb::Output::Unit(payload, times) => {
            let is_first = header.config.is_none();
            let changed = header.update();
            // Players keep the parameter sets that they know across a change of init sections, so the frame contains
            // them too.
            let sets = changed.as_ref().filter(|_| !is_first).map(CodecConfig::parameter_set_units);
            let payload = match sets {
                Some(sets) => [&sets[..], &payload].concat().into(),
                None => payload,
            };
            if let Some(config) = changed {
                out(Output::Config(config));
            }
            let times = timing.times(times, header.config.as_ref());
            out(match (&header.config, times) {
                (None, _) => Output::Early,
                (_, None) => Output::Dropped,
                (Some(config), Some(times)) => {
                    let access = config.access(&payload);
                    Output::Frame { payload, times, access }
                }
            });
        }
    }
}

/// The header from the parameter sets.
#[derive(Clone, Debug)]
struct Header {
    codec: Codec,
    /// Parameter sets since the last access unit, with length prefixes; as long as there is no header, all of them.
    sets: Vec<u8>,
    /// Parameter sets that were last found to change nothing more.
    seen: Vec<u8>,
    config: Option<CodecConfig>,
}

impl Header {
    fn collect(&mut self, set: &[u8]) {
        let known = self.config.is_none() && nal::units(&self.sets, 4).any(|other| other == set);
        if known || self.sets.len() + 4 + set.len() > MAX_SETS {
            return;
        }
        // Bounded by the line above.
        self.sets.extend((set.len() as u32).to_be_bytes());
        self.sets.extend_from_slice(set);
    }

    /// Returns the header if the collected parameter sets change it.
    fn update(&mut self) -> Option<CodecConfig> {
        if self.sets.is_empty() || (self.config.is_some() && self.sets == self.seen) {
            self.sets.clear();
            return None;
        }
        let changed = match &self.config {
            Some(config) => config.changed_by(&self.sets),
            None => self.first().map(Some),
        };
        match changed {
            Ok(changed) => {
                std::mem::swap(&mut self.sets, &mut self.seen);
                self.sets.clear();
                self.config = changed.clone().or(self.config.take());
                changed
            }
            // Then nothing is known of the frames that follow, until valid parameter sets arrive.
            Err(_) => {
                if self.config.take().is_some() || self.sets.len() > MAX_SETS / 2 {
                    self.sets.clear();
                }
                None
            }
        }
    }

    fn first(&self) -> Result<CodecConfig, HeaderError> {
        let of = |kind: u8| -> Vec<Bytes> {
            let sets = nal::units(&self.sets, 4).filter(|set| match self.codec {
                Codec::Avc => avc::nal_type(set) == Some(kind),
                Codec::Hevc => hevc::nal_type(set) == Some(kind),
            });
            sets.map(Bytes::copy_from_slice).collect()
        };
        Ok(match self.codec {
            Codec::Avc => CodecConfig::Avc(avc::Config::from_parameter_sets(&of(7), &of(8))?),
            Codec::Hevc => CodecConfig::Hevc(hevc::Config::from_parameter_sets(&of(32), &of(33), &of(34))?),
        })
    }
}

/// Derives the times of access units that have none of their own.
#[derive(Clone, Debug, Default)]
struct FrameTiming {
    last: Option<Times>,
    step: Option<TimeDelta>,
}

impl FrameTiming {
    fn times(&mut self, signalled: Option<Times>, config: Option<&CodecConfig>) -> Option<Times> {
        let times = match (signalled, self.last) {
            (Some(signalled), last) => {
                self.step = last
                    .map(|last| signalled.dts - last.dts)
                    .filter(|step| *step > TimeDelta::ZERO && *step <= MAX_FRAME_DURATION)
                    .or(self.step);
                signalled
            }
            (None, Some(last)) => {
                let step = config.and_then(nominal).or(self.step).unwrap_or(DEFAULT_FRAME_DURATION);
                Times { dts: last.dts + step, pts: last.pts + step }
            }
            (None, None) => return None,
        };
        self.last = Some(times);
        Some(times)
    }
}

/// Returns the frame duration by the header, if it is plausible.
fn nominal(config: &CodecConfig) -> Option<TimeDelta> {
    let (frames, seconds) = config.frame_rate()?;
    let rate = u64::from(frames).checked_div(seconds.into())?;
    config.frame_duration().filter(|_| RATES.contains(&rate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns packets with payloads of bytes that start codes and NAL units consist of.
    fn packets() -> impl Strategy<Value = Vec<[u8; PACKET]>> {
        let byte = prop_oneof![6 => Just(0), 3 => Just(1), 1 => proptest::sample::select(vec![0x09, 0x41, 0x65, 0x80])];
        let packet = (any::<u8>(), proptest::collection::vec(byte, PACKET)).prop_map(|(counter, bytes)| {
            let mut packet: [u8; PACKET] = bytes.try_into().unwrap();
            [packet[0], packet[3]] = [0x47, 0x10 | counter & 0x0f];
            packet
        });
        proptest::collection::vec(packet, 1..6)
    }

    fn run(push: impl FnOnce(&mut Assembler<u8>, &mut dyn FnMut(annexb::Output<'_, u8>))) -> Vec<String> {
        let (mut assembler, mut got) = (Assembler::new(Codec::Avc, 256, 500), Vec::new());
        assembler.set_time(Some(1));
        push(&mut assembler, &mut |output| got.push(format!("{output:?}")));
        assembler.flush(&mut |output| got.push(format!("{output:?}")));
        got
    }

    proptest! {
        #[test]
        fn packets_at_once_give_the_same_as_one_by_one(packets in packets()) {
            let single = run(|assembler, out| {
                packets.iter().for_each(|packet| assembler.push(packet::body(packet), &mut |output| out(output)));
            });
            prop_assert_eq!(run(|assembler, out| push_run(assembler, &packets, &mut |output| out(output))), single);
        }
    }
}
