//! What could make PostgreSQL lose batches it acknowledged.

use crate::failure::Failure;
use crate::journal::get;
use crate::link::Link;
use tokio_postgres::Row;

const SETTINGS: &str = "
SELECT pg_is_in_recovery() AS is_standby,
    current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit,
    (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit') AS synchronous_commit_default,
    current_setting('synchronous_standby_names') AS standbys";

/// Standbys that commits do not wait for. Whoever may not see their state sees none.
const ASYNCHRONOUS: &str = "
SELECT coalesce(nullif(application_name, ''), 'without a name') AS name FROM pg_stat_replication
WHERE sync_state = 'async' AND state IN ('streaming', 'catchup') ORDER BY name";

const UNLOGGED: &str = "
SELECT relname::text AS name FROM pg_class
WHERE relnamespace = to_regnamespace($1) AND relname IN ('meta', 'batches') AND relpersistence <> 'p'";

/// Each risk as a sentence with what to do about it.
pub(crate) async fn ask(link: &Link) -> Result<Vec<String>, Failure> {
    let mut risks = Vec::new();
    let rows = link.ask(SETTINGS, &[]).await?;
    for row in &rows {
        of_settings(row, &mut risks)?;
    }
    for row in link.ask(ASYNCHRONOUS, &[]).await? {
        let name: String = get(&row, "name")?;
        risks.push(format!(
            "the standby {name} is asynchronous: promoted, it lacks the last commits; name it in \
             synchronous_standby_names, or never promote it"
        ));
    }
    for row in link.ask(UNLOGGED, &[&link.schema()]).await? {
        let name: String = get(&row, "name")?;
        risks.push(format!(
            "the table {name} is unlogged: it is emptied when the server crashes; ALTER TABLE … SET LOGGED"
        ));
    }
    Ok(risks)
}

fn of_settings(row: &Row, risks: &mut Vec<String>) -> Result<(), Failure> {
    let text = |name: &str| get::<String>(row, name);
    if get(row, "is_standby")? {
        risks.push(
            "the server is a standby: nothing can be committed here, and what is read may be older than the journal; name \
             the primary in the URL, or all servers with target_session_attrs=read-write"
                .to_owned(),
        );
    }
    if text("fsync")? == "off" {
        risks.push(
            "fsync is off: the loss of power, or of the operating system, loses commits or the whole database; set fsync = on"
                .to_owned(),
        );
    }
    if text("full_page_writes")? == "off" {
        risks.push(
            "full_page_writes is off: the loss of power can tear pages beyond repair; set full_page_writes = on".to_owned(),
        );
    }
    // Ours is set to `on` where it is weaker; what is left is a server, or a pooler, that takes that back.
    let (now, default) = (text("synchronous_commit")?, text("synchronous_commit_default")?);
    for (value, sets_it) in [(&now, false), (&default, true)] {
        let loss = match value.as_str() {
            "off" => "a crash of the server loses the last commits",
            "local" => "commits do not wait for any standby, and a promotion loses the last ones",
            "remote_write" => "a crash of the standby's operating system loses the last commits there",
            _ => continue,
        };
        let ours = if sets_it {
            "; this journal sets it to on for its own sessions, which a connection pooler may take back"
        } else {
            ""
        };
        risks.push(format!(
            "synchronous_commit is {value}: {loss}{ours}; set synchronous_commit = on, at least for this user"
        ));
        break;
    }
    if text("standbys")?.trim().is_empty() {
        risks.push(
            "synchronous_standby_names is empty: commits are acknowledged by one machine, and are lost with it, or by the \
             promotion of a standby; name at least one standby in synchronous_standby_names"
                .to_owned(),
        );
    }
    Ok(())
}
