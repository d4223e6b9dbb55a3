//! A line that speaks TLS before a server that does not, and authorities of the test's own that issue its certificates.
#![allow(dead_code, reason = "each test file uses a part")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// An authority made by `openssl`.
pub(crate) struct Issuer(PathBuf);

/// What a server shows of itself.
pub(crate) type Identity = Arc<ServerConfig>;

const CONFIG: &str = "\
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
";

impl Issuer {
    /// A new one, whose files are in a new directory.
    pub(crate) fn new(dir: &Path) -> Issuer {
        std::fs::create_dir(dir).expect("a new directory");
        let issuer = Issuer(dir.to_owned());
        std::fs::write(dir.join("tls.cnf"), CONFIG).expect("a file");
        issuer.openssl("req -x509 -subj /CN=Test -days 2 -extensions ca", "ca", "-out ca.pem");
        issuer
    }

    /// The file with its own certificate.
    pub(crate) fn ca_file(&self) -> String {
        self.0.join("ca.pem").to_str().expect("a path in UTF-8").to_owned()
    }

    /// Issues a certificate for names such as `IP:127.0.0.1` or `DNS:elsewhere.example`.
    pub(crate) fn issue(&self, names: &str) -> Identity {
        let extensions = format!(
            "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName={names}\n"
        );
        std::fs::write(self.0.join("extensions"), extensions).expect("a file");
        self.openssl("req -new -subj /CN=Server", "server", "-out server.csr");
        let sign =
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out server.pem";
        self.run(&[sign, "-extfile extensions"].join(" "));
        let certificate = CertificateDer::from_pem_file(self.0.join("server.pem")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(self.0.join("server.key")).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS of these versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key);
        Arc::new(config.expect("the key is the certificate's"))
    }

    /// Runs a command that makes a key.
    fn openssl(&self, command: &str, key: &str, more: &str) {
        let new = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -config tls.cnf";
        self.run(&format!("{command} {new} -keyout {key}.key {more}"));
    }

    fn run(&self, arguments: &str) {
        let ran = Command::new("openssl").current_dir(&self.0).args(arguments.split(' ')).output();
        let ran = ran
            .unwrap_or_else(|error| panic!("this test needs openssl (`apt-get install openssl`): {error}"));
        assert!(ran.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}

/// Takes connections under TLS and hands them on without. Dropped, it is cut.
pub(crate) struct TlsLine {
    /// `https://127.0.0.1:PORT`.
    pub(crate) url: String,
    identity: Arc<Mutex<Identity>>,
    _runtime: Runtime,
}

impl TlsLine {
    /// A line to an address such as `127.0.0.1:2114`.
    pub(crate) fn to(address: &str, identity: Identity) -> TlsLine {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let url = format!("https://{}", listener.local_addr().expect("it is bound"));
        let identity = Arc::new(Mutex::new(identity));
        let (shown, address) = (identity.clone(), address.to_owned());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = TlsAcceptor::from(shown.lock().expect("nothing panics").clone());
                let address = address.clone();
                tokio::spawn(async move {
                    let Ok(mut near) = acceptor.accept(stream).await else { return };
                    let Ok(mut far) = TcpStream::connect(address).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        TlsLine { url, identity, _runtime: runtime }
    }

    /// Shows another certificate from now on.
    pub(crate) fn show(&self, identity: Identity) {
        *self.identity.lock().expect("nothing panics") = identity;
    }
}
