use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::Settings;
use crate::rest::tests::app;

/// A server on a port, and what stops it.
async fn start(settings: Settings) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, app(settings).await, stop.clone()));
    (address, stop, serving)
}

const REQUEST: &[u8] = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// An empty frame of settings.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

async fn answer(stream: &mut TcpStream) -> String {
    let mut answer = vec![0; 1024];
    let length = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_come_to_one_port_in_any_pieces() {
    let (address, stop, serving) = start(Settings::default()).await;
    for piece in [1, 3, 7, REQUEST.len()] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        for part in REQUEST.chunks(piece) {
            stream.write_all(part).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200 OK"));
        // The connection is kept.
        stream.write_all(REQUEST).await.unwrap();
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200 OK"));
    }
    // A method of HTTP/1.1 that begins like the preface, and more of the preface than any method has.
    for start in [&b"PRINT / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(start).await.unwrap();
        let told = answer(&mut stream).await;
        assert!(told.is_empty() || told.starts_with("HTTP/1.1 4"), "{told}");
    }
    for piece in [1, 20, 24] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        for part in HTTP2_PREFACE.chunks(piece) {
            stream.write_all(part).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stream.write_all(&SETTINGS).await.unwrap();
        let mut frame = [0; 9];
        stream.read_exact(&mut frame).await.unwrap();
        assert_eq!(frame[3], 4, "settings come first");
    }
    stop.cancel();
    serving.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_say_nothing_are_dropped() {
    let settings = Settings { header_timeout: Duration::from_millis(200), ..Settings::default() };
    let (address, stop, serving) = start(settings).await;
    for said in [&b""[..], b"P", b"PRI * HT", b"GET / HT", &[&HTTP2_PREFACE[..], &SETTINGS[..]].concat()] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said).await.unwrap();
        let started = Instant::now();
        let mut rest = Vec::new();
        // Closed or reset, either will do.
        let _ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await.expect("ends");
        assert!(started.elapsed() >= Duration::from_millis(150), "{said:?} was not waited for");
    }
    stop.cancel();
    serving.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_hold_up_the_end() {
    let (address, stop, serving) = start(Settings::default()).await;
    let mut open = Vec::new();
    for said in [&b""[..], b"PRI", REQUEST] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said).await.unwrap();
        open.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let started = Instant::now();
    stop.cancel();
    serving.await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(20));
}
