//! The timeline as a picture that stands by itself: no script, no font and no style from elsewhere, for light and dark
//! pages. Above, both sides at a glance; below, one line for each step. What a step is for shows when it is pointed at.

use std::fmt::Write;

use engine::{Side, StepKind, StepTiming};

use super::{heading, summary, took, total};
use crate::given::asked_by;

const WIDTH: f64 = 1180.0;
/// Where the bars begin and end.
const LEFT: f64 = 590.0;
const RIGHT: f64 = 1096.0;
const MARGIN: f64 = 24.0;
const LANES_TOP: f64 = 138.0;
const LANE: f64 = 26.0;
const ROWS_TOP: f64 = 236.0;
const ROW: f64 = 20.0;
/// What fits before the bars, in characters; the name's are bold, and count more.
const LABEL: usize = 62;
const NAME: usize = 46;

/// Sorts of steps with their class and what the legend says. The colours differ in lightness as well as in hue
/// (after Okabe and Ito), and no meaning is in them alone: each line has its words.
const KINDS: [(StepKind, &str, &str); 8] = [
    (StepKind::Bookkeeping, "bookkeeping", "records and waiting"),
    (StepKind::Cgroup, "cgroup", "cgroup"),
    (StepKind::Namespaces, "namespaces", "namespaces"),
    (StepKind::FileSystems, "files", "file systems"),
    (StepKind::Network, "network", "network"),
    (StepKind::Process, "process", "process"),
    (StepKind::Rights, "rights", "rights"),
    (StepKind::Programs, "programs", "programs"),
];

const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;font-size:12px;fill:#1f2328}\
.page{fill:#fff;stroke:#d1d9e0}.title{font-size:20px;font-weight:600}tspan.failed{font-weight:600}.dim{fill:#59636e}.head{font-weight:600}\
.number,.took{font-variant-numeric:tabular-nums;text-anchor:end}.name{font-weight:600}.side,.number{fill:#59636e}\
.line{stroke:#d1d9e0;stroke-width:1}.band{fill:#818b98;fill-opacity:.09}.tick{text-anchor:middle;font-size:11px}\
.step:hover .band{fill-opacity:.25}\
.bookkeeping{fill:#7a828c}.cgroup{fill:#8a5a00}.namespaces{fill:#7b3fa0}.files{fill:#0072b2}.network{fill:#00795a}\
.process{fill:#66741a}.rights{fill:#b8457f}.programs{fill:#d55e00}.failed{fill:#cf222e}text.failed{font-weight:600}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.page{fill:#0d1117;stroke:#3d444d}.line{stroke:#3d444d}\
.dim,.side,.number{fill:#9198a1}.band{fill-opacity:.13}\
.bookkeeping{fill:#9aa3ad}.cgroup{fill:#d9a441}.namespaces{fill:#b88be0}.files{fill:#56b4e9}.network{fill:#2fc39a}\
.process{fill:#b3c24a}.rights{fill:#f08bb8}.programs{fill:#ff8f40}.failed{fill:#ff6a69}}";

/// The whole document.
pub(crate) fn svg(timeline: &[StepTiming]) -> String {
    // In the order in which things happened; the numbers are the plan's.
    let mut steps: Vec<&StepTiming> = timeline.iter().collect();
    steps.sort_by_key(|timing| (timing.start_nanoseconds, timing.step.number));
    let scale = Scale { total: total(timeline).max(1) };
    let height = ROWS_TOP + ROW * steps.len() as f64 + MARGIN;
    let (title, summary) = (escape(&heading(timeline)), escape(&summary(timeline)));
    let mut picture = Picture { text: String::new() };
    picture.add(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" aria-label=\"{title}: {summary}\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"page\" x=\".5\" y=\".5\" width=\"{}\" height=\"{}\" rx=\"8\"/>\n\
         <text class=\"title\" x=\"{MARGIN}\" y=\"40\">{title}</text>\n\
         <text class=\"dim\" x=\"{MARGIN}\" y=\"62\">{summary}</text>\n",
        WIDTH - 1.0,
        height - 1.0,
    ));
    picture.legend(timeline);
    picture.axis(&scale, height);
    picture.lanes(&steps, &scale);
    for (index, timing) in steps.iter().enumerate() {
        picture.row(timing, &scale, ROWS_TOP + ROW * index as f64);
    }
    picture.add(format_args!("</svg>\n"));
    picture.text
}

/// From nanoseconds to the place of a bar.
struct Scale {
    total: u64,
}

impl Scale {
    fn at(&self, nanoseconds: u64) -> f64 {
        LEFT + (RIGHT - LEFT) * nanoseconds as f64 / self.total as f64
    }

    /// A bar's beginning and width; the shortest is still to be seen, and none leaves the picture.
    fn bar(&self, timing: &StepTiming) -> (f64, f64) {
        let width = (self.at(timing.end_nanoseconds) - self.at(timing.start_nanoseconds)).max(2.0);
        (self.at(timing.start_nanoseconds).min(RIGHT - width), width)
    }

    /// The distance of two marks in nanoseconds: 1, 2 or 5 times a power of ten, some four to nine of them.
    fn step(&self) -> u64 {
        let mut step = 1;
        loop {
            for factor in [1, 2, 5] {
                if self.total / (step * factor) < 9 {
                    return step * factor;
                }
            }
            step *= 10;
        }
    }
}

struct Picture {
    text: String,
}

impl Picture {
    fn add(&mut self, what: std::fmt::Arguments<'_>) {
        self.text.write_fmt(what).expect("a string takes all");
    }

    fn legend(&mut self, timeline: &[StepTiming]) {
        let mut x = MARGIN;
        for (kind, class, name) in KINDS {
            if timeline.iter().all(|timing| timing.step.kind != kind) {
                continue;
            }
            self.add(format_args!(
                "<rect class=\"{class}\" x=\"{x}\" y=\"80\" width=\"12\" height=\"12\" rx=\"2\"/>\
                 <text x=\"{}\" y=\"90\">{name}</text>\n",
                x + 18.0
            ));
            x += 48.0 + 6.1 * name.len() as f64;
        }
        if timeline.iter().any(|timing| timing.failed) {
            self.add(format_args!(
                "<rect class=\"failed\" x=\"{x}\" y=\"80\" width=\"12\" height=\"12\" rx=\"2\"/>\
                 <text class=\"failed\" x=\"{}\" y=\"90\">failed</text>\n",
                x + 18.0
            ));
        }
    }

    fn axis(&mut self, scale: &Scale, height: f64) {
        let step = scale.step();
        let digits = usize::from(step < 1_000_000) + usize::from(step < 100_000) + usize::from(step < 10_000);
        for mark in (0..=scale.total / step).map(|number| number * step) {
            let x = scale.at(mark);
            self.add(format_args!(
                "<path class=\"line\" d=\"M{x:.1} {}V{:.1}\"/><text class=\"tick dim\" x=\"{x:.1}\" y=\"{}\">{:.digits$}</text>\n",
                LANES_TOP - 8.0,
                height - MARGIN,
                LANES_TOP - 14.0,
                mark as f64 / 1e6
            ));
        }
        self.add(format_args!(
            "<text class=\"dim\" x=\"{:.1}\" y=\"{}\">ms</text>\n",
            RIGHT + 22.0,
            LANES_TOP - 14.0
        ));
        self.add(format_args!(
            "<text class=\"head number\" x=\"50\" y=\"{0}\">#</text><text class=\"head\" x=\"62\" y=\"{0}\">side</text>\
             <text class=\"head\" x=\"130\" y=\"{0}\">step, in the order of their beginnings</text>\
             <text class=\"head took\" x=\"{1}\" y=\"{0}\">took µs</text>\n",
            ROWS_TOP - 10.0,
            WIDTH - MARGIN
        ));
    }

    /// Both sides, all steps of each in one line.
    fn lanes(&mut self, steps: &[&StepTiming], scale: &Scale) {
        for (index, (side, what)) in [
            (Side::Host, "the command, outside"),
            (Side::Container, "its child, which becomes the container"),
        ]
        .into_iter()
        .enumerate()
        {
            let y = LANES_TOP + (LANE + 6.0) * index as f64;
            self.add(format_args!(
                "<text class=\"name\" x=\"{MARGIN}\" y=\"{0}\">{side}</text><text class=\"dim\" x=\"130\" y=\"{0}\">{what}</text>\
                 <rect class=\"band\" x=\"{LEFT}\" y=\"{y}\" width=\"{1}\" height=\"{LANE}\"/>\n",
                y + 17.0,
                RIGHT - LEFT
            ));
            for timing in steps.iter().filter(|timing| timing.step.side == side) {
                let (x, width) = scale.bar(timing);
                // A gap between neighbours, where there is room for one.
                let width = if width > 4.0 { width - 0.8 } else { width };
                self.add(format_args!(
                    "<rect class=\"{}\" x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{LANE}\">{}</rect>\n",
                    class(timing),
                    tooltip(timing)
                ));
            }
        }
    }

    /// One step.
    fn row(&mut self, timing: &StepTiming, scale: &Scale, y: f64) {
        let (x, width) = scale.bar(timing);
        let step = &timing.step;
        let baseline = y + 14.0;
        let name = shorten_inside(&step.name, NAME);
        let taken = name.chars().count() * 9 / 8 + if timing.failed { 8 } else { 0 };
        let room = LABEL.saturating_sub(taken);
        self.add(format_args!(
            "<g class=\"step\" id=\"step-{}\">{}<rect class=\"band\" x=\"{MARGIN}\" y=\"{:.1}\" width=\"{}\" height=\"{}\" \
             {}/><text class=\"number\" x=\"50\" y=\"{baseline}\">{}</text><text class=\"side\" x=\"62\" y=\"{baseline}\">{}</text>\
             <text x=\"130\" y=\"{baseline}\">{}<tspan class=\"name\">{}</tspan> <tspan class=\"dim\">{}</tspan></text>\
             <rect class=\"{}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"12\" rx=\"1.5\"/>\
             <text class=\"took\" x=\"{}\" y=\"{baseline}\">{:.1}</text></g>\n",
            step.number,
            tooltip(timing),
            y,
            WIDTH - 2.0 * MARGIN,
            ROW,
            // Every line can be pointed at; those of the host are shaded.
            if step.side == Side::Host { "" } else { "opacity=\"0\"" },
            step.number,
            step.side,
            if timing.failed { "<tspan class=\"failed\">failed:</tspan> " } else { "" },
            escape(&name),
            escape(&shorten(&step.object, room)),
            class(timing),
            y + 4.0,
            WIDTH - MARGIN,
            took(timing) as f64 / 1e3,
        ));
    }
}

fn class(timing: &StepTiming) -> &'static str {
    if timing.failed {
        return "failed";
    }
    KINDS.iter().find(|(kind, ..)| *kind == timing.step.kind).map_or("process", |(_, class, _)| *class)
}

/// All that there is to say of a step, shown when it is pointed at.
fn tooltip(timing: &StepTiming) -> String {
    let step = &timing.step;
    let object = if step.object.is_empty() { String::new() } else { format!(" {}", step.object) };
    let text = format!(
        "{}{}. {}{object}\n{}\nasked for by: {}\n{}, at {:.2} ms, took {:.1} µs",
        if timing.failed { "failed: " } else { "" },
        step.number,
        step.name,
        step.why,
        asked_by(step),
        step.side,
        timing.start_nanoseconds as f64 / 1e6,
        took(timing) as f64 / 1e3
    );
    format!("<title>{}</title>", escape(&text))
}

/// Cut to `room` characters, with a sign that it was.
fn shorten(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let kept: String = text.chars().take(room.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Cut to `room` characters in the middle: names end in what they are about.
fn shorten_inside(text: &str, room: usize) -> String {
    let count = text.chars().count();
    if count <= room {
        return text.to_owned();
    }
    let head = room / 4;
    let kept: String = text.chars().take(head).collect();
    let tail: String = text.chars().skip(count + head + 1 - room).collect();
    format!("{kept}…{tail}")
}

/// Text as XML 1.0 takes it: its signs escaped, and what it has no place for replaced.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(character),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            character if character.is_control() => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_any_kind_is_text_in_the_picture() {
        assert_eq!(escape("<a b=\"c\">&'"), "&lt;a b=&quot;c&quot;&gt;&amp;'");
        assert_eq!(escape("\u{1b}[31m\u{0}\u{ffff}\r"), "\u{fffd}[31m\u{fffd}\u{fffd}\u{fffd}");
    }

    #[test]
    fn objects_are_cut_between_characters() {
        assert_eq!(shorten("äöü", 3), "äöü");
        assert_eq!(shorten("äöüß", 3), "äö…");
        assert_eq!(shorten("ab", 0), "…");
        assert_eq!(shorten_inside("0123456789", 8), "01…56789");
        assert_eq!(shorten_inside("0123456789", 10), "0123456789");
    }

    #[test]
    fn marks_of_the_axis_are_few_and_round() {
        for total in [1, 999, 10_000, 8_840_000, 123_456_789, 61_000_000_000] {
            let step = Scale { total }.step();
            assert!(total / step < 9, "{total}");
            assert!([1, 2, 5].contains(&step.to_string()[..1].parse::<u32>().expect("a digit")), "{total}");
        }
    }
}
