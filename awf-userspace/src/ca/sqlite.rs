//! The smallest data base of SQLite that another program may go on writing to: one table with a unique index, a page each
//! (<https://www.sqlite.org/fileformat2.html>). Pure; by hand, because what writes it elsewhere is SQLite itself, in C.

/// The smallest page that holds a table; the largest there is.
const PAGES: [u32; 5] = [4096, 8192, 16_384, 32_768, 65_536];
/// Of page 1, before the page itself begins.
const FILE_HEADER: usize = 100;
const PAGE_HEADER: usize = 8;
/// Bytes of a cell's address.
const POINTER: usize = 2;
/// Page kinds: a leaf of a table's tree, and of an index's.
const TABLE_LEAF: u8 = 13;
const INDEX_LEAF: u8 = 10;
/// What a leaf of a table keeps free of each row; one that is longer goes to other pages.
const KEPT_OF_ROW: usize = 35;
/// What SQLite calls itself, 3.46.0: it is not interpreted.
const VERSION: u32 = 3_046_000;

/// A value in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Integer(u32),
    Text(String),
    Blob(Vec<u8>),
}

/// A table whose first column, an integer, is its key: `PRIMARY KEY` without a type, which makes an index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    pub(super) name: &'a str,
    /// The statement that makes it.
    pub(super) sql: &'a str,
    /// Each with its key first, in ascending order.
    pub(super) rows: &'a [Vec<Value>],
}

/// The file; `None` if the rows do not fit into the largest page.
pub(super) fn file(table: &Table<'_>) -> Option<Vec<u8>> {
    PAGES.iter().find_map(|size| of_pages(table, *size))
}

fn of_pages(table: &Table<'_>, size: u32) -> Option<Vec<u8>> {
    let page = size as usize;
    let master = [
        master_row("table", table.name, table, 2, Value::Text(table.sql.to_owned())),
        master_row("index", &format!("sqlite_autoindex_{}_1", table.name), table, 3, Value::Null),
    ];
    let rows: Vec<_> = table.rows.iter().map(|row| record(row)).collect();
    if master.iter().chain(&rows).any(|row| row.len() > page - KEPT_OF_ROW) {
        return None;
    }
    let numbered = |(row, number): (&Vec<u8>, u32)| {
        [varint(row.len() as u64), varint(number.into()), row.clone()].concat()
    };
    let keyed = |(row, number): (&Vec<Value>, u32)| {
        let key = record(&[row.first().cloned().unwrap_or(Value::Null), Value::Integer(number)]);
        [varint(key.len() as u64), key].concat()
    };
    let first = leaf(page, FILE_HEADER, TABLE_LEAF, master.iter().zip(1..).map(numbered))?;
    let second = leaf(page, 0, TABLE_LEAF, rows.iter().zip(1..).map(numbered))?;
    let third = leaf(page, 0, INDEX_LEAF, table.rows.iter().zip(1..).map(keyed))?;
    let mut file = [first, second, third].concat();
    file[..FILE_HEADER].copy_from_slice(&file_header(size));
    Some(file)
}

/// Of `sqlite_master`: `type, name, tbl_name, rootpage, sql`.
fn master_row(kind: &str, name: &str, table: &Table<'_>, root: u32, sql: Value) -> Vec<u8> {
    let text = |text: &str| Value::Text(text.to_owned());
    record(&[text(kind), text(name), text(table.name), Value::Integer(root), sql])
}

/// Section 1.3.
fn file_header(size: u32) -> [u8; FILE_HEADER] {
    let mut header = [0; FILE_HEADER];
    header[..16].copy_from_slice(b"SQLite format 3\0");
    // 65536 is written as 1.
    let written = u16::try_from(size).unwrap_or(1);
    header[16..18].copy_from_slice(&written.to_be_bytes());
    // A journal for rollback; no bytes reserved; fractions of payload, which are fixed.
    header[18..24].copy_from_slice(&[1, 1, 0, 64, 32, 32]);
    // Changes so far; pages; schema cookie and format; UTF-8; of which change the number of pages is.
    for (at, word) in [(24, 1), (28, 3), (40, 1), (44, 4), (56, 1), (92, 1), (96, VERSION)] {
        header[at..at + 4].copy_from_slice(&u32::to_be_bytes(word));
    }
    header
}

/// A page of `cells`, behind `before` bytes of something else; `None` if they do not fit.
fn leaf(size: usize, before: usize, kind: u8, cells: impl Iterator<Item = Vec<u8>>) -> Option<Vec<u8>> {
    let mut page = vec![0; size];
    let (mut end, mut count) = (size, 0_u16);
    for cell in cells {
        let pointer = before + PAGE_HEADER + POINTER * usize::from(count);
        end = end.checked_sub(cell.len()).filter(|at| *at >= pointer + POINTER)?;
        page[end..end + cell.len()].copy_from_slice(&cell);
        page[pointer..pointer + POINTER].copy_from_slice(&u16::try_from(end).ok()?.to_be_bytes());
        count += 1;
    }
    let header = &mut page[before..before + PAGE_HEADER];
    header[0] = kind;
    header[3..5].copy_from_slice(&count.to_be_bytes());
    // Where cells begin; 65536, of an empty page, is written as 0.
    header[5..7].copy_from_slice(&u16::try_from(end).unwrap_or(0).to_be_bytes());
    Some(page)
}

/// Section 2.1: the types of all values, then the values.
fn record(values: &[Value]) -> Vec<u8> {
    let (mut types, mut body) = (Vec::new(), Vec::new());
    for value in values {
        let (kind, bytes) = match value {
            Value::Null => (0, Vec::new()),
            // Signed, and so larger than the number.
            Value::Integer(number) => (5, [&[0, 0][..], &number.to_be_bytes()].concat()),
            Value::Blob(bytes) => (12 + 2 * bytes.len() as u64, bytes.clone()),
            Value::Text(text) => (13 + 2 * text.len() as u64, text.as_bytes().to_vec()),
        };
        types.extend(varint(kind));
        body.extend(bytes);
    }
    // The length counts itself.
    let length = types.len() as u64;
    let own = (1..).find(|own| varint(length + own).len() as u64 == *own).unwrap_or(1);
    [varint(length + own), types, body].concat()
}

/// Section 1.6, for numbers of less than 56 bits: seven bits a byte, the most significant first.
fn varint(number: u64) -> Vec<u8> {
    let mut bytes = vec![(number & 0x7f) as u8];
    let mut rest = number >> 7;
    while rest != 0 {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.reverse();
    bytes
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, process::Stdio};

    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::*;

    /// Of each file the size of its pages and its rows, as SQLite reads them; it checks the file and writes another row.
    const READ: &str = "
import sqlite3, sys, tempfile, json, base64
show = lambda v: v.hex() if isinstance(v, bytes) else v
def read(file):
    f = tempfile.NamedTemporaryFile(dir='/dev/shm'); f.write(base64.b64decode(file)); f.flush()
    c = sqlite3.connect(f.name)
    check = lambda: c.execute('pragma integrity_check').fetchall()
    assert check() == [('ok',)], check()
    rows = [[show(v) for v in row] for row in c.execute('select * from t order by rowid')]
    for row in rows:
        assert c.execute('select count(*) from t indexed by sqlite_autoindex_t_1 where id = ?', row[:1]).fetchone() == (1,)
        try: c.execute('insert into t (id) values (?)', row[:1]); assert False
        except sqlite3.IntegrityError: pass
    c.execute('insert into t (id, a) values (0, ?)', (b'x' * 100000,)); c.execute('create index i on t (a)'); c.commit()
    assert check() == [('ok',)], check()
    return [c.execute('pragma page_size').fetchone()[0], rows]
json.dump([read(file) for file in sys.stdin.buffer.read().split()], sys.stdout)";

    fn read(files: &[Vec<u8>]) -> Vec<(u32, serde_json::Value)> {
        let mut python = std::process::Command::new("/usr/bin/python3");
        python.args(["-c", READ]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut python = python.spawn().expect("python3 is installed");
        let lines: Vec<_> = files.iter().map(|file| STANDARD.encode(file)).collect();
        python.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
        let out = python.wait_with_output().unwrap();
        assert!(out.status.success());
        serde_json::from_slice(&out.stdout).unwrap()
    }

    fn json(value: &Value) -> serde_json::Value {
        match value {
            Value::Null => serde_json::Value::Null,
            Value::Integer(number) => (*number).into(),
            Value::Text(text) => text.clone().into(),
            Value::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
        }
    }

    fn written(rows: &[Vec<Value>]) -> Option<Vec<u8>> {
        file(&Table {
            name: "t",
            sql: "CREATE TABLE t (id PRIMARY KEY UNIQUE ON CONFLICT ABORT, a, b)",
            rows,
        })
    }

    /// The sizes of their pages.
    #[track_caller]
    fn come_back(tables: &[Vec<Vec<Value>>]) -> Vec<u32> {
        let files: Vec<_> = tables.iter().map(|rows| written(rows).unwrap()).collect();
        let back = read(&files);
        let want = |rows: &Vec<Vec<Value>>| -> Vec<Vec<_>> {
            rows.iter().map(|row| row.iter().map(json).collect()).collect()
        };
        tables.iter().zip(&back).for_each(|(rows, back)| assert_eq!(back.1, serde_json::json!(want(rows))));
        back.iter().map(|back| back.0).collect()
    }

    fn row(key: u32, blob: usize) -> Vec<Value> {
        vec![Value::Integer(key), Value::Blob(vec![key.to_be_bytes()[3]; blob]), Value::Null]
    }

    #[test]
    fn sqlite_reads_what_is_written_and_goes_on_with_it() {
        let all = vec![
            vec![Value::Integer(1), Value::Text("müller".into()), Value::Blob(vec![0, 255])],
            vec![Value::Integer(u32::MAX), Value::Text(String::new()), Value::Blob(Vec::new())],
        ];
        assert_eq!(come_back(&[all, Vec::new()]), [4096, 4096]);
    }

    /// At every length at which a number takes one byte more, and at which another page is needed.
    #[test]
    fn rows_of_every_size_up_to_the_largest_page_come_back() {
        let edges = [57, 58, 59, 114, 115, 116, 127, 128, 4000, 4020, 4040, 4060, 8100, 8130, 8160];
        let edges = edges.into_iter().chain([8185, 8186, 8187, 16_320, 16_380, 32_700, 65_400]);
        let one: Vec<_> = edges.flat_map(|length| (length..length + 3).map(|n| vec![row(7, n)])).collect();
        come_back(&one);
        let many: Vec<_> = (1..600).map(|key| row(key, key as usize % 90)).collect();
        assert_eq!(come_back(&[many]), [65_536]);
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let largest = (65_000..65_536).rev().find(|length| written(&[row(1, *length)]).is_some()).unwrap();
        assert_eq!(come_back(&[vec![row(1, largest)]]), [65_536]);
        assert!(written(&[row(1, largest + 1)]).is_none() && written(&[row(1, 70_000)]).is_none());
        assert!(written(&[row(1, 40_000), row(2, 30_000)]).is_none());
    }

    /// Lengths as a generator has them (xorshift), the same ones each time.
    #[test]
    fn rows_at_random_come_back() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut table = || (1..=random(6) as u32).map(|key| (key, random(6000) as usize)).collect::<Vec<_>>();
        let tables: Vec<_> = (0..60).map(|_| table()).collect();
        let rows = |table: Vec<(u32, usize)>| table.into_iter().map(|(key, blob)| row(key, blob)).collect();
        come_back(&tables.into_iter().map(rows).collect::<Vec<_>>());
    }
}
