//! `kubectl`, as users have it, and what is read of its answers.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::binary::clean;
use crate::wait::wait_for;

/// `kubectl` with a kubeconfig of its own.
#[derive(Clone, Debug)]
pub struct Kubectl {
    pub(super) kubeconfig: PathBuf,
    pub(super) home: PathBuf,
}

impl Kubectl {
    /// Runs `kubectl`, and returns what it says; panics where it fails.
    pub fn run(&self, arguments: &[&str]) -> String {
        self.run_with(arguments, "")
    }

    /// Runs `kubectl` with an input.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> String {
        self.try_run(arguments, input)
            .unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
    }

    /// Runs `kubectl`; what it says on failing is the error.
    pub fn try_run(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let output = self.output(arguments, input);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }

    /// Applies objects, as YAML.
    pub fn apply(&self, yaml: &str) {
        self.run_with(&["apply", "-f", "-"], yaml);
    }

    /// An object, as `kind name` and what else selects it; none where it isn't there.
    pub fn find(&self, arguments: &[&str]) -> Option<Value> {
        let arguments = [&["get", "-o", "json", "--ignore-not-found"], arguments].concat();
        let text = self.run(&arguments);
        if text.trim().is_empty() {
            return None;
        }
        Some(serde_json::from_str(&text).expect("kubectl prints JSON"))
    }

    /// Waits until an object satisfies a condition.
    pub fn wait_until(&self, arguments: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
        wait_for(&format!("{arguments:?} is as wanted"), || {
            let found = self.find(arguments).ok_or("it isn't there")?;
            if wanted(&found) {
                Ok(found)
            } else {
                Err(format!("{found:#}"))
            }
        })
    }

    /// Waits until there is no such object.
    pub fn wait_until_gone(&self, arguments: &[&str]) {
        wait_for(&format!("{arguments:?} is gone"), || {
            match self.find(arguments) {
                None => Ok(()),
                Some(found) => Err(format!("{found:#}")),
            }
        });
    }

    fn output(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = clean(&mut Command::new("kubectl"))
            .env("HOME", &self.home)
            .env("KUBECONFIG", &self.kubeconfig)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // Who reads nothing closes it.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output().expect("kubectl ends")
    }
}

/// The condition of an object, as its status, reason and message.
pub fn condition(object: &Value, kind: &str) -> Option<(String, String, String)> {
    let conditions = object["status"]["conditions"].as_array()?;
    let condition = conditions
        .iter()
        .find(|condition| condition["type"] == kind)?;
    let text = |name: &str| condition[name].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason"), text("message")))
}

/// Whether a condition of an object has a status.
pub fn has_condition(object: &Value, kind: &str, status: &str) -> bool {
    condition(object, kind).is_some_and(|(is, _, _)| is == status)
}
