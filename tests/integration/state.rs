//! The state directory harmed, full, read-only or gone: said clearly, and every picture gets to its cell.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use pixcell::config::{MappingName, SheetRef, SpreadsheetRef};
use pixcell::image::{ContentHash, Format};
use pixcell::placement::{RelPath, Slot, SlotAddress};
use pixcell::store::{self, FileKey, FileRecord, Fingerprint, Seen, Timestamp};
use rstest::rstest;

use crate::support::{DOC, Mapping, Random, Rig, Signal, get, library, png};

fn cut(path: &Path) {
    let length = fs::metadata(path).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(length / 2).unwrap();
}

fn noise(path: &Path) {
    let mut random = Random::new(Random::any_seed());
    let mut bytes = fs::read(path).unwrap();
    for byte in &mut bytes {
        *byte = u8::try_from(random.below(256)).unwrap();
    }
    fs::write(path, bytes).unwrap();
}

fn empty(path: &Path) {
    fs::write(path, []).unwrap();
}

fn delete(path: &Path) {
    fs::remove_file(path).unwrap();
}

#[rstest]
#[case::log_cut("db/db", cut)]
#[case::log_noise("db/db", noise)]
#[case::log_empty("db/db", empty)]
#[case::log_deleted("db/db", delete)]
#[case::conf_noise("db/conf", noise)]
#[case::mark_noise("generation", noise)]
#[case::mark_deleted("generation", delete)]
fn a_harmed_state_is_said_and_no_picture_is_taken_for_sent(
    #[case] file: &str,
    #[case] harm: fn(&Path),
) {
    let mut rig = Rig::started();
    for row in 1..=3 {
        rig.drop_file(format!("B{row}.png"), &png(row));
        rig.expect(&format!("B{row}"), &png(row));
    }
    rig.stop();
    harm(&rig.path("state").join(file));
    rig.drop_file("B3.png", &png(4));
    rig.start();
    rig.warned(&["each picture is sent once more"]);
    rig.expect("B3", &png(4));
    // Each once more: three cells held something that is no longer sure.
    rig.finish(6);
    // And it is over with that.
    rig.start();
    rig.fence();
    assert!(!rig.daemon().has_line(&["once more"]));
    rig.stop();
}

#[test]
fn a_state_directory_deleted_under_the_daemon_ends_it_before_another_call() {
    let mut rig = Rig::started();
    rig.drop_file("B1.png", &png(1));
    rig.expect("B1", &png(1));
    fs::remove_dir_all(rig.path("state")).unwrap();
    rig.drop_file("B2.png", &png(2));
    let ended = rig.end().with_code(1);
    assert!(ended.stderr.contains("deleted or replaced"), "{ended}");
    assert!(
        rig.state()
            .image(crate::support::DOC, crate::support::SHEET, "B2")
            .is_none()
    );
    rig.start();
    rig.expect("B2", &png(2));
    rig.expect("B1", &png(1));
}

/// Has the state's file grow so far that a start writes it anew, by files of a mapping that is not there.
fn swell(state: &Path) {
    const ENOUGH: u64 = 80 << 20;
    let store = store::open(state).unwrap().store;
    let hash = ContentHash::of(b"");
    let slot = SlotAddress {
        spreadsheet: SpreadsheetRef::Token("Gone".parse().unwrap()),
        sheet: SheetRef::First,
        slot: Slot::Cell("A1".parse().unwrap()),
    };
    let record = FileRecord {
        fingerprint: Fingerprint::UNKNOWN,
        slot: None,
        seen: Seen::Image {
            hash,
            format: Format::Png,
            arrival: None,
        },
        at: Timestamp(1),
    };
    let long = "x".repeat(6000);
    for number in 0.. {
        let path = format!("{number:06}{long}");
        let key = FileKey {
            mapping: MappingName::try_from("gone".to_owned()).unwrap(),
            path: RelPath::new(Path::new(&path)).unwrap(),
        };
        store.same_content(&key, &record, &slot, hash).unwrap();
        if fs::metadata(state.join("db/db")).unwrap().len() > ENOUGH {
            return;
        }
    }
}

#[test]
fn a_state_that_cannot_be_written_anew_is_said_and_serves_until_it_can() {
    let mut rig = Rig::started();
    rig.drop_file("B1.png", &png(1));
    rig.expect("B1", &png(1));
    rig.stop();
    swell(&rig.path("state"));
    rig.plan.env = vec![
        ("LD_PRELOAD", library("full").display().to_string()),
        ("FULL", "db.rewritten".into()),
    ];
    rig.start();
    rig.warned(&["could not be written anew", "No space left on device"]);
    rig.drop_file("B2.png", &png(2));
    rig.expect("B2", &png(2));
    rig.stop();
    rig.plan.env.clear();
    rig.start();
    rig.daemon().wait_line(&["the state was written anew"]);
    assert!(!rig.path("state/db.rewritten").exists());
    rig.drop_file("B3.png", &png(3));
    rig.expect("B3", &png(3));
    rig.finish(3);
}

#[test]
fn whoever_asks_is_answered_while_the_disk_takes_its_time() {
    let mut rig = Rig::new();
    let hang = rig.path("hang");
    rig.plan
        .top
        .push("status: {listen: \"127.0.0.1:0\"}".into());
    rig.plan.env = vec![
        ("LD_PRELOAD", library("hang").display().to_string()),
        ("HANG", hang.display().to_string()),
    ];
    rig.write_config();
    rig.start();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    rig.daemon().wait_line(&["written", "file=B2.png"]);
    // The answer is there, and its receipt is being written through.
    rig.hold_writes();
    rig.drop_file("B2.png", &png(2));
    rig.wait_held();
    fs::write(&hang, "").unwrap();
    rig.sandbox().release();
    rig.expect("B2", &png(2));
    let page = rig.page();
    for _ in 0..20 {
        assert!(get(page, "/api/status").text().contains("\"lanes\""));
        assert!(get(page, "/metrics").text().contains("pixcell_"));
        assert_eq!(rig.status()["totals"]["written"], 1);
    }
    let hash = pixcell::image::ContentHash::of(&png(2)).to_string();
    assert!(!rig.daemon().has_line(&["written", &hash]), "not slow");
    fs::remove_file(&hang).unwrap();
    rig.daemon().wait_line(&["written", &hash]);
    rig.finish(2);
}

/// A small file system in memory, mounted while this lives.
struct Small(PathBuf);

impl Small {
    fn mount(at: PathBuf) -> Self {
        fs::create_dir(&at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs"])
            .arg(&at)
            .status();
        assert!(mounted.unwrap().success());
        Self(at)
    }

    fn remount(&self, options: &str) {
        let mounted = Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(&self.0)
            .status();
        assert!(mounted.unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// `cargo test --test integration state:: -- --ignored`
#[test]
#[ignore = "needs root to mount a tmpfs"]
fn a_full_disk_stops_the_sending_and_space_resumes_it_in_the_same_process() {
    let mut rig = Rig::new();
    let disk = Small::mount(rig.path("state"));
    rig.start();
    rig.drop_file("B1.png", &png(1));
    rig.expect("B1", &png(1));
    let pid = rig.daemon().pid();
    let (filler, row) = fill(&rig, &disk);
    fs::remove_file(filler).unwrap();
    rig.daemon().wait_line(&["the disk takes writes again"]);
    for row in 1..=row {
        rig.expect(&format!("B{row}"), &png(row));
    }
    assert_eq!(rig.daemon().pid(), pid);
    rig.stop();
    // One that was sent and could not be recorded comes once more.
    let writes = rig
        .state()
        .sheet(crate::support::DOC, crate::support::SHEET)
        .unwrap()
        .revision;
    assert!(
        writes <= u64::from(row) + 1,
        "{writes} writes for {row} pictures"
    );
}

/// Fills the disk until nothing more fits, and brings pictures until the daemon finds out. Returns what fills it, and
/// the row of the last picture.
fn fill(rig: &Rig, disk: &Small) -> (PathBuf, u32) {
    let filler = disk.0.join("filler");
    // Ends with an error.
    let _ = fs::write(&filler, vec![7; 5 << 20]);
    let mut row = 1;
    while !rig
        .daemon()
        .has_line(&["nothing is sent until the disk takes writes again"])
    {
        row += 1;
        assert!(row < 190, "the disk does not get full");
        rig.drop_file(format!("B{row}.png"), &png(row));
        rig.meanwhile(1, std::time::Duration::from_millis(200));
    }
    (filler, row)
}

/// `cargo test --test integration state:: -- --ignored`
#[test]
#[ignore = "needs root to mount a tmpfs"]
fn a_configuration_that_comes_while_the_disk_is_full_is_in_force_afterwards() {
    let mut rig = Rig::new();
    let disk = Small::mount(rig.path("state"));
    rig.start();
    rig.drop_file("B1.png", &png(1));
    rig.expect("B1", &png(1));
    let (filler, _) = fill(&rig, &disk);
    fs::create_dir(rig.path("more")).unwrap();
    fs::write(rig.path("more/C1.png"), png(200)).unwrap();
    rig.plan.mappings.push(Mapping::new("more", "more", DOC));
    rig.write_config();
    rig.daemon().signal(Signal::HUP);
    rig.daemon()
        .wait_line(&["the configuration was read again"]);
    fs::remove_file(filler).unwrap();
    rig.daemon().wait_line(&["the disk takes writes again"]);
    rig.expect("C1", &png(200));
    rig.stop();
}

/// `cargo test --test integration state:: -- --ignored`
#[test]
#[ignore = "needs root to mount a tmpfs"]
fn a_picture_that_hangs_does_not_keep_the_store_from_being_opened_anew() {
    let mut rig = Rig::with(|plan| {
        plan.top = vec!["status: {listen: \"127.0.0.1:0\"}".into()];
        plan.mappings.push(Mapping::new("share", "share", DOC));
    });
    let mute = rig.path("share/.mute");
    rig.plan.env = vec![
        ("LD_PRELOAD", library("mute").display().to_string()),
        ("MUTE", mute.display().to_string()),
    ];
    fs::create_dir(rig.path("share")).unwrap();
    let disk = Small::mount(rig.path("state"));
    rig.start();
    fs::write(rig.path("share/C1.png"), png(1)).unwrap();
    rig.expect("C1", &png(1));
    let path = format!("/api/pictures/{}", ContentHash::of(&png(1)).to_hex());
    rig.wait_page(&path, |answer| answer.status == 200);
    fs::write(&mute, "").unwrap();
    let mut asking = std::net::TcpStream::connect(rig.page()).unwrap();
    write!(asking, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let (filler, row) = fill(&rig, &disk);
    fs::remove_file(filler).unwrap();
    rig.daemon().wait_line(&["the disk takes writes again"]);
    rig.expect(&format!("B{row}"), &png(row));
    fs::remove_file(mute).unwrap();
    rig.stop();
}

#[test]
#[ignore = "needs root to mount a tmpfs"]
fn a_read_only_disk_is_said_and_loses_nothing() {
    let mut rig = Rig::new();
    let disk = Small::mount(rig.path("state"));
    rig.start();
    rig.drop_file("B1.png", &png(1));
    rig.expect("B1", &png(1));
    rig.stop();
    disk.remount("ro");
    rig.start_unready();
    let ended = rig.end().with_code(1);
    assert!(ended.stderr.contains("Read-only file system"), "{ended}");
    disk.remount("rw");
    rig.start();
    rig.finish(1);
}
