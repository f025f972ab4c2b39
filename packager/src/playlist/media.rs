//! The text of a media playlist.

use std::fmt::{self, Write};

use media::TimeDelta;

use super::model::{MediaPlaylist, PartInfo, PlaylistKind, RenditionReport, SegmentInfo, Tail};
use super::{Steps, VERSION};
use crate::uri::{File, Query};

/// Least distance from the end at which players play, in target durations (rfc8216bis §4.4.3.8).
const HOLD_BACK: i64 = 3;
/// The same in part targets, for players that load parts.
const PART_HOLD_BACK: i64 = 3;
/// Segments further from the end than this many target durations may be skipped in a delta update.
const SKIP_UNTIL: i64 = 6;
/// Parts further from the end than this many target durations are left out (rfc8216bis §6.2.2).
const PARTS_LISTED: i64 = 3;
/// A typical live playlist with parts fits in this many bytes.
const TEXT_CAPACITY: usize = 8_192;

/// Inputs to the text of a [`MediaPlaylist`] besides the model.
#[derive(Clone, Copy, Debug, Default)]
pub struct MediaOptions<'a> {
    /// The client asks for a delta update (`_HLS_skip`).
    pub skip: bool,
    /// The query that all URIs carry on; its `low_latency` also says whether parts are offered.
    pub query: Query<'a>,
}

impl<'a, S> MediaPlaylist<S>
where
    S: DoubleEndedIterator<Item = SegmentInfo<'a>> + Clone,
{
    /// Renders the playlist.
    pub fn render(&self, options: &MediaOptions<'_>) -> String {
        let offered = options.query.low_latency && self.kind != PlaylistKind::Vod;
        let part_target = self.targets.part.filter(|_| offered);
        let mut text = Text { list: self, part_target, options, out: String::with_capacity(TEXT_CAPACITY) };
        // Writing to a String cannot fail.
        let _ = text.write();
        text.out
    }
}

/// A playlist that is being written.
struct Text<'a, S> {
    list: &'a MediaPlaylist<S>,
    /// `PART-TARGET`; `None` if no parts are listed.
    part_target: Option<TimeDelta>,
    options: &'a MediaOptions<'a>,
    out: String,
}

impl<'s, S> Text<'_, S>
where
    S: DoubleEndedIterator<Item = SegmentInfo<'s>> + Clone,
{
    fn write(&mut self) -> fmt::Result {
        let may_skip = self.options.skip && self.list.kind != PlaylistKind::Vod;
        let skipped = if may_skip { self.skippable() } else { 0 };
        self.header()?;
        if skipped > 0 {
            writeln!(self.out, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}")?;
        }
        let parts_from = self.first_with_parts();
        let mut init = None;
        for segment in self.list.segments.clone().skip(skipped) {
            let with_parts = self.part_target.is_some() && segment.msn >= parts_from;
            if !segment.open || with_parts {
                self.segment(&segment, with_parts, &mut init)?;
            }
        }
        self.tail()
    }

    fn header(&mut self) -> fmt::Result {
        let target = self.list.targets.segment_secs;
        writeln!(self.out, "#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-TARGETDURATION:{target}")?;
        self.out.push_str(match self.list.kind {
            PlaylistKind::Live => "",
            PlaylistKind::Event => "#EXT-X-PLAYLIST-TYPE:EVENT\n",
            PlaylistKind::Vod => "#EXT-X-PLAYLIST-TYPE:VOD\n",
        });
        if self.list.kind != PlaylistKind::Vod {
            self.server_control()?;
        }
        if let Some(part) = self.part_target {
            writeln!(self.out, "#EXT-X-PART-INF:PART-TARGET={}", Steps::up(part))?;
        }
        writeln!(self.out, "#EXT-X-MEDIA-SEQUENCE:{}", self.list.media_sequence)?;
        if self.list.discontinuity_sequence > 0 {
            writeln!(self.out, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", self.list.discontinuity_sequence)?;
        }
        if self.list.segments.clone().all(|s| s.independent || s.gap) {
            self.out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
        }
        Ok(())
    }

    fn server_control(&mut self) -> fmt::Result {
        let target = i64::from(self.list.targets.segment_secs);
        write!(self.out, "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES")?;
        write!(self.out, ",CAN-SKIP-UNTIL={}", Steps::secs(SKIP_UNTIL * target))?;
        if let Some(part) = self.part_target {
            // Counted from the printed PART-TARGET, or a rounding could make it less than three times that.
            let hold_back = Steps::up(part).0 * PART_HOLD_BACK + Steps::up(self.list.targets.max_stall).0;
            write!(self.out, ",PART-HOLD-BACK={}", Steps(hold_back))?;
        }
        writeln!(self.out, ",HOLD-BACK={}", Steps::secs(HOLD_BACK * target))
    }

    fn segment(&mut self, segment: &SegmentInfo<'_>, with_parts: bool, init: &mut Option<u32>) -> fmt::Result {
        let query = self.options.query.for_media();
        if segment.discontinuity {
            self.out.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if *init != Some(segment.init) {
            *init = Some(segment.init);
            writeln!(self.out, "#EXT-X-MAP:URI=\"{}{query}\"", File::Init(self.list.rendition, segment.init))?;
        }
        writeln!(self.out, "#EXT-X-PROGRAM-DATE-TIME:{}", segment.wall)?;
        if with_parts {
            self.parts(segment)?;
        }
        if !segment.open {
            if segment.gap {
                self.out.push_str("#EXT-X-GAP\n");
            }
            let file = File::Segment(self.list.rendition, segment.msn);
            writeln!(self.out, "#EXTINF:{},\n{file}{query}", Steps::nearest(segment.duration))?;
        }
        Ok(())
    }

    /// Writes durations as differences of rounded positions, so that they add up to `EXTINF`, and each one step longer.
    ///
    /// Shaka 5.2: a part that begins earlier in the media than the sum of the durations before it, be it by a rounding
    /// of floating point, resets the decoder, and Chromium drops the part unless it is independent.
    fn parts(&mut self, segment: &SegmentInfo<'_>) -> fmt::Result {
        let longest = self.part_target.map_or(i64::MAX, |target| Steps::up(target).0);
        let mut end = TimeDelta::ZERO;
        for (index, part) in (0..).zip(segment.parts) {
            let start = end;
            end += part.duration;
            let duration = Steps::up(end).0 - Steps::up(start).0 + 1;
            let file = File::Part(self.list.rendition, segment.msn, index);
            self.part(part, file, Steps(duration.min(longest)))?;
        }
        Ok(())
    }

    fn part(&mut self, part: &PartInfo, file: File, duration: Steps) -> fmt::Result {
        write!(self.out, "#EXT-X-PART:DURATION={duration},URI=\"{file}{}\"", self.options.query.for_media())?;
        self.out.push_str(match (part.gap, part.independent) {
            (true, _) => ",GAP=YES\n",
            (false, true) => ",INDEPENDENT=YES\n",
            (false, false) => "\n",
        });
        Ok(())
    }

    fn tail(&mut self) -> fmt::Result {
        let Tail::Open { next, reports } = &self.list.tail else { return self.end() };
        if self.list.kind == PlaylistKind::Vod {
            return self.end();
        }
        if self.part_target.is_some() {
            let file = File::Part(next.rendition, next.msn, next.index);
            writeln!(self.out, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{file}{}\"", self.options.query.for_media())?;
        }
        reports.iter().try_for_each(|report| self.report(report))
    }

    fn end(&mut self) -> fmt::Result {
        self.out.write_str("#EXT-X-ENDLIST\n")
    }

    fn report(&mut self, report: &RenditionReport) -> fmt::Result {
        let last = match self.part_target {
            Some(_) => report.part.map(|(msn, part)| (msn, Some(part))),
            None => report.segment.map(|msn| (msn, None)),
        };
        let Some((msn, part)) = last else { return Ok(()) };
        let (file, query) = (File::Playlist(report.rendition), self.options.query);
        write!(self.out, "#EXT-X-RENDITION-REPORT:URI=\"{file}{query}\",LAST-MSN={msn}")?;
        if let Some(part) = part {
            write!(self.out, ",LAST-PART={part}")?;
        }
        self.out.write_str("\n")
    }

    /// Counts the first segments that lie wholly beyond the skip boundary.
    fn skippable(&self) -> usize {
        let boundary = TimeDelta::from_secs(SKIP_UNTIL * i64::from(self.list.targets.segment_secs));
        let with_open = self.part_target.is_some();
        let shown = || self.list.segments.clone().filter(move |s| with_open || !s.open);
        let mut rest = shown().fold(TimeDelta::ZERO, |sum, s| sum + s.duration);
        let beyond = shown().take_while(|s| {
            rest = rest - s.duration;
            rest >= boundary
        });
        beyond.count()
    }

    /// The first segment whose parts are listed: the first one that lies wholly within [`PARTS_LISTED`] target
    /// durations of the end. Players further away load whole segments.
    fn first_with_parts(&self) -> u64 {
        let reach = TimeDelta::from_secs(PARTS_LISTED * i64::from(self.list.targets.segment_secs));
        let mut from_end = TimeDelta::ZERO;
        let near = self.list.segments.clone().rev().take_while(|s| {
            from_end += s.duration;
            from_end <= reach
        });
        near.last().or_else(|| self.list.segments.clone().next_back()).map_or(0, |s| s.msn)
    }
}
