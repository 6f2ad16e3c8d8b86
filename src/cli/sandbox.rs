//! `pixcell sandbox`: the stand-in for the API, alone.

use std::io::Write;

use super::args;
use super::exit::{Exit, Failure};
use super::run::block_on;
use super::stdout;
use crate::sandbox::{DocumentSpec, Options, Sandbox, SheetSpec};
use crate::service::{self, Intent};

/// Serves until told to stop.
///
/// # Errors
/// When the address cannot be used.
pub fn run(args: &args::Sandbox) -> Result<Exit, Failure> {
    let mut intents = service::intents()?;
    let options = Options {
        addr: args.listen,
        app_id: args.app_id.clone(),
        app_secret: args.app_secret.clone(),
        requests_per_second: args.requests_per_second,
        latency: args.latency,
        documents: args
            .spreadsheets
            .iter()
            .map(|token| document(token, &args.sheet))
            .collect(),
        ..Options::default()
    };
    block_on(async {
        let sandbox = Sandbox::start(options).await?;
        {
            let mut out = stdout::lock();
            writeln!(out, "endpoint:    {}", sandbox.url())?;
            writeln!(out, "page:        {}", sandbox.page_url())?;
            writeln!(out, "app_id:      {}", args.app_id)?;
            writeln!(out, "spreadsheet: {}", args.spreadsheets.join(", "))?;
            out.flush()?;
        }
        while intents
            .recv()
            .await
            .is_some_and(|intent| intent != Intent::Stop)
        {}
        sandbox.stop().await;
        Ok(Exit::Done)
    })?
}

/// A document with one sheet of this title.
pub fn document(token: &str, title: &str) -> DocumentSpec {
    DocumentSpec {
        token: token.to_owned(),
        sheets: vec![SheetSpec {
            id: "Q7PlXT".to_owned(),
            title: Some(title.to_owned()),
            ..SheetSpec::default()
        }],
        ..DocumentSpec::default()
    }
}
