//! The one error table: every [`Code`] with its number, HTTP status, exit code and flags; [`Error`]: one that happened.
//!
//! HTTP, gRPC, the command line and the docs all read this table. A message says what failed and on what, what was
//! expected and found, and what to do next: lower case, no full stop.

use crate::append::FailedCheck;
use crate::ids::Position;
use std::fmt;

/// `Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One row of the error table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Stable number, printed as `GRV-nnnn`.
    pub number: u16,
    /// Stable name in kebab case.
    pub name: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Exit code of the command line.
    pub exit: u8,
    /// The same call may go through later.
    pub retryable: bool,
    /// Certain that nothing was changed.
    pub no_side_effects: bool,
    /// What to do about it.
    pub hint: &'static str,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal $name:literal $status:literal exit $exit:literal $($flag:ident)* : $hint:literal;)*) => {
        /// What went wrong, as a stable code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// All codes, in the order of their numbers.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// The code's row of the table.
            #[must_use]
            pub const fn entry(self) -> Entry {
                match self {
                    $(Code::$variant => {
                        #[allow(unused_mut, reason = "a row may have no flags")]
                        let mut entry = Entry {
                            number: $number, name: $name, status: $status, exit: $exit,
                            retryable: false, no_side_effects: true, hint: $hint,
                        };
                        $(codes!(@flag entry $flag);)*
                        entry
                    })*
                }
            }
        }
    };
    (@flag $entry:ident retryable) => { $entry.retryable = true };
    (@flag $entry:ident unknown) => { $entry.no_side_effects = false };
}

codes! {
    /// The request is not well-formed in a way no other code names.
    BadRequest = 1000 "bad-request" 400 exit 2: "correct the request as the message says";
    /// A stream name is empty, too long, not UTF-8, or reserved.
    InvalidStreamName = 1001 "invalid-stream-name" 400 exit 2: "use 1 to 1024 bytes of UTF-8 without control characters";
    /// An event id is not a UUID.
    InvalidEventId = 1002 "invalid-event-id" 400 exit 2: "send a UUID";
    /// An event type is empty, too long or reserved.
    InvalidEventType = 1003 "invalid-event-type" 400 exit 2: "use 1 to 512 bytes of UTF-8 without control characters";
    /// A media type is empty, too long or not visible ASCII.
    InvalidContentType = 1004 "invalid-content-type" 400 exit 2: "send a media type such as application/json";
    /// A tag is empty, too long, reserved, or there are too many.
    InvalidTag = 1005 "invalid-tag" 400 exit 2: "use at most 64 tags of 1 to 256 bytes that do not start with '$'";
    /// A data subject is empty or too long.
    InvalidDataSubject = 1006 "invalid-data-subject" 400 exit 2: "use 1 to 256 bytes of UTF-8";
    /// A query has too many items, or an item that matches everything without saying so.
    InvalidQuery = 1007 "invalid-query" 400 exit 2: "name types or tags in each item, or say all";
    /// A filter's regular expression does not compile or is too large.
    InvalidFilter = 1008 "invalid-filter" 400 exit 2: "correct the regular expression or use prefixes";
    /// A count is outside its bounds.
    InvalidLimit = 1009 "invalid-limit" 400 exit 2: "ask for a number within the bounds";
    /// A cursor was not made by this store, or for another read.
    InvalidCursor = 1010 "invalid-cursor" 400 exit 2: "begin the read again without a cursor";
    /// A time is not RFC 3339.
    InvalidTime = 1011 "invalid-time" 400 exit 2: "send a time such as 2011-09-30T22:38:44.546Z";
    /// A payload announced as JSON is not JSON.
    InvalidJson = 1012 "invalid-json" 400 exit 2: "send valid JSON, or another content type";
    /// A CloudEvent lacks a required attribute or has a malformed one.
    InvalidCloudEvent = 1013 "invalid-cloudevent" 400 exit 2: "send CloudEvents 1.0 with specversion, id, source, type and subject";
    /// The request body's media type is not one the endpoint takes.
    UnsupportedMediaType = 1014 "unsupported-media-type" 415 exit 2: "send one of the media types named in the message";
    /// The stream metadata is not the JSON object it has to be.
    InvalidMetadata = 1015 "invalid-metadata" 400 exit 2: "send a JSON object; $maxCount, $maxAge and $tb are whole numbers";
    /// An append names the same stream twice, no stream, or a stream index that does not exist.
    InvalidAppend = 1016 "invalid-append" 400 exit 2: "name each stream once, with its events and expected revision";
    /// A place to start does not fit the selector.
    InvalidStart = 1017 "invalid-start" 400 exit 2: "start a stream at a revision, everything else at a position or time";

    /// One event is larger than the bound.
    EventTooLarge = 1100 "event-too-large" 413 exit 2: "keep large payloads elsewhere and store a reference";
    /// One append is larger than the bound.
    AppendTooLarge = 1101 "append-too-large" 413 exit 2: "split the append";
    /// A request body is larger than the bound.
    BodyTooLarge = 1102 "body-too-large" 413 exit 2: "split the request";

    /// A stream is not at the expected revision.
    WrongExpectedRevision = 1200 "wrong-expected-revision" 412 exit 4: "read the events you have not seen, decide again, and append with the new revision";
    /// An event matches the append's condition.
    ConditionFailed = 1201 "condition-failed" 412 exit 4: "read what matches, decide again, and append after the new position";
    /// The stream was deleted and the operation needs it to exist.
    StreamDeleted = 1202 "stream-deleted" 410 exit 4: "append with expected revision any to reopen the stream";
    /// The stream was tombstoned.
    StreamTombstoned = 1203 "stream-tombstoned" 410 exit 4: "use another stream: a tombstone is for ever";
    /// The stream has no events.
    StreamNotFound = 1300 "stream-not-found" 404 exit 3: "check the name; `graven stream list` shows what there is";
    /// No event has this id, revision or position.
    EventNotFound = 1301 "event-not-found" 404 exit 3: "check the id, revision or position";
    /// There is nothing at this path.
    NotFound = 1302 "not-found" 404 exit 3: "see /openapi.json for the paths there are";
    /// The path does not take this method.
    MethodNotAllowed = 1303 "method-not-allowed" 405 exit 2: "see /openapi.json for the methods a path takes";

    /// Too much is waiting to be written.
    Overloaded = 1400 "overloaded" 503 exit 6 retryable: "try again after a pause";
    /// The server is starting or stopping.
    Unavailable = 1401 "unavailable" 503 exit 6 retryable: "try again in a moment";
    /// The request did not come, or was not served, in time.
    Timeout = 1402 "timeout" 408 exit 6 retryable unknown: "try again with the same event ids";
    /// The server cannot be reached.
    ConnectionFailed = 1403 "connection-failed" 503 exit 6 retryable unknown: "check --url and that the server runs; `graven dev` starts one";
    /// The disk is full.
    DiskFull = 1404 "disk-full" 507 exit 6 retryable: "free space; appends go on by themselves";
    /// This node follows a journal that another one writes. The writer's address, if it is known, is in the details.
    NotTheWriter = 1405 "not-the-writer" 421 exit 6 retryable: "append at the writer's address, if one is named; `graven journal takeover` makes this node the writer";
    /// The journal several nodes share cannot be reached.
    JournalUnreachable = 1406 "journal-unreachable" 503 exit 6 retryable unknown: "check the journal's URL and that its server runs; the node goes on by itself";
    /// The store has not come as far as the read wants.
    NotYetThere = 1407 "not-yet-there" 503 exit 6 retryable: "try again in a moment, or read at the writer";

    /// It is not known whether the append is durable.
    OutcomeUnknown = 1500 "outcome-unknown" 500 exit 1 unknown: "retry with the same event ids after the store was restarted";
    /// A write or flush failed earlier; the store only reads until it is restarted.
    Poisoned = 1501 "store-poisoned" 503 exit 6: "check the disk, then restart; reads go on";
    /// Stored bytes are not what was written.
    Corrupted = 1502 "corrupted" 500 exit 7: "restore the file named in the message from a backup; do not delete it";
    /// A system call failed.
    Io = 1503 "io" 500 exit 1 unknown: "see the message of the operating system";
    /// Another process has the data directory open.
    DataInUse = 1504 "data-in-use" 503 exit 6: "stop the other process, or use another directory";
    /// The directory cannot be written.
    NotWritable = 1505 "not-writable" 500 exit 5: "give the user that runs graven the right to write there";
    /// The directory holds something that is not a store, or one of another version.
    UnknownFormat = 1506 "unknown-format" 500 exit 1: "use an empty directory, or the graven version that made this one";
    /// The store is closed.
    Closed = 1507 "closed" 503 exit 6 retryable: "connect again";
    /// A copy and its source do not share a history: another log, another event at the same place, or a source that lost
    /// its end.
    HistoryDiverged = 1508 "history-diverged" 409 exit 7: "check that it is the right source; if it was rolled back, keep this copy and begin another";
    /// A defect in graven.
    Internal = 1599 "internal" 500 exit 1 unknown: "report this with the log";

    /// A configuration file, variable or flag is wrong.
    InvalidConfig = 1600 "invalid-config" 500 exit 2: "correct the setting named in the message";
    /// A non-loopback address without the flag that allows it.
    InsecureListen = 1601 "insecure-listen" 500 exit 5: "listen on 127.0.0.1, or give --insecure if the network is trusted";

    /// The log ends before a checkpoint that was signed for it: an older copy was put in its place.
    RollbackDetected = 1700 "rollback-detected" 409 exit 7: "put the newer data back; to go on with the older copy on purpose, run `graven audit declare-rollback` on the stopped store";
    /// Two signed heads of one log do not follow from one another: its history was rewritten.
    InconsistentHistory = 1701 "inconsistent-history" 409 exit 7: "keep both checkpoints: together they prove it; ask others which one they know";
    /// The log has not as many events as the proof is asked for.
    SizeNotReached = 1702 "size-not-reached" 404 exit 3: "ask for a size the log has reached";
    /// There is no key to sign checkpoints with.
    NoSigningKey = 1703 "no-signing-key" 503 exit 6: "mount the directory with the log's keys";
    /// A checkpoint's signature is not that of the log's keys.
    CheckpointSignatureInvalid = 1704 "checkpoint-signature-invalid" 409 exit 7: "put the file named in the message back as it was written";
    /// Others than the user that runs graven may read the keys.
    KeysExposed = 1705 "keys-exposed" 500 exit 5: "take everybody else's rights away: chmod 700 on the directory, chmod 600 on the files in it";
    /// The key is that of another log, or does not read.
    WrongKey = 1706 "wrong-key" 409 exit 2: "use the keys directory of this log";
    /// There are more streams than one seal covers.
    TooManyStreams = 1707 "too-many-streams" 507 exit 1: "checkpoints and proofs go on; completeness proofs stay at the last seal";
    /// The log's keys change only with the signature of its root key.
    RootKeyRequired = 1708 "root-key-required" 403 exit 5: "give the root key whose public half is in the keys directory";
    /// No checkpoint was signed at the size asked for.
    NeverSigned = 1709 "never-signed" 404 exit 3: "ask for a checkpoint that covers at least so many events, or for a size that was signed";
    /// The stream is newer than the last seal, or nothing was sealed yet: nothing can be proven of the whole of it.
    NotSealedYet = 1710 "not-sealed-yet" 409 exit 6 retryable: "seal the store, or wait for its next seal";

    /// What is stored contradicts itself, or what was signed over it.
    VerificationFailed = 1720 "verification-failed" 500 exit 7: "copy the store away as it is; `graven verify` on the stopped store says what is wrong, where, and since when";

    /// A legal hold covers what was to be erased.
    LegalHold = 1740 "legal-hold" 409 exit 4: "end the hold named in the message first, if the law allows it";
    /// What was to be erased is not there.
    NothingToErase = 1741 "nothing-to-erase" 404 exit 3: "check the name; it may be that all of it was erased before";
    /// An erasure lacks something, or names what is never erased.
    InvalidErasure = 1742 "invalid-erasure" 400 exit 2: "correct the request as the message says";
    /// A request with this id was carried out, and it was another one.
    ErasureConflict = 1743 "erasure-conflict" 409 exit 4: "give every request an id of its own";
    /// The erasure is decided and in the log; not everything is destroyed yet.
    ErasureUnfinished = 1744 "erasure-unfinished" 500 exit 6 retryable unknown: "send the same request again, or restart the store: it goes on where it was";
    /// A legal hold with this name begins although it holds, or ends although it does not.
    HoldConflict = 1745 "hold-conflict" 409 exit 4: "list the holds there are; begin another one under another name";

    /// The witness does not know the log.
    UnknownLog = 1760 "unknown-log" 404 exit 3: "start the witness with the log's verifier key: --log VKEY";
    /// A checkpoint is not signed by a key the witness knows for its log.
    ForeignSignature = 1761 "foreign-signature" 403 exit 5: "start the witness with the key the log signs with now";
    /// The witness cosigned another size, or another root of the same size.
    WitnessConflict = 1762 "witness-conflict" 409 exit 4: "send the proof from the size the witness names; two roots of one size are two histories";
    /// A checkpoint does not continue what the witness cosigned.
    NotContinued = 1763 "not-continued" 422 exit 7: "keep the checkpoint and the one the witness cosigned: together they show two histories";
    /// A witness or a timestamp authority gave no usable answer.
    AnchorFailed = 1764 "anchor-failed" 502 exit 6 retryable: "check the URL and the key of the witness or authority; the server goes on trying";
    /// A witness cosigned another history of this log than the store has.
    WitnessContradicts = 1765 "witness-contradicts" 409 exit 7: "stop writing and compare with what the witness cosigned: this store was rolled back or rewritten, or another one runs with its key";
    /// The events since the last witnessed checkpoint wait for a witness too long, and the store is not to go on without.
    Unwitnessed = 1766 "unwitnessed" 503 exit 6 retryable: "bring the witnesses back, or set audit.witness_mode to queue";

    /// What is to be checked is no bundle, or no archive of one.
    BundleUnreadable = 1780 "bundle-unreadable" 400 exit 2: "name the directory of a bundle, or the .tar or .tar.zst it was exported to";
    /// A bundle does not show what it is there to show.
    BundleNotProven = 1781 "bundle-not-proven" 409 exit 7: "export it again; if it fails again, keep both and ask who could write them";
    /// What is to be exported does not fit one bundle.
    ExportTooLarge = 1782 "export-too-large" 413 exit 2: "export ranges of positions one after the other";
    /// There is something already where the export is to be written.
    ExportExists = 1783 "export-exists" 409 exit 4: "name a directory or file that does not exist";

    /// A proof, or the checkpoint it stands on, does not verify.
    ProofInvalid = 1791 "proof-invalid" 400 exit 7: "get the proof again; check that the verifier key is the right log's";
    /// A verification runs already.
    VerificationRunning = 1792 "verification-running" 409 exit 6 retryable: "wait for it; `graven audit status` tells how far it is";

    /// There is no consumer group of this name.
    GroupNotFound = 1800 "group-not-found" 404 exit 3: "check the name; `graven group list` shows what there is";
    /// There is a consumer group of this name already.
    GroupExists = 1801 "group-exists" 409 exit 4: "update the group, or choose another name";
    /// A consumer group's name, settings or consumer are out of bounds.
    InvalidGroup = 1802 "invalid-group" 400 exit 2: "correct what the message names";
    /// The group has as many consumers as it takes.
    GroupFull = 1803 "group-full" 409 exit 6 retryable: "wait until a consumer leaves, or raise the group's consumers_max";
    /// The group was updated or reset while a consumer was connected.
    GroupChanged = 1804 "group-changed" 409 exit 6 retryable: "connect again";
    /// No consumer of the group has this id.
    ConsumerNotFound = 1805 "consumer-not-found" 404 exit 3: "connect again: what was not acknowledged is delivered again";
    /// There are as many consumer groups as a store holds.
    TooManyGroups = 1806 "too-many-groups" 507 exit 4: "delete groups nobody uses";
    /// A group has parked as many events as it may.
    DeadLettersFull = 1807 "dead-letters-full" 507 exit 6 retryable: "replay or skip dead letters; the group goes on by itself";
    /// No parked event fits the selection.
    DeadLetterNotFound = 1808 "dead-letter-not-found" 404 exit 3: "list the dead letters; it may have been replayed or skipped already";

    /// The stream has no snapshot.
    SnapshotNotFound = 1850 "snapshot-not-found" 404 exit 3: "read the stream from its beginning";
    /// A snapshot names a revision the stream has not reached.
    SnapshotAhead = 1851 "snapshot-ahead" 409 exit 4: "take the snapshot of a revision that is in the stream";
    /// A snapshot does not belong to the event it names.
    SnapshotForeign = 1852 "snapshot-foreign" 409 exit 7: "delete the snapshot and read the stream from its beginning";
    /// A snapshot is malformed or out of bounds.
    InvalidSnapshot = 1853 "invalid-snapshot" 400 exit 2: "correct what the message names";
    /// There is a newer snapshot of the stream.
    SnapshotOutdated = 1854 "snapshot-outdated" 409 exit 4: "nothing needs to be done: the newer snapshot serves better";
}

impl Code {
    /// `GRV-nnnn`.
    #[must_use]
    pub fn id(self) -> String {
        format!("GRV-{}", self.entry().number)
    }

    /// Finds a code by its printed form.
    #[must_use]
    pub fn from_id(id: &str) -> Option<Code> {
        let number = id.strip_prefix("GRV-")?.parse::<u16>().ok()?;
        Code::ALL.iter().copied().find(|code| code.entry().number == number)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GRV-{}", self.entry().number)
    }
}

/// What a caller can act on beyond the message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Details {
    /// Nothing more.
    #[default]
    None,
    /// All checks of an append that did not hold.
    FailedChecks(Vec<FailedCheck>),
    /// The first event that matches an append's condition.
    ConditionMatch(Position),
    /// The zero-based index of the item (event, line, query item) that is wrong.
    Item(u64),
    /// URL at which the node that writes is reached.
    Writer(String),
}

/// An error that happened: code, message, expected, found, details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Row of the table.
    pub code: Code,
    /// What failed, on what.
    pub message: String,
    /// What was expected, if that helps.
    pub expected: Option<String>,
    /// What was found instead.
    pub found: Option<String>,
    /// What a caller can act on.
    pub details: Details,
}

impl Error {
    /// An error with a message.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Error {
        Error { code, message: message.into(), expected: None, found: None, details: Details::None }
    }

    /// The same error, saying what was expected.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Error {
        self.expected = Some(expected.into());
        self
    }

    /// The same error, saying what was found.
    #[must_use]
    pub fn found(mut self, found: impl Into<String>) -> Error {
        self.found = Some(found.into());
        self
    }

    /// The same error with details.
    #[must_use]
    pub fn with(mut self, details: Details) -> Error {
        self.details = details;
        self
    }

    /// The same error, naming the URL of the node that writes; as it was if that is empty, since nobody told one.
    #[must_use]
    pub fn naming_writer(self, url: &str) -> Error {
        if url.is_empty() { self } else { self.with(Details::Writer(url.to_owned())) }
    }

    /// An I/O error on a file or directory. "No space left" becomes [`Code::DiskFull`], "permission denied" and
    /// "read-only file system" become [`Code::NotWritable`].
    #[must_use]
    pub fn io(what: impl fmt::Display, error: &std::io::Error) -> Error {
        use std::io::ErrorKind;
        let code = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Code::DiskFull,
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Code::NotWritable,
            _ => Code::Io,
        };
        Error::new(code, format!("{what}: {error}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        if let Some(found) = &self.found {
            write!(f, "; found {found}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_ascending() {
        let entries: Vec<Entry> = Code::ALL.iter().map(|code| code.entry()).collect();
        assert!(entries.windows(2).all(|pair| pair[0].number < pair[1].number));
        let mut names: Vec<_> = entries.iter().map(|entry| entry.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), entries.len());
    }

    #[test]
    fn every_code_is_found_by_its_printed_form() {
        for code in Code::ALL {
            assert_eq!(Code::from_id(&code.id()), Some(*code));
        }
        assert_eq!(Code::from_id("GRV-1"), None);
    }

    #[test]
    fn an_error_prints_code_message_expected_and_found() {
        let error =
            Error::new(Code::EventTooLarge, "event 3 is too large").expected("16 bytes").found("17 bytes");
        assert_eq!(error.to_string(), "GRV-1100: event 3 is too large; expected 16 bytes; found 17 bytes");
    }
}
