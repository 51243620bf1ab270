//! A container: what a Pod's specification makes of a process.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Container, EnvVar, Pod, Secret};
use kube::ResourceExt as _;
use kube::runtime::reflector::Store;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::binary::weft;
use crate::namespace::Namespace;

pub(super) type Secrets = Store<Secret>;

/// Where the token of a Pod's service account is.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The port of `http-echo`.
const ECHO_PORT: u16 = 8080;

/// The service account whose token a Pod gets.
pub(super) fn needs_token(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let is_wanted = spec.automount_service_account_token.unwrap_or(true);
    let is_program = spec
        .containers
        .iter()
        .any(|container| image(container) == "weft");
    let name = spec.service_account_name.clone();
    (is_wanted && is_program).then(|| name.unwrap_or_else(|| "default".to_owned()))
}

/// Writes what the Pod's volumes hold, each below `volumes/NAME`; a Secret that changed is swapped in
/// as a whole.
pub(super) fn write_volumes(
    pod: &Pod,
    folder: &Path,
    secrets: &Secrets,
) -> Result<(), kube::Error> {
    let volumes = pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    for volume in volumes {
        let path = folder.join("volumes").join(&volume.name);
        fs::create_dir_all(&path).map_err(|error| kube::Error::Service(error.into()))?;
        let Some(source) = &volume.secret else {
            continue;
        };
        let name = source.secret_name.clone().unwrap_or_default();
        let data = secret(secrets, &pod.namespace().unwrap_or_default(), &name);
        let mut files = BTreeMap::new();
        match &source.items {
            None => files.extend(data.into_iter().map(|(key, value)| (key, value.0))),
            Some(items) => files.extend(
                items
                    .iter()
                    .filter_map(|item| Some((item.path.clone(), data.get(&item.key)?.0.clone()))),
            ),
        }
        swap(&path, &files).map_err(|error| kube::Error::Service(error.into()))?;
    }
    Ok(())
}

/// The process of a Pod's first container; none where the test itself is what runs there.
pub(super) fn command(
    pod: &Pod,
    address: Ipv4Addr,
    network: &Namespace,
    folder: &Path,
    secrets: &Secrets,
) -> Option<Command> {
    let spec = pod.spec.as_ref()?;
    let container = spec
        .containers
        .iter()
        .find(|container| image(container) == "weft")?;
    let environment = environment(pod, container, address, secrets);
    let expand = |text: &String| {
        let each = environment.iter();
        each.fold(text.clone(), |text, (name, value)| {
            text.replace(&format!("$({name})"), value)
        })
    };
    let arguments = container.args.iter().flatten().map(expand);
    // The image's entry point is the binary, whatever path it has there.
    let named = container.command.iter().flatten().skip(1).map(expand);

    let script = folder.join("start");
    fs::write(&script, script_of(pod, container, folder)).ok()?;
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net={}", network.path().display()))
        .args(["unshare", "--mount", "--uts", "sh", "-e"])
        .arg(script)
        .args(named)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .envs(environment);
    Some(command)
}

/// Lays a root file system and becomes the container's process in it.
fn script_of(pod: &Pod, container: &Container, folder: &Path) -> String {
    let (root, here) = (folder.join("root").display().to_string(), folder.display());
    let mut script = format!(
        "R={root}
mkdir -p $R
mount -t tmpfs -o mode=755 tmpfs $R
for d in bin sbin lib lib32 lib64 usr; do
  if [ -L /$d ]; then cp -P /$d $R/$d
  elif [ -d /$d ]; then mkdir $R/$d; mount --rbind /$d $R/$d; fi
done
mkdir -p $R/proc $R/dev $R/etc/ssl
mount --rbind /proc $R/proc
mount --rbind /dev $R/dev
[ ! -d /etc/ssl ] || mount --rbind /etc/ssl $R/etc/ssl
printf 'root:x:0:0::/:/bin/false\\n' > $R/etc/passwd
printf 'hosts: files\\n' > $R/etc/nsswitch.conf
touch $R/etc/hosts $R/weft
mount --bind {here}/hosts $R/etc/hosts
mount --bind {} $R/weft
echo {} > /proc/sys/kernel/hostname
",
        weft().display(),
        pod.name_any(),
    );
    let mut mount = |source: String, target: &str, is_read_only: bool| {
        script.push_str(&format!(
            "mkdir -p $R{target}\nmount --bind {source} $R{target}\n"
        ));
        if is_read_only {
            script.push_str(&format!("mount -o remount,ro,bind $R{target}\n"));
        }
    };
    if needs_token(pod).is_some() {
        mount(format!("{here}/token"), TOKEN, true);
    }
    for volume in container.volume_mounts.iter().flatten() {
        let sub = volume.sub_path.as_deref().unwrap_or_default();
        let source = format!("{here}/volumes/{}/{sub}", volume.name);
        mount(source, &volume.mount_path, volume.read_only == Some(true));
    }
    let security = container.security_context.as_ref();
    if security.and_then(|security| security.read_only_root_filesystem) == Some(true) {
        script.push_str("mount -o remount,ro,bind $R\n");
    }
    script.push_str("exec chroot $R /weft \"$@\"\n");
    script
}

/// Serves what an image of the test's own does: `http-echo` answers with its `-text=`; `pause` does
/// nothing.
pub(super) fn serve(pod: &Pod, address: Ipv4Addr, network: &Namespace) {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    for container in containers.filter(|container| image(container) == "http-echo") {
        let texts = container.args.iter().flatten();
        let text = texts
            .filter_map(|argument| argument.strip_prefix("-text="))
            .next();
        let text = text.unwrap_or_default().to_owned();
        let listener = network
            .listen(SocketAddr::from((address, ECHO_PORT)))
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
        let listener = listener.expect("the address is the Pod's own");
        tokio::spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a runtime");
            while let Ok((mut stream, _)) = listener.accept().await {
                let text = text.clone();
                tokio::spawn(async move {
                    let (mut seen, mut block) = (Vec::new(), [0; 1024]);
                    while !seen.ends_with(b"\r\n\r\n") {
                        match stream.read(&mut block).await {
                            Ok(length) if length > 0 => seen.extend_from_slice(&block[..length]),
                            _ => return,
                        }
                    }
                    let length = text.len();
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                    // A client that goes away is its own affair.
                    let _ = stream.write_all(format!("{head}{text}").as_bytes()).await;
                });
            }
        });
    }
}

fn environment(
    pod: &Pod,
    container: &Container,
    address: Ipv4Addr,
    secrets: &Secrets,
) -> BTreeMap<String, String> {
    let mut values: BTreeMap<_, _> = [
        ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
        ("KUBERNETES_SERVICE_PORT", "443"),
        ("HOSTNAME", &pod.name_any()),
        ("RUST_BACKTRACE", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    for variable in container.env.iter().flatten() {
        values.insert(
            variable.name.clone(),
            value(pod, variable, address, secrets),
        );
    }
    values
}

fn value(pod: &Pod, variable: &EnvVar, address: Ipv4Addr, secrets: &Secrets) -> String {
    if let Some(value) = &variable.value {
        return value.clone();
    }
    let Some(source) = &variable.value_from else {
        return String::new();
    };
    if let Some(field) = &source.field_ref {
        let spec = pod.spec.clone().unwrap_or_default();
        return match field.field_path.as_str() {
            "metadata.name" => pod.name_any(),
            "metadata.namespace" => pod.namespace().unwrap_or_default(),
            "metadata.uid" => pod.uid().unwrap_or_default(),
            "status.podIP" => address.to_string(),
            "spec.nodeName" => spec.node_name.unwrap_or_default(),
            "spec.serviceAccountName" => spec.service_account_name.unwrap_or_default(),
            other => panic!("no field {other} of a Pod is known here"),
        };
    }
    let key = source.secret_key_ref.as_ref();
    key.and_then(|key| {
        let data = secret(secrets, &pod.namespace().unwrap_or_default(), &key.name);
        data.get(&key.key)
            .map(|value| String::from_utf8_lossy(&value.0).into_owned())
    })
    .unwrap_or_default()
}

fn secret(secrets: &Secrets, namespace: &str, name: &str) -> BTreeMap<String, ByteString> {
    let found = secrets.find(|secret| {
        secret.name_any() == name && secret.namespace().as_deref() == Some(namespace)
    });
    found
        .and_then(|secret| secret.data.clone())
        .unwrap_or_default()
}

/// The last part of an image's name.
fn image(container: &Container) -> &str {
    let image = container.image.as_deref().unwrap_or_default();
    let image = image.rsplit('/').next().unwrap_or_default();
    image.split([':', '@']).next().unwrap_or_default()
}

/// Makes a folder hold these files, all at once: `..data` leads to a folder that is replaced.
fn swap(path: &Path, files: &BTreeMap<String, Vec<u8>>) -> std::io::Result<()> {
    let data = path.join("..data");
    let is_same = |target: PathBuf| {
        let there = fs::read_dir(&target).map_or(0, Iterator::count);
        there == files.len()
            && files.iter().all(|(name, content)| {
                fs::read(target.join(name)).is_ok_and(|there| there == *content)
            })
    };
    let old = fs::read_link(&data).ok();
    if old.as_ref().is_some_and(|old| is_same(path.join(old))) {
        return Ok(());
    }
    let version = format!("..{:016x}", rand::random::<u64>());
    fs::create_dir(path.join(&version))?;
    for (name, content) in files {
        fs::write(path.join(&version).join(name), content)?;
    }
    let fresh = path.join("..data_tmp");
    symlink(&version, &fresh)?;
    fs::rename(&fresh, &data)?;
    for name in files.keys() {
        let link = path.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new("..data").join(name), link)?;
        }
    }
    match old {
        Some(old) => fs::remove_dir_all(path.join(old)),
        None => Ok(()),
    }
}
