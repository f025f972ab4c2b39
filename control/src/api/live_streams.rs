//! The endpoints of live streams.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use media::id::StreamKey;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Body, Params, StreamId};
use super::problem::{ErrorResponse, Problem};
use super::response::{Answer, Created, Data, Nothing, created, ok};
use crate::clock::wall_now;
use crate::control::Control;
use crate::error::Error;
use crate::index::Filter;
use crate::lifecycle::Input;
use crate::resource::{LiveStream, LiveStreamRecord, PlaybackIdRecord, SimulcastTargetRecord, Status};
use crate::settings::{CreateLiveStreamRequest, UpdateLiveStreamRequest};

/// Default number of entries on a page.
const DEFAULT_LIMIT: i32 = 25;
/// Most entries on a page.
const MAX_LIMIT: i32 = 100;

/// Filter and page of a list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// Number of entries on a page.
    #[serde(default)]
    #[param(value_type = Option<i32>, minimum = 1, maximum = 100, default = 25, nullable = false)]
    limit: Option<String>,
    /// Number of the page, starting at 1.
    #[serde(default)]
    #[param(value_type = Option<i32>, minimum = 1, default = 1, nullable = false)]
    page: Option<String>,
    /// Only the live stream with this key.
    #[serde(default)]
    #[param(nullable = false)]
    stream_key: Option<String>,
    /// Only live streams with this status.
    #[serde(default)]
    #[param(value_type = Option<Status>, nullable = false)]
    status: Option<String>,
}

/// Create a live stream
///
/// The response contains the stream key that an encoder publishes with, and a playback id for each requested policy.
#[utoipa::path(post, path = "/video/v1/live-streams", tag = "Live streams", operation_id = "create-live-stream",
    request_body = CreateLiveStreamRequest,
    responses((status = 201, body = Data<LiveStream>), (status = 400, body = ErrorResponse)))]
pub(crate) async fn create(
    State(control): State<Control>,
    Body(request): Body<CreateLiveStreamRequest>,
) -> Created<LiveStream> {
    let settings = request.settings(control.config().max_simulcast_targets)?;
    let mut record = LiveStreamRecord::new(settings, wall_now());
    record.playback_ids = request.playback_ids().into_iter().map(PlaybackIdRecord::from).collect();
    record.secrets.simulcast_targets =
        request.simulcast_targets.into_iter().flatten().map(SimulcastTargetRecord::from).collect();
    created(control.create(record).await?)
}

/// List live streams
///
/// Returns the newest live streams first. A page after the last one is empty.
#[utoipa::path(get, path = "/video/v1/live-streams", tag = "Live streams", operation_id = "list-live-streams",
    params(ListParams),
    responses((status = 200, body = Data<Vec<LiveStream>>), (status = 400, body = ErrorResponse)))]
pub(crate) async fn list(
    State(control): State<Control>,
    Params(params): Params<ListParams>,
) -> Answer<Vec<LiveStream>> {
    let number = |text: Option<String>, default| text.map_or(Some(default), |text| text.parse::<i32>().ok());
    let Some(limit) = number(params.limit, DEFAULT_LIMIT).filter(|limit| (1..=MAX_LIMIT).contains(limit)) else {
        return Err(Problem::invalid(format!("limit: must be a whole number from 1 to {MAX_LIMIT}")));
    };
    let Some(page) = number(params.page, 1).filter(|page| *page >= 1) else {
        return Err(Problem::invalid("page: must be a whole number of at least 1"));
    };
    let status = match params.status.map(|text| Status::ALL.into_iter().find(|status| status.as_str() == text)) {
        Some(None) => return Err(Problem::invalid("status: must be one of active, idle, disabled")),
        Some(status) => status,
        None => None,
    };
    let stream_key = match params.stream_key.map(|key| key.parse::<StreamKey>()) {
        // An invalid key belongs to no live stream.
        Some(Err(_)) => return Ok(Json(Data { data: Vec::new() })),
        Some(Ok(key)) => Some(key),
        None => None,
    };
    let filter = Filter { stream_key, status };
    let [limit, previous_pages] = [limit, page - 1].map(|count| usize::try_from(count).unwrap_or(0));
    let records = control.list(&filter, limit, limit.saturating_mul(previous_pages));
    Ok(Json(Data { data: records.into_iter().map(LiveStream::from).collect() }))
}

/// Get a live stream
#[utoipa::path(get, path = "/video/v1/live-streams/{LIVE_STREAM_ID}", tag = "Live streams",
    operation_id = "get-live-stream", params(("LIVE_STREAM_ID" = String, Path, description = "Id of the live stream")),
    responses((status = 200, body = Data<LiveStream>), (status = 404, body = ErrorResponse)))]
pub(crate) async fn get(State(control): State<Control>, StreamId(id): StreamId) -> Answer<LiveStream> {
    ok(control.get(&id)?)
}

/// Update a live stream
///
/// Omitted settings stay as they are. A running broadcast keeps its latency mode until it ends.
#[utoipa::path(patch, path = "/video/v1/live-streams/{LIVE_STREAM_ID}", tag = "Live streams",
    operation_id = "update-live-stream",
    params(("LIVE_STREAM_ID" = String, Path, description = "Id of the live stream")),
    request_body = UpdateLiveStreamRequest,
    responses((status = 200, body = Data<LiveStream>), (status = 400, body = ErrorResponse),
        (status = 404, body = ErrorResponse)))]
pub(crate) async fn update(
    State(control): State<Control>,
    StreamId(id): StreamId,
    Body(mut request): Body<UpdateLiveStreamRequest>,
) -> Answer<LiveStream> {
    let edit = |record: &mut LiveStreamRecord| {
        let kept = &record.secrets.simulcast_targets;
        request.ignore_simulcast_targets(|sent| {
            sent.len() == kept.len() && kept.iter().zip(sent).all(|(kept, sent)| kept.is_unchanged_in(sent))
        });
        request.apply(&mut record.settings).map_err(Error::Invalid)
    };
    ok(control.edit(&id, Input::Updated, edit).await?)
}

/// Delete a live stream
///
/// Ends its broadcast and disconnects its encoder.
#[utoipa::path(delete, path = "/video/v1/live-streams/{LIVE_STREAM_ID}", tag = "Live streams",
    operation_id = "delete-live-stream",
    params(("LIVE_STREAM_ID" = String, Path, description = "Id of the live stream")),
    responses((status = 204), (status = 404, body = ErrorResponse)))]
pub(crate) async fn delete(State(control): State<Control>, StreamId(id): StreamId) -> Result<StatusCode, Problem> {
    control.drive(&id, Input::Deleted).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Replace the stream key
///
/// The old key is refused from now on, and an encoder that publishes with it is disconnected. Within the reconnect
/// window, an encoder with the new key continues the broadcast.
#[utoipa::path(post, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/reset-stream-key", tag = "Live streams",
    operation_id = "reset-stream-key", params(("LIVE_STREAM_ID" = String, Path, description = "Id of the live stream")),
    responses((status = 201, body = Data<LiveStream>), (status = 404, body = ErrorResponse)))]
pub(crate) async fn reset_key(State(control): State<Control>, StreamId(id): StreamId) -> Created<LiveStream> {
    let edit = |record: &mut LiveStreamRecord| {
        record.secrets.stream_key = StreamKey::generate();
        Ok(())
    };
    created(control.edit(&id, Input::KeyReset, edit).await?)
}

/// Accept encoders again
#[utoipa::path(put, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/enable", tag = "Live streams",
    operation_id = "enable-live-stream",
    params(("LIVE_STREAM_ID" = String, Path, description = "Id of the live stream")),
    responses((status = 200, body = Data<Nothing>), (status = 404, body = ErrorResponse)))]
pub(crate) async fn enable(State(control): State<Control>, StreamId(id): StreamId) -> Answer<Nothing> {
    control.drive(&id, Input::Enable).await?;
    ok(Nothing {})
}

/// Refuse encoders
///
/// Ends the broadcast at once and disconnects its encoder. Encoders are refused until the live stream is enabled again.
#[utoipa::path(put, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/disable", tag = "Live streams",
    operation_id = "disable-live-stream",
    params(("LIVE_STREAM_ID" = String, Path, description = "Id of the live stream")),
    responses((status = 200, body = Data<Nothing>), (status = 404, body = ErrorResponse)))]
pub(crate) async fn disable(State(control): State<Control>, StreamId(id): StreamId) -> Answer<Nothing> {
    control.drive(&id, Input::Disable).await?;
    ok(Nothing {})
}

/// End the broadcast
///
/// Ends the broadcast at once, without waiting for the reconnect window, and disconnects its encoder. Does nothing if
/// no broadcast is running.
#[utoipa::path(put, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/complete", tag = "Live streams",
    operation_id = "signal-live-stream-complete",
    params(("LIVE_STREAM_ID" = String, Path, description = "Id of the live stream")),
    responses((status = 200, body = Data<Nothing>), (status = 404, body = ErrorResponse)))]
pub(crate) async fn complete(State(control): State<Control>, StreamId(id): StreamId) -> Answer<Nothing> {
    control.drive(&id, Input::Complete).await?;
    ok(Nothing {})
}
