//! `pixcell check`: what of places can be told without a call, and what the document says of them.

use pixcell::sandbox::{DocumentSpec, Endpoint, Fault, Merge, SheetSpec};
use rstest::rstest;

use crate::support::{DOC, FOLDER, Mapping, Rig, SHEET, png};

const MERGE: Merge = Merge {
    start_row_index: 1,
    end_row_index: 2,
    start_column_index: 1,
    end_column_index: 2,
};

fn check(rig: &mut Rig, online: &[&'static str], code: i32) -> String {
    let args = [&["check", "--config", "pixcell.yaml"], online].concat();
    rig.pixcell(&args).with_code(code).stdout
}

#[test]
fn without_a_call_rules_that_meet_and_rules_out_of_reach_are_told() {
    let mut rig = Rig::with(|plan| {
        let lobby = Mapping::new("lobby", FOLDER, DOC);
        plan.mappings = vec![
            lobby.rule("poster.png", "H7").rule("*.gif", "A1"),
            Mapping::new("hall", "hall", DOC)
                .rule("late.gif", "A2")
                .rule("*.gif", "A3"),
        ];
    });
    let told = check(&mut rig, &[], 0);
    for line in [
        "H7: rule 2 of lobby and rule 3 of lobby can fill the same place, for example with poster.png and H7.png",
        "hall: no file seems to reach rule 2: rule 1 takes all that it would, for example late.gif",
    ] {
        assert!(told.contains(line), "{line} in {told}");
    }
    assert_eq!(rig.state().calls.len(), 0);
}

#[test]
fn the_document_tells_of_merged_hidden_and_missing_cells_and_of_one_sheet_with_two_names() {
    let mut rig = Rig::with(|plan| {
        let lobby = SheetSpec::new(SHEET, "Lobby").merge(MERGE);
        plan.sandbox.documents = vec![
            DocumentSpec::new(DOC)
                .sheet(lobby.hidden(true))
                .sheet(SheetSpec::new("Base1", "Base").resource_type("bitable")),
        ];
        let mut by_title = Mapping::new("titled", "titled", DOC).rule("late.gif", "H7");
        by_title.sheet = "Lobby".into();
        let mut base = Mapping::new("base", "base", DOC);
        base.sheet = "Base".into();
        plan.mappings = vec![
            Mapping::new("lobby", FOLDER, DOC)
                .rule("poster.gif", "H7")
                .rule("merged.gif", "C3")
                .rule("first.gif", "B2")
                .rule("beyond.gif", "B900"),
            by_title,
            base,
        ];
    });
    let told = check(&mut rig, &["--online"], 1);
    for line in [
        "lobby: the sheet \"Lobby\" is hidden; pictures go there all the same: show it among the document's tabs, or name another `sheet`",
        "lobby: rule 3: C3 lies inside the merged cells B2:C3 of sheet \"Lobby\", whose picture belongs to B2",
        "lobby: rule 1: B900 lies outside the grid",
        "add rows or columns to the sheet, or change the rule",
        "name that cell, or split the merged cells",
        "\"Base\" is a bitable, not a grid of cells",
        "H7: rule 4 of lobby and rule 1 of titled can fill the same place, for example with poster.gif and late.gif",
        "names this sheet in two ways",
    ] {
        assert!(told.contains(line), "{line} in {told}");
    }
    assert!(!told.contains("rule 2: B2"), "{told}");
}

#[test]
fn a_picture_for_a_covered_cell_is_parked_and_one_for_the_first_cell_is_written() {
    let mut rig = Rig::with(|plan| {
        let sheet = SheetSpec::new(SHEET, "Lobby").merge(MERGE);
        plan.sandbox.documents = vec![DocumentSpec::new(DOC).sheet(sheet)];
    });
    rig.start();
    rig.drop_file("B3.png", &png(1));
    rig.warned(&["parked: B3 lies inside the merged cells B2:C3"]);
    rig.drop_file("B2.png", &png(2));
    rig.expect("B2", &png(2));
    rig.finish(1);
}

#[rstest]
#[case::scope(
    400,
    99_991_672,
    "under Permissions & Scopes, add `sheets:spreadsheet`"
)]
#[case::published(400, 99_991_672, "create a version of the app and publish it")]
#[case::document(403, 91_403, "… > More > Add document app; in a wiki on its wiki page")]
fn a_refused_look_says_what_to_click(#[case] status: u16, #[case] code: i64, #[case] told: &str) {
    let mut rig = Rig::new();
    rig.fault(Fault::on(Endpoint::SheetsQuery).answer(status, code, "refused"));
    let said = check(&mut rig, &["--online"], 1);
    assert!(said.contains(told), "{told} in {said}");
    assert!(said.contains(&code.to_string()), "{said}");
}
