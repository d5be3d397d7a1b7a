//! Arguments of the verbs of images, as typed.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::{
    DiffArguments, ExistsArguments, HistoryArguments, ImportArguments, InspectArguments, LoadArguments,
    LoginArguments, LogoutArguments, ManifestArguments, MountArguments, PruneArguments, PullArguments,
    PushArguments, SaveArguments, SearchArguments, TagArguments, TreeArguments, UnmountArguments,
    UntagArguments,
};

/// The verbs that stand by themselves; and `image`, behind which all but logins and lists stand.
pub(crate) const VERBS: [&str; 16] = [
    "pull", "push", "login", "logout", "search", "images", "rmi", "tag", "untag", "history", "inspect",
    "save", "load", "import", "manifest", "image",
];

const GROUP: &str = "Commands:
  diff IMAGE                        show what its topmost layer changes
  exists IMAGE                      exit with 0 if it is here, with 1 if not
  history IMAGE                     show how it was made
  import FILE [NAME]                make one of an archive of a root file system
  inspect IMAGE...                  show all that is known of it
  load                              load images from an archive
  ls [REPOSITORY[:TAG]]             list the images that are here
  mount [IMAGE...]                  mount images, read-only, or list those that are mounted
  prune                             remove those without a name, or with --all those not in use
  pull IMAGE...                     fetch images from registries
  push IMAGE [DESTINATION]          send it to a registry
  rm IMAGE...                       remove images
  save IMAGE...                     save images as an archive
  search TERM                       look for images in registries
  tag IMAGE NAME...                 give it further names
  tree IMAGE                        show of which layers it is
  unmount IMAGE...                  unmount images
  untag IMAGE [NAME...]             take names of it away

`rabbitc image COMMAND --help` says more; most of them are commands without `image`, too.";

/// The verb that a word is behind `image`, where docker and podman have other words for some; empty where it is none.
pub(crate) fn behind_image(word: &str) -> &str {
    match word {
        "ls" | "list" => "images",
        "rm" | "remove" => "rmi",
        "exists" => "image exists",
        "prune" => "image prune",
        "tree" => "image tree",
        "diff" => "image diff",
        "mount" => "image mount",
        "unmount" | "umount" => "image unmount",
        "image" | "images" | "rmi" | "login" | "logout" | "manifest" => "",
        word => VERBS.into_iter().find(|verb| *verb == word).unwrap_or_default(),
    }
}

/// What concerns images.
#[derive(Debug, Parser)]
#[command(name = "rabbitc image", max_term_width = 100, after_help = GROUP)]
pub(crate) struct GroupArguments {}

/// One of the verbs.
pub(crate) enum ImageCommand {
    Pull(PullArguments),
    Push(PushArguments),
    Login(LoginArguments),
    Logout(LogoutArguments),
    Search(SearchArguments),
    List(ListArguments),
    Remove(RemoveArguments),
    Tag(TagArguments),
    Untag(UntagArguments),
    Exists(ExistsArguments),
    History(HistoryArguments),
    Inspect(InspectArguments),
    Prune(PruneArguments),
    Tree(TreeArguments),
    Diff(DiffArguments),
    Save(SaveArguments),
    Load(LoadArguments),
    Import(ImportArguments),
    Manifest(ManifestArguments),
    Mount(MountArguments),
    Unmount(UnmountArguments),
}

/// Lists the images that are here.
#[derive(Debug, Parser)]
#[command(name = "rabbitc images", max_term_width = 100)]
pub(crate) struct ListArguments {
    /// Only those of this repository, or of this name; with `*`, `?` and `[…]`
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub(crate) name: Option<String>,
    /// Those that only builds need, too, of which there are none yet
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Only those of which this holds: `dangling=true`, `reference=PATTERN`, `label=NAME[=VALUE]`, `before=IMAGE`,
    /// `since=IMAGE`, `until=24h`, `id=ID`, `digest=DIGEST`
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// Ids alone
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Digests, too
    #[arg(long)]
    pub(crate) digests: bool,
    /// Whole ids
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// `json`, or a line for each such as `{{.Repository}}:{{.Tag}} {{.ID}}`; of Digest, CreatedSince, CreatedAt and Size too
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Without titles of columns
    #[arg(short, long)]
    pub(crate) noheading: bool,
    /// By what they are sorted [default: created, the newest first]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) sort: Option<Order>,
    /// Directory that the images are kept below [default: /var/lib/rabbitc; without root ~/.local/share/rabbitc]
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
}

/// By what a listing is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    Created,
    Id,
    Repository,
    Size,
    Tag,
}

/// Removes names of images, and with its last name the image.
#[derive(Debug, Parser)]
#[command(name = "rabbitc rmi", max_term_width = 100)]
pub(crate) struct RemoveArguments {
    /// Names or ids
    #[arg(required_unless_present = "all", value_name = "IMAGE")]
    pub(crate) names: Vec<String>,
    /// All that there are
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Nothing is wrong with a name that is not there
    #[arg(short, long)]
    pub(crate) ignore: bool,
    /// With all of its names; and nothing is wrong with a name that is not there
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Directory that the images are kept below [default: /var/lib/rabbitc; without root ~/.local/share/rabbitc]
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
}
