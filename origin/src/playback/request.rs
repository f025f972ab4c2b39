//! One request for playback, from its parsed URL to the answer, including the time it spends blocked.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::HeaderValue;
use packager::uri::{self, File};

use crate::http::refusal::Refusal;
use crate::http::response::{self, Answer, ClientPreferences, MEDIA_ETAG, Playlist};
use crate::playback::broadcast::{Broadcast, Lookup, NextPart, Position};
use crate::playback::directives::Directives;
use crate::playback::resolver::Playback;
use crate::stats::{Counters, RouteKind};
use crate::worker::activity::RequestGuard;
use crate::worker::context::WorkerContext;

/// Request for a playlist or media. Holds nothing of the bytes it was parsed from, so that it can wait without them.
pub(crate) struct PlaybackRequest {
    pub(crate) kind: RouteKind,
    pub(crate) route: uri::Route,
    pub(crate) directives: Directives,
    pub(crate) preferences: ClientPreferences,
    /// HTTP/1.x: the connection carries one request at a time.
    pub(crate) sequential: bool,
    pub(crate) next_part: NextPart,
    pub(crate) guard: RequestGuard,
}

/// Result of an attempt to answer a [`PlaybackRequest`].
pub(crate) enum Outcome {
    /// The answer, which may be a refusal.
    Answer(Answer),
    /// The requested media is not there yet.
    Blocked(BlockedRequest),
}

/// A [`PlaybackRequest`] that waits for a [`Position`] of its broadcast.
pub(crate) struct BlockedRequest {
    request: PlaybackRequest,
    broadcast: Arc<Broadcast>,
    position: Position,
}

/// Next step of a [`BlockedRequest`].
enum WaitDecision {
    /// Sleep until the wait point wakes it.
    Wait,
    /// Answer with what is available.
    AnswerNow,
    /// Answer with an error.
    Refuse(Refusal),
}

impl PlaybackRequest {
    /// Answers the request if that is possible now. Uses `broadcast`, or resolves the playback id if that is `None`.
    pub(crate) fn attempt(
        self,
        context: &WorkerContext,
        broadcast: Option<Arc<Broadcast>>,
        if_none_match: Option<&str>,
    ) -> Outcome {
        // Only the answer to a reload that was blocked may be cached for long, because its text is new under its URL.
        // Video.js 8.24: right after the end of a segment, it asks by mistake for media that is already listed, and
        // then repeats the request. It must get a different text then, so a cache must not keep this answer.
        let reload = broadcast.is_some() && self.directives.msn.is_some() && !self.directives.skip_first;
        let broadcast = match broadcast.map_or_else(|| self.resolve(context), Playback::Live) {
            Playback::Live(broadcast) => broadcast,
            Playback::Idle => return self.refuse(Refusal::Idle),
            Playback::Unknown => return self.refuse(Refusal::UnknownPlayback),
            Playback::Protected => return self.refuse(Refusal::Protected),
        };
        let lookup = match &self.route {
            uri::Route::Multivariant(playback) => broadcast.multivariant(playback, self.directives.low_latency),
            uri::Route::File(_, id, _) if id != broadcast.id() => Lookup::Missing,
            uri::Route::File(_, _, File::Playlist(rendition)) => {
                broadcast.media(*rendition, &self.directives, self.next_part)
            }
            uri::Route::File(_, _, file) => {
                let file = *file;
                return self.media(broadcast, file, if_none_match);
            }
        };
        match lookup {
            Lookup::Found(rendered) => {
                let known = response::is_known(if_none_match, &rendered.etag);
                let ClientPreferences { head_only, gzip, .. } = self.preferences;
                let playlist = Playlist { rendered, reload, gzip, guard: self.guard };
                Outcome::Answer(if known || head_only {
                    Answer::Response(playlist.head_only(known))
                } else {
                    Answer::Playlist(playlist)
                })
            }
            Lookup::Wait(position) => self.block(broadcast, position),
            Lookup::Missing => self.refuse(Refusal::UnknownMedia),
            Lookup::TooFar => self.refuse(Refusal::TooFar),
        }
    }

    fn resolve(&self, context: &WorkerContext) -> Playback {
        let (playback, broadcast) = match &self.route {
            uri::Route::Multivariant(playback) => (playback, None),
            uri::Route::File(playback, broadcast, _) => (playback, Some(broadcast)),
        };
        context.shared.resolver.resolve(playback.as_str(), broadcast)
    }

    fn media(self, broadcast: Arc<Broadcast>, file: File, if_none_match: Option<&str>) -> Outcome {
        match broadcast.file(file) {
            Lookup::Found(source) => {
                let known = response::is_known(if_none_match, &MEDIA_ETAG);
                let answer = response::media(source, content_type(file), known, self.preferences, self.guard);
                Outcome::Answer(Answer::Response(answer))
            }
            Lookup::Wait(position) => self.block(broadcast, position),
            Lookup::Missing | Lookup::TooFar => self.refuse(Refusal::UnknownMedia),
        }
    }

    fn block(self, broadcast: Arc<Broadcast>, position: Position) -> Outcome {
        Outcome::Blocked(BlockedRequest { request: self, broadcast, position })
    }

    fn refuse(self, refusal: Refusal) -> Outcome {
        Outcome::Answer(Answer::Response(refusal.answer(self.preferences.head_only, self.guard)))
    }
}

impl BlockedRequest {
    /// Attempts the request again after each wake-up, until it can be answered or its deadline has passed.
    pub(crate) async fn wait(mut self, context: Arc<WorkerContext>) -> Answer {
        let _blocked = BlockedCount::new(&context.counters);
        let (kind, sequential) = (self.request.kind, self.request.sequential);
        let start = context.waker.now();
        loop {
            let deadline = self.deadline(&context, start);
            if let Some(subscription) = self.broadcast.subscribe(self.position, &context.waker, deadline) {
                // Decided while subscribed, so that no wake-up is missed.
                match self.decide(&context, deadline) {
                    WaitDecision::Wait => subscription.await,
                    WaitDecision::AnswerNow => {}
                    WaitDecision::Refuse(refusal) => {
                        let answer = refusal.answer(self.request.preferences.head_only, self.request.guard);
                        return finish(&context, kind, Answer::Response(answer), sequential);
                    }
                }
            }
            self.request.next_part = NextPart::DoNotAwait;
            // A URL that names a broadcast still means this one. The multivariant playlist is resolved again.
            let broadcast = Some(self.broadcast).filter(|_| self.position != Position::Playable);
            match self.request.attempt(&context, broadcast, None) {
                Outcome::Answer(answer) => return finish(&context, kind, answer, sequential),
                Outcome::Blocked(blocked) => self = blocked,
            }
        }
    }

    fn deadline(&self, context: &WorkerContext, start: u32) -> u32 {
        let config = &context.shared.config;
        let timeout = match self.position {
            Position::Playable => config.first_answer,
            Position::At(..) | Position::Hinted(..) => Duration::from_secs(self.broadcast.reload_secs()),
            Position::Next(..) => self.broadcast.part_target(),
        };
        start.saturating_add(config.ticks(timeout))
    }

    fn decide(&self, context: &WorkerContext, deadline: u32) -> WaitDecision {
        let stopping = context.waker.is_stopping();
        if !stopping && context.waker.now() < deadline {
            return WaitDecision::Wait;
        }
        match self.position {
            Position::Next(..) => WaitDecision::AnswerNow,
            _ if stopping => WaitDecision::Refuse(Refusal::Stopping),
            Position::Playable => WaitDecision::Refuse(Refusal::NotPlayable),
            Position::At(..) | Position::Hinted(..) => WaitDecision::Refuse(Refusal::Stalled),
        }
    }
}

/// Counts `answer`. While the server stops, every answer is the last one on its HTTP/1.x connection.
pub(crate) fn finish(context: &WorkerContext, kind: RouteKind, answer: Answer, sequential: bool) -> Answer {
    context.counters.count(kind, answer.status());
    if sequential && context.waker.is_stopping() { answer.closing() } else { answer }
}

/// Counts a reader as blocked until it is dropped.
struct BlockedCount(Arc<Counters>);

impl BlockedCount {
    fn new(counters: &Arc<Counters>) -> Self {
        counters.blocked.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counters))
    }
}

impl Drop for BlockedCount {
    fn drop(&mut self) {
        self.0.blocked.fetch_sub(1, Ordering::Relaxed);
    }
}

fn content_type(file: File) -> HeaderValue {
    match file {
        File::Segment(rendition, _) | File::Part(rendition, ..) | File::Init(rendition, _) if rendition.is_audio() => {
            HeaderValue::from_static("audio/mp4")
        }
        _ => HeaderValue::from_static("video/mp4"),
    }
}
