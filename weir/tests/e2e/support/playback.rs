//! A client of playback that fetches playlists, segments and parts, without decoding them.

use super::playlist::attribute;
use super::{Answer, Client, MediaPlaylist, until};

/// The playback of one playback id.
#[derive(Clone)]
pub(crate) struct Playback {
    client: Client,
    id: String,
}

/// One media playlist of the multivariant playlist.
#[derive(Clone)]
pub(crate) struct Rendition {
    client: Client,
    /// `video` or `audio`, from CODECS or EXT-X-MEDIA.
    pub kind: &'static str,
    pub path: String,
}

impl Playback {
    pub(crate) fn new(client: Client, id: String) -> Self {
        Self { client, id }
    }

    pub(crate) fn path(&self) -> String {
        format!("/{}.m3u8", self.id)
    }

    pub(crate) fn answer(&self) -> Answer {
        self.client.get(&self.path())
    }

    /// Returns the renditions, as soon as there is a playlist.
    pub(crate) fn renditions(&self) -> Vec<Rendition> {
        self.renditions_of(&self.path())
    }

    /// Returns the renditions of a path with a query, such as `?low_latency=false`.
    pub(crate) fn renditions_of(&self, path: &str) -> Vec<Rendition> {
        let text = until("a multivariant playlist", || {
            let answer = self.client.get(path);
            (answer.status == 200).then(|| answer.text())
        });
        let mut found = Vec::new();
        let mut codecs = String::new();
        for line in text.lines() {
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            if tag == "#EXT-X-STREAM-INF" {
                codecs = attribute(value, "CODECS").expect("a variant names its codecs");
            } else if tag == "#EXT-X-MEDIA" {
                let uri = attribute(value, "URI").expect("an audio rendition has a URI");
                found.push(self.rendition("audio", path, &uri));
            } else if !line.is_empty() && !line.starts_with('#') {
                let is_video = ["avc1", "avc3", "hvc1", "av01", "vp09"].iter().any(|codec| codecs.contains(codec));
                let kind = if is_video { "video" } else { "audio" };
                found.push(self.rendition(kind, path, line));
            }
        }
        found
    }

    /// Returns the first video rendition, or an audio rendition if there is no video.
    pub(crate) fn main(&self) -> Rendition {
        let all = self.renditions();
        let video = all.iter().find(|rendition| rendition.kind == "video");
        video.or_else(|| all.first()).expect("a rendition").clone()
    }

    fn rendition(&self, kind: &'static str, base: &str, uri: &str) -> Rendition {
        Rendition { client: self.client.clone(), kind, path: resolve(base, uri) }
    }
}

impl Rendition {
    pub(crate) fn playlist(&self) -> MediaPlaylist {
        let answer = self.client.get(&self.path);
        assert_eq!(answer.status, 200, "{}: {}", self.path, answer.text());
        MediaPlaylist::parse(&answer.text())
    }

    /// Reloads until the playlist matches a condition.
    pub(crate) fn wait_for(&self, what: &str, wanted: impl Fn(&MediaPlaylist) -> bool) -> MediaPlaylist {
        until(what, || Some(self.playlist()).filter(&wanted))
    }

    /// Fetches a URI of the playlist.
    pub(crate) fn fetch(&self, uri: &str) -> Answer {
        let answer = self.client.get(&resolve(&self.path, uri));
        assert_eq!(answer.status, 200, "{uri}: {}", answer.text());
        answer
    }
}

/// Resolves a URI of the playlist at `base` to a path.
pub(crate) fn resolve(base: &str, uri: &str) -> String {
    if let Some((_, rest)) = uri.split_once("://") {
        return rest.find('/').map_or_else(|| "/".to_owned(), |slash| rest[slash..].to_owned());
    }
    if uri.starts_with('/') {
        return uri.to_owned();
    }
    let base = base.split('?').next().unwrap_or_default();
    let folder = &base[..base.rfind('/').map_or(0, |slash| slash + 1)];
    format!("{folder}{uri}")
}
