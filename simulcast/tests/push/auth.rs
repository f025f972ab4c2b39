//! Redirects, and challenges that are answered by connecting again.

use wire::amf0::Value;

use crate::media::Programme;
use crate::rig::{Rig, config, wait_for};
use crate::servers::{Behaviour, Server};

fn rejected(description: &str) -> Value {
    Value::object([
        ("level", "error".into()),
        ("code", "NetConnection.Connect.Rejected".into()),
        ("description", description.into()),
    ])
}

fn redirect(url: &str) -> Value {
    Value::object([
        ("level", "error".into()),
        ("code", "NetConnection.Connect.Rejected".into()),
        ("ex", Value::object([("code", 302.0.into()), ("redirect", url.into())])),
    ])
}

/// Pushes the programme, and returns once the server has its frames.
fn expect_frames(rig: &Rig, name: &str, server: &Server) {
    let programme = Programme::new(1);
    rig.push(&programme.tracks);
    rig.connected(name, 1);
    rig.push_paced(&[name], &programme.frames);
    rig.finish();
    let expected = programme.expected();
    wait_for("all frames", || (server.frames().len() == expected.len()).then_some(()));
    programme.assert_received(&server.frames(), &expected);
    assert_eq!(rig.states(name), ["starting", "broadcasting", "idle"]);
}

#[test]
fn a_challenge_is_answered_by_connecting_again() {
    let rig = Rig::new(config());
    let needed = rejected("[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : ");
    let challenge = rejected(
        "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=needauth&user=me&salt=SALT==&challenge=CHAL&opaque=OPAQ",
    );
    let server = Server::start(&rig.runtime, Behaviour::Answers(vec![needed, challenge]));
    rig.add("auth", &format!("rtmp://me:hush@{}/app", server.address));
    expect_frames(&rig, "auth", &server);
    assert_eq!(server.connections(), 3);
}

#[test]
fn a_failed_authentication_is_fatal() {
    let rig = Rig::new(config());
    let failed = rejected("[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=authfailed&opaque=vgoAAA==");
    let server = Server::start(&rig.runtime, Behaviour::Answers(vec![failed; 9]));
    rig.add("auth", &format!("rtmp://me:hush@{}/app", server.address));
    rig.push(&Programme::new(1).tracks);
    rig.until("auth", "errored fatal");
    assert!(!rig.reason("auth").contains("hush"), "{}", rig.reason("auth"));
    rig.finish();
    assert_eq!((rig.states("auth").len(), server.connections()), (3, 1));
}

#[test]
fn a_redirect_is_followed() {
    let rig = Rig::new(config());
    let there = Server::start(&rig.runtime, Behaviour::Answers(vec![]));
    let here =
        Server::start(&rig.runtime, Behaviour::Answers(vec![redirect(&format!("rtmp://{}/app", there.address))]));
    rig.add_at("redirected", here.address);
    expect_frames(&rig, "redirected", &there);
    assert_eq!((here.connections(), there.connections()), (1, 1));
}

#[test]
fn a_redirect_is_followed_once_and_its_address_is_checked() {
    let rig = Rig::new(config());
    let last = Server::start(&rig.runtime, Behaviour::Answers(vec![]));
    let again = vec![redirect(&format!("rtmp://{}/app", last.address)); 99];
    let second = Server::start(&rig.runtime, Behaviour::Answers(again));
    let first = vec![redirect(&format!("rtmp://{}/app", second.address)); 99];
    let first = Server::start(&rig.runtime, Behaviour::Answers(first));
    let cloud = vec![redirect("rtmp://169.254.169.254/app"); 99];
    let cloud = Server::start(&rig.runtime, Behaviour::Answers(cloud));
    rig.add_at("twice", first.address);
    rig.add_at("cloud", cloud.address);
    rig.push(&Programme::new(1).tracks);
    rig.until("twice", "errored normal");
    rig.until("cloud", "errored fatal");
    assert_eq!(rig.reason("twice"), "the target redirects again after a redirect");
    assert!(rig.reason("cloud").contains("simulcast.allow_link_local"), "{}", rig.reason("cloud"));
    rig.finish();
    assert_eq!(last.connections(), 0);
}
