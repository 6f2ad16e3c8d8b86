//! Every way for a picture to come leads to exactly one write of exactly its bytes.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use pixcell::image::ContentHash;
use pixcell::sandbox::Encoding;
use rstest::rstest;

use crate::support::{DOC, Rig, SHEET, jpeg, large_jpeg, png};

#[rstest]
#[case::png("B2.png", png(1))]
#[case::jpeg("B2.jpg", jpeg(2))]
#[case::jpeg_by_its_other_suffix("B2.jpeg", large_jpeg(3))]
fn a_dropped_picture_is_in_its_cell_after_one_write(#[case] name: &str, #[case] bytes: Vec<u8>) {
    let mut rig = Rig::started();
    rig.drop_file(name, &bytes);
    rig.expect("B2", &bytes);
    let state = rig.state();
    assert_eq!(state.image(DOC, SHEET, "B2").unwrap().name, name);
    assert_eq!(state.sheet(DOC, SHEET).unwrap().cells.len(), 1);
    rig.finish(1);
}

#[test]
fn an_overwritten_picture_replaces_the_one_in_the_cell() {
    let mut rig = Rig::started();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    rig.drop_file("B2.png", &png(2));
    rig.expect("B2", &png(2));
    rig.finish(2);
}

#[test]
fn a_picture_that_is_renamed_in_is_written_once() {
    let mut rig = Rig::started();
    let (outside, beside) = (
        rig.outside("outside.png", &png(1)),
        rig.file(".B3.png.part"),
    );
    fs::rename(outside, rig.file("B2.png")).unwrap();
    rig.expect("B2", &png(1));
    // Within the folder, from a name that is ignored, as careful writers do.
    fs::write(&beside, jpeg(2)).unwrap();
    fs::rename(&beside, rig.file("B3.jpg")).unwrap();
    rig.expect("B3", &jpeg(2));
    // And over the picture that is there.
    fs::write(&beside, jpeg(3)).unwrap();
    fs::rename(&beside, rig.file("B3.jpg")).unwrap();
    rig.expect("B3", &jpeg(3));
    rig.finish(3);
}

#[test]
fn a_copied_picture_is_written_once() {
    let mut rig = Rig::started();
    let source = rig.outside("source.jpg", &large_jpeg(1));
    fs::copy(source, rig.file("C3.jpg")).unwrap();
    rig.expect("C3", &large_jpeg(1));
    rig.finish(1);
}

#[test]
fn a_hard_linked_picture_is_written_once() {
    let mut rig = Rig::started();
    let source = rig.outside("source.png", &png(1));
    fs::hard_link(source, rig.file("C3.png")).unwrap();
    rig.expect("C3", &png(1));
    rig.finish(1);
}

#[test]
fn a_folder_moved_into_the_tree_brings_all_its_pictures() {
    let mut rig = Rig::started();
    let folder = rig.path("album");
    fs::create_dir_all(folder.join("deep/deeper")).unwrap();
    let mut pictures = Vec::new();
    for row in 1..=24 {
        let place = ["", "deep", "deep/deeper"][row as usize % 3];
        let bytes = if row % 2 == 0 { png(row) } else { jpeg(row) };
        fs::write(
            folder
                .join(place)
                .join(format!("D{row}.{}", ["png", "jpg"][row as usize % 2])),
            &bytes,
        )
        .unwrap();
        pictures.push((format!("D{row}"), bytes));
    }
    let moved = Command::new("mv")
        .arg(&folder)
        .arg(rig.file("album"))
        .status();
    assert!(moved.unwrap().success());
    for (cell, bytes) in &pictures {
        rig.expect(cell, bytes);
    }
    rig.finish(24);
}

#[test]
fn new_nested_folders_lose_no_picture_however_fast_they_are_filled() {
    let mut rig = Rig::started();
    let mut pictures = Vec::new();
    for row in 1..=60 {
        let folder = rig.file(format!("a{row}/b/c"));
        fs::create_dir_all(&folder).unwrap();
        let bytes = png(row);
        fs::write(folder.join(format!("E{row}.png")), &bytes).unwrap();
        pictures.push((format!("E{row}"), bytes));
    }
    for (cell, bytes) in &pictures {
        rig.expect(cell, bytes);
    }
    rig.finish(60);
}

#[test]
fn a_folder_that_is_not_recursive_leaves_sub_folders_alone() {
    let mut rig = Rig::with(|plan| plan.mappings[0].lines.push("recursive: false".into()));
    rig.start();
    fs::create_dir(rig.file("sub")).unwrap();
    fs::write(rig.file("sub/B2.png"), png(1)).unwrap();
    rig.drop_file("B3.png", &png(2));
    rig.expect("B3", &png(2));
    rig.finish(1);
}

#[rstest]
#[case::base64("base64", Encoding::Base64)]
#[case::array("array", Encoding::Array)]
fn both_encodings_carry_the_bytes_unchanged(#[case] named: &str, #[case] encoding: Encoding) {
    let mut rig = Rig::with(|plan| plan.feishu.push(format!("image_encoding: {named}")));
    rig.start();
    // Lengths of every remainder by three: base64's padding.
    let mut whole = large_jpeg(1);
    for (row, _) in (1..=3).zip(0..) {
        rig.drop_file(format!("B{row}.jpg"), &whole);
        rig.expect(&format!("B{row}"), &whole);
        let state = rig.state();
        let image = state.image(DOC, SHEET, &format!("B{row}")).unwrap();
        assert_eq!(
            (image.encoding, image.length),
            (encoding, whole.len() as u64)
        );
        // Bytes behind a JPEG's end belong to no picture, and to the file all the same.
        whole.push(0x3d);
    }
    rig.finish(3);
}

#[test]
fn a_hundred_events_for_one_file_cost_one_look() {
    let mut rig = Rig::with(|plan| {
        plan.watch = "settle: 10m".into();
        plan.top.push("status: {listen: \"127.0.0.1:0\"}".into());
    });
    rig.start();
    // Larger than what is read beside small files: it is put aside unread, and that is no look.
    let whole = [large_jpeg(1), vec![7; 3 << 20]].concat();
    let mut file = fs::File::create(rig.file("B2.jpg")).unwrap();
    for (number, part) in whole.chunks(whole.len() / 100).enumerate() {
        file.write_all(part).unwrap();
        if number == 50 {
            // What was written so far has been heard of by then.
            rig.drop_file("B3.png", &png(3));
            rig.expect("B3", &png(3));
        }
    }
    drop(file);
    rig.expect("B2", &whole);
    // One at each of the two.
    let looks = "pixcell_candidates_total{mapping=\"lobby\"} 2\n";
    rig.wait_page("/metrics", |answer| answer.text().contains(looks));
}

#[test]
fn links_are_not_followed_out_of_the_folder() {
    let mut rig = Rig::started();
    let secret = rig.outside("elsewhere.png", &png(1));
    fs::create_dir(rig.path("other")).unwrap();
    fs::write(rig.path("other/B4.png"), png(2)).unwrap();
    std::os::unix::fs::symlink(&secret, rig.file("B2.png")).unwrap();
    std::os::unix::fs::symlink(rig.path("other"), rig.file("linked")).unwrap();
    rig.drop_file("B3.png", &png(3));
    rig.expect("B3", &png(3));
    rig.finish(1);
    // Nor when they are found by a listing.
    rig.start();
    rig.finish(1);
}

#[test]
fn a_pipe_a_socket_or_a_device_named_like_a_picture_holds_up_nothing() {
    let mut rig = Rig::started();
    let made = Command::new("mkfifo").arg(rig.file("B2.png")).status();
    assert!(made.unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(rig.file("B3.png")).unwrap();
    // Zeros without end, and only root may make it.
    let device = Command::new("mknod")
        .arg(rig.file("B5.png"))
        .args(["c", "1", "5"])
        .status();
    if !device.unwrap().success() {
        println!("not tried: a device, which only root can make");
    }
    rig.drop_file("B4.png", &png(1));
    rig.expect("B4", &png(1));
    rig.finish(1);
}

/// Names that lead to a secret for a moment, again and again, while looks and uploads go on.
#[rstest]
#[case::the_file_itself("B2.png")]
#[case::a_folder_on_the_way("sub/B2.png")]
fn what_is_swapped_for_a_link_is_not_followed(#[case] name: &str) {
    use std::os::unix::fs::symlink;

    const ROUNDS: u32 = 200;
    let mut rig = Rig::with(|plan| plan.watch = "settle: 0s".into());
    let (secrets, pictures) = (rig.path("secrets"), rig.path("pictures"));
    let secret = png(7_777_777);
    for folder in [&secrets, &pictures] {
        fs::create_dir(folder).unwrap();
    }
    fs::write(secrets.join("B2.png"), &secret).unwrap();
    rig.start();
    // The picture, or the folder that it lies in.
    let swapped = name.split('/').next().unwrap();
    let target = if swapped == name {
        secrets.join("B2.png")
    } else {
        secrets
    };
    let (link, there) = (rig.path("link"), rig.file(swapped));
    let put = |what: &Path| {
        match there.symlink_metadata() {
            Ok(meta) if meta.is_dir() => fs::remove_dir_all(&there).unwrap(),
            Ok(_) => fs::remove_file(&there).unwrap(),
            Err(_) => {}
        }
        fs::rename(what, &there).unwrap();
    };
    for round in 1..=ROUNDS {
        let whole = pictures.join(name);
        fs::create_dir_all(whole.parent().unwrap()).unwrap();
        fs::write(&whole, png(round)).unwrap();
        put(&pictures.join(swapped));
        if round < ROUNDS {
            symlink(&target, &link).unwrap();
            put(&link);
        }
    }
    rig.expect("B2", &png(ROUNDS));
    rig.fence();
    let hash = ContentHash::of(&secret).to_string();
    assert!(
        !rig.daemon().has_line(&[hash.as_str()]),
        "the secret was read"
    );
    let shown = rig
        .daemon()
        .has_line(&[&ContentHash::of(&png(ROUNDS)).to_string()]);
    assert!(shown, "the log names hashes");
}
