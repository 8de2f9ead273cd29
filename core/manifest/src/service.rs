//! What the service is and what is started: about, artifact, run, config, secrets, resources, shutdown, logs.

use std::collections::BTreeMap;

use model::spec::{About, Resources, Run, SecretSource, Shutdown};

use crate::diagnostic::Problem;
use crate::fields;
use crate::node::{Entry, Node, Scalar, Value};
use crate::read::{Mapping, mismatch, scalar_in};
use crate::values;

/// Words in the names of variables that usually hold secrets.
const SECRET_WORDS: [&str; 9] = [
    "PASSWORD",
    "PASSWD",
    "TOKEN",
    "SECRET",
    "API_KEY",
    "APIKEY",
    "PRIVATE_KEY",
    "ACCESS_KEY",
    "CREDENTIALS",
];
/// What only a shell understands.
const SHELL_OPERATORS: [&str; 10] = ["&&", "||", "|", ";", "&", ">", ">>", "<", "2>&1", "2>"];

pub(crate) fn about(root: &Mapping<'_>) -> About {
    let mut links = BTreeMap::new();
    for entry in root.entries("links") {
        if let Some(url) = scalar_in(root.context, &entry.value, "a URL", values::text) {
            links.insert(entry.key.clone(), url);
        }
    }
    About {
        description: root.text("description"),
        owner: root.text("owner"),
        tier: root.integer("tier").and_then(|tier| u8::try_from(tier).ok()),
        links,
    }
}

pub(crate) fn run(root: &Mapping<'_>) -> Option<Run> {
    let entry = root.entry("run")?;
    match &entry.value.value {
        Value::Scalar(scalar) => {
            scalar_in(root.context, &entry.value, "a string", values::text)?;
            let (command, args) = command_line(root, &entry.value, scalar)?;
            Some(Run { command, args, working_directory: None, port_variable: "PORT".to_owned() })
        }
        Value::Map(_) => {
            let run = Mapping::open(root.context, &fields::RUN, &entry.value, &entry.key_span);
            let read = run_mapping(&run);
            run.finish();
            read
        }
        Value::Null | Value::List(_) => {
            let message = format!("expected a string or a mapping, found {}", entry.value.kind());
            let help = "write a command line, or a mapping with `command` and `args`";
            root.error(&entry.value.span, Problem::new(message).help(help));
            None
        }
    }
}

fn run_mapping(run: &Mapping<'_>) -> Option<Run> {
    let args = run.scalars("args", "a string", values::written).unwrap_or_default();
    let working_directory = run.text("workingDirectory");
    if let Some(directory) = &working_directory
        && (directory.starts_with('/') || directory.split('/').any(|part| part == ".."))
    {
        let problem = Problem::new("the working directory lies outside of the artifact");
        run.error(
            &run.place("workingDirectory"),
            problem.help("name a directory inside, without a leading `/` or `..`"),
        );
    }
    let port_variable = run.text("portVariable").unwrap_or_default();
    if !values::is_variable(&port_variable) {
        let problem = Problem::new(format!("`{port_variable}` is not the name of an environment variable"));
        run.error(&run.place("portVariable"), problem.help("use letters, digits and `_`, as in PORT"));
    }
    let command = run.text("command")?;
    if command.contains(char::is_whitespace) && args.is_empty() {
        let problem = Problem::new("the command is one word, and this holds blanks");
        let help = "put the rest under `args`, or write the whole line as `run: ...`";
        run.context.sink.warning(&run.place("command"), problem.help(help));
    }
    Some(Run { command, args, working_directory, port_variable })
}

/// Splits a command line as a shell would and says where a shell would have done more.
pub(crate) fn command_line(
    root: &Mapping<'_>,
    node: &Node,
    scalar: &Scalar,
) -> Option<(String, Vec<String>)> {
    let Some(words) = split(&scalar.text) else {
        let problem = Problem::new("the command line has an open quote or ends in a backslash");
        root.error(&node.span, problem.help("close the quote, or use the mapping with `command` and `args`"));
        return None;
    };
    let mut words = words.into_iter();
    let Some(command) = words.next().filter(|command| !command.is_empty()) else {
        root.error(
            &node.span,
            Problem::new("the command line is empty").help("say what to start: `run: ./shop`"),
        );
        return None;
    };
    let args: Vec<String> = words.collect();
    if command.contains('\0') || args.iter().any(|arg| arg.contains('\0')) {
        root.error(&node.span, Problem::new("the command line holds a NUL character"));
        return None;
    }
    let through_a_shell = "no shell reads this line; to use one, write `run: sh -c '...'`";
    if let Some((name, _)) = command.split_once('=').filter(|(name, _)| values::is_variable(name)) {
        let problem = Problem::new(format!("the command line starts with a variable, `{name}`"));
        root.error(&node.span, problem.help("put variables under `config`"));
    }
    let shell = command.rsplit('/').next().is_some_and(|name| matches!(name, "sh" | "bash" | "dash" | "zsh"));
    if let Some(operator) = args.iter().find(|arg| SHELL_OPERATORS.contains(&arg.as_str())) {
        let problem = Problem::new(format!("`{operator}` would be given to the program as an argument"));
        root.context.sink.warning(&node.span, problem.help(through_a_shell));
    } else if !shell && let Some(arg) = args.iter().find(|arg| names_a_variable(arg)) {
        let problem = Problem::new(format!("`{arg}` would be given to the program as it stands"));
        root.context.sink.warning(&node.span, problem.help(through_a_shell));
    }
    Some((command, args))
}

/// Splits a line into words as a shell does. A word that starts with `#` is a word, not a comment.
pub(crate) fn split(line: &str) -> Option<Vec<String>> {
    let spaced = format!(" {line}");
    let mut escaped = String::with_capacity(spaced.len());
    let mut quote = None;
    let mut before = ' ';
    for c in spaced.chars() {
        match (quote, c) {
            (None, '\'' | '"') if before != '\\' => quote = Some(c),
            (Some(open), _) if c == open && (c == '\'' || before != '\\') => quote = None,
            (None, '#') if before.is_whitespace() => escaped.push('\\'),
            _ => {}
        }
        escaped.push(c);
        before = if before == '\\' { ' ' } else { c };
    }
    shlex::split(&escaped)
}

fn names_a_variable(arg: &str) -> bool {
    arg.split('$')
        .skip(1)
        .any(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '{'))
}

pub(crate) fn config(root: &Mapping<'_>, port_variable: Option<&str>) -> BTreeMap<String, String> {
    let mut config = BTreeMap::new();
    let secrets = root.entry("secrets").and_then(|entry| entry.value.map());
    for entry in root.entries("config") {
        let name = &entry.key;
        if port_variable == Some(name.as_str()) && !root.context.partial {
            let problem = Problem::new(format!("`{name}` tells the program its port and cannot be set"));
            let help = "remove it, or name another variable in `run.portVariable`";
            root.error(&entry.key_span, problem.help(help));
        }
        if let Some(secret) = secrets.and_then(|secrets| secrets.get(name)).filter(|_| !root.context.partial)
        {
            let problem = Problem::new(format!("`{name}` stands under both `config` and `secrets`"));
            root.context.sink.error_with(
                &entry.key_span,
                problem.help("remove one of the two"),
                &secret.key_span,
                "the secret",
            );
        }
        if entry.value.is_null() {
            let problem = Problem::new(format!("`{name}` has no value"));
            root.error(&entry.key_span, problem.help(format!("write `{name}: \"\"` for an empty value")));
            continue;
        }
        warn_of_secret(root, entry);
        let expected = "a string, number or boolean";
        if let Some(value) = scalar_in(root.context, &entry.value, expected, values::written) {
            config.insert(name.clone(), value);
        }
    }
    config
}

/// `scheme://user:password@host` has one.
fn password_in_url(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    let (credentials, _) = rest.split('/').next()?.rsplit_once('@')?;
    credentials.split_once(':').map(|(_, password)| password).filter(|password| !password.is_empty())
}

fn warn_of_secret(root: &Mapping<'_>, entry: &Entry) {
    let name = entry.key.to_uppercase();
    let has_value = entry.value.scalar().is_some_and(|scalar| !scalar.text.is_empty());
    // A file's name or an address that mentions a token is not the token.
    let points_elsewhere =
        ["_FILE", "_PATH", "_URL", "_TTL", "_SECONDS", "_LENGTH"].iter().any(|end| name.ends_with(end));
    let in_address = entry.value.scalar().and_then(|scalar| password_in_url(&scalar.text)).is_some();
    if in_address {
        root.context.sink.mask(&entry.value.span);
        let problem = Problem::new(format!("`{}` holds an address with a password in it", entry.key));
        let help = format!("put it under `secrets`, as in `{0}: {{environment: {0}}}`", entry.key);
        root.context.sink.warning(&entry.key_span, problem.help(help));
    } else if has_value && !points_elsewhere && SECRET_WORDS.iter().any(|word| name.contains(word)) {
        root.context.sink.mask(&entry.value.span);
        let problem = Problem::new(format!("`{}` looks like a secret", entry.key));
        let help = format!("put it under `secrets`, as in `{0}: {{environment: {0}}}`", entry.key);
        root.context.sink.warning(&entry.key_span, problem.help(help));
    }
}

pub(crate) fn secrets(root: &Mapping<'_>, port_variable: Option<&str>) -> BTreeMap<String, SecretSource> {
    let mut secrets = BTreeMap::new();
    for entry in root.entries("secrets") {
        if port_variable == Some(entry.key.as_str()) && !root.context.partial {
            let problem =
                Problem::new(format!("`{}` tells the program its port and cannot be set", entry.key));
            let help = "remove it, or name another variable in `run.portVariable`";
            root.error(&entry.key_span, problem.help(help));
        }
        if let Some(source) = secret(root, entry) {
            secrets.insert(entry.key.clone(), source);
        }
    }
    secrets
}

/// Where a secret is found.
pub(crate) fn secret(root: &Mapping<'_>, entry: &Entry) -> Option<SecretSource> {
    let by_reference = format!(
        "name where it is found: `{0}: {{environment: {0}}}` or `{0}: {{file: /run/secrets/{0}}}`",
        entry.key
    );
    if entry.value.map().is_none() {
        root.context.sink.mask(&entry.value.span);
        let problem = Problem::new(format!("`{}`: a secret stands here by reference only", entry.key));
        root.error(&entry.key_span, problem.help(by_reference));
        return None;
    }
    let source = Mapping::open(root.context, &fields::SECRET, &entry.value, &entry.key_span);
    if let Some(value) = entry.value.map().and_then(|map| map.get("value")) {
        root.context.sink.mask(&value.value.span);
    }
    let (environment, file) = (source.text("environment"), source.text("file"));
    if let Some(variable) = environment.as_ref().filter(|variable| !values::is_variable(variable)) {
        let problem = Problem::new(format!("`{variable}` is not the name of an environment variable"));
        root.error(&source.place("environment"), problem.help("use letters, digits and `_`"));
    }
    let given = [source.entry("environment"), source.entry("file")].iter().flatten().count();
    if given != 1 {
        let problem = Problem::new(format!("`{}` needs exactly one of `environment` and `file`", entry.key));
        root.error(&entry.key_span, problem.help(by_reference));
    }
    source.finish();
    environment.map(SecretSource::Environment).or(file.map(SecretSource::File))
}

pub(crate) fn resources(root: &Mapping<'_>) -> Resources {
    let resources = root.child("resources", &fields::RESOURCES);
    let read = Resources { memory_bytes: resources.bytes("memory"), cpu_millis: resources.cpu("cpu") };
    resources.finish();
    read
}

pub(crate) fn shutdown(root: &Mapping<'_>) -> Shutdown {
    let shutdown = root.child("shutdown", &fields::SHUTDOWN);
    let read = Shutdown {
        drain_timeout: shutdown.duration("drainTimeout"),
        grace_period: shutdown.duration("gracePeriod"),
    };
    shutdown.finish();
    read
}

/// Reports every item of a list that is no mapping, and gives the others.
pub(crate) fn mappings<'a>(root: &Mapping<'a>, items: &'a [Node]) -> Vec<&'a Node> {
    let (mappings, others): (Vec<_>, Vec<_>) = items.iter().partition(|item| item.map().is_some());
    for other in others {
        mismatch(root.context, other, "a mapping");
    }
    mappings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_splits_as_in_a_shell() {
        let words = |line| split(line).unwrap();
        assert_eq!(words("./shop --name 'two words' \"a b\""), ["./shop", "--name", "two words", "a b"]);
        assert_eq!(words("app #tag x#y '#z'"), ["app", "#tag", "x#y", "#z"]);
        assert_eq!(split("app 'open"), None);
    }

    #[test]
    fn a_dollar_and_a_name_is_a_variable() {
        assert!(names_a_variable("--port=$PORT"));
        assert!(names_a_variable("${X}"));
        assert!(!names_a_variable("costs 5$"));
        assert!(!names_a_variable("^a$|b"));
    }
}
