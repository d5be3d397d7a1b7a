//! Arguments as typed, and what they mean: one module a topic, as in the engine's options.

mod before_verb;
mod configured;
mod files;
mod globs;
mod health;
mod image;
mod life;
mod limits;
mod log_format;
mod mistakes;
mod namespaces;
mod network;
mod normal;
mod output;
mod process;
mod refused;
mod security;
mod settings;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, ValueEnum};
use engine::{
    EnginePaths, Error, KeptContainers, ReadyImage, Result, RootOptions, RunOptions, SecretStore, Stay,
    TerminalMode, VolumeStore,
};

pub(crate) use self::before_verb::{behind_container, verb_first};
use self::files::FileArguments;
pub(crate) use self::health::HealthArguments;
pub(crate) use self::image::{ImageArguments, Policy};
pub(crate) use self::life::{Life, LifeArguments};
pub(crate) use self::limits::LimitArguments;
pub(crate) use self::log_format::take as take_log_format;
use self::namespaces::NamespaceArguments;
pub(crate) use self::namespaces::UserArguments;
pub(crate) use self::network::NetworkArguments;
pub(crate) use self::output::take as take_output;
pub(crate) use self::process::{ProcessArguments, kept_descriptors, variables};
use self::security::SecurityArguments;
pub(crate) use self::settings::with_level;
use crate::completion::CompletionArguments;
use crate::containers::{self, ContainerCommand};
use crate::events::EventsArguments;
use crate::given::Given;
use crate::images::{self, GroupArguments, ImageCommand};
use crate::kept::{self, KeptCommand};
use crate::life::{LifeCommand, VERBS as LIFE_VERBS, read as read_life};
use crate::networks::{NetworkCommand, NetworkVerbs};
use crate::pods::{PodArguments, PodCommand};
use crate::secrets::{SecretArguments, SecretCommand};
use crate::system::{SystemArguments, SystemCommand};
use crate::volumes::{VolumeArguments, VolumeCommand};

/// A command line, parsed.
pub(crate) enum Command {
    Run(Box<RunArguments>),
    Plan(Box<PlanArguments>),
    Images(ImageCommand),
    Kept(KeptCommand),
    Life(LifeCommand),
    Containers(ContainerCommand),
    System(SystemCommand),
    Secrets(SecretCommand),
    Volumes(VolumeCommand),
    Networks(NetworkCommand),
    Pods(Box<PodCommand>),
    Completion(CompletionArguments),
    Events(EventsArguments),
    /// Internal: removes networks that nobody uses any more, after the last container's command has returned.
    Tidy(EnginePaths),
}

/// The name of the internal verb; not for people.
pub(crate) const TIDY: &str = "internal-tidy-networks";

const VERBS: &str = "Commands:\n  rabbitc [run] [OPTIONS] [-- ARGS]   run a container (`run` may be left out)\n  \
                     rabbitc run [OPTIONS] IMAGE [ARGS]  run a container of an image\n  \
                     rabbitc plan [OPTIONS] [-- ARGS]    print every step of the start, and touch nothing\n  \
                     rabbitc pull IMAGE...               fetch images from registries\n  \
                     rabbitc push IMAGE [DESTINATION]    send an image to a registry\n  \
                     rabbitc login|logout [REGISTRY]     keep, or forget, name and password for a registry\n  \
                     rabbitc search TERM                 look for images in registries\n  \
                     rabbitc images                      list the images that are here\n  \
                     rabbitc rmi IMAGE...                remove images\n  \
                     rabbitc manifest --help             lists of images for several machines\n  \
                     rabbitc run -d, create, start, stop, restart, rm  containers that live on, and their end\n  \
                     rabbitc ps, logs, attach, inspect, rename, why, explain  what runs, what it writes, why it has ended, how it began\n  \
                     rabbitc exec, cp, kill, pause, unpause, top, stats, port, wait, update, healthcheck run  a container that runs\n  \
                     rabbitc diff, commit, export        what a container has changed\n  \
                     rabbitc pod --help                  containers that share a network and more\n  \
                     rabbitc events                      what becomes of containers, images, pods and volumes\n  \
                     rabbitc volume --help               directories that are kept for containers\n  \
                     rabbitc network --help              networks that containers share\n  \
                     rabbitc secret --help               values that containers get, and that are in no image\n  \
                     rabbitc system df|check|prune|install  how much room images take, whether they are whole, less of both; start at boot\n  \
                     rabbitc image --help                what else there is for images\n  \
                     rabbitc completion bash|zsh|fish    the script that has a shell complete all this\n\n\
                     Before a command:\n  --log-format json                   messages as JSON, one object a line\n\n\
                     Examples:\n  sudo rabbitc --rootfs=./root\n  sudo rabbitc --rootfs=./root /bin/server -f\n  \
                     sudo rabbitc --explain -- /bin/true";

/// Runs a program in a container: its own pids, mounts, network, host name, queues and cgroup.
#[derive(Debug, Parser)]
#[command(
    name = "rabbitc",
    version,
    disable_help_flag = true,
    after_help = VERBS,
    max_term_width = 100,
    args_override_self = true
)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(crate) process: ProcessArguments,
    #[command(flatten)]
    pub(crate) life: LifeArguments,
    #[command(flatten)]
    pub(crate) health: HealthArguments,
    #[command(flatten)]
    pub(crate) of_image: ImageArguments,
    #[command(flatten)]
    pub(crate) files: FileArguments,
    #[command(flatten)]
    pub(crate) limits: LimitArguments,
    #[command(flatten)]
    pub(crate) namespaces: NamespaceArguments,
    #[command(flatten)]
    pub(crate) security: SecurityArguments,
    #[command(flatten)]
    pub(crate) network: NetworkArguments,
    #[command(flatten)]
    pub(crate) look: LookArguments,
    /// Arguments of the program; without `--cmd`, the program and its arguments. With `--rootfs`, the `--` may be
    /// left out; without both, the first word is the name of an image
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) arguments: Vec<String>,
    /// Whether `--` stood before them.
    #[arg(skip)]
    pub(crate) separated: bool,
    /// What `--rm` said.
    #[arg(skip)]
    pub(crate) rm: Option<bool>,
    /// All of its flags, for the question which of them asked for a step.
    #[arg(skip)]
    pub(crate) given: Given,
}

/// What is shown and where state is kept.
#[derive(Debug, Args)]
#[command(next_help_heading = "Other")]
pub(crate) struct LookArguments {
    /// After the container's end, or a start that failed, show what the start consisted of: text, json or svg, on
    /// stderr or in a file
    #[arg(long, value_name = "FORMAT[:FILE]", num_args = 0..=1, require_equals = true,
          default_missing_value = "text", value_parser = Explain::parse)]
    pub(crate) explain: Option<Explain>,
    /// Taken for podman's sake
    #[arg(long, value_name = "BACKEND", hide = true, value_parser = settings::parse_events_backend)]
    events_backend: Option<String>,
    /// Directory for what concerns running containers
    #[arg(long, alias = "runroot", value_name = "DIR", hide = true)]
    pub(crate) state_dir: Option<PathBuf>,
    /// Print this help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

/// Prints every step of a container's start, and touches nothing.
#[derive(Debug, Parser)]
#[command(name = "rabbitc plan", disable_help_flag = true, max_term_width = 100, args_override_self = true)]
pub(crate) struct PlanArguments {
    /// How to print it
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub(crate) format: PlanFormat,
    #[command(flatten)]
    pub(crate) run: RunArguments,
}

/// How the timeline is shown, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Explain {
    pub(crate) format: Format,
    /// Standard error, where it is none.
    pub(crate) file: Option<PathBuf>,
}

/// Forms of the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
    Svg,
}

impl Explain {
    fn parse(text: &str) -> std::result::Result<Explain, String> {
        let (format, file) = match text.split_once(':') {
            Some((_, "")) => return Err("the name of the file is empty".to_owned()),
            Some((format, file)) => (format, Some(PathBuf::from(file))),
            None => (text, None),
        };
        let format = Format::parse(format)
            .map_err(|_| "write `text`, `json` or `svg`, or with a file: `svg:start.svg`".to_owned())?;
        Ok(Explain { format, file })
    }
}

impl Format {
    pub(crate) fn parse(text: &str) -> std::result::Result<Format, String> {
        match text {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            "svg" => Ok(Format::Svg),
            _ => Err("write `text`, `json` or `svg`".to_owned()),
        }
    }
}

/// Forms of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    Text,
    Json,
    Markdown,
}

/// Whether the command line may turn out to start a container; told from its verb alone.
pub(crate) fn may_start(arguments: &[OsString]) -> bool {
    let verb = arguments.get(1).and_then(|verb| verb.to_str()).unwrap_or_default();
    !images::VERBS.contains(&verb)
        && !kept::VERBS.contains(&verb)
        && !LIFE_VERBS.contains(&verb)
        && (!containers::VERBS.contains(&verb) || containers::ENTERING.contains(&verb))
        && !matches!(
            verb,
            TIDY | "completion"
                | "info"
                | "events"
                | "system"
                | "volume"
                | "network"
                | "secret"
                | "pod"
                | "plan"
                | "help"
                | "--help"
                | "version"
                | "--version"
                | "-V"
        )
}

/// Parses the command line; help and mistakes are printed here.
pub(crate) fn parse(arguments: Vec<OsString>) -> std::result::Result<Command, ExitCode> {
    let mut words = arguments.into_iter().skip(1).peekable();
    let verb = words.peek().and_then(|verb| verb.to_str()).unwrap_or_default().to_owned();
    let parsed = match verb.as_str() {
        TIDY => {
            let base = words.nth(1).unwrap_or_else(|| "/run/rabbitc".into());
            return Ok(Command::Tidy(EnginePaths::below(PathBuf::from(base))));
        }
        "plan" => read::<PlanArguments>("rabbitc plan", words.skip(1)).map(|mut read| {
            let run = &mut read.arguments.run;
            (run.separated, run.rm, run.given) = (read.separated, read.rm, read.given);
            Command::Plan(Box::new(read.arguments))
        }),
        verb if images::VERBS.contains(&verb) => read_images(words.collect()),
        "ps" => read_plain(words.skip(1)).map(KeptCommand::List).map(Command::Kept),
        "rm" => read_plain(words.skip(1)).map(KeptCommand::Remove).map(Command::Kept),
        "diff" => read_plain(words.skip(1)).map(KeptCommand::Changes).map(Command::Kept),
        "commit" => read_plain(words.skip(1)).map(KeptCommand::Commit).map(Command::Kept),
        "export" => read_plain(words.skip(1)).map(KeptCommand::Export).map(Command::Kept),
        "create" => read_configured(words.skip(1)).and_then(|command| match command {
            Command::Run(arguments) if arguments.is_of_nothing() => Err(Refusal::Words(refused::no_image())),
            Command::Run(arguments) => Ok(Command::Life(LifeCommand::Create(arguments))),
            other => Ok(other),
        }),
        verb if LIFE_VERBS.contains(&verb) => read_life(verb, words.skip(1)).map(Command::Life),
        verb if containers::VERBS.contains(&verb) => {
            read_container(verb, words.skip(1)).map(Command::Containers)
        }
        "events" => read_plain(words.skip(1)).map(Command::Events),
        "info" => read_plain(words.skip(1)).map(SystemCommand::Info).map(Command::System),
        "system" => read_plain::<SystemArguments>(words.skip(1)).map(|read| Command::System(read.command)),
        "completion" => read_plain(words.skip(1)).map(Command::Completion),
        "volume" => read_plain::<VolumeArguments>(words.skip(1)).map(|read| Command::Volumes(read.command)),
        "network" => read_plain::<NetworkVerbs>(words.skip(1)).map(|read| Command::Networks(read.command)),
        "secret" => read_plain::<SecretArguments>(words.skip(1)).map(|read| Command::Secrets(read.command)),
        "pod" => read_plain::<PodArguments>(words.skip(1)).map(|read| Command::Pods(Box::new(read.command))),
        "help" => {
            // `help help` is no more than `help`.
            let mut asked: Vec<OsString> = words.skip_while(|word| word == "help").collect();
            if !asked.is_empty() {
                asked.insert(0, "rabbitc".into());
                asked.push("--help".into());
                return parse(behind_container(verb_first(asked)));
            }
            read_run(["--help".into()])
        }
        "version" => read_plain(words.skip(1)).map(SystemCommand::Version).map(Command::System),
        verb if refused::is_command(verb) => Err(Refusal::Words(refused::command(verb))),
        "run" => read_configured(words.skip(1)).and_then(|command| match &command {
            Command::Run(arguments) if arguments.is_of_nothing() => Err(Refusal::Words(refused::no_image())),
            _ => Ok(command),
        }),
        _ => read_run(words).and_then(|command| match &command {
            Command::Run(arguments) => match arguments.image() {
                Some(word) => Err(Refusal::Words(refused::no_command(word))),
                None => Ok(command),
            },
            _ => Ok(command),
        }),
    };
    parsed.map_err(|refusal| match refusal {
        Refusal::Parser(error) => {
            crate::render::parser(&error);
            if error.use_stderr() { ExitCode::from(crate::FAILED) } else { ExitCode::SUCCESS }
        }
        Refusal::Words(error) => {
            crate::render::error(&error);
            ExitCode::from(crate::FAILED)
        }
    })
}

/// The value of a flag; docker's empty one is as if the flag were not there.
pub(crate) fn said(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|text| !text.is_empty())
}

/// Why a command line is not one.
pub(crate) enum Refusal {
    /// The parser says it, or has printed help.
    Parser(clap::Error),
    /// It was seen before.
    Words(Error),
}

fn read_run(words: impl IntoIterator<Item = OsString>) -> std::result::Result<Command, Refusal> {
    read::<RunArguments>("rabbitc", words).map(|read| {
        let Read { arguments, separated, rm, given } = read;
        Command::Run(Box::new(RunArguments { separated, rm, given, ..arguments }))
    })
}

/// The same with what containers.conf says of new containers before it.
fn read_configured(words: impl IntoIterator<Item = OsString>) -> std::result::Result<Command, Refusal> {
    let words: Vec<OsString> = words.into_iter().collect();
    // What is wrong with the command line is told below.
    let given = normal::normalise(&RunArguments::command(), words.iter().cloned()).unwrap_or_default();
    let configured = configured::flags(&given.flags).map_err(Refusal::Words)?;
    read_run(configured.into_iter().chain(words))
}

/// Reads a verb of images: by itself, or behind `image`.
fn read_images(words: Vec<OsString>) -> std::result::Result<Command, Refusal> {
    let word = |index: usize| words.get(index).and_then(|word| word.to_str()).unwrap_or_default();
    let (verb, behind) = match word(0) {
        "image" => (images::behind_image(word(1)), 2),
        verb => (verb, 1),
    };
    let rest = words.iter().skip(behind).cloned();
    let read = match verb {
        "pull" => read_plain(rest).map(ImageCommand::Pull),
        "push" => read_plain(rest).map(ImageCommand::Push),
        "login" => read_plain(rest).map(ImageCommand::Login),
        "logout" => read_plain(rest).map(ImageCommand::Logout),
        "search" => read_plain(rest).map(ImageCommand::Search),
        "images" => read_plain(rest).map(ImageCommand::List),
        "rmi" => read_plain(rest).map(ImageCommand::Remove),
        "tag" => read_plain(rest).map(ImageCommand::Tag),
        "untag" => read_plain(rest).map(ImageCommand::Untag),
        "history" => read_plain(rest).map(ImageCommand::History),
        "inspect" => read_plain(rest).map(ImageCommand::Inspect),
        "save" => read_plain(rest).map(ImageCommand::Save),
        "load" => read_plain(rest).map(ImageCommand::Load),
        "import" => read_plain(rest).map(ImageCommand::Import),
        "manifest" => read_plain(rest).map(ImageCommand::Manifest),
        "image exists" => read_plain(rest).map(ImageCommand::Exists),
        "image mount" => read_plain(rest).map(ImageCommand::Mount),
        "image unmount" => read_plain(rest).map(ImageCommand::Unmount),
        "image prune" => read_plain(rest).map(ImageCommand::Prune),
        "image tree" => read_plain(rest).map(ImageCommand::Tree),
        "image diff" => read_plain(rest).map(ImageCommand::Diff),
        _ if matches!(word(1), "" | "help" | "--help" | "-h") => {
            read_plain::<GroupArguments>(["--help".into()]).and_then(|_| Err(refused("image")))
        }
        _ if self::refused::is_command(word(1)) => Err(refused(&format!("image {}", word(1)))),
        _ => Err(Refusal::Words(self::refused::none_of("rabbitc image", word(1)))),
    };
    return read.map(Command::Images);

    fn refused(words: &str) -> Refusal {
        Refusal::Words(self::refused::command(words))
    }
}

/// Reads a verb of containers that run.
fn read_container(
    verb: &str,
    words: impl IntoIterator<Item = OsString>,
) -> std::result::Result<ContainerCommand, Refusal> {
    match verb {
        "kill" => read_plain(words).map(ContainerCommand::Kill),
        "pause" => read_plain(words).map(ContainerCommand::Pause),
        "unpause" => read_plain(words).map(ContainerCommand::Unpause),
        "top" => read_plain(words).map(ContainerCommand::Top),
        "stats" => read_plain(words).map(ContainerCommand::Stats),
        "port" => read_plain(words).map(ContainerCommand::Port),
        "ports" => read_plain(words).map(ContainerCommand::Ports),
        "wait" => read_plain(words).map(ContainerCommand::Wait),
        "cp" => read_plain(words).map(ContainerCommand::Copy),
        "healthcheck" => read_plain(words).map(ContainerCommand::Health),
        "update" => read_plain(words).map(|read| ContainerCommand::Update(Box::new(read))),
        _ => read_plain(words).map(ContainerCommand::Exec),
    }
}

/// Reads the arguments of a verb that starts nothing.
pub(crate) fn read_plain<T: CommandFactory + FromArgMatches>(
    words: impl IntoIterator<Item = OsString>,
) -> std::result::Result<T, Refusal> {
    // As everywhere, the last of two counts.
    let mut command = taking_any_value(with_podmans_directories(T::command().args_override_self(true)));
    let name = command.get_name().to_owned();
    let words = with_plain_flags(&command, words);
    let line = std::iter::once(OsString::from(&name)).chain(words);
    command
        .try_get_matches_from_mut(line)
        .and_then(|mut matches| T::from_arg_matches_mut(&mut matches))
        .map_err(|error| match mistakes::in_our_words(&error, &command) {
            Some(error) => Refusal::Words(error),
            None if error.kind() == clap::error::ErrorKind::MissingRequiredArgument => {
                let error = Error::invalid(name.clone(), mistakes::missing(&error).to_owned());
                Refusal::Words(error.with_hint(format!("`{name} --help` shows how")))
            }
            None => Refusal::Parser(error.format(&mut command)),
        })
}

/// The same words with `--flag=true` as the flag alone, and `--flag=false` as nothing, as with docker and podman. A verb behind whose
/// words another program's stand is left as it is.
fn with_plain_flags(command: &clap::Command, words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    fn names(command: &clap::Command, found: &mut Vec<String>) {
        let flags = command.get_arguments().filter(|flag| matches!(flag.get_action(), ArgAction::SetTrue));
        found.extend(flags.filter_map(|flag| flag.get_long().map(str::to_owned)));
        command.get_subcommands().for_each(|below| names(below, found));
    }
    let mut words = words.into_iter();
    let takes_program = command.get_arguments().any(clap::Arg::is_trailing_var_arg_set);
    let mut known = Vec::new();
    if !takes_program {
        names(command, &mut known);
    }
    let mut plain: Vec<OsString> = Vec::new();
    for word in words.by_ref() {
        if word == "--" {
            plain.push(word);
            break;
        }
        let flag = word.to_str().and_then(|text| text.strip_prefix("--")?.split_once('='));
        match flag.filter(|(name, _)| known.iter().any(|one| one == name)) {
            Some((name, value)) => match normal::boolean(name, Some(value.as_ref())) {
                Ok(true) => plain.push(format!("--{name}").into()),
                Ok(false) => plain.retain(|earlier| *earlier != *format!("--{name}")),
                // The parser says what is wrong with it.
                Err(_) => plain.push(word),
            },
            None => plain.push(word),
        }
    }
    plain.extend(words);
    plain
}

/// As with docker and podman, the word behind a flag that takes one is its value, whatever it begins with.
fn taking_any_value(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|flag| {
        let takes_next =
            flag.get_action().takes_values() && !flag.is_positional() && !flag.is_require_equals_set();
        if takes_next { flag.allow_hyphen_values(true) } else { flag }
    });
    command.mut_subcommands(taking_any_value)
}

/// Podman's verbs all take the directories of what is kept and of what runs, where these mean nothing, too.
fn with_podmans_directories(mut command: clap::Command) -> clap::Command {
    for name in ["root", "runroot"] {
        let is_own =
            |command: &clap::Command| command.get_arguments().any(|own| own.get_long() == Some(name));
        if !is_own(&command) && !command.get_subcommands().any(is_own) {
            let flag = clap::Arg::new(name).long(name).value_name("DIR").hide(true).global(true);
            command = command.arg(flag.value_parser(clap::value_parser!(PathBuf)));
        }
    }
    command
}

/// A command line, read.
struct Read<T> {
    arguments: T,
    /// Whether `--` stood before the program's.
    separated: bool,
    rm: Option<bool>,
    given: Given,
}

/// Reads what stands behind `program`, which is how its usage begins.
fn read<T: CommandFactory + FromArgMatches>(
    program: &str,
    words: impl IntoIterator<Item = OsString>,
) -> std::result::Result<Read<T>, Refusal> {
    let mut command = T::command();
    let normal = normal::normalise(&command, words).map_err(Refusal::Words)?;
    if let Some(word) = normal.words.iter().find(|word| word.to_str().is_none()) {
        let shown = word.to_string_lossy();
        let error = Error::invalid("arguments", format!("`{shown}` is not UTF-8"));
        let hint = "the container's config is JSON, which can't hold other bytes; rename the file, or pass it by a pipe";
        return Err(Refusal::Words(error.with_hint(hint)));
    }
    if let Some(error) = normal.flags.iter().find_map(|flag| mistakes::not_text(flag, &command)) {
        return Err(Refusal::Words(error));
    }
    let given = Given::new(&normal.flags);
    let mut line = vec![OsString::from(program)];
    line.extend(normal.flags);
    if !normal.words.is_empty() {
        line.push("--".into());
        line.extend(normal.words);
    }
    let arguments = command
        .try_get_matches_from_mut(line)
        .and_then(|mut matches| T::from_arg_matches_mut(&mut matches))
        .map_err(|error| match mistakes::in_our_words(&error, &command) {
            Some(error) => Refusal::Words(error),
            None => Refusal::Parser(error.format(&mut command)),
        })?;
    Ok(Read { arguments, separated: normal.separated, rm: normal.rm, given })
}

impl RunArguments {
    /// The name of an image: the first word, where no root is given and no `--` stands before it.
    pub(crate) fn image(&self) -> Option<&str> {
        self.arguments.first().map(String::as_str).filter(|_| !self.separated && self.files.rootfs.is_none())
    }

    /// Whether they name nothing that is to run, as where a script's variable is empty.
    fn is_of_nothing(&self) -> bool {
        !self.separated
            && self.arguments.is_empty()
            && self.files.rootfs.is_none()
            && self.process.cmd.is_none()
    }

    /// What they mean, in a container of `image` where they name one.
    pub(crate) fn options(&self, terminal: TerminalMode, image: Option<&ReadyImage>) -> Result<RunOptions> {
        let arguments = &self.arguments[usize::from(image.is_some())..];
        let mut files = self.files.options()?;
        if let Some(image) = image {
            files.root = RootOptions::Image(image.root.clone());
        } else {
            self.of_image.check_none(self.files.rootfs.as_ref())?;
        }
        if files.may_need_volumes() {
            files.volume_store = Some(VolumeStore::of(self.of_image.root.as_deref())?);
        }
        let mut secrets = self.files.secrets()?;
        if !secrets.requests.is_empty() {
            secrets.store = Some(SecretStore::of(self.of_image.root.as_deref())?);
        }
        let options = RunOptions {
            process: self.process.options(terminal, arguments, image.map(|image| &image.defaults))?,
            files,
            limits: self.limits.options()?,
            namespaces: self.namespaces.options()?,
            security: self.security.options()?,
            network: self
                .network
                .options(image.map(|image| &image.defaults), self.of_image.root.as_deref())?,
            secrets,
            stay: self.stay(image)?,
        };
        options.naming_peers_by_id(&self.containers()?)
    }

    /// Where what it writes is, if that is on the disk.
    fn stay(&self, image: Option<&ReadyImage>) -> Result<Option<(KeptContainers, Stay)>> {
        match self.way_of_life(image)? {
            Life::Own(Some(stay)) => Ok(Some((self.containers()?, stay))),
            Life::Own(None) | Life::LivingOn(_) => Ok(None),
        }
    }

    /// The caller's containers.
    pub(crate) fn containers(&self) -> Result<KeptContainers> {
        KeptContainers::of(self.of_image.root.as_deref())
    }

    pub(crate) fn paths(&self) -> EnginePaths {
        let Some(directory) = &self.look.state_dir else { return EnginePaths::of_caller() };
        // A process that tidies up later runs elsewhere.
        EnginePaths::below(std::path::absolute(directory).unwrap_or_else(|_| directory.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_run(arguments: &[&str]) -> RunArguments {
        match read_run(arguments.iter().map(OsString::from)) {
            Ok(Command::Run(arguments)) => *arguments,
            _ => panic!("legal arguments: {arguments:?}"),
        }
    }

    #[test]
    fn flags_of_the_original_keep_their_short_forms() {
        let arguments = parse_run(&[
            "-r",
            "/r",
            "-c",
            "/bin/x",
            "-h",
            "name",
            "-n",
            "br9",
            "-i",
            "10.0.0.1/24",
            "-t",
            "10.0.0.9/24",
        ]);
        let options = arguments.options(TerminalMode::Inherit, None).expect("legal");
        assert_eq!(options.files.root, RootOptions::Directory("/r".into()));
        assert_eq!(options.process.command, ["/bin/x"]);
        assert_eq!(options.namespaces.hostname(), "name");
        assert_eq!(options.network.bridge(), "br9");
        assert_eq!(options.network.subnet(), Some("10.0.0.1/24"));
        assert_eq!(options.network.container_ip.as_deref(), Some("10.0.0.9/24"));
    }

    #[test]
    fn command_is_split_as_a_shell_does_and_arguments_follow() {
        let options = |arguments: &[&str]| {
            parse_run(arguments).options(TerminalMode::Inherit, None).expect("legal").process.command
        };
        assert_eq!(options(&["--cmd=/bin/echo 'a b' c"]), ["/bin/echo", "a b", "c"]);
        assert_eq!(options(&["--cmd=/bin/echo", "--", "-n", "x"]), ["/bin/echo", "-n", "x"]);
        assert_eq!(options(&["--", "/bin/echo", "x"]), ["/bin/echo", "x"]);
        assert_eq!(
            options(&["--rootfs=/r", "/bin/echo", "--rm", "--", "x"]),
            ["/bin/echo", "--rm", "--", "x"]
        );
        assert_eq!(options(&["--rootfs", "/r", "--cmd=/bin/echo", "x"]), ["/bin/echo", "x"]);
        assert_eq!(options(&[]), ["/bin/sh"]);
    }

    #[test]
    fn word_without_a_root_is_the_name_of_an_image() {
        let image = |arguments: &[&str]| parse_run(arguments).image().map(str::to_owned);
        let alone = |words: &[&str]| parse(words.iter().map(OsString::from).collect());
        for words in [&["rabbitc", "plna"][..], &["rabbitc", "--rm", "run", "alpine"], &["rabbitc", "ls"]] {
            assert!(alone(words).is_err(), "without `run` nothing is fetched: {words:?}");
        }
        assert!(matches!(alone(&["rabbitc", "run", "alpine"]), Ok(Command::Run(_))));
        assert_eq!(image(&["--rm", "alpine", "ls", "-l"]).as_deref(), Some("alpine"));
        for none in [&["--", "alpine"][..], &["--rootfs=/r", "alpine"], &["--rootfs", "/r", "alpine"], &[]] {
            assert_eq!(image(none), None, "{none:?}");
        }
    }

    #[test]
    fn last_of_two_values_counts() {
        let arguments = parse_run(&["--hostname=a", "--hostname=b", "-e", "A=1", "-e", "B=2"]);
        assert_eq!(arguments.namespaces.hostname.as_deref(), Some("b"));
        assert_eq!(arguments.process.env, ["A=1", "B=2"]);
    }
}
