use crate::sandbox::Sandbox;

#[test]
fn help_teaches() {
    let sandbox = Sandbox::new();
    for command in [
        "",
        "init",
        "create",
        "create fabric",
        "create peer-cert",
        "validate",
        "plan",
        "explain",
        "who-can",
        "run",
        "code",
        "completions",
    ] {
        let mut arguments: Vec<_> = command.split_whitespace().collect();
        arguments.push("--help");
        let outcome = sandbox.ok("", &arguments);
        assert!(outcome.stdout.contains("Examples:"), "{command}");
        let name = format!("help {command}").trim().replace(' ', "_");
        insta::assert_snapshot!(name, outcome.stdout);
    }
}

#[test]
fn wrong_usage_exits_with_2_and_says_so_on_stderr() {
    let sandbox = Sandbox::new();
    for arguments in [
        &["validat"][..],
        &["validate", "--no-such"],
        &["validate", "-o", "yaml"],
        &["validate", "-o", "text", "-o", "json"],
        &["create", "peer-cert", "--name", "East"],
        &["create", "fabric", "--name", "../x"],
        &["create", "fabric", "--validity", "10"],
        &["explain", "west/shop", "ledger"],
        &["code", "WEFT9999"],
        &["init"],
    ] {
        let outcome = sandbox.weft("", arguments);
        assert_eq!(outcome.code, 2, "{arguments:?}: {outcome:#?}");
        assert_eq!(outcome.stdout, "", "{arguments:?}");
        assert!(outcome.stderr.starts_with("error: "), "{arguments:?}");
    }
}

#[test]
fn codes_are_explained() {
    let sandbox = Sandbox::new();
    insta::assert_snapshot!(sandbox.ok("", &["code", "weft0205"]).stdout);
    let list = sandbox.ok("", &["code"]).stdout;
    assert_eq!(list.lines().count(), fabric::diagnostic::Code::ALL.len());
    let wrong = sandbox.weft("", &["code", "WEFT0250"]);
    insta::assert_snapshot!(wrong.stderr);
}

#[test]
fn completions_know_the_commands() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = sandbox.ok("", &["completions", shell]).stdout;
        assert!(script.contains("peer-cert"), "{shell}");
    }
}
