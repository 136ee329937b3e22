//! numpy's arrays and integers, as the calls in a pickle that would build them.
//!
//! An array is `_reconstruct(ndarray, (0,), b'b')` with the state (version, shape, dtype, is Fortran order, bytes), or, in
//! protocol 5, `_frombuffer(bytes, dtype, shape, order)`, where the order `K` goes with that of the axes; an integer is
//! `scalar(dtype, bytes)`. Their modules are numpy.core's until numpy 1, numpy._core's from numpy 2 on. A dtype is
//! `dtype('i8', False, True)` with a state whose second value is the order of bytes.

use std::borrow::Cow;
use std::fmt;

use super::{Id, Pickle};

/// An array of numbers. Its bytes are those of its elements, no more and no fewer.
pub(super) struct Array<'p> {
    pub shape: Vec<u64>,
    dtype: Dtype,
    /// For each axis, how many elements its steps are apart.
    strides: Vec<u64>,
    data: &'p [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Dtype {
    /// `u`, `i`, `f` or another of numpy's letters.
    kind: u8,
    /// Bytes of an element.
    size: usize,
    big_endian: bool,
}

/// The array that a value is.
pub(super) fn read<'p>(pickle: &'p Pickle<'_>, id: Id) -> Option<Array<'p>> {
    let (module, name, arguments, state) = pickle.call(id)?;
    match (module, name) {
        (b"numpy.core.multiarray" | b"numpy._core.multiarray", b"_reconstruct") => {
            let [_version, shape, dtype, is_fortran, data] = *pickle.tuple(state?)? else { return None };
            let order = if pickle.truth(is_fortran)? { b"F" } else { b"C" };
            array(pickle, [data, dtype, shape], order, None)
        }
        (b"numpy.core.numeric" | b"numpy._core.numeric", b"_frombuffer") => {
            let [data, dtype, shape, order, ref axes @ ..] = *arguments else { return None };
            array(pickle, [data, dtype, shape], pickle.string(order)?, axes.first().copied())
        }
        _ => None,
    }
}

fn array<'p>(
    pickle: &'p Pickle<'_>,
    [data, dtype, shape]: [Id; 3],
    order: &[u8],
    axes: Option<Id>,
) -> Option<Array<'p>> {
    let numbers = |id: Id| -> Option<Vec<u64>> {
        pickle.tuple(id)?.iter().map(|&size| u64::try_from(pickle.integer(size)?).ok()).collect()
    };
    let (mut shape, dtype, data) = (numbers(shape)?, self::dtype(pickle, dtype)?, pickle.string(data)?);
    let count = shape.iter().try_fold(1u64, |product, &size| product.checked_mul(size))?;
    if count.checked_mul(dtype.size as u64)? != data.len() as u64 {
        return None;
    }
    let mut strides = vec![1; shape.len()];
    let contiguous = |strides: &mut [u64], axes: &mut dyn Iterator<Item = usize>| {
        let mut stride = 1u64;
        for axis in axes {
            strides[axis] = stride;
            // The product of all sizes, none of them 0, is a count that fits; with a 0 there are no elements.
            stride = stride.saturating_mul(shape[axis]);
        }
    };
    match order {
        b"F" => contiguous(&mut strides, &mut (0..shape.len())),
        _ => contiguous(&mut strides, &mut (0..shape.len()).rev()),
    }
    if let (b"K", Some(axes)) = (order, axes) {
        let axes: Vec<usize> = numbers(axes)?.into_iter().map(|axis| axis as usize).collect();
        let mut seen = axes.clone();
        seen.sort_unstable();
        if !seen.into_iter().eq(0..shape.len()) {
            return None;
        }
        (shape, strides) = axes.iter().map(|&axis| (shape[axis], strides[axis])).unzip();
    }
    Some(Array { shape, dtype, strides, data })
}

fn dtype(pickle: &Pickle<'_>, id: Id) -> Option<Dtype> {
    let (b"numpy", b"dtype", arguments, state) = pickle.call(id)? else { return None };
    let name = pickle.string(*arguments.first()?)?;
    let (mut order, name) = match name {
        [order @ (b'<' | b'>' | b'|' | b'='), rest @ ..] => (*order, rest),
        _ => (b'=', name),
    };
    if let Some(state) = state
        && let [order_of_state] = pickle.string(*pickle.tuple(state)?.get(1)?)?
    {
        order = *order_of_state;
    }
    let (&kind, digits) = name.split_first()?;
    let size = std::str::from_utf8(digits).ok()?.parse().ok().filter(|size| (1..=64).contains(size))?;
    // Files are written where the first byte of a number is the lowest, unless they say otherwise.
    Some(Dtype { kind, size, big_endian: order == b'>' })
}

/// An integer of numpy's.
pub(super) fn scalar(pickle: &Pickle<'_>, id: Id) -> Option<i64> {
    let (b"numpy.core.multiarray" | b"numpy._core.multiarray", b"scalar", &[dtype, data], _) = pickle.call(id)? else {
        return None;
    };
    let (dtype, data) = (self::dtype(pickle, dtype)?, pickle.string(data)?);
    if data.len() == dtype.size { dtype.integer(data) } else { None }
}

impl Dtype {
    fn is_integer(self) -> bool {
        matches!(self.kind, b'u' | b'i') && matches!(self.size, 1 | 2 | 4 | 8)
    }

    /// The integer in so many bytes; none where it is none, or beyond 63 bits.
    fn integer(self, bytes: &[u8]) -> Option<i64> {
        if !self.is_integer() {
            return None;
        }
        let mut value = [0; 8];
        value[..bytes.len()].copy_from_slice(bytes);
        if self.big_endian {
            value[..bytes.len()].reverse();
        }
        let value = u64::from_le_bytes(value);
        if self.kind == b'u' {
            return i64::try_from(value).ok();
        }
        let unused = 64 - 8 * self.size as u32;
        Some((value << unused) as i64 >> unused)
    }
}

impl<'p> Array<'p> {
    /// All elements in C order; none where they are no integers.
    pub fn integers(&self) -> Option<Vec<i64>> {
        let mut integers = Vec::with_capacity(self.data.len() / self.dtype.size);
        self.for_each(|element| {
            integers.push(self.dtype.integer(element)?);
            Some(())
        })?;
        Some(integers)
    }

    /// All elements in C order, each of which must be from 0 to 255; else what is there.
    pub fn bytes(&self) -> Result<Cow<'p, [u8]>, String> {
        if !self.dtype.is_integer() {
            return Err(self.to_string());
        }
        let is_bytes = self.dtype.kind == b'u' && self.dtype.size == 1;
        if is_bytes && self.is_in_order() {
            return Ok(Cow::Borrowed(self.data));
        }
        let mut bytes = Vec::with_capacity(self.data.len() / self.dtype.size);
        let mut found = None;
        let all = self.for_each(|element| {
            found = self.dtype.integer(element);
            bytes.push(u8::try_from(found?).ok()?);
            Some(())
        });
        match (all, found) {
            (None, Some(value)) => Err(format!("{value} in {self}")),
            (None, None) => Err(format!("a larger number in {self}")),
            (Some(()), _) => Ok(Cow::Owned(bytes)),
        }
    }

    fn is_in_order(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&size, &stride)| {
            let is_next = size <= 1 || stride == expected;
            expected = expected.saturating_mul(size);
            is_next
        })
    }

    /// Hands the bytes of each element to `take`, in C order, until it says none.
    fn for_each(&self, mut take: impl FnMut(&'p [u8]) -> Option<()>) -> Option<()> {
        if self.data.is_empty() {
            return Some(());
        }
        let mut index = vec![0; self.shape.len()];
        let mut offset = 0;
        loop {
            let start = offset as usize * self.dtype.size;
            take(&self.data[start..start + self.dtype.size])?;
            // The next index: the last axis that has another step takes it, those after it begin anew.
            let Some(axis) = (0..index.len()).rev().find(|&axis| index[axis] + 1 < self.shape[axis]) else {
                return Some(());
            };
            index[axis] += 1;
            offset += self.strides[axis];
            for (later, stride) in index.iter_mut().zip(&self.strides).skip(axis + 1) {
                offset -= *later * stride;
                *later = 0;
            }
        }
    }
}

impl fmt::Display for Array<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.dtype.kind {
            b'u' => "uint",
            b'i' => "int",
            b'f' => "float",
            b'b' => return write!(out, "an array of truth values in shape {:?}", self.shape),
            _ => return write!(out, "an array of no numbers in shape {:?}", self.shape),
        };
        write!(out, "an array of {kind}{} in shape {:?}", 8 * self.dtype.size, self.shape)
    }
}
