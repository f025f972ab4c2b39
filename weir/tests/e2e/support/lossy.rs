//! A lossy network: a UDP relay that drops packets and delays the others. The same packets are dropped in each run.
//!
//! The benchmarks include this file as well.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Maximum size of an SRT packet, in bytes.
const DATAGRAM: usize = 1_500;
/// Maximum number of packets in transit. Further packets are dropped, as in a full queue of a router.
const QUEUE: usize = 50_000;
/// Interval at which the relay checks whether it has to end.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The properties of each direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// Packets lost out of a thousand.
    pub per_mille: u64,
    /// Delay of every packet, which is half the round trip.
    pub delay: Duration,
    /// Selects the packets that are lost.
    pub seed: u64,
}

/// A relay to one server, for one client. Stops when dropped.
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
        let stop = Arc::clone(&ended);
        let thread = thread::Builder::new().name("lossy".into()).spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                relay.turn();
            }
        })?;
        Ok(Self { address, lost, ended, thread: Some(thread) })
    }

    /// Returns the address for the client to connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of packets lost so far, in both directions.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // The panic hook has reported a thread that panicked.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The state of the thread. The first of each pair is the side of the client.
struct Relay {
    sockets: [UdpSocket; 2],
    dice: [Dice; 2],
    link: Link,
    /// Source of the client's newest packet.
    peer: Option<SocketAddr>,
    /// Packets with their time of delivery and the side they came from. They are in order, because all have the same
    /// delay.
    queue: VecDeque<(Instant, usize, Vec<u8>)>,
    lost: Arc<AtomicU64>,
}

impl Relay {
    /// Waits for a packet or for the next delivery, and forwards all packets that are due.
    fn turn(&mut self) {
        let due = self.queue.front().map_or(POLL_INTERVAL, |(due, ..)| due.saturating_duration_since(Instant::now()));
        let wait = Timespec { tv_sec: 0, tv_nsec: due.min(POLL_INTERVAL).as_nanos() as i64 };
        let mut sides = self.sockets.each_ref().map(|socket| PollFd::new(socket, PollFlags::IN));
        // A signal may end the wait early. The next turn continues.
        let _ = poll(&mut sides, Some(&wait));
        (0..self.sockets.len()).for_each(|side| self.take(side));
        while let Some((_, from, packet)) = self.queue.pop_front_if(|(due, ..)| *due <= Instant::now()) {
            // A packet that cannot be sent is lost as well, because the peer may not be there yet.
            let _ = match (from, self.peer) {
                (0, _) => self.sockets[1].send(&packet),
                (_, Some(peer)) => self.sockets[0].send_to(&packet, peer),
                (_, None) => continue,
            };
        }
    }

    /// Receives the packets of one side.
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
                // The other side is not there yet, or has closed its socket.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(_) => return,
            }
        }
    }
}

/// Pseudo-random numbers (SplitMix64), the same for the same seed.
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
    fn the_share_of_lost_packets_is_right_and_reproducible() {
        let losses = |seed| {
            let mut dice = Dice(seed);
            (0..20_000).filter(|_| dice.loses(50)).collect::<Vec<u32>>()
        };
        assert!((900..1_100).contains(&losses(1).len()), "{}", losses(1).len());
        assert_eq!(losses(1), losses(1));
        assert_ne!(losses(1), losses(2));
    }

    #[test]
    fn packets_are_forwarded_both_ways_in_order() {
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
