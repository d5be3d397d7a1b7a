//! `rabbitc image tree`: of which layers an image is.

use std::path::PathBuf;

use clap::Parser;
use engine::{ImageName, Result, Tree, TreeLayer};

use super::print;
use super::registries::open_to_read;
use super::table::{short, size};

/// Shows of which layers an image is.
#[derive(Debug, Parser)]
#[command(name = "rabbitc image tree", max_term_width = 100)]
pub(crate) struct TreeArguments {
    /// Its name or id
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Which images have all of its layers and others above them, instead
    #[arg(long)]
    whatrequires: bool,
    /// Directory that the images are kept below [default: /var/lib/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

pub(super) fn tree(arguments: &TreeArguments) -> Result<()> {
    let name: ImageName = arguments.image.parse()?;
    let tree = open_to_read(arguments.root.as_deref())?.tree(&name)?;
    let head = format!(
        "Image ID: {}\nTags:     [{}]\nSize:     {}\nImage Layers\n",
        short(&tree.id),
        tree.tags.join(" "),
        size(tree.size)
    );
    let body = match arguments.whatrequires {
        true => above(&tree),
        false => branches(tree.layers.iter().map(layer).collect(), ""),
    };
    print(&format!("{head}{body}"))
}

/// Its topmost layer, and below that what others have above it.
fn above(tree: &Tree) -> String {
    let top = tree.layers.last().map_or_else(|| "(none)".to_owned(), layer);
    let mut text = format!("└── {top}\n");
    for (number, other) in tree.built_on.iter().enumerate() {
        let is_last = number + 1 == tree.built_on.len();
        let (mark, indent) = if is_last { ("└── ", "        ") } else { ("├── ", "    │   ") };
        let mut layers = other.layers.iter().map(layer);
        text.push_str(&format!("    {mark}{}\n", layers.next().unwrap_or_default()));
        text.push_str(&branches(layers.collect(), indent));
    }
    text
}

fn branches(lines: Vec<String>, indent: &str) -> String {
    let last = lines.len().saturating_sub(1);
    let mark = |number: usize| if number == last { "└── " } else { "├── " };
    lines.iter().enumerate().map(|(number, line)| format!("{indent}{}{line}\n", mark(number))).collect()
}

fn layer(layer: &TreeLayer) -> String {
    let mut text = format!("ID: {} Size: {:>7}", short(&layer.id), size(layer.size));
    if !layer.top_of.is_empty() {
        text.push_str(&format!(" Top Layer of: [{}]", layer.top_of.join(" ")));
    }
    text
}
