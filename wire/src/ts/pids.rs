//! The followed PIDs, each with the state of its last packet.

use std::fmt;

use super::Stats;
use super::packet::{PIDS, Packet};
use super::psi;
use super::stream::Stream;

/// Mask of the continuity counter, which has four bits.
pub(super) const COUNTER_MASK: u8 = 0x0f;
/// Most PIDs that are followed: as many as a slot of one byte can number.
pub(super) const MAX_PIDS: usize = 255;

/// The followed PIDs, found by number in constant time.
#[derive(Clone, Debug, Default)]
pub(super) struct PidTable {
    slots: Slots,
    pids: Vec<Pid>,
}

/// Index of each PID in [`PidTable::pids`] plus one; 0 for a PID that is not followed.
#[derive(Clone)]
struct Slots(Box<[u8; PIDS]>);

/// A PID that is followed.
#[derive(Clone, Debug)]
pub(super) struct Pid {
    pub(super) pid: u16,
    /// Continuity counter of the last packet with a payload.
    pub(super) counter: Option<u8>,
    /// [`fingerprint`] of that packet's payload.
    pub(super) fingerprint: u64,
    pub(super) role: Role,
}

/// Content of a [`Pid`].
#[derive(Clone, Debug)]
pub(super) enum Role {
    /// A programme association table or a programme map table.
    Table(psi::Assembler),
    Stream(Box<Stream>),
}

impl PidTable {
    /// Number of PIDs that are followed.
    pub(super) fn len(&self) -> usize {
        self.pids.len()
    }

    pub(super) fn get_mut(&mut self, pid: u16) -> Option<&mut Pid> {
        let slot = usize::from(self.slots.get(pid));
        slot.checked_sub(1).and_then(|at| self.pids.get_mut(at))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Pid> {
        self.pids.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Pid> {
        self.pids.iter_mut()
    }

    /// Returns the elementary streams.
    pub(super) fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.pids.iter().filter_map(|pid| match &pid.role {
            Role::Stream(stream) => Some(&**stream),
            Role::Table(_) => None,
        })
    }

    /// Returns the elementary streams.
    pub(super) fn streams_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.pids.iter_mut().filter_map(|pid| match &mut pid.role {
            Role::Stream(stream) => Some(&mut **stream),
            Role::Table(_) => None,
        })
    }

    /// Adds `pid`, which must not be in the table. The caller keeps within [`MAX_PIDS`].
    pub(super) fn insert(&mut self, pid: u16, role: Role) {
        self.pids.push(Pid { pid, counter: None, fingerprint: 0, role });
        self.number_slots();
    }

    /// Removes `pid`, if it is in the table.
    pub(super) fn remove(&mut self, pid: u16) -> Option<Pid> {
        let at = self.pids.iter().position(|followed| followed.pid == pid)?;
        let removed = self.pids.remove(at);
        self.number_slots();
        Some(removed)
    }

    fn number_slots(&mut self) {
        self.slots.0.fill(0);
        for (pid, slot) in self.pids.iter().zip(1..=u8::MAX) {
            self.slots.set(pid.pid, slot);
        }
    }
}

impl Pid {
    /// Returns whether `packet` is to be used: false for one that came twice.
    ///
    /// Packets that are missing before it are counted, and the data that they were part of is dropped.
    pub(super) fn follows(&mut self, packet: &Packet<'_>, payload: &[u8], stats: &mut Stats) -> bool {
        let (last, fingerprint) = (self.counter.replace(packet.counter), fingerprint(payload));
        let before = std::mem::replace(&mut self.fingerprint, fingerprint);
        let Some(last) = last else { return true };
        if packet.counter == last.wrapping_add(1) & COUNTER_MASK {
            return true;
        }
        if packet.counter == last && fingerprint == before {
            stats.duplicates += 1;
            return false;
        }
        if !packet.discontinuity {
            stats.continuity_errors += 1;
        }
        self.lose(stats);
        true
    }

    /// Drops the data under way, because packets are missing.
    pub(super) fn lose(&mut self, stats: &mut Stats) {
        match &mut self.role {
            Role::Table(assembler) => assembler.reset(),
            Role::Stream(stream) => stream.lose(stats),
        }
    }
}

/// Returns a number that distinguishes a packet received twice from one whose counter wrapped.
pub(super) fn fingerprint(payload: &[u8]) -> u64 {
    let head = payload.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let tail = payload.last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    head ^ tail.rotate_left(1) ^ payload.len() as u64
}

impl Default for Slots {
    fn default() -> Self {
        Self(Box::new([0; PIDS]))
    }
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
