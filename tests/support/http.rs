//! Just enough HTTP to ask the sandbox what the daemon was told, the daemon for its status, and a
//! browser's driver to do something.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::LIMIT;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The head, names in lower case.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Sends a request as it is written, with a body's length added, and reads the answer.
#[track_caller]
pub fn exchange(server: SocketAddr, head: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while reader.read_line(&mut head).unwrap() > 2 {}
    head.make_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map(|length| length.trim().parse().unwrap());
    let mut body = Vec::new();
    match length {
        // Not every server closes when it is asked to.
        Some(length) => {
            reader.take(length).read_to_end(&mut body).unwrap();
        }
        // Does not end.
        None if head.contains("content-type: text/event-stream") => {}
        None => {
            reader.read_to_end(&mut body).unwrap();
        }
    }
    Answer { status, head, body }
}

/// Gets a path from a server that is asked by its address.
#[track_caller]
pub fn get(server: SocketAddr, path: &str) -> Answer {
    exchange(
        server,
        &format!("GET {path} HTTP/1.1\r\nHost: {server}"),
        "",
    )
}

/// The tenant token that the daemon has as well: asked again, the API hands out the same one.
pub fn fetch_token(sandbox: SocketAddr, app_id: &str, app_secret: &str) -> String {
    let body = serde_json::json!({"app_id": app_id, "app_secret": app_secret}).to_string();
    let mut stream = TcpStream::connect(sandbox).unwrap();
    write!(
        stream,
        "POST /open-apis/auth/v3/tenant_access_token/internal HTTP/1.1\r\nHost: {sandbox}\r\n\
         Content-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    body["tenant_access_token"].as_str().unwrap().to_owned()
}
