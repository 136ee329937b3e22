//! Kernel arguments by value, and the elements of tables: numbers, and structs that are declared here and in CUDA.

use bytemuck::Pod;

/// A number, or a struct of numbers, that kernels know under this type.
pub(crate) trait Argument: Pod {
    /// The type's name in CUDA.
    const TYPE: &'static str;
    /// Of a struct: type and name of each field.
    #[cfg(test)]
    const FIELDS: &'static [(&'static str, &'static str)] = &[];
}

macro_rules! numbers {
    ($($number:ty = $type:literal),*) => {
        $(impl Argument for $number {
            const TYPE: &'static str = $type;
        })*
    };
}

numbers!(u8 = "u8", u32 = "u32", u64 = "u64", i32 = "int", f32 = "float", f64 = "double", [f32; 2] = "float[2]");

/// Declares a struct that a kernel's source declares too: `struct Shape = "pool::Shape" { groups: u32, .. }`. Tests compare the
/// fields of both.
macro_rules! mirror {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident = $type:literal {
            $($(#[$field_attribute:meta])* $field_visibility:vis $field:ident: $field_type:ty),* $(,)?
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
        #[repr(C)]
        $visibility struct $name {
            $($(#[$field_attribute])* $field_visibility $field: $field_type,)*
        }

        impl $crate::cuda::Argument for $name {
            const TYPE: &'static str = $type;
            #[cfg(test)]
            const FIELDS: &'static [(&'static str, &'static str)] =
                &[$((<$field_type as $crate::cuda::Argument>::TYPE, stringify!($field))),*];
        }
    };
}

pub(crate) use mirror;
