//! The endpoints of simulcast targets, which are stored and returned.

use axum::extract::State;
use axum::http::StatusCode;

use super::extract::{Body, StreamId, StreamPart};
use super::problem::{ErrorResponse, Problem};
use super::response::{Answer, Created, Data, created, ok};
use crate::control::Control;
use crate::error::Error;
use crate::lifecycle::Input;
use crate::resource::{LiveStreamRecord, SimulcastTarget, SimulcastTargetRecord};
use crate::settings::{CreateSimulcastTargetRequest, FieldErrors, MAX_SIMULCAST_TARGETS, Validate};

const NO_TARGET: Error = Error::NotFound("simulcast target");

/// Add a simulcast target
///
/// Only possible while no broadcast is running. A live stream can have at most six.
#[utoipa::path(post, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/simulcast-targets", tag = "Simulcast targets",
    operation_id = "create-live-stream-simulcast-target",
    params(("LIVE_STREAM_ID" = String, Path, description = "Id of the live stream")),
    request_body = CreateSimulcastTargetRequest,
    responses((status = 201, body = Data<SimulcastTarget>), (status = 400, body = ErrorResponse),
        (status = 404, body = ErrorResponse)))]
pub(crate) async fn create(
    State(control): State<Control>,
    StreamId(id): StreamId,
    Body(request): Body<CreateSimulcastTargetRequest>,
) -> Created<SimulcastTarget> {
    let mut errors = FieldErrors::default();
    request.validate("", &mut errors);
    errors.into_result()?;
    let target = SimulcastTargetRecord::from(request);
    let added = target.clone();
    let edit = |record: &mut LiveStreamRecord| {
        must_be_idle(record)?;
        let targets = &mut record.secrets.simulcast_targets;
        if targets.len() >= MAX_SIMULCAST_TARGETS {
            return Err(Error::invalid(format!(
                "a live stream can have at most {MAX_SIMULCAST_TARGETS} simulcast targets"
            )));
        }
        targets.push(added);
        Ok(())
    };
    control.edit(&id, Input::Updated, edit).await?;
    created(target)
}

/// Get a simulcast target
#[utoipa::path(get, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/simulcast-targets/{SIMULCAST_TARGET_ID}",
    tag = "Simulcast targets", operation_id = "get-live-stream-simulcast-target",
    params(("LIVE_STREAM_ID" = String, Path, description = "Id of the live stream"),
        ("SIMULCAST_TARGET_ID" = String, Path, description = "Id of the simulcast target")),
    responses((status = 200, body = Data<SimulcastTarget>), (status = 404, body = ErrorResponse)))]
pub(crate) async fn get(State(control): State<Control>, StreamPart(id, target): StreamPart) -> Answer<SimulcastTarget> {
    let found = control.get(&id)?.secrets.simulcast_targets.into_iter().find(|t| t.id == target);
    ok(found.ok_or(NO_TARGET)?)
}

/// Delete a simulcast target
///
/// Only possible while no broadcast is running.
#[utoipa::path(delete, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/simulcast-targets/{SIMULCAST_TARGET_ID}",
    tag = "Simulcast targets", operation_id = "delete-live-stream-simulcast-target",
    params(("LIVE_STREAM_ID" = String, Path, description = "Id of the live stream"),
        ("SIMULCAST_TARGET_ID" = String, Path, description = "Id of the simulcast target")),
    responses((status = 204), (status = 400, body = ErrorResponse),
        (status = 404, body = ErrorResponse)))]
pub(crate) async fn delete(
    State(control): State<Control>,
    StreamPart(id, target): StreamPart,
) -> Result<StatusCode, Problem> {
    let edit = move |record: &mut LiveStreamRecord| {
        let position = record.secrets.simulcast_targets.iter().position(|t| t.id == target).ok_or(NO_TARGET)?;
        must_be_idle(record)?;
        record.secrets.simulcast_targets.remove(position);
        Ok(())
    };
    control.edit(&id, Input::Updated, edit).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Refuses a change of a [`LiveStreamRecord`] with a running broadcast.
fn must_be_idle(record: &LiveStreamRecord) -> Result<(), Error> {
    match record.state.broadcast {
        None => Ok(()),
        Some(_) => Err(Error::invalid("simulcast targets can be changed only while the live stream is idle")),
    }
}
