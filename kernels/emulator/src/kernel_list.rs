//! Which kernels a `.cu` file defines, read from its preprocessed text.

/// A kernel, and the arguments of its `__launch_bounds__` as they are written (`256, 2`), empty if it has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KernelName {
    pub(crate) name: String,
    pub(crate) launch_bounds: String,
}

// What `language.hpp` makes of `__global__` and `__launch_bounds__` for this purpose.
const GLOBAL: &str = "CUDA_EMULATOR_GLOBAL";
const LAUNCH_BOUNDS: &str = "CUDA_EMULATOR_LAUNCH_BOUNDS";

/// The kernels of a preprocessed file in the order of their first declaration.
pub(crate) fn kernels(preprocessed: &str) -> Vec<KernelName> {
    let text: String =
        preprocessed.lines().filter(|line| !line.starts_with('#')).flat_map(|line| [line, "\n"]).collect();
    let mut kernels: Vec<KernelName> = Vec::new();
    for declaration in text.split(GLOBAL).skip(1) {
        if let Some(kernel) = parse(declaration)
            && kernels.iter().all(|known| known.name != kernel.name)
        {
            kernels.push(kernel);
        }
    }
    kernels
}

/// Reads `void LAUNCH_BOUNDS(256) name(`, the bounds being anywhere before the name or missing.
fn parse(declaration: &str) -> Option<KernelName> {
    let mut launch_bounds = String::new();
    let mut rest = declaration;
    loop {
        let (before, after) = rest.split_once('(')?;
        let name = before.rsplit(|c: char| !c.is_alphanumeric() && c != '_').find(|word| !word.is_empty())?;
        if name != LAUNCH_BOUNDS {
            return Some(KernelName { name: name.to_owned(), launch_bounds });
        }
        let mut depth = 1;
        let close = after.find(|c| {
            depth += match c {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            depth == 0
        })?;
        launch_bounds = after[..close].trim().to_owned();
        rest = &after[close + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let found: Vec<_> = kernels(text).into_iter().map(|kernel| (kernel.name, kernel.launch_bounds)).collect();
        let expected: Vec<_> = expected.iter().map(|(name, bounds)| (name.to_string(), bounds.to_string())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn kernels_are_found_with_their_bounds() {
        check("void helper(int);", &[]);
        check("extern \"C\" CUDA_EMULATOR_GLOBAL void plain(float* x)", &[("plain", "")]);
        check("CUDA_EMULATOR_GLOBAL void CUDA_EMULATOR_LAUNCH_BOUNDS(256) sum(", &[("sum", "256")]);
        check("CUDA_EMULATOR_GLOBAL CUDA_EMULATOR_LAUNCH_BOUNDS((2 * W), 3) void sum (", &[("sum", "(2 * W), 3")]);
        check(
            "CUDA_EMULATOR_GLOBAL void\n# 12 \"a (1).cu\"\nfirst(int); CUDA_EMULATOR_GLOBAL void first(int) {} \
             CUDA_EMULATOR_GLOBAL void second()",
            &[("first", ""), ("second", "")],
        );
    }
}
