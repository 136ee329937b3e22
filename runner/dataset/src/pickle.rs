//! A reader of the pickles that CIFAR's Python version is made of, and of nothing else.
//!
//! A pickle is a program for a stack machine, and Python's interpreter of it calls any function that the file names.
//! This one knows the opcodes that Python 2 and 3 write for dictionaries of lists, texts, bytes, integers and numpy arrays,
//! in every protocol (0 to 5), and calls nothing: what the file would call is kept as data (`Value::Call`), and an array is
//! recognised by the shape of that data ([`numpy_array`]). Three calls that only make values of others are made here:
//! `_codecs.encode`, by which Python 3 writes bytes in protocols without them, `bytes` and `bytearray`; and `OrderedDict`
//! is a dictionary. Bytes borrow from the file where they can; the number of values is bounded.

mod numpy_array;

use std::borrow::Cow;
use std::collections::HashMap;

/// The values of a pickle. They refer to each other by index, so that a value may be shared, or be part of itself.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
}

/// The index of a value in its pickle.
pub(super) type Id = usize;

#[derive(Debug)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Integer(i64),
    /// Characters, in UTF-8 (but for lone surrogates, which Python allows).
    Text(Cow<'a, [u8]>),
    /// Bytes; in Python 2, texts as well.
    Bytes(Cow<'a, [u8]>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// Something to call, by module and name.
    Global(Cow<'a, [u8]>, Cow<'a, [u8]>),
    /// A value that Python would make by calling `function(*arguments)` and then setting `state`.
    Call {
        function: Id,
        arguments: Id,
        state: Option<Id>,
    },
    /// Another value, which no file of CIFAR needs, by its kind.
    Other(&'static str),
}

/// A call: module, name, arguments and state.
type Call<'p> = (&'p [u8], &'p [u8], &'p [Id], Option<Id>);

/// A mistake, and the byte of the pickle where it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PickleError {
    pub offset: usize,
    pub expected: String,
    pub found: String,
}

/// The largest published file has 150,000 values. A value costs one byte of file and some 60 of memory.
const MOST_VALUES: usize = 1 << 21;

/// How often the file's length may be taken for texts and bytes that are not in the file as they are. In protocol 0 one byte of
/// it is at most two of a text, and another of what the text encodes.
const COPIES: usize = 4;

/// Names of functions, numbers and the like are short; a newline far away is no end of one.
const LONGEST_LINE: usize = 256;

/// Runs the pickle, which must be all of `bytes`.
pub(super) fn parse(bytes: &[u8]) -> Result<Pickle<'_>, PickleError> {
    let room = bytes.len().saturating_mul(COPIES) + (1 << 10);
    let (values, stack, marks) = (Vec::new(), Vec::new(), Vec::new());
    let mut machine = Machine { bytes, at: 0, values, stack, marks, memo: HashMap::new(), room };
    let root = machine.run()?;
    Ok(Pickle { values: machine.values, root })
}

impl<'a> Pickle<'a> {
    /// The value under `key`, as text or as bytes, of the dictionary that the pickle is; the last one, as in Python.
    /// Else what there is.
    pub fn get(&self, key: &str) -> Result<Id, String> {
        let Value::Dict(items) = &self.values[self.root] else { return Err(self.describe(self.root)) };
        let found = items.iter().rev().find(|(name, _)| self.string(*name) == Some(key.as_bytes()));
        found.map(|&(_, value)| value).ok_or_else(|| self.keys(items))
    }

    /// The keys of a dictionary, in words.
    fn keys(&self, items: &[(Id, Id)]) -> String {
        const MOST: usize = 12;
        if items.is_empty() {
            return "an empty dictionary".to_owned();
        }
        let name = |&(key, _): &(Id, Id)| match self.string(key) {
            Some(bytes) => format!("`{:.40}`", String::from_utf8_lossy(bytes)),
            // Not more of it: it might be this dictionary.
            None => "one that is no text".to_owned(),
        };
        let names: Vec<String> = items.iter().take(MOST).map(name).collect();
        let more = if items.len() > MOST { format!(" and {} more", items.len() - MOST) } else { String::new() };
        let word = if items.len() == 1 { "key" } else { "keys" };
        format!("the {word} {}{more}", names.join(", "))
    }

    /// The integers of a list or a tuple of integers, or of a numpy array of one dimension (or a column); else what is there.
    pub fn integers(&self, id: Id) -> Result<Vec<i64>, String> {
        if let Some(items) = self.items(id) {
            let integer = |&item: &Id| self.integer(item).ok_or_else(|| format!("{} in a list", self.describe(item)));
            return items.iter().map(integer).collect();
        }
        let array = numpy_array::read(self, id).ok_or_else(|| self.describe(id))?;
        match array.shape[..] {
            [_] | [_, 1] => array.integers().ok_or_else(|| array.to_string()),
            _ => Err(array.to_string()),
        }
    }

    /// Shape and bytes, in C order, of a numpy array of integers from 0 to 255; else what is there.
    pub fn byte_array(&self, id: Id) -> Result<(Vec<u64>, Cow<'_, [u8]>), String> {
        let array = numpy_array::read(self, id).ok_or_else(|| self.describe(id))?;
        let bytes = array.bytes()?;
        Ok((array.shape, bytes))
    }

    /// The strings of a list or a tuple of texts or bytes; else what is there.
    pub fn strings(&self, id: Id) -> Result<Vec<String>, String> {
        let items = self.items(id).ok_or_else(|| self.describe(id))?;
        let string = |&item: &Id| match self.string(item) {
            Some(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
            None => Err(format!("{} in a list", self.describe(item))),
        };
        items.iter().map(string).collect()
    }

    /// A value in words, for messages.
    pub fn describe(&self, id: Id) -> String {
        let count = |items: &[Id], what: &str| format!("{what} of {} values", items.len());
        match &self.values[id] {
            Value::None => "None".to_owned(),
            Value::Bool(_) => "a truth value".to_owned(),
            Value::Integer(value) => format!("the integer {value}"),
            Value::Text(_) => "a text".to_owned(),
            Value::Bytes(_) => "bytes".to_owned(),
            Value::Tuple(items) => count(items, "a tuple"),
            Value::List(items) => count(items, "a list"),
            Value::Dict(items) => format!("a dictionary with {}", self.keys(items)),
            Value::Global(module, name) => format!("the name `{}`", path(module, name)),
            Value::Other(what) => (*what).to_owned(),
            Value::Call { function, .. } => match (numpy_array::read(self, id), &self.values[*function]) {
                (Some(array), _) => array.to_string(),
                (None, Value::Global(module, name)) => format!("a call of `{}`", path(module, name)),
                _ => "a call".to_owned(),
            },
        }
    }

    /// The function that would be called, its arguments, and the state that would be set.
    pub(super) fn call(&self, id: Id) -> Option<Call<'_>> {
        let Value::Call { function, arguments, state } = &self.values[id] else { return None };
        let Value::Global(module, name) = &self.values[*function] else { return None };
        Some((module, name, self.tuple(*arguments)?, *state))
    }

    /// Of a text or bytes.
    pub(super) fn string(&self, id: Id) -> Option<&[u8]> {
        if let Value::Text(bytes) | Value::Bytes(bytes) = &self.values[id] { Some(bytes) } else { None }
    }

    /// Of an integer, Python's or numpy's.
    pub(super) fn integer(&self, id: Id) -> Option<i64> {
        match &self.values[id] {
            Value::Integer(value) => Some(*value),
            Value::Call { .. } => numpy_array::scalar(self, id),
            _ => None,
        }
    }

    pub(super) fn truth(&self, id: Id) -> Option<bool> {
        match self.values[id] {
            Value::Bool(value) => Some(value),
            // Python 2 has these for truth values in older protocols.
            Value::Integer(value @ (0 | 1)) => Some(value == 1),
            _ => None,
        }
    }

    pub(super) fn tuple(&self, id: Id) -> Option<&[Id]> {
        if let Value::Tuple(items) = &self.values[id] { Some(items) } else { None }
    }

    fn items(&self, id: Id) -> Option<&[Id]> {
        if let Value::Tuple(items) | Value::List(items) = &self.values[id] { Some(items) } else { None }
    }
}

fn path(module: &[u8], name: &[u8]) -> String {
    format!("{:.80}.{:.80}", String::from_utf8_lossy(module), String::from_utf8_lossy(name))
}

struct Machine<'a> {
    bytes: &'a [u8],
    /// The position of the next byte.
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack at open marks, which nothing may pop below.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Bytes that may still be copied.
    room: usize,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Id, PickleError> {
        loop {
            let start = self.at;
            let operation = self.byte()?;
            match operation {
                0x80 => match self.byte()? {
                    0..=5 => {}
                    other => return Err(error(start + 1, "a protocol from 0 to 5", format!("protocol {other}"))),
                },
                // FRAME says how many bytes are read at once.
                0x95 => drop(self.array::<8>()?),
                b'.' => break,
                b'N' => self.push(Value::None)?,
                0x88 => self.push(Value::Bool(true))?,
                0x89 => self.push(Value::Bool(false))?,
                // INT (which has truth values, too) and LONG, in digits.
                b'I' | b'L' => {
                    let line = self.line(LONGEST_LINE)?;
                    let value = match (operation, line) {
                        (b'I', b"00") => Value::Bool(false),
                        (b'I', b"01") => Value::Bool(true),
                        _ => decimal(line.strip_suffix(b"L").unwrap_or(line), start + 1)?,
                    };
                    self.push(value)?;
                }
                b'K' => {
                    let value = self.byte()?;
                    self.push(Value::Integer(value.into()))?;
                }
                b'M' => {
                    let value = u16::from_le_bytes(self.array()?);
                    self.push(Value::Integer(value.into()))?;
                }
                b'J' => {
                    let value = i32::from_le_bytes(self.array()?);
                    self.push(Value::Integer(value.into()))?;
                }
                // LONG1 and LONG4.
                0x8a | 0x8b => {
                    let size = if operation == 0x8a { self.byte()?.into() } else { u32::from_le_bytes(self.array()?) };
                    let bytes = self.take(size as usize)?;
                    self.push(little_endian(bytes))?;
                }
                // FLOAT and BINFLOAT.
                b'F' => {
                    self.line(LONGEST_LINE)?;
                    self.push(Value::Other("a number that is no integer"))?;
                }
                b'G' => {
                    self.array::<8>()?;
                    self.push(Value::Other("a number that is no integer"))?;
                }
                // STRING and UNICODE, with escapes.
                b'S' => {
                    let line = self.line(usize::MAX)?;
                    let bytes = unquoted(line, start + 1)?;
                    let bytes = self.own(bytes)?;
                    self.push(Value::Bytes(bytes))?;
                }
                b'V' => {
                    let line = self.line(usize::MAX)?;
                    let text = unescaped(line, start + 1)?;
                    let text = self.own(text)?;
                    self.push(Value::Text(text))?;
                }
                // SHORT_BINSTRING, BINSTRING; SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8.
                b'U' | b'C' | b'T' | b'B' | 0x8e | 0x96 => {
                    let bytes = self.sized(operation)?;
                    self.push(Value::Bytes(Cow::Borrowed(bytes)))?;
                }
                // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8.
                0x8c | b'X' | 0x8d => {
                    let bytes = self.sized(operation)?;
                    self.push(Value::Text(Cow::Borrowed(bytes)))?;
                }
                b'(' => {
                    self.count(start)?;
                    self.marks.push(self.stack.len());
                }
                // POP (which may pop a mark), POP_MARK and DUP.
                b'0' if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
                b'0' => drop(self.pop_many(1)?),
                b'1' => drop(self.pop_to_mark()?),
                b'2' => {
                    self.top()?;
                    self.count(start)?;
                    self.stack.extend(self.stack.last().copied());
                }
                b')' => self.push(Value::Tuple(Vec::new()))?,
                0x85..=0x87 => {
                    let items = self.pop_many((operation - 0x84).into())?;
                    self.push(Value::Tuple(items))?;
                }
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::Tuple(items))?;
                }
                // EMPTY_LIST and EMPTY_SET: sets are in no file of CIFAR that counts.
                b']' | 0x8f => self.push(Value::List(Vec::new()))?,
                // LIST and FROZENSET.
                b'l' | 0x91 => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::List(items))?;
                }
                b'a' => {
                    let items = self.pop_many(1)?;
                    self.append(items)?;
                }
                // APPENDS and ADDITEMS.
                b'e' | 0x90 => {
                    let items = self.pop_to_mark()?;
                    self.append(items)?;
                }
                b'}' => self.push(Value::Dict(Vec::new()))?,
                b'd' => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::Dict(Vec::new()))?;
                    self.set_items(&items)?;
                }
                b's' => {
                    let items = self.pop_many(2)?;
                    self.set_items(&items)?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.set_items(&items)?;
                }
                // PUT, BINPUT, LONG_BINPUT, MEMOIZE; GET, BINGET, LONG_BINGET.
                b'p' | b'q' | b'r' => {
                    let slot = self.slot(operation == b'p', operation == b'q')?;
                    self.put(slot)?;
                }
                0x94 => self.put(self.memo.len() as u32)?,
                b'g' | b'h' | b'j' => {
                    let slot = self.slot(operation == b'g', operation == b'h')?;
                    self.get(slot)?;
                }
                b'c' => {
                    let (module, name) = (self.line(LONGEST_LINE)?, self.line(LONGEST_LINE)?);
                    self.push(Value::Global(Cow::Borrowed(module), Cow::Borrowed(name)))?;
                }
                // STACK_GLOBAL.
                0x93 => {
                    let names = self.pop_many(2)?;
                    let (module, name) = (self.copy_of_text(start, names[0])?, self.copy_of_text(start, names[1])?);
                    self.push(Value::Global(module, name))?;
                }
                // REDUCE, NEWOBJ and NEWOBJ_EX.
                b'R' | 0x81 | 0x92 => {
                    let call = self.pop_many(if operation == 0x92 { 3 } else { 2 })?;
                    let value = self.call(start, call[0], call[1])?;
                    self.push(value)?;
                }
                b'b' => {
                    let new_state = self.pop_many(1)?[0];
                    match self.top()? {
                        Value::Call { state, .. } => *state = Some(new_state),
                        _ => return Err(error(start, "an object to set the state of", "another value")),
                    }
                }
                other => {
                    let found = match name_of(other) {
                        Some((name, why)) => format!("opcode {other:#04x} ({name}): {why}"),
                        None => format!("opcode {other:#04x}"),
                    };
                    return Err(error(start, "an opcode of a pickle of lists, texts and numpy arrays", found));
                }
            }
        }
        if self.at != self.bytes.len() {
            let found = format!("{} more bytes", self.bytes.len() - self.at);
            return Err(error(self.at, "the end of the file after the pickle", found));
        }
        let root = self.pop_many(1)?[0];
        if !self.stack.is_empty() {
            return Err(error(self.at, "one value", format!("{} more", self.stack.len())));
        }
        Ok(root)
    }

    /// The value of a call: only functions that make one value of another are known, and nothing is run.
    fn call(&mut self, start: usize, function: Id, arguments: Id) -> Result<Value<'a>, PickleError> {
        let (Value::Global(module, name), Value::Tuple(items)) = (&self.values[function], &self.values[arguments])
        else {
            return Err(error(start, "a name and a tuple of arguments", "other values"));
        };
        let items: Vec<&Value<'a>> = items.iter().map(|&item| &self.values[item]).collect();
        let is_latin1 = |encoding: &[u8]| matches!(encoding, b"latin1" | b"latin-1");
        let bytes: Option<Cow<'a, [u8]>> = match (&module[..], &name[..], &items[..]) {
            // Python 3 writes bytes so where the protocol has none: each is a character below 256.
            (b"_codecs", b"encode", [Value::Text(text), Value::Text(encoding)])
            | (b"builtins" | b"__builtin__", b"bytearray", [Value::Text(text), Value::Text(encoding)])
                if is_latin1(encoding) =>
            {
                latin1(text).map(Cow::Owned)
            }
            (b"builtins" | b"__builtin__", b"bytes" | b"bytearray", []) => Some(Cow::Borrowed(b"")),
            (b"builtins" | b"__builtin__", b"bytes" | b"bytearray", [Value::Bytes(bytes)]) => Some(bytes.clone()),
            (b"collections", b"OrderedDict", []) | (b"collections", b"defaultdict", _) => {
                return Ok(Value::Dict(Vec::new()));
            }
            _ => None,
        };
        match bytes {
            Some(Cow::Owned(bytes)) => Ok(Value::Bytes(self.own(bytes)?)),
            Some(bytes) => Ok(Value::Bytes(bytes)),
            None => Ok(Value::Call { function, arguments, state: None }),
        }
    }

    /// Counts what is copied: a file could ask for the same text a million times.
    fn own(&mut self, bytes: Vec<u8>) -> Result<Cow<'a, [u8]>, PickleError> {
        match self.room.checked_sub(bytes.len()) {
            Some(room) => self.room = room,
            None => return Err(error(self.at, format!("at most {COPIES} times its length in texts"), "more")),
        }
        Ok(Cow::Owned(bytes))
    }

    fn copy_of_text(&mut self, start: usize, id: Id) -> Result<Cow<'a, [u8]>, PickleError> {
        match &self.values[id] {
            &Value::Text(Cow::Borrowed(text)) => Ok(Cow::Borrowed(text)),
            Value::Text(Cow::Owned(text)) if text.len() <= LONGEST_LINE => {
                let text = text.clone();
                self.own(text)
            }
            _ => Err(error(start, "the texts of a module and a name", "other values")),
        }
    }

    /// The bytes after an opcode that says how many there are.
    fn sized(&mut self, operation: u8) -> Result<&'a [u8], PickleError> {
        let size = match operation {
            b'U' | b'C' | 0x8c => self.byte()?.into(),
            b'T' | b'B' | b'X' => u32::from_le_bytes(self.array()?).into(),
            _ => u64::from_le_bytes(self.array()?),
        };
        self.take(usize::try_from(size).unwrap_or(usize::MAX))
    }

    /// The number of a place in the memo: in digits, in one byte or in four.
    fn slot(&mut self, in_digits: bool, in_a_byte: bool) -> Result<u32, PickleError> {
        if in_digits {
            let at = self.at;
            let line = self.line(LONGEST_LINE)?;
            let slot = std::str::from_utf8(line).ok().and_then(|text| text.parse().ok());
            return slot.ok_or_else(|| error(at, "the number of a memo slot", format!("`{}`", line.escape_ascii())));
        }
        if in_a_byte { Ok(self.byte()?.into()) } else { Ok(u32::from_le_bytes(self.array()?)) }
    }

    fn take(&mut self, size: usize) -> Result<&'a [u8], PickleError> {
        let rest = &self.bytes[self.at..];
        if size > rest.len() {
            return Err(error(self.at, format!("{size} bytes"), format!("{} until the end of the file", rest.len())));
        }
        self.at += size;
        Ok(&rest[..size])
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        Ok(self.take(1)?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// The bytes up to the end of a line, of which there are at most `longest`.
    fn line(&mut self, longest: usize) -> Result<&'a [u8], PickleError> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().take(longest).position(|&byte| byte == b'\n');
        let size = end.ok_or_else(|| match longest {
            usize::MAX => error(self.at, "the end of a line", "none"),
            _ => error(self.at, format!("a line of at most {longest} bytes"), "no end of line"),
        })?;
        self.at += size + 1;
        Ok(&rest[..size])
    }

    /// Refuses files with more values than memory should be given to.
    fn count(&self, at: usize) -> Result<(), PickleError> {
        if self.values.len().max(self.stack.len()).max(self.marks.len()) >= MOST_VALUES {
            return Err(error(at, format!("at most {MOST_VALUES} values"), "more"));
        }
        Ok(())
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), PickleError> {
        self.count(self.at)?;
        self.stack.push(self.values.len());
        self.values.push(value);
        Ok(())
    }

    /// The last `count` values above the last mark, in the order in which they were pushed.
    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let there = self.stack.len() - floor;
        if there < count {
            return Err(error(self.at, format!("{count} values on the stack"), there.to_string()));
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        let mark = self.marks.pop().ok_or_else(|| error(self.at, "a mark on the stack", "none"))?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&mut self) -> Result<&mut Value<'a>, PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(&id) if self.stack.len() > floor => Ok(&mut self.values[id]),
            _ => Err(error(self.at, "a value on the stack", "none")),
        }
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), PickleError> {
        let at = self.at;
        match self.top()? {
            Value::List(list) => list.extend(items),
            _ => return Err(error(at, "a list to append to", "another value")),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), PickleError> {
        let at = self.at;
        let (pairs, []) = items.as_chunks::<2>() else {
            return Err(error(at, "pairs of key and value", format!("{} values", items.len())));
        };
        match self.top()? {
            Value::Dict(dict) => dict.extend(pairs.iter().map(|&[key, value]| (key, value))),
            _ => return Err(error(at, "a dictionary to fill", "another value")),
        }
        Ok(())
    }

    fn put(&mut self, slot: u32) -> Result<(), PickleError> {
        self.top()?;
        // A slot costs at least two bytes of file, and each is a distinct number: bounded by the values' bound too.
        if self.memo.len() >= MOST_VALUES {
            return Err(error(self.at, format!("at most {MOST_VALUES} memo slots"), "more"));
        }
        if let Some(&id) = self.stack.last() {
            self.memo.insert(slot, id);
        }
        Ok(())
    }

    fn get(&mut self, slot: u32) -> Result<(), PickleError> {
        self.count(self.at)?;
        let id =
            *self.memo.get(&slot).ok_or_else(|| error(self.at, "a memo slot that was set", format!("slot {slot}")))?;
        self.stack.push(id);
        Ok(())
    }
}

fn error(offset: usize, expected: impl Into<String>, found: impl Into<String>) -> PickleError {
    PickleError { offset, expected: expected.into(), found: found.into() }
}

/// An integer in digits.
fn decimal<'a>(digits: &[u8], at: usize) -> Result<Value<'a>, PickleError> {
    let text = std::str::from_utf8(digits).ok().map(str::trim);
    let is_number = |text: &&str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let Some(text) = text.filter(is_number) else {
        return Err(error(at, "an integer in digits", format!("`{}`", digits.escape_ascii())));
    };
    Ok(text.parse().map_or(Value::Other(LARGE), Value::Integer))
}

const LARGE: &str = "an integer of more than 64 bits";

/// An integer in two's complement, of any number of bytes.
fn little_endian<'a>(bytes: &[u8]) -> Value<'a> {
    let is_negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let fill = if is_negative { 0xff } else { 0 };
    let mut value = [fill; 8];
    let fits =
        bytes.len() <= 8 || (bytes[8..].iter().all(|&byte| byte == fill) && (bytes[7] & 0x80 != 0) == is_negative);
    if !fits {
        return Value::Other(LARGE);
    }
    value.iter_mut().zip(bytes).for_each(|(value, &byte)| *value = byte);
    Value::Integer(i64::from_le_bytes(value))
}

/// Python 2's `repr` of a string: quoted, with escapes.
fn unquoted(line: &[u8], at: usize) -> Result<Vec<u8>, PickleError> {
    let quoted = match line {
        [open @ (b'\'' | b'"'), inner @ .., close] if open == close => inner,
        _ => return Err(error(at, "a string in quotes", "none")),
    };
    let mut out = Vec::with_capacity(quoted.len());
    let mut rest = quoted;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let offset = at + 1 + (quoted.len() - rest.len());
        let unknown = || error(offset, "an escape of a string", "another one");
        let (&escape, tail) = rest.split_first().ok_or_else(unknown)?;
        rest = tail;
        out.push(match escape {
            b'\\' | b'\'' | b'"' => escape,
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'x' => {
                let (digits, tail) = rest.split_at_checked(2).ok_or_else(unknown)?;
                rest = tail;
                hexadecimal(digits).ok_or_else(unknown)? as u8
            }
            _ => return Err(unknown()),
        });
    }
    Ok(out)
}

/// Python's `raw-unicode-escape`: Latin-1, and other characters as `\uXXXX` or `\UXXXXXXXX`.
fn unescaped(line: &[u8], at: usize) -> Result<Vec<u8>, PickleError> {
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, tail)) = rest.split_first() {
        let size = match tail.first() {
            Some(b'u') if byte == b'\\' => 4,
            Some(b'U') if byte == b'\\' => 8,
            _ => 0,
        };
        let code = if size == 0 {
            rest = tail;
            Some(byte.into())
        } else {
            let digits = tail.get(1..=size).and_then(hexadecimal);
            rest = tail.get(size + 1..).unwrap_or_default();
            digits
        };
        // A lone surrogate is no character; it stands for none that is looked for.
        let character = code.map(|code| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        let character = character.ok_or_else(|| {
            error(at + line.len() - rest.len(), format!("{size} hexadecimal digits"), "other characters")
        })?;
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(out)
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |value, &digit| value.checked_mul(16)?.checked_add(char::from(digit).to_digit(16)?))
}

/// A text's characters as bytes; none where one is not below 256.
fn latin1(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        bytes.push(match byte {
            0..0x80 => byte,
            // The two bytes of a character from 128 to 255.
            0xc2 | 0xc3 => {
                let second = rest.next().filter(|second| **second & 0xc0 == 0x80)?;
                ((byte & 3) << 6) | (second & 0x3f)
            }
            _ => return None,
        });
    }
    Some(bytes)
}

/// The name of an opcode that is refused, and why.
fn name_of(operation: u8) -> Option<(&'static str, &'static str)> {
    Some(match operation {
        b'P' => ("PERSID", "an object that is not in the file, as PyTorch's tensors are"),
        b'Q' => ("BINPERSID", "an object that is not in the file, as PyTorch's tensors are"),
        b'i' => ("INST", "an object of a class"),
        b'o' => ("OBJ", "an object of a class"),
        0x82 => ("EXT1", "a name that is not in the file"),
        0x83 => ("EXT2", "a name that is not in the file"),
        0x84 => ("EXT4", "a name that is not in the file"),
        0x97 => ("NEXT_BUFFER", "an array whose bytes are not in the file; pickle it without a `buffer_callback`"),
        0x98 => ("READONLY_BUFFER", "an array whose bytes are not in the file; pickle it without a `buffer_callback`"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_error(bytes: &[u8], offset: usize, expected: &str) {
        let error = parse(bytes).unwrap_err();
        assert_eq!((error.offset, error.expected.as_str()), (offset, expected), "{error:?}");
    }

    #[test]
    fn what_a_file_would_call_is_not_called() {
        // os.system("echo"): in Python this runs a command.
        let pickle = parse(b"\x80\x02cos\nsystem\nU\x04echo\x85R.").unwrap();
        assert_eq!(pickle.describe(pickle.root), "a call of `os.system`");
        assert_eq!(pickle.byte_array(pickle.root).unwrap_err(), "a call of `os.system`");
        // The same in protocol 4, and by making an object.
        let stacked = parse(b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04echo\x85\x81.").unwrap();
        assert_eq!(stacked.integers(stacked.root).unwrap_err(), "a call of `os.system`");
    }

    #[test]
    fn lists_are_filled_after_they_were_shared() {
        // {'a': l, 'b': l}, with l filled after it was memoised.
        let pickle = parse(b"\x80\x02}(U\x01a]q\x01(K\x01M\x00\x01J\xff\xff\xff\xffeU\x01bh\x01u.").unwrap();
        for key in ["a", "b"] {
            assert_eq!(pickle.get(key).and_then(|id| pickle.integers(id)), Ok(vec![1, 256, -1]));
        }
        assert_eq!(pickle.get("c").unwrap_err(), "the keys `a`, `b`");
        // A list that contains itself is no list of integers, and no endless loop.
        let pickle = parse(b"]q\x00h\x00a.").unwrap();
        assert_eq!(pickle.integers(pickle.root).unwrap_err(), "a list of 1 values in a list");
    }

    /// The one value of a pickle, in words or as what it holds.
    #[track_caller]
    fn check_value(bytes: &[u8], expected: &str) {
        let pickle = parse(bytes).unwrap();
        let text = pickle.string(pickle.root).map(|bytes| bytes.escape_ascii().to_string());
        assert_eq!(text.unwrap_or_else(|| pickle.describe(pickle.root)), expected);
    }

    /// As `pickletools` of Python 3 reads them.
    #[test]
    fn numbers_and_strings_of_every_protocol_are_read() {
        check_value(b"I-12\n.", "the integer -12");
        check_value(b"I01\n.", "a truth value");
        check_value(b"L123456789L\n.", "the integer 123456789");
        check_value(b"L99999999999999999999L\n.", "an integer of more than 64 bits");
        check_value(b"\x8a\x00.", "the integer 0");
        check_value(b"\x8a\x01\xff.", "the integer -1");
        check_value(b"\x8a\x02\xff\x00.", "the integer 255");
        check_value(b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80.", "the integer -9223372036854775808");
        check_value(b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00.", "an integer of more than 64 bits");
        check_value(b"\x8b\x01\x00\x00\x00\x07.", "the integer 7");
        check_value(b"F1.5\n.", "a number that is no integer");
        check_value(b"S'it\\'s \\x00\\n\\\\'\n.", r"it\'s \x00\n\\");
        // "a", e with an acute accent as Latin-1, a newline, a Euro sign, a clef.
        check_value(b"Va\xe9\\u000a\\u20ac\\U0001d11e\n.", r"a\xc3\xa9\n\xe2\x82\xac\xf0\x9d\x84\x9e");
        check_value(b"c_codecs\nencode\n(Va\xe9\nVlatin1\ntR.", r"a\xe9");
        check_value(b"c_codecs\nencode\n(V\\u20ac\nVlatin1\ntR.", "a call of `_codecs.encode`");
        check_value(b"c__builtin__\nbytes\n)R.", "");
        check_value(b"ccollections\nOrderedDict\n)R(Va\nI1\nu.", "a dictionary with the key `a`");
        check_value(b"(I1\nI2\n2l.", "a list of 3 values");
        check_value(b"(I1\nN0t.", "a tuple of 1 values");
        check_value(b"N((I1\n10.", "None");
    }

    #[test]
    fn malformed_pickles_are_refused_where_they_are_wrong() {
        check_error(b"", 0, "1 bytes");
        check_error(b"\x80\x06.", 1, "a protocol from 0 to 5");
        check_error(b"\x80\x02U\x05ab", 4, "5 bytes");
        check_error(b"T\xff\xff\xff\xffab", 5, "4294967295 bytes");
        check_error(b".", 1, "1 values on the stack");
        check_error(b"NN.", 3, "one value");
        check_error(b"N.x", 2, "the end of the file after the pickle");
        check_error(b"N(a.", 3, "1 values on the stack");
        check_error(b"]e.", 2, "a mark on the stack");
        check_error(b"N(Ne.", 4, "a list to append to");
        check_error(b"}(Nu.", 4, "pairs of key and value");
        check_error(b"h\x00.", 2, "a memo slot that was set");
        check_error(b"q\x00.", 2, "a value on the stack");
        check_error(b"N)R.", 2, "a name and a tuple of arguments");
        check_error(b"NNb.", 2, "an object to set the state of");
        check_error(b"cos", 1, "a line of at most 256 bytes");
        check_error(b"\x95\x00.", 1, "8 bytes");
        check_error(b"\x98.", 0, "an opcode of a pickle of lists, texts and numpy arrays");
        check_error(b"I1x\n.", 1, "an integer in digits");
        check_error(b"Vab", 1, "the end of a line");
        check_error(b"V\\u12\n.", 5, "4 hexadecimal digits");
        check_error(b"S'ab\n.", 1, "a string in quotes");
        check_error(b"S'\\y'\n.", 3, "an escape of a string");
        check_error(b"Np-1\n.", 2, "the number of a memo slot");
        check_error(b"NN\x93.", 2, "the texts of a module and a name");
        check_error(b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffab", 9, "18446744073709551615 bytes");
    }

    #[test]
    fn values_are_bounded() {
        let mut lists = vec![b']'; MOST_VALUES + 1];
        lists.push(b'.');
        check_error(&lists, MOST_VALUES + 1, "at most 2097152 values");
        let mut shared = b"]q\x00".to_vec();
        shared.extend(b"h\x00".repeat(MOST_VALUES));
        assert!(parse(&shared).is_err());
        // One text of a kilobyte, and the bytes of it a thousand times.
        let mut copied = format!("c_codecs\nencode\n(V{}\nVlatin1\ntp0\n0", "a".repeat(1000)).into_bytes();
        copied.extend(b"c_codecs\nencode\ng0\nR0".repeat(1000));
        copied.extend(b"N.");
        let error = parse(&copied).unwrap_err();
        assert_eq!(error.expected, "at most 4 times its length in texts");
        // A dictionary that is its own key is no endless message.
        let pickle = parse(b"}q\x00h\x00Ns.").unwrap();
        assert_eq!(pickle.get("a").unwrap_err(), "the key one that is no text");
    }
}
