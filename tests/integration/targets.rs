//! `pixcell check`: what of places can be told without a call, and what the document says of them.

use std::fs;

use pixcell::sandbox::{DocumentSpec, Endpoint, Fault, Merge, Permission, SheetSpec};
use rstest::rstest;

use crate::support::{DOC, FOLDER, Mapping, Rig, SHEET, document, png};

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
                .rule("wall-{n:int}.gif", "Z{n+1}")
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
        "lobby: rule 5: sheet \"Lobby\" has no column Z",
        "add rows or columns to the sheet, or change the rule",
        "name that cell, or split the merged cells",
        "\"Base\" is a bitable, not a grid of cells",
        "  the sheet: select B2:C3, then click Merge cells in the toolbar",
        "  the sheet: rows are added below the last one",
        "  the document: right-click any tab, then Unhide",
        "  open the document, click the tab that is meant",
        "the app makes at most 100 calls a second, the API documents 100 for all that use it together\n",
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
#[case::document(
    403,
    91_403,
    "the document: … > More > Add document app; search for the app"
)]
#[case::wiki(400, 131_006, "in a wiki on its wiki page")]
#[case::gone(404, 1_310_214, "copy its whole address into `spreadsheet`")]
#[case::secret(
    200,
    10_015,
    "under Credentials & Basic Info compare the App ID with `app_id`"
)]
#[case::address(403, 99_991_401, "under Security Settings add this machine's address")]
#[case::switched_off(403, 99_991_662, "an administrator enables the app under Workplace")]
#[case::busy(500, 1_315_201, "check again in a moment")]
fn a_refused_look_says_what_to_click(#[case] status: u16, #[case] code: i64, #[case] told: &str) {
    let mut rig = Rig::new();
    rig.fault(Fault::on(Endpoint::SheetsQuery).answer(status, code, "refused"));
    let said = check(&mut rig, &["--online"], 1);
    assert!(said.contains(told), "{told} in {said}");
    assert!(said.contains(&code.to_string()), "{said}");
}

#[test]
fn who_may_only_read_is_told_before_a_picture_is_refused() {
    let mut rig = Rig::with(|plan| {
        plan.sandbox.documents = vec![document(DOC).permission(Permission::View)];
    });
    let told = check(&mut rig, &["--online"], 1);
    for line in [
        "lobby: the app may read the document and not edit it",
        "  the document: … > More > Add document app; search for the app and choose Can edit",
    ] {
        assert!(told.contains(line), "{line} in {told}");
    }
}

#[test]
fn protected_rows_columns_and_sheets_are_told_where_the_api_tells() {
    let area = |text: &str| text.parse().unwrap();
    let mut rig = Rig::with(|plan| {
        let columns = SheetSpec::new(SHEET, "Lobby").lock(area("D:E"));
        let columns = columns.lock(area("A3:T4")).lock(area("G7:G8"));
        plan.sandbox.documents = vec![
            DocumentSpec::new(DOC)
                .sheet(columns)
                .sheet(SheetSpec::new("All", "All").lock(area("A:T"))),
        ];
        let mut all = Mapping::new("all", "all", DOC);
        all.sheet = "All".into();
        plan.mappings = vec![
            Mapping::new("lobby", FOLDER, DOC)
                .rule("row.gif", "B4")
                .rule("column.gif", "E9")
                .rule("both.gif", "D3")
                .rule("free.gif", "B5")
                // The documented answer names no cells.
                .rule("cell.gif", "G7")
                .rule("camera-{n:int}.gif", "E{n+1}")
                .place(r#"{ files: "*.bmp", find_row: { column: A, equals: "{stem}", first_row: 5 }, column: D }"#)
                .place(r#"{ files: "*.tiff", append: { column: F, first_row: 2 } }"#)
                .place(r#"{ files: "*.heic", append: { column: F, first_row: 5 } }"#),
            all,
        ];
    });
    let told = check(&mut rig, &["--online"], 0);
    let rest = "; pictures are refused there (code 90218) unless the app may edit it\n  the sheet: Menu > Data > Protect Range shows the protections";
    for line in [
        "lobby: rule 1: protected in sheet \"Lobby\": columns D to E",
        "lobby: rule 2: protected in sheet \"Lobby\": rows 3 to 4",
        "lobby: rule 4: protected in sheet \"Lobby\": columns D to E, rows 3 to 4",
        "lobby: rule 7: protected in sheet \"Lobby\": columns D to E, rows 3 to 4",
        "lobby: rule 8: protected in sheet \"Lobby\": columns D to E",
        "lobby: rule 9: protected in sheet \"Lobby\": rows 3 to 4",
        "all: the sheet \"All\" is protected",
    ] {
        assert!(told.contains(&format!("{line}{rest}")), "{line} in {told}");
    }
    assert_eq!(told.matches("protected").count(), 2 * 7, "{told}");
}

#[test]
fn a_limit_that_an_answer_names_is_told_and_how_long_to_wait() {
    let mut rig = Rig::with(|plan| plan.feishu = vec!["requests_per_second: 120".into()]);
    let throttled = Fault::on(Endpoint::SheetsQuery).answer(429, 99_991_400, "too many");
    rig.fault(
        throttled
            .header("x-ogw-ratelimit-limit", "50")
            .header("x-ogw-ratelimit-reset", "7"),
    );
    let told = check(&mut rig, &["--online"], 1);
    for line in [
        "at most 120 calls a second",
        "together: lower `requests_per_second`; an answer named a limit of 50",
        "check again in 7 s, as the API asks",
    ] {
        assert!(told.contains(line), "{line} in {told}");
    }
    assert!(!told.contains("by itself"), "{told}");
}

#[rstest]
#[case::wiki_and_token("https://rig.feishu.cn/wiki/WikiLobby", SHEET)]
#[case::title_and_id(DOC, "Lobby")]
#[case::both("https://rig.feishu.cn/wiki/WikiLobby", "Lobby")]
fn a_sheet_that_two_mappings_name_in_two_ways_is_told_before_and_while_it_runs(
    #[case] spreadsheet: &str,
    #[case] sheet: &str,
) {
    let mut rig = Rig::with(|plan| {
        plan.sandbox.documents[0].wiki_node = Some("WikiLobby".into());
        let mut hall = Mapping::new("hall", "hall", spreadsheet);
        hall.sheet = sheet.into();
        // Another one of the same sheet that meets nobody.
        let mut apart = hall.clone();
        (apart.name, apart.folder) = ("apart".into(), "apart".into());
        apart.rules = vec![("*.png".into(), "S1".into())];
        plan.mappings[0].rules[0] = ("{cell:[B-D][0-9]+}.png".into(), "{cell}".into());
        plan.mappings.extend([hall, apart]);
    });
    for folder in ["hall", "apart"] {
        fs::create_dir(rig.path(folder)).unwrap();
    }
    let told = check(&mut rig, &["--online"], 0);
    let doubts: Vec<_> = told
        .lines()
        .filter(|line| line.contains("in two ways"))
        .collect();
    assert_eq!(doubts.len(), 1, "{told}");
    assert!(
        doubts[0].contains("of lobby and") && doubts[0].contains("of hall"),
        "{told}"
    );

    rig.start();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    fs::write(rig.path("apart/x.png"), png(2)).unwrap();
    rig.expect("S1", &png(2));
    fs::write(rig.path("hall/B2.png"), png(3)).unwrap();
    rig.expect("B2", &png(3));
    rig.warned(&[
        "lobby and hall can fill the same place",
        "name its sheet in two ways",
    ]);
    rig.drop_file("B3.png", &png(4));
    rig.expect("B3", &png(4));
    rig.stop();
    let said = rig.printed_by_daemons();
    assert_eq!(
        said.matches("name its sheet in two ways").count(),
        1,
        "{said}"
    );
}

#[test]
fn a_sheet_that_is_made_anew_is_found_and_one_that_is_gone_is_told_by_its_title() {
    let mut rig = Rig::with(|plan| plan.mappings[0].sheet = "Lobby".into());
    rig.start();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    let gone = SheetSpec::new(SHEET, "Lobby").deleted();
    let anew = DocumentSpec::new(DOC)
        .sheet(gone)
        .sheet(SheetSpec::new("New1", "Lobby"));
    rig.sandbox().set_document(&anew).unwrap();
    rig.drop_file("B3.png", &png(2));
    rig.wait("it is in the new sheet", |state| {
        state.image(DOC, "New1", "B3").is_some()
    });
    let renamed = DocumentSpec::new(DOC).sheet(SheetSpec::new("New2", "Hall"));
    let renamed = renamed.sheet(SheetSpec::new("New1", "Lobby").deleted());
    rig.sandbox().set_document(&renamed).unwrap();
    rig.drop_file("B4.png", &png(3));
    rig.warned(&[
        "parked",
        "the document has no sheet \"Lobby\", it has \"Hall\" (New2)",
    ]);
    rig.stop();
    // Each was refused once where it had been before.
    assert_eq!(rig.writes(), 4);
}
