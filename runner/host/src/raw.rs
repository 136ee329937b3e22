//! Copies out of what a plugin points to. Each helper checks what can be checked: null, alignment, sizes, UTF-8.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

/// More elements than this in a list of names or tensors are taken for garbage.
const MOST_ELEMENTS: u32 = 1 << 20;
/// More bytes than this in a text are taken for garbage.
const MOST_BYTES: usize = 1 << 24;

/// A text.
///
/// # Safety
/// If its pointer is not null, it points to as many readable bytes as it says.
pub(super) unsafe fn text(text: clr_abi::Str, what: &str) -> Result<String, String> {
    if text.size == 0 {
        return Ok(String::new());
    }
    if text.data.is_null() {
        return Err(format!("{what} is null but has {} bytes", text.size));
    }
    if text.size > MOST_BYTES {
        return Err(format!("{what} has {} bytes", text.size));
    }
    // SAFETY: not null, of a sane size, and readable by the caller's word.
    let bytes = unsafe { std::slice::from_raw_parts(text.data.cast::<u8>(), text.size) };
    match str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(format!("{what} is not UTF-8: {error}")),
    }
}

/// A list of texts.
///
/// # Safety
/// If `pointer` is not null, it points to `count` of them, each as [`text`] needs it.
pub(super) unsafe fn texts(pointer: *const clr_abi::Str, count: u32, what: &str) -> Result<Vec<String>, String> {
    check_array(pointer, count, what)?;
    (0..count as usize)
        // SAFETY: within the array, by the caller's word.
        .map(|index| unsafe { text(pointer.add(index).read(), &format!("{what}[{index}]")) })
        .collect()
}

/// Copies of an array of structs that begin with their `struct_size`, which is also their stride.
///
/// # Safety
/// If `pointer` is not null, it points to `count` such structs. `T` is a `repr(C)` struct of the ABI that begins with a
/// `usize` and for which all zeroes is a value.
pub(super) unsafe fn structs<T: Copy>(pointer: *const T, count: u32, what: &str) -> Result<Vec<T>, String> {
    check_array(pointer, count, what)?;
    if count == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: not null, aligned, and its first field is a usize.
    let stride = unsafe { pointer.cast::<usize>().read() };
    if stride < size_of::<T>() || stride > MOST_BYTES || !stride.is_multiple_of(align_of::<T>()) {
        return Err(format!("{what} has a struct_size of {stride}, expected at least {}", size_of::<T>()));
    }
    (0..count as usize)
        .map(|index| {
            // SAFETY: the index-th struct of the array, which is at least as large as T.
            let (size, value) = unsafe {
                let element = pointer.byte_add(index * stride);
                (element.cast::<usize>().read(), element.read())
            };
            if size == stride {
                Ok(value)
            } else {
                Err(format!("{what}[{index}] has another struct_size than {what}[0]"))
            }
        })
        .collect()
}

/// A struct of zeroes with its size in the first field, as the ABI wants it of its caller.
pub(super) fn sized<T: Copy>() -> T {
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: only used for structs of the ABI, which begin with a usize and for which all zeroes is a value.
    unsafe {
        value.as_mut_ptr().cast::<usize>().write(size_of::<T>());
        value.assume_init()
    }
}

fn check_array<T>(pointer: *const T, count: u32, what: &str) -> Result<(), String> {
    if count == 0 {
        return Ok(());
    }
    if count > MOST_ELEMENTS {
        return Err(format!("{what} has {count} elements"));
    }
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(format!("{what} has {count} elements at {pointer:p}"));
    }
    Ok(())
}
