//! "Did you mean": the nearest of the names that were possible.

/// One sentence that leads from `name` to a name that exists, for the help line of a diagnostic.
pub fn help<'a>(name: &str, possible: impl IntoIterator<Item = &'a str>) -> String {
    let possible: Vec<&str> = possible.into_iter().collect();
    match nearest(name, &possible) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None if possible.is_empty() => "there is none to choose from".to_owned(),
        None => format!("expected {}", one_of(&possible)),
    }
}

/// `a`, `b` or `c`, each in backticks.
pub fn one_of(names: &[&str]) -> String {
    join(names, "or")
}

/// `a`, `b` and `c`, each in backticks.
pub fn all_of(names: &[&str]) -> String {
    join(names, "and")
}

fn join(names: &[&str], word: &str) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} {word} {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// The name that was most likely meant, if `name` is close to one.
pub fn nearest<'a>(name: &str, possible: &[&'a str]) -> Option<&'a str> {
    // Very long names cost quadratic time and are no typing mistakes.
    if name.len() > 100 {
        return None;
    }
    let name = name.to_lowercase();
    // A third of the letters wrong is the rule of rustc and cargo.
    let limit = name.chars().count().max(3) / 3;
    possible
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name, &candidate.to_lowercase()), *candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
