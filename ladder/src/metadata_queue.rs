//! Timed metadata of the contribution, which bypasses the decoders and encoders.
//!
//! Its place on the programme's timeline is certain only when the output has come there, because a timestamp
//! discontinuity may move it before. Encoders take longer than that, so metadata always leaves before the frames of its
//! time.

use std::collections::VecDeque;

use media::{Metadata, Timestamp};

use crate::api::Output;

/// Metadata that waits. Beyond it the oldest is discarded.
const MAX_WAITING: usize = 64;

/// Metadata that waits for the output to come to its time.
#[derive(Debug, Default)]
pub(crate) struct MetadataQueue {
    waiting: VecDeque<Metadata>,
}

impl MetadataQueue {
    /// Queues metadata.
    pub(crate) fn push(&mut self, metadata: Metadata) {
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(metadata);
    }

    /// Moves metadata to `out` whose place is before `position`, the time that the output has come to. `output_time`
    /// maps times of the contribution to the output's timeline.
    pub(crate) fn release(
        &mut self,
        output_time: impl Fn(Timestamp) -> Option<Timestamp>,
        position: Option<Timestamp>,
        out: &mut Vec<Output>,
    ) {
        let Some(position) = position else { return };
        self.waiting.retain(|metadata| match output_time(metadata.pts).filter(|at| *at < position) {
            Some(pts) => {
                out.push(Output::Metadata(Metadata { pts, ..metadata.clone() }));
                false
            }
            None => true,
        });
    }

    /// Moves all metadata to `out` that has a place on the output's timeline, because the contribution is over.
    pub(crate) fn flush(&mut self, output_time: impl Fn(Timestamp) -> Option<Timestamp>, out: &mut Vec<Output>) {
        let dated = self
            .waiting
            .drain(..)
            .filter_map(|metadata| Some(Metadata { pts: output_time(metadata.pts)?, ..metadata }));
        out.extend(dated.map(Output::Metadata));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use media::{MetadataKind, TimeDelta};

    fn at(ms: i64) -> Timestamp {
        Timestamp::ZERO + TimeDelta::from_millis(ms)
    }

    fn queue_of(at_ms: &[i64]) -> MetadataQueue {
        let mut queue = MetadataQueue::default();
        for ms in at_ms {
            queue.push(Metadata { kind: MetadataKind::Id3, pts: at(*ms), payload: Bytes::new() });
        }
        queue
    }

    fn times(out: &[Output]) -> Vec<i64> {
        let time = |output: &Output| match output {
            Output::Metadata(metadata) => Some((metadata.pts - Timestamp::ZERO).as_millis()),
            _ => None,
        };
        out.iter().filter_map(time).collect()
    }

    #[test]
    fn metadata_is_released_when_the_output_has_come_to_its_time() {
        let (mut queue, mut out) = (queue_of(&[900, 100, 500]), Vec::new());
        let late = |pts| Some(pts + TimeDelta::from_secs(7));
        queue.release(|_| None, Some(at(60_000)), &mut out);
        queue.release(late, None, &mut out);
        assert!(out.is_empty(), "no place on the timeline yet");
        queue.release(late, Some(at(7_500)), &mut out);
        assert_eq!(times(&out), [7_100]);
        queue.release(late, Some(at(7_501)), &mut out);
        assert_eq!(times(&out), [7_100, 7_500]);
        queue.flush(late, &mut out);
        assert_eq!(times(&out), [7_100, 7_500, 7_900]);
    }

    #[test]
    fn queue_is_bounded() {
        let mut queue = queue_of(&(0..1_000).collect::<Vec<_>>());
        let mut out = Vec::new();
        queue.flush(Some, &mut out);
        assert_eq!((out.len(), times(&out)[0]), (MAX_WAITING, 936));
    }
}
