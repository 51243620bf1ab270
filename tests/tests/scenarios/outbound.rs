//! A peer that nobody can connect to, which imports and exports all the same.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use weft_tests::certificates::Authority;
use weft_tests::namespace::{Namespace, ip, isolated};
use weft_tests::peer::Peer;
use weft_tests::repository::FabricRepository;
use weft_tests::services::Service;
use weft_tests::yaml;

use super::common::{PORT, USER, allow_all, ask, import, reaches};

/// The name by which the office is found.
const OFFICE: &str = "office.example.com";

/// Two machines: from `home` the office can be reached, from the office nothing at home that listens.
struct Machines {
    home: Namespace,
    office: Namespace,
    hosts: tempfile::NamedTempFile,
}

impl Machines {
    fn new() -> Self {
        let (home, office) = (Namespace::new("home"), Namespace::new("office"));
        ip("\
link add home0 netns home type veth peer name office0 netns office
-n home addr add 10.1.0.1/24 dev home0
-n home link set home0 up
-n office addr add 10.1.0.2/24 dev office0
-n office link set office0 up
-n office rule add to 10.1.0.1 ipproto tcp dport 1-32767 prohibit
");
        let machines = Self {
            home,
            office,
            hosts: tempfile::NamedTempFile::new().unwrap(),
        };
        machines.name_office("10.1.0.2");
        // Only for the test's own namespaces.
        let mount = Command::new("mount")
            .arg("--bind")
            .arg(machines.hosts.path())
            .arg("/etc/hosts")
            .status();
        assert!(mount.unwrap().success());
        machines
    }

    fn name_office(&self, address: &str) {
        let text = format!("127.0.0.1 localhost\n{address} {OFFICE}\n");
        fs::write(self.hosts.path(), text).unwrap();
    }
}

/// A peer on a machine of its own.
struct Machine<'a> {
    namespace: &'a Namespace,
    peer: Peer,
    _service: Service,
}

impl<'a> Machine<'a> {
    fn new(
        namespace: &'a Namespace,
        name: &'static str,
        gateway: Option<&str>,
        fabric: (&FabricRepository, &Authority),
    ) -> Self {
        let (repository, authority) = fabric;
        let service = namespace.enter(|| Service::banner(name));
        let mut peer =
            namespace.enter(|| Peer::new(name, &repository.url(), &authority.peer(name)));
        peer.listen_at(([0, 0, 0, 0], 4443).into());
        let file = |file: &str| format!("peers/{name}/{file}.yaml");
        let gateways = match gateway {
            Some(host) => format!("  gateways:\n  - host: {host}\n    port: 4443\n"),
            None => "  gateways: []\n".to_owned(),
        };
        let text = yaml::peer(name, peer.gateway());
        let head = text.split("  gateways:").next().unwrap();
        repository.write(&file("peer"), format!("{head}{gateways}"));
        repository.write(&file("workloads"), yaml::workloads(name, USER));
        repository.write(&file("allow"), allow_all());
        let export = yaml::export(USER, "http-echo", service.address());
        repository.write(&file("export"), export);
        Self {
            namespace,
            peer,
            _service: service,
        }
    }

    fn start(&mut self) {
        let (namespace, peer) = (self.namespace, &mut self.peer);
        namespace.enter(|| {
            peer.start();
            peer.wait_until_ready();
        });
    }

    fn reaches(&self, name: &str, reachable: bool) {
        self.namespace
            .enter(|| reaches(&self.peer, name, reachable));
    }

    fn ask(&self) -> Option<String> {
        self.namespace.enter(|| ask(self.peer.import(PORT)))
    }
}

#[test]
fn row_67_a_peer_without_an_inbound_port_imports_and_exports() {
    isolated(|| {
        let machines = Machines::new();
        let (authority, repository) = (Authority::new("fabric"), FabricRepository::new());
        let heartbeat = "  heartbeat: {interval: 100ms, down: 5, up: 3}\n";
        repository.write("fabric.yaml", yaml::fabric() + heartbeat);
        repository.write("ca/fabric.pem", authority.pem());
        let fabric = (&repository, &authority);
        let mut home = Machine::new(&machines.home, "home", None, fabric);
        let mut office = Machine::new(&machines.office, "office", Some(OFFICE), fabric);
        repository.write("peers/home/import.yaml", import(&["office"], "static"));
        repository.write("peers/office/import.yaml", import(&["home"], "static"));
        repository.commit("Lay down the fabric");
        office.start();
        home.start();

        let both_ways = |home: &Machine<'_>, office: &Machine<'_>| {
            home.reaches("office", true);
            office.reaches("home", true);
            for _ in 0..3 {
                assert_eq!(home.ask().as_deref(), Some("office"));
                assert_eq!(office.ask().as_deref(), Some("home"));
            }
        };
        both_ways(&home, &office);
        // It does listen, and can't be reached.
        let inbound: SocketAddr = "10.1.0.1:4443".parse().unwrap();
        assert!(machines.home.enter(|| TcpStream::connect(inbound)).is_ok());
        assert!(
            machines
                .office
                .enter(|| TcpStream::connect(inbound))
                .is_err()
        );

        // The way is gone without a word, and comes back.
        ip("-n office link set office0 down\n");
        home.reaches("office", false);
        office.reaches("home", false);
        assert_eq!(office.ask(), None);
        ip("-n office link set office0 up\n");
        both_ways(&home, &office);

        // The other side dies, and comes back at another address; its name goes with it.
        office.peer.kill();
        home.reaches("office", false);
        ip(
            "-n office addr del 10.1.0.2/24 dev office0\n-n office addr add 10.1.0.3/24 dev office0\n",
        );
        machines.name_office("10.1.0.3");
        office.start();
        both_ways(&home, &office);
    });
}
