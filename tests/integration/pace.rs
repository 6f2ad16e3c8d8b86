//! Calls are a budget: never more in a second than configured, and a slot not more often than its
//! interval, with the last picture in the cell all the same.

use std::fs;
use std::time::{Duration, Instant};

use pixcell::sandbox::{AnswerWhen, DocumentSpec, Endpoint, Fault, Outcome, SheetSpec};

use crate::support::{DOC, LIMIT, Mapping, Rig, SHEET, document, png};

#[test]
fn the_configured_rate_is_never_exceeded_over_all_documents() {
    const RATE: u32 = 10;
    let mut rig = Rig::with(|plan| {
        plan.feishu.push(format!("requests_per_second: {RATE}"));
        // Refuses what the app may not do, so that a faster caller is also seen by its failures.
        plan.sandbox.requests_per_second = RATE;
        for name in ["DocA", "DocB", "DocC"] {
            plan.sandbox.documents.push(document(name));
            plan.mappings
                .push(Mapping::new(&name.to_lowercase(), "in", name));
        }
    });
    for row in 1..=6 {
        rig.drop_file(format!("B{row}.png"), &png(row));
    }
    let start = Instant::now();
    rig.start();
    for document in ["DocLobby", "DocA", "DocB", "DocC"] {
        for row in 1..=6 {
            rig.expect_in(document, &format!("B{row}"), &png(row));
        }
    }
    let state = rig.state();
    assert!(
        state.most_in_a_second <= RATE as usize,
        "{} in a second",
        state.most_in_a_second
    );
    assert_eq!(state.answers(99_991_400), 0);
    // 24 writes and 4 looks at sheets, no slower than twice what the rate asks for.
    assert!(
        start.elapsed() < Duration::from_secs(12),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(rig.writes(), 24);
}

/// Though the API is called in another way after each of them, and by a lane that has waited for nothing.
#[test]
fn reloads_do_not_exceed_the_configured_rate() {
    const RATE: u32 = 2;
    let names = ["a", "b", "c", "d"];
    let mut rig = Rig::with(|plan| {
        plan.feishu.push(format!("requests_per_second: {RATE}"));
        plan.sandbox.requests_per_second = RATE;
        plan.mappings.clear();
        for name in names {
            plan.sandbox.documents.push(document(name));
            plan.mappings.push(Mapping::new(name, name, name));
        }
    });
    for name in names {
        fs::create_dir(rig.path(name)).unwrap();
    }
    rig.start();
    for (name, seconds) in names.into_iter().zip(20..) {
        let whole = rig.outside("whole.png", &png(seconds));
        fs::rename(whole, rig.path(name).join("B2.png")).unwrap();
        rig.expect_in(name, "B2", &png(seconds));
        rig.plan.feishu.retain(|line| !line.contains("timeout"));
        rig.plan.feishu.push(format!("request_timeout: {seconds}s"));
        rig.reload();
    }
    let starts: Vec<_> = rig
        .state()
        .calls
        .iter()
        .map(|call| call.started_ms)
        .collect();
    assert_eq!(starts.len(), 3 * names.len(), "tokens, sheets and pictures");
    for pair in starts.windows(2) {
        let pause = Duration::from_millis(pair[1] - pair[0]);
        // A busy machine takes up one of them late.
        assert!(pause * 2 >= Duration::from_secs(1) / RATE, "{starts:?}");
    }
    rig.stop();
}

#[test]
fn a_slot_is_written_no_more_often_than_its_interval() {
    const INTERVAL: Duration = Duration::from_secs(1);
    let mut rig = Rig::with(|plan| plan.mappings[0].lines.push("min_interval: 1s".into()));
    rig.start();
    let start = Instant::now();
    let mut version = 0;
    // Rewritten without a pause for as long as three writes take, beside a token and the sheets.
    while rig.state().answers(0) < 2 + 3 {
        version += 1;
        rig.drop_file("B2.png", &png(version));
        rig.meanwhile(1, Duration::from_millis(5));
        assert!(start.elapsed() < LIMIT, "{} writes only", rig.writes());
    }
    version += 1;
    rig.drop_file("B2.png", &png(version));
    rig.expect("B2", &png(version));
    // A call whose file is rewritten while it is read is given up before its end.
    let mut calls = rig.write_records();
    calls.retain(|call| call.outcome == Some(Outcome::Answered));
    for pair in calls.windows(2) {
        let pause = Duration::from_millis(pair[1].started_ms - pair[0].ended_ms.unwrap());
        // The sandbox rounds both to the millisecond.
        assert!(pause + Duration::from_millis(2) >= INTERVAL, "{pause:?}");
    }
    let most = start.elapsed().as_secs() + 2;
    assert!(
        calls.len() as u64 <= most,
        "{} writes of {version} versions",
        calls.len()
    );
    let writes = rig.writes();
    rig.finish(writes);
    rig.expect("B2", &png(version));
}

#[test]
fn an_interval_of_one_slot_holds_up_no_other() {
    let mut rig = Rig::with(|plan| plan.mappings[0].lines.push("min_interval: 10m".into()));
    rig.start();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    rig.drop_file("B2.png", &png(2));
    rig.wait_queued("B2.png", &png(2));
    rig.drop_file("B3.png", &png(3));
    rig.expect("B3", &png(3));
    rig.fence();
    assert_eq!(rig.writes(), 2);
    // Kept over a restart: neither sent early nor forgotten.
    rig.stop();
    rig.start();
    rig.fence();
    assert_eq!(
        (rig.writes(), &rig.status()["totals"]["queued"]),
        (2, &1.into())
    );
}

#[test]
fn a_wait_for_a_document_is_kept_under_each_of_its_names() {
    const WAIT: u64 = 3;
    let mut rig = Rig::with(|plan| {
        plan.sandbox.documents[0].wiki_node = Some("WikiNodeLobby".into());
        let wiki = "https://rig.feishu.cn/wiki/WikiNodeLobby?sheet=Q7PlXT";
        let mut more = Mapping::new("more", "more", wiki);
        more.rules[0].1 = "K{cell}".into();
        more.rules[0].0 = "{cell:int}.png".into();
        plan.mappings.push(more);
    });
    fs::create_dir(rig.path("more")).unwrap();
    rig.start();
    let throttled = Fault::on(Endpoint::ValuesImage).answer(400, 90_217, "too many requests");
    let throttled = throttled.header("x-ogw-ratelimit-reset", WAIT.to_string());
    rig.fault(throttled);
    rig.hold_writes();
    rig.drop_file("B2.png", &png(1));
    rig.wait_held();
    // Behind the call that is told to wait, in the other lane.
    fs::write(rig.path("more/2.png"), png(2)).unwrap();
    rig.wait_queued("2.png", &png(2));
    rig.sandbox().release();
    rig.expect("B2", &png(1));
    rig.expect("K2", &png(2));
    let calls = rig.write_records();
    let told = calls.iter().find(|call| call.code == Some(90_217)).unwrap();
    let ended = told.ended_ms.unwrap();
    let after: Vec<_> = calls.iter().filter(|call| call.id != told.id).collect();
    assert_eq!(after.len(), 2, "{calls:#?}");
    for call in after {
        let waited = call.started_ms.saturating_sub(ended);
        assert!(waited >= WAIT * 1000 - 2, "{waited} ms: {calls:#?}");
    }
    rig.finish(3);
}

#[test]
fn one_document_has_one_call_in_flight_however_many_mappings_feed_it() {
    let mut rig = Rig::with(|plan| {
        // Longer than the gap between two calls of the app, so that two lanes would meet.
        plan.sandbox.latency = Duration::from_millis(40);
        // One names it by its wiki page, the other by its token.
        plan.sandbox.documents[0].wiki_node = Some("WikiNodeLobby".into());
        let wiki = "https://rig.feishu.cn/wiki/WikiNodeLobby?sheet=Q7PlXT";
        let mut more = Mapping::new("more", "more", wiki);
        more.rules[0].1 = "K{cell}".into();
        more.rules[0].0 = "{cell:int}.png".into();
        plan.mappings.push(more);
    });
    std::fs::create_dir(rig.path("more")).unwrap();
    rig.start();
    for row in 1..=10 {
        rig.drop_file(format!("B{row}.png"), &png(row));
        std::fs::write(rig.path(format!("more/{row}.png")), png(100 + row)).unwrap();
    }
    for row in 1..=10 {
        rig.expect(&format!("B{row}"), &png(row));
        rig.expect(&format!("K{row}"), &png(100 + row));
    }
    // That no two overlapped is checked by the rig.
    rig.finish(20);
}

#[test]
fn a_wait_that_the_server_asks_for_holds_although_another_document_succeeds() {
    let mut rig = Rig::with(|plan| {
        plan.sandbox.documents.push(document("DocA"));
        plan.mappings.push(Mapping::new("a", "a", "DocA"));
    });
    fs::create_dir(rig.path("a")).unwrap();
    rig.start();
    // Both calls are in flight before either is answered.
    let throttled = Fault::on(Endpoint::ValuesImage)
        .spreadsheet("DocA")
        .throttle(429, 2);
    rig.fault(throttled.when(AnswerWhen::BeforeWrite));
    rig.hold_writes();
    rig.drop_file("B2.png", &png(1));
    fs::write(rig.path("a/B2.png"), png(2)).unwrap();
    rig.wait("both are held", |state| state.held() == 2);
    rig.sandbox().release();
    rig.expect("B2", &png(1));
    rig.drop_file("B3.png", &png(3));
    rig.expect("B3", &png(3));
    rig.expect_in("DocA", "B2", &png(2));
    // A token, two lists of sheets, three pictures.
    let calls = rig
        .wait("every call has ended", |state| state.answers(0) == 6)
        .calls;
    let throttled = calls
        .iter()
        .find(|call| call.code == Some(99_991_400))
        .unwrap();
    let ended = throttled.ended_ms.unwrap();
    let after: Vec<_> = calls
        .iter()
        .filter(|call| call.started_ms > ended)
        .collect();
    assert_eq!(after.len(), 2, "{calls:#?}");
    for call in after {
        assert!(
            call.started_ms >= ended + 2_000,
            "{call:?} after {throttled:?}"
        );
    }
}

#[test]
fn calls_that_wait_for_their_turns_keep_to_a_wait_that_the_server_asks_for() {
    const WAIT: u64 = 3;
    let documents: Vec<_> = (1..20).map(|number| format!("Doc{number}")).collect();
    let mut rig = Rig::with(|plan| {
        plan.feishu.push("requests_per_second: 10".into());
        for name in &documents {
            plan.sandbox.documents.push(document(name));
            plan.mappings
                .push(Mapping::new(&name.to_lowercase(), "in", name));
        }
    });
    // First a look at a sheet meets it, after the token, and then a write.
    rig.fault(Fault::on_every_call().after(1).throttle(429, WAIT));
    rig.drop_file("B2.png", &png(1));
    rig.start();
    for (throttled, cell) in ["B2", "B3"].into_iter().enumerate() {
        if cell == "B3" {
            rig.fault(Fault::on(Endpoint::ValuesImage).throttle(429, WAIT));
            rig.drop_file("B3.png", &png(1));
        }
        for document in documents.iter().map(String::as_str).chain([DOC]) {
            rig.expect_in(document, cell, &png(1));
        }
        let calls = rig
            .wait("no call in flight", |state| state.in_flight.is_empty())
            .calls;
        let refused = calls.iter().filter(|call| call.code == Some(99_991_400));
        let ended = refused.clone().next_back().unwrap().ended_ms.unwrap();
        assert_eq!(refused.count(), throttled + 1);
        let within = ended + 1..ended + WAIT * 1_000;
        let inside: Vec<_> = calls
            .iter()
            .filter(|call| within.contains(&call.started_ms))
            .collect();
        // One may be on its way while the answer is.
        assert!(inside.len() <= 1, "{inside:#?}");
    }
    // Those that were not made are neither counted nor failures.
    let calls = rig.state().calls.len();
    assert_eq!(calls, 1 + 20 + 40 + 2);
    rig.wait_status("all are counted", |status| {
        let counts = &status["calls"];
        (&counts["this_month"], &counts["used"]) == (&calls.into(), &(calls - 3).into())
    });
    rig.stop();
    let told = rig.printed_by_daemons();
    assert_eq!(told.matches(" WARN ").count(), 2, "{told}");
}

/// `PIXCELL_TEST_JOBS=10000` is the long form, of some minutes.
#[test]
fn a_document_with_many_pictures_holds_up_no_other() {
    let long = std::env::var("PIXCELL_TEST_JOBS").ok();
    let jobs: u32 = long.map_or(200, |jobs| jobs.parse().unwrap());
    let mut rig = Rig::with(|plan| {
        plan.feishu.push("requests_per_second: 5".into());
        let sheet = SheetSpec::new(SHEET, "Lobby").grid(jobs, 20);
        plan.sandbox.documents = vec![DocumentSpec::new(DOC).sheet(sheet), document("DocA")];
        plan.mappings.push(Mapping::new("a", "a", "DocA"));
    });
    fs::create_dir(rig.path("a")).unwrap();
    let picture = png(1);
    for row in 1..=jobs {
        rig.drop_file(format!("A{row}.png"), &picture);
    }
    rig.start_unready();
    // Each is looked at first, without optimisation.
    let end = Instant::now() + LIMIT + Duration::from_millis(30) * jobs;
    while rig.writes() == 0 {
        assert!(Instant::now() < end, "nothing is written yet");
        rig.meanwhile(1, Duration::from_secs(1));
    }
    fs::write(rig.path("a/B2.png"), png(2)).unwrap();
    rig.daemon()
        .wait_line(&["mapping=a", "B2.png", "decision=Queued"]);
    let before = rig.writes();
    rig.expect_in("DocA", "B2", &png(2));
    // One of theirs may be in its turn at each of the three calls of the one: token or sheets, and picture.
    let between = rig.writes() - before;
    assert!(between <= 4, "{between} calls of {jobs} went first");
    let queued = rig.status()["totals"]["queued"].as_u64().unwrap();
    assert!(queued > u64::from(jobs) / 2, "{queued} still wait");
}
