//! Owns the way from an XLSX workbook to rows of text.
//! Refuses to know what the rows mean: they are read like those of a CSV file.
//! Invariant: a small file never grows into a large memory: what it unpacks to is measured before it is read, and rows come one by one.

use std::io::{self, Read, Seek};

use calamine::{DataRef, Reader, SheetType, SheetVisible, Xlsx};

use super::{content::ImportFile, tree::AREAS_MAX};

/// What a workbook may unpack to: a full sheet of a million rows takes about half of it.
const UNPACKED_BYTES_MAX: u64 = 1 << 30;
/// Entries in the archive; a workbook has a handful beside its sheets.
const ENTRIES_MAX: usize = 1_000;
/// Cells in a row; the widest kind has fifteen columns.
const COLUMNS_MAX: u32 = 256;

/// How the files of old Excel and WPS (.xls, .et) begin, and those that are locked by a password.
pub(super) const OLD_SIGNATURE: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";
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

/// A cell whose value is none that was typed: its column, and what it is.
pub(super) type Odd = (usize, &'static str);

/// A row as it stands in a sheet.
pub(super) struct SheetRow<'a> {
    pub(super) sheet: &'a str,
    /// From 1.
    pub(super) line: u32,
    pub(super) cells: Vec<String>,
    pub(super) odd: Vec<Odd>,
}

/// Gives every row of every sheet that can be seen to `take`, and says which sheets are hidden: an old list that somebody put away must
/// not come back with the new one.
pub(super) fn read_rows(file: &ImportFile<'_>, mut take: impl FnMut(SheetRow<'_>)) -> Result<Vec<String>, WorkbookError> {
    let open = || file.open().map_err(|error| unreadable(&error));
    measure(open()?, UNPACKED_BYTES_MAX)?;
    let mut workbook: Xlsx<_> = calamine::open_workbook_from_rs(open()?).map_err(|error: calamine::XlsxError| unreadable(&error))?;
    let sheets = workbook.sheets_metadata().to_vec();
    if sheets.len() > AREAS_MAX {
        return Err(unreadable(&"too many sheets"));
    }
    let mut hidden = Vec::new();
    for sheet in sheets.into_iter().filter(|sheet| sheet.typ == SheetType::WorkSheet) {
        if sheet.visible == SheetVisible::Visible {
            read_sheet(&mut workbook, &sheet.name, &mut take)?;
        } else {
            hidden.push(sheet.name);
        }
    }
    Ok(hidden)
}

fn read_sheet<R: Read + Seek>(workbook: &mut Xlsx<R>, sheet: &str, take: &mut impl FnMut(SheetRow<'_>)) -> Result<(), WorkbookError> {
    let mut cells = workbook.worksheet_cells_reader(sheet).map_err(|error| unreadable(&error))?;
    let new_row = |line| SheetRow { sheet, line, cells: Vec::new(), odd: Vec::new() };
    let mut row = new_row(0);
    while let Some(cell) = cells.next_cell_with_formula_metadata().map_err(|error| unreadable(&error))? {
        let (at, column) = cell.pos;
        let odd = odd_value(&cell.value, cell.formula.is_some());
        if matches!(cell.value, DataRef::Empty) && odd.is_none() {
            // A style without a value, often far to the right of everything.
            continue;
        }
        let line = at.saturating_add(1);
        if line < row.line || column >= COLUMNS_MAX {
            return Err(WorkbookError::Disorder { sheet: sheet.to_owned(), row: line });
        }
        if line > row.line {
            let done = std::mem::replace(&mut row, new_row(line));
            if done.line > 0 {
                take(done);
            }
        }
        let column = column as usize;
        if row.cells.len() <= column {
            row.cells.resize(column + 1, String::new());
        }
        row.cells[column] = text_of(&cell.value);
        row.odd.extend(odd.map(|what| (column, what)));
    }
    if row.line > 0 {
        take(row);
    }
    Ok(())
}

/// What a cell holds that nobody typed as a text or a number; its serial number or its emptiness would be read for it.
fn odd_value(value: &DataRef<'_>, is_formula: bool) -> Option<&'static str> {
    match value {
        DataRef::DateTime(_) | DataRef::DateTimeIso(_) | DataRef::DurationIso(_) => {
            Some("is formatted as a date or a time: format the column as text and type it again")
        }
        DataRef::Empty if is_formula => {
            Some("holds a formula without its value: open the file in a spreadsheet, save it again, or write the value")
        }
        _ => None,
    }
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
        book(&[(sheet, "visible", &data)])
    }

    /// Sheets by name, state and the rows inside `sheetData`.
    pub(in super::super) fn book(sheets: &[(&str, &str, &str)]) -> Vec<u8> {
        let main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
        let office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
        let package = "http://schemas.openxmlformats.org/package/2006";
        let (mut listed, mut related) = (String::new(), String::new());
        for (at, (name, state, _)) in (1..).zip(sheets) {
            listed.push_str(&format!("<sheet name=\"{name}\" sheetId=\"{at}\" state=\"{state}\" r:id=\"r{at}\"/>"));
            related.push_str(&format!("<Relationship Id=\"r{at}\" Type=\"{office}/worksheet\" Target=\"worksheets/sheet{at}.xml\"/>"));
        }
        let mut entries = vec![
            (
                "[Content_Types].xml".to_owned(),
                format!(
                    "<Types xmlns=\"{package}/content-types\"><Default Extension=\"xml\" ContentType=\"application/xml\"/>\
                     <Default Extension=\"rels\" ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/></Types>"
                ),
            ),
            (
                "_rels/.rels".to_owned(),
                format!(
                    "<Relationships xmlns=\"{package}/relationships\">\
                     <Relationship Id=\"r1\" Type=\"{office}/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>"
                ),
            ),
            ("xl/workbook.xml".to_owned(), format!("<workbook xmlns=\"{main}\" xmlns:r=\"{office}\"><sheets>{listed}</sheets></workbook>")),
            (
                "xl/_rels/workbook.xml.rels".to_owned(),
                format!("<Relationships xmlns=\"{package}/relationships\">{related}</Relationships>"),
            ),
        ];
        for (at, (_, _, data)) in (1..).zip(sheets) {
            let text = format!("<worksheet xmlns=\"{main}\"><sheetData>{data}</sheetData></worksheet>");
            entries.push((format!("xl/worksheets/sheet{at}.xml"), text));
        }
        archive(&entries.iter().map(|(name, text)| (name.as_str(), text.clone())).collect::<Vec<_>>())
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
        read_rows(&ImportFile::in_memory("x.xlsx", &bytes), |row| rows.push((row.sheet.to_owned(), row.line, row.cells.join("|"))))
            .expect("a workbook");
        let expected = [(1, "id|phone|lon"), (3, "h1|13800138000|104.28125"), (4, "h2||510726100201")];
        assert_eq!(rows, expected.map(|(line, cells)| ("人员".to_owned(), line, cells.to_owned())));
    }

    #[test]
    fn errors_dates_formulas_and_far_styles_are_told_apart_and_hidden_sheets_are_named() {
        let text = |at: &str, text: &str| format!("<c r=\"{at}\" t=\"inlineStr\"><is><t>{text}</t></is></c>");
        let seen = format!(
            "<row r=\"1\">{}{}</row><row r=\"2\">{}<c r=\"B2\" t=\"e\"><v>#N/A</v></c><c r=\"C2\"><f>A1</f></c><c r=\"XFD2\"/></row>",
            text("A1", "id"),
            text("B1", "name"),
            text("A2", "h1")
        );
        let old = format!("<row r=\"1\">{}</row>", text("A1", "old"));
        let bytes = book(&[("名单", "visible", &seen), ("旧名单", "hidden", &old), ("更旧", "veryHidden", &old)]);
        let mut rows = Vec::new();
        let hidden = read_rows(&ImportFile::in_memory("x.xlsx", &bytes), |row| {
            rows.push((row.line, row.cells.join("|"), row.odd.iter().map(|(column, _)| *column).collect::<Vec<_>>()));
        });
        assert_eq!(hidden.expect("a workbook"), ["旧名单", "更旧"]);
        assert_eq!(rows, [(1, "id|name".to_owned(), vec![]), (2, "h1|#N/A|".to_owned(), vec![2])]);
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
            assert!(matches!(read_rows(&ImportFile::in_memory("x.xlsx", &bytes), |_| {}), Err(WorkbookError::Unreadable(_))));
        }
    }
}
