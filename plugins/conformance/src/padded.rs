//! Structs as a newer host has them: larger than this version of the header knows.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

/// Structs one after the other, each with bytes that a newer host has appended.
#[derive(Debug)]
pub(crate) struct Padded<T> {
    words: Vec<u64>,
    stride: usize,
    count: usize,
    marker: std::marker::PhantomData<T>,
}

impl<T: Copy> Padded<T> {
    const FILL: u64 = 0xABAB_ABAB_ABAB_ABAB;

    /// Sets each struct's size. `appended` is a multiple of 8.
    pub(crate) fn new(values: Vec<T>, appended: usize) -> Padded<T> {
        let stride = size_of::<T>() + appended;
        assert!(stride.is_multiple_of(8) && align_of::<T>() <= 8, "structs of the ABI hold 64-bit fields");
        // At least one, so that an empty list has a pointer too.
        let count = values.len();
        let mut padded: Padded<T> = Padded {
            words: vec![Self::FILL; stride / 8 * count.max(1)],
            stride,
            count,
            marker: std::marker::PhantomData,
        };
        for (index, value) in values.into_iter().enumerate() {
            // SAFETY: within the words, aligned to 8.
            unsafe { padded.pointer().byte_add(index * stride).write(value) };
        }
        padded.claim_size(stride);
        padded
    }

    pub(crate) fn pointer(&mut self) -> *mut T {
        self.words.as_mut_ptr().cast()
    }

    pub(crate) fn get(&self, index: usize) -> T {
        assert!(index < self.count);
        // SAFETY: within the words, written by `new`.
        unsafe { self.words.as_ptr().cast::<T>().byte_add(index * self.stride).read() }
    }

    pub(crate) fn claim_size(&mut self, size: usize) {
        for index in 0..self.count {
            self.words[index * self.stride / 8] = size as u64;
        }
    }

    pub(crate) fn claimed_size(&self) -> u64 {
        self.words[0]
    }

    /// True if the appended bytes are as they were.
    pub(crate) fn is_intact(&self) -> bool {
        (0..self.count).all(|index| {
            let end = (index + 1) * self.stride / 8;
            self.words[end - (self.stride - size_of::<T>()) / 8..end].iter().all(|&word| word == Self::FILL)
        })
    }
}

/// A struct of the ABI, all zeroes.
pub(crate) fn zeroed<T: Copy>() -> T {
    // SAFETY: only used for structs of the ABI, for which all zeroes is a value.
    unsafe { MaybeUninit::zeroed().assume_init() }
}
