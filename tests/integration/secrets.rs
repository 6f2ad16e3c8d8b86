//! The app's secret and the tokens appear in no output, no state and no answer, whatever fails and
//! however much is logged.

use pixcell::sandbox::{Cut, Endpoint, Fault};

use crate::support::{Rig, SECRET, Signal, fetch_token, png};

/// Everything that can go wrong with a call, at the most talkative level.
fn unhappy_life(rig: &mut Rig) {
    rig.fault(Fault::on(Endpoint::TenantToken).html(502));
    rig.fault(Fault::on(Endpoint::SheetsQuery).answer(500, 1500, "busy"));
    for fault in [
        Fault::on(Endpoint::ValuesImage).html(200),
        Fault::on(Endpoint::ValuesImage).cut(Cut::BeforeWrite),
    ] {
        rig.fault(fault);
    }
    rig.start();
    rig.drop_file("B2.png", &png(1));
    rig.drop_file("B3.png", b"no picture");
    rig.drop_file("B5000.png", &png(2));
    rig.expect("B2", &png(1));
}

#[test]
fn no_secret_is_in_any_output_file_or_answer() {
    let mut rig = Rig::with(|plan| plan.args = vec!["-vv"]);
    unhappy_life(&mut rig);
    let addr = rig.sandbox().addr();
    let first = fetch_token(addr, "cli_rig", SECRET);
    rig.sandbox().expire_tokens();
    rig.drop_file("B4.png", &png(3));
    rig.expect("B4", &png(3));
    let second = fetch_token(addr, "cli_rig", SECRET);
    assert!(first.len() > 8 && second.len() > 8 && first != second);

    let status = rig.status().to_string();
    // A wrong secret, taken up by a reload.
    rig.plan.secret = "wrong-secret-9f31".into();
    rig.write_config();
    rig.daemon().signal(Signal::HUP);
    rig.daemon_mut().wait_told("RELOADING=1");
    rig.daemon_mut().wait_told("READY=1");
    rig.drop_file("B6.png", &png(4));
    rig.warned(&["nothing is sent for the app"]);
    // A configuration that is wrong around its secret.
    rig.write_config_text(&"feishu:\n  app_secret: [wrong-secret-9f31]\n".repeat(2));
    rig.daemon().signal(Signal::HUP);
    rig.daemon_mut().wait_told("RELOADING=1");
    rig.daemon_mut().wait_told("READY=1");
    rig.stop();
    rig.pixcell(&["check", "-vv", "--config", "pixcell.yaml"])
        .with_code(2);
    rig.plan.secret = SECRET.into();
    rig.write_config();
    rig.pixcell(&["check", "--online", "-vv", "--config", "pixcell.yaml"])
        .with_code(0);
    rig.pixcell(&["sync", "--json", "-vv", "--config", "pixcell.yaml"])
        .with_code(3);

    let printed = rig.printed() + &status;
    // Enough was said for this to mean something.
    assert!(
        printed.contains("TRACE") && printed.len() > 20_000,
        "{} bytes",
        printed.len()
    );
    assert!(printed.contains("10015") && printed.contains("not JSON"));
    for secret in [SECRET, "wrong-secret-9f31", &first, &second] {
        let line = printed.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "in the output");
        assert_eq!(
            rig.on_disk("state", secret.as_bytes()),
            None,
            "in the state"
        );
        // As numbers, as a dump of a header or a body would have it, it is no better.
        let numbers: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
        assert!(!printed.contains(&numbers.join(", ")), "as numbers");
    }
    // The search itself finds what is there.
    assert!(rig.on_disk("pixcell.yaml", SECRET.as_bytes()).is_some());
}

#[test]
fn the_state_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let mut rig = Rig::started();
    rig.drop_file("B2.png", &png(1));
    rig.expect("B2", &png(1));
    let mode = |path: &str| rig.path(path).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(format!("{:o}", mode("state")), "700");
    assert_eq!(format!("{:o}", mode("state/control.sock")), "600");
    assert_eq!(format!("{:o}", mode("state/lock")), "600");
    rig.finish(1);
}

#[test]
fn the_secret_can_come_from_a_file_or_a_variable() {
    let mut rig = Rig::new();
    rig.drop_file("B2.png", &png(1));
    let text = rig.plan.yaml(&rig.sandbox().url());
    let without = text.replace(&format!("  app_secret: {SECRET}\n"), "");
    rig.write_config_text(&without);
    rig.pixcell(&["check"]).with_code(2);
    let variable = [("PIXCELL_APP_SECRET", SECRET.to_owned())];
    rig.pixcell_env(&["sync"], &variable).with_code(0);
    let file = rig.outside("secret", format!("{SECRET}\n").as_bytes());
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    rig.write_config_text(&without.replace("feishu:\n", "feishu:\n  app_secret_file: secret\n"));
    rig.pixcell(&["check", "--online"]).with_code(0);
}
