//! Viewers that follow video and audio part by part with blocking requests, as low-latency players do.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;

use crate::http::Client;
use crate::playlist::{Media, renditions, resolve, with_query};

/// Seconds for which a viewer stays before it reconnects.
const STAY_SECS: std::ops::RangeInclusive<u64> = 30..=180;
/// Milliseconds before a request for a stream without a playlist is repeated.
const RETRY_MS: std::ops::RangeInclusive<u64> = 500..=1_500;

/// The requests of all viewers, by kind of request and status.
#[derive(Default)]
pub(crate) struct Stats(Mutex<BTreeMap<(&'static str, u16), u64>>);

/// The status of a failed connection.
const BROKEN: u16 = 0;

impl Stats {
    fn add(&self, kind: &'static str, status: u16) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry((kind, status)).or_default() += 1;
    }

    /// Returns all stats.
    pub(crate) fn all(&self) -> BTreeMap<(&'static str, u16), u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Returns true if players must expect this status from a live server: success, not found (not yet, or no longer), or
/// stalled.
pub(crate) fn expected(kind: &str, status: u16) -> bool {
    match kind {
        "part" => matches!(status, 200 | 404),
        _ => matches!(status, 200 | 404 | 410 | 412 | 503),
    }
}

/// Watches `playback_id` repeatedly.
pub(crate) async fn run(host: SocketAddr, source: IpAddr, playback_id: String, stats: Arc<Stats>) {
    loop {
        let stay = Duration::from_secs(fastrand::u64(STAY_SECS));
        let watched = tokio::time::timeout(stay, watch(host, source, &playback_id, &stats)).await;
        if matches!(watched, Ok(Err(_))) {
            stats.add("connection", BROKEN);
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(RETRY_MS))).await;
    }
}

/// Watches until the programme ends.
async fn watch(host: SocketAddr, source: IpAddr, playback_id: &str, stats: &Stats) -> Result<()> {
    let mut client = Client::connect(host, source).await?;
    let path = format!("/{playback_id}.m3u8");
    let response = client.get(&path).await?;
    stats.add("multivariant", response.status);
    if response.status != 200 {
        return Ok(());
    }
    let text = response.text();
    let (video, audio) = renditions(&text);
    let audio = async {
        match audio {
            Some(uri) => follow(Client::connect(host, source).await?, resolve(&path, uri), stats).await,
            None => Ok(()),
        }
    };
    let video = async {
        match video {
            Some(uri) => follow(client, resolve(&path, uri), stats).await,
            None => Ok(()),
        }
    };
    tokio::try_join!(video, audio)?;
    Ok(())
}

/// Follows one rendition to its end.
async fn follow(mut client: Client, path: String, stats: &Stats) -> Result<()> {
    let mut query = String::new();
    let mut waited = None;
    loop {
        let response = client.get(&if query.is_empty() { path.clone() } else { with_query(&path, &query) }).await?;
        stats.add("playlist", response.status);
        match response.status {
            200 => {}
            503 => continue,
            _ => return Ok(()),
        }
        let media = Media::parse(&response.text());
        // A player that joins begins with the newest part.
        let from = waited.unwrap_or((media.msn, media.part.saturating_sub(1)));
        for part in media.parts.iter().filter(|part| (part.msn, part.index) >= from) {
            let response = client.get(&resolve(&path, &part.uri)).await?;
            stats.add("part", response.status);
        }
        if media.ended {
            return Ok(());
        }
        waited = Some((media.msn, media.part));
        query = format!("{}&_HLS_skip=YES", media.next());
    }
}
