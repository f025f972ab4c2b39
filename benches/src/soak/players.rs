//! Viewers that follow pictures and sound part by part with blocked requests, as low-latency players do.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;

use crate::http::Client;
use crate::playlist::{Media, renditions, resolve, with_query};

/// A viewer stays for so many seconds, then comes anew.
const STAY_SECS: std::ops::RangeInclusive<u64> = 30..=180;
/// A stream that shows nothing is asked again after so many milliseconds.
const RETRY_MS: std::ops::RangeInclusive<u64> = 500..=1_500;

/// What the viewers count together: requests by what was asked and how it was answered.
#[derive(Default)]
pub(crate) struct Counts(Mutex<BTreeMap<(&'static str, u16), u64>>);

/// A connection failed, which has no status.
const BROKEN: u16 = 0;

impl Counts {
    fn add(&self, kind: &'static str, status: u16) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry((kind, status)).or_default() += 1;
    }

    /// All counts.
    pub(crate) fn all(&self) -> BTreeMap<(&'static str, u16), u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// True if players must expect such an answer from a live server: it is there, not there (yet, any more), or stalled.
pub(crate) fn expected(kind: &str, status: u16) -> bool {
    match kind {
        "part" => matches!(status, 200 | 404),
        _ => matches!(status, 200 | 404 | 410 | 412 | 503),
    }
}

/// Watches `playback_id` again and again.
pub(crate) async fn run(host: SocketAddr, source: IpAddr, playback_id: String, counts: Arc<Counts>) {
    loop {
        let stay = Duration::from_secs(fastrand::u64(STAY_SECS));
        let watched = tokio::time::timeout(stay, watch(host, source, &playback_id, &counts)).await;
        if matches!(watched, Ok(Err(_))) {
            counts.add("connection", BROKEN);
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(RETRY_MS))).await;
    }
}

/// Watches until the programme ends.
async fn watch(host: SocketAddr, source: IpAddr, playback_id: &str, counts: &Counts) -> Result<()> {
    let mut client = Client::connect(host, source).await?;
    let path = format!("/{playback_id}.m3u8");
    let answer = client.get(&path).await?;
    counts.add("multivariant", answer.status);
    if answer.status != 200 {
        return Ok(());
    }
    let text = answer.text();
    let (video, audio) = renditions(&text);
    let sound = async {
        match audio {
            Some(uri) => follow(Client::connect(host, source).await?, resolve(&path, uri), counts).await,
            None => Ok(()),
        }
    };
    let pictures = async {
        match video {
            Some(uri) => follow(client, resolve(&path, uri), counts).await,
            None => Ok(()),
        }
    };
    tokio::try_join!(pictures, sound)?;
    Ok(())
}

/// Follows one rendition to its end.
async fn follow(mut client: Client, path: String, counts: &Counts) -> Result<()> {
    let mut query = String::new();
    let mut waited = None;
    loop {
        let answer = client.get(&if query.is_empty() { path.clone() } else { with_query(&path, &query) }).await?;
        counts.add("playlist", answer.status);
        match answer.status {
            200 => {}
            503 => continue,
            _ => return Ok(()),
        }
        let media = Media::parse(&answer.text());
        // A player that tunes in begins with the newest part.
        let from = waited.unwrap_or((media.msn, media.part.saturating_sub(1)));
        for part in media.parts.iter().filter(|part| (part.msn, part.index) >= from) {
            let answer = client.get(&resolve(&path, &part.uri)).await?;
            counts.add("part", answer.status);
        }
        if media.ended {
            return Ok(());
        }
        waited = Some((media.msn, media.part));
        query = format!("{}&_HLS_skip=YES", media.next());
    }
}
