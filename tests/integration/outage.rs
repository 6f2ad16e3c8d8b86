//! What takes hours, in the time of the runtime: the whole daemon in this process, real files, a real store
//! and real HTTP, but its clock is moved on by hand. A day without the API: one probe for the app, and at
//! the end every cell holds its newest picture. A key that no row says: looks after growing waits. A day
//! on which nothing changes: no call.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pixcell::a1::CellRef;
use pixcell::config::{Environment, Source};
use pixcell::image::ContentHash;
use pixcell::placement;
use pixcell::sandbox::{AnswerWhen, Cell, Endpoint, Fault, Options, Permission, Sandbox, Sheet};
use pixcell::service::{self, Ask, Intent, LaneEvent, LaneStatus, Mode, Parts, Setup, Snapshot};
use pixcell::store::Timestamp;
use rstest::rstest;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::Instant;

use crate::support::{LIMIT, Mapping, Plan, SHEET, document, png};

const DAY: Duration = Duration::from_hours(24);
const DOCUMENTS: [&str; 5] = ["DocA", "DocB", "DocC", "DocD", "DocE"];
const CELLS: u32 = 10;
/// How long calls are given before it is looked at what came of them.
const MOMENT: Duration = Duration::from_millis(2);

/// How the API is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Away {
    /// Nobody listens.
    Refused,
    /// A gateway answers in its place.
    Gateway,
}

/// The API, on a runtime of its own whose time is everybody's.
struct Api {
    runtime: Runtime,
    reserved: Option<tokio::net::TcpSocket>,
    options: Options,
    sandbox: Option<Sandbox>,
}

impl Api {
    fn new(mut options: Options, away: Away) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        options.addr = socket.local_addr().unwrap();
        let mut runtime = Builder::new_multi_thread();
        runtime.worker_threads(1).enable_all();
        let mut api = Self {
            runtime: runtime.build().unwrap(),
            reserved: Some(socket),
            options,
            sandbox: None,
        };
        if away == Away::Gateway {
            api.listen();
            let fault = Fault::on_every_call().forever().html(502);
            let fault = fault.when(AnswerWhen::BeforeBody);
            api.sandbox().add_fault(fault).unwrap();
        }
        api
    }

    fn listen(&mut self) {
        let starting = Sandbox::start(self.options.clone());
        let started = self.runtime.spawn(starting);
        let (tell, told) = std::sync::mpsc::channel();
        self.runtime.spawn(async move { tell.send(started.await) });
        self.sandbox = Some(told.recv().unwrap().unwrap().unwrap());
        self.reserved = None;
    }

    fn come_back(&mut self) {
        match &self.sandbox {
            Some(sandbox) => sandbox.clear_faults(),
            None => self.listen(),
        }
    }

    fn sandbox(&self) -> &Sandbox {
        self.sandbox.as_ref().unwrap()
    }

    fn holds(&self, document: &str, row: u32, bytes: &[u8]) -> bool {
        let state = self.sandbox().state();
        let image = state.image(document, SHEET, &format!("B{row}"));
        image.is_some_and(|image| image.hash == ContentHash::of(bytes))
    }
}

fn picture(document: usize, row: u32, version: u32) -> Vec<u8> {
    png(version * 10_000 + u32::try_from(document).unwrap() * 100 + row)
}

fn write_all(home: &Path, version: u32) {
    for (number, document) in DOCUMENTS.iter().enumerate() {
        for row in 1..=CELLS {
            let file = home
                .join(document.to_lowercase())
                .join(format!("B{row}.png"));
            fs::write(file, picture(number, row, version)).unwrap();
        }
    }
}

/// Lets real time pass, in which calls end and files are looked at. The runtime's clock stands.
async fn a_moment() {
    let moment = || std::thread::park_timeout(MOMENT);
    tokio::task::spawn_blocking(moment).await.unwrap();
}

async fn status(home: &Path) -> Snapshot {
    let state_dir = home.join("state");
    let ask = move || service::ask::<Snapshot>(&state_dir, &Ask::Status);
    tokio::task::spawn_blocking(ask).await.unwrap().unwrap()
}

/// Moves the clock on to the gate's next probe each time one has failed, until `over`. While a gate is closed
/// time passes in no other way, so no call is ever under way while it does.
async fn pass_time(home: &Path, mut over: impl FnMut() -> bool) {
    let (mut passed, mut since) = (None, std::time::Instant::now());
    while !over() {
        match status(home).await.gate {
            Some(closed) if passed != Some((closed.failed, closed.until)) => {
                let wait = closed.until.since(Timestamp::now());
                // Asking took a while, which the runtime's clock does not know of.
                tokio::time::advance(wait + Duration::from_secs(3)).await;
                passed = Some((closed.failed, closed.until));
                since = std::time::Instant::now();
            }
            Some(_) => a_moment().await,
            // Once calls get through, the clock goes on beside that of the system, which due times are in.
            None => {
                a_moment().await;
                tokio::time::advance(MOMENT).await;
            }
        }
        assert!(
            since.elapsed() < LIMIT,
            "nothing happens any more: {:#?}",
            status(home).await
        );
    }
}

/// The daemon's setup for a plan, with its folders below `home`.
fn setup(plan: &Plan, home: &Path, api: &Api) -> Setup {
    for mapping in &plan.mappings {
        fs::create_dir(home.join(&mapping.folder)).unwrap();
    }
    let text = plan.yaml(&format!("http://{}", api.options.addr));
    let source = Source::from_text(&home.join("pixcell.yaml"), text);
    let loaded = placement::load(&source, &Environment::default()).unwrap();
    let text = ContentHash::of(source.text().as_bytes());
    Setup::new(loaded.config, loaded.routes, text).unwrap()
}

/// Runs the daemon by a clock that stands unless `script` moves it, from when it is ready until the script
/// ends. What happens is told to `heard`.
fn by_hand<R>(setup: Setup, heard: impl Fn(&LaneEvent), script: impl AsyncFnOnce() -> R) -> R {
    let mut runtime = Builder::new_current_thread();
    runtime.enable_all().start_paused(true);
    let (intend, mut intents) = mpsc::channel(1);
    let (ready, is_ready) = oneshot::channel();
    let ready = std::cell::Cell::new(Some(ready));
    let events = Parts::events();
    let mut told: broadcast::Receiver<LaneEvent> = events.subscribe();
    let hearing = async {
        while let Ok(event) = told.recv().await {
            heard(&event);
        }
    };
    let parts = Parts {
        role: "a test",
        mode: Mode::Serve,
        intents: &mut intents,
        reload: &|| Err("there is none".into()),
        events,
        ready: &|| {
            let _ = ready.take().map(|ready| ready.send(()));
        },
        left: &|_| {},
    };
    let script = async {
        is_ready.await.unwrap();
        let done = script().await;
        intend.send(Intent::Stop).await.unwrap();
        done
    };
    let (done, ended) = runtime.build().unwrap().block_on(async {
        // Whatever time the clock is to be moved by, it is moved by hand: a thread at work holds it.
        let (let_go, held) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || held.recv());
        let daemon = service::run(setup, parts);
        let done = tokio::select! {
            biased;
            () = hearing => unreachable!("the events have a sender"),
            done = async { tokio::join!(script, daemon) } => done,
        };
        drop(let_go);
        done
    });
    ended.unwrap();
    done
}

#[rstest]
#[case::nobody_listens(Away::Refused)]
#[case::a_gateway_answers(Away::Gateway)]
fn a_day_without_the_api_costs_few_calls_and_no_picture(#[case] away: Away) {
    let mut plan = Plan::default();
    (plan.mappings, plan.sandbox.documents) = DOCUMENTS
        .iter()
        .map(|token| {
            (
                Mapping::new(&token.to_lowercase(), &token.to_lowercase(), token),
                document(token),
            )
        })
        .unzip();
    let home = tempfile::tempdir().unwrap();
    let mut api = Api::new(plan.sandbox.clone(), away);
    let setup = setup(&plan, home.path(), &api);
    let failed = AtomicU64::new(0);
    let heard = |event: &LaneEvent| {
        if let LaneEvent::Failed { .. } = event {
            failed.fetch_add(1, Ordering::Relaxed);
        }
    };
    let away_calls = by_hand(setup, heard, async || {
        write_all(home.path(), 1);
        let start = Instant::now();
        pass_time(home.path(), || start.elapsed() >= DAY / 2).await;
        write_all(home.path(), 2);
        pass_time(home.path(), || start.elapsed() >= DAY).await;
        let away = failed.load(Ordering::Relaxed);
        api.come_back();
        let all = || {
            (0..DOCUMENTS.len()).all(|number| {
                (1..=CELLS).all(|row| api.holds(DOCUMENTS[number], row, &picture(number, row, 2)))
            })
        };
        pass_time(home.path(), all).await;
        away
    });
    let failed = failed.load(Ordering::Relaxed);
    let state = api.sandbox().state();
    let answered = state.answers(0);
    let all = failed + answered;
    eprintln!("{away:?}: {away_calls} calls while it was away, {all} in all");
    // One in 5 min, and not one a lane in 5 min.
    assert!((280..=340).contains(&away_calls), "{away_calls}");
    assert!(all < 400, "{all}");
    assert_eq!(state.overlaps, 0);
    // Only the second version was ever written.
    for document in DOCUMENTS {
        let revision = state.sheet(document, SHEET).unwrap().revision;
        assert_eq!(revision, u64::from(CELLS), "{document}");
    }
}

#[test]
fn an_answer_about_one_document_ends_the_outage_for_all() {
    let mut plan = Plan::default();
    let both = &DOCUMENTS[..2];
    plan.mappings = both
        .iter()
        .map(|token| Mapping::new(&token.to_lowercase(), &token.to_lowercase(), token))
        .collect();
    // A call may be under way when the clock is moved on again.
    plan.feishu.push("request_timeout: 1h".into());
    let lost = document(both[1]).permission(Permission::None);
    plan.sandbox.documents = Vec::from([document(both[0]), lost]);
    let home = tempfile::tempdir().unwrap();
    let mut api = Api::new(plan.sandbox.clone(), Away::Gateway);
    let setup = setup(&plan, home.path(), &api);
    let refused = AtomicU64::new(0);
    let heard = |event: &LaneEvent| {
        if let LaneEvent::GateClosed { reason } = event
            && reason.contains("permission")
        {
            refused.fetch_add(1, Ordering::Relaxed);
        }
    };
    by_hand(setup, heard, async || {
        // Only the one that has no permission has something to send, and so makes the probes.
        fs::write(home.path().join("docb/B1.png"), png(1)).unwrap();
        let start = Instant::now();
        pass_time(home.path(), || start.elapsed() >= DAY / 24).await;
        api.come_back();
        pass_time(home.path(), || refused.load(Ordering::Relaxed) > 0).await;
        fs::write(home.path().join("doca/B1.png"), png(2)).unwrap();
        let asked = Instant::now();
        soon(home.path(), |_| api.holds(both[0], 1, &png(2))).await;
        assert!(asked.elapsed() < Duration::from_mins(1));
        assert_eq!(status(home.path()).await.gate, None);
    });
}

#[test]
fn a_scope_that_one_document_needs_stops_no_other() {
    let mut plan = Plan::default();
    let wiki = "https://rig.feishu.cn/wiki/WikiNode";
    plan.mappings = Vec::from([
        Mapping::new("plain", "plain", DOCUMENTS[0]),
        Mapping::new("wiki", "wiki", wiki),
    ]);
    let in_wiki = document(DOCUMENTS[1]).wiki_node("WikiNode");
    plan.sandbox.documents = Vec::from([document(DOCUMENTS[0]), in_wiki]);
    plan.feishu.push("request_timeout: 1h".into());
    let home = tempfile::tempdir().unwrap();
    let mut api = Api::new(plan.sandbox.clone(), Away::Refused);
    api.come_back();
    let fault = Fault::on(Endpoint::WikiNode).answer(400, 99_991_672, "scope missing");
    api.sandbox().add_fault(fault.forever()).unwrap();
    let setup = setup(&plan, home.path(), &api);
    let refused = AtomicU64::new(0);
    let heard = |event: &LaneEvent| {
        if let LaneEvent::GateClosed { .. } = event {
            refused.fetch_add(1, Ordering::Relaxed);
        }
    };
    let bring = |folder: &str, row: u32| {
        fs::write(home.path().join(format!("{folder}/B{row}.png")), png(row)).unwrap();
    };
    by_hand(setup, heard, async || {
        bring("wiki", 1);
        soon(home.path(), |status| status.gate.is_some()).await;
        bring("plain", 1);
        let start = Instant::now();
        let apart = async || {
            let status = status(home.path()).await;
            let theirs = |lane: &&LaneStatus| lane.spreadsheet.contains("WikiNode");
            let gate = status.lanes.iter().find(theirs).unwrap().gate.clone();
            status.gate.is_none() && gate.is_some_and(|gate| !gate.passing)
        };
        // The other one's probe gets through, and then it is refused again.
        while !apart().await {
            assert!(start.elapsed() < DAY / 24);
            seconds(1).await;
        }
        assert!(api.holds(DOCUMENTS[0], 1, &png(1)));
        for _ in 0..3 {
            let before = refused.load(Ordering::Relaxed);
            while refused.load(Ordering::Relaxed) == before {
                assert!(start.elapsed() < DAY / 24);
                seconds(1).await;
            }
            assert!(apart().await);
        }
    });
}

/// Moves the clock on by a second at a time; calls end and files are looked at meanwhile.
async fn seconds(count: u32) {
    for _ in 0..count {
        tokio::time::advance(Duration::from_secs(1)).await;
        a_moment().await;
    }
}

/// Lets calls end and files be looked at until it is so, while the clock barely moves.
async fn soon(home: &Path, is_so: impl Fn(&Snapshot) -> bool) {
    let since = std::time::Instant::now();
    loop {
        let status = status(home).await;
        if is_so(&status) {
            return;
        }
        assert!(since.elapsed() < LIMIT, "not so: {status:#?}");
        a_moment().await;
        tokio::time::advance(MOMENT).await;
    }
}

#[test]
fn a_missing_row_is_looked_for_by_one_read_after_growing_waits_and_found_when_it_is_there() {
    const KEYS: u32 = 20;
    let mut plan = Plan::default();
    let found = r#"{ files: "*.png", find_row: { column: A, equals: "{stem}" }, column: D }"#;
    plan.mappings = vec![Mapping::new("shop", "shop", DOCUMENTS[0]).place(found)];
    plan.sandbox.documents = vec![document(DOCUMENTS[0])];
    // Time passes faster than calls are answered.
    plan.feishu.push("request_timeout: 1h".into());
    let home = tempfile::tempdir().unwrap();
    let mut api = Api::new(plan.sandbox.clone(), Away::Refused);
    api.come_back();
    let setup = setup(&plan, home.path(), &api);
    let reads = || api.sandbox().state().calls(Endpoint::ReadValues);
    let drop_file = |name: &str, bytes: &[u8]| {
        fs::write(home.path().join("shop").join(name), bytes).unwrap();
    };
    let say = |cell: &str, text: &str| {
        let (at, value): (CellRef, _) = (cell.parse().unwrap(), text.into());
        let say = |sheet: &mut Sheet| sheet.cells.insert(at, Cell::Value { value });
        api.sandbox().edit_sheet(DOCUMENTS[0], SHEET, say).unwrap();
    };
    let holds = |cell: &str, bytes: &[u8]| {
        let state = api.sandbox().state();
        let image = state.image(DOCUMENTS[0], SHEET, cell);
        image.is_some_and(|image| image.hash == ContentHash::of(bytes))
    };
    // How many pictures are parked, asked until it is so.
    let parked = async |count: u32| {
        soon(home.path(), |status| {
            status.totals.parked == u64::from(count)
        })
        .await;
    };
    by_hand(
        setup,
        |_| {},
        async || {
            for key in 0..KEYS {
                drop_file(&format!("sku-{key}.png"), &png(key));
            }
            parked(KEYS).await;
            assert_eq!(reads(), 1, "one read however many keys are missing");

            let (start, mut looks) = (Instant::now(), Vec::new());
            while looks.len() < 7 {
                seconds(1).await;
                assert!(start.elapsed() < DAY / 20, "{looks:?}");
                if reads() > 1 + looks.len() as u64 {
                    looks.push(start.elapsed().as_secs());
                }
            }
            assert!((25..90).contains(&looks[0]), "{looks:?}");
            let waits: Vec<_> = looks.windows(2).map(|pair| pair[1] - pair[0]).collect();
            for (wait, least) in waits.iter().zip([60, 120, 240, 480, 960, 1920]) {
                assert!((least - 1..least + 60).contains(wait), "{waits:?}");
            }

            // The last look is over, and a row is added to the sheet; no file changes.
            seconds(60).await;
            say("A7", "SKU-3");
            say("A9", "sku-3");
            let before = reads();
            seconds(3450).await;
            assert_eq!(reads(), before);
            seconds(160).await;
            parked(KEYS - 1).await;
            soon(home.path(), |_| holds("D9", &png(3))).await;
            // The look, and the cell that is confirmed before the write.
            assert_eq!(reads(), before + 2);

            // Another key is missing: the column is looked at again after 30 s, for all of them.
            drop_file("late.png", &png(77));
            parked(KEYS).await;
            say("A10", "late");
            let before = reads();
            seconds(90).await;
            soon(home.path(), |_| holds("D10", &png(77))).await;
            assert!(
                (1..=3).contains(&(reads() - before)),
                "{}",
                reads() - before
            );

            // A look is told to wait: nothing else is asked for until then.
            drop_file("later.png", &png(78));
            parked(KEYS).await;
            let throttled = Fault::on(Endpoint::ReadValues).throttle(429, 600);
            api.sandbox().add_fault(throttled).unwrap();
            let (start, before) = (Instant::now(), reads());
            while reads() == before {
                seconds(1).await;
                assert!(start.elapsed() < DAY / 20);
            }
            seconds(5).await;
            say("A11", "later");
            let before = reads();
            seconds(580).await;
            assert_eq!(reads(), before);
            // Looks that fell into the wait have made the waits between them longer.
            seconds(1200).await;
            soon(home.path(), |_| holds("D11", &png(78))).await;
        },
    );
    let state = api.sandbox().state();
    assert_eq!(state.calls(Endpoint::ValuesImage), 3);
    assert!(
        state.image(DOCUMENTS[0], SHEET, "D7").is_none(),
        "case counts"
    );
}

#[test]
fn a_day_on_which_nothing_changes_costs_no_call_but_for_tokens() {
    let mut plan = Plan {
        mappings: vec![Mapping::new("lobby", "lobby", DOCUMENTS[0])],
        ..Plan::default()
    };
    plan.sandbox.documents = vec![document(DOCUMENTS[0])];
    plan.feishu.push("request_timeout: 1h".into());
    plan.feishu.push("monthly_calls: 10000".into());
    let home = tempfile::tempdir().unwrap();
    let mut api = Api::new(plan.sandbox.clone(), Away::Refused);
    api.come_back();
    let setup = setup(&plan, home.path(), &api);
    let bring = |row: u32| {
        fs::write(home.path().join(format!("lobby/B{row}.png")), png(row)).unwrap();
    };
    let written = |row: u32| api.holds(DOCUMENTS[0], row, &png(row));
    let minutes = u32::try_from(DAY.as_secs() / 60).unwrap();
    let tokens = [Endpoint::TenantToken, Endpoint::UserToken];
    let others = || {
        let calls = api.sandbox().state().calls_by_endpoint;
        let others = calls
            .iter()
            .filter(|(endpoint, _)| !tokens.contains(endpoint));
        others.map(|(_, calls)| calls).sum::<u64>()
    };
    by_hand(
        setup,
        |_| {},
        async || {
            bring(1);
            soon(home.path(), |_| written(1)).await;
            soon(home.path(), |status| status.totals.written == 1).await;
            let before = others();
            assert_eq!(before, 2, "the sheets and the picture");
            for _ in 0..minutes {
                tokio::time::advance(Duration::from_mins(1)).await;
                a_moment().await;
            }
            assert_eq!(others(), before);
            // The day has passed for the daemon, and it is awake: its token is too old.
            let fetched = api.sandbox().state().calls(Endpoint::TenantToken);
            bring(2);
            soon(home.path(), |_| written(2)).await;
            assert_eq!(others(), before + 1);
            let now = api.sandbox().state().calls(Endpoint::TenantToken);
            assert_eq!(now, fetched + 1);
        },
    );
}
