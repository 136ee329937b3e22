//! Parquet files made byte by byte, to say what no writer would.

/// A value of Thrift's compact protocol.
#[derive(Clone)]
pub enum Thrift {
    I32(i64),
    I64(i64),
    Binary(Vec<u8>),
    /// The type of the elements, and how many there are said to be.
    List(u8, u64, Vec<Thrift>),
    Struct(Vec<(i16, Thrift)>),
}

use Thrift::{Binary, I32, I64, List, Struct};

pub const STRUCTS: u8 = 12;

impl Thrift {
    pub fn structs(elements: Vec<Thrift>) -> Thrift {
        List(STRUCTS, elements.len() as u64, elements)
    }

    fn wire(&self) -> u8 {
        match self {
            I32(_) => 5,
            I64(_) => 6,
            Binary(_) => 8,
            List(..) => 9,
            Struct(_) => 12,
        }
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            I32(number) | I64(number) => varint((number << 1 ^ number >> 63) as u64, out),
            Binary(bytes) => {
                varint(bytes.len() as u64, out);
                out.extend(bytes);
            }
            List(wire, count, elements) => {
                out.push(0xf0 | wire);
                varint(*count, out);
                elements.iter().for_each(|element| element.write(out));
            }
            Struct(fields) => {
                let mut last = 0;
                for (id, value) in fields {
                    match id - last {
                        step @ 1..=15 => out.push((step as u8) << 4 | value.wire()),
                        _ => {
                            out.push(value.wire());
                            I32((*id).into()).write(out);
                        }
                    }
                    value.write(out);
                    last = *id;
                }
                out.push(0);
            }
        }
    }
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A page, with what its header says of it.
#[derive(Clone)]
pub struct Page {
    pub is_dictionary: bool,
    /// The size without compression.
    pub size: i64,
    pub count: i64,
    pub encoding: i64,
    pub body: Vec<u8>,
}

impl Page {
    /// Values as they are.
    pub fn plain(count: i64, body: Vec<u8>) -> Page {
        Page { is_dictionary: false, size: body.len() as i64, count, encoding: 0, body }
    }

    /// A dictionary of one value, and so many rows that have it.
    pub fn repeated(value: Vec<u8>, count: i64) -> Vec<Page> {
        // No bits for each, in one run.
        let mut body = vec![0];
        varint((count as u64) << 1, &mut body);
        let dictionary = Page { is_dictionary: true, ..Page::plain(1, value) };
        vec![dictionary, Page { encoding: 8, ..Page::plain(count, body) }]
    }

    fn write(&self, out: &mut Vec<u8>) {
        let (kind, part) = if self.is_dictionary { (2, 7) } else { (0, 5) };
        let mut fields = vec![(1, I32(self.count)), (2, I32(self.encoding))];
        if !self.is_dictionary {
            fields.extend([(3, I32(3)), (4, I32(3))]);
        }
        let stored = self.body.len() as i64;
        Struct(vec![(1, I32(kind)), (2, I32(self.size)), (3, I32(stored)), (part, Struct(fields))]).write(out);
        out.extend(&self.body);
    }
}

/// A column without nulls.
#[derive(Clone)]
pub struct Column {
    pub name: &'static str,
    /// 2 for whole numbers, 6 for bytes.
    pub kind: i64,
    pub pages: Vec<Page>,
    /// Bytes that the footer adds to its length.
    pub longer: i64,
}

#[derive(Clone)]
pub struct Craft {
    /// 0 for none, 1 for Snappy.
    pub codec: i64,
    pub rows: i64,
    /// How often the footer lists the row group.
    pub groups: usize,
    pub columns: Vec<Column>,
    /// Fields that the footer ends with; the last other one has number 4.
    pub more: Vec<(i16, Thrift)>,
}

impl Craft {
    /// `rows` equal images with class 0.
    pub fn images(png: &[u8], rows: i64) -> Craft {
        let image = [&(png.len() as u32).to_le_bytes()[..], png].concat();
        let columns = vec![
            Column { name: "img", kind: 6, pages: Page::repeated(image, rows), longer: 0 },
            Column { name: "label", kind: 2, pages: Page::repeated(vec![0; 8], rows), longer: 0 },
        ];
        Craft { codec: 0, rows, groups: 1, columns, more: Vec::new() }
    }

    pub fn schema(&self) -> Vec<Thrift> {
        let name = |name: &str| (4, Binary(name.as_bytes().to_vec()));
        let mut schema = vec![Struct(vec![name("root"), (5, I32(self.columns.len() as i64))])];
        schema.extend(self.columns.iter().map(|c| Struct(vec![(1, I32(c.kind)), (3, I32(0)), name(c.name)])));
        schema
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.bytes_with(Thrift::structs(self.schema()))
    }

    pub fn bytes_with(&self, schema: Thrift) -> Vec<u8> {
        let mut bytes = b"PAR1".to_vec();
        let mut chunks = Vec::new();
        for column in &self.columns {
            let start = bytes.len() as i64;
            column.pages.iter().for_each(|page| page.write(&mut bytes));
            let length = bytes.len() as i64 - start + column.longer;
            let meta = Struct(vec![
                (1, I32(column.kind)),
                (2, List(5, 1, vec![I32(0)])),
                (3, List(8, 1, vec![Binary(column.name.as_bytes().to_vec())])),
                (4, I32(self.codec)),
                (5, I64(self.rows)),
                (6, I64(length)),
                (7, I64(length)),
                (9, I64(start)),
            ]);
            chunks.push(Struct(vec![(2, I64(0)), (3, meta)]));
        }
        let group = Struct(vec![(1, Thrift::structs(chunks)), (2, I64(0)), (3, I64(self.rows))]);
        let groups = Thrift::structs(vec![group; self.groups]);
        let mut fields = vec![(1, I32(1)), (2, schema), (3, I64(self.rows)), (4, groups)];
        fields.extend(self.more.iter().cloned());
        let footer = bytes.len();
        Struct(fields).write(&mut bytes);
        bytes.extend(((bytes.len() - footer) as u32).to_le_bytes());
        bytes.extend(b"PAR1");
        bytes
    }
}
