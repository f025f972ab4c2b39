//! A client's commands, in the form that servers expect.

use media::Kind;

use super::target::Target;
use crate::amf0::Value;
use crate::flv::Codec;
use crate::rtmp::enhanced;
use crate::rtmp::message::{Command, Message};

/// Chunk stream of protocol control messages.
pub(super) const CONTROL: u8 = 2;
/// Chunk stream of commands on the connection.
pub(super) const COMMAND: u8 = 3;
/// Chunk stream of audio.
pub(super) const AUDIO: u8 = 4;
/// Chunk stream of video.
pub(super) const VIDEO: u8 = 6;
/// Chunk stream of commands and metadata on the message stream.
pub(super) const STREAM: u8 = 8;

/// Numbers of the calls whose responses count.
pub(super) const CONNECT: f64 = 1.0;
pub(super) const CREATE_STREAM: f64 = 4.0;
const RELEASE_STREAM: f64 = 2.0;
const FC_PUBLISH: f64 = 3.0;
const PUBLISH: f64 = 5.0;
const FC_UNPUBLISH: f64 = 6.0;
const DELETE_STREAM: f64 = 7.0;

/// Name and version of the client. Servers that authenticate do so only for `FMLE`.
const FLASH_VER: &str = "FMLE/3.0 (compatible; Weir)";
/// `FourCcInfoMask`: the client sends frames of the codec.
const CAN_ENCODE: f64 = 2.0;

/// Asks for the app, with the codecs and features of Enhanced RTMP that a publication may use.
pub(super) fn connect(target: &Target) -> Message {
    let (app, tc_url) = target.with_query();
    let codecs = |kind| Value::Object(Codec::carried(kind).map(|cc| (cc.to_owned(), CAN_ENCODE.into())).collect());
    let list = Codec::carried(Kind::Video).chain(Codec::carried(Kind::Audio)).map(Value::from).collect();
    let object = Value::object([
        ("app", app.as_str().into()),
        ("type", "nonprivate".into()),
        ("flashVer", FLASH_VER.into()),
        ("tcUrl", tc_url.as_str().into()),
        ("fourCcList", Value::StrictArray(list)),
        ("videoFourCcInfoMap", codecs(Kind::Video)),
        ("audioFourCcInfoMap", codecs(Kind::Audio)),
        ("capsEx", f64::from(enhanced::MULTITRACK).into()),
    ]);
    Message::Command(Command::new("connect", CONNECT, object, vec![]))
}

pub(super) fn release_stream(key: &str) -> Message {
    call("releaseStream", RELEASE_STREAM, vec![key.into()])
}

pub(super) fn fc_publish(key: &str) -> Message {
    call("FCPublish", FC_PUBLISH, vec![key.into()])
}

pub(super) fn create_stream() -> Message {
    call("createStream", CREATE_STREAM, vec![])
}

pub(super) fn publish(key: &str) -> Message {
    call("publish", PUBLISH, vec![key.into(), "live".into()])
}

pub(super) fn fc_unpublish(key: &str) -> Message {
    call("FCUnpublish", FC_UNPUBLISH, vec![key.into()])
}

pub(super) fn delete_stream(stream_id: u32) -> Message {
    call("deleteStream", DELETE_STREAM, vec![f64::from(stream_id).into()])
}

/// Sets the metadata that viewers of the target receive.
pub(super) fn metadata(value: Value) -> Message {
    Message::Data(vec!["@setDataFrame".into(), "onMetaData".into(), value])
}

fn call(name: &str, transaction: f64, arguments: Vec<Value>) -> Message {
    Message::Command(Command::new(name, transaction, Value::Null, arguments))
}
