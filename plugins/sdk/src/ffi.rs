//! Reading what the host passes and writing what it gets: every raw pointer of the ABI is looked at here.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::slice;

use crate::{Error, Status};

/// A copy of a struct whose first field is its `struct_size`: what ends beyond the caller's struct reads as zero.
///
/// # Safety
/// `pointer` is null or points to a readable struct that begins with its true size in bytes. `T` is a `repr(C)` struct of
/// the ABI that begins with a `usize` and for which all zeroes is a value.
pub(crate) unsafe fn read_sized<T: Copy>(pointer: *const T, name: &str) -> Result<T, Error> {
    // Most structs are as they were in ABI 1.0.
    // SAFETY: the caller's.
    unsafe { read_grown(pointer, size_of::<T>(), name) }
}

/// As [`read_sized`], of a struct that had `least` bytes in ABI 1.0 and has grown since. What the caller's lacks is zero.
///
/// # Safety
/// As for [`read_sized`].
pub(crate) unsafe fn read_grown<T: Copy>(pointer: *const T, least: usize, name: &str) -> Result<T, Error> {
    check_pointer(pointer, name)?;
    // SAFETY: not null, aligned, and its first field is a usize.
    let size = unsafe { pointer.cast::<usize>().read() };
    if size < least {
        return Err(Error::invalid(format!("{name}: struct_size is {size}, expected at least {least}")));
    }
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: the struct has at least as many readable bytes, and all zeroes is a value.
    unsafe {
        value.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(pointer.cast(), size.min(size_of::<T>()));
        Ok(value.assume_init())
    }
}

/// The elements of an array of structs with a `struct_size`, which is also their stride.
///
/// # Safety
/// As for [`read_sized`], for `count` structs one after the other.
pub(crate) unsafe fn read_array<T: Copy>(pointer: *const T, count: usize, name: &str) -> Result<Vec<T>, Error> {
    if count == 0 {
        return Ok(Vec::new());
    }
    check_pointer(pointer, name)?;
    // SAFETY: not null, aligned, and its first field is a usize.
    let stride = unsafe { pointer.cast::<usize>().read() };
    if !stride.is_multiple_of(align_of::<T>())
        || count.checked_mul(stride).is_none_or(|size| size > isize::MAX as usize)
    {
        return Err(Error::invalid(format!("{name}: {count} elements with a struct_size of {stride}")));
    }
    // SAFETY: each element lies within the caller's array, at a multiple of the alignment.
    (0..count).map(|index| unsafe { read_sized(pointer.byte_add(index * stride), name) }).collect()
}

/// A borrowed array.
///
/// # Safety
/// `pointer` is null or points to `count` readable values that nobody writes during `'a`.
pub(crate) unsafe fn slice<'a, T>(pointer: *const T, count: usize, name: &str) -> Result<&'a [T], Error> {
    if count == 0 {
        return Ok(&[]);
    }
    check_pointer(pointer, name)?;
    check_count::<T>(count, name)?;
    // SAFETY: not null, aligned, small enough, and readable by the caller's word.
    Ok(unsafe { slice::from_raw_parts(pointer, count) })
}

/// A borrowed array to write to.
///
/// # Safety
/// `pointer` is null or points to `count` initialised values that nobody else touches during `'a`.
pub(crate) unsafe fn slice_mut<'a, T>(pointer: *mut T, count: usize, name: &str) -> Result<&'a mut [T], Error> {
    if count == 0 {
        return Ok(&mut []);
    }
    check_pointer(pointer, name)?;
    check_count::<T>(count, name)?;
    // SAFETY: not null, aligned, small enough, and ours alone by the caller's word.
    Ok(unsafe { slice::from_raw_parts_mut(pointer, count) })
}

/// A borrowed text.
///
/// # Safety
/// As for [`slice`].
pub(crate) unsafe fn text<'a>(text: clr_abi::Str, name: &str) -> Result<&'a str, Error> {
    // SAFETY: the caller's.
    let bytes = unsafe { slice(text.data.cast::<u8>(), text.size, name) }?;
    str::from_utf8(bytes).map_err(|error| Error::invalid(format!("{name} is not UTF-8: {error}")))
}

/// Writes an error as far as the caller's struct reaches and returns its status.
///
/// # Safety
/// `target` is null or points to a writable `clr_error` that begins with its true size.
pub(crate) unsafe fn write_error(target: *mut clr_abi::Error, error: &Error) -> clr_abi::Status {
    let status = match error.status {
        Status::InvalidArgument => clr_abi::INVALID_ARGUMENT,
        Status::Unsupported => clr_abi::UNSUPPORTED,
        Status::OutOfMemory => clr_abi::OUT_OF_MEMORY,
        Status::Device => clr_abi::DEVICE,
        Status::Internal => clr_abi::INTERNAL,
        Status::Host(status) => status,
    };
    if target.is_null() || !target.is_aligned() {
        return status;
    }
    // SAFETY: not null, aligned, and its first field is a usize.
    let size = unsafe { target.cast::<usize>().read() };
    let offset = std::mem::offset_of!(clr_abi::Error, message);
    let capacity = size.saturating_sub(offset).min(clr_abi::MESSAGE_CAPACITY);
    let message = truncated(&error.message, capacity);
    if size >= offset {
        // SAFETY: the message fits in the capacity that the struct's own size leaves.
        unsafe {
            (&raw mut (*target).message_size).write(message.len() as u32);
            let bytes = target.byte_add(offset).cast::<u8>();
            bytes.copy_from_nonoverlapping(message.as_ptr(), message.len());
        }
    }
    status
}

/// The longest beginning of `text` that has at most `capacity` bytes and cuts no character.
fn truncated(text: &str, capacity: usize) -> &str {
    let mut end = capacity.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// That a pointer can be read through as far as one can see.
pub(crate) fn check_pointer<T>(pointer: *const T, name: &str) -> Result<(), Error> {
    if pointer.is_null() {
        return Err(Error::invalid(format!("{name} is null")));
    }
    if !pointer.is_aligned() {
        return Err(Error::invalid(format!("{name} is not aligned")));
    }
    Ok(())
}

fn check_count<T>(count: usize, name: &str) -> Result<(), Error> {
    match count.checked_mul(size_of::<T>()) {
        Some(size) if size <= isize::MAX as usize => Ok(()),
        _ => Err(Error::invalid(format!("{name} has {count} elements"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Old {
        struct_size: usize,
        value: u64,
    }

    #[repr(C)]
    #[derive(Clone, Copy)]
    struct New {
        old: Old,
        appended: u64,
    }

    fn new(value: u64) -> New {
        New { old: Old { struct_size: size_of::<New>(), value }, appended: u64::MAX }
    }

    #[test]
    fn a_newer_host_s_structs_are_read_as_far_as_they_are_known() {
        let array = [new(1), new(2), new(3)];
        // SAFETY: an array of structs that begin with their true size.
        let read = unsafe { read_array(array.as_ptr().cast::<Old>(), 3, "array") }.unwrap();
        assert_eq!(read.iter().map(|old| old.value).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn a_struct_that_is_too_small_and_null_are_refused() {
        let small = Old { struct_size: size_of::<Old>() - 1, value: 0 };
        // SAFETY: the struct claims less than it has; null is allowed.
        let (small, null) = unsafe { (read_sized(&raw const small, "it"), read_sized(std::ptr::null::<Old>(), "it")) };
        assert_eq!(small.unwrap_err().message, "it: struct_size is 15, expected at least 16");
        assert_eq!(null.unwrap_err().message, "it is null");
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        for (capacity, expected) in [(0, ""), (1, "a"), (2, "a"), (3, "aé"), (4, "aé"), (6, "aé€"), (99, "aé€")]
        {
            assert_eq!(truncated("aé€", capacity), expected, "{capacity}");
        }
    }

    #[test]
    fn an_older_host_s_error_is_filled_as_far_as_it_reaches() {
        let mut error = clr_abi::Error::new();
        error.struct_size = std::mem::offset_of!(clr_abi::Error, message) + 4;
        // SAFETY: the struct claims less than it has.
        let status = unsafe { write_error(&raw mut error, &Error::device("it broke")) };
        assert_eq!((status, error.text().as_str(), error.message[4]), (clr_abi::DEVICE, "it b", 0));
    }
}
