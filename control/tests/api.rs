//! The API's endpoints, one by one, through the router.

mod common;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use common::{Client, STREAMS, open};
use control::KeyLookup;
use serde_json::{Value, json};

macro_rules! server {
    ($client:ident, $control:ident, $told:ident) => {
        let folder = tempfile::tempdir().unwrap();
        #[allow(unused_mut, unused_variables)]
        let ($control, mut $told) = open(folder.path()).await;
        let $client = Client($control.router());
    };
    ($client:ident) => {
        server!($client, control, told);
    };
}

#[tokio::test]
async fn a_live_stream_has_the_documented_shape_and_defaults() {
    server!(client);
    let (id, created) = client.create(json!({"playback_policies": ["public"]})).await;
    for field in ["id", "created_at", "stream_key", "srt_passphrase"] {
        assert!(created[field].is_string(), "{field}");
    }
    assert!(created["created_at"].as_str().unwrap().parse::<u64>().unwrap() > 1_700_000_000);
    assert_eq!(created["status"], "idle");
    assert_eq!(created["latency_mode"], "standard");
    assert_eq!(created["reconnect_window"].to_string(), "60");
    assert_eq!(created["max_continuous_duration"], 43_200);
    assert_eq!(created["playback_ids"][0]["policy"], "public");
    for field in ["active_asset_id", "recent_asset_ids", "active_ingest_protocol", "passthrough", "test", "meta"] {
        assert!(created.get(field).is_none(), "{field}");
    }
    assert_eq!(client.get(&format!("{STREAMS}/{id}")).await.data(), &created);
}

#[tokio::test]
async fn an_empty_object_makes_a_live_stream_without_playback_ids() {
    server!(client);
    let (_, created) = client.create(json!({})).await;
    assert!(created.get("playback_ids").is_none());
    client.call(Method::POST, STREAMS, None).await.error(400, "invalid_parameters");
}

#[tokio::test]
async fn every_setting_comes_back() {
    server!(client);
    let sent = json!({
        "playback_policies": "signed",
        "latency_mode": "low", "reconnect_window": 2.5, "max_continuous_duration": 600, "audio_only": true,
        "passthrough": "mine", "meta": {"title": "A title", "mood": "calm"}, "test": false,
        "use_slate_for_standard_latency": true, "reconnect_slate_url": "https://example.com/slate.png",
        "simulcast_targets": [{"url": "rtmp://live.example.com/app", "stream_key": "abc", "passthrough": "p"}],
        "embedded_subtitles": [{"passthrough": "Example"}],
        "generated_subtitles": [{"name": "Mine", "language_code": "de"}],
        "new_asset_settings": {"playback_policies": "public", "video_quality": "plus", "inputs": [{"name": "x", "later": 1}],
            "static_renditions": [{"resolution": "highest"}], "meta": {"external_id": "7"}, "directives": [{"id": "d"}]},
        "of_a_later_version": {"deep": [1, 2, {"er": null}]},
    });
    let (id, created) = client.create(sent.clone()).await;
    for field in [
        "latency_mode",
        "reconnect_window",
        "max_continuous_duration",
        "audio_only",
        "passthrough",
        "meta",
        "test",
        "use_slate_for_standard_latency",
        "reconnect_slate_url",
        "of_a_later_version",
    ] {
        assert_eq!(created[field], sent[field], "{field}");
    }
    assert_eq!(created["low_latency"], true);
    assert_eq!(created["playback_ids"][0]["policy"], "signed");
    assert_eq!(created["simulcast_targets"][0]["url"], "rtmp://live.example.com/app");
    assert_eq!(created["simulcast_targets"][0]["status"], "idle");
    assert_eq!(
        created["embedded_subtitles"],
        json!([{"name": "English CC", "language_code": "en", "language_channel": "cc1", "passthrough": "Example"}])
    );
    assert_eq!(created["generated_subtitles"], json!([{"name": "Mine", "language_code": "de"}]));
    let mut assets = sent["new_asset_settings"].clone();
    assets["playback_policies"] = json!(["public"]);
    assert_eq!(created["new_asset_settings"], assets);
    assert_eq!(client.get(&format!("{STREAMS}/{id}")).await.data(), &created);
}

#[tokio::test]
async fn wrong_settings_are_named() {
    server!(client);
    for (body, message) in [
        (json!({"latency_mode": "instant"}), "latency_mode: must be one of low, reduced, standard, not instant"),
        (json!({"reconnect_window": -1}), "reconnect_window: must be a number from 0 to 1800"),
        (json!({"reconnect_window": 1800.5}), "reconnect_window: must be a number from 0 to 1800"),
        (json!({"reconnect_window": "60"}), "reconnect_window: must be a number, not the text \"60\""),
        (json!({"max_continuous_duration": 59}), "max_continuous_duration: must be a whole number from 60 to 43200"),
        (json!({"max_continuous_duration": 43_201}), "max_continuous_duration: must be"),
        (json!({"max_continuous_duration": 60.5}), "max_continuous_duration: must be a whole number"),
        (json!({"max_continuous_duration": -1e300}), "max_continuous_duration: must be a whole number from 60"),
        (json!({"passthrough": "x".repeat(256)}), "passthrough: must have at most 255 characters"),
        (json!({"meta": {"title": "x".repeat(513)}}), "meta.title: must have at most 512 characters"),
        (json!({"meta": {"title": 5}}), "meta.title: must be a text, not 5"),
        (json!({"low_latency": true, "reduced_latency": true}), "low_latency: cannot be true together"),
        (json!({"low_latency": true, "latency_mode": "reduced"}), "latency_mode: says otherwise"),
        (json!({"playback_policy": ["open"]}), "playback_policy[0]: must be one of public, signed, drm, not open"),
        (json!({"playback_policies": "open"}), "playback_policies: must be one of public, signed, drm, not open"),
        (json!({"playback_policies": ["drm"]}), "playback_policies: cannot be drm"),
        (json!({"advanced_playback_policies": [{"policy": "drm"}]}), "[0].drm_configuration_id: is required"),
        (json!({"advanced_playback_policies": [{"drm_configuration_id": "x"}]}), "is only taken where policy is drm"),
        (json!({"reconnect_slate_url": "ftp://x/y"}), "reconnect_slate_url: must be a URL"),
        (json!({"simulcast_targets": [{"url": "http://x/y"}]}), "simulcast_targets[0].url: must be a URL"),
        (json!({"simulcast_targets": [{}]}), "simulcast_targets[0].url: is required"),
        (
            json!({"embedded_subtitles": [{"language_channel": "cc9"}]}),
            "embedded_subtitles[0].language_channel: must be one of cc1, cc2, cc3, cc4, not cc9",
        ),
        (json!({"embedded_subtitles": [{}, {}]}), "embedded_subtitles: must name each language_channel once"),
        (json!({"embedded_subtitles": [{"language_code": "e"}]}), "embedded_subtitles[0].language_code: must be"),
        (json!({"generated_subtitles": [{}, {}]}), "generated_subtitles: must have at most 1 entries"),
        (
            json!({"generated_subtitles": [{"language_code": "tlh"}]}),
            "generated_subtitles[0].language_code: must be one",
        ),
        (json!({"new_asset_settings": {"video_quality": "best"}}), "new_asset_settings.video_quality: must be one of"),
        (json!({"new_asset_settings": {"mp4_support": "standard", "static_renditions": []}}), "not both"),
        (json!({"later": "x".repeat(33_000)}), "settings: would take more than 32 KiB"),
        (json!([]), "the body must be a JSON object"),
    ] {
        let told = client.post(STREAMS, body.clone()).await;
        let messages = told.error(400, "invalid_parameters");
        assert!(messages.contains(message), "{body}: {messages}");
    }
    let two = client.post(STREAMS, json!({"reconnect_window": -1, "max_continuous_duration": 1})).await;
    assert_eq!(two.error(400, "invalid_parameters").lines().count(), 2);
    assert_eq!(client.get(STREAMS).await.data(), &json!([]));
}

#[tokio::test]
async fn an_update_changes_what_it_names() {
    server!(client, control, told);
    let (id, created) = client.create(json!({"passthrough": "a", "audio_only": false, "embedded_subtitles": [{}], "meta": {"title": "t", "k": 1}, "later": 1, "new_asset_settings": {"passthrough": "z"}})).await;
    let path = format!("{STREAMS}/{id}");
    let changed = client.patch(&path, json!({"latency_mode": "low", "meta": {"k": 2}, "later": 2, "new": true})).await;
    assert_eq!(changed.status, StatusCode::OK);
    let data = changed.data();
    assert_eq!(data["latency_mode"], "low");
    // The default of the reconnect window follows the latency mode.
    assert_eq!(data["reconnect_window"], 0);
    assert_eq!(data["meta"], json!({"title": "t", "k": 2}));
    assert_eq!((&data["later"], &data["new"], &data["passthrough"]), (&json!(2), &json!(true), &json!("a")));
    assert_eq!(data["stream_key"], created["stream_key"]);
    let cleared = client.patch(&path, json!({"passthrough": "", "later": null, "reconnect_window": 10})).await;
    assert!(cleared.data().get("passthrough").is_none() && cleared.data().get("later").is_none());
    assert_eq!(cleared.data()["reconnect_window"], 10);
    let assets =
        client.patch(&path, json!({"new_asset_settings": {"video_quality": "premium", "meta": {"title": "r"}}})).await;
    assert_eq!(
        assets.data()["new_asset_settings"],
        json!({"video_quality": "premium", "meta": {"title": "r"}, "passthrough": "z"})
    );
    let message = client.patch(&path, json!({"audio_only": true, "reconnect_window": 9999})).await;
    assert_eq!(message.error(400, "invalid_parameters").lines().count(), 2);
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let message = client.patch(&path, json!({"later": deep})).await.error(400, "invalid_parameters");
    assert!(message.contains("64 levels"), "{message}");
    // A client that sends back all it was given changes nothing, and nothing is told.
    let same = client.patch(&path, assets.data().clone()).await;
    assert_eq!(same.data(), assets.data());
    assert_eq!(told.events(), ["created", "updated", "updated", "updated"]);
}

#[tokio::test]
async fn lists_are_paged_and_filtered() {
    server!(client);
    let mut ids = Vec::new();
    for _ in 0..30 {
        ids.insert(0, client.create(json!({})).await.0);
    }
    let of = |answer: &common::Answer| -> Vec<String> {
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
async fn playback_ids_come_and_go() {
    server!(client, control, told);
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
async fn a_new_key_replaces_the_old() {
    server!(client, control, told);
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
async fn disable_enable_complete_delete() {
    server!(client, control, told);
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
    assert_eq!(told.events(), ["created", "disabled", "enabled", "deleted"]);
}

#[tokio::test]
async fn simulcast_targets_and_subtitles_are_kept() {
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

#[tokio::test]
async fn only_the_access_token_opens() {
    server!(client);
    for value in [None, Some("Basic dG9rZW4taWQ6d3Jvbmc="), Some("Basic %%%"), Some("Bearer x"), Some("Basic")] {
        for path in [STREAMS, "/system/v1/whoami", "/video/v1/live-streams/x/enable"] {
            let mut request = Request::builder().uri(path);
            if let Some(value) = value {
                request = request.header(header::AUTHORIZATION, value);
            }
            let answer = client.send(request.body(Body::empty()).unwrap()).await;
            if path.ends_with("enable") {
                continue;
            }
            answer.error(401, "unauthorized");
            assert!(answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap().starts_with("Basic "));
        }
    }
    let me = client.get("/system/v1/whoami").await;
    assert_eq!(me.data()["access_token_name"], common::ID);
    assert!(me.data()["permissions"].as_array().unwrap().contains(&json!("video:write")));
    for field in ["organization_name", "organization_id", "environment_type", "environment_name", "environment_id"] {
        assert!(me.data()[field].is_string(), "{field}");
    }
}

#[tokio::test]
async fn errors_have_one_envelope() {
    server!(client);
    client.get("/video/v1/nothing").await.error(404, "not_found");
    client.get(&format!("{STREAMS}/unknown")).await.error(404, "not_found");
    client.get(&format!("{STREAMS}/not%20an%20id")).await.error(404, "not_found");
    let method = client.call(Method::PUT, STREAMS, None).await;
    method.error(405, "method_not_allowed");
    assert!(method.headers.contains_key(header::ALLOW));
    let huge = client.post(STREAMS, json!({"later": "x".repeat(70_000)})).await;
    assert_eq!(huge.error(413, "payload_too_large"), "the body is longer than 64 KiB");
    for (body, message) in [
        ("", "a JSON body is required; it may be {} where nothing in it is"),
        ("{\"test\": ", "the body ends in the middle of its JSON"),
        ("{\"test\": yes}", "the body is not JSON: look at line 1, column 10"),
    ] {
        let answer = client.send_as(STREAMS, &[("content-type", "application/json")], Body::from(body)).await;
        assert_eq!(answer.error(400, "invalid_parameters"), message);
    }
    for (query, message) in [
        ("limit=x", "limit: must be a whole number from 1 to 100"),
        ("page=1&page=2", "page: may be there only once"),
        ("status=asleep", "status: must be one of active, idle, disabled"),
    ] {
        assert_eq!(client.get(&format!("{STREAMS}?{query}")).await.error(400, "invalid_parameters"), message);
    }
}

#[tokio::test]
async fn a_change_is_json_or_has_no_body() {
    server!(client);
    let (id, _) = client.create(json!({})).await;
    let reset = format!("{STREAMS}/{id}/reset-stream-key");
    for kind in [
        "text/plain",
        "text/plain;charset=UTF-8",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
    ] {
        for (path, body) in [(STREAMS, "{}"), (STREAMS, ""), (reset.as_str(), "{}"), (reset.as_str(), "")] {
            let answer = client.send_as(path, &[("content-type", kind)], Body::from(body)).await;
            let message = answer.error(415, "unsupported_media_type");
            assert!(message.contains("application/json"), "{message}");
        }
    }
    client.send_as(STREAMS, &[], Body::from("{}")).await.error(415, "unsupported_media_type");
    assert_eq!(client.get(STREAMS).await.data().as_array().unwrap().len(), 1, "nothing was made");
    for kind in ["application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.x+json"] {
        let answer = client.send_as(STREAMS, &[("content-type", kind)], Body::from("{}")).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{kind}");
    }
    assert_eq!(client.send_as(&reset, &[], Body::empty()).await.status, StatusCode::CREATED, "it needs no body");
    // In chunks nobody knows of a body whether it is empty until it is over.
    let chunks = |texts: &'static [&str]| {
        Body::from_stream(futures_util::stream::iter(texts.iter().map(|text| Ok::<_, std::io::Error>(*text))))
    };
    assert_eq!(client.send_as(&reset, &[], chunks(&[])).await.status, StatusCode::CREATED, "it has no body");
    client.send_as(&reset, &[], chunks(&["", "{}"])).await.error(415, "unsupported_media_type");
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    server!(client);
    let (id, created) = client.create(json!({})).await;
    let reset = format!("{STREAMS}/{id}/reset-stream-key");
    for fields in [&[("sec-fetch-site", "cross-site")][..], &[("host", "a"), ("origin", "https://b")]] {
        client.send_as(&reset, fields, Body::empty()).await.error(403, "forbidden");
    }
    assert_eq!(client.get(&format!("{STREAMS}/{id}")).await.data()["stream_key"], created["stream_key"]);
    let own = client.send_as(&reset, &[("sec-fetch-site", "same-origin")], Body::empty()).await;
    assert_eq!(own.status, StatusCode::CREATED);
}

#[tokio::test]
async fn guesses_of_a_secret_are_slowed_by_address() {
    server!(client);
    let right = common::Client::token();
    let wrong = control::Token { secret: "guess".to_owned(), ..right.clone() };
    let ask = async |token: &control::Token, last: u8| client.call_from(token, [192, 0, 2, last].into()).await;
    for _ in 0..3 {
        ask(&wrong, 1).await.error(401, "unauthorized");
    }
    for token in [&wrong, &right] {
        let slowed = ask(token, 1).await;
        slowed.error(429, "too_many_requests");
        assert_eq!(slowed.headers[header::RETRY_AFTER], "1");
    }
    assert_eq!(ask(&right, 2).await.status, StatusCode::OK, "others are not slowed");
    tokio::time::sleep(std::time::Duration::from_millis(260)).await;
    assert_eq!(ask(&right, 1).await.status, StatusCode::OK, "the wait is over");
    ask(&wrong, 1).await.error(401, "unauthorized");
}

#[tokio::test]
async fn the_description_is_served_and_names_what_is_there() {
    server!(client);
    let api = client.send(Request::builder().uri("/openapi.json").body(Body::empty()).unwrap()).await.body;
    assert_eq!(api["openapi"].as_str().unwrap().split('.').next(), Some("3"));
    assert_eq!(api["servers"][0]["url"], "http://localhost:8080");
    let (mut operations, mut described) = (0, 0);
    for (path, methods) in api["paths"].as_object().unwrap() {
        assert!(control::serves(path));
        for (method, operation) in methods.as_object().unwrap() {
            operations += 1;
            described += usize::from(operation["summary"].is_string());
            let path = path.replace("{LIVE_STREAM_ID}", "x").replace("{PLAYBACK_ID}", "y");
            let path = path.replace("{SIMULCAST_TARGET_ID}", "z");
            let body = (!matches!(method.as_str(), "get" | "delete")).then(|| json!({"url": "rtmp://a/b"}));
            let answer = client.call(method.to_uppercase().parse().unwrap(), &path, body).await;
            let documented = operation["responses"].get(answer.status.as_str()).is_some();
            assert!(documented, "{method} {path}: {}", answer.status);
        }
    }
    assert_eq!((operations, described), (20, 20));
    assert_no_dangling(&api, &api);
    let page = client.send(Request::builder().uri("/docs").body(Body::empty()).unwrap()).await;
    assert!(page.text.contains("/openapi.json") && !page.text.contains("://"));
}

fn assert_no_dangling(api: &Value, at: &Value) {
    match at {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get("$ref") {
                assert!(api.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
            }
            map.values().for_each(|value| assert_no_dangling(api, value));
        }
        Value::Array(list) => list.iter().for_each(|value| assert_no_dangling(api, value)),
        _ => {}
    }
}

#[tokio::test]
async fn the_description_spells_values_as_they_are_sent() {
    let api = serde_json::to_value(control::openapi("http://localhost")).unwrap();
    let values = |name: &str| api["components"]["schemas"][name]["enum"].clone();
    assert_eq!(values("Mp4Support")[4], "audio-only,capped-1080p");
    assert_eq!(values("StaticResolution")[9], "270p");
    assert_eq!(values("Policy"), json!(["public", "signed", "drm"]));
}
