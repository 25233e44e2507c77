//! Owns the report as a workbook (XLSX, ECMA-376): summary, townships, calls, reasons of failure, deliveries, each on its sheet.
//! Refuses to fetch anything. Invariant: every text is written as text, so no cell is ever a formula; rows that no sheet can hold are told.

use rust_xlsxwriter::{Format, Workbook, Worksheet, XlsxError};

use super::csv;
use crate::{
    delivery::coverage::PeopleView,
    engine::look::{CallRow, DeliveryRow, Report},
};

/// What a sheet holds (ECMA-376), less the heading and the line that says what is missing.
const ROWS_MAX: u32 = 1_048_574;
/// A cell holds no more letters than this.
const CELL_LETTERS_MAX: usize = 32_767;

const PEOPLE: [&str; 6] = ["应到人数", "已送达", "已应答", "等待中", "失败", "无地址"];

pub(super) fn workbook(report: &Report, rows: impl Iterator<Item = DeliveryRow>) -> Result<Vec<u8>, XlsxError> {
    let mut book = Workbook::new();
    let bold = Format::new().set_bold();
    summary(Sheet::add(&mut book, "概况", &bold)?, report)?;
    townships(Sheet::add(&mut book, "乡镇", &bold)?, report)?;
    calls(Sheet::add(&mut book, "叫应", &bold)?, &report.calls)?;
    let mut failures = Sheet::add(&mut book, "失败原因", &bold)?;
    failures.head(&["渠道", "原因", "条数"])?;
    for failure in &report.failures {
        failures.row(&[&failure.channel, &failure.reason], &[failure.count])?;
    }
    deliveries(Sheet::add(&mut book, "发送明细", &bold)?, rows)?;
    book.save_to_buffer()
}

fn summary(mut sheet: Sheet<'_>, report: &Report) -> Result<(), XlsxError> {
    let alert = &report.alert;
    let texts = [
        ("标题", alert.headline.clone()),
        ("编号", alert.identifier.clone()),
        ("发布单位", alert.sender_name.clone()),
        ("事件", alert.event_name.clone()),
        ("级别", alert.level.chinese().to_owned()),
        ("状态", alert.state.to_owned()),
        ("演练", if alert.drill { "是" } else { "否" }.to_owned()),
        ("统计时间", report.as_of.to_string()),
        ("范围", report.coverage.area.name.clone()),
    ];
    for (name, text) in &texts {
        sheet.row(&[name, text], &[])?;
    }
    let line = &alert.timeline;
    let steps = [
        ("签发", line.issued),
        ("收到", line.received),
        ("放行", line.released),
        ("首条发出", line.first_sent),
        ("末条发出", line.last_sent),
        ("办结", line.completed),
    ];
    for (name, at) in steps {
        sheet.row(&[name, &at.map_or_else(String::new, |at| at.to_string())], &[])?;
    }
    let people = numbers(report.coverage.people);
    for (name, number) in PEOPLE.iter().zip(people) {
        sheet.row(&[name], &[number])?;
    }
    Ok(())
}

fn townships(mut sheet: Sheet<'_>, report: &Report) -> Result<(), XlsxError> {
    sheet.head(&[["代码", "名称"].as_slice(), &PEOPLE].concat())?;
    for child in &report.coverage.children {
        sheet.row(&[&child.code.to_string(), &child.name], &numbers(child.people))?;
    }
    Ok(())
}

const fn numbers(people: PeopleView) -> [u32; 6] {
    [people.targeted, people.reached, people.acknowledged, people.pending, people.failed, people.unreachable]
}

fn calls(mut sheet: Sheet<'_>, calls: &[CallRow]) -> Result<(), XlsxError> {
    sheet.head(&["姓名", "角色", "区划", "电话", "状态", "呼叫时间", "应答期限", "应答时间", "方式", "记录人", "备注"])?;
    for call in calls {
        let who = &call.recipient;
        let known = |text: &Option<String>| text.clone().unwrap_or_default();
        let (area, asked, due) = (who.area.to_string(), call.asked_at.to_string(), call.due_at.to_string());
        let answered = call.answered_at.map_or_else(String::new, |at| at.to_string());
        let cells =
            [&who.name, &who.role, &area, &known(&who.phone), call.state, &asked, &due, &answered, &known(&call.via), &known(&call.by)];
        sheet.row(&[cells.as_slice(), &[known(&call.note).as_str()]].concat(), &[])?;
    }
    Ok(())
}

fn deliveries(mut sheet: Sheet<'_>, rows: impl Iterator<Item = DeliveryRow>) -> Result<(), XlsxError> {
    sheet.head(&["编号", "区划", "角色", "人员", "姓名", "电话", "渠道", "状态", "次数", "原因", "受理", "送达", "应答或播放"])?;
    let mut over = 0_u64;
    for row in rows {
        if sheet.next > ROWS_MAX {
            over += 1;
            continue;
        }
        let cells = csv::cells(row);
        sheet.row(&cells.each_ref().map(String::as_str), &[])?;
    }
    if over > 0 {
        sheet.row(&[&format!("另有 {over} 条超出表格行数上限，见 CSV")], &[])?;
    }
    Ok(())
}

/// A sheet that is written row by row and kept on disk until the book is whole.
struct Sheet<'a> {
    sheet: &'a mut Worksheet,
    bold: &'a Format,
    next: u32,
}

impl<'a> Sheet<'a> {
    fn add(book: &'a mut Workbook, name: &str, bold: &'a Format) -> Result<Self, XlsxError> {
        let sheet = book.add_worksheet_with_constant_memory()?;
        sheet.set_name(name)?.set_column_width(0, 22)?.set_column_width(1, 26)?;
        Ok(Self { sheet, bold, next: 0 })
    }

    fn head(&mut self, names: &[&str]) -> Result<(), XlsxError> {
        for (column, name) in (0..).zip(names) {
            self.sheet.write_string_with_format(self.next, column, *name, self.bold)?;
        }
        self.next += 1;
        Ok(())
    }

    /// Texts, then numbers behind them.
    fn row(&mut self, texts: &[&str], numbers: &[u32]) -> Result<(), XlsxError> {
        let mut column = 0;
        for text in texts {
            let bounded: String = text.chars().take(CELL_LETTERS_MAX).collect();
            self.sheet.write_string(self.next, column, bounded)?;
            column += 1;
        }
        for number in numbers {
            self.sheet.write_number(self.next, column, *number)?;
            column += 1;
        }
        self.next += 1;
        Ok(())
    }
}
