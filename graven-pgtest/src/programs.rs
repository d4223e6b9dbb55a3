//! Where PostgreSQL's programs are, and as whom they run.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where Debian's packages put a folder for each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// PostgreSQL's programs.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    dir: PathBuf,
    /// PostgreSQL does not run as root: the user and group it runs as then.
    user: Option<(u32, u32)>,
}

impl Programs {
    /// Those of the newest version that is installed, or of the folder `GRAVEN_TEST_POSTGRES_BIN` names.
    ///
    /// # Panics
    /// If there are none: a test that cannot run has failed.
    pub(crate) fn find() -> Programs {
        let named = std::env::var_os("GRAVEN_TEST_POSTGRES_BIN").map(PathBuf::from);
        let dir = named.or_else(newest).unwrap_or_default();
        assert!(
            dir.join("initdb").exists(),
            "this test needs PostgreSQL's programs, and there is no {VERSIONS}/*/bin/initdb: install the package \
             `postgresql` (`apt-get install postgresql`), or name their folder in GRAVEN_TEST_POSTGRES_BIN"
        );
        let user = rustix::process::geteuid().is_root().then(|| (id("-u"), id("-g")));
        Programs { dir, user }
    }

    /// One of them, as the user it may run as.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.dir.join(program));
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    /// Gives a file or directory to the user PostgreSQL runs as.
    pub(crate) fn own(&self, path: &Path) {
        if let Some((user, group)) = self.user {
            chown(path, Some(user), Some(group)).expect("root may give files away");
        }
    }
}

fn newest() -> Option<PathBuf> {
    let versions = fs::read_dir(VERSIONS).ok()?.flatten();
    let newest = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).max()?;
    Some(Path::new(VERSIONS).join(newest.to_string()).join("bin"))
}

fn id(which: &str) -> u32 {
    let output = Command::new("id").args([which, "postgres"]).output().expect("`id` can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().expect("a user named postgres: PostgreSQL does not run as root")
}

/// Runs a program to its end and returns what it says.
///
/// # Panics
/// If it does not succeed.
pub(crate) fn run(command: &mut Command) -> String {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
    assert!(
        output.status.success(),
        "{name} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
