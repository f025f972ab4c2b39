//! A writer of transport streams for tests: any table, any stream, without checks.
#![allow(clippy::unwrap_used, reason = "a helper of tests")]

use std::collections::BTreeMap;

/// PID of the map of [`Writer::tables`].
pub(crate) const MAP_PID: u16 = 0x1000;

/// A stream in a map: type, PID, descriptors.
pub(crate) type Entry<'a> = (u8, u16, &'a [u8]);

/// Writes packets of 188 bytes.
#[derive(Default)]
pub(crate) struct Writer {
    /// Written bytes.
    pub(crate) bytes: Vec<u8>,
    counters: BTreeMap<u16, u8>,
}

impl Writer {
    /// Writes a packet with at most 184 bytes of payload. Padding goes into the adaptation field.
    pub(crate) fn packet(&mut self, pid: u16, start: bool, payload: &[u8]) {
        let counter = self.counters.entry(pid).or_insert(0);
        let field = 184 - payload.len();
        let form = if field > 0 { 0x30 } else { 0x10 };
        let [high, low] = pid.to_be_bytes();
        self.bytes.extend([0x47, high | u8::from(start) << 6, low, form | *counter]);
        *counter = (*counter + 1) & 0x0f;
        if field > 0 {
            self.bytes.push(field as u8 - 1);
        }
        if field > 1 {
            self.bytes.push(0);
            self.bytes.resize(self.bytes.len() + field - 2, 0xff);
        }
        self.bytes.extend_from_slice(payload);
    }

    /// Writes `payload` in as many packets of `pid` as it takes.
    pub(crate) fn payload(&mut self, pid: u16, payload: &[u8]) {
        for (n, chunk) in payload.chunks(184).enumerate() {
            self.packet(pid, n == 0, chunk);
        }
    }

    /// Writes a section and its CRC.
    pub(crate) fn section(&mut self, pid: u16, section: &[u8]) {
        let mut bytes = section.to_vec();
        let length = bytes.len() + 4 - 3;
        bytes[1] = 0xb0 | (length >> 8) as u8;
        bytes[2] = length as u8;
        let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 })
        });
        bytes.extend(crc.to_be_bytes());
        self.payload(pid, &[&[0], &bytes[..]].concat());
    }

    /// Writes the tables of a programme with these streams.
    pub(crate) fn tables(&mut self, version: u8, entries: &[Entry<'_>]) {
        let [high, low] = MAP_PID.to_be_bytes();
        self.section(0, &[0, 0, 0, 0, 1, 0xc1, 0, 0, 0, 1, 0xe0 | high, low]);
        let mut map = vec![2, 0, 0, 0, 1, 0xc1 | version << 1, 0, 0, 0xe1, 0, 0xf0, 0];
        for (kind, pid, descriptors) in entries {
            let [high, low] = pid.to_be_bytes();
            map.extend([*kind, 0xe0 | high, low, 0xf0, descriptors.len() as u8]);
            map.extend_from_slice(descriptors);
        }
        self.section(MAP_PID, &map);
    }

    /// Writes a PES packet, with a length if `bounded`; times in ticks of 90 kHz, modulo 2^33.
    pub(crate) fn pes(&mut self, pid: u16, bounded: bool, times: Option<(u64, u64)>, payload: &[u8]) {
        self.payload(pid, &pes(bounded, times, payload));
    }
}

/// Returns a PES packet.
pub(crate) fn pes(bounded: bool, times: Option<(u64, u64)>, payload: &[u8]) -> Vec<u8> {
    let time = |mark: u8, ticks: u64| {
        let part = |shift: u32| (ticks >> shift) as u8;
        [mark << 4 | part(29) & 0x0e | 1, part(22), part(14) | 1, part(7), part(0) << 1 | 1]
    };
    let fields = match times {
        None => Vec::new(),
        Some((pts, dts)) if pts == dts => time(2, pts).to_vec(),
        Some((pts, dts)) => [time(3, pts), time(1, dts)].concat(),
    };
    let flags = [0, 0x80, 0xc0][fields.len() / 5];
    let length = if bounded { (3 + fields.len() + payload.len()) as u16 } else { 0 };
    let [high, low] = length.to_be_bytes();
    [&[0, 0, 1, 0xe0, high, low, 0x80, flags, fields.len() as u8], &fields[..], payload].concat()
}
