//! Several servers that share a journal in PostgreSQL, each behind a line of its own that can be cut and held.

use crate::Dice;
use crate::server::Server;
use anyhow::{Result, bail};
use graven_client::Client;
use graven_model::store::EventStore;
use graven_pgtest::{Cluster, Proxy, Way};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The nodes of a run and what they stand on.
pub struct Nodes {
    binary: PathBuf,
    postgres: Cluster,
    nodes: Vec<Node>,
    /// How often each fault was brought about.
    counts: [u32; FAULTS.len()],
}

struct Node {
    server: Server,
    line: Proxy,
    data: PathBuf,
}

/// What can be made to go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// A node is killed and started again.
    Kill,
    /// A node is killed, its disk is lost, and it is started again.
    Wipe,
    /// PostgreSQL is killed and started again.
    KillPostgres,
    /// A node's connections to PostgreSQL are cut.
    Cut,
    /// They are cut in the middle of an answer or of a request.
    CutWithin,
    /// Nothing gets through to PostgreSQL for a while, and then all of it.
    Hold,
    /// A node takes over.
    TakeOver,
    /// A node takes over while another one's commits are held; they arrive afterwards.
    Zombie,
}

const FAULTS: [(Fault, &str); 8] = [
    (Fault::Kill, "kills"),
    (Fault::Wipe, "disks lost"),
    (Fault::KillPostgres, "kills of PostgreSQL"),
    (Fault::Cut, "cuts"),
    (Fault::CutWithin, "cuts within a message"),
    (Fault::Hold, "holds"),
    (Fault::TakeOver, "take-overs"),
    (Fault::Zombie, "take-overs from a writer that was held"),
];

/// Nodes have to hold the same after this long.
const SETTLING: Duration = Duration::from_secs(60);

impl Nodes {
    /// Starts PostgreSQL and so many nodes; the first one writes.
    ///
    /// # Errors
    /// If a server cannot be started.
    pub fn start(binary: &Path, dir: &Path, count: usize) -> Result<Nodes> {
        let postgres = Cluster::start();
        let mut nodes = Vec::new();
        for number in 0..count {
            let line = Proxy::start(postgres.port());
            let data = dir.join(format!("node-{number}"));
            // Nothing comes into the log by itself while the nodes are compared.
            let options = ["--journal", &Cluster::url_at(line.port()), "--set", "audit.seal_interval=0s"];
            let server = Server::start(binary, &data, &options.map(str::to_owned))?;
            nodes.push(Node { server, line, data });
        }
        Ok(Nodes { binary: binary.to_owned(), postgres, nodes, counts: Default::default() })
    }

    /// A client of each node.
    ///
    /// # Errors
    /// If one cannot be reached.
    pub async fn clients(&self) -> Result<Vec<Client>> {
        let mut clients = Vec::new();
        for node in &self.nodes {
            clients.push(Client::connect(&node.server.url()).await.map_err(anyhow::Error::new)?);
        }
        Ok(clients)
    }

    /// Brings one fault about, chosen by the dice, and mends it.
    ///
    /// # Errors
    /// If a node ended by itself or cannot be started again.
    pub async fn fail(&mut self, dice: &mut Dice) -> Result<()> {
        let which = dice.below(FAULTS.len() as u64) as usize;
        self.counts[which] += 1;
        let at = dice.below(self.nodes.len() as u64) as usize;
        let moment = Duration::from_millis(dice.below(1_500));
        match FAULTS[which].0 {
            Fault::Kill => {
                self.nodes[at].server.kill()?;
                tokio::time::sleep(moment).await;
                self.nodes[at].server.start_again()?;
            }
            Fault::Wipe => {
                let node = &mut self.nodes[at];
                node.server.kill()?;
                std::fs::remove_dir_all(&node.data)?;
                tokio::time::sleep(moment).await;
                node.server.start_again()?;
            }
            Fault::KillPostgres => {
                self.postgres.sigkill();
                tokio::time::sleep(moment).await;
                self.postgres.restart();
            }
            Fault::Cut => self.nodes[at].line.cut(),
            Fault::CutWithin => {
                let way = if dice.below(2) == 0 { Way::ToServer } else { Way::ToClient };
                self.nodes[at].line.cut_after_bytes(way, dice.below(2_000) as usize);
            }
            Fault::Hold => {
                self.nodes[at].line.pause(Way::ToServer);
                tokio::time::sleep(moment).await;
                self.nodes[at].line.resume(Way::ToServer);
            }
            Fault::TakeOver => self.take_over(at),
            Fault::Zombie => {
                let zombie = (at + 1) % self.nodes.len();
                self.nodes[zombie].line.pause(Way::ToServer);
                self.take_over(at);
                tokio::time::sleep(moment).await;
                self.nodes[zombie].line.resume(Way::ToServer);
            }
        }
        Ok(())
    }

    /// Whether it succeeds is the moment's business: the node may be starting, or the journal not there.
    fn take_over(&self, at: usize) {
        let url = self.nodes[at].server.url();
        let outcome = Command::new(&self.binary)
            .args(["journal", "takeover", "--yes", "--url", &url])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !outcome.is_ok_and(|status| status.success()) {
            println!("soak: node {at} could not take over just then");
        }
    }

    /// Waits until all nodes hold the same, which they have to once nobody appends; answers with what they do not.
    ///
    /// # Errors
    /// If a node cannot be asked.
    pub async fn settle(&self, clients: &[Client]) -> Result<Vec<String>> {
        let end = Instant::now() + SETTLING;
        let mut before = Vec::new();
        loop {
            let mut now = Vec::new();
            for client in clients {
                let info = client.info().await.map_err(anyhow::Error::new)?;
                now.push((info.head, info.root));
            }
            let same = now.iter().all(|node| *node == now[0]);
            if same && now == before {
                return Ok(Vec::new());
            }
            if Instant::now() > end {
                let heads: Vec<String> = now.iter().map(|(head, _)| head.to_string()).collect();
                return Ok(vec![format!("nodes: they do not come to hold the same: {}", heads.join(", "))]);
            }
            before = now;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// How often what went wrong.
    #[must_use]
    pub fn summary(&self) -> String {
        let words = FAULTS.iter().zip(self.counts).map(|((_, name), count)| format!("{count} {name}"));
        words.collect::<Vec<_>>().join(", ")
    }

    /// Events the journal holds, counted by PostgreSQL.
    ///
    /// # Errors
    /// If what it answers is no number.
    pub fn journal_events(&self) -> Result<u64> {
        let answer = self.postgres.sql("SELECT coalesce(max(end_position), 0) FROM graven.batches");
        match answer.trim().parse() {
            Ok(events) => Ok(events),
            Err(_) => bail!("PostgreSQL answers {answer:?}"),
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        // Before what they stand on.
        self.nodes.clear();
    }
}
