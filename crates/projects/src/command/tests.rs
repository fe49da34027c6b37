use std::process::Command;

use proptest::prelude::*;

use super::*;

/// What tries to be run, to leave its quotes, or to be seen as something else.
const HOSTILE: [&str; 28] = [
    "$(touch PWNED)",
    "`touch PWNED`",
    "; touch PWNED",
    "&& touch PWNED",
    "| touch PWNED",
    "\ntouch PWNED\n",
    "'; touch PWNED; '",
    "\"; touch PWNED; \"",
    "'$(touch PWNED)'",
    "\"$(touch PWNED)\"",
    "'\"'\"'$(touch PWNED)",
    "\\'; touch PWNED #",
    "\\\"; touch PWNED #",
    "\\",
    "\\\\",
    "a\\",
    "$HOME",
    "${HOME}",
    "$((1+1))",
    "> PWNED",
    "< /etc/passwd",
    "*",
    "~",
    "!!",
    "# comment",
    "a b  c\td",
    "{braces} {{x}}",
    "é\u{1F600}\u{202e}",
];

fn shell(command: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("bash").arg("-c").arg(command).current_dir(folder.path()).output().unwrap();
    assert!(!folder.path().join("PWNED").exists(), "{command}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_terminator('\0').map(str::to_owned).collect()
}

fn with(template: &str, value: &str) -> Result<String> {
    substituted(template, |name| (name == "p").then(|| value.to_owned()))
}

/// Each argument as the program sees it.
fn arguments(template: &str, value: &str) -> Vec<String> {
    shell(&with(template, value).unwrap())
}

fn check(value: &str) {
    let quoted = quote(value);
    assert_eq!(arguments("printf '%s\\0' {p} --x={p}", value), [value, &format!("--x={value}")]);
    // Inside the template's quotes the value keeps those it was given, as with MLflow.
    assert_eq!(
        arguments("printf '%s\\0' \"a {p} b\" 'c {p} d'", value),
        [format!("a {quoted} b"), format!("c {quoted} d")]
    );
    assert_eq!(arguments("printf '%s\\0' \"$(printf %s. {p})\"", value), [format!("{value}.")]);
    // A second shell finds the quotes it needs.
    assert_eq!(arguments("bash -c \"printf '%s\\\\0' {p}\"", value), [value]);
    assert_eq!(arguments("bash -c 'printf %s\\\\0 {p}'", value), [value]);
}

#[test]
fn nothing_in_a_value_is_run() {
    HOSTILE.into_iter().for_each(check);
}

#[test]
fn places_that_cannot_be_quoted_take_harmless_values_only() {
    for template in [
        "echo `echo {p}`",
        "echo ${X:-{p}}",
        "echo $(( {p} ))",
        "(( {p} ))",
        "cat <<X\n{p}\nX\n",
        "echo $'{p}'",
        "echo \\{p}",
        "echo \"`echo \"{p}\"`\"",
        "true # {p}",
        "echo $(case x in x) echo {p};; esac)",
        "echo \"$$({p})\"",
        "cat <<{p}\nx\na-1\n",
        "cat <\\\n<X\n{p}\nX\n",
        "echo $[ {p} ]",
        "echo $( (({p})) )",
        "echo $(true; (({p})); true)",
        "echo \"${{X:-it's}}\" 'foo}}\" {p} bar'",
        "echo \"`echo 'a`b'` {p} c'",
    ] {
        // The braces of `${X:-…}` are the shell's, so the template has them twice.
        let template = template.replace("${X:-{p}}", "${{X:-{p}}}");
        assert!(with(&template, "a-1").is_ok(), "{template}");
        for value in ["a b", "$(touch PWNED)", "x\ntouch PWNED"] {
            let error = with(&template, value).unwrap_err().to_string();
            assert!(error.contains("parameter p"), "{template}: {error}");
        }
    }
}

#[test]
fn what_only_looks_like_such_a_place_is_none() {
    assert_eq!(arguments("printf '%s\\0' a#b {p} \\# {p} '`' {p}", "x y"), ["a#b", "x y", "#", "x y", "`", "x y"]);
    assert_eq!(arguments("cat <<<{p}", "x y"), ["x y\n"]);
    for value in HOSTILE {
        let quoted = quote(value);
        assert_eq!(arguments("printf '%s\\0' \"\\$({p})\"", value), [format!("$({quoted})")]);
    }
    assert_eq!(arguments("printf '%s\\0' $HOME/{p} | tr -d x", "y z").len(), 1);
    for value in HOSTILE {
        assert_eq!(arguments("printf '%s\\0' \"$\\\n(printf %s. {p})\"", value), [format!("{value}.")]);
        assert_eq!(arguments("printf '%s\\0' \\\n{p}", value), [value]);
        assert_eq!(arguments("printf '%s\\0' $( (printf %s. {p}) ) | wc -l", value).len(), 1);
    }
}

#[test]
fn braces_are_doubled_and_names_must_be_known() {
    assert_eq!(with("awk '{{print $1}}' {p}", "f").unwrap(), "awk '{print $1}' f");
    for (template, part) in
        [("echo {q}", "{q}"), ("echo {", "lone"), ("echo }", "lone"), ("echo {p!r}", "p!r"), ("echo ${p}", "${p}")]
    {
        let error = with(template, "v").unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(with("echo {p}", "a\0b").is_err());
}

/// What templates are made of, and what could hide from whoever reads them where a value stands.
const PIECES: [&str; 34] = [
    "{p}",
    "{p}",
    "{p}",
    " ",
    " ",
    "\n",
    "'",
    "'",
    "\"",
    "\"",
    "`",
    "$(",
    ")",
    "(",
    "((",
    "))",
    "$((",
    "$[",
    "]",
    "${{X:-",
    "}}",
    "$'",
    "$$",
    "\\",
    "\\\n",
    "#",
    "<",
    "<<E\n",
    "\nE\n",
    "<<<",
    ";",
    "echo ",
    "x",
    "case x in x) echo ",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// However odd a template is: it runs nothing that stands in a value, and if bash cannot read it, nothing at all.
    #[test]
    fn no_template_runs_a_value(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 1..14),
        value in prop::sample::select(&["a[$(>PWNED)]", "a[`>PWNED`]", "';>PWNED;'", "\";>PWNED;\"", "\n>PWNED\n", ")>PWNED #", "\\';>PWNED;'", "a';>PWNED;b'"][..]),
    ) {
        if let Ok(command) = with(&format!("echo {}", pieces.concat()), value) {
            let folder = tempfile::tempdir().unwrap();
            let mut bash = Command::new("bash");
            bash.arg("-c").arg(&command).current_dir(folder.path());
            let _output = bash.stdin(std::process::Stdio::null()).output().unwrap();
            prop_assert!(!folder.path().join("PWNED").exists(), "{:?}", command);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_value_is_one_argument(value in "[ -~\n\té'\"$`\\\\]{0,12}") {
        check(&value);
    }
}
