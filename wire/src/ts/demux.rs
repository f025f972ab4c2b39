//! The demuxer: packets to their streams, tables to the set of streams.

use std::fmt;

use media::{Timestamp, TrackId};

use super::clock::Clock;
use super::faults::{MAX_LEFT_OUT, Reported};
use super::left_out::{LeftOut, Obstacle, Reason, Tables};
use super::packet::{self, NULL_PID, PACKET, PIDS, Packet};
use super::psi::{self, Content, Entry, Map};
use super::stream::{Context, Stream};
use super::sync::{Found, Sync};
use super::{Limits, Stats};
use crate::Item;
use crate::error::{Error, Place};

/// The PID of the programme association table.
const PAT_PID: u16 = 0;
/// Counters have four bits.
const COUNTER_MASK: u8 = 0x0f;
/// As many PIDs as a slot can number.
const MAX_PIDS: usize = 255;
/// The track of pictures.
pub const VIDEO_TRACK: TrackId = TrackId(1);
/// The first of the tracks of sound.
pub const FIRST_AUDIO_TRACK: TrackId = TrackId(2);

/// Takes an MPEG transport stream apart, cut anywhere and joined anywhere: the first programme of its tables.
///
/// What is damaged or lost is dropped and counted, never handed out.
#[derive(Clone, Debug)]
pub struct Demuxer {
    sync: Sync,
    /// Bytes taken so far.
    taken: u64,
    core: Core,
}

/// All behind the grid of packets.
#[derive(Clone, Debug)]
struct Core {
    limits: Limits,
    stats: Stats,
    slots: Slots,
    pids: Vec<Pid>,
    clock: Clock,
    clock_pid: Option<u16>,
    reference: Option<Timestamp>,
    /// Number of the programme and the PID of its map.
    programme: Option<(u16, u16)>,
    /// CRCs of the tables in force.
    association: Option<u32>,
    map: Option<u32>,
    /// Streams left out, those reported included; [`MAX_LEFT_OUT`] bounds them.
    left_out: Vec<LeftOut>,
    reported: Reported,
}

/// Where in [`Core::pids`] each PID is, plus one; 0 for those that are not followed.
#[derive(Clone)]
struct Slots(Box<[u8; PIDS]>);

/// A PID that is followed.
#[derive(Clone, Debug)]
struct Pid {
    pid: u16,
    /// Counter of the last packet with a payload.
    counter: Option<u8>,
    /// What that packet looked like.
    print: u64,
    role: Role,
}

#[derive(Clone, Debug)]
enum Role {
    /// Programme association or map.
    Table(psi::Assembler),
    Stream(Box<Stream>),
}

impl Demuxer {
    /// A demuxer that has seen nothing yet.
    pub fn new(limits: Limits) -> Self {
        let mut core = Core {
            limits,
            stats: Stats::default(),
            slots: Slots(Box::new([0; PIDS])),
            pids: Vec::new(),
            clock: Clock::default(),
            clock_pid: None,
            reference: None,
            programme: None,
            association: None,
            map: None,
            left_out: Vec::new(),
            reported: Reported::default(),
        };
        core.follow(PAT_PID, Role::Table(psi::Assembler::default()));
        Self { sync: Sync::default(), taken: 0, core }
    }

    /// Takes the next bytes and appends what they mean to `items`. An error says that this is no transport stream.
    pub fn push(&mut self, bytes: &[u8], items: &mut Vec<Item>) -> Result<(), Error> {
        let Self { sync, core, .. } = self;
        sync.push(bytes, &mut |found| core.found(found, items));
        self.taken = self.taken.saturating_add(bytes.len() as u64);
        let (value, limit) = (self.sync.passed(), self.core.limits.unsynced);
        if value > limit {
            let place = Place::new("ts", self.taken, "bytes without packets");
            return Err(Error::Limit { place, value: value as u64, limit: limit as u64 });
        }
        Ok(())
    }

    /// The stream ends here: appends the access units that were waiting for the beginning of the next.
    pub fn finish(&mut self, items: &mut Vec<Item>) {
        let Self { sync, core, .. } = self;
        sync.finish(&mut |found| core.found(found, items));
        for pid in 0..core.pids.len() {
            core.end_stream(pid, items);
        }
    }

    /// What was counted so far.
    pub const fn stats(&self) -> &Stats {
        &self.core.stats
    }

    /// Appends reports of what was repaired, dropped or left out since the last call. They are no part of what
    /// [`Self::push`] gives, because one report sums up all that one call of this finds.
    pub fn report(&mut self, items: &mut Vec<Item>) {
        let Core { stats, left_out, reported, .. } = &mut self.core;
        let out = &mut |report| items.push(Item::Fault(report));
        reported.counted(stats, out);
        reported.left_out(left_out, out);
        let unusable = self.core.streams().filter_map(Stream::unusable);
        let unusable = unusable.map(|(track, error)| (track, error.to_string())).collect();
        self.core.reported.unusable(unusable, out);
    }

    /// Why no frame has come; asked when one should have.
    pub fn obstacle(&self) -> Obstacle {
        let Core { stats, association, map, left_out, .. } = &self.core;
        let tables = Tables {
            association: association.is_some(),
            map: map.is_some(),
            followed: self.core.streams().any(|stream| stream.is_track()),
            left_out: left_out.first().copied(),
            unusable: self.core.streams().find_map(Stream::unusable).map(|(_, error)| error.clone()),
        };
        Obstacle::find(stats, &tables)
    }

    /// The programme's last clock reference, on the timeline of its frames.
    pub const fn clock_reference(&self) -> Option<Timestamp> {
        self.core.reference
    }

    /// Bytes from packet to packet, once that is known: 188, 192 or 204.
    pub fn packet_size(&self) -> Option<usize> {
        self.sync.stride()
    }
}

impl Core {
    fn found(&mut self, found: Found<'_>, items: &mut Vec<Item>) {
        match found {
            Found::Packets(packets) => self.packets(packets, items),
            Found::Lost => {
                self.stats.resyncs += 1;
                // As many packets may be missing as counters count.
                for pid in &mut self.pids {
                    pid.counter = None;
                    pid.lose(&mut self.stats);
                }
            }
        }
    }

    fn packets(&mut self, mut packets: &[[u8; PACKET]], items: &mut Vec<Item>) {
        while let Some((first, behind)) = packets.split_first() {
            let row = self.row(first, packets, items);
            packets = packets.get(row..).unwrap_or_default();
            if row == 0 {
                self.packet(first, items);
                packets = behind;
            }
        }
    }

    /// Takes the packets in front that do nothing but go on with one stream, as most do, all at once; gives their number.
    fn row(&mut self, first: &[u8; PACKET], packets: &[[u8; PACKET]], items: &mut Vec<Item>) -> usize {
        let slot = usize::from(self.slots.get(packet::pid(first)));
        let Some(Pid { pid, counter: Some(counter), print: last, role: Role::Stream(stream) }) =
            slot.checked_sub(1).and_then(|at| self.pids.get_mut(at))
        else {
            return 0;
        };
        let counters = (1..=COUNTER_MASK + 1).cycle().map(|n| counter.wrapping_add(n) & COUNTER_MASK);
        let row = packets.iter().zip(counters).take_while(|(packet, counter)| packet::goes_on(packet, *pid, *counter));
        let (row, _) = packets.split_at(row.count());
        let Some(newest) = row.last() else { return 0 };
        (*counter, *last) = (packet::counter(newest), print(packet::body(newest)));
        self.stats.packets += row.len() as u64;
        let Self { limits, stats, clock, .. } = self;
        stream.go_on(row, &mut Context { limits, stats, clock, items });
        row.len()
    }

    fn packet(&mut self, bytes: &[u8; PACKET], items: &mut Vec<Item>) {
        self.stats.packets += 1;
        // The counter of the next packet shows that one was dropped.
        let Some(packet) = Packet::parse(bytes).filter(|packet| !packet.damaged) else {
            self.stats.damaged_packets += 1;
            return;
        };
        if packet.pid == NULL_PID {
            self.stats.null_packets += 1;
            return;
        }
        if let Some(ticks) = packet.pcr.filter(|_| self.clock_pid == Some(packet.pid)) {
            self.stats.clock_references += 1;
            self.reference = Some(self.clock.reference(ticks));
        }
        let slot = usize::from(self.slots.get(packet.pid));
        let Some(pid) = slot.checked_sub(1).and_then(|at| self.pids.get_mut(at)) else {
            self.stats.unknown_packets += 1;
            return;
        };
        let Some(payload) = packet.payload else {
            if packet.discontinuity {
                pid.counter = Some(packet.counter);
            }
            return;
        };
        if !pid.follows(&packet, payload, &mut self.stats) {
            return;
        }
        if packet.scrambled {
            self.stats.scrambled_packets += 1;
            pid.lose(&mut self.stats);
            return;
        }
        match &mut pid.role {
            Role::Stream(stream) => {
                let Self { limits, stats, clock, .. } = self;
                stream.push(payload, packet.start, &mut Context { limits, stats, clock, items });
            }
            Role::Table(assembler) => {
                let mut sections = Vec::new();
                let take = &mut |section: &[u8]| sections.push(section.to_vec());
                self.stats.oversized_sections += assembler.push(payload, packet.start, self.limits.section, take);
                for section in sections {
                    self.section(packet.pid, &section, items);
                }
            }
        }
    }

    /// A whole section of a table.
    fn section(&mut self, pid: u16, section: &[u8], items: &mut Vec<Item>) {
        let Some(crc) = psi::checked(section) else {
            self.stats.bad_crc += 1;
            return;
        };
        if pid == PAT_PID && self.association != Some(crc) {
            let Some(programme) = psi::first_programme(section) else { return };
            self.association = Some(crc);
            self.set_programme(programme, items);
        } else if let Some((number, map)) = self.programme
            && map == pid
            && self.map != Some(crc)
        {
            let Some(map) = psi::map(section, number) else { return };
            self.map = Some(crc);
            self.set_map(&map, items);
        }
    }

    fn set_programme(&mut self, programme: (u16, u16), items: &mut Vec<Item>) {
        if self.programme == Some(programme) || matches!(programme.1, PAT_PID | NULL_PID) {
            return;
        }
        if let Some((_, old)) = self.programme {
            self.unfollow(old, items);
        }
        self.unfollow(programme.1, items);
        (self.programme, self.map) = (Some(programme), None);
        self.follow(programme.1, Role::Table(psi::Assembler::default()));
    }

    /// Makes the streams those of `map`. One that stays goes on as it was.
    fn set_map(&mut self, map: &Map, items: &mut Vec<Item>) {
        self.clock_pid = Some(map.clock_pid);
        let entries = self.wanted(map);
        let gone: Vec<u16> = self
            .pids
            .iter()
            .filter_map(|pid| {
                let Role::Stream(stream) = &pid.role else { return None };
                let stays = entries.iter().any(|(entry, content)| entry.pid == pid.pid && *content == stream.content);
                (!stays).then_some(pid.pid)
            })
            .collect();
        gone.into_iter().for_each(|pid| self.unfollow(pid, items));
        for (entry, content) in entries {
            let slot = usize::from(self.slots.get(entry.pid));
            if let Some(Pid { role: Role::Stream(stream), .. }) =
                slot.checked_sub(1).and_then(|at| self.pids.get_mut(at))
            {
                let Self { limits, stats, clock, .. } = self;
                stream.set_language(entry.language, &mut Context { limits, stats, clock, items });
                continue;
            }
            let stream =
                self.free_track(content).and_then(|track| Stream::new(content, track, entry.language, &self.limits));
            match stream {
                Some(stream) if self.pids.len() < self.limits.pids.min(MAX_PIDS) => {
                    if stream.track() == VIDEO_TRACK {
                        items.push(Item::VideoExpected);
                    }
                    self.follow(entry.pid, Role::Stream(Box::new(stream)));
                }
                _ => self.leave_out(&entry, Reason::NoPlace),
            }
        }
    }

    /// The streams of `map` that are taken: one of pictures, and what else is known.
    fn wanted(&mut self, map: &Map) -> Vec<(Entry, Content)> {
        let mut wanted: Vec<(Entry, Content)> = Vec::new();
        for entry in &map.streams {
            let video = |content: &Content| matches!(content, Content::Avc | Content::Hevc);
            let table = matches!(entry.pid, PAT_PID | NULL_PID) || self.programme.is_some_and(|p| p.1 == entry.pid);
            let twice = wanted.iter().any(|(other, _)| other.pid == entry.pid);
            match entry.content {
                None => self.leave_out(entry, Reason::NotCarried),
                Some(_) if table || twice || wanted.len() >= self.limits.pids => self.leave_out(entry, Reason::NoPlace),
                Some(content) if video(&content) && wanted.iter().any(|(_, other)| video(other)) => {
                    self.leave_out(entry, Reason::SecondVideo);
                }
                Some(content) => wanted.push((entry.clone(), content)),
            }
        }
        wanted
    }

    /// Counts a stream that is not carried, and keeps why to be told.
    fn leave_out(&mut self, entry: &Entry, reason: Reason) {
        self.stats.unknown_streams += 1;
        let left_out = LeftOut { pid: entry.pid, codec: entry.codec, reason };
        if self.left_out.len() < MAX_LEFT_OUT && !self.left_out.contains(&left_out) {
            self.left_out.push(left_out);
        }
    }

    /// The elementary streams that are followed.
    fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.pids.iter().filter_map(|pid| match &pid.role {
            Role::Stream(stream) => Some(&**stream),
            Role::Table(_) => None,
        })
    }

    /// A number for a new track of `content`; none once there are too many.
    fn free_track(&self, content: Content) -> Option<TrackId> {
        match content {
            Content::Avc | Content::Hevc => return Some(VIDEO_TRACK),
            // They make no track.
            Content::Id3 | Content::Scte35 => return Some(TrackId(0)),
            _ => {}
        }
        let taken = |id: &TrackId| self.streams().any(|stream| stream.track() == *id);
        let last = u32::try_from(self.limits.tracks).unwrap_or(u32::MAX);
        (FIRST_AUDIO_TRACK.0..=last).map(TrackId).find(|id| !taken(id))
    }

    /// Follows `pid` from now on.
    fn follow(&mut self, pid: u16, role: Role) {
        self.pids.push(Pid { pid, counter: None, print: 0, role });
        self.number_slots();
    }

    /// Follows `pid` no longer; what of its stream is whole is given.
    fn unfollow(&mut self, pid: u16, items: &mut Vec<Item>) {
        let Some(at) = self.pids.iter().position(|followed| followed.pid == pid) else { return };
        self.end_stream(at, items);
        self.pids.remove(at);
        self.number_slots();
    }

    fn number_slots(&mut self) {
        self.slots.0.fill(0);
        for (pid, slot) in self.pids.iter().zip(1..=u8::MAX) {
            self.slots.set(pid.pid, slot);
        }
    }

    fn end_stream(&mut self, at: usize, items: &mut Vec<Item>) {
        let Self { limits, stats, clock, pids, .. } = self;
        if let Some(Pid { role: Role::Stream(stream), .. }) = pids.get_mut(at) {
            stream.finish(&mut Context { limits, stats, clock, items });
        }
    }
}

impl Pid {
    /// True where `packet` is to be taken: not one that came twice. A packet that is missing before it is counted and what
    /// it was part of is dropped.
    fn follows(&mut self, packet: &Packet<'_>, payload: &[u8], stats: &mut Stats) -> bool {
        let (last, print) = (self.counter.replace(packet.counter), print(payload));
        let before = std::mem::replace(&mut self.print, print);
        let Some(last) = last else { return true };
        if packet.counter == last.wrapping_add(1) & COUNTER_MASK {
            return true;
        }
        if packet.counter == last && print == before {
            stats.duplicates += 1;
            return false;
        }
        if !packet.discontinuity {
            stats.continuity_errors += 1;
        }
        self.lose(stats);
        true
    }

    fn lose(&mut self, stats: &mut Stats) {
        match &mut self.role {
            Role::Table(assembler) => assembler.reset(),
            Role::Stream(stream) => stream.lose(stats),
        }
    }
}

/// What tells a packet that came twice from one whose counter came round.
fn print(payload: &[u8]) -> u64 {
    let head = payload.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let tail = payload.last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    head ^ tail.rotate_left(1) ^ payload.len() as u64
}

impl Slots {
    fn get(&self, pid: u16) -> u8 {
        self.0.get(usize::from(pid)).copied().unwrap_or(0)
    }

    fn set(&mut self, pid: u16, slot: u8) {
        if let Some(entry) = self.0.get_mut(usize::from(pid)) {
            *entry = slot;
        }
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().enumerate().filter(|(_, slot)| **slot > 0)).finish()
    }
}
