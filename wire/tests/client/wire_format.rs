//! The commands of a publisher, in the order that servers expect.

use wire::amf0::Value;
use wire::rtmp::client::Config;
use wire::rtmp::handshake::CLIENT_LEN;
use wire::rtmp::message::Message;

use crate::support::{Script, client, messages};

#[test]
fn the_messages_of_a_publisher_in_order() {
    let mut session = client(Config::default());
    assert_eq!(session.output_len() as u64, 1 + (CLIENT_LEN - 1) / 2, "C0 and C1");
    Script::published(Value::Null).run(&mut session, usize::MAX);
    session.close();
    assert!(!format!("{session:?}").contains("KEY-1"), "a key is not printed");
    let sent = session.take_output().concat();
    assert_eq!(session.output_len(), 0);
    let mut names = Vec::new();
    for (stream_id, message) in messages(&sent) {
        match message {
            Message::Command(command) => {
                let text = command.arguments.first().and_then(Value::as_str).unwrap_or_default();
                names.push(format!("{stream_id} {} {text}", command.name));
            }
            Message::SetChunkSize(size) => names.push(format!("chunk size {size}")),
            other => panic!("{other:?}"),
        }
    }
    let expected = [
        "0 connect ",
        "chunk size 65536",
        "0 releaseStream KEY-1?token=x",
        "0 FCPublish KEY-1?token=x",
        "0 createStream ",
        "1 publish KEY-1?token=x",
        "0 FCUnpublish KEY-1?token=x",
        "0 deleteStream ",
    ];
    assert_eq!(names, expected);
}
