//! The database fails over, or a node loses its disk: what several nodes make of it.

mod cli_support;
mod nodes_support;
mod support;

use graven_client::Client;
use graven_client::model::*;
use graven_pgtest::{Cluster, PASSWORD, Proxy, Replication, USER, Way};
use nodes_support::{ended, graven, node, until_role};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use support::{PATIENCE, Server, wait_until};
use tempfile::TempDir;

/// Nodes of a journal that may move from one server to another.
struct Group {
    directory: TempDir,
    /// Of all servers.
    journal: String,
}

impl Group {
    /// Whose journal is on whichever of the servers at these ports of this machine can be written to.
    fn over(ports: &[u16]) -> Group {
        Group { directory: tempfile::tempdir().expect("a temporary directory"), journal: url_of(ports) }
    }

    fn data(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&self, name: &str, arguments: &[&str]) -> Server {
        self.start_over(&self.journal, name, arguments)
    }

    /// Starts a node that reaches the journal in its own way.
    fn start_over(&self, journal: &str, name: &str, arguments: &[&str]) -> Server {
        // Nothing comes into the log by itself: events are counted.
        let quiet = ["--set", "audit.checkpoint_interval=0", "--set", "audit.seal_interval=0"];
        Server::start_in(&self.data(name), &[&["--journal", journal], &quiet[..], arguments].concat())
    }

    /// Starts a node that ends by itself.
    fn refused(&self, name: &str) -> Output {
        let mut command = support::command();
        command.args(["serve", "--listen", "127.0.0.1:0", "--journal", &self.journal, "--data"]);
        command.arg(self.data(name)).output().expect("the binary starts")
    }
}

fn url_of(ports: &[u16]) -> String {
    let hosts: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!(
        "postgresql://{USER}:{PASSWORD}@{}/postgres?target_session_attrs=read-write&connect_timeout=2",
        hosts.join(",")
    )
}

fn info(server: &Server) -> Value {
    server.client().get("/v1/info").expect(200)
}

/// Waits until all hold the same log: its head and root.
#[track_caller]
fn assert_same_log(servers: &[&Server]) -> Value {
    wait_until("all have the same log", || {
        let infos: Vec<Value> = servers.iter().map(|server| info(server)).collect();
        let same = |info: &Value| (&info["head"], &info["root"]) == (&infos[0]["head"], &infos[0]["root"]);
        infos.iter().all(same).then(|| infos[0].clone())
    })
}

/// Appends so many events, one by one, and gives the position of the last.
fn append(server: &Server, count: u64) -> u64 {
    let client = server.client();
    (0..count).fold(0, |_, _| client.append_one("s", "T"))
}

/// Events that are read from a node.
fn count(server: &Server) -> usize {
    server.client().get("/v1/all?limit=10000").expect(200)["events"].as_array().expect("events").len()
}

/// Waits until a node is not ready, because the journal lost what it remembers, and holds it to what it has to do then.
fn assert_has_diverged(server: &Server, events: usize) {
    let client = server.client();
    let problem = wait_until("the node notices", || {
        let answer = client.get("/readyz");
        (answer.status != 200).then(|| answer.problem(409, "GRV-1508"))
    });
    assert!(!problem.to_string().contains(PASSWORD), "{problem}");
    let event = json!({"events": [{"type": "T"}]});
    client.post("/v1/streams/s", &event).problem(409, "GRV-1508");
    client.post("/v1/node/takeover", &json!({})).problem(409, "GRV-1508");
    let take_over = graven(&["--url", server.url(), "journal", "takeover", "--yes"]);
    ended(&take_over, 7, &["GRV-1508"]);
    // Reads go on.
    client.get("/livez").expect(200);
    assert_eq!(count(server), events);
    assert_eq!(client.get("/v1/streams/s?limit=1").expect(200)["events"].as_array().map(Vec::len), Some(1));
}

/// Nobody writes the journal, as far as the database knows.
fn wait_until_vacant(cluster: &Cluster) {
    wait_until("the writer's end is noticed", || {
        (cluster.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0").then_some(())
    });
}

#[test]
fn the_store_goes_on_with_a_promoted_synchronous_standby_and_nothing_is_lost() {
    const WRITERS: u64 = 3;
    let mut first = Cluster::start();
    let second = first.standby(Replication::Synchronous, first.port());
    let group = Group::over(&[first.port(), second.port()]);
    let writer = group.start("writer", &["--require-synchronous"]);
    let follower = group.start("follower", &["--follow"]);
    let id =
        |writer: u64, number: u64| EventId((u128::from(writer) << 64 | u128::from(number)).to_be_bytes());
    let stream = |writer: u64| StreamName::new(format!("writer-{writer}")).expect("a valid name");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let test = async {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged: Vec<_> = (0..WRITERS).map(|_| Arc::new(AtomicU64::new(0))).collect();
        let mut writers = Vec::new();
        for (writer_id, acknowledged) in (0..).zip(&acknowledged) {
            // At the writer, and through a follower that names it.
            let url = if writer_id == 0 { follower.url() } else { writer.url() };
            let client = Client::connect(url).await.unwrap();
            let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(acknowledged));
            writers.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let number = acknowledged.load(Ordering::Relaxed);
                    let event = NewEvent::json(id(writer_id, number), "Written", "{}");
                    let request = AppendRequest::to(stream(writer_id), Expected::Any, [event]);
                    let receipt = client.append(request).await.unwrap();
                    assert_eq!(receipt.streams[0].revision, Some(Revision(number)));
                    acknowledged.store(number + 1, Ordering::Relaxed);
                }
            }));
        }
        let more = async |what: &'static str| {
            let wanted: Vec<u64> =
                acknowledged.iter().map(|so_far| so_far.load(Ordering::Relaxed) + 20).collect();
            let reached =
                || acknowledged.iter().zip(&wanted).all(|(so_far, n)| so_far.load(Ordering::Relaxed) >= *n);
            tokio::task::block_in_place(|| wait_until(what, || reached().then_some(())));
        };
        more("every writer has appended").await;
        tokio::task::block_in_place(|| {
            first.sigkill();
            second.promote();
        });
        more("every writer goes on").await;
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.await.unwrap();
        }
        acknowledged.iter().map(|acknowledged| acknowledged.load(Ordering::Relaxed)).collect::<Vec<u64>>()
    };
    let acknowledged = runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.unwrap() });
    drop(runtime);

    let same = assert_same_log(&[&writer, &follower]);
    assert_eq!(same["head"], acknowledged.iter().sum::<u64>(), "each is there once");
    for server in [&writer, &follower] {
        let events = server.client().get("/v1/all?limit=10000").expect(200);
        for (writer, acknowledged) in (0..).zip(&acknowledged) {
            let stream = stream(writer).to_string();
            let events = events["events"].as_array().unwrap().iter();
            let ids: Vec<&Value> =
                events.filter(|event| event["stream"] == stream).map(|event| &event["id"]).collect();
            let wanted: Vec<Value> = (0..*acknowledged).map(|n| id(writer, n).to_string().into()).collect();
            assert!(ids.into_iter().eq(&wanted), "of writer {writer}");
        }
        wait_until("it is well", || {
            (server.client().get("/readyz").expect(200)["status"] == "ready").then_some(())
        });
    }
    // It never was another node's turn.
    assert_eq!(
        (&node(&writer.client())["role"], &node(&writer.client())["epoch"]),
        (&json!("writer"), &json!(1))
    );
    let last = writer.client().append_one("s", "T");
    follower.client().get(&format!("/v1/streams/s?min_position={last}")).expect(200);
    assert_same_log(&[&writer, &follower]);
    assert!(writer.stop().success() && follower.stop().success());
}

#[test]
fn nodes_that_remember_more_than_a_promoted_standby_refuse_appends_and_serve_reads() {
    let mut first = Cluster::start();
    let line = Proxy::start(first.port());
    let second = first.standby(Replication::Asynchronous, line.port());
    let group = Group::over(&[first.port(), second.port()]);
    let writer = group.start("writer", &[]);
    let follower = group.start("follower", &["--follow"]);
    let kept = append(&writer, 10);
    let at_standby = || second.sql("SELECT max(end_position) FROM graven.batches");
    wait_until("the standby has them", || (at_standby() == (kept + 1).to_string()).then_some(()));
    line.pause(Way::ToClient);
    let lost = append(&writer, 5);
    follower.client().get(&format!("/v1/all?min_position={lost}")).expect(200);
    first.sigkill();
    drop(line);
    second.promote();
    assert_eq!(at_standby(), (kept + 1).to_string(), "acknowledged commits are lost");

    // The writer learns it from an append, or before.
    let event = json!({"events": [{"type": "T"}]});
    writer.client().post("/v1/streams/s", &event).problem(409, "GRV-1508");
    for server in [&writer, &follower] {
        assert_has_diverged(server, 15);
    }
    assert_same_log(&[&writer, &follower]);
    assert_eq!(second.sql("SELECT epoch FROM graven.meta"), "1", "nobody has claimed it");
    for (name, server) in [("writer", writer), ("follower", follower)] {
        let log = server.log();
        assert_eq!(server.stop().code(), Some(7), "{log}");
        let said = ended(&group.refused(name), 7, &["GRV-1508"]);
        assert!(!said.contains(PASSWORD), "{said}");
    }

    // Whoever remembers nothing goes on with what is left, and what was lost stays refused.
    wait_until_vacant(&second);
    let third = group.start("third", &[]);
    assert_eq!((count(&third), &node(&third.client())["role"]), (10, &json!("writer")));
    append(&third, 10);
    for name in ["writer", "follower"] {
        ended(&group.refused(name), 7, &["GRV-1508"]);
    }
    assert!(third.stop().success());
}

#[test]
fn nodes_that_come_back_to_a_journal_that_went_back_and_on_serve_reads() {
    let mut first = Cluster::start();
    let line = Proxy::start(first.port());
    let second = first.standby(Replication::Asynchronous, line.port());
    // The nodes of before reach both servers over lines of their own.
    let lines = [Proxy::start(first.port()), Proxy::start(second.port())];
    let theirs = url_of(&lines.each_ref().map(Proxy::port));
    let group = Group::over(&[first.port(), second.port()]);
    let writer = group.start_over(&theirs, "writer", &[]);
    let follower = group.start_over(&theirs, "follower", &["--follow"]);
    let kept = writer.client().append_one("s", "T");
    let at_standby = || second.sql("SELECT max(end_position) FROM graven.batches");
    wait_until("the standby has it", || (at_standby() == (kept + 1).to_string()).then_some(()));
    line.pause(Way::ToClient);
    let lost = append(&writer, 5);
    follower.client().get(&format!("/v1/all?min_position={lost}")).expect(200);
    for line in &lines {
        line.pause(Way::ToServer);
    }
    first.sigkill();
    drop(line);
    second.promote();
    let third = group.start("third", &["--follow"]);
    ended(&graven(&["--url", third.url(), "journal", "takeover", "--yes"]), 0, &[third.url()]);
    append(&third, 10);
    for line in &lines {
        line.resume(Way::ToServer);
    }
    for server in [&writer, &follower] {
        assert_has_diverged(server, 6);
    }
    assert_eq!((count(&third), &node(&third.client())["role"]), (11, &json!("writer")));
    third.client().append_one("s", "T");
    assert_eq!((writer.stop().code(), follower.stop().code()), (Some(7), Some(7)));
}

#[test]
fn a_writer_whose_disk_is_lost_fetches_everything_and_writes_on() {
    let cluster = Cluster::start();
    let group = Group::over(&[cluster.port()]);
    let writer = group.start("writer", &[]);
    let follower = group.start("follower", &["--follow"]);
    let body = |number: u64| json!({"events": [{"type": "T", "data": {"n": number}}, {"type": "U"}]});
    let append_two = |server: &Server, number: u64| {
        let receipt =
            server.client().post(&format!("/v1/streams/s-{}", number % 7), &body(number)).expect(201);
        receipt["last_position"].as_u64().unwrap()
    };
    for number in 0..100 {
        append_two(&writer, number);
    }
    let before = assert_same_log(&[&writer, &follower]);
    writer.kill();
    std::fs::remove_dir_all(group.data("writer")).unwrap();
    wait_until_vacant(&cluster);
    let writer = group.start("writer", &[]);
    let standing = node(&writer.client());
    assert_eq!((&standing["role"], &standing["epoch"]), (&json!("writer"), &json!(2)));
    // Ready means that everything is there.
    let again = info(&writer);
    assert_eq!((&again["head"], &again["root"]), (&before["head"], &before["root"]));
    // In the middle of appends it goes the same way.
    for number in 100..150 {
        append_two(&writer, number);
    }
    writer.kill();
    std::fs::remove_dir_all(group.data("writer")).unwrap();
    follower.kill();
    wait_until_vacant(&cluster);
    let writer = group.start("writer", &[]);
    let follower = group.start("follower", &[]);
    let last = append_two(&writer, 150);
    assert_eq!(last, 301);
    assert_eq!(assert_same_log(&[&writer, &follower])["head"], 302);
    until_role(&follower, "follower");
    let empty = group.start("empty", &["--follow"]);
    assert_same_log(&[&writer, &follower, &empty]);
    for server in [writer, follower, empty] {
        assert!(server.stop().success());
    }
}

#[test]
fn an_import_goes_through_the_journal_and_every_node_exports_the_same() {
    let cluster = Cluster::start();
    let group = Group::over(&[cluster.port()]);
    let writer = group.start("writer", &[]);
    let follower = group.start("follower", &["--follow"]);
    let dir = group.directory.path();
    let loans = cli_support::file(dir, "loans.ndjson", cli_support::cloud_events(10_000, 300));
    let import = |server: &Server| cli_support::graven(&["--url", server.url(), "import", &loans]);
    // The writer is found through whichever node is asked.
    let imported = import(&follower).ok();
    assert!(imported.err.starts_with("imported 10,000 events into 300 streams"), "{}", imported.err);
    let again = import(&writer).ok();
    assert!(again.err.starts_with("imported 0 events: all 10,000 were there already"), "{}", again.err);
    assert_eq!(assert_same_log(&[&writer, &follower])["head"], 10_000);
    let export = |server: &Server| cli_support::graven(&["--url", server.url(), "export"]).ok().out;
    let (at_writer, at_follower) = (export(&writer), export(&follower));
    assert_eq!(at_writer.lines().count(), 10_000);
    assert!(at_writer == at_follower, "the same events, to the last byte");
    let stats = |server: &Server| {
        let stats: Value =
            serde_json::from_str(&cli_support::graven(&["--url", server.url(), "stats"]).ok().out).unwrap();
        (stats["user"].clone(), stats["types"].clone())
    };
    assert_eq!(stats(&writer), stats(&follower));
    // From the journal alone, too.
    assert!(writer.stop().success() && follower.stop().success());
    wait_until_vacant(&cluster);
    let empty = group.start("empty", &[]);
    assert!(export(&empty) == at_writer, "what the journal holds is the whole store");
}
