//! The media playlist of a rendition.

use std::fmt::{self, Write};

use media::TimeDelta;

use super::{Steps, VERSION};
use crate::log::{Part, RenditionId, Targets};
use crate::uri::{File, Query};
use crate::window::{Progress, Rendition, Segment, Window};

/// Least distance from the end at which players play, in target durations (rfc8216bis §4.4.3.8).
const HOLD_BACK: i64 = 3;
/// The same in part targets, for players of parts.
const PART_HOLD_BACK: i64 = 3;
/// Segments further from the end than this many target durations may be skipped in a delta update.
const SKIP_UNTIL: i64 = 6;
/// Parts further from the end than this many target durations are to be left out (rfc8216bis §6.2.2).
const PARTS_LISTED: i64 = 3;

/// What a media playlist depends on besides the window.
#[derive(Clone, Copy, Debug, Default)]
pub struct MediaOptions<'a> {
    /// A delta update is asked for (`_HLS_skip`).
    pub skip: bool,
    /// Carried on to all that the playlist points to; its `low_latency` also says whether parts are offered.
    pub query: Query<'a>,
}

/// Renders the media playlist of a rendition; none before the frozen durations and a segment are there.
pub fn media(window: &Window, rendition: RenditionId, options: &MediaOptions<'_>) -> Option<String> {
    let rendition = window.rendition(rendition)?;
    let targets = window.targets()?;
    rendition.listed().next().filter(|s| s.is_closed())?;
    let part_target = targets.part.filter(|_| options.query.low_latency);
    let mut list = List { window, rendition, targets, part_target, options, out: String::with_capacity(8_192) };
    // Writing to a String cannot fail.
    let _ = list.write();
    Some(list.out)
}

struct List<'a> {
    window: &'a Window,
    rendition: &'a Rendition,
    targets: Targets,
    part_target: Option<TimeDelta>,
    options: &'a MediaOptions<'a>,
    out: String,
}

impl List<'_> {
    fn write(&mut self) -> fmt::Result {
        let skipped = if self.options.skip { self.skippable() } else { 0 };
        self.head()?;
        if skipped > 0 {
            writeln!(self.out, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}")?;
        }
        let parts_from = self.parts_from();
        let mut init = None;
        for segment in self.rendition.listed().skip(skipped) {
            let with_parts = self.part_target.is_some() && segment.msn() >= parts_from;
            if segment.is_closed() || with_parts {
                self.segment(segment, with_parts, &mut init)?;
            }
        }
        self.tail()
    }

    fn head(&mut self) -> fmt::Result {
        let target = self.targets.segment_secs;
        writeln!(self.out, "#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-TARGETDURATION:{target}")?;
        self.server_control()?;
        if let Some(part) = self.part_target {
            writeln!(self.out, "#EXT-X-PART-INF:PART-TARGET={}", Steps::up(part))?;
        }
        if let Some(first) = self.rendition.listed().next() {
            writeln!(self.out, "#EXT-X-MEDIA-SEQUENCE:{}", first.msn())?;
            if first.discontinuity_sequence() > 0 {
                writeln!(self.out, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", first.discontinuity_sequence())?;
            }
        }
        if self.rendition.listed().all(|s| s.independent() || s.is_gap()) {
            self.out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
        }
        Ok(())
    }

    fn server_control(&mut self) -> fmt::Result {
        let target = i64::from(self.targets.segment_secs);
        write!(self.out, "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES")?;
        write!(self.out, ",CAN-SKIP-UNTIL={}", Steps::secs(SKIP_UNTIL * target))?;
        if let Some(part) = self.part_target {
            // From the printed PART-TARGET, or it could fall short of three times that by a rounding.
            let hold_back = Steps::up(part).0 * PART_HOLD_BACK + Steps::up(self.targets.pause).0;
            write!(self.out, ",PART-HOLD-BACK={}", Steps(hold_back))?;
        }
        writeln!(self.out, ",HOLD-BACK={}", Steps::secs(HOLD_BACK * target))
    }

    fn segment(&mut self, segment: &Segment, with_parts: bool, init: &mut Option<u32>) -> fmt::Result {
        let Some(first) = segment.parts().first() else { return Ok(()) };
        let query = self.options.query.for_media();
        if segment.discontinuity() {
            self.out.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if *init != Some(first.init) {
            *init = Some(first.init);
            writeln!(self.out, "#EXT-X-MAP:URI=\"{}{query}\"", File::Init(self.rendition.id(), first.init))?;
        }
        writeln!(self.out, "#EXT-X-PROGRAM-DATE-TIME:{}", first.wall)?;
        if with_parts {
            self.parts(segment)?;
        }
        if segment.is_closed() {
            if segment.is_gap() {
                self.out.push_str("#EXT-X-GAP\n");
            }
            let file = File::Segment(self.rendition.id(), segment.msn());
            writeln!(self.out, "#EXTINF:{},\n{file}{query}", Steps::nearest(segment.duration()))?;
        }
        Ok(())
    }

    /// Durations are written as differences of rounded positions, so that they add up to `EXTINF`, and each a step longer.
    ///
    /// Shaka 5.2: a part that begins earlier in the media than the sum of the durations before it says, be it by a rounding
    /// of floating point, resets the decoder, and Chromium drops the part unless it is independent.
    fn parts(&mut self, segment: &Segment) -> fmt::Result {
        let longest = self.part_target.map_or(i64::MAX, |target| Steps::up(target).0);
        let mut end = TimeDelta::ZERO;
        for part in segment.parts() {
            let start = end;
            end += part.duration;
            let duration = Steps::up(end).0 - Steps::up(start).0 + 1;
            self.part(part, Steps(duration.min(longest)))?;
        }
        Ok(())
    }

    fn part(&mut self, part: &Part, duration: Steps) -> fmt::Result {
        let file = File::Part(part.rendition, part.msn, part.index);
        write!(self.out, "#EXT-X-PART:DURATION={duration},URI=\"{file}{}\"", self.options.query.for_media())?;
        self.out.push_str(match (part.frames, part.independent) {
            (0, _) => ",GAP=YES\n",
            (_, true) => ",INDEPENDENT=YES\n",
            (_, false) => "\n",
        });
        Ok(())
    }

    fn tail(&mut self) -> fmt::Result {
        if self.window.has_ended() {
            self.out.push_str("#EXT-X-ENDLIST\n");
            return Ok(());
        }
        let query = self.options.query;
        if self.part_target.is_some() {
            let Progress { msn, parts } = self.rendition.hint();
            let file = File::Part(self.rendition.id(), msn, parts);
            writeln!(self.out, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{file}{}\"", self.options.query.for_media())?;
        }
        for other in self.window.renditions().filter(|r| r.id() != self.rendition.id()) {
            if let Some((msn, part)) = last_of(other, self.part_target.is_some()) {
                let file = File::Playlist(other.id());
                write!(self.out, "#EXT-X-RENDITION-REPORT:URI=\"{file}{query}\",LAST-MSN={msn}")?;
                if let Some(part) = part {
                    write!(self.out, ",LAST-PART={part}")?;
                }
                self.out.push('\n');
            }
        }
        Ok(())
    }

    /// How many of the first segments lie wholly beyond the skip boundary.
    fn skippable(&self) -> usize {
        let boundary = TimeDelta::from_secs(SKIP_UNTIL * i64::from(self.targets.segment_secs));
        let mut behind = self.shown().fold(TimeDelta::ZERO, |sum, s| sum + s.duration());
        let beyond = self.shown().take_while(|s| {
            behind = behind - s.duration();
            behind >= boundary
        });
        beyond.count()
    }

    /// The first segment whose parts are listed: the first that lies wholly within the reach of parts. None of it would be
    /// asked for otherwise, because players that far from the end load whole segments.
    fn parts_from(&self) -> u64 {
        let reach = TimeDelta::from_secs(PARTS_LISTED * i64::from(self.targets.segment_secs));
        let mut from_end = TimeDelta::ZERO;
        let near = self.rendition.listed().rev().take_while(|s| {
            from_end += s.duration();
            from_end <= reach
        });
        near.last().or_else(|| self.rendition.listed().next_back()).map_or(0, Segment::msn)
    }

    fn shown(&self) -> impl Iterator<Item = &Segment> {
        let open = self.part_target.is_some();
        self.rendition.listed().filter(move |s| open || s.is_closed())
    }
}

/// The newest segment that the playlist of a rendition shows, and its newest part. The first part of a segment is told one
/// part later: hls.js 1.7 reads `LAST-PART=0` as if there were none, and waits for one that comes up to a segment later.
fn last_of(rendition: &Rendition, parts: bool) -> Option<(u64, Option<usize>)> {
    let mut newest = rendition.listed().rev().filter(|s| parts || s.is_closed());
    let last = newest.next()?;
    let before = newest.next().filter(|before| parts && last.parts().len() <= 1 && before.parts().len() > 1);
    let told = before.unwrap_or(last);
    Some((told.msn(), parts.then(|| told.parts().len().saturating_sub(1))))
}
