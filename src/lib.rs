//! pixcell: drop an image in a folder; see it in a spreadsheet cell.
//!
//! The rooms, from the top down. A room may use the rooms below it and never one above; the test
//! `tests/integration/layers.rs` reads every `use crate::` and fails on an upward edge.
//!
//! ```text
//!  cli        one file a subcommand; prints, asks, exits
//!  service    the running daemon: signals, readiness, shutdown, control socket
//!  sandbox    a strict stand-in for the Feishu API, with a page that shows the grid
//!  upload     lanes, gates, retry; turns jobs into receipts
//!  intake     settling, completeness, hashing, dedup; turns candidates into jobs
//!  watch      native watcher and tree scan; turns a file system into candidates
//!  feishu     the API client: tokens, pace, calls, streaming image body, error classes
//!  store      sled: records, keys, transactions, recovery
//!  placement  patterns, templates, slots; pure
//!  image      recognising formats, completeness of each container, content hash; pure
//!  config     YAML to a validated, typed Config; every error with file, line and key
//!  a1         cell references; pure
//!  blocking   blocking work kept off the async runtime
//!  durable    replacing a small file so that it is whole after a power cut
//!  pulse      whether tasks go on
//! ```
//!
//! The way of a picture: folder → candidate (`watch`) → image (`intake`) → slot (`placement`) →
//! job (`store`) → cell (`upload`, through `feishu`) → ledger (`store`).

pub mod a1;
pub mod blocking;
pub mod cli;
pub mod config;
pub mod durable;
pub mod feishu;
pub mod image;
pub mod intake;
pub mod placement;
pub mod pulse;
pub mod sandbox;
pub mod service;
pub mod store;
pub mod upload;
pub mod watch;
