//! The endpoints of playback ids.

use axum::extract::State;
use axum::http::StatusCode;

use super::extract::{Body, StreamId, StreamPart};
use super::problem::{ErrorResponse, Problem};
use super::response::{Answer, Created, Data, created, ok};
use crate::control::Control;
use crate::error::Error;
use crate::lifecycle::Input;
use crate::resource::{LiveStreamRecord, PlaybackID, PlaybackIdRecord};
use crate::settings::{CreatePlaybackIDRequest, FieldErrors, MAX_PLAYBACK_IDS, Validate};

const NO_PLAYBACK_ID: Error = Error::NotFound("playback id");

/// Add a playback id
#[utoipa::path(post, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/playback-ids", tag = "Playback ids",
    operation_id = "create-live-stream-playback-id",
    params(("LIVE_STREAM_ID" = String, Path, description = "Id of the live stream")),
    request_body = CreatePlaybackIDRequest,
    responses((status = 201, body = Data<PlaybackID>), (status = 400, body = ErrorResponse),
        (status = 404, body = ErrorResponse)))]
pub(crate) async fn create(
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
            return Err(Error::invalid(format!("a live stream can have at most {MAX_PLAYBACK_IDS} playback ids")));
        }
        record.playback_ids.push(added);
        Ok(())
    };
    control.edit(&id, Input::Updated, edit).await?;
    created(playback)
}

/// Get a playback id
#[utoipa::path(get, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/playback-ids/{PLAYBACK_ID}",
    tag = "Playback ids", operation_id = "get-live-stream-playback-id",
    params(("LIVE_STREAM_ID" = String, Path, description = "Id of the live stream"),
        ("PLAYBACK_ID" = String, Path, description = "Playback id")),
    responses((status = 200, body = Data<PlaybackID>), (status = 404, body = ErrorResponse)))]
pub(crate) async fn get(State(control): State<Control>, StreamPart(id, playback_id): StreamPart) -> Answer<PlaybackID> {
    let found = control.get(&id)?.playback_ids.into_iter().find(|p| p.id.as_str() == playback_id);
    ok(found.ok_or(NO_PLAYBACK_ID)?)
}

/// Delete a playback id
#[utoipa::path(delete, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/playback-ids/{PLAYBACK_ID}",
    tag = "Playback ids", operation_id = "delete-live-stream-playback-id",
    params(("LIVE_STREAM_ID" = String, Path, description = "Id of the live stream"),
        ("PLAYBACK_ID" = String, Path, description = "Playback id")),
    responses((status = 204), (status = 404, body = ErrorResponse)))]
pub(crate) async fn delete(
    State(control): State<Control>,
    StreamPart(id, playback_id): StreamPart,
) -> Result<StatusCode, Problem> {
    let edit = move |record: &mut LiveStreamRecord| {
        let position = record.playback_ids.iter().position(|p| p.id.as_str() == playback_id).ok_or(NO_PLAYBACK_ID)?;
        record.playback_ids.remove(position);
        Ok(())
    };
    control.edit(&id, Input::Updated, edit).await?;
    Ok(StatusCode::NO_CONTENT)
}
