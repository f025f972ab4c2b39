//! The life of a live stream as a pure state machine: (state, input, now) → (state, effects).
//!
//! All changes of state come through [`step`]; it reads no clock and touches nothing outside. A broadcast runs from the
//! first `connected` to `idle`, over as many encoder connections as fit in the reconnect window:
//!
//! ```text
//! idle ──Connected──► connected ──Flowing──► active ──Disconnected──► disconnected ──window over──► idle
//!                         ▲                                                │
//!                         └───────────────────Connected────────────────────┘
//! ```
//!
//! `recording` is told once in a broadcast, `active` each time media flows again. An encoder that takes over from
//! another one of the same live stream continues its broadcast and changes no state, so nothing is told.

use media::id::{BroadcastId, ContributionId};
use media::{Fault, TimeDelta, WallTime};
use serde::{Deserialize, Serialize};

use crate::serde_format;

/// How long a test live stream may be active before it is disabled.
pub const TEST_LIMIT: TimeDelta = TimeDelta::from_secs(5 * 60);

/// The way an encoder came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RTMP, with or without TLS.
    Rtmp,
    /// SRT.
    Srt,
}

impl Protocol {
    /// The protocol as the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Srt => "srt",
        }
    }
}

/// What the lifecycle remembers of a live stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct State {
    /// False while the live stream refuses encoders.
    pub enabled: bool,
    /// The broadcast that runs.
    pub broadcast: Option<Broadcast>,
}

/// One run of a live stream, from `connected` to `idle`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Broadcast {
    /// Its id.
    #[serde(with = "serde_format::id")]
    pub id: BroadcastId,
    /// When its media began, or its encoder connected as long as there is none: what limits of duration count from.
    #[serde(with = "serde_format::wall")]
    pub since: WallTime,
    /// Whether media was ever packaged in it.
    pub recorded: bool,
    /// The encoder's side of it.
    pub encoder: Encoder,
}

/// The encoder's side of a broadcast.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum Encoder {
    /// It is there; nothing of this connection is packaged yet.
    Connected {
        /// Its connection.
        #[serde(with = "serde_format::id")]
        contribution: ContributionId,
        /// How it came in.
        protocol: Protocol,
    },
    /// Its media is packaged.
    Active {
        /// Its connection.
        #[serde(with = "serde_format::id")]
        contribution: ContributionId,
        /// How it came in.
        protocol: Protocol,
    },
    /// It left; the reconnect window runs.
    Gone {
        /// When it left.
        #[serde(with = "serde_format::wall")]
        at: WallTime,
    },
}

/// The settings of a live stream that its lifecycle obeys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// How long an encoder that left may stay away.
    pub reconnect_window: TimeDelta,
    /// How long a broadcast may last.
    pub max_continuous_duration: TimeDelta,
    /// A test live stream is disabled after [`TEST_LIMIT`].
    pub test: bool,
}

/// What happened to a live stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// It was created.
    Created,
    /// Its settings were changed.
    Updated,
    /// Something went wrong that changes nothing here.
    Warned(Warning),
    /// Its stream key was replaced: whoever publishes with the old one has to leave.
    KeyReset,
    /// An encoder was let in.
    Connected {
        /// The encoder's connection.
        contribution: ContributionId,
        /// The name of the broadcast, should this begin one.
        broadcast: BroadcastId,
        /// How it came in.
        protocol: Protocol,
    },
    /// The first media of this connection can be played.
    Flowing {
        /// The encoder's connection.
        contribution: ContributionId,
    },
    /// An encoder left.
    Disconnected {
        /// The encoder's connection.
        contribution: ContributionId,
    },
    /// Time went by; sent at [`deadline`].
    Tick,
    /// Refuse encoders from now on.
    Disable,
    /// Accept encoders again.
    Enable,
    /// End the broadcast now.
    Complete,
    /// It is deleted.
    Deleted,
    /// The server came back; encoders and windows of the last process are gone.
    Restarted,
}

/// What the outside has to do about it, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// A broadcast begins.
    StartBroadcast(BroadcastId),
    /// A broadcast is over; its playlists end. Also told for a broadcast that an earlier process began.
    EndBroadcast(BroadcastId),
    /// Close this connection. Its end need not be reported; if it is, nothing follows.
    DisconnectEncoder {
        /// The connection to close.
        contribution: ContributionId,
        /// Why.
        reason: DisconnectReason,
    },
    /// Tell this to whoever subscribed.
    Event(Event),
}

/// Why an encoder is sent away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DisconnectReason {
    /// Another encoder came with the same key.
    TakenOver,
    /// The live stream is disabled.
    Disabled,
    /// The broadcast was completed through the API.
    Completed,
    /// The live stream was deleted.
    Deleted,
    /// The stream key was replaced.
    KeyReset,
    /// The broadcast reached its longest duration.
    MaxDuration,
}

/// An event of a live stream, as webhooks name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The live stream exists.
    Created,
    /// Its settings changed.
    Updated,
    /// An encoder connected.
    Connected,
    /// A broadcast has its first media.
    Recording,
    /// The broadcast can be played.
    Active,
    /// The encoder left.
    Disconnected,
    /// The broadcast is over.
    Idle,
    /// Encoders are accepted again.
    Enabled,
    /// Encoders are refused.
    Disabled,
    /// The live stream is gone.
    Deleted,
    /// Something went wrong that ends no broadcast.
    Warning(Warning),
}

/// What can go wrong without an end of the broadcast.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Warning {
    /// An encoder was sent away because its key frames are too far apart.
    LongGop,
    /// An encoder was sent away because what it sends cannot be packaged.
    Unpackageable,
    /// The slate picture could not be fetched, or is none; the server's own is shown.
    SlateUnavailable,
    /// The gaps of a programme that is passed through cannot be filled in its codecs, or not wholly.
    SlateNotMade,
    /// The machine does not keep up: a rendition is left out until it does.
    Overloaded,
    /// The encoders of a rendition fail: it is left out for a while.
    EncoderFailed,
    /// Something that the encoder sends was repaired or dropped.
    Media(Fault),
}

impl Warning {
    /// The `type` of the warning in the event.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::LongGop => "keyframe_interval_too_long",
            Self::Unpackageable => "media_not_supported",
            Self::SlateUnavailable => "reconnect_slate_unavailable",
            Self::SlateNotMade => "reconnect_slate_not_made",
            Self::Overloaded => "rendition_shed",
            Self::EncoderFailed => "rendition_failed",
            Self::Media(fault) => fault.label(),
        }
    }

    /// Its `message`: what happened and what to do about it.
    pub const fn message(self) -> &'static str {
        match self {
            Self::LongGop => {
                "The encoder was disconnected: its key frames are more than 20 s apart. Set it to one every 2 s."
            }
            Self::Unpackageable => "The encoder was disconnected: what it sends cannot be packaged.",
            Self::SlateUnavailable => {
                "The picture at reconnect_slate_url could not be used, the default one is shown. It has to be a PNG or JPEG of at \
                 most 10 MB at a public address."
            }
            Self::SlateNotMade => {
                "The server could not make the slate, or its silence, in the codecs of this live stream: gaps stay where it is \
                 missing. `weir check` lists the encoders that there are; with video_quality plus or premium these are not needed."
            }
            Self::Overloaded => {
                "The server does not keep up with encoding: a rendition is left out until it does. It needs more processors, or \
                 fewer streams of plus and premium quality."
            }
            Self::EncoderFailed => {
                "The server's encoders of a rendition failed, one after another: it is left out for a while. The log says why."
            }
            Self::Media(fault) => fault.message(),
        }
    }
}

impl Event {
    /// What is wrong, if this is about something wrong.
    pub const fn warning(self) -> Option<Warning> {
        match self {
            Self::Warning(warning) => Some(warning),
            _ => None,
        }
    }

    /// The event's type in a webhook.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "video.live_stream.created",
            Self::Updated => "video.live_stream.updated",
            Self::Connected => "video.live_stream.connected",
            Self::Recording => "video.live_stream.recording",
            Self::Active => "video.live_stream.active",
            Self::Disconnected => "video.live_stream.disconnected",
            Self::Idle => "video.live_stream.idle",
            Self::Enabled => "video.live_stream.enabled",
            Self::Disabled => "video.live_stream.disabled",
            Self::Deleted => "video.live_stream.deleted",
            Self::Warning(_) => "video.live_stream.warning",
        }
    }
}

/// Where a live stream is in its life, finer than the API's status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// No broadcast.
    Idle,
    /// An encoder is there, nothing of it is packaged yet.
    Connected,
    /// Media is packaged.
    Active,
    /// The encoder left and may come back.
    Disconnected,
    /// Encoders are refused.
    Disabled,
}

impl Default for State {
    fn default() -> Self {
        Self { enabled: true, broadcast: None }
    }
}

impl State {
    /// Where the live stream is in its life.
    pub fn phase(&self) -> Phase {
        match self.broadcast.as_ref().map(|b| &b.encoder) {
            _ if !self.enabled => Phase::Disabled,
            None => Phase::Idle,
            Some(Encoder::Connected { .. }) => Phase::Connected,
            Some(Encoder::Active { .. }) => Phase::Active,
            Some(Encoder::Gone { .. }) => Phase::Disconnected,
        }
    }

    /// Whether there is a broadcast with media, the reconnect window included: the API's `active`.
    pub fn is_active(&self) -> bool {
        self.broadcast.as_ref().is_some_and(|b| b.recorded)
    }

    /// How the encoder that is there came in.
    pub fn protocol(&self) -> Option<Protocol> {
        match self.broadcast.as_ref()?.encoder {
            Encoder::Connected { protocol, .. } | Encoder::Active { protocol, .. } => Some(protocol),
            Encoder::Gone { .. } => None,
        }
    }
}

/// When the state changes by itself; an [`Input::Tick`] is due then.
pub fn deadline(state: &State, rules: &Rules) -> Option<WallTime> {
    let broadcast = state.broadcast.as_ref()?;
    let mut limit = rules.max_continuous_duration;
    if rules.test {
        limit = limit.min(TEST_LIMIT);
    }
    let longest = broadcast.since.shifted(limit);
    Some(match broadcast.encoder {
        Encoder::Gone { at } => longest.min(at.shifted(rules.reconnect_window)),
        _ => longest,
    })
}

/// One step. What was due before `now` happens first, so a late timer changes no outcome.
pub fn step(state: State, rules: &Rules, input: Input, now: WallTime) -> (State, Vec<Effect>) {
    let mut step = Step { state, rules, now, effects: Vec::new() };
    step.expire();
    match input {
        Input::Created => step.tell(Event::Created),
        Input::Updated => step.tell(Event::Updated),
        Input::Warned(warning) => step.tell(Event::Warning(warning)),
        Input::KeyReset => step.key_reset(),
        Input::Connected { contribution, broadcast, protocol } => step.connected(contribution, broadcast, protocol),
        Input::Flowing { contribution } => step.flowing(&contribution),
        Input::Disconnected { contribution } => step.disconnected(&contribution),
        Input::Tick => {}
        Input::Disable => step.disable(DisconnectReason::Disabled),
        Input::Enable => step.enable(),
        Input::Complete => step.end(Some(DisconnectReason::Completed)),
        Input::Deleted => {
            step.end(Some(DisconnectReason::Deleted));
            step.tell(Event::Deleted);
        }
        Input::Restarted => step.end(None),
    }
    (step.state, step.effects)
}

struct Step<'a> {
    state: State,
    rules: &'a Rules,
    now: WallTime,
    effects: Vec<Effect>,
}

impl Step<'_> {
    fn tell(&mut self, event: Event) {
        self.effects.push(Effect::Event(event));
    }

    fn expire(&mut self) {
        if deadline(&self.state, self.rules).is_none_or(|at| self.now < at) {
            return;
        }
        let tested = self.rules.test
            && self.state.broadcast.as_ref().is_some_and(|b| b.recorded && self.now >= b.since.shifted(TEST_LIMIT));
        if tested {
            self.disable(DisconnectReason::MaxDuration);
        } else {
            self.end(Some(DisconnectReason::MaxDuration));
        }
    }

    fn connected(&mut self, contribution: ContributionId, id: BroadcastId, protocol: Protocol) {
        if !self.state.enabled {
            let reason = DisconnectReason::Disabled;
            return self.effects.push(Effect::DisconnectEncoder { contribution, reason });
        }
        let Some(broadcast) = self.state.broadcast.as_mut() else {
            self.effects.push(Effect::StartBroadcast(id.clone()));
            let encoder = Encoder::Connected { contribution, protocol };
            self.state.broadcast = Some(Broadcast { id, since: self.now, recorded: false, encoder });
            return self.tell(Event::Connected);
        };
        match &mut broadcast.encoder {
            Encoder::Gone { .. } => {
                broadcast.encoder = Encoder::Connected { contribution, protocol };
                self.tell(Event::Connected);
            }
            Encoder::Connected { contribution: there, .. } | Encoder::Active { contribution: there, .. }
                if *there == contribution => {}
            Encoder::Connected { contribution: there, protocol: by }
            | Encoder::Active { contribution: there, protocol: by } => {
                let stale = std::mem::replace(there, contribution);
                *by = protocol;
                let reason = DisconnectReason::TakenOver;
                self.effects.push(Effect::DisconnectEncoder { contribution: stale, reason });
            }
        }
    }

    fn flowing(&mut self, from: &ContributionId) {
        let Some(broadcast) = self.state.broadcast.as_mut() else { return };
        let Encoder::Connected { contribution, protocol } = &broadcast.encoder else { return };
        if contribution != from {
            return;
        }
        broadcast.encoder = Encoder::Active { contribution: contribution.clone(), protocol: *protocol };
        if !broadcast.recorded {
            broadcast.recorded = true;
            broadcast.since = self.now;
            self.tell(Event::Recording);
        }
        self.tell(Event::Active);
    }

    /// An encoder left by itself. One that was sent away or taken over from is no longer known, and is ignored.
    fn disconnected(&mut self, who: &ContributionId) {
        if self.contribution() == Some(who) {
            self.encoder_gone();
        }
    }

    fn key_reset(&mut self) {
        if let Some(contribution) = self.contribution().cloned() {
            self.effects.push(Effect::DisconnectEncoder { contribution, reason: DisconnectReason::KeyReset });
            self.encoder_gone();
        }
        self.tell(Event::Updated);
    }

    fn encoder_gone(&mut self) {
        self.tell(Event::Disconnected);
        let Some(broadcast) = self.state.broadcast.as_mut() else { return };
        broadcast.encoder = Encoder::Gone { at: self.now };
        // Without media there is nothing to continue, so the window is not waited for.
        if !broadcast.recorded || self.rules.reconnect_window <= TimeDelta::ZERO {
            self.end(None);
        }
    }

    fn disable(&mut self, reason: DisconnectReason) {
        if !self.state.enabled {
            return;
        }
        self.end(Some(reason));
        self.state.enabled = false;
        self.tell(Event::Disabled);
    }

    fn enable(&mut self) {
        if !self.state.enabled {
            self.state.enabled = true;
            self.tell(Event::Enabled);
        }
    }

    /// Ends the broadcast if there is one, and sends its encoder away if there is one and a reason is given.
    fn end(&mut self, reason: Option<DisconnectReason>) {
        if let Some(contribution) = self.contribution().cloned() {
            if let Some(reason) = reason {
                self.effects.push(Effect::DisconnectEncoder { contribution, reason });
            }
            self.tell(Event::Disconnected);
        }
        if let Some(broadcast) = self.state.broadcast.take() {
            self.effects.push(Effect::EndBroadcast(broadcast.id));
            self.tell(Event::Idle);
        }
    }

    fn contribution(&self) -> Option<&ContributionId> {
        match &self.state.broadcast.as_ref()?.encoder {
            Encoder::Connected { contribution, .. } | Encoder::Active { contribution, .. } => Some(contribution),
            Encoder::Gone { .. } => None,
        }
    }
}
