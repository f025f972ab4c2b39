//! The rules for one media playlist, and for its changes.

use super::super::{MediaPlaylist, Part, Segment};
use super::unix_seconds;

/// Durations are rounded to ten microseconds, and those of parts are rounded up.
const ROUNDING: f64 = 0.000_02;
/// Tolerance of dates: they are in milliseconds, and a segment may begin within a frame of that of another rendition.
const DATE_TOLERANCE: f64 = 0.06;
/// Maximum distance of a date in the future. Clocks of encoders are not exact, and a frame is published before its
/// duration is over.
const MAX_FUTURE: f64 = 0.5;
/// Minimum share of PART-TARGET.
const MIN_PART: f64 = 0.85;

/// Returns the violations of a playlist that was read at `now`, in seconds since 1970.
pub(super) fn check(list: &MediaPlaylist, now: f64) -> Vec<String> {
    let mut faults = Vec::new();
    for segment in &list.segments {
        if segment.duration.round() > list.target_duration {
            faults.push(format!("{} lasts {} s of {}", segment.uri, segment.duration, list.target_duration));
        }
        let sum: f64 = segment.parts.iter().map(|part| part.duration).sum();
        let excess = sum - segment.duration;
        if !segment.parts.is_empty() && !(-ROUNDING..=ROUNDING * (segment.parts.len() + 1) as f64).contains(&excess) {
            faults.push(format!("{} lasts {} s, its parts {sum} s", segment.uri, segment.duration));
        }
        parts(&segment.parts, list.part_target, &mut faults);
    }
    parts(&list.open_parts, list.part_target, &mut faults);
    dates(list, now, &mut faults);
    if list.independent_segments && list.open_parts.first().is_some_and(|part| !part.independent && !part.gap) {
        faults.push(format!("INDEPENDENT-SEGMENTS before {}", list.open_parts[0].uri));
    }
    if list.ended && list.hint.is_some() {
        faults.push("a hint after ENDLIST".to_owned());
    }
    faults
}

fn parts(parts: &[Part], target: Option<f64>, faults: &mut Vec<String>) {
    let Some(target) = target.filter(|_| !parts.is_empty()) else { return };
    for (part, next) in parts.iter().zip(parts.iter().skip(1).map(Some).chain([None])) {
        let excused = part.gap || next.is_none_or(|next| next.gap);
        if part.duration > target + ROUNDING || part.duration < target * MIN_PART - ROUNDING && !excused {
            faults.push(format!("{} lasts {} s of {target}", part.uri, part.duration));
        }
    }
}

fn dates(list: &MediaPlaylist, now: f64, faults: &mut Vec<String>) {
    let mut end: Option<f64> = None;
    for segment in &list.segments {
        let Some(date) = segment.date_time.as_deref().and_then(unix_seconds) else {
            faults.push(format!("{} has no date", segment.uri));
            continue;
        };
        if let Some(off) = end.map(|end| date - end)
            && (off < -DATE_TOLERANCE || off > DATE_TOLERANCE && !segment.discontinuity)
        {
            faults.push(format!("{} is dated {off} s off the end of the previous segment", segment.uri));
        }
        end = Some(date + segment.duration);
    }
    let open: f64 = list.open_parts.iter().map(|part| part.duration).sum();
    if let Some(ahead) = end.map(|end| end + open - now).filter(|ahead| *ahead > MAX_FUTURE) {
        faults.push(format!("PROGRAM-DATE-TIME is {ahead} s in the future"));
    }
}

/// Returns the changes that are not allowed.
pub(super) fn compare(before: &MediaPlaylist, list: &MediaPlaylist) -> Vec<String> {
    let mut faults = Vec::new();
    if before.frozen() != list.frozen() {
        faults.push(format!("{:?} became {:?}", before.frozen(), list.frozen()));
    }
    if before.first > list.first || position(before) > position(list) {
        faults.push(format!(
            "{:?} of {} went back to {:?} of {}",
            position(before),
            before.first,
            position(list),
            list.first
        ));
    }
    let removed = before.segments.iter().filter(|segment| segment.number < list.first && segment.discontinuity).count();
    let sequence = before.discontinuity_sequence + removed as u64;
    if sequence != list.discontinuity_sequence {
        faults.push(format!("DISCONTINUITY-SEQUENCE is {}, not {sequence}", list.discontinuity_sequence));
    }
    for segment in &list.segments {
        let old = |old: &&Segment| old.number == segment.number;
        if let Some(old) = before.segments.iter().find(old)
            && (Segment { parts: Vec::new(), ..old.clone() }) != (Segment { parts: Vec::new(), ..segment.clone() })
        {
            faults.push(format!("{old:?} became {segment:?}"));
        }
    }
    let open = position(before).0;
    let now = list.segments.iter().find(|segment| segment.number == open).map(|segment| &segment.parts);
    let now = now.or((position(list).0 == open).then_some(&list.open_parts)).filter(|parts| !parts.is_empty());
    if let Some(now) = now.filter(|now| !now.starts_with(&before.open_parts)) {
        faults.push(format!("{:?} became {now:?}", before.open_parts));
    }
    faults
}

/// Returns the number of the open segment, and its number of parts so far.
pub(super) fn position(list: &MediaPlaylist) -> (u64, usize) {
    (list.first + list.segments.len() as u64, list.open_parts.len())
}

/// Returns true if the playlist contains this segment, or this part of it.
pub(super) fn contains(list: &MediaPlaylist, msn: u64, part: Option<usize>) -> bool {
    let (open, parts) = position(list);
    let whole = |segment: &&Segment| segment.number == msn;
    match part {
        None => msn < open,
        Some(part) if msn == open => part < parts,
        Some(part) => {
            let known = list.segments.iter().find(whole).map_or(0, |segment| segment.parts.len());
            msn < open && (known == 0 || part < known)
        }
    }
}

/// Checks that a delta update is the full playlist without the segments that it skips.
pub(super) fn is_delta_of(delta: &str, full: &str) -> Result<(), String> {
    let skipped = delta.lines().find_map(|line| line.strip_prefix("#EXT-X-SKIP:SKIPPED-SEGMENTS="));
    let Some(skipped) = skipped else {
        return if delta == full {
            Ok(())
        } else {
            Err("a delta update without EXT-X-SKIP is another playlist".to_owned())
        };
    };
    let skipped: usize = skipped.split(',').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    if skipped == 0 {
        return Err("SKIPPED-SEGMENTS=0".to_owned());
    }
    let rest: Vec<_> =
        delta.lines().filter(|line| !line.starts_with("#EXT-X-SKIP") && !line.starts_with("#EXT-X-MAP")).collect();
    let full: Vec<_> = full.lines().filter(|line| !line.starts_with("#EXT-X-MAP")).collect();
    // The lines of the skipped segments are between the head and the rest.
    let head = rest.iter().zip(&full).take_while(|(one, other)| one == other).count();
    let tail = rest.len() - head;
    let uris = full[head..full.len() - tail].iter().filter(|line| !line.starts_with('#')).count();
    let same = full[full.len() - tail..] == rest[head..];
    if same && uris == skipped {
        Ok(())
    } else {
        Err(format!("a delta update skips {uris} segments and says {skipped}"))
    }
}
