//! A whole lane by itself: a real store, gates as they have to be, and an API that is never reached. The time
//! is the runtime's.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::react::Probes;
use super::*;
use crate::config::{Feishu, Identity, ImageEncoding};
use crate::feishu::Client;
use crate::intake::Copies;
use crate::placement::Routes;
use crate::store::fixture::{address, file, job};
use crate::store::{FileRecord, Job, Seen, SlotRecord, Store, Timestamp};

/// A client of nobody.
fn client() -> Client {
    let config = Feishu {
        endpoint: "http://127.0.0.1:9".parse().unwrap(),
        app_id: "cli_a".into(),
        identity: Identity::App {
            secret: "secret".into(),
        },
        image_encoding: ImageEncoding::Base64,
        requests_per_second: NonZeroU32::MIN,
        monthly_calls: None,
        connect_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_secs(1),
        proxy: None,
        ca_file: None,
    };
    Client::new(&config).unwrap()
}

/// A store with one job that is due.
fn store(state_dir: &TempDir) -> Store {
    let store = crate::store::open(state_dir.path()).unwrap().store;
    let (address, job) = (address("B2"), job(1, "a"));
    let record = FileRecord {
        fingerprint: job.fingerprint,
        slot: Some(address.clone()),
        seen: Seen::Image {
            hash: job.hash,
            format: job.format,
            arrival: None,
        },
        at: Timestamp(1),
    };
    store
        .take_image(&job.source.clone(), &record, &address, move |slot| {
            slot.job = Some(job.clone());
        })
        .unwrap();
    store
}

/// The lane of that job; its folders are compared.
fn lane(state_dir: &TempDir, app: &Arc<SharedGate>, own: &Arc<SharedGate>) -> Lane {
    let (stale, _) = mpsc::channel(1);
    let shared = Shared {
        store: store(state_dir),
        client: client(),
        routes: Routes::new([]),
        gate: Arc::clone(app),
        budget: Arc::new(Budget::open(state_dir.path()).unwrap()),
        events: broadcast::Sender::new(1),
        stale,
        copies: Copies::new(state_dir.path()),
        written: Arc::default(),
        mended: Arc::default(),
        documents: Documents::default(),
        folders: Folders::default(),
        names: SheetNames::default(),
    };
    Lane {
        spreadsheet: address("B2").spreadsheet,
        shared,
        state: watch::Sender::new(LaneState::Starting),
        compared: watch::Sender::new(true).subscribe(),
        gate: Arc::clone(own),
    }
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_is_told_to_stop_leaves_its_probe_to_its_successor() {
    let state_dir = tempfile::tempdir().unwrap();
    let [app, own] = [(); 2].map(|()| Arc::new(SharedGate::default()));
    let (now, clock) = (Instant::now(), Timestamp::now());
    own.change(|gate| gate.close("no permission", Probes::Person, None, now, clock));
    let asked = Pause {
        wait: Duration::from_hours(1),
        asked: true,
    };
    app.change(|gate| gate.pause("throttled", asked, now, clock));
    let stop = CancellationToken::new();
    let running = tokio::spawn(run(lane(&state_dir, &app, &own), stop.clone()));
    // It takes its own probe, and waits for the app.
    sleep(Duration::from_secs(31)).await;
    let taken = own.change(|gate| gate.pass(Instant::now()));
    assert!(matches!(taken, Pass::Wait(_)), "{taken:?}");
    stop.cancel();
    running.await.unwrap().unwrap();
    let next = own.change(|gate| gate.pass(Instant::now()));
    assert!(matches!(next, Pass::Probe(_)), "{next:?}");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_made_no_call_is_followed_by_another_at_once() {
    let state_dir = tempfile::tempdir().unwrap();
    let [app, own] = [(); 2].map(|()| Arc::new(SharedGate::default()));
    let (now, clock) = (Instant::now(), Timestamp::now());
    for gate in [&app, &own] {
        gate.change(|gate| gate.close("the quota is used up", Probes::Quota, None, now, clock));
    }
    let lane = lane(&state_dir, &app, &own);
    let (store, stop) = (lane.shared.store.clone(), CancellationToken::new());
    let running = tokio::spawn(run(lane, stop.clone()));
    // The job that probes is one that no mapping has any more: it is withdrawn.
    sleep(Duration::from_mins(61)).await;
    assert_eq!(store.queued(), 0);
    for gate in [app, own] {
        let next = gate.change(|gate| gate.pass(Instant::now()));
        assert!(matches!(next, Pass::Probe(_)), "{next:?}");
    }
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_turn_leaves_nothing_of_a_wait_that_was_over_before_it() {
    let state_dir = tempfile::tempdir().unwrap();
    let [app, own] = [(); 2].map(|()| Arc::new(SharedGate::default()));
    let lane = lane(&state_dir, &app, &own);
    // Another job stays, so that the lane does not say by itself that it has none.
    let later = Timestamp::now().after(Duration::from_mins(5));
    let place = address("B3");
    let other = Job {
        source: file("b.png"),
        ..job(2, "b")
    };
    let put = {
        let other = other.clone();
        move |slot: &mut SlotRecord| slot.job = Some(other.clone())
    };
    let record = FileRecord {
        fingerprint: other.fingerprint,
        slot: Some(place.clone()),
        seen: Seen::Image {
            hash: other.hash,
            format: other.format,
            arrival: None,
        },
        at: Timestamp(1),
    };
    let (store, mut state) = (lane.shared.store.clone(), lane.state.subscribe());
    store
        .take_image(&other.source, &record, &place, put)
        .unwrap();
    store.postpone(&place, &other, later, false).unwrap();
    let told = lane.state.clone();
    let stop = CancellationToken::new();
    let running = tokio::spawn(run(lane, stop.clone()));
    state
        .wait_for(|state| *state == LaneState::Idle)
        .await
        .unwrap();
    told.send_replace(LaneState::Waiting {
        why: "busy".into(),
        failures: 5,
        until: Timestamp(1),
    });
    // No mapping has the job that is due: its turn makes no call.
    sleep(Duration::from_secs(1)).await;
    while store.queued() > 1 {
        tokio::task::yield_now().await;
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(*told.borrow(), LaneState::Idle);
    stop.cancel();
    running.await.unwrap().unwrap();
}
