//! Paged reads: one page after the other by cursor.

use super::client::{Call, Client, foreign};
use super::select::Selection;
use graven_model::{Error, Result, limits};
use serde::Deserialize;
use serde_json::value::RawValue;
use ureq::http::Method;

/// A paged read of a server.
pub(crate) struct Pages<'c> {
    client: &'c Client,
    selection: Selection,
    cursor: Option<String>,
    left: Option<u64>,
    page_events: u64,
    done: bool,
}

/// The text of one page.
pub(crate) struct PageText(String, String);

/// The parts of a page, borrowed from its text.
#[derive(Deserialize)]
pub(crate) struct PageParts<'a> {
    /// The JSON of each event.
    #[serde(borrow)]
    pub(crate) events: Vec<&'a RawValue>,
    /// Events in the log when the page was read.
    pub(crate) head: u64,
    next: Option<String>,
}

impl PageText {
    /// Splits the page into events.
    ///
    /// # Errors
    /// If it is not a page.
    pub(crate) fn parts(&self) -> Result<PageParts<'_>> {
        serde_json::from_str(&self.0).map_err(|error| foreign(&self.1, error))
    }
}

impl<'c> Pages<'c> {
    /// A read of at most `limit` events; `None` = to the end.
    pub(crate) fn new(client: &'c Client, selection: Selection, limit: Option<u64>) -> Pages<'c> {
        Pages { client, selection, cursor: None, left: limit, page_events: 1_000, done: limit == Some(0) }
    }

    /// The same read with as many events a page as there may be.
    pub(crate) fn large(mut self) -> Self {
        self.page_events = u64::from(limits::PAGE_EVENTS_MAX);
        self
    }

    /// The next page, which may be empty; `None` at the end.
    ///
    /// # Errors
    /// Those of the server and the connection; the call may be repeated.
    pub(crate) fn next(&mut self) -> Result<Option<PageText>> {
        if self.done {
            return Ok(None);
        }
        let limit = self.left.map_or(self.page_events, |left| left.min(self.page_events));
        let mut more = vec![("limit", limit.to_string())];
        match (&self.cursor, &self.selection.from) {
            (Some(cursor), _) => more.push(("cursor", cursor.clone())),
            (None, Some(from)) => more.push(("from", from.clone())),
            (None, None) => {}
        }
        let (target, body) = self.selection.request(&more);
        let call = match &body {
            None => Call::get(&target),
            Some(body) => Call::with_body(Method::POST, &target, "application/json", body),
        };
        let page = PageText(self.client.send_text(&call)?, self.client.base().to_owned());
        let parts = page.parts()?;
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(parts.events.len() as u64);
        }
        self.done = parts.next.is_none() || self.left == Some(0);
        self.cursor = parts.next;
        Ok(Some(page))
    }
}

/// Repeats what failed for a passing reason, with growing pauses, for at most `patience`.
///
/// # Errors
/// The last one, or at once one that repeating does not cure.
pub(crate) fn with_retries<T>(
    patience: std::time::Duration,
    mut note: impl FnMut(&Error),
    mut attempt: impl FnMut() -> Result<T>,
) -> Result<T> {
    let begun = std::time::Instant::now();
    let mut pause = std::time::Duration::from_millis(100);
    loop {
        let error = match attempt() {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if !error.code.entry().retryable || begun.elapsed() + pause > patience {
            return Err(error);
        }
        note(&error);
        std::thread::sleep(pause);
        pause = (pause * 2).min(std::time::Duration::from_secs(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use graven_model::Code;
    use std::time::Duration;

    #[test]
    fn only_passing_failures_are_repeated() {
        let mut calls = 0;
        let mut fail_once = |code| {
            calls += 1;
            if calls == 1 { Err(Error::new(code, "x")) } else { Ok(calls) }
        };
        assert_eq!(with_retries(Duration::from_secs(9), |_| (), || fail_once(Code::Overloaded)).unwrap(), 2);
        let once =
            with_retries(Duration::from_secs(9), |_| (), || Err::<(), _>(Error::new(Code::BadRequest, "x")));
        assert_eq!(once.unwrap_err().code, Code::BadRequest);
        let late = with_retries(Duration::ZERO, |_| (), || Err::<(), _>(Error::new(Code::Overloaded, "x")));
        assert_eq!(late.unwrap_err().code, Code::Overloaded);
    }
}
