use super::*;

fn bash(script: &str) -> Command {
    let mut command = Command::new("bash");
    command.arg("-c").arg(script);
    command
}

#[test]
fn output_comes_from_both_streams_and_the_end_is_told() {
    let mut seen = (Vec::new(), Vec::new());
    let end = run(
        &mut bash("cat; echo oops >&2; exit 3"),
        Input::Bytes(b"in".to_vec()),
        &Cancel::default(),
        |stream, bytes| match stream {
            Stream::Output => seen.0.extend_from_slice(bytes),
            Stream::Error => seen.1.extend_from_slice(bytes),
        },
    );
    assert_eq!(end.unwrap(), End::Exit(3));
    assert_eq!((seen.0.as_slice(), seen.1.as_slice()), (&b"in"[..], &b"oops\n"[..]));
    let end = run(&mut bash("kill -9 $$"), Input::Nothing, &Cancel::default(), |_, _| {}).unwrap();
    assert_eq!((end, end.is_success()), (End::Signal(9), false));
    assert!(run(&mut Command::new("/no/such/program"), Input::Nothing, &Cancel::default(), |_, _| {}).is_err());
}

#[test]
fn a_wish_to_stop_reaches_what_the_program_started() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    // The grandchild would outlive its parent, and neither listens to a polite signal.
    let script =
        format!("trap '' INT; (trap '' INT; sleep 600) & echo $! > {}; echo up; wait; sleep 600", file.display());
    let cancel = Cancel::default();
    let end = run(&mut bash(&script), Input::Nothing, &cancel, |_, _| {
        cancel.ask();
        cancel.ask();
    });
    assert_eq!(end.unwrap(), End::Cancelled);
    let pid: i32 = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
    let is_alive = || {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        state.contains("sleep") && !state.contains(") Z")
    };
    while is_alive() {
        thread::sleep(Duration::from_millis(5));
    }
    assert!(matches!(run(&mut bash("true"), Input::Nothing, &cancel, |_, _| {}), Err(Error::Cancelled)));
}

fn is_running(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.contains("sleep") && !stat.contains(") Z")
}

#[test]
fn what_left_the_group_is_stopped_as_well() {
    for wishes in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let script =
            format!("setsid bash -c 'echo $$ > {}; echo up; trap \"\" INT; exec sleep 600' & wait", file.display());
        let cancel = Cancel::default();
        let end = run(&mut bash(&script), Input::Nothing, &cancel, |_, _| (0..wishes).for_each(|_| cancel.ask()));
        assert_eq!(end.unwrap(), End::Cancelled);
        assert!(!is_running(std::fs::read_to_string(file).unwrap().trim()), "{wishes}");
    }
}

#[test]
fn who_runs_others_has_the_time_to_tell_how_they_ended() {
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    // It answers to a termination only when what it runs has ended, which does not listen.
    let script = format!(
        "setsid bash -c 'trap \"\" INT TERM; echo up; sleep 600' & trap : INT TERM; \
         while kill -0 $!; do wait $!; done 2>/dev/null; echo killed > {}",
        told.display()
    );
    let cancel = Cancel::default();
    let end = run(&mut bash(&script), Input::Nothing, &cancel, |_, _| (0..2).for_each(|_| cancel.ask()));
    assert_eq!(end.unwrap(), End::Cancelled);
    assert_eq!(std::fs::read_to_string(told).unwrap(), "killed\n");
}

#[test]
fn what_keeps_the_pipe_open_does_not_keep_us() {
    let end = run(&mut bash("sleep 600 & echo $!"), Input::Nothing, &Cancel::default(), |_, bytes| {
        // Ended here, since nobody else would.
        let pid: i32 = String::from_utf8_lossy(bytes).trim().parse().unwrap();
        thread::spawn(move || {
            thread::sleep(2 * AFTERGLOW);
            let _gone = rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        });
    });
    assert_eq!(end.unwrap(), End::Exit(0));
}

#[test]
fn answers_and_their_errors() {
    let cancel = Cancel::default();
    assert_eq!(answer(&mut bash("echo ' x '"), &cancel).unwrap(), Ok("x".to_owned()));
    assert_eq!(answer(&mut bash("echo no >&2; exit 1"), &cancel).unwrap(), Err("no".to_owned()));
    assert_eq!(answer(&mut bash("exit 2"), &cancel).unwrap(), Err("ended with exit code 2".to_owned()));
    assert!(on_path("bash").is_some() && on_path("no-such-program-here").is_none());
}
