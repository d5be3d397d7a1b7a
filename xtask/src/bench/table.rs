//! Tables for people: a column is as wide as it is told to be, the first ones to the left and figures to the right.

/// The columns of a table.
pub struct Table {
    columns: &'static [Column],
}

/// The head of a column, and how wide it is.
pub struct Column {
    head: &'static str,
    width: usize,
    side: Side,
}

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

/// A column of words, without a head.
pub const fn words(width: usize) -> Column {
    Column { head: "", width, side: Side::Left }
}

/// A column of figures.
pub const fn figures(head: &'static str, width: usize) -> Column {
    Column { head, width, side: Side::Right }
}

impl Table {
    /// Prints the head.
    pub fn begin(columns: &'static [Column]) -> Self {
        let table = Self { columns };
        table.row(columns.iter().map(|column| column.head.to_owned()));
        println!(
            "|{}|",
            columns.iter().map(|column| "-".repeat(column.width + 2)).collect::<Vec<_>>().join("|")
        );
        table
    }

    /// Prints a row.
    pub fn row(&self, cells: impl IntoIterator<Item = String>) {
        println!("{}", line(self.columns, cells));
    }
}

fn line(columns: &[Column], cells: impl IntoIterator<Item = String>) -> String {
    let cell = |(column, cell): (&Column, String)| match column.side {
        Side::Left => format!("| {cell:width$} ", width = column.width),
        Side::Right => format!("| {cell:>width$} ", width = column.width),
    };
    columns.iter().zip(cells).map(cell).chain(["|".to_owned()]).collect()
}

/// A figure with so many digits after the point, or a dash where there is none.
pub fn shown(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}

/// Says whether a goal was reached: `reached` is what `name` took of what `other` took.
pub fn verdict(name: &str, other: &str, reached: Option<f64>, goal: f64) {
    match reached {
        Some(reached) => {
            let word = if reached <= goal { "reached" } else { "MISSED" };
            println!("{name}: {reached:.3} of {other} (goal {goal:.3}): {word}");
        }
        None => println!("{name}: nothing to compare with, {other} did not run"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_to_the_left_and_figures_to_the_right() {
        let columns = [words(6), figures("× veth", 6)];
        assert_eq!(line(&columns, ["wrk".to_owned(), shown(Some(0.987), 2)]), "| wrk    |   0.99 |");
        assert_eq!(line(&columns, ["wrk".to_owned(), shown(None, 2)]), "| wrk    |      – |");
    }
}
