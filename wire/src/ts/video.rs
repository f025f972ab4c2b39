//! Pictures: access units with their times, and the header that their parameter sets make.

use bytes::Bytes;
use media::codec::{HeaderError, avc, hevc, nal};
use media::{Access, CodecConfig, TimeDelta, Timescale, Timestamp};

use super::packet::{self, PACKET};
use crate::annexb::{self, Assembler, Codec};

/// Bytes of parameter sets kept for one access unit; more are left out.
const MAX_SETS: usize = 16 << 10;
/// Frame rates that a header may mean, in frames a second; others are taken for mistakes.
const RATES: std::ops::RangeInclusive<u64> = 1..=300;
/// How long a picture lasts of which nothing is known.
const USUAL_STEP: TimeDelta = TimeDelta::from_millis(40);
/// No picture lasts longer than this where its time is missing.
const MAX_STEP: TimeDelta = TimeDelta::from_secs(1);

/// Decoding and presentation time of an access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    /// Decoding.
    pub(super) dts: Timestamp,
    /// Presentation.
    pub(super) pts: Timestamp,
}

/// What comes out of a [`Pictures`].
#[derive(Debug)]
pub(super) enum Output {
    /// The frames that follow have another header.
    Config(CodecConfig),
    /// An access unit.
    Frame { payload: Bytes, times: Times, access: Access },
    /// An access unit was not whole, too long or without a time.
    Dropped,
    /// An access unit came before its parameter sets.
    Early,
}

/// Makes access units of one stream.
#[derive(Clone, Debug)]
pub(super) struct Pictures {
    assembler: Assembler<Times>,
    header: Header,
    pace: Pace,
}

impl Pictures {
    /// For a stream of `codec`; memory is taken in blocks of `block` bytes, access units over `limit` bytes are dropped.
    pub(super) fn new(codec: Codec, block: usize, limit: usize) -> Self {
        Self {
            assembler: Assembler::new(codec, block, limit),
            header: Header { codec, sets: Vec::new(), seen: Vec::new(), config: None },
            pace: Pace::default(),
        }
    }

    /// A PES packet begins.
    pub(super) fn begin(&mut self, times: Option<Times>) {
        self.assembler.set_time(times);
    }

    /// Takes bytes of the PES packet.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut impl FnMut(Output)) {
        let Self { assembler, header, pace } = self;
        assembler.push(bytes, &mut |output| take(header, pace, output, out));
    }

    /// Takes the payloads of packets that have nothing else.
    pub(super) fn go_on(&mut self, packets: &[[u8; PACKET]], out: &mut impl FnMut(Output)) {
        let Self { assembler, header, pace } = self;
        go_on(assembler, packets, &mut |output| take(header, pace, output, out));
    }

    /// The stream ends: gives the access unit under way.
    pub(super) fn flush(&mut self, out: &mut impl FnMut(Output)) {
        let Self { assembler, header, pace } = self;
        assembler.flush(&mut |output| take(header, pace, output, out));
    }

    /// Bytes are missing here: drops the access unit under way; true if there was one.
    pub(super) fn lose(&mut self) -> bool {
        self.assembler.lose()
    }

    /// The header in force.
    pub(super) const fn config(&self) -> Option<&CodecConfig> {
        self.header.config.as_ref()
    }
}

fn go_on<T: Copy>(
    assembler: &mut Assembler<T>,
    mut packets: &[[u8; PACKET]],
    out: &mut impl FnMut(annexb::Output<'_, T>),
) {
    while !packets.is_empty() {
        // They are searched headers and all, which are no part of a start code: neither the first byte of one nor its last is
        // in any, and two are left.
        let next = assembler.find(packets.as_flattened()).map_or(packets.len(), |at| at / PACKET);
        let (plain, others) = packets.split_at(next);
        plain.iter().for_each(|packet| assembler.push_plain(packet::body(packet), out));
        packets = others.split_first().map_or(&[], |(packet, behind)| {
            assembler.push(packet::body(packet), out);
            behind
        });
    }
}

fn take(header: &mut Header, pace: &mut Pace, output: annexb::Output<'_, Times>, out: &mut impl FnMut(Output)) {
    match output {
        annexb::Output::Parameters(set) => header.collect(set),
        annexb::Output::Dropped => out(Output::Dropped),
        annexb::Output::Unit(payload, times) => {
            let is_first = header.config.is_none();
            let changed = header.settle();
            // Players keep the parameter sets that they know over a change of init sections: the frame has them too.
            let sets = changed.as_ref().filter(|_| !is_first).map(CodecConfig::parameter_set_units);
            let payload = match sets {
                Some(sets) => [&sets[..], &payload].concat().into(),
                None => payload,
            };
            if let Some(config) = changed {
                out(Output::Config(config));
            }
            let times = pace.times(times, header.config.as_ref());
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

/// The header that the parameter sets make.
#[derive(Clone, Debug)]
struct Header {
    codec: Codec,
    /// Parameter sets since the last access unit, each behind its length; while there is no header, all that were.
    sets: Vec<u8>,
    /// Those that were last found to change nothing more.
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

    /// The header, if the sets collected change it.
    fn settle(&mut self) -> Option<CodecConfig> {
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
            // Of what follows nothing is known then, until sound sets come.
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

/// Finds the times of access units that have none of their own.
#[derive(Clone, Debug, Default)]
struct Pace {
    last: Option<Times>,
    step: Option<TimeDelta>,
}

impl Pace {
    fn times(&mut self, told: Option<Times>, config: Option<&CodecConfig>) -> Option<Times> {
        let times = match (told, self.last) {
            (Some(told), last) => {
                self.step = last
                    .map(|last| told.dts - last.dts)
                    .filter(|step| *step > TimeDelta::ZERO && *step <= MAX_STEP)
                    .or(self.step);
                told
            }
            (None, Some(last)) => {
                let step = config.and_then(nominal).or(self.step).unwrap_or(USUAL_STEP);
                Times { dts: last.dts + step, pts: last.pts + step }
            }
            (None, None) => return None,
        };
        self.last = Some(times);
        Some(times)
    }
}

/// How long a picture lasts by its header.
fn nominal(config: &CodecConfig) -> Option<TimeDelta> {
    let (frames, seconds) = config.frame_rate()?;
    let rate = u64::from(frames).checked_div(seconds.into())?;
    RATES.contains(&rate).then(|| Timescale::new(frames).delta(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Packets whose payloads are full of what start codes and NAL units are made of.
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
        fn packets_at_once_give_what_they_give_one_by_one(packets in packets()) {
            let single = run(|assembler, out| {
                packets.iter().for_each(|packet| assembler.push(packet::body(packet), &mut |output| out(output)));
            });
            prop_assert_eq!(run(|assembler, out| go_on(assembler, &packets, &mut |output| out(output))), single);
        }
    }
}
