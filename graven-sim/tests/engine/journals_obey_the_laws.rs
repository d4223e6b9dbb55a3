use graven_engine::Options;
use graven_engine::journal::laws::{self, Bench, Fault as Lost, SharedBench};
use graven_engine::journal::{Claim, Journal, SharedJournal, open_alone};
use graven_sim::SimMachine;
use graven_sim::disk::{Call, Fault, Trouble};
use graven_sim::journal::{JournalServer, Line};
use std::path::Path;

const LOG_ID: [u8; 16] = [9; 16];

struct OverALine(JournalServer);

impl Bench for OverALine {
    fn open(&mut self, epoch: u32) -> Box<dyn Journal> {
        let mut journal = self.0.connect();
        while journal.look(0).unwrap().term.epoch < epoch {
            journal.claim([1; 16], "", Claim::TakeOver).unwrap();
        }
        Box::new(journal)
    }

    fn open_beside(&mut self, epoch: u32) -> Option<Box<dyn Journal>> {
        Some(self.open(epoch))
    }

    fn fail_next(&mut self, fault: Lost) -> bool {
        self.0.plan([match fault {
            Lost::LostBefore => Line::LostBefore,
            Lost::LostAfter => Line::LostAfter,
        }]);
        true
    }

    fn log_id(&self) -> [u8; 16] {
        LOG_ID
    }
}

impl SharedBench for OverALine {
    fn connect(&mut self) -> Box<dyn SharedJournal> {
        Box::new(self.0.connect())
    }

    fn lose_last(&mut self, batches: usize) -> bool {
        self.0.lose_last(batches);
        true
    }

    fn cut(&mut self) -> bool {
        self.0.cut();
        true
    }
}

#[test]
fn the_simulated_journal_obeys_the_laws() {
    laws::check(&mut || Box::new(OverALine(JournalServer::new(LOG_ID))));
}

#[test]
fn the_simulated_journal_obeys_the_laws_of_those_that_nodes_share() {
    laws::check_shared(&mut || Box::new(OverALine(JournalServer::new(LOG_ID))));
}

/// The local journal on a machine that loses power before every opening.
struct OnADisk {
    machine: SimMachine,
    seed: u64,
}

impl Bench for OnADisk {
    fn open(&mut self, _: u32) -> Box<dyn Journal> {
        self.seed += 1;
        self.machine = self.machine.crash(self.seed);
        let options = Options { env: self.machine.env(), ..Options::small() };
        open_alone(Path::new("/data/log"), LOG_ID, &options).unwrap()
    }

    fn open_beside(&mut self, _: u32) -> Option<Box<dyn Journal>> {
        None
    }

    fn fail_next(&mut self, fault: Lost) -> bool {
        self.machine.disk.inject(match fault {
            Lost::LostBefore => Fault::eio(Call::Write).with(Trouble::Refused),
            Lost::LostAfter => Fault::eio(Call::Sync).with(Trouble::Unanswered),
        });
        true
    }

    fn log_id(&self) -> [u8; 16] {
        LOG_ID
    }
}

#[test]
fn the_local_journal_obeys_the_laws_on_a_disk_that_loses_power() {
    for seed in crate::support::seeds(20) {
        laws::check(&mut || Box::new(OnADisk { machine: SimMachine::new(seed), seed: seed * 1_000 }));
    }
}
