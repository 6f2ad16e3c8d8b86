//! A person's token: refreshed in place, by one call, and never lost but where nobody can help it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::time::Duration;

use pixcell::sandbox::{Endpoint, Fault};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{Mapping, Rig, SECRET, document, exchange, png};

const FIRST: &str = "r-rig-first-0c8f";
const EXPIRED: &str = "u-rig-expired-77aa";

/// A rig that calls as a person, whose access token has expired.
fn rig(documents: &[&str]) -> Rig {
    let rig = Rig::with(|plan| {
        plan.sandbox.user_refresh_token = Some(FIRST.into());
        plan.feishu.push("user_token_file: token".into());
        for name in documents {
            plan.sandbox.documents.push(document(name));
            plan.mappings
                .push(Mapping::new(&name.to_lowercase(), "in", name));
        }
    });
    put(&rig, &pair(EXPIRED, FIRST, "2026-01-01T00:00:00Z"));
    rig
}

fn pair(access: &str, refresh: &str, expiry: &str) -> Value {
    json!({"user_access_token": access, "refresh_token": refresh, "expiry": expiry, "who": "Li"})
}

fn put(rig: &Rig, content: &Value) {
    let path = rig.path("token");
    fs::write(&path, content.to_string()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn stored(rig: &Rig) -> Value {
    serde_json::from_slice(&fs::read(rig.path("token")).unwrap()).unwrap()
}

/// Insists that no token of this file was printed.
fn no_token_printed(rig: &Rig, contents: &[Value]) {
    let printed = rig.printed();
    for content in contents {
        for field in ["user_access_token", "refresh_token"] {
            let token = content[field].as_str().unwrap();
            assert!(token.len() > 8 && !printed.contains(token), "{field}");
        }
    }
}

/// A pair as the person's consent gives it.
fn consent(rig: &Rig, refresh: &str) -> Value {
    let body = json!({
        "grant_type": "refresh_token", "client_id": "cli_rig", "client_secret": SECRET,
        "refresh_token": refresh,
    });
    let head = "POST /open-apis/authen/v2/oauth/token HTTP/1.1\r\nHost: x\r\n\
                Content-Type: application/json; charset=utf-8";
    let answer = exchange(rig.sandbox().addr(), head, &body.to_string()).json();
    pair(
        answer["access_token"].as_str().unwrap(),
        answer["refresh_token"].as_str().unwrap(),
        "2999-01-01T00:00:00Z",
    )
}

#[test]
fn an_expired_token_is_refreshed_by_one_call_and_stored_with_its_mode() {
    let mut rig = rig(&["DocA", "DocB"]);
    let before = stored(&rig);
    rig.start();
    rig.drop_file("B2.png", &png(1));
    for document in ["DocLobby", "DocA", "DocB"] {
        rig.expect_in(document, "B2", &png(1));
    }
    assert_eq!(rig.calls(Endpoint::UserToken), 1);
    assert_eq!(rig.calls(Endpoint::TenantToken), 0);
    let first = stored(&rig);
    assert_ne!(first["user_access_token"], before["user_access_token"]);
    assert_ne!(first["refresh_token"], before["refresh_token"]);
    assert_eq!(first["who"], "Li");
    let mode = fs::metadata(rig.path("token")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o600);
    // Revoked while all three lanes are at work, long before its expiry.
    rig.sandbox().expire_tokens();
    rig.drop_file("B3.png", &png(2));
    for document in ["DocLobby", "DocA", "DocB"] {
        rig.expect_in(document, "B3", &png(2));
    }
    assert_eq!(rig.calls(Endpoint::UserToken), 2);
    // The next run goes on with what is stored.
    let second = stored(&rig);
    rig.stop();
    rig.start();
    rig.drop_file("B4.png", &png(3));
    rig.expect("B4", &png(3));
    rig.stop();
    assert_eq!(rig.calls(Endpoint::UserToken), 2);
    no_token_printed(&rig, &[before, first, second]);
}

#[test]
fn a_refresh_token_that_is_not_taken_closes_the_gate_until_there_is_another() {
    let mut rig = rig(&[]);
    let wrong = pair(EXPIRED, "r-rig-spent-1b2c", "2026-01-01T00:00:00Z");
    put(&rig, &wrong);
    rig.start();
    rig.drop_file("B2.png", &png(1));
    let line = rig.warned(&["nothing is sent for the app", "is not taken"]);
    assert!(
        line.contains("20064") && line.contains("let the person consent again"),
        "{line}"
    );
    assert_eq!(rig.calls(Endpoint::UserToken), 1, "not tried at full pace");
    assert_eq!(stored(&rig), wrong);
    let good = consent(&rig, FIRST);
    put(&rig, &good);
    rig.pixcell(&["retry", "--all", "--config", "pixcell.yaml"]);
    rig.expect("B2", &png(1));
    rig.stop();
    no_token_printed(&rig, &[wrong, good]);
}

#[test]
fn killed_before_the_api_took_the_refresh_token_it_is_still_good() {
    let mut rig = rig(&[]);
    rig.sandbox().hold(&[Endpoint::UserToken]);
    rig.start();
    rig.drop_file("B2.png", &png(1));
    rig.wait_held();
    rig.kill();
    rig.wait("the caller is gone", |state| state.in_flight.is_empty());
    rig.sandbox().release();
    rig.start();
    rig.expect("B2", &png(1));
    rig.stop();
    // Nothing of the place that was made is left.
    assert!(!rig.path(".token.new").exists());
}

#[test]
fn killed_between_the_answer_and_the_disk_a_person_is_asked() {
    let mut rig = rig(&[]);
    rig.fault(Fault::on(Endpoint::UserToken).delay_answer(Duration::from_mins(1)));
    rig.start();
    rig.drop_file("B2.png", &png(1));
    rig.wait("the refresh token is spent", |state| state.tokens_made == 1);
    rig.kill();
    rig.start();
    rig.warned(&[
        "nothing is sent for the app",
        "let the person consent again",
    ]);
    rig.stop();
}

#[test]
fn without_a_place_for_the_answer_the_token_serves_until_it_ends() {
    let mut rig = rig(&[]);
    let soon =
        humantime::format_rfc3339_seconds(std::time::SystemTime::now() + Duration::from_mins(20));
    let mut good = consent(&rig, FIRST);
    good["expiry"] = soon.to_string().into();
    put(&rig, &good);
    // Stands in the way, for root as well.
    fs::create_dir(rig.path(".token.new")).unwrap();
    rig.start();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    rig.warned(&[
        "is not refreshed and used until it expires",
        "could not be stored",
    ]);
    assert_eq!(rig.calls(Endpoint::UserToken), 1, "only the consent's");
    rig.sandbox().expire_tokens();
    rig.drop_file("B3.png", &png(2));
    rig.warned(&["nothing is sent for the app", "could not be stored"]);
    assert_eq!(stored(&rig), good);
    fs::remove_dir(rig.path(".token.new")).unwrap();
    rig.pixcell(&["retry", "--all", "--config", "pixcell.yaml"]);
    rig.expect("B3", &png(2));
    rig.stop();
}

#[test]
fn of_a_file_that_is_mounted_alone_the_refresh_token_is_not_spent() {
    let mut rig = rig(&[]);
    let through = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
    ];
    let mount = "mount --bind token token";
    let mounted = Command::new(through[0])
        .args(&through[1..])
        .arg(mount)
        .current_dir(rig.path(""))
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("skipped: no user namespaces here");
        return;
    }
    let soon =
        humantime::format_rfc3339_seconds(std::time::SystemTime::now() + Duration::from_mins(20));
    let mut good = consent(&rig, FIRST);
    good["expiry"] = soon.to_string().into();
    put(&rig, &good);
    rig.plan.through = through.to_vec();
    rig.plan
        .through
        .push("mount --bind token token && exec \"$0\" \"$@\"");
    rig.start();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    rig.warned(&[
        "is not refreshed and used until it expires",
        "could not be stored",
        "mount the folder, not the file alone",
    ]);
    assert_eq!(rig.calls(Endpoint::UserToken), 1, "only the consent's");
    assert_eq!(stored(&rig), good);
    rig.stop();
}

/// A rig whose daemon has a refreshed token that the disk did not take.
fn unstored() -> Rig {
    let mut rig = rig(&[]);
    rig.sandbox().hold(&[Endpoint::UserToken]);
    rig.start();
    rig.drop_file("B2.png", &png(1));
    rig.wait_held();
    // The rename finds nothing.
    fs::remove_file(rig.path(".token.new")).unwrap();
    fs::create_dir(rig.path(".token.new")).unwrap();
    rig.sandbox().release();
    rig.expect("B2", &png(1));
    rig.warned(&["could not be written to", "it is kept in memory"]);
    rig
}

#[test]
fn an_answer_that_the_disk_does_not_take_outlives_a_reload() {
    let mut rig = unstored();
    // The API is called in another way.
    rig.plan.feishu.push("request_timeout: 20s".into());
    rig.reload();
    rig.drop_file("B3.png", &png(2));
    rig.expect("B3", &png(2));
    assert_eq!(stored(&rig)["refresh_token"], FIRST);
    fs::remove_dir(rig.path(".token.new")).unwrap();
    rig.reload();
    rig.drop_file("B4.png", &png(3));
    rig.expect("B4", &png(3));
    assert_ne!(stored(&rig)["refresh_token"], FIRST);
    assert_eq!(rig.calls(Endpoint::UserToken), 1);
    rig.stop();
}

#[rstest]
#[case::the_disk_takes_it(true)]
#[case::it_does_not(false)]
fn an_answer_that_the_disk_did_not_take_is_tried_once_more_at_the_end(#[case] takes: bool) {
    let mut rig = unstored();
    if takes {
        fs::remove_dir(rig.path(".token.new")).unwrap();
    }
    let ended = rig.stop();
    assert_eq!(stored(&rig)["refresh_token"] != FIRST, takes);
    assert_eq!(ended.stderr.contains("to the end, and is lost"), !takes);
}

#[test]
fn whoever_has_the_turn_with_the_tokens_file_holds_up_no_end() {
    let mut rig = unstored();
    let folder = fs::File::open(rig.path("")).unwrap();
    folder.lock().unwrap();
    let ended = rig.stop();
    let told = "not waiting any longer for the file of the person's token";
    assert!(ended.stderr.contains(told), "{ended}");
    assert!(
        rig.path("state/known").exists(),
        "all else is left in order"
    );
}

#[test]
fn a_token_alone_is_used_until_it_is_refused() {
    let mut rig = rig(&[]);
    let good = consent(&rig, FIRST);
    fs::write(
        rig.path("token"),
        good["user_access_token"].as_str().unwrap(),
    )
    .unwrap();
    rig.start();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    rig.sandbox().expire_tokens();
    rig.drop_file("B3.png", &png(2));
    rig.warned(&["is refused by the API", "it holds no refresh token"]);
    rig.stop();
    no_token_printed(&rig, &[good]);
}

#[test]
fn a_token_that_others_can_read_is_not_used() {
    let mut rig = rig(&[]);
    let path = rig.path("token");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = rig
        .pixcell(&["check", "--config", "pixcell.yaml"])
        .with_code(2);
    assert!(
        refused
            .stderr
            .contains("can be read by other users (mode 0644)"),
        "{refused}"
    );
}
