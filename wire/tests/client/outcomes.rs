//! Responses of servers, and how they end a session.

use proptest::prelude::*;
use wire::amf0::Value;
use wire::rtmp::client::{Config, Event, Refusal, RefusalKind};
use wire::rtmp::message::{Command, Message, UserControl};
use wire::rtmp::server::{Rejection, RejectionCode};

use crate::support::{Pair, Script, client, status};

fn error(script: &Script) -> String {
    script.run(&mut client(Config::default()), 11).1.expect("an error")
}

#[test]
fn any_split_gives_the_same_events_and_bytes() {
    let script = Script::connected(Value::object([("capsEx", 2.0.into())]))
        .message(&Message::WindowAckSize(5_000))
        .message(&Message::SetPeerBandwidth { size: 2_500_000, limit: 2 })
        .message(&Message::UserControl(UserControl::PingRequest(77)))
        .command(Command::new("onBWDone", 0.0, Value::Null, vec![]))
        .on_status(status("status", "NetStream.Publish.Start", "live"))
        .message(&Message::Data(vec!["|RtmpSampleAccess".into()]))
        .message(&Message::Audio(vec![0; 9_000].into()))
        .on_status(status("status", "NetStream.Unpublish.Success", "over"));
    let run = |step: usize| {
        let mut session = client(Config::default());
        let events = script.run(&mut session, step);
        (events, session.take_output().concat())
    };
    let whole = run(usize::MAX);
    let refusal =
        Refusal { kind: RefusalKind::Other, code: "NetStream.Unpublish.Success".into(), description: "over".into() };
    assert_eq!(whole.0, (vec![Event::Published, Event::Closed(refusal)], None));
    for step in [1, 2, 3, 127, 1_000, 3_073] {
        assert_eq!(run(step), whole, "{step}");
    }
    let has = |bytes: &[u8]| whole.1.windows(bytes.len()).any(|window| window == bytes);
    assert!(has(&[2, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0, 0, 7, 0, 0, 0, 77]), "a ping response");
    assert!(has(&[2, 0, 0, 0, 0, 0, 4, 5, 0, 0, 0, 0, 0, 0x26, 0x25, 0xa0]), "a window");
    assert!(has(&[2, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0, 0x10, 0]), "an acknowledgement of 4096 bytes");
}

#[test]
fn our_server_accepts_and_refuses() {
    for step in [1, 100, usize::MAX] {
        for (code, kind) in [
            (RejectionCode::Denied, RefusalKind::StreamKey),
            (RejectionCode::BadName, RefusalKind::Busy),
            (RejectionCode::Unsupported, RefusalKind::Other),
        ] {
            let mut pair = Pair::published(Config::default(), step);
            let Some(wire::rtmp::server::Event::Publish(publish)) = pair.server_events.first() else {
                panic!("publishes")
            };
            assert_eq!((publish.app.as_str(), publish.key.reveal()), ("app/one", "KEY-1"));
            assert_eq!(publish.query.as_ref().map(|query| query.reveal()), Some("token=x"));
            assert_eq!((publish.info.tc_url.reveal(), publish.info.caps_ex), ("rtmp://localhost/app/one", Some(2)));
            assert_eq!(publish.info.four_cc_list.len(), 9);
            pair.server.reject(Rejection { code, description: "KEY-1 has ended".into() });
            pair.run();
            let Some(Event::Closed(refusal)) = pair.client_events.last() else { panic!("{:?}", pair.client_events) };
            assert_eq!((refusal.kind, refusal.description.as_str()), (kind, "*** has ended"));
        }
        let mut pair = Pair::new(Config::default(), step);
        pair.server.reject(Rejection { code: RejectionCode::Denied, description: "Too many.".into() });
        pair.run();
        let Some(Event::Refused(refusal)) = pair.client_events.last() else { panic!("{:?}", pair.client_events) };
        assert_eq!(refusal.to_string(), "NetConnection.Connect.Rejected: Too many.");
    }
}

#[test]
fn refusals_at_each_step() {
    let refused = |script: Script| {
        let mut session = client(Config::default());
        let (events, err) = script.run(&mut session, usize::MAX);
        assert!(err.is_none() && session.is_closed() && events.len() == 1, "{events:?} {err:?}");
        match events.into_iter().next() {
            Some(Event::Refused(refusal)) => refusal.kind,
            other => panic!("{other:?}"),
        }
    };
    let bad = |code: &str| status("error", code, "no");
    let failed = |transaction, code| Command::new("_error", transaction, Value::Null, vec![bad(code)]);
    assert_eq!(refused(Script::new().command(failed(1.0, "NetConnection.Connect.InvalidApp"))), RefusalKind::Other);
    let odd = Command::new("_result", 1.0, Value::Null, vec![bad("NetConnection.Connect.Unauthorized")]);
    assert_eq!(refused(Script::new().command(odd)), RefusalKind::Authentication);
    let success = || Command::new("_result", 1.0, Value::Null, vec![]);
    let created = Script::new().command(success()).command(failed(2.0, "")).command(failed(4.0, ""));
    assert_eq!(refused(created), RefusalKind::Other);
    let publish = |code| Script::connected(Value::Null).on_status(bad(code));
    assert_eq!(refused(publish("NetStream.Publish.Denied")), RefusalKind::StreamKey);
    assert_eq!(refused(publish("NetStream.Publish.BadName")), RefusalKind::Busy);
    let closed = Script::connected(Value::Null).command(Command::new("close", 0.0, Value::Null, vec![]));
    assert_eq!(refused(closed), RefusalKind::Other);
}

#[test]
fn results_of_other_calls_do_not_count() {
    let other = |name: &str, transaction| Command::new(name, transaction, Value::Null, vec![Value::Undefined]);
    let mut script = Script::new().command(other("_result", 0.0)).command(other("_result", 9.0));
    script = script.command(Command::new("_result", 1.0, Value::Null, vec![]));
    for (name, transaction) in [("_result", 2.0), ("_error", 3.0), ("_result", 1.0), ("onFCPublish", 0.0)] {
        script = script.command(other(name, transaction));
    }
    script = script.command(Command::new("_result", 4.0, Value::Null, vec![5.0.into()]));
    script = script.on_status(status("status", "NetStream.Publish.Start", ""));
    assert_eq!(script.run(&mut client(Config::default()), 13), (vec![Event::Published], None));
}

#[test]
fn a_redirect_is_an_event() {
    let ex = Value::object([("code", 302.0.into()), ("redirect", "rtmp://other/app".into())]);
    let info = Value::object([
        ("level", "error".into()),
        ("code", "NetConnection.Connect.Rejected".into()),
        ("description", "moved".into()),
        ("ex", ex),
    ]);
    let script = Script::new().command(Command::new("_error", 1.0, Value::Null, vec![info]));
    let (events, err) = script.run(&mut client(Config::default()), 5);
    assert_eq!((events, err), (vec![Event::Redirected("rtmp://other/app".into())], None));
}

#[test]
fn errors_name_the_byte_and_the_path() {
    let mut http = Script::new();
    http.0 = b"HTTP/1.1 400 Bad Request".to_vec();
    assert_eq!(error(&http), "rtmp byte 0: handshake > s0 > version: 72 is out of range");
    let success = || Script::new().command(Command::new("_result", 1.0, Value::Null, vec![]));
    let created = |arguments| success().command(Command::new("_result", 4.0, Value::Null, arguments));
    let place = "rtmp byte 3105: message type 20 > createStream > stream id";
    assert_eq!(error(&created(vec![])), format!("{place}: ends before the field is complete"));
    assert!(error(&created(vec![(-1.0).into()])).starts_with(place));
    assert!(error(&created(vec![f64::NAN.into()])).starts_with(place));
    assert!(error(&created(vec![1.5.into()])).starts_with(place));
    let mut huge = Script::new();
    huge.0.extend([3, 0, 0, 0, 1, 0, 1, 20, 0, 0, 0, 0]);
    assert_eq!(error(&huge), "rtmp byte 3073: chunk > message length: 65537 is over the limit of 65536");
    let mut deep = Script::new();
    deep.0.extend([3, 0, 0, 0, 0, 0, 100, 20, 0, 0, 0, 0]);
    deep.0.extend([10, 0, 0, 0, 1].repeat(20));
    assert!(error(&deep).starts_with("rtmp byte 3073: message type 20 > amf0"), "{}", error(&deep));
}

#[test]
fn bytes_before_the_publication_are_limited() {
    let mut endless = Script::connected(Value::Null);
    while endless.0.len() < 300_000 {
        endless = endless.message(&Message::Audio(vec![0; 1_000].into()));
    }
    let place = format!("rtmp byte {}: bytes before the publication starts", 3_073 + 262_145);
    let expected = format!("{place}: 262145 is over the limit of 262144");
    for step in [1, 1_000, usize::MAX] {
        let err = endless.run(&mut client(Config::default()), step).1;
        assert_eq!(err.as_deref(), Some(expected.as_str()), "{step}");
    }
    let pings = (0..20_000).fold(Script::published(Value::Null), |script, n| {
        script.message(&Message::UserControl(UserControl::PingRequest(n)))
    });
    let err = pings.run(&mut client(Config::default()), usize::MAX).1.expect("too many");
    assert!(err.contains(": answers: ") && err.ends_with("is over the limit of 262144"), "{err}");
}

proptest! {
    #[test]
    fn damaged_answers_end_or_are_ignored(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        step in 1usize..100,
    ) {
        let ex = Value::object([("redirect", "rtmp://other/app".into())]);
        let mut script = Script::published(Value::object([("fourCcList", Value::StrictArray(vec!["hvc1".into()]))]))
            .message(&Message::SetPeerBandwidth { size: 5_000, limit: 2 })
            .message(&Message::SetChunkSize(60))
            .message(&Message::UserControl(UserControl::PingRequest(1)))
            .on_status(Value::object([("level", "error".into()), ("code", "x".into()), ("ex", ex)]));
        for (index, byte) in changes {
            let answers = &mut script.0[3_073..];
            let at = index.index(answers.len());
            answers[at] = byte;
        }
        let run = |step: usize| {
            let mut session = client(Config::default());
            let events = script.run(&mut session, step);
            (format!("{events:?}"), session.take_output().concat())
        };
        prop_assert_eq!(run(step), run(usize::MAX));
    }

    #[test]
    fn any_bytes_end_or_are_ignored(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        step in 1usize..100,
        publishing in any::<bool>(),
    ) {
        let mut script = if publishing { Script::published(Value::Null) } else { Script::new() };
        script.0.extend(bytes);
        let run = |step: usize| {
            let mut session = client(Config::default());
            let events = script.run(&mut session, step);
            (format!("{events:?}"), session.take_output().concat())
        };
        prop_assert_eq!(run(step), run(usize::MAX));
    }
}
