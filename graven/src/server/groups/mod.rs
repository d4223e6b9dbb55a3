//! Consumer groups and dead letters over HTTP: everything under `/v1/groups` and `/v1/dead-letters`.
//!
//! [`manage`] makes, changes and shows groups, with [`settings`] as JSON both ways; [`consume`] hands events to a consumer, [`acknowledge`] hears
//! what became of them; [`dead_letters`] shows what a group could not process, [`act`] has it replayed or skipped, [`export`] takes it away.
//! What a group delivers to whom is decided by the engine alone.

pub(super) mod acknowledge;
pub(super) mod act;
pub(super) mod consume;
pub(super) mod dead_letters;
pub(super) mod export;
mod filter;
pub(super) mod gauges;
pub(super) mod manage;
mod settings;
pub(super) mod shapes;

use super::media::BodyType;
use super::path::PathParams;
use super::problem::Problem;
use super::query_params::QueryParams;
use super::{App, append_body, blocking, body};
use axum::body::Body;
use axum::http::HeaderMap;
use graven_engine::Groups;
use graven_model::{GroupName, Result};
use serde::de::DeserializeOwned;
use std::sync::Arc;

impl App {
    /// Asks the groups something that reads at the most.
    ///
    /// # Errors
    /// Those of `work`.
    pub(super) async fn ask_groups<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Groups) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.read(move |store| work(&store.groups())).await
    }

    /// Has the groups do something that may write or wait.
    ///
    /// # Errors
    /// Those of `work`.
    pub(super) async fn tell_groups<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Groups) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let app = self.clone();
        blocking(move || work(&app.store.groups())).await
    }
}

fn group_of(path: &PathParams) -> Result<GroupName> {
    GroupName::new(path.text("group")?)
}

/// The JSON body of a request without parameters.
///
/// # Errors
/// What is wrong with the path, as `path` says; [`graven_model::Code::UnsupportedMediaType`]; what is wrong with the body.
async fn wish<P, T: DeserializeOwned>(
    app: &Arc<App>,
    path: Result<P>,
    query: Option<&str>,
    headers: &HeaderMap,
    body: Body,
) -> std::result::Result<(P, T), Problem> {
    let checked = path.and_then(|path| {
        QueryParams::parse(query)?.finish()?;
        // The media type keeps a web page of another origin from asking for this.
        BodyType::of(headers, &[BodyType::Json])?;
        Ok(path)
    });
    let path = match checked {
        Ok(path) => path,
        Err(error) => {
            body::discard(body).await;
            return Err(Problem(error));
        }
    };
    let held = body::read(app, body).await?;
    Ok((path, append_body::parse(&held.bytes)?))
}
