//! Every field there and back.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ::network::{HostPorts, PortRange, PortRequest, Protocol};
use runtime::Signal;
use runtime::spec::IdMapping;
use serde_json::Value;

use super::super::*;
use super::{Path, PathBuf};
use crate::kept::{KeptContainers, Stay};
use crate::network_store::NetworkStore;
use crate::secret_store::SecretStore;
use crate::volume_store::VolumeStore;

/// Numbers that look random and are the same each time (a 64-bit generator of L'Ecuyer's).
struct Choices(u64);

impl Choices {
    fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % count
    }

    fn is(&mut self) -> bool {
        self.below(2) == 1
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize].clone()
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Choices) -> T) -> Option<T> {
        self.is().then(|| make(self))
    }

    fn some<T>(&mut self, make: impl Fn(&mut Choices) -> T) -> Vec<T> {
        (0..self.below(3)).map(|_| make(self)).collect()
    }

    fn number(&mut self) -> u64 {
        self.of(&[0, 1, 7, 4096, u64::from(u32::MAX), u64::MAX])
    }

    fn signed(&mut self) -> i64 {
        self.of(&[-1, 0, 5, i64::MAX])
    }

    fn word(&mut self) -> String {
        self.of(&["a", "", "two words", "\"quoted\"\\", "ünï/cödé", "line\nbreak", "-1"]).to_owned()
    }

    fn words(&mut self) -> Vec<String> {
        self.some(Choices::word)
    }

    fn map(&mut self) -> BTreeMap<String, String> {
        self.some(|choices| (choices.word(), choices.word())).into_iter().collect()
    }

    fn path(&mut self) -> PathBuf {
        self.of(&["/", "/a/b", "relative/path", "./here", "/with space"]).into()
    }

    fn identity(&mut self) -> Identity {
        if self.is() { Identity::Id(self.number() as u32) } else { Identity::Name(self.word()) }
    }

    fn duration(&mut self) -> Duration {
        Duration::new(self.below(100_000), self.below(1_000_000_000) as u32)
    }

    fn access(&mut self) -> DeviceAccess {
        DeviceAccess::parse(self.of(&["r", "rw", "rwm", "m"])).expect("legal")
    }

    fn address(&mut self) -> IpAddr {
        self.of(&[Ipv4Addr::LOCALHOST.into(), Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into()])
    }

    fn maps(&mut self) -> Vec<IdMapping> {
        self.some(|choices| IdMapping {
            container_id: choices.number() as u32,
            host_id: choices.number() as u32,
            size: choices.number() as u32,
        })
    }

    fn namespace(&mut self) -> NamespaceMode {
        match self.below(4) {
            0 => NamespaceMode::Private,
            1 => NamespaceMode::Host,
            2 => NamespaceMode::Container(self.word()),
            _ => NamespaceMode::Path(self.path()),
        }
    }

    fn process(&mut self) -> ProcessOptions {
        use monitor::{Input, Signals};
        ProcessOptions {
            command: self.words(),
            source: self.of(&[
                ProgramSource::Default,
                ProgramSource::Cmd,
                ProgramSource::Entrypoint,
                ProgramSource::Words,
                ProgramSource::Image,
            ]),
            terminal: self.of(&[TerminalMode::Inherit, TerminalMode::New(24, 80)]),
            input: self.of(&[Input::Copied, Input::Unread]),
            environment: self.words(),
            without_defaults: self.is(),
            unset: self.words(),
            user: self.maybe(|choices| UserOption {
                user: choices.identity(),
                group: choices.maybe(Choices::identity),
            }),
            user_source: self.of(&[Source::Flag, Source::Image]),
            groups: self.some(Choices::identity),
            keep_groups: self.is(),
            umask: self.maybe(|choices| choices.below(0o1000) as u32),
            directory: self.word(),
            directory_source: self.of(&[Source::Flag, Source::Image]),
            annotations: self.map(),
            init: self.is(),
            holds: self.is(),
            kept_descriptors: self.below(5) as u32,
            signals: self.of(&[Signals::Forwarded, Signals::Kept]),
            stop_signal: Signal::parse(&(1 + self.below(64)).to_string()).expect("legal"),
            stop_patience: self.maybe(Choices::duration),
            time_limit: self.maybe(Choices::duration),
        }
    }

    fn mount(&mut self) -> MountRequest {
        let toggles = [Toggle::Default, Toggle::On, Toggle::Off];
        let kind = if self.is() {
            MountKind::Tmpfs(TmpfsRequest {
                memory: Memory::default(),
                read_only: self.is(),
                copy_up: self.is(),
                parameters: self.some(|choices| (choices.word(), choices.word())),
            })
        } else {
            MountKind::Bind(BindRequest {
                source: self.path(),
                volume: self.maybe(|choices| VolumeRequest {
                    name: choices.maybe(Choices::word),
                    anonymous: choices.is(),
                    content: choices.of(&[VolumeContent::Copied, VolumeContent::Nothing]),
                    subpath: choices.maybe(Choices::word),
                    settings: VolumeSettings { options: choices.map(), labels: choices.map() },
                }),
                reach: self.of(&[Reach::Tree, Reach::Mount]),
                access: self.of(&[
                    Access::Writable,
                    Access::ReadOnly,
                    Access::ReadOnlyHere,
                    Access::ThrownAway,
                ]),
                propagation: self.of(&[Propagation::Private, Propagation::Slave, Propagation::Shared]),
                relabel: self.of(&[None, Some(Relabel::Shared), Some(Relabel::Private)]),
                chown: self.is(),
                idmap: self.is(),
            })
        };
        MountRequest {
            flag: self.word(),
            target: self.word(),
            kind,
            exec: self.of(&toggles),
            suid: self.of(&toggles),
            dev: self.of(&toggles),
        }
    }

    fn files(&mut self) -> FileOptions {
        FileOptions {
            root: match self.below(4) {
                0 => RootOptions::Host,
                1 => RootOptions::Directory(self.path()),
                2 => RootOptions::Overlay(self.path()),
                _ => RootOptions::Image(ImageRoot {
                    layers: self.some(Choices::path),
                    name: self.word(),
                    store: self.path(),
                    manifest: self.word(),
                    volumes: self.words(),
                }),
            },
            read_only: self.is(),
            read_only_tmpfs: self.of(&[ReadOnlyTmpfs::Usual, ReadOnlyTmpfs::None]),
            mounts: self.some(Choices::mount),
            volumes_from: self.some(|choices| VolumesFrom {
                container: choices.word(),
                access: choices.of(&[None, Some(Access::ReadOnly), Some(Access::Writable)]),
                relabel: choices.of(&[None, Some(Relabel::Shared), Some(Relabel::Private)]),
            }),
            volume_store: self.maybe(|choices| VolumeStore::beside(&choices.path().join("images"))),
            devices: self.some(|choices| DeviceRequest {
                flag: choices.word(),
                source: choices.path(),
                target: choices.word(),
                access: choices.access(),
            }),
            device_rules: self.some(|choices| DeviceRuleRequest {
                kind: choices.of(&['a', 'b', 'c']),
                major: choices.maybe(|choices| choices.number() as u32),
                minor: choices.maybe(|choices| choices.number() as u32),
                access: choices.access(),
            }),
        }
    }

    fn rates(&mut self) -> Vec<DeviceLimit<u64>> {
        self.some(|choices| DeviceLimit { path: choices.path(), value: choices.number() })
    }

    fn limits(&mut self) -> LimitOptions {
        LimitOptions {
            memory: self.maybe(Choices::signed),
            memory_reservation: self.maybe(Choices::signed),
            memory_swap: self.maybe(Choices::signed),
            memory_swappiness: self.maybe(Choices::number),
            kernel_memory: self.is(),
            oom_kill_disable: self.is(),
            oom_score_adj: self.maybe(|choices| choices.of(&[-1000, 0, 1000])),
            cpu_time: self.maybe(Choices::number),
            cpu_shares: self.maybe(Choices::number),
            cpu_period: self.maybe(Choices::number),
            cpu_quota: self.maybe(Choices::signed),
            cpu_rt_period: self.maybe(Choices::number),
            cpu_rt_runtime: self.maybe(Choices::signed),
            cpuset_cpus: self.maybe(|_| NumberList::from_numbers(vec![0, 1, 2, 7])),
            cpuset_mems: self.maybe(|_| NumberList::from_numbers(vec![0])),
            pids_limit: self.maybe(Choices::signed),
            blkio_weight: self.maybe(|choices| choices.number() as u16),
            blkio_weight_device: self
                .some(|choices| DeviceLimit { path: choices.path(), value: choices.number() as u16 }),
            device_read_bps: self.rates(),
            device_write_bps: self.rates(),
            device_read_iops: self.rates(),
            device_write_iops: self.rates(),
            ulimits: self.some(|choices| Ulimit {
                name: choices.of(&["nofile", "core", "nproc"]),
                soft: choices.number(),
                hard: choices.number(),
            }),
            cgroup_conf: self.map(),
            cgroup_parent: self.maybe(Choices::word),
            shm_size: self.maybe(Choices::number),
        }
    }

    fn namespaces(&mut self) -> NamespaceOptions {
        NamespaceOptions {
            hostname: self.maybe(Choices::word),
            domainname: self.maybe(Choices::word),
            users: match self.below(9) {
                0 => UserNamespace::Default,
                1 => UserNamespace::Host,
                2 => UserNamespace::Auto(AutoUsers {
                    size: self.maybe(|choices| choices.number() as u32),
                    uid_maps: self.maps(),
                    gid_maps: self.maps(),
                }),
                3 => UserNamespace::KeepId(KeptIds {
                    uid: self.maybe(|choices| choices.number() as u32),
                    gid: self.maybe(|choices| choices.number() as u32),
                    size: self.maybe(|choices| choices.number() as u32),
                }),
                4 => UserNamespace::NoMap,
                5 => UserNamespace::Container(self.word()),
                6 => UserNamespace::Path(self.path()),
                7 => UserNamespace::Mapped(MappedUsers::Ranges { uid: self.maps(), gid: self.maps() }),
                _ => UserNamespace::Mapped(MappedUsers::Owners { uid: self.word(), gid: self.word() }),
            },
            pid: self.namespace(),
            ipc: match self.below(3) {
                0 => IpcMode::Private,
                1 => IpcMode::None,
                _ => IpcMode::Shared(self.namespace()),
            },
            uts: self.namespace(),
            cgroup: match self.below(4) {
                0 => CgroupMode::Private,
                1 => CgroupMode::Host,
                2 => CgroupMode::Container(self.word()),
                _ => CgroupMode::Path(self.path()),
            },
            time: self.of(&[TimeMode::Unsaid, TimeMode::Host, TimeMode::Private]),
            time_offsets: self
                .some(|choices| (choices.of(&[Clock::Monotonic, Clock::Boottime]), choices.signed()))
                .into_iter()
                .collect(),
        }
    }

    fn capabilities(&mut self) -> CapabilityList {
        let named = self.below(1 << 30) << 11 | self.below(1 << 11);
        CapabilityList { all: self.is(), named: named & ((1 << runtime::capability::NAMES.len()) - 1) }
    }

    fn security(&mut self) -> SecurityOptions {
        SecurityOptions {
            add_capabilities: self.capabilities(),
            drop_capabilities: self.capabilities(),
            privileged: self.is(),
            no_new_privileges: self.maybe(Choices::is),
            seccomp: self.maybe(|choices| match choices.below(3) {
                0 => SeccompChoice::Builtin,
                1 => SeccompChoice::Unconfined,
                _ => SeccompChoice::File(choices.path()),
            }),
            apparmor: self.maybe(|choices| match choices.is() {
                true => AppArmorChoice::Unconfined,
                false => AppArmorChoice::Profile(choices.word()),
            }),
            label: LabelOptions {
                disable: self.is(),
                nested: self.is(),
                user: self.maybe(Choices::word),
                role: self.maybe(Choices::word),
                kind: self.maybe(Choices::word),
                file_kind: self.maybe(Choices::word),
                level: self.maybe(Choices::word),
            },
            mask: self.words(),
            unmask: Unmask { all: self.is(), patterns: self.words() },
            proc_options: self.words(),
            writable_cgroups: self.is(),
            sysctls: self.map(),
        }
    }

    fn port(&mut self) -> PortRequest {
        let range = |first, last| PortRange::new(first, last).expect("a range");
        let (host, container) = self.of(&[
            (HostPorts::Any, range(80, 80)),
            (HostPorts::Any, range(80, 90)),
            (HostPorts::From(8080), range(80, 80)),
            (HostPorts::From(65_525), range(80, 90)),
            (HostPorts::OneOf(range(8000, 8009)), range(1, 1)),
        ]);
        PortRequest {
            address: self.maybe(Choices::address),
            host,
            container,
            protocol: self.of(&[Protocol::Tcp, Protocol::Udp, Protocol::Sctp]),
        }
    }

    fn network(&mut self) -> NetworkOptions {
        NetworkOptions {
            mode: match self.below(8) {
                0 => NetworkMode::Default,
                1 => NetworkMode::Bridge,
                2 => NetworkMode::Pasta,
                3 => NetworkMode::None,
                4 => NetworkMode::Host,
                5 => NetworkMode::Container(self.word()),
                6 => NetworkMode::Cni(CniNetwork {
                    name: self.word(),
                    configurations: self.maybe(Choices::path),
                    plugins: self.some(Choices::path),
                    aliases: self.words(),
                }),
                _ => NetworkMode::Joined { namespace: self.path(), files: self.maybe(Choices::path) },
            },
            name: self.maybe(Choices::word),
            ip: self.maybe(Choices::word),
            container_ip: self.maybe(Choices::word),
            mac: self.maybe(|choices| [2, 0x42, 0xac, 0, choices.below(256) as u8, 0xff]),
            attachments: self.some(|choices| NetworkAttachment {
                network: choices.word(),
                ip: choices.maybe(|choices| Ipv4Addr::new(10, 5, 0, choices.below(256) as u8)),
                ip6: choices.maybe(|choices| Ipv6Addr::from_bits(u128::from(choices.below(256)))),
                mac: choices.maybe(|choices| [2, 0x42, 0xac, 0, choices.below(256) as u8, 0xff]),
                aliases: choices.words(),
                interface: choices.maybe(Choices::word),
            }),
            store: self.maybe(|choices| NetworkStore::beside(&choices.path().join("images"))),
            publish: self.some(Choices::port),
            firewall_integrate: self.below(2) == 0,
            names: NameOptions {
                servers: self.some(Choices::address),
                search: self.words(),
                options: self.words(),
                hosts: self.some(|choices| {
                    let address = choices.maybe(Choices::address);
                    (choices.word(), address.map_or(HostAddress::Host, HostAddress::Ip))
                }),
                hosts_file: self.of(&[OwnedFile::Made, OwnedFile::OfTheRoot]),
                hostname_file: self.of(&[OwnedFile::Made, OwnedFile::OfTheRoot]),
                ..NameOptions::default()
            },
        }
    }

    fn secrets(&mut self) -> SecretOptions {
        let store = |choices: &mut Choices| {
            let mut store = SecretStore::of(Some(Path::new("/"))).expect("a path");
            *store.path_mut() = choices.path();
            store
        };
        SecretOptions {
            requests: self.some(|choices| SecretRequest {
                flag: choices.word(),
                name: choices.word(),
                id: choices.maybe(Choices::word),
                place: match choices.is() {
                    true => SecretPlace::Variable { name: choices.word() },
                    false => SecretPlace::File {
                        path: choices.word(),
                        uid: choices.number() as u32,
                        gid: choices.number() as u32,
                        mode: choices.below(0o1000) as u32,
                    },
                },
            }),
            store: self.maybe(store),
        }
    }

    fn run(&mut self) -> RunOptions {
        RunOptions {
            process: self.process(),
            files: self.files(),
            limits: self.limits(),
            namespaces: self.namespaces(),
            security: self.security(),
            network: self.network(),
            secrets: self.secrets(),
            stay: self.maybe(|choices| {
                let containers = KeptContainers::beside(&choices.path().join("images"));
                (containers, choices.of(&[Stay::Kept, Stay::Removed]))
            }),
        }
    }
}

#[test]
fn options_of_every_kind_are_read_as_they_were_written() {
    for seed in 0..1000 {
        let options = Choices(seed).run();
        let text = serde_json::to_string(&options).expect("written");
        let read: RunOptions = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(read, options, "{text}");
    }
}

#[test]
fn what_is_so_by_default_is_not_written_and_what_a_later_version_adds_is_passed_over() {
    let text = serde_json::to_string(&RunOptions::default()).expect("written");
    assert_eq!(text, r#"{"process":{},"files":{},"limits":{},"namespaces":{},"security":{},"network":{}}"#);
    let mut options = RunOptions::default();
    options.process.stop_patience = None;
    options.network.names.search.push("example.org".to_owned());
    let text = serde_json::to_string(&options).expect("written");
    assert_eq!(
        text,
        r#"{"process":{"stopPatience":null},"files":{},"limits":{},"namespaces":{},"security":{},"#
            .to_owned()
            + r#""network":{"names":{"search":["example.org"]}}}"#
    );
    let later = r#"{"process":{"stopPatience":null,"mood":"good"},"network":{"names":{"search":["example.org"]}},"pod":7}"#;
    assert_eq!(serde_json::from_str::<RunOptions>(later).expect("read"), options);
}

#[test]
fn time_other_than_the_default_is_written_whole() {
    for seconds in [0, 7] {
        let mut options = RunOptions::default();
        options.process.stop_patience = Some(std::time::Duration::from_secs(seconds));
        let text = serde_json::to_string(&options).expect("written");
        assert_eq!(serde_json::from_str::<RunOptions>(&text).expect("read"), options, "{text}");
    }
}

#[test]
fn record_of_the_first_version_is_still_read() {
    let text = r#"{
        "process":{"command":["/bin/true"],"source":"words","terminal":{"new":[24,80]},"input":"unread",
            "user":{"user":{"id":5},"group":{"name":"wheel"}},"signals":"kept","stopSignal":"SIGINT",
            "timeLimit":{"secs":1,"nanos":0}},
        "files":{"root":{"overlay":"/r"},"mounts":[{"flag":"-v /a:/b","target":"/b","kind":{"bind":{"source":"/a",
            "reach":"tree","access":"readOnlyHere","propagation":"private","relabel":null,"chown":false,"idmap":false}},
            "exec":"default","suid":"on","dev":"off"}],"deviceRules":[{"kind":"c","major":1,"minor":null,"access":"rw"}]},
        "limits":{"cpusetCpus":[0,1],"ulimits":[{"name":"nofile","soft":5,"hard":6}]},
        "namespaces":{"users":{"keepId":{"uid":1}},"ipc":{"shared":"host"},"timeOffsets":{"boottime":3}},
        "security":{"addCapabilities":{"named":["SYS_ADMIN"]},"seccomp":{"file":"/p"}},
        "network":{"mode":"bridge","mac":"02:42:ac:11:00:02","publish":["[::1]:8080-8080:80/tcp","80/udp"],
            "names":{"hosts":[["a",{"ip":"::1"}],["b","host"]]}},
        "stay":[{"path":"/d/containers"},"kept"]}"#;
    let options: RunOptions = serde_json::from_str(text).expect("read");
    let again: Value = serde_json::to_value(&options).expect("written");
    let mut before: Value = serde_json::from_str(text).expect("JSON");
    // What has defaults inside is written whole there.
    before["namespaces"]["users"] = again["namespaces"]["users"].clone();
    assert_eq!(again, before);
    assert_eq!(options.network.publish.len(), 2);
}

#[test]
fn every_path_of_the_host_is_made_absolute() {
    for seed in 0..1000 {
        let mut options = Choices(seed).run().made_absolute(Path::new("/here"));
        let paths = options.host_paths();
        assert!(paths.iter().all(|path| path.is_absolute()), "{paths:?}");
        let text = serde_json::to_string(&options).expect("written");
        // Where a volume is is found anew each time.
        let is_of_a_volume = text.contains("\"volume\":{");
        assert!(
            is_of_a_volume || (!text.contains("\"relative/path") && !text.contains("\"./here")),
            "{text}"
        );
        assert_eq!(options.clone().made_absolute(Path::new("/there")), options);
    }
    let options = RunOptions {
        files: FileOptions { root: RootOptions::Overlay("./root/.".into()), ..FileOptions::default() },
        ..RunOptions::default()
    };
    let made = options.made_absolute(Path::new("/here"));
    assert_eq!(made.files.root, RootOptions::Overlay("/here/root".into()));
}
