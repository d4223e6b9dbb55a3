//! Every bound on what comes from outside, with its unit and reason.
//!
//! Exceeding one of them is answered with the error named beside it, and what was refused leaves nothing behind.

/// Bytes of payload plus metadata of one event: 16 MiB, KurrentDB's default. [`crate::Code::EventTooLarge`]
pub const EVENT_BYTES_MAX: usize = 16 << 20;

/// Bytes of one atomic append as stored: 64 MiB, so that it fits one segment. [`crate::Code::AppendTooLarge`]
pub const APPEND_BYTES_MAX: usize = 64 << 20;

/// Events of one atomic append: keeps a single decision short. [`crate::Code::AppendTooLarge`]
pub const APPEND_EVENTS_MAX: usize = 100_000;

/// Streams named by one append, written or checked. [`crate::Code::AppendTooLarge`]
pub const APPEND_STREAMS_MAX: usize = 100_000;

/// Bytes of a stream name: fits an index page and a URL. [`crate::Code::InvalidStreamName`]
pub const STREAM_NAME_BYTES_MAX: usize = 1024;

/// Bytes of an event type name. [`crate::Code::InvalidEventType`]
pub const EVENT_TYPE_BYTES_MAX: usize = 512;

/// Bytes of a media type. [`crate::Code::InvalidContentType`]
pub const CONTENT_TYPE_BYTES_MAX: usize = 255;

/// Tags of one event, so that the leaf stays under 65,535 bytes. [`crate::Code::InvalidTag`]
pub const TAGS_MAX: usize = 64;

/// Bytes of one tag. [`crate::Code::InvalidTag`]
pub const TAG_BYTES_MAX: usize = 256;

/// Bytes of a data subject's name. [`crate::Code::InvalidDataSubject`]
pub const DATA_SUBJECT_BYTES_MAX: usize = 256;

/// Keys of data subjects kept in memory, in two generations; the others are read from their files. Some 3 MB.
pub const SUBJECT_KEYS_CACHED_MAX: usize = 16_384;

/// Microseconds a data subject's key is taken from memory before its file is read again: that long may a node go on with a key
/// that another node destroyed.
pub const SUBJECT_KEY_CACHED_US_MAX: i64 = 5_000_000;

/// Extension attributes of one CloudEvent, so that a hostile one costs little. [`crate::Code::InvalidCloudEvent`]
pub const CLOUDEVENT_EXTENSIONS_MAX: usize = 64;

/// Items of a DCB query. [`crate::Code::InvalidQuery`]
pub const QUERY_ITEMS_MAX: usize = 64;

/// Types or tags named by one query item or selector. [`crate::Code::InvalidQuery`]
pub const QUERY_TERMS_MAX: usize = 64;

/// Prefixes of a filter. [`crate::Code::InvalidFilter`]
pub const FILTER_PREFIXES_MAX: usize = 64;

/// Bytes of a regular expression. [`crate::Code::InvalidFilter`]
pub const REGEX_BYTES_MAX: usize = 4096;

/// Bytes a compiled regular expression may take. [`crate::Code::InvalidFilter`]
pub const REGEX_COMPILED_BYTES_MAX: usize = 1 << 20;

/// Times a regular expression that looks around turns back over one name: a millisecond. [`crate::Code::InvalidFilter`]
pub const REGEX_BACKTRACKS_MAX: usize = 10_000;

/// Events a page when the reader does not say.
pub const PAGE_EVENTS_DEFAULT: u32 = 500;

/// Events a page at the most. [`crate::Code::InvalidLimit`]
pub const PAGE_EVENTS_MAX: u32 = 10_000;

/// Bytes a page when the reader does not say: 4 MiB.
pub const PAGE_BYTES_DEFAULT: usize = 4 << 20;

/// Bytes a page at the most: 32 MiB, so that one maximal event always fits. A larger wish is cut to this.
pub const PAGE_BYTES_MAX: usize = 32 << 20;

/// Log records a filtered page looks at before it answers with what it has: bounds the time of one call.
pub const PAGE_SCAN_MAX: u64 = 200_000;

/// Unseen events returned with one conflict. A larger wish is cut to this.
pub const UNSEEN_EVENTS_MAX: u32 = 1_000;

/// Bytes waiting for the writer: beyond this an append is refused, retryable. [`crate::Code::Overloaded`]
pub const QUEUE_BYTES_MAX: usize = 128 << 20;

/// Appends waiting for the writer. [`crate::Code::Overloaded`]
pub const QUEUE_APPENDS_MAX: usize = 65_536;

/// Bytes of one journal batch: one flush stays short. A larger single append makes a batch of its own.
pub const BATCH_BYTES_MAX: usize = 4 << 20;

/// Streams on one page of a listing. [`crate::Code::InvalidLimit`]
pub const STREAM_LIST_MAX: u32 = 10_000;

/// Milliseconds a read waits for the position it wants to see. [`crate::Code::NotYetThere`]
pub const MIN_POSITION_WAIT_MS: u64 = 5_000;

/// Checkpoints answered by one call. [`crate::Code::InvalidLimit`]
pub const CHECKPOINT_LIST_MAX: usize = 1_000;

/// Keys a log has had, those no longer in use among them: some three hundred years of one each quarter.
pub const LOG_KEYS_MAX: usize = 1_000;

/// Streams a seal covers: the trie over them takes 140 bytes each, 2.8 GB in memory. [`crate::Code::TooManyStreams`]
pub const SEALED_STREAMS_MAX: usize = 20_000_000;

/// Streams that changed and are sealed at once; what is beyond goes into the next seal, made right after. Some 50 MB.
pub const SEAL_CHANGES_MAX: usize = 262_144;

/// Bytes of names of streams that are sealed at once; what is beyond goes into the next seal, made right after.
pub const SEAL_NAMES_BYTES_MAX: usize = 64 << 20;

/// Keyed hashes of stream names that are remembered from one seal to the next. Some 15 MB.
pub const SEAL_KEYS_MAX: usize = 131_072;

/// Events whose streams are sealed when a store is closed: a second or two of reading. With more of them the store closes
/// without, and the next seal covers them.
pub const SEAL_AT_CLOSE_EVENTS_MAX: u64 = 2_000_000;

/// Names (types, categories) the statistics count one by one; what comes later is counted as `(other)`.
pub const STATISTICS_NAMES_MAX: usize = 10_000;

/// Bytes of an HTTP request body: one maximal append in JSON with its base64 overhead. [`crate::Code::BodyTooLarge`]
pub const HTTP_BODY_BYTES_MAX: usize = 96 << 20;

/// Bytes of an HTTP request head. [`crate::Code::BadRequest`]
pub const HTTP_HEAD_BYTES_MAX: usize = 64 << 10;

/// HTTP connections at a time; further ones wait in the kernel's queue.
pub const HTTP_CONNECTIONS_MAX: usize = 4_096;

/// Bytes of all request bodies held at a time; further requests wait. Bounds memory under load.
pub const HTTP_BODIES_BYTES_MAX: usize = 256 << 20;

/// Bytes of one line of an import file: one maximal event in JSON with its base64 overhead.
pub const IMPORT_LINE_BYTES_MAX: usize = 24 << 20;

/// Keys of logs a witness knows: more are another witness's. [`crate::Code::InvalidConfig`]
pub const WITNESS_LOGS_MAX: usize = 256;

/// Connections of a witness at a time: a log sends a checkpoint every few seconds over one.
pub const WITNESS_CONNECTIONS_MAX: usize = 256;

/// Witnesses a server sends its checkpoints to: each has a thread. [`crate::Code::InvalidConfig`]
pub const WITNESSES_MAX: usize = 16;

/// Stream names, and tags, that the check of a stopped store keeps in memory: 150 bytes each, so 5 GiB at the most. Events
/// of further ones are read and not compared with their leaf hashes, which the report says.
pub const VERIFY_NAMES_MAX: usize = 1 << 24;

/// The same for the check of a store that goes on, which finds forgotten ones again in the index.
pub const VERIFY_NAMES_OPEN_MAX: usize = 1 << 20;

/// Events one erasure names by position, so that its record fits a leaf. [`crate::Code::InvalidErasure`]
pub const ERASURE_POSITIONS_MAX: usize = 2_000;

/// Streams one run of scavenging drops something from: they are written down in one append, and kept in memory meanwhile.
pub const SCAVENGE_STREAMS_MAX: usize = 10_000;

/// Bytes of each text in an erasure or a legal hold: ids, codes, names of those who decided. [`crate::Code::InvalidErasure`]
pub const ERASURE_TEXT_BYTES_MAX: usize = 256;

/// Checkpoints, and keys, that come with a wish to verify. [`crate::Code::BadRequest`]
pub const VERIFY_TRUSTED_MAX: usize = 64;

/// Bytes of a consumer group's name: the streams it is kept in have names that begin with `$group-`.
/// [`crate::Code::InvalidGroup`]
pub const GROUP_NAME_BYTES_MAX: usize = 1_000;

/// Consumer groups of a store: each has its settings and its parked events in memory. [`crate::Code::TooManyGroups`]
pub const GROUPS_MAX: usize = 1_000;

/// Consumers of a group at a time. [`crate::Code::GroupFull`]
pub const GROUP_CONSUMERS_MAX: usize = 1_024;

/// Events held in memory by one group, and read at a time. [`crate::Code::InvalidGroup`]
pub const GROUP_BUFFER_MAX: u32 = 100_000;

/// Events a consumer takes at a time. [`crate::Code::InvalidGroup`]
pub const CONSUMER_BUFFER_MAX: u32 = 10_000;

/// Bytes of what a consumer calls itself, and of the address it comes from; longer ones are refused.
/// [`crate::Code::InvalidGroup`]
pub const CONSUMER_NAME_BYTES_MAX: usize = 256;

/// Days of a group's time-out, and of each of its pauses: ten years. [`crate::Code::InvalidGroup`]
pub const GROUP_PAUSE_DAYS_MAX: u64 = 3_660;

/// Durations a consumer's quantiles are made of.
pub const GROUP_SAMPLES_MAX: usize = 1_000;

/// Parked events of one group: 400 bytes each in memory. With more the group stops delivering until some are replayed or
/// skipped. [`crate::Code::DeadLettersFull`]
pub const DEAD_LETTERS_MAX: usize = 1_000_000;

/// Bytes of what a consumer said about an event it failed to process; the rest is cut off.
pub const DEAD_LETTER_ERROR_BYTES_MAX: usize = 4 << 10;

/// Dead letters on one page, and positions named in one selection. [`crate::Code::InvalidLimit`]
pub const DEAD_LETTER_PAGE_MAX: usize = 1_000;

/// Bytes of the name of a stream that has snapshots: they are kept in a stream whose name is longer by twelve bytes with that
/// of its metadata. [`crate::Code::InvalidSnapshot`]
pub const SNAPSHOT_STREAM_BYTES_MAX: usize = STREAM_NAME_BYTES_MAX - 12;

/// Snapshots kept of one stream: looking for an older one reads them one after the other. [`crate::Code::InvalidSnapshot`]
pub const SNAPSHOTS_KEPT_MAX: u32 = 100;

/// Snapshots a check of a log compares with the events they are made of: some 150 bytes each in memory meanwhile. The report
/// says if there are more.
pub const VERIFY_SNAPSHOTS_MAX: usize = 1 << 20;

/// Text from outside, cut for an error message.
#[must_use]
pub fn shorten(text: &str) -> &str {
    const SHOWN_BYTES: usize = 80;
    if text.len() <= SHOWN_BYTES {
        return text;
    }
    let mut end = SHOWN_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Bytes of an archive with a bundle, unpacked: 64 GiB, so that a small file cannot fill a disk.
/// [`crate::Code::BundleUnreadable`]
pub const BUNDLE_BYTES_MAX: u64 = 64 << 30;

/// Streams of one bundle: each brings a proof, and its positions are held in memory. [`crate::Code::ExportTooLarge`]
pub const BUNDLE_STREAMS_MAX: usize = 10_000;

/// Events of one bundle of streams, whose positions are held in memory: 80 MB. [`crate::Code::ExportTooLarge`]
pub const BUNDLE_STREAM_EVENTS_MAX: usize = 10_000_000;
