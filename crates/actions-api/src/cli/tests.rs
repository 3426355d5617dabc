use clap::CommandFactory;

use super::Cli;
use super::exit::Exit;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_says_what_it_is_for() {
    fn look(command: &clap::Command, path: &str) {
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let path = format!("{path} {}", sub.get_name());
            assert!(sub.get_about().is_some(), "{path} has no description");
            for argument in sub.get_arguments().filter(|argument| !argument.is_global_set()) {
                let is_plain = argument.is_positional() || argument.get_help().is_some();
                assert!(is_plain, "{path}: {} has no description", argument.get_id());
            }
            look(sub, &path);
        }
    }
    look(&Cli::command(), "actions");
}

#[test]
fn exit_codes_never_change() {
    let codes = Exit::ALL.map(Exit::code);
    assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 130]);
    for (status, exit) in [
        (200, Exit::Done),
        (400, Exit::Usage),
        (401, Exit::Auth),
        (403, Exit::Auth),
        (404, Exit::NotFound),
        (412, Exit::Conflict),
        (422, Exit::Usage),
        (429, Exit::Limited),
        (503, Exit::Unavailable),
    ] {
        assert_eq!(Exit::of_status(status), exit, "{status}");
    }
}
