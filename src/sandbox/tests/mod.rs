//! The stand-in from outside, over real connections.

mod calls;
mod control;
mod faults;

use std::time::Duration;

use super::fixture::{self, Caller};
use super::*;

const SOON: Duration = Duration::from_secs(5);

fn options() -> Options {
    Options {
        documents: vec![
            DocumentSpec::new("doc").wiki_node("node").sheet(
                SheetSpec::new("one", "One")
                    .grid(20, 10)
                    .lock("J20".parse().unwrap()),
            ),
            DocumentSpec::new("other").sheet(SheetSpec::new("one", "One")),
            DocumentSpec::new("view").permission(Permission::View),
            DocumentSpec::new("none").permission(Permission::None),
            DocumentSpec::new("gone").deleted(true),
        ],
        ..Options::default()
    }
}

async fn start() -> (Sandbox, Caller) {
    start_with(options()).await
}

async fn start_with(options: Options) -> (Sandbox, Caller) {
    let sandbox = Sandbox::start(options).await.unwrap();
    let caller = Caller::with_token(&sandbox).await;
    (sandbox, caller)
}

#[tokio::test]
async fn waiting_for_what_does_not_come_ends_with_an_account() {
    let (sandbox, _caller) = start().await;
    let late = sandbox
        .wait_for(
            |state| state.calls(Endpoint::ValuesImage) > 0,
            Duration::from_millis(1),
        )
        .await
        .unwrap_err();
    assert!(late.to_string().contains("doc one revision 0"), "{late}");
}

#[tokio::test]
async fn only_loopback_is_served() {
    let options = Options {
        addr: "0.0.0.0:0".parse().unwrap(),
        ..options()
    };
    let error = Sandbox::start(options).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_stopped_stand_in_listens_no_more_and_cuts_what_is_held() {
    let (sandbox, caller) = start().await;
    sandbox.hold(&[]);
    let png = fixture::png(1, 1);
    let stop = async {
        sandbox
            .wait_for(|state| state.held() == 1, SOON)
            .await
            .unwrap();
        sandbox.stop().await;
    };
    let (held, ()) = tokio::join!(caller.put("doc", "one!A1:A1", &png), stop);
    assert!(held.is_err());
    assert!(caller.put("doc", "one!A1:A1", &png).await.is_err());
}
