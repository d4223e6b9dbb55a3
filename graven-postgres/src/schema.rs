//! The journal's tables, and how they come to be.
//!
//! `meta` has one row: the format, whose log it is, and who writes. `batches` has one row a batch. What a node asks most,
//! and what a commit compares with, is the last batch: the greatest `first_position`, from the primary key's end.
//!
//! Frames are stored outside the row and uncompressed (`EXTERNAL`): their payloads are often compressed already, and an
//! append should not wait for it.
//!
//! `meta.trimmed` is there for a statement that was cut off and lives on in its server process, long after its writer went
//! on: see `statements`.

use graven_model::{Code, Error};

/// Version of the tables. Another one is refused.
pub(crate) const FORMAT: i32 = 1;

/// What a schema's name is hashed with for each use, so that no two uses meet.
const CREATE: &str = "graven create ";
const WRITER: &str = "graven writer ";
const CHANNEL: &str = "graven channel ";

/// Makes the tables. Nodes that start at the same time wait for one another, and whoever comes second finds them made.
pub(crate) fn create(schema: &str, has_schema: bool) -> String {
    // Asked for only where it is missing: it takes the right to create schemas even if it is there.
    let create_schema =
        if has_schema { String::new() } else { format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\";") };
    let lock = key(&[CREATE.as_bytes(), schema.as_bytes()]);
    format!(
        r#"BEGIN;
        SELECT pg_advisory_xact_lock({lock});
        {create_schema}
        CREATE TABLE IF NOT EXISTS "{schema}".meta (
            one boolean PRIMARY KEY DEFAULT true CHECK (one),
            format integer NOT NULL,
            log_id bytea CHECK (octet_length(log_id) = 16),
            origin text,
            created_at bigint,
            epoch bigint NOT NULL DEFAULT 0,
            writer bytea NOT NULL DEFAULT decode(repeat('00', 16), 'hex') CHECK (octet_length(writer) = 16),
            address text NOT NULL DEFAULT '',
            claimed_at timestamptz,
            trimmed bigint NOT NULL DEFAULT 0
        );
        CREATE TABLE IF NOT EXISTS "{schema}".batches (
            first_position bigint PRIMARY KEY,
            end_position bigint NOT NULL CHECK (end_position > first_position),
            previous_checksum bigint NOT NULL,
            checksum bigint NOT NULL,
            epoch bigint NOT NULL,
            writer bytea NOT NULL CHECK (octet_length(writer) = 16),
            number bigint NOT NULL,
            frames bytea NOT NULL,
            frame_bytes integer NOT NULL CHECK (frame_bytes = octet_length(frames)),
            committed_at timestamptz NOT NULL DEFAULT now()
        );
        ALTER TABLE "{schema}".batches ALTER COLUMN frames SET STORAGE EXTERNAL;
        INSERT INTO "{schema}".meta (format) VALUES ({FORMAT}) ON CONFLICT DO NOTHING;
        COMMIT;"#
    )
}

/// The advisory lock that the connection of the current writer holds.
pub(crate) fn writer_lock(schema: &str, log_id: [u8; 16]) -> i64 {
    key(&[WRITER.as_bytes(), schema.as_bytes(), &log_id])
}

/// The channel on which a writer tells of what it appended. A hash, because a schema's name may be as long as a channel's
/// may be.
pub(crate) fn channel(schema: &str) -> String {
    format!("graven_{:016x}", key(&[CHANNEL.as_bytes(), schema.as_bytes()]))
}

/// A number for advisory locks, which PostgreSQL keeps for each database: FNV-1a, so that every node and every version
/// finds the same one.
fn key(parts: &[&[u8]]) -> i64 {
    let bytes = parts.iter().flat_map(|part| part.iter());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.cast_signed()
}

/// Tables of that name that are not ours, or of another version.
pub(crate) fn unknown_format(schema: &str, found: impl Into<String>) -> Error {
    Error::new(
        Code::UnknownFormat,
        format!("the schema {schema} holds something that is not a journal of this version"),
    )
    .expected(format!("journal format {FORMAT}"))
    .found(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_what_they_are() {
        assert_eq!(channel("graven"), "graven_34a3d5fbdff4200c");
        assert_eq!(channel(&"x".repeat(63)).len(), 23);
        assert_ne!(writer_lock("graven", [0; 16]), writer_lock("graven", [1; 16]));
    }
}
