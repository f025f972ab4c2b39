//! The endpoints of simulcast targets.

use axum::extract::State;
use axum::http::StatusCode;
use media::id::SimulcastTargetId;

use super::extract::{Body, StreamId, StreamPart};
use super::problem::{ErrorResponse, Problem};
use super::response::{Answer, Created, Data, created, ok};
use crate::control::Control;
use crate::error::Error;
use crate::lifecycle::Input;
use crate::resource::{LiveStreamRecord, SimulcastTarget, SimulcastTargetRecord};
use crate::settings::{CreateSimulcastTargetRequest, FieldErrors, Validate};

const NO_TARGET: Error = Error::NotFound("simulcast target");

/// Add a simulcast target
///
/// A running broadcast is sent to it at once. A live stream can have at most six targets, or as many as the server is
/// configured for.
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
    let (added, most) = (target.clone(), control.config().max_simulcast_targets);
    let edit = move |record: &mut LiveStreamRecord| {
        let targets = &mut record.secrets.simulcast_targets;
        if targets.len() >= most {
            return Err(Error::invalid(format!("a live stream can have at most {most} simulcast targets")));
        }
        targets.push(added);
        Ok(())
    };
    let record = control.edit(&id, Input::SimulcastTargetAdded(target.id.clone()), edit).await?;
    created(SimulcastTarget::new(target, &record.state))
}

/// Get a simulcast target
#[utoipa::path(get, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/simulcast-targets/{SIMULCAST_TARGET_ID}",
    tag = "Simulcast targets", operation_id = "get-live-stream-simulcast-target",
    params(("LIVE_STREAM_ID" = String, Path, description = "Id of the live stream"),
        ("SIMULCAST_TARGET_ID" = String, Path, description = "Id of the simulcast target")),
    responses((status = 200, body = Data<SimulcastTarget>), (status = 404, body = ErrorResponse)))]
pub(crate) async fn get(State(control): State<Control>, StreamPart(id, target): StreamPart) -> Answer<SimulcastTarget> {
    let LiveStreamRecord { secrets, state, .. } = control.get(&id)?;
    let found = secrets.simulcast_targets.into_iter().find(|t| t.id.as_str() == target);
    ok(SimulcastTarget::new(found.ok_or(NO_TARGET)?, &state))
}

/// Delete a simulcast target
///
/// A running broadcast is no longer sent to it.
#[utoipa::path(delete, path = "/video/v1/live-streams/{LIVE_STREAM_ID}/simulcast-targets/{SIMULCAST_TARGET_ID}",
    tag = "Simulcast targets", operation_id = "delete-live-stream-simulcast-target",
    params(("LIVE_STREAM_ID" = String, Path, description = "Id of the live stream"),
        ("SIMULCAST_TARGET_ID" = String, Path, description = "Id of the simulcast target")),
    responses((status = 204), (status = 404, body = ErrorResponse)))]
pub(crate) async fn delete(
    State(control): State<Control>,
    StreamPart(id, target): StreamPart,
) -> Result<StatusCode, Problem> {
    // An invalid id belongs to no simulcast target. An unknown live stream is reported as such.
    let Ok(target) = target.parse::<SimulcastTargetId>() else {
        return Err(control.get(&id).map_or_else(|error| error, |_| NO_TARGET).into());
    };
    let removed = target.clone();
    let edit = move |record: &mut LiveStreamRecord| {
        let targets = &mut record.secrets.simulcast_targets;
        let position = targets.iter().position(|t| t.id == removed).ok_or(NO_TARGET)?;
        targets.remove(position);
        Ok(())
    };
    control.edit(&id, Input::SimulcastTargetRemoved(target), edit).await?;
    Ok(StatusCode::NO_CONTENT)
}
