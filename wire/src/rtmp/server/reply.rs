//! A server's responses, in the form that encoders expect.

use media::Kind;

use super::{Rejection, RejectionCode};
use crate::amf0::Value;
use crate::flv::Codec;
use crate::rtmp::message::{Command, Message};

/// Chunk stream of protocol control messages.
pub(super) const CONTROL: u8 = 2;
/// Chunk stream of responses to calls on the connection.
pub(super) const COMMAND: u8 = 3;
/// Chunk stream of responses on a message stream.
pub(super) const STREAM: u8 = 5;
/// The one message stream of a connection.
const STREAM_ID: f64 = 1.0;
/// `FourCcInfoMask`: frames of the codec are forwarded as received, neither decoded nor encoded.
const CAN_FORWARD: f64 = 4.0;
/// `CapsExMask`: multitrack, ModEx and its nanosecond offsets; no requests to reconnect.
const CAPS_EX: f64 = 14.0;

/// Accepts `connect`. Clients check the format of the version, not the name of the server. A client that speaks
/// Enhanced RTMP receives the supported codecs.
pub(super) fn connected(transaction: f64, enhanced: bool) -> Message {
    let mut properties = vec![text("fmsVer", "FMS/3,0,1,123"), number("capabilities", 31.0)];
    let mut info = vec![
        text("level", "status"),
        text("code", "NetConnection.Connect.Success"),
        text("description", "Connection succeeded."),
        number("objectEncoding", 0.0),
    ];
    if enhanced {
        // The standard does not say which of the two objects it means.
        properties.extend(capabilities());
        info.extend(capabilities());
    }
    result(transaction, Value::Object(properties), vec![Value::Object(info)])
}

/// Returns the supported features of Enhanced RTMP, by their names in the standard.
fn capabilities() -> [(String, Value); 4] {
    let codecs = |kind| Codec::carried(kind).map(|four_cc| number(four_cc, CAN_FORWARD)).collect();
    let list = Codec::carried(Kind::Video).chain(Codec::carried(Kind::Audio)).map(Value::from).collect();
    [
        ("fourCcList".to_owned(), Value::StrictArray(list)),
        ("videoFourCcInfoMap".to_owned(), Value::Object(codecs(Kind::Video))),
        ("audioFourCcInfoMap".to_owned(), Value::Object(codecs(Kind::Audio))),
        number("capsEx", CAPS_EX),
    ]
}

fn text(name: &str, value: &str) -> (String, Value) {
    (name.to_owned(), value.into())
}

fn number(name: &str, value: f64) -> (String, Value) {
    (name.to_owned(), value.into())
}

pub(super) fn connect_refused(transaction: f64, description: &str) -> Message {
    let info = status("error", "NetConnection.Connect.Rejected", description);
    Message::Command(Command::new("_error", transaction, Value::Null, vec![info]))
}

pub(super) fn stream_created(transaction: f64) -> Message {
    result(transaction, Value::Null, vec![STREAM_ID.into()])
}

/// Responds with a length of zero, because a stream that is being published has none.
pub(super) fn stream_length(transaction: f64) -> Message {
    result(transaction, Value::Null, vec![0.0.into()])
}

pub(super) fn done(transaction: f64) -> Message {
    result(transaction, Value::Null, vec![Value::Undefined])
}

pub(super) fn on_fc_publish() -> Message {
    let info = status("status", "NetStream.Publish.Start", "FCPublish is taken.");
    Message::Command(Command::new("onFCPublish", 0.0, Value::Null, vec![info]))
}

pub(super) fn publish_start() -> Message {
    on_status(status("status", "NetStream.Publish.Start", "The stream is being published."))
}

pub(super) fn publish_refused(rejection: &Rejection) -> Message {
    let code = match rejection.code {
        RejectionCode::BadName => "NetStream.Publish.BadName",
        RejectionCode::Denied => "NetStream.Publish.Denied",
        RejectionCode::Failed => "NetStream.Publish.Failed",
        RejectionCode::Unsupported => "NetStream.Publish.Rejected",
    };
    on_status(status("error", code, &rejection.description))
}

pub(super) fn play_refused() -> Message {
    on_status(status("error", "NetStream.Play.Failed", "This server takes streams over RTMP and plays them over HLS."))
}

fn on_status(info: Value) -> Message {
    Message::Command(Command::new("onStatus", 0.0, Value::Null, vec![info]))
}

fn status(level: &str, code: &str, description: &str) -> Value {
    Value::object([("level", level.into()), ("code", code.into()), ("description", description.into())])
}

fn result(transaction: f64, object: Value, arguments: Vec<Value>) -> Message {
    Message::Command(Command::new("_result", transaction, object, arguments))
}
