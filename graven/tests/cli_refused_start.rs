//! Servers that must not start, each with its documented error and exit code.

mod cli_support;

use cli_support::{GRAVEN, Server, command, file, finish, graven};
use std::path::Path;

fn serve(data: &Path, more: &[&str]) -> cli_support::Ran {
    finish(command(GRAVEN).args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).args(more))
}

#[test]
fn an_unknown_setting_is_named_with_the_nearest_one() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let config = file(dir.path(), "graven.toml", "[store]\nsegment_sise = \"64 MiB\"\n");
    serve(&data, &["--config", &config])
        .failed(2, &["GRV-1600", "did you mean \"store.segment_size\"?", "hint: "]);
    serve(&data, &["--set", "heads=1"]).failed(2, &["GRV-1600", "unknown setting"]);
    serve(&data, &["--set", "log.level=lots[="]).failed(2, &["GRV-1600", "does not fit"]);
    serve(&data, &["--config", "/no/such/file"]).failed(2, &["GRV-1600", "cannot be read"]);
    let ran = finish(command(GRAVEN).args(["stats"]).env("GRAVEN_URI", "http://127.0.0.1:1"));
    ran.failed(2, &["GRV-1600", "did you mean \"GRAVEN_URL\"?"]);
    graven(&["serve"]).failed(2, &["GRV-1600", "--data DIR"]);
    assert!(!data.exists(), "a refused start leaves nothing behind");
}

#[test]
fn a_second_server_on_the_same_data_is_refused_and_the_first_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    serve(dir.path(), &[]).failed(6, &["GRV-1504", "hint: "]);
    server.graven(&["append", "a", "--type", "T"]).ok();
    assert!(server.stop().success());
}

#[test]
fn an_address_others_can_reach_is_refused_without_insecure() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    serve(&data, &["--listen", "0.0.0.0:0"]).failed(2, &["cannot be used multiple times"]);
    let refused = finish(command(GRAVEN).args(["serve", "--listen", "0.0.0.0:0", "--data"]).arg(&data));
    refused.failed(5, &["GRV-1601", "--insecure"]);
    assert!(!data.exists());
    let server = Server::spawn(
        command(GRAVEN).args(["serve", "--insecure", "--listen", "0.0.0.0:0", "--data"]).arg(&data),
    );
    assert!(server.stop().success());
}

#[test]
fn an_address_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("a"));
    let data = dir.path().join("b");
    let refused = finish(command(GRAVEN).args(["serve", "--listen", server.address(), "--data"]).arg(&data));
    refused.failed(1, &[server.address()]);
}

/// A directory nobody can write, until it is dropped.
struct ReadOnly<'a>(&'a Path);

impl ReadOnly<'_> {
    /// Root is not bound by permissions, but by a mount.
    fn make(dir: &Path) -> ReadOnly<'_> {
        if rustix::process::geteuid().is_root() {
            let mount = |args: &[&str]| finish(command("mount").args(args).arg(dir)).ok();
            mount(&["--bind", dir.to_str().unwrap()]);
            mount(&["-o", "remount,bind,ro"]);
        } else {
            chmod(dir, 0o555);
        }
        ReadOnly(dir)
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        if rustix::process::geteuid().is_root() {
            finish(command("umount").arg(self.0));
        } else {
            chmod(self.0, 0o755);
        }
    }
}

fn chmod(dir: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, empty) = (dir.path().join("store"), dir.path().join("empty"));
    std::fs::create_dir(&empty).unwrap();
    let server = Server::start(&store);
    server.graven(&["append", "a", "--type", "T"]).ok();
    assert!(server.stop().success());
    for data in [&store, &empty] {
        let _read_only = ReadOnly::make(data);
        serve(data, &[]).failed(5, &["GRV-1505", "hint: "]);
        let doctor = graven(&["doctor", "--data", data.to_str().unwrap(), "--url", "http://127.0.0.1:1"]);
        assert!(doctor.code == 1 && doctor.out.contains("GRV-1505"), "{doctor:?}");
    }
    let server = Server::start(&store);
    assert!(server.ready.contains("with 1 events"), "{}", server.ready);
}

#[test]
fn something_that_is_not_a_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("notes.txt"), "not a store").unwrap();
    serve(dir.path(), &[]).failed(1, &["GRV-1506"]);
    let plain = file(dir.path(), "plain", "x");
    let ran = serve(Path::new(&plain), &[]);
    assert!(ran.code != 0 && ran.err.contains("GRV-15"), "{ran:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn the_configuration_file_and_the_environment_are_heeded() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let config = file(
        dir.path(),
        "graven.toml",
        format!(
            "data = {:?}\nlisten = \"127.0.0.1:1\"\n[log]\nlevel = \"error\"\n[store]\nsegment_size = \"1 MiB\"\n",
            data
        ),
    );
    let server = Server::spawn(
        command(GRAVEN)
            .args(["serve", "--config", &config])
            .env("GRAVEN_LISTEN", "127.0.0.1:0")
            .env("NO_COLOR", "1"),
    );
    server.graven(&["append", "a", "--type", "T"]).ok();
    assert!(data.is_dir());
    assert!(server.stop().success());
}
