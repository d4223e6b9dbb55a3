//! Backups of nodes that share a journal, and journals made of backups.

mod nodes_support;
mod support;

use nodes_support::{Nodes, ended, graven, node};
use support::Server;

#[test]
fn a_store_moves_into_a_journal_by_its_backup_and_nodes_go_on_with_it() {
    let nodes = Nodes::new();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (backup, copy) = (path("backup"), path("copy"));
    let single = Server::start();
    let client = single.client();
    for _ in 0..20 {
        client.append_one("s", "T");
    }
    let info = client.get("/v1/info").expect(200);
    ended(&graven(&["--url", single.url(), "backup", &backup]), 0, &[]);
    drop(single);

    let url = nodes.cluster.url();
    let said = ended(&graven(&["restore", &backup, &copy, "--journal", &url]), 0, &["restored 20 events"]);
    assert!(!said.contains(graven_pgtest::PASSWORD), "{said}");
    // As after one that was interrupted: into another directory; the journal takes what it has not.
    ended(&graven(&["restore", &backup, &copy, "--journal", &url]), 2, &["is not empty"]);
    ended(&graven(&["restore", &backup, &path("second"), "--journal", &url]), 0, &["restored 20 events"]);
    let doctor = || {
        let mut doctor = std::process::Command::new(support::GRAVEN);
        doctor.args(["doctor", "--data", &copy, "--url", "http://127.0.0.1:9"]);
        doctor.env("GRAVEN_JOURNAL_URL", &url).output().unwrap()
    };
    ended(&doctor(), 0, &["journal", "synchronous_standby_names"]);

    // Neither seals nor keys: the log ends where the test says.
    let quiet = ["--set", "audit.seal_interval=0", "--set", "audit.checkpoint_interval=0"];
    let writer = Server::start_in(copy.as_ref(), &[&["--journal", &url], &quiet[..]].concat());
    let other = nodes.start("other", &quiet);
    assert_eq!(
        (&node(&writer.client())["role"], &node(&other.client())["role"]),
        (&"writer".into(), &"follower".into())
    );
    let last = writer.client().append_one("s", "T");
    assert_eq!(last, 20);
    other.client().get(&format!("/v1/all?min_position={last}")).expect(200);
    let (one, two) =
        (writer.client().get("/v1/info").expect(200), other.client().get("/v1/info").expect(200));
    assert_eq!((&one["log_id"], &one["root"]), (&info["log_id"], &two["root"]));

    // A backup of a follower is one of the log; the journal holds more than the first one by now.
    let of_follower = path("of-follower");
    ended(&graven(&["--url", other.url(), "backup", &of_follower]), 0, &[]);
    ended(&graven(&["restore", &of_follower, "--verify-only"]), 0, &["verified 21 events"]);
    let again = graven(&["restore", &backup, &path("again"), "--journal", &url]);
    ended(&again, 6, &["GRV-1405"]);
    assert!(writer.stop().success() && other.stop().success());
    let again = graven(&["restore", &backup, &path("once-more"), "--journal", &url]);
    ended(&again, 7, &["GRV-1508"]);
    // What a node has in its directory is as good as a backup: out of it comes another journal.
    let arguments = ["restore", &copy, &path("saved"), "--journal", &url, "--journal-schema", "saved"];
    let root = one["root"].as_str().unwrap();
    ended(&graven(&arguments), 0, &["restored 21 events", root]);
    let arguments = [&["--journal", &url, "--journal-schema", "saved"], &quiet[..]].concat();
    let saved = Server::start_in(path("saved").as_ref(), &arguments);
    assert_eq!(saved.client().get("/v1/info").expect(200)["log_id"], one["log_id"]);
    // A store whose journal is its own log is no node, and a node's copy is no such store.
    let refused = nodes.refused("other", &[]);
    assert_ne!(refused.status.code(), Some(0));
    let single = Server::start();
    let data = single.data().to_owned();
    let directory = single.kill();
    let url = nodes.cluster.url();
    let mut command = std::process::Command::new(support::GRAVEN);
    let refused =
        command.args(["serve", "--listen", "127.0.0.1:0", "--journal", &url, "--data"]).arg(&data).output();
    ended(&refused.unwrap(), 1, &["GRV-1506", "its own log"]);
    drop(directory);
}
