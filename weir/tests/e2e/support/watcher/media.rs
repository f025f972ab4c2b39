//! Follows one media playlist.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::super::playlist::attribute;
use super::super::{MediaPlaylist, Segment, codec, fragments, resolve, timescale};
use super::hints::Hints;
use super::rules::{self, position};
use super::{Measured, Shared};

/// EXTINF has only a few decimals. Rounding errors are smaller than this, in seconds.
const EXTINF_ROUNDING: f64 = 0.002;
/// Number of reloads between two checks of delta updates and rendition reports.
const CHECK_EVERY: usize = 9;
/// Pause before a request is repeated.
const RETRY_DELAY: Duration = Duration::from_millis(100);

struct Follower {
    shared: Arc<Shared>,
    path: String,
    last: Option<MediaPlaylist>,
    hints: Hints,
    inits: BTreeMap<String, (f64, String)>,
    /// Segments that do not begin with a key frame.
    dependent: BTreeMap<u64, String>,
    /// The last segment and its end on the decode timeline, in seconds.
    end: Option<(u64, f64)>,
    began: Instant,
    /// Duration of media received since the first reload, and the time of that reload, in seconds.
    flow: Option<(f64, f64)>,
    reloads: usize,
}

/// Reloads until the playlist ends, the server is gone or the watcher stops.
pub(super) fn follow(shared: &Arc<Shared>, path: &str) {
    let hints = Hints::start(shared, path);
    let mut follower = Follower {
        shared: Arc::clone(shared),
        path: path.to_owned(),
        last: None,
        hints,
        inits: BTreeMap::new(),
        dependent: BTreeMap::new(),
        end: None,
        began: Instant::now(),
        flow: None,
        reloads: 0,
    };
    while !shared.stopping() && follower.reload() {}
    follower.hints.end();
}

impl Follower {
    /// Reloads once. Returns false at the end of the playlist.
    fn reload(&mut self) -> bool {
        let wanted = self.last.as_ref().map(|last| (position(last).0, last.part_target.map(|_| position(last).1)));
        let query = match wanted {
            None => String::new(),
            Some((msn, None)) => format!("?_HLS_msn={msn}"),
            Some((msn, Some(part))) => format!("?_HLS_msn={msn}&_HLS_part={part}"),
        };
        let Some(answer) = self.shared.client.try_get(&format!("{}{query}", self.path)) else { return false };
        if answer.status != 200 {
            // The encoder is disconnected for longer than a reload may wait, or its broadcast has ended and was
            // removed.
            if answer.status != 503 || self.last.is_none() {
                self.last = None;
            }
            self.shared.pause(RETRY_DELAY);
            return answer.status == 503;
        }
        let list = MediaPlaylist::parse(&answer.text());
        let reached = wanted.is_none_or(|(msn, part)| match part {
            None => rules::contains(&list, msn, None),
            Some(part) => position(&list) > (msn, part),
        });
        if !reached && !list.ended {
            self.fault(format!("{query} is answered with a playlist that ends at {:?}", position(&list)));
        }
        self.check(&list);
        let ended = list.ended;
        self.last = Some(list);
        !ended
    }

    fn check(&mut self, list: &MediaPlaylist) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64();
        let mut faults = rules::check(list, now);
        if let Some(last) = self.last.take() {
            faults.extend(rules::compare(&last, list));
            self.measure_jitter(&last, list);
            self.last = Some(last);
        }
        faults.into_iter().for_each(|fault| self.fault(fault));
        self.hints.follow(list, &self.shared);
        let known = self.last.as_ref().map_or(0, |last| position(last).0);
        for segment in list.segments.iter().filter(|segment| segment.number >= known) {
            self.segment(segment);
        }
        if list.independent_segments
            && let Some(dependent) = list.segments.iter().find_map(|segment| self.dependent.get(&segment.number))
        {
            self.fault(format!("INDEPENDENT-SEGMENTS, and {dependent} begins without a key frame"));
        }
        let mut state = self.shared.state.lock().expect("no thread panicked");
        state.lists.entry(self.path.clone()).or_default().newest.clone_from(list);
        drop(state);
        self.reloads += 1;
        if self.reloads.is_multiple_of(CHECK_EVERY) && !list.ended {
            self.reports(list);
            self.delta(list);
        }
    }

    /// Measures the jitter of the media since the first playlist.
    fn measure_jitter(&mut self, last: &MediaPlaylist, list: &MediaPlaylist) {
        let media = |list: &MediaPlaylist, from: u64| -> f64 {
            let closed = list.segments.iter().filter(|segment| segment.number >= from).map(|segment| segment.duration);
            closed.chain(list.open_parts.iter().map(|part| part.duration)).sum()
        };
        let (open, _) = position(last);
        let new = media(list, open) - media(last, open);
        let at = self.began.elapsed().as_secs_f64();
        let control = list.server_control.as_deref().and_then(|line| line.split_once(':')).map_or("", |(_, list)| list);
        let hold_back = attribute(control, "PART-HOLD-BACK").or_else(|| attribute(control, "HOLD-BACK"));
        let mut state = self.shared.state.lock().expect("no thread panicked");
        state.seen.hold_back = hold_back.and_then(|text| text.parse().ok()).unwrap_or(0.0);
        let (total, first) = self.flow.unwrap_or((0.0, at));
        let total = total + new;
        self.flow = Some((total, first));
        // Delay of the media in seconds, compared with a constant flow since the first reload.
        let lateness = at - first - total;
        let spread = state.seen.spread.entry(self.path.clone()).or_insert(lateness);
        *spread = spread.max(lateness);
    }

    /// Checks that a segment is the concatenation of its parts, has the duration of its EXTINF, and begins at the end
    /// of the previous segment.
    fn segment(&mut self, segment: &Segment) {
        let Some(init) = self.init(&segment.map) else { return };
        let answer = self.shared.client.try_get(&resolve(&self.path, &segment.uri));
        let Some(answer) = answer.filter(|_| !self.shared.stopping()) else { return };
        if answer.status != 200 {
            return self.fault(format!("{} is answered with {}", segment.uri, answer.status));
        }
        let (scale, codec) = init;
        let found = fragments(&answer.body);
        let lasts = found.iter().map(|fragment| fragment.duration).sum::<u64>() as f64 / scale;
        if (lasts - segment.duration).abs() > EXTINF_ROUNDING {
            self.fault(format!("{} lasts {lasts} s, EXTINF says {}", segment.uri, segment.duration));
        }
        let mut end =
            self.end.filter(|(number, _)| number + 1 == segment.number && !segment.discontinuity).map(|(_, end)| end);
        for fragment in &found {
            let start = fragment.decode_time as f64 / scale;
            if let Some(off) = end.map(|end| start - end).filter(|off| off.abs() > EXTINF_ROUNDING / 10.0) {
                self.fault(format!("tfdt jumps by {off} s in {}", segment.uri));
            }
            end = Some(start + fragment.duration as f64 / scale);
        }
        self.end = end.map(|end| (segment.number, end));
        if found.iter().all(|fragment| fragment.samples == 0) != segment.gap {
            self.fault(format!("{} and EXT-X-GAP disagree", segment.uri));
        }
        if found.iter().find(|fragment| fragment.samples > 0).is_some_and(|fragment| !fragment.independent) {
            self.dependent.insert(segment.number, segment.uri.clone());
        }
        self.parts(segment, &answer.body);
        let measured = Measured { bytes: answer.body.len(), duration: segment.duration, gap: segment.gap, codec };
        let mut state = self.shared.state.lock().expect("no thread panicked");
        state.lists.entry(self.path.clone()).or_default().segments.insert(segment.number, measured);
    }

    fn parts(&mut self, segment: &Segment, whole: &[u8]) {
        let mut joined = Vec::new();
        for part in &segment.parts {
            let body = self.hints.parts.remove(&part.uri).or_else(|| {
                let answer = self.shared.client.try_get(&resolve(&self.path, &part.uri));
                answer.filter(|answer| answer.status == 200).map(|answer| answer.body)
            });
            let Some(body) = body else { return self.fault(format!("{} is listed but cannot be fetched", part.uri)) };
            joined.extend(body);
        }
        if !segment.parts.is_empty() && joined != whole {
            self.fault(format!("{} is not the concatenation of its parts", segment.uri));
        }
    }

    fn init(&mut self, uri: &str) -> Option<(f64, String)> {
        if let Some(known) = self.inits.get(uri) {
            return Some(known.clone());
        }
        let answer = self.shared.client.try_get(&resolve(&self.path, uri))?;
        if answer.status != 200 {
            self.fault(format!("{uri} is answered with {}", answer.status));
            return None;
        }
        let init = (f64::from(timescale(&answer.body)), codec(&answer.body));
        self.inits.insert(uri.to_owned(), init.clone());
        Some(init)
    }

    /// Checks that other renditions have what the rendition reports name.
    fn reports(&self, list: &MediaPlaylist) {
        for report in &list.reports {
            let Some(answer) = self.shared.client.try_get(&resolve(&self.path, &report.uri)) else { return };
            let exists = answer.status == 200 && {
                let other = MediaPlaylist::parse(&answer.text());
                report.msn < other.first || rules::contains(&other, report.msn, report.part)
            };
            if !exists && !self.shared.stopping() {
                self.fault(format!("{report:?} names a segment or part that does not exist"));
            }
        }
    }

    fn delta(&self, list: &MediaPlaylist) {
        let get = |query: &str| {
            // Asks for a segment that exists already, so that the request does not block.
            let path = format!("{}?_HLS_msn={}{query}", self.path, list.first);
            self.shared.client.try_get(&path).map(|answer| answer.text())
        };
        // The playlist may grow in between, so try several times.
        for _ in 0..5 {
            let (Some(before), Some(delta), Some(after)) = (get(""), get("&_HLS_skip=YES"), get("")) else { return };
            if before == after {
                return rules::is_delta_of(&delta, &after).unwrap_or_else(|fault| self.fault(fault));
            }
        }
    }

    fn fault(&self, fault: String) {
        self.shared.fault(format!("{} at {:.1} s: {fault}", self.path, self.began.elapsed().as_secs_f64()));
    }
}
