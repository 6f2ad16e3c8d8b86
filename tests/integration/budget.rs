//! The month's calls: counted through kills, warned about, spread, shared between mappings, and used up.
//!
//! The month and what is left of it are the real ones; what was used of them is written into the state
//! before the daemon starts, as an earlier run would have.

use std::fs;
use std::time::{Duration, SystemTime};

use pixcell::sandbox::{Endpoint, State};
use pixcell::store::{CallsFile, Count, Timestamp};
use serde_json::Value;

use crate::support::{Mapping, Plan, Rig, document, png};

const APP: &str = "cli_rig";

/// What the state says was used when the daemon starts.
fn record(rig: &Rig, change: impl FnOnce(&mut Count)) {
    let state = rig.path("state");
    fs::create_dir_all(&state).unwrap();
    let mut count = Count::default();
    count.turn(Timestamp::now());
    change(&mut count);
    CallsFile::empty(&state).put(APP, count).unwrap();
}

fn recorded(rig: &Rig) -> Count {
    CallsFile::read(&rig.path("state")).unwrap().get(APP)
}

/// Calls that the sandbox saw and that count against the quota.
fn counted(state: &State) -> u64 {
    let free = [Endpoint::TenantToken, Endpoint::UserToken];
    let all = state.calls.iter().chain(state.in_flight.values());
    let counted = all.filter(|call| !free.contains(&call.endpoint) && call.status != Some(429));
    counted.count() as u64
}

fn calls(status: &Value) -> &Value {
    &status["calls"]
}

/// A budget of which one call every `gap` is left, with nothing at hand.
fn spread(plan_budget: u64, gap: Duration) -> impl FnOnce(&mut Count) {
    move |count| {
        let left = count.left_of_month(Timestamp::now()).as_millis() / gap.as_millis();
        count.used = plan_budget - u64::try_from(left).unwrap();
        (count.level, count.at) = (0.0, Timestamp::now());
    }
}

#[test]
fn every_call_is_counted_through_kills_and_seldom_one_too_many() {
    const KILLS: u64 = 4;
    // Recorded 16 at a time.
    let mut rig = Rig::with(|plan| plan.feishu.push("monthly_calls: 16000".into()));
    for round in 0..KILLS {
        rig.start();
        for row in 1..=5 {
            let bytes = png(u32::try_from(round * 10 + row).unwrap());
            rig.drop_file(format!("B{row}.png"), &bytes);
            rig.expect(&format!("B{row}"), &bytes);
        }
        rig.kill();
        let made = counted(&rig.state());
        let used = recorded(&rig).used;
        let most = made + 15 * (round + 1);
        assert!((made..=most).contains(&used), "{used} recorded of {made}");
    }
    // `sync` goes on with the same count, and an orderly end records it to the call.
    let before = recorded(&rig);
    let made = rig.state().calls.len() as u64;
    rig.drop_file("B1.png", &png(99));
    let synced = rig.pixcell(&["sync", "--json", "--config", "pixcell.yaml"]);
    let left = synced.with_code(0).json()["left"].clone();
    let after = recorded(&rig);
    let more = rig.state().calls.len() as u64 - made;
    assert!(more >= 2, "{more}");
    assert_eq!(after.calls, before.calls + more);
    assert_eq!(calls(&left)["this_month"], after.calls);
    let status = rig.status();
    assert_eq!(calls(&status)["this_month"], after.calls, "from the store");
    assert_eq!(calls(&status)["today"], after.today);
}

#[test]
fn at_four_fifths_a_warning_comes_once_a_month() {
    let mut rig = Rig::with(|plan| plan.feishu.push("monthly_calls: 1000".into()));
    record(&rig, |count| count.used = 790);
    rig.start();
    for row in 1..=12 {
        rig.drop_file(format!("B{row}.png"), &png(row));
        rig.expect(&format!("B{row}"), &png(row));
    }
    let line = rig.warned(&["of this month's 1000 calls are used (80 %)"]);
    assert!(line.contains("800 of"), "{line}");
    let status = rig.status();
    assert_eq!(calls(&status)["budget"], 1000);
    let text = rig.pixcell(&["status", "--config", "pixcell.yaml"]).stdout;
    assert!(text.contains("most of the month's quota is used"), "{text}");
    rig.kill();
    rig.start();
    rig.drop_file("C1.png", &png(50));
    rig.expect("C1", &png(50));
    rig.stop();
    assert_eq!(
        rig.printed_by_daemons().matches("calls are used (").count(),
        1
    );
}

#[test]
fn what_would_not_last_is_spread_the_newest_first_and_shared_between_mappings() {
    const BUDGET: u64 = 1_000_000_000;
    let gap = Duration::from_millis(400);
    let mut rig = Rig::with(|plan: &mut Plan| {
        plan.feishu.push(format!("monthly_calls: {BUDGET}"));
        // Both feed the same document, so one lane has to be fair to both.
        let mut other = Mapping::new("other", "other", "DocLobby");
        other.rules = vec![("{n:int}.png".into(), "K{n}".into())];
        plan.mappings.push(other);
        plan.sandbox.documents.push(document("DocThird"));
        plan.mappings
            .push(Mapping::new("third", "third", "DocThird"));
    });
    for folder in ["other", "third"] {
        fs::create_dir(rig.path(folder)).unwrap();
    }
    // The flood lies there before the first call; later names are newer.
    let start = SystemTime::now() - Duration::from_hours(1);
    for row in 1..=30 {
        let name = format!("B{row}.png");
        rig.drop_file(&name, &png(row));
        let file = fs::File::options()
            .write(true)
            .open(rig.file(&name))
            .unwrap();
        file.set_modified(start + Duration::from_secs(row.into()))
            .unwrap();
    }
    record(&rig, spread(BUDGET, gap));
    rig.start();
    rig.wait("the flood is being written", |state| {
        state.calls(Endpoint::ValuesImage) >= 2
    });
    rig.warned(&["writes are spread", "would not last"]);
    let status = rig.status();
    assert_eq!(calls(&status)["pace"]["state"], "spread", "{status:#}");
    for n in 1..=2 {
        fs::write(rig.path(format!("other/{n}.png")), png(100 + n)).unwrap();
        fs::write(rig.path(format!("third/C{n}.png")), png(200 + n)).unwrap();
        rig.wait_queued(&format!("{n}.png"), &png(100 + n));
        rig.wait_queued(&format!("C{n}.png"), &png(200 + n));
    }
    let before = rig.writes();
    let state = rig.wait("both are served", |state| {
        let there = |document, cell: &str| state.image(document, "Q7PlXT", cell).is_some();
        (1..=2).all(|n| there("DocLobby", &format!("K{n}")) && there("DocThird", &format!("C{n}")))
    });
    // Three mappings in turn: four pictures of the others take six turns, and some were under way.
    let since = state.calls(Endpoint::ValuesImage) - before;
    assert!(since <= 11, "{since} writes until both were served");
    assert!(
        state.calls(Endpoint::ValuesImage) < 30,
        "the flood is still waiting"
    );
    rig.wait("some of the flood", |state| {
        state.calls(Endpoint::ValuesImage) >= 12
    });
    let flood: Vec<u32> = rig
        .write_records()
        .iter()
        .filter_map(|call| {
            let (_, cell) = call.range.as_ref()?.split_once("!B")?;
            cell.split(':').next()?.parse().ok()
        })
        .collect();
    // What came together while the daemon started went out in the order of the queue.
    let free = flood.iter().take_while(|row| **row != 30).count();
    let newest = &flood[free..];
    assert!(newest.len() >= 3 && free < 5, "{flood:?}");
    assert!(newest.is_sorted_by(|a, b| a > b), "{flood:?}");
    // Not faster than the budget allows, however long it took.
    let calls = rig.write_records();
    let took = calls.last().unwrap().started_ms - calls[free].started_ms;
    let most = took / u64::try_from(gap.as_millis()).unwrap() + 2;
    assert!(
        (calls.len() - free) as u64 <= most,
        "{} in {took} ms",
        calls.len()
    );
    rig.stop();
}

#[test]
fn a_used_up_month_closes_the_gate_and_a_pass_says_so() {
    let mut rig = Rig::with(|plan| plan.feishu.push("monthly_calls: 1000".into()));
    record(&rig, |count| count.used = 1000);
    rig.drop_file("B2.png", &png(1));
    rig.start();
    rig.warned(&["the 1000 calls of this month are used up"]);
    rig.fence_unwritten();
    let status = rig.status();
    assert_eq!(calls(&status)["pace"]["state"], "used_up");
    let reason = status["gate"]["reason"].as_str().unwrap();
    assert!(reason.contains("used up"), "{reason}");
    assert!(rig.state().calls.is_empty(), "not even a token");
    rig.stop();
    let synced = rig.pixcell(&["sync", "--config", "pixcell.yaml"]);
    assert!(synced.with_code(1).stdout.contains("used up"));
    // A larger budget, and all goes out.
    rig.plan.feishu = vec!["monthly_calls: 100000".into()];
    rig.write_config();
    rig.pixcell(&["sync", "--config", "pixcell.yaml"])
        .with_code(0);
    rig.expect("B2", &png(1));
}

#[test]
fn a_new_month_begins_at_nothing() {
    let mut rig = Rig::with(|plan| plan.feishu.push("monthly_calls: 1000".into()));
    let last_month = Timestamp(Timestamp::now().0 - 32 * 86_400_000);
    record(&rig, |count| {
        *count = Count::default();
        count.turn(last_month);
        (count.used, count.level, count.at) = (1000, 0.0, last_month);
    });
    rig.drop_file("B2.png", &png(1));
    rig.start();
    rig.expect("B2", &png(1));
    let status = rig.status();
    assert!(calls(&status)["used"].as_u64().unwrap() <= 3, "{status:#}");
    rig.stop();
}

#[test]
fn without_a_clock_the_count_goes_on_in_the_month_that_was_known() {
    // The record of a machine that has since lost its clock cannot be told apart from one whose month is
    // unknown: what was counted then belongs to the first month that is known.
    let mut rig = Rig::with(|plan| plan.feishu.push("monthly_calls: 1000".into()));
    record(&rig, |count| {
        *count = Count::default();
        count.turn(Timestamp(60_000));
        count.used = 500;
    });
    rig.drop_file("B2.png", &png(1));
    rig.start();
    rig.expect("B2", &png(1));
    let used = calls(&rig.status())["used"].as_u64().unwrap();
    assert!((501..510).contains(&used), "{used}");
    rig.stop();
}

#[test]
fn the_page_and_the_metrics_tell_the_calls() {
    let mut rig = Rig::with(|plan| {
        plan.top.push("status: {listen: \"127.0.0.1:0\"}".into());
        plan.feishu.push("monthly_calls: 1000".into());
    });
    rig.start();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    let told = rig.wait_page("/api/view", |answer| {
        let view: Value = serde_json::from_str(&answer.text()).unwrap();
        view["status"]["calls"]["used"].as_u64() >= Some(2)
    });
    let view: Value = serde_json::from_str(&told.text()).unwrap();
    assert_eq!(view["status"]["calls"]["budget"], 1000);
    let made = view["status"]["calls"]["this_month"].clone();
    rig.wait_page("/metrics", |answer| {
        let text = answer.text();
        text.contains(&format!("pixcell_quota_calls{{period=\"month\"}} {made}"))
            && text.contains("pixcell_quota_limit 1000")
    });
    rig.stop();
}
