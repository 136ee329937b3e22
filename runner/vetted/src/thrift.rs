//! Thrift's compact protocol, in which Parquet writes its footer and the headers of its pages, read by the letter: every
//! number of elements is that of elements that are there, and every known field has the type that it should have.
//!
//! The Parquet library reads fields by their number alone. What passes here, it takes for the same.

/// The type of a field, or of an element of a list.
pub(super) enum Kind {
    Bool,
    Byte,
    I16,
    I32,
    I64,
    Double,
    Binary,
    List(&'static Kind),
    /// The fields that are known, by their numbers. Others are skipped.
    Struct(&'static [(i16, Kind)]),
}

/// As far as anyone asks.
pub(super) enum Value {
    /// Of any whole type.
    Number(i64),
    /// Its length.
    Binary(usize),
    List(Vec<Value>),
    Struct(Vec<(i16, Value)>),
    /// True, false or a floating-point number.
    Other,
}

/// Why bytes are no value of a kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// They end too early.
    CutOff,
    /// The problem, and the byte where it is.
    Malformed(usize, &'static str),
}

/// Reads a value at the start of `bytes`; also how many bytes it takes.
pub(super) fn parse(bytes: &[u8], kind: &Kind) -> Result<(Value, usize), Refusal> {
    let mut reader = Reader { bytes, at: 0 };
    let value = reader.value(kind)?;
    Ok((value, reader.at))
}

impl Value {
    /// A field of a struct.
    pub(super) fn field(&self, id: i16) -> Option<&Value> {
        let Value::Struct(fields) = self else { return None };
        fields.iter().find(|(number, _)| *number == id).map(|(_, value)| value)
    }

    /// A whole number among the fields of a struct.
    pub(super) fn number(&self, id: i16) -> Option<i64> {
        match self.field(id) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// A list among the fields of a struct; empty where there is none.
    pub(super) fn list(&self, id: i16) -> &[Value] {
        match self.field(id) {
            Some(Value::List(values)) => values,
            _ => &[],
        }
    }
}

/// Deeper than anything that a later version of the format could add.
const UNKNOWN_DEPTH: u32 = 16;

mod wire {
    pub const STOP: u8 = 0;
    pub const TRUE: u8 = 1;
    pub const FALSE: u8 = 2;
    pub const BYTE: u8 = 3;
    pub const I16: u8 = 4;
    pub const I32: u8 = 5;
    pub const I64: u8 = 6;
    pub const DOUBLE: u8 = 7;
    pub const BINARY: u8 = 8;
    pub const LIST: u8 = 9;
    pub const STRUCT: u8 = 12;
}

impl Kind {
    fn is(&self, wire: u8) -> bool {
        match self {
            Kind::Bool => wire == wire::TRUE || wire == wire::FALSE,
            Kind::Byte => wire == wire::BYTE,
            Kind::I16 => wire == wire::I16,
            Kind::I32 => wire == wire::I32,
            Kind::I64 => wire == wire::I64,
            Kind::Double => wire == wire::DOUBLE,
            Kind::Binary => wire == wire::BINARY,
            Kind::List(_) => wire == wire::LIST,
            Kind::Struct(_) => wire == wire::STRUCT,
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self, kind: &Kind) -> Result<Value, Refusal> {
        Ok(match kind {
            // In a field, it is told by the field's type; lists of them are in no part of the format that is read here.
            Kind::Bool => Value::Other,
            Kind::Byte => Value::Number((self.byte()? as i8).into()),
            Kind::I16 => Value::Number(self.whole(i16::MIN.into(), i16::MAX.into())?),
            Kind::I32 => Value::Number(self.whole(i32::MIN.into(), i32::MAX.into())?),
            Kind::I64 => Value::Number(self.whole(i64::MIN, i64::MAX)?),
            Kind::Double => {
                self.skip(8)?;
                Value::Other
            }
            Kind::Binary => {
                let length = self.length()?;
                self.skip(length)?;
                Value::Binary(length)
            }
            Kind::List(element) => {
                let start = self.at;
                let (wire, count) = self.list()?;
                if count > 0 && !element.is(wire) {
                    return Err(Refusal::Malformed(start, "a list of another type"));
                }
                Value::List((0..count).map(|_| self.value(element)).collect::<Result<_, _>>()?)
            }
            Kind::Struct(known) => {
                let (mut fields, mut last) = (Vec::new(), 0);
                loop {
                    let start = self.at;
                    let Some((wire, id)) = self.field(last)? else { return Ok(Value::Struct(fields)) };
                    if id <= last {
                        return Err(Refusal::Malformed(start, "fields out of order"));
                    }
                    last = id;
                    match known.iter().find(|(number, _)| *number == id) {
                        Some((_, kind)) if kind.is(wire) => fields.push((id, self.value(kind)?)),
                        Some(_) => return Err(Refusal::Malformed(start, "a field of another type")),
                        None => self.skip_value(wire, UNKNOWN_DEPTH)?,
                    }
                }
            }
        })
    }

    /// Type and number of the next field of a struct; none where it ends.
    fn field(&mut self, last: i16) -> Result<Option<(u8, i16)>, Refusal> {
        let start = self.at;
        let header = self.byte()?;
        let (wire, step) = (header & 15, i16::from(header >> 4));
        if wire == wire::STOP {
            return Ok(None);
        }
        let id = match step {
            0 => self.whole(i16::MIN.into(), i16::MAX.into())? as i16,
            _ => last.checked_add(step).ok_or(Refusal::Malformed(start, "a field of a number out of range"))?,
        };
        Ok(Some((wire, id)))
    }

    /// Type and number of the elements of a list.
    fn list(&mut self) -> Result<(u8, usize), Refusal> {
        let header = self.byte()?;
        let (wire, count) = (header & 15, usize::from(header >> 4));
        let count = if count == 15 { self.length()? } else { count };
        // No element takes less than a byte.
        if count > self.bytes.len() - self.at { Err(Refusal::CutOff) } else { Ok((wire, count)) }
    }

    fn skip_value(&mut self, wire: u8, depth: u32) -> Result<(), Refusal> {
        let start = self.at;
        let depth = depth.checked_sub(1).ok_or(Refusal::Malformed(start, "unknown fields that are nested deeply"))?;
        match wire {
            wire::TRUE | wire::FALSE => Ok(()),
            wire::BYTE => self.skip(1),
            wire::I16 | wire::I32 | wire::I64 => self.varint().map(drop),
            wire::DOUBLE => self.skip(8),
            wire::BINARY => {
                let length = self.length()?;
                self.skip(length)
            }
            wire::LIST => {
                let (wire, count) = self.list()?;
                // The Parquet library takes each for no bytes at all, and counts to two thousand millions.
                if wire == wire::TRUE || wire == wire::FALSE {
                    return Err(Refusal::Malformed(start, "a list of booleans"));
                }
                (0..count).try_for_each(|_| self.skip_value(wire, depth))
            }
            wire::STRUCT => {
                while let Some((wire, _)) = self.field(0)? {
                    self.skip_value(wire, depth)?;
                }
                Ok(())
            }
            _ => Err(Refusal::Malformed(start, "an unknown type")),
        }
    }

    fn byte(&mut self) -> Result<u8, Refusal> {
        let byte = *self.bytes.get(self.at).ok_or(Refusal::CutOff)?;
        self.at += 1;
        Ok(byte)
    }

    fn skip(&mut self, count: usize) -> Result<(), Refusal> {
        if count > self.bytes.len() - self.at {
            return Err(Refusal::CutOff);
        }
        self.at += count;
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, Refusal> {
        let start = self.at;
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Refusal::Malformed(start, "a number of more than 64 bits"))
    }

    fn length(&mut self) -> Result<usize, Refusal> {
        let start = self.at;
        let length = self.varint()?;
        i32::try_from(length).map(|length| length as usize).map_err(|_| Refusal::Malformed(start, "a length of 2 GiB"))
    }

    fn whole(&mut self, least: i64, most: i64) -> Result<i64, Refusal> {
        let start = self.at;
        let bits = self.varint()?;
        let number = (bits >> 1) as i64 ^ -((bits & 1) as i64);
        if (least..=most).contains(&number) {
            Ok(number)
        } else {
            Err(Refusal::Malformed(start, "a number out of range"))
        }
    }
}
