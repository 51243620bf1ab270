use std::path::PathBuf;

use fabric::api::Duration;
use reconciler::git::{Address, Credentials, Reference, Remote, Secret, SshOptions};

/// Where the repository is, and how it is followed.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Repository")]
pub(super) struct GitArgs {
    /// The repository: a path, or a file, http, https or ssh URL, or USER@HOST:PATH
    #[arg(long, value_name = "URL", value_parser = address)]
    repo: Address,

    /// The branch or tag that is followed
    #[arg(long = "ref", value_name = "REF", default_value = "main", value_parser = reference)]
    reference: Reference,

    /// How often the repository is looked into
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = interval)]
    interval: Duration,

    /// The CA certificates for https, instead of the system's
    #[arg(long, value_name = "FILE")]
    git_ca: Option<PathBuf>,

    /// The file with the password or token for http and https
    ///
    /// It is read for every fetch, so that it may be replaced. An option with the token itself
    /// doesn't exist: everyone on the machine could read it.
    #[arg(long, value_name = "FILE")]
    git_token_file: Option<PathBuf>,

    /// The user name that goes with the token; without it the token is sent as a bearer token
    #[arg(long, value_name = "NAME", requires = "git_token_file")]
    git_username: Option<String>,

    /// The private key for ssh, instead of those of the user's configuration and agent
    #[arg(long, value_name = "FILE")]
    ssh_key: Option<PathBuf>,

    /// The known host keys for ssh, instead of the user's and the system's
    #[arg(long, value_name = "FILE")]
    ssh_known_hosts: Option<PathBuf>,
}

impl GitArgs {
    /// The remote repository.
    pub(super) fn remote(&self) -> Remote {
        let mut remote = Remote::new(self.repo.clone())
            .with_reference(self.reference.clone())
            .with_ssh(SshOptions {
                identity: self.ssh_key.clone(),
                known_hosts: self.ssh_known_hosts.clone(),
                ..SshOptions::default()
            });
        if let Some(file) = &self.git_ca {
            remote = remote.with_authorities(file.clone());
        }
        if let Some(file) = &self.git_token_file {
            let secret = Secret::File(file.clone());
            remote = remote.with_credentials(match &self.git_username {
                Some(username) => Credentials::Basic {
                    username: username.clone(),
                    password: secret,
                },
                None => Credentials::Bearer(secret),
            });
        }
        remote
    }

    /// How often the repository is looked into.
    pub(super) const fn interval(&self) -> std::time::Duration {
        self.interval.get()
    }

    /// Where the repository is, without what is secret in it.
    pub(super) fn repository(&self) -> String {
        self.repo.redacted()
    }
}

fn address(text: &str) -> Result<Address, String> {
    text.parse::<Address>().map_err(|error| error.to_string())
}

fn reference(text: &str) -> Result<Reference, String> {
    text.parse::<Reference>().map_err(|error| error.to_string())
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = text
        .parse::<Duration>()
        .map_err(|error| error.to_string())?;
    // A repository that is asked more often is asked by accident.
    match interval < Duration::from_secs(1) {
        true => Err("the repository is looked into at most once a second".to_owned()),
        false => Ok(interval),
    }
}
