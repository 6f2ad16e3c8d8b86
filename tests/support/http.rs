//! Just enough HTTP to ask the sandbox what the daemon was told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

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
