//! Owns the step from a row of headings to a layout: which row they are, which kind they mean, and what each column was understood as.
//! Refuses to know cells below them. Invariant: a heading that may be a column misspelt is a fault; nothing is guessed from one that is not known.

use serde::Serialize;

use super::{
    columns::{Kind, bare},
    row_faults::RowFaults,
};

/// Titles, the name of the office, a date: rows that may stand above the headings.
pub(super) const ROWS_ABOVE_MAX: usize = 10;

/// How a file or sheet was read, for whoever sent it to look over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Understood {
    /// File, or file and sheet.
    pub file: String,
    pub kind: &'static str,
    /// Line of the headings.
    pub line: u32,
    pub rows: u32,
    pub columns: Vec<UnderstoodColumn>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnderstoodColumn {
    pub heading: String,
    /// The field that its cells are read into; none for a column that is ignored.
    pub field: Option<&'static str>,
}

/// Where the columns of a kind stand in a file.
pub(super) struct Layout {
    pub(super) kind: Kind,
    pub(super) file: u16,
    pub(super) name: String,
    /// Per column of the kind, the cell of the file.
    pub(super) cells: Vec<Option<usize>>,
    /// The town beside a village's name, where a file gives areas by their names.
    pub(super) town: Option<usize>,
    pub(super) width: usize,
    pub(super) understood: usize,
}

/// What a row may be as headings.
pub(super) struct Guess {
    pub(super) kind: Option<Kind>,
    /// Headings that are known, of the kind that knows most.
    pub(super) known: usize,
}

/// Headings of a town that stands beside the village's.
const TOWNS: &[&str] = &["乡镇", "所属乡镇", "所在乡镇", "乡", "镇", "街道", "乡镇街道", "乡镇名称", "镇街", "所属镇", "所属街道"];

/// Columns that offices keep for themselves.
const OF_NO_USE: &[&str] = &[
    "备注",
    "序号",
    "说明",
    "性别",
    "年龄",
    "民族",
    "签名",
    "签字",
    "填报人",
    "填报时间",
    "更新时间",
    "日期",
    "职称",
    "学历",
    "单位",
    "工作单位",
    "身份证号",
    "身份证号码",
    "政治面貌",
    "组别",
    "组",
    "村民小组",
    "照片",
    "图片",
    "remark",
    "note",
    "notes",
    "no",
    "no.",
];

/// Reads a row as headings of `hint` (the file's or the sheet's name).
pub(super) fn guess(hint: &str, row: &[&str]) -> Guess {
    let known = |kind: &Kind| row.iter().filter(|heading| kind.column(heading).is_some()).count();
    Guess { kind: Kind::of_file(hint, row), known: Kind::ALL.iter().map(known).max().unwrap_or(0) }
}

/// The cells of a kind's columns; faults and warnings for the rest.
pub(super) fn lay_out(
    kind: Kind,
    name: &str,
    line: u32,
    headings: &[&str],
    faults: &mut RowFaults,
) -> Option<(Layout, Vec<UnderstoodColumn>)> {
    let before = faults.len();
    let mut cells: Vec<Option<usize>> = vec![None; kind.columns().len()];
    let mut town = None;
    let mut columns = Vec::with_capacity(headings.len());
    for (at, heading) in headings.iter().enumerate() {
        let path = || format!("{name} line {line}, {heading}");
        let field = match kind.column(heading) {
            Some(column) => match cells[column] {
                Some(first) => second_column(kind, column, (headings[first], first), (heading, at), &mut cells, &path(), faults),
                None => {
                    cells[column] = Some(at);
                    Some(kind.columns()[column].name)
                }
            },
            None if heading.is_empty() => None,
            None if TOWNS.contains(&&*bare(heading)) => {
                town = Some(at);
                None
            }
            None => {
                unknown(kind, heading, &path(), faults);
                None
            }
        };
        columns.push(UnderstoodColumn { heading: (*heading).to_owned(), field });
    }
    // The town alone says where somebody belongs who answers for all of it.
    let area = kind.columns().iter().position(|column| column.name == "area");
    if let (Some(area), Some(at)) = (area, town)
        && cells[area].is_none()
    {
        cells[area] = Some(at);
        columns[at].field = Some("area");
    }
    for (column, _) in kind.columns().iter().zip(&cells).filter(|(column, cell)| column.required && cell.is_none()) {
        let message = format!("the column {} is needed; the headings are {}", column.called(), list(headings));
        faults.add(format!("{name} line {line}, {}", column.name), "missing-column", message);
    }
    // A heading that stands further right than a column that was replaced may have changed what is read.
    for (column, cell) in kind.columns().iter().zip(&cells) {
        if let Some(at) = cell {
            columns[*at].field = Some(column.name);
        }
    }
    let layout = Layout { kind, file: 0, name: name.to_owned(), cells, town, width: headings.len(), understood: 0 };
    (faults.len() == before).then_some((layout, columns))
}

/// A second heading of one column: the one that is its proper name is read (a code beats a name), two of one rank are a fault.
fn second_column(
    kind: Kind,
    column: usize,
    first: (&str, usize),
    second: (&str, usize),
    cells: &mut [Option<usize>],
    path: &str,
    faults: &mut RowFaults,
) -> Option<&'static str> {
    let column_of = &kind.columns()[column];
    let (first_rank, second_rank) = (column_of.rank(first.0), column_of.rank(second.0));
    if first_rank == second_rank {
        faults.add(path, "double-column", format!("the column {} stands there twice: {} and {}", column_of.called(), first.0, second.0));
        return None;
    }
    let (read, left) = if second_rank < first_rank { (second, first) } else { (first, second) };
    cells[column] = Some(read.1);
    faults.warn(path, "ignored-column", format!("{} is read as {}, so {} is not read", read.0, column_of.called(), left.0));
    (read.1 == second.1).then_some(column_of.name)
}

fn unknown(kind: Kind, heading: &str, path: &str, faults: &mut RowFaults) {
    let bare = bare(heading);
    let expected = || format!("{} have: {}", kind.name(), kind.expected());
    if OF_NO_USE.contains(&&*bare) {
        return faults.warn(path, "ignored-column", format!("{heading} is not read"));
    }
    match kind.resembling(&bare) {
        Some(column) => {
            faults.add(path, "unknown-column", format!("{heading:?} is not known: is {} meant? {}", column.called(), expected()))
        }
        None => faults.warn(path, "ignored-column", format!("{heading:?} is not known and not read; {}", expected())),
    }
}

/// For a sheet of which no row could be headings: the row that came nearest, and what is expected.
pub(super) fn refuse(name: &str, nearest: Option<(u32, &str, Vec<String>)>, hint: &str, faults: &mut RowFaults) {
    let Some((line, _, headings)) = nearest else {
        return faults.add(name, "empty-file", "there is no row of headings");
    };
    let row: Vec<&str> = headings.iter().map(String::as_str).collect();
    let most = |kind: &&Kind| row.iter().filter(|heading| kind.column(heading).is_some()).count();
    let kind = Kind::named(hint).or_else(|| Kind::ALL.iter().max_by_key(most).copied().filter(|kind| most(&kind) > 0));
    let kinds: Vec<String> = Kind::ALL.iter().map(|kind| format!("{} ({})", kind.name(), kind.needed())).collect();
    let Some(kind) = kind else {
        let message = format!(
            "the headings {} are not those of areas, subscribers, speakers, hazard points or endpoints; needed are: {}",
            list(&row),
            kinds.join("; ")
        );
        return faults.add(format!("{name} line {line}"), "unknown-kind", message);
    };
    let missing: Vec<String> = kind.missing(&row);
    let unknown: Vec<&str> = row.iter().filter(|heading| !heading.is_empty() && kind.column(heading).is_none()).copied().collect();
    let message = format!(
        "the headings {} look like {}, but {} is missing, and not understood is: {}; {} have: {}",
        list(&row),
        kind.name(),
        missing.join(", "),
        if unknown.is_empty() { "nothing".to_owned() } else { unknown.join(", ") },
        kind.name(),
        kind.expected()
    );
    faults.add(format!("{name} line {line}"), "unknown-kind", message);
}

fn list(headings: &[&str]) -> String {
    /// More headings than these tell nothing more.
    const SHOWN_MAX: usize = 20;
    let shown: Vec<String> = headings.iter().filter(|heading| !heading.is_empty()).take(SHOWN_MAX).map(|heading| short(heading)).collect();
    shown.join(", ")
}

fn short(heading: &str) -> String {
    /// A title is no heading.
    const LETTERS_MAX: usize = 30;
    if heading.chars().count() <= LETTERS_MAX { heading.to_owned() } else { heading.chars().take(LETTERS_MAX).chain(['…']).collect() }
}
