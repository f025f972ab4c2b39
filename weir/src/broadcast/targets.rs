//! Simulcast targets of one broadcast, by the rendition that they receive.

use std::collections::BTreeMap;
use std::sync::Arc;

use control::{SimulcastRendition, SimulcastTargetSettings};
use ladder::Output;
use ladder::plan::{FIRST_AUDIO_TRACK, Rung};
use media::TrackId;
use parking_lot::Mutex;
use simulcast::{Events, Secret, Simulcast, TargetId};
use tokio::runtime::Handle;

/// Reports that a target cannot receive its rendition, with the reason. Called while the broadcast is locked, so it must
/// not block.
pub(crate) type Reject = Arc<dyn Fn(&TargetId, String) + Send + Sync>;

/// The targets of a broadcast: a [`Simulcast`] for the source, and one for each rendition of the ladder.
pub(crate) struct Targets {
    source: Simulcast,
    renditions: Vec<(u32, Simulcast)>,
    ladder: Mutex<LadderState>,
    reject: Reject,
}

/// Renditions of the ladder, as far as they are known.
#[derive(Default)]
struct LadderState {
    is_transcoded: bool,
    /// Rungs of the ladder; `None` before [`Output::Plan`].
    plan: Option<Vec<Rung>>,
    /// Heights of the renditions in `renditions`, by their video track.
    heights: BTreeMap<TrackId, u32>,
    /// Targets that wait for the plan, with the height that they want.
    waiting: Vec<(TargetId, u32)>,
}

impl Targets {
    /// Creates the programmes of a broadcast without targets, whose tasks run on `runtime`.
    pub(crate) fn new(config: &simulcast::Config, runtime: &Handle, reject: Reject) -> Self {
        let simulcast = || Simulcast::new(config.clone(), runtime.clone());
        let heights = SimulcastRendition::ALL.iter().filter_map(|rendition| rendition.height());
        let renditions = heights.map(|height| (height, simulcast())).collect();
        Self { source: simulcast(), renditions, ladder: Mutex::default(), reject }
    }

    /// Notes that the broadcast has a ladder, whose output [`Targets::take`] receives.
    pub(super) fn expect_ladder(&self) {
        self.ladder.lock().is_transcoded = true;
    }

    /// Returns the programme as the encoder sent it.
    pub(super) const fn source(&self) -> &Simulcast {
        &self.source
    }

    /// Adds a target to the programme of its rendition, or returns the reason why it cannot be served. `events` receives its transitions.
    pub(super) fn add(&self, target: &SimulcastTargetSettings, events: Arc<dyn Events>) -> anyhow::Result<()> {
        let id = TargetId::from(target.id.as_str());
        let settings = simulcast::Settings {
            url: Secret::from(target.url.as_str()),
            stream_key: Secret::from(target.stream_key.as_deref().unwrap_or_default()),
        };
        let Some(height) = target.rendition.height() else {
            return Ok(self.source.add(id, &settings, events)?);
        };
        let Some((_, programme)) = self.renditions.iter().find(|(of, _)| *of == height) else { return Ok(()) };
        let mut ladder = self.ladder.lock();
        if !ladder.is_transcoded {
            anyhow::bail!(
                "there is no rendition {height}p, because the live stream is not transcoded; choose the rendition source, or \
                 the video quality plus or premium"
            );
        }
        ladder.plan.as_ref().map_or(Ok(()), |plan| find_rung(plan, height))?;
        programme.add(id.clone(), &settings, events)?;
        if ladder.plan.is_none() {
            ladder.waiting.push((id, height));
        }
        Ok(())
    }

    /// Removes a target, whose task ends the publication.
    pub(crate) fn remove(&self, id: &TargetId) {
        self.ladder.lock().waiting.retain(|(waiting, _)| waiting != id);
        let _ = self.programmes().any(|programme| programme.remove(id));
    }

    /// Passes output of the ladder to the targets of its rendition, and the first encoding of the first audio track to the
    /// targets of all renditions.
    pub(super) fn take(&self, output: &Output) {
        let mut ladder = self.ladder.lock();
        match output {
            Output::Plan(plan) => {
                ladder.plan = Some(plan.clone());
                for (id, height) in std::mem::take(&mut ladder.waiting) {
                    if let Err(refusal) = find_rung(plan, height) {
                        let _ = self.programmes().any(|programme| programme.remove(&id));
                        (self.reject)(&id, refusal.to_string());
                    }
                }
            }
            Output::Rung { n, rung, track } if ladder.plan.as_ref().is_some_and(|plan| plan.get(*n) == Some(rung)) => {
                ladder.heights.insert(track.id, short_side(rung));
                self.push(short_side(rung), &slate::Item::Track(track.clone()));
            }
            Output::Audio(track) if track.id == FIRST_AUDIO_TRACK => {
                self.push_to_all(&slate::Item::Track(track.clone()));
            }
            Output::Frame(frame) if frame.track == FIRST_AUDIO_TRACK => {
                self.push_to_all(&slate::Item::Frame(frame.clone()));
            }
            Output::Metadata(metadata) => {
                self.renditions.iter().for_each(|(_, programme)| programme.metadata(metadata));
            }
            Output::Frame(frame) => {
                if let Some(height) = ladder.heights.get(&frame.track) {
                    self.push(*height, &slate::Item::Frame(frame.clone()));
                }
            }
            _ => {}
        }
    }

    fn push(&self, height: u32, item: &slate::Item) {
        self.renditions.iter().filter(|(of, _)| *of == height).for_each(|(_, programme)| programme.push(item));
    }

    fn push_to_all(&self, item: &slate::Item) {
        self.renditions.iter().for_each(|(_, programme)| programme.push(item));
    }

    /// Ends the broadcast for all targets, see [`Simulcast::finish`].
    pub(crate) fn finish(&self) {
        self.programmes().for_each(Simulcast::finish);
    }

    /// Waits until all connections have ended, after [`Targets::finish`].
    pub(crate) async fn closed(&self) {
        for programme in self.programmes() {
            programme.closed().await;
        }
    }

    /// Returns the stats of each target.
    pub(crate) fn stats(&self) -> Vec<(TargetId, simulcast::Stats)> {
        self.programmes().flat_map(Simulcast::stats).collect()
    }

    fn programmes(&self) -> impl Iterator<Item = &Simulcast> {
        std::iter::once(&self.source).chain(self.renditions.iter().map(|(_, programme)| programme))
    }
}

/// Checks that the ladder has a rung of this height.
fn find_rung(plan: &[Rung], height: u32) -> anyhow::Result<()> {
    if plan.iter().any(|rung| short_side(rung) == height) {
        return Ok(());
    }
    let offered =
        plan.iter().filter(|rung| SimulcastRendition::ALL.iter().any(|of| of.height() == Some(short_side(rung))));
    let made = offered.map(|rung| rung.name.as_str()).collect::<Vec<_>>().join(", ");
    anyhow::bail!("there is no rendition {height}p; choose source or one of these: {made}")
}

/// Returns the height of landscape video, the width of portrait video.
fn short_side(rung: &Rung) -> u32 {
    rung.width.min(rung.height)
}
