//! `graven dev`: what a newcomer sees first.

mod cli_support;

use cli_support::{GRAVEN, Server, command, finish, signal};
use rustix::process::Signal;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

fn shell(dir: &Path, line: &str) -> Command {
    let mut shell = command("sh");
    shell.current_dir(dir).args(["-c", &format!("exec {line}")]);
    shell
}

/// Starts `dev` in a directory and gives the commands it prints.
fn dev(dir: &Path, binary: &str) -> (Server, Vec<String>) {
    let mut server =
        Server::spawn(command(dir.join(binary)).current_dir(dir).args(["dev", "--listen", "127.0.0.1:0"]));
    let mut commands = Vec::new();
    loop {
        let line = server.line();
        if let Some(command) = line.strip_prefix("  ") {
            commands.push(command.trim_end().to_owned());
        } else if line.contains("Ctrl-C") {
            return (server, commands);
        }
    }
}

#[test]
fn one_ready_line_and_next_commands_that_work_as_printed() {
    let dir = tempfile::tempdir().unwrap();
    let release = dir.path().join("target/release");
    std::fs::create_dir_all(&release).unwrap();
    std::fs::copy(GRAVEN, release.join("graven")).unwrap();
    let (server, commands) = dev(dir.path(), "target/release/graven");
    assert!(server.ready.starts_with("graven is ready on http://127.0.0.1:"), "{}", server.ready);
    assert!(server.ready.contains("./graven-data"), "{}", server.ready);
    assert!(dir.path().join("graven-data").is_dir());
    assert!(commands.len() >= 4, "{commands:?}");
    for line in &commands {
        assert!(line.starts_with("target/release/graven "), "{line}");
        if !line.contains(" tail ") {
            let ran = finish(&mut shell(dir.path(), line)).ok();
            assert!(!ran.out.is_empty(), "{line}");
            continue;
        }
        let mut tail = shell(dir.path(), line).stdout(Stdio::piped()).spawn().unwrap();
        let mut event = String::new();
        BufReader::new(tail.stdout.take().unwrap()).read_line(&mut event).unwrap();
        signal(&tail, Signal::INT);
        tail.wait().unwrap();
        assert!(event.contains("hello"), "{event}");
    }
    let read = server.graven(&["read", "greetings-1"]).ok();
    assert!(read.out.contains(r#""data":{"hello":"world"}"#), "{}", read.out);
    assert!(server.stop().success());
}

#[test]
fn data_stays_from_one_run_to_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (server, _) = dev(dir.path(), GRAVEN);
    server.graven(&["append", "a", "--type", "T"]).ok();
    assert!(server.stop().success());
    let (server, _) = dev(dir.path(), GRAVEN);
    assert!(server.ready.contains("with 1 events"), "{}", server.ready);
}
