//! Transcoding of a broadcast: the start of its ladder, and how the ladder's output is packaged.

use std::collections::BTreeMap;
use std::sync::Arc;

use control::lifecycle::Warning;
use ladder::plan::{Level, MAX_AUDIO_TRACKS};
use ladder::{Ladder, Output};
use media::Track;
use media::id::LiveStreamId;
use packager::Packager;
use packager::log::RenditionId;
use parking_lot::Mutex;
use tracing::{error, info, warn};

use super::clock::wall_now;
use super::state::{Phase, State};
use super::targets::Targets;
use crate::config::Quality;
use crate::faults::Faults;

/// Checks that there is a rendition for every encoding of an audio track.
const _: () = assert!(MAX_AUDIO_TRACKS <= RenditionId::MAX_AUDIO as usize);

/// The parts of a broadcast that receive the output of its ladder.
pub(super) struct Destination {
    pub(super) stream: LiveStreamId,
    pub(super) state: Arc<Mutex<State>>,
    pub(super) faults: Arc<Faults>,
    pub(super) targets: Arc<Targets>,
}

/// Starts the ladder of a broadcast. Its threads use `output` until it is dropped.
pub(super) fn start(settings: ladder::Settings, output: Destination) -> Result<Ladder, ladder::Error> {
    let targets = Arc::clone(&output.targets);
    let mut sink = LadderSink { output, renditions: BTreeMap::new(), has_stopped: false };
    let ladder = Ladder::start(settings, Box::new(move |outputs| sink.write(outputs)))?;
    targets.expect_ladder();
    Ok(ladder)
}

/// Returns the effort for a broadcast of this quality; `None` for passthrough.
pub(crate) const fn level(quality: Quality) -> Option<Level> {
    match quality {
        Quality::Basic => None,
        Quality::Plus => Some(Level::Plus),
        Quality::Premium => Some(Level::Premium),
    }
}

/// Packages the output of the ladder, see [`ladder::Sink`].
struct LadderSink {
    output: Destination,
    /// Tracks of the dependent renditions, for those that are dropped and restored.
    renditions: BTreeMap<u32, Track>,
    has_stopped: bool,
}

impl LadderSink {
    fn write(&mut self, outputs: &mut Vec<Output>) {
        let state = Arc::clone(&self.output.state);
        let mut state = state.lock();
        if state.phase == Phase::Ended {
            return;
        }
        let take = |packager: &mut Packager| outputs.drain(..).try_for_each(|output| self.take(output, packager));
        let written = state.writer.write(take);
        state.has_ladder_failed |= self.has_stopped || written.is_err();
        drop(state);
        if let Err(error) = written {
            error!(stream = %self.output.stream, %error, "the output of the ladder cannot be packaged");
        }
    }

    fn take(&mut self, output: Output, packager: &mut Packager) -> Result<(), packager::Error> {
        let Destination { stream, faults, targets, .. } = &self.output;
        targets.take(&output);
        match output {
            Output::Plan(_) => Ok(()),
            Output::Rung { n, rung, track } => {
                info!(%stream, rung = rung.name, width = rung.width, height = rung.height, bitrate = rung.bitrate, "rung started");
                match dependent_rendition(n) {
                    None => packager.add_track(track),
                    Some(n) => {
                        self.renditions.insert(n, track.clone());
                        packager.add_rendition(n, track)
                    }
                }
            }
            Output::Audio(track) => packager.add_track(track),
            Output::Frame(frame) => packager.push(frame, wall_now()),
            Output::Metadata(metadata) => {
                packager.metadata(metadata);
                Ok(())
            }
            Output::Shed { rung, failed } => {
                warn!(%stream, rung, failed, "rung dropped: the machine cannot keep up, or its encoders fail");
                faults.warn(if failed { Warning::EncoderFailed } else { Warning::Overloaded });
                dependent_rendition(rung).map_or(Ok(()), |n| packager.drop_rendition(n))
            }
            Output::Absent { rung } => {
                info!(%stream, rung, "rung dropped: the encoder's own frames are absent");
                dependent_rendition(rung).map_or(Ok(()), |n| packager.drop_rendition(n))
            }
            Output::Restored { rung } => {
                info!(%stream, rung, "rung restored");
                let track = dependent_rendition(rung).and_then(|n| Some((n, self.renditions.get(&n)?.clone())));
                track.map_or(Ok(()), |(n, track)| packager.add_rendition(n, track))
            }
            Output::Fault(report) => {
                faults.record(report);
                Ok(())
            }
            Output::NoSlate(reason) => {
                warn!(%stream, reason, "the slate image cannot be presented");
                faults.warn(Warning::SlateUnavailable);
                Ok(())
            }
            Output::Stopped(reason) => {
                error!(%stream, reason, "the ladder has stopped");
                self.has_stopped = true;
                Ok(())
            }
        }
    }
}

/// Returns the packager's number of a rung; `None` for the reference rendition, which is the packager's video track.
fn dependent_rendition(rung: usize) -> Option<u32> {
    u32::try_from(rung).ok()?.checked_sub(1)
}
