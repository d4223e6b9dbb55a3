//! Which dead letters: out of a query string or a body; and the cursor of their pages.

use crate::server::query_params::{QueryParams, wrong};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crc32c::crc32c;
use graven_model::{
    Code, DeadLetterFilter, Error, GroupName, ParkReason, Position, Result, StreamName, Text, Timestamp,
    limits,
};
use serde::Deserialize;

/// Takes a filter out of a query string.
///
/// # Errors
/// What is wrong with a parameter.
pub(super) fn from_query(params: &mut QueryParams) -> Result<DeadLetterFilter> {
    let filter = DeadLetterFilter {
        group: params.text("group")?.map(GroupName::new).transpose()?,
        stream: params.text("stream")?.map(StreamName::new).transpose()?,
        event_type: params.text("type")?.map(Text::from),
        reason: params.text("reason")?.as_deref().map(reason).transpose()?,
        failed_before: time(params, "failed_before")?,
        failed_since: time(params, "failed_since")?,
        positions: positions(params)?,
    };
    check_positions(&filter.positions)?;
    Ok(filter)
}

fn reason(word: &str) -> Result<ParkReason> {
    ParkReason::from_word(word)
        .ok_or_else(|| wrong("reason", &ParkReason::ALL.map(ParkReason::word).join(", "), word))
}

fn time(params: &mut QueryParams, name: &'static str) -> Result<Option<Timestamp>> {
    // A '+' that was not percent-encoded arrives as a blank.
    params.text(name)?.map(|text| Timestamp::parse(&text.replace(' ', "+"))).transpose()
}

fn positions(params: &mut QueryParams) -> Result<Vec<Position>> {
    let read =
        |text: String| text.parse().map(Position).map_err(|_| wrong("position", "a whole number", &text));
    params.all("position").into_iter().map(read).collect()
}

/// # Errors
/// [`Code::InvalidLimit`] for more positions than a selection names.
fn check_positions(positions: &[Position]) -> Result<()> {
    if positions.len() <= limits::DEAD_LETTER_PAGE_MAX {
        return Ok(());
    }
    Err(Error::new(Code::InvalidLimit, "the selection names too many positions")
        .expected(format!("at most {}", limits::DEAD_LETTER_PAGE_MAX))
        .found(positions.len().to_string()))
}

/// A selection of dead letters to act on, in a body.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SelectionWish {
    group: Option<String>,
    stream: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<Text>,
    reason: Option<String>,
    failed_before: Option<Timestamp>,
    failed_since: Option<Timestamp>,
    positions: Vec<Position>,
    all: bool,
    limit: Option<u64>,
    dry_run: bool,
}

/// Dead letters to act on.
pub(super) struct Selection {
    /// Which ones.
    pub(super) filter: DeadLetterFilter,
    /// So many of them at the most, oldest first.
    pub(super) limit: Option<u64>,
    /// They are only counted.
    pub(super) dry_run: bool,
}

impl SelectionWish {
    /// The selection that is meant.
    ///
    /// # Errors
    /// [`Code::BadRequest`] if it selects nothing, and does not say that it means all of them; [`Code::InvalidLimit`];
    /// what is wrong with a name.
    pub(super) fn selection(self) -> Result<Selection> {
        let filter = DeadLetterFilter {
            group: self.group.map(GroupName::new).transpose()?,
            stream: self.stream.map(StreamName::new).transpose()?,
            event_type: self.event_type,
            reason: self.reason.as_deref().map(reason).transpose()?,
            failed_before: self.failed_before,
            failed_since: self.failed_since,
            positions: self.positions,
        };
        check_positions(&filter.positions)?;
        if (filter == DeadLetterFilter::default()) != self.all {
            return Err(Error::new(Code::BadRequest, "it is not said once which dead letters are meant")
                .expected(
                    "some of group, stream, type, reason, failed_before, failed_since, positions; or all",
                ));
        }
        if self.limit == Some(0) {
            return Err(Error::new(Code::InvalidLimit, "limit is outside its bounds")
                .expected("at least 1")
                .found("0"));
        }
        Ok(Selection { filter, limit: self.limit, dry_run: self.dry_run })
    }
}

const CURSOR_VERSION: u8 = 1;
/// Version, position, fingerprint of the filter, checksum.
const CURSOR_FIXED_BYTES: usize = 1 + 8 + 4 + 4;

/// Where the next page of a listing through this filter begins, as one opaque word.
pub(super) fn cursor(filter: &DeadLetterFilter, after: &(GroupName, Position)) -> String {
    let mut bytes = vec![CURSOR_VERSION];
    bytes.extend_from_slice(&after.1.0.to_be_bytes());
    bytes.extend_from_slice(&fingerprint(filter).to_be_bytes());
    bytes.extend_from_slice(after.0.as_str().as_bytes());
    let check = crc32c(&bytes);
    bytes.extend_from_slice(&check.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The place a cursor stands for.
///
/// # Errors
/// [`Code::InvalidCursor`] for one that was not made here, or for another filter.
pub(super) fn after(filter: &DeadLetterFilter, text: &str) -> Result<(GroupName, Position)> {
    let invalid = || Error::new(Code::InvalidCursor, "the cursor was not made by this store");
    // Base64 makes four characters of three bytes.
    if text.len() > (CURSOR_FIXED_BYTES + limits::GROUP_NAME_BYTES_MAX) / 3 * 4 + 4 {
        return Err(invalid());
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?;
    let (body, check) = bytes.split_last_chunk::<4>().ok_or_else(invalid)?;
    if crc32c(body).to_be_bytes() != *check {
        return Err(invalid());
    }
    let (version, rest) = body.split_first().ok_or_else(invalid)?;
    let (position, rest) = rest.split_first_chunk::<8>().ok_or_else(invalid)?;
    let (fingerprint_then, name) = rest.split_first_chunk::<4>().ok_or_else(invalid)?;
    if *version != CURSOR_VERSION {
        return Err(invalid());
    }
    if fingerprint(filter).to_be_bytes() != *fingerprint_then {
        return Err(Error::new(Code::InvalidCursor, "the cursor belongs to another read"));
    }
    let name = std::str::from_utf8(name).map_err(|_| invalid())?;
    Ok((GroupName::new(name).map_err(|_| invalid())?, Position(u64::from_be_bytes(*position))))
}

fn fingerprint(filter: &DeadLetterFilter) -> u32 {
    crc32c(format!("{filter:?}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_belongs_to_its_filter() {
        let filter = DeadLetterFilter { reason: Some(ParkReason::Behind), ..DeadLetterFilter::default() };
        for name in ["g", "ä b", &"x".repeat(limits::GROUP_NAME_BYTES_MAX)] {
            let place = (GroupName::new(name).unwrap(), Position(u64::MAX));
            let text = cursor(&filter, &place);
            assert_eq!(after(&filter, &text).unwrap(), place);
            assert_eq!(after(&DeadLetterFilter::default(), &text).unwrap_err().code, Code::InvalidCursor);
            for end in 0..text.len() {
                assert_eq!(after(&filter, &text[..end]).unwrap_err().code, Code::InvalidCursor);
            }
        }
        assert_eq!(after(&filter, &"A".repeat(5_000)).unwrap_err().code, Code::InvalidCursor);
    }

    #[test]
    fn everything_is_selected_only_if_it_is_said() {
        let select = |text: &str| serde_json::from_str::<SelectionWish>(text).unwrap().selection();
        assert!(select(r#"{"all":true}"#).is_ok());
        assert!(select(r#"{"group":"g","limit":1}"#).is_ok());
        for bad in ["{}", r#"{"all":true,"group":"g"}"#, r#"{"dry_run":true}"#, r#"{"positions":[]}"#] {
            assert_eq!(select(bad).err().unwrap().code, Code::BadRequest, "{bad}");
        }
        assert_eq!(select(r#"{"all":true,"limit":0}"#).err().unwrap().code, Code::InvalidLimit);
        assert_eq!(select(r#"{"reason":"x"}"#).err().unwrap().code, Code::BadRequest);
        assert_eq!(select(r#"{"group":""}"#).err().unwrap().code, Code::InvalidGroup);
    }
}
