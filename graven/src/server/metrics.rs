//! What the server counts, and `GET /metrics`. No stream name ever becomes a label.

use super::App;
use super::anchor::Report;
use super::anchor::answer::report;
use super::audit::gauges::AuditGauges;
use super::groups::gauges::GroupGauges;
use super::node::{Place, SINGLE};
use super::problem::Answer;
use axum::extract::State;
use axum::http::{HeaderValue, Method, header};
use axum::response::IntoResponse;
use graven_engine::node::Role;
use graven_model::{Code, Error, Receipt, Timestamp};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: &'static str,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RoleLabels {
    role: &'static str,
}

/// Counters and gauges of the server, and those read from the store when somebody asks.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RequestLabels, Histogram, fn() -> Histogram>,
    refused: Family<CodeLabels, Counter>,
    connections: Gauge,
    followers: Gauge,
    appends: Counter,
    append_events: Counter,
    append_duplicates: Counter,
    append_bytes: Counter,
    read_events: Counter,
    bodies_held: Gauge,
    head: Gauge,
    segments: Gauge,
    log_bytes: Gauge,
    index_bytes: Gauge,
    tile_bytes: Gauge,
    healthy: Gauge,
    roles: Family<RoleLabels, Gauge>,
    epoch: Gauge,
    lag_events: Gauge,
    lag_seconds: Gauge<f64, AtomicU64>,
    journal_reachable: Gauge,
    pub(super) audit: AuditGauges,
    groups: GroupGauges,
    witnessed: Gauge,
    unwitnessed_seconds: Gauge,
    failing_witnesses: Gauge,
    timestamped: Gauge,
}

impl Metrics {
    pub(super) fn new() -> Metrics {
        let mut registry = Registry::with_prefix("graven");
        let durations = Family::new_with_constructor(
            (|| Histogram::new(exponential_buckets(0.000_1, 2.5, 13))) as fn() -> _,
        );
        let mut gauge = |name: &str, help: &str, unit: Option<Unit>| {
            let gauge = Gauge::default();
            match unit {
                Some(unit) => registry.register_with_unit(name, help, unit, gauge.clone()),
                None => registry.register(name, help, gauge.clone()),
            }
            gauge
        };
        let events = || Some(Unit::Other("events".to_owned()));
        let connections = gauge("http_connections", "Connections open", None);
        let bodies_held = gauge("http_bodies_held", "Room taken by request bodies", Some(Unit::Bytes));
        let followers = gauge("follow_followers", "Event streams open", None);
        let head = gauge("store_head", "Events in the log", events());
        let segments = gauge("store_segments", "Log segments", None);
        let log_bytes = gauge("store_log", "Log in use", Some(Unit::Bytes));
        let index_bytes = gauge("store_index", "Index files", Some(Unit::Bytes));
        let tile_bytes = gauge("store_tiles", "Merkle tiles", Some(Unit::Bytes));
        let healthy = gauge("store_healthy", "1 if the store takes appends, 0 if it only reads", None);
        let epoch = gauge("node_epoch", "Epoch of the journal that nodes share, 0 for a single one", None);
        let lag_events = gauge("node_lag", "Events of the journal that are missing here", events());
        let journal_reachable =
            gauge("journal_reachable", "1 if the journal answers, 0 while it does not", None);
        let witnessed = gauge("anchor_witnessed", "Events that a quorum of witnesses vouches for", events());
        let unwitnessed_seconds = gauge(
            "anchor_unwitnessed",
            "How long there have been events without a quorum of witnesses",
            Some(Unit::Seconds),
        );
        let failing_witnesses =
            gauge("anchor_failing_witnesses", "Witnesses whose last answer was none or a refusal", None);
        let timestamped =
            gauge("anchor_timestamped", "Events that a timestamp authority vouches for", events());
        let roles = Family::<RoleLabels, Gauge>::default();
        registry.register("node_role", "1 for the part this node has, 0 for the others", roles.clone());
        let lag_seconds = Gauge::<f64, AtomicU64>::default();
        registry.register_with_unit(
            "node_lag",
            "How old what is read here may be; -1 if that is not known",
            Unit::Seconds,
            lag_seconds.clone(),
        );
        let mut counter = |name: &str, help: &str, unit: Option<Unit>| {
            let counter = Counter::default();
            match unit {
                Some(unit) => registry.register_with_unit(name, help, unit, counter.clone()),
                None => registry.register(name, help, counter.clone()),
            }
            counter
        };
        let appends = counter("append_requests", "Appends accepted, retries included", None);
        let append_events = counter("append", "Events stored", events());
        let append_duplicates = counter("append_duplicate", "Events that were there already", events());
        let append_bytes = counter(
            "append_payload",
            "Payload and metadata of appends that stored something",
            Some(Unit::Bytes),
        );
        let read_events = counter("read", "Events sent to readers and followers", events());
        let requests = Family::<RequestLabels, Counter>::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "From the head of a request to the head of its answer",
            Unit::Seconds,
            durations.clone(),
        );
        let refused = Family::<CodeLabels, Counter>::default();
        registry.register("http_refusals", "Requests answered with an error, by its code", refused.clone());
        let audit = AuditGauges::new(&mut registry);
        let groups = GroupGauges::new(&mut registry);
        Metrics {
            registry,
            audit,
            groups,
            requests,
            durations,
            refused,
            connections,
            followers,
            appends,
            append_events,
            append_duplicates,
            append_bytes,
            read_events,
            bodies_held,
            head,
            segments,
            log_bytes,
            index_bytes,
            tile_bytes,
            healthy,
            roles,
            epoch,
            lag_events,
            lag_seconds,
            journal_reachable,
            witnessed,
            unwitnessed_seconds,
            failing_witnesses,
            timestamped,
        }
    }

    /// Counts a connection as open until the guard is dropped.
    pub(super) fn connection(&self) -> Open {
        Open::new(&self.connections)
    }

    /// Counts an event stream as open until the guard is dropped.
    pub(super) fn follower(&self) -> Open {
        Open::new(&self.followers)
    }

    /// Takes note of the node's part.
    fn stands(&self, place: &Place) {
        let roles = [Role::Writer, Role::Follower, Role::SteppedDown].map(Role::word);
        for role in roles.into_iter().chain([SINGLE]) {
            self.roles.get_or_create(&RoleLabels { role }).set(i64::from(role == place.role()));
        }
        self.epoch.set(place.standing.as_ref().map_or(0, |standing| i64::from(standing.epoch)));
        self.lag_events.set(i64::try_from(place.lag_events()).unwrap_or(i64::MAX));
        self.lag_seconds.set(place.lag_seconds().unwrap_or(-1.0));
        self.journal_reachable.set(i64::from(place.trouble().is_none()));
    }

    /// Takes note of what outsiders vouch for.
    fn anchored(&self, report: &Report) {
        let set = |gauge: &Gauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.witnessed, report.witnessed);
        set(&self.unwitnessed_seconds, report.unwitnessed_seconds);
        let failing = report.witnesses.iter().filter(|witness| witness.error.is_some()).count();
        set(&self.failing_witnesses, failing as u64);
        set(&self.timestamped, report.timestamp.as_ref().map_or(0, |timestamp| timestamp.size));
    }

    /// Counts an accepted append.
    pub(super) fn appended(&self, receipt: &Receipt, payload_bytes: usize) {
        self.appends.inc();
        self.append_events.inc_by(u64::from(receipt.appended));
        self.append_duplicates.inc_by(u64::from(receipt.duplicates));
        if receipt.appended > 0 {
            self.append_bytes.inc_by(payload_bytes as u64);
        }
    }

    /// Counts events on their way to a reader.
    pub(super) fn sent(&self, events: usize) {
        self.read_events.inc_by(events as u64);
    }

    /// Counts a request that was answered.
    pub(super) fn answered(
        &self,
        route: &str,
        method: &Method,
        status: u16,
        refused: Option<Code>,
        took: Duration,
    ) {
        let labels =
            RequestLabels { route: route.to_owned(), method: method_name(method), status: class(status) };
        self.requests.get_or_create(&labels).inc();
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
        if let Some(code) = refused {
            self.refused(code);
        }
    }

    /// Counts a refusal.
    pub(super) fn refused(&self, code: Code) {
        self.refused.get_or_create(&CodeLabels { code: code.id() }).inc();
    }
}

/// One more on a gauge, until dropped.
pub(super) struct Open(Gauge);

impl Open {
    fn new(gauge: &Gauge) -> Open {
        gauge.inc();
        Open(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Methods anybody may invent do not become label values.
fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        _ => "other",
    }
}

fn class(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

/// Metrics
///
/// Counters, gauges and histograms in the text format of OpenMetrics.
#[utoipa::path(get, path = "/metrics", tag = "server", operation_id = "metrics",
    responses((status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text")))]
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Answer {
    let info = app
        .read(|store| {
            let trail = store.trail();
            let sealed = trail.last_seal().unwrap_or_default();
            Ok((store.info(), store.health(), trail.latest_stored(), sealed, store.scrub_status()))
        })
        .await;
    if let Ok((info, health, latest, sealed, scrub)) = &info {
        let now = Timestamp::from_micros(app.env.clock.now_us());
        app.metrics.audit.stand(latest.as_ref(), sealed.as_ref(), scrub, now);
        let metrics = &app.metrics;
        let set = |gauge: &Gauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&metrics.head, info.head.0);
        set(&metrics.segments, info.segments);
        set(&metrics.log_bytes, info.log_bytes);
        set(&metrics.index_bytes, info.index_bytes);
        set(&metrics.tile_bytes, info.tile_bytes);
        set(&metrics.healthy, u64::from(health.is_none()));
        set(&metrics.bodies_held, (app.options.bodies_bytes_max - app.bodies.available_permits()) as u64);
    }
    if let Ok((infos, totals)) = app.ask_groups(|groups| Ok((groups.list()?, groups.totals()))).await {
        app.metrics.groups.stand(&infos);
        app.metrics.groups.count(totals);
    }
    app.metrics.stands(&Place::of(&app));
    app.metrics.anchored(&report(&app));
    let mut text = String::with_capacity(16 << 10);
    encode(&mut text, &app.metrics.registry)
        .map_err(|_| Error::new(Code::Internal, "the metrics do not encode"))?;
    let content_type = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}
