//! The demuxer: passes packets to their streams, and derives the set of streams from the tables.

use media::{Timestamp, TrackId};

use super::clock::Clock;
use super::faults::{MAX_UNSUPPORTED, Reported};
use super::packet::{self, NULL_PID, PACKET, Packet};
use super::pids::{COUNTER_MASK, MAX_PIDS, Pid, PidTable, Role, fingerprint};
use super::psi::{self, Content, Entry, Map};
use super::stream::{Context, Stream};
use super::sync::{Found, Sync};
use super::unsupported::{NoFramesReason, Reason, Tables, Unsupported};
use super::{Limits, Stats};
use crate::Item;
use crate::error::{Error, Place};

/// PID of the programme association table.
const PAT_PID: u16 = 0;
/// Track id of video.
pub const VIDEO_TRACK: TrackId = TrackId(1);
/// Track id of the first audio stream.
pub const FIRST_AUDIO_TRACK: TrackId = TrackId(2);

/// Demultiplexes an MPEG transport stream, cut anywhere and joined anywhere: the first programme of its tables.
///
/// Data that is damaged or incomplete is dropped and counted, never output.
#[derive(Clone, Debug)]
pub struct Demuxer {
    sync: Sync,
    /// Number of bytes taken.
    taken: u64,
    core: Core,
}

/// State above packet synchronization ([`Sync`]).
#[derive(Clone, Debug)]
struct Core {
    limits: Limits,
    stats: Stats,
    pids: PidTable,
    clock: Clock,
    clock_pid: Option<u16>,
    reference: Option<Timestamp>,
    /// Number of the programme and PID of its map.
    programme: Option<(u16, u16)>,
    /// CRC of each table in force.
    association: Option<u32>,
    map: Option<u32>,
    /// [`Unsupported`] streams, those already reported included; bounded by [`MAX_UNSUPPORTED`].
    unsupported: Vec<Unsupported>,
    reported: Reported,
}

impl Demuxer {
    /// Creates a demuxer that has seen nothing yet.
    pub fn new(limits: Limits) -> Self {
        let mut core = Core {
            limits,
            stats: Stats::default(),
            pids: PidTable::default(),
            clock: Clock::default(),
            clock_pid: None,
            reference: None,
            programme: None,
            association: None,
            map: None,
            unsupported: Vec::new(),
            reported: Reported::default(),
        };
        core.follow(PAT_PID, Role::Table(psi::Assembler::default()));
        Self { sync: Sync::default(), taken: 0, core }
    }

    /// Takes the next bytes and appends their [`Item`]s. An error means that they are not a transport stream.
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

    /// Ends the stream and appends the access units that were waiting for the next one.
    pub fn finish(&mut self, items: &mut Vec<Item>) {
        let Self { sync, core, .. } = self;
        sync.finish(&mut |found| core.found(found, items));
        let Core { limits, stats, clock, pids, .. } = core;
        for stream in pids.streams_mut() {
            stream.finish(&mut Context { limits, stats, clock, items });
        }
    }

    /// Returns the [`Stats`].
    pub const fn stats(&self) -> &Stats {
        &self.core.stats
    }

    /// Appends reports of everything that was repaired, dropped or found unsupported since the last call.
    ///
    /// They are not part of the items of [`Self::push`], because one report sums up everything since the last call.
    pub fn report(&mut self, items: &mut Vec<Item>) {
        let Core { stats, unsupported, reported, .. } = &mut self.core;
        let out = &mut |report| items.push(Item::Fault(report));
        reported.counted(stats, out);
        reported.unsupported(unsupported, out);
        let unusable = self.core.streams().filter_map(Stream::unusable);
        let unusable = unusable.map(|(track, error)| (track, error.to_string())).collect();
        self.core.reported.unusable(unusable, out);
    }

    /// Returns the reason why no frame has been output. Called when one should have been.
    pub fn no_frames_reason(&self) -> NoFramesReason {
        let Core { stats, association, map, unsupported, .. } = &self.core;
        let tables = Tables {
            association: association.is_some(),
            map: map.is_some(),
            followed: self.core.streams().any(|stream| stream.is_track()),
            unsupported: unsupported.first().copied(),
            unusable: self.core.streams().find_map(Stream::unusable).map(|(_, error)| error.clone()),
        };
        NoFramesReason::find(stats, &tables)
    }

    /// Returns the programme's last clock reference, on the timeline of its frames.
    pub const fn clock_reference(&self) -> Option<Timestamp> {
        self.core.reference
    }

    /// Returns the distance between packets, once it is known: 188, 192 or 204 bytes.
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
                // The number of missing packets may be a multiple of what the counters can count.
                for pid in self.pids.iter_mut() {
                    pid.counter = None;
                    pid.lose(&mut self.stats);
                }
            }
        }
    }

    fn packets(&mut self, mut packets: &[[u8; PACKET]], items: &mut Vec<Item>) {
        while let Some((first, tail)) = packets.split_first() {
            let row = self.push_run(first, packets, items);
            packets = packets.get(row..).unwrap_or_default();
            if row == 0 {
                self.packet(first, items);
                packets = tail;
            }
        }
    }

    /// Takes the run of packets at the front that only continue one stream, as most do, all at once; returns their
    /// number.
    fn push_run(&mut self, first: &[u8; PACKET], packets: &[[u8; PACKET]], items: &mut Vec<Item>) -> usize {
        let Some(Pid { pid, counter: Some(counter), fingerprint: last, role: Role::Stream(stream) }) =
            self.pids.get_mut(packet::pid(first))
        else {
            return 0;
        };
        let counters = (1..=COUNTER_MASK + 1).cycle().map(|n| counter.wrapping_add(n) & COUNTER_MASK);
        let row =
            packets.iter().zip(counters).take_while(|(packet, counter)| packet::continues(packet, *pid, *counter));
        let (row, _) = packets.split_at(row.count());
        let Some(newest) = row.last() else { return 0 };
        (*counter, *last) = (packet::counter(newest), fingerprint(packet::body(newest)));
        self.stats.packets += row.len() as u64;
        let Self { limits, stats, clock, .. } = self;
        stream.push_run(row, &mut Context { limits, stats, clock, items });
        row.len()
    }

    fn packet(&mut self, bytes: &[u8; PACKET], items: &mut Vec<Item>) {
        self.stats.packets += 1;
        // The counter of the next packet shows that this one was dropped.
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
        let Some(pid) = self.pids.get_mut(packet.pid) else {
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

    /// Takes a complete section of a table.
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

    /// Replaces the streams by those of a [`Map`]. A stream that is in both continues.
    fn set_map(&mut self, map: &Map, items: &mut Vec<Item>) {
        self.clock_pid = Some(map.clock_pid);
        let entries = self.select_streams(map);
        let stays = |pid: &Pid, stream: &Stream| {
            entries.iter().any(|(entry, content)| entry.pid == pid.pid && *content == stream.content)
        };
        let gone: Vec<u16> = self
            .pids
            .iter()
            .filter(|pid| matches!(&pid.role, Role::Stream(stream) if !stays(pid, stream)))
            .map(|pid| pid.pid)
            .collect();
        gone.into_iter().for_each(|pid| self.unfollow(pid, items));
        for (entry, content) in entries {
            if let Some(Pid { role: Role::Stream(stream), .. }) = self.pids.get_mut(entry.pid) {
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
                _ => self.note_unsupported(&entry, Reason::NoPlace),
            }
        }
    }

    /// Selects the supported streams of `map`, with at most one of video.
    fn select_streams(&mut self, map: &Map) -> Vec<(Entry, Content)> {
        let mut selected: Vec<(Entry, Content)> = Vec::new();
        for entry in &map.streams {
            let video = |content: &Content| matches!(content, Content::Avc | Content::Hevc);
            let table = matches!(entry.pid, PAT_PID | NULL_PID) || self.programme.is_some_and(|p| p.1 == entry.pid);
            let twice = selected.iter().any(|(other, _)| other.pid == entry.pid);
            match entry.content {
                None => self.note_unsupported(entry, Reason::NotCarried),
                Some(_) if table || twice || selected.len() >= self.limits.pids => {
                    self.note_unsupported(entry, Reason::NoPlace)
                }
                Some(content) if video(&content) && selected.iter().any(|(_, other)| video(other)) => {
                    self.note_unsupported(entry, Reason::SecondVideo);
                }
                Some(content) => selected.push((entry.clone(), content)),
            }
        }
        selected
    }

    /// Counts an unsupported stream and remembers the reason for [`Reported::unsupported`].
    fn note_unsupported(&mut self, entry: &Entry, reason: Reason) {
        self.stats.unknown_streams += 1;
        let unsupported = Unsupported { pid: entry.pid, codec: entry.codec, reason };
        if self.unsupported.len() < MAX_UNSUPPORTED && !self.unsupported.contains(&unsupported) {
            self.unsupported.push(unsupported);
        }
    }

    /// Returns the [`Stream`]s that are followed.
    fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.pids.streams()
    }

    /// Returns the id of a new track of `content`; `None` if there are too many.
    fn free_track(&self, content: Content) -> Option<TrackId> {
        match content {
            Content::Avc | Content::Hevc => return Some(VIDEO_TRACK),
            // They do not make a track.
            Content::Id3 | Content::Scte35 => return Some(TrackId(0)),
            _ => {}
        }
        let taken = |id: &TrackId| self.streams().any(|stream| stream.track() == *id);
        let last = u32::try_from(self.limits.tracks).unwrap_or(u32::MAX);
        (FIRST_AUDIO_TRACK.0..=last).map(TrackId).find(|id| !taken(id))
    }

    /// Follows `pid` from now on.
    fn follow(&mut self, pid: u16, role: Role) {
        self.pids.insert(pid, role);
    }

    /// Follows `pid` no longer. The access units of its stream that are complete are appended to `items`.
    fn unfollow(&mut self, pid: u16, items: &mut Vec<Item>) {
        let Self { limits, stats, clock, pids, .. } = self;
        if let Some(Pid { role: Role::Stream(mut stream), .. }) = pids.remove(pid) {
            stream.finish(&mut Context { limits, stats, clock, items });
        }
    }
}
