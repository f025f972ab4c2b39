//! Timed metadata of the contribution, on its way past the decoders and encoders.
//!
//! Where on the programme's timeline it belongs is certain when the output has come there: until then what is dated by the
//! contribution may be laid anew. Encoders take longer than that, so it is always out before the frames of its time.

use std::collections::VecDeque;

use media::{Metadata, Timestamp};

use crate::ladder::Output;

/// Metadata that waits; when there is more, the oldest goes.
const MAX_WAITING: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Told {
    waiting: VecDeque<Metadata>,
}

impl Told {
    pub(crate) fn push(&mut self, metadata: Metadata) {
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(metadata);
    }

    /// Puts out what the output has come to. `date` tells where on its timeline media is, and `position` how far it is.
    pub(crate) fn release(
        &mut self,
        date: impl Fn(Timestamp) -> Option<Timestamp>,
        position: Option<Timestamp>,
        out: &mut Vec<Output>,
    ) {
        let Some(position) = position else { return };
        self.waiting.retain(|metadata| match date(metadata.pts).filter(|at| *at < position) {
            Some(pts) => {
                out.push(Output::Metadata(Metadata { pts, ..metadata.clone() }));
                false
            }
            None => true,
        });
    }

    /// The contribution is over: puts out all that has a place.
    pub(crate) fn flush(&mut self, date: impl Fn(Timestamp) -> Option<Timestamp>, out: &mut Vec<Output>) {
        let dated =
            self.waiting.drain(..).filter_map(|metadata| Some(Metadata { pts: date(metadata.pts)?, ..metadata }));
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

    fn told(at_ms: &[i64]) -> Told {
        let mut told = Told::default();
        for ms in at_ms {
            told.push(Metadata { kind: MetadataKind::Id3, pts: at(*ms), payload: Bytes::new() });
        }
        told
    }

    fn times(out: &[Output]) -> Vec<i64> {
        let time = |output: &Output| match output {
            Output::Metadata(metadata) => Some((metadata.pts - Timestamp::ZERO).as_millis()),
            _ => None,
        };
        out.iter().filter_map(time).collect()
    }

    #[test]
    fn it_waits_for_its_time() {
        let (mut told, mut out) = (told(&[900, 100, 500]), Vec::new());
        let late = |pts| Some(pts + TimeDelta::from_secs(7));
        told.release(|_| None, Some(at(60_000)), &mut out);
        told.release(late, None, &mut out);
        assert!(out.is_empty(), "it has no place yet");
        told.release(late, Some(at(7_500)), &mut out);
        assert_eq!(times(&out), [7_100]);
        told.release(late, Some(at(7_501)), &mut out);
        assert_eq!(times(&out), [7_100, 7_500]);
        told.flush(late, &mut out);
        assert_eq!(times(&out), [7_100, 7_500, 7_900]);
    }

    #[test]
    fn little_of_it_waits() {
        let mut told = told(&(0..1_000).collect::<Vec<_>>());
        let mut out = Vec::new();
        told.flush(Some, &mut out);
        assert_eq!((out.len(), times(&out)[0]), (MAX_WAITING, 936));
    }
}
