//! The engine: containers as people mean them, on the runtime and the network crate.
//!
//! Nothing here prints, exits or reads the environment; what a person should know comes back as a value.

mod accounts;
mod apart;
mod cni;
mod config;
mod container;
mod directories;
mod error;
mod events;
mod filter;
mod health;
mod host_root;
mod images;
mod kept;
mod layers;
mod life;
mod mount_points;
mod names;
mod network;
mod network_store;
mod options;
mod output;
mod own_files;
mod paths;
mod pattern;
mod peers;
mod pods;
mod rootless;
mod running;
mod secret_store;
mod security_modules;
mod user_namespace;
mod volume_store;
mod volumes;

pub use ::image::documents::{Form as ManifestForm, moment as rfc3339};
pub use ::image::registry::TlsVerify;
pub use ::image::registry::credentials::Kept as KeptPassword;
pub use ::network::{HostPorts, PortRange, PortRequest, Protocol};
pub use container::{Finished, MemoryKill, Notice, Prepared, Running, plan, prepare};
pub use error::{Code, Error, Result};
pub use events::{Event, EventFilter, EventLog, EventQuery, Follow};
pub use health::{
    CHECK, HEAL, HealthChanges, HealthCheck, HealthLog, HealthLogPlace, HealthStatus, HealthUpdate,
    OnFailure, StartupChanges, StartupCheck, check, heal, parse_health_command, parse_health_interval,
    parse_health_log_place, parse_health_time, parse_on_failure,
};
pub use images::{
    Came, CheckDepth, ContainersUsage, Damaged, ExistingList, FoundRepository, HistoryEntry, ImageChange,
    ImageDefaults, ImageFilter, ImageFilters, ImageMount, ImageName, ImageStore, ImageUsage, ImportRequest,
    Inspected, ListImage, ListNotes, ListPart, ListPush, Listed, LoadFrom, Loaded, LoggedOut, Logins,
    MovingLayer, NewList, Outcome, PlatformParts, Progress, Pruned, PullRequest, PulledImage, Push,
    PushRequest, PushedImage, PushedImages, ReadyImage, RegistryAccess, Removal, Removed, Repair, SaveLayout,
    SaveTo, SearchOutcome, SearchRequest, StoreUsage, Transport, Tree, TreeLayer, Unmount, Unneeded,
    is_address, is_shift_verb, is_unpack_verb, list_tags, search, unpack_image_again, unpack_layer,
};
pub use kept::{
    Change, ChangeKind, CommitRequest, ComparedStep, ContainerFilter, ContainerSize, DamagedContainer, Kept,
    KeptContainers, KeptRoot, KeptState, ListedContainer, PodMember, PodRole, PrunedContainers, StartFailure,
    StartRecord, Stay, StepTime, Survey, check_container_name, compare_starts,
};
pub use life::{
    ADOPT, BEGIN, Begun, CreateRequest, END, Ended, FailedBegin, InputUntil, LifeOptions, LogChoice, Look,
    Patience, Removal as ContainerRemoval, RestartPolicy, StandardInput, Standing, Started, StopRequest,
    Stopped, Verdict, adopt, attach, begin, end, parse_log, parse_moment, parse_restart, wait_for_hangup,
};
pub use monitor::{
    Attachment, Departure, DetachKeys, Input, LogEntry, LogQuery, LogStream, Moment, Reaction, Role, Signals,
    Terminal, VERB as MONITOR_VERB, run_service as run_monitor,
};
pub use names::{ANSWER, answer as answer_names, is_answer_verb};
pub use network::tidy_networks;
pub use network_store::{
    CreatedNetwork, Network, NetworkDriver, NetworkFilter, NetworkStore, NetworkSubnet, NetworkSurvey,
    NetworkUser, NetworkUsers, NewNetwork, PrunedNetworks, check_network_name,
};
pub use options::{
    Access, BindRequest, DeviceAccess, DeviceRequest, DeviceRuleRequest, MountKind, MountRequest,
    Propagation, Reach, ReadOnlyTmpfs, Relabel, TmpfsRequest, Toggle, VolumeContent, VolumeRequest,
    VolumeSettings, VolumesFrom,
};
pub use options::{
    AppArmorChoice, CapabilityList, CgroupMode, Clock, CniNetwork, DeviceLimit, FileOptions, HostAddress,
    ImageRoot, IpcMode, LabelOptions, LimitOptions, NameOptions, NamespaceMode, NamespaceOptions,
    NetworkAttachment, NetworkMode, NetworkOptions, NumberList, OwnedFile, ProcessOptions, ProgramSource,
    RootOptions, RunOptions, SeccompChoice, SecurityOptions, TerminalMode, TimeMode, Ulimit, Unmask,
    limit_syntax, nearest, parse_alias, parse_container_ip, parse_container_ip6, parse_exposed, parse_host,
    parse_mac, parse_name_server, parse_networks, parse_publish, parse_resolver_word, parse_size,
    publish_exposed,
};
pub use options::{AutoUsers, KeptIds, MappedUsers, UserFlags, UserNamespace};
pub use options::{
    Identity, Source, UserOption, Value, parse_entrypoint, parse_group, parse_labels, parse_pair,
    parse_seconds, parse_signal, parse_time_limit, parse_umask, parse_user, parse_variable, parse_variables,
};
pub use options::{SecretOptions, SecretPlace, SecretRequest};
pub use output::{OutputFile, output_error};
pub use paths::EnginePaths;
pub use pods::{
    ExitPolicy, InfraName, ListedPod, NewPod, Pod, PodEntry, PodFilter, PodState, PodSurvey, Pods, Shared,
};
pub use running::{
    Containers, CopyEnd, CopyRequest, Descriptor, ExecOutcome, ExecRequest, Execution, ExposedFilter,
    ExposedPort, Exposure, Found, PortChange, PortMapping, UpdateRequest, Updated, Usage, WaitCondition,
    Waited, Wall, WantedPort, copy, copy_apart, exec_exit_code, is_copy_verb, memory_of_host,
};
pub use runtime::launch::{LaunchOptions, StepTiming};
pub use runtime::{ErrorKind, Side, Signal, StepDescription, StepKind};
pub use runtime::{host_binary, named_file, reaper};
pub use secret_store::{
    ExistingSecret, NewSecret, Secret, SecretFilter, SecretStore, SecretSurvey, TOO_LONG as SECRET_TOO_LONG,
};
pub use volume_store::{
    CreatedVolume, NewVolume, PrunedVolumes, UnneededVolumes, Volume, VolumeFilter, VolumeStore,
    VolumeSurvey, VolumeUsage, VolumeUsers, change_volume, is_volume_verb,
};
