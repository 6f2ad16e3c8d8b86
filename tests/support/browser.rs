//! A headless Chromium, driven by chromedriver in the W3C's protocol for that.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::exchange;
use super::{LIMIT, pause};

/// A browser with one window; ended when it is dropped.
pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    /// Its profile and what it leaves behind.
    _home: TempDir,
}

impl Browser {
    /// Opens a page; `None`, and a line that says so, where the programs are missing.
    #[track_caller]
    pub fn open(url: &str) -> Option<Self> {
        let home = tempfile::Builder::new()
            .prefix("pixcell-browser-")
            .tempdir()
            .unwrap();
        // Freed again at once; nobody else is given it in that moment.
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={}", address.port()))
            .env("TMPDIR", home.path())
            .env("HOME", home.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(driver) = driver else {
            eprintln!(
                "not tried: chromedriver is missing (apt-get install chromium chromium-driver)"
            );
            return None;
        };
        let mut browser = Self {
            driver,
            address,
            session: String::new(),
            _home: home,
        };
        let end = Instant::now() + LIMIT;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < end, "chromedriver does not listen");
            pause();
        }
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ];
        let options = json!({"goog:chromeOptions": {"args": args}});
        let session = browser.post(
            "/session",
            &json!({"capabilities": {"alwaysMatch": options}}),
        );
        browser.session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        browser.post("/url", &json!({ "url": url }));
        Some(browser)
    }

    /// What a piece of script returns.
    #[track_caller]
    pub fn script(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Waits until a piece of script returns what is wanted.
    #[track_caller]
    pub fn wait(&self, script: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + LIMIT;
        loop {
            let value = self.script(script);
            if is_so(&value) {
                return value;
            }
            if Instant::now() > end {
                let page = self.script("return document.body.innerText");
                panic!("{script} returns {value}; the page says:\n{page}");
            }
            pause();
        }
    }

    #[track_caller]
    fn post(&self, command: &str, body: &Value) -> Value {
        let (session, address) = (&self.session, self.address);
        let head = format!(
            "POST {session}{command} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json"
        );
        let answer = exchange(address, &head, &body.to_string());
        assert_eq!(answer.status, 200, "{command}: {}", answer.text());
        answer.json()["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser only when it is told to.
        if !self.session.is_empty() {
            let (session, address) = (&self.session, self.address);
            let head = format!("DELETE {session} HTTP/1.1\r\nHost: {address}");
            let _ = std::panic::catch_unwind(|| exchange(address, &head, ""));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
