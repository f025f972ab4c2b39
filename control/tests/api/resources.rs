//! The endpoints of live streams and of their parts.

use axum::http::{Method, StatusCode};
use control::KeyLookup;
use serde_json::json;

use crate::common::{Answer, Client, STREAMS, open};

#[tokio::test]
async fn lists_are_paged_and_filtered() {
    server!(client);
    let mut ids = Vec::new();
    for _ in 0..30 {
        ids.insert(0, client.create(json!({})).await.0);
    }
    let of = |answer: &Answer| -> Vec<String> {
        answer.data().as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(of(&client.get(STREAMS).await), ids[..25]);
    assert_eq!(of(&client.get(&format!("{STREAMS}?page=2")).await), ids[25..]);
    assert_eq!(of(&client.get(&format!("{STREAMS}?limit=10&page=3")).await), ids[20..]);
    assert!(of(&client.get(&format!("{STREAMS}?limit=100&page=2147483647&unknown=1")).await).is_empty());
    for query in ["limit=0", "limit=101", "limit=x", "page=0", "page=-1", "status=asleep"] {
        client.get(&format!("{STREAMS}?{query}")).await.error(400, "invalid_parameters");
    }
    let one = client.get(&format!("{STREAMS}/{}", ids[7])).await;
    let key = one.data()["stream_key"].as_str().unwrap().to_owned();
    assert_eq!(of(&client.get(&format!("{STREAMS}?stream_key={key}")).await), ids[7..8]);
    assert!(of(&client.get(&format!("{STREAMS}?stream_key=nobody%2Fs")).await).is_empty());
    client.put(&format!("{STREAMS}/{}/disable", ids[3]), json!({})).await;
    assert_eq!(of(&client.get(&format!("{STREAMS}?status=disabled")).await), ids[3..4]);
    assert_eq!(of(&client.get(&format!("{STREAMS}?status=idle&limit=100")).await).len(), 29);
}

#[tokio::test]
async fn playback_ids_are_added_and_deleted() {
    server!(client, control, effects);
    let (id, created) = client.create(json!({"playback_policy": ["public"]})).await;
    let path = format!("{STREAMS}/{id}/playback-ids");
    let added = client.post(&path, json!({"policy": "signed"})).await;
    assert_eq!(added.status, StatusCode::CREATED);
    let added = added.data().clone();
    let one = format!("{path}/{}", added["id"].as_str().unwrap());
    assert_eq!(client.get(&one).await.data(), &added);
    let found = control.find_playback(added["id"].as_str().unwrap()).unwrap();
    assert_eq!((found.0.as_str(), found.1), (id.as_str(), control::Policy::Signed));
    let stream = client.get(&format!("{STREAMS}/{id}")).await;
    assert_eq!(stream.data()["playback_ids"], json!([created["playback_ids"][0], added]));
    assert_eq!(client.delete(&one).await.status, StatusCode::NO_CONTENT);
    client.delete(&one).await.error(404, "not_found");
    client.get(&one).await.error(404, "not_found");
    assert!(control.find_playback(added["id"].as_str().unwrap()).is_none());
    client.post(&path, json!({"policy": "drm"})).await.error(400, "invalid_parameters");
    let drm = client.post(&path, json!({"policy": "drm", "drm_configuration_id": "c"})).await;
    assert_eq!(drm.data()["drm_configuration_id"], "c");
}

#[tokio::test]
async fn a_new_key_replaces_the_old_one() {
    server!(client, control, effects);
    let (id, created) = client.create(json!({})).await;
    let old = created["stream_key"].as_str().unwrap();
    assert!(matches!(control.find_key(old), KeyLookup::Found(s) if s.id.as_str() == id));
    let reset = client.post(&format!("{STREAMS}/{id}/reset-stream-key"), json!({})).await;
    assert_eq!(reset.status, StatusCode::CREATED);
    let new = reset.data()["stream_key"].as_str().unwrap();
    assert_ne!(old, new);
    assert_eq!(control.find_key(old), KeyLookup::Unknown);
    assert!(matches!(control.find_key(new), KeyLookup::Found(_)));
    assert_eq!(control.find_key("no key/at all"), KeyLookup::Unknown);
}

#[tokio::test]
async fn live_streams_are_disabled_enabled_completed_and_deleted() {
    server!(client, control, effects);
    let (id, created) = client.create(json!({"playback_policies": ["public"]})).await;
    let key = created["stream_key"].as_str().unwrap();
    for (what, status) in
        [("disable", "disabled"), ("disable", "disabled"), ("enable", "idle"), ("enable", "idle"), ("complete", "idle")]
    {
        let answer = client.call(Method::PUT, &format!("{STREAMS}/{id}/{what}"), None).await;
        assert_eq!((answer.status, &answer.body), (StatusCode::OK, &json!({"data": {}})));
        assert_eq!(client.get(&format!("{STREAMS}/{id}")).await.data()["status"], status);
        assert_eq!(control.find_key(key) == KeyLookup::Disabled, status == "disabled");
    }
    assert_eq!(client.delete(&format!("{STREAMS}/{id}")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(control.find_key(key), KeyLookup::Unknown);
    assert!(control.find_playback(created["playback_ids"][0]["id"].as_str().unwrap()).is_none());
    for (method, tail) in [
        (Method::GET, ""),
        (Method::PATCH, ""),
        (Method::DELETE, ""),
        (Method::PUT, "/disable"),
        (Method::PUT, "/complete"),
        (Method::POST, "/reset-stream-key"),
        (Method::POST, "/playback-ids"),
    ] {
        client.call(method, &format!("{STREAMS}/{id}{tail}"), Some(json!({}))).await.error(404, "not_found");
    }
    assert_eq!(effects.events(), ["created", "disabled", "enabled", "deleted"]);
}

#[tokio::test]
async fn simulcast_targets_and_subtitles_are_stored() {
    server!(client);
    let (id, _) = client.create(json!({})).await;
    let path = format!("{STREAMS}/{id}");
    let added = client.post(&format!("{path}/simulcast-targets"), json!({"url": "rtmps://a.example/b"})).await;
    assert_eq!(added.status, StatusCode::CREATED);
    let one = format!("{path}/simulcast-targets/{}", added.data()["id"].as_str().unwrap());
    assert_eq!(client.get(&one).await.data(), added.data());
    assert_eq!(client.get(&path).await.data()["simulcast_targets"][0], *added.data());
    assert_eq!(client.delete(&one).await.status, StatusCode::NO_CONTENT);
    client.get(&one).await.error(404, "not_found");
    client.post(&format!("{path}/simulcast-targets"), json!({"url": "nowhere"})).await.error(400, "invalid_parameters");

    let cc = client.put(&format!("{path}/embedded-subtitles"), json!({"embedded_subtitles": [{"name": "N"}]})).await;
    assert_eq!(cc.data()["embedded_subtitles"][0]["name"], "N");
    let none = client.put(&format!("{path}/embedded-subtitles"), json!({"embedded_subtitles": []})).await;
    assert!(none.data().get("embedded_subtitles").is_none());
    let asr = client.put(&format!("{path}/generated-subtitles"), json!({"generated_subtitles": [{}]})).await;
    assert_eq!(asr.data()["generated_subtitles"][0]["name"], "English (generated)");
    let renditions = format!("{path}/new-asset-settings/static-renditions");
    let kept = client.put(&renditions, json!({"static_renditions": [{"resolution": "audio-only"}]})).await;
    assert_eq!(kept.data()["new_asset_settings"]["static_renditions"][0]["resolution"], "audio-only");
    client.put(&renditions, json!({})).await.error(400, "invalid_parameters");
    assert_eq!(client.delete(&renditions).await.status, StatusCode::NO_CONTENT);
    assert!(client.get(&path).await.data()["new_asset_settings"].get("static_renditions").is_none());
}
