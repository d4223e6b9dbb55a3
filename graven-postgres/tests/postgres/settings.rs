use crate::support::fresh_schema;
use graven_model::Code;
use graven_pgtest::{Cluster, PASSWORD};
use graven_postgres::{PostgresJournal, Settings};
use std::time::Duration;

#[test]
fn a_wrong_password_is_refused_and_not_repeated() {
    let cluster = Cluster::shared();
    let wrong = format!("{PASSWORD}-but-wrong");
    let settings = Settings::new(cluster.url().replace(PASSWORD, &wrong));
    let error = PostgresJournal::open(settings.clone()).unwrap_err();
    assert_eq!(error.code, Code::JournalUnreachable);
    assert!(error.message.contains("password authentication failed"), "{error}");
    let shown = format!("{error} {error:?} {settings:?} {}", settings.redacted());
    assert!(!shown.contains(PASSWORD), "{shown}");
    let journal =
        PostgresJournal::open(Settings { schema: fresh_schema(), ..Settings::new(cluster.url()) }).unwrap();
    assert!(!format!("{journal:?} {}", journal.place()).contains(PASSWORD));
}

#[test]
fn a_server_that_is_not_there_is_told_with_its_address() {
    let error = PostgresJournal::open(Settings::new("postgresql://u@127.0.0.1:1/d")).unwrap_err();
    assert_eq!(error.code, Code::JournalUnreachable);
    assert!(error.message.contains("postgresql://u@127.0.0.1:1/d"), "{error}");
    assert!(error.message.contains("refused"), "{error}");
}

#[test]
fn a_host_that_hangs_is_passed_over() {
    // It accepts, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().port();
    let hung = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let hung_port = hung.local_addr().unwrap().port();
    let cluster = Cluster::shared();
    let url = format!(
        "postgresql://postgres:{PASSWORD}@127.0.0.1:{silent},127.0.0.1:{hung_port},127.0.0.1:{}/postgres?target_session_attrs=read-write",
        cluster.port()
    );
    let settings = Settings {
        schema: fresh_schema(),
        connect_timeout: Duration::from_millis(500),
        ..Settings::new(url)
    };
    PostgresJournal::open(settings).unwrap();
    drop(hung);
}

#[test]
fn a_session_has_what_commits_need_and_no_less_than_was_asked_for() {
    let cluster = Cluster::shared();
    for (asked, has) in [("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")] {
        let schema = fresh_schema();
        let url = format!("{}?options=-csynchronous_commit%3D{asked}", cluster.url());
        let settings = Settings { schema: schema.clone(), ..Settings::new(url) };
        let mut journal = PostgresJournal::open(settings).unwrap();
        // Told by a function of the session's own: what it has cannot be seen from another one.
        cluster.sql(&format!(
            "CREATE TABLE {schema}.seen (setting text);
            CREATE FUNCTION {schema}.see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                INSERT INTO {schema}.seen SELECT current_setting('synchronous_commit'); RETURN NEW; END $$;
            CREATE TRIGGER see AFTER UPDATE ON {schema}.meta EXECUTE FUNCTION {schema}.see()"
        ));
        graven_engine::journal::SharedJournal::found(&mut journal, &crate::support::identity()).unwrap();
        assert_eq!(cluster.sql(&format!("SELECT setting FROM {schema}.seen")), has);
    }
}

#[test]
fn a_journal_may_be_dropped_where_none_may_be_called() {
    let settings = Settings { schema: fresh_schema(), ..Settings::new(Cluster::shared().url()) };
    let journal = PostgresJournal::open(settings).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async move { drop(journal) });
}
