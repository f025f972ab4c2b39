//! The endpoints that replace a single setting.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::extract::{Body, StreamId};
use super::problem::{ErrorResponse, Problem};
use super::response::{Answer, Data, ok};
use crate::control::Control;
use crate::error::Error;
use crate::lifecycle::Input;
use crate::resource::{LiveStream, LiveStreamRecord};
use crate::settings::{EmbeddedSubtitle, FieldErrors, GeneratedSubtitle, Settings, StaticRendition, Validate};

/// Closed captions in the incoming video.
#[derive(Deserialize, ToSchema)]
pub(crate) struct UpdateEmbeddedSubtitlesRequest {
    /// All closed captions. An empty array removes them.
    #[serde(default)]
    embedded_subtitles: Vec<EmbeddedSubtitle>,
}

/// Subtitles from speech recognition.
#[derive(Deserialize, ToSchema)]
pub(crate) struct UpdateGeneratedSubtitlesRequest {
    /// All subtitles, at most one track. An empty array removes it.
    #[serde(default)]
    generated_subtitles: Vec<GeneratedSubtitle>,
}

/// Files to create from new recordings.
#[derive(Deserialize, ToSchema)]
pub(crate) struct UpdateStaticRenditionsRequest {
    /// All static renditions.
    static_renditions: Vec<StaticRendition>,
}

/// Replace the embedded subtitles
#[utoipa::path(put, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/embedded-subtitles", tag = "Subtitles",
    operation_id = "update-live-stream-embedded-subtitles",
    params(("LIVE_STREAM_ID" = String, Path, description = "Id of the live stream")),
    request_body = UpdateEmbeddedSubtitlesRequest,
    responses((status = 200, body = Data<LiveStream>), (status = 400, body = ErrorResponse),
        (status = 404, body = ErrorResponse)))]
pub(crate) async fn embedded_subtitles(
    State(control): State<Control>,
    StreamId(id): StreamId,
    Body(request): Body<UpdateEmbeddedSubtitlesRequest>,
) -> Answer<LiveStream> {
    let list = request.embedded_subtitles.into_iter().map(EmbeddedSubtitle::named).collect();
    let edit = |record: &mut LiveStreamRecord| replace(record, |settings| settings.embedded_subtitles = list);
    ok(control.edit(&id, Input::Updated, edit).await?)
}

/// Replace the generated subtitles
#[utoipa::path(put, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/generated-subtitles", tag = "Subtitles",
    operation_id = "update-live-stream-generated-subtitles",
    params(("LIVE_STREAM_ID" = String, Path, description = "Id of the live stream")),
    request_body = UpdateGeneratedSubtitlesRequest,
    responses((status = 200, body = Data<LiveStream>), (status = 400, body = ErrorResponse),
        (status = 404, body = ErrorResponse)))]
pub(crate) async fn generated_subtitles(
    State(control): State<Control>,
    StreamId(id): StreamId,
    Body(request): Body<UpdateGeneratedSubtitlesRequest>,
) -> Answer<LiveStream> {
    let list = request.generated_subtitles.into_iter().map(GeneratedSubtitle::named).collect();
    let edit = |record: &mut LiveStreamRecord| replace(record, |settings| settings.generated_subtitles = list);
    ok(control.edit(&id, Input::Updated, edit).await?)
}

/// Replace the static renditions of new recordings
#[utoipa::path(put, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/new-asset-settings/static-renditions",
    tag = "Recordings", operation_id = "update-live-stream-new-asset-settings-static-renditions",
    params(("LIVE_STREAM_ID" = String, Path, description = "Id of the live stream")),
    request_body = UpdateStaticRenditionsRequest,
    responses((status = 200, body = Data<LiveStream>), (status = 400, body = ErrorResponse),
        (status = 404, body = ErrorResponse)))]
pub(crate) async fn static_renditions(
    State(control): State<Control>,
    StreamId(id): StreamId,
    Body(request): Body<UpdateStaticRenditionsRequest>,
) -> Answer<LiveStream> {
    let edit = |record: &mut LiveStreamRecord| {
        replace(record, |settings| {
            let kept = settings.new_asset_settings.get_or_insert_default();
            kept.static_renditions = Some(request.static_renditions);
        })
    };
    ok(control.edit(&id, Input::Updated, edit).await?)
}

/// Delete the static renditions of new recordings
#[utoipa::path(delete, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/new-asset-settings/static-renditions",
    tag = "Recordings", operation_id = "delete-live-stream-new-asset-settings-static-renditions",
    params(("LIVE_STREAM_ID" = String, Path, description = "Id of the live stream")),
    responses((status = 204), (status = 404, body = ErrorResponse)))]
pub(crate) async fn delete_static_renditions(
    State(control): State<Control>,
    StreamId(id): StreamId,
) -> Result<StatusCode, Problem> {
    let edit = |record: &mut LiveStreamRecord| {
        if let Some(kept) = &mut record.settings.new_asset_settings {
            kept.static_renditions = None;
        }
        Ok(())
    };
    control.edit(&id, Input::Updated, edit).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes the [`Settings`] of `record` and validates the result.
fn replace(record: &mut LiveStreamRecord, change: impl FnOnce(&mut Settings)) -> Result<(), Error> {
    change(&mut record.settings);
    let mut errors = FieldErrors::default();
    record.settings.validate("", &mut errors);
    errors.into_result().map_err(Error::Invalid)
}
