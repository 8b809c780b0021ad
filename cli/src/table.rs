//! Tables for terminals and pipes.

use std::io::{self, Write};

/// A column.
#[derive(Clone, Copy)]
pub(crate) enum Column {
    /// Text, set to the left.
    Left(&'static str),
    /// Numbers, set to the right.
    Right(&'static str),
}

/// Text of other machines and programs, which may hold what a terminal would obey.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// Writes a value as JSON for people and programs.
pub(crate) fn json(out: &mut impl Write, value: &(impl serde::Serialize + ?Sized)) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

/// Writes rows under their header, columns as wide as their longest cell; nothing follows the last column's text. Control
/// characters are left out.
pub(crate) fn write<const N: usize>(
    out: &mut impl Write,
    columns: [Column; N],
    rows: &[[String; N]],
) -> io::Result<()> {
    let header = columns.map(|column| match column {
        Column::Left(name) | Column::Right(name) => name.to_owned(),
    });
    let mut widths = [0; N];
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| printable(cell))).collect();
    for row in std::iter::once(&header).chain(&rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in std::iter::once(&header).chain(&rows) {
        let mut line = String::new();
        for ((cell, column), width) in row.iter().zip(columns).zip(widths) {
            line += &match column {
                Column::Left(_) => format!("{cell:width$} "),
                Column::Right(_) => format!("{cell:>width$} "),
            };
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["a".into(), "1".into(), "x\x1b".into()], ["größer".into(), "100".into(), String::new()]];
        let mut out = Vec::new();
        let columns = [Column::Left("NAME"), Column::Right("N"), Column::Left("REST")];
        write(&mut out, columns, &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "NAME     N REST\na        1 x\ngrößer 100\n");
    }
}
