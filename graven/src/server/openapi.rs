//! The OpenAPI document, made of the handlers' annotations and [`super::schema`].

use super::problem::Answer;
use super::{
    anchor, append, audit, frames, groups, import, info, lookup, metrics, node, read, schema, snapshots,
    streams,
};
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use std::sync::LazyLock;
use utoipa::openapi::{OpenApi as Document, Ref, RefOr};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Graven",
        description = "An event store that can prove its history. Every failure is `application/problem+json` with a \
            stable code. Unknown fields and parameters are errors.",
        license(name = "MIT OR Apache-2.0"),
        contact(),
    ),
    servers((url = "/", description = "This server")),
    tags(
        (name = "append", description = "Write events"),
        (name = "read", description = "Read and follow events"),
        (name = "streams", description = "Whole streams"),
        (name = "snapshots", description = "States of streams, to read on from"),
        (name = "groups", description = "Consumers that share events, and what they could not process"),
        (name = "audit", description = "Signed checkpoints and proofs"),
        (name = "server", description = "Health and numbers"),
    ),
    paths(
        append::to_stream,
        append::to_streams,
        import::import,
        read::stream,
        read::all,
        read::category,
        read::event_type,
        read::tag,
        read::query,
        lookup::by_revision,
        lookup::by_id,
        lookup::by_position,
        frames::frames,
        streams::list,
        streams::info,
        streams::metadata,
        streams::set_metadata,
        streams::truncate,
        streams::delete,
        snapshots::put,
        snapshots::get,
        snapshots::delete,
        groups::manage::list,
        groups::manage::info,
        groups::manage::put,
        groups::manage::delete,
        groups::manage::reset,
        groups::consume::consume,
        groups::acknowledge::ack,
        groups::acknowledge::nack,
        groups::dead_letters::list,
        groups::dead_letters::one,
        groups::export::export,
        groups::act::replay,
        groups::act::skip,
        audit::checkpoints::checkpoint,
        audit::checkpoints::checkpoints,
        audit::keys::keys,
        audit::keys::rotate,
        audit::keys::retire,
        audit::keys::revoke,
        anchor::answer::anchors,
        anchor::answer::witnessed,
        audit::tiles::tile,
        audit::tiles::partial_tile,
        audit::proofs::inclusion,
        audit::proofs::consistency,
        audit::proofs::leaf,
        audit::seal::completeness,
        audit::seal::seal,
        audit::verification::begin,
        audit::verification::progress,
        audit::status::status,
        audit::erasure::erase,
        audit::erasure::scavenge,
        audit::erasure::holds,
        audit::erasure::hold,
        audit::erasure::end_hold,
        info::stats,
        info::info,
        node::node,
        node::take_over,
        info::live,
        info::health_live,
        info::ready,
        metrics::metrics,
        openapi,
    ),
    components(schemas(schema::Page, schema::Line, groups::shapes::GroupConnected, groups::shapes::GroupDelivery), responses(schema::ProblemResponse)),
    modifiers(&AnyProblem),
)]
struct Api;

/// Any call can fail as the error table says, whatever else it answers.
struct AnyProblem;

impl Modify for AnyProblem {
    fn modify(&self, document: &mut Document) {
        for item in document.paths.paths.values_mut() {
            for operation in
                [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten()
            {
                let problem = RefOr::Ref(Ref::from_response_name("ProblemResponse"));
                operation.responses.responses.entry("default".to_owned()).or_insert(problem);
            }
        }
    }
}

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let mut text = Api::openapi().to_pretty_json().expect("the document is made of plain values");
    text.push('\n');
    text
});

/// The document as pretty-printed JSON, with a line break at the end.
pub(crate) fn openapi_json() -> String {
    DOCUMENT.clone()
}

/// This document
///
/// OpenAPI 3.1.
#[utoipa::path(get, path = "/openapi.json", tag = "server", operation_id = "openapi",
    responses((status = 200, description = "The document", content_type = "application/json")))]
pub(super) async fn openapi() -> Answer {
    let content_type = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, content_type)], DOCUMENT.as_str()).into_response())
}
