//! Questions to servers that answer, lie, dawdle or are not there.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::sync::Arc;
use std::time::Duration;

use model::check::Measured;
use ports::Secret;
use ports::metrics::{Authorization, Server};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(20);
const ONE: &str =
    r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"0.5"]}]}}"#;

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Takes one request and answers it; gives what was asked.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: String) -> String {
    let mut asked = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = stream.read(&mut chunk).await.unwrap();
        asked.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&asked).to_lowercase();
        let length =
            text.split("content-length: ").nth(1).and_then(|it| it.split("\r\n").next()?.parse().ok());
        let body = text.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
        if read == 0 || length.is_some_and(|length: usize| body >= length) {
            break;
        }
    }
    // The asker may have gone.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
    String::from_utf8(asked).unwrap()
}

/// A server that answers one request with this.
async fn plain(answer: String) -> (Server, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/tenant", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream, answer).await
    });
    (Server { address, ..Server::default() }, task)
}

#[tokio::test]
async fn a_question_is_sent_with_who_asks_and_its_answer_is_read() {
    let (mut server, asked) = plain(answer("200 OK", ONE)).await;
    server.headers.insert("x-scope-orgid".to_owned(), "shop".to_owned());
    server.authorization = Some(Authorization::Bearer(Secret::new("hush".to_owned())));
    let query = "sum(rate(a{b=\"c & d\"}[5m])) + 1";
    assert_eq!(promclient::ask(&server, query, None, PATIENCE).await, Ok(Measured::Vector(vec![0.5])));
    let asked = asked.await.unwrap();
    assert!(asked.starts_with("POST /tenant/api/v1/query HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("authorization: Bearer hush\r\n"), "{asked}");
    assert!(asked.contains("x-scope-orgid: shop\r\n"), "{asked}");
    assert!(
        asked.contains("query=sum%28rate%28a%7Bb%3D%22c+%26+d%22%7D%5B5m%5D%29%29+%2B+1&timeout="),
        "{asked}"
    );
}

#[tokio::test]
async fn what_a_server_says_never_shows_a_secret() {
    let said = r#"{"status":"error","error":"no such user bWU6aHVzaA== or hush"}"#;
    let (mut server, _asked) = plain(answer("401 Unauthorized", said)).await;
    let password = Secret::new("hush".to_owned());
    server.authorization = Some(Authorization::Basic { username: "me".to_owned(), password });
    let error = promclient::ask(&server, "up", None, PATIENCE).await.unwrap_err();
    assert!(error.contains("answered 401") && error.contains("no such user"), "{error}");
    assert!(!error.contains("hush") && !error.contains("bWU6aHVzaA"), "{error}");
    server.authorization = Some(Authorization::Bearer(Secret::new("hu\nsh".to_owned())));
    let error = promclient::ask(&server, "up", None, PATIENCE).await.unwrap_err();
    assert!(error.contains("no header may hold") && !error.contains("hu\n"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_or_answers_too_much_or_elsewhere_is_told() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = Server { address: format!("http://{gone}"), ..Server::default() };
    let error = promclient::ask(&server, "up", None, PATIENCE).await.unwrap_err();
    assert!(error.contains("cannot connect: connection refused"), "{error}");

    let (server, _asked) = plain(answer("200 OK", &" ".repeat(promclient::LARGEST_ANSWER_BYTES + 1))).await;
    let error = promclient::ask(&server, "up", None, PATIENCE).await.unwrap_err();
    assert!(error.contains("larger than"), "{error}");

    let moved = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let (server, _asked) = plain(moved.to_owned()).await;
    let error = promclient::ask(&server, "up", None, PATIENCE).await.unwrap_err();
    assert!(error.contains("redirects are not followed"), "{error}");

    let (server, _asked) = plain("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_owned()).await;
    let error = promclient::ask(&server, "up", None, PATIENCE).await.unwrap_err();
    assert!(error.contains("broke"), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = Server { address, ..Server::default() };
    let error = promclient::ask(&server, "up", None, Duration::from_millis(50)).await.unwrap_err();
    assert!(error.contains("no answer within 50ms"), "{error}");
}

#[tokio::test]
async fn a_certificate_is_trusted_only_when_it_is_named() {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                let _ = serve(stream, answer("200 OK", ONE)).await;
            }
        }
    });
    let named = Server { address, ca_file: Some(path.display().to_string()), ..Server::default() };
    assert_eq!(promclient::ask(&named, "up", None, PATIENCE).await, Ok(Measured::Vector(vec![0.5])));
    let unnamed = Server { ca_file: None, ..named.clone() };
    assert!(promclient::ask(&unnamed, "up", None, PATIENCE).await.is_err());
    let missing = Server { ca_file: Some("/nowhere/ca.pem".to_owned()), ..named };
    let error = promclient::ask(&missing, "up", None, PATIENCE).await.unwrap_err();
    assert!(error.contains("/nowhere/ca.pem cannot be read"), "{error}");
    serving.abort();
}
