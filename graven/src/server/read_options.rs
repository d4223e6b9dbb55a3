//! From where, which way, how much: the options all reads share, out of a query string or a body.

use super::json::Form;
use super::query_params::{self, QueryParams, wrong};
use graven_model::{
    Code, Cursor, Direction, Error, EventFilter, FromSnapshotRequest, Pattern, Position, ReadRequest, Result,
    Revision, Selector, Start, StreamName, Text, Timestamp, limits,
};
use serde::Deserialize;

/// Options of one read, not yet tied to a selector.
#[derive(Debug, Default)]
pub(super) struct ReadOptions {
    from: Option<From>,
    position: Option<u64>,
    direction: Option<Direction>,
    limit: Option<u64>,
    bytes: Option<u64>,
    cursor: Option<String>,
    filter: EventFilter,
    base64: bool,
    min_position: Option<u64>,
}

/// The place to begin, before it is known what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Start,
    End,
    Number(u64),
    Time(Timestamp),
}

impl From {
    fn parse(text: &str) -> Result<From> {
        match text {
            "start" => Ok(From::Start),
            "end" => Ok(From::End),
            _ => {
                if let Ok(number) = text.parse() {
                    return Ok(From::Number(number));
                }
                // A '+' that was not percent-encoded arrives as a blank.
                Timestamp::parse(&text.replace(' ', "+"))
                    .map(From::Time)
                    .map_err(|_| wrong("from", "start, end, a whole number or an RFC 3339 time", text))
            }
        }
    }

    /// A number is a revision of a stream, and a position elsewhere.
    fn start(self, of: &Selector) -> Start {
        match self {
            From::Start => Start::Start,
            From::End => Start::End,
            From::Time(time) => Start::Time(time),
            From::Number(number) => match of {
                Selector::Stream(_) => Start::Revision(Revision(number)),
                _ => Start::Position(Position(number)),
            },
        }
    }
}

/// `from` in a body: text or a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum FromField {
    Number(u64),
    Text(String),
}

/// The options as fields of a body, beside `query`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QueryReadBody {
    pub(super) query: super::append_body::QueryBody,
    from: Option<FromField>,
    position: Option<u64>,
    direction: Option<String>,
    limit: Option<u64>,
    bytes: Option<u64>,
    cursor: Option<String>,
    #[serde(default)]
    stream_prefix: Vec<Text>,
    stream_regex: Option<Text>,
    #[serde(default)]
    type_prefix: Vec<Text>,
    type_regex: Option<Text>,
    #[serde(default)]
    exclude_system: bool,
    payload: Option<String>,
    min_position: Option<u64>,
}

impl QueryReadBody {
    /// Splits the body into query and options.
    ///
    /// # Errors
    /// [`Code::BadRequest`] for an option that does not read.
    pub(super) fn split(self) -> Result<(graven_model::Query, ReadOptions)> {
        let from = match self.from {
            None => None,
            Some(FromField::Number(number)) => Some(From::Number(number)),
            Some(FromField::Text(text)) => Some(From::parse(&text)?),
        };
        let options = ReadOptions {
            from,
            position: self.position,
            direction: self.direction.as_deref().map(direction).transpose()?,
            limit: self.limit,
            bytes: self.bytes,
            cursor: self.cursor,
            filter: EventFilter {
                stream: pattern("stream", self.stream_prefix, self.stream_regex)?,
                event_type: pattern("type", self.type_prefix, self.type_regex)?,
                exclude_system: self.exclude_system,
            },
            base64: self.payload.as_deref().map(payload).transpose()?.unwrap_or(false),
            min_position: self.min_position,
        };
        Ok((self.query.into(), options))
    }
}

impl ReadOptions {
    /// Takes the options out of a query string.
    ///
    /// # Errors
    /// [`Code::BadRequest`] for an option that does not read.
    pub(super) fn from_query(params: &mut QueryParams) -> Result<ReadOptions> {
        let prefixes = |values: Vec<String>| -> Vec<Text> {
            values
                .iter()
                .flat_map(|value| value.split(','))
                .filter(|prefix| !prefix.is_empty())
                .map(Text::from)
                .collect()
        };
        Ok(ReadOptions {
            from: params.text("from")?.as_deref().map(From::parse).transpose()?,
            position: params.number("position")?,
            direction: params.text("direction")?.as_deref().map(direction).transpose()?,
            limit: params.number("limit")?,
            bytes: params.number("bytes")?,
            cursor: params.text("cursor")?,
            filter: EventFilter {
                stream: pattern(
                    "stream",
                    prefixes(params.all("stream_prefix")),
                    params.text("stream_regex")?.map(Text::from),
                )?,
                event_type: pattern(
                    "type",
                    prefixes(params.all("type_prefix")),
                    params.text("type_regex")?.map(Text::from),
                )?,
                exclude_system: params.flag("exclude_system")?,
            },
            base64: params.base64_payload()?,
            min_position: params.number("min_position")?,
        })
    }

    /// How many events are wanted in all, if the reader said so.
    ///
    /// # Errors
    /// [`Code::InvalidLimit`] for zero.
    pub(super) fn total(&self) -> Result<Option<u64>> {
        match self.limit {
            Some(0) => Err(limit_error("at least 1", 0)),
            other => Ok(other),
        }
    }

    /// The position of an event that the read has to see.
    pub(super) fn min_position(&self) -> Option<u64> {
        self.min_position
    }

    /// How payloads are written.
    pub(super) fn form(&self, one_line: bool) -> Form {
        Form { one_line, base64: self.base64 }
    }

    /// The request for one page.
    ///
    /// # Errors
    /// [`Code::InvalidLimit`], [`Code::InvalidCursor`], or [`Code::BadRequest`] for two places to begin.
    pub(super) fn page(self, selector: Selector) -> Result<ReadRequest> {
        let limit = match self.total()? {
            None => limits::PAGE_EVENTS_DEFAULT,
            Some(limit) => u32::try_from(limit)
                .ok()
                .filter(|limit| *limit <= limits::PAGE_EVENTS_MAX)
                .ok_or_else(|| limit_error(&format!("1 to {} a page", limits::PAGE_EVENTS_MAX), limit))?,
        };
        let bytes_max = match self.bytes {
            None => limits::PAGE_BYTES_DEFAULT,
            Some(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX).clamp(1, limits::PAGE_BYTES_MAX),
        };
        let mut request = self.stream_of_pages(selector)?;
        request.limit = limit;
        request.bytes_max = bytes_max;
        Ok(request)
    }

    /// The request for the first of all pages, whose bounds the server chooses.
    ///
    /// # Errors
    /// As [`ReadOptions::page`].
    pub(super) fn stream_of_pages(self, selector: Selector) -> Result<ReadRequest> {
        let direction = self.direction.unwrap_or_default();
        let start = self.start(&selector, direction)?;
        Ok(ReadRequest { start, direction, filter: self.filter, ..ReadRequest::new(selector) })
    }

    /// The request for the page after a stream's snapshot.
    ///
    /// # Errors
    /// [`Code::BadRequest`] for another place to begin, another direction and filters; as [`ReadOptions::page`].
    pub(super) fn after_snapshot(self, stream: StreamName) -> Result<FromSnapshotRequest> {
        let begins = self.from.is_some() || self.position.is_some() || self.cursor.is_some();
        if begins || self.direction.is_some() || !self.filter.is_empty() {
            return Err(Error::new(
                Code::BadRequest,
                "a read that begins with a snapshot goes on behind it, forwards",
            )
            .expected("neither from, position, cursor nor direction, and no filter"));
        }
        let page = self.page(Selector::Stream(stream.clone()))?;
        Ok(FromSnapshotRequest { stream, limit: page.limit, bytes_max: page.bytes_max })
    }

    /// Where a follower begins: after the last event it saw, if it says so, else as a read would. Followers begin
    /// *after* a place, reads *at* it.
    ///
    /// # Errors
    /// [`Code::BadRequest`] for an option that means nothing to a follower, and as [`ReadOptions::page`].
    pub(super) fn follow(
        self,
        selector: &Selector,
        last_event_id: Option<&str>,
    ) -> Result<(Start, EventFilter)> {
        if self.direction == Some(Direction::Backward) {
            return Err(wrong("direction", "forward, because an event stream has no end", "backward"));
        }
        if self.limit.is_some() || self.bytes.is_some() {
            return Err(Error::new(Code::BadRequest, "an event stream has no limit")
                .expected("neither limit nor bytes"));
        }
        if let Some(text) = last_event_id {
            let position = text.trim().parse().map_err(|_| wrong("Last-Event-ID", "a position", text))?;
            return Ok((Start::Position(Position(position)), self.filter));
        }
        let after = match self.start(selector, Direction::Forward)? {
            Start::Revision(Revision(at)) => {
                at.checked_sub(1).map_or(Start::Start, |at| Start::Revision(Revision(at)))
            }
            Start::Position(Position(at)) => {
                at.checked_sub(1).map_or(Start::Start, |at| Start::Position(Position(at)))
            }
            other => other,
        };
        Ok((after, self.filter))
    }

    fn start(&self, selector: &Selector, direction: Direction) -> Result<Start> {
        if self.from.is_some() && self.position.is_some() {
            return Err(
                Error::new(Code::BadRequest, "both from and position are given").expected("one of them")
            );
        }
        // A cursor wins, so that a client may repeat the request it began with.
        if let Some(cursor) = &self.cursor {
            return Cursor::decode(cursor)?.check(selector, direction);
        }
        if let Some(position) = self.position {
            return Ok(Start::Position(Position(position)));
        }
        Ok(match (self.from, direction) {
            (Some(from), _) => from.start(selector),
            (None, Direction::Forward) => Start::Start,
            (None, Direction::Backward) => Start::End,
        })
    }
}

/// The place that `from` names.
///
/// # Errors
/// [`Code::BadRequest`] if it does not read.
pub(super) fn start(from: &str, selector: &Selector) -> Result<Start> {
    Ok(From::parse(from)?.start(selector))
}

fn direction(text: &str) -> Result<Direction> {
    match text {
        "forward" => Ok(Direction::Forward),
        "backward" => Ok(Direction::Backward),
        other => Err(wrong("direction", "forward or backward", other)),
    }
}

/// Whether payloads are written as base64.
///
/// # Errors
/// [`Code::BadRequest`] for an unknown word.
pub(super) fn payload(text: &str) -> Result<bool> {
    match text {
        "json" => Ok(false),
        "base64" => Ok(true),
        other => Err(wrong("payload", "json or base64", other)),
    }
}

/// One side of a filter, out of its two ways to say it.
///
/// # Errors
/// [`Code::InvalidFilter`] for both.
pub(super) fn pattern(what: &str, prefixes: Vec<Text>, regex: Option<Text>) -> Result<Option<Pattern>> {
    match (prefixes.is_empty(), regex) {
        (true, None) => Ok(None),
        (false, None) => Ok(Some(Pattern::Prefixes(prefixes))),
        (true, Some(regex)) => Ok(Some(Pattern::Regex(regex))),
        (false, Some(_)) => {
            Err(Error::new(Code::InvalidFilter, format!("both {what}_prefix and {what}_regex are given"))
                .expected("one of them"))
        }
    }
}

fn limit_error(expected: &str, found: u64) -> Error {
    Error::new(Code::InvalidLimit, "limit is outside its bounds").expected(expected).found(found.to_string())
}

/// The reference to the next page: the same query with the cursor instead of the place it began at. Relative to the
/// path that was asked.
pub(super) fn next_link(query: Option<&str>, cursor: &str) -> String {
    let mut link = String::from("<?cursor=");
    link.push_str(cursor);
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split('=').next().unwrap_or_default();
        if matches!(name, "cursor" | "from" | "position" | "from_snapshot") {
            continue;
        }
        link.push('&');
        for (index, part) in pair.splitn(2, '=').enumerate() {
            if index > 0 {
                link.push('=');
            }
            // Decoded once already, so it decodes again.
            let decoded = query_params::decode(part).unwrap_or_default();
            query_params::encode(&mut link, &decoded);
        }
    }
    link.push_str(">; rel=\"next\"");
    link
}

#[cfg(test)]
mod tests;
