//! A parser for the parts of playlists that the benchmarks use.

/// A part of a media playlist.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    /// Media sequence number of its segment.
    pub(crate) msn: u64,
    /// Index in the segment.
    pub(crate) index: u32,
    /// URI of the part.
    pub(crate) uri: String,
    /// Duration in seconds.
    pub(crate) duration: f64,
}

/// A media playlist.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Media {
    /// Media sequence number of the next part.
    pub(crate) msn: u64,
    /// Index of the next part in its segment.
    pub(crate) part: u32,
    /// The listed parts, in order.
    pub(crate) parts: Vec<Part>,
    /// True if the playlist has ended.
    pub(crate) ended: bool,
}

impl Media {
    /// Parses a media playlist or a delta update.
    pub(crate) fn parse(text: &str) -> Self {
        let mut media = Self::default();
        for line in text.lines() {
            if let Some(number) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
                media.msn = number.trim().parse().unwrap_or(0);
            } else if let Some(rest) = line.strip_prefix("#EXT-X-SKIP:") {
                media.msn += attribute(rest, "SKIPPED-SEGMENTS").and_then(|n| n.parse().ok()).unwrap_or(0);
            } else if let Some(rest) = line.strip_prefix("#EXT-X-PART:") {
                let uri = attribute(rest, "URI").unwrap_or_default().to_owned();
                let duration = attribute(rest, "DURATION").and_then(|d| d.parse().ok()).unwrap_or(0.0);
                media.parts.push(Part { msn: media.msn, index: media.part, uri, duration });
                media.part += 1;
            } else if line == "#EXT-X-ENDLIST" {
                media.ended = true;
            } else if !line.is_empty() && !line.starts_with('#') {
                (media.msn, media.part) = (media.msn + 1, 0);
            }
        }
        media
    }

    /// Returns the query that waits for the next part.
    pub(crate) fn next(&self) -> String {
        format!("_HLS_msn={}&_HLS_part={}", self.msn, self.part)
    }
}

/// Returns the URIs of the first variant and of the first audio rendition in a multivariant playlist.
pub(crate) fn renditions(text: &str) -> (Option<&str>, Option<&str>) {
    let variant = text.lines().find(|line| !line.is_empty() && !line.starts_with('#'));
    let audio = text.lines().filter_map(|line| line.strip_prefix("#EXT-X-MEDIA:")).find_map(|l| attribute(l, "URI"));
    (variant, audio)
}

/// Returns the value of an attribute in an attribute list, without quotes.
fn attribute<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = list;
    loop {
        let (key, tail) = rest.split_once('=')?;
        let (value, tail) = match tail.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => tail.split_once(',').map_or((tail, ""), |(value, more)| (value, more)),
        };
        if key.trim_start_matches(',').trim() == name {
            return Some(value);
        }
        rest = tail;
    }
}

/// The path of `uri`, found in the document at `base`.
pub(crate) fn resolve(base: &str, uri: &str) -> String {
    if let Some((_, rest)) = uri.split_once("://") {
        return rest.find('/').map_or("/", |at| &rest[at..]).to_owned();
    }
    if uri.starts_with('/') {
        return uri.to_owned();
    }
    let path = base.split('?').next().unwrap_or_default();
    format!("{}{uri}", &path[..path.rfind('/').map_or(0, |at| at + 1)])
}

/// `path` with one more query.
pub(crate) fn with_query(path: &str, query: &str) -> String {
    format!("{path}{}{query}", if path.contains('?') { '&' } else { '?' })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n\
        #EXT-X-PART:DURATION=0.2,URI=\"a,b.mp4\",INDEPENDENT=YES\n#EXTINF:2.0,\ns10.mp4\n\
        #EXT-X-PART:DURATION=0.20000,URI=\"c.mp4\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"d.mp4\"\n";

    #[test]
    fn the_next_position_follows_the_last_part() {
        let media = Media::parse(LOW);
        assert_eq!((media.msn, media.part, media.ended), (11, 1, false));
        assert_eq!(media.parts[0], Part { msn: 10, index: 0, uri: "a,b.mp4".into(), duration: 0.2 });
        assert_eq!(media.parts[1], Part { msn: 11, index: 0, uri: "c.mp4".into(), duration: 0.2 });
        assert_eq!(media.next(), "_HLS_msn=11&_HLS_part=1");
    }

    #[test]
    fn renditions_are_found() {
        let text = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",URI=\"/x/1.m3u8\"\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n";
        assert_eq!(renditions(text), (Some("v.m3u8"), Some("/x/1.m3u8")));
    }

    #[test]
    fn addresses_resolve() {
        assert_eq!(resolve("/id/a.m3u8?x=/y", "b.mp4"), "/id/b.mp4");
        assert_eq!(resolve("/id/a.m3u8", "/b.mp4"), "/b.mp4");
        assert_eq!(resolve("/id.m3u8", "http://h:1/c/d"), "/c/d");
        assert_eq!(with_query("/a?b=1", "c=2"), "/a?b=1&c=2");
    }
}
