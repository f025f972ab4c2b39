//! Requests that are refused: authentication, bodies, other sites, and the form of errors.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::json;

use crate::common::{Client, ID, STREAMS, open};

#[tokio::test]
async fn requests_need_a_valid_access_token() {
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
    assert_eq!(me.data()["access_token_name"], ID);
    assert!(me.data()["permissions"].as_array().unwrap().contains(&json!("video:write")));
    for field in ["organization_name", "organization_id", "environment_type", "environment_name", "environment_id"] {
        assert!(me.data()[field].is_string(), "{field}");
    }
}

#[tokio::test]
async fn all_errors_have_the_same_envelope() {
    server!(client);
    client.get("/video/v1/nothing").await.error(404, "not_found");
    client.get(&format!("{STREAMS}/unknown")).await.error(404, "not_found");
    client.get(&format!("{STREAMS}/not%20an%20id")).await.error(404, "not_found");
    let method = client.call(Method::PUT, STREAMS, None).await;
    method.error(405, "method_not_allowed");
    assert!(method.headers.contains_key(header::ALLOW));
    let huge = client.post(STREAMS, json!({"later": "x".repeat(70_000)})).await;
    assert_eq!(huge.error(413, "payload_too_large"), "the body is larger than 64 KiB");
    for (body, message) in [
        ("", "a JSON body is required; it may be {}"),
        ("{\"test\": ", "the JSON of the body is incomplete"),
        ("{\"test\": yes}", "the body is not valid JSON: see line 1, column 10"),
    ] {
        let answer = client.send_as(STREAMS, &[("content-type", "application/json")], Body::from(body)).await;
        assert_eq!(answer.error(400, "invalid_parameters"), message);
    }
    for (query, message) in [
        ("limit=x", "limit: must be a whole number from 1 to 100"),
        ("page=1&page=2", "page: may be given only once"),
        ("status=asleep", "status: must be one of active, idle, disabled"),
    ] {
        assert_eq!(client.get(&format!("{STREAMS}?{query}")).await.error(400, "invalid_parameters"), message);
    }
}

#[tokio::test]
async fn a_body_must_be_json() {
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
    assert_eq!(client.get(STREAMS).await.data().as_array().unwrap().len(), 1, "nothing was created");
    for kind in ["application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.x+json"] {
        let answer = client.send_as(STREAMS, &[("content-type", kind)], Body::from("{}")).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{kind}");
    }
    assert_eq!(client.send_as(&reset, &[], Body::empty()).await.status, StatusCode::CREATED, "it needs no body");
    // With chunked transfer coding, only the end of the body shows whether it is empty.
    let chunks = |texts: &'static [&str]| {
        Body::from_stream(futures_util::stream::iter(texts.iter().map(|text| Ok::<_, std::io::Error>(*text))))
    };
    assert_eq!(client.send_as(&reset, &[], chunks(&[])).await.status, StatusCode::CREATED, "it has no body");
    client.send_as(&reset, &[], chunks(&["", "{}"])).await.error(415, "unsupported_media_type");
}

#[tokio::test]
async fn a_page_of_another_site_cannot_make_changes() {
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
async fn guesses_of_a_secret_are_delayed_by_address() {
    server!(client);
    let right = Client::token();
    let wrong = control::Token { secret: "guess".to_owned(), ..right.clone() };
    let ask = async |token: &control::Token, last: u8| client.call_from(token, [192, 0, 2, last].into()).await;
    for _ in 0..3 {
        ask(&wrong, 1).await.error(401, "unauthorized");
    }
    for token in [&wrong, &right] {
        let delayed = ask(token, 1).await;
        delayed.error(429, "too_many_requests");
        assert_eq!(delayed.headers[header::RETRY_AFTER], "1");
    }
    assert_eq!(ask(&right, 2).await.status, StatusCode::OK, "other addresses are not delayed");
    tokio::time::sleep(std::time::Duration::from_millis(260)).await;
    assert_eq!(ask(&right, 1).await.status, StatusCode::OK, "the wait is over");
    ask(&wrong, 1).await.error(401, "unauthorized");
}
