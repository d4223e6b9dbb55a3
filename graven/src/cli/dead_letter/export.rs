//! `graven dead-letter export`: dead letters with their events, one a line.

use super::filter::Filter;
use crate::cli::client::{Call, Client, foreign, target};
use crate::cli::export::sink::Sink;
use crate::cli::problem;
use crate::config::units::show_count;
use graven_model::{Code, Error, limits};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io::{BufRead, BufReader, Read as _};

/// Arguments of `dead-letter export`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to write: .gz and .zst are packed; - for standard output
    #[arg(default_value = "-")]
    file: String,
    #[command(flatten)]
    filter: Filter,
}

/// Bytes of one line: the largest event in base64, with what failed.
const LINE_BYTES_MAX: u64 = 2 * limits::IMPORT_LINE_BYTES_MAX as u64;

/// The last line of an answer that broke off.
#[derive(Deserialize)]
struct Broken<'a> {
    #[serde(borrow)]
    error: &'a RawValue,
}

/// Runs an export.
pub(crate) fn run(args: &Args, client: &Client) -> anyhow::Result<()> {
    let path = target("/v1/dead-letters/export", &args.filter.parameters());
    let body = client.open(&Call { accept: "application/x-ndjson", ..Call::get(&path) })?;
    let mut lines = BufReader::with_capacity(64 << 10, body.into_reader());
    let mut sink = Sink::create(&args.file)?;
    let mut line = Vec::new();
    let mut letters = 0u64;
    loop {
        line.clear();
        let read = (&mut lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        if read.map_err(|error| broken_off(client, error))? == 0 {
            break;
        }
        if !line.ends_with(b"\n") {
            return Err(foreign(client.base(), "a line breaks off or is too long").into());
        }
        if line.starts_with(b"{\"error\":") {
            let Broken { error } =
                serde_json::from_slice(&line).map_err(|error| foreign(client.base(), error))?;
            return Err(problem::to_error(0, error.get().as_bytes(), client.base()).into());
        }
        sink.write(&line)?;
        letters += 1;
    }
    sink.finish()?;
    let place = if args.file == "-" { String::new() } else { format!(" to {}", args.file) };
    eprintln!("exported {} dead letters{place}", show_count(letters));
    Ok(())
}

fn broken_off(client: &Client, error: std::io::Error) -> Error {
    Error::new(Code::ConnectionFailed, format!("the export from {} broke off: {error}", client.base()))
}
