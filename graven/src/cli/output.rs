//! Standard output: formats, tables, colours.

use super::failure::Exit;
use super::json;
use clap::ValueEnum;
use graven_model::Error;
use std::io::{BufWriter, IsTerminal, StdoutLock, Write};

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people
    Table,
    /// One indented JSON document
    Json,
    /// One JSON object a line
    Ndjson,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Color {
    /// Whether to colour a stream.
    pub(crate) fn applies(self, terminal: bool) -> bool {
        match self {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                terminal
                    && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                    && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        }
    }
}

/// Buffered standard output. A closed pipe ends the command quietly, as `head` expects.
pub(crate) struct Output {
    /// How to print.
    pub(crate) format: Format,
    color: bool,
    writer: BufWriter<StdoutLock<'static>>,
}

impl Output {
    /// Standard output; without a format, a table on a terminal and NDJSON elsewhere.
    pub(crate) fn new(format: Option<Format>, color: Color) -> Output {
        let stdout = std::io::stdout().lock();
        let terminal = stdout.is_terminal();
        let format = format.unwrap_or(if terminal { Format::Table } else { Format::Ndjson });
        Output { format, color: color.applies(terminal), writer: BufWriter::with_capacity(64 << 10, stdout) }
    }

    /// Writes bytes as they are and flushes.
    pub(crate) fn write(mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.put(bytes)?;
        self.flush()
    }

    /// Writes bytes as they are.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.writer.write_all(bytes).map_err(stdout_failed)
    }

    /// Hands everything to the operating system.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        self.writer.flush().map_err(stdout_failed)
    }

    /// Prints one JSON document, or the table made of it, and flushes.
    pub(crate) fn document(
        mut self,
        text: &str,
        table: impl FnOnce() -> anyhow::Result<String>,
    ) -> anyhow::Result<()> {
        let shown = match self.format {
            Format::Table => table()?,
            Format::Json => json::pretty(text) + "\n",
            Format::Ndjson => json::compact(text).into_owned() + "\n",
        };
        self.put(shown.as_bytes())?;
        self.flush()
    }

    /// Prints items one by one; [`Items::end`] closes the list.
    pub(crate) fn items(self, columns: &'static [Column]) -> Items {
        Items { output: self, columns, widths: Vec::new(), printed: 0 }
    }

    /// Whether standard output is coloured.
    pub(crate) fn colored(&self) -> bool {
        self.color
    }
}

fn stdout_failed(error: std::io::Error) -> anyhow::Error {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return Exit(0).into();
    }
    Error::io("write to standard output", &error).into()
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// Heading.
    pub(crate) title: &'static str,
    /// Numbers stand on the right.
    pub(crate) right: bool,
}

/// A column of text.
pub(crate) const fn text(title: &'static str) -> Column {
    Column { title, right: false }
}

/// A column of numbers.
pub(crate) const fn number(title: &'static str) -> Column {
    Column { title, right: true }
}

/// A list printed page by page: as table rows, a JSON array, or one object a line.
pub(crate) struct Items {
    output: Output,
    columns: &'static [Column],
    widths: Vec<usize>,
    printed: u64,
}

impl Items {
    /// Prints some items: `raw` is the JSON of each, `row` makes the cells of a table. Flushes.
    pub(crate) fn print(
        &mut self,
        raw: &[&str],
        mut row: impl FnMut(&str) -> anyhow::Result<Vec<String>>,
    ) -> anyhow::Result<()> {
        match self.output.format {
            Format::Table => {
                let rows = raw.iter().map(|item| row(item)).collect::<anyhow::Result<Vec<_>>>()?;
                let header = self.printed == 0;
                let shown = render(self.columns, &rows, &mut self.widths, header, self.output.color);
                self.output.put(shown.as_bytes())?;
            }
            Format::Json => {
                for (index, item) in raw.iter().enumerate() {
                    let before = if self.printed == 0 && index == 0 { "[\n  " } else { ",\n  " };
                    self.output.put(before.as_bytes())?;
                    self.output.put(json::pretty(item).replace('\n', "\n  ").as_bytes())?;
                }
            }
            Format::Ndjson => {
                for item in raw {
                    self.output.put(json::compact(item).as_bytes())?;
                    self.output.put(b"\n")?;
                }
            }
        }
        self.printed += raw.len() as u64;
        self.output.flush()
    }

    /// Closes the list.
    pub(crate) fn end(mut self) -> anyhow::Result<()> {
        if self.output.format == Format::Json {
            self.output.put(if self.printed == 0 { b"[]\n" } else { b"\n]\n" })?;
        }
        self.output.flush()
    }
}

/// A whole table.
pub(crate) fn table(columns: &[Column], rows: &[Vec<String>], color: bool) -> String {
    render(columns, rows, &mut Vec::new(), true, color)
}

/// Rows in columns; `widths` only grow, so that pages of one list line up.
fn render(
    columns: &[Column],
    rows: &[Vec<String>],
    widths: &mut Vec<usize>,
    header: bool,
    color: bool,
) -> String {
    widths.resize(columns.len(), 0);
    for (index, column) in columns.iter().enumerate() {
        let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.chars().count());
        let widest = cells.chain([column.title.len(), widths[index]]).max().unwrap_or(0);
        widths[index] = widest;
    }
    let mut out = String::new();
    if header {
        let titles: Vec<String> = columns.iter().map(|column| column.title.to_owned()).collect();
        if color {
            out.push_str("\x1b[1m");
        }
        line(&mut out, columns, &titles, widths);
        if color {
            out.insert_str(out.len() - 1, "\x1b[0m");
        }
    }
    for row in rows {
        line(&mut out, columns, row, widths);
    }
    out
}

fn line(out: &mut String, columns: &[Column], cells: &[String], widths: &[usize]) {
    for (index, ((column, cell), width)) in columns.iter().zip(cells).zip(widths).enumerate() {
        if index > 0 {
            out.push_str("  ");
        }
        let padding = width.saturating_sub(cell.chars().count());
        let last = index + 1 == columns.len();
        if column.right {
            out.extend(std::iter::repeat_n(' ', padding));
        }
        out.extend(cell.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }));
        if !column.right && !last {
            out.extend(std::iter::repeat_n(' ', padding));
        }
    }
    while out.ends_with(' ') {
        out.pop();
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_aligns_its_columns_and_shows_no_control_characters() {
        let rows = vec![vec!["1".into(), "ä".into()], vec!["100".into(), "b\x1b[31m".into()]];
        let shown = table(&[number("n"), text("name")], &rows, false);
        assert_eq!(shown, "  n  name\n  1  ä\n100  b\u{fffd}[31m\n");
    }

    #[test]
    fn colours_follow_the_wish_before_the_terminal() {
        assert!(Color::Always.applies(false));
        assert!(!Color::Never.applies(true));
        assert!(!Color::Auto.applies(false));
    }
}
