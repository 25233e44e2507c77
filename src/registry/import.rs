//! Owns the way from files to records: encodings, headings, rows, and each bad cell by file, line and column.
//! Refuses to know what is kept, but for the cells that a file leaves out; references are the merge's business.
//! Invariant: a row is read whole or named; nothing is guessed from a heading that is not known.

use std::{
    borrow::Cow,
    collections::HashMap,
    io::{self, Read as _},
};

use super::{
    area_record::AreaRecord,
    cell::{self, Tidy},
    columns::Kind,
    content::{EvenLines, ImportFile},
    endpoint::EndpointRecord,
    hazard_point::HazardPointRecord,
    headings::{self, Layout, Understood},
    merge::{Import, Mode, Placed},
    named_area,
    record::{Cells, Record},
    row_faults::RowFaults,
    snapshot::Snapshot,
    speaker::SpeakerRecord,
    subscriber::SubscriberRecord,
    table::{ROWS_MAX, TEXT_BYTES_MAX},
    workbook,
};
use crate::{
    area::{AreaCode, AreaLevel},
    datum::Datum,
};

/// A million subscribers take about 100 MB as CSV, five million with every cell filled less than a gigabyte.
pub const FILE_BYTES_MAX: u64 = 1 << 30;
/// One of each kind, for each of a few townships that send their own.
pub const FILES_MAX: usize = 64;

/// How an import is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    pub mode: Mode,
    pub datum: Datum,
    /// Takes in whoever was erased.
    pub allow_erased: bool,
}

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Bytes of all files; a workbook counts when it is done.
    Read { bytes: u64, of: u64 },
    /// Records are held against each other and put in order.
    Merging,
    /// The new generation goes to disk.
    Writing,
}

/// Rows between two reports of progress: some hundred a second.
const REPORT_ROWS: u32 = 4_096;

/// The records of all files, and everything that is wrong with single rows.
pub(crate) fn read_files(
    files: &[ImportFile<'_>],
    options: ImportOptions,
    kept: &Snapshot,
    watch: &dyn Fn(Progress),
) -> (Import, RowFaults) {
    let mut reading = Reading { import: Import::default(), faults: RowFaults::default(), options, kept, named: HashMap::new() };
    if files.is_empty() {
        reading.faults.add("", "no-files", "there is no file to import");
    }
    if files.len() > FILES_MAX {
        reading.faults.add("", "too-many-files", format!("more than {FILES_MAX} files in one import"));
        return (reading.import, reading.faults);
    }
    // What cannot be told its size cannot be read either, and is named then.
    let sizes: Vec<u64> = files.iter().map(|file| file.bytes_total().unwrap_or(0)).collect();
    let (mut before, of) = (0, sizes.iter().sum());
    for (file, size) in files.iter().zip(sizes) {
        let name = file.name.rsplit(['/', '\\']).next().unwrap_or(file.name);
        if size > FILE_BYTES_MAX {
            reading.faults.add(name, "too-large", format!("larger than {} MB", FILE_BYTES_MAX >> 20));
        } else if let Err(error) = reading.read_file(name, file, &|bytes| watch(Progress::Read { bytes: before + bytes, of })) {
            reading.faults.add(name, "unreadable", error.to_string());
        }
        before += size;
        watch(Progress::Read { bytes: before, of });
    }
    (reading.import, reading.faults)
}

struct Reading<'a> {
    import: Import,
    faults: RowFaults,
    options: ImportOptions,
    kept: &'a Snapshot,
    /// Areas that names have come to, by name, town and how many areas had been read: rows of one village stand together.
    named: HashMap<(String, String, usize), Result<AreaCode, String>>,
}

/// Names that are remembered: more than any city has.
const NAMES_MAX: usize = 10_000;

/// A file or a sheet while it is read.
struct Sheet {
    /// As faults name it.
    name: String,
    /// What may tell the kind when the headings do not.
    hint: String,
    layout: Option<Layout>,
    /// Its headings were at fault: its rows cannot be read.
    is_refused: bool,
    /// Rows seen before any that are headings, and the one that came nearest to it.
    above: usize,
    nearest: Option<(u32, usize, Vec<String>)>,
}

impl Sheet {
    fn named(name: String) -> Self {
        Self { hint: name.clone(), name, layout: None, is_refused: false, above: 0, nearest: None }
    }
}

impl Reading<'_> {
    fn read_file(&mut self, name: &str, file: &ImportFile<'_>, at_byte: &dyn Fn(u64)) -> io::Result<()> {
        if file.begins_with(workbook::SIGNATURE)? {
            self.read_workbook(name, file);
            return Ok(());
        }
        if file.begins_with(workbook::OLD_SIGNATURE)? {
            let message = "is a workbook of old Excel or WPS (.xls, .et), or locked by a password: save it as .xlsx without one";
            self.faults.add(name, "old-workbook", message);
            return Ok(());
        }
        let text = match file.text()? {
            Ok(text) => text,
            Err(broken) => {
                let message = "neither UTF-8 nor GB18030 from here on: a letter on this line is broken; save the file anew as CSV UTF-8";
                self.faults.add(format!("{name} line {}", broken.line), "bad-encoding", message);
                return Ok(());
            }
        };
        let delimiter = delimiter(EvenLines::new(text))?;
        let Ok(text) = file.text()? else { return Err(io::Error::other("the file changed while it was read")) };
        let mut rows = csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(EvenLines::new(text));
        let mut row = csv::StringRecord::new();
        let mut sheet = Sheet::named(name.to_owned());
        for nth in 1_u32.. {
            match rows.read_record(&mut row) {
                Ok(false) => break,
                Ok(true) => self.take_row(&mut sheet, line_of(&row), &row, &[]),
                // The text is UTF-8 and rows may differ in length, so only a broken reader is left.
                Err(error) => return Err(io::Error::other(error)),
            }
            if nth.is_multiple_of(REPORT_ROWS) {
                at_byte(rows.get_ref().read_bytes());
            }
        }
        self.end_sheet(sheet, true);
        Ok(())
    }

    /// Every sheet is a file of its own; sheets without a single cell are passed over, and so are notes beside a table.
    fn read_workbook(&mut self, name: &str, file: &ImportFile<'_>) {
        let mut open: Option<(String, Sheet)> = None;
        let mut over: Vec<Sheet> = Vec::new();
        let result = workbook::read_rows(file, |row| {
            if open.as_ref().is_none_or(|(current, _)| current != row.sheet) {
                // The sheet's name tells the kind; the file's is needed to find it.
                let hint = if Kind::named(row.sheet).is_some() { row.sheet } else { name };
                let sheet = Sheet { hint: hint.to_owned(), ..Sheet::named(format!("{name} [{}]", row.sheet)) };
                over.extend(open.replace((row.sheet.to_owned(), sheet)).map(|(_, sheet)| sheet));
            }
            let Some((_, sheet)) = &mut open else { return };
            let mut cells = row.cells;
            if let Some(layout) = &sheet.layout
                && cells.iter().skip(layout.width).all(|cell| cell.trim().is_empty())
            {
                // A workbook does not store the empty cells at the end of a row.
                cells.resize(layout.width, String::new());
            }
            self.take_row(sheet, row.line, &csv::StringRecord::from(cells), &row.odd);
        });
        over.extend(open.map(|(_, sheet)| sheet));
        let hidden = match result {
            Ok(hidden) => hidden,
            Err(error) => return self.faults.add(name, "bad-workbook", error.to_string()),
        };
        for sheet in &hidden {
            self.faults.warn(format!("{name} [{sheet}]"), "hidden-sheet", "the sheet is hidden and was not read: show it if it is meant");
        }
        if over.is_empty() {
            return self.faults.add(name, "empty-file", "there is no row of headings in any sheet that can be seen");
        }
        // A sheet of notes is one only beside a table.
        let has_table = over.iter().any(|sheet| sheet.layout.is_some());
        for sheet in over {
            self.end_sheet(sheet, !has_table);
        }
    }

    fn take_row(&mut self, sheet: &mut Sheet, line: u32, row: &csv::StringRecord, odd: &[workbook::Odd]) {
        let is_blank = row.iter().all(|cell| cell.trim().is_empty()) && odd.is_empty();
        if is_blank || sheet.is_refused {
            return;
        }
        match &sheet.layout {
            Some(layout) => self.read_row(layout, line, row, odd),
            None => self.take_headings(sheet, line, row),
        }
    }

    /// Looks whether a row is that of the headings; titles may stand above it.
    fn take_headings(&mut self, sheet: &mut Sheet, line: u32, row: &csv::StringRecord) {
        let headings: Vec<&str> = row.iter().map(str::trim).collect();
        // Spreadsheets leave empty columns behind the last one.
        let used = headings.iter().rposition(|heading| !heading.is_empty()).map_or(0, |last| last + 1);
        let guess = headings::guess(&sheet.hint, &headings[..used]);
        let Some(kind) = guess.kind else {
            sheet.above += 1;
            if sheet.nearest.as_ref().is_none_or(|(_, known, _)| *known < guess.known) {
                sheet.nearest = Some((line, guess.known, headings[..used].iter().map(|heading| (*heading).to_owned()).collect()));
            }
            if sheet.above > headings::ROWS_ABOVE_MAX {
                self.refuse(sheet);
            }
            return;
        };
        if sheet.above > 0 {
            let message = format!("{} rows above the headings were passed over", sheet.above);
            self.faults.warn(format!("{} line {line}", sheet.name), "rows-above", message);
        }
        sheet.layout = self.lay_out(sheet, kind, line, &headings[..used], headings.len());
        sheet.is_refused = sheet.layout.is_none();
    }

    fn refuse(&mut self, sheet: &mut Sheet) {
        let nearest = sheet.nearest.take().map(|(line, _, headings)| (line, sheet.name.as_str(), headings));
        headings::refuse(&sheet.name, nearest, &sheet.hint, &mut self.faults);
        sheet.is_refused = true;
    }

    /// `needed`: without a table here there is none at all.
    fn end_sheet(&mut self, mut sheet: Sheet, needed: bool) {
        if sheet.layout.is_some() || sheet.is_refused {
            return;
        }
        // What almost reads as headings is a table at fault, not a note.
        let almost = sheet.nearest.as_ref().is_some_and(|(_, known, _)| *known >= 2);
        if needed || almost {
            self.refuse(&mut sheet);
        } else {
            self.faults.warn(sheet.name, "not-a-table", "the sheet has no row of headings and was passed over");
        }
    }

    fn lay_out(&mut self, sheet: &Sheet, kind: Kind, line: u32, headings: &[&str], width: usize) -> Option<Layout> {
        let (mut layout, columns) = headings::lay_out(kind, &sheet.name, line, headings, &mut self.faults)?;
        if !self.import.kinds.contains(&kind) {
            self.import.kinds.push(kind);
        }
        self.import.files.push(sheet.name.clone());
        layout.width = width;
        layout.file = u16::try_from(self.import.files.len() - 1).unwrap_or(u16::MAX);
        layout.understood = self.import.understood.len();
        self.import.understood.push(Understood { file: sheet.name.clone(), kind: kind.name(), line, rows: 0, columns });
        Some(layout)
    }

    fn read_row(&mut self, layout: &Layout, line: u32, row: &csv::StringRecord, odd: &[workbook::Odd]) {
        self.import.understood[layout.understood].rows += 1;
        match layout.kind {
            Kind::Areas => self.read_record(layout, line, row, odd, |import| &mut import.areas),
            Kind::HazardPoints => self.read_record(layout, line, row, odd, |import| &mut import.hazard_points),
            Kind::Subscribers => self.read_record(layout, line, row, odd, |import| &mut import.subscribers),
            Kind::Speakers => self.read_record(layout, line, row, odd, |import| &mut import.speakers),
            Kind::Endpoints => self.read_record(layout, line, row, odd, |import| &mut import.endpoints),
        }
    }

    fn read_record<R: Record + Kept>(
        &mut self,
        layout: &Layout,
        line: u32,
        row: &csv::StringRecord,
        odd: &[workbook::Odd],
        list: impl Fn(&mut Import) -> &mut Vec<Placed<R>>,
    ) {
        let place = |column: &str| format!("{} line {line}, {column}", layout.name);
        let id_at = layout.cells[0].unwrap_or(0);
        let id = row.get(id_at).unwrap_or("").trim();
        if self.is_foot(layout, row) {
            let shown = row.iter().map(str::trim).find(|cell| !cell.is_empty()).unwrap_or_default();
            let message =
                format!("{:?} is a sum or a signature, and was passed over", shown.chars().take(FOOT_LETTERS).collect::<String>());
            return self.faults.warn(format!("{} line {line}", layout.name), "not-a-record", message);
        }
        if row.len() < layout.width || row.iter().skip(layout.width).any(|cell| !cell.trim().is_empty()) {
            let message = format!("{} cells where the headings have {}", row.len(), layout.width);
            self.faults.add(format!("{} line {line}", layout.name), "wrong-cell-count", message);
            return self.leave_out::<R>(id);
        }
        let is_long = |cell: &&str| cell.len() > TEXT_BYTES_MAX;
        if row.iter().any(|cell| is_long(&cell)) {
            self.faults.add(format!("{} line {line}", layout.name), "too-long", "a cell is longer than any field may be");
            return self.leave_out::<R>(id);
        }
        if list(&mut self.import).len() >= ROWS_MAX {
            return self.faults.add(format!("{} line {line}", layout.name), "too-many-rows", format!("more than {ROWS_MAX} rows"));
        }
        let Some(tidied) = self.tidied(layout, line, row, odd) else { return self.leave_out::<R>(id) };
        let id = &*tidied[0];
        if R::KIND == Kind::Areas && is_stand_in(&tidied) {
            let message = "stands for the city itself, which has no counties, and was passed over: its towns lie in the city";
            return self.faults.warn(place("code"), "stand-in", message);
        }
        // A column that the file does not have leaves the kept value alone.
        let lacks_columns = layout.cells.iter().any(Option::is_none);
        let kept = (lacks_columns && self.options.mode == Mode::Upsert).then(|| R::kept(self.kept, id)).flatten();
        let kept_cells = kept.as_ref().map(Record::cells);
        let kept_cell = |column: usize| kept_cells.as_ref().map_or("", |cells| &*cells[column]);
        let cell = |(column, at): (usize, &Option<usize>)| if at.is_some() { &*tidied[column] } else { kept_cell(column) };
        let values: Vec<&str> = layout.cells.iter().enumerate().map(cell).collect();
        let has_places = R::KIND.column("lon").is_some_and(|lon| layout.cells[lon].is_some());
        let datum = if has_places { self.options.datum } else { Datum::Wgs84 };
        match R::read(&mut Cells::new(R::KIND, &values, datum, &place, &mut self.faults)) {
            Some(record) => list(&mut self.import).push(Placed { file: layout.file, line, record }),
            None => self.leave_out::<R>(id),
        }
    }

    /// The cells of the kind's columns as they were meant; nothing when one is at fault.
    fn tidied<'r>(&mut self, layout: &Layout, line: u32, row: &'r csv::StringRecord, odd: &[workbook::Odd]) -> Option<Vec<Cow<'r, str>>> {
        let before = self.faults.len();
        let mut tidied = Vec::with_capacity(layout.cells.len());
        for (column, at) in layout.kind.columns().iter().zip(&layout.cells) {
            let place = || format!("{} line {line}, {}", layout.name, column.name);
            let Some(at) = *at else {
                tidied.push(Cow::Borrowed(""));
                continue;
            };
            if let Some((_, what)) = odd.iter().find(|(odd, _)| *odd == at) {
                self.faults.add(place(), "error-cell", *what);
            }
            let mut text = match cell::tidy(column.name, row.get(at).unwrap_or("")) {
                Tidy::Text(text) => text,
                Tidy::Changed(text, rule, message) => {
                    self.faults.warn(place(), rule, message);
                    Cow::Owned(text)
                }
                Tidy::Fault(rule, message) => {
                    self.faults.add(place(), rule, message);
                    Cow::Borrowed("")
                }
            };
            if column.name == "area" && text.contains(|letter: char| letter.is_alphabetic()) {
                let town = layout.town.filter(|town| *town != at).and_then(|town| row.get(town)).unwrap_or("");
                match self.area_of(&text, town) {
                    Ok(code) => text = Cow::Owned(code.to_string()),
                    Err(message) => self.faults.add(place(), "unknown-area", message),
                }
            }
            tidied.push(text);
        }
        (self.faults.len() == before).then_some(tidied)
    }

    fn area_of(&mut self, name: &str, town: &str) -> Result<AreaCode, String> {
        let key = (name.to_owned(), town.to_owned(), self.import.areas.len());
        if let Some(known) = self.named.get(&key) {
            return known.clone();
        }
        if self.named.len() >= NAMES_MAX {
            self.named.clear();
        }
        let found = named_area::find(name, town, self.kept.areas(), &self.import.areas);
        self.named.insert(key, found.clone());
        found
    }

    /// A sum or a signature below the list: it begins like one, and lacks what every record has.
    fn is_foot(&self, layout: &Layout, row: &csv::StringRecord) -> bool {
        let first = row.iter().map(str::trim).find(|cell| !cell.is_empty()).unwrap_or_default();
        let needed = layout.kind.columns().iter().zip(&layout.cells).skip(1).filter(|(column, _)| column.required);
        let lacks = |at: &Option<usize>| at.and_then(|at| row.get(at)).is_none_or(|cell| cell.trim().is_empty());
        cell::is_foot(first) && needed.into_iter().any(|(_, at)| lacks(at))
    }

    fn leave_out<R: Record>(&mut self, id: &str) {
        // Areas are compared in their short form.
        let short = if R::KIND == Kind::Areas { id.parse().ok().map(|code: AreaCode| code.to_string()) } else { None };
        self.import.unread.insert((R::KIND, short.as_deref().unwrap_or(id).into()));
    }
}

/// The record of an id as it is kept now.
trait Kept: Sized {
    fn kept(snapshot: &Snapshot, id: &str) -> Option<Self>;
}

impl Kept for AreaRecord {
    fn kept(snapshot: &Snapshot, id: &str) -> Option<Self> {
        id.parse().ok().and_then(|code| snapshot.areas().get(code)).map(Self::of)
    }
}

impl Kept for HazardPointRecord {
    fn kept(snapshot: &Snapshot, id: &str) -> Option<Self> {
        snapshot.hazard_point_by_code(id).map(|point| point.record())
    }
}

impl Kept for SubscriberRecord {
    fn kept(snapshot: &Snapshot, id: &str) -> Option<Self> {
        snapshot.subscriber_by_id(id).map(|subscriber| subscriber.record())
    }
}

impl Kept for SpeakerRecord {
    fn kept(snapshot: &Snapshot, id: &str) -> Option<Self> {
        snapshot.speaker_by_id(id).map(|speaker| speaker.record())
    }
}

impl Kept for EndpointRecord {
    fn kept(snapshot: &Snapshot, id: &str) -> Option<Self> {
        snapshot.endpoint_by_id(id).map(|endpoint| endpoint.record())
    }
}

/// A city without counties stands in lists a second time, as the county of its own towns.
fn is_stand_in(cells: &[Cow<'_, str>]) -> bool {
    let [code, _, level, parent, ..] = cells else { return false };
    let codes = (code.parse::<AreaCode>(), parent.parse::<AreaCode>());
    let says_county = matches!(&**level, "county" | "县" | "区" | "县级");
    matches!(codes, (Ok(code), Ok(parent)) if code == parent && code.level() < AreaLevel::County) && says_county
}

/// What stands between the cells of a row: the sign that one of the first lines has most of.
fn delimiter(text: impl io::Read) -> io::Result<u8> {
    /// Bytes that are looked at: some dozen rows.
    const LOOKED_AT: u64 = 16 << 10;
    let mut head = Vec::new();
    text.take(LOOKED_AT).read_to_end(&mut head)?;
    let most = |sign: &u8| {
        let in_line = |line: &[u8]| {
            let mut quoted = false;
            line.iter()
                .filter(|byte| {
                    if **byte == b'"' {
                        quoted = !quoted;
                        false
                    } else {
                        !quoted && *byte == sign
                    }
                })
                .count()
        };
        head.split(|byte| *byte == b'\n').map(in_line).max().unwrap_or(0)
    };
    // Of equals the last is taken: the comma is the rule.
    Ok([b';', b'\t', b','].into_iter().max_by_key(most).unwrap_or(b','))
}

/// Letters of a foot row that a warning shows.
const FOOT_LETTERS: usize = 20;

fn line_of(row: &csv::StringRecord) -> u32 {
    row.position().map_or(0, |position| u32::try_from(position.line()).unwrap_or(u32::MAX))
}
