//! Power cuts, imitated: the state lies on a file system of its own in an image; the daemon is stopped,
//! the image is copied as the disk has it by then, and what is mounted afterwards is the copy. What
//! was only in the page cache is gone. It does not model a disk that loses its own cache.
//!
//! Needs root, loop devices and `mkfs.ext4`, so it runs when asked to:
//! `cargo test --test integration power:: -- --ignored`; `PIXCELL_TEST_CUTS` says how many (20).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use pixcell::store::{self, Done};

use crate::support::{LIMIT, Random, Rig, Signal, jpeg};

const CELLS: u64 = 12;

/// A file system in an image, mounted while this lives.
struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    fn new(rig: &Rig) -> Self {
        let disk = Self {
            image: rig.path("disk.img"),
            at: rig.path("state"),
        };
        fs::create_dir(&disk.at).unwrap();
        let file = fs::File::create(&disk.image).unwrap();
        file.set_len(64 << 20).unwrap();
        run("mkfs.ext4", &["-q".as_ref(), disk.image.as_ref()]);
        disk.mount();
        disk
    }

    fn mount(&self) {
        run(
            "mount",
            &[
                "-o".as_ref(),
                "loop".as_ref(),
                self.image.as_ref(),
                self.at.as_ref(),
            ],
        );
    }

    /// What the disk holds at this moment, without what is still in memory.
    fn copy(&self) -> PathBuf {
        let copy = self.image.with_extension("cut");
        fs::copy(&self.image, &copy).unwrap();
        copy
    }

    /// The machine comes up again with this disk.
    fn replace(&self, copy: &Path) {
        run("umount", &[self.at.as_ref()]);
        fs::rename(copy, &self.image).unwrap();
        self.mount();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

fn run(program: &str, args: &[&std::ffi::OsStr]) {
    let status = Command::new(program).args(args).status().unwrap();
    assert!(status.success(), "{program} {args:?}: {status}");
}

/// Waits until a process that was sent SIGSTOP stands still.
fn wait_stopped(pid: u32) {
    let end = Instant::now() + LIMIT;
    while !fs::read_to_string(format!("/proc/{pid}/stat"))
        .unwrap()
        .contains(") T ")
    {
        assert!(Instant::now() < end, "it does not stop");
        std::thread::yield_now();
    }
}

#[test]
#[ignore = "needs root and loop devices"]
fn after_a_power_cut_every_receipt_is_there_and_every_picture_gets_to_its_cell() {
    let cuts: u64 = std::env::var("PIXCELL_TEST_CUTS").map_or(20, |text| text.parse().unwrap());
    let mut random = Random::new(Random::any_seed());
    let mut rig = Rig::new();
    let disk = Disk::new(&rig);
    let mut versions: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    let (mut told, mut made) = (0, 0);
    for cut in 1..=cuts {
        rig.start();
        let calls = 1 + random.below(40);
        for _ in 0..calls {
            made += 1;
            let cell = format!("B{}", 1 + random.below(CELLS));
            let bytes = jpeg(1_000 + made);
            fs::write(rig.file(format!("{cell}.jpg")), &bytes).unwrap();
            versions.entry(cell).or_default().push(bytes);
            rig.meanwhile(random.below(4), Duration::from_millis(random.below(30)));
        }
        let pid = rig.daemon().pid();
        rig.daemon().signal(Signal::STOP);
        wait_stopped(pid);
        let copy = disk.copy();
        let log = rig.daemon().stderr();
        rig.kill();
        disk.replace(&copy);

        let receipts = receipts(&rig.path("state"));
        let mut written: BTreeMap<String, usize> = BTreeMap::new();
        for line in log.lines().filter(|line| line.contains(" written ")) {
            let file = line.split("file=").nth(1).unwrap();
            let file = file.split_whitespace().next().unwrap();
            *written.entry(file.to_owned()).or_default() += 1;
            told += 1;
        }
        for (file, times) in &written {
            let there = receipts.get(file).copied().unwrap_or_default();
            assert!(
                there >= *times,
                "cut {cut}: {file} was told as written {times} times, {there} are recorded"
            );
        }
        // Files lose their latest writes as well: some are back at an earlier version.
        for (cell, versions) in &mut versions {
            if versions.len() > 1 && random.below(3) == 0 {
                versions.pop();
                let back = versions.last().unwrap();
                fs::write(rig.file(format!("{cell}.jpg")), back).unwrap();
            }
        }
    }
    assert!(told > 0);
    rig.start();
    for (cell, versions) in &versions {
        rig.expect(cell, versions.last().unwrap());
    }
    rig.fence();
    for (cell, versions) in &versions {
        rig.expect(cell, versions.last().unwrap());
    }
    println!("{cuts} cuts, {told} receipts told and all recorded, {made} pictures");
    rig.stop();
}

/// How many receipts each file has in this run's and all earlier history.
fn receipts(state_dir: &Path) -> BTreeMap<String, usize> {
    let mut receipts = BTreeMap::new();
    // Cut before the first run had made its database: nothing was told either.
    let Ok((store, _copy)) = store::look(state_dir) else {
        return receipts;
    };
    for event in store.history() {
        let event = event.unwrap();
        if matches!(event.done, Done::Written { .. }) {
            *receipts.entry(event.source.path.to_string()).or_default() += 1;
        }
    }
    receipts
}
