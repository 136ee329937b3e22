//! A reader of the pickles that CIFAR's Python version is made of, and of nothing else.
//!
//! A pickle is a program for a stack machine, and Python's interpreter of it calls any function that the file names.
//! This one knows the opcodes that `cPickle` wrote for dictionaries of lists, strings, integers and numpy arrays
//! (protocol 2), and calls nothing: what the file would call is kept as data (`Value::Call`), and an array is
//! recognised by the shape of that data. Strings borrow from the file; the number of values is bounded.

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
enum Value<'a> {
    None,
    Bool(bool),
    Integer(i64),
    /// A string of either kind, as its bytes.
    String(&'a [u8]),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// Something to call, by module and name.
    Global(&'a [u8], &'a [u8]),
    /// What Python would build by calling `function(*arguments)` and then setting `state`.
    Call {
        function: Id,
        arguments: Id,
        state: Option<Id>,
    },
}

/// What is wrong, and at which byte of the pickle.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PickleError {
    pub offset: usize,
    pub expected: String,
    pub found: String,
}

/// The largest published file has 150,000 values. A value costs one byte of file and some 50 of memory.
const MOST_VALUES: usize = 1 << 21;

/// Runs the pickle, which must be all of `bytes`.
pub(super) fn parse(bytes: &[u8]) -> Result<Pickle<'_>, PickleError> {
    let mut machine =
        Machine { bytes, at: 0, values: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    let root = machine.run()?;
    Ok(Pickle { values: machine.values, root })
}

impl<'a> Pickle<'a> {
    /// The value under `key` of the dictionary that the pickle is; the last one, as in Python.
    pub fn get(&self, key: &str) -> Option<Id> {
        let Value::Dict(items) = &self.values[self.root] else { return None };
        items.iter().rev().find(|(name, _)| self.string(*name) == Some(key.as_bytes())).map(|&(_, value)| value)
    }

    /// The integers of a list of integers.
    pub fn integers(&self, id: Id) -> Option<Vec<i64>> {
        let Value::List(items) = &self.values[id] else { return None };
        items.iter().map(|&item| self.integer(item)).collect()
    }

    /// The strings of a list of strings.
    pub fn strings(&self, id: Id) -> Option<Vec<String>> {
        let Value::List(items) = &self.values[id] else { return None };
        items.iter().map(|&item| Some(String::from_utf8_lossy(self.string(item)?).into_owned())).collect()
    }

    /// Shape and bytes of a numpy array of uint8 in C order, whose byte count is the product of its shape.
    ///
    /// numpy pickles an array as `_reconstruct(ndarray, (0,), 'b')` with the state (version, shape, dtype, is Fortran
    /// order, bytes), and a dtype as `dtype('u1', 0, 1)`.
    pub fn byte_array(&self, id: Id) -> Option<(Vec<u64>, &'a [u8])> {
        let Value::Call { function, state: Some(state), .. } = self.values[id] else { return None };
        let Value::Global(b"numpy.core.multiarray" | b"numpy._core.multiarray", b"_reconstruct") =
            self.values[function]
        else {
            return None;
        };
        let [_version, shape, dtype, is_fortran, data] = self.tuple(state)? else { return None };
        let Value::Bool(false) = self.values[*is_fortran] else { return None };

        let Value::Call { function, arguments, .. } = self.values[*dtype] else { return None };
        let Value::Global(b"numpy", b"dtype") = self.values[function] else { return None };
        let (b"u1" | b"|u1") = self.string(*self.tuple(arguments)?.first()?)? else { return None };

        let shape: Vec<u64> =
            self.tuple(*shape)?.iter().map(|&size| u64::try_from(self.integer(size)?).ok()).collect::<Option<_>>()?;
        let data = self.string(*data)?;
        let size = shape.iter().try_fold(1u64, |product, &size| product.checked_mul(size))?;
        (size == data.len() as u64).then_some((shape, data))
    }

    fn string(&self, id: Id) -> Option<&'a [u8]> {
        if let Value::String(bytes) = self.values[id] { Some(bytes) } else { None }
    }

    fn integer(&self, id: Id) -> Option<i64> {
        if let Value::Integer(value) = self.values[id] { Some(value) } else { None }
    }

    fn tuple(&self, id: Id) -> Option<&[Id]> {
        if let Value::Tuple(items) = &self.values[id] { Some(items) } else { None }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    /// Where the next byte is read.
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack at open marks, which nothing may pop below.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Id, PickleError> {
        loop {
            let start = self.at;
            match self.byte()? {
                0x80 => match self.byte()? {
                    2 => {}
                    other => return Err(error(start + 1, "protocol 2", format!("protocol {other}"))),
                },
                b'.' => break,
                b'N' => self.push(Value::None)?,
                0x88 => self.push(Value::Bool(true))?,
                0x89 => self.push(Value::Bool(false))?,
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
                // SHORT_BINSTRING, BINSTRING and BINUNICODE.
                b'U' => {
                    let size = self.byte()?;
                    self.push_string(size.into())?;
                }
                b'T' | b'X' => {
                    let size = u32::from_le_bytes(self.array()?);
                    self.push_string(size)?;
                }
                b'(' => {
                    self.count(start)?;
                    self.marks.push(self.stack.len());
                }
                b')' => self.push(Value::Tuple(Vec::new()))?,
                0x85..=0x87 => {
                    let items = self.pop_many((self.bytes[start] - 0x84).into())?;
                    self.push(Value::Tuple(items))?;
                }
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::Tuple(items))?;
                }
                b']' => self.push(Value::List(Vec::new()))?,
                b'a' => {
                    let items = self.pop_many(1)?;
                    self.append(items)?;
                }
                b'e' => {
                    let items = self.pop_to_mark()?;
                    self.append(items)?;
                }
                b'}' => self.push(Value::Dict(Vec::new()))?,
                b's' => {
                    let items = self.pop_many(2)?;
                    self.set_items(&items)?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.set_items(&items)?;
                }
                // BINPUT, LONG_BINPUT, BINGET, LONG_BINGET.
                b'q' => {
                    let slot = self.byte()?;
                    self.put(slot.into())?;
                }
                b'r' => {
                    let slot = u32::from_le_bytes(self.array()?);
                    self.put(slot)?;
                }
                b'h' => {
                    let slot = self.byte()?;
                    self.get(slot.into())?;
                }
                b'j' => {
                    let slot = u32::from_le_bytes(self.array()?);
                    self.get(slot)?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(Value::Global(module, name))?;
                }
                b'R' => {
                    let call = self.pop_many(2)?;
                    let (function, arguments) = (call[0], call[1]);
                    match (&self.values[function], &self.values[arguments]) {
                        (Value::Global(..), Value::Tuple(_)) => {}
                        _ => return Err(error(start, "a name and a tuple of arguments", "other values")),
                    }
                    self.push(Value::Call { function, arguments, state: None })?;
                }
                b'b' => {
                    let new_state = self.pop_many(1)?[0];
                    match self.top()? {
                        Value::Call { state, .. } => *state = Some(new_state),
                        _ => return Err(error(start, "an object to set the state of", "another value")),
                    }
                }
                other => {
                    let found = format!("opcode {other:#04x}");
                    return Err(error(start, "an opcode of CIFAR's files (a pickle of protocol 2)", found));
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

    fn line(&mut self) -> Result<&'a [u8], PickleError> {
        // Names of modules and functions are short; a newline far away is no end of one.
        let rest = &self.bytes[self.at..];
        let end = rest.iter().take(256).position(|&byte| byte == b'\n');
        let size = end.ok_or_else(|| error(self.at, "a line of at most 256 bytes", "no end of line"))?;
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

    fn push_string(&mut self, size: u32) -> Result<(), PickleError> {
        let bytes = self.take(size as usize)?;
        self.push(Value::String(bytes))
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
        let Value::Call { function, .. } = pickle.values[pickle.root] else { panic!("{pickle:?}") };
        assert!(matches!(pickle.values[function], Value::Global(b"os", b"system")));
        assert_eq!(pickle.byte_array(pickle.root), None);
    }

    #[test]
    fn lists_are_filled_after_they_were_shared() {
        // {'a': l, 'b': l}, with l filled after it was memoised.
        let pickle = parse(b"\x80\x02}(U\x01a]q\x01(K\x01M\x00\x01J\xff\xff\xff\xffeU\x01bh\x01u.").unwrap();
        for key in ["a", "b"] {
            assert_eq!(pickle.get(key).and_then(|id| pickle.integers(id)), Some(vec![1, 256, -1]));
        }
        assert_eq!(pickle.get("c"), None);
        // A list that contains itself is no list of integers, and no endless loop.
        let pickle = parse(b"]q\x00h\x00a.").unwrap();
        assert_eq!(pickle.integers(pickle.root), None);
    }

    #[test]
    fn malformed_pickles_are_refused_where_they_are_wrong() {
        check_error(b"", 0, "1 bytes");
        check_error(b"\x80\x04.", 1, "protocol 2");
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
        check_error(b"\x95\x00.", 0, "an opcode of CIFAR's files (a pickle of protocol 2)");
    }

    #[test]
    fn values_are_bounded() {
        let mut lists = vec![b']'; MOST_VALUES + 1];
        lists.push(b'.');
        check_error(&lists, MOST_VALUES + 1, "at most 2097152 values");
        let mut shared = b"]q\x00".to_vec();
        shared.extend(b"h\x00".repeat(MOST_VALUES));
        assert!(parse(&shared).is_err());
    }
}
