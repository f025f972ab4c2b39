//! The endpoints of live streams and their playback ids.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use media::id::StreamKey;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Data;
use super::extract::{Body, Params, StreamId, StreamPart};
use super::problem::{ErrorResponse, Problem};
use crate::control::{Control, wall_now};
use crate::error::Error;
use crate::index::Filter;
use crate::lifecycle::Input;
use crate::resource::{LiveStream, PlaybackID};
use crate::resource::{LiveStreamRecord, PlaybackIdRecord, SimulcastTargetRecord, Status};
use crate::settings::{
    CreateLiveStreamRequest, CreatePlaybackIDRequest, FieldErrors, MAX_PLAYBACK_IDS, UpdateLiveStreamRequest, Validate,
};

/// Entries on a page unless told otherwise.
const DEFAULT_LIMIT: i32 = 25;
/// Most entries on a page.
const MAX_LIMIT: i32 = 100;

pub(super) type Answer<T> = Result<Json<Data<T>>, Problem>;
pub(super) type Created<T> = Result<(StatusCode, Json<Data<T>>), Problem>;

pub(super) fn ok<T, V: From<T>>(value: T) -> Answer<V> {
    Ok(Json(Data { data: value.into() }))
}

pub(super) fn created<T, V: From<T>>(value: T) -> Created<V> {
    ok(value).map(|body| (StatusCode::CREATED, body))
}

/// Which page of which live streams.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// Entries on a page.
    #[serde(default)]
    #[param(value_type = Option<i32>, minimum = 1, maximum = 100, default = 25, nullable = false)]
    limit: Option<String>,
    /// The page, from 1.
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

/// An answer that says no more than yes.
#[derive(Serialize, ToSchema)]
pub(crate) struct Nothing {}

/// Create a live stream
///
/// The answer holds the stream key that an encoder publishes with, and a playback id for each policy asked for.
#[utoipa::path(post, path = "/video/v1/live-streams", tag = "Live streams", operation_id = "create-live-stream",
    request_body = CreateLiveStreamRequest,
    responses((status = 201, body = Data<LiveStream>), (status = 400, body = ErrorResponse),
        (status = 401, body = ErrorResponse)))]
pub(crate) async fn create(
    State(control): State<Control>,
    Body(request): Body<CreateLiveStreamRequest>,
) -> Created<LiveStream> {
    let mut record = LiveStreamRecord::new(request.settings()?, wall_now());
    record.playback_ids = request.playback_ids().into_iter().map(PlaybackIdRecord::from).collect();
    record.secrets.simulcast_targets =
        request.simulcast_targets.into_iter().flatten().map(SimulcastTargetRecord::from).collect();
    created(control.create(record).await?)
}

/// List live streams
///
/// Newest first. A page past the end is empty.
#[utoipa::path(get, path = "/video/v1/live-streams", tag = "Live streams", operation_id = "list-live-streams",
    params(ListParams),
    responses((status = 200, body = Data<Vec<LiveStream>>), (status = 400, body = ErrorResponse),
        (status = 401, body = ErrorResponse)))]
pub(crate) async fn list(
    State(control): State<Control>,
    Params(params): Params<ListParams>,
) -> Answer<Vec<LiveStream>> {
    let number = |text: Option<String>, default| text.map_or(Some(default), |text| text.parse::<i32>().ok());
    let Some(limit) = number(params.limit, DEFAULT_LIMIT).filter(|limit| (1..=MAX_LIMIT).contains(limit)) else {
        return Err(Problem::invalid(format!("limit: must be a whole number from 1 to {MAX_LIMIT}")));
    };
    let Some(page) = number(params.page, 1).filter(|page| *page >= 1) else {
        return Err(Problem::invalid("page: must be a whole number from 1"));
    };
    let status = match params.status.map(|text| Status::ALL.into_iter().find(|status| status.as_str() == text)) {
        Some(None) => return Err(Problem::invalid("status: must be one of active, idle, disabled")),
        Some(status) => status,
        None => None,
    };
    let stream_key = match params.stream_key.map(|key| key.parse::<StreamKey>()) {
        // What cannot be a key belongs to no live stream.
        Some(Err(_)) => return Ok(Json(Data { data: Vec::new() })),
        Some(Ok(key)) => Some(key),
        None => None,
    };
    let filter = Filter { stream_key, status };
    let records = control.list(&filter, i64::from(limit), i64::from(limit) * i64::from(page - 1)).await?;
    Ok(Json(Data { data: records.into_iter().map(LiveStream::from).collect() }))
}

/// Get a live stream
#[utoipa::path(get, path = "/video/v1/live-streams/{LIVE_STREAM_ID}", tag = "Live streams",
    operation_id = "get-live-stream", params(("LIVE_STREAM_ID" = String, Path, description = "The live stream")),
    responses((status = 200, body = Data<LiveStream>), (status = 401, body = ErrorResponse),
        (status = 404, body = ErrorResponse)))]
pub(crate) async fn get(State(control): State<Control>, StreamId(id): StreamId) -> Answer<LiveStream> {
    ok(control.get(&id).await?)
}

/// Update a live stream
///
/// What is left out stays as it is. A broadcast that runs keeps its latency mode to its end.
#[utoipa::path(patch, path = "/video/v1/live-streams/{LIVE_STREAM_ID}", tag = "Live streams",
    operation_id = "update-live-stream", params(("LIVE_STREAM_ID" = String, Path, description = "The live stream")),
    request_body = UpdateLiveStreamRequest,
    responses((status = 200, body = Data<LiveStream>), (status = 400, body = ErrorResponse),
        (status = 401, body = ErrorResponse), (status = 404, body = ErrorResponse)))]
pub(crate) async fn update(
    State(control): State<Control>,
    StreamId(id): StreamId,
    Body(request): Body<UpdateLiveStreamRequest>,
) -> Answer<LiveStream> {
    let edit = |record: &mut LiveStreamRecord| request.apply(&mut record.settings).map_err(Error::Invalid);
    ok(control.change(&id, Input::Updated, edit).await?)
}

/// Delete a live stream
///
/// Its encoder is disconnected and its broadcast ends.
#[utoipa::path(delete, path = "/video/v1/live-streams/{LIVE_STREAM_ID}", tag = "Live streams",
    operation_id = "delete-live-stream", params(("LIVE_STREAM_ID" = String, Path, description = "The live stream")),
    responses((status = 204), (status = 401, body = ErrorResponse), (status = 404, body = ErrorResponse)))]
pub(crate) async fn delete(State(control): State<Control>, StreamId(id): StreamId) -> Result<StatusCode, Problem> {
    control.drive(&id, Input::Deleted).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Replace the stream key
///
/// The old key is refused from now on, and an encoder that publishes with it is disconnected; within the reconnect
/// window one with the new key continues the broadcast.
#[utoipa::path(post, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/reset-stream-key", tag = "Live streams",
    operation_id = "reset-stream-key", params(("LIVE_STREAM_ID" = String, Path, description = "The live stream")),
    responses((status = 201, body = Data<LiveStream>), (status = 401, body = ErrorResponse),
        (status = 404, body = ErrorResponse)))]
pub(crate) async fn reset_key(State(control): State<Control>, StreamId(id): StreamId) -> Created<LiveStream> {
    let edit = |record: &mut LiveStreamRecord| {
        record.secrets.stream_key = StreamKey::generate();
        Ok(())
    };
    created(control.change(&id, Input::KeyReset, edit).await?)
}

/// Accept encoders again
#[utoipa::path(put, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/enable", tag = "Live streams",
    operation_id = "enable-live-stream", params(("LIVE_STREAM_ID" = String, Path, description = "The live stream")),
    responses((status = 200, body = Data<Nothing>), (status = 401, body = ErrorResponse),
        (status = 404, body = ErrorResponse)))]
pub(crate) async fn enable(State(control): State<Control>, StreamId(id): StreamId) -> Answer<Nothing> {
    control.drive(&id, Input::Enable).await?;
    ok(Nothing {})
}

/// Refuse encoders
///
/// A broadcast ends at once and its encoder is disconnected; none is accepted until the live stream is enabled again.
#[utoipa::path(put, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/disable", tag = "Live streams",
    operation_id = "disable-live-stream", params(("LIVE_STREAM_ID" = String, Path, description = "The live stream")),
    responses((status = 200, body = Data<Nothing>), (status = 401, body = ErrorResponse),
        (status = 404, body = ErrorResponse)))]
pub(crate) async fn disable(State(control): State<Control>, StreamId(id): StreamId) -> Answer<Nothing> {
    control.drive(&id, Input::Disable).await?;
    ok(Nothing {})
}

/// End the broadcast
///
/// It ends at once, without waiting for the reconnect window, and its encoder is disconnected. Where none runs, nothing
/// happens.
#[utoipa::path(put, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/complete", tag = "Live streams",
    operation_id = "signal-live-stream-complete",
    params(("LIVE_STREAM_ID" = String, Path, description = "The live stream")),
    responses((status = 200, body = Data<Nothing>), (status = 401, body = ErrorResponse),
        (status = 404, body = ErrorResponse)))]
pub(crate) async fn complete(State(control): State<Control>, StreamId(id): StreamId) -> Answer<Nothing> {
    control.drive(&id, Input::Complete).await?;
    ok(Nothing {})
}

/// Add a playback id
#[utoipa::path(post, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/playback-ids", tag = "Playback ids",
    operation_id = "create-live-stream-playback-id",
    params(("LIVE_STREAM_ID" = String, Path, description = "The live stream")),
    request_body = CreatePlaybackIDRequest,
    responses((status = 201, body = Data<PlaybackID>), (status = 400, body = ErrorResponse),
        (status = 401, body = ErrorResponse), (status = 404, body = ErrorResponse)))]
pub(crate) async fn add_playback_id(
    State(control): State<Control>,
    StreamId(id): StreamId,
    Body(request): Body<CreatePlaybackIDRequest>,
) -> Created<PlaybackID> {
    let mut errors = FieldErrors::default();
    request.validate("", &mut errors);
    errors.into_result()?;
    let playback = PlaybackIdRecord::from(request);
    let added = playback.clone();
    let edit = |record: &mut LiveStreamRecord| {
        if record.playback_ids.len() >= MAX_PLAYBACK_IDS {
            return Err(Error::invalid(format!("a live stream has at most {MAX_PLAYBACK_IDS} playback ids")));
        }
        record.playback_ids.push(added);
        Ok(())
    };
    control.change(&id, Input::Updated, edit).await?;
    created(playback)
}

/// Get a playback id
#[utoipa::path(get, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/playback-ids/{PLAYBACK_ID}",
    tag = "Playback ids", operation_id = "get-live-stream-playback-id",
    params(("LIVE_STREAM_ID" = String, Path, description = "The live stream"),
        ("PLAYBACK_ID" = String, Path, description = "The playback id")),
    responses((status = 200, body = Data<PlaybackID>), (status = 401, body = ErrorResponse),
        (status = 404, body = ErrorResponse)))]
pub(crate) async fn get_playback_id(
    State(control): State<Control>,
    StreamPart(id, playback_id): StreamPart,
) -> Answer<PlaybackID> {
    let found = control.get(&id).await?.playback_ids.into_iter().find(|p| p.id.as_str() == playback_id);
    ok(found.ok_or(NO_PLAYBACK_ID)?)
}

/// Delete a playback id
#[utoipa::path(delete, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/playback-ids/{PLAYBACK_ID}",
    tag = "Playback ids", operation_id = "delete-live-stream-playback-id",
    params(("LIVE_STREAM_ID" = String, Path, description = "The live stream"),
        ("PLAYBACK_ID" = String, Path, description = "The playback id")),
    responses((status = 204), (status = 401, body = ErrorResponse), (status = 404, body = ErrorResponse)))]
pub(crate) async fn delete_playback_id(
    State(control): State<Control>,
    StreamPart(id, playback_id): StreamPart,
) -> Result<StatusCode, Problem> {
    let edit = move |record: &mut LiveStreamRecord| {
        let place = record.playback_ids.iter().position(|p| p.id.as_str() == playback_id).ok_or(NO_PLAYBACK_ID)?;
        record.playback_ids.remove(place);
        Ok(())
    };
    control.change(&id, Input::Updated, edit).await?;
    Ok(StatusCode::NO_CONTENT)
}

const NO_PLAYBACK_ID: Error = Error::NotFound("playback id");
