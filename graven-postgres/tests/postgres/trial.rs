use crate::support::{fresh_schema, settings};
use graven_engine::journal::{Journal, Outcome};
use graven_pgtest::Cluster;
use graven_postgres::verify;

#[test]
fn a_trial_finds_that_the_laws_hold_and_leaves_nothing_behind() {
    let cluster = Cluster::start();
    let schema = fresh_schema();
    let mut seen = Vec::new();
    let report = verify(&settings(cluster.port(), &schema), 30, 4, &mut |round| seen.push(round)).unwrap();
    assert!(report.holds(), "{report:?}");
    assert_eq!(seen, (1..=30).collect::<Vec<_>>());
    assert_eq!(
        (report.wins.len(), report.wins.iter().sum::<u32>(), report.unknown),
        (4, 30, 0),
        "{report:?}"
    );
    assert!(report.commit_p50 <= report.commit_p99 && !report.commit_p50.is_zero());
    assert_eq!(report.risks.len(), 1);
    assert!(report.server.starts_with("PostgreSQL 1"), "{report:?}");
    let schemas =
        cluster.sql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'graven%' OR nspname LIKE 'test%'");
    assert_eq!(schemas, "0");
}

#[test]
fn a_trial_of_a_database_that_breaks_the_laws_says_so() {
    let cluster = Cluster::start();
    // Every batch that is stored vanishes at once, and its writer is told that it was stored.
    cluster.sql(
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            EXECUTE format('DELETE FROM %s WHERE first_position = $1', TG_RELID::regclass) USING NEW.first_position;
            RETURN NULL; END $$;
        CREATE FUNCTION break() RETURNS event_trigger LANGUAGE plpgsql AS $$ DECLARE made record; BEGIN
            FOR made IN SELECT * FROM pg_event_trigger_ddl_commands() WHERE object_type = 'table' LOOP
                IF made.object_identity LIKE '%.batches' THEN
                    EXECUTE format('CREATE TRIGGER lose AFTER INSERT ON %s FOR EACH ROW EXECUTE FUNCTION lose()',
                        made.object_identity);
                END IF;
            END LOOP; END $$;
        CREATE EVENT TRIGGER break ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION break()",
    );
    let report = verify(&settings(cluster.port(), &fresh_schema()), 3, 2, &mut |_| ()).unwrap();
    assert!(!report.holds(), "{report:?}");
}

/// Not a goal to keep, but printed where somebody looks (`--nocapture`).
#[test]
fn commits_of_a_quarter_of_a_megabyte_go_through_one_after_the_other() {
    let (mut journal, mut maker) =
        crate::support::claimed(settings(Cluster::shared().port(), &fresh_schema()));
    let mut took = Vec::new();
    let began = std::time::Instant::now();
    for _ in 0..100 {
        let batch = maker.batch(250_000);
        let sent = std::time::Instant::now();
        assert_eq!(journal.commit(&batch), Outcome::Appended(batch.tail));
        took.push(sent.elapsed());
    }
    let all = began.elapsed();
    took.sort_unstable();
    println!(
        "250 kB batches: p50 {:?}, p99 {:?}, {:.1} MB/s with making them",
        took[49],
        took[98],
        25.0 / all.as_secs_f64()
    );
    assert_eq!(journal.tail(), maker.tail);
}
