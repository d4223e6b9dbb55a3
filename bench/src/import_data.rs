//! A file of CloudEvents as a lender's would be: many applications at a time, each a stream of some twenty events of
//! the types of a loan process, some 260 bytes a line.

use crate::events::{mix, uuid_text};
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Applications that are worked on at the same time.
const OPEN: usize = 400;
/// Events of an application, on average.
const EVENTS: u64 = 20;

const TYPES: [&str; 12] = [
    "A_SUBMITTED",
    "A_PARTLYSUBMITTED",
    "A_PREACCEPTED",
    "W_Completeren aanvraag",
    "A_ACCEPTED",
    "O_SELECTED",
    "A_FINALIZED",
    "O_CREATED",
    "O_SENT",
    "W_Nabellen offertes",
    "O_SENT_BACK",
    "A_APPROVED",
];

/// Writes this many events; returns the file's bytes.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn write(path: &Path, events: u64) -> Result<u64> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let mut open: Vec<(u64, usize)> = (0..OPEN as u64).map(|number| (number, 0)).collect();
    let mut next = OPEN as u64;
    for number in 0..events {
        let random = mix(number);
        let slot = &mut open[usize::try_from(random % OPEN as u64).unwrap_or_default()];
        let (application, step) = *slot;
        *slot = (application, step + 1);
        if (random >> 32).is_multiple_of(EVENTS) {
            *slot = (next, 0);
            next += 1;
        }
        write_event(&mut out, number, application, step).context("cannot write events")?;
    }
    out.into_inner().context("cannot write events")?.sync_all().context("cannot flush events")?;
    Ok(path.metadata()?.len())
}

fn write_event(out: &mut impl Write, number: u64, application: u64, step: usize) -> std::io::Result<()> {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&mix(number | 1 << 63).to_be_bytes());
    id[8..].copy_from_slice(&mix(!number).to_be_bytes());
    let random = mix(application ^ step as u64);
    let kind = TYPES[step.min(3 + step % (TYPES.len() - 3))];
    write!(
        out,
        r#"{{"specversion":"1.0","id":"{}","source":"urn:loan","type":"{kind}","subject":"loan-{}","#,
        uuid_text(&id),
        173_688 + application,
    )?;
    let (day, hour, minute, second) = (1 + number / 40_000 % 28, random % 24, random % 60, random % 59);
    let milli = random % 1_000;
    write!(out, r#""time":"2011-10-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z","#)?;
    write!(out, r#""datacontenttype":"application/json","data":{{"resource":"{}","#, 100 + random % 900)?;
    write!(out, r#""transition":"COMPLETE""#)?;
    if step == 0 {
        write!(out, r#","case":{{"AMOUNT_REQ":"{}"}}"#, 1_000 * (random % 50))?;
    }
    out.write_all(b"}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use graven_model::cloudevents;
    use std::collections::HashSet;

    #[test]
    fn every_line_is_a_cloudevent_with_an_id_of_its_own() {
        let path = std::env::temp_dir().join(format!("graven-bench-import-{}", std::process::id()));
        let bytes = write(&path, 5_000).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text.len() as u64, bytes);
        let mut ids = HashSet::new();
        for line in text.lines() {
            let line = bytes::Bytes::copy_from_slice(line.as_bytes());
            let event = cloudevents::parse(&line, &mut cloudevents::Interner::default());
            assert!(event.is_ok(), "{line:?}");
            let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
            assert!(ids.insert(value["id"].to_string()));
        }
        assert_eq!(ids.len(), 5_000);
    }
}
