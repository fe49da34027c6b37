//! Lineage as events of OpenLineage (<https://openlineage.io>, schema 2-0-2).
//!
//! A run is a run of the job named like its experiment. Making a version of something that is no run is a run of the job
//! `register <model>`, with an id that follows from the version. Datasets, logged models and versions are datasets of the
//! lake's namespace; the digest of a dataset is its version, and aliases are further names of the version they mean. As
//! the standard demands, everything that ended has an event of its start, too.

use std::time::{Duration, UNIX_EPOCH};

use runlake_registry::{Detail, EdgeKind, Lineage, NodeId};
use runlake_types::Timestamp;
use runlake_types::rows::{ModelVersion, Run, RunStatus};
use serde::Serialize;

const RUN_EVENT: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
const VERSION_FACET: &str =
    "https://openlineage.io/spec/facets/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet";
const SYMLINKS_FACET: &str =
    "https://openlineage.io/spec/facets/1-0-1/SymlinksDatasetFacet.json#/$defs/SymlinksDatasetFacet";
/// Who tells. The standard wants a URI.
const PRODUCER: &str = concat!("urn:runlake:", env!("CARGO_PKG_VERSION"));
/// Job of runs that the lake does not know.
const ELSEWHERE: &str = "runs elsewhere";
/// The last second whose year has four digits.
const LAST_SECOND: u64 = 253_402_300_799;

/// Something that happened to a run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunEvent<'a> {
    event_type: &'static str,
    event_time: String,
    run: RunName,
    job: JobName<'a>,
    inputs: Vec<Dataset<'a>>,
    outputs: Vec<Dataset<'a>>,
    producer: &'static str,
    #[serde(rename = "schemaURL")]
    schema_url: &'static str,
    #[serde(skip)]
    at: Timestamp,
}

#[derive(Debug, Clone, Serialize)]
struct RunName {
    #[serde(rename = "runId")]
    run_id: String,
}

#[derive(Debug, Clone, Serialize)]
struct JobName<'a> {
    namespace: &'a str,
    name: String,
}

#[derive(Debug, Clone, Serialize)]
struct Dataset<'a> {
    namespace: &'a str,
    name: &'a str,
    facets: Facets<'a>,
}

#[derive(Debug, Clone, Default, Serialize)]
struct Facets<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<VersionFacet<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    symlinks: Option<SymlinksFacet<'a>>,
}

#[derive(Debug, Clone, Serialize)]
struct VersionFacet<'a> {
    #[serde(flatten)]
    facet: Facet,
    #[serde(rename = "datasetVersion")]
    dataset_version: &'a str,
}

#[derive(Debug, Clone, Serialize)]
struct SymlinksFacet<'a> {
    #[serde(flatten)]
    facet: Facet,
    identifiers: Vec<Identifier<'a>>,
}

#[derive(Debug, Clone, Serialize)]
struct Identifier<'a> {
    namespace: &'a str,
    name: &'a str,
    r#type: &'static str,
}

/// What every facet has.
#[derive(Debug, Clone, Serialize)]
struct Facet {
    #[serde(rename = "_producer")]
    producer: &'static str,
    #[serde(rename = "_schemaURL")]
    schema_url: &'static str,
}

/// The events of a lineage, earliest first. `ids` are those of the nodes, written out; `now` is when things happened
/// whose time nobody knows.
pub(crate) fn run_events<'a>(
    lineage: &'a Lineage,
    ids: &'a [String],
    namespace: &'a str,
    now: Timestamp,
) -> Vec<RunEvent<'a>> {
    let around = Around::of(lineage, ids, namespace);
    let mut events = Vec::new();
    for (place, node) in lineage.nodes.iter().enumerate() {
        let (inputs, outputs) = (around.into[place].as_slice(), around.out_of[place].as_slice());
        match &node.id {
            NodeId::Run(run_id) => {
                let (job, moments) = match &node.detail {
                    Some(Detail::Run { run, experiment }) => {
                        (experiment.clone().unwrap_or_else(|| run.experiment_id.to_string()), moments(run, now))
                    }
                    _ => (ELSEWHERE.to_owned(), vec![("OTHER", now)]),
                };
                tell(&mut events, namespace, &uuid(run_id), &job, &moments, inputs, outputs);
            }
            NodeId::Version { name, .. } if around.registered[place] => {
                let at = version_of(node.detail.as_ref()).map_or(now, |version| version.creation_time);
                let (job, moments) = (format!("register {name}"), [("START", at), ("COMPLETE", at)]);
                let made = [around.dataset(place)];
                tell(&mut events, namespace, &uuid(&ids[place]), &job, &moments, inputs, &made);
            }
            _ => {}
        }
    }
    events.sort_by_key(|event| event.at);
    events
}

fn version_of(detail: Option<&Detail>) -> Option<&ModelVersion> {
    match detail {
        Some(Detail::Version(version)) => Some(version),
        _ => None,
    }
}

/// The events of one run. The last of them says what came out.
fn tell<'a>(
    events: &mut Vec<RunEvent<'a>>,
    namespace: &'a str,
    run_id: &str,
    job: &str,
    moments: &[(&'static str, Timestamp)],
    inputs: &[Dataset<'a>],
    outputs: &[Dataset<'a>],
) {
    for (count, (event_type, at)) in moments.iter().enumerate() {
        events.push(RunEvent {
            event_type,
            event_time: written(*at),
            run: RunName { run_id: run_id.to_owned() },
            job: JobName { namespace, name: job.to_owned() },
            inputs: inputs.to_vec(),
            outputs: if count + 1 == moments.len() { outputs.to_vec() } else { Vec::new() },
            producer: PRODUCER,
            schema_url: RUN_EVENT,
            at: *at,
        });
    }
}

/// What happened to a run, and when.
fn moments(run: &Run, now: Timestamp) -> Vec<(&'static str, Timestamp)> {
    let last = match run.status {
        RunStatus::Scheduled => return vec![("OTHER", run.start_time.unwrap_or(now))],
        RunStatus::Running => "RUNNING",
        RunStatus::Finished => "COMPLETE",
        RunStatus::Failed => "FAIL",
        RunStatus::Killed => "ABORT",
    };
    let start = run.start_time.or(run.end_time).unwrap_or(now);
    let end = if run.status == RunStatus::Running { start } else { run.end_time.unwrap_or(start) };
    vec![("START", start), (last, end.max(start))]
}

/// By node: what went into it and came out of it, as datasets.
struct Around<'a> {
    lineage: &'a Lineage,
    ids: &'a [String],
    namespace: &'a str,
    /// Aliases of versions.
    aliases: Vec<Vec<&'a str>>,
    into: Vec<Vec<Dataset<'a>>>,
    out_of: Vec<Vec<Dataset<'a>>>,
    /// Versions that were made of something else than a run.
    registered: Vec<bool>,
}

impl<'a> Around<'a> {
    fn of(lineage: &'a Lineage, ids: &'a [String], namespace: &'a str) -> Self {
        let count = lineage.nodes.len();
        let mut around = Self {
            lineage,
            ids,
            namespace,
            aliases: vec![Vec::new(); count],
            into: vec![Vec::new(); count],
            out_of: vec![Vec::new(); count],
            registered: vec![false; count],
        };
        for edge in lineage.edges.iter().filter(|edge| edge.kind == EdgeKind::Alias) {
            around.aliases[edge.from].push(&ids[edge.to]);
        }
        for edge in lineage.edges.iter().filter(|edge| edge.kind != EdgeKind::Alias) {
            let (from, to) = (around.dataset(edge.from), around.dataset(edge.to));
            let is_run = |place: usize| matches!(lineage.nodes[place].id, NodeId::Run(_));
            if is_run(edge.from) {
                around.out_of[edge.from].push(to);
            } else {
                around.registered[edge.to] |= !is_run(edge.to);
                around.into[edge.to].push(from);
            }
        }
        around
    }

    /// The node as a dataset, unless it is a run.
    fn dataset(&self, place: usize) -> Dataset<'a> {
        let namespace = self.namespace;
        let facet = |schema_url| Facet { producer: PRODUCER, schema_url };
        if let NodeId::Dataset { name, digest } = &self.lineage.nodes[place].id {
            let version = Some(VersionFacet { facet: facet(VERSION_FACET), dataset_version: digest });
            return Dataset { namespace, name, facets: Facets { version, ..Facets::default() } };
        }
        let aliases = &self.aliases[place];
        let identifiers = aliases.iter().map(|name| Identifier { namespace, name, r#type: "ALIAS" }).collect();
        let symlinks = SymlinksFacet { facet: facet(SYMLINKS_FACET), identifiers };
        let symlinks = Some(symlinks).filter(|_| !aliases.is_empty());
        Dataset { namespace, name: &self.ids[place], facets: Facets { symlinks, ..Facets::default() } }
    }
}

/// As RFC 3339 has it, in UTC.
fn written(at: Timestamp) -> String {
    let since_epoch = Duration::from_micros(u64::try_from(at.micros()).unwrap_or(0));
    humantime::format_rfc3339_micros(UNIX_EPOCH + since_epoch.min(Duration::from_secs(LAST_SECOND))).to_string()
}

/// A run's id as a UUID: MLflow's are UUIDs without dashes. Any other text has one that follows from it (128 bits of
/// FNV-1a in a UUID of version 8, whose bits are free).
fn uuid(id: &str) -> String {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    const FREE: u128 = !((0xF << 76) | (0x3 << 62));
    const VERSION_8: u128 = (0x8 << 76) | (0x2 << 62);
    let is_hex = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bits = if is_hex { u128::from_str_radix(id, 16).ok() } else { None };
    let bits = bits.unwrap_or_else(|| {
        let hash = id.bytes().fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
        (hash & FREE) | VERSION_8
    });
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use runlake_registry::{Direction, Edge, Node};
    use runlake_types::rows::Lifecycle;
    use runlake_types::{ExperimentId, RunId};

    use super::*;

    #[test]
    fn run_ids_become_uuids() {
        assert_eq!(uuid("0190F00DCAFE7bad8123456789abcdef"), "0190f00d-cafe-7bad-8123-456789abcdef");
        let derived = uuid("models:/m/1");
        assert_eq!(derived, uuid("models:/m/1"));
        assert_ne!(derived, uuid("models:/m/2"));
        assert_eq!((derived.len(), &derived[14..15]), (36, "8"));
        assert!(["8", "9", "a", "b"].contains(&&derived[19..20]), "{derived}");
    }

    fn run(run_id: &str, status: RunStatus, end_micros: Option<i64>) -> Node {
        let run = Run {
            run_id: RunId::from_stored(run_id),
            experiment_id: ExperimentId::DEFAULT,
            run_name: "r".into(),
            user_id: String::new(),
            status,
            start_time: Some(Timestamp::from_micros(1)),
            end_time: end_micros.map(Timestamp::from_micros),
            lifecycle_stage: Lifecycle::Active,
            deleted_time: None,
            artifact_uri: String::new(),
            parent_run_id: None,
        };
        let detail = Detail::Run { run: Box::new(run), experiment: Some("tour".into()) };
        Node { id: NodeId::Run(run_id.into()), detail: Some(detail) }
    }

    #[test]
    fn events_follow_the_state_of_runs() {
        let unknown = |id| Node { id, detail: None };
        let nodes = vec![
            run("failed", RunStatus::Failed, Some(5)),
            run("running", RunStatus::Running, None),
            run("killed", RunStatus::Killed, Some(0)),
            run("scheduled", RunStatus::Scheduled, None),
            unknown(NodeId::Run("elsewhere".into())),
            unknown(NodeId::LoggedModel("m-0".into())),
            unknown(NodeId::Version { name: "m".into(), version: 1 }),
            unknown(NodeId::Dataset { name: "iris".into(), digest: "d1".into() }),
        ];
        let edge = |from, to, kind| Edge { from, to, kind, direction: Direction::Down, depth: 1 };
        let edges = vec![
            edge(7, 0, EdgeKind::Input),
            edge(0, 5, EdgeKind::Output),
            edge(5, 4, EdgeKind::Input),
            edge(4, 6, EdgeKind::Registered),
        ];
        let lineage = Lineage { start: vec![0], nodes, edges, truncated: false };
        let ids: Vec<String> = lineage.nodes.iter().map(|node| node.id.to_string()).collect();
        let events = run_events(&lineage, &ids, "runlake://x", Timestamp::from_micros(9));
        let told = |id: &str| {
            let names = |datasets: &[Dataset]| datasets.iter().map(|dataset| dataset.name.to_owned()).collect();
            let of_run = events.iter().filter(|event| event.run.run_id == uuid(id));
            let told = of_run.map(|event| {
                let things: [Vec<String>; 2] = [names(&event.inputs), names(&event.outputs)];
                format!("{} {} {} {}", event.at.micros(), event.event_type, event.job.name, things.concat().join(" "))
            });
            told.collect::<Vec<_>>()
        };
        assert_eq!(told("failed"), ["1 START tour iris", "5 FAIL tour iris models:/m-0"]);
        assert_eq!(told("running"), ["1 START tour ", "1 RUNNING tour "]);
        assert_eq!(told("killed"), ["1 START tour ", "1 ABORT tour "], "never before its start");
        assert_eq!(told("scheduled"), ["1 OTHER tour "]);
        assert_eq!(told("elsewhere"), ["9 OTHER runs elsewhere models:/m-0 models:/m/1"]);
        assert_eq!(events.len(), 8, "a version made of a run's files is no run of its own");
        assert!(events.is_sorted_by_key(|event| event.at));
    }

    #[test]
    fn any_time_can_be_written() {
        let micros = |micros| written(Timestamp::from_micros(micros));
        assert_eq!(micros(1_700_000_000_123_456), "2023-11-14T22:13:20.123456Z");
        assert_eq!(micros(-5), "1970-01-01T00:00:00.000000Z");
        assert_eq!(micros(i64::MAX), "9999-12-31T23:59:59.000000Z");
    }
}
