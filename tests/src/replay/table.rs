//! A CSV file, plain or gzipped, whose every complaint names the file, the line and the column.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};
use csv::{Reader, ReaderBuilder, StringRecord, Trim};
use flate2::read::MultiGzDecoder;
use prost_types::Timestamp;

/// An open file, positioned before its next row.
pub(crate) struct Table {
    file: String,
    reader: Reader<Box<dyn Read>>,
    columns: Vec<(&'static str, usize)>,
    header: StringRecord,
    record: StringRecord,
}

/// One row of a [`Table`].
#[derive(Clone, Copy)]
pub(crate) struct Row<'t> {
    table: &'t Table,
    line: u64,
}

impl Table {
    /// Opens `stem.csv`, or else `stem.csv.gz`, of a folder and finds the columns in its header;
    /// columns that nobody asks for are ignored.
    pub(crate) fn open(dir: &Path, stem: &str, columns: &[&'static str]) -> Result<Self> {
        let (file, source) = open_either(dir, stem)?;
        let mut reader = ReaderBuilder::new().flexible(true).trim(Trim::All).from_reader(source);
        let nameless = StringRecord::new();
        let header =
            reader.headers().map_err(|error| located(&file, 1, &nameless, &error))?.clone();
        let mut found = Vec::with_capacity(columns.len());
        for &column in columns {
            let index = header.iter().position(|name| name == column).with_context(|| {
                let names = header.iter().collect::<Vec<_>>().join(", ");
                format!("{file}: line 1: no column `{column}`; the header has: {names}")
            })?;
            found.push((column, index));
        }
        Ok(Self { file, reader, columns: found, header, record: StringRecord::new() })
    }

    /// Reads the next row; `None` at the end of the file.
    pub(crate) fn next_row(&mut self) -> Result<Option<Row<'_>>> {
        let line = self.reader.position().line();
        let more = self
            .reader
            .read_record(&mut self.record)
            .map_err(|error| located(&self.file, line, &self.header, &error))?;
        if !more {
            return Ok(None);
        }
        let line = self.record.position().map_or(line, csv::Position::line);
        let (fields, width) = (self.record.len(), self.header.len());
        if fields != width {
            let missing = self.header.get(fields);
            let place =
                missing.map_or_else(String::new, |name| format!(" column `{name}`: missing:"));
            bail!("{}: line {line}:{place} {fields} fields under a header of {width}", self.file);
        }
        Ok(Some(Row { table: self, line }))
    }

    /// An error about the file as a whole.
    pub(crate) fn error(&self, message: &str) -> anyhow::Error {
        anyhow!("{}: {message}", self.file)
    }
}

impl<'t> Row<'t> {
    /// The text of a column.
    pub(crate) fn text(self, column: &str) -> Result<&'t str> {
        let index = self.table.columns.iter().find(|(name, _)| *name == column).map(|(_, i)| *i);
        index
            .and_then(|index| self.table.record.get(index))
            .ok_or_else(|| self.error(column, "was not asked for when the file was opened"))
    }

    /// A whole number of any sign.
    pub(crate) fn number(self, column: &str) -> Result<i64> {
        let text = self.text(column)?;
        text.parse().map_err(|_| self.error(column, &format!("`{text}` is not a whole number")))
    }

    /// A whole number of at least `least`.
    pub(crate) fn at_least(self, column: &str, least: i64) -> Result<i64> {
        let number = self.number(column)?;
        if number < least {
            return Err(self.error(column, &format!("{number} is less than {least}")));
        }
        Ok(number)
    }

    /// A flag, written 0 or 1.
    pub(crate) fn flag(self, column: &str) -> Result<bool> {
        match self.text(column)? {
            "0" => Ok(false),
            "1" => Ok(true),
            other => Err(self.error(column, &format!("`{other}` is neither 0 nor 1"))),
        }
    }

    /// A date, `YYYY-MM-DD`, as the Unix second at which it begins in UTC.
    pub(crate) fn date(self, column: &str) -> Result<i64> {
        self.instant(column, "YYYY-MM-DD".len(), "a date, YYYY-MM-DD")
    }

    /// An instant, `YYYY-MM-DD HH:MM:SS` in UTC, as its Unix second.
    pub(crate) fn timestamp(self, column: &str) -> Result<i64> {
        self.instant(column, "YYYY-MM-DD HH:MM:SS".len(), "a time, YYYY-MM-DD HH:MM:SS")
    }

    fn instant(self, column: &str, length: usize, what: &str) -> Result<i64> {
        let text = self.text(column)?;
        // The parser takes more forms than the format has; the length tells them apart.
        Some(text)
            .filter(|text| text.len() == length)
            .and_then(|text| Timestamp::from_str(text).ok())
            .map(|timestamp| timestamp.seconds)
            .ok_or_else(|| self.error(column, &format!("`{text}` is not {what}")))
    }

    /// An error about one field of this row.
    pub(crate) fn error(self, column: &str, message: &str) -> anyhow::Error {
        anyhow!("{}: line {}: column `{column}`: {message}", self.table.file, self.line)
    }
}

/// The first of `stem.csv` and `stem.csv.gz` that exists, under its name for messages.
fn open_either(dir: &Path, stem: &str) -> Result<(String, Box<dyn Read>)> {
    for name in [format!("{stem}.csv"), format!("{stem}.csv.gz")] {
        let path = dir.join(&name);
        let file = path.display().to_string();
        match File::open(&path) {
            Ok(opened) if name.ends_with(".gz") => {
                return Ok((file, Box::new(MultiGzDecoder::new(opened))));
            }
            Ok(opened) => return Ok((file, Box::new(opened))),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("{file}: cannot be opened")),
        }
    }
    let path = dir.join(format!("{stem}.csv"));
    bail!(
        "{0}: no such file, nor {0}.gz; name the folder that holds it with --data",
        path.display()
    )
}

/// Names line and column of a failure of the CSV reader, whose own text knows only bytes.
fn located(file: &str, line: u64, header: &StringRecord, error: &csv::Error) -> anyhow::Error {
    match error.kind() {
        csv::ErrorKind::Utf8 { pos, err } => {
            let line = pos.as_ref().map_or(line, csv::Position::line);
            let column = header.get(err.field()).unwrap_or("unknown");
            anyhow!("{file}: line {line}: column `{column}`: not UTF-8 text")
        }
        csv::ErrorKind::Io(error) => anyhow!("{file}: line {line}: cannot be read: {error}"),
        _ => anyhow!("{file}: line {line}: {error}"),
    }
}
