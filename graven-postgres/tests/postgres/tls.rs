use crate::support::fresh_schema;
use graven_model::Code;
use graven_pgtest::Cluster;
use graven_postgres::{PostgresJournal, Settings};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A cluster that speaks TLS, with a certificate for `127.0.0.1` from an authority of its own, and another authority.
struct Certified {
    cluster: Cluster,
    dir: TempDir,
}

impl Certified {
    fn start() -> Certified {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        for authority in ["ca", "other"] {
            let subject = format!("/CN=graven test {authority}");
            let (key, certificate) = (format!("{authority}.key"), format!("{authority}.crt"));
            openssl(
                at,
                &["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", &subject]
                    .into_iter()
                    .chain(["-keyout", &key, "-out", &certificate])
                    .collect::<Vec<_>>(),
            );
        }
        let request = ["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=server"];
        openssl(at, &[&request[..], &["-keyout", "server.key", "-out", "server.csr"]].concat());
        fs::write(at.join("names"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
        let sign =
            ["x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"];
        openssl(at, &[&sign[..], &["-days", "2", "-extfile", "names", "-out", "server.crt"]].concat());
        let mut cluster = Cluster::start();
        cluster.put("server.key", &fs::read(at.join("server.key")).unwrap());
        cluster.put("server.crt", &fs::read(at.join("server.crt")).unwrap());
        cluster.configure(&[("ssl", "on")]);
        cluster.restart();
        Certified { cluster, dir }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn open(&self, url: &str, ca: Option<&str>) -> graven_model::Result<PostgresJournal> {
        let ca_file = ca.map(|name| self.file(name));
        PostgresJournal::open(Settings { schema: fresh_schema(), ca_file, ..Settings::new(url) })
    }

    fn encrypted_sessions(&self) -> String {
        self.cluster.sql(
            "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND application_name = 'graven'",
        )
    }
}

fn openssl(dir: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(dir).output();
    let output =
        output.expect("this test makes certificates with `openssl`, which PostgreSQL's package brings");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_certificate_is_verified_as_far_as_the_mode_asks_for() {
    let server = Certified::start();
    let url = server.cluster.url();
    for mode in ["require", "verify-full"] {
        let url = format!("{url}?sslmode={mode}");
        let journal = server.open(&url, Some("ca.crt")).expect("the right authority is accepted");
        assert_eq!(server.encrypted_sessions(), "1");
        drop(journal);
        let error = server.open(&url, Some("other.crt")).unwrap_err();
        assert_eq!(error.code, Code::JournalUnreachable);
        assert!(error.message.contains("certificate"), "{error}");
        // Nor does the system know it, whether it has certificates or none.
        let error = server.open(&url, None).unwrap_err();
        assert!(error.message.contains("certificate"), "{error}");
        // The certificate is for another name.
        let error = server.open(&url.replace("127.0.0.1", "localhost"), Some("ca.crt")).unwrap_err();
        assert!(error.message.contains("certificate"), "{error}");
    }
    // Encrypted without a look at the certificate, and verified as soon as there is something to verify with.
    let journal = server.open(&url, None).unwrap();
    assert_eq!(server.encrypted_sessions(), "1");
    drop(journal);
    server.open(&url, Some("other.crt")).unwrap_err();
    let journal = server.open(&format!("{url}?sslmode=disable"), None).unwrap();
    assert_eq!(server.encrypted_sessions(), "0");
    drop(journal);
    let error = server.open(&format!("{url}?sslmode=disable"), Some("ca.crt")).unwrap_err();
    assert_eq!(error.code, Code::InvalidConfig);
}

#[test]
fn a_server_without_tls_is_refused_where_it_is_required() {
    let error = PostgresJournal::open(Settings {
        ca_file: None,
        ..Settings::new(format!("{}?sslmode=require", Cluster::shared().url()))
    })
    .unwrap_err();
    assert!(error.message.contains("TLS") || error.message.contains("root certificates"), "{error}");
}

#[test]
fn a_file_without_certificates_is_a_wrong_setting() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.crt");
    fs::write(&empty, "nothing").unwrap();
    for file in [empty, dir.path().join("missing.crt")] {
        let settings =
            Settings { ca_file: Some(file), ..Settings::new("postgresql://u@h/d?sslmode=require") };
        assert_eq!(settings.check().unwrap_err().code, Code::InvalidConfig);
    }
}
