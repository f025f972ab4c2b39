//! A publishing session from the encoder's side: the answers, the events, the limits and the end.

mod common;

use common::{AAC_HEADER, AVC_HEADER, Client, HANDSHAKE, drive, session};
use media::Timescale;
use wire::Item;
use wire::amf0::Value;
use wire::flv::{Body, Codec, Demuxer};
use wire::rtmp::chunk::{Limits, MessageHeader, Reader};
use wire::rtmp::message::{Command, Message, UserControl};
use wire::rtmp::server::{Config, End, Event, RANDOM_LEN, Rejection, RejectionCode, Session};

/// Returns the messages in a server's output.
#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn answers(out: &[u8]) -> Vec<Message> {
    let mut input = &out[HANDSHAKE..];
    let limits = Limits { message: 1 << 20, streams: 64, pending: 1 << 20, block: 0 };
    let mut reader = Reader::new(limits, 0);
    let mut messages = Vec::new();
    while let Some(raw) = reader.read(&mut input).unwrap() {
        messages.push(Message::decode(&raw).unwrap());
    }
    assert!(input.is_empty());
    messages
}

fn commands(out: &[u8]) -> Vec<Command> {
    let only = |m| if let Message::Command(c) = m { Some(c) } else { None };
    answers(out).into_iter().filter_map(only).collect()
}

/// Returns level, code and description of a status.
fn status(command: &Command) -> [&str; 3] {
    ["level", "code", "description"].map(|name| command.arguments[0].get(name).and_then(Value::as_str).unwrap_or(""))
}

/// Returns a whole session: headers, metadata, frames with interleaved chunks, a wrap of the clock, an orderly end.
fn whole_session() -> Vec<u8> {
    let mut client = Client::publishing("app", "KEY-1?token=x");
    client.send(4, 1, 0, &Message::Data(vec!["@setDataFrame".into(), "onMetaData".into(), Value::object([])]));
    client.video(0xffff_ffd8, AVC_HEADER);
    client.audio(0xffff_ffd8, AAC_HEADER);
    client.chunk_size(200);
    for i in 0..4u32 {
        let at = 0xffff_ffd8u32.wrapping_add(20 * i);
        client.audio(at, &[0xaf, 1, 0x21, i as u8]);
        let mut frame = vec![0x17, 1, 0, 0, 40, 0, 0, 1, 0x90, 0x65, 0x88];
        frame.resize(9 + 0x190, 7);
        client.video(at, &frame);
    }
    client.send(2, 0, 0, &Message::UserControl(UserControl::PingRequest(77)));
    client.command(3, "FCUnpublish", 6.0, vec!["KEY-1".into()]);
    client.command(0, "deleteStream", 7.0, vec![1.0.into()]);
    client.bytes
}

#[test]
fn a_session_from_the_handshake_to_the_end() {
    let (events, out, err) = drive(&mut session(), &[&whole_session()]);
    assert_eq!(err, None);
    let Event::Publish(publish) = &events[0] else { panic!("{:?}", events[0]) };
    assert_eq!((publish.app.as_str(), publish.key.reveal()), ("app", "KEY-1"));
    assert_eq!(publish.query.as_ref().map(|q| q.reveal()), Some("token=x"));
    assert_eq!(publish.info.tc_url.reveal(), "rtmp://localhost/app");
    assert_eq!(publish.info.flash_ver.as_deref(), Some("FMLE/3.0 (compatible; test)"));
    assert_eq!((publish.info.four_cc_list.len(), publish.info.caps_ex), (2, Some(5)));
    assert_eq!(events[1], Event::Metadata(Value::object([])));
    assert_eq!((events.len(), events.last()), (13, Some(&Event::Ended(End::Unpublished))));

    let mut demuxer = Demuxer::new();
    let tags = events.into_iter().filter_map(|event| if let Event::Media(tag) = event { Some(tag) } else { None });
    let mut items: Vec<_> = tags.flat_map(|tag| demuxer.push(tag)).collect();
    items.extend(demuxer.finish());
    let mut times = Vec::new();
    for item in items {
        if let Item::Frame(frame) = item
            && frame.track.0 == 1
        {
            assert!(frame.access.is_independent() && frame.payload.len() == 0x194, "{frame:?}");
            assert_eq!((frame.pts - frame.dts).as_millis(), 40);
            times.push(Timescale::MILLIS.ticks(frame.dts) - (1 << 32));
        }
    }
    assert_eq!((times, demuxer.dropped()), (vec![-40, -20, 0, 20], 0));

    let answers = answers(&out);
    assert_eq!(answers[0], Message::WindowAckSize(2_500_000));
    assert_eq!(answers[2], Message::SetChunkSize(4_096));
    assert!(answers.contains(&Message::UserControl(UserControl::StreamBegin(1))));
    assert!(answers.contains(&Message::UserControl(UserControl::PingResponse(77))));
    let commands = commands(&out);
    let names: Vec<_> = commands.iter().map(|c| (c.name.as_str(), c.transaction)).collect();
    let expected = [("_result", 1.0), ("_result", 2.0), ("_result", 3.0), ("onFCPublish", 0.0), ("_result", 4.0)];
    assert_eq!(names[..5], expected);
    assert_eq!(status(&commands[0])[..2], ["status", "NetConnection.Connect.Success"]);
    assert_eq!(status(&commands[5])[..2], ["status", "NetStream.Publish.Start"]);
}

#[test]
fn any_split_gives_the_same_events_and_answers() {
    let bytes = whole_session();
    let whole = drive(&mut session(), &[&bytes]);
    for at in (0..HANDSHAKE).step_by(256).chain(HANDSHAKE..=bytes.len()) {
        let (head, tail) = bytes.split_at(at);
        assert_eq!(drive(&mut session(), &[head, tail]), whole, "split at {at}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(drive(&mut session(), &single), whole);
}

#[test]
fn bytes_before_the_answer_are_buffered() {
    let mut client = Client::publishing("app", "key");
    let head = client.bytes.len();
    client.video(0, AVC_HEADER);
    let mut session = session();
    session.input(&client.bytes[..head + 9]).unwrap();
    assert!(matches!(session.poll(), Some(Event::Publish(_))));
    session.input(&client.bytes[head + 9..]).unwrap();
    assert_eq!(session.poll(), None);
    session.accept().unwrap();
    assert!(session.is_publishing());
    assert!(
        matches!(session.poll(), Some(Event::Media(tag)) if matches!((tag.packet.codec, &tag.packet.body), (Codec::Avc, Body::Header(_))))
    );
    session.accept().unwrap();
}

#[test]
fn bytes_buffered_before_the_answer_are_limited() {
    let mut session = session();
    session.input(&Client::publishing("app", "key").bytes).unwrap();
    session.input(&vec![0; 256 * 1_024]).unwrap();
    let err = session.input(&[0]).unwrap_err();
    assert!(
        err.to_string().ends_with("bytes before the answer to publish: 262145 is over the limit of 262144"),
        "{err}"
    );
}

#[test]
fn the_encoder_gets_the_reason_of_a_refusal() {
    for (code, text) in
        [(RejectionCode::BadName, "NetStream.Publish.BadName"), (RejectionCode::Denied, "NetStream.Publish.Denied")]
    {
        let mut session = session();
        session.input(&Client::publishing("app", "key").bytes).unwrap();
        session.reject(Rejection { code, description: "There is no such stream key.".into() });
        assert!(session.is_closed());
        let commands = commands(&session.take_output());
        let last = commands.last().unwrap();
        assert_eq!((last.name.as_str(), status(last)), ("onStatus", ["error", text, "There is no such stream key."]));
        session.input(b"anything").unwrap();
        session.accept().unwrap();
        assert!(session.is_closed() && session.take_output().is_empty());
    }
}

#[test]
fn a_publication_under_way_is_ended_with_a_reason() {
    let mut session = session();
    session.input(&Client::publishing("app", "key").bytes).unwrap();
    session.accept().unwrap();
    session.take_output();
    session.reject(Rejection { code: RejectionCode::Unsupported, description: "VP8 is not carried.".into() });
    assert!(session.is_closed());
    let mut reader = Reader::new(Limits { message: 1 << 20, streams: 64, pending: 1 << 20, block: 0 }, 0);
    let raw = reader.read(&mut &session.take_output()[..]).unwrap().expect("a message");
    let Message::Command(command) = Message::decode(&raw).unwrap() else { panic!("a command") };
    assert_eq!((command.name.as_str(), raw.stream_id), ("onStatus", 1));
    assert_eq!(status(&command), ["error", "NetStream.Publish.Rejected", "VP8 is not carried."]);
}

#[test]
fn enhanced_rtmp_is_answered_where_it_is_spoken() {
    let answer = |object: Value| {
        let mut client = Client::new();
        client.send(3, 0, 0, &Message::Command(Command::new("connect", 1.0, object, vec![])));
        let mut session = session();
        session.input(&client.bytes).unwrap();
        commands(&session.take_output()).remove(0)
    };
    let plain = answer(Value::object([("app", "app".into())]));
    assert_eq!((plain.object.get("fourCcList"), plain.arguments[0].get("capsEx")), (None, None));

    let list = Value::StrictArray(vec!["hvc1".into()]);
    let enhanced = answer(Value::object([("app", "app".into()), ("fourCcList", list)]));
    for object in [&enhanced.object, &enhanced.arguments[0]] {
        let Some(Value::StrictArray(list)) = object.get("fourCcList") else { panic!("{object:?}") };
        let list: Vec<_> = list.iter().filter_map(Value::as_str).collect();
        assert_eq!(list, ["avc1", "hvc1", "av01", "vp09", "mp4a", "Opus", "ac-3", "ec-3", "fLaC"]);
        let names = |map: &str| object.get(map).map(|map| map.properties().len());
        assert_eq!((names("videoFourCcInfoMap"), names("audioFourCcInfoMap")), (Some(4), Some(5)));
        let opus = object.get("audioFourCcInfoMap").and_then(|map| map.get("Opus")).and_then(Value::as_f64);
        assert_eq!((opus, object.get("capsEx").and_then(Value::as_f64)), (Some(4.0), Some(14.0)));
    }
    assert_eq!(status(&enhanced)[..2], ["status", "NetConnection.Connect.Success"]);
}

#[test]
fn a_peer_that_shall_get_no_further_is_refused_at_connect() {
    let mut session = session();
    session.reject(Rejection { code: RejectionCode::Denied, description: "Too many connections.".into() });
    session.input(&Client::publishing("app", "key").bytes).unwrap();
    assert!(session.is_closed());
    assert_eq!(session.poll(), None);
    let commands = commands(&session.take_output());
    assert_eq!((commands.len(), commands[0].name.as_str(), commands[0].transaction), (1, "_error", 1.0));
    assert_eq!(status(&commands[0]), ["error", "NetConnection.Connect.Rejected", "Too many connections."]);
}

#[test]
fn play_is_refused() {
    let mut client = Client::new();
    client.connect("app");
    client.command(0, "createStream", 2.0, vec![]);
    client.command(1, "play", 3.0, vec!["key".into()]);
    let (events, out, err) = drive(&mut session(), &[&client.bytes]);
    assert_eq!((events, err), (vec![Event::Ended(End::PlayRefused)], None));
    assert_eq!(status(commands(&out).last().unwrap())[..2], ["error", "NetStream.Play.Failed"]);
}

#[test]
fn every_way_to_end_is_reported() {
    let end = |message: Message| {
        let mut client = Client::publishing("app", "key");
        client.send(3, 1, 0, &message);
        client.video(0, AVC_HEADER);
        let mut session = session();
        let (events, _, err) = drive(&mut session, &[&client.bytes]);
        assert_eq!((events.len(), err, session.is_closed()), (2, None, true));
        events.last().cloned()
    };
    let call = |name| Message::Command(Command::new(name, 0.0, Value::Null, vec![]));
    assert_eq!(end(call("FCUnpublish")), Some(Event::Ended(End::Unpublished)));
    assert_eq!(end(call("deleteStream")), Some(Event::Ended(End::StreamDeleted)));
    assert_eq!(end(call("closeStream")), Some(Event::Ended(End::StreamClosed)));
    assert_eq!(end(Message::UserControl(UserControl::StreamEof(1))), Some(Event::Ended(End::StreamEof)));
}

#[test]
fn tidying_up_before_publishing_ends_nothing() {
    let mut client = Client::new();
    client.connect("app");
    client.command(0, "deleteStream", 2.0, vec![1.0.into()]);
    client.command(0, "_checkbw", 3.0, vec![]);
    client.command(0, "getStreamLength", 4.0, vec!["key".into()]);
    client.command(0, "somethingNew", 5.0, vec![]);
    client.command(1, "publish", 6.0, vec!["key".into()]);
    let (events, out, err) = drive(&mut session(), &[&client.bytes]);
    assert!(matches!(events[..], [Event::Publish(_)]) && err.is_none());
    assert_eq!(commands(&out).iter().map(|c| c.transaction).collect::<Vec<_>>(), [1.0, 3.0, 4.0, 0.0]);
}

#[test]
fn commands_out_of_order_are_errors_with_a_place() {
    let mut client = Client::new();
    client.command(1, "publish", 1.0, vec!["key".into()]);
    let (_, _, err) = drive(&mut session(), &[&client.bytes]);
    assert_eq!(err.as_deref(), Some("rtmp byte 3073: message type 20: publish does not belong here"));
    let mut client = Client::publishing("app", "key");
    let at = client.bytes.len();
    client.connect("app");
    let (_, _, err) = drive(&mut session(), &[&client.bytes]);
    assert_eq!(err, Some(format!("rtmp byte {at}: message type 20: a second connect does not belong here")));
}

#[test]
fn acknowledgements_carry_the_total() {
    let config = Config { window: 5_000, ..Config::default() };
    let mut client = Client::publishing("app", "key");
    client.chunk_size(100_000);
    client.video(0, &[0; 12_000]);
    client.send(2, 0, 0, &Message::WindowAckSize(16_384));
    client.video(0, &[0; 12_000]);
    let run = |parts: &[&[u8]]| drive(&mut Session::new(config.clone(), [0; RANDOM_LEN]), parts);
    let (_, out, err) = run(&[&client.bytes]);
    assert_eq!(err, None);
    assert_eq!(run(&client.bytes.chunks(7).collect::<Vec<_>>()).1, out, "they do not depend on how the bytes came in");
    let acks: Vec<_> =
        answers(&out).into_iter().filter_map(|m| if let Message::Ack(n) = m { Some(n) } else { None }).collect();
    assert_eq!(acks, [5_000, 10_000, 18_192]);
}

#[test]
fn a_bad_media_message_is_skipped_and_the_session_goes_on() {
    let mut client = Client::publishing("app", "key");
    let at = client.bytes.len();
    client.audio(0, &[0xaf]);
    client.audio(0, &[]);
    client.send(4, 1, 0, &Message::Data(vec!["onTextData".into(), Value::Null]));
    client.video(0, &[0x90, b'h', b'v', b'c', b'1']);
    client.audio(0, AAC_HEADER);
    let (events, _, err) = drive(&mut session(), &[&client.bytes]);
    assert_eq!((events.len(), err), (4, None));
    let Event::Skipped(err) = &events[1] else { panic!("{:?}", events[1]) };
    let place = format!("rtmp byte {at}: message type 8 > flv byte 1 > audio > AACPacketType");
    assert_eq!(err.to_string(), format!("{place}: ends before the field is complete"));
}

#[test]
fn an_audio_chunk_inside_a_video_message_is_put_where_it_belongs() {
    let mut client = Client::publishing("app", "key");
    let frame: Vec<u8> = [0x17, 1, 0, 0, 0].into_iter().chain((0..300).map(|i| i as u8)).collect();
    let mut video = Client::default();
    video.video(40, &frame);
    let mut audio = Client::default();
    audio.audio(40, &[0xaf, 1, 0x21, 0x22]);
    // The first video chunk, the audio message, the rest of the video.
    let (first, rest) = video.bytes.split_at(12 + 128);
    client.bytes.extend([first, &audio.bytes, rest].concat());
    let (events, _, err) = drive(&mut session(), &[&client.bytes]);
    assert_eq!(err, None);
    let [_, Event::Media(audio), Event::Media(video)] = &events[..] else { panic!("{events:?}") };
    assert!(matches!(&audio.packet.body, Body::Frame { payload, .. } if payload[..] == [0x21, 0x22]));
    assert!(matches!(&video.packet.body, Body::Frame { payload, .. } if payload[..] == frame[5..]));
}

#[test]
fn sixty_kilobytes_of_nested_arrays_before_authentication_are_refused() {
    let mut client = Client::new();
    let mut payload = vec![2, 0, 7];
    payload.extend(b"connect");
    payload.extend([0; 9]);
    payload.extend([0x0a, 0, 0, 0, 1].repeat(12_000));
    client.writer.write(
        &mut client.bytes,
        MessageHeader { chunk_stream: 3, kind: 20, stream_id: 0, timestamp: 0 },
        &payload,
    );
    let (_, _, err) = drive(&mut session(), &[&client.bytes]);
    assert!(err.as_deref().is_some_and(|e| e.ends_with("9 is over the limit of 8")), "{err:?}");
}

#[test]
fn a_zero_length_command_is_refused_without_a_panic() {
    for kind in [20, 17] {
        let mut client = Client::new();
        client.writer.write(
            &mut client.bytes,
            MessageHeader { chunk_stream: 3, kind, stream_id: 0, timestamp: 0 },
            &[],
        );
        let (_, _, err) = drive(&mut session(), &[&client.bytes]);
        let place = format!("rtmp byte 3073: message type {kind} > command > name");
        assert_eq!(err, Some(format!("{place}: ends before the field is complete")));
    }
    let mut client = Client::publishing("app", "key");
    client.writer.write(
        &mut client.bytes,
        MessageHeader { chunk_stream: 3, kind: 15, stream_id: 1, timestamp: 0 },
        &[],
    );
    assert_eq!(drive(&mut session(), &[&client.bytes]).2, None);
}

#[test]
fn messages_are_capped_before_authentication_and_less_after() {
    let cap = Config::default().before.message;
    let try_length = |mut client: Client, len: usize| {
        client.chunk_size(1 << 24);
        client.writer.write(
            &mut client.bytes,
            MessageHeader { chunk_stream: 6, kind: 22, stream_id: 0, timestamp: 0 },
            &vec![0; len],
        );
        drive(&mut session(), &[&client.bytes]).2
    };
    assert_eq!(try_length(Client::new(), cap), None);
    let err = try_length(Client::new(), cap + 1).unwrap();
    assert!(err.ends_with("chunk > message length: 65537 is over the limit of 65536"), "{err}");
    assert_eq!(try_length(Client::publishing("app", "key"), cap + 1), None);
}

#[test]
fn a_flood_of_pings_is_cut_off() {
    let mut client = Client::new();
    for _ in 0..20_000 {
        client.send(2, 0, 0, &Message::UserControl(UserControl::PingRequest(1)));
    }
    let (_, _, err) = drive(&mut session(), &[&client.bytes]);
    assert!(err.as_deref().is_some_and(|e| e.contains("answers")), "{err:?}");
}
