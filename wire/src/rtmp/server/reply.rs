//! What a server answers, in the words encoders look for.

use super::{Rejection, RejectionCode};
use crate::amf0::Value;
use crate::rtmp::message::{Command, Message};

/// Chunk stream of protocol control messages.
pub(super) const CONTROL: u8 = 2;
/// Chunk stream of answers to calls on the connection.
pub(super) const COMMAND: u8 = 3;
/// Chunk stream of answers on a message stream.
pub(super) const STREAM: u8 = 5;
/// The one message stream of a connection.
const STREAM_ID: f64 = 1.0;

/// Takes `connect`. Clients look at the shape of the version, not at who wrote the server.
pub(super) fn connected(transaction: f64) -> Message {
    let properties = Value::object([("fmsVer", "FMS/3,0,1,123".into()), ("capabilities", 31.0.into())]);
    let info = Value::object([
        ("level", "status".into()),
        ("code", "NetConnection.Connect.Success".into()),
        ("description", "Connection succeeded.".into()),
        ("objectEncoding", 0.0.into()),
    ]);
    result(transaction, properties, vec![info])
}

pub(super) fn connect_refused(transaction: f64, description: &str) -> Message {
    let info = status("error", "NetConnection.Connect.Rejected", description);
    Message::Command(Command::new("_error", transaction, Value::Null, vec![info]))
}

pub(super) fn stream_created(transaction: f64) -> Message {
    result(transaction, Value::Null, vec![STREAM_ID.into()])
}

/// A stream that is being published has no length.
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
