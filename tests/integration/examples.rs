//! What the README shows of `check` and `plan` on the configurations of `examples/` is what they print.

use std::fs;

use rstest::rstest;

use super::rows::example;
use crate::support::{FOLDER, Rig, jpeg, png};

/// The README's block on an example: both commands, each with what it printed.
fn shown(name: &str) -> String {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let begin = format!("```text\n$ pixcell check --config examples/{name}\n");
    let at = readme.find(&begin).expect("a block on the example") + "```text\n".len();
    let block = &readme[at..];
    block[..block.find("```").unwrap()].to_owned()
}

/// What both commands print, with the example's own folder in place of the rig's.
fn printed(rig: &mut Rig, name: &str, folder: &str) -> String {
    let there = rig.path(FOLDER).display().to_string();
    let all = ["check", "plan"].map(|command| {
        let ended = rig.pixcell(&[command, "--config", "pixcell.yaml"]);
        let text = ended.with_code(0).stdout.replace(&there, folder);
        format!("$ pixcell {command} --config examples/{name}\n{text}")
    });
    assert!(rig.state().calls.is_empty(), "neither makes a call");
    all.join("\n")
}

#[rstest]
#[case::cameras("cameras.yaml", "/srv/cameras", &[
    ("north/camera-3.jpg", jpeg(1)),
    ("north/lobby.jpg", jpeg(2)),
    ("south/camera-3.jpg", jpeg(3)),
])]
#[case::catalogue("catalogue.yaml", "/srv/catalogue", &[
    ("articles/007.png", png(1)),
    ("articles/SKU-7.jpg", jpeg(2)),
    ("articles/SKU-8.png", b"words".to_vec()),
])]
#[case::inspection("inspection.yaml", "/srv/inspection", &[
    ("0001.jpg", jpeg(1)),
    ("0002.jpg", Vec::new()),
    ("0003.jpg.part", jpeg(3)),
])]
fn check_and_plan_print_what_the_readme_shows(
    #[case] name: &str,
    #[case] folder: &str,
    #[case] files: &[(&str, Vec<u8>)],
) {
    let mut rig = example(name, "not asked for");
    for (file, bytes) in files {
        fs::create_dir_all(rig.file(file).parent().unwrap()).unwrap();
        rig.drop_file(file, bytes);
    }
    assert_eq!(printed(&mut rig, name, folder), shown(name));
}
