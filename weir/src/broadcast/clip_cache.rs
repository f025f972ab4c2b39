//! Makes slate clips, and keeps the newest ones, because many broadcasts have the same format and show the same slate.

use std::collections::VecDeque;

use control::lifecycle::Warning;
use ladder::{Error, slate_clip};
use parking_lot::Mutex;
use slate::filler::LoopedVideo;
use slate::gap::{ClipError, ClipRequest, ClipResult, VideoRequest};

/// Maximum number of clips kept for other broadcasts. Beyond it the oldest is dropped.
const MAX_CLIPS: usize = 16;

/// The newest slate clips.
#[derive(Default)]
pub(crate) struct ClipCache(Mutex<VecDeque<Clip>>);

struct Clip {
    request: VideoRequest,
    video: LoopedVideo,
}

impl ClipCache {
    /// Makes a requested clip. Blocks the thread for as long as the encoders take.
    pub(crate) fn make(&self, request: ClipRequest) -> ClipResult<Error> {
        let silence = request.silence.into_iter().map(|track| {
            let silence = slate_clip::silence(&track).map_err(clip_error);
            (track, silence)
        });
        let silence = silence.collect();
        ClipResult { video: request.video.map(|request| self.video(request).map_err(clip_error)), silence }
    }

    fn video(&self, request: VideoRequest) -> Result<LoopedVideo, Error> {
        if let Some(clip) = self.0.lock().iter().find(|clip| clip.request == request) {
            return Ok(clip.video.clone());
        }
        let video = slate_clip::render(&request.spec, &request.images, request.seconds)?;
        let mut clips = self.0.lock();
        clips.truncate(MAX_CLIPS - 1);
        clips.push_front(Clip { request, video: video.clone() });
        Ok(video)
    }
}

fn clip_error(error: Error) -> ClipError<Error> {
    if matches!(error, Error::Slate(_)) { ClipError::Image(error) } else { ClipError::Encoder(error) }
}

/// Returns the warning about a slate that could not be made, for the owner of the live stream.
pub(super) const fn warning(error: &ClipError<Error>) -> Warning {
    match error {
        ClipError::Image(_) => Warning::SlateUnavailable,
        ClipError::Encoder(_) => Warning::SlateNotMade,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_image_and_a_missing_encoder_have_different_warnings() {
        assert_eq!(warning(&clip_error(Error::Slate("no picture"))), Warning::SlateUnavailable);
        assert_eq!(warning(&clip_error(Error::Missing("x265enc".to_owned()))), Warning::SlateNotMade);
    }
}
