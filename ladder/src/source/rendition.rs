//! The source as a rendition of its own beside the ladder, where its codec is another one: nothing stands in for it, so it
//! is away while the encoder is.

use media::{CodecConfig, LatencyMode, TimeDelta, Timestamp, Track, TrackId};

use crate::ladder::Output;
use crate::plan::Rung;
use crate::rate::Rate;
use crate::source::passthrough::{Cue, Source};
use crate::video::encoder::{Coding, Ticks};
use crate::video::raw_frame::RawFrame;

/// A picture that stands for so long is only shown for longer.
const STANDS: TimeDelta = TimeDelta::from_millis(500);

/// The contribution's own frames as one more rung.
pub(crate) struct Own {
    pub(crate) source: Source,
    n: usize,
    rung: Rung,
    track: Track,
    /// It was told of.
    told: bool,
    /// It has frames, as far as was told.
    there: bool,
    /// Its frames end before this time; it is told when the leader has come there.
    ends: Option<Timestamp>,
}

impl Own {
    /// Rung `n`, of a source with this header; none where it is H.264, which can be the leader, where it is not of the
    /// `leader`'s rate, and in `low`.
    pub(crate) fn new(n: usize, leader: &Rung, rate: Rate, header: &CodecConfig, coding: &Coding) -> Option<Self> {
        let known = matches!(header, CodecConfig::Hevc(_) | CodecConfig::Av1(_) | CodecConfig::Vp9(_));
        // In `low` a player has too little in hand for going over to another codec when the source leaves.
        if !known || leader.rate != rate || coding.mode == LatencyMode::Low {
            return None;
        }
        let (width, height) = header.display_size()?;
        let id = TrackId(u32::try_from(n).ok()?);
        let rung = Rung { name: "source".to_owned(), width, height, ..leader.clone() };
        // Nobody has to take it: players see what it needs.
        let source = Source::new(id, coding.ticks, coding.mode, u32::MAX);
        let track = Track::new(id, header.clone());
        Some(Self { source, n, rung, track, told: false, there: false, ends: None })
    }

    /// Whether frames with this header are the rendition's.
    pub(crate) fn suits(&self, codec: &CodecConfig) -> bool {
        self.track.codec == *codec
    }

    /// What is shown on the tick at `at`; see [`Source::show`].
    pub(crate) fn show(&mut self, picture: &RawFrame, live: bool, at: Timestamp, ticks: Ticks) -> Cue {
        let stands =
            |pts: Timestamp| self.source.newest().is_some_and(|(newest, since)| pts == newest && at - since < STANDS);
        let cue = self.source.show(picture.pts().filter(|pts| live || stands(*pts)), at, ticks);
        if let Cue::Encode { begins } = cue {
            self.source.left_out();
            self.ends = self.ends.or(begins.then_some(at));
        }
        cue
    }

    /// Puts what is known to be of the rendition into `out`; the leader has come to `led`.
    pub(crate) fn collect(&mut self, led: Timestamp, out: &mut Vec<Output>) {
        while let Some(frame) = self.source.pull() {
            if self.ends.is_some_and(|at| frame.pts >= at) {
                self.leave(out);
            }
            if !self.there {
                out.push(if self.told {
                    Output::Restored { rung: self.n }
                } else {
                    Output::Rung { n: self.n, rung: self.rung.clone(), track: self.track.clone() }
                });
                (self.told, self.there) = (true, true);
            }
            out.push(Output::Frame(frame));
        }
        if self.ends.is_some_and(|at| led >= at) {
            self.leave(out);
        }
    }

    fn leave(&mut self, out: &mut Vec<Output>) {
        self.ends = None;
        if std::mem::replace(&mut self.there, false) {
            out.push(Output::Absent { rung: self.n });
        }
    }
}
