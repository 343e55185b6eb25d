//! Answers as text: tables and lists of fields for people, CSV and JSON for programs.
//!
//! Tables have no frame: a line is a row, columns are parted by spaces, and what is empty is a dash, so that awk finds
//! each at its number. Control characters, which a terminal would obey, are shown as a replacement.

use comfy_table::{CellAlignment, Table, TableStyle};
use serde::Serialize;
use serde_json::Value;

/// A table.
#[derive(Debug)]
pub(super) struct Sheet {
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    /// The first column of numbers, which are all that follow it.
    numbers: usize,
}

impl Sheet {
    pub(super) fn new(columns: impl IntoIterator<Item = &'static str>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new(), numbers: usize::MAX }
    }

    /// Numbers from this column on: aligned to the right.
    pub(super) fn numbers_from(self, numbers: usize) -> Self {
        Self { numbers, ..self }
    }

    pub(super) fn row(&mut self, row: impl IntoIterator<Item = String>) {
        self.rows.push(row.into_iter().collect());
    }

    pub(super) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(TableStyle::new());
        table.set_header(self.columns.clone());
        for row in &self.rows {
            table.add_row(row.iter().map(|cell| plain(cell)));
        }
        for (n, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if n >= self.numbers {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut text = String::new();
        for line in table.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    pub(super) fn csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let written = writer
            .write_record(&self.columns)
            .and_then(|()| self.rows.iter().try_for_each(|row| writer.write_record(row)))
            .map_err(|error| error.to_string())
            .and_then(|()| writer.into_inner().map_err(|error| error.to_string()))
            .and_then(|bytes| String::from_utf8(bytes).map_err(|error| error.to_string()));
        written.expect("rows have as many cells as there are columns, memory takes them, and text stays text")
    }
}

/// For programs: what the admin API answers, on more lines.
pub(super) fn json(document: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(document).expect("documents have text as keys");
    text.push('\n');
    text
}

/// A line for each field; what is within is named by the way to it.
pub(super) fn fields(document: &impl Serialize) -> String {
    let mut found = Vec::new();
    collect("", &serde_json::to_value(document).unwrap_or_default(), &mut found);
    let width = found.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let lines: Vec<_> = found.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect();
    lines.concat()
}

fn collect(way: &str, value: &Value, into: &mut Vec<(String, String)>) {
    let mut put = |text: &str| into.push((way.to_owned(), plain(text)));
    match value {
        Value::Object(fields) if !way.is_empty() && fields.is_empty() => put(""),
        Value::Object(fields) => {
            for (name, value) in fields {
                let way = if way.is_empty() { name.clone() } else { format!("{way}.{name}") };
                collect(&way, value, into);
            }
        }
        Value::Array(values) => {
            let words: Vec<_> =
                values.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect();
            put(&words.join(", "));
        }
        Value::String(text) => put(text),
        Value::Null => put(""),
        Value::Bool(_) | Value::Number(_) => put(&value.to_string()),
    }
}

/// As a cell: never empty, and nothing that a terminal obeys.
fn plain(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    text.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sheet() -> Sheet {
        let mut sheet = Sheet::new(["name", "note", "calls"]).numbers_from(2);
        sheet.row(["acme", "", "12"].map(str::to_owned));
        sheet.row(["b,\"c", "\x1b[31mred\nline", "1234567"].map(str::to_owned));
        sheet
    }

    #[test]
    fn a_table_has_a_line_for_each_row_and_a_word_for_each_cell() {
        let table = sheet().table();
        assert_eq!(
            table,
            "name  note             calls\n\
             acme  -                   12\n\
             b,\"c  \u{fffd}[31mred\u{fffd}line  1234567\n"
        );
        assert_eq!(Sheet::new(["id"]).table(), "id\n");
    }

    #[test]
    fn csv_is_read_as_it_was_written() {
        assert_eq!(sheet().csv(), "name,note,calls\nacme,,12\n\"b,\"\"c\",\"\x1b[31mred\nline\",1234567\n");
        assert_eq!(Sheet::new(["id", "name"]).csv(), "id,name\n");
    }

    #[test]
    fn a_document_has_a_line_for_each_field() {
        let document = json!({
            "id": 18_446_744_073_709_551_615_u64, "note": "", "ends": null, "on": true,
            "terms": {"units": {"eth_*": 5}, "rules": {"chains": ["a", "b"], "methods": []}, "none": {}},
        });
        let text = fields(&document);
        let mut lines: Vec<_> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            [
                "ends -",
                "id 18446744073709551615",
                "note -",
                "on true",
                "terms.none -",
                "terms.rules.chains a, b",
                "terms.rules.methods -",
                "terms.units.eth_* 5"
            ]
        );
    }
}
