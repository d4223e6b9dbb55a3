use crate::support::{LOG_ID, ONE, founded, fresh_schema, settings};
use graven_engine::journal::laws::{self, Bench, Fault};
use graven_engine::journal::{Batch, Claim, Journal, Outcome, SharedJournal, Tail};
use graven_model::Result;
use graven_pgtest::{Cluster, Proxy, Way};
use graven_postgres::PostgresJournal;

struct OverALine {
    proxy: Proxy,
    schema: String,
}

impl Bench for OverALine {
    fn open(&mut self, _: u32) -> Box<dyn Journal> {
        Box::new(Claiming { journal: founded(settings(self.proxy.port(), &self.schema)), epoch: 0 })
    }

    fn open_beside(&mut self, epoch: u32) -> Option<Box<dyn Journal>> {
        Some(self.open(epoch))
    }

    /// For real: the line is cut before the first byte of the commit has reached the server, or before the first byte of
    /// its answer has reached the writer, which is sent when the transaction is over.
    fn fail_next(&mut self, fault: Fault) -> bool {
        let way = match fault {
            Fault::LostBefore => Way::ToServer,
            Fault::LostAfter => Way::ToClient,
        };
        self.proxy.cut_after_bytes(way, 0);
        true
    }

    fn log_id(&self) -> [u8; 16] {
        LOG_ID
    }
}

/// A writer that begins its epoch with its first batch of it.
struct Claiming {
    journal: PostgresJournal,
    epoch: u32,
}

impl Journal for Claiming {
    fn tail(&self) -> Tail {
        self.journal.tail()
    }

    fn commit(&mut self, batch: &Batch) -> Outcome {
        while self.epoch < batch.epoch {
            self.epoch = self.journal.look(0).expect("PostgreSQL runs").term.epoch;
            if self.epoch < batch.epoch {
                let claimed = self.journal.claim(ONE, "", Claim::TakeOver);
                self.epoch = claimed.expect("nobody else claims").epoch;
            }
        }
        self.journal.commit(batch)
    }

    fn read(&mut self, from: u64, bytes_max: usize) -> Result<Vec<Batch>> {
        self.journal.read(from, bytes_max)
    }

    fn trim(&mut self, before: u64) -> Result<()> {
        self.journal.trim(before)
    }
}

#[test]
fn the_journal_obeys_the_laws_over_a_line_that_is_cut() {
    laws::check(&mut || {
        Box::new(OverALine { proxy: Proxy::start(Cluster::shared().port()), schema: fresh_schema() })
    });
}
