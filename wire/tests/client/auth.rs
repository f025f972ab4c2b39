//! The challenges of Adobe and Limelight, with responses that Python's hashlib has computed.

use wire::amf0::Value;
use wire::rtmp::client::{Config, Event, RANDOM_LEN, RefusalKind, Session, Target};
use wire::rtmp::message::{Command, Message};

use crate::support::{Script, messages, status};

const USER: &str = "authmod=adobe&user=me";

/// Returns the event with which a server's refusal of `connect` ends a session.
fn refused(url: &str, query: Option<&str>, description: &str) -> Event {
    let mut target = Target::parse(url, "key").expect("an address");
    target.auth_query = query.map(Into::into);
    let info = status("error", "NetConnection.Connect.Rejected", description);
    let script = Script::new()
        .command(Command::new("_error", 1.0, Value::Null, vec![info]))
        .message(&Message::Command(Command::new("close", 0.0, Value::Null, vec![])));
    let mut session = Session::new(Config::default(), target, [7; RANDOM_LEN]);
    let (mut events, err) = script.run(&mut session, 7);
    assert_eq!((events.len(), err, session.is_closed()), (1, None, true));
    events.remove(0)
}

fn again(query: &str) -> Event {
    Event::ConnectAgain(query.into())
}

#[test]
fn adobe() {
    let url = "rtmp://me:secret@host/app";
    let needed = "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : ";
    assert_eq!(refused(url, None, needed), again(USER));
    let challenge = |rest: &str| {
        format!(
            "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=needauth&user=me&salt=SALT==&challenge=CHAL{rest}"
        )
    };
    assert_eq!(
        refused(url, Some(USER), &challenge("&opaque=OPAQ")),
        again(&format!("{USER}&challenge=07070707&response=q44WyF0I1P5TN1ieDTqzeQ==&opaque=OPAQ"))
    );
    assert_eq!(
        refused(url, Some(USER), &challenge("")),
        again(&format!("{USER}&challenge=07070707&response=MhlCnb1nmpzcvEeMUmoUYw=="))
    );
}

#[test]
fn limelight() {
    let needed = "[ AccessManager.Reject ] : [ code=403 need auth; authmod=llnw ] : ";
    let challenge = "[ AccessManager.Reject ] : [ authmod=llnw ] : ?reason=needauth&user=me&nonce=NONCE=";
    let user = "authmod=llnw&user=me";
    for (url, response) in [
        ("rtmp://me:secret@host/app", "684d35aefb668f133af441aadc271904"),
        ("rtmp://me:secret@host/app/one", "a068255cdfd2ea650e842a5cc9d0b8be"),
    ] {
        assert_eq!(refused(url, None, needed), again(user));
        let query = format!("{user}&nonce=NONCE=&cnonce=07070707&nc=00000001&response={response}");
        assert_eq!(refused(url, Some(user), challenge), again(&query));
    }
}

#[test]
fn failed_authentication_is_permanent_and_ends() {
    let kind = |url: &str, query: Option<&str>, description: &str| match refused(url, query, description) {
        Event::Refused(refusal) => refusal.kind,
        other => panic!("{other:?}"),
    };
    let url = "rtmp://me:secret@host/app";
    for (url, query, description) in [
        ("rtmp://host/app", None, "[ code=403 need auth; authmod=adobe ]"),
        (url, None, "[ code=403 need auth; authmod=other ]"),
        (url, Some(USER), "[ code=403 need auth; authmod=adobe ]"),
        (url, Some(USER), "[ authmod=adobe ] : ?reason=authfailed&opaque=vgoAAA=="),
        (url, Some(USER), "[ authmod=adobe ] : ?reason=nosuchuser&user=me"),
        (
            url,
            Some("authmod=adobe&user=me&challenge=1&response=2"),
            "[ authmod=adobe ] : ?reason=needauth&salt=1&challenge=2",
        ),
    ] {
        assert_eq!(kind(url, query, description), RefusalKind::Authentication, "{description}");
        assert!(RefusalKind::Authentication.is_permanent());
    }
    assert_eq!(kind(url, None, "Application (app) is not defined."), RefusalKind::Other);
}

#[test]
fn the_query_is_part_of_app_and_url() {
    let mut target = Target::parse("rtmp://me:secret@host/app", "key").unwrap();
    target.auth_query = Some(USER.into());
    let mut session = Session::new(Config::default(), target, [7; RANDOM_LEN]);
    session.input(&Script::new().0).unwrap();
    let sent = session.take_output().concat();
    let Some((0, Message::Command(connect))) = messages(&sent).pop() else { panic!("connect") };
    let text = |name: &str| connect.object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    assert_eq!(text("app"), "app?authmod=adobe&user=me");
    assert_eq!(text("tcUrl"), "rtmp://host/app?authmod=adobe&user=me");
    assert!(!format!("{connect:?}").contains("secret"));
}
