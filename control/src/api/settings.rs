//! Endpoints that replace one setting as a whole.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Data;
use super::extract::{Body, StreamId};
use super::live_streams::{Answer, ok};
use super::problem::{ErrorResponse, Problem};
use crate::control::Control;
use crate::error::Error;
use crate::lifecycle::Input;
use crate::resource::LiveStream;
use crate::resource::LiveStreamRecord;
use crate::settings::{EmbeddedSubtitle, FieldErrors, GeneratedSubtitle, Settings, StaticRendition, Validate};

/// The closed captions to expect.
#[derive(Deserialize, ToSchema)]
pub(crate) struct UpdateEmbeddedSubtitlesRequest {
    /// All of them; an empty list takes them away.
    #[serde(default)]
    embedded_subtitles: Vec<EmbeddedSubtitle>,
}

/// The subtitles to make.
#[derive(Deserialize, ToSchema)]
pub(crate) struct UpdateGeneratedSubtitlesRequest {
    /// One track at most; an empty list takes it away.
    #[serde(default)]
    generated_subtitles: Vec<GeneratedSubtitle>,
}

/// The files to make of new recordings.
#[derive(Deserialize, ToSchema)]
pub(crate) struct UpdateStaticRenditionsRequest {
    /// All of them.
    static_renditions: Vec<StaticRendition>,
}

/// Replace the embedded subtitles
#[utoipa::path(put, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/embedded-subtitles", tag = "Subtitles",
    operation_id = "update-live-stream-embedded-subtitles",
    params(("LIVE_STREAM_ID" = String, Path, description = "The live stream")),
    request_body = UpdateEmbeddedSubtitlesRequest,
    responses((status = 200, body = Data<LiveStream>), (status = 400, body = ErrorResponse),
        (status = 401, body = ErrorResponse), (status = 404, body = ErrorResponse)))]
pub(crate) async fn embedded_subtitles(
    State(control): State<Control>,
    StreamId(id): StreamId,
    Body(request): Body<UpdateEmbeddedSubtitlesRequest>,
) -> Answer<LiveStream> {
    let list = request.embedded_subtitles.into_iter().map(EmbeddedSubtitle::named).collect();
    let edit = |record: &mut LiveStreamRecord| replace(record, |settings| settings.embedded_subtitles = list);
    ok(control.change(&id, Input::Updated, edit).await?)
}

/// Replace the generated subtitles
#[utoipa::path(put, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/generated-subtitles", tag = "Subtitles",
    operation_id = "update-live-stream-generated-subtitles",
    params(("LIVE_STREAM_ID" = String, Path, description = "The live stream")),
    request_body = UpdateGeneratedSubtitlesRequest,
    responses((status = 200, body = Data<LiveStream>), (status = 400, body = ErrorResponse),
        (status = 401, body = ErrorResponse), (status = 404, body = ErrorResponse)))]
pub(crate) async fn generated_subtitles(
    State(control): State<Control>,
    StreamId(id): StreamId,
    Body(request): Body<UpdateGeneratedSubtitlesRequest>,
) -> Answer<LiveStream> {
    let list = request.generated_subtitles.into_iter().map(GeneratedSubtitle::named).collect();
    let edit = |record: &mut LiveStreamRecord| replace(record, |settings| settings.generated_subtitles = list);
    ok(control.change(&id, Input::Updated, edit).await?)
}

/// Replace the static renditions of new recordings
#[utoipa::path(put, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/new-asset-settings/static-renditions",
    tag = "Recordings", operation_id = "update-live-stream-new-asset-settings-static-renditions",
    params(("LIVE_STREAM_ID" = String, Path, description = "The live stream")),
    request_body = UpdateStaticRenditionsRequest,
    responses((status = 200, body = Data<LiveStream>), (status = 400, body = ErrorResponse),
        (status = 401, body = ErrorResponse), (status = 404, body = ErrorResponse)))]
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
    ok(control.change(&id, Input::Updated, edit).await?)
}

/// Take the static renditions of new recordings away
#[utoipa::path(delete, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/new-asset-settings/static-renditions",
    tag = "Recordings", operation_id = "delete-live-stream-new-asset-settings-static-renditions",
    params(("LIVE_STREAM_ID" = String, Path, description = "The live stream")),
    responses((status = 204), (status = 401, body = ErrorResponse), (status = 404, body = ErrorResponse)))]
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
    control.change(&id, Input::Updated, edit).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn replace(record: &mut LiveStreamRecord, change: impl FnOnce(&mut Settings)) -> Result<(), Error> {
    change(&mut record.settings);
    let mut errors = FieldErrors::default();
    record.settings.validate("", &mut errors);
    errors.into_result().map_err(Error::Invalid)
}
