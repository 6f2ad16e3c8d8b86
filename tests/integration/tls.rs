//! Over TLS nothing is sent to a server that neither the system nor `feishu.ca_file` vouches for, and the
//! message says so.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use pixcell::sandbox::Endpoint;
use rstest::rstest;

use crate::support::{Rig, png};

/// A server in front of the sandbox, with a certificate for a name.
struct Tls {
    server: Child,
    port: u16,
}

impl Tls {
    /// `ca.pem` in `home` vouches for its certificate. `None`, with a line that says so, without the programs.
    fn before(sandbox: u16, home: &Path, name: &str) -> Option<Self> {
        const PYTHON: &str = "/usr/bin/python3";
        let openssl = |args: &str| {
            let mut command = Command::new("openssl");
            command.args(args.split(' ')).current_dir(home);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
        if !Path::new(PYTHON).exists() || !openssl("version") {
            println!("skipped: {PYTHON} or openssl is not installed");
            return None;
        }
        assert!(openssl(&format!(
            "{new} -subj /CN=authority -keyout ca.key -out ca.pem"
        )));
        assert!(openssl(&format!(
            "{new} -subj /CN=server -keyout server.key -out server.pem -CA ca.pem -CAkey ca.key \
             -addext subjectAltName={name} -addext basicConstraints=critical,CA:FALSE"
        )));
        let mut server = Command::new(PYTHON)
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/fixtures/tls.py"
            ))
            .args(["server.pem", "server.key", &sandbox.to_string()])
            .current_dir(home)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        let mut told = BufReader::new(server.stdout.take().unwrap());
        told.read_line(&mut port).unwrap();
        let port = port.trim().parse().unwrap();
        Some(Self { server, port })
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[rstest]
#[case::vouched_for("IP:127.0.0.1", true, None)]
#[case::unknown_authority("IP:127.0.0.1", false, Some("UnknownIssuer"))]
#[case::another_name("DNS:open.feishu.cn", true, Some("not valid for name"))]
fn only_a_server_that_is_vouched_for_gets_a_call(
    #[case] name: &str,
    #[case] known: bool,
    #[case] wrong: Option<&str>,
) {
    let mut rig = Rig::with(|plan| {
        if known {
            plan.feishu.push("ca_file: ca.pem".into());
        }
    });
    let sandbox = rig.plan.sandbox.addr.port();
    let Some(tls) = Tls::before(sandbox, &rig.path(""), name) else {
        return;
    };
    let endpoint = format!("https://127.0.0.1:{}", tls.port);
    rig.write_config_text(&rig.plan.yaml(&endpoint));
    rig.start();
    rig.drop_file("B2.png", &png(1));
    match wrong {
        None => {
            rig.expect("B2", &png(1));
            rig.stop();
            assert_eq!(rig.calls(Endpoint::ValuesImage), 1);
        }
        Some(why) => {
            rig.warned(&[
                "B2.png",
                "certificate is not trusted",
                "feishu.ca_file",
                why,
            ]);
            rig.stop();
            assert!(rig.state().calls.is_empty());
        }
    }
}
