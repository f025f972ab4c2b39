//! The encoder's own frames for the simulcast targets of a transcoded broadcast.

use media::{Frame, Metadata, TimeDelta, Track};
use simulcast::Simulcast;
use slate::gap::{GapPolicy, SlatePoll};
use slate::{Item, Programme};

/// A passthrough [`Programme`] beside the one that the ladder decodes.
///
/// The slate in its gaps is in the encoder's own codecs, as in a broadcast that is not transcoded.
pub(super) struct Relay {
    pub(super) programme: Programme,
    output: Vec<Item>,
}

impl Relay {
    /// Creates a relay that joins a contribution with these tracks.
    pub(super) fn new(gap_policy: Option<GapPolicy>, tracks: &[Track], targets: &Simulcast) -> Self {
        let mut relay = Self { programme: Programme::for_passthrough(gap_policy), output: Vec::new() };
        relay.begin(targets);
        tracks.iter().for_each(|track| relay.track(track.clone(), targets));
        relay
    }

    /// Begins another contribution.
    pub(super) fn begin(&mut self, targets: &Simulcast) {
        self.programme.begin(&mut self.output);
        self.push(targets);
    }

    /// Announces a track of the contribution.
    pub(super) fn track(&mut self, track: Track, targets: &Simulcast) {
        self.programme.track(track, &mut self.output);
        self.push(targets);
    }

    /// Passes a frame of the contribution to the targets.
    pub(super) fn frame(&mut self, frame: Frame, now: TimeDelta, targets: &Simulcast) {
        self.programme.frame(frame, now, &mut self.output);
        self.push(targets);
    }

    /// Passes metadata of the contribution to the targets.
    pub(super) fn metadata(&self, metadata: Metadata, targets: &Simulcast) {
        self.programme.metadata(metadata).iter().for_each(|metadata| targets.metadata(metadata));
    }

    /// Passes the slate's frames that are due `now` to the targets; `None` without a slate.
    pub(super) fn poll(&mut self, now: TimeDelta, targets: &Simulcast) -> Option<SlatePoll> {
        let polled = self.programme.poll(now, &mut self.output);
        self.push(targets);
        polled
    }

    fn push(&mut self, targets: &Simulcast) {
        self.output.drain(..).for_each(|item| targets.push(&item));
    }
}
