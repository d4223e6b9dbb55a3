//! `GET /v1/groups`, `/v1/groups/{group}` and what changes a group.

use super::settings::{GroupSettingsJson, Place, start};
use super::{group_of, shapes, wish};
use crate::server::path::PathParams;
use crate::server::problem::Answer;
use crate::server::query_params::QueryParams;
use crate::server::{App, preconditions, schema};
use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use graven_engine::Groups;
use graven_model::{Code, Error, Expected, GroupName, GroupSettings, Result};
use serde::Deserialize;
use std::sync::Arc;

/// Times that making and updating take turns before the call gives up: somebody else makes and deletes the group meanwhile.
const TURNS_MAX: usize = 4;

/// List groups
///
/// Every consumer group, with its lag and its dead letters.
#[utoipa::path(get, path = "/v1/groups", tag = "groups", operation_id = "list_groups",
    responses((status = 200, description = "The groups", body = shapes::Groups)))]
pub(in crate::server) async fn list(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Answer {
    QueryParams::parse(query.as_deref())?.finish()?;
    let infos = app.ask_groups(Groups::list).await?;
    Ok(Json(shapes::Groups { groups: infos.iter().map(shapes::GroupLine::of).collect() }).into_response())
}

/// Describe a group
///
/// Settings, position, lag, dead letters, consumers.
#[utoipa::path(get, path = "/v1/groups/{group}", tag = "groups", operation_id = "group",
    params(("group" = String, Path, description = "Name of the group, percent-encoded")),
    responses((status = 200, description = "How it stands", body = shapes::Group),
        (status = 400, response = schema::ProblemResponse),
        (status = 404, response = schema::ProblemResponse)))]
pub(in crate::server) async fn info(
    State(app): State<Arc<App>>,
    path: PathParams,
    RawQuery(query): RawQuery,
) -> Answer {
    let name = group_of(&path)?;
    QueryParams::parse(query.as_deref())?.finish()?;
    let info = app.ask_groups(move |groups| groups.info(&name)).await?;
    Ok(Json(shapes::Group::of(&info)).into_response())
}

/// Make or update a group
///
/// The settings are replaced as a whole; what is absent has its default. An update keeps the group's position and its dead letters; its
/// consumers have to connect again. Settings that are there already change nothing. The selector cannot be changed.
#[utoipa::path(put, path = "/v1/groups/{group}", tag = "groups", operation_id = "put_group",
    params(("group" = String, Path, description = "Name of the group, percent-encoded"),
        ("If-Match" = Option<String>, Header, description = "`*`: only if the group exists"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if it does not")),
    request_body = GroupSettingsJson,
    responses((status = 201, description = "Made", body = shapes::Group),
        (status = 200, description = "Updated, or as it is asked for already", body = shapes::Group),
        (status = 400, response = schema::ProblemResponse),
        (status = 404, response = schema::ProblemResponse),
        (status = 409, response = schema::ProblemResponse),
        (status = 415, response = schema::ProblemResponse),
        (status = 421, response = schema::ProblemResponse),
        (status = 507, response = schema::ProblemResponse)))]
pub(in crate::server) async fn put(
    State(app): State<Arc<App>>,
    path: PathParams,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let checked = group_of(&path).and_then(|name| Ok((name, presence(&headers)?)));
    let ((name, presence), asked) =
        wish::<_, GroupSettingsJson>(&app, checked, query.as_deref(), &headers, body).await?;
    let settings = asked.settings()?;
    let (made, info) = app
        .tell_groups(move |groups| {
            let made = make_or_update(groups, &name, &settings, presence)?;
            Ok((made, groups.info(&name)?))
        })
        .await?;
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(shapes::Group::of(&info))).into_response())
}

/// What a group has to be before it is put.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Any,
    There,
    NotThere,
}

fn presence(headers: &HeaderMap) -> Result<Presence> {
    match preconditions::from_headers(headers)? {
        None => Ok(Presence::Any),
        Some(Expected::Exists) => Ok(Presence::There),
        Some(Expected::NoStream) => Ok(Presence::NotThere),
        Some(_) => Err(Error::new(Code::BadRequest, "a group has no revision to match")
            .expected("If-Match: * or If-None-Match: *")),
    }
}

/// True if it was made.
fn make_or_update(
    groups: &Groups,
    name: &GroupName,
    settings: &GroupSettings,
    presence: Presence,
) -> Result<bool> {
    let mut turn = 0;
    loop {
        turn += 1;
        if presence != Presence::There {
            match groups.create(name, settings) {
                Ok(()) => return Ok(true),
                Err(error) if error.code == Code::GroupExists && presence == Presence::Any => {}
                Err(error) => return Err(error),
            }
        }
        match update(groups, name, settings) {
            Ok(()) => return Ok(false),
            Err(error)
                if error.code == Code::GroupNotFound && presence == Presence::Any && turn < TURNS_MAX => {}
            Err(error) => return Err(error),
        }
    }
}

fn update(groups: &Groups, name: &GroupName, settings: &GroupSettings) -> Result<()> {
    // A call that is repeated takes nobody's connection away.
    if groups.info(name)?.settings == *settings {
        return Ok(());
    }
    groups.update(name, settings)
}

/// Delete a group
///
/// Its position and its dead letters go with it; the events stay. Consumers are told `GRV-1800`.
#[utoipa::path(delete, path = "/v1/groups/{group}", tag = "groups", operation_id = "delete_group",
    params(("group" = String, Path, description = "Name of the group, percent-encoded")),
    responses((status = 200, description = "Deleted", body = shapes::GroupDeleted),
        (status = 400, response = schema::ProblemResponse),
        (status = 404, response = schema::ProblemResponse),
        (status = 421, response = schema::ProblemResponse)))]
pub(in crate::server) async fn delete(
    State(app): State<Arc<App>>,
    path: PathParams,
    RawQuery(query): RawQuery,
) -> Answer {
    let name = group_of(&path)?;
    QueryParams::parse(query.as_deref())?.finish()?;
    let shown = name.to_string();
    app.tell_groups(move |groups| groups.delete(&name)).await?;
    Ok(Json(shapes::GroupDeleted { name: shown }).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResetWish {
    from: Option<Place>,
    position: Option<u64>,
}

/// Reset a group
///
/// The group goes on at another place: events from there on are delivered, again if they were before. Dead letters stay. Consumers have
/// to connect again.
#[utoipa::path(post, path = "/v1/groups/{group}/reset", tag = "groups", operation_id = "reset_group",
    params(("group" = String, Path, description = "Name of the group, percent-encoded")),
    request_body = shapes::GroupReset,
    responses((status = 200, description = "Where it stands now", body = shapes::Group),
        (status = 400, response = schema::ProblemResponse),
        (status = 404, response = schema::ProblemResponse),
        (status = 415, response = schema::ProblemResponse),
        (status = 421, response = schema::ProblemResponse)))]
pub(in crate::server) async fn reset(
    State(app): State<Arc<App>>,
    path: PathParams,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let (name, ResetWish { from, position }) =
        wish(&app, group_of(&path), query.as_deref(), &headers, body).await?;
    let info = app
        .tell_groups(move |groups| {
            let selector = groups.info(&name)?.settings.selector;
            let Some(to) = start(from, position, &selector)? else {
                return Err(Error::new(Code::BadRequest, "it is not said where the group goes on")
                    .expected("from or position"));
            };
            groups.reset(&name, to)?;
            groups.info(&name)
        })
        .await?;
    Ok(Json(shapes::Group::of(&info)).into_response())
}
