//! `rabbitc manifest`: lists of images for several machines.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Args, Parser, Subcommand};
use engine::{
    Error, ExistingList, ImageName, ListImage, ListNotes, ListPart, ListPush, ManifestForm, NewList,
    PushedImages, Result,
};

use super::progress::{Quiet, Shown};
use super::push::Format;
use super::registries::{AccessArguments, open, open_to_change, open_to_read};
use super::remove::each;
use super::{failed, parse_names, print};

/// Makes lists of images for several machines (image indexes), and sends them to registries.
#[derive(Debug, Parser)]
#[command(name = "rabbitc manifest", max_term_width = 100)]
pub(crate) struct ManifestArguments {
    #[command(subcommand)]
    command: ManifestCommand,
}

#[derive(Debug, Subcommand)]
enum ManifestCommand {
    /// Makes a list
    Create(CreateArguments),
    /// Puts images into a list
    Add(AddArguments),
    /// Says more of an image in a list, or something else
    Annotate(AnnotateArguments),
    /// Shows a list that is here, or else what a registry has by this name
    Inspect(InspectArguments),
    /// Sends a list with its images to a registry
    Push(PushArguments),
    /// Takes an image out of a list
    Remove(EntryArguments),
    /// Removes lists; their images stay
    Rm(ListsArguments),
    /// Exits with 0 if a list is here, and with 1 if not
    Exists(ListArguments),
}

/// Where lists are.
#[derive(Debug, Args)]
struct Root {
    /// Directory that the images are kept below [default: /var/lib/rabbitc; without root ~/.local/share/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// Makes a list.
#[derive(Debug, Args)]
struct CreateArguments {
    /// What it is to be called
    #[arg(value_name = "LIST")]
    list: String,
    /// Images to be put into it, as with `add`
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// Of an image that stands for several machines, all
    #[arg(long)]
    all: bool,
    /// Go on with a list of this name where there is one
    #[arg(short, long)]
    amend: bool,
    /// Notes of the list itself
    #[arg(long, value_name = "NAME=VALUE")]
    annotation: Vec<String>,
    #[command(flatten)]
    access: AccessArguments,
    #[command(flatten)]
    root: Root,
}

/// Puts images into a list: those that are here, else those that registries have, of which the manifest is fetched alone.
#[derive(Debug, Args)]
struct AddArguments {
    /// The list
    #[arg(value_name = "LIST")]
    list: String,
    /// Images; with `docker://` before it in its registry alone, with `containers-storage:` here alone
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Of an image that stands for several machines, all
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    notes: NoteArguments,
    #[command(flatten)]
    access: AccessArguments,
    #[command(flatten)]
    root: Root,
}

/// What can be said of an image in a list.
#[derive(Debug, Args)]
struct NoteArguments {
    /// The processor that it is for: `amd64`, `arm64`
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,
    /// The system that it is for
    #[arg(long, value_name = "OS")]
    os: Option<String>,
    /// The variant of the processor: `v8`
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,
    /// The version of the system
    #[arg(long, value_name = "VERSION")]
    os_version: Option<String>,
    /// What the system must have
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    os_features: Vec<String>,
    /// What the processor must have
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    features: Vec<String>,
    /// A note
    #[arg(long, value_name = "NAME=VALUE")]
    annotation: Vec<String>,
}

/// Says more of an image in a list, or something else.
#[derive(Debug, Args)]
struct AnnotateArguments {
    /// The list
    #[arg(value_name = "LIST")]
    list: String,
    /// The digest of the image, or the name by which it was added
    #[arg(value_name = "IMAGE", required_unless_present = "index")]
    image: Option<String>,
    /// Give the notes to the list itself
    #[arg(long, conflicts_with = "image")]
    index: bool,
    #[command(flatten)]
    notes: NoteArguments,
    #[command(flatten)]
    root: Root,
}

/// Shows a list that is here, or else what a registry has by this name.
#[derive(Debug, Args)]
struct InspectArguments {
    /// Its name
    #[arg(value_name = "LIST")]
    list: String,
    #[command(flatten)]
    access: AccessArguments,
    #[command(flatten)]
    root: Root,
}

/// Sends a list with its images to a registry: what it has already is not sent again, and what is not here is taken from where it
/// is.
#[derive(Debug, Args)]
struct PushArguments {
    /// The list
    #[arg(value_name = "LIST")]
    list: String,
    /// The name that it is to have in the registry [default: its own]
    #[arg(value_name = "DESTINATION")]
    destination: Option<String>,
    /// Its images, too; without, the registry must have them
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true",
          default_missing_value = "true", action = ArgAction::Set)]
    all: bool,
    /// Remove the list once it is pushed
    #[arg(short, long, alias = "rm")]
    purge: bool,
    /// Say nothing but the digest
    #[arg(short, long)]
    quiet: bool,
    /// Write the digest that it has in the registry into this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    /// In whose words it and its images are to be: OCI's or Docker's; in others than its own, digests change [default: its own]
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,
    #[command(flatten)]
    access: AccessArguments,
    #[command(flatten)]
    root: Root,
}

/// Takes an image out of a list.
#[derive(Debug, Args)]
struct EntryArguments {
    /// The list
    #[arg(value_name = "LIST")]
    list: String,
    /// The digest of the image, or the name by which it was added
    #[arg(value_name = "IMAGE")]
    image: String,
    #[command(flatten)]
    root: Root,
}

/// Removes lists; their images stay.
#[derive(Debug, Args)]
struct ListsArguments {
    /// The lists
    #[arg(required = true, value_name = "LIST")]
    lists: Vec<String>,
    #[command(flatten)]
    root: Root,
}

/// Exits with 0 if a list is here, and with 1 if not.
#[derive(Debug, Args)]
struct ListArguments {
    /// The list
    #[arg(value_name = "LIST")]
    list: String,
    #[command(flatten)]
    root: Root,
}

/// Does it, and says what became of it.
pub(super) fn manifest(arguments: &ManifestArguments) -> ExitCode {
    let outcome = match &arguments.command {
        ManifestCommand::Create(arguments) => create(arguments),
        ManifestCommand::Add(arguments) => add(arguments),
        ManifestCommand::Annotate(arguments) => annotate(arguments),
        ManifestCommand::Inspect(arguments) => inspect(arguments),
        ManifestCommand::Push(arguments) => push(arguments),
        ManifestCommand::Remove(arguments) => remove(arguments),
        ManifestCommand::Rm(arguments) => return remove_lists(arguments),
        ManifestCommand::Exists(arguments) => return exists(arguments),
    };
    outcome.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
}

impl NoteArguments {
    fn notes(&self) -> Result<ListNotes> {
        Ok(ListNotes {
            architecture: self.arch.clone(),
            os: self.os.clone(),
            variant: self.variant.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            features: self.features.clone(),
            annotations: pairs(&self.annotation)?,
        })
    }
}

fn pairs(texts: &[String]) -> Result<Vec<(String, String)>> {
    let pair = |text: &String| {
        let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
        pair.map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(|| {
            let error = Error::invalid("--annotation", format!("`{}` is none", text.escape_debug()));
            error.with_hint("write `NAME=VALUE`")
        })
    };
    texts.iter().map(pair).collect()
}

fn parse_images(texts: &[String]) -> Result<Vec<ListImage>> {
    texts.iter().map(|text| text.parse()).collect()
}

/// Refuses to give a password to several registries, of which one at most is meant.
fn check_given(images: &[ListImage], credentials: Option<&str>) -> Result<()> {
    let mut registries: Vec<Option<&str>> = images.iter().map(ListImage::registry).collect();
    registries.sort_unstable();
    registries.dedup();
    if credentials.is_none() || registries.len() < 2 {
        return Ok(());
    }
    let reason = "the images are in several registries, and the password is for one".to_owned();
    Err(Error::invalid("--creds", reason).with_hint("add them by several commands, or use `rabbitc login`"))
}

fn part(all: bool) -> ListPart {
    if all { ListPart::All } else { ListPart::One }
}

/// As podman's, all of them print the list's id.
fn create(arguments: &CreateArguments) -> Result<()> {
    let images = parse_images(&arguments.images)?;
    // Before a password is asked for.
    check_given(&images, arguments.access.credentials())?;
    let new = NewList {
        name: arguments.list.parse()?,
        existing: if arguments.amend { ExistingList::Amended } else { ExistingList::Refused },
        images,
        part: part(arguments.all),
        annotations: pairs(&arguments.annotation)?,
        access: arguments.access.access()?,
    };
    let id = open(arguments.root.root.as_deref())?.create_list(&new)?;
    print(&format!("{id}\n"))
}

fn add(arguments: &AddArguments) -> Result<()> {
    let list: ImageName = arguments.list.parse()?;
    let (new, notes) = (parse_images(&arguments.images)?, arguments.notes.notes()?);
    check_given(&new, arguments.access.credentials())?;
    let access = arguments.access.access()?;
    let images = open(arguments.root.root.as_deref())?;
    let mut id = String::new();
    for image in &new {
        id = images.add_to_list(&list, image, part(arguments.all), &notes, &access)?;
    }
    print(&format!("{id}\n"))
}

fn annotate(arguments: &AnnotateArguments) -> Result<()> {
    let list: ImageName = arguments.list.parse()?;
    let notes = arguments.notes.notes()?;
    let images = open_to_change(arguments.root.root.as_deref())?;
    let id = match &arguments.image {
        Some(image) => images.annotate_list(&list, image, &notes)?,
        None if notes == (ListNotes { annotations: notes.annotations.clone(), ..ListNotes::default() }) => {
            images.annotate_index(&list, &notes.annotations)?
        }
        None => {
            let error = Error::invalid("--index", "a list has annotations, and no platform".to_owned());
            return Err(error.with_hint("name an image for the other flags"));
        }
    };
    print(&format!("{id}\n"))
}

fn inspect(arguments: &InspectArguments) -> Result<()> {
    let list: ImageName = arguments.list.parse()?;
    let access = arguments.access.access()?;
    let text = open_to_read(arguments.root.root.as_deref())?.inspect_list(&list, &access)?;
    print(&format!("{}\n", indented(&String::from_utf8_lossy(&text))))
}

fn push(arguments: &PushArguments) -> Result<()> {
    let request = ListPush {
        name: arguments.list.parse()?,
        destination: arguments.destination.clone(),
        images: if arguments.all { PushedImages::All } else { PushedImages::None },
        form: arguments.format.map(ManifestForm::from),
        access: arguments.access.access()?,
    };
    let root = arguments.root.root.as_deref();
    let images = if arguments.purge { open_to_change(root) } else { open_to_read(root) }?;
    let pushed = match !arguments.quiet && std::io::stderr().is_terminal() {
        true => images.push_list(&request, &Shown::new(&arguments.list)),
        false => images.push_list(&request, &Quiet),
    }?;
    if let Some(file) = &arguments.digestfile {
        std::fs::write(file, &pushed.digest).map_err(|error| Error::at_path("write", file, error))?;
    }
    if arguments.purge {
        images.remove_list(&request.name)?;
    }
    // As docker's.
    print(&format!("{}\n", pushed.digest))
}

fn remove(arguments: &EntryArguments) -> Result<()> {
    let list: ImageName = arguments.list.parse()?;
    let images = open_to_change(arguments.root.root.as_deref())?;
    let id = images.remove_from_list(&list, &arguments.image)?;
    print(&format!("{id}\n"))
}

fn remove_lists(arguments: &ListsArguments) -> ExitCode {
    let opened = parse_names(&arguments.lists)
        .and_then(|lists| Ok((lists, open_to_change(arguments.root.root.as_deref())?)));
    match opened {
        Ok((lists, images)) => each(&lists, |list| images.remove_list(list)),
        Err(error) => failed(&error),
    }
}

fn exists(arguments: &ListArguments) -> ExitCode {
    let found = arguments
        .list
        .parse()
        .and_then(|list: ImageName| open_to_read(arguments.root.root.as_deref())?.list_exists(&list));
    match found {
        Ok(is_here) => ExitCode::from(u8::from(!is_here)),
        Err(error) => failed(&error),
    }
}

/// JSON as it is written, with lines and without what moves a terminal's cursor. It was read as JSON before.
fn indented(text: &str) -> String {
    let mut shown = String::new();
    let (mut depth, mut is_text, mut is_escaped) = (0usize, false, false);
    let mut letters = text.chars().filter(|letter| *letter != '\u{feff}').peekable();
    let line = |shown: &mut String, depth: usize| {
        shown.push('\n');
        shown.push_str(&"    ".repeat(depth));
    };
    while let Some(letter) = letters.next() {
        if is_text {
            match letter.is_control() {
                true => shown.push_str(&format!("\\u{:04x}", u32::from(letter))),
                false => shown.push(letter),
            }
            is_text = letter != '"' || is_escaped;
            is_escaped = letter == '\\' && !is_escaped;
            continue;
        }
        match letter {
            letter if letter.is_ascii_whitespace() => {}
            '{' | '[' => {
                shown.push(letter);
                while letters.next_if(char::is_ascii_whitespace).is_some() {}
                if matches!(letters.peek(), Some('}' | ']')) {
                    shown.extend(letters.next());
                } else {
                    depth += 1;
                    line(&mut shown, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut shown, depth);
                shown.push(letter);
            }
            ',' => {
                shown.push(letter);
                line(&mut shown, depth);
            }
            ':' => shown.push_str(": "),
            letter => {
                is_text = letter == '"';
                shown.push(letter);
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_shown_in_its_own_order_and_moves_no_cursor() {
        let text = "{\"b\": [ ], \"a\":{\"x\":\"q\\\"{,}\\\\\",\"y\":[1,true]}, \"c\": \"\u{9b}2J\"}";
        let expected = "{\n    \"b\": [],\n    \"a\": {\n        \"x\": \"q\\\"{,}\\\\\",\n        \"y\": [\n            1,\n            \
                        true\n        ]\n    },\n    \"c\": \"\\u009b2J\"\n}";
        assert_eq!(indented(text), expected);
    }
}
