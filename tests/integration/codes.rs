//! Every code of the vendor's tables, as the real client meets it over HTTP: with HTTP 200, with 400
//! and with the status that is natural for it. The code decides, not the status.

use std::io::Write;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use pixcell::config::{Feishu, Identity, ImageEncoding};
use pixcell::feishu::{CallError, Class, Client, Outcome, Picture, Scope, hold};
use pixcell::image::ContentHash;
use pixcell::sandbox::{Endpoint, Fault, Options, Sandbox};
use rstest::rstest;

use crate::support::{DOC, SHEET, document, png};

/// Calls a second that no test comes near.
const UNPACED: u32 = 10_000;

async fn sandbox() -> Sandbox {
    let options = Options {
        requests_per_second: UNPACED,
        documents: vec![document(DOC)],
        ..Options::default()
    };
    Sandbox::start(options).await.unwrap()
}

fn client(sandbox: &Sandbox) -> Client {
    let known = Options::default();
    Client::new(&Feishu {
        endpoint: sandbox.url().parse().unwrap(),
        app_id: known.app_id,
        identity: Identity::App {
            secret: known.app_secret.into(),
        },
        image_encoding: ImageEncoding::Base64,
        requests_per_second: NonZeroU32::new(UNPACED).unwrap(),
        monthly_calls: None,
        connect_timeout: Duration::from_secs(30),
        request_timeout: Duration::from_secs(30),
        proxy: None,
        ca_file: None,
    })
    .unwrap()
}

fn picture() -> Picture {
    let bytes = png(1);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    Picture {
        file: Arc::new(file),
        length: bytes.len() as u64,
        hash: ContentHash::of(&bytes),
    }
}

async fn write(client: &Client, picture: &Picture) -> Result<(), CallError> {
    let (document, sheet) = (DOC.parse().unwrap(), SHEET.parse().unwrap());
    let cell = "B2".parse().unwrap();
    let (let_go, hold) = hold();
    let_go.let_go();
    let written = client.write_image(&document, &sheet, cell, "B2.png", picture, &hold);
    written.await.map(drop)
}

fn writes(sandbox: &Sandbox) -> usize {
    let calls = sandbox.state().calls;
    let written = calls
        .iter()
        .filter(|call| call.endpoint == Endpoint::ValuesImage);
    written.count()
}

#[rstest]
#[case::throttled_app(429, &[99_991_400], Class::Throttled(Scope::App))]
#[case::throttled_document(429, &[90_217, 1_310_217], Class::Throttled(Scope::Document))]
#[case::busy(503, &[90_235, 1_310_235, 90_242, 1_310_242, 90_228, 90_203, 1_315_201, 1_315_203,
    1_315_210, 1500, 2200, 5000, 600], Class::Busy)]
#[case::credentials(403, &[10_003, 10_014, 10_015, 99_991_543, 99_991_662, 99_991_673, 99_991_401,
    99_991_672, 99_991_679, 99_991_676], Class::Credentials)]
#[case::quota(429, &[99_991_403], Class::Quota)]
#[case::document(403, &[90_213, 1_310_213, 91_403, 90_214, 1_310_214, 1_310_249, 91_402, 1002],
    Class::Document)]
#[case::cell(404, &[90_211, 1_310_211, 90_215, 1_310_215, 90_202, 1_310_202, 90_212, 90_218,
    1_310_218], Class::Cell)]
#[case::full(403, &[90_226, 1_310_226, 1_310_247, 90_219], Class::Full)]
#[case::image(413, &[90_204, 90_216, 90_222, 90_227, 9499], Class::Image)]
#[case::unknown(404, &[424_242], Class::Unknown)]
#[tokio::test]
async fn a_code_costs_one_call_and_says_the_same_with_every_status(
    #[case] natural: u16,
    #[case] codes: &[i64],
    #[case] class: Class,
) {
    let (sandbox, picture) = (sandbox().await, picture());
    let client = client(&sandbox);
    for code in codes {
        for status in [200, 400, natural] {
            let before = writes(&sandbox);
            let fault = Fault::on(Endpoint::ValuesImage).answer(status, *code, "no");
            sandbox.add_fault(fault).unwrap();
            let error = write(&client, &picture).await.unwrap_err();
            assert_eq!(error.class(), Some(class), "HTTP {status}, code {code}");
            assert_eq!(
                error.outcome(),
                Outcome::Untouched,
                "HTTP {status}, code {code}"
            );
            let told = error.to_string();
            assert!(told.contains(&format!("code {code}, logid ")), "{told}");
            assert_eq!(writes(&sandbox), before + 1, "HTTP {status}, code {code}");
        }
    }
    write(&client, &picture).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn a_refused_token_is_renewed_once_and_then_a_fault_of_the_credentials(
    #[values(200, 400, 401)] status: u16,
    #[values(
        99_991_661, 99_991_663, 99_991_664, 99_991_665, 99_991_668, 99_991_671, 99_991_677
    )]
    code: i64,
) {
    let (sandbox, picture) = (sandbox().await, picture());
    let refused = |times| {
        let fault = Fault::on(Endpoint::ValuesImage).times(times);
        sandbox.add_fault(fault.answer(status, code, "no")).unwrap();
    };
    refused(1);
    write(&client(&sandbox), &picture).await.unwrap();
    assert_eq!(writes(&sandbox), 2);
    refused(2);
    let error = write(&client(&sandbox), &picture).await.unwrap_err();
    assert_eq!(error.class(), Some(Class::Credentials));
    assert_eq!(writes(&sandbox), 4);
}
