//! Transcoding of a broadcast: its ladder, and how the ladder's output is packaged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use control::lifecycle::Warning;
use ladder::plan::{Level, MAX_AUDIO_TRACKS};
use ladder::{Ladder, Output};
use media::Track;
use media::id::LiveStreamId;
use packager::Packager;
use packager::log::RenditionId;
use tracing::{error, info, warn};

use super::clock::wall_now;
use super::targets::Targets;
use super::writer::BroadcastWriter;
use crate::config::Quality;
use crate::faults::Faults;

/// Checks that there is a rendition for every encoding of an audio track.
const _: () = assert!(MAX_AUDIO_TRACKS <= RenditionId::MAX_AUDIO as usize);

/// The parts of a broadcast that receive the output of its ladder.
pub(super) struct Destination {
    pub(super) stream: LiveStreamId,
    pub(super) writer: Arc<BroadcastWriter>,
    pub(super) faults: Arc<Faults>,
    pub(super) targets: Arc<Targets>,
}

/// The ladder of a broadcast.
pub(crate) struct Transcode {
    pub(super) ladder: Ladder,
    failed: Arc<AtomicBool>,
}

impl Transcode {
    /// Starts the ladder. Its threads use `output` until it is dropped.
    pub(super) fn start(settings: ladder::Settings, output: Destination) -> Result<Self, ladder::Error> {
        let failed = Arc::new(AtomicBool::new(false));
        let targets = Arc::clone(&output.targets);
        let mut sink = LadderSink { output, renditions: BTreeMap::new(), failed: Arc::clone(&failed) };
        let ladder = Ladder::start(settings, Box::new(move |outputs| sink.write(outputs)))?;
        targets.expect_ladder();
        Ok(Self { ladder, failed })
    }

    /// Whether the ladder has stopped, or its output cannot be packaged.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
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
    failed: Arc<AtomicBool>,
}

impl LadderSink {
    fn write(&mut self, outputs: &mut Vec<Output>) {
        let writer = Arc::clone(&self.output.writer);
        let written = writer.write(|packager| outputs.drain(..).try_for_each(|output| self.take(output, packager)));
        if let Err(error) = written {
            error!(stream = %self.output.stream, %error, "the output of the ladder cannot be packaged");
            self.failed.store(true, Ordering::Relaxed);
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
                self.failed.store(true, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

/// Returns the packager's number of a rung; `None` for the reference rendition, which is the packager's video track.
fn dependent_rendition(rung: usize) -> Option<u32> {
    u32::try_from(rung).ok()?.checked_sub(1)
}
