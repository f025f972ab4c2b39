//! Settings of live streams: defaults, validation and updates.

use axum::http::{Method, StatusCode};
use serde_json::json;

use crate::common::{Client, STREAMS, open};

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
async fn an_empty_object_creates_a_live_stream_without_playback_ids() {
    server!(client);
    let (_, created) = client.create(json!({})).await;
    assert!(created.get("playback_ids").is_none());
    client.call(Method::POST, STREAMS, None).await.error(400, "invalid_parameters");
}

#[tokio::test]
async fn every_setting_is_returned() {
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
async fn invalid_settings_are_named_in_the_error() {
    server!(client);
    for (body, message) in [
        (json!({"latency_mode": "instant"}), "latency_mode: must be one of low, reduced, standard, not instant"),
        (json!({"reconnect_window": -1}), "reconnect_window: must be a number from 0 to 1800"),
        (json!({"reconnect_window": 1800.5}), "reconnect_window: must be a number from 0 to 1800"),
        (json!({"reconnect_window": "60"}), "reconnect_window: must be a number, not the string \"60\""),
        (json!({"max_continuous_duration": 59}), "max_continuous_duration: must be a whole number from 60 to 43200"),
        (json!({"max_continuous_duration": 43_201}), "max_continuous_duration: must be"),
        (json!({"max_continuous_duration": 60.5}), "max_continuous_duration: must be a whole number"),
        (json!({"max_continuous_duration": -1e300}), "max_continuous_duration: must be a whole number from 60"),
        (json!({"passthrough": "x".repeat(256)}), "passthrough: must have at most 255 characters"),
        (json!({"meta": {"title": "x".repeat(513)}}), "meta.title: must have at most 512 characters"),
        (json!({"meta": {"title": 5}}), "meta.title: must be a string, not 5"),
        (json!({"low_latency": true, "reduced_latency": true}), "low_latency: cannot be true together"),
        (json!({"low_latency": true, "latency_mode": "reduced"}), "latency_mode: contradicts"),
        (json!({"playback_policy": ["open"]}), "playback_policy[0]: must be one of public, signed, drm, not open"),
        (json!({"playback_policies": "open"}), "playback_policies: must be one of public, signed, drm, not open"),
        (json!({"playback_policies": ["drm"]}), "playback_policies: cannot be drm"),
        (json!({"advanced_playback_policies": [{"policy": "drm"}]}), "[0].drm_configuration_id: is required"),
        (json!({"advanced_playback_policies": [{"drm_configuration_id": "x"}]}), "is only allowed if policy is drm"),
        (json!({"reconnect_slate_url": "ftp://x/y"}), "reconnect_slate_url: must be a URL"),
        (json!({"simulcast_targets": [{"url": "http://x/y"}]}), "simulcast_targets[0].url: must be a URL"),
        (json!({"simulcast_targets": [{}]}), "simulcast_targets[0].url: is required"),
        (
            json!({"embedded_subtitles": [{"language_channel": "cc9"}]}),
            "embedded_subtitles[0].language_channel: must be one of cc1, cc2, cc3, cc4, not cc9",
        ),
        (json!({"embedded_subtitles": [{}, {}]}), "embedded_subtitles: must name each language_channel at most once"),
        (json!({"embedded_subtitles": [{"language_code": "e"}]}), "embedded_subtitles[0].language_code: must be"),
        (json!({"generated_subtitles": [{}, {}]}), "generated_subtitles: must have at most 1 entries"),
        (
            json!({"generated_subtitles": [{"language_code": "tlh"}]}),
            "generated_subtitles[0].language_code: must be one",
        ),
        (json!({"new_asset_settings": {"video_quality": "best"}}), "new_asset_settings.video_quality: must be one of"),
        (json!({"new_asset_settings": {"mp4_support": "standard", "static_renditions": []}}), "not both"),
        (json!({"later": "x".repeat(33_000)}), "settings: must not exceed 32 KiB"),
        (json!([]), "the body must be a JSON object"),
    ] {
        let answer = client.post(STREAMS, body.clone()).await;
        let messages = answer.error(400, "invalid_parameters");
        assert!(messages.contains(message), "{body}: {messages}");
    }
    let two = client.post(STREAMS, json!({"reconnect_window": -1, "max_continuous_duration": 1})).await;
    assert_eq!(two.error(400, "invalid_parameters").lines().count(), 2);
    assert_eq!(client.get(STREAMS).await.data(), &json!([]));
}

#[tokio::test]
async fn an_update_changes_only_the_named_settings() {
    server!(client, control, effects);
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
    // A client that sends back everything that it received changes nothing, and no event is emitted.
    let same = client.patch(&path, assets.data().clone()).await;
    assert_eq!(same.data(), assets.data());
    assert_eq!(effects.events(), ["created", "updated", "updated", "updated"]);
}
