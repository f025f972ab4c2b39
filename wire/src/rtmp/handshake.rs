//! The RTMP handshake in its simple form: C0 C1, then S0 S1 S2, then C2.
//!
//! The digest form exists so that a server can prove to be Adobe's. Encoders that offer it (ffmpeg and librtmp write a
//! digest into C1) fall back to the simple form if S1 carries version 0, so Weir implements only that.

use crate::error::{Error, Place};

/// Bytes of C1, S1, C2 and S2.
const BLOCK: usize = 1_536;
/// Bytes of C0 and C1 together.
const C0_C1: usize = 1 + BLOCK;
/// Bytes of the time and the version at the start of C1 and S1.
const LEAD: usize = 8;
/// The only version of RTMP in use.
const VERSION: u8 = 3;
/// RTMP with Adobe's encryption.
const ENCRYPTED: u8 = 6;

/// Bytes of randomness in a side's handshake.
pub const RANDOM_LEN: usize = BLOCK - LEAD;
/// Bytes that each side sends before its first chunk.
pub const CLIENT_LEN: u64 = (C0_C1 + BLOCK) as u64;

/// The blocks of the other side's handshake. The first one is buffered with the version before it, the second is
/// skipped.
#[derive(Clone, Debug)]
struct Received {
    first: Vec<u8>,
    second: usize,
}

impl Received {
    const fn new() -> Self {
        Self { first: Vec::new(), second: 0 }
    }

    /// Takes bytes of the version and the first block; returns true when they are complete, once.
    ///
    /// The version is checked as soon as it arrives: a peer that speaks HTTP or TLS is refused at the first byte.
    fn take_first(&mut self, input: &mut &[u8], path: &str) -> Result<bool, Error> {
        if self.first.len() == C0_C1 {
            return Ok(false);
        }
        let (taken, rest) = input.split_at(input.len().min(C0_C1 - self.first.len()));
        self.first.extend_from_slice(taken);
        *input = rest;
        let place = || Place::new("rtmp", 0, path);
        match self.first.first() {
            None | Some(&VERSION) => Ok(self.first.len() == C0_C1),
            Some(&ENCRYPTED) => Err(Error::Unsupported { place: place(), what: "RTMPE".to_owned() }),
            Some(&other) => Err(Error::Range { place: place(), value: other.into() }),
        }
    }

    /// Skips bytes of the second block; returns whether it is complete.
    fn skip_second(&mut self, input: &mut &[u8]) -> bool {
        if self.first.len() < C0_C1 {
            return false;
        }
        let skipped = input.len().min(BLOCK - self.second);
        self.second += skipped;
        *input = input.get(skipped..).unwrap_or_default();
        self.second == BLOCK
    }

    /// Returns the first block, without the version.
    fn block(&self) -> &[u8] {
        self.first.get(1..).unwrap_or_default()
    }
}

/// The server's side of a handshake, before the [`chunk`](super::chunk) stream. It buffers at most C0 and C1.
#[derive(Clone, Debug)]
pub struct Server {
    random: Box<[u8; RANDOM_LEN]>,
    received: Received,
}

impl Server {
    /// Creates a handshake that answers with `random`.
    pub fn new(random: [u8; RANDOM_LEN]) -> Self {
        Self { random: Box::new(random), received: Received::new() }
    }

    /// Takes the bytes of the handshake from the front of `input` and appends the answer to `out`; returns true once C2
    /// is complete.
    ///
    /// C2 should echo S1, but not every encoder does that, and nothing depends on it.
    pub fn read(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<bool, Error> {
        if self.received.take_first(input, "handshake > c0 > version")? {
            out.push(VERSION);
            out.extend_from_slice(&[0; LEAD]);
            out.extend_from_slice(&self.random[..]);
            out.extend_from_slice(self.received.block());
        }
        Ok(self.received.skip_second(input))
    }
}

/// The client's side of a handshake, before the [`chunk`](super::chunk) stream. It buffers at most S0 and S1.
#[derive(Clone, Debug)]
pub struct Client {
    received: Received,
}

impl Client {
    /// Creates a handshake and appends C0 and C1 to `out`, with `random` in C1.
    pub fn new(random: &[u8; RANDOM_LEN], out: &mut Vec<u8>) -> Self {
        out.push(VERSION);
        out.extend_from_slice(&[0; LEAD]);
        out.extend_from_slice(random);
        Self { received: Received::new() }
    }

    /// Takes the bytes of the handshake from the front of `input` and appends C2, which echoes S1, to `out`; returns
    /// true once S2 is complete.
    pub fn read(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<bool, Error> {
        if self.received.take_first(input, "handshake > s0 > version")? {
            out.extend_from_slice(self.received.block());
        }
        Ok(self.received.skip_second(input))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree_at_any_split() {
        for step in [1, 7, 1_000, 4_000] {
            let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
            let mut client = Client::new(&[9; RANDOM_LEN], &mut to_server);
            let mut server = Server::new([7; RANDOM_LEN]);
            assert_eq!(to_server.len(), C0_C1);
            for part in to_server.split_off(0).chunks(step) {
                assert!(!server.read(&mut &*part, &mut to_client).unwrap());
            }
            let mut done = false;
            for part in to_client.chunks(step) {
                done = client.read(&mut &*part, &mut to_server).unwrap();
            }
            assert!(done && to_server[LEAD..] == [7; RANDOM_LEN], "C2 echoes S1");
            assert!(server.read(&mut &to_server[..], &mut to_client).unwrap());
        }
    }

    fn client() -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend((0..2 * BLOCK).map(|i| (i % 251) as u8));
        bytes
    }

    #[test]
    fn answers_c1_and_waits_for_c2() {
        let mut server = Server::new([7; RANDOM_LEN]);
        let mut out = Vec::new();
        let bytes = client();
        assert!(!server.read(&mut &bytes[..C0_C1 - 1], &mut out).unwrap());
        assert!(out.is_empty());
        assert!(!server.read(&mut &bytes[C0_C1 - 1..C0_C1], &mut out).unwrap());
        assert_eq!(out.len(), 1 + 2 * BLOCK);
        assert_eq!((out[0], &out[1..9], out[9]), (3, &[0u8; 8][..], 7));
        assert_eq!(out[C0_C1..], bytes[1..C0_C1]);
        assert!(server.read(&mut &bytes[C0_C1..], &mut out).unwrap());
    }

    #[test]
    fn any_split_gives_the_same_and_leaves_the_chunks_alone() {
        let mut bytes = client();
        bytes.extend_from_slice(b"chunks");
        for at in (0..bytes.len()).step_by(97) {
            let mut server = Server::new([7; RANDOM_LEN]);
            let mut out = Vec::new();
            let (mut head, tail) = bytes.split_at(at);
            let early = server.read(&mut head, &mut out).unwrap();
            let mut rest = [head, tail].concat();
            let mut input = rest.as_slice();
            assert!(early || server.read(&mut input, &mut out).unwrap());
            rest = input.to_vec();
            assert_eq!((rest.as_slice(), out.len()), (&b"chunks"[..], 1 + 2 * BLOCK), "split at {at}");
        }
    }

    #[test]
    fn other_protocols_are_recognized_at_the_first_byte() {
        let read = |bytes: &[u8]| Server::new([0; RANDOM_LEN]).read(&mut &*bytes, &mut Vec::new()).unwrap_err();
        assert_eq!(read(b"G").to_string(), "rtmp byte 0: handshake > c0 > version: 71 is out of range");
        assert_eq!(read(&[6]).to_string(), "rtmp byte 0: handshake > c0 > version: RTMPE is not supported");
    }
}
