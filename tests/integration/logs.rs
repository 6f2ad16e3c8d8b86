//! The log says what happened and does not fill the disk.

use crate::support::Rig;

#[test]
fn thousands_of_files_that_fail_are_less_than_a_hundred_lines() {
    const FILES: u32 = 2_000;
    let mut rig = Rig::with(|plan| plan.args = Vec::new());
    for row in 1..=FILES {
        rig.drop_file(
            format!("B{row}.png"),
            b"no picture at all, whatever its name says",
        );
    }
    rig.start();
    rig.wait_status("all are rejected", |status| {
        status["mappings"][0]["rejected"] == FILES
    });
    let ended = rig.stop();
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert!(lines.len() < 100, "{} lines: {ended}", lines.len());
    let rejected = lines.iter().filter(|line| line.contains("rejected: "));
    assert!(rejected.count() > 1, "{ended}");
    // None is left out without a word.
    let more: u32 = lines
        .iter()
        .filter_map(|line| {
            line.split_once("… ")?
                .1
                .split_once(" more in the last minute")
        })
        .map(|(more, _)| more.parse::<u32>().unwrap())
        .sum();
    let told = lines.iter().filter(|line| line.contains("file=B"));
    assert_eq!(
        more + u32::try_from(told.count()).unwrap(),
        FILES,
        "{ended}"
    );
}
