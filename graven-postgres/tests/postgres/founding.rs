use crate::support::{founded, fresh_schema, identity, settings};
use graven_engine::journal::{Journal, Outcome, SharedJournal, Tail, Term};
use graven_engine::replica::LogIdentity;
use graven_model::{Code, EventId};
use graven_pgtest::Cluster;
use graven_postgres::PostgresJournal;

#[test]
fn of_nodes_that_start_at_the_same_time_one_founds() {
    for _ in 0..5 {
        let settings = settings(Cluster::shared().port(), &fresh_schema());
        let founded: Vec<LogIdentity> = std::thread::scope(|scope| {
            let nodes: Vec<_> = (1..=4)
                .map(|node| {
                    let settings = settings.clone();
                    scope.spawn(move || {
                        let mut journal = PostgresJournal::open(settings).expect("all of them start");
                        let own = LogIdentity { log_id: EventId([node; 16]), ..identity() };
                        journal.found(&own).expect("all of them are answered")
                    })
                })
                .collect();
            nodes.into_iter().map(|node| node.join().expect("no node panics")).collect()
        });
        assert!(founded.iter().all(|identity| *identity == founded[0]), "{founded:?}");
    }
}

#[test]
fn a_journal_tells_whose_it_is() {
    let settings = settings(Cluster::shared().port(), &fresh_schema());
    let mut journal = PostgresJournal::open(settings.clone()).unwrap();
    assert_eq!(journal.identity().unwrap(), None);
    assert_eq!(journal.found(&identity()).unwrap(), identity());
    let other = LogIdentity { log_id: EventId([7; 16]), ..identity() };
    assert_eq!(founded(settings).found(&other).unwrap(), identity(), "the first to come decides");
    let view = journal.look(0).unwrap();
    assert_eq!(view.tail, Tail { position: 0, checksum: crc(&identity()) });
    assert_eq!((view.checksum, view.term), (Some(crc(&identity())), Term::default()));
}

fn crc(identity: &LogIdentity) -> u32 {
    crc32c::crc32c(&identity.log_id.0)
}

#[test]
fn a_journal_of_no_log_takes_no_batch() {
    let settings = settings(Cluster::shared().port(), &fresh_schema());
    let mut journal = PostgresJournal::open(settings).unwrap();
    let batch = crate::support::Maker::after(Tail::default(), 1).batch(10);
    let Outcome::Unknown(error) = journal.commit(&batch) else { panic!("it has no log") };
    assert!(error.message.contains("no log yet"), "{error}");
    let error = journal.claim([1; 16], "", graven_engine::journal::Claim::TakeOver).unwrap_err();
    assert!(error.message.contains("no log yet"), "{error}");
}

#[test]
fn a_journal_that_becomes_another_logs_is_not_followed() {
    let cluster = Cluster::shared();
    let schema = fresh_schema();
    let mut journal = founded(settings(cluster.port(), &schema));
    cluster.sql(&format!("UPDATE {schema}.meta SET log_id = decode(repeat('07', 16), 'hex')"));
    assert_eq!(journal.look(0).unwrap_err().code, Code::HistoryDiverged);
}

#[test]
fn another_format_is_refused() {
    let cluster = Cluster::shared();
    let schema = fresh_schema();
    drop(founded(settings(cluster.port(), &schema)));
    cluster.sql(&format!("UPDATE {schema}.meta SET format = 7"));
    let error = PostgresJournal::open(settings(cluster.port(), &schema)).unwrap_err();
    assert_eq!(error.code, Code::UnknownFormat);
    assert_eq!(error.expected.as_deref(), Some("journal format 1"));
    assert_eq!(error.found.as_deref(), Some("journal format 7"));
    cluster.sql(&format!("ALTER TABLE {schema}.meta DROP COLUMN format"));
    let error = PostgresJournal::open(settings(cluster.port(), &schema)).unwrap_err();
    assert_eq!(error.code, Code::UnknownFormat);
}

#[test]
fn a_user_who_may_not_make_schemas_uses_one_that_is_there() {
    let cluster = Cluster::shared();
    let schema = fresh_schema();
    cluster.sql(&format!(
        "CREATE ROLE {schema} LOGIN PASSWORD 'p'; CREATE SCHEMA {schema} AUTHORIZATION {schema}"
    ));
    let url = format!("postgresql://{schema}:p@127.0.0.1:{}/postgres", cluster.port());
    let own = graven_postgres::Settings { schema: schema.clone(), ..graven_postgres::Settings::new(url) };
    let mut journal = founded(own.clone());
    journal.risks().unwrap();
    let other = graven_postgres::Settings { schema: fresh_schema(), ..own };
    let error = PostgresJournal::open(other).unwrap_err();
    assert!(error.message.contains("permission denied"), "{error}");
}
