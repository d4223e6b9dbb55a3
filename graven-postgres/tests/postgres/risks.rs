use crate::support::{founded, fresh_schema, settings};
use graven_engine::journal::SharedJournal;
use graven_pgtest::{Cluster, Replication};

#[test]
fn a_server_that_stands_alone_is_named_as_such_and_nothing_else() {
    let risks = founded(settings(Cluster::shared().port(), &fresh_schema())).risks().unwrap();
    assert_eq!(risks.len(), 1, "{risks:?}");
    assert!(risks[0].starts_with("synchronous_standby_names is empty"), "{risks:?}");
}

#[test]
fn each_bad_setting_is_named() {
    let mut cluster = Cluster::start_with(&[("fsync", "off"), ("full_page_writes", "off")]);
    let schema = fresh_schema();
    for (value, loss) in [
        ("off", "crash of the server"),
        ("local", "do not wait for any standby"),
        ("remote_write", "standby's operating system"),
    ] {
        cluster.configure(&[("synchronous_commit", value)]);
        cluster.restart();
        let risks = founded(settings(cluster.port(), &schema)).risks().unwrap();
        for named in
            ["fsync is off", "full_page_writes is off", &format!("synchronous_commit is {value}"), loss]
        {
            assert!(risks.iter().any(|risk| risk.contains(named)), "{named}: {risks:?}");
        }
        assert_eq!(risks.len(), 4, "{risks:?}");
    }
    cluster.sql(&format!("ALTER TABLE {schema}.batches SET UNLOGGED"));
    let risks = founded(settings(cluster.port(), &schema)).risks().unwrap();
    assert!(risks.iter().any(|risk| risk.contains("batches is unlogged")), "{risks:?}");
}

#[test]
fn standbys_that_commits_do_not_wait_for_are_named() {
    let cluster = Cluster::start();
    let schema = fresh_schema();
    let mut journal = founded(settings(cluster.port(), &schema));
    let standby = cluster.standby(Replication::Asynchronous, cluster.port());
    let risks = journal.risks().unwrap();
    assert!(risks.iter().any(|risk| risk.starts_with("the standby standby is asynchronous")), "{risks:?}");
    let risks = founded_on_a_standby(&standby, &schema);
    assert!(risks.iter().any(|risk| risk.starts_with("the server is a standby")), "{risks:?}");
    drop(standby);
    let _standby = cluster.standby(Replication::Synchronous, cluster.port());
    assert_eq!(journal.risks().unwrap(), [""; 0]);
}

fn founded_on_a_standby(standby: &Cluster, schema: &str) -> Vec<String> {
    let mut journal = graven_postgres::PostgresJournal::open(settings(standby.port(), schema)).unwrap();
    journal.risks().unwrap()
}
