//! Owns the way from files to records: encodings, headings, rows, and each bad cell by file, line and column.
//! Refuses to know what is kept, but for the cells that a file leaves out; references are the merge's business.
//! Invariant: a row is read whole or named; nothing is guessed from a heading that is not known.

use std::io;

use super::{
    area_record::AreaRecord,
    columns::Kind,
    content::ImportFile,
    endpoint::EndpointRecord,
    hazard_point::HazardPointRecord,
    merge::{Import, Mode, Placed},
    record::{Cells, Record},
    row_faults::RowFaults,
    snapshot::Snapshot,
    speaker::SpeakerRecord,
    subscriber::SubscriberRecord,
    table::{ROWS_MAX, TEXT_BYTES_MAX},
    workbook,
};
use crate::{area::AreaCode, datum::Datum};

/// A million subscribers take about 100 MB as CSV, five million with every cell filled less than a gigabyte.
pub const FILE_BYTES_MAX: u64 = 1 << 30;
/// One of each kind, for each of a few townships that send their own.
pub const FILES_MAX: usize = 64;

/// How an import is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    pub mode: Mode,
    pub datum: Datum,
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
    let mut reading = Reading { import: Import::default(), faults: RowFaults::default(), options, kept };
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
}

/// A file or a sheet while it is read.
struct Sheet {
    /// As faults name it.
    name: String,
    /// What may tell the kind when the headings do not.
    hint: String,
    layout: Option<Layout>,
    /// Its headings were at fault: its rows cannot be read.
    is_refused: bool,
}

impl Sheet {
    fn named(name: String) -> Self {
        Self { hint: name.clone(), name, layout: None, is_refused: false }
    }
}

/// Where the columns of a kind stand in a file.
struct Layout {
    kind: Kind,
    file: u16,
    name: String,
    /// Per column of the kind, the cell of the file.
    cells: Vec<Option<usize>>,
    width: usize,
}

impl Reading<'_> {
    fn read_file(&mut self, name: &str, file: &ImportFile<'_>, at_byte: &dyn Fn(u64)) -> io::Result<()> {
        if file.begins_with(workbook::SIGNATURE)? {
            self.read_workbook(name, file);
            return Ok(());
        }
        let Some(text) = file.text()? else {
            self.faults.add(name, "bad-encoding", "neither UTF-8 nor GB18030");
            return Ok(());
        };
        let mut rows = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text);
        let mut row = csv::StringRecord::new();
        let mut sheet = Sheet::named(name.to_owned());
        for nth in 1_u32.. {
            match rows.read_record(&mut row) {
                Ok(false) => break,
                Ok(true) => self.take_row(&mut sheet, line_of(&row), &row),
                // The text is UTF-8 and rows may differ in length, so only a broken reader is left.
                Err(error) => return Err(io::Error::other(error)),
            }
            if nth.is_multiple_of(REPORT_ROWS) {
                at_byte(rows.get_ref().read_bytes());
            }
        }
        self.end_sheet(&sheet);
        Ok(())
    }

    /// Every sheet is a file of its own; sheets without a single cell are passed over.
    fn read_workbook(&mut self, name: &str, file: &ImportFile<'_>) {
        let mut open: Option<(String, Sheet)> = None;
        let result = workbook::read_rows(file, |sheet, line, mut cells| {
            if open.as_ref().is_none_or(|(current, _)| current != sheet) {
                // The sheet's name tells the kind; the file's is needed to find it.
                open = Some((sheet.to_owned(), Sheet { hint: sheet.to_owned(), ..Sheet::named(format!("{name} [{sheet}]")) }));
            }
            let Some((_, sheet)) = &mut open else { return };
            if let Some(layout) = &sheet.layout
                && cells.iter().skip(layout.width).all(|cell| cell.trim().is_empty())
            {
                // A workbook does not store the empty cells at the end of a row.
                cells.resize(layout.width, String::new());
            }
            self.take_row(sheet, line, &csv::StringRecord::from(cells));
        });
        match result {
            Ok(()) if open.is_none() => self.faults.add(name, "empty-file", "there is no row of headings"),
            Ok(()) => {}
            Err(error) => self.faults.add(name, "bad-workbook", error.to_string()),
        }
    }

    fn take_row(&mut self, sheet: &mut Sheet, line: u32, row: &csv::StringRecord) {
        let is_blank = row.iter().all(|cell| cell.trim().is_empty());
        if is_blank || sheet.is_refused {
            return;
        }
        match &sheet.layout {
            Some(layout) => self.read_row(layout, line, row),
            None => {
                sheet.layout = self.lay_out(sheet, line, row);
                sheet.is_refused = sheet.layout.is_none();
            }
        }
    }

    fn end_sheet(&mut self, sheet: &Sheet) {
        if sheet.layout.is_none() && !sheet.is_refused {
            self.faults.add(sheet.name.clone(), "empty-file", "there is no row of headings");
        }
    }

    fn lay_out(&mut self, sheet: &Sheet, line: u32, headings: &csv::StringRecord) -> Option<Layout> {
        let name = &sheet.name;
        let headings: Vec<&str> = headings.iter().map(str::trim).collect();
        // Spreadsheets leave empty columns behind the last one.
        let width = headings.len();
        let used = headings.iter().rposition(|heading| !heading.is_empty()).map_or(0, |last| last + 1);
        let headings = &headings[..used];
        let Some(kind) = Kind::of_file(&sheet.hint, headings) else {
            let message = "the headings are not those of areas, subscribers, speakers, hazard points or endpoints";
            self.faults.add(format!("{name} line {line}"), "unknown-kind", message);
            return None;
        };
        let before = self.faults.len();
        let mut cells = vec![None; kind.columns().len()];
        for (at, heading) in headings.iter().enumerate() {
            let path = || format!("{name} line {line}, {heading}");
            match kind.column(heading) {
                None => self.faults.add(path(), "unknown-column", format!("{} have no column {heading:?}", kind.name())),
                Some(column) if cells[column].is_some() => self.faults.add(path(), "double-column", "the column stands there twice"),
                Some(column) => cells[column] = Some(at),
            }
        }
        for (column, _) in kind.columns().iter().zip(&cells).filter(|(column, cell)| column.required && cell.is_none()) {
            self.faults.add(
                format!("{name} line {line}, {}", column.name),
                "missing-column",
                format!("the column {} is needed", column.name),
            );
        }
        if self.faults.len() > before {
            return None;
        }
        if !self.import.kinds.contains(&kind) {
            self.import.kinds.push(kind);
        }
        self.import.files.push(name.clone());
        let file = u16::try_from(self.import.files.len() - 1).unwrap_or(u16::MAX);
        Some(Layout { kind, file, name: name.clone(), cells, width })
    }

    fn read_row(&mut self, layout: &Layout, line: u32, row: &csv::StringRecord) {
        match layout.kind {
            Kind::Areas => self.read_record(layout, line, row, |import| &mut import.areas),
            Kind::HazardPoints => self.read_record(layout, line, row, |import| &mut import.hazard_points),
            Kind::Subscribers => self.read_record(layout, line, row, |import| &mut import.subscribers),
            Kind::Speakers => self.read_record(layout, line, row, |import| &mut import.speakers),
            Kind::Endpoints => self.read_record(layout, line, row, |import| &mut import.endpoints),
        }
    }

    fn read_record<R: Record + Kept>(
        &mut self,
        layout: &Layout,
        line: u32,
        row: &csv::StringRecord,
        list: impl Fn(&mut Import) -> &mut Vec<Placed<R>>,
    ) {
        let place = |column: &str| format!("{} line {line}, {column}", layout.name);
        let id_at = layout.cells[0].unwrap_or(0);
        let id = row.get(id_at).unwrap_or("").trim();
        if row.len() != layout.width {
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
        // A column that the file does not have leaves the kept value alone.
        let lacks_columns = layout.cells.iter().any(Option::is_none);
        let kept = (lacks_columns && self.options.mode == Mode::Upsert).then(|| R::kept(self.kept, id)).flatten();
        let kept_cells = kept.as_ref().map(Record::cells);
        let kept_cell = |column: usize| kept_cells.as_ref().map_or("", |cells| &*cells[column]);
        let cell = |(column, at): (usize, &Option<usize>)| at.map_or_else(|| kept_cell(column), |at| row.get(at).unwrap_or(""));
        let values: Vec<&str> = layout.cells.iter().enumerate().map(cell).collect();
        let has_places = R::KIND.column("lon").is_some_and(|lon| layout.cells[lon].is_some());
        let datum = if has_places { self.options.datum } else { Datum::Wgs84 };
        match R::read(&mut Cells::new(R::KIND, &values, datum, &place, &mut self.faults)) {
            Some(record) => list(&mut self.import).push(Placed { file: layout.file, line, record }),
            None => self.leave_out::<R>(id),
        }
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

fn line_of(row: &csv::StringRecord) -> u32 {
    row.position().map_or(0, |position| u32::try_from(position.line()).unwrap_or(u32::MAX))
}
