//! Pictures and a caller for the tests of this room, made here so that no other room's code is
//! trusted.

use std::io;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Sandbox;

/// A whole PNG of this size.
pub fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    ::image::RgbImage::new(width, height)
        .write_to(&mut bytes, ::image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

/// The body of a write as base64.
pub fn body(range: &str, name: &str, bytes: &[u8]) -> String {
    let image = STANDARD.encode(bytes);
    serde_json::json!({"range": range, "image": image, "name": name}).to_string()
}

/// A caller that speaks HTTP/1.1 by hand, so that it can also speak it wrongly.
pub struct Caller {
    addr: SocketAddr,
    /// The token that [`Caller::api`] sends.
    pub token: String,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    head: String,
    /// The body's bytes.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as JSON; `null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The code in it.
    pub fn code(&self) -> Option<i64> {
        self.json()["code"].as_i64()
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

impl Caller {
    /// A caller that has fetched a token.
    pub async fn with_token(sandbox: &Sandbox) -> Self {
        let mut caller = Self {
            addr: sandbox.addr(),
            token: String::new(),
        };
        let reply = caller.token_call("cli_sandbox", "sandbox-secret").await;
        caller.token = reply.json()["tenant_access_token"]
            .as_str()
            .unwrap()
            .to_owned();
        caller
    }

    /// The tenant token call.
    pub async fn token_call(&self, app_id: &str, app_secret: &str) -> Reply {
        let body = serde_json::json!({"app_id": app_id, "app_secret": app_secret}).to_string();
        let path = "/open-apis/auth/v3/tenant_access_token/internal";
        self.api("POST", path, &body).await.unwrap()
    }

    /// A write of a picture.
    pub async fn put(&self, spreadsheet: &str, range: &str, bytes: &[u8]) -> io::Result<Reply> {
        let path = format!("/open-apis/sheets/v2/spreadsheets/{spreadsheet}/values_image");
        self.api("POST", &path, &body(range, "a.png", bytes)).await
    }

    /// A well-formed call.
    pub async fn api(&self, method: &str, path: &str, body: &str) -> io::Result<Reply> {
        let length = match method {
            "GET" => String::new(),
            _ => format!(
                "Content-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\n",
                body.len()
            ),
        };
        let head = format!("Authorization: Bearer {}\r\n{length}", self.token);
        self.raw(method, path, &head, body.as_bytes()).await
    }

    /// A call to the control plane or the page.
    pub async fn local(&self, method: &str, path: &str, body: &str) -> Reply {
        let head = format!("Content-Length: {}\r\n", body.len());
        self.raw(method, path, &head, body.as_bytes())
            .await
            .unwrap()
    }

    /// Any call: `head` is header lines, each with its line end. A `Host` is added unless it has one.
    pub async fn raw(
        &self,
        method: &str,
        path: &str,
        head: &str,
        body: &[u8],
    ) -> io::Result<Reply> {
        let mut stream = TcpStream::connect(self.addr).await?;
        let host = if head.contains("Host: ") {
            String::new()
        } else {
            format!("Host: {}\r\n", self.addr)
        };
        let request = format!("{method} {path} HTTP/1.1\r\n{host}{head}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        stream.write_all(body).await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        let end = bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Ok(Reply {
            status: status.ok_or(io::ErrorKind::InvalidData)?,
            head,
            body: bytes[end + 4..].to_vec(),
        })
    }
}
