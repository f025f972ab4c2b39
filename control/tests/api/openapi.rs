//! The OpenAPI document and the page that shows it.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::common::{Client, open};

#[tokio::test]
async fn the_openapi_document_covers_all_endpoints() {
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
async fn the_openapi_document_has_the_errors_of_each_method() {
    let api = serde_json::to_value(control::openapi("http://localhost")).unwrap();
    for (path, methods) in api["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let expected: &[&str] = match method.as_str() {
                "get" => &["401", "429"],
                "delete" => &["401", "403", "429", "503"],
                _ => &["401", "403", "408", "413", "415", "429", "503"],
            };
            for status in expected {
                let body = &operation["responses"][status]["content"]["application/json"]["schema"]["$ref"];
                assert_eq!(body, "#/components/schemas/ErrorResponse", "{method} {path}: {status}");
            }
        }
    }
}

#[tokio::test]
async fn the_openapi_document_names_values_as_the_api_does() {
    let api = serde_json::to_value(control::openapi("http://localhost")).unwrap();
    let values = |name: &str| api["components"]["schemas"][name]["enum"].clone();
    assert_eq!(values("Mp4Support")[4], "audio-only,capped-1080p");
    assert_eq!(values("StaticResolution")[9], "270p");
    assert_eq!(values("Policy"), json!(["public", "signed", "drm"]));
}
