//! Calls that wait for their turns: they keep apart whatever the disk does, and hold nothing that others need.

use std::fmt;
use std::future::Future;
use std::io::Write;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use pixcell::config::{Feishu, Identity, ImageEncoding};
use pixcell::feishu::{Client, Kind, Meter, Picture, hold};
use pixcell::image::ContentHash;
use pixcell::sandbox::{Endpoint, Options, Sandbox};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Barrier;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use crate::support::{LIMIT, SHEET, document, jpeg, with_comments};

const DOCUMENTS: [&str; 6] = ["DocA", "DocB", "DocC", "DocD", "DocE", "DocF"];
const RATE: u32 = 20;

/// The API, on a runtime of its own.
fn sandbox() -> (Runtime, Sandbox) {
    let mut runtime = Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
    let options = Options {
        requests_per_second: 1_000,
        documents: DOCUMENTS.map(document).into(),
        ..Options::default()
    };
    let sandbox = runtime.block_on(Sandbox::start(options)).unwrap();
    (runtime, sandbox)
}

fn client(sandbox: &Sandbox, meter: impl Meter + 'static) -> Client {
    let known = Options::default();
    let client = Client::new(&Feishu {
        endpoint: sandbox.url().parse().unwrap(),
        app_id: known.app_id,
        identity: Identity::App {
            secret: known.app_secret.into(),
        },
        image_encoding: ImageEncoding::Base64,
        requests_per_second: NonZeroU32::new(RATE).unwrap(),
        monthly_calls: None,
        connect_timeout: Duration::from_secs(30),
        request_timeout: Duration::from_secs(30),
        proxy: None,
        ca_file: None,
    });
    client.unwrap().counted_by(Arc::new(meter))
}

type Spent<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// A disk so slow that all calls wait for it together.
#[derive(Debug)]
struct SlowDisk(Barrier);

impl Meter for SlowDisk {
    fn spend(&self, kind: Kind) -> Spent<'_> {
        Box::pin(async move {
            if kind == Kind::Counted {
                self.0.wait().await;
            }
            Ok(())
        })
    }

    fn refund(&self) {}

    fn unmade(&self, _: Kind) {}
}

#[test]
fn calls_that_waited_for_the_disk_together_leave_one_by_one() {
    let (_runtime, sandbox) = sandbox();
    let client = client(&sandbox, SlowDisk(Barrier::new(DOCUMENTS.len())));
    let calling = Builder::new_current_thread().enable_all().build().unwrap();
    calling.block_on(async {
        let mut calls = JoinSet::new();
        for document in DOCUMENTS {
            let client = client.clone();
            calls.spawn(async move { client.sheets(&document.parse().unwrap()).await });
        }
        for done in timeout(LIMIT, calls.join_all()).await.unwrap() {
            done.unwrap();
        }
    });
    let state = sandbox.state();
    let begun = state
        .calls
        .iter()
        .filter(|call| call.endpoint != Endpoint::TenantToken)
        .map(|call| call.started_ms);
    let (first, last) = (begun.clone().min().unwrap(), begun.max().unwrap());
    // Five gaps of 55 ms, but for what the network delays the first one by.
    assert!(last - first >= 150, "{:#?}", state.calls);
}

#[test]
fn a_client_that_replaces_another_takes_its_turns_among_the_calls_of_both() {
    let (_runtime, sandbox) = sandbox();
    let before = client(&sandbox, OnAThread);
    let mut after = client(&sandbox, OnAThread);
    after.keep_pace_of(&before);
    let calling = Builder::new_current_thread().enable_all().build().unwrap();
    calling.block_on(async {
        let mut calls = JoinSet::new();
        for document in DOCUMENTS {
            for client in [before.clone(), after.clone()] {
                calls.spawn(async move { client.sheets(&document.parse().unwrap()).await });
            }
        }
        for done in timeout(LIMIT, calls.join_all()).await.unwrap() {
            done.unwrap();
        }
    });
    let calls = sandbox.state().calls;
    let begun = calls.iter().map(|call| call.started_ms);
    let (first, last) = (begun.clone().min().unwrap(), begun.max().unwrap());
    // Two tokens and twelve looks: 13 gaps of 55 ms, and 6 if each had a pace of its own.
    assert!(last - first >= 500, "{calls:#?}");
}

/// Counts on a thread where blocking is allowed.
struct OnAThread;

impl fmt::Debug for OnAThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnAThread")
    }
}

impl Meter for OnAThread {
    fn spend(&self, _: Kind) -> Spent<'_> {
        Box::pin(async { spawn_blocking(|| ()).await.map_err(|why| why.to_string()) })
    }

    fn refund(&self) {}

    fn unmade(&self, _: Kind) {}
}

#[test]
fn pictures_that_wait_for_their_turns_take_no_thread_from_others() {
    let (_runtime, sandbox) = sandbox();
    let client = client(&sandbox, OnAThread);
    // More than is read ahead of the network.
    let bytes = with_comments(&jpeg(1), 2_000_000);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    let picture = Picture {
        file: Arc::new(file),
        length: bytes.len() as u64,
        hash: ContentHash::of(&bytes),
    };
    let mut calling = Builder::new_current_thread();
    // Fewer threads than pictures.
    let calling = calling.max_blocking_threads(2).enable_all();
    let calling = calling.build().unwrap();
    calling.block_on(async {
        let mut calls = JoinSet::new();
        for document in DOCUMENTS {
            let (client, picture) = (client.clone(), picture.clone());
            calls.spawn(async move {
                let (document, sheet) = (document.parse().unwrap(), SHEET.parse().unwrap());
                let (let_go, hold) = hold();
                let_go.let_go();
                let cell = "B2".parse().unwrap();
                let written =
                    client.write_image(&document, &sheet, cell, "B2.jpg", &picture, &hold);
                written.await
            });
        }
        let done = timeout(LIMIT, calls.join_all()).await;
        for written in done.expect("a picture waits for ever") {
            written.unwrap();
        }
    });
}
