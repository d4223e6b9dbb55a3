//! `graven tail`: follows events over Server-Sent Events and goes on where it was after a lost connection.

use super::client::{Call, Client, foreign};
use super::output::{Items, Output};
use super::problem;
use super::read::{COLUMNS, row};
use super::select::{Filter, Select, Selection};
use graven_model::{Code, Error, Result, limits};
use std::io::{BufRead, BufReader, Read as _};
use std::time::Duration;
use ureq::http::Method;

/// Arguments of `tail`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    select: Select,
    /// Where to begin: start, end (only what comes from now on), a revision or position, or an RFC 3339 time
    #[arg(long, default_value = "end")]
    from: String,
    /// Stop after this many events
    #[arg(long)]
    limit: Option<u64>,
    #[command(flatten)]
    filter: Filter,
}

/// Bytes of one line of the stream: the largest event in base64 with its names.
const LINE_BYTES_MAX: u64 = 2 * limits::IMPORT_LINE_BYTES_MAX as u64;

/// Follows until interrupted, or until the limit.
pub(crate) fn run(args: &Args, client: &Client, output: Output) -> anyhow::Result<()> {
    let selection = args.select.selection(&args.filter)?;
    let mut tail = Tail {
        items: output.items(COLUMNS),
        left: args.limit,
        from: args.from.clone(),
        last_id: None,
        connected: false,
    };
    if tail.from == "end" {
        tail.begin_at_the_end(client)?;
    }
    let mut pause = PAUSE_FIRST;
    while tail.left != Some(0) {
        let before = tail.last_id.clone();
        let error = match tail.follow(client, &selection) {
            Ok(()) => continue,
            Err(Stop::Lost(error)) => error,
            Err(Stop::Failed(error)) => return Err(error),
        };
        if !tail.connected || !error.code.entry().retryable {
            return Err(error.into());
        }
        if tail.last_id != before {
            pause = PAUSE_FIRST;
        }
        eprintln!("connection lost: {error}; trying again in {} ms", pause.as_millis());
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_LONGEST);
    }
    tail.items.end()
}

const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(5);

struct Tail {
    items: Items,
    left: Option<u64>,
    from: String,
    last_id: Option<String>,
    connected: bool,
}

enum Stop {
    /// The connection; another one may help.
    Lost(Error),
    /// Our own side.
    Failed(anyhow::Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Lost(error)
    }
}

impl Tail {
    /// Takes the end there is now for the place to begin, so that a connection lost before the first event comes does
    /// not move it.
    fn begin_at_the_end(&mut self, client: &Client) -> Result<()> {
        #[derive(serde::Deserialize)]
        struct Info {
            head: u64,
        }
        let answer = client.send(&Call::get("/v1/info"))?;
        let info: Info = serde_json::from_slice(&answer).map_err(|error| foreign(client.base(), error))?;
        match info.head.checked_sub(1) {
            Some(last) => self.last_id = Some(last.to_string()),
            None => self.from = "start".into(),
        }
        Ok(())
    }

    /// One connection: `Ok` when the limit is reached.
    fn follow(&mut self, client: &Client, selection: &Selection) -> Result<(), Stop> {
        let (target, body) = selection.request(&[("from", self.from.clone())]);
        let headers: Vec<_> = self.last_id.iter().map(|id| ("Last-Event-ID", id.clone())).collect();
        let call = Call {
            method: if body.is_some() { Method::POST } else { Method::GET },
            target: &target,
            headers: &headers,
            accept: "text/event-stream",
            body: body.as_deref().map(|body| ("application/json", body)),
        };
        let stream = client.open(&call)?;
        self.connected = true;
        let mut messages =
            Messages { lines: BufReader::with_capacity(64 << 10, stream.into_reader()), line: Vec::new() };
        while self.left != Some(0) {
            let message = messages.next(client.base())?;
            match message.event.as_str() {
                "event" => {
                    self.items.print(&[&message.data], row).map_err(Stop::Failed)?;
                    self.left = self.left.map(|left| left - 1);
                }
                "problem" => return Err(problem::to_error(0, message.data.as_bytes(), client.base()).into()),
                _ => {}
            }
            if message.id.is_some() {
                self.last_id = message.id;
            }
        }
        Ok(())
    }
}

/// One message of the stream.
#[derive(Debug, Default, PartialEq)]
struct Message {
    id: Option<String>,
    event: String,
    data: String,
}

/// Splits a stream into messages.
struct Messages<R> {
    lines: R,
    line: Vec<u8>,
}

impl<R: BufRead> Messages<R> {
    /// The next message; comments and empty ones are passed over.
    fn next(&mut self, base: &str) -> Result<Message> {
        let mut message = Message::default();
        let mut data_lines = 0u32;
        loop {
            self.line.clear();
            let read = (&mut self.lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line).map_err(
                |error| Error::new(Code::ConnectionFailed, format!("no more events from {base}: {error}")),
            )?;
            if read == 0 {
                return Err(Error::new(Code::ConnectionFailed, format!("{base} closed the connection")));
            }
            if !self.line.ends_with(b"\n") {
                return Err(foreign(base, "a line breaks off or is too long"));
            }
            let line = std::str::from_utf8(&self.line).map_err(|_| foreign(base, "it is not UTF-8"))?;
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                if message != Message::default() {
                    return Ok(message);
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => message.id = Some(value.to_owned()),
                "event" => value.clone_into(&mut message.event),
                "data" => {
                    if data_lines > 0 {
                        message.data.push('\n');
                    }
                    message.data.push_str(value);
                    data_lines += 1;
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_split_and_comments_passed_over() {
        let text =
            ": hello\n\nid: 4\nevent: event\ndata: {\"a\":\ndata: 1}\n\nevent:caught-up\r\nid:5\r\n\r\n";
        let mut messages = Messages { lines: text.as_bytes(), line: Vec::new() };
        let first = messages.next("http://h").unwrap();
        assert_eq!(
            first,
            Message { id: Some("4".into()), event: "event".into(), data: "{\"a\":\n1}".into() }
        );
        assert_eq!(messages.next("http://h").unwrap().event, "caught-up");
        assert_eq!(messages.next("http://h").unwrap_err().code, Code::ConnectionFailed);
    }
}
