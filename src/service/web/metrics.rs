//! Metrics for Prometheus. Rooms below count as things happen; what is a state is read when asked for.
//! Labels are names of mappings and words from fixed lists, never names of files.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::super::status::Snapshot;
use crate::placement::Routes;
use crate::store::Timestamp;
use crate::upload::Pace;

/// Upper bounds in seconds: from a look at a small file to a call that waits for its turn.
const BUCKETS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0,
];
/// How often samples are folded into their buckets; they would pile up without.
const UPKEEP: Duration = Duration::from_secs(5);
/// States are set anew for every answer; one that has not been for so long is of a mapping that is gone.
const GONE: Duration = Duration::from_secs(1);

/// The process's recorder, once there is one; it stays, also when the server goes.
static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// The process's recorder; made at the first call. Until then counting costs next to nothing.
pub(super) fn handle() -> PrometheusHandle {
    HANDLE
        .get_or_init(|| {
            let suffix = Matcher::Suffix("_seconds".into());
            let builder = PrometheusBuilder::new();
            // Refused for an empty list only.
            let builder = builder
                .set_buckets_for_metric(suffix, &BUCKETS)
                .unwrap_or_default()
                .idle_timeout(MetricKindMask::GAUGE, Some(GONE));
            let recorder = builder.build_recorder();
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_err() {
                warn!("another recorder of metrics is there already; /metrics stays empty");
            }
            describe();
            handle
        })
        .clone()
}

/// Folds samples until `stop`, whether they are served or not: once there is a recorder, it takes them.
pub async fn keep(stop: CancellationToken) {
    let mut tick = tokio::time::interval(UPKEEP);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        if let Some(handle) = HANDLE.get() {
            handle.run_upkeep();
        }
    }
}

fn describe() {
    let counters = [
        (
            "pixcell_candidates_total",
            "Paths looked at because they may have changed.",
        ),
        (
            "pixcell_refusals_total",
            "Files not sent as they are, by reason.",
        ),
        (
            "pixcell_calls_total",
            "Calls to the API, by what their answers asked of us.",
        ),
        ("pixcell_written_total", "Pictures written to their cells."),
        ("pixcell_parked_total", "Jobs that were parked."),
        (
            "pixcell_faults_total",
            "Mistakes in pixcell after which all tasks started anew.",
        ),
    ];
    for (name, help) in counters {
        describe_counter!(name, help);
    }
    describe_counter!(
        "pixcell_written_bytes_total",
        Unit::Bytes,
        "Bytes of the pictures written."
    );
    describe_histogram!(
        "pixcell_stage_seconds",
        Unit::Seconds,
        "Time a picture spends in each stage: settle, look, queue, call, record."
    );
    describe_histogram!(
        "pixcell_close_to_receipt_seconds",
        Unit::Seconds,
        "From the file's last change to the recorded receipt, for files that arrive while the daemon runs."
    );
    let gauges = [
        (
            "pixcell_build_info",
            "1; the version with its commit is the label.",
        ),
        ("pixcell_ready", "1 when the folders have been compared."),
        (
            "pixcell_start_time_seconds",
            "When the daemon started, since 1970.",
        ),
        ("pixcell_queued", "Jobs that wait for their turn."),
        (
            "pixcell_oldest_queued_seconds",
            "How long the oldest of them waits; 0 when there is none.",
        ),
        ("pixcell_parked", "Jobs that wait for a person or a change."),
        ("pixcell_rejected", "Files that will not be sent."),
        (
            "pixcell_held",
            "Files that are not complete or not readable.",
        ),
        ("pixcell_images", "Files known to be images."),
        ("pixcell_folder_up", "1 when the folder can be listed."),
        (
            "pixcell_quota_calls",
            "Calls made today and this month (UTC), those for tokens included.",
        ),
        (
            "pixcell_quota_used",
            "Calls of this month that count against the app's quota.",
        ),
        (
            "pixcell_quota_limit",
            "The configured budget of a month; absent without one.",
        ),
        (
            "pixcell_quota_spread",
            "1 while writes are spread or stopped so that the month's calls last.",
        ),
        (
            "pixcell_gate_closed",
            "1 when nothing is sent: for the app, or for a mapping's spreadsheet.",
        ),
    ];
    describe_gauge!(
        "pixcell_degraded",
        "1 when a cell waits for more than 15 minutes with nothing closed."
    );
    for (name, help) in gauges {
        describe_gauge!(name, help);
    }
    describe_gauge!(
        "pixcell_store_bytes",
        Unit::Bytes,
        "Size of the store on disk."
    );
}

/// Sets what is a state.
#[allow(clippy::cast_precision_loss)] // Counts and bytes below 2^53.
pub(super) fn observe(snapshot: &Snapshot, routes: &Routes, store_bytes: Option<u64>) {
    let flag = |is_so: bool| f64::from(u8::from(is_so));
    if let Some(daemon) = &snapshot.running {
        gauge!("pixcell_build_info", "version" => daemon.version.clone()).set(1.0);
        gauge!("pixcell_ready").set(flag(daemon.ready));
        gauge!("pixcell_start_time_seconds").set(daemon.since.0 as f64 / 1000.0);
    }
    if let Some(bytes) = store_bytes {
        gauge!("pixcell_store_bytes").set(bytes as f64);
    }
    gauge!("pixcell_gate_closed", "scope" => "app", "mapping" => "")
        .set(flag(snapshot.gate.is_some()));
    gauge!("pixcell_degraded").set(flag(snapshot.degraded.is_some()));
    if let Some(calls) = &snapshot.calls {
        gauge!("pixcell_quota_calls", "period" => "day").set(calls.today as f64);
        gauge!("pixcell_quota_calls", "period" => "month").set(calls.this_month as f64);
        gauge!("pixcell_quota_used").set(calls.used as f64);
        if let Some(budget) = calls.budget {
            gauge!("pixcell_quota_limit").set(budget as f64);
        }
        let slowed = matches!(calls.pace, Pace::Spread { .. } | Pace::UsedUp { .. });
        gauge!("pixcell_quota_spread").set(flag(slowed));
    }
    for mapping in &snapshot.mappings {
        let set = |name: &'static str, value: f64| {
            gauge!(name, "mapping" => mapping.name.clone()).set(value);
        };
        set("pixcell_queued", mapping.queued as f64);
        let since = mapping.waiting_since;
        let waits = since.map_or(Duration::ZERO, |since| Timestamp::now().since(since));
        set("pixcell_oldest_queued_seconds", waits.as_secs_f64());
        set("pixcell_parked", mapping.parked as f64);
        set("pixcell_rejected", mapping.rejected as f64);
        set("pixcell_held", mapping.held as f64);
        set("pixcell_images", mapping.images as f64);
        let up = mapping.state.as_ref().is_some_and(|state| {
            use crate::watch::FolderState::{Native, Poll};
            matches!(state, Native { .. } | Poll { .. })
        });
        set("pixcell_folder_up", flag(up));
    }
    for route in routes.iter() {
        let spreadsheet = route.mapping.spreadsheet.to_string();
        let lane = snapshot
            .lanes
            .iter()
            .find(|lane| lane.spreadsheet == spreadsheet);
        let closed = lane.is_some_and(|lane| lane.gate.is_some());
        gauge!("pixcell_gate_closed", "scope" => "spreadsheet", "mapping" => route.mapping.name.to_string())
            .set(flag(closed));
    }
}
