use clap::CommandFactory as _;

use super::*;

#[test]
fn the_tree_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_server_option_has_its_environment_variable() {
    let command = Cli::command();
    let server = command.find_subcommand("server").expect("it is there");
    for option in server.get_arguments().filter(|option| option.get_id() != "help") {
        let long = option.get_long().expect("every option has a long name");
        let expected = format!("RUNLAKE_{}", long.to_uppercase().replace('-', "_"));
        assert_eq!(option.get_env().and_then(std::ffi::OsStr::to_str), Some(expected.as_str()), "{long}");
    }
}

#[test]
fn upkeep_wants_one_target() {
    assert!(Cli::try_parse_from(["runlake", "flush", "--server", "http://x", "--lake", "y"]).is_err());
    assert!(Cli::try_parse_from(["runlake", "vacuum", "--lake", "y", "--retain", "2d"]).is_ok());
    assert!(Cli::try_parse_from(["runlake", "vacuum", "--lake", "y", "--retain", "2 fortnights"]).is_err());
}

#[test]
fn a_role_is_for_one_thing_at_most() {
    let add = |more: &[&str]| {
        let all = ["runlake", "user", "add", "ann", "--lake", "l"].into_iter().chain(more.iter().copied());
        Cli::try_parse_from(all).is_ok()
    };
    assert!(add(&["--role", "editor", "--experiment", "1"]));
    assert!(add(&["--role", "viewer", "--registered-model", "m", "--password-file", "-"]));
    assert!(!add(&["--role", "viewer", "--registered-model", "m", "--experiment", "1"]));
    assert!(!add(&["--role", "none"]));
    assert!(!add(&["--service", "--password-file", "f"]));
    assert!(!add(&["--password", "on the command line"]));
    assert!(Cli::try_parse_from(["runlake", "user", "role", "ann", "none", "--server", "http://x"]).is_ok());
    assert!(Cli::try_parse_from(["runlake", "token", "create", "--expires", "90d", "--server", "http://x"]).is_ok());
    assert!(Cli::try_parse_from(["runlake", "token", "revoke", "--lake", "l"]).is_err());
}

#[test]
fn switches_need_no_value_and_may_have_one() {
    for (arguments, expected) in [
        (vec![], None),
        (vec!["--read-only"], Some(true)),
        (vec!["--read-only=false"], Some(false)),
        (vec!["--read-only=1"], Some(true)),
        (vec!["--read-only=yes"], Some(true)),
        (vec!["--read-only=on"], Some(true)),
        (vec!["--read-only=0"], Some(false)),
        (vec!["--read-only=no"], Some(false)),
        (vec!["--read-only=off"], Some(false)),
    ] {
        let all = ["runlake", "server"].into_iter().chain(arguments.clone());
        let Command::Server(args) = Cli::try_parse_from(all).expect("it parses").command else { panic!("server") };
        assert_eq!(args.read_only, expected, "{arguments:?}");
    }
}
