//! Programs that really write into such folders. Where one is not installed, its test says so and
//! passes. What each makes the kernel report stands in `docs/writers.md`.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rstest::rstest;

use crate::support::{
    DOC, LIMIT, Rig, SHEET, Signal, installed, jpeg, large_jpeg, pause, photo, png,
};

/// Waits for a fact of the file system or another program.
#[track_caller]
fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < end, "no {what}");
        pause();
    }
}

fn kill(child: &Child, signal: Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Runs a program to its end and insists on success.
#[track_caller]
fn run(program: &str, args: &[&str]) {
    let mut command = Command::new(program);
    let output = command.args(args).stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[rstest]
#[case::renaming(&[])]
#[case::in_place(&["--inplace"])]
#[case::delayed(&["--delay-updates"])]
#[case::with_times(&["-a", "--no-whole-file"])]
fn rsync_brings_each_picture_once(#[case] how: &[&str]) {
    if !installed("rsync") {
        return;
    }
    let mut rig = Rig::started();
    let source = rig.path("source");
    std::fs::create_dir(&source).unwrap();
    let from = format!("{}/", source.display());
    let to = format!("{}/", rig.file("").display());
    // `-r --checksum`: times need not differ for it to notice the second round.
    let args = [&["-r", "--checksum"], how, &[from.as_str(), to.as_str()]].concat();
    for round in 0..2 {
        for row in 1..=5 {
            std::fs::write(
                source.join(format!("B{row}.jpg")),
                large_jpeg(10 * round + row),
            )
            .unwrap();
        }
        run("rsync", &args);
        for row in 1..=5 {
            rig.expect(&format!("B{row}"), &large_jpeg(10 * round + row));
        }
        // Nothing changed: nothing is sent.
        run("rsync", &args);
    }
    rig.finish(10);
}

#[test]
fn an_rsync_that_is_ended_leaves_a_part_that_is_held_and_the_next_one_completes_it() {
    if !installed("rsync") {
        return;
    }
    let mut rig = Rig::started();
    let whole = photo(1);
    let source = rig.outside("B2.jpg", &whole);
    let into = format!("{}/", rig.file("").display());
    let args = ["--partial", text(&source), into.as_str()];
    let mut first = Command::new("rsync")
        .args(["--bwlimit=100"])
        .args(args)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    // Its temporary name; with this limit it is far from done when some of it is there.
    wait_for("a part of the picture", || {
        let mut entries = std::fs::read_dir(rig.file("")).unwrap();
        entries.any(|entry| entry.unwrap().metadata().is_ok_and(|meta| meta.len() > 0))
    });
    kill(&first, Signal::TERM);
    first.wait().unwrap();
    // Its other half gives the part the picture's name.
    wait_for("a part under the picture's name", || {
        rig.file("B2.jpg").is_file()
    });
    let part = std::fs::metadata(rig.file("B2.jpg")).unwrap().len();
    assert!((1..whole.len() as u64).contains(&part), "{part} bytes");
    rig.daemon().wait_line(&["held", "B2.jpg"]);
    run("rsync", &args);
    rig.expect("B2", &whole);
    rig.finish(1);
}

#[test]
fn imagemagick_brings_its_picture() {
    let convert = if installed("magick") {
        "magick"
    } else {
        "convert"
    };
    if !installed(convert) {
        return;
    }
    let mut rig = Rig::with(|plan| {
        let mapping = plan.mappings[0].clone();
        plan.mappings[0] = mapping.rule("{cell:B[0-9]}.{gif,bmp,tiff}", "{cell}");
    });
    rig.start();
    for (row, suffix) in (2..).zip(["png", "jpg", "gif", "bmp", "tiff"]) {
        let file = rig.file(format!("B{row}.{suffix}"));
        run(convert, &["-size", "640x480", "plasma:", text(&file)]);
        let bytes = std::fs::read(&file).unwrap();
        rig.expect(&format!("B{row}"), &bytes);
    }
    rig.fence();
    // It may write in several steps; whatever was sent was a whole picture, and the last one is there.
    assert!((5..=10).contains(&rig.writes()), "{} writes", rig.writes());
    let writes = rig.writes();
    rig.finish(writes);
}

#[rstest]
#[case::atomic("1")]
#[case::in_place("0")]
fn a_camera_by_ffmpeg_ends_with_its_last_frame_and_no_torn_one(#[case] atomic: &str) {
    if !installed("ffmpeg") {
        return;
    }
    let mut rig = Rig::started();
    let file = rig.file("B2.jpg");
    // 25 frames a second as a camera would, for two seconds, each over the one before.
    let args = [
        "-loglevel",
        "error",
        "-re",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=320x240:rate=25",
        "-frames:v",
        "50",
        "-update",
        "1",
        "-atomic_writing",
        atomic,
        "-y",
    ];
    run("ffmpeg", &[&args[..], &[text(&file)]].concat());
    let last = std::fs::read(&file).unwrap();
    rig.expect("B2", &last);
    let writes = rig.writes();
    assert!((1..=50).contains(&writes), "{writes} writes");
    // The sandbox decodes the structure of what it gets and refuses what is torn.
    assert_eq!(rig.state().answers_by_code.keys().collect::<Vec<_>>(), [&0]);
    rig.finish(writes);
    assert_eq!(
        rig.sandbox().image_bytes(DOC, SHEET, "B2").as_deref(),
        Some(&last[..])
    );
}

#[test]
fn a_shell_that_redirects_brings_its_picture() {
    let mut rig = Rig::started();
    let source = rig.outside("source.png", &png(1));
    let script = format!("cat '{}' > '{}'", text(&source), text(&rig.file("B2.png")));
    run("sh", &["-c", &script]);
    rig.expect("B2", &png(1));
    // In two parts, with a pause of the writer between them that no settling covers.
    let script = format!(
        "exec 3> '{1}'; head -c 100 '{0}' >&3; tail -c +101 '{0}' >&3",
        text(&source),
        text(&rig.file("B3.png"))
    );
    run("sh", &["-c", &script]);
    rig.expect("B3", &png(1));
    rig.finish(2);
}

#[rstest]
#[case::cp("cp SOURCE TARGET")]
#[case::cp_with_times("cp -p SOURCE TARGET")]
#[case::install("install -m 640 SOURCE TARGET")]
#[case::dd_in_small_blocks("dd bs=512 conv=fsync status=none if=SOURCE of=TARGET")]
#[case::tee("tee TARGET < SOURCE > /dev/null")]
#[case::tar("tar -C $(dirname SOURCE) -cf - $(basename SOURCE) | tar -C $(dirname TARGET) -xf -")]
#[case::mv_from_another_file_system("cp SOURCE ELSEWHERE && mv ELSEWHERE TARGET")]
#[case::by_way_of_a_temporary_name(
    "cp SOURCE TARGET.tmp && sync TARGET.tmp && mv TARGET.tmp TARGET"
)]
#[case::touched_afterwards("cp SOURCE TARGET && touch TARGET && chmod 600 TARGET")]
fn a_picture_and_then_another_under_its_name_are_each_written_once(#[case] script: &str) {
    let mut rig = Rig::started();
    let target = rig.file("B2.jpg");
    let other = Path::new("/dev/shm");
    let elsewhere = if other.is_dir() {
        tempfile::tempdir_in(other).unwrap()
    } else {
        println!("no other file system is at hand: {}", other.display());
        tempfile::tempdir().unwrap()
    };
    let elsewhere = elsewhere.path().join("moved");
    let script = script
        .replace("SOURCE", text(&rig.path("B2.jpg")))
        .replace("TARGET", text(&target))
        .replace("ELSEWHERE", text(&elsewhere));
    for seed in 1..=2 {
        rig.outside("B2.jpg", &large_jpeg(seed));
        run("sh", &["-ec", &script]);
        rig.expect("B2", &large_jpeg(seed));
        rig.fence();
        assert_eq!(rig.writes(), u64::from(seed), "{script}");
    }
    rig.finish(2);
}

#[test]
fn a_writer_that_pauses_longer_than_any_settling_brings_one_whole_picture() {
    let mut rig = Rig::started();
    let whole = photo(1);
    let mut cat = Command::new("sh")
        .args(["-c", &format!("cat > '{}'", text(&rig.file("B2.jpg")))])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = cat.stdin.take().unwrap();
    for part in whole.chunks(whole.len() / 3 + 1) {
        pipe.write_all(part).unwrap();
        // Whatever settles by time has settled.
        rig.fence();
    }
    rig.expect("B2", &whole);
    drop(pipe);
    assert!(cat.wait().unwrap().success());
    // Its end was there before its writer closed it, and the close brings nothing new.
    rig.finish(1);
}

/// The close of the first fires while the second still writes, and says nothing of the file.
#[test]
fn two_programs_that_write_one_picture_bring_it_once_when_the_second_is_done() {
    let mut rig = Rig::started();
    let whole = photo(1);
    let (first_half, second_half) = whole.split_at(whole.len() / 2);
    let target = rig.file("B2.jpg");
    let script = format!("exec cat >> '{}'", text(&target));
    let mut programs = [0; 2].map(|_| {
        Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap()
    });
    let [first, second] = &mut programs;
    let mut pipe = first.stdin.take().unwrap();
    pipe.write_all(first_half).unwrap();
    drop(pipe);
    assert!(first.wait().unwrap().success());
    rig.daemon().wait_line(&["held", "B2.jpg"]);
    // What it writes is told as such; whatever settles by time has settled.
    let mut pipe = second.stdin.take().unwrap();
    for part in second_half.chunks(second_half.len() / 3 + 1) {
        rig.fence();
        assert_eq!(rig.writes(), 0);
        pipe.write_all(part).unwrap();
    }
    drop(pipe);
    assert!(second.wait().unwrap().success());
    rig.expect("B2", &whole);
    rig.finish(1);
}

#[rstest]
#[case::from_its_start(&[0, 1, 2])]
#[case::from_its_end(&[2, 1, 0])]
#[case::the_middle_last(&[0, 2, 1])]
fn a_picture_whose_space_is_set_aside_first_is_held_until_all_of_it_is_there(
    #[case] order: &[usize],
) {
    if !installed("fallocate") {
        return;
    }
    // As downloads in several parts and SMB clients do.
    let mut rig = Rig::started();
    let whole = photo(1);
    let source = rig.outside("source.jpg", &whole);
    let target = rig.file("B2.jpg");
    run(
        "fallocate",
        &["-l", &whole.len().to_string(), text(&target)],
    );
    let block = whole.len().div_ceil(3).next_multiple_of(4096);
    for part in order {
        rig.fence();
        assert_eq!(rig.writes(), 0, "before part {part} of {order:?}");
        let part = format!(
            "if={} of={} bs={block} skip={part} seek={part} count=1 conv=notrunc status=none",
            text(&source),
            text(&target)
        );
        run("dd", &part.split(' ').collect::<Vec<_>>());
    }
    rig.expect("B2", &whole);
    rig.finish(1);
}

/// What phones and cameras add behind a picture: a further picture (MPO), a movie (motion photo), a note.
#[rstest]
#[case::further_picture(large_jpeg(9))]
#[case::movie(b"\0\0\0\x18ftypmp42\0\0\0\0isommp42\0\0\0\x08free".to_vec())]
#[case::note_of_zeros(vec![0; 300])]
fn what_a_camera_adds_behind_a_picture_is_sent_with_it(#[case] behind: Vec<u8>) {
    let mut rig = Rig::started();
    let file = [large_jpeg(1), behind].concat();
    let source = rig.outside("source.jpg", &file);
    run("cp", &[text(&source), text(&rig.file("B2.jpg"))]);
    rig.expect("B2", &file);
    rig.finish(1);
}

#[test]
fn the_end_of_a_thumbnail_is_not_the_end_of_the_picture() {
    if !installed("exiftool") {
        return;
    }
    let mut rig = Rig::started();
    let thumbnail = rig.outside("thumbnail.jpg", &jpeg(7));
    let source = rig.outside("source.jpg", &photo(1));
    let add = format!("-ThumbnailImage<={}", thumbnail.display());
    run(
        "exiftool",
        &["-q", "-overwrite_original", &add, text(&source)],
    );
    let whole = std::fs::read(&source).unwrap();
    let inner = jpeg(7);
    let at = memchr::memmem::find(&whole, &inner).expect("the thumbnail is in the file");
    // Just behind the thumbnail's end, and then with most of the picture.
    for (row, length) in (3..).zip([at + inner.len(), whole.len() - 2]) {
        rig.drop_file(format!("B{row}.jpg"), &whole[..length]);
    }
    run("cp", &[text(&source), text(&rig.file("B2.jpg"))]);
    rig.expect("B2", &whole);
    rig.finish(1);
    assert_eq!(rig.status()["mappings"][0]["held"], 2);
}

/// An FTP server for one folder, by a library that cameras' recorders use as well; ended when dropped.
struct Ftp {
    server: Child,
    address: SocketAddr,
}

impl Ftp {
    /// Debian's Python, which is the one that its packages install for.
    const PYTHON: &str = "/usr/bin/python3";

    /// `None`, with a line that says so, where the programs are missing.
    fn serve(folder: &Path) -> Option<Self> {
        let library = Command::new(Self::PYTHON)
            .args(["-c", "import pyftpdlib"])
            .stderr(Stdio::null())
            .status();
        if !library.is_ok_and(|status| status.success()) {
            println!("skipped: pyftpdlib is not installed (apt-get install python3-pyftpdlib)");
            return None;
        }
        if !installed("curl") {
            return None;
        }
        // Freed again at once; nobody else is given it in that moment.
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let server = Command::new(Self::PYTHON)
            .args(["-m", "pyftpdlib", "-w", "-i", "127.0.0.1", "-p"])
            .arg(address.port().to_string())
            .arg("-d")
            .arg(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let served = Self { server, address };
        wait_for("an FTP server that listens", || {
            TcpStream::connect(address).is_ok()
        });
        Some(served)
    }

    fn url(&self, name: &str) -> String {
        format!("ftp://{}/{name}", self.address)
    }
}

impl Drop for Ftp {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn a_camera_that_sends_over_ftp_brings_each_picture_once() {
    let mut rig = Rig::started();
    let Some(ftp) = Ftp::serve(&rig.file("")) else {
        return;
    };
    let (first, second) = (photo(1), photo(2));
    let source = rig.outside("source.jpg", &first);
    run("curl", &["-sS", "-T", text(&source), &ftp.url("B2.jpg")]);
    rig.expect("B2", &first);
    // Over the picture that is there.
    let source = rig.outside("source.jpg", &second);
    run("curl", &["-sS", "-T", text(&source), &ftp.url("B2.jpg")]);
    rig.expect("B2", &second);
    // Under another name first, as careful cameras do.
    let (from, to) = ("-RNFR B3.jpg.part", "-RNTO B3.jpg");
    run(
        "curl",
        &[
            "-sS",
            "-T",
            text(&source),
            &ftp.url("B3.jpg.part"),
            "-Q",
            from,
            "-Q",
            to,
        ],
    );
    rig.expect("B3", &second);
    rig.finish(3);
}

#[test]
fn a_camera_that_appends_over_ftp_brings_its_picture_when_the_last_piece_is_there() {
    let mut rig = Rig::started();
    let Some(ftp) = Ftp::serve(&rig.file("")) else {
        return;
    };
    let whole = photo(1);
    // Each piece is a close of its own: APPE, the server opens, appends, closes.
    for piece in whole.chunks(whole.len().div_ceil(4)) {
        rig.fence();
        assert_eq!(rig.writes(), 0);
        let piece = rig.outside("piece", piece);
        run(
            "curl",
            &["-sS", "-a", "-T", text(&piece), &ftp.url("B2.jpg")],
        );
    }
    rig.expect("B2", &whole);
    rig.finish(1);
}

#[test]
fn a_camera_whose_transfer_breaks_off_and_resumes_brings_one_whole_picture() {
    let mut rig = Rig::started();
    let Some(ftp) = Ftp::serve(&rig.file("")) else {
        return;
    };
    let whole = photo(1);
    let source = rig.outside("source.jpg", &whole);
    let mut camera = Command::new("curl")
        .args([
            "-sS",
            "--limit-rate",
            "60k",
            "-T",
            text(&source),
            &ftp.url("B2.jpg"),
        ])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("a part of the picture", || {
        std::fs::metadata(rig.file("B2.jpg")).is_ok_and(|meta| meta.len() > 0)
    });
    camera.kill().unwrap();
    camera.wait().unwrap();
    // The server closes what it has as if it were whole.
    rig.daemon().wait_line(&["held", "B2.jpg"]);
    rig.fence();
    assert_eq!(rig.writes(), 0);
    assert_eq!(rig.status()["mappings"][0]["held"], 1);
    run(
        "curl",
        &["-sS", "-C", "-", "-T", text(&source), &ftp.url("B2.jpg")],
    );
    rig.expect("B2", &whole);
    rig.finish(1);
}
