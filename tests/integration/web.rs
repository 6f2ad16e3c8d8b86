//! The status server: what it shows, to whom, and that it stays out of the uploads' way.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pixcell::image::ContentHash;
use pixcell::sandbox::{Endpoint, Fault, Permission, SheetSpec};
use rstest::rstest;
use serde_json::Value;

use crate::support::{
    Answer, Browser, DOC, LIMIT, Mapping, Plan, Rig, SECRET, SHEET, Signal, document, exchange,
    get, jpeg, library, png,
};

fn served(plan: &mut Plan) {
    plan.top = vec!["status: {listen: \"127.0.0.1:0\"}".into()];
}

fn started() -> Rig {
    let mut rig = Rig::with(served);
    rig.start();
    rig
}

/// The view, once it shows so many cells.
#[track_caller]
fn view(rig: &Rig, cells: usize) -> Value {
    let shows = |answer: &Answer| answer.json()["cells"].as_array().unwrap().len() == cells;
    rig.wait_page("/api/view", shows).json()
}

/// Every path that says something, with what it says.
fn everything(rig: &Rig) -> BTreeMap<String, String> {
    let paths = [
        "/",
        "/page.js",
        "/words.js",
        "/page.css",
        "/icon.svg",
        "/api/view",
        "/api/status",
        "/metrics",
        "/healthz",
        "/readyz",
        "/none",
    ];
    paths
        .into_iter()
        .map(|path| (path.to_owned(), get(rig.page(), path).text()))
        .collect()
}

#[test]
fn a_cell_is_shown_with_its_picture_and_revision() {
    let rig = started();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    let view = view(&rig, 1);
    let (cell, written) = (&view["cells"][0], &rig.write_records()[0]);
    assert_eq!(
        (&cell["cell"], &cell["file"]),
        (&"B2".into(), &"B2.png".into())
    );
    assert_eq!(cell["mapping"], "lobby");
    assert_eq!(cell["picture"], "here");
    assert_eq!(
        cell["revision"],
        rig.state().image(DOC, SHEET, "B2").unwrap().revision,
        "{written:?}"
    );
    let picture = get(
        rig.page(),
        &format!("/api/pictures/{}", ContentHash::of(&png(1)).to_hex()),
    );
    assert_eq!((picture.status, &picture.body), (200, &png(1)));
    assert!(
        picture.head.contains("content-type: image/png"),
        "{}",
        picture.head
    );
    assert_eq!(get(rig.page(), "/readyz").status, 200);
    assert_eq!(get(rig.page(), "/healthz").status, 200);
    let alone = get(rig.page(), "/api/status").json();
    assert_eq!(alone["totals"]["written"], 1);
}

#[test]
fn no_file_but_the_picture_of_a_cell_can_be_had() {
    let rig = started();
    rig.drop_file("B2.png", &png(1));
    rig.drop_file("B3.png", &png(2));
    rig.drop_file("note.png", &png(3)); // No rule takes it.
    rig.expect("B2", &png(1));
    rig.expect("B3", &png(2));
    view(&rig, 2);
    let asked = |bytes: &[u8]| {
        let hash = ContentHash::of(bytes).to_hex();
        get(rig.page(), &format!("/api/pictures/{hash}")).status
    };
    assert_eq!(
        (asked(&png(1)), asked(&png(2)), asked(&png(3))),
        (200, 200, 404)
    );
    // The same bytes, behind a link that leaves the folder.
    let outside = rig.outside("outside.png", &png(1));
    fs::remove_file(rig.file("B2.png")).unwrap();
    symlink(outside, rig.file("B2.png")).unwrap();
    assert_eq!(asked(&png(1)), 404);
    // The same name with a length and times that differ.
    fs::write(rig.file("B3.png"), "something private").unwrap();
    assert_eq!(asked(&png(2)), 404);
    for path in [
        "/api/pictures/../../pixcell.yaml",
        "/api/pictures/%2e%2e%2fpixcell.yaml",
        "/api/pictures/B3.png",
        "/../pixcell.yaml",
        "/in/B3.png",
    ] {
        let answer = get(rig.page(), path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.text().contains("private"), "{path}");
    }
}

#[test]
fn formats_that_browsers_do_not_show_and_large_files_are_named_instead() {
    let mut rig = Rig::with(|plan| {
        served(plan);
        plan.mappings[0] = plan.mappings[0].clone().rule("{cell}.heic", "{cell}");
    });
    rig.start();
    let heic = include_bytes!("../fixtures/images/picture.heic");
    let large = [jpeg(1), vec![0; 4 * 1024 * 1024]].concat();
    rig.drop_file("B2.heic", heic);
    rig.expect("B2", heic);
    rig.drop_file("B3.jpg", &large);
    rig.expect("B3", &large);
    let view = view(&rig, 2);
    let told: Vec<_> = view["cells"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cell| &cell["picture"])
        .collect();
    assert_eq!(told, ["format", "large"]);
    for bytes in [&heic[..], &large] {
        let hash = ContentHash::of(bytes).to_hex();
        assert_eq!(
            get(rig.page(), &format!("/api/pictures/{hash}")).status,
            404
        );
    }
}

#[rstest]
#[case::own("GET / HTTP/1.1\r\nHost: localhost:1", 200)]
#[case::head("HEAD /api/view HTTP/1.1\r\nHost: localhost:1", 200)]
#[case::post("POST /api/view HTTP/1.1\r\nHost: localhost:1", 405)]
#[case::delete("DELETE /api/pictures/x HTTP/1.1\r\nHost: localhost:1", 405)]
#[case::foreign("GET / HTTP/1.1\r\nHost: evil.example", 403)]
#[case::foreign_events("GET /api/events HTTP/1.1\r\nHost: evil.example", 403)]
#[case::none("GET / HTTP/1.1", 400)]
#[case::old("GET / HTTP/1.0", 400)]
fn only_this_machine_reads_and_nobody_changes(#[case] head: &str, #[case] status: u16) {
    let rig = started();
    let answer = exchange(rig.page(), head, "");
    assert_eq!(answer.status, status, "{}", answer.head);
    assert_eq!(answer.head.contains("allow: get, head"), status == 405);
    assert!(!answer.head.contains("access-control"), "{}", answer.head);
    for header in [
        "content-security-policy: default-src 'none'",
        "x-content-type-options: nosniff",
    ] {
        assert!(answer.head.contains(header), "{}", answer.head);
    }
}

#[test]
fn a_token_is_asked_for_when_one_is_configured() {
    let mut rig = Rig::with(|plan| {
        plan.top = vec!["status: {listen: \"0.0.0.0:0\", token_file: token}".into()];
    });
    fs::write(rig.path("token"), "open-sesame\n").unwrap();
    rig.start();
    let with = |more: &str| {
        let head = format!("GET /api/view HTTP/1.1\r\nHost: kiosk.example{more}");
        exchange(rig.page(), &head, "")
    };
    let refused = with("");
    assert_eq!(refused.status, 401);
    assert!(
        refused.head.contains("www-authenticate: basic"),
        "{}",
        refused.head
    );
    assert_eq!(with("\r\nAuthorization: Bearer open-sesam").status, 401);
    assert_eq!(with("\r\nAuthorization: Bearer open-sesame").status, 200);
    assert!(!rig.daemon().stderr().contains("open-sesame"));
}

#[test]
fn neither_token_nor_secret_is_shown_whatever_happens() {
    const TOKEN: &str = "IowABCDEFGHIJKLMNOPQRSTUVWXY";
    const WIKI: &str = "wikcnABCDEFGHIJKLMNOPQRSTUV";
    let mut rig = Rig::with(|plan| {
        served(plan);
        plan.sandbox.documents = vec![
            document(TOKEN),
            document(DOC).sheet(SheetSpec::new("abcdef", "Other")),
        ];
        plan.sandbox.documents[1].permission = Some(Permission::None);
        plan.mappings = vec![
            Mapping::new("lobby", "in", TOKEN),
            Mapping::new("shelf", "shelf", DOC),
            Mapping::new(
                "wiki",
                "wiki",
                &format!("https://sample.feishu.cn/wiki/{WIKI}"),
            ),
        ];
    });
    for folder in ["shelf", "wiki"] {
        fs::create_dir(rig.path(folder)).unwrap();
    }
    rig.start();
    rig.drop_file("B2.png", &png(1));
    fs::write(rig.path("shelf/B2.png"), png(2)).unwrap();
    fs::write(rig.path("wiki/B2.png"), png(3)).unwrap();
    rig.expect_in(TOKEN, "B2", &png(1));
    // Every lane has something to say.
    let closed = |answer: &Answer| {
        let view = answer.json();
        let lanes = view["status"]["lanes"].as_array().unwrap().clone();
        lanes.iter().filter(|lane| !lane["gate"].is_null()).count() == 2
    };
    rig.wait_page("/api/view", closed);
    let all = everything(&rig);
    assert!(all["/api/view"].contains("…VWXY"), "{}", all["/api/view"]);
    for (path, text) in &all {
        for hidden in [TOKEN, WIKI, SECRET] {
            assert!(!text.contains(hidden), "{path} shows {hidden}");
        }
    }
}

#[test]
fn a_name_with_control_characters_is_one_valid_line_everywhere() {
    let rig = started();
    rig.drop_file("evil\n\u{1b}[31m<b>\"\\.png", b"no picture");
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    for (path, text) in everything(&rig) {
        assert!(!text.contains('\u{1b}'), "{path}");
        assert!(!text.contains("evil\n"), "{path}");
    }
}

#[test]
fn events_tell_of_a_change_and_end_with_the_daemon() {
    let mut rig = started();
    let mut stream = TcpStream::connect(rig.page()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(
        stream,
        "GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    .unwrap();
    let mut lines = BufReader::new(stream).lines();
    let end = Instant::now() + LIMIT;
    let mut next = || loop {
        // Comments keep the stream alive whatever happens.
        assert!(Instant::now() < end, "no event came");
        let line = lines.next()?.unwrap();
        if let Some(version) = line
            .strip_prefix("data: ")
            .filter(|version| !version.is_empty())
        {
            return Some(version.to_owned());
        }
    };
    let before = next().unwrap();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    assert_ne!(next().unwrap(), before);
    rig.stop();
    while next().is_some() {}
}

/// Neither before all folders were compared nor, as all else that is shown, a reading later.
#[test]
fn it_is_ready_as_soon_as_it_says_so_and_not_before() {
    let mut rig = Rig::with(|plan| {
        served(plan);
        plan.sandbox.documents.push(document("DocSlow"));
        plan.mappings.push(Mapping::new("slow", "slow", "DocSlow"));
    });
    let slow = rig.path("slow/.slow");
    rig.plan.env = vec![
        ("LD_PRELOAD", library("slow").display().to_string()),
        ("SLOW", slow.display().to_string()),
    ];
    fs::create_dir(rig.path("slow")).unwrap();
    fs::write(&slow, "").unwrap();
    for row in 1..=400 {
        fs::write(rig.path(format!("slow/B{row}.png")), png(row)).unwrap();
    }
    rig.drop_file("B2.png", &png(1));
    rig.start_unready();
    rig.daemon().wait_count("watching ", 2);
    // The other folder was compared, and what is dropped meanwhile comes after what was listed.
    rig.expect("B2", &png(1));
    rig.drop_file("B3.png", &png(2));
    rig.expect("B3", &png(2));
    let says = |path: &str| {
        let answer = get(rig.page(), path);
        (answer.status, answer.text())
    };
    // Longer than it takes to look whether all are compared.
    rig.meanwhile(1000, Duration::from_secs(3));
    assert_eq!(says("/readyz").0, 503);
    assert_eq!(says("/healthz").0, 200);
    assert!(says("/metrics").1.contains("\npixcell_ready 0\n"));
    assert!(says("/api/status").1.contains("\"ready\":false"));
    let told = || rig.daemon().stderr().contains(" ready folders=2");
    assert!(!told(), "what this compares was compared already");
    fs::remove_file(slow).unwrap();
    let end = Instant::now() + LIMIT;
    loop {
        let told = told();
        let status = says("/readyz").0;
        if told {
            assert_eq!(status, 200);
            break;
        }
        assert!(Instant::now() < end, "it is not ready");
    }
}

#[test]
fn metrics_count_what_happened() {
    let rig = started();
    rig.drop_file("B2.png", &png(1));
    rig.drop_file("B3.png", b"no picture");
    rig.expect("B2", &png(1));
    let has = |lines: &[&str]| {
        let lines: Vec<String> = lines.iter().map(|line| format!("\n{line}\n")).collect();
        rig.wait_page("/metrics", |answer| {
            let text = answer.text();
            lines.iter().all(|line| text.contains(line.as_str()))
        })
    };
    let all = has(&[
        "pixcell_written_total{mapping=\"lobby\"} 1",
        "pixcell_refusals_total{mapping=\"lobby\",reason=\"not_an_image\"} 1",
        "pixcell_calls_total{endpoint=\"write\",class=\"ok\"} 1",
        "pixcell_stage_seconds_count{stage=\"call\"} 1",
        "pixcell_stage_seconds_count{stage=\"record\"} 1",
        "pixcell_close_to_receipt_seconds_count 1",
        "pixcell_images{mapping=\"lobby\"} 1",
        "pixcell_gate_closed{scope=\"app\",mapping=\"\"} 0",
        "pixcell_oldest_queued_seconds{mapping=\"lobby\"} 0",
        &format!(
            "pixcell_written_bytes_total{{mapping=\"lobby\"}} {}",
            png(1).len()
        ),
    ]);
    assert!(
        !all.text().contains("B2"),
        "no label names a file:\n{}",
        all.text()
    );
}

/// An alert on a state of a mapping that is gone would never end.
#[test]
fn metrics_forget_a_mapping_that_a_reload_removes() {
    // The same after the reload. Freed again at once; nobody else is given it in that moment.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut rig = Rig::with(|plan| {
        plan.top = vec![format!("status: {{listen: \"{address}\"}}")];
        plan.mappings.push(Mapping::new("shelf", "shelf", DOC));
    });
    rig.start();
    let shelf = "pixcell_folder_up{mapping=\"shelf\"} 0";
    rig.wait_page("/metrics", |answer| answer.text().contains(shelf));
    rig.plan.mappings.pop();
    rig.write_config();
    rig.daemon().signal(Signal::HUP);
    rig.daemon().wait_line(&["ready", "folders=1"]);
    rig.wait_page("/metrics", |answer| {
        let text = answer.text();
        assert!(text.contains("pixcell_build_info{version=\"0."), "{text}");
        text.contains("pixcell_folder_up{mapping=\"lobby\"} 1") && !text.contains("shelf")
    });
}

#[test]
fn an_address_that_is_taken_is_told_and_pictures_are_written_all_the_same() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut rig = Rig::with(|plan| plan.top = vec![format!("status: {{listen: \"{address}\"}}")]);
    rig.start();
    rig.warned(&["no status page", &address.to_string()]);
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
}

#[test]
fn a_browser_shows_a_new_picture_and_its_revision_without_a_reload() {
    let rig = started();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    let Some(browser) = Browser::open(&format!("http://{}/", rig.page())) else {
        return;
    };
    // The hash, whether the browser could show it, and the revision.
    let cell = "const card = document.querySelector('[data-cell=\"B2\"]'), picture = card?.querySelector('img'); \
         return picture && [picture.src.split('/').pop(), picture.naturalWidth > 0, \
         card.querySelector('.revision').textContent];";
    let shows = |bytes: &[u8]| {
        let hash = ContentHash::of(bytes).to_hex();
        let revision = rig.state().image(DOC, SHEET, "B2").unwrap().revision;
        let wanted = serde_json::json!([hash, true, format!("revision {revision}")]);
        browser.wait(cell, |shown| *shown == wanted)
    };
    let first = shows(&png(1));
    browser.script("window.loaded = 'once'");
    rig.drop_file("B2.png", &png(2));
    rig.expect("B2", &png(2));
    let second = shows(&png(2));
    assert!(first != second, "{first}");
    let calls = "return document.querySelector('[data-count=today] dd').textContent";
    browser.wait(calls, |n| {
        n.as_str()
            .is_some_and(|n| n.parse().is_ok_and(|n: u32| n >= 2))
    });
    // A cell that was not there, and one that is refused.
    rig.drop_file("C3.png", &png(3));
    rig.drop_file("D4.png", b"no picture");
    browser.wait(
        "return document.querySelectorAll('.card img').length",
        |n| *n == 2,
    );
    browser.wait(
        "return document.querySelector('[data-count=refused] dd').textContent",
        |n| *n == "1",
    );
    assert_eq!(browser.script("return window.loaded"), "once");
    // In the other language as well, and nothing was refused by the policy or broke.
    browser.script("document.getElementById('language').click()");
    let heading = browser.script(
        "return document.documentElement.lang + document.querySelector('.list h2').textContent",
    );
    assert_eq!(heading, "zh-CN未发送 1");
}

/// What stands between a browser and the daemon, and what it does with the first looks at the events: holds one
/// back without an answer, has an error of its own for the next two, and passes on all that follow.
fn proxied(daemon: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let followed = Arc::new(AtomicUsize::new(0));
    // Ends with the process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let followed = Arc::clone(&followed);
            // Whoever leaves early is the browser.
            std::thread::spawn(move || pass_on(stream, daemon, &followed));
        }
    });
    address
}

fn pass_on(mut browser: TcpStream, daemon: SocketAddr, followed: &AtomicUsize) -> io::Result<()> {
    let mut head = BufReader::new(browser.try_clone()?);
    let mut request = String::new();
    while head.read_line(&mut request)? > 2 {}
    if request.starts_with("GET /api/events ") {
        match followed.fetch_add(1, Ordering::SeqCst) {
            0 => {
                // Until it leaves.
                head.read_line(&mut request)?;
                return Ok(());
            }
            1 | 2 => {
                let refusal =
                    "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                return browser.write_all(refusal.as_bytes());
            }
            _ => {}
        }
    }
    let mut server = TcpStream::connect(daemon)?;
    let request = request.replace("Connection: keep-alive", "Connection: close");
    server.write_all(request.as_bytes())?;
    io::copy(&mut server, &mut browser).map(drop)
}

#[test]
fn a_browser_is_shown_everything_through_a_proxy_that_fails_at_times() {
    let rig = started();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    view(&rig, 1);
    let page = format!("http://{}/", proxied(rig.page()));
    let cards = "return document.querySelectorAll('.card img').length";
    // No event comes through.
    let Some(browser) = Browser::open(&page) else {
        return;
    };
    browser.wait(cards, |n| *n == 1);
    drop(browser);
    // Events come at the third attempt.
    let Some(browser) = Browser::open(&page) else {
        return;
    };
    browser.wait("return document.getElementById('live').className", |live| {
        *live == "live live"
    });
    rig.drop_file("B3.png", &png(2));
    browser.wait(cards, |n| *n == 2);
}

#[test]
fn events_ask_a_proxy_not_to_keep_them() {
    let rig = started();
    let answer = get(rig.page(), "/api/events");
    for header in ["x-accel-buffering: no", "cache-control: no-cache"] {
        assert!(answer.head.contains(header), "{}", answer.head);
    }
}

#[test]
fn a_browser_asks_for_no_picture_where_one_waits() {
    let rig = started();
    let Some(browser) = Browser::open(&format!("http://{}/", rig.page())) else {
        return;
    };
    let note = "return document.querySelector('.mapping .note')?.textContent";
    browser.wait(note, |note| {
        note.as_str()
            .is_some_and(|note| note.contains("Drop a picture into"))
    });
    rig.fault(Fault::on(Endpoint::ValuesImage).answer(403, 91_403, "no permission"));
    rig.drop_file("B2.png", &png(1));
    browser.wait(note, |note| *note == "No cell has been written yet.");
    let gate = "return document.querySelector('.gate strong')?.textContent";
    browser.wait(gate, |title| {
        title
            .as_str()
            .is_some_and(|title| title.starts_with("Nothing is sent to lobby"))
    });
}

/// The status that each of these pictures is answered with, all asked for at once.
fn asked_at_once(rig: &Rig, numbers: &[u32]) -> Vec<u16> {
    let page = rig.page();
    let ask = |number: &u32| {
        let path = format!("/api/pictures/{}", ContentHash::of(&png(*number)).to_hex());
        std::thread::spawn(move || get(page, &path).status)
    };
    let asked: Vec<_> = numbers.iter().map(ask).collect();
    asked.into_iter().map(|one| one.join().unwrap()).collect()
}

#[test]
fn a_folder_that_hangs_holds_up_no_picture_of_another() {
    let mut rig = Rig::with(|plan| {
        served(plan);
        plan.watch += ", backend: poll, poll_interval: 100ms";
        plan.mappings.push(Mapping::new("share", "share", DOC));
    });
    let mute = rig.path("share/.mute");
    rig.plan.env = vec![
        ("LD_PRELOAD", library("mute").display().to_string()),
        ("MUTE", mute.display().to_string()),
    ];
    fs::create_dir(rig.path("share")).unwrap();
    rig.start();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    for row in 2..=4 {
        fs::write(rig.path(format!("share/C{row}.png")), png(row)).unwrap();
        rig.expect(&format!("C{row}"), &png(row));
    }
    view(&rig, 4);
    assert_eq!(asked_at_once(&rig, &[1, 2, 3, 4]), [200; 4]);
    let threads = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", rig.daemon().pid()));
        tasks.unwrap().count()
    };
    let before = threads();
    fs::write(&mute, "").unwrap();
    let share = [2, 3, 4, 2, 3, 4];
    assert_eq!(asked_at_once(&rig, &share), [503; 6]);
    // Not waited for again, and the other folder's are there.
    let begun = Instant::now();
    assert_eq!(asked_at_once(&rig, &share), [503; 6]);
    assert_eq!(asked_at_once(&rig, &[1]), [200]);
    assert!(begun.elapsed() < Duration::from_secs(4), "they waited");
    // Of the picture, and of the listing.
    let after = threads();
    assert!(after <= before + 2, "{before} threads became {after}");
    let stuck = |answer: &Answer| answer.json()["mappings"][1]["state"]["state"] == "stuck";
    rig.wait_page("/api/status", stuck);
    assert_eq!(asked_at_once(&rig, &[2, 1]), [503, 200]);
    let browser = Browser::open(&format!("http://{}/", rig.page()));
    let shown = |cell: &str, is_so: &str| {
        if let Some(browser) = &browser {
            let card = format!("document.querySelector('[data-cell=\"{cell}\"]')");
            browser.wait(&format!("return {card}?.{is_so}"), |so| *so == true);
        }
    };
    let there = "querySelector('img')?.naturalWidth > 0";
    shown("C2", "querySelector('.plain')?.textContent === 'not shown'");
    shown("B2", there);
    fs::remove_file(mute).unwrap();
    shown("C2", there);
    let path = format!("/api/pictures/{}", ContentHash::of(&png(2)).to_hex());
    rig.wait_page(&path, |answer| answer.status == 200);
    assert_eq!(asked_at_once(&rig, &[1, 2, 3, 4]), [200; 4]);
}
