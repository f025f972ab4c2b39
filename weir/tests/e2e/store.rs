//! The programme continues while the store fails, and a server that must not start reports why.

use std::fs;
use std::path::Path;
use std::time::Instant;

use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use tokio::runtime::Runtime;

use crate::support::{Clip, Encoder, Server, Stream, clip, shared, until};

/// Log message when the store starts to fail.
const FAILS: &str = "the store fails";
/// Log message when the store works again.
const IS_BACK: &str = "the store takes writes again";

fn push(server: &Server, stream: &Stream) -> Encoder {
    Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&stream.key))
}

fn metric(server: &Server, name: &str) -> u64 {
    let text = server.client().get("/metrics").text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

/// Waits until the server reports that its store fails for this reason.
fn wait_for_fault(server: &Server, reason: &str) {
    until(&format!("/readyz to report: {reason}"), || {
        let answer = server.client().get("/readyz");
        (answer.status == 503 && answer.text().contains(reason)).then_some(())
    });
    assert_eq!(metric(server, "weir_store_up"), 0);
    assert_eq!(server.client().get("/healthz").status, 200, "live works");
    let refused = server.api().try_create();
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
}

fn wait_until_ready(server: &Server) {
    until("the store to be back", || {
        let ready = server.client().get("/readyz").status == 200;
        (ready && metric(server, "weir_store_queued_transitions") == 0).then_some(())
    });
    assert_eq!(metric(server, "weir_store_up"), 1);
}

fn count(log: &str, line: &str) -> usize {
    log.matches(line).count()
}

/// Checks that an encoder that disconnects while the store fails is admitted again, and that its playlists continue.
fn assert_reconnects(server: &Server, stream: &Stream, first: &mut Encoder, discontinuities: usize) -> Encoder {
    let main = server.playback(stream).main();
    first.kill();
    until("the server to notice the disconnect", || {
        (metric(server, "weir_store_queued_transitions") > 0).then_some(())
    });
    let second = push(server, stream);
    main.wait_for("the same playlist to continue", |list| {
        !list.ended && list.segments.iter().filter(|segment| segment.discontinuity).count() >= discontinuities
    });
    second
}

/// Locks the database, as a backup program may.
fn lock(runtime: &Runtime, data_dir: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(data_dir.join("weir.db"));
    runtime.block_on(async {
        let mut db = options.connect().await.expect("the database opens");
        sqlx::query("BEGIN IMMEDIATE").execute(&mut db).await.expect("the lock");
        db
    })
}

#[test]
fn encoders_are_admitted_with_a_full_disk_and_with_a_locked_store() {
    let _machine = shared();
    let mut server = Server::start();
    let api = server.api();
    let [live, idle] = [(); 2].map(|()| api.create("low", json!({ "reconnect_window": 60 })));
    let mut first = push(&server, &live);
    let main = server.playback(&live).main();
    main.wait_for("a segment", |list| !list.segments.is_empty());
    wait_until_ready(&server);

    // No file can be written, not even the log, and the programme continues.
    server.limit_files(Some(0));
    let mut second = assert_reconnects(&server, &live, &mut first, 1);
    wait_for_fault(&server, "disk");
    assert_eq!(api.status(&live), "active");
    server.limit_files(None);
    wait_until_ready(&server);
    assert_eq!(count(&server.log(), IS_BACK), 1);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let lock = lock(&runtime, &server.data_dir());
    let third = assert_reconnects(&server, &live, &mut second, 2);
    wait_for_fault(&server, "holds the lock");
    let _fourth = push(&server, &idle);
    api.wait_for(&idle, "active");
    assert!(metric(&server, "weir_store_queued_transitions") >= 3);
    assert_eq!(metric(&server, "weir_store_failures_total"), 2);
    assert_eq!(count(&server.log(), FAILS), 1, "logged once");

    // After a kill without these writes, no live stream stays active.
    server.kill();
    drop((third, lock));
    server.restart();
    assert_eq!([api.status(&live), api.status(&idle)], ["idle", "idle"]);
    wait_until_ready(&server);
}

#[test]
fn a_data_folder_has_one_server_and_needs_its_key_and_database() {
    let _machine = shared();
    let mut server = Server::start();
    let api = server.api();
    let stream = api.create("low", json!({ "reconnect_window": 60 }));
    let (status, output) = server.start_second_on_same_folder();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("data_dir") && output.contains(&format!("process {}", server.pid())), "{output}");
    assert_eq!(server.client().get("/readyz").status, 200, "the first one does not notice");
    server.kill();
    server.restart();

    let _encoder = push(&server, &stream);
    api.wait_for(&stream, "active");
    let (database, aside) = (server.data_dir().join("weir.db"), server.data_dir().join("aside"));
    let removed_at = Instant::now();
    fs::rename(&database, &aside).expect("the database goes");
    wait_for_fault(&server, "deleted");
    assert!(removed_at.elapsed().as_secs() < 10, "it took {:?}", removed_at.elapsed());
    let main = server.playback(&stream).main();
    let seen = main.playlist().segments.len();
    main.wait_for("the programme to go on", |list| list.first as usize + list.segments.len() > seen + 1);
    assert_eq!(count(&server.log(), FAILS), 1);
    fs::rename(&aside, &database).expect("the database is put back");
    wait_until_ready(&server);

    server.kill();
    let key = server.data_dir().join("secret.key");
    fs::remove_file(&key).expect("the key file goes");
    let (status, output) = server.restart_and_fail();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("secret.key is missing"), "{output}");
    assert!(!key.exists());
}
