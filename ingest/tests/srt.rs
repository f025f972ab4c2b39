//! The SRT listener over real sockets, with our own caller: refusals, stream ids, keys, and the end of a contribution.

// A helper of a test may panic like the test itself.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use common::{Event, PASSPHRASE, Rig, config};
use ingest::srt::Options;
use ingest::{Config, DisconnectReason, Limits, Passphrase};
use srt::{CallerOptions, Connection, Error};

/// Bytes of memory that the other tests of this process may use meanwhile.
const MAX_GROWN: u64 = 32 << 20;
/// Packets of a transport stream without a programme, as many as fit in one SRT message.
const NULL_PACKETS: [u8; 7 * 188] = null_packets();
// Reasons that a caller gets; see `srt.h` and `access_control.h` of libsrt.
const BAD_SECRET: i32 = 10;
const UNSECURE: i32 = 11;
const BAD_REQUEST: i32 = 1400;
const OVERLOAD: i32 = 1402;
const FORBIDDEN: i32 = 1403;
const NOT_FOUND: i32 = 1404;
const BAD_MODE: i32 = 1405;

const fn null_packets() -> [u8; 7 * 188] {
    let mut bytes = [0xff; 7 * 188];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = 0x47;
        bytes[at + 1] = 0x1f;
        bytes[at + 3] = 0x10;
        at += 188;
    }
    bytes
}

fn listen(rig: &Rig, encryption: bool) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let options = Options { latency: Duration::from_millis(60), encryption };
    rig.server.listen_srt(socket, options).unwrap();
    address
}

fn options(stream_id: &str, passphrase: Option<&str>) -> CallerOptions {
    CallerOptions {
        stream_id: stream_id.to_owned(),
        passphrase: passphrase.map(Passphrase::new),
        key_bits: 128,
        latency: Duration::from_millis(40),
        timeout: Duration::from_secs(10),
    }
}

async fn call(to: SocketAddr, stream_id: &str, passphrase: Option<&str>) -> Result<Connection, Error> {
    Connection::connect(to, &options(stream_id, passphrase)).await
}

async fn refusal(to: SocketAddr, stream_id: &str, passphrase: Option<&str>) -> i32 {
    match call(to, stream_id, passphrase).await {
        Err(Error::Refused(reason)) => reason.0,
        other => panic!("{stream_id}: {other:?}"),
    }
}

/// Publishes until the server has received some of it.
async fn assert_publishes(rig: &mut Rig, mut caller: Connection) {
    let Event::Asked(key) = rig.next().await else { panic!("the authorizer is asked") };
    assert_eq!(key, "good");
    let before = rig.received.borrow().bytes;
    for _ in 0..10 {
        caller.send(&NULL_PACKETS).await.unwrap();
    }
    rig.wait_for(|received| received.bytes >= before + 10 * NULL_PACKETS.len()).await;
    drop(caller);
    assert!(matches!(rig.next().await, Event::Ended));
}

#[tokio::test]
async fn each_refusal_has_its_own_code_and_the_listener_lives_on() {
    let mut rig = Rig::new(config());
    let to = listen(&rig, true);
    assert_eq!(refusal(to, "nobody", Some(PASSPHRASE)).await, NOT_FOUND);
    assert_eq!(refusal(to, "disabled", Some(PASSPHRASE)).await, FORBIDDEN);
    assert_eq!(refusal(to, "good", Some("not the passphrase")).await, BAD_SECRET);
    assert_eq!(refusal(to, "good", None).await, UNSECURE);
    assert_eq!(refusal(to, "#!::r=good,m=request", Some(PASSPHRASE)).await, BAD_MODE);
    assert_eq!(refusal(to, "", Some(PASSPHRASE)).await, BAD_REQUEST);
    let caller = call(to, "good", Some(PASSPHRASE)).await.unwrap();
    assert_publishes(&mut rig, caller).await;
    let counted = |stats: ingest::RefusalCounts| (stats.unknown_key, stats.disabled, stats.not_publishing);
    assert_eq!(counted(rig.stats.refusals()), (1, 1, 2));
    // libsrt does not report a wrong passphrase: it is noticed when the caller has not appeared for a while.
    let passphrases = async {
        while rig.stats.refusals().passphrase < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), passphrases).await.unwrap();
    rig.end().await;
}

#[tokio::test]
async fn wrong_passphrases_are_slowed_down_and_forgiven() {
    let mut rig = Rig::new(config());
    let to = listen(&rig, true);
    let mut codes = Vec::new();
    for _ in 0..5 {
        codes.push(refusal(to, "good", Some("not the passphrase")).await);
    }
    assert_eq!(codes[..3], [BAD_SECRET; 3]);
    assert!(codes.contains(&OVERLOAD), "{codes:?}");
    // The owner is accepted after the delay, and earlier failures are cleared.
    let caller = loop {
        match call(to, "good", Some(PASSPHRASE)).await {
            Ok(caller) => break caller,
            Err(Error::Refused(reason)) if reason.0 == OVERLOAD => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{error}"),
        }
    };
    assert_publishes(&mut rig, caller).await;
    assert_eq!(refusal(to, "good", None).await, UNSECURE);
}

#[tokio::test]
async fn every_key_length_and_stream_id_is_taken() {
    let mut rig = Rig::new(config());
    let to = listen(&rig, true);
    let ids = ["good", "#!::r=good,m=publish", "publish:good", "%23!::m=publish,r=live/good", "live/good?x=1"];
    for (id, key_bits) in ids.into_iter().zip([128, 192, 256].into_iter().cycle()) {
        let options = CallerOptions { key_bits, ..options(id, Some(PASSPHRASE)) };
        let caller = Connection::connect(to, &options).await.unwrap_or_else(|error| panic!("{id}: {error}"));
        assert_publishes(&mut rig, caller).await;
    }
}

#[tokio::test]
async fn without_encryption_callers_come_without_a_passphrase() {
    let mut rig = Rig::new(config());
    let to = listen(&rig, false);
    let caller = call(to, "good", None).await.unwrap();
    assert_publishes(&mut rig, caller).await;
    assert_eq!(refusal(to, "good", Some(PASSPHRASE)).await, UNSECURE);
    assert_eq!(refusal(to, "nobody", None).await, NOT_FOUND);
}

#[tokio::test]
async fn the_program_can_end_a_contribution() {
    let mut rig = Rig::new(config());
    let to = listen(&rig, true);
    let mut caller = call(to, "good", Some(PASSPHRASE)).await.unwrap();
    assert!(matches!(rig.next().await, Event::Asked(_)));
    rig.authorizer.stops.lock().pop().unwrap().send(DisconnectReason::TakenOver).unwrap();
    assert!(matches!(rig.next().await, Event::Ended));
    assert_eq!(caller.receive(&mut [0; 2_000]).await.unwrap(), 0);
    rig.end().await;
}

#[tokio::test]
async fn silence_is_cut_off_and_limits_hold() {
    let limits = Limits { connections: 8, per_address: 1 };
    let mut rig = Rig::new(Config { limits, media_timeout: Duration::from_millis(300), ..config() });
    let to = listen(&rig, true);
    let mut silent = call(to, "good", Some(PASSPHRASE)).await.unwrap();
    assert!(matches!(rig.next().await, Event::Asked(_)));
    assert_eq!(refusal(to, "good", Some(PASSPHRASE)).await, OVERLOAD);
    assert_eq!(silent.receive(&mut [0; 2_000]).await.unwrap(), 0);
    assert!(matches!(rig.next().await, Event::Ended));
    assert_eq!((rig.stats.refusals().timeout, rig.stats.refusals().full), (1, 1));
    rig.end().await;
}

#[tokio::test]
async fn link_statistics_are_reported() {
    let rig = Rig::new(config());
    let to = listen(&rig, true);
    let mut caller = call(to, "good", Some(PASSPHRASE)).await.unwrap();
    let mut received = rig.received.clone();
    let seen = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            caller.send(&NULL_PACKETS).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
            let link = received.borrow_and_update().link;
            if let Some(link) = link.filter(|link| link.packets > 0 && link.receive_rate > 0) {
                return link;
            }
        }
    });
    let link = seen.await.unwrap();
    assert_eq!(link.latency, Duration::from_millis(60), "the larger of what the two sides ask for");
    assert_eq!((link.lost, link.dropped, link.undecrypted), (0, 0, 0));
    assert!(link.round_trip > Duration::ZERO);
    rig.end().await;
}

/// Returns the first packet of a handshake, as anyone can send it.
fn induction(number: u32) -> Vec<u8> {
    let words = [0x8000_0000, 0, 0, 0, 4, 2, number, 1_500, 8_192, 1, number, 0, 0x0100_007f, 0, 0, 0];
    words.iter().flat_map(|word: &u32| word.to_be_bytes()).collect()
}

/// Returns the resident memory of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    kilobytes.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}

#[tokio::test]
async fn garbage_and_half_open_handshakes_harm_no_one() {
    let mut rig = Rig::new(config());
    let to = listen(&rig, true);
    let mut caller = call(to, "good", Some(PASSPHRASE)).await.unwrap();
    assert!(matches!(rig.next().await, Event::Asked(_)));
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let before = resident();
    for number in 0..100_000u32 {
        let mut garbage = induction(number.wrapping_mul(0x9e37_79b9));
        let cut = number as usize % garbage.len();
        garbage[cut] ^= 0xa5;
        stranger.send_to(&garbage[..=cut], to).unwrap();
        if number % 2 == 0 {
            stranger.send_to(&induction(number), to).unwrap();
        }
        if number % 5_000 == 0 {
            caller.send(&NULL_PACKETS).await.unwrap();
        }
    }
    rig.wait_for(|received| received.bytes >= 20 * NULL_PACKETS.len()).await;
    assert_eq!(rig.stats.open(), 1);
    let grown = resident().saturating_sub(before);
    assert!(grown < MAX_GROWN, "{grown} bytes for strangers");
    rig.end().await;
}
