//! Spreadsheets: a table for each sheet.

use std::io::Cursor;

use calamine::{Data, DataRef, DataType as _, Ods, Reader, Xls, Xlsx};

use super::{Bounds, Failed, Page, Result, markdown, plain, zipped::Zipped};

/// Columns that are looked at.
const MAX_COLUMNS: u32 = 256;

fn unread(err: &dyn std::fmt::Display) -> Failed {
    Failed(format!("it is not a spreadsheet: {err}"))
}

/// Cell by cell: a sheet that claims a million empty rows between two cells costs nothing.
pub(super) fn xlsx(input: &[u8], bounds: Bounds, page: &mut Page<'_>) -> Result<()> {
    Zipped::open(input, bounds)?.check()?;
    let mut book: Xlsx<_> = Xlsx::new(Cursor::new(input)).map_err(|err| unread(&err))?;
    for name in book.sheet_names() {
        heading(page, &name)?;
        let Ok(mut cells) = book.worksheet_cells_reader(&name) else { continue }; // a chart
        let mut sheet = Sheet::default();
        while let Some(cell) = cells.next_cell().map_err(|err| unread(&err))? {
            let (row, column) = cell.get_position();
            sheet.cell(page, row, column, shown(cell.get_value()))?;
        }
        sheet.end(page)?;
    }
    Ok(())
}

pub(super) fn xls(input: &[u8], page: &mut Page<'_>) -> Result<()> {
    let book: Xls<_> = Xls::new(Cursor::new(input)).map_err(|err| unread(&err))?;
    ranges(book, page)
}

pub(super) fn ods(input: &[u8], bounds: Bounds, page: &mut Page<'_>) -> Result<()> {
    Zipped::open(input, bounds)?.check()?;
    let book: Ods<_> = Ods::new(Cursor::new(input)).map_err(|err| unread(&err))?;
    ranges(book, page)
}

fn ranges<R: Reader<Cursor<T>>, T: AsRef<[u8]>>(mut book: R, page: &mut Page<'_>) -> Result<()>
where
    R::Error: std::fmt::Display,
{
    for name in book.sheet_names() {
        heading(page, &name)?;
        let range = book.worksheet_range(&name).map_err(|err| unread(&err))?;
        let (top, left) = range.start().unwrap_or_default();
        let mut sheet = Sheet::default();
        for (row, column, value) in range.used_cells() {
            let place = |at: usize, begin: u32| u32::try_from(at).unwrap_or(u32::MAX).saturating_add(begin);
            sheet.cell(page, place(row, top), place(column, left), shown::<Data>(value))?;
        }
        sheet.end(page)?;
    }
    Ok(())
}

fn heading(page: &mut Page<'_>, name: &str) -> Result<()> {
    page.text(&format!("## {}\n\n", markdown::one_line(&plain::clean(name))))
}

/// The rows of a sheet as they come; rows without a cell are left out.
#[derive(Default)]
struct Sheet {
    table: markdown::Table,
    row: u32,
    cells: Vec<String>,
}

impl Sheet {
    fn cell(&mut self, page: &mut Page<'_>, row: u32, column: u32, text: String) -> Result<()> {
        if row != self.row {
            self.write(page)?;
            self.row = row;
        }
        if column >= MAX_COLUMNS || text.is_empty() {
            return Ok(());
        }
        let at = column as usize;
        if self.cells.len() <= at {
            self.cells.resize(at + 1, String::new());
        }
        self.cells[at] = text;
        Ok(())
    }

    fn write(&mut self, page: &mut Page<'_>) -> Result<()> {
        let cells = std::mem::take(&mut self.cells);
        self.table.row(page, cells.iter().map(String::as_str))
    }

    fn end(mut self, page: &mut Page<'_>) -> Result<()> {
        self.write(page)?;
        page.text("\n")
    }
}

/// A cell as people read it.
fn shown<D: Cell>(value: &D) -> String {
    let date = value.date();
    let Some(date) = date else { return plain::clean(&value.text()).into_owned() };
    if !date.is_datetime() {
        let seconds = (date.as_f64() * 86_400.0).round();
        return format!("{}:{:02}:{:02}", (seconds / 3600.0).floor(), (seconds / 60.0).floor() % 60.0, seconds % 60.0);
    }
    let (year, month, day, hour, minute, second, _) = date.to_ymd_hms_milli();
    match (hour, minute, second) {
        (0, 0, 0) => format!("{year:04}-{month:02}-{day:02}"),
        _ => format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"),
    }
}

/// The two types of cells that calamine has.
trait Cell {
    fn date(&self) -> Option<calamine::ExcelDateTime>;
    fn text(&self) -> String;
}

impl Cell for Data {
    fn date(&self) -> Option<calamine::ExcelDateTime> {
        if let Self::DateTime(date) = self { Some(*date) } else { None }
    }
    fn text(&self) -> String {
        self.as_string().unwrap_or_else(|| self.to_string())
    }
}

impl Cell for DataRef<'_> {
    fn date(&self) -> Option<calamine::ExcelDateTime> {
        if let Self::DateTime(date) = self { Some(*date) } else { None }
    }
    fn text(&self) -> String {
        match self {
            DataRef::Bool(value) => value.to_string(),
            DataRef::Error(error) => error.to_string(),
            other => other.as_string().unwrap_or_default(),
        }
    }
}
