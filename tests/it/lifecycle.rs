//! The process itself: one owner per lake, takeover, bad settings, maintenance commands.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::binary;
use crate::server::{Server, free_port};

const API: &str = "/api/2.0/mlflow";

fn lake(folder: &tempfile::TempDir) -> std::path::PathBuf {
    folder.path().join("lake")
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

/// Runs a command of the binary to its end.
fn runlake(args: &[&str]) -> Output {
    Command::new(binary::runlake()).args(args).stdin(Stdio::null()).output().expect("the binary can be run")
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

fn path(lake: &Path) -> &str {
    lake.to_str().expect("temporary folders have plain names")
}

/// Creates an experiment and answers its id.
fn create_experiment(server: &Server, name: &str) -> String {
    let answer = server.post(&format!("{API}/experiments/create"), &json!({ "name": name })).expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["experiment_id"].as_str().expect("ids are text").to_owned()
}

fn knows_experiment(server: &Server, name: &str) -> bool {
    let target = format!("{API}/experiments/get-by-name?experiment_name={name}");
    server.get(&target).expect("an answer").status == 200
}

#[test]
fn a_second_server_is_refused_and_told_who_owns_the_lake() {
    let folder = temporary();
    let first = Server::start(&lake(&folder), &[]);
    create_experiment(&first, "one");
    let mut second = Server::launch(&lake(&folder), &[]);
    let status = second.wait(Duration::from_mins(1));
    assert!(!status.success(), "the second server ended with {status}");
    let log = second.log();
    assert!(log.contains(&first.pid().to_string()), "the owner's process id is not named: {log}");
    assert!(log.contains("--takeover"), "no word of what to do: {log}");
    create_experiment(&first, "two");
    assert!(knows_experiment(&first, "one"));
}

#[test]
fn takeover_moves_the_lake_and_loses_nothing() {
    let folder = temporary();
    let mut first = Server::start(&lake(&folder), &[]);
    create_experiment(&first, "one");
    let second = Server::start(&lake(&folder), &["--takeover"]);
    assert!(knows_experiment(&second, "one"));
    create_experiment(&second, "two");
    // The old one acknowledges nothing any more, and ends.
    let late = first.post(&format!("{API}/experiments/create"), &json!({ "name": "late" }));
    assert!(late.is_none_or(|answer| answer.status >= 500), "the old owner acknowledged a write");
    let status = first.wait(Duration::from_secs(30));
    assert!(!status.success(), "losing the lake is no success");
    assert!(!knows_experiment(&second, "late"));
    assert!(second.stop().success());
    let third = Server::start(&lake(&folder), &[]);
    assert!(knows_experiment(&third, "one") && knows_experiment(&third, "two"));
}

#[test]
fn a_killed_owner_leaves_the_lake_free() {
    let folder = temporary();
    let mut first = Server::start(&lake(&folder), &[]);
    create_experiment(&first, "one");
    first.kill();
    let second = Server::start(&lake(&folder), &[]);
    assert!(knows_experiment(&second, "one"));
}

#[test]
fn a_clean_stop_is_a_success() {
    let folder = temporary();
    for _ in 0..3 {
        let server = Server::start(&lake(&folder), &[]);
        assert!(server.stop().success());
    }
}

#[test]
fn bad_settings_are_refused_with_a_reason() {
    let folder = temporary();
    let file = folder.path().join("file");
    std::fs::write(&file, "no lake").expect("a temporary file can be written");
    let foreign = folder.path().join("foreign");
    std::fs::create_dir(&foreign).expect("a temporary folder can be made");
    std::fs::write(foreign.join("lake.json"), r#"{"format_version": 999999}"#).expect("a file can be written");
    let missing = folder.path().join("missing");
    let cases: &[(&[&str], &str)] = &[
        (&["server", "--lake", path(&file)], "file"),
        (&["server", "--lake", path(&foreign)], "lake.json"),
        (&["server", "--lake", "nonsense://bucket"], "nonsense"),
        (&["server", "--port", "0", "--read-only", "--lake", path(&missing)], "missing"),
        (&["server", "--port", "notaport"], "port"),
        (&["server", "--no-such-flag"], "--no-such-flag"),
        (&["nonsense"], "nonsense"),
    ];
    for (args, named) in cases {
        let output = runlake(args);
        assert!(!output.status.success(), "{args:?} was taken");
        let text = text(&output);
        assert!(text.contains(named), "{args:?}: the message does not name {named:?}: {text}");
        assert!(!text.contains("panicked"), "{args:?}: {text}");
    }
    assert!(!missing.exists(), "a reader made a folder");
}

#[test]
fn options_come_from_file_environment_and_flags() {
    let folder = temporary();
    let file = folder.path().join("settings.toml");
    std::fs::write(&file, "flush-interval = \"7s\"\nread-only = true\n").expect("a temporary file can be written");
    let writer = Server::start(&lake(&folder), &[]);
    create_experiment(&writer, "one");
    // The file makes it a reader, and a flag wins over the file.
    let reader = Server::start(&lake(&folder), &["--config", path(&file)]);
    assert!(knows_experiment(&reader, "one"));
    assert!(writer.stop().success());
    drop(reader);
    let again = Server::start(&lake(&folder), &["--config", path(&file), "--read-only=false"]);
    create_experiment(&again, "two");

    std::fs::write(&file, "prot = 5000\n").expect("a temporary file can be written");
    let output = runlake(&["server", "--config", path(&file)]);
    assert!(!output.status.success() && text(&output).contains("prot"), "{}", text(&output));
}

#[test]
fn a_reader_sees_what_the_writer_acknowledged_and_refuses_writes() {
    let folder = temporary();
    let writer = Server::start(&lake(&folder), &[]);
    create_experiment(&writer, "one");
    let reader = Server::start(&lake(&folder), &["--read-only"]);
    assert!(knows_experiment(&reader, "one"));
    create_experiment(&writer, "two");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !knows_experiment(&reader, "two") {
        assert!(Instant::now() < deadline, "the reader does not follow the writer");
        std::thread::sleep(Duration::from_millis(100));
    }
    let answer = reader.post(&format!("{API}/experiments/create"), &json!({ "name": "three" })).expect("an answer");
    assert!((400..500).contains(&answer.status), "a reader answered a write with {answer:?}");
    assert!(!knows_experiment(&writer, "three"));
}

#[test]
fn a_server_that_nobody_listens_to_works_on() {
    let folder = temporary();
    let server = Server::start_unheard(&lake(&folder), &["--log-level", "debug", "--flush-interval", "1s"]);
    create_experiment(&server, "one");
    // The flusher logs what it does; it must still be there for the second experiment.
    let table = lake(&folder).join("tables/experiments/_delta_log");
    for (version, name) in [(0, "two"), (1, "three")] {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !table.join(format!("{version:020}.json")).exists() {
            assert!(Instant::now() < deadline, "nothing is flushed");
            std::thread::sleep(Duration::from_millis(50));
        }
        create_experiment(&server, name);
    }
    assert!(server.stop().success());
}

#[test]
fn a_command_whose_reader_went_away_does_its_work() {
    let folder = temporary();
    assert!(Server::start(&lake(&folder), &[]).stop().success());
    for command in ["doctor", "flush", "compact", "vacuum"] {
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        drop(reader);
        let mut child = Command::new(binary::runlake());
        child.args([command, "--lake", path(&lake(&folder))]).stdin(Stdio::null()).stdout(writer);
        let output = child.stderr(Stdio::piped()).output().expect("the binary can be run");
        assert!(output.status.success() && text(&output).is_empty(), "{command}: {}", text(&output));
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let folder = temporary();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port can be bound");
    let port = listener.local_addr().expect("a bound socket has an address").port().to_string();
    let output = runlake(&["server", "--host", "127.0.0.1", "--port", &port, "--lake", path(&lake(&folder))]);
    assert!(!output.status.success());
    assert!(text(&output).contains(&port), "{}", text(&output));
}

#[test]
fn help_and_version() {
    for args in [&["--help"][..], &["--version"], &["server", "--help"]] {
        let output = runlake(args);
        assert!(output.status.success() && !output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn doctor_flush_and_vacuum_work_on_a_lake() {
    let folder = temporary();
    let mut server = Server::start(&lake(&folder), &[]);
    create_experiment(&server, "one");
    server.kill();
    let lake = lake(&folder);
    for command in ["doctor", "flush", "doctor", "vacuum", "doctor"] {
        let output = runlake(&[command, "--lake", path(&lake)]);
        assert!(output.status.success(), "{command}: {}", text(&output));
        assert!(!text(&output).is_empty(), "{command} says nothing");
    }
    assert!(lake.join("tables/experiments/_delta_log").is_dir(), "flush wrote no table");
    let again = Server::start(&lake, &[]);
    assert!(knows_experiment(&again, "one"));
}

#[test]
fn doctor_on_a_lake_in_use_only_reads() {
    let folder = temporary();
    let server = Server::start(&lake(&folder), &[]);
    create_experiment(&server, "one");
    let output = runlake(&["doctor", "--lake", path(&lake(&folder))]);
    assert!(output.status.success(), "{}", text(&output));
    create_experiment(&server, "two");
}

/// The Parquet files of a table, from its newest log entry on disk.
fn data_files(table: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(table)
        .expect("the table is there")
        .map(|entry| entry.expect("a folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "parquet"))
        .collect();
    files.sort();
    files
}

#[test]
fn doctor_finds_what_the_tables_miss() {
    let folder = temporary();
    let lake = lake(&folder);
    let server = Server::start(&lake, &[]);
    let experiment = create_experiment(&server, "one");
    let run = server.post(&format!("{API}/runs/create"), &json!({ "experiment_id": experiment })).expect("an answer");
    let run = run.json()["run"]["info"]["run_id"].as_str().expect("ids are text").to_owned();
    let batch = json!({
        "run_id": run,
        "metrics": (0..100).map(|step| json!({"key": "m", "value": 1.0, "timestamp": step, "step": step}))
            .collect::<Vec<_>>(),
        "params": [{"key": "p", "value": "v"}],
    });
    assert_eq!(server.post(&format!("{API}/runs/log-batch"), &batch).expect("an answer").status, 200);
    assert!(server.stop().success());
    let doctor = || {
        let output = runlake(&["doctor", "--lake", path(&lake)]);
        (output.status.code(), text(&output))
    };
    let (code, said) = doctor();
    assert!(code == Some(0) && said.contains("in order"), "{said}");

    let tables = lake.join("tables");
    for table in ["runs", "metrics", "params", "latest_metrics"] {
        let files = data_files(&tables.join(table));
        let file = files.last().expect("the table has rows");
        let name = file.file_name().and_then(|name| name.to_str()).expect("plain names");
        let whole = std::fs::read(file).expect("a file can be read");
        let garbage = vec![b'x'; whole.len()];
        for (body, told) in [(Some(&garbage[..]), "cannot be read"), (Some(&whole[1..]), "bytes"), (None, "missing")] {
            match body {
                Some(body) => std::fs::write(file, body).expect("a file can be written"),
                None => std::fs::remove_file(file).expect("a file can be removed"),
            }
            let (code, said) = doctor();
            assert_eq!(code, Some(1), "{table}: {said}");
            assert!(said.lines().any(|line| line.contains(name) && line.contains(told)), "{table} {told}: {said}");
            assert!(!said.contains("in order") && !said.contains("panicked"), "{table} {told}: {said}");
        }
        std::fs::write(file, &whole).expect("a file can be written");
    }
    // While the log holds a table's rows they are not lost; here it has moved on.
    for entry in std::fs::read_dir(lake.join("wal")).expect("a local lake has a log") {
        std::fs::remove_file(entry.expect("a folder can be listed").path()).expect("a file can be removed");
    }
    let aside = folder.path().join("aside");
    for table in ["experiments", "runs", "tags", "metrics", "latest_metrics"] {
        std::fs::rename(tables.join(table), &aside).expect("a folder can be moved");
        let (code, said) = doctor();
        assert_eq!(code, Some(1), "{table}: {said}");
        let told = format!("tables/{table} is missing");
        assert!(said.contains(&told), "{table}: {said}");
        std::fs::rename(&aside, tables.join(table)).expect("a folder can be moved");
    }
    // A log that is gone while the files are there.
    std::fs::rename(tables.join("params/_delta_log"), &aside).expect("a folder can be moved");
    let (code, said) = doctor();
    assert!(code == Some(1) && said.contains("tables/params holds files"), "{said}");
    std::fs::rename(&aside, tables.join("params/_delta_log")).expect("a folder can be moved");
    let (code, said) = doctor();
    assert!(code == Some(0) && said.contains("in order"), "{said}");
}

#[test]
fn doctor_does_not_make_a_lake() {
    let folder = temporary();
    let nowhere = folder.path().join("nowhere");
    for command in ["doctor", "flush", "compact", "vacuum"] {
        let output = runlake(&[command, "--lake", path(&nowhere)]);
        assert!(!output.status.success(), "{command}: a lake that is not there is not well: {}", text(&output));
        assert!(text(&output).contains("nowhere"), "{command}: {}", text(&output));
        assert!(!nowhere.join("lake.json").exists() && !nowhere.join("tables").exists(), "{command} made a lake");
    }
    assert!(!nowhere.exists(), "a mistyped path was made a folder");
}

#[test]
fn upkeep_through_a_running_server() {
    let folder = temporary();
    let server = Server::start(&lake(&folder), &[]);
    create_experiment(&server, "one");
    for command in ["flush", "compact", "vacuum"] {
        let output = runlake(&[command, "--server", &server.url()]);
        assert!(output.status.success(), "{command}: {}", text(&output));
        // Not past the server that owns the lake.
        let output = runlake(&[command, "--lake", path(&lake(&folder))]);
        assert!(!output.status.success(), "{command} wrote to a lake in use");
        let text = text(&output);
        assert!(text.contains(&server.pid().to_string()), "{command}: {text}");
        // The commands have no --takeover.
        assert!(text.contains("--server") && !text.contains("--takeover"), "{command}: {text}");
    }
    create_experiment(&server, "two");
}

#[test]
fn a_server_that_is_none_is_told() {
    let refused = format!("http://127.0.0.1:{}", free_port());
    for (server, code, told) in
        [("nonsense", 2, "no URL"), ("localhost:5000", 2, "no URL"), (refused.as_str(), 1, "refused")]
    {
        let output = runlake(&["flush", "--server", server]);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(code), "{server}: {text}");
        assert!(text.contains(server) && text.contains(told), "{server}: {text}");
    }
}

#[test]
fn settings_nobody_can_work_with_are_refused() {
    for (args, least) in [
        (["--max-connections", "0"], "1"),
        (["--body-limit", "0"], "64KiB"),
        (["--memory-budget", "1"], "8MiB"),
        (["--flush-interval", "0s"], "100ms"),
    ] {
        let output = runlake(&["server", "--lake", "memory://", "--port", "0", args[0], args[1]]);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(args[0]) && text.contains(&format!("The least is {least}")), "{args:?}: {text}");
    }
}

#[test]
fn a_switch_can_be_set_by_a_number() {
    let folder = temporary();
    let writer = Server::start(&lake(&folder), &[]);
    let reader = Server::start_with(&lake(&folder), &[("RUNLAKE_READ_ONLY".to_owned(), "1".to_owned())]);
    let answer = reader.post(&format!("{API}/experiments/create"), &json!({ "name": "x" })).expect("an answer");
    assert!((400..500).contains(&answer.status), "{answer:?}");
    reader.signal("TERM");
    let mut reader = reader;
    assert!(reader.wait(Duration::from_mins(1)).success());
    assert!(!reader.log().contains("writing what is in memory"), "{}", reader.log());
    drop(writer);
}

#[test]
fn a_damaged_log_is_told_and_nothing_is_destroyed() {
    let folder = temporary();
    let lake = lake(&folder);
    let mut server = Server::start(&lake, &[]);
    for number in 0..20 {
        create_experiment(&server, &format!("marker-{number:02}-marker"));
    }
    server.kill();
    // One byte of an acknowledged write in the middle of the log.
    let (file, bytes, place) = std::fs::read_dir(lake.join("wal"))
        .expect("a local lake has a log")
        .find_map(|entry| {
            let file = entry.expect("a folder can be listed").path();
            let bytes = std::fs::read(&file).ok()?;
            let place = bytes.windows(16).position(|window| window.starts_with(b"marker-07-marker"))?;
            Some((file, bytes, place))
        })
        .expect("names stand in the log as they are");
    let mut damaged = bytes.clone();
    damaged[place] ^= 1;
    std::fs::write(&file, &damaged).expect("the log can be written to");
    let name = file.file_name().and_then(|name| name.to_str()).expect("plain names").to_owned();

    let mut refused = Server::launch(&lake, &[]);
    assert!(!refused.wait(Duration::from_mins(1)).success(), "a lake with a damaged log was opened");
    assert!(refused.log().contains(&name), "the damaged file is not named: {}", refused.log());
    let output = runlake(&["doctor", "--lake", path(&lake)]);
    assert!(!output.status.success() && text(&output).contains(&name), "{}", text(&output));
    assert!(std::fs::read(&file).expect("the log is there") == damaged, "the damaged log was changed");

    std::fs::write(&file, &bytes).expect("the log can be written to");
    let again = Server::start(&lake, &[]);
    assert!((0..20).all(|number| knows_experiment(&again, &format!("marker-{number:02}-marker"))));
}

#[test]
fn a_torn_last_write_is_no_damage() {
    let folder = temporary();
    let lake = lake(&folder);
    let mut server = Server::start(&lake, &[]);
    create_experiment(&server, "one");
    create_experiment(&server, "torn-away");
    server.kill();
    // As if power had gone while the last frame was written: its second half is still zeros.
    for entry in std::fs::read_dir(lake.join("wal")).expect("a local lake has a log") {
        let file = entry.expect("a folder can be listed").path();
        let Ok(mut bytes) = std::fs::read(&file) else { continue };
        if let Some(place) = bytes.windows(9).rposition(|window| window == b"torn-away") {
            bytes[place..].fill(0);
            std::fs::write(&file, &bytes).expect("the log can be written to");
        }
    }
    let again = Server::start(&lake, &[]);
    assert!(knows_experiment(&again, "one"));
    assert!(!knows_experiment(&again, "torn-away"));
    create_experiment(&again, "torn-away");
    drop(again);
    assert!(knows_experiment(&Server::start(&lake, &[]), "torn-away"));
}
