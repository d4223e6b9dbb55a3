//! Sequential replay: one thread walks the whole log in this process, frame by frame, as a projection or a copy would. And
//! its verification, which hashes all of it again.

use crate::load::fill;
use crate::run::{Runner, count};
use crate::targets::graven_process::GravenProcess;
use anyhow::{Context, Result, ensure};
use graven_engine::Store;
use graven_engine::audit::VerifyOptions;
use graven_model::frame::{self, Header, Record, RecordHead};
use graven_model::{Position, limits};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::Instant;

/// How the measure of a walk begins that compares the checksums of frames and of their list of records, and takes no
/// record apart.
pub(crate) const HEADS: &str = "Replay, one thread, heads";
/// How the measure of a walk begins that compares every checksum and decodes every event where it lies.
pub(crate) const EVENTS: &str = "Replay, one thread, events";

/// How the measure begins of one thread that reads and hashes everything again, payloads too, and compares it with every
/// hash that is stored.
pub(crate) const VERIFY: &str = "Verification, one thread";

const TARGET: &str = "Graven, library";

/// Walks over whole frames, back to back, and counts their events; `None` if they are damaged.
type Walk = fn(&[u8]) -> Option<u64>;

impl Runner {
    /// Walks the store that the reads were measured on, or one filled for this.
    ///
    /// # Errors
    /// The first failure.
    pub(crate) async fn replay(&mut self) -> Result<()> {
        if !self.is_asked_for(TARGET) {
            return Ok(());
        }
        let library = GravenProcess::open(&self.dir.join("filled").join("library").join("store"))?;
        if library.store().head() == Position(0) {
            eprintln!("filling {TARGET} with {} events", self.scale.filled);
            fill(&library, 0, self.scale.filled).await?;
        }
        let measures: [fn(&Store) -> Result<f64>; 3] =
            [|store| replay(store, heads), |store| replay(store, events), verify];
        let mut rates = [Vec::new(), Vec::new(), Vec::new()];
        for round in 0..=self.scale.rounds {
            for which in if round.is_multiple_of(2) { [0, 1, 2] } else { [2, 1, 0] } {
                let rate = measures[which](library.store())?;
                // The first round only brings the log into memory.
                if round > 0 {
                    rates[which].push(rate);
                }
            }
        }
        let many = count(self.scale.filled);
        let title = format!("{HEADS}: {many} events, checksums of frames and of their list of records");
        self.fact(&title, TARGET, &rates[0], "events/s");
        let title = format!("{EVENTS}: {many} events, every checksum, every event decoded where it lies");
        self.fact(&title, TARGET, &rates[1], "events/s");
        let title = format!("{VERIFY}: {many} events, everything read, hashed again and compared");
        self.fact(&title, TARGET, &rates[2], "events/s");
        Ok(())
    }
}

/// Walks the whole log; returns the events of a second.
fn replay(store: &Store, walk: Walk) -> Result<f64> {
    let (begun, mut count, mut next) = (Instant::now(), 0, Position(0));
    loop {
        let frames = store.read_frames(next, limits::PAGE_BYTES_DEFAULT)?;
        if frames.bytes.is_empty() {
            break;
        }
        next = frames.next;
        count += walk(&frames.bytes).with_context(|| format!("the frames before {next} are damaged"))?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    ensure!(count == store.head().0, "{count} of {} events were found", store.head());
    Ok(count as f64 / seconds)
}

/// Verifies the whole log; returns the events of a second.
fn verify(store: &Store) -> Result<f64> {
    let begun = Instant::now();
    let report = store.verify(&VerifyOptions::default(), &mut |_| ControlFlow::Continue(()))?;
    let seconds = begun.elapsed().as_secs_f64();
    ensure!(report.first.is_none(), "the log is not what was stored: {report:?}");
    ensure!(report.events == store.head().0, "{} of {} events were verified", report.events, store.head());
    Ok(report.events as f64 / seconds)
}

fn heads(frames: &[u8]) -> Option<u64> {
    walk(frames, |_, _| Some(()))
}

fn events(frames: &[u8]) -> Option<u64> {
    walk(frames, |header, mut body| {
        for position in header.first..header.end() {
            let head = RecordHead::decode(body)?;
            let (whole, rest) = body.split_at_checked(head.total())?;
            let record = &whole[frame::RECORD_HEAD_BYTES..];
            if !frame::record_intact(head, position, record) {
                return None;
            }
            black_box(Record::decode(record)?.event(position, header.commit_time));
            body = rest;
        }
        Some(())
    })
}

/// Hands on every frame whose own checksum and that of its records' lengths and checksums hold.
fn walk(frames: &[u8], mut each: impl FnMut(&Header, &[u8]) -> Option<()>) -> Option<u64> {
    let (mut rest, mut count) = (frames, 0);
    while !rest.is_empty() {
        let header = Header::decode(rest)?;
        let (whole, after) = rest.split_at_checked(header.length as usize)?;
        let body = &whole[frame::HEADER_BYTES..];
        if frame::body_crc(body, header.count)? != header.body_crc {
            return None;
        }
        each(&header, body)?;
        count += u64::from(header.count);
        rest = after;
    }
    Some(count)
}
