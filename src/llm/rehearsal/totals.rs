//! `{{month_totals}}`: the one sum that a rehearsal works out, so that its demo is right about files that it has not
//! seen before.

use std::{collections::BTreeMap, fmt::Write as _};

/// Digits after the point that are kept.
const SCALE: u32 = 4;

/// A Markdown table of the sums per month over all files, in exact decimal arithmetic.
///
/// The month comes from the first column that holds `YYYY-MM`; summed is the column that is called amount, total, value,
/// price, revenue or sum, else the last one that holds numbers.
pub(super) fn by_month<'a>(files: impl Iterator<Item = &'a str>) -> Result<String, String> {
    let mut months: BTreeMap<String, (u64, i128)> = BTreeMap::new();
    for text in files {
        let rows: Vec<Vec<String>> = rows(text);
        let Some((header, rows)) = rows.split_first() else { continue };
        let Some(first) = rows.first() else { continue };
        let date = first.iter().position(|cell| month(cell).is_some()).ok_or("a CSV file has no column with dates")?;
        let named = header.iter().position(|name| {
            let name = name.to_lowercase();
            ["amount", "total", "value", "price", "revenue", "sum"].iter().any(|known| name.contains(known))
        });
        let amount = named
            .or_else(|| first.iter().rposition(|cell| decimal(cell).is_some()))
            .ok_or("a CSV file has no column with amounts")?;
        for row in rows {
            let (Some(month), Some(amount)) =
                (row.get(date).and_then(|cell| month(cell)), row.get(amount).and_then(|cell| decimal(cell)))
            else {
                return Err(format!("the line {:?} has no date or no amount", row.join(",")));
            };
            let entry = months.entry(month.to_owned()).or_default();
            entry.0 += 1;
            entry.1 = entry.1.saturating_add(amount);
        }
    }
    if months.is_empty() {
        return Err("no CSV file has been read".into());
    }
    let mut table = "| Month | Entries | Total |\n| --- | ---: | ---: |\n".to_owned();
    let (mut entries, mut sum) = (0, 0_i128);
    for (month, (count, total)) in &months {
        let _ = writeln!(table, "| {month} | {count} | {} |", render(*total));
        entries += count;
        sum = sum.saturating_add(*total);
    }
    let _ = write!(table, "| **All** | **{entries}** | **{}** |", render(sum));
    Ok(table)
}

fn rows(text: &str) -> Vec<Vec<String>> {
    let text = text.trim_start_matches('\u{feff}');
    let head = text.lines().next().unwrap_or_default();
    let separator = [';', '\t', ','].into_iter().find(|separator| head.contains(*separator)).unwrap_or(',');
    text.lines().filter(|line| !line.trim().is_empty()).map(|line| cells(line, separator)).collect()
}

fn cells(line: &str, separator: char) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c == separator && !quoted => cells.push(String::new()),
            c => cells.last_mut().into_iter().for_each(|cell| cell.push(c)),
        }
    }
    cells.iter().map(|cell| cell.trim().to_owned()).collect()
}

/// The `YYYY-MM` that a cell begins with.
fn month(cell: &str) -> Option<&str> {
    let month = cell.get(..7)?;
    let shape = month.bytes().enumerate().all(|(at, byte)| if at == 4 { byte == b'-' } else { byte.is_ascii_digit() });
    (shape && cell.as_bytes().get(7).is_none_or(|byte| !byte.is_ascii_digit())).then_some(month)
}

fn decimal(cell: &str) -> Option<i128> {
    let (negative, digits) = cell.strip_prefix('-').map_or((false, cell), |rest| (true, rest));
    let (whole, fraction) = digits.split_once(['.', ',']).unwrap_or((digits, ""));
    let numeric = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 18 || fraction.len() > SCALE as usize || !numeric(whole) || !numeric(fraction)
    {
        return None;
    }
    let value: i128 = format!("{whole}{fraction:0<width$}", width = SCALE as usize).parse().ok()?;
    Some(if negative { -value } else { value })
}

/// With two digits after the point, or as many more as it needs.
fn render(value: i128) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let (value, unit) = (value.unsigned_abs(), 10_u128.pow(SCALE));
    let fraction = format!("{:0width$}", value % unit, width = SCALE as usize);
    let kept = fraction.trim_end_matches('0').len().max(2);
    format!("{sign}{}.{}", value / unit, &fraction[..kept])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_and_by_month() {
        let a = "date,item,amount\n2026-01-03,x,0.10\n2026-01-09,\"y, z\",0.20\n2026-02-01,x,-5\n";
        let b = "\u{feff}Datum;Preis;Total\r\n2026-02-11;9,99;1000,005\r\n";
        let table = by_month([a, b].into_iter()).unwrap();
        assert!(table.contains("| 2026-01 | 2 | 0.30 |"), "{table}");
        assert!(table.contains("| 2026-02 | 2 | 995.005 |"), "{table}");
        assert!(table.ends_with("| **All** | **4** | **995.305** |"), "{table}");
    }

    #[test]
    fn what_cannot_be_summed_is_refused() {
        assert!(by_month(std::iter::empty()).is_err());
        assert!(by_month(["name,age\nx,3\n"].into_iter()).unwrap_err().contains("dates"));
        assert!(
            by_month(["date,amount\n2026-01-01,1\n2026-01-02,?\n"].into_iter()).unwrap_err().contains("2026-01-02,?")
        );
    }

    #[test]
    fn without_a_telling_name_the_last_number_counts() {
        let table = by_month(["day,qty,eur\n2026-03-01,7,2.5\n"].into_iter()).unwrap();
        assert!(table.contains("| 2026-03 | 1 | 2.50 |"), "{table}");
    }
}
