//! What is asked of PostgreSQL, statement by statement.
//!
//! # The commit
//!
//! One statement, because a transaction of several would take several round trips, and because one that is cut off in the
//! middle would be undone only when the server notices.
//!
//! 1. The one row of `meta` is locked against a change (`FOR SHARE`) if its epoch is the batch's. A claim changes that row:
//!    it waits for commits under way, and a commit that waited for a claim sees the new epoch (PostgreSQL judges the
//!    condition again on the changed row) and stores nothing.
//! 2. The last batch has to end where the new one begins, in position and checksum.
//! 3. What it sees of the batches is what was there when it began, which may be long ago. If somebody was faster, the
//!    primary key refuses it.
//! 4. The faster one's batch might be trimmed meanwhile, so that no key is in the way: `meta.trimmed` is, which a trim moves
//!    before it deletes anything, and which is judged with the epoch.
//!
//! # After a commit of unknown outcome
//!
//! The statement may still run in its server process, or wait there for a standby, and nobody sees what it stores before it
//! is done. So the next connection settles first: it waits for what began on this server before. What has not arrived there
//! yet is waited for by nobody; a claim keeps it out.

/// Which statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Commit,
    Read,
    Look,
    Claim,
    Found,
    Settle,
    Trim,
    Delete,
    Rewrite,
}

impl Which {
    /// How many there are.
    pub(crate) const COUNT: usize = 9;

    /// Its text, for the tables of a schema.
    pub(crate) fn sql(self, schema: &str) -> String {
        let text = match self {
            Which::Commit => COMMIT,
            Which::Read => READ,
            Which::Look => LOOK,
            Which::Claim => CLAIM,
            Which::Found => FOUND,
            Which::Settle => SETTLE,
            Which::Trim => TRIM,
            Which::Delete => DELETE,
            Which::Rewrite => REWRITE,
        };
        text.replace("{s}", &format!("\"{schema}\""))
    }
}

/// `$10` is the checksum before the first frame.
const COMMIT: &str = "
INSERT INTO {s}.batches (first_position, end_position, previous_checksum, checksum, epoch, writer, number, frames, frame_bytes)
SELECT $1::bigint, $2::bigint, $3::bigint, $4::bigint, $5::bigint, $6::bytea, $7::bigint, $8::bytea, $9::integer
FROM (SELECT FROM {s}.meta WHERE epoch = $5::bigint AND trimmed <= $1::bigint AND log_id IS NOT NULL FOR SHARE) AS term
LEFT JOIN LATERAL (
    SELECT end_position, checksum FROM {s}.batches ORDER BY first_position DESC LIMIT 1
) AS last ON true
WHERE coalesce(last.end_position, 0) = $1::bigint AND coalesce(last.checksum, $10::bigint) = $3::bigint";

/// From the batch that holds `$1` on, up to `$2` bytes and `$3` batches; each with where the journal ends. One row without a
/// batch if there is nothing after `$1`; none at all if the journal is empty. Sizes are summed before frames are touched.
const READ: &str = "
SELECT last.end_position AS tail_position, last.checksum AS tail_checksum, b.*
FROM (SELECT end_position, checksum FROM {s}.batches ORDER BY first_position DESC LIMIT 1) AS last
LEFT JOIN LATERAL (
    SELECT first_position, end_position, previous_checksum, checksum, epoch, writer, number, frames, frame_bytes
    FROM (
        SELECT *, sum(frame_bytes) OVER (ORDER BY first_position) - frame_bytes AS bytes_before
        FROM (
            SELECT * FROM {s}.batches
            WHERE end_position > $1::bigint AND first_position >= coalesce((
                SELECT first_position FROM {s}.batches WHERE first_position <= $1::bigint
                ORDER BY first_position DESC LIMIT 1), 0)
            ORDER BY first_position LIMIT $3::bigint
        ) AS next
    ) AS summed
    WHERE bytes_before = 0 OR bytes_before < $2::bigint
) AS b ON true
ORDER BY b.first_position";

/// The identity, the term, where the journal ends, and the last batch that begins before `$1`.
const LOOK: &str = "
SELECT meta.log_id, meta.origin, meta.created_at, meta.epoch, meta.writer, meta.address,
    last.end_position AS tail_position, last.checksum AS tail_checksum,
    here.end_position AS here_position, here.checksum AS here_checksum
FROM {s}.meta AS meta
LEFT JOIN LATERAL (
    SELECT end_position, checksum FROM {s}.batches ORDER BY first_position DESC LIMIT 1
) AS last ON true
LEFT JOIN LATERAL (
    SELECT end_position, checksum FROM {s}.batches WHERE first_position < $1::bigint ORDER BY first_position DESC LIMIT 1
) AS here ON true";

const CLAIM: &str = "
UPDATE {s}.meta SET epoch = epoch + 1, writer = $1::bytea, address = $2::text, claimed_at = now()
WHERE epoch = $3::bigint AND log_id IS NOT NULL
RETURNING epoch";

const FOUND: &str = "
UPDATE {s}.meta SET log_id = $1::bytea, origin = $2::text, created_at = $3::bigint WHERE log_id IS NULL";

/// Changes nothing, and waits for two things: for commits under way, which hold the row, and, since it writes, for the standbys
/// that commits wait for, which have all that was written before then. (A transaction that writes nothing waits for
/// neither.)
const SETTLE: &str = "UPDATE {s}.meta SET trimmed = trimmed";

/// Before anything is deleted, and apart from it, so that commits do not wait for long.
const TRIM: &str = "
UPDATE {s}.meta SET trimmed = least($1::bigint, batches.last)
FROM (SELECT max(first_position) AS last FROM {s}.batches) AS batches
WHERE batches.last IS NOT NULL AND trimmed < least($1::bigint, batches.last)";

/// A piece of what may go, oldest first; never the last batch, which tells the tail.
const DELETE: &str = "
DELETE FROM {s}.batches WHERE first_position IN (
    SELECT batches.first_position FROM {s}.batches, {s}.meta
    WHERE batches.end_position <= least($1::bigint, meta.trimmed)
        AND batches.first_position < (SELECT max(first_position) FROM {s}.batches)
    ORDER BY batches.first_position LIMIT $2::bigint)";

/// What remains of a batch once something was erased from it. The row of `meta` is locked as for a commit: a claim waits for
/// it, and after a claim nothing is changed.
const REWRITE: &str = "
UPDATE {s}.batches SET frames = $4::bytea, frame_bytes = $5::integer
FROM (SELECT FROM {s}.meta WHERE epoch = $6::bigint FOR SHARE) AS term
WHERE first_position = $1::bigint AND end_position = $2::bigint AND checksum = $3::bigint";
