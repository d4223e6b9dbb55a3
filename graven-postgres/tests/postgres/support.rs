//! Journals and batches for tests.

use bytes::Bytes;
use graven_engine::journal::{Batch, Claim, Journal, Outcome, SharedJournal, Tail};
use graven_engine::replica::LogIdentity;
use graven_model::{Code, EventId, Timestamp};
use graven_pgtest::{Cluster, Proxy, Way, wait_until};
use graven_postgres::{PostgresJournal, Settings};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub(crate) const LOG_ID: [u8; 16] = [9; 16];
pub(crate) const ONE: [u8; 16] = [1; 16];
pub(crate) const TWO: [u8; 16] = [2; 16];

/// A schema nobody else has.
pub(crate) fn fresh_schema() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn identity() -> LogIdentity {
    LogIdentity {
        log_id: EventId(LOG_ID),
        origin: "test.example/log".to_owned(),
        created_at: Timestamp::from_micros(1_234_567),
    }
}

/// Settings for a port of this machine: a cluster's or a proxy's.
pub(crate) fn settings(port: u16, schema: &str) -> Settings {
    Settings { schema: schema.to_owned(), ..Settings::new(Cluster::url_at(port)) }
}

/// How long a call of a hasty journal may take: long enough for a busy machine, nearly always.
pub(crate) const HASTY: Duration = Duration::from_secs(1);

/// The same, without much patience.
pub(crate) fn hasty(port: u16, schema: &str) -> Settings {
    Settings { connect_timeout: HASTY, call_timeout: HASTY, ..settings(port, schema) }
}

/// Waits until what was said over a line to the shared cluster is answered. A writer does not wait for the answer to what
/// it tells the others, and that must not be taken for a commit's.
pub(crate) fn wait_until_quiet(line: &Proxy) {
    wait_until("nothing passes any more", || {
        let before = line.passed(Way::ToClient);
        // What the server has to say to others it says before.
        Cluster::shared().sql("SELECT 1");
        (line.passed(Way::ToClient) == before).then_some(())
    });
}

/// A journal of the log of these tests.
pub(crate) fn founded(settings: Settings) -> PostgresJournal {
    // A hasty one may be too hasty for a machine that does much else.
    wait_until("a journal is founded", || {
        let opened = PostgresJournal::open(settings.clone());
        let founded = opened.and_then(|mut journal| journal.found(&identity()).map(|_| journal));
        match founded {
            Err(error) if error.code == Code::JournalUnreachable => None,
            founded => Some(founded.expect("a journal can be founded")),
        }
    })
}

/// A journal that is claimed, and what comes next in it.
pub(crate) fn claimed(settings: Settings) -> (PostgresJournal, Maker) {
    let mut journal = founded(settings);
    let term = journal.claim(ONE, "http://one", Claim::TakeOver).expect("a journal can be claimed");
    let maker = Maker::after(journal.tail(), term.epoch);
    (journal, maker)
}

/// Makes batches that follow one another. What is in them is nothing to the journal.
pub(crate) struct Maker {
    pub(crate) tail: Tail,
    pub(crate) epoch: u32,
    number: u64,
}

impl Maker {
    pub(crate) fn after(tail: Tail, epoch: u32) -> Maker {
        Maker { tail, epoch, number: 0 }
    }

    pub(crate) fn batch(&mut self, bytes: usize) -> Batch {
        self.number += 1;
        let expected = self.tail;
        let mut frames = vec![0_u8; bytes];
        let mut state = expected.checksum ^ 0x9e37_79b9;
        for byte in &mut frames {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
        self.tail = Tail { position: expected.position + 1 + self.number % 3, checksum: state };
        Batch {
            expected,
            tail: self.tail,
            epoch: self.epoch,
            writer: ONE,
            number: self.number,
            frames: Bytes::from(frames),
        }
    }
}

pub(crate) fn append(journal: &mut dyn Journal, maker: &mut Maker, bytes: usize) -> Batch {
    let batch = maker.batch(bytes);
    assert_eq!(journal.commit(&batch), Outcome::Appended(batch.tail));
    batch
}

/// Everything in a journal from a position on.
pub(crate) fn all(journal: &mut dyn Journal, from: u64) -> Vec<Batch> {
    let mut all: Vec<Batch> = Vec::new();
    loop {
        let at = all.last().map_or(from, |last| last.tail.position);
        let next = journal.read(at, 1 << 20).expect("the journal can be read");
        if next.is_empty() {
            return all;
        }
        all.extend(next);
    }
}
