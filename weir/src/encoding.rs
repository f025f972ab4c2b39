//! A broadcast that is encoded: its ladder, and how what comes out of it is packaged.

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

use crate::broadcast::wall_now;
use crate::config::Quality;
use crate::faults::Faults;
use crate::packaging::Packaging;

/// Every encoding of a sound finds its rendition.
const _: () = assert!(MAX_AUDIO_TRACKS <= RenditionId::MAX_AUDIO as usize);

/// The ladder of a broadcast.
pub(crate) struct Encoding {
    pub(crate) ladder: Ladder,
    failed: Arc<AtomicBool>,
}

impl Encoding {
    /// Starts the ladder; its threads write into `packaging` until it is dropped.
    pub(crate) fn start(
        settings: ladder::Settings,
        stream: LiveStreamId,
        packaging: Arc<Packaging>,
        faults: Arc<Faults>,
    ) -> Result<Self, ladder::Error> {
        let failed = Arc::new(AtomicBool::new(false));
        let mut writer = Writer { stream, packaging, rungs: BTreeMap::new(), faults, failed: Arc::clone(&failed) };
        let ladder = Ladder::start(settings, Box::new(move |outputs| writer.write(outputs)))?;
        Ok(Self { ladder, failed })
    }

    /// True once nothing more can come out.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

/// What is spent on a broadcast of this quality; nothing on one that is passed through.
pub(crate) const fn level(quality: Quality) -> Option<Level> {
    match quality {
        Quality::Basic => None,
        Quality::Plus => Some(Level::Plus),
        Quality::Premium => Some(Level::Premium),
    }
}

struct Writer {
    stream: LiveStreamId,
    packaging: Arc<Packaging>,
    /// The tracks of the rungs below the leader, for those that are shed and come back.
    rungs: BTreeMap<u32, Track>,
    faults: Arc<Faults>,
    failed: Arc<AtomicBool>,
}

impl Writer {
    fn write(&mut self, outputs: &mut Vec<Output>) {
        let packaging = Arc::clone(&self.packaging);
        let written = packaging.write(|packager| outputs.drain(..).try_for_each(|output| self.take(output, packager)));
        if let Err(error) = written {
            error!(stream = %self.stream, %error, "what the ladder made cannot be packaged");
            self.failed.store(true, Ordering::Relaxed);
        }
    }

    fn take(&mut self, output: Output, packager: &mut Packager) -> Result<(), packager::Error> {
        let stream = &self.stream;
        match output {
            Output::Rung { n, rung, track } => {
                info!(%stream, rung = rung.name, width = rung.width, height = rung.height, bitrate = rung.bitrate, "a rung begins");
                match below_leader(n) {
                    None => packager.add_track(track),
                    Some(n) => {
                        self.rungs.insert(n, track.clone());
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
                warn!(%stream, rung, failed, "a rung is shed: the machine does not keep up, or its encoders fail");
                self.faults.warn(if failed { Warning::EncoderFailed } else { Warning::Overloaded });
                below_leader(rung).map_or(Ok(()), |n| packager.drop_rendition(n))
            }
            Output::Absent { rung } => {
                info!(%stream, rung, "the encoder's own frames are away");
                below_leader(rung).map_or(Ok(()), |n| packager.drop_rendition(n))
            }
            Output::Restored { rung } => {
                info!(%stream, rung, "a rung is restored");
                let track = below_leader(rung).and_then(|n| Some((n, self.rungs.get(&n)?.clone())));
                track.map_or(Ok(()), |(n, track)| packager.add_rendition(n, track))
            }
            Output::Fault(report) => {
                self.faults.record(report);
                Ok(())
            }
            Output::NoSlate(why) => {
                warn!(%stream, why, "the slate picture cannot be shown");
                self.faults.warn(Warning::SlateUnavailable);
                Ok(())
            }
            Output::Stopped(why) => {
                error!(%stream, why, "the ladder has stopped");
                self.failed.store(true, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

/// The packager's number of a rung; none for the leader, which is its video track.
fn below_leader(rung: usize) -> Option<u32> {
    u32::try_from(rung).ok()?.checked_sub(1)
}
