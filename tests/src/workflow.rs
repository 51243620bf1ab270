//! A workflow's scripts, taken out of its file and run as a runner of GitHub's would.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::binary::{clean, weft};

/// One job of a workflow, and the machine that it runs on.
#[derive(Debug)]
pub struct Job {
    steps: Vec<Value>,
    /// What expressions name: outputs of steps, inputs.
    context: BTreeMap<String, String>,
    /// What stands in the environment of every step.
    environment: BTreeMap<String, String>,
    /// The folder that the steps run in.
    workspace: PathBuf,
    /// The machine's own folder.
    machine: PathBuf,
}

/// What a job came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The exit code of each step with a script that was run, by the step's name.
    pub codes: BTreeMap<String, i32>,
    /// What all of them wrote to both outputs.
    pub log: String,
    /// The job's summary.
    pub summary: String,
}

// === impl Job ===

impl Job {
    /// A job of a workflow's file, in a working copy, on a machine that has one folder; without a
    /// name of a job the steps of an action.
    pub fn read(workflow: &Path, job: &str, workspace: &Path, machine: &Path) -> Self {
        let text = fs::read_to_string(workflow)
            .unwrap_or_else(|error| panic!("{}: {error}", workflow.display()));
        let whole: Value = serde_yaml::from_str(&text).expect("a workflow is YAML");
        let steps = match job {
            "" => whole["runs"]["steps"].as_array(),
            job => whole["jobs"][job]["steps"].as_array(),
        };
        let steps = steps.expect("the job has steps").clone();
        fs::create_dir_all(machine.join("temp")).expect("the folder is ours");
        let path = std::env::var("PATH").unwrap_or_default();
        let binaries = weft().parent().expect("the binary lies in a folder");
        let machine = machine.to_owned();
        let at = |name: &str| machine.join(name).display().to_string();
        let environment = BTreeMap::from([
            ("PATH".to_owned(), format!("{}:{path}", binaries.display())),
            ("RUNNER_TEMP".to_owned(), at("temp")),
            ("GITHUB_STEP_SUMMARY".to_owned(), at("summary")),
            ("GITHUB_OUTPUT".to_owned(), at("output")),
            ("GITHUB_EVENT_PATH".to_owned(), at("event.json")),
        ]);
        Self {
            steps,
            context: BTreeMap::new(),
            environment,
            workspace: workspace.to_owned(),
            machine,
        }
    }

    /// Sets the event that the job is run for, and the commit.
    pub fn event(&mut self, name: &str, sha: &str, event: &Value) {
        let path = self.machine.join("event.json");
        fs::write(path, event.to_string()).expect("the folder is ours");
        self.set("GITHUB_EVENT_NAME", name);
        self.set("GITHUB_SHA", sha);
    }

    /// Sets a variable of every step's environment.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// Sets an input of an action.
    pub fn input(&mut self, name: &str, value: &str) {
        self.context
            .insert(format!("inputs.{name}"), value.to_owned());
    }

    /// A file in the machine's temporary folder.
    pub fn temporary(&self, name: &str) -> PathBuf {
        self.machine.join("temp").join(name)
    }

    /// Runs the scripts whose steps have one of these names, one after the other, as far as their
    /// conditions hold.
    pub fn run(&self, names: &[&str]) -> Outcome {
        let mut outcome = Outcome::default();
        let mut outputs = self.context.clone();
        let mut failed = false;
        for name in names {
            let step = self.steps.iter().find(|step| step["name"] == *name);
            let step = step.unwrap_or_else(|| panic!("the job has no step {name:?}"));
            let condition = step["if"].as_str().unwrap_or("success()");
            let runs = match condition {
                "always()" => true,
                "success()" => !failed,
                condition => !failed && holds(condition, &outputs),
            };
            if !runs {
                continue;
            }
            let code = self.step(step, &outputs, &mut outcome);
            failed |= code != 0;
            outcome.codes.insert((*name).to_owned(), code);
            let written = fs::read_to_string(self.machine.join("output")).unwrap_or_default();
            let id = step["id"].as_str().unwrap_or_default();
            for line in written.lines() {
                let (key, value) = line.split_once('=').expect("an output is NAME=VALUE");
                outputs.insert(format!("steps.{id}.outputs.{key}"), value.to_owned());
            }
        }
        outcome.summary = fs::read_to_string(self.machine.join("summary")).unwrap_or_default();
        outcome
    }

    fn step(&self, step: &Value, outputs: &BTreeMap<String, String>, outcome: &mut Outcome) -> i32 {
        let script = self.machine.join("script.sh");
        let text = step["run"].as_str().expect("the step has a script");
        assert!(!text.contains("${{"), "an expression in a script: {text}");
        fs::write(&script, text).expect("the folder is ours");
        for file in ["output", "summary"] {
            let path = self.machine.join(file);
            if file == "output" || !path.exists() {
                fs::write(path, "").expect("the folder is ours");
            }
        }
        let mut command = Command::new("bash");
        clean(&mut command)
            .args(["--noprofile", "--norc", "-eo", "pipefail"])
            .arg(&script)
            .current_dir(&self.workspace)
            .envs(&self.environment);
        for (name, value) in step["env"].as_object().into_iter().flatten() {
            let value = value.as_str().expect("a variable is text");
            command.env(name, expand(value, outputs));
        }
        let output = command.output().expect("bash is installed");
        outcome.log += &String::from_utf8_lossy(&output.stdout);
        outcome.log += &String::from_utf8_lossy(&output.stderr);
        output.status.code().expect("the script ends by itself")
    }
}

/// The token that stands for `${{ github.token }}`.
pub const TOKEN: &str = "a-token-of-one-job";

fn expand(value: &str, outputs: &BTreeMap<String, String>) -> String {
    let inner = value
        .strip_prefix("${{ ")
        .and_then(|rest| rest.strip_suffix(" }}"));
    match inner {
        None => value.to_owned(),
        Some("github.token") => TOKEN.to_owned(),
        Some(name) => outputs.get(name).cloned().unwrap_or_default(),
    }
}

/// Whether a comparison of an output holds.
fn holds(condition: &str, outputs: &BTreeMap<String, String>) -> bool {
    let parts: Vec<_> = condition.split(' ').collect();
    let [name, operator, wanted] = parts.as_slice() else {
        panic!("the harness can't judge {condition:?}");
    };
    let value = outputs.get(*name).map_or("", String::as_str);
    let wanted = wanted.trim_matches('\'');
    match *operator {
        "==" => value == wanted,
        "!=" => value != wanted,
        _ => panic!("the harness can't judge {condition:?}"),
    }
}
