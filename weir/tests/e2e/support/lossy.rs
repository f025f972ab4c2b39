//! A bad network: a UDP relay that loses packets and holds back the others, the same ones in each run. The benchmarks
//! include this file as well.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// No packet of SRT's is longer.
const DATAGRAM: usize = 1_500;
/// Packets on their way at once; what comes on top is lost, as in a full queue of a router.
const QUEUE: usize = 50_000;
/// How often the relay looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// How bad it is, in each direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// Of a thousand packets, so many are lost.
    pub per_mille: u64,
    /// What every packet takes: half the round trip.
    pub delay: Duration,
    /// Another one loses other packets.
    pub seed: u64,
}

/// A relay to one server, for one client; it ends when dropped.
pub(crate) struct Lossy {
    address: SocketAddr,
    lost: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Lossy {
    /// Starts a relay to `server`.
    pub(crate) fn start(link: Link, server: SocketAddr) -> io::Result<Self> {
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = client.local_addr()?;
        let outward = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        outward.connect(server)?;
        for socket in [&client, &outward] {
            socket.set_nonblocking(true)?;
        }
        let (lost, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut relay = Relay {
            sockets: [client, outward],
            dice: [Dice(link.seed), Dice(!link.seed)],
            link,
            peer: None,
            queue: VecDeque::new(),
            lost: Arc::clone(&lost),
        };
        let told = Arc::clone(&ended);
        let thread = thread::Builder::new().name("lossy".into()).spawn(move || {
            while !told.load(Ordering::Relaxed) {
                relay.turn();
            }
        })?;
        Ok(Self { address, lost, ended, thread: Some(thread) })
    }

    /// Where the client finds the server.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Packets lost so far, both ways.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // A relay that panicked has said so.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What the thread works with. Of each pair, the first is the client's side.
struct Relay {
    sockets: [UdpSocket; 2],
    dice: [Dice; 2],
    link: Link,
    /// Where the client's newest packet came from.
    peer: Option<SocketAddr>,
    /// Packets by the time they arrive, with the side they came from: every one takes as long.
    queue: VecDeque<(Instant, usize, Vec<u8>)>,
    lost: Arc<AtomicU64>,
}

impl Relay {
    /// Waits for packets or for the next one to arrive, and passes on what there is.
    fn turn(&mut self) {
        let due = self.queue.front().map_or(LOOK, |(due, ..)| due.saturating_duration_since(Instant::now()));
        let wait = Timespec { tv_sec: 0, tv_nsec: due.min(LOOK).as_nanos() as i64 };
        let mut sides = self.sockets.each_ref().map(|socket| PollFd::new(socket, PollFlags::IN));
        // A signal may cut the wait short; the next turn goes on.
        let _ = poll(&mut sides, Some(&wait));
        (0..self.sockets.len()).for_each(|side| self.take(side));
        while let Some((_, from, packet)) = self.queue.pop_front_if(|(due, ..)| *due <= Instant::now()) {
            // What a socket does not take is lost as well: nobody may be there yet.
            let _ = match (from, self.peer) {
                (0, _) => self.sockets[1].send(&packet),
                (_, Some(peer)) => self.sockets[0].send_to(&packet, peer),
                (_, None) => continue,
            };
        }
    }

    /// Takes what came in from one side.
    fn take(&mut self, side: usize) {
        let mut buffer = [0; DATAGRAM];
        loop {
            match self.sockets[side].recv_from(&mut buffer) {
                Ok((bytes, from)) => {
                    if side == 0 {
                        self.peer = Some(from);
                    }
                    if self.dice[side].loses(self.link.per_mille) || self.queue.len() >= QUEUE {
                        self.lost.fetch_add(1, Ordering::Relaxed);
                    } else {
                        self.queue.push_back((Instant::now() + self.link.delay, side, buffer[..bytes].to_vec()));
                    }
                }
                // The other side is not there, or not any more.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(_) => return,
            }
        }
    }
}

/// Pseudo-random numbers (SplitMix64): the same from the same seed.
struct Dice(u64);

impl Dice {
    fn loses(&mut self, per_mille: u64) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % 1_000 < per_mille
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_loses_its_share_and_the_same_ones_again() {
        let losses = |seed| {
            let mut dice = Dice(seed);
            (0..20_000).filter(|_| dice.loses(50)).collect::<Vec<u32>>()
        };
        assert!((900..1_100).contains(&losses(1).len()), "{}", losses(1).len());
        assert_eq!(losses(1), losses(1));
        assert_ne!(losses(1), losses(2));
    }

    #[test]
    fn packets_pass_both_ways_in_order() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let link = Link { per_mille: 0, delay: Duration::from_millis(2), seed: 1 };
        let lossy = Lossy::start(link, server.local_addr().unwrap()).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut buffer = [0; 16];
        for socket in [&client, &server] {
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        }
        for n in 0..5u8 {
            client.send_to(&[n], lossy.address()).unwrap();
        }
        for n in 0..5 {
            let (_, from) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(buffer[0], n);
            server.send_to(&[n + 100], from).unwrap();
        }
        for n in 0..5 {
            client.recv(&mut buffer).unwrap();
            assert_eq!(buffer[0], n + 100);
        }
        assert_eq!(lossy.lost(), 0);
    }
}
