use crate::support::{LOG_ID, ONE, founded, fresh_schema, settings, wait_until_quiet};
use graven_engine::journal::laws::{self, Bench, Fault, SharedBench};
use graven_engine::journal::{Claim, Journal, SharedJournal};
use graven_pgtest::{Cluster, Proxy, Way};
use graven_postgres::PostgresJournal;

struct OverALine {
    proxy: Proxy,
    schema: String,
}

impl OverALine {
    fn new() -> OverALine {
        OverALine { proxy: Proxy::start(Cluster::shared().port()), schema: fresh_schema() }
    }
}

impl Bench for OverALine {
    fn open(&mut self, epoch: u32) -> Box<dyn Journal> {
        let mut journal = founded(settings(self.proxy.port(), &self.schema));
        while journal.look(0).expect("PostgreSQL runs").term.epoch < epoch {
            journal.claim(ONE, "", Claim::TakeOver).expect("nobody else claims");
        }
        Box::new(journal)
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
        wait_until_quiet(&self.proxy);
        self.proxy.cut_after_bytes(way, 0);
        true
    }

    fn log_id(&self) -> [u8; 16] {
        LOG_ID
    }
}

impl SharedBench for OverALine {
    fn connect(&mut self) -> Box<dyn SharedJournal> {
        let settings = settings(self.proxy.port(), &self.schema);
        Box::new(PostgresJournal::open(settings).expect("PostgreSQL runs"))
    }

    /// What a standby that was promoted without them shows; `standby.rs` does it with one.
    fn lose_last(&mut self, batches: usize) -> bool {
        let schema = &self.schema;
        Cluster::shared().sql(&format!(
            "DELETE FROM {schema}.batches WHERE first_position IN (
                SELECT first_position FROM {schema}.batches ORDER BY first_position DESC LIMIT {batches})"
        ));
        true
    }

    fn cut(&mut self) -> bool {
        self.proxy.cut();
        true
    }
}

#[test]
fn the_journal_obeys_the_laws_over_a_line_that_is_cut() {
    laws::check(&mut || Box::new(OverALine::new()));
}

#[test]
fn the_journal_obeys_the_laws_of_those_that_nodes_share() {
    laws::check_shared(&mut || Box::new(OverALine::new()));
}
