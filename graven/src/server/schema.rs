//! The shapes of bodies and parameters, for the OpenAPI document. Small answers are also made of these; events and
//! receipts are written by hand on the hot path, and a test holds them against the document.
#![allow(dead_code, reason = "most shapes only describe")]

use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoParams, IntoResponses, PartialSchema as _, ToResponse, ToSchema};

/// A stored event.
#[derive(ToSchema)]
pub(super) struct Event {
    /// Place in the log, from 0
    position: u64,
    /// Stream it belongs to
    stream: String,
    /// Place in the stream, from 0
    revision: u64,
    /// Identity, chosen by the producer
    #[schema(format = "uuid")]
    id: String,
    /// Type
    #[schema(rename = "type")]
    event_type: String,
    /// When the store committed it; never decreases along the log
    #[schema(format = DateTime)]
    committed_at: String,
    /// Own time as the producer gave it; absent if none
    #[schema(format = DateTime, nullable = false)]
    time: Option<String>,
    /// Media type of the payload
    content_type: String,
    /// Payload, if it is JSON: the bytes that were appended; absent if it is empty
    data: Option<Value>,
    /// Payload, if it is anything else or was asked for so
    #[schema(content_encoding = "base64", nullable = false)]
    data_base64: Option<String>,
    /// Metadata, if it is JSON
    metadata: Option<Value>,
    /// Metadata, if it is anything else or was asked for so
    #[schema(content_encoding = "base64", nullable = false)]
    metadata_base64: Option<String>,
    /// Tags; absent if none
    #[schema(nullable = false)]
    tags: Option<Vec<String>>,
    /// Person the event is about; absent if none
    #[schema(nullable = false)]
    data_subject: Option<String>,
    /// Schema the payload was checked against; absent if none
    #[schema(nullable = false)]
    schema: Option<SchemaRef>,
    /// True if the payload is ciphertext; absent if not
    #[schema(nullable = false)]
    encrypted: Option<bool>,
    /// True if the payload was erased: `data` is null then, whatever the content type; absent if not
    #[schema(nullable = false)]
    erased: Option<bool>,
    /// What else than a plain event it is; absent for those
    #[schema(nullable = false)]
    kind: Option<Kind>,
}

/// Kind of a record the store made.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
enum Kind {
    MapRoot,
    Erasure,
    Key,
    Anchor,
    Tombstone,
    Migration,
    Retention,
    Hold,
}

/// A registered schema, and what the check against it said.
#[derive(ToSchema)]
struct SchemaRef {
    version: u32,
    id: u32,
    check: Check,
}

/// Outcome of a check against a schema.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum Check {
    None,
    Ok,
    Failed,
    Skipped,
}

/// Events and nothing else.
#[derive(ToSchema)]
pub(super) struct Events {
    events: Vec<Event>,
}

/// One page of a read.
#[derive(ToSchema)]
pub(super) struct Page {
    /// With `from_snapshot`: the snapshot the events come after, null if none serves; absent otherwise
    snapshot: Option<super::snapshots::shapes::Snapshot>,
    /// In the order asked for
    events: Vec<Event>,
    /// Cursor of the next page; null when the end was reached
    #[schema(required = true)]
    next: Option<String>,
    /// Events in the log when the page was read
    head: u64,
    /// For a stream: its last revision, whatever the page shows
    #[schema(nullable = false)]
    last_revision: Option<u64>,
}

/// One line of a long read: an event, or what broke it off.
#[derive(ToSchema)]
#[serde(untagged)]
pub(super) enum Line {
    Event(Box<Event>),
    Error { error: Box<Problem> },
}

/// An event to append. Give `data` or `data_base64`, `metadata` or `metadata_base64`, or neither.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewEvent {
    /// Its stream; only, and always, for events that do not stand inside one
    #[schema(nullable = false)]
    stream: Option<String>,
    /// Identity, the key by which a retry is recognised; the server makes one if it is absent, and then it is not
    #[schema(format = "uuid", nullable = false)]
    id: Option<String>,
    /// Type
    #[schema(rename = "type", min_length = 1, max_length = 512)]
    event_type: String,
    /// Payload, stored byte for byte; for a content type that is not JSON a string, whose text is the payload
    data: Option<Value>,
    /// Payload in base64, with padding
    #[schema(content_encoding = "base64", nullable = false)]
    data_base64: Option<String>,
    /// Media type of the payload; `application/octet-stream` for `data_base64`, else `application/json`, if absent
    #[schema(nullable = false)]
    content_type: Option<String>,
    /// Metadata, stored byte for byte
    metadata: Option<Value>,
    /// Metadata in base64, with padding
    #[schema(content_encoding = "base64", nullable = false)]
    metadata_base64: Option<String>,
    /// Tags to select by
    #[schema(nullable = false, max_items = 64)]
    tags: Option<Vec<String>>,
    /// Own time of the event, RFC 3339
    #[schema(format = DateTime, nullable = false)]
    time: Option<String>,
    /// Person the event is about
    #[schema(nullable = false)]
    data_subject: Option<String>,
}

/// What a stream must look like: a word, or its last revision.
#[derive(ToSchema)]
#[serde(untagged)]
pub(super) enum Expected {
    Word(ExpectedWord),
    Revision(u64),
}

/// `any`: anything but a tombstone. `none`: no events. `exists`: events. `deleted`: deleted and not written since.
/// `tombstoned`: ended for ever, so that it can only be checked.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum ExpectedWord {
    Any,
    None,
    Exists,
    Deleted,
    Tombstoned,
}

/// Body of an append to one stream.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AppendToStream {
    /// What the stream must look like; `any` if absent
    #[schema(nullable = false)]
    expected: Option<Expected>,
    /// The events, in order
    events: Vec<NewEvent>,
    /// Condition over the whole log
    #[schema(nullable = false)]
    condition: Option<Condition>,
    /// On a conflict, give back up to this many events the caller has not seen
    #[schema(nullable = false, default = 0)]
    unseen: Option<u32>,
}

/// Body of an append to several streams.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Append {
    /// Streams that are written or only checked, each named once
    #[schema(nullable = false)]
    streams: Option<Vec<StreamWrite>>,
    /// Events in the order they shall have in the log, each with its `stream`; instead of events inside the streams
    #[schema(nullable = false)]
    events: Option<Vec<NewEvent>>,
    /// Condition over the whole log
    #[schema(nullable = false)]
    condition: Option<Condition>,
    /// On a conflict, give back up to this many events of each of the first 16 streams that the caller has not seen
    #[schema(nullable = false, default = 0)]
    unseen: Option<u32>,
}

/// A stream of an append.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct StreamWrite {
    stream: String,
    /// What it must look like; `any` if absent
    #[schema(nullable = false)]
    expected: Option<Expected>,
    /// Its events; none = it is only checked
    #[schema(nullable = false)]
    events: Option<Vec<NewEvent>>,
}

/// The append is refused if an event after `after` matches the query.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Condition {
    query: Query,
    /// Position, exclusive; absent or null = the whole history counts
    after: Option<u64>,
}

/// A query of dynamic consistency boundaries (dcb.events): one of its items must match.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    #[schema(min_items = 1, max_items = 64)]
    items: Vec<QueryItem>,
}

/// Matches events whose type is one of `types` and that carry all of `tags`.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct QueryItem {
    /// Any of these; none = any type
    #[schema(nullable = false)]
    types: Option<Vec<String>>,
    /// All of these; none = no demand
    #[schema(nullable = false)]
    tags: Option<Vec<String>>,
    /// Must be said for an item with neither types nor tags, which matches every event
    #[schema(nullable = false, default = false)]
    all: Option<bool>,
}

/// A CloudEvent 1.0 in the JSON format.
#[derive(ToSchema)]
pub(super) struct CloudEvent {
    /// `1.0`
    specversion: String,
    /// Identity; a UUID becomes the event id, anything else a UUID made of source and id
    id: String,
    source: String,
    #[schema(rename = "type")]
    event_type: String,
    /// The stream; may be absent where the path names it
    #[schema(nullable = false)]
    subject: Option<String>,
    #[schema(format = DateTime)]
    time: Option<String>,
    datacontenttype: Option<String>,
    data: Option<Value>,
    #[schema(content_encoding = "base64")]
    data_base64: Option<String>,
}

/// What came of an append. For a retry, the receipt of the append that did the work.
#[derive(ToSchema)]
pub(super) struct Receipt {
    /// Position of the first event; for an append that stored nothing, the head it was judged at
    first_position: u64,
    /// Position of the last event; null if nothing was stored, now or before
    #[schema(required = true)]
    last_position: Option<u64>,
    /// In the order of the request
    streams: Vec<StreamReceipt>,
    #[schema(format = DateTime)]
    committed_at: String,
    /// Events stored by this very call
    appended: u32,
    /// Events that were there already
    duplicates: u32,
    /// True if the append had been done before
    already_done: bool,
    /// With `wait=checkpoint`: the proof of the last event, a C2SP tlog-proof that brings the event's leaf along as extra data
    #[schema(nullable = false)]
    proof: Option<String>,
}

/// One stream's share of a receipt.
#[derive(ToSchema)]
struct StreamReceipt {
    stream: String,
    /// Last revision after the append; null if the stream has no events
    #[schema(required = true)]
    revision: Option<u64>,
}

/// What came of an import.
#[derive(Default, Serialize, ToSchema)]
pub(super) struct ImportReceipt {
    /// Events stored
    pub(super) appended: u32,
    /// Events that were there already
    pub(super) duplicates: u32,
    /// Position of the first event; null if nothing was stored, now or before
    #[schema(required = true)]
    pub(super) first_position: Option<u64>,
    /// Position of the last event
    #[schema(required = true)]
    pub(super) last_position: Option<u64>,
}

/// State of a stream. `deleted`: the next append reopens it. `tombstoned`: closed for ever.
#[derive(ToSchema)]
struct StreamState {
    state: StateWord,
    /// Last revision, for `at` and `deleted`
    #[schema(nullable = false)]
    revision: Option<u64>,
}

/// Word for the state of a stream.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum StateWord {
    None,
    At,
    Deleted,
    Tombstoned,
}

/// What is known of a stream.
#[derive(ToSchema)]
pub(super) struct StreamInfo {
    stream: String,
    state: StreamState,
    /// First revision a read shows
    #[schema(required = true)]
    first_revision: Option<u64>,
    #[schema(required = true)]
    last_revision: Option<u64>,
    #[schema(required = true)]
    last_position: Option<u64>,
    #[schema(required = true, format = DateTime)]
    created_at: Option<String>,
    #[schema(required = true, format = DateTime)]
    updated_at: Option<String>,
    #[schema(required = true)]
    metadata: Option<Metadata>,
}

/// Metadata of a stream: the keys below, and any of your own.
#[derive(ToSchema)]
pub(super) struct Metadata {
    /// Show at most this many of the last events
    #[schema(rename = "$maxCount", nullable = false, minimum = 1)]
    max_count: Option<u64>,
    /// Show events for this many seconds
    #[schema(rename = "$maxAge", nullable = false, minimum = 1)]
    max_age: Option<u64>,
    /// Show events from this revision on
    #[schema(rename = "$tb", nullable = false)]
    truncate_before: Option<u64>,
    /// Access control list of KurrentDB, kept as it is
    #[schema(rename = "$acl")]
    acl: Option<Value>,
}

/// One page of streams.
#[derive(ToSchema)]
pub(super) struct StreamPage {
    /// In the order of their creation
    streams: Vec<StreamInfo>,
    /// For `after` of the next page; null at the end
    #[schema(required = true)]
    next: Option<String>,
}

/// Body of a truncation.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Truncate {
    /// The first revision that stays visible
    before: u64,
}

/// Body of a read by query: the query, and the options other reads take as parameters.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadQuery {
    query: Query,
    /// `start`, `end`, a position or an RFC 3339 time
    #[schema(nullable = false)]
    from: Option<From>,
    #[schema(nullable = false)]
    position: Option<u64>,
    #[schema(nullable = false)]
    direction: Option<Direction>,
    #[schema(nullable = false, minimum = 1)]
    limit: Option<u64>,
    #[schema(nullable = false)]
    bytes: Option<u64>,
    #[schema(nullable = false)]
    cursor: Option<String>,
    #[schema(nullable = false)]
    stream_prefix: Option<Vec<String>>,
    #[schema(nullable = false)]
    stream_regex: Option<String>,
    #[schema(nullable = false)]
    type_prefix: Option<Vec<String>>,
    #[schema(nullable = false)]
    type_regex: Option<String>,
    #[schema(nullable = false, default = false)]
    exclude_system: Option<bool>,
    #[schema(nullable = false)]
    payload: Option<PayloadForm>,
    #[schema(nullable = false)]
    min_position: Option<u64>,
}

/// A place to begin.
#[derive(ToSchema)]
#[serde(untagged)]
enum From {
    Number(u64),
    Text(String),
}

/// Which way.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum Direction {
    Forward,
    Backward,
}

/// How payloads are written.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum PayloadForm {
    Json,
    Base64,
}

/// Options of a read.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ReadParams {
    /// `start`, `end`, a whole number (revision of a stream, position elsewhere) or an RFC 3339 time; the event named
    /// is included. `start` forwards and `end` backwards if absent
    #[param(required = false)]
    from: String,
    /// Position to begin at; instead of `from`
    #[param(required = false)]
    position: u64,
    /// `forward` if absent
    #[param(required = false)]
    direction: Direction,
    /// Events a page, 500 if absent; for NDJSON events in all, no bound if absent
    #[param(required = false, minimum = 1)]
    limit: u64,
    /// Bytes a page, 4 MiB if absent; at least one event is given however large
    #[param(required = false)]
    bytes: u64,
    /// Where the last page ended; wins over `from` and `position`
    #[param(required = false)]
    cursor: String,
    /// Only streams whose name begins with one of these, separated by commas
    #[param(required = false, style = Form, explode = false)]
    stream_prefix: Vec<String>,
    /// Only streams whose name matches (syntax of the Rust crate `regex`, with look-around and back-references; found anywhere in the name)
    #[param(required = false)]
    stream_regex: String,
    /// Only types whose name begins with one of these, separated by commas
    #[param(required = false, style = Form, explode = false)]
    type_prefix: Vec<String>,
    /// Only types whose name matches
    #[param(required = false)]
    type_regex: String,
    /// Leave out streams and types whose name begins with `$`
    #[param(required = false)]
    exclude_system: bool,
    /// `base64` sends every payload as base64 of the stored bytes; `json` if absent
    #[param(required = false)]
    payload: PayloadForm,
    /// Answer only once this node has the event at this position: the `last_position` of a receipt. It waits for it, for 5
    /// seconds at the most
    #[param(required = false)]
    min_position: u64,
}

/// What a read has to see.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct MinPosition {
    /// Answer only once this node has the event at this position: the `last_position` of a receipt. It waits for it, for 5
    /// seconds at the most
    #[param(required = false)]
    min_position: u64,
}

/// Where an event stream resumes.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct LastEventId {
    /// For `text/event-stream`: resume after this position; wins over every other place to begin
    #[param(rename = "Last-Event-ID", required = false)]
    last_event_id: u64,
}

/// The expected revision of a change, in the query.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ExpectedParam {
    /// `any`, `none`, `exists`, `deleted`, `tombstoned` or a revision; `any` if absent. Must not contradict headers or body
    #[param(required = false)]
    expected: String,
}

/// What an append waits for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wait {
    /// `checkpoint`: answer with a proof that the last event is in the log, under a signed checkpoint
    #[param(required = false)]
    wait: String,
}

/// The expected revision of a change, in headers.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct Preconditions {
    /// `"41"`: the last revision is 41; `*`: it exists
    #[param(rename = "If-Match", required = false)]
    if_match: String,
    /// `*`: it has no events
    #[param(rename = "If-None-Match", required = false)]
    if_none_match: String,
}

/// Which streams to list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Names begin with this
    #[param(required = false)]
    prefix: String,
    /// `next` of the last page
    #[param(required = false)]
    after: String,
    /// Streams a page, 100 if absent
    #[param(required = false, minimum = 1, maximum = 10_000)]
    limit: u32,
    /// System streams too
    #[param(required = false)]
    system: bool,
    /// Answer only once this node has the event at this position: the `last_position` of a receipt. It waits for it, for 5
    /// seconds at the most
    #[param(required = false)]
    min_position: u64,
}

/// The answers to a read.
pub(super) struct ReadResponses;

impl IntoResponses for ReadResponses {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let page = ContentBuilder::new().schema(Some(Ref::from_schema_name("Page"))).build();
        let line = ContentBuilder::new().schema(Some(Ref::from_schema_name("Line"))).build();
        let text = ContentBuilder::new().schema(Some(String::schema())).build();
        let read = ResponseBuilder::new()
            .description(
                "One page; all pages, an event a line; or an event stream: `event` with an event, `caught-up` with the \
                 head, `checkpoint` with a position, `problem` with what broke it off. The id of each is the position to \
                 resume after",
            )
            .content("application/json", page)
            .content("application/x-ndjson", line)
            .content("text/event-stream", text)
            .build();
        let problem = || RefOr::Ref(Ref::from_response_name("ProblemResponse"));
        let mut responses = BTreeMap::from([("200".to_owned(), RefOr::T(read))]);
        responses.extend(["400", "404", "410"].map(|status| (status.to_owned(), problem())));
        responses
    }
}

/// Counts over the whole log.
#[derive(Serialize, ToSchema)]
pub(super) struct Stats {
    pub(super) user: StreamCounts,
    /// Streams whose name begins with `$`
    pub(super) system: StreamCounts,
    /// User events by type
    pub(super) types: Vec<TypeCounts>,
    /// User events by category
    pub(super) categories: Vec<CategoryCounts>,
}

/// Counts of events and the streams they are in.
#[derive(Serialize, ToSchema)]
pub(super) struct StreamCounts {
    pub(super) events: u64,
    /// Payload and metadata
    pub(super) bytes: u64,
    /// Streams ever begun
    pub(super) streams: u64,
}

/// Counts of one type.
#[derive(Serialize, ToSchema)]
pub(super) struct TypeCounts {
    pub(super) name: String,
    pub(super) events: u64,
    /// Payload and metadata
    pub(super) bytes: u64,
}

/// Counts of one category.
#[derive(Serialize, ToSchema)]
pub(super) struct CategoryCounts {
    pub(super) name: String,
    pub(super) events: u64,
    /// Payload and metadata
    pub(super) bytes: u64,
    /// Streams ever begun
    pub(super) streams: u64,
}

/// Identity and size of the store.
#[derive(Serialize, ToSchema)]
pub(super) struct Info {
    /// `graven`
    pub(super) name: &'static str,
    /// Version of the server
    pub(super) version: &'static str,
    /// Identity of the log
    #[schema(format = "uuid")]
    pub(super) log_id: String,
    /// Origin line of its checkpoints
    pub(super) origin: String,
    /// Version of the format on disk
    pub(super) format_version: u32,
    #[schema(format = DateTime)]
    pub(super) created_at: String,
    /// Events in the log
    pub(super) head: u64,
    /// Merkle root (RFC 6962) over them, base64
    #[schema(content_encoding = "base64")]
    pub(super) root: String,
    pub(super) segments: u64,
    pub(super) log_bytes: u64,
    pub(super) index_bytes: u64,
    pub(super) tile_bytes: u64,
}

/// How the server is.
#[derive(Serialize, Default, ToSchema)]
pub(super) struct Health {
    /// `alive`; `ready`, or `degraded` while the journal cannot be reached and only reads are served
    pub(super) status: &'static str,
    /// Part of a node among those that share a journal
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    /// Why it is degraded
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<String>,
}

/// A node and its part among those that share a journal.
#[derive(Serialize, ToSchema)]
pub(super) struct Node {
    /// `writer`, `follower`, `stepped-down` for the moment until it follows, or `single`
    pub(super) role: &'static str,
    /// Counts the writers of the journal; null for a single one
    #[schema(required = true)]
    pub(super) epoch: Option<u32>,
    /// URL of the node that writes; null if it is not known
    #[schema(required = true)]
    pub(super) writer: Option<String>,
    /// Events here
    pub(super) head: u64,
    /// Events in the journal when it was last asked
    pub(super) journal_head: u64,
    /// What is missing here of them
    pub(super) lag_events: u64,
    /// When this node last held everything the journal had
    #[schema(required = true, format = DateTime)]
    pub(super) complete_at: Option<String>,
    /// How old what is read here may be; null if that is not known
    #[schema(required = true)]
    pub(super) lag_seconds: Option<f64>,
    /// Why the journal cannot be used just now
    #[schema(required = true)]
    pub(super) trouble: Option<String>,
}

/// Body of a take-over: an empty object.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TakeOver {}

/// What a take-over began.
#[derive(Serialize, ToSchema)]
pub(super) struct Term {
    /// Epoch of the journal from now on
    pub(super) epoch: u32,
    /// URL under which others reach this node
    pub(super) writer: String,
}

/// An error (RFC 9457).
#[derive(ToSchema)]
pub(super) struct Problem {
    /// `urn:graven:error:` and the name of the error
    #[schema(rename = "type")]
    kind: String,
    /// The name in words
    title: String,
    status: u16,
    /// Stable code, `GRV-nnnn`
    #[schema(pattern = "^GRV-[0-9]{4}$")]
    code: String,
    /// What failed, on what
    detail: String,
    #[schema(nullable = false)]
    expected: Option<String>,
    #[schema(nullable = false)]
    found: Option<String>,
    /// The same call may go through later
    retryable: bool,
    /// Certain that nothing was changed
    no_side_effects: bool,
    /// What to do about it
    hint: String,
    /// Every check of an append that did not hold
    #[schema(nullable = false)]
    failed_checks: Option<Vec<FailedCheck>>,
    /// Position of the first event that matches an append's condition
    #[schema(nullable = false)]
    matching_position: Option<u64>,
    /// Index from 0 of the event, line or item that is wrong
    #[schema(nullable = false)]
    item: Option<u64>,
    /// URL of the node that writes
    #[schema(nullable = false)]
    writer: Option<String>,
}

/// A check that did not hold.
#[derive(ToSchema)]
struct FailedCheck {
    stream: String,
    expected: Expected,
    actual: StreamState,
    /// Set if some but not all ids are in the stream already: the retry is not the append it repeats
    #[schema(format = "uuid", nullable = false)]
    partial_retry: Option<String>,
    /// Events after the expected revision, if the request asked for them
    unseen: Vec<Event>,
}

/// The request was refused or failed; `code` says why.
#[derive(ToResponse)]
#[response(
    description = "The request was refused or failed; `code` says why",
    content_type = "application/problem+json"
)]
pub(super) struct ProblemResponse(Problem);
