//! What `clr-run plugin` prints.

use std::fmt::Write as _;

use clr_host::{PluginInfo, SearchPath};
use clr_spec::Limits;
use clr_terminal::terminal::Terminal;
use clr_terminal::words;
use clr_worker::{Isolation, Known};
use serde_json::{Map, Value};

/// `clr-run plugin list`: one line a plugin, and one for each of its models.
pub fn plugins(search: &SearchPath, isolation: &Isolation, terminal: &Terminal) -> String {
    let mut out = String::new();
    for found in search.list() {
        match Known::find(search, &found.name, isolation, Limits::default()) {
            Ok(plugin) => {
                let info = plugin.info();
                let _ = writeln!(out, "{} {}  {}", terminal.bold(&info.name), info.version, info.path.display());
                for model in &info.models {
                    let _ = writeln!(out, "  {}", model.name);
                }
            }
            Err(error) => {
                let error = format!("{}  {error}", found.name);
                let _ = writeln!(out, "{}", words::wrapped(&error, terminal.width, 2));
            }
        }
    }
    if out.is_empty() {
        let places: Vec<String> = search.entries().iter().map(|place| place.display().to_string()).collect();
        format!("looked in {}\n{}\n", places.join(", "), words::wrapped(clr_plan::NO_PLUGINS, terminal.width, 2))
    } else {
        out
    }
}

/// `clr-run plugin info`: everything that the plugin says of itself.
pub fn plugin(info: &PluginInfo, terminal: &Terminal) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{} {}, ABI {}.{}, numerics {}",
        info.name, info.version, info.abi.0, info.abi.1, info.numerics_revision
    );
    let _ = writeln!(out, "{}\nblake3 {}\ndevices: {}", info.path.display(), info.digest, info.devices.join(", "));
    let of_models: Vec<&Map<String, Value>> = info.models.iter().map(|model| &model.options_schema).collect();
    let of_optimizers: Vec<&Map<String, Value>> = info.optimizers.iter().map(|it| &it.options_schema).collect();
    let [common_of_models, common_of_optimizers] = [&of_models, &of_optimizers].map(|schemas| common(schemas));
    for model in &info.models {
        let _ = writeln!(out, "\n{}", terminal.bold(&format!("model {}", model.name)));
        let _ = writeln!(out, "  metrics: {}", model.metrics.join(", "));
        if !model.defaults.is_empty() {
            let defaults: Vec<String> =
                model.defaults.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            let published = format!("  published with: {}", defaults.join(", "));
            let _ = writeln!(out, "{}", words::wrapped(&published, terminal.width, 6));
        }
        options(
            properties(&model.options_schema).filter(|option| !common_of_models.contains(option)),
            terminal,
            &mut out,
        );
    }
    of_all("model", &common_of_models, terminal, &mut out);
    for optimizer in &info.optimizers {
        let _ = writeln!(out, "\n{}", terminal.bold(&format!("optimizer {}", optimizer.name)));
        let _ = writeln!(out, "  may be scheduled: {}", optimizer.hypers.join(", "));
        let own = properties(&optimizer.options_schema).filter(|option| !common_of_optimizers.contains(option));
        options(own, terminal, &mut out);
    }
    of_all("optimizer", &common_of_optimizers, terminal, &mut out);
    out
}

/// An option: its name and its JSON Schema.
type Property<'a> = (&'a String, &'a Value);

fn properties(schema: &Map<String, Value>) -> impl Iterator<Item = Property<'_>> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

/// The options that all of several schemas have alike.
fn common<'a>(schemas: &[&'a Map<String, Value>]) -> Vec<Property<'a>> {
    match schemas {
        [first, rest @ ..] if !rest.is_empty() => properties(first)
            .filter(|option| rest.iter().all(|other| properties(other).any(|of_other| of_other == *option)))
            .collect(),
        _ => Vec::new(),
    }
}

/// The options that all models have, or all optimizers, if there are any.
fn of_all(kind: &str, common: &[Property<'_>], terminal: &Terminal, out: &mut String) {
    if !common.is_empty() {
        let _ = writeln!(out, "\n{}", terminal.bold(&format!("every {kind} has also")));
        options(common.iter().copied(), terminal, out);
    }
}

/// One line an option of a JSON Schema: name, type or choices, default, description.
fn options<'a>(properties: impl Iterator<Item = Property<'a>>, terminal: &Terminal, out: &mut String) {
    for (name, property) in properties {
        let text = |key: &str| property.get(key).and_then(Value::as_str);
        let choices = property.get("enum").and_then(Value::as_array);
        let kind = choices.map_or_else(
            || text("type").unwrap_or("any").to_owned(),
            |choices| choices.iter().map(Value::to_string).collect::<Vec<_>>().join(" | "),
        );
        let default = property.get("default").map(|default| format!(", default {default}")).unwrap_or_default();
        let description = text("description").map(|text| format!("  {text}")).unwrap_or_default();
        let option = format!("  {name}: {kind}{default}{description}");
        let _ = writeln!(out, "{}", words::wrapped(&option, terminal.width, 6));
    }
}
