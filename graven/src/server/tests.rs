//! The server in this process, with bounds and waits small enough to run into.

use super::*;
use graven_engine::Options;
use std::io::ErrorKind;
use std::pin::Pin;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const PATIENCE: Duration = Duration::from_secs(30);

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<anyhow::Result<Ending>>,
    _directory: TempDir,
}

fn store() -> (Store, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (Store::open(directory.path().join("data"), Options::small()).unwrap(), directory)
}

async fn start(change: impl FnOnce(&mut ServeOptions)) -> Running {
    let (store, directory) = store();
    let mut options = ServeOptions::new(LOOPBACK);
    change(&mut options);
    let mut server = Server::bind(options).await.unwrap();
    let address = server.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let ending = async {
            drop(stopped.await);
            Ending::Stop
        };
        server.serve(store, ending).await
    });
    Running { address, stop, serving, _directory: directory }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends and reads until the server closes.
    async fn exchange(&self, request: &str) -> String {
        let mut socket = self.connect().await;
        socket.write_all(request.as_bytes()).await.unwrap();
        rest(&mut socket).await
    }

    async fn stop(self) -> Duration {
        let begun = Instant::now();
        self.stop.send(()).expect("the server runs");
        timeout(PATIENCE, self.serving).await.expect("the server ends").unwrap().unwrap();
        begun.elapsed()
    }
}

/// Asks for the metrics until they hold this line.
async fn until_metric(server: &Running, line: &str) {
    let get = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let asking = async { while !server.exchange(get).await.contains(&format!("\n{line}\n")) {} };
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("the metrics never say {line}"));
}

async fn rest(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let reading: Pin<Box<dyn Future<Output = std::io::Result<usize>>>> =
        Box::pin(socket.read_to_end(&mut answer));
    match timeout(PATIENCE, reading).await.expect("the server closes") {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    String::from_utf8(answer).unwrap()
}

fn head(stream: &str, framing: &str) -> String {
    format!(
        "POST /v1/streams/{stream} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
    )
}

const BODY: &str = r#"{"events":[{"type":"A"}]}"#;

fn whole(stream: &str) -> String {
    head(stream, &format!("Connection: close\r\nContent-Length: {}", BODY.len())) + BODY
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_stalls_is_answered_408_and_nothing_is_stored() {
    let server = start(|options| options.body_idle_timeout = Duration::from_millis(50)).await;
    let answer = server.exchange(&(head("s", "Content-Length: 100") + "{\"events\":")).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("GRV-1402"), "{answer}");
    let answer =
        server.exchange("GET /v1/streams/s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("GRV-1300"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_waits_until_others_give_back_their_room() {
    let server = start(|options| options.bodies_bytes_max = 100).await;
    let mut first = server.connect().await;
    let framing = format!("Connection: close\r\nContent-Length: {}", BODY.len() + 60);
    first.write_all((head("first", &framing) + BODY).as_bytes()).await.unwrap();
    until_metric(&server, "graven_http_bodies_held_bytes 85").await;
    // The first one holds 85 of 100 bytes, so the second is not read until the first is done.
    let mut second = server.connect().await;
    second.write_all(whole("second").as_bytes()).await.unwrap();
    let mut byte = [0];
    let early = timeout(Duration::from_millis(100), second.read(&mut byte)).await;
    assert!(early.is_err(), "the second is answered before there is room");
    first.write_all(&[b' '; 60]).await.unwrap();
    assert!(rest(&mut first).await.starts_with("HTTP/1.1 201 "));
    assert!(rest(&mut second).await.starts_with("HTTP/1.1 201 "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_gets_no_room_is_told_to_come_back() {
    let change = |options: &mut ServeOptions| {
        options.bodies_bytes_max = 100;
        options.body_room_timeout = Duration::from_millis(20);
    };
    let server = start(change).await;
    let mut holder = server.connect().await;
    holder.write_all((head("first", "Content-Length: 90") + "{").as_bytes()).await.unwrap();
    until_metric(&server, "graven_http_bodies_held_bytes 90").await;
    let answer = server.exchange(&whole("second")).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("GRV-1400") && answer.contains("retry-after: 1"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_unknown_length_is_bounded_too() {
    let server = start(|options| options.body_bytes_max = 1_000).await;
    let chunk = format!("12c\r\n{}\r\n", " ".repeat(300));
    let chunked =
        |chunks: usize| head("s", "Connection: close\r\nTransfer-Encoding: chunked") + &chunk.repeat(chunks);
    let small = format!("{}{:x}\r\n{BODY}\r\n0\r\n\r\n", chunked(3), BODY.len());
    assert!(server.exchange(&small).await.starts_with("HTTP/1.1 201 "));
    let large = server.exchange(&(chunked(4) + "0\r\n\r\n")).await;
    assert!(large.starts_with("HTTP/1.1 413 ") && large.contains("GRV-1102"), "{large}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_over_the_bound_waits_for_its_turn() {
    let server = start(|options| options.connections_max = 1).await;
    let mut first = server.connect().await;
    let get = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    first.write_all(get.as_bytes()).await.unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    let mut second = server.connect().await;
    second.write_all(get.as_bytes()).await.unwrap();
    assert!(
        timeout(Duration::from_millis(100), second.read_exact(&mut byte)).await.is_err(),
        "served beside the first"
    );
    drop(first);
    timeout(PATIENCE, second.read_exact(&mut byte)).await.expect("its turn comes").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_does_not_come_ends_the_connection() {
    let server = start(|options| options.head_timeout = Duration::from_millis(50)).await;
    assert_eq!(server.exchange("GET /livez HT").await, "");
    assert_eq!(server.exchange("").await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_nothing_is_cut_off() {
    let server = start(|options| options.stall_timeout = Duration::from_millis(100)).await;
    let event = format!(r#"{{"type":"A","data":"{}"}}"#, "x".repeat(900_000));
    for _ in 0..20 {
        let body = format!(r#"{{"events":[{event}]}}"#);
        let framing = format!("Connection: close\r\nContent-Length: {}", body.len());
        assert!(server.exchange(&(head("large", &framing) + &body)).await.starts_with("HTTP/1.1 201 "));
    }
    let mut lazy = server.connect().await;
    let read = "GET /v1/all HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n";
    lazy.write_all(read.as_bytes()).await.unwrap();
    // This connection and that of the question are open; then, once the server gave up, only the latter. Only now is
    // anything read.
    until_metric(&server, "graven_http_connections 1").await;
    let received = rest(&mut lazy).await;
    assert!(received.len() < 18_000_000 && !received.ends_with("0\r\n\r\n"), "{} bytes", received.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_finish_within_the_grace_period_is_cut_off() {
    let server = start(|options| options.shutdown_grace = Duration::from_millis(50)).await;
    let mut half = server.connect().await;
    half.write_all((head("s", "Content-Length: 100") + "{").as_bytes()).await.unwrap();
    until_metric(&server, "graven_http_bodies_held_bytes 100").await;
    let took = server.stop().await;
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(rest(&mut half).await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_server_stops_at_once_and_ends_event_streams() {
    let server = start(|options| options.keep_alive = Duration::from_millis(10)).await;
    let mut follower = server.connect().await;
    let follow = "GET /v1/all HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    follower.write_all(follow.as_bytes()).await.unwrap();
    let mut text = String::new();
    while !text.contains(": keep-alive") {
        let mut buffer = [0; 1024];
        let read = timeout(PATIENCE, follower.read(&mut buffer)).await.expect("a keep-alive comes").unwrap();
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    assert!(text.contains("event: caught-up"), "{text}");
    let took = server.stop().await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(rest(&mut follower).await.ends_with("0\r\n\r\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_other_machines_reach_needs_to_be_allowed() {
    let options = ServeOptions::new("0.0.0.0:0".parse().unwrap());
    let error = Server::bind(options).await.err().expect("it does not listen");
    assert_eq!(error.downcast_ref::<Error>().unwrap().code, Code::InsecureListen);
    let allowed = start(|options| {
        options.listen = "0.0.0.0:0".parse().unwrap();
        options.insecure = true;
    })
    .await;
    allowed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_named() {
    let server = start(|_| {}).await;
    let options = ServeOptions::new(server.address);
    let error = Server::bind(options).await.err().expect("it does not listen");
    let text = error.to_string();
    assert!(text.contains(&server.address.to_string()) && text.contains("another process"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_body_is_on_its_way_is_answered_while_the_server_stops() {
    let server = start(|_| {}).await;
    let mut asker = server.connect().await;
    asker.write_all(head("s", &format!("Content-Length: {}", BODY.len())).as_bytes()).await.unwrap();
    until_metric(&server, &format!("graven_http_bodies_held_bytes {}", BODY.len())).await;
    let address = server.address;
    let stopping = tokio::spawn(server.stop());
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    timeout(PATIENCE, refused).await.expect("the listener closes");
    asker.write_all(BODY.as_bytes()).await.unwrap();
    assert!(rest(&mut asker).await.starts_with("HTTP/1.1 201 "));
    stopping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_opened_again_behind_the_same_socket() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut server = Server::bind(ServeOptions::new(LOOPBACK)).await.unwrap();
    let address = server.address();
    let store = Store::open(&data, Options::small()).unwrap();
    let follow = "GET /v1/all HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    let (reopen, reopened) = oneshot::channel::<()>();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = async {
        let ending = async {
            drop(reopened.await);
            Ending::Reopen
        };
        assert_eq!(server.serve(store.clone(), ending).await.unwrap(), Ending::Reopen);
        store.close().unwrap();
        let store = Store::open(&data, Options::small()).unwrap();
        let ending = async {
            drop(stopped.await);
            Ending::Stop
        };
        assert_eq!(server.serve(store, ending).await.unwrap(), Ending::Stop);
    };
    let asking = async {
        let mut follower = TcpStream::connect(address).await.unwrap();
        follower.write_all(follow.as_bytes()).await.unwrap();
        let mut begun = [0; 12];
        follower.read_exact(&mut begun).await.unwrap();
        reopen.send(()).unwrap();
        assert!(rest(&mut follower).await.ends_with("0\r\n\r\n"), "it is ended, not cut off");
        let mut answers = Vec::new();
        for path in ["/readyz", "/metrics"] {
            let mut asker = TcpStream::connect(address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            asker.write_all(request.as_bytes()).await.unwrap();
            answers.push(rest(&mut asker).await);
        }
        stop.send(()).unwrap();
        answers
    };
    let both = async { tokio::join!(serving, asking).1 };
    let answers = timeout(PATIENCE, both).await.expect("it takes too long");
    assert!(answers[0].starts_with("HTTP/1.1 200 "), "{}", answers[0]);
    assert!(
        answers[1].contains(r#"route="/v1/all""#),
        "what was counted before is still counted: {}",
        answers[1]
    );
    assert!(TcpStream::connect(address).await.is_err());
}
