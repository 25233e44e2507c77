//! Owns the way from an XLSX workbook to rows of text.
//! Refuses to know what the rows mean: they are read like those of a CSV file.
//! Invariant: a small file never grows into a large memory: what it unpacks to is measured before it is read, and rows come one by one.

use std::io::{self, Read, Seek};

use calamine::{DataRef, Reader, Xlsx};

use super::{content::ImportFile, tree::AREAS_MAX};

/// What a workbook may unpack to: a full sheet of a million rows takes about half of it.
const UNPACKED_BYTES_MAX: u64 = 1 << 30;
/// Entries in the archive; a workbook has a handful beside its sheets.
const ENTRIES_MAX: usize = 1_000;
/// Cells in a row; the widest kind has fifteen columns.
const COLUMNS_MAX: u32 = 256;

/// How an XLSX file begins: it is a ZIP archive.
pub(super) const SIGNATURE: &[u8] = b"PK\x03\x04";

#[derive(Debug, thiserror::Error)]
pub(super) enum WorkbookError {
    #[error("not a workbook that can be read: {0}")]
    Unreadable(String),
    #[error("unpacks to more than {} MB", UNPACKED_BYTES_MAX >> 20)]
    TooLarge,
    #[error("sheet {sheet:?} row {row}: rows are not in order, or wider than {COLUMNS_MAX} cells")]
    Disorder { sheet: String, row: u32 },
}

fn unreadable(error: &dyn std::fmt::Display) -> WorkbookError {
    WorkbookError::Unreadable(error.to_string())
}

/// Gives every row of every sheet to `take`: name of the sheet, number of the row from 1, its cells.
pub(super) fn read_rows(file: &ImportFile<'_>, mut take: impl FnMut(&str, u32, Vec<String>)) -> Result<(), WorkbookError> {
    let open = || file.open().map_err(|error| unreadable(&error));
    measure(open()?, UNPACKED_BYTES_MAX)?;
    let mut workbook: Xlsx<_> = calamine::open_workbook_from_rs(open()?).map_err(|error: calamine::XlsxError| unreadable(&error))?;
    let sheets = workbook.sheet_names();
    if sheets.len() > AREAS_MAX {
        return Err(unreadable(&"too many sheets"));
    }
    for sheet in sheets {
        let mut cells = workbook.worksheet_cells_reader(&sheet).map_err(|error| unreadable(&error))?;
        let mut row: Vec<String> = Vec::new();
        let mut number = 0;
        while let Some(cell) = cells.next_cell().map_err(|error| unreadable(&error))? {
            let (at, column) = cell.get_position();
            let line = at.saturating_add(1);
            if line < number || column >= COLUMNS_MAX {
                return Err(WorkbookError::Disorder { sheet, row: line });
            }
            if line > number {
                if number > 0 {
                    take(&sheet, number, std::mem::take(&mut row));
                }
                number = line;
            }
            let column = column as usize;
            if row.len() <= column {
                row.resize(column + 1, String::new());
            }
            row[column] = text_of(cell.get_value());
        }
        if number > 0 {
            take(&sheet, number, row);
        }
    }
    Ok(())
}

/// Unpacks everything into nothing, because the sizes that an archive states may be lies.
fn measure(file: impl Read + Seek, mut left: u64) -> Result<(), WorkbookError> {
    let mut archive = zip::ZipArchive::new(file).map_err(|error| unreadable(&error))?;
    if archive.len() > ENTRIES_MAX {
        return Err(WorkbookError::TooLarge);
    }
    for at in 0..archive.len() {
        let entry = archive.by_index(at).map_err(|error| unreadable(&error))?;
        let unpacked = io::copy(&mut entry.take(left + 1), &mut io::sink()).map_err(|error| unreadable(&error))?;
        left = left.checked_sub(unpacked).ok_or(WorkbookError::TooLarge)?;
    }
    Ok(())
}

/// Telephone numbers and codes are whole numbers to a spreadsheet; they must not come out as 1.38e10.
fn text_of(value: &DataRef<'_>) -> String {
    match value {
        DataRef::Int(number) => number.to_string(),
        // Display of a double never uses an exponent, and writes whole ones without a point.
        DataRef::Float(number) => number.to_string(),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.clone(),
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Bool(truth) => truth.to_string(),
        DataRef::DateTime(moment) => moment.as_f64().to_string(),
        DataRef::Error(error) => error.to_string(),
        DataRef::Empty => String::new(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{Cursor, Write};

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    /// The least that spreadsheets call a workbook: one sheet of the given rows, numbers as numbers.
    pub(in super::super) fn workbook(sheet: &str, rows: &[&[&str]]) -> Vec<u8> {
        let cell = |(column, text): (u8, &&str)| {
            let at = char::from(b'A' + column);
            match text.parse::<f64>() {
                Ok(_) => format!("<c r=\"{at}#\"><v>{text}</v></c>"),
                Err(_) => format!("<c r=\"{at}#\" t=\"inlineStr\"><is><t>{text}</t></is></c>"),
            }
        };
        let row = |(number, cells): (usize, &&[&str])| {
            let number = (number + 1).to_string();
            let used = (0..).zip(cells.iter()).filter(|(_, text)| !text.is_empty());
            let cells: String = used.map(cell).collect::<String>().replace('#', &number);
            format!("<row r=\"{number}\">{cells}</row>")
        };
        let data: String = rows.iter().enumerate().map(row).collect();
        let main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
        let office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
        let package = "http://schemas.openxmlformats.org/package/2006";
        archive(&[
            (
                "[Content_Types].xml",
                format!(
                    "<Types xmlns=\"{package}/content-types\"><Default Extension=\"xml\" ContentType=\"application/xml\"/>\
                     <Default Extension=\"rels\" ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/></Types>"
                ),
            ),
            (
                "_rels/.rels",
                format!(
                    "<Relationships xmlns=\"{package}/relationships\">\
                     <Relationship Id=\"r1\" Type=\"{office}/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>"
                ),
            ),
            (
                "xl/workbook.xml",
                format!(
                    "<workbook xmlns=\"{main}\" xmlns:r=\"{office}\"><sheets><sheet name=\"{sheet}\" sheetId=\"1\" r:id=\"r1\"/></sheets></workbook>"
                ),
            ),
            (
                "xl/_rels/workbook.xml.rels",
                format!(
                    "<Relationships xmlns=\"{package}/relationships\">\
                     <Relationship Id=\"r1\" Type=\"{office}/worksheet\" Target=\"worksheets/sheet1.xml\"/></Relationships>"
                ),
            ),
            ("xl/worksheets/sheet1.xml", format!("<worksheet xmlns=\"{main}\"><sheetData>{data}</sheetData></worksheet>")),
        ])
    }

    fn archive(entries: &[(&str, String)]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in entries {
            zip.start_file(*name, SimpleFileOptions::default()).expect("an entry");
            zip.write_all(text.as_bytes()).expect("written");
        }
        zip.finish().expect("an archive").into_inner()
    }

    #[test]
    fn numbers_come_out_as_they_are_written_and_empty_cells_keep_their_place() {
        let bytes = workbook("人员", &[&["id", "phone", "lon"], &[], &["h1", "13800138000", "104.28125"], &["h2", "", "510726100201"]]);
        let mut rows = Vec::new();
        read_rows(&ImportFile::in_memory("x.xlsx", &bytes), |sheet, line, cells| rows.push((sheet.to_owned(), line, cells.join("|"))))
            .expect("a workbook");
        let expected = [(1, "id|phone|lon"), (3, "h1|13800138000|104.28125"), (4, "h2||510726100201")];
        assert_eq!(rows, expected.map(|(line, cells)| ("人员".to_owned(), line, cells.to_owned())));
    }

    #[test]
    fn an_archive_that_unpacks_to_too_much_is_refused_before_it_is_read() {
        let bytes = archive(&[("a", "0".repeat(60_000)), ("b", "0".repeat(60_000))]);
        assert!(bytes.len() < 1_000);
        assert!(matches!(measure(Cursor::new(&bytes), 119_999), Err(WorkbookError::TooLarge)));
        assert!(measure(Cursor::new(&bytes), 120_000).is_ok());
    }

    #[test]
    fn what_is_no_workbook_is_refused() {
        for bytes in [b"PK\x03\x04 torn".to_vec(), archive(&[("a.txt", "no sheets".to_owned())])] {
            assert!(matches!(read_rows(&ImportFile::in_memory("x.xlsx", &bytes), |_, _, _| {}), Err(WorkbookError::Unreadable(_))));
        }
    }
}
