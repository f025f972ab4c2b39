//! A strict parser of media playlists: fields that a check relies on have to be present.

/// A partial segment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub uri: String,
    pub duration: f64,
    pub independent: bool,
    /// True if it has no media (`GAP=YES`).
    pub gap: bool,
}

/// A rendition report: the position of another rendition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    pub uri: String,
    pub msn: u64,
    pub part: Option<usize>,
}

/// A media segment with the parts that are still listed for it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Segment {
    pub number: u64,
    pub uri: String,
    pub duration: f64,
    pub discontinuity: bool,
    /// True if it has no media (`EXT-X-GAP`).
    pub gap: bool,
    pub date_time: Option<String>,
    pub map: String,
    pub parts: Vec<Part>,
}

/// One reload of a media playlist.
#[derive(Clone, Debug, Default)]
pub(crate) struct MediaPlaylist {
    pub text: String,
    pub target_duration: f64,
    pub part_target: Option<f64>,
    /// The complete `EXT-X-SERVER-CONTROL` line.
    pub server_control: Option<String>,
    pub first: u64,
    pub segments: Vec<Segment>,
    /// Parts of the segment that is still being written.
    pub open_parts: Vec<Part>,
    pub ended: bool,
    /// Number of discontinuities before the first segment.
    pub discontinuity_sequence: u64,
    pub independent_segments: bool,
    /// URI of the next part (`EXT-X-PRELOAD-HINT`).
    pub hint: Option<String>,
    pub reports: Vec<Report>,
}

/// Tags since the last segment.
#[derive(Default)]
struct Pending {
    duration: Option<f64>,
    discontinuity: bool,
    gap: bool,
    date_time: Option<String>,
    parts: Vec<Part>,
}

impl MediaPlaylist {
    pub(crate) fn parse(text: &str) -> Self {
        assert!(text.starts_with("#EXTM3U"), "not a playlist: {text}");
        let mut list = Self { text: text.to_owned(), ..Self::default() };
        let mut pending = Pending::default();
        let mut map = None;
        for line in text.lines().filter(|line| !line.is_empty()) {
            if !line.starts_with('#') {
                let tags = std::mem::take(&mut pending);
                list.segments.push(Segment {
                    number: list.first + list.segments.len() as u64,
                    uri: line.to_owned(),
                    duration: tags.duration.unwrap_or_else(|| panic!("{line} has no EXTINF")),
                    discontinuity: tags.discontinuity,
                    gap: tags.gap,
                    date_time: tags.date_time,
                    map: map.clone().unwrap_or_else(|| panic!("{line} precedes the first EXT-X-MAP")),
                    parts: tags.parts,
                });
                continue;
            }
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            match tag {
                "#EXT-X-TARGETDURATION" => list.target_duration = number(value),
                "#EXT-X-PART-INF" => {
                    list.part_target = Some(number(&attribute(value, "PART-TARGET").expect("a target")))
                }
                "#EXT-X-SERVER-CONTROL" => list.server_control = Some(line.to_owned()),
                "#EXT-X-MEDIA-SEQUENCE" => list.first = value.parse().expect("a sequence number"),
                "#EXT-X-ENDLIST" => list.ended = true,
                "#EXT-X-MAP" => map = Some(attribute(value, "URI").expect("a map has a URI")),
                "#EXTINF" => pending.duration = Some(number(value.trim_end_matches(','))),
                "#EXT-X-DISCONTINUITY" => pending.discontinuity = true,
                "#EXT-X-GAP" => pending.gap = true,
                "#EXT-X-PROGRAM-DATE-TIME" => pending.date_time = Some(value.to_owned()),
                "#EXT-X-PART" => pending.parts.push(part(value)),
                "#EXT-X-DISCONTINUITY-SEQUENCE" => list.discontinuity_sequence = value.parse().expect("a number"),
                "#EXT-X-INDEPENDENT-SEGMENTS" => list.independent_segments = true,
                "#EXT-X-PRELOAD-HINT" => list.hint = attribute(value, "URI"),
                "#EXT-X-RENDITION-REPORT" => list.reports.push(Report {
                    uri: attribute(value, "URI").expect("a report has a URI"),
                    msn: attribute(value, "LAST-MSN").expect("a report names a segment").parse().expect("a number"),
                    part: attribute(value, "LAST-PART").map(|part| part.parse().expect("a number")),
                }),
                _ => {}
            }
        }
        list.open_parts = pending.parts;
        list
    }

    /// Returns the values that must not change during a broadcast.
    pub(crate) fn frozen(&self) -> (f64, Option<f64>, Option<String>) {
        (self.target_duration, self.part_target, self.server_control.clone())
    }
}

fn number(text: &str) -> f64 {
    text.trim().parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn part(value: &str) -> Part {
    Part {
        uri: attribute(value, "URI").expect("a part has a URI"),
        duration: number(&attribute(value, "DURATION").expect("a part has a duration")),
        independent: attribute(value, "INDEPENDENT").is_some_and(|text| text == "YES"),
        gap: attribute(value, "GAP").is_some_and(|text| text == "YES"),
    }
}

/// Returns the value of an attribute in an attribute list, without quotes.
pub(crate) fn attribute(list: &str, name: &str) -> Option<String> {
    let mut rest = list;
    while let Some((key, after)) = rest.split_once('=') {
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => {
                let (value, left) = quoted.split_once('"')?;
                (value, left.trim_start_matches(','))
            }
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if key.trim() == name {
            return Some(value.to_owned());
        }
        rest = left;
    }
    None
}
