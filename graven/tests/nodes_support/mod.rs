//! What the tests of several nodes share: a real PostgreSQL, and nodes of the real binary that share a journal in it.
#![allow(dead_code, reason = "each test file uses a part")]

use crate::support::{Client, GRAVEN, Server, wait_until};
use graven_pgtest::Cluster;
use serde_json::Value;
use std::process::{Command, Output};
use tempfile::TempDir;

/// Nodes of one journal, each in a directory of its own.
pub(crate) struct Nodes {
    pub(crate) cluster: Cluster,
    directory: TempDir,
}

impl Nodes {
    /// A journal without nodes.
    pub(crate) fn new() -> Nodes {
        Nodes { cluster: Cluster::start(), directory: tempfile::tempdir().expect("a temporary directory") }
    }

    /// Starts a node. Without arguments it writes if nobody else does.
    pub(crate) fn start(&self, name: &str, arguments: &[&str]) -> Server {
        let url = self.cluster.url();
        let arguments = [&["--journal", &url], arguments].concat();
        Server::start_in(&self.directory.path().join(name), &arguments)
    }

    /// Starts a node that is refused.
    pub(crate) fn refused(&self, name: &str, arguments: &[&str]) -> Output {
        let data = self.directory.path().join(name);
        let mut command = Command::new(GRAVEN);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).args(arguments);
        command.output().expect("the binary starts")
    }
}

/// What a node says of itself.
pub(crate) fn node(client: &Client) -> Value {
    client.get("/v1/node").expect(200)
}

/// Waits until a node has a part.
pub(crate) fn until_role(server: &Server, role: &str) -> Value {
    let client = server.client();
    wait_until(&format!("the node is a {role}"), || {
        // While its store is opened again connections may be closed.
        let answer = client.try_send("GET", "/v1/node", &[], None).ok()?;
        let node = answer.expect(200);
        (node["role"] == role).then_some(node)
    })
}

/// Runs the command line.
pub(crate) fn graven(arguments: &[&str]) -> Output {
    Command::new(GRAVEN).args(arguments).output().expect("the binary starts")
}

/// The end of a command, with what it said.
#[track_caller]
pub(crate) fn ended(output: &Output, code: i32, words: &[&str]) -> String {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    for word in words {
        assert!(out.contains(word) || err.contains(word), "{word:?} is missing: {out}{err}");
    }
    out + &err
}
